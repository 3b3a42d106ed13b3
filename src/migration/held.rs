//! Files that a ledger had and has no longer: somebody has brought the branch back to where it was before they ran. Pure.
//!
//! Whoever restores a branch may want to be rid of the very files that would now be pending again. So nothing is applied
//! until the bundle or the target changes or somebody asks to try again. A branch that was set back to its parent, or made anew, is
//! different: everything is meant to be applied there once more.

use super::desired::Desired;
use super::observe::{Ledger, Observed};
use super::place::Place;
use super::record;
use crate::api::{
    AppliedStatus, AppliedTo, BranchOrigin, HeldStatus, RETRY, SepulkiMigrationStatus,
};
use crate::engine::Plan;

/// Missing files that are named in a message.
const NAMED: usize = 5;

/// What a ledger that was just read lacks of what was applied there before.
#[must_use]
pub fn found(desired: &Desired, observed: &Observed) -> Option<HeldStatus> {
    let (Ledger::Read(_, plan), Some(place), Some(listing)) = (
        &observed.ledger,
        observed.place(desired),
        observed.listing(),
    ) else {
        return None;
    };
    let was_applied = remembered(observed, &place, &listing.digest)?;
    let missing = missing(plan, was_applied);
    (!missing.is_empty()).then(|| HeldStatus {
        was_applied: was_applied.clone(),
        missing: record::pending(&missing),
        at: AppliedTo {
            branch_id: place.branch.id,
            incarnation: place.branch.incarnation,
            database: place.database,
            digest: Some(listing.digest.clone()),
            target: desired.target.clone(),
        },
    })
}

/// What is on record as held, where it still is: at the same place, with the same files and the same target.
#[must_use]
pub fn standing<'a>(desired: &Desired, observed: &'a Observed) -> Option<&'a HeldStatus> {
    let (held, place) = (observed.held.as_ref()?, observed.place(desired)?);
    let digest = observed.listing().map(|listing| &listing.digest);
    let same = place.is(&held.at) && held.at.digest.as_ref() == digest;
    (same && held.at.target == desired.target).then_some(held)
}

/// What is to be on record as held.
#[must_use]
pub fn recorded(
    desired: &Desired,
    observed: &Observed,
    place: &Place,
    digest: &str,
) -> Option<HeldStatus> {
    if let Some(held) = standing(desired, observed) {
        return Some(held.clone());
    }
    match &observed.ledger {
        Ledger::Read(..) => found(desired, observed),
        // what the ledger says now is compared with it
        Ledger::Unread | Ledger::Foreign(_) => earlier(observed, place, digest).cloned(),
    }
}

/// Whether what a record says of a place may still be true of this one: nobody has meant to lose it in between.
#[must_use]
pub fn survives(recorded: &AppliedTo, place: &Place) -> bool {
    let same = recorded.branch_id == place.branch.id && recorded.database == place.database;
    let was_meant = match place.branch.origin {
        BranchOrigin::Created | BranchOrigin::Reset => true,
        BranchOrigin::Restored => false,
    };
    same && (recorded.incarnation == place.branch.incarnation || !was_meant)
}

/// What a status remembers after somebody has asked to try again: nothing that could be missed, and no reset that has not
/// helped.
pub fn let_go(status: &mut SepulkiMigrationStatus, place: Option<&Place>) {
    status.held_after_restore = None;
    status.reset_request = None;
    let elsewhere = |to: &AppliedTo| place.is_some_and(|place| !place.is(to));
    if status.applied_to.as_ref().is_some_and(elsewhere) {
        status.applied = None;
    }
}

/// What is missing, and what can be done about it.
#[must_use]
pub fn message(held: &HeldStatus) -> String {
    let (missing, had) = (&held.missing, held.was_applied.count);
    let shown: Vec<&str> = missing
        .versions
        .iter()
        .take(NAMED)
        .map(String::as_str)
        .collect();
    let more = usize::try_from(missing.count)
        .unwrap_or_default()
        .saturating_sub(shown.len());
    let more = if more > 0 {
        format!(" and {more} more")
    } else {
        String::new()
    };
    let verb = if missing.count == 1 { "is" } else { "are" };
    format!(
        "{}{more} {verb} not in the ledger of branch {} although {had} files were applied there: the branch was restored. \
         Nothing is applied before the files change, spec.target names an earlier one, or a new value of the annotation {RETRY} \
         asks to apply them again",
        shown.join(", "),
        held.at.branch_id,
    )
}

/// What was applied to this branch before, of these files.
fn remembered<'a>(
    observed: &'a Observed,
    place: &Place,
    digest: &str,
) -> Option<&'a AppliedStatus> {
    if let Some(held) = earlier(observed, place, digest) {
        return Some(&held.was_applied);
    }
    let to = observed.applied_to.as_ref()?;
    let same_files = to.digest.as_deref().is_none_or(|done| done == digest);
    // rows that go while the branch stays what it is were deleted by hand, which the engine's own memory tells
    let since = survives(to, place) && !place.is(to);
    observed.applied.as_ref().filter(|_| same_files && since)
}

/// What was held of these files, at this place or before the branch was restored once more.
fn earlier<'a>(observed: &'a Observed, place: &Place, digest: &str) -> Option<&'a HeldStatus> {
    let held = observed.held.as_ref()?;
    let same = held.at.digest.as_deref() == Some(digest) && survives(&held.at, place);
    same.then_some(held)
}

/// The files up to the last one that was applied which are pending again, where there are fewer than there were.
fn missing(plan: &Plan, was: &AppliedStatus) -> Vec<String> {
    let had = usize::try_from(was.count).unwrap_or_default();
    let place = |version: &str| plan.files.iter().position(|file| file == version);
    let Some(last) = was.last_version.as_deref().and_then(place) else {
        return Vec::new();
    };
    if plan.applied.len() >= had {
        return Vec::new();
    }
    let pending = plan.pending.iter().map(|pending| &pending.version);
    let again = pending.filter(|version| place(version).is_some_and(|at| at <= last));
    again.cloned().collect()
}
