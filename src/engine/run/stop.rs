//! The two reasons to end a run from outside: the caller says so, or its time is up.

use std::{future::Future, pin::Pin, time::Duration};

use tokio::time::{Sleep, sleep};
use tokio_util::sync::CancellationToken;

use super::RunError;

pub(super) struct Stop {
    cancel: CancellationToken,
    deadline: Pin<Box<Sleep>>,
    allowed: Duration,
}

impl Stop {
    pub(super) fn new(cancel: CancellationToken, deadline: Duration) -> Self {
        Self {
            cancel,
            deadline: Box::pin(sleep(deadline)),
            allowed: deadline,
        }
    }

    /// Waits until the run has to end and says why.
    pub(super) async fn requested(&mut self) -> RunError {
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => RunError::Cancelled,
            () = &mut self.deadline => {
                RunError::DeadlineExceeded(format!("the run did not end within {:?}", self.allowed))
            }
        }
    }

    /// Does `work` unless the run has to end; only for work that may be dropped half-way.
    pub(super) async fn or<T>(
        &mut self,
        work: impl Future<Output = Result<T, RunError>>,
    ) -> Result<T, RunError> {
        tokio::select! {
            biased;
            reason = self.requested() => Err(reason),
            result = work => result,
        }
    }
}
