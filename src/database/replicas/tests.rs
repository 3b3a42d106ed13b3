//! What is done about read replicas, and what they hold up.

use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::api::{Environment, Reason};
use crate::database::desired::Desired;
use crate::database::fixtures::{an_endpoint, now, object, rest, seen, settled};
use crate::database::observe::Observed;
use crate::database::{plan, status};
use crate::neon::EndpointType;
use crate::reconcile::{Block, Decision, Verdict};

const DONE: &str = "done";

/// One replica with a size, one without anything.
fn asked() -> Value {
    json!([{"name": "a-b", "minCU": 1, "maxCU": 2}, {"name": "c"}])
}

fn begin(replicas: &Value) -> (Desired, Observed) {
    let spec = json!({"compute": {"readReplicas": replicas}});
    let desired = Desired::of(&object(Environment::Staging, spec), "default");
    let observed = settled(&desired);
    (desired, observed)
}

fn listed(desired: &Desired, id: &str, name: Option<&str>) -> Endpoint {
    Endpoint {
        id: id.into(),
        name: name.map(str::to_owned),
        host: format!("{id}.local.localhost"),
        endpoint_type: EndpointType::ReadOnly,
        autoscaling_limit_min_cu: 1.0,
        autoscaling_limit_max_cu: 2.0,
        ..an_endpoint(desired)
    }
}

fn known(name: &str, endpoint: &Endpoint) -> ReadReplicaStatus {
    ReadReplicaStatus {
        name: name.into(),
        endpoint: compute::status(endpoint, None, None),
    }
}

/// Both are there and on record.
fn complete() -> (Desired, Observed) {
    let (desired, mut observed) = begin(&asked());
    for (id, name) in [("ep-1", "a-b"), ("ep-2", "c")] {
        let endpoint = listed(&desired, id, Some(&format!("sepulki-{name}")));
        let record = &mut observed.recorded.read_replicas;
        record.push(known(name, &endpoint));
        observed.replicas.push(endpoint);
    }
    (desired, observed)
}

fn refusal() -> Block {
    Block {
        reason: Reason::LimitReached,
        message: "no more of them".into(),
    }
}

fn next(desired: &Desired, observed: &Observed) -> String {
    match plan::decide(desired, observed, now()) {
        Decision::Act(action) => format!("{action:?}"),
        Decision::Settled(_) => DONE.into(),
        Decision::Blocked(block) => format!("{}: {}", block.reason.as_str(), block.message),
        other @ (Decision::Wait(_) | Decision::Suspended(_) | Decision::Gone) => {
            panic!("{other:?}")
        }
    }
}

#[test]
fn they_are_made_and_recorded_one_after_the_other() {
    let (desired, mut observed) = complete();
    assert_eq!(next(&desired, &observed), DONE);
    let second = observed.replicas.pop().unwrap();
    assert_eq!(next(&desired, &observed), r#"CreateReplica("c")"#);
    observed.replicas.insert(0, second);
    observed.recorded.read_replicas.pop();
    assert_eq!(next(&desired, &observed), r#"RecordReplica("c")"#);
    observed.replicas.clear();
    assert_eq!(next(&desired, &observed), r#"CreateReplica("a-b")"#);
}

#[test]
fn what_somebody_else_has_made_is_neither_used_nor_deleted() {
    let (desired, mut observed) = complete();
    for name in [None, Some("c"), Some("a-b")] {
        observed.replicas.push(listed(&desired, "ep-0", name));
        assert_eq!(next(&desired, &observed), DONE, "{name:?}");
    }
    observed
        .replicas
        .retain(|endpoint| endpoint.id.as_str() != "ep-2");
    assert_eq!(next(&desired, &observed), r#"CreateReplica("c")"#);
}

#[test]
fn of_two_with_one_name_the_recorded_one_stays_and_else_the_first() {
    let (desired, mut observed) = complete();
    for id in ["ep-0", "ep-9"] {
        let mut observed = observed.clone();
        let twin = listed(&desired, id, Some("sepulki-c"));
        observed.replicas.push(twin);
        let expected = format!(r#"DeleteReplica(EndpointId("{id}"))"#);
        assert_eq!(next(&desired, &observed), expected);
    }
    let twin = listed(&desired, "ep-0", Some("sepulki-c"));
    observed.replicas.push(twin);
    observed.recorded.read_replicas.pop();
    assert_eq!(next(&desired, &observed), r#"RecordReplica("c")"#);
    let replica = &rest(&desired).replicas[1];
    let record = &observed.recorded.read_replicas;
    let found = replica.among(&observed.replicas, record).unwrap();
    assert_eq!(found.id.as_str(), "ep-0");
}

#[test]
fn one_that_is_no_longer_asked_for_goes_after_the_secrets_that_lead_to_it() {
    let (_, mut observed) = complete();
    let (fewer, _) = begin(&json!([{"name": "a-b"}]));
    let deleted = r#"DeleteReplica(EndpointId("ep-2"))"#;
    assert_eq!(next(&fewer, &observed), deleted);
    observed.current_secrets.clear();
    assert_eq!(next(&fewer, &observed), r#"PublishCredentials("web")"#);
}

#[test]
fn one_of_a_branch_that_was_taken_over_goes_only_where_it_is_on_record() {
    let (desired, mut observed) = complete();
    observed.recorded.branch.as_mut().unwrap().taken_over = true;
    let alike = listed(&desired, "ep-3", Some("sepulki-theirs"));
    observed.replicas.push(alike);
    assert_eq!(next(&desired, &observed), DONE);
    let (fewer, _) = begin(&json!([{"name": "a-b"}]));
    let deleted = r#"DeleteReplica(EndpointId("ep-2"))"#;
    assert_eq!(next(&fewer, &observed), deleted);
}

#[test]
fn only_what_is_asked_for_is_compared() {
    let (desired, mut observed) = complete();
    observed.replicas[1].autoscaling_limit_max_cu = 8.0;
    observed.replicas[0].suspend_timeout_seconds = -1;
    assert_eq!(next(&desired, &observed), DONE);
    observed.replicas[0].autoscaling_limit_max_cu = 8.0;
    assert_eq!(next(&desired, &observed), r#"ResizeReplica("a-b")"#);
    // Neon was asked for it and stores something else
    let replica = &rest(&desired).replicas[0];
    let stored = compute::answered(&replica.asked(), &observed.replicas[0]);
    let record = &mut observed.recorded.read_replicas[0].endpoint;
    (record.requested, record.stored) = (Some(replica.asked()), Some(stored));
    assert_eq!(next(&desired, &observed), DONE);
    let told: Vec<String> = otherwise(&observed.recorded).collect();
    let expected = "read replica a-b: Neon has 1-8 CU instead of 1-2 CU";
    assert_eq!(told, [expected]);
    // and now somebody else has changed that
    observed.replicas[0].autoscaling_limit_max_cu = 4.0;
    assert_eq!(next(&desired, &observed), r#"ResizeReplica("a-b")"#);
}

#[test]
fn what_neon_refuses_holds_nothing_else_up_and_is_told_at_the_end() {
    let (desired, mut observed) = complete();
    observed.replica_refused = Some(refusal());
    assert_eq!(next(&desired, &observed), DONE, "nothing is left");
    observed.replicas.remove(0);
    let told = "LimitReached: no more of them";
    assert_eq!(next(&desired, &observed), told);
    let record = observed.recorded.read_replicas.pop().unwrap();
    assert_eq!(next(&desired, &observed), r#"RecordReplica("c")"#);
    observed.recorded.read_replicas.push(record);
    let left = listed(&desired, "ep-3", Some("sepulki-d"));
    observed.replicas.push(left);
    let deleted = r#"DeleteReplica(EndpointId("ep-3"))"#;
    assert_eq!(next(&desired, &observed), deleted);
    observed.current_secrets.clear();
    assert_eq!(next(&desired, &observed), r#"PublishCredentials("web")"#);
}

#[test]
fn none_of_a_protected_branch_can_be_deleted() {
    let (mut fewer, mut observed) = complete();
    fewer.rest.as_mut().unwrap().replicas.pop();
    fewer.rest.as_mut().unwrap().protected.value = true;
    seen(&mut observed).protected = true;
    let told = "BranchProtected: the read replica ep-2 is no longer asked for, and Neon deletes none of a protected branch: set \
                spec.branch.protected to false for that time";
    assert_eq!(next(&fewer, &observed), told);
}

/// What `ComputeReady` says.
fn compute_ready(desired: &Desired, observed: &Observed) -> (String, String, String) {
    let verdict = Verdict::Settled(Duration::from_mins(1));
    let status = status::project(&observed.recorded, desired, Some(observed), &verdict, now());
    let mut all = status.conditions.into_iter();
    let found = all.find(|c| c.type_ == "ComputeReady").unwrap();
    (found.status, found.reason, found.message)
}

#[test]
fn the_compute_is_ready_when_they_are_there_or_neon_refuses_them() {
    let (desired, mut observed) = complete();
    assert_eq!(compute_ready(&desired, &observed).1, "Succeeded");
    observed.replica_refused = Some(refusal());
    assert_eq!(compute_ready(&desired, &observed).1, "Succeeded");
    observed.replicas.pop();
    let (is, reason, message) = compute_ready(&desired, &observed);
    assert_eq!((is.as_str(), reason.as_str()), ("True", "PlanLimited"));
    assert_eq!(message, "endpoint ep-it.local.localhost: no more of them");
    observed.replica_refused = None;
    assert_eq!(compute_ready(&desired, &observed).0, "False");
}

#[test]
fn the_record_keeps_what_is_asked_for_or_there() {
    let (desired, observed) = complete();
    let look = |wanted: &[Replica], listed: &[Endpoint]| {
        let mut record = observed.recorded.read_replicas.clone();
        look_at(&mut record, wanted, listed);
        record
    };
    let (wanted, listed) = (&rest(&desired).replicas, &observed.replicas);
    let names = |record: Vec<ReadReplicaStatus>| -> Vec<String> {
        record.into_iter().map(|known| known.name).collect()
    };
    assert_eq!(names(look(wanted, listed)), ["a-b", "c"]);
    assert_eq!(names(look(&[], listed)), ["a-b", "c"]);
    assert_eq!(names(look(wanted, &[])), ["a-b", "c"]);
    assert_eq!(names(look(&wanted[..1], &listed[..1])), ["a-b"]);
    let record = look(wanted, listed);
    assert_eq!(record[0].endpoint.requested, Some(wanted[0].asked()));
    let mut others = record.clone();
    super::record(&mut others, known("c", &listed[0]));
    assert_eq!(others.len(), 2);
    assert_eq!(others[1].endpoint.id, "ep-1");
}

#[test]
fn a_secret_leads_to_them_by_names_of_their_own() {
    use crate::database::credentials::replica_key;
    assert_eq!(replica_key("a-b"), "DATABASE_URL_A_B");
    let spec = json!({
        "compute": {"readReplicas": asked()},
        "connectionSecrets": [{"name": "it", "template": {"data": {"DATABASE_URL_C": "$(url)"}}}],
    });
    let desired = Desired::of(&object(Environment::Staging, spec), "default");
    let message = desired.rest.unwrap_err().message;
    assert!(message.contains("DATABASE_URL_C"), "{message}");
}

#[test]
fn a_body_has_what_the_spec_sets() {
    let spec = json!([
        {"name": "a", "minCU": 1, "maxCU": 2, "suspendAfter": "never"},
        {"name": "b", "suspendAfter": "1m"},
    ]);
    let (desired, _) = begin(&spec);
    let [a, b] = rest(&desired).replicas.as_slice() else {
        panic!("{desired:?}");
    };
    let of = |replica: &Replica| {
        let (new, update) = (replica.new_endpoint(), replica.update());
        assert_eq!(new.compute_units, update.compute_units);
        let seconds = new.suspend_timeout_seconds;
        assert_eq!(seconds, update.suspend_timeout_seconds);
        (new.compute_units, seconds)
    };
    assert_eq!(of(a), (Some((1.0, 2.0)), Some(-1)));
    assert_eq!(of(b), (None, Some(60)));
}

#[test]
fn one_record_is_kept_of_each_replica() {
    let (_, observed) = complete();
    let mut kept = observed.recorded.read_replicas.clone();
    let again = kept[0].clone();
    record(&mut kept, again);
    let names: Vec<&str> = kept.iter().map(|known| known.name.as_str()).collect();
    assert_eq!(names, ["c", "a-b"]);
}

#[test]
fn a_replica_that_is_another_endpoint_than_recorded_is_recorded_anew() {
    let (desired, mut observed) = complete();
    observed.recorded.read_replicas[0].endpoint.id = "ep-before".into();
    let changes = |observed: &Observed| {
        let record = &observed.recorded.read_replicas;
        let all = changes(&rest(&desired).replicas, &observed.replicas, record);
        all.collect::<Vec<_>>()
    };
    assert_eq!(changes(&observed), [Action::RecordReplica("a-b".into())]);
}

#[test]
fn the_status_follows_what_is_listed_of_replicas() {
    let (desired, mut observed) = complete();
    observed.replicas[0].autoscaling_limit_max_cu = 4.0;
    let verdict = Verdict::Settled(Duration::from_mins(1));
    let told = status::project(
        &observed.recorded,
        &desired,
        Some(&observed),
        &verdict,
        now(),
    );
    let found = told.read_replicas.iter().find(|known| known.name == "a-b");
    let most = found.map(|known| known.endpoint.max_cu);
    assert_eq!(most, Some(4.0));
}
