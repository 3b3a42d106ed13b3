//! Which object is meant, exactly. Pure.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Resource, ResourceExt,
    core::{ApiResource, ObjectMeta},
};

/// One incarnation of one object of any kind: what requests and events about it need, and nothing of its contents.
///
/// The uid belongs to it: an object deleted and created again under the same name is another one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ObjectId {
    /// Its group, version and kind.
    pub resource: ApiResource,
    /// Its namespace; none for a cluster-scoped object.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
    /// What tells it from earlier objects of that name.
    pub uid: String,
}

impl ObjectId {
    /// The identity of an object that was read from the API server. Works for a [`Seen`](super::Seen) too.
    #[must_use]
    pub fn of<K: Resource<DynamicType = ()>>(object: &K) -> Self {
        Self {
            resource: ApiResource::erase::<K>(&()),
            namespace: object.namespace(),
            name: object.name_any(),
            uid: object.uid().unwrap_or_default(),
        }
    }

    /// As events and owner references of other objects name it.
    #[must_use]
    pub fn reference(&self) -> ObjectReference {
        ObjectReference {
            api_version: Some(self.resource.api_version.clone()),
            kind: Some(self.resource.kind.clone()),
            name: Some(self.name.clone()),
            namespace: self.namespace.clone(),
            uid: Some(self.uid.clone()),
            ..ObjectReference::default()
        }
    }

    /// Whether `meta` is of this incarnation.
    #[must_use]
    pub fn is(&self, meta: &ObjectMeta) -> bool {
        meta.uid.as_deref() == Some(self.uid.as_str())
    }
}

/// `Kind namespace/name`, as messages name an object.
impl std::fmt::Display for ObjectId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{} {namespace}/{}", self.resource.kind, self.name),
            None => write!(f, "{} {}", self.resource.kind, self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::{ConfigMap, Node};

    use super::*;

    #[test]
    fn names_object_and_incarnation() {
        let mut map = ConfigMap::default();
        map.metadata.name = Some("bundle".into());
        map.metadata.namespace = Some("team".into());
        map.metadata.uid = Some("u-1".into());
        let id = ObjectId::of(&map);
        assert_eq!(id.to_string(), "ConfigMap team/bundle");
        assert!(id.is(&map.metadata));
        let reference = id.reference();
        assert_eq!(reference.api_version.as_deref(), Some("v1"));
        assert_eq!(reference.uid.as_deref(), Some("u-1"));
        map.metadata.uid = Some("u-2".into());
        assert!(!id.is(&map.metadata));
    }

    #[test]
    fn a_cluster_scoped_object_has_no_namespace() {
        let mut node = Node::default();
        node.metadata.name = Some("n1".into());
        assert_eq!(ObjectId::of(&node).to_string(), "Node n1");
    }
}
