//! The engine on real PostgreSQL: files are applied once, in order, with their rows.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test says what it expects by failing"
)]

mod engine_support;

use std::{path::Path, sync::atomic::Ordering, time::Duration};

use engine_support::{
    World, bundle,
    relay::{Relay, Startup},
};
use sepulki::engine::{
    LedgerName, ProblemKind,
    run::{Inspection, RunError, apply, inspect},
};

#[tokio::test]
async fn a_baseline_is_recorded_and_the_rest_is_run() {
    let world = World::new().await;
    let files = bundle(&[
        ("001_a.sql", "CREATE TABLE a ();"),
        ("002_b.sql", "ALTER TABLE a ADD COLUMN b int;"),
        ("003_c.sql", "CREATE TABLE c ();"),
    ]);
    let mut request = world.request(&files);
    request.policies.baseline = Some("002_b.sql".into());
    request.until.clone_from(&request.policies.baseline);
    let recorded = apply(request.clone(), |_| {}).await.unwrap();
    assert_eq!(recorded.applied, ["001_a.sql", "002_b.sql"]);
    assert_eq!(world.tables().await, "");
    for (row, file) in recorded.ledger.rows.iter().zip(files.files()) {
        assert_eq!(row.checksum.as_deref(), Some(file.sha256()));
    }
    request.until = None;
    let rest = apply(request, |_| {}).await.unwrap();
    assert_eq!(rest.applied, ["003_c.sql"]);
    assert_eq!(world.tables().await, "c");
}

#[tokio::test]
async fn plain_and_own_block_files_are_applied_once_with_their_rows() {
    let world = World::new().await;
    let files = [
        (
            "001_plain.sql",
            "CREATE TABLE a (id int);\r\nINSERT INTO a VALUES (1) -- no semicolon, a comment",
        ),
        (
            "002_block.sql",
            "-- own block\nSET search_path = '';\nBEGIN ISOLATION LEVEL SERIALIZABLE;\nCREATE TABLE public.b (id int);\nCOMMIT;\nRESET search_path;\n",
        ),
        ("003_empty.sql", "-- nothing here\n"),
        (
            "004_isolated.sql",
            "\u{feff}SET TRANSACTION ISOLATION LEVEL SERIALIZABLE;\nINSERT INTO a SELECT count(*) FROM a;",
        ),
        (
            "005_blank.sql",
            "SELECT pg_catalog.set_config('search_path', '', false); CREATE TABLE public.c (id int);",
        ),
    ];
    let first = world.run(&files).await.unwrap();
    assert_eq!(first.applied, files.map(|(name, _)| name));
    assert!(first.plan.pending.is_empty() && first.plan.problems.is_empty());
    assert_eq!(world.tables().await, "a,b,c");
    assert_eq!(world.one("SELECT sum(id) FROM a").await, "2");

    let bundle = bundle(&files);
    for row in &first.ledger.rows {
        let file = bundle.file(&row.version).unwrap();
        assert_eq!(row.checksum.as_deref(), Some(file.sha256()));
        assert!(row.applied_at.is_some());
    }
    let second = world.run(&files).await.unwrap();
    assert!(second.applied.is_empty());
    assert_eq!(world.versions().await, files.map(|(name, _)| name));
    assert_eq!(world.one("SELECT sum(id) FROM a").await, "2");
}

#[tokio::test]
async fn a_target_ends_the_run_and_can_be_moved() {
    let world = World::new().await;
    let bundle = bundle(&[
        ("001_a.sql", "CREATE TABLE a ();"),
        ("002_b.sql", "CREATE TABLE b ();"),
    ]);
    let mut request = world.request(&bundle);
    request.until = Some("001_a.sql".into());
    assert_eq!(apply(request, |_| {}).await.unwrap().applied, ["001_a.sql"]);
    assert_eq!(world.tables().await, "a");
    assert_eq!(
        apply(world.request(&bundle), |_| {}).await.unwrap().applied,
        ["002_b.sql"]
    );
}

#[tokio::test]
async fn nothing_of_a_session_reaches_the_next_file() {
    let world = World::new().await;
    let leaks = "SET search_path = 'pg_catalog'; SET default_transaction_read_only = on; SET default_transaction_isolation = serializable; \
         SET statement_timeout = 60000; SET lock_timeout = 60000; PREPARE p AS SELECT 1; CREATE TEMP TABLE mine (); \
         LISTEN x; SELECT pg_catalog.set_config('app.x', 'leaked', false); SELECT pg_advisory_unlock_all();";
    let report = world
        .run(&[
            ("001_leak.sql", leaks),
            ("002_block.sql", "BEGIN; CREATE TABLE a (); COMMIT; SET default_transaction_read_only = on; SET search_path = 'pg_temp';"),
            (
                "003_look.sql",
                "CREATE TABLE seen AS SELECT current_setting('search_path') AS p, current_setting('transaction_read_only') AS r, \
                 current_setting('transaction_isolation') AS i, current_setting('statement_timeout') AS s, \
                 current_setting('lock_timeout') AS l, coalesce(current_setting('app.x', true), '') AS x, \
                 (SELECT count(*) FROM pg_prepared_statements) AS n, to_regclass('pg_temp.mine') AS t, \
                 current_setting('application_name') AS a; SELECT pg_sleep(0.01);",
            ),
        ])
        .await
        .unwrap();
    assert_eq!(report.applied.len(), 3);
    let seen = world.one("SELECT seen::text FROM seen").await;
    assert_eq!(
        seen,
        "(\"\"\"$user\"\", public\",off,\"read committed\",0,200ms,\"\",0,,sepulki/test)"
    );
    // nor is the server's log filled with warnings about it
    let log = world.server.log().unwrap();
    assert!(!log.contains("no transaction in progress"), "{log}");
}

#[tokio::test]
async fn a_file_may_listen_to_itself() {
    let world = World::new().await;
    let files = [
        ("001_a.sql", "LISTEN x;\nNOTIFY x;\nCREATE TABLE a ();"),
        (
            "002_b.sql",
            "BEGIN;\nLISTEN x;\nNOTIFY x;\nCOMMIT;\nVACUUM a;\nNOTIFY x;",
        ),
        ("003_c.sql", "CREATE TABLE c ();"),
    ];
    assert_eq!(world.run(&files).await.unwrap().applied.len(), 3);
}

#[tokio::test]
async fn odd_times_and_versions_in_the_ledger_are_put_up_with() {
    let world = World::new().await;
    let files = [("001_a.sql", "CREATE TABLE a ();"), ("002_b.sql", "")];
    world.run(&files[..1]).await.unwrap();
    world
        .execute("UPDATE schema_migrations SET applied_at = 'infinity'")
        .await;
    let report = world.run(&files).await.unwrap();
    assert_eq!(report.applied, ["002_b.sql"]);
    assert_eq!(report.ledger.rows[0].applied_at, None);
}

#[tokio::test]
async fn a_file_may_change_role_and_the_row_is_still_written() {
    let world = World::new().await;
    let (name, owner) = (&world.database.name, &world.database.owner);
    world
        .execute(&format!(
            "CREATE ROLE {name}_weak; GRANT {name}_weak TO {owner}"
        ))
        .await;
    let plain = format!("CREATE TABLE a (); SET ROLE {name}_weak;");
    let block = format!("BEGIN; SET LOCAL ROLE {name}_weak; SELECT 1; COMMIT;");
    let report = world
        .run(&[
            ("001_a.sql", &plain),
            ("002_b.sql", &block),
            ("003_c.sql", "CREATE TABLE c ();"),
        ])
        .await;
    assert_eq!(report.unwrap().applied.len(), 3);
}

#[tokio::test]
async fn default_privileges_do_not_open_the_ledger() {
    let world = World::new().await;
    let (name, owner) = (&world.database.name, &world.database.owner);
    world
        .execute(&format!(
            "CREATE ROLE \"{name} App%\"; CREATE ROLE {name}_read; \
             ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA public GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO \"{name} App%\"; \
             ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA public GRANT SELECT ON TABLES TO {name}_read; \
             ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA public GRANT UPDATE ON TABLES TO PUBLIC"
        ))
        .await;
    world
        .run(&[("001_a.sql", "CREATE TABLE a ();")])
        .await
        .unwrap();
    for (role, table, privilege, expected) in [
        (
            format!("{name} App%"),
            "schema_migrations",
            "SELECT",
            "true",
        ),
        (
            format!("{name} App%"),
            "schema_migrations",
            "INSERT,UPDATE,DELETE,TRUNCATE",
            "false",
        ),
        (
            format!("{name}_read"),
            "schema_migrations",
            "SELECT",
            "true",
        ),
        (
            format!("{name}_read"),
            "schema_migrations",
            "UPDATE",
            "false",
        ),
        (format!("{name} App%"), "a", "DELETE", "true"),
    ] {
        let sql = format!("SELECT has_table_privilege('{role}', 'public.{table}', '{privilege}')");
        assert_eq!(world.one(&sql).await, expected, "{sql}");
    }
}

#[tokio::test]
async fn a_ledger_may_live_anywhere() {
    let world = World::new().await;
    let bundle = bundle(&[("001_it's.sql", "CREATE TABLE a ();")]);
    let mut request = world.request(&bundle);
    request.ledger = LedgerName::new("ops \"x\"", "it's %s").unwrap();
    let report = apply(request.clone(), |_| {}).await.unwrap();
    assert_eq!(report.ledger.rows[0].version, "001_it's.sql");
    assert_eq!(apply(request, |_| {}).await.unwrap().applied.len(), 0);
    assert_eq!(world.versions().await.len(), 0);
}

#[tokio::test]
async fn rows_of_the_old_runner_are_respected() {
    let world = World::new().await;
    let files = [
        ("001_a.sql", "CREATE TABLE a ();\n"),
        ("002_b.sql", "CREATE TABLE b ();\n"),
        ("003_c.sql", "CREATE TABLE c ();\n"),
    ];
    let owner = &world.database.owner;
    let crlf = bundle(&[("002_b.sql", "CREATE TABLE b ();\r\n")]);
    world
        .execute(&format!(
            "CREATE TABLE schema_migrations (version VARCHAR(255) PRIMARY KEY, applied_at TIMESTAMP WITH TIME ZONE DEFAULT NOW(), checksum VARCHAR(64)); \
             ALTER TABLE schema_migrations OWNER TO {owner}; \
             INSERT INTO schema_migrations VALUES ('001_a.sql', now(), 'unknown'), ('002_b.sql', NULL, '{}')",
            crlf.files()[0].sha256()
        ))
        .await;
    let report = world.run(&files).await.unwrap();
    assert_eq!(report.applied, ["003_c.sql"]);
    assert_eq!(world.tables().await, "c");
    let kinds: Vec<_> = report
        .plan
        .problems
        .iter()
        .map(|p| (p.version.as_str(), &p.kind))
        .collect();
    assert_eq!(kinds, [("001_a.sql", &ProblemKind::Unverified)]);
    assert_eq!(
        world
            .one("SELECT checksum FROM schema_migrations WHERE version = '001_a.sql'")
            .await,
        "unknown"
    );

    // an edited file stops everything that comes after it
    let edited = [
        files[0],
        files[1],
        ("003_c.sql", "CREATE TABLE changed ();\n"),
        ("004_d.sql", "CREATE TABLE d ();"),
    ];
    let refused = world.run(&edited).await.unwrap_err();
    assert!(
        refused
            .to_string()
            .starts_with("003_c.sql was edited after it was applied"),
        "{refused}"
    );
    assert!(matches!(refused, RunError::Blocked(_)));
    assert_eq!(world.tables().await, "c");
}

#[tokio::test]
async fn a_version_without_its_ending_is_not_taken_for_the_same() {
    let world = World::new().await;
    let owner = &world.database.owner;
    world
        .execute(&format!(
            "CREATE TABLE schema_migrations (version varchar(255) PRIMARY KEY, applied_at timestamptz DEFAULT now(), checksum varchar(64)); \
             ALTER TABLE schema_migrations OWNER TO {owner}; INSERT INTO schema_migrations VALUES ('001_a')"
        ))
        .await;
    let refused = world
        .run(&[("001_a.sql", "CREATE TABLE a ();")])
        .await
        .unwrap_err();
    assert!(refused.to_string().contains("\"001_a\""), "{refused}");
    assert_eq!(world.tables().await, "");
}

#[tokio::test]
async fn tables_of_other_tools_are_left_alone() {
    for table in [
        "CREATE TABLE schema_migrations (version bigint PRIMARY KEY, dirty boolean NOT NULL)",
        "CREATE TABLE schema_migrations (version varchar PRIMARY KEY)",
        "CREATE VIEW schema_migrations AS SELECT ''::varchar AS version, now() AS applied_at, ''::varchar AS checksum",
    ] {
        let world = World::new().await;
        world.execute(table).await;
        let refused = world
            .run(&[("001_a.sql", "CREATE TABLE a ();")])
            .await
            .unwrap_err();
        assert!(
            matches!(refused, RunError::LedgerConflict(_)),
            "{table}: {refused:?}"
        );
        assert_eq!(world.tables().await, "", "{table}");
    }
}

#[tokio::test]
async fn looking_changes_nothing() {
    let world = World::new().await;
    let ledger = LedgerName::default();
    let target = world.target();
    let inspection = Inspection {
        target: &target,
        ledger: &ledger,
        holder: "test",
        connect: Duration::from_secs(10),
        protection: None,
    };
    let look = || async { inspect(inspection).await };
    assert!(!look().await.unwrap().exists);
    assert_eq!(
        world
            .one("SELECT to_regclass('public.schema_migrations') IS NULL")
            .await,
        "true"
    );
    world.run(&[("001_a.sql", "")]).await.unwrap();
    let state = look().await.unwrap();
    assert!(state.exists);
    assert_eq!(state.rows.len(), 1);
}

#[tokio::test]
async fn a_file_costs_one_round_trip_and_nothing_pending_four() {
    let world = World::new().await;
    let relay = Relay::start(world.socket(), Startup::Forward).await;
    let texts: Vec<(String, String)> = (0..60)
        .map(|n| {
            (
                format!("{n:03}.sql"),
                format!("CREATE TABLE t{n} (a int);\nCREATE INDEX ON t{n} (a);"),
            )
        })
        .collect();
    let files: Vec<(&str, &str)> = texts
        .iter()
        .map(|(name, text)| (name.as_str(), text.as_str()))
        .collect();
    let bundle = bundle(&files);
    let mut request = world.request(&bundle);
    request.target = world.target_by(&relay);

    apply(request.clone(), |_| {}).await.unwrap();
    let turns = relay.turns.swap(0, Ordering::Relaxed);
    assert!(turns <= 60 + 16, "{turns} turns for 60 files");
    apply(request, |_| {}).await.unwrap();
    let turns = relay.turns.load(Ordering::Relaxed);
    // and one each to say hello and goodbye
    assert!(turns <= 4 + 2, "{turns} turns for nothing");
}

#[tokio::test]
async fn the_sepulki_schema_is_applied() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
    let mut texts = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "sql") {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            texts.push((name, std::fs::read_to_string(&path).unwrap()));
        }
    }
    let files: Vec<(&str, &str)> = texts
        .iter()
        .map(|(name, text)| (name.as_str(), text.as_str()))
        .collect();
    let world = World::new().await;
    let report = world.run(&files).await.unwrap();
    assert_eq!(
        report.applied,
        [
            "001_initial_schema.sql",
            "002_add_performance_indexes.sql",
            "003_add_telemetry_tables.sql"
        ]
    );
    assert!(
        report.plan.problems.is_empty(),
        "{:?}",
        report.plan.problems
    );
    let tables = world.tables().await;
    assert_eq!(tables.split(',').count(), 17, "{tables}");
    assert!(world.run(&files).await.unwrap().applied.is_empty());
}
