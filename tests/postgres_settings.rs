//! What a server says of settings that it is to start with, asked by the role that Neon gives.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod postgres_support;

use std::collections::BTreeMap;

use postgres_support::Branch;
use sepulki::postgres::server_settings::refused;

#[tokio::test]
async fn the_server_tells_which_settings_it_would_not_start_with_and_changes_none() {
    let branch = Branch::shared().await;
    let mut owner = branch.owner().await;
    let rows = [
        // of sessions, judged by the server
        ("work_mem", "64MB", ""),
        (
            "Work_Mem",
            "lots",
            "invalid value for parameter \"Work_Mem\": \"lots\"",
        ),
        ("maintenance_work_mem", "1PB", "Valid units"),
        ("statement_timeout", "1ms", ""),
        ("idle_in_transaction_session_timeout", "1ms", ""),
        ("random_page_cost", "-1", "outside the valid range"),
        ("search_path", "app, public", ""),
        ("TimeZone", "Moon/Crater", "invalid value"),
        // of a start or a reload, judged by what the server tells of them
        ("shared_buffers", "128MB", ""),
        (
            "shared_buffer",
            "128MB",
            "unrecognized configuration parameter \"shared_buffer\"",
        ),
        ("max_connections", "many", "invalid value"),
        ("max_connections", "0", "outside the valid range"),
        ("wal_level", "logical", ""),
        (
            "wal_level",
            "none",
            "Available values: minimal, replica, logical",
        ),
        ("autovacuum", "perhaps", "requires a Boolean value"),
        ("log_min_duration_statement", "5s", ""),
        ("server_version", "1", "cannot be changed"),
        // known and shown to nobody but superusers
        ("shared_preload_libraries", "pg_stat_statements", ""),
        ("auto_explain.log_min_duration", "5s", ""),
    ];
    for (name, value, expected) in rows {
        let asked = BTreeMap::from([(name.to_owned(), value.to_owned())]);
        let answer = refused(&mut owner, &asked).await.unwrap();
        let said = answer.get(name).map_or("", String::as_str);
        assert_eq!(
            said.is_empty(),
            expected.is_empty(),
            "{name} = {value}: {said}"
        );
        assert!(said.contains(expected), "{name} = {value}: {said}");
    }
    let kept: Vec<String> = sqlx::query_scalar("SELECT unnest(setconfig) FROM pg_db_role_setting")
        .fetch_all(&mut owner)
        .await
        .unwrap();
    assert!(
        !kept.iter().any(|one| one.starts_with("work_mem")),
        "{kept:?}"
    );
}
