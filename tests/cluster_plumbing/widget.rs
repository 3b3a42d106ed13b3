//! A kind of its own with a status, whose schema lets through what [`Widget`] cannot decode; and a namespace per test.

use std::time::{Duration, Instant};

use kube::{
    Api, Client, CustomResource, ResourceExt,
    api::{DynamicObject, PostParams},
};
use sepulki::cluster::{Clients, ObjectId, Objects};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use testkit::ControlPlane;

#[derive(CustomResource, Clone, Debug, Serialize, Deserialize)]
#[kube(
    group = "test.sepulki.dev",
    version = "v1",
    kind = "Widget",
    namespaced,
    schema = "disabled"
)]
pub(crate) struct WidgetSpec {
    pub(crate) size: u32,
}

/// As the server knows the kind: `size` may be anything.
fn definition() -> Value {
    let anything = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.test.sepulki.dev"},
        "spec": {
            "group": "test.sepulki.dev",
            "scope": "Namespaced",
            "names": {"kind": "Widget", "plural": "widgets", "singular": "widget"},
            "versions": [{
                "name": "v1", "served": true, "storage": true, "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": {
                    "type": "object",
                    "properties": {"spec": anything, "status": {
                        "type": "object",
                        "properties": {"observedGeneration": {"type": "integer"}, "note": {"type": "string"}},
                    }},
                }},
            }],
        },
    })
}

/// A namespace of its own, and the plumbing with an administrator's rights.
pub(crate) struct Bench {
    pub(crate) control_plane: &'static ControlPlane,
    pub(crate) clients: Clients,
    pub(crate) objects: Objects,
    pub(crate) namespace: String,
}

impl Bench {
    pub(crate) async fn new() -> Self {
        let control_plane = ControlPlane::shared().await.unwrap();
        let definition: DynamicObject = serde_json::from_value(definition()).unwrap();
        control_plane.apply(&[definition]).await.unwrap();
        let clients = Clients::new(control_plane.config().await.unwrap()).unwrap();
        let objects = Objects::new(clients.request.clone());
        let namespace = control_plane.namespace().await.unwrap();
        Self {
            control_plane,
            clients,
            objects,
            namespace,
        }
    }

    pub(crate) fn client(&self) -> Client {
        self.clients.request.clone()
    }

    pub(crate) fn widgets(&self) -> Api<Widget> {
        Api::namespaced(self.client(), &self.namespace)
    }

    /// Creates a widget, with `extra` metadata.
    pub(crate) async fn widget(&self, name: &str, extra: Value) -> (ObjectId, Widget) {
        let mut widget = Widget::new(name, WidgetSpec { size: 1 });
        let mut metadata = extra;
        metadata["name"] = json!(name);
        widget.metadata = serde_json::from_value(metadata).unwrap();
        let made = self
            .widgets()
            .create(&PostParams::default(), &widget)
            .await
            .unwrap();
        (ObjectId::of(&made), made)
    }

    pub(crate) async fn finalizers(&self, name: &str) -> Vec<String> {
        self.widgets()
            .get(name)
            .await
            .unwrap()
            .finalizers()
            .to_vec()
    }
}

/// Calls `probe` until it gives a value.
pub(crate) async fn eventually<T>(what: &str, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    #[expect(clippy::disallowed_methods, reason = "a deadline in real time")]
    let now = Instant::now;
    let deadline = now() + Duration::from_secs(30);
    loop {
        if let Some(value) = probe().await {
            return value;
        }
        assert!(now() < deadline, "{what}: not in time");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
