//! Passes at the same time, and two operators at once.

use jiff::SignedDuration;

use crate::invariants::check;
use crate::scene::{FILES, everything, production_and_preview};
use crate::world::Sim;
use crate::world::operator::Operator;

#[tokio::test(start_paused = true)]
async fn passes_at_the_same_time_come_to_the_same_end() {
    let sim = Sim::new();
    everything(&sim);
    let mut operator = Operator::new(&sim);
    operator.side_by_side = true;
    operator.settle().await;
    check(&sim, &FILES);
}

#[tokio::test(start_paused = true)]
async fn two_operators_at_once_come_to_the_same_end() {
    let sim = Sim::new();
    production_and_preview(&sim);
    let (mut one, mut two) = (Operator::new(&sim), Operator::new(&sim));
    // one whose lease was lost goes on for a while
    let lease = SignedDuration::from_secs(30);
    tokio::join!(one.run_for(lease), two.run_for(lease));
    drop(one);
    // which branch a migration is at work on is known within one process
    sim.lock().disturbed.clear();
    // what the first one said last may be older than what the second one knows, until that looks again
    two.run_for(SignedDuration::from_mins(2)).await;
    two.settle().await;
    check(&sim, &FILES);
}

/// A call to Neon for nothing comes out of the budget of everybody.
#[tokio::test(start_paused = true)]
async fn nobody_asks_for_a_change_while_neon_is_at_work_on_the_project() {
    let sim = Sim::flowing();
    everything(&sim);
    let mut operator = Operator::new(&sim);
    let objects = ["production", "staging", "development", "pr-7"];
    let uids = objects.map(|name| sim.get_database(name).unwrap().metadata.uid.unwrap());
    operator.bustle(&uids).await;
    let refused = &sim.lock().neon.calls.refused;
    assert!(refused.is_empty(), "{refused:?}");
}
