//! When each Secret was last found to be as it should be, so that a settled one is read every ten minutes and no more.
//! Losing it costs one read each.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};

use super::credentials::Form;
use super::desired::Desired;

/// How long a look at a Secret is good for.
const GOOD_FOR: SignedDuration = SignedDuration::from_mins(10);

/// The last good look at each Secret.
#[derive(Debug, Default)]
pub(super) struct Checked {
    looks: Mutex<HashMap<(String, String), (String, Timestamp)>>,
}

impl Checked {
    /// Whether the Secret was found to be of this form a short while ago, and the spec has not changed since.
    pub(super) fn is_recent(&self, desired: &Desired, form: &Form, now: Timestamp) -> bool {
        let looks = self.looks.lock().unwrap_or_else(PoisonError::into_inner);
        looks
            .get(&(desired.uid.clone(), form.name.clone()))
            .is_some_and(|(look, at)| {
                *look == self::look(desired, form) && now.duration_since(*at) < GOOD_FOR
            })
    }

    /// Somebody wants the Secrets of an object to be looked at anew.
    pub(super) fn forget(&self, object: &str) {
        let mut looks = self.looks.lock().unwrap_or_else(PoisonError::into_inner);
        looks.retain(|(uid, _), _| uid != object);
    }

    /// The Secret was just found to be of this form.
    pub(super) fn remember(&self, desired: &Desired, form: &Form, now: Timestamp) {
        let mut looks = self.looks.lock().unwrap_or_else(PoisonError::into_inner);
        looks.retain(|_, (_, at)| now.duration_since(*at) < GOOD_FOR * 2);
        let key = (desired.uid.clone(), form.name.clone());
        looks.insert(key, (look(desired, form), now));
    }
}

/// What was looked for. Whoever changes the spec expects a look, whatever the change.
fn look(desired: &Desired, form: &Form) -> String {
    format!("{} {}", desired.generation, form.digest())
}
