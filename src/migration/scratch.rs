//! The branch on which files are tried: forked from the one that is migrated, used once, deleted. Pure.
//!
//! | asked for and known | answer |
//! |---|---|
//! | no finalizer of ours; else | AddFinalizer |
//! | Neon cannot be asked | Wait ProjectNotReady |
//! | Neon is at work; that has ended | Wait OperationsRunning; ForgetOperations |
//! | it is there: not made after all; without a compute, which counts as tried in vain | DeleteScratch |
//! | … still being made | Wait OperationsRunning |
//! | … else | Verify |
//! | it is not there: asked for a moment ago, and Neon has answered | Wait OperationsRunning |
//! | … files were tried in vain on as many as they are tried on at most | GiveUp |
//! | … the announcement is older than half a minute; else | AnnounceScratch; CreateScratch |
//!
//! and once it has served, is older than ten minutes or no longer what the branch is, or nobody asks for it any more:
//!
//! | known | answer |
//! |---|---|
//! | Neon cannot be asked, and the object is to go or the branch has come to its end; else | ReleaseFinalizer; leave it for later |
//! | Neon is at work; that has ended | Wait OperationsRunning; ForgetOperations |
//! | it is there, or was made and not yet deleted | DeleteScratch |
//! | it was asked for and may still come | Wait OperationsRunning |
//! | else | ReleaseFinalizer |
//!
//! Its name is that of the object, so that there is one at most, and it is made with an end: whatever becomes of the
//! operator, the key or the object, Neon deletes it. That is also what becomes of one whose finalizer was taken away by hand
//! from an object that goes.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::action::Action;
use super::adoption;
use super::desired::Desired;
use super::observe::Observed;
use super::place::{self, Database, Place};
use super::plan::{LATER, Next, SOON, Stage, wait};
use crate::api::{Reason, ScratchBranch, SepulkiMigration};
use crate::neon::{Branch, BranchId, Endpoint};
use crate::reconcile::Decision;
use crate::world::{ANNOUNCED, LISTING_LAG, Operation, UNANSWERED};

/// From then on a copy is no longer taken for what the branch is by now.
const STALE: SignedDuration = SignedDuration::from_mins(10);

/// On how many copies, made one after the other, files are tried without a verdict. Where what is in the way passes by itself,
/// that many take most of an hour. Those that have lost their compute are among them, but not those that Neon could not make: it
/// is asked for them with patience.
pub const COPIES: i32 = 5;

/// How long files are tried at most, whatever `execution.deadline` allows a run: as long as that there may be a copy.
pub const LONGEST_TRIAL: Duration = Duration::from_hours(4);

/// How long Neon keeps the branch beyond the time that trying the files may take.
const SPARE: SignedDuration = SignedDuration::from_mins(30);

/// How soon to look again at a branch that is being made where no operation tells of it.
const BEING_MADE: Duration = Duration::from_secs(3);

/// What is known of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scratch {
    /// Why Neon cannot be asked; none where it can.
    pub out_of_reach: Option<String>,
    /// The branches that bear its mark.
    pub listed: Vec<Branch>,
    /// The compute of the first of them.
    pub endpoint: Option<Endpoint>,
    /// Operations that are waited for.
    pub operations: Vec<Operation>,
}

impl Observed {
    /// The record of it.
    #[must_use]
    pub fn scratch_on_record(&self) -> Option<&ScratchBranch> {
        self.adoption.as_ref()?.scratch.as_ref()
    }
}

/// What has to be done about one that is there or asked for, before anything else.
#[must_use]
pub fn stage(desired: &Desired, observed: &Observed, now: Timestamp) -> Stage {
    let may_be_there = desired.has_finalizer
        || observed.scratch_on_record().is_some()
        || observed.scratch.is_some();
    if !may_be_there || is_of_use(desired, observed, now) {
        return None;
    }
    dispose(desired, observed, now)
}

/// Whether a verdict is still wanted for which it was asked for, and can be had from the one that is there.
#[must_use]
pub fn is_of_use(desired: &Desired, observed: &Observed, now: Timestamp) -> bool {
    let (Some(place), Some(recorded)) = (observed.place(desired), observed.scratch_on_record())
    else {
        return false;
    };
    adoption::verifies(desired)
        && !observed.has_failed_for_good(desired)
        && !observed
            .database
            .known()
            .is_some_and(|database| database.going)
        && recorded.parent_id == place.branch.id
        && recorded.incarnation == place.branch.incarnation
        && adoption::verdict(observed, &place).is_none()
        && !is_stale(observed, recorded, now)
}

/// Whether one is there that is no longer what the branch is by now.
fn is_stale(observed: &Observed, recorded: &ScratchBranch, now: Timestamp) -> bool {
    let scratch = observed.scratch.as_ref();
    let there = scratch.and_then(|scratch| scratch.listed.first());
    there.is_some_and(|branch| recorded.outdated || now.duration_since(branch.created_at) >= STALE)
}

/// The next step towards a verdict, where the branch was asked for.
#[must_use]
pub fn towards(desired: &Desired, observed: &Observed, now: Timestamp) -> Stage {
    let recorded = observed.scratch_on_record()?;
    if !is_of_use(desired, observed, now) {
        return None;
    }
    Some(step(desired, observed, recorded, now))
}

fn step(desired: &Desired, observed: &Observed, recorded: &ScratchBranch, now: Timestamp) -> Next {
    let Some(scratch) = observed.scratch.as_ref().filter(|_| desired.has_finalizer) else {
        return Decision::Act(Action::AddFinalizer);
    };
    if let Some(why) = &scratch.out_of_reach {
        return wait(Reason::ProjectNotReady, why, LATER);
    }
    if let Some(busy) = busy(scratch) {
        return busy;
    }
    let Some(branch) = scratch.listed.first() else {
        return make(recorded, now);
    };
    match &scratch.endpoint {
        _ if branch.was_given_up() => Decision::Act(Action::DeleteScratch(branch.id.clone())),
        Some(endpoint) if !branch.is_unusable() && !endpoint.is_being_made() => {
            Decision::Act(Action::Verify)
        }
        None if !branch.is_unusable() => Decision::Act(Action::DeleteScratch(branch.id.clone())),
        Some(_) | None => {
            let message = "Neon is making the branch on which the files are to be tried";
            wait(Reason::OperationsRunning, message, BEING_MADE)
        }
    }
}

/// Whether one is there that Neon has made, and on which nothing can be tried all the same.
#[must_use]
pub fn lacks_compute(scratch: &Scratch) -> bool {
    let branch = scratch.listed.first();
    branch.is_some_and(|branch| !branch.is_unusable()) && scratch.endpoint.is_none()
}

/// Counts a copy among those on which the files were tried in vain.
pub fn count_in_vain(recorded: &mut ScratchBranch, trouble: String) {
    let is_first = !std::mem::replace(&mut recorded.tried, true);
    recorded.copies = recorded.copies.saturating_add(i32::from(is_first));
    recorded.trouble = Some(trouble);
}

/// The next step towards a copy where none is there.
fn make(recorded: &ScratchBranch, now: Timestamp) -> Next {
    let age = now.duration_since(recorded.request_time.0);
    if recorded.id.is_some() && age < LISTING_LAG {
        let message = "the branch on which the files are to be tried is not listed yet";
        wait(Reason::OperationsRunning, message, SOON)
    } else if recorded.copies >= COPIES {
        Decision::Act(Action::GiveUp)
    } else if recorded.id.is_none() && !recorded.deleted && age < ANNOUNCED {
        Decision::Act(Action::CreateScratch)
    } else {
        Decision::Act(Action::AnnounceScratch)
    }
}

/// Deletes it and lets the object go.
#[must_use]
pub fn dispose(desired: &Desired, observed: &Observed, now: Timestamp) -> Stage {
    let recorded = observed.scratch_on_record();
    let Some(scratch) = &observed.scratch else {
        // it was not made before the finalizer was set
        return Some(Decision::Act(Action::ReleaseFinalizer));
    };
    if scratch.out_of_reach.is_some() {
        let end = recorded.and_then(|recorded| end(desired, recorded));
        let is_over = end.is_none_or(|end| now >= end);
        return (desired.deleting || is_over).then_some(Decision::Act(Action::ReleaseFinalizer));
    }
    if let Some(busy) = busy(scratch) {
        return Some(busy);
    }
    if let Some(branch) = scratch.listed.first() {
        return Some(Decision::Act(Action::DeleteScratch(branch.id.clone())));
    }
    let known = recorded.and_then(|recorded| recorded.id.as_deref());
    if let Some(id) = known {
        return Some(Decision::Act(Action::DeleteScratch(BranchId::from(id))));
    }
    let may_still_come = recorded.is_some_and(|recorded| {
        !recorded.deleted && now.duration_since(recorded.request_time.0) < UNANSWERED
    });
    Some(if may_still_come {
        let message = "Neon was asked for a branch to try the files on and may still make it";
        wait(Reason::OperationsRunning, message, LATER)
    } else {
        Decision::Act(Action::ReleaseFinalizer)
    })
}

/// What Neon is at work on, and that it has ended.
fn busy(scratch: &Scratch) -> Stage {
    if let Some(busy) = Operation::at_work(&scratch.operations) {
        return Some(wait(Reason::OperationsRunning, busy.message, busy.after));
    }
    (!scratch.operations.is_empty()).then_some(Decision::Act(Action::ForgetOperations))
}

/// Why nobody needs the outcome of a trial that is under way, going by what the watches know by now of the object itself and
/// of its NeonDatabase.
#[must_use]
pub fn in_vain(
    desired: &Desired,
    place: &Place,
    own: Option<&SepulkiMigration>,
    database: Option<&Database>,
) -> Option<&'static str> {
    let is_own = |own: &&SepulkiMigration| own.metadata.uid.as_ref() == Some(&desired.uid);
    let Some(own) = own.filter(is_own) else {
        return Some("the object is gone");
    };
    let present = database.and_then(|database| database.branch.as_ref());
    let is_there =
        |branch: &place::Branch| place.is_named(&branch.id, &branch.incarnation, &place.database);
    if own.metadata.deletion_timestamp.is_some() {
        Some("the object is being deleted")
    } else if own.metadata.generation > Some(desired.generation) {
        Some("the spec has changed")
    } else if database.is_none_or(|database| database.going) {
        Some("the NeonDatabase is being deleted")
    } else if !present.is_some_and(is_there) {
        Some("the branch was reset or restored")
    } else {
        None
    }
}

/// When Neon deletes it: as was asked for, or would have been.
fn end(desired: &Desired, recorded: &ScratchBranch) -> Option<Timestamp> {
    let asked = recorded.expiry_time.as_ref().map(|time| time.0);
    asked.or_else(|| recorded.request_time.0.checked_add(life(desired)).ok())
}

/// How long the files may be tried on it.
#[must_use]
pub fn trial(desired: &Desired) -> Duration {
    let deadline = desired.rest.as_ref().map(|rest| rest.timeouts.deadline);
    deadline.unwrap_or(LONGEST_TRIAL).min(LONGEST_TRIAL)
}

/// How long Neon keeps it.
#[must_use]
pub fn life(desired: &Desired) -> SignedDuration {
    SignedDuration::try_from(trial(desired)).unwrap_or_default() + SPARE
}
