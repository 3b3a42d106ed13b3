//! What fields of a NeonDatabase do when they change, and what is said where they cannot be carried out.

use anyhow::{Context, ensure};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, Patch, PatchParams};
use neon_emulator::{EmulatorConfig, Limits, SuspendLimit};
use sepulki::clock::{Clock, SystemClock};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, ConnectOptions, Executor};
use testkit::operator::{Neon, Object, Platform, Tenant, eventually};

use crate::{shop, start};

#[tokio::test]
async fn compute_and_protection_follow_the_spec_and_suspend_holds_them() -> anyhow::Result<()> {
    let tenant = Platform::shared().await?.tenant().await?;
    let _operator = start(&tenant).await?;
    shop::apply(&tenant, &[shop::small("live", "production", None)]).await?;
    let live = tenant.database("live");
    let object = live.ready().await?;
    ensure!(
        size(&tenant, &object).await? == (0.5, 4.0, -1),
        "the profile's"
    );
    ensure!(neon_branch(&tenant, &object).await?["protected"] == true);

    let compute = json!({ "minCU": 1, "maxCU": 2, "suspendAfter": "10m" });
    live.patch(json!({ "spec": { "compute": compute } }))
        .await?;
    let object = live.ready().await?;
    ensure!(size(&tenant, &object).await? == (1.0, 2.0, 600));
    ensure!(object.at("/status/endpoint/minCU") == 1.0, "{object:?}");
    ensure!(object.at("/status/endpoint/maxCU") == 2.0, "{object:?}");

    for protected in [false, true] {
        live.patch(json!({ "spec": { "branch": { "protected": protected } } }))
            .await?;
        let object = live.ready().await?;
        ensure!(neon_branch(&tenant, &object).await?["protected"] == protected);
        ensure!(object.at("/status/branch/protected") == protected);
    }

    let compute = json!({ "minCU": 0.25, "maxCU": 0.25 });
    live.patch(json!({ "spec": { "suspend": true, "compute": compute } }))
        .await?;
    let object = live
        .until("observed", |object| {
            object.generation() == object.observed_generation()
        })
        .await?;
    ensure!(
        object.says("Ready", "True", "Suspended"),
        "{}",
        object.summary()
    );
    ensure!(
        size(&tenant, &object).await? == (1.0, 2.0, 600),
        "suspended"
    );
    live.patch(json!({ "spec": { "suspend": false } })).await?;
    let object = live.ready().await?;
    ensure!(size(&tenant, &object).await? == (0.25, 0.25, 600));
    tenant.published("live").await?.direct().await?;
    Ok(())
}

#[tokio::test]
async fn a_read_replica_is_read_by_the_secret_until_it_leaves_the_list() -> anyhow::Result<()> {
    let tenant = Platform::shared().await?.tenant().await?;
    let _operator = start(&tenant).await?;
    let replicas = json!([{ "name": "reporting", "minCU": 0.25, "maxCU": 0.5 }]);
    let mut live = shop::small("live", "production", None);
    live["spec"]["compute"] = json!({ "readReplicas": replicas });
    // Neon deletes no endpoint of a protected branch
    live["spec"]["branch"] = json!({ "protected": false });
    shop::apply(&tenant, &[live]).await?;
    let live = tenant.database("live");
    let object = live.ready().await?;
    let secret = tenant.published("live").await?;
    let mut session = secret.options("DATABASE_URL_REPORTING")?.connect().await?;
    let question = "SELECT pg_is_in_recovery()";
    let standby: bool = sqlx::query_scalar(question).fetch_one(&mut session).await?;
    ensure!(standby, "not a standby");
    let endpoint = |object: &Object| object.text("/status/readReplicas/0/endpoint/id").to_owned();
    let id = endpoint(&object);

    let replicas = json!([{ "name": "reporting", "minCU": 0.5, "maxCU": 1 }]);
    live.patch(json!({ "spec": { "compute": { "readReplicas": replicas } } }))
        .await?;
    let object = live.ready().await?;
    ensure!(endpoint(&object) == id, "another endpoint");
    ensure!(object.at("/status/readReplicas/0/endpoint/maxCU") == 1.0);

    live.patch(json!({ "spec": { "compute": { "readReplicas": [] } } }))
        .await?;
    live.ready().await?;
    let secret = tenant.published("live").await?;
    ensure!(!secret.fields.contains_key("DATABASE_URL_REPORTING"));
    let left = tenant.platform().neon().endpoints(tenant.project()).await?;
    ensure!(left.iter().all(|endpoint| endpoint["id"] != id), "{left:?}");
    secret.direct().await?;
    Ok(())
}

#[tokio::test]
async fn a_branch_of_the_past_has_the_rows_of_then_and_the_settings_of_its_spec()
-> anyhow::Result<()> {
    let tenant = Platform::shared().await?.tenant().await?;
    let _operator = start(&tenant).await?;
    let files = [("1.sql", "CREATE TABLE goods (id int)")];
    let live = shop::small("live", "production", None);
    shop::apply(&tenant, &[live, shop::migration("live", &files)]).await?;
    tenant.database("live").ready().await?;
    tenant.migration("live").ready().await?;
    let mut session = tenant.published("live").await?.direct().await?;
    let insert = "INSERT INTO goods VALUES (1)";
    sqlx::query(insert).execute(&mut session).await?;
    let position = "SELECT pg_current_wal_lsn()::text";
    let lsn: String = sqlx::query_scalar(position).fetch_one(&mut session).await?;
    sqlx::query(insert).execute(&mut session).await?;

    let mut then = shop::small("then", "preview", Some("live"));
    then["spec"]["branch"]["parent"]["at"] = json!({ "lsn": lsn });
    then["spec"]["compute"] = json!({ "settings": { "work_mem": "7MB" } });
    shop::apply(&tenant, &[then]).await?;
    let then = tenant.database("then");
    let object = then.ready().await?;
    let mut session = tenant.published("then").await?.direct().await?;
    let count = "SELECT count(*) FROM goods";
    let rows: i64 = sqlx::query_scalar(count).fetch_one(&mut session).await?;
    ensure!(rows == 1, "{rows} rows");
    let memory: String = sqlx::query_scalar("SHOW work_mem")
        .fetch_one(&mut session)
        .await?;
    ensure!(memory == "7MB", "{memory}");
    ensure!(object.text("/status/endpoint/settings/work_mem") == "7MB");

    let change = json!({ "spec": { "compute": { "settings": { "work_mem": "9MB" } } } });
    then.patch(change).await?;
    then.ready().await?;
    let mut session = tenant.published("then").await?.direct().await?;
    let memory: String = sqlx::query_scalar("SHOW work_mem")
        .fetch_one(&mut session)
        .await?;
    ensure!(memory == "9MB", "{memory}");

    let slip = json!({ "work_mem": "11MB", "shared_buffer": "1GB" });
    let change = json!({ "spec": { "compute": { "settings": slip } } });
    then.patch(change).await?;
    let message = then.says("Stalled", "True", "DatabaseRejected").await?;
    ensure!(
        message.starts_with("spec.compute.settings.shared_buffer: unrecognized"),
        "{message}"
    );
    // the other one was sent, and the server runs with it
    let mut session = tenant.published("then").await?.direct().await?;
    let memory: String = sqlx::query_scalar("SHOW work_mem")
        .fetch_one(&mut session)
        .await?;
    ensure!(memory == "11MB", "{memory}");
    Ok(())
}

#[tokio::test]
async fn what_the_plan_does_not_allow_is_told_and_holds_nothing_up() -> anyhow::Result<()> {
    let limits = Limits {
        max_cu: 2.0,
        suspend: SuspendLimit::Fixed,
        ..Limits::default()
    };
    let config = EmulatorConfig {
        limits,
        ..Neon::config()
    };
    let platform = Platform::with_neon(config).await?;
    let tenant = platform.tenant().await?;
    let _operator = start(&tenant).await?;
    let mut greedy = shop::small("greedy", "preview", Some("live"));
    greedy["spec"]["compute"] = json!({ "suspendAfter": "1h" });
    let live = shop::small("live", "production", None);
    shop::apply(&tenant, &[live, greedy]).await?;
    // the profile's 4 CU and never, one after the other; what the spec sets is not left out
    let object = tenant.database("live").ready().await?;
    let (status, reason, message) = object.condition("ComputeReady");
    ensure!((status, reason) == ("True", "PlanLimited"), "{message}");
    ensure!(
        message.contains("0.5-4 CU, suspendAfter never"),
        "{message}"
    );
    let greedy = tenant.database("greedy");
    let message = greedy.says("Stalled", "True", "NeonRejected").await?;
    let told = [
        "suspendAfter 1h",
        "spec.compute",
        "not allowed for your account",
    ];
    ensure!(told.iter().all(|told| message.contains(told)), "{message}");
    Ok(())
}

#[tokio::test]
async fn a_lease_is_set_renewed_and_ended() -> anyhow::Result<()> {
    let tenant = Platform::shared().await?.tenant().await?;
    let _operator = start(&tenant).await?;
    let objects = [
        shop::small("live", "production", None),
        shop::small("pr-7", "preview", Some("live")),
    ];
    shop::apply(&tenant, &objects).await?;
    let preview = tenant.database("pr-7");
    let object = preview.ready().await?;
    let left = expiry(&neon_branch(&tenant, &object).await?)?.context("no lease on a preview")?;
    let hours = left.duration_since(SystemClock.now()).as_hours();
    ensure!((70..=72).contains(&hours), "{hours} hours");

    preview
        .patch(json!({ "spec": { "branch": { "lease": "2h" } } }))
        .await?;
    expires_within(&tenant, &object, 100..=120).await?;
    // As if most of it had passed; a suspended object's lease is renewed, too.
    preview
        .patch(json!({ "spec": { "suspend": true } }))
        .await?;
    preview
        .until("suspended", |object| {
            object.says("Ready", "True", "Suspended")
        })
        .await?;
    let nearly_over = SystemClock
        .now()
        .checked_add(SignedDuration::from_mins(50))?;
    let path = format!(
        "/projects/{}/branches/{}",
        tenant.project(),
        object.branch_id()
    );
    let body = json!({ "branch": { "expires_at": nearly_over.to_string() } });
    tenant.platform().neon().patch(&path, body).await?;
    // Somebody changed it on Neon, which tells nobody: the operator is asked to look until its listing is new enough.
    eventually("the lease is renewed", async || {
        preview.touch(&SystemClock.now().to_string()).await?;
        let left = minutes_left(&tenant, &object).await?;
        Ok(left.filter(|left| *left >= 100).map(drop))
    })
    .await?;

    let end = json!({ "spec": { "suspend": false, "branch": { "lease": "never" } } });
    preview.patch(end).await?;
    preview.ready().await?;
    ensure!(expiry(&neon_branch(&tenant, &object).await?)?.is_none());
    Ok(())
}

#[tokio::test]
async fn secrets_that_were_lost_or_changed_are_repaired() -> anyhow::Result<()> {
    let tenant = Platform::shared().await?.tenant().await?;
    let operator = start(&tenant).await?;
    let mut live = shop::small("live", "production", None);
    live["spec"]["roles"] = json!([
        { "name": "clerk", "access": "ReadWrite" },
        { "name": "auditor", "access": "ReadOnly" },
    ]);
    let secret = |name: &str, role: &str| json!({ "name": name, "role": role, "database": "shop" });
    live["spec"]["connectionSecrets"] = json!([
        secret("till", "clerk"),
        secret("office", "clerk"),
        secret("audit", "auditor"),
    ]);
    shop::apply(&tenant, &[live.clone()]).await?;
    tenant.database("live").ready().await?;
    let kept = tenant.published("office").await?;
    let lost = tenant.published("audit").await?;

    // Both Secrets of a role share a login, and the other one still has its password.
    let secrets = tenant.secrets();
    secrets.delete("till", &DeleteParams::default()).await?;
    secrets.delete("audit", &DeleteParams::default()).await?;
    operator.stop().await?;
    let operator = start(&tenant).await?;
    for name in ["till", "audit"] {
        eventually("the Secret is back", async || {
            Ok(tenant.secrets().get_opt(name).await?)
        })
        .await?;
        tenant.published(name).await?.direct().await?;
        tenant.published(name).await?.pooled().await?;
    }
    ensure!(tenant.published("till").await?.fields == kept.fields);
    ensure!(
        tenant.published("audit").await?.field("PGPASSWORD")? != lost.field("PGPASSWORD")?,
        "nobody could know the old password"
    );

    let wrong = json!({ "stringData": { "PGPASSWORD": "changed", "PGHOST": "elsewhere" } });
    secrets
        .patch("office", &PatchParams::default(), &Patch::Merge(wrong))
        .await?;
    operator.stop().await?;
    let _operator = start(&tenant).await?;
    eventually("the Secret is as it was", async || {
        let now = tenant.published("office").await?;
        Ok((now.fields == kept.fields).then_some(()))
    })
    .await?;

    drop_role(&tenant, "clerk_g1").await?;
    ensure!(kept.direct().await.is_err(), "the login is still there");
    tenant.database("live").touch("somebody was here").await?;
    eventually("the login works again", async || {
        Ok(kept.direct().await.ok())
    })
    .await?;
    kept.pooled().await?;

    live["spec"]["connectionSecrets"] = json!([secret("office", "clerk")]);
    shop::apply(&tenant, &[live]).await?;
    let object = tenant.database("live").ready().await?;
    let recorded = object.at("/status/connectionSecrets").as_array();
    ensure!(recorded.is_some_and(|all| all.len() == 1), "{object:?}");
    for name in ["till", "audit"] {
        ensure!(
            secrets.get_opt(name).await?.is_none(),
            "{name} is still there"
        );
    }
    tenant.published("office").await?.direct().await?;
    Ok(())
}

/// As the owner of the database, by hand.
async fn drop_role(tenant: &Tenant<'_>, role: &str) -> anyhow::Result<()> {
    let object = tenant.database("live").get().await?;
    let (neon, owner) = (tenant.platform().neon(), "shop_owner");
    let password = neon.password(tenant.project(), object.branch_id(), owner);
    let door = tenant.published("office").await?;
    let door = door.options("DATABASE_URL_UNPOOLED")?.username(owner);
    let mut session = door.password(&password.await?).connect().await?;
    session
        .execute(AssertSqlSafe(format!("DROP ROLE {role}")))
        .await?;
    Ok(())
}

#[tokio::test]
async fn what_belongs_to_others_is_named_and_left_alone() -> anyhow::Result<()> {
    let tenant = Platform::shared().await?.tenant().await?;
    let _operator = start(&tenant).await?;
    let foreign: Secret = serde_json::from_value(json!({
        "metadata": { "name": "taken" },
        "stringData": { "PGPASSWORD": "somebody else's" },
    }))?;
    tenant
        .secrets()
        .create(&kube::api::PostParams::default(), &foreign)
        .await?;
    shop::apply(&tenant, &[shop::small("live", "production", None)]).await?;
    tenant.database("live").ready().await?;

    let mut second = shop::small("second", "production", None);
    let mut owned = shop::small("owned", "staging", Some("live"));
    owned["spec"]["databases"] = json!([{ "name": "shop", "owner": "somebody" }]);
    let mut misspelt = shop::small("misspelt", "preview", Some("live"));
    misspelt["spec"]["databases"] =
        json!([{ "name": "shop", "extensions": [{ "name": "pgcripto" }] }]);
    let taken = shop::small("taken", "preview", Some("live"));
    let objects = [second.clone(), owned.clone(), misspelt.clone(), taken];
    shop::apply(&tenant, &objects).await?;
    for (name, reason, words) in [
        ("second", "BranchClaimed", ["live", "default"]),
        ("owned", "DatabaseRejected", ["shop_owner", "somebody"]),
        ("misspelt", "DatabaseRejected", ["pgcripto", "pgcrypto"]),
        ("taken", "SecretConflict", ["taken", "was not published"]),
    ] {
        let said = tenant
            .database(name)
            .says("Stalled", "True", reason)
            .await?;
        for word in words {
            ensure!(said.contains(word), "{name}: {word} is not in: {said}");
        }
    }
    let taken = tenant.published("taken").await?;
    ensure!(taken.fields.len() == 1, "the Secret was written to");
    let live = tenant.database("live").get().await?;
    ensure!(live.is_ready(), "{}", live.summary());

    // Corrected, they go on by themselves.
    owned["spec"]["databases"] = json!([{ "name": "shop", "owner": "shop_owner" }]);
    misspelt["spec"]["databases"] =
        json!([{ "name": "shop", "extensions": [{ "name": "pgcrypto" }] }]);
    shop::apply(&tenant, &[owned, misspelt]).await?;
    for name in ["owned", "misspelt"] {
        tenant.database(name).ready().await?;
    }
    // The rival gives way to nobody but is free to claim the branch when the holder goes.
    tenant.database("live").delete().await?;
    tenant.database("live").gone().await?;
    second["metadata"]["labels"] = json!({ "nudge": "1" });
    shop::apply(&tenant, &[second]).await?;
    let second = tenant.database("second").ready().await?;
    ensure!(second.at("/status/branch/isDefault") == true);
    Ok(())
}

/// The branch as Neon has it.
async fn neon_branch(tenant: &Tenant<'_>, object: &Object) -> anyhow::Result<Value> {
    let neon = tenant.platform().neon();
    let branch = neon.branch(tenant.project(), object.branch_id()).await?;
    branch.context("Neon has no such branch")
}

fn expiry(branch: &Value) -> anyhow::Result<Option<Timestamp>> {
    let text = branch["expires_at"].as_str();
    Ok(text.map(str::parse).transpose()?)
}

async fn minutes_left(tenant: &Tenant<'_>, object: &Object) -> anyhow::Result<Option<i64>> {
    let expiry = expiry(&neon_branch(tenant, object).await?)?;
    Ok(expiry.map(|at| at.duration_since(SystemClock.now()).as_mins()))
}

/// Waits until Neon says that the branch expires within so many minutes.
async fn expires_within(
    tenant: &Tenant<'_>,
    object: &Object,
    minutes: std::ops::RangeInclusive<i64>,
) -> anyhow::Result<()> {
    eventually(&format!("an expiry in {minutes:?} minutes"), async || {
        let left = minutes_left(tenant, object).await?;
        Ok(left.filter(|left| minutes.contains(left)).map(drop))
    })
    .await
}

/// Smallest and largest size and the suspend timeout, as Neon has them.
async fn size(tenant: &Tenant<'_>, object: &Object) -> anyhow::Result<(f64, f64, i64)> {
    let endpoints = tenant.platform().neon().endpoints(tenant.project()).await?;
    let endpoint = endpoints
        .iter()
        .find(|endpoint| endpoint["id"] == object.endpoint_id())
        .context("Neon has no such endpoint")?;
    let number = |field: &str| endpoint[field].as_f64().context(format!("no {field}"));
    Ok((
        number("autoscaling_limit_min_cu")?,
        number("autoscaling_limit_max_cu")?,
        endpoint["suspend_timeout_seconds"]
            .as_i64()
            .context("no timeout")?,
    ))
}
