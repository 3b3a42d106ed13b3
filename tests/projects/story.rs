//! Production and previews of one Neon project in namespaces of which only one holds the key.

use anyhow::{Context, ensure};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::{Value, json};
use testkit::operator::{Platform, Tenant};

use crate::{OPERATOR, alone};

/// The namespaces, beside the one with the key.
struct Places {
    team: String,
    previews: String,
    more_previews: String,
    strangers: String,
}

impl Places {
    async fn make(tenant: &Tenant<'_>) -> anyhow::Result<Self> {
        let make = async || tenant.platform().control_plane().namespace().await;
        let places = Self {
            team: make().await?,
            previews: make().await?,
            more_previews: make().await?,
            strangers: make().await?,
        };
        label(tenant, &places.team, json!({"team": "robots"})).await?;
        for namespace in [&places.previews, &places.more_previews] {
            label(tenant, namespace, json!({"previews": "yes"})).await?;
        }
        Ok(places)
    }
}

async fn label(tenant: &Tenant<'_>, namespace: &str, labels: Value) -> anyhow::Result<()> {
    let namespaces = Api::<Namespace>::all(tenant.client().clone());
    let change = Patch::Merge(json!({"metadata": {"labels": labels}}));
    namespaces
        .patch(namespace, &PatchParams::default(), &change)
        .await?;
    Ok(())
}

async fn apply(tenant: &Tenant<'_>, object: Value) -> anyhow::Result<()> {
    let control_plane = tenant.platform().control_plane();
    control_plane.apply_yaml(&[&object.to_string()]).await
}

/// Everything for the team, and one preview of production for those who are labelled so.
fn neon_project(tenant: &Tenant<'_>) -> Value {
    json!({
        "apiVersion": "sepulki.dev/v1alpha1", "kind": "NeonProject",
        "metadata": {"name": "sea"},
        "spec": {
            "projectId": tenant.project(),
            "apiKeySecretRef": {"namespace": tenant.namespace()},
            "baseBranch": "main",
            "settings": {"historyRetention": "2d", "quota": {"activeTime": "unlimited"}},
            "access": [
                {"namespaces": {"matchLabels": {"team": "robots"}}, "environments": ["production"]},
                {"namespaces": {"matchLabels": {"previews": "yes"}}, "environments": ["preview"], "parents": ["main"],
                 "maxBranches": 1},
            ],
        },
    })
}

fn database(namespace: &str, name: &str, environment: &str) -> Value {
    json!({
        "apiVersion": "sepulki.dev/v1alpha1", "kind": "NeonDatabase",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "projectRef": {"name": "sea"},
            "environment": environment,
            "databases": [{"name": "shop"}],
            "roles": [{"name": "clerk", "access": "ReadWrite"}],
        },
    })
}

fn migration(namespace: &str, name: &str) -> Value {
    let file =
        json!({"name": "001_orders.sql", "sql": "CREATE TABLE orders (id bigint PRIMARY KEY);"});
    json!({
        "apiVersion": "sepulki.dev/v1alpha1", "kind": "SepulkiMigration",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"databaseRef": {"name": name}, "source": {"inline": [file]}},
    })
}

#[tokio::test]
async fn previews_in_namespaces_without_a_key() -> anyhow::Result<()> {
    let _alone = alone().await;
    let tenant = Platform::shared().await?.tenant().await?;
    let places = Places::make(&tenant).await?;
    let _operator = tenant
        .operator_of_all(OPERATOR)
        .flag("--snapshot-interval=2s")
        .start()
        .await?;

    everything_comes_up(&tenant, &places).await?;
    who_is_not_admitted_is_told(&tenant, &places).await?;
    a_place_goes_to_the_next(&tenant, &places).await?;
    rules_taken_away_touch_nothing(&tenant, &places).await?;
    what_cannot_be_changed_is_refused(&tenant, &places).await?;
    it_goes_when_nobody_needs_its_key(&tenant, &places).await
}

async fn everything_comes_up(tenant: &Tenant<'_>, places: &Places) -> anyhow::Result<()> {
    // the NeonProject last: it is waited for
    apply(tenant, database(&places.team, "live", "production")).await?;
    apply(tenant, database(&places.previews, "pr-1", "preview")).await?;
    apply(tenant, migration(&places.previews, "pr-1")).await?;
    let preview = tenant.database_in(&places.previews, "pr-1");
    preview
        .says("Reconciling", "True", "ProjectNotReady")
        .await?;
    apply(tenant, neon_project(tenant)).await?;

    let sea = tenant.neon_project("sea").ready().await?;
    ensure!(sea.text("/status/plan") == "scale", "{sea:?}");
    ensure!(sea.at("/status/limits/branches") == 5000, "{sea:?}");
    ensure!(sea.text("/status/keyKind") == "Personal", "{sea:?}");
    ensure!(
        sea.text("/status/settings/historyRetention") == "2d",
        "{sea:?}"
    );
    let path = format!("/projects/{}", tenant.project());
    let project = tenant.platform().neon().get(&path).await?;
    ensure!(
        project["project"]["history_retention_seconds"] == 172_800,
        "{project}"
    );

    tenant.database_in(&places.team, "live").ready().await?;
    let object = preview.ready().await?;
    ensure!(object.text("/status/projectId") == tenant.project());
    ensure!(object.text("/status/effective/parent/branchName") == "main");
    tenant
        .migration_in(&places.previews, "pr-1")
        .ready()
        .await?;
    let published = tenant.published_in(&places.previews, "pr-1").await?;
    let mut session = published.direct().await?;
    sqlx::query("INSERT INTO orders VALUES (1)")
        .execute(&mut session)
        .await?;
    // the Secret is all there is; nobody put a key beside it
    let secrets = Api::<Secret>::namespaced(tenant.client().clone(), &places.previews);
    let names = secrets.list(&ListParams::default()).await?.items;
    let names: Vec<_> = names.into_iter().filter_map(|s| s.metadata.name).collect();
    ensure!(names == ["pr-1"], "{names:?}");
    Ok(())
}

async fn who_is_not_admitted_is_told(tenant: &Tenant<'_>, places: &Places) -> anyhow::Result<()> {
    apply(tenant, database(&places.strangers, "pr-3", "preview")).await?;
    apply(tenant, database(&places.previews, "live", "production")).await?;
    let stranger = tenant.database_in(&places.strangers, "pr-3");
    let said = stranger.says("Stalled", "True", "AccessDenied").await?;
    for words in ["NeonProject sea", "team=robots", "previews=yes"] {
        ensure!(said.contains(words), "{words} is not in: {said}");
    }
    let thief = tenant.database_in(&places.previews, "live");
    let said = thief.says("Stalled", "True", "AccessDenied").await?;
    ensure!(said.contains("preview only"), "{said}");
    thief.delete().await?;
    thief.gone().await?;
    // labelled, it is let in, and waits for room
    label(tenant, &places.strangers, json!({"previews": "yes"})).await?;
    let said = stranger.says("Reconciling", "True", "NoRoom").await?;
    ensure!(said.contains("allows 1 branch:"), "{said}");
    stranger.delete().await?;
    stranger.gone().await
}

async fn a_place_goes_to_the_next(tenant: &Tenant<'_>, places: &Places) -> anyhow::Result<()> {
    apply(tenant, database(&places.more_previews, "pr-2", "preview")).await?;
    let next = tenant.database_in(&places.more_previews, "pr-2");
    next.says("Reconciling", "True", "NoRoom").await?;
    let first = tenant.database_in(&places.previews, "pr-1");
    first.delete().await?;
    first.gone().await?;
    next.ready().await?;
    let branches = tenant.platform().neon().branches(tenant.project()).await?;
    ensure!(branches.len() == 2, "{branches:?}");
    Ok(())
}

async fn rules_taken_away_touch_nothing(
    tenant: &Tenant<'_>,
    places: &Places,
) -> anyhow::Result<()> {
    let before = tenant.platform().neon().branches(tenant.project()).await?;
    let sea = tenant.neon_project("sea");
    sea.patch(json!({"spec": {"access": null}})).await?;
    sea.ready().await?;
    apply(tenant, database(&places.previews, "late", "preview")).await?;
    let late = tenant.database_in(&places.previews, "late");
    let said = late.says("Stalled", "True", "AccessDenied").await?;
    ensure!(said.contains("no access rules"), "{said}");
    late.delete().await?;
    late.gone().await?;
    // what exists is looked after as before
    let kept = tenant.database_in(&places.more_previews, "pr-2");
    kept.patch(json!({"spec": {"compute": {"suspendAfter": "10m"}}}))
        .await?;
    kept.ready().await?;
    let published = tenant.published_in(&places.more_previews, "pr-2").await?;
    published.pooled().await?;
    let after = tenant.platform().neon().branches(tenant.project()).await?;
    ensure!(names(&before) == names(&after));
    Ok(())
}

fn names(branches: &[Value]) -> Vec<&Value> {
    branches.iter().map(|branch| &branch["name"]).collect()
}

async fn what_cannot_be_changed_is_refused(
    tenant: &Tenant<'_>,
    places: &Places,
) -> anyhow::Result<()> {
    let kept = tenant.database_in(&places.more_previews, "pr-2");
    for (patch, words) in [
        (
            json!({"projectRef": {"name": "lake"}}),
            "projectRef is immutable",
        ),
        (
            json!({"projectRef": null, "projectId": "quiet-1"}),
            "projectRef is immutable",
        ),
        (
            json!({"projectRef": null}),
            "exactly one of projectRef and projectId",
        ),
        (
            json!({"projectId": "quiet-1"}),
            "exactly one of projectRef and projectId",
        ),
        (
            json!({"apiKeySecretRef": {"name": "s", "key": "k"}}),
            "apiKeySecretRef must not be set",
        ),
    ] {
        let refused = kept.patch(json!({"spec": patch})).await;
        let said = refused.err().context("a patch was taken")?.to_string();
        ensure!(said.contains(words), "{words} is not in: {said}");
    }
    let sea = tenant.neon_project("sea");
    let refused = sea
        .patch(json!({"spec": {"projectId": "loud-lake-2"}}))
        .await;
    let said = refused.err().context("the patch was taken")?.to_string();
    ensure!(said.contains("projectId is immutable"), "{said}");
    // another place for the key is no other project
    sea.patch(json!({"spec": {"apiKeySecretRef": {"name": "absent"}}}))
        .await?;
    let said = sea.says("Reconciling", "True", "KeyNotFound").await?;
    ensure!(
        said.contains("absent") && said.contains(tenant.namespace()),
        "{said}"
    );
    sea.patch(json!({"spec": {"apiKeySecretRef": {"name": "neon-api-key"}}}))
        .await?;
    sea.ready().await?;
    Ok(())
}

async fn it_goes_when_nobody_needs_its_key(
    tenant: &Tenant<'_>,
    places: &Places,
) -> anyhow::Result<()> {
    let sea = tenant.neon_project("sea");
    sea.delete().await?;
    let said = sea.says("Reconciling", "True", "InUse").await?;
    ensure!(said.contains("pr-2") && said.contains("live"), "{said}");
    for (namespace, name) in [(&places.more_previews, "pr-2"), (&places.team, "live")] {
        let database = tenant.database_in(namespace, name);
        database.delete().await?;
        database.gone().await?;
    }
    sea.gone().await?;
    let branches = tenant.platform().neon().branches(tenant.project()).await?;
    ensure!(names(&branches) == [&json!("main")], "{branches:?}");
    Ok(())
}
