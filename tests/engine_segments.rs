//! Files that do not fit into one transaction, on real PostgreSQL: concurrent index builds,
//! blocks that commit, several transactions, data of COPY.
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
    Code, Diagnostic, LedgerName, ProblemKind,
    run::{OnAmbiguous, Progress, RunError, apply, mark},
};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

const TABLE: (&str, &str) = (
    "001_t.sql",
    "CREATE TABLE t (id int, a int); INSERT INTO t SELECT n, n % 10 FROM generate_series(1, 100) n;",
);
const NOTES: &str = "SELECT count(*) FROM sepulki_engine.journal";

/// The indexes of `public` that are valid, and those that are not.
async fn indexes(world: &World) -> String {
    world
        .one(
            "SELECT coalesce(string_agg(c.relname || CASE WHEN i.indisvalid THEN '' ELSE '!' END, ',' ORDER BY c.relname), '') \
             FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid \
             WHERE c.relnamespace = 'public'::regnamespace AND c.relname <> 'schema_migrations_pkey'",
        )
        .await
}

/// Runs and expects that nothing runs because of this one finding of a file.
async fn refused(world: &World, files: &[(&str, &str)]) -> Diagnostic {
    match &blocked(world, files).await[..] {
        [ProblemKind::Unrunnable(findings)] => findings.first().unwrap().clone(),
        other => panic!("expected one finding, got {other:?}"),
    }
}

/// Runs and expects that nothing runs; answers why.
async fn blocked(world: &World, files: &[(&str, &str)]) -> Vec<ProblemKind> {
    match world.run(files).await {
        Err(RunError::Blocked(plan)) => plan.blocking().map(|p| p.kind.clone()).collect(),
        other => panic!("expected a plan with problems, got {other:?}"),
    }
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
async fn a_mixed_file_is_applied_once_and_leaves_no_notes() {
    let world = World::new().await;
    let mixed = "\
        SET lock_timeout = '7s';\n\
        ALTER TABLE t ADD COLUMN b text DEFAULT 'x';\n\
        CREATE INDEX CONCURRENTLY t_a ON t (a);\n\
        CREATE INDEX CONCURRENTLY ON t (b);\n\
        CREATE TABLE seen AS SELECT current_setting('lock_timeout') AS lock_timeout;\n\
        BEGIN;\nCREATE TABLE u (id int);\nCOMMIT;\n\
        REINDEX TABLE CONCURRENTLY t;\n\
        VACUUM ANALYZE t;\n\
        DO $$ BEGIN FOR i IN 1..3 LOOP INSERT INTO u VALUES (i); COMMIT; END LOOP; END $$;\n\
        DROP INDEX CONCURRENTLY IF EXISTS nowhere;\n\
        DROP INDEX CONCURRENTLY t_a;\n";
    let files = [TABLE, ("002_mixed.sql", mixed)];
    let report = world.run(&files).await.unwrap();
    assert_eq!(report.applied, ["001_t.sql", "002_mixed.sql"]);
    assert_eq!(indexes(&world).await, "t_b_idx");
    assert_eq!(world.one("SELECT sum(id) FROM u").await, "6");
    // the file's own timeout holds again behind the statement that must not have one
    assert_eq!(world.one("SELECT lock_timeout FROM seen").await, "7s");
    assert_eq!(world.one(NOTES).await, "0");
    assert!(world.run(&files).await.unwrap().applied.is_empty());
}

#[tokio::test]
async fn what_failed_is_corrected_and_what_is_committed_is_not_repeated() {
    let world = World::new().await;
    let file = |third: &str| {
        format!(
            "INSERT INTO t VALUES (1000);\nCREATE INDEX CONCURRENTLY t_a ON t (a);\n{third}\nINSERT INTO t VALUES (1001);"
        )
    };
    let bad = file("CREATE UNIQUE INDEX CONCURRENTLY t_u ON t (a);");
    let found = world.fails(&[TABLE, ("002_i.sql", &bad)]).await;
    assert_eq!(found.sqlstate.as_deref(), Some("23505"));
    assert_eq!(found.position.unwrap().line, 3);
    let outcome = found.outcome.unwrap();
    assert!(
        outcome.contains("in front of line 3 is committed"),
        "{outcome}"
    );
    // the half-built index is gone at once
    assert_eq!(indexes(&world).await, "t_a");
    assert_eq!(world.versions().await, ["001_t.sql"]);

    // what is committed may not be changed
    let changed = bad.replace("1000", "1002");
    let found = refused(&world, &[TABLE, ("002_i.sql", &changed)]).await;
    assert_eq!(found.code, Code::ChangedMidway);
    assert_eq!(found.position.unwrap().line, 1);
    documented(
        &found.message,
        "an earlier run was interrupted in this file after this part was committed, and it has been edited since",
    );

    let good = file("-- now it works\nCREATE UNIQUE INDEX CONCURRENTLY t_u ON t (id);");
    let files = [TABLE, ("002_i.sql", good.as_str())];
    assert_eq!(world.run(&files).await.unwrap().applied, ["002_i.sql"]);
    assert_eq!(indexes(&world).await, "t_a,t_u");
    assert_eq!(
        world.one("SELECT count(*) FROM t WHERE id >= 1000").await,
        "2"
    );
    assert_eq!(world.one(NOTES).await, "0");
}

/// Counts how often it runs, then fails on two equal rows of [`TABLE`].
const HALF: &str = "CREATE TABLE m (a int);\nINSERT INTO m VALUES (42);\nCREATE UNIQUE INDEX CONCURRENTLY t_u ON t (a);\n";

#[tokio::test]
async fn what_is_committed_of_a_file_does_not_run_again_when_the_rest_needs_no_segments() {
    let world = World::new().await;
    world.fails(&[TABLE, ("002_m.sql", HALF)]).await;
    let plain = "CREATE TABLE m (a int);\nINSERT INTO m VALUES (42);\nCREATE INDEX t_u ON t (a);\n";
    let found = refused(&world, &[TABLE, ("002_m.sql", plain)]).await;
    assert_eq!(found.code, Code::ChangedMidway);
    assert_eq!(found.position.unwrap().line, 1);
    assert_eq!(world.one("SELECT count(*) FROM m").await, "1");

    // what was not run may go to a file of its own; then only the row is missing
    let half = "CREATE TABLE m (a int);\nINSERT INTO m VALUES (42);\n";
    let rest = ("003_i.sql", "CREATE INDEX t_u ON t (a);");
    let report = world.run(&[TABLE, ("002_m.sql", half), rest]).await;
    assert_eq!(report.unwrap().applied, ["002_m.sql", "003_i.sql"]);
    assert_eq!(world.one("SELECT count(*) FROM m").await, "1");
    assert_eq!(world.one(NOTES).await, "0");
}

#[tokio::test]
async fn data_of_a_part_that_is_committed_may_not_be_edited_either() {
    let world = World::new().await;
    let file =
        |row: &str, end: &str| format!("COPY t (id) FROM stdin;\n{row}\n\\.\nVACUUM t;\n{end}");
    let bad = file("1000", "SELECT 1/0;");
    world.fails(&[TABLE, ("002_c.sql", &bad)]).await;
    let found = refused(&world, &[TABLE, ("002_c.sql", &file("1001", ""))]).await;
    assert_eq!(found.code, Code::ChangedMidway);
    assert_eq!(found.position.unwrap().line, 1);
    let good = file("1000", "SELECT 1;");
    let report = world.run(&[TABLE, ("002_c.sql", &good)]).await.unwrap();
    assert_eq!(report.applied, ["002_c.sql"]);
    assert_eq!(
        world.one("SELECT count(*) FROM t WHERE id >= 1000").await,
        "1"
    );
}

#[tokio::test]
async fn a_block_that_listens_to_itself_is_told_and_not_tried_for_ever() {
    let world = World::new().await;
    let listens = "DO $$ BEGIN LISTEN news; COMMIT; NOTIFY news, 'one'; COMMIT; END $$;\n\
        CREATE TABLE after ();";
    let found = world.fails(&[TABLE, ("002_l.sql", listens)]).await;
    documented(
        &found.message,
        "the session was sent a notification in the middle of its conversation with the server: it listens",
    );
    assert_eq!(found.position.unwrap().line, 1);
    // whether it is to run again is asked, as of every block that commits
    let silent = listens.replace("LISTEN news; ", "");
    let found = refused(&world, &[TABLE, ("002_l.sql", &silent)]).await;
    assert_eq!(found.code, Code::Ambiguous);
}

#[tokio::test]
async fn a_file_whose_last_parts_are_taken_away_is_recorded() {
    let world = World::new().await;
    let log = ("001_log.sql", "CREATE TABLE log (id int);");
    let file = |end: &str| {
        format!("INSERT INTO log VALUES (1);\nVACUUM log;\nINSERT INTO log VALUES (2);\n{end}")
    };
    let bad = file("VACUUM log;\nSELECT 1/0;");
    world.fails(&[log, ("002_v.sql", &bad)]).await;
    let good = file("VACUUM log;");
    world.run(&[log, ("002_v.sql", &good)]).await.unwrap();
    assert_eq!(world.versions().await, ["001_log.sql", "002_v.sql"]);
    assert_eq!(world.one("SELECT count(*) FROM log").await, "2");
    assert_eq!(world.one(NOTES).await, "0");
}

#[tokio::test]
async fn a_file_that_was_begun_is_not_forgotten_under_another_name() {
    let world = World::new().await;
    world.fails(&[TABLE, ("002_m.sql", HALF)]).await;
    for files in [&[TABLE][..], &[TABLE, ("002_other.sql", HALF)]] {
        let why = blocked(&world, files).await;
        let [ProblemKind::Unfinished { known }] = &why[..] else {
            panic!("{why:?}");
        };
        assert_eq!(known, "its first part is committed");
        documented(
            &world.run(files).await.unwrap_err().to_string(),
            "and it is not one of the files any more: under another name it would run from its start",
        );
    }
    // a ledger of its own knows nothing of it
    let mut other = world.request(&bundle(&[("001_x.sql", "SELECT 1;")]));
    other.ledger = LedgerName::new("public", "other").unwrap();
    apply(other, |_| {}).await.unwrap();

    let good = HALF.replace("ON t (a)", "ON t (id)");
    let report = world.run(&[TABLE, ("002_m.sql", &good)]).await.unwrap();
    assert_eq!(report.applied, ["002_m.sql"]);
    assert_eq!(world.one("SELECT count(*) FROM m").await, "1");
}

#[tokio::test]
async fn a_file_that_was_begun_and_renamed_goes_on_where_it_was_interrupted() {
    let world = World::new().await;
    world.fails(&[TABLE, ("002_m.sql", HALF)]).await;
    let renamed = |sql: &str, names: [&str; 2]| {
        let mut request = world.request(&bundle(&[TABLE, (names[1], sql)]));
        request.policies.aliases = [names.map(str::to_owned).into()].into();
        request
    };
    // it fails there once more, and what was noted of it is known under its new name only
    let names = ["002_m.sql", "002_n.sql"];
    let error = apply(renamed(HALF, names), |_| {}).await.unwrap_err();
    assert!(matches!(error, RunError::Failed(_)), "{error:?}");
    let noted_as = "SELECT string_agg(DISTINCT version, ',') FROM sepulki_engine.journal";
    assert_eq!(world.one(noted_as).await, "002_n.sql");

    let good = HALF.replace("ON t (a)", "ON t (id)");
    let names = ["002_n.sql", "002_o.sql"];
    let report = apply(renamed(&good, names), |_| {}).await.unwrap();
    assert_eq!(report.applied, ["002_o.sql"]);
    assert_eq!(world.one("SELECT count(*) FROM m").await, "1");
    assert_eq!(world.one(NOTES).await, "0");
}

#[tokio::test]
async fn who_marks_a_renamed_file_as_done_need_not_know_its_old_name() {
    let world = World::new().await;
    world.fails(&[TABLE, ("002_m.sql", HALF)]).await;
    let mut request = world.request(&bundle(&[TABLE, ("002_n.sql", HALF)]));
    let alias = ("002_m.sql".to_owned(), "002_n.sql".to_owned());
    request.policies.aliases = [alias].into();
    let file = ["002_n.sql".to_owned()];
    mark(request, &file, |_| {}).await.unwrap();
    assert_eq!(world.versions().await, ["001_t.sql", "002_n.sql"]);
    assert_eq!(world.one(NOTES).await, "0");
}

#[tokio::test]
async fn a_ledger_that_is_made_anew_begins_without_notes_once_they_are_forgotten() {
    let world = World::new().await;
    world.fails(&[TABLE, ("002_m.sql", HALF)]).await;
    world.execute("DROP TABLE schema_migrations, t, m").await;
    let good = HALF.replace("ON t (a)", "ON t (id)");
    let kinds = blocked(&world, &[TABLE, ("002_m.sql", &good)]).await;
    let [ProblemKind::LedgerLost { known, forget, .. }, ..] = &kinds[..] else {
        panic!("{kinds:?}");
    };
    assert!(known.contains("has begun 002_m.sql"), "{known}");
    world.execute(forget).await;
    let report = world.run(&[TABLE, ("002_m.sql", &good)]).await.unwrap();
    assert_eq!(report.applied, ["001_t.sql", "002_m.sql"]);
    assert_eq!(world.one("SELECT count(*) FROM m").await, "1");
}

#[tokio::test]
async fn an_invalid_index_of_somebody_else_is_neither_accepted_nor_dropped() {
    let world = World::new().await;
    world.run(&[TABLE]).await.unwrap();
    let owner = &world.database.owner;
    let mut other = session(&world, &format!("SET ROLE {owner}")).await;
    let built = sqlx::raw_sql("CREATE UNIQUE INDEX CONCURRENTLY t_i ON t (a)")
        .execute(&mut other)
        .await;
    assert!(built.is_err());
    assert_eq!(indexes(&world).await, "t_i!");
    for text in [
        "CREATE INDEX CONCURRENTLY IF NOT EXISTS t_i ON t (a);",
        "CREATE INDEX CONCURRENTLY t_i ON public.t (a);",
    ] {
        let found = world.fails(&[TABLE, ("002_i.sql", text)]).await;
        assert_eq!(found.code, Code::InvalidIndex, "{text}");
        let hint = found.hint.unwrap();
        assert!(
            hint.contains("DROP INDEX CONCURRENTLY \"public\".\"t_i\";"),
            "{hint}"
        );
        assert_eq!(indexes(&world).await, "t_i!", "{text}");
    }
    world.execute("DROP INDEX t_i").await;
    let text = "CREATE INDEX CONCURRENTLY IF NOT EXISTS t_i ON t (a);";
    world.run(&[TABLE, ("002_i.sql", text)]).await.unwrap();
    assert_eq!(indexes(&world).await, "t_i");
    // and over a valid one it does nothing
    let again = ("003_i.sql", text);
    world
        .run(&[TABLE, ("002_i.sql", text), again])
        .await
        .unwrap();
    assert_eq!(indexes(&world).await, "t_i");
}

#[tokio::test]
async fn a_concurrent_build_waits_for_others_without_a_timeout() {
    let world = World::new().await;
    world.run(&[TABLE]).await.unwrap();
    let mut writer = session(
        &world,
        "SET application_name = 'writer'; BEGIN; INSERT INTO t VALUES (7)",
    )
    .await;
    let files = [
        TABLE,
        ("002_i.sql", "CREATE INDEX CONCURRENTLY t_a ON t (a);"),
    ];
    let mut request = world.request(&bundle(&files));
    request.timeouts.lock = Duration::from_millis(50);
    request.timeouts.max_blocked = Duration::from_millis(50);
    request.timeouts.retries = 0;
    let told = Told::default();
    let run = start(request, &told);
    let waits = |p: &Progress| matches!(p, Progress::WaitingForLock { holder, .. } if holder.starts_with("writer (pid "));
    let wait = async {
        while told.count(waits) == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(30), wait).await;
    assert!(waited.is_ok(), "{:?}", told.all());
    sqlx::raw_sql("COMMIT").execute(&mut writer).await.unwrap();
    assert_eq!(run.await.unwrap().unwrap().applied, ["002_i.sql"]);
    assert_eq!(indexes(&world).await, "t_a");
    let building = |p: &Progress| matches!(p, Progress::Building { phase, .. } if phase.starts_with("waiting for writers"));
    assert!(told.count(building) > 0, "{:?}", told.all());
    let statement = |p: &Progress| matches!(p, Progress::Statement { line: 1, text, .. } if text == "CREATE INDEX CONCURRENTLY t_a ON t (a)");
    assert_eq!(told.count(statement), 1, "{:?}", told.all());
}

#[tokio::test]
async fn a_deadline_ends_a_build_on_the_server_and_the_next_run_clears_up() {
    let world = World::new().await;
    world.run(&[TABLE]).await.unwrap();
    let mut writer = session(&world, "BEGIN; INSERT INTO t VALUES (7)").await;
    let files = [
        TABLE,
        ("002_i.sql", "CREATE INDEX CONCURRENTLY t_a ON t (a);"),
    ];
    let mut request = world.request(&bundle(&files));
    request.timeouts.deadline = Duration::from_secs(2);
    let error = apply(request, |_| {}).await.unwrap_err();
    assert!(matches!(error, RunError::DeadlineExceeded(_)), "{error:?}");
    world
        .until(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'CREATE INDEX%' AND state = 'active'",
            "0",
        )
        .await;
    sqlx::raw_sql("COMMIT").execute(&mut writer).await.unwrap();
    world.run(&files).await.unwrap();
    assert_eq!(indexes(&world).await, "t_a");
    assert_eq!(world.one(NOTES).await, "0");
}

/// A block that commits, then waits; how often it ran is in `log`.
const COMMITS: &str = "DO $$ BEGIN INSERT INTO log VALUES (1); COMMIT; PERFORM pg_sleep(CASE WHEN (SELECT count(*) FROM log) = 1 THEN 20 ELSE 0 END); END $$;\nCREATE TABLE after ();";

#[tokio::test]
async fn what_nobody_can_know_is_asked() {
    for (answer, times) in [(OnAmbiguous::Rerun, "2"), (OnAmbiguous::Skip, "1")] {
        let world = World::new().await;
        let log = ("001_log.sql", "CREATE TABLE log (id int);");
        world.run(&[log]).await.unwrap();
        let files = [log, ("002_do.sql", COMMITS)];
        let run = start(world.request(&bundle(&files)), &Told::default());
        world.until("SELECT count(*) FROM log", "1").await;
        world
            .execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'")
            .await;
        let error = run.await.unwrap().unwrap_err();
        assert!(matches!(error, RunError::Transient(_)), "{error:?}");

        let found = world.fails(&files).await;
        assert_eq!(found.code, Code::Ambiguous);
        documented(
            &found.message,
            "was interrupted, and nobody can know whether it was carried out",
        );
        let outcome = found.outcome.clone().unwrap();
        assert!(outcome.contains("committed stays"), "{outcome}");
        assert!(
            found.hint.clone().unwrap().contains("onAmbiguous"),
            "{found}"
        );
        // nor is it forgotten because the statement is written anew
        let other = COMMITS.replace("THEN 20", "THEN 10");
        let edited = refused(&world, &[log, ("002_do.sql", &other)]).await;
        assert_eq!(edited.code, Code::Ambiguous);

        let mut request = world.request(&bundle(&files));
        request.execution.on_ambiguous = answer;
        assert_eq!(
            apply(request, |_| {}).await.unwrap().applied,
            ["002_do.sql"]
        );
        assert_eq!(world.one("SELECT count(*) FROM log").await, times);
        assert_eq!(world.tables().await, "after,log");
        assert_eq!(world.one(NOTES).await, "0");
    }
}

#[tokio::test]
async fn a_block_that_fails_before_its_first_commit_has_done_nothing() {
    let world = World::new().await;
    let log = ("001_log.sql", "CREATE TABLE log (id int);");
    let block = |divisor: u8| {
        format!("DO $$ BEGIN INSERT INTO log VALUES (1); PERFORM 1/{divisor}; COMMIT; END $$;")
    };
    let found = world.fails(&[log, ("002_do.sql", &block(0))]).await;
    assert_eq!(found.sqlstate.as_deref(), Some("22012"));
    // it may be corrected and run, nobody is asked
    world.run(&[log, ("002_do.sql", &block(1))]).await.unwrap();
    assert_eq!(world.one("SELECT count(*) FROM log").await, "1");

    let late = "DO $$ BEGIN INSERT INTO log VALUES (2); COMMIT; PERFORM 1/0; END $$;";
    let files = [log, ("002_do.sql", &block(1)), ("003_do.sql", late)];
    let found = world.fails(&files).await;
    let outcome = found.outcome.unwrap();
    assert!(outcome.contains("had committed a part"), "{outcome}");
    assert_eq!(world.fails(&files).await.code, Code::Ambiguous);
}

#[tokio::test]
async fn a_label_is_used_by_the_file_that_adds_it() {
    let world = World::new().await;
    let files = [
        (
            "001_e.sql",
            "CREATE TYPE mood AS ENUM ('sad');\nCREATE TABLE p (m mood);\nALTER TYPE mood ADD VALUE 'so';\nINSERT INTO p VALUES ('so');",
        ),
        (
            "002_e.sql",
            "ALTER TYPE mood ADD VALUE IF NOT EXISTS 'glad';\nCREATE TABLE q ();\nINSERT INTO p VALUES ('glad');",
        ),
    ];
    world.run(&files).await.unwrap();
    assert_eq!(
        world.one("SELECT string_agg(m::text, ',') FROM p").await,
        "so,glad"
    );
}

#[tokio::test]
async fn data_of_copy_are_loaded_and_their_errors_located() {
    let world = World::new().await;
    let dump = "\
        \\restrict abc\r\n\
        SET client_encoding = 'UTF8';\r\n\
        SELECT pg_catalog.set_config('search_path', '', false);\r\n\
        CREATE TABLE public.c (id int, name text);\r\n\
        COPY public.c (id, name) FROM stdin;\r\n\
        1\tit's ü\r\n\
        2\t\\N\r\n\
        \\.\r\n\r\n\
        ALTER TABLE ONLY public.c ADD PRIMARY KEY (id);\r\n\
        \\unrestrict abc\r\n";
    let csv = "BEGIN;\nCREATE TABLE public.d (id int, t text);\nCOPY d FROM STDIN (FORMAT csv);\n1,\"a\n;b\"\n\\.\nCOPY d FROM STDIN;\n\\.\nCOMMIT;\n";
    let files = [("001 a dump.sql", dump), ("002_csv.sql", csv)];
    assert_eq!(world.run(&files).await.unwrap().applied.len(), 2);
    assert_eq!(
        world
            .one("SELECT string_agg(coalesce(name, 'null'), ',' ORDER BY id) FROM c")
            .await,
        "it's ü,null"
    );
    assert_eq!(world.one("SELECT t FROM d").await, "a\n;b");

    let bad = "CREATE TABLE e (id int);\nCOPY e FROM STDIN;\n1\n2\nsecret\n\\.\nSELECT 1;";
    let found = world
        .fails(&[files[0], files[1], ("003_bad.sql", bad)])
        .await;
    assert_eq!(found.sqlstate.as_deref(), Some("22P02"));
    assert_eq!(found.position.unwrap().line, 5);
    assert!(!found.snippet.unwrap().text.contains("secret"));
    assert_eq!(world.tables().await, "c,d");

    // between statements that run alone it is a segment like others
    let mixed = "COPY d FROM STDIN;\n2\tx\n\\.\nVACUUM d;\nCOPY d FROM STDIN;\n3\ty\n\\.\n";
    world
        .run(&[files[0], files[1], ("003_mixed.sql", mixed)])
        .await
        .unwrap();
    assert_eq!(world.one("SELECT count(*) FROM d").await, "3");
}

#[tokio::test]
async fn a_pending_detachment_and_remains_of_a_rebuilt_index_are_finished() {
    let world = World::new().await;
    let parts = (
        "001_p.sql",
        "CREATE TABLE p (a int) PARTITION BY RANGE (a);\nCREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10);\nCREATE TABLE t (a int PRIMARY KEY);",
    );
    world.run(&[parts]).await.unwrap();
    for (text, blocker, after) in [
        (
            "ALTER TABLE p DETACH PARTITION p1 CONCURRENTLY;",
            "BEGIN; SELECT * FROM p",
            "SELECT (SELECT count(*) FROM pg_inherits WHERE inhparent = 'p'::regclass) = 0",
        ),
        (
            "REINDEX TABLE CONCURRENTLY t;",
            "BEGIN; INSERT INTO t VALUES (1)",
            "SELECT (SELECT count(*) FROM pg_index WHERE indrelid = 't'::regclass) = 1",
        ),
    ] {
        let mut reader = session(&world, blocker).await;
        let done: Vec<(String, String)> = if text.starts_with("ALTER") {
            Vec::new()
        } else {
            vec![(
                "002_x.sql".into(),
                "ALTER TABLE p DETACH PARTITION p1 CONCURRENTLY;".into(),
            )]
        };
        let name = if done.is_empty() {
            "002_x.sql"
        } else {
            "003_y.sql"
        };
        let mut files = vec![parts];
        files.extend(done.iter().map(|(n, t)| (n.as_str(), t.as_str())));
        files.push((name, text));
        let run = start(world.request(&bundle(&files)), &Told::default());
        world
            .until(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                 AND application_name = 'sepulki/test' AND wait_event_type = 'Lock'",
                "1",
            )
            .await;
        world
            .execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() \
                 AND application_name = 'sepulki/test' AND wait_event_type = 'Lock'",
            )
            .await;
        assert!(run.await.unwrap().is_err());
        sqlx::raw_sql("COMMIT").execute(&mut reader).await.unwrap();
        reader.close().await.unwrap();
        assert_eq!(world.run(&files).await.unwrap().applied, [name], "{text}");
        assert_eq!(world.one(after).await, "true", "{text}");
        assert_eq!(world.one(NOTES).await, "0", "{text}");
    }
}
