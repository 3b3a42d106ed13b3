//! Who may have waited for a change of an object: what refers to it, not everything nearby. Pure.
//!
//! | changed | who looks again |
//! |---|---|
//! | a NeonProject | unsettled ones, with which it may quarrel; unsettled NeonDatabases that refer to it |
//! | a NeonDatabase | unsettled ones that name it as their parent or have no parent yet; its children that inherit from it; all migrations of it |
//! | a SepulkiMigration | its NeonDatabase, which may wait for the branch or a schema, or have to reset it; those that hold Secrets back for it; unsettled migrations of the same one, and those that require it |
//! | either is gone | everything that is being deleted (a parent may live in another namespace); everything unsettled of its namespace; all migrations of it; unsettled NeonProjects and what refers to one of its name; whoever waits for the room that it leaves |

use crate::api::{NeonDatabase, NeonProject, Reason, SepulkiMigration};
use crate::database::inherit::inherits;
use crate::migration::required;
use crate::reconcile::Conditions;

/// A change of how an object stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The object's namespace.
    pub namespace: Option<String>,
    /// What tells it from others.
    pub uid: String,
    /// What others refer to it by.
    pub what: What,
}

/// What others refer to a changed object by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A NeonProject of this name.
    Project(String),
    /// A NeonDatabase of this name.
    Database(String),
    /// A SepulkiMigration.
    Migration {
        /// Its name.
        name: String,
        /// Name of its NeonDatabase.
        of: String,
        /// Whether it asks for a reset of the branch.
        asks_for_reset: bool,
    },
    /// An object of this name that is gone, of whichever kind: all that is known of it by then.
    Gone(String),
}

/// An object whose changes concern others.
pub trait Changes {
    /// What others refer to it by.
    fn what(&self) -> What;
}

impl Changes for NeonProject {
    fn what(&self) -> What {
        What::Project(self.metadata.name.clone().unwrap_or_default())
    }
}

impl Changes for NeonDatabase {
    fn what(&self) -> What {
        What::Database(self.metadata.name.clone().unwrap_or_default())
    }
}

impl Changes for SepulkiMigration {
    fn what(&self) -> What {
        What::Migration {
            name: self.metadata.name.clone().unwrap_or_default(),
            of: self.spec.database_ref.name.0.clone(),
            asks_for_reset: self
                .status
                .as_ref()
                .is_some_and(|status| status.reset_request.is_some()),
        }
    }
}

impl Change {
    /// Whether a NeonProject may have waited for it.
    #[must_use]
    pub fn concerns_project(&self, other: &NeonProject) -> bool {
        let meta = &other.metadata;
        if meta.uid.as_deref() == Some(&self.uid) {
            return false;
        }
        match &self.what {
            What::Project(_) => !other.is_settled(),
            What::Gone(_) => meta.deletion_timestamp.is_some() || !other.is_settled(),
            What::Database(_) | What::Migration { .. } => false,
        }
    }

    /// Whether a NeonDatabase may have waited for it.
    #[must_use]
    pub fn concerns_database(&self, other: &NeonDatabase) -> bool {
        let meta = &other.metadata;
        if meta.uid.as_deref() == Some(&self.uid) {
            return false;
        }
        let near = meta.namespace == self.namespace;
        let unsettled = !other.is_settled();
        match &self.what {
            What::Project(name) => unsettled && refers_to(other, name),
            What::Database(name) => {
                near && (unsettled || inherits(other)) && may_fork_from(other, name)
            }
            What::Migration {
                name,
                of,
                asks_for_reset,
            } => {
                let may_wait = unsettled || *asks_for_reset || lacks_schemas(other);
                let is_its = may_wait && meta.name.as_ref() == Some(of);
                near && (is_its || holds_back_for(other, name))
            }
            What::Gone(name) => {
                let waits = near || refers_to(other, name) || waits_for_room(other);
                meta.deletion_timestamp.is_some() || (unsettled && waits)
            }
        }
    }

    /// Whether a SepulkiMigration may have waited for it.
    #[must_use]
    pub fn concerns_migration(&self, other: &SepulkiMigration) -> bool {
        let meta = &other.metadata;
        if meta.uid.as_deref() == Some(&self.uid) || meta.namespace != self.namespace {
            return false;
        }
        let of = &other.spec.database_ref.name.0;
        let unsettled = !other.is_settled();
        match &self.what {
            What::Project(_) => false,
            What::Database(name) => of == name,
            What::Migration { name, of: same, .. } => {
                unsettled && (of == same || required::requires(other, name))
            }
            What::Gone(name) => of == name || unsettled,
        }
    }
}

fn refers_to(database: &NeonDatabase, project: &str) -> bool {
    let reference = database.spec.project_ref.as_ref();
    reference.is_some_and(|reference| reference.name.0 == project)
}

fn waits_for_room(database: &NeonDatabase) -> bool {
    let mut conditions = database.conditions().iter();
    conditions.any(|condition| condition.reason == Reason::NoRoom.as_str())
}

/// Whether this object of the namespace is the parent, or could become the parent that no one has named.
fn may_fork_from(child: &NeonDatabase, name: &str) -> bool {
    let effective = child.status.as_ref().and_then(|s| s.effective.as_ref());
    let asked = child.spec.branch.as_ref().and_then(|b| b.parent.as_ref());
    let parent = effective.map_or(asked, |effective| effective.parent.as_ref());
    match parent {
        Some(parent) => parent
            .database_ref
            .as_ref()
            .is_some_and(|parent| parent.name.0 == name),
        None => effective.is_none_or(|effective| effective.existing.is_none()),
    }
}

/// Whether roles have no rights yet on schemas that were not there.
fn lacks_schemas(database: &NeonDatabase) -> bool {
    let databases = database.status.iter().flat_map(|status| &status.databases);
    databases
        .into_iter()
        .any(|one| one.missing_schemas.is_some())
}

fn holds_back_for(database: &NeonDatabase, migration: &str) -> bool {
    let publish = database.spec.publish.as_ref();
    let after = publish.and_then(|publish| publish.after.as_ref());
    after.is_some_and(|after| {
        let mut refs = after.migration_refs.iter();
        refs.any(|asked| asked.name.0 == migration)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn database(name: &str, branch: &Value, status: &Value) -> NeonDatabase {
        let object = json!({
            "apiVersion": "sepulki.dev/v1alpha1", "kind": "NeonDatabase",
            "metadata": {"name": name, "namespace": "team", "uid": name, "generation": 1},
            "spec": {"projectId": "p", "environment": "development", "branch": branch},
            "status": status,
        });
        serde_json::from_value(object).unwrap()
    }

    fn migration(name: &str, of: &str, status: &Value) -> SepulkiMigration {
        let object = json!({
            "apiVersion": "sepulki.dev/v1alpha1", "kind": "SepulkiMigration",
            "metadata": {"name": name, "namespace": "team", "uid": name, "generation": 1},
            "spec": {"databaseRef": {"name": of}, "source": {"inline": []}},
            "status": status,
        });
        serde_json::from_value(object).unwrap()
    }

    fn unsettled() -> Value {
        json!({"observedGeneration": 1})
    }

    fn settled() -> Value {
        let ready = json!({"type": "Ready", "status": "True", "reason": "Succeeded", "message": "",
                           "lastTransitionTime": "2026-12-01T00:00:00Z"});
        json!({"observedGeneration": 1, "conditions": [ready]})
    }

    fn change(what: What) -> Change {
        Change {
            namespace: Some("team".into()),
            uid: "changed".into(),
            what,
        }
    }

    #[test]
    fn a_parent_wakes_its_children_and_those_without_a_parent_yet() {
        let of = |name: &str| json!({"parent": {"databaseRef": {"name": name}}});
        let resolved = |name: &str| json!({"observedGeneration": 1, "effective": {"parent": {"databaseRef": {"name": name}}, "deletionPolicy": "Delete"}});
        let staging = change(What::Database("staging".into()));
        for (branch, status, woken) in [
            (of("staging"), unsettled(), true),
            // it lists no databases, so it has those of its parent
            (of("staging"), settled(), true),
            (json!({}), settled(), false),
            (of("production"), unsettled(), false),
            (
                json!({"parent": {"branchName": "staging"}}),
                unsettled(),
                false,
            ),
            (json!({}), unsettled(), true),
            (json!({}), resolved("staging"), true),
            (json!({}), resolved("production"), false),
        ] {
            let child = database("child", &branch, &status);
            assert_eq!(
                staging.concerns_database(&child),
                woken,
                "{branch} {status}"
            );
            let mut abroad = child;
            abroad.metadata.namespace = Some("elsewhere".into());
            assert!(!staging.concerns_database(&abroad));
        }
    }

    fn project(name: &str, status: &Value) -> NeonProject {
        let object = json!({
            "apiVersion": "sepulki.dev/v1alpha1", "kind": "NeonProject",
            "metadata": {"name": name, "uid": name, "generation": 1},
            "spec": {"projectId": "p", "apiKeySecretRef": {"namespace": "keys"}},
            "status": status,
        });
        serde_json::from_value(object).unwrap()
    }

    fn abroad(refers: &str, reason: &str) -> NeonDatabase {
        let condition = json!({"type": "Ready", "status": "False", "reason": reason, "message": "",
                               "lastTransitionTime": "2026-12-01T00:00:00Z"});
        let status = json!({"observedGeneration": 1, "conditions": [condition]});
        let mut database = database("preview", &json!({}), &status);
        database.metadata.namespace = Some("elsewhere".into());
        database.spec.project_id = None;
        database.spec.project_ref = serde_json::from_value(json!({"name": refers})).unwrap();
        database
    }

    #[test]
    fn a_neonproject_wakes_those_that_refer_to_it_wherever_they_are() {
        let mut sea = change(What::Project("sea".into()));
        sea.namespace = None;
        assert!(sea.concerns_database(&abroad("sea", "ProjectNotReady")));
        assert!(!sea.concerns_database(&abroad("lake", "ProjectNotReady")));
        assert!(!sea.concerns_migration(&migration("m", "sea", &unsettled())));
        assert!(sea.concerns_project(&project("rival", &unsettled())));
        assert!(!sea.concerns_project(&project("rival", &settled())));
        assert!(!sea.concerns_project(&project("changed", &unsettled())));
    }

    #[test]
    fn what_is_gone_leaves_room_and_lets_its_neonproject_go() {
        let gone = change(What::Gone("staging".into()));
        assert!(gone.concerns_database(&abroad("sea", "NoRoom")));
        assert!(!gone.concerns_database(&abroad("sea", "ParentNotReady")));
        let mut going = project("sea", &settled());
        assert!(!gone.concerns_project(&going));
        going.metadata.deletion_timestamp =
            serde_json::from_value(json!("2026-12-01T00:00:00Z")).unwrap();
        assert!(gone.concerns_project(&going));
        let other = change(What::Database("staging".into()));
        assert!(!other.concerns_project(&going));
    }

    #[test]
    fn an_environment_and_its_migrations_wake_each_other() {
        let staging = change(What::Database("staging".into()));
        assert!(staging.concerns_migration(&migration("m", "staging", &settled())));
        assert!(!staging.concerns_migration(&migration("m", "production", &unsettled())));
        let applied = change(What::Migration {
            name: "files".into(),
            of: "staging".into(),
            asks_for_reset: false,
        });
        let asking = change(What::Migration {
            name: "files".into(),
            of: "staging".into(),
            asks_for_reset: true,
        });
        let at_rest = database("staging", &json!({}), &settled());
        assert!(asking.concerns_database(&at_rest) && !applied.concerns_database(&at_rest));
        assert!(applied.concerns_database(&database("staging", &json!({}), &unsettled())));
        assert!(!applied.concerns_database(&database("other", &json!({}), &unsettled())));
        let mut lacking = settled();
        let missing = json!({"names": ["robots"], "appliedFiles": 0});
        lacking["databases"] = json!([{"name": "app", "owner": "o", "missingSchemas": missing}]);
        assert!(applied.concerns_database(&database("staging", &json!({}), &lacking)));
        assert!(!applied.concerns_database(&database("other", &json!({}), &lacking)));
        let mut holding = database("other", &json!({}), &settled());
        let after = json!({"after": {"migrationRefs": [{"name": "files"}]}});
        holding.spec.publish = serde_json::from_value(after).unwrap();
        assert!(applied.concerns_database(&holding));
        // a rival of the same ledger
        assert!(applied.concerns_migration(&migration("m", "staging", &unsettled())));
        assert!(!applied.concerns_migration(&migration("m", "staging", &settled())));
        assert!(!applied.concerns_migration(&migration("changed", "staging", &unsettled())));
        // one that has to come after it, wherever it goes
        let mut after = migration("m", "production", &unsettled());
        assert!(!applied.concerns_migration(&after));
        let requires = json!([{"migrationRef": {"name": "files"}}]);
        after.spec.requires = serde_json::from_value(requires).unwrap();
        assert!(applied.concerns_migration(&after));
    }

    #[test]
    fn what_is_gone_wakes_who_waits_for_anything_here_and_who_is_going_anywhere() {
        let gone = change(What::Gone("staging".into()));
        let of = json!({"parent": {"branchName": "main"}});
        assert!(gone.concerns_database(&database("a", &of, &unsettled())));
        assert!(!gone.concerns_database(&database("a", &of, &settled())));
        let mut going = database("a", &of, &settled());
        going.metadata.namespace = Some("elsewhere".into());
        going.metadata.deletion_timestamp =
            serde_json::from_value(json!("2026-12-01T00:00:00Z")).unwrap();
        assert!(gone.concerns_database(&going));
        assert!(gone.concerns_migration(&migration("m", "staging", &settled())));
        assert!(gone.concerns_migration(&migration("m", "other", &unsettled())));
        assert!(!gone.concerns_migration(&migration("m", "other", &settled())));
    }
}
