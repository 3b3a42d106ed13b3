//! The manifests of a small shop: names unlike those of the shipped examples, two databases, five roles.

use std::fmt::Write;

use serde_json::{Value, json};
use testkit::operator::Tenant;

/// A role's name that needs quoting wherever it is written.
pub(crate) const ODD: &str = "Rose O'Brien \"night\" ü";

/// The roles: name in a Secret's name, role, access, whether it is limited to the database `shop`.
pub(crate) const ROLES: [(&str, &str, &str, bool); 5] = [
    ("clerk", "clerk", "ReadWrite", false),
    ("auditor", "auditor", "ReadOnly", false),
    ("chief", "chief", "Admin", false),
    ("cashier", "till_1", "ReadWrite", true),
    ("odd", ODD, "ReadOnly", false),
];

/// Owners of the two databases; the second is the default for a database of that name.
pub(crate) const OWNERS: [&str; 2] = ["shopkeeper", "audit_owner"];

/// The four environments: name, environment, parent.
pub(crate) const ENVIRONMENTS: [(&str, &str, Option<&str>); 4] = [
    ("live", "production", None),
    ("dress-rehearsal", "staging", Some("live")),
    ("workbench", "development", Some("dress-rehearsal")),
    ("pr-7", "preview", Some("workbench")),
];

/// A NeonDatabase with everything in it.
pub(crate) fn database(name: &str, environment: &str, parent: Option<&str>) -> Value {
    let mut secrets = Vec::new();
    let mut roles = Vec::new();
    for (short, role, access, limited) in ROLES {
        let mut entry = json!({ "name": role, "access": access });
        if limited {
            entry["databases"] = json!(["shop"]);
        }
        roles.push(entry);
        secrets.push(secret(name, short, role, "shop"));
    }
    secrets.push(secret(name, "clerk-audit", "clerk", "audit"));
    let mut object = json!({
        "apiVersion": "sepulki.dev/v1alpha1",
        "kind": "NeonDatabase",
        "metadata": { "name": name },
        "spec": {
            "projectId": "${NEON_PROJECT_ID}",
            "environment": environment,
            "databases": [
                { "name": "shop", "owner": OWNERS[0], "extensions": [{ "name": "pgcrypto" }, { "name": "uuid-ossp" }] },
                { "name": "audit" },
            ],
            "roles": roles,
            "connectionSecrets": secrets,
        },
    });
    if let Some(parent) = parent {
        object["spec"]["branch"] = json!({ "parent": { "databaseRef": { "name": parent } } });
    }
    object
}

fn secret(name: &str, short: &str, role: &str, database: &str) -> Value {
    json!({ "name": format!("{name}-{short}"), "role": role, "database": database })
}

/// A SepulkiMigration that brings these files to the database `shop`.
pub(crate) fn migration(name: &str, files: &[(&str, &str)]) -> Value {
    let files: Vec<Value> = files
        .iter()
        .map(|(name, sql)| json!({ "name": name, "sql": sql }))
        .collect();
    json!({
        "apiVersion": "sepulki.dev/v1alpha1",
        "kind": "SepulkiMigration",
        "metadata": { "name": name },
        "spec": { "databaseRef": { "name": name }, "database": "shop", "source": { "inline": files } },
    })
}

/// A small NeonDatabase: one database, one role, one Secret named after the object.
pub(crate) fn small(name: &str, environment: &str, parent: Option<&str>) -> Value {
    let mut object = json!({
        "apiVersion": "sepulki.dev/v1alpha1",
        "kind": "NeonDatabase",
        "metadata": { "name": name },
        "spec": {
            "projectId": "${NEON_PROJECT_ID}",
            "environment": environment,
            "databases": [{ "name": "shop" }],
            "roles": [{ "name": "clerk", "access": "ReadWrite" }],
        },
    });
    if let Some(parent) = parent {
        object["spec"]["branch"] = json!({ "parent": { "databaseRef": { "name": parent } } });
    }
    object
}

/// Applies objects.
pub(crate) async fn apply(tenant: &Tenant<'_>, objects: &[Value]) -> anyhow::Result<()> {
    let mut yaml = String::new();
    for object in objects {
        writeln!(yaml, "---\n{object}")?;
    }
    tenant.apply(&yaml).await
}
