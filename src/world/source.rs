//! Which Neon project a NeonDatabase is in, and where the key for it is: as it says itself, or as the NeonProject says
//! that it refers to. Pure.

use std::sync::Arc;

use crate::api::{NeonDatabase, NeonProject};
use crate::cluster::KeyRef;
use crate::neon::ProjectId;

/// Where a NeonDatabase lives on Neon.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    /// The Neon project.
    pub project: ProjectId,
    /// Where the key for it is.
    pub key: KeyRef,
    /// The NeonProject that said so; none where the object itself did.
    pub from: Option<Arc<NeonProject>>,
}

impl Source {
    /// Resolved among `projects`; none where the NeonProject that is referred to is not among them.
    #[must_use]
    pub fn of(object: &NeonDatabase, projects: &[Arc<NeonProject>]) -> Option<Self> {
        let spec = &object.spec;
        if let Some(reference) = &spec.project_ref {
            let is_it = |project: &&Arc<NeonProject>| {
                project.metadata.name.as_deref() == Some(reference.name.as_str())
            };
            let found = projects.iter().find(is_it)?;
            return Some(Self {
                project: ProjectId::from(found.spec.project_id.as_str()),
                key: key_of(found),
                from: Some(Arc::clone(found)),
            });
        }
        let key = spec.api_key_secret_ref.clone().unwrap_or_default();
        Some(Self {
            // the schema lets nothing through that has neither; no project has this name
            project: ProjectId::from(spec.project_id.as_deref().unwrap_or_default()),
            key: KeyRef {
                namespace: object.metadata.namespace.clone().unwrap_or_default(),
                name: key.name.0,
                key: key.key.0,
            },
            from: None,
        })
    }

    /// Whether a NeonDatabase lives in the same Neon project: by what was recorded of it, otherwise as it is resolved.
    #[must_use]
    pub fn is_of(&self, object: &NeonDatabase, projects: &[Arc<NeonProject>]) -> bool {
        let recorded = object.status.as_ref().and_then(|s| s.project_id.as_deref());
        match recorded.or(object.spec.project_id.as_deref()) {
            Some(id) => id == self.project.as_str(),
            None => Self::of(object, projects).is_some_and(|other| other.project == self.project),
        }
    }
}

/// Where the key of a NeonProject is.
#[must_use]
pub fn key_of(project: &NeonProject) -> KeyRef {
    let at = &project.spec.api_key_secret_ref;
    KeyRef {
        namespace: at.namespace.0.clone(),
        name: at.name.0.clone(),
        key: at.key.0.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn database(spec: Value) -> NeonDatabase {
        let mut whole = json!({"environment": "preview"});
        if let (Some(whole), Value::Object(spec)) = (whole.as_object_mut(), spec) {
            whole.extend(spec);
        }
        let mut object = NeonDatabase::new("it", serde_json::from_value(whole).unwrap());
        object.metadata.namespace = Some("pr-7".to_owned());
        object
    }

    fn project(name: &str, id: &str) -> Arc<NeonProject> {
        let spec = json!({"projectId": id, "apiKeySecretRef": {"namespace": "keys"}});
        Arc::new(NeonProject::new(
            name,
            serde_json::from_value(spec).unwrap(),
        ))
    }

    fn at(namespace: &str, name: &str, key: &str) -> KeyRef {
        KeyRef {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            key: key.to_owned(),
        }
    }

    #[test]
    fn the_key_is_in_the_objects_namespace_or_where_the_neonproject_says() {
        let projects = [project("other", "loud-2"), project("sea", "quiet-1")];
        let inline =
            database(json!({"projectId": "quiet-1", "apiKeySecretRef": {"name": "s", "key": "k"}}));
        let source = Source::of(&inline, &projects).unwrap();
        assert_eq!((source.key, source.from), (at("pr-7", "s", "k"), None));
        let inline = database(json!({"projectId": "quiet-1"}));
        let source = Source::of(&inline, &projects).unwrap();
        assert_eq!(source.key, at("pr-7", "neon-api-key", "apiKey"));
        let referring = database(json!({"projectRef": {"name": "sea"}}));
        let source = Source::of(&referring, &projects).unwrap();
        assert_eq!(source.project.as_str(), "quiet-1");
        assert_eq!(source.key, at("keys", "neon-api-key", "apiKey"));
        assert_eq!(source.from, Some(Arc::clone(&projects[1])));
        assert_eq!(Source::of(&referring, &projects[..1]), None);
    }

    #[test]
    fn objects_share_a_neon_project_however_they_name_it() {
        let projects = [project("sea", "quiet-1"), project("lake", "loud-2")];
        let source = Source::of(&database(json!({"projectId": "quiet-1"})), &projects).unwrap();
        let named = |name: &str| database(json!({"projectRef": {"name": name}}));
        assert!(source.is_of(&named("sea"), &projects));
        assert!(!source.is_of(&named("lake"), &projects));
        assert!(!source.is_of(&named("gone"), &projects));
        // what was recorded counts, wherever the name leads by now
        let mut moved = named("lake");
        moved.status.get_or_insert_default().project_id = Some("quiet-1".to_owned());
        assert!(source.is_of(&moved, &projects));
    }
}
