//! Operations that do not come to an end: what they cost, what is told of them, and that nobody else waits for them.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use sepulki::api::{NeonDatabase, Reason};
use sepulki::reconcile::Conditions;

use crate::scene::{child_of, settled, simple, with};
use crate::world::Sim;
use crate::world::neon::{Hang, Project};
use crate::world::operator::Operator;

/// How many calls an operation may cost that hangs for an hour: 10 in the first ten seconds, then one every 2 s at most,
/// and one every 30 s once it is overdue.
const CALLS: usize = 10 + 290 / 2 + 3_300 / 30;

fn production(sim: &Sim) {
    sim.database("production", "production", simple());
}

fn preview(sim: &Sim, name: &str) {
    sim.database(name, "preview", with(simple(), child_of("production")));
}

fn looks(operator: &Operator) -> usize {
    let state = operator.sim.lock();
    state
        .neon
        .calls
        .by_route
        .get("operation")
        .copied()
        .unwrap_or_default()
}

fn is_settled(sim: &Sim, name: &str) -> bool {
    sim.get_database(name)
        .is_some_and(|object| object.is_settled())
}

/// A preview whose branch Neon has taken on to make, and does not.
async fn hung(operator: &mut Operator, name: &str, hang: Hang) {
    let sim = operator.sim.clone();
    sim.at_neon(|project, _| project.hangs = Some(hang));
    preview(&sim, name);
    operator.run_for(SignedDuration::from_secs(2)).await;
    sim.at_neon(|project, _| project.hangs = None);
    let status = sim.get_database(name).unwrap().status.unwrap();
    assert_eq!(status.operations.len(), 1, "{name}");
}

#[tokio::test(start_paused = true)]
async fn one_that_hangs_for_an_hour_costs_few_calls_is_told_once_and_is_taken_up_when_it_ends() {
    let mut operator = settled(production).await;
    hung(&mut operator, "pr-1", Hang::LetsOthers).await;
    let sim = operator.sim.clone();
    operator.run_for(SignedDuration::from_mins(6)).await;
    let told = |object: &NeonDatabase| object.ready().unwrap().clone();
    let after_six_minutes = told(&sim.get_database("pr-1").unwrap());
    let writes = sim.lock().kubernetes.writes.len();

    operator.run_for(SignedDuration::from_mins(54)).await;

    let object = sim.get_database("pr-1").unwrap();
    let operation = &object.status.as_ref().unwrap().operations[0];
    let ready = told(&object);
    assert_eq!(ready.reason, Reason::OperationsRunning.as_str());
    for word in [&operation.id, &operation.action, "more than 5 minutes"] {
        assert!(ready.message.contains(word), "{word}: {}", ready.message);
    }
    // nothing of it changes by itself, so it is written once
    assert_eq!(ready, after_six_minutes);
    assert_eq!(sim.lock().kubernetes.writes[writes..], [""; 0]);
    let looks = looks(&operator);
    println!("an operation that hangs for an hour costs {looks} calls (bound {CALLS})");
    assert!(looks <= CALLS, "{looks} calls");

    sim.at_neon(Project::goes_on);
    operator.run_for(SignedDuration::from_mins(2)).await;
    assert!(is_settled(&sim, "pr-1"), "{}", operator.story(10));
}

#[tokio::test(start_paused = true)]
async fn several_that_hang_do_not_hold_the_line_before_a_project() {
    let mut operator = settled(production).await;
    for number in 1..=4 {
        hung(&mut operator, &format!("hung-{number}"), Hang::LetsOthers).await;
    }
    let sim = operator.sim.clone();
    for number in 1..=4 {
        preview(&sim, &format!("pr-{number}"));
    }
    operator.run_for(SignedDuration::from_mins(3)).await;
    for number in 1..=4 {
        assert!(
            is_settled(&sim, &format!("pr-{number}")),
            "{number}: {}",
            operator.story(20)
        );
        assert!(!is_settled(&sim, &format!("hung-{number}")));
    }
}

#[tokio::test(start_paused = true)]
async fn under_load_those_that_hang_keep_nobody_else_waiting() {
    let sim = Sim::flowing();
    sim.database("production", "production", simple());
    let uid = |name: &str| {
        let object = sim.get_database(name).unwrap();
        object.metadata.uid.unwrap()
    };
    let mut operator = Operator::new(&sim);
    operator.bustle(&[uid("production")]).await;
    sim.at_neon(|project, _| project.hangs = Some(Hang::LetsOthers));
    for number in 1..=4 {
        preview(&sim, &format!("hung-{number}"));
    }
    // production is looked at every minute
    operator.bustle(&[uid("production")]).await;
    sim.at_neon(|project, _| project.hangs = None);

    let names: Vec<String> = (1..=20).map(|number| format!("pr-{number}")).collect();
    for name in &names {
        preview(&sim, name);
    }
    let begin = sim.now();
    let uids: Vec<String> = names.iter().map(|name| uid(name)).collect();
    let settled = operator.bustle(&uids).await;
    let took = settled.last().unwrap().1.duration_since(begin);
    let ready: BTreeSet<&String> = settled.iter().map(|(uid, _)| uid).collect();
    assert_eq!(ready.len(), names.len());
    println!(
        "20 previews beside four that hang: {:.0} s",
        took.as_secs_f64()
    );
    assert!(took < SignedDuration::from_mins(3), "{took}");
}

#[tokio::test(start_paused = true)]
async fn one_that_locks_the_project_for_an_hour_costs_few_tries_and_everything_goes_on_after_it() {
    let mut operator = settled(production).await;
    hung(&mut operator, "hung", Hang::Locks).await;
    let sim = operator.sim.clone();
    for number in 1..=8 {
        preview(&sim, &format!("pr-{number}"));
    }
    operator.run_for(SignedDuration::from_hours(1)).await;
    let refused = sim.lock().neon.calls.refused.len();
    // four at a time are brought up, each of which asks every minute at most
    assert!(refused < 4 * 90, "{refused} tries");
    let waits = sim.get_database("pr-1").unwrap();
    assert_eq!(
        waits.ready().unwrap().reason,
        Reason::ProjectLocked.as_str()
    );

    sim.at_neon(Project::goes_on);
    operator.run_for(SignedDuration::from_mins(3)).await;
    for name in ["hung", "pr-1", "pr-8"] {
        assert!(is_settled(&sim, name), "{name}: {}", operator.story(20));
    }
}

#[tokio::test(start_paused = true)]
async fn branches_that_stay_unfinished_without_an_operation_do_not_hold_the_line_either() {
    let mut operator = settled(production).await;
    let sim = operator.sim.clone();
    for number in 1..=4 {
        hung(&mut operator, &format!("hung-{number}"), Hang::LetsOthers).await;
    }
    sim.at_neon(|project, _| project.leave_unfinished());
    for number in 1..=4 {
        preview(&sim, &format!("pr-{number}"));
    }
    operator.run_for(SignedDuration::from_mins(3)).await;
    for number in 1..=4 {
        let hung = sim.get_database(&format!("hung-{number}")).unwrap();
        assert!(!hung.is_settled(), "{:?}", hung.conditions());
        let name = format!("pr-{number}");
        assert!(is_settled(&sim, &name), "{name}: {}", operator.story(20));
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_was_recorded_by_a_clock_that_was_ahead_is_asked_about_all_the_same() {
    let mut operator = settled(production).await;
    let sim = operator.sim.clone();
    hung(&mut operator, "pr-1", Hang::LetsOthers).await;
    sim.edit_database("pr-1", |object| {
        let status = object.status.as_mut().unwrap();
        status.operations[0].request_time.0 += SignedDuration::from_hours(1);
    });
    operator.restart();
    sim.at_neon(Project::goes_on);
    operator.run_for(SignedDuration::from_mins(2)).await;
    assert!(is_settled(&sim, "pr-1"), "{}", operator.story(10));
}
