//! The `testkit` command: the local environment for people and for the Makefile.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use testkit::{
    Assets, assets, demo,
    environment::{self, Environment, Lock, Places},
    progress::{note, say},
};

/// Real parts to try and test the operator with: a Kubernetes control plane, PostgreSQL and the Neon emulator.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Tell the operator's story: environments from YAML, a migration that travels, a preview that goes
    Demo {
        /// Leave its environment running at the end
        #[arg(long)]
        keep: bool,
    },
    /// Build the control plane's programs where they are missing, and say where they are
    Assets,
    /// Start control plane, emulator and operator, and leave them running; write .run/env
    Up,
    /// End what `up` has started, and a demo that was kept; remove .run and .run-demo
    Down,
    /// Say what is running. Exit code 1 if not everything is
    Status,
}

#[tokio::main]
async fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Demo { keep } => demo::run(keep).await,
        Command::Assets => show_assets(),
        Command::Up => up().await,
        Command::Down => down().await,
        Command::Status => status(),
    };
    result.unwrap_or_else(|error| {
        eprintln!("testkit: {error:#}");
        ExitCode::FAILURE
    })
}

fn show_assets() -> anyhow::Result<ExitCode> {
    assets::build(note)?;
    let found = Assets::find()?;
    for path in [
        found.etcd,
        found.kube_apiserver,
        found.kube_controller_manager,
        assets::kubectl()?,
    ] {
        say(&path.display().to_string());
    }
    Ok(ExitCode::SUCCESS)
}

async fn up() -> anyhow::Result<ExitCode> {
    let places = Places::of_repository()?;
    let environment = Environment::up(&places, &Lock::require(&places)?).await?;
    say("==> everything runs; point this shell at it with\n");
    say(&format!("    . {}\n", environment.env_file.display()));
    Ok(ExitCode::SUCCESS)
}

async fn down() -> anyhow::Result<ExitCode> {
    let places = Places::of_repository()?;
    if environment::exists(&places) {
        environment::down(&places, &Lock::require(&places)?).await?;
    } else {
        note(&format!(
            "nothing is running: there is no {}",
            places.run_dir.display()
        ));
    }
    let demo = Places::of_demo()?;
    if environment::exists(&demo) {
        match Lock::take(&demo)? {
            Some(lock) => environment::down(&demo, &lock).await?,
            None => note("a demo is running; it ends by itself"),
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn status() -> anyhow::Result<ExitCode> {
    let parts = environment::status(&Places::of_repository()?)?;
    for part in &parts {
        let state = match part.pid {
            Some(pid) => format!("running, process {pid}, log {}", part.log.display()),
            None => "not running".to_owned(),
        };
        say(&format!("{:<24} {state}", part.name));
    }
    let complete = parts.iter().all(|part| part.pid.is_some());
    Ok(if complete {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
