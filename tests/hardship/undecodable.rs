//! An object that this version cannot read, such as one that a newer version let in.

use anyhow::{Context, ensure};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};
use testkit::operator::eventually;

use crate::manifests::branch;
use crate::scene::{Scene, stalled};

const CRD: &str = "neondatabases.sepulki.dev";

/// Changes which values of a field of the spec the API server lets in.
async fn let_in(
    crds: &Api<CustomResourceDefinition>,
    field: &str,
    change: impl FnOnce(&mut Vec<Value>),
) -> anyhow::Result<()> {
    let mut crd = serde_json::to_value(crds.get(CRD).await?)?;
    let values =
        format!("/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/{field}/enum");
    let allowed = crd.pointer_mut(&values).and_then(Value::as_array_mut);
    change(allowed.context("the schema lists no values")?);
    let patch = json!({ "spec": { "versions": crd["spec"]["versions"] } });
    crds.patch(CRD, &PatchParams::default(), &Patch::Merge(patch))
        .await?;
    Ok(())
}

#[tokio::test]
async fn an_object_that_no_longer_decodes_disturbs_nobody() -> anyhow::Result<()> {
    let mut scene = Scene::new().await?;
    let crds = Api::<CustomResourceDefinition>::all(scene.tenant.client().clone());
    let mut odd = branch("odd");
    odd["spec"]["environment"] = json!("moon");
    let before = scene.world().await?;

    let_in(&crds, "environment", |allowed| allowed.push(json!("moon"))).await?;
    let made = eventually("the looser schema is served", async || {
        Ok(scene.apply(&[odd.clone()]).await.ok())
    })
    .await;
    let_in(&crds, "environment", |allowed| {
        allowed.retain(|one| one != "moon");
    })
    .await?;
    made?;
    let mut another = odd.clone();
    another["metadata"]["name"] = json!("another");
    eventually("the schema is as before", async || {
        Ok(scene.apply(&[another.clone()]).await.err().map(drop))
    })
    .await?;

    let odd = scene.tenant.database("odd");
    let parts = [
        "does not fit the schema of this version",
        "spec.environment",
        "moon",
        "production",
        "preview",
    ];
    stalled(&odd, "InvalidObject", &parts).await?;
    ensure!(scene.world().await? == before, "something was changed");

    // the watch goes on: what is new and what changes is seen
    scene.others_go_on().await?;
    scene.apply(&[branch("later")]).await?;
    scene.tenant.database("later").ready().await?;
    let live = scene.tenant.database("live");
    let size = json!({ "minCU": 1, "maxCU": 1 });
    live.patch(json!({ "spec": { "compute": size } })).await?;
    let object = live.ready().await?;
    ensure!(
        object.at("/status/endpoint/maxCU") == 1.0,
        "{}",
        object.summary()
    );

    // so does one that starts with it there
    scene.restart().await?;
    let odd = scene.tenant.database("odd");
    scene.apply(&[branch("latest")]).await?;
    scene.tenant.database("latest").ready().await?;
    stalled(&odd, "InvalidObject", &parts).await?;
    odd.delete().await?;
    odd.gone().await
}

#[tokio::test]
async fn one_that_is_deleted_goes_by_what_is_recorded_of_it() -> anyhow::Result<()> {
    let scene = Scene::new().await?;
    let crds = Api::<CustomResourceDefinition>::all(scene.tenant.client().clone());
    let before = scene.world().await?;
    scene.apply(&[branch("odd")]).await?;
    let odd = scene.tenant.database("odd");
    let recorded = odd.ready().await?.at("/status/branch/id").clone();

    let_in(&crds, "deletionPolicy", |allowed| {
        allowed.push(json!("Burn"));
    })
    .await?;
    let burn = json!({ "spec": { "deletionPolicy": "Burn" } });
    let changed = eventually("the looser schema is served", async || {
        Ok(odd.patch(burn.clone()).await.ok())
    })
    .await;
    let_in(&crds, "deletionPolicy", |allowed| {
        allowed.retain(|one| one != "Burn");
    })
    .await?;
    changed?;
    stalled(&odd, "InvalidObject", &["spec.deletionPolicy", "Burn"]).await?;
    let kept = odd.get().await?;
    ensure!(
        *kept.at("/status/branch/id") == recorded,
        "{}",
        kept.summary()
    );

    odd.delete().await?;
    odd.gone().await?;
    ensure!(scene.world().await? == before, "something was left behind");
    Ok(())
}
