//! The one message in which a file runs, and the way back from the server's answer to the file.
//! Pure.
//!
//! The server runs a simple-protocol message to its end even when the client dies, and aborts it
//! whole on an error. So everything that belongs together is sent together: cleaning up what the
//! file before left in the session, the transaction, the file, its row. That is one round trip
//! per file.

use std::ops::Range;

use super::{
    checksum,
    ledger::{LedgerName, literal},
    sql::{Script, classify::Class, position::byte_of_character, segment::Shape},
};
use crate::postgres::lock::Key;

/// Undoes what an earlier file did to the session. DISCARD ALL would also drop the session's
/// advisory locks. It is a transaction of its own because a changed transaction default still
/// holds for the transaction in which it is reset.
const RESET: [&str; 11] = [
    "BEGIN",
    "RESET SESSION AUTHORIZATION",
    "RESET ROLE",
    "RESET ALL",
    "DEALLOCATE ALL",
    "CLOSE ALL",
    "UNLISTEN *",
    "DISCARD PLANS",
    "DISCARD SEQUENCES",
    "DISCARD TEMP",
    "COMMIT",
];

/// What the server answers, one by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Preparing the session and the transaction.
    Prepare,
    /// Taking the worker lock anew: fails where another runner has it.
    Fence,
    /// Statement of the file, by index.
    Statement(usize),
    /// Writing the ledger's row.
    Record,
    /// The runner's COMMIT.
    Commit,
}

/// A message and its meaning.
#[derive(Debug)]
pub(crate) struct Message {
    text: String,
    steps: Vec<Step>,
    /// Parts of the file: bytes of the message, and the byte of the file at its start.
    parts: Vec<(Range<usize>, usize)>,
}

/// What is recorded with the file and how the runner recognises its own transaction.
pub(crate) struct Record<'a> {
    pub(crate) ledger: &'a LedgerName,
    pub(crate) version: &'a str,
    pub(crate) sha256: &'a str,
    /// The worker's lock, which must still be ours.
    pub(crate) worker: Key,
    /// Fresh for every message.
    pub(crate) marker: Key,
}

impl Record<'_> {
    /// Both locks end with the transaction. `1/0` is how a statement in the middle of a message
    /// can refuse to go on.
    fn fence(&self) -> String {
        format!(
            "SELECT 1 / ({} AND {})::int",
            self.worker.try_in_transaction(),
            self.marker.try_in_transaction()
        )
    }

    /// Writes the row, or fails (23502) where the transaction is no longer the one that was
    /// marked: the file has ended it.
    fn row(&self) -> String {
        debug_assert!(checksum::is_checksum(self.sha256));
        format!(
            "INSERT INTO {} (version, applied_at, checksum) SELECT CASE WHEN EXISTS (\
               SELECT FROM pg_catalog.pg_locks l WHERE l.pid = pg_catalog.pg_backend_pid() \
               AND l.granted AND {}) THEN {} END, pg_catalog.now(), {}",
            self.ledger.quoted(),
            self.marker.in_pg_locks("l"),
            literal(self.version),
            literal(self.sha256)
        )
    }
}

impl Message {
    /// Puts the message of a file together.
    pub(crate) fn compose(script: &Script, record: &Record<'_>) -> Self {
        let mut message = Self {
            text: String::new(),
            steps: Vec::new(),
            parts: Vec::new(),
        };
        let length = script.text.len();
        message.ours(&RESET, Step::Prepare);
        match script.shape {
            Shape::Runner { marker } => {
                message.ours(&["BEGIN"], Step::Prepare);
                message.file(script, 0..marker);
                message.ours(&[&record.fence()], Step::Fence);
                message.file(script, marker..length);
                message.record(record);
                message.ours(&["COMMIT"], Step::Commit);
            }
            Shape::OwnBlock { marker, row } => {
                message.file(script, 0..marker);
                message.ours(&[&record.fence()], Step::Fence);
                message.file(script, marker..row);
                message.record(record);
                message.file(script, row..length);
            }
        }
        message
    }

    /// What is sent.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// How many answers a message that works gets.
    pub(crate) fn answers(&self) -> usize {
        self.steps.len()
    }

    /// The step that failed after `completed` answers.
    pub(crate) fn step(&self, completed: usize) -> Option<Step> {
        self.steps.get(completed).copied()
    }

    /// The byte of the file that the server's character position means.
    pub(crate) fn byte_of_file(&self, character: usize) -> Option<usize> {
        let byte = byte_of_character(&self.text, character)?;
        let (range, start) = self
            .parts
            .iter()
            .find(|(range, _)| range.contains(&byte) || range.end == byte)?;
        Some(start + (byte - range.start))
    }

    /// The semicolon ends a statement of the file that has none, the line break a comment.
    fn ours(&mut self, statements: &[&str], step: Step) {
        if !self.text.is_empty() {
            self.text.push_str("\n;");
        }
        for statement in statements {
            self.text.push_str(statement);
            self.text.push(';');
            self.steps.push(step);
        }
    }

    /// The file may have changed role; the row is written by the role that owns the ledger.
    fn record(&mut self, record: &Record<'_>) {
        self.ours(
            &["RESET SESSION AUTHORIZATION", "RESET ROLE", &record.row()],
            Step::Record,
        );
    }

    fn file(&mut self, script: &Script, range: Range<usize>) {
        let Some(part) = script
            .text
            .get(range.clone())
            .filter(|part| !part.is_empty())
        else {
            return;
        };
        let start = self.text.len();
        self.text.push_str(part);
        self.parts.push((start..self.text.len(), range.start));
        let statements = script.statements.iter().enumerate();
        self.steps.extend(
            statements
                .filter(|(_, s)| range.contains(&s.range.start) && s.class != Class::Empty)
                .map(|(index, _)| Step::Statement(index)),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::super::{bundle::Bundle, bundle::SourceFile};
    use super::*;

    fn compose(text: &str) -> (Script, Message) {
        let file = SourceFile {
            name: "1_a.sql".into(),
            bytes: text.into(),
        };
        let bundle = Bundle::compile(vec![file]).unwrap();
        let script = bundle.files()[0].script().unwrap().clone();
        let ledger = LedgerName::default();
        let record = Record {
            ledger: &ledger,
            version: "1_a.sql",
            sha256: bundle.files()[0].sha256(),
            worker: Key::worker("d", "l"),
            marker: Key::marker(7),
        };
        let message = Message::compose(&script, &record);
        (script, message)
    }

    fn outline(message: &Message) -> Vec<Step> {
        let mut steps = message.steps.clone();
        steps.retain(|step| *step != Step::Prepare);
        steps.dedup();
        steps
    }

    #[test]
    fn a_plain_file_gets_the_runners_transaction() {
        let (_, message) = compose("CREATE TABLE ä (a int);;\nSELECT 1 -- end");
        assert_eq!(
            outline(&message),
            [
                Step::Fence,
                Step::Statement(0),
                Step::Statement(2),
                Step::Record,
                Step::Commit
            ]
        );
        assert!(
            message.text.contains("SELECT 1 -- end\n;RESET"),
            "{}",
            message.text
        );
        assert!(message.text.ends_with("COMMIT;"));
    }

    #[test]
    fn a_file_with_a_block_keeps_it() {
        let text = "SET x.y = 1;\nBEGIN ISOLATION LEVEL SERIALIZABLE;\nSET TRANSACTION READ WRITE;\nSELECT 1;\n-- last\nCOMMIT;\nRESET x.y;";
        let (_, message) = compose(text);
        assert_eq!(
            outline(&message),
            [
                Step::Statement(0),
                Step::Statement(1),
                Step::Statement(2),
                Step::Fence,
                Step::Statement(3),
                Step::Record,
                Step::Statement(4),
                Step::Statement(5)
            ]
        );
        assert_eq!(message.text.matches("BEGIN").count(), 2);
        let row = message.text.find("INSERT INTO").unwrap();
        assert!(row > message.text.find("-- last").unwrap());
        assert!(row < message.text.rfind("COMMIT").unwrap());
    }

    #[test]
    fn a_leading_set_transaction_stays_in_front_of_the_first_query() {
        let (_, message) = compose("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE;\nSELECT 1;");
        assert_eq!(
            outline(&message),
            [
                Step::Statement(0),
                Step::Fence,
                Step::Statement(1),
                Step::Record,
                Step::Commit
            ]
        );
    }

    #[test]
    fn positions_lead_back_to_the_file() {
        for text in [
            "SELECT 'ü';\nSELECT HERE;",
            "BEGIN;\nSELECT 'ü', HERE;\nCOMMIT;",
        ] {
            let (script, message) = compose(text);
            let byte = message.text.find("HERE").unwrap();
            let character = message.text[..byte].chars().count() + 1;
            assert_eq!(message.byte_of_file(character), script.text.find("HERE"));
            assert_eq!(message.byte_of_file(1), None);
        }
    }
}
