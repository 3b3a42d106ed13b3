//! The port to Kubernetes: the few reads and writes that the kinds make.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use secrecy::SecretString;
use serde_json::Value;

use crate::api::{NeonDatabase, NeonProject, SepulkiMigration};
use crate::cluster::{Freshness, Glance, KeyRead, KeyRef, NamespaceState, ObjectId, Result};

/// Kubernetes.
#[async_trait]
pub trait Cluster: Send + Sync {
    /// All NeonProjects that the watch knows.
    fn projects(&self) -> Vec<Arc<NeonProject>>;
    /// All NeonDatabases that the watch knows.
    fn databases(&self) -> Vec<Arc<NeonDatabase>>;
    /// All SepulkiMigrations that the watch knows.
    fn migrations(&self) -> Vec<Arc<SepulkiMigration>>;
    /// The labels of a namespace, as the watch knows them; none where it knows no such namespace.
    fn namespace_labels(&self, namespace: &str) -> Option<BTreeMap<String, String>>;
    /// An API key, as fresh as this.
    async fn api_key(&self, at: &KeyRef, freshness: Freshness) -> Result<KeyRead>;
    /// Remembers that an API key works.
    fn remember_good_key(&self, at: &KeyRef, key: &SecretString);
    /// The last key of that name that worked, whatever has become of its Secret.
    fn last_good_key(&self, at: &KeyRef) -> Option<SecretString>;
    /// A Secret that we publish, or whatever has its name.
    async fn secret(&self, namespace: &str, name: &str) -> Result<Option<Secret>>;
    /// The same where nobody else wants to read; never waits.
    async fn glance_at_secret(&self, namespace: &str, name: &str) -> Result<Glance>;
    /// Writes a Secret, creating it where it does not exist.
    async fn apply_secret(&self, secret: &Secret) -> Result<()>;
    /// Deletes exactly this Secret.
    async fn delete_secret(&self, namespace: &str, name: &str, uid: &str) -> Result<()>;
    /// The text of a ConfigMap's keys.
    async fn config_map(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<BTreeMap<String, Vec<u8>>>>;
    /// Whether a namespace is there, going or gone.
    async fn namespace(&self, name: &str) -> Result<NamespaceState>;
    /// Adds a finalizer; answers the object's metadata as it then is.
    async fn add_finalizer(
        &self,
        id: &ObjectId,
        present: &[String],
        finalizer: &str,
    ) -> Result<ObjectMeta>;
    /// Removes a finalizer. Fine where the object is gone.
    async fn release_finalizer(
        &self,
        id: &ObjectId,
        present: &[String],
        finalizer: &str,
    ) -> Result<()>;
    /// Writes a whole status on top of exactly this resource version; answers the new one.
    async fn write_status(
        &self,
        id: &ObjectId,
        resource_version: &str,
        status: &Value,
    ) -> Result<String>;
}
