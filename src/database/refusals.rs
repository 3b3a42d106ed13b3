//! What Neon has refused, so that the same is asked for again now and then, and not at every look. Losing it costs one more
//! try.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};

use super::desired::{Database, Desired};
use crate::reconcile::{Block, Error};

/// What was refused may be allowed one day, when something else of the project or the plan has changed.
const GOOD_FOR: SignedDuration = SignedDuration::from_mins(10);

/// What a server says changes with its version and extensions, and to ask it wakes it.
const TOLD_BY_SERVER: SignedDuration = SignedDuration::from_hours(24);

/// What only a profile wants and the plan has not is left out, and nobody has to do anything about it: an object at rest does
/// not keep asking.
pub(super) const LEFT_OUT: SignedDuration = SignedDuration::from_hours(24);

/// What can be refused. Only the first holds everything else up.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Refused {
    /// The branch with its compute.
    Branch,
    /// A read replica.
    Replica,
    /// The lease of the branch.
    Lease,
    /// The name of the branch.
    Name,
    /// Protection of the branch.
    Protection,
    /// A setting of the compute.
    Setting {
        /// Its name.
        name: String,
        /// Its value.
        value: String,
    },
    /// A database, or the role that is to own it.
    Database {
        /// Its name.
        name: String,
        /// Its owner.
        owner: String,
    },
}

impl Refused {
    /// A database that is to be made.
    pub(super) fn database(database: &Database) -> Self {
        Self::Database {
            name: database.name.clone(),
            owner: database.owner_if_new(),
        }
    }

    /// How long it is left at that, where nothing else is known.
    pub(super) fn good_for(&self) -> SignedDuration {
        match self {
            Self::Setting { .. } => TOLD_BY_SERVER,
            Self::Branch
            | Self::Replica
            | Self::Lease
            | Self::Name
            | Self::Protection
            | Self::Database { .. } => GOOD_FOR,
        }
    }
}

/// The last refusals of each object, by its uid.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    refused: Mutex<HashMap<(String, Refused), Refusal>>,
}

#[derive(Debug)]
struct Refusal {
    generation: i64,
    /// Until when it is left at that.
    until: Timestamp,
    why: Block,
}

impl Refusals {
    /// Why this very spec was refused a short while ago.
    pub(super) fn of(&self, desired: &Desired, what: Refused, now: Timestamp) -> Option<Block> {
        let refused = self.lock();
        let key = (desired.uid.clone(), what);
        let refusal = refused
            .get(&key)
            .filter(|refusal| refusal.generation == desired.generation && now < refusal.until)?;
        Some(refusal.why.clone())
    }

    /// The databases of this very spec that were refused a short while ago, and why. Asked at every step of every object.
    pub(super) fn databases(&self, desired: &Desired, now: Timestamp) -> BTreeMap<String, Block> {
        if self.lock().is_empty() {
            return BTreeMap::new();
        }
        let rest = desired.rest.iter();
        let refused = rest
            .flat_map(|rest| &rest.databases)
            .filter_map(|database| {
                let why = self.of(desired, Refused::database(database), now)?;
                Some((database.name.clone(), why))
            });
        refused.collect()
    }

    /// The settings of this very spec that a server has refused, and why. Asked at every step of every object.
    pub(super) fn settings(&self, desired: &Desired, now: Timestamp) -> BTreeMap<String, Block> {
        if self.lock().is_empty() {
            return BTreeMap::new();
        }
        let asked = desired.rest.iter().flat_map(|rest| &rest.compute.settings);
        let refused = asked.filter_map(|(name, value)| {
            let (name, value) = (name.clone(), value.clone());
            let what = Refused::Setting {
                name: name.clone(),
                value,
            };
            Some((name, self.of(desired, what, now)?))
        });
        refused.collect()
    }

    /// Remembers an error that only a person can do something about; it is left at that until then.
    pub(super) fn remember(
        &self,
        desired: &Desired,
        what: Refused,
        error: &Error,
        until: Timestamp,
        now: Timestamp,
    ) {
        let refusal = Refusal {
            generation: desired.generation,
            until,
            why: Block {
                reason: error.reason,
                message: error.message.clone(),
            },
        };
        let mut refused = self.lock();
        refused.retain(|_, refusal| now < refusal.until);
        refused.insert((desired.uid.clone(), what), refusal);
    }

    /// Somebody wants it to be tried again.
    pub(super) fn forget(&self, uid: &str) {
        self.lock().retain(|(of, _), _| of != uid);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(String, Refused), Refusal>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
