//! The CustomResourceDefinitions as they are shipped. Pure.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use serde_json::Value;

use super::{NeonDatabase, NeonProject, SepulkiMigration};

/// A CRD that could not be rendered: a defect of this crate.
#[derive(Debug, thiserror::Error)]
pub enum CrdError {
    /// The type has no JSON form.
    #[error("cannot render a CRD: {0}")]
    Json(#[from] serde_json::Error),
    /// The JSON has no YAML form.
    #[error("cannot write a CRD as YAML: {0}")]
    Yaml(String),
}

/// File name and YAML of every CRD.
pub fn crd_files() -> Result<Vec<(&'static str, String)>, CrdError> {
    [
        ("neonprojects.yaml", NeonProject::crd()),
        ("neondatabases.yaml", NeonDatabase::crd()),
        ("sepulkimigrations.yaml", SepulkiMigration::crd()),
    ]
    .into_iter()
    .map(|(name, crd)| Ok((name, render(crd)?)))
    .collect()
}

fn render(crd: CustomResourceDefinition) -> Result<String, CrdError> {
    let mut value = serde_json::to_value(crd)?;
    strip_nullable(&mut value);
    serde_saphyr::to_string(&value).map_err(|e| CrdError::Yaml(e.to_string()))
}

/// An optional field is absent or has a value. `nullable` would let the server store an explicit null, which no
/// default replaces.
fn strip_nullable(value: &mut Value) {
    match value {
        Value::Object(map) => {
            // a property that is *named* nullable would be an object; the keyword is a boolean
            if map.get("nullable").is_some_and(Value::is_boolean) {
                map.remove("nullable");
            }
            map.values_mut().for_each(strip_nullable);
        }
        Value::Array(items) => items.iter_mut().for_each(strip_nullable),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
