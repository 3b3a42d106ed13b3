//! Migrations that have to come first: `spec.requires`. Pure.

use std::sync::Arc;

use crate::api::SepulkiMigration;
use crate::reconcile::named;

/// Longest way along which a circle is looked for.
const LONGEST_WAY: usize = 32;

/// Why an object has to wait for others, or waits in vain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unmet {
    /// This one does not exist.
    Missing(String),
    /// This one has not applied the same files yet, or not as far.
    Pending(String),
    /// They wait for each other: the names on the way round.
    Circle(Vec<String>),
}

/// The first of the required migrations that has not applied the files with this digest as far as the object is to go.
#[must_use]
pub fn unmet(
    own: &SepulkiMigration,
    others: &[Arc<SepulkiMigration>],
    digest: &str,
) -> Option<Unmet> {
    if let Some(way) = circle(own, others) {
        return Some(Unmet::Circle(way));
    }
    let namespace = own.metadata.namespace.as_ref();
    required(own).find_map(|name| match named(others, namespace, name) {
        None => Some(Unmet::Missing(name.to_owned())),
        Some(other) if has_applied(other, own, digest) => None,
        Some(_) => Some(Unmet::Pending(name.to_owned())),
    })
}

/// Whether the object requires the one of this name.
#[must_use]
pub fn requires(object: &SepulkiMigration, name: &str) -> bool {
    required(object).any(|required| required == name)
}

fn required(object: &SepulkiMigration) -> impl Iterator<Item = &str> {
    let required = object.spec.requires.iter();
    required.map(|required| required.migration_ref.name.0.as_str())
}

/// Whether everything that the object is to apply was found applied there.
fn has_applied(other: &SepulkiMigration, own: &SepulkiMigration, digest: &str) -> bool {
    let status = other.status.as_ref();
    let applied_to = status.and_then(|status| status.applied_to.as_ref());
    let target = own.spec.target.as_ref().map(|target| &target.version.0);
    applied_to.is_some_and(|to| {
        to.digest.as_deref() == Some(digest)
            && (to.target.is_none() || to.target.as_ref() == target)
    })
}

/// The way on which the object comes to require itself.
fn circle(own: &SepulkiMigration, others: &[Arc<SepulkiMigration>]) -> Option<Vec<String>> {
    let start = own.metadata.name.as_deref()?;
    let namespace = own.metadata.namespace.as_ref();
    let mut seen: Vec<&str> = Vec::new();
    let mut ways: Vec<Vec<&str>> = required(own).map(|name| vec![start, name]).collect();
    while let Some(way) = ways.pop() {
        let Some(last) = way.last().copied() else {
            continue;
        };
        if last == start {
            return Some(way.into_iter().map(str::to_owned).collect());
        }
        if seen.contains(&last) || way.len() > LONGEST_WAY {
            continue;
        }
        seen.push(last);
        if let Some(next) = named(others, namespace, last) {
            ways.extend(required(next).map(|name| [way.as_slice(), &[name]].concat()));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn migration(name: &str, requires: &[&str], applied_to: &Value) -> Arc<SepulkiMigration> {
        let requires: Vec<Value> = requires
            .iter()
            .map(|name| json!({"migrationRef": {"name": name}}))
            .collect();
        let object = json!({
            "apiVersion": "sepulki.dev/v1alpha1", "kind": "SepulkiMigration",
            "metadata": {"name": name, "namespace": "team"},
            "spec": {"databaseRef": {"name": name}, "source": {"inline": []}, "requires": requires},
            "status": {"appliedTo": applied_to},
        });
        Arc::new(serde_json::from_value(object).unwrap())
    }

    fn applied(digest: &str, target: Option<&str>) -> Value {
        json!({"branchId": "b", "incarnation": "i", "database": "d", "digest": digest, "target": target})
    }

    #[test]
    fn the_same_files_have_to_be_applied_as_far() {
        let pending = || Some(Unmet::Pending("staging".to_owned()));
        for (to, met) in [
            (applied("new", None), None),
            (applied("old", None), pending()),
            (applied("new", Some("002_b.sql")), pending()),
            (Value::Null, pending()),
        ] {
            let own = migration("production", &["staging"], &Value::Null);
            let others = [own.clone(), migration("staging", &[], &to)];
            assert_eq!(unmet(&own, &others, "new"), met, "{to}");
        }
        let mut own = migration("production", &["staging"], &Value::Null);
        let target = json!({"version": "002_b.sql"});
        Arc::make_mut(&mut own).spec.target = serde_json::from_value(target).unwrap();
        let there = migration("staging", &[], &applied("new", Some("002_b.sql")));
        assert_eq!(unmet(&own, &[there], "new"), None);
    }

    #[test]
    fn one_that_does_not_exist_here_is_told_by_name() {
        let own = migration("production", &["staging"], &Value::Null);
        let mut abroad = migration("staging", &[], &applied("new", None));
        Arc::make_mut(&mut abroad).metadata.namespace = Some("other".into());
        let missing = Some(Unmet::Missing("staging".to_owned()));
        assert_eq!(unmet(&own, &[abroad], "new"), missing);
    }

    #[test]
    fn those_that_wait_for_each_other_are_told_all() {
        let a = migration("a", &["x", "b"], &Value::Null);
        let x = migration("x", &[], &Value::Null);
        let b = migration("b", &["c", "b"], &Value::Null);
        let c = migration("c", &["a"], &Value::Null);
        let all = [a.clone(), x, b, c];
        let way = ["a", "b", "c", "a"].map(str::to_owned).to_vec();
        assert_eq!(unmet(&a, &all, "new"), Some(Unmet::Circle(way)));
        let own = migration("a", &["a"], &Value::Null);
        let way = ["a", "a"].map(str::to_owned).to_vec();
        assert_eq!(unmet(&own, &[], "new"), Some(Unmet::Circle(way)));
    }
}
