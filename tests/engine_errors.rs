//! What people are told when a file, the server or the connection refuses, and that nothing is
//! left behind.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test says what it expects by failing"
)]

mod engine_support;

use std::time::Duration;

use engine_support::{
    World, bundle, documented,
    relay::{Relay, Startup},
};
use sepulki::{
    engine::{
        Code, Diagnostic,
        run::{RunError, apply, mark},
    },
    postgres::Tls,
};

fn place(diagnostic: &Diagnostic) -> (usize, usize) {
    let position = diagnostic.position.unwrap();
    (position.line, position.column)
}

fn sqlstate(diagnostic: &Diagnostic) -> &str {
    diagnostic.sqlstate.as_deref().unwrap_or("none")
}

#[tokio::test]
async fn a_failing_file_leaves_nothing_and_works_after_correction() {
    for (bad, good) in [
        (
            "CREATE TABLE t (id int PRIMARY KEY);\nINSERT INTO t VALUES (1), (1);\nCREATE TABLE u ();",
            "CREATE TABLE t (id int PRIMARY KEY);\nINSERT INTO t VALUES (1), (2);\nCREATE TABLE u ();",
        ),
        (
            "SET search_path = public;\nBEGIN;\nCREATE TABLE t (id int PRIMARY KEY);\nINSERT INTO t VALUES (1), (1);\nCREATE TABLE u ();\nCOMMIT;",
            "SET search_path = public;\nBEGIN;\nCREATE TABLE t (id int PRIMARY KEY);\nINSERT INTO t VALUES (1), (2);\nCREATE TABLE u ();\nCOMMIT;",
        ),
        // before its own BEGIN: still the same transaction
        (
            "CREATE TABLE t (id int);\nBEGIN;\nCREATE TABLE u ();\nCREATE TABLE u ();\nCOMMIT;",
            "CREATE TABLE t (id int);\nBEGIN;\nCREATE TABLE u ();\nCOMMIT;",
        ),
        // only at the commit
        (
            "CREATE TABLE t (id int PRIMARY KEY, up int REFERENCES t DEFERRABLE INITIALLY DEFERRED);\nINSERT INTO t VALUES (1, 2);\nCREATE TABLE u ();",
            "CREATE TABLE t (id int PRIMARY KEY, up int REFERENCES t DEFERRABLE INITIALLY DEFERRED);\nCREATE TABLE u ();",
        ),
        (
            "BEGIN;\nCREATE TABLE t (id int PRIMARY KEY, up int REFERENCES t DEFERRABLE INITIALLY DEFERRED);\nINSERT INTO t VALUES (1, 2);\nCREATE TABLE u ();\nCOMMIT;",
            "BEGIN;\nCREATE TABLE t (id int PRIMARY KEY, up int REFERENCES t DEFERRABLE INITIALLY DEFERRED);\nCREATE TABLE u ();\nCOMMIT;",
        ),
    ] {
        let world = World::new().await;
        let ahead = ("001_ahead.sql", "CREATE TABLE ahead ();");
        let found = world
            .fails(&[
                ahead,
                ("002_t.sql", bad),
                ("003_c.sql", "CREATE TABLE c ();"),
            ])
            .await;
        assert_eq!(found.file, "002_t.sql", "{bad}");
        assert_eq!(world.tables().await, "ahead", "{bad}");
        assert_eq!(world.versions().await, ["001_ahead.sql"], "{bad}");
        let report = world.run(&[ahead, ("002_t.sql", good)]).await.unwrap();
        assert_eq!(report.applied, ["002_t.sql"], "{bad}");
        assert_eq!(world.tables().await, "ahead,t,u", "{bad}");
    }
}

#[tokio::test]
async fn errors_of_the_server_have_their_place_in_the_file() {
    let world = World::new().await;
    for (text, code, line, column, caret) in [
        // with a position, behind characters of several bytes
        (
            "-- ünï\r\nCREATE TABLE t (a int);\r\n\tSELECT 'ä', nope FROM t;",
            "42703",
            3,
            14,
            "nope",
        ),
        (
            "BEGIN;\nSELECT 'ä';\nSELECT nope;\nCOMMIT;",
            "42703",
            3,
            8,
            "nope",
        ),
        ("\u{feff}SELECT nope;", "42703", 1, 8, "nope"),
        // without a position: the statement
        (
            "CREATE TABLE t ();\n\n  CREATE TABLE t ();",
            "42P07",
            3,
            3,
            "CREATE TABLE t ();",
        ),
        (
            "SELECT 1; SELECT 1/0;\nSELECT 2;",
            "22012",
            1,
            11,
            "SELECT 1/0;",
        ),
        (
            "BEGIN;\nCREATE TABLE t (a int);;\nCREATE INDEX i ON t (a) WHERE a > extract(epoch FROM now());\nCOMMIT;",
            "42P17",
            3,
            1,
            "CREATE INDEX i ON t (a) WHERE a > extract(epoch FROM now());",
        ),
        (
            "CREATE TABLE t (id int PRIMARY KEY, up int REFERENCES t DEFERRABLE INITIALLY DEFERRED);\nINSERT INTO t VALUES (1, 2);\nDROP TABLE t;",
            "55006",
            3,
            1,
            "DROP TABLE t;",
        ),
        // in the body of a DO
        (
            "SELECT 1;\nDO $$\nBEGIN\n  PERFORM 1;\n  PERFORM 1/0;\nEND $$;",
            "22012",
            5,
            3,
            "PERFORM 1/0;",
        ),
        (
            "DO $x$ BEGIN\n  INSERT INTO nowhere VALUES (1);\nEND $x$;",
            "42P01",
            2,
            3,
            "INSERT INTO nowhere VALUES (1);",
        ),
        // a setting of the file cannot lift the check of the whole
        (
            "SET LOCAL statement_timeout = '50ms';\nSELECT pg_sleep(5);",
            "57014",
            2,
            1,
            "SELECT pg_sleep(5);",
        ),
    ] {
        let found = world.fails(&[("001_a.sql", text)]).await;
        assert_eq!(
            (sqlstate(&found), place(&found)),
            (code, (line, column)),
            "{text}\n{}",
            found.render()
        );
        let snippet = found.snippet.clone().unwrap();
        let marked: String = snippet
            .text
            .chars()
            .skip(snippet.caret)
            .take(snippet.width)
            .collect();
        assert_eq!(marked, caret, "{text}");
        assert_eq!(found.code, Code::Refused);
        assert!(!found.to_string().contains("at line"), "{found}");
        assert_eq!(world.tables().await, "");
    }
    assert!(world.versions().await.is_empty());
}

#[tokio::test]
async fn a_server_without_room_is_told_with_its_place_and_nothing_is_tried_again() {
    let world = World::new().await;
    let (owner, name) = (&world.database.owner, &world.database.name);
    let rows = "CREATE TABLE public.t AS SELECT g AS a FROM generate_series(1, 100000) g";
    world.execute(&format!("SET ROLE {owner}; {rows}")).await;
    for limit in ["temp_file_limit = '64kB'", "maintenance_work_mem = '1MB'"] {
        let sql = format!("ALTER DATABASE \"{name}\" SET {limit}");
        world.execute(&sql).await;
    }
    // sessions of others end
    let crowded = "DO $$ BEGIN RAISE SQLSTATE '53300'; END $$;";
    let error = world.run(&[("001_a.sql", crowded)]).await.unwrap_err();
    assert!(matches!(error, RunError::Transient(_)), "{error:?}");
    for (text, code, line, outcome) in [
        (
            "CREATE TABLE u ();\nCREATE INDEX i ON t (a);",
            "53400",
            2,
            "rolled back",
        ),
        (
            "DO $$ BEGIN\n  RAISE SQLSTATE '53100';\nEND $$;",
            "53100",
            2,
            "rolled back",
        ),
        (
            "DO $$ BEGIN\n  RAISE SQLSTATE '53200';\nEND $$;",
            "53200",
            2,
            "rolled back",
        ),
        // what it has built so far takes room, too
        (
            "ANALYZE t;\nCREATE INDEX CONCURRENTLY i ON t (a);",
            "53400",
            2,
            "line 2",
        ),
    ] {
        let found = world.fails(&[("001_a.sql", text)]).await;
        assert_eq!(
            (sqlstate(&found), place(&found).0),
            (code, line),
            "{}",
            found.render()
        );
        documented(
            &found.message,
            "the server has run short of memory, disk or another resource",
        );
        let told = found.outcome.unwrap();
        assert!(told.contains(outcome), "{told}");
        let left = "SELECT count(*) FROM pg_class WHERE relname IN ('i', 'u')";
        assert_eq!(world.one(left).await, "0", "{text}");
        assert!(world.versions().await.is_empty());
    }
}

#[tokio::test]
async fn what_the_server_alone_knows_to_refuse_a_transaction_says_so() {
    let world = World::new().await;
    world
        .execute("CREATE PROCEDURE public.batch() LANGUAGE plpgsql AS $$ BEGIN COMMIT; END $$")
        .await;
    for (text, code) in [
        ("CREATE TABLE t ();\nCALL batch();", "2D000"),
        ("BEGIN;\nCALL batch();\nCOMMIT;", "2D000"),
        (
            "CREATE TABLE t (a int) PARTITION BY RANGE (a);\nREINDEX TABLE t;",
            "25001",
        ),
    ] {
        let found = world.fails(&[("001_a.sql", text)]).await;
        assert_eq!(
            (found.code, sqlstate(&found)),
            (Code::NeedsAutocommit, code),
            "{text}"
        );
        assert_eq!(place(&found), (2, 1), "{text}");
        assert_eq!(world.tables().await, "", "{text}");
    }
}

#[tokio::test]
async fn a_file_that_writes_its_own_row_is_refused() {
    let world = World::new().await;
    world.run(&[("001_a.sql", "")]).await.unwrap();
    let own = "CREATE TABLE b (); INSERT INTO schema_migrations VALUES ('002_b.sql');";
    let files = [("001_a.sql", ""), ("002_b.sql", own)];
    let refused = world.run(&files).await.unwrap_err();
    assert!(matches!(refused, RunError::Blocked(_)), "{refused:?}");
    documented(
        &refused.to_string(),
        "the ledger, in which this engine itself records what it has applied",
    );
    // where it is let through, the row is not the engine's all the same
    let mut request = world.request(&bundle(&files));
    request.policies.ignore = [("ChangesLedger".to_owned(), "002_b.sql".to_owned())].into();
    let Err(RunError::Failed(found)) = apply(request, |_| {}).await else {
        panic!("a row was written twice");
    };
    assert_eq!(found.code, Code::NotRecorded);
    assert_eq!(world.tables().await, "");
}

#[tokio::test]
async fn refusals_of_the_connection_are_told_apart() {
    let world = World::new().await;
    let bundle = bundle(&[("001_a.sql", "CREATE TABLE a ();")]);
    let attempt = |change: fn(&mut sepulki::postgres::Target)| {
        let mut request = world.request(&bundle);
        request.timeouts.connect = Duration::from_millis(500);
        change(&mut request.target);
        async { apply(request, |_| {}).await.unwrap_err() }
    };
    let wrong_password = attempt(|t| t.password = "hunter2".into()).await;
    assert!(
        matches!(wrong_password, RunError::Denied(_)),
        "{wrong_password:?}"
    );
    assert!(!format!("{wrong_password:?}").contains("hunter2"));
    let no_database = attempt(|t| t.database = "nowhere".into()).await;
    assert!(
        matches!(no_database, RunError::Unsupported(_)),
        "{no_database:?}"
    );
    let pooler = attempt(|t| t.host = "ep-x-pooler.local.localhost".into()).await;
    assert!(
        matches!(&pooler, RunError::Unsupported(text) if text.contains("direct")),
        "{pooler:?}"
    );
    let untrusted = attempt(|t| t.tls = Tls::WebPki).await;
    assert!(
        matches!(&untrusted, RunError::Unsupported(text) if text.contains("certificate")),
        "{untrusted:?}"
    );
    let nobody = attempt(|t| t.port = 1).await;
    assert!(matches!(nobody, RunError::Transient(_)), "{nobody:?}");
    world
        .execute(&format!(
            "ALTER ROLE {} SET default_transaction_read_only = on",
            world.database.owner
        ))
        .await;
    let read_only = attempt(|_| {}).await;
    assert!(
        matches!(&read_only, RunError::Unsupported(text) if text.contains("read-only")),
        "{read_only:?}"
    );
}

#[tokio::test]
async fn a_file_whose_row_the_ledger_does_not_keep_is_no_success() {
    let first = ("001_a.sql", "CREATE TABLE a ();");
    for obstacle in [
        "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'; \
         CREATE TRIGGER t BEFORE INSERT ON schema_migrations FOR EACH ROW EXECUTE FUNCTION f()",
        "CREATE RULE r AS ON INSERT TO schema_migrations DO INSTEAD NOTHING",
        "ALTER TABLE schema_migrations ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY; \
         CREATE POLICY w ON schema_migrations FOR INSERT WITH CHECK (true); \
         CREATE POLICY r ON schema_migrations FOR SELECT USING (version < '002')",
    ] {
        let world = World::new().await;
        world.run(&[first]).await.unwrap();
        world.execute(obstacle).await;
        let whole = ("002_b.sql", "CREATE TABLE b ();");
        let found = world.fails(&[first, whole]).await;
        assert_eq!(found.code, Code::NotRecorded, "{obstacle}");
        documented(
            &found.message,
            "the ledger did not keep the row: a trigger, a rule or row-level security drops it, or hides it from this role",
        );
        assert!(found.outcome.unwrap().contains("rolled back"), "{obstacle}");
        assert_eq!(world.tables().await, "a");

        // what is committed before the row is told, and does not run twice
        let parts = ("002_b.sql", "CREATE TABLE b ();\nVACUUM b;\n");
        for _ in 0..2 {
            let found = world.fails(&[first, parts]).await;
            assert_eq!(found.code, Code::NotRecorded, "{obstacle}");
            let outcome = found.outcome.unwrap();
            assert!(outcome.contains("committed and stays"), "{outcome}");
        }
        let request = world.request(&bundle(&[first, parts]));
        let version = [parts.0.to_owned()];
        let error = mark(request, &version, |_| {}).await.unwrap_err();
        assert!(matches!(error, RunError::LedgerConflict(_)), "{error:?}");
    }
}

#[tokio::test]
async fn statements_with_passwords_reach_neither_error_nor_report() {
    let world = World::new().await;
    let text = "CREATE ROLE nobody_may PASSWORD 's3cret-pw';";
    let found = world.fails(&[("001_a.sql", text)]).await;
    assert_eq!(sqlstate(&found), "42501");
    assert!(
        !format!("{found:?}{}", found.render()).contains("s3cret"),
        "{found:?}"
    );
}

#[tokio::test]
async fn what_others_read_of_an_error_has_no_values() {
    let world = World::new().await;
    let text = "CREATE TABLE a (b int);\nINSERT INTO a VALUES ('4-tune'); -- jane's";
    let found = world.fails(&[("001_a.sql", text)]).await;
    assert_eq!(sqlstate(&found), "22P02");
    assert!(found.render().contains("INSERT INTO a VALUES ('4-tune')"));
    let told = found.redacted().render();
    assert!(!told.contains("4-tune") && !told.contains("jane"), "{told}");
    assert!(told.contains("INSERT INTO a VALUES (………"), "{told}");
    assert!(
        told.contains("invalid input syntax for type integer"),
        "{told}"
    );
}

#[tokio::test]
async fn poolers_are_recognised_by_what_they_do_to_the_session() {
    let world = World::new().await;
    let bundle = bundle(&[("001_a.sql", "CREATE TABLE a ();")]);
    for (startup, accepted) in [
        (Startup::Forward, true),
        (Startup::DropOptions, false),
        (Startup::Refuse, false),
    ] {
        let relay = Relay::start(world.socket(), startup).await;
        let mut request = world.request(&bundle);
        request.target = world.target_by(&relay);
        match apply(request, |_| {}).await {
            Ok(_) => assert!(accepted),
            Err(RunError::Unsupported(text)) => {
                assert!(!accepted && text.contains("direct connection"), "{text}");
            }
            Err(other) => panic!("{other:?}"),
        }
    }
}
