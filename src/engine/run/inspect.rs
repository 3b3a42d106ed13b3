//! Looking at a database without running anything.

use std::time::Duration;

use super::{RunError, control::Control};
use crate::{
    engine::{
        ledger::{LedgerName, LedgerState},
        protection::Protection,
    },
    postgres::Target,
};

/// What to look at, as whom.
#[derive(Debug, Clone, Copy)]
pub struct Inspection<'a> {
    /// The direct endpoint, the role that owns the database.
    pub target: &'a Target,
    /// Where applied files are recorded.
    pub ledger: &'a LedgerName,
    /// As in [`super::RunRequest`].
    pub holder: &'a str,
    /// How long to wait for a server that is asleep or starting.
    pub connect: Duration,
    /// What the database is to say of itself from now on; none leaves it as it is.
    pub protection: Option<&'a Protection>,
}

/// Reads the ledger in a short session, without any lock. Nothing is changed but for what the
/// database is to say of itself.
///
/// # Errors
/// Whatever keeps the ledger from being read; see [`RunError`].
pub async fn inspect(of: Inspection<'_>) -> Result<LedgerState, RunError> {
    let mut control = Control::open(of.target, of.ledger, of.holder, of.connect).await?;
    if let Some(protection) = of.protection {
        control.protect(protection).await?;
    }
    let state = control.ledger().await?;
    control.close().await;
    Ok(state)
}
