//! The types that the Neon client reads against Neon's own description of its API, which comes with a package from npm.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[path = "neon_description/answers.rs"]
mod answers;
#[path = "../neon-emulator/tests/emulator/npm.rs"]
mod npm;
#[path = "../neon-emulator/tests/emulator/schema.rs"]
#[allow(
    dead_code,
    reason = "shared with the emulator's own check, which needs more of it"
)]
mod schema;
#[path = "neon_client/stub.rs"]
#[allow(
    dead_code,
    reason = "shared with the client's own tests, which need more of it"
)]
mod stub;

use schema::{Description, parts};
use sepulki::neon::{
    AllowedIps, Branch, Database, Endpoint, Identity, Operation, Project, ProjectOwner,
    ProjectSettings, Quota, Role,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

const DESCRIPTION: &str = "node_modules/@neondatabase/api-client/public-v2-for-users.gen.yaml";

/// A value of a described type: with all that is described, or with what is required only.
fn sample(description: &Description, schema: &Value, whole: bool) -> Value {
    let schema = description.resolve(schema);
    let mut object = Map::new();
    for part in parts(schema, "allOf") {
        if let Value::Object(fields) = sample(description, part, whole) {
            object.extend(fields);
        }
    }
    let required = |key: &String| parts(schema, "required").any(|one| one == key);
    let properties = schema["properties"].as_object().into_iter().flatten();
    for (key, property) in properties.filter(|(key, _)| whole || required(key)) {
        object.insert(key.clone(), sample(description, property, whole));
    }
    match (schema["type"].as_str(), schema["enum"][0].as_str()) {
        (_, Some(word)) => word.into(),
        (Some("string"), None) => match schema["format"].as_str() {
            Some("date-time") => "2024-02-29T12:34:56Z".into(),
            Some("uuid") => uuid::Uuid::nil().to_string().into(),
            _ => "text".into(),
        },
        (Some("integer"), None) => schema["minimum"].as_i64().unwrap_or(7).into(),
        (Some("number"), None) => schema["minimum"].as_f64().unwrap_or(7.5).into(),
        (Some("boolean"), None) => true.into(),
        (Some("array"), None) => vec![sample(description, &schema["items"], whole)].into(),
        _ => object.into(),
    }
}

/// Every field that a type reads is described under that name and in that form, and what is not required may be missing.
fn check<T: DeserializeOwned + Serialize>(description: &Description, name: &str) {
    let schema = &description.document["components"]["schemas"][name];
    assert!(schema.is_object(), "{name} is not described");
    let least = sample(description, schema, false);
    let read: Result<T, _> = serde_json::from_value(least.clone());
    assert!(read.is_ok(), "{name} {least}: {:?}", read.err());

    let whole = sample(description, schema, true);
    let read: T = serde_json::from_value(whole.clone()).unwrap();
    is_described(name, &serde_json::to_value(read).unwrap(), &whole);
}

/// What was read is what was there, as far as it is read: of an object the fields that the type has.
fn is_described(place: &str, read: &Value, whole: &Value) {
    match (read, whole) {
        (Value::Object(read), Value::Object(there)) => {
            for (field, value) in read {
                let there = there.get(field).unwrap_or(&Value::Null);
                is_described(&format!("{place}.{field}"), value, there);
            }
        }
        _ => assert_eq!(whole, read, "{place}"),
    }
}

fn description() -> Description {
    let text = std::fs::read_to_string(npm::installed().join(DESCRIPTION)).unwrap();
    Description::parse(&text)
}

#[test]
fn what_the_client_reads_is_described() {
    let description = description();
    check::<Project>(&description, "Project");
    check::<ProjectSettings>(&description, "ProjectSettingsData");
    check::<Quota>(&description, "ProjectQuota");
    check::<AllowedIps>(&description, "AllowedIps");
    check::<ProjectOwner>(&description, "ProjectOwnerData");
    check::<Identity>(&description, "AuthDetailsResponse");
    check::<Branch>(&description, "Branch");
    check::<Endpoint>(&description, "Endpoint");
    check::<Role>(&description, "Role");
    check::<Database>(&description, "Database");
    check::<Operation>(&description, "Operation");
}
