//! `sepulki migrate mark` and `baseline`: records files as applied without running them.

use anyhow::{Result, bail};
use serde::Serialize;

use super::{
    super::{Ended, output},
    args::Options,
    planned, request,
};
use crate::engine::{
    Plan,
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
    let (_, plan) = planned(&request).await?;
    let before = plan.pending.iter().find(|pending| pending.version != file);
    if let Some(before) = before.filter(|_| !request.policies.allow_out_of_order) {
        bail!(
            "{} is pending and comes before {file}: it could not run any more; mark it first, or `sepulki migrate baseline {file}` records both",
            before.version
        );
    }
    record(options, request, plan, vec![file.to_owned()]).await
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
    let (_, plan) = planned(&request).await?;
    record(options, request, plan, versions).await
}

async fn record(
    options: &Options,
    request: RunRequest,
    before: Plan,
    versions: Vec<String>,
) -> Result<Ended> {
    let applied = before.applied;
    Box::pin(run::mark(request, &versions, |progress| {
        super::up::tell(&progress);
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
