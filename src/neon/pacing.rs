//! How politely Neon is called: what waits, what is repeated, and what never is.
//!
//! | answer | read | mutation |
//! |---|---|---|
//! | 423 | – | repeated, 250 ms to 5 s apart, 12 times in all; then [`ErrorKind::Locked`], and the project's next change is tried once until one gets through |
//! | 429 | the whole account pauses for `Retry-After`, then repeated, 4 times in all; a pause of more than 10 s is left to the caller | the same: nothing was done |
//! | 502, 503, 504, no answer | repeated, 4 times in all | never: it may have been done, so the caller looks first |
//! | anything else | returned | returned |
//!
//! Neon allows 700 calls a minute and account and locks a project while its operations run. So every attempt takes
//! a permit of the account's budget (`budget`: first what deletes or makes branches, looks last), and the mutations of one project stand in one queue ([`ProjectQueues`]), in
//! which the next one goes when the operations of the one before have ended.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::budget::{Budget, Rank};
use super::budgets::{Budgets, KeyBudget};
use super::queues::{ProjectQueues, TakenOn};
use super::{Error, ErrorKind, Operation, OperationId, ProjectId, Result};

/// The rules' figures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PacingRules {
    /// Calls that may begin within any one second. 8 is 480 a minute of Neon's 700.
    pub calls_per_second: usize,
    /// Waits between tries of a mutation that a running operation locks out (423).
    pub locked: Backoff,
    /// Waits between tries of a read that failed, and after a 429 without `Retry-After`.
    pub failed: Backoff,
    /// Longest pause that a `Retry-After` may ask for.
    pub longest_pause: Duration,
    /// Longest pause whose end a call waits for. It waits inside of a pass, and passes are a limited number: those of
    /// other accounts need them, too.
    pub patience: Duration,
}

impl Default for PacingRules {
    fn default() -> Self {
        Self {
            calls_per_second: 8,
            locked: Backoff {
                first: Duration::from_millis(250),
                longest: Duration::from_secs(5),
                tries: 12,
            },
            failed: Backoff {
                first: Duration::from_millis(500),
                longest: Duration::from_secs(4),
                tries: 4,
            },
            longest_pause: Duration::from_mins(5),
            patience: Duration::from_secs(10),
        }
    }
}

/// Growing waits: each twice as long as the one before, up to the longest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// Longest wait after the first try.
    pub first: Duration,
    /// No wait is longer.
    pub longest: Duration,
    /// Tries in all.
    pub tries: u32,
}

impl Backoff {
    /// The upper bound of the wait after this many failed tries; none when there is no further try.
    fn after(&self, failed: u32) -> Option<Duration> {
        (failed < self.tries).then(|| {
            let doublings = failed.saturating_sub(1).min(31);
            self.first
                .saturating_mul(1_u32 << doublings)
                .min(self.longest)
        })
    }
}

/// Whether a call changes something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    Read,
    Mutation,
    /// Of a project that has been locked for long.
    MutationOfLocked,
}

/// What follows a failed try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// Give the error to the caller.
    Return,
    /// Try again after a random part of this.
    RetryWithin(Duration),
    /// Nobody of this account calls for so long; then try again.
    PauseAccount(Duration),
    /// Nobody of this account calls for so long, and the caller gets the error.
    PauseAccountAndReturn(Duration),
}

/// The table above. `failed` counts the tries so far.
fn next(rules: &PacingRules, effect: Effect, error: &Error, failed: u32) -> Next {
    match error.kind {
        ErrorKind::Locked => match (effect, rules.locked.after(failed)) {
            (Effect::Read | Effect::Mutation, Some(wait)) => Next::RetryWithin(wait),
            (Effect::MutationOfLocked, _) | (_, None) => Next::Return,
        },
        ErrorKind::RateLimited => {
            let wait = rules.failed.after(failed);
            let pause = error
                .retry_after
                .or(wait)
                .unwrap_or(rules.failed.longest)
                .min(rules.longest_pause);
            match wait {
                Some(_) if pause <= rules.patience => Next::PauseAccount(pause),
                Some(_) | None => Next::PauseAccountAndReturn(pause),
            }
        }
        ErrorKind::Server if !matches!(error.status, Some(502..=504)) => Next::Return,
        ErrorKind::Server | ErrorKind::Lost => match (effect, rules.failed.after(failed)) {
            (Effect::Read, Some(wait)) => Next::RetryWithin(wait),
            (Effect::Read, None) | (Effect::Mutation | Effect::MutationOfLocked, _) => Next::Return,
        },
        ErrorKind::Denied
        | ErrorKind::NotFound
        | ErrorKind::Conflict
        | ErrorKind::Protected
        | ErrorKind::HasChildren
        | ErrorKind::Limit
        | ErrorKind::PasswordsNotStored
        | ErrorKind::Rejected
        | ErrorKind::NotReady => Next::Return,
    }
}

/// Manners that all keys share: the queues of projects, for two keys may reach the same one, and the budgets of the
/// accounts that are known.
#[derive(Clone, Default)]
pub struct Manners {
    rules: PacingRules,
    budgets: Arc<Budgets>,
    queues: Arc<ProjectQueues>,
}

impl Manners {
    /// By these rules.
    #[must_use]
    pub fn new(rules: PacingRules) -> Self {
        Self {
            rules,
            ..Self::default()
        }
    }

    /// Those of another key: with a budget of its own until it is known whose the key is.
    #[must_use]
    pub fn of_a_key(&self) -> Pacing {
        let own = Budget::new(self.rules.calls_per_second);
        Pacing {
            budget: KeyBudget::new(own, Arc::clone(&self.budgets)),
            rules: self.rules.clone(),
            queues: Arc::clone(&self.queues),
        }
    }
}

/// The manners of one key.
pub struct Pacing {
    rules: PacingRules,
    budget: KeyBudget,
    queues: Arc<ProjectQueues>,
}

impl Pacing {
    /// The key is of this account, and shares its budget from now on.
    pub fn belongs_to(&self, account: &str) {
        self.budget.belongs_to(account);
    }

    /// Makes a call that changes nothing. Each attempt is told how long the budget held it back.
    pub async fn read<T, A, F>(&self, attempt: A) -> Result<T>
    where
        A: Fn(Duration) -> F + Send + Sync,
        F: Future<Output = Result<T>> + Send,
    {
        self.repeat(Effect::Read, Rank::Look, attempt).await
    }

    /// Makes a call that changes something, when it is its turn in the project's queue. It keeps its place while
    /// it waits for the project to become free, and it is over for the others when its operations are: see
    /// [`Pacing::heard`]. Where too many stand in the queue already it is [`ErrorKind::Locked`] at once.
    pub async fn mutate<T, A, F>(&self, project: &ProjectId, rank: Rank, attempt: A) -> Result<T>
    where
        T: TakenOn,
        A: Fn(Duration) -> F + Send + Sync,
        F: Future<Output = Result<T>> + Send,
    {
        let turn = self.queues.turn(project).await.ok_or_else(queue_is_full)?;
        let effect = if turn.follows_a_locked_out() {
            Effect::MutationOfLocked
        } else {
            Effect::Mutation
        };
        let answer = self.repeat(effect, rank, attempt).await;
        turn.was_locked_out(matches!(&answer, Err(error) if error.kind == ErrorKind::Locked));
        let answer = answer?;
        turn.goes_on_until(answer.running());
        Ok(answer)
    }

    /// Somebody has asked how an operation stands: one that has ended no longer keeps others waiting, and neither does
    /// one that Neon no longer knows.
    pub fn heard(&self, project: &ProjectId, operation: &OperationId, told: &Result<Operation>) {
        let ended = match told {
            Ok(operation) => operation.status.is_terminal(),
            Err(error) => error.kind == ErrorKind::NotFound,
        };
        if ended {
            self.queues.ended(project, operation);
        }
    }

    async fn repeat<T, A, F>(&self, effect: Effect, rank: Rank, attempt: A) -> Result<T>
    where
        A: Fn(Duration) -> F + Send + Sync,
        F: Future<Output = Result<T>> + Send,
    {
        let mut failed = 0;
        loop {
            let asked = stopwatch();
            let budget = self.budget.present();
            budget
                .take(rank, self.rules.patience)
                .await
                .map_err(account_pauses)?;
            let error = match attempt(asked.elapsed()).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            failed += 1;
            match next(&self.rules, effect, &error, failed) {
                Next::Return => return Err(error),
                Next::RetryWithin(wait) => {
                    tokio::time::sleep(wait.mul_f64(rand::random::<f64>())).await;
                }
                Next::PauseAccount(pause) => budget.pause(pause),
                Next::PauseAccountAndReturn(pause) => {
                    budget.pause(pause);
                    return Err(Error {
                        retry_after: Some(pause),
                        ..error
                    });
                }
            }
        }
    }
}

fn queue_is_full() -> Error {
    Error::without_answer(
        ErrorKind::Locked,
        "too many other changes to the project are waiting already",
    )
}

/// Says nothing of how long, so that a condition that shows it stays as it is.
fn account_pauses(left: Duration) -> Error {
    Error {
        retry_after: Some(left),
        ..Error::without_answer(
            ErrorKind::RateLimited,
            "too many requests were made with this account's key; calls go on when the pause that Neon asked for ends",
        )
    }
}

/// The runtime's own clock, which tests can stop.
#[expect(
    clippy::disallowed_methods,
    reason = "measures waits and ends pauses; nothing is decided about an object by it"
)]
pub(super) fn stopwatch() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests;
