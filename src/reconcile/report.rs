//! What is told of a pass: one log line, at most one event. Pure; the runtime sends it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::Verdict;
use crate::api::ConditionType;

/// How a pass went.
#[derive(Clone, Debug, PartialEq)]
pub struct PassReport {
    /// How it ended.
    pub verdict: Verdict,
    /// The actions it took, in order.
    pub actions: Vec<&'static str>,
    /// The event to publish, where something changed that history should remember.
    pub notice: Option<Notice>,
}

/// An event worth remembering.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Whether it tells of trouble.
    pub warning: bool,
    /// The reason of the condition that changed.
    pub reason: String,
    /// Its message.
    pub message: String,
}

/// The event that a change of conditions deserves: Ready that flipped, or trouble of a new kind.
#[must_use]
pub fn notice(before: &[Condition], after: &[Condition]) -> Option<Notice> {
    let find = |list: &[Condition], type_: ConditionType| {
        list.iter().find(|c| c.type_ == type_.as_str()).cloned()
    };
    let ready = find(after, ConditionType::Ready)?;
    let was = find(before, ConditionType::Ready);
    let stalled = find(after, ConditionType::Stalled).is_some_and(|c| c.status == "True");
    let flipped = was.as_ref().is_none_or(|w| w.status != ready.status);
    let changed = was
        .as_ref()
        .is_none_or(|w| w.reason != ready.reason || w.message != ready.message);
    let worth = if stalled {
        changed
    } else {
        flipped && ready.status == "True"
    };
    worth.then_some(Notice {
        warning: stalled,
        reason: ready.reason,
        message: ready.message,
    })
}
