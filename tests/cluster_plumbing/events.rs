//! Events as people find them.

use k8s_openapi::api::{core::v1::Node, events::v1::Event as KubernetesEvent};
use kube::{
    Api,
    api::{DeleteParams, ListParams, ObjectMeta, PostParams},
};
use sepulki::cluster::{Event, EventType, ObjectId, Reporter};
use serde_json::json;

use crate::widget::Bench;

fn event(note: &str) -> Event {
    Event {
        type_: EventType::Warning,
        reason: "SqlError",
        action: "ApplyMigration",
        note: note.into(),
    }
}

async fn published(bench: &Bench, namespace: &str, about: &ObjectId) -> Vec<KubernetesEvent> {
    let api = Api::<KubernetesEvent>::namespaced(bench.client(), namespace);
    let mut found = api.list(&ListParams::default()).await.unwrap().items;
    found.retain(|event| event.regarding.as_ref().unwrap().uid.as_ref() == Some(&about.uid));
    found
}

#[tokio::test]
async fn a_repetition_is_counted_and_another_text_is_another_event() {
    let bench = Bench::new().await;
    let (id, _) = bench.widget("w", json!({})).await;
    let reporter = Reporter::new(bench.client(), &"sepulki-operator-".repeat(20));
    reporter.publish(&id, event("line 1")).await;
    reporter.publish(&id, event("line 1")).await;
    reporter.publish(&id, event("line 1")).await;
    reporter.publish(&id, event("line 2")).await;
    let mut found = published(&bench, &bench.namespace, &id).await;
    found.sort_by_key(|event| event.note.clone());
    let counted: Vec<_> = found
        .iter()
        .map(|event| {
            (
                event.note.as_deref().unwrap(),
                event.series.as_ref().map(|s| s.count),
            )
        })
        .collect();
    assert_eq!(counted, [("line 1", Some(3)), ("line 2", None)]);
    let first = &found[0];
    assert_eq!(first.type_.as_deref(), Some("Warning"));
    assert_eq!(first.reason.as_deref(), Some("SqlError"));
    assert_eq!(first.regarding.as_ref().unwrap().name.as_deref(), Some("w"));
    assert_eq!(
        first.reporting_controller.as_deref(),
        Some("sepulki-operator")
    );
}

#[tokio::test]
async fn an_event_that_somebody_deleted_is_published_anew() {
    let bench = Bench::new().await;
    let (id, _) = bench.widget("w", json!({})).await;
    let reporter = Reporter::new(bench.client(), "test");
    reporter.publish(&id, event("line 1")).await;
    let api = Api::<KubernetesEvent>::namespaced(bench.client(), &bench.namespace);
    api.delete_collection(&DeleteParams::default(), &ListParams::default())
        .await
        .unwrap();
    reporter.publish(&id, event("line 1")).await;
    assert_eq!(published(&bench, &bench.namespace, &id).await.len(), 1);
}

#[tokio::test]
async fn long_notes_and_names_are_accepted() {
    let bench = Bench::new().await;
    let (id, _) = bench.widget(&"w".repeat(253), json!({})).await;
    let reporter = Reporter::new(bench.client(), "test");
    reporter.publish(&id, event(&"ä".repeat(2000))).await;
    let found = published(&bench, &bench.namespace, &id).await;
    assert!(found[0].note.as_ref().unwrap().ends_with("ä…"));
}

#[tokio::test]
async fn events_of_cluster_scoped_objects_are_in_default() {
    let bench = Bench::new().await;
    let metadata = ObjectMeta {
        generate_name: Some("node-".into()),
        ..ObjectMeta::default()
    };
    let node = Node {
        metadata,
        ..Node::default()
    };
    let node = Api::<Node>::all(bench.client())
        .create(&PostParams::default(), &node)
        .await
        .unwrap();
    let id = ObjectId::of(&node);
    Reporter::new(bench.client(), "test")
        .publish(&id, event("line 1"))
        .await;
    assert_eq!(published(&bench, "default", &id).await.len(), 1);
}
