//! `sepulki completion`: what shells need to complete commands and flags.

use anyhow::Result;
use clap::{Args, CommandFactory as _};
use clap_complete::{Shell, generate};

use super::{Cli, output};

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  source <(sepulki completion bash)\n  sepulki completion zsh > ~/.zfunc/_sepulki\n  sepulki completion fish > ~/.config/fish/completions/sepulki.fish"
)]
pub(super) struct CompletionArgs {
    /// The shell
    shell: Shell,
}

pub(super) fn run(args: &CompletionArgs) -> Result<()> {
    let mut script = Vec::new();
    generate(args.shell, &mut Cli::command(), "sepulki", &mut script);
    output::print_text(&String::from_utf8_lossy(&script))
}
