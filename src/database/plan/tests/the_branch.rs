//! Rows 11 to 18: a branch is recorded.

#![expect(clippy::too_many_lines, reason = "a table, one entry after the other")]

use serde_json::json;

use super::super::*;
use super::Answer::{Act, Blocked, Settled, Suspended, Wait};
use super::{Row, Rows};
use crate::api::{Credentials, Environment};
use crate::database::fixtures::{
    a_branch, a_failure, anothers, at, desired, effective, effective_takeover, now, object,
    recorded, seen, settled,
};
use crate::database::observe::{Existing, ResetAsked};
use crate::neon::BranchState;
use crate::reconcile::Fact;
use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

fn protected_by_spec(protected: bool) -> Desired {
    let spec = json!({"branch": {"protected": protected}});
    Desired::of(&object(Environment::Staging, spec), "default")
}

fn no_protection() -> Block {
    Block {
        reason: Reason::LimitReached,
        message: "no".into(),
    }
}

fn no_lease() -> Block {
    Block {
        reason: Reason::NeonRejected,
        message: "no".into(),
    }
}

/// A preview whose lease the spec sets, and which Neon has refused a short while ago.
fn refused_lease(d: &mut Desired, o: &mut Observed) {
    let spec = json!({"branch": {"lease": "2h"}});
    *d = Desired::of(&object(Environment::Preview, spec), "default");
    *o = settled(d);
    seen(o).expires_at = None;
    o.lease_refused = Some(no_lease());
}

fn reset_asked() -> ResetAsked {
    ResetAsked {
        by: "m".into(),
        version: "001_a.sql".into(),
    }
}

pub(super) fn rows() -> Vec<Row> {
    let staging = desired(Environment::Staging);
    let preview = desired(Environment::Preview);
    let observed = settled(&staging);
    let gone = |o: &mut Observed| o.branch = Fact::Absent;
    let lease = SignedDuration::from_hours(72);
    let orphaned = |o: &mut Observed| {
        let resolved = o.recorded.effective.as_mut().unwrap();
        resolved.parent = None;
    };
    let renamed = |o: &mut Observed| seen(o).name = "renamed".into();
    let state = |o: &mut Observed, state: BranchState, at_work: bool| {
        seen(o).current_state = state;
        seen(o).pending_state = at_work.then_some(BranchState::Ready);
    };
    let unmade = |o: &mut Observed| {
        state(o, BranchState::Init, false);
        recorded(o).ready_time = None;
        recorded(o).credentials = Credentials::Inherited;
    };
    let replaced =
        |o: &mut Observed| o.served_instead = Some(a_branch("br-restored", "staging/team/it"));
    let taken_over_as_default = |o: &mut Observed, default: &str| {
        recorded(o).taken_over = true;
        o.recorded.effective = Some(effective_takeover());
        o.existing = Fact::Known(Existing {
            branch: a_branch(default, "main"),
            holder: None,
        });
    };
    let discarded = || Act(Action::DiscardBranch("br-it".into()));
    Rows::from(staging, observed)
        .row(
            11,
            "not listed yet",
            |_, o| {
                gone(o);
                recorded(o).created_time.0 = now() - SignedDuration::from_secs(59);
            },
            Wait(Reason::OperationsRunning),
        )
        .row(
            11,
            "unknown",
            |_, o| o.branch = Fact::Unknown,
            Wait(Reason::NeonUnavailable),
        )
        .row(
            11,
            "staging is gone",
            |_, o| gone(o),
            Blocked(Reason::BranchMissing),
        )
        .row(
            11,
            "staging is gone and suspended",
            |d, o| {
                d.suspend = true;
                gone(o);
            },
            Suspended,
        )
        .row(
            11,
            "a preview is gone",
            |d, o| {
                *d = preview.clone();
                gone(o);
            },
            Act(Action::ForgetBranch),
        )
        .row(
            11,
            "staging is gone before anybody was given its credentials",
            |_, o| {
                gone(o);
                recorded(o).credentials = Credentials::Inherited;
                o.recorded.connection_secrets.clear();
            },
            Act(Action::ForgetBranch),
        )
        .row(
            11,
            "staging is gone after a reset, its credentials are out",
            |_, o| {
                gone(o);
                recorded(o).credentials = Credentials::Inherited;
            },
            Blocked(Reason::BranchMissing),
        )
        .row(
            11,
            "staging is gone, which Neon had never made, and which lists no databases",
            |d, o| {
                gone(o);
                recorded(o).credentials = Credentials::Inherited;
                recorded(o).ready_time = None;
                if let Ok(rest) = &mut d.rest {
                    rest.databases.clear();
                }
            },
            Act(Action::ForgetBranch),
        )
        .row(
            11,
            "staging is gone, and lists no databases to give credentials of",
            |d, o| {
                gone(o);
                recorded(o).credentials = Credentials::Inherited;
                o.recorded.connection_secrets.clear();
                if let Ok(rest) = &mut d.rest {
                    rest.databases.clear();
                }
            },
            Blocked(Reason::BranchMissing),
        )
        .row(
            11,
            "a preview that was taken over is gone",
            |d, o| {
                *d = preview.clone();
                gone(o);
                recorded(o).taken_over = true;
            },
            Blocked(Reason::BranchMissing),
        )
        .row(
            12,
            "an older object holds the branch",
            |_, o| o.older_rival = Some("NeonDatabase a/b".into()),
            Blocked(Reason::BranchClaimed),
        )
        .row(
            12,
            "it bears another object's mark by now",
            |d, o| seen(o).annotations = anothers(d).annotations(),
            Blocked(Reason::BranchClaimed),
        )
        .row(
            12,
            "it bears another object's mark by now, and its lease is due",
            |d, o| {
                *d = preview.clone();
                *o = settled(d);
                seen(o).annotations = anothers(d).annotations();
                seen(o).expires_at = Some(now());
            },
            Blocked(Reason::BranchClaimed),
        )
        .row(
            12,
            "somebody has taken its mark away",
            |_, o| seen(o).annotations.clear(),
            Settled,
        )
        .row(
            12,
            "its compute serves another branch",
            |_, o| {
                replaced(o);
                o.endpoint = Fact::Absent;
            },
            Blocked(Reason::BranchReplaced),
        )
        .row(
            12,
            "its compute serves another branch, and it was renamed, unprotected and asked to be reset",
            |d, o| {
                *d = preview.clone();
                *o = settled(d);
                replaced(o);
                renamed(o);
                o.reset_asked = Some(reset_asked());
                o.endpoint = Fact::Absent;
            },
            Blocked(Reason::BranchReplaced),
        )
        .row(
            12,
            "its compute serves another branch, and its lease is due",
            |d, o| {
                *d = preview.clone();
                *o = settled(d);
                replaced(o);
                seen(o).expires_at = Some(now());
            },
            Act(Action::RenewLease(lease)),
        )
        .row(
            12,
            "its compute serves another branch, and it is gone",
            |d, o| {
                *d = preview.clone();
                *o = settled(d);
                replaced(o);
                gone(o);
            },
            Blocked(Reason::BranchReplaced),
        )
        .row(
            13,
            "the branch is being made",
            |_, o| state(o, BranchState::Init, true),
            Wait(Reason::OperationsRunning),
        )
        .row(
            13,
            "the branch is being reset",
            |_, o| {
                state(o, BranchState::Resetting, true);
                seen(o).last_reset_at = Some(at(1_000));
            },
            Wait(Reason::OperationsRunning),
        )
        .row(
            13,
            "Neon could not make the branch",
            |_, o| unmade(o),
            discarded(),
        )
        .row(
            13,
            "Neon could not make the branch, suspended",
            |d, o| {
                unmade(o);
                d.suspend = true;
            },
            Suspended,
        )
        .row(
            13,
            "Neon could not make the branch, and nobody may delete it",
            |_, o| {
                unmade(o);
                seen(o).protected = true;
            },
            Blocked(Reason::OperationFailed),
        )
        .row(
            13,
            "a branch that Neon could not make was not made by us",
            |_, o| {
                unmade(o);
                seen(o).annotations.clear();
            },
            Blocked(Reason::OperationFailed),
        )
        .row(
            13,
            "a branch was ready once, and Neon is no longer at it",
            |_, o| {
                unmade(o);
                recorded(o).ready_time = Some(Time(at(1)));
            },
            Blocked(Reason::OperationFailed),
        )
        .row(
            13,
            "a branch that was taken over, and Neon is no longer at it",
            |_, o| {
                unmade(o);
                recorded(o).taken_over = true;
            },
            Blocked(Reason::OperationFailed),
        )
        .row(
            13,
            "somebody has credentials of a branch, and Neon is no longer at it",
            |_, o| {
                unmade(o);
                recorded(o).credentials = Credentials::Own;
            },
            Blocked(Reason::OperationFailed),
        )
        .row(
            13,
            "somebody's reset was not done",
            |_, o| state(o, BranchState::Resetting, false),
            Blocked(Reason::OperationFailed),
        )
        .row(
            13,
            "a reset of ours was not done",
            |_, o| {
                state(o, BranchState::Resetting, false);
                o.recorded.reset_time = Some(Time(now() + SignedDuration::from_secs(60)));
            },
            Act(Action::ResetBranch("br-parent".into())),
        )
        .row(
            13,
            "a reset of ours was not done, a moment ago",
            |_, o| {
                state(o, BranchState::Resetting, false);
                o.recorded.reset_time = Some(Time(now()));
                o.failures = vec![a_failure("reset the branch staging/team/it")];
            },
            Wait(Reason::OperationFailed),
        )
        .row(
            14,
            "the branch was reset",
            |_, o| seen(o).last_reset_at = Some(at(1_000)),
            Act(Action::RecordIncarnation),
        )
        .row(
            15,
            "a lease that nobody wants",
            |_, o| seen(o).expires_at = Some(at(9_000)),
            Act(Action::EndLease),
        )
        .row(
            15,
            "a lease of a branch that was taken over",
            |_, o| {
                seen(o).expires_at = Some(at(9_000));
                recorded(o).taken_over = true;
            },
            Settled,
        )
        .row(
            15,
            "no lease yet",
            |d, o| {
                *d = preview.clone();
                *o = settled(d);
                seen(o).expires_at = None;
            },
            Act(Action::RenewLease(lease)),
        )
        .row(
            15,
            "a day of the lease has passed",
            |d, o| {
                *d = preview.clone();
                *o = settled(d);
                seen(o).expires_at = Some(now() + SignedDuration::from_hours(48));
            },
            Act(Action::RenewLease(lease)),
        )
        .row(
            15,
            "less than a day of the lease has passed",
            |d, o| {
                *d = preview.clone();
                *o = settled(d);
                seen(o).expires_at =
                    Some(now() + SignedDuration::from_hours(48) + SignedDuration::from_secs(1));
            },
            Settled,
        )
        .row(
            15,
            "a lease that was made shorter",
            |d, o| {
                let spec = json!({"branch": {"lease": "2h"}});
                *d = Desired::of(&object(Environment::Preview, spec), "default");
                *o = settled(d);
                seen(o).expires_at = Some(now() + SignedDuration::from_hours(12));
            },
            Act(Action::RenewLease(SignedDuration::from_hours(2))),
        )
        .row(
            15,
            "a lease that is due is renewed under suspend",
            |d, o| {
                *d = Desired {
                    suspend: true,
                    ..preview.clone()
                };
                *o = settled(d);
                seen(o).expires_at = Some(now());
            },
            Act(Action::RenewLease(lease)),
        )
        .row(
            15,
            "a lease of the spec that Neon has refused",
            refused_lease,
            Blocked(Reason::NeonRejected),
        )
        .row(
            15,
            "a lease of the spec that Neon does not extend",
            |d, o| {
                refused_lease(d, o);
                seen(o).expires_at = Some(now() + SignedDuration::from_mins(1));
            },
            Blocked(Reason::NeonRejected),
        )
        .row(
            15,
            "Neon has refused a lease, and it is not due",
            |d, o| {
                refused_lease(d, o);
                seen(o).expires_at = Some(now() + SignedDuration::from_hours(2));
            },
            Settled,
        )
        .row(
            15,
            "Neon has refused a lease, refuses nothing else, and a Secret is missing",
            |d, o| {
                refused_lease(d, o);
                o.current_secrets.clear();
            },
            Act(Action::PublishCredentials("web".into())),
        )
        .row(
            15,
            "a lease of the profile that Neon has refused",
            |d, o| {
                *d = preview.clone();
                *o = settled(d);
                seen(o).expires_at = None;
                o.lease_refused = Some(no_lease());
            },
            Settled,
        )
        .row(
            15,
            "Neon has refused a lease, and now there is one that nobody wants",
            |_, o| {
                seen(o).expires_at = Some(at(9_000));
                o.lease_refused = Some(no_lease());
            },
            Act(Action::EndLease),
        )
        .row(
            16,
            "suspended",
            |d, o| {
                d.suspend = true;
                seen(o).protected = true;
                o.endpoint = Fact::Absent;
            },
            Suspended,
        )
        .row(
            16,
            "a migration asks for a reset",
            |d, o| {
                *d = preview.clone();
                *o = settled(d);
                o.reset_asked = Some(reset_asked());
                o.endpoint = Fact::Absent;
            },
            Act(Action::TakeUpResetFor(reset_asked())),
        )
        .row(
            16,
            "a reset was taken up",
            |d, o| {
                *d = preview.clone();
                *o = settled(d);
                d.asked.reset = Some(format!("br-it@{}", now()));
                o.recorded.handled.reset.clone_from(&d.asked.reset);
                o.recorded.reset_time = Some(Time(now()));
                o.endpoint = Fact::Absent;
            },
            Act(Action::ResetBranch("br-parent".into())),
        )
        .row(
            16,
            "a reset was taken up and has been withdrawn since",
            |d, o| {
                *d = preview.clone();
                *o = settled(d);
                o.recorded.handled.reset = Some(format!("br-it@{}", now()));
                o.recorded.reset_time = Some(Time(now()));
            },
            Act(Action::DropReset),
        )
        .row(
            26,
            "it was taken over as the default and is that",
            |_, o| taken_over_as_default(o, "br-it"),
            Settled,
        )
        .row(
            26,
            "it was taken over as the default, and another one is that",
            |_, o| taken_over_as_default(o, "br-other"),
            Blocked(Reason::BranchReplaced),
        )
        .row(
            26,
            "it was taken over by its id, and another one is the default",
            |_, o| {
                taken_over_as_default(o, "br-other");
                let resolved = o.recorded.effective.as_mut().unwrap();
                resolved.existing.as_mut().unwrap().default = None;
            },
            Settled,
        )
        .row(
            17,
            "somebody has renamed the branch",
            |_, o| renamed(o),
            Act(Action::RenameBranch("staging/team/it".into())),
        )
        .row(
            17,
            "somebody has renamed the branch, suspended",
            |d, o| {
                renamed(o);
                d.suspend = true;
            },
            Suspended,
        )
        .row(
            17,
            "somebody has renamed a branch that was taken over",
            |_, o| {
                renamed(o);
                recorded(o).taken_over = true;
            },
            Settled,
        )
        .row(
            17,
            "somebody has renamed the branch, and another one has its name",
            |_, o| {
                renamed(o);
                o.named = Some(a_branch("br-other", "staging/team/it"));
            },
            Blocked(Reason::BranchNameConflict),
        )
        .row(
            17,
            "Neon has refused to give the branch its name back",
            |_, o| {
                renamed(o);
                o.name_refused = Some(no_lease());
            },
            Blocked(Reason::NeonRejected),
        )
        .row(
            17,
            "Neon has refused to give the branch its name back, and a Secret is missing",
            |_, o| {
                renamed(o);
                o.name_refused = Some(no_lease());
                o.current_secrets.clear();
            },
            Act(Action::PublishCredentials("web".into())),
        )
        .row(
            17,
            "Neon has refused to give the branch its name back, and it has it by now",
            |_, o| o.name_refused = Some(no_lease()),
            Settled,
        )
        .row(
            17,
            "to be protected",
            |d, o| {
                *d = desired(Environment::Production);
                *o = settled(d);
                seen(o).protected = false;
            },
            Act(Action::Protect(true)),
        )
        .row(
            17,
            "to be protected by the profile, and Neon refuses that",
            |d, o| {
                *d = desired(Environment::Production);
                *o = settled(d);
                seen(o).protected = false;
                o.protection_refused = Some(no_protection());
            },
            Settled,
        )
        .row(
            17,
            "to be protected by the spec, and Neon refuses that",
            |d, o| {
                *d = protected_by_spec(true);
                *o = settled(d);
                seen(o).protected = false;
                o.protection_refused = Some(no_protection());
            },
            Blocked(Reason::LimitReached),
        )
        .row(
            17,
            "Neon refused to protect it, refuses nothing else, and a Secret is missing",
            |d, o| {
                *d = protected_by_spec(true);
                *o = settled(d);
                seen(o).protected = false;
                o.protection_refused = Some(no_protection());
                o.current_secrets.clear();
            },
            Act(Action::PublishCredentials("web".into())),
        )
        .row(
            17,
            "Neon refused to protect it, and it is protected by now",
            |d, o| {
                *d = protected_by_spec(true);
                *o = settled(d);
                o.protection_refused = Some(no_protection());
            },
            Settled,
        )
        .row(
            17,
            "Neon refused to protect it, and the spec no longer wants that",
            |d, o| {
                *d = protected_by_spec(false);
                seen(o).protected = true;
                o.protection_refused = Some(no_protection());
            },
            Act(Action::Protect(false)),
        )
        .row(
            17,
            "protected by somebody else, and nothing is said",
            |_, o| seen(o).protected = true,
            Settled,
        )
        .row(
            17,
            "protected against the spec",
            |d, o| {
                *d = protected_by_spec(false);
                seen(o).protected = true;
            },
            Act(Action::Protect(false)),
        )
        .row(
            7,
            "taken up by its mark, and nobody can say from what it would be made again",
            |_, o| orphaned(o),
            Blocked(Reason::ParentRequired),
        )
        .row(
            7,
            "taken up by its mark without a parent, and a Secret is missing",
            |_, o| {
                orphaned(o);
                o.current_secrets.clear();
            },
            Act(Action::PublishCredentials("web".into())),
        )
        .row(
            7,
            "taken up by its mark without a parent, which is clear by now",
            |d, o| {
                *d = Desired {
                    branch_name: "another".into(),
                    ..d.clone()
                };
                orphaned(o);
                o.candidates = vec!["mother".into()];
            },
            Act(Action::Resolve(effective(&desired(Environment::Staging)))),
        )
        .row(
            18,
            "a migration is at work and a Secret is missing",
            |_, o| {
                o.branch_free = false;
                o.current_secrets.clear();
            },
            Wait(Reason::MigrationRunning),
        )
        .row(
            18,
            "a migration is at work and all is as asked",
            |_, o| o.branch_free = false,
            Settled,
        )
        .table
}
