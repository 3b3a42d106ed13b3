//! A throw-away PostgreSQL server, and a fresh database of one's own per test.
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! let database = testkit::Postgres::shared().await?.database().await?;
//! let options = database.owner_options(); // sqlx: TLS with verify-full, not a superuser
//! # Ok(()) }
//! ```
//!
//! The server listens on a private unix socket (no password) and on 127.0.0.1 (TLS and SCRAM only).
//! It never syncs to disk and disappears with the process.

use std::{
    env, fs,
    os::unix::fs::chown,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow, bail};
use rustix::process::{Signal, geteuid};
use sqlx::{
    AssertSqlSafe, Connection, Executor, PgConnection,
    postgres::{PgConnectOptions, PgSslMode},
};
use tokio::sync::OnceCell;
use uuid::Uuid;

use crate::{
    pki::Authority,
    private_file,
    process::{Account, Process, Program, free_port, port_was_taken},
    scratch::ScratchDir,
};

/// Versions the operator supports, the preferred one first.
const VERSIONS: [u32; 4] = [18, 17, 16, 15];
/// Where packages put the programs of version `{}`: Debian, Red Hat, Homebrew.
const PACKAGE_DIRS: [&str; 4] = [
    "/usr/lib/postgresql/{}/bin",
    "/usr/pgsql-{}/bin",
    "/opt/homebrew/opt/postgresql@{}/bin",
    "/usr/local/opt/postgresql@{}/bin",
];
/// The user that runs the server when we are root, which PostgreSQL refuses to run as.
const ACCOUNT: &str = "postgres";
const SUPERUSER: &str = "postgres";
const START_DEADLINE: Duration = Duration::from_mins(1);
const START_ATTEMPTS: usize = 5;

/// A running server; stopped and removed when dropped.
#[derive(Debug)]
pub struct Postgres {
    /// The name to connect to; the certificate is made out to it.
    pub host: String,
    /// The TCP port, and the suffix of the socket's name.
    pub port: u16,
    /// The superuser.
    pub user: String,
    /// The superuser's password, needed over TCP only.
    pub password: String,
    /// The authority that signed the server's certificate, PEM.
    pub ca_pem: String,
    /// The same as a file, for `PGSSLROOTCERT`.
    pub ca_file: PathBuf,
    /// The folder of the unix socket, usable as `PGHOST`; everybody who may enter it is trusted.
    pub socket_dir: PathBuf,
    /// The folder of the server's programs; `pg_dump` and `psql` are there too on Debian.
    pub bin_dir: PathBuf,
    log: PathBuf,
    // Fields are dropped in this order: first the process, then its folder.
    process: Process,
    _scratch: ScratchDir,
}

/// A database made for one test, and its owner: a role that can log in and nothing more.
#[derive(Debug, Clone)]
pub struct Database {
    /// The database's name.
    pub name: String,
    /// The role that owns it.
    pub owner: String,
    /// The owner's password.
    pub owner_password: String,
    owner_options: PgConnectOptions,
    superuser_options: PgConnectOptions,
}

impl Postgres {
    /// The server that all tests of this binary share, started by the first that asks.
    ///
    /// Tests of one binary run in one process with `cargo test`; a runner that gives each test its own
    /// process starts a server for each.
    pub async fn shared() -> anyhow::Result<&'static Self> {
        static SHARED: OnceCell<Postgres> = OnceCell::const_new();
        SHARED.get_or_try_init(Self::start).await
    }

    /// Starts a new server on a fresh data directory (about 0.8 s).
    ///
    /// # Errors
    /// If no PostgreSQL of 15 to 18 is installed (the message names the package), or if the server
    /// does not come up (the message carries the end of its log).
    pub async fn start() -> anyhow::Result<Self> {
        let bin_dir = find_bin_dir()?;
        let account = if geteuid().is_root() {
            Some(Account::find(ACCOUNT)?)
        } else {
            None
        };
        let mut attempt = 1;
        loop {
            match Self::start_on(free_port()?, &bin_dir, account.as_ref()).await {
                Err(error) if port_was_taken(&error) && attempt < START_ATTEMPTS => attempt += 1,
                result => return result,
            }
        }
    }

    async fn start_on(
        port: u16,
        bin_dir: &Path,
        account: Option<&Account>,
    ) -> anyhow::Result<Self> {
        let scratch = ScratchDir::new("postgres")?;
        let dir = scratch.path();
        let password = random_password();
        let authority = Authority::new("testkit PostgreSQL")?;
        let identity = authority.server(&["localhost", "127.0.0.1"])?;
        give_to(dir, account)?;
        write_for(account, &dir.join("ca.crt"), authority.pem())?;
        write_for(account, &dir.join("server.crt"), &identity.certificate)?;
        write_for(account, &dir.join("server.key"), &identity.key)?;
        write_for(account, &dir.join("password"), &password)?;
        initialise(dir, bin_dir, account)?;
        write_for(
            account,
            &dir.join("data/postgresql.auto.conf"),
            &settings(dir, port),
        )?;
        write_for(account, &dir.join("data/pg_hba.conf"), PG_HBA)?;

        let log = dir.join("server.log");
        let process = Program::new("postgres", bin_dir.join("postgres"), &log)
            .arg("-D")
            .arg(dir.join("data"))
            .run_as(account.cloned())
            // Immediate shutdown: quick, and unlike SIGKILL it gives shared memory back.
            .stop_with(Signal::QUIT)
            .spawn()?;
        let mut server = Self {
            host: "localhost".to_owned(),
            port,
            user: SUPERUSER.to_owned(),
            password,
            ca_pem: authority.pem().to_owned(),
            ca_file: dir.join("ca.crt"),
            socket_dir: dir.to_owned(),
            bin_dir: bin_dir.to_owned(),
            log,
            process,
            _scratch: scratch,
        };
        server.wait_until_ready().await?;
        Ok(server)
    }

    async fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + START_DEADLINE;
        loop {
            if let Ok(connection) =
                PgConnection::connect_with(&self.superuser_options(SUPERUSER)).await
            {
                return connection
                    .close()
                    .await
                    .context("close the first connection");
            }
            self.process.check_running()?;
            if Instant::now() > deadline {
                return Err(self.process.not_ready(START_DEADLINE));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Makes a database with a random name, owned by a new role of its own.
    pub async fn database(&self) -> anyhow::Result<Database> {
        let name = format!("test_{}", random_suffix());
        let owner = format!("{name}_owner");
        let owner_password = random_password();
        let mut connection = PgConnection::connect_with(&self.superuser_options(SUPERUSER)).await?;
        // The names are our own: lower-case letters, digits and underscores.
        for statement in [
            format!("CREATE ROLE {owner} LOGIN PASSWORD '{owner_password}'"),
            format!("CREATE DATABASE {name} OWNER {owner}"),
        ] {
            connection
                .execute(AssertSqlSafe(statement))
                .await
                .context("make a database")?;
        }
        connection.close().await?;
        Ok(Database {
            owner_options: self.login_options(&owner, &owner_password, &name),
            superuser_options: self.superuser_options(&name),
            name,
            owner,
            owner_password,
        })
    }

    /// How to connect to `database` as the superuser: by the unix socket, without a password.
    #[must_use]
    pub fn superuser_options(&self, database: &str) -> PgConnectOptions {
        PgConnectOptions::new_without_pgpass()
            .socket(&self.socket_dir)
            .port(self.port)
            .username(&self.user)
            .database(database)
    }

    /// How to connect as any role: by TCP, with TLS and `verify-full`.
    #[must_use]
    pub fn login_options(&self, user: &str, password: &str, database: &str) -> PgConnectOptions {
        PgConnectOptions::new_without_pgpass()
            .host(&self.host)
            .port(self.port)
            .username(user)
            .password(password)
            .database(database)
            .ssl_mode(PgSslMode::VerifyFull)
            .ssl_root_cert_from_pem(self.ca_pem.clone().into_bytes())
    }

    /// What the server has logged so far.
    pub fn log(&self) -> anyhow::Result<String> {
        fs::read_to_string(&self.log).with_context(|| format!("read {}", self.log.display()))
    }
}

impl Database {
    /// How to connect as the owner: by TCP, with TLS and `verify-full`.
    #[must_use]
    pub fn owner_options(&self) -> PgConnectOptions {
        self.owner_options.clone()
    }

    /// How to connect as the superuser: by the unix socket.
    #[must_use]
    pub fn superuser_options(&self) -> PgConnectOptions {
        self.superuser_options.clone()
    }

    /// A URL for the owner with `sslmode=verify-full`; the authority goes into `PGSSLROOTCERT`.
    #[must_use]
    pub fn url(&self) -> String {
        format!(
            "postgresql://{}:{}@{}:{}/{}?sslmode=verify-full",
            self.owner,
            self.owner_password,
            self.owner_options.get_host(),
            self.owner_options.get_port(),
            self.name
        )
    }
}

/// Only we may enter the socket's folder; over TCP nobody gets in without TLS and a password.
const PG_HBA: &str = "local all all trust\nhostssl all all all scram-sha-256\n";

fn settings(dir: &Path, port: u16) -> String {
    let dir = dir.display();
    format!(
        "listen_addresses = '127.0.0.1'\n\
         port = {port}\n\
         unix_socket_directories = '{dir}'\n\
         ssl = on\n\
         ssl_cert_file = '{dir}/server.crt'\n\
         ssl_key_file = '{dir}/server.key'\n\
         max_connections = 200\n\
         fsync = off\n\
         synchronous_commit = off\n\
         full_page_writes = off\n"
    )
}

fn initialise(dir: &Path, bin_dir: &Path, account: Option<&Account>) -> anyhow::Result<()> {
    let initdb = bin_dir.join("initdb");
    let mut command = match account {
        None => Command::new(initdb),
        Some(account) => {
            let mut command = Command::new("setpriv");
            command
                .arg(format!("--reuid={}", account.uid))
                .arg(format!("--regid={}", account.gid))
                .args(["--init-groups", "--"])
                .arg(initdb);
            command
        }
    };
    let output = command
        .arg("-D")
        .arg(dir.join("data"))
        .arg("--pwfile")
        .arg(dir.join("password"))
        .args([
            "--username",
            SUPERUSER,
            "--auth",
            "trust",
            "--encoding",
            "UTF8",
            "--locale",
            "C",
        ])
        .args(["--no-sync", "--no-instructions"])
        .current_dir(dir)
        .output()
        .context("run initdb")?;
    if !output.status.success() {
        bail!(
            "initdb failed: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(())
}

/// The programs of an installed server: those that packages put beside each other, else the first on `PATH`.
fn find_bin_dir() -> anyhow::Result<PathBuf> {
    let packaged = VERSIONS.iter().flat_map(|version| {
        PACKAGE_DIRS
            .iter()
            .map(move |dir| PathBuf::from(dir.replace("{}", &version.to_string())))
    });
    let path = env::var_os("PATH").unwrap_or_default();
    packaged
        .chain(env::split_paths(&path))
        .find(|dir| dir.join("initdb").is_file() && supported(&dir.join("postgres")))
        .ok_or_else(|| {
            anyhow!(
                "no PostgreSQL server of version 15 to 18 is installed: \
                 `apt-get install postgresql-15` (or 16, 17, 18), or put its `postgres` and `initdb` on PATH"
            )
        })
}

/// `postgres --version` prints `postgres (PostgreSQL) 15.18 (Debian …)`.
fn supported(postgres: &Path) -> bool {
    Command::new(postgres)
        .arg("--version")
        .output()
        .is_ok_and(|output| {
            String::from_utf8_lossy(&output.stdout)
                .split_whitespace()
                .nth(2)
                .and_then(|version| version.split('.').next())
                .and_then(|major| major.parse().ok())
                .is_some_and(|major| VERSIONS.contains(&major))
        })
}

/// Writes a file that only the server's user can read, as a private key must be.
fn write_for(account: Option<&Account>, path: &Path, text: &str) -> anyhow::Result<()> {
    private_file::write(path, text)?;
    give_to(path, account)
}

fn give_to(path: &Path, account: Option<&Account>) -> anyhow::Result<()> {
    if let Some(account) = account {
        chown(path, Some(account.uid), Some(account.gid))
            .with_context(|| format!("give {} to {}", path.display(), account.name))?;
    }
    Ok(())
}

fn random_password() -> String {
    Uuid::new_v4().simple().to_string()
}

fn random_suffix() -> String {
    Uuid::new_v4()
        .simple()
        .to_string()
        .chars()
        .take(12)
        .collect()
}
