//! The port to a real Kubernetes API server.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::{ObjectRef, Store};
use secrecy::SecretString;
use serde_json::Value;

use crate::api::{NeonDatabase, NeonProject, SepulkiMigration};
use crate::cluster::{
    Freshness, Glance, KeyRead, KeyRef, NamespaceState, ObjectId, Objects, Result, SecretReads,
    Seen,
};
use crate::world::Cluster;

/// What the watches have seen.
#[derive(Clone)]
pub struct Watches {
    /// Of NeonProject.
    pub projects: Store<Seen<NeonProject>>,
    /// Of NeonDatabase.
    pub databases: Store<Seen<NeonDatabase>>,
    /// Of SepulkiMigration.
    pub migrations: Store<Seen<SepulkiMigration>>,
    /// Of namespaces, without what is in them.
    pub namespaces: Store<PartialObjectMeta<Namespace>>,
}

/// A Kubernetes API server, with the watches on our kinds.
pub struct Kubernetes {
    objects: Objects,
    secrets: SecretReads,
    watches: Watches,
}

impl Kubernetes {
    /// Through `objects`, beside these watches.
    #[must_use]
    pub fn new(objects: Objects, watches: Watches) -> Self {
        Self {
            secrets: SecretReads::new(objects.clone()),
            objects,
            watches,
        }
    }
}

/// Objects that no longer decode are left out: they are nobody's parent and claim nothing.
fn decoded<K>(seen: &[Arc<Seen<K>>]) -> Vec<Arc<K>> {
    seen.iter()
        .filter_map(|object| object.0.as_ref().ok().map(Arc::clone))
        .collect()
}

#[async_trait]
impl Cluster for Kubernetes {
    fn projects(&self) -> Vec<Arc<NeonProject>> {
        decoded(&self.watches.projects.state())
    }

    fn databases(&self) -> Vec<Arc<NeonDatabase>> {
        decoded(&self.watches.databases.state())
    }

    fn migrations(&self) -> Vec<Arc<SepulkiMigration>> {
        decoded(&self.watches.migrations.state())
    }

    fn namespace_labels(&self, namespace: &str) -> Option<BTreeMap<String, String>> {
        let found = self.watches.namespaces.get(&ObjectRef::new(namespace))?;
        Some(found.metadata.labels.clone().unwrap_or_default())
    }

    async fn api_key(&self, at: &KeyRef, freshness: Freshness) -> Result<KeyRead> {
        self.secrets.key(at, freshness).await
    }

    fn remember_good_key(&self, at: &KeyRef, key: &SecretString) {
        self.secrets.remember_good(at, key);
    }

    fn last_good_key(&self, at: &KeyRef) -> Option<SecretString> {
        self.secrets.last_good(at)
    }

    async fn secret(&self, namespace: &str, name: &str) -> Result<Option<Secret>> {
        self.secrets.published(namespace, name).await
    }

    async fn glance_at_secret(&self, namespace: &str, name: &str) -> Result<Glance> {
        self.secrets.glance(namespace, name).await
    }

    async fn apply_secret(&self, secret: &Secret) -> Result<()> {
        self.objects.apply_secret(secret).await.map(|_| ())
    }

    async fn delete_secret(&self, namespace: &str, name: &str, uid: &str) -> Result<()> {
        self.objects.delete_secret(namespace, name, uid).await
    }

    async fn config_map(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<BTreeMap<String, Vec<u8>>>> {
        Ok(self
            .objects
            .get_config_map(namespace, name)
            .await?
            .map(entries))
    }

    async fn namespace(&self, name: &str) -> Result<NamespaceState> {
        self.objects.namespace(name).await
    }

    async fn add_finalizer(
        &self,
        id: &ObjectId,
        present: &[String],
        finalizer: &str,
    ) -> Result<ObjectMeta> {
        self.objects.add_finalizer(id, present, finalizer).await
    }

    async fn release_finalizer(
        &self,
        id: &ObjectId,
        present: &[String],
        finalizer: &str,
    ) -> Result<()> {
        self.objects.release_finalizer(id, present, finalizer).await
    }

    async fn write_status(
        &self,
        id: &ObjectId,
        resource_version: &str,
        status: &Value,
    ) -> Result<String> {
        self.objects
            .write_status(id, resource_version, status)
            .await
    }
}

/// `data` and `binaryData` together: the server keeps their keys apart.
fn entries(map: ConfigMap) -> BTreeMap<String, Vec<u8>> {
    let text = map
        .data
        .unwrap_or_default()
        .into_iter()
        .map(|(key, text)| (key, text.into_bytes()));
    let bytes = map
        .binary_data
        .unwrap_or_default()
        .into_iter()
        .map(|(key, bytes)| (key, bytes.0));
    text.chain(bytes).collect()
}
