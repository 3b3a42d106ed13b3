//! The `-pooler` hosts: a real pgbouncer in transaction mode, with its hazards.

use serde_json::json;

use crate::support::{Neon, Target, psql, shared, text};

fn pooled(neon: &Neon, target: &Target) -> String {
    to_pooler(&neon.conninfo(target))
}

fn to_pooler(conninfo: &str) -> String {
    conninfo.replace(".local.", "-pooler.local.")
}

/// The poolers of an endpoint that run, by their user ids.
fn poolers(endpoint: &str) -> Vec<u32> {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter_map(|entry| {
            let line = std::fs::read(entry.path().join("cmdline")).ok()?;
            let line = String::from_utf8_lossy(&line).into_owned();
            let is_it = line.contains("pgbouncer") && line.contains(endpoint);
            let metadata = std::fs::metadata(entry.path()).ok().filter(|_| is_it)?;
            Some(std::os::unix::fs::MetadataExt::uid(&metadata))
        })
        .collect()
}

#[tokio::test]
async fn clients_share_server_connections_between_transactions() {
    let neon = shared();
    let main = neon.api.project().await;
    let pid = "SELECT pg_backend_pid()";
    assert_ne!(neon.sql(&main, pid), neon.sql(&main, pid));
    assert!(poolers(&main.endpoint).is_empty(), "until it is asked for");
    let pooled = pooled(&neon, &main);
    let first = psql(&pooled, pid).unwrap();
    assert_eq!(psql(&pooled, pid).unwrap(), first);

    // What a session leaves behind, the next one finds.
    psql(&pooled, "SET statement_timeout = '77s'").unwrap();
    assert_eq!(psql(&pooled, "SHOW statement_timeout").unwrap(), "77s");
    psql(&pooled, "SELECT pg_advisory_lock(7)").unwrap();
    let held = "SELECT NOT pg_try_advisory_lock(7)";
    assert_eq!(neon.sql(&main, held), "t", "orphaned in the pool");
}

#[tokio::test]
async fn the_pooler_refuses_what_neons_does_and_knows_every_role() {
    let neon = shared();
    let main = neon.api.project().await;
    let pooled = pooled(&neon, &main);
    assert_eq!(psql(&pooled, "SELECT 1").unwrap(), "1");
    let refused = psql(&format!("{pooled} options='-c search_path=x'"), "SELECT 1").unwrap_err();
    assert!(
        refused.contains("unsupported startup parameter"),
        "{refused}"
    );
    let nowhere = pooled.replace("dbname=neondb", "dbname=none");
    assert!(psql(&nowhere, "SELECT 1").is_err());

    let role = json!({"role": {"name": "newcomer"}});
    let role = neon.api.post(&main.at("/roles"), role);
    let role = neon.api.done(&main.project, role).await;
    let password = text(&role["role"]["password"]);
    let newcomer = to_pooler(&neon.conninfo_as(&main, "newcomer", &password));
    assert_eq!(psql(&newcomer, "SELECT current_user").unwrap(), "newcomer");
    let wrong = to_pooler(&neon.conninfo_as(&main, "newcomer", "wrong"));
    let refused = psql(&wrong, "SELECT 1").unwrap_err();
    assert!(
        refused.contains("password authentication failed"),
        "{refused}"
    );
}

#[tokio::test]
async fn a_pooler_lives_and_ends_with_its_server_and_never_as_root() {
    let neon = shared();
    let main = neon.api.project().await;
    let pooled = pooled(&neon, &main);
    for _ in 0..2 {
        assert_eq!(
            psql(&pooled, "SELECT 1").unwrap(),
            "1",
            "woken where it sleeps"
        );
        let running = poolers(&main.endpoint);
        assert_eq!(running.len(), 1);
        assert_ne!(running[0], 0);
        let suspend = neon
            .api
            .post(&format!("{}/suspend", main.endpoint_path()), json!({}));
        neon.api.done(&main.project, suspend).await;
        assert!(poolers(&main.endpoint).is_empty());
    }
}
