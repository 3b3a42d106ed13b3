//! The port to the migration engine.

use async_trait::async_trait;
use tokio::sync::mpsc::UnboundedSender;

use crate::engine::LedgerState;
use crate::engine::run::{Inspection, Progress, RunError, RunReport, RunRequest, Verification};
use crate::postgres::Target;

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
    /// Finds out what is there of each file, by trying all of them on `scratch`, a copy of the database; it is left as it was.
    async fn verify(&self, run: &RunRequest, scratch: &Target) -> Result<Verification, RunError>;
}
