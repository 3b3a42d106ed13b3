//! Who waits when Neon runs no further compute, because as many run as the plan allows or a quota is used up.

use jiff::SignedDuration;
use sepulki::api::Reason;
use sepulki::reconcile::Conditions;
use serde_json::json;

use crate::database::{condition, database, reconciling, says};
use crate::invariants::check;
use crate::scene::{FILES, child_of, simple, with};
use crate::world::Sim;
use crate::world::operator::Operator;

const MINUTE: SignedDuration = SignedDuration::from_mins(1);

/// Fewer than two in a minute, and those that come quickly at first.
const TRIES: std::ops::RangeInclusive<usize> = 25..=70;

fn spare(sim: &Sim, is_spared: bool) {
    sim.lock().neon.no_compute_to_spare = !is_spared;
}

/// How many sessions are tried in half an hour.
async fn tries(operator: &mut Operator) -> usize {
    let before = operator.sim.lock().sessions;
    operator.run_for(MINUTE * 30).await;
    operator.sim.lock().sessions - before
}

#[tokio::test(start_paused = true)]
async fn a_database_waits_for_a_compute_with_patience_and_converges_when_there_is_one() {
    let sim = Sim::new();
    sim.database("production", "production", simple());
    let mut operator = Operator::new(&sim);
    operator.settle().await;
    spare(&sim, false);
    let child = with(simple(), child_of("production"));
    sim.database("preview", "preview", child);
    let tried = tries(&mut operator).await;
    assert!(TRIES.contains(&tried), "{tried}");
    let preview = database(&operator, "preview");
    let message = reconciling(&preview, Reason::LimitReached);
    says(&message, &["concurrently active endpoints"]);
    assert!(condition(&preview, "BranchReady").0);
    let (is, reason, _) = condition(&preview, "ComputeReady");
    assert!(!is && reason == "LimitReached", "{reason}");
    // what is as asked needs no session
    assert!(database(&operator, "production").is_settled());

    spare(&sim, true);
    operator.run_for(MINUTE * 3).await;
    assert!(database(&operator, "preview").is_settled());
    assert!(condition(&database(&operator, "preview"), "ComputeReady").0);
    check(&sim, &[]);
}

#[tokio::test(start_paused = true)]
async fn what_is_changed_inside_of_a_database_waits_as_well() {
    let sim = Sim::new();
    sim.database("production", "production", simple());
    let mut operator = Operator::new(&sim);
    operator.settle().await;
    spare(&sim, false);
    let settings = json!({"work_mem": "8MB"});
    sim.edit_database("production", |object| {
        let compute = json!({"settings": settings});
        object.spec.compute = serde_json::from_value(compute).unwrap();
    });
    let tried = tries(&mut operator).await;
    assert!(TRIES.contains(&tried), "{tried}");
    reconciling(&database(&operator, "production"), Reason::LimitReached);
    spare(&sim, true);
    operator.run_for(MINUTE * 3).await;
    assert!(database(&operator, "production").is_settled());
    check(&sim, &[]);
}

#[tokio::test(start_paused = true)]
async fn a_migration_waits_for_a_compute_with_patience_and_is_applied_when_there_is_one() {
    let sim = Sim::new();
    sim.files(&FILES);
    sim.database("production", "production", simple());
    let mut operator = Operator::new(&sim);
    operator.settle().await;
    spare(&sim, false);
    sim.migration("production", json!({}));
    let tried = tries(&mut operator).await;
    assert!(TRIES.contains(&tried), "{tried}");
    let migration = sim.get_migration("production").unwrap();
    let message = reconciling(&migration, Reason::LimitReached);
    says(&message, &["concurrently active endpoints"]);
    spare(&sim, true);
    operator.run_for(MINUTE * 3).await;
    assert!(sim.get_migration("production").unwrap().is_settled());
    check(&sim, &FILES);
}
