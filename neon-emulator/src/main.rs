//! The `neon-emulator` binary: serves until it is told to stop.

use std::{
    io::Write,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use neon_emulator::{Emulator, EmulatorConfig, RateLimit};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

const EXAMPLES: &str = "\
Examples:
  # On free ports, everything in a temporary folder; prints what to connect to
  neon-emulator serve

  # Fixed ports, data kept
  NEON_API_KEY=secret neon-emulator serve --data-dir /var/tmp/neon --listen 127.0.0.1:8080 --pg-port 5433

  # Then, with the official command line
  neonctl --api-host http://127.0.0.1:8080/api/v2 --api-key secret projects create --name demo
  psql 'postgresql://ROLE:PASSWORD@HOST:5433/neondb?sslmode=verify-full&sslrootcert=/var/tmp/neon/ca.crt'";

/// Neon's HTTP API over real PostgreSQL, on loopback. For trusted use on one machine.
#[derive(Parser)]
#[command(version, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve the API and the endpoints until SIGTERM or SIGINT
    #[command(after_help = EXAMPLES)]
    Serve(Serve),
}

#[derive(Args)]
struct Serve {
    /// Where everything is kept [default: a temporary folder, removed at the end]
    #[arg(long)]
    data_dir: Option<PathBuf>,
    /// The API's address; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:0", value_name = "ADDRESS:PORT")]
    listen: SocketAddr,
    /// The endpoints' port on 127.0.0.1 and ::1; 0 takes a free one
    #[arg(long, default_value_t = 0, value_name = "PORT")]
    pg_port: u16,
    /// The key that the API asks for [default: a random one, written to DATA_DIR/api-key]
    #[arg(long, env = "NEON_API_KEY", hide_env_values = true)]
    api_key: Option<String>,
    /// The id of an organization that there is; may be given several times
    #[arg(long = "organization", value_name = "ORG_ID")]
    organizations: Vec<String>,
    /// Refuse (429) what is beyond Neon's limits of calls: 700 a minute, 40 a second and route
    #[arg(long)]
    rate_limit: bool,
    /// How long each operation takes at least, in milliseconds
    #[arg(long, default_value_t = 1000, value_name = "MS")]
    operation_ms: u64,
    /// How long one second of an endpoint's suspend timeout lasts, in milliseconds
    #[arg(long, default_value_t = 1000, value_name = "MS")]
    idle_second_ms: u64,
    /// The folder with PostgreSQL's programs, 15 to 18 [default: the newest installed]
    #[arg(long, value_name = "DIR")]
    postgres_bin: Option<PathBuf>,
    /// The user who runs PostgreSQL where the emulator runs as root
    #[arg(long, default_value = "postgres", value_name = "USER")]
    postgres_user: String,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let Command::Serve(serve) = Cli::parse().command;
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();

    // Before the start: a signal during it is not lost.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let generated = serve.api_key.is_none();
    let emulator = Emulator::start(serve.into_config())?;
    announce(&emulator, generated)?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    // Whoever started it may have stopped reading.
    writeln!(std::io::stdout(), "stopping").ok();
    emulator.shutdown();
    Ok(())
}

impl Serve {
    fn into_config(self) -> EmulatorConfig {
        EmulatorConfig {
            data_dir: self.data_dir,
            api_listen: self.listen,
            pg_port: self.pg_port,
            api_key: self.api_key,
            organizations: self.organizations,
            rate_limit: self.rate_limit.then(RateLimit::default),
            operation_duration: Duration::from_millis(self.operation_ms),
            idle_second: Duration::from_millis(self.idle_second_ms),
            postgres_bin: self.postgres_bin,
            postgres_user: self.postgres_user,
            ..EmulatorConfig::default()
        }
    }
}

fn announce(emulator: &Emulator, generated: bool) -> anyhow::Result<()> {
    let data_dir = emulator.ca_path().parent().unwrap_or(Path::new("/"));
    println!("API         {}", emulator.api_url());
    if generated {
        let file = data_dir.join("api-key");
        write_private(&file, emulator.api_key())?;
        println!("API key     in {}", file.display());
    }
    println!(
        "endpoints   ep-….local.localhost, port {}",
        emulator.pg_port()
    );
    println!("CA          {}", emulator.ca_path().display());
    println!("counters    {}", emulator.stats_url());
    println!(
        "PostgreSQL  {} in {}",
        emulator.pg_version(),
        emulator.postgres_bin().display()
    );
    Ok(())
}

/// Writes a file that only its owner can read.
fn write_private(path: &Path, text: &str) -> anyhow::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = std::fs::OpenOptions::new();
    let file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path);
    let written = file.and_then(|mut file| file.write_all(text.as_bytes()));
    written.with_context(|| path.display().to_string())
}
