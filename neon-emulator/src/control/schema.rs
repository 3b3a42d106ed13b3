//! Reads schemas with pg_dump, and makes branches from them.

use std::sync::Arc;

use super::{Control, timelines};
use crate::{
    names,
    postgres::{dump::Mistakes, history::Moment, server::MAINTENANCE_DB, sql},
};

impl Control {
    /// The data of a branch that gets the roles and schemas of another one, and no rows.
    pub(super) async fn copy_schema(
        self: &Arc<Self>,
        project: &str,
        branch_id: &str,
        source_id: &str,
        new_passwords: bool,
    ) -> anyhow::Result<()> {
        let branch = self.branch(project, branch_id)?;
        let (postgres, source) = (Arc::clone(&self.postgres), branch.clone());
        let (roles, schemas) = self
            .on_branch(project, source_id, |socket, _| {
                Box::pin(async move {
                    let roles = postgres.dump_roles(&socket, new_passwords).await?;
                    let mut schemas = Vec::new();
                    for database in source.databases.into_values() {
                        let schema = postgres.dump_schema(&socket, &database.name).await?;
                        schemas.push((database, schema));
                    }
                    Ok((roles, schemas))
                })
            })
            .await?;
        let timeline = branch.timeline.clone();
        self.postgres.init(&timeline).await?;
        let postgres = Arc::clone(&self.postgres);
        self.on_private_server(&timeline, |socket, mut session| {
            Box::pin(async move {
                // Those of the template are there already.
                postgres
                    .run_script(&socket, MAINTENANCE_DB, roles, Mistakes::Pass)
                    .await?;
                timelines::set_passwords(&mut session, &branch).await?;
                for (database, schema) in schemas {
                    sql::put_database(&mut session, &database.name, &database.owner).await?;
                    postgres
                        .run_script(&socket, &database.name, schema, Mistakes::Stop)
                        .await?;
                }
                Ok(())
            })
        })
        .await?;
        self.branch_is_ready(project, branch_id, None);
        Ok(())
    }

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
