//! `sepulki migrate` and `sepulki validate` as people and scripts use them: the program itself
//! against real PostgreSQL.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test says what it expects by failing"
)]

mod adoption;
mod advice;
mod begun;
#[path = "../engine_support/mod.rs"]
mod engine_support;
mod pooled;
mod printing;

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Output, Stdio},
    sync::atomic::Ordering,
    time::Duration,
};

use engine_support::{
    World, documented,
    relay::{Relay, Startup},
};
use serde_json::Value;
use tempfile::TempDir;

/// How many sessions are in `pg_sleep()`.
const ASLEEP: &str = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'";

/// A database and a folder of migrations.
struct Checkout {
    world: World,
    folder: TempDir,
}

impl Checkout {
    async fn new(files: &[(&str, &str)]) -> Self {
        let checkout = Self {
            world: World::new().await,
            folder: tempfile::tempdir().unwrap(),
        };
        std::fs::create_dir(checkout.migrations()).unwrap();
        for (name, text) in files {
            checkout.write(name, text);
        }
        checkout
    }

    fn migrations(&self) -> std::path::PathBuf {
        self.folder.path().join("migrations")
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.migrations().join(name), text).unwrap();
    }

    fn url(&self) -> String {
        self.url_of(&self.world.database.name)
    }

    /// The owner's URL of any database of the server.
    fn url_of(&self, name: &str) -> String {
        let (server, database) = (self.world.server, &self.world.database);
        format!(
            "postgresql://{}:{}@{}:{}/{name}?sslmode=verify-full&sslrootcert={}",
            database.owner,
            database.owner_password,
            server.host,
            server.port,
            server.ca_file.display()
        )
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sepulki"));
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .env_clear()
            .env("DATABASE_URL", self.url())
            .stdin(Stdio::null());
        command
    }

    /// Starts `migrate up`, and waits until one of its files is in `pg_sleep()`.
    async fn up_asleep(&self) -> Child {
        let child = self
            .command(&["migrate", "up"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        self.world.until(ASLEEP, "1").await;
        child
    }

    /// Runs the program; the password is in nothing that it prints.
    fn run(&self, arguments: &[&str]) -> Ran {
        let ran = Ran::of(self.command(arguments).output().unwrap());
        let password = &self.world.database.owner_password;
        assert!(
            !ran.out.contains(password) && !ran.err.contains(password),
            "{ran:?}"
        );
        ran
    }
}

#[derive(Debug)]
struct Ran {
    code: i32,
    out: String,
    err: String,
}

impl Ran {
    fn of(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

const A: (&str, &str) = ("001_a.sql", "CREATE TABLE a (id int);\n");
const B: (&str, &str) = (
    "002_b.sql",
    "ALTER TABLE a ADD COLUMN b text;\nCREATE INDEX CONCURRENTLY a_b ON a (b);\n",
);
const C: (&str, &str) = ("003_c.sql", "CREATE TABLE c (id int);\n");

#[tokio::test]
async fn from_an_empty_database_to_nothing_pending() {
    let checkout = Checkout::new(&[A, B, C]).await;
    let status = checkout.run(&["migrate", "status"]);
    assert_eq!(status.code, 3, "{status:?}");
    let lines: Vec<&str> = status.out.lines().collect();
    assert_eq!(
        lines,
        [
            "VERSION    STATE    APPLIED AT  CHECKSUM",
            "001_a.sql  pending",
            "002_b.sql  pending",
            "003_c.sql  pending"
        ]
    );
    let plan = checkout.run(&["migrate", "plan"]);
    assert_eq!(plan.code, 3);
    let lines: Vec<&str> = plan.out.lines().collect();
    assert_eq!(
        lines,
        [
            "VERSION    LINE  STATEMENTS  RUNS AS",
            "001_a.sql  1     1           transaction",
            "002_b.sql  1     1           transaction",
            "           2     1           CREATE INDEX CONCURRENTLY",
            "003_c.sql  1     1           transaction"
        ]
    );
    assert_eq!(checkout.world.tables().await, "");

    let up = checkout.run(&["migrate", "up", "--target", "002_b.sql"]);
    assert_eq!((up.code, up.out.as_str()), (0, "2 applied\n"), "{up:?}");
    assert!(
        up.err
            .contains("applying 001_a.sql (1 of 2)\napplied 001_a.sql\n"),
        "{up:?}"
    );
    assert!(
        up.err.contains("002_b.sql:2: CREATE INDEX CONCURRENTLY"),
        "{up:?}"
    );
    let up = checkout.run(&["migrate", "up", "-o", "json"]);
    assert_eq!(up.json()["applied"], serde_json::json!(["003_c.sql"]));
    let up = checkout.run(&["migrate", "up"]);
    assert_eq!((up.code, up.out.as_str()), (0, "nothing to do\n"));

    let status = checkout.run(&["migrate", "status", "--output", "json"]);
    assert_eq!(status.code, 0);
    let report = status.json();
    assert_eq!(report["ledger"], "public.schema_migrations");
    for file in report["files"].as_array().unwrap() {
        assert_eq!(file["state"], "applied");
        assert_eq!(file["checksum"], "matches");
        assert!(file["appliedAt"].as_str().unwrap().ends_with('Z'));
    }
    let yaml = checkout.run(&["migrate", "status", "-o", "yaml"]);
    assert!(yaml.out.contains("version: 001_a.sql"), "{yaml:?}");
}

#[tokio::test]
async fn a_broken_file_is_shown_as_a_compiler_would() {
    let checkout = Checkout::new(&[A, ("002_b.sql", "SELECT 1;\nSELEC 2;\n")]).await;
    for command in ["status", "plan"] {
        let ran = checkout.run(&["migrate", command]);
        assert_eq!(ran.code, 1, "{ran:?}");
        assert!(ran.out.contains("002_b.sql:2:1: "), "{ran:?}");
    }
    let up = checkout.run(&["migrate", "up"]);
    assert_eq!(up.code, 1);
    for part in [
        "nothing was applied",
        "002_b.sql:2:1: ",
        " 2 | SELEC 2;",
        "^^^^^",
    ] {
        assert!(up.err.contains(part), "{part}: {up:?}");
    }
    assert_eq!(checkout.world.tables().await, "");

    checkout.write("002_b.sql", "SELECT 1;\nSELECT nope FROM a;\n");
    let up = checkout.run(&["migrate", "up"]);
    assert_eq!(up.code, 1);
    for part in [
        "002_b.sql:2:8: ",
        "(SQLSTATE 42703)",
        "outcome: the file was rolled back",
    ] {
        assert!(up.err.contains(part), "{part}: {up:?}");
    }
    assert_eq!(checkout.world.versions().await, ["001_a.sql"]);
}

#[tokio::test]
async fn exactly_one_file_and_files_that_are_recorded_only() {
    let checkout = Checkout::new(&[A, C]).await;
    let up = checkout.run(&["migrate", "up", "003_c.sql"]);
    assert_eq!(up.code, 1);
    assert!(
        up.err
            .contains("001_a.sql is pending and comes before 003_c.sql"),
        "{up:?}"
    );
    let nothing = "SELECT to_regclass('schema_migrations') IS NULL AND to_regnamespace('sepulki_engine') IS NULL";
    assert_eq!(checkout.world.one(nothing).await, "true");
    assert_eq!(checkout.run(&["migrate", "up", "nowhere.sql"]).code, 2);

    let baseline = checkout.run(&["migrate", "baseline", "001_a.sql"]);
    assert_eq!(
        (baseline.code, baseline.out.as_str()),
        (0, "recorded as applied: 001_a.sql\n"),
        "{baseline:?}"
    );
    assert_eq!(checkout.world.tables().await, "");
    assert_eq!(checkout.run(&["migrate", "up", "003_c.sql"]).code, 0);
    assert_eq!(checkout.world.tables().await, "c");
    let again = checkout.run(&["migrate", "baseline", "003_c.sql"]);
    assert_eq!(again.out, "recorded already\n");

    checkout.write(
        "004_d.sql",
        "CREATE TABLE a (id int);\nVACUUM a;\nSELECT 1/0;\n",
    );
    // half of it is applied, then somebody does the rest by hand
    let half = checkout.run(&["migrate", "up"]);
    assert_eq!(half.code, 1);
    let begun = half.err.matches("applying 004_d.sql").count();
    assert_eq!(begun, 1, "told with each part: {half:?}");
    let mark = checkout.run(&["migrate", "mark", "004_d.sql", "-o", "json"]);
    assert_eq!(mark.json()["recorded"], serde_json::json!(["004_d.sql"]));
    let notes = "SELECT count(*) FROM sepulki_engine.journal";
    assert_eq!(checkout.world.one(notes).await, "0");
    assert_eq!(checkout.run(&["migrate", "status"]).code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn up_with_nothing_pending_needs_one_session_and_no_warning() {
    let drop = ("004_d.sql", "DROP TABLE c;\n");
    let checkout = Checkout::new(&[A, C, drop]).await;
    let world = &checkout.world;
    let relay = Relay::start(world.socket(), Startup::Forward).await;
    let (user, name) = (&world.server.user, &world.database.name);
    let url = format!("postgresql://{user}@127.0.0.1:{}/{name}", relay.port);
    let up = || {
        let mut command = checkout.command(&["migrate", "up"]);
        Ran::of(command.env("DATABASE_URL", &url).output().unwrap())
    };
    let first = up();
    assert_eq!(first.code, 0, "{first:?}");
    let warned = first.err.find("the operator would not run this");
    assert!(warned.is_none(), "it is made by the same run: {first:?}");
    relay.turns.store(0, Ordering::Relaxed);
    assert_eq!(up().out, "nothing to do\n");
    let turns = relay.turns.load(Ordering::Relaxed);
    assert!(turns <= 4 + 2, "{turns} turns for nothing");

    checkout.write("005_e.sql", "DROP TABLE a;\n");
    let last = up();
    let warned = last.err.find("it runs now").unwrap();
    assert!(
        warned < last.err.find("applying 005_e.sql").unwrap(),
        "{last:?}"
    );
}

#[tokio::test]
async fn a_file_that_was_begun_is_shown_as_such() {
    let checkout = Checkout::new(&[
        A,
        ("002_v.sql", "CREATE TABLE v ();\nVACUUM v;\nSELECT 1/0;\n"),
    ])
    .await;
    checkout.write("._001_a.sql", "no SQL");
    assert_eq!(
        checkout
            .run(&["migrate", "up", "--lock-timeout", "500ms"])
            .code,
        1
    );
    let status = checkout.run(&["migrate", "status"]);
    assert_eq!(status.code, 3, "{status:?}");
    assert!(status.out.contains("002_v.sql  interrupted"), "{status:?}");
    let on = "an earlier run was interrupted: what stands in front of this line is committed; the next run goes on here";
    for ran in [status, checkout.run(&["migrate", "plan"])] {
        assert!(ran.out.contains("! 002_v.sql:3: an earlier"), "{ran:?}");
        documented(&ran.out, on);
    }
    let file = |name: &str| checkout.migrations().join(name);
    std::fs::rename(file("002_v.sql"), file("002_w.sql")).unwrap();
    let renamed = ["migrate", "status", "--alias", "002_v.sql=002_w.sql"];
    let status = checkout.run(&renamed);
    assert_eq!(status.code, 3, "{status:?}");
    assert!(status.out.contains("002_w.sql  interrupted"), "{status:?}");
    std::fs::rename(file("002_w.sql"), file("002_v.sql")).unwrap();
    let confused = checkout.run(&["migrate", "up", "--alias", "002_v.sql=001_a.sql"]);
    assert_eq!(confused.code, 1, "{confused:?}");
    documented(
        &confused.err,
        "is one of the files, but by an alias what is recorded under this name is about",
    );

    checkout.write("002_v.sql", "CREATE TABLE w ();\nSELECT 1;\n");
    for command in ["status", "plan", "up"] {
        let ran = checkout.run(&["migrate", command]);
        assert_eq!(ran.code, 1, "{ran:?}");
        let told = [ran.out, ran.err].concat();
        assert!(
            told.contains("002_v.sql:1:1: ") && told.contains("edited since"),
            "{told}"
        );
    }
    std::fs::remove_file(checkout.migrations().join("002_v.sql")).unwrap();
    let status = checkout.run(&["migrate", "status"]);
    assert_eq!(status.code, 1, "{status:?}");
    assert!(
        status.out.contains("its first 2 parts are committed"),
        "{status:?}"
    );
    assert_eq!(checkout.run(&["migrate", "up"]).code, 1);
}

#[tokio::test]
async fn what_cannot_be_in_order_is_told_before_and_after() {
    let checkout = Checkout::new(&[A, ("001_b.sql", "SELECT 1;\n")]).await;
    for command in ["lint", "plan", "up"] {
        let ran = checkout.run(&["migrate", command]);
        assert_eq!(ran.code, 1, "{ran:?}");
        let told = [ran.out, ran.err].concat();
        assert!(
            told.contains("001_b.sql: the same number as 001_a.sql"),
            "{told}"
        );
    }
    let ignored = checkout.run(&["migrate", "lint", "--ignore-lint", "SameNumber"]);
    assert_eq!(ignored.code, 0, "{ignored:?}");

    let checkout = Checkout::new(&[A, C]).await;
    let early = checkout.run(&["migrate", "mark", "003_c.sql"]);
    assert_eq!(early.code, 1, "{early:?}");
    assert!(early.err.contains("001_a.sql is pending"), "{early:?}");
    assert_eq!(checkout.run(&["migrate", "up"]).code, 0);
    checkout.write(B.0, B.1);
    let late = checkout.run(&["migrate", "up", B.0]);
    assert_eq!(late.code, 1, "{late:?}");
    assert!(late.err.contains("give it a higher number"), "{late:?}");
}

#[tokio::test]
async fn policies_are_flags_with_the_names_of_the_fields() {
    let checkout = Checkout::new(&[A, C]).await;
    assert_eq!(checkout.run(&["migrate", "up"]).code, 0);
    checkout.write(B.0, B.1);
    checkout.write(C.0, "CREATE TABLE c (id bigint);\n");
    let status = checkout.run(&["migrate", "status"]);
    assert_eq!(status.code, 1);
    assert!(
        status
            .out
            .contains("✗ 002_b.sql is not applied, but 003_c.sql"),
        "{status:?}"
    );
    assert!(status.out.contains("✗ 003_c.sql was edited"), "{status:?}");
    let allowed = [
        "migrate",
        "status",
        "--out-of-order",
        "Allow",
        "--checksum-mismatch",
        "warn",
    ];
    let status = checkout.run(&allowed);
    assert_eq!(status.code, 3, "{status:?}");
    assert!(status.out.contains("! 003_c.sql was edited"), "{status:?}");

    let plan = checkout.run(&["migrate", "status", "-o", "json"]).json();
    let sum = plan["problems"].to_string();
    assert!(sum.contains("Drifted"), "{sum}");
    let content = std::fs::read(checkout.migrations().join(C.0)).unwrap();
    let accepted = format!("{}={}", C.0, sha256(&content));
    let up = checkout.run(&[
        "migrate",
        "up",
        "--out-of-order=Allow",
        "--accept",
        &accepted,
    ]);
    assert_eq!(up.code, 0, "{up:?}");
    assert_eq!(
        checkout.world.versions().await,
        ["001_a.sql", "002_b.sql", "003_c.sql"]
    );

    std::fs::rename(
        checkout.migrations().join(A.0),
        checkout.migrations().join("000_a.sql"),
    )
    .unwrap();
    let alias = ["--alias", "001_a.sql=000_a.sql", "--accept", &accepted];
    let status = checkout.run(&[&["migrate", "status"][..], &alias[..]].concat());
    assert_eq!(status.code, 0, "{status:?}");
}

/// What the ledger would record, by way of the bundle.
fn sha256(content: &[u8]) -> String {
    let file = sepulki::engine::SourceFile {
        name: "x.sql".into(),
        bytes: content.to_vec(),
    };
    let bundle = sepulki::engine::Bundle::compile(vec![file]).unwrap();
    bundle.files()[0].sha256().to_owned()
}

#[tokio::test]
async fn wrong_use_is_told_apart_from_failure() {
    let checkout = Checkout::new(&[A]).await;
    for arguments in [
        &["migrate", "up", "--deadline", "soon"][..],
        &["migrate", "status", "--dir", "nowhere"],
        &["migrate", "status", "--out-of-order", "Perhaps"],
        &["migrate", "status", "--accept", "001_a.sql"],
        &["migrate", "status", "--ledger", "sepulki_engine.journal"],
        &["migrate", "status", "--ledger", "app.public.done"],
        &["migrate", "status", "--lock-timeout", "1.5ms"],
        &["migrate", "status", "--lock-timeout", "100d"],
        &["migrate", "status", "--lock-timeout", "0s"],
        &["migrate", "up", "--statement-timeout", "25d"],
        &["migrate", "up", "--max-blocked", "2147483648ms"],
        &["migrate", "fly"],
        &["migrate", "up", "001_a.sql", "--target", "001_a.sql"],
        &["validate", "mysql://x"],
    ] {
        let ran = checkout.run(arguments);
        assert_eq!(ran.code, 2, "{arguments:?}: {ran:?}");
        assert!(!ran.err.is_empty(), "{arguments:?}");
    }
    let short = checkout.run(&["migrate", "up", "--accept", "001_a.sql=abc"]);
    assert_eq!(short.code, 2, "{short:?}");
    assert!(short.err.contains("64 hexadecimal digits"), "{short:?}");
    let mut command = checkout.command(&["migrate", "status"]);
    let ran = Ran::of(command.env_remove("DATABASE_URL").output().unwrap());
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("DATABASE_URL is not set"), "{ran:?}");
    // nobody there, a wrong password: failures
    let wrong = checkout
        .url()
        .replace(&checkout.world.database.owner_password, "hunter2");
    let mut command = checkout.command(&["migrate", "status"]);
    let ran = Ran::of(command.env("DATABASE_URL", wrong).output().unwrap());
    assert_eq!(ran.code, 1);
    assert!(
        ran.err.contains("28P01") && !ran.err.contains("hunter2"),
        "{ran:?}"
    );
    for command in [&["migrate"][..], &["migrate", "up"], &["validate"]] {
        let help = checkout.run(&[command, &["--help"]].concat());
        assert_eq!(help.code, 0);
        assert!(help.out.contains("Example"), "{command:?}: {help:?}");
    }
}

#[tokio::test]
async fn whoever_has_to_wait_for_a_server_is_told_for_which() {
    let checkout = Checkout::new(&[A]).await;
    let mut command = checkout.command(&["migrate", "status"]);
    command.env("DATABASE_URL", "postgresql://me@127.0.0.1:1/app");
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut err = BufReader::new(child.stderr.take().unwrap());
    err.read_line(&mut line).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(line, "waiting for 127.0.0.1:1\n");
}

#[tokio::test]
async fn descriptions_are_written_into_a_folder_that_need_not_be_there() {
    let checkout = Checkout::new(&[]).await;
    let ran = checkout.run(&["crds", "--output", "deploy/crds"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let written = std::fs::read_dir(checkout.folder.path().join("deploy/crds"));
    assert_eq!(written.unwrap().count(), 3);
}

#[tokio::test]
async fn an_interrupt_cancels_on_the_server_and_the_next_run_goes_on() {
    let checkout = Checkout::new(&[A, ("002_b.sql", "SELECT pg_sleep(30);\n")]).await;
    let mut child = checkout.up_asleep().await;
    let pid = child.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-INT", &pid])
            .status()
            .unwrap()
            .success()
    );
    let ended = tokio::task::spawn_blocking(move || child.wait().unwrap());
    let status = tokio::time::timeout(Duration::from_secs(30), ended).await;
    assert_eq!(status.unwrap().unwrap().code(), Some(1));
    checkout.world.until(ASLEEP, "0").await;
    checkout.write("002_b.sql", "SELECT 1;\n");
    assert_eq!(checkout.run(&["migrate", "up"]).code, 0);
}

#[tokio::test]
async fn files_are_looked_through_without_a_database() {
    let risky = (
        "003_c.sql",
        "-- squawk-ignore ban-drop-table\nDROP TABLE b;\nTRUNCATE a CASCADE;\nALTER TABLE a RENAME TO c;\n",
    );
    let checkout = Checkout::new(&[A, B, risky]).await;
    let lint = |arguments: &[&str]| {
        let mut command = checkout.command(&[&["migrate", "lint"], arguments].concat());
        Ran::of(command.env_remove("DATABASE_URL").output().unwrap())
    };
    let ran = lint(&[]);
    assert_eq!(ran.code, 1, "{ran:?}");
    for part in [
        "error[ban-truncate-cascade] 003_c.sql:3:12: ",
        "3 | TRUNCATE a CASCADE;",
        "warning[renaming-table] 003_c.sql:4:",
        "1 error, 1 warning; hidden by comments: 003_c.sql:2 ban-drop-table",
    ] {
        assert!(ran.out.contains(part), "{part}: {ran:?}");
    }
    assert_eq!(lint(&[A.0, B.0, "--fail-on-lint", "warning"]).code, 0);
    let ignore = "--ignore-lint=ban-truncate-cascade=003_c.sql";
    assert_eq!(lint(&[ignore]).code, 0);
    assert_eq!(lint(&[ignore, "--fail-on-lint", "Warning"]).code, 1);
    assert_eq!(lint(&["--ignore-lint", "no-such-rule"]).code, 2);
    assert_eq!(lint(&["009_z.sql"]).code, 2);

    let github = lint(&["--report", "github"]).out;
    let annotation = "::error file=migrations/003_c.sql,line=3,col=12,title=ban-truncate-cascade::";
    assert!(github.contains(annotation), "{github}");
    let sarif = lint(&["--report", "sarif"]).json();
    let results = sarif["runs"][0]["results"].as_array().unwrap();
    assert_eq!(results.len(), 3, "{sarif}");
    let place = &results[0]["locations"][0]["physicalLocation"];
    assert_eq!(place["artifactLocation"]["uri"], "migrations/003_c.sql");
    assert!(
        results[2]["suppressions"][0]["kind"] == "inSource",
        "{sarif}"
    );
    let json = lint(&["-o", "json"]).json();
    assert_eq!(json["suppressed"][0]["rule"], "ban-drop-table");

    // whoever names the files that are going to run says that the others are applied
    let index = "CREATE INDEX i ON a (id);\n";
    checkout.write("003_c.sql", index);
    assert!(lint(&[]).out.ends_with("0 errors, 0 warnings\n"));
    assert!(
        lint(&["003_c.sql"])
            .out
            .contains("require-concurrent-index-creation")
    );

    // what cannot be run at all is told with the rest
    checkout.write("004_d.sql", "CREATE TABEL d ();");
    let broken = lint(&["004_d.sql"]);
    assert_eq!(broken.code, 1);
    assert!(
        broken.out.contains("error[Syntax] 004_d.sql:1:"),
        "{broken:?}"
    );
}

#[tokio::test]
async fn what_loses_data_is_told_before_it_runs() {
    let checkout = Checkout::new(&[A, ("002_b.sql", "DELETE FROM a;\n")]).await;
    let own = checkout.run(&["migrate", "up"]);
    assert_eq!(own.code, 0, "{own:?}");
    assert!(
        !own.err.contains("warning"),
        "a was made a moment ago: {own:?}"
    );
    checkout.write("003_c.sql", "DROP TABLE a;\n");
    let up = checkout.run(&["migrate", "up"]);
    assert_eq!(up.code, 0, "{up:?}");
    let told = up
        .err
        .find("error[ban-drop-table] 003_c.sql:1:1: ")
        .unwrap();
    assert!(told < up.err.find("applying 003_c.sql").unwrap(), "{up:?}");
    assert!(
        up.err.contains("warning: the operator would not run this"),
        "{up:?}"
    );
    assert_eq!(checkout.world.tables().await, "");
}

#[tokio::test]
async fn shells_complete_commands() {
    let checkout = Checkout::new(&[]).await;
    for shell in ["bash", "zsh", "fish"] {
        let ran = checkout.run(&["completion", shell]);
        assert_eq!(ran.code, 0, "{ran:?}");
        assert!(
            ran.out.contains("baseline") && ran.out.contains("fail-on-lint"),
            "{shell}"
        );
    }
}

#[tokio::test]
async fn the_next_file_is_made() {
    let checkout = Checkout::new(&[A, B]).await;
    let new = checkout.run(&["migrate", "new", "Add", "robots"]);
    assert_eq!(
        (new.code, new.out.as_str()),
        (0, "migrations/003_add_robots.sql\n"),
        "{new:?}"
    );
    let path = Path::new("migrations/003_add_robots.sql");
    let text = std::fs::read_to_string(checkout.folder.path().join(path)).unwrap();
    assert_eq!(text, "-- Add robots\n");
    assert_eq!(checkout.run(&["migrate", "up"]).code, 0);
}

#[tokio::test]
async fn the_first_file_is_made_where_there_is_none() {
    let checkout = Checkout::new(&[]).await;
    std::fs::remove_dir(checkout.migrations()).unwrap();
    let new = checkout.run(&["migrate", "new", "robots"]);
    let first = "migrations/001_robots.sql";
    assert_eq!((new.code, new.out.trim_end()), (0, first), "{new:?}");
    // as a shell completes the name
    let up = checkout.run(&["migrate", "up", first]);
    assert_eq!((up.code, up.out.as_str()), (0, "1 applied\n"), "{up:?}");
    let elsewhere = checkout.run(&["migrate", "up", "elsewhere/001_robots.sql"]);
    assert_eq!(elsewhere.code, 2, "{elsewhere:?}");
}

#[tokio::test]
async fn a_file_that_cannot_be_read_is_not_passed_over() {
    use std::os::unix::{ffi::OsStrExt, fs::symlink};
    let checkout = Checkout::new(&[A, C]).await;
    let folder = checkout.migrations();
    std::fs::create_dir(folder.join("old.sql")).unwrap();
    let refused = |name: &std::ffi::OsStr, why: &str| {
        let ran = checkout.run(&["migrate", "up"]);
        assert_eq!(ran.code, 2, "{name:?}: {ran:?}");
        assert!(ran.err.contains(why), "{name:?}: {ran:?}");
        std::fs::remove_file(folder.join(name)).unwrap();
    };
    symlink("nowhere", folder.join("002_b.sql")).unwrap();
    refused(
        "002_b.sql".as_ref(),
        "cannot read migrations/002_b.sql: No such file",
    );
    checkout.write("002_b.SQL", "SELECT 1;");
    refused("002_b.SQL".as_ref(), "002_b.SQL would be left out");
    let name = std::ffi::OsStr::from_bytes(b"002_\xff.sql");
    std::fs::write(folder.join(name), "SELECT 1;").unwrap();
    refused(name, "its name is not UTF-8");
    assert_eq!(checkout.world.tables().await, "");
    assert_eq!(checkout.run(&["migrate", "up"]).out, "2 applied\n");
}

#[tokio::test]
async fn a_database_is_validated() {
    let checkout = Checkout::new(&[]).await;
    let ran = checkout.run(&["validate"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    for line in [
        "✓ endpoint: direct",
        "✓ tls: verified by the authority of sslrootcert",
        "✓ version: PostgreSQL ",
        "✓ writable: yes",
        "✓ privileges: ",
        "✓ clock: ",
    ] {
        assert!(ran.out.contains(line), "{line}: {ran:?}");
    }
    let wrong = checkout
        .url()
        .replace(&checkout.world.database.name, "nowhere");
    let refused = checkout.command(&["validate", &wrong]).output().unwrap();
    let refused = Ran::of(refused);
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(refused.err.contains("PGPASSWORD"), "{refused:?}");
    let password = format!(":{}@", checkout.world.database.owner_password);
    let mut command = checkout.command(&["validate", &wrong.replace(&password, "@"), "-o", "json"]);
    command.env("PGPASSWORD", &checkout.world.database.owner_password);
    let ran = Ran::of(command.output().unwrap());
    assert_eq!(ran.code, 1);
    let login = &ran.json()[3];
    assert_eq!(
        (login["name"].as_str(), login["good"].as_bool()),
        (Some("login"), Some(false)),
        "{ran:?}"
    );
    // that database does not exist, but its server has shown its certificate
    assert_eq!(ran.json()[2]["good"].as_bool(), Some(true), "{ran:?}");
}

#[tokio::test]
async fn a_database_is_emptied_only_by_its_name() {
    let checkout = Checkout::new(&[A, C]).await;
    assert_eq!(checkout.run(&["migrate", "up"]).code, 0);
    assert_eq!(checkout.run(&["migrate", "reset"]).code, 2);
    let name = checkout.world.database.name.as_str();
    let wrong = checkout.run(&["migrate", "reset", "app"]);
    assert_eq!(wrong.code, 2);
    assert!(
        wrong.err.contains("not app") && wrong.err.contains(name),
        "{wrong:?}"
    );
    assert_eq!(checkout.world.tables().await, "a,c");
    let right = checkout.run(&["migrate", "reset", name, "-o", "json"]);
    assert_eq!(right.code, 0, "{right:?}");
    assert_eq!(right.json()["dropped"], 3);
    assert_eq!(checkout.world.tables().await, "");
    assert_eq!(checkout.run(&["migrate", "status"]).code, 3);
}

#[tokio::test]
async fn an_order_is_listed_where_names_have_none() {
    let checkout = Checkout::new(&[
        (
            "robots.sql",
            "CREATE TABLE robots (f int REFERENCES fleets);",
        ),
        ("fleets.sql", "CREATE TABLE fleets (id int PRIMARY KEY);"),
    ])
    .await;
    let list = |text: &str| std::fs::write(checkout.folder.path().join("order.txt"), text).unwrap();
    let explicit = ["--order", "Explicit", "--order-files", "order.txt"];
    let run = |command: &[&str]| checkout.run(&[&["migrate"], command, &explicit].concat());
    assert_eq!(run(&["plan"]).code, 2);
    list("fleets.sql\n");
    let unlisted = run(&["plan"]);
    assert_eq!(unlisted.code, 1);
    assert!(
        unlisted
            .err
            .contains("robots.sql: this file is not in the explicit order"),
        "{unlisted:?}"
    );
    list("\r\nfleets.sql\r\n  robots.sql \r\n");
    let up = run(&["up", "-o", "json"]);
    let order = serde_json::json!(["fleets.sql", "robots.sql"]);
    assert_eq!(up.json()["applied"], order, "{up:?}");
    for half in [["--order", "Explicit"], ["--order-files", "order.txt"]] {
        assert_eq!(checkout.run(&[["migrate", "plan"], half].concat()).code, 2);
    }
}

#[tokio::test]
async fn an_edited_file_is_recorded_as_it_is_now() {
    let checkout = Checkout::new(&[A, C]).await;
    assert_eq!(checkout.run(&["migrate", "up"]).code, 0);
    let (name, text) = A;
    let edited = format!("{text}\n-- why\nSELECT 1;\n");
    std::fs::write(checkout.migrations().join(name), &edited).unwrap();
    assert_eq!(checkout.run(&["migrate", "up"]).code, 1);
    let asked = checkout.run(&["migrate", "mark", name]);
    assert_eq!(asked.code, 1, "{asked:?}");
    let command = format!("`sepulki migrate mark {name} --accept`");
    assert!(asked.err.contains(&command), "{asked:?}");
    assert_eq!(checkout.run(&["migrate", "status", "--accept"]).code, 2);
    let marked = checkout.run(&["migrate", "mark", name, "--accept", "-o", "json"]);
    assert_eq!(
        marked.json(),
        serde_json::json!({"recorded": [], "accepted": [name]}),
        "{marked:?}"
    );
    let sum = format!(
        "SELECT checksum = '{}' FROM schema_migrations WHERE version = '{name}'",
        sha256(edited.as_bytes())
    );
    assert_eq!(checkout.world.one(&sum).await, "true");
    let up = checkout.run(&["migrate", "up"]);
    assert_eq!(up.code, 0, "{up:?}");
    assert!(up.out.contains("nothing to do"), "{up:?}");
}

#[tokio::test]
async fn help_leaves_out_what_does_nothing() {
    let checkout = Checkout::new(&[A]).await;
    for (command, there, left_out) in [
        (
            "new",
            &["--dir"][..],
            &["--ledger", "--role", "--alias", "--deadline"][..],
        ),
        (
            "reset",
            &["--lock-timeout", "--ledger"],
            &["--dir", "--alias", "--retries"],
        ),
        (
            "mark",
            &["--accept", "--alias", "--dir"],
            &["--role", "--retries", "--target"],
        ),
        ("up", &["--role", "--retries", "--ledger"], &[]),
    ] {
        let help = checkout.run(&["migrate", command, "--help"]);
        assert_eq!(help.code, 0);
        let has = |flag: &&str| help.out.contains(&format!("{flag} "));
        assert!(there.iter().all(has), "{help:?}");
        assert!(!left_out.iter().any(has), "{help:?}");
    }
}
