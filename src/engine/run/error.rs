//! How a run can end without having applied everything. Pure.

use std::fmt;

use crate::{
    engine::{plan::Plan, report::Diagnostic},
    postgres::{Class, Error},
};

/// Why a run or an inspection did not go through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunError {
    /// Another run holds the ledger; the text says who. Try again later.
    Busy(String),
    /// The plan has problems that must be solved first; nothing was run.
    Blocked(Box<Plan>),
    /// A file failed, and must be corrected. What it left behind is in [`Diagnostic::outcome`].
    Failed(Box<Diagnostic>),
    /// The connection broke, the server is starting, or locks of others did not come free.
    /// Nothing half-done is left; a new run goes on where this one ended.
    Transient(String),
    /// Neon may run no further compute at the moment, so nobody can connect. Try again now and then.
    Limit(String),
    /// The deadline of the run has passed; the statement was cancelled.
    DeadlineExceeded(String),
    /// The table named as ledger belongs to something else.
    LedgerConflict(String),
    /// The password is refused, or the role lacks a right.
    Denied(String),
    /// This endpoint cannot run migrations: a pooler, a standby, an untrusted certificate, an
    /// unknown database.
    Unsupported(String),
    /// What is said to be a copy of the database is none; the text says how it differs.
    NotACopy(String),
    /// The caller ended the run.
    Cancelled,
}

impl RunError {
    /// The name in reports for programs.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Busy(_) => "Busy",
            Self::Blocked(_) => "Blocked",
            Self::Failed(_) => "Failed",
            Self::Transient(_) => "Transient",
            Self::Limit(_) => "Limit",
            Self::DeadlineExceeded(_) => "DeadlineExceeded",
            Self::LedgerConflict(_) => "LedgerConflict",
            Self::Denied(_) => "Denied",
            Self::Unsupported(_) => "Unsupported",
            Self::NotACopy(_) => "NotACopy",
            Self::Cancelled => "Cancelled",
        }
    }
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy(holder) => write!(f, "another run holds the ledger: {holder}"),
            Self::Blocked(plan) => {
                let problems: Vec<String> = plan.blocking().map(ToString::to_string).collect();
                f.write_str(&problems.join("; "))
            }
            Self::Failed(diagnostic) => diagnostic.fmt(f),
            Self::Transient(text)
            | Self::Limit(text)
            | Self::DeadlineExceeded(text)
            | Self::LedgerConflict(text)
            | Self::Denied(text)
            | Self::Unsupported(text) => f.write_str(text),
            Self::NotACopy(differences) => {
                write!(
                    f,
                    "the scratch database is no copy of the database: {differences}"
                )
            }
            Self::Cancelled => f.write_str("the run was cancelled"),
        }
    }
}

impl std::error::Error for RunError {}

/// For errors outside of files; those of files are located instead.
impl From<Error> for RunError {
    fn from(error: Error) -> Self {
        let text = error.to_string();
        match error.class {
            Class::Transient | Class::Conflict => Self::Transient(text),
            Class::Limit => Self::Limit(text),
            Class::Denied => Self::Denied(text),
            Class::Unsupported | Class::Invalid => Self::Unsupported(text),
        }
    }
}
