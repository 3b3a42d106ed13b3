//! How an emulator is set up.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use crate::{limits::Limits, rates::RateLimit};

/// What to start. Every field has a default, so that callers write
/// `EmulatorConfig { operation_duration: …, ..EmulatorConfig::default() }`.
#[derive(Clone)]
pub struct EmulatorConfig {
    /// Where everything is kept: state, branches, certificates. One emulator at a time. Default:
    /// a temporary folder that is removed with the emulator.
    ///
    /// Where the emulator runs as root, PostgreSQL's user must be able to enter its parents.
    pub data_dir: Option<PathBuf>,
    /// The API's address; port 0 (the default, on loopback) takes a free one. Anything but
    /// loopback would hand superuser-like rights to the network.
    pub api_listen: SocketAddr,
    /// The proxy's port on `127.0.0.1` and `::1`; 0 (the default) takes a free one.
    pub pg_port: u16,
    /// The key that clients of the API present: the user's own, which reaches everything and makes
    /// the others through the API. Default: a random one, see [`crate::Emulator::api_key`].
    pub api_key: Option<String>,
    /// The ids of the organizations, `org-…`, of which the user is a member. With one, projects are
    /// an organization's, and the user has to name it. Default: none.
    pub organizations: Vec<String>,
    /// How often an account may call. Default: as often as it likes; `RateLimit::default()` is
    /// Neon's limit.
    pub rate_limit: Option<RateLimit>,
    /// The least time that each operation takes, during which the project is locked (423).
    /// Default: one second, as on Neon; tests take a few milliseconds.
    pub operation_duration: Duration,
    /// How long one second of a compute's `suspend_timeout_seconds` lasts. Default: one second;
    /// tests that wait for a suspension take a few milliseconds.
    pub idle_second: Duration,
    /// How often idle computes and expired branches are looked for. Default: 500 ms.
    pub poll_interval: Duration,
    /// What new projects may have. Default: what Neon's plan Scale allows.
    pub limits: Limits,
    /// The folder with PostgreSQL's programs (`postgres`, `initdb`), version 15 to 18. Default:
    /// the newest of Debian's, else that of the `pg_config` on the `PATH`.
    pub postgres_bin: Option<PathBuf>,
    /// Who runs PostgreSQL where the emulator runs as root. Default: `postgres`.
    pub postgres_user: String,
}

impl Default for EmulatorConfig {
    fn default() -> Self {
        Self {
            data_dir: None,
            api_listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            pg_port: 0,
            api_key: None,
            organizations: Vec::new(),
            rate_limit: None,
            operation_duration: Duration::from_secs(1),
            idle_second: Duration::from_secs(1),
            poll_interval: Duration::from_millis(500),
            limits: Limits::default(),
            postgres_bin: None,
            postgres_user: "postgres".to_owned(),
        }
    }
}
