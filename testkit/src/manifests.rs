//! Reading Kubernetes manifests. Touches files only; `install` applies what is read here.

use std::{fs, path::Path};

use anyhow::{Context, bail};
use kube::api::DynamicObject;
use serde::Deserialize;
use serde_json::Value;

/// The part of a `kustomization.yaml` that is read. A base that says more would be installed
/// differently by kustomize, so anything else is refused.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Kustomization {
    #[serde(rename = "apiVersion")]
    _api_version: Option<String>,
    #[serde(rename = "kind")]
    _kind: Option<String>,
    resources: Vec<String>,
}

/// The objects of a kustomize base that consists of plain resource files, in the order listed.
/// A listed folder is a base of the same form.
///
/// # Errors
/// If a file is missing or no manifest, or if the base transforms its resources.
pub fn read_kustomization(dir: &Path) -> anyhow::Result<Vec<DynamicObject>> {
    let file = dir.join("kustomization.yaml");
    let kustomization: Kustomization = serde_saphyr::from_str(&read(&file)?)
        .with_context(|| format!("{} is more than a list of resources", file.display()))?;
    let mut objects = Vec::new();
    for resource in &kustomization.resources {
        let path = dir.join(resource);
        if path.is_dir() {
            objects.extend(read_kustomization(&path)?);
        } else {
            objects
                .extend(parse(&read(&path)?).with_context(|| format!("read {}", path.display()))?);
        }
    }
    Ok(objects)
}

/// The objects of a YAML text of one or more documents; empty documents are left out.
pub fn parse(text: &str) -> anyhow::Result<Vec<DynamicObject>> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text).context("read YAML")?;
    documents
        .into_iter()
        .filter(|document| !document.is_null())
        .map(object)
        .collect()
}

fn object(document: Value) -> anyhow::Result<DynamicObject> {
    let object: DynamicObject =
        serde_json::from_value(document).context("read a Kubernetes object")?;
    if object.types.is_none() {
        bail!("an object has no apiVersion and kind");
    }
    if object.metadata.name.is_none() {
        bail!("an object of kind {} has no name", kind(&object));
    }
    Ok(object)
}

/// The kind of an object, for messages and selection.
#[must_use]
pub fn kind(object: &DynamicObject) -> &str {
    object
        .types
        .as_ref()
        .map_or("", |types| types.kind.as_str())
}

fn read(path: &Path) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| format!("read {}", path.display()))
}
