//! Takes snapshots and makes branches of them; takes those of schedules and removes those that have expired.

use std::{convert::Infallible, sync::Arc};

use anyhow::Context;
use jiff::Timestamp;
use tokio::time::sleep;

use super::{Control, catalog, timelines};
use crate::{
    postgres::sql,
    state::{model::Project, operation::Status, snapshot::Snapshot},
};

/// Looks for snapshots that are due or have expired until the emulator stops.
pub(super) async fn run(control: Arc<Control>) {
    let stopping = control.stopping.clone();
    let forever = async {
        loop {
            sleep(control.pace.poll).await;
            control.keep_schedules(Timestamp::now());
        }
    };
    stopping.run_until_cancelled(forever).await;
}

impl Control {
    fn keep_schedules(self: &Arc<Self>, now: Timestamp) {
        let due = |project: &Project| !project.is_locked() && project.has_snapshots_due(now);
        let due_in = self.store.read(|state| {
            let projects = state.projects.values().filter(|project| due(project));
            projects
                .map(|project| project.id.clone())
                .collect::<Vec<_>>()
        });
        for project_id in due_in {
            let operations = self.store.update(|state| {
                let project = state.projects.get_mut(&project_id);
                let Some(project) = project.filter(|project| due(project)) else {
                    return Ok(Vec::new());
                };
                let mut steps = project.add_scheduled(now);
                steps.extend(project.remove_expired_snapshots(now));
                Ok::<_, Infallible>(project.record(steps, Status::Scheduling, now))
            });
            self.run(
                project_id,
                operations.unwrap_or_else(|never| match never {}),
            );
        }
    }

    /// The data of a snapshot, with all of the history that leads to it.
    pub(super) async fn take_snapshot(&self, project: &str, id: &str) -> anyhow::Result<()> {
        let snapshot = self.snapshot(project, id)?;
        let kept = snapshot.branch.clone();
        let lineage = self.lineage(project, &kept.id);
        let catalog = if let Some(moment) = &snapshot.moment {
            let replayed = self
                .postgres
                .replay(&lineage, moment, id, |_, mut session| {
                    Box::pin(async move {
                        timelines::set_passwords(&mut session, &kept).await?;
                        let roles = sql::roles(&mut session).await?;
                        Ok((roles, sql::databases(&mut session).await?))
                    })
                });
            Some(replayed.await?)
        } else {
            let source = self.branch(project, &kept.id)?;
            self.copy_present(project, &source, id).await?;
            self.postgres.complete(&lineage, id).await?;
            None
        };
        let size = self.postgres.size(id).await?;
        self.in_project(project, |project, now| {
            if let Some(snapshot) = project.snapshots.get_mut(id) {
                snapshot.full_size = Some(size);
                if let Some((roles, databases)) = &catalog {
                    catalog::take(&mut snapshot.branch, roles, databases, now);
                }
            }
        });
        Ok(())
    }

    /// The data of a branch that is made of a snapshot. It needs the snapshot no more.
    pub(super) async fn restore_snapshot(
        &self,
        project: &str,
        branch_id: &str,
        snapshot_id: &str,
    ) -> anyhow::Result<()> {
        let timeline = self.branch(project, branch_id)?.timeline;
        let kept = self.snapshot(project, snapshot_id)?.id;
        let data = self.postgres.data(&kept);
        self.postgres.copy_resting(&data, &timeline).await?;
        self.postgres.complete(&[kept], &timeline).await?;
        self.branch_is_ready(project, branch_id, None);
        Ok(())
    }

    fn snapshot(&self, project: &str, id: &str) -> anyhow::Result<Snapshot> {
        let found = self
            .store
            .read(|state| state.projects.get(project)?.snapshots.get(id).cloned());
        found.context("the snapshot is gone")
    }
}
