//! What became of the compute that a NeonDatabase asks for. Types only.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::role;

/// Size, suspend time and settings of a compute.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ComputeValues {
    /// Smallest size, in CU.
    #[serde(default, rename = "minCU", skip_serializing_if = "Option::is_none")]
    pub min_cu: Option<f64>,
    /// Largest size, in CU.
    #[serde(default, rename = "maxCU", skip_serializing_if = "Option::is_none")]
    pub max_cu: Option<f64>,
    /// Idle time before it is scaled to zero.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 24))]
    pub suspend_after: Option<String>,
    /// Settings of PostgreSQL.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "role::settings")]
    pub settings: BTreeMap<String, String>,
}

/// Values of the profile that Neon has refused and that are left out since.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlanLimit {
    /// The smallest size that was refused, in CU.
    #[serde(default, rename = "minCU", skip_serializing_if = "Option::is_none")]
    pub min_cu: Option<f64>,
    /// The largest size that was refused, in CU.
    #[serde(default, rename = "maxCU", skip_serializing_if = "Option::is_none")]
    pub max_cu: Option<f64>,
    /// The suspend time that was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 24))]
    pub suspend_after: Option<String>,
    /// Neon's words.
    #[schemars(length(max = 1024))]
    pub message: String,
}
