//! What is told of a pass: how it ended, and at most one event. Pure; the runtime sends it.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::{Verdict, Wait};
use crate::api::{ConditionType, Reason, find_condition};

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

/// The event that a change of conditions deserves: an object that became ready, or trouble of a new kind. What is waited for is
/// told where it may be a mistake, and once, however its words change.
#[must_use]
pub fn notice(before: &[Condition], after: &[Condition], verdict: &Verdict) -> Option<Notice> {
    let ready = find_condition(after, ConditionType::Ready)?;
    let was = find_condition(before, ConditionType::Ready);
    let changed = was.is_none_or(|w| w.reason != ready.reason || w.message != ready.message);
    let flipped = was.is_none_or(|w| w.status != ready.status);
    let (warning, reason, request) = match verdict {
        Verdict::Settled(_) if flipped => (false, Reason::Succeeded, None),
        Verdict::Blocked(block) if changed => (true, block.reason, None),
        Verdict::Failed(error) if changed && error.class.is_terminal() => {
            (true, error.reason, error.request_id.as_ref())
        }
        Verdict::Waiting(wait)
            if may_be_a_mistake(wait) && was.is_none_or(|w| w.reason != ready.reason) =>
        {
            (true, wait.reason, None)
        }
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
        message: match request {
            Some(id) => format!("{} (request {id})", ready.message),
            None => ready.message.clone(),
        },
    })
}

/// Shorter than this is waited for what is already on its way.
const A_MOMENT: Duration = Duration::from_secs(1);

/// Whether what is waited for may never come unless somebody corrects something: a name that leads nowhere looks like one that
/// will be there in a moment.
fn may_be_a_mistake(wait: &Wait) -> bool {
    let needs_somebody = matches!(
        wait.reason,
        Reason::KeyNotFound
            | Reason::ProjectNotReady
            | Reason::ParentNotFound
            | Reason::PasswordNotFound
            | Reason::DatabaseNotFound
            | Reason::ConfigMapNotFound
            | Reason::NoRoom
    );
    needs_somebody && wait.after >= A_MOMENT
}

/// Whether others have to hear of a pass: the object stands otherwise than before, or it was brought up to date, which
/// those that inherit from it may have waited for.
#[must_use]
pub fn concerns_others(before: &[Condition], after: &[Condition], report: &PassReport) -> bool {
    let up_to_date = !report.actions.is_empty() && matches!(report.verdict, Verdict::Settled(_));
    report.verdict == Verdict::Gone || up_to_date || standing(before) != standing(after)
}

/// What others go by. Words are for people: two objects in trouble that told each other every new word of it would keep
/// each other awake.
fn standing(conditions: &[Condition]) -> Vec<(&str, &str, &str, Option<i64>)> {
    let mut list = Vec::new();
    for c in conditions {
        list.push((
            c.type_.as_str(),
            c.status.as_str(),
            c.reason.as_str(),
            c.observed_generation,
        ));
    }
    list
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::api::condition;
    use crate::reconcile::{Block, Class, Error};

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

    #[test]
    fn what_may_be_missing_by_mistake_is_told_when_it_is_first_waited_for() {
        let ready = |reason, message: &str| {
            let (type_, at) = (ConditionType::Ready, Timestamp::UNIX_EPOCH);
            vec![condition(type_, false, reason, message, 1, at)]
        };
        let progress = ready(Reason::Progressing, "");
        let missing = |message| ready(Reason::ParentNotFound, message);
        let told = |before: &[Condition], reason, seconds| {
            let wait = Wait {
                reason,
                message: "x".into(),
                after: Duration::from_secs(seconds),
            };
            notice(before, &ready(reason, "x"), &Verdict::Waiting(wait))
                .map(|n| (n.warning, n.reason))
        };
        let parent = Reason::ParentNotFound;
        assert_eq!(told(&progress, parent, 15), Some((true, parent)));
        assert_eq!(told(&[], parent, 15), Some((true, parent)));
        assert_eq!(told(&missing("other words"), parent, 15), None);
        assert_eq!(told(&progress, Reason::OperationsRunning, 15), None);
        // it is about to be looked at
        assert_eq!(told(&progress, Reason::ProjectNotReady, 0), None);
    }

    #[test]
    fn an_event_of_a_failure_names_the_request_and_the_condition_does_not() {
        let error = Error {
            request_id: Some("r-1".into()),
            ..Error::new(Class::Invalid, Reason::NeonRejected, "no")
        };
        let at = Timestamp::UNIX_EPOCH;
        let ready = ConditionType::Ready;
        let after = vec![condition(ready, false, error.reason, "no", 1, at)];
        let told = notice(&[], &after, &Verdict::Failed(error)).unwrap();
        assert_eq!(told.message, "no (request r-1)");
    }

    #[test]
    fn others_hear_of_what_an_object_is_not_of_its_words_and_of_work_that_came_to_an_end() {
        let ready = |is, message: &str| {
            let at = Timestamp::UNIX_EPOCH;
            let type_ = ConditionType::Ready;
            vec![condition(type_, is, Reason::Progressing, message, 1, at)]
        };
        let settled = || Verdict::Settled(Duration::from_secs(1));
        let acting = || Verdict::Acting("x".into());
        let act = ["act"].as_slice();
        let rows = [
            (ready(false, "other words"), acting(), act, false),
            (ready(true, ""), acting(), act, true),
            (ready(false, ""), settled(), [].as_slice(), false),
            (ready(false, ""), settled(), act, true),
            (ready(false, ""), Verdict::Gone, act, true),
        ];
        for (after, verdict, actions, expected) in rows {
            let report = PassReport {
                verdict,
                actions: actions.to_vec(),
            };
            let hear = concerns_others(&ready(false, ""), &after, &report);
            assert_eq!(hear, expected, "{report:?}");
        }
    }
}
