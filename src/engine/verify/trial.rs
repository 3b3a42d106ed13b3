//! What of a file is tried, and what the server's answers say. Pure.

use std::collections::BTreeSet;

use super::{
    aim::{Aim, aims},
    index::IndexFound,
};
use crate::{
    engine::{
        report::without_values,
        sql::{
            Script,
            cited::without_secrets,
            classify::Class,
            lex::{Token, TokenKind, tokens},
            position::position,
        },
    },
    postgres::ServerError,
};

/// What one statement shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Evidence {
    /// It was refused, because its work is there already.
    There,
    /// It has worked, and the catalog tells the rest.
    Done,
    /// It changes rows, the session or what the catalog is not read for, or cannot be tried.
    Silent,
    /// It failed for another reason.
    Failed {
        /// In the file, from 1.
        line: usize,
        /// The server's words, without values that they cite.
        message: String,
    },
}

/// What came of trying a file.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tried {
    pub(crate) evidence: Vec<Evidence>,
    /// What statements that were refused are about: it is already as they want it.
    pub(crate) idle: Vec<Aim>,
    /// The words of its statements; a name that is none of them was chosen by the server.
    pub(crate) words: BTreeSet<String>,
    /// The indexes that it makes and that are there.
    pub(crate) indexes: Vec<IndexFound>,
}

/// How a statement is tried.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Attempt {
    /// As it stands, its data included.
    AsItIs,
    /// This instead: what works beside others cannot be rolled back, its plain form can.
    Instead(String),
    /// Not at all: it cannot be rolled back, or only steers a transaction.
    Not,
}

/// How statement `index` is tried.
pub(crate) fn attempt(script: &Script, index: usize) -> Attempt {
    let Some(statement) = script.statements.get(index) else {
        return Attempt::Not;
    };
    match &statement.class {
        Class::Empty
        | Class::Begin { .. }
        | Class::Commit
        | Class::CommitAndChain
        | Class::Rollback
        | Class::Savepoint
        | Class::PrepareTransaction
        | Class::SetTransaction
        | Class::ReadsOtherwise(_)
        | Class::DiscardAll
        | Class::CopyOut
        | Class::ControlsTransaction(_) => Attempt::Not,
        Class::Autocommit(_) => plain_form(&script.text, index, script),
        Class::Session
        | Class::SetConfig
        | Class::CopyIn
        | Class::Call(_)
        | Class::Transactional => Attempt::AsItIs,
    }
}

/// `CREATE INDEX`, `DROP INDEX` and `DETACH PARTITION` without their CONCURRENTLY.
fn plain_form(text: &str, index: usize, script: &Script) -> Attempt {
    let range = script.statements.get(index).map(|s| s.range.clone());
    let text = text.get(range.unwrap_or_default()).unwrap_or_default();
    let all = tokens(text);
    let has = |word: &str| all.iter().any(|token| token.is_word(text, word));
    let is_known = (has("INDEX") && (has("CREATE") || has("DROP"))) || has("DETACH");
    let concurrently = all.iter().find(|t| t.is_word(text, "CONCURRENTLY"));
    match concurrently.filter(|_| is_known && !has("REINDEX")) {
        Some(Token { range, .. }) => {
            let mut plain = text.to_owned();
            plain.replace_range(range.clone(), "");
            Attempt::Instead(plain)
        }
        None => Attempt::Not,
    }
}

impl Tried {
    /// Takes note of how a statement ended.
    pub(crate) fn note(&mut self, script: &Script, index: usize, error: Option<&ServerError>) {
        let Some(statement) = script.statements.get(index) else {
            return;
        };
        let text = script.text.get(statement.range.clone()).unwrap_or_default();
        let words = words(text);
        self.words.extend(words.iter().map(|w| w.to_lowercase()));
        let evidence = match error {
            None if is_seen(&words) => Evidence::Done,
            None => Evidence::Silent,
            Some(error) if is_there(&error.sqlstate) || is_gone(&error.sqlstate, &words) => {
                self.idle.extend(aims(text));
                Evidence::There
            }
            // labels of this very history, which is one transaction here
            Some(error) if error.sqlstate == "55P04" => Evidence::Silent,
            Some(error) => Evidence::Failed {
                line: position(&script.text, statement.range.start).line,
                message: without_values(
                    &without_secrets(&error.message, text),
                    Some(&error.sqlstate),
                ),
            },
        };
        self.evidence.push(evidence);
    }
}

/// Words and names of a statement, without quotes.
fn words(text: &str) -> Vec<String> {
    let all = tokens(text).into_iter();
    all.filter(|t| matches!(t.kind, TokenKind::Word | TokenKind::QuotedName))
        .map(|t| t.text(text).trim_matches('"').to_owned())
        .collect()
}

fn changes_catalog(words: &[String]) -> bool {
    let first = words.first().map(|word| word.to_ascii_uppercase());
    matches!(
        first.as_deref(),
        Some("CREATE" | "ALTER" | "DROP" | "COMMENT")
    )
}

/// Whether the catalog, as it is read, shows what a statement has changed.
fn is_seen(words: &[String]) -> bool {
    const BETWEEN: &[&str] = &[
        "OR",
        "REPLACE",
        "UNIQUE",
        "TEMP",
        "TEMPORARY",
        "UNLOGGED",
        "CONSTRAINT",
        "MATERIALIZED",
        "RECURSIVE",
        "FOREIGN",
        "ON",
    ];
    const WHOLE: &[&str] = &[
        "TABLE",
        "INDEX",
        "VIEW",
        "SEQUENCE",
        "TRIGGER",
        "RULE",
        "POLICY",
        "SCHEMA",
        "FUNCTION",
        "PROCEDURE",
        "ROUTINE",
        "TYPE",
        "DOMAIN",
        "STATISTICS",
        "COLUMN",
    ];
    const EXISTENCE: &[&str] = &["AGGREGATE", "COLLATION", "EXTENSION", "OPERATOR"];
    const UNSEEN: &[&str] = &[
        "OWNER",
        "STORAGE",
        "STATISTICS",
        "COMPRESSION",
        "REPLICA",
        "CLUSTER",
        "DEPENDS",
        "TABLESPACE",
    ];
    let is_one_of =
        |word: &String, list: &[&str]| list.iter().any(|w| w.eq_ignore_ascii_case(word));
    let Some((first, rest)) = words.split_first().filter(|_| changes_catalog(words)) else {
        return false;
    };
    let kind = rest.iter().find(|word| !is_one_of(word, BETWEEN));
    let alters = first.eq_ignore_ascii_case("ALTER");
    let is_hidden = alters && rest.iter().any(|word| is_one_of(word, UNSEEN));
    kind.is_some_and(|kind| is_one_of(kind, WHOLE) || !alters && is_one_of(kind, EXISTENCE))
        && !is_hidden
}

/// Something of that name, or that very row, exists.
fn is_there(sqlstate: &str) -> bool {
    matches!(
        sqlstate,
        "42P07" | "42710" | "42723" | "42701" | "42P06" | "42P04" | "42P16" | "23505"
    )
}

/// What was to be dropped or renamed does not exist any more.
fn is_gone(sqlstate: &str, words: &[String]) -> bool {
    let removes = |word: &String| {
        ["DROP", "RENAME"]
            .iter()
            .any(|w| w.eq_ignore_ascii_case(word))
    };
    matches!(sqlstate, "42P01" | "42703" | "42704" | "42883" | "3F000")
        && changes_catalog(words)
        && words.iter().take(8).any(removes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::bundle::script_of;

    #[test]
    fn what_the_catalog_does_not_show_proves_nothing() {
        for (text, seen) in [
            ("CREATE TABLE IF NOT EXISTS a ();", true),
            (
                "CREATE OR REPLACE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1';",
                true,
            ),
            ("CREATE UNIQUE INDEX IF NOT EXISTS i ON a (b);", true),
            ("CREATE EXTENSION IF NOT EXISTS pgcrypto;", true),
            ("COMMENT ON COLUMN a.b IS 'c';", true),
            ("ALTER TABLE a ALTER b SET NOT NULL;", true),
            ("ALTER TABLE a OWNER TO x;", false),
            ("ALTER TABLE a ALTER b SET STATISTICS 500;", false),
            ("ALTER EXTENSION pgcrypto UPDATE;", false),
            (
                "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO x;",
                false,
            ),
            ("CREATE ROLE r;", false),
            ("CREATE PUBLICATION p FOR ALL TABLES;", false),
            (
                "CREATE EVENT TRIGGER e ON sql_drop EXECUTE FUNCTION f();",
                false,
            ),
            ("CREATE FOREIGN DATA WRAPPER w;", false),
            ("GRANT SELECT ON a TO x;", false),
            ("INSERT INTO a VALUES (1);", false),
        ] {
            let mut tried = Tried::default();
            tried.note(&script_of(text), 0, None);
            let expected = if seen {
                Evidence::Done
            } else {
                Evidence::Silent
            };
            assert_eq!(tried.evidence, [expected], "{text}");
        }
    }

    #[test]
    fn nothing_is_tried_that_could_not_be_rolled_back() {
        for (text, expected) in [
            ("CREATE TABLE a ();", Attempt::AsItIs),
            ("VACUUM a;", Attempt::Not),
            ("REINDEX INDEX CONCURRENTLY i;", Attempt::Not),
            ("CREATE DATABASE d;", Attempt::Not),
            ("ALTER SYSTEM SET work_mem = '1MB';", Attempt::Not),
            ("DO $$ BEGIN COMMIT; END $$;", Attempt::Not),
            (
                "CREATE INDEX CONCURRENTLY i ON a (b);",
                Attempt::Instead("CREATE INDEX  i ON a (b);".into()),
            ),
            (
                "DROP INDEX CONCURRENTLY i;",
                Attempt::Instead("DROP INDEX  i;".into()),
            ),
            (
                "ALTER TABLE p DETACH PARTITION q CONCURRENTLY;",
                Attempt::Instead("ALTER TABLE p DETACH PARTITION q ;".into()),
            ),
        ] {
            assert_eq!(attempt(&script_of(text), 0), expected, "{text}");
        }
        let block = script_of("BEGIN;\nSELECT 1;\nCOMMIT;");
        let all = [0, 1, 2].map(|index| attempt(&block, index));
        assert_eq!(all, [Attempt::Not, Attempt::AsItIs, Attempt::Not]);
    }
}
