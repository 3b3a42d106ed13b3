//! One running server process on one data directory. Private to the control plane: no TCP, a
//! unix socket in a folder that only its account can enter, and `trust` behind that.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};
use sqlx::{
    ConnectOptions, PgConnection,
    postgres::{PgConnectOptions, PgSslMode},
};
use tokio::time::{Instant, sleep};

use super::Postgres;

/// The bootstrap superuser, also Neon's name for it. Its sessions are the control plane's own.
pub(crate) const SUPERUSER: &str = "cloud_admin";

/// The database of the control plane's sessions.
pub(crate) const MAINTENANCE_DB: &str = "postgres";

/// Names the socket file; no TCP port is opened.
pub(super) const SOCKET_PORT: u16 = 5432;

/// Replaying the log of a large branch may take a while on a slow disk.
const START_DEADLINE: Duration = Duration::from_mins(10);

/// A fast stop that takes longer is followed by an immediate one.
const STOP_DEADLINE: Duration = Duration::from_secs(20);

/// The sessions that a server takes.
pub(super) const MAX_CONNECTIONS: u32 = 112;

/// Settings of every server: small, no durability (branches are disposable), no TCP.
const SETTINGS: [(&str, &str); 9] = [
    ("listen_addresses", ""),
    ("unix_socket_permissions", "0700"),
    ("fsync", "off"),
    ("shared_buffers", "16MB"),
    ("min_wal_size", "8MB"),
    ("max_wal_size", "256MB"),
    // For ever: a branch's log is its history.
    ("wal_keep_size", "2147483647MB"),
    ("password_encryption", "scram-sha-256"),
    ("log_min_error_statement", "panic"),
];

/// How a server is told to stop, in PostgreSQL's words.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Stop {
    /// Sessions are ended, the data directory is left consistent.
    Fast,
    /// At once; the next start recovers from the log.
    Immediate,
}

/// Where a server is reached.
#[derive(Debug, Clone)]
pub(crate) struct Socket {
    dir: PathBuf,
}

impl Socket {
    pub(crate) fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// The socket file, for whoever speaks the protocol itself.
    pub(crate) fn path(&self) -> PathBuf {
        self.dir.join(format!(".s.PGSQL.{SOCKET_PORT}"))
    }

    /// For programs that take a connection string.
    pub(crate) fn conninfo(&self, user: &str, database: &str) -> String {
        let quoted = |value: &str| value.replace('\\', "\\\\").replace('\'', "\\'");
        format!(
            "host='{}' port={SOCKET_PORT} user='{}' dbname='{}'",
            quoted(&self.dir.display().to_string()),
            quoted(user),
            quoted(database)
        )
    }

    /// A session of the control plane.
    pub(crate) async fn connect(&self, database: &str) -> sqlx::Result<PgConnection> {
        PgConnectOptions::new_without_pgpass()
            .socket(&self.dir)
            .port(SOCKET_PORT)
            .username(SUPERUSER)
            .database(database)
            .application_name("control plane")
            .ssl_mode(PgSslMode::Disable)
            .disable_statement_logging()
            .connect()
            .await
    }
}

/// A running server. Dropping it stops it at once.
pub(crate) struct Server {
    child: Child,
    socket: Socket,
}

impl Server {
    /// Starts a server on `data` and returns it with a first session, when it accepts one.
    pub(crate) async fn start(
        postgres: &Postgres,
        data: &Path,
        socket_dir: &Path,
        settings: &BTreeMap<String, String>,
    ) -> anyhow::Result<(Self, PgConnection)> {
        postgres.account.create_private_dir(socket_dir)?;
        let log = data.with_extension("log");
        let deadline = Instant::now() + START_DEADLINE;
        loop {
            let written = fs::metadata(&log).map_or(0, |metadata| metadata.len());
            let command = command(postgres, data, socket_dir, settings, &log)?;
            let child = postgres.launcher.spawn(command).await?;
            let mut server = Self {
                child,
                socket: Socket::new(socket_dir.to_path_buf()),
            };
            if let Some(session) = server.first_session(deadline).await? {
                return Ok((server, session));
            }
            let said = said_since(&log, written);
            // The children of a killed server need a moment to notice and leave.
            let leftovers = said.contains("is still in use") || said.contains("lock file");
            if !leftovers || Instant::now() > deadline {
                bail!("PostgreSQL did not start: {}", said.trim());
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until the server accepts a session; `None` if it ended instead.
    async fn first_session(&mut self, deadline: Instant) -> anyhow::Result<Option<PgConnection>> {
        loop {
            if self.has_ended() {
                return Ok(None);
            }
            match self.socket.connect(MAINTENANCE_DB).await {
                Ok(session) => return Ok(Some(session)),
                Err(error) if Instant::now() > deadline => {
                    return Err(error).context("PostgreSQL did not accept a session in time");
                }
                Err(_) => sleep(Duration::from_millis(10)).await,
            }
        }
    }

    pub(crate) fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Whether the process has ended by itself or was killed from outside.
    pub(crate) fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Stops the server and waits for its end.
    pub(crate) async fn stop(mut self, how: Stop) {
        self.signal(how);
        let deadline = Instant::now() + STOP_DEADLINE;
        while !self.has_ended() {
            if Instant::now() > deadline {
                tracing::warn!("a server did not stop in time and is stopped at once");
                self.signal(Stop::Immediate);
                break;
            }
            sleep(Duration::from_millis(5)).await;
        }
    }

    fn signal(&mut self, how: Stop) {
        if self.has_ended() {
            return;
        }
        let signal = match how {
            Stop::Fast => Signal::INT,
            Stop::Immediate => Signal::QUIT,
        };
        if let Err(error) = kill_process(Pid::from_child(&self.child), signal) {
            tracing::debug!(%error, "a server had already ended");
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Not SIGKILL: that would leave the server's shared memory segment behind.
        self.signal(Stop::Immediate);
    }
}

fn command(
    postgres: &Postgres,
    data: &Path,
    socket_dir: &Path,
    settings: &BTreeMap<String, String>,
    log: &Path,
) -> anyhow::Result<Command> {
    let output = fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(log)
        .with_context(|| format!("cannot write {}", log.display()))?;
    let mut command = postgres
        .account
        .command(&postgres.install.program("postgres"));
    command
        .arg("-D")
        .arg(data)
        .arg("-k")
        .arg(socket_dir)
        .arg("-p")
        .arg(SOCKET_PORT.to_string());
    // Users' settings first: on the command line the last one wins.
    for (name, value) in settings {
        command.arg("-c").arg(format!("{name}={value}"));
    }
    command.arg(format!("--max_connections={MAX_CONNECTIONS}"));
    for (name, value) in SETTINGS {
        command.arg("-c").arg(format!("{name}={value}"));
    }
    command
        .current_dir("/")
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output);
    Ok(command)
}

/// The end of what the server wrote to its log since it had `start` bytes.
fn said_since(log: &Path, start: u64) -> String {
    let text = fs::read(log).unwrap_or_default();
    let new = text
        .get(usize::try_from(start).unwrap_or(0)..)
        .unwrap_or_default();
    let tail = new
        .get(new.len().saturating_sub(2000)..)
        .unwrap_or_default();
    String::from_utf8_lossy(tail).into_owned()
}
