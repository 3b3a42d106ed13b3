//! `sepulki migrate reset`: empties a database, so that all files run again.

use anyhow::Result;
use serde::Serialize;

use super::{
    super::{Ended, Usage, connection, output},
    HOLDER,
    args::Options,
};
use crate::engine::run::{self, ResetRequest};

/// What is printed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    database: String,
    dropped: u64,
    /// What is there still.
    left: Vec<String>,
}

pub(super) async fn reset(options: &Options, typed: &str) -> Result<Ended> {
    let target = connection::from_environment()?;
    if typed != target.database {
        return Err(Usage(format!(
            "{} names the database {}, not {typed}: nothing was dropped",
            connection::VARIABLE,
            target.database
        ))
        .into());
    }
    let request = ResetRequest {
        ledger: options.ledger()?,
        holder: HOLDER.to_owned(),
        timeouts: options.timeouts()?,
        target,
    };
    let emptied = Box::pin(run::reset(&request, |progress| {
        super::up::tell(&progress);
    }))
    .await?;
    let report = Report {
        database: request.target.database,
        dropped: emptied.dropped,
        left: emptied.left,
    };
    output::print(options.output, &report, text)?;
    Ok(Ended::Fine)
}

fn text(report: &Report) -> String {
    let Report {
        database,
        dropped,
        left,
    } = report;
    if left.is_empty() {
        return format!("{database} is empty: {dropped} dropped\n");
    }
    let left: Vec<String> = left.iter().map(|what| format!("  {what}\n")).collect();
    format!(
        "{database}: {dropped} dropped; left are, since they are of others or seldom made by files:\n{}",
        left.concat()
    )
}
