//! What Neon has begun and not done, so that it is asked for again with patience and people are told why: one way for all
//! that Neon works on by operations. Losing it costs one try without a pause.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::api::Reason;
use crate::clock::age;
use crate::reconcile::{Class, Decision, Error, Wait};

/// What failed this long ago has no longer anything to do with what fails now.
const GOOD_FOR: SignedDuration = SignedDuration::from_mins(10);

/// What failed last of each object.
#[derive(Debug, Default)]
pub struct Failures {
    known: Mutex<Known>,
}

/// By the uid of the object.
#[derive(Debug, Default)]
struct Known {
    /// What Neon is at work on: nothing of an object at rest.
    begun: HashMap<String, String>,
    failed: HashMap<String, Vec<Record>>,
}

#[derive(Debug)]
struct Record {
    at: Timestamp,
    generation: i64,
    attempts: u32,
    failure: Failure,
}

/// Something that Neon has not done, and how long to leave it alone with that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What was to be done, as in "Neon could not …"; none where whoever asked for it is not known.
    pub what: Option<String>,
    /// The id of the branch that the object had then.
    pub branch: Option<String>,
    /// Why, where Neon has said so.
    pub words: Option<String>,
    /// When to ask again.
    pub until: Timestamp,
}

impl Failures {
    /// What failed of this object a short while ago, the latest at the end. What another generation of its spec asked for is
    /// another matter.
    #[must_use]
    pub fn of(&self, uid: &str, generation: i64, now: Timestamp) -> Vec<Failure> {
        let known = self.lock();
        let records = known.failed.get(uid).into_iter().flatten();
        let good = records.filter(|record| record.is_good(generation, now));
        good.map(|record| record.failure.clone()).collect()
    }

    /// Neon has taken this on, and is at work on it or has done it at once.
    pub fn asked(&self, uid: &str, what: String, at_work: bool) {
        self.lock().begun.insert(uid.to_owned(), what);
        if !at_work {
            self.done(uid);
        }
    }

    /// What Neon had taken on is done.
    pub fn done(&self, uid: &str) {
        let mut known = self.lock();
        let done = known.begun.remove(uid);
        if let Some(failed) = known.failed.get_mut(uid) {
            failed.retain(|record| record.failure.what.is_none() || record.failure.what != done);
        }
    }

    /// What Neon had taken on has failed, in these words, while the object had this branch. Answers what it was, where that is
    /// known.
    pub fn failed(
        &self,
        uid: &str,
        generation: i64,
        branch: Option<&str>,
        words: String,
        now: Timestamp,
    ) -> Option<String> {
        let mut known = self.lock();
        let what = known.begun.remove(uid);
        let told = (branch.map(str::to_owned), Some(words));
        known.again(uid, generation, what.clone(), Some(told), now);
        what
    }

    /// What Neon has not done is begun anew, whether or not it has said that it failed.
    pub fn begin_again(&self, uid: &str, generation: i64, what: &str, now: Timestamp) {
        let failed = self.of(uid, generation, now);
        // one try counts once
        if !failed.iter().any(|f| f.is_about(what) && f.until > now) {
            let mut known = self.lock();
            known.again(uid, generation, Some(what.to_owned()), None, now);
        }
    }

    /// Somebody wants it to be tried again, or the object is gone.
    pub fn forget(&self, uid: &str) {
        let mut known = self.lock();
        known.begun.remove(uid);
        known.failed.remove(uid);
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// Counts one more try at this that came to nothing: should it fail again, the next time is later. Where Neon has told
    /// why, that is `told`: of which branch, and in which words.
    fn again(
        &mut self,
        uid: &str,
        generation: i64,
        what: Option<String>,
        told: Option<(Option<String>, Option<String>)>,
        now: Timestamp,
    ) {
        self.failed.retain(|_, records| {
            records.retain(|record| record.is_recent(now));
            !records.is_empty()
        });
        let records = self.failed.entry(uid.to_owned()).or_default();
        records.retain(|record| record.generation == generation);
        let before = records.iter().position(|r| r.failure.what == what);
        let before = before.map(|index| records.remove(index));
        let attempts = before.as_ref().map_or(0, |record| record.attempts);
        let attempts = attempts.saturating_add(1);
        let error = Error::new(Class::Transient, Reason::OperationFailed, "");
        let pause = SignedDuration::try_from(error.backoff(attempts, uid));
        let until = pause.ok().and_then(|pause| now.checked_add(pause).ok());
        let before = before.map(|record| (record.failure.branch, record.failure.words));
        let (branch, words) = told.or(before).unwrap_or_default();
        records.push(Record {
            at: now,
            generation,
            attempts,
            failure: Failure {
                what,
                branch,
                words,
                until: until.unwrap_or(now),
            },
        });
    }
}

impl Record {
    fn is_good(&self, generation: i64, now: Timestamp) -> bool {
        self.generation == generation && self.is_recent(now)
    }

    fn is_recent(&self, now: Timestamp) -> bool {
        age(self.at, now).is_some_and(|age| age < GOOD_FOR)
    }
}

impl Failure {
    /// Whether this is what Neon could not do.
    #[must_use]
    pub fn is_about(&self, what: &str) -> bool {
        self.what.as_deref() == Some(what)
    }

    /// Neon is left alone for a while with what it could not do.
    fn pause(&self, now: Timestamp) -> Option<Wait> {
        let left = Duration::try_from(self.until.duration_since(now)).ok()?;
        let message = self.told().filter(|_| !left.is_zero())?;
        Some(Wait {
            reason: Reason::OperationFailed,
            message,
            after: left,
        })
    }

    /// What it was, in words, where that is known.
    #[must_use]
    pub fn told(&self) -> Option<String> {
        let what = self.what.as_ref()?;
        let because = self.words.iter().map(|words| format!(", because {words}"));
        let because: String = because.collect();
        Some(format!("Neon could not {what}{because}; it is asked again"))
    }
}

/// What to do next, but not what Neon could not do a moment ago. `what` names that which Neon works on by operations.
#[must_use]
pub fn patiently<A>(
    next: Decision<A>,
    failures: &[Failure],
    what: impl Fn(&A) -> Option<String>,
    now: Timestamp,
) -> Decision<A> {
    // at rest nothing has to be named
    if failures.is_empty() {
        return next;
    }
    let Decision::Act(action) = &next else {
        return next;
    };
    let pause = what(action).and_then(|what| {
        let mut failures = failures.iter();
        failures.find(|failure| failure.is_about(&what))?.pause(now)
    });
    pause.map_or(next, Decision::Wait)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// Neon takes this on and fails.
    fn fail(failures: &Failures, what: &str, now: Timestamp) {
        failures.asked("u", what.into(), true);
        failures.failed("u", 1, Some("br-1"), "no room".into(), now);
    }

    /// How long it is waited for before this is asked for.
    fn pause(failures: &Failures, generation: i64, what: &str, now: Timestamp) -> Duration {
        let failed = failures.of("u", generation, now);
        let name = |action: &String| Some(action.clone());
        let next = patiently(Decision::Act(what.to_owned()), &failed, name, now);
        let Decision::Wait(wait) = next else {
            return Duration::ZERO;
        };
        assert_eq!(wait.reason, Reason::OperationFailed);
        let told = format!("Neon could not {what}, because no room; it is asked again");
        assert_eq!(wait.message, told);
        wait.after
    }

    #[test]
    fn what_keeps_failing_is_asked_for_ever_later_and_never_later_than_a_minute() {
        let failures = Failures::default();
        let mut now = at(0);
        let mut pauses = Vec::new();
        for _ in 0..12 {
            fail(&failures, "x", now);
            let pause = pause(&failures, 1, "x", now);
            pauses.push(pause.as_millis());
            now += pause;
        }
        assert!((750..=1_000).contains(&pauses[0]), "{pauses:?}");
        assert!(pauses[..5].is_sorted(), "{pauses:?}");
        assert!(pauses[11] >= 45_000 && pauses.iter().all(|p| *p <= 60_000));
    }

    #[test]
    fn nothing_else_waits_and_two_that_fail_in_turns_are_both_waited_for_ever_longer() {
        let failures = Failures::default();
        for second in 0..6 {
            fail(&failures, "x", at(second));
            fail(&failures, "y", at(second));
        }
        for what in ["x", "y"] {
            assert!(pause(&failures, 1, what, at(5)) > Duration::from_secs(20));
        }
        assert_eq!(pause(&failures, 1, "z", at(5)), Duration::ZERO);
    }

    #[test]
    fn what_was_done_or_is_wanted_otherwise_begins_without_a_pause() {
        let failures = Failures::default();
        fail(&failures, "x", at(0));
        assert_eq!(pause(&failures, 2, "x", at(0)), Duration::ZERO);
        assert_ne!(pause(&failures, 1, "x", at(0)), Duration::ZERO);
        // something else is done
        failures.asked("u", "y".into(), true);
        failures.done("u");
        assert_ne!(pause(&failures, 1, "x", at(0)), Duration::ZERO);
        failures.asked("u", "x".into(), true);
        failures.done("u");
        assert_eq!(failures.of("u", 1, at(0)), []);
    }

    #[test]
    fn a_try_counts_once() {
        let failures = Failures::default();
        fail(&failures, "x", at(0));
        let told = failures.of("u", 1, at(0));
        failures.begin_again("u", 1, "x", at(0));
        assert_eq!(failures.of("u", 1, at(0)), told);
        failures.begin_again("u", 1, "x", at(2));
        let again = pause(&failures, 1, "x", at(2));
        assert!(again > Duration::from_secs(1), "{again:?}");
    }

    #[test]
    fn words_stay_until_they_are_old_or_somebody_wants_another_try() {
        let failures = Failures::default();
        // after a restart nobody knows what it was
        failures.failed("u", 1, Some("br-1"), "no room".into(), at(0));
        assert_eq!(pause(&failures, 1, "x", at(0)), Duration::ZERO);
        let known = |second| failures.of("u", 1, at(second)).len();
        assert_eq!(known(599), 1);
        assert_eq!(known(600), 0);
        failures.failed("u", 1, None, "no room".into(), at(700));
        failures.forget("u");
        assert_eq!(known(700), 0);
    }
}
