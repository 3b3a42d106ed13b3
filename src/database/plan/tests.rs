//! The decision table, row by row.

mod first_steps;
mod inside_the_branch;
mod the_branch;
mod the_edges;
mod which_branch;
mod words;

use jiff::SignedDuration;

use super::*;
use crate::api::Environment;
use crate::database::fixtures::{INTERVAL, desired, now, seen, settled};
use crate::database::plan;

/// An answer as the table has it: the words of a message are tested apart.
#[derive(Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "few, and short-lived")]
enum Answer {
    Act(Action),
    Wait(Reason),
    Blocked(Reason),
    Settled,
    Suspended,
    Gone,
}

fn answer(decision: Next) -> Answer {
    match decision {
        Decision::Act(action) => Answer::Act(action),
        Decision::Wait(wait) => Answer::Wait(wait.reason),
        Decision::Blocked(block) => Answer::Blocked(block.reason),
        Decision::Settled(after) => {
            assert_eq!(after, INTERVAL);
            Answer::Settled
        }
        Decision::Suspended(_) => Answer::Suspended,
        Decision::Gone => Answer::Gone,
    }
}

struct Row {
    number: u8,
    name: &'static str,
    desired: Desired,
    observed: Observed,
    answer: Answer,
}

/// Rows that start from one situation, each with one thing changed.
struct Rows {
    desired: Desired,
    observed: Observed,
    table: Vec<Row>,
}

impl Rows {
    fn from(desired: Desired, observed: Observed) -> Self {
        Self {
            desired,
            observed,
            table: Vec::new(),
        }
    }

    fn row(
        mut self,
        number: u8,
        name: &'static str,
        change: impl FnOnce(&mut Desired, &mut Observed),
        answer: Answer,
    ) -> Self {
        let (mut desired, mut observed) = (self.desired.clone(), self.observed.clone());
        change(&mut desired, &mut observed);
        self.table.push(Row {
            number,
            name,
            desired,
            observed,
            answer,
        });
        self
    }
}

#[test]
fn every_row_of_the_table() {
    let rows: Vec<Row> = [
        first_steps::rows(),
        which_branch::rows(),
        the_branch::rows(),
        inside_the_branch::rows(),
    ]
    .into_iter()
    .flatten()
    .collect();
    for number in 1..=27 {
        assert!(rows.iter().any(|row| row.number == number), "row {number}");
    }
    for row in rows {
        let decided = answer(plan::decide(&row.desired, &row.observed, now()));
        assert_eq!(decided, row.answer, "row {}: {}", row.number, row.name);
    }
}

#[test]
fn a_short_lease_is_looked_at_before_it_ends() {
    let look_again = |lease: SignedDuration, suspend: bool| {
        let mut desired = desired(Environment::Preview);
        desired.suspend = suspend;
        if let Ok(rest) = &mut desired.rest {
            rest.lease.value = Some(lease);
        }
        let mut observed = settled(&desired);
        seen(&mut observed).expires_at = Some(now() + lease);
        let decision = plan::decide(&desired, &observed, now());
        let (Decision::Settled(after) | Decision::Suspended(after)) = decision else {
            panic!("{decision:?}");
        };
        after
    };
    let (long, short) = (
        SignedDuration::from_hours(72),
        SignedDuration::from_secs(80),
    );
    assert_eq!(look_again(long, false), INTERVAL);
    assert_eq!(look_again(long, true), RECHECK);
    assert_eq!(look_again(short, false), Duration::from_secs(20));
    assert_eq!(look_again(short, true), Duration::from_secs(20));
}

#[test]
fn a_secret_is_looked_at_when_its_turn_comes_unless_the_object_is_suspended() {
    let mut desired = desired(Environment::Staging);
    let mut observed = settled(&desired);
    observed.next_look = Some(now() + SignedDuration::from_secs(30));
    assert_eq!(
        plan::decide(&desired, &observed, now()),
        Decision::Settled(Duration::from_secs(30))
    );
    desired.suspend = true;
    assert_eq!(
        plan::decide(&desired, &observed, now()),
        Decision::Suspended(RECHECK)
    );
}

#[test]
fn a_mistake_in_the_spec_does_not_let_the_lease_run_out() {
    let lease = SignedDuration::from_hours(72);
    let mut desired = desired(Environment::Preview);
    let mut observed = settled(&desired);
    desired.rest = Err(Block {
        reason: Reason::InvalidSpec,
        message: "spec.roles: x".into(),
    });
    let mut answer_at = |left: SignedDuration| {
        seen(&mut observed).expires_at = Some(now() + left);
        answer(plan::decide(&desired, &observed, now()))
    };
    let renewed = Answer::Act(Action::RenewLease(lease));
    assert_eq!(answer_at(SignedDuration::from_hours(47)), renewed);
    let blocked = || Answer::Blocked(Reason::InvalidSpec);
    assert_eq!(answer_at(SignedDuration::from_hours(72)), blocked());
    // and what Neon has refused is not asked for again at every look
    seen(&mut observed).expires_at = Some(now() + SignedDuration::from_hours(47));
    observed.lease_refused = Some(Block {
        reason: Reason::NeonRejected,
        message: "no".into(),
    });
    let refused = answer(plan::decide(&desired, &observed, now()));
    assert_eq!(refused, blocked());
}
