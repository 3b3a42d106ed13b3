//! Whole passes in a small world: what is applied, what is told, and what it costs.

use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;

use super::world::Fake;
use super::*;
use crate::api::{Reason, SepulkiMigration, SepulkiMigrationStatus};
use crate::clock::Clock as _;
use crate::engine::run::{Progress, RunError};
use crate::engine::{Code, Diagnostic, Position};
use crate::reconcile::{Class, PassReport, Verdict, drive};

const ALL: [&str; 3] = ["001_a.sql", "002_b.sql", "003_c.sql"];

#[track_caller]
pub(super) fn settles(report: &PassReport) {
    assert!(matches!(report.verdict, Verdict::Settled(_)), "{report:?}");
}

#[track_caller]
fn fails(report: &PassReport) -> (Class, Reason) {
    let Verdict::Failed(error) = &report.verdict else {
        panic!("the pass was to fail: {report:?}");
    };
    (error.class, error.reason)
}

#[track_caller]
pub(super) fn blocked(report: &PassReport) -> (Reason, &str) {
    let Verdict::Blocked(block) = &report.verdict else {
        panic!("the pass was to be blocked: {report:?}");
    };
    (block.reason, &block.message)
}

fn says(status: &SepulkiMigrationStatus, type_: &str) -> (bool, String) {
    let found = status.conditions.iter().find(|c| c.type_ == type_).unwrap();
    (found.status == "True", found.reason.clone())
}

fn refused(version: &str) -> RunError {
    RunError::Failed(Box::new(Diagnostic {
        file: version.into(),
        code: Code::Refused,
        position: Some(Position { line: 2, column: 5 }),
        sqlstate: Some("42P07".into()),
        message: "relation \"b\" already exists".into(),
        detail: None,
        hint: None,
        snippet: None,
        outcome: None,
    }))
}

#[tokio::test]
async fn a_new_migration_is_applied_in_one_pass_with_two_sessions() {
    let world = Fake::new();
    let operator = world.operator();
    let report = world.pass(&operator).await;
    settles(&report);
    assert_eq!(report.actions, ["ReadLedger", "Apply"]);
    assert_eq!(world.applied(), ALL);
    let [_, inspections, runs, ..] = world.effort();
    assert_eq!((inspections, runs), (1, 1));
    let status = world.status();
    assert_eq!(status.progress_text.as_deref(), Some("3/3"));
    let applied = status.applied.clone().unwrap();
    assert_eq!(
        (applied.count, applied.last_version.as_deref()),
        (3, Some("003_c.sql"))
    );
    assert_eq!(status.pending.as_ref().map(|p| p.count), Some(0));
    assert_eq!(status.history.len(), 1);
    assert_eq!(status.history[0].versions, ALL);
    let by = status.history[0].by.as_deref();
    assert_eq!(by, Some("sepulki/team/m"));
    let to = status.applied_to.clone().unwrap();
    assert_eq!(
        (to.branch_id.as_str(), to.incarnation.as_str()),
        ("br-1", "i-1")
    );
    for type_ in ["Ready", "SourceReady", "Planned", "Applied"] {
        assert!(says(&status, type_).0, "{type_} in {status:?}");
    }
}

#[tokio::test]
async fn the_key_of_a_neonproject_is_read_where_that_says() {
    let world = Fake::new();
    {
        let mut state = world.state();
        state.databases[0].spec.project_id = None;
        state.databases[0].spec.project_ref =
            serde_json::from_value(json!({"name": "sea"})).unwrap();
    }
    let operator = world.operator();
    let report = world.pass(&operator).await;
    assert_eq!(fails(&report), (Class::Transient, Reason::ProjectNotReady));
    let spec = json!({"projectId": "p-1", "apiKeySecretRef": {"namespace": "keys"}});
    let sea = crate::api::NeonProject::new("sea", serde_json::from_value(spec).unwrap());
    world.state().projects = vec![sea];
    settles(&world.pass(&operator).await);
    assert_eq!(world.applied(), ALL);
}

#[tokio::test]
async fn nothing_is_read_or_applied_where_the_compute_has_gone_to_another_branch() {
    let world = Fake::new();
    world.state().served = "br-restored".into();
    let operator = world.operator();
    let report = world.pass(&operator).await;
    assert_eq!(fails(&report), (Class::Conflict, Reason::DatabaseNotReady));
    let message = format!("{:?}", report.verdict);
    for part in ["ep-1", "br-restored", "br-1"] {
        assert!(message.contains(part), "{message}");
    }
    let [_, inspections, runs, ..] = world.effort();
    assert_eq!((inspections, runs), (0, 0));
    world.state().served = "br-1".into();
    settles(&world.pass(&operator).await);
    assert_eq!(world.applied(), ALL);
}

#[tokio::test]
async fn a_settled_migration_costs_nothing_not_even_after_a_restart() {
    let world = Fake::new();
    let operator = world.operator();
    settles(&world.pass(&operator).await);
    let before = world.effort();
    for _ in 0..20 {
        world.clock.advance(SignedDuration::from_secs(20));
        settles(&world.pass(&operator).await);
    }
    assert_eq!(world.effort(), before);
    let [reads, sessions @ ..] = before;
    settles(&world.pass(&world.operator()).await);
    let [reads_after, sessions_after @ ..] = world.effort();
    assert_eq!((reads_after, sessions_after), (reads + 1, sessions));
    // and its ConfigMaps are looked at again after ten minutes, in case the watch told nothing
    world.clock.advance(SignedDuration::from_mins(10));
    settles(&world.pass(&operator).await);
    assert_eq!(world.effort()[0], reads + 2);
}

#[tokio::test]
async fn a_database_that_was_migrated_by_hand_is_taken_over_without_running_anything() {
    let world = Fake::new();
    world.state().ledger = ledger(&three_files(), &ALL);
    for row in &mut world.state().ledger.rows {
        row.applied_at = "2025-01-01T00:00:00Z".parse().ok();
    }
    let report = world.pass(&world.operator()).await;
    settles(&report);
    assert_eq!(report.actions, ["ReadLedger"]);
    assert_eq!(world.status().progress_text.as_deref(), Some("3/3"));
    assert!(
        world.status().history.is_empty(),
        "nobody saw a run of these files"
    );
}

#[tokio::test]
async fn a_changed_config_map_is_seen_when_its_watch_tells() {
    let world = Fake::new();
    let operator = world.operator();
    settles(&world.pass(&operator).await);
    world.edit("004_d.sql", "CREATE TABLE d (id int);");
    operator.forget_config_map("team", "files");
    settles(&world.pass(&operator).await);
    assert_eq!(
        world.applied().last().map(String::as_str),
        Some("004_d.sql")
    );
    let status = world.status();
    assert_eq!(status.progress_text.as_deref(), Some("4/4"));
    assert_eq!(status.history[0].versions, ["004_d.sql"]);
    assert_eq!(status.history.len(), 2);
}

#[tokio::test]
async fn a_config_map_that_is_missing_is_waited_for_and_then_used() {
    let world = Fake::new();
    let operator = world.operator();
    let files = world.state().config_maps.remove("files").unwrap();
    let report = world.pass(&operator).await;
    let Verdict::Waiting(wait) = &report.verdict else {
        panic!("{report:?}");
    };
    assert_eq!(wait.reason, Reason::ConfigMapNotFound);
    let status = world.status();
    assert_eq!(
        says(&status, "Reconciling"),
        (true, "ConfigMapNotFound".into())
    );
    assert_eq!(
        says(&status, "SourceReady"),
        (false, "ConfigMapNotFound".into())
    );
    assert_eq!(
        world.effort()[1..4],
        [0, 0, 0],
        "no session, no call to Neon"
    );
    world.state().config_maps.insert("files".into(), files);
    settles(&world.pass(&operator).await);
}

#[tokio::test]
async fn a_digest_holds_files_back_until_they_are_the_ones_that_were_meant() {
    let world = Fake::new();
    let operator = world.operator();
    settles(&world.pass(&operator).await);
    let mut meant = three_files();
    meant.push(file("004_d.sql", "CREATE TABLE d (id int);"));
    let digest = Listing::of(&meant).digest;
    let maps = json!({"configMaps": {"refs": [{"name": "files"}], "digest": digest}});
    world.state().object.spec = object(&json!({"source": maps})).spec;
    let report = world.pass(&operator).await;
    let Verdict::Waiting(wait) = &report.verdict else {
        panic!("{report:?}");
    };
    assert_eq!(wait.reason, Reason::DigestMismatch);
    // seen without the watch, which may tell of the ConfigMap later than of the object
    world.edit("004_d.sql", "CREATE TABLE d (id int);");
    settles(&world.pass(&operator).await);
    assert_eq!(world.applied().len(), 4);
}

#[tokio::test]
async fn a_file_that_fails_stops_there_until_it_is_corrected() {
    let world = Fake::new();
    let operator = world.operator();
    world.state().faults.push_back((2, refused("002_b.sql")));
    let report = world.pass(&operator).await;
    let (reason, message) = blocked(&report);
    assert_eq!(reason, Reason::MigrationFailed);
    assert!(message.contains("002_b.sql:2:5: relation"), "{message}");
    assert_eq!(world.applied(), ["001_a.sql"]);
    let status = world.status();
    assert_eq!(says(&status, "Stalled"), (true, "MigrationFailed".into()));
    assert_eq!(says(&status, "Applied"), (false, "MigrationFailed".into()));
    let planned = status.conditions.iter().find(|c| c.type_ == "Planned");
    assert_eq!(planned.unwrap().message, "2 files pending");
    assert_eq!(status.progress_text.as_deref(), Some("1/3"));
    let failure = status.last_error.unwrap();
    assert_eq!(
        (failure.line, failure.sql_state.as_deref()),
        (Some(2), Some("42P07"))
    );
    assert_eq!(status.history[0].versions, ["001_a.sql"]);

    // neither time nor a restart make it try again
    let before = world.effort();
    world.clock.advance(SignedDuration::from_hours(1));
    let report = world.pass(&world.operator()).await;
    assert_eq!(blocked(&report).0, Reason::MigrationFailed);
    assert_eq!(world.effort()[1..], before[1..]);

    world.edit("002_b.sql", "CREATE TABLE b2 (id int);");
    operator.forget_config_map("team", "files");
    settles(&world.pass(&operator).await);
    assert_eq!(world.applied(), ALL);
    let status = world.status();
    assert_eq!(status.last_error, None);
    assert!(!says(&status, "Stalled").0);
    assert_eq!(status.history.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_a_run_did_and_cost_is_counted() {
    let world = Fake::new();
    let operator = world.operator();
    let half = Duration::from_millis(500);
    world.state().tells = vec![
        Progress::LockTime {
            waited: half,
            held_up: half * 3,
        },
        Progress::Retrying {
            version: "001_a.sql".into(),
            reason: "locks".into(),
            pause: half,
        },
    ];
    world.state().file_takes = Duration::from_secs(2);
    world.state().faults.push_back((2, refused("002_b.sql")));
    blocked(&world.pass(&operator).await);
    world.annotate("sepulki.dev/retry", "1");
    let busy = RunError::Busy("somebody".into());
    world.state().faults.push_back((1, busy));
    fails(&world.pass(&operator).await);
    settles(&world.pass(&operator).await);
    let metrics = operator.world.metrics.encode().unwrap();
    for line in [
        "sepulki_migrations_applied_total 3",
        r#"sepulki_migrations_failed_total{sqlstate_class="42"} 1"#,
        "sepulki_migration_retries_total 1",
        "sepulki_migration_lock_wait_seconds_total 0.5",
        "sepulki_migration_blocked_seconds_total 1.5",
        r#"sepulki_migration_run_duration_seconds_sum{outcome="failed"} 2.0"#,
        r#"sepulki_migration_run_duration_seconds_count{outcome="put_off"} 1"#,
        r#"sepulki_migration_run_duration_seconds_sum{outcome="applied"} 4.0"#,
    ] {
        let has = metrics.lines().any(|told| told == line);
        assert!(has, "missing {line} in {metrics}");
    }
}

#[tokio::test]
async fn a_stalled_migration_does_not_wake_the_compute_to_look() {
    let world = Fake::new();
    let operator = world.operator();
    world.state().ledger = ledger(&three_files(), &["001_a.sql"]);
    world.state().ledger.rows[0].checksum = Some("0".repeat(64));
    for _ in 0..10 {
        let report = world.pass(&operator).await;
        assert_eq!(blocked(&report).0, Reason::ChecksumMismatch);
        world.clock.advance(SignedDuration::from_mins(1));
    }
    assert_eq!(world.effort()[1..3], [1, 0], "one look, no run");
    // now and then, for those who correct the ledger itself
    blocked(&world.pass(&operator).await);
    assert_eq!(world.effort()[1], 2);
    // at once, where something changes
    world.state().ledger = ledger(&three_files(), &["001_a.sql"]);
    world.state().object.metadata.generation = Some(2);
    settles(&world.pass(&operator).await);
    assert_eq!(world.applied(), ALL);
}

#[tokio::test]
async fn retry_runs_what_has_failed_once_more_for_each_new_value() {
    let world = Fake::new();
    let operator = world.operator();
    world.state().faults = [(2, refused("002_b.sql")), (1, refused("002_b.sql"))].into();
    assert_eq!(
        blocked(&world.pass(&operator).await).0,
        Reason::MigrationFailed
    );
    // to look again is not to try again
    world.annotate("sepulki.dev/reconcile", "1");
    assert_eq!(
        blocked(&world.pass(&operator).await).0,
        Reason::MigrationFailed
    );
    assert_eq!(world.effort()[2], 1);
    world.annotate("sepulki.dev/retry", "1");
    for _ in 0..3 {
        let report = world.pass(&operator).await;
        assert_eq!(blocked(&report).0, Reason::MigrationFailed);
    }
    assert_eq!(world.effort()[2], 2, "one run for one value");
    world.annotate("sepulki.dev/retry", "2");
    settles(&world.pass(&operator).await);
    assert_eq!(world.applied(), ALL);
    let handled = world.status().handled;
    assert_eq!(
        (handled.reconcile.as_deref(), handled.retry.as_deref()),
        (Some("1"), Some("2"))
    );
}

#[tokio::test]
async fn reconcile_reads_files_and_ledger_anew() {
    let world = Fake::new();
    let operator = world.operator();
    settles(&world.pass(&operator).await);
    // somebody has put an older state of the database back, which no watch tells
    world.state().ledger.rows.truncate(2);
    settles(&world.pass(&operator).await);
    assert_eq!(world.applied().len(), 2);
    world.annotate("sepulki.dev/reconcile", "now");
    settles(&world.pass(&operator).await);
    assert_eq!(world.applied(), ALL);
    let before = world.effort();
    settles(&world.pass(&operator).await);
    assert_eq!(world.effort(), before);
}

#[tokio::test]
async fn files_that_may_do_harm_do_not_run_before_somebody_says_so() {
    let world = Fake::new();
    let operator = world.operator();
    world.edit("002_b.sql", "CREATE TABLE b (id int);\nTRUNCATE a CASCADE;");
    let report = world.pass(&operator).await;
    let (reason, message) = blocked(&report);
    assert_eq!(reason, Reason::LintFailed);
    for part in [
        "error[ban-truncate-cascade] 002_b.sql:2:",
        "spec.policies.ignoreLint",
    ] {
        assert!(message.contains(part), "{message}");
    }
    assert!(world.applied().is_empty(), "the file before it waits, too");
    for _ in 0..5 {
        world.clock.advance(SignedDuration::from_mins(1));
        blocked(&world.pass(&operator).await);
    }
    assert_eq!(world.effort()[1..3], [1, 0], "one look, no run");
    assert_eq!(
        says(&world.status(), "Stalled"),
        (true, "LintFailed".into())
    );

    let ignored =
        json!([{"rule": "ban-truncate-cascade", "version": "002_b.sql", "reason": "a is small"}]);
    world.state().object.spec = object(&json!({"policies": {"ignoreLint": ignored}})).spec;
    world.state().object.metadata.generation = Some(2);
    settles(&world.pass(&operator).await);
    assert_eq!(world.applied(), ALL);
    // and what is applied is nobody's trouble any more
    world.state().object.spec = object(&json!({})).spec;
    world.annotate("sepulki.dev/reconcile", "1");
    settles(&world.pass(&operator).await);
}

#[tokio::test]
async fn an_edited_file_that_is_put_up_with_is_an_event_once() {
    let world = Fake::new();
    let operator = world.operator();
    let warn = json!({"policies": {"checksumMismatch": "Warn"}});
    world.state().object.spec = object(&warn).spec;
    settles(&world.pass(&operator).await);
    world.edit("002_b.sql", "CREATE TABLE b (id bigint);");
    let mut told = Vec::new();
    for look in ["1", "2"] {
        world.annotate("sepulki.dev/reconcile", look);
        let object = world.state().object.clone();
        let (pass, report) = drive(&operator, object, || world.clock.now(), false).await;
        settles(&report);
        told.extend(pass.notices);
    }
    let [notice] = told.as_slice() else {
        panic!("{told:?}");
    };
    assert_eq!(
        (notice.warning, notice.reason),
        (true, Reason::ChecksumMismatch)
    );
    assert!(
        notice
            .message
            .starts_with("002_b.sql was edited after it was applied"),
        "{notice:?}"
    );
    let status = world.status();
    let planned = status
        .conditions
        .iter()
        .find(|c| c.type_ == "Planned")
        .unwrap();
    assert!(planned.message.contains(&notice.message), "{planned:?}");
}

#[tokio::test]
async fn files_reach_production_only_after_staging() {
    let world = Fake::new();
    let operator = world.operator();
    let requires = json!({"requires": [{"migrationRef": {"name": "first"}}]});
    world.state().object.spec = object(&requires).spec;
    let mut first = object(&json!({"databaseRef": {"name": "elsewhere"}}));
    first.metadata.name = Some("first".into());
    first.metadata.uid = Some("uid-first".into());
    for others in [vec![], vec![first.clone()]] {
        world.state().others = others;
        let report = world.pass(&operator).await;
        let Verdict::Waiting(wait) = &report.verdict else {
            panic!("{report:?}");
        };
        assert_eq!(wait.reason, Reason::WaitingForMigration);
        assert_eq!(world.effort()[1..4], [0, 0, 0], "the compute sleeps on");
    }
    let digest = Listing::of(&three_files()).digest;
    let to = json!({"branchId": "br-9", "incarnation": "i", "database": "app", "digest": digest});
    first.status = serde_json::from_value(json!({"appliedTo": to})).unwrap();
    world.state().others = vec![first];
    settles(&world.pass(&operator).await);
    assert_eq!(world.applied(), ALL);
}

#[tokio::test]
async fn a_broken_connection_passes_and_the_next_run_goes_on() {
    let world = Fake::new();
    let operator = world.operator();
    let broken = RunError::Transient("the connection broke".into());
    world.state().faults.push_back((3, broken));
    let report = world.pass(&operator).await;
    assert_eq!(
        fails(&report),
        (Class::Transient, Reason::DatabaseUnavailable)
    );
    let status = world.status();
    assert_eq!(
        says(&status, "Reconciling"),
        (true, "DatabaseUnavailable".into())
    );
    assert_eq!(status.progress_text.as_deref(), Some("2/3"));
    assert_eq!(status.last_error, None);
    settles(&world.pass(&operator).await);
    assert_eq!(world.applied(), ALL);
    let told: Vec<_> = world
        .status()
        .history
        .into_iter()
        .map(|run| run.versions)
        .collect();
    assert_eq!(told, [vec!["003_c.sql"], vec!["001_a.sql", "002_b.sql"]]);
}

#[tokio::test]
async fn a_run_whose_record_was_lost_is_found_in_the_ledger() {
    let world = Fake::new();
    world.state().writes_fail = 2;
    let report = world.pass(&world.operator()).await;
    assert_eq!(
        fails(&report),
        (Class::Transient, Reason::ClusterUnavailable)
    );
    assert_eq!(world.applied(), ALL);
    assert!(world.state().object.status.is_none());
    // the next operator
    let report = world.pass(&world.operator()).await;
    settles(&report);
    assert_eq!(report.actions, ["ReadLedger"]);
    assert_eq!(world.applied(), ALL);
    let history = world.status().history;
    assert_eq!(history.len(), 1);
    assert_eq!(history[0].versions, ALL);
    assert_eq!(history[0].by, None, "nobody saw whose run it was");
}

#[tokio::test]
async fn a_crash_at_any_moment_of_a_run_only_makes_the_ledger_be_read_again() {
    for crash in 1..=3 {
        let world = Fake::new();
        world.state().file_takes = Duration::from_mins(1);
        {
            let operator = world.operator();
            let after = Duration::from_secs(60 * crash - 30);
            tokio::time::pause();
            let gone = tokio::time::timeout(after, world.pass(&operator)).await;
            assert!(
                gone.is_err(),
                "the operator was killed in the middle of a file"
            );
        }
        let committed = world.applied().len();
        assert_eq!(committed, usize::try_from(crash - 1).unwrap());
        settles(&world.pass(&world.operator()).await);
        assert_eq!(world.applied(), ALL);
        assert_eq!(world.status().current, None);
        tokio::time::resume();
    }
}

#[tokio::test(start_paused = true)]
async fn a_long_run_is_shown_while_it_lasts_and_a_short_one_is_not() {
    let world = Fake::new();
    world.state().file_takes = Duration::from_secs(10);
    settles(&world.pass(&world.operator()).await);
    let written = world.state().written.clone();
    let shown: Vec<_> = written.iter().filter(|s| s.current.is_some()).collect();
    let versions: Vec<_> = shown
        .iter()
        .map(|s| s.current.as_ref().unwrap().version.as_str())
        .collect();
    assert_eq!(versions, ALL);
    let progress: Vec<_> = shown
        .iter()
        .map(|s| s.progress_text.as_deref().unwrap())
        .collect();
    assert_eq!(progress, ["0/3", "1/3", "2/3"]);
    assert_eq!(says(shown[0], "Reconciling"), (true, "Progressing".into()));
    assert_eq!(says(shown[0], "Applied"), (false, "Applying".into()));
    assert_eq!(written.last().unwrap().current, None);

    let world = Fake::new();
    settles(&world.pass(&world.operator()).await);
    assert!(world.state().written.iter().all(|s| s.current.is_none()));
}

#[tokio::test(start_paused = true)]
async fn a_run_that_broke_off_is_no_longer_shown() {
    let world = Fake::new();
    world.state().file_takes = Duration::from_secs(10);
    let broken = RunError::Transient("the connection broke".into());
    world.state().faults.push_back((2, broken));
    fails(&world.pass(&world.operator()).await);
    assert!(world.state().written.iter().any(|s| s.current.is_some()));
    assert_eq!(world.status().current, None);
}

#[tokio::test(start_paused = true)]
async fn while_a_run_lasts_nobody_else_gets_the_branch() {
    let world = Fake::new();
    world.state().file_takes = Duration::from_secs(10);
    let operator = world.operator();
    let locks = operator.world.locks.clone();
    let run = world.pass(&operator);
    let look = async {
        tokio::time::sleep(Duration::from_secs(15)).await;
        assert!(locks.exclusive("br-1").is_none());
        assert!(locks.shared("br-1").is_some());
    };
    let (report, ()) = tokio::join!(run, look);
    settles(&report);
    assert!(locks.exclusive("br-1").is_some());
}

#[tokio::test]
async fn a_branch_that_is_being_changed_is_left_alone() {
    let world = Fake::new();
    let operator = world.operator();
    let change = operator.world.locks.exclusive("br-1").unwrap();
    let report = world.pass(&operator).await;
    let Verdict::Waiting(wait) = &report.verdict else {
        panic!("{report:?}");
    };
    assert_eq!(wait.reason, Reason::BranchBusy);
    assert_eq!(world.effort()[1..4], [0, 0, 0]);
    drop(change);
    settles(&world.pass(&operator).await);
    // what is applied stays applied while the branch is being changed
    let _change = operator.world.locks.exclusive("br-1").unwrap();
    settles(&world.pass(&operator).await);
}

#[tokio::test]
async fn a_password_that_was_just_rotated_passes_and_one_that_is_refused_for_good_does_not() {
    let world = Fake::new();
    let operator = world.operator();
    world.state().accepted = ["another".into()].into();
    assert_eq!(
        fails(&world.pass(&operator).await),
        (Class::Denied, Reason::DatabaseRejected)
    );
    settles(&world.pass(&operator).await);
}

#[tokio::test]
async fn a_stopping_operator_ends_its_run_and_the_next_one_goes_on() {
    let world = Fake::new();
    world.state().file_takes = Duration::from_hours(1);
    let operator = world.operator();
    let stop = async {
        while world.effort()[2] == 0 {
            tokio::task::yield_now().await;
        }
        operator.world.stopping.cancel();
    };
    let (report, ()) = tokio::join!(world.pass(&operator), stop);
    assert_eq!(fails(&report), (Class::Transient, Reason::Progressing));
    world.state().file_takes = Duration::ZERO;
    settles(&world.pass(&world.operator()).await);
    assert_eq!(world.applied(), ALL);
}

#[tokio::test]
async fn a_branch_that_was_reset_is_migrated_again() {
    let world = Fake::new();
    let operator = world.operator();
    settles(&world.pass(&operator).await);
    world.state().ledger = ledger(&three_files(), &["001_a.sql"]);
    world.reset_branch("i-2");
    let report = world.pass(&operator).await;
    settles(&report);
    assert_eq!(report.actions, ["ReadLedger", "Apply"]);
    assert_eq!(world.applied(), ALL);
    let status = world.status();
    assert_eq!(status.applied_to.unwrap().incarnation, "i-2");
    assert_eq!(status.history[0].versions, ["002_b.sql", "003_c.sql"]);
}

#[tokio::test]
async fn suspending_keeps_what_was_true_and_applies_nothing() {
    let world = Fake::new();
    let operator = world.operator();
    settles(&world.pass(&operator).await);
    world.edit("004_d.sql", "CREATE TABLE d (id int);");
    operator.forget_config_map("team", "files");
    world.state().object.spec.suspend = true;
    world.state().object.metadata.generation = Some(2);
    let report = world.pass(&operator).await;
    assert!(
        matches!(report.verdict, Verdict::Suspended(_)),
        "{report:?}"
    );
    assert_eq!(world.applied(), ALL);
    let status = world.status();
    assert_eq!(status.observed_generation, 2);
    assert_eq!(says(&status, "Ready"), (true, "Suspended".into()));
    assert_eq!(says(&status, "Applied"), (true, "Applied".into()));
    world.state().object.spec.suspend = false;
    world.state().object.metadata.generation = Some(3);
    settles(&world.pass(&operator).await);
    assert_eq!(world.applied().len(), 4);
}

/// Somebody writes to the object while a run lasts.
async fn edited_during_a_run(edit: impl Fn(&mut SepulkiMigration)) -> (Arc<Fake>, PassReport) {
    let world = Fake::new();
    world.state().file_takes = Duration::from_secs(5);
    let failing = (3, refused("003_c.sql"));
    world.state().faults.push_back(failing);
    let operator = world.operator();
    let editing = async {
        while world.applied().is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let object = &mut world.state().object;
        object.metadata.resource_version = Some("50".into());
        edit(object);
    };
    let (report, ()) = tokio::join!(world.pass(&operator), editing);
    (world.clone(), report)
}

#[tokio::test(start_paused = true)]
async fn a_label_that_comes_during_a_run_costs_nothing() {
    let (world, report) = edited_during_a_run(|object| {
        let labels = object.metadata.labels.get_or_insert_default();
        labels.insert("team".into(), "robots".into());
    })
    .await;
    assert_eq!(blocked(&report).0, Reason::MigrationFailed);
    let status = world.status();
    assert_eq!(status.last_error.unwrap().line, Some(2));
    assert_eq!(status.history.len(), 1);
    // what runs is shown afterwards, too
    let written = world.state().written.clone();
    let shown = written.iter().filter_map(|s| s.current.as_ref());
    let shown: Vec<_> = shown.map(|current| current.version.as_str()).collect();
    assert_eq!(shown, ["001_a.sql", "002_b.sql"]);
}

#[tokio::test(start_paused = true)]
async fn a_spec_that_changes_during_a_run_is_looked_at_anew() {
    let (world, report) = edited_during_a_run(|object| {
        object.metadata.generation = Some(2);
    })
    .await;
    assert_eq!(fails(&report).0, Class::Conflict);
    assert_eq!(world.applied(), ALL[..2]);
    settles(&world.pass(&world.operator()).await);
    assert_eq!(world.applied(), ALL);
}

#[tokio::test(start_paused = true)]
async fn a_status_that_somebody_else_has_written_is_not_overwritten() {
    let (world, report) = edited_during_a_run(|object| {
        let status = object.status.get_or_insert_default();
        status.progress_text = Some("2/3".into());
    })
    .await;
    assert_eq!(fails(&report).0, Class::Conflict);
    assert_eq!(world.status().last_error, None);
}
