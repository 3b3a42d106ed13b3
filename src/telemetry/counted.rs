//! What is counted at every scrape instead of being kept up to date: objects, by what their status says. A process that
//! has just started shows them all as soon as its watches know them.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, gauge::ConstGauge},
};

/// How many objects of a kind say what about themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ObjectCounts {
    /// `Ready=True`.
    pub ready: u32,
    /// `Ready=False`.
    pub not_ready: u32,
    /// `Ready=Unknown`, no condition yet, or an object that does not decode.
    pub unknown: u32,
}

/// How many objects have a branch, and how many could have one if there were room or if it were their turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BranchCounts {
    /// They have one.
    pub held: u32,
    /// Their NeonProject's access rule allows no more.
    pub no_room: u32,
    /// Objects that came first are brought up.
    pub in_line: u32,
    /// The plan of Neon allows no more.
    pub limit_reached: u32,
}

/// A compute of a NeonDatabase, as Neon last told it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ComputeState {
    /// Namespace of the object.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Identity of the endpoint on Neon.
    pub endpoint: String,
    /// `read_write` or `read_only`.
    pub access: &'static str,
    /// `init`, `active`, `idle` or `other`.
    pub state: &'static str,
}

type Count<T> = Box<dyn Fn() -> T + Send + Sync>;

/// Who counts.
#[derive(Clone, Default)]
pub(super) struct Counted(Arc<Mutex<Sources>>);

#[derive(Default)]
struct Sources {
    objects: Vec<(&'static str, Count<ObjectCounts>)>,
    branches: Option<Count<BranchCounts>>,
    computes: Option<Count<Vec<ComputeState>>>,
}

impl Counted {
    pub(super) fn objects(&self, kind: &'static str, count: Count<ObjectCounts>) {
        let mut sources = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sources.objects.push((kind, count));
    }

    pub(super) fn branches(&self, count: Count<BranchCounts>) {
        let mut sources = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sources.branches = Some(count);
    }

    pub(super) fn computes(&self, tell: Count<Vec<ComputeState>>) {
        let mut sources = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sources.computes = Some(tell);
    }
}

impl fmt::Debug for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Counted").finish_non_exhaustive()
    }
}

impl Collector for Counted {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let sources = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let help = "Objects, by the status of their Ready condition";
        let mut family =
            encoder.encode_descriptor("sepulki_objects", help, None, MetricType::Gauge)?;
        for (kind, count) in &sources.objects {
            let counts = count();
            for (ready, count) in [
                ("true", counts.ready),
                ("false", counts.not_ready),
                ("unknown", counts.unknown),
            ] {
                let labels = [("kind", *kind), ("ready", ready)];
                gauge(count).encode(family.encode_family(&labels)?)?;
            }
        }
        if let Some(tell) = &sources.computes {
            encode_computes(&mut encoder, &tell())?;
        }
        let Some(counts) = sources.branches.as_ref().map(|count| count()) else {
            return Ok(());
        };
        let help = "NeonDatabases that have a branch";
        gauge(counts.held).encode(encoder.encode_descriptor(
            "sepulki_branches",
            help,
            None,
            MetricType::Gauge,
        )?)?;
        let help = "NeonDatabases that wait for room for a branch, or for their turn";
        let mut family =
            encoder.encode_descriptor("sepulki_branches_waiting", help, None, MetricType::Gauge)?;
        for (reason, count) in [
            ("NoRoom", counts.no_room),
            ("ProjectLocked", counts.in_line),
            ("LimitReached", counts.limit_reached),
        ] {
            gauge(count).encode(family.encode_family(&[("reason", reason)])?)?;
        }
        Ok(())
    }
}

fn encode_computes(encoder: &mut DescriptorEncoder<'_>, all: &[ComputeState]) -> fmt::Result {
    let help = "Computes of NeonDatabases, 1 for each, by the state that Neon last told";
    let mut family =
        encoder.encode_descriptor("sepulki_computes", help, None, MetricType::Gauge)?;
    for one in all {
        let labels = [
            ("namespace", one.namespace.as_str()),
            ("name", one.name.as_str()),
            ("endpoint", one.endpoint.as_str()),
            ("access", one.access),
            ("state", one.state),
        ];
        gauge(1).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}

fn gauge(count: u32) -> ConstGauge<i64> {
    ConstGauge::new(i64::from(count))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Metrics;

    fn has(metrics: &Metrics, line: &str) -> bool {
        metrics.encode().unwrap().lines().any(|one| one == line)
    }

    #[test]
    fn objects_are_counted_at_the_scrape() {
        let metrics = Metrics::new();
        let counts = Arc::new(Mutex::new(ObjectCounts {
            ready: 2,
            not_ready: 1,
            unknown: 0,
        }));
        let source = Arc::clone(&counts);
        metrics.objects("NeonDatabase", move || *source.lock().unwrap());
        let ready = r#"sepulki_objects{kind="NeonDatabase",ready="true"}"#;
        assert!(has(&metrics, &format!("{ready} 2")));
        counts.lock().unwrap().ready = 3;
        assert!(has(&metrics, &format!("{ready} 3")));
        let not_ready = r#"sepulki_objects{kind="NeonDatabase",ready="false"} 1"#;
        assert!(has(&metrics, not_ready));
    }

    #[test]
    fn each_compute_is_told_with_its_state() {
        let metrics = Metrics::new();
        metrics.computes(|| {
            vec![ComputeState {
                namespace: "team".into(),
                name: "pr-7".into(),
                endpoint: "ep-1".into(),
                access: "read_write",
                state: "idle",
            }]
        });
        let line = r#"sepulki_computes{namespace="team",name="pr-7",endpoint="ep-1",access="read_write",state="idle"} 1"#;
        assert!(has(&metrics, line), "{:?}", metrics.encode());
    }

    #[test]
    fn who_waits_for_a_branch_is_told_by_reason() {
        let metrics = Metrics::new();
        metrics.branches(|| BranchCounts {
            held: 7,
            no_room: 1,
            in_line: 2,
            limit_reached: 3,
        });
        for line in [
            "sepulki_branches 7",
            r#"sepulki_branches_waiting{reason="NoRoom"} 1"#,
            r#"sepulki_branches_waiting{reason="ProjectLocked"} 2"#,
            r#"sepulki_branches_waiting{reason="LimitReached"} 3"#,
        ] {
            assert!(has(&metrics, line), "{line}: {:?}", metrics.encode());
        }
    }
}
