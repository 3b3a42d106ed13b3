//! Applying manifests of any kind to a cluster.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api, Client, ResourceExt,
    api::{ApiResource, DynamicObject, Patch, PatchParams},
    core::{GroupVersionKind, discovery::Scope},
    discovery,
    runtime::wait::{await_condition, conditions},
};

use crate::manifests::kind;

const FIELD_MANAGER: &str = "testkit";
/// How long a CRD may take until it serves, and a kind until it is found.
const DEADLINE: Duration = Duration::from_secs(20);

/// Server-side apply: CRDs, then namespaces, then the rest in the order given. Returns when the
/// CRDs are served.
pub(crate) async fn apply(client: &Client, objects: &[DynamicObject]) -> anyhow::Result<()> {
    let mut resources = HashMap::new();
    let mut ordered: Vec<&DynamicObject> = objects.iter().collect();
    ordered.sort_by_key(|object| match kind(object) {
        "CustomResourceDefinition" => 0,
        "Namespace" => 1,
        _ => 2,
    });
    for object in ordered {
        apply_one(client, &mut resources, object)
            .await
            .with_context(|| format!("apply {} {}", kind(object), object.name_any()))?;
    }
    Ok(())
}

type Resources = HashMap<GroupVersionKind, (ApiResource, Scope)>;

async fn apply_one(
    client: &Client,
    resources: &mut Resources,
    object: &DynamicObject,
) -> anyhow::Result<()> {
    let types = object.types.as_ref().context("no apiVersion and kind")?;
    let gvk = GroupVersionKind::try_from(types)?;
    if !resources.contains_key(&gvk) {
        let found = find_kind(client, &gvk).await?;
        resources.insert(gvk.clone(), found);
    }
    let (resource, scope) = resources.get(&gvk).context("unknown kind")?;
    let api: Api<DynamicObject> = match scope {
        Scope::Cluster => Api::all_with(client.clone(), resource),
        Scope::Namespaced => {
            let namespace = object.namespace().unwrap_or_else(|| "default".to_owned());
            Api::namespaced_with(client.clone(), &namespace, resource)
        }
    };
    let params = PatchParams::apply(FIELD_MANAGER).force();
    api.patch(&object.name_any(), &params, &Patch::Apply(object))
        .await
        .map_err(refusal)?;
    if kind(object) == "CustomResourceDefinition" {
        wait_until_served(client, &object.name_any()).await?;
    }
    Ok(())
}

/// The server's own words: kube's error repeats the whole answer several times.
pub(crate) fn refusal(error: kube::Error) -> anyhow::Error {
    if let kube::Error::Api(status) = error {
        anyhow!("{} (HTTP status {})", status.message, status.code)
    } else {
        error.into()
    }
}

async fn wait_until_served(client: &Client, name: &str) -> anyhow::Result<()> {
    let crds: Api<CustomResourceDefinition> = Api::all(client.clone());
    tokio::time::timeout(
        DEADLINE,
        await_condition(crds, name, conditions::is_crd_established()),
    )
    .await
    .context("the CRD is not established in time")??;
    Ok(())
}

/// Discovery of a kind; a CRD's kind appears a moment after the CRD is established.
async fn find_kind(
    client: &Client,
    gvk: &GroupVersionKind,
) -> anyhow::Result<(ApiResource, Scope)> {
    let deadline = Instant::now() + DEADLINE;
    loop {
        match discovery::pinned_kind(client, gvk).await {
            Ok((resource, capabilities)) => return Ok((resource, capabilities.scope)),
            Err(error) if Instant::now() > deadline => {
                return Err(error)
                    .with_context(|| format!("the server does not know {}", gvk.api_version()));
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}
