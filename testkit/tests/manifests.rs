//! The manifests in `deploy/`, as a real API server takes them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use k8s_openapi::api::{
    apps::v1::Deployment,
    authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec},
    core::v1::{Pod, Secret},
};
use kube::{
    Api, Client,
    api::{ListParams, ObjectMeta, PostParams},
};
use testkit::{ControlPlane, assets, cluster, manifests};
use tokio::sync::OnceCell;

const OPERATOR_NAMESPACE: &str = "sepulki-system";
const OPERATOR: &str = "sepulki-operator";

fn deploy(folder: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    root.join("deploy").join(folder)
}

/// Runs kubectl as the administrator; fails with what it says.
fn kubectl(control_plane: &ControlPlane, args: &[&str]) -> String {
    let output = Command::new(assets::kubectl().unwrap())
        .args(args)
        .env("KUBECONFIG", control_plane.kubeconfig_file())
        .output()
        .unwrap();
    let messages = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "kubectl {args:?}: {messages}");
    // Where a server takes something but does not like it: an unknown field, a Pod against the profile.
    assert!(
        !messages.contains("Warning"),
        "kubectl {args:?}: {messages}"
    );
    String::from_utf8(output.stdout).unwrap()
}

/// The control plane with `deploy/base` in it, installed with the command of the README.
async fn installed() -> &'static ControlPlane {
    static INSTALLED: OnceCell<&'static ControlPlane> = OnceCell::const_new();
    INSTALLED
        .get_or_init(|| async {
            let control_plane = ControlPlane::shared().await.unwrap();
            let base = deploy("base");
            // Twice, as GitOps does.
            for _ in 0..2 {
                kubectl(
                    control_plane,
                    &["apply", "--server-side", "-k", base.to_str().unwrap()],
                );
            }
            kubectl(
                control_plane,
                &["wait", "--for=condition=Established", "crd", "--all"],
            );
            control_plane
        })
        .await
}

/// A client with the rights of the operator's ServiceAccount.
async fn operator(control_plane: &ControlPlane) -> Client {
    let kubeconfig = control_plane
        .service_account(OPERATOR_NAMESPACE, OPERATOR)
        .await
        .unwrap();
    cluster::client(&kubeconfig).await.unwrap()
}

async fn deployment(control_plane: &ControlPlane) -> Deployment {
    let deployments: Api<Deployment> =
        Api::namespaced(control_plane.client().await.unwrap(), OPERATOR_NAMESPACE);
    deployments.get(OPERATOR).await.unwrap()
}

#[tokio::test]
async fn testkit_and_kustomize_read_the_same_base() {
    let base = deploy("base");
    let control_plane = ControlPlane::shared().await.unwrap();
    let rendered = manifests::parse(&kubectl(
        control_plane,
        &["kustomize", base.to_str().unwrap()],
    ))
    .unwrap();
    let names = |objects: Vec<kube::api::DynamicObject>| {
        let mut names: Vec<_> = objects
            .iter()
            .map(|object| {
                let name = object.metadata.name.clone().unwrap();
                (manifests::kind(object).to_owned(), name)
            })
            .collect();
        names.sort();
        names
    };
    let read = manifests::read_kustomization(&base).unwrap();
    assert_eq!(names(read), names(rendered));
}

#[tokio::test]
async fn the_controllers_make_the_operators_pod_in_a_restricted_namespace() {
    let control_plane = installed().await;
    let pods: Api<Pod> = Api::namespaced(control_plane.client().await.unwrap(), OPERATOR_NAMESPACE);
    let container = &deployment(control_plane)
        .await
        .spec
        .unwrap()
        .template
        .spec
        .unwrap()
        .containers[0];
    let from_pod = |name: &str| {
        let variable = container.env.iter().flatten().find(|env| env.name == name);
        let source = variable.unwrap().value_from.clone().unwrap();
        source.field_ref.unwrap().field_path
    };
    assert_eq!(from_pod("POD_NAMESPACE"), "metadata.namespace");
    assert_eq!(from_pod("POD_NAME"), "metadata.name");
    let deadline = Instant::now() + Duration::from_secs(30);
    let labels = ListParams::default().labels("app.kubernetes.io/name=sepulki-operator");
    while pods.list(&labels).await.unwrap().items.is_empty() {
        let status = deployment(control_plane).await.status;
        assert!(
            Instant::now() < deadline,
            "no Pod; the Deployment says {status:?}"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn the_namespace_refuses_a_pod_that_is_less_careful() {
    let control_plane = installed().await;
    let pods: Api<Pod> = Api::namespaced(control_plane.client().await.unwrap(), OPERATOR_NAMESPACE);
    let template = deployment(control_plane).await.spec.unwrap().template;
    let mut careless = Pod {
        metadata: ObjectMeta {
            name: Some("careless".to_owned()),
            ..ObjectMeta::default()
        },
        spec: template.spec,
        ..Pod::default()
    };
    let dry_run = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    pods.create(&dry_run, &careless)
        .await
        .expect("as it is, it fits the restricted profile");
    careless.spec.as_mut().unwrap().containers[0].security_context = None;
    let error = pods.create(&dry_run, &careless).await.unwrap_err();
    assert!(error.to_string().contains("restricted"), "{error}");
}

#[tokio::test]
async fn the_operator_may_do_what_it_needs_and_nothing_else() {
    let client = operator(installed().await).await;
    // verb, group, resource/subresource, namespace ("" is all of them)
    for allowed in [
        ("watch", "sepulki.dev", "neonprojects", ""),
        ("patch", "sepulki.dev", "neonprojects", ""),
        ("patch", "sepulki.dev", "neonprojects/status", ""),
        ("watch", "sepulki.dev", "neondatabases", ""),
        ("patch", "sepulki.dev", "neondatabases", "anywhere"),
        ("patch", "sepulki.dev", "neondatabases/status", "anywhere"),
        ("watch", "sepulki.dev", "sepulkimigrations", ""),
        (
            "patch",
            "sepulki.dev",
            "sepulkimigrations/status",
            "anywhere",
        ),
        ("get", "", "secrets", "anywhere"),
        ("create", "", "secrets", "anywhere"),
        ("patch", "", "secrets", "anywhere"),
        ("delete", "", "secrets", "anywhere"),
        ("watch", "", "configmaps", ""),
        ("get", "", "namespaces", ""),
        ("watch", "", "namespaces", ""),
        ("create", "events.k8s.io", "events", "anywhere"),
        ("patch", "coordination.k8s.io", "leases", OPERATOR_NAMESPACE),
    ] {
        assert!(may(&client, allowed).await, "{allowed:?} is refused");
    }
    for refused in [
        ("list", "", "secrets", "anywhere"),
        ("watch", "", "secrets", ""),
        ("list", "", "secrets", OPERATOR_NAMESPACE),
        ("deletecollection", "", "secrets", "anywhere"),
        ("create", "sepulki.dev", "neondatabases", "anywhere"),
        ("delete", "sepulki.dev", "neondatabases", "anywhere"),
        ("delete", "sepulki.dev", "sepulkimigrations", "anywhere"),
        ("patch", "", "configmaps", "anywhere"),
        ("delete", "sepulki.dev", "neonprojects", ""),
        ("patch", "", "namespaces", ""),
        ("delete", "", "namespaces", ""),
        ("list", "", "pods", "anywhere"),
        ("create", "", "pods", OPERATOR_NAMESPACE),
        ("create", "", "serviceaccounts/token", OPERATOR_NAMESPACE),
        ("patch", "coordination.k8s.io", "leases", "anywhere"),
        ("escalate", "rbac.authorization.k8s.io", "clusterroles", ""),
        (
            "get",
            "apiextensions.k8s.io",
            "customresourcedefinitions",
            "",
        ),
    ] {
        assert!(!may(&client, refused).await, "{refused:?} is allowed");
    }
}

/// Asks the API server whether `client` may do something.
async fn may(
    client: &Client,
    (verb, group, resource, namespace): (&str, &str, &str, &str),
) -> bool {
    let (resource, subresource) = match resource.split_once('/') {
        Some((resource, subresource)) => (resource, Some(subresource.to_owned())),
        None => (resource, None),
    };
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(ResourceAttributes {
                verb: Some(verb.to_owned()),
                group: Some(group.to_owned()),
                resource: Some(resource.to_owned()),
                subresource,
                namespace: Some(namespace.to_owned()),
                ..ResourceAttributes::default()
            }),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    };
    let answer = Api::<SelfSubjectAccessReview>::all(client.clone())
        .create(&PostParams::default(), &review)
        .await
        .unwrap();
    answer.status.unwrap().allowed
}

#[tokio::test]
async fn secrets_are_reached_by_name_only() {
    let control_plane = installed().await;
    let namespace = control_plane.namespace().await.unwrap();
    let secrets: Api<Secret> = Api::namespaced(operator(control_plane).await, &namespace);
    assert!(secrets.get_opt("neon-api-key").await.unwrap().is_none());
    let error = secrets.list(&ListParams::default()).await.unwrap_err();
    let kube::Error::Api(status) = error else {
        panic!("no answer from the API server: {error}");
    };
    assert_eq!(status.code, 403);
}

#[tokio::test]
async fn the_examples_are_accepted_with_every_field_known() {
    let control_plane = installed().await;
    for (folder, objects) in [
        ("examples", 6),
        ("examples/pull-request", 2),
        ("examples/many-namespaces", 3),
    ] {
        let dir = deploy(folder);
        let dir = dir.to_str().unwrap();
        // kubectl asks the server to refuse unknown fields.
        let applied = kubectl(control_plane, &["apply", "--server-side", "-k", dir]);
        let ours = applied
            .lines()
            .filter(|line| line.contains(".sepulki.dev/"))
            .count();
        assert_eq!(ours, objects, "{applied}");
    }
    // What kustomize has put together: the id of the project, and the bundle by its hashed name.
    let text = |kind: &str, path: &str| {
        let path = format!("jsonpath={{{path}}}");
        kubectl(
            control_plane,
            &["-n", "sepulki", "get", kind, "preview-42", "-o", &path],
        )
    };
    let ids = std::fs::read_to_string(deploy("examples/project/project.env")).unwrap();
    assert!(ids.contains(&text("neondb", ".spec.projectId")));
    assert_eq!(text("sepmig", ".spec.databaseRef.name"), "preview-42");
    let bundle = text("sepmig", ".spec.source.configMaps.refs[0].name");
    assert!(bundle.starts_with("sepulki-migrations-42-"), "{bundle}");
    kubectl(
        control_plane,
        &["-n", "sepulki", "get", "configmap", &bundle],
    );
}

/// A manifest as it stands, or the part of a NeonDatabase's spec that it is, with what it needs around it.
fn whole(number: usize, manifest: &str) -> String {
    if manifest.starts_with("apiVersion:") {
        return manifest.to_owned();
    }
    format!(
        "apiVersion: sepulki.dev/v1alpha1\nkind: NeonDatabase\n\
         metadata: {{name: part-{number}}}\nspec:\n  projectId: shiny-wind-12345678\n  \
         environment: staging\n  databases: [{{name: sepulki}}]\n{manifest}"
    )
}

#[tokio::test]
async fn the_manifests_of_the_readme_are_accepted() {
    let control_plane = installed().await;
    let readme = std::fs::read_to_string(deploy("../README.md")).unwrap();
    let manifests: Vec<String> = readme
        .split("```yaml\n")
        .enumerate()
        .skip(1)
        .map(|(number, rest)| whole(number, rest.split_once("```").unwrap().0))
        .collect();
    let objects = [2, 1, 2, 1, 1];
    assert_eq!(manifests.len(), objects.len());
    let dir = tempfile::tempdir().unwrap();
    for (manifest, objects) in manifests.into_iter().zip(objects) {
        let file = dir.path().join("manifest.yaml");
        // the namespaces are made by hand
        let mut text = manifest;
        for namespace in ["sepulki", "preview-42"] {
            let line = format!("  namespace: {namespace}\n");
            text = text.replace(&line, "  namespace: default\n");
        }
        std::fs::write(&file, text).unwrap();
        let applied = kubectl(
            control_plane,
            &["apply", "--server-side", "-f", file.to_str().unwrap()],
        );
        assert_eq!(applied.lines().count(), objects, "{applied}");
    }
}
