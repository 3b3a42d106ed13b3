//! What becomes of a branch whose lease Neon refuses.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::SignedDuration;
use sepulki::api::{NeonDatabase, Reason};
use sepulki::reconcile::Conditions;
use serde_json::{Value, json};

use crate::database::{condition, says, stalled};
use crate::scene::{child_of, settled, simple, with};
use crate::world::Sim;
use crate::world::neon::SimBranch;
use crate::world::operator::Operator;

const MINUTE: SignedDuration = SignedDuration::from_mins(1);

const HOUR: SignedDuration = SignedDuration::from_hours(1);

/// Production and a preview of it with this lease.
fn preview(sim: &Sim, lease: Option<&str>) {
    let mut branch = child_of("production");
    if let Some(lease) = lease {
        branch["branch"]["lease"] = json!(lease);
    }
    sim.database("production", "production", simple());
    sim.database("pr-7", "preview", with(simple(), branch));
}

fn pr(sim: &Sim) -> NeonDatabase {
    sim.get_database("pr-7").unwrap()
}

fn branch(sim: &Sim) -> Option<SimBranch> {
    sim.at_neon(|project, _| project.branches.get(1).cloned())
}

fn expires(sim: &Sim) -> bool {
    branch(sim).unwrap().branch.expires_at.is_some()
}

/// Everything of the object is there, whatever is said of its lease.
fn all_else_is_done(sim: &Sim, secret: &str) {
    for part in ["ComputeReady", "DatabasesReady", "CredentialsPublished"] {
        let (is, reason, message) = condition(&pr(sim), part);
        assert!(is && reason != "PlanLimited", "{part}: {reason}: {message}");
    }
    assert!(sim.secret(secret).is_some());
}

fn another_secret(sim: &Sim, lease: Value) {
    sim.edit_database("pr-7", |object| {
        let branch = object.spec.branch.as_mut().unwrap();
        branch.lease = serde_json::from_value(lease).unwrap();
        let secrets = json!([{"name": "pr-7"}, {"name": "more"}]);
        object.spec.connection_secrets = serde_json::from_value(secrets).unwrap();
    });
}

#[tokio::test(start_paused = true)]
async fn a_lease_of_the_profile_that_the_plan_has_not_is_left_out_and_told() {
    let sim = Sim::new();
    sim.at_neon(|project, _| project.plan.no_leases = true);
    preview(&sim, None);
    let mut operator = Operator::new(&sim);
    operator.settle().await;
    assert!(pr(&sim).is_settled(), "{:?}", pr(&sim).conditions());
    all_else_is_done(&sim, "pr-7");
    let (_, reason, message) = condition(&pr(&sim), "BranchReady");
    assert_eq!(reason, "PlanLimited");
    says(
        &message,
        &["72h", "spec.branch.lease", "not part of your plan"],
    );
    let refused = || sim.lock().neon.calls.refused.len();
    let before = refused();
    operator.run_for(HOUR * 23).await;
    assert_eq!(refused(), before, "asked again at rest");
    // had once there is a plan for it
    sim.at_neon(|project, _| project.plan.no_leases = false);
    operator.run_for(HOUR * 2).await;
    assert!(expires(&sim));
    assert_eq!(condition(&pr(&sim), "BranchReady").1, "Succeeded");
}

#[tokio::test(start_paused = true)]
async fn a_branch_with_a_lease_of_the_spec_that_neon_refuses_is_not_made_without_it() {
    let sim = Sim::new();
    preview(&sim, Some("90d"));
    let mut operator = Operator::new(&sim);
    operator.run_for(MINUTE).await;
    let message = stalled(&pr(&sim), Reason::NeonRejected);
    says(&message, &["2160h (spec.branch.lease)", "30 days"]);
    assert!(!message.contains("spec.compute"), "{message}");
    assert!(branch(&sim).is_none());
    sim.edit_database("pr-7", |object| {
        object.spec.branch.as_mut().unwrap().lease = Some("7d".into());
    });
    operator.settle().await;
    assert!(pr(&sim).is_settled() && expires(&sim));
}

#[tokio::test(start_paused = true)]
async fn a_longer_lease_than_neon_has_holds_nothing_else_up() {
    let mut operator = settled(|sim| preview(sim, None)).await;
    let sim = Arc::clone(&operator.sim);
    another_secret(&sim, json!("90d"));
    operator.settle().await;
    let message = stalled(&pr(&sim), Reason::NeonRejected);
    let end = branch(&sim).unwrap().branch.expires_at.unwrap().to_string();
    let parts = [
        "preview/team/pr-7",
        "2160h",
        "spec.branch.lease",
        "30 days",
        &end,
    ];
    says(&message, &parts);
    all_else_is_done(&sim, "more");
}

#[tokio::test(start_paused = true)]
async fn a_branch_that_got_children_gets_no_lease_and_everything_else() {
    let mut operator = settled(|sim| preview(sim, Some("never"))).await;
    let sim = Arc::clone(&operator.sim);
    sim.at_neon(|project, now| {
        let parent = project.branches[1].branch.id.clone();
        let made = project.create_branch("by-hand", &parent, BTreeMap::new(), now);
        made.unwrap();
    });
    another_secret(&sim, json!(null));
    operator.settle().await;
    assert!(pr(&sim).is_settled(), "{:?}", pr(&sim).conditions());
    assert_eq!(condition(&pr(&sim), "BranchReady").1, "PlanLimited");
    all_else_is_done(&sim, "more");
    another_secret(&sim, json!("2h"));
    operator.settle().await;
    says(
        &stalled(&pr(&sim), Reason::NeonRejected),
        &["cannot have an expiration"],
    );
    // the child goes, and nobody tells
    sim.at_neon(|project, _| project.branches.truncate(2));
    operator.run_for(MINUTE * 12).await;
    assert!(pr(&sim).is_settled() && expires(&sim));
}

#[tokio::test(start_paused = true)]
async fn a_branch_does_not_run_out_while_nobody_can_look_inside() {
    let mut operator = settled(|sim| preview(sim, None)).await;
    let sim = Arc::clone(&operator.sim);
    let before = branch(&sim).unwrap().branch.id;
    sim.lock().neon.out_of_order = Some("roles");
    sim.edit_database("pr-7", |object| {
        let roles = json!([{"name": "web", "access": "ReadWrite"}, {"name": "report", "access": "ReadOnly"}]);
        object.spec.roles = serde_json::from_value(roles).unwrap();
    });
    sim.at_neon(|project, now| project.branches[1].branch.expires_at = Some(now + HOUR));
    operator.run_for(HOUR * 2).await;
    assert!(!pr(&sim).is_settled());
    assert_eq!(branch(&sim).unwrap().branch.id, before);
    sim.lock().neon.out_of_order = None;
    operator.settle().await;
    assert!(pr(&sim).is_settled());
}
