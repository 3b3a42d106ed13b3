//! The port to a real Kubernetes API server.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::DeserializeGuard;
use kube::runtime::reflector::Store;
use secrecy::SecretString;
use serde_json::Value;

use crate::api::{NeonDatabase, SecretKeyRef, SepulkiMigration};
use crate::cluster::{
    Freshness, KeyRead, KeyRef, NamespaceState, ObjectId, Objects, Result, SecretReads,
};
use crate::world::Cluster;

/// What the watch of a kind has seen.
pub(super) type Seen<K> = Store<DeserializeGuard<K>>;

/// A Kubernetes API server, with the watches on our kinds.
pub struct Kubernetes {
    objects: Objects,
    secrets: SecretReads,
    databases: Seen<NeonDatabase>,
    migrations: Seen<SepulkiMigration>,
}

impl Kubernetes {
    /// Through `objects`, beside these watches.
    #[must_use]
    pub fn new(
        objects: Objects,
        databases: Seen<NeonDatabase>,
        migrations: Seen<SepulkiMigration>,
    ) -> Self {
        Self {
            secrets: SecretReads::new(objects.clone()),
            objects,
            databases,
            migrations,
        }
    }
}

/// Objects that no longer decode are left out: they are nobody's parent and claim nothing.
fn decoded<K: Clone>(seen: &[Arc<DeserializeGuard<K>>]) -> Vec<Arc<K>> {
    seen.iter()
        .filter_map(|guard| guard.0.as_ref().ok().cloned().map(Arc::new))
        .collect()
}

fn key_ref(namespace: &str, at: &SecretKeyRef) -> KeyRef {
    KeyRef {
        namespace: namespace.to_owned(),
        name: at.name.0.clone(),
        key: at.key.0.clone(),
    }
}

#[async_trait]
impl Cluster for Kubernetes {
    fn databases(&self) -> Vec<Arc<NeonDatabase>> {
        decoded(&self.databases.state())
    }

    fn migrations(&self) -> Vec<Arc<SepulkiMigration>> {
        decoded(&self.migrations.state())
    }

    async fn api_key(&self, namespace: &str, at: &SecretKeyRef, anew: bool) -> Result<KeyRead> {
        let freshness = if anew {
            Freshness::Now
        } else {
            Freshness::Recent
        };
        self.secrets.key(&key_ref(namespace, at), freshness).await
    }

    fn remember_good_key(&self, namespace: &str, at: &SecretKeyRef, key: &SecretString) {
        self.secrets.remember_good(&key_ref(namespace, at), key);
    }

    fn last_good_key(&self, namespace: &str, at: &SecretKeyRef) -> Option<SecretString> {
        self.secrets.last_good(&key_ref(namespace, at))
    }

    async fn secret(&self, namespace: &str, name: &str) -> Result<Option<Secret>> {
        self.secrets.published(namespace, name).await
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
