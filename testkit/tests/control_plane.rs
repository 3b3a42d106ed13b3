//! The control plane: what tests of the operator rely on.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

use std::{
    fs,
    time::{Duration, Instant},
};

use k8s_openapi::api::{
    core::v1::{ConfigMap, Namespace, Secret},
    rbac::v1::ClusterRole,
};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, ListParams, ObjectMeta, PostParams},
};
use testkit::{ControlPlane, audit::AuditEntry, cluster};

/// Calls `probe` until it gives a value.
async fn eventually<T>(what: &str, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(value) = probe().await {
            return value;
        }
        assert!(Instant::now() < deadline, "{what}: not in time");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn create_config_map(client: Client, namespace: &str, name: &str) -> kube::Result<ConfigMap> {
    let map = ConfigMap {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            ..ObjectMeta::default()
        },
        ..ConfigMap::default()
    };
    Api::namespaced(client, namespace)
        .create(&PostParams::default(), &map)
        .await
}

fn status(error: kube::Error) -> u16 {
    let kube::Error::Api(status) = error else {
        panic!("no answer from the API server: {error}");
    };
    status.code
}

#[tokio::test]
async fn the_administrator_meets_the_pinned_version() {
    let client = ControlPlane::shared()
        .await
        .unwrap()
        .client()
        .await
        .unwrap();
    assert_eq!(
        client.apiserver_version().await.unwrap().git_version,
        "v1.36.3"
    );
}

#[tokio::test]
async fn every_test_gets_a_namespace_of_its_own() {
    let cluster = ControlPlane::shared().await.unwrap();
    let (one, two) = (
        cluster.namespace().await.unwrap(),
        cluster.namespace().await.unwrap(),
    );
    assert_ne!(one, two);
}

#[tokio::test]
async fn a_service_account_has_exactly_the_rights_it_was_given() {
    let cluster = ControlPlane::shared().await.unwrap();
    let namespace = cluster.namespace().await.unwrap();
    cluster
        .apply_yaml(&[&format!(
            "apiVersion: v1\nkind: ServiceAccount\nmetadata: {{name: robot, namespace: {namespace}}}\n"
        )])
        .await
        .unwrap();
    let robot = cluster.service_account(&namespace, "robot").await.unwrap();
    let client = cluster::client(&robot).await.unwrap();
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), &namespace);
    assert_eq!(
        status(maps.list(&ListParams::default()).await.unwrap_err()),
        403
    );

    cluster
        .apply_yaml(&[&format!(
            "apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {{name: robot, namespace: {namespace}}}
rules: [{{apiGroups: [''], resources: [configmaps], verbs: [list]}}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {{name: robot, namespace: {namespace}}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: robot}}
subjects: [{{kind: ServiceAccount, name: robot, namespace: {namespace}}}]
"
        )])
        .await
        .unwrap();
    eventually("the role is in force", async || {
        maps.list(&ListParams::default()).await.ok()
    })
    .await;
    let refused = create_config_map(client, &namespace, "refused")
        .await
        .unwrap_err();
    assert_eq!(status(refused), 403);
}

#[tokio::test]
async fn a_service_account_that_is_not_there_is_named() {
    let cluster = ControlPlane::shared().await.unwrap();
    let error = cluster
        .service_account("default", "nobody")
        .await
        .unwrap_err();
    assert!(format!("{error:#}").contains("default/nobody"), "{error:#}");
}

#[tokio::test]
async fn users_are_known_by_certificate() {
    let cluster = ControlPlane::shared().await.unwrap();
    let namespace = cluster.namespace().await.unwrap();
    let stranger = cluster::client(&cluster.user("mallory", None).unwrap())
        .await
        .unwrap();
    let error = create_config_map(stranger, &namespace, "refused")
        .await
        .unwrap_err();
    assert!(error.to_string().contains("mallory"), "{error}");
    let chief = cluster::client(&cluster.user("alice", Some("system:masters")).unwrap())
        .await
        .unwrap();
    create_config_map(chief, &namespace, "allowed")
        .await
        .unwrap();
}

#[tokio::test]
async fn the_audit_log_tells_writes_and_reads_of_secrets() {
    let cluster = ControlPlane::shared().await.unwrap();
    let namespace = cluster.namespace().await.unwrap();
    let user = format!("auditor-{namespace}");
    let kubeconfig = cluster.user(&user, Some("system:masters")).unwrap();
    let client = cluster::client(&kubeconfig).await.unwrap();
    let secrets: Api<Secret> = Api::namespaced(client.clone(), &namespace);
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), &namespace);
    assert!(secrets.get_opt("key").await.unwrap().is_none());
    maps.list(&ListParams::default()).await.unwrap();
    create_config_map(client, &namespace, "written")
        .await
        .unwrap();

    let entries: Vec<AuditEntry> = eventually("the write is logged", async || {
        let entries = cluster.audit_log().entries_of(&user).unwrap();
        entries.iter().any(AuditEntry::is_write).then_some(entries)
    })
    .await;
    let seen: Vec<_> = entries
        .iter()
        .map(|entry| {
            (
                entry.verb.as_str(),
                entry.object_ref.resource.as_str(),
                entry.response_status.code,
            )
        })
        .collect();
    assert_eq!(
        seen,
        [("get", "secrets", 404), ("create", "configmaps", 201)]
    );
}

#[tokio::test]
async fn a_deleted_namespace_goes_with_its_content() {
    let cluster = ControlPlane::shared().await.unwrap();
    let namespace = cluster.namespace().await.unwrap();
    let client = cluster.client().await.unwrap();
    create_config_map(client.clone(), &namespace, "content")
        .await
        .unwrap();
    let namespaces: Api<Namespace> = Api::all(client);
    namespaces
        .delete(&namespace, &DeleteParams::default())
        .await
        .unwrap();
    eventually("the namespace is gone", async || {
        namespaces
            .get_opt(&namespace)
            .await
            .unwrap()
            .is_none()
            .then_some(())
    })
    .await;
}

const KUSTOMIZATION: &str = "apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: [objects.yaml, ../crds/widgets.yaml]
";

/// An object of a kind that the CRD after it defines, and a cluster role.
const OBJECTS: &str = "apiVersion: testkit.sepulki.dev/v1
kind: Widget
metadata: {name: first}
---
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: widget-reader}
rules: [{apiGroups: [testkit.sepulki.dev], resources: [widgets], verbs: [get]}]
";

const WIDGETS: &str = "apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.testkit.sepulki.dev}
spec:
  group: testkit.sepulki.dev
  names: {kind: Widget, listKind: WidgetList, plural: widgets, singular: widget}
  scope: Cluster
  versions:
    - name: v1
      served: true
      storage: true
      schema: {openAPIV3Schema: {type: object}}
";

#[tokio::test]
async fn a_kustomize_base_is_applied_crds_first() {
    let cluster = ControlPlane::shared().await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path().join("base");
    fs::create_dir_all(&base).unwrap();
    fs::create_dir_all(dir.path().join("crds")).unwrap();
    fs::write(base.join("kustomization.yaml"), KUSTOMIZATION).unwrap();
    fs::write(base.join("objects.yaml"), OBJECTS).unwrap();
    fs::write(dir.path().join("crds/widgets.yaml"), WIDGETS).unwrap();

    cluster.apply_dir(&base).await.unwrap();
    cluster
        .apply_dir(&base)
        .await
        .expect("applying again changes nothing");
    let roles: Api<ClusterRole> = Api::all(cluster.client().await.unwrap());
    assert_eq!(
        roles.get("widget-reader").await.unwrap().name_any(),
        "widget-reader"
    );

    fs::write(
        base.join("kustomization.yaml"),
        format!("{KUSTOMIZATION}namePrefix: a-\n"),
    )
    .unwrap();
    let error = cluster.apply_dir(&base).await.unwrap_err();
    assert!(format!("{error:#}").contains("namePrefix"), "{error:#}");
}

#[tokio::test]
async fn what_the_server_refuses_is_named() {
    let cluster = ControlPlane::shared().await.unwrap();
    let wrong = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: Wrong_Name}\n";
    let error = format!("{:#}", cluster.apply_yaml(&[wrong]).await.unwrap_err());
    assert!(error.contains("apply ConfigMap Wrong_Name"), "{error}");
}
