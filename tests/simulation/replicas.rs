//! Read replicas where Neon or somebody else has a will of their own.

use jiff::SignedDuration;
use sepulki::api::Reason;
use sepulki::neon::{Endpoint, EndpointSettings, EndpointState, NewEndpoint};
use serde_json::{Value, json};

use crate::database::{condition, reconciling, says, stalled};
use crate::invariants::check;
use crate::scene::{simple, with};
use crate::world::Sim;
use crate::world::faults::Fault;
use crate::world::neon::{Project, UNKNOWN_SETTING};
use crate::world::operator::Operator;
use crate::world::trouble::NO_START;

const MINUTE: SignedDuration = SignedDuration::from_mins(1);

/// A production with these read replicas, on a Neon that allows so many.
async fn begin(replicas: Value, most: Option<usize>) -> Operator {
    let sim = Sim::new();
    sim.at_neon(|project, _| project.plan.max_replicas = most);
    let spec = json!({"compute": {"readReplicas": replicas}, "branch": {"protected": false}});
    sim.database("production", "production", with(simple(), spec));
    let mut operator = Operator::new(&sim);
    operator.run_for(MINUTE).await;
    operator
}

fn set(operator: &Operator, replicas: Value) {
    operator.sim.edit_database("production", |production| {
        let compute = production.spec.compute.get_or_insert_default();
        compute.read_replicas = serde_json::from_value(replicas).unwrap();
    });
}

fn replicas(operator: &Operator) -> Vec<Endpoint> {
    let all = |project: &mut Project, _| project.branches[0].replicas.clone();
    let all = operator.sim.at_neon(all);
    all.into_iter().map(|one| one.endpoint).collect()
}

#[tokio::test(start_paused = true)]
async fn one_that_is_not_ours_is_left_alone_and_ours_goes_when_nobody_asks_for_it() {
    let mut operator = begin(json!([{"name": "reporting"}]), None).await;
    check(&operator.sim, &[]);
    operator.sim.at_neon(|project, now| {
        let branch = project.branches[0].branch.id.clone();
        let compute = NewEndpoint::default();
        project
            .create_replica(&branch, &compute, "reporting", now)
            .unwrap();
    });
    set(&operator, json!([]));
    operator.run_for(MINUTE * 5).await;
    let left = replicas(&operator);
    let names: Vec<&str> = left.iter().filter_map(|one| one.name.as_deref()).collect();
    assert_eq!(names, ["reporting"]);
    let secret = operator.sim.secret("production").unwrap();
    assert!(!secret.contains_key("DATABASE_URL_REPORTING"));
    assert!(secret.contains_key("DATABASE_URL_UNPOOLED"));
}

#[tokio::test(start_paused = true)]
async fn one_that_was_deleted_by_hand_comes_again_and_one_that_was_changed_is_put_right() {
    let asked = json!([{"name": "reporting", "minCU": 1, "maxCU": 2}]);
    let mut operator = begin(asked, None).await;
    let id = replicas(&operator)[0].id.clone();
    operator.sim.at_neon(|project, _| {
        let found = project.endpoint_with(&id).unwrap();
        found.autoscaling_limit_max_cu = 8.0;
        // not set, and so nobody's business
        found.suspend_timeout_seconds = -1;
    });
    operator.run_for(MINUTE * 5).await;
    check(&operator.sim, &[]);
    assert_eq!(replicas(&operator)[0].suspend_timeout_seconds, -1);
    operator
        .sim
        .at_neon(|project, _| project.delete_replica(&id));
    operator.run_for(MINUTE * 15).await;
    check(&operator.sim, &[]);
    assert_ne!(replicas(&operator)[0].id, id);
}

#[tokio::test(start_paused = true)]
async fn what_the_plan_refuses_is_told_and_holds_nothing_up() {
    let asked = json!([{"name": "one"}, {"name": "two", "suspendAfter": "never"}]);
    let mut operator = begin(asked, Some(1)).await;
    let production = operator.sim.get_database("production").unwrap();
    let message = stalled(&production, Reason::LimitReached);
    let told = ["read replica two with suspendAfter never", "limit exceeded"];
    says(&message, &told);
    let (is, reason, message) = condition(&production, "ComputeReady");
    assert!(is && reason == "PlanLimited", "{reason}: {message}");
    says(&message, &told);
    assert!(condition(&production, "CredentialsPublished").0);
    let secret = operator.sim.secret("production").unwrap();
    assert!(secret.contains_key("DATABASE_URL_ONE"));
    assert!(!secret.contains_key("DATABASE_URL_TWO"));
    set(&operator, json!([{"name": "one"}]));
    operator.run_for(MINUTE).await;
    check(&operator.sim, &[]);
}

#[tokio::test(start_paused = true)]
async fn a_size_that_the_plan_refuses_is_told_and_holds_nothing_up() {
    let mut operator = begin(json!([{"name": "one"}]), None).await;
    operator
        .sim
        .at_neon(|project, _| project.plan.max_cu = Some(2.0));
    set(&operator, json!([{"name": "one", "minCU": 2, "maxCU": 8}]));
    operator.run_for(MINUTE).await;
    let production = operator.sim.get_database("production").unwrap();
    let message = stalled(&production, Reason::NeonRejected);
    let told = [
        "read replica one with 2-8 CU",
        "exceeds the maximum of your plan",
    ];
    says(&message, &told);
    let (is, reason, message) = condition(&production, "ComputeReady");
    assert!(is && reason == "PlanLimited", "{reason}: {message}");
    says(&message, &told);
    set(&operator, json!([{"name": "one", "minCU": 1, "maxCU": 2}]));
    operator.run_for(MINUTE).await;
    check(&operator.sim, &[]);
}

#[tokio::test(start_paused = true)]
async fn one_that_does_not_start_is_told_until_it_is_seen_to_run() {
    let mut operator = begin(json!([]), None).await;
    let fails = ("create endpoint".to_owned(), Fault::OperationFails);
    operator
        .sim
        .at_neon(|project, _| project.fails = Some(fails));
    set(&operator, json!([{"name": "one"}]));
    operator.run_for(MINUTE * 3).await;
    let production = |operator: &Operator| operator.sim.get_database("production").unwrap();
    let (is, _, message) = condition(&production(&operator), "ComputeReady");
    assert!(is, "{message}");
    says(&message, &["read replica one did not start: ", NO_START]);
    let status = production(&operator).status.unwrap();
    assert!(status.read_replicas[0].endpoint.failure.is_some());
    operator.sim.at_neon(|project, _| {
        let replica = &mut project.branches[0].replicas[0].endpoint;
        replica.current_state = EndpointState::Active;
    });
    operator.run_for(MINUTE * 3).await;
    let status = production(&operator).status.unwrap();
    assert_eq!(status.read_replicas[0].endpoint.failure, None);
    check(&operator.sim, &[]);
}

/// Makes the compute of the only replica one that does not start, or one that does.
fn break_replica(operator: &Operator, is_broken: bool) {
    operator.sim.at_neon(|project, _| {
        let replica = &mut project.branches[0].replicas[0].endpoint;
        let broken = [(UNKNOWN_SETTING.to_owned(), "1".into())];
        replica.settings = is_broken.then(|| EndpointSettings {
            pg_settings: Some(broken.into()),
        });
    });
}

#[tokio::test(start_paused = true)]
async fn one_that_does_not_answer_is_left_out_of_what_is_published_until_it_does() {
    let mut operator = begin(json!([{"name": "one"}]), None).await;
    let secret = |operator: &Operator| operator.sim.secret("production").unwrap();
    let before = secret(&operator);
    assert!(before.contains_key("DATABASE_URL_ONE"));
    break_replica(&operator, true);
    // what is published already is not looked at for that
    operator.run_for(MINUTE * 12).await;
    assert_eq!(secret(&operator), before);
    operator.sim.edit_database("production", |object| {
        let template = json!([{"name": "production", "template": {"data": {"MORE": "1"}}}]);
        object.spec.connection_secrets = serde_json::from_value(template).unwrap();
    });
    operator.run_for(MINUTE).await;
    let published = secret(&operator);
    assert_eq!(published["MORE"], "1");
    assert_eq!(published["DATABASE_URL"], before["DATABASE_URL"]);
    assert!(!published.contains_key("DATABASE_URL_ONE"));
    let production = operator.sim.get_database("production").unwrap();
    let message = reconciling(&production, Reason::DatabaseUnavailable);
    says(&message, &["production", "DATABASE_URL_ONE", "replica one"]);

    break_replica(&operator, false);
    operator.run_for(MINUTE * 6).await;
    assert_eq!(
        secret(&operator)["DATABASE_URL_ONE"],
        before["DATABASE_URL_ONE"]
    );
    check(&operator.sim, &[]);
}
