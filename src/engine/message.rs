//! The message in which a transaction of a file runs, and the way back from the server's answer
//! to the file. Pure.
//!
//! The server runs a simple-protocol message to its end even when the client dies, and aborts it
//! whole on an error. So everything that belongs together is sent together: cleaning up what the
//! file before left in the session, the transaction, the file, its row. That is one round trip
//! per file. Only data for `COPY … FROM STDIN` part a message in two.

use std::ops::Range;

use super::{
    checksum,
    journal::Subject,
    ledger::literal,
    sql::{Script, classify::Class, lasting, position::byte_of_character, segment::Transaction},
};
use crate::postgres::lock::Key;

/// Undoes what an earlier file did to the session. DISCARD ALL does not go into a transaction. In
/// front of a file it is a transaction of its own, because a changed transaction default still
/// holds for the transaction in which it is reset.
pub(crate) const CLEAN: [&str; 9] = [
    "RESET SESSION AUTHORIZATION",
    "RESET ROLE",
    "RESET ALL",
    "DEALLOCATE ALL",
    "CLOSE ALL",
    "UNLISTEN *",
    "DISCARD PLANS",
    "DISCARD SEQUENCES",
    "DISCARD TEMP",
];

/// Gives back the session's advisory locks, those of an earlier file among them; ours are taken again at once, and nobody
/// else takes them in between, since the control session holds its own. See [`crate::postgres::lock`].
pub(crate) const UNLOCK: &str = "SELECT pg_catalog.pg_advisory_unlock_all()";

/// The file may have changed role; what is recorded is written by the role that owns the ledger. A file that listens
/// would get its own notifications at the commit, in the middle of the conversation.
const OWN_ROLE: [&str; 3] = [
    "SET LOCAL SESSION AUTHORIZATION DEFAULT",
    "SET LOCAL ROLE NONE",
    "UNLISTEN *",
];

/// What the server answers, one by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Preparing the session and the transaction.
    Prepare,
    /// Statement of the file, by index, that made a setting of the session, made again in a new one.
    Again(usize),
    /// Taking the worker lock anew: fails where another runner has it, or the control session is gone.
    Fence,
    /// Statement of the file, by index.
    Statement(usize),
    /// Writing the ledger's row, or a note in the journal.
    Record,
    /// Looking for the row that was written: fails where it is not there.
    Look,
    /// The runner's COMMIT.
    Commit,
}

/// What is sent, in pieces, and its meaning.
#[derive(Debug)]
pub(crate) struct Message {
    pieces: Vec<Piece>,
    steps: Vec<Step>,
    /// The step that commits what is recorded.
    commit: Option<usize>,
}

/// A part of a message that the server answers before the next one is sent.
#[derive(Debug)]
pub(crate) enum Piece {
    /// Statements.
    Sql(Text),
    /// A `COPY … FROM STDIN` and its data.
    Copy { command: Text, data: String },
}

/// SQL and where in the file it comes from.
#[derive(Debug, Default)]
pub(crate) struct Text {
    pub(crate) sql: String,
    /// Index of its first answer.
    first: usize,
    /// Parts of the file: bytes of the text, and the byte of the file at its start.
    parts: Vec<(Range<usize>, usize)>,
}

/// How the runner recognises its own transaction, and what it writes there.
pub(crate) struct Record<'a> {
    pub(crate) subject: Subject<'a>,
    pub(crate) entry: Entry<'a>,
    /// The worker's lock, which must still be ours.
    pub(crate) worker: Key,
    /// A condition on a row `l` of `pg_locks`: the lock of the control session.
    pub(crate) control: String,
    /// Fresh for every message.
    pub(crate) marker: Key,
}

/// What is written with the transaction.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Entry<'a> {
    /// The ledger's row.
    Row {
        sha256: &'a str,
        /// What is remembered of the file beside it, if the engine can.
        meaning: Option<&'a str>,
        /// Whether notes of the file are in the journal.
        journalled: bool,
    },
    /// That a segment is done.
    Segment {
        index: usize,
        fingerprint: &'a str,
        /// Temporary tables that end with its transaction.
        passing: &'a [String],
    },
}

/// In which state the session is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    /// Whatever an earlier file left in it is to be undone; settings that segments of this file made
    /// in a session that is gone are made again.
    Afresh,
    /// As the segment before left it.
    GoOn,
}

/// What the server says where a condition of a [`Record`] does not hold: it divides by zero.
pub(crate) const UNMET: &str = "22012";

impl Record<'_> {
    /// Both locks end with the transaction. `1/0` is how a statement in the middle of a message
    /// can refuse to go on.
    fn fence(&self) -> String {
        format!(
            "SELECT 1 / (EXISTS (SELECT FROM pg_catalog.pg_locks l WHERE {}) AND {} AND {})::int",
            self.control,
            self.worker.try_in_transaction(),
            self.marker.try_in_transaction()
        )
    }

    /// Writes the row, or fails where the transaction is no longer the one that was marked, since the
    /// file has ended it (23502), and where the control session is gone, since nothing is committed
    /// that nobody looks after (22012). The server takes a row that a trigger or rule drops, or that
    /// row-level security hides from us, without a word, so it is looked for.
    fn statements(&self) -> Vec<(Step, String)> {
        let version = format!(
            "(SELECT CASE WHEN pg_catalog.bool_or(l.pid = pg_catalog.pg_backend_pid() AND l.granted AND {}) \
               THEN CASE WHEN pg_catalog.bool_or({}) THEN {} \
                 ELSE (1 / (pg_catalog.count(*) * 0))::pg_catalog.text END END FROM pg_catalog.pg_locks l)",
            self.marker.in_pg_locks("l"),
            self.control,
            literal(self.subject.version),
        );
        match self.entry {
            Entry::Row {
                sha256,
                meaning,
                journalled,
            } => {
                debug_assert!(checksum::is_checksum(sha256));
                let row = format!(
                    "INSERT INTO {} (version, applied_at, checksum) VALUES ({version}, pg_catalog.now(), {})",
                    self.subject.ledger.quoted(),
                    literal(sha256)
                );
                let notes = journalled.then(|| self.subject.finished());
                // behind the row, which is what fails where the transaction is not ours any more
                let memory = meaning.map(|meaning| self.subject.remember(sha256, meaning));
                let look = self.subject.is_recorded();
                let record = |sql| (Step::Record, sql);
                let mut all: Vec<_> = notes.into_iter().chain([row]).map(record).collect();
                all.extend(memory.map(record));
                all.push((Step::Look, format!("SELECT 1 / ({look})::int")));
                all
            }
            Entry::Segment {
                index,
                fingerprint,
                passing,
            } => {
                let kept = lasting::kept_sql(passing);
                let done = self.subject.done(&version, index, fingerprint, &kept);
                vec![(Step::Record, done)]
            }
        }
    }
}

impl Message {
    /// Puts the message of a transaction together.
    pub(crate) fn compose(
        script: &Script,
        transaction: &Transaction,
        start: Start,
        record: &Record<'_>,
    ) -> Self {
        let mut composer = Composer::begin(script, start, transaction.bytes.start, record.worker);
        let Range { start, end } = transaction.bytes;
        if transaction.row.is_none() {
            composer.ours(&["BEGIN"], Step::Prepare);
        }
        composer.file(start..transaction.marker);
        composer.ours(&[&record.fence()], Step::Fence);
        composer.file(transaction.marker..transaction.row.unwrap_or(end));
        composer.ours(&OWN_ROLE, Step::Record);
        for (step, statement) in record.statements() {
            composer.ours(&[&statement], step);
        }
        let commit = composer.steps.len();
        match transaction.row {
            Some(row) => composer.file(row..end),
            None => composer.ours(&["COMMIT"], Step::Commit),
        }
        Self {
            commit: Some(commit),
            ..composer.end()
        }
    }

    /// Gets the session ready for a statement that runs alone and begins at `byte`.
    pub(crate) fn prepare(
        script: &Script,
        start: Start,
        byte: usize,
        worker: Key,
        ours: &[&str],
    ) -> Self {
        let mut composer = Composer::begin(script, start, byte, worker);
        composer.ours(ours, Step::Fence);
        composer.end()
    }

    /// One statement by itself.
    pub(crate) fn alone(script: &Script, statement: usize) -> Self {
        let mut composer = Composer::new(script);
        let range = script.statements.get(statement).map(|s| s.range.clone());
        composer.file(range.unwrap_or_default());
        composer.end()
    }

    /// A statement of the runner.
    pub(crate) fn own(sql: &str) -> Self {
        let text = Text {
            sql: sql.to_owned(),
            ..Text::default()
        };
        Self {
            pieces: vec![Piece::Sql(text)],
            steps: vec![Step::Prepare],
            commit: None,
        }
    }

    /// What is sent.
    pub(crate) fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// How many answers a message that works gets.
    pub(crate) fn answers(&self) -> usize {
        self.steps.len()
    }

    /// The step that failed after `completed` answers.
    pub(crate) fn step(&self, completed: usize) -> Option<Step> {
        self.steps.get(completed).copied()
    }

    /// Whether the row or note was written by the time of `completed` answers.
    pub(crate) fn is_recorded(&self, completed: usize) -> bool {
        let left = self.steps.get(completed..).unwrap_or_default();
        !left.contains(&Step::Record)
    }

    /// Whether what it records was committed by the time of `completed` answers, so that what failed
    /// stands behind the file's own COMMIT.
    pub(crate) fn is_committed(&self, completed: usize) -> bool {
        self.commit.is_some_and(|commit| completed > commit)
    }

    /// The byte of the file that the server's character position means, in the piece that failed
    /// after `completed` answers.
    pub(crate) fn byte_of_file(&self, completed: usize, character: usize) -> Option<usize> {
        let mut sent = self.pieces.iter().map(Piece::text);
        let text = sent.rfind(|text| text.first <= completed)?;
        let byte = byte_of_character(&text.sql, character)?;
        let (range, start) = text
            .parts
            .iter()
            .find(|(range, _)| range.contains(&byte) || range.end == byte)?;
        Some(start + (byte - range.start))
    }
}

impl Piece {
    fn text(&self) -> &Text {
        match self {
            Self::Sql(text) | Self::Copy { command: text, .. } => text,
        }
    }
}

struct Composer<'a> {
    script: &'a Script,
    pieces: Vec<Piece>,
    steps: Vec<Step>,
    open: Text,
}

impl<'a> Composer<'a> {
    fn new(script: &'a Script) -> Self {
        Self {
            script,
            pieces: Vec::new(),
            steps: Vec::new(),
            open: Text::default(),
        }
    }

    /// Starts with a session as it is to be in front of `byte` of the file. What is made again is a
    /// transaction of its own too: one of the file may have modes, which come before the first query.
    fn begin(script: &'a Script, start: Start, byte: usize, worker: Key) -> Self {
        let mut composer = Self::new(script);
        if start == Start::GoOn {
            return composer;
        }
        composer.ours(&["BEGIN"], Step::Prepare);
        composer.ours(&CLEAN, Step::Prepare);
        composer.ours(&[UNLOCK], Step::Prepare);
        let locks = format!("SELECT 1 / ({})::int", worker.try_for_run());
        composer.ours(&[&locks], Step::Fence);
        composer.ours(&["COMMIT"], Step::Prepare);
        let again = lasting::replayed(script, byte);
        if again.is_empty() {
            return composer;
        }
        composer.ours(&["BEGIN"], Step::Prepare);
        for index in again {
            let range = script.statements.get(index).map(|s| s.range.clone());
            let text = script.text.get(range.unwrap_or_default());
            let text = text.unwrap_or_default().trim_end_matches(';');
            composer.ours(&[text], Step::Again(index));
        }
        composer.ours(&["COMMIT"], Step::Prepare);
        composer
    }

    /// The semicolon ends a statement of the file that has none, the line break a comment.
    fn ours(&mut self, statements: &[&str], step: Step) {
        if !self.open.sql.is_empty() {
            self.open.sql.push_str("\n;");
        }
        for statement in statements {
            self.open.sql.push_str(statement);
            self.open.sql.push(';');
            self.steps.push(step);
        }
    }

    fn file(&mut self, range: Range<usize>) {
        let script = self.script;
        let mut at = range.start;
        for (index, data) in &script.data {
            let Some(copy) = script.statements.get(*index).map(|s| s.range.clone()) else {
                continue;
            };
            if range.start <= copy.start && copy.end <= range.end {
                self.statements(at..copy.start);
                self.flush();
                self.statements(copy.clone());
                let command = std::mem::take(&mut self.open);
                self.pieces.push(Piece::Copy {
                    command,
                    data: data.clone(),
                });
                self.open.first = self.steps.len();
                at = copy.end;
            }
        }
        self.statements(at..range.end);
    }

    fn statements(&mut self, range: Range<usize>) {
        let part = self.script.text.get(range.clone()).unwrap_or_default();
        if part.is_empty() {
            return;
        }
        let start = self.open.sql.len();
        self.open.sql.push_str(part);
        let end = self.open.sql.len();
        self.open.parts.push((start..end, range.start));
        let statements = self.script.statements.iter().enumerate();
        self.steps.extend(
            statements
                .filter(|(_, s)| range.contains(&s.range.start) && s.class != Class::Empty)
                .map(|(index, _)| Step::Statement(index)),
        );
    }

    fn flush(&mut self) {
        let text = std::mem::take(&mut self.open);
        self.open.first = self.steps.len();
        if !text.sql.trim().is_empty() {
            self.pieces.push(Piece::Sql(text));
        }
    }

    fn end(mut self) -> Message {
        self.flush();
        Message {
            pieces: self.pieces,
            steps: self.steps,
            commit: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{bundle::script_of, ledger::LedgerName, sql::segment::Shape};
    use super::*;

    fn sql(message: &Message) -> &str {
        let [Piece::Sql(text)] = message.pieces() else {
            panic!("{message:?}");
        };
        &text.sql
    }

    fn compose(text: &str) -> (Script, Message) {
        let script = script_of(text);
        let Shape::Whole(transaction) = script.shape.clone() else {
            panic!("{text}: {:?}", script.shape);
        };
        let ledger = LedgerName::default();
        let record = Record {
            subject: Subject {
                ledger: &ledger,
                version: "1_a.sql",
            },
            entry: Entry::Row {
                sha256: &checksum::sha256(b""),
                meaning: Some("m"),
                journalled: false,
            },
            worker: Key::worker("d", "l"),
            control: "true".into(),
            marker: Key::marker(7),
        };
        let message = Message::compose(&script, &transaction, Start::Afresh, &record);
        (script, message)
    }

    fn outline(message: &Message) -> Vec<Step> {
        let mut steps = message.steps.clone();
        // the locks are taken again in front of all
        let locks = steps.iter().position(|step| *step == Step::Fence);
        steps.remove(locks.unwrap());
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
                Step::Look,
                Step::Commit
            ]
        );
        assert!(
            sql(&message).contains("SELECT 1 -- end\n;SET LOCAL"),
            "{}",
            sql(&message)
        );
        assert!(sql(&message).ends_with("COMMIT;"));
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
                Step::Look,
                Step::Statement(4),
                Step::Statement(5)
            ]
        );
        let sql = sql(&message);
        assert_eq!(sql.matches("BEGIN").count(), 2);
        let commit = (0..message.answers()).find(|n| message.is_committed(*n));
        assert_eq!(message.step(commit.unwrap() - 1), Some(Step::Statement(4)));
        let row = sql.find("INSERT INTO").unwrap();
        assert!(row > sql.find("-- last").unwrap());
        assert!(row < sql.rfind("COMMIT").unwrap());
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
                Step::Look,
                Step::Commit
            ]
        );
    }

    #[test]
    fn positions_lead_back_to_the_file() {
        for text in [
            "SELECT 'ü';\nSELECT PLACE;",
            "BEGIN;\nSELECT 'ü', PLACE;\nCOMMIT;",
        ] {
            let (script, message) = compose(text);
            let sql = sql(&message);
            let byte = sql.find("PLACE").unwrap();
            let character = sql[..byte].chars().count() + 1;
            assert_eq!(
                message.byte_of_file(0, character),
                script.text.find("PLACE")
            );
            assert_eq!(message.byte_of_file(0, 1), None);
        }
    }

    #[test]
    fn data_of_copy_part_the_message() {
        let text = "CREATE TABLE a (b text);\nCOPY a FROM stdin;\nü\n\\.\nSELECT PLACE;";
        let (script, message) = compose(text);
        let [
            Piece::Sql(first),
            Piece::Copy { command, data },
            Piece::Sql(last),
        ] = message.pieces()
        else {
            panic!("{message:?}");
        };
        assert!(
            first.sql.ends_with("CREATE TABLE a (b text);\n"),
            "{}",
            first.sql
        );
        assert_eq!(
            (command.sql.as_str(), data.as_str()),
            ("COPY a FROM stdin;", "ü\n")
        );
        let copied = (0..message.answers()).find(|n| message.step(*n) == Some(Step::Statement(1)));
        assert_eq!(
            message.byte_of_file(copied.unwrap(), 6),
            text.find("a FROM")
        );
        let character = last.sql.find("PLACE").unwrap() + 1;
        let answered = copied.unwrap() + 1;
        assert_eq!(
            message.byte_of_file(answered, character),
            script.text.find("PLACE")
        );
    }
}
