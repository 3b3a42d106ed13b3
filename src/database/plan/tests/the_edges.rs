//! What rows alone leave open: the edges of times, what wins over what, and the words.

use std::time::Duration;

use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::json;

use super::super::*;
use super::which_branch::full;
use super::{Answer, answer};
use crate::api::{Credentials, DatabaseStatus, Environment};
use crate::database::fixtures::{
    INTERVAL, a_branch, a_database, a_failure, at, desired, effective, effective_takeover, fresh,
    now, object, operation, recorded, seen, settled, terms,
};
use crate::database::observe::Existing;
use crate::database::{plan, rotation};
use crate::neon::BranchState;
use crate::reconcile::Fact;
use crate::world::Operation;

fn decide(desired: &Desired, observed: &Observed) -> Answer {
    answer(plan::decide(desired, observed, now()))
}

/// The words of a block or a wait.
fn words(desired: &Desired, observed: &Observed) -> String {
    match plan::decide(desired, observed, now()) {
        Decision::Blocked(block) => block.message,
        Decision::Wait(wait) => wait.message,
        other @ (Decision::Act(_)
        | Decision::Settled(_)
        | Decision::Suspended(_)
        | Decision::Gone) => panic!("{other:?}"),
    }
}

/// A fork of `mother` that was not asked for yet.
fn to_fork() -> (Desired, Observed) {
    let desired = desired(Environment::Staging);
    let mut observed = fresh();
    observed.recorded.effective = Some(effective(&desired));
    (desired, observed)
}

/// The project's default branch, to be taken over; nobody holds it, or somebody does.
fn to_take_over(holder: Option<&str>) -> (Desired, Observed) {
    let desired = desired(Environment::Staging);
    let mut observed = fresh();
    observed.recorded.effective = Some(effective_takeover());
    observed.existing = Fact::Known(Existing {
        branch: a_branch("br-main", "main"),
        holder: holder.map(str::to_owned),
    });
    (desired, observed)
}

#[test]
fn a_branch_that_does_not_exist_yet_takes_the_name_that_the_spec_has_by_now() {
    let (desired, mut observed) = to_fork();
    let now_asked = effective(&desired);
    let before = observed.recorded.effective.as_mut().unwrap();
    before.branch_name = Some("before".into());
    let resolve = Answer::Act(Action::Resolve(now_asked));
    assert_eq!(decide(&desired, &observed), resolve);
}

#[test]
fn a_branch_that_exists_keeps_what_was_resolved_of_it() {
    let desired = desired(Environment::Staging);
    let mut observed = settled(&desired);
    let resolved = observed.recorded.effective.as_mut().unwrap();
    resolved.branch_name = Some("before".into());
    seen(&mut observed).name = "before".into();
    assert_eq!(decide(&desired, &observed), Answer::Settled);
}

#[test]
fn a_name_that_another_branch_has_by_now_is_told_with_both() {
    let desired = desired(Environment::Staging);
    let mut observed = settled(&desired);
    seen(&mut observed).name = "renamed".into();
    observed.named = Some(a_branch("br-other", &desired.branch_name));
    let told = words(&desired, &observed);
    for part in ["br-it", "staging/team/it", "br-other"] {
        assert!(told.contains(part), "{told}");
    }
}

#[test]
fn a_parent_that_is_missing_is_named() {
    let (desired, mut observed) = to_fork();
    observed.parent = Fact::Absent;
    assert_eq!(
        words(&desired, &observed),
        "the parent NeonDatabase mother does not exist"
    );
    let parent = observed.recorded.effective.as_mut().unwrap();
    parent.parent = serde_json::from_value(json!({"branchName": "main"})).unwrap();
    assert_eq!(
        words(&desired, &observed),
        "the parent branch main does not exist"
    );
}

#[test]
fn a_branch_that_is_gone_tells_the_way_out() {
    let desired = desired(Environment::Staging);
    let mut observed = settled(&desired);
    observed.branch = Fact::Absent;
    let message = words(&desired, &observed);
    assert!(message.contains("spec.onExternalDeletion"), "{message}");
    recorded(&mut observed).taken_over = true;
    let message = words(&desired, &observed);
    assert!(message.contains("cannot be made again"), "{message}");
}

#[test]
fn a_listing_has_a_minute_to_show_a_new_branch() {
    let desired = desired(Environment::Staging);
    let mut observed = settled(&desired);
    observed.branch = Fact::Absent;
    let mut after = |seconds| {
        let made = now() - SignedDuration::from_millis(seconds);
        recorded(&mut observed).created_time.0 = made;
        decide(&desired, &observed)
    };
    assert_eq!(after(59_999), Answer::Wait(Reason::OperationsRunning));
    assert_eq!(after(60_000), Answer::Blocked(Reason::BranchMissing));
}

#[test]
fn a_lease_is_brought_back_once_it_is_a_day_too_long() {
    let desired = desired(Environment::Preview);
    let lease = SignedDuration::from_hours(72);
    let a_day = SignedDuration::from_hours(24);
    let mut observed = settled(&desired);
    let mut ends_in = |left: SignedDuration| {
        seen(&mut observed).expires_at = Some(now() + left);
        decide(&desired, &observed)
    };
    let renew = Answer::Act(Action::RenewLease(lease));
    assert_eq!(ends_in(lease + a_day), Answer::Settled);
    let second = SignedDuration::from_secs(1);
    assert_eq!(ends_in(lease + a_day + second), renew);
}

#[test]
fn under_a_mistake_in_the_spec_only_a_lease_of_ones_own_is_renewed() {
    let lease = SignedDuration::from_hours(72);
    let mut desired = desired(Environment::Preview);
    let mut due = settled(&desired);
    seen(&mut due).expires_at = Some(now());
    desired.rest = Err(Block {
        reason: Reason::InvalidSpec,
        message: "spec.roles: x".into(),
    });
    let blocked = Answer::Blocked(Reason::InvalidSpec);
    assert_eq!(
        decide(&desired, &due),
        Answer::Act(Action::RenewLease(lease))
    );
    let foreign = Observed {
        older_rival: Some("NeonDatabase a/b".into()),
        ..due.clone()
    };
    assert_eq!(decide(&desired, &foreign), blocked);
    let mut without = due.clone();
    seen(&mut without).expires_at = None;
    assert_eq!(decide(&desired, &without), blocked, "no lease is begun");
    let unmarked = Desired {
        has_finalizer: false,
        ..desired.clone()
    };
    assert_eq!(decide(&unmarked, &due), blocked, "it is not held yet");
    // and none is ended
    let never = Desired {
        lease: None,
        ..desired
    };
    assert_eq!(decide(&never, &due), blocked);
}

#[test]
fn a_lease_that_the_spec_no_longer_allows_is_renewed_until_somebody_has_decided() {
    // without a policy of its own a staging is retained, which rules a lease out
    let spec = json!({"branch": {"lease": "24h"}});
    let desired = Desired::of(&object(Environment::Staging, spec), "default");
    let mut due = settled(&super::desired(Environment::Staging));
    seen(&mut due).expires_at = Some(now());
    let lease = SignedDuration::from_hours(24);
    let renew = Answer::Act(Action::RenewLease(lease));
    assert_eq!(decide(&desired, &due), renew);
    seen(&mut due).expires_at = Some(now() + lease);
    assert_eq!(decide(&desired, &due), Answer::Blocked(Reason::InvalidSpec));
}

#[test]
fn a_settled_object_wakes_when_a_login_is_due_and_a_suspended_one_does_not() {
    let spec = json!({"roles": [{"name": "web", "access": "ReadWrite", "rotation": {"every": "48h", "overlap": "24h"}}]});
    let mut desired = Desired::of(&object(Environment::Staging, spec), "default");
    let mut observed = settled(&desired);
    let in_time = now() + SignedDuration::from_secs(20);
    let out = in_time - SignedDuration::from_hours(48);
    observed.recorded.roles[0].rotation_time = Some(Time(out));
    observed.recorded.connection_secrets[0].rotation_time = Some(Time(out));
    let rest = desired.rest.as_ref().unwrap();
    let due = rotation::next(rest, &observed.recorded, now());
    assert_eq!(due, Some(in_time));
    let settled = Decision::Settled(Duration::from_secs(20));
    assert_eq!(plan::decide(&desired, &observed, now()), settled);
    assert!(INTERVAL > Duration::from_secs(20));
    desired.suspend = true;
    let suspended = Decision::Suspended(RECHECK);
    assert_eq!(plan::decide(&desired, &observed, now()), suspended);
}

#[test]
fn an_owner_that_is_named_rightly_is_no_conflict() {
    let spec = json!({"databases": [{"name": "app", "owner": "app_owner"}]});
    let desired = Desired::of(&object(Environment::Staging, spec), "default");
    let mut observed = settled(&desired);
    observed.recorded.content_digest = None;
    observed.api_roles = Fact::Known(["app_owner".to_owned()].into());
    observed.databases = Fact::Known(vec![a_database("app", "app_owner")]);
    let prepare = Answer::Act(Action::PrepareContents);
    assert_eq!(decide(&desired, &observed), prepare);
}

#[test]
fn a_database_is_made_only_where_this_very_one_was_recorded_as_to_be_made() {
    let desired = desired(Environment::Staging);
    let mut observed = settled(&desired);
    observed.recorded.content_digest = None;
    observed.api_roles = Fact::Known(["app_owner".to_owned()].into());
    observed.databases = Fact::Known(Vec::new());
    let database = |name: &str, created| DatabaseStatus {
        name: name.into(),
        owner: "app_owner".into(),
        created,
        missing_schemas: None,
        extensions: Vec::new(),
    };
    let (name, owner) = ("app".to_owned(), "app_owner".to_owned());
    observed.recorded.databases = vec![database("app", false), database("other", true)];
    let record = Action::RecordDatabase {
        name: name.clone(),
        owner: owner.clone(),
    };
    assert_eq!(decide(&desired, &observed), Answer::Act(record));
    observed.recorded.databases = vec![database("app", true)];
    let create = Action::CreateDatabase { name, owner };
    assert_eq!(decide(&desired, &observed), Answer::Act(create));
}

#[test]
fn whoever_may_not_take_over_is_not_told_who_holds_the_branch() {
    let (desired, mut observed) = to_take_over(Some("NeonDatabase a/b"));
    let held = Answer::Blocked(Reason::BranchClaimed);
    assert_eq!(decide(&desired, &observed), held);
    observed.terms = Some(terms(json!([{"namespaces": {}, "parents": ["base"]}])));
    let denied = Answer::Blocked(Reason::AccessDenied);
    assert_eq!(decide(&desired, &observed), denied);
}

#[test]
fn taking_over_needs_room_too() {
    let (desired, mut observed) = to_take_over(None);
    observed.terms = Some(full(2, 2, 0));
    assert_eq!(decide(&desired, &observed), Answer::Wait(Reason::NoRoom));
    observed.terms = Some(full(2, 1, 0));
    let main = a_branch("br-main", "main");
    let claim = Answer::Act(Action::ClaimBranch(main));
    assert_eq!(decide(&desired, &observed), claim);
}

#[test]
fn a_parent_with_a_lease_is_in_the_way_whether_there_is_room_or_not() {
    let (desired, mut observed) = to_fork();
    if let Fact::Known(parent) = &mut observed.parent {
        parent.expires = true;
    }
    observed.terms = Some(full(2, 2, 0));
    let expires = Answer::Blocked(Reason::ParentExpires);
    assert_eq!(decide(&desired, &observed), expires);
}

#[test]
fn what_is_older_than_its_max_age_goes_before_anything_else_is_done_about_it() {
    let desired = Desired {
        max_age: Some(SignedDuration::from_mins(30)),
        ..desired(Environment::Preview)
    };
    let mut observed = settled(&desired);
    assert!(observed.recorded.branch.as_ref().unwrap().created_time.0 <= at(0));
    observed.endpoint = Fact::Absent;
    let Decision::Act(Action::DeleteBranch(branch)) = plan::decide(&desired, &observed, now())
    else {
        panic!("its time is over");
    };
    assert_eq!(branch.as_str(), "br-it");
}

#[test]
fn what_neon_has_not_done_is_told_with_its_words_where_they_are_known() {
    let desired = desired(Environment::Staging);
    let mut observed = settled(&desired);
    seen(&mut observed).current_state = BranchState::Init;
    let without = words(&desired, &observed);
    assert!(
        without.contains("has not done it: nobody can use it"),
        "{without}"
    );
    observed.failures = vec![a_failure("make the branch staging/team/it")];
    let with = words(&desired, &observed);
    assert!(
        with.contains("has not done it, because there is no room: "),
        "{with}"
    );
    recorded(&mut observed).ready_time = None;
    recorded(&mut observed).credentials = Credentials::Inherited;
    seen(&mut observed).protected = true;
    let protected = words(&desired, &observed);
    assert!(
        protected.contains("because there is no room; it is protected"),
        "{protected}"
    );
}

#[test]
fn neon_is_left_alone_with_what_it_could_not_do_for_as_long_as_was_said() {
    let (desired, mut observed) = to_fork();
    observed.failures = vec![a_failure("make the branch staging/team/it")];
    let Decision::Wait(wait) = plan::decide(&desired, &observed, now()) else {
        panic!("it is waited");
    };
    assert_eq!(wait.after, Duration::from_secs(1));
    assert_eq!(
        wait.message,
        "Neon could not make the branch staging/team/it, because there is no room; it is asked again"
    );
}

#[test]
fn what_neon_could_not_do_waits_and_nothing_else_does() {
    let desired = desired(Environment::Staging);
    let mut observed = settled(&desired);
    observed.endpoint = Fact::Absent;
    let decided = |observed: &Observed| plan::decide(&desired, observed, now());
    observed.failures = vec![a_failure("change the compute")];
    assert_eq!(decided(&observed), Decision::Act(Action::CreateEndpoint));
    observed.failures.insert(0, a_failure("make an endpoint"));
    let Decision::Wait(wait) = decided(&observed) else {
        panic!("it is waited");
    };
    assert_eq!(wait.reason, Reason::OperationFailed);
    let told = "Neon could not make an endpoint, because there is no room; it is asked again";
    assert_eq!(wait.message, told);
    observed.failures.remove(0);
    assert_eq!(decided(&observed), Decision::Act(Action::CreateEndpoint));
}

#[test]
fn a_branch_does_not_run_out_while_neon_does_not_get_done_what_was_asked_of_it() {
    let desired = desired(Environment::Preview);
    let mut observed = settled(&desired);
    let hung = Operation {
        overdue: true,
        ..operation("start_compute", false)
    };
    observed.operations = vec![hung];
    let waits = Answer::Wait(Reason::OperationsRunning);
    assert_eq!(decide(&desired, &observed), waits);
    seen(&mut observed).expires_at = Some(now());
    let renew = Answer::Act(Action::RenewLease(SignedDuration::from_hours(72)));
    assert_eq!(decide(&desired, &observed), renew);
    // while Neon may still get it done it would only refuse
    observed.operations = vec![operation("start_compute", false)];
    assert_eq!(decide(&desired, &observed), waits);
}

#[test]
fn a_branch_that_a_person_has_to_look_at_does_not_run_out_meanwhile() {
    let mut desired = desired(Environment::Preview);
    let lease = SignedDuration::from_hours(72);
    let mut observed = settled(&desired);
    seen(&mut observed).current_state = BranchState::Resetting;
    let blocked = Answer::Blocked(Reason::OperationFailed);
    assert_eq!(decide(&desired, &observed), blocked);
    let settled_expiry = seen(&mut observed).expires_at;
    seen(&mut observed).expires_at = Some(now());
    let renew = || Answer::Act(Action::RenewLease(lease));
    assert_eq!(decide(&desired, &observed), renew());
    desired.suspend = true;
    assert_eq!(decide(&desired, &observed), renew());
    seen(&mut observed).expires_at = settled_expiry;
    assert_eq!(decide(&desired, &observed), Answer::Suspended);
    // what is taken away needs none
    desired.suspend = false;
    seen(&mut observed).current_state = BranchState::Init;
    seen(&mut observed).expires_at = Some(now());
    recorded(&mut observed).ready_time = None;
    recorded(&mut observed).credentials = Credentials::Inherited;
    let discard = Answer::Act(Action::DiscardBranch("br-it".into()));
    assert_eq!(decide(&desired, &observed), discard);
}
