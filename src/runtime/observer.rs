//! Counts calls to Neon.

use crate::neon::{Call, CallObserver};
use crate::telemetry::Metrics;

/// Tells the metrics of every call.
pub(super) struct CountCalls(pub(super) Metrics);

impl CallObserver for CountCalls {
    fn call(&self, call: &Call) {
        let (route, held_back) = (call.route, call.budget_wait);
        self.0
            .neon_request(call.method, route, call.status, held_back);
    }
}
