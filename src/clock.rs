//! What time it is. The only file that reads the system's clocks.
//!
//! Decisions take `now` as an argument; whoever needs to ask holds a [`Clock`], so that tests own the time.
//! Waiting and measuring go through [`monotonic`], which follows tokio's paused time in tests.

use std::sync::{Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};

/// Wall-clock time.
pub trait Clock: Send + Sync {
    /// The present moment.
    fn now(&self) -> Timestamp;
}

/// The machine's own clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place where the wall clock is read"
    )]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// A clock that moves only when told to. For tests and the simulated world.
#[derive(Debug)]
pub struct ManualClock {
    now: Mutex<Timestamp>,
}

impl ManualClock {
    /// A clock that stands at `now`.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        Self {
            now: Mutex::new(now),
        }
    }

    /// Moves to `now`, backwards too.
    pub fn set(&self, now: Timestamp) {
        *self.now.lock().unwrap_or_else(PoisonError::into_inner) = now;
    }

    /// Moves on by `step`. Stays where it is if that would leave the range of timestamps.
    pub fn advance(&self, step: SignedDuration) {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        *now = now.checked_add(step).unwrap_or(*now);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        *self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How far ahead of somebody's `now` others may have noted something: they began later, and were done first.
const AHEAD: SignedDuration = SignedDuration::from_mins(1);

/// How long ago `then` was, for those who believe what was seen lately. None where it lies in the future: the clock was set
/// back, and nobody can tell.
#[must_use]
pub fn age(then: Timestamp, now: Timestamp) -> Option<SignedDuration> {
    let age = now.duration_since(then);
    (age >= -AHEAD).then_some(age)
}

/// A length of time as specs write it: `90s`, `5m`, `72h`, `14d`. None for any other form, and for what is too long
/// for arithmetic.
#[must_use]
pub fn time_span(text: &str) -> Option<SignedDuration> {
    let seconds = |unit: &str| match unit {
        "s" => Some(1_i64),
        "m" => Some(60),
        "h" => Some(3_600),
        "d" => Some(86_400),
        _ => None,
    };
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let seconds = number.parse::<i64>().ok()?.checked_mul(seconds(unit)?)?;
    Some(SignedDuration::from_secs(seconds))
}

/// The same, for waiting.
#[must_use]
pub fn wait_span(text: &str) -> Option<std::time::Duration> {
    time_span(text)?.try_into().ok()
}

/// A number of seconds as specs write a length of time, in the largest unit that divides it.
#[must_use]
pub fn in_words(seconds: i64) -> String {
    let units = [(86_400, "d"), (3_600, "h"), (60, "m")];
    let fits = |(size, _): &(i64, &str)| seconds != 0 && seconds % size == 0;
    let (size, unit) = units.into_iter().find(fits).unwrap_or((1, "s"));
    format!("{}{unit}", seconds / size)
}

/// A moment that never goes backwards, for waiting, ages and expiry inside this process.
#[must_use]
#[expect(
    clippy::disallowed_methods,
    reason = "the one place where the monotonic clock is read"
)]
pub fn monotonic() -> tokio::time::Instant {
    tokio::time::Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_moves_only_when_told() {
        let clock = ManualClock::new(Timestamp::UNIX_EPOCH);
        assert_eq!(clock.now(), Timestamp::UNIX_EPOCH);
        clock.advance(SignedDuration::from_secs(90));
        assert_eq!(clock.now().as_second(), 90);
        clock.set(Timestamp::UNIX_EPOCH);
        assert_eq!(clock.now().as_second(), 0);
    }

    #[test]
    fn nobody_can_tell_the_age_of_what_was_noted_before_the_clock_was_set_back() {
        let then = Timestamp::UNIX_EPOCH;
        let age_after = |seconds| age(then, then + SignedDuration::from_secs(seconds));
        assert_eq!(age_after(90), Some(SignedDuration::from_secs(90)));
        assert_eq!(age_after(-5), Some(SignedDuration::from_secs(-5)));
        assert_eq!(age_after(-3_600), None);
    }

    #[test]
    fn lengths_of_time_are_read_and_written_in_their_units() {
        let rows = [
            ("90s", 90),
            ("5m", 300),
            ("72h", 259_200),
            ("14d", 1_209_600),
        ];
        for (text, seconds) in rows {
            assert_eq!(time_span(text), Some(SignedDuration::from_secs(seconds)));
        }
        for (seconds, text) in [
            (90, "90s"),
            (300, "5m"),
            (259_200, "3d"),
            (7_200, "2h"),
            (0, "0s"),
        ] {
            assert_eq!(in_words(seconds), text);
        }
        for text in ["", "s", "5", "5w", "5ü", "never", "999999999999999999d"] {
            assert_eq!(time_span(text), None, "{text}");
        }
    }

    #[test]
    fn a_manual_clock_stays_inside_the_range() {
        let clock = ManualClock::new(Timestamp::MAX);
        clock.advance(SignedDuration::from_secs(1));
        assert_eq!(clock.now(), Timestamp::MAX);
    }
}
