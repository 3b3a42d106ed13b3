//! Reads schemas with pg_dump.

use std::sync::Arc;

use super::Control;
use crate::{names, postgres::history::Moment};

impl Control {
    /// The schema of a database as SQL, now or at a moment. For the present the branch's compute
    /// is woken; the past is replayed apart, and forgotten.
    pub(crate) async fn dump_schema(
        &self,
        project: &str,
        branch_id: &str,
        moment: Option<&Moment>,
        database: &str,
    ) -> anyhow::Result<String> {
        let (postgres, database) = (Arc::clone(&self.postgres), database.to_owned());
        let Some(moment) = moment else {
            return self
                .on_branch(project, branch_id, |socket, _| {
                    Box::pin(async move { postgres.dump_schema(&socket, &database).await })
                })
                .await;
        };
        let lineage = self.lineage(project, branch_id);
        let passing = names::timeline_id();
        let dumped = self
            .postgres
            .replay(&lineage, moment, &passing, |socket, _| {
                Box::pin(async move { postgres.dump_schema(&socket, &database).await })
            })
            .await;
        self.postgres.remove(&passing).await?;
        dumped
    }
}
