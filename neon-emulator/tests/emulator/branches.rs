//! Branches are consistent copies with passwords of their own where Neon gives them.

use std::process::Stdio;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use crate::support::{Target, eventually, psql, psql_command, shared, text};

#[tokio::test]
async fn a_copy_of_a_running_parent_under_writes_is_consistent_and_apart() {
    let neon = shared();
    let main = neon.api.project().await;
    neon.sql(
        &main,
        "CREATE TABLE debit (n int); CREATE TABLE credit (n int); CREATE SEQUENCE turn",
    );
    // Both rows of a transfer, or none, in transactions as fast as they go.
    let transfers = "DO $$ BEGIN LOOP INSERT INTO debit SELECT nextval('turn') FROM generate_series(1, 50); \
                     INSERT INTO credit SELECT n FROM debit ORDER BY n DESC LIMIT 50; COMMIT; END LOOP; END $$";
    let mut writer = psql_command(&neon.conninfo(&main))
        .args(["-c", transfers])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let count = || {
        neon.sql(&main, "SELECT count(*) FROM credit")
            .parse::<u64>()
            .unwrap()
    };
    eventually("the writer to write", async || (count() > 0).then_some(())).await;

    for name in ["one", "two"] {
        let before = count();
        let child = neon.api.child(&main, name).await;
        let rows = neon.sql(
            &child,
            "SELECT (SELECT count(*) FROM debit), (SELECT count(*) FROM credit)",
        );
        let (debit, credit) = rows.split_once('|').unwrap();
        assert_eq!(debit, credit, "no transaction is half there");
        let copied = credit.parse::<u64>().unwrap();
        assert!(
            copied >= before,
            "what was committed before is there: {copied} < {before}"
        );
        neon.sql(&child, "DROP TABLE debit");
    }
    assert!(count() > 0);
    writer.kill().unwrap();
    writer.wait().unwrap();
    assert_eq!(
        neon.sql(&main, "SELECT count(*) > 0 FROM debit"),
        "t",
        "the parent keeps its own"
    );
}

#[tokio::test]
async fn a_copy_of_a_suspended_parent_has_its_rows_and_leaves_it_asleep() {
    let neon = shared();
    let main = neon.api.project().await;
    neon.sql(
        &main,
        "CREATE TABLE t AS SELECT generate_series(1, 1000) AS n",
    );
    let suspend = neon
        .api
        .post(&format!("{}/suspend", main.endpoint_path()), json!({}));
    neon.api.done(&main.project, suspend).await;
    let child = neon.api.child(&main, "child").await;
    assert_eq!(neon.sql(&child, "SELECT sum(n) FROM t"), "500500");
    assert_eq!(neon.api.state(&main).await, "idle");
}

#[tokio::test]
async fn a_child_inherits_passwords_unless_its_parent_is_protected() {
    let neon = shared();
    let main = neon.api.project().await;
    let open = neon.api.child(&main, "open").await;
    assert_eq!(open.password, main.password);
    assert_eq!(neon.sql(&open, "SELECT 1"), "1");

    neon.api
        .patch(&main.at(""), json!({"branch": {"protected": true}}))
        .await
        .expect(200);
    let apart = neon.api.child(&main, "apart").await;
    assert_ne!(apart.password, main.password);
    assert_eq!(neon.sql(&apart, "SELECT 1"), "1");
    let refused = psql(
        &neon.conninfo_as(&apart, "neondb_owner", &main.password),
        "SELECT 1",
    )
    .unwrap_err();
    assert!(
        refused.contains("password authentication failed for user \"neondb_owner\""),
        "{refused}"
    );
    assert!(
        psql(
            &neon.conninfo_as(&main, "neondb_owner", &apart.password),
            "SELECT 1"
        )
        .is_err()
    );
}

#[tokio::test]
async fn a_branch_is_deleted_when_it_expires() {
    let neon = shared();
    let main = neon.api.project().await;
    let child = neon.api.child(&main, "child").await;
    let later = (Timestamp::now() + SignedDuration::from_hours(24)).to_string();
    let set = neon
        .api
        .patch(&child.at(""), json!({"branch": {"expires_at": later}}))
        .await
        .expect(200);
    assert!(
        (86_390..=86_400).contains(&set["branch"]["ttl_interval_seconds"].as_i64().unwrap()),
        "{set}"
    );
    let branches = format!("/projects/{}/branches", main.project);
    let grandchild = json!({"branch": {"name": "g", "parent_id": child.branch}});
    assert_eq!(neon.api.post(&branches, grandchild).await.status, 422);

    let cleared = neon
        .api
        .patch(&child.at(""), json!({"branch": {"expires_at": null}}))
        .await
        .expect(200);
    assert!(cleared["branch"]["expires_at"].is_null());
    let kept = neon
        .api
        .patch(&child.at(""), json!({"branch": {"name": "kept"}}))
        .await
        .expect(200);
    assert!(kept["branch"]["expires_at"].is_null());

    let soon = (Timestamp::now() + SignedDuration::from_millis(300)).to_string();
    neon.api
        .patch(&child.at(""), json!({"branch": {"expires_at": soon}}))
        .await
        .expect(200);
    eventually("the branch to expire", async || {
        (neon.api.get(&child.at("")).await.status == 404).then_some(())
    })
    .await;
    neon.api.settle(&main.project).await;
    assert!(
        psql(&neon.conninfo(&child), "SELECT 1")
            .unwrap_err()
            .contains("could not be found")
    );
}

#[tokio::test]
async fn an_archived_branch_is_woken_with_those_that_it_comes_from() {
    let neon = shared();
    let main = neon.api.project().await;
    neon.sql(&main, "CREATE TABLE t AS SELECT 1 AS n");
    let path = format!("/projects/{}/branches", main.project);
    let archived = async |name: &str, parent: &str| {
        let body = json!({"branch": {"name": name, "parent_id": parent, "archived": true}});
        let made = neon
            .api
            .done(&main.project, neon.api.post(&path, body))
            .await;
        assert_eq!(made["branch"]["pending_state"], "archived");
        text(&made["branch"]["id"])
    };
    let state = async |branch: &str| {
        let shown = neon.api.get(&format!("{path}/{branch}")).await.expect(200);
        text(&shown["branch"]["current_state"])
    };
    let old = archived("old", &main.branch).await;
    let child = archived("child", &old).await;
    let other = archived("other", &old).await;
    assert_eq!(
        (state(&old).await, state(&child).await),
        ("archived".into(), "archived".into())
    );

    let body = json!({"endpoint": {"branch_id": child, "type": "read_write"}});
    let endpoints = format!("/projects/{}/endpoints", main.project);
    let made = neon
        .api
        .done(&main.project, neon.api.post(&endpoints, body))
        .await;
    let woken = Target {
        branch: child.clone(),
        endpoint: text(&made["endpoint"]["id"]),
        host: text(&made["endpoint"]["host"]),
        ..main.clone()
    };
    assert_eq!(neon.sql(&woken, "SELECT n FROM t"), "1");
    assert_eq!(
        (state(&old).await, state(&child).await),
        ("ready".into(), "ready".into())
    );
    assert_eq!(state(&other).await, "archived");
    let body = json!({"branch": {"name": "both", "archived": true, "protected": true}});
    assert_eq!(neon.api.post(&path, body).await.status, 422);
}
