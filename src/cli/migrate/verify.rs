//! `sepulki migrate verify`: what is there of the files that the ledger claims.

use anyhow::Result;
use serde::Serialize;

use super::{
    super::{
        Ended, connection,
        output::{self, columns},
    },
    args::Options,
    request, show,
};
use crate::engine::{Finding, Plan, ProblemKind, Verdict, Verified, plan_by, run};

/// What is printed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    database: String,
    scratch: String,
    versions: Vec<Told>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Told {
    version: String,
    verdict: Finding,
    /// Of a recorded file: as in `status`.
    #[serde(skip_serializing_if = "Option::is_none")]
    checksum: Option<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    missing: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

pub(super) async fn verify(options: &Options, scratch: Option<&str>) -> Result<Ended> {
    let request = request(options, None)?;
    let scratch = connection::scratch(scratch)?;
    let found = Box::pin(run::verify(&request, &scratch)).await?;
    let plan = plan_by(&request.policies, &request.bundle, &found.ledger, None);
    let versions = found.versions.into_iter();
    let report = Report {
        database: request.target.database.clone(),
        scratch: scratch.database,
        versions: versions.map(|verified| told(verified, &plan)).collect(),
    };
    output::print(options.output, &report, table)?;
    let needs_somebody = |told: &Told| told.verdict.needs_somebody();
    Ok(if report.versions.iter().any(needs_somebody) {
        Ended::Failed
    } else {
        Ended::Fine
    })
}

fn told(verified: Verified, plan: &Plan) -> Told {
    let version = verified.version.as_str();
    let is_recorded_file = verified.recorded && plan.applied.iter().any(|file| file == version);
    let verdict = verified.finding();
    let checksum = is_recorded_file.then(|| show::checksum(plan, version));
    let (missing, reason) = match verified.verdict {
        Verdict::Consistent | Verdict::Repeatable => (Vec::new(), None),
        Verdict::Missing(changes) => (changes, None),
        Verdict::Unknown(reason) => (Vec::new(), Some(almost(version, plan).unwrap_or(reason))),
    };
    Told {
        verdict,
        checksum,
        missing,
        reason,
        version: verified.version,
    }
}

/// The file that a row may name.
fn almost(row: &str, plan: &Plan) -> Option<String> {
    plan.problems
        .iter()
        .find(|problem| {
            matches!(
                &problem.kind,
                ProblemKind::AlmostRecorded { row: found }
                | ProblemKind::Renamed { row: found }
                | ProblemKind::MaybeRecorded { row: found } if found == row
            )
        })
        .map(|problem| {
            let file = &problem.version;
            format!("there is no such file; if it is {file}, say so with --alias '{row}={file}'")
        })
}

fn table(report: &Report) -> String {
    let head = ["VERSION", "VERDICT", "CHECKSUM", "WHY"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(report.versions.iter().map(|told| {
        vec![
            told.version.clone(),
            told.verdict.words().to_owned(),
            told.checksum.unwrap_or_default().to_owned(),
            told.reason.clone().unwrap_or(told.missing.join(", ")),
        ]
    }));
    columns(&rows) + &advice(report)
}

/// What to do about what was found.
fn advice(report: &Report) -> String {
    let any = |word| report.versions.iter().any(|told| told.verdict == word);
    let mut lines = String::new();
    if any(Finding::ClaimedButMissing) {
        lines += "✗ claimed but missing: run what is missing by hand, or delete the row and have the file run with up --out-of-order Allow\n";
    }
    if any(Finding::ThereWithoutRow) {
        lines += "✗ there without a row: record it with mark FILE\n";
    }
    if any(Finding::ThereInPart) {
        lines += "✗ there in part: do by hand what is missing and record it with mark FILE, or take back what is there\n";
    }
    lines
}
