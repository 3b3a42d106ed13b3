//! Who may change a project: one after the other, in the order in which they came.
//!
//! Neon locks a project while operations run, so a turn lasts until those of its mutation have ended. That is heard from
//! whoever asks how they stand; where nobody asks, Neon itself says whether the project is free.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, OwnedMutexGuard, Semaphore};
use tokio::time::{Instant, timeout_at};

use super::pacing::stopwatch;
use super::{ChangedEndpoint, CreatedBranch, Operation, OperationId, ProjectId, UpdatedProject};

/// What a mutation is answered with.
pub trait TakenOn {
    /// What Neon goes on working on.
    fn running(&self) -> Vec<OperationId>;
}

/// How many mutations of one project may be under way or waiting for their turn.
pub(super) const LONGEST_QUEUE: usize = 4;

/// How many may wait for their turn in all projects together. Each waits inside of a pass, and passes are a limited
/// number: those that find out that operations have ended need them, too.
pub(super) const MOST_WAITING: usize = 16;

/// How long operations of which nothing is heard keep others waiting.
pub(super) const UNHEARD: Duration = Duration::from_secs(10);

/// One queue per project.
pub(super) struct ProjectQueues {
    queues: Mutex<HashMap<ProjectId, Arc<Queue>>>,
    waiting: Semaphore,
}

impl Default for ProjectQueues {
    fn default() -> Self {
        Self {
            queues: Mutex::default(),
            waiting: Semaphore::new(MOST_WAITING),
        }
    }
}

#[derive(Default)]
struct Queue {
    turn: Arc<tokio::sync::Mutex<()>>,
    /// What runs, and until when that keeps others waiting.
    running: Mutex<Vec<(OperationId, Instant)>>,
    /// Whether the last change was locked out however often it was tried.
    locked_out: AtomicBool,
    changed: Notify,
}

/// The right to change a project.
pub(super) struct Turn {
    queue: Arc<Queue>,
    _guard: OwnedMutexGuard<()>,
}

impl ProjectQueues {
    /// The next turn; none where the queue is full.
    pub(super) async fn turn(&self, project: &ProjectId) -> Option<Turn> {
        let queue = {
            let mut queues = lock(&self.queues);
            let queue = queues.entry(project.clone()).or_default();
            // one is the map's own, each of the others is a caller's who waits or has the turn
            (Arc::strong_count(queue) <= LONGEST_QUEUE).then(|| Arc::clone(queue))
        }?;
        let turn = Arc::clone(&queue.turn);
        let guard = if let Ok(guard) = Arc::clone(&turn).try_lock_owned()
            && queue.is_free()
        {
            guard
        } else {
            let _waits = self.waiting.try_acquire().ok()?;
            let guard = turn.lock_owned().await;
            queue.until_free().await;
            guard
        };
        Some(Turn {
            queue,
            _guard: guard,
        })
    }

    /// An operation has ended.
    pub(super) fn ended(&self, project: &ProjectId, operation: &OperationId) {
        let queue = lock(&self.queues).get(project).cloned();
        if let Some(queue) = queue {
            lock(&queue.running).retain(|(id, _)| id != operation);
            queue.changed.notify_waiters();
        }
    }
}

impl Queue {
    /// When the last operation ends at the latest, as far as others are concerned; none where nothing runs.
    fn busy_until(&self) -> Option<Instant> {
        let now = stopwatch();
        let mut running = lock(&self.running);
        running.retain(|(_, until)| *until > now);
        running.iter().map(|(_, until)| *until).max()
    }

    fn is_free(&self) -> bool {
        self.busy_until().is_none()
    }

    async fn until_free(&self) {
        loop {
            let changed = self.changed.notified();
            let mut changed = std::pin::pin!(changed);
            // from here on no change is missed
            changed.as_mut().enable();
            let Some(until) = self.busy_until() else {
                return;
            };
            // whichever comes first, it is looked at again
            let _ = timeout_at(until, changed).await;
        }
    }
}

impl Turn {
    /// Whether the one before was locked out however often it tried: Neon is long at work for somebody else, and one try
    /// tells whether it still is.
    pub(super) fn follows_a_locked_out(&self) -> bool {
        self.queue.locked_out.load(Ordering::Relaxed)
    }

    /// How it went, for the next.
    pub(super) fn was_locked_out(&self, locked_out: bool) {
        self.queue.locked_out.store(locked_out, Ordering::Relaxed);
    }

    /// The turn is over when these have ended.
    pub(super) fn goes_on_until(self, operations: Vec<OperationId>) {
        let until = stopwatch() + UNHEARD;
        let mut running = lock(&self.queue.running);
        running.extend(operations.into_iter().map(|id| (id, until)));
    }
}

impl TakenOn for Vec<Operation> {
    fn running(&self) -> Vec<OperationId> {
        let running = self.iter().filter(|o| !o.status.is_terminal());
        running.map(|operation| operation.id.clone()).collect()
    }
}

impl TakenOn for CreatedBranch {
    fn running(&self) -> Vec<OperationId> {
        self.operations.running()
    }
}

impl TakenOn for ChangedEndpoint {
    fn running(&self) -> Vec<OperationId> {
        self.operations.running()
    }
}

impl TakenOn for UpdatedProject {
    fn running(&self) -> Vec<OperationId> {
        self.operations.running()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
impl TakenOn for () {
    fn running(&self) -> Vec<OperationId> {
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    const P: &str = "p";

    /// Takes a turn and leaves this running; answers when it came.
    async fn change(queues: &ProjectQueues, began: Instant, leaves: &[&str]) -> Option<Duration> {
        let turn = queues.turn(&P.into()).await?;
        let came = began.elapsed();
        turn.goes_on_until(leaves.iter().map(|id| OperationId::from(*id)).collect());
        Some(came)
    }

    #[tokio::test(start_paused = true)]
    async fn the_next_goes_when_the_operations_of_the_one_before_have_ended() {
        let queues = ProjectQueues::default();
        let began = stopwatch();
        let ends = async {
            sleep(Duration::from_secs(2)).await;
            queues.ended(&P.into(), &"op-a".into());
            sleep(Duration::from_secs(1)).await;
            queues.ended(&P.into(), &"op-b".into());
        };
        let (one, two, three, ()) = tokio::join!(
            change(&queues, began, &["op-a", "op-b"]),
            change(&queues, began, &["op-c"]),
            change(&queues, began, &[]),
            ends
        );
        let seconds = [one, two, three].map(|came| came.unwrap().as_secs());
        // nobody tells of the third operation
        assert_eq!(seconds, [0, 3, 3 + UNHEARD.as_secs()]);
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_wait_than_leave_passes_for_those_that_are_waited_for() {
        let queues = ProjectQueues::default();
        let projects: Vec<ProjectId> = (0..MOST_WAITING)
            .map(|n| format!("p{n}").as_str().into())
            .collect();
        let mut turns = Vec::new();
        for project in &projects {
            turns.push(queues.turn(project).await.unwrap());
        }
        let waiting = futures::future::join_all(projects.iter().map(|p| queues.turn(p)));
        let late = async {
            let late = queues.turn(&projects[0]).await;
            drop(turns);
            late.is_none()
        };
        let (all, refused) = tokio::join!(waiting, late);
        assert!(all.iter().all(Option::is_some));
        assert!(refused);
    }
}
