//! The branch lock: while a migration runs nothing else touches its branch.
//!
//! Held in the process, per branch id: shared by migrations (one per database), exclusive for what a NeonDatabase does
//! to the branch. It is tried and never waited for, so nobody holds a pass while waiting.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};

/// Proof that nobody else touches the branch.
pub type ExclusiveLock = OwnedRwLockWriteGuard<()>;

/// Proof that only migrations touch the branch.
pub type SharedLock = OwnedRwLockReadGuard<()>;

/// The locks of all branches.
#[derive(Clone, Debug, Default)]
pub struct BranchLocks {
    branches: Arc<Mutex<HashMap<String, Arc<RwLock<()>>>>>,
}

impl BranchLocks {
    /// The lock for everything but migrations; `None` while anybody holds the branch.
    #[must_use]
    pub fn exclusive(&self, branch: &str) -> Option<ExclusiveLock> {
        self.lock_of(branch).try_write_owned().ok()
    }

    /// The lock for a migration; `None` while the branch is being changed.
    #[must_use]
    pub fn shared(&self, branch: &str) -> Option<SharedLock> {
        self.lock_of(branch).try_read_owned().ok()
    }

    fn lock_of(&self, branch: &str) -> Arc<RwLock<()>> {
        let mut branches = self.branches.lock().unwrap_or_else(PoisonError::into_inner);
        // a lock that only the map holds is free and belongs to a branch nobody is using
        branches.retain(|id, lock| id == branch || Arc::strong_count(lock) > 1);
        Arc::clone(branches.entry(branch.to_owned()).or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn migrations_share_a_branch_and_exclude_everything_else() {
        let locks = BranchLocks::default();
        let one = locks.shared("br-a");
        let two = locks.shared("br-a");
        assert!(one.is_some() && two.is_some());
        assert!(locks.exclusive("br-a").is_none());
        assert!(locks.exclusive("br-b").is_some());
        drop((one, two));
        let change = locks.exclusive("br-a");
        assert!(change.is_some());
        assert!(locks.shared("br-a").is_none());
        drop(change);
        assert!(locks.shared("br-a").is_some());
    }
}
