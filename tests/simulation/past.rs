//! Branches of the past.

use jiff::SignedDuration;
use sepulki::api::Reason;
use sepulki::neon::ErrorKind;
use sepulki::reconcile::Conditions;
use serde_json::{Value, json};

use crate::database::{says, stalled};
use crate::scene::{simple, with};
use crate::world::Sim;
use crate::world::faults::Fault;
use crate::world::neon::OF_THEN;
use crate::world::operator::Operator;

const MINUTE: SignedDuration = SignedDuration::from_mins(1);

/// A production, and a preview of a moment of it.
fn begin(at: impl FnOnce(&Sim) -> Value) -> Operator {
    let sim = Sim::new();
    sim.database("production", "production", simple());
    let parent = json!({"databaseRef": {"name": "production"}, "at": at(&sim)});
    let spec = with(simple(), json!({"branch": {"parent": parent}}));
    sim.database("preview", "preview", spec);
    Operator::new(&sim)
}

#[tokio::test(start_paused = true)]
async fn a_fork_of_the_past_has_no_password_of_then() {
    let mut operator = begin(|_| json!({"lsn": "0/1A2B3C8"}));
    operator.settle().await;
    let preview = operator.sim.get_database("preview").unwrap();
    assert!(preview.is_settled(), "{:?}", preview.conditions());
    let status = preview.status.unwrap();
    let effective = json!(status.effective.unwrap().parent);
    assert_eq!(effective["at"], json!({"lsn": "0/1A2B3C8"}));
    let id = status.branch.unwrap().id;
    let state = operator.sim.lock();
    let roles = &state.neon.branch(&id).unwrap().roles;
    assert!(!roles.is_empty());
    for (role, password) in roles {
        assert!(!password.ends_with(OF_THEN), "{role}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_password_of_then_goes_although_neon_could_not_replace_it_at_first() {
    let lsn = |_: &Sim| json!({"lsn": "0/1A2B3C8"});
    let mut operator = begin(lsn);
    operator.sim.faults.restart();
    operator.settle().await;
    let preview = operator.sim.get_database("preview").unwrap();
    let id = preview.status.unwrap().branch.unwrap().id;
    let effects = operator.sim.faults.effects();
    let is_reset = |what: &String| what.starts_with("reset password of") && what.ends_with(&*id);
    let resets = effects
        .iter()
        .enumerate()
        .filter(|(_, what)| is_reset(what));
    let resets: Vec<usize> = resets.map(|(at, _)| at + 1).collect();
    assert!(!resets.is_empty(), "{effects:?}");
    for at in resets {
        let mut operator = begin(lsn);
        operator.sim.faults.restart();
        operator.sim.faults.plan(at, Fault::OperationUndone);
        operator.settle().await;
        let preview = operator.sim.get_database("preview").unwrap();
        assert!(preview.is_settled(), "{:?}", preview.conditions());
        let id = preview.status.unwrap().branch.unwrap().id;
        let state = operator.sim.lock();
        for (role, password) in &state.neon.branch(&id).unwrap().roles {
            assert!(!password.ends_with(OF_THEN), "{role}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_moment_that_neon_does_not_have_is_told_in_its_words() {
    let future = |sim: &Sim| {
        let time = sim.now().checked_add(MINUTE * 60).unwrap();
        json!({"time": time.to_string()})
    };
    let long_ago = |_: &Sim| json!({"time": "2001-01-01T00:00:00Z"});
    let no_day = |_: &Sim| json!({"time": "2026-02-30T00:00:00Z"});
    for mut operator in [begin(future), begin(long_ago)] {
        operator.run_for(MINUTE).await;
        let preview = operator.sim.get_database("preview").unwrap();
        let message = stalled(&preview, Reason::NeonRejected);
        says(
            &message,
            &["spec.branch.parent.at.time", "history retention window"],
        );
        assert_eq!(preview.status.unwrap().plan_limit, None);
        assert_eq!(operator.sim.branch_names(), ["main"]);
        // one question, and no other for ten minutes
        operator.run_for(MINUTE * 8).await;
        let state = operator.sim.lock();
        let asked = state.neon.calls.refused.iter();
        let refused = |(what, kind): &&(String, ErrorKind)| {
            what.starts_with("create branch") && *kind == ErrorKind::Rejected
        };
        let asked = asked.filter(refused);
        assert_eq!(asked.count(), 1);
    }
    let mut operator = begin(no_day);
    operator.run_for(MINUTE).await;
    let preview = operator.sim.get_database("preview").unwrap();
    let message = stalled(&preview, Reason::InvalidSpec);
    says(&message, &["spec.branch.parent.at.time", "2026-02-30"]);
}
