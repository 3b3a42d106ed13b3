//! What a role can be given beside its access: schemas, a limit, settings, a password of its user's, and Secrets that say more.

use anyhow::{Context, ensure};
use serde_json::json;
use sqlx::{Connection, Executor, Row};
use testkit::operator::{Platform, Published, Tenant, eventually};

use crate::{shop, start};

const REPORTS: (&str, &str) = (
    "001_reports.sql",
    "CREATE SCHEMA reports;
     CREATE TABLE reports.daily (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, total bigint NOT NULL);",
);

const FIRST: &str = "Correct-Horse-7-Battery";
const SECOND: &str = "Another-Horse-8-Staple";

async fn give(tenant: &Tenant<'_>, password: &str) -> anyhow::Result<()> {
    let secret = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": { "name": "clerk-password" },
        "stringData": { "password": password },
    });
    tenant.apply(&secret.to_string()).await
}

#[tokio::test]
async fn a_role_gets_all_that_its_spec_gives_it() -> anyhow::Result<()> {
    let tenant = Platform::shared().await?.tenant().await?;
    let _operator = start(&tenant).await?;
    let mut object = shop::small("live", "production", None);
    object["spec"]["roles"] = json!([{
        "name": "clerk",
        "access": "ReadWrite",
        "schemas": ["public", "reports"],
        "connectionLimit": 7,
        "settings": { "statement_timeout": "31s", "search_path": "reports, public" },
        "passwordSecretRef": { "name": "clerk-password", "key": "password" },
    }]);
    object["spec"]["connectionSecrets"] = json!([{
        "name": "live",
        "template": { "metadata": { "labels": { "team": "shop" } }, "data": { "DIRECT": "$(direct_url)" } },
    }]);
    shop::apply(&tenant, &[object.clone()]).await?;
    eventually("the password is waited for", async || {
        let found = tenant.database("live").get().await?;
        Ok(found
            .says("Reconciling", "True", "PasswordNotFound")
            .then_some(()))
    })
    .await?;
    give(&tenant, FIRST).await?;
    let ready = tenant.database("live").ready().await?;
    let told = ready.condition("DatabasesReady").2;
    ensure!(
        told.contains("reports"),
        "nothing is said of the schema: {told}"
    );

    shop::apply(&tenant, &[shop::migration("live", &[REPORTS])]).await?;
    tenant.migration("live").ready().await?;
    eventually("the rights follow the schema", async || {
        let found = tenant.database("live").get().await?;
        Ok(found.condition("DatabasesReady").2.is_empty().then_some(()))
    })
    .await?;
    let secret = tenant.published("live").await?;
    ensure!(secret.field("PGPASSWORD")? == FIRST, "another password");
    ensure!(
        secret.field("DIRECT")? == secret.field("DATABASE_URL_UNPOOLED")?,
        "another URL"
    );
    works_in_its_schema(&secret).await?;

    give(&tenant, SECOND).await?;
    object["metadata"]["annotations"] = json!({ "sepulki.dev/reconcile": "1" });
    object["spec"]["connectionSecrets"] = json!([{ "name": "live" }]);
    shop::apply(&tenant, &[object]).await?;
    eventually("the other password is published", async || {
        let secret = tenant.published("live").await?;
        Ok((secret.field("PGPASSWORD")? == SECOND).then_some(()))
    })
    .await?;
    let changed = tenant.published("live").await?;
    works_in_its_schema(&changed).await?;
    ensure!(
        changed.field("DIRECT").is_err(),
        "the template's key is left"
    );
    let labels = tenant.secrets().get("live").await?.metadata.labels;
    ensure!(
        labels.unwrap_or_default().is_empty(),
        "the template's label is left"
    );
    ensure!(
        secret.direct().await.is_err(),
        "the first password still works"
    );
    Ok(())
}

/// Both ways in: by its settings, it finds the table without naming the schema.
async fn works_in_its_schema(secret: &Published) -> anyhow::Result<()> {
    for mut session in [secret.direct().await?, secret.pooled().await?] {
        session
            .execute("INSERT INTO daily (total) VALUES (1)")
            .await
            .context("write to reports.daily")?;
        // not prepared: behind a pooler, each statement may meet another server
        let row = session
            .fetch_one(
                "SELECT current_setting('statement_timeout'),
                    (SELECT rolconnlimit FROM pg_roles WHERE rolname = session_user)",
            )
            .await?;
        let (timeout, limit): (String, i32) = (row.get(0), row.get(1));
        ensure!(
            (timeout.as_str(), limit) == ("31s", 7),
            "{timeout}, {limit}"
        );
        session.close().await?;
    }
    Ok(())
}
