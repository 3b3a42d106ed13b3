//! Classes of error, and what each leads to: the one place that maps a class to back-off and condition. Pure.
//!
//! An error means "could not find out" or "could not do it". Waiting is never an error.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use crate::api::{ConditionType, Reason};

/// What an error means for the next try.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Passes by itself.
    Transient,
    /// Asked to slow down, for this long where it was said.
    RateLimited(Option<Duration>),
    /// The world changed meanwhile: look again at once.
    Conflict,
    /// Credentials are refused. Terminal until they change.
    Denied,
    /// What was asked for is refused. Terminal until it changes.
    Invalid,
    /// Should be impossible.
    Bug,
}

impl Class {
    /// The word for logs and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Transient => "transient",
            Self::RateLimited(_) => "rate_limited",
            Self::Conflict => "conflict",
            Self::Denied => "denied",
            Self::Invalid => "invalid",
            Self::Bug => "bug",
        }
    }

    /// Whether a person has to change something before another try makes sense.
    #[must_use]
    pub fn is_terminal(self) -> bool {
        match self {
            Self::Transient | Self::RateLimited(_) | Self::Conflict => false,
            Self::Denied | Self::Invalid | Self::Bug => true,
        }
    }

    /// How long to wait before try number `attempt` (from 1): doubling between two bounds.
    fn bounds(self) -> (Duration, Duration) {
        match self {
            Self::Conflict => (Duration::from_millis(100), Duration::from_secs(5)),
            Self::Transient | Self::RateLimited(_) => {
                (Duration::from_secs(1), Duration::from_mins(1))
            }
            // seldom, because only a change can help; but what was refused may be allowed one day
            Self::Denied | Self::Invalid | Self::Bug => {
                (Duration::from_secs(15), Duration::from_mins(10))
            }
        }
    }
}

/// A failed step, told so that a person can act on it. Holds no secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// What it means for the next try.
    pub class: Class,
    /// What the condition says.
    pub reason: Reason,
    /// The whole story.
    pub message: String,
    /// What the other side calls the request that failed, for its support. Told in events and logs and not in conditions:
    /// the same failure leaves a condition as it is.
    pub request_id: Option<String>,
    /// The part of the object that is to blame, where that is another one than what was worked on.
    pub part: Option<ConditionType>,
}

impl Error {
    /// An error of a class.
    pub fn new(class: Class, reason: Reason, message: impl Into<String>) -> Self {
        Self {
            class,
            reason,
            message: message.into(),
            request_id: None,
            part: None,
        }
    }

    /// The same, with the part of the object that is to blame.
    #[must_use]
    pub fn about(self, part: ConditionType) -> Self {
        let part = Some(part);
        Self { part, ..self }
    }

    /// A write met an object that has changed meanwhile.
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(Class::Conflict, Reason::Progressing, message)
    }

    /// Something that should be impossible.
    pub fn bug(message: impl Into<String>) -> Self {
        Self::new(Class::Bug, Reason::Bug, message)
    }

    /// How long to wait before try number `attempt` (from 1), spread by `seed` so that objects that failed together do
    /// not come back together.
    #[must_use]
    pub fn backoff(&self, attempt: u32, seed: &str) -> Duration {
        let (first, last) = self.class.bounds();
        let doubled = first
            .saturating_mul(2_u32.saturating_pow(attempt.saturating_sub(1).min(16)))
            .min(last);
        let mut hasher = DefaultHasher::new();
        (seed, attempt).hash(&mut hasher);
        // from three quarters of the time to all of it
        let spread = doubled
            .saturating_sub(doubled / 4 * u32::try_from(hasher.finish() % 100).unwrap_or(0) / 100);
        match self.class {
            Class::RateLimited(Some(asked)) => asked.max(spread),
            Class::RateLimited(None)
            | Class::Transient
            | Class::Conflict
            | Class::Denied
            | Class::Invalid
            | Class::Bug => spread,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_grows_to_its_bound_and_never_shortens_what_was_asked() {
        let transient = Error::new(Class::Transient, Reason::NeonUnavailable, "x");
        let waits: Vec<_> = (1..=10).map(|n| transient.backoff(n, "seed")).collect();
        assert!(waits[0] >= Duration::from_millis(750) && waits[0] <= Duration::from_secs(1));
        assert!(waits.iter().all(|w| *w <= Duration::from_mins(1)));
        assert!(waits[9] >= Duration::from_secs(45));
        let asked = Error::new(
            Class::RateLimited(Some(Duration::from_mins(5))),
            Reason::RateLimited,
            "x",
        );
        assert_eq!(asked.backoff(1, "seed"), Duration::from_mins(5));
    }

    #[test]
    fn only_what_a_person_must_change_is_terminal() {
        let terminal = [Class::Denied, Class::Invalid, Class::Bug];
        let passing = [Class::Transient, Class::RateLimited(None), Class::Conflict];
        assert!(terminal.iter().all(|c| c.is_terminal()));
        assert!(!passing.iter().any(|c| c.is_terminal()));
    }
}
