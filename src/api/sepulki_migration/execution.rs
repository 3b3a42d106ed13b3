//! How files are run, and what is put up with.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::names::{FileName, Lease, PgName, Sha256, TimeSpan};

/// How files are run.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExecutionSpec {
    /// The role that files run as; the owner of the database must be a member of it. Default: the owner of the database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<PgName>,
    /// How long a statement waits for a lock before the file gives way and starts over; each wait counts by itself.
    /// Never applied to CONCURRENTLY statements. Default: 2s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock_timeout: Option<TimeSpan>,
    /// How long a file may hold others up in total before it gives way and starts over. Never applied to CONCURRENTLY
    /// statements. Default: 5s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_blocked: Option<TimeSpan>,
    /// How long one statement may take, or `never`. Default: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub statement_timeout: Option<Lease>,
    /// How long the whole run may take; then the statement that is running is cancelled on the server. A trial of the files
    /// (`adopt.mode: Verify`) may take as long, but no longer than 4h. Default: 30m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<TimeSpan>,
    /// How often a file starts over after giving way. Default: 10.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1000))]
    pub retries: Option<i32>,
    /// Whether tables that got an index or were rewritten are analyzed at the end of the run. Default: true.
    #[serde(default = "yes")]
    pub analyze: bool,
    /// What to do with a statement that was interrupted where nobody can know whether it was carried out, such as a
    /// block that commits. Stop: the migration is Stalled until this says something else. Rerun: it is run again.
    /// Skip: it counts as done. Neither is an answer where a session was lost with what only it had, such as a temporary
    /// table, and the rest of the file may need that: then the message says how to go on. Default: Stop.
    #[serde(default)]
    pub on_ambiguous: OnAmbiguous,
}

fn yes() -> bool {
    true
}

/// What to do where nobody can know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnAmbiguous {
    /// Ask.
    #[default]
    Stop,
    /// Run it again.
    Rerun,
    /// Take it as done.
    Skip,
}

/// In which order files run.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("has(self.files) == (self.mode == 'Explicit')", "files is given with mode Explicit, and only then"))]
pub struct OrderSpec {
    /// Lexicographic: byte order of the names. Numeric: by the numbers in front of the names. Explicit: as `files`
    /// lists them. Without `order` it is Lexicographic, and names whose numbers say something else are refused.
    pub mode: OrderMode,
    /// All files, in order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 5000))]
    pub files: Option<Vec<FileName>>,
}

/// In which order files run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OrderMode {
    /// Byte order of the names.
    Lexicographic,
    /// By the numbers in front of the names.
    Numeric,
    /// As listed.
    Explicit,
}

/// What is put up with.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PoliciesSpec {
    /// A file that is not applied although a later one is: Reject or Allow (it is run). Default: Reject.
    #[serde(default)]
    pub out_of_order: OutOfOrder,
    /// An applied version whose file is not in the bundle: Warn (`Planned` and an event tell it) or Fail (nothing
    /// runs). Default: Warn.
    #[serde(default)]
    pub missing_file: MissingFile,
    /// An applied file that was edited since: Fail (nothing runs) or Warn (`Planned` and an event tell it). Default: Fail.
    #[serde(default)]
    pub checksum_mismatch: ChecksumMismatch,
    /// What follows from an applied file that was edited. Default: ResetBranch for a preview, else Fail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_divergence: Option<OnDivergence>,
    /// Edited files whose present content is accepted; the ledger keeps what it recorded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["version".into()]))]
    pub accept: Vec<AcceptedFile>,
    /// From how bad a finding on nothing runs, of what pending files may do to others: Error (they lose data, as with
    /// `DROP TABLE`, `TRUNCATE`, or `DELETE` and `UPDATE` without `WHERE`, or do something else than was meant), Warning
    /// (they hold others up, or break an older application), Never. What they have made themselves may go again. A
    /// comment `-- squawk-ignore RULE` above a statement hides a finding of squawk's. Default: Error.
    #[serde(default)]
    pub fail_on_lint: FailOnLint,
    /// Findings that do not count.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub ignore_lint: Vec<IgnoredLint>,
}

/// From how bad a finding on nothing runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum FailOnLint {
    /// Data are lost, or something else happens than was meant.
    #[default]
    Error,
    /// Others are held up, or an older application breaks.
    Warning,
    /// Nothing is looked for.
    Never,
}

/// A finding that does not count.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IgnoredLint {
    /// The rule, as `sepulki migrate lint` names it; or Renamed, MaybeRecorded (a row of the ledger is not that of this
    /// file) or ChangesLedger (it may), which need a file.
    #[schemars(length(min = 1, max = 64), regex(pattern = "^[A-Za-z][A-Za-z-]*$"))]
    pub rule: String,
    /// The file; all without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<FileName>,
    /// Why, for those who read it later.
    #[schemars(length(min = 1, max = 256))]
    pub reason: String,
}

/// A file that is not applied although a later one is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OutOfOrder {
    /// Nothing runs.
    #[default]
    Reject,
    /// It runs.
    Allow,
}

/// An applied version whose file is missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum MissingFile {
    /// It is told.
    #[default]
    Warn,
    /// Nothing runs.
    Fail,
}

/// An applied file that was edited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ChecksumMismatch {
    /// Nothing runs.
    #[default]
    Fail,
    /// It is told.
    Warn,
}

/// What follows from an applied file that was edited since, where `checksumMismatch` is Fail. Fail: nothing runs.
/// ResetBranch: the branch goes back to its parent's state, so that everything in it is lost, and all files are applied
/// anew; of development and previews only, and only where the parent does not have the file itself. Default:
/// ResetBranch for a preview, else Fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnDivergence {
    /// Nothing runs.
    Fail,
    /// The branch goes back to its parent's state, and all files are applied anew.
    ResetBranch,
}

/// An edited file whose present content is accepted.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AcceptedFile {
    /// The file.
    pub version: FileName,
    /// SHA-256 of its present content.
    pub sha256: Sha256,
}

/// How far a history is believed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AdoptMode {
    /// What the ledger records.
    #[default]
    Trust,
    /// What the ledger records, once all of it was found to be there.
    Verify,
    /// What the ledger records, or without a row the files up to the baseline.
    Baseline,
}

/// A database that already has a history.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("has(self.baseline) == (self.mode == 'Baseline')", "baseline is given with mode Baseline, and only then"))]
pub struct AdoptSpec {
    /// Trust: what the ledger records counts as applied. Verify: the same, once the files were tried on a copy of the branch
    /// that is thrown away, and nothing that is claimed was missing and nothing was there without being claimed; until then
    /// nothing runs. What was found is in `status.adoption`. Baseline: as Trust; and while the ledger has no row, the files
    /// up to `baseline` are recorded without being run. A change counts from the next run on. Default: Trust.
    #[serde(default)]
    pub mode: AdoptMode,
    /// The last file that a database without a ledger already has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<FileName>,
    /// Versions that the ledger has under another name than the file: recorded version to file name.
    #[serde(default, skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 256))]
    pub aliases: std::collections::BTreeMap<String, FileName>,
}
