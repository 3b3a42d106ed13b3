//! When a branch has to go, and what is done about it.

use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::*;
use crate::api::{DeletionPolicy, Environment};
use crate::database::credentials::Found;
use crate::database::fixtures::{a_branch, at, desired, now, recorded, settled};
use crate::world::LISTING_LAG;

const AGE: SignedDuration = SignedDuration::from_hours(1);

/// A preview that was made a minute before its branch, at 0, and may live for an hour.
fn preview() -> (Desired, Observed) {
    let mut desired = desired(Environment::Preview);
    let observed = settled(&desired);
    desired.max_age = Some(AGE);
    (desired, observed)
}

fn extended(until: Timestamp) -> Option<Timestamp> {
    let (desired, mut observed) = preview();
    observed.recorded.handled.extension_time = Some(Time(until));
    end(&desired, &observed)
}

#[test]
fn age_counts_from_the_object_not_from_a_branch_that_was_there_before() {
    let (mut desired, mut observed) = preview();
    assert_eq!(end(&desired, &observed), Some(at(-60) + AGE));
    // an object in a rebuilt cluster, with the branch it had before
    desired.created = Some(at(3_000));
    assert_eq!(end(&desired, &observed), Some(at(3_000) + AGE));
    observed.marked = observed.branch.known().cloned();
    observed.recorded.branch = None;
    assert_eq!(end(&desired, &observed), Some(at(3_000) + AGE));
}

#[test]
fn a_branch_that_an_earlier_object_of_the_name_has_kept_is_not_deleted_unseen() {
    let (mut desired, mut observed) = preview();
    observed.marked = observed.branch.known().cloned();
    observed.recorded.branch = None;
    observed.recorded.connection_secrets.clear();
    let long_after = at(3_000) + AGE + AGE;
    let delete = Decision::Act(Action::DeleteBranch("br-it".into()));
    assert_eq!(
        decide(&desired, &observed, long_after),
        Some(delete.clone())
    );
    // made in the very second of the object
    desired.created = Some(at(0));
    assert_eq!(decide(&desired, &observed, long_after), Some(delete));
    desired.created = Some(at(3_000));
    let left = decide(&desired, &observed, long_after);
    assert!(!matches!(left, Some(Decision::Act(_))), "{left:?}");
}

#[test]
fn an_extension_prolongs_and_never_shortens() {
    assert_eq!(extended(at(9_000)), Some(at(9_000)));
    assert_eq!(extended(at(10)), Some(at(-60) + AGE));
}

#[test]
fn a_branch_that_would_not_go_with_its_object_lives_for_ever() {
    let (mut desired, mut observed) = preview();
    desired.deletion_policy = Some(DeletionPolicy::Retain);
    assert_eq!(end(&desired, &observed), None);
    desired.deletion_policy = None;
    recorded(&mut observed).taken_over = true;
    assert_eq!(end(&desired, &observed), None);
}

#[test]
fn nothing_is_done_before_its_time() {
    let (desired, observed) = preview();
    let end = end(&desired, &observed).unwrap();
    let early = end - SignedDuration::from_secs(1);
    assert_eq!(decide(&desired, &observed, early), None);
    assert!(decide(&desired, &observed, end).is_some());
}

#[test]
fn first_the_branch_goes_then_its_secrets_then_it_says_how_to_have_it_again() {
    let (mut desired, mut observed) = preview();
    let delete = Some(Decision::Act(Action::DeleteBranch("br-it".into())));
    assert_eq!(decide(&desired, &observed, now()), delete);
    observed.children = vec!["x".into()];
    let next = decide(&desired, &observed, now());
    assert!(matches!(next, Some(Decision::Wait(wait)) if wait.reason == Reason::ChildrenExist));

    observed.branch = Fact::Unknown;
    let next = decide(&desired, &observed, now());
    assert!(matches!(next, Some(Decision::Wait(wait)) if wait.reason == Reason::NeonUnavailable));
    observed.branch = Fact::Absent;
    let forget = Some(Decision::Act(Action::ForgetBranch));
    assert_eq!(decide(&desired, &observed, now()), forget);

    observed.recorded.branch = None;
    observed.children.clear();
    observed.marked = Some(a_branch("br-it", "preview/team/it"));
    assert_eq!(decide(&desired, &observed, now()), delete);
    observed.marked = None;
    let found = Found {
        uid: "u".into(),
        ours: true,
        owned: true,
        form: None,
        intact: true,
        ..Found::default()
    };
    observed.secrets = [("it".to_owned(), Fact::Known(found))].into();
    let withdraw = Some(Decision::Act(Action::WithdrawSecrets(vec!["it".into()])));
    assert_eq!(decide(&desired, &observed, now()), withdraw);
    observed.secrets.clear();
    let Some(Decision::Blocked(blocked)) = decide(&desired, &observed, now()) else {
        panic!("not expired");
    };
    assert_eq!(blocked.reason, Reason::Expired);
    assert!(
        blocked.message.contains("sepulki.dev/extend"),
        "{}",
        blocked.message
    );

    desired.suspend = true;
    assert_eq!(decide(&desired, &observed, now()), None);
}

#[test]
fn a_branch_that_is_too_new_to_be_listed_is_not_forgotten() {
    let (mut desired, mut observed) = preview();
    let made = now();
    desired.created = made.checked_sub(AGE).ok();
    recorded(&mut observed).created_time = Time(made);
    observed.branch = Fact::Absent;
    let next = decide(&desired, &observed, made);
    assert!(
        matches!(&next, Some(Decision::Wait(wait)) if wait.reason == Reason::OperationsRunning),
        "{next:?}"
    );
    let forget = Some(Decision::Act(Action::ForgetBranch));
    assert_eq!(decide(&desired, &observed, made + LISTING_LAG), forget);
}

#[test]
fn a_branch_that_an_older_object_holds_is_left_alone() {
    let (desired, mut observed) = preview();
    observed.older_rival = Some("NeonDatabase a/b".into());
    assert_eq!(decide(&desired, &observed, now()), None);
}
