//! The past of branches: forks from it, restores to it, resets from the parent.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::support::{Neon, Target, eventually, names, psql, shared, text};

/// The time by the server's clock, when whatever is committed next has a later one.
async fn now(neon: &Neon, target: &Target) -> String {
    let epoch = "SELECT extract(epoch FROM clock_timestamp()) * 1000000";
    let clock = || {
        let micros = neon.sql(target, epoch);
        let micros = micros.split('.').next().unwrap().parse().unwrap();
        Timestamp::from_microsecond(micros).unwrap()
    };
    let then = clock();
    eventually("the clock to move on", async || {
        (clock() > then).then_some(())
    })
    .await;
    then.to_string()
}

/// A child with an endpoint, made from a point of the parent's history.
async fn fork(neon: &Neon, of: &Target, name: &str, point: (&str, &str)) -> Target {
    let path = format!("/projects/{}/branches", of.project);
    let body = json!({
        "branch": {"name": name, "parent_id": of.branch, point.0: point.1},
        "endpoints": [{"type": "read_write"}],
    });
    let body = neon.api.done(&of.project, neon.api.post(&path, body)).await;
    Target {
        branch: text(&body["branch"]["id"]),
        endpoint: text(&body["endpoints"][0]["id"]),
        host: text(&body["endpoints"][0]["host"]),
        ..of.clone()
    }
}

async fn restore(neon: &Neon, target: &Target, body: Value) -> Value {
    let call = neon.api.post(&target.at("/restore"), body);
    neon.api.done(&target.project, call).await
}

async fn suspend(neon: &Neon, target: &Target) {
    let call = neon
        .api
        .post(&format!("{}/suspend", target.endpoint_path()), json!({}));
    neon.api.done(&target.project, call).await;
}

#[tokio::test]
async fn a_fork_at_a_time_or_a_position_has_exactly_the_rows_of_then() {
    let neon = shared();
    let main = neon.api.project().await;
    neon.sql(&main, "CREATE TABLE t AS SELECT 1 AS n");
    let one = now(&neon, &main).await;
    neon.sql(&main, "INSERT INTO t VALUES (2)");
    let lsn = neon.sql(&main, "SELECT pg_current_wal_lsn()");
    neon.sql(&main, "INSERT INTO t VALUES (3); CREATE ROLE later NOLOGIN");
    let all = "SELECT string_agg(n::text, ',' ORDER BY n) FROM t";

    let at_time = fork(&neon, &main, "time", ("parent_timestamp", &one)).await;
    assert_eq!(neon.sql(&at_time, all), "1");
    let roles = neon.api.get(&at_time.at("/roles")).await.expect(200);
    assert_eq!(names(&roles["roles"]), ["neondb_owner"], "as of then");
    let at_lsn = fork(&neon, &main, "position", ("parent_lsn", &lsn)).await;
    assert_eq!(neon.sql(&at_lsn, all), "1,2");
    let shown = neon.api.get(&at_lsn.at("")).await.expect(200);
    assert_eq!(shown["branch"]["parent_lsn"], lsn);

    // A parent that sleeps is not woken, and after its last commit there is only its present.
    let two = now(&neon, &main).await;
    suspend(&neon, &main).await;
    let present = fork(&neon, &main, "present", ("parent_timestamp", &two)).await;
    assert_eq!(neon.sql(&present, all), "1,2,3");
    assert_eq!(neon.api.state(&main).await, "idle");

    // What comes after a fork is its own: the parent's, and a fork's forks.
    neon.sql(&at_time, "INSERT INTO t VALUES (10)");
    let three = now(&neon, &at_time).await;
    neon.sql(&at_time, "INSERT INTO t VALUES (11)");
    neon.sql(&main, "INSERT INTO t VALUES (4)");
    let again = fork(&neon, &at_time, "again", ("parent_timestamp", &three)).await;
    assert_eq!(neon.sql(&again, all), "1,10");
}

#[tokio::test]
async fn a_time_before_a_branch_was_made_is_its_parents() {
    let neon = shared();
    let main = neon.api.project().await;
    neon.sql(&main, "CREATE TABLE t AS SELECT 1 AS n");
    let before = now(&neon, &main).await;
    neon.sql(&main, "INSERT INTO t VALUES (2)");
    let child = neon.api.child(&main, "child").await;
    neon.sql(&child, "INSERT INTO t VALUES (3)");
    let between = now(&neon, &child).await;
    neon.sql(&main, "INSERT INTO t VALUES (20)");
    neon.sql(&child, "INSERT INTO t VALUES (4)");
    let all = "SELECT string_agg(n::text, ',' ORDER BY n) FROM t";
    for (time, rows) in [(&before, "1"), (&between, "1,2,3")] {
        let fork = fork(&neon, &child, rows, ("parent_timestamp", time)).await;
        assert_eq!(neon.sql(&fork, all), rows);
    }
}

#[tokio::test]
async fn a_restore_to_a_time_keeps_host_and_password_and_the_data_from_before() {
    let neon = shared();
    let main = neon.api.project().await;
    neon.sql(&main, "CREATE TABLE t AS SELECT 1 AS n");
    let good = now(&neon, &main).await;
    neon.sql(&main, "DELETE FROM t");
    let child = neon.api.child(&main, "child").await;

    let body = json!({"source_branch_id": main.branch, "source_timestamp": good,
                      "preserve_under_name": "main_old"});
    let restored = restore(&neon, &main, body).await;
    assert_eq!(restored["branch"]["id"], main.branch);
    assert_eq!(restored["branch"]["current_state"], "resetting");
    assert_eq!(restored["branch"]["restored_from"], main.branch);
    assert_eq!(
        neon.sql(&main, "SELECT n FROM t"),
        "1",
        "same host, same password"
    );
    neon.sql(&main, "INSERT INTO t VALUES (2)");

    // The data from before is the parent of all now, and its endpoint is still to be made.
    let old = text(&restored["branch"]["restored_as"]);
    assert_eq!(restored["branch"]["parent_id"], old);
    let kept = neon
        .api
        .get(&format!("/projects/{}/branches/{old}", main.project))
        .await
        .expect(200);
    assert_eq!(kept["branch"]["name"], "main_old");
    let moved = neon.api.get(&child.at("")).await.expect(200);
    assert_eq!(moved["branch"]["parent_id"], old);
    let of_old = Target {
        branch: old,
        ..main.clone()
    };
    let grandchild = neon.api.child(&of_old, "grandchild").await;
    assert_eq!(neon.sql(&grandchild, "SELECT count(*) FROM t"), "0");

    // Once more, to a time before the first restore.
    let body = json!({"source_branch_id": main.branch, "source_timestamp": good,
                      "preserve_under_name": "main_old_2"});
    restore(&neon, &main, body).await;
    assert_eq!(neon.sql(&main, "SELECT n FROM t"), "1");
}

#[tokio::test]
async fn a_reset_brings_the_parents_data_roles_and_passwords() {
    let neon = shared();
    let main = neon.api.project().await;
    let child = neon.api.child(&main, "child").await;
    let own = neon
        .api
        .post(&child.at("/roles/neondb_owner/reset_password"), json!({}));
    let own = text(&neon.api.done(&main.project, own).await["role"]["password"]);
    let role = json!({"role": {"name": "app"}});
    let role = neon.api.post(&main.at("/roles"), role);
    let role = neon.api.done(&main.project, role).await;
    neon.sql(&main, "CREATE TABLE t AS SELECT 1 AS n");
    let mut session = psql(
        &neon.conninfo_as(&child, "neondb_owner", &own),
        "CREATE TABLE mine (n int)",
    );
    assert!(session.is_ok());

    let reset = restore(&neon, &child, json!({"source_branch_id": main.branch})).await;
    assert_eq!(reset["branch"]["parent_id"], main.branch);
    assert!(reset["branch"]["last_reset_at"].is_string());
    assert!(reset["branch"]["restored_as"].is_null());
    assert_eq!(
        neon.sql(&child, "SELECT n, to_regclass('mine') IS NULL FROM t"),
        "1|t"
    );
    session = psql(&neon.conninfo_as(&child, "neondb_owner", &own), "SELECT 1");
    assert!(
        session
            .unwrap_err()
            .contains("password authentication failed")
    );
    assert_eq!(neon.api.reveal(&child, "neondb_owner").await, main.password);
    let app = neon.conninfo_as(&child, "app", &text(&role["role"]["password"]));
    assert_eq!(psql(&app, "SELECT current_user").unwrap(), "app");

    // One that sleeps is reset asleep.
    suspend(&neon, &child).await;
    neon.sql(&main, "UPDATE t SET n = 2");
    restore(&neon, &child, json!({"source_branch_id": main.branch})).await;
    assert_eq!(neon.api.state(&child).await, "idle");
    assert_eq!(neon.sql(&child, "SELECT n FROM t"), "2");
}

#[tokio::test]
async fn what_cannot_be_restored_is_said() {
    let neon = shared();
    let main = neon.api.project().await;
    let parent = neon.api.child(&main, "parent").await;
    neon.api.child(&parent, "child").await;
    let protected = neon.api.child(&main, "protected").await;
    neon.api
        .patch(&protected.at(""), json!({"branch": {"protected": true}}))
        .await
        .expect(200);
    let past = "2020-01-01T00:00:00Z";
    let future = "2999-01-01T00:00:00Z";
    let from_main = |more: Value| {
        let mut body = json!({"source_branch_id": main.branch});
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        body
    };
    for (target, body, status, message) in [
        (
            &parent,
            from_main(json!({})),
            422,
            "Branch has children, preserve_under_name is required",
        ),
        (
            &protected,
            from_main(json!({})),
            422,
            "cannot reset protected branch",
        ),
        (
            &parent,
            from_main(json!({"preserve_under_name": "child"})),
            409,
            "branch with name",
        ),
        (
            &main,
            from_main(json!({"preserve_under_name": "x"})),
            400,
            "source_lsn or source_timestamp is required",
        ),
        (
            &main,
            from_main(json!({"source_lsn": "0/1"})),
            400,
            "preserve_under_name is required",
        ),
        (
            &parent,
            from_main(json!({"source_lsn": "nonsense"})),
            400,
            "source_lsn is not a valid LSN",
        ),
        (
            &parent,
            from_main(json!({"source_lsn": "0/1", "source_timestamp": past})),
            400,
            "source_lsn and source_timestamp",
        ),
        (
            &parent,
            from_main(json!({"source_timestamp": past})),
            400,
            "source_timestamp is outside",
        ),
        (
            &parent,
            from_main(json!({"source_timestamp": future})),
            400,
            "source_timestamp must not be in the future",
        ),
        (
            &parent,
            json!({"source_branch_id": "br-none"}),
            404,
            "source branch not found",
        ),
    ] {
        let answer = neon.api.post(&target.at("/restore"), body.clone()).await;
        assert_eq!(
            (answer.status, answer.message().starts_with(message)),
            (status, true),
            "{body}: {}",
            answer.body
        );
    }
}

#[tokio::test]
async fn a_position_that_a_branch_has_not_reached_fails_the_operation() {
    let neon = shared();
    let main = neon.api.project().await;
    let path = format!("/projects/{}/branches", main.project);
    let body = json!({"branch": {"name": "x", "parent_lsn": "FF/0"}});
    let made = neon.api.post(&path, body).await.expect(201);
    let id = text(&made["operations"][0]["id"]);
    let operation = eventually("the operation to fail", async || {
        let path = format!("/projects/{}/operations/{id}", main.project);
        let shown = neon.api.get(&path).await.expect(200)["operation"].clone();
        (shown["status"] == "failed").then_some(shown)
    })
    .await;
    assert!(text(&operation["error"]).contains("has not reached LSN FF/0"));
}
