//! Fields that cannot be changed once they mean something, however one tries.

use serde_json::{Value, json};

use crate::manifests::{DATABASE, branch, database, inline, migration};
use crate::scene::{Scene, refuses};

/// Whose spec, what is changed, what is told.
fn changes_of_databases() -> Vec<(&'static str, Value, &'static str)> {
    vec![
        (
            "live",
            json!({ "projectId": "another-project-1" }),
            "projectId is immutable",
        ),
        (
            "live",
            json!({ "environment": "staging" }),
            "environment is immutable",
        ),
        (
            "live",
            json!({ "branch": { "existing": { "name": "named" } } }),
            "branch.existing is immutable",
        ),
        (
            "live",
            json!({ "branch": { "parent": { "branchName": "named" } } }),
            "branch.parent is immutable",
        ),
        (
            "live",
            json!({ "branch": { "name": "other" } }),
            "branch.name is immutable",
        ),
        (
            "named",
            json!({ "branch": { "name": "other" } }),
            "branch.name is immutable",
        ),
        (
            "named",
            json!({ "branch": { "name": null } }),
            "branch.name is immutable",
        ),
        (
            "named",
            json!({ "branch": { "parent": { "branchName": "unnamed" } } }),
            "branch.parent is immutable",
        ),
        (
            "named",
            json!({ "branch": { "parent": null } }),
            "branch.parent is immutable",
        ),
        (
            "named",
            json!({ "branch": null }),
            "branch.parent is immutable",
        ),
        (
            "named",
            json!({ "branch": { "parent": null, "existing": { "default": true } } }),
            "branch.parent is immutable",
        ),
        (
            "unnamed",
            json!({ "branch": { "parent": { "databaseRef": { "name": "named" } } } }),
            "branch.parent is immutable",
        ),
        (
            "unnamed",
            json!({ "branch": { "name": "other" } }),
            "branch.name is immutable",
        ),
        (
            "by-profile",
            json!({ "branch": { "parent": { "branchName": "main" } } }),
            "branch.parent is immutable",
        ),
        (
            "by-profile",
            json!({ "branch": { "existing": { "default": true } } }),
            "branch.existing is immutable",
        ),
    ]
}

#[tokio::test]
async fn a_database_keeps_what_it_was_made_for() -> anyhow::Result<()> {
    let scene = Scene::new().await?;
    scene
        .apply(&[
            branch("named"),
            database(
                "unnamed",
                "staging",
                json!({ "parent": { "databaseRef": { "name": "live" } } }),
            ),
            database("by-profile", "development", Value::Null),
        ])
        .await?;
    for name in ["named", "unnamed", "by-profile"] {
        scene.tenant.database(name).ready().await?;
    }
    let before = scene.world().await?;
    for (name, spec, told) in changes_of_databases() {
        let field = if told.starts_with("branch.") {
            "spec.branch"
        } else {
            "spec."
        };
        refuses(&scene.tenant.database(name), spec, &[told, field]).await?;
    }
    // naming what was resolved by default changes nothing and is allowed; taking it away again is not
    let live = scene.tenant.database("live");
    let default = |value: Value| json!({ "branch": { "existing": value } });
    live.patch(json!({ "spec": default(json!({ "default": true })) }))
        .await?;
    refuses(
        &live,
        default(Value::Null),
        &["branch.existing is immutable"],
    )
    .await?;
    refuses(
        &live,
        json!({ "branch": null }),
        &["branch.existing is immutable"],
    )
    .await?;
    let by_profile = scene.tenant.database("by-profile");
    let parent = json!({ "branch": { "parent": { "databaseRef": { "name": "unnamed" } } } });
    by_profile.patch(json!({ "spec": parent })).await?;
    refuses(
        &by_profile,
        json!({ "branch": { "parent": null } }),
        &["branch.parent is immutable"],
    )
    .await?;
    let unnamed = scene.tenant.database("unnamed");
    let name = unnamed.get().await?.text("/status/branch/name").to_owned();
    unnamed
        .patch(json!({ "spec": { "branch": { "name": name } } }))
        .await?;
    // nor is anything moved by the branch's id
    let id = live.get().await?.branch_id().to_owned();
    live.patch(json!({ "spec": default(json!({ "default": null, "id": id })) }))
        .await?;
    refuses(
        &live,
        default(json!({ "id": "br-another-1" })),
        &["branch.existing is immutable"],
    )
    .await?;
    for name in ["live", "named", "unnamed", "by-profile"] {
        scene.tenant.database(name).ready().await?;
    }
    assert!(scene.world().await? == before, "something was changed");
    scene.others_go_on().await
}

/// As long as Neon was not asked for a branch.
#[tokio::test]
async fn a_mistake_in_what_a_database_is_can_be_corrected() -> anyhow::Result<()> {
    let scene = Scene::new().await?;
    let mut elsewhere = branch("elsewhere");
    elsewhere["spec"]["projectId"] = json!("another-project-1");
    let parent = |name: &str| json!({ "parent": { "branchName": name } });
    scene
        .apply(&[
            database("orphan", "development", parent("nosuch")),
            database(
                "nothing",
                "staging",
                json!({ "existing": { "name": "nosuch" } }),
            ),
            elsewhere,
        ])
        .await?;
    let [orphan, nothing, elsewhere] =
        ["orphan", "nothing", "elsewhere"].map(|name| scene.tenant.database(name));
    orphan.says("Reconciling", "True", "ParentNotFound").await?;
    nothing.says("Stalled", "True", "BranchNotFound").await?;
    elsewhere.says("Stalled", "True", "ProjectNotFound").await?;
    let told = &[
        "spec.branch",
        "name another branch.parent or branch.existing",
    ];
    refuses(&orphan, json!({ "branch": null }), told).await?;
    for (object, spec) in [
        (&orphan, json!({ "branch": parent("main") })),
        (
            &nothing,
            json!({ "branch": { "existing": null, "parent": { "branchName": "main" } } }),
        ),
        (&elsewhere, json!({ "projectId": scene.tenant.project() })),
    ] {
        object.patch(json!({ "spec": spec })).await?;
        object.ready().await?;
    }
    refuses(
        &orphan,
        json!({ "branch": parent("orphan") }),
        &["branch.parent is immutable"],
    )
    .await
}

#[tokio::test]
async fn a_migration_keeps_its_place() -> anyhow::Result<()> {
    let scene = Scene::new().await?;
    let file = inline(&[("001_a.sql", "CREATE TABLE a (id int)")]);
    let mut named = migration("named", file.clone());
    named["spec"]["database"] = json!(DATABASE);
    let mut unnamed = migration("unnamed", file);
    unnamed["spec"].as_object_mut().unwrap().remove("ledger");
    // the same table in the same database
    unnamed["spec"]["source"]["inline"][0]["sql"] = json!("CREATE TABLE b (id int)");
    scene.apply(&[named, unnamed]).await?;
    for name in ["named", "unnamed"] {
        scene.tenant.migration(name).ready().await?;
    }
    let before = scene.world().await?;
    let cases = [
        (
            "named",
            json!({ "databaseRef": { "name": "other" } }),
            "databaseRef is immutable",
        ),
        (
            "named",
            json!({ "database": "other" }),
            "database is immutable",
        ),
        (
            "named",
            json!({ "database": null }),
            "database is immutable",
        ),
        (
            "named",
            json!({ "ledger": { "table": "other" } }),
            "ledger is immutable",
        ),
        (
            "named",
            json!({ "ledger": { "schema": "other" } }),
            "ledger is immutable",
        ),
        ("named", json!({ "ledger": null }), "ledger is immutable"),
        (
            "unnamed",
            json!({ "database": "other" }),
            "database is immutable",
        ),
        (
            "unnamed",
            json!({ "ledger": { "table": "other" } }),
            "ledger is immutable",
        ),
    ];
    for (name, spec, told) in cases {
        refuses(&scene.tenant.migration(name), spec, &[told, "spec."]).await?;
    }
    let unnamed = scene.tenant.migration("unnamed");
    let default = json!({ "database": DATABASE, "ledger": { "schema": "public", "table": "schema_migrations" } });
    unnamed.patch(json!({ "spec": default })).await?;
    unnamed.ready().await?;
    refuses(
        &unnamed,
        json!({ "database": null }),
        &["database is immutable"],
    )
    .await?;
    assert!(scene.world().await? == before, "something was changed");
    scene.others_go_on().await
}
