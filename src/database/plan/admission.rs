//! Whether a NeonProject lets the object have a branch, and whether it is its turn: rows 7 and 10. Pure.
//!
//! Asked of an object that has none. A branch that bears our mark exists, and is taken up whatever the rules say by now.

use super::{Action, LATER, Next, SOON, Stage, block, wait};
use crate::api::{ParentBranch, Reason};
use crate::database::desired::Desired;
use crate::database::observe::Observed;
use crate::database::rules::{Refusal, Terms, WayIn};
use crate::reconcile::{Block, Decision};

/// Row 7: nothing is resolved for an object that no rule would admit.
pub(super) fn welcome(desired: &Desired, observed: &Observed) -> Stage {
    let terms = observed.terms.as_ref()?;
    if observed.recorded.branch.is_some() || observed.marked.is_some() {
        return None;
    }
    let admitted = terms.admit(desired.environment, WayIn::Unknown);
    admitted.err().map(refused)
}

/// Row 10: lets a branch be made or taken over where a rule admits it and has room, and made when it is its turn.
pub(super) fn gate(desired: &Desired, observed: &Observed, next: Next) -> Next {
    let next = match &observed.terms {
        Some(terms) => by_the_rules(terms, desired, observed, next),
        None => next,
    };
    // what was announced goes on: somebody older may have come since
    if next != Decision::Act(Action::AnnounceBranch) {
        return next;
    }
    match observed.line.wait() {
        Some(turn) => wait(turn.reason, turn.message, turn.after),
        None => next,
    }
}

fn by_the_rules(terms: &Terms, desired: &Desired, observed: &Observed, next: Next) -> Next {
    let effective = observed.recorded.effective.as_ref();
    let takes_over = effective.is_some_and(|effective| effective.existing.is_some());
    // before it is told who has the branch
    if takes_over && let Err(why) = terms.admit(desired.environment, WayIn::TakeOver) {
        return refused(why);
    }
    let way = match &next {
        // nor is it told what stands in the way of a fork that no rule admits
        Decision::Act(Action::AnnounceBranch | Action::CreateBranch(_))
        | Decision::Blocked(Block {
            reason: Reason::ParentExpires,
            ..
        }) => match &terms.parent_branch {
            Some(parent) => WayIn::Fork(parent),
            None => return wait(Reason::ParentNotReady, "the parent is not listed yet", SOON),
        },
        Decision::Act(Action::ClaimBranch(_)) if takes_over => WayIn::TakeOver,
        Decision::Act(_)
        | Decision::Wait(_)
        | Decision::Settled(_)
        | Decision::Suspended(_)
        | Decision::Blocked(_)
        | Decision::Gone => return next,
    };
    match terms.admit(desired.environment, way) {
        Err(why) => refused(why),
        Ok(_) if matches!(next, Decision::Blocked(_)) => next,
        Ok(rule) => match terms.no_room(rule) {
            Some(full) => wait(Reason::NoRoom, full, LATER),
            None => next,
        },
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
        at: None,
    })
}
