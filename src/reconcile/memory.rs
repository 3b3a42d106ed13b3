//! What the process remembers of an object between passes; losing it costs nothing but time.
//!
//! The object as it was last written matters because a watch lags behind our own writes: a pass that started from the
//! watch's older copy would only find out by a conflict.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// Memory of all objects of one kind, by uid.
#[derive(Debug)]
pub struct Memory<O> {
    entries: Mutex<HashMap<String, Entry<O>>>,
}

#[derive(Debug)]
struct Entry<O> {
    generation: i64,
    attempts: u32,
    /// Apart, for it is there for a moment and the entry for as long as the object.
    latest: Option<(u64, Box<O>)>,
}

impl<O> Default for Memory<O> {
    fn default() -> Self {
        Self {
            entries: Mutex::default(),
        }
    }
}

impl<O: Clone> Memory<O> {
    /// The newer of the watch's copy and the one last written. Once the watch has caught up its copy is the only one.
    pub fn freshest(&self, uid: &str, version: u64, seen: O) -> O {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(entry) = entries.get_mut(uid) else {
            return seen;
        };
        match &entry.latest {
            Some((written, latest)) if *written > version => latest.as_ref().clone(),
            Some(_) | None => {
                entry.latest = None;
                seen
            }
        }
    }

    /// Remembers how a pass ended and what it wrote, if anything; answers the number of failures in a row, this one included.
    pub fn ended(&self, uid: &str, generation: i64, failed: bool, latest: Option<(u64, O)>) -> u32 {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = entries.entry(uid.to_owned()).or_insert(Entry {
            generation,
            attempts: 0,
            latest: None,
        });
        if entry.generation != generation || !failed {
            entry.attempts = 0;
        }
        entry.generation = generation;
        entry.attempts = entry.attempts.saturating_add(u32::from(failed));
        if let Some((written, latest)) = latest {
            entry.latest = Some((written, Box::new(latest)));
        }
        entry.attempts
    }

    /// How often in a row passes over this object and generation have failed.
    pub fn failures(&self, uid: &str, generation: i64) -> u32 {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries
            .get(uid)
            .filter(|entry| entry.generation == generation)
            .map_or(0, |entry| entry.attempts)
    }

    /// Forgets an object that is gone.
    pub fn forget(&self, uid: &str) {
        self.entries
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(uid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_count_in_a_row_and_per_generation() {
        let memory = Memory::<&str>::default();
        assert_eq!(memory.ended("u", 1, true, None), 1);
        assert_eq!(memory.ended("u", 1, true, None), 2);
        assert_eq!(memory.failures("u", 1), 2);
        assert_eq!(memory.failures("u", 2), 0);
        assert_eq!(memory.ended("u", 2, true, None), 1);
        assert_eq!(memory.ended("u", 2, false, None), 0);
    }

    #[test]
    fn our_own_write_wins_over_an_older_copy_and_loses_to_a_newer_one() {
        let memory = Memory::default();
        memory.ended("u", 1, false, Some((7, "written")));
        assert_eq!(memory.freshest("u", 6, "older"), "written");
        assert_eq!(memory.freshest("u", 8, "newer"), "newer");
        memory.ended("u", 1, false, Some((9, "written again")));
        memory.forget("u");
        assert_eq!(memory.freshest("u", 6, "older"), "older");
    }

    #[test]
    fn an_object_of_which_nothing_is_kept_takes_no_room() {
        assert!(size_of::<Entry<[u8; 4096]>>() <= 48);
    }

    #[test]
    fn no_copy_is_kept_of_what_the_watch_knows() {
        let memory = Memory::default();
        let object = std::sync::Arc::new(());
        memory.ended("u", 1, true, Some((7, object.clone())));
        // a pass that writes nothing does not lose what an earlier one wrote
        memory.ended("u", 1, true, None);
        assert_eq!(std::sync::Arc::strong_count(&object), 2);
        drop(memory.freshest("u", 7, object.clone()));
        assert_eq!(std::sync::Arc::strong_count(&object), 1);
        assert_eq!(memory.failures("u", 1), 2);
    }
}
