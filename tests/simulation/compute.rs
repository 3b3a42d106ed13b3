//! What becomes of computes when Neon or somebody else has a will of their own.

use jiff::SignedDuration;
use sepulki::api::{EndpointStatus, RETRY, Reason};
use sepulki::neon::{Endpoint, EndpointState};
use sepulki::reconcile::Conditions;
use serde_json::{Value, json};

use crate::asked::events;
use crate::database::{condition, says, stalled};
use crate::scene::{simple, with};
use crate::world::Sim;
use crate::world::faults::Fault;
use crate::world::neon::{Plan, Project, UNKNOWN_SETTING, starts};
use crate::world::operator::Operator;
use crate::world::trouble::NO_START;

const MINUTE: SignedDuration = SignedDuration::from_mins(1);

/// A production and a staging with this compute, on a Neon of this plan.
async fn begin(compute: Value, plan: impl FnOnce(&mut Project)) -> Operator {
    let sim = Sim::new();
    sim.at_neon(|project, _| plan(project));
    sim.database("production", "production", json!({}));
    let spec = with(simple(), json!({ "compute": compute }));
    sim.database("staging", "staging", spec);
    let mut operator = Operator::new(&sim);
    operator.run_for(MINUTE).await;
    operator
}

fn endpoint(operator: &Operator) -> Endpoint {
    let find = |project: &mut Project, now| {
        let branches = project.branches(now);
        let of = branches.iter().find(|b| b.name == "staging/team/staging");
        let of = of.map(|branch| branch.id.clone());
        of.and_then(|id| project.told(&id, now))
    };
    operator.sim.at_neon(find).unwrap()
}

/// Somebody changes the endpoint in Neon's console.
fn by_hand(operator: &Operator, change: impl FnOnce(&mut Endpoint)) {
    let id = endpoint(operator).id;
    operator.sim.at_neon(|project, _| {
        let mut all = project.branches.iter_mut();
        let found = all.find_map(|b| b.endpoint.as_mut().filter(|e| e.endpoint.id == id));
        change(&mut found.unwrap().endpoint);
    });
}

fn status(operator: &Operator) -> EndpointStatus {
    let staging = operator.sim.get_database("staging").unwrap();
    staging.status.unwrap().endpoint.unwrap()
}

/// Runs for a while, and answers how often Neon was asked for another endpoint.
async fn resizes(operator: &mut Operator) -> usize {
    let count = |operator: &Operator| {
        let state = operator.sim.lock();
        let calls = state.neon.calls.mutations.iter();
        calls.filter(|what| what.contains("endpoint")).count()
    };
    let before = count(operator);
    operator.run_for(MINUTE * 5).await;
    count(operator) - before
}

#[tokio::test(start_paused = true)]
async fn what_the_plan_refuses_of_the_profile_is_left_out_and_told() {
    let plan = |project: &mut Project| {
        project.plan.max_cu = Some(0.5);
        project.plan.fixed_suspend = true;
    };
    let mut operator = begin(json!({}), plan).await;
    // production's never is refused, too: it was taken over, and keeps what it had
    for name in ["production", "staging"] {
        let object = operator.sim.get_database(name).unwrap();
        assert!(object.is_settled(), "{name}: {:?}", object.conditions());
        let (is, reason, message) = condition(&object, "ComputeReady");
        assert!(is && reason == "PlanLimited", "{reason}: {message}");
        says(&message, &["the profile's", "CU"]);
    }
    let made = endpoint(&operator);
    assert!((made.autoscaling_limit_max_cu - 0.25).abs() < 0.01);
    assert_eq!(resizes(&mut operator).await, 0);
    // the plan is another one now, and somebody says so
    operator
        .sim
        .at_neon(|project, _| project.plan = Plan::default());
    operator.sim.annotate_database("staging", RETRY, "1");
    operator.run_for(MINUTE).await;
    assert!((endpoint(&operator).autoscaling_limit_max_cu - 1.0).abs() < 0.01);
    let staging = operator.sim.get_database("staging").unwrap();
    assert_eq!(condition(&staging, "ComputeReady").1, "Succeeded");
}

#[tokio::test(start_paused = true)]
async fn what_the_plan_refuses_of_the_spec_stalls_in_neons_words() {
    let plan = |project: &mut Project| project.plan.max_cu = Some(2.0);
    let mut operator = begin(json!({"minCU": 1, "maxCU": 4}), plan).await;
    let staging = operator.sim.get_database("staging").unwrap();
    let message = stalled(&staging, Reason::NeonRejected);
    says(&message, &["1-4 CU", "spec.compute", "of your plan"]);
    assert_eq!(staging.status.unwrap().plan_limit, None);
    operator.sim.edit_database("staging", |staging| {
        staging.spec.compute.as_mut().unwrap().max_cu = Some(2.0);
    });
    operator.run_for(MINUTE).await;
    assert!(operator.sim.get_database("staging").unwrap().is_settled());
    assert!((endpoint(&operator).autoscaling_limit_max_cu - 2.0).abs() < 0.01);
}

#[tokio::test(start_paused = true)]
async fn what_neon_stores_instead_is_told_and_not_fought_over() {
    let plan = |project: &mut Project| project.plan.stores_suspend = Some(0);
    let mut operator = begin(json!({"suspendAfter": "1h"}), plan).await;
    let staging = operator.sim.get_database("staging").unwrap();
    let (is, reason, message) = condition(&staging, "ComputeReady");
    assert!(is && reason == "PlanLimited", "{reason}: {message}");
    says(&message, &["suspendAfter default instead of 1h"]);
    assert_eq!(status(&operator).suspend_after, "default");
    assert_eq!(resizes(&mut operator).await, 0);
    // beside it, what somebody changes is put right
    by_hand(&operator, |endpoint| endpoint.suspend_timeout_seconds = -1);
    assert_eq!(resizes(&mut operator).await, 1);
    assert_eq!(endpoint(&operator).suspend_timeout_seconds, 0);
}

#[tokio::test(start_paused = true)]
async fn only_what_the_spec_sets_is_put_right() {
    let mut operator = begin(json!({"minCU": 1, "maxCU": 2}), |_| {}).await;
    by_hand(&operator, |endpoint| {
        endpoint.autoscaling_limit_max_cu = 8.0;
    });
    assert_eq!(resizes(&mut operator).await, 1);
    assert!((endpoint(&operator).autoscaling_limit_max_cu - 2.0).abs() < 0.01);
    by_hand(&operator, |endpoint| endpoint.suspend_timeout_seconds = -1);
    assert_eq!(resizes(&mut operator).await, 0);
    assert_eq!(status(&operator).suspend_after, "never");
    let staging = operator.sim.get_database("staging").unwrap();
    assert_eq!(condition(&staging, "ComputeReady").1, "Succeeded");
}

#[tokio::test(start_paused = true)]
async fn settings_are_given_put_right_and_taken_away_and_others_stay() {
    let mut operator = begin(json!({"settings": {"work_mem": "8MB"}}), |_| {}).await;
    assert_eq!(endpoint(&operator).pg_settings()["work_mem"], "8MB");
    by_hand(&operator, |endpoint| {
        let settings = json!({"pg_settings": {"work_mem": "1MB", "jit": "off"}});
        endpoint.settings = serde_json::from_value(settings).unwrap();
    });
    assert_eq!(resizes(&mut operator).await, 1);
    assert_eq!(
        json!(endpoint(&operator).pg_settings()),
        json!({"work_mem": "8MB", "jit": "off"})
    );
    assert_eq!(
        json!(status(&operator).settings),
        json!({"work_mem": "8MB"})
    );
    let set = |operator: &Operator, settings: Value| {
        operator.sim.edit_database("staging", |staging| {
            let compute = staging.spec.compute.as_mut().unwrap();
            compute.settings = serde_json::from_value(settings).unwrap();
        });
    };
    set(&operator, json!({"no-setting": "1"}));
    operator.run_for(MINUTE).await;
    let staging = operator.sim.get_database("staging").unwrap();
    let message = stalled(&staging, Reason::NeonRejected);
    says(
        &message,
        &["settings.no-setting 1", "not the name of a setting"],
    );
    set(&operator, json!({}));
    assert_eq!(resizes(&mut operator).await, 1);
    assert_eq!(
        json!(endpoint(&operator).pg_settings()),
        json!({"jit": "off"})
    );
    assert!(operator.sim.get_database("staging").unwrap().is_settled());
}

#[tokio::test(start_paused = true)]
async fn a_setting_that_no_compute_starts_with_is_told_until_it_is_corrected() {
    let bad = json!({"minCU": 0.25, "maxCU": 1, "settings": {UNKNOWN_SETTING: "1"}});
    let good = json!({"minCU": 0.25, "maxCU": 1, "settings": {"work_mem": "8MB"}});
    for first in [&bad, &good] {
        let mut operator = begin(first.clone(), |_| ()).await;
        let staging = |operator: &Operator| operator.sim.get_database("staging").unwrap();
        assert_eq!(staging(&operator).is_settled(), first == &good);
        operator.sim.edit_database("staging", |object| {
            object.spec.compute = serde_json::from_value(bad.clone()).unwrap();
        });
        operator.run_for(MINUTE * 3).await;
        let message = stalled(&staging(&operator), Reason::DatabaseRejected);
        let expected = [
            "spec.compute.settings.no_such_setting: ",
            "unrecognized configuration parameter",
        ];
        says(&message, &expected);
        // one that runs is asked before, and goes on
        assert_eq!(starts(&endpoint(&operator)), first == &good);
        let (is, reason, told) = condition(&staging(&operator), "ComputeReady");
        assert!(
            !is && reason == "DatabaseRejected" && told == message,
            "{told}"
        );
        operator.sim.edit_database("staging", |object| {
            object.spec.compute = serde_json::from_value(good.clone()).unwrap();
        });
        operator.run_for(MINUTE * 2).await;
        let staging = staging(&operator);
        assert!(staging.is_settled(), "{:?}", staging.conditions());
    }
}

#[tokio::test(start_paused = true)]
async fn a_compute_that_does_not_start_is_told_where_nothing_opens_a_session() {
    let sim = Sim::new();
    let asked = |setting: &str| json!({"settings": {setting: "1"}});
    let compute = json!({"compute": asked(UNKNOWN_SETTING)});
    sim.database("production", "production", json!({}));
    sim.database("staging", "staging", compute);
    let mut operator = Operator::new(&sim);
    operator.run_for(MINUTE * 3).await;
    let staging = |operator: &Operator| operator.sim.get_database("staging").unwrap();
    let told = "spec.compute.settings.no_such_setting: the compute does not start with it: ";
    says(
        &stalled(&staging(&operator), Reason::DatabaseRejected),
        &[told],
    );
    assert!(!condition(&staging(&operator), "ComputeReady").0);
    let event = "warning: true, reason: DatabaseRejected";
    assert_eq!(events(&operator, event), 1);
    // it is on record
    let calls = sim.lock().neon.calls.mutations.len();
    operator.restart();
    operator.run_for(MINUTE * 15).await;
    stalled(&staging(&operator), Reason::DatabaseRejected);
    assert_eq!(sim.lock().neon.calls.mutations.len(), calls);

    sim.edit_database("staging", |object| {
        object.spec.compute = serde_json::from_value(asked("jit")).unwrap();
    });
    operator.run_for(MINUTE * 2).await;
    assert!(staging(&operator).is_settled());
}

#[tokio::test(start_paused = true)]
async fn a_start_that_failed_for_no_reason_that_is_told_is_over_when_the_compute_is_seen_to_run() {
    let sim = Sim::new();
    sim.database("production", "production", json!({}));
    let spec = json!({"compute": {"minCU": 1, "maxCU": 2}});
    sim.database("staging", "staging", spec);
    let mut operator = Operator::new(&sim);
    operator.run_for(MINUTE).await;
    let fails = ("update endpoint".to_owned(), Fault::OperationFails);
    sim.at_neon(|project, _| project.fails = Some(fails));
    sim.edit_database("staging", |object| {
        object.spec.compute = serde_json::from_value(json!({"minCU": 2, "maxCU": 2})).unwrap();
    });
    operator.run_for(MINUTE * 3).await;
    let staging = |operator: &Operator| operator.sim.get_database("staging").unwrap();
    let message = stalled(&staging(&operator), Reason::OperationFailed);
    says(&message, &["Neon could not start the compute: ", NO_START]);
    let active = |endpoint: &mut Endpoint| endpoint.current_state = EndpointState::Active;
    by_hand(&operator, active);
    operator.run_for(MINUTE * 10).await;
    assert!(staging(&operator).is_settled());
}

#[tokio::test(start_paused = true)]
async fn a_setting_that_the_server_refuses_is_not_sent_and_everything_else_goes_on() {
    let of =
        |most: f64, settings: Value| json!({"minCU": 0.25, "maxCU": most, "settings": settings});
    let mut operator = begin(of(1.0, json!({"work_mem": "8MB"})), |_| {}).await;
    let set = |operator: &Operator, compute: Value| {
        operator.sim.edit_database("staging", |object| {
            object.spec.compute = serde_json::from_value(compute).unwrap();
        });
    };
    let wrong = json!({"work_mem": "8MB", "jit": "off", UNKNOWN_SETTING: "1"});
    set(&operator, of(2.0, wrong));
    operator.run_for(MINUTE * 5).await;
    let staging = |operator: &Operator| operator.sim.get_database("staging").unwrap();
    let message = stalled(&staging(&operator), Reason::DatabaseRejected);
    says(
        &message,
        &["spec.compute.settings.no_such_setting: ", "unrecognized"],
    );
    let (is, reason, told) = condition(&staging(&operator), "ComputeReady");
    assert!(
        !is && reason == "DatabaseRejected" && told == message,
        "{told}"
    );
    for part in ["BranchReady", "DatabasesReady", "CredentialsPublished"] {
        assert!(condition(&staging(&operator), part).0, "{part}");
    }
    assert!((endpoint(&operator).autoscaling_limit_max_cu - 2.0).abs() < 0.01);
    let settings = json!({"work_mem": "8MB", "jit": "off"});
    assert_eq!(json!(endpoint(&operator).pg_settings()), settings);
    // it is neither asked again nor sent
    let sessions = operator.sim.lock().sessions;
    assert_eq!(resizes(&mut operator).await, 0);
    operator.run_for(MINUTE * 60).await;
    assert_eq!(operator.sim.lock().sessions, sessions);
    stalled(&staging(&operator), Reason::DatabaseRejected);

    set(&operator, of(2.0, json!({"jit": "off"})));
    assert_eq!(resizes(&mut operator).await, 1);
    assert!(staging(&operator).is_settled());
}
