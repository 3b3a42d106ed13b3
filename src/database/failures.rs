//! What Neon has begun and not done, so that it is asked for again with patience and people are told why. Losing it costs one
//! try without a pause.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};

use crate::api::Reason;
use crate::reconcile::{Class, Error};

/// What failed this long ago has no longer anything to do with what fails now.
const GOOD_FOR: SignedDuration = SignedDuration::from_mins(10);

/// What failed last of each object.
#[derive(Debug, Default)]
pub(super) struct Failures {
    failed: Mutex<HashMap<String, Record>>,
}

#[derive(Debug)]
struct Record {
    at: Timestamp,
    /// What failed last, and of which branch.
    words: Option<(Option<String>, String)>,
    attempts: u32,
    until: Timestamp,
}

/// What failed, and how long to leave Neon alone with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// In words, where they are known.
    pub words: Option<String>,
    /// When to ask again.
    pub until: Timestamp,
}

impl Failures {
    /// What failed of this object a short while ago. Of one that has a branch the words are those about that branch.
    pub(super) fn of(&self, uid: &str, branch: Option<&str>, now: Timestamp) -> Option<Failure> {
        let failed = self.lock();
        let record = failed.get(uid).filter(|record| record.is_good(now))?;
        Some(Failure {
            words: record.words.as_ref().and_then(|(of, words)| {
                let concerns = branch.is_none() || of.as_deref() == branch;
                concerns.then(|| words.clone())
            }),
            until: record.until,
        })
    }

    /// An operation on this branch failed, in these words.
    pub(super) fn tell(&self, uid: &str, branch: Option<&str>, words: String, now: Timestamp) {
        let mut failed = self.lock();
        let record = Record::entry(&mut failed, uid, now);
        record.words = Some((branch.map(str::to_owned), words));
    }

    /// What failed is begun anew: should it fail again, the next time is later.
    pub(super) fn begin_again(&self, uid: &str, now: Timestamp) {
        let mut failed = self.lock();
        let record = Record::entry(&mut failed, uid, now);
        record.attempts = record.attempts.saturating_add(1);
        let error = Error::new(Class::Transient, Reason::OperationFailed, "");
        let pause = SignedDuration::try_from(error.backoff(record.attempts, uid));
        let until = pause.ok().and_then(|pause| now.checked_add(pause).ok());
        record.until = until.unwrap_or(now);
    }

    /// Somebody wants it to be tried again.
    pub(super) fn forget(&self, uid: &str) {
        self.lock().remove(uid);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Record>> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Record {
    fn is_good(&self, now: Timestamp) -> bool {
        now.duration_since(self.at) < GOOD_FOR
    }

    /// The object's record, brought up to this moment.
    fn entry<'a>(all: &'a mut HashMap<String, Self>, uid: &str, now: Timestamp) -> &'a mut Self {
        all.retain(|_, record| record.is_good(now));
        let record = all.entry(uid.to_owned()).or_insert(Self {
            at: now,
            words: None,
            attempts: 0,
            until: now,
        });
        record.at = now;
        record
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn what_keeps_failing_is_asked_for_ever_later_and_never_later_than_a_minute() {
        let failures = Failures::default();
        let mut now = at(0);
        let mut pauses = Vec::new();
        for _ in 0..12 {
            failures.begin_again("u", now);
            let until = failures.of("u", None, now).unwrap().until;
            pauses.push(until.duration_since(now).as_millis());
            now = until;
        }
        assert!((750..=1_000).contains(&pauses[0]), "{pauses:?}");
        assert!(pauses[..5].is_sorted(), "{pauses:?}");
        assert!(pauses[11] >= 45_000 && pauses.iter().all(|p| *p <= 60_000));
    }

    #[test]
    fn words_are_about_the_branch_that_they_are_about() {
        let failures = Failures::default();
        failures.tell("u", Some("br-1"), "no room".into(), at(0));
        let words = |branch| failures.of("u", branch, at(1)).and_then(|f| f.words);
        assert_eq!(words(Some("br-1")).as_deref(), Some("no room"));
        assert_eq!(words(Some("br-2")), None);
        // what is to be made again is what could not be made
        assert_eq!(words(None).as_deref(), Some("no room"));
    }

    #[test]
    fn words_stay_until_they_are_old_or_somebody_wants_another_try() {
        let failures = Failures::default();
        assert_eq!(failures.of("u", None, at(0)), None);
        failures.tell("u", None, "no room".into(), at(0));
        failures.begin_again("u", at(1));
        let words = |second| failures.of("u", None, at(second)).and_then(|f| f.words);
        assert_eq!(words(600).as_deref(), Some("no room"));
        assert_eq!(failures.of("u", None, at(601)), None);
        failures.tell("u", None, "no room".into(), at(700));
        failures.forget("u");
        assert_eq!(failures.of("u", None, at(700)), None);
    }
}
