//! The guards against what the compiler lets through, on real PostgreSQL. Scripts are made by
//! hand here, because the compiler refuses every known way to get there.

use std::collections::BTreeMap;

use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};
use testkit::Postgres;

use super::{failure, watch::execute};
use crate::{
    engine::{
        journal::Subject,
        ledger::{LedgerName, create_sql},
        message::{Entry, Message, Record, Start, Step},
        report::Code,
        sql::{
            Script,
            classify::{Class, classify},
            lex::tokens,
            segment::{Shape, Statement, Transaction},
        },
    },
    postgres::{Error, lock::Key},
};

const SHA: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// Cut at semicolons and run in the runner's transaction, whatever it contains.
fn script(text: &str) -> Script {
    let mut start = 0;
    let mut statements = Vec::new();
    for piece in text.split_inclusive(';') {
        let range = start + (piece.len() - piece.trim_start().len())..start + piece.len();
        start = range.end;
        let class = classify(&text[range.clone()], &tokens(&text[range.clone()]));
        statements.push(Statement::new(range, class));
    }
    Script {
        text: text.to_owned(),
        statements,
        data: BTreeMap::new(),
        shape: Shape::Whole(whole(text)),
    }
}

fn whole(text: &str) -> Transaction {
    Transaction {
        bytes: 0..text.len(),
        marker: 0,
        row: None,
    }
}

struct World {
    connection: PgConnection,
    other: PgConnection,
    ledger: LedgerName,
}

impl World {
    async fn new() -> Self {
        let server = Postgres::shared().await.unwrap();
        let database = server.database().await.unwrap();
        let ledger = LedgerName::default();
        let mut other = PgConnection::connect_with(&database.owner_options())
            .await
            .unwrap();
        sqlx::raw_sql(AssertSqlSafe(create_sql(&ledger)))
            .execute(&mut other)
            .await
            .unwrap();
        Self {
            connection: PgConnection::connect_with(&database.owner_options())
                .await
                .unwrap(),
            other,
            ledger,
        }
    }

    async fn run(&mut self, script: &Script) -> (Message, usize, Option<Error>) {
        let record = Record {
            subject: Subject {
                ledger: &self.ledger,
                version: "001_a.sql",
            },
            entry: Entry::Row {
                meaning: None,
                sha256: SHA,
                journalled: false,
            },
            worker: Key::worker("d", "l"),
            control: "true".into(),
            marker: Key::marker(4711),
        };
        let transaction = whole(&script.text);
        let message = Message::compose(script, &transaction, Start::Afresh, &record);
        let (completed, error) = execute(&mut self.connection, &message).await;
        (message, completed, error)
    }

    /// Looked up by another session, which sees only what is committed.
    async fn one(&mut self, sql: &'static str) -> i64 {
        sqlx::raw_sql(sql)
            .fetch_one(&mut self.other)
            .await
            .unwrap()
            .get(0)
    }
}

#[tokio::test]
async fn a_file_that_ends_the_runners_transaction_is_never_recorded() {
    for text in [
        "CREATE TABLE t (); COMMIT; CREATE TABLE u ();",
        "CREATE TABLE t (); COMMIT; BEGIN; CREATE TABLE u ();",
        "CREATE TABLE t (); END; START TRANSACTION; RESET ALL;",
        "CREATE TABLE t (); RESET ALL; SELECT pg_advisory_unlock_all(); COMMIT; BEGIN; SELECT 1;",
        "CREATE TABLE t (); COMMIT AND CHAIN; CREATE TABLE u ();",
        "CREATE TABLE t (); COMMIT;",
        "ROLLBACK; BEGIN; CREATE TABLE u ();",
    ] {
        let mut world = World::new().await;
        let script = script(text);
        let (message, completed, error) = world.run(&script).await;
        let error = error.unwrap();
        assert_eq!(error.sqlstate(), Some("23502"), "{text}: {error}");
        let found = failure::locate(
            "001_a.sql",
            &script,
            &message,
            completed,
            error.server.as_ref().unwrap(),
        );
        assert_eq!(found.code, Code::CommittedItself, "{text}");
        sqlx::raw_sql("ROLLBACK")
            .execute(&mut world.connection)
            .await
            .unwrap();
        assert_eq!(
            world.one("SELECT count(*) FROM schema_migrations").await,
            0,
            "{text}"
        );
        // what follows the hidden COMMIT goes with the row that could not be written
        assert_eq!(
            world
                .one("SELECT count(*) FROM pg_class WHERE relname = 'u'")
                .await,
            0,
            "{text}"
        );
    }
}

#[tokio::test]
async fn resetting_the_session_does_not_lose_the_marker() {
    for text in [
        "RESET ALL; SELECT pg_advisory_unlock_all(); CREATE TABLE t ();",
        "SAVEPOINT a; CREATE TABLE x (); ROLLBACK TO a; CREATE TABLE t ();",
        "SET search_path = ''; SET standard_conforming_strings = off; CREATE TABLE public.t ();",
        "CREATE TABLE t ()",
    ] {
        let mut world = World::new().await;
        let script = script(text);
        assert!(script.statements.iter().all(|s| s.class != Class::Commit));
        let (message, completed, error) = world.run(&script).await;
        assert_eq!(error, None, "{text}");
        assert_eq!(completed, message.answers(), "{text}");
        assert_eq!(
            world.one("SELECT count(*) FROM schema_migrations").await,
            1,
            "{text}"
        );
        assert_eq!(
            world
                .one("SELECT count(*) FROM pg_class WHERE relname = 't'")
                .await,
            1,
            "{text}"
        );
    }
}

#[tokio::test]
async fn nothing_runs_once_another_runner_has_the_workers_lock() {
    let mut world = World::new().await;
    let take = format!("SELECT {}", Key::worker("d", "l").try_for_session());
    sqlx::raw_sql(AssertSqlSafe(take))
        .execute(&mut world.other)
        .await
        .unwrap();
    let (message, completed, error) = world.run(&script("CREATE TABLE t ();")).await;
    assert_eq!(error.unwrap().sqlstate(), Some("22012"));
    assert_eq!(message.step(completed), Some(Step::Fence));
    assert_eq!(
        world
            .one("SELECT count(*) FROM pg_class WHERE relname = 't'")
            .await,
        0
    );
}
