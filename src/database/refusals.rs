//! Branches, read replicas and protection that Neon has refused, so that the same is asked for again now and then, and not at every look.
//! Losing it costs one more try.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};

use super::desired::Desired;
use crate::reconcile::{Block, Class, Error};

/// What was refused may be allowed one day, when the plan has changed.
const GOOD_FOR: SignedDuration = SignedDuration::from_mins(10);

/// The last refusal of each object.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    refused: Mutex<HashMap<String, Refusal>>,
}

#[derive(Debug)]
struct Refusal {
    generation: i64,
    at: Timestamp,
    why: Block,
}

impl Refusals {
    /// Why this very spec was refused a short while ago.
    pub(super) fn of(&self, desired: &Desired, now: Timestamp) -> Option<Block> {
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let refusal = refused.get(&desired.uid).filter(|refusal| {
            refusal.generation == desired.generation && now.duration_since(refusal.at) < GOOD_FOR
        })?;
        Some(refusal.why.clone())
    }

    /// Remembers an error that only a person can do something about.
    pub(super) fn remember(&self, desired: &Desired, error: &Error, now: Timestamp) {
        if error.class != Class::Invalid {
            return;
        }
        let refusal = Refusal {
            generation: desired.generation,
            at: now,
            why: Block {
                reason: error.reason,
                message: error.message.clone(),
            },
        };
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.retain(|_, refusal| now.duration_since(refusal.at) < GOOD_FOR);
        refused.insert(desired.uid.clone(), refusal);
    }

    /// Somebody wants it to be tried again.
    pub(super) fn forget(&self, uid: &str) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.remove(uid);
    }
}
