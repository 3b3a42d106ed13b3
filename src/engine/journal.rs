//! The journal: how far a file has come that does not fit into one transaction. Pure: SQL texts
//! and the meaning of what they answer; [`super::run`] sends them.
//!
//! It is a table of the engine's own, because every row of the ledger means "applied". A segment
//! that is a transaction is noted in that transaction. A statement that runs alone is noted
//! before (an intent, with what was there at the time) and after it. The notes of a file go in
//! the transaction that writes its row, so the table is empty but for files that are unfinished.
//!
//! It also keeps that a session was ended while a file ran: a file that does so itself does it again.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{
    ledger::{LedgerName, literal},
    own_tables::{self, SCHEMA},
};

pub(super) const TABLE: &str = "sepulki_engine.journal";

/// What is noted of one segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Note {
    /// Index of the segment in its file.
    pub(crate) segment: usize,
    /// Fingerprint of its text, see [`super::sql::fingerprint`].
    pub(crate) fingerprint: String,
    /// Of one that is done: what its session had then that ends with it, see [`super::sql::lasting`].
    pub(crate) kept: Option<String>,
    /// None: it is done. Otherwise it was begun, and this was there before.
    pub(crate) intent: Option<Trace>,
}

/// What was there before a statement that runs alone: what is there afterwards besides is its
/// doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Trace {
    /// Indexes of a table (quoted for SQL), by oid.
    Index {
        table: String,
        /// Its oid, which notes of an earlier version lack.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        oid: Option<i64>,
        name: Option<String>,
        known: Vec<i64>,
    },
    /// Remains of rebuilt indexes, by oid.
    Remains { known: Vec<i64> },
    /// Whether the object was there.
    Object {
        existed: bool,
        /// Which one it was, since by the next run another one may have its name. Notes of an earlier version lack it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        which: Option<Which>,
    },
    /// The statement may be run again.
    Repeatable,
    /// Nobody can tell what the statement did.
    Unknowable,
}

/// What a statement was about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Which {
    /// Of an index, a database or a tablespace; or of a table and of its partition.
    pub(crate) oids: Vec<i64>,
    /// Qualified and quoted for SQL, one for each.
    pub(crate) names: Vec<String>,
}

/// That a session of a run was ended while a file ran, see [`super::run`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ended {
    /// The file name.
    pub(crate) version: String,
    /// The checksum that the file had.
    pub(crate) sha256: String,
    /// Index of the statement whose session it was; none for the session that looks after the run.
    pub(crate) statement: Option<usize>,
}

/// What stands in place of a segment in a row of [`Ended`], which is about none.
pub(super) const ENDED: &str = "-1";

/// Which file of which ledger.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subject<'a> {
    pub(crate) ledger: &'a LedgerName,
    pub(crate) version: &'a str,
}

impl Subject<'_> {
    fn condition(&self) -> String {
        format!(
            "ledger = {} AND version = {}",
            literal(&self.ledger.quoted()),
            literal(self.version)
        )
    }

    /// Notes that a segment is done. `version` and `kept` are expressions: the first one is null
    /// where the transaction is not the one that it should be, which the table refuses (23502). What
    /// the session keeps stands behind the fingerprint: a version that does not know of it finds that
    /// the file is another one, and does not go on.
    pub(crate) fn done(
        &self,
        version: &str,
        segment: usize,
        fingerprint: &str,
        kept: &str,
    ) -> String {
        let fingerprint = format!("{} || coalesce(' ' || {kept}, '')", literal(fingerprint));
        self.note(version, segment, &fingerprint, "NULL")
    }

    /// Notes that a segment is begun.
    pub(crate) fn intent(&self, segment: usize, fingerprint: &str, trace: &Trace) -> String {
        // plain data without maps: it has a JSON form
        let trace = serde_json::to_string(trace).unwrap_or_default();
        let version = literal(self.version);
        self.note(&version, segment, &literal(fingerprint), &literal(&trace))
    }

    /// Notes that a session was ended while the file ran.
    pub(crate) fn ended(&self, sha256: &str, statement: Option<usize>) -> String {
        let statement = statement.map_or("NULL".to_owned(), |index| literal(&index.to_string()));
        self.note(&literal(self.version), ENDED, &literal(sha256), &statement)
    }

    /// Forgets that.
    pub(crate) fn forget_ended(&self) -> String {
        format!(
            "DELETE FROM {TABLE} WHERE {} AND segment = {ENDED}",
            self.condition()
        )
    }

    fn note(
        &self,
        version: &str,
        segment: impl fmt::Display,
        fingerprint: &str,
        trace: &str,
    ) -> String {
        format!(
            "INSERT INTO {TABLE} AS j (ledger, version, segment, fingerprint, intent) \
             VALUES ({}, {version}, {segment}, {}, {trace}) \
             ON CONFLICT (ledger, version, segment) DO UPDATE SET fingerprint = excluded.fingerprint, \
               intent = excluded.intent, attempts = j.attempts + 1, noted_at = pg_catalog.now()",
            literal(&self.ledger.quoted()),
            fingerprint,
        )
    }

    /// Takes the note of a segment back: nothing of it is there.
    pub(crate) fn undone(&self, segment: usize) -> String {
        format!(
            "DELETE FROM {TABLE} WHERE {} AND segment = {segment}",
            self.condition()
        )
    }

    /// Takes what was noted of the file under the name that it had before for its own, except where something is noted
    /// under its own already.
    pub(crate) fn take_over(&self, name: &str) -> String {
        let before = Subject {
            version: name,
            ..*self
        };
        format!(
            "UPDATE {TABLE} AS j SET version = {} WHERE {} AND NOT EXISTS \
               (SELECT FROM {TABLE} o WHERE o.ledger = j.ledger AND o.version = {0} AND o.segment = j.segment); {}",
            literal(self.version),
            before.condition(),
            before.finished()
        )
    }

    /// Takes all notes of the file back.
    pub(crate) fn finished(&self) -> String {
        format!("DELETE FROM {TABLE} WHERE {}", self.condition())
    }

    /// Answers the notes, in order: segment, fingerprint, intent.
    pub(crate) fn notes(&self) -> String {
        format!(
            "SELECT segment::text, fingerprint, intent FROM {TABLE} WHERE {} AND segment >= 0 ORDER BY segment",
            self.condition()
        )
    }
}

/// Reads one answer of [`Subject::notes`].
pub(crate) fn note(
    segment: &str,
    fingerprint: String,
    intent: Option<&str>,
) -> Result<Note, String> {
    let unreadable = |what: &str| format!("{TABLE} holds {what} that this version cannot read");
    let (fingerprint, kept) = match fingerprint.split_once(' ') {
        Some((fingerprint, kept)) => (fingerprint.to_owned(), Some(kept.to_owned())),
        None => (fingerprint, None),
    };
    Ok(Note {
        segment: segment.parse().map_err(|_| unreadable("a segment"))?,
        fingerprint,
        kept,
        intent: intent
            .map(|text| serde_json::from_str(text).map_err(|_| unreadable("an intent")))
            .transpose()?,
    })
}

/// Reads one answer of [`all_sql`] about a session that was ended.
pub(super) fn ended(version: String, sha256: String, statement: Option<&str>) -> Ended {
    Ended {
        version,
        sha256,
        statement: statement.and_then(|index| index.parse().ok()),
    }
}

/// Answers all notes of all ledgers: version, fingerprint, segment, intent, and `kind`.
pub(super) fn all_sql(kind: &str) -> String {
    format!("SELECT version, fingerprint, segment::text, intent, '{kind}' FROM {TABLE}")
}

/// Its name in [`SCHEMA`].
pub(super) const NAME: &str = "journal";
/// What a run needs on it.
pub(super) const RIGHTS: &str = "SELECT, INSERT, UPDATE, DELETE";

/// Holds where there is a journal.
pub(super) fn there_sql() -> String {
    own_tables::exists_sql(NAME)
}

/// Takes all notes of one ledger back; for people.
pub(super) fn forget_sql(ledger: &LedgerName) -> String {
    own_tables::forget_sql(TABLE, ledger)
}

/// Answers whether the journal exists.
pub(crate) fn exists_sql() -> String {
    format!("SELECT {}", there_sql())
}

/// Takes all notes back, those of other ledgers too: none of what they speak of is there any more.
pub(crate) fn clear_sql() -> String {
    format!("DELETE FROM {TABLE}")
}

/// Creates schema and table where they are missing; only while the lock of some ledger of the
/// database is held, so two runs of different ledgers can meet here: the second one fails and is
/// repeated.
pub(crate) fn create_sql() -> String {
    format!(
        "BEGIN; CREATE SCHEMA IF NOT EXISTS {SCHEMA}; \
         CREATE TABLE IF NOT EXISTS {TABLE} (ledger text NOT NULL, version text NOT NULL, \
           segment integer NOT NULL, fingerprint text NOT NULL, intent text, \
           attempts integer NOT NULL DEFAULT 1, noted_at timestamptz NOT NULL DEFAULT pg_catalog.now(), \
           PRIMARY KEY (ledger, version, segment)); COMMIT"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intents_are_read_back_as_they_were_noted() {
        let ledger = LedgerName::default();
        let subject = Subject {
            ledger: &ledger,
            version: "it's.sql",
        };
        for trace in [
            Trace::Index {
                table: "\"t\"".into(),
                oid: Some(7),
                name: Some("I'\\x".into()),
                known: vec![1, 4_294_967_295],
            },
            Trace::Remains { known: Vec::new() },
            Trace::Object {
                existed: true,
                which: Some(Which {
                    oids: vec![1, 2],
                    names: vec!["a".into(), "b".into()],
                }),
            },
            Trace::Repeatable,
            Trace::Unknowable,
        ] {
            let text = serde_json::to_string(&trace).unwrap();
            let read = note("3", "f".into(), Some(&text)).unwrap();
            assert_eq!(read.intent, Some(trace.clone()));
            let sql = subject.intent(3, "f", &trace);
            assert!(sql.contains(&literal(&text)), "{sql}");
            assert!(sql.contains("E'it''s.sql'"), "{sql}");
        }
        assert!(note("3", "f".into(), Some("{\"newer\": {}}")).is_err());
        let done = note("3", "f the temporary a b".into(), None).unwrap();
        assert_eq!(
            (done.fingerprint.as_str(), done.kept.as_deref()),
            ("f", Some("the temporary a b"))
        );
        // as earlier versions wrote them
        for (text, expected) in [
            (
                r#"{"object":{"existed":true}}"#,
                Trace::Object {
                    existed: true,
                    which: None,
                },
            ),
            (
                r#"{"index":{"table":"t","name":"i","known":[1]}}"#,
                Trace::Index {
                    table: "t".into(),
                    oid: None,
                    name: Some("i".into()),
                    known: vec![1],
                },
            ),
        ] {
            let read = note("3", "f".into(), Some(text)).unwrap();
            assert_eq!(read.intent, Some(expected));
        }
    }
}
