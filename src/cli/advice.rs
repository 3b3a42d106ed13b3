//! What somebody at a terminal can do about an error whose remedy lies outside of the database. Pure.

use crate::engine::run::RunError;
use crate::postgres::UNTRUSTED;

/// What to do about an error of a command, where its own words do not say it.
pub(super) fn about(error: &anyhow::Error) -> Option<&'static str> {
    match error.downcast_ref::<RunError>()? {
        RunError::Denied(text) if text.contains("SQLSTATE 42501") => Some(
            "log in as the role that owns the database, its ledger and what its files have made: its URL goes into DATABASE_URL",
        ),
        RunError::Unsupported(text) => certificate(text),
        RunError::NotACopy(_) => Some(
            "fill an empty database with pg_dump --schema-only, and name that one with --scratch",
        ),
        RunError::Denied(_)
        | RunError::Busy(_)
        | RunError::Blocked(_)
        | RunError::Failed(_)
        | RunError::Transient(_)
        | RunError::Limit(_)
        | RunError::DeadlineExceeded(_)
        | RunError::LedgerConflict(_)
        | RunError::Cancelled => None,
    }
}

/// Where to name the authority of a certificate that the public ones have not signed.
pub(super) fn certificate(text: &str) -> Option<&'static str> {
    text.contains(UNTRUSTED).then_some(
        "the file of its authority is named by sslrootcert in the URL, or by PGSSLROOTCERT",
    )
}
