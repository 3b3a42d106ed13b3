//! Nobody's session is ended by the operator: not at rest, and not while a migration is at work on the branch.

use anyhow::ensure;
use sepulki::clock::{Clock, SystemClock};
use serde_json::{Value, json};
use sqlx::{Executor, PgConnection, Row};
use testkit::operator::{
    Platform, Tenant, eventually,
    object::{Handle, Object},
};

use crate::{shop, start};

/// A table that says when to go on, and a file that waits for it, holding a lock by which it is known to be at work.
const FILES: [(&str, &str); 2] = [
    ("1.sql", "CREATE TABLE go_on (id int)"),
    (
        "2.sql",
        "DO $$ BEGIN
            PERFORM pg_advisory_xact_lock(4711);
            WHILE NOT EXISTS (SELECT FROM go_on) LOOP PERFORM pg_sleep(0.05); END LOOP;
         END $$",
    ),
];

#[tokio::test]
async fn sessions_outlive_looks_and_what_has_to_wait_for_a_migration() -> anyhow::Result<()> {
    let tenant = Platform::shared().await?.tenant().await?;
    let _operator = start(&tenant).await?;
    let mut objects = vec![shop::small("live", "production", None)];
    objects.push(shop::small("pr-1", "preview", Some("live")));
    objects.push(shop::migration("live", &FILES[..1]));
    shop::apply(&tenant, &objects).await?;
    tenant.migration("live").ready().await?;
    let preview = tenant.database("pr-1");
    let at_first = preview.ready().await?;

    // at rest, and when somebody has everything looked at
    let mut held = Held::open(&tenant, "pr-1").await?;
    preview.touch("all-of-it").await?;
    preview
        .until("it was looked at", |o| {
            o.at("/status/handled/reconcile") == "all-of-it" && o.is_ready()
        })
        .await?;
    held.lives().await?;

    // with a migration at work
    shop::apply(&tenant, &[shop::migration("pr-1", &FILES)]).await?;
    eventually("the second file is at work", async || {
        let mut watcher = tenant.published("pr-1").await?.direct().await?;
        let found = "SELECT FROM pg_locks WHERE locktype = 'advisory' AND objid = 4711";
        Ok(watcher.fetch_optional(found).await?.map(|_| ()))
    })
    .await?;
    let before = mutations(&tenant, &at_first).await?;
    waits_for(&preview, json!({"compute": {"suspendAfter": "7m"}})).await?;
    waits_for(
        &preview,
        json!({"compute": null, "databases": [{"name": "shop"}, {"name": "annex"}]}),
    )
    .await?;
    let as_it_was = json!({"spec": {"databases": [{"name": "shop"}]}});
    preview.patch(as_it_was).await?;
    let request = format!("{}@{}", at_first.branch_id(), SystemClock.now());
    let asked = json!({"metadata": {"annotations": {"sepulki.dev/reset": request}}});
    preview.patch(asked).await?;
    preview
        .until("the reset waits", |o| {
            o.at("/status/resetTime").is_string()
                && o.says("Reconciling", "True", "MigrationRunning")
        })
        .await?;
    held.lives().await?;
    let after = mutations(&tenant, &at_first).await?;
    ensure!(before == after, "{before} {after}");

    // done, it is reset, and the branch begins anew from its parent's rows
    for name in ["live", "pr-1"] {
        let mut session = tenant.published(name).await?.direct().await?;
        session.execute("INSERT INTO go_on VALUES (1)").await?;
    }
    preview
        .until("it was reset", |o| {
            o.at("/status/branch/incarnation") != at_first.at("/status/branch/incarnation")
                && o.is_ready()
        })
        .await?;
    tenant.migration("pr-1").ready().await?;
    Ok(())
}

/// Applies a change of the spec, which has to wait until the migration is done.
async fn waits_for(preview: &Handle<'_>, spec: Value) -> anyhow::Result<()> {
    let changed = preview.patch(json!({"spec": spec})).await?;
    preview
        .until("the change waits", |o| {
            o.observed_generation() == changed.generation()
                && o.says("Reconciling", "True", "MigrationRunning")
        })
        .await?;
    Ok(())
}

/// What Neon has of the endpoint and the roles of a branch, and when it was last reset.
async fn mutations(tenant: &Tenant<'_>, object: &Object) -> anyhow::Result<Value> {
    let neon = tenant.platform().neon();
    let (project, branch) = (tenant.project(), object.branch_id());
    let roles = neon
        .get(&format!("/projects/{project}/branches/{branch}/roles"))
        .await?;
    let endpoint = object.endpoint_id();
    let endpoint = neon
        .get(&format!("/projects/{project}/endpoints/{endpoint}"))
        .await?;
    let branch = neon.branch(project, branch).await?.unwrap_or_default();
    Ok(json!([
        roles["roles"],
        endpoint["endpoint"]["suspend_timeout_seconds"],
        branch["last_reset_at"],
    ]))
}

/// A session as an application holds it.
struct Held {
    session: PgConnection,
    process: i32,
}

impl Held {
    async fn open(tenant: &Tenant<'_>, secret: &str) -> anyhow::Result<Self> {
        let mut session = tenant.published(secret).await?.direct().await?;
        let row = session.fetch_one("SELECT pg_backend_pid()").await?;
        let process = row.try_get(0)?;
        Ok(Self { session, process })
    }

    async fn lives(&mut self) -> anyhow::Result<()> {
        let row = self.session.fetch_one("SELECT pg_backend_pid()").await?;
        let process: i32 = row.try_get(0)?;
        ensure!(process == self.process, "another session");
        Ok(())
    }
}
