//! Log lines: one subscriber for the process, on standard error.

use std::io::IsTerminal;

use tracing_subscriber::filter::LevelFilter;
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
    // what a database says to a session belongs to whoever opened it; here it would only repeat itself
    let filter = filter.with_target("sqlx::postgres::notice", LevelFilter::WARN);
    let registry = tracing_subscriber::registry().with(filter);
    match format {
        LogFormat::Json => {
            // The fields of the line beside its message, not one level down: that is where queries look for them.
            let layer = fmt::layer()
                .json()
                .flatten_event(true)
                // a pass says itself which object it is about
                .with_current_span(false)
                .with_span_list(false)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_output_is_set_up_once() {
        // Another test of this process may have been first.
        let _ = install(LogFormat::Text, Targets::new());
        assert_eq!(
            install(LogFormat::Json, Targets::new()),
            Err(AlreadyInstalled)
        );
    }
}
