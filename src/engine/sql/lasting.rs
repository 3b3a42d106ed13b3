//! What the statements of a file leave in its session: it ends with the session, and cannot be made again in another one. Pure.
//!
//! | made by | until |
//! |---|---|
//! | `CREATE TEMP …`, `SELECT … INTO TEMP`, `CREATE … pg_temp.x`; not with `ON COMMIT DROP` | `DROP`, `DISCARD TEMP` |
//! | `PREPARE` | `DEALLOCATE` |
//! | `DECLARE … WITH HOLD` | `CLOSE` |
//! | `pg_advisory_lock()` and its kin, not those of a transaction | `pg_advisory_unlock()` of the same, `pg_advisory_unlock_all()` |
//! | `set_config(…, false)` beside others, `SET` in a body | – |
//!
//! A `SET` of the file itself is not among them, since it can be made again (see [`replayed`]); neither is `LISTEN`, which the
//! runner takes back at the end of each transaction. What functions do that are called is not seen here: what the server knows
//! of a session is asked for as well, see [`kept_sql`].

use super::{
    super::ledger::literal,
    Script,
    classify::{Class, catalog_name},
    nested::{Part, parts, value},
    occurs,
    segment::Statement,
};

/// What is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Temporary,
    Prepared,
    Cursor,
    Lock,
    Setting,
}

/// Something that a session has and others have not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lasting {
    kind: Kind,
    /// As the catalog would have it; of a lock, what is locked as it is written.
    name: String,
    /// The statement that has made it, by index.
    pub(crate) statement: usize,
}

impl Lasting {
    /// What it is, for messages.
    pub(crate) fn what(&self) -> String {
        let name = &self.name;
        match self.kind {
            Kind::Temporary => format!("the temporary {name}"),
            Kind::Prepared => format!("the prepared statement {name}"),
            Kind::Cursor => format!("the cursor {name}"),
            Kind::Lock => format!("the advisory lock ({name})"),
            Kind::Setting => format!("the setting {name}"),
        }
    }
}

/// What these statements leave, one after another.
pub(crate) fn left(script: &Script, statements: impl Iterator<Item = usize>) -> Vec<Lasting> {
    let mut left = Vec::new();
    for index in statements {
        follow(&mut left, script, index);
    }
    left
}

/// Follows one more statement.
pub(crate) fn follow(left: &mut Vec<Lasting>, script: &Script, index: usize) {
    let Some(statement) = script.statements.get(index) else {
        return;
    };
    if matches!(
        statement.class,
        Class::Empty | Class::Session | Class::SetConfig
    ) {
        return;
    }
    let text = script.text.get(statement.range.clone());
    for part in parts(text.unwrap_or_default()) {
        take_in(left, &part, index);
    }
}

/// An expression: what the session has of temporary objects, prepared statements and cursors, listed as above; null for
/// nothing. Tables named `passing` end with their transaction.
pub(crate) fn kept_sql(passing: &[String]) -> String {
    let passing: Vec<String> = passing.iter().map(|name| literal(name)).collect();
    let but = if passing.is_empty() {
        String::new()
    } else {
        format!(" AND c.relname NOT IN ({})", passing.join(", "))
    };
    format!(
        "(SELECT pg_catalog.string_agg(k.what, ', ') FROM ( \
           SELECT 'the temporary ' || c.relname AS what FROM pg_catalog.pg_class c \
             WHERE c.relnamespace = pg_catalog.pg_my_temp_schema() AND c.relkind IN ('r', 'p', 'v'){but} \
           UNION ALL SELECT 'the prepared statement ' || p.name FROM pg_catalog.pg_prepared_statements p WHERE p.from_sql \
           UNION ALL SELECT 'the cursor ' || c.name FROM pg_catalog.pg_cursors c WHERE c.is_holdable LIMIT 20) k)"
    )
}

/// The temporary tables that these statements make for their transaction only.
pub(crate) fn passing(script: &Script, statements: impl Iterator<Item = usize>) -> Vec<String> {
    let statements = statements.filter_map(|index| script.statements.get(index));
    let texts = statements.filter_map(|s| script.text.get(s.range.clone()));
    let names = texts.flat_map(parts).filter_map(|part| {
        let words = part.words();
        ends_at_commit(&words).then(|| temporary(&words)).flatten()
    });
    names.collect()
}

/// The names of what these statements prepare: a rollback does not take it back.
pub(crate) fn prepared(script: &Script, statements: impl Iterator<Item = usize>) -> Vec<String> {
    let left = left(script, statements).into_iter();
    left.filter(|lasting| lasting.kind == Kind::Prepared)
        .map(|lasting| lasting.name)
        .collect()
}

/// The settings in front of `byte` that make a new session like the one that is gone, by index. Those of one transaction
/// ended with it; and of several roles the last one counts, since the others may be gone. None where nothing is left to be
/// run in that session.
pub(crate) fn replayed(script: &Script, byte: usize) -> Vec<usize> {
    let is_left = |s: &Statement| s.range.start >= byte && s.works();
    if !script.statements.iter().any(is_left) {
        return Vec::new();
    }
    let made = script.statements.iter().enumerate();
    let made = made.take_while(|(_, statement)| statement.range.end <= byte);
    let made = made.filter(|(_, s)| matches!(s.class, Class::Session | Class::SetConfig));
    let words = |index: usize| {
        let range = script.statements.get(index).map(|s| s.range.clone());
        let text = script.text.get(range.unwrap_or_default());
        parts(text.unwrap_or_default()).into_iter().next()
    };
    let made = made.filter_map(|(index, _)| Some((index, words(index)?)));
    let made: Vec<(usize, Part)> = made.filter(|(_, part)| !is_local(part)).collect();
    let last_role = made.iter().rposition(|(_, part)| is_role(part));
    let counts = |at: usize, part: &Part| !is_role(part) || Some(at) == last_role;
    let made = made.iter().enumerate();
    made.filter(|(at, (_, part))| counts(*at, part))
        .map(|(_, (index, _))| *index)
        .collect()
}

/// `SET LOCAL …`
fn is_local(part: &Part) -> bool {
    matches!(part.words().as_slice(), ["SET", "LOCAL", ..])
}

/// `SET [SESSION] ROLE …`, `RESET ROLE`
fn is_role(part: &Part) -> bool {
    matches!(
        part.words().as_slice(),
        ["SET", "ROLE", ..] | ["SET", "SESSION", "ROLE", ..] | ["RESET", "ROLE"]
    )
}

fn take_in(left: &mut Vec<Lasting>, part: &Part, statement: usize) {
    let words = part.words();
    match words.as_slice() {
        ["PREPARE", "TRANSACTION", ..] | ["SET", "LOCAL" | "CONSTRAINTS" | "TRANSACTION", ..] => {}
        ["PREPARE", name, ..] => make(left, Kind::Prepared, catalog_name(name), statement),
        ["DEALLOCATE", "PREPARE", name] | ["DEALLOCATE", name] => {
            drop_named(left, Kind::Prepared, name);
        }
        ["DECLARE", name, rest @ ..] if occurs(rest, &["WITH", "HOLD"]) => {
            make(left, Kind::Cursor, catalog_name(name), statement);
        }
        ["CLOSE", name] => drop_named(left, Kind::Cursor, name),
        ["DISCARD", "TEMP" | "TEMPORARY"] => left.retain(|l| l.kind != Kind::Temporary),
        ["DROP", _, names @ ..] => {
            let names = names.split(|word| *word == ",");
            let names = names.filter_map(|name| last_part(skip(name, &["IF", "EXISTS"])));
            for gone in names {
                left.retain(|l| l.kind != Kind::Temporary || l.name != gone);
            }
        }
        ["SET", "SESSION", name, ..] | ["SET", name, ..] if part.is_nested => {
            make(left, Kind::Setting, catalog_name(name), statement);
        }
        _ if ends_at_commit(&words) => {}
        _ => {
            if let Some(name) = temporary(&words) {
                make(left, Kind::Temporary, name, statement);
            }
        }
    }
    calls(left, &words, statement);
}

fn make(left: &mut Vec<Lasting>, kind: Kind, name: String, statement: usize) {
    left.push(Lasting {
        kind,
        name,
        statement,
    });
}

fn drop_named(left: &mut Vec<Lasting>, kind: Kind, name: &str) {
    let gone = catalog_name(name);
    left.retain(|l| l.kind != kind || (name != "ALL" && l.name != gone));
}

fn ends_at_commit(words: &[&str]) -> bool {
    occurs(words, &["ON", "COMMIT", "DROP"])
}

/// The name of a temporary object.
fn temporary(words: &[&str]) -> Option<String> {
    let is_temporary = |word: &&str| matches!(*word, "TEMP" | "TEMPORARY");
    let behind = |at: usize| words.get(at + 1..).unwrap_or_default();
    match words {
        ["CREATE", ..] => {
            let schema = words.windows(2).position(|pair| pair == ["PG_TEMP", "."]);
            let key_word = words.iter().take(5).position(is_temporary);
            let at = key_word.or(schema)?;
            last_part(skip(behind(at), &KINDS))
        }
        ["SELECT" | "WITH" | "TABLE", ..] => {
            let into = words
                .windows(2)
                .position(|pair| pair == ["INTO", "TEMP"] || pair == ["INTO", "TEMPORARY"])?;
            last_part(skip(behind(into + 1), &KINDS))
        }
        _ => None,
    }
}

/// What stands between TEMP and a name.
const KINDS: [&str; 8] = [
    "TABLE",
    "VIEW",
    "RECURSIVE",
    "SEQUENCE",
    "IF",
    "NOT",
    "EXISTS",
    ".",
];

fn skip<'a, 'b>(words: &'b [&'a str], skipped: &[&str]) -> &'b [&'a str] {
    let first = words.iter().position(|word| !skipped.contains(word));
    words
        .get(first.unwrap_or(words.len())..)
        .unwrap_or_default()
}

/// The last part of the possibly qualified name at the start of `words`.
fn last_part(words: &[&str]) -> Option<String> {
    let mut rest = words;
    loop {
        match rest {
            [_, ".", more @ ..] => rest = more,
            [name, ..] => return Some(catalog_name(name)),
            [] => return None,
        }
    }
}

/// Locks and settings, which are made by functions.
fn calls(left: &mut Vec<Lasting>, words: &[&str], statement: usize) {
    for (at, word) in words.iter().enumerate() {
        let behind = words.get(at + 1..).unwrap_or_default();
        let Some(arguments) = behind.strip_prefix(&["("]).map(arguments) else {
            continue;
        };
        match *word {
            "PG_ADVISORY_LOCK"
            | "PG_ADVISORY_LOCK_SHARED"
            | "PG_TRY_ADVISORY_LOCK"
            | "PG_TRY_ADVISORY_LOCK_SHARED" => {
                make(left, Kind::Lock, arguments.concat(), statement);
            }
            "PG_ADVISORY_UNLOCK" | "PG_ADVISORY_UNLOCK_SHARED" => {
                let gone = arguments.concat();
                left.retain(|l| l.kind != Kind::Lock || l.name != gone);
            }
            "PG_ADVISORY_UNLOCK_ALL" => left.retain(|l| l.kind != Kind::Lock),
            "SET_CONFIG" if arguments.last() != Some(&"TRUE") => {
                let name = arguments.first().and_then(|name| value(name));
                let name = name.unwrap_or_else(|| "that set_config() makes".to_owned());
                make(left, Kind::Setting, name, statement);
            }
            _ => {}
        }
    }
}

/// What stands in front of the parenthesis that closes.
fn arguments<'a, 'b>(words: &'b [&'a str]) -> &'b [&'a str] {
    let mut depth = 0_usize;
    let end = words.iter().position(|word| match *word {
        "(" => {
            depth += 1;
            false
        }
        ")" if depth == 0 => true,
        ")" => {
            depth -= 1;
            false
        }
        _ => false,
    });
    words.get(..end.unwrap_or(words.len())).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::bundle::script_of;

    #[test]
    fn what_ends_with_the_session_is_known() {
        for (text, expected) in [
            ("CREATE TEMP TABLE t ();", vec!["the temporary t"]),
            (
                "CREATE LOCAL TEMPORARY TABLE IF NOT EXISTS \"T\" AS SELECT 1;",
                vec!["the temporary T"],
            ),
            ("CREATE TEMP TABLE t () ON COMMIT DROP;", vec![]),
            (
                "CREATE OR REPLACE TEMP VIEW v AS SELECT 1;",
                vec!["the temporary v"],
            ),
            ("CREATE TABLE pg_temp.t ();", vec!["the temporary t"]),
            ("SELECT 1 AS a INTO TEMP TABLE t;", vec!["the temporary t"]),
            (
                "CREATE TEMP TABLE t (); DROP TABLE IF EXISTS pg_temp.t, u;",
                vec![],
            ),
            ("CREATE TEMP TABLE t (); DISCARD TEMP;", vec![]),
            ("CREATE TABLE t ();", vec![]),
            ("PREPARE q AS SELECT 1;", vec!["the prepared statement q"]),
            ("PREPARE q AS SELECT 1; DEALLOCATE q;", vec![]),
            ("PREPARE q AS SELECT 1; DEALLOCATE PREPARE ALL;", vec![]),
            (
                "BEGIN; DECLARE c CURSOR WITH HOLD FOR SELECT 1; COMMIT;",
                vec!["the cursor c"],
            ),
            ("BEGIN; DECLARE c CURSOR FOR SELECT 1; COMMIT;", vec![]),
            (
                "SELECT pg_advisory_lock(1, hashtext('a'));",
                vec!["the advisory lock (1,HASHTEXT('a'))"],
            ),
            (
                "SELECT pg_advisory_lock(1); SELECT pg_advisory_unlock(1);",
                vec![],
            ),
            ("SELECT pg_advisory_xact_lock(1);", vec![]),
            (
                "SELECT set_config('a.b', x::text, false) FROM (SELECT 1) s (x);",
                vec!["the setting a.b"],
            ),
            ("SELECT set_config('a.b', 'c', true) FROM t;", vec![]),
            ("SELECT set_config('a.b', 'c', false);", vec![]),
            ("SET a.b = 'c';", vec![]),
            ("LISTEN a;", vec![]),
            (
                "DO $$ BEGIN EXECUTE 'CREATE TEMP TABLE t ()'; SET a.b = 1; SET LOCAL a.c = 1; END $$;",
                vec!["the temporary t", "the setting a"],
            ),
            ("UPDATE t SET a = 1;", vec![]),
        ] {
            let script = script_of(text);
            let left = left(&script, 0..script.statements.len());
            let left: Vec<String> = left.iter().map(Lasting::what).collect();
            assert_eq!(left, expected, "{text}");
        }
    }

    #[test]
    fn of_several_roles_only_the_last_one_is_taken_again() {
        let text = "SET ROLE a; SET search_path = x; SET LOCAL b.c = 1; SELECT 1; RESET ROLE; SELECT set_config('d.e', 'f', false); SELECT 2;";
        let script = script_of(text);
        let again = replayed(&script, text.find("SELECT 2").unwrap());
        assert_eq!(again, [1, 4, 5]);
        assert_eq!(replayed(&script, text.find("SELECT 1").unwrap()), [0, 1]);
        assert!(replayed(&script, text.len()).is_empty());
    }
}
