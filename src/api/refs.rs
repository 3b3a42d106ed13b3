//! References to other objects, always in the namespace of the object that holds them. Types only.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::names::{ObjectName, SecretKey};

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
