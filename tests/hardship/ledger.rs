//! Ledgers that stand in the way, and those of the old runner.

use anyhow::ensure;
use serde_json::json;

use crate::manifests::{DATABASE, inline, ledger, migration};
use crate::scene::{Scene, stalled};

const A: (&str, &str) = ("001_a.sql", "CREATE TABLE a (id int);");
const C: (&str, &str) = ("003_c.sql", "CREATE TABLE c (id int);");

#[tokio::test]
async fn an_applied_file_that_was_edited_stops_everything_after_it() -> anyhow::Result<()> {
    let scene = Scene::new().await?;
    scene.apply(&[migration("edited", inline(&[A]))]).await?;
    let edited = scene.tenant.migration("edited");
    edited.ready().await?;
    let before = scene.world().await?;
    let other = ("001_a.sql", "CREATE TABLE a (id bigint);");
    scene
        .apply(&[migration("edited", inline(&[other, C]))])
        .await?;
    let parts = [
        "001_a.sql was edited after it was applied",
        "restore the applied file",
        "new one",
    ];
    stalled(&edited, "ChecksumMismatch", &parts).await?;
    ensure!(scene.world().await? == before, "something was changed");
    scene.others_go_on().await?;
    scene.apply(&[migration("edited", inline(&[A, C]))]).await?;
    edited.ready().await?;
    Ok(())
}

#[tokio::test]
async fn a_file_in_front_of_applied_ones_is_refused() -> anyhow::Result<()> {
    let scene = Scene::new().await?;
    scene.apply(&[migration("early", inline(&[A, C]))]).await?;
    let early = scene.tenant.migration("early");
    early.ready().await?;
    let before = scene.world().await?;
    let b = |name| (name, "CREATE TABLE b (id int);");
    scene
        .apply(&[migration("early", inline(&[A, b("002_b.sql"), C]))])
        .await?;
    let parts = [
        "002_b.sql is not applied, but 003_c.sql, which comes later, is",
        "higher number",
    ];
    stalled(&early, "OutOfOrder", &parts).await?;
    ensure!(scene.world().await? == before, "something was changed");
    scene.others_go_on().await?;
    scene
        .apply(&[migration("early", inline(&[A, C, b("004_b.sql")]))])
        .await?;
    early.ready().await?;
    Ok(())
}

#[tokio::test]
async fn a_second_migration_on_one_ledger_stands_back() -> anyhow::Result<()> {
    let scene = Scene::new().await?;
    scene.apply(&[migration("first", inline(&[A]))]).await?;
    scene.tenant.migration("first").ready().await?;
    let mut rival = migration("second", inline(&[A, C]));
    // another way to write the same: the database is named
    rival["spec"]["database"] = json!(DATABASE);
    rival["spec"]["ledger"]["table"] = json!(ledger("first"));
    let before = scene.world().await?;
    scene.apply(&[rival]).await?;
    let second = scene.tenant.migration("second");
    let parts = [
        "SepulkiMigration first is older",
        "public.ledger_first",
        "delete one of the two",
    ];
    stalled(&second, "LedgerClaimed", &parts).await?;
    ensure!(scene.world().await? == before, "something was changed");
    scene.others_go_on().await?;
    scene.tenant.migration("first").delete().await?;
    second.ready().await?;
    ensure!(
        scene.versions("ledger_first").await? == ["001_a.sql", "003_c.sql"],
        "not taken up"
    );
    Ok(())
}

#[tokio::test]
async fn a_table_of_another_shape_is_no_ledger() -> anyhow::Result<()> {
    let scene = Scene::new().await?;
    scene.run("CREATE TABLE ledger_foreign (id int, note text); INSERT INTO ledger_foreign VALUES (1, 'x')").await?;
    let before = scene.world().await?;
    scene.apply(&[migration("foreign", inline(&[A]))]).await?;
    let foreign = scene.tenant.migration("foreign");
    let parts = [
        "public.ledger_foreign exists but is not a ledger",
        "id integer, note text",
        "spec.ledger",
    ];
    stalled(&foreign, "LedgerConflict", &parts).await?;
    ensure!(scene.world().await? == before, "something was changed");
    scene.others_go_on().await
}

#[tokio::test]
async fn rows_of_the_old_runner_are_respected() -> anyhow::Result<()> {
    let scene = Scene::new().await?;
    // as it made its table: a checksum of `unknown` or none says that the file ran, not which text it had
    scene
        .run(
            "CREATE TABLE ledger_old (version VARCHAR(255) PRIMARY KEY, applied_at TIMESTAMPTZ DEFAULT now(), checksum VARCHAR(64));
             INSERT INTO ledger_old VALUES ('001_a.sql', '2024-01-01', 'unknown'), ('002_b.sql', '2024-01-02', NULL)",
        )
        .await?;
    let files = [
        ("001_a.sql", "CREATE TABLE never_again (id int);"),
        ("002_b.sql", "SELEKT;"),
        C,
    ];
    scene.apply(&[migration("old", inline(&files))]).await?;
    let old = scene.tenant.migration("old").ready().await?;
    ensure!(
        old.text("/status/progressText") == "3/3",
        "{}",
        old.summary()
    );
    let rows = scene
        .ask("SELECT version || ' ' || coalesce(checksum, '-') || ' ' || extract(year FROM applied_at) FROM ledger_old ORDER BY version")
        .await?;
    ensure!(
        rows[0] == "001_a.sql unknown 2024" && rows[1] == "002_b.sql - 2024",
        "{rows:?}"
    );
    ensure!(rows.len() == 3, "{rows:?}");
    ensure!(
        !scene.world().await?.catalog.contains("r never_again"),
        "it ran again"
    );
    Ok(())
}

/// A person may take days to correct it: the compute must be able to sleep meanwhile, whatever else goes on.
#[tokio::test]
async fn a_migration_in_trouble_does_not_keep_the_compute_awake() -> anyhow::Result<()> {
    let scene = Scene::new().await?;
    scene.apply(&[migration("early", inline(&[A, C]))]).await?;
    let early = scene.tenant.migration("early");
    early.ready().await?;
    let b = ("002_b.sql", "CREATE TABLE b (id int);");
    scene
        .apply(&[migration("early", inline(&[A, b, C]))])
        .await?;
    stalled(&early, "OutOfOrder", &["002_b.sql"]).await?;
    let live = scene.tenant.database("live").get().await?;
    let connections = || {
        let stats = scene.tenant.platform().neon().stats();
        stats.endpoint(live.endpoint_id()).accepted
    };
    let before = connections();
    // whatever else changes in the namespace makes everything in trouble look again
    for (i, target) in ["007.sql", "008.sql", "009.sql"].into_iter().enumerate() {
        let mut other = migration(&format!("other-{i}"), inline(&[A]));
        other["spec"]["target"] = json!({ "version": target });
        scene.apply(&[other]).await?;
        stalled(
            &scene.tenant.migration(&format!("other-{i}")),
            "TargetNotFound",
            &[target],
        )
        .await?;
    }
    ensure!(
        connections() == before,
        "{} connections, {before} before",
        connections()
    );
    // somebody who has put the ledger right by hand asks for a look
    scene
        .run("INSERT INTO ledger_early SELECT '002_b.sql', now(), 'unknown'")
        .await?;
    early
        .patch(json!({ "metadata": { "annotations": { "sepulki.dev/reconcile": "1" } } }))
        .await?;
    early.ready().await?;
    Ok(())
}
