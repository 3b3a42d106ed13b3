//! One endpoint's connection pooler: a real pgbouncer in transaction mode between the proxy and
//! the server. Like the server it has no TCP port and trusts whoever reaches its socket.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    net::UnixStream,
    time::{Instant, sleep},
};

use super::{
    Postgres,
    server::{MAX_CONNECTIONS, SOCKET_PORT, SUPERUSER},
};

/// Names the socket file.
const PORT: u16 = 6432;

const START_DEADLINE: Duration = Duration::from_mins(1);

/// Where programs are that not everybody has on the `PATH`.
const SYSTEM_FOLDERS: [&str; 2] = ["/usr/sbin", "/usr/local/sbin"];

/// From this version on it keeps track of prepared statements, as Neon's does.
const TRACKS_STATEMENTS: (u32, u32) = (1, 21);

/// A running pooler. Dropping it ends it with its connections.
pub(crate) struct Bouncer {
    child: Child,
    socket: PathBuf,
}

impl Bouncer {
    /// Starts a pooler before the server whose socket is in `dir`; its own is put beside it.
    pub(crate) async fn start(postgres: &Postgres, dir: &Path) -> anyhow::Result<Self> {
        let program = program()?;
        let settings = dir.join("pgbouncer.ini");
        let users = dir.join("users.txt");
        fs::write(&users, format!("\"{SUPERUSER}\" \"\"\n"))?;
        fs::write(&settings, configuration(dir, &users, version(&program)?))?;
        let log = fs::File::create(dir.join("pgbouncer.log"))?;
        let mut command = postgres.account.command(&program);
        command
            .arg("--quiet")
            .arg(&settings)
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let socket = dir.join(format!(".s.PGSQL.{PORT}"));
        let child = postgres.launcher.spawn(command).await?;
        let mut bouncer = Self { child, socket };
        let deadline = Instant::now() + START_DEADLINE;
        while UnixStream::connect(&bouncer.socket).await.is_err() {
            if bouncer.has_ended() || Instant::now() > deadline {
                let said = fs::read_to_string(dir.join("pgbouncer.log")).unwrap_or_default();
                bail!("pgbouncer did not start: {}", said.trim());
            }
            sleep(Duration::from_millis(5)).await;
        }
        Ok(bouncer)
    }

    /// The socket file.
    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Bouncer {
    fn drop(&mut self) {
        if self.has_ended() {
            return;
        }
        if let Err(error) = kill_process(Pid::from_child(&self.child), Signal::KILL) {
            tracing::debug!(%error, "a pooler had already ended");
        }
        // Killed, it ends at once; nothing else would collect it.
        if let Err(error) = self.child.wait() {
            tracing::debug!(%error, "a pooler could not be waited for");
        }
    }
}

fn configuration(dir: &Path, users: &Path, (major, minor): (u32, u32)) -> String {
    let (dir, users) = (dir.display(), users.display());
    let tracking = if (major, minor) >= TRACKS_STATEMENTS {
        "max_prepared_statements = 1000\n"
    } else {
        ""
    };
    // Neon gives the pool nine tenths of the server's connections.
    let pool = MAX_CONNECTIONS * 9 / 10;
    // A refused login holds up its pool for 15 s by default. Users are looked up on the server.
    format!(
        "[databases]\n\
         * = host='{dir}' port={SOCKET_PORT} auth_user={SUPERUSER}\n\
         [pgbouncer]\n\
         listen_port = {PORT}\n\
         unix_socket_dir = {dir}\n\
         unix_socket_mode = 0700\n\
         auth_type = trust\n\
         auth_file = {users}\n\
         pool_mode = transaction\n\
         default_pool_size = {pool}\n\
         max_client_conn = 1000\n\
         query_wait_timeout = 120\n\
         server_login_retry = 1\n\
         ignore_startup_parameters = extra_float_digits\n\
         {tracking}"
    )
}

fn program() -> anyhow::Result<PathBuf> {
    let on_path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&on_path)
        .chain(SYSTEM_FOLDERS.map(PathBuf::from))
        .map(|folder| folder.join("pgbouncer"))
        .find(|program| program.exists())
        .context("pgbouncer is not installed (Debian: apt-get install pgbouncer)")
}

fn version(program: &Path) -> anyhow::Result<(u32, u32)> {
    let output = Command::new(program)
        .arg("--version")
        .output()
        .with_context(|| format!("cannot run {}", program.display()))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    parse_version(&text).with_context(|| format!("not a version: {text:?}"))
}

/// Major and minor of `PgBouncer 1.18.0`.
fn parse_version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.lines().next()?.strip_prefix("PgBouncer ")?.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_are_tracked_where_the_version_can() {
        let of = |version| configuration(Path::new("/d"), Path::new("/d/u"), version);
        assert_eq!(parse_version("PgBouncer 1.18.0\nlibevent 2"), Some((1, 18)));
        assert!(!of((1, 18)).contains("max_prepared_statements"));
        assert!(of((1, 25)).contains("max_prepared_statements"));
        assert_eq!(parse_version("something"), None);
    }
}
