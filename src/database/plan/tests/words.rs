//! What answers say, where more hangs on it than how they read.

use super::super::given_up::{asked_by, asked_of_neon, is_of_replica, making};
use super::super::*;
use crate::api::Environment;
use crate::database::fixtures::{
    a_branch, a_parent, desired, effective_takeover, fresh, now, recorded, settled,
};
use crate::database::observe::{Existing, Key, Standing};
use crate::database::start::AskedBy;
use crate::reconcile::Fact;

#[test]
fn a_parent_on_its_way_out_is_in_no_other_trouble() {
    let desired = desired(Environment::Staging);
    let mut observed = fresh();
    observed.key = Key::Good;
    observed.recorded.effective = settled(&desired).recorded.effective;
    observed.parent = a_parent(false);
    observed.parent_trouble = Some("no room".into());
    let message = |observed: &Observed| {
        let Decision::Wait(wait) = decide(&desired, observed, now()) else {
            panic!("nothing is waited for");
        };
        wait.message
    };
    assert_eq!(
        message(&observed),
        "the parent mother is not ready: no room"
    );
    if let Fact::Known(parent) = &mut observed.parent {
        parent.standing = Standing::Deleting;
    }
    assert_eq!(message(&observed), "the parent mother is being deleted");
}

#[test]
fn who_asked_for_what_failed_is_known_by_what_was_asked() {
    let desired = desired(Environment::Staging);
    let observed = settled(&desired);
    let asked = |action: Action| asked_of_neon(&action, &desired, &observed).unwrap();
    for (what, expected) in [
        (None, AskedBy::Unknown),
        (Some(making(&desired, &observed)), AskedBy::Compute),
        (Some(asked(Action::CreateEndpoint)), AskedBy::Compute),
        (Some(asked(Action::ResizeCompute)), AskedBy::Compute),
        (Some(asked(Action::Protect(true))), AskedBy::Other),
    ] {
        let by = asked_by(what.as_deref(), &desired, &observed);
        assert_eq!(by, expected, "{what:?}");
    }
}

#[test]
fn which_replica_it_was_that_failed_is_known_by_what_was_asked() {
    let desired = desired(Environment::Staging);
    let observed = settled(&desired);
    let asked = |action: Action| asked_of_neon(&action, &desired, &observed);
    let near = || "near".to_owned();
    for (what, words) in [
        (Action::CreateReplica(near()), "make the read replica near"),
        (
            Action::ResizeReplica(near()),
            "change the read replica near",
        ),
    ] {
        let what = asked(what);
        assert_eq!(what.as_deref(), Some(words));
        let is_of = |name: &str| is_of_replica(what.as_deref(), name);
        assert!(is_of("near") && !is_of("far"), "{words}");
    }
    for other in [None, asked(Action::ResizeCompute)] {
        assert!(!is_of_replica(other.as_deref(), "near"), "{other:?}");
    }
}

#[test]
fn the_way_out_of_a_replaced_branch_names_the_other_one() {
    let desired = desired(Environment::Production);
    let mut observed = settled(&desired);
    recorded(&mut observed).taken_over = true;
    observed.recorded.effective = Some(effective_takeover());
    observed.existing = Fact::Known(Existing {
        branch: a_branch("br-new", "new-main"),
        holder: None,
    });
    let Decision::Blocked(block) = decide(&desired, &observed, now()) else {
        panic!("not blocked");
    };
    assert!(
        block.message.ends_with(
            "to go on with new-main, make the object anew with spec.branch.existing.id br-new"
        ),
        "{}",
        block.message
    );
}
