//! What all commands of `sepulki migrate` can be told; the names are those of the fields of a
//! SepulkiMigration.

use std::{path::PathBuf, time::Duration};

use anyhow::Result;
use clap::{Args, ValueEnum};

use super::super::{Usage, output::Format};
use crate::clock::wait_span;
use crate::engine::{
    self, Code, DECIDED, LedgerName, Order, Policies, is_checksum,
    run::{self, Execution, Timeouts},
};

#[derive(Debug, Args)]
pub(super) struct Options {
    /// Folder of the files
    #[arg(
        long,
        global = true,
        default_value = "migrations",
        value_name = "FOLDER"
    )]
    pub(super) dir: PathBuf,
    /// The last file to look at; all without it
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) target: Option<String>,
    /// The table that records what was applied
    #[arg(
        long,
        global = true,
        default_value = "public.schema_migrations",
        value_name = "SCHEMA.TABLE"
    )]
    ledger: String,
    /// What to print
    #[arg(
        short,
        long,
        global = true,
        default_value = "table",
        value_name = "FORMAT"
    )]
    pub(super) output: Format,
    /// Order of the files; without it byte order, as long as the numbers in the names say the same
    #[arg(long, global = true, ignore_case = true, value_name = "ORDER")]
    order: Option<OrderMode>,
    /// With --order Explicit: a text file that names all files in order, one a line
    #[arg(long, global = true, value_name = "LIST")]
    order_files: Option<PathBuf>,
    /// A file that is not applied although a later one is
    #[arg(
        long,
        global = true,
        ignore_case = true,
        default_value = "Reject",
        value_name = "POLICY"
    )]
    out_of_order: OutOfOrder,
    /// An applied version whose file is missing
    #[arg(
        long,
        global = true,
        ignore_case = true,
        default_value = "Warn",
        value_name = "POLICY"
    )]
    missing_file: Severity,
    /// An applied file that was edited since
    #[arg(
        long,
        global = true,
        ignore_case = true,
        default_value = "Fail",
        value_name = "POLICY"
    )]
    checksum_mismatch: Severity,
    /// Accept the present content of an edited file, in this run: the ledger keeps what was applied. With `mark` it has the
    /// present content from then on, and no value is needed; may be repeated
    #[arg(
        long,
        global = true,
        num_args = 0..=1,
        default_missing_value = "",
        value_name = "FILE=SHA256"
    )]
    accept: Vec<String>,
    /// What is said of a file and is all right: a rule of `lint`, everywhere or in one file, or Renamed, MaybeRecorded or
    /// ChangesLedger of one file; may be repeated
    #[arg(long, global = true, value_name = "RULE[=FILE]")]
    pub(super) ignore_lint: Vec<String>,
    /// Name under which the ledger has a file; may be repeated
    #[arg(long, global = true, value_name = "RECORDED=FILE")]
    alias: Vec<String>,
    /// The role that files run as; without it the one that logs in
    #[arg(long, global = true, value_name = "ROLE")]
    role: Option<String>,
    /// How long a statement waits for a lock before its file starts over
    #[arg(long, global = true, default_value = "2s", value_name = "TIME")]
    lock_timeout: String,
    /// How long a file may hold others up before it starts over
    #[arg(long, global = true, default_value = "5s", value_name = "TIME")]
    max_blocked: String,
    /// How long one statement may take
    #[arg(long, global = true, default_value = "never", value_name = "TIME")]
    statement_timeout: String,
    /// How long the whole run may take
    #[arg(long, global = true, default_value = "30m", value_name = "TIME")]
    deadline: String,
    /// How often a file starts over
    #[arg(long, global = true, default_value_t = 10, value_name = "NUMBER")]
    retries: u32,
    /// Whether tables that got an index or were rewritten are analyzed at the end
    #[arg(long, global = true, default_value_t = true, action = clap::ArgAction::Set, value_name = "BOOL")]
    analyze: bool,
    /// What to do where nobody can know whether an interrupted statement was carried out
    #[arg(
        long,
        global = true,
        ignore_case = true,
        default_value = "Stop",
        value_name = "POLICY"
    )]
    on_ambiguous: OnAmbiguous,
}

/// A length of time; other than specs, people at a terminal may mean less than a second.
fn span(text: &str) -> Option<Duration> {
    match text.strip_suffix("ms") {
        Some(number) => number.parse().ok().map(Duration::from_millis),
        None => wait_span(text),
    }
}

#[derive(Debug, Clone, Copy, ValueEnum)]
#[value(rename_all = "PascalCase")]
enum OrderMode {
    Lexicographic,
    Numeric,
    Explicit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "PascalCase")]
enum OutOfOrder {
    Reject,
    Allow,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "PascalCase")]
enum Severity {
    Warn,
    Fail,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
#[value(rename_all = "PascalCase")]
enum OnAmbiguous {
    Stop,
    Rerun,
    Skip,
}

/// The rules that do not count, each everywhere or in one file.
pub(super) fn ignored(list: &[String]) -> Result<Vec<(String, Option<String>)>> {
    let mut known = engine::rule_names();
    // of applied files, which stay as they are
    known.push(Code::SameNumber.as_str());
    known.extend(DECIDED);
    let read = |text: &String| {
        let (rule, file) = match text.split_once('=') {
            Some((rule, file)) => (rule, Some(file.to_owned())),
            None => (text.as_str(), None),
        };
        if !known.contains(&rule) {
            let known = known.join(", ");
            let message = format!("--ignore-lint {text}: no such rule; there are {known}");
            return Err(Usage(message).into());
        }
        if file.is_none() && DECIDED.contains(&rule) {
            let message =
                format!("--ignore-lint {text}: this is decided file by file: write {rule}=FILE");
            return Err(Usage(message).into());
        }
        Ok((rule.to_owned(), file))
    };
    list.iter().map(read).collect()
}

impl Options {
    /// Whether `--accept` is there without a value.
    pub(super) fn accepts_present(&self) -> bool {
        self.accept.iter().any(String::is_empty)
    }

    pub(super) fn order(&self) -> Result<Order> {
        match (self.order, &self.order_files) {
            (None, None) => Ok(Order::Unambiguous),
            (Some(OrderMode::Lexicographic), None) => Ok(Order::Lexicographic),
            (Some(OrderMode::Numeric), None) => Ok(Order::Numeric),
            (Some(OrderMode::Explicit), Some(list)) => {
                let text = std::fs::read_to_string(list)
                    .map_err(|error| Usage(format!("--order-files {}: {error}", list.display())))?;
                let names = text.lines().map(str::trim).filter(|name| !name.is_empty());
                Ok(Order::Explicit(names.map(str::to_owned).collect()))
            }
            (Some(OrderMode::Explicit), None)
            | (None | Some(OrderMode::Lexicographic | OrderMode::Numeric), Some(_)) => {
                let message = "--order-files is given with --order Explicit, and only then";
                Err(Usage(message.to_owned()).into())
            }
        }
    }

    pub(super) fn ledger(&self) -> Result<LedgerName> {
        let named = self.ledger.split_once('.');
        let (schema, table) = named.unwrap_or(("public", &self.ledger));
        if table.contains('.') || self.ledger.contains('"') {
            let message = format!(
                "--ledger {}: expected SCHEMA.TABLE, or TABLE alone, without quotes",
                self.ledger
            );
            return Err(Usage(message).into());
        }
        LedgerName::new(schema, table).map_err(|why| Usage(format!("--ledger: {why}")).into())
    }

    pub(super) fn policies(&self) -> Result<Policies> {
        let pairs = |flag: &str, list: &[String]| -> Result<Vec<(String, String)>> {
            list.iter()
                .map(|text| {
                    let pair = text.rsplit_once('=');
                    let (name, value) = pair.ok_or_else(|| {
                        Usage(format!(
                            "--{flag} {text}: expected two parts with = between them"
                        ))
                    })?;
                    Ok((name.to_owned(), value.to_owned()))
                })
                .collect()
        };
        let accept = self.accept.iter().filter(|text| !text.is_empty());
        let accept: Vec<String> = accept.cloned().collect();
        let accept = pairs("accept", &accept)?;
        for (file, sum) in &accept {
            if !is_checksum(sum) {
                let message = format!(
                    "--accept {file}={sum}: not a SHA-256, which is 64 hexadecimal digits, as sha256sum prints it"
                );
                return Err(Usage(message).into());
            }
        }
        let ignored = ignored(&self.ignore_lint)?.into_iter();
        let decided = ignored.filter(|(rule, _)| DECIDED.contains(&rule.as_str()));
        Ok(Policies {
            ignore: decided
                .filter_map(|(rule, file)| Some((rule, file?)))
                .collect(),
            allow_out_of_order: self.out_of_order == OutOfOrder::Allow,
            fail_on_missing_file: self.missing_file == Severity::Fail,
            warn_on_checksum_mismatch: self.checksum_mismatch == Severity::Warn,
            accept: accept.into_iter().collect(),
            aliases: pairs("alias", &self.alias)?.into_iter().collect(),
            baseline: None,
        })
    }

    pub(super) fn timeouts(&self) -> Result<Timeouts> {
        let time = |flag: &str, text: &str| -> Result<Duration> {
            let length = span(text).filter(|length| *length <= Timeouts::LONGEST);
            length.ok_or_else(|| {
                let message = format!(
                    "--{flag} {text}: not a length of time of at most 24 days, such as 500ms, 90s, 5m or 72h"
                );
                Usage(message).into()
            })
        };
        // to PostgreSQL a timeout of 0 is none
        let timeout = |flag: &str, text: &str| -> Result<Duration> {
            let length = time(flag, text)?;
            if length.is_zero() {
                let message = format!("--{flag} {text}: at least 1ms");
                return Err(Usage(message).into());
            }
            Ok(length)
        };
        let statement = self.statement_timeout.as_str();
        Ok(Timeouts {
            lock: timeout("lock-timeout", &self.lock_timeout)?,
            max_blocked: time("max-blocked", &self.max_blocked)?,
            statement: match statement {
                "never" => None,
                text => Some(timeout("statement-timeout", text)?),
            },
            deadline: time("deadline", &self.deadline)?,
            retries: self.retries,
            ..Timeouts::default()
        })
    }

    pub(super) fn execution(&self) -> Execution {
        Execution {
            role: self.role.clone(),
            on_ambiguous: match self.on_ambiguous {
                OnAmbiguous::Stop => run::OnAmbiguous::Stop,
                OnAmbiguous::Rerun => run::OnAmbiguous::Rerun,
                OnAmbiguous::Skip => run::OnAmbiguous::Skip,
            },
            analyze: self.analyze,
        }
    }
}
