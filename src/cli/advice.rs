//! What somebody at a terminal can do about an error whose remedy lies outside of the database. Pure.

use crate::engine::run::{POOLED, READ_ONLY, RunError, STANDBY};
use crate::postgres::UNTRUSTED;

/// What to do about an error of a command, where its own words do not say it.
pub(super) fn about(error: &anyhow::Error) -> Option<&'static str> {
    match error.downcast_ref::<RunError>()? {
        RunError::Denied(text) if text.contains("SQLSTATE 42501") => Some(
            "log in as the role that owns the database, its ledger and what its files have made: its URL goes into DATABASE_URL",
        ),
        RunError::Unsupported(text) => certificate(text).or_else(|| endpoint(text)),
        RunError::DeadlineExceeded(_) => Some(
            "what was applied stays, and the next run goes on behind it; --deadline gives it longer",
        ),
        RunError::LedgerConflict(_) => Some("--ledger names another table"),
        RunError::NotACopy(_) => Some(
            "fill an empty database with pg_dump --schema-only, and name that one with --scratch",
        ),
        RunError::Denied(_)
        | RunError::Busy(_)
        | RunError::Blocked(_)
        | RunError::Failed(_)
        | RunError::Transient(_)
        | RunError::Limit(_)
        | RunError::Cancelled => None,
    }
}

/// Which endpoint to take instead of one that cannot run migrations.
fn endpoint(text: &str) -> Option<&'static str> {
    if text.starts_with(POOLED) {
        Some(
            "put the URL of the server itself into DATABASE_URL: on Neon the host without -pooler, elsewhere the port behind the pooler; `sepulki validate --migrate` tells whether it is",
        )
    } else if text == STANDBY {
        Some(
            "put the URL of the primary into DATABASE_URL: on Neon that of the branch's read-write compute, not of a read replica",
        )
    } else if text == READ_ONLY {
        Some(
            "take default_transaction_read_only from the role or the database (ALTER ROLE … RESET, ALTER DATABASE … RESET), or log in as another role",
        )
    } else {
        None
    }
}

/// Where to name the authority of a certificate that the public ones have not signed.
pub(super) fn certificate(text: &str) -> Option<&'static str> {
    text.contains(UNTRUSTED).then_some(
        "the file of its authority is named by sslrootcert in the URL, or by PGSSLROOTCERT",
    )
}
