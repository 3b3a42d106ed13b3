//! What a statement means for the transaction it runs in. Pure.
//!
//! The lists are PostgreSQL's own (`PreventInTransactionBlock` in its sources, checked on 15).
//! What cannot be told from the text (a partitioned table, a slot) is left to the server: inside
//! the runner's transaction its refusal has no effect.

use std::ops::Range;

use super::{
    alone::{Alone, Name, recognise},
    lex::{Token, TokenKind},
    occurs,
    reading::reads_otherwise,
};

/// The classes the compiler tells apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Class {
    /// Only a semicolon; the server does not answer it.
    Empty,
    /// `BEGIN`, `START TRANSACTION`.
    Begin {
        /// Nothing can be recorded in such a transaction.
        read_only: bool,
        /// An isolation level or another mode, which the server takes only before the first query.
        has_modes: bool,
    },
    /// `COMMIT`, `END`.
    Commit,
    /// `COMMIT AND CHAIN`.
    CommitAndChain,
    /// `ROLLBACK`, `ABORT`.
    Rollback,
    /// `SAVEPOINT`, `RELEASE`, `ROLLBACK TO`.
    Savepoint,
    /// `PREPARE TRANSACTION`.
    PrepareTransaction,
    /// `SET TRANSACTION`: must come before the first query of its transaction.
    SetTransaction,
    /// `SET`, `RESET`, `SHOW`: changes the session at most.
    Session,
    /// `SELECT set_config(…, false)` as `pg_dump` writes it: the same, but a query.
    SetConfig,
    /// Gives this setting a value with which the server would read files otherwise than we do.
    ReadsOtherwise(&'static str),
    /// Refused inside a transaction.
    Autocommit(Alone),
    /// `DISCARD ALL`: would also give the runner's locks away.
    DiscardAll,
    /// `COPY … FROM STDIN`: its data follow in the file.
    CopyIn,
    /// `COPY … TO STDOUT`: nobody is there to take the data.
    CopyOut,
    /// A body that commits or rolls back, at this place of the file.
    ControlsTransaction(Range<usize>),
    /// `CALL` of this procedure.
    Call(Name),
    /// Everything else.
    Transactional,
}

/// Classifies the statement made of `tokens`.
pub(crate) fn classify(text: &str, tokens: &[Token]) -> Class {
    let words: Vec<String> = tokens
        .iter()
        .filter(|token| token.is_significant())
        .map(|token| {
            if token.kind == TokenKind::Word {
                token.text(text).to_ascii_uppercase()
            } else if token.is_constant() {
                // what a constant says is no key word
                String::from("'")
            } else {
                token.text(text).to_owned()
            }
        })
        .collect();
    let words: Vec<&str> = words
        .iter()
        .map(String::as_str)
        .filter(|w| *w != ";")
        .collect();
    recognise(&words)
        .map(Class::Autocommit)
        .or_else(|| reads_otherwise(text, tokens).map(Class::ReadsOtherwise))
        .or_else(|| control(&words))
        .unwrap_or_else(|| match words.as_slice() {
            [] => Class::Empty,
            ["SET", "TRANSACTION", ..] | ["SET", "LOCAL", "TRANSACTION", ..] => {
                Class::SetTransaction
            }
            ["SET" | "RESET" | "SHOW", ..] => Class::Session,
            ["SELECT", rest @ ..] if sets_session(rest) => Class::SetConfig,
            ["DISCARD", "ALL"] => Class::DiscardAll,
            ["COPY", ..] if occurs(&words, &["FROM", "STDIN"]) => Class::CopyIn,
            ["COPY", ..] if occurs(&words, &["TO", "STDOUT"]) => Class::CopyOut,
            ["CALL", name @ ..] => Class::Call(called(name)),
            _ => Class::Transactional,
        })
}

fn control(words: &[&str]) -> Option<Class> {
    Some(match words {
        ["BEGIN", "WORK" | "TRANSACTION", modes @ ..]
        | ["START", "TRANSACTION", modes @ ..]
        | ["BEGIN", modes @ ..] => Class::Begin {
            read_only: occurs(words, &["READ", "ONLY"]),
            has_modes: !modes.is_empty(),
        },
        ["COMMIT" | "END", ..] if occurs(words, &["AND", "CHAIN"]) => Class::CommitAndChain,
        ["COMMIT" | "END", ..] => Class::Commit,
        ["ROLLBACK" | "ABORT", ..] if occurs(words, &["TO"]) => Class::Savepoint,
        ["ROLLBACK" | "ABORT", ..] => Class::Rollback,
        ["SAVEPOINT" | "RELEASE", ..] => Class::Savepoint,
        ["PREPARE", "TRANSACTION", ..] => Class::PrepareTransaction,
        _ => return None,
    })
}

/// What follows SELECT is `[pg_catalog.]set_config(name, value, false)` and nothing more, as
/// pg_dump writes it.
fn sets_session(words: &[&str]) -> bool {
    let call = words.strip_prefix(&["PG_CATALOG", "."]).unwrap_or(words);
    matches!(call, ["SET_CONFIG", "(", "'", ",", "'", ",", "FALSE", ")"])
}

/// A possibly qualified procedure name.
fn called(words: &[&str]) -> Name {
    let name = words.iter().take_while(|word| **word != "(");
    let parts = name.filter(|word| **word != ".");
    Name(parts.map(|part| catalog_name(part)).collect())
}

/// A name as the catalog holds it: folded to lower case unless quoted.
pub(crate) fn catalog_name(written: &str) -> String {
    match written
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
    {
        Some(quoted) => quoted.replace("\"\"", "\""),
        None => written.to_ascii_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::lex::tokens;
    use super::*;

    fn class(text: &str) -> Class {
        classify(text, &tokens(text))
    }

    #[test]
    fn transaction_control() {
        let begin = |read_only, has_modes| Class::Begin {
            read_only,
            has_modes,
        };
        for (text, expected) in [
            (";", Class::Empty),
            ("-- c\n ;", Class::Empty),
            ("BEGIN;", begin(false, false)),
            ("begin work", begin(false, false)),
            ("START TRANSACTION", begin(false, false)),
            (
                "START TRANSACTION ISOLATION LEVEL SERIALIZABLE;",
                begin(false, true),
            ),
            ("BEGIN TRANSACTION DEFERRABLE;", begin(false, true)),
            ("BEGIN READ ONLY;", begin(true, true)),
            ("BEGIN READ WRITE;", begin(false, true)),
            ("COMMIT;", Class::Commit),
            ("COMMIT WORK AND NO CHAIN;", Class::Commit),
            ("END TRANSACTION;", Class::Commit),
            ("COMMIT AND CHAIN;", Class::CommitAndChain),
            ("ROLLBACK;", Class::Rollback),
            ("ABORT", Class::Rollback),
            ("ROLLBACK AND CHAIN", Class::Rollback),
            ("ROLLBACK TO SAVEPOINT a;", Class::Savepoint),
            ("ROLLBACK WORK TO a;", Class::Savepoint),
            ("SAVEPOINT a;", Class::Savepoint),
            ("RELEASE a;", Class::Savepoint),
            ("PREPARE TRANSACTION 'x';", Class::PrepareTransaction),
            ("PREPARE q AS SELECT 1;", Class::Transactional),
            (
                "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE;",
                Class::SetTransaction,
            ),
            ("SET LOCAL lock_timeout = '1s';", Class::Session),
            ("RESET ALL;", Class::Session),
            (
                "CALL app.Refill(1, 'commit');",
                Class::Call(Name(vec!["app".into(), "refill".into()])),
            ),
            (
                "CALL \"Re\"\"fill\"();",
                Class::Call(Name(vec!["Re\"fill".into()])),
            ),
            (
                "SELECT pg_catalog.set_config('search_path', '', false);",
                Class::SetConfig,
            ),
            (
                "SELECT set_config('a.b', x, false) FROM t;",
                Class::Transactional,
            ),
            ("DISCARD ALL;", Class::DiscardAll),
            ("COPY a FROM stdin;", Class::CopyIn),
            ("COPY a (x) FROM STDIN WITH (FORMAT csv);", Class::CopyIn),
            ("COPY a TO STDOUT;", Class::CopyOut),
            ("COPY a FROM '/tmp/stdin';", Class::Transactional),
            ("SELECT 1;", Class::Transactional),
            ("DO $$ BEGIN NULL; END $$;", Class::Transactional),
        ] {
            assert_eq!(class(text), expected, "{text}");
        }
    }

    #[test]
    fn statements_that_refuse_a_transaction() {
        for text in [
            "VACUUM a;",
            "VACUUM (FULL, ANALYZE) a;",
            "CREATE DATABASE a;",
            "DROP DATABASE IF EXISTS a;",
            "ALTER DATABASE a SET TABLESPACE t;",
            "CREATE TABLESPACE t LOCATION '/x';",
            "DROP TABLESPACE t;",
            "ALTER SYSTEM SET work_mem = '1MB';",
            "ALTER SYSTEM RESET ALL;",
            "COMMIT PREPARED 'x';",
            "ROLLBACK PREPARED 'x';",
            "CREATE INDEX CONCURRENTLY IF NOT EXISTS i ON a (b);",
            "create unique index concurrently on a (b)",
            "DROP INDEX CONCURRENTLY i;",
            "REINDEX TABLE CONCURRENTLY a;",
            "REINDEX (CONCURRENTLY) TABLE a;",
            "REINDEX (CONCURRENTLY true, VERBOSE) TABLE a;",
            "REINDEX SCHEMA public;",
            "REINDEX (VERBOSE) DATABASE d;",
            "ALTER TABLE a DETACH PARTITION b CONCURRENTLY;",
            "CLUSTER;",
            "CLUSTER VERBOSE;",
            "CLUSTER (VERBOSE);",
            "CREATE SUBSCRIPTION s CONNECTION 'x' PUBLICATION p;",
            "ALTER SUBSCRIPTION s REFRESH PUBLICATION;",
            "ALTER SUBSCRIPTION s ADD PUBLICATION p;",
        ] {
            assert!(matches!(class(text), Class::Autocommit(_)), "{text}");
        }
    }

    #[test]
    fn statements_that_only_look_like_it() {
        for text in [
            "REFRESH MATERIALIZED VIEW CONCURRENTLY m;",
            "ANALYZE a;",
            "CLUSTER a USING i;",
            "CLUSTER (VERBOSE) a USING i;",
            "REINDEX TABLE a;",
            "REINDEX (CONCURRENTLY false) TABLE a;",
            "REINDEX (CONCURRENTLY off, VERBOSE) TABLE a;",
            "ALTER TABLE a DETACH PARTITION b;",
            "ALTER TABLE a DETACH PARTITION b FINALIZE;",
            "CHECKPOINT;",
            "ALTER DATABASE a SET work_mem = '1MB';",
            "ALTER TYPE e ADD VALUE 'x';",
            "CREATE SUBSCRIPTION s CONNECTION 'x' PUBLICATION p WITH (connect = false);",
            "ALTER SUBSCRIPTION s SET PUBLICATION p WITH (refresh = false);",
            "DROP INDEX i;",
            "CREATE INDEX i ON a (concurrently_done);",
            "DISCARD PLANS;",
            "COMMENT ON TABLE a IS 'VACUUM';",
        ] {
            assert!(!matches!(class(text), Class::Autocommit(_)), "{text}");
        }
    }
}
