//! What the operator tells about itself: log lines and metrics. Imports nothing of ours but the clock.

mod logs;
mod metrics;
mod process;

pub use logs::{AlreadyInstalled, LogFormat, install};
pub use metrics::{CONTENT_TYPE, Metrics, ObjectCounts, Outcome, WaitingGuard};
