//! 500 small files: the engine beside `psql -f` in one session, on this machine and ten
//! milliseconds away; and how long planning 1.3 MB of SQL takes.
//!
//! Each round runs both, one after the other, on a fresh database; told is the median of the
//! rounds. psql gets one file in which each migration is a transaction with its row, the best
//! that can be done with it.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a benchmark stops at the first surprise, and measures time"
)]

use std::{
    path::PathBuf,
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use sepulki::{
    engine::{
        Bundle, LedgerName, Policies, SourceFile,
        run::{Execution, RunRequest, Timeouts, apply},
    },
    postgres::{Target, Tls},
};
use testkit::postgres::{Database, Postgres};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, UnixStream},
    sync::mpsc,
    time::sleep_until,
};
use tokio_util::sync::CancellationToken;

const FILES: usize = 500;
const ROUNDS: usize = 5;

#[tokio::main]
async fn main() {
    let server = Postgres::shared().await.unwrap();
    let bundle = Arc::new(Bundle::compile(files()).unwrap());
    println!("{FILES} small files, median of {ROUNDS} rounds");
    println!(
        "{:>10}  {:>9}  {:>9}  {:>6}",
        "round trip", "sepulki", "psql -f", "ratio"
    );
    for delay in [Duration::ZERO, Duration::from_millis(10)] {
        let (mut ours, mut psqls) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            ours.push(engine(server, &bundle, delay).await);
            psqls.push(psql(server, delay).await);
        }
        let (ours, psqls) = (median(ours), median(psqls));
        let ratio = ours.as_secs_f64() / psqls.as_secs_f64();
        println!(
            "{:>10}  {:>9}  {:>9}  {ratio:>6.2}",
            format!("{delay:?}"),
            format!("{:.2} s", ours.as_secs_f64()),
            format!("{:.2} s", psqls.as_secs_f64()),
        );
    }
    let (bytes, took) = planning();
    println!(
        "planning {:.1} MB of SQL takes {:.2} s",
        bytes,
        took.as_secs_f64()
    );
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// Table, comment, index, rows, function: what migrations are made of.
fn body(n: usize) -> String {
    match n % 5 {
        0 => format!(
            "CREATE TABLE t{n} (id int PRIMARY KEY, a text);\nCOMMENT ON TABLE t{n} IS 'x';\n"
        ),
        1 => format!("ALTER TABLE t{} ADD COLUMN b int DEFAULT 1;\n", n - 1),
        2 => format!("CREATE INDEX ON t{} (a);\n", n - 2),
        3 => format!(
            "INSERT INTO t{0} SELECT g, 'x' FROM generate_series(1, 10) g;\nUPDATE t{0} SET a = 'y';\n",
            n - 3
        ),
        _ => format!(
            "CREATE FUNCTION f{n}() RETURNS int LANGUAGE sql AS $$ SELECT 1 $$;\nALTER TABLE t{} ALTER b SET DEFAULT 2;\n",
            n - 4
        ),
    }
}

fn files() -> Vec<SourceFile> {
    let file = |n| SourceFile {
        name: format!("{n:04}.sql"),
        bytes: body(n).into_bytes(),
    };
    (0..FILES).map(file).collect()
}

/// Megabytes, and the time for all of them.
fn planning() -> (f64, Duration) {
    let text: String = (0..FILES).map(body).collect();
    let files: Vec<SourceFile> = (0..30)
        .map(|n| SourceFile {
            name: format!("{n:04}.sql"),
            bytes: text.clone().into_bytes(),
        })
        .collect();
    let bytes: usize = files.iter().map(|file| file.bytes.len()).sum();
    let began = Instant::now();
    let bundle = Bundle::compile(files).unwrap();
    let took = began.elapsed();
    assert!(bundle.findings().is_empty());
    (f64::from(u32::try_from(bytes).unwrap()) / 1e6, took)
}

async fn engine(server: &Postgres, bundle: &Arc<Bundle>, delay: Duration) -> Duration {
    let database = server.database().await.unwrap();
    let port = distance(server, delay).await;
    let request = RunRequest {
        target: Target {
            host: "127.0.0.1".into(),
            port,
            user: server.user.clone(),
            password: "".into(),
            database: database.name.clone(),
            tls: Tls::Disable,
        },
        ledger: LedgerName::default(),
        bundle: bundle.clone(),
        until: None,
        holder: "bench".into(),
        timeouts: Timeouts::default(),
        execution: Execution::default(),
        policies: Policies::default(),
        cancel: CancellationToken::new(),
    };
    let began = Instant::now();
    let report = apply(request, |_| {}).await.unwrap();
    assert_eq!(report.applied.len(), FILES);
    began.elapsed()
}

async fn psql(server: &Postgres, delay: Duration) -> Duration {
    let database = server.database().await.unwrap();
    let script = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(script.path(), psql_script()).unwrap();
    let port = distance(server, delay).await;
    let mut command = run_psql(server, &database, port, script.path().to_owned());
    let began = Instant::now();
    let status = tokio::task::spawn_blocking(move || command.status().unwrap())
        .await
        .unwrap();
    assert!(status.success());
    began.elapsed()
}

fn psql_script() -> String {
    let ledger = "CREATE TABLE schema_migrations (version varchar(255) PRIMARY KEY, applied_at timestamptz DEFAULT now(), checksum varchar(64));\n";
    let file = |n| {
        format!(
            "BEGIN;\n{}INSERT INTO schema_migrations VALUES ('{n:04}.sql', now(), '{}');\nCOMMIT;\n",
            body(n),
            "0".repeat(64)
        )
    };
    ledger.to_owned() + &(0..FILES).map(file).collect::<String>()
}

fn run_psql(server: &Postgres, database: &Database, port: u16, script: PathBuf) -> Command {
    let mut command = Command::new(server.bin_dir.join("psql"));
    command
        .args([
            "-X",
            "-q",
            "-v",
            "ON_ERROR_STOP=1",
            "-h",
            "127.0.0.1",
            "-U",
            &server.user,
        ])
        .args(["-p", &port.to_string(), "-d", &database.name, "-f"])
        .arg(script)
        .env("PGSSLMODE", "disable")
        .stdout(Stdio::null());
    command
}

/// A port of this machine behind which the server is: each direction takes half of `delay`.
async fn distance(server: &Postgres, delay: Duration) -> u16 {
    let socket = server.socket_dir.join(format!(".s.PGSQL.{}", server.port));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            client.set_nodelay(true).unwrap();
            let server = UnixStream::connect(&socket).await.unwrap();
            let (from_client, to_client) = client.into_split();
            let (from_server, to_server) = server.into_split();
            tokio::spawn(carry(from_client, to_server, delay / 2));
            tokio::spawn(carry(from_server, to_client, delay / 2));
        }
    });
    port
}

/// Passes bytes on, each `late`, however many are under way.
async fn carry(
    mut from: impl AsyncReadExt + Unpin + Send + 'static,
    mut to: impl AsyncWriteExt + Unpin + Send + 'static,
    late: Duration,
) {
    let (send, mut receive) = mpsc::unbounded_channel::<(tokio::time::Instant, Vec<u8>)>();
    tokio::spawn(async move {
        while let Some((due, bytes)) = receive.recv().await {
            sleep_until(due).await;
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
        let _ = to.shutdown().await;
    });
    let mut buffer = vec![0; 1 << 16];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        let bytes = buffer.get(..read).unwrap_or_default().to_vec();
        if send
            .send((tokio::time::Instant::now() + late, bytes))
            .is_err()
        {
            return;
        }
    }
}
