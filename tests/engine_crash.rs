//! The engine when others are in the way and when parts of it die. Whatever happens, a file and
//! its row are there together or not at all, and another run finishes the work.
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
    Told, World, bundle,
    relay::{Relay, Startup},
    until, value,
};
use sepulki::{
    engine::{
        Bundle, Code,
        run::{Progress, RunError, RunReport, RunRequest, apply},
    },
    postgres::{Target, Tls, lock::Key},
};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::task::JoinHandle;

type Run = JoinHandle<Result<RunReport, RunError>>;

/// Tables, a long pause, tables.
const SLOW: [(&str, &str); 2] = [
    ("001_a.sql", "CREATE TABLE a ();"),
    (
        "002_b.sql",
        "CREATE TABLE b (); SELECT pg_sleep(20); CREATE TABLE c ();",
    ),
];
const QUICK_002: &str = "CREATE TABLE b (); CREATE TABLE c ();";

/// The session that runs files, and the one that looks after it.
const WORKER: &str = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() \
     AND application_name = 'sepulki/test' AND query LIKE '%pg_sleep%' AND state = 'active'";
const CONTROL: &str = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() \
     AND application_name = 'sepulki/test' AND query NOT LIKE '%pg_sleep%'";
const SLEEPING: &str = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'";
const SESSIONS: &str = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
     AND application_name LIKE 'sepulki/%'";

fn start(request: RunRequest, told: &Told) -> Run {
    tokio::spawn(apply(request, told.sink()))
}

fn start_slow(world: &World, told: &Told) -> Run {
    start(world.request(&bundle(&SLOW)), told)
}

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

async fn session(world: &World, sql: &str) -> PgConnection {
    let mut connection = world.superuser().await;
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
        .execute(&mut connection)
        .await
        .unwrap();
    connection
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
async fn of_several_runners_each_file_is_run_by_one() {
    let world = World::new().await;
    let bundle = bundle(&[
        (
            "001_a.sql",
            "CREATE TABLE a (id int); INSERT INTO a VALUES (1); SELECT pg_sleep(0.3);",
        ),
        (
            "002_b.sql",
            "BEGIN; INSERT INTO a VALUES (2); SELECT pg_sleep(0.3); COMMIT;",
        ),
    ]);
    let told = Told::default();
    let runs: Vec<Run> = (0..4)
        .map(|_| start(world.request(&bundle), &told))
        .collect();
    let mut applied = 0;
    for run in runs {
        applied += run.await.unwrap().unwrap().applied.len();
    }
    assert_eq!(applied, 2);
    assert_eq!(
        world.one("SELECT string_agg(id::text, ',') FROM a").await,
        "1,2"
    );
    assert!(
        told.count(
            |p| matches!(p, Progress::WaitingForRun { holder } if holder.contains("sepulki/test"))
        ) > 0
    );
}

#[tokio::test]
async fn whoever_does_not_wait_is_told_who_holds_the_ledger() {
    let world = World::new().await;
    let run = start_slow(&world, &Told::default());
    world.until(SLEEPING, "1").await;
    let mut second = world.request(&bundle(&SLOW));
    second.timeouts.other_run = Duration::ZERO;
    second.holder = "second".into();
    let error = apply(second.clone(), |_| {}).await.unwrap_err();
    assert!(
        matches!(&error, RunError::Busy(holder) if holder.starts_with("sepulki/test (pid ")),
        "{error:?}"
    );
    // the worker's lock alone keeps others out as well
    world
        .execute(&format!("SELECT pg_terminate_backend(({CONTROL}))"))
        .await;
    let error = apply(second, |_| {}).await.unwrap_err();
    assert!(matches!(error, RunError::Busy(_)), "{error:?}");
    assert!(run.await.unwrap().is_err());
}

#[tokio::test]
async fn other_ledgers_of_the_database_are_independent() {
    let world = World::new().await;
    let run = start_slow(&world, &Told::default());
    world.until(SLEEPING, "1").await;
    let mut other = world.request(&bundle(&[("001_z.sql", "CREATE TABLE z ();")]));
    other.ledger = sepulki::engine::LedgerName::new("public", "other_ledger").unwrap();
    other.timeouts.other_run = Duration::ZERO;
    assert_eq!(apply(other, |_| {}).await.unwrap().applied, ["001_z.sql"]);
    run.abort();
}

#[tokio::test]
async fn changes_of_grants_and_runs_wait_for_each_other() {
    let world = World::new().await;
    let grants = format!("BEGIN; SELECT {}", Key::database().try_in_transaction());
    let mut holder = session(&world, &grants).await;
    let told = Told::default();
    let run = start(
        world.request(&bundle(&[(
            "001_a.sql",
            "CREATE TABLE a (); SELECT pg_sleep(1);",
        )])),
        &told,
    );
    while told.count(|p| matches!(p, Progress::WaitingForRun { .. })) == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(world.tables().await, "");
    sqlx::raw_sql("COMMIT").execute(&mut holder).await.unwrap();
    world.until(SLEEPING, "1").await;
    let mut during = world.superuser().await;
    assert_eq!(
        value(
            &mut during,
            &format!("SELECT {}", Key::database().try_in_transaction())
        )
        .await,
        "false"
    );
    assert_eq!(run.await.unwrap().unwrap().applied, ["001_a.sql"]);
}

#[tokio::test]
async fn locks_of_others_are_waited_for_shortly_and_again() {
    let world = World::new().await;
    world.run(&[SLOW[0]]).await.unwrap();
    let mut blocker = session(
        &world,
        "SET application_name = 'reader'; BEGIN; LOCK TABLE a IN ACCESS SHARE MODE",
    )
    .await;
    let files = [
        SLOW[0],
        (
            "002_b.sql",
            "CREATE TABLE b (); ALTER TABLE a ADD COLUMN x int;",
        ),
    ];
    let mut request = world.request(&bundle(&files));
    request.timeouts.lock = Duration::from_millis(700);
    let told = Told::default();
    let run = start(request.clone(), &told);
    while told.count(|p| matches!(p, Progress::Retrying { .. })) == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    sqlx::raw_sql("COMMIT").execute(&mut blocker).await.unwrap();
    assert_eq!(run.await.unwrap().unwrap().applied, ["002_b.sql"]);
    let reader = |p: &Progress| matches!(p, Progress::WaitingForLock { holder, .. } if holder.starts_with("reader (pid "));
    assert!(told.count(reader) > 0, "{:?}", told.all());
    let reason = |p: &Progress| matches!(p, Progress::Retrying { reason, .. } if reason.contains("55P03") && reason.contains("reader"));
    assert!(told.count(reason) > 0, "{:?}", told.all());
}

#[tokio::test]
async fn a_lock_that_never_comes_free_ends_the_run_as_transient() {
    let world = World::new().await;
    world.run(&[SLOW[0]]).await.unwrap();
    let _blocker = session(&world, "BEGIN; LOCK TABLE a").await;
    let files = [
        SLOW[0],
        (
            "002_b.sql",
            "BEGIN; CREATE TABLE b (); ALTER TABLE a ADD COLUMN x int; COMMIT;",
        ),
    ];
    let mut request = world.request(&bundle(&files));
    request.timeouts.lock = Duration::from_millis(50);
    request.timeouts.retries = 2;
    let error = apply(request, |_| {}).await.unwrap_err();
    assert!(
        matches!(&error, RunError::Transient(text) if text.contains("gave way 3 times")),
        "{error:?}"
    );
    assert_eq!(world.tables().await, "a");
}

#[tokio::test]
async fn others_are_held_up_only_so_long() {
    let world = World::new().await;
    world.run(&[SLOW[0]]).await.unwrap();
    let files = [
        SLOW[0],
        (
            "002_b.sql",
            "ALTER TABLE a ADD COLUMN x int; SELECT pg_sleep(20);",
        ),
    ];
    let mut request = world.request(&bundle(&files));
    request.timeouts.max_blocked = Duration::from_millis(900);
    request.timeouts.retries = 0;
    let run = start(request, &Told::default());
    world.until(SLEEPING, "1").await;
    // goes through long before the file would have ended
    assert_eq!(world.one("SELECT count(*) FROM a").await, "0");
    let error = run.await.unwrap().unwrap_err();
    assert!(
        matches!(&error, RunError::Transient(text) if text.contains("waited for its locks")),
        "{error:?}"
    );
    assert_eq!(world.versions().await, ["001_a.sql"]);
}

#[tokio::test]
async fn deadlocks_and_concurrent_grants_start_the_file_over() {
    let world = World::new().await;
    world.run(&[SLOW[0]]).await.unwrap();
    world
        .execute("CREATE TABLE z (); ALTER TABLE z OWNER TO postgres; GRANT ALL ON z TO PUBLIC")
        .await;
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let owner = &world.database.owner;

    let mut grants = session(
        &world,
        &format!("SET ROLE {owner}; BEGIN; GRANT SELECT ON a TO PUBLIC"),
    )
    .await;
    let mut request = world.request(&bundle(&[
        SLOW[0],
        ("002_b.sql", "GRANT INSERT ON a TO PUBLIC;"),
    ]));
    request.timeouts.lock = Duration::from_secs(20);
    let told = Told::default();
    let run = start(request, &told);
    world.until(waiting, "1").await;
    sqlx::raw_sql("COMMIT").execute(&mut grants).await.unwrap();
    assert_eq!(run.await.unwrap().unwrap().applied, ["002_b.sql"]);
    let concurrently =
        |p: &Progress| matches!(p, Progress::Retrying { reason, .. } if reason.contains("XX000"));
    assert_eq!(told.count(concurrently), 1, "{:?}", told.all());

    let files = [
        SLOW[0],
        ("002_b.sql", "GRANT INSERT ON a TO PUBLIC;"),
        (
            "003_c.sql",
            "LOCK TABLE a; SELECT pg_sleep(1); LOCK TABLE z;",
        ),
    ];
    let mut request = world.request(&bundle(&files));
    request.timeouts.lock = Duration::from_secs(20);
    let told = Told::default();
    let run = start(request, &told);
    world.until(SLEEPING, "1").await;
    let mut other = session(&world, "SET deadlock_timeout = '1min'; BEGIN; LOCK TABLE z").await;
    sqlx::raw_sql("LOCK TABLE a; COMMIT")
        .execute(&mut other)
        .await
        .unwrap();
    assert_eq!(run.await.unwrap().unwrap().applied, ["003_c.sql"]);
    let deadlock =
        |p: &Progress| matches!(p, Progress::Retrying { reason, .. } if reason.contains("40P01"));
    assert_eq!(told.count(deadlock), 1, "{:?}", told.all());
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
async fn killed_anywhere_and_run_again_the_end_is_the_same() {
    // versions of which something is there that is not all of it and its row
    const TORN: &str = "SELECT count(*) FROM (SELECT version, count(*) AS n FROM log GROUP BY version) l \
         FULL JOIN schema_migrations m USING (version) WHERE n IS DISTINCT FROM 3 OR m.version IS NULL";
    let world = World::new().await;
    world.run(&[]).await.unwrap();
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
