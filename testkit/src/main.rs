//! The `testkit` command: the local environment for people and for the Makefile.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use testkit::{
    Assets, assets,
    environment::{self, Environment, Places},
    progress::note,
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
    /// Build the control plane's programs where they are missing, and say where they are
    Assets,
    /// Start control plane, emulator and operator, and leave them running; write .run/env
    Up,
    /// End what `up` has started and remove .run
    Down,
    /// Say what is running. Exit code 1 if not everything is
    Status,
}

#[tokio::main]
async fn main() -> ExitCode {
    let result = match Arguments::parse().command {
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
        println!("{}", path.display());
    }
    Ok(ExitCode::SUCCESS)
}

async fn up() -> anyhow::Result<ExitCode> {
    let places = Places::of_repository()?;
    let environment = Environment::up(&places).await?;
    println!("==> everything runs; point this shell at it with\n");
    println!("    . {}\n", environment.env_file.display());
    Ok(ExitCode::SUCCESS)
}

async fn down() -> anyhow::Result<ExitCode> {
    environment::down(&Places::of_repository()?).await?;
    Ok(ExitCode::SUCCESS)
}

fn status() -> anyhow::Result<ExitCode> {
    let parts = environment::status(&Places::of_repository()?)?;
    for part in &parts {
        match part.pid {
            Some(pid) => println!(
                "{:<24} running, process {pid}, log {}",
                part.name,
                part.log.display()
            ),
            None => println!("{:<24} not running", part.name),
        }
    }
    let complete = parts.iter().all(|part| part.pid.is_some());
    Ok(if complete {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
