//! The parts of Neon's answers that the operator reads, and the bodies it sends.
//!
//! Parsed leniently: unknown fields are ignored, every enumeration is open, what is not an identity is optional.

mod project;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use project::{
    AllowedIps, Identity, Project, ProjectOwner, ProjectSettings, Quota, UpdateProject,
    UpdatedProject,
};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// The id as Neon writes it.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<String> for $name {
            fn from(id: String) -> Self {
                Self(id)
            }
        }

        impl From<&str> for $name {
            fn from(id: &str) -> Self {
                Self(id.to_owned())
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id!(
    /// Identity of a project, such as `shiny-wind-12345678`.
    ProjectId
);
id!(
    /// Identity of a branch, `br-…`.
    BranchId
);
id!(
    /// Identity of an endpoint, `ep-…`.
    EndpointId
);
id!(
    /// Identity of an operation, a UUID.
    OperationId
);

macro_rules! open_enum {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(from = "String", into = "String")]
        pub enum $name {
            $($(#[$vdoc])* $variant,)+
            /// A word this version does not know.
            Other(String),
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                match text.as_str() {
                    $($text => Self::$variant,)+
                    _ => Self::Other(text),
                }
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> Self {
                match value {
                    $($name::$variant => $text.to_owned(),)+
                    $name::Other(text) => text,
                }
            }
        }
    };
}

open_enum!(
    /// `current_state` of a branch.
    BranchState {
        /// Being made.
        Init = "init",
        /// Being reset.
        Resetting = "resetting",
        /// Usable.
        Ready = "ready",
        /// Put away after days without use; the first connection brings it back.
        Archived = "archived",
    }
);
open_enum!(
    /// `current_state` of an endpoint.
    EndpointState {
        /// Being made.
        Init = "init",
        /// A compute is running.
        Active = "active",
        /// Scaled to zero; a connection wakes it.
        Idle = "idle",
    }
);
open_enum!(
    /// `type` of an endpoint.
    EndpointType {
        /// The one that writes; at most one per branch.
        ReadWrite = "read_write",
        /// A read replica.
        ReadOnly = "read_only",
    }
);
open_enum!(
    /// `auth_method`: what the caller has shown.
    AuthMethod {
        /// A person's API key.
        UserKey = "api_key_user",
        /// An organization's API key.
        OrganizationKey = "api_key_org",
    }
);
open_enum!(
    /// `status` of an operation.
    OperationStatus {
        /// Waiting to start.
        Scheduling = "scheduling",
        /// Under way.
        Running = "running",
        /// Done.
        Finished = "finished",
        /// Failed, to be tried again by Neon.
        Failed = "failed",
        /// Failed for good.
        Error = "error",
        /// Being cancelled.
        Cancelling = "cancelling",
        /// Cancelled.
        Cancelled = "cancelled",
        /// Not necessary.
        Skipped = "skipped",
    }
);

impl OperationStatus {
    /// Whether the operation has ended, well or not. An unknown word counts as still running.
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        match self {
            Self::Finished | Self::Skipped | Self::Failed | Self::Error | Self::Cancelled => true,
            Self::Scheduling | Self::Running | Self::Cancelling | Self::Other(_) => false,
        }
    }

    /// Whether the operation has ended without doing its work.
    #[must_use]
    pub fn is_failure(&self) -> bool {
        matches!(self, Self::Failed | Self::Error | Self::Cancelled)
    }

    /// Whether somebody has ended the operation before it was done.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        matches!(self, Self::Cancelled)
    }
}

/// A branch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Branch {
    /// Identity.
    pub id: BranchId,
    /// Name, unique among the live branches of a project.
    pub name: String,
    /// The branch it was forked from; none for a root branch.
    #[serde(default)]
    pub parent_id: Option<BranchId>,
    /// What it is doing.
    pub current_state: BranchState,
    /// What it is about to become.
    #[serde(default)]
    pub pending_state: Option<BranchState>,
    /// Whether it is the project's default branch.
    #[serde(default)]
    pub default: bool,
    /// Whether Neon refuses to delete or reset it.
    #[serde(default)]
    pub protected: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last reset or restored.
    #[serde(default)]
    pub last_reset_at: Option<Timestamp>,
    /// When Neon deletes it by itself.
    #[serde(default)]
    pub expires_at: Option<Timestamp>,
    /// Marks written at creation; the list answers them beside the branches.
    #[serde(skip)]
    pub annotations: BTreeMap<String, String>,
}

impl Branch {
    /// Whether what is in it is not there yet, so that nobody can use it.
    #[must_use]
    pub fn is_unusable(&self) -> bool {
        matches!(
            self.current_state,
            BranchState::Init | BranchState::Resetting
        )
    }

    /// Whether Neon was to bring it into being, or back to another state, and is no longer at it: that operation failed or was
    /// cancelled.
    #[must_use]
    pub fn was_given_up(&self) -> bool {
        self.is_unusable() && self.pending_state.is_none()
    }
}

/// An endpoint: the compute of a branch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Endpoint {
    /// Identity.
    pub id: EndpointId,
    /// The branch it serves.
    pub branch_id: BranchId,
    /// Host name of the direct connection.
    pub host: String,
    /// Whether it writes.
    #[serde(rename = "type")]
    pub endpoint_type: EndpointType,
    /// What it is doing.
    pub current_state: EndpointState,
    /// What it is about to become.
    #[serde(default)]
    pub pending_state: Option<EndpointState>,
    /// Smallest compute size, in CU.
    #[serde(default)]
    pub autoscaling_limit_min_cu: f64,
    /// Largest compute size, in CU.
    #[serde(default)]
    pub autoscaling_limit_max_cu: f64,
    /// Seconds of idleness before it is suspended; 0 is Neon's default, −1 never.
    #[serde(default)]
    pub suspend_timeout_seconds: i64,
    /// What its servers are configured with.
    #[serde(default)]
    pub settings: Option<EndpointSettings>,
    /// What whoever made it calls it.
    #[serde(default)]
    pub name: Option<String>,
}

/// What the servers of an endpoint are configured with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointSettings {
    /// Settings of PostgreSQL, beside Neon's own.
    #[serde(default)]
    pub pg_settings: Option<BTreeMap<String, Value>>,
}

impl Endpoint {
    /// Settings of PostgreSQL, beside Neon's own.
    #[must_use]
    pub fn pg_settings(&self) -> BTreeMap<String, String> {
        let settings = self.settings.iter();
        let settings = settings.flat_map(|settings| settings.pg_settings.iter().flatten());
        let text = |value: &Value| match value {
            Value::String(text) => text.clone(),
            other @ (Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::Array(_)
            | Value::Object(_)) => other.to_string(),
        };
        settings
            .map(|(name, value)| (name.clone(), text(value)))
            .collect()
    }
}

impl Endpoint {
    /// Whether Neon is at work on its first start. One that never started and that nobody is starting any more, because
    /// that start failed or was not due, is woken by the first connection like one that sleeps.
    #[must_use]
    pub fn is_being_made(&self) -> bool {
        self.current_state == EndpointState::Init && self.pending_state.is_some()
    }
}

/// A role of a branch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Role {
    /// Name.
    pub name: String,
    /// Whether it is Neon's own.
    #[serde(default)]
    pub protected: Option<bool>,
    /// When it was last changed, a password reset included.
    #[serde(default)]
    pub updated_at: Option<Timestamp>,
}

/// A database of a branch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Database {
    /// Name.
    pub name: String,
    /// The role that owns it.
    pub owner_name: String,
}

/// A piece of work that Neon does after answering.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// Identity.
    pub id: OperationId,
    /// What is done, such as `create_branch`.
    #[serde(default)]
    pub action: String,
    /// How far it is.
    pub status: OperationStatus,
    /// Neon's words, where it failed.
    #[serde(default)]
    pub error: Option<String>,
    /// How long it has taken, by Neon's own clock.
    #[serde(default)]
    pub total_duration_ms: Option<i64>,
}

/// Body of a branch creation.
#[derive(Clone, Debug, PartialEq)]
pub struct CreateBranch {
    /// Name.
    pub name: String,
    /// The branch to fork from.
    pub parent_id: BranchId,
    /// As it was then; none for as it is.
    pub at: Option<Moment>,
    /// Whether Neon refuses to delete or reset it.
    pub protected: bool,
    /// When Neon deletes it by itself.
    pub expires_at: Option<Timestamp>,
    /// Marks that the list answers again.
    pub annotations: BTreeMap<String, String>,
    /// Its read-write endpoint.
    pub endpoint: NewEndpoint,
}

/// A moment of a branch's past.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Moment {
    /// By the clock.
    Time(Timestamp),
    /// By the position in the write-ahead log, such as `0/1A2B3C8`.
    Lsn(String),
}

/// Compute of an endpoint to be made.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NewEndpoint {
    /// Smallest and largest compute size, in CU; none for Neon's default.
    pub compute_units: Option<(f64, f64)>,
    /// Seconds of idleness before it is suspended; 0 is Neon's default, −1 never; none to leave it out.
    pub suspend_timeout_seconds: Option<i64>,
    /// Settings of PostgreSQL.
    pub pg_settings: BTreeMap<String, String>,
}

/// Body of an endpoint creation.
#[derive(Clone, Debug, PartialEq)]
pub struct CreateEndpoint {
    /// The branch to serve.
    pub branch_id: BranchId,
    /// What to call it, where it is a read replica; none for the one that writes.
    pub replica: Option<String>,
    /// Its compute.
    pub compute: NewEndpoint,
}

/// What a branch creation answers.
#[derive(Clone, Debug, PartialEq)]
pub struct CreatedBranch {
    /// The branch.
    pub branch: Branch,
    /// Its endpoint as Neon has stored it; none where the answer does not tell.
    pub endpoint: Option<Endpoint>,
    /// Work still to be done.
    pub operations: Vec<Operation>,
}

/// What a creation or change of an endpoint answers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ChangedEndpoint {
    /// The endpoint as Neon has stored it; none where the answer does not tell.
    pub endpoint: Option<Endpoint>,
    /// Work still to be done.
    pub operations: Vec<Operation>,
}

/// Change of a branch; what is `None` stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UpdateBranch {
    /// New name.
    pub name: Option<String>,
    /// New protection.
    pub protected: Option<bool>,
    /// New expiry; `Some(None)` removes it.
    pub expires_at: Option<Option<Timestamp>>,
}

/// Change of an endpoint; what is `None` stays.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct UpdateEndpoint {
    /// New smallest and largest compute size, in CU.
    pub compute_units: Option<(f64, f64)>,
    /// New seconds of idleness before it is suspended.
    pub suspend_timeout_seconds: Option<i64>,
    /// All settings of PostgreSQL that it is to have from now on.
    pub pg_settings: Option<BTreeMap<String, String>>,
}
