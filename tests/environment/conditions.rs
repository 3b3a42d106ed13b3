//! What tools that wait on conditions see, at every moment of a convergence.

use std::{collections::BTreeMap, process::Command, sync::Arc};

use anyhow::{Context, ensure};
use futures::{StreamExt, TryStreamExt};
use kube::api::{WatchEvent, WatchParams};
use serde_json::{Value, json};
use testkit::{
    assets,
    operator::{Object, Platform, Tenant, object},
};
use tokio::{sync::Mutex, task::JoinHandle};

use crate::{shop, start};

/// Every state in which the objects of a kind were, in order.
struct Recording {
    states: Arc<Mutex<Vec<Object>>>,
    task: JoinHandle<()>,
}

impl Recording {
    /// Begins before the first object is made.
    async fn of(tenant: &Tenant<'_>, kind: &str) -> anyhow::Result<Self> {
        let api = object::api(tenant.client().clone(), tenant.namespace(), kind);
        let list = api.list(&kube::api::ListParams::default()).await?;
        let version = list.metadata.resource_version.context("a version")?;
        // Longer than the test.
        let params = WatchParams::default().timeout(290);
        let events = api.watch(&params, &version).await?;
        let states = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&states);
        let task = tokio::spawn(async move {
            let mut events = events.boxed();
            while let Ok(Some(event)) = events.try_next().await {
                if let WatchEvent::Added(object) | WatchEvent::Modified(object) = event {
                    seen.lock().await.push(Object::of(&object).expect("JSON"));
                }
            }
        });
        Ok(Self { states, task })
    }

    /// Ends once it has seen what the objects are now.
    async fn end(self, last: &[Object]) -> anyhow::Result<Vec<Object>> {
        let recorded = testkit::operator::eventually("the watch has caught up", async || {
            let states = self.states.lock().await;
            let seen = |object: &Object| states.iter().any(|state| state == object);
            Ok(last.iter().all(seen).then(|| states.clone()))
        })
        .await?;
        self.task.abort();
        Ok(recorded)
    }
}

#[tokio::test]
async fn conditions_tell_the_truth_at_every_moment() -> anyhow::Result<()> {
    let tenant = Platform::shared().await?.tenant().await?;
    let databases = Recording::of(&tenant, "NeonDatabase").await?;
    let migrations = Recording::of(&tenant, "SepulkiMigration").await?;
    let _operator = start(&tenant).await?;

    let names = ["live", "workbench"];
    let good = [("1.sql", "CREATE TABLE goods (id int)")];
    let bad = [good[0], ("2.sql", "CREATE TABLE goods (id int)")];
    let objects = [
        shop::small("live", "production", None),
        shop::migration("live", &good),
        shop::small("workbench", "development", Some("live")),
        shop::migration("workbench", &bad),
    ];
    shop::apply(&tenant, &objects).await?;
    tenant.database("workbench").ready().await?;
    tenant.migration("live").ready().await?;
    tenant
        .migration("workbench")
        .says("Stalled", "True", "MigrationFailed")
        .await?;

    // kubectl compares generations: it must not be content with what is true of the old spec.
    let compute = json!({ "minCU": 2, "maxCU": 3 });
    for name in names {
        let patch = json!({ "spec": { "compute": compute } });
        tenant.database(name).patch(patch).await?;
    }
    shop::apply(&tenant, &[shop::migration("workbench", &good)]).await?;
    wait_by_kubectl(&tenant).await?;
    let mut last_databases = Vec::new();
    let mut last_migrations = Vec::new();
    for name in names {
        let object = tenant.database(name).get().await?;
        ensure!(object.at("/status/endpoint/minCU") == 2.0, "{object:?}");
        last_databases.push(object);
        last_migrations.push(tenant.migration(name).get().await?);
    }

    let size = |object: &Object| {
        let asked = object.at("/spec/compute/minCU").as_f64();
        asked.is_none_or(|asked| object.at("/status/endpoint/minCU").as_f64() == Some(asked))
    };
    let parts: &[&str] = &[
        "BranchReady",
        "ComputeReady",
        "DatabasesReady",
        "CredentialsPublished",
    ];
    check(&databases.end(&last_databases).await?, parts, size)?;
    let all_applied = |object: &Object| {
        let files = object.at("/spec/source/inline").as_array().map(Vec::len);
        object.at("/status/applied/count").as_u64()
            == files.and_then(|count| u64::try_from(count).ok())
    };
    let parts: &[&str] = &["SourceReady", "Planned", "Applied"];
    check(&migrations.end(&last_migrations).await?, parts, all_applied)
}

/// As people and pipelines wait.
async fn wait_by_kubectl(tenant: &Tenant<'_>) -> anyhow::Result<()> {
    let mut command = Command::new(assets::kubectl()?);
    command
        .arg("--kubeconfig")
        .arg(tenant.platform().control_plane().kubeconfig_file())
        .args(["--namespace", tenant.namespace(), "wait"])
        .args(["--for=condition=Ready", "--timeout=90s", "--all"])
        .arg("neondb,sepmig");
    let output = tokio::task::spawn_blocking(move || command.output()).await??;
    ensure!(output.status.success(), "kubectl wait: {output:?}");
    Ok(())
}

/// Checks every state by itself and against the one before.
fn check(
    states: &[Object],
    parts: &[&str],
    as_asked: impl Fn(&Object) -> bool,
) -> anyhow::Result<()> {
    let mut before: BTreeMap<&str, &Object> = BTreeMap::new();
    let mut ready = 0;
    for state in states {
        let name = state.text("/metadata/name");
        let previous = before.insert(name, state);
        if !state.conditions().is_empty() {
            one(state, parts, &as_asked)
                .and_then(|()| previous.map_or(Ok(()), |previous| transition(previous, state)))
                .with_context(|| format!("{name}: {}", state.summary()))?;
        }
        ready += u32::from(state.is_ready());
    }
    ensure!(before.len() == 2 && ready >= 2, "what was recorded at all");
    Ok(())
}

fn one(state: &Object, parts: &[&str], as_asked: impl Fn(&Object) -> bool) -> anyhow::Result<()> {
    let is = |kind: &str| state.condition(kind).0 == "True";
    let (ready, reconciling, stalled) = (is("Ready"), is("Reconciling"), is("Stalled"));
    ensure!(!(reconciling && stalled), "Reconciling and Stalled");
    ensure!(
        ready != (reconciling || stalled),
        "exactly one of Ready, Reconciling and Stalled"
    );
    let names: Vec<&str> = state
        .conditions()
        .iter()
        .filter_map(|condition| condition["type"].as_str())
        .collect();
    ensure!(names.starts_with(&["Ready", "Reconciling", "Stalled"]));
    for part in parts {
        ensure!(names.contains(part), "{part} is missing");
    }
    let observed = state.observed_generation();
    ensure!(observed <= state.generation(), "a generation not seen yet");
    for condition in state.conditions() {
        ensure!(
            condition["observedGeneration"] == observed,
            "{condition} is of another generation"
        );
    }
    if ready {
        for part in parts {
            ensure!(is(part), "Ready without {part}");
        }
    }
    if state.is_ready() {
        ensure!(as_asked(state), "Ready, but not as asked");
    }
    Ok(())
}

/// The time of a condition's last flip moves when it flips and only then; the generation observed never goes back; and
/// nothing is written that says what was said before.
fn transition(before: &Object, after: &Object) -> anyhow::Result<()> {
    ensure!(before.observed_generation() <= after.observed_generation());
    for condition in after.conditions() {
        let old = before
            .conditions()
            .iter()
            .find(|old| old["type"] == condition["type"]);
        if let Some(old) = old.filter(|old| old["status"] == condition["status"]) {
            ensure!(
                old["lastTransitionTime"] == condition["lastTransitionTime"],
                "{condition} has not flipped"
            );
        }
    }
    let without_bookkeeping = |object: &Object| -> (Value, Value, Value) {
        let at = |pointer: &str| object.at(pointer).clone();
        (at("/spec"), at("/status"), at("/metadata/finalizers"))
    };
    ensure!(
        without_bookkeeping(before) != without_bookkeeping(after),
        "a write that changes nothing"
    );
    Ok(())
}
