//! What the operator reads and changes of a project itself, and whose a key is.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{AuthMethod, Operation, ProjectId};

/// A project.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Project {
    /// Identity.
    pub id: ProjectId,
    /// Display name.
    #[serde(default)]
    pub name: String,
    /// Whether Neon keeps passwords, without which none can be revealed.
    #[serde(default)]
    pub store_passwords: Option<bool>,
    /// How far back branches can be restored, in seconds.
    #[serde(default)]
    pub history_retention_seconds: Option<i64>,
    /// Settings, as far as any were made. Read in part, so never written as a part of this.
    #[serde(default, skip_serializing)]
    pub settings: Option<ProjectSettings>,
    /// Whose it is. Read in part, so never written as a part of this.
    #[serde(default, skip_serializing)]
    pub owner: Option<ProjectOwner>,
}

/// Settings of a project that the operator manages.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProjectSettings {
    /// What the project may use up in a billing period.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota: Option<Quota>,
    /// Addresses from which computes can be reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed_ips: Option<AllowedIps>,
}

/// What a project may use up in a billing period; 0 and none are without limit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quota {
    /// Seconds during which computes run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active_time_seconds: Option<i64>,
    /// The same, weighted by size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compute_time_seconds: Option<i64>,
    /// Quotas that the operator does not manage: sent back as they were found, whether Neon takes what it is sent as a
    /// whole or as a change.
    #[serde(flatten)]
    pub others: Map<String, Value>,
}

/// Addresses from which computes can be reached; none is everybody.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AllowedIps {
    /// Addresses, networks and ranges.
    #[serde(default)]
    pub ips: Vec<String>,
    /// Kept as it was found.
    #[serde(flatten)]
    pub others: Map<String, Value>,
}

/// The owner of a project. Name and address are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProjectOwner {
    /// How many branches a project of theirs may have.
    #[serde(default)]
    pub branches_limit: Option<i64>,
    /// Their plan.
    #[serde(default)]
    pub subscription_type: Option<String>,
}

/// Change of a project; what is `None` stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UpdateProject {
    /// New history retention in seconds.
    pub history_retention_seconds: Option<i64>,
    /// New settings; each as a whole.
    pub settings: ProjectSettings,
}

/// What a change of a project answers.
#[derive(Clone, Debug, PartialEq)]
pub struct UpdatedProject {
    /// The project as it now is.
    pub project: Project,
    /// Work still to be done.
    pub operations: Vec<Operation>,
}

/// Whose an API key is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The account: what Neon counts calls by.
    pub account_id: String,
    /// What kind of key it is.
    pub auth_method: AuthMethod,
}
