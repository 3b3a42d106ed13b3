//! References to other objects: in the namespace of the object that holds them, or to and from cluster-scoped ones.
//! Types only.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::names::{NamespaceName, ObjectName, SecretKey};

/// A key of a Secret in the same namespace.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SecretKeyRef {
    /// Name of the Secret.
    pub name: ObjectName,
    /// Key in its data.
    pub key: SecretKey,
}

impl Default for SecretKeyRef {
    fn default() -> Self {
        Self {
            name: "neon-api-key".into(),
            key: "apiKey".into(),
        }
    }
}

/// A NeonDatabase in the same namespace. One that does not exist yet is waited for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DatabaseRef {
    /// Name of the NeonDatabase.
    pub name: ObjectName,
}

/// A SepulkiMigration in the same namespace. One that does not exist yet is waited for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MigrationRef {
    /// Name of the SepulkiMigration.
    pub name: ObjectName,
}

/// A NeonProject, which is cluster-scoped. One that does not exist yet is waited for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProjectRef {
    /// Name of the NeonProject.
    pub name: ObjectName,
}

/// A key of a Secret, for an object that lives in no namespace itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NamespacedSecretKeyRef {
    /// Namespace of the Secret.
    pub namespace: NamespaceName,
    /// Name of the Secret. Default: `neon-api-key`.
    #[serde(default = "secret_name")]
    pub name: ObjectName,
    /// Key in its data. Default: `apiKey`.
    #[serde(default = "secret_key")]
    pub key: SecretKey,
}

fn secret_name() -> ObjectName {
    SecretKeyRef::default().name
}

fn secret_key() -> SecretKey {
    SecretKeyRef::default().key
}
