//! Whether a file changes the ledger itself: what is recorded while it runs, and what the next run believes, would be its
//! doing. Pure.

use super::LedgerName;
use crate::engine::{
    report::Position,
    sql::{Script, position::position, words::Words},
};

/// The first place of a file that changes the ledger, and what it does to it; names without a schema may be the ledger's.
pub(crate) fn written(script: &Script, ledger: &LedgerName) -> Option<(Position, &'static str)> {
    let table = ledger.table().to_lowercase();
    script.statements.iter().find_map(|statement| {
        let text = script.text.get(statement.range.clone())?;
        // seldom is, and reading it word by word takes its time
        let lower = text.to_lowercase();
        if !lower.contains(&table) && !lower.contains("schema") {
            return None;
        }
        let (byte, what) = changes(text, ledger)?;
        Some((position(&script.text, statement.range.start + byte), what))
    })
}

/// Where in a statement the ledger is changed, and how; also in its middle, as in `WITH … AS (DELETE FROM …)`.
fn changes(text: &str, ledger: &LedgerName) -> Option<(usize, &'static str)> {
    let mut words = Words::new(text);
    (0..words.count()).find_map(|at| {
        words.go_to(at);
        let byte = words.byte();
        change(&mut words, ledger).map(|what| (byte, what))
    })
}

fn change(words: &mut Words<'_>, ledger: &LedgerName) -> Option<&'static str> {
    let verb = words.one_of(&[
        "INSERT", "UPDATE", "DELETE", "MERGE", "TRUNCATE", "COPY", "ALTER", "DROP",
    ])?;
    let (is_alter, is_drop) = (verb == "ALTER", verb == "DROP");
    if (is_alter || is_drop) && words.word("SCHEMA") {
        words.words(&["IF", "EXISTS"]);
        let is_ours = names(words, |path| *path == [ledger.schema()]);
        let changes = is_drop || words.word("RENAME");
        return (is_ours && changes).then_some(if is_drop {
            "drops the schema of"
        } else {
            "renames the schema of"
        });
    }
    let is_about_a_table = match verb {
        "INSERT" | "MERGE" => words.word("INTO"),
        "DELETE" => words.word("FROM"),
        "ALTER" | "DROP" => words.word("TABLE"),
        "TRUNCATE" => {
            words.word("TABLE");
            true
        }
        _ => true,
    };
    words.words(&["IF", "EXISTS"]);
    words.word("ONLY");
    let is_ledger = |path: &[String]| match path {
        [table] => table == ledger.table(),
        [schema, table] => schema == ledger.schema() && table == ledger.table(),
        _ => false,
    };
    if !is_about_a_table || !names(words, is_ledger) {
        return None;
    }
    words.group();
    match verb {
        "COPY" if words.word("TO") => None,
        "ALTER" => Some("alters"),
        "DROP" => Some("drops"),
        _ => Some("writes to"),
    }
}

/// Takes names with commas between them up to one that is meant; whether there was one.
fn names(words: &mut Words<'_>, is_meant: impl Fn(&[String]) -> bool) -> bool {
    while let Some(path) = words.path() {
        if is_meant(&path) {
            return true;
        }
        if !words.comma() {
            return false;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_the_ledger_is_seen_wherever_it_stands() {
        let ledger = LedgerName::default();
        for (sql, expected) in [
            (
                "INSERT INTO schema_migrations VALUES ('001')",
                Some("writes to"),
            ),
            (
                "insert into Public.\"schema_migrations\" (version) VALUES ('001')",
                Some("writes to"),
            ),
            (
                "WITH gone AS (DELETE FROM ONLY schema_migrations RETURNING *) SELECT 1",
                Some("writes to"),
            ),
            (
                "UPDATE public.schema_migrations SET checksum = NULL",
                Some("writes to"),
            ),
            ("TRUNCATE a, schema_migrations", Some("writes to")),
            (
                "COPY schema_migrations (version) FROM stdin",
                Some("writes to"),
            ),
            (
                "ALTER TABLE IF EXISTS schema_migrations RENAME TO old",
                Some("alters"),
            ),
            (
                "DROP TABLE IF EXISTS a, public.schema_migrations CASCADE",
                Some("drops"),
            ),
            ("DROP SCHEMA public CASCADE", Some("drops the schema of")),
            (
                "ALTER SCHEMA public RENAME TO old",
                Some("renames the schema of"),
            ),
            ("COPY schema_migrations TO stdout", None),
            (
                "SELECT * FROM schema_migrations FOR UPDATE OF schema_migrations",
                None,
            ),
            ("GRANT INSERT, UPDATE ON schema_migrations TO app", None),
            (
                "CREATE TABLE IF NOT EXISTS schema_migrations (version text)",
                None,
            ),
            ("INSERT INTO other.schema_migrations VALUES ('001')", None),
            (
                "INSERT INTO notes VALUES ('DROP TABLE schema_migrations')",
                None,
            ),
            ("DROP SCHEMA other CASCADE", None),
            ("ALTER SCHEMA public OWNER TO app", None),
        ] {
            assert_eq!(
                changes(sql, &ledger).map(|(_, what)| what),
                expected,
                "{sql}"
            );
        }
    }
}
