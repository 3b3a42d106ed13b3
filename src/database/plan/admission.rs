//! Whether a NeonProject lets the object have a branch: rows 7 and 10. Pure.
//!
//! Asked of an object that has none. A branch that bears our mark exists, and is taken up whatever the rules say by now.

use super::{Action, LATER, Next, SOON, Stage, block, wait};
use crate::api::{ParentBranch, Reason};
use crate::database::desired::Desired;
use crate::database::observe::Observed;
use crate::database::rules::{Refusal, WayIn};
use crate::reconcile::Decision;

/// Row 7: nothing is resolved for an object that no rule would admit.
pub(super) fn welcome(desired: &Desired, observed: &Observed) -> Stage {
    let terms = observed.terms.as_ref()?;
    if observed.recorded.branch.is_some() || observed.marked.is_some() {
        return None;
    }
    let admitted = terms.admit(desired.environment, WayIn::Unknown);
    admitted.err().map(refused)
}

/// Row 10: lets a branch be made or taken over where a rule admits it and has room. Who is not admitted is told no more
/// than that: not who has the branch, nor what is the matter with the parent.
pub(super) fn gate(desired: &Desired, observed: &Observed, next: Next) -> Next {
    let Some(terms) = &observed.terms else {
        return next;
    };
    let effective = observed.recorded.effective.as_ref();
    let takes_over = effective.is_some_and(|effective| effective.existing.is_some());
    if observed.marked.is_some() && !takes_over {
        return next;
    }
    let way = match &terms.parent_branch {
        Some(_) | None if takes_over => WayIn::TakeOver,
        Some(parent) => WayIn::Fork(parent),
        None => WayIn::Unknown,
    };
    let rule = match terms.admit(desired.environment, way) {
        Ok(rule) => rule,
        Err(why) => return refused(why),
    };
    let makes = match &next {
        Decision::Act(Action::AnnounceBranch | Action::CreateBranch(_)) => true,
        Decision::Act(Action::ClaimBranch(_)) => takes_over,
        Decision::Act(_)
        | Decision::Wait(_)
        | Decision::Settled(_)
        | Decision::Suspended(_)
        | Decision::Blocked(_)
        | Decision::Gone => false,
    };
    match (makes, way, terms.no_room(rule)) {
        (true, WayIn::Unknown, _) => {
            wait(Reason::ParentNotReady, "the parent is not listed yet", SOON)
        }
        (true, WayIn::Fork(_) | WayIn::TakeOver, Some(full)) => wait(Reason::NoRoom, full, LATER),
        (true, WayIn::Fork(_) | WayIn::TakeOver, None) | (false, _, _) => next,
    }
}

fn refused(why: Refusal) -> Next {
    match why {
        Refusal::Denied(message) => block(Reason::AccessDenied, message),
        Refusal::NotYet => {
            let message = "the labels of this namespace are not known yet";
            wait(Reason::ProjectNotReady, message, SOON)
        }
    }
}

/// The parent of a preview that names none.
pub(super) fn base_branch(observed: &Observed) -> Option<ParentBranch> {
    Some(ParentBranch {
        database_ref: None,
        branch_name: Some(observed.terms.as_ref()?.base_branch.clone()?),
    })
}
