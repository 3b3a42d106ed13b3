//! Waking computes: for whom, with what, and when not.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::time::{Instant, sleep};

use super::Control;
use crate::{
    compute::{Awake, Compute, Launch, Replica},
    state::{
        model::{Branch, BranchState, Endpoint, EndpointKind, Project},
        operation::{Action, Work},
    },
};

/// How long a connection waits for a branch that is still being made.
const BRANCH_DEADLINE: Duration = Duration::from_secs(30);

/// What Neon says where the quota of a project is used up.
pub(crate) const QUOTA_EXCEEDED: &str = "Your account or project has exceeded the compute time quota. Upgrade your plan to increase limits.";

/// Why a connection did not get a compute.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WakeError {
    #[error("no such endpoint")]
    NotFound,
    #[error("the endpoint is disabled")]
    Disabled,
    #[error("the branch is not ready")]
    NotReady,
    #[error("active endpoints limit exceeded")]
    NoRoom,
    #[error("{QUOTA_EXCEEDED}")]
    Exhausted,
    #[error(transparent)]
    Failed(#[from] anyhow::Error),
}

impl Control {
    /// Gives a connection its endpoint's compute, awake. A branch that is still being made or
    /// restored is waited for, as Neon's proxy waits for running operations.
    pub(crate) async fn wake_for_connection(
        &self,
        endpoint_id: &str,
    ) -> Result<(Arc<Compute>, Awake), WakeError> {
        let deadline = Instant::now() + BRANCH_DEADLINE;
        let (project_id, endpoint, awake) = loop {
            let (project_id, endpoint) = self.find(endpoint_id).ok_or(WakeError::NotFound)?;
            if endpoint.disabled {
                return Err(WakeError::Disabled);
            }
            match self.wake(&project_id, &endpoint).await {
                Ok(awake) => break (project_id, endpoint, awake),
                Err(WakeError::NotReady) if Instant::now() < deadline => {
                    sleep(Duration::from_millis(20)).await;
                }
                Err(error) => return Err(error),
            }
        };
        let compute = self.compute(&endpoint.id);
        compute.touch(Timestamp::now());
        if awake.woken {
            self.note(
                &project_id,
                Action::StartCompute,
                &endpoint,
                Work::StartCompute,
            );
        }
        Ok((compute, awake))
    }

    /// Starts an endpoint's server if it does not run, and counts that. Its branch is then in no archive.
    pub(super) async fn wake(
        &self,
        project_id: &str,
        endpoint: &Endpoint,
    ) -> Result<Awake, WakeError> {
        let compute = self.compute(&endpoint.id);
        let awake = compute
            .wake(|running| self.launch(project_id, &endpoint.id, running))
            .await?;
        if awake.woken {
            self.recorder.at(&endpoint.id, |counts| counts.wakeups += 1);
            self.usage.begin(project_id, endpoint, Timestamp::now());
            self.in_project(project_id, |project, now| {
                project.unarchive(&endpoint.branch_id, now);
            });
            self.at_endpoint(project_id, &endpoint.id, |endpoint, now| {
                endpoint.started_at = Some(now);
            });
        }
        Ok(awake)
    }

    /// Whether the plan lets an endpoint's compute run beside those that do.
    pub(crate) fn has_room(&self, project: &Project, endpoint: &Endpoint) -> bool {
        let default = project.default_branch().map(|branch| branch.id.as_str());
        let counts = |one: &Endpoint| Some(one.branch_id.as_str()) != default;
        let others = project
            .endpoints
            .values()
            .filter(|one| one.id != endpoint.id && counts(one) && self.is_active(one));
        !counts(endpoint) || others.count() < project.limits.active_computes
    }

    /// With what an endpoint's server is started now. Not while its branch's data is being made.
    fn launch(
        &self,
        project_id: &str,
        endpoint_id: &str,
        running: bool,
    ) -> Result<Launch, WakeError> {
        self.store.read(|state| {
            let project = state.projects.get(project_id).ok_or(WakeError::NotFound)?;
            let endpoint = project.endpoints.get(endpoint_id);
            let endpoint = endpoint.ok_or(WakeError::NotFound)?;
            let branch = project.branches.get(&endpoint.branch_id);
            let branch = branch.ok_or(WakeError::NotFound)?;
            if !running && !self.has_room(project, endpoint) {
                return Err(WakeError::NoRoom);
            }
            if !running && self.usage.is_exhausted(project, Timestamp::now()) {
                return Err(WakeError::Exhausted);
            }
            match branch.state {
                BranchState::Ready | BranchState::Archived => {
                    Ok(self.launch_of(project, branch, endpoint))
                }
                BranchState::Init | BranchState::Resetting => Err(WakeError::NotReady),
            }
        })
    }

    fn launch_of(&self, project: &Project, branch: &Branch, endpoint: &Endpoint) -> Launch {
        let mut settings = endpoint.compute.pg_settings.clone();
        let replica = match endpoint.kind {
            EndpointKind::ReadWrite => None,
            EndpointKind::ReadOnly => {
                let primary = project.endpoint_of(&branch.id);
                // A standby refuses to have less than its primary of some things.
                let of_primary = primary.map(|it| it.compute.pg_settings.clone());
                for (name, value) in of_primary.into_iter().flatten() {
                    settings.entry(name).or_insert(value);
                }
                Some(Replica {
                    primary: primary.map(|primary| self.compute(&primary.id)),
                })
            }
        };
        Launch {
            timeline: branch.timeline.clone(),
            settings,
            replica,
        }
    }
}
