//! Snapshots, the branches that they become, and the schedules by which they are taken.

use neon_emulator::{EmulatorConfig, Limits};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Neon, Target, eventually, own, quick, shared, text};

const ALL: &str = "SELECT string_agg(n::text, ',' ORDER BY n) FROM t";

/// Takes a snapshot, and waits until it is taken.
async fn snapshot(neon: &Neon, of: &Target, query: &str) -> Value {
    let call = neon
        .api
        .post(&of.at(&format!("/snapshot{query}")), json!({}));
    let made = neon.api.done(&of.project, call).await;
    let listed = neon
        .api
        .get(&format!("/projects/{}/snapshots", of.project))
        .await;
    let listed = listed.expect(200)["snapshots"].clone();
    let all = listed.as_array().unwrap();
    let same = |one: &&Value| one["id"] == made["snapshot"]["id"];
    all.iter().find(same).expect("it is listed").clone()
}

async fn restore(neon: &Neon, of: &Target, snapshot: &Value, body: Value) -> Value {
    let path = format!(
        "/projects/{}/snapshots/{}/restore",
        of.project,
        text(&snapshot["id"])
    );
    neon.api.done(&of.project, neon.api.post(&path, body)).await
}

/// The branch that came out of a snapshot, with its first endpoint.
fn restored(of: &Target, made: &Value) -> Target {
    Target {
        branch: text(&made["branch"]["id"]),
        endpoint: text(&made["endpoints"][0]["id"]),
        host: text(&made["endpoints"][0]["host"]),
        ..of.clone()
    }
}

async fn put(neon: &Neon, path: &str, body: Value) -> u16 {
    let request = neon.api.request(Method::PUT, path).json(&body);
    request.send().await.unwrap().status().as_u16()
}

#[tokio::test]
async fn a_branch_made_of_a_snapshot_has_the_rows_of_its_time() {
    let neon = shared();
    let main = neon.api.project().await;
    neon.sql(&main, "CREATE TABLE t AS SELECT 1 AS n");
    let lsn = neon.sql(&main, "SELECT pg_current_wal_lsn()");
    neon.sql(&main, "INSERT INTO t VALUES (2)");
    let present = snapshot(&neon, &main, "?name=before").await;
    assert_eq!(present["name"], "before");
    assert_eq!(present["manual"], true);
    assert!(
        present["full_size"].as_u64().unwrap() > 1_000_000,
        "{present}"
    );
    neon.sql(&main, "INSERT INTO t VALUES (3)");
    let past = snapshot(&neon, &main, &format!("?lsn={lsn}")).await;

    let made = restore(&neon, &main, &present, json!({"name": "look"})).await;
    let look = restored(&main, &made);
    assert_eq!(neon.sql(&look, ALL), "1,2");
    let made = restore(&neon, &main, &past, json!({})).await;
    assert_eq!(neon.sql(&restored(&main, &made), ALL), "1");
    assert_eq!(
        neon.sql(&main, ALL),
        "1,2,3",
        "nothing happens to the source"
    );

    // What came out of it does not need it any more.
    for one in [&present, &past] {
        let path = format!("/projects/{}/snapshots/{}", main.project, text(&one["id"]));
        let gone = neon.api.delete(&path).await;
        assert_eq!(gone.status, 202);
        neon.api.settle(&main.project).await;
        assert_eq!(neon.api.delete(&path).await.status, 404);
    }
    neon.sql(&look, "INSERT INTO t VALUES (4)");
    let lsn = neon.sql(&look, "SELECT pg_current_wal_lsn()");
    neon.sql(&look, "DELETE FROM t");
    let body = json!({
        "branch": {"parent_id": look.branch, "parent_lsn": lsn},
        "endpoints": [{"type": "read_write"}],
    });
    let branches = format!("/projects/{}/branches", main.project);
    let fork = neon
        .api
        .done(&main.project, neon.api.post(&branches, body))
        .await;
    assert_eq!(neon.sql(&restored(&main, &fork), ALL), "1,2,4");
}

#[tokio::test]
async fn the_branch_that_takes_anothers_place_has_its_host_its_name_and_its_settings() {
    let neon = own(quick());
    let main = neon.api.project().await;
    neon.sql(&main, "CREATE TABLE t AS SELECT 1 AS n");
    let kept = snapshot(&neon, &main, "").await;
    neon.sql(&main, "INSERT INTO t VALUES (2)");
    let protect = neon
        .api
        .patch(&main.at(""), json!({"branch": {"protected": true}}));
    neon.api.done(&main.project, protect).await;

    let body = json!({"target_branch_id": main.branch, "finalize_restore": true});
    let made = restore(&neon, &main, &kept, body).await;
    let second = restored(&main, &made);
    assert_ne!(second.branch, main.branch);
    assert_eq!(second.host, main.host);
    assert_eq!(
        neon.sql(&main, ALL),
        "1",
        "with the connection string from before"
    );
    let shown = neon.api.get(&second.at("")).await.expect(200)["branch"].clone();
    assert_eq!(shown["name"], "main");
    assert_eq!(
        (&shown["default"], &shown["protected"]),
        (&json!(true), &json!(true))
    );
    assert_eq!(shown["restore_status"], "finalized");
    assert_eq!(shown["restored_as"], json!(main.branch));
    let old = neon.api.get(&main.at("")).await.expect(200)["branch"].clone();
    assert_eq!(old["name"], "main (old)");
    assert_eq!(
        (&old["default"], &old["protected"]),
        (&json!(false), &json!(false))
    );

    // The same in two steps, and what was there last stays to be looked at.
    neon.sql(&second, "INSERT INTO t VALUES (3)");
    let body = json!({"target_branch_id": second.branch, "name": "preview"});
    let preview = restored(&main, &restore(&neon, &main, &kept, body).await);
    assert_eq!(neon.sql(&preview, ALL), "1");
    assert_eq!(neon.sql(&second, ALL), "1,3");
    let call = neon
        .api
        .post(&preview.at("/finalize_restore"), json!({"name": "before"}));
    neon.api.done(&main.project, call).await;
    assert_eq!(neon.sql(&main, ALL), "1");
    let gone = neon.api.get(&preview.endpoint_path()).await;
    assert_eq!(gone.status, 404, "the preview's own compute");
    let again = neon
        .api
        .post(&preview.at("/finalize_restore"), json!({}))
        .await;
    assert_eq!(again.status, 422);
    let add = json!({"endpoint": {"branch_id": second.branch, "type": "read_write"}});
    let path = format!("/projects/{}/endpoints", main.project);
    let added = neon
        .api
        .done(&main.project, neon.api.post(&path, add))
        .await;
    let before = Target {
        host: text(&added["endpoint"]["host"]),
        ..second
    };
    assert_eq!(neon.sql(&before, ALL), "1,3");

    let body = json!({"source_branch_id": preview.branch, "preserve_under_name": "kept",
                      "source_timestamp": jiff::Timestamp::now().to_string()});
    let unprotect = neon
        .api
        .patch(&preview.at(""), json!({"branch": {"protected": false}}));
    neon.api.done(&main.project, unprotect).await;
    let refused = neon.api.post(&preview.at("/restore"), body).await;
    assert_eq!(refused.status, 422, "{refused:?}");
}

#[tokio::test]
async fn what_cannot_be_a_snapshot_or_a_schedule_is_refused() {
    let neon = own(EmulatorConfig {
        limits: Limits::free(),
        ..quick()
    });
    let main = neon.api.project().await;
    let child = neon.api.child(&main, "child").await;
    let later = jiff::Timestamp::now() + jiff::SignedDuration::from_mins(1);
    for (query, status) in [
        ("?lsn=0/1&timestamp=2026-01-01T00:00:00Z", 400),
        ("?lsn=nothing", 400),
        ("?timestamp=2020-01-01T00:00:00Z", 400),
        ("?expires_at=2020-01-01T00:00:00Z", 400),
        (&format!("?name=one&expires_at={later}"), 200),
        ("?name=two", 422),
    ] {
        let refused = neon
            .api
            .post(&main.at(&format!("/snapshot{query}")), json!({}))
            .await;
        assert_eq!(refused.status, status, "{query}: {}", refused.body);
        neon.api.settle(&main.project).await;
    }
    let of_child = neon.api.post(&child.at("/snapshot"), json!({})).await;
    assert_eq!(of_child.status, 422, "only roots: {}", of_child.body);

    let schedule = |item: Value| json!({"schedule": [item]});
    let daily = schedule(json!({"frequency": "daily", "hour": 3, "retention_seconds": 3600}));
    let path = main.at("/backup_schedule");
    assert_eq!(
        put(&neon, &path, daily.clone()).await,
        422,
        "not in this plan"
    );
    neon.emulator.set_limits(&main.project, Limits::default());
    for wrong in [
        json!({"frequency": "often"}),
        json!({"frequency": "daily", "hour": 24}),
        json!({"frequency": "daily", "day": 0}),
        json!({"frequency": "yearly", "month": 13}),
        json!({"frequency": "daily", "retention_seconds": 3599}),
    ] {
        assert_eq!(
            put(&neon, &path, schedule(wrong.clone())).await,
            400,
            "{wrong}"
        );
    }
    let of_child = put(&neon, &child.at("/backup_schedule"), daily.clone()).await;
    assert_eq!(of_child, 422, "only roots");
    assert_eq!(put(&neon, &path, daily.clone()).await, 200);
    assert_eq!(neon.api.get(&path).await.expect(200), daily);
}

#[tokio::test]
async fn a_snapshot_that_has_expired_goes_away() {
    let neon = shared();
    let main = neon.api.project().await;
    let soon = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(2);
    let path = main.at(&format!("/snapshot?expires_at={soon}"));
    neon.api.post(&path, json!({})).await.expect(200);
    let path = format!("/projects/{}/snapshots", main.project);
    eventually("the snapshot to expire", async || {
        let listed = neon.api.get(&path).await.expect(200);
        listed["snapshots"]
            .as_array()
            .unwrap()
            .is_empty()
            .then_some(())
    })
    .await;
    assert!(jiff::Timestamp::now() >= soon);
}
