//! From classified statements to the transactions in which a file runs. Pure.
//!
//! ```text
//! no transaction control        BEGIN ▸ marker ▸ file ▸ row ▸ COMMIT          the runner's transaction
//! BEGIN … COMMIT in the file    … BEGIN ▸ marker ▸ … ▸ row ▸ COMMIT ▸ SET …   the file's own block
//! anything else                 segments, each noted in the journal; the row with the last
//! ```
//!
//! Statements before the file's only BEGIN join its transaction, because the whole file is one
//! message; after its COMMIT only session settings may follow. Where more is asked for (several
//! blocks, statements that run alone, a label used by the file that adds it, an isolation level
//! behind queries) the file is cut into segments. Each transaction is noted together with its effect; statements that run alone are
//! noted before and after.

use std::ops::Range;

use super::{
    alone::{Alone, Kind},
    classify::Class,
};
use crate::engine::report::Code;

/// One statement of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Statement {
    /// Bytes of the file, semicolon included.
    pub(crate) range: Range<usize>,
    /// What it means for its transaction.
    pub(crate) class: Class,
    /// Whether it uses something that must be committed first: a label of an enumeration.
    pub(crate) needs_commit: bool,
}

impl Statement {
    pub(crate) fn new(range: Range<usize>, class: Class) -> Self {
        Self {
            range,
            class,
            needs_commit: false,
        }
    }
}

/// How a file runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Shape {
    /// In one transaction, together with its row.
    Whole(Transaction),
    /// One after the other. The last one is a transaction: it writes the row.
    Segments(Vec<Segment>),
}

/// A part of a file that is done or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Segment {
    /// Statements in one transaction.
    Transaction(Transaction),
    /// A statement, by index, that runs alone.
    Alone(usize, Alone),
}

/// A transaction, and where the runner's own statements go; bytes of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Transaction {
    /// The part of the file.
    pub(crate) bytes: Range<usize>,
    /// Behind a leading SET TRANSACTION, which must come before any query.
    pub(crate) marker: usize,
    /// In front of the file's COMMIT; none where the runner opens and commits the transaction.
    pub(crate) row: Option<usize>,
}

/// A statement that keeps the file from being run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) code: Code,
    pub(crate) range: Range<usize>,
    pub(crate) message: String,
    pub(crate) hint: &'static str,
}

/// Finds the shape of a file of `length` bytes, or everything that speaks against one.
pub(crate) fn shape(statements: &[Statement], length: usize) -> Result<Shape, Vec<Finding>> {
    let mut findings: Vec<Finding> = statements.iter().filter_map(never_runs).collect();
    let blocks = blocks(statements, &mut findings);
    findings.sort_by_key(|finding| finding.range.start);
    if !findings.is_empty() {
        return Err(findings);
    }
    Ok(match whole(statements, &blocks, length) {
        Some(transaction) => Shape::Whole(transaction),
        None => Shape::Segments(segments(statements, &blocks, length)),
    })
}

/// The one transaction of a file that needs no more.
fn whole(statements: &[Statement], blocks: &[Block], length: usize) -> Option<Transaction> {
    if statements
        .iter()
        .any(|s| s.alone().is_some() || s.needs_commit)
    {
        return None;
    }
    match blocks {
        [] => Some(Transaction {
            bytes: 0..length,
            marker: behind_set_transaction(statements).unwrap_or(0),
            row: None,
        }),
        [block] => {
            let before = statements.get(..block.begin).unwrap_or_default();
            let after = statements.get(block.commit + 1..).unwrap_or_default();
            // data cannot be sent before the message with BEGIN is complete
            let copies = before.iter().any(|s| s.class == Class::CopyIn);
            // what has begun with a query takes no modes any more
            let is_query = |s: &Statement| !matches!(s.class, Class::Empty | Class::Session);
            let too_late = block.has_modes(statements) && before.iter().any(is_query);
            let joins = !copies && !too_late;
            (joins && !after.iter().any(Statement::works))
                .then(|| block.transaction(statements, 0..length))
        }
        _ => None,
    }
}

/// Cuts a file; the parts tile it up to white space and comments.
fn segments(statements: &[Statement], blocks: &[Block], length: usize) -> Vec<Segment> {
    let mut cutter = Cutter {
        statements,
        segments: Vec::new(),
        at: 0,
        open: None,
    };
    let mut blocks = blocks.iter().peekable();
    for (index, statement) in statements.iter().enumerate() {
        if let Some(block) = blocks.peek().filter(|block| block.begin <= index) {
            if block.begin == index {
                cutter.flush(index);
            }
            if block.commit == index {
                cutter.block(block);
                blocks.next();
            }
        } else if let Some(alone) = statement.alone() {
            cutter.flush(index);
            let segment = Segment::Alone(index, alone);
            cutter.segments.push(segment);
            cutter.at = statement.range.end;
        } else {
            if statement.needs_commit {
                cutter.flush(index);
            }
            if statement.class != Class::Empty {
                cutter.open.get_or_insert(index);
            }
        }
    }
    cutter.flush(statements.len());
    if !matches!(cutter.segments.last(), Some(Segment::Transaction(_))) {
        cutter.segments.push(Segment::Transaction(Transaction {
            bytes: length..length,
            marker: length,
            row: None,
        }));
    }
    cutter.segments
}

struct Cutter<'a> {
    statements: &'a [Statement],
    segments: Vec<Segment>,
    /// Where the next segment begins.
    at: usize,
    /// The first statement of a transaction of the runner.
    open: Option<usize>,
}

impl Cutter<'_> {
    /// Ends the runner's transaction in front of statement `next`.
    fn flush(&mut self, next: usize) {
        let Some(first) = self.open.take() else {
            return;
        };
        let inside = self.statements.get(first..next).unwrap_or_default();
        let end = inside.last().map_or(self.at, |s| s.range.end);
        let marker = behind_set_transaction(inside).unwrap_or(self.at);
        self.segments.push(Segment::Transaction(Transaction {
            bytes: self.at..end,
            marker,
            row: None,
        }));
        self.at = end;
    }

    fn block(&mut self, block: &Block) {
        let end = self
            .statements
            .get(block.commit)
            .map_or(self.at, |s| s.range.end);
        let transaction = block.transaction(self.statements, self.at..end);
        self.segments.push(Segment::Transaction(transaction));
        self.at = end;
    }
}

impl Statement {
    /// Whether it does more than to change settings of the session.
    pub(crate) fn works(&self) -> bool {
        !matches!(self.class, Class::Empty | Class::Session | Class::SetConfig)
    }

    /// How it runs alone, if it does.
    pub(crate) fn alone(&self) -> Option<Alone> {
        match &self.class {
            Class::Autocommit(alone) => Some(alone.clone()),
            Class::ControlsTransaction(_) => Some(Alone {
                what: "a block or procedure that commits",
                kind: Kind::Unknowable,
            }),
            Class::Empty
            | Class::Begin { .. }
            | Class::Commit
            | Class::CommitAndChain
            | Class::Rollback
            | Class::Savepoint
            | Class::PrepareTransaction
            | Class::SetTransaction
            | Class::Session
            | Class::SetConfig
            | Class::DiscardAll
            | Class::ReadsOtherwise(_)
            | Class::CopyIn
            | Class::CopyOut
            | Class::Call(_)
            | Class::Transactional => None,
        }
    }
}

/// End of the last SET TRANSACTION before the first query.
fn behind_set_transaction(statements: &[Statement]) -> Option<usize> {
    statements
        .iter()
        .take_while(|s| {
            matches!(
                s.class,
                Class::SetTransaction | Class::Session | Class::Empty
            )
        })
        .filter(|s| s.class == Class::SetTransaction)
        .map(|s| s.range.end)
        .last()
}

/// Statements that cannot be run wherever they stand.
fn never_runs(statement: &Statement) -> Option<Finding> {
    let (code, message, hint) = match &statement.class {
        Class::CopyOut => (
            Code::CopyData,
            "COPY … TO STDOUT: nobody is there to take the data",
            "remove it, or write the rows into a table",
        ),
        Class::ReadsOtherwise(_) => (
            Code::ReadsOtherwise,
            "files are read as UTF-8 with standard strings, and this would have the server read them otherwise",
            "remove it; write text in UTF-8, and backslash escapes as E'…'",
        ),
        Class::DiscardAll => (
            Code::NeedsAutocommit,
            "DISCARD ALL would give away the lock that keeps other runners out",
            "write RESET ALL, DEALLOCATE ALL or DISCARD TEMP instead; each file starts with a clean session anyway",
        ),
        Class::CommitAndChain => (
            Code::TransactionControl,
            "COMMIT AND CHAIN leaves a transaction open",
            "end the file's transaction with a plain COMMIT",
        ),
        Class::PrepareTransaction => (
            Code::TransactionControl,
            "PREPARE TRANSACTION leaves the outcome to somebody else",
            "end the file's transaction with COMMIT",
        ),
        Class::Rollback => (
            Code::TransactionControl,
            "ROLLBACK would undo the file, yet it would count as applied",
            "remove it; a file that fails is rolled back anyway",
        ),
        Class::Begin {
            read_only: true, ..
        } => (
            Code::TransactionControl,
            "a READ ONLY transaction cannot record the file",
            "remove READ ONLY",
        ),
        Class::Empty
        | Class::Begin {
            read_only: false, ..
        }
        | Class::Commit
        | Class::Savepoint
        | Class::SetTransaction
        | Class::Session
        | Class::SetConfig
        | Class::Autocommit(_)
        | Class::CopyIn
        | Class::ControlsTransaction(_)
        | Class::Call(_)
        | Class::Transactional => return None,
    };
    Some(Finding {
        code,
        range: statement.range.clone(),
        message: message.to_owned(),
        hint,
    })
}

/// A `BEGIN … COMMIT` of the file, by indexes of these two statements.
#[derive(Debug, Clone, Copy)]
struct Block {
    begin: usize,
    commit: usize,
}

impl Block {
    /// Whether it asks for modes of its transaction, such as an isolation level.
    fn has_modes(self, statements: &[Statement]) -> bool {
        let begin = statements.get(self.begin).map(|s| &s.class);
        let inside = statements.get(self.begin + 1..self.commit);
        matches!(
            begin,
            Some(Class::Begin {
                has_modes: true,
                ..
            })
        ) || behind_set_transaction(inside.unwrap_or_default()).is_some()
    }

    fn transaction(self, statements: &[Statement], bytes: Range<usize>) -> Transaction {
        let inside = statements
            .get(self.begin + 1..self.commit)
            .unwrap_or_default();
        let range = |index: usize| statements.get(index).map_or(0..0, |s| s.range.clone());
        Transaction {
            bytes,
            marker: behind_set_transaction(inside).unwrap_or(range(self.begin).end),
            row: Some(range(self.commit).start),
        }
    }
}

/// The file's own transactions, and what is wrong with them.
fn blocks(statements: &[Statement], findings: &mut Vec<Finding>) -> Vec<Block> {
    let mut open: Option<(usize, &Statement)> = None;
    let mut blocks = Vec::new();
    let has_block = statements
        .iter()
        .any(|s| matches!(s.class, Class::Begin { .. }));
    let mut refuse = |code, range: &Range<usize>, message: String, hint: &'static str| {
        findings.push(Finding {
            code,
            range: range.clone(),
            message,
            hint,
        });
    };
    let control = Code::TransactionControl;
    for (index, statement) in statements.iter().enumerate() {
        let range = &statement.range;
        match (&statement.class, open) {
            (Class::Begin { .. }, Some(_)) => refuse(
                control,
                range,
                "BEGIN inside a transaction; the first COMMIT would end both".to_owned(),
                "remove the inner BEGIN and COMMIT, or use SAVEPOINT",
            ),
            (Class::Begin { .. }, None) => open = Some((index, statement)),
            (Class::Commit | Class::CommitAndChain | Class::Rollback, Some((begin, _))) => {
                blocks.push(Block {
                    begin,
                    commit: index,
                });
                open = None;
            }
            (Class::Commit, None) => refuse(
                control,
                range,
                "COMMIT without a BEGIN in this file: it would commit behind the runner's back, before the file is recorded".to_owned(),
                "remove it; a file without BEGIN and COMMIT runs in one transaction",
            ),
            (Class::Savepoint, None) if has_block => refuse(
                control,
                range,
                "a savepoint outside the file's transaction".to_owned(),
                "move it between BEGIN and COMMIT",
            ),
            (Class::Autocommit(alone), Some(_)) => refuse(
                Code::NeedsAutocommit,
                range,
                format!("{} cannot run inside a transaction", alone.what),
                "move it in front of BEGIN or behind COMMIT",
            ),
            (Class::ControlsTransaction(place), Some(_)) => refuse(
                control,
                place,
                "this commits or rolls back, which PostgreSQL refuses inside the file's transaction".to_owned(),
                "move the statement in front of BEGIN or behind COMMIT",
            ),
            _ if statement.needs_commit && open.is_some() => refuse(
                control,
                range,
                "this uses a label that the same transaction adds to an enumeration, which PostgreSQL refuses before it is committed".to_owned(),
                "move ALTER TYPE … ADD VALUE in front of BEGIN",
            ),
            _ => {}
        }
    }
    if let Some((_, begin)) = open {
        refuse(
            control,
            &begin.range,
            "this BEGIN has no COMMIT".to_owned(),
            "end the file with COMMIT, or remove BEGIN",
        );
    }
    blocks
}
