//! What `execution` promises: as whom files run, how long they wait and hold others up, and that
//! two processes that start together do the work once.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test says what it expects by failing"
)]

mod engine_support;

use std::time::Duration;

use engine_support::{Told, World, bundle, slow::start};
use sepulki::{
    clock::monotonic,
    engine::{
        Verdict,
        run::{Progress, RunError, apply, verify},
    },
};

#[tokio::test]
async fn files_run_as_the_role_that_is_named_and_are_recorded_by_the_owner() {
    let world = World::new().await;
    let (owner, role) = (
        &world.database.owner,
        format!("{}_files", world.database.name),
    );
    world
        .execute(&format!(
            "CREATE ROLE {role}; GRANT {role} TO {owner}; GRANT CREATE, USAGE ON SCHEMA public TO {role}"
        ))
        .await;
    let files = [
        ("001_a.sql", "CREATE TABLE a (id int);"),
        (
            "002_b.sql",
            "RESET ROLE; CREATE TABLE b (id int); CREATE INDEX CONCURRENTLY ON a (id); CREATE TABLE c (id int);",
        ),
        ("003_d.sql", "BEGIN; CREATE TABLE d (id int); COMMIT;"),
    ];
    let mut request = world.request(&bundle(&files));
    request.execution.role = Some(role.clone());
    assert_eq!(
        apply(request.clone(), |_| {}).await.unwrap().applied.len(),
        3
    );
    let owners = "SELECT string_agg(DISTINCT tableowner, ',') FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'schema_migrations'";
    assert_eq!(world.one(owners).await, role);
    let ledger = "SELECT tableowner FROM pg_tables WHERE tablename = 'schema_migrations'";
    assert_eq!(world.one(ledger).await, *owner);

    request.execution.role = Some("nobody_here".into());
    request.bundle = bundle(&[("004_e.sql", "SELECT 1;")]);
    let error = apply(request, |_| {}).await.unwrap_err();
    let told = "execution.role (--role): role \"nobody_here\" does not exist";
    assert!(error.to_string().contains(told), "{error:?}");
}

#[tokio::test]
async fn files_are_tried_as_the_role_that_runs_them() {
    let (world, copy) = (World::new().await, World::new().await);
    let role = format!("{}_files", world.database.name);
    let owners = [&world.database.owner, &copy.database.owner];
    let grant = format!(
        "CREATE ROLE {role}; GRANT {role} TO {}, {}",
        owners[0], owners[1]
    );
    world.execute(&grant).await;
    // unqualified names lead into the schema that has the name of whoever runs the file
    let past = format!("CREATE SCHEMA {role} AUTHORIZATION {role}; CREATE TABLE {role}.a (id int)");
    for database in [&world, &copy] {
        database.execute(&past).await;
    }
    let mut request = world.request(&bundle(&[("001_a.sql", "CREATE TABLE a (id int);")]));
    request.execution.role = Some(role);
    let found = verify(&request, &copy.target()).await.unwrap();
    assert_eq!(found.versions[0].verdict, Verdict::Consistent);

    request.execution.role = Some("nobody_here".into());
    let error = verify(&request, &copy.target()).await.unwrap_err();
    let told = "execution.role (--role): role \"nobody_here\" does not exist";
    assert!(error.to_string().contains(told), "{error:?}");
}

#[tokio::test]
async fn a_trial_that_is_cancelled_ends_at_once_on_the_server() {
    const SLEEPING: &str = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(61)%' AND pid <> pg_backend_pid()";
    let (world, copy) = (World::new().await, World::new().await);
    let request = world.request(&bundle(&[("001_a.sql", "SELECT pg_sleep(61);")]));
    let (cancel, scratch) = (request.cancel.clone(), copy.target());
    let trial = tokio::spawn(async move { verify(&request, &scratch).await });
    copy.until(SLEEPING, "1").await;
    cancel.cancel();
    let ended = tokio::time::timeout(Duration::from_secs(5), trial).await;
    assert_eq!(ended.unwrap().unwrap(), Err(RunError::Cancelled));
    copy.until(SLEEPING, "0").await;
}

#[tokio::test]
async fn a_statement_has_its_own_limit() {
    let world = World::new().await;
    let files = [
        ("001_a.sql", "CREATE TABLE a ();"),
        ("002_b.sql", "CREATE TABLE b ();\nSELECT pg_sleep(20);"),
    ];
    let mut request = world.request(&bundle(&files));
    request.timeouts.statement = Some(Duration::from_millis(300));
    let error = apply(request, |_| {}).await.unwrap_err();
    let RunError::Failed(found) = error else {
        panic!("{error:?}");
    };
    assert_eq!(found.sqlstate.as_deref(), Some("57014"));
    assert_eq!(found.position.unwrap().line, 2);
    assert_eq!(world.tables().await, "a");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_of_four_tables_delay_a_file_but_it_holds_nobody_up_for_long() {
    const TABLES: [&str; 4] = ["q1", "q2", "q3", "q4"];
    let world = World::new().await;
    let create = TABLES
        .map(|t| format!("CREATE TABLE {t} (id int);"))
        .concat();
    let alter = TABLES
        .map(|t| format!("ALTER TABLE {t} ADD COLUMN n int;\n"))
        .concat();
    world.run(&[("001_q.sql", &create)]).await.unwrap();
    let mut readers = Vec::new();
    for table in TABLES {
        let read =
            format!("SET application_name = 'reader of {table}'; BEGIN; SELECT * FROM {table}");
        readers.push(world.superuser_after(&read).await);
    }
    let mut request = world.request(&bundle(&[("001_q.sql", &create), ("002_q.sql", &alter)]));
    // no single wait is ended, only what others wait for in total counts
    request.timeouts.lock = Duration::from_mins(2);
    request.timeouts.max_blocked = Duration::from_secs(1);
    request.timeouts.retries = 1000;
    let told = Told::default();
    let run = start(request, &told);
    // clients come one after the other while the file tries again and again
    let mut longest = Duration::ZERO;
    let mut client = world.superuser().await;
    let gave_way = |p: &Progress| matches!(p, Progress::Retrying { reason, .. } if reason.contains("waited for its locks"));
    let blamed = |p: &Progress| matches!(p, Progress::WaitingForLock { holder, .. } if holder.starts_with("reader of q1 (pid "));
    let began = monotonic();
    while told.count(gave_way) < 2 {
        let asked = monotonic();
        sqlx::raw_sql("SELECT count(*) FROM q1, q2, q3, q4")
            .fetch_all(&mut client)
            .await
            .unwrap();
        longest = longest.max(asked.elapsed());
        assert!(began.elapsed() < Duration::from_mins(2), "{:?}", told.all());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(told.count(blamed) > 0, "{:?}", told.all());
    // the reader in front leaves, the next one blocks the file while it has the first table
    for mut reader in readers {
        sqlx::raw_sql("COMMIT").execute(&mut reader).await.unwrap();
        let asked = monotonic();
        sqlx::raw_sql("SELECT count(*) FROM q1, q2, q3, q4")
            .fetch_all(&mut client)
            .await
            .unwrap();
        longest = longest.max(asked.elapsed());
    }
    assert_eq!(run.await.unwrap().unwrap().applied, ["002_q.sql"]);
    // one second, a look every half second, and what a slow machine adds
    let bound = Duration::from_secs(15);
    assert!(longest < bound, "a client waited {longest:?}");
}

#[tokio::test]
async fn a_standby_or_read_only_database_is_refused() {
    let world = World::new().await;
    world
        .execute(&format!(
            "ALTER DATABASE {} SET default_transaction_read_only = on",
            world.database.name
        ))
        .await;
    let error = world.run(&[("001_a.sql", "SELECT 1;")]).await.unwrap_err();
    assert!(
        matches!(&error, RunError::Unsupported(text) if text.contains("read-only")),
        "{error:?}"
    );
}

#[tokio::test]
async fn tables_that_got_an_index_or_were_rewritten_are_analyzed() {
    const KNOWN: &str = "SELECT coalesce(string_agg(DISTINCT tablename, ',' ORDER BY tablename), '') FROM pg_stats WHERE schemaname = 'public'";
    let world = World::new().await;
    let filled = |name: &str| {
        format!(
            "CREATE TABLE {name} AS SELECT g AS a, g::text AS b FROM generate_series(1, 100) g;"
        )
    };
    let create = ["indexed", "rewritten", "other"].map(filled).concat();
    let change = "CREATE INDEX ON indexed (lower(b));\nALTER TABLE rewritten ALTER a TYPE bigint;\nALTER TABLE other ADD c int;\nCREATE TABLE made (id int PRIMARY KEY);\nCREATE INDEX CONCURRENTLY ON indexed (a);";
    let files = [("001_c.sql", create.as_str()), ("002_d.sql", change)];
    world.run(&files[..1]).await.unwrap();
    assert_eq!(world.one(KNOWN).await, "");
    let mut request = world.request(&bundle(&files));
    request.execution.analyze = false;
    request.until = Some("001_c.sql".into());
    apply(request.clone(), |_| {}).await.unwrap();
    assert_eq!(world.one(KNOWN).await, "");
    request.execution.analyze = true;
    request.until = None;
    apply(request, |_| {}).await.unwrap();
    let index = "SELECT tablename FROM pg_stats WHERE tablename LIKE 'indexed%lower%'";
    assert_eq!(world.one(index).await, "indexed_lower_idx");
    assert_eq!(
        world.one(KNOWN).await,
        "indexed,indexed_lower_idx,rewritten"
    );
}
