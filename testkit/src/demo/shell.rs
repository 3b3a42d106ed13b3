//! The demo's terminal session: every command is printed as a person would type it, and is run as printed.

use std::{path::PathBuf, process::Stdio, time::Duration};

use anyhow::{Context, bail};
use tokio::process::Command;

use crate::progress::{say, styled, with_elapsed};

/// How long one command may take. What waits by itself is given less by its own flag.
const DEADLINE: Duration = Duration::from_mins(4);

/// A shell in which the session goes on: a folder, and what was defined so far.
#[derive(Debug)]
pub(crate) struct Shell {
    dir: PathBuf,
    /// Lines that later commands build upon: each command is run by a shell of its own.
    definitions: String,
}

impl Shell {
    pub(crate) fn new(dir: PathBuf) -> Self {
        Self {
            dir,
            definitions: "set -eu\n".to_owned(),
        }
    }

    /// Prints a definition that later commands use: a sourced file, a function.
    pub(crate) fn define(&mut self, line: &str) {
        print_command(line);
        self.definitions.push_str(line);
        self.definitions.push('\n');
    }

    /// Prints the command, runs it and prints its output, which is the answer.
    ///
    /// # Errors
    /// If the command fails; its output is printed by then.
    pub(crate) async fn run(&self, line: &str) -> anyhow::Result<String> {
        print_command(line);
        let output = with_elapsed(self.output_of(line)).await?;
        for text in [&output.stdout, &output.stderr] {
            for line in String::from_utf8_lossy(text).trim_end().lines() {
                say(format!("    {line}").trim_end());
            }
        }
        if !output.status.success() {
            bail!("the command ended with {}: {line}", output.status);
        }
        String::from_utf8(output.stdout).context("read the command's output")
    }

    async fn output_of(&self, line: &str) -> anyhow::Result<std::process::Output> {
        let command = Command::new("sh")
            .arg("-c")
            .arg(format!("{}{line}", self.definitions))
            .current_dir(&self.dir)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        tokio::time::timeout(DEADLINE, command)
            .await
            .with_context(|| format!("no end after {DEADLINE:?}: {line}"))?
            .with_context(|| format!("run: {line}"))
    }
}

fn print_command(line: &str) {
    say(&format!("{} {}", styled("2", "$"), styled("1", line)));
}
