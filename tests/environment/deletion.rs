//! What goes and what stays when objects, or whole namespaces, are deleted.

use anyhow::{Context, ensure};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use serde_json::json;
use testkit::operator::{Object, Platform, Tenant, eventually, published};

use crate::{shop, start};

const LEFT_BEHIND: &str = "sepulki_branches_left_behind_total";

#[tokio::test]
async fn retain_leaves_branch_and_secret_and_needs_no_key() -> anyhow::Result<()> {
    let tenant = Platform::shared().await?.tenant().await?;
    let operator = start(&tenant).await?;
    let objects = [
        shop::small("live", "production", None),
        shop::small("dress-rehearsal", "staging", Some("live")),
    ];
    shop::apply(&tenant, &objects).await?;
    let names = ["dress-rehearsal", "live"];
    let mut branches = Vec::new();
    for name in names {
        let object = tenant.database(name).ready().await?;
        branches.push(object.branch_id().to_owned());
        leave_canary(&tenant, &object).await?;
    }
    tenant.delete_key().await?;
    operator.stop().await?;
    // The new one has never seen the key.
    let _operator = start(&tenant).await?;

    for name in names {
        tenant.database(name).delete_in_foreground().await?;
    }
    for (name, branch) in names.into_iter().zip(&branches) {
        tenant.database(name).gone().await?;
        ensure!(
            branch_exists(&tenant, branch).await?,
            "the branch of {name} is gone"
        );
        // The garbage collector has gone through what the object owned.
        eventually("what the object owned is collected", async || {
            let maps = Api::<ConfigMap>::namespaced(tenant.client().clone(), tenant.namespace());
            Ok(maps.get_opt(&canary(name)).await?.is_none().then_some(()))
        })
        .await?;
        let secret = tenant.secrets().get_opt(name).await?;
        let secret = secret.with_context(|| format!("the Secret {name} is gone"))?;
        ensure!(
            published::owner(&secret.metadata).is_none(),
            "{name} still has an owner"
        );
        tenant.published(name).await?.direct().await?;
    }
    Ok(())
}

#[tokio::test]
async fn delete_removes_branch_and_secret_once_the_children_are_gone() -> anyhow::Result<()> {
    let tenant = Platform::shared().await?.tenant().await?;
    let _operator = start(&tenant).await?;
    let objects = [
        shop::small("live", "production", None),
        shop::small("workbench", "development", Some("live")),
        shop::small("pr-7", "preview", Some("workbench")),
    ];
    shop::apply(&tenant, &objects).await?;
    let workbench = tenant.database("workbench").ready().await?;
    let preview = tenant.database("pr-7").ready().await?;
    let stranger = stranger(&tenant, workbench.branch_id()).await?;

    tenant.database("workbench").delete().await?;
    let waiting = tenant
        .database("workbench")
        .until("waiting for both children", |object| {
            let (_, reason, message) = object.condition("Reconciling");
            reason == "ChildrenExist" && message.contains("pr-7") && message.contains("stranger")
        })
        .await?;
    ensure!(
        waiting.condition("Ready").0 == "False" && waiting.condition("Stalled").0 == "False",
        "{}",
        waiting.summary()
    );
    let preview_now = tenant.database("pr-7").get().await?;
    ensure!(preview_now.is_ready(), "{}", preview_now.summary());
    tenant.published("pr-7").await?.direct().await?;
    tenant.published("workbench").await?.direct().await?;

    tenant.database("pr-7").delete().await?;
    tenant.database("pr-7").gone().await?;
    ensure!(!branch_exists(&tenant, preview.branch_id()).await?);
    ensure!(tenant.secrets().get_opt("pr-7").await?.is_none());
    tenant
        .database("workbench")
        .until("waiting for the stranger alone", |object| {
            let (_, reason, message) = object.condition("Reconciling");
            reason == "ChildrenExist" && !message.contains("pr-7") && message.contains("stranger")
        })
        .await?;

    let path = format!("/projects/{}/branches/{stranger}", tenant.project());
    tenant.platform().neon().delete(&path).await?;
    tenant.database("workbench").gone().await?;
    ensure!(!branch_exists(&tenant, workbench.branch_id()).await?);
    ensure!(tenant.secrets().get_opt("workbench").await?.is_none());
    ensure!(tenant.database("live").get().await?.is_ready());
    Ok(())
}

#[tokio::test]
async fn a_namespace_goes_with_its_branches_while_the_key_is_remembered() -> anyhow::Result<()> {
    let tenant = Platform::shared().await?.tenant().await?;
    let operator = start(&tenant).await?;
    let (live, preview) = two(&tenant).await?;
    tenant.delete_key().await?;
    tenant.delete_namespace().await?;
    tenant.namespace_gone().await?;
    ensure!(branch_exists(&tenant, &live).await?);
    ensure!(!branch_exists(&tenant, &preview).await?);
    let left = operator.counter(LEFT_BEHIND).await?;
    ensure!(left == 0, "{left} branches are said to be left behind");
    Ok(())
}

#[tokio::test]
async fn a_namespace_without_its_key_goes_and_tells_what_it_left_behind() -> anyhow::Result<()> {
    let tenant = Platform::shared().await?.tenant().await?;
    let operator = start(&tenant).await?;
    let (live, preview) = two(&tenant).await?;
    operator.stop().await?;
    tenant.delete_key().await?;
    let operator = start(&tenant).await?;
    tenant.delete_namespace().await?;
    tenant.namespace_gone().await?;
    ensure!(branch_exists(&tenant, &live).await?);
    ensure!(branch_exists(&tenant, &preview).await?);
    let left = operator.counter(LEFT_BEHIND).await?;
    ensure!(left == 1, "{left} branches are said to be left behind");
    let name = format!("preview/{}/pr-7", tenant.namespace());
    let log = operator.log()?;
    ensure!(
        log.lines()
            .any(|line| line.contains("WARN") && line.contains(&name)),
        "the log does not name {name}:\n{log}"
    );
    Ok(())
}

/// Production, which is retained, and a preview, which is not. Gives their branches.
async fn two(tenant: &Tenant<'_>) -> anyhow::Result<(String, String)> {
    let objects = [
        shop::small("live", "production", None),
        shop::small("pr-7", "preview", Some("live")),
    ];
    shop::apply(tenant, &objects).await?;
    let live = tenant.database("live").ready().await?;
    let preview = tenant.database("pr-7").ready().await?;
    Ok((live.branch_id().to_owned(), preview.branch_id().to_owned()))
}

async fn branch_exists(tenant: &Tenant<'_>, id: &str) -> anyhow::Result<bool> {
    let neon = tenant.platform().neon();
    Ok(neon.branch(tenant.project(), id).await?.is_some())
}

/// A branch that somebody forked by hand; gives its id.
async fn stranger(tenant: &Tenant<'_>, parent: &str) -> anyhow::Result<String> {
    let path = format!("/projects/{}/branches", tenant.project());
    let body = json!({ "branch": { "name": "stranger", "parent_id": parent } });
    let made = tenant.platform().neon().post(&path, body).await?;
    let id = made.pointer("/branch/id").and_then(|id| id.as_str());
    id.map(str::to_owned).context("a branch without id")
}

fn canary(name: &str) -> String {
    format!("canary-{name}")
}

/// Something else that the object owns, to see when the garbage collector has dealt with it.
async fn leave_canary(tenant: &Tenant<'_>, object: &Object) -> anyhow::Result<()> {
    let name = object.text("/metadata/name");
    let map = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": canary(name),
            "ownerReferences": [{
                "apiVersion": "sepulki.dev/v1alpha1",
                "kind": "NeonDatabase",
                "name": name,
                "uid": object.text("/metadata/uid"),
            }],
        },
    });
    tenant.apply(&map.to_string()).await
}
