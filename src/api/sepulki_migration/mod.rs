//! SepulkiMigration: an ordered bundle of `.sql` files brought to one NeonDatabase.

mod adoption;
mod execution;
mod status;

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::names::{Digest, FileName, ObjectName, PgName};
use super::refs::DatabaseRef;

pub use adoption::{
    AdoptionStatus, AdoptionVerdict, ScratchBranch, VerifiedVersion, VersionVerdict,
};
pub use execution::{
    AcceptedFile, AdoptMode, AdoptSpec, ChecksumMismatch, ExecutionSpec, FailOnLint, MissingFile,
    OnAmbiguous, OnDivergence, OrderMode, OrderSpec, OutOfOrder, PoliciesSpec,
};
pub use status::{
    AppliedStatus, AppliedTo, BuildProgress, BundleStatus, CurrentStatus, HeldStatus, HistoryEntry,
    LastError, PendingStatus, ResetRequest, SepulkiMigrationStatus,
};

/// Which files are to be applied to which database.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "sepulki.dev",
    version = "v1alpha1",
    kind = "SepulkiMigration",
    plural = "sepulkimigrations",
    shortname = "sepmig",
    category = "sepulki",
    namespaced,
    status = "SepulkiMigrationStatus",
    derive = "PartialEq",
    doc = "An ordered bundle of SQL files brought to one NeonDatabase, each applied exactly once.",
    selectable = ".spec.databaseRef.name",
    printcolumn(
        name = "Database",
        type_ = "string",
        json_path = ".spec.databaseRef.name"
    ),
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
    printcolumn(name = "Applied", type_ = "string", json_path = ".status.progressText"),
    printcolumn(
        name = "Version",
        type_ = "string",
        json_path = ".status.applied.lastVersion"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    ),
    validation = Rule::new(
        "has(oldSelf.spec.database) || !has(self.spec.database) || !has(oldSelf.status) || !has(oldSelf.status.appliedTo) || self.spec.database == oldSelf.status.appliedTo.database")
        .message("database is immutable: the files were already brought to another database").field_path(".spec.database"),
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(oldSelf.database) || (has(self.database) && self.database == oldSelf.database)")
        .message("database is immutable once set").field_path(".database"),
    validation = Rule::new("(has(self.ledger) ? [self.ledger.schema, self.ledger.table] : ['public', 'schema_migrations']) == (has(oldSelf.ledger) ? [oldSelf.ledger.schema, oldSelf.ledger.table] : ['public', 'schema_migrations'])")
        .message("ledger is immutable").field_path(".ledger"),
)]
pub struct SepulkiMigrationSpec {
    /// The NeonDatabase of this namespace to migrate. Waited for until its branch, compute and databases are ready.
    /// Immutable.
    #[x_kube(validation = ("self == oldSelf", "databaseRef is immutable"))]
    pub database_ref: DatabaseRef,
    /// The database inside the branch. Default: the only one that the NeonDatabase lists. Immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<PgName>,
    /// Where the files are. The whole bundle is read before anything runs.
    pub source: MigrationSource,
    /// How far to go. Default: all files. Never goes down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<TargetSpec>,
    /// Other migrations of this namespace that have to come first: nothing is applied before each of them has applied the
    /// same files, as far as this one is to go. What is applied already stays so. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub requires: Vec<RequiredMigration>,
    /// True: nothing is applied, and `Ready` keeps its value. A file that is already running is finished.
    /// Default: false.
    #[serde(default)]
    pub suspend: bool,
    /// In which order the files run. Default: byte order of their names, as long as their numbers say the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<OrderSpec>,
    /// What is put up with in the history. A migration that is complete is not looked at anew because of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policies: Option<PoliciesSpec>,
    /// For a database that already has a history.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adopt: Option<AdoptSpec>,
    /// How files are run. A change counts from the next run on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution: Option<ExecutionSpec>,
    /// The table that records what was applied. Default: `public.schema_migrations`. Immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ledger: Option<LedgerSpec>,
}

/// Where the files are: exactly one source.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("has(self.configMaps) != has(self.inline)", "exactly one of configMaps and inline must be set"))]
pub struct MigrationSource {
    /// ConfigMaps whose keys are file names; several, because one holds at most 1 MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_maps: Option<ConfigMapSource>,
    /// The files themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub inline: Option<Vec<InlineFile>>,
}

/// A migration that has to come first.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RequiredMigration {
    /// The SepulkiMigration of this namespace; one that does not exist yet is waited for.
    pub migration_ref: ObjectNameRef,
}

/// Files in ConfigMaps.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConfigMapSource {
    /// The ConfigMaps, in this namespace. One that does not exist yet is waited for.
    #[schemars(length(min = 1, max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub refs: Vec<ObjectNameRef>,
    /// SHA-256 of the lines `<sha256>  <file name>\n` in byte order of the names. Where given, files that do not match
    /// are not applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
}

/// An object of this namespace, by name.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectNameRef {
    /// Name of the object.
    pub name: ObjectName,
}

/// A file given in the spec.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InlineFile {
    /// File name, which is the version that is recorded.
    pub name: FileName,
    /// Its content.
    #[schemars(length(max = 262_144))]
    pub sql: String,
}

/// How far to go.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TargetSpec {
    /// The last file to apply.
    pub version: FileName,
}

/// The table that records what was applied.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LedgerSpec {
    /// Its schema, which is made where it does not exist. Default: `public`.
    #[serde(default = "public")]
    pub schema: PgName,
    /// Its name. Default: `schema_migrations`.
    #[serde(default = "schema_migrations")]
    pub table: PgName,
}

fn public() -> PgName {
    "public".into()
}

fn schema_migrations() -> PgName {
    "schema_migrations".into()
}

impl Default for LedgerSpec {
    fn default() -> Self {
        Self {
            schema: public(),
            table: schema_migrations(),
        }
    }
}
