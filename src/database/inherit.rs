//! What a child takes from its parent: databases and roles, where it lists no database. Pure.

use std::sync::Arc;

use crate::api::{NeonDatabase, NeonDatabaseSpec};
use crate::reconcile::named;

/// A longer chain of parents is a circle.
const LONGEST_CHAIN: usize = 32;

/// Where databases and roles come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heritage {
    /// The spec's own lists, be they empty.
    Own,
    /// The lists of an object further up.
    Inherited,
    /// The object of this name would know, and there is none: nothing can be said of what is to be inside.
    Missing(String),
}

/// Fills in what an object inherits from the others of its namespace.
#[must_use]
pub fn inherit(object: &NeonDatabase, all: &[Arc<NeonDatabase>]) -> (NeonDatabase, Heritage) {
    let mut object = object.clone();
    if !object.spec.databases.is_empty() {
        return (object, Heritage::Own);
    }
    match ancestor(&object, all) {
        Ok(None) => (object, Heritage::Own),
        Ok(Some(spec)) => {
            object.spec.databases.clone_from(&spec.databases);
            object.spec.roles.clone_from(&spec.roles);
            for role in &mut object.spec.roles {
                // a child shares no password with its parent
                role.password_secret_ref = None;
            }
            (object, Heritage::Inherited)
        }
        Err(missing) => (object, Heritage::Missing(missing)),
    }
}

/// Whether others have a say in what the object asks: it has no branch yet, or lists no databases.
#[must_use]
pub fn depends_on_others(object: &NeonDatabase) -> bool {
    let status = object.status.as_ref();
    let has_branch = status.is_some_and(|status| status.branch.is_some());
    parent_of(object).is_some() && (!has_branch || object.spec.databases.is_empty())
}

/// Whether the object's databases and roles are those of an object further up.
#[must_use]
pub fn inherits(object: &NeonDatabase) -> bool {
    object.spec.databases.is_empty() && parent_of(object).is_some()
}

/// The nearest spec above the object that lists databases; none where the chain ends without one.
fn ancestor<'a>(
    object: &NeonDatabase,
    all: &'a [Arc<NeonDatabase>],
) -> Result<Option<&'a NeonDatabaseSpec>, String> {
    let namespace = object.metadata.namespace.as_ref();
    let mut parent = parent_of(object);
    for _ in 0..LONGEST_CHAIN {
        let Some(name) = parent else {
            return Ok(None);
        };
        let found = named(all, namespace, name).ok_or_else(|| name.to_owned())?;
        if !found.spec.databases.is_empty() {
            return Ok(Some(&found.spec));
        }
        parent = parent_of(found);
    }
    Ok(None)
}

/// Whether the object waits for a branch of its own: its parent, or that one's parent, and so on, is itself. Answers the names
/// on the way round.
#[must_use]
pub fn circle(object: &NeonDatabase, all: &[Arc<NeonDatabase>]) -> Option<Vec<String>> {
    let (name, namespace) = (
        object.metadata.name.as_deref(),
        object.metadata.namespace.as_ref(),
    );
    let mut way = vec![name?.to_owned()];
    let mut parent = parent_of(object);
    for _ in 0..LONGEST_CHAIN {
        let next = parent?;
        way.push(next.to_owned());
        if Some(next) == name {
            return Some(way);
        }
        parent = parent_of(named(all, namespace, next)?);
    }
    None
}

/// The object it was forked from or is to be: the one that was resolved, otherwise the one that the spec names.
fn parent_of(object: &NeonDatabase) -> Option<&str> {
    let effective = object.status.as_ref().and_then(|s| s.effective.as_ref());
    let asked = object.spec.branch.as_ref().and_then(|b| b.parent.as_ref());
    let parent = effective.map_or(asked, |effective| effective.parent.as_ref())?;
    Some(parent.database_ref.as_ref()?.name.as_str())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn object(name: &str, parent: Option<&str>, inside: &Value) -> Arc<NeonDatabase> {
        let mut spec = json!({"projectId": "p", "environment": "preview"});
        if let Some(parent) = parent {
            spec["branch"] = json!({"parent": {"databaseRef": {"name": parent}}});
        }
        for (key, value) in inside.as_object().unwrap() {
            spec[key] = value.clone();
        }
        let mut object = NeonDatabase::new(name, serde_json::from_value(spec).unwrap());
        object.metadata.namespace = Some("team".into());
        Arc::new(object)
    }

    fn inside(database: &str) -> Value {
        json!({"databases": [{"name": database}], "roles": [{"name": "web", "access": "ReadWrite"}]})
    }

    fn databases(of: &Arc<NeonDatabase>, all: &[&Arc<NeonDatabase>]) -> (Vec<String>, Heritage) {
        let all: Vec<_> = all.iter().map(|one| Arc::clone(one)).collect();
        let (object, heritage) = inherit(of, &all);
        let names = object.spec.databases.iter().map(|d| d.name.0.clone());
        (names.collect(), heritage)
    }

    #[test]
    fn what_is_not_listed_comes_from_the_nearest_that_lists_it() {
        let production = object("production", None, &inside("app"));
        let staging = object("staging", Some("production"), &json!({}));
        let own = object("own", Some("production"), &inside("mine"));
        let preview = object("pr-7", Some("staging"), &json!({}));
        let all = [&production, &staging, &own, &preview];
        assert_eq!(
            databases(&preview, &all),
            (vec!["app".into()], Heritage::Inherited)
        );
        assert_eq!(databases(&own, &all), (vec!["mine".into()], Heritage::Own));
        assert_eq!(
            databases(&production, &all),
            (vec!["app".into()], Heritage::Own)
        );
        assert_eq!(
            inherit(&preview, &[production.clone(), staging.clone()])
                .0
                .spec
                .roles
                .len(),
            1
        );
    }

    #[test]
    fn a_chain_that_nobody_lists_anything_in_leaves_all_as_it_is() {
        let bare = object("bare", None, &json!({}));
        let child = object("child", Some("bare"), &json!({}));
        assert_eq!(databases(&child, &[&bare]), (vec![], Heritage::Own));
        let (one, two) = (
            object("a", Some("b"), &json!({})),
            object("b", Some("a"), &json!({})),
        );
        assert_eq!(databases(&one, &[&one, &two]), (vec![], Heritage::Own));
    }

    #[test]
    fn a_parent_that_is_not_there_is_named_and_another_namespaces_is_not_taken() {
        let child = object("child", Some("staging"), &json!({}));
        let missing = || (vec![], Heritage::Missing("staging".into()));
        assert_eq!(databases(&child, &[]), missing());
        let mut abroad = object("staging", None, &inside("app")).as_ref().clone();
        abroad.metadata.namespace = Some("elsewhere".into());
        assert_eq!(databases(&child, &[&Arc::new(abroad)]), missing());
    }

    #[test]
    fn a_circle_of_parents_is_told_with_the_way_round() {
        let one = object("a", Some("b"), &json!({}));
        let two = object("b", Some("c"), &json!({}));
        let three = object("c", Some("a"), &json!({}));
        let all = [one.clone(), two.clone(), three];
        assert_eq!(circle(&one, &all).unwrap(), ["a", "b", "c", "a"]);
        let own = object("a", Some("a"), &json!({}));
        assert_eq!(circle(&own, &[]).unwrap(), ["a", "a"]);
        // one that leads into a circle is not part of it
        assert_eq!(circle(&object("d", Some("a"), &json!({})), &all), None);
        assert_eq!(circle(&one, &[two]), None);
    }

    #[test]
    fn the_parent_that_was_resolved_counts() {
        let production = object("production", None, &inside("app"));
        let mut child = object("child", None, &json!({})).as_ref().clone();
        let effective =
            json!({"parent": {"databaseRef": {"name": "production"}}, "deletionPolicy": "Delete"});
        child.status = serde_json::from_value(json!({"effective": effective})).unwrap();
        assert!(inherits(&child));
        assert_eq!(databases(&Arc::new(child), &[&production]).0, ["app"]);
    }
}
