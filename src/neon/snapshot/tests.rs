//! Freshness and sharing, under a stopped clock against a slow Neon.

use proptest::prelude::*;
use tokio::time::sleep;

use super::*;
use crate::neon::fake::{FakeNeon, LATENCY, branch};

const MINUTE: Duration = Duration::from_mins(1);

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_000_000 + seconds).unwrap()
}

fn setup() -> (Arc<FakeNeon>, Snapshots, ProjectId) {
    let neon = Arc::new(FakeNeon::default());
    neon.branches.lock().unwrap().push(branch("br-main", None));
    let snapshots = Snapshots::new(neon.clone());
    (neon, snapshots, "p".into())
}

fn failure(kind: ErrorKind) -> Error {
    Error::without_answer(kind, "no")
}

#[tokio::test(start_paused = true)]
async fn all_who_ask_at_once_share_two_calls() {
    let (neon, snapshots, project) = setup();
    let asked = (0..100).map(|_| snapshots.get(&project, MINUTE, at(0)));
    let answers = futures::future::join_all(asked).await;
    assert_eq!(answers.len(), 100);
    for answer in answers {
        assert_eq!(answer.unwrap().branches.len(), 1);
    }
    assert_eq!((neon.lists(), neon.others()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_listing_serves_until_it_is_older_than_asked_for() {
    let (neon, snapshots, project) = setup();
    // Age allowed and time of asking in seconds, lists made in all.
    let rows = [
        (60, 0, 1),
        (60, 60, 1),
        (60, 61, 2),
        (0, 61, 2),
        (0, 62, 3),
        (60, 30, 3),
        // the clock was set back by an hour
        (60, -3_570, 4),
        (60, -3_560, 4),
    ];
    for (max_age, now, lists) in rows {
        let max_age = Duration::from_secs(max_age);
        let snapshot = snapshots.get(&project, max_age, at(now)).await.unwrap();
        assert_eq!(neon.lists(), lists, "{max_age:?} {now}");
        let allowed = SignedDuration::try_from(max_age).unwrap();
        assert!(at(now).duration_since(snapshot.taken_at) <= allowed);
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_last_seen_stays_until_something_newer_is_seen_or_the_key_is_refused() {
    let (neon, snapshots, project) = setup();
    assert_eq!(snapshots.last_seen(), []);
    let seen = snapshots.get(&project, MINUTE, at(0)).await.unwrap();
    snapshots.invalidate(&project);
    assert_eq!(snapshots.last_seen(), [(project.clone(), seen)]);
    let newer = snapshots.get(&project, MINUTE, at(90)).await.unwrap();
    assert_eq!(snapshots.last_seen(), [(project.clone(), newer)]);
    assert_eq!(neon.lists(), 2, "telling asks nobody");
    *neon.failure.lock().unwrap() = Some(failure(ErrorKind::Denied));
    snapshots.get(&project, MINUTE, at(180)).await.unwrap_err();
    assert_eq!(snapshots.last_seen(), []);
}

#[tokio::test(start_paused = true)]
async fn projects_do_not_share() {
    let (neon, snapshots, project) = setup();
    snapshots.get(&project, MINUTE, at(0)).await.unwrap();
    snapshots.get(&"q".into(), MINUTE, at(0)).await.unwrap();
    assert_eq!(neon.lists(), 2);
    snapshots.invalidate(&project);
    snapshots.get(&"q".into(), MINUTE, at(0)).await.unwrap();
    assert_eq!(neon.lists(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_fetch_that_began_before_a_change_is_not_fresh_after_it() {
    let (neon, snapshots, project) = setup();
    let early = snapshots.get(&project, MINUTE, at(0));
    let late = async {
        sleep(LATENCY / 2).await;
        let new = branch("br-new", Some("br-main"));
        neon.branches.lock().unwrap().push(new);
        snapshots.invalidate(&project);
        snapshots.get(&project, MINUTE, at(0)).await
    };
    let (early, late) = tokio::join!(early, late);
    assert_eq!(early.unwrap().branches.len(), 1);
    assert_eq!(late.unwrap().branches.len(), 2);
    // Whichever came in last, only the later one is kept.
    let kept = snapshots.get(&project, MINUTE, at(1)).await.unwrap();
    assert_eq!(kept.branches.len(), 2);
    assert_eq!(neon.lists(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_slow_fetch_does_not_bring_an_older_world_back() {
    let (neon, snapshots, project) = setup();
    *neon.latency.lock().unwrap() = LATENCY * 10;
    let slow = snapshots.get(&project, Duration::ZERO, at(0));
    let quick = async {
        sleep(LATENCY).await;
        *neon.latency.lock().unwrap() = LATENCY;
        snapshots.get(&project, Duration::ZERO, at(1)).await
    };
    let (slow, quick) = tokio::join!(slow, quick);
    assert_eq!(slow.unwrap().taken_at, at(0));
    assert_eq!(quick.unwrap().taken_at, at(1));
    let kept = snapshots.get(&project, MINUTE, at(2)).await.unwrap();
    assert_eq!(kept.taken_at, at(1));
}

#[tokio::test(start_paused = true)]
async fn an_error_is_shared_by_those_who_wait_and_then_forgotten() {
    let (neon, snapshots, project) = setup();
    neon.fail_with(Some(failure(ErrorKind::Server)));
    let asked = (0..10).map(|_| snapshots.get(&project, MINUTE, at(0)));
    for answer in futures::future::join_all(asked).await {
        assert_eq!(answer, Err(failure(ErrorKind::Server)));
    }
    assert_eq!(neon.lists(), 1);
    neon.fail_with(None);
    assert!(snapshots.get(&project, MINUTE, at(0)).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_believed_for_a_minute() {
    for kind in [ErrorKind::Denied, ErrorKind::NotFound] {
        let (neon, snapshots, project) = setup();
        neon.fail_with(Some(failure(kind)));
        for now in [0, 1, 30, 59] {
            snapshots.invalidate(&project);
            let answer = snapshots.get(&project, Duration::ZERO, at(now)).await;
            assert_eq!(answer, Err(failure(kind)));
        }
        assert_eq!(neon.lists(), 1);
        neon.fail_with(None);
        assert!(snapshots.get(&project, MINUTE, at(60)).await.is_ok());
        assert_eq!(neon.lists(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_listing_outlives_a_failed_fetch_for_those_whom_it_serves() {
    let (neon, snapshots, project) = setup();
    snapshots.get(&project, MINUTE, at(0)).await.unwrap();
    neon.fail_with(Some(failure(ErrorKind::Lost)));
    let strict = snapshots.get(&project, Duration::ZERO, at(10)).await;
    assert_eq!(strict, Err(failure(ErrorKind::Lost)));
    assert!(snapshots.get(&project, MINUTE, at(10)).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_fetch_goes_on_while_anybody_waits_and_ends_with_the_last() {
    let (neon, snapshots, project) = setup();
    let impatient = tokio::time::timeout(LATENCY / 2, snapshots.get(&project, MINUTE, at(0)));
    let patient = snapshots.get(&project, MINUTE, at(0));
    let (impatient, patient) = tokio::join!(impatient, patient);
    assert!(impatient.is_err());
    assert!(patient.is_ok());
    assert_eq!(neon.lists(), 1);

    snapshots.invalidate(&project);
    let abandoned = snapshots.get(&project, MINUTE, at(1));
    assert!(tokio::time::timeout(LATENCY / 2, abandoned).await.is_err());
    assert!(snapshots.get(&project, MINUTE, at(1)).await.is_ok());
    assert_eq!(neon.lists(), 3);
}

#[test]
fn a_snapshot_is_looked_up_by_exact_identity() {
    let endpoint = |id: &str, branch: &str, kind: EndpointType| Endpoint {
        id: id.into(),
        branch_id: branch.into(),
        host: format!("{id}.local"),
        endpoint_type: kind,
        current_state: crate::neon::EndpointState::Idle,
        pending_state: None,
        autoscaling_limit_min_cu: 0.25,
        autoscaling_limit_max_cu: 1.0,
        suspend_timeout_seconds: 0,
        settings: None,
        name: None,
    };
    let snapshot = ProjectSnapshot {
        branches: vec![
            branch("br-main", None),
            branch("br-a", Some("br-main")),
            branch("br-ab", Some("br-main")),
            branch("br-c", Some("br-a")),
        ],
        endpoints: vec![
            endpoint("ep-1", "br-a", EndpointType::ReadOnly),
            endpoint("ep-2", "br-ab", EndpointType::ReadWrite),
            endpoint("ep-3", "br-a", EndpointType::ReadWrite),
        ],
        taken_at: at(0),
    };
    let id = |text: &str| BranchId::from(text);
    assert_eq!(snapshot.branch(&id("br-a")).unwrap().name, "name-of-br-a");
    assert_eq!(snapshot.branch(&id("br-")), None);
    assert_eq!(
        snapshot.branch_named("name-of-br-ab").unwrap().id,
        id("br-ab")
    );
    assert_eq!(snapshot.branch_named("name-of-br"), None);
    assert_eq!(snapshot.default_branch().unwrap().id, id("br-main"));
    let children: Vec<_> = snapshot.children_of(&id("br-main")).collect();
    assert_eq!(children, [&snapshot.branches[1], &snapshot.branches[2]]);
    let endpoint = snapshot.read_write_endpoint(&id("br-a")).unwrap();
    assert_eq!(endpoint.id.as_str(), "ep-3");
    assert_eq!(snapshot.read_write_endpoint(&id("br-main")), None);
}

/// What one of many does: waits so many quarters of a second, then changes the project or looks at it.
#[derive(Clone, Copy, Debug)]
enum Deed {
    Change { after: u32 },
    Look { after: u32, max_age: u64 },
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        (0_u32..40).prop_map(|after| Deed::Change { after }),
        (0_u32..40, 0_u64..6).prop_map(|(after, max_age)| Deed::Look { after, max_age }),
    ]
}

/// Runs all deeds side by side; says for every look how many changes had ended before it began, how many it saw,
/// and how old what it saw was.
async fn run(deeds: Vec<Deed>) -> Vec<(Deed, usize, usize, SignedDuration)> {
    let (neon, snapshots, project) = setup();
    let ended = Mutex::new(0_usize);
    let start = crate::neon::pacing::stopwatch();
    let looks = deeds.into_iter().map(|deed| {
        let (neon, snapshots, project, ended) = (&neon, &snapshots, &project, &ended);
        async move {
            match deed {
                Deed::Change { after } => {
                    sleep(LATENCY / 4 * after).await;
                    let new = branch("br-new", Some("br-main"));
                    neon.branches.lock().unwrap().push(new);
                    sleep(LATENCY / 3).await;
                    snapshots.invalidate(project);
                    *ended.lock().unwrap() += 1;
                    None
                }
                Deed::Look { after, max_age } => {
                    sleep(LATENCY / 4 * after).await;
                    let before = *ended.lock().unwrap();
                    let now = at(0) + start.elapsed();
                    let max_age = Duration::from_secs(max_age);
                    let seen = snapshots.get(project, max_age, now).await.unwrap();
                    let changes = seen.branches.len() - 1;
                    Some((deed, before, changes, now.duration_since(seen.taken_at)))
                }
            }
        }
    });
    let looks = futures::future::join_all(looks).await;
    looks.into_iter().flatten().collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn nobody_misses_a_change_that_ended_before_and_nobody_sees_too_old_a_world(
        deeds in proptest::collection::vec(deed(), 1..30),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        for (deed, ended_before, seen, age) in runtime.block_on(run(deeds)) {
            prop_assert!(seen >= ended_before, "{deed:?} missed a change");
            let Deed::Look { max_age, .. } = deed else { continue };
            prop_assert!(age <= SignedDuration::from_secs(i64::try_from(max_age).unwrap()));
        }
    }
}
