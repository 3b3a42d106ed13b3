//! Kubernetes in memory: objects with resource versions, generations, finalizers and owners; a watch that lags.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time};
use kube::Resource;
use sepulki::api::{NeonDatabase, NeonProject, SepulkiMigration};
use sepulki::cluster::{Error, ErrorKind, NamespaceState, ObjectId, Result};
use serde_json::Value;

use super::objects::Objects;

/// Namespace and name.
pub type Key = (String, String);

pub fn key(namespace: &str, name: &str) -> Key {
    (namespace.to_owned(), name.to_owned())
}

#[derive(Clone, Default)]
pub struct Kubernetes {
    versions: u64,
    uids: u64,
    /// Their namespace is empty.
    pub projects: Objects<NeonProject>,
    pub databases: Objects<NeonDatabase>,
    pub migrations: Objects<SepulkiMigration>,
    pub secrets: BTreeMap<Key, StoredSecret>,
    pub config_maps: BTreeMap<Key, BTreeMap<String, Vec<u8>>>,
    pub namespaces: BTreeMap<String, NamespaceState>,
    pub labels: BTreeMap<String, BTreeMap<String, String>>,
    /// Labels of namespaces, as the watch tells them.
    pub watched_labels: BTreeMap<String, BTreeMap<String, String>>,
    /// What the watches have told of so far, in order.
    pub told: Vec<(Kind, Key)>,
    held_back: bool,
    /// Writes of the operator that changed something.
    pub writes: Vec<String>,
}

/// The kinds of the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Project,
    Database,
    Migration,
}

/// A Secret, and which of its keys the operator manages: server-side apply leaves the others alone.
#[derive(Clone)]
pub struct StoredSecret {
    pub secret: Secret,
    managed: BTreeSet<String>,
}

/// What is common to the kinds of the operator.
pub trait Stored: Resource<DynamicType = ()> + Clone {
    fn set_status(&mut self, status: &Value) -> std::result::Result<bool, serde_json::Error>;
}

impl Stored for NeonProject {
    fn set_status(&mut self, status: &Value) -> std::result::Result<bool, serde_json::Error> {
        let status = Some(serde_json::from_value(status.clone())?);
        let changes = self.status != status;
        self.status = status;
        Ok(changes)
    }
}

impl Stored for NeonDatabase {
    fn set_status(&mut self, status: &Value) -> std::result::Result<bool, serde_json::Error> {
        let status = Some(serde_json::from_value(status.clone())?);
        let changes = self.status != status;
        self.status = status;
        Ok(changes)
    }
}

impl Stored for SepulkiMigration {
    fn set_status(&mut self, status: &Value) -> std::result::Result<bool, serde_json::Error> {
        let status = Some(serde_json::from_value(status.clone())?);
        let changes = self.status != status;
        self.status = status;
        Ok(changes)
    }
}

pub fn conflict(what: &str) -> Error {
    Error::new(ErrorKind::Conflict, what)
}

fn key_of(id: &ObjectId) -> Key {
    key(id.namespace.as_deref().unwrap_or_default(), &id.name)
}

/// What the API server keeps of a moment.
fn whole_seconds(now: Timestamp) -> Time {
    Time(Timestamp::from_second(now.as_second()).unwrap())
}

impl Kubernetes {
    fn next_version(&mut self) -> String {
        self.versions += 1;
        self.versions.to_string()
    }

    /// A new object, as somebody applies it.
    pub fn create<K: Stored>(&mut self, mut object: K, now: Timestamp) -> K {
        self.uids += 1;
        let version = self.next_version();
        let meta = object.meta_mut();
        meta.uid = Some(format!("uid-{:05}", self.uids));
        meta.resource_version = Some(version);
        meta.generation = Some(1);
        meta.creation_timestamp = Some(whole_seconds(now));
        object
    }

    /// A change of an object's spec by somebody else.
    pub fn edited<K: Stored>(&mut self, object: &mut K) {
        self.annotated(object);
        let meta = object.meta_mut();
        meta.generation = meta.generation.map(|generation| generation + 1);
    }

    /// Somebody has changed what is no part of the spec.
    pub fn annotated<K: Stored>(&mut self, object: &mut K) {
        object.meta_mut().resource_version = Some(self.next_version());
    }

    /// The watches tell nothing the next time.
    pub fn hold_back_watch(&mut self) {
        self.held_back = true;
    }

    /// The watches catch up.
    pub fn deliver(&mut self) {
        if std::mem::take(&mut self.held_back) {
            return;
        }
        let told = [
            (Kind::Project, self.projects.deliver()),
            (Kind::Database, self.databases.deliver()),
            (Kind::Migration, self.migrations.deliver()),
        ];
        for (kind, keys) in told {
            self.told.extend(keys.into_iter().map(|key| (kind, key)));
        }
        self.watched_labels.clone_from(&self.labels);
    }

    /// Somebody deletes an object: it goes when its last finalizer does.
    pub fn delete_database(&mut self, key: &Key, now: Timestamp) {
        let Some(object) = self.databases.remove(key) else {
            return;
        };
        let uid = object.metadata.uid.clone();
        match self.dying(object, now) {
            Some(object) => self.databases.insert(key.clone(), object),
            None => self.collect(uid.as_deref()),
        }
    }

    /// An object that somebody deletes, as it stays until its last finalizer goes; none where it has none.
    fn dying<K: Stored>(&mut self, mut object: K, now: Timestamp) -> Option<K> {
        object.meta().finalizers.iter().flatten().next()?;
        if object.meta().deletion_timestamp.is_none() {
            object.meta_mut().deletion_timestamp = Some(whole_seconds(now));
            self.edited(&mut object);
        }
        Some(object)
    }

    /// Somebody deletes a NeonProject: it goes when its finalizer does.
    pub fn delete_project(&mut self, name: &str, now: Timestamp) {
        let key = key("", name);
        let object = self.projects.remove(&key);
        if let Some(object) = object.and_then(|object| self.dying(object, now)) {
            self.projects.insert(key, object);
        }
    }

    /// Somebody deletes a SepulkiMigration: it goes when its finalizer does.
    pub fn delete_migration(&mut self, key: &Key, now: Timestamp) {
        let object = self.migrations.remove(key);
        if let Some(object) = object.and_then(|object| self.dying(object, now)) {
            self.migrations.insert(key.clone(), object);
        }
    }

    /// Somebody deletes a namespace: Secrets go before everything else, the API key's among them.
    pub fn delete_namespace(&mut self, name: &str, now: Timestamp) {
        let going = NamespaceState::Terminating;
        self.namespaces.insert(name.to_owned(), going);
        self.secrets.retain(|key, _| key.0 != name);
        self.config_maps.retain(|key, _| key.0 != name);
        let migrations: Vec<Key> = self.migrations.keys().cloned().collect();
        for key in migrations.iter().filter(|key| key.0 == name) {
            self.delete_migration(key, now);
        }
        let keys: Vec<Key> = self
            .databases
            .keys()
            .filter(|k| k.0 == name)
            .cloned()
            .collect();
        for key in keys {
            self.delete_database(&key, now);
        }
        self.finish_namespaces();
    }

    fn finish_namespaces(&mut self) {
        let (databases, migrations) = (&self.databases, &self.migrations);
        self.namespaces.retain(|name, state| {
            let mut left = databases.keys().chain(migrations.keys());
            *state == NamespaceState::Active || left.any(|key| key.0 == *name)
        });
    }

    pub fn namespace(&self, name: &str) -> NamespaceState {
        let known = self.namespaces.get(name);
        known.copied().unwrap_or(NamespaceState::Gone)
    }

    /// Removes what belongs to an object that is gone, or is being deleted in the foreground.
    pub fn collect(&mut self, uid: Option<&str>) {
        let owned = |owner: &OwnerReference| Some(owner.uid.as_str()) == uid;
        self.secrets.retain(|_, stored| {
            let owners = stored.secret.metadata.owner_references.as_ref();
            !owners.is_some_and(|owners| owners.iter().any(owned))
        });
        self.finish_namespaces();
    }

    pub fn add_finalizer(
        &mut self,
        id: &ObjectId,
        present: &[String],
        finalizer: &str,
    ) -> Result<ObjectMeta> {
        let version = self.next_version();
        let meta = self.finalized(id)?;
        if present.iter().any(|f| f == finalizer) {
            return Ok(meta.clone());
        }
        if meta.finalizers.clone().unwrap_or_default() != present
            || meta.deletion_timestamp.is_some()
        {
            return Err(conflict("the finalizers have changed"));
        }
        meta.finalizers
            .get_or_insert_default()
            .push(finalizer.to_owned());
        meta.resource_version = Some(version);
        let meta = meta.clone();
        self.writes.push(format!("add finalizer to {id}"));
        Ok(meta)
    }

    pub fn release_finalizer(
        &mut self,
        id: &ObjectId,
        present: &[String],
        finalizer: &str,
    ) -> Result<()> {
        let Some(index) = present.iter().position(|f| f == finalizer) else {
            return Ok(());
        };
        let version = self.next_version();
        let meta = match self.finalized(id) {
            Err(error) if error.kind == ErrorKind::NotFound => return Ok(()),
            other => other?,
        };
        let finalizers = meta.finalizers.get_or_insert_default();
        if finalizers.get(index).map(String::as_str) != Some(finalizer) {
            return Err(conflict("the finalizers have changed"));
        }
        finalizers.remove(index);
        meta.resource_version = Some(version);
        let gone = finalizers.is_empty() && meta.deletion_timestamp.is_some();
        self.writes.push(format!("release finalizer of {id}"));
        if gone {
            let key = key_of(id);
            match id.resource.kind.as_str() {
                "NeonProject" => drop(self.projects.remove(&key)),
                "NeonDatabase" => drop(self.databases.remove(&key)),
                _ => drop(self.migrations.remove(&key)),
            }
            self.collect(Some(&id.uid));
        }
        Ok(())
    }

    fn finalized(&mut self, id: &ObjectId) -> Result<&mut ObjectMeta> {
        let key = key_of(id);
        let meta = match id.resource.kind.as_str() {
            "NeonProject" => self.projects.get_mut(&key).map(|o| &mut o.metadata),
            "NeonDatabase" => self.databases.get_mut(&key).map(|o| &mut o.metadata),
            _ => self.migrations.get_mut(&key).map(|o| &mut o.metadata),
        };
        let meta = meta.ok_or_else(|| Error::new(ErrorKind::NotFound, "not found"))?;
        if !id.is(meta) {
            return Err(conflict("another incarnation"));
        }
        Ok(meta)
    }

    pub fn write_status(&mut self, id: &ObjectId, version: &str, status: &Value) -> Result<String> {
        let next = self.next_version();
        let key = key_of(id);
        let (written, changes) = match id.resource.kind.as_str() {
            "NeonProject" => set_status(self.projects.get_mut(&key), id, version, status, next)?,
            "NeonDatabase" => set_status(self.databases.get_mut(&key), id, version, status, next)?,
            _ => set_status(self.migrations.get_mut(&key), id, version, status, next)?,
        };
        if changes {
            self.writes.push(format!("write status of {id}"));
        }
        Ok(written)
    }

    pub fn apply_secret(&mut self, secret: &Secret) -> Result<()> {
        let meta = &secret.metadata;
        let key = key(
            meta.namespace.as_deref().unwrap_or_default(),
            meta.name.as_deref().unwrap_or_default(),
        );
        let applied = secret.data.clone().unwrap_or_default();
        let managed: BTreeSet<String> = applied.keys().cloned().collect();
        let Some(mut stored) = self.secrets.get(&key).cloned() else {
            if meta.uid.is_some() {
                return Err(conflict("the Secret is another one"));
            }
            match self.namespace(&key.0) {
                NamespaceState::Active => {}
                NamespaceState::Terminating => return Err(conflict("the namespace is going")),
                NamespaceState::Gone => {
                    return Err(Error::new(ErrorKind::NotFound, "no namespace"));
                }
            }
            self.put_secret(secret.clone(), managed);
            self.writes
                .push(format!("create Secret {}/{}", key.0, key.1));
            return Ok(());
        };
        let before = stored.secret.clone();
        if meta.uid.is_some() && meta.uid != before.metadata.uid {
            return Err(conflict("the Secret is another one"));
        }
        if before.type_ != secret.type_ {
            return Err(Error::new(
                ErrorKind::Invalid,
                "the type of a Secret is immutable",
            ));
        }
        let data = stored.secret.data.get_or_insert_default();
        data.retain(|entry, _| !stored.managed.contains(entry));
        data.extend(applied);
        stored.managed = managed;
        let notes = stored.secret.metadata.annotations.get_or_insert_default();
        notes.extend(meta.annotations.clone().unwrap_or_default());
        stored.secret.metadata.labels.clone_from(&meta.labels);
        stored
            .secret
            .metadata
            .owner_references
            .clone_from(&meta.owner_references);
        if stored.secret != before {
            stored.secret.metadata.resource_version = Some(self.next_version());
            self.writes
                .push(format!("change Secret {}/{}", key.0, key.1));
        }
        self.secrets.insert(key, stored);
        Ok(())
    }

    pub fn put_secret(&mut self, mut secret: Secret, managed: BTreeSet<String>) {
        self.uids += 1;
        secret.metadata.uid = Some(format!("uid-{:03}", self.uids));
        secret.metadata.resource_version = Some(self.next_version());
        let namespace = secret.metadata.namespace.clone().unwrap_or_default();
        let name = secret.metadata.name.clone().unwrap_or_default();
        let stored = StoredSecret { secret, managed };
        self.secrets.insert((namespace, name), stored);
    }

    /// A Secret that somebody else makes.
    pub fn foreign_secret(&mut self, namespace: &str, name: &str, entries: &[(&str, &str)]) {
        let data = entries
            .iter()
            .map(|(k, v)| ((*k).to_owned(), ByteString(v.as_bytes().to_vec())));
        let secret = Secret {
            metadata: ObjectMeta {
                namespace: Some(namespace.to_owned()),
                name: Some(name.to_owned()),
                ..ObjectMeta::default()
            },
            type_: Some("Opaque".to_owned()),
            data: Some(data.collect()),
            ..Secret::default()
        };
        self.put_secret(secret, BTreeSet::new());
    }

    pub fn delete_secret(&mut self, namespace: &str, name: &str, uid: &str) -> Result<()> {
        let key = key(namespace, name);
        match self.secrets.get(&key) {
            None => Ok(()),
            Some(found) if found.secret.metadata.uid.as_deref() == Some(uid) => {
                self.secrets.remove(&key);
                self.writes
                    .push(format!("delete Secret {namespace}/{name}"));
                Ok(())
            }
            Some(_) => Err(conflict("the Secret is another one")),
        }
    }
}

fn set_status<K: Stored>(
    object: Option<&mut K>,
    id: &ObjectId,
    version: &str,
    status: &Value,
    next: String,
) -> Result<(String, bool)> {
    let object = object.ok_or_else(|| Error::new(ErrorKind::NotFound, "not found"))?;
    let meta = object.meta();
    if !id.is(meta) || meta.resource_version.as_deref() != Some(version) {
        return Err(conflict("the object has been modified"));
    }
    let changes = object
        .set_status(status)
        .map_err(|error| Error::new(ErrorKind::Invalid, error.to_string()))?;
    if changes {
        object.meta_mut().resource_version = Some(next.clone());
        return Ok((next, true));
    }
    Ok((version.to_owned(), false))
}
