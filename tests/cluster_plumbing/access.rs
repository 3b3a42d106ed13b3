//! What the account may not do, what is not there, and what is going.

use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret};
use kube::{
    Api,
    api::{DeleteParams, ObjectMeta, PostParams},
};
use sepulki::cluster::{Clients, ErrorKind, NamespaceState, Objects};
use serde_json::json;
use testkit::kubeconfig;

use crate::widget::{Bench, eventually};

fn named(namespace: &str, name: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.into()),
        namespace: Some(namespace.into()),
        ..ObjectMeta::default()
    }
}

#[tokio::test]
async fn what_the_account_may_not_do_is_denied() {
    let bench = Bench::new().await;
    let (id, made) = bench.widget("w", json!({})).await;
    let nobody = bench.control_plane.user("nobody", None).unwrap();
    let clients = Clients::new(kubeconfig::config(&nobody).await.unwrap()).unwrap();
    let objects = Objects::new(clients.request);
    let secret = Secret {
        metadata: named(&bench.namespace, "s"),
        ..Secret::default()
    };
    let version = made.metadata.resource_version.unwrap();
    for denied in [
        objects
            .add_finalizer(&id, &[], "sepulki.dev/test")
            .await
            .unwrap_err(),
        objects
            .write_status(&id, &version, &json!({}))
            .await
            .unwrap_err(),
        objects.apply_secret(&secret).await.unwrap_err(),
        objects.get_secret(&bench.namespace, "s").await.unwrap_err(),
        objects
            .delete_secret(&bench.namespace, "s", "u")
            .await
            .unwrap_err(),
        objects
            .get_config_map(&bench.namespace, "c")
            .await
            .unwrap_err(),
        objects.namespace(&bench.namespace).await.unwrap_err(),
    ] {
        assert_eq!(denied.kind, ErrorKind::Denied, "{denied}");
        assert!(
            denied.message.contains("nobody"),
            "the server's words: {denied}"
        );
    }
}

#[tokio::test]
async fn a_server_that_is_away_is_unavailable() {
    let bench = Bench::new().await;
    let mut config = bench.control_plane.config().await.unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let free = listener.local_addr().unwrap();
    drop(listener);
    config.cluster_url = format!("https://{free}").parse().unwrap();
    let objects = Objects::new(Clients::new(config).unwrap().request);
    let away = objects.namespace("default").await.unwrap_err();
    assert_eq!(away.kind, ErrorKind::Unavailable, "{away}");
    assert!(
        away.message.contains("refused"),
        "says what the connection said: {away}"
    );
}

#[tokio::test]
async fn one_config_map_is_read() {
    let bench = Bench::new().await;
    assert_eq!(
        bench
            .objects
            .get_config_map(&bench.namespace, "bundle")
            .await
            .unwrap(),
        None
    );
    let files = [("001.sql".to_owned(), "SELECT 1".to_owned())];
    let bundle = ConfigMap {
        metadata: named(&bench.namespace, "bundle"),
        data: Some(files.into()),
        ..ConfigMap::default()
    };
    let api = Api::<ConfigMap>::namespaced(bench.client(), &bench.namespace);
    api.create(&PostParams::default(), &bundle).await.unwrap();
    let read = bench
        .objects
        .get_config_map(&bench.namespace, "bundle")
        .await
        .unwrap()
        .unwrap();
    assert_eq!(read.data.unwrap()["001.sql"], "SELECT 1");
}

#[tokio::test]
async fn a_namespace_that_goes_takes_nothing_new() {
    let bench = Bench::new().await;
    assert_eq!(
        bench.objects.namespace(&bench.namespace).await.unwrap(),
        NamespaceState::Active
    );
    let finalizers = ["sepulki.dev/test".to_owned()];
    let (id, _) = bench
        .widget("holds", json!({"finalizers": finalizers}))
        .await;
    let namespaces = Api::<Namespace>::all(bench.client());
    namespaces
        .delete(&bench.namespace, &DeleteParams::default())
        .await
        .unwrap();
    assert_eq!(
        bench.objects.namespace(&bench.namespace).await.unwrap(),
        NamespaceState::Terminating
    );

    let secret = Secret {
        metadata: named(&bench.namespace, "late"),
        ..Secret::default()
    };
    let late = eventually("the server refuses new objects", async || {
        bench.objects.apply_secret(&secret).await.err()
    })
    .await;
    assert_eq!(
        late.kind,
        ErrorKind::Conflict,
        "not a missing right: {late}"
    );

    bench
        .objects
        .release_finalizer(&id, &finalizers, &finalizers[0])
        .await
        .unwrap();
    eventually("the namespace is gone", async || {
        (bench.objects.namespace(&bench.namespace).await.unwrap() == NamespaceState::Gone)
            .then_some(())
    })
    .await;
}
