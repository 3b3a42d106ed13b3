//! Keys that are wrong or missing. Beside [`crate::crash`] the longest tests, so they are named to begin first.

use std::time::Duration;

use anyhow::ensure;
use serde_json::json;
use testkit::operator::{Neon, Platform};
use tokio::time::sleep;

use crate::manifests::{branch, production};
use crate::scene::{Scene, apply, neon, secrets, stalled, start, waits};

#[tokio::test]
async fn a_wrong_key_is_told_and_its_correction_noticed() -> anyhow::Result<()> {
    // counters of one's own: nobody else calls this Neon
    let platform = Platform::with_neon(Neon::config()).await?;
    let tenant = platform.tenant().await?;
    tenant.set_key("not-the-key").await?;
    let _operator = start(&tenant).await?;
    let before = (neon(&tenant).await?, secrets(&tenant).await?);
    apply(&tenant, &[production(), branch("work")]).await?;
    let (live, work) = (tenant.database("live"), tenant.database("work"));
    let parts = [
        "Secret neon-api-key",
        "apiKey",
        "is refused",
        "pass authentication",
        "within a minute",
    ];
    stalled(&live, "KeyRefused", &parts).await?;
    stalled(&work, "KeyRefused", &parts).await?;

    // two objects and one wrong key: a few calls a minute, not a flood
    let calls = platform.neon().stats().total_api_calls();
    sleep(Duration::from_secs(10)).await;
    let more = platform.neon().stats().total_api_calls() - calls;
    ensure!(more <= 4, "{more} calls with a wrong key in ten seconds");
    ensure!(
        before == (neon(&tenant).await?, secrets(&tenant).await?),
        "something was changed"
    );

    let key = platform.neon().emulator().api_key().to_owned();
    tenant.set_key(&key).await?;
    live.ready().await?;
    work.ready().await?;
    let log = std::fs::read_to_string(tenant.operator_log())?;
    ensure!(
        !log.contains("not-the-key") && !log.contains(&key),
        "a key is in the log"
    );
    Ok(())
}

#[tokio::test]
async fn a_missing_key_is_waited_for() -> anyhow::Result<()> {
    let scene = Scene::new().await?;
    let mut other = branch("other");
    other["spec"]["apiKeySecretRef"] = json!({ "name": "other-key", "key": "token" });
    let before = scene.world().await?;
    scene.apply(&[other]).await?;
    let other = scene.tenant.database("other");
    waits(
        &other,
        "KeyNotFound",
        &["Secret other-key", "does not exist", "token"],
    )
    .await?;
    ensure!(scene.world().await? == before, "something was changed");
    scene.others_go_on().await?;
    let key = scene.tenant.platform().neon().emulator().api_key();
    let secret = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": { "name": "other-key" },
        "stringData": { "token": key },
    });
    scene.apply(&[secret]).await?;
    other.ready().await?;
    Ok(())
}
