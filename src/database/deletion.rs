//! What to do about a NeonDatabase that is being deleted. Pure and total.
//!
//! | # | known | answer |
//! |---|---|---|
//! | 1 | our finalizer is gone | Gone |
//! |   | the annotation that abandons a branch was taken away, after it had been set too early | NoteAbandon |
//! | 2 | an annotation abandons the branch, set since the object is being deleted: Secrets that would go; else | KeepSecrets; ReleaseFinalizer |
//! | 3 | Retain, or a branch that was taken over and not named by id: a lease that would run out; Secrets that would go | EndLease; KeepSecrets |
//! |   | … a lease that would run out, and no usable key: the namespace is going; else | LeaveBehind; as in row 5 |
//! |   | … a lease that would run out, and the branch is unknown; may be too new to be listed; else | Wait NeonUnavailable; Wait OperationsRunning; ReleaseFinalizer |
//! | 4 | Delete, no branch was ever asked for and none bears our mark: Secrets that we have published or own; none | WithdrawSecrets; ReleaseFinalizer |
//! |   | … the key is gone for good or refused, the namespace is going | LeaveBehind |
//! | 5 | … the NeonProject or the key is missing; the key refused; the project unknown | Wait; Blocked |
//! |   | … Neon is at work, and not for too long; that has ended | Wait OperationsRunning; ForgetOperations |
//! | 6 | … an older object has the branch; it bears another one's mark: the namespace is going; else | ReleaseFinalizer; LeaveBehind; Blocked BranchClaimed |
//! | 7 | … the branch is there: protected against the spec, not on record; on record | ClaimBranch; Protect |
//! |   | … protected, or the project's default; has children; a migration runs; else | Blocked BranchProtected; Wait; Wait; DeleteBranch |
//! | 8 | … the branch may be too new to be listed, or was asked for and no answer came | Wait OperationsRunning |
//! | 9 | … the branch is gone: Secrets of ours; none | WithdrawSecrets; ReleaseFinalizer |
//!
//! Once we have deleted a branch that we made, it is no longer recorded, so that row 8 is only for those that we did not.
//! What Neon has not done after some minutes holds nobody's finalizer: a branch that is no longer listed is gone.
//!
//! A taken-over branch is deleted only on double consent: the policy says Delete and the spec names the branch by id. One whose
//! mark somebody has taken away is known by the id on record; one that bears another mark is another one's by now.

use std::time::Duration;

use jiff::Timestamp;

use super::action::Action;
use super::credentials::Found;
use super::desired::Desired;
use super::mark::Mark;
use super::observe::{Key, Observed};
use super::plan::{self, LATER, block, may_be_unlisted, may_still_come, wait};
use crate::api::{ABANDON, DeletionPolicy, NeonDatabaseStatus, Reason};
use crate::neon::Branch;
use crate::reconcile::{Decision, Fact};
use crate::world::Operation;

/// Chooses the next thing to do about an object on its way out.
#[must_use]
pub fn decide(desired: &Desired, observed: &Observed, now: Timestamp) -> Decision<Action> {
    if !desired.has_finalizer {
        return Decision::Gone;
    }
    let noted = observed.recorded.handled.abandon.is_some();
    if noted && desired.asked.abandon.is_none() {
        return Decision::Act(Action::NoteAbandon(None));
    }
    if is_abandoned(desired, observed) {
        return keep_secrets(observed).unwrap_or(Decision::Act(Action::ReleaseFinalizer));
    }
    if !deletes(desired, &observed.recorded) {
        return keep(desired, observed, now);
    }
    let recorded = observed.recorded.branch.as_ref();
    if was_never_made(observed) {
        return at_work(observed)
            .or_else(|| withdraw_own(observed))
            .unwrap_or(Decision::Act(Action::ReleaseFinalizer));
    }
    let name = name(desired, observed);
    let stuck = |message: &str| or_abandon(desired, observed, message);
    let going = observed.namespace_going;
    if going && observed.key != Key::Good {
        return Decision::Act(Action::LeaveBehind(name.to_owned()));
    }
    if let Some(out_of_reach) = out_of_reach(desired, observed) {
        return out_of_reach;
    }
    if let Some(busy) = at_work(observed) {
        return busy;
    }
    let branch = match recorded {
        Some(recorded) => match &observed.branch {
            Fact::Known(branch) => Some(branch),
            Fact::Absent if !recorded.taken_over && may_be_unlisted(recorded, now) => {
                return not_listed(name);
            }
            Fact::Absent => None,
            Fact::Unknown => return not_looked_up(),
        },
        None if observed.marked.is_none() && may_still_come(observed, now) => {
            let message = format!("Neon was asked for the branch {name} and may still make it");
            return wait(Reason::OperationsRunning, message, LISTED);
        }
        None => observed.marked.as_ref(),
    };
    match branch {
        Some(_) if observed.older_rival.is_some() => Decision::Act(Action::ReleaseFinalizer),
        Some(branch) => match other_owner(desired, branch) {
            Some(_) if going => Decision::Act(Action::LeaveBehind(name.to_owned())),
            Some(other) => block(
                Reason::BranchClaimed,
                stuck(&format!("the branch {name} bears the mark of {other}")),
            ),
            None => delete(desired, observed, branch),
        },
        None => withdraw(observed).unwrap_or(Decision::Act(Action::ReleaseFinalizer)),
    }
}

/// Row 5: why nothing can be asked of Neon.
fn out_of_reach(desired: &Desired, observed: &Observed) -> Option<Decision<Action>> {
    let stuck = |message: &str| or_abandon(desired, observed, message);
    Some(match &observed.key {
        Key::Good => return None,
        Key::Unseen(message) | Key::Waiting(message) => {
            wait(Reason::ProjectNotReady, stuck(message), LATER)
        }
        Key::Missing(message) => wait(Reason::KeyNotFound, stuck(message), LATER),
        Key::Refused(message) => block(Reason::KeyRefused, stuck(message)),
        Key::NoProject(message) => block(Reason::ProjectNotFound, stuck(message)),
    })
}

/// Whether there is nothing to delete, for certain: Neon is never asked for a branch before that is recorded.
fn was_never_made(observed: &Observed) -> bool {
    let recorded = &observed.recorded;
    recorded.branch.is_none() && recorded.branch_request_time.is_none() && observed.marked.is_none()
}

/// Whether a person has given the branch up: then nothing is asked of Neon any more. By its id or, where none is recorded,
/// by the name that it was to have, for nobody may be able to tell the id. What was said while the object was to live does
/// not count.
#[must_use]
pub fn is_abandoned(desired: &Desired, observed: &Observed) -> bool {
    let Some(asked) = desired.asked.abandonment(&observed.recorded.handled) else {
        return false;
    };
    if let Some(recorded) = &observed.recorded.branch {
        return *asked == recorded.id;
    }
    let marked = observed.marked.as_ref().map(|branch| branch.id.as_str());
    marked == Some(asked.as_str()) || asked == name(desired, observed)
}

/// Name of the branch, as far as there is one.
fn name<'a>(desired: &'a Desired, observed: &'a Observed) -> &'a str {
    match &observed.recorded.branch {
        Some(recorded) => &recorded.name,
        None => desired.name_of_branch(observed.recorded.effective.as_ref()),
    }
}

/// What is in the way of asking Neon for anything, and how to do without.
pub(super) fn or_abandon(desired: &Desired, observed: &Observed, message: &str) -> String {
    let recorded = observed.recorded.branch.as_ref();
    let which = recorded.map_or_else(|| name(desired, observed), |branch| &branch.id);
    let first = if observed.recorded.handled.abandon.is_some() {
        "take the annotation away that was there before the object was deleted, and "
    } else {
        ""
    };
    format!(
        "{message}; to let the object go without its branch, {first}annotate it with {ABANDON}: {which}"
    )
}

/// Whether an object of this record takes its branch along when it goes, and with it what leads there.
#[must_use]
pub fn deletes(desired: &Desired, recorded: &NeonDatabaseStatus) -> bool {
    let effective = recorded.effective.as_ref();
    let policy = desired.deletion_policy(effective.map(|e| e.deletion_policy));
    let recorded = recorded.branch.as_ref();
    let is_to_be = || match effective {
        Some(effective) => effective.existing.is_some(),
        None => desired.takes_over().is_some(),
    };
    let taken_over = recorded.map_or_else(is_to_be, |branch| branch.taken_over);
    let by_id = || {
        let named = desired.existing.as_ref().and_then(|e| e.id.as_ref());
        named.is_some() && named == recorded.map(|branch| &branch.id)
    };
    policy == DeletionPolicy::Delete && (!taken_over || by_id())
}

/// Whether Neon will delete the recorded branch unless somebody keeps renewing its lease.
#[must_use]
pub fn runs_out(observed: &Observed) -> bool {
    let recorded = observed.recorded.branch.as_ref();
    recorded.is_some_and(|branch| !branch.taken_over && branch.expiry_time.is_some())
}

/// Row 3. A branch that is to stay must not run out of a lease that nobody renews any more. Only then Neon is needed, and waited
/// for: what would be let go without it would be deleted within days, against the policy.
fn keep(desired: &Desired, observed: &Observed, now: Timestamp) -> Decision<Action> {
    let runs_out = runs_out(observed) && !is_anothers(desired, observed);
    let leased = observed
        .branch
        .known()
        .is_some_and(|b| b.expires_at.is_some());
    if runs_out && leased && observed.key == Key::Good {
        return Decision::Act(Action::EndLease);
    }
    if let Some(keep) = keep_secrets(observed) {
        return keep;
    }
    let release = Decision::Act(Action::ReleaseFinalizer);
    let Some(recorded) = observed.recorded.branch.as_ref().filter(|_| runs_out) else {
        return release;
    };
    match (out_of_reach(desired, observed), &observed.branch) {
        (Some(_), _) if observed.namespace_going => {
            Decision::Act(Action::LeaveBehind(recorded.name.clone()))
        }
        (Some(out_of_reach), _) => out_of_reach,
        (None, Fact::Unknown) => not_looked_up(),
        (None, Fact::Absent) if may_be_unlisted(recorded, now) => not_listed(&recorded.name),
        (None, Fact::Absent | Fact::Known(_)) => release,
    }
}

/// Whether the recorded branch is another object's by now.
fn is_anothers(desired: &Desired, observed: &Observed) -> bool {
    let branch = observed.branch.known();
    observed.older_rival.is_some()
        || branch.is_some_and(|branch| other_owner(desired, branch).is_some())
}

fn not_looked_up() -> Decision<Action> {
    let message = "the branch could not be looked up";
    wait(Reason::NeonUnavailable, message, LATER)
}

/// A branch that is new: believed to be gone too early, it would stay behind with nobody to know of it, or run out.
pub(super) fn not_listed(name: &str) -> Decision<Action> {
    let message = format!("the new branch {name} is not listed yet");
    wait(Reason::OperationsRunning, message, LISTED)
}

/// The Secrets that would go with the object.
fn keep_secrets(observed: &Observed) -> Option<Decision<Action>> {
    let owned = names(observed, |_, found| found.ours && found.owned);
    (!owned.is_empty()).then_some(Decision::Act(Action::KeepSecrets(owned)))
}

/// What Neon is at work on, the deletion itself among it: nothing is over before that has ended.
fn at_work(observed: &Observed) -> Option<Decision<Action>> {
    let busy = Operation::at_work(&observed.operations);
    let overdue = busy.is_some_and(|busy| busy.overdue);
    plan::operations(observed).filter(|_| !overdue)
}

/// The other object whose mark the branch bears by now, whatever is on record.
#[must_use]
pub fn other_owner(desired: &Desired, branch: &Branch) -> Option<Mark> {
    Mark::of(&branch.annotations).filter(|mark| *mark != desired.mark)
}

/// Row 7: where nothing stands in the way.
pub(super) fn delete(desired: &Desired, observed: &Observed, branch: &Branch) -> Decision<Action> {
    let name = &branch.name;
    if branch.protected {
        return protected(desired, observed, branch);
    }
    if branch.default {
        let message = format!(
            "the branch {name} is the project's default, which Neon does not delete: make another branch the default to let \
             it be deleted"
        );
        return block(Reason::BranchProtected, message);
    }
    if !observed.children.is_empty() {
        let children = observed.children.join(", ");
        return wait(
            Reason::ChildrenExist,
            format!("the branch {name} has children: {children}"),
            LISTED,
        );
    }
    if !observed.branch_free {
        return wait(
            Reason::MigrationRunning,
            "a migration is at work on this branch",
            LATER,
        );
    }
    Decision::Act(Action::DeleteBranch(branch.id.clone()))
}

/// Row 7: what the spec says by now holds for a branch on its way out, too.
fn protected(desired: &Desired, observed: &Observed, branch: &Branch) -> Decision<Action> {
    let asked = desired.rest.as_ref().ok().map(|rest| rest.protected);
    let (by, unprotect) = match asked.filter(|asked| asked.explicit) {
        Some(asked) if !asked.value && observed.recorded.branch.is_none() => {
            return Decision::Act(Action::ClaimBranch(branch.clone()));
        }
        Some(asked) if !asked.value => return Decision::Act(Action::Protect(false)),
        Some(_) => (" (spec.branch.protected)", "set that to false"),
        None => (
            "",
            "unprotect it on Neon, or set spec.branch.protected to false",
        ),
    };
    let name = &branch.name;
    let message = format!("the branch {name} is protected{by}: {unprotect} to let it be deleted");
    block(Reason::BranchProtected, message)
}

/// How soon to look again at what Neon alone can tell. Children go by themselves, and the going of those that are ours
/// wakes us.
const LISTED: Duration = Duration::from_secs(10);

/// Row 9: the Secrets of ours.
pub(super) fn withdraw(observed: &Observed) -> Option<Decision<Action>> {
    let ours = names(observed, |_, found| found.ours);
    (!ours.is_empty()).then_some(Decision::Act(Action::WithdrawSecrets(ours)))
}

/// Row 4: of a branch that nobody has looked for. What an earlier object of this name has left with its branch stays.
fn withdraw_own(observed: &Observed) -> Option<Decision<Action>> {
    let recorded = &observed.recorded.connection_secrets;
    let is_recorded = |name: &str| recorded.iter().any(|secret| secret.name == name);
    let own = names(observed, |name, found| {
        found.ours && (found.owned || is_recorded(name))
    });
    (!own.is_empty()).then_some(Decision::Act(Action::WithdrawSecrets(own)))
}

fn names(observed: &Observed, which: impl Fn(&str, &Found) -> bool) -> Vec<String> {
    let secrets = observed.secrets.iter();
    let found =
        secrets.filter(|(name, found)| found.known().is_some_and(|found| which(name, found)));
    found.map(|(name, _)| name.clone()).collect()
}

#[cfg(test)]
mod tests;
