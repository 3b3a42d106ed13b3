//! A Neon that does not do what is asked, or has something else in the place.

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use tokio::time::{Duration, sleep};

use crate::manifests::{branch, database};
use crate::scene::{Scene, secrets, stalled, waits};

#[tokio::test]
async fn an_unknown_project_is_told() -> anyhow::Result<()> {
    let scene = Scene::new().await?;
    let mut lost = branch("lost");
    lost["spec"]["projectId"] = json!("no-such-project-1");
    let before = scene.world().await?;
    scene.apply(&[lost]).await?;
    let parts = [
        "spec.projectId",
        "no-such-project-1",
        "does not exist",
        "may not see it",
    ];
    stalled(&scene.tenant.database("lost"), "ProjectNotFound", &parts).await?;
    ensure!(scene.world().await? == before, "something was changed");
    scene.others_go_on().await?;
    // nothing was made, so nothing is in the way of deleting it
    scene.tenant.database("lost").delete().await?;
    scene.tenant.database("lost").gone().await
}

#[tokio::test]
async fn a_branch_of_somebody_else_is_left_alone() -> anyhow::Result<()> {
    let scene = Scene::new().await?;
    let (platform, project) = (scene.tenant.platform(), scene.tenant.project());
    let path = format!("/projects/{project}/branches");
    let made = platform
        .neon()
        .post(&path, json!({ "branch": { "name": "taken" } }))
        .await?;
    let id = made
        .pointer("/branch/id")
        .and_then(Value::as_str)
        .context("no id")?;
    let theirs = async || platform.neon().get(&format!("{path}/{id}")).await;
    let before = scene.world().await?;
    scene.apply(&[branch("taken")]).await?;
    let taken = scene.tenant.database("taken");
    let parts = [
        "a branch named taken exists",
        id,
        "spec.branch.name",
        "spec.branch.existing",
    ];
    stalled(&taken, "BranchNameConflict", &parts).await?;
    ensure!(scene.world().await? == before, "something was changed");
    ensure!(
        theirs().await?["annotation"]["value"]
            .get("sepulki.dev/name")
            .is_none(),
        "it was marked"
    );
    scene.others_go_on().await?;

    // as the message says
    taken
        .patch(json!({ "spec": { "branch": { "name": "free" } } }))
        .await?;
    let object = taken.ready().await?;
    ensure!(
        object.text("/status/branch/name") == "free",
        "{}",
        object.summary()
    );
    taken.delete().await?;
    taken.gone().await?;
    ensure!(theirs().await?["branch"]["name"] == "taken", "it is gone");

    // or the other way: take it over
    scene
        .apply(&[database(
            "taken",
            "development",
            json!({ "existing": { "name": "taken" } }),
        )])
        .await?;
    let object = taken.ready().await?;
    ensure!(object.branch_id() == id, "{}", object.summary());
    Ok(())
}

#[tokio::test]
async fn what_is_missing_or_claimed_is_told() -> anyhow::Result<()> {
    let scene = Scene::new().await?;
    let before = scene.world().await?;
    let none = Value::Null;
    scene
        .apply(&[
            database("second", "production", none.clone()),
            database(
                "vanished",
                "staging",
                json!({ "existing": { "name": "nowhere" } }),
            ),
            database("orphan", "preview", none),
            database(
                "early",
                "preview",
                json!({ "parent": { "databaseRef": { "name": "later" } } }),
            ),
            database(
                "unborn",
                "preview",
                json!({ "parent": { "branchName": "nowhere" } }),
            ),
        ])
        .await?;
    let database_of = |name: &str| scene.tenant.database(name);
    let claimed = format!("NeonDatabase {}/live", scene.tenant.namespace());
    stalled(
        &database_of("second"),
        "BranchClaimed",
        &["default", &claimed],
    )
    .await?;
    stalled(
        &database_of("vanished"),
        "BranchNotFound",
        &["spec.branch.existing", "named nowhere"],
    )
    .await?;
    stalled(
        &database_of("orphan"),
        "ParentRequired",
        &["set spec.branch.parent"],
    )
    .await?;
    waits(
        &database_of("early"),
        "ParentNotFound",
        &["NeonDatabase later does not exist"],
    )
    .await?;
    waits(
        &database_of("unborn"),
        "ParentNotFound",
        &["branch nowhere does not exist"],
    )
    .await?;
    ensure!(scene.world().await? == before, "something was changed");
    scene.others_go_on().await?;

    scene.apply(&[branch("later")]).await?;
    database_of("early").ready().await?;
    database_of("orphan")
        .patch(
            json!({ "spec": { "branch": { "parent": { "databaseRef": { "name": "later" } } } } }),
        )
        .await?;
    database_of("orphan").ready().await?;
    Ok(())
}

#[tokio::test]
async fn a_snapshot_that_takes_the_place_of_a_branch_is_told_and_the_secret_stays()
-> anyhow::Result<()> {
    let scene = Scene::new().await?;
    let live = scene.tenant.database("live");
    let (neon, project) = (scene.tenant.platform().neon(), scene.tenant.project());
    let published = secrets(&scene.tenant).await?;
    let id = live.get().await?.branch_id().to_owned();
    let path = format!("/projects/{project}/branches/{id}/snapshot");
    let taken = neon.post(&path, json!({})).await?;
    let snapshot = taken["snapshot"]["id"].as_str().unwrap_or_default();
    let path = format!("/projects/{project}/snapshots/{snapshot}/restore");
    let asked = json!({ "name": "restored", "finalize_restore": true });
    let other = neon.post(&path, asked).await?["branch"]["id"].clone();
    let other = other.as_str().unwrap_or_default();
    ensure!(!other.is_empty() && other != id, "{other}");
    let way_out = format!("spec.branch.existing.id {other}");
    stalled(&live, "BranchReplaced", &[&id, &way_out]).await?;
    ensure!(
        secrets(&scene.tenant).await? == published,
        "a Secret was changed"
    );
    // it is Neon's doing, and no mistake of the object: what it has is still there
    ensure!(neon.branch(project, &id).await?.is_some(), "{id} is gone");
    Ok(())
}

#[tokio::test]
async fn a_size_that_neon_refuses_is_told_and_tried_again_when_it_changes() -> anyhow::Result<()> {
    let scene = Scene::new().await?;
    let before = scene.world().await?;
    let mut huge = branch("huge");
    huge["spec"]["compute"] = json!({ "minCU": 1, "maxCU": 512 });
    let mut vast = branch("vast");
    vast["spec"]["compute"] = json!({ "minCU": 1, "maxCU": 300 });
    scene.apply(&[huge, vast]).await?;
    let (huge, vast) = (scene.tenant.database("huge"), scene.tenant.database("vast"));
    stalled(
        &huge,
        "NeonRejected",
        &[
            "spec.compute",
            "1-512 CU",
            "512 is not a valid compute size",
        ],
    )
    .await?;
    let object = stalled(&vast, "NeonRejected", &["spec.compute", "1-300 CU"]).await?;

    // each try says the same: nothing is written, no event is sent, and the two do not wake each other
    let version = object.text("/metadata/resourceVersion").to_owned();
    scene.others_go_on().await?;
    sleep(Duration::from_secs(5)).await;
    let later = vast.get().await?;
    ensure!(
        later.text("/metadata/resourceVersion") == version,
        "{}",
        later.summary()
    );
    ensure!(
        scene.world().await?.neon == before.neon,
        "something was changed"
    );

    let size = json!({ "minCU": 0.25, "maxCU": 2 });
    huge.patch(json!({ "spec": { "compute": size } })).await?;
    huge.ready().await?;
    Ok(())
}

#[tokio::test]
async fn a_secret_of_somebody_else_is_left_alone() -> anyhow::Result<()> {
    let scene = Scene::new().await?;
    let theirs = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "work" }, "stringData": { "a": "b" } });
    scene.apply(&[theirs]).await?;
    let before = secrets(&scene.tenant).await?;
    scene.apply(&[branch("work")]).await?;
    let work = scene.tenant.database("work");
    let parts = [
        "a Secret named work exists",
        "was not published by this object",
        "spec.connectionSecrets",
    ];
    let object = stalled(&work, "SecretConflict", &parts).await?;
    ensure!(
        object.condition("DatabasesReady").0 == "True",
        "{}",
        object.summary()
    );
    ensure!(
        secrets(&scene.tenant).await? == before,
        "a Secret was changed"
    );
    scene.others_go_on().await?;
    let named = json!([{ "name": "work-clerk", "role": "clerk", "database": "shop" }]);
    work.patch(json!({ "spec": { "connectionSecrets": named } }))
        .await?;
    work.ready().await?;
    scene.tenant.published("work-clerk").await?.direct().await?;
    ensure!(
        secrets(&scene.tenant).await?.is_superset(&before),
        "theirs was changed"
    );
    work.delete().await?;
    work.gone().await?;
    ensure!(
        secrets(&scene.tenant).await? == before,
        "theirs is gone, or ours is left"
    );
    Ok(())
}

#[tokio::test]
async fn what_the_server_does_not_have_is_told_with_its_database() -> anyhow::Result<()> {
    let scene = Scene::new().await?;
    let mut odd = branch("odd");
    odd["spec"]["databases"][0]["extensions"] = json!([{ "name": "no_such_extension" }]);
    let mut claimed = branch("claimed");
    claimed["spec"]["databases"][0]["owner"] = json!("somebody");
    scene.apply(&[odd, claimed]).await?;
    let (odd, claimed) = (
        scene.tenant.database("odd"),
        scene.tenant.database("claimed"),
    );
    let parts = [
        "spec.databases[0]",
        "no extension \"no_such_extension\"",
        "pg_available_extensions",
    ];
    stalled(&odd, "DatabaseRejected", &parts).await?;
    let parts = [
        "spec.databases[0].owner",
        "owned by shop_owner, not by somebody",
    ];
    stalled(&claimed, "DatabaseRejected", &parts).await?;
    ensure!(
        scene.tenant.secrets().get_opt("odd").await?.is_none(),
        "published too early"
    );
    scene.others_go_on().await?;
    let databases = |more: Value| json!({ "spec": { "databases": more } });
    odd.patch(databases(json!([{ "name": "shop" }]))).await?;
    odd.ready().await?;
    claimed
        .patch(databases(
            json!([{ "name": "shop", "owner": "shop_owner" }]),
        ))
        .await?;
    claimed.ready().await?;
    Ok(())
}
