//! NeonDatabase: one environment's database on hosted Neon.

mod compute;
mod fixed;
mod role;
mod secret;
mod status;

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::names::{Lease, PgName, ReplicaName, SuspendAfter};
use super::refs::{DatabaseRef, MigrationRef, ProjectRef, SecretKeyRef};

pub use compute::{ComputeValues, PlanLimit};
pub use role::{Access, PasswordSecretRef, RoleSpec, RoleStatus, RotationSpec};
pub use secret::{ConnectionSecretSpec, ConnectionSecretStatus, SecretTemplate, TemplateMetadata};
pub use status::{
    BranchOrigin, BranchStatus, Credentials, DatabaseStatus, Effective, EndpointStatus,
    ExtensionStatus, MissingSchemas, NeonDatabaseStatus, OperationStatus, ReadReplicaStatus,
};

/// What is asked of one environment's database.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "sepulki.dev",
    version = "v1alpha1",
    kind = "NeonDatabase",
    plural = "neondatabases",
    shortname = "neondb",
    category = "sepulki",
    namespaced,
    status = "NeonDatabaseStatus",
    derive = "PartialEq",
    doc = "One environment's database on hosted Neon: a branch, its compute, databases, roles and connection Secrets.",
    selectable = ".spec.projectRef.name",
    selectable = ".spec.projectId",
    selectable = ".spec.environment",
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#),
    printcolumn(name = "Reason", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].reason"#),
    printcolumn(name = "Env", type_ = "string", json_path = ".spec.environment"),
    printcolumn(name = "Branch", type_ = "string", json_path = ".status.branch.name"),
    printcolumn(name = "Host", type_ = "string", json_path = ".status.endpoint.host", priority = 1),
    printcolumn(name = "Expires", type_ = "string", json_path = ".status.branch.expiryTime", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new(fixed::project_ref())
        .message("projectRef is immutable once Neon was asked for the branch").field_path(".spec.projectRef"),
    validation = Rule::new(fixed::project_id())
        .message("projectId is immutable once Neon was asked for the branch").field_path(".spec.projectId"),
    validation = Rule::new(fixed::name())
        .message("branch.name is immutable once Neon was asked for the branch").field_path(".spec.branch.name"),
    validation = Rule::new(fixed::parent())
        .message("branch.parent is immutable once Neon was asked for the branch").field_path(".spec.branch.parent"),
    validation = Rule::new(fixed::existing())
        .message("branch.existing is immutable once the branch is taken over, or Neon was asked for another one").field_path(".spec.branch.existing"),
    validation = Rule::new(fixed::not_taken_away())
        .message("what was resolved from it stays: name another branch.parent or branch.existing instead").field_path(".spec.branch"),
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.projectRef) != has(self.projectId)")
        .message("exactly one of projectRef and projectId must be set").field_path(".projectRef"),
    validation = Rule::new("!has(self.projectRef) || !has(self.apiKeySecretRef)")
        .message("with projectRef the key is the NeonProject's: apiKeySecretRef must not be set").field_path(".apiKeySecretRef"),
    validation = Rule::new("!has(self.branch) || !has(self.branch.lease) || self.branch.lease == 'never' || !has(self.deletionPolicy) || self.deletionPolicy == 'Delete'")
        .message("a branch with a lease is deleted by Neon when nobody renews it: not possible with deletionPolicy Retain").field_path(".branch.lease"),
    validation = Rule::new("!has(self.branch) || !has(self.branch.maxAge) || self.branch.maxAge == 'never' || !has(self.deletionPolicy) || self.deletionPolicy == 'Delete'")
        .message("a branch that reaches its maxAge is deleted: not possible with deletionPolicy Retain").field_path(".branch.maxAge"),
    validation = Rule::new("!has(self.connectionSecrets) || !has(self.roles) || self.connectionSecrets.all(s, !has(s.role) || self.roles.exists(r, r.name == s.role))")
        .message("connectionSecrets[].role must name an entry of roles").field_path(".connectionSecrets"),
    validation = Rule::new("!has(self.connectionSecrets) || !has(self.databases) || self.connectionSecrets.all(s, !has(s.database) || self.databases.exists(d, d.name == s.database))")
        .message("connectionSecrets[].database must name an entry of databases").field_path(".connectionSecrets"),
    validation = Rule::new("!has(self.roles) || self.roles.size() == 0 || (has(self.databases) && self.databases.size() > 0)")
        .message("roles need databases: list those of this object in databases, too; what a parent's object lists is inherited, roles and databases together, only where neither is listed").field_path(".roles"),
    validation = Rule::new("!has(self.roles) || !has(self.databases) || self.roles.all(r, !has(r.databases) || r.databases.all(n, self.databases.exists(d, d.name == n)))")
        .message("roles[].databases must name entries of databases").field_path(".roles"),
)]
pub struct NeonDatabaseSpec {
    /// The NeonProject that holds the project's id and key, and the rules of who may use it; this namespace then needs
    /// no key. Exactly one of this and `projectId` is set. Immutable once Neon was asked for the branch; the reference to
    /// the key in it may change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project_ref: Option<ProjectRef>,
    /// Id of the Neon project, such as `shiny-wind-12345678`, where everybody in the namespace may hold its key.
    /// Immutable once Neon was asked for the branch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 60), regex(pattern = "^[a-z0-9-]+$"))]
    pub project_id: Option<String>,
    /// The Secret that holds the Neon API key; only with `projectId`. Default: key `apiKey` of the Secret
    /// `neon-api-key`. May change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key_secret_ref: Option<SecretKeyRef>,
    /// The profile whose values stand in for what this spec leaves out. Immutable.
    #[x_kube(validation = ("self == oldSelf", "environment is immutable"))]
    pub environment: Environment,
    /// True: nothing is changed, neither on Neon nor inside the branch. A lease is still renewed, deletion still
    /// works, and `Ready` keeps its value. Default: false.
    #[serde(default)]
    pub suspend: bool,
    /// The branch. Default: what the environment's profile says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<BranchSpec>,
    /// The read-write compute. Default: 0.5 to 4 CU that never sleep for production; for the others 0.25 to 1 CU that sleep
    /// after 5 minutes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compute: Option<ComputeSpec>,
    /// Databases of the branch. Default: those of the parent where that is a NeonDatabase, together with its roles;
    /// otherwise none, and nothing inside the branch is managed. One that leaves the list stays.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub databases: Vec<DatabaseSpec>,
    /// Application roles, made by SQL with the least rights their access needs. Only together with `databases`: an object
    /// that inherits these from its parent inherits the roles as well.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub roles: Vec<RoleSpec>,
    /// Secrets that applications mount. Default: one, named like this object, where exactly one role is ReadWrite and
    /// exactly one database is listed. Others that are listed once it is out leave it as it is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub connection_secrets: Vec<ConnectionSecretSpec>,
    /// When the connection Secrets come out. Default: as soon as they work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub publish: Option<PublishSpec>,
    /// What to do when the branch was deleted outside of this object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_external_deletion: Option<ExternalDeletion>,
    /// What becomes of the branch when this object is deleted. The CRD has the text of the type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion_policy: Option<DeletionPolicy>,
}

/// Which profile of defaults applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Environment {
    /// The project's default branch, taken over; never scaled to zero; protected; retained.
    Production,
    /// A branch of production; retained.
    Staging,
    /// A branch of staging; deleted with its object.
    Development,
    /// A throw-away branch for one change; deleted with its object, and by Neon when nobody renews its lease.
    Preview,
}

impl Environment {
    /// The word as it stands in the spec.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Production => "production",
            Self::Staging => "staging",
            Self::Development => "development",
            Self::Preview => "preview",
        }
    }

    /// Whether its branches are made to be thrown away, so that going back to the parent's state loses nothing that counts.
    #[must_use]
    pub fn is_disposable(self) -> bool {
        match self {
            Self::Production | Self::Staging => false,
            Self::Development | Self::Preview => true,
        }
    }
}

/// The branch of an environment.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.existing) || !has(self.parent)").message("at most one of existing and parent can be set"),
    validation = Rule::new("!has(self.existing) || !has(self.name)").message("a branch that is taken over keeps its name").field_path(".name"),
    validation = Rule::new("!has(self.lease) || self.lease == 'never' || !has(self.existing)")
        .message("a branch that is taken over cannot have a lease").field_path(".lease"),
    validation = Rule::new("!has(self.lease) || self.lease == 'never' || !has(self.protected) || !self.protected")
        .message("Neon allows no expiry on a protected branch").field_path(".lease"),
    validation = Rule::new("!has(self.maxAge) || self.maxAge == 'never' || !has(self.existing)")
        .message("a branch that is taken over cannot have a maxAge").field_path(".maxAge"),
    validation = Rule::new("!has(self.maxAge) || self.maxAge == 'never' || !has(self.protected) || !self.protected")
        .message("a protected branch cannot have a maxAge: Neon would refuse to delete it").field_path(".maxAge"),
)]
pub struct BranchSpec {
    /// Take over a branch that exists. Production's profile is the project's default branch. Immutable once the branch is
    /// recorded, but that it may then be named by its id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub existing: Option<ExistingBranch>,
    /// The branch to fork from. Default: the only production object of namespace and project for staging, the only
    /// staging object for development, the NeonProject's `baseBranch` for previews. Immutable once Neon was asked for the
    /// branch; until then another one may be named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<ParentBranch>,
    /// Name on Neon. Default: `<environment>/<namespace>/<name>`, hashed above 63 characters. Immutable once Neon
    /// was asked for the branch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[A-Za-z0-9._/-]+$"))]
    #[x_kube(validation = ("!self.startsWith('br-')", "a branch name must not look like a branch id (br-…)"))]
    pub name: Option<String>,
    /// Whether Neon refuses to delete or reset the branch. Default: true for production. It is raised, but never
    /// lowered by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protected: Option<bool>,
    /// How long Neon keeps the branch after the operator was last heard of: `never` or a length of time, renewed once
    /// a day while this object lives. Default: 72h for previews, never for others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<Lease>,
    /// Hard limit on the branch's life: `never` or a length of time, counted from the creation of this object, also where
    /// the branch is older. Afterwards branch and Secrets are deleted and the object is `Stalled` with reason
    /// `Expired`, until the annotation `sepulki.dev/extend` or a larger value lets it live again. Default: 14d for
    /// previews, never for others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age: Option<Lease>,
}

/// A branch to take over: exactly one way of naming it.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = ("[has(self.default), has(self.name), has(self.id)].filter(x, x).size() == 1", "exactly one of default, name and id must be set"),
    validation = ("!has(self.default) || self.default", "default can only be true")
)]
pub struct ExistingBranch {
    /// The project's default branch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<bool>,
    /// The branch of this name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub name: Option<String>,
    /// The branch of this id, `br-…`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 4, max = 60), regex(pattern = "^br-[a-z0-9-]+$"))]
    pub id: Option<String>,
}

/// A branch to fork from: exactly one way of naming it.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("has(self.databaseRef) != has(self.branchName)", "exactly one of databaseRef and branchName must be set"))]
pub struct ParentBranch {
    /// The branch of another NeonDatabase of this namespace and project. Its `BranchReady` is waited for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database_ref: Option<DatabaseRef>,
    /// A branch by its name on Neon.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub branch_name: Option<String>,
    /// The moment of its past that is forked. Default: its present. Neon keeps the past for as long as the project's
    /// `historyRetention`; a moment that it does not have is told in its words. Databases and roles are those of then,
    /// passwords are new. A reset leads to the parent's present.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<ParentMoment>,
}

/// A moment of a branch's past: exactly one way of naming it.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("has(self.time) != has(self.lsn)", "exactly one of time and lsn must be set"))]
pub struct ParentMoment {
    /// By the clock, in the form of RFC 3339 such as `2026-12-24T18:00:00Z`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 40),
        regex(
            pattern = "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})$"
        )
    )]
    pub time: Option<String>,
    /// By the position in the write-ahead log, as `SELECT pg_current_wal_lsn()` tells it, such as `0/1A2B3C8`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 17),
        regex(pattern = "^[0-9A-Fa-f]{1,8}/[0-9A-Fa-f]{1,8}$")
    )]
    pub lsn: Option<String>,
}

/// The read-write compute of the branch. What is set here is kept as it is set. What the environment's profile sets is given to
/// the compute once and may then be changed on Neon; where the plan refuses it, Neon's own default is used, and `ComputeReady`
/// says `PlanLimited`.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.minCU) == has(self.maxCU)").message("minCU and maxCU are given together").field_path(".minCU"),
    validation = Rule::new("!has(self.minCU) || !has(self.maxCU) || self.minCU <= self.maxCU")
        .message(kube::core::Message::Expression("'minCU (%s) must not be above maxCU (%s)'.format([self.minCU, self.maxCU])".into())).field_path(".minCU"),
)]
pub struct ComputeSpec {
    /// Smallest size, in compute units (CU). A change restarts the compute.
    #[serde(default, rename = "minCU", skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = ("self >= 0.25 && self <= 1024.0", "must be between 0.25 and 1024"))]
    pub min_cu: Option<f64>,
    /// Largest size, in compute units (CU). A change restarts the compute.
    #[serde(default, rename = "maxCU", skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = ("self >= 0.25 && self <= 1024.0", "must be between 0.25 and 1024"))]
    pub max_cu: Option<f64>,
    /// Idle time before the compute is scaled to zero: `never`, `default` (Neon's own) or a length of time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspend_after: Option<SuspendAfter>,
    /// Settings that the servers of the compute start with, such as `work_mem: 64MB`. A change restarts the compute; one
    /// that leaves the list is taken away. Others that the endpoint has are left alone.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "role::settings")]
    pub settings: BTreeMap<String, String>,
    /// Read replicas of the branch. One that leaves the list is deleted; others that the branch has are left alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub read_replicas: Vec<ReadReplicaSpec>,
}

/// A compute that reads the branch beside the one that writes. What is not set is left to Neon.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.minCU) == has(self.maxCU)").message("minCU and maxCU are given together").field_path(".minCU"),
    validation = Rule::new("!has(self.minCU) || !has(self.maxCU) || self.minCU <= self.maxCU")
        .message(kube::core::Message::Expression("'minCU (%s) must not be above maxCU (%s)'.format([self.minCU, self.maxCU])".into())).field_path(".minCU"),
)]
pub struct ReadReplicaSpec {
    /// Name, unique in the object. Connection Secrets hold a pooled URL of the replica in `DATABASE_URL_<NAME>`, in upper
    /// case and with `_` for `-`.
    #[x_kube(validation = ("self != 'unpooled'", "DATABASE_URL_UNPOOLED is the direct connection: choose another name"))]
    pub name: ReplicaName,
    /// Smallest size, in compute units (CU). A change restarts the replica.
    #[serde(default, rename = "minCU", skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = ("self >= 0.25 && self <= 1024.0", "must be between 0.25 and 1024"))]
    pub min_cu: Option<f64>,
    /// Largest size, in compute units (CU). A change restarts the replica.
    #[serde(default, rename = "maxCU", skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = ("self >= 0.25 && self <= 1024.0", "must be between 0.25 and 1024"))]
    pub max_cu: Option<f64>,
    /// Idle time before the replica is scaled to zero: `never`, `default` (Neon's own) or a length of time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspend_after: Option<SuspendAfter>,
}

/// A database of the branch.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DatabaseSpec {
    /// Name.
    pub name: PgName,
    /// The role that owns it and runs its migrations. Default: the present owner where the database exists, otherwise
    /// `<name>_owner`. Made where it does not exist.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<PgName>,
    /// Extensions to install. One that leaves the list stays installed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub extensions: Vec<ExtensionSpec>,
}

/// An extension of a database.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExtensionSpec {
    /// Name, as in `CREATE EXTENSION`.
    pub name: PgName,
    /// The schema that a new one is installed in, made where it does not exist. Default: `public`, or the only one that the
    /// extension can be in. One that is installed stays where it is; `DatabasesReady` tells where that is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<PgName>,
    /// Version. Default: the server's for a new one; one that is installed keeps its own. Where it differs, the extension is
    /// updated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 64),
        regex(pattern = "^[A-Za-z0-9][A-Za-z0-9._+-]*$")
    )]
    pub version: Option<String>,
}

/// When connection Secrets come out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PublishSpec {
    /// Hold Secrets back until all of this is true. One that is out is never withdrawn for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<PublishAfter>,
}

/// What Secrets are held back for.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PublishAfter {
    /// SepulkiMigrations of this namespace that have applied all that they were asked to. One that does not exist yet is
    /// waited for. `Ready` does not wait for them: `CredentialsPublished` says what is missing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub migration_refs: Vec<MigrationRef>,
}

/// What to do when the branch was deleted outside of its object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExternalDeletion {
    /// Stall or Recreate. Default: Stall for production and staging, Recreate for development and preview. A branch that
    /// was taken over is never made again.
    pub action: ExternalDeletionAction,
}

/// What to do about a branch that is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ExternalDeletionAction {
    /// Change nothing and say so: `Stalled` with reason `BranchMissing`.
    Stall,
    /// Fork it again from the parent as it is now.
    Recreate,
}

// Where it is optional, this is the text that the CRD has of the field.
/// What becomes of the branch when this object is deleted: Retain (it stays, and so do the published Secrets) or Delete.
/// Default: Retain for production and staging, Delete for development and preview; recorded when the branch is first
/// resolved. A branch that was taken over is never deleted unless this says Delete and `branch.existing` names it by id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DeletionPolicy {
    /// The branch stays, and so do the published Secrets. No key is needed.
    Retain,
    /// The branch is deleted.
    Delete,
}
