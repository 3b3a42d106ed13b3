//! NeonProject: the credential, the settings and the rules of use of one Neon project.

mod status;

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::names::{IpRange, LabelValue, TimeLimit, TimeSpan};
use super::neon_database::Environment;
use super::refs::NamespacedSecretKeyRef;

pub use status::{AppliedSettings, KeyKind, NeonProjectStatus, ProjectLimits};

/// What is asked of one Neon project, and who may use it.
#[expect(
    clippy::duplicated_attributes,
    reason = "several print columns are of one type"
)]
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "sepulki.dev",
    version = "v1alpha1",
    kind = "NeonProject",
    plural = "neonprojects",
    shortname = "neonproj",
    category = "sepulki",
    status = "NeonProjectStatus",
    derive = "PartialEq",
    doc = "The credential, the settings and the rules of use of one Neon project. Never creates or deletes the project itself.",
    selectable = ".spec.projectId",
    selectable = ".spec.apiKeySecretRef.namespace",
    printcolumn(name = "Project", type_ = "string", json_path = ".spec.projectId"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].reason"#
    ),
    printcolumn(name = "Plan", type_ = "string", json_path = ".status.plan"),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct NeonProjectSpec {
    /// Id of the Neon project, such as `shiny-wind-12345678`. Immutable.
    #[schemars(length(min = 1, max = 60), regex(pattern = "^[a-z0-9-]+$"))]
    #[x_kube(validation = ("self == oldSelf", "projectId is immutable"))]
    pub project_id: String,
    /// The Secret that holds the Neon API key, in a namespace that only those who may hold the key can read. May change.
    pub api_key_secret_ref: NamespacedSecretKeyRef,
    /// Settings of the whole project. Only what is set is managed; what is taken away stays on Neon as it is. Default:
    /// none is managed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings: Option<ProjectSettings>,
    /// Name of the branch that previews fork from where they name no parent. Default: they must name one. A change
    /// holds for previews that are made from then on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub base_branch: Option<String>,
    /// Who may use the project. A NeonDatabase that no rule admits gets no branch and is told why; without any rule
    /// none is admitted. A rule that is changed or taken away holds for branches to be made; those that exist stay.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub access: Vec<AccessRule>,
}

/// Settings of a Neon project. Neon's plans limit their values; one that Neon refuses is told in its words.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProjectSettings {
    /// How far back the state of every branch can be restored. A shorter one takes the older history away for good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history_retention: Option<TimeSpan>,
    /// Addresses from which computes can be reached. The operator's own must be among them. An empty list lets
    /// everybody in.
    #[serde(
        default,
        rename = "allowedIPs",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(length(max = 100))]
    pub allowed_ips: Option<Vec<IpRange>>,
    /// What the project may use up in a billing period. Where it is used up, Neon stops every compute of the project.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota: Option<ProjectQuota>,
}

/// What a Neon project may use up in a billing period.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProjectQuota {
    /// Time during which computes run, summed over all of them: `unlimited` or a length of time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active_time: Option<TimeLimit>,
    /// The same, weighted by their size: a compute of 2 CU uses two hours in one. `unlimited` or a length of time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compute_time: Option<TimeLimit>,
}

/// Admits NeonDatabases that fit all of its parts.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AccessRule {
    /// The namespaces they may be in.
    pub namespaces: NamespaceSelector,
    /// The environments they may be. Default: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub environments: Vec<Environment>,
    /// Names of the branches, as Neon has them, that they may fork from; taking a branch over is then not admitted.
    /// Default: any branch, and taking over.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 1, max = 256)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub parents: Vec<String>,
    /// How many branches the NeonDatabases that this rule is the first to admit may have together. Those beyond wait
    /// until one goes, the oldest first. Default: no limit but Neon's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100_000))]
    pub max_branches: Option<i32>,
}

/// Namespaces by their labels.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NamespaceSelector {
    /// Labels that a namespace has to have. Without any, every namespace is meant.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16))]
    pub match_labels: BTreeMap<String, LabelValue>,
}
