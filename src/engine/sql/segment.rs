//! From classified statements to the one transaction in which a file and its row commit. Pure.
//!
//! ```text
//! no transaction control        BEGIN ▸ marker ▸ file ▸ row ▸ COMMIT          the runner's transaction
//! BEGIN … COMMIT in the file    … BEGIN ▸ marker ▸ … ▸ row ▸ COMMIT ▸ SET …   the file's own block
//! anything else                 a finding that says where and what to do
//! ```
//!
//! Statements before the file's BEGIN join its transaction, because the whole file is one
//! message; after its COMMIT only session settings may follow.

use std::ops::Range;

use super::classify::Class;
use crate::engine::report::Code;

/// One statement of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Statement {
    /// Bytes of the file, semicolon included.
    pub(crate) range: Range<usize>,
    /// What it means for its transaction.
    pub(crate) class: Class,
}

/// Where the runner's own statements go; bytes of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// The runner opens and commits the transaction.
    Runner {
        /// Behind a leading SET TRANSACTION, which must come before any query.
        marker: usize,
    },
    /// The file does.
    OwnBlock {
        /// Behind BEGIN and a SET TRANSACTION that follows it.
        marker: usize,
        /// In front of the COMMIT.
        row: usize,
    },
}

/// A statement that keeps the file from being run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) code: Code,
    pub(crate) range: Range<usize>,
    pub(crate) message: String,
    pub(crate) hint: &'static str,
}

/// Finds the shape, or everything that speaks against one.
pub(crate) fn shape(statements: &[Statement]) -> Result<Shape, Vec<Finding>> {
    let mut findings: Vec<Finding> = statements.iter().filter_map(never_runs).collect();
    let block = block(statements, &mut findings);
    findings.sort_by_key(|finding| finding.range.start);
    if !findings.is_empty() {
        return Err(findings);
    }
    Ok(match block {
        None => Shape::Runner {
            marker: behind_set_transaction(statements).unwrap_or(0),
        },
        Some((begin, commit)) => {
            let inside = statements.get(begin + 1..commit).unwrap_or_default();
            let start = |index: usize| statements.get(index).map_or(0..0, |s| s.range.clone());
            Shape::OwnBlock {
                marker: behind_set_transaction(inside).unwrap_or(start(begin).end),
                row: start(commit).start,
            }
        }
    })
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
        Class::Autocommit(what) => (
            Code::NeedsAutocommit,
            format!(
                "{what} cannot run inside a transaction, so it could not be recorded together with its effect"
            ),
            "use the form without CONCURRENTLY, or run this statement by hand and leave it out of the file",
        ),
        Class::CopyStream => (
            Code::CopyFromStdin,
            "COPY from or to the client needs psql".to_owned(),
            "write the rows as INSERT … VALUES",
        ),
        Class::ControlsTransaction(range) => {
            return Some(Finding {
                code: Code::TransactionControl,
                range: range.clone(),
                message: "this commits or rolls back, which PostgreSQL refuses inside the transaction that records the file".to_owned(),
                hint: "remove COMMIT and ROLLBACK from the block or procedure; an exception block undoes its own part",
            });
        }
        Class::CommitAndChain => (
            Code::TransactionControl,
            "COMMIT AND CHAIN leaves a transaction open".to_owned(),
            "end the file's transaction with a plain COMMIT",
        ),
        Class::PrepareTransaction => (
            Code::TransactionControl,
            "PREPARE TRANSACTION leaves the outcome to somebody else".to_owned(),
            "end the file's transaction with COMMIT",
        ),
        Class::Rollback => (
            Code::TransactionControl,
            "ROLLBACK would undo the file, yet it would count as applied".to_owned(),
            "remove it; a file that fails is rolled back anyway",
        ),
        Class::Begin { read_only: true } => (
            Code::TransactionControl,
            "a READ ONLY transaction cannot record the file".to_owned(),
            "remove READ ONLY",
        ),
        Class::Empty
        | Class::Begin { read_only: false }
        | Class::Commit
        | Class::Savepoint
        | Class::SetTransaction
        | Class::Session
        | Class::Call(_)
        | Class::Transactional => return None,
    };
    Some(Finding {
        code,
        range: statement.range.clone(),
        message,
        hint,
    })
}

/// The indexes of the file's BEGIN and COMMIT, if it has a block of its own.
fn block(statements: &[Statement], findings: &mut Vec<Finding>) -> Option<(usize, usize)> {
    let mut open: Option<(usize, &Statement)> = None;
    let mut closed: Option<(usize, usize)> = None;
    let mut refuse = |statement: &Statement, message: &str, hint: &'static str| {
        findings.push(Finding {
            code: Code::TransactionControl,
            range: statement.range.clone(),
            message: message.to_owned(),
            hint,
        });
    };
    for (index, statement) in statements.iter().enumerate() {
        match (&statement.class, open) {
            (Class::Begin { .. }, Some(_)) => refuse(
                statement,
                "BEGIN inside a transaction; the first COMMIT would end both",
                "remove the inner BEGIN and COMMIT, or use SAVEPOINT",
            ),
            (Class::Begin { .. }, None) if closed.is_some() => {
                refuse(
                    statement,
                    "a second transaction in one file: a failure between the two would leave half of the file applied",
                    "join the transactions, or move this one to a file of its own",
                );
                open = Some((index, statement));
            }
            (Class::Begin { .. }, None) => open = Some((index, statement)),
            (Class::Commit | Class::CommitAndChain | Class::Rollback, Some((begin, _))) => {
                closed = Some((begin, index));
                open = None;
            }
            (Class::Commit, None) => refuse(
                statement,
                "COMMIT without a BEGIN in this file: it would commit behind the runner's back, before the file is recorded",
                "remove it; a file without BEGIN and COMMIT runs in one transaction",
            ),
            (Class::Savepoint, None) if closed.is_some() || has_begin_after(statements, index) => {
                refuse(
                    statement,
                    "a savepoint outside the file's transaction",
                    "move it between BEGIN and COMMIT",
                );
            }
            (Class::Transactional | Class::Call(_) | Class::SetTransaction, None)
                if closed.is_some() =>
            {
                refuse(
                    statement,
                    "a statement after the file's COMMIT runs after the file has been recorded",
                    "move it in front of COMMIT, or to a file of its own",
                );
            }
            _ => {}
        }
    }
    if let Some((_, begin)) = open {
        refuse(
            begin,
            "this BEGIN has no COMMIT",
            "end the file with COMMIT, or remove BEGIN",
        );
    }
    closed
}

fn has_begin_after(statements: &[Statement], index: usize) -> bool {
    let after = statements.get(index..).unwrap_or_default();
    after.iter().any(|s| matches!(s.class, Class::Begin { .. }))
}
