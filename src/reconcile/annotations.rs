//! Annotations that ask for something, and what was taken up of them. Pure.

use std::collections::BTreeMap;

use crate::api::LONGEST_ANNOTATION;

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
