//! Secrets: written only when they change, never another's, never told.

use std::collections::BTreeMap;

use k8s_openapi::{
    ByteString, api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::OwnerReference,
};
use kube::{
    Api, ResourceExt,
    api::{ObjectMeta, Patch, PatchParams},
};
use sepulki::cluster::{ErrorKind, Freshness, KeyRead, KeyRef, SecretReads};
use serde_json::json;

use crate::widget::Bench;

const VALUE: &str = "hunter2-hunter2";

fn secret(bench: &Bench, keys: &[&str]) -> Secret {
    let value = |key: &&str| ((*key).to_owned(), ByteString(VALUE.into()));
    Secret {
        metadata: ObjectMeta {
            name: Some("connection".into()),
            namespace: Some(bench.namespace.clone()),
            ..ObjectMeta::default()
        },
        data: Some(keys.iter().map(value).collect::<BTreeMap<_, _>>()),
        type_: Some("sepulki.dev/postgres".into()),
        ..Secret::default()
    }
}

async fn read(bench: &Bench) -> Secret {
    bench
        .objects
        .get_secret(&bench.namespace, "connection")
        .await
        .unwrap()
        .unwrap()
}

#[tokio::test]
async fn a_secret_is_written_only_when_it_changes() {
    let bench = Bench::new().await;
    assert_eq!(
        bench
            .objects
            .get_secret(&bench.namespace, "connection")
            .await
            .unwrap(),
        None
    );
    let first = bench
        .objects
        .apply_secret(&secret(&bench, &["PGUSER", "PGPASSWORD"]))
        .await
        .unwrap();
    let again = bench
        .objects
        .apply_secret(&secret(&bench, &["PGUSER", "PGPASSWORD"]))
        .await
        .unwrap();
    assert_eq!(first.resource_version, again.resource_version);

    let label = json!({"metadata": {"labels": {"team": "a"}}});
    Api::<Secret>::namespaced(bench.client(), &bench.namespace)
        .patch("connection", &PatchParams::default(), &Patch::Merge(label))
        .await
        .unwrap();
    let fewer = bench
        .objects
        .apply_secret(&secret(&bench, &["PGUSER"]))
        .await
        .unwrap();
    assert_ne!(first.resource_version, fewer.resource_version);
    let found = read(&bench).await;
    assert_eq!(
        found.data.as_ref().unwrap().keys().collect::<Vec<_>>(),
        ["PGUSER"]
    );
    assert_eq!(found.labels()["team"], "a", "what others set stays");
}

#[tokio::test]
async fn an_owner_comes_and_goes_with_the_caller() {
    let bench = Bench::new().await;
    let (id, _) = bench.widget("owner", json!({})).await;
    let owner = OwnerReference {
        api_version: id.resource.api_version.clone(),
        kind: id.resource.kind.clone(),
        name: id.name.clone(),
        uid: id.uid.clone(),
        controller: Some(true),
        ..OwnerReference::default()
    };
    let mut with_owner = secret(&bench, &["PGUSER"]);
    with_owner.metadata.owner_references = Some(vec![owner.clone()]);
    bench.objects.apply_secret(&with_owner).await.unwrap();
    assert_eq!(read(&bench).await.owner_references(), [owner]);
    bench
        .objects
        .apply_secret(&secret(&bench, &["PGUSER"]))
        .await
        .unwrap();
    assert!(read(&bench).await.owner_references().is_empty());
}

#[tokio::test]
async fn another_secret_of_that_name_is_left_alone() {
    let bench = Bench::new().await;
    let made = bench
        .objects
        .apply_secret(&secret(&bench, &["PGUSER"]))
        .await
        .unwrap();
    let uid = made.uid.unwrap();
    let stranger = "00000000-0000-0000-0000-000000000000";

    let mut wrong = secret(&bench, &["PGPASSWORD"]);
    wrong.metadata.uid = Some(stranger.into());
    let refused = bench.objects.apply_secret(&wrong).await.unwrap_err();
    assert_eq!(refused.kind, ErrorKind::Conflict, "{refused}");
    let refused = bench
        .objects
        .delete_secret(&bench.namespace, "connection", stranger)
        .await
        .unwrap_err();
    assert_eq!(refused.kind, ErrorKind::Conflict, "{refused}");
    assert!(read(&bench).await.data.unwrap().contains_key("PGUSER"));

    bench
        .objects
        .delete_secret(&bench.namespace, "connection", &uid)
        .await
        .unwrap();
    bench
        .objects
        .delete_secret(&bench.namespace, "connection", &uid)
        .await
        .unwrap();
    assert_eq!(
        bench
            .objects
            .get_secret(&bench.namespace, "connection")
            .await
            .unwrap(),
        None
    );
    let refused = bench.objects.apply_secret(&wrong).await.unwrap_err();
    assert_eq!(
        refused.kind,
        ErrorKind::Conflict,
        "one that is gone is not made anew: {refused}"
    );
}

#[tokio::test]
async fn a_refusal_says_why_and_not_what() {
    let bench = Bench::new().await;
    bench
        .objects
        .apply_secret(&secret(&bench, &["PGUSER"]))
        .await
        .unwrap();
    let mut other_type = secret(&bench, &["PGUSER"]);
    other_type.type_ = Some("Opaque".into());
    let mut bad_key = secret(&bench, &["not a key"]);
    bad_key.metadata.name = Some("other".into());
    for (secret, word) in [(other_type, "type"), (bad_key, "not a key")] {
        let refused = bench.objects.apply_secret(&secret).await.unwrap_err();
        assert_eq!(refused.kind, ErrorKind::Invalid, "{refused}");
        assert!(refused.message.contains(word), "{refused}");
        assert!(!refused.message.contains(VALUE), "{refused}");
    }
}

#[tokio::test]
async fn keys_are_read_by_name() {
    let bench = Bench::new().await;
    let reads = SecretReads::new(bench.objects.clone());
    let key = KeyRef {
        namespace: bench.namespace.clone(),
        name: "connection".into(),
        key: "apiKey".into(),
    };
    assert!(matches!(
        reads.key(&key, Freshness::Recent).await.unwrap(),
        KeyRead::NoSecret
    ));
    bench
        .objects
        .apply_secret(&secret(&bench, &["apiKey"]))
        .await
        .unwrap();
    let KeyRead::Found(value) = reads.key(&key, Freshness::Now).await.unwrap() else {
        panic!("not found");
    };
    assert_eq!(secrecy::ExposeSecret::expose_secret(&value), VALUE);
    assert!(
        reads
            .published(&bench.namespace, "connection")
            .await
            .unwrap()
            .is_some()
    );
}
