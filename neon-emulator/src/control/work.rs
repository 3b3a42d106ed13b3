//! What each kind of operation does to real servers and data directories. Everything here may be
//! done again after a crash.

use std::{collections::BTreeMap, sync::Arc};

use anyhow::Context;
use futures::future::BoxFuture;
use sqlx::PgConnection;

use super::Control;
use crate::{
    postgres::{
        history::Moment,
        server::{MAINTENANCE_DB, Server, Socket, Stop},
        sql,
    },
    state::{
        model::{Branch, Endpoint},
        operation::{Operation, Work},
    },
};

impl Control {
    /// Does an operation's work.
    pub(super) async fn perform(
        self: &Arc<Self>,
        project: &str,
        operation: &Operation,
    ) -> anyhow::Result<()> {
        let branch = operation.branch_id.as_str();
        let endpoint = operation.endpoint_id.as_deref();
        match &operation.work {
            Work::InitTimeline => self.init_timeline(project, branch).await,
            Work::CopyTimeline {
                parent_id,
                moment,
                new_passwords,
            } => {
                self.copy_timeline(project, branch, parent_id, moment.as_ref(), *new_passwords)
                    .await
            }
            Work::CopySchema {
                source_id,
                new_passwords,
            } => {
                self.copy_schema(project, branch, source_id, *new_passwords)
                    .await
            }
            Work::ReplaceTimeline {
                source_id,
                moment,
                discard,
            } => {
                self.replace_timeline(
                    project,
                    branch,
                    source_id,
                    moment.as_ref(),
                    discard.as_deref(),
                )
                .await
            }
            Work::TakeSnapshot { snapshot_id } => self.take_snapshot(project, snapshot_id).await,
            Work::RestoreSnapshot { snapshot_id } => {
                self.restore_snapshot(project, branch, snapshot_id).await
            }
            Work::RemoveTimeline { timeline } => self.postgres.remove(timeline).await,
            Work::StartCompute => self.start_compute(project, endpoint).await,
            Work::SuspendCompute => self.suspend_compute(project, endpoint).await,
            Work::RestartCompute => {
                self.stop_for_restart(endpoint).await;
                self.start_compute(project, endpoint).await
            }
            Work::Nothing => Ok(()),
            Work::PutRole { name } => {
                let role = self
                    .branch(project, branch)?
                    .roles
                    .remove(name)
                    .context("role is gone")?;
                self.on_branch(project, branch, |_, mut session| {
                    Box::pin(async move {
                        sql::put_role(&mut session, &role.name, role.password.as_ref()).await?;
                        // Neon drops the connections of a compute whose roles it changes.
                        Ok(sql::end_sessions(&mut session).await?)
                    })
                })
                .await
            }
            Work::DropRole { name } => {
                let name = name.clone();
                self.on_branch(project, branch, |socket, mut session| {
                    Box::pin(async move { Ok(sql::drop_role(&socket, &mut session, &name).await?) })
                })
                .await
            }
            Work::PutDatabase { name } => {
                let databases = self.branch(project, branch)?.databases;
                let owner = databases
                    .get(name)
                    .context("database is gone")?
                    .owner
                    .clone();
                let name = name.clone();
                self.on_branch(project, branch, |_, mut session| {
                    Box::pin(
                        async move { Ok(sql::put_database(&mut session, &name, &owner).await?) },
                    )
                })
                .await
            }
            Work::RenameDatabase { from, to } => {
                let (from, to) = (from.clone(), to.clone());
                self.on_branch(project, branch, |_, mut session| {
                    Box::pin(
                        async move { Ok(sql::rename_database(&mut session, &from, &to).await?) },
                    )
                })
                .await
            }
            Work::DropDatabase { name } => {
                let name = name.clone();
                self.on_branch(project, branch, |_, mut session| {
                    Box::pin(async move { Ok(sql::drop_database(&mut session, &name).await?) })
                })
                .await
            }
        }
    }

    async fn replace_timeline(
        &self,
        project: &str,
        branch: &str,
        source_id: &str,
        moment: Option<&Moment>,
        discard: Option<&str>,
    ) -> anyhow::Result<()> {
        // Whoever was about to wake it has it running by now, and nobody can any more.
        for endpoint in self.endpoints_of(project, branch) {
            self.suspend_compute(project, Some(&endpoint.id)).await?;
        }
        self.copy_timeline(project, branch, source_id, moment, false)
            .await?;
        match discard {
            Some(timeline) => self.postgres.remove(timeline).await,
            None => Ok(()),
        }
    }

    async fn start_compute(&self, project: &str, endpoint_id: Option<&str>) -> anyhow::Result<()> {
        let endpoint_id = endpoint_id.context("no endpoint given")?;
        let (_, endpoint) = self.find(endpoint_id).context("the endpoint is gone")?;
        self.wake(project, &endpoint).await?;
        Ok(())
    }

    /// Works for endpoints that the state has already forgotten.
    async fn suspend_compute(
        &self,
        project: &str,
        endpoint_id: Option<&str>,
    ) -> anyhow::Result<()> {
        let endpoint_id = endpoint_id.context("no endpoint given")?;
        if self.compute(endpoint_id).suspend(Stop::Fast).await {
            self.suspended(project, endpoint_id);
        }
        if self.find(endpoint_id).is_none() {
            self.forget_compute(endpoint_id);
            // A read replica has data of its own.
            self.postgres.remove(endpoint_id).await?;
        }
        Ok(())
    }

    async fn stop_for_restart(&self, endpoint_id: Option<&str>) {
        if let Some(endpoint_id) = endpoint_id {
            self.compute(endpoint_id).suspend(Stop::Fast).await;
        }
    }

    /// Runs SQL on a branch. Its compute is woken for it; without an endpoint a private server
    /// does the work.
    pub(super) async fn on_branch<T>(
        &self,
        project: &str,
        branch_id: &str,
        run: impl FnOnce(Socket, PgConnection) -> BoxFuture<'static, anyhow::Result<T>>,
    ) -> anyhow::Result<T> {
        let Some(endpoint) = self.endpoint_of(project, branch_id) else {
            let timeline = self.branch(project, branch_id)?.timeline;
            return self.on_private_server(&timeline, run).await;
        };
        let awake = self.wake(project, &endpoint).await?;
        let session = awake.socket.connect(MAINTENANCE_DB).await?;
        run(awake.socket.clone(), session).await
    }

    /// Runs SQL on data that nobody else can reach meanwhile.
    pub(super) async fn on_private_server<T>(
        &self,
        timeline: &str,
        run: impl FnOnce(Socket, PgConnection) -> BoxFuture<'static, anyhow::Result<T>>,
    ) -> anyhow::Result<T> {
        let (data, socket_dir) = (
            self.postgres.data(timeline),
            self.postgres.socket_dir(timeline),
        );
        let (server, session) =
            Server::start(&self.postgres, &data, &socket_dir, &BTreeMap::new()).await?;
        let done = run(server.socket().clone(), session).await;
        server.stop(Stop::Fast).await;
        done
    }

    pub(super) fn branch(&self, project: &str, branch_id: &str) -> anyhow::Result<Branch> {
        let found = self.store.read(|state| {
            state
                .projects
                .get(project)?
                .branches
                .get(branch_id)
                .cloned()
        });
        found.context("the branch is gone")
    }

    fn endpoints_of(&self, project: &str, branch_id: &str) -> Vec<Endpoint> {
        self.store.read(|state| {
            let project = state.projects.get(project);
            let endpoints = project
                .into_iter()
                .flat_map(|it| it.endpoints_of(branch_id));
            endpoints.cloned().collect()
        })
    }

    pub(super) fn endpoint_of(&self, project: &str, branch_id: &str) -> Option<Endpoint> {
        self.store
            .read(|state| state.projects.get(project)?.endpoint_of(branch_id).cloned())
    }
}
