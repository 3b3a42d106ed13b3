//! First come, first served: how many passes run at once.
//!
//! The runtime's own concurrency limit picks among waiting objects at random and can starve some for ever, so it is
//! left unbounded and passes queue here.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The queue before a pass.
#[derive(Clone, Debug)]
pub struct Admission {
    permits: Arc<Semaphore>,
}

impl Admission {
    /// A queue that lets this many passes run at once.
    #[must_use]
    pub fn new(passes: usize) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(passes)),
        }
    }

    /// Waits for a turn; `None` once the queue is closed. The pass lasts as long as the permit.
    pub async fn enter(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.permits).acquire_owned().await.ok()
    }

    /// Sends everybody who waits away: the process is stopping.
    pub fn close(&self) {
        self.permits.close();
    }
}
