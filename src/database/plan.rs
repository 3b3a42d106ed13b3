//! What to do next about a NeonDatabase. Pure and total: `decide` takes what is asked, what is known and the time, and
//! answers one thing.
//!
//! The first row that applies is the answer.
//!
//! | # | asked and known | answer |
//! |---|---|---|
//! | 1 | being deleted | see [`super::deletion`] |
//! |   | an annotation abandons the branch of an object that is not being deleted, or did | NoteAbandon |
//! |   | a Secret that would go with the object, whose branch is to stay | KeepSecrets |
//! | 2 | suspended, no branch recorded | Suspended |
//! | 3 | the spec cannot be carried out: lease due; else | RenewLease; Blocked InvalidSpec |
//! | 4 | our finalizer is missing | AddFinalizer |
//! |   | an annotation asks to look again; to let the branch live longer | LookAgain; Extend |
//! | 5 | NeonProject missing or not ready; no key; key refused; project unknown | Wait ProjectNotReady; Wait KeyNotFound; Blocked KeyRefused; Blocked ProjectNotFound |
//! | 6 | operations running for too long and lease due; else; all of them ended | RenewLease; Wait OperationsRunning; ForgetOperations |
//! |   | its time is over: the branch; its Secrets; nothing left | as in [`super::deletion`]; WithdrawSecrets; Blocked Expired |
//! | 7 | no branch yet, none bears our mark, no access rule is for this namespace and environment | Blocked AccessDenied |
//! |   | nothing resolved yet: parent clear, or a branch bears our mark; else | Resolve; Blocked ParentRequired |
//! |   | resolved without a parent, which is clear by now | Resolve |
//! |   | resolved, but renamed before Neon was asked for the branch | Resolve |
//! |   | resolved, but the spec names another project, parent or branch to take over before Neon was asked for any | Resolve |
//! | 8 | no branch recorded, own: a branch bears our mark; one that was made for another object of this name | ClaimBranch; Blocked BranchClaimed |
//! | 9 | no branch recorded, to take over: missing; somebody else's; free | Blocked BranchNotFound; Blocked BranchClaimed; ClaimBranch |
//! | 10 | no branch recorded, own: name taken; parent missing or not ready; else | Blocked BranchNameConflict; Wait; AnnounceBranch, CreateBranch |
//! |   | … Neon has refused this very branch a short while ago | Blocked, as it was refused |
//! |   | … the parent expires, or is a descendant of this very object | Blocked ParentExpires; Blocked InvalidSpec |
//! |   | … to be made or taken over, but no access rule admits that; no room under the rule | Blocked AccessDenied; Wait NoRoom |
//! |   | … to be made, but others come first; Neon has no room, and others ask first | Wait ProjectLocked; Wait LimitReached |
//! |   | … Neon was asked for it and did not make it, and one of the above is waited for | DropRequest |
//! | 11 | branch recorded but gone: just made; suspended; disposable, or nobody was given credentials of it; else | Wait; Suspended; ForgetBranch; Blocked BranchMissing |
//! | 12 | an older object holds the same branch, or it bears another one's mark | Blocked BranchClaimed |
//! |   | the recorded endpoint serves another branch, whether or not the recorded one is gone; lease due before | Blocked BranchReplaced; RenewLease |
//! | 13 | branch being made or reset | Wait OperationsRunning |
//! |   | … Neon is no longer at it: suspended; a reset of ours; never used by anybody: protected, else; other | Suspended; ResetBranch; Blocked OperationFailed, DiscardBranch; Blocked OperationFailed; where blocked or suspended, lease due before: RenewLease |
//! | 14 | another incarnation than recorded | RecordIncarnation |
//! | 15 | lease due, and Neon has not refused it a short while ago; not wanted | RenewLease; EndLease |
//! | 16 | suspended | Suspended |
//! |   | a reset is asked for by an annotation; by a migration, and none is under way; it was taken up, but no longer asked for, for another branch or too long ago; the branch is protected; something else in the way; else | TakeUpReset; TakeUpResetFor; DropReset; Blocked BranchProtected; Wait; ResetBranch |
//! | 17 | an own branch has another name, and no other branch has its own: not refused a short while ago | RenameBranch |
//! |   | protection differs, and Neon has not refused it a short while ago | Protect |
//! | 18 | a migration is at work and something is left to do | Wait MigrationRunning |
//! | 19 | endpoint missing; being made | CreateEndpoint; Wait |
//! |   | endpoint not as asked: not asked for yet; changed since Neon answered, and set by the spec | ResizeCompute |
//! |   | … Neon has refused that a short while ago | Blocked, as it was refused |
//! |   | the compute could not start with what was last asked of it: a setting is named, or no database is listed | Blocked DatabaseRejected; Blocked OperationFailed |
//! |   | a read replica missing; there, but not on record; not as asked. None of it where Neon has refused a replica a short while ago | CreateReplica; RecordReplica; ResizeReplica |
//! | 20 | databases and roles are a parent's that does not exist | Wait ParentNotFound |
//! |   | contents not as asked: owner, database missing, and not refused by Neon a short while ago | CreateRole; RecordDatabase, CreateDatabase |
//! | 21 | … a database owned by another role than asked, or by an application role | Blocked DatabaseRejected |
//! | 22 | … passwords still the parent's; Neon may run no compute that would show it | ResetPassword, RetireLogins; Wait LimitReached |
//! | 23 | … else; a schema was missing and migrations have applied files since | PrepareContents |
//! | 24 | a login that was replaced has had its time | DropLogin |
//! | 25 | a Secret that would go with the object and is to stay; the other way round | KeepSecrets; OwnSecrets |
//! |   | a Secret missing or not current, not held back for a migration and not somebody else's | PublishCredentials |
//! |   | a Secret is out that the record does not know | RecordLogin |
//! | 26 | a Secret is out that is no longer asked for, and none of its role is kept from coming out | WithdrawSecrets |
//! |   | a login is due to be replaced | ReplaceLogin |
//! |   | a Secret of a name that is asked for is somebody else's | Blocked SecretConflict |
//! |   | the password that is given for a role: missing; too weak | Wait PasswordNotFound; Blocked PasswordRejected |
//! |   | a database that Neon has refused a short while ago, or the role that is to own it | Blocked, as it was refused |
//! |   | a setting of the compute that the server has refused | Blocked, as it was refused |
//! |   | an own branch has another name, and another branch has its own | Blocked BranchNameConflict |
//! |   | the branch was taken over as the project's default, and another one is that | Blocked BranchReplaced |
//! |   | Neon has refused a short while ago the name, the lease or the protection that the spec sets | Blocked, as it was refused |
//! |   | a read replica of ours that is no longer asked for; on a protected branch | DeleteReplica; Blocked BranchProtected |
//! |   | a read replica that Neon has refused a short while ago | Blocked, as it was refused |
//! |   | resolved without a parent, which is not clear yet | Blocked ParentRequired |
//! | 27 | else | Settled |
//! | any | Neon is to do something, and could not do that very thing a short while ago | Wait OperationFailed |
//!
//! Rows 7 to 18 are in `branch`, those of the first branch in `first`, those of lease, name and protection in `upkeep`, what access rules have to do with them in
//! `admission`, what Neon has begun and not done in `given_up`, what has taken the place of the branch in `replaced`, rows
//! 19 to 26 in `inside`.

mod admission;
mod branch;
mod first;
pub(super) mod given_up;
mod inside;
pub(super) mod replaced;
mod upkeep;

use std::time::Duration;

use jiff::Timestamp;

use super::action::Action;
use super::desired::{Desired, Rest};
use super::observe::{Key, Observed};
use super::{deletion, max_age, rotation};
use crate::api::Reason;
use crate::reconcile::{Block, Decision, Wait};
use crate::world::{Operation, patiently};

pub use branch::may_be_unlisted;
pub use first::may_still_come;
pub use upkeep::{keep_alive, refused_lease, refused_protection};

/// How soon to look again at something Neon is busy with.
const SOON: Duration = Duration::from_millis(500);

/// How soon to look again at something that other objects have to bring about; they also wake us.
pub const LATER: Duration = Duration::from_secs(15);

/// How soon to look again at something that a person has to change.
const RECHECK: Duration = Duration::from_mins(5);

type Next = Decision<Action>;

/// One stage of the table: `Some` is the answer, `None` leaves it to the next.
type Stage = Option<Next>;

/// Chooses the next thing to do.
#[must_use]
pub fn decide(desired: &Desired, observed: &Observed, now: Timestamp) -> Next {
    let next = by_the_table(desired, observed, now);
    let what = |action: &Action| given_up::asked_of_neon(action, desired, observed);
    patiently(next, &observed.failures, what, now)
}

fn by_the_table(desired: &Desired, observed: &Observed, now: Timestamp) -> Next {
    if desired.deleting {
        return deletion::decide(desired, observed, now);
    }
    let abandon = &desired.asked.abandon;
    if *abandon != observed.recorded.handled.abandon {
        return Decision::Act(Action::NoteAbandon(abandon.clone()));
    }
    if !observed.to_be_kept.is_empty() {
        return Decision::Act(Action::KeepSecrets(observed.to_be_kept.clone()));
    }
    if desired.suspend && observed.recorded.branch.is_none() {
        return Decision::Suspended(RECHECK);
    }
    let rest = match &desired.rest {
        Ok(rest) => rest,
        Err(block) => {
            let keep_alive = upkeep::keep_alive(desired, observed, now);
            return keep_alive.unwrap_or_else(|| Decision::Blocked(block.clone()));
        }
    };
    if !desired.has_finalizer {
        return Decision::Act(Action::AddFinalizer);
    }
    let next = asked(desired, observed)
        .or_else(|| access(observed))
        .or_else(|| overdue(desired, observed, now))
        .or_else(|| operations(observed))
        .or_else(|| max_age::decide(desired, observed, now))
        .or_else(|| admission::welcome(desired, observed))
        .or_else(|| branch::resolve(desired, observed))
        .or_else(|| branch::branch(desired, rest, observed, now))
        .unwrap_or(Decision::Settled(observed.interval));
    let next = before_the_lease_ends(rest, next);
    let next = before_a_login_is_due(rest, observed, next, now);
    let next = before_a_look_is_due(observed, next, now);
    before_the_end(max_age::end(desired, observed), next, now)
}

/// Row 4: what annotations ask for.
fn asked(desired: &Desired, observed: &Observed) -> Stage {
    let handled = &observed.recorded.handled;
    if desired.asked.looks_again(handled) {
        return Some(Decision::Act(Action::LookAgain));
    }
    let until = desired.asked.extension(handled)?;
    Some(Decision::Act(Action::Extend(until.clone())))
}

/// Looks again often enough for a lease that is shorter than the time between two looks, settled or suspended.
fn before_the_lease_ends(rest: &Rest, next: Next) -> Next {
    // renewed after half of it, hence twice in that time
    let quarter = rest
        .lease
        .value
        .and_then(|lease| Duration::try_from(lease / 4).ok());
    look_again_within(quarter, next)
}

/// Looks again when a login has to be replaced or dropped.
fn before_a_login_is_due(rest: &Rest, observed: &Observed, next: Next, now: Timestamp) -> Next {
    if matches!(next, Decision::Settled(_)) {
        let due = rotation::next(rest, &observed.recorded, now);
        return before_the_end(due, next, now);
    }
    next
}

/// Looks again when it is the turn of one of its Secrets to be looked at.
fn before_a_look_is_due(observed: &Observed, next: Next, now: Timestamp) -> Next {
    if matches!(next, Decision::Settled(_)) {
        return before_the_end(observed.next_look, next, now);
    }
    next
}

/// Looks again when the branch has to go.
fn before_the_end(end: Option<Timestamp>, next: Next, now: Timestamp) -> Next {
    let left = end.map(|end| end.duration_since(now));
    let left = left.and_then(|left| Duration::try_from(left).ok());
    look_again_within(left.map(|left| left.max(SOON)), next)
}

fn look_again_within(longest: Option<Duration>, next: Next) -> Next {
    let sooner = |after: Duration| longest.map_or(after, |longest| after.min(longest));
    match next {
        Decision::Settled(after) => Decision::Settled(sooner(after)),
        Decision::Suspended(after) => Decision::Suspended(sooner(after)),
        other @ (Decision::Act(_) | Decision::Wait(_) | Decision::Blocked(_) | Decision::Gone) => {
            other
        }
    }
}

/// Row 5.
fn access(observed: &Observed) -> Stage {
    match &observed.key {
        Key::Good => None,
        Key::Unseen(message) => Some(wait(Reason::ProjectNotReady, message, SOON)),
        Key::Waiting(message) => Some(wait(Reason::ProjectNotReady, message, LATER)),
        Key::Missing(message) => Some(wait(Reason::KeyNotFound, message, LATER)),
        Key::Refused(message) => Some(block(Reason::KeyRefused, message)),
        Key::NoProject(message) => Some(block(Reason::ProjectNotFound, message)),
    }
}

/// Row 6: a branch does not run out while Neon does not get done what was asked of it.
fn overdue(desired: &Desired, observed: &Observed, now: Timestamp) -> Stage {
    let busy = Operation::at_work(&observed.operations)?;
    busy.overdue
        .then(|| upkeep::keep_alive(desired, observed, now))
        .flatten()
}

/// Row 6.
pub(super) fn operations(observed: &Observed) -> Stage {
    if observed.operations.is_empty() {
        return None;
    }
    Some(match Operation::at_work(&observed.operations) {
        Some(busy) => wait(Reason::OperationsRunning, busy.message, busy.after),
        None => Decision::Act(Action::ForgetOperations),
    })
}

pub(super) fn wait(reason: Reason, message: impl Into<String>, after: Duration) -> Next {
    Decision::Wait(Wait {
        reason,
        message: message.into(),
        after,
    })
}

pub(super) fn block(reason: Reason, message: impl Into<String>) -> Next {
    Decision::Blocked(Block {
        reason,
        message: message.into(),
    })
}

#[cfg(test)]
mod tests;
