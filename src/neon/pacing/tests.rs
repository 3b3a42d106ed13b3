//! The rules under a stopped clock: time passes only while everybody waits.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::time::sleep;

use super::*;
use crate::neon::budget::WINDOW;
use crate::neon::queues::LONGEST_QUEUE;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn pacing() -> Pacing {
    Manners::new(PacingRules::default()).of_a_key()
}

fn failure(kind: ErrorKind, status: Option<u16>) -> Error {
    Error {
        kind,
        status,
        message: "no".to_owned(),
        limit: None,
        request_id: None,
        retry_after: None,
    }
}

fn rate_limited(retry_after: u64) -> Error {
    Error {
        retry_after: Some(Duration::from_secs(retry_after)),
        ..failure(ErrorKind::RateLimited, Some(429))
    }
}

/// When attempts began, since the start of the test.
struct Log {
    start: Instant,
    began: Mutex<Vec<(u32, Duration)>>,
}

impl Log {
    fn new() -> Self {
        Self {
            start: stopwatch(),
            began: Mutex::default(),
        }
    }

    fn add(&self, who: u32) {
        lock(&self.began).push((who, self.start.elapsed()));
    }

    fn who(&self) -> Vec<u32> {
        lock(&self.began).iter().map(|(who, _)| *who).collect()
    }

    fn times(&self) -> Vec<Duration> {
        lock(&self.began).iter().map(|(_, time)| *time).collect()
    }
}

/// Answers of one call in order; the last one is repeated.
async fn attempts(effect: Effect, answers: &[std::result::Result<(), Error>]) -> (Result<()>, u32) {
    let made = Mutex::new(0_u32);
    let attempt = |_| {
        let mut made = lock(&made);
        let at = usize::try_from(*made).unwrap().min(answers.len() - 1);
        *made += 1;
        std::future::ready(answers[at].clone())
    };
    let result = match effect {
        Effect::Read => pacing().read(attempt).await,
        Effect::Mutation | Effect::MutationOfLocked => {
            pacing().mutate(&"p".into(), Rank::Change, attempt).await
        }
    };
    (result, made.into_inner().unwrap())
}

#[tokio::test(start_paused = true)]
async fn each_failure_is_tried_as_often_as_its_effect_allows() {
    use ErrorKind::{
        Conflict, Denied, HasChildren, Limit, Locked, Lost, NotFound, NotReady, Protected,
        RateLimited, Rejected, Server,
    };
    // Kind, status, tries of a read, tries of a mutation.
    let rows = [
        (Denied, Some(401), 1, 1),
        (NotFound, Some(404), 1, 1),
        (Conflict, Some(409), 1, 1),
        (Locked, Some(423), 12, 12),
        (RateLimited, Some(429), 4, 4),
        (Protected, Some(422), 1, 1),
        (HasChildren, Some(422), 1, 1),
        (Limit, Some(422), 1, 1),
        (Rejected, Some(422), 1, 1),
        (NotReady, Some(422), 1, 1),
        (Server, Some(500), 1, 1),
        (Server, Some(502), 4, 1),
        (Server, Some(503), 4, 1),
        (Server, Some(504), 4, 1),
        (Server, Some(524), 1, 1),
        (Lost, None, 4, 1),
    ];
    for (kind, status, reads, mutations) in rows {
        let error = failure(kind, status);
        for (effect, tries) in [(Effect::Read, reads), (Effect::Mutation, mutations)] {
            let (result, made) = attempts(effect, &[Err(error.clone())]).await;
            let error = result.unwrap_err();
            assert_eq!((error.kind, error.status), (kind, status));
            assert_eq!(made, tries, "{effect:?} {kind:?} {status:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_mutation_gets_through_when_the_project_becomes_free() {
    let locked = Err(failure(ErrorKind::Locked, Some(423)));
    let start = stopwatch();
    let (result, made) = attempts(
        Effect::Mutation,
        &[locked.clone(), locked.clone(), locked, Ok(())],
    )
    .await;
    assert_eq!((result, made), (Ok(()), 4));
    // 250 ms, 500 ms and 1 s at most.
    assert!(start.elapsed() <= Duration::from_millis(1800));
}

#[test]
fn waits_double_up_to_the_longest_and_end() {
    let rules = PacingRules::default();
    let waits: Vec<_> = (1..=12).map(|failed| rules.locked.after(failed)).collect();
    let expected = [
        250, 500, 1000, 2000, 4000, 5000, 5000, 5000, 5000, 5000, 5000,
    ];
    let mut expected: Vec<_> = expected.map(|ms| Some(Duration::from_millis(ms))).to_vec();
    expected.push(None);
    assert_eq!(waits, expected);

    let endless = Backoff {
        tries: u32::MAX,
        ..rules.locked
    };
    assert_eq!(endless.after(1_000_000), Some(Duration::from_secs(5)));
}

#[tokio::test(start_paused = true)]
async fn no_second_holds_more_calls_than_allowed_and_nobody_overtakes() {
    let (pacing, log) = (pacing(), Log::new());
    let calls = (0..50).map(|who| {
        let log = &log;
        pacing.read(move |_| async move {
            log.add(who);
            // Slow calls must not hold the budget back, nor quick ones stretch it.
            sleep(Duration::from_millis(u64::from(who % 7) * 400)).await;
            Ok(())
        })
    });
    futures::future::join_all(calls).await;

    assert_eq!(log.who(), (0..50).collect::<Vec<_>>());
    let times = log.times();
    for (first, ninth) in times.iter().zip(times.iter().skip(8)) {
        assert!(*ninth >= *first + Duration::from_secs(1), "{times:?}");
    }
    assert!(
        *times.last().unwrap() <= Duration::from_millis(6100),
        "{times:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn an_attempt_is_told_how_long_the_budget_held_it_back() {
    let pacing = pacing();
    let told = |waited: Duration| std::future::ready(Ok(waited));
    for _ in 0..8 {
        assert_eq!(pacing.read(told).await, Ok(Duration::ZERO));
    }
    let waited = pacing.read(told).await.unwrap();
    assert!(waited >= Duration::from_millis(900), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn a_429_silences_the_whole_account_for_as_long_as_neon_asks() {
    let (pacing, log) = (pacing(), Log::new());
    let limited = pacing.read(|_| async {
        log.add(1);
        match log.who().len() {
            1 => Err(rate_limited(7)),
            _ => Ok(()),
        }
    });
    let others = async {
        sleep(Duration::from_millis(10)).await;
        pacing
            .mutate(&"p".into(), Rank::Change, |_| async {
                log.add(2);
                Ok(())
            })
            .await
    };
    let (limited, others) = tokio::join!(limited, others);
    assert_eq!((limited, others), (Ok(()), Ok(())));
    let times = log.times();
    assert_eq!(times.len(), 3);
    for time in times.iter().skip(1) {
        assert!(*time >= Duration::from_secs(7), "{times:?}");
        assert!(*time < Duration::from_secs(9), "{times:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_short_pause_does_not_end_a_long_one() {
    let budget = Budget::new(8);
    let start = stopwatch();
    budget.pause(Duration::from_secs(10));
    budget.pause(Duration::from_secs(1));
    budget.take(Rank::Look, Duration::MAX).await.unwrap();
    assert_eq!(start.elapsed().as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn nobody_sits_out_a_long_pause() {
    let (pacing, log) = (pacing(), Log::new());
    let call = |who: u32, answer: Result<()>| {
        log.add(who);
        std::future::ready(answer)
    };
    let told = pacing.read(|_| call(1, Err(rate_limited(60)))).await;
    let later = pacing.read(|_| call(2, Ok(()))).await;
    let changing = pacing
        .mutate(&"p".into(), Rank::Change, |_| call(3, Ok(())))
        .await;
    for error in [told, later, changing].map(Result::unwrap_err) {
        assert_eq!(error.kind, ErrorKind::RateLimited);
        assert_eq!(error.retry_after, Some(Duration::from_mins(1)));
    }
    assert_eq!(log.start.elapsed(), Duration::ZERO);
    sleep(Duration::from_secs(51)).await;
    // what is left of the pause is short
    pacing.read(|_| call(4, Ok(()))).await.unwrap();
    assert_eq!(log.who(), [1, 4]);
    assert_eq!(log.times()[1].as_secs(), 60);
}

#[tokio::test(start_paused = true)]
async fn an_absurd_pause_is_cut_short() {
    let pacing = pacing();
    let told = pacing
        .read(|_| std::future::ready(Err::<(), _>(rate_limited(1_000_000))))
        .await;
    assert_eq!(told.unwrap_err().retry_after, Some(Duration::from_mins(5)));
    sleep(Duration::from_mins(5)).await;
    pacing.read(|_| std::future::ready(Ok(()))).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn mutations_of_a_project_queue_up_while_reads_and_other_projects_pass() {
    let (pacing, log) = (pacing(), Log::new());
    let slow = |who: u32, project: &'static str| {
        let (pacing, log) = (&pacing, &log);
        async move {
            let call = move |_| async move {
                log.add(who);
                sleep(Duration::from_secs(10)).await;
                Ok(())
            };
            pacing.mutate(&project.into(), Rank::Change, call).await
        }
    };
    let read = pacing.read(|_| async {
        log.add(9);
        Ok(())
    });
    let (one, two, three, other, read) =
        tokio::join!(slow(1, "p"), slow(2, "p"), slow(3, "p"), slow(4, "q"), read);
    assert!([one, two, three, other, read].iter().all(Result::is_ok));
    assert_eq!(log.who(), [1, 4, 9, 2, 3]);
    let seconds: Vec<_> = log.times().iter().map(Duration::as_secs).collect();
    assert_eq!(seconds, [0, 0, 0, 10, 20]);
}

#[tokio::test(start_paused = true)]
async fn a_mutation_keeps_its_place_while_it_is_locked_out() {
    let (pacing, log) = (pacing(), Log::new());
    let project = ProjectId::from("p");
    let first = pacing.mutate(&project, Rank::Change, async |_| {
        log.add(1);
        match log.who().len() {
            1..=3 => Err(failure(ErrorKind::Locked, Some(423))),
            _ => Ok(()),
        }
    });
    let second = pacing.mutate(&project, Rank::Change, async |_| {
        log.add(2);
        Ok(())
    });
    let (first, second) = tokio::join!(first, second);
    assert_eq!((first, second), (Ok(()), Ok(())));
    assert_eq!(log.who(), [1, 1, 1, 1, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_project_that_is_locked_for_long_is_tried_once_by_each_until_one_gets_through() {
    let (pacing, log) = (pacing(), Log::new());
    let is_locked = Mutex::new(true);
    let change = async || {
        let attempt = async |_| {
            log.add(0);
            if *lock(&is_locked) {
                return Err(failure(ErrorKind::Locked, Some(423)));
            }
            Ok(())
        };
        let before = log.who().len();
        let result = pacing.mutate(&"p".into(), Rank::Change, attempt).await;
        (result.is_ok(), log.who().len() - before)
    };
    assert_eq!(change().await, (false, 12));
    assert_eq!(change().await, (false, 1));
    assert_eq!(change().await, (false, 1));
    *lock(&is_locked) = false;
    assert_eq!(change().await, (true, 1));
    *lock(&is_locked) = true;
    assert_eq!(change().await, (false, 12));
}

#[tokio::test(start_paused = true)]
async fn a_long_queue_sends_newcomers_away_and_takes_them_again_once_it_is_shorter() {
    let (pacing, log) = (pacing(), Log::new());
    let project = ProjectId::from("p");
    let call = |who: u32| {
        let (pacing, project, log) = (&pacing, &project, &log);
        async move {
            let attempt = async |_| {
                log.add(who);
                sleep(Duration::from_secs(10)).await;
                Ok(())
            };
            pacing.mutate(project, Rank::Change, attempt).await
        }
    };
    let answers = futures::future::join_all((0..32).map(call)).await;
    let refused = answers
        .iter()
        .filter(|answer| answer.as_ref().is_err_and(|e| e.kind == ErrorKind::Locked));
    assert_eq!(refused.count(), 32 - LONGEST_QUEUE);
    assert_eq!(log.who().len(), LONGEST_QUEUE);
    assert_eq!(call(40).await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn an_abandoned_mutation_gives_its_turn_away() {
    let pacing = pacing();
    let project = ProjectId::from("p");
    let endless = pacing.mutate(&project, Rank::Change, |_| {
        std::future::pending::<Result<()>>()
    });
    assert!(
        tokio::time::timeout(Duration::from_secs(1), endless)
            .await
            .is_err()
    );
    let next = pacing.mutate(&project, Rank::Change, |_| std::future::ready(Ok(())));
    assert_eq!(next.await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn two_accounts_share_a_projects_queue_but_not_a_budget() {
    let manners = Manners::new(PacingRules::default());
    let (one, two) = (manners.of_a_key(), manners.of_a_key());
    let log = Log::new();
    let project = ProjectId::from("p");
    let call = |who: u32| {
        let log = &log;
        move |_: Duration| async move {
            log.add(who);
            sleep(Duration::from_secs(3)).await;
            Ok(())
        }
    };
    let (a, b) = tokio::join!(
        one.mutate(&project, Rank::Change, call(1)),
        two.mutate(&project, Rank::Change, call(2))
    );
    assert_eq!((a, b), (Ok(()), Ok(())));
    assert_eq!(log.times()[1].as_secs(), 3);

    one.budget.present().pause(Duration::from_mins(1));
    let start = stopwatch();
    two.read(|_| std::future::ready(Ok(()))).await.unwrap();
    assert!(start.elapsed() < Duration::from_secs(1));
}

async fn call(key: &Pacing, log: &Log) -> Result<()> {
    let attempt = |_| async {
        log.add(0);
        Ok(())
    };
    key.read(attempt).await
}

#[tokio::test(start_paused = true)]
async fn keys_of_one_account_share_its_budget_and_its_pauses() {
    let manners = Manners::new(PacingRules::default());
    let [one, two, other] = [(); 3].map(|()| manners.of_a_key());
    for (key, account) in [(&one, "blue"), (&two, "blue"), (&other, "red")] {
        key.belongs_to(account);
    }
    let log = Log::new();
    let calls = (0..20).map(|n| call(if n % 2 == 0 { &one } else { &two }, &log));
    for result in futures::future::join_all(calls).await {
        result.unwrap();
    }
    let times = log.times();
    for window in times.windows(PacingRules::default().calls_per_second + 1) {
        let (first, last) = (window[0], window[window.len() - 1]);
        assert!(last >= first + WINDOW, "{times:?}");
    }
    // a pause of one is a pause of both, and of nobody else
    one.budget.present().pause(Duration::from_secs(2));
    let began = stopwatch();
    call(&other, &log).await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(2));
    call(&two, &log).await.unwrap();
    assert!(began.elapsed() >= Duration::from_secs(2));
}
