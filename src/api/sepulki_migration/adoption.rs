//! What was found out about a history under `adopt.mode: Verify`.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::OperationStatus;
use crate::api::default::is_default;

/// Whether what the ledger claims is there, and the branch on which that is being found out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AdoptionStatus {
    /// What was found; none before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<AdoptionVerdict>,
    /// The child of the branch on which the files are tried; none while there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scratch: Option<ScratchBranch>,
}

/// What was found of a history. One in which nothing is wrong holds for as long as the branch is what it was; one in which
/// something is wrong until the files, the ledger, `adopt.aliases` or `execution.role` change, or `sepulki.dev/retry` asks
/// anew.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AdoptionVerdict {
    /// The branch.
    #[schemars(length(max = 64))]
    pub branch_id: String,
    /// Its incarnation.
    #[schemars(length(max = 128))]
    pub incarnation: String,
    /// The database.
    #[schemars(length(max = 63))]
    pub database: String,
    /// SHA-256 of what was compared: the files, the rows of the ledger, `adopt.aliases` and `execution.role`.
    #[schemars(length(max = 71))]
    pub basis: String,
    /// When it was found.
    pub time: Time,
    /// How many versions are claimed and there.
    pub consistent: i32,
    /// How many are claimed, while not all of them is there.
    pub claimed_but_missing: i32,
    /// How many are there without being claimed.
    pub there_without_row: i32,
    /// Of how many a part is there, while nobody claims them: to run them would fail.
    #[serde(default)]
    pub there_in_part: i32,
    /// Of how many it cannot be told: these are believed.
    pub unknown: i32,
    /// How many are neither claimed nor there.
    pub pending: i32,
    /// The first twenty versions, those that need somebody first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    pub versions: Vec<VerifiedVersion>,
}

impl AdoptionVerdict {
    /// Whether nothing is wrong with the history.
    #[must_use]
    pub fn is_fine(&self) -> bool {
        self.claimed_but_missing == 0 && self.there_without_row == 0 && self.there_in_part == 0
    }
}

/// What was found of a file, or of a row without one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VerifiedVersion {
    /// The file's name, or the row's.
    #[schemars(length(max = 255))]
    pub version: String,
    /// What was found.
    pub verdict: VersionVerdict,
    /// What is missing, or why it cannot be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub detail: Option<String>,
}

/// What a ledger claims of a version, and what is there of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum VersionVerdict {
    /// Claimed, and not all of it is there.
    ClaimedButMissing,
    /// There without being claimed.
    ThereWithoutRow,
    /// A part of it is there without being claimed.
    ThereInPart,
    /// It cannot be told.
    Unknown,
    /// Neither claimed nor there.
    Pending,
    /// Claimed and there.
    Consistent,
}

/// A branch on which files are tried. Neon deletes it at its end, should nobody else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScratchBranch {
    /// The branch that it is a copy of.
    #[schemars(length(max = 64))]
    pub parent_id: String,
    /// That branch's incarnation.
    #[schemars(length(max = 128))]
    pub incarnation: String,
    /// When it was asked for, or is about to be.
    pub request_time: Time,
    /// When Neon deletes it, should nobody else: half an hour after the time that trying the files may take at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expiry_time: Option<Time>,
    /// Identity on Neon, from when it is known until Neon has been asked to delete it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub id: Option<String>,
    /// Whether Neon has been asked to delete it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub deleted: bool,
    /// On how many copies, made one after the other since the last verdict or failure, files were tried in vain.
    #[serde(default, skip_serializing_if = "is_default")]
    pub copies: i32,
    /// Whether this one is among them.
    #[serde(default, skip_serializing_if = "is_default")]
    pub tried: bool,
    /// Whether the branch was found to have changed since it was copied, so that another copy is needed.
    #[serde(default, skip_serializing_if = "is_default")]
    pub outdated: bool,
    /// What came in the way of the last trial, on this copy or on the one before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub trouble: Option<String>,
    /// What Neon is at work on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub operations: Vec<OperationStatus>,
}
