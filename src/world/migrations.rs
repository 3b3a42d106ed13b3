//! The port to the migration engine.

use async_trait::async_trait;
use tokio::sync::mpsc::UnboundedSender;

use crate::engine::LedgerState;
use crate::engine::run::{Inspection, Progress, RunError, RunReport, RunRequest};

/// The migration engine against a real or simulated database.
#[async_trait]
pub trait Migrations: Send + Sync {
    /// Reads the ledger, and has the database say of itself what it is. Wakes a compute that is asleep.
    async fn inspect(&self, of: Inspection<'_>) -> Result<LedgerState, RunError>;
    /// Applies what is pending; what was told as applied is committed, however the run ends.
    async fn apply(
        &self,
        run: RunRequest,
        progress: UnboundedSender<Progress>,
    ) -> Result<RunReport, RunError>;
}
