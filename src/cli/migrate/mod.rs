//! `sepulki migrate`: the operator's own engine against the database of `DATABASE_URL`.

mod args;
mod failed;
mod lint;
mod new;
mod record;
mod reset;
mod show;
mod up;
mod verify;

use std::{ffi::OsStr, fmt::Display, future::Future, path::Path, sync::Arc};

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use tokio_util::sync::CancellationToken;

use super::{Ended, Usage, connection, output};
use crate::engine::{
    Bundle, LedgerState, Plan, SourceFile, plan_by,
    run::{self, Inspection, RunRequest},
};
use args::Options;

/// How names of migrations end.
const SUFFIX: &str = ".sql";
/// The name under which sessions of the command line show themselves.
const HOLDER: &str = "migrate";

/// What to do with the files of a folder.
#[derive(Debug, Args)]
#[command(
    after_help = "The database is that of DATABASE_URL, by its direct host; what the URL lacks, libpq's variables add (PGHOST, PGPORT, PGUSER, PGDATABASE, PGPASSWORD, PGPASSFILE, PGSSLMODE, PGSSLROOTCERT). Files are those of --dir that end in .sql and do not begin with a dot. Data of COPY … FROM STDIN end at a line \\. or, as for psql, with the file.\nExit codes: 0 fine, 1 failed, 2 wrong use, 3 files are pending (status, plan).\n\nExamples:\n  sepulki migrate status\n  sepulki migrate up\n  sepulki migrate up 003_add_telemetry_tables.sql --dir migrations\n  sepulki migrate plan -o json --out-of-order Allow\n  sepulki migrate lint\n  sepulki migrate new add robots"
)]
pub(super) struct MigrateArgs {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    options: Options,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the files and what the ledger says of them
    #[command(
        after_help = "Exits with 3 while files are pending, with 1 where something is in their way: wherever `up` would fail without having run anything.\n\nExample:\n  sepulki migrate status -o json"
    )]
    Status,
    /// Apply what is pending, or exactly one file
    #[command(
        after_help = "Where files lose data or do something else than is written, that is told first, on standard error; it stops nothing. With -o json or yaml a run that fails prints its report as well, with the error in it.\n\nExamples:\n  sepulki migrate up\n  sepulki migrate up --target 002_add_performance_indexes.sql\n  sepulki migrate up 003_add_telemetry_tables.sql"
    )]
    Up {
        /// Apply this file and no other; refused while an earlier one is pending
        file: Option<String>,
    },
    /// Tell what would be applied, and how
    #[command(
        after_help = "Changes nothing. Exits with 3 if files are pending, with 1 where something is in their way.\n\nExample:\n  sepulki migrate plan --target 002_b.sql"
    )]
    Plan,
    /// Tell what the files may do to others: long locks, lost data, broken applications, what only a superuser may do (on Neon nobody is one)
    #[command(
        after_help = "Needs no database, and so does not know what is applied: without FILES, locks are judged as if nothing were, and what gets lost or breaks as if each file ran alone. Exits with 1 from --fail-on-lint on. A comment `-- squawk-ignore RULE` above a statement hides a finding; what is hidden is told at the end.\n\nExamples:\n  sepulki migrate lint\n  sepulki migrate lint 003_add_telemetry_tables.sql --fail-on-lint Warning    # the files before it are applied\n  sepulki migrate lint --ignore-lint ban-drop-column=004_drop_old.sql\n  sepulki migrate lint --report github      # annotations in a workflow of GitHub\n  sepulki migrate lint --report sarif > lint.sarif"
    )]
    Lint(lint::LintArgs),
    /// Make an empty file with the next number
    #[command(
        after_help = "Needs no database.\n\nExample:\n  sepulki migrate new add robots       # migrations/004_add_robots.sql"
    )]
    New {
        /// What the migration does, in a few words
        #[arg(required = true)]
        name: Vec<String>,
    },
    /// Record a file as applied without running it
    #[command(
        after_help = "For a file that was run by hand; with --accept also for one that was applied and edited since, so that the ledger has what it says now.\n\nExamples:\n  sepulki migrate mark 001_initial_schema.sql\n  sepulki migrate mark 001_initial_schema.sql --accept"
    )]
    Mark {
        /// The file
        file: String,
    },
    /// Record all files up to one as applied without running them
    #[command(
        after_help = "For a database that was there before its first migration.\n\nExample:\n  sepulki migrate baseline 002_add_performance_indexes.sql"
    )]
    Baseline {
        /// The last file that the database already has
        file: String,
    },
    /// Find out what is there of the files that the ledger claims, on a copy of the database
    #[command(
        after_help = "For a ledger that another tool or people have written. Every file is tried on the copy, in a transaction that is rolled back; of the database only the catalog and the ledger are read. Verdicts: consistent (all of it is there), claimed but missing, unknown (it cannot be told, for example because only rows change), pending, there without a row (it was run by hand), and there in part (neither: to run it would fail). Exits with 1 where something claimed is missing, or something is there without a row, in part or whole.\n\nExample:\n  createdb scratch && pg_dump --schema-only \"$DATABASE_URL\" | psql -d scratch\n  sepulki migrate verify --scratch postgresql://localhost/scratch --alias 001_initial=001_initial.sql"
    )]
    Verify {
        /// The copy, without a password (PGPASSWORD or ~/.pgpass has it); without this the one of SCRATCH_DATABASE_URL
        #[arg(long, value_name = "URL")]
        scratch: Option<String>,
    },
    /// Drop everything that files can have made, and the ledger
    #[command(
        after_help = "All data are lost: what your role owns goes, large objects, publications and foreign servers included. Extensions, rights on schemas, default privileges and what belongs to others elsewhere stay, and are listed. Refused, before anything is dropped, where the operator has marked the database as production or protected, where something of a role that yours is no member of would go along, and where a subscription has a slot on another server.\n\nExample:\n  sepulki migrate reset my_database && sepulki migrate up"
    )]
    Reset {
        /// The name of the database, typed out: that of DATABASE_URL
        database: String,
    },
}

pub(super) fn run(args: &MigrateArgs) -> Result<Ended> {
    let options = &args.options;
    let ended = carry_out(&args.command, options);
    if let Err(error) = &ended {
        failed::print(options.output, error)?;
    }
    ended
}

fn carry_out(command: &Command, options: &Options) -> Result<Ended> {
    if options.accepts_present() && !matches!(command, Command::Mark { .. }) {
        let message =
            "--accept needs FILE=SHA256 here; without it is `sepulki migrate mark FILE --accept`";
        return Err(Usage(message.to_owned()).into());
    }
    match command {
        Command::Status => on_runtime(show::status(options)),
        Command::Plan => on_runtime(show::plan(options)),
        Command::Up { file } => {
            let file = file.as_deref().map(|file| named(options, file));
            on_runtime(up::up(options, file))
        }
        Command::Lint(args) => lint::lint(options, args),
        Command::New { name } => new::new(options, &name.join(" ")),
        Command::Mark { file } => on_runtime(record::mark(options, named(options, file))),
        Command::Baseline { file } => on_runtime(record::baseline(options, named(options, file))),
        Command::Verify { scratch } => on_runtime(verify::verify(options, scratch.as_deref())),
        Command::Reset { database } => on_runtime(reset::reset(options, database)),
    }
}

/// Leaves out of the help of a command which of the common options do nothing there.
pub(super) fn hide_idle(migrate: &mut clap::Command) {
    const RUN: [&str; 9] = [
        "target",
        "missing_file",
        "checksum_mismatch",
        "ignore_lint",
        "role",
        "max_blocked",
        "statement_timeout",
        "retries",
        "analyze",
    ];
    const FILES: [&str; 6] = [
        "order",
        "order_files",
        "out_of_order",
        "accept",
        "alias",
        "on_ambiguous",
    ];
    const WAITS: [&str; 2] = ["lock_timeout", "deadline"];
    for command in migrate.get_subcommands_mut() {
        let idle: Vec<&str> = match command.get_name() {
            "new" => [&RUN[..], &FILES, &WAITS, &["ledger"]].concat(),
            "reset" => [&RUN[..], &FILES, &["dir"]].concat(),
            "mark" => [&RUN[..], &WAITS, &["on_ambiguous"]].concat(),
            "baseline" => [&RUN[..], &WAITS, &["on_ambiguous", "out_of_order"]].concat(),
            _ => continue,
        };
        let whole = std::mem::take(command);
        *command = whole.mut_args(|arg| {
            let is_idle = idle.contains(&arg.get_id().as_str());
            if is_idle { arg.hide(true) } else { arg }
        });
    }
}

fn on_runtime(work: impl Future<Output = Result<Ended>>) -> Result<Ended> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?
        .block_on(Box::pin(work))
}

/// The `.sql` files of a folder, which has some.
fn read_files(folder: &Path) -> Result<Vec<SourceFile>> {
    let files = files_of(folder)?;
    if files.is_empty() {
        let folder = folder.display();
        let message = format!("no file in {folder} ends in .sql; name another folder with --dir");
        return Err(Usage(message).into());
    }
    Ok(files)
}

/// The `.sql` files of a folder. What is one by its name and cannot be read is a mistake: to go on without it would be to
/// run what comes behind it.
fn files_of(folder: &Path) -> Result<Vec<SourceFile>> {
    let entries = std::fs::read_dir(folder).map_err(|error| {
        Usage(format!(
            "cannot read the folder {}: {error}; name another with --dir",
            folder.display()
        ))
    })?;
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry.context("cannot read the folder")?;
        let path = entry.path();
        let name = path.file_name().unwrap_or_default();
        if !is_meant(name) || path.is_dir() {
            continue;
        }
        let unreadable =
            |why: &dyn Display| Usage(format!("cannot read {}: {why}", path.display()));
        let name = name
            .to_str()
            .ok_or_else(|| unreadable(&"its name is not UTF-8"))?;
        if !name.ends_with(SUFFIX) {
            let message = format!(
                "{name} would be left out: names of migrations end in {SUFFIX}, in small letters; rename it"
            );
            return Err(Usage(message).into());
        }
        let about = std::fs::metadata(&path).map_err(|error| unreadable(&error))?;
        if !about.is_file() {
            return Err(unreadable(&"it is not a file").into());
        }
        let bytes = std::fs::read(&path).map_err(|error| unreadable(&error))?;
        let name = name.to_owned();
        files.push(SourceFile { name, bytes });
    }
    Ok(files)
}

/// Whether a name is that of a migration; what editors and version control keep beside the files begins with a dot.
fn is_meant(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    name.to_ascii_lowercase().ends_with(SUFFIX) && !name.starts_with('.')
}

/// The name of a file of the folder as people give it: by itself, or with the folder, as shells complete it.
fn named<'a>(options: &Options, file: &'a str) -> &'a str {
    let path = Path::new(file);
    let name = path.file_name().and_then(OsStr::to_str);
    let is_inside = path.parent().is_some_and(|folder| {
        let same = |a: &Path, b: &Path| Some(a.canonicalize().ok()? == b.canonicalize().ok()?);
        same(folder, &options.dir) == Some(true)
    });
    name.filter(|_| is_inside).unwrap_or(file)
}

/// Compiles the files; what is wrong with the set is told in full.
fn compile(options: &Options) -> Result<Arc<Bundle>> {
    let files = read_files(&options.dir)?;
    match Bundle::in_order(files, &options.order()?) {
        Ok(bundle) => Ok(Arc::new(bundle)),
        Err(findings) => bail!("{}", findings.render().trim_end()),
    }
}

/// Everything that a run needs, with `until` as its last file.
fn request(options: &Options, until: Option<&str>) -> Result<RunRequest> {
    let bundle = compile(options)?;
    let until = until.map(|file| named(options, file));
    if let Some(unknown) = until.filter(|file| bundle.file(file).is_none()) {
        let folder = options.dir.display();
        return Err(Usage(format!("{unknown} is not one of the files in {folder}")).into());
    }
    Ok(RunRequest {
        target: connection::from_environment()?,
        ledger: options.ledger()?,
        bundle,
        until: until.map(str::to_owned),
        holder: HOLDER.to_owned(),
        timeouts: options.timeouts()?,
        execution: options.execution(),
        policies: options.policies()?,
        cancel: CancellationToken::new(),
    })
}

/// What the ledger says, and what follows for the files up to the last one that is meant.
async fn planned(request: &RunRequest) -> Result<(LedgerState, Plan)> {
    let ledger = inspect(request).await?;
    let until = request.until.as_deref();
    let plan = plan_by(&request.policies, &request.bundle, &ledger, until);
    Ok((ledger, plan))
}

/// Reads the ledger.
async fn inspect(request: &RunRequest) -> Result<LedgerState> {
    let inspection = Inspection {
        target: &request.target,
        ledger: &request.ledger,
        holder: &request.holder,
        connect: request.timeouts.connect,
        protection: None,
    };
    Ok(output::told_to_wait(&request.target, run::inspect(inspection)).await?)
}
