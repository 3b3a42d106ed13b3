//! The calls that an account may begin: so many within any one second, and who is next.
//!
//! Who waits is served in the order of arrival, but for a handicap: a look counts as if it had come some seconds later, and
//! so lets those pass that make or take away branches. It is passed by nobody who comes after that, so nobody starves.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, sleep_until};

use super::pacing::stopwatch;

/// How long a permit stays away, which is the whole limiter.
pub(super) const WINDOW: Duration = Duration::from_secs(1);

/// What a call is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rank {
    /// Takes something away, or makes a branch: somebody waits for it, or pays for it.
    First,
    /// Changes anything else.
    Change,
    /// Looks.
    Look,
}

impl Rank {
    /// It counts as if it had come so much later.
    #[must_use]
    pub fn handicap(self) -> Duration {
        match self {
            Self::First => Duration::ZERO,
            Self::Change => Duration::from_secs(1),
            Self::Look => Duration::from_secs(3),
        }
    }
}

/// The budget of one account.
pub(super) struct Budget {
    state: Mutex<State>,
}

struct State {
    free: usize,
    /// By when it counts as having come, and by arrival.
    line: BTreeMap<(Instant, u64), Waiting>,
    arrivals: u64,
    paused_until: Option<Instant>,
}

struct Waiting {
    patience: Duration,
    tell: oneshot::Sender<Turn>,
}

/// The permit, or how long the account pauses.
type Turn = std::result::Result<Permit, Duration>;

impl Budget {
    pub(super) fn new(calls_per_second: usize) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                free: calls_per_second.max(1),
                line: BTreeMap::new(),
                arrivals: 0,
                paused_until: None,
            }),
        })
    }

    /// Waits for a turn; where the account pauses for longer than `patience`, answers for how long.
    pub(super) async fn take(
        self: &Arc<Self>,
        rank: Rank,
        patience: Duration,
    ) -> std::result::Result<(), Duration> {
        let turn = {
            let mut state = self.lock();
            let now = stopwatch();
            if let Some(left) = state.pause_left(now).filter(|left| *left > patience) {
                return Err(left);
            }
            let (tell, turn) = oneshot::channel();
            state.arrivals += 1;
            let place = (now + rank.handicap(), state.arrivals);
            state.line.insert(place, Waiting { patience, tell });
            turn
        };
        self.serve();
        // whoever is told nothing is told so by the end of the budget, which does not end before its users
        if let Ok(turn) = turn.await {
            turn?.spend();
        }
        Ok(())
    }

    /// Nobody calls for so long. Who has less patience than that is sent away.
    pub(super) fn pause(self: &Arc<Self>, pause: Duration) {
        let until = stopwatch() + pause;
        let mut state = self.lock();
        state.paused_until = state.paused_until.max(Some(until));
        let (impatient, line) = std::mem::take(&mut state.line)
            .into_iter()
            .partition(|(_, waiting)| waiting.patience < pause);
        state.line = line;
        drop(state);
        for waiting in impatient.into_values() {
            // somebody who is gone need not be told
            let _ = waiting.tell.send(Err(pause));
        }
        let budget = Arc::clone(self);
        tokio::spawn(async move {
            sleep_until(until).await;
            budget.serve();
        });
    }

    /// Gives the free permits to those who are next.
    fn serve(self: &Arc<Self>) {
        loop {
            // not in the head of the loop, which would hold the lock for all of it
            let next = self.lock().next();
            let Some(next) = next else {
                return;
            };
            if let Err(Ok(unwanted)) = next.tell.send(Ok(Permit::of(self))) {
                unwanted.leave();
                self.lock().free += 1;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Takes a permit for who is next.
    fn next(&mut self) -> Option<Waiting> {
        if self.free == 0 || self.pause_left(stopwatch()).is_some() {
            return None;
        }
        let (_, next) = self.line.pop_first()?;
        self.free -= 1;
        Some(next)
    }

    fn pause_left(&self, now: Instant) -> Option<Duration> {
        let left = self.paused_until?.saturating_duration_since(now);
        (!left.is_zero()).then_some(left)
    }
}

/// The right to begin one call. One that is given and never used goes to the next.
struct Permit {
    budget: Option<Arc<Budget>>,
}

impl Permit {
    fn of(budget: &Arc<Budget>) -> Self {
        Self {
            budget: Some(Arc::clone(budget)),
        }
    }

    /// The call begins: the permit comes back when the window has passed.
    fn spend(mut self) {
        let Some(budget) = self.budget.take() else {
            return;
        };
        tokio::spawn(async move {
            sleep(WINDOW).await;
            budget.lock().free += 1;
            budget.serve();
        });
    }

    /// Somebody else sees to it.
    fn leave(mut self) {
        self.budget = None;
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(budget) = self.budget.take() {
            budget.lock().free += 1;
            budget.serve();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RATE: usize = 8;

    /// A call that comes after so many milliseconds.
    type Call = (u64, Rank);

    fn rank() -> impl Strategy<Value = Rank> {
        prop_oneof![
            2 => Just(Rank::First),
            3 => Just(Rank::Change),
            5 => Just(Rank::Look),
        ]
    }

    /// When each of these calls began, in milliseconds.
    fn begun(calls: &[Call]) -> Vec<u64> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let (budget, start) = (Budget::new(RATE), stopwatch());
            let calls = calls.iter().map(async |(comes, rank)| {
                sleep_until(start + Duration::from_millis(*comes)).await;
                budget.take(*rank, Duration::MAX).await.unwrap();
                u64::try_from(start.elapsed().as_millis()).unwrap()
            });
            futures::future::join_all(calls).await
        })
    }

    fn counts_as_of((comes, rank): Call) -> u64 {
        comes + u64::try_from(rank.handicap().as_millis()).unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn no_second_has_more_calls_than_allowed_and_none_passes_with_fewer_while_somebody_waits(
            calls in prop::collection::vec((0_u64..8_000, rank()), 1..120),
        ) {
            let begun = begun(&calls);
            let mut in_order = begun.clone();
            in_order.sort_unstable();
            for (first, ninth) in in_order.iter().zip(in_order.iter().skip(RATE)) {
                prop_assert!(*ninth >= first + 1_000, "{in_order:?}");
            }
            // who waited did so because the second before was full
            for ((comes, _), began) in calls.iter().zip(&begun) {
                let before = begun.iter().filter(|one| **one < *began && **one + 1_001 >= *began);
                prop_assert!(began == comes || before.count() + 1 >= RATE, "{comes} {began} {in_order:?}");
            }
        }

        #[test]
        fn who_counts_as_earlier_is_never_passed(
            calls in prop::collection::vec((0_u64..8_000, rank()), 1..120),
        ) {
            let begun = begun(&calls);
            for (one, began) in calls.iter().zip(&begun) {
                for (other, other_began) in calls.iter().zip(&begun) {
                    // both wait when the earlier of them is served
                    let both_wait = one.0 < *other_began && other.0 < *began;
                    let is_before = counts_as_of(*one) < counts_as_of(*other);
                    if both_wait && is_before {
                        prop_assert!(began <= other_began, "{one:?} at {began}, {other:?} at {other_began}");
                    }
                }
            }
        }

        #[test]
        fn a_look_is_passed_by_nobody_who_comes_after_its_handicap(
            others in prop::collection::vec((0_u64..20_000, Just(Rank::First)), 150..250),
        ) {
            let look = (2_000, Rank::Look);
            let mut calls = others.clone();
            calls.push(look);
            let began = *begun(&calls).last().unwrap();
            let ahead = others.iter().filter(|(comes, _)| *comes <= counts_as_of(look)).count();
            let full_seconds = u64::try_from(ahead / RATE).unwrap();
            prop_assert!(began <= 2_000 + 1_000 * (full_seconds + 2), "{began} of {ahead}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_deleted_or_made_goes_before_looks_that_wait_already() {
        use Rank::{Change, First, Look};

        let budget = Budget::new(1);
        let order = Mutex::new(Vec::new());
        let take = async |rank| {
            budget.take(rank, Duration::MAX).await.unwrap();
            order.lock().unwrap().push(rank);
        };
        tokio::join!(take(Look), take(Look), take(Change), take(First));
        // the first of all had no reason to wait
        assert_eq!(*order.lock().unwrap(), [Look, First, Change, Look]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_turn_that_nobody_takes_any_more_is_the_next_ones() {
        let budget = Budget::new(1);
        let begin = stopwatch();
        budget.take(Rank::Look, Duration::MAX).await.unwrap();
        let gives_up = tokio::time::timeout(
            Duration::from_millis(10),
            budget.take(Rank::First, Duration::MAX),
        );
        let next = budget.take(Rank::Look, Duration::MAX);
        let (nothing, next) = tokio::join!(gives_up, next);
        assert!(nothing.is_err() && next.is_ok());
        assert!(begin.elapsed() < Duration::from_millis(1_100));
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_that_comes_meanwhile_is_sat_out_by_the_patient_alone() {
        let budget = Budget::new(1);
        budget.take(Rank::Look, Duration::MAX).await.unwrap();
        let pauses = async { budget.pause(Duration::from_secs(30)) };
        let (patient, impatient, ()) = tokio::join!(
            budget.take(Rank::Look, Duration::MAX),
            budget.take(Rank::First, Duration::from_secs(10)),
            pauses
        );
        assert_eq!((patient, impatient), (Ok(()), Err(Duration::from_secs(30))));
    }
}
