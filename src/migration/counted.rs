//! What is counted of a run, as it tells and as it ends.

use std::time::Duration;

use crate::engine::run::{Progress, RunError, RunReport};
use crate::telemetry::{MigrationMetrics, RunOutcome};

/// Counts what a run tells.
pub(super) fn told(metrics: &MigrationMetrics, progress: &Progress) {
    match progress {
        Progress::Applied { .. } => metrics.applied(),
        Progress::Retrying { .. } => metrics.retried(),
        Progress::LockTime { waited, held_up } => metrics.lock_time(*waited, *held_up),
        Progress::WaitingForRun { .. }
        | Progress::Planned { .. }
        | Progress::Started { .. }
        | Progress::Statement { .. }
        | Progress::Building { .. }
        | Progress::WaitingForLock { .. }
        | Progress::GotLocks { .. }
        | Progress::Said { .. } => {}
    }
}

/// Counts a run that took so long.
pub(super) fn ended(
    metrics: &MigrationMetrics,
    result: &Result<RunReport, RunError>,
    took: Duration,
) {
    if let Err(RunError::Failed(diagnostic)) = result {
        metrics.failed(diagnostic.sqlstate.as_deref());
    }
    metrics.run(outcome(result), took);
}

fn outcome(result: &Result<RunReport, RunError>) -> RunOutcome {
    match result {
        Ok(_) => RunOutcome::Applied,
        Err(RunError::Failed(_)) => RunOutcome::Failed,
        Err(RunError::DeadlineExceeded(_)) => RunOutcome::DeadlineExceeded,
        Err(RunError::Denied(_) | RunError::LedgerConflict(_) | RunError::Unsupported(_)) => {
            RunOutcome::Refused
        }
        Err(
            RunError::Busy(_)
            | RunError::Blocked(_)
            | RunError::Transient(_)
            | RunError::Limit(_)
            | RunError::NotACopy(_)
            | RunError::Cancelled,
        ) => RunOutcome::PutOff,
    }
}
