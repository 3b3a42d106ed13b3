//! The port to the migration engine.

use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::mpsc::UnboundedSender;

use crate::engine::run::{Progress, RunError, RunReport, RunRequest};
use crate::engine::{LedgerName, LedgerState};
use crate::postgres::Target;

/// The migration engine against a real or simulated database.
#[async_trait]
pub trait Migrations: Send + Sync {
    /// Reads the ledger without changing anything. Wakes a compute that is asleep.
    async fn inspect(
        &self,
        at: &Target,
        ledger: &LedgerName,
        holder: &str,
        patience: Duration,
    ) -> Result<LedgerState, RunError>;
    /// Applies what is pending; what was told as applied is committed, however the run ends.
    async fn apply(
        &self,
        run: RunRequest,
        progress: UnboundedSender<Progress>,
    ) -> Result<RunReport, RunError>;
}
