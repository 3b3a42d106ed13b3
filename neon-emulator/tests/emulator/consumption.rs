//! What was used: its history, and the quotas that limit it.

use neon_emulator::{EmulatorConfig, Limits};
use serde_json::{Value, json};

use crate::support::{Neon, eventually, own, psql, quick, shared};

const V2_METRICS: &str = "compute_unit_seconds,root_branch_bytes_month,extra_branches_month";

/// A stretch of three hours, with the present one in it.
fn hours() -> String {
    let now = jiff::Timestamp::now();
    let hour = jiff::SignedDuration::from_hours(1);
    format!(
        "granularity=hourly&from={}&to={}",
        now - hour,
        now + hour + hour
    )
}

async fn refused(neon: &Neon, path: &str) -> u16 {
    neon.api
        .get(&format!("/consumption_history/{path}"))
        .await
        .status
}

/// The sum of something over all parts of the only project's or branch's history.
fn sum(items: &Value, of: impl Fn(&Value) -> u64) -> u64 {
    let periods = items[0]["periods"].as_array().unwrap().iter();
    let parts = periods.flat_map(|period| period["consumption"].as_array().unwrap());
    parts.map(of).sum()
}

fn amount(part: &Value, metric: &str) -> u64 {
    let metrics = part["metrics"].as_array().unwrap();
    let found = metrics.iter().find(|one| one["metric_name"] == metric);
    found.unwrap()["value"].as_u64().unwrap()
}

#[tokio::test]
async fn the_time_of_computes_is_told_by_parts_of_time() {
    let neon = own(EmulatorConfig {
        organizations: vec!["org-used-1".to_owned()],
        ..quick()
    });
    let main = neon.api.project_of("org-used-1").await;
    let body = json!({"endpoint": {"autoscaling_limit_min_cu": 2, "autoscaling_limit_max_cu": 4}});
    let resize = neon.api.patch(&main.endpoint_path(), body);
    neon.api.done(&main.project, resize).await;

    let hours = hours();
    let path = format!("/consumption_history/projects?org_id=org-used-1&{hours}");
    let seconds = |part: &Value| part["compute_time_seconds"].as_u64().unwrap();
    let seen = eventually("four seconds of use", async || {
        let shown = neon.api.get(&path).await.expect(200);
        let used = sum(&shown["projects"], seconds);
        (used >= 4).then_some(used)
    })
    .await;
    let suspend = format!("{}/suspend", main.endpoint_path());
    let suspend = neon.api.post(&suspend, json!({}));
    neon.api.done(&main.project, suspend).await;
    let query = format!("org_id=org-used-1&{hours}&metrics={V2_METRICS}");
    let path = format!("/consumption_history/v2/projects?{query}");
    let shown = neon.api.get(&path).await.expect(200);
    let units = |part: &Value| amount(part, "compute_unit_seconds");
    let used = sum(&shown["projects"], units);
    assert!(used >= seen, "{used} {seen}");
    let query = format!(
        "org_id=org-used-1&{hours}&metrics=compute_unit_seconds&project_ids={}",
        main.project
    );
    let path = format!("/consumption_history/v2/branches?{query}");
    let branches = neon.api.get(&path).await.expect(200);
    assert_eq!(branches["branches"][0]["branch_id"], json!(main.branch));
    assert_eq!(
        sum(&branches["branches"], units),
        used,
        "asleep, it uses nothing more"
    );
}

#[tokio::test]
async fn a_history_that_is_not_there_is_refused() {
    let neon = own(EmulatorConfig {
        organizations: vec!["org-used-1".to_owned()],
        ..quick()
    });
    let (hours, org) = (hours(), "org_id=org-used-1");
    for (path, status) in [
        (
            format!("v2/projects?{org}&{hours}&metrics={V2_METRICS}"),
            200,
        ),
        (format!("v2/projects?{org}&{hours}"), 400),
        (format!("v2/projects?{org}&{hours}&metrics=gold"), 400),
        (format!("v2/projects?{hours}&metrics={V2_METRICS}"), 400),
        (
            format!("v2/projects?org_id=org-other&{hours}&metrics={V2_METRICS}"),
            404,
        ),
        (
            format!("v2/branches?{org}&{hours}&metrics=compute_unit_seconds"),
            400,
        ),
        (
            format!("v2/branches?{org}&{hours}&project_ids=a&metrics={V2_METRICS}"),
            400,
        ),
        (format!("projects?{org}&{hours}"), 200),
        (format!("projects?{org}&{hours}&limit=101"), 400),
        (format!("projects?{org}&granularity=hourly"), 400),
        (
            format!(
                "projects?{org}&granularity=hourly&from=2024-05-01T00:00:00Z&to=2024-05-02T00:00:00Z"
            ),
            406,
        ),
    ] {
        assert_eq!(refused(&neon, &path).await, status, "{path}");
    }
    let launch = own(EmulatorConfig {
        limits: Limits::launch(),
        ..quick()
    });
    assert_eq!(
        refused(&launch, &format!("projects?{hours}")).await,
        403,
        "not in this plan"
    );
}

#[tokio::test]
async fn a_project_beyond_its_quota_of_time_does_not_run() {
    let neon = shared();
    let main = neon.api.project().await;
    neon.sql(&main, "SELECT 1");
    let quota = |seconds: u64| json!({"project": {"settings": {"quota": {"active_time_seconds": seconds}}}});
    let project = format!("/projects/{}", main.project);
    let set = neon.api.patch(&project, quota(1));
    neon.api.done(&main.project, set).await;
    eventually("the compute to be suspended", async || {
        (neon.api.state(&main).await == "idle").then_some(())
    })
    .await;
    let complaint = psql(&neon.conninfo(&main), "SELECT 1").unwrap_err();
    assert!(
        complaint.contains("exceeded the compute time quota"),
        "{complaint}"
    );
    let start = format!("{}/start", main.endpoint_path());
    let refused = neon.api.post(&start, json!({})).await;
    assert_eq!(
        (refused.status, &refused.body["code"]),
        (422, &json!("COMPUTE_TIME_EXCEEDED"))
    );
    assert!(
        neon.api.get(&project).await.expect(200)["project"]["active_time_seconds"]
            .as_u64()
            .unwrap()
            >= 1
    );

    let set = neon.api.patch(&project, quota(0));
    neon.api.done(&main.project, set).await;
    assert_eq!(neon.sql(&main, "SELECT 1"), "1", "without a limit again");
    for (name, value, status) in [
        ("written_data_bytes", json!(1), 422),
        ("logical_size_bytes", json!(0), 200),
        ("compute_time_seconds", json!(-1), 400),
    ] {
        let body = json!({"project": {"settings": {"quota": {name: value}}}});
        let answer = neon.api.patch(&project, body).await;
        assert_eq!(answer.status, status, "{name}: {}", answer.body);
    }
}
