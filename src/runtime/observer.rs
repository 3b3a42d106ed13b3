//! Counts calls to Neon.

use crate::neon::{Call, CallObserver};
use crate::telemetry::Metrics;

/// Tells the metrics of every call.
pub(super) struct CountCalls(pub(super) Metrics);

impl CallObserver for CountCalls {
    fn call(&self, call: &Call) {
        self.0.neon_request(call.method, call.route, call.status);
    }
}
