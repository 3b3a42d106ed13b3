//! Runs that take their time, so that something can happen meanwhile.
#![allow(
    clippy::unwrap_used,
    dead_code,
    reason = "a test says what it expects by failing; not every test binary uses every helper"
)]

use sepulki::engine::run::{RunError, RunReport, RunRequest, apply};
use tokio::task::JoinHandle;

use super::{Told, World, bundle};

pub(crate) type Run = JoinHandle<Result<RunReport, RunError>>;

/// Tables, a long pause, tables.
pub(crate) const SLOW: [(&str, &str); 2] = [
    ("001_a.sql", "CREATE TABLE a ();"),
    (
        "002_b.sql",
        "CREATE TABLE b (); SELECT pg_sleep(20); CREATE TABLE c ();",
    ),
];

/// The session that runs files, and the one that looks after it.
pub(crate) const WORKER: &str = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() \
     AND application_name = 'sepulki/test' AND query LIKE '%pg_sleep%' AND state = 'active'";
pub(crate) const CONTROL: &str = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() \
     AND application_name = 'sepulki/test' AND query NOT LIKE '%pg_sleep%'";
pub(crate) const SLEEPING: &str = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'";
pub(crate) fn start(request: RunRequest, told: &Told) -> Run {
    tokio::spawn(apply(request, told.sink()))
}

pub(crate) fn start_slow(world: &World, told: &Told) -> Run {
    start(world.request(&bundle(&SLOW)), told)
}
