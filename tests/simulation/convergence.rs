//! From nothing to everything as asked, and then no more than the shared listing.

use std::sync::Arc;

use jiff::SignedDuration;

use crate::invariants::check;
use crate::scene::{FILES, everything, settled};
use crate::world::Sim;
use crate::world::operator::Operator;

#[tokio::test(start_paused = true)]
async fn all_environments_come_up_side_by_side() {
    let sim = Sim::new();
    everything(&sim);
    let mut operator = Operator::new(&sim);
    let passes = operator.settle().await;
    check(&sim, &FILES);
    println!("{passes} passes, {} effects", sim.faults.effects().len());
    assert!(passes <= 120, "{passes} passes\n{}", operator.story(1000));
}

#[tokio::test(start_paused = true)]
async fn what_is_settled_costs_two_listings_a_minute() {
    let mut operator = settled(everything).await;
    let sim = Arc::clone(&operator.sim);
    operator.run_for(SignedDuration::from_mins(2)).await;
    let before = {
        let state = sim.lock();
        (
            state.neon.calls.clone(),
            state.sessions,
            state.kubernetes.writes.len(),
        )
    };
    operator.run_for(SignedDuration::from_mins(30)).await;
    let state = sim.lock();
    assert_eq!(state.neon.calls.mutations, before.0.mutations);
    assert_eq!(state.neon.calls.looks, before.0.looks);
    let listings = state.neon.calls.listings - before.0.listings;
    assert!(
        (30..=62).contains(&listings),
        "{listings} listings in 30 minutes"
    );
    assert_eq!(state.sessions, before.1, "sessions");
    assert_eq!(state.kubernetes.writes[before.2..], [""; 0]);
}
