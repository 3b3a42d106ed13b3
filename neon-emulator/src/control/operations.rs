//! Runs operations: one after the other, each taking its time, in the order in which a mutation
//! asked for them. While one of a project is unfinished the API answers its mutations 423.

use std::sync::Arc;

use jiff::Timestamp;
use tokio::time::sleep;

use super::{Control, WakeError};
use crate::state::operation::{Action, Operation, Status};

/// Whether the plan's limit of computes, or the project's quota, stood in the way.
fn no_room(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref();
    matches!(error, Some(WakeError::NoRoom | WakeError::Exhausted))
}

impl Control {
    /// Runs operations of a project in the background.
    pub(crate) fn run(self: &Arc<Self>, project_id: String, operations: Vec<String>) {
        if operations.is_empty() {
            return;
        }
        let control = Arc::clone(self);
        tokio::spawn(async move {
            let stopping = control.stopping.clone();
            // What is cut off here is done again, from its start, by the next run.
            stopping
                .run_until_cancelled(control.run_all(&project_id, operations))
                .await;
        });
    }

    async fn run_all(self: &Arc<Self>, project_id: &str, operations: Vec<String>) {
        let mut failed = false;
        for id in operations {
            if failed {
                self.settle(project_id, &id, Status::Cancelled, None);
                continue;
            }
            let Some(operation) = self.operation(project_id, &id) else {
                return;
            };
            sleep(self.pace.operation / 2).await;
            self.settle(project_id, &id, Status::Running, None);
            sleep(self.pace.operation / 2).await;
            let done = if self.faults.pass_operation(operation.action).await {
                self.perform(project_id, &operation).await
            } else {
                Err(anyhow::anyhow!("a fault was set for this operation"))
            };
            match done {
                Ok(()) => self.settle(project_id, &id, Status::Finished, None),
                Err(error) if no_room(&error) && operation.action == Action::StartCompute => {
                    // The compute stays asleep, and the branch is made nevertheless.
                    self.settle(project_id, &id, Status::Skipped, None);
                }
                Err(error) => {
                    failed = true;
                    let error = format!("{error:#}");
                    tracing::error!(project = project_id, action = ?operation.action, error, "operation failed");
                    self.settle(project_id, &id, Status::Failed, Some(error));
                }
            }
        }
    }

    fn operation(&self, project_id: &str, id: &str) -> Option<Operation> {
        self.store.read(|state| {
            let project = state.projects.get(project_id)?;
            project
                .operations
                .iter()
                .find(|operation| operation.id == id)
                .cloned()
        })
    }

    fn settle(&self, project_id: &str, id: &str, status: Status, error: Option<String>) {
        self.in_project(project_id, |project, now: Timestamp| {
            project.settle(id, status, error, now);
        });
    }
}
