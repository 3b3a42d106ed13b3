//! What commands print: a table for people, JSON or YAML for programs; and a word where a server lets them wait.

use std::future::Future;
use std::io::{ErrorKind, IsTerminal, Write};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::ValueEnum;
use serde::Serialize;

use super::terminal::{self, COLOURS};
use crate::postgres::Target;

/// After that long without an answer somebody may want to know who is waited for.
const SILENCE: Duration = Duration::from_secs(2);

/// Says on standard error whom the work waits for, where it takes longer than one expects.
pub(super) async fn told_to_wait<T>(target: &Target, work: impl Future<Output = T>) -> T {
    tokio::pin!(work);
    if let Ok(done) = tokio::time::timeout(SILENCE, &mut work).await {
        return done;
    }
    say(&format!("waiting for {}:{}", target.host, target.port));
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
    match format {
        Format::Table => print_text(&terminal::plain(&table(report))),
        Format::Json => print_json(report),
        Format::Yaml => {
            let text = serde_saphyr::to_string(report).context("cannot print YAML")?;
            print_text(&terminal::plain(&text))
        }
    }
}

/// Prints a report as JSON.
pub(super) fn print_json<T: Serialize>(report: &T) -> Result<()> {
    let text = serde_json::to_string_pretty(report).context("cannot print JSON")? + "\n";
    print_text(&terminal::json(&text))
}

/// Prints a text as it is. Where nobody reads any more (`| head`), there is nobody to tell either.
pub(super) fn print_text(text: &str) -> Result<()> {
    let mut out = std::io::stdout();
    let printed = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    match printed {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        printed => printed.context("cannot print"),
    }
}

/// Tells people something, on standard error, whether anybody reads it or not: what is under way goes on.
pub(super) fn say(text: &str) {
    let line = terminal::plain(text) + "\n";
    let _ = std::io::stderr().write_all(line.as_bytes());
}

/// Lines up columns; the first row is the head.
pub(super) fn columns(rows: &[Vec<String>]) -> String {
    let shown = |row: &Vec<String>| row.iter().map(|cell| terminal::on_a_line(cell)).collect();
    let rows: Vec<Vec<String>> = rows.iter().map(shown).collect();
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
    let [green, red, yellow, end] = COLOURS;
    let (sign, colour) = match is_good {
        Some(true) => ("✓", green),
        Some(false) => ("✗", red),
        None => ("!", yellow),
    };
    if std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none() {
        format!("{colour}{sign}{end}")
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
