//! What hundreds of settled objects cost: two listings per project and minute, and nothing else.

use jiff::SignedDuration;
use sepulki::api::{NeonDatabase, SepulkiMigration};
use sepulki::reconcile::Conditions;

use crate::scene::town;
use crate::world::Sim;
use crate::world::operator::Operator;

const PROJECTS: usize = 10;

const DATABASES: usize = 200;

const MINUTES: usize = 10;

#[tokio::test(start_paused = true)]
async fn two_hundred_objects_at_rest_cost_two_listings_per_project_and_minute() {
    let sim = Sim::new();
    town(&sim, PROJECTS, DATABASES / PROJECTS);
    let mut operator = Operator::new(&sim);
    operator.settle().await;
    // what nobody tells is noticed within a minute or two
    operator.run_for(SignedDuration::from_mins(3)).await;
    let (begin, effects) = (sim.now(), sim.faults.effects().len());
    let (before, sessions, writes) = {
        let mut state = sim.lock();
        assert_eq!(state.kubernetes.databases.len(), DATABASES);
        let mut databases = state.kubernetes.databases.values();
        assert!(databases.all(NeonDatabase::is_settled));
        let mut migrations = state.kubernetes.migrations.values();
        assert!(migrations.all(SepulkiMigration::is_settled));
        state.neon.calls.listed.clear();
        let writes = state.kubernetes.writes.len();
        (state.neon.calls.clone(), state.sessions, writes)
    };

    let minutes = i64::try_from(MINUTES).unwrap();
    operator.run_for(SignedDuration::from_mins(minutes)).await;

    let state = sim.lock();
    let calls = &state.neon.calls;
    assert_eq!(calls.listed.len(), PROJECTS);
    for (project, times) in &calls.listed {
        for minute in 0..minutes {
            let from = begin + SignedDuration::from_mins(minute);
            let to = from + SignedDuration::from_mins(1);
            let listings = times.iter().filter(|time| (from..to).contains(time));
            let listings = listings.count();
            assert!(listings <= 2, "{listings} of {project} in minute {minute}");
        }
        assert!(times.len() >= MINUTES, "{project} is hardly looked at");
    }
    assert_eq!(calls.looks, before.looks, "looks at single objects");
    assert_eq!(calls.mutations, before.mutations);
    let (all, listings) = (
        calls.attempts - before.attempts,
        calls.listings - before.listings,
    );
    assert_eq!(all, listings, "calls of any kind");
    assert_eq!(state.sessions, sessions, "sessions, each of which wakes");
    assert_eq!(state.kubernetes.writes[writes..], [""; 0]);
    // not even one that changes nothing
    assert_eq!(sim.faults.effects()[effects..], [""; 0]);
    println!(
        "{DATABASES} objects in {PROJECTS} projects, {MINUTES} minutes: {listings} listings, no other call, session or write"
    );
}
