//! What gets lost by statements in the body of a DO, and by what that executes; what is put together from parts, or done by
//! functions, cannot be told. Pure.
//!
//! The rules are those of the same statements outside of bodies.

use std::collections::BTreeSet;

use super::losses::{DELETE, OWNED, TRUNCATE, UPDATE};
use super::{Found, Harm};
use crate::engine::sql::Script;
use crate::engine::sql::classify::catalog_name;
use crate::engine::sql::nested::{Part, begins_with_any, parts};

/// Everything that is found in bodies.
pub(super) fn check(script: &Script) -> Vec<Found> {
    let mut found = Vec::new();
    let mut made = BTreeSet::new();
    for statement in &script.statements {
        let text = script.text.get(statement.range.clone()).unwrap_or_default();
        if !begins_with_any(text, &["DO", "CREATE"]) {
            continue;
        }
        for part in parts(text) {
            made.extend(table_made(&part.words()));
            let Some((rule, message)) = lost(&part, &made) else {
                continue;
            };
            let start = statement.range.start;
            found.push(Found {
                rule,
                harm: Harm::Loses,
                range: start + part.range.start..start + part.range.end,
                message: message.to_owned(),
                help: None,
            });
        }
    }
    found
}

/// The rule that speaks of a statement, unless all its tables were made by the file.
fn lost(part: &Part, made: &BTreeSet<String>) -> Option<(&'static str, &'static str)> {
    if !part.is_nested {
        return None;
    }
    let words = part.words();
    let is_whole = !words.contains(&"WHERE");
    let every_row = "every row of a table is deleted";
    let (rule, message, tables) = match words.as_slice() {
        ["DROP", "TABLE", tables @ ..] => ("ban-drop-table", "a table is dropped", tables),
        ["TRUNCATE", "TABLE", tables @ ..] | ["TRUNCATE", tables @ ..] => {
            (TRUNCATE, every_row, tables)
        }
        ["DELETE", "FROM", tables @ ..] if is_whole => (
            DELETE,
            every_row,
            tables.get(..name_length(tables)).unwrap_or_default(),
        ),
        ["UPDATE", tables @ ..] if is_whole => (
            UPDATE,
            "every row of a table gets a new value in place of what it had",
            tables.get(..name_length(tables)).unwrap_or_default(),
        ),
        ["ALTER", "TABLE", tables @ ..] if drops_column(tables) => (
            "ban-drop-column",
            "a column is dropped",
            tables.get(..name_length(tables)).unwrap_or_default(),
        ),
        ["DROP", "SCHEMA", ..] => ("ban-drop-schema", "a schema is dropped", &[][..]),
        ["DROP", "OWNED", ..] => (OWNED, "tables that belong to a role are dropped", &[][..]),
        _ => return None,
    };
    let names = names(tables);
    let is_ours = !names.is_empty() && names.iter().all(|name| made.contains(name));
    (!is_ours).then_some((rule, message))
}

fn drops_column(words: &[&str]) -> bool {
    words.windows(2).any(|pair| pair == ["DROP", "COLUMN"])
}

/// Words that stand in front of the name of a table, or behind it.
const NO_NAMES: [&str; 5] = ["IF", "EXISTS", "ONLY", "CASCADE", "RESTRICT"];

/// How many words the name at the start takes.
fn name_length(words: &[&str]) -> usize {
    let skipped = words
        .iter()
        .take_while(|word| NO_NAMES.contains(word))
        .count();
    let dots = words
        .iter()
        .skip(skipped + 1)
        .step_by(2)
        .take_while(|word| **word == ".")
        .count();
    skipped + 1 + 2 * dots
}

/// The tables that are listed, as they are written.
fn names(words: &[&str]) -> Vec<String> {
    let all = words.split(|word| *word == ",");
    let all = all.map(|name| {
        let parts = name.iter().filter(|word| !NO_NAMES.contains(word));
        let parts: Vec<String> = parts.map(|part| catalog_name(part)).collect();
        parts.concat()
    });
    all.filter(|name| !name.is_empty()).collect()
}

/// The table that a statement makes for sure.
fn table_made(words: &[&str]) -> Option<String> {
    let ["CREATE", rest @ ..] = words else {
        return None;
    };
    let kinds = ["LOCAL", "GLOBAL", "TEMP", "TEMPORARY", "UNLOGGED"];
    let skipped = rest.iter().take_while(|word| kinds.contains(word)).count();
    let ["TABLE", name @ ..] = rest.get(skipped..)? else {
        return None;
    };
    if name.starts_with(&["IF"]) {
        return None;
    }
    names(name.get(..name_length(name))?).pop()
}

#[cfg(test)]
mod tests {
    use crate::engine::Severity;
    use crate::engine::lint::tests::alone;

    /// Rule and line of what waits for a person.
    fn errors(sql: &str) -> Vec<(&'static str, usize)> {
        let all = alone(sql).into_iter();
        let all = all.filter(|lint| lint.severity == Severity::Error);
        all.map(|lint| (lint.rule, lint.diagnostic.position.unwrap().line))
            .collect()
    }

    #[test]
    fn what_bodies_lose_waits_for_a_person() {
        for (body, expected) in [
            (
                "DROP TABLE IF EXISTS t, s.u CASCADE;",
                vec!["ban-drop-table"],
            ),
            ("IF a THEN TRUNCATE t; END IF;", vec!["truncate-table"]),
            ("DELETE FROM t;", vec!["delete-without-where"]),
            ("DELETE FROM t WHERE a = 1;", vec![]),
            ("UPDATE t SET a = 1;", vec!["update-without-where"]),
            (
                "UPDATE t SET a = CASE WHEN b THEN 1 ELSE 2 END WHERE c;",
                vec![],
            ),
            ("EXECUTE 'DROP SCHEMA s CASCADE';", vec!["ban-drop-schema"]),
            (
                "EXECUTE format('DROP TABLE %I', a);",
                vec!["ban-drop-table"],
            ),
            (
                "EXECUTE 'ALTER TABLE t DROP COLUMN a';",
                vec!["ban-drop-column"],
            ),
            ("CREATE TEMP TABLE x (); DROP TABLE x;", vec![]),
            (
                "CREATE TABLE IF NOT EXISTS x (); DROP TABLE x;",
                vec!["ban-drop-table"],
            ),
            ("RAISE NOTICE 'DROP TABLE t';", vec![]),
            ("ALTER TABLE t DROP CONSTRAINT c;", vec![]),
        ] {
            let sql = format!("SELECT 1;\nDO $$\nBEGIN\n{body}\nEND $$;");
            let expected: Vec<_> = expected.into_iter().map(|rule| (rule, 4)).collect();
            assert_eq!(errors(&sql), expected, "{body}");
        }
        let function =
            "CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $$ BEGIN DROP TABLE t; END $$;";
        assert_eq!(errors(function), []);
        let ours = "CREATE TABLE x ();\nDO $$ BEGIN DROP TABLE x; END $$;";
        assert_eq!(errors(ours), []);
    }
}
