//! Operations: the work that a mutation leaves behind, done one after the other. Pure.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::postgres::history::Moment;

/// The action names of Neon's API that the emulator uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Action {
    CreateTimeline,
    CreateBranch,
    ApplySchemaFromBranch,
    StartCompute,
    SuspendCompute,
    ApplyConfig,
    DeleteTimeline,
}

impl Action {
    /// The action of this name, if it is one of the emulator's.
    pub(crate) fn named(name: &str) -> Option<Self> {
        serde_json::from_value(name.into()).ok()
    }
}

/// Where an operation stands, in Neon's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Status {
    Scheduling,
    Running,
    Finished,
    Failed,
    Cancelled,
    /// There was no need, or no room, for it.
    Skipped,
}

impl Status {
    /// Whether nothing more will happen.
    pub(crate) fn is_terminal(self) -> bool {
        match self {
            Self::Scheduling | Self::Running => false,
            Self::Finished | Self::Failed | Self::Cancelled | Self::Skipped => true,
        }
    }

    /// Whether it ended without its work.
    pub(crate) fn is_in_vain(self) -> bool {
        match self {
            Self::Failed | Self::Cancelled => true,
            Self::Scheduling | Self::Running | Self::Finished | Self::Skipped => false,
        }
    }
}

/// What an operation does. Each kind can be done twice without harm: after a crash the
/// unfinished ones start again. Passwords are read from the state, never kept here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum Work {
    /// A new project's first branch: fresh data directory, its roles and databases.
    InitTimeline,
    /// A copy of the parent's data directory, as it is or as it was; fresh passwords where the
    /// state holds new ones.
    CopyTimeline {
        parent_id: String,
        moment: Option<Moment>,
        new_passwords: bool,
    },
    /// A fresh data directory with the source's roles and schemas, and no rows.
    CopySchema {
        source_id: String,
        new_passwords: bool,
    },
    /// A branch's data replaced by a copy of the source's, as it is or as it was.
    ReplaceTimeline {
        source_id: String,
        moment: Option<Moment>,
        /// The data from before, where nobody keeps it.
        discard: Option<String>,
    },
    /// The data of a snapshot: a copy of a branch as it is, or as it was.
    TakeSnapshot {
        snapshot_id: String,
    },
    /// The data of a branch: a copy of a snapshot.
    RestoreSnapshot {
        snapshot_id: String,
    },
    /// Remove a data directory.
    RemoveTimeline {
        timeline: String,
    },
    StartCompute,
    SuspendCompute,
    /// Stop and start with the present settings; start where it was idle.
    RestartCompute,
    /// Settings of the control plane only; nothing to do on the compute.
    Nothing,
    /// Create the role, or give it the password that the state holds.
    PutRole {
        name: String,
    },
    DropRole {
        name: String,
    },
    /// Create the database, or give it the owner that the state holds.
    PutDatabase {
        name: String,
    },
    RenameDatabase {
        from: String,
        to: String,
    },
    DropDatabase {
        name: String,
    },
}

impl Work {
    /// Whether a branch waits for it to be ready.
    pub(crate) fn makes_data(&self) -> bool {
        match self {
            Self::InitTimeline
            | Self::CopyTimeline { .. }
            | Self::CopySchema { .. }
            | Self::ReplaceTimeline { .. }
            | Self::RestoreSnapshot { .. } => true,
            Self::RemoveTimeline { .. }
            | Self::TakeSnapshot { .. }
            | Self::StartCompute
            | Self::SuspendCompute
            | Self::RestartCompute
            | Self::Nothing
            | Self::PutRole { .. }
            | Self::DropRole { .. }
            | Self::PutDatabase { .. }
            | Self::RenameDatabase { .. }
            | Self::DropDatabase { .. } => false,
        }
    }
}

/// An operation that a mutation asks for.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    pub(crate) action: Action,
    pub(crate) branch_id: String,
    pub(crate) endpoint_id: Option<String>,
    pub(crate) work: Work,
}

/// An operation as it is kept and shown.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Operation {
    pub(crate) id: String,
    pub(crate) action: Action,
    pub(crate) status: Status,
    pub(crate) branch_id: String,
    pub(crate) endpoint_id: Option<String>,
    pub(crate) error: Option<String>,
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
    pub(crate) work: Work,
}

impl Operation {
    pub(crate) fn new(step: Step, status: Status, now: Timestamp) -> Self {
        Self {
            id: Uuid::new_v4().to_string(),
            action: step.action,
            status,
            branch_id: step.branch_id,
            endpoint_id: step.endpoint_id,
            error: None,
            created_at: now,
            updated_at: now,
            work: step.work,
        }
    }
}
