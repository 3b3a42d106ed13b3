//! What stands in the way of a plan, in words and as a reason. Pure.

use crate::api::Reason;
use crate::engine::{Diagnostics, Plan, Problem, ProblemKind};
use crate::reconcile::Block;

/// Findings that are told in full.
pub(super) const TOLD: usize = 3;

/// The first problem says what kind of trouble it is, the message tells the first few.
#[must_use]
pub fn block(plan: &Plan) -> Option<Block> {
    let first = plan.blocking().next()?;
    let texts: Vec<String> = plan
        .blocking()
        .take(TOLD)
        .map(|problem| {
            let findings = problem.kind.findings();
            findings.map_or_else(|| problem.to_string(), told)
        })
        .collect();
    let more = plan.blocking().count().saturating_sub(TOLD);
    Some(Block {
        reason: reason(first),
        message: and_more(texts.join("\n"), more),
    })
}

/// The reason that a problem of a plan gives.
fn reason(problem: &Problem) -> Reason {
    match &problem.kind {
        ProblemKind::Drifted { .. } => Reason::ChecksumMismatch,
        ProblemKind::OutOfOrder { .. } => Reason::OutOfOrder,
        ProblemKind::Unrecorded { .. } | ProblemKind::LedgerLost { .. } => Reason::Unrecorded,
        ProblemKind::UnknownTarget => Reason::TargetNotFound,
        ProblemKind::UnknownBaseline
        | ProblemKind::AliasedFile { .. }
        | ProblemKind::IdleAlias { .. } => Reason::InvalidSpec,
        ProblemKind::AlmostRecorded { .. }
        | ProblemKind::Renamed { .. }
        | ProblemKind::MaybeRecorded { .. }
        | ProblemKind::ChangesLedger { .. }
        | ProblemKind::SameNumber { .. }
        | ProblemKind::Unrunnable(_)
        | ProblemKind::Interrupted(_)
        | ProblemKind::Unfinished { .. }
        | ProblemKind::Unverified
        | ProblemKind::Missing => Reason::InvalidMigration,
    }
}

/// The first few findings in full, with their lines.
pub(super) fn told(findings: &Diagnostics) -> String {
    let findings_told = findings.iter().take(TOLD);
    let text: String = findings_told
        .map(|finding| finding.redacted().render())
        .collect();
    and_more(
        text.trim_end().to_owned(),
        findings.len().saturating_sub(TOLD),
    )
}

pub(super) fn and_more(text: String, more: usize) -> String {
    match more {
        0 => text,
        more => format!("{text}\nand {more} more"),
    }
}
