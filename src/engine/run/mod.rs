//! Running a bundle against a database. The only part of the engine with effects.
//!
//! ```text
//! control session A ── lock ── ledger ── plan ─────────── observe every half second ─── ledger ─▶ report
//! worker session  B             └ lock ── file, row ── file, row ── …
//! ```
//!
//! * A holds the control lock and does the bookkeeping; B holds the worker lock and runs files.
//!   A run needs both, so a second runner can neither start while A lives nor while a statement
//!   of a dead run is still executing in B.
//! * Each file and its row are one message and one transaction (`engine/message.rs`). Files that
//!   cannot be that are run in segments, each noted in the journal (`engine/journal.rs`); after a
//!   crash the next run finds out how far they came (`engine/resume.rs`).
//! * Losing A ends B. Losing B ends the run; whether its last file was committed is what the
//!   ledger says to the next run. A file in the course of which one of them is ended twice is
//!   taken to do it itself (`ended.rs`).
//! * Locks of others are waited for only shortly, then the file starts over after a pause, or the segment in the same
//!   session.
//! * Each file finds the session clean: settings, temporary objects and locks of the one before are gone. Where that one
//!   has changed settings of the database or of a role, the session is a new one.

mod alone;
mod analyze;
mod control;
mod crew;
mod ended;
mod error;
mod failure;
mod file;
mod inspect;
mod look;
mod mark;
mod notices;
mod renamed;
mod reset;
mod segments;
mod session;
mod stop;
#[cfg(test)]
mod tests;
mod verify;
mod watch;

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use super::{
    bundle::Bundle,
    ledger::{LedgerName, LedgerState},
    plan::{Pending, Plan, plan_by},
    policy::Policies,
    sql::defaults::changes_defaults,
};
use crate::postgres::Target;

pub use error::RunError;
pub use inspect::{Inspection, inspect};
pub use mark::mark;
pub use notices::Notice;
pub use reset::{Emptied, ResetRequest, reset};
pub use session::{POOLED, READ_ONLY, STANDBY, is_direct, is_pooler, shown_as};
pub use verify::{Verification, verify};

use control::Control;
use crew::Crew;
use file::{FileRun, Worker};
use stop::Stop;

/// What to run, where, as whom.
#[derive(Debug, Clone)]
pub struct RunRequest {
    /// The direct endpoint, the role that owns the database.
    pub target: Target,
    /// Where applied files are recorded.
    pub ledger: LedgerName,
    /// The files.
    pub bundle: Arc<Bundle>,
    /// The last version to apply; all without one.
    pub until: Option<String>,
    /// Who runs, see [`shown_as`]; keep it below 50 bytes.
    pub holder: String,
    /// How long to wait for what.
    pub timeouts: Timeouts,
    /// How to go about it.
    pub execution: Execution,
    /// What is put up with.
    pub policies: Policies,
    /// Ends the run: a statement that is running is cancelled on the server.
    pub cancel: CancellationToken,
}

/// How to go about a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Execution {
    /// The role that files run as; the one that logs in must be a member of it. None: the one
    /// that logs in.
    pub role: Option<String>,
    /// What to do where nobody can know whether a statement was carried out.
    pub on_ambiguous: OnAmbiguous,
    /// Whether tables that got an index or were rewritten are analyzed at the end.
    pub analyze: bool,
}

impl Default for Execution {
    fn default() -> Self {
        Self {
            role: None,
            on_ambiguous: OnAmbiguous::default(),
            analyze: true,
        }
    }
}

/// What to do with a statement that was interrupted, where nobody can know whether it was carried
/// out: a block that commits, for example. None of them is an answer where what earlier parts of a
/// file made in their session is lost: the file always stops then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnAmbiguous {
    /// Ask: the run fails.
    #[default]
    Stop,
    /// Run it again.
    Rerun,
    /// Take it as done.
    Skip,
}

/// How long to wait for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// For a server that is asleep or starting.
    pub connect: Duration,
    /// For another run on the same ledger; zero tries once.
    pub other_run: Duration,
    /// For a lock inside the database, each time; PostgreSQL's `lock_timeout`.
    pub lock: Duration,
    /// Longest time others may wait for locks of one file before it gives way and starts over.
    /// Neither this nor `lock` applies to statements that work concurrently.
    pub max_blocked: Duration,
    /// For each statement, PostgreSQL's `statement_timeout`; none: without limit.
    pub statement: Option<Duration>,
    /// For the whole run.
    pub deadline: Duration,
    /// How often one file starts over because of locks.
    pub retries: u32,
}

impl Timeouts {
    /// The longest time that PostgreSQL takes for one, about 24 days.
    pub const LONGEST: Duration = Duration::from_millis(2_147_483_647);
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(30),
            other_run: Duration::from_secs(10),
            lock: Duration::from_secs(2),
            max_blocked: Duration::from_secs(5),
            statement: None,
            deadline: Duration::from_mins(30),
            retries: 10,
        }
    }
}

/// What happens during a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// Another run holds the ledger.
    WaitingForRun {
        /// Who.
        holder: String,
    },
    /// What is going to run, before anything does.
    Planned {
        /// The plan, which is runnable and not empty.
        plan: Plan,
    },
    /// A file starts, or starts over.
    Started {
        /// The file.
        version: String,
        /// From 1.
        number: usize,
        /// Files of this run.
        total: usize,
        /// From 1.
        attempt: u32,
    },
    /// A statement that runs alone begins.
    Statement {
        /// The file.
        version: String,
        /// Where in the file, from 1.
        line: usize,
        /// The statement, shortened and without constants.
        text: String,
    },
    /// An index is being built.
    Building {
        /// The file.
        version: String,
        /// PostgreSQL's name for what it does.
        phase: String,
        /// Of this phase, where it can be told.
        percent: Option<u8>,
    },
    /// The file waits for locks of other sessions.
    WaitingForLock {
        /// The file.
        version: String,
        /// Who holds them.
        holder: String,
    },
    /// The file no longer waits for locks.
    GotLocks {
        /// The file.
        version: String,
    },
    /// What locks cost while the file ran, since this was last told. Looked at every half second, so that what is shorter
    /// may be missed; told only where it is not nothing.
    LockTime {
        /// How long it waited for others.
        waited: Duration,
        /// How long others waited for it.
        held_up: Duration,
    },
    /// The server said something beside its answers; of a chatty file only the first lines are told.
    Said {
        /// The file.
        version: String,
        /// What.
        notice: Notice,
    },
    /// The file gave way and starts over after a pause.
    Retrying {
        /// The file.
        version: String,
        /// Why.
        reason: String,
        /// The pause.
        pause: Duration,
    },
    /// The file and its row are committed; of a baseline the row.
    Applied {
        /// The file.
        version: String,
    },
}

/// A run that went through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunReport {
    /// What this run applied, in order; in front the baseline, which was recorded.
    pub applied: Vec<String>,
    /// The ledger at the end.
    pub ledger: LedgerState,
    /// The plan against that ledger: what is left behind the target, and notices.
    pub plan: Plan,
}

/// Applies what is pending. Tells `progress` what happens as it happens; what it told as
/// [`Progress::Applied`] is committed, however the run ends.
///
/// # Errors
/// See [`RunError`]. Nothing of the file that was running is left behind, except as it is told.
pub async fn apply(
    request: RunRequest,
    mut progress: impl FnMut(Progress) + Send,
) -> Result<RunReport, RunError> {
    let mut stop = Stop::new(request.cancel.clone(), request.timeouts.deadline);
    let mut control = stop.or(Box::pin(lock(&request, &mut progress))).await?;
    let state = stop.or(control.ledger()).await?;
    let first = runnable(&request, &state)?;
    if first.pending.is_empty() {
        control.close().await;
        return Ok(RunReport {
            applied: Vec::new(),
            ledger: state,
            plan: first,
        });
    }
    let mut worker = stop
        .or(Box::pin(Worker::open(
            &request,
            &mut control,
            &mut progress,
        )))
        .await?;
    // read again: until the worker lock was ours, a dead run's last file could still commit
    let mut state = stop.or(control.ledger()).await?;
    let todo = runnable(&request, &state)?;
    if stop
        .or(renamed::take_over(&request, &state, &todo, &mut control))
        .await?
    {
        state = stop.or(control.ledger()).await?;
    }
    if !todo.pending.is_empty() {
        progress(Progress::Planned { plan: todo.clone() });
        stop.or(control.ensure_memory()).await?;
        if !state.exists {
            stop.or(control.create_ledger()).await?;
        }
    }
    let (baseline, pending): (Vec<Pending>, Vec<Pending>) =
        todo.pending.into_iter().partition(|file| file.is_baseline);
    let mut applied: Vec<String> = baseline.into_iter().map(|file| file.version).collect();
    // in one transaction: with half of it recorded, the rest would be run
    stop.or(mark::record(&request, &applied, &mut control))
        .await?;
    for version in &applied {
        progress(Progress::Applied {
            version: version.clone(),
        });
    }
    let ended = std::mem::take(&mut control.ended);
    let total = pending.len();
    for (index, pending) in pending.into_iter().enumerate() {
        stop.or(std::future::ready(Ok(()))).await?;
        let run = FileRun {
            request: &request,
            version: &pending.version,
            number: index + 1,
            total,
            notes: state.notes(&pending.version),
            ended: ended.iter().find(|ended| ended.version == pending.version),
        };
        let mut crew = Crew {
            control: &mut control,
            worker: &mut worker,
            stop: &mut stop,
            progress: &mut progress,
        };
        Box::pin(run.apply(&mut crew)).await?;
        progress(Progress::Applied {
            version: pending.version.clone(),
        });
        let script = request.bundle.file(&pending.version);
        let script = script.and_then(|file| file.script().ok());
        if index + 1 < total && script.is_some_and(changes_defaults) {
            let renewed = worker.renew(&request, &mut control, &mut progress);
            stop.or(Box::pin(renewed)).await?;
        }
        applied.push(pending.version);
    }
    if request.execution.analyze && !applied.is_empty() {
        let since = control.since().to_owned();
        let mut crew = Crew {
            control: &mut control,
            worker: &mut worker,
            stop: &mut stop,
            progress: &mut progress,
        };
        Box::pin(analyze::analyze(&request, &since, &mut crew)).await;
    }
    let ledger = control.ledger().await?;
    worker.close().await;
    control.close().await;
    Ok(RunReport {
        applied,
        plan: planned(&request, &ledger),
        ledger,
    })
}

/// Opens the control session and takes its lock.
async fn lock(
    request: &RunRequest,
    progress: &mut (impl FnMut(Progress) + Send),
) -> Result<Control, RunError> {
    let connect = request.timeouts.connect;
    let control = Control::open(&request.target, &request.ledger, &request.holder, connect);
    let mut control = control.await?;
    control
        .take_lock(request.timeouts.other_run, progress)
        .await?;
    Ok(control)
}

fn planned(request: &RunRequest, state: &LedgerState) -> Plan {
    let target = request.until.as_deref();
    plan_by(&request.policies, &request.bundle, state, target)
}

fn runnable(request: &RunRequest, state: &LedgerState) -> Result<Plan, RunError> {
    let plan = planned(request, state);
    if plan.is_runnable() {
        Ok(plan)
    } else {
        Err(RunError::Blocked(Box::new(plan)))
    }
}
