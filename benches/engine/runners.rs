//! Who applies the files: this engine, psql, and other tools where `.ci/peers` could install them.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use sepulki::{
    engine::{
        Bundle, LedgerName, Policies,
        run::{Execution, RunRequest, Timeouts, apply},
    },
    postgres::{Target, Tls},
};
use tempfile::TempDir;
use testkit::postgres::{Database, Postgres};
use tokio_util::sync::CancellationToken;

use super::{distance::Distance, files};

/// One of them.
pub(crate) struct Runner {
    pub(crate) name: &'static str,
    kind: Kind,
}

enum Kind {
    Engine(Arc<Bundle>),
    /// The command, given the URL of the database.
    Program(Box<dyn Fn(&str) -> Command>),
    /// Why it is not there.
    Missing(String),
}

/// How one of them fared.
pub(crate) struct Run {
    pub(crate) took: Duration,
    pub(crate) turns: usize,
}

/// A tool to compare with.
struct Peer {
    name: &'static str,
    /// Below the folder of peers.
    program: &'static str,
    file_name: fn(usize) -> String,
    /// In front of and behind what it says.
    frame: [&'static str; 2],
    /// Of URL and folder of files.
    arguments: fn(&str, &str) -> Vec<String>,
}

const PEERS: [Peer; 3] = [
    Peer {
        name: "sqlx-cli",
        program: "sqlx-cli/bin/sqlx",
        file_name: |n| format!("{:04}_f.sql", n + 1),
        frame: ["", ""],
        arguments: |url, folder| words(&["migrate", "run", "--source", folder, "-D", url]),
    },
    Peer {
        name: "refinery_cli",
        program: "refinery_cli/bin/refinery",
        file_name: |n| format!("V{}__f.sql", n + 1),
        frame: ["", ""],
        arguments: |_, folder| words(&["migrate", "-e", "DATABASE_URL", "-p", folder]),
    },
    Peer {
        name: "dbmate",
        program: "dbmate/bin/dbmate",
        file_name: |n| format!("{:04}_f.sql", n + 1),
        frame: ["-- migrate:up\n", "-- migrate:down\n"],
        arguments: |url, folder| {
            let folder = ["--no-dump-schema", "--migrations-dir", folder];
            words(&[&["--url", url][..], &folder, &["migrate"]].concat())
        },
    },
];

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// All of them, this engine first and psql second; with the folders that they read.
pub(crate) fn runners(server: &Postgres, count: usize) -> (Vec<Runner>, TempDir) {
    let scratch = tempfile::tempdir().unwrap();
    let bundle = Arc::new(Bundle::compile(files::sources(count)).unwrap());
    let script = scratch.path().join("all.sql");
    fs::write(&script, files::script(count)).unwrap();
    let psql = server.bin_dir.join("psql");
    let psql = move |url: &str| {
        let mut command = Command::new(&psql);
        command.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", url, "-f"]);
        command.arg(&script);
        command
    };
    let runner = |name, kind| Runner { name, kind };
    let mut all = vec![
        runner("sepulki", Kind::Engine(bundle)),
        runner("psql -f", Kind::Program(Box::new(psql))),
    ];
    let peers = PEERS.iter().map(|peer| {
        let folder = scratch.path().join(peer.name);
        fs::create_dir(&folder).unwrap();
        files::write(&folder, count, peer.file_name, peer.frame);
        runner(peer.name, peer.find(&folder))
    });
    all.extend(peers);
    (all, scratch)
}

impl Peer {
    fn find(&self, folder: &Path) -> Kind {
        let peers = cache_dir().join("sepulki/peers");
        let program = peers.join(self.program);
        if !program.exists() {
            let why = fs::read_to_string(peers.join(format!("{}.missing", self.name)));
            let why = why.unwrap_or_else(|_| "`make bench` installs it".to_owned());
            return Kind::Missing(why.trim().to_owned());
        }
        let folder = folder.to_str().unwrap().to_owned();
        let arguments = self.arguments;
        Kind::Program(Box::new(move |url| {
            let mut command = Command::new(&program);
            command
                .args(arguments(url, &folder))
                .env("DATABASE_URL", url);
            command
        }))
    }
}

impl Runner {
    /// Why it takes no part.
    pub(crate) fn missing(&self) -> Option<&str> {
        match &self.kind {
            Kind::Missing(why) => Some(why),
            Kind::Engine(_) | Kind::Program(_) => None,
        }
    }

    /// Applies the files to a fresh database, `round_trip` away.
    pub(crate) async fn run(&self, server: &Postgres, round_trip: Duration) -> Run {
        let database = server.database().await.unwrap();
        let distance = distance(server, round_trip).await;
        let took = match &self.kind {
            Kind::Engine(bundle) => {
                engine(request(server, &database, &distance, bundle.clone())).await
            }
            Kind::Program(command) => {
                let url = format!(
                    "postgres://{}@127.0.0.1:{}/{}?sslmode=disable",
                    server.user, distance.port, database.name
                );
                program(self.name, command(&url)).await
            }
            Kind::Missing(_) => Duration::ZERO,
        };
        Run {
            took,
            turns: distance.turns(),
        }
    }
}

pub(crate) async fn distance(server: &Postgres, round_trip: Duration) -> Distance {
    let socket = server.socket_dir.join(format!(".s.PGSQL.{}", server.port));
    Distance::to(socket, round_trip).await
}

pub(crate) fn request(
    server: &Postgres,
    database: &Database,
    distance: &Distance,
    bundle: Arc<Bundle>,
) -> RunRequest {
    RunRequest {
        target: Target {
            host: "127.0.0.1".into(),
            port: distance.port,
            user: server.user.clone(),
            password: "".into(),
            database: database.name.clone(),
            tls: Tls::Disable,
        },
        ledger: LedgerName::default(),
        bundle,
        until: None,
        holder: "bench".into(),
        timeouts: Timeouts::default(),
        execution: Execution::default(),
        policies: Policies::default(),
        cancel: CancellationToken::new(),
    }
}

async fn engine(request: RunRequest) -> Duration {
    let began = Instant::now();
    let report = Box::pin(apply(request, |_| {})).await.unwrap();
    assert!(report.plan.pending.is_empty());
    began.elapsed()
}

async fn program(name: &'static str, mut command: Command) -> Duration {
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    let began = Instant::now();
    let output = tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap();
    let took = began.elapsed();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name}: {said}");
    took
}

/// The XDG rule: `$XDG_CACHE_HOME`, else `~/.cache`.
fn cache_dir() -> PathBuf {
    let given = env::var_os("XDG_CACHE_HOME").filter(|dir| !dir.is_empty());
    let home = || env::home_dir().unwrap_or_default().join(".cache");
    given.map_or_else(home, PathBuf::from)
}
