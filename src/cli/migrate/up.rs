//! `sepulki migrate up`: applies what is pending. What the operator would not run before a person has said so is told, and
//! run all the same: here the person is there.

use std::time::Duration;

use anyhow::{Result, anyhow};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::{
    super::{
        Ended, Usage,
        operator::told_to_stop,
        output::{self, Format},
    },
    args::{Options, ignored},
    failed::{self, Failure},
    request, show,
};
use crate::engine::{
    Bundle, LintPolicy, Plan, lint,
    run::{OnAmbiguous, Progress, RunError, apply},
};

/// What `up` prints.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    applied: Vec<String>,
    pending: usize,
    problems: Vec<show::Told>,
    /// Why the run ended early.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Failure>,
}

pub(super) async fn up(options: &Options, only: Option<&str>) -> Result<Ended> {
    if let (Some(_), Some(_)) = (only, &options.target) {
        return Err(Usage("FILE and --target exclude each other".to_owned()).into());
    }
    let policy = LintPolicy {
        ignore: ignored(&options.ignore_lint)?,
        ..LintPolicy::default()
    };
    let request = request(options, only.or(options.target.as_deref()))?;
    let stop = told_to_stop()?;
    let cancel = request.cancel.clone();
    tokio::spawn(async move {
        stop.await;
        output::say("stopping: cancelling what is under way");
        cancel.cancel();
    });
    let (bundle, target) = (request.bundle.clone(), request.target.clone());
    let decided = request.execution.on_ambiguous;
    let refusal = request.cancel.clone();
    let mut refused = None;
    let mut begun = None;
    let mut seen = Seen::new(decided);
    let answered = CancellationToken::new();
    let work = async {
        let result = Box::pin(apply(request, |progress| {
            answered.cancel();
            seen.note(&progress);
            if let Progress::Planned { plan } = &progress {
                // nothing has run yet, and nothing does any more
                refused = only.and_then(|only| before(plan, only));
                if refused.is_some() {
                    refusal.cancel();
                    return;
                }
                warn(&bundle, plan, &policy);
            }
            // a file in parts starts with each of them
            if let Progress::Started {
                version,
                attempt: 1,
                ..
            } = &progress
                && begun.replace(version.clone()).as_ref() == Some(version)
            {
                return;
            }
            tell(&progress);
        }));
        let result = result.await;
        answered.cancel();
        result
    };
    let hint = output::told_to_wait(&target, answered.cancelled());
    let result = tokio::join!(work, hint).0;
    let result = match refused {
        Some(refusal) => Err(anyhow!(refusal)),
        None => result.map_err(anyhow::Error::from),
    };
    match result {
        Ok(report) => {
            let report = Report {
                applied: report.applied,
                pending: report.plan.pending.len(),
                problems: show::told(&report.plan, decided),
                error: None,
            };
            output::print(options.output, &report, table)?;
            Ok(Ended::Fine)
        }
        Err(error) => {
            if options.output != Format::Table {
                output::print(options.output, &seen.report(&error), table)?;
            }
            failed::tell(error, decided);
            Ok(Ended::Failed)
        }
    }
}

/// What a run has told until it ended early.
#[derive(Debug)]
struct Seen {
    decided: OnAmbiguous,
    pending: usize,
    applied: Vec<String>,
    problems: Vec<show::Told>,
}

impl Seen {
    fn new(decided: OnAmbiguous) -> Self {
        Self {
            decided,
            pending: 0,
            applied: Vec::new(),
            problems: Vec::new(),
        }
    }

    fn note(&mut self, progress: &Progress) {
        match progress {
            Progress::Planned { plan } => {
                self.pending = plan.pending.len();
                self.problems = show::told(plan, self.decided);
            }
            Progress::Applied { version } => self.applied.push(version.clone()),
            Progress::WaitingForRun { .. }
            | Progress::Started { .. }
            | Progress::Statement { .. }
            | Progress::Building { .. }
            | Progress::WaitingForLock { .. }
            | Progress::GotLocks { .. }
            | Progress::LockTime { .. }
            | Progress::Said { .. }
            | Progress::Retrying { .. } => {}
        }
    }

    fn report(mut self, error: &anyhow::Error) -> Report {
        if let Some(RunError::Blocked(plan)) = error.downcast_ref() {
            self.pending = plan.pending.len();
            self.problems = show::told(plan, self.decided);
        }
        Report {
            pending: self.pending.saturating_sub(self.applied.len()),
            applied: self.applied,
            problems: self.problems,
            error: Some(Failure::of(error)),
        }
    }
}

/// Exactly one file can only be applied once those before it are: why this one cannot be.
fn before(plan: &Plan, only: &str) -> Option<String> {
    let before = plan
        .pending
        .iter()
        .find(|pending| pending.version != only)?;
    Some(format!(
        "{} is pending and comes before {only}; `sepulki migrate up --target {only}` applies both",
        before.version
    ))
}

/// Tells what the operator would not run by itself.
fn warn(bundle: &Bundle, plan: &Plan, policy: &LintPolicy) {
    let pending = plan.pending.iter().map(|pending| pending.version.clone());
    let pending: Vec<String> = pending.collect();
    let found = match lint(bundle, Some(&pending)) {
        Ok(found) => found,
        Err(error) => {
            output::say(&format!(
                "warning: the files cannot be looked through: {error}"
            ));
            return;
        }
    };
    let found: Vec<String> = found
        .iter()
        .filter(|found| policy.stops(found))
        .map(|found| format!("{}\n", found.render().trim_end()))
        .collect();
    if !found.is_empty() {
        let found = found.concat();
        output::say(&format!(
            "{found}warning: the operator would not run this before spec.policies allows it; it runs now"
        ));
    }
}

/// Tells what happens, where that deserves a line.
pub(super) fn tell(progress: &Progress) {
    if let Some(line) = line(progress) {
        output::say(&line);
    }
}

fn line(progress: &Progress) -> Option<String> {
    Some(match progress {
        Progress::WaitingForRun { holder } => {
            format!("waiting for another run on the same ledger: {holder}")
        }
        Progress::Planned { plan } => match plan.pending.len() {
            1 => "1 file is pending".to_owned(),
            many => format!("{many} files are pending"),
        },
        Progress::Started {
            version,
            number,
            total,
            attempt: 1,
        } => format!("applying {version} ({number} of {total})"),
        Progress::Started {
            version, attempt, ..
        } => format!("applying {version}, attempt {attempt}"),
        Progress::Statement {
            version,
            line,
            text,
        } => format!("  {version}:{line}: {text}"),
        Progress::Building { phase, percent, .. } => match percent {
            Some(percent) => format!("  {phase}: {percent} %"),
            None => format!("  {phase}"),
        },
        Progress::Said { version, notice } => {
            let kind = if notice.is_warning {
                "warning"
            } else {
                "notice"
            };
            // no line of it may pass for one of ours
            let text = notice.text.replace('\n', "\n    ");
            format!("  {version}: {kind}: {text}")
        }
        Progress::WaitingForLock { version, holder } => {
            format!("  {version} waits for {holder}")
        }
        Progress::Retrying {
            version,
            reason,
            pause,
        } => {
            let pause = Duration::from_millis(u64::try_from(pause.as_millis()).unwrap_or(u64::MAX));
            format!("  {version} gives way and starts over in {pause:?}: {reason}")
        }
        Progress::Applied { version } => format!("applied {version}"),
        // who is in the way is told
        Progress::GotLocks { .. } | Progress::LockTime { .. } => return None,
    })
}

fn table(report: &Report) -> String {
    let head = match (report.applied.len(), report.pending) {
        (0, 0) => "nothing to do\n".to_owned(),
        (count, 0) => format!("{count} applied\n"),
        (count, pending) => format!("{count} applied, {pending} left\n"),
    };
    head + &show::lines(&report.problems)
}
