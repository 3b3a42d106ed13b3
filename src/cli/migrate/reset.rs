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
    let dropped = Box::pin(run::reset(&request, |progress| {
        super::up::tell(&progress);
    }))
    .await?;
    let report = Report {
        database: request.target.database,
        dropped,
    };
    output::print(options.output, &report, |report| {
        format!("{} is empty: {} dropped\n", report.database, report.dropped)
    })?;
    Ok(Ended::Fine)
}
