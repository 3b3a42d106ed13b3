//! How long a branch may live at all. Pure.

use jiff::Timestamp;

use super::action::Action;
use super::deletion;
use super::desired::Desired;
use super::observe::Observed;
use super::plan::{LATER, block, may_be_unlisted, wait};
use crate::api::{EXTEND, Reason};
use crate::neon::Branch;
use crate::reconcile::{Decision, Fact};

/// When the branch has to go: its `maxAge` counted from the creation of the object, or the time that it was extended to,
/// whichever is later. None: never, as for every branch that would not go with its object.
///
/// A branch that is older than its object was kept when an earlier object of this name went, or survived its cluster: it
/// has as long as a new one, for whoever wrote the object did not ask to lose what is in it.
#[must_use]
pub fn end(desired: &Desired, observed: &Observed) -> Option<Timestamp> {
    let end = own_end(desired, observed)?;
    let extended = observed.recorded.handled.extension_time.as_ref();
    Some(extended.map_or(end, |extended| extended.0.max(end)))
}

/// The same before it was extended.
#[must_use]
pub fn own_end(desired: &Desired, observed: &Observed) -> Option<Timestamp> {
    let max_age = desired.max_age?;
    if !deletion::deletes(desired, &observed.recorded) {
        return None;
    }
    desired.created?.checked_add(max_age).ok()
}

/// What to do about a branch whose time is over; nothing while it is not, or while the branch is somebody else's.
#[must_use]
pub fn decide(desired: &Desired, observed: &Observed, now: Timestamp) -> Option<Decision<Action>> {
    let end = end(desired, observed).filter(|end| *end <= now)?;
    if desired.suspend || observed.older_rival.is_some() {
        return None;
    }
    let branch = match (&observed.recorded.branch, &observed.branch) {
        (None, _) => made_for(desired, observed),
        (Some(_), Fact::Known(branch)) => Some(branch),
        // forgotten, it would have nobody who knows of it when the listing shows it
        (Some(recorded), Fact::Absent) if may_be_unlisted(recorded, now) => {
            return Some(deletion::not_listed(&recorded.name));
        }
        (Some(_), Fact::Absent) => return Some(Decision::Act(Action::ForgetBranch)),
        (Some(_), Fact::Unknown) => {
            let message = "the branch could not be looked up";
            return Some(wait(Reason::NeonUnavailable, message, LATER));
        }
    };
    if let Some(branch) = branch {
        return Some(match deletion::other_owner(desired, branch) {
            Some(other) => block(
                Reason::BranchClaimed,
                format!(
                    "the branch {} has reached its maxAge, but bears the mark of {other}, and is not deleted: delete one of \
                     the two objects, or take the mark away on Neon",
                    branch.name
                ),
            ),
            None => deletion::delete(desired, observed, branch),
        });
    }
    if let Some(withdraw) = deletion::withdraw(observed) {
        return Some(withdraw);
    }
    Some(block(
        Reason::Expired,
        format!(
            "the maxAge of the branch was over at {end}, and it was deleted: annotate the object with {EXTEND}=<RFC 3339 time> or \
             raise spec.branch.maxAge to have it again"
        ),
    ))
}

/// A branch with our mark that is not on record, if this very object can have asked for it.
fn made_for<'a>(desired: &Desired, observed: &'a Observed) -> Option<&'a Branch> {
    let since = desired.created?;
    let marked = observed.marked.as_ref();
    marked.filter(|branch| branch.created_at >= since)
}

#[cfg(test)]
mod tests;
