//! An operator that starts beside objects that are as asked: it finds that out, and changes nothing.

use jiff::SignedDuration;
use sepulki::api::{NeonDatabase, SepulkiMigration};
use sepulki::reconcile::Conditions;
use serde_json::json;

use crate::scene::{child_of, founded, grown, simple, with};
use crate::world::Sim;
use crate::world::operator::Operator;

/// Long enough for every look that is made now and then.
const A_WHILE: SignedDuration = SignedDuration::from_mins(12);

/// So many previews of each project come up at a time.
const AT_ONCE: usize = 4;

/// What a start came to.
pub struct Restart {
    pub objects: usize,
    pub passes: usize,
    /// Calls to Neon until every object was looked at once.
    pub calls: usize,
}

/// A world of so many settled objects; the operator that has settled them has ended.
pub async fn at_rest(projects: usize, of_each: usize) -> Operator {
    let sim = Sim::new();
    founded(&sim, projects);
    let mut operator = Operator::new(&sim);
    operator.settle().await;
    // not all at once: whoever waits in line is looked at many times
    for first in (1..of_each).step_by(AT_ONCE) {
        grown(&sim, projects, first..of_each.min(first + AT_ONCE));
        operator.settle().await;
    }
    // what nobody tells is noticed within a minute or two
    operator.run_for(SignedDuration::from_mins(3)).await;
    operator.end();
    operator
}

/// Starts another process, and asserts that it leaves everything as it is, now and for a while.
pub async fn restart(operator: &mut Operator, a_while: SignedDuration) -> Restart {
    let sim = operator.sim.clone();
    let effects = sim.faults.effects().len();
    let (writes, before) = {
        let state = sim.lock();
        (state.kubernetes.writes.len(), state.neon.calls.clone())
    };
    let passes = operator.passes.len();
    operator.restart();
    operator.settle().await;
    let passes = operator.passes.len() - passes;
    let calls = sim.lock().neon.calls.attempts - before.attempts;
    operator.run_for(a_while).await;
    let state = sim.lock();
    assert_eq!(state.kubernetes.writes[writes..], [""; 0]);
    assert_eq!(state.neon.calls.mutations, before.mutations);
    assert_eq!(sim.faults.effects()[effects..], [""; 0]);
    let (databases, migrations) = (&state.kubernetes.databases, &state.kubernetes.migrations);
    assert!(databases.values().all(NeonDatabase::is_settled));
    assert!(migrations.values().all(SepulkiMigration::is_settled));
    Restart {
        objects: databases.len() + migrations.len(),
        passes,
        calls,
    }
}

#[tokio::test(start_paused = true)]
async fn a_start_beside_settled_objects_writes_nothing_and_lists_each_project_once() {
    const PROJECTS: usize = 5;
    let mut operator = at_rest(PROJECTS, 30).await;
    let start = restart(&mut operator, A_WHILE).await;
    // one each, and another when it is a Secret's turn to be looked at
    assert!((start.objects..=2 * start.objects).contains(&start.passes));
    assert_eq!(start.calls, 2 * PROJECTS, "two listings of each project");
}

#[tokio::test(start_paused = true)]
async fn after_a_start_beside_many_objects_a_new_one_does_not_wait_until_all_were_looked_at() {
    const PREVIEWS: usize = 200;
    let sim = Sim::flowing();
    founded(&sim, 1);
    grown(&sim, 1, 1..PREVIEWS);
    let all: Vec<String> = {
        let state = sim.lock();
        let databases = state.kubernetes.databases.values();
        let uids = databases.map(|object| object.metadata.uid.clone().unwrap());
        uids.collect()
    };
    let mut operator = Operator::new(&sim);
    operator.bustle(&all).await;

    operator.restart();
    let begin = sim.now();
    let of_production = with(child_of("production-1"), json!({"projectId": "project-1"}));
    sim.database("new", "preview", with(simple(), of_production));
    let uid = sim.get_database("new").unwrap().metadata.uid.unwrap();
    let settled = operator.bustle(&[uid]).await;
    let took = settled[0].1.duration_since(begin);
    println!("beside {PREVIEWS} objects of which nothing is known: ready after {took:.0}");
    // five Secrets a second take 40 s
    assert!(took < SignedDuration::from_secs(20), "{took}");
}
