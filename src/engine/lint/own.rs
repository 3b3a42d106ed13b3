//! Rules that depend on how the engine runs a file. Pure.

use std::collections::BTreeMap;
use std::ops::Range;

use super::{Found, Harm};
use crate::engine::sql::Script;
use crate::engine::sql::alone::Kind;
use crate::engine::sql::classify::Class;
use crate::engine::sql::lasting::{self, Lasting};
use crate::engine::sql::lex::Token;
use crate::engine::sql::secrets;
use crate::engine::sql::segment::{Segment, Shape, Statement, Transaction};

const UNNAMED_INDEX: &str = "unnamed-concurrent-index";
const IDLE_SET_LOCAL: &str = "set-local-without-effect";
const PLAIN_PASSWORD: &str = "password-in-file";
const WHOLE_TABLE: &str = "whole-table-change-with-ddl";
const SESSION_LOST: &str = "session-lost-if-interrupted";
const EMPTY: &str = "empty-file";

/// What to do about the password of a role, and about one that another server takes.
const OWN: &str =
    "list the role in the NeonDatabase's spec.roles, which publishes its login in a Secret";
const FOREIGN: &str = "leave it out, and have somebody set it by hand who may know it: ALTER USER MAPPING, or ALTER SUBSCRIPTION … CONNECTION";

pub(super) const NAMES: [&str; 6] = [
    UNNAMED_INDEX,
    IDLE_SET_LOCAL,
    PLAIN_PASSWORD,
    WHOLE_TABLE,
    SESSION_LOST,
    EMPTY,
];

/// Everything that our own rules find.
pub(super) fn check(script: &Script, tokens: &[Token]) -> Vec<Found> {
    let mut found = unnamed_indexes(script);
    found.extend(idle_set_locals(script, tokens));
    found.extend(plain_passwords(script, tokens));
    found.extend(whole_tables(script, tokens));
    found.extend(lost_sessions(script));
    found.extend(is_empty(script));
    found
}

/// What a part of a file makes that only its session has, where other parts follow: an interruption between them leaves
/// nobody who could go on.
fn lost_sessions(script: &Script) -> Vec<Found> {
    let Shape::Segments(segments) = &script.shape else {
        return Vec::new();
    };
    let mut left: Vec<Lasting> = Vec::new();
    let mut risked: BTreeMap<usize, String> = BTreeMap::new();
    for segment in segments {
        let inside = script.of_segment(segment);
        let mut statements = script
            .statements
            .get(inside.clone())
            .unwrap_or_default()
            .iter();
        if statements.any(Statement::works) {
            let at_risk = left
                .iter()
                .map(|lasting| (lasting.statement, lasting.what()));
            risked.extend(at_risk);
        }
        inside.for_each(|index| lasting::follow(&mut left, script, index));
    }
    let told = risked.into_iter().filter_map(|(index, what)| {
        let statement = script.statements.get(index)?;
        Some(Found {
            rule: SESSION_LOST,
            harm: Harm::Regretted,
            range: statement.range.clone(),
            message: format!(
                "{what} lasts as long as the session, and the file is committed in parts: where a run is interrupted between them, no \
                 other one can go on"
            ),
            help: Some(
                "put what needs it into one transaction with it, or use what is not the session's alone, such as a table that is dropped at the end"
                    .to_owned(),
            ),
        })
    });
    told.collect()
}

/// A file that does nothing is recorded as applied, and what is written into it later never runs.
fn is_empty(script: &Script) -> Option<Found> {
    let does = |s: &Statement| s.class != Class::Empty;
    let is_empty = !script.statements.iter().any(does);
    is_empty.then(|| Found {
        rule: EMPTY,
        harm: Harm::Regretted,
        range: 0..script.text.chars().next().map_or(0, char::len_utf8),
        message: "the file has no statement: it is recorded as applied, and what is written into it later never runs".to_owned(),
        help: Some("write it first, or leave it out".to_owned()),
    })
}

/// An index that is built without a name: an interrupted build leaves it invalid under a name that nobody has chosen.
fn unnamed_indexes(script: &Script) -> Vec<Found> {
    let is_unnamed = |statement: &&Statement| {
        let alone = statement.alone();
        alone.is_some_and(|alone| matches!(alone.kind, Kind::BuildIndex { index: None, .. }))
    };
    let unnamed = script.statements.iter().filter(is_unnamed);
    let told = unnamed.map(|statement| Found {
        rule: UNNAMED_INDEX,
        harm: Harm::Fails,
        range: statement.range.clone(),
        message: "an index that is built concurrently has no name".to_owned(),
        help: Some(
            "name it: what an interrupted build leaves behind can then be told from others"
                .to_owned(),
        ),
    });
    told.collect()
}

/// A SET LOCAL behind which nothing follows in its transaction, because what follows runs alone.
fn idle_set_locals(script: &Script, tokens: &[Token]) -> Vec<Found> {
    let Shape::Segments(segments) = &script.shape else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for segment in segments {
        let Segment::Transaction(transaction) = segment else {
            continue;
        };
        let inside = inside(script, transaction);
        let idle = inside
            .iter()
            .rev()
            .take_while(|s| begins_with(script, tokens, &s.range, &["SET", "LOCAL"]));
        found.extend(idle.map(|statement| Found {
            rule: IDLE_SET_LOCAL,
            harm: Harm::Fails,
            range: statement.range.clone(),
            message: "SET LOCAL has no effect here: its transaction ends before the next statement, which runs alone"
                .to_owned(),
            help: Some("use SET, and RESET behind that statement".to_owned()),
        }));
    }
    found
}

fn inside<'a>(script: &'a Script, transaction: &Transaction) -> Vec<&'a Statement> {
    let is_inside = |s: &&Statement| {
        transaction.bytes.contains(&s.range.start) && !matches!(s.class, Class::Empty)
    };
    script.statements.iter().filter(is_inside).collect()
}

/// A password that everybody can read who can read the file.
fn plain_passwords(script: &Script, tokens: &[Token]) -> Vec<Found> {
    let all = secrets::passwords(&script.text, tokens).into_iter();
    all.map(|password| Found {
        rule: PLAIN_PASSWORD,
        harm: Harm::Fails,
        range: password.range,
        message: "a password stands in the file, for everybody who can read it".to_owned(),
        help: Some(if password.is_foreign { FOREIGN } else { OWN }.to_owned()),
    })
    .collect()
}

/// A change of every row of a table, beside changes of tables: what they lock stays locked as long as that takes.
fn whole_tables(script: &Script, tokens: &[Token]) -> Vec<Found> {
    let alters = |s: &Statement| begins_with(script, tokens, &s.range, &["ALTER", "TABLE"]);
    if !script.statements.iter().any(alters) {
        return Vec::new();
    }
    let is_whole = |s: &&Statement| {
        let starts = |words: &[&str]| begins_with(script, tokens, &s.range, words);
        let has_where = of(tokens, &s.range).any(|token| token.is_word(&script.text, "where"));
        (starts(&["UPDATE"]) || starts(&["DELETE", "FROM"])) && !has_where
    };
    let whole = script.statements.iter().filter(is_whole);
    let told = whole.map(|statement| Found {
        rule: WHOLE_TABLE,
        harm: Harm::Holds,
        range: statement.range.clone(),
        message: "every row of a table is changed in a file that also alters tables: what is altered stays locked until the end"
            .to_owned(),
        help: Some("put it into a file of its own, behind this one".to_owned()),
    });
    told.collect()
}

/// The significant tokens of a statement. Asked for each statement of a file, so all the others are not walked through.
fn of<'a>(tokens: &'a [Token], range: &Range<usize>) -> impl Iterator<Item = &'a Token> {
    let first = tokens.partition_point(|token| token.range.start < range.start);
    let end = tokens.partition_point(|token| token.range.start < range.end);
    let inside = tokens.get(first..end).unwrap_or_default().iter();
    inside.filter(|token| token.is_significant())
}

fn begins_with(script: &Script, tokens: &[Token], range: &Range<usize>, words: &[&str]) -> bool {
    let mut tokens = of(tokens, range);
    words.iter().all(|word| {
        tokens
            .next()
            .is_some_and(|token| token.is_word(&script.text, word))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Severity;
    use crate::engine::lint::tests::alone;

    fn rules(sql: &str) -> Vec<&'static str> {
        let all = alone(sql).into_iter().map(|lint| lint.rule);
        all.filter(|rule| NAMES.contains(rule)).collect()
    }

    #[test]
    fn passwords_are_found_in_bodies_and_connections_and_not_shown() {
        let missed: Vec<&str> = [
            "DO $$ BEGIN EXECUTE 'ALTER ROLE a PASSWORD ''s3cret'''; END $$;",
            "DO $d$\nBEGIN\n  CREATE ROLE a LOGIN PASSWORD 's3cret';\nEND $d$;",
            "CREATE SUBSCRIPTION s CONNECTION 'host=h password=s3cret' PUBLICATION p;",
            "CREATE USER MAPPING FOR a SERVER b OPTIONS (user 'c', password 's3cret');",
            "SELECT dblink_exec('password=s3cret', 'SELECT 1');",
            "COMMENT ON DATABASE d IS 'postgresql://a:s3cret@h/d';",
        ]
        .into_iter()
        .filter(|sql| {
            let all = alone(sql);
            let told = all.iter().filter(|lint| lint.rule == PLAIN_PASSWORD);
            let told: Vec<Severity> = told.map(|lint| lint.severity).collect();
            let is_shown = all.iter().any(|lint| lint.render().contains("s3cret"));
            is_shown || told != [Severity::Error]
        })
        .collect();
        assert_eq!(missed, Vec::<&str>::new());
        let nothing = "CREATE SERVER s FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host 'h');";
        assert_eq!(rules(nothing), Vec::<&str>::new());
    }

    #[test]
    fn each_rule_finds_its_danger_and_nothing_else() {
        for (sql, expected) in [
            ("CREATE INDEX CONCURRENTLY ON t (a);", vec![UNNAMED_INDEX]),
            ("CREATE INDEX CONCURRENTLY i ON t (a);", vec![]),
            (
                "SET LOCAL statement_timeout = 0;\nCREATE INDEX CONCURRENTLY i ON t (a);",
                vec![IDLE_SET_LOCAL],
            ),
            (
                "SET LOCAL statement_timeout = 0;\nSELECT 1;\nCREATE INDEX CONCURRENTLY i ON t (a);",
                vec![],
            ),
            ("SET LOCAL statement_timeout = 0;\nSELECT 1;", vec![]),
            ("CREATE ROLE a LOGIN PASSWORD 'x';", vec![PLAIN_PASSWORD]),
            ("ALTER ROLE a PASSWORD NULL;", vec![]),
            ("INSERT INTO password VALUES ('x');", vec![]),
            (
                "ALTER TABLE t ADD COLUMN b text;\nUPDATE t SET b = a;",
                vec![WHOLE_TABLE],
            ),
            (
                "ALTER TABLE t ADD COLUMN b text;\nUPDATE t SET b = a WHERE id < 100;",
                vec![],
            ),
            ("DELETE FROM t;", vec![]),
            (
                "CREATE TEMP TABLE t AS SELECT 1;\nCREATE INDEX CONCURRENTLY i ON u (a);",
                vec![SESSION_LOST],
            ),
            (
                "BEGIN; PREPARE q AS SELECT 1; COMMIT; BEGIN; EXECUTE q; COMMIT;",
                vec![SESSION_LOST],
            ),
            (
                "CREATE TEMP TABLE t AS SELECT 1; DROP TABLE t;\nCREATE INDEX CONCURRENTLY i ON u (a);",
                vec![],
            ),
            (
                "CREATE INDEX CONCURRENTLY i ON u (a);\nCREATE TEMP TABLE t AS SELECT 1;",
                vec![],
            ),
            (
                "SET search_path = a;\nCREATE INDEX CONCURRENTLY i ON u (a);",
                vec![],
            ),
            ("CREATE TEMP TABLE t AS SELECT 1; DELETE FROM t;", vec![]),
            ("-- to be written\n;", vec![EMPTY]),
            ("", vec![EMPTY]),
        ] {
            assert_eq!(rules(sql), expected, "{sql}");
        }
    }
}
