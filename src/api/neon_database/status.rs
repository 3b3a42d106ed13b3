//! Status of a NeonDatabase: what was resolved once, what exists, and whether it is as asked.
//!
//! Nothing that changes by itself is here: compute state and sizes are metrics.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::default::{is_default, unobserved};

use super::compute::{ComputeValues, PlanLimit};
use super::role::{self, RoleStatus};
use super::secret::ConnectionSecretStatus;
use super::{DeletionPolicy, ExistingBranch, ParentBranch};
use crate::api::Handled;

/// What was found and done.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("default" = {"observedGeneration": -1}))]
pub struct NeonDatabaseStatus {
    /// The generation of the spec that this status speaks of; −1 before the first look.
    #[serde(default = "unobserved")]
    pub observed_generation: i64,
    /// Ready, Reconciling, Stalled, BranchReady, ComputeReady, DatabasesReady, CredentialsPublished.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// Id of the Neon project, recorded once: a NeonProject of the same name that leads elsewhere does not move it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub project_id: Option<String>,
    /// What was resolved once and is not moved by a later change of profile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effective: Option<Effective>,
    /// When Neon was last asked to make the branch, until it is recorded: the answer may have been lost, and the branch may
    /// still come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch_request_time: Option<Time>,
    /// The branch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<BranchStatus>,
    /// The read-write endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<EndpointStatus>,
    /// The read replicas that were asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub read_replicas: Vec<ReadReplicaStatus>,
    /// Values of the environment's profile that the plan refuses. Neon's own are used instead, until the profile's or the
    /// spec's change or `sepulki.dev/retry` asks to try again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan_limit: Option<PlanLimit>,
    /// The databases as they were last brought about.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub databases: Vec<DatabaseStatus>,
    /// The application roles as they were last brought about.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub roles: Vec<RoleStatus>,
    /// SHA-256 of the branch's incarnation and of everything asked for inside of it, when that was last brought about:
    /// as long as it stands, no session is opened to look.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 80))]
    pub content_digest: Option<String>,
    /// The Secrets that are out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub connection_secrets: Vec<ConnectionSecretStatus>,
    /// Operations on Neon that are waited for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["id".into()]))]
    pub operations: Vec<OperationStatus>,
    /// When a reset that was asked for is to be carried out, until it was; in the future where no answer came and it may be
    /// under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reset_time: Option<Time>,
    /// The SepulkiMigration that asks for that reset, because an applied file was edited; none where an annotation does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub reset_for: Option<String>,
    /// What was taken up of the annotations that ask for something.
    #[serde(default, skip_serializing_if = "is_default")]
    pub handled: Handled,
}

impl Default for NeonDatabaseStatus {
    fn default() -> Self {
        Self {
            observed_generation: unobserved(),
            conditions: Vec::new(),
            project_id: None,
            effective: None,
            branch_request_time: None,
            branch: None,
            endpoint: None,
            read_replicas: Vec::new(),
            plan_limit: None,
            databases: Vec::new(),
            roles: Vec::new(),
            content_digest: None,
            connection_secrets: Vec::new(),
            operations: Vec::new(),
            reset_time: None,
            reset_for: None,
            handled: Handled::default(),
        }
    }
}

/// What could destroy or move something, resolved once from spec and profile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Effective {
    /// Name of the branch on Neon; none for one that is taken over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub branch_name: Option<String>,
    /// The branch to take over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub existing: Option<ExistingBranch>,
    /// The branch to fork from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<ParentBranch>,
    /// What becomes of the branch when the object goes, unless the spec says otherwise. Retain for one that is taken over,
    /// whatever the profile says.
    pub deletion_policy: DeletionPolicy,
}

/// A branch that this object has claimed. Once recorded it is the identity that everything else hangs on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BranchStatus {
    /// Identity on Neon.
    #[schemars(length(max = 64))]
    pub id: String,
    /// Name on Neon.
    #[schemars(length(max = 256))]
    pub name: String,
    /// The branch it was forked from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub parent_id: Option<String>,
    /// Whether it is the project's default branch.
    #[serde(default)]
    pub is_default: bool,
    /// Whether Neon refuses to delete or reset it.
    #[serde(default)]
    pub protected: bool,
    /// Whether it existed before this object and was taken over.
    #[serde(default)]
    pub taken_over: bool,
    /// Changes when the branch is reset, restored or made anew; whatever was true of the old one is then looked at
    /// again.
    #[schemars(length(max = 128))]
    pub incarnation: String,
    /// How it came to this incarnation.
    #[serde(default)]
    pub origin: BranchOrigin,
    /// Whose passwords open it.
    pub credentials: Credentials,
    /// Roles of Neon's that have got passwords of their own while the others still have the parent's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 500), inner(length(max = 63)))]
    pub own_passwords: Vec<String>,
    /// When it was made.
    pub created_time: Time,
    /// When it was first seen to be usable. A branch that never was, because Neon could not make it, is taken away and made
    /// again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_time: Option<Time>,
    /// When Neon deletes it unless the lease is renewed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expiry_time: Option<Time>,
}

/// How a branch came to its present incarnation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum BranchOrigin {
    /// It was forked, or taken over as it was.
    #[default]
    Created,
    /// It was set back to its parent: because this object was asked to, or, of a development or preview, by somebody else.
    Reset,
    /// Somebody else brought it to another state, such as one of its past.
    Restored,
}

/// Whose passwords open a branch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Credentials {
    /// A copy of the parent's: nothing may be published yet.
    Inherited,
    /// Its own.
    Own,
}

/// The read-write endpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EndpointStatus {
    /// Identity on Neon.
    #[schemars(length(max = 64))]
    pub id: String,
    /// Host of the direct connection.
    #[schemars(length(max = 253))]
    pub host: String,
    /// Smallest size, in CU, as Neon has it.
    #[serde(rename = "minCU")]
    pub min_cu: f64,
    /// Largest size, in CU, as Neon has it.
    #[serde(rename = "maxCU")]
    pub max_cu: f64,
    /// Idle time before it is scaled to zero, as Neon has it.
    #[schemars(length(max = 24))]
    pub suspend_after: String,
    /// Settings of PostgreSQL that were asked for, as Neon has them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "role::settings")]
    pub settings: BTreeMap<String, String>,
    /// What was last asked of Neon.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested: Option<ComputeValues>,
    /// What Neon made of that: where it stores something else, that is not fought over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stored: Option<ComputeValues>,
    /// Why the compute could not start with that, in Neon's words. None once it runs, something else is asked or
    /// `sepulki.dev/retry` has it looked at again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub failure: Option<String>,
}

/// A read replica.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReadReplicaStatus {
    /// Name in the spec.
    #[schemars(length(max = 40))]
    pub name: String,
    /// Its endpoint.
    pub endpoint: EndpointStatus,
}

/// A database as it was last brought about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DatabaseStatus {
    /// Name.
    #[schemars(length(max = 63))]
    pub name: String,
    /// The role that owns it.
    #[schemars(length(max = 63))]
    pub owner: String,
    /// Whether this object made it. Recorded before it is made.
    #[serde(default)]
    pub created: bool,
    /// Extensions that were asked for, with the version that is installed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub extensions: Vec<ExtensionStatus>,
    /// Schemas that roles ask for and that were not there. Looked for again once a migration has applied more files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing_schemas: Option<MissingSchemas>,
}

/// Schemas that were not there when rights were last given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MissingSchemas {
    /// Their names.
    #[schemars(length(max = 32), inner(length(max = 63)))]
    pub names: Vec<String>,
    /// How many files migrations of this object had applied by then.
    pub applied_files: i64,
}

/// An installed extension.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExtensionStatus {
    /// Name.
    #[schemars(length(max = 63))]
    pub name: String,
    /// Installed version.
    #[schemars(length(max = 64))]
    pub version: String,
    /// The schema that its objects are in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub schema: Option<String>,
}

/// An operation on Neon that is waited for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OperationStatus {
    /// Identity on Neon.
    #[schemars(length(max = 64))]
    pub id: String,
    /// What is done, in Neon's words.
    #[schemars(length(max = 64))]
    pub action: String,
    /// When Neon was asked for it.
    pub request_time: Time,
}
