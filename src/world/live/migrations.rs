//! The port to the migration engine on a real PostgreSQL.

use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::mpsc::UnboundedSender;

use crate::engine::run::{self, Progress, RunError, RunReport, RunRequest};
use crate::engine::{LedgerName, LedgerState};
use crate::postgres::Target;
use crate::world::Migrations;

/// The migration engine.
#[derive(Clone, Copy, Debug, Default)]
pub struct LiveMigrations;

#[async_trait]
impl Migrations for LiveMigrations {
    async fn inspect(
        &self,
        at: &Target,
        ledger: &LedgerName,
        holder: &str,
        patience: Duration,
    ) -> Result<LedgerState, RunError> {
        run::inspect(at, ledger, holder, patience).await
    }

    async fn apply(
        &self,
        run: RunRequest,
        progress: UnboundedSender<Progress>,
    ) -> Result<RunReport, RunError> {
        // whoever listened may have left; the run goes on
        run::apply(run, |step| drop(progress.send(step))).await
    }
}
