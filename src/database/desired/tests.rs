//! Specs and what they ask.

use serde_json::{Value, json};

use super::*;
use crate::database::fixtures::object;
use crate::postgres::roles::Shape;

fn desired(environment: Environment, spec: Value) -> Desired {
    Desired::of(&object(environment, spec), "default")
}

fn asked(spec: Value) -> Rest {
    desired(Environment::Staging, spec).rest.unwrap()
}

fn refused(environment: Environment, spec: Value) -> String {
    let block = desired(environment, spec).rest.unwrap_err();
    assert_eq!(block.reason, Reason::InvalidSpec);
    block.message
}

fn secret(name: &str, role: &str, database: &str) -> WantedSecret {
    WantedSecret {
        name: name.into(),
        role: role.into(),
        database: database.into(),
        template: Template::default(),
    }
}

#[test]
fn lengths_of_time() {
    let rows = [
        ("90s", Some(90)),
        ("5m", Some(300)),
        ("72h", Some(259_200)),
        ("14d", Some(1_209_600)),
        ("999999999d", Some(86_399_999_913_600)),
        ("9223372036854775807d", None),
        ("", None),
        ("s", None),
        ("5", None),
        ("5w", None),
        ("5m30s", None),
        ("é", None),
    ];
    for (text, seconds) in rows {
        match (duration("spec.x", text), seconds) {
            (Ok(found), Some(seconds)) => assert_eq!(found.as_secs(), seconds, "{text}"),
            (Err(block), None) => assert_eq!(
                block.message,
                format!("spec.x: {text} is not a length of time such as 90s, 5m, 72h or 14d")
            ),
            (found, _) => panic!("{text}: {found:?}"),
        }
    }
}

#[test]
fn defaults_of_each_environment() {
    use Environment::{Development, Preview, Production, Staging};
    use SuspendAfter::{Never, Seconds};
    let lease = SignedDuration::from_hours(72);
    let small = ((0.25, 1.0), Seconds(300), false);
    let rows = [
        (
            Production,
            ((0.5, 4.0), Never, true),
            None,
            DeletionPolicy::Retain,
        ),
        (Staging, small, None, DeletionPolicy::Retain),
        (Development, small, None, DeletionPolicy::Delete),
        (Preview, small, Some(lease), DeletionPolicy::Delete),
    ];
    for (environment, (units, suspend, protected), lease, policy) in rows {
        let desired = desired(environment, json!({}));
        let name = format!("{}/team/it", environment.as_str());
        assert_eq!(desired.branch_name, name);
        assert_eq!(desired.deletion_policy(None), policy, "{name}");
        let rest = desired.rest.unwrap();
        assert_eq!(rest.compute.units, Setting::of(None, units), "{name}");
        assert_eq!(
            rest.compute.suspend_after,
            Setting::of(None, suspend),
            "{name}"
        );
        assert_eq!(
            rest.protected,
            Setting {
                value: protected,
                explicit: false
            },
            "{name}"
        );
        assert_eq!(rest.lease.value, lease, "{name}");
    }
}

#[test]
fn the_spec_wins_over_the_profile() {
    let rest = asked(json!({
        "branch": {"protected": true},
        "compute": {"minCU": 1.0, "maxCU": 2.0, "suspendAfter": "never"},
    }));
    assert_eq!(
        rest.protected,
        Setting {
            value: true,
            explicit: true
        }
    );
    assert_eq!(
        rest.compute.units,
        Setting::of(Some((1.0, 2.0)), (0.0, 0.0))
    );
    let suspend_after = rest.compute.suspend_after;
    assert_eq!(
        (suspend_after.value, suspend_after.explicit),
        (SuspendAfter::Never, true)
    );
    let suspend = |text: &str| {
        let rest = asked(json!({"compute": {"suspendAfter": text}}));
        rest.compute.suspend_after.value
    };
    assert_eq!(suspend("default"), SuspendAfter::Default);
    assert_eq!(suspend("2m"), SuspendAfter::Seconds(120));
}

#[test]
fn a_lease_gives_way_to_what_excludes_it_unless_the_spec_says_it() {
    let lease = |spec| {
        desired(Environment::Preview, spec)
            .rest
            .unwrap()
            .lease
            .value
    };
    let hours = |n| Some(SignedDuration::from_hours(n));
    let rows = [
        (json!({}), hours(72)),
        (json!({"branch": {"lease": "24h"}}), hours(24)),
        (json!({"branch": {"lease": "never"}}), None),
        (json!({"branch": {"protected": true}}), None),
        (json!({"branch": {"existing": {"name": "x"}}}), None),
        (json!({"deletionPolicy": "Retain"}), None),
    ];
    for (spec, expected) in rows {
        assert_eq!(lease(spec.clone()), expected, "{spec}");
    }
    let staging = json!({"branch": {"lease": "24h"}, "deletionPolicy": "Delete"});
    assert_eq!(asked(staging).lease.value, hours(24));
}

#[test]
fn a_lease_that_a_profile_excludes_is_refused() {
    let lease = || json!({"branch": {"lease": "24h"}});
    assert_eq!(
        refused(Environment::Staging, lease()),
        "spec.branch.lease: the deletion policy of a staging is Retain, and Neon would delete the branch when nobody \
         renews the lease: set spec.deletionPolicy to Delete"
    );
    let protected = json!({"branch": {"lease": "24h"}, "deletionPolicy": "Delete"});
    assert_eq!(
        refused(Environment::Production, protected),
        "spec.branch.lease: a production is protected, and Neon allows no expiry on a protected branch: set \
         spec.branch.protected to false"
    );
}

#[test]
fn a_lease_on_the_default_branch_is_refused() {
    let spec = json!({"branch": {"lease": "24h", "protected": false}, "deletionPolicy": "Delete"});
    assert_eq!(
        refused(Environment::Production, spec),
        "spec.branch.lease: a production takes over the project's default branch, which Neon never lets expire: set \
         spec.branch.parent"
    );
}

#[test]
fn a_max_age_gives_way_to_what_excludes_it_unless_the_spec_says_it() {
    let max_age = |spec| desired(Environment::Preview, spec).max_age;
    let hours = |n| Some(SignedDuration::from_hours(n));
    let rows = [
        (json!({}), hours(14 * 24)),
        (json!({"branch": {"maxAge": "24h"}}), hours(24)),
        (json!({"branch": {"maxAge": "never"}}), None),
        (json!({"branch": {"protected": true}}), None),
        (json!({"branch": {"existing": {"name": "x"}}}), None),
        (json!({"deletionPolicy": "Retain"}), None),
    ];
    for (spec, expected) in rows {
        assert_eq!(max_age(spec.clone()), expected, "{spec}");
    }
    let aged = |more: Value| {
        let mut spec = json!({"branch": {"maxAge": "24h"}});
        for (key, value) in more.as_object().unwrap() {
            spec["branch"][key] = value.clone();
        }
        spec
    };
    let mut deleted = aged(json!({}));
    deleted["deletionPolicy"] = json!("Delete");
    let unprotected = {
        let mut spec = aged(json!({"protected": false}));
        spec["deletionPolicy"] = json!("Delete");
        spec
    };
    for (environment, spec, way_out) in [
        (
            Environment::Staging,
            aged(json!({})),
            "spec.deletionPolicy to Delete",
        ),
        (
            Environment::Production,
            deleted,
            "spec.branch.protected to false",
        ),
        (Environment::Production, unprotected, "spec.branch.parent"),
    ] {
        let message = refused(environment, spec);
        assert!(message.starts_with("spec.branch.maxAge: "), "{message}");
        assert!(message.ends_with(way_out), "{message}");
    }
}

#[test]
fn what_to_do_about_a_branch_that_is_gone_is_the_specs_word_or_the_profiles() {
    use crate::api::ExternalDeletionAction::{Recreate, Stall};
    let action = |environment, spec| desired(environment, spec).on_external_deletion;
    assert_eq!(action(Environment::Staging, json!({})), Stall);
    assert_eq!(action(Environment::Preview, json!({})), Recreate);
    let asked = |word: &str| json!({"onExternalDeletion": {"action": word}});
    assert_eq!(action(Environment::Staging, asked("Recreate")), Recreate);
    assert_eq!(action(Environment::Preview, asked("Stall")), Stall);
}

#[test]
fn secrets_that_are_asked_for() {
    let two =
        json!([{"name": "web", "access": "ReadWrite"}, {"name": "report", "access": "ReadOnly"}]);
    let both = json!([{"name": "app"}, {"name": "jobs"}]);
    let rows = [
        // the default: one, where there is no doubt
        (json!({}), vec![secret("it", "web", "app")]),
        (json!({"roles": two}), vec![secret("it", "web", "app")]),
        (json!({"databases": both}), vec![]),
        (
            json!({"roles": [{"name": "report", "access": "ReadOnly"}]}),
            vec![],
        ),
        (
            json!({"roles": [{"name": "web", "access": "ReadWrite"}, {"name": "api", "access": "ReadWrite"}]}),
            vec![],
        ),
        // named, with what is left out filled in where it is clear
        (
            json!({"connectionSecrets": [{"name": "s"}]}),
            vec![secret("s", "web", "app")],
        ),
        (
            json!({"roles": two, "connectionSecrets": [{"name": "s", "role": "report"}, {"name": "t"}]}),
            vec![secret("s", "report", "app"), secret("t", "web", "app")],
        ),
        (
            json!({"databases": both, "connectionSecrets": [{"name": "s", "database": "jobs"}]}),
            vec![secret("s", "web", "jobs")],
        ),
        (
            json!({"databases": both, "roles": [{"name": "web", "access": "ReadWrite", "databases": ["jobs"]}],
                   "connectionSecrets": [{"name": "s"}]}),
            vec![secret("s", "web", "jobs")],
        ),
    ];
    for (spec, expected) in rows {
        assert_eq!(asked(spec.clone()).secrets, expected, "{spec}");
    }
}

#[test]
fn a_secret_that_is_out_keeps_what_it_was_resolved_to() {
    let both = json!([{"name": "app"}, {"name": "jobs"}]);
    let writers =
        json!([{"name": "api", "access": "ReadWrite"}, {"name": "web", "access": "ReadWrite"}]);
    let elsewhere = json!([{"name": "web", "access": "ReadWrite", "databases": ["jobs"]}]);
    let named = json!([{"name": "it"}]);
    let (kept, none) = (vec![secret("it", "web", "app")], Vec::new());
    let rows = [
        (json!({"databases": both}), kept.clone()),
        (json!({"roles": writers}), kept.clone()),
        (json!({"databases": both, "roles": writers}), kept.clone()),
        (
            json!({"databases": both, "roles": writers, "connectionSecrets": named}),
            kept,
        ),
        // what it was resolved to is gone
        (
            json!({"databases": [{"name": "jobs"}]}),
            vec![secret("it", "web", "jobs")],
        ),
        (
            json!({"databases": [{"name": "jobs"}, {"name": "more"}]}),
            none.clone(),
        ),
        (json!({"databases": both, "roles": elsewhere}), none),
    ];
    for (spec, expected) in rows {
        let mut object = object(Environment::Staging, spec.clone());
        let out = json!([{"name": "it", "role": "web", "database": "app", "login": "web_g1"}]);
        object.status = serde_json::from_value(json!({"connectionSecrets": out})).unwrap();
        let rest = Desired::of(&object, "default").rest.unwrap();
        assert_eq!(rest.secrets, expected, "{spec}");
    }
}

#[test]
fn secrets_that_cannot_be_known() {
    let both = json!([{"name": "app"}, {"name": "jobs"}]);
    let rows = [
        (
            json!({"connectionSecrets": [{"name": "s", "role": "nobody"}]}),
            "spec.connectionSecrets[0].role: nobody is not in spec.roles",
        ),
        (
            json!({"roles": [{"name": "a", "access": "ReadWrite"}, {"name": "b", "access": "ReadWrite"}],
                   "connectionSecrets": [{"name": "s"}]}),
            "spec.connectionSecrets[0].role: must be named, because 2 roles are ReadWrite",
        ),
        (
            json!({"databases": both, "connectionSecrets": [{"name": "s"}]}),
            "spec.connectionSecrets[0].database: must be named, because the role web may enter 2 databases",
        ),
        (
            json!({"databases": both, "roles": [{"name": "web", "access": "ReadWrite", "databases": ["jobs"]}],
                   "connectionSecrets": [{"name": "r", "database": "jobs"}, {"name": "s", "database": "app"}]}),
            "spec.connectionSecrets[1].database: the role web may not enter app",
        ),
        (
            json!({"connectionSecrets": [{"name": "s", "template": {"data": {"PGUSER": "me"}}}]}),
            "spec.connectionSecrets[0].template.data.PGUSER: every connection Secret has this key already; choose another one",
        ),
    ];
    for (spec, message) in rows {
        assert_eq!(
            refused(Environment::Staging, spec.clone()),
            message,
            "{spec}"
        );
    }
}

#[test]
fn names_that_roles_cannot_have() {
    let role = |name: &str| json!({"roles": [{"name": name, "access": "ReadOnly"}]});
    for name in [
        "pg_read_all_data",
        "neon_superuser",
        "cloud_admin",
        "public",
    ] {
        assert_eq!(
            refused(Environment::Staging, role(name)),
            format!("spec.roles[0].name: {name} is reserved")
        );
    }
    // bytes, not characters: the schema counts characters
    assert_eq!(
        refused(Environment::Staging, role(&"é".repeat(30))),
        "spec.roles[0].name: longer than 58 bytes, which leaves no room for logins"
    );
    assert_eq!(asked(role(&"e".repeat(58))).roles[0].name.len(), 58);
    let owner = json!({"databases": [{"name": "app", "owner": "boss"}], "roles": [{"name": "boss", "access": "Admin"}]});
    assert_eq!(
        refused(Environment::Staging, owner),
        "spec.roles[0].name: boss owns the database app; an application role cannot be an owner"
    );
}

#[test]
fn what_roles_cannot_ask_for() {
    let role = |more: Value| {
        let mut role = json!({"name": "web", "access": "ReadOnly"});
        role.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        json!({"roles": [role]})
    };
    let rows = [
        (
            json!({"schemas": ["app", "pg_toast"]}),
            "spec.roles[0].schemas: pg_toast belongs to PostgreSQL",
        ),
        (
            json!({"schemas": ["information_schema"]}),
            "spec.roles[0].schemas: information_schema belongs to PostgreSQL",
        ),
        (
            json!({"settings": {"Role": "boss"}}),
            "spec.roles[0].settings.Role: sessions become the role by it, so it cannot be set",
        ),
        (
            json!({"settings": {"": "x"}}),
            "spec.roles[0].settings: a name is of 1 to 63 bytes, unlike \"\"",
        ),
    ];
    for (more, message) in rows {
        assert_eq!(refused(Environment::Staging, role(more)), message);
    }
}

#[test]
fn how_often_logins_are_replaced() {
    use Environment::{Preview, Production};

    let role = |more: Value| {
        let mut role = json!({"name": "web", "access": "ReadOnly"});
        role.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        json!({"roles": [role]})
    };
    let (hours, never) = (SignedDuration::from_hours, None);
    let given =
        |every: &str, overlap: &str| json!({"rotation": {"every": every, "overlap": overlap}});
    for (environment, spec, every, overlap) in [
        (Production, json!({}), Some(hours(90 * 24)), hours(24)),
        (Preview, json!({}), never, hours(24)),
        (
            Production,
            json!({"rotation": {"every": "never"}}),
            never,
            hours(24),
        ),
        (
            Preview,
            json!({"rotation": {"every": "30d"}}),
            Some(hours(720)),
            hours(24),
        ),
        (
            Preview,
            json!({"rotation": {"every": "10h"}}),
            Some(hours(10)),
            hours(5),
        ),
        (Preview, given("10h", "9h"), Some(hours(10)), hours(9)),
        (Preview, given("never", "9h"), never, hours(9)),
    ] {
        let rest = desired(environment, role(spec.clone())).rest.unwrap();
        let rotation = rest.roles[0].rotation;
        assert_eq!(
            (rotation.every, rotation.overlap),
            (every, overlap),
            "{spec}"
        );
    }
    for (every, overlap) in [("10h", "10h"), ("1h", "1d")] {
        assert_eq!(
            refused(Preview, role(given(every, overlap))),
            "spec.roles[0].rotation.overlap: must be less than every, so that no more than two logins work at a time"
        );
    }
    let from = json!({"passwordSecretRef": {"name": "s", "key": "k"}});
    let production = desired(Production, role(from.clone())).rest.unwrap();
    assert_eq!(
        production.roles[0].rotation.every, None,
        "of the user's own"
    );
    let mut both = from;
    both["rotation"] = json!({"every": "30d"});
    assert_eq!(
        refused(Production, role(both)),
        "spec.roles[0].rotation: the password comes from passwordSecretRef and is replaced there"
    );
    let too_long = given("never", "999999999d");
    assert!(desired(Preview, role(too_long)).rest.is_ok());
}

#[test]
fn a_role_works_in_public_unless_it_lists_schemas() {
    let role = |spec: Value| asked(json!({"roles": [spec]})).roles.remove(0);
    let plain = role(json!({"name": "web", "access": "ReadOnly"}));
    assert_eq!(plain.schemas, ["public"]);
    assert_eq!(plain.shape(), Shape::default());
    let full = role(json!({
        "name": "web", "access": "ReadOnly", "schemas": ["app", "reports"], "connectionLimit": 7,
        "settings": {"statement_timeout": "30s"},
    }));
    assert_eq!(full.schemas, ["app", "reports"]);
    let shape = full.shape();
    assert_eq!(shape.connection_limit, Some(7));
    assert_eq!(shape.settings["statement_timeout"], "30s");
}

#[test]
fn an_owner_that_is_made_for_a_database_is_no_application_role_either() {
    let default = json!({"roles": [{"name": "app_owner", "access": "Admin"}]});
    assert_eq!(
        refused(Environment::Staging, default),
        "spec.roles[0].name: app_owner owns the database app; an application role cannot be an owner"
    );
}

#[test]
fn roles_enter_the_databases_they_list_or_all() {
    let spec = json!({
        "databases": [{"name": "app"}, {"name": "jobs", "owner": "boss"}],
        "roles": [{"name": "all", "access": "ReadOnly"}, {"name": "one", "access": "Admin", "databases": ["jobs"]}],
    });
    let rest = asked(spec);
    assert_eq!(rest.roles[0].databases, ["app", "jobs"]);
    assert_eq!(rest.roles[1].databases, ["jobs"]);
    assert_eq!(rest.databases[0].owner_if_new(), "app_owner");
    assert_eq!(rest.databases[1].owner_if_new(), "boss");
}

#[test]
fn the_deletion_policy_is_the_specs_then_the_record_then_the_profiles() {
    use DeletionPolicy::{Delete, Retain};
    let preview = |spec| desired(Environment::Preview, spec);
    assert_eq!(preview(json!({})).deletion_policy(None), Delete);
    assert_eq!(preview(json!({})).deletion_policy(Some(Retain)), Retain);
    let explicit = preview(json!({"deletionPolicy": "Delete"}));
    assert_eq!(explicit.deletion_policy(Some(Retain)), Delete);
}

#[test]
fn what_is_inside_is_known_by_its_digest() {
    let digest = |spec, branch, life| asked(spec).content_digest(branch, life);
    let one = digest(json!({}), "br-1", "a");
    assert_eq!(one, digest(json!({}), "br-1", "a"));
    // what is outside of the branch does not count
    assert_eq!(
        one,
        digest(json!({"compute": {"suspendAfter": "never"}}), "br-1", "a")
    );
    let others = [
        digest(json!({}), "br-2", "a"),
        digest(json!({}), "br-1", "b"),
        digest(
            json!({"databases": [{"name": "app", "extensions": [{"name": "pg_trgm"}]}]}),
            "br-1",
            "a",
        ),
        digest(
            json!({"databases": [{"name": "app", "extensions": [{"name": "pg_trgm", "schema": "tools"}]}]}),
            "br-1",
            "a",
        ),
        digest(
            json!({"databases": [{"name": "app", "extensions": [{"name": "pg_trgm", "version": "1.5"}]}]}),
            "br-1",
            "a",
        ),
        digest(
            json!({"databases": [{"name": "app", "owner": "boss"}]}),
            "br-1",
            "a",
        ),
        digest(
            json!({"roles": [{"name": "web", "access": "Admin"}]}),
            "br-1",
            "a",
        ),
        digest(
            json!({"roles": [{"name": "web", "access": "ReadWrite", "schemas": ["app"]}]}),
            "br-1",
            "a",
        ),
        digest(
            json!({"roles": [{"name": "web", "access": "ReadWrite", "connectionLimit": 9}]}),
            "br-1",
            "a",
        ),
        digest(
            json!({"roles": [{"name": "web", "access": "ReadWrite", "settings": {"work_mem": "8MB"}}]}),
            "br-1",
            "a",
        ),
        // a role that loses its only Secret loses its login
        digest(
            json!({"roles": [{"name": "web", "access": "ReadWrite"}, {"name": "api", "access": "ReadWrite"}]}),
            "br-1",
            "a",
        ),
    ];
    for other in others {
        assert_ne!(one, other);
    }
}
