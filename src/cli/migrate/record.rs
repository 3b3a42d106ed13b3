//! `sepulki migrate mark` and `baseline`: records files as applied without running them.

use anyhow::{Result, bail};
use serde::Serialize;

use super::{
    super::{Ended, output},
    args::Options,
    planned, request,
};
use crate::engine::{
    History, LedgerState, Plan, Problem, ProblemKind,
    run::{self, RunRequest},
};

/// What is printed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    recorded: Vec<String>,
    /// Recorded before, with another content.
    accepted: Vec<String>,
}

pub(super) async fn mark(options: &Options, file: &str) -> Result<Ended> {
    let mut request = request(options, Some(file))?;
    if options.accepts_present()
        && let Some(present) = request.bundle.file(file)
    {
        let present = present.sha256().to_owned();
        request.policies.accept.insert(file.to_owned(), present);
    }
    let (state, plan) = planned(&request).await?;
    let is_edited =
        |p: &&Problem| p.version == file && matches!(p.kind, ProblemKind::Drifted { .. });
    if let Some(edited) = plan.problems.iter().find(is_edited) {
        bail!("{edited}; `sepulki migrate mark {file} --accept` records it as it is now");
    }
    let before = plan.pending.iter().find(|pending| pending.version != file);
    if let Some(before) = before.filter(|_| !request.policies.allow_out_of_order) {
        bail!(
            "{} is pending and comes before {file}: it could not run any more; mark it first, or `sepulki migrate baseline {file}` records both",
            before.version
        );
    }
    record(options, request, (state, plan), vec![file.to_owned()]).await
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
    let before = planned(&request).await?;
    record(options, request, before, versions).await
}

async fn record(
    options: &Options,
    request: RunRequest,
    (before, plan): (LedgerState, Plan),
    versions: Vec<String>,
) -> Result<Ended> {
    let applied = plan.applied;
    let policies = request.policies.clone();
    let after = Box::pin(run::mark(request, &versions, |progress| {
        super::up::tell(&progress);
    }))
    .await?;
    let (old, new) = (
        History::read(&policies, &before),
        History::read(&policies, &after),
    );
    let sum = |history: &History<'_>, version: &str| history.row(version)?.checksum.clone();
    let is_other =
        |version: &&String| applied.contains(version) && sum(&old, version) != sum(&new, version);
    let report = Report {
        accepted: versions.iter().filter(is_other).cloned().collect(),
        recorded: versions
            .into_iter()
            .filter(|version| !applied.contains(version))
            .collect(),
    };
    output::print(options.output, &report, |report| {
        let line = |what: &str, files: &[String]| match files {
            [] => String::new(),
            files => format!("{what}: {}\n", files.join(", ")),
        };
        let lines = line("recorded as applied", &report.recorded)
            + &line("recorded as it is now", &report.accepted);
        if lines.is_empty() {
            return "recorded already\n".to_owned();
        }
        lines
    })?;
    Ok(Ended::Fine)
}
