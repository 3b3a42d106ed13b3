//! `docs/migrations.md` against the code: its fields, its reasons, its examples.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use kube::CustomResourceExt;
use serde_json::Value;

use crate::api::SepulkiMigration;

const DOCUMENT: &str = include_str!("../../../docs/migrations.md");

/// The cells of the rows whose first cell is code, of the tables between two headings.
fn rows(from: &str, to: &str) -> Vec<Vec<&'static str>> {
    let (_, part) = DOCUMENT.split_once(from).unwrap();
    let (part, _) = part.split_once(to).unwrap();
    let rows = part.lines().filter(|line| line.starts_with("| `"));
    rows.map(|line| {
        let cells = line.trim_matches('|').split(" | ");
        cells.map(str::trim).collect()
    })
    .collect()
}

fn unquoted(cell: &str) -> String {
    cell.trim_matches('`').to_owned()
}

/// The fields of a schema: those that hold a value, with their defaults, and those that only hold others.
#[derive(Default)]
struct Fields {
    values: BTreeMap<String, Option<Value>>,
    groups: BTreeSet<String>,
}

impl Fields {
    fn of_spec() -> Self {
        let crd = serde_json::to_value(SepulkiMigration::crd()).unwrap();
        let version = &crd["spec"]["versions"][0];
        let spec = &version["schema"]["openAPIV3Schema"]["properties"]["spec"];
        let mut fields = Self::default();
        fields.walk("", spec);
        fields
    }

    fn walk(&mut self, path: &str, schema: &Value) {
        for (name, inner) in schema["properties"].as_object().unwrap() {
            let path = if path.is_empty() {
                name.clone()
            } else {
                format!("{path}.{name}")
            };
            if inner["properties"].is_object() {
                self.groups.insert(path.clone());
                self.walk(&path, inner);
                continue;
            }
            let default = inner.get("default").cloned();
            self.values.insert(path.clone(), default);
            if inner["items"]["properties"].is_object() {
                self.walk(&format!("{path}[]"), &inner["items"]);
            }
        }
    }

    fn has(&self, path: &str) -> bool {
        self.values.contains_key(path) || self.groups.contains(path)
    }
}

#[test]
fn every_field_of_the_spec_has_its_row_with_its_default() {
    let fields = Fields::of_spec();
    let rows = rows("\n## Fields\n", "\n## ");
    let told: BTreeMap<String, &str> = rows.iter().map(|row| (unquoted(row[0]), row[1])).collect();
    for field in told.keys() {
        assert!(fields.has(field), "there is no field {field}");
    }
    for (field, default) in &fields.values {
        let cell = told.get(field);
        let cell = cell.unwrap_or_else(|| panic!("docs/migrations.md lacks the field {field}"));
        let written = match default {
            None => continue,
            Some(Value::String(text)) => format!("`{text}`"),
            Some(other) => format!("`{other}`"),
        };
        assert!(cell.contains(&written), "{field}: {cell} and not {written}");
    }
}

/// The reasons that code of a folder gives, tests left out.
fn given(path: &Path, found: &mut BTreeSet<String>) {
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            let path = entry.unwrap().path();
            if !path.ends_with("tests") {
                given(&path, found);
            }
        }
        return;
    }
    let text = fs::read_to_string(path).unwrap();
    let code = text.split("#[cfg(test)]").next().unwrap();
    let words = code.split("Reason::").skip(1).filter_map(|rest| {
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric())?;
        rest.get(..end)
    });
    let is_reason = |word: &&str| crate::api::Reason::of_word(word).is_some();
    found.extend(words.filter(is_reason).map(str::to_owned));
}

#[test]
fn every_reason_that_is_given_has_its_row() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = BTreeSet::new();
    for part in [
        "migration",
        "reconcile/error.rs",
        "reconcile/summary.rs",
        "runtime/invalid.rs",
        "world/errors.rs",
        "world/failures.rs",
    ] {
        given(&root.join(part), &mut found);
    }
    // only looked for, in the NeonDatabase
    found.remove("ParentChanged");
    let told = rows("\n## Every reason\n", "\n## Exit codes\n");
    let told: BTreeSet<String> = told.iter().map(|row| unquoted(row[0])).collect();
    let lacks: Vec<_> = found.difference(&told).collect();
    assert!(lacks.is_empty(), "docs/migrations.md lacks {lacks:?}");
    let spare: Vec<_> = told.difference(&found).collect();
    assert!(spare.is_empty(), "no code gives {spare:?}");
}

/// The fields that an example sets, as the schema has them.
fn set(value: &Value, path: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(entries) => {
            for (name, inner) in entries {
                let path = if path.is_empty() {
                    name.clone()
                } else {
                    format!("{path}.{name}")
                };
                found.push(path.clone());
                if path != "adopt.aliases" {
                    set(inner, &path, found);
                }
            }
        }
        Value::Array(items) => {
            for item in items {
                set(item, &format!("{path}[]"), found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn the_examples_are_objects_that_can_be_carried_out() {
    let fields = Fields::of_spec();
    let mut examples = DOCUMENT.split("```yaml\n").skip(1).peekable();
    assert!(examples.peek().is_some());
    for example in examples {
        let (yaml, _) = example.split_once("```").unwrap();
        let mut value: Value = serde_saphyr::from_str(yaml).unwrap();
        let mut paths = Vec::new();
        set(&value["spec"], "", &mut paths);
        for path in paths {
            assert!(fields.has(&path), "there is no field {path}: {yaml}");
        }
        value["metadata"]["uid"] = "u".into();
        value["metadata"]["generation"] = 1.into();
        let object: SepulkiMigration = serde_json::from_value(value).unwrap();
        let desired = super::super::Desired::of(&object);
        assert!(desired.rest.is_ok(), "{yaml}: {:?}", desired.rest);
    }
}
