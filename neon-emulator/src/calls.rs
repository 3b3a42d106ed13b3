//! The log of calls: which key asked for what, and what it was answered.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, PoisonError},
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// How many calls are kept.
const KEPT: usize = 10_000;

/// One call of the API. Also an item of `GET /_emulator/calls`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// When it came in.
    pub at: Timestamp,
    /// The name of the key that was presented, never the key; `None` where it was none of ours.
    pub key: Option<String>,
    /// Whose calls are counted with this one: the user's id, or the organization's.
    pub account: Option<String>,
    /// `GET`, `POST` and so on.
    pub method: String,
    /// Below the base path, without the query.
    pub path: String,
    /// Of the answer. One that a fault has cut off counts with the status that it would have had.
    pub status: u16,
}

/// The latest calls.
#[derive(Default)]
pub(crate) struct CallLog {
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    calls: VecDeque<Call>,
    /// By the key's id.
    last: BTreeMap<i64, Timestamp>,
}

impl CallLog {
    /// Notes a call, with the id of the key.
    pub(crate) fn note(&self, call: Call, key: Option<i64>) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(key) = key {
            kept.last.insert(key, call.at);
        }
        if kept.calls.len() == KEPT {
            kept.calls.pop_front();
        }
        kept.calls.push_back(call);
    }

    /// Those that are answered, in the order in which they came in.
    pub(crate) fn all(&self) -> Vec<Call> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let mut calls: Vec<Call> = kept.calls.iter().cloned().collect();
        calls.sort_by_key(|call| call.at);
        calls
    }

    /// When a key was last used since the start.
    pub(crate) fn last_use(&self, key: i64) -> Option<Timestamp> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.last.get(&key).copied()
    }
}
