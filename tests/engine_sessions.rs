//! What files do to the session they run in, on real PostgreSQL: what stays while a file is tried again, what is lost with a
//! session, and what must not reach the next file.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test says what it expects by failing"
)]

mod engine_support;

use std::time::Duration;

use engine_support::{Told, World, bundle, documented, slow::start};
use sepulki::engine::{
    Code, Diagnostic,
    run::{OnAmbiguous, Progress, RunError, RunReport, apply},
};
use sqlx::Connection;

const TABLES: (&str, &str) = (
    "001_t.sql",
    "CREATE TABLE t AS SELECT 1 AS id; CREATE TABLE busy ();",
);

/// Runs while somebody holds the table `busy`, until the file has given way once.
async fn retried(world: &World, files: &[(&str, &str)]) -> Result<RunReport, RunError> {
    world.run(&files[..1]).await.unwrap();
    let other = world.superuser_after("BEGIN; LOCK TABLE busy").await;
    let mut request = world.request(&bundle(files));
    request.timeouts.lock = Duration::from_millis(50);
    let told = Told::default();
    let run = start(request, &told);
    let gave_way = async {
        while told.count(|p| matches!(p, Progress::Retrying { .. })) == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let gave_way = tokio::time::timeout(Duration::from_secs(30), gave_way).await;
    assert!(gave_way.is_ok(), "{:?}", told.all());
    other.close().await.unwrap();
    run.await.unwrap()
}

/// Runs a file whose session is ended while it sleeps.
async fn cut(world: &World, files: &[(&str, &str)]) {
    let run = start(world.request(&bundle(files)), &Told::default());
    let ended = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
         WHERE datname = current_database() AND wait_event = 'PgSleep'";
    world.until(ended, "1").await;
    let error = run.await.unwrap().unwrap_err();
    assert!(matches!(error, RunError::Transient(_)), "{error:?}");
}

async fn refused(world: &World, files: &[(&str, &str)]) -> Diagnostic {
    let error = world.run(files).await.unwrap_err();
    let RunError::Blocked(plan) = &error else {
        panic!("{error:?}");
    };
    let problem = plan.blocking().next().unwrap();
    problem.kind.findings().unwrap().first().unwrap().clone()
}

#[tokio::test]
async fn a_part_that_is_tried_again_finds_the_session_as_the_first_time() {
    for body in [
        "BEGIN;\nPREPARE q AS DELETE FROM t;\nLOCK TABLE busy;\nEXECUTE q;\nCOMMIT;",
        "LOCK TABLE busy;\nDELETE FROM t;",
        "ALTER TABLE busy ADD a int;\nDELETE FROM t;",
    ] {
        let world = World::new().await;
        let file = format!(
            "CREATE TEMP TABLE t AS SELECT 2 AS id;\nSET lock_timeout = '70ms';\nVACUUM pg_class;\n{body}\nVACUUM pg_class;\nCREATE TABLE seen AS SELECT (SELECT count(*) FROM t) AS rows, current_setting('lock_timeout') AS lock;"
        );
        let report = retried(&world, &[TABLES, ("002_t.sql", &file)]).await;
        assert_eq!(report.unwrap().applied, ["002_t.sql"]);
        assert_eq!(
            world.one("SELECT count(*) FROM public.t").await,
            "1",
            "{body}"
        );
        assert_eq!(world.one("SELECT rows || lock FROM seen").await, "070ms");
    }
}

#[tokio::test]
async fn a_statement_that_runs_alone_is_tried_again_in_the_same_session() {
    let world = World::new().await;
    let file = "CREATE TEMP TABLE t AS SELECT 2 AS id;\nSET lock_timeout = '70ms';\nVACUUM FULL busy;\nDELETE FROM t;\n\
        CREATE TABLE seen AS SELECT current_setting('lock_timeout') AS lock;";
    let report = retried(&world, &[TABLES, ("002_t.sql", file)]).await;
    assert_eq!(report.unwrap().applied, ["002_t.sql"]);
    assert_eq!(world.one("SELECT count(*) FROM public.t").await, "1");
    assert_eq!(world.one("SELECT lock FROM seen").await, "70ms");
}

#[tokio::test]
async fn what_is_lost_with_a_session_is_not_done_without() {
    let world = World::new().await;
    let head = "CREATE TEMP TABLE t AS SELECT 2 AS id;\nVACUUM busy;\n";
    let rest = "SELECT pg_sleep(20);\nDELETE FROM t;\n";
    let file = format!("{head}{rest}");
    let files = [TABLES, ("002_t.sql", file.as_str())];
    cut(&world, &files).await;
    for answer in [OnAmbiguous::Stop, OnAmbiguous::Rerun, OnAmbiguous::Skip] {
        let mut request = world.request(&bundle(&files));
        request.execution.on_ambiguous = answer;
        let error = apply(request, |_| {}).await.unwrap_err();
        assert!(matches!(error, RunError::Blocked(_)), "{error:?}");
    }
    let found = refused(&world, &files).await;
    assert_eq!(found.code, Code::Ambiguous);
    assert_eq!(found.position.unwrap().line, 3);
    documented(
        &found.message,
        "an earlier run was interrupted here, and what the file had made in its session is gone",
    );
    assert!(
        found.message.ends_with("gone: the temporary t (line 1)"),
        "{found}"
    );
    assert!(found.hint.unwrap().contains("a file of its own"));
    assert_eq!(world.one("SELECT count(*) FROM t").await, "1");

    let rest = "CREATE TEMP TABLE t AS SELECT 2 AS id;\nDELETE FROM t;\n";
    let report = world
        .run(&[TABLES, ("002_t.sql", head), ("003_t.sql", rest)])
        .await;
    assert_eq!(report.unwrap().applied, ["002_t.sql", "003_t.sql"]);
    assert_eq!(world.one("SELECT count(*) FROM t").await, "1");
}

#[tokio::test]
async fn what_a_function_made_in_the_session_is_lost_too() {
    let world = World::new().await;
    let makes = (
        "001_f.sql",
        "CREATE TABLE t AS SELECT 1 AS id; CREATE TABLE busy ();\n\
         CREATE FUNCTION f() RETURNS void LANGUAGE sql AS 'CREATE TEMP TABLE t AS SELECT 2 AS id';",
    );
    for (part, lost) in [
        ("SELECT f();\nVACUUM busy;", true),
        (
            "SELECT f();\nDO $$ BEGIN EXECUTE format('DROP TABLE %s', 't'); COMMIT; END $$;",
            false,
        ),
        (
            "CREATE TEMP TABLE t (a int) ON COMMIT DROP;\nVACUUM busy;",
            false,
        ),
    ] {
        let world = if lost { &world } else { &World::new().await };
        let file = format!("{part}\nSELECT 1/0;");
        world.fails(&[makes, ("002_t.sql", &file)]).await;
        let file = format!("{part}\nUPDATE t SET id = 3;");
        let files = [makes, ("002_t.sql", file.as_str())];
        if lost {
            let found = refused(world, &files).await;
            assert!(found.message.ends_with("gone: the temporary t"), "{found}");
        } else {
            assert_eq!(world.run(&files).await.unwrap().applied, ["002_t.sql"]);
        }
    }
    assert_eq!(world.one("SELECT id FROM t").await, "1");
}

#[tokio::test]
async fn a_file_that_fails_says_that_it_cannot_go_on_where_its_session_mattered() {
    let world = World::new().await;
    let file = "SELECT pg_advisory_lock(1);\nVACUUM busy;\nSELECT 1/0;";
    let found = world.fails(&[TABLES, ("002_t.sql", file)]).await;
    let outcome = found.outcome.unwrap();
    assert!(
        outcome.contains("does not go on there")
            && outcome.contains("the advisory lock (1) (line 1)"),
        "{outcome}"
    );
}

#[tokio::test]
async fn a_role_that_was_dropped_meanwhile_is_no_dead_end() {
    let world = World::new().await;
    let role = format!("{}_x", world.database.name);
    let owner = &world.database.owner;
    let again = format!("CREATE ROLE {role}; GRANT {role} TO {owner}");
    world.execute(&again).await;
    // who has given the role back does not need it again
    let file = |end: &str| format!("SET ROLE {role};\nRESET ROLE;\nVACUUM busy;\n{end}");
    let bad = file("SELECT 1/0;");
    world.fails(&[TABLES, ("002_r.sql", &bad)]).await;
    world.execute(&format!("DROP ROLE {role}")).await;
    let good = file("SELECT 1;");
    let files = [TABLES, ("002_r.sql", good.as_str())];
    assert_eq!(world.run(&files).await.unwrap().applied, ["002_r.sql"]);

    world.execute(&again).await;
    let bad = format!("SET ROLE {role};\nVACUUM busy;\nSELECT 1/0;");
    let files = [files[0], files[1], ("003_r.sql", bad.as_str())];
    world.fails(&files).await;
    world.execute(&format!("DROP ROLE {role}")).await;
    let found = world.fails(&files).await;
    assert_eq!(found.position.unwrap().line, 1);
    documented(
        &found.message,
        "the session in which the file made this setting is gone, and in a new one it cannot be made again",
    );
    let head = format!("SET ROLE {role};\nVACUUM busy;\n");
    let files = [files[0], files[1], ("003_r.sql", head.as_str())];
    assert_eq!(world.run(&files).await.unwrap().applied, ["003_r.sql"]);
}

#[tokio::test]
async fn a_block_that_made_something_in_its_session_is_not_skipped() {
    let world = World::new().await;
    let block = "DO $$ BEGIN CREATE TEMP TABLE t AS SELECT 2 AS id; COMMIT; PERFORM pg_sleep(20); END $$;\nDELETE FROM t;";
    let files = [TABLES, ("002_t.sql", block)];
    cut(&world, &files).await;
    let mut request = world.request(&bundle(&files));
    request.execution.on_ambiguous = OnAmbiguous::Skip;
    let error = apply(request, |_| {}).await.unwrap_err();
    let RunError::Failed(found) = error else {
        panic!("{error:?}");
    };
    assert_eq!(found.code, Code::Ambiguous);
    assert!(
        found.message.ends_with("gone: the temporary t (line 1)"),
        "{found}"
    );
    assert_eq!(world.one("SELECT count(*) FROM t").await, "1");
}

#[tokio::test]
async fn locks_of_a_file_end_with_it_and_those_of_the_run_do_not() {
    let world = World::new().await;
    let of = |key: &str| {
        format!(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid() AND {key}"
        )
    };
    let see = format!(
        "CREATE TABLE seen AS SELECT ({}) || ',' || ({}) AS locks;",
        of("objid = 42"),
        of("classid = 1397051394")
    );
    let files = [
        (
            "001_l.sql",
            "SELECT pg_advisory_lock(42); SELECT pg_advisory_lock(42);",
        ),
        ("002_l.sql", see.as_str()),
    ];
    world.run(&files).await.unwrap();
    assert_eq!(world.one("SELECT locks FROM seen").await, "0,1");
}

#[tokio::test]
async fn settings_of_the_database_hold_from_the_next_file_on() {
    let world = World::new().await;
    let database = &world.database.name;
    let set = format!(
        "CREATE SCHEMA app; CREATE TABLE app.a (); ALTER DATABASE {database} SET search_path = app, public;"
    );
    let files = [
        ("001_s.sql", set.as_str()),
        ("002_s.sql", "CREATE TABLE b ();"),
        ("003_s.sql", "SET search_path = public; CREATE TABLE c ();"),
        ("004_s.sql", "CREATE TABLE d ();"),
    ];
    assert_eq!(world.run(&files).await.unwrap().applied.len(), 4);
    let of = "SELECT string_agg(relname, ',' ORDER BY relname) FROM pg_class WHERE relnamespace = 'app'::regnamespace";
    assert_eq!(world.one(of).await, "a,b,d");
}

#[tokio::test]
async fn a_block_has_the_isolation_level_that_it_asks_for() {
    let see = "CREATE TABLE seen AS SELECT current_setting('transaction_isolation') AS level;";
    for (before, begin) in [
        ("SET a.b = 1;", "BEGIN ISOLATION LEVEL SERIALIZABLE;"),
        ("SELECT 1;", "BEGIN ISOLATION LEVEL SERIALIZABLE;"),
        (
            "INSERT INTO t VALUES (2);",
            "START TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ WRITE;",
        ),
        (
            "SELECT set_config('a.b', 'c', false);",
            "BEGIN;\nSET TRANSACTION ISOLATION LEVEL SERIALIZABLE;",
        ),
    ] {
        let world = World::new().await;
        let file = format!("{before}\n{begin}\n{see}\nCOMMIT;");
        world.run(&[TABLES, ("002_b.sql", &file)]).await.unwrap();
        assert_eq!(
            world.one("SELECT level FROM seen").await,
            "serializable",
            "{file}"
        );

        // and in the session of a later run, where the settings of the file are made again
        let world = World::new().await;
        let file = |end: &str| format!("{before}\nVACUUM busy;\n{begin}\n{end}{see}\nCOMMIT;");
        let bad = file("SELECT 1/0;\n");
        world.fails(&[TABLES, ("002_b.sql", &bad)]).await;
        world
            .run(&[TABLES, ("002_b.sql", &file(""))])
            .await
            .unwrap();
        assert_eq!(
            world.one("SELECT level FROM seen").await,
            "serializable",
            "{bad}"
        );
    }
}

#[tokio::test]
async fn a_file_that_fails_behind_its_commit_is_not_said_to_be_rolled_back() {
    let world = World::new().await;
    let file = "BEGIN;\nCREATE TABLE a ();\nCOMMIT;\nSET work_mem = 'much';\n";
    let files = [("001_a.sql", file), ("002_b.sql", "CREATE TABLE b ();")];
    let found = world.fails(&files).await;
    assert_eq!(found.position.unwrap().line, 4);
    let outcome = found.outcome.unwrap();
    assert!(
        outcome.contains("is committed and recorded as applied"),
        "{outcome}"
    );
    assert_eq!(
        (world.tables().await, world.versions().await),
        ("a".into(), vec!["001_a.sql".into()])
    );
    assert_eq!(world.run(&files).await.unwrap().applied, ["002_b.sql"]);
}
