//! What a project's plan refuses, with Neon's codes and words.

use jiff::{SignedDuration, Timestamp};
use neon_emulator::{Limits, SuspendLimit};
use serde_json::{Value, json};

use crate::support::{Answer, psql, shared};

#[track_caller]
fn refused(answer: &Answer, status: u16, code: &str, message: &str) {
    let said = (answer.status, answer.body["code"].as_str().unwrap());
    assert_eq!(said, (status, code), "{}", answer.body);
    assert!(answer.message().starts_with(message), "{}", answer.body);
}

#[tokio::test]
async fn a_full_project_takes_no_more_branches_or_protection() {
    let neon = shared();
    let main = neon.api.project().await;
    let child = neon.api.child(&main, "child").await;
    let limits = Limits {
        branches: 2,
        protected_branches: 1,
        ..Limits::default()
    };
    neon.emulator.set_limits(&main.project, limits);
    let project = neon
        .api
        .get(&format!("/projects/{}", main.project))
        .await
        .expect(200);
    assert_eq!(project["project"]["owner"]["branches_limit"], 2);

    let path = format!("/projects/{}/branches", main.project);
    let another = neon
        .api
        .post(&path, json!({"branch": {"name": "another"}}))
        .await;
    refused(
        &another,
        422,
        "BRANCHES_LIMIT_EXCEEDED",
        "branches limit exceeded",
    );
    let body = json!({"source_branch_id": main.branch, "preserve_under_name": "kept"});
    let preserving = neon.api.post(&child.at("/restore"), body).await;
    refused(
        &preserving,
        422,
        "BRANCHES_LIMIT_EXCEEDED",
        "branches limit exceeded",
    );

    let guarded = json!({"branch": {"protected": true}});
    neon.api
        .patch(&main.at(""), guarded.clone())
        .await
        .expect(200);
    neon.api
        .patch(&main.at(""), guarded.clone())
        .await
        .expect(200);
    let second = neon.api.patch(&child.at(""), guarded).await;
    let code = "BRANCHES_PROTECTED_LIMIT_EXCEEDED";
    refused(&second, 422, code, "protected branches limit exceeded");
}

#[tokio::test]
async fn beyond_the_limit_of_active_computes_they_stay_asleep() {
    let neon = shared();
    let main = neon.api.project().await;
    let awake = neon.api.child(&main, "awake").await;
    let limits = Limits {
        active_computes: 1,
        ..Limits::default()
    };
    neon.emulator.set_limits(&main.project, limits);

    let asleep = neon.api.child(&main, "asleep").await;
    assert_eq!(neon.api.state(&asleep).await, "init");
    let path = format!("/projects/{}/operations?limit=1", main.project);
    let last = neon.api.get(&path).await.expect(200);
    assert_eq!(last["operations"][0]["status"], "skipped");
    let start = format!("{}/start", asleep.endpoint_path());
    let started = neon.api.post(&start, json!({})).await;
    refused(
        &started,
        422,
        "ACTIVE_ENDPOINTS_LIMIT_EXCEEDED",
        "active endpoints limit exceeded",
    );
    let connected = psql(&neon.conninfo(&asleep), "SELECT 1").unwrap_err();
    assert!(
        connected.contains("exceeded the limit of concurrently active endpoints"),
        "{connected}"
    );
    assert_eq!(
        neon.sql(&main, "SELECT 1"),
        "1",
        "the default branch does not count"
    );

    let suspend = neon
        .api
        .post(&format!("{}/suspend", awake.endpoint_path()), json!({}));
    neon.api.done(&main.project, suspend).await;
    assert_eq!(neon.sql(&asleep, "SELECT 1"), "1");
}

#[tokio::test]
async fn sizes_patience_leases_and_history_end_where_the_plan_does() {
    let neon = shared();
    let main = neon.api.project().await;
    let child = neon.api.child(&main, "child").await;
    let url = neon.emulator.stats_url();
    let url = url.replace("stats", &format!("projects/{}/limits", main.project));
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let limits = Limits {
        longest_ttl_seconds: 7 * 86_400,
        ..Limits::free()
    };
    let set = http.put(&url).json(&limits).send().await.unwrap();
    assert_eq!(set.status(), 200);
    assert_eq!(neon.emulator.limits(&main.project).unwrap(), limits);
    let unknown = http.put(&url).json(&json!({"brunches": 1}));
    assert_eq!(unknown.send().await.unwrap().status(), 400);

    let endpoint = async |fields: Value| {
        let body = json!({"endpoint": fields});
        neon.api.patch(&child.endpoint_path(), body).await
    };
    let large = endpoint(json!({"autoscaling_limit_max_cu": 4})).await;
    refused(
        &large,
        422,
        "",
        "autoscaling_limit_max_cu exceeds the maximum of 2",
    );
    let patient = endpoint(json!({"suspend_timeout_seconds": 600})).await;
    refused(
        &patient,
        422,
        "",
        "suspend interval changing is not allowed for your account",
    );
    assert_eq!(
        endpoint(json!({"suspend_timeout_seconds": 300}))
            .await
            .status,
        200
    );
    neon.api.settle(&main.project).await;
    let launch = Limits {
        suspend: SuspendLimit::OnOff,
        ..limits
    };
    neon.emulator.set_limits(&main.project, launch);
    assert_eq!(
        endpoint(json!({"suspend_timeout_seconds": -1}))
            .await
            .status,
        200
    );
    neon.api.settle(&main.project).await;
    assert_eq!(
        endpoint(json!({"suspend_timeout_seconds": 600}))
            .await
            .status,
        422
    );

    let later = (Timestamp::now() + SignedDuration::from_hours(8 * 24)).to_string();
    let lease = json!({"branch": {"expires_at": later}});
    let lease = neon.api.patch(&child.at(""), lease).await;
    refused(
        &lease,
        400,
        "",
        "expires_at must not be more than 7 days in the future",
    );
    let history = json!({"project": {"history_retention_seconds": 604_800}});
    let history = neon
        .api
        .patch(&format!("/projects/{}", main.project), history)
        .await;
    let words = "requested history retention seconds exceeds allowed maximum; \
                 requested_history_retention_seconds:\"604800\", max:\"21600\"";
    refused(&history, 400, "", words);
}
