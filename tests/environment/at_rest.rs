//! What is settled costs nothing: no session, no wake-up, no write, no call to Neon but the shared listing.

use std::time::Duration;

use anyhow::ensure;
use neon_emulator::{EmulatorConfig, Stats};
use serde_json::json;
use testkit::{
    audit::AuditEntry,
    operator::{Neon, Platform, Tenant, eventually, tenant::KEY_SECRET},
};

use crate::{OPERATOR, shop};

/// How often the operator lists the project here.
const INTERVAL: Duration = Duration::from_secs(3);

/// How long nothing must happen: a good number of intervals.
const QUIET: Duration = Duration::from_secs(36);

/// Objects that share the project.
const PREVIEWS: [&str; 5] = ["pr-1", "pr-2", "pr-3", "pr-4", "pr-5"];

#[tokio::test]
async fn settled_objects_cost_one_shared_listing_and_nothing_else() -> anyhow::Result<()> {
    // An emulator of its own, because its counters are looked at as a whole; 300 idle seconds last three.
    let platform = Platform::with_neon(EmulatorConfig {
        idle_second: Duration::from_millis(10),
        ..Neon::config()
    })
    .await?;
    let tenant = platform.tenant().await?;
    let _operator = tenant
        .operator(OPERATOR)
        .flag(format!("--snapshot-interval={}s", INTERVAL.as_secs()))
        .start()
        .await?;
    settle(&tenant).await?;
    eventually("all computes are suspended", async || {
        let stats = platform.neon().stats();
        Ok(stats.active_computes.is_empty().then_some(()))
    })
    .await?;

    let logged_before = marked_end_of_log(&tenant, "before").await?;
    let before = platform.neon().stats();
    let start = sepulki::clock::monotonic();
    while start.elapsed() < QUIET {
        let active = platform.neon().stats().active_computes;
        ensure!(active.is_empty(), "woken: {active:?}");
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    let after = platform.neon().stats();
    let took = start.elapsed();
    let logged_after = marked_end_of_log(&tenant, "after").await?;

    ensure!(
        after.connections_accepted == before.connections_accepted,
        "sessions were opened: {before:?} {after:?}"
    );
    ensure!(after.endpoints == before.endpoints, "{before:?} {after:?}");
    only_listings(&before, &after, took)?;
    let entries = platform.control_plane().audit_log().entries()?;
    let window = &entries[logged_before..logged_after];
    let own = |entry: &&AuditEntry| {
        entry.user.username == platform.operator_user()
            && entry.object_ref.namespace == tenant.namespace()
    };
    ensure!(
        entries[..logged_before]
            .iter()
            .filter(own)
            .any(AuditEntry::is_write),
        "the log does not show the operator's writes at all"
    );
    let mut key_reads = 0;
    for entry in window.iter().filter(own) {
        ensure!(!entry.is_write(), "the operator wrote: {entry:?}");
        key_reads += u32::from(entry.object_ref.name == KEY_SECRET);
    }
    // Once a minute at most, so at most twice in less than a minute, however many objects use it.
    ensure!(key_reads <= 2, "the key was read {key_reads} times");
    Ok(())
}

/// Production and a handful of previews, all of them ready and migrated.
async fn settle(tenant: &Tenant<'_>) -> anyhow::Result<()> {
    let migration = |name: &str| shop::migration(name, &[("1.sql", "CREATE TABLE goods (id int)")]);
    let mut live = shop::small("live", "production", None);
    live["spec"]["compute"] = json!({ "suspendAfter": "5m" });
    let mut objects = vec![live, migration("live")];
    for name in PREVIEWS {
        objects.push(shop::small(name, "preview", Some("live")));
        objects.push(migration(name));
    }
    shop::apply(tenant, &objects).await?;
    for name in PREVIEWS.into_iter().chain(["live"]) {
        tenant.database(name).ready().await?;
        tenant.migration(name).ready().await?;
    }
    Ok(())
}

/// Two list calls in an interval, whatever the number of objects, and no other call.
fn only_listings(before: &Stats, after: &Stats, took: Duration) -> anyhow::Result<()> {
    let intervals = took.as_secs() / INTERVAL.as_secs();
    let mut total = 0;
    for route in [
        "/projects/{project_id}/branches",
        "/projects/{project_id}/endpoints",
    ] {
        let calls = after.api_calls_to("GET", route) - before.api_calls_to("GET", route);
        ensure!(
            (intervals / 3..=intervals + 2).contains(&calls),
            "{calls} calls to {route} in {intervals} intervals"
        );
        total += calls;
    }
    let all = after.total_api_calls() - before.total_api_calls();
    ensure!(
        all == total,
        "{all} calls, of which {total} listings: {after:?}"
    );
    Ok(())
}

/// How many entries the audit log has once everything that happened before this call is in it: writes an entry of its
/// own and waits for it.
async fn marked_end_of_log(tenant: &Tenant<'_>, mark: &str) -> anyhow::Result<usize> {
    let map = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": mark } });
    tenant.apply(&map.to_string()).await?;
    let log = tenant.platform().control_plane().audit_log();
    eventually("our own write is in the audit log", async || {
        let entries = log.entries()?;
        let ours = |entry: &AuditEntry| {
            entry.object_ref.namespace == tenant.namespace()
                && entry.object_ref.resource == "configmaps"
                && entry.object_ref.name == mark
        };
        Ok(entries.iter().position(ours))
    })
    .await
}
