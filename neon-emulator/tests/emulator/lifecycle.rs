//! Scale to zero, and what survives a restart of the emulator.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use neon_emulator::EmulatorConfig;
use serde_json::json;

use crate::support::{Target, eventually, own, psql, psql_command, quick};

/// 300 seconds of idleness pass in 0.6.
fn impatient() -> EmulatorConfig {
    EmulatorConfig {
        idle_second: Duration::from_millis(2),
        ..quick()
    }
}

#[tokio::test]
async fn an_idle_compute_is_suspended_and_wakes_on_connect() {
    let neon = own(impatient());
    let main = neon.api.project().await;
    // A session that is open but idle does not keep it awake. (psql waits for its input.)
    let mut open = psql_command(&neon.conninfo(&main))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    open.stdin
        .as_mut()
        .unwrap()
        .write_all(b"SELECT 'open';\n")
        .unwrap();
    let mut line = String::new();
    BufReader::new(open.stdout.as_mut().unwrap())
        .read_line(&mut line)
        .unwrap();
    assert_eq!(line, "open\n");
    let operations = format!("/projects/{}/operations?limit=1", main.project);
    eventually("the compute to be suspended", async || {
        let last = neon.api.get(&operations).await.expect(200);
        (last["operations"][0]["action"] == "suspend_compute").then_some(())
    })
    .await;
    open.kill().unwrap();
    open.wait().unwrap();
    assert!(neon.emulator.stats().active_computes.is_empty());
    let shown = neon.api.get(&main.endpoint_path()).await.expect(200);
    assert_eq!(shown["endpoint"]["current_state"], "idle");
    assert!(shown["endpoint"]["suspended_at"].is_string());
    let slept = neon.emulator.stats().endpoint(&main.endpoint);
    assert_eq!(slept.wakeups, slept.suspends);

    assert_eq!(neon.sql(&main, "SELECT 1"), "1");
    let woken = neon.emulator.stats().endpoint(&main.endpoint);
    assert_eq!(woken.wakeups, slept.wakeups + 1);
}

#[tokio::test]
async fn an_open_transaction_and_a_timeout_of_never_keep_a_compute_awake() {
    let neon = own(impatient());
    let (busy, never, idle) = (
        neon.api.project().await,
        neon.api.project().await,
        neon.api.project().await,
    );
    let patience = json!({"endpoint": {"suspend_timeout_seconds": -1}});
    neon.api
        .done(
            &never.project,
            neon.api.patch(&never.endpoint_path(), patience),
        )
        .await;
    neon.sql(&never, "SELECT 1");
    let mut transaction = psql_command(&neon.conninfo(&busy))
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    transaction
        .stdin
        .as_mut()
        .unwrap()
        .write_all(b"BEGIN; SELECT;\n")
        .unwrap();
    let in_transaction =
        "SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction'";
    eventually("the transaction", async || {
        (neon.sql(&busy, in_transaction) == "1").then_some(())
    })
    .await;

    // When a third compute has twice been idle for long enough, the two are still awake.
    let suspends = |target: &Target| neon.emulator.stats().endpoint(&target.endpoint).suspends;
    let (before_busy, before_never, before_idle) =
        (suspends(&busy), suspends(&never), suspends(&idle));
    for round in 1..=2 {
        neon.sql(&idle, "SELECT 1");
        eventually("the idle compute to be suspended", async || {
            (suspends(&idle) >= before_idle + round).then_some(())
        })
        .await;
    }
    assert_eq!(
        (suspends(&busy), suspends(&never)),
        (before_busy, before_never)
    );
    transaction.kill().unwrap();
    transaction.wait().unwrap();
    eventually("the freed compute to be suspended", async || {
        (suspends(&busy) > before_busy).then_some(())
    })
    .await;
}

#[tokio::test]
async fn only_mutations_of_the_branch_wake_a_compute_and_lists_do_not() {
    let neon = own(quick());
    let main = neon.api.project().await;
    let suspend = neon
        .api
        .post(&format!("{}/suspend", main.endpoint_path()), json!({}));
    neon.api.done(&main.project, suspend).await;
    let before = neon.emulator.stats();
    let project = format!("/projects/{}", main.project);
    let reads = [
        format!("{project}/branches"),
        format!("{project}/endpoints"),
        main.at("/roles"),
        main.at("/databases"),
        main.at("/roles/neondb_owner/reveal_password"),
    ];
    for read in &reads {
        neon.api.get(read).await.expect(200);
    }
    let after = neon.emulator.stats();
    assert_eq!(after.endpoints, before.endpoints);
    assert!(after.active_computes.is_empty());
    assert_eq!(after.total_api_calls(), before.total_api_calls() + 5);
    assert_eq!(
        after.api_calls_to("GET", "/projects/{project_id}/branches"),
        1
    );

    neon.api
        .done(
            &main.project,
            neon.api
                .post(&main.at("/roles"), json!({"role": {"name": "r"}})),
        )
        .await;
    assert_eq!(neon.emulator.stats().endpoint(&main.endpoint).wakeups, 2);
}

#[tokio::test]
async fn start_suspend_restart_and_a_new_size_do_what_they_say() {
    let neon = own(quick());
    let main = neon.api.project().await;
    let post = async |what: &str| {
        let call = neon
            .api
            .post(&format!("{}/{what}", main.endpoint_path()), json!({}));
        neon.api.done(&main.project, call).await
    };
    let age = "SELECT pg_postmaster_start_time()";
    let first = neon.sql(&main, age);
    assert_eq!(
        post("start").await["operations"],
        json!([]),
        "it runs already"
    );
    assert_eq!(neon.sql(&main, age), first);
    post("restart").await;
    let second = neon.sql(&main, age);
    assert_ne!(second, first);
    let size = json!({"endpoint": {"autoscaling_limit_min_cu": 0.25, "autoscaling_limit_max_cu": 1,
                                   "settings": {"pg_settings": {"work_mem": "9MB"}}}});
    let patched = neon
        .api
        .done(&main.project, neon.api.patch(&main.endpoint_path(), size))
        .await;
    assert_eq!(patched["endpoint"]["autoscaling_limit_max_cu"], 1.0);
    assert_ne!(neon.sql(&main, age), second, "a new size restarts");
    assert_eq!(neon.sql(&main, "SHOW work_mem"), "9MB");

    post("suspend").await;
    assert_eq!(neon.api.state(&main).await, "idle");
    let idle = neon
        .api
        .post(&format!("{}/restart", main.endpoint_path()), json!({}))
        .await;
    assert_eq!(idle.status, 422, "{}", idle.body);
    post("start").await;
    assert_eq!(neon.api.state(&main).await, "active");
}

#[tokio::test]
async fn a_crashed_backend_and_a_killed_server_are_recovered_from() {
    let neon = own(quick());
    let main = neon.api.project().await;
    neon.sql(&main, "CREATE TABLE t AS SELECT 3 AS n");
    let data = neon.emulator.ca_path().parent().unwrap();
    let pid_file = data
        .join("branches")
        .join(&main.branch)
        .join("data/postmaster.pid");
    let checkpointer = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'";
    let server = || {
        std::fs::read_to_string(&pid_file)
            .unwrap()
            .lines()
            .next()
            .unwrap()
            .to_owned()
    };
    for victim in [neon.sql(&main, checkpointer), server()] {
        let kill = format!("kill -KILL {victim}");
        assert!(
            Command::new("sh")
                .args(["-c", &kill])
                .status()
                .unwrap()
                .success()
        );
        // The server itself refuses sessions while it recovers.
        eventually("a session after the crash", async || {
            (psql(&neon.conninfo(&main), "SELECT n FROM t").ok()? == "3").then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn everything_survives_a_restart_of_the_emulator() {
    let folder = tempfile::Builder::new()
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .tempdir()
        .unwrap();
    let config = EmulatorConfig {
        data_dir: Some(folder.path().join("data")),
        api_key: Some("kept".into()),
        ..quick()
    };
    let neon = own(config.clone());
    let main = neon.api.project().await;
    let child = neon.api.child(&main, "child").await;
    neon.sql(&child, "CREATE TABLE t AS SELECT 7 AS n");
    let ca = neon.emulator.ca_pem().to_owned();
    let taken = neon_emulator::Emulator::start(config.clone())
        .err()
        .unwrap();
    assert!(taken.to_string().contains("another emulator"), "{taken}");
    Arc::into_inner(neon.emulator).unwrap().shutdown();

    // Once after an orderly end, once after a sudden one.
    for _ in 0..2 {
        let neon = own(config.clone());
        assert_eq!(neon.emulator.ca_pem(), ca);
        assert!(neon.emulator.stats().active_computes.is_empty());
        assert_eq!(neon.api.state(&child).await, "idle");
        assert_eq!(neon.sql(&child, "SELECT n FROM t"), "7");
        let again = neon
            .api
            .child(&child, &neon.emulator.pg_port().to_string())
            .await;
        assert_eq!(neon.sql(&again, "SELECT n FROM t"), "7");
        drop(neon);
    }
    let state = std::fs::metadata(folder.path().join("data/state.json")).unwrap();
    assert_eq!(
        std::os::unix::fs::PermissionsExt::mode(&state.permissions()) & 0o777,
        0o600
    );
}

#[tokio::test]
async fn no_server_logs_a_password() {
    let folder = tempfile::Builder::new()
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .tempdir()
        .unwrap();
    let data = folder.path().join("data");
    let neon = own(EmulatorConfig {
        data_dir: Some(data.clone()),
        ..quick()
    });
    let main = neon.api.project().await;
    assert!(psql(&neon.conninfo(&main), "SELECT 1/0").is_err());
    let log =
        std::fs::read_to_string(data.join("branches").join(&main.branch).join("data.log")).unwrap();
    assert!(log.contains("division by zero"), "{log}");
    assert!(
        !log.contains(&main.password) && !log.contains("SCRAM-SHA-256$"),
        "{log}"
    );
}
