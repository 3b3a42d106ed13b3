//! The proxy: who gets in, by which name, and who does not.

use std::process::Stdio;

use serde_json::json;

use crate::support::{eventually, psql, psql_command, shared, text};

#[tokio::test]
async fn direct_and_pooled_hosts_are_verified_and_bound() {
    let neon = shared();
    let main = neon.api.project().await;
    assert_eq!(neon.sql(&main, "SELECT current_user"), "neondb_owner");
    let pooled = neon.conninfo(&main).replace(".local.", "-pooler.local.");
    assert_eq!(
        psql(&pooled, "SELECT current_user").unwrap(),
        "neondb_owner"
    );
    let unbound = neon
        .conninfo(&main)
        .replace("channel_binding=require", "channel_binding=disable");
    assert_eq!(
        psql(&unbound, "SELECT 1").unwrap(),
        "1",
        "plain SCRAM works too"
    );
    let v6 = neon
        .conninfo(&main)
        .replace("hostaddr=127.0.0.1", "hostaddr=::1");
    assert_eq!(psql(&v6, "SELECT 1").unwrap(), "1");
}

#[tokio::test]
async fn strangers_are_told_nothing_but_that_the_password_is_wrong() {
    let neon = shared();
    let main = neon.api.project().await;
    neon.sql(&main, "CREATE ROLE nologin PASSWORD 'p'");
    neon.sql(
        &main,
        "CREATE ROLE expired LOGIN PASSWORD 'p' VALID UNTIL '2020-01-01'",
    );
    neon.sql(&main, "CREATE ROLE without LOGIN");
    neon.sql(
        &main,
        "CREATE ROLE fine LOGIN PASSWORD 'p' VALID UNTIL '2999-01-01'",
    );
    for user in [
        "neondb_owner",
        "nobody",
        "nologin",
        "expired",
        "without",
        "cloud_admin",
        "neon_superuser",
    ] {
        let refused = psql(&neon.conninfo_as(&main, user, "p"), "SELECT 1").unwrap_err();
        let expected = format!("password authentication failed for user \"{user}\"");
        assert!(refused.contains(&expected), "{refused}");
    }
    assert_eq!(
        psql(&neon.conninfo_as(&main, "fine", "p"), "SELECT 1").unwrap(),
        "1"
    );
    let counts = neon.emulator.stats().endpoint(&main.endpoint);
    assert_eq!(
        (counts.accepted, counts.authenticated, counts.failed),
        (12, 5, 7)
    );
}

#[tokio::test]
async fn clients_without_sni_name_the_endpoint_in_their_options() {
    let neon = shared();
    let main = neon.api.project().await;
    let silent = format!("{} sslsni=0", neon.conninfo(&main));
    let refused = psql(&silent, "SELECT 1").unwrap_err();
    assert!(
        refused.contains("Endpoint ID is not specified"),
        "{refused}"
    );
    let named = format!(
        "{silent} options='endpoint={} -c work_mem=7MB'",
        main.endpoint
    );
    assert_eq!(psql(&named, "SHOW work_mem").unwrap(), "7MB");

    let other = format!("{} options=endpoint=ep-other", neon.conninfo(&main));
    assert!(
        psql(&other, "SELECT 1")
            .unwrap_err()
            .contains("Inconsistent project name")
    );
    let unknown = format!("{silent} options=endpoint=ep-none");
    assert!(
        psql(&unknown, "SELECT 1")
            .unwrap_err()
            .contains("could not be found")
    );
}

#[tokio::test]
async fn plaintext_and_other_certificates_are_refused() {
    let neon = shared();
    let main = neon.api.project().await;
    let plain = neon
        .conninfo(&main)
        .replace("verify-full", "disable")
        .replace("channel_binding=require", "");
    let refused = psql(&plain, "SELECT 1").unwrap_err();
    assert!(
        refused.contains("connection is insecure (try using `sslmode=require`)"),
        "{refused}"
    );
    let named = neon
        .conninfo(&main)
        .replace(&main.host, "ep-x.elsewhere.localhost");
    assert!(
        psql(&named, "SELECT 1")
            .unwrap_err()
            .contains("certificate"),
        "the name is verified"
    );
}

#[tokio::test]
async fn what_the_server_refuses_is_passed_on() {
    let neon = shared();
    let main = neon.api.project().await;
    let conninfo = neon
        .conninfo(&main)
        .replace("dbname=neondb", "dbname=missing");
    let refused = psql(&conninfo, "SELECT 1").unwrap_err();
    assert!(
        refused.contains("database \"missing\" does not exist"),
        "{refused}"
    );
}

#[tokio::test]
async fn a_cancel_request_reaches_the_session_that_it_means() {
    let neon = shared();
    let main = neon.api.project().await;
    let other = neon.api.child(&main, "other").await;
    let sleep = |target| {
        let mut command = psql_command(&neon.conninfo(target));
        command
            .args(["-c", "SELECT pg_sleep(600)"])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let (cancelled, mut kept) = (sleep(&main), sleep(&other));
    let sleeping = "SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(600)' AND state = 'active'";
    for target in [&main, &other] {
        eventually("both to sleep", async || {
            (neon.sql(target, sleeping) == "1").then_some(())
        })
        .await;
    }
    // psql asks for cancellation when it is interrupted.
    let interrupted = std::process::Command::new("sh")
        .args(["-c", &format!("kill -INT {}", cancelled.id())])
        .status()
        .unwrap();
    assert!(interrupted.success());
    let output = cancelled.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("canceling statement due to user request"),
        "{said}"
    );
    assert_eq!(
        neon.sql(&other, sleeping),
        "1",
        "the other session sleeps on"
    );
    kept.kill().unwrap();
    kept.wait().unwrap();
}

#[tokio::test]
async fn a_disabled_endpoint_refuses_until_it_is_enabled() {
    let neon = shared();
    let main = neon.api.project().await;
    let disable = |disabled| json!({"endpoint": {"disabled": disabled}});
    neon.api
        .done(
            &main.project,
            neon.api.patch(&main.endpoint_path(), disable(true)),
        )
        .await;
    assert!(
        psql(&neon.conninfo(&main), "SELECT 1")
            .unwrap_err()
            .contains("disabled")
    );
    neon.api
        .done(
            &main.project,
            neon.api.patch(&main.endpoint_path(), disable(false)),
        )
        .await;
    assert_eq!(neon.sql(&main, "SELECT 1"), "1");
}

#[tokio::test]
async fn a_connection_waits_for_a_branch_that_is_being_made() {
    let neon = shared();
    let main = neon.api.project().await;
    neon.sql(&main, "CREATE TABLE t AS SELECT 5 AS n");
    let path = format!("/projects/{}/branches", main.project);
    let body = json!({"branch": {"name": "early"}, "endpoints": [{"type": "read_write"}]});
    let made = neon.api.post(&path, body).await.expect(201);
    let mut early = main.clone();
    early.host = text(&made["endpoints"][0]["host"]);
    assert_eq!(neon.sql(&early, "SELECT n FROM t"), "5");
}
