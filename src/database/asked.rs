//! What annotations ask of a NeonDatabase, beside its spec. Pure.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use crate::api::{ABANDON, EXTEND, Handled, RECONCILE, RESET, RETRY};
use crate::reconcile::{asked, not_handled};

/// The annotations' values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Look now.
    pub reconcile: Option<String>,
    /// Try again what was refused.
    pub retry: Option<String>,
    /// Live until then.
    pub extend: Option<String>,
    /// Go back to the parent's state: branch and time of asking.
    pub reset: Option<String>,
    /// Leave the branch of this id, of an object that is being deleted.
    pub abandon: Option<String>,
}

impl Asked {
    /// Reads the annotations of an object.
    #[must_use]
    pub fn of(annotations: Option<&BTreeMap<String, String>>) -> Self {
        let value = |key| asked(annotations, key);
        Self {
            reconcile: value(RECONCILE),
            retry: value(RETRY),
            extend: value(EXTEND),
            reset: value(RESET),
            abandon: value(ABANDON),
        }
    }

    /// Whether somebody wants everything to be looked at anew.
    #[must_use]
    pub fn looks_again(&self, handled: &Handled) -> bool {
        not_handled(self.reconcile.as_ref(), handled.reconcile.as_ref()).is_some()
            || self.retries(handled)
    }

    /// Whether somebody wants what was refused to be tried again.
    #[must_use]
    pub fn retries(&self, handled: &Handled) -> bool {
        not_handled(self.retry.as_ref(), handled.retry.as_ref()).is_some()
    }

    /// A time to live until that was not taken up yet.
    #[must_use]
    pub fn extension(&self, handled: &Handled) -> Option<&String> {
        not_handled(self.extend.as_ref(), handled.extend.as_ref())
    }

    /// A request to reset the branch that was not taken up yet.
    #[must_use]
    pub fn reset(&self, handled: &Handled) -> Option<&String> {
        not_handled(self.reset.as_ref(), handled.reset.as_ref())
    }

    /// The branch to leave, where that was not said before the object was deleted.
    #[must_use]
    pub fn abandonment(&self, handled: &Handled) -> Option<&String> {
        not_handled(self.abandon.as_ref(), handled.abandon.as_ref())
    }

    /// What was taken up and means nothing, in words, as long as the annotation says it still.
    #[must_use]
    pub fn ignored<'a>(&self, handled: &'a Handled) -> Option<&'a str> {
        let ignored = handled.ignored.as_deref()?;
        let says = |(annotation, value): (&str, &Option<String>)| {
            let value = value.as_ref();
            value.is_some_and(|value| ignored.starts_with(&format!("{annotation}: {value}")))
        };
        let still = [
            (EXTEND, &self.extend),
            (RESET, &self.reset),
            (ABANDON, &self.abandon),
        ];
        still.into_iter().any(says).then_some(ignored)
    }
}

/// As far ahead as a branch is let live by an annotation: whoever wants more has a word for it in the spec.
const LONGEST_EXTENSION: SignedDuration = SignedDuration::from_hours(366 * 24);

/// Until when a value of `sepulki.dev/extend` lets a branch live whose maxAge is over at `end`, or why it means nothing, in
/// words. A branch without an end lives for ever.
pub fn extension(
    extend: &str,
    end: Option<Timestamp>,
    now: Timestamp,
) -> Result<Timestamp, String> {
    let Ok(asked) = extend.parse::<Timestamp>() else {
        return Err(
            "is not a time in the form of RFC 3339 such as 2026-12-24T18:00:00Z".to_owned(),
        );
    };
    let Some(end) = end else {
        return Err(
            "changes nothing: this branch has no maxAge, and lives as long as its object"
                .to_owned(),
        );
    };
    if asked <= now {
        Err("is in the past".to_owned())
    } else if asked.duration_since(now) > LONGEST_EXTENSION {
        Err("is more than a year ahead: set spec.branch.maxAge to more, or to never".to_owned())
    } else if asked <= end {
        Err(format!("changes nothing: the branch may live until {end}"))
    } else {
        Ok(asked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::LONGEST_ANNOTATION;

    #[test]
    fn a_value_is_new_until_it_was_taken_up() {
        let annotations = |value: &str| BTreeMap::from([(RETRY.to_owned(), value.to_owned())]);
        let asked = Asked::of(Some(&annotations("1")));
        let mut handled = Handled::default();
        assert!(asked.retries(&handled) && asked.looks_again(&handled));
        handled.retry.clone_from(&asked.retry);
        assert!(!asked.retries(&handled) && !asked.looks_again(&handled));
        assert!(Asked::of(Some(&annotations("2"))).retries(&handled));
        // removing it asks for nothing
        assert!(!Asked::of(None).looks_again(&handled));
    }

    #[test]
    fn a_long_value_is_cut_to_what_the_status_holds() {
        let long = "ä".repeat(LONGEST_ANNOTATION + 1);
        let asked = Asked::of(Some(&BTreeMap::from([(EXTEND.to_owned(), long)])));
        assert_eq!(asked.extend.unwrap().chars().count(), LONGEST_ANNOTATION);
    }

    #[test]
    fn an_extension_has_to_change_something() {
        let at = |text: &str| -> Timestamp { text.parse().unwrap() };
        let (now, end) = (at("2026-12-01T00:00:00Z"), at("2026-12-08T00:00:00Z"));
        for (asked, end, part) in [
            ("2026-12-24T18:00:00Z", Some(end), None),
            // when its time is over already
            (
                "2026-12-02T00:00:00Z",
                Some(at("2026-11-01T00:00:00Z")),
                None,
            ),
            ("2027-12-02T00:00:00Z", Some(end), None),
            ("2027-12-02T00:00:01Z", Some(end), Some("more than a year")),
            ("9999-01-01T00:00:00Z", Some(end), Some("more than a year")),
            ("2026-12-01T00:00:00Z", Some(end), Some("past")),
            (
                "2026-12-08T00:00:00Z",
                Some(end),
                Some("until 2026-12-08T00:00:00Z"),
            ),
            ("2026-12-24T18:00:00Z", None, Some("no maxAge")),
            ("2026-12-24T18:00:00+01:00", Some(end), None),
            ("2026-12-24", Some(end), Some("RFC 3339")),
            ("14d", Some(end), Some("RFC 3339")),
            ("", Some(end), Some("RFC 3339")),
        ] {
            match (extension(asked, end, now), part) {
                (Ok(time), None) => assert_eq!(time, at(asked)),
                (Err(told), Some(part)) => assert!(told.contains(part), "{told}"),
                (told, part) => panic!("{asked}: {told:?}, not {part:?}"),
            }
        }
    }
}
