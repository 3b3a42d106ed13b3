//! Objects that others refer to by name. Pure.

use std::sync::Arc;

use kube::Resource;

/// The object of this name, in this namespace: references never leave it.
#[must_use]
pub fn named<'a, K: Resource>(
    all: &'a [Arc<K>],
    namespace: Option<&String>,
    name: &str,
) -> Option<&'a Arc<K>> {
    all.iter().find(|object| {
        let meta = object.meta();
        meta.name.as_deref() == Some(name) && meta.namespace.as_ref() == namespace
    })
}
