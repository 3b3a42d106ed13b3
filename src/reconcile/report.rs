//! What is told of a pass: how it ended, and at most one event. Pure; the runtime sends it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::Verdict;
use crate::api::{ConditionType, Reason};

/// How a pass went.
#[derive(Clone, Debug, PartialEq)]
pub struct PassReport {
    /// How it ended.
    pub verdict: Verdict,
    /// The actions it took, in order.
    pub actions: Vec<&'static str>,
}

/// An event worth remembering.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Whether it tells of trouble.
    pub warning: bool,
    /// What kind of thing happened.
    pub reason: Reason,
    /// What exactly.
    pub message: String,
}

/// The event that a change of conditions deserves: an object that became ready, or trouble of a new kind.
#[must_use]
pub fn notice(before: &[Condition], after: &[Condition], verdict: &Verdict) -> Option<Notice> {
    let find = |list: &[Condition], type_: ConditionType| {
        list.iter().find(|c| c.type_ == type_.as_str()).cloned()
    };
    let ready = find(after, ConditionType::Ready)?;
    let was = find(before, ConditionType::Ready);
    let changed = was
        .as_ref()
        .is_none_or(|w| w.reason != ready.reason || w.message != ready.message);
    let flipped = was.as_ref().is_none_or(|w| w.status != ready.status);
    let (warning, reason) = match verdict {
        Verdict::Settled(_) if flipped => (false, Reason::Succeeded),
        Verdict::Blocked(block) if changed => (true, block.reason),
        Verdict::Failed(error) if changed && error.class.is_terminal() => (true, error.reason),
        Verdict::Settled(_)
        | Verdict::Blocked(_)
        | Verdict::Failed(_)
        | Verdict::Acting(_)
        | Verdict::Suspended(_)
        | Verdict::Waiting(_)
        | Verdict::Gone => return None,
    };
    Some(Notice {
        warning,
        reason,
        message: ready.message,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::Timestamp;

    use super::*;
    use crate::api::condition;
    use crate::reconcile::{Block, Wait};

    #[test]
    fn an_event_tells_of_readiness_and_of_new_trouble_once() {
        let ready = |is, message: &str| {
            vec![condition(
                ConditionType::Ready,
                is,
                Reason::Succeeded,
                message,
                1,
                Timestamp::UNIX_EPOCH,
            )]
        };
        let settled = Verdict::Settled(Duration::from_secs(1));
        let block = Block {
            reason: Reason::InvalidSpec,
            message: "x".into(),
        };
        let blocked = Verdict::Blocked(block);
        let wait = Wait {
            reason: Reason::ParentNotReady,
            message: "x".into(),
            after: Duration::from_secs(1),
        };
        let rows = [
            (
                ready(false, ""),
                ready(true, ""),
                &settled,
                Some((false, Reason::Succeeded)),
            ),
            (ready(true, ""), ready(true, ""), &settled, None),
            (
                ready(true, ""),
                ready(false, "x"),
                &blocked,
                Some((true, Reason::InvalidSpec)),
            ),
            (ready(false, "x"), ready(false, "x"), &blocked, None),
            (
                ready(true, ""),
                ready(false, "x"),
                &Verdict::Waiting(wait),
                None,
            ),
        ];
        for (before, after, verdict, expected) in rows {
            let told = notice(&before, &after, verdict).map(|n| (n.warning, n.reason));
            assert_eq!(told, expected, "{verdict:?}");
        }
    }
}
