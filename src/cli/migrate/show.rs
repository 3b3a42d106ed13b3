//! `sepulki migrate status` and `plan`: what is applied, what is pending, what is in the way.

use anyhow::Result;
use serde::Serialize;

use super::{
    super::{
        Ended,
        output::{self, columns},
    },
    args::Options,
    planned, request,
};
use crate::engine::{
    Bundle, Edit, History, LedgerState, MigrationFile, Outlook, Plan, Problem, ProblemKind,
    run::{OnAmbiguous, RunRequest},
};

/// What `status` prints.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    database: String,
    ledger: String,
    files: Vec<FileStatus>,
    problems: Vec<Told>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct FileStatus {
    version: String,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    applied_at: Option<String>,
    checksum: &'static str,
}

/// A problem as it is printed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Told {
    version: String,
    kind: &'static str,
    blocks: bool,
    message: String,
}

/// What `plan` prints.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Planned {
    database: String,
    pending: Vec<PendingFile>,
    problems: Vec<Told>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct PendingFile {
    version: String,
    sha256: String,
    parts: Vec<PendingPart>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct PendingPart {
    line: usize,
    statements: usize,
    runs: &'static str,
}

pub(super) async fn status(options: &Options) -> Result<Ended> {
    let (request, state, plan) = look(options).await?;
    let status = Status {
        database: request.target.database.clone(),
        ledger: request.ledger.to_string(),
        files: files(&request, &state, &plan),
        problems: told(&plan, request.execution.on_ambiguous),
    };
    output::print(options.output, &status, table_of_status)?;
    Ok(ended(&plan, request.execution.on_ambiguous))
}

pub(super) async fn plan(options: &Options) -> Result<Ended> {
    let (request, _, plan) = look(options).await?;
    let pending = plan.pending.iter().map(|pending| PendingFile {
        version: pending.version.clone(),
        sha256: pending.sha256.clone(),
        parts: parts(&request.bundle, &pending.version),
    });
    let planned = Planned {
        database: request.target.database.clone(),
        pending: pending.collect(),
        problems: told(&plan, request.execution.on_ambiguous),
    };
    output::print(options.output, &planned, table_of_plan)?;
    Ok(ended(&plan, request.execution.on_ambiguous))
}

async fn look(options: &Options) -> Result<(RunRequest, LedgerState, Plan)> {
    let request = request(options, options.target.as_deref())?;
    let (state, plan) = planned(&request).await?;
    Ok((request, state, plan))
}

fn ended(plan: &Plan, decided: OnAmbiguous) -> Ended {
    let mut problems = plan.problems.iter();
    if problems.any(|problem| is_in_the_way(problem, decided)) {
        Ended::Failed
    } else if plan.pending.is_empty() {
        Ended::Fine
    } else {
        Ended::Pending
    }
}

/// Whether `up` would fail because of it.
fn is_in_the_way(problem: &Problem, decided: OnAmbiguous) -> bool {
    let asks = matches!(
        problem.kind,
        ProblemKind::Interrupted(Outlook { asks: true, .. })
    );
    problem.blocks() || (asks && decided == OnAmbiguous::Stop)
}

/// The problems of a plan, for printing.
pub(super) fn told(plan: &Plan, decided: OnAmbiguous) -> Vec<Told> {
    let told = |problem: &Problem| Told {
        version: problem.version.clone(),
        kind: problem.kind.as_str(),
        blocks: is_in_the_way(problem, decided),
        message: match problem.kind.findings() {
            Some(findings) => findings.render().trim_end().to_owned(),
            None => problem.to_string(),
        },
    };
    plan.problems.iter().map(told).collect()
}

/// Problems as lines for people.
pub(super) fn lines(problems: &[Told]) -> String {
    let line = |told: &Told| {
        let mark = output::mark(if told.blocks { Some(false) } else { None });
        format!("{mark} {}\n", told.message)
    };
    problems.iter().map(line).collect()
}

fn files(request: &RunRequest, state: &LedgerState, plan: &Plan) -> Vec<FileStatus> {
    let history = History::read(&request.policies, state);
    let row = |version: &str| history.row(version);
    let file = |version: &String| {
        let row = row(version);
        let at = row.and_then(|row| row.applied_at);
        FileStatus {
            version: version.clone(),
            state: match row {
                Some(_) => "applied",
                None if history.is_begun(version) => "interrupted",
                None if plan.pending.iter().any(|p| p.version == *version) => "pending",
                None => "behind the target",
            },
            applied_at: at.map(|at| format!("{at:.0}")),
            checksum: row.map_or("", |_| checksum(plan, version)),
        }
    };
    let mut files: Vec<FileStatus> = plan.files.iter().map(file).collect();
    let missing = plan
        .problems
        .iter()
        .filter(|p| p.kind == ProblemKind::Missing);
    files.extend(missing.map(|problem| {
        let at = row(&problem.version).and_then(|row| row.applied_at);
        FileStatus {
            version: problem.version.clone(),
            state: "applied",
            applied_at: at.map(|at| format!("{at:.0}")),
            checksum: "no file",
        }
    }));
    let gone = plan.problems.iter();
    let gone = gone.filter(|p| matches!(p.kind, ProblemKind::Unfinished { .. }));
    files.extend(gone.map(|problem| FileStatus {
        version: problem.version.clone(),
        state: "interrupted",
        applied_at: None,
        checksum: "no file",
    }));
    files
}

/// What is known of an applied file's content.
pub(super) fn checksum(plan: &Plan, version: &str) -> &'static str {
    let mut of_file = plan.problems.iter().filter(|p| p.version == version);
    of_file
        .find_map(|problem| match problem.kind {
            ProblemKind::Drifted {
                edit: Edit::Form, ..
            } => Some("reformatted"),
            ProblemKind::Drifted { .. } => Some("edited"),
            ProblemKind::Unverified => Some("unknown"),
            ProblemKind::OutOfOrder { .. }
            | ProblemKind::AlmostRecorded { .. }
            | ProblemKind::Renamed { .. }
            | ProblemKind::MaybeRecorded { .. }
            | ProblemKind::ChangesLedger { .. }
            | ProblemKind::LedgerLost { .. }
            | ProblemKind::IdleAlias { .. }
            | ProblemKind::AliasedFile { .. }
            | ProblemKind::SameNumber { .. }
            | ProblemKind::Unrecorded { .. }
            | ProblemKind::Unrunnable(_)
            | ProblemKind::Interrupted(_)
            | ProblemKind::Unfinished { .. }
            | ProblemKind::UnknownTarget
            | ProblemKind::UnknownBaseline
            | ProblemKind::Missing => None,
        })
        .unwrap_or("matches")
}

fn parts(bundle: &Bundle, version: &str) -> Vec<PendingPart> {
    let parts = bundle.file(version).map(MigrationFile::parts);
    let part = |part: crate::engine::Part| PendingPart {
        line: part.line,
        statements: part.statements,
        runs: part.alone.unwrap_or("transaction"),
    };
    parts.unwrap_or_default().into_iter().map(part).collect()
}

fn table_of_status(status: &Status) -> String {
    let head = ["VERSION", "STATE", "APPLIED AT", "CHECKSUM"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(status.files.iter().map(|file| {
        vec![
            file.version.clone(),
            file.state.to_owned(),
            file.applied_at.clone().unwrap_or_default(),
            file.checksum.to_owned(),
        ]
    }));
    columns(&rows) + &lines(&status.problems)
}

fn table_of_plan(plan: &Planned) -> String {
    if plan.pending.is_empty() {
        return "nothing is pending\n".to_owned() + &lines(&plan.problems);
    }
    let head = ["VERSION", "LINE", "STATEMENTS", "RUNS AS"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for file in &plan.pending {
        let mut name = file.version.clone();
        if file.parts.is_empty() {
            rows.push(vec![name]);
            continue;
        }
        for part in &file.parts {
            rows.push(vec![
                std::mem::take(&mut name),
                part.line.to_string(),
                part.statements.to_string(),
                part.runs.to_owned(),
            ]);
        }
    }
    columns(&rows) + &lines(&plan.problems)
}
