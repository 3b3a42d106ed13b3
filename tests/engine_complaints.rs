//! What users of other migration tools complain about most, one test for each kind of complaint.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test says what it expects by failing"
)]

mod engine_support;

use std::{
    process::{Child, Command, Stdio},
    time::Duration,
};

use engine_support::{World, bundle, slow::SLEEPING};
use sepulki::engine::{
    Code, ProblemKind,
    run::{RunError, apply},
};
use tempfile::TempDir;

const TABLE: (&str, &str) = (
    "001_t.sql",
    "CREATE TABLE t (a int); INSERT INTO t SELECT generate_series(1, 1000);",
);
const INDEX: (&str, &str) = (
    "002_i.sql",
    "CREATE INDEX CONCURRENTLY IF NOT EXISTS t_a ON t (a);",
);

/// Files in a folder of their own, for the program itself.
fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

/// `sepulki migrate up`, a process of its own.
fn up(world: &World, folder: &TempDir) -> Child {
    let (server, database) = (world.server, &world.database);
    let url = format!(
        "postgresql://{}:{}@{}:{}/{}?sslrootcert={}",
        database.owner,
        database.owner_password,
        server.host,
        server.port,
        database.name,
        server.ca_file.display()
    );
    Command::new(env!("CARGO_BIN_EXE_sepulki"))
        .args(["migrate", "up", "-o", "json", "--dir"])
        .arg(folder.path())
        .env("DATABASE_URL", url)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// How many files a process applied.
fn applied(child: Child) -> usize {
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    report["applied"].as_array().unwrap().len()
}

#[tokio::test]
async fn a_waiting_runner_and_a_concurrent_build_do_not_kill_each_other() {
    let files = folder(&[TABLE, INDEX]);
    let mut right = 0;
    for _ in 0..50 {
        let world = World::new().await;
        let runners = [up(&world, &files), up(&world, &files)];
        let counts = runners.map(applied);
        let valid = "SELECT indisvalid FROM pg_index WHERE indexrelid = 't_a'::regclass";
        assert_eq!(world.one(valid).await, "true");
        assert_eq!(world.one("SELECT count(*) FROM t").await, "1000");
        right += usize::from(counts == [0, 2] || counts == [2, 0]);
    }
    assert_eq!(right, 50);
}

#[tokio::test]
async fn a_killed_runner_leaves_no_lock_that_somebody_has_to_break() {
    let world = World::new().await;
    let files = folder(&[TABLE, ("002_s.sql", "SELECT pg_sleep(60);")]);
    let mut child = up(&world, &files);
    world.until(SLEEPING, "1").await;
    child.kill().unwrap();
    child.wait().unwrap();
    std::fs::write(files.path().join("002_s.sql"), "SELECT 1;").unwrap();
    assert_eq!(applied(up(&world, &files)), 1);
}

#[tokio::test]
async fn nobody_is_left_with_a_dirty_version_to_fix_and_force() {
    let world = World::new().await;
    let bad = "CREATE TABLE u (a int);\nINSERT INTO nowhere VALUES (1);";
    let found = world.fails(&[TABLE, ("002_u.sql", bad)]).await;
    assert!(found.outcome.unwrap().contains("nothing of it is left"));
    assert_eq!(world.tables().await, "t");
    let good = bad.replace("nowhere", "u");
    let report = world.run(&[TABLE, ("002_u.sql", &good)]).await.unwrap();
    assert_eq!(report.applied, ["002_u.sql"]);
}

#[tokio::test]
async fn an_invalid_index_is_not_accepted_on_the_second_try() {
    let world = World::new().await;
    world.run(&[TABLE]).await.unwrap();
    // a unique index on what is not unique fails late, and is left invalid
    let spoil = "INSERT INTO t VALUES (1);";
    let unique = INDEX.1.replace("INDEX", "UNIQUE INDEX");
    let files = [TABLE, ("002_i.sql", unique.as_str())];
    world.execute(spoil).await;
    for _ in 0..2 {
        assert_eq!(world.fails(&files).await.sqlstate.as_deref(), Some("23505"));
    }
    world
        .execute("DELETE FROM t WHERE ctid = (SELECT max(ctid) FROM t)")
        .await;
    world.run(&files).await.unwrap();
    let valid = "SELECT indisvalid FROM pg_index WHERE indexrelid = 't_a'::regclass";
    assert_eq!(world.one(valid).await, "true");
}

#[tokio::test]
async fn outside_a_transaction_means_outside_of_any() {
    let world = World::new().await;
    // several statements in one file, no directive in its first line
    let file = "\n-- a comment\nALTER TABLE t ADD COLUMN b int;\nCREATE INDEX CONCURRENTLY t_b ON t (b);\nCREATE INDEX CONCURRENTLY t_ab ON t (a, b);\nVACUUM t;\n";
    world.run(&[TABLE, ("002_b.sql", file)]).await.unwrap();
    assert_eq!(
        world
            .one("SELECT count(*) FROM pg_index WHERE indrelid = 't'::regclass AND indisvalid")
            .await,
        "2"
    );
}

#[tokio::test]
async fn line_endings_break_no_checksum() {
    let world = World::new().await;
    world
        .run(&[("001_t.sql", "CREATE TABLE t (a int);\n\nSELECT 1;\n")])
        .await
        .unwrap();
    for text in [
        "CREATE TABLE t (a int);\r\n\r\nSELECT 1;\r\n",
        "\u{feff}CREATE TABLE t (a int);\n\nSELECT 1;",
    ] {
        let report = world.run(&[("001_t.sql", text)]).await.unwrap();
        assert!(
            report.applied.is_empty() && report.plan.problems.is_empty(),
            "{text:?}"
        );
    }
}

#[tokio::test]
async fn neither_an_inherited_timeout_nor_a_queue_behind_a_lock_stops_the_show() {
    let world = World::new().await;
    let owner = &world.database.owner;
    world
        .execute(&format!(
            "ALTER ROLE {owner} SET statement_timeout = '100ms'; ALTER ROLE {owner} SET lock_timeout = '1ms'; \
             ALTER ROLE {owner} SET idle_in_transaction_session_timeout = '1ms'"
        ))
        .await;
    let slow = ("002_s.sql", "SELECT pg_sleep(0.5);");
    assert_eq!(world.run(&[TABLE, slow]).await.unwrap().applied.len(), 2);

    let mut reader = world.superuser().await;
    sqlx::raw_sql("BEGIN; SELECT * FROM t")
        .execute(&mut reader)
        .await
        .unwrap();
    let mut request = world.request(&bundle(&[
        TABLE,
        slow,
        ("003_n.sql", "ALTER TABLE t ADD n int;"),
    ]));
    request.timeouts.retries = 1;
    let error = apply(request, |_| {}).await.unwrap_err();
    assert!(
        matches!(&error, RunError::Transient(text) if text.contains("55P03")),
        "{error:?}"
    );
    // nobody queues behind it
    assert_eq!(world.one("SELECT count(*) FROM t").await, "1000");
}

#[tokio::test]
async fn what_only_psql_understands_is_harmless_or_named() {
    let world = World::new().await;
    let dump =
        "\\restrict x\nCREATE TABLE d (a int);\nCOPY d FROM stdin;\n1\n\\.\n\\unrestrict x\n";
    world.run(&[("001_d.sql", dump)]).await.unwrap();
    assert_eq!(world.one("SELECT a FROM d").await, "1");
    let compiled = bundle(&[("001_d.sql", "\\i other.sql\n")]);
    let found = compiled.findings();
    assert_eq!(found.first().unwrap().code, Code::PsqlCommand);
    assert!(
        found.to_string().contains("\\i is a command of psql"),
        "{found}"
    );
}

#[tokio::test]
async fn a_file_of_another_branch_is_neither_skipped_nor_run_unasked() {
    let world = World::new().await;
    let (early, late) = (
        ("002_e.sql", "CREATE TABLE e ();"),
        ("003_l.sql", "CREATE TABLE l ();"),
    );
    world.run(&[TABLE, late]).await.unwrap();
    let error = world.run(&[TABLE, early, late]).await.unwrap_err();
    let RunError::Blocked(plan) = error else {
        panic!("{error:?}");
    };
    let kind = &plan.blocking().next().unwrap().kind;
    assert!(matches!(kind, ProblemKind::OutOfOrder { .. }), "{kind:?}");
    let mut request = world.request(&bundle(&[TABLE, early, late]));
    request.policies.allow_out_of_order = true;
    assert_eq!(apply(request, |_| {}).await.unwrap().applied, ["002_e.sql"]);
}

#[tokio::test]
async fn a_deadline_holds_however_much_a_statement_has_to_say() {
    let world = World::new().await;
    let chatty =
        "DO $$ BEGIN LOOP RAISE NOTICE 'still at it'; PERFORM pg_sleep(0.01); END LOOP; END $$;";
    let mut request = world.request(&bundle(&[("001_c.sql", chatty)]));
    request.timeouts.deadline = Duration::from_secs(2);
    let run = tokio::time::timeout(Duration::from_mins(1), apply(request, |_| {})).await;
    let error = run.unwrap().unwrap_err();
    assert!(matches!(error, RunError::DeadlineExceeded(_)), "{error:?}");
    world.until("SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%still at it%' AND pid <> pg_backend_pid()", "0").await;
}
