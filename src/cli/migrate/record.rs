//! `sepulki migrate mark` and `baseline`: records files as applied without running them.

use anyhow::Result;
use serde::Serialize;

use super::{
    super::{Ended, output},
    args::Options,
    inspect, request,
};
use crate::engine::{
    plan_by,
    run::{self, RunRequest},
};

/// What is printed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    recorded: Vec<String>,
}

pub(super) async fn mark(options: &Options, file: &str) -> Result<Ended> {
    let request = request(options, Some(file))?;
    record(options, request, vec![file.to_owned()]).await
}

pub(super) async fn baseline(options: &Options, file: &str) -> Result<Ended> {
    let request = request(options, Some(file))?;
    let files = request
        .bundle
        .files()
        .iter()
        .map(|f| f.version().to_owned());
    let mut versions = Vec::new();
    for version in files {
        let is_last = version == file;
        versions.push(version);
        if is_last {
            break;
        }
    }
    record(options, request, versions).await
}

async fn record(options: &Options, request: RunRequest, versions: Vec<String>) -> Result<Ended> {
    let before = inspect(&request).await?;
    let applied = plan_by(&request.policies, &request.bundle, &before, None).applied;
    Box::pin(run::mark(request, &versions, |progress| {
        eprintln!("{}", super::up::line(&progress));
    }))
    .await?;
    let report = Report {
        recorded: versions
            .into_iter()
            .filter(|version| !applied.contains(version))
            .collect(),
    };
    output::print(options.output, &report, |report| {
        match report.recorded.as_slice() {
            [] => "recorded already\n".to_owned(),
            recorded => format!("recorded as applied: {}\n", recorded.join(", ")),
        }
    })?;
    Ok(Ended::Fine)
}
