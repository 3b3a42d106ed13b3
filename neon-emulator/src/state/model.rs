//! What the control plane knows: projects with their branches, endpoints, roles, databases and
//! operations. Pure data and questions about it; changed only through [`super::Store`].

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    access::{ApiKey, Organization},
    operation::{Action, Operation, Status, Step, Work},
    snapshot::{Restored, Schedule, Snapshot},
};
use crate::{limits::Limits, names, postgres::history::Moment, secret::Secret};

/// Finished operations kept for each project (Neon keeps about six months of them).
const OPERATIONS_KEPT: usize = 500;

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct State {
    pub(crate) projects: BTreeMap<String, Project>,
    pub(crate) organizations: BTreeMap<String, Organization>,
    /// In the order in which they were made.
    pub(crate) keys: Vec<ApiKey>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Project {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) region_id: String,
    pub(crate) org_id: Option<String>,
    pub(crate) store_passwords: bool,
    pub(crate) history_retention_seconds: i64,
    /// Stored and shown as given; of them the quotas of time have an effect.
    pub(crate) settings: Map<String, Value>,
    pub(crate) endpoint_defaults: ComputeSettings,
    pub(crate) limits: Limits,
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
    pub(crate) branches: BTreeMap<String, Branch>,
    pub(crate) endpoints: BTreeMap<String, Endpoint>,
    pub(crate) snapshots: BTreeMap<String, Snapshot>,
    /// Oldest first.
    pub(crate) operations: Vec<Operation>,
}

/// The size, patience and PostgreSQL settings of a compute.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ComputeSettings {
    pub(crate) min_cu: f64,
    pub(crate) max_cu: f64,
    /// Neon's encoding: −1 never, 0 the platform's default of 300 s, else seconds.
    pub(crate) suspend_timeout_seconds: i64,
    pub(crate) pg_settings: BTreeMap<String, String>,
}

impl Default for ComputeSettings {
    fn default() -> Self {
        Self {
            min_cu: 0.25,
            max_cu: 0.25,
            suspend_timeout_seconds: 0,
            pg_settings: BTreeMap::new(),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum BranchState {
    Init,
    /// Its data is being replaced.
    Resetting,
    Ready,
    /// Put away until a compute of it, or of a branch that comes from it, wakes.
    Archived,
}

impl BranchState {
    /// Whether there is data that can be read and copied.
    pub(crate) fn has_data(self) -> bool {
        match self {
            Self::Ready | Self::Archived => true,
            Self::Init | Self::Resetting => false,
        }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Branch {
    pub(crate) id: String,
    pub(crate) name: String,
    /// Where its data is. A restore gives the branch another one.
    pub(crate) timeline: String,
    pub(crate) parent_id: Option<String>,
    /// Made with the schema of another branch, which is not its parent: it has none.
    pub(crate) schema_only: bool,
    /// The point of the parent's history from which it was made, if one was asked for.
    pub(crate) parent_moment: Option<Moment>,
    pub(crate) state: BranchState,
    /// What is on its way; nothing where the operation that was to bring it has failed.
    pub(crate) pending_state: Option<BranchState>,
    pub(crate) state_changed_at: Timestamp,
    pub(crate) default: bool,
    pub(crate) protected: bool,
    pub(crate) expires_at: Option<Timestamp>,
    /// The distance between setting `expires_at` and its value.
    pub(crate) ttl_interval_seconds: Option<i64>,
    pub(crate) annotations: BTreeMap<String, String>,
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
    pub(crate) last_reset: Option<Reset>,
    /// The snapshot that it was made of.
    pub(crate) restored: Option<Restored>,
    pub(crate) schedule: Schedule,
    pub(crate) roles: BTreeMap<String, Role>,
    pub(crate) databases: BTreeMap<String, Database>,
}

/// The last time that a branch's data was replaced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reset {
    pub(crate) at: Timestamp,
    /// The branch whose data it got.
    pub(crate) source_id: String,
    /// The branch that holds the data from before.
    pub(crate) preserved_as: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Role {
    pub(crate) name: String,
    /// None: created by SQL, or a role that cannot log in.
    pub(crate) password: Option<Secret>,
    pub(crate) can_login: bool,
    /// Created through the API, not by SQL.
    pub(crate) from_api: bool,
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Database {
    pub(crate) id: u32,
    pub(crate) name: String,
    pub(crate) owner: String,
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
}

/// What may be done at an endpoint, in Neon's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum EndpointKind {
    ReadWrite,
    /// A read replica.
    ReadOnly,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Endpoint {
    pub(crate) id: String,
    pub(crate) branch_id: String,
    pub(crate) kind: EndpointKind,
    pub(crate) name: Option<String>,
    pub(crate) compute: ComputeSettings,
    pub(crate) disabled: bool,
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
    pub(crate) started_at: Option<Timestamp>,
    pub(crate) suspended_at: Option<Timestamp>,
}

impl Project {
    /// Whether operations are running, which locks the project against mutations.
    pub(crate) fn is_locked(&self) -> bool {
        self.operations
            .iter()
            .any(|operation| !operation.status.is_terminal())
    }

    /// The branch that is meant where none is named.
    pub(crate) fn default_branch(&self) -> Option<&Branch> {
        self.branches.values().find(|branch| branch.default)
    }

    pub(crate) fn children(&self, branch_id: &str) -> impl Iterator<Item = &Branch> {
        self.branches
            .values()
            .filter(move |branch| branch.parent_id.as_deref() == Some(branch_id))
    }

    /// The one read-write endpoint that a branch may have.
    pub(crate) fn endpoint_of(&self, branch_id: &str) -> Option<&Endpoint> {
        self.endpoints_of(branch_id)
            .find(|endpoint| endpoint.kind == EndpointKind::ReadWrite)
    }

    /// All endpoints of a branch, read replicas included.
    pub(crate) fn endpoints_of(&self, branch_id: &str) -> impl Iterator<Item = &Endpoint> {
        self.endpoints
            .values()
            .filter(move |endpoint| endpoint.branch_id == branch_id)
    }

    /// Where the histories of a branch and of those before it are, the oldest first.
    pub(crate) fn lineage(&self, branch_id: &str) -> Vec<String> {
        let mut timelines = Vec::new();
        let mut next = self.branches.get(branch_id);
        while let Some(branch) = next {
            timelines.push(branch.timeline.clone());
            next = branch
                .parent_id
                .as_ref()
                .and_then(|parent| self.branches.get(parent));
        }
        timelines.reverse();
        timelines
    }

    pub(crate) fn named(&self, branch_name: &str) -> Option<&Branch> {
        self.branches
            .values()
            .find(|branch| branch.name == branch_name)
    }

    /// Takes a branch out of the archive, with those that it comes from.
    pub(crate) fn unarchive(&mut self, branch_id: &str, now: Timestamp) {
        let mut next = Some(branch_id.to_owned());
        while let Some(id) = next.take()
            && let Some(branch) = self.branches.get_mut(&id)
        {
            if branch.state == BranchState::Archived {
                branch.state = BranchState::Ready;
                branch.state_changed_at = now;
                branch.updated_at = now;
            }
            next.clone_from(&branch.parent_id);
        }
    }

    /// Takes a branch and its endpoints out and returns what is left to do about them.
    pub(crate) fn remove_branch(&mut self, branch_id: &str) -> Vec<Step> {
        let step = |action, endpoint_id, work| Step {
            action,
            branch_id: branch_id.to_owned(),
            endpoint_id,
            work,
        };
        let mut steps = Vec::new();
        let endpoints: Vec<String> = self
            .endpoints_of(branch_id)
            .map(|endpoint| endpoint.id.clone())
            .collect();
        for id in endpoints {
            self.endpoints.remove(&id);
            steps.push(step(Action::SuspendCompute, Some(id), Work::SuspendCompute));
        }
        if let Some(branch) = self.branches.remove(branch_id) {
            let work = Work::RemoveTimeline {
                timeline: branch.timeline,
            };
            steps.push(step(Action::DeleteTimeline, None, work));
        }
        steps
    }

    /// Appends operations in the given status and returns their ids. Forgets the oldest
    /// finished ones.
    pub(crate) fn record(
        &mut self,
        steps: Vec<Step>,
        status: Status,
        now: Timestamp,
    ) -> Vec<String> {
        let added: Vec<_> = steps
            .into_iter()
            .map(|step| Operation::new(step, status, now))
            .collect();
        let ids = added.iter().map(|operation| operation.id.clone()).collect();
        self.operations.extend(added);
        let surplus = self.operations.len().saturating_sub(OPERATIONS_KEPT);
        let settled = self
            .operations
            .iter()
            .take_while(|operation| operation.status.is_terminal())
            .count();
        self.operations.drain(..surplus.min(settled));
        ids
    }

    /// Sets an operation's status and its error. A branch whose data will not be made by it stays as it is, and
    /// nothing is on its way any more; a snapshot that will not be taken is there no more.
    pub(crate) fn settle(
        &mut self,
        id: &str,
        status: Status,
        error: Option<String>,
        now: Timestamp,
    ) {
        let Some(operation) = self
            .operations
            .iter_mut()
            .find(|operation| operation.id == id)
        else {
            return;
        };
        operation.status = status;
        operation.error = error;
        operation.updated_at = now;
        if status.is_in_vain()
            && operation.work.makes_data()
            && let Some(branch) = self.branches.get_mut(&operation.branch_id)
        {
            branch.pending_state = None;
            branch.updated_at = now;
        }
        if status.is_in_vain()
            && let Work::TakeSnapshot { snapshot_id } = &operation.work
        {
            self.snapshots.remove(snapshot_id);
        }
    }
}

impl Database {
    pub(crate) fn new(name: &str, owner: &str, now: Timestamp) -> Self {
        Self {
            id: rand::random_range(100_000..1_000_000_000),
            name: name.to_owned(),
            owner: owner.to_owned(),
            created_at: now,
            updated_at: now,
        }
    }
}

impl Role {
    /// A role made through the API; one that may log in gets a password.
    pub(crate) fn new(name: &str, can_login: bool, now: Timestamp) -> Self {
        Self {
            name: name.to_owned(),
            password: can_login.then(names::password),
            can_login,
            from_api: true,
            created_at: now,
            updated_at: now,
        }
    }
}

impl Endpoint {
    pub(crate) fn new(
        branch_id: &str,
        kind: EndpointKind,
        compute: ComputeSettings,
        now: Timestamp,
    ) -> Self {
        Self {
            id: names::endpoint_id(),
            branch_id: branch_id.to_owned(),
            kind,
            name: None,
            compute,
            disabled: false,
            created_at: now,
            updated_at: now,
            started_at: None,
            suspended_at: None,
        }
    }

    /// An operation on this endpoint.
    pub(crate) fn step(&self, action: Action, work: Work) -> Step {
        Step {
            action,
            branch_id: self.branch_id.clone(),
            endpoint_id: Some(self.id.clone()),
            work,
        }
    }
}
