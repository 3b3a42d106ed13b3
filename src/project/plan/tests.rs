//! The decision table, row by row, and what holds of every answer.

#![expect(clippy::too_many_lines, reason = "a table, one entry after the other")]

use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::api::{
    AppliedSettings, ConditionType, NeonProject, NeonProjectStatus, PROJECT_FINALIZER,
};
use crate::project::observe::Claim;
use crate::project::status;
use crate::reconcile::Verdict;
use crate::world::{Failure, Operation};

const INTERVAL: Duration = Duration::from_mins(1);

fn object(settings: &Value) -> NeonProject {
    let object = json!({
        "apiVersion": "sepulki.dev/v1alpha1", "kind": "NeonProject",
        "metadata": {"name": "sea", "uid": "uid-sea", "generation": 3, "finalizers": [PROJECT_FINALIZER]},
        "spec": {"projectId": "quiet-1", "apiKeySecretRef": {"namespace": "keys"}, "settings": settings},
    });
    serde_json::from_value(object).unwrap()
}

fn asked(settings: Value) -> Settings {
    Settings::asked(Some(&serde_json::from_value(settings).unwrap())).unwrap()
}

/// Two settings are asked for.
fn desired() -> Desired {
    Desired::of(&object(
        &json!({"historyRetention": "7d", "quota": {"activeTime": "10h"}}),
    ))
}

/// Neon has both.
fn settled() -> Observed {
    Observed {
        project: Fact::Known(neon_has(7 * 86_400, 36_000)),
        ..Observed::nothing(NeonProjectStatus::default(), INTERVAL)
    }
}

fn neon_has(history: i64, active: i64) -> neon::Project {
    let project = json!({
        "id": "quiet-1",
        "history_retention_seconds": history,
        "settings": {"quota": {"active_time_seconds": active}},
        "owner": {"branches_limit": 10, "subscription_type": "free_v3"},
    });
    serde_json::from_value(project).unwrap()
}

fn claim(by: &str, settings: Value) -> Claim {
    Claim {
        by: by.to_owned(),
        settings: asked(settings),
    }
}

/// What was sent, and what Neon then had.
fn sent(observed: &mut Observed, requested: Value, stored: Value) {
    observed.recorded.applied_settings = Some(AppliedSettings {
        requested: asked(requested).digest(),
        stored: asked(stored).digest(),
    });
}

/// An answer as the table has it: the words of a message are tested apart.
#[derive(Debug, PartialEq)]
enum Answer {
    Act(Action),
    Wait(Reason),
    Blocked(Reason),
    Settled,
    Gone,
}

fn answer(decision: Next) -> Answer {
    match decision {
        Decision::Act(action) => Answer::Act(action),
        Decision::Wait(wait) => Answer::Wait(wait.reason),
        Decision::Blocked(block) => Answer::Blocked(block.reason),
        Decision::Settled(after) => {
            assert_eq!(after, INTERVAL);
            Answer::Settled
        }
        Decision::Gone => Answer::Gone,
        Decision::Suspended(_) => panic!("a NeonProject cannot be suspended"),
    }
}

type Change = fn(&mut Desired, &mut Observed);

fn rows() -> Vec<(u8, &'static str, Change, Answer)> {
    use Answer::{Act, Blocked, Gone, Settled, Wait};
    let apply = |settings| Act(Action::ApplySettings(asked(settings)));
    vec![
        (
            1,
            "deleted, and our finalizer is gone",
            |d, o| {
                d.deleting = true;
                d.has_finalizer = false;
                o.users = vec!["team/a".into()];
            },
            Gone,
        ),
        (
            2,
            "deleted, but used",
            |d, o| {
                d.deleting = true;
                o.users = vec!["team/a".into()];
            },
            Wait(Reason::InUse),
        ),
        (
            3,
            "deleted and used by nobody, whatever else is wrong",
            |d, o| {
                d.deleting = true;
                d.settings = Err(a_block());
                o.key = Key::Refused("401".into());
            },
            Act(Action::ReleaseFinalizer),
        ),
        (
            4,
            "settings that cannot be read",
            |d, _| {
                d.has_finalizer = false;
                d.settings = Err(a_block());
            },
            Blocked(Reason::InvalidSpec),
        ),
        (
            5,
            "no finalizer yet",
            |d, o| {
                d.has_finalizer = false;
                o.key = Key::Missing("no key".into());
            },
            Act(Action::AddFinalizer),
        ),
        (
            5,
            "an annotation asks to look again",
            |d, o| {
                d.asked.reconcile = Some("1".into());
                o.key = Key::Missing("no key".into());
            },
            Act(Action::LookAgain),
        ),
        (
            5,
            "an annotation asks to try again, after another one was taken up",
            |d, o| {
                d.asked.retry = Some("2".into());
                o.recorded.handled.retry = Some("1".into());
            },
            Act(Action::LookAgain),
        ),
        (
            11,
            "what annotations ask was taken up",
            |d, o| {
                d.asked.retry = Some("1".into());
                o.recorded.handled.retry = Some("1".into());
                o.recorded.handled.reconcile = Some("gone by now".into());
            },
            Settled,
        ),
        (
            6,
            "no key",
            |_, o| o.key = Key::Missing("no key".into()),
            Wait(Reason::KeyNotFound),
        ),
        (
            6,
            "key refused",
            |_, o| o.key = Key::Refused("401".into()),
            Blocked(Reason::KeyRefused),
        ),
        (
            6,
            "unknown project",
            |_, o| o.key = Key::NoProject("404".into()),
            Blocked(Reason::ProjectNotFound),
        ),
        (
            7,
            "one operation runs",
            |_, o| {
                o.operations = vec![operation(true), operation(false)];
                o.project = Fact::Unknown;
            },
            Wait(Reason::OperationsRunning),
        ),
        (
            7,
            "all operations ended",
            |_, o| o.operations = vec![operation(true)],
            Act(Action::ForgetOperations),
        ),
        (
            8,
            "the project is not known",
            |_, o| o.project = Fact::Unknown,
            Wait(Reason::NeonUnavailable),
        ),
        (
            9,
            "one setting differs",
            |_, o| o.project = Fact::Known(neon_has(60, 36_000)),
            apply(json!({"historyRetention": "7d"})),
        ),
        (
            9,
            "one setting differs, and another is an older one's",
            |_, o| {
                o.project = Fact::Known(neon_has(60, 36_000));
                o.claims = vec![claim("old", json!({"quota": {"activeTime": "1h"}}))];
            },
            apply(json!({"historyRetention": "7d"})),
        ),
        (
            9,
            "Neon once made something else of it, and has by now a third",
            |_, o| {
                sent(
                    o,
                    json!({"historyRetention": "7d", "quota": {"activeTime": "10h"}}),
                    json!({"historyRetention": "1d", "quota": {"activeTime": "10h"}}),
                );
                o.project = Fact::Known(neon_has(60, 36_000));
            },
            apply(json!({"historyRetention": "7d"})),
        ),
        (
            9,
            "Neon made something else of what was asked for before",
            |_, o| {
                sent(
                    o,
                    json!({"historyRetention": "6d"}),
                    json!({"historyRetention": "1d", "quota": {"activeTime": "10h"}}),
                );
                o.project = Fact::Known(neon_has(86_400, 36_000));
            },
            apply(json!({"historyRetention": "7d"})),
        ),
        (
            10,
            "an older one wants it otherwise",
            |_, o| {
                o.project = Fact::Known(neon_has(60, 36_000));
                o.claims = vec![claim("old", json!({"historyRetention": "1d"}))];
            },
            Blocked(Reason::SettingClaimed),
        ),
        (
            10,
            "of two older ones the oldest counts",
            |_, o| {
                o.claims = vec![
                    claim("oldest", json!({"historyRetention": "1d"})),
                    claim("old", json!({"historyRetention": "7d"})),
                ];
            },
            Blocked(Reason::SettingClaimed),
        ),
        (11, "as asked", |_, _| {}, Settled),
        (
            11,
            "an older one wants the same",
            |_, o| o.claims = vec![claim("old", json!({"historyRetention": "168h"}))],
            Settled,
        ),
        (
            11,
            "the oldest wants the same",
            |_, o| {
                o.claims = vec![
                    claim("oldest", json!({"historyRetention": "7d"})),
                    claim("old", json!({"historyRetention": "1d"})),
                ];
            },
            Settled,
        ),
        (
            11,
            "Neon made something else of it",
            |_, o| {
                sent(
                    o,
                    json!({"historyRetention": "7d", "quota": {"activeTime": "10h"}}),
                    json!({"historyRetention": "1d", "quota": {"activeTime": "10h"}}),
                );
                o.project = Fact::Known(neon_has(86_400, 36_000));
            },
            Settled,
        ),
        (
            11,
            "nothing is managed",
            |d, o| {
                d.settings = Ok(Settings::default());
                o.project = Fact::Known(neon_has(60, 0));
            },
            Settled,
        ),
    ]
}

fn a_block() -> Block {
    Block {
        reason: Reason::InvalidSpec,
        message: "spec.settings: no".to_owned(),
    }
}

fn operation(ended: bool) -> Operation {
    Operation {
        id: "op".to_owned(),
        action: "apply_config".to_owned(),
        since: jiff::Timestamp::UNIX_EPOCH,
        ask_in: (!ended).then_some(Duration::from_secs(1)),
        overdue: false,
        failure: None,
    }
}

#[test]
fn every_row_of_the_table() {
    for number in 1..=11 {
        assert!(rows().iter().any(|row| row.0 == number), "row {number}");
    }
    for (number, name, change, expected) in rows() {
        let (mut desired, mut observed) = (desired(), settled());
        change(&mut desired, &mut observed);
        let decided = answer(decide(&desired, &observed, Timestamp::UNIX_EPOCH));
        assert_eq!(decided, expected, "row {number}: {name}");
    }
}

#[test]
fn settings_that_neon_could_not_make_are_asked_for_again_after_a_while() {
    let (desired, mut observed) = (desired(), settled());
    observed.project = Fact::Known(neon_has(86_400, 36_000));
    let now = Timestamp::UNIX_EPOCH;
    let Decision::Act(action) = decide(&desired, &observed, now) else {
        panic!("a setting differs");
    };
    observed.failures = vec![Failure {
        what: asked_of_neon(&action),
        branch: None,
        words: Some("its operation apply_config failed".into()),
        until: now + Duration::from_secs(9),
    }];
    let Decision::Wait(wait) = decide(&desired, &observed, now) else {
        panic!("it is waited");
    };
    assert_eq!(
        (wait.reason, wait.after),
        (Reason::OperationFailed, Duration::from_secs(9))
    );
    for part in [
        "Neon could not set ",
        "historyRetention",
        "apply_config failed",
    ] {
        assert!(wait.message.contains(part), "{}", wait.message);
    }
    let later = now + Duration::from_secs(9);
    assert_eq!(decide(&desired, &observed, later), Decision::Act(action));
}

fn message(change: Change) -> String {
    let (mut desired, mut observed) = (desired(), settled());
    change(&mut desired, &mut observed);
    match decide(&desired, &observed, Timestamp::UNIX_EPOCH) {
        Decision::Wait(wait) => wait.message,
        Decision::Blocked(block) => block.message,
        other @ (Decision::Act(_)
        | Decision::Settled(_)
        | Decision::Suspended(_)
        | Decision::Gone) => panic!("{other:?}"),
    }
}

#[test]
fn messages_name_who_is_in_the_way() {
    let quarrel =
        message(|_, o| o.claims = vec![claim("old", json!({"quota": {"activeTime": "1h"}}))]);
    assert_eq!(
        quarrel,
        "spec.settings.quota.activeTime: NeonProject old, which is older, asks for 1h; make them agree, or take one away"
    );
    let used = message(|d, o| {
        d.deleting = true;
        o.users = (1..=7).map(|n| format!("team/{n}")).collect();
    });
    assert!(
        used.contains("team/1, team/2, team/3, team/4, team/5 and 2 more"),
        "{used}"
    );
}

fn told(
    observed: Option<&Observed>,
    recorded: &NeonProjectStatus,
    verdict: &Verdict,
) -> NeonProjectStatus {
    status::project(
        recorded,
        &desired(),
        observed,
        verdict,
        Timestamp::UNIX_EPOCH,
    )
}

#[test]
fn what_neon_tells_is_shown_and_stays_while_it_cannot_be_asked() {
    let observed = Observed {
        key_kind: Some(crate::api::KeyKind::Organization),
        ..settled()
    };
    let ready = told(
        Some(&observed),
        &NeonProjectStatus::default(),
        &Verdict::Settled(INTERVAL),
    );
    assert_eq!(
        (ready.observed_generation, ready.plan.as_deref()),
        (3, Some("free_v3"))
    );
    assert_eq!(ready.limits.clone().unwrap().branches, Some(10));
    assert_eq!(ready.key_kind, Some(crate::api::KeyKind::Organization));
    let shown = json!({"historyRetention": "7d", "quota": {"activeTime": "10h"}});
    assert_eq!(json!(ready.settings), shown);
    assert_eq!(
        ready.conditions[0].message,
        "project quiet-1 can be used (plan free_v3)"
    );
    let types: Vec<&str> = ready.conditions.iter().map(|c| c.type_.as_str()).collect();
    let expected = [
        ConditionType::Ready,
        ConditionType::Reconciling,
        ConditionType::Stalled,
    ];
    assert_eq!(types, expected.map(ConditionType::as_str));
    let failed = Verdict::Failed(crate::reconcile::Error::bug("no"));
    for observed in [None, Some(&Observed::nothing(ready.clone(), INTERVAL))] {
        let after = told(observed, &ready, &failed);
        assert_eq!(
            (&after.plan, &after.settings),
            (&ready.plan, &ready.settings)
        );
    }
}

#[test]
fn what_was_sent_is_forgotten_with_the_last_setting() {
    let mut observed = settled();
    sent(&mut observed, json!({}), json!({}));
    let recorded = observed.recorded.clone();
    let settled = Verdict::Settled(INTERVAL);
    assert!(
        told(Some(&observed), &recorded, &settled)
            .applied_settings
            .is_some()
    );
    let bare = Desired::of(&object(&json!({})));
    let after = status::project(
        &recorded,
        &bare,
        Some(&observed),
        &settled,
        Timestamp::UNIX_EPOCH,
    );
    assert_eq!((after.applied_settings, after.settings), (None, None));
}

fn settings() -> impl Strategy<Value = Settings> {
    let span = || prop::option::of(prop::sample::select(vec!["1h", "1d", "7d"]));
    let limit = || prop::option::of(prop::sample::select(vec!["unlimited", "1h", "10h"]));
    let ips = prop::option::of(prop::sample::subsequence(vec!["::1", "::2"], 0..=2));
    (span(), limit(), limit(), ips).prop_map(|(history, active, compute, ips)| {
        let mut spec = json!({"quota": {}});
        if let Some(history) = history {
            spec["historyRetention"] = json!(history);
        }
        if let Some(active) = active {
            spec["quota"]["activeTime"] = json!(active);
        }
        if let Some(compute) = compute {
            spec["quota"]["computeTime"] = json!(compute);
        }
        if let Some(ips) = ips {
            spec["allowedIPs"] = json!(ips);
        }
        asked(spec)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(500) })]

    /// Applying what is decided, as often as anything is, ends where every setting is Neon's or an older object's.
    #[test]
    fn settings_converge_and_nobody_older_is_overruled(
        wanted in settings(), older in prop::collection::vec(settings(), 0..3), history in 0_i64..100_000, active in 0_i64..100_000,
    ) {
        let mut desired = desired();
        desired.settings = Ok(wanted.clone());
        let mut observed = settled();
        observed.claims = older
            .iter()
            .enumerate()
            .map(|(n, settings)| Claim { by: format!("older-{n}"), settings: settings.clone() })
            .collect();
        let mut project = neon_has(history, active);
        for round in 0.. {
            prop_assert!(round < 2, "not at rest after {round} changes");
            observed.project = Fact::Known(project.clone());
            let Decision::Act(Action::ApplySettings(change)) = decide(&desired, &observed, Timestamp::UNIX_EPOCH) else { break };
            for setting in change.0.keys() {
                let first = older.iter().find_map(|other| other.0.get(setting));
                prop_assert!(first.is_none_or(|theirs| Some(theirs) == wanted.0.get(setting)));
            }
            let update = change.update(&project);
            project.history_retention_seconds = update.history_retention_seconds.or(project.history_retention_seconds);
            let have = project.settings.get_or_insert_default();
            have.quota = update.settings.quota.or(have.quota.take());
            have.allowed_ips = update.settings.allowed_ips.or(have.allowed_ips.take());
        }
        let left = wanted.unlike(&Settings::of(&project));
        for setting in left.0.keys() {
            prop_assert!(older.iter().any(|other| other.0.contains_key(setting)), "{setting:?} was not made");
        }
    }
}
