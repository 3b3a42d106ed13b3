//! The first branch of an object: rows 8 to 10. Pure.

use jiff::{SignedDuration, Timestamp};

use super::{Action, LATER, Next, SOON, block, wait};
use crate::api::{Effective, ExistingBranch, Reason};
use crate::database::desired::Desired;
use crate::database::observe::{Observed, Parent, Standing};
use crate::neon::Branch;
use crate::reconcile::{Decision, Fact};
use crate::world::{ANNOUNCED, UNANSWERED};

/// Rows 8 to 10: which branch is to be ours.
pub(super) fn first_branch(desired: &Desired, observed: &Observed, now: Timestamp) -> Next {
    let Some(effective) = &observed.recorded.effective else {
        return wait(Reason::Progressing, "nothing is resolved yet", SOON);
    };
    // before the mark: one that an earlier object of the same name left behind is not the branch that was asked for
    if let Some(existing) = &effective.existing {
        return take_over(existing, observed);
    }
    if let Some(marked) = &observed.marked {
        return Decision::Act(Action::ClaimBranch(marked.clone()));
    }
    if let Some(left_over) = &observed.left_over {
        return of_an_earlier_object(desired, left_over);
    }
    let name = desired.name_of_branch(Some(effective));
    if let Some(other) = &observed.named {
        let message = format!(
            "a branch named {name} exists ({}) and was not made by this object: choose another spec.branch.name, or name \
             it in spec.branch.existing to take that branch over",
            other.id
        );
        return block(Reason::BranchNameConflict, message);
    }
    if let Some(way) = &desired.circle {
        let way = way.join(" → ");
        let message = format!("spec.branch.parent: the parents go round in a circle: {way}");
        return block(Reason::InvalidSpec, message);
    }
    match &observed.parent {
        Fact::Unknown => wait(
            Reason::NeonUnavailable,
            "the parent could not be looked up",
            LATER,
        ),
        Fact::Absent => wait(Reason::ParentNotFound, parent_missing(effective), LATER),
        Fact::Known(parent) if parent.expires => block(
            Reason::ParentExpires,
            format!(
                "the parent {} has a lease, and Neon allows no branches of a branch that expires: set spec.branch.lease of \
                 the parent to never, or choose another spec.branch.parent",
                parent.name
            ),
        ),
        Fact::Known(parent) => from_parent(parent, observed, now),
    }
}

/// Row 8.
fn of_an_earlier_object(desired: &Desired, branch: &Branch) -> Next {
    let Branch { id, name, .. } = branch;
    let message = format!(
        "the branch {name} ({id}) bears the mark of {}, but was made for an earlier object of this name: name it in \
         spec.branch.existing to take it over, give this object another name, or delete that branch",
        desired.mark
    );
    block(Reason::BranchClaimed, message)
}

/// Forks the branch, once its parent is ready.
fn from_parent(parent: &Parent, observed: &Observed, now: Timestamp) -> Next {
    let name = &parent.name;
    let (how, after) = match (parent.standing, &parent.branch) {
        (Standing::Ready, Some(id)) => {
            if let Some(refused) = &observed.refused {
                return Decision::Blocked(refused.clone());
            }
            return Decision::Act(if was_asked_for(observed, ANNOUNCED, now) {
                Action::CreateBranch(id.clone())
            } else {
                Action::AnnounceBranch
            });
        }
        (Standing::BeingMade, _) => ("not ready: Neon is making it", SOON),
        (Standing::Deleting, _) => ("being deleted", LATER),
        (Standing::Ready | Standing::Unready, _) => ("not ready", LATER),
    };
    let why = observed.parent_trouble.as_ref();
    let why = why.filter(|_| parent.standing != Standing::Deleting);
    let why = why.map_or_else(String::new, |why| format!(": {why}"));
    let message = format!("the parent {name} is {how}{why}");
    wait(Reason::ParentNotReady, message, after)
}

fn was_asked_for(observed: &Observed, within: SignedDuration, now: Timestamp) -> bool {
    let asked = observed.recorded.branch_request_time.as_ref();
    asked.is_some_and(|asked| now.duration_since(asked.0) < within)
}

/// Whether a branch that is not recorded may still come.
#[must_use]
pub fn may_still_come(observed: &Observed, now: Timestamp) -> bool {
    was_asked_for(observed, UNANSWERED, now)
}

/// A request that came to nothing holds nobody up who corrects what it was made with, where it is not made again.
pub(super) fn without_a_request(observed: &Observed, next: Next, now: Timestamp) -> Next {
    let asked = observed.recorded.branch_request_time.is_some();
    // two branches have not one name, so that the other one's being there says that ours was not made
    let is_over = !may_still_come(observed, now) || observed.named.is_some();
    let is_known = observed.parent != Fact::Unknown;
    if asked && is_over && is_known && matches!(next, Decision::Wait(_) | Decision::Blocked(_)) {
        return Decision::Act(Action::DropRequest);
    }
    next
}

fn parent_missing(effective: &Effective) -> String {
    let parent = effective.parent.as_ref();
    let object = parent
        .and_then(|p| p.database_ref.as_ref())
        .map(|r| format!("NeonDatabase {}", r.name));
    let named = parent
        .and_then(|p| p.branch_name.as_ref())
        .map(|name| format!("branch {name}"));
    format!(
        "the parent {} does not exist",
        object.or(named).unwrap_or_default()
    )
}

fn take_over(existing: &ExistingBranch, observed: &Observed) -> Next {
    let named = match existing {
        ExistingBranch {
            name: Some(name), ..
        } => format!("named {name}"),
        ExistingBranch { id: Some(id), .. } => format!("with id {id}"),
        ExistingBranch { .. } => "that is the project's default".to_owned(),
    };
    match &observed.existing {
        Fact::Unknown => wait(
            Reason::NeonUnavailable,
            "the branch could not be looked up",
            LATER,
        ),
        Fact::Absent => block(
            Reason::BranchNotFound,
            format!(
                "spec.branch.existing: the project has no branch {named}; it is taken over once there is one"
            ),
        ),
        Fact::Known(found) => match &found.holder {
            Some(holder) => block(
                Reason::BranchClaimed,
                format!("the branch {named} belongs to {holder}"),
            ),
            None => Decision::Act(Action::ClaimBranch(found.branch.clone())),
        },
    }
}
