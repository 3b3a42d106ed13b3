//! What a part says of what was left out, of what is not asked for, and of how long a branch is there.

use serde_json::json;

use super::{desired, find, is, object, of_ready_branch, recorded, settled, waiting};
use crate::api::{DeletionPolicy, Environment, NeonDatabaseStatus};
use crate::database::desired::Desired;
use crate::database::fixtures::{at, now};
use crate::database::observe::Observed;
use crate::database::status::project;
use crate::neon::BranchState;
use crate::reconcile::{Block, Fact};

fn projected(desired: &Desired, observed: &Observed) -> NeonDatabaseStatus {
    let verdict = waiting();
    project(&observed.recorded, desired, Some(observed), &verdict, now())
}

/// Reason and message of a part, where it is true.
fn told(status: &NeonDatabaseStatus, part: &str) -> Option<(String, String)> {
    let condition = find(status, part);
    is(status, part).then(|| (condition.reason.clone(), condition.message.clone()))
}

fn refused() -> Block {
    Block {
        reason: crate::api::Reason::DatabaseRejected,
        message: "no".into(),
    }
}

#[test]
fn what_neon_refused_is_not_said_to_be_not_asked_for() {
    let mut desired = desired(Environment::Staging);
    let observed = settled(&desired);
    let rest = desired.rest.as_mut().unwrap();
    rest.databases.clear();
    rest.secrets.clear();
    let status = projected(&desired, &observed);
    for part in ["DatabasesReady", "CredentialsPublished"] {
        assert_eq!(told(&status, part).unwrap().0, "NotRequired");
    }
    desired.left_out.databases = [("app".to_owned(), refused())].into();
    desired.left_out.secrets = vec!["it".into()];
    let status = projected(&desired, &observed);
    for part in ["DatabasesReady", "CredentialsPublished"] {
        assert_eq!(told(&status, part), None, "{part}");
    }
}

#[test]
fn a_setting_that_was_refused_is_told_of_a_compute_that_is_there() {
    let mut desired = desired(Environment::Staging);
    let mut observed = settled(&desired);
    desired.left_out.settings = [("jit".to_owned(), refused())].into();
    let reason = |observed: &Observed| {
        let status = projected(&desired, observed);
        assert!(!is(&status, "ComputeReady"));
        find(&status, "ComputeReady").reason.clone()
    };
    assert_eq!(reason(&observed), "DatabaseRejected");
    if let Fact::Known(branch) = &mut observed.branch {
        branch.current_state = BranchState::Init;
    }
    assert_eq!(reason(&observed), "ParentNotReady");
}

#[test]
fn whoever_lists_roles_is_told_what_a_secret_needs() {
    let without = |roles: serde_json::Value| {
        let desired = Desired::of(
            &object(Environment::Staging, json!({"roles": roles})),
            "default",
        );
        let status = projected(&desired, &settled(&desired));
        told(&status, "CredentialsPublished").unwrap().1
    };
    let reader = json!([{"name": "web", "access": "ReadOnly"}]);
    let said = without(reader);
    assert!(said.starts_with("no Secret is asked for, and the roles have no login: "));
    assert_eq!(without(json!([])), "no Secret is asked for");
}

#[test]
fn how_long_a_branch_is_there_is_told_where_nobody_would_expect_it() {
    let message = |desired: &Desired, observed: &Observed| of_ready_branch(observed, desired).1;
    let mut brief = desired(Environment::Preview);
    brief.created = Some(at(0));
    brief.max_age = Some(jiff::SignedDuration::from_hours(48));
    let observed = settled(&brief);
    let said = message(&brief, &observed);
    let end = at(48 * 3_600);
    assert!(
        said.ends_with(&format!(
            "which is deleted at {end}, when its maxAge is over"
        )),
        "{said}"
    );

    let mut kept = desired(Environment::Staging);
    let mut observed = settled(&kept);
    let stays = "although spec.deletionPolicy is Delete";
    assert!(!message(&kept, &observed).contains(stays));
    kept.deletion_policy = Some(DeletionPolicy::Delete);
    assert!(!message(&kept, &observed).contains(stays));
    recorded(&mut observed).taken_over = true;
    assert!(message(&kept, &observed).contains(stays));
    kept.deletion_policy = None;
    assert!(!message(&kept, &observed).contains(stays));
}

#[test]
fn a_secret_that_would_go_with_the_object_against_its_policy_is_out_all_the_same() {
    let desired = desired(Environment::Staging);
    let mut observed = settled(&desired);
    observed.held_wrong = std::mem::take(&mut observed.current_secrets);
    let status = projected(&desired, &observed);
    assert_eq!(
        told(&status, "CredentialsPublished").unwrap().0,
        "Published"
    );
}
