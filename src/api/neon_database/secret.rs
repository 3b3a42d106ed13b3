//! Connection Secrets of a NeonDatabase. Types only.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::api::names::{ObjectName, PgName, RoleName};

/// A Secret that applications mount.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConnectionSecretSpec {
    /// Name of the Secret.
    pub name: ObjectName,
    /// The role it logs in as. Default: the only ReadWrite role, resolved when the Secret comes out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<RoleName>,
    /// The database it connects to. Default: the only database of the role, resolved when the Secret comes out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<PgName>,
    /// What the Secret says beside the entries that each has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<SecretTemplate>,
}

/// More metadata and entries for a connection Secret. A change is published at once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretTemplate {
    /// Labels and annotations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<TemplateMetadata>,
    /// Entries by key. Values may hold variables: `$(url)` and `$(direct_url)`, with and without Neon's pooler; `$(host)`
    /// and `$(direct_host)`, `$(port)`, `$(database)`, `$(user)`, `$(password)`, `$(sslmode)`; `$(role)`, which is what
    /// `current_user` says. `$(user_escaped)`, `$(password_escaped)` and `$(database_escaped)` fit into a URL. `$$` is a
    /// dollar sign. The keys that each Secret has cannot be given.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "entries")]
    pub data: BTreeMap<String, String>,
}

/// Metadata of a connection Secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TemplateMetadata {
    /// Labels, but for those of `sepulki.dev`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "labels")]
    pub labels: BTreeMap<String, String>,
    /// Annotations, but for those of `sepulki.dev`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "entries")]
    pub annotations: BTreeMap<String, String>,
}

fn labels(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 32,
        "additionalProperties": {"type": "string", "maxLength": 63},
    })
}

fn entries(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 32,
        "additionalProperties": {"type": "string", "maxLength": 4096},
    })
}

/// A Secret that is out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
    /// The login it held before and that still works, until the overlap ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub previous_login: Option<String>,
    /// When the login was published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation_time: Option<Time>,
}
