//! Connection Secrets of a NeonDatabase. Types only.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::names::{ObjectName, PgName, RoleName};

/// A Secret that applications mount.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConnectionSecretSpec {
    /// Name of the Secret.
    pub name: ObjectName,
    /// The role it logs in as. Default: the only ReadWrite role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<RoleName>,
    /// The database it connects to. Default: the only database of the role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<PgName>,
}

/// A Secret that is out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConnectionSecretStatus {
    /// Name of the Secret.
    #[schemars(length(max = 253))]
    pub name: String,
    /// The role it logs in as.
    #[schemars(length(max = 63))]
    pub role: String,
    /// The database it connects to.
    #[schemars(length(max = 63))]
    pub database: String,
    /// The login it holds.
    #[schemars(length(max = 63))]
    pub login: String,
}
