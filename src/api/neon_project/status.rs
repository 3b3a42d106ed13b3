//! Status of a NeonProject: what Neon tells of the project and of the key. Use and budget are metrics.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::default::{is_default, unobserved};

use super::ProjectSettings;
use crate::api::annotations::Looks;
use crate::api::neon_database::OperationStatus;

/// What was found and done.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("default" = {"observedGeneration": -1}))]
pub struct NeonProjectStatus {
    /// The generation of the spec that this status speaks of; −1 before the first look.
    #[serde(default = "unobserved")]
    pub observed_generation: i64,
    /// Ready, Reconciling, Stalled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// The subscription of the project's owner, in Neon's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub plan: Option<String>,
    /// Limits of the plan, as far as Neon tells them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<ProjectLimits>,
    /// Whose key it is that reaches the project.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_kind: Option<KeyKind>,
    /// The settings that are managed, as Neon has them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings: Option<ProjectSettings>,
    /// The settings last sent to Neon.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applied_settings: Option<AppliedSettings>,
    /// The annotations' values that were taken up.
    #[serde(default, skip_serializing_if = "is_default")]
    pub handled: Looks,
    /// Operations on Neon that are waited for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["id".into()]))]
    pub operations: Vec<OperationStatus>,
}

impl Default for NeonProjectStatus {
    fn default() -> Self {
        Self {
            observed_generation: unobserved(),
            conditions: Vec::new(),
            plan: None,
            limits: None,
            key_kind: None,
            settings: None,
            applied_settings: None,
            handled: Looks::default(),
            operations: Vec::new(),
        }
    }
}

/// Limits of a Neon plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProjectLimits {
    /// How many branches the project may have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branches: Option<i64>,
}

/// Whose key it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum KeyKind {
    /// A person's: it goes with the person.
    Personal,
    /// An organization's, perhaps limited to one project.
    Organization,
    /// Of a kind that this version does not know.
    Other,
}

/// The settings last sent to Neon, and what Neon made of them: where it stores other values than it was sent, they are
/// not sent again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AppliedSettings {
    /// SHA-256 of what was asked for.
    #[schemars(length(max = 80))]
    pub requested: String,
    /// SHA-256 of what Neon then had.
    #[schemars(length(max = 80))]
    pub stored: String,
}
