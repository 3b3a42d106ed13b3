//! What the operator tells about itself: log lines and metrics. Imports nothing of ours but the clock.

mod counted;
mod logs;
mod metrics;
mod migrations;
mod process;

pub use counted::{BranchCounts, ComputeState, ObjectCounts};
pub use logs::{AlreadyInstalled, LogFormat, install};
pub use metrics::{CONTENT_TYPE, Metrics, Outcome, WaitingGuard};
pub use migrations::{MigrationMetrics, RunOutcome};
