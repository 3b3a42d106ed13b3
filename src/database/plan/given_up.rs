//! What Neon has begun and not done: row 13, and what it is asked for again with patience. Pure.

use jiff::Timestamp;

use super::{Action, Next, RECHECK, block};
use crate::api::{BranchStatus, Credentials, RESET, Reason};
use crate::database::desired::Desired;
use crate::database::mark::Mark;
use crate::database::observe::Observed;
use crate::database::start::AskedBy;
use crate::database::{deletion, reset};
use crate::neon::{Branch, BranchId, BranchState};
use crate::reconcile::Decision;
use crate::world::Failure;

/// What to do about a branch that Neon was to make or to reset, and is no longer at.
pub(super) fn decide(
    desired: &Desired,
    observed: &Observed,
    recorded: &BranchStatus,
    branch: &Branch,
    now: Timestamp,
) -> Next {
    if desired.suspend {
        return Decision::Suspended(RECHECK);
    }
    if branch.current_state == BranchState::Resetting {
        return reset::decide(desired, observed, branch, now)
            .unwrap_or_else(|| told(branch, observed));
    }
    if !was_never_used(desired, recorded, branch) {
        return told(branch, observed);
    }
    if branch.protected {
        let message = format!(
            "Neon could not make the branch {}{}; it is protected: delete it on Neon to have it made again",
            branch.name,
            why(observed)
        );
        return block(Reason::OperationFailed, message);
    }
    match deletion::delete(desired, observed, branch) {
        Decision::Act(Action::DeleteBranch(id)) => Decision::Act(Action::DiscardBranch(id)),
        other @ (Decision::Act(_)
        | Decision::Wait(_)
        | Decision::Settled(_)
        | Decision::Suspended(_)
        | Decision::Blocked(_)
        | Decision::Gone) => other,
    }
}

/// Whether the branch is ours, and nobody can have used it, for it was never there.
fn was_never_used(desired: &Desired, recorded: &BranchStatus, branch: &Branch) -> bool {
    let ours = Mark::of(&branch.annotations).as_ref() == Some(&desired.mark);
    ours && !recorded.taken_over
        && recorded.ready_time.is_none()
        && branch.last_reset_at.is_none()
        // Secrets that are out are those of a branch before this one
        && recorded.credentials == Credentials::Inherited
}

/// What may have been somebody's is for a person to look at.
fn told(branch: &Branch, observed: &Observed) -> Next {
    let (name, why) = (&branch.name, why(observed));
    let message = format!(
        "Neon has begun to bring back the branch {name}, or to make it, and has not done it{why}: nobody can use it until it is \
         restored on Neon or, where it is disposable, reset with {RESET}"
    );
    block(Reason::OperationFailed, message)
}

fn why(observed: &Observed) -> String {
    let branch = observed.recorded.branch.as_ref();
    let words = branch.and_then(|branch| words(&observed.failures, &branch.id));
    words.map_or_else(String::new, |words| format!(", because {words}"))
}

/// What failed last of what Neon was to do about this branch, in words.
#[must_use]
pub(in crate::database) fn words<'a>(failures: &'a [Failure], branch: &str) -> Option<&'a str> {
    let of_it = |failure: &&Failure| failure.branch.as_deref() == Some(branch);
    let mut failures = failures.iter().rev().filter(of_it);
    failures.find_map(|failure| failure.words.as_deref())
}

/// What Neon is asked for by this action and works on by operations, as in "Neon could not …".
#[must_use]
pub(in crate::database) fn asked_of_neon(
    action: &Action,
    desired: &Desired,
    observed: &Observed,
) -> Option<String> {
    Some(match action {
        Action::AnnounceBranch | Action::CreateBranch(_) => making(desired, observed),
        Action::DiscardBranch(id) => {
            format!(
                "delete the branch {}, which it has not made",
                named(observed, id)
            )
        }
        Action::DeleteBranch(id) => format!("delete the branch {}", named(observed, id)),
        Action::ResetBranch(_) => {
            let branch = observed.branch.known();
            resetting(branch.map_or("", |branch| &branch.name))
        }
        Action::RenewLease(_) => "renew the branch's lease".to_owned(),
        Action::EndLease => "end the branch's lease".to_owned(),
        Action::RenameBranch(name) => format!("give the branch its name {name} back"),
        Action::Protect(_) => "change the branch's protection".to_owned(),
        Action::CreateEndpoint => "make an endpoint".to_owned(),
        Action::ResizeCompute => "change the compute".to_owned(),
        Action::CreateReplica(name) => making_replica(name),
        Action::ResizeReplica(name) => changing_replica(name),
        Action::DeleteReplica(id) => format!("delete the read replica {id}"),
        Action::CreateRole(name) => format!("make the role {name}"),
        Action::CreateDatabase { name, .. } => format!("make the database {name}"),
        Action::ResetPassword(role) => format!("give the role {role} another password"),
        Action::AddFinalizer
        | Action::LookAgain
        | Action::Extend(_)
        | Action::TakeUpReset(_)
        | Action::TakeUpResetFor(_)
        | Action::DropReset
        | Action::DropRequest
        | Action::NoteAbandon(_)
        | Action::ForgetOperations
        | Action::Resolve(_)
        | Action::ClaimBranch(_)
        | Action::ForgetBranch
        | Action::RecordIncarnation
        | Action::RecordReplica(_)
        | Action::RecordDatabase { .. }
        | Action::RetireLogins
        | Action::PrepareContents
        | Action::PublishCredentials(_)
        | Action::RecordLogin(_)
        | Action::ReplaceLogin(_)
        | Action::DropLogin { .. }
        | Action::WithdrawSecrets(_)
        | Action::KeepSecrets(_)
        | Action::OwnSecrets(_)
        | Action::LeaveBehind(_)
        | Action::ReleaseFinalizer => return None,
    })
}

/// Whether what failed was asked for because of the read-write compute: it comes with the branch.
#[must_use]
pub(in crate::database) fn asked_by(
    what: Option<&str>,
    desired: &Desired,
    observed: &Observed,
) -> AskedBy {
    let Some(what) = what else {
        return AskedBy::Unknown;
    };
    let of_endpoint = [Action::CreateEndpoint, Action::ResizeCompute];
    let of_endpoint = of_endpoint.iter();
    let mut of_endpoint = of_endpoint.filter_map(|one| asked_of_neon(one, desired, observed));
    if what == making(desired, observed) || of_endpoint.any(|one| one == what) {
        AskedBy::Compute
    } else {
        AskedBy::Other
    }
}

/// Whether what failed was asked for because of this read replica.
#[must_use]
pub(in crate::database) fn is_of_replica(what: Option<&str>, name: &str) -> bool {
    what.is_some_and(|what| what == making_replica(name) || what == changing_replica(name))
}

fn making_replica(name: &str) -> String {
    format!("make the read replica {name}")
}

fn changing_replica(name: &str) -> String {
    format!("change the read replica {name}")
}

/// That Neon is to make the branch.
#[must_use]
pub(in crate::database) fn making(desired: &Desired, observed: &Observed) -> String {
    let name = desired.name_of_branch(observed.recorded.effective.as_ref());
    format!("make the branch {name}")
}

/// That Neon is to reset the branch of this name.
#[must_use]
pub(in crate::database) fn resetting(name: &str) -> String {
    format!("reset the branch {name}")
}

fn named<'a>(observed: &'a Observed, id: &'a BranchId) -> &'a str {
    let seen = [observed.branch.known(), observed.marked.as_ref()];
    let found = seen.into_iter().flatten().find(|branch| branch.id == *id);
    found.map_or(id.as_str(), |branch| &branch.name)
}
