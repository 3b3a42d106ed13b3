//! Rows 19 to 27: inside of the branch.

#![expect(clippy::too_many_lines, reason = "a table, one entry after the other")]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Value, json};

use super::super::*;
use super::Answer::{Act, Blocked, Settled, Wait};
use super::{Row, Rows};
use crate::api::Credentials;
use crate::api::DeletionPolicy;
use crate::api::Environment;
use crate::api::MissingSchemas;
use crate::api::PlanLimit;
use crate::database::credentials::Found;
use crate::database::fixtures::{a_database, at, desired, object, recorded, settled};
use crate::database::inherit::Heritage;
use crate::database::password::Problem;
use crate::neon::Endpoint;
use crate::neon::EndpointState;
use crate::reconcile::Fact;

pub(super) fn rows() -> Vec<Row> {
    let staging = desired(Environment::Staging);
    let rows = compute_rows(Rows::from(staging.clone(), settled(&staging)));
    secret_rows(heritage_rows(contents_rows(rows))).table
}

fn compute_rows(rows: Rows) -> Rows {
    let change = |o: &mut Observed, change: fn(&mut Endpoint)| {
        if let Fact::Known(endpoint) = &mut o.endpoint {
            change(endpoint);
        }
    };
    // what was last asked, and what Neon made of it
    let sent = |o: &mut Observed, requested: Value, stored: Value| {
        let endpoint = o.recorded.endpoint.as_mut().unwrap();
        endpoint.requested = Some(serde_json::from_value(requested).unwrap());
        endpoint.stored = Some(serde_json::from_value(stored).unwrap());
    };
    let usual = json!({"minCU": 0.25, "maxCU": 1.0, "suspendAfter": "300s"});
    let shorter = json!({"minCU": 0.25, "maxCU": 1.0, "suspendAfter": "60s"});
    let explicit = |d: &mut Desired| {
        let spec = json!({"compute": {"suspendAfter": "5m"}});
        *d = Desired::of(&object(Environment::Staging, spec), "default");
    };
    let (by_profile, by_spec, changed) = (
        (usual.clone(), usual.clone()),
        (usual.clone(), usual.clone()),
        (usual.clone(), shorter),
    );
    // a compute that could not start, in these words
    let stands = |d: &mut Desired, o: &mut Observed, databases: &Value, words: &str| {
        let mut spec = json!({"compute": {"settings": {"work_mem": "lots"}}});
        if databases.is_array() {
            spec["databases"] = databases.clone();
            spec["roles"] = json!([]);
        }
        *d = Desired::of(&object(Environment::Staging, spec), "default");
        change(o, |e| {
            let settings = json!({"pg_settings": {"work_mem": "lots"}});
            e.settings = serde_json::from_value(settings).unwrap();
        });
        o.recorded.endpoint.as_mut().unwrap().failure = Some(words.to_owned());
    };
    let rows = rows
        .row(
            19,
            "the compute does not start with a setting",
            move |d, o| {
                stands(
                    d,
                    o,
                    &Value::Null,
                    "invalid value for parameter \"work_mem\"",
                );
            },
            Blocked(Reason::DatabaseRejected),
        )
        .row(
            19,
            "the compute does not start, nobody says why, and sessions will tell",
            move |d, o| stands(d, o, &Value::Null, "no room"),
            Settled,
        )
        .row(
            19,
            "the compute does not start, and nobody opens a session",
            move |d, o| {
                stands(d, o, &json!([]), "no room");
                o.recorded.connection_secrets.clear();
            },
            Blocked(Reason::OperationFailed),
        )
        .row(
            19,
            "the compute did not start with what was asked before",
            move |d, o| {
                stands(
                    d,
                    o,
                    &Value::Null,
                    "invalid value for parameter \"work_mem\"",
                );
                change(o, |e| e.settings = None);
            },
            Act(Action::ResizeCompute),
        )
        .row(
            26,
            "a setting that the server has refused",
            |d, _| {
                let why = crate::reconcile::Block {
                    reason: Reason::DatabaseRejected,
                    message: "no".into(),
                };
                d.left_out.settings.insert("work_mem".into(), why);
            },
            Blocked(Reason::DatabaseRejected),
        )
        .row(
            26,
            "a database that Neon has refused",
            |d, _| {
                let why = crate::reconcile::Block {
                    reason: Reason::DatabaseRejected,
                    message: "no".into(),
                };
                d.left_out.databases.insert("more".into(), why);
            },
            Blocked(Reason::DatabaseRejected),
        )
        .row(
            26,
            "another Secret than that of a refused database is out and not asked for",
            |d, o| {
                d.left_out.secrets = vec!["kept".into()];
                for name in ["kept", "old"] {
                    let mut out = o.recorded.connection_secrets[0].clone();
                    out.name = name.into();
                    o.recorded.connection_secrets.push(out);
                }
            },
            Act(Action::WithdrawSecrets(vec!["old".into()])),
        );
    rows.row(
        19,
        "no endpoint",
        |_, o| o.endpoint = Fact::Absent,
        Act(Action::CreateEndpoint),
    )
    .row(
        19,
        "endpoint unknown",
        |_, o| o.endpoint = Fact::Unknown,
        Wait(Reason::NeonUnavailable),
    )
    .row(
        19,
        "endpoint being made",
        |_, o| {
            change(o, |e| {
                e.current_state = EndpointState::Init;
                e.pending_state = Some(EndpointState::Active);
            });
        },
        Wait(Reason::OperationsRunning),
    )
    .row(
        19,
        "endpoint whose first start failed: a connection wakes it",
        |_, o| change(o, |e| e.current_state = EndpointState::Init),
        Settled,
    )
    .row(
        19,
        "another smallest size",
        |_, o| change(o, |e| e.autoscaling_limit_min_cu = 0.5),
        Act(Action::ResizeCompute),
    )
    .row(
        19,
        "another largest size",
        |_, o| change(o, |e| e.autoscaling_limit_max_cu = 2.0),
        Act(Action::ResizeCompute),
    )
    .row(
        19,
        "another suspend time",
        |_, o| change(o, |e| e.suspend_timeout_seconds = 60),
        Act(Action::ResizeCompute),
    )
    .row(
        19,
        "Neon's default suspend time is the same",
        |_, o| change(o, |e| e.suspend_timeout_seconds = 0),
        Settled,
    )
    .row(
        19,
        "Neon stores something else than was sent",
        move |d, o| {
            explicit(d);
            change(o, |e| e.suspend_timeout_seconds = 60);
            sent(o, changed.0, changed.1);
        },
        Settled,
    )
    .row(
        19,
        "what the spec sets was changed since",
        move |d, o| {
            explicit(d);
            change(o, |e| e.suspend_timeout_seconds = 60);
            sent(o, by_spec.0, by_spec.1);
        },
        Act(Action::ResizeCompute),
    )
    .row(
        19,
        "what the profile sets was changed since",
        move |_, o| {
            change(o, |e| e.suspend_timeout_seconds = 60);
            sent(o, by_profile.0, by_profile.1);
        },
        Settled,
    )
    .row(
        19,
        "what the profile sets is refused by the plan",
        |_, o| {
            change(o, |e| e.suspend_timeout_seconds = 60);
            o.recorded.plan_limit = Some(PlanLimit {
                suspend_after: Some("300s".into()),
                ..PlanLimit::default()
            });
        },
        Settled,
    )
    .row(
        19,
        "another size that Neon has just refused",
        |_, o| {
            change(o, |e| e.autoscaling_limit_max_cu = 2.0);
            o.refused = Some(Block {
                reason: Reason::NeonRejected,
                message: "no".into(),
            });
        },
        Blocked(Reason::NeonRejected),
    )
    .row(
        19,
        "a setting is missing",
        |d, _| {
            let spec = json!({"compute": {"settings": {"work_mem": "8MB"}}});
            *d = Desired::of(&object(Environment::Staging, spec), "default");
        },
        Act(Action::ResizeCompute),
    )
    .row(
        19,
        "something else was sent before",
        move |_, o| {
            change(o, |e| e.suspend_timeout_seconds = 60);
            sent(o, json!({"minCU": 1.0, "maxCU": 1.0}), json!({}));
        },
        Act(Action::ResizeCompute),
    )
}

fn contents_rows(rows: Rows) -> Rows {
    let listed = |o: &mut Observed, roles: &[&str], databases: &[(&str, &str)]| {
        o.recorded.content_digest = None;
        o.api_roles = Fact::Known(roles.iter().map(|&r| r.to_owned()).collect());
        o.databases = Fact::Known(databases.iter().map(|(n, w)| a_database(n, w)).collect());
    };
    let inherited = |o: &mut Observed, shared: Fact<Vec<String>>| {
        listed(o, &["app_owner"], &[("app", "app_owner")]);
        recorded(o).credentials = Credentials::Inherited;
        o.shared_passwords = shared;
    };
    let missing = |o: &mut Observed, applied_files: i64| {
        o.applied_files = 3;
        o.recorded.databases[0].missing_schemas = Some(MissingSchemas {
            names: vec!["app".into()],
            applied_files,
        });
    };
    let (name, owner) = ("app".to_owned(), "app_owner".to_owned());
    rows.row(
        20,
        "contents unknown",
        |_, o| o.recorded.content_digest = None,
        Wait(Reason::NeonUnavailable),
    )
    .row(
        20,
        "owner missing",
        |_, o| listed(o, &[], &[]),
        Act(Action::CreateRole(owner.clone())),
    )
    .row(
        20,
        "database missing",
        |_, o| {
            listed(o, &["app_owner"], &[]);
            o.recorded.databases.clear();
        },
        Act(Action::RecordDatabase {
            name: name.clone(),
            owner: owner.clone(),
        }),
    )
    .row(
        20,
        "database missing and recorded",
        |_, o| listed(o, &["app_owner"], &[]),
        Act(Action::CreateDatabase { name, owner }),
    )
    .row(
        21,
        "database owned by another role",
        |d, o| {
            *d = Desired::of(
                &object(
                    Environment::Staging,
                    json!({"databases": [{"name": "app", "owner": "boss"}]}),
                ),
                "default",
            );
            listed(o, &["app_owner", "boss"], &[("app", "app_owner")]);
        },
        Blocked(Reason::DatabaseRejected),
    )
    .row(
        21,
        "database owned by an application role",
        |_, o| listed(o, &["web"], &[("app", "web")]),
        Blocked(Reason::DatabaseRejected),
    )
    .row(
        21,
        "whoever owns it, where the spec names nobody",
        |_, o| listed(o, &["x"], &[("app", "x")]),
        Act(Action::PrepareContents),
    )
    .row(
        22,
        "two passwords are the parent's",
        |_, o| inherited(o, Fact::Known(vec!["a".into(), "b".into()])),
        Act(Action::ResetPassword("a".into())),
    )
    .row(
        22,
        "Neon may run no compute that would show it",
        |_, o| {
            inherited(o, Fact::Unknown);
            o.no_compute = Some("no further compute".into());
        },
        Wait(Reason::LimitReached),
    )
    .row(
        22,
        "no password is the parent's",
        |_, o| inherited(o, Fact::Known(Vec::new())),
        Act(Action::RetireLogins),
    )
    .row(
        22,
        "there is no parent any more",
        |_, o| inherited(o, Fact::Absent),
        Act(Action::RetireLogins),
    )
    .row(
        22,
        "nobody knows whether passwords are the parent's",
        |_, o| inherited(o, Fact::Unknown),
        Wait(Reason::NeonUnavailable),
    )
    .row(
        23,
        "all is there but what SQL makes",
        |_, o| listed(o, &["app_owner"], &[("app", "app_owner")]),
        Act(Action::PrepareContents),
    )
    .row(
        23,
        "a schema was missing and nothing has been applied since",
        |_, o| missing(o, 3),
        Settled,
    )
    .row(
        23,
        "a schema was missing and a migration has applied more",
        |_, o| missing(o, 2),
        Act(Action::PrepareContents),
    )
    .row(
        23,
        "nothing inside is managed",
        |d, o| {
            *d = Desired::of(
                &object(Environment::Staging, json!({"databases": [], "roles": []})),
                "default",
            );
            o.recorded.content_digest = None;
            o.recorded.connection_secrets.clear();
        },
        Settled,
    )
}

fn heritage_rows(rows: Rows) -> Rows {
    rows.row(
        20,
        "databases and roles are a parent's that does not exist, whatever is out",
        |d, o| {
            d.heritage = Heritage::Missing("mother".into());
            if let Ok(rest) = &mut d.rest {
                rest.databases.clear();
                rest.roles.clear();
                rest.secrets.clear();
            }
            o.recorded.content_digest = None;
        },
        Wait(Reason::ParentNotFound),
    )
}

/// A login that was replaced at this second.
fn previous(observed: &mut Observed, second: i64) {
    let role = &mut observed.recorded.roles[0];
    role.previous_login = Some("web_g0".into());
    role.rotation_time = Some(Time(at(second)));
}

/// The role's Secret is not current, for this reason.
fn problem(observed: &mut Observed, problem: Problem) {
    observed.current_secrets.clear();
    observed.password_problems = [("web".to_owned(), problem)].into();
}

/// A login is replaced as often as this.
fn rotating(every: &str) -> Desired {
    let rotation = json!({"every": every});
    let roles = json!([{"name": "web", "access": "ReadWrite", "rotation": rotation}]);
    let object = object(Environment::Staging, json!({ "roles": roles }));
    Desired::of(&object, "default")
}

fn found(ours: bool) -> Fact<Found> {
    Fact::Known(Found {
        uid: "u".into(),
        ours,
        owned: true,
        form: None,
        intact: false,
        ..Found::default()
    })
}

fn secret_rows(rows: Rows) -> Rows {
    // the Secret that is asked for is somebody else's, and one of this role is still out
    let beside_a_taken_name = |o: &mut Observed, role: &str| {
        let mut old = o.recorded.connection_secrets[0].clone();
        (old.name, old.role) = ("old".into(), role.into());
        o.recorded.connection_secrets.push(old);
        o.current_secrets.clear();
        o.secrets = [("it".to_owned(), found(false))].into();
        o.taken = [("it".to_owned(), "it is taken".to_owned())].into();
    };
    rows.row(
        26,
        "somebody else's Secret has the name",
        |_, o| {
            o.current_secrets.clear();
            o.secrets = [("it".to_owned(), found(false))].into();
            o.taken = [("it".to_owned(), "it is taken".to_owned())].into();
        },
        Blocked(Reason::SecretConflict),
    )
    .row(
        25,
        "the Secret is missing",
        |_, o| {
            o.current_secrets.clear();
            o.secrets = [("it".to_owned(), Fact::Absent)].into();
        },
        Act(Action::PublishCredentials("web".into())),
    )
    .row(
        25,
        "the Secret was edited",
        |_, o| {
            o.current_secrets.clear();
            o.secrets = [("it".to_owned(), found(true))].into();
        },
        Act(Action::PublishCredentials("web".into())),
    )
    .row(
        25,
        "a Secret that was out before is missing, whatever others are held back for",
        |_, o| {
            o.current_secrets.clear();
            o.held_back_for = vec!["SepulkiMigration it".into()];
        },
        Act(Action::PublishCredentials("web".into())),
    )
    .row(
        27,
        "a Secret that never was out is held back",
        |_, o| {
            o.current_secrets.clear();
            o.recorded.connection_secrets.clear();
            o.held_back_for = vec!["SepulkiMigration it".into()];
        },
        Settled,
    )
    .row(
        26,
        "another Secret is out",
        |_, o| {
            let mut old = o.recorded.connection_secrets[0].clone();
            old.name = "old".into();
            o.recorded.connection_secrets.insert(0, old);
        },
        Act(Action::WithdrawSecrets(vec!["old".into()])),
    )
    .row(
        27,
        "a login was replaced and its time is not over",
        |_, o| previous(o, 3_600 - 60),
        Settled,
    )
    .row(
        24,
        "a login was replaced and its time is over, whatever becomes of the Secret",
        |_, o| {
            previous(o, -24 * 3_600);
            o.current_secrets.clear();
            o.secrets = [("it".to_owned(), found(false))].into();
            o.taken = [("it".to_owned(), "it is taken".to_owned())].into();
        },
        Act(Action::DropLogin {
            role: "web".into(),
            login: "web_g0".into(),
        }),
    )
    .row(
        25,
        "a Secret would go with an object that leaves its branch",
        |_, o| {
            o.current_secrets.clear();
            o.held_wrong.insert("it".into());
        },
        Act(Action::KeepSecrets(vec!["it".into()])),
    )
    .row(
        25,
        "a Secret would stay when the branch goes",
        |d, o| {
            d.deletion_policy = Some(DeletionPolicy::Delete);
            o.current_secrets.clear();
            o.held_wrong.insert("it".into());
        },
        Act(Action::OwnSecrets(vec!["it".into()])),
    )
    .row(
        25,
        "a Secret is out and the record does not say since when",
        |_, o| o.recorded.roles[0].rotation_time = None,
        Act(Action::RecordLogin("web".into())),
    )
    .row(
        25,
        "a Secret is out and the record does not know it",
        |_, o| o.recorded.connection_secrets.clear(),
        Act(Action::RecordLogin("web".into())),
    )
    .row(
        25,
        "a Secret is out and the record has the login before it",
        |_, o| o.recorded.connection_secrets[0].login = "web_g0".into(),
        Act(Action::RecordLogin("web".into())),
    )
    .row(
        26,
        "a login is due to be replaced",
        |d, _| *d = rotating("30m"),
        Act(Action::ReplaceLogin("web".into())),
    )
    .row(
        27,
        "a login is not due to be replaced",
        |d, _| *d = rotating("2h"),
        Settled,
    )
    .row(
        25,
        "a login is due to be replaced, and its Secret was edited",
        |d, o| {
            *d = rotating("30m");
            o.current_secrets.clear();
            o.secrets = [("it".to_owned(), found(true))].into();
        },
        Act(Action::PublishCredentials("web".into())),
    )
    .row(
        26,
        "the password of a role is not there",
        |_, o| problem(o, Problem::Missing("m".into())),
        Wait(Reason::PasswordNotFound),
    )
    .row(
        26,
        "the password of a role is too weak",
        |_, o| problem(o, Problem::Weak("w".into())),
        Blocked(Reason::PasswordRejected),
    )
    .row(
        25,
        "the password of another role is not there",
        |_, o| {
            o.current_secrets.clear();
            let problem = Problem::Missing("m".into());
            o.password_problems = [("other".to_owned(), problem)].into();
        },
        Act(Action::PublishCredentials("web".into())),
    )
    .row(
        25,
        "another Secret of the role is missing while this one's name is taken",
        |d, o| {
            let secrets = json!({"connectionSecrets": [{"name": "it"}, {"name": "more"}]});
            *d = Desired::of(&object(Environment::Staging, secrets), "default");
            o.current_secrets.clear();
            o.secrets = [
                ("it".to_owned(), found(false)),
                ("more".to_owned(), Fact::Absent),
            ]
            .into();
            o.taken = [("it".to_owned(), "it is taken".to_owned())].into();
        },
        Act(Action::PublishCredentials("web".into())),
    )
    .row(
        26,
        "a Secret is out that is not asked for, and the name of the one in its place is taken",
        |_, o| beside_a_taken_name(o, "web"),
        Blocked(Reason::SecretConflict),
    )
    .row(
        26,
        "a Secret of another role is out that is not asked for, and one's name is taken",
        |_, o| beside_a_taken_name(o, "gone"),
        Act(Action::WithdrawSecrets(vec!["old".into()])),
    )
    .row(27, "all is as asked", |_, _| {}, Settled)
}
