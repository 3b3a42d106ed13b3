//! Rows 1 to 7: before anything is known of a branch.

#![expect(clippy::too_many_lines, reason = "a table, one entry after the other")]

use serde_json::json;

use super::super::*;
use super::Answer::{Act, Blocked, Suspended, Wait};
use super::{Row, Rows};
use crate::api::Effective;
use crate::api::ExistingBranch;
use crate::api::ParentBranch;
use crate::api::{DeletionPolicy, Environment};
use crate::database::desired::invalid;
use crate::database::fixtures::{
    a_branch, desired, effective_takeover, fresh, object, operation, parent_ref, terms,
};
use crate::database::rules::Terms;

pub(super) fn rows() -> Vec<Row> {
    let resolved = |d: &Desired| Effective {
        branch_name: Some(d.branch_name.clone()),
        existing: None,
        parent: Some(parent_ref("production")),
        deletion_policy: DeletionPolicy::Retain,
    };
    let staging = desired(Environment::Staging);
    let mut observed = fresh();
    observed.candidates = vec!["production".into()];
    let ended = |ended| operation("create_branch", ended);
    Rows::from(staging.clone(), observed)
        .row(
            1,
            "being deleted, nothing of ours",
            |d, _| d.deleting = true,
            Act(Action::ReleaseFinalizer),
        )
        .row(
            1,
            "a Secret would go with an object that leaves its branch, whatever else is in the way",
            |d, o| {
                d.suspend = true;
                d.rest = Err(invalid("no"));
                o.key = Key::Missing("no key".to_owned());
                o.to_be_kept = vec!["it".into()];
            },
            Act(Action::KeepSecrets(vec!["it".into()])),
        )
        .row(
            2,
            "suspended from the start",
            |d, _| d.suspend = true,
            Suspended,
        )
        .row(
            2,
            "suspended from the start, not even a finalizer",
            |d, _| {
                d.suspend = true;
                d.has_finalizer = false;
            },
            Suspended,
        )
        .row(
            3,
            "spec cannot be carried out",
            |d, o| {
                d.rest = Err(invalid("no"));
                d.has_finalizer = false;
                o.key = Key::Missing("no key".to_owned());
            },
            Blocked(Reason::InvalidSpec),
        )
        .row(
            4,
            "no finalizer yet",
            |d, o| {
                d.has_finalizer = false;
                o.key = Key::Missing("no key".to_owned());
            },
            Act(Action::AddFinalizer),
        )
        .row(
            4,
            "somebody wants everything looked at anew",
            |d, o| {
                d.asked.reconcile = Some("now".into());
                o.key = Key::Refused("401".to_owned());
            },
            Act(Action::LookAgain),
        )
        .row(
            4,
            "somebody wants what was refused tried again",
            |d, o| {
                d.asked.retry = Some("2".into());
                o.recorded.handled.retry = Some("1".into());
            },
            Act(Action::LookAgain),
        )
        .row(
            4,
            "the branch is to live longer",
            |d, _| d.asked.extend = Some("2027-02-01T00:00:00Z".into()),
            Act(Action::Extend("2027-02-01T00:00:00Z".into())),
        )
        .row(
            5,
            "no key, and everything that was asked for is taken up",
            |d, o| {
                d.asked.reconcile = Some("now".into());
                d.asked.retry = Some("1".into());
                d.asked.extend = Some("tomorrow".into());
                o.recorded.handled.reconcile = Some("now".into());
                o.recorded.handled.retry = Some("1".into());
                o.recorded.handled.extend = Some("tomorrow".into());
                o.key = Key::Missing("no key".to_owned());
            },
            Wait(Reason::KeyNotFound),
        )
        .row(
            5,
            "the NeonProject is missing or not ready",
            |_, o| o.key = Key::Waiting("no NeonProject sea".to_owned()),
            Wait(Reason::ProjectNotReady),
        )
        .row(
            5,
            "no key",
            |_, o| o.key = Key::Missing("no key".to_owned()),
            Wait(Reason::KeyNotFound),
        )
        .row(
            5,
            "key refused",
            |_, o| o.key = Key::Refused("401".to_owned()),
            Blocked(Reason::KeyRefused),
        )
        .row(
            5,
            "unknown project",
            |_, o| o.key = Key::NoProject("404".to_owned()),
            Blocked(Reason::ProjectNotFound),
        )
        .row(
            6,
            "one operation runs",
            |_, o| o.operations = vec![ended(true), ended(false)],
            Wait(Reason::OperationsRunning),
        )
        .row(
            6,
            "all operations ended",
            |_, o| o.operations = vec![ended(true), ended(true)],
            Act(Action::ForgetOperations),
        )
        .row(
            7,
            "no access rule is for this environment, and nothing is resolved",
            |_, o| {
                o.terms = Some(terms(
                    json!([{"namespaces": {}, "environments": ["preview"]}]),
                ));
            },
            Blocked(Reason::AccessDenied),
        )
        .row(
            7,
            "the labels of the namespace are not known",
            |_, o| {
                o.terms = Some(Terms {
                    labels: None,
                    ..terms(json!([]))
                });
            },
            Wait(Reason::ProjectNotReady),
        )
        .row(
            7,
            "no access rule any more, but a branch that bears our mark",
            |_, o| {
                o.terms = Some(terms(json!([])));
                o.marked = Some(a_branch("br-marked", "staging/team/it"));
            },
            Act(Action::Resolve(resolved(&staging))),
        )
        .row(
            7,
            "a preview that names no parent forks the base branch",
            |d, o| {
                *d = desired(Environment::Preview);
                o.terms = Some(Terms {
                    base_branch: Some("base".into()),
                    ..terms(json!([{"namespaces": {}}]))
                });
            },
            Act(Action::Resolve(Effective {
                branch_name: Some("preview/team/it".into()),
                existing: None,
                parent: Some(ParentBranch {
                    database_ref: None,
                    branch_name: Some("base".into()),
                    at: None,
                }),
                deletion_policy: DeletionPolicy::Delete,
            })),
        )
        .row(
            7,
            "a preview that names no parent, and no base branch",
            |d, o| {
                *d = desired(Environment::Preview);
                o.terms = Some(terms(json!([{"namespaces": {}}])));
            },
            Blocked(Reason::ParentRequired),
        )
        .row(
            7,
            "the only candidate is the parent",
            |_, _| {},
            Act(Action::Resolve(resolved(&staging))),
        )
        .row(
            7,
            "no candidate",
            |_, o| o.candidates.clear(),
            Blocked(Reason::ParentRequired),
        )
        .row(
            7,
            "two candidates",
            |_, o| o.candidates.push("production-2".into()),
            Blocked(Reason::ParentRequired),
        )
        .row(
            7,
            "two candidates, but a branch bears our mark",
            |_, o| {
                o.candidates.push("production-2".into());
                o.marked = Some(a_branch("br-marked", "staging/team/it"));
            },
            Act(Action::Resolve(Effective {
                parent: None,
                ..resolved(&staging)
            })),
        )
        .row(
            7,
            "a parent is named",
            |d, o| {
                d.parent = Some(parent_ref("production"));
                o.candidates.clear();
            },
            Act(Action::Resolve(resolved(&staging))),
        )
        .row(
            7,
            "a preview names none",
            |d, _| *d = desired(Environment::Preview),
            Blocked(Reason::ParentRequired),
        )
        .row(
            7,
            "production takes over the default branch",
            |d, _| *d = desired(Environment::Production),
            Act(Action::Resolve(effective_takeover())),
        )
        .row(
            7,
            "a branch to take over is named",
            |d, _| {
                *d = Desired::of(
                    &object(
                        Environment::Staging,
                        json!({"branch": {"existing": {"name": "old"}}}),
                    ),
                    "default",
                );
            },
            Act(Action::Resolve(Effective {
                existing: Some(ExistingBranch {
                    default: None,
                    name: Some("old".into()),
                    id: None,
                }),
                ..effective_takeover()
            })),
        )
        .row(
            7,
            "production with a parent is a branch of its own",
            |d, _| {
                *d = Desired::of(
                    &object(
                        Environment::Production,
                        json!({"branch": {"parent": {"branchName": "main"}}}),
                    ),
                    "default",
                );
            },
            Act(Action::Resolve(Effective {
                branch_name: Some("production/team/it".into()),
                existing: None,
                parent: Some(ParentBranch {
                    database_ref: None,
                    branch_name: Some("main".into()),
                    at: None,
                }),
                deletion_policy: DeletionPolicy::Retain,
            })),
        )
        .table
}
