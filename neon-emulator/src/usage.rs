//! How long computes have run since the emulator was started: what Neon bills, and what quotas limit.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use jiff::{SignedDuration, Timestamp};

use crate::state::model::{Endpoint, Project};

/// The runs of all computes, those that are gone included.
#[derive(Default)]
pub(crate) struct Usage(Mutex<Runs>);

#[derive(Default)]
struct Runs {
    ended: Vec<Run>,
    /// Since when and for whom each endpoint's compute runs.
    running: BTreeMap<String, Run>,
}

/// One time that a compute ran.
#[derive(Debug, Clone)]
struct Run {
    project_id: String,
    branch_id: String,
    /// Its size. Those that may grow have their least, because nothing here makes them grow.
    cu: f64,
    from: Timestamp,
    /// Of one that has ended.
    until: Timestamp,
}

/// Whose runs are meant.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Of<'a> {
    Project(&'a str),
    Branch(&'a str),
}

/// What was used.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Used {
    /// How long computes ran, added up.
    pub(crate) active_seconds: f64,
    /// The same by size: a compute of 2 CU uses two seconds in each.
    pub(crate) compute_seconds: f64,
}

impl Usage {
    /// Notes that an endpoint's compute runs from now on.
    pub(crate) fn begin(&self, project: &str, endpoint: &Endpoint, now: Timestamp) {
        let run = Run {
            project_id: project.to_owned(),
            branch_id: endpoint.branch_id.clone(),
            cu: endpoint.compute.min_cu,
            from: now,
            until: now,
        };
        self.with(|runs| {
            runs.end(&endpoint.id, now);
            runs.running.insert(endpoint.id.clone(), run);
        });
    }

    /// Notes that an endpoint's compute runs no more.
    pub(crate) fn end(&self, endpoint_id: &str, now: Timestamp) {
        self.with(|runs| runs.end(endpoint_id, now));
    }

    /// What was used between two times, of which the second may lie in the future.
    pub(crate) fn between(
        &self,
        of: Of<'_>,
        from: Timestamp,
        to: Timestamp,
        now: Timestamp,
    ) -> Used {
        self.with(|runs| {
            let running = runs.running.values().map(|run| (run, now));
            let ended = runs.ended.iter().map(|run| (run, run.until));
            let mut used = Used::default();
            for (run, until) in ended.chain(running).filter(|(run, _)| run.is_of(of)) {
                let shared = until.min(to).duration_since(run.from.max(from));
                let seconds = shared.max(SignedDuration::ZERO).as_secs_f64();
                used.active_seconds += seconds;
                used.compute_seconds += seconds * run.cu;
            }
            used
        })
    }

    /// Whether a project has used up what its quota allows in this billing period.
    pub(crate) fn is_exhausted(&self, project: &Project, now: Timestamp) -> bool {
        let quota = project.settings.get("quota");
        let limit = |name: &str| {
            quota
                .and_then(|quota| quota.get(name)?.as_f64())
                .filter(|it| *it > 0.0)
        };
        let (active, compute) = (limit("active_time_seconds"), limit("compute_time_seconds"));
        if active.or(compute).is_none() {
            return false;
        }
        let used = self.between(Of::Project(&project.id), period_start(now), now, now);
        active.is_some_and(|most| used.active_seconds >= most)
            || compute.is_some_and(|most| used.compute_seconds >= most)
    }

    fn with<T>(&self, look: impl FnOnce(&mut Runs) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Runs {
    fn end(&mut self, endpoint_id: &str, now: Timestamp) {
        let run = self.running.remove(endpoint_id);
        self.ended.extend(run.map(|run| Run { until: now, ..run }));
    }
}

impl Run {
    fn is_of(&self, of: Of<'_>) -> bool {
        match of {
            Of::Project(id) => self.project_id == id,
            Of::Branch(id) => self.branch_id == id,
        }
    }
}

/// When the billing period of a time began: with its month.
pub(crate) fn period_start(at: Timestamp) -> Timestamp {
    let zoned = at.to_zoned(jiff::tz::TimeZone::UTC);
    let first = zoned.first_of_month().and_then(|day| day.start_of_day());
    first.map_or(at, |first| first.timestamp())
}

/// When the next one begins.
pub(crate) fn next_period(at: Timestamp) -> Timestamp {
    // A month has less than 32 days, and the next one more than that.
    let within_next = period_start(at).checked_add(SignedDuration::from_hours(32 * 24));
    within_next.map_or(at, period_start)
}

/// An amount as the API has it.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::as_conversions,
    reason = "amounts are not negative, and too small for it to matter"
)]
pub(crate) fn whole(amount: f64) -> u64 {
    amount as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::model::{ComputeSettings, EndpointKind};

    fn at(text: &str) -> Timestamp {
        format!("2026-04-15T{text}Z").parse().unwrap()
    }

    fn endpoint(branch: &str, cu: f64) -> Endpoint {
        let compute = ComputeSettings {
            min_cu: cu,
            max_cu: 8.0,
            ..ComputeSettings::default()
        };
        Endpoint::new(branch, EndpointKind::ReadWrite, compute, at("00:00:00"))
    }

    #[test]
    fn what_ran_is_counted_where_it_ran() {
        let (usage, small, large) = (Usage::default(), endpoint("a", 0.25), endpoint("b", 2.0));
        usage.begin("p", &small, at("10:00:00"));
        usage.end(&small.id, at("10:10:00"));
        usage.end(&small.id, at("10:20:00"));
        usage.begin("p", &large, at("10:30:00"));
        let now = at("11:00:00");
        let used = |of, from, to| {
            let used = usage.between(of, at(from), at(to), now);
            (used.active_seconds, used.compute_seconds)
        };
        assert_eq!(
            used(Of::Project("p"), "00:00:00", "23:00:00"),
            (2400.0, 3750.0)
        );
        assert_eq!(used(Of::Branch("a"), "10:05:00", "10:30:00"), (300.0, 75.0));
        assert_eq!(used(Of::Branch("b"), "10:45:00", "10:46:00"), (60.0, 120.0));
        assert_eq!(used(Of::Project("p"), "10:15:00", "10:20:00"), (0.0, 0.0));
        assert_eq!(used(Of::Project("q"), "00:00:00", "23:00:00"), (0.0, 0.0));
    }

    #[test]
    fn a_billing_period_is_a_month() {
        let now = "2026-04-15T10:30:00Z".parse().unwrap();
        assert_eq!(period_start(now).to_string(), "2026-04-01T00:00:00Z");
        assert_eq!(next_period(now).to_string(), "2026-05-01T00:00:00Z");
    }
}
