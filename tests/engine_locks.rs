//! Several runs at once, and other sessions in the way: nobody waits for long, nothing is lost.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test says what it expects by failing"
)]

mod engine_support;

use std::{sync::atomic::Ordering, time::Duration};

use engine_support::{
    Told, World, bundle,
    relay::{Relay, Startup},
    slow::{CONTROL, Run, SLEEPING, SLOW, start, start_slow},
    value,
};
use sepulki::{
    engine::{
        Code, LedgerName,
        run::{Progress, RunError, apply},
    },
    postgres::lock::Key,
};

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
    let relay = Relay::start(world.socket(), Startup::Forward).await;
    let mut request = world.request(&bundle(&SLOW));
    request.target = world.target_by(&relay);
    let run = start(request, &Told::default());
    world.until(SLEEPING, "1").await;
    let second_way = Relay::start(world.socket(), Startup::Forward).await;
    let mut second = world.request(&bundle(&SLOW));
    second.target = world.target_by(&second_way);
    second.timeouts.other_run = Duration::ZERO;
    second.holder = "second".into();
    let error = apply(second.clone(), |_| {}).await.unwrap_err();
    assert!(
        matches!(&error, RunError::Busy(holder) if holder.starts_with("sepulki/test (pid ")),
        "{error:?}"
    );
    // the worker's lock alone keeps others out as well, as long as the first does not notice
    relay.is_deaf.store(true, Ordering::Relaxed);
    world
        .execute(&format!("SELECT pg_terminate_backend(({CONTROL}))"))
        .await;
    let error = apply(second, |_| {}).await.unwrap_err();
    assert!(matches!(error, RunError::Busy(_)), "{error:?}");
    run.abort();
}

/// Two rows each, with time in between; and whether the next run can know what became of it.
const SLOW_ROWS: [(&str, bool); 2] = [
    (
        "INSERT INTO log VALUES ('a'); SELECT pg_sleep(3); INSERT INTO log VALUES ('b');",
        true,
    ),
    (
        "DO $$ BEGIN INSERT INTO log VALUES ('a'); COMMIT; PERFORM pg_sleep(3); INSERT INTO log VALUES ('b'); END $$;",
        false,
    ),
];

#[tokio::test]
async fn a_runner_that_does_not_see_its_control_session_end_is_not_overtaken() {
    for (text, is_known) in SLOW_ROWS {
        let world = World::new().await;
        world.execute("CREATE TABLE public.log (what text)").await;
        let relay = Relay::start(world.socket(), Startup::Forward).await;
        let files = bundle(&[("001_a.sql", text)]);
        let mut request = world.request(&files);
        request.target = world.target_by(&relay);
        let first = start(request, &Told::default());
        world.until(SLEEPING, "1").await;
        // from now on it hears of nothing, not even that it is cut off
        relay.is_deaf.store(true, Ordering::Relaxed);
        world
            .execute(&format!("SELECT pg_terminate_backend(({CONTROL}))"))
            .await;
        let second_way = Relay::start(world.socket(), Startup::Forward).await;
        let mut request = world.request(&files);
        request.target = world.target_by(&second_way);
        request.holder = "second".into();
        let told = Told::default();
        let second = start(request, &told);
        let waits = |p: &Progress| matches!(p, Progress::WaitingForRun { holder } if holder.starts_with("sepulki/test"));
        let waited = async {
            while told.count(waits) == 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(30), waited).await;
        assert!(waited.is_ok(), "{:?}", told.all());
        // the one that is left of the first, once it has done what it was told
        let first_worker = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
             AND application_name = 'sepulki/test' AND state LIKE 'idle%'";
        world.until(first_worker, "1").await;
        let begun = |p: &Progress| matches!(p, Progress::Started { .. });
        assert_eq!(told.count(begun), 0, "{:?}", told.all());
        // the first has committed nothing that the second would do again
        let rows = "SELECT coalesce(string_agg(what, '' ORDER BY what), '') FROM public.log";
        let done = if is_known { "" } else { "ab" };
        assert_eq!(world.one(rows).await, done);
        first.abort();
        let ended = second.await.unwrap();
        if is_known {
            assert_eq!(ended.unwrap().applied, ["001_a.sql"]);
        } else {
            let Err(RunError::Failed(found)) = ended else {
                panic!("{ended:?}");
            };
            assert_eq!(found.code, Code::Ambiguous);
        }
        assert_eq!(world.one(rows).await, "ab");
    }
}

#[tokio::test]
async fn other_ledgers_of_the_database_are_independent() {
    let world = World::new().await;
    let run = start_slow(&world, &Told::default());
    world.until(SLEEPING, "1").await;
    let mut other = world.request(&bundle(&[("001_z.sql", "CREATE TABLE z ();")]));
    other.ledger = LedgerName::new("public", "other_ledger").unwrap();
    other.timeouts.other_run = Duration::ZERO;
    assert_eq!(apply(other, |_| {}).await.unwrap().applied, ["001_z.sql"]);
    run.abort();
}

#[tokio::test]
async fn changes_of_grants_and_runs_wait_for_each_other() {
    let world = World::new().await;
    let grants = format!("BEGIN; SELECT {}", Key::database().try_in_transaction());
    let mut holder = world.superuser_after(&grants).await;
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
    let mut blocker = world
        .superuser_after(
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
    let waited = |p: &Progress| matches!(p, Progress::LockTime { waited, held_up } if !waited.is_zero() && held_up.is_zero());
    assert!(told.count(waited) > 0, "{:?}", told.all());
}

#[tokio::test]
async fn a_lock_that_never_comes_free_ends_the_run_as_transient() {
    let world = World::new().await;
    world.run(&[SLOW[0]]).await.unwrap();
    let _blocker = world.superuser_after("BEGIN; LOCK TABLE a").await;
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
    let told = Told::default();
    let run = start(request, &told);
    world.until(SLEEPING, "1").await;
    // goes through long before the file would have ended
    assert_eq!(world.one("SELECT count(*) FROM a").await, "0");
    let error = run.await.unwrap().unwrap_err();
    assert!(
        matches!(&error, RunError::Transient(text) if text.contains("waited for its locks")),
        "{error:?}"
    );
    let held_up = |p: &Progress| matches!(p, Progress::LockTime { waited, held_up } if waited.is_zero() && !held_up.is_zero());
    assert!(told.count(held_up) > 1, "{:?}", told.all());
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

    let mut grants = world
        .superuser_after(&format!(
            "SET ROLE {owner}; BEGIN; GRANT SELECT ON a TO PUBLIC"
        ))
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
    let mut other = world
        .superuser_after("SET deadlock_timeout = '1min'; BEGIN; LOCK TABLE z")
        .await;
    sqlx::raw_sql("LOCK TABLE a; COMMIT")
        .execute(&mut other)
        .await
        .unwrap();
    assert_eq!(run.await.unwrap().unwrap().applied, ["003_c.sql"]);
    let deadlock =
        |p: &Progress| matches!(p, Progress::Retrying { reason, .. } if reason.contains("40P01"));
    assert_eq!(told.count(deadlock), 1, "{:?}", told.all());
}
