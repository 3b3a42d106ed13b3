//! Many previews in one project at once: as fast as the account's calls and Neon's operations allow, and in order.

use std::time::Duration;

use jiff::Timestamp;
use sepulki::neon::PacingRules;
use serde_json::json;

use crate::scene::{simple, with};
use crate::world::neon::OPERATION;
use crate::world::operator::Operator;
use crate::world::{NAMESPACE, Sim};

const PREVIEWS: &str = "previews";

/// As many times as long as need be, at most.
const MOST: f64 = 1.1;

/// As many are brought up at a time, and may overtake each other.
const SIDE_BY_SIDE: usize = 4;

/// What came of a burst.
pub struct Burst {
    pub previews: usize,
    /// Until the last was ready.
    pub took: Duration,
    /// What the calls take at the account's rate, of each preview no more than one alone makes; or the operations.
    pub bound: Duration,
    /// Calls to Neon.
    pub calls: usize,
    /// Branches that were made, in order.
    pub made: Vec<String>,
    /// Previews that became ready, in order.
    pub ready: Vec<String>,
    /// The longest that nobody became ready.
    pub longest_gap: Duration,
    /// Writes to the API server.
    pub writes: usize,
    /// Passes that failed.
    pub failed: usize,
}

fn name(number: usize) -> String {
    format!("pr-{number:04}")
}

fn of_the_sea() -> serde_json::Value {
    with(simple(), json!({"projectRef": {"name": "sea"}}))
}

/// Production at rest, and an operator that runs.
async fn at_rest() -> Operator {
    let sim = Sim::flowing();
    sim.namespace(PREVIEWS, &[]);
    let spec = json!({"baseBranch": "main", "access": [{"namespaces": {}}]});
    sim.project("sea", spec);
    sim.database_in(NAMESPACE, "production", "production", of_the_sea());
    let production = sim.get_database("production").unwrap().metadata.uid;
    let mut operator = Operator::new(&sim);
    operator.bustle(&[production.unwrap()]).await;
    operator
}

/// Applies so many previews at once; answers how they came up, and how many operations Neon had to do with them.
async fn bring_up(operator: &mut Operator, previews: usize) -> (Burst, usize) {
    let sim = operator.sim.clone();
    let begin = sim.now();
    let (calls, writes) = {
        let state = sim.lock();
        (state.neon.calls.clone(), state.kubernetes.writes.len())
    };
    let operations = sim.at_neon(|project, _| project.operations_so_far());
    let passes = operator.passes.len();
    let names: Vec<String> = (0..previews).map(name).collect();
    for name in &names {
        sim.database_in(PREVIEWS, name, "preview", of_the_sea());
    }
    let uid = |name: &String| {
        let object = sim.get_database_in(PREVIEWS, name).unwrap();
        object.metadata.uid.unwrap()
    };
    let uids: Vec<String> = names.iter().map(uid).collect();
    let settled = operator.bustle(&uids).await;

    let operations = sim.at_neon(|project, _| project.operations_so_far()) - operations;
    let state = sim.lock();
    let times: Vec<Timestamp> = settled.iter().map(|(_, at)| *at).collect();
    let between = |from: Timestamp, to: Timestamp| Duration::try_from(to - from).unwrap();
    let gaps = times.windows(2).map(|pair| between(pair[0], pair[1]));
    let place = |uid: &String| uids.iter().position(|other| other == uid).unwrap();
    let mutations = &state.neon.calls.mutations[calls.mutations.len()..];
    let made = mutations
        .iter()
        .filter_map(|what| what.strip_prefix("create branch "));
    let failed = |line: &&String| line.contains("then Failed");
    let burst = Burst {
        previews,
        took: between(begin, *times.last().unwrap()),
        bound: Duration::ZERO,
        calls: state.neon.calls.attempts - calls.attempts,
        made: made
            .map(|branch| branch.rsplit('/').next().unwrap().to_owned())
            .collect(),
        ready: settled
            .iter()
            .map(|(uid, _)| names[place(uid)].clone())
            .collect(),
        longest_gap: gaps.max().unwrap_or_default(),
        writes: state.kubernetes.writes.len() - writes,
        failed: operator.passes[passes..].iter().filter(failed).count(),
    };
    (burst, operations)
}

fn times(one: Duration, many: usize) -> Duration {
    one * u32::try_from(many).unwrap()
}

/// A burst beside what one preview alone costs.
pub async fn burst(previews: usize) -> Burst {
    let (one, operations) = bring_up(&mut at_rest().await, 1).await;
    let (burst, _) = bring_up(&mut at_rest().await, previews).await;
    let per_second = PacingRules::default().calls_per_second;
    let calls = burst.calls.min(one.calls * previews);
    let by_calls = times(Duration::from_secs(1), calls) / u32::try_from(per_second).unwrap();
    let operation = Duration::try_from(OPERATION).unwrap();
    let bound = by_calls.max(times(operation, operations * previews));
    Burst { bound, ..burst }
}

impl Burst {
    pub fn told(&self) -> String {
        format!(
            "{} previews in one project: ready after {:.0} s, {:.2} times the {:.0} s of their calls and operations (bound \
             {MOST}); {} calls, {} writes, {} failed passes; overtaken by at most {}, one ready every {:.0} s at least",
            self.previews,
            self.took.as_secs_f64(),
            self.took.as_secs_f64() / self.bound.as_secs_f64(),
            self.bound.as_secs_f64(),
            self.calls,
            self.writes,
            self.failed,
            overtaken(&self.made).max(overtaken(&self.ready)),
            self.longest_gap.as_secs_f64(),
        )
    }

    /// Fast, in order, and nobody left behind.
    pub fn check(&self) {
        let told = self.told();
        assert!(self.took <= self.bound.mul_f64(MOST), "{told}");
        // those that are brought up at the same time may overtake each other
        assert_eq!(self.made.len(), self.previews, "{told}");
        for order in [&self.made, &self.ready] {
            assert!(overtaken(order) < SIDE_BY_SIDE, "{told}");
        }
        assert!(self.longest_gap < Duration::from_secs(15), "{told}");
        assert_eq!(self.failed, 0, "{told}");
    }
}

/// How many of those who came later are before somebody, at most.
fn overtaken(order: &[String]) -> usize {
    let late = order.iter().enumerate().map(|(at, who)| {
        let before = order.iter().take(at);
        before.filter(|other| *other > who).count()
    });
    late.max().unwrap_or_default()
}

#[tokio::test(start_paused = true)]
async fn many_previews_come_up_in_order_and_as_fast_as_they_may() {
    let burst = burst(200).await;
    println!("{}", burst.told());
    burst.check();
}
