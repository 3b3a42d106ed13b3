//! Operations that Neon works on after it has answered: recorded before anything is waited for, and looked at until they
//! end. How they stand is asked with patience, for a call that tells nothing new is one that somebody else cannot make.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::api::OperationStatus;
use crate::neon::{self, ErrorKind, NeonApi, OperationId, ProjectId};
use crate::reconcile::Error;
use crate::telemetry::Metrics;

use super::at_neon;

/// What Neon has been at for longer than this is told to people, and asked about seldom.
pub const OVERDUE: SignedDuration = SignedDuration::from_mins(5);

/// How long Neon is asked every second: what takes longer is no longer worth so many calls.
const BRISK: SignedDuration = SignedDuration::from_secs(10);

/// How soon to ask Neon again about something that it has been at for so long: every second at first, then every 2 to 5
/// seconds, and every 30 to 60 seconds once it is overdue. Spread by `seed`, so that what began together is not asked
/// about together.
#[must_use]
pub fn ask_again(age: SignedDuration, seed: &str) -> Duration {
    if age < BRISK {
        return Duration::from_secs(1);
    }
    let seconds = age.as_secs();
    let longest = if age < OVERDUE {
        // from 3 to 5 seconds, less a third at most
        Duration::from_secs(3) + Duration::from_millis(seconds.unsigned_abs() * 20 / 3)
    } else {
        Duration::from_secs((seconds.unsigned_abs() / 10).clamp(45, 60))
    };
    let mut hasher = DefaultHasher::new();
    (seed, seconds).hash(&mut hasher);
    let part = u32::try_from(hasher.finish() % 100).unwrap_or_default();
    longest.saturating_sub(longest / 3 * part / 100)
}

/// An operation that is waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Identity on Neon.
    pub id: String,
    /// What is done, in Neon's words.
    pub action: String,
    /// When Neon was asked for it.
    pub since: Timestamp,
    /// When to ask how it stands; none where it has ended, well or not: what it should have brought about is looked at
    /// anyhow.
    pub ask_in: Option<Duration>,
    /// Whether Neon is at it for longer than anything should take.
    pub overdue: bool,
    /// What became of it, in words, where it ended without doing its work.
    pub failure: Option<String>,
}

/// What Neon is at work on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AtWork {
    /// For people.
    pub message: String,
    /// How soon to look again.
    pub after: Duration,
    /// Whether Neon is at some of it for longer than anything should take.
    pub overdue: bool,
}

impl Operation {
    /// What Neon is at work on; none where all of these have ended.
    #[must_use]
    pub fn at_work(operations: &[Self]) -> Option<AtWork> {
        let running = || operations.iter().filter(|one| one.ask_in.is_some());
        let after = running().filter_map(|one| one.ask_in).min()?;
        let told: Vec<String> = running().map(Self::told).collect();
        Some(AtWork {
            message: format!("Neon is at work: {}", told.join(", ")),
            after,
            overdue: running().any(|one| one.overdue),
        })
    }

    /// The first of these that has not done its work, and what became of it in words; none where there is none.
    #[must_use]
    pub fn failed(operations: &[Self]) -> Option<(&Self, &str)> {
        let mut operations = operations.iter();
        operations.find_map(|one| Some((one, one.failure.as_deref()?)))
    }

    /// The moment and not the age, so that a condition that shows it stays as it is.
    fn told(&self) -> String {
        let Self {
            id, action, since, ..
        } = self;
        if !self.overdue {
            return action.clone();
        }
        let minutes = OVERDUE.as_mins();
        format!(
            "{action} (operation {id}) since {since:.0}, for more than {minutes} minutes; Neon's support can tell why"
        )
    }
}

/// What Neon last said of each operation, so that a pass that comes for another reason asks nothing. Losing it costs one
/// call each.
pub struct Operations {
    metrics: Metrics,
    told: Mutex<HashMap<String, Told>>,
}

/// What Neon said of an operation, and when that was last of use.
#[derive(Clone, Debug)]
enum Told {
    Runs(Timestamp),
    Ended(Timestamp, Option<String>),
}

impl Operations {
    /// Nothing is known yet. How long operations take is counted.
    #[must_use]
    pub fn new(metrics: Metrics) -> Self {
        Self {
            metrics,
            told: Mutex::default(),
        }
    }

    /// How the recorded operations stand. Changes nothing.
    pub async fn look(
        &self,
        api: &dyn NeonApi,
        project: &ProjectId,
        recorded: &[OperationStatus],
        now: Timestamp,
    ) -> Result<Vec<Operation>, Error> {
        let mut operations = Vec::new();
        for recorded in recorded {
            operations.push(self.look_at(api, project, recorded, now).await?);
        }
        Ok(operations)
    }

    async fn look_at(
        &self,
        api: &dyn NeonApi,
        project: &ProjectId,
        recorded: &OperationStatus,
        now: Timestamp,
    ) -> Result<Operation, Error> {
        let (id, since) = (&recorded.id, recorded.request_time.0);
        let age = now.duration_since(since);
        let is = |ask_in, failure| Operation {
            id: id.clone(),
            action: recorded.action.clone(),
            since,
            ask_in,
            overdue: age >= OVERDUE,
            failure,
        };
        // the answer to what was asked for told as well that it runs
        match self.told(id).unwrap_or(Told::Runs(since)) {
            Told::Ended(_, failure) => {
                self.remember(id, Told::Ended(now, failure.clone()), now);
                return Ok(is(None, failure));
            }
            Told::Runs(at) => {
                let wait = ask_again(at.duration_since(since), id);
                let passed = Duration::try_from(now.duration_since(at)).unwrap_or_default();
                let left = wait.saturating_sub(passed);
                // a record of the future is that of a clock which was ahead, and says nothing of how long to wait
                if !left.is_zero() && at <= now {
                    return Ok(is(Some(left), None));
                }
            }
        }
        match api
            .operation(project, &OperationId::from(id.as_str()))
            .await
        {
            Ok(told) if told.status.is_terminal() => {
                self.metrics
                    .neon_operation(&recorded.action, took(&told, age));
                let failure = failure(&told);
                self.remember(id, Told::Ended(now, failure.clone()), now);
                Ok(is(None, failure))
            }
            Ok(_) => {
                self.remember(id, Told::Runs(now), now);
                Ok(is(Some(ask_again(age, id)), None))
            }
            // Neon forgets operations; what they should have brought about is looked at anyhow
            Err(error) if error.kind == ErrorKind::NotFound => Ok(is(None, None)),
            Err(error) => Err(at_neon(error)),
        }
    }

    fn told(&self, id: &str) -> Option<Told> {
        self.lock().get(id).cloned()
    }

    fn remember(&self, id: &str, what: Told, now: Timestamp) {
        let mut told = self.lock();
        // nobody asks any more about those that have ended, and those of objects that went away
        told.retain(|_, (Told::Runs(at) | Told::Ended(at, _))| now.duration_since(*at) < OVERDUE);
        told.insert(id.to_owned(), what);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Told>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long an operation took: Neon knows better, for it is not asked all the time.
fn took(operation: &neon::Operation, age: SignedDuration) -> Duration {
    let told = operation
        .total_duration_ms
        .and_then(|ms| u64::try_from(ms).ok());
    told.map_or_else(
        || Duration::try_from(age).unwrap_or_default(),
        Duration::from_millis,
    )
}

fn failure(operation: &neon::Operation) -> Option<String> {
    let how = if operation.status.is_cancelled() {
        "was cancelled"
    } else {
        "failed"
    };
    let why = operation.why().map(|why| format!(": {why}"));
    let why = why.unwrap_or_default();
    let told = format!("its operation {} {how}{why}", operation.action);
    operation.status.is_failure().then_some(told)
}

/// Adds those that have not ended to the record, as asked for now.
pub fn record_operations(
    record: &mut Vec<OperationStatus>,
    operations: &[neon::Operation],
    now: Timestamp,
) {
    let running = operations
        .iter()
        .filter(|operation| !operation.status.is_terminal());
    record.extend(running.map(|operation| OperationStatus {
        id: operation.id.to_string(),
        action: operation.action.clone(),
        request_time: Time(now),
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neon_is_asked_briskly_then_calmly_then_seldom() {
        for seconds in 0..=86_400 {
            let again = ask_again(SignedDuration::from_secs(seconds), "op");
            let expected = match seconds {
                0..10 => 1..=1,
                10..300 => 2..=5,
                _ => 30..=60,
            };
            let again = again.as_secs_f64();
            let (least, most) = (f64::from(*expected.start()), f64::from(*expected.end()));
            assert!(
                (least..=most).contains(&again),
                "{again} s after {seconds} s"
            );
        }
    }

    #[test]
    fn what_began_together_is_not_asked_about_together() {
        let age = SignedDuration::from_secs(60);
        let waits: std::collections::BTreeSet<Duration> = (0..20)
            .map(|n| ask_again(age, &format!("op-{n}")))
            .collect();
        assert!(waits.len() > 10, "{waits:?}");
    }

    #[test]
    fn what_failed_is_told_in_one_sentence() {
        let operation = neon::Operation {
            id: "op-7".into(),
            action: "start_compute".into(),
            status: neon::OperationStatus::Failed,
            error: Some("LOG:  starting\nFATAL:  out of memory\nLOG:  shut down".into()),
            total_duration_ms: None,
        };
        let told = failure(&operation).unwrap();
        assert_eq!(told, "its operation start_compute failed: out of memory");
    }

    #[test]
    fn what_is_overdue_is_told_with_its_id_and_since_when() {
        let operation = |overdue| Operation {
            id: "op-7".into(),
            action: "start_compute".into(),
            since: "2026-12-01T08:00:00Z".parse().unwrap(),
            ask_in: Some(Duration::from_secs(30)),
            overdue,
            failure: None,
        };
        let at_work = |overdue| Operation::at_work(&[operation(overdue)]).unwrap();
        assert_eq!(at_work(false).message, "Neon is at work: start_compute");
        assert_eq!(
            at_work(true).message,
            "Neon is at work: start_compute (operation op-7) since 2026-12-01T08:00:00Z, for more than 5 minutes; Neon's \
             support can tell why"
        );
        let ended = Operation {
            ask_in: None,
            ..operation(true)
        };
        assert_eq!(Operation::at_work(&[ended]), None);
    }
}
