//! Which branch, and what Neon knows of it: rows 7 to 18. Pure.

use jiff::Timestamp;

use super::first::{first_branch, without_a_request};
use super::{
    Action, LATER, Next, RECHECK, SOON, Stage, admission, block, given_up, inside, replaced,
    upkeep, wait,
};
use crate::api::{
    BranchStatus, Credentials, DeletionPolicy, Effective, ExternalDeletionAction,
    NeonDatabaseStatus, ParentBranch, Reason,
};
use crate::database::deletion::other_owner;
use crate::database::desired::{Desired, Rest};
use crate::database::observe::{Observed, look_again_at};
use crate::database::reset;
use crate::neon::Branch;
use crate::reconcile::{Block, Decision, Fact};
use crate::world::LISTING_LAG;

/// Row 7.
pub(super) fn resolve(desired: &Desired, observed: &Observed) -> Stage {
    let before = observed.recorded.effective.as_ref();
    let before = before.filter(|before| !is_overtaken(desired, observed, before));
    if let Some(before) = before.filter(|before| !lacks_a_parent(before)) {
        return rename(desired, observed, before);
    }
    let existing = desired.takes_over();
    let parent = match (&existing, &desired.parent) {
        (Some(_), _) => None,
        (None, Some(parent)) => Some(parent.clone()),
        (None, None) => match default_parent(desired, observed) {
            Ok(parent) => Some(parent),
            Err(blocked) if !is_there(observed) => return Some(Decision::Blocked(blocked)),
            // nobody needs to know it before the branch is made again
            Err(_) if before.is_some() => return None,
            Err(_) => None,
        },
    };
    Some(Decision::Act(Action::Resolve(match before {
        Some(before) => Effective {
            parent,
            ..before.clone()
        },
        None => Effective {
            branch_name: existing.is_none().then(|| desired.branch_name.clone()),
            deletion_policy: match existing {
                // what was there before needs the spec's own word to go
                Some(_) => DeletionPolicy::Retain,
                None => desired.profile.deletion_policy,
            },
            existing,
            parent,
        },
    })))
}

/// Whether the spec has been corrected, and names another project, parent or branch than was resolved. Once Neon was asked for
/// a branch the API server lets nobody do that, and what was resolved holds in any case.
fn is_overtaken(desired: &Desired, observed: &Observed, before: &Effective) -> bool {
    let recorded = &observed.recorded;
    if is_asked_for(recorded) {
        return false;
    }
    let project = recorded.project_id.as_deref();
    if project.is_some_and(|project| project != observed.project_id()) {
        return true;
    }
    match (&desired.existing, &desired.parent) {
        (None, None) => false,
        (Some(existing), _) => before.existing.as_ref() != Some(existing),
        (None, Some(parent)) => before.parent.as_ref() != Some(parent),
    }
}

/// Whether the branch is recorded, or Neon was asked for it: what it was asked for with holds.
fn is_asked_for(recorded: &NeonDatabaseStatus) -> bool {
    recorded.branch.is_some() || recorded.branch_request_time.is_some()
}

/// A branch that Neon was not asked for yet takes the name that the spec has by now.
fn rename(desired: &Desired, observed: &Observed, effective: &Effective) -> Stage {
    let name = effective.branch_name.as_ref()?;
    let renamed = !is_asked_for(&observed.recorded) && *name != desired.branch_name;
    renamed.then(|| {
        Decision::Act(Action::Resolve(Effective {
            branch_name: Some(desired.branch_name.clone()),
            ..effective.clone()
        }))
    })
}

/// After row 26: a branch that was taken up by its mark, and nobody can say from what it would be made again.
fn parent_unclear(desired: &Desired, observed: &Observed) -> Stage {
    let effective = observed.recorded.effective.as_ref()?;
    let unclear = || default_parent(desired, observed).err();
    let blocked = lacks_a_parent(effective).then(unclear).flatten();
    blocked.map(Decision::Blocked)
}

fn lacks_a_parent(effective: &Effective) -> bool {
    effective.parent.is_none() && effective.existing.is_none()
}

/// Whether a branch is there that is ours, by record or by mark.
fn is_there(observed: &Observed) -> bool {
    observed.recorded.branch.is_some() || observed.marked.is_some()
}

/// The only object of the environment that the profile names, never a guess.
fn default_parent(desired: &Desired, observed: &Observed) -> Result<ParentBranch, Block> {
    let here = desired.environment.as_str();
    let blocked = |message: String| Block {
        reason: Reason::ParentRequired,
        message,
    };
    let Some(parent) = desired.profile.parent else {
        return admission::base_branch(observed).ok_or_else(|| {
            let or = match &observed.terms {
                Some(terms) => format!(", or spec.baseBranch of NeonProject {}", terms.project),
                None => String::new(),
            };
            blocked(format!(
                "a {here} needs a parent: set spec.branch.parent{or}"
            ))
        });
    };
    let of = parent.as_str();
    match observed.candidates.as_slice() {
        [only] => Ok(ParentBranch {
            database_ref: Some(crate::api::DatabaseRef {
                name: only.as_str().into(),
            }),
            branch_name: None,
            at: None,
        }),
        [] => Err(blocked(format!(
            "there is no {of} object of project {} in this namespace to fork from: create one or set spec.branch.parent",
            observed.project_id()
        ))),
        many => Err(blocked(format!(
            "more than one {of} object could be the parent ({}): set spec.branch.parent",
            many.join(", ")
        ))),
    }
}

/// Rows 8 to 27.
pub(super) fn branch(desired: &Desired, rest: &Rest, observed: &Observed, now: Timestamp) -> Stage {
    let recorded = match (&observed.recorded.branch, &observed.branch) {
        (None, _) => {
            let next = first_branch(desired, observed, now);
            let next = admission::gate(desired, observed, next);
            return Some(without_a_request(observed, next, now));
        }
        (Some(recorded), Fact::Absent) => {
            let replaced = replaced::served_instead(desired, observed, recorded);
            return replaced.or_else(|| Some(missing(desired, rest, observed, recorded, now)));
        }
        (Some(_), Fact::Unknown) => {
            return Some(wait(
                Reason::NeonUnavailable,
                "the branch could not be looked up",
                LATER,
            ));
        }
        (Some(recorded), Fact::Known(_)) => recorded,
    };
    let branch = observed.branch.known()?;
    if let Some(somebody_elses) = somebody_elses(desired, observed, branch) {
        return Some(somebody_elses);
    }
    if let Some(replaced) = replaced::served_instead(desired, observed, recorded) {
        // nobody has decided yet that it may go
        return upkeep::lease(rest.lease.value, observed, now).or(Some(replaced));
    }
    if branch.was_given_up() {
        let next = given_up::decide(desired, observed, recorded, branch, now);
        let rests = matches!(next, Decision::Suspended(_) | Decision::Blocked(_));
        // what a person is to look at does not run out meanwhile
        let due = || upkeep::lease(rest.lease.value, observed, now);
        return rests.then(due).flatten().or(Some(next));
    }
    if branch.is_unusable() {
        return Some(wait(
            Reason::OperationsRunning,
            format!("the branch {} is being made", branch.name),
            look_again_at(branch, now),
        ));
    }
    if observed.incarnation() != Some(recorded.incarnation.clone()) {
        return Some(Decision::Act(Action::RecordIncarnation));
    }
    upkeep::lease(rest.lease.value, observed, now)
        .or_else(|| desired.suspend.then_some(Decision::Suspended(RECHECK)))
        .or_else(|| reset::decide(desired, observed, branch, now))
        .or_else(|| upkeep::name(observed))
        .or_else(|| upkeep::protection(rest, observed, branch))
        .or_else(|| {
            let next = inside::inside(desired, rest, observed, recorded, now)?;
            let busy = matches!(next, Decision::Act(_)) && !observed.branch_free;
            let message = "a migration is at work on this branch";
            Some(if busy {
                wait(Reason::MigrationRunning, message, LATER)
            } else {
                next
            })
        })
        .or_else(|| replaced::other_default(observed).map(Decision::Blocked))
        .or_else(|| upkeep::refused(rest, observed, now))
        .or_else(|| parent_unclear(desired, observed))
}

/// Row 12.
fn somebody_elses(desired: &Desired, observed: &Observed, branch: &Branch) -> Stage {
    let name = &branch.name;
    if let Some(rival) = &observed.older_rival {
        let message = format!("the branch {name} belongs to {rival}");
        return Some(block(Reason::BranchClaimed, message));
    }
    let other = other_owner(desired, branch)?;
    let message = format!(
        "the branch {name} bears the mark of {other} by now, so that nothing is done to it any more: delete one of the two \
         objects, or take the mark away on Neon"
    );
    Some(block(Reason::BranchClaimed, message))
}

/// Whether a branch that is not listed may be one that the listing does not have yet.
#[must_use]
pub fn may_be_unlisted(recorded: &BranchStatus, now: Timestamp) -> bool {
    now.duration_since(recorded.created_time.0) < LISTING_LAG
}

/// Row 11.
fn missing(
    desired: &Desired,
    rest: &Rest,
    observed: &Observed,
    recorded: &BranchStatus,
    now: Timestamp,
) -> Next {
    let (id, name) = (&recorded.id, &recorded.name);
    if may_be_unlisted(recorded, now) {
        return wait(
            Reason::OperationsRunning,
            format!("the new branch {name} is not listed yet"),
            SOON,
        );
    }
    if desired.suspend {
        return Decision::Suspended(RECHECK);
    }
    let recreate = desired.on_external_deletion == ExternalDeletionAction::Recreate;
    if (recreate || was_never_used(rest, observed, recorded)) && !recorded.taken_over {
        return Decision::Act(Action::ForgetBranch);
    }
    let way_out = if recorded.taken_over {
        "it was taken over and cannot be made again: make the object anew to take over another one"
    } else {
        "set spec.onExternalDeletion.action to Recreate to have it forked again from its parent"
    };
    let message = format!("the branch {name} ({id}) was deleted outside of this object; {way_out}");
    block(Reason::BranchMissing, message)
}

/// Whether nobody was ever given credentials of the branch: then nothing is lost with it. Neon has taken it back because it
/// could not make it.
fn was_never_used(rest: &Rest, observed: &Observed, recorded: &BranchStatus) -> bool {
    let was_never_there = recorded.ready_time.is_none();
    // a branch without databases is never made ours: it may be in use all the same
    let was_never_given =
        !rest.databases.is_empty() && observed.recorded.connection_secrets.is_empty();
    recorded.credentials == Credentials::Inherited && (was_never_there || was_never_given)
}
