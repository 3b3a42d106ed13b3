//! Stories to be disturbed: how the world is before, what somebody does then, and how it has to end.

use sepulki::api::{DeletionPolicy, RESET, Reason, RotationSpec, SepulkiMigration};
use sepulki::reconcile::Conditions;
use serde_json::{Value, json};

use crate::database::stalled;
use crate::given::{give, with_given_password};
use crate::invariants::{branch_of, check, check_gone};
use crate::project::{PREVIEWS, sea_with_a_preview};
use crate::scene::{FILES, everything, preview_with_a_migration, production_and_preview};
use crate::world::faults::Fault;
use crate::world::neon::Project;
use crate::world::operator::Operator;
use crate::world::{NAMESPACE, Sim};

#[derive(Clone, Copy)]
pub struct Story {
    pub name: &'static str,
    pub before: fn(&Sim),
    /// What somebody does once that world has come to rest.
    pub change: fn(&Sim),
    /// Minutes until the operator notices what nobody tells it: Neon is listed once a minute and a listing may be a
    /// minute old, Secrets are looked at every ten minutes.
    pub noticed: i64,
    pub check: fn(&Operator),
}

pub const EVERYTHING: Story = Story {
    name: "all environments come up",
    before: |_| (),
    change: everything,
    noticed: 0,
    check: |operator| check(&operator.sim, &FILES),
};

const MORE_FILES: [(&str, &str); 3] = [
    FILES[0],
    FILES[1],
    ("003_arms.sql", "CREATE TABLE arms (id bigint PRIMARY KEY);"),
];

/// The same two files, of which the second was edited.
pub const EDITED_FILES: [(&str, &str); 2] = [
    FILES[0],
    ("002_names.sql", "ALTER TABLE robots ADD COLUMN names text;"),
];

pub const BY_ANNOTATION: &str = "a preview is reset because somebody asks for it";

pub const STORIES: [Story; 20] = [
    Story {
        name: "production and a preview come up",
        before: |_| (),
        change: production_and_preview,
        noticed: 0,
        check: |operator| check(&operator.sim, &FILES),
    },
    Story {
        name: "a NeonProject comes up with production and a preview without a key",
        before: |_| (),
        change: sea_with_a_preview,
        // a password that was reset by a process that died then is valid when Neon is done
        noticed: 1,
        check: |operator| check(&operator.sim, &FILES),
    },
    Story {
        name: "a history that was there before is tried on a copy of the branch",
        before: production_and_preview,
        change: |sim| sim.edit_migration("production", verified),
        // a copy that comes late is seen the next time that the files are looked at
        noticed: 11,
        check: |operator| {
            check(&operator.sim, &FILES);
            let migration = operator.sim.get_migration("production").unwrap();
            assert_eq!(migration.metadata.finalizers.unwrap_or_default(), [""; 0]);
            let adoption = migration.status.unwrap().adoption.unwrap();
            assert_eq!(adoption.scratch, None);
            assert_eq!(adoption.verdict.unwrap().consistent, 2);
        },
    },
    Story {
        name: "settings of a NeonProject change",
        before: sea_with_a_preview,
        change: |sim| {
            sim.edit_project("sea", |sea| {
                let settings = json!({"historyRetention": "2d", "allowedIPs": ["203.0.113.0/24"]});
                sea.spec.settings = serde_json::from_value(settings).unwrap();
            });
        },
        noticed: 0,
        check: |operator| {
            check(&operator.sim, &FILES);
            operator.sim.at_neon(|project, _| {
                assert_eq!(project.history_retention_seconds, 2 * 86_400);
                let ips = project.settings.allowed_ips.clone().unwrap().ips;
                assert_eq!(ips, ["203.0.113.0/24"]);
                let quota = project.settings.quota.clone().unwrap();
                assert_eq!(quota.active_time_seconds, Some(500 * 3600));
            });
        },
    },
    Story {
        name: "a NeonProject is deleted together with what uses it",
        before: sea_with_a_preview,
        change: |sim| {
            let now = sim.now();
            let mut state = sim.lock();
            state.kubernetes.migrations.clear();
            state.kubernetes.delete_project("sea", now);
            for (namespace, name) in [(PREVIEWS, "preview"), (NAMESPACE, "production")] {
                let key = (namespace.to_owned(), name.to_owned());
                state.kubernetes.delete_database(&key, now);
            }
        },
        noticed: 0,
        check: |operator| {
            check_gone(&operator.sim, "production", true);
            assert_eq!(operator.sim.branch_names(), ["main"]);
            assert_eq!(operator.sim.get_project("sea"), None);
        },
    },
    Story {
        name: "a compute gets another size and settings",
        before: production_and_preview,
        change: |sim| {
            sim.edit_database("pr-7", |preview| {
                let compute = json!({"minCU": 0.5, "maxCU": 1.5, "settings": {"work_mem": "64MB"}});
                preview.spec.compute = serde_json::from_value(compute).unwrap();
            });
        },
        noticed: 3,
        check: |operator| {
            check(&operator.sim, &FILES);
            let preview = operator.sim.get_database("pr-7").unwrap();
            let state = operator.sim.lock();
            let endpoint = &branch_of(&state, &preview)
                .endpoint
                .as_ref()
                .unwrap()
                .endpoint;
            assert!((endpoint.autoscaling_limit_max_cu - 1.5).abs() < 0.01);
            let settings = endpoint.pg_settings();
            assert_eq!(settings["work_mem"], "64MB");
        },
    },
    Story {
        name: "a read replica comes, another one goes, and a third gets another size",
        before: |sim| {
            production_and_preview(sim);
            read_replicas(
                sim,
                json!([{"name": "leaves"}, {"name": "stays", "suspendAfter": "5m"}]),
            );
        },
        change: |sim| {
            let stays = json!({"name": "stays", "minCU": 0.5, "maxCU": 2});
            read_replicas(sim, json!([stays, {"name": "comes"}]));
        },
        noticed: 3,
        check: |operator| check(&operator.sim, &FILES),
    },
    Story {
        name: "another file comes",
        before: production_and_preview,
        change: |sim| sim.files(&MORE_FILES),
        noticed: 0,
        check: |operator| check(&operator.sim, &MORE_FILES),
    },
    Story {
        name: "a preview is reset to its parent",
        before: production_and_preview,
        change: |sim| {
            sim.at_neon(|project, now| {
                let id = project.branches[1].branch.id.clone();
                project.reset_to_parent(&id, now);
            });
        },
        noticed: 3,
        check: |operator| check(&operator.sim, &FILES),
    },
    Story {
        name: "a preview's branch is deleted outside",
        before: production_and_preview,
        change: |sim| {
            sim.at_neon(|project, _| project.branches.truncate(1));
        },
        noticed: 3,
        check: |operator| check(&operator.sim, &FILES),
    },
    Story {
        name: "a preview's branch is renamed outside",
        before: production_and_preview,
        change: |sim| {
            sim.at_neon(|project, _| project.branches[1].branch.name = "mine".into());
        },
        noticed: 3,
        check: |operator| {
            check(&operator.sim, &FILES);
            assert_eq!(operator.sim.branch_names(), ["main", "preview/team/pr-7"]);
        },
    },
    Story {
        name: "a Secret is edited and another one deleted",
        before: production_and_preview,
        change: |sim| {
            sim.edit_secret("production", "PGPASSWORD", "mine");
            let key = (NAMESPACE.to_owned(), "pr-7".to_owned());
            sim.lock().kubernetes.secrets.remove(&key);
        },
        noticed: 11,
        check: |operator| check(&operator.sim, &FILES),
    },
    Story {
        name: "a preview is deleted with its migration",
        before: production_and_preview,
        change: |sim| {
            let key = (NAMESPACE.to_owned(), "pr-7".to_owned());
            sim.lock().kubernetes.migrations.remove(&key);
            sim.delete_database("pr-7");
        },
        noticed: 0,
        check: |operator| {
            check_gone(&operator.sim, "pr-7", false);
            check(&operator.sim, &FILES);
        },
    },
    Story {
        name: "an applied file of a preview is edited",
        before: preview_with_a_migration,
        change: |sim| sim.files(&EDITED_FILES),
        noticed: 5,
        check: |operator| {
            check(&operator.sim, &EDITED_FILES);
            let resets = operator
                .sim
                .at_neon(|project, _| project.branches[1].resets);
            // what an operator has on its way to Neon when it is held up comes as well
            let most = 1 + usize::from(operator.sim.faults.is_planned(Fault::HeldUp));
            assert!(
                (1..=most).contains(&resets),
                "{resets} resets: {}",
                operator.story(60)
            );
            let migration = operator.sim.get_migration("pr-7").unwrap();
            assert!(migration.is_settled(), "{}", operator.story(30));
        },
    },
    Story {
        name: BY_ANNOTATION,
        before: production_and_preview,
        change: |sim| {
            let id = sim.at_neon(|project, _| project.branches[1].branch.id.clone());
            sim.annotate_database("pr-7", RESET, &format!("{id}@{}", sim.now()));
        },
        noticed: 5,
        check: |operator| {
            check(&operator.sim, &FILES);
            let reset = |project: &mut Project, _| project.branches[1].branch.last_reset_at;
            assert!(operator.sim.at_neon(reset).is_some());
        },
    },
    Story {
        name: "a preview reaches its maxAge",
        before: production_and_preview,
        change: |sim| {
            sim.lock().kubernetes.migrations.clear();
            sim.edit_database("pr-7", |object| {
                let branch = object.spec.branch.get_or_insert_default();
                branch.max_age = Some("5m".into());
            });
        },
        noticed: 10,
        check: |operator| {
            let sim = &operator.sim;
            stalled(&sim.get_database("pr-7").unwrap(), Reason::Expired);
            assert_eq!(sim.branch_names(), ["main"]);
            assert!(sim.secret("pr-7").is_none() && sim.secret("production").is_some());
        },
    },
    Story {
        name: "the login of a role is replaced",
        before: production_and_preview,
        change: |sim| {
            sim.edit_database("production", |object| {
                object.spec.roles[0].rotation = Some(RotationSpec {
                    every: "4m".into(),
                    overlap: Some("2m".into()),
                });
            });
        },
        noticed: 7,
        check: |operator| {
            check(&operator.sim, &FILES);
            let secret = operator.sim.secret("production").unwrap();
            assert_ne!(secret["PGUSER"], "web_g1");
            let object = operator.sim.get_database("production").unwrap();
            let state = operator.sim.lock();
            assert!(
                !branch_of(&state, &object)
                    .server
                    .roles
                    .contains_key("web_g1")
            );
        },
    },
    Story {
        name: "a password that is given for a role changes",
        before: |sim| {
            give(sim, "Correct-Horse-7-Battery");
            sim.database("production", "production", with_given_password());
        },
        change: |sim| give(sim, "Another-Horse-8-Staple"),
        noticed: 11,
        check: |operator| {
            check(&operator.sim, &[]);
            let secret = operator.sim.secret("production").unwrap();
            assert_eq!(secret["PGPASSWORD"], "Another-Horse-8-Staple");
        },
    },
    Story {
        name: "both are deleted and retained",
        before: production_and_preview,
        change: |sim| {
            sim.lock().kubernetes.migrations.clear();
            sim.edit_database("pr-7", |object| {
                object.spec.deletion_policy = Some(DeletionPolicy::Retain);
            });
            sim.delete_database("pr-7");
            sim.delete_database("production");
        },
        noticed: 0,
        check: |operator| {
            check_gone(&operator.sim, "pr-7", true);
            check_gone(&operator.sim, "production", true);
        },
    },
    Story {
        name: "the namespace goes, the key first",
        before: production_and_preview,
        change: |sim| {
            let now = sim.now();
            sim.lock().kubernetes.delete_namespace(NAMESPACE, now);
        },
        noticed: 0,
        check: nothing_is_left,
    },
];

/// What the ledger claims is to be found true first.
pub fn verified(migration: &mut SepulkiMigration) {
    let adopt = json!({"mode": "Verify"});
    migration.spec.adopt = serde_json::from_value(adopt).unwrap();
}

fn read_replicas(sim: &Sim, replicas: Value) {
    sim.edit_database("pr-7", |preview| {
        let compute = preview.spec.compute.get_or_insert_default();
        compute.read_replicas = serde_json::from_value(replicas).unwrap();
    });
}

/// Nothing is left in Kubernetes. A branch is left on Neon only where nobody had a key any more.
fn nothing_is_left(operator: &Operator) {
    let left = operator.sim.branch_names().len() - 1;
    let state = operator.sim.lock();
    assert!(state.kubernetes.databases.is_empty());
    assert!(state.kubernetes.namespaces.is_empty());
    assert!(state.kubernetes.secrets.is_empty());
    let told = operator
        .passes
        .iter()
        .filter(|p| p.contains("LeaveBehind"))
        .count();
    assert!(left <= 1 && (left == 0 || told > 0 || operator.crashes > 0));
}
