//! The CustomResourceDefinitions: what is shipped is what the types say, and every part of it is bounded.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may stop at the first surprise"
)]

use std::fs;
use std::path::Path;

use sepulki::api::crd_files;
use serde_json::Value;

fn shipped() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("crds")
}

#[test]
fn the_shipped_files_are_up_to_date() {
    for (name, yaml) in crd_files().unwrap() {
        let file = fs::read_to_string(shipped().join(name)).unwrap_or_default();
        assert!(
            file == yaml,
            "crds/{name} is out of date: run `cargo run -- crds --output crds`"
        );
    }
}

#[test]
fn every_shipped_file_is_listed_for_kustomize() {
    let listed = fs::read_to_string(shipped().join("kustomization.yaml")).unwrap();
    for (name, _) in crd_files().unwrap() {
        assert!(
            listed.contains(name),
            "crds/kustomization.yaml does not list {name}"
        );
    }
}

/// Calls `look` with every schema and its path.
fn walk(schema: &Value, path: &str, look: &mut impl FnMut(&str, &Value)) {
    look(path, schema);
    if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
        for (name, property) in properties {
            walk(property, &format!("{path}.{name}"), look);
        }
    }
    for key in ["items", "additionalProperties"] {
        if let Some(inner) = schema.get(key).filter(|inner| inner.is_object()) {
            walk(inner, &format!("{path}[]"), look);
        }
    }
}

fn schemas() -> Vec<(&'static str, Value)> {
    let parse = |yaml: &str| -> Value { serde_saphyr::from_str(yaml).unwrap() };
    let schema = |crd: &Value| crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone();
    crd_files()
        .unwrap()
        .into_iter()
        .map(|(name, yaml)| (name, schema(&parse(&yaml))))
        .collect()
}

#[test]
fn strings_and_lists_are_bounded_and_nothing_is_nullable() {
    let mut wrong = Vec::new();
    for (name, schema) in schemas() {
        walk(&schema, "", &mut |path, part| {
            // Kubernetes' own Condition has no bounds on its texts
            let foreign = path.contains(".conditions[]") || path.is_empty() || !path.contains(".s");
            let kind = part.get("type").and_then(Value::as_str).unwrap_or_default();
            let bounded = |keys: &[&str]| keys.iter().any(|key| part.get(*key).is_some());
            if kind == "string" && !foreign && !bounded(&["maxLength", "enum", "format"]) {
                wrong.push(format!("{name}: {path} is a string without a bound"));
            }
            if kind == "array" && !bounded(&["maxItems"]) {
                wrong.push(format!("{name}: {path} is a list without a bound"));
            }
            if part.get("nullable").is_some() {
                wrong.push(format!("{name}: {path} is nullable"));
            }
            if part
                .get("format")
                .and_then(Value::as_str)
                .is_some_and(|f| f.starts_with("uint"))
            {
                wrong.push(format!(
                    "{name}: {path} has a format that the server does not know"
                ));
            }
        });
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_field_is_described() {
    let mut wrong = Vec::new();
    for (name, schema) in schemas() {
        walk(&schema["properties"]["spec"], ".spec", &mut |path, part| {
            let leaf = !path.ends_with("[]");
            if leaf
                && part
                    .get("description")
                    .and_then(Value::as_str)
                    .is_none_or(str::is_empty)
            {
                wrong.push(format!("{name}: {path} has no description"));
            }
        });
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn an_object_nobody_looked_at_does_not_count_as_current() {
    for (name, schema) in schemas() {
        let default = &schema["properties"]["status"]["default"];
        assert_eq!(default["observedGeneration"], -1, "{name}");
    }
}
