//! Who gets a branch, and who asks for one, when Neon has no room for all.

use jiff::SignedDuration;
use sepulki::api::{NeonDatabase, Reason};
use sepulki::reconcile::Conditions;
use serde_json::json;

use crate::database::{reconciling, says, stalled};
use crate::scene::{child_of, simple, with};
use crate::world::Sim;
use crate::world::operator::Operator;

const MINUTE: SignedDuration = SignedDuration::from_mins(1);

/// As many as Neon has room for, beside the one that they are forked from.
const ROOM: usize = 10;

const PREVIEWS: usize = 30;

fn name(number: usize) -> String {
    format!("pr-{number:02}")
}

fn preview(operator: &Operator, number: usize) -> NeonDatabase {
    operator.sim.get_database(&name(number)).unwrap()
}

/// Previews that are as asked, by their number.
fn settled(operator: &Operator) -> Vec<usize> {
    let is_settled = |number: &usize| {
        let object = operator.sim.get_database(&name(*number));
        object.is_some_and(|object| object.is_settled())
    };
    (0..PREVIEWS).filter(is_settled).collect()
}

fn calls(operator: &Operator) -> usize {
    operator.sim.lock().neon.calls.attempts
}

/// More previews than there is room for.
async fn crowded() -> Operator {
    let sim = Sim::new();
    sim.database("production", "production", simple());
    let mut operator = Operator::new(&sim);
    operator.settle().await;
    sim.at_neon(|project, _| project.most_branches = Some(1 + ROOM));
    for number in 0..PREVIEWS {
        let spec = with(simple(), child_of("production"));
        sim.database(&name(number), "preview", spec);
    }
    operator.run_for(MINUTE * 10).await;
    operator
}

#[tokio::test(start_paused = true)]
async fn room_at_neon_goes_to_who_came_first_and_one_asks_for_all() {
    let mut operator = crowded().await;
    let mut lucky = settled(&operator);
    assert_eq!(lucky.len(), ROOM);
    // those that are brought up at the same time may overtake each other
    assert!(lucky.iter().all(|number| *number < ROOM + 3), "{lucky:?}");
    let next = (0..PREVIEWS)
        .find(|number| !lucky.contains(number))
        .unwrap();
    let first = reconciling(&preview(&operator, next), Reason::LimitReached);
    says(
        &first,
        &["room for one more branch", "branches limit exceeded"],
    );
    let last = reconciling(&preview(&operator, PREVIEWS - 1), Reason::LimitReached);
    says(&last, &["number 20 in line", "19 older", "limit exceeded"]);

    // while nothing changes Neon is asked about once a minute, and listed
    let before = calls(&operator);
    operator.run_for(MINUTE * 10).await;
    let asked = calls(&operator) - before;
    assert!(asked <= 10 * (2 + 2 + 2), "{asked} calls in ten minutes");

    // one goes: the next in line comes, and no other
    let gone = lucky.remove(3);
    operator.sim.delete_database(&name(gone));
    operator.run_for(MINUTE * 3).await;
    lucky.push(next);
    lucky.sort_unstable();
    assert_eq!(settled(&operator), lucky);
    let last = reconciling(&preview(&operator, PREVIEWS - 1), Reason::LimitReached);
    says(&last, &["number 19 in line"]);

    // somebody buys more, and nobody tells
    operator
        .sim
        .at_neon(|project, _| project.most_branches = None);
    operator.run_for(MINUTE * 8).await;
    assert_eq!(settled(&operator).len(), PREVIEWS - 1);
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_compute_says_so_and_comes_in_turn() {
    let sim = Sim::new();
    sim.database("production", "production", simple());
    let mut operator = Operator::new(&sim);
    operator.settle().await;
    sim.at_neon(|project, _| project.most_running = Some(2));
    for number in 0..3 {
        let spec = with(simple(), child_of("production"));
        sim.database(&name(number), "preview", spec);
        operator.run_for(MINUTE).await;
    }
    assert_eq!(settled(&operator), [0]);
    let compute = "room for one more running compute";
    let first = reconciling(&preview(&operator, 1), Reason::LimitReached);
    says(&first, &["waits for", compute, "concurrently active"]);
    let second = reconciling(&preview(&operator, 2), Reason::LimitReached);
    says(&second, &["number 2 in line for", compute]);
    sim.at_neon(|project, _| project.most_running = Some(3));
    operator.run_for(MINUTE * 6).await;
    assert_eq!(settled(&operator), [0, 1]);
}

#[tokio::test(start_paused = true)]
async fn who_may_not_be_protected_takes_no_room_from_others() {
    let sim = Sim::new();
    sim.at_neon(|project, _| project.most_protected = Some(1));
    sim.database("production", "production", simple());
    let protected = json!({"branch": {"protected": true}});
    sim.database("older", "staging", with(simple(), protected));
    let mut operator = Operator::new(&sim);
    operator.run_for(MINUTE * 2).await;
    let older = operator.sim.get_database("older").unwrap();
    stalled(&older, Reason::LimitReached);
    for number in 0..2 {
        let spec = with(simple(), child_of("production"));
        sim.database(&name(number), "preview", spec);
    }
    operator.run_for(MINUTE * 3).await;
    assert_eq!(settled(&operator), [0, 1]);
}

#[tokio::test(start_paused = true)]
async fn protection_of_the_profile_that_the_plan_has_not_is_left_out_and_told() {
    let sim = Sim::new();
    sim.at_neon(|project, _| project.most_protected = Some(0));
    sim.database("production", "production", simple());
    let mut operator = Operator::new(&sim);
    operator.settle().await;
    assert!(sim.secret("production").is_some());
    let told = |sim: &Sim| {
        let production = sim.get_database("production").unwrap();
        assert!(production.is_settled());
        let conditions = production.status.unwrap().conditions;
        let branch = conditions.into_iter().find(|c| c.type_ == "BranchReady");
        branch
            .map(|branch| (branch.reason, branch.message))
            .unwrap()
    };
    let (reason, message) = told(&sim);
    assert_eq!(reason, "PlanLimited");
    says(
        &message,
        &["does not protect the branch main", "spec.branch.protected"],
    );
    // asked for again once a day, and had once there is a plan for it
    let attempts = || sim.lock().neon.calls.refused.len();
    let before = attempts();
    operator.run_for(MINUTE * 60 * 23).await;
    assert_eq!(attempts(), before, "asked again at rest");
    sim.at_neon(|project, _| project.most_protected = None);
    operator.run_for(MINUTE * 60 * 2).await;
    assert_eq!(told(&sim).0, "Succeeded");
    assert!(sim.at_neon(|project, _| project.branches[0].branch.protected));
}
