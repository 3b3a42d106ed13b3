//! What a scrape shows, under which name.

use super::*;
use crate::telemetry::RunOutcome;

fn lines(metrics: &Metrics) -> Vec<String> {
    metrics
        .encode()
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect()
}

fn has(metrics: &Metrics, line: &str) -> bool {
    lines(metrics).iter().any(|one| one == line)
}

#[test]
fn what_is_counted_is_shown_under_its_name() {
    let metrics = Metrics::new();
    metrics.pass("NeonDatabase", Outcome::Settled, Duration::from_millis(3));
    metrics.action("NeonDatabase", "create_branch");
    metrics.error("SepulkiMigration", "transient");
    metrics.neon_request(
        "GET",
        "/projects/{project}/branches",
        Some(429),
        Duration::from_millis(700),
    );
    metrics.neon_request("POST", "/projects/{project}/branches", None, Duration::ZERO);
    metrics.neon_operation("start_compute", Duration::from_millis(2_070));
    metrics.neon_operation("nobody_knows", Duration::from_millis(20));
    metrics.migrations().applied();
    metrics.migrations().failed(Some("42P07"));
    metrics.migrations().failed(None);
    metrics.migrations().retried();
    let (waited, held_up) = (Duration::from_millis(500), Duration::from_millis(1_500));
    metrics.migrations().lock_time(waited, held_up);
    let took = Duration::from_millis(700);
    metrics.migrations().run(RunOutcome::Failed, took);
    metrics.branch_left_behind();
    for line in [
        r#"sepulki_reconcile_passes_total{kind="NeonDatabase",outcome="settled"} 1"#,
        r#"sepulki_reconcile_duration_seconds_bucket{le="0.005",kind="NeonDatabase"} 1"#,
        r#"sepulki_actions_total{kind="NeonDatabase",action="create_branch"} 1"#,
        r#"sepulki_errors_total{kind="SepulkiMigration",class="transient"} 1"#,
        r#"sepulki_neon_requests_total{method="GET",route="/projects/{project}/branches",status="429"} 1"#,
        r#"sepulki_neon_requests_total{method="POST",route="/projects/{project}/branches",status="none"} 1"#,
        r#"sepulki_neon_budget_wait_seconds_bucket{le="0.5"} 1"#,
        r#"sepulki_neon_budget_wait_seconds_bucket{le="1.0"} 2"#,
        r#"sepulki_neon_operation_duration_seconds_bucket{le="1.0",action="start_compute"} 0"#,
        r#"sepulki_neon_operation_duration_seconds_bucket{le="2.5",action="start_compute"} 1"#,
        r#"sepulki_neon_operation_duration_seconds_count{action="other"} 1"#,
        "sepulki_migrations_applied_total 1",
        r#"sepulki_migrations_failed_total{sqlstate_class="42"} 1"#,
        r#"sepulki_migrations_failed_total{sqlstate_class="none"} 1"#,
        "sepulki_migration_retries_total 1",
        "sepulki_migration_lock_wait_seconds_total 0.5",
        "sepulki_migration_blocked_seconds_total 1.5",
        r#"sepulki_migration_run_duration_seconds_bucket{le="0.5",outcome="failed"} 0"#,
        r#"sepulki_migration_run_duration_seconds_bucket{le="1.0",outcome="failed"} 1"#,
        "sepulki_branches_left_behind_total 1",
        concat!(
            r#"sepulki_build_info{version=""#,
            env!("CARGO_PKG_VERSION"),
            r#""} 1"#
        ),
    ] {
        assert!(
            has(&metrics, line),
            "missing {line} in {:#?}",
            lines(&metrics)
        );
    }
}

#[test]
fn every_metric_is_described() {
    let document = include_str!("../../../docs/metrics.md");
    let metrics = Metrics::new();
    metrics.objects("NeonDatabase", ObjectCounts::default);
    metrics.branches(BranchCounts::default);
    metrics.computes(Vec::new);
    for line in lines(&metrics) {
        if let Some(told) = line.strip_prefix("# TYPE ") {
            let (name, kind) = told.split_once(' ').unwrap();
            let name = match kind {
                "counter" => format!("{name}_total"),
                "info" => format!("{name}_info"),
                _ => name.to_owned(),
            };
            assert!(
                document.contains(&format!("| `{name}` |")),
                "{name} is not in the document"
            );
        }
    }
}

#[test]
fn alerts_can_rest_on_counters_before_their_first_event() {
    let metrics = Metrics::new();
    assert!(has(&metrics, "sepulki_branches_left_behind_total 0"));
    assert!(has(&metrics, "sepulki_migrations_applied_total 0"));
    for outcome in [
        "applied",
        "failed",
        "deadline_exceeded",
        "refused",
        "put_off",
    ] {
        let count = "sepulki_migration_run_duration_seconds_count";
        let line = format!("{count}{{outcome=\"{outcome}\"}} 0");
        assert!(has(&metrics, &line), "{line}");
    }
    assert_eq!(lines(&metrics).last().map(String::as_str), Some("# EOF"));
}

#[test]
fn an_abandoned_wait_is_no_longer_counted() {
    let metrics = Metrics::new();
    let (one, two) = (metrics.waiting(), metrics.clone().waiting());
    assert!(has(&metrics, "sepulki_admission_waiting 2"));
    drop(one);
    assert!(has(&metrics, "sepulki_admission_waiting 1"));
    drop(two);
    assert!(has(&metrics, "sepulki_admission_waiting 0"));
}
