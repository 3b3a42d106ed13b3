//! The engine when parts of it die. Whatever happens, a file and its row are there together or
//! not at all, and another run finishes the work.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test says what it expects by failing"
)]

mod engine_support;

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use engine_support::{
    Told, World, bundle, documented,
    relay::{Relay, Startup},
    slow::{CONTROL, SLEEPING, SLOW, WORKER, start, start_slow},
    until, value,
};
use sepulki::{
    engine::{
        Bundle, Code,
        run::{RunError, apply},
    },
    postgres::{Target, Tls},
};
use sqlx::{Connection, PgConnection};

const QUICK_002: &str = "CREATE TABLE b (); CREATE TABLE c ();";
const SESSIONS: &str = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
     AND application_name LIKE 'sepulki/%'";

/// After whatever happened: only the first file is there; a new run does the rest.
async fn recovers(world: &World) {
    world.until(SESSIONS, "0").await;
    assert_eq!(world.tables().await, "a");
    assert_eq!(world.versions().await, ["001_a.sql"]);
    let report = world
        .run(&[SLOW[0], ("002_b.sql", QUICK_002)])
        .await
        .unwrap();
    assert_eq!(report.applied, ["002_b.sql"]);
    assert_eq!(world.tables().await, "a,b,c");
}

#[tokio::test]
async fn a_lost_worker_leaves_nothing() {
    let world = World::new().await;
    let run = start_slow(&world, &Told::default());
    world.until(SLEEPING, "1").await;
    world
        .execute(&format!("SELECT pg_terminate_backend(({WORKER}))"))
        .await;
    let error = run.await.unwrap().unwrap_err();
    assert!(
        matches!(&error, RunError::Transient(text) if text.contains("002_b.sql")),
        "{error:?}"
    );
    recovers(&world).await;
}

#[tokio::test]
async fn losing_the_control_session_ends_the_worker() {
    let world = World::new().await;
    let run = start_slow(&world, &Told::default());
    world.until(SLEEPING, "1").await;
    world
        .execute(&format!("SELECT pg_terminate_backend(({CONTROL}))"))
        .await;
    let error = run.await.unwrap().unwrap_err();
    assert!(matches!(error, RunError::Transient(_)), "{error:?}");
    world.until(SLEEPING, "0").await;
    recovers(&world).await;
}

#[tokio::test]
async fn a_file_that_ends_sessions_of_its_run_is_told_at_once() {
    let world = World::new().await;
    let own = "CREATE TABLE b ();\nSELECT pg_terminate_backend(pg_backend_pid());";
    let found = world.fails(&[SLOW[0], ("002_b.sql", own)]).await;
    assert_eq!(found.message, "the file ended its own session");
    assert_eq!(found.position.unwrap().line, 2);
    assert!(found.outcome.unwrap().contains("rolled back"));
    assert_eq!(world.tables().await, "a");

    // nothing is committed that nobody looks after, whether that is seen at the end or in the course of a file
    for end in ["", "SELECT pg_sleep(20);"] {
        let others = format!("CREATE TABLE b ();\n{OTHERS}\n{end}");
        let found = world.fails(&[SLOW[0], ("002_b.sql", &others)]).await;
        documented(
            &found.message,
            "the file ended the session that looks after its run",
        );
        assert_eq!(found.position.unwrap().line, 2);
        assert!(found.outcome.unwrap().contains("rolled back"));
        world.until(SESSIONS, "0").await;
        assert_eq!(
            (world.tables().await, world.versions().await),
            ("a".into(), vec!["001_a.sql".into()])
        );
    }
}

const OTHERS: &str = "SELECT pg_terminate_backend(pid, 20000) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid();";

#[tokio::test]
async fn a_file_that_ends_sessions_of_its_run_unseen_is_told_the_second_time() {
    for (ends, line) in [
        ("SELECT pg_terminate_backend(pg_backend_pid());", Some(2)),
        (OTHERS, None),
    ] {
        let world = World::new().await;
        let body = ends.replace("SELECT ", "PERFORM ");
        let function =
            format!("CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $$ BEGIN {body} END $$;");
        let files = |of: &'static str| {
            [
                ("001_f.sql", function.clone()),
                ("002_b.sql", of.to_owned()),
            ]
        };
        let run = |of: &'static str| {
            let world = &world;
            let files = files(of);
            async move {
                world
                    .run(&files.each_ref().map(|(name, text)| (*name, text.as_str())))
                    .await
            }
        };
        // an edited file is another one
        for of in [
            "CREATE TABLE b ();\nSELECT  f();",
            "CREATE TABLE b ();\nSELECT f();",
        ] {
            let error = run(of).await.unwrap_err();
            assert!(matches!(error, RunError::Transient(_)), "{error:?}");
        }
        let error = run("CREATE TABLE b ();\nSELECT f();").await.unwrap_err();
        let RunError::Failed(found) = error else {
            panic!("{error:?}");
        };
        assert!(found.message.ends_with("for the second time"), "{found}");
        if line.is_some() {
            documented(
                &found.message,
                "the session was ended at this statement, for the second time",
            );
        }
        assert_eq!(found.position.map(|position| position.line), line);
        assert!(found.outcome.unwrap().contains("rolled back"));
        assert_eq!(world.tables().await, "");

        // who tries again has it counted anew, and a file that goes through leaves nothing behind
        let error = run("CREATE TABLE b ();\nSELECT f();").await.unwrap_err();
        assert!(matches!(error, RunError::Transient(_)), "{error:?}");
        world
            .execute("CREATE OR REPLACE FUNCTION f() RETURNS void LANGUAGE sql AS ''")
            .await;
        assert_eq!(
            run("CREATE TABLE b ();\nSELECT f();")
                .await
                .unwrap()
                .applied,
            ["002_b.sql"]
        );
        let notes = "SELECT count(*) FROM sepulki_engine.journal";
        assert_eq!(world.one(notes).await, "0");
    }
}

#[tokio::test]
async fn a_runner_that_vanishes_is_noticed_by_the_server() {
    let world = World::new().await;
    let run = start_slow(&world, &Told::default());
    world.until(SLEEPING, "1").await;
    run.abort();
    assert!(run.await.unwrap_err().is_cancelled());
    recovers(&world).await;
}

#[tokio::test]
async fn a_lost_answer_is_looked_up_in_the_ledger() {
    let world = World::new().await;
    let relay = Relay::start(world.socket(), Startup::Forward).await;
    let files = [
        ("001_a.sql", "CREATE TABLE a ();"),
        ("002_b.sql", "SELECT pg_sleep(1); CREATE TABLE b ();"),
    ];
    let mut request = world.request(&bundle(&files));
    request.target = world.target_by(&relay);
    let run = start(request.clone(), &Told::default());
    world.until(SLEEPING, "1").await;
    // the server commits, but nobody hears of it
    relay.is_deaf.store(true, Ordering::Relaxed);
    world
        .until("SELECT count(*) FROM schema_migrations", "2")
        .await;
    run.abort();
    assert!(run.await.unwrap_err().is_cancelled());
    relay.is_deaf.store(false, Ordering::Relaxed);
    assert!(apply(request, |_| {}).await.unwrap().applied.is_empty());
    assert_eq!(world.versions().await, ["001_a.sql", "002_b.sql"]);
}

#[tokio::test]
async fn a_server_that_stops_is_transient() {
    let world = World::new().await;
    let server = testkit::Postgres::start().await.unwrap();
    let database = server.database().await.unwrap();
    let mut request = world.request(&bundle(&SLOW));
    request.target = Target {
        host: server.host.clone(),
        port: server.port,
        user: database.owner.clone(),
        password: database.owner_password.clone().into(),
        database: database.name.clone(),
        tls: Tls::Ca(server.ca_pem.clone()),
    };
    let run = start(request, &Told::default());
    let mut observer = PgConnection::connect_with(&database.superuser_options())
        .await
        .unwrap();
    until(&mut observer, SLEEPING, "1").await;
    drop(server);
    let error = run.await.unwrap().unwrap_err();
    assert!(matches!(error, RunError::Transient(_)), "{error:?}");
}

#[tokio::test]
async fn a_cancelled_run_ends_at_once_and_leaves_nothing() {
    let world = World::new().await;
    let request = world.request(&bundle(&SLOW));
    let cancel = request.cancel.clone();
    let run = start(request, &Told::default());
    world.until(SLEEPING, "1").await;
    cancel.cancel();
    let ended = tokio::time::timeout(Duration::from_secs(5), run)
        .await
        .unwrap();
    assert_eq!(ended.unwrap().unwrap_err(), RunError::Cancelled);
    recovers(&world).await;
}

#[tokio::test]
async fn a_run_has_a_deadline_that_the_server_enforces() {
    let world = World::new().await;
    let mut request = world.request(&bundle(&SLOW));
    request.timeouts.deadline = Duration::from_secs(3);
    let error = apply(request, |_| {}).await.unwrap_err();
    assert!(matches!(error, RunError::DeadlineExceeded(_)), "{error:?}");
    recovers(&world).await;
}

#[tokio::test]
async fn a_statement_that_ignores_cancellation_is_ended() {
    let world = World::new().await;
    let stubborn = "DO $$ BEGIN FOR i IN 1..60 LOOP BEGIN PERFORM pg_sleep(1); \
         EXCEPTION WHEN query_canceled THEN NULL; END; END LOOP; END $$;";
    let request = world.request(&bundle(&[SLOW[0], ("002_b.sql", stubborn)]));
    let cancel = request.cancel.clone();
    let run = start(request, &Told::default());
    world.until(SLEEPING, "1").await;
    cancel.cancel();
    let ended = tokio::time::timeout(Duration::from_secs(15), run)
        .await
        .unwrap();
    assert_eq!(ended.unwrap().unwrap_err(), RunError::Cancelled);
    recovers(&world).await;
}

#[tokio::test]
async fn somebody_elses_cancellation_is_a_failure_of_the_file() {
    let world = World::new().await;
    let run = start_slow(&world, &Told::default());
    world.until(SLEEPING, "1").await;
    world
        .execute(&format!("SELECT pg_cancel_backend(({WORKER}))"))
        .await;
    let Err(RunError::Failed(found)) = run.await.unwrap() else {
        panic!("expected a failing file");
    };
    assert_eq!(
        (found.code, found.sqlstate.as_deref()),
        (Code::Refused, Some("57014"))
    );
    recovers(&world).await;
}

#[tokio::test]
async fn killed_anywhere_and_run_again_the_end_is_the_same() {
    // versions of which something is there that is not all of it and its row
    const TORN: &str = "SELECT count(*) FROM (SELECT version, count(*) AS n FROM log GROUP BY version) l \
         FULL JOIN schema_migrations m USING (version) WHERE n IS DISTINCT FROM 3 OR m.version IS NULL";
    let world = World::new().await;
    let owner = &world.database.owner;
    let columns =
        "(version varchar(255) PRIMARY KEY, applied_at timestamptz, checksum varchar(64))";
    world
        .execute(&format!("SET ROLE {owner}; CREATE TABLE log (version text); CREATE TABLE schema_migrations {columns}"))
        .await;
    let bundle = many();
    let mut killer = world.superuser().await;
    let mut kills = 0;
    for round in 0..60 {
        let mut run = start(world.request(&bundle), &Told::default());
        let delay = Duration::from_millis(20 + 17 * (round % 40));
        if tokio::time::timeout(delay, &mut run).await.is_ok() {
            break;
        }
        // now both sessions, now the worker, now the control session, now the runner itself
        let victims = match round % 4 {
            0 => "true",
            1 => "query LIKE '%pg_sleep%'",
            2 => "query NOT LIKE '%pg_sleep%'",
            _ => "false",
        };
        let kill = format!(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database() \
             AND application_name = 'sepulki/test' AND {victims}"
        );
        value(&mut killer, &kill).await;
        kills += 1;
        if round % 4 == 3 {
            run.abort();
        }
        let _ = run.await;
        assert_eq!(value(&mut killer, TORN).await, "0", "round {round}");
    }
    assert!(kills >= 4, "only {kills} kills");
    apply(world.request(&bundle), |_| {}).await.unwrap();
    assert_eq!(value(&mut killer, TORN).await, "0");
    assert_eq!(
        world.versions().await,
        ["001.sql", "002.sql", "003.sql", "004.sql"]
    );
    killer.close().await.unwrap();
}
/// Files of both shapes in which every statement can be the last one before something dies.
fn many() -> Arc<Bundle> {
    let body = |version: &str| {
        let step = format!("INSERT INTO log VALUES ('{version}'); SELECT pg_sleep(0.05);");
        step.repeat(3)
    };
    let texts = [
        ("001.sql", body("001.sql")),
        ("002.sql", format!("BEGIN; {} COMMIT;", body("002.sql"))),
        ("003.sql", body("003.sql")),
        (
            "004.sql",
            format!(
                "SET search_path = public; BEGIN; {} COMMIT; RESET search_path;",
                body("004.sql")
            ),
        ),
    ];
    let files: Vec<(&str, &str)> = texts
        .iter()
        .map(|(name, text)| (*name, text.as_str()))
        .collect();
    bundle(&files)
}

#[tokio::test]
async fn an_index_that_was_dropped_unheard_is_not_dropped_again_under_its_name() {
    for text in [
        "DROP INDEX CONCURRENTLY i;",
        "DROP INDEX CONCURRENTLY IF EXISTS i;",
    ] {
        let world = World::new().await;
        let relay = Relay::start(world.socket(), Startup::Forward).await;
        let table = (
            "001_t.sql",
            "CREATE TABLE t (a int); CREATE INDEX i ON t (a);",
        );
        let mut request = world.request(&bundle(&[table, ("002_d.sql", text)]));
        request.target = world.target_by(&relay);
        request.until = Some("001_t.sql".into());
        apply(request.clone(), |_| {}).await.unwrap();
        let mut reader = world.superuser().await;
        sqlx::raw_sql("BEGIN; SELECT * FROM t")
            .execute(&mut reader)
            .await
            .unwrap();
        request.until = None;
        let run = start(request.clone(), &Told::default());
        let waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
             AND query LIKE 'DROP INDEX%' AND wait_event_type = 'Lock'";
        world.until(waits, "1").await;
        // the server drops it, but nobody hears of it
        relay.is_deaf.store(true, Ordering::Relaxed);
        sqlx::raw_sql("COMMIT").execute(&mut reader).await.unwrap();
        world
            .until("SELECT to_regclass('public.i') IS NULL", "true")
            .await;
        run.abort();
        assert!(run.await.unwrap_err().is_cancelled());
        relay.is_deaf.store(false, Ordering::Relaxed);
        // by then somebody has made another one
        world.execute("CREATE INDEX i ON t (a)").await;
        assert_eq!(apply(request, |_| {}).await.unwrap().applied, ["002_d.sql"]);
        let is_there = "SELECT to_regclass('public.i') IS NOT NULL";
        assert_eq!(world.one(is_there).await, "true", "{text}");
    }
}
