//! What keeps a branch as it is asked to be: its lease, its name and its protection, rows 15 and 17. Pure.
//!
//! What Neon refuses of it holds nothing else up. Where the spec sets it, that is told once everything else is done; where
//! only the profile does, it is left out.

use jiff::{SignedDuration, Timestamp};

use super::{Action, Stage};
use crate::api::Reason;
use crate::database::deletion::other_owner;
use crate::database::desired::{Desired, Rest};
use crate::database::observe::Observed;
use crate::neon::Branch;
use crate::reconcile::{Block, Decision};

/// A lease is renewed when this much of it has passed, or half of it where it is shorter.
const LEASE_RENEWAL: SignedDuration = SignedDuration::from_hours(24);

/// Rows 3 and 6: a lease that is renewed while everything else waits for somebody.
#[must_use]
pub fn keep_alive(
    desired: &Desired,
    observed: &Observed,
    now: Timestamp,
) -> Option<Decision<Action>> {
    let branch = observed.branch.known()?;
    let mine = desired.has_finalizer
        && observed.older_rival.is_none()
        && other_owner(desired, branch).is_none();
    let next = lease(desired.lease, observed, now)?;
    let renews = matches!(next, Decision::Act(Action::RenewLease(_)));
    (mine && renews && branch.expires_at.is_some()).then_some(next)
}

/// Row 15. Works while suspended, too: a lease that runs out would destroy the branch.
pub(super) fn lease(lease: Option<SignedDuration>, observed: &Observed, now: Timestamp) -> Stage {
    let due = lease_due(lease, observed, now)?;
    let renews = matches!(due, Action::RenewLease(_));
    // what Neon has refused is not asked for again at every look
    (!renews || observed.lease_refused.is_none()).then_some(Decision::Act(due))
}

/// What has to be done about the lease, whatever Neon thinks of it.
fn lease_due(lease: Option<SignedDuration>, observed: &Observed, now: Timestamp) -> Option<Action> {
    if observed.recorded.branch.as_ref()?.taken_over {
        return None;
    }
    match (lease, observed.branch.known()?.expires_at) {
        (None, None) => None,
        (None, Some(_)) => Some(Action::EndLease),
        (Some(lease), None) => Some(Action::RenewLease(lease)),
        (Some(lease), Some(expiry)) => {
            let passed = lease - expiry.duration_since(now);
            let renewal = LEASE_RENEWAL.min(lease / 2);
            // far too late an expiry is that of a longer lease that was asked for before
            let due = passed >= renewal || passed < -renewal;
            due.then_some(Action::RenewLease(lease))
        }
    }
}

/// Row 17. A branch of ours that somebody has renamed gets its name back, unless another one has it.
pub(super) fn name(observed: &Observed) -> Stage {
    let name = lost_name(observed)?;
    let is_free = observed.named.is_none() && observed.name_refused.is_none();
    is_free.then(|| Decision::Act(Action::RenameBranch(name.to_owned())))
}

/// The name that a branch of ours should have and has not.
fn lost_name(observed: &Observed) -> Option<&str> {
    let recorded = observed.recorded.branch.as_ref()?;
    let name = observed.recorded.effective.as_ref()?.branch_name.as_ref()?;
    let is_lost = !recorded.taken_over && observed.branch.known()?.name != *name;
    is_lost.then_some(name)
}

/// After row 26: why a branch of ours has not its name.
fn refused_name(observed: &Observed) -> Option<Block> {
    let name = lost_name(observed)?;
    let taken = observed.named.as_ref().map(|other| Block {
        reason: Reason::BranchNameConflict,
        message: format!(
            "somebody has renamed the branch {}, and its name {name} is that of another one by now ({}): rename that one, or \
             make the object anew",
            observed.branch.known().map_or("", |branch| branch.id.as_str()),
            other.id
        ),
    });
    taken.or_else(|| observed.name_refused.clone())
}

/// Row 17. Protection is raised by itself and lowered only where the spec says so.
pub(super) fn protection(rest: &Rest, observed: &Observed, branch: &Branch) -> Stage {
    let wanted = rest.protected;
    let differs = wanted.value != branch.protected && (wanted.value || wanted.explicit);
    let is_refused = wanted.value && observed.protection_refused.is_some();
    (differs && !is_refused).then_some(Decision::Act(Action::Protect(wanted.value)))
}

/// After row 26: what the spec sets and Neon refuses.
pub(super) fn refused(rest: &Rest, observed: &Observed, now: Timestamp) -> Stage {
    let lease = refused_lease(rest, observed, now).filter(|_| rest.lease.explicit);
    let protection = refused_protection(rest, observed).filter(|_| rest.protected.explicit);
    let told = lease.or(protection).cloned();
    let told = told.or_else(|| refused_name(observed));
    told.map(Decision::Blocked)
}

/// Why a branch has not the lease that it should have, where Neon refuses that.
#[must_use]
pub fn refused_lease<'a>(rest: &Rest, observed: &'a Observed, now: Timestamp) -> Option<&'a Block> {
    let due = lease_due(rest.lease.value, observed, now);
    let refused = observed.lease_refused.as_ref();
    refused.filter(|_| matches!(due, Some(Action::RenewLease(_))))
}

/// Why a branch that should be protected is not, where Neon refuses that.
#[must_use]
pub fn refused_protection<'a>(rest: &Rest, observed: &'a Observed) -> Option<&'a Block> {
    let wanted = rest.protected.value && !observed.branch.known()?.protected;
    observed.protection_refused.as_ref().filter(|_| wanted)
}
