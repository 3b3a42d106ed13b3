//! Annotations that ask for something, and what was taken up of them. Pure.

use std::collections::BTreeMap;

use crate::api::{LONGEST_ANNOTATION, Looks, RECONCILE, RETRY};

/// What an annotation asks, cut to what a status can hold.
#[must_use]
pub fn asked(annotations: Option<&BTreeMap<String, String>>, key: &str) -> Option<String> {
    let text = annotations?.get(key)?.trim();
    Some(text.chars().take(LONGEST_ANNOTATION).collect())
}

/// What is asked, where that was not taken up yet. Removing an annotation asks for nothing.
#[must_use]
pub fn not_handled<'a>(asked: Option<&'a String>, handled: Option<&String>) -> Option<&'a String> {
    asked.filter(|_| asked != handled)
}

/// What the two annotations ask that every kind understands.
#[must_use]
pub fn looks(annotations: Option<&BTreeMap<String, String>>) -> Looks {
    Looks {
        reconcile: asked(annotations, RECONCILE),
        retry: asked(annotations, RETRY),
    }
}

/// Whether one of the two asks for something that was not taken up yet.
#[must_use]
pub fn looks_again(asked: &Looks, handled: &Looks) -> bool {
    not_handled(asked.reconcile.as_ref(), handled.reconcile.as_ref()).is_some()
        || not_handled(asked.retry.as_ref(), handled.retry.as_ref()).is_some()
}
