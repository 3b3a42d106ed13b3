//! Migrations that Secrets are held back for, as their watch knows them. Changes nothing.

use super::Observed;
use crate::api::SepulkiMigration;
use crate::database::Databases;
use crate::database::desired::Desired;
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
