//! The command line.

mod crds;
mod operator;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::OperatorArgs;

/// One loop for a hosted Neon branch and its PostgreSQL schema.
#[derive(Debug, Parser)]
#[command(
    name = "sepulki",
    version,
    about,
    after_help = "Examples:\n  sepulki crds | kubectl apply --server-side -f -\n  sepulki operator --namespace team-a"
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the controllers
    Operator(Box<OperatorArgs>),
    /// Print the CustomResourceDefinitions
    Crds(crds::CrdsArgs),
}

impl Cli {
    /// Runs the command of this process: 0 fine, 1 failed, 2 wrong use.
    #[must_use]
    pub fn run() -> ExitCode {
        let result = match Self::parse().command {
            Command::Operator(args) => operator::run(*args),
            Command::Crds(args) => crds::run(&args),
        };
        match result {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("sepulki: {error:#}");
                ExitCode::FAILURE
            }
        }
    }
}
