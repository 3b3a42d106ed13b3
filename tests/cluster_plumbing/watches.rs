//! Watches: what is told, what is not, what is kept.

use std::{pin::Pin, time::Duration};

use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Resource, ResourceExt,
    api::{DeleteParams, DynamicObject, ObjectMeta, Patch, PatchParams, PostParams},
    core::{ApiResource, PartialObjectMeta},
    runtime::{reflector::ObjectRef, watcher},
};
use sepulki::cluster::{Clients, main_watch, referenced_watch, scoped};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::{
    forwarder::Forwarder,
    widget::{Bench, Widget},
};

type Told<K> = Pin<Box<dyn Stream<Item = watcher::Result<K>> + Send>>;

/// The name of the next object that is told.
async fn next<K: Resource>(told: &mut Told<K>) -> String {
    let next = timeout(Duration::from_secs(20), told.next())
        .await
        .expect("told in time");
    next.expect("a watch never ends")
        .expect("errors stay inside")
        .name_any()
}

impl Bench {
    async fn change(&self, name: &str, change: Value) {
        self.widgets()
            .patch(name, &PatchParams::default(), &Patch::Merge(change))
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn a_pass_is_due_for_what_people_change_and_not_for_what_we_write() {
    let bench = Bench::new().await;
    bench.widget("w", json!({})).await;
    let (tell, mut gone) = tokio::sync::mpsc::unbounded_channel();
    let (store, told) = main_watch::<Widget>(
        scoped(bench.clients.watch.clone(), Some(&bench.namespace)),
        None,
        move |id| tell.send(id).unwrap(),
    );
    let mut told: Told<_> = Box::pin(told);
    assert_eq!(next(&mut told).await, "w");

    for (what, change) in [
        ("spec", json!({"spec": {"size": 2}})),
        (
            "finalizer",
            json!({"metadata": {"finalizers": ["sepulki.dev/test"]}}),
        ),
        (
            "annotation",
            json!({"metadata": {"annotations": {"sepulki.dev/reconcile": "1"}}}),
        ),
    ] {
        bench.change("w", change).await;
        assert_eq!(next(&mut told).await, "w", "{what}");
    }

    // None of these is told: the next that is told is the sentinel that comes after them.
    let (id, _) = bench.widget("quiet", json!({})).await;
    assert_eq!(next(&mut told).await, "quiet");
    let version = bench
        .widgets()
        .get("quiet")
        .await
        .unwrap()
        .resource_version()
        .unwrap();
    bench
        .objects
        .write_status(&id, &version, &json!({"note": "x"}))
        .await
        .unwrap();
    bench
        .change("quiet", json!({"metadata": {"labels": {"team": "a"}}}))
        .await;
    bench.widget("sentinel", json!({})).await;
    assert_eq!(next(&mut told).await, "sentinel");

    let quiet = store
        .get(&ObjectRef::new("quiet").within(&bench.namespace))
        .unwrap();
    assert_eq!(quiet.labels()["team"], "a", "the cache has it all the same");
    assert!(quiet.managed_fields().is_empty(), "without bookkeeping");

    bench
        .widgets()
        .delete("w", &DeleteParams::default())
        .await
        .unwrap();
    assert_eq!(next(&mut told).await, "w", "deletion");
    bench
        .change("w", json!({"metadata": {"finalizers": []}}))
        .await;
    bench.widget("w", json!({})).await;
    assert_eq!(next(&mut told).await, "w", "created again");
    assert_eq!(gone.recv().await.unwrap().name, "w", "its removal");
}

#[tokio::test]
async fn an_object_that_does_not_decode_disturbs_nobody() {
    let bench = Bench::new().await;
    let odd = json!({"apiVersion": "test.sepulki.dev/v1", "kind": "Widget", "metadata": {"name": "odd"}, "spec": {}});
    let odd: DynamicObject = serde_json::from_value(odd).unwrap();
    let resource = ApiResource::erase::<Widget>(&());
    let untyped =
        Api::<DynamicObject>::namespaced_with(bench.client(), &bench.namespace, &resource);
    untyped.create(&PostParams::default(), &odd).await.unwrap();
    let (store, told) = main_watch::<Widget>(
        scoped(bench.clients.watch.clone(), Some(&bench.namespace)),
        None,
        drop,
    );
    let mut told: Told<_> = Box::pin(told);
    assert_eq!(next(&mut told).await, "odd");
    bench.widget("even", json!({})).await;
    assert_eq!(next(&mut told).await, "even");
    let decoded = |name: &str| {
        store
            .get(&ObjectRef::new(name).within(&bench.namespace))
            .unwrap()
            .0
            .is_ok()
    };
    assert!(decoded("even") && !decoded("odd"));

    bench.change_untyped(&untyped).await;
    assert_eq!(next(&mut told).await, "odd");
    assert!(decoded("odd"), "and is well again once corrected");
}

impl Bench {
    async fn change_untyped(&self, untyped: &Api<DynamicObject>) {
        let change = json!({"spec": {"size": 3}});
        untyped
            .patch("odd", &PatchParams::default(), &Patch::Merge(change))
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn what_changed_while_the_server_was_away_is_told_afterwards() {
    let bench = Bench::new().await;
    bench.widget("changes", json!({})).await;
    bench.widget("stays", json!({})).await;
    let config = bench.control_plane.config().await.unwrap();
    let way = Forwarder::new(&config).await;
    let client = Clients::new(way.config(&config)).unwrap().watch;
    let (_store, told) = main_watch::<Widget>(scoped(client, Some(&bench.namespace)), None, drop);
    let mut told: Told<_> = Box::pin(told);
    let mut first = [next(&mut told).await, next(&mut told).await];
    first.sort();
    assert_eq!(first, ["changes", "stays"]);

    way.cut();
    bench.change("changes", json!({"spec": {"size": 2}})).await;
    let away = timeout(Duration::from_secs(3), told.next()).await;
    assert!(
        away.is_err(),
        "errors stay inside, and nothing is told twice"
    );
    way.mend();
    assert_eq!(next(&mut told).await, "changes");
    bench.widget("sentinel", json!({})).await;
    assert_eq!(
        next(&mut told).await,
        "sentinel",
        "what stayed as it was is not told again"
    );
}

#[tokio::test]
async fn every_change_of_what_is_referred_to_is_told() {
    let bench = Bench::new().await;
    let scope =
        scoped::<PartialObjectMeta<ConfigMap>>(bench.clients.watch.clone(), Some(&bench.namespace));
    let mut told: Told<_> = Box::pin(referenced_watch::<ConfigMap>(scope).filter(|seen| {
        let name = seen.as_ref().unwrap().name_any();
        // Kubernetes puts one into every namespace.
        std::future::ready(name != "kube-root-ca.crt")
    }));
    let maps = Api::<ConfigMap>::namespaced(bench.client(), &bench.namespace);
    let metadata = ObjectMeta {
        name: Some("bundle".into()),
        ..ObjectMeta::default()
    };
    let bundle = ConfigMap {
        metadata,
        ..ConfigMap::default()
    };
    maps.create(&PostParams::default(), &bundle).await.unwrap();
    assert_eq!(next(&mut told).await, "bundle");
    let change = Patch::Merge(json!({"data": {"001.sql": "SELECT 1"}}));
    maps.patch("bundle", &PatchParams::default(), &change)
        .await
        .unwrap();
    assert_eq!(next(&mut told).await, "bundle");
    maps.delete("bundle", &DeleteParams::default())
        .await
        .unwrap();
    assert_eq!(next(&mut told).await, "bundle");
}
