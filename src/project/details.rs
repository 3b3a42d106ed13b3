//! What Neon last told of each project itself, so that it is asked once an hour and no more. Losing it costs one call.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};

use crate::clock::age;
use crate::neon::{Account, Project};

/// How long an answer is good for.
const GOOD_FOR: SignedDuration = SignedDuration::from_hours(1);

/// The last answer about each object's project.
#[derive(Default)]
pub(super) struct Details {
    looks: Mutex<HashMap<String, Look>>,
}

struct Look {
    /// Another version of the spec is a reason to look again, and so is another key.
    generation: i64,
    account: Arc<Account>,
    at: Timestamp,
    project: Project,
}

impl Details {
    /// What is known of the project of this object, if that will still do.
    pub(super) fn known(
        &self,
        uid: &str,
        generation: i64,
        account: &Arc<Account>,
        now: Timestamp,
    ) -> Option<Project> {
        let looks = self.looks.lock().unwrap_or_else(PoisonError::into_inner);
        let look = looks.get(uid).filter(|look| {
            look.generation == generation
                && Arc::ptr_eq(&look.account, account)
                && age(look.at, now).is_some_and(|age| age < GOOD_FOR)
        })?;
        Some(look.project.clone())
    }

    /// This was just told.
    pub(super) fn remember(
        &self,
        uid: &str,
        generation: i64,
        account: &Arc<Account>,
        project: &Project,
        now: Timestamp,
    ) {
        let look = Look {
            generation,
            account: Arc::clone(account),
            at: now,
            project: project.clone(),
        };
        let mut looks = self.looks.lock().unwrap_or_else(PoisonError::into_inner);
        looks.insert(uid.to_owned(), look);
    }

    /// Something may have changed, or the object is gone.
    pub(super) fn forget(&self, uid: &str) {
        let mut looks = self.looks.lock().unwrap_or_else(PoisonError::into_inner);
        looks.remove(uid);
    }
}
