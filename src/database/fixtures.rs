//! What the tests of this kind start from: an object, what it asks, and a world in which it is settled.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Value, json};

use super::compute;
use super::credentials::Form;
use super::desired::{Desired, Rest};
use super::mark::Mark;
use super::observe::{Observed, Parent, Standing, incarnation};
use super::rules::{Rule, Terms};
use super::template::Template;
use crate::api::{
    AccessRule, BRANCH_FINALIZER, BranchStatus, ConnectionSecretStatus, Credentials, DatabaseRef,
    DatabaseStatus, DeletionPolicy, Effective, Environment, NeonDatabase, NeonDatabaseStatus,
    ParentBranch, RoleStatus,
};
use crate::neon::{Branch, BranchId, BranchState, Database, Endpoint, EndpointState, EndpointType};
use crate::reconcile::Fact;
use crate::world::{Failure, Operation};

pub(super) const INTERVAL: Duration = Duration::from_mins(1);

/// A moment so many seconds after the branch of [`settled`] was made.
pub(super) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

/// Long enough after everything was made.
pub(super) fn now() -> Timestamp {
    at(3_600)
}

/// An object with one database, one role and so one Secret; `spec` is laid over that.
pub(super) fn object(environment: Environment, spec: Value) -> NeonDatabase {
    let mut whole = json!({
        "projectId": "quiet-sea-1",
        "environment": environment.as_str(),
        "databases": [{"name": "app"}],
        "roles": [{"name": "web", "access": "ReadWrite"}],
    });
    if let (Some(whole), Value::Object(spec)) = (whole.as_object_mut(), spec) {
        whole.extend(spec);
    }
    let mut object = NeonDatabase::new("it", serde_json::from_value(whole).unwrap());
    object.metadata.namespace = Some("team".into());
    object.metadata.uid = Some("uid-it".into());
    object.metadata.generation = Some(3);
    object.metadata.creation_timestamp = Some(Time(at(-60)));
    object.metadata.finalizers = Some(vec![BRANCH_FINALIZER.into()]);
    object
}

/// What a Secret is to say.
pub(super) fn form() -> Form {
    Form {
        namespace: "team".into(),
        name: "app".into(),
        object: "staging".into(),
        uid: "u-1".into(),
        goes: true,
        branch: "br-1".into(),
        incarnation: "i-1".into(),
        endpoint: "ep-1".into(),
        host: "ep-1.local.localhost".into(),
        replicas: BTreeMap::new(),
        port: 5432,
        database: "sepulki".into(),
        login: "app_g1".into(),
        role: "app".into(),
        password_from: None,
        authority: None,
        template: Template::default(),
    }
}

/// An operation that Neon was asked for a moment ago.
pub(super) fn operation(action: &str, ended: bool) -> Operation {
    Operation {
        id: "op".into(),
        action: action.into(),
        since: now(),
        ask_in: (!ended).then_some(Duration::from_secs(1)),
        overdue: false,
        failure: None,
    }
}

pub(super) fn desired(environment: Environment) -> Desired {
    Desired::of(&object(environment, json!({})), "default")
}

pub(super) fn rest(desired: &Desired) -> &Rest {
    desired.rest.as_ref().unwrap()
}

pub(super) fn a_branch(id: &str, name: &str) -> Branch {
    Branch {
        id: id.into(),
        name: name.into(),
        parent_id: Some("br-parent".into()),
        current_state: BranchState::Ready,
        pending_state: None,
        default: false,
        protected: false,
        created_at: at(0),
        last_reset_at: None,
        expires_at: None,
        annotations: BTreeMap::new(),
    }
}

/// Another object's mark.
pub(super) fn anothers(desired: &Desired) -> Mark {
    Mark {
        installation: "another".into(),
        ..desired.mark.clone()
    }
}

pub(super) fn an_endpoint(desired: &Desired) -> Endpoint {
    let rest = rest(desired);
    Endpoint {
        id: "ep-it".into(),
        branch_id: "br-it".into(),
        host: "ep-it.local.localhost".into(),
        endpoint_type: EndpointType::ReadWrite,
        current_state: EndpointState::Idle,
        pending_state: None,
        autoscaling_limit_min_cu: rest.compute.units.value.0,
        autoscaling_limit_max_cu: rest.compute.units.value.1,
        suspend_timeout_seconds: rest.compute.suspend_after.value.seconds(),
        settings: None,
        name: None,
    }
}

pub(super) fn parent_ref(name: &str) -> ParentBranch {
    ParentBranch {
        database_ref: Some(DatabaseRef { name: name.into() }),
        branch_name: None,
        at: None,
    }
}

pub(super) fn a_parent(ready: bool) -> Fact<Parent> {
    Fact::Known(Parent {
        name: "mother".into(),
        branch: Some(BranchId::from("br-parent")),
        standing: if ready {
            Standing::Ready
        } else {
            Standing::Unready
        },
        expires: false,
    })
}

pub(super) fn a_database(name: &str, owner: &str) -> Database {
    Database {
        name: name.into(),
        owner_name: owner.into(),
    }
}

/// Something that failed a moment ago.
pub(super) fn a_failure(what: &str) -> Failure {
    Failure {
        what: Some(what.to_owned()),
        branch: Some("br-it".to_owned()),
        words: Some("there is no room".to_owned()),
        until: now() + SignedDuration::from_secs(1),
    }
}

/// The terms of the NeonProject `sea` with these access rules, for a fork of `base`. Nothing is used up.
pub(super) fn terms(rules: Value) -> Terms {
    let rules: Vec<AccessRule> = serde_json::from_value(rules).unwrap();
    let unused = |rule| Rule {
        rule,
        held: 0,
        ahead: 0,
    };
    Terms {
        project: "sea".into(),
        base_branch: None,
        labels: Some(BTreeMap::new()),
        rules: rules.into_iter().map(unused).collect(),
        parent_branch: Some("base".into()),
        room_seen: 0,
    }
}

/// What an own branch resolves to.
pub(super) fn effective(desired: &Desired) -> Effective {
    Effective {
        branch_name: Some(desired.branch_name.clone()),
        existing: None,
        parent: Some(parent_ref("mother")),
        deletion_policy: desired.profile.deletion_policy,
    }
}

/// What a branch that is taken over resolves to.
pub(super) fn effective_takeover() -> Effective {
    Effective {
        branch_name: None,
        existing: Some(crate::api::ExistingBranch {
            default: Some(true),
            name: None,
            id: None,
        }),
        parent: None,
        deletion_policy: DeletionPolicy::Retain,
    }
}

/// Nothing done yet, and everything there that the first steps need.
pub(super) fn fresh() -> Observed {
    Observed {
        branch: Fact::Absent,
        existing: Fact::Absent,
        parent: a_parent(true),
        endpoint: Fact::Absent,
        ..Observed::nothing(NeonDatabaseStatus::default(), INTERVAL)
    }
}

/// Everything as it is asked.
pub(super) fn settled(desired: &Desired) -> Observed {
    let rest = rest(desired);
    let mut branch = a_branch("br-it", &desired.branch_name);
    branch.annotations = desired.mark.annotations();
    branch.protected = rest.protected.value;
    branch.expires_at = rest
        .lease
        .value
        .map(|lease| now() + lease - SignedDuration::from_hours(1));
    let endpoint = an_endpoint(desired);
    let incarnation = incarnation(&branch);
    let recorded = NeonDatabaseStatus {
        observed_generation: desired.generation,
        effective: Some(effective(desired)),
        branch: Some(BranchStatus {
            id: branch.id.to_string(),
            name: branch.name.clone(),
            parent_id: Some("br-parent".into()),
            is_default: false,
            protected: branch.protected,
            taken_over: false,
            incarnation: incarnation.clone(),
            origin: crate::api::BranchOrigin::Created,
            credentials: Credentials::Own,
            own_passwords: Vec::new(),
            created_time: Time(branch.created_at),
            ready_time: Some(Time(at(1))),
            expiry_time: branch.expires_at.map(Time),
        }),
        endpoint: Some(compute::status(&endpoint, None, None)),
        databases: vec![DatabaseStatus {
            name: "app".into(),
            owner: "app_owner".into(),
            created: true,
            missing_schemas: None,
            extensions: Vec::new(),
        }],
        roles: vec![RoleStatus {
            name: "web".into(),
            login: Some("web_g1".into()),
            rotation_time: Some(Time(at(0))),
            ..RoleStatus::default()
        }],
        content_digest: Some(rest.content_digest("br-it", &incarnation)),
        connection_secrets: vec![ConnectionSecretStatus {
            name: "it".into(),
            role: "web".into(),
            database: "app".into(),
            login: "web_g1".into(),
            rotation_time: Some(Time(at(0))),
            ..ConnectionSecretStatus::default()
        }],
        ..NeonDatabaseStatus::default()
    };
    Observed {
        branch: Fact::Known(branch),
        endpoint: Fact::Known(endpoint),
        parent: a_parent(true),
        current_secrets: ["it".to_owned()].into(),
        taken: BTreeMap::new(),
        held_wrong: BTreeSet::new(),
        ..Observed::nothing(recorded, INTERVAL)
    }
}

/// The recorded branch, to be changed.
pub(super) fn recorded(observed: &mut Observed) -> &mut BranchStatus {
    observed.recorded.branch.as_mut().unwrap()
}

/// The observed branch, to be changed.
pub(super) fn seen(observed: &mut Observed) -> &mut Branch {
    match &mut observed.branch {
        Fact::Known(branch) => branch,
        Fact::Absent | Fact::Unknown => panic!("no branch is known"),
    }
}
