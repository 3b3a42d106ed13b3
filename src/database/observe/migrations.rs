//! Migrations that Secrets are held back for, and those that ask for a reset, as their watch knows them. Changes nothing.

use jiff::Timestamp;

use super::Observed;
use crate::api::{BranchStatus, SepulkiMigration};
use crate::database::Databases;
use crate::database::desired::Desired;
use crate::database::mark::Mark;
use crate::database::reset;
use crate::reconcile::Conditions;

/// Those that are not applied yet, each with what is known of it.
pub(super) fn missing(kind: &Databases, desired: &Desired, observed: &Observed) -> Vec<String> {
    let Ok(rest) = &desired.rest else {
        return Vec::new();
    };
    if rest.publish_after.is_empty() {
        return Vec::new();
    }
    let all = kind.world.cluster.migrations();
    let why_not = |name: &String| {
        let found = all.iter().find(|migration| {
            migration.metadata.name.as_ref() == Some(name)
                && migration.metadata.namespace.as_deref() == Some(&desired.mark.namespace)
        });
        match found {
            None => Some(format!("SepulkiMigration {name}, which does not exist yet")),
            Some(migration) if is_applied(migration, desired, observed) => None,
            Some(_) => Some(format!("SepulkiMigration {name}")),
        }
    };
    rest.publish_after.iter().filter_map(why_not).collect()
}

/// A migration that asks for a reset of the branch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResetAsked {
    /// Its name.
    pub by: String,
    /// The applied file that was edited.
    pub version: String,
}

/// The migration that asks for a reset of this life of the branch.
pub(super) fn reset_asked(
    kind: &Databases,
    desired: &Desired,
    observed: &Observed,
    now: Timestamp,
) -> Option<ResetAsked> {
    let branch = observed.recorded.branch.as_ref()?;
    let all = kind.world.cluster.migrations();
    let asking = all
        .iter()
        .filter_map(|migration| asks(migration, &desired.mark, branch, now));
    // the one that was taken up first, so that of two neither takes it from the other
    asking.min_by_key(|asked| {
        let is_another = observed.recorded.reset_for.as_ref() != Some(&asked.by);
        (is_another, asked.by.clone())
    })
}

/// Whether it asks for a reset: it may act, with the spec that it has now, and did so a short while ago.
fn asks(
    migration: &SepulkiMigration,
    of: &Mark,
    branch: &BranchStatus,
    now: Timestamp,
) -> Option<ResetAsked> {
    let (meta, spec) = (&migration.metadata, &migration.spec);
    let request = migration.status.as_ref()?.reset_request.as_ref()?;
    let of_this =
        meta.namespace.as_deref() == Some(&of.namespace) && spec.database_ref.name.0 == of.name;
    let may_act = meta.deletion_timestamp.is_none() && !spec.suspend;
    let stands = meta.generation == Some(request.generation)
        && request.branch_id == branch.id
        && request.incarnation == branch.incarnation
        && reset::is_timely(request.time.0, now);
    (of_this && may_act && stands).then(|| ResetAsked {
        by: meta.name.clone().unwrap_or_default(),
        version: request.version.clone(),
    })
}

/// Whether it has applied what it was asked to; where it migrates this very object, to this life of its branch.
fn is_applied(migration: &SepulkiMigration, desired: &Desired, observed: &Observed) -> bool {
    let status = migration.status.as_ref();
    let applied_to = status.and_then(|status| status.applied_to.as_ref());
    let branch = observed.recorded.branch.as_ref();
    let here = applied_to.zip(branch).is_some_and(|(to, branch)| {
        to.branch_id == branch.id && to.incarnation == branch.incarnation
    });
    let of_this = migration.spec.database_ref.name.0 == desired.mark.name;
    migration.is_settled() && (here || !of_this)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::api::Environment;
    use crate::database::fixtures::{desired, now, recorded, settled};

    /// Whether the migration `m`, with this changed, makes the preview `team/it` go back to its parent.
    fn resets(path: &str, value: Value) -> bool {
        let desired = desired(Environment::Preview);
        let mut observed = settled(&desired);
        let branch = recorded(&mut observed).clone();
        let mut object = json!({
            "apiVersion": "sepulki.dev/v1alpha1", "kind": "SepulkiMigration",
            "metadata": {"name": "m", "namespace": desired.mark.namespace, "generation": 3},
            "spec": {"databaseRef": {"name": desired.mark.name}, "source": {"inline": []}, "suspend": false},
            "status": {"resetRequest": {
                "branchId": branch.id, "incarnation": branch.incarnation, "digest": "sha256:0", "generation": 3,
                "version": "002_b.sql", "time": now().to_string(),
            }},
        });
        if let Some((at, key)) = path.rsplit_once('/') {
            object.pointer_mut(at).unwrap()[key] = value;
        }
        let migration: SepulkiMigration = serde_json::from_value(object).unwrap();
        let asked = asks(&migration, &desired.mark, &branch, now());
        let expected = ResetAsked {
            by: "m".into(),
            version: "002_b.sql".into(),
        };
        asked
            .inspect(|asked| assert_eq!(*asked, expected))
            .is_some()
    }

    #[test]
    fn a_reset_is_asked_for_by_a_migration_of_this_life_of_the_branch_that_may_act() {
        assert!(resets("", Value::Null));
        let ago = |minutes| json!((now() - jiff::SignedDuration::from_mins(minutes)).to_string());
        assert!(resets("/status/resetRequest/time", ago(15)));
        for (path, value) in [
            ("/status/resetRequest/time", ago(16)),
            ("/status/resetRequest/time", ago(-6)),
            ("/status/resetRequest/branchId", json!("br-other")),
            ("/status/resetRequest/incarnation", json!("another")),
            ("/status/resetRequest", Value::Null),
            ("/metadata/generation", json!(4)),
            ("/metadata/namespace", json!("elsewhere")),
            ("/metadata/deletionTimestamp", json!("2026-12-01T00:00:00Z")),
            ("/spec/suspend", json!(true)),
            ("/spec/databaseRef/name", json!("another")),
        ] {
            assert!(!resets(path, value.clone()), "{path} {value}");
        }
    }
}
