//! Status of a SepulkiMigration: what the ledger says, and what is still to be done. Derived from the ledger, never the
//! other way round.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::adoption::AdoptionStatus;
use crate::api::annotations::Looks;
use crate::api::default::{is_default, unobserved};

/// What was found and done.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("default" = {"observedGeneration": -1}))]
pub struct SepulkiMigrationStatus {
    /// The generation of the spec that this status speaks of; −1 before the first look.
    #[serde(default = "unobserved")]
    pub observed_generation: i64,
    /// Ready, Reconciling, Stalled, SourceReady, Planned, Applied.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// The files as they were read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bundle: Option<BundleStatus>,
    /// What the ledger says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applied: Option<AppliedStatus>,
    /// Where the ledger is, and what was found complete there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applied_to: Option<AppliedTo>,
    /// What is still to be applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<PendingStatus>,
    /// What was found out about the history that was there, under `adopt.mode: Verify`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adoption: Option<AdoptionStatus>,
    /// What is not applied again although the ledger lacks it, because the branch was restored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_after_restore: Option<HeldStatus>,
    /// The reset of the branch that was last asked for because an applied file was edited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reset_request: Option<ResetRequest>,
    /// Files applied and files in all, such as `3/3`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub progress_text: Option<String>,
    /// The file that is running.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<CurrentStatus>,
    /// The failure that stands in the way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<LastError>,
    /// The last runs, newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10))]
    pub history: Vec<HistoryEntry>,
    /// The annotations' values that were taken up.
    #[serde(default, skip_serializing_if = "is_default")]
    pub handled: Looks,
}

impl Default for SepulkiMigrationStatus {
    fn default() -> Self {
        Self {
            observed_generation: unobserved(),
            conditions: Vec::new(),
            bundle: None,
            applied: None,
            applied_to: None,
            pending: None,
            adoption: None,
            held_after_restore: None,
            reset_request: None,
            progress_text: None,
            current: None,
            last_error: None,
            history: Vec::new(),
            handled: Looks::default(),
        }
    }
}

/// The files as they were read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BundleStatus {
    /// SHA-256 of the lines `<sha256>  <file name>\n` in byte order of the names.
    #[schemars(length(max = 71))]
    pub digest: String,
    /// How many files there are.
    pub file_count: i32,
}

/// What the ledger says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AppliedStatus {
    /// How many files of the bundle are applied.
    pub count: i32,
    /// The last of them in the bundle's order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 255))]
    pub last_version: Option<String>,
    /// When it was applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_time: Option<Time>,
}

/// The ledger that `applied` speaks of, and for which files all is done there: another branch, incarnation, bundle or
/// target is looked at anew.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AppliedTo {
    /// The branch.
    #[schemars(length(max = 64))]
    pub branch_id: String,
    /// Its incarnation.
    #[schemars(length(max = 128))]
    pub incarnation: String,
    /// The database, resolved once: databases that are listed later do not move the migrations.
    #[schemars(length(max = 63))]
    pub database: String,
    /// Digest of the files of which everything up to `target` was found applied; none while something is left to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 71))]
    pub digest: Option<String>,
    /// The target that `digest` speaks of; none for all files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 255))]
    pub target: Option<String>,
}

/// Files that were applied and are missing since a restore. They stay pending until the files or the target change, or
/// `sepulki.dev/retry` asks to apply them again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HeldStatus {
    /// The restored ledger, and the files and the target that it was compared with: with others nothing is held.
    pub at: AppliedTo,
    /// What was applied before the restore.
    pub was_applied: AppliedStatus,
    /// What of that is missing.
    pub missing: PendingStatus,
}

/// A reset of the branch, asked for because an applied file was edited. The NeonDatabase carries it out while its branch has
/// this incarnation, and so once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResetRequest {
    /// The branch.
    #[schemars(length(max = 64))]
    pub branch_id: String,
    /// Its incarnation when this was asked for: in another one nothing is asked for, and it is not asked for again with the
    /// same files.
    #[schemars(length(max = 128))]
    pub incarnation: String,
    /// Digest of the files.
    #[schemars(length(max = 71))]
    pub digest: String,
    /// The version of the spec that says so.
    pub generation: i64,
    /// The first file that was edited.
    #[schemars(length(max = 255))]
    pub version: String,
    /// When it was asked for, or asked for anew because nothing has come of it yet. It is not carried out when it is older
    /// than 15 minutes.
    pub time: Time,
}

/// What is still to be applied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PendingStatus {
    /// How many files.
    pub count: i32,
    /// The first twenty, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20), inner(length(max = 255)))]
    pub versions: Vec<String>,
}

/// The file that is running.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CurrentStatus {
    /// File name.
    #[schemars(length(max = 255))]
    pub version: String,
    /// Where in the file the statement stands that runs; only of statements that run alone. Those that run in a transaction are
    /// sent together, and the server does not tell at which of them it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<i32>,
    /// That statement, shortened and without constants.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 200))]
    pub statement: Option<String>,
    /// When the file was started.
    pub start_time: Time,
    /// How often it was started, with those times that it gave way to others.
    #[serde(default = "first")]
    pub attempt: i32,
    /// How far an index is that is being built.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<BuildProgress>,
    /// The sessions whose locks it waits for at the moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub waiting_for: Option<String>,
}

fn first() -> i32 {
    1
}

impl CurrentStatus {
    /// A file that has just been started.
    #[must_use]
    pub fn of(version: String, start_time: Time) -> Self {
        Self {
            version,
            line: None,
            statement: None,
            start_time,
            attempt: first(),
            progress: None,
            waiting_for: None,
        }
    }
}

/// How far an index is that is being built.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BuildProgress {
    /// PostgreSQL's name for what it does.
    #[schemars(length(max = 128))]
    pub phase: String,
    /// Of this phase, where it can be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<i32>,
}

/// The failure that stands in the way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LastError {
    /// File name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 255))]
    pub version: Option<String>,
    /// Line, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<i32>,
    /// Column in characters, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<i32>,
    /// PostgreSQL's error code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 5))]
    pub sql_state: Option<String>,
    /// What is wrong.
    #[schemars(length(max = 4096))]
    pub message: String,
    /// SHA-256 of what was tried, where something was: files, spec, database and branch. It is not tried again while
    /// this stays the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 71))]
    pub attempt: Option<String>,
}

/// One run that applied something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HistoryEntry {
    /// When it ended.
    pub time: Time,
    /// The first twenty files it applied.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20), inner(length(max = 255)))]
    pub versions: Vec<String>,
    /// Who applied them: the name under which the run showed itself to the server, in `pg_stat_activity` and in the
    /// server's log, such as `sepulki/team/staging` for a run of this object. Not set where their rows were found without
    /// a run of this object having been seen: `sepulki migrate` or another tool has written them, or the operator was
    /// killed meanwhile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub by: Option<String>,
    /// Digest of the bundle.
    #[schemars(length(max = 71))]
    pub digest: String,
}
