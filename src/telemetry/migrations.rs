//! What is counted of migrations: files, runs, and what their locks cost, themselves and others.

use std::{fmt, sync::atomic::AtomicU64, time::Duration};

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder},
    metrics::{counter::Counter, family::Family, histogram::Histogram},
    registry::Registry,
};

/// Upper bounds in seconds: a small file takes less than one, an index of a large table minutes, and a run is given half an
/// hour unless somebody says otherwise.
const RUN_SECONDS: [f64; 11] = [
    0.1, 0.5, 1.0, 2.5, 10.0, 30.0, 60.0, 300.0, 900.0, 1800.0, 7200.0,
];

/// PostgreSQL's classes of errors; a file can raise codes of its own, and only these become a label.
const SQLSTATE_CLASSES: [&str; 41] = [
    "03", "08", "09", "0A", "0B", "0F", "0L", "0P", "0Z", "10", "20", "21", "22", "23", "24", "25",
    "26", "27", "28", "2B", "2D", "2F", "34", "38", "39", "3B", "3D", "3F", "40", "42", "44", "53",
    "54", "55", "57", "58", "72", "F0", "HV", "P0", "XX",
];

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RunOutcome {
    /// Everything up to the target is applied.
    Applied,
    /// A file failed.
    Failed,
    /// It took longer than it may.
    DeadlineExceeded,
    /// The password, a right, the server or the ledger is not what it should be.
    Refused,
    /// Something was in the way that goes by itself: another run, locks, a server that restarted, an operator that stops.
    PutOff,
}

impl RunOutcome {
    const ALL: [Self; 5] = [
        Self::Applied,
        Self::Failed,
        Self::DeadlineExceeded,
        Self::Refused,
        Self::PutOff,
    ];

    /// The label's value.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Failed => "failed",
            Self::DeadlineExceeded => "deadline_exceeded",
            Self::Refused => "refused",
            Self::PutOff => "put_off",
        }
    }
}

impl EncodeLabelValue for RunOutcome {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        self.as_str().encode(encoder)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FailureLabels {
    sqlstate_class: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RunLabels {
    outcome: RunOutcome,
}

type Seconds = Counter<f64, AtomicU64>;

/// The part of the registry that tells of migrations.
#[derive(Clone, Debug)]
pub struct MigrationMetrics {
    applied: Counter,
    failed: Family<FailureLabels, Counter>,
    retries: Counter,
    lock_wait: Seconds,
    blocked: Seconds,
    runs: Family<RunLabels, Histogram>,
}

impl MigrationMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let new_histogram: fn() -> Histogram = || Histogram::new(RUN_SECONDS);
        let all = Self {
            applied: Counter::default(),
            failed: Family::default(),
            retries: Counter::default(),
            lock_wait: Seconds::default(),
            blocked: Seconds::default(),
            runs: Family::new_with_constructor(new_histogram),
        };
        // an alert rests on them before the first run
        for outcome in RunOutcome::ALL {
            drop(all.runs.get_or_create(&RunLabels { outcome }));
        }
        registry.register(
            "sepulki_migrations_applied",
            "Migration files applied",
            all.applied.clone(),
        );
        registry.register(
            "sepulki_migrations_failed",
            "Migration files that failed, by class of PostgreSQL's error code",
            all.failed.clone(),
        );
        registry.register(
            "sepulki_migration_retries",
            "How often migration files started over because of locks",
            all.retries.clone(),
        );
        registry.register(
            "sepulki_migration_lock_wait_seconds",
            "How long migration files waited for locks of others",
            all.lock_wait.clone(),
        );
        registry.register(
            "sepulki_migration_blocked_seconds",
            "How long others waited for locks of migration files",
            all.blocked.clone(),
        );
        registry.register(
            "sepulki_migration_run_duration_seconds",
            "How long runs of migrations took, by how they ended",
            all.runs.clone(),
        );
        all
    }

    /// A file was applied.
    pub fn applied(&self) {
        self.applied.inc();
    }

    /// A file failed with this error code, or without one where it was not the server that complained.
    pub fn failed(&self, sqlstate: Option<&str>) {
        let sqlstate_class = class(sqlstate);
        self.failed
            .get_or_create(&FailureLabels { sqlstate_class })
            .inc();
    }

    /// A file starts over because of locks.
    pub fn retried(&self) {
        self.retries.inc();
    }

    /// A file has waited so long for locks of others, and others for its own.
    pub fn lock_time(&self, waited: Duration, held_up: Duration) {
        self.lock_wait.inc_by(waited.as_secs_f64());
        self.blocked.inc_by(held_up.as_secs_f64());
    }

    /// A run ended.
    pub fn run(&self, outcome: RunOutcome, took: Duration) {
        self.runs
            .get_or_create(&RunLabels { outcome })
            .observe(took.as_secs_f64());
    }
}

/// The class of an error code, if PostgreSQL has it.
fn class(sqlstate: Option<&str>) -> &'static str {
    let Some(sqlstate) = sqlstate else {
        return "none";
    };
    let mut known = SQLSTATE_CLASSES.into_iter();
    known
        .find(|class| sqlstate.starts_with(class))
        .unwrap_or("other")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_postgresqls_own_classes_become_a_label() {
        assert_eq!(class(Some("42P07")), "42");
        assert_eq!(class(Some("P0001")), "P0");
        assert_eq!(class(Some("ZZ001")), "other");
        assert_eq!(class(Some("")), "other");
        assert_eq!(class(None), "none");
    }
}
