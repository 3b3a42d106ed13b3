//! A database that the old runner and people have left behind, brought under the operator.

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use sqlx::{Connection, Executor, PgConnection};
use testkit::operator::{Object, Platform, Tenant};

use crate::{shop, start};

const FILES: [(&str, &str); 7] = [
    (
        "001_initial.sql",
        "CREATE TABLE robots (id int PRIMARY KEY, label text)",
    ),
    (
        "002_indexes.sql",
        "CREATE INDEX CONCURRENTLY IF NOT EXISTS robots_again ON robots (id)",
    ),
    ("003_maps.sql", "CREATE TABLE maps (id int)"),
    ("004_never_ran.sql", "ALTER TABLE robots ADD COLUMN map int"),
    (
        "005_edited.sql",
        "ALTER TABLE robots RENAME COLUMN label TO title",
    ),
    ("006_seed.sql", "INSERT INTO maps VALUES (1)"),
    ("007_next.sql", "CREATE TABLE next (id int)"),
];

/// One row of each kind, and none for the first file, which was run by hand.
const ROWS: &str = "CREATE TABLE schema_migrations (version varchar(255) PRIMARY KEY, \
                      applied_at timestamptz DEFAULT now(), checksum varchar(64)); \
                    INSERT INTO schema_migrations (version, checksum) VALUES \
                      ('000_pruned.sql', 'unknown'), ('002_indexes.sql', 'unknown'), ('003_maps', NULL), \
                      ('004_never_ran.sql', 'unknown'), ('005_edited.sql', repeat('0', 64)), ('006_seed.sql', NULL)";

const LEDGER: &str = "SELECT string_agg(version, ' ' ORDER BY version) FROM schema_migrations";

async fn owner(tenant: &Tenant<'_>) -> anyhow::Result<PgConnection> {
    let object = tenant.database("live").get().await?;
    let secret = tenant.published("live").await?;
    let neon = tenant.platform().neon();
    let (project, branch) = (tenant.project(), object.branch_id());
    let password = neon.password(project, branch, "shop_owner").await?;
    let door = secret.options("DATABASE_URL_UNPOOLED")?;
    let options = door.username("shop_owner").password(&password);
    let session = PgConnection::connect_with(&options).await;
    session.context("connect as the owner")
}

async fn ask(session: &mut PgConnection, sql: &'static str) -> anyhow::Result<String> {
    Ok(sqlx::query_scalar(sql).fetch_one(session).await?)
}

fn verdicts(object: &Object) -> Vec<(String, String)> {
    let versions = object.at("/status/adoption/verdict/versions");
    let versions = versions.as_array().map(Vec::as_slice).unwrap_or_default();
    let part = |told: &Value, name: &str| told[name].as_str().unwrap_or_default().to_owned();
    versions
        .iter()
        .map(|told| (part(told, "version"), part(told, "verdict")))
        .collect()
}

/// Nothing is left of the copy.
async fn no_copy(tenant: &Tenant<'_>, object: &Object) -> anyhow::Result<()> {
    let branches = tenant.platform().neon().branches(tenant.project()).await?;
    ensure!(branches.len() == 1, "{branches:?}");
    ensure!(object.at("/status/adoption/scratch").is_null());
    ensure!(object.at("/metadata/finalizers").is_null());
    Ok(())
}

#[tokio::test]
async fn an_old_ledger_is_compared_with_what_is_there_and_nothing_is_run_again()
-> anyhow::Result<()> {
    let tenant = Platform::shared().await?.tenant().await?;
    let _operator = start(&tenant).await?;
    shop::apply(&tenant, &[shop::small("live", "production", None)]).await?;
    tenant.database("live").ready().await?;
    let mut session = owner(&tenant).await?;
    for at in [0, 1, 2, 4, 5] {
        session.execute(FILES[at].1).await?;
    }
    session.execute(ROWS).await?;

    let mut object = shop::migration("live", &FILES);
    object["spec"]["adopt"] =
        json!({ "mode": "Verify", "aliases": { "003_maps": "003_maps.sql" } });
    object["spec"]["policies"] = json!({ "checksumMismatch": "Warn", "outOfOrder": "Allow" });
    shop::apply(&tenant, &[object]).await?;
    let migration = tenant.migration("live");
    let message = migration.says("Stalled", "True", "HistoryDiffers").await?;
    let told = "004_never_ran.sql (makes table column public.robots.map)";
    ensure!(message.contains(told), "{message}");
    let found = migration.get().await?;
    let expected = [
        ("004_never_ran.sql", "ClaimedButMissing"),
        ("001_initial.sql", "ThereWithoutRow"),
        ("006_seed.sql", "Unknown"),
        ("000_pruned.sql", "Unknown"),
        ("007_next.sql", "Pending"),
        ("002_indexes.sql", "Consistent"),
        ("003_maps.sql", "Consistent"),
        ("005_edited.sql", "Consistent"),
    ]
    .map(|(version, verdict)| (version.to_owned(), verdict.to_owned()));
    ensure!(
        verdicts(&found) == expected,
        "{}",
        found.at("/status/adoption")
    );
    no_copy(&tenant, &found).await?;
    let rows = ask(&mut session, LEDGER).await?;
    ensure!(
        rows.split(' ').count() == 6 && !rows.contains("007"),
        "{rows}"
    );

    // put right: the row that claims too much goes, the one that is missing comes
    let right = "DELETE FROM schema_migrations WHERE version = '004_never_ran.sql'; \
                 INSERT INTO schema_migrations (version) VALUES ('001_initial.sql')";
    session.execute(right).await?;
    let again = json!({ "metadata": { "annotations": { "sepulki.dev/retry": "1" } } });
    migration.patch(again).await?;
    let settled = migration.ready().await?;
    ensure!(
        settled.at("/status/adoption/verdict/consistent") == 4,
        "{}",
        settled.summary()
    );
    no_copy(&tenant, &settled).await?;
    let seeded = ask(&mut session, "SELECT count(*)::text FROM maps").await?;
    ensure!(seeded == "1", "the seed was run again");
    let made = "SELECT concat_ws(' ', to_regclass('next'), (SELECT attname FROM pg_attribute \
                WHERE attrelid = 'robots'::regclass AND attname = 'map'))";
    let made = ask(&mut session, made).await?;
    ensure!(made == "next map", "{made}");
    Ok(())
}
