//! The port to the migration engine on a real PostgreSQL.

use async_trait::async_trait;
use tokio::sync::mpsc::UnboundedSender;

use crate::engine::LedgerState;
use crate::engine::run::{
    self, Inspection, Progress, RunError, RunReport, RunRequest, Verification,
};
use crate::postgres::Target;
use crate::world::Migrations;

/// The migration engine.
#[derive(Clone, Copy, Debug, Default)]
pub struct LiveMigrations;

#[async_trait]
impl Migrations for LiveMigrations {
    async fn inspect(&self, of: Inspection<'_>) -> Result<LedgerState, RunError> {
        run::inspect(of).await
    }

    async fn apply(
        &self,
        run: RunRequest,
        progress: UnboundedSender<Progress>,
    ) -> Result<RunReport, RunError> {
        // whoever listened may have left; the run goes on
        run::apply(run, |step| drop(progress.send(step))).await
    }

    async fn verify(&self, run: &RunRequest, scratch: &Target) -> Result<Verification, RunError> {
        Box::pin(run::verify(run, scratch)).await
    }
}
