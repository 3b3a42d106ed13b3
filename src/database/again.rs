//! A look that somebody asks for at what is as asked: the object stays ready until something else is found. Pure.

use super::desired::Desired;
use super::observe::Observed;
use crate::api::{ConditionType, NeonDatabaseStatus, holds};

/// Stands before the digest of contents that are looked at again.
const AGAIN: &str = "again ";

/// The record of contents that are to be looked at again: another one than theirs, which tells that they were as asked.
#[must_use]
pub(super) fn to_be_looked_at(digest: Option<String>) -> Option<String> {
    digest.map(|digest| match digest.strip_prefix(AGAIN) {
        Some(_) => digest,
        None => format!("{AGAIN}{digest}"),
    })
}

/// Whether what an action has just recorded says nothing of how the object stands: it was ready, and an annotation was taken
/// up, or contents that were as asked are looked at again.
#[must_use]
pub(super) fn leaves_it_ready(
    status: &NeonDatabaseStatus,
    desired: &Desired,
    observed: Option<&Observed>,
) -> bool {
    let Some(before) = observed.map(|observed| &observed.recorded) else {
        return false;
    };
    was_ready(before, desired)
        && (status.handled != before.handled
            || is_looked_at(status, desired)
            || is_looked_at(before, desired))
}

fn was_ready(before: &NeonDatabaseStatus, desired: &Desired) -> bool {
    holds(&before.conditions, ConditionType::Ready, desired.generation)
}

fn is_looked_at(status: &NeonDatabaseStatus, desired: &Desired) -> bool {
    let (Some(branch), Ok(rest)) = (&status.branch, &desired.rest) else {
        return false;
    };
    let looked_at = status.content_digest.as_ref();
    let looked_at = looked_at.and_then(|digest| digest.strip_prefix(AGAIN));
    looked_at.is_some_and(|digest| digest == rest.content_digest(&branch.id, &branch.incarnation))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Environment;
    use crate::database::fixtures::{INTERVAL, desired, now, settled};
    use crate::database::status::project;
    use crate::reconcile::Verdict;

    /// Whether an object that was ready is so after an action has recorded this.
    fn is_ready_after(change: impl FnOnce(&mut NeonDatabaseStatus)) -> bool {
        let desired = desired(Environment::Staging);
        let mut observed = settled(&desired);
        let of = |status: &NeonDatabaseStatus, observed: &Observed, verdict: &Verdict| {
            project(status, &desired, Some(observed), verdict, now())
        };
        observed.recorded = of(&observed.recorded, &observed, &Verdict::Settled(INTERVAL));
        let mut status = observed.recorded.clone();
        change(&mut status);
        let told = of(&status, &observed, &Verdict::Acting("x".into()));
        was_ready(&told, &desired)
    }

    #[test]
    fn looking_again_takes_no_readiness_away_and_work_does() {
        assert!(is_ready_after(|status| {
            status.content_digest = to_be_looked_at(status.content_digest.take());
        }));
        assert!(is_ready_after(|status| {
            status.handled.reconcile = Some("1".into());
        }));
        assert!(!is_ready_after(|_| {}));
        assert!(!is_ready_after(|status| status.content_digest = None));
        assert!(!is_ready_after(|status| {
            status.content_digest = to_be_looked_at(Some("of something else".into()));
        }));
    }

    #[test]
    fn what_is_looked_at_twice_is_marked_once() {
        let once = to_be_looked_at(Some("sha256:x".into()));
        assert_eq!(to_be_looked_at(once.clone()), once);
        assert_eq!(to_be_looked_at(None), None);
    }
}
