//! The command line. A closed pipe ends no command, so what is printed goes through `output`.
#![deny(clippy::print_stdout, clippy::print_stderr)]

mod advice;
mod completion;
mod connection;
mod crds;
mod migrate;
mod operator;
mod output;
mod passfile;
mod terminal;
mod validate;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::config::OperatorArgs;

/// One loop for a hosted Neon branch and its PostgreSQL schema.
#[derive(Debug, Parser)]
#[command(
    name = "sepulki",
    version,
    about,
    after_help = "Examples:\n  sepulki crds | kubectl apply --server-side -f -\n  sepulki operator --namespace team-a\n  DATABASE_URL=postgresql://… sepulki migrate status"
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
    /// Bring SQL files to a database, each exactly once
    Migrate(Box<migrate::MigrateArgs>),
    /// Look whether a database can be used, and migrated
    Validate(validate::ValidateArgs),
    /// Print what a shell needs to complete commands and flags
    Completion(completion::CompletionArgs),
}

/// The command was not used as it is meant to be.
#[derive(Debug)]
struct Usage(String);

impl std::fmt::Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// How a command ended that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    Fine,
    /// It found what it was to look for: something that is wrong.
    Failed,
    /// There is work to do.
    Pending,
}

/// Tells people what went wrong, and what they can do about it.
fn complain(error: &anyhow::Error) {
    output::say(&format!("sepulki: {error:#}"));
    if let Some(advice) = advice::about(error) {
        output::say(&format!("help: {advice}"));
    }
}

impl Cli {
    /// Reads the arguments of this process, and ends it where they are no command.
    fn read() -> Self {
        let mut command = Self::command();
        command.build();
        if let Some(migrate) = command.find_subcommand_mut("migrate") {
            migrate::hide_idle(migrate);
        }
        Self::from_arg_matches(&command.get_matches()).unwrap_or_else(|error| error.exit())
    }

    /// Runs the command of this process: 0 fine, 1 failed, 2 wrong use, 3 pending work.
    #[must_use]
    pub fn run() -> ExitCode {
        let result = match Self::read().command {
            Command::Operator(args) => operator::run(*args).map(|()| Ended::Fine),
            Command::Crds(args) => crds::run(&args).map(|()| Ended::Fine),
            Command::Completion(args) => completion::run(&args).map(|()| Ended::Fine),
            Command::Migrate(args) => migrate::run(&args),
            Command::Validate(args) => validate::run(&args),
        };
        match result {
            Ok(Ended::Fine) => ExitCode::SUCCESS,
            Ok(Ended::Failed) => ExitCode::FAILURE,
            Ok(Ended::Pending) => ExitCode::from(3),
            Err(error) => {
                complain(&error);
                if error.is::<Usage>() {
                    ExitCode::from(2)
                } else {
                    ExitCode::FAILURE
                }
            }
        }
    }
}
