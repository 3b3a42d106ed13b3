//! The table of deletion, row by row.

#![expect(clippy::too_many_lines, reason = "a table, one entry after the other")]

use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::json;

use super::*;
use crate::api::{Environment, ExistingBranch};
use crate::database::credentials::Found;
use crate::database::deletion;
use crate::database::desired::Setting;
use crate::database::fixtures::{
    a_branch, anothers, desired, effective, effective_takeover, fresh, now, object, operation,
    recorded, seen, settled,
};
use crate::world::Failure;

/// An answer as the table has it.
#[derive(Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "few, and short-lived")]
enum Answer {
    Act(Action),
    Wait(Reason),
    Blocked(Reason),
    Gone,
}

use Answer::{Act, Blocked, Gone, Wait};

fn answer(decision: Decision<Action>) -> Answer {
    match decision {
        Decision::Act(action) => Act(action),
        Decision::Wait(wait) => Wait(wait.reason),
        Decision::Blocked(block) => Blocked(block.reason),
        Decision::Gone => Gone,
        Decision::Settled(_) | Decision::Suspended(_) => panic!("not an answer to a deletion"),
    }
}

type Case = (u8, &'static str, Desired, Observed, Answer);

fn going(mut desired: Desired) -> Desired {
    desired.deleting = true;
    desired
}

/// A preview that is settled but for its deletion.
fn preview() -> (Desired, Observed) {
    let desired = going(desired(Environment::Preview));
    let observed = settled(&desired);
    (desired, observed)
}

/// The same with protection in the spec, and of a branch that is protected.
fn protected_by_spec(protected: bool, desired: &Desired, observed: &mut Observed) -> Desired {
    seen(observed).protected = true;
    let mut asked = desired.clone();
    asked.rest.as_mut().unwrap().protected = Setting {
        value: protected,
        explicit: true,
    };
    asked
}

fn case(
    row: u8,
    name: &'static str,
    change: impl FnOnce(&mut Desired, &mut Observed),
    answer: Answer,
) -> Case {
    let (mut desired, mut observed) = preview();
    change(&mut desired, &mut observed);
    (row, name, desired, observed, answer)
}

fn secret(ours: bool, owned: bool) -> Fact<Found> {
    Fact::Known(Found {
        uid: "u".into(),
        ours,
        owned,
        form: None,
        intact: true,
        ..Found::default()
    })
}

fn overdue(action: &str) -> Operation {
    Operation {
        overdue: true,
        ..operation(action, false)
    }
}

fn failure(seconds_left: i64) -> Failure {
    Failure {
        what: Some("delete the branch preview/team/it".into()),
        branch: None,
        words: Some("its operation delete_timeline failed".into()),
        until: now() + SignedDuration::from_secs(seconds_left),
    }
}

fn missing() -> Key {
    Key::Missing("no key".into())
}

fn asked_for(observed: &mut Observed, seconds_ago: i64) {
    let time = now() - SignedDuration::from_secs(seconds_ago);
    observed.recorded.branch_request_time = Some(Time(time));
}

fn unmade(desired: &Desired) -> Observed {
    let mut observed = fresh();
    observed.recorded.effective = Some(effective(desired));
    observed.branch = Fact::Unknown;
    observed
}

fn taken_over(desired: &mut Desired, observed: &mut Observed, by_id: Option<&str>) {
    let existing = ExistingBranch {
        default: by_id.is_none().then_some(true),
        name: None,
        id: by_id.map(str::to_owned),
    };
    recorded(observed).taken_over = true;
    observed.recorded.effective = Some(effective_takeover());
    desired.existing = Some(existing);
    desired.deletion_policy = Some(DeletionPolicy::Delete);
}

/// Rows 1 to 3: what needs nobody.
fn letting_go() -> Vec<Case> {
    let release = || Act(Action::ReleaseFinalizer);
    let retain = |d: &mut Desired, o: &mut Observed| {
        d.deletion_policy = Some(DeletionPolicy::Retain);
        recorded(o).expiry_time = None;
        seen(o).expires_at = None;
    };
    let abandoned = |d: &mut Desired, o: &mut Observed, id: &str| {
        d.asked.abandon = Some(id.into());
        o.key = missing();
    };
    let leased = |d: &mut Desired| d.deletion_policy = Some(DeletionPolicy::Retain);
    let keep = || Act(Action::KeepSecrets(vec!["it".into()]));
    let behind = || Act(Action::LeaveBehind("preview/team/it".into()));
    vec![
        case(
            2,
            "abandoned by the branch's id, without a key",
            |d, o| abandoned(d, o, "br-it"),
            release(),
        ),
        case(
            2,
            "abandoned, and its Secret would go with it",
            |d, o| {
                abandoned(d, o, "br-it");
                o.secrets = [("it".to_owned(), secret(true, true))].into();
            },
            Act(Action::KeepSecrets(vec!["it".into()])),
        ),
        case(
            2,
            "abandoned by the name that the branch was to have, without a key",
            |d, o| {
                *o = unmade(d);
                asked_for(o, 3_000);
                abandoned(d, o, "preview/team/it");
            },
            release(),
        ),
        case(
            2,
            "abandoned by the id of a branch that bears our mark",
            |d, o| {
                *o = unmade(d);
                o.marked = Some(a_branch("br-it", "renamed"));
                d.asked.abandon = Some("br-it".into());
            },
            release(),
        ),
        case(
            5,
            "abandoned by the name of a branch whose id is recorded",
            |d, o| abandoned(d, o, "preview/team/it"),
            Wait(Reason::KeyNotFound),
        ),
        case(
            5,
            "another branch is abandoned",
            |d, o| abandoned(d, o, "br-other"),
            Wait(Reason::KeyNotFound),
        ),
        case(
            5,
            "abandoned while the object was to live",
            |d, o| {
                abandoned(d, o, "br-it");
                o.recorded.handled.abandon = Some("br-it".into());
            },
            Wait(Reason::KeyNotFound),
        ),
        case(
            2,
            "what was set too early was taken away",
            |_, o| {
                o.key = missing();
                o.recorded.handled.abandon = Some("br-it".into());
            },
            Act(Action::NoteAbandon(None)),
        ),
        case(
            2,
            "another branch was abandoned while the object was to live, and this one since",
            |d, o| {
                abandoned(d, o, "br-it");
                o.recorded.handled.abandon = Some("br-other".into());
            },
            release(),
        ),
        case(1, "finalizer gone", |d, _| d.has_finalizer = false, Gone),
        case(2, "nothing was ever made", |d, o| *o = unmade(d), release()),
        case(
            2,
            "nothing was even resolved, without a key",
            |_, o| {
                *o = fresh();
                o.key = missing();
            },
            release(),
        ),
        case(3, "Retain", |d, o| retain(d, o), release()),
        case(
            3,
            "Retain without a key",
            |d, o| {
                retain(d, o);
                o.key = missing();
            },
            release(),
        ),
        case(
            3,
            "Retain with a Secret that would go",
            |d, o| {
                retain(d, o);
                o.secrets = [("it".to_owned(), secret(true, true))].into();
            },
            keep(),
        ),
        case(
            3,
            "Retain with a Secret that stays",
            |d, o| {
                retain(d, o);
                o.secrets = [("it".to_owned(), secret(true, false))].into();
            },
            release(),
        ),
        case(
            3,
            "Retain with somebody else's Secret",
            |d, o| {
                retain(d, o);
                o.secrets = [("it".to_owned(), secret(false, true))].into();
            },
            release(),
        ),
        case(
            3,
            "Retain with a lease that would run out",
            |d, _| leased(d),
            Act(Action::EndLease),
        ),
        case(
            3,
            "Retain with a lease that has just been ended",
            |d, o| {
                leased(d);
                seen(o).expires_at = None;
            },
            release(),
        ),
        case(
            3,
            "Retain with a lease that would run out, and a Secret that would go",
            |d, o| {
                leased(d);
                o.secrets = [("it".to_owned(), secret(true, true))].into();
            },
            Act(Action::EndLease),
        ),
        case(
            3,
            "Retain with a lease that nobody can end yet, and a Secret that would go",
            |d, o| {
                leased(d);
                o.key = missing();
                o.secrets = [("it".to_owned(), secret(true, true))].into();
            },
            keep(),
        ),
        case(
            5,
            "Retain with a lease that nobody can end yet",
            |d, o| {
                leased(d);
                o.key = missing();
            },
            Wait(Reason::KeyNotFound),
        ),
        case(
            5,
            "Retain with a lease that would run out, and a key that is refused",
            |d, o| {
                leased(d);
                o.key = Key::Refused("401".into());
            },
            Blocked(Reason::KeyRefused),
        ),
        case(
            3,
            "Retain with a lease that would run out in a namespace that is going, without a key",
            |d, o| {
                leased(d);
                o.key = missing();
                o.namespace_going = true;
            },
            behind(),
        ),
        case(
            3,
            "Retain with a lease that would run out, and the branch is another object's by now",
            |d, o| {
                leased(d);
                seen(o).annotations = anothers(d).annotations();
            },
            release(),
        ),
        case(
            3,
            "Retain with a lease that would run out, and an older object has the branch",
            |d, o| {
                leased(d);
                o.older_rival = Some("x".into());
            },
            release(),
        ),
        case(
            3,
            "Retain with a lease that would run out of a branch that could not be looked up",
            |d, o| {
                leased(d);
                o.branch = Fact::Unknown;
            },
            Wait(Reason::NeonUnavailable),
        ),
        case(
            5,
            "Retain with a lease that would run out, and the project is unknown",
            |d, o| {
                leased(d);
                o.key = Key::NoProject("404".into());
            },
            Blocked(Reason::ProjectNotFound),
        ),
        case(
            3,
            "Retain with a lease that would run out of a branch too new to be listed",
            |d, o| {
                leased(d);
                o.branch = Fact::Absent;
                recorded(o).created_time.0 = now() - SignedDuration::from_secs(30);
            },
            Wait(Reason::OperationsRunning),
        ),
        case(
            3,
            "Retain with a lease of a branch that is gone",
            |d, o| {
                leased(d);
                o.branch = Fact::Absent;
            },
            release(),
        ),
        case(
            3,
            "Retain was recorded and the profile would delete",
            |_, o| {
                if let Some(effective) = &mut o.recorded.effective {
                    effective.deletion_policy = DeletionPolicy::Retain;
                }
                recorded(o).expiry_time = None;
            },
            release(),
        ),
        case(
            3,
            "Delete of a branch that was taken over as the default",
            |d, o| taken_over(d, o, None),
            release(),
        ),
        case(
            3,
            "Delete of a branch that was taken over, and another id is named",
            |d, o| taken_over(d, o, Some("br-other")),
            release(),
        ),
    ]
}

/// Rows 4 to 8: the branch goes with the object.
fn deleting() -> Vec<Case> {
    let release = || Act(Action::ReleaseFinalizer);
    let delete = || Act(Action::DeleteBranch("br-it".into()));
    let behind = || Act(Action::LeaveBehind("preview/team/it".into()));
    let refused = || Key::Refused("401".into());
    let no_project = || Key::NoProject("404".into());
    let lost = |o: &mut Observed, key: Key, going: bool| {
        o.key = key;
        o.namespace_going = going;
        o.branch = Fact::Unknown;
    };
    vec![
        case(
            4,
            "no key, namespace going",
            |_, o| lost(o, missing(), true),
            behind(),
        ),
        case(
            4,
            "key refused, namespace going",
            |_, o| lost(o, refused(), true),
            behind(),
        ),
        case(
            4,
            "no project, namespace going",
            |_, o| lost(o, no_project(), true),
            behind(),
        ),
        case(
            5,
            "no key",
            |_, o| lost(o, missing(), false),
            Wait(Reason::KeyNotFound),
        ),
        case(
            5,
            "key refused",
            |_, o| lost(o, refused(), false),
            Blocked(Reason::KeyRefused),
        ),
        case(
            5,
            "no project",
            |_, o| lost(o, no_project(), false),
            Blocked(Reason::ProjectNotFound),
        ),
        case(
            5,
            "no key, and a branch may have been made",
            |d, o| {
                *o = unmade(d);
                asked_for(o, 3_000);
                o.key = missing();
            },
            Wait(Reason::KeyNotFound),
        ),
        case(
            4,
            "no key, and no branch was ever asked for",
            |d, o| {
                *o = unmade(d);
                o.key = missing();
            },
            Act(Action::ReleaseFinalizer),
        ),
        case(
            4,
            "no key, and the namespace goes, but no branch was ever asked for",
            |d, o| {
                *o = unmade(d);
                o.key = missing();
                o.namespace_going = true;
            },
            Act(Action::ReleaseFinalizer),
        ),
        case(
            4,
            "no branch was ever asked for, and a Secret that an earlier object of the name has left with its branch",
            |d, o| {
                *o = unmade(d);
                o.secrets = [("it".to_owned(), secret(true, false))].into();
            },
            release(),
        ),
        case(
            4,
            "the branch that we deleted ourselves, and a Secret that is recorded and not owned",
            |d, o| {
                let secrets = o.recorded.connection_secrets.clone();
                *o = unmade(d);
                o.recorded.connection_secrets = secrets;
                o.secrets = [("it".to_owned(), secret(true, false))].into();
            },
            Act(Action::WithdrawSecrets(vec!["it".into()])),
        ),
        case(
            4,
            "the branch that we deleted ourselves, and its Secret, without a key",
            |d, o| {
                *o = unmade(d);
                o.key = missing();
                o.secrets = [("it".to_owned(), secret(true, true))].into();
            },
            Act(Action::WithdrawSecrets(vec!["it".into()])),
        ),
        case(
            5,
            "Neon is at work on the branch that is to go",
            |_, o| o.operations = vec![operation("start_compute", false)],
            Wait(Reason::OperationsRunning),
        ),
        case(
            5,
            "Neon is at work for too long on something else",
            |_, o| o.operations = vec![overdue("start_compute")],
            delete(),
        ),
        case(
            5,
            "Neon is at work on the deletion",
            |d, o| {
                *o = unmade(d);
                o.operations = vec![operation("delete_timeline", false)];
            },
            Wait(Reason::OperationsRunning),
        ),
        case(
            5,
            "the deletion has ended",
            |d, o| {
                *o = unmade(d);
                o.operations = vec![operation("delete_timeline", true)];
            },
            Act(Action::ForgetOperations),
        ),
        case(
            5,
            "the deletion does not end, and the branch is no longer listed",
            |d, o| {
                *o = unmade(d);
                o.operations = vec![overdue("delete_timeline")];
            },
            release(),
        ),
        case(
            7,
            "the deletion has failed a moment ago",
            |d, o| {
                *o = unmade(d);
                o.marked = Some(a_branch("br-it", "preview/team/it"));
                o.failures = vec![failure(1)];
            },
            Wait(Reason::OperationFailed),
        ),
        case(
            7,
            "the deletion has failed some time ago",
            |d, o| {
                *o = unmade(d);
                o.marked = Some(a_branch("br-it", "preview/team/it"));
                o.failures = vec![failure(0)];
            },
            delete(),
        ),
        case(
            6,
            "an older object has the branch",
            |_, o| o.older_rival = Some("x".into()),
            release(),
        ),
        case(
            6,
            "somebody has taken the mark away",
            |_, o| seen(o).annotations.clear(),
            delete(),
        ),
        case(
            6,
            "it bears another object's mark",
            |d, o| seen(o).annotations = anothers(d).annotations(),
            Blocked(Reason::BranchClaimed),
        ),
        case(
            6,
            "it bears another object's mark, and is protected against the spec",
            |d, o| {
                let asked = protected_by_spec(false, d, o);
                seen(o).annotations = anothers(&asked).annotations();
                *d = asked;
            },
            Blocked(Reason::BranchClaimed),
        ),
        case(
            6,
            "it bears another object's mark, and the namespace is going",
            |d, o| {
                seen(o).annotations = anothers(d).annotations();
                o.namespace_going = true;
            },
            Act(Action::LeaveBehind("preview/team/it".into())),
        ),
        case(
            7,
            "unknown",
            |_, o| o.branch = Fact::Unknown,
            Wait(Reason::NeonUnavailable),
        ),
        case(
            7,
            "protected",
            |_, o| seen(o).protected = true,
            Blocked(Reason::BranchProtected),
        ),
        case(
            7,
            "protected by the spec",
            |d, o| *d = protected_by_spec(true, d, o),
            Blocked(Reason::BranchProtected),
        ),
        case(
            7,
            "protected, and not by the spec any more",
            |d, o| *d = protected_by_spec(false, d, o),
            Act(Action::Protect(false)),
        ),
        case(
            7,
            "protected, not by the spec any more, and never recorded",
            |d, o| {
                *d = protected_by_spec(false, d, o);
                o.marked = o.branch.known().cloned();
                o.recorded.branch = None;
            },
            Act(Action::ClaimBranch(Branch {
                protected: true,
                ..seen(&mut preview().1).clone()
            })),
        ),
        case(
            7,
            "made the project's default by somebody",
            |_, o| seen(o).default = true,
            Blocked(Reason::BranchProtected),
        ),
        case(
            7,
            "children",
            |_, o| o.children = vec!["c".into()],
            Wait(Reason::ChildrenExist),
        ),
        case(
            7,
            "a migration runs",
            |_, o| o.branch_free = false,
            Wait(Reason::MigrationRunning),
        ),
        case(7, "nothing in the way", |_, _| {}, delete()),
        case(7, "suspended", |d, _| d.suspend = true, delete()),
        case(
            7,
            "a broken spec",
            |d, _| d.rest = Err(crate::database::desired::invalid("no")),
            delete(),
        ),
        case(
            7,
            "made, but never recorded",
            |d, o| {
                *o = unmade(d);
                o.marked = Some(a_branch("br-it", "preview/team/it"));
            },
            delete(),
        ),
        case(
            7,
            "a branch bears our mark, and nothing was resolved since",
            |_, o| {
                *o = fresh();
                o.marked = Some(a_branch("br-it", "preview/team/it"));
            },
            delete(),
        ),
        case(
            3,
            "a branch bears our mark, and nothing was resolved of an object that takes over another one",
            |d, o| {
                *o = fresh();
                o.marked = Some(a_branch("br-it", "preview/team/it"));
                d.existing = Some(ExistingBranch {
                    default: Some(true),
                    name: None,
                    id: None,
                });
            },
            release(),
        ),
        case(
            7,
            "taken over, and Delete names it by id",
            |d, o| taken_over(d, o, Some("br-it")),
            delete(),
        ),
        case(
            8,
            "the listing may be older than the branch",
            |_, o| {
                o.branch = Fact::Absent;
                recorded(o).created_time.0 = now() - SignedDuration::from_secs(30);
            },
            Wait(Reason::OperationsRunning),
        ),
        case(
            8,
            "asked for a moment ago, and no answer came",
            |d, o| {
                *o = unmade(d);
                asked_for(o, 119);
            },
            Wait(Reason::OperationsRunning),
        ),
        case(
            8,
            "asked for so long ago that it would be there",
            |d, o| {
                *o = unmade(d);
                asked_for(o, 120);
            },
            Act(Action::ReleaseFinalizer),
        ),
        case(
            7,
            "asked for a moment ago, and there it is",
            |d, o| {
                *o = unmade(d);
                asked_for(o, 1);
                o.marked = Some(a_branch("br-it", "preview/team/it"));
            },
            delete(),
        ),
        case(
            9,
            "a branch that we deleted ourselves, however new it was",
            |_, o| {
                o.recorded.branch = None;
                o.branch = Fact::Unknown;
            },
            release(),
        ),
        case(
            9,
            "branch gone, Secret left",
            |_, o| {
                o.branch = Fact::Absent;
                o.secrets = [("it".to_owned(), secret(true, true))].into();
            },
            Act(Action::WithdrawSecrets(vec!["it".into()])),
        ),
        case(
            9,
            "branch gone, somebody else's Secret left",
            |_, o| {
                o.branch = Fact::Absent;
                o.secrets = [("it".to_owned(), secret(false, true))].into();
            },
            release(),
        ),
        case(
            9,
            "branch and Secret gone",
            |_, o| o.branch = Fact::Absent,
            release(),
        ),
    ]
}

#[test]
fn every_row_of_the_table() {
    let cases: Vec<Case> = letting_go().into_iter().chain(deleting()).collect();
    for number in 1..=9 {
        assert!(cases.iter().any(|case| case.0 == number), "row {number}");
    }
    for (row, name, desired, observed, wanted) in cases {
        let decided = answer(plan::decide(&desired, &observed, now()));
        assert_eq!(decided, wanted, "row {row}: {name}");
    }
}

#[test]
fn waiting_says_for_whom() {
    let (desired, mut observed) = preview();
    observed.children = vec!["a (NeonDatabase team/a)".into(), "b".into()];
    let Decision::Wait(wait) = deletion::decide(&desired, &observed, now()) else {
        panic!("children are waited for");
    };
    assert_eq!(
        wait.message,
        "the branch preview/team/it has children: a (NeonDatabase team/a), b"
    );
}

#[test]
fn who_cannot_be_asked_is_told_with_the_way_to_do_without() {
    let (desired, mut observed) = preview();
    let told = |observed: &Observed| {
        let decided = deletion::decide(&desired, observed, now());
        let Decision::Wait(wait) = decided else {
            panic!("{decided:?}");
        };
        wait.message
    };
    observed.key = missing();
    let way_out =
        "no key; to let the object go without its branch, annotate it with sepulki.dev/abandon: ";
    assert_eq!(told(&observed), format!("{way_out}br-it"));
    let mut unrecorded = unmade(&desired);
    asked_for(&mut unrecorded, 3_000);
    unrecorded.key = missing();
    assert_eq!(told(&unrecorded), format!("{way_out}preview/team/it"));
}

#[test]
fn the_spec_may_ask_to_delete_what_the_profile_retains() {
    let object = object(Environment::Staging, json!({"deletionPolicy": "Delete"}));
    let asked = going(Desired::of(&object, "default"));
    let mut observed = settled(&asked);
    assert!(deletes(&asked, &observed.recorded));
    observed.recorded.effective = None;
    assert!(deletes(&asked, &observed.recorded));
    assert!(!deletes(
        &going(desired(Environment::Staging)),
        &observed.recorded
    ));
}
