//! Deletes branches whose `expires_at` has passed, as an ordinary operation of their project.

use std::{convert::Infallible, sync::Arc};

use jiff::Timestamp;
use tokio::time::sleep;

use super::Control;
use crate::state::{
    model::{Branch, Project},
    operation::Status,
};

/// Looks for expired branches until the emulator stops.
pub(super) async fn run(control: Arc<Control>) {
    let stopping = control.stopping.clone();
    let forever = async {
        loop {
            sleep(control.pace.poll).await;
            control.delete_expired();
        }
    };
    stopping.run_until_cancelled(forever).await;
}

impl Control {
    fn delete_expired(self: &Arc<Self>) {
        let now = Timestamp::now();
        let due = self.store.read(|state| {
            let due = |project: &&Project| !project.is_locked() && expired(project, now).is_some();
            state
                .projects
                .values()
                .filter(due)
                .map(|project| project.id.clone())
                .collect::<Vec<_>>()
        });
        for project_id in due {
            let operations = self.store.update(|state| {
                let Some(project) = state.projects.get_mut(&project_id) else {
                    return Ok(Vec::new());
                };
                let branch = expired(project, now).filter(|_| !project.is_locked());
                let Some(id) = branch.map(|branch| branch.id.clone()) else {
                    return Ok(Vec::new());
                };
                let steps = project.remove_branch(&id);
                Ok::<_, Infallible>(project.record(steps, Status::Scheduling, now))
            });
            let operations = operations.unwrap_or_else(|never| match never {});
            self.run(project_id, operations);
        }
    }
}

/// A branch that may be deleted now. What a branch with an expiry time may not be is checked
/// again, because it may have become it since.
fn expired(project: &Project, now: Timestamp) -> Option<&Branch> {
    project.branches.values().find(|branch| {
        branch.expires_at.is_some_and(|expiry| expiry <= now)
            && !branch.default
            && !branch.protected
            && project.children(&branch.id).next().is_none()
    })
}
