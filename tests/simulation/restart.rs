//! An operator that starts beside objects that are as asked: it finds that out, and changes nothing.

use jiff::SignedDuration;
use sepulki::api::{NeonDatabase, SepulkiMigration};
use sepulki::reconcile::Conditions;

use crate::scene::{founded, grown};
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
    assert_eq!(start.passes, start.objects);
    assert_eq!(start.calls, 2 * PROJECTS, "two listings of each project");
}
