//! What policies put up with in the history, and people should know all the same: applied files that are missing or were
//! edited, and aliases that do nothing. Pure.

use crate::api::{ConditionType, Reason, SepulkiMigrationStatus, find_condition};
use crate::engine::{Plan, Problem, ProblemKind};
use crate::reconcile::Notice;

/// Files that are told one by one.
const TOLD: usize = 3;

/// What stands between what is planned and its warnings.
pub(super) const BEHIND: &str = "; ";

/// The warnings of a plan, on one line; none where there are none.
pub(super) fn told(plan: &Plan) -> Option<String> {
    let all: Vec<&Problem> = warnings(plan).collect();
    let texts: Vec<String> = all.iter().take(TOLD).map(ToString::to_string).collect();
    let text = texts.join(BEHIND);
    match all.len().saturating_sub(TOLD) {
        0 if texts.is_empty() => None,
        0 => Some(text),
        more => Some(format!("{text}{BEHIND}and {more} more")),
    }
}

/// The event that tells of them, unless the status does already.
pub(super) fn notice(plan: &Plan, status: &SepulkiMigrationStatus) -> Option<Notice> {
    let message = told(plan)?;
    let planned = find_condition(&status.conditions, ConditionType::Planned);
    if planned.is_some_and(|planned| planned.message.ends_with(&message)) {
        return None;
    }
    let any = |is_it: fn(&ProblemKind) -> bool| warnings(plan).any(|p| is_it(&p.kind));
    Some(Notice {
        warning: true,
        reason: if any(|kind| matches!(kind, ProblemKind::Drifted { .. })) {
            Reason::ChecksumMismatch
        } else if any(|kind| matches!(kind, ProblemKind::Missing)) {
            Reason::FileMissing
        } else {
            Reason::InvalidSpec
        },
        message,
    })
}

fn warnings(plan: &Plan) -> impl Iterator<Item = &Problem> {
    let is_told = |problem: &&Problem| {
        let is_kind = matches!(
            problem.kind,
            ProblemKind::Drifted { .. } | ProblemKind::Missing | ProblemKind::IdleAlias { .. }
        );
        is_kind && !problem.blocks()
    };
    plan.problems.iter().filter(is_told)
}
