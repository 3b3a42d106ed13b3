//! Files that are not there yet: waited for, and taken up by themselves.

use anyhow::ensure;
use serde_json::json;

use crate::manifests::{config_map, config_maps, inline, ledger, migration};
use crate::scene::{Scene, stalled, waits};

#[tokio::test]
async fn a_missing_config_map_is_waited_for() -> anyhow::Result<()> {
    let scene = Scene::new().await?;
    let before = scene.world().await?;
    scene
        .apply(&[migration("late", config_maps(&["files", "more-files"]))])
        .await?;
    let late = scene.tenant.migration("late");
    waits(
        &late,
        "ConfigMapNotFound",
        &["files, more-files", "does not exist in this namespace yet"],
    )
    .await?;
    ensure!(scene.world().await? == before, "something was changed");
    scene.others_go_on().await?;
    scene
        .apply(&[config_map(
            "files",
            &[("001_a.sql", "CREATE TABLE a (id int)")],
        )])
        .await?;
    late.until("still waiting for one", |object| {
        let (_, reason, message) = object.condition("Ready");
        reason == "ConfigMapNotFound"
            && message.contains("more-files")
            && !message.contains("files,")
    })
    .await?;
    scene
        .apply(&[config_map(
            "more-files",
            &[("002_b.sql", "CREATE TABLE b (id int)")],
        )])
        .await?;
    late.ready().await?;
    ensure!(
        scene.versions(&ledger("late")).await? == ["001_a.sql", "002_b.sql"],
        "not applied"
    );
    Ok(())
}

#[tokio::test]
async fn files_of_another_digest_are_not_applied() -> anyhow::Result<()> {
    let scene = Scene::new().await?;
    let (old, new) = (
        ("001_a.sql", "CREATE TABLE a (id int)"),
        ("001_a.sql", "CREATE TABLE a (id bigint)"),
    );
    // sha256 of the line "<sha256 of the new file>  001_a.sql\n"
    let digest = digest_of(new);
    let mut source = config_maps(&["files"]);
    source["configMaps"]["digest"] = json!(digest);
    scene
        .apply(&[config_map("files", &[old]), migration("pinned", source)])
        .await?;
    let pinned = scene.tenant.migration("pinned");
    let parts = [
        "spec.source.configMaps.digest",
        &digest,
        &digest_of(old),
        "nothing is applied",
    ];
    waits(&pinned, "DigestMismatch", &parts).await?;
    ensure!(
        !scene.world().await?.catalog.contains("r a"),
        "applied all the same"
    );
    scene.others_go_on().await?;
    scene.apply(&[config_map("files", &[new])]).await?;
    pinned.ready().await?;
    let column = "SELECT data_type::text FROM information_schema.columns WHERE table_name = 'a'";
    ensure!(
        scene.ask(column).await? == ["bigint"],
        "the old file was applied"
    );
    Ok(())
}

fn digest_of((name, sql): (&str, &str)) -> String {
    use sha2::{Digest, Sha256};
    let line = format!("{}  {name}\n", hex::encode(Sha256::digest(sql)));
    format!("sha256:{}", hex::encode(Sha256::digest(line)))
}

#[tokio::test]
async fn a_target_that_is_not_among_the_files_is_told() -> anyhow::Result<()> {
    let scene = Scene::new().await?;
    let before = scene.world().await?;
    let (a, b) = (
        ("001_a.sql", "CREATE TABLE a (id int)"),
        ("002_b.sql", "CREATE TABLE b (id int)"),
    );
    let mut object = migration("far", inline(&[a]));
    object["spec"]["target"] = json!({ "version": "002_b.sql" });
    scene.apply(&[object.clone()]).await?;
    let far = scene.tenant.migration("far");
    stalled(
        &far,
        "TargetNotFound",
        &["spec.target.version: 002_b.sql", "001_a.sql"],
    )
    .await?;
    ensure!(scene.world().await? == before, "something was changed");
    scene.others_go_on().await?;
    object["spec"]["source"] = inline(&[a, b]);
    scene.apply(&[object]).await?;
    far.ready().await?;
    Ok(())
}

#[tokio::test]
async fn a_database_that_is_not_there_is_waited_for() -> anyhow::Result<()> {
    let scene = Scene::new().await?;
    let file = inline(&[("001_a.sql", "CREATE TABLE a (id int)")]);
    let mut elsewhere = migration("elsewhere", file.clone());
    elsewhere["spec"]["databaseRef"]["name"] = json!("nobody");
    let mut unlisted = migration("unlisted", file);
    unlisted["spec"]["database"] = json!("audit");
    scene.apply(&[elsewhere, unlisted]).await?;
    waits(
        &scene.tenant.migration("elsewhere"),
        "DatabaseNotFound",
        &["NeonDatabase nobody does not exist"],
    )
    .await?;
    let unlisted = scene.tenant.migration("unlisted");
    waits(
        &unlisted,
        "DatabaseNotReady",
        &["live does not list the database audit", "spec.databases"],
    )
    .await?;
    scene.others_go_on().await?;
    let databases = json!([{ "name": "shop" }, { "name": "audit" }]);
    // more than one database: the Secret has to be named
    let secrets = json!([{ "name": "live", "role": "clerk", "database": "shop" }]);
    scene
        .tenant
        .database("live")
        .patch(json!({ "spec": { "databases": databases, "connectionSecrets": secrets } }))
        .await?;
    unlisted.ready().await?;
    Ok(())
}
