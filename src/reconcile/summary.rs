//! The three conditions that say how an object stands as a whole, by the rules of kstatus. Pure.
//!
//! | verdict | Ready | Reconciling | Stalled |
//! |---|---|---|---|
//! | settled | True | False | False |
//! | acting, waiting, failed and passing | False | True | False |
//! | blocked, failed and terminal | False | False | True |
//! | suspended | as it was | False | False |

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::Verdict;
use crate::api::{ConditionType, Reason, condition, find_condition, set_condition};

/// Writes Ready, Reconciling and Stalled at the head of `list`.
pub fn summarize(
    list: &mut Vec<Condition>,
    previous: &[Condition],
    verdict: &Verdict,
    settled: (Reason, String),
    generation: i64,
    now: Timestamp,
) {
    let was_ready = find_condition(previous, ConditionType::Ready);
    let (ready, reconciling, stalled, reason, message) = match verdict {
        Verdict::Settled(_) | Verdict::Gone => (true, false, false, settled.0, settled.1),
        Verdict::Suspended(_) => {
            let ready = was_ready.is_some_and(|c| c.status == "True");
            (
                ready,
                false,
                false,
                Reason::Suspended,
                "nothing is changed while suspend is set".to_owned(),
            )
        }
        Verdict::Acting(what) => (false, true, false, Reason::Progressing, what.clone()),
        Verdict::Waiting(wait) => (false, true, false, wait.reason, wait.message.clone()),
        Verdict::Blocked(block) => (false, false, true, block.reason, block.message.clone()),
        Verdict::Failed(error) => {
            let terminal = error.class.is_terminal();
            (
                false,
                !terminal,
                terminal,
                error.reason,
                error.message.clone(),
            )
        }
    };
    let mut put = |type_, status, reason, message: &str| {
        set_condition(
            list,
            previous,
            condition(type_, status, reason, message, generation, now),
        );
    };
    put(ConditionType::Ready, ready, reason, &message);
    let idle = (Reason::Succeeded, "");
    let (why, text) = if reconciling {
        (reason, message.as_str())
    } else {
        idle
    };
    put(ConditionType::Reconciling, reconciling, why, text);
    let (why, text) = if stalled {
        (reason, message.as_str())
    } else {
        idle
    };
    put(ConditionType::Stalled, stalled, why, text);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::reconcile::{Block, Class, Error, Wait};

    fn statuses(verdict: &Verdict, previous: &[Condition]) -> (String, String, String) {
        let mut list = Vec::new();
        let settled = (Reason::Succeeded, String::new());
        summarize(
            &mut list,
            previous,
            verdict,
            settled,
            1,
            Timestamp::UNIX_EPOCH,
        );
        let of = |i: usize| list[i].status.clone();
        (of(0), of(1), of(2))
    }

    #[test]
    fn the_table() {
        let t = || "True".to_owned();
        let f = || "False".to_owned();
        let after = Duration::from_secs(1);
        let failed = |class| Verdict::Failed(Error::new(class, Reason::NeonUnavailable, "x"));
        let wait = Wait {
            reason: Reason::ParentNotReady,
            message: String::new(),
            after,
        };
        let block = Block {
            reason: Reason::ParentRequired,
            message: String::new(),
        };
        let rows = [
            (Verdict::Settled(after), (t(), f(), f())),
            (Verdict::Acting("x".into()), (f(), t(), f())),
            (Verdict::Waiting(wait), (f(), t(), f())),
            (Verdict::Blocked(block), (f(), f(), t())),
            (failed(Class::Transient), (f(), t(), f())),
            (failed(Class::RateLimited(None)), (f(), t(), f())),
            (failed(Class::Conflict), (f(), t(), f())),
            (failed(Class::Denied), (f(), f(), t())),
            (failed(Class::Invalid), (f(), f(), t())),
            (failed(Class::Bug), (f(), f(), t())),
            (Verdict::Suspended(after), (f(), f(), f())),
        ];
        for (verdict, expected) in rows {
            assert_eq!(statuses(&verdict, &[]), expected, "{verdict:?}");
        }
        let ready = condition(
            ConditionType::Ready,
            true,
            Reason::Succeeded,
            "",
            1,
            Timestamp::UNIX_EPOCH,
        );
        assert_eq!(statuses(&Verdict::Suspended(after), &[ready]).0, t());
    }
}
