//! `sepulki validate`: whether a database can be used and migrated, one line per question.
//!
//! Questions are sent as simple queries: a pooler may know no prepared statements.

use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use serde::Serialize;
use sqlx::{Connection, Decode, PgConnection, Postgres, Row, Type, postgres::PgRow};

use super::{
    Ended, advice, connection,
    output::{self, Format, told_to_wait},
};
use crate::{
    clock::{Clock, SystemClock},
    engine::run,
    postgres::{Options, Target, Tls, connect},
};

/// Oldest server that is supported, as `server_version_num`.
const OLDEST: i32 = 150_000;
/// How long to wait for a server that is asleep or starting.
const PATIENCE: Duration = Duration::from_secs(20);
/// Seconds that the clocks may differ.
const CLOCKS: i64 = 5;

/// Where to look.
#[derive(Debug, Args)]
#[command(
    after_help = "The database is that of URL, which has no password (PGPASSWORD or ~/.pgpass has it); without URL, that of DATABASE_URL. What the URL lacks, libpq's variables add: PGHOST, PGPORT, PGUSER, PGDATABASE, PGPASSWORD, PGPASSFILE, PGSSLMODE, PGSSLROOTCERT. Passwords are never printed. A pooled host, or a role without the rights to migrate, is worth a ! and no fault, as applications have both; --migrate makes it one.\nExit codes: 0 fine, 1 something is wrong, 2 wrong use.\n\nExamples:\n  sepulki validate\n  sepulki validate --migrate && sepulki migrate up\n  sepulki validate -o json\n  sepulki validate 'postgresql://me@localhost/app'"
)]
pub(super) struct ValidateArgs {
    /// The database; its password comes from PGPASSWORD or ~/.pgpass
    url: Option<String>,
    /// Fail where migrations could not run, too
    #[arg(long)]
    migrate: bool,
    /// What to print
    #[arg(short, long, default_value = "table", value_name = "FORMAT")]
    output: Format,
}

/// One question and its answer.
#[derive(Debug, Serialize)]
struct Check {
    name: &'static str,
    /// Whether it is as it should be; none where it is worth a word, but no fault.
    good: Option<bool>,
    message: String,
}

impl Check {
    fn of(name: &'static str, good: impl Into<Option<bool>>, message: impl Into<String>) -> Self {
        Self {
            name,
            good: good.into(),
            message: message.into(),
        }
    }
}

pub(super) fn run(args: &ValidateArgs) -> Result<Ended> {
    let target = match &args.url {
        Some(url) => connection::without_password(url, connection::VARIABLE)?,
        None => connection::from_environment()?,
    };
    let checks = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?
        .block_on(Box::pin(validate(&target, args.migrate)));
    let failed = checks.iter().any(|check| check.good == Some(false));
    output::print(args.output, &checks, |checks| {
        let line = |check: &Check| {
            let mark = output::mark(check.good);
            format!("{mark} {}: {}\n", check.name, check.message)
        };
        checks.iter().map(line).collect()
    })?;
    Ok(if failed { Ended::Failed } else { Ended::Fine })
}

/// All questions; what only keeps migrations from running is a fault where it `migrates`.
async fn validate(target: &Target, migrates: bool) -> Vec<Check> {
    let mut checks = vec![format(target)];
    let options = Options {
        patience: PATIENCE,
        ..Options::default()
    };
    let opened = connect(target, "sepulki validate", &options);
    match told_to_wait(target, opened).await {
        Ok(mut session) => {
            checks.push(endpoint(target, migrates).await);
            checks.push(tls(target));
            checks.push(Check::of("login", true, format!("as {}", target.user)));
            match inside(&mut session, migrates).await {
                Ok(inside) => checks.extend(inside),
                Err(error) => checks.push(Check::of("server", false, error.to_string())),
            }
            let _ = session.close().await;
        }
        Err(error) => {
            checks.push(endpoint_by_name(target, migrates));
            // whoever is refused by the server has seen its certificate
            checks.push(if error.server.is_some() {
                tls(target)
            } else {
                Check::of("tls", None, "not known: there was no session")
            });
            let said = error.to_string();
            let message = match advice::certificate(&said) {
                Some(advice) => format!("{said}; {advice}"),
                None => said,
            };
            checks.push(Check::of("login", false, message));
        }
    }
    checks
}

/// What keeps migrations from running is a fault for those alone who want to migrate.
fn no_fault_unless(migrates: bool) -> Option<bool> {
    migrates.then_some(false)
}

fn format(target: &Target) -> Check {
    let Target {
        host,
        port,
        database,
        ..
    } = target;
    Check::of("url", true, format!("database {database} at {host}:{port}"))
}

fn endpoint_by_name(target: &Target, migrates: bool) -> Check {
    if run::is_pooler(&target.host) {
        let message = "pooled: right for applications; migrations need the host without -pooler";
        Check::of("endpoint", no_fault_unless(migrates), message)
    } else {
        Check::of("endpoint", None, "not known: there was no session")
    }
}

/// Whether a session is one of the server. A pooler need not say so in its name: it either refuses settings that a session
/// begins with, or keeps them to itself.
async fn endpoint(target: &Target, migrates: bool) -> Check {
    if run::is_pooler(&target.host) {
        return endpoint_by_name(target, migrates);
    }
    match run::is_direct(target, PATIENCE).await {
        Ok(true) => Check::of("endpoint", true, "direct"),
        Ok(false) => Check::of(
            "endpoint",
            no_fault_unless(migrates),
            "pooled: right for applications; migrations need a connection that leads past the pooler",
        ),
        Err(error) => Check::of("endpoint", None, format!("not known: {error}")),
    }
}

fn tls(target: &Target) -> Check {
    match &target.tls {
        Tls::WebPki => Check::of("tls", true, "verified by public authorities"),
        Tls::Ca(_) => Check::of("tls", true, "verified by the authority of sslrootcert"),
        Tls::Disable => Check::of("tls", None, "none, on this machine"),
    }
}

const FACTS: &str = "SELECT current_setting('server_version') AS version, \
       current_setting('server_version_num')::int4 AS number, \
       pg_catalog.pg_is_in_recovery() AS standby, \
       current_setting('transaction_read_only') = 'on' AS read_only, \
       has_database_privilege(current_database(), 'CONNECT') AS connects, \
       has_database_privilege(current_database(), 'CREATE') AS creates, \
       coalesce(has_schema_privilege(to_regnamespace('public'), 'CREATE'), false) AS in_public, \
       coalesce(has_table_privilege(to_regclass('public.schema_migrations'), 'INSERT'), true) AS writes, \
       (SELECT coalesce(string_agg(extname || ' ' || extversion, ', ' ORDER BY extname), '') \
         FROM pg_catalog.pg_extension WHERE extname <> 'plpgsql') AS extensions, \
       extract(epoch FROM clock_timestamp())::bigint AS seconds";

fn get<'r, T: Decode<'r, Postgres> + Type<Postgres>>(
    row: &'r PgRow,
    column: &str,
) -> Result<T, sqlx::Error> {
    row.try_get(column)
}

/// What only the server can tell.
async fn inside(session: &mut PgConnection, migrates: bool) -> Result<Vec<Check>, sqlx::Error> {
    let row = sqlx::raw_sql(FACTS).fetch_one(&mut *session).await?;
    let number: i32 = get(&row, "number")?;
    let version: String = get(&row, "version")?;
    let (standby, read_only): (bool, bool) = (get(&row, "standby")?, get(&row, "read_only")?);
    let (connects, creates): (bool, bool) = (get(&row, "connects")?, get(&row, "creates")?);
    let (schema, writes): (bool, bool) = (get(&row, "in_public")?, get(&row, "writes")?);
    let extensions: String = get(&row, "extensions")?;
    let seconds: i64 = get(&row, "seconds")?;
    let apart = (SystemClock.now().as_second() - seconds).abs();
    let writable = !standby && !read_only;
    Ok(vec![
        Check::of(
            "version",
            number >= OLDEST,
            format!(
                "PostgreSQL {version}{}",
                if number >= OLDEST {
                    ""
                } else {
                    "; 15 or later is needed"
                }
            ),
        ),
        Check::of(
            "writable",
            writable,
            match (standby, read_only) {
                (true, _) => "no: this is a standby or read replica",
                (false, true) => "no: transactions of this role or database are read-only",
                (false, false) => "yes",
            },
        ),
        Check::of(
            "privileges",
            if connects && creates && schema && writes {
                Some(true)
            } else {
                no_fault_unless(migrates)
            },
            privileges(creates, schema, writes),
        ),
        Check::of(
            "extensions",
            true,
            if extensions.is_empty() {
                "none installed".to_owned()
            } else {
                extensions
            },
        ),
        Check::of(
            "clock",
            apart <= CLOCKS,
            format!("{apart} s apart from this machine's"),
        ),
    ])
}

/// What this role can do, for people who want to migrate.
fn privileges(creates: bool, schema: bool, writes: bool) -> String {
    let lacks: Vec<&str> = [
        (creates, "create schemas"),
        (schema, "create tables in public"),
        (writes, "write the ledger"),
    ]
    .into_iter()
    .filter(|(may, _)| !may)
    .map(|(_, what)| what)
    .collect();
    if lacks.is_empty() {
        "enough to migrate".to_owned()
    } else {
        format!(
            "enough to connect; to migrate, this role would have to {}",
            lacks.join(", ")
        )
    }
}
