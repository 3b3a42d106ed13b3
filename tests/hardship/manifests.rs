//! Objects as people write them.

use serde_json::{Value, json};

/// The database that every scene has.
pub(crate) const DATABASE: &str = "shop";

/// Its owner, by default.
pub(crate) const OWNER: &str = "shop_owner";

/// A file of a migration.
pub(crate) type File<'a> = (&'a str, &'a str);

/// A NeonDatabase with one database, one role, and one Secret of its own name.
pub(crate) fn database(name: &str, environment: &str, branch: Value) -> Value {
    let mut object = json!({
        "apiVersion": "sepulki.dev/v1alpha1",
        "kind": "NeonDatabase",
        "metadata": { "name": name },
        "spec": {
            "projectId": "${NEON_PROJECT_ID}",
            "environment": environment,
            "databases": [{ "name": DATABASE }],
            "roles": [{ "name": "clerk", "access": "ReadWrite" }],
        },
    });
    if !branch.is_null() {
        object["spec"]["branch"] = branch;
    }
    object
}

/// The project's default branch.
pub(crate) fn production() -> Value {
    database("live", "production", Value::Null)
}

/// A branch off the project's default branch, whose name on Neon is the object's.
pub(crate) fn branch(name: &str) -> Value {
    let branch = json!({ "parent": { "branchName": "main" }, "name": name });
    database(name, "development", branch)
}

/// A SepulkiMigration of `live` with a ledger of its own, so that migrations do not see each other's files.
pub(crate) fn migration(name: &str, source: impl Into<Value>) -> Value {
    json!({
        "apiVersion": "sepulki.dev/v1alpha1",
        "kind": "SepulkiMigration",
        "metadata": { "name": name },
        "spec": {
            "databaseRef": { "name": "live" },
            "ledger": { "table": ledger(name) },
            "source": source.into(),
        },
    })
}

/// The name of that ledger.
pub(crate) fn ledger(migration: &str) -> String {
    format!("ledger_{}", migration.replace('-', "_"))
}

/// Files in the spec itself.
pub(crate) fn inline(files: &[File<'_>]) -> Value {
    let files: Vec<Value> = files
        .iter()
        .map(|(name, sql)| json!({ "name": name, "sql": sql }))
        .collect();
    json!({ "inline": files })
}

/// Files in ConfigMaps.
pub(crate) fn config_maps(names: &[&str]) -> Value {
    let refs: Vec<Value> = names.iter().map(|name| json!({ "name": name })).collect();
    json!({ "configMaps": { "refs": refs } })
}

/// A ConfigMap with files.
pub(crate) fn config_map(name: &str, files: &[File<'_>]) -> Value {
    let data: serde_json::Map<String, Value> = files
        .iter()
        .map(|(name, sql)| ((*name).to_owned(), json!(sql)))
        .collect();
    json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name }, "data": data })
}
