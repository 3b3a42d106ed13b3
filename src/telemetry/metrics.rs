//! The registry and every metric's name, in one place.
//!
//! Labels come from closed sets only: a label is an enum or a `&'static str` out of the code, so that no object's name,
//! no message and no id can become one. Only `sepulki_computes` tells of each by name, for that is the one place that does:
//! what changes by itself is in no status. Cheap to clone; all clones count into the same registry.

use std::{fmt, sync::Arc, time::Duration};

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram, info::Info},
    registry::Registry,
};

use super::counted::{BranchCounts, ComputeState, Counted, ObjectCounts};
use super::migrations::MigrationMetrics;
use super::process::ProcessMetrics;

/// Media type of [`Metrics::encode`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Upper bounds in seconds: a pass without effects takes microseconds, one that runs migrations takes minutes.
const PASS_SECONDS: [f64; 11] = [
    0.001, 0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 10.0, 60.0, 300.0, 1800.0,
];

/// Upper bounds in seconds: an account at rest holds nothing back, one that Neon has told to pause does for ten seconds.
const BUDGET_SECONDS: [f64; 7] = [0.001, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Upper bounds in seconds: a role takes less than one, a branch with its compute some, and five minutes are overdue.
const OPERATION_SECONDS: [f64; 9] = [0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];

/// What Neon does for the operator, in its own words; they come from outside, and only these become a label.
const OPERATION_ACTIONS: [&str; 11] = [
    "apply_config",
    "apply_storage_config",
    "check_availability",
    "create_branch",
    "create_timeline",
    "delete_timeline",
    "start_compute",
    "suspend_compute",
    "sync_dbs_and_roles_from_compute",
    "timeline_archive",
    "timeline_unarchive",
];

/// How a pass ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Everything is as asked.
    Settled,
    /// Something has to happen elsewhere first.
    Waiting,
    /// Nothing will happen before somebody changes something.
    Blocked,
    /// Could not find out, or could not do it.
    Failed,
}

impl Outcome {
    /// The label's value.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Settled => "settled",
            Self::Waiting => "waiting",
            Self::Blocked => "blocked",
            Self::Failed => "failed",
        }
    }
}

impl EncodeLabelValue for Outcome {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        self.as_str().encode(encoder)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PassLabels {
    kind: &'static str,
    outcome: Outcome,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabels {
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ActionLabels {
    kind: &'static str,
    action: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OperationLabels {
    action: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ErrorLabels {
    kind: &'static str,
    class: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct NeonLabels {
    method: &'static str,
    route: &'static str,
    status: NeonStatus,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct NeonStatus(Option<u16>);

impl EncodeLabelValue for NeonStatus {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        match self.0 {
            Some(status) => u32::from(status).encode(encoder),
            None => "none".encode(encoder),
        }
    }
}

/// Every metric of the operator.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Arc<Registry>,
    passes: Family<PassLabels, Counter>,
    pass_seconds: Family<KindLabels, Histogram>,
    actions: Family<ActionLabels, Counter>,
    errors: Family<ErrorLabels, Counter>,
    neon_requests: Family<NeonLabels, Counter>,
    budget_seconds: Histogram,
    operation_seconds: Family<OperationLabels, Histogram>,
    branches_left_behind: Counter,
    migrations: MigrationMetrics,
    admission_waiting: Gauge,
    counted: Counted,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// A registry of its own with every metric in it, those of the process included. Counters get their suffix
    /// `_total` when they are written out.
    #[must_use]
    pub fn new() -> Self {
        let mut registry = Registry::default();
        let passes = Family::default();
        registry.register(
            "sepulki_reconcile_passes",
            "Passes over an object, by how they ended",
            passes.clone(),
        );
        let new_histogram: fn() -> Histogram = pass_histogram;
        let pass_seconds = Family::new_with_constructor(new_histogram);
        registry.register(
            "sepulki_reconcile_duration_seconds",
            "How long passes took",
            pass_seconds.clone(),
        );
        let actions = Family::default();
        registry.register(
            "sepulki_actions",
            "Effects carried out, by their name in the plan",
            actions.clone(),
        );
        let errors = Family::default();
        registry.register(
            "sepulki_errors",
            "Passes that failed, by class of error",
            errors.clone(),
        );
        let neon_requests = Family::default();
        registry.register(
            "sepulki_neon_requests",
            "Calls to Neon; status none: no answer came",
            neon_requests.clone(),
        );
        let budget_seconds = Histogram::new(BUDGET_SECONDS);
        registry.register(
            "sepulki_neon_budget_wait_seconds",
            "How long calls to Neon waited for their turn under the account's budget",
            budget_seconds.clone(),
        );
        let new_histogram: fn() -> Histogram = operation_histogram;
        let operation_seconds = Family::new_with_constructor(new_histogram);
        registry.register(
            "sepulki_neon_operation_duration_seconds",
            "How long operations took that Neon worked on after it had answered, by its own word for each",
            operation_seconds.clone(),
        );
        let branches_left_behind = Counter::default();
        registry.register(
            "sepulki_branches_left_behind",
            "Branches that a deleted object had to leave on Neon",
            branches_left_behind.clone(),
        );
        let migrations = MigrationMetrics::register(&mut registry);
        let admission_waiting = Gauge::default();
        registry.register(
            "sepulki_admission_waiting",
            "Passes that wait for their turn",
            admission_waiting.clone(),
        );
        registry.register(
            "sepulki_build",
            "The program that runs",
            Info::new([("version", env!("CARGO_PKG_VERSION"))]),
        );
        let counted = Counted::default();
        registry.register_collector(Box::new(counted.clone()));
        registry.register_collector(Box::new(ProcessMetrics));
        Self {
            registry: Arc::new(registry),
            passes,
            pass_seconds,
            actions,
            errors,
            neon_requests,
            budget_seconds,
            operation_seconds,
            branches_left_behind,
            migrations,
            admission_waiting,
            counted,
        }
    }

    /// A pass over an object of `kind` ended.
    pub fn pass(&self, kind: &'static str, outcome: Outcome, took: Duration) {
        self.passes
            .get_or_create(&PassLabels { kind, outcome })
            .inc();
        self.pass_seconds
            .get_or_create(&KindLabels { kind })
            .observe(took.as_secs_f64());
    }

    /// An effect was carried out. `action` is its name in the kind's plan.
    pub fn action(&self, kind: &'static str, action: &'static str) {
        self.actions
            .get_or_create(&ActionLabels { kind, action })
            .inc();
    }

    /// A pass failed with an error of `class`.
    pub fn error(&self, kind: &'static str, class: &'static str) {
        self.errors
            .get_or_create(&ErrorLabels { kind, class })
            .inc();
    }

    /// A call to Neon ended. `route` is the path's pattern, without ids; no `status` if no answer came; `held_back` is how
    /// long the account's budget made it wait.
    pub fn neon_request(
        &self,
        method: &'static str,
        route: &'static str,
        status: Option<u16>,
        held_back: Duration,
    ) {
        self.budget_seconds.observe(held_back.as_secs_f64());
        self.neon_requests
            .get_or_create(&NeonLabels {
                method,
                route,
                status: NeonStatus(status),
            })
            .inc();
    }

    /// An operation that Neon worked on has ended. An `action` that is not known counts as `other`.
    pub fn neon_operation(&self, action: &str, took: Duration) {
        let known = OPERATION_ACTIONS.into_iter().find(|known| *known == action);
        let labels = OperationLabels {
            action: known.unwrap_or("other"),
        };
        self.operation_seconds
            .get_or_create(&labels)
            .observe(took.as_secs_f64());
    }

    /// A deleted object had to leave its branch on Neon.
    pub fn branch_left_behind(&self) {
        self.branches_left_behind.inc();
    }

    /// What is counted of migrations.
    #[must_use]
    pub fn migrations(&self) -> &MigrationMetrics {
        &self.migrations
    }

    /// A pass waits for its turn until the guard is dropped.
    #[must_use]
    pub fn waiting(&self) -> WaitingGuard {
        self.admission_waiting.inc();
        WaitingGuard(self.admission_waiting.clone())
    }

    /// Shows the objects of `kind` as `sepulki_objects`. `count` is asked at every scrape and should only look at a
    /// cache.
    pub fn objects(
        &self,
        kind: &'static str,
        count: impl Fn() -> ObjectCounts + Send + Sync + 'static,
    ) {
        self.counted.objects(kind, Box::new(count));
    }

    /// Shows how many objects have a branch or wait for one. `count` is asked like that of [`Metrics::objects`].
    pub fn branches(&self, count: impl Fn() -> BranchCounts + Send + Sync + 'static) {
        self.counted.branches(Box::new(count));
    }

    /// Shows the computes. `tell` is asked like that of [`Metrics::objects`].
    pub fn computes(&self, tell: impl Fn() -> Vec<ComputeState> + Send + Sync + 'static) {
        self.counted.computes(Box::new(tell));
    }

    /// All metrics in OpenMetrics text, see [`CONTENT_TYPE`].
    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

fn pass_histogram() -> Histogram {
    Histogram::new(PASS_SECONDS)
}

fn operation_histogram() -> Histogram {
    Histogram::new(OPERATION_SECONDS)
}

/// Counts one waiting pass, also when the wait is abandoned.
#[derive(Debug)]
pub struct WaitingGuard(Gauge);

impl Drop for WaitingGuard {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests;
