//! Read replicas: real standbys with hosts of their own.

use serde_json::json;

use crate::support::{Neon, Target, eventually, psql, shared, text};

/// A read replica of a branch, as a target of its own.
async fn replica(neon: &Neon, of: &Target) -> Target {
    let body = json!({"endpoint": {"branch_id": of.branch, "type": "read_only"}});
    let path = format!("/projects/{}/endpoints", of.project);
    let made = neon.api.done(&of.project, neon.api.post(&path, body)).await;
    assert_eq!(made["endpoint"]["type"], "read_only");
    Target {
        endpoint: text(&made["endpoint"]["id"]),
        host: text(&made["endpoint"]["host"]),
        ..of.clone()
    }
}

async fn suspend(neon: &Neon, target: &Target) {
    let path = format!("{}/suspend", target.endpoint_path());
    let call = neon.api.post(&path, json!({}));
    neon.api.done(&target.project, call).await;
}

#[tokio::test]
async fn a_replica_follows_its_branch_and_takes_no_writes() {
    let neon = shared();
    let main = neon.api.project().await;
    neon.sql(&main, "CREATE TABLE t AS SELECT 1 AS n");
    let first = replica(&neon, &main).await;
    let second = replica(&neon, &main).await;
    assert_eq!(neon.sql(&first, "SELECT n FROM t"), "1");
    let refused = psql(&neon.conninfo(&first), "INSERT INTO t VALUES (2)").unwrap_err();
    assert!(refused.contains("read-only transaction"), "{refused}");

    neon.sql(&main, "UPDATE t SET n = 2");
    for replica in [&first, &second] {
        eventually("the replica to follow", async || {
            (neon.sql(replica, "SELECT n FROM t") == "2").then_some(())
        })
        .await;
    }
    let role = neon
        .api
        .post(&main.at("/roles"), json!({"role": {"name": "app"}}));
    let role = neon.api.done(&main.project, role).await;
    let app = neon.conninfo_as(&first, "app", &text(&role["role"]["password"]));
    eventually("the role to arrive", async || {
        (psql(&app, "SELECT current_user").ok()? == "app").then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_replica_reads_while_its_primary_sleeps_and_catches_up_after() {
    let neon = shared();
    let main = neon.api.project().await;
    neon.sql(&main, "CREATE TABLE t AS SELECT 1 AS n");
    let replica = replica(&neon, &main).await;
    suspend(&neon, &main).await;
    assert_eq!(neon.sql(&replica, "SELECT n FROM t"), "1");
    suspend(&neon, &replica).await;
    assert_eq!(
        neon.sql(&replica, "SELECT n FROM t"),
        "1",
        "woken beside a sleeping primary"
    );
    assert_eq!(neon.api.state(&main).await, "idle");

    neon.sql(&main, "UPDATE t SET n = 2");
    eventually("the replica to catch up", async || {
        (neon.sql(&replica, "SELECT n FROM t") == "2").then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_reset_reaches_the_replicas_of_a_branch_and_its_deletion_ends_them() {
    let neon = shared();
    let main = neon.api.project().await;
    neon.sql(&main, "CREATE TABLE t AS SELECT 1 AS n");
    let path = format!("/projects/{}/branches", main.project);
    let both = json!({"branch": {"name": "child"},
                      "endpoints": [{"type": "read_write"}, {"type": "read_only"}]});
    let made = neon
        .api
        .done(&main.project, neon.api.post(&path, both))
        .await;
    let endpoint = |index: usize| Target {
        branch: text(&made["branch"]["id"]),
        endpoint: text(&made["endpoints"][index]["id"]),
        host: text(&made["endpoints"][index]["host"]),
        ..main.clone()
    };
    let (child, replica) = (endpoint(0), endpoint(1));
    assert_eq!(made["endpoints"][1]["type"], "read_only");
    neon.sql(&child, "UPDATE t SET n = 2");
    let body = json!({"source_branch_id": main.branch});
    let reset = neon.api.post(&child.at("/restore"), body);
    neon.api.done(&main.project, reset).await;
    assert_eq!(neon.sql(&replica, "SELECT n FROM t"), "1");

    let query = "database_name=neondb&role_name=neondb_owner";
    let uri = format!(
        "/projects/{}/connection_uri?{query}&branch_id={}",
        main.project, child.branch
    );
    let direct = neon.api.get(&uri).await.expect(200);
    assert!(text(&direct["uri"]).contains(&child.host));
    let to_replica = neon
        .api
        .get(&format!("{uri}&endpoint_id={}", replica.endpoint))
        .await
        .expect(200);
    assert!(text(&to_replica["uri"]).contains(&replica.host));

    neon.api
        .done(&main.project, neon.api.delete(&child.at("")))
        .await;
    let gone = psql(&neon.conninfo(&replica), "SELECT 1").unwrap_err();
    assert!(gone.contains("could not be found"), "{gone}");
}
