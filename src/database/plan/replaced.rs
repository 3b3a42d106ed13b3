//! What to do where another branch has taken the place of the one on record: row 12, and after row 26. Pure.
//!
//! Nothing is followed by itself: what applications would reach then is other data, and which of the two is meant only a
//! person can say.

use super::{Stage, block};
use crate::api::{BranchStatus, DeletionPolicy, Reason};
use crate::database::desired::Desired;
use crate::database::observe::Observed;
use crate::neon::Branch;
use crate::reconcile::Block;

/// Row 12: the compute, and with it the host of every Secret, serves another branch.
pub(super) fn served_instead(
    desired: &Desired,
    observed: &Observed,
    recorded: &BranchStatus,
) -> Stage {
    let other = observed.served_instead.as_ref()?;
    let endpoint = observed.recorded.endpoint.as_ref()?;
    let effective = observed.recorded.effective.as_ref();
    let policy = desired.deletion_policy(effective.map(|effective| effective.deletion_policy));
    let message = format!(
        "the compute {} and its host serve the branch {} ({}) by now, and no longer {} ({}), as after a snapshot was restored in its \
         place on Neon: nothing is changed or published; {}{}",
        endpoint.id,
        other.name,
        other.id,
        recorded.name,
        recorded.id,
        way_out(other),
        if policy == DeletionPolicy::Delete {
            ", which deletes the branch on record"
        } else {
            ""
        }
    );
    Some(block(Reason::BranchReplaced, message))
}

/// Why a branch that was taken over as the project's default is not what was asked for: another one is that now.
#[must_use]
pub(in crate::database) fn other_default(observed: &Observed) -> Option<Block> {
    let effective = observed.recorded.effective.as_ref()?;
    let recorded = observed.recorded.branch.as_ref()?;
    let other = &observed.existing.known()?.branch;
    let by_default = effective.existing.as_ref()?.default == Some(true);
    if !by_default || other.id.as_str() == recorded.id {
        return None;
    }
    let (name, id) = (&recorded.name, &recorded.id);
    let message = format!(
        "the branch {name} ({id}) was taken over as the project's default, which is {} ({}) by now: no migration is applied; make \
         {name} the default again on Neon, or, {}",
        other.name,
        other.id,
        way_out(other)
    );
    Some(Block {
        reason: Reason::BranchReplaced,
        message,
    })
}

fn way_out(other: &Branch) -> String {
    format!(
        "to go on with {}, make the object anew with spec.branch.existing.id {}",
        other.name, other.id
    )
}
