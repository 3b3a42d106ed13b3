//! What commands print: a table for people, JSON or YAML for programs; and a word where a server lets them wait.

use std::future::Future;
use std::io::{IsTerminal, Write};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::ValueEnum;
use serde::Serialize;

use crate::postgres::Target;

/// After that long without an answer somebody may want to know who is waited for.
const SILENCE: Duration = Duration::from_secs(2);

/// Says on standard error whom the work waits for, where it takes longer than one expects.
pub(super) async fn told_to_wait<T>(target: &Target, work: impl Future<Output = T>) -> T {
    tokio::pin!(work);
    if let Ok(done) = tokio::time::timeout(SILENCE, &mut work).await {
        return done;
    }
    eprintln!("waiting for {}:{}", target.host, target.port);
    work.await
}

/// The form of what is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people
    Table,
    /// For programs
    Json,
    /// For programs and people
    Yaml,
}

/// Prints a report.
pub(super) fn print<T: Serialize>(
    format: Format,
    report: &T,
    table: impl FnOnce(&T) -> String,
) -> Result<()> {
    let text = match format {
        Format::Table => table(report),
        Format::Json => serde_json::to_string_pretty(report).context("cannot print JSON")? + "\n",
        Format::Yaml => serde_saphyr::to_string(report).context("cannot print YAML")?,
    };
    print_text(&text)
}

/// Prints a text as it is.
pub(super) fn print_text(text: &str) -> Result<()> {
    std::io::stdout()
        .write_all(text.as_bytes())
        .context("cannot print")
}

/// Lines up columns; the first row is the head.
pub(super) fn columns(rows: &[Vec<String>]) -> String {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..count).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths);
        let padded: Vec<String> = cells
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        padded.join("  ").trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}

/// A mark in front of a line, coloured on a terminal.
pub(super) fn mark(is_good: Option<bool>) -> String {
    let (sign, colour) = match is_good {
        Some(true) => ("✓", "32"),
        Some(false) => ("✗", "31"),
        None => ("!", "33"),
    };
    if std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none() {
        format!("\u{1b}[{colour}m{sign}\u{1b}[0m")
    } else {
        sign.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let row = |cells: [&str; 2]| cells.map(str::to_owned).to_vec();
        let text = columns(&[
            row(["VERSION", "STATE"]),
            row(["ü.sql", "applied"]),
            row(["1", ""]),
        ]);
        assert_eq!(text, "VERSION  STATE\nü.sql    applied\n1\n");
    }
}
