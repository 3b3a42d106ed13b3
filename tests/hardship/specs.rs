//! Specs that the API server does not let in, and what it says.

use serde_json::{Value, json};

use crate::manifests::{DATABASE, branch, config_maps, inline, migration};
use crate::scene::{Scene, apply, tells};

/// A database with part of its spec replaced.
fn with(part: &Value) -> Value {
    let mut object = branch("mistaken");
    for (key, value) in part.as_object().unwrap() {
        object["spec"][key] = value.clone();
    }
    object
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "a table, one entry after the other")]
async fn a_spec_that_makes_no_sense_is_refused_with_what_is_wrong() -> anyhow::Result<()> {
    let scene = Scene::new().await?;
    let before = scene.world().await?;
    let secret = |role, database| json!({ "connectionSecrets": [{ "name": "s", "role": role, "database": database }] });
    let past = |at: Value| json!({ "branch": { "parent": { "branchName": "main", "at": at } } });
    let cases: [(Value, &[&str]); 21] = [
        (
            json!({ "compute": { "minCU": 4, "maxCU": 1 } }),
            &[
                "spec.compute.minCU",
                "minCU (4) must not be above maxCU (1)",
            ],
        ),
        (
            json!({ "compute": { "minCU": 2.5, "maxCU": 1.5 } }),
            &["minCU (2.5) must not be above maxCU (1.5)"],
        ),
        (
            json!({ "compute": { "minCU": 1 } }),
            &["spec.compute.minCU", "minCU and maxCU are given together"],
        ),
        (
            json!({ "compute": { "maxCU": 1 } }),
            &["minCU and maxCU are given together"],
        ),
        (
            json!({ "compute": { "minCU": 0.1, "maxCU": 1 } }),
            &["spec.compute.minCU", "0.1", "between 0.25 and 1024"],
        ),
        (
            secret("cashier", DATABASE),
            &[
                "spec.connectionSecrets",
                "connectionSecrets[].role must name an entry of roles",
            ],
        ),
        (
            secret("clerk", "till"),
            &[
                "spec.connectionSecrets",
                "connectionSecrets[].database must name an entry of databases",
            ],
        ),
        (
            json!({ "databases": [] }),
            &["spec.roles", "list those of this object in databases, too"],
        ),
        (
            json!({ "environment": "qa" }),
            &["spec.environment", "\"qa\"", "production", "preview"],
        ),
        (
            json!({ "branch": { "existing": { "default": true }, "parent": { "branchName": "main" } } }),
            &["spec.branch", "at most one of existing and parent"],
        ),
        (
            past(json!({ "time": "2026-01-01T00:00:00Z", "lsn": "0/1" })),
            &[
                "spec.branch.parent.at",
                "exactly one of time and lsn must be set",
            ],
        ),
        (
            past(json!({})),
            &["exactly one of time and lsn must be set"],
        ),
        (
            past(json!({ "time": "yesterday" })),
            &["spec.branch.parent.at.time", "\"yesterday\""],
        ),
        (
            past(json!({ "lsn": "16-B374D848" })),
            &["spec.branch.parent.at.lsn", "\"16-B374D848\""],
        ),
        (
            json!({ "branch": { "lease": "72h", "protected": true } }),
            &["spec.branch.lease", "no expiry on a protected branch"],
        ),
        (
            json!({ "branch": { "maxAge": "14d", "protected": true } }),
            &[
                "spec.branch.maxAge",
                "a protected branch cannot have a maxAge",
            ],
        ),
        (
            json!({ "branch": { "maxAge": "14d", "existing": { "default": true } } }),
            &["spec.branch.maxAge", "taken over cannot have a maxAge"],
        ),
        (
            json!({ "branch": { "maxAge": "14d" }, "deletionPolicy": "Retain" }),
            &[
                "spec.branch.maxAge",
                "not possible with deletionPolicy Retain",
            ],
        ),
        (
            json!({ "onExternalDeletion": { "action": "Ignore" } }),
            &["spec.onExternalDeletion.action", "Stall", "Recreate"],
        ),
        (
            json!({ "branch": { "lease": "soon" } }),
            &["spec.branch.lease", "\"soon\""],
        ),
        (
            json!({ "databases": [{ "name": DATABASE }, { "name": DATABASE }] }),
            &[".spec.databases", "duplicate entries", "shop"],
        ),
    ];
    for (part, told) in cases {
        let refused = scene.apply(&[with(&part)]).await;
        let Err(error) = refused else {
            anyhow::bail!("accepted: {part}")
        };
        tells(&format!("{error:#}"), told)?;
    }
    let neither = migration("neither", json!({}));
    let mut both = migration("both", inline(&[("001_a.sql", "SELECT 1")]));
    both["spec"]["source"]["configMaps"] = config_maps(&["x"])["configMaps"].clone();
    for object in [neither, both] {
        let error = scene.apply(&[object]).await.unwrap_err();
        tells(
            &format!("{error:#}"),
            &["spec.source", "exactly one of configMaps and inline"],
        )?;
    }
    assert!(scene.world().await? == before, "something was changed");
    scene.others_go_on().await
}

/// What the schema cannot see is told in the object's conditions, before anything is made.
#[tokio::test]
async fn a_spec_that_cannot_be_carried_out_is_told_by_its_field() -> anyhow::Result<()> {
    let scene = Scene::new().await?;
    let before = scene.world().await?;
    let cases: [(&str, Value, &[&str]); 4] = [
        (
            "no-roles",
            json!({ "roles": [], "connectionSecrets": [{ "name": "s", "role": "clerk", "database": DATABASE }] }),
            &[
                "spec.connectionSecrets[0].role",
                "clerk is not in spec.roles",
            ],
        ),
        (
            "reserved",
            json!({ "roles": [{ "name": "pg_clerk", "access": "ReadWrite" }] }),
            &["spec.roles[0].name", "pg_clerk is reserved"],
        ),
        (
            "owner",
            json!({ "databases": [{ "name": DATABASE, "owner": "clerk" }] }),
            &["spec.roles[0].name", "clerk owns the database shop"],
        ),
        (
            "long",
            json!({ "branch": { "lease": "99999999999d" } }),
            &["spec.branch.lease"],
        ),
    ];
    for (name, part, told) in cases {
        let mut object = with(&part);
        object["metadata"]["name"] = json!(name);
        if object["spec"]["roles"] == json!([]) {
            object["spec"].as_object_mut().unwrap().remove("roles");
        }
        match apply(&scene.tenant, &[object]).await {
            Ok(()) => {
                crate::scene::stalled(&scene.tenant.database(name), "InvalidSpec", told).await?;
            }
            // an API server that can see it says the same
            Err(error) => tells(&format!("{error:#}"), &told[..1])?,
        }
    }
    assert!(scene.world().await? == before, "something was changed");
    scene.others_go_on().await
}
