//! Objects of the operator's kinds as they stand in the cluster, read as JSON so that nothing depends on the
//! operator's own types.

use std::fmt::Write;

use anyhow::{Context, anyhow};
use kube::{
    Api, Client,
    api::{ApiResource, DeleteParams, DynamicObject, Patch, PatchParams},
    core::GroupVersionKind,
};
use serde_json::{Value, json};

use super::{DEADLINE, POLL, Tenant};
use crate::{install::refusal, process::log_tail};

/// An object at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Object(Value);

impl Object {
    /// An object as the API server tells it.
    pub fn of(object: &DynamicObject) -> anyhow::Result<Self> {
        Ok(Self(serde_json::to_value(object)?))
    }

    /// What is at a JSON pointer; null if nothing is.
    #[must_use]
    pub fn at(&self, pointer: &str) -> &Value {
        self.0.pointer(pointer).unwrap_or(&Value::Null)
    }

    /// The text at a JSON pointer; empty if there is none.
    #[must_use]
    pub fn text(&self, pointer: &str) -> &str {
        self.at(pointer).as_str().unwrap_or_default()
    }

    /// `metadata.generation`.
    #[must_use]
    pub fn generation(&self) -> i64 {
        self.at("/metadata/generation").as_i64().unwrap_or_default()
    }

    /// `status.observedGeneration`; −1 if there is none.
    #[must_use]
    pub fn observed_generation(&self) -> i64 {
        self.at("/status/observedGeneration").as_i64().unwrap_or(-1)
    }

    /// All conditions, in their order.
    #[must_use]
    pub fn conditions(&self) -> &[Value] {
        self.at("/status/conditions")
            .as_array()
            .map_or(&[], Vec::as_slice)
    }

    /// A condition: its status, reason and message; all empty if it is not there.
    #[must_use]
    pub fn condition(&self, kind: &str) -> (&str, &str, &str) {
        let found = self.conditions().iter().find(|one| one["type"] == kind);
        let text = |field: &str| {
            found
                .and_then(|one| one[field].as_str())
                .unwrap_or_default()
        };
        (text("status"), text("reason"), text("message"))
    }

    /// Whether a condition has this status and this reason.
    #[must_use]
    pub fn says(&self, kind: &str, status: &str, reason: &str) -> bool {
        let (is, because, _) = self.condition(kind);
        is == status && because == reason
    }

    /// Whether everything is as the present spec asks.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.generation() == self.observed_generation() && self.condition("Ready").0 == "True"
    }

    /// `status.branch.id`; empty if there is none.
    #[must_use]
    pub fn branch_id(&self) -> &str {
        self.text("/status/branch/id")
    }

    /// `status.endpoint.id`; empty if there is none.
    #[must_use]
    pub fn endpoint_id(&self) -> &str {
        self.text("/status/endpoint/id")
    }

    /// What it says of itself, for the message of a failed wait.
    #[must_use]
    pub fn summary(&self) -> String {
        let mut text = format!(
            "generation {}, observed {}",
            self.generation(),
            self.observed_generation()
        );
        for one in self.conditions() {
            let field = |name: &str| one[name].as_str().unwrap_or_default();
            let _ = write!(
                text,
                "\n  {}={} {}: {}",
                field("type"),
                field("status"),
                field("reason"),
                field("message")
            );
        }
        text
    }
}

/// An object by kind and name, whether it exists or not.
pub struct Handle<'a> {
    tenant: &'a Tenant<'a>,
    kind: &'static str,
    /// None for a cluster-scoped kind.
    namespace: Option<String>,
    name: String,
    api: Api<DynamicObject>,
}

impl<'a> Handle<'a> {
    pub(super) fn new(
        tenant: &'a Tenant<'a>,
        kind: &'static str,
        namespace: Option<&str>,
        name: &str,
    ) -> Self {
        let client = tenant.client().clone();
        Self {
            tenant,
            kind,
            name: name.to_owned(),
            api: match namespace {
                Some(namespace) => api(client, namespace, kind),
                None => Api::all_with(client, &resource(kind)),
            },
            namespace: namespace.map(str::to_owned),
        }
    }

    /// The object; none if it does not exist.
    pub async fn find(&self) -> anyhow::Result<Option<Object>> {
        let found = self.api.get_opt(&self.name).await?;
        found.as_ref().map(Object::of).transpose()
    }

    /// The object.
    pub async fn get(&self) -> anyhow::Result<Object> {
        let found = self.find().await?;
        found.with_context(|| format!("there is no {}", self.title()))
    }

    /// Waits until the object is `as_wanted`.
    ///
    /// # Errors
    /// After [`DEADLINE`], with what the object says and how the operator's log ends.
    pub async fn until(
        &self,
        what: &str,
        as_wanted: impl Fn(&Object) -> bool,
    ) -> anyhow::Result<Object> {
        let deadline = tokio::time::Instant::now() + DEADLINE;
        loop {
            let found = self.find().await?;
            if let Some(object) = found.as_ref().filter(|object| as_wanted(object)) {
                return Ok(object.clone());
            }
            if tokio::time::Instant::now() > deadline {
                return Err(self.not_in_time(what, found.as_ref()));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Waits until the object is ready for its present spec.
    pub async fn ready(&self) -> anyhow::Result<Object> {
        self.until("Ready", Object::is_ready).await
    }

    /// Waits until a condition has this status and reason for the present spec, and gives its message.
    pub async fn says(&self, kind: &str, status: &str, reason: &str) -> anyhow::Result<String> {
        let what = format!("{kind}={status} {reason}");
        let object = self
            .until(&what, |object| {
                object.generation() == object.observed_generation()
                    && object.says(kind, status, reason)
            })
            .await?;
        Ok(object.condition(kind).2.to_owned())
    }

    /// Changes it by a JSON merge patch.
    ///
    /// # Errors
    /// The API server's own words where it refuses.
    pub async fn patch(&self, patch: Value) -> anyhow::Result<Object> {
        let patched = self
            .api
            .patch(&self.name, &PatchParams::default(), &Patch::Merge(patch))
            .await
            .map_err(refusal)?;
        Object::of(&patched)
    }

    /// Makes the operator look at it now without asking for anything else: gives the annotation
    /// `sepulki.dev/reconcile` a new value.
    pub async fn touch(&self, value: &str) -> anyhow::Result<Object> {
        self.patch(json!({ "metadata": { "annotations": { "sepulki.dev/reconcile": value } } }))
            .await
    }

    /// Asks for its deletion and returns at once.
    pub async fn delete(&self) -> anyhow::Result<()> {
        self.api
            .delete(&self.name, &DeleteParams::default())
            .await?;
        Ok(())
    }

    /// The same in the foreground, as Argo CD prunes: what it owns is deleted before it.
    pub async fn delete_in_foreground(&self) -> anyhow::Result<()> {
        self.api
            .delete(&self.name, &DeleteParams::foreground())
            .await?;
        Ok(())
    }

    /// Waits until it does not exist.
    pub async fn gone(&self) -> anyhow::Result<()> {
        let deadline = tokio::time::Instant::now() + DEADLINE;
        while let Some(object) = self.find().await? {
            if tokio::time::Instant::now() > deadline {
                return Err(self.not_in_time("gone", Some(&object)));
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    fn title(&self) -> String {
        let namespace = self.namespace.as_deref().unwrap_or_default();
        format!("{} {namespace}/{}", self.kind, self.name)
    }

    fn not_in_time(&self, what: &str, object: Option<&Object>) -> anyhow::Error {
        anyhow!(
            "{}: not {what} within {DEADLINE:?}; {}\nthe operator's log ends:\n{}",
            self.title(),
            object.map_or_else(|| "it does not exist".to_owned(), Object::summary),
            log_tail(self.tenant.operator_log())
        )
    }
}

/// Objects of one of the operator's kinds.
#[must_use]
pub fn api(client: Client, namespace: &str, kind: &str) -> Api<DynamicObject> {
    Api::namespaced_with(client, namespace, &resource(kind))
}

fn resource(kind: &str) -> ApiResource {
    let plural = format!("{}s", kind.to_lowercase());
    let gvk = GroupVersionKind::gvk("sepulki.dev", "v1alpha1", kind);
    ApiResource::from_gvk_with_plural(&gvk, &plural)
}
