//! Makes the data of branches: fresh, copied from another branch, or replayed from its history.

use sqlx::PgConnection;

use super::{Control, catalog};
use crate::{
    compute,
    postgres::{history::Moment, sql},
    state::model::{Branch, BranchState},
};

/// Roles and databases as a server has them.
type Catalog = (Vec<sql::RoleRow>, Vec<sql::DatabaseRow>);

impl Control {
    /// The data of a new project's first branch.
    pub(super) async fn init_timeline(&self, project: &str, branch_id: &str) -> anyhow::Result<()> {
        let branch = self.branch(project, branch_id)?;
        let timeline = branch.timeline.clone();
        self.postgres.init(&timeline).await?;
        self.on_private_server(&timeline, |_, mut session| {
            Box::pin(async move {
                for role in branch.roles.values() {
                    sql::put_role(&mut session, &role.name, role.password.as_ref()).await?;
                }
                for database in branch.databases.values() {
                    sql::put_database(&mut session, &database.name, &database.owner).await?;
                }
                Ok(())
            })
        })
        .await?;
        self.branch_is_ready(project, branch_id, None);
        Ok(())
    }

    /// The data of a branch, from that of another one as it is or as it was.
    pub(super) async fn copy_timeline(
        &self,
        project: &str,
        branch_id: &str,
        source_id: &str,
        moment: Option<&Moment>,
        new_passwords: bool,
    ) -> anyhow::Result<()> {
        let branch = self.branch(project, branch_id)?;
        let Some(moment) = moment else {
            let source = self.branch(project, source_id)?;
            self.copy_present(project, &source, &branch.timeline)
                .await?;
            if new_passwords {
                self.on_private_server(&branch.timeline.clone(), |_, mut session| {
                    Box::pin(async move { set_passwords(&mut session, &branch).await })
                })
                .await?;
            }
            self.branch_is_ready(project, branch_id, None);
            return Ok(());
        };
        let lineage = self.lineage(project, source_id);
        let timeline = branch.timeline.clone();
        let replayed = self
            .postgres
            .replay(&lineage, moment, &timeline, |_, mut session| {
                Box::pin(async move {
                    // The control plane's passwords hold for the past too.
                    set_passwords(&mut session, &branch).await?;
                    let roles = sql::roles(&mut session).await?;
                    Ok((roles, sql::databases(&mut session).await?))
                })
            });
        let catalog = replayed.await?;
        self.branch_is_ready(project, branch_id, Some(&catalog));
        Ok(())
    }

    /// Where the histories are that lead to a branch.
    pub(super) fn lineage(&self, project: &str, branch_id: &str) -> Vec<String> {
        self.store.read(|state| {
            let project = state.projects.get(project);
            project
                .map(|project| project.lineage(branch_id))
                .unwrap_or_default()
        })
    }

    /// A copy of a branch's data as it is.
    pub(super) async fn copy_present(
        &self,
        project: &str,
        source: &Branch,
        timeline: &str,
    ) -> anyhow::Result<()> {
        let endpoint = self.endpoint_of(project, &source.id);
        let compute = endpoint.map(|endpoint| self.compute(&endpoint.id));
        compute::copy(
            &self.postgres,
            compute.as_deref(),
            &source.timeline,
            timeline,
        )
        .await
    }

    pub(super) fn branch_is_ready(
        &self,
        project: &str,
        branch_id: &str,
        catalog: Option<&Catalog>,
    ) {
        self.in_project(project, |project, now| {
            if let Some(branch) = project.branches.get_mut(branch_id) {
                if let Some((roles, databases)) = catalog {
                    catalog::take(branch, roles, databases, now);
                }
                branch.state = branch.pending_state.take().unwrap_or(BranchState::Ready);
                branch.state_changed_at = now;
                branch.updated_at = now;
            }
        });
    }
}

/// Gives the branch's roles the passwords that the state holds, those that are there.
pub(super) async fn set_passwords(
    session: &mut PgConnection,
    branch: &Branch,
) -> anyhow::Result<()> {
    let there = sql::roles(session).await?;
    for role in branch.roles.values().filter(|role| role.password.is_some()) {
        if there.iter().any(|row| row.name == role.name) {
            sql::put_role(session, &role.name, role.password.as_ref()).await?;
        }
    }
    Ok(())
}
