//! What people are told of what they may not have meant, where nothing else shows it.

use jiff::SignedDuration;
use sepulki::api::{RESET, Reason};
use sepulki::reconcile::Conditions;
use serde_json::{Value, json};

use crate::database::{condition, database, events, reconciling, says, stalled};
use crate::scene::{child_of, production_and_preview, settled, simple, with};
use crate::world::Sim;
use crate::world::operator::Operator;

const MINUTE: SignedDuration = SignedDuration::from_mins(1);

const HOUR: SignedDuration = SignedDuration::from_hours(1);

/// Production and an object with this in its spec, after a minute.
async fn beside_production(environment: &str, spec: Value) -> Operator {
    let sim = Sim::new();
    sim.database("production", "production", simple());
    sim.database("it", environment, with(simple(), spec));
    let mut operator = Operator::new(&sim);
    operator.run_for(MINUTE).await;
    operator
}

#[tokio::test(start_paused = true)]
async fn what_may_never_come_is_told_once_by_an_event() {
    let mut operator = beside_production("preview", child_of("produktion")).await;
    operator.run_for(MINUTE * 10).await;
    let told = events(&operator.sim, "ParentNotFound");
    assert_eq!(told, ["the parent NeonDatabase produktion does not exist"]);
    // a process that knows nothing tells nothing anew
    operator.restart();
    operator.run_for(MINUTE * 2).await;
    assert_eq!(events(&operator.sim, "ParentNotFound"), told);
}

#[tokio::test(start_paused = true)]
async fn a_reset_that_an_annotation_asks_for_is_told_by_an_event() {
    let mut operator = settled(production_and_preview).await;
    let sim = operator.sim.clone();
    let id = database(&operator, "pr-7")
        .status
        .unwrap()
        .branch
        .unwrap()
        .id;
    let request = format!("{id}@{}", sim.now());
    sim.annotate_database("pr-7", RESET, &request);
    operator.settle().await;
    operator.run_for(MINUTE * 2).await;
    assert_eq!(
        events(&sim, "ResettingBranch"),
        [format!(
            "the branch goes back to its parent's state: {RESET}: {request}"
        )]
    );
}

#[tokio::test(start_paused = true)]
async fn when_a_branch_is_deleted_is_told_before_and_after() {
    let mut spec = child_of("production");
    spec["branch"]["maxAge"] = json!("2h");
    let mut operator = beside_production("preview", spec).await;
    let made = database(&operator, "it").metadata.creation_timestamp;
    let end = made.unwrap().0 + HOUR * 2;
    let (ready, _, message) = condition(&database(&operator, "it"), "BranchReady");
    assert!(ready);
    says(
        &message,
        &[&format!(
            "which is deleted at {end}, when its maxAge is over"
        )],
    );
    operator.run_for(HOUR * 2 + MINUTE * 2).await;
    let message = stalled(&database(&operator, "it"), Reason::Expired);
    says(
        &message,
        &[&format!("was over at {end}, and it was deleted")],
    );
}

#[tokio::test(start_paused = true)]
async fn a_policy_that_does_nothing_for_a_branch_that_was_taken_over_is_told() {
    for (by_id, policy, stays) in [
        (false, Some("Delete"), true),
        (false, None, false),
        (true, Some("Delete"), false),
    ] {
        let sim = Sim::new();
        let id = sim.at_neon(|project, now| {
            let main = project.branches[0].branch.id.clone();
            let made = project.create_branch("old", &main, [].into(), now);
            made.unwrap()
        });
        let existing = if by_id {
            json!({"id": id.as_str()})
        } else {
            json!({"name": "old"})
        };
        let mut spec = json!({"branch": {"existing": existing}});
        if let Some(policy) = policy {
            spec["deletionPolicy"] = json!(policy);
        }
        sim.database("it", "development", with(simple(), spec));
        let mut operator = Operator::new(&sim);
        operator.settle().await;
        let it = database(&operator, "it");
        let (ready, _, message) = condition(&it, "BranchReady");
        assert!(ready, "{:?}", it.conditions());
        let told = message.contains("stays when this object is deleted");
        assert_eq!(told, stays, "{message}");
        let effective = it.status.unwrap().effective.unwrap();
        assert_eq!(
            effective.deletion_policy,
            sepulki::api::DeletionPolicy::Retain
        );
    }
}

/// Somebody makes a branch on Neon and names it at once: the operator's listing is older than both.
#[tokio::test(start_paused = true)]
async fn a_branch_that_was_made_by_hand_a_moment_ago_is_found() {
    for (spec, environment) in [
        (json!({"existing": {"name": "by-hand"}}), "staging"),
        (json!({"parent": {"branchName": "by-hand"}}), "preview"),
    ] {
        let mut operator = settled(|sim: &Sim| {
            sim.database("production", "production", simple());
        })
        .await;
        let sim = operator.sim.clone();
        operator.run_for(SignedDuration::from_secs(5)).await;
        sim.at_neon(|project, now| {
            let main = project.branches[0].branch.id.clone();
            project.create_branch("by-hand", &main, [].into(), now)
        })
        .unwrap();
        sim.database("it", environment, with(simple(), json!({"branch": spec})));
        let begun = sim.now();
        operator.settle().await;
        assert!(database(&operator, "it").is_settled());
        let took = sim.now().duration_since(begun);
        assert!(took < SignedDuration::from_secs(30), "{took}");
        assert!(!sim.lock().said.contains("NotFound"), "{}", sim.lock().said);
    }
}

/// One that is not there is looked for once: afterwards it is found in its turn.
#[tokio::test(start_paused = true)]
async fn a_branch_that_is_not_there_costs_no_listing_of_its_own() {
    let listings = |operator: &Operator| operator.sim.lock().neon.calls.listings;
    let parent = json!({"branch": {"parent": {"branchName": "nosuch"}}});
    let mut operator = beside_production("preview", parent).await;
    reconciling(&database(&operator, "it"), Reason::ParentNotFound);
    let before = listings(&operator);
    operator.run_for(MINUTE * 30).await;
    // one a minute, of branches and of endpoints
    let most = 2 * 30 + 2;
    let listed = listings(&operator) - before;
    assert!(listed <= most, "{listed}");
}
