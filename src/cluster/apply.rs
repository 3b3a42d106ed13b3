//! Reads and writes of single objects: finalizers, status, Secrets, ConfigMaps, namespaces.
//!
//! Every write says on which state of the object it rests, so that two operators, or an answer that got lost, end in
//! `Conflict` and a new look, never in one undoing the other. Called by the effects of the kinds.

use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret};
use kube::{
    Api, Client,
    api::{DeleteParams, Patch, PatchParams, Preconditions},
    core::{DynamicObject, ObjectMeta},
};
use serde_json::{Value, json};

use super::{Error, ErrorKind, ObjectId, Result};

/// Under this name the operator's writes appear in `metadata.managedFields`. Never changed: fields would be orphaned.
pub const FIELD_MANAGER: &str = "sepulki-operator";

/// Whether things can still be created in a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NamespaceState {
    /// It exists.
    Active,
    /// It is being deleted: everything in it is going, nothing can be created.
    Terminating,
    /// It does not exist.
    Gone,
}

/// Single objects of the cluster, through the request client of [`super::Clients`].
#[derive(Clone)]
pub struct Objects {
    client: Client,
}

impl Objects {
    /// Through `client`, which must bound its requests in time.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    /// Adds `finalizer` to an object whose finalizers the caller saw as `present`, unless it is there. The answer is the
    /// object's metadata as it then is.
    ///
    /// # Errors
    /// `Conflict` when the object's finalizers are no longer those, it is being deleted, or it is another incarnation.
    pub async fn add_finalizer(
        &self,
        id: &ObjectId,
        present: &[String],
        finalizer: &str,
    ) -> Result<ObjectMeta> {
        let change = if present.iter().any(|one| one == finalizer) {
            json!([{"op": "test", "path": "/metadata/uid", "value": id.uid}])
        } else if present.is_empty() {
            json!([
                {"op": "test", "path": "/metadata/uid", "value": id.uid},
                {"op": "test", "path": "/metadata/finalizers", "value": null},
                {"op": "add", "path": "/metadata/finalizers", "value": [finalizer]},
            ])
        } else {
            json!([
                {"op": "test", "path": "/metadata/uid", "value": id.uid},
                {"op": "test", "path": "/metadata/finalizers", "value": present},
                {"op": "add", "path": "/metadata/finalizers/-", "value": finalizer},
            ])
        };
        self.patch_finalizers(id, change)
            .await
            .map_err(|error| error.during(format_args!("add finalizer to {id}")))
    }

    /// Takes `finalizer` off an object whose finalizers the caller saw as `present`. Fine if it or the object is gone.
    ///
    /// # Errors
    /// `Conflict` when the object's finalizers are no longer those, or it is another incarnation.
    pub async fn release_finalizer(
        &self,
        id: &ObjectId,
        present: &[String],
        finalizer: &str,
    ) -> Result<()> {
        let Some(index) = present.iter().position(|one| one == finalizer) else {
            return Ok(());
        };
        let path = format!("/metadata/finalizers/{index}");
        let change = json!([
            {"op": "test", "path": "/metadata/uid", "value": id.uid},
            {"op": "test", "path": path, "value": finalizer},
            {"op": "remove", "path": path},
        ]);
        match self.patch_finalizers(id, change).await {
            Ok(_) => Ok(()),
            Err(error) if error.kind == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error.during(format_args!("release finalizer of {id}"))),
        }
    }

    async fn patch_finalizers(&self, id: &ObjectId, change: Value) -> Result<ObjectMeta> {
        let patch = serde_json::from_value(change)
            .map(Patch::<()>::Json)
            .map_err(|error| Error::new(ErrorKind::Invalid, error.to_string()))?;
        let params = PatchParams {
            field_manager: Some(FIELD_MANAGER.into()),
            ..PatchParams::default()
        };
        match self.dynamic(id).patch(&id.name, &params, &patch).await {
            Ok(object) => Ok(object.metadata),
            Err(error) if is_failed_test(&error) => Err(Error {
                kind: ErrorKind::Conflict,
                ..Error::from(error)
            }),
            Err(error) => Err(Error::from(error)),
        }
    }

    /// Replaces the object's whole status, resting on the state of the object in which it had `resource_version`; the
    /// answer is the new resource version (the same, if nothing changed). Works for objects that no longer decode.
    ///
    /// # Errors
    /// `Conflict` when the object has changed since, `NotFound` when it is gone, `Invalid` when the schema refuses.
    pub async fn write_status(
        &self,
        id: &ObjectId,
        resource_version: &str,
        status: &Value,
    ) -> Result<String> {
        // A uid here would protect nothing on a status; the resource version does, and names the incarnation too.
        let body = json!({
            "apiVersion": id.resource.api_version,
            "kind": id.resource.kind,
            "metadata": {"name": id.name, "namespace": id.namespace, "resourceVersion": resource_version},
            "status": status,
        });
        let written = self
            .dynamic(id)
            .patch_status(&id.name, &apply(), &Patch::Apply(&body))
            .await;
        written
            .map(|object| object.metadata.resource_version.unwrap_or_default())
            .map_err(|error| Error::from(error).during(format_args!("write status of {id}")))
    }

    /// An object as it is stored, whether or not it fits our types; `None` if it is gone.
    pub async fn get_raw(&self, id: &ObjectId) -> Result<Option<Value>> {
        let found = self
            .dynamic(id)
            .get_opt(&id.name)
            .await
            .map_err(|error| Error::from(error).during(format_args!("read {id}")))?;
        found
            .map(serde_json::to_value)
            .transpose()
            .map_err(|error| Error::new(ErrorKind::Invalid, error.to_string()))
    }

    /// Makes the Secret look like `secret`: what an earlier call set and this one does not is removed, fields of other
    /// managers stay. Give contents as `data` (under server-side apply `stringData` leaves removed keys behind), owner
    /// references in the metadata, and a uid there where it must be one particular Secret. Writes nothing if nothing
    /// changes. The answer is the Secret's metadata.
    ///
    /// # Errors
    /// `Conflict` when the uid or resource version given is not the Secret's, or the namespace is going; `Invalid` when
    /// the type differs from the existing Secret's.
    pub async fn apply_secret(&self, secret: &Secret) -> Result<ObjectMeta> {
        let namespace = secret.metadata.namespace.clone().unwrap_or_default();
        let name = secret.metadata.name.clone().unwrap_or_default();
        let api = Api::<Secret>::namespaced(self.client.clone(), &namespace);
        match api.patch(&name, &apply(), &Patch::Apply(secret)).await {
            Ok(applied) => Ok(applied.metadata),
            Err(error) => {
                Err(Error::from(error).during(format_args!("apply Secret {namespace}/{name}")))
            }
        }
    }

    /// Deletes that one incarnation of a Secret. Fine if it is gone.
    ///
    /// # Errors
    /// `Conflict` when the Secret of that name is another one.
    pub async fn delete_secret(&self, namespace: &str, name: &str, uid: &str) -> Result<()> {
        let preconditions = Preconditions {
            uid: Some(uid.to_owned()),
            resource_version: None,
        };
        let params = DeleteParams::default().preconditions(preconditions);
        let api = Api::<Secret>::namespaced(self.client.clone(), namespace);
        match api.delete(name, &params).await.map_err(Error::from) {
            Ok(_) => Ok(()),
            Err(error) if error.kind == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error.during(format_args!("delete Secret {namespace}/{name}"))),
        }
    }

    /// One Secret; `None` if there is none. Reads are few by contract: see [`super::SecretReads`].
    pub async fn get_secret(&self, namespace: &str, name: &str) -> Result<Option<Secret>> {
        let api = Api::<Secret>::namespaced(self.client.clone(), namespace);
        api.get_opt(name).await.map_err(|error| {
            Error::from(error).during(format_args!("read Secret {namespace}/{name}"))
        })
    }

    /// One ConfigMap; `None` if there is none.
    pub async fn get_config_map(&self, namespace: &str, name: &str) -> Result<Option<ConfigMap>> {
        let api = Api::<ConfigMap>::namespaced(self.client.clone(), namespace);
        api.get_opt(name).await.map_err(|error| {
            Error::from(error).during(format_args!("read ConfigMap {namespace}/{name}"))
        })
    }

    /// Whether a namespace is there, going or gone.
    pub async fn namespace(&self, name: &str) -> Result<NamespaceState> {
        let api = Api::<Namespace>::all(self.client.clone());
        match api.get_metadata_opt(name).await {
            Ok(None) => Ok(NamespaceState::Gone),
            Ok(Some(found)) if found.metadata.deletion_timestamp.is_some() => {
                Ok(NamespaceState::Terminating)
            }
            Ok(Some(_)) => Ok(NamespaceState::Active),
            Err(error) => Err(Error::from(error).during(format_args!("read Namespace {name}"))),
        }
    }

    fn dynamic(&self, id: &ObjectId) -> Api<DynamicObject> {
        match &id.namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &id.resource),
            None => Api::all_with(self.client.clone(), &id.resource),
        }
    }
}

/// Server-side apply as the only owner of what we write: another manager's claim on these fields is taken over.
fn apply() -> PatchParams {
    PatchParams::apply(FIELD_MANAGER).force()
}

/// Whether a `test` of a JSON patch failed. The server answers 422 without naming a field; a refusal by validation is
/// 422 too, but names the fields.
fn is_failed_test(error: &kube::Error) -> bool {
    if let kube::Error::Api(status) = error {
        let mut causes = status.details.iter().flat_map(|details| &details.causes);
        status.code == 422 && causes.all(|cause| cause.field.starts_with("metadata."))
    } else {
        false
    }
}
