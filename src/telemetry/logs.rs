//! Log lines: one subscriber for the process, on standard error.

use std::io::IsTerminal;

use tracing_subscriber::{filter::Targets, fmt, layer::SubscriberExt, util::SubscriberInitExt};

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// One JSON object per line, for collectors.
    Json,
    /// For people; coloured on a terminal.
    Text,
}

/// Log lines already go somewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("log output is already set up in this process")]
pub struct AlreadyInstalled;

/// Sends the process's log lines to standard error. Once per process.
///
/// # Errors
/// When a subscriber is installed already; that one stays.
pub fn install(format: LogFormat, filter: Targets) -> Result<(), AlreadyInstalled> {
    let registry = tracing_subscriber::registry().with(filter);
    match format {
        LogFormat::Json => {
            // The fields of the line beside its message, not one level down: that is where queries look for them.
            let layer = fmt::layer()
                .json()
                .flatten_event(true)
                .with_writer(std::io::stderr);
            registry.with(layer).try_init()
        }
        LogFormat::Text => {
            let layer = fmt::layer()
                .with_ansi(std::io::stderr().is_terminal())
                .with_writer(std::io::stderr);
            registry.with(layer).try_init()
        }
    }
    .map_err(|_| AlreadyInstalled)
}
