//! A branch that is set back: because an applied file was edited, and by somebody who restores it.

use anyhow::ensure;
use serde_json::{Value, json};
use testkit::operator::{Platform, Published, Tenant};

use crate::{shop, start};

const GOODS: (&str, &str) = ("1.sql", "CREATE TABLE goods (id int)");
const BIG_GOODS: (&str, &str) = ("1.sql", "CREATE TABLE goods (id bigint)");
const PRICES: (&str, &str) = ("2.sql", "CREATE TABLE prices (id int)");

/// The migration of the development, which may be reset.
async fn bring(tenant: &Tenant<'_>, files: &[(&str, &str)]) -> anyhow::Result<()> {
    let mut migration = shop::migration("workbench", files);
    migration["spec"]["policies"] = json!({ "onDivergence": "ResetBranch" });
    shop::apply(tenant, &[migration]).await?;
    tenant.migration("workbench").ready().await?;
    Ok(())
}

async fn asked(secret: &Published, sql: &'static str) -> anyhow::Result<String> {
    let mut session = secret.direct().await?;
    Ok(sqlx::query_scalar(sql).fetch_one(&mut session).await?)
}

/// Somebody brings the branch back to this position of its log.
async fn restore(tenant: &Tenant<'_>, branch: &str, lsn: &str) -> anyhow::Result<Value> {
    let path = format!("/projects/{}/branches/{branch}/restore", tenant.project());
    let body =
        json!({ "source_branch_id": branch, "source_lsn": lsn, "preserve_under_name": "before" });
    tenant.platform().neon().post(&path, body).await
}

#[tokio::test]
async fn an_edited_file_resets_a_development_and_a_restored_one_is_left_as_it_is()
-> anyhow::Result<()> {
    let tenant = Platform::shared().await?.tenant().await?;
    let _operator = start(&tenant).await?;
    let live = shop::small("live", "production", None);
    let workbench = shop::small("workbench", "development", Some("live"));
    shop::apply(&tenant, &[live, workbench]).await?;
    bring(&tenant, &[GOODS]).await?;
    let before = tenant.database("workbench").ready().await?;
    let insert = "INSERT INTO goods VALUES (1) RETURNING id::text";
    let published = tenant.published("workbench").await?;
    asked(&published, insert).await?;

    bring(&tenant, &[BIG_GOODS]).await?;
    let after = tenant.database("workbench").ready().await?;
    ensure!(after.branch_id() == before.branch_id(), "another branch");
    ensure!(
        after.text("/status/branch/origin") == "Reset",
        "{}",
        after.summary()
    );
    let secret = tenant.published("workbench").await?;
    ensure!(secret == published, "the Secret changed with a reset");
    let goods = "SELECT count(*)::text || ' ' || pg_typeof((SELECT max(id) FROM goods)) FROM goods";
    let goods = asked(&secret, goods).await?;
    ensure!(goods == "0 bigint", "{goods}");

    let then = asked(&secret, "SELECT pg_current_wal_lsn()::text").await?;
    bring(&tenant, &[BIG_GOODS, PRICES]).await?;
    restore(&tenant, after.branch_id(), &then).await?;
    let migration = tenant.migration("workbench");
    let message = migration
        .says("Stalled", "True", "HeldAfterRestore")
        .await?;
    ensure!(message.contains("2.sql is not in the ledger"), "{message}");
    let again = json!({ "metadata": { "annotations": { "sepulki.dev/retry": "1" } } });
    migration.patch(again).await?;
    migration.ready().await?;
    let prices = "SELECT to_regclass('public.prices')::text";
    tenant.database("workbench").ready().await?;
    let secret = tenant.published("workbench").await?;
    ensure!(secret == published, "the Secret changed with a restore");
    asked(&secret, prices).await?;
    Ok(())
}
