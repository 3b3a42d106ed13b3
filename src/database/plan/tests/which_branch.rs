//! Rows 8 to 10: no branch is recorded.

#![expect(clippy::too_many_lines, reason = "a table, one entry after the other")]

use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::json;

use super::super::*;
use super::Answer::{Act, Blocked, Wait};
use super::{Row, Rows};
use crate::api::{Effective, Environment};
use crate::database::fixtures::{
    a_branch, a_failure, a_parent, desired, effective, effective_takeover, fresh, now, parent_ref,
    terms,
};
use crate::database::line::Full;
use crate::database::observe::Existing;
use crate::database::rules::Terms;
use crate::reconcile::Fact;
use crate::world::{Failure, UNANSWERED};

const ANNOUNCED_LONG_AGO: SignedDuration = SignedDuration::from_secs(30);

/// One access rule for everybody, with so much of it used up.
pub(super) fn full(most: i32, held: usize, ahead: usize) -> Terms {
    let mut full = terms(json!([{"namespaces": {}, "maxBranches": most}]));
    for rule in &mut full.rules {
        (rule.held, rule.ahead) = (held, ahead);
    }
    full
}

pub(super) fn rows() -> Vec<Row> {
    let staging = desired(Environment::Staging);
    let mut own = fresh();
    own.recorded.effective = Some(effective(&staging));
    let mut takeover = fresh();
    takeover.recorded.effective = Some(effective_takeover());
    let marked = a_branch("br-marked", "staging/team/it");
    let main = a_branch("br-main", "main");
    let orphan = || Effective {
        parent: None,
        ..effective(&staging)
    };
    let without_branch = |ready| {
        let mut parent = a_parent(ready);
        if let Fact::Known(parent) = &mut parent {
            parent.branch = None;
        }
        parent
    };
    let mut rows = Rows::from(staging.clone(), own)
        .row(
            8,
            "a branch bears our mark",
            |_, o| {
                o.marked = Some(marked.clone());
                o.parent = Fact::Absent;
            },
            Act(Action::ClaimBranch(marked.clone())),
        )
        .row(
            8,
            "a branch bears our mark, whatever its name is taken by",
            |_, o| {
                o.marked = Some(marked.clone());
                o.named = Some(main.clone());
            },
            Act(Action::ClaimBranch(marked.clone())),
        )
        .row(
            8,
            "a branch bears our mark, and no access rule admits us any more",
            |_, o| {
                o.marked = Some(marked.clone());
                o.terms = Some(terms(json!([])));
            },
            Act(Action::ClaimBranch(marked.clone())),
        )
        .row(
            8,
            "a branch bears our mark, and nobody can say what its parent should be",
            |_, o| {
                o.marked = Some(marked.clone());
                o.recorded.effective = Some(orphan());
            },
            Act(Action::ClaimBranch(marked.clone())),
        )
        .row(
            8,
            "a branch bears our mark that was made for another object of our name",
            |_, o| o.left_over = Some(main.clone()),
            Blocked(Reason::BranchClaimed),
        )
        .row(
            8,
            "a branch bears our mark, and so does one that was made for another object of our name",
            |_, o| {
                o.marked = Some(marked.clone());
                o.left_over = Some(main.clone());
            },
            Act(Action::ClaimBranch(marked.clone())),
        )
        .row(
            7,
            "resolved without a parent, which is clear by now, for the branch is gone",
            |_, o| {
                o.recorded.effective = Some(orphan());
                o.candidates = vec!["mother".into()];
            },
            Act(Action::Resolve(effective(&staging))),
        )
        .row(
            7,
            "resolved without a parent, which is not clear, and the branch is gone",
            |_, o| o.recorded.effective = Some(orphan()),
            Blocked(Reason::ParentRequired),
        )
        .row(
            7,
            "the spec names another parent than was resolved",
            |d, _| d.parent = Some(parent_ref("aunt")),
            Act(Action::Resolve(Effective {
                parent: Some(parent_ref("aunt")),
                ..effective(&staging)
            })),
        )
        .row(
            7,
            "the spec names a branch to take over, and a parent was resolved",
            |d, _| d.existing = effective_takeover().existing,
            Act(Action::Resolve(effective_takeover())),
        )
        .row(
            7,
            "the spec leads to another project, where another parent is the default",
            |_, o| {
                o.recorded.project_id = Some("loud-sea-2".into());
                o.candidates = vec!["aunt".into()];
            },
            Act(Action::Resolve(Effective {
                parent: Some(parent_ref("aunt")),
                ..effective(&staging)
            })),
        )
        .row(
            10,
            "the spec names another parent, but Neon was asked for the branch",
            |d, o| {
                d.parent = Some(parent_ref("aunt"));
                o.recorded.branch_request_time = Some(Time(now()));
            },
            Act(Action::CreateBranch("br-parent".into())),
        )
        .row(
            10,
            "Neon was asked for the branch, which has not come, and the parent is gone",
            |_, o| {
                o.parent = Fact::Absent;
                o.recorded.branch_request_time = Some(Time(now() - UNANSWERED));
            },
            Act(Action::DropRequest),
        )
        .row(
            10,
            "Neon was asked for the branch a moment ago, and another one has its name",
            |_, o| {
                o.named = Some(main.clone());
                o.recorded.branch_request_time = Some(Time(now()));
            },
            Act(Action::DropRequest),
        )
        .row(
            10,
            "Neon was asked for the branch, which may still come, and the parent is gone",
            |_, o| {
                let recently = now() - UNANSWERED + SignedDuration::from_secs(1);
                o.parent = Fact::Absent;
                o.recorded.branch_request_time = Some(Time(recently));
            },
            Wait(Reason::ParentNotFound),
        )
        .row(
            10,
            "Neon was asked for the branch, which has not come, and the parent cannot be looked up",
            |_, o| {
                o.parent = Fact::Unknown;
                o.recorded.branch_request_time = Some(Time(now() - UNANSWERED));
            },
            Wait(Reason::NeonUnavailable),
        )
        .row(
            10,
            "no access rule admits forks of the parent, announced or not",
            |_, o| {
                o.terms = Some(terms(json!([{"namespaces": {}, "parents": ["other"]}])));
                o.recorded.branch_request_time = Some(Time(now()));
            },
            Blocked(Reason::AccessDenied),
        )
        .row(
            10,
            "as many branches exist as the access rule allows",
            |_, o| o.terms = Some(full(2, 2, 0)),
            Wait(Reason::NoRoom),
        )
        .row(
            10,
            "the last place is an older object's",
            |_, o| o.terms = Some(full(2, 1, 1)),
            Wait(Reason::NoRoom),
        )
        .row(
            10,
            "the last place",
            |_, o| o.terms = Some(full(2, 1, 0)),
            Act(Action::AnnounceBranch),
        )
        .row(
            10,
            "others come first",
            |_, o| o.line.ahead = 4,
            Wait(Reason::ProjectLocked),
        )
        .row(
            10,
            "others come first, but it was announced",
            |_, o| {
                o.line.ahead = 4;
                o.recorded.branch_request_time = Some(Time(now()));
            },
            Act(Action::CreateBranch("br-parent".into())),
        )
        .row(
            10,
            "Neon has no room, and an older one asks",
            |_, o| {
                o.line.ahead = 1;
                o.line.full = Some(Full {
                    awaited: "room",
                    why: "Neon: branches limit exceeded".into(),
                });
            },
            Wait(Reason::LimitReached),
        )
        .row(
            10,
            "a full access rule, but the parent is missing",
            |_, o| {
                o.terms = Some(full(2, 2, 0));
                o.parent = Fact::Absent;
            },
            Wait(Reason::ParentNotFound),
        )
        .row(
            10,
            "the parent is ready but not listed",
            |_, o| {
                o.terms = Some(Terms {
                    parent_branch: None,
                    ..full(2, 0, 0)
                });
            },
            Wait(Reason::ParentNotReady),
        )
        .row(
            10,
            "somebody else's branch has the name",
            |_, o| o.named = Some(main.clone()),
            Blocked(Reason::BranchNameConflict),
        )
        .row(
            10,
            "the parents go round in a circle",
            |d, o| {
                d.circle = Some(vec!["it".into(), "it".into()]);
                o.parent = Fact::Absent;
            },
            Blocked(Reason::InvalidSpec),
        )
        .row(
            10,
            "the parent has a lease",
            |_, o| {
                if let Fact::Known(parent) = &mut o.parent {
                    parent.expires = true;
                }
            },
            Blocked(Reason::ParentExpires),
        )
        .row(
            10,
            "the parent is missing",
            |_, o| o.parent = Fact::Absent,
            Wait(Reason::ParentNotFound),
        )
        .row(
            10,
            "the parent is unknown",
            |_, o| o.parent = Fact::Unknown,
            Wait(Reason::NeonUnavailable),
        )
        .row(
            10,
            "the parent has no branch yet",
            |_, o| o.parent = without_branch(true),
            Wait(Reason::ParentNotReady),
        )
        .row(
            10,
            "the parent is not ready",
            |_, o| o.parent = a_parent(false),
            Wait(Reason::ParentNotReady),
        )
        .row(
            10,
            "the parent is ready",
            |_, _| {},
            Act(Action::AnnounceBranch),
        )
        .row(
            10,
            "the parent is ready, and the branch was announced",
            |_, o| o.recorded.branch_request_time = Some(Time(now())),
            Act(Action::CreateBranch("br-parent".into())),
        )
        .row(
            10,
            "Neon could not make it a moment ago",
            |_, o| {
                o.failures = vec![a_failure("make the branch staging/team/it")];
                o.recorded.branch_request_time = Some(Time(now()));
            },
            Wait(Reason::OperationFailed),
        )
        .row(
            10,
            "Neon could not make it a while ago",
            |_, o| {
                o.failures = vec![Failure {
                    until: now(),
                    ..a_failure("make the branch staging/team/it")
                }];
            },
            Act(Action::AnnounceBranch),
        )
        .row(
            10,
            "Neon has refused it a short while ago",
            |_, o| {
                o.refused = Some(Block {
                    reason: Reason::NeonRejected,
                    message: "no".into(),
                });
            },
            Blocked(Reason::NeonRejected),
        )
        .row(
            10,
            "the branch was announced long ago",
            |_, o| o.recorded.branch_request_time = Some(Time(now() - ANNOUNCED_LONG_AGO)),
            Act(Action::AnnounceBranch),
        )
        .table;
    let held = |holder: Option<&str>| {
        Fact::Known(Existing {
            branch: main.clone(),
            holder: holder.map(str::to_owned),
        })
    };
    rows.extend(
        Rows::from(staging, takeover)
            .row(
                9,
                "the branch to take over is free, and an earlier object left one with our mark",
                |_, o| {
                    o.existing = held(None);
                    o.marked = Some(marked.clone());
                },
                Act(Action::ClaimBranch(main.clone())),
            )
            .row(
                9,
                "the branch to take over was made for another object of our name",
                |_, o| {
                    o.existing = held(None);
                    o.left_over = Some(main.clone());
                },
                Act(Action::ClaimBranch(main.clone())),
            )
            .row(
                9,
                "the branch to take over is missing",
                |_, _| {},
                Blocked(Reason::BranchNotFound),
            )
            .row(
                9,
                "the branch to take over is unknown",
                |_, o| o.existing = Fact::Unknown,
                Wait(Reason::NeonUnavailable),
            )
            .row(
                9,
                "the branch to take over is somebody else's",
                |_, o| o.existing = held(Some("NeonDatabase a/b")),
                Blocked(Reason::BranchClaimed),
            )
            .row(
                10,
                "the branch to take over is free, but the access rule is for forks",
                |_, o| {
                    o.existing = held(None);
                    o.terms = Some(terms(json!([{"namespaces": {}, "parents": ["base"]}])));
                },
                Blocked(Reason::AccessDenied),
            )
            .row(
                9,
                "the branch to take over is free",
                |_, o| o.existing = held(None),
                Act(Action::ClaimBranch(main.clone())),
            )
            .table,
    );
    rows
}
