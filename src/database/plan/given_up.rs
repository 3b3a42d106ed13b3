//! What Neon has begun and not done: row 13. Pure.

use jiff::Timestamp;

use super::{Action, Next, RECHECK, Stage, block, wait};
use crate::api::{BranchStatus, Credentials, RESET, Reason};
use crate::database::desired::Desired;
use crate::database::mark::Mark;
use crate::database::observe::Observed;
use crate::database::{deletion, reset};
use crate::neon::{Branch, BranchState};
use crate::reconcile::Decision;

/// What to do about a branch that Neon was to make or to reset, and is no longer at.
pub(super) fn decide(
    desired: &Desired,
    observed: &Observed,
    recorded: &BranchStatus,
    branch: &Branch,
    now: Timestamp,
) -> Next {
    if desired.suspend {
        return Decision::Suspended(RECHECK);
    }
    if branch.current_state == BranchState::Resetting {
        return reset::decide(desired, observed, branch, now)
            .unwrap_or_else(|| told(branch, observed));
    }
    if !was_never_used(desired, recorded, branch) {
        return told(branch, observed);
    }
    if branch.protected {
        let message = format!(
            "Neon could not make the branch {}{}; it is protected: delete it on Neon to have it made again",
            branch.name,
            why(observed)
        );
        return block(Reason::OperationFailed, message);
    }
    match deletion::delete(observed, branch) {
        Decision::Act(Action::DeleteBranch(id)) => Decision::Act(Action::DiscardBranch(id)),
        other @ (Decision::Act(_)
        | Decision::Wait(_)
        | Decision::Settled(_)
        | Decision::Suspended(_)
        | Decision::Blocked(_)
        | Decision::Gone) => other,
    }
}

/// Whether the branch is ours, and nobody can have used it, for it was never there.
fn was_never_used(desired: &Desired, recorded: &BranchStatus, branch: &Branch) -> bool {
    let ours = Mark::of(&branch.annotations).as_ref() == Some(&desired.mark);
    ours && !recorded.taken_over
        && recorded.ready_time.is_none()
        && branch.last_reset_at.is_none()
        // Secrets that are out are those of a branch before this one
        && recorded.credentials == Credentials::Inherited
}

/// What may have been somebody's is for a person to look at.
fn told(branch: &Branch, observed: &Observed) -> Next {
    let (name, why) = (&branch.name, why(observed));
    let message = format!(
        "Neon has begun to bring back the branch {name}, or to make it, and has not done it{why}: nobody can use it until it is \
         restored on Neon or, where it is disposable, reset with {RESET}"
    );
    block(Reason::OperationFailed, message)
}

/// Neon is left alone for a while with what it could not do.
#[must_use]
pub(in crate::database) fn pause(observed: &Observed, what: &str, now: Timestamp) -> Stage {
    let failure = observed.failure.as_ref()?;
    let left = std::time::Duration::try_from(failure.until.duration_since(now)).ok()?;
    let message = format!("Neon could not {what}{}; it is asked again", why(observed));
    (!left.is_zero()).then(|| wait(Reason::OperationFailed, message, left))
}

fn why(observed: &Observed) -> String {
    let words = observed.failure.as_ref().and_then(|f| f.words.as_ref());
    words.map_or_else(String::new, |words| format!(", because {words}"))
}
