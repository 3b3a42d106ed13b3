//! What each kind of operation does to real servers and data directories. Everything here may be
//! done again after a crash.

use std::{collections::BTreeMap, sync::Arc};

use anyhow::Context;
use futures::future::BoxFuture;
use sqlx::PgConnection;

use super::Control;
use crate::{
    compute::Source,
    postgres::{
        server::{MAINTENANCE_DB, Server, Socket, Stop},
        sql,
    },
    state::{
        model::{Branch, BranchState, Endpoint},
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
                new_passwords,
            } => {
                self.copy_timeline(project, parent_id, branch, *new_passwords)
                    .await
            }
            Work::RemoveTimeline => self.postgres.remove(branch).await,
            Work::StartCompute => self.start_compute(project, endpoint).await,
            Work::SuspendCompute => self.suspend_compute(project, branch, endpoint).await,
            Work::RestartCompute => {
                self.stop_for_restart(branch, endpoint).await;
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
                        Ok(sql::put_role(&mut session, &role.name, role.password.as_ref()).await?)
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

    async fn init_timeline(&self, project: &str, branch_id: &str) -> anyhow::Result<()> {
        self.postgres.init(branch_id).await?;
        let branch = self.branch(project, branch_id)?;
        self.on_private_server(branch_id, |_, mut session| {
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
        self.branch_is_ready(project, branch_id);
        Ok(())
    }

    async fn copy_timeline(
        &self,
        project: &str,
        parent_id: &str,
        branch_id: &str,
        new_passwords: bool,
    ) -> anyhow::Result<()> {
        let from = self.postgres.data(parent_id);
        match self.endpoint_of(project, parent_id) {
            Some(endpoint) => match self.compute(&endpoint.id, parent_id).hold().await {
                Source::Running(awake) => {
                    self.postgres
                        .copy_running(&from, &awake.socket, branch_id)
                        .await?;
                }
                Source::Resting(_held) => self.postgres.copy_resting(&from, branch_id).await?,
            },
            None => self.postgres.copy_resting(&from, branch_id).await?,
        }
        if new_passwords {
            let branch = self.branch(project, branch_id)?;
            self.on_private_server(branch_id, |_, mut session| {
                Box::pin(async move {
                    for role in branch.roles.values().filter(|role| role.password.is_some()) {
                        sql::put_role(&mut session, &role.name, role.password.as_ref()).await?;
                    }
                    Ok(())
                })
            })
            .await?;
        }
        self.branch_is_ready(project, branch_id);
        Ok(())
    }

    async fn start_compute(&self, project: &str, endpoint_id: Option<&str>) -> anyhow::Result<()> {
        let endpoint_id = endpoint_id.context("no endpoint given")?;
        let (_, endpoint, _) = self.find(endpoint_id).context("the endpoint is gone")?;
        self.wake(project, &endpoint).await.map(drop)
    }

    /// Works for endpoints that the state has already forgotten.
    async fn suspend_compute(
        &self,
        project: &str,
        branch: &str,
        endpoint_id: Option<&str>,
    ) -> anyhow::Result<()> {
        let endpoint_id = endpoint_id.context("no endpoint given")?;
        if self.compute(endpoint_id, branch).suspend(Stop::Fast).await {
            self.suspended(project, endpoint_id);
        }
        if self.find(endpoint_id).is_none() {
            self.forget_compute(endpoint_id);
        }
        Ok(())
    }

    async fn stop_for_restart(&self, branch: &str, endpoint_id: Option<&str>) {
        if let Some(endpoint_id) = endpoint_id {
            self.compute(endpoint_id, branch).suspend(Stop::Fast).await;
        }
    }

    /// Runs SQL on a branch. Its compute is woken for it; without an endpoint a private server
    /// does the work.
    async fn on_branch(
        &self,
        project: &str,
        branch_id: &str,
        run: impl FnOnce(Socket, PgConnection) -> BoxFuture<'static, anyhow::Result<()>>,
    ) -> anyhow::Result<()> {
        let Some(endpoint) = self.endpoint_of(project, branch_id) else {
            return self.on_private_server(branch_id, run).await;
        };
        let awake = self.wake(project, &endpoint).await?;
        let session = awake.socket.connect(MAINTENANCE_DB).await?;
        run(awake.socket.clone(), session).await
    }

    /// Runs SQL on a branch that nobody else can reach meanwhile.
    async fn on_private_server(
        &self,
        branch_id: &str,
        run: impl FnOnce(Socket, PgConnection) -> BoxFuture<'static, anyhow::Result<()>>,
    ) -> anyhow::Result<()> {
        let (data, socket_dir) = (
            self.postgres.data(branch_id),
            self.postgres.socket_dir(branch_id),
        );
        let (server, session) =
            Server::start(&self.postgres, &data, &socket_dir, &BTreeMap::new()).await?;
        let done = run(server.socket().clone(), session).await;
        server.stop(Stop::Fast).await;
        done
    }

    fn branch(&self, project: &str, branch_id: &str) -> anyhow::Result<Branch> {
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

    fn endpoint_of(&self, project: &str, branch_id: &str) -> Option<Endpoint> {
        self.store
            .read(|state| state.projects.get(project)?.endpoint_of(branch_id).cloned())
    }

    fn branch_is_ready(&self, project: &str, branch_id: &str) {
        self.in_project(project, |project, now| {
            if let Some(branch) = project.branches.get_mut(branch_id) {
                branch.state = BranchState::Ready;
                branch.state_changed_at = now;
                branch.updated_at = now;
            }
        });
    }
}
