//! The effects: looking again, reading a ledger, and applying files.

mod access;
mod scratch;

use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::{MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;

use super::action::{Action, first_of};
use super::counted;
use super::desired::Desired;
use super::divergence;
use super::failure::{self, Circumstances, Failure};
use super::held;
use super::observe::{self, Ledger, Observed};
use super::record::{Found, Run};
use super::source::Listing;
use super::{Migrations, status, warnings};
use crate::api::{Reason, SepulkiMigrationStatus};
use crate::clock::monotonic;
use crate::engine::History;
use crate::engine::run::{Inspection, Progress, RunError, RunRequest, Timeouts, shown_as};
use crate::reconcile::{Class, Error, Notice, Pass, SharedLock, Subject as _, Verdict};

use access::{Access, access, holder, is_current, parsed};

/// A run that is over by then is not shown while it lasts.
const FIRST_SHOWN: Duration = Duration::from_secs(2);

/// How often a run is shown at most.
const SHOWN_EVERY: Duration = Duration::from_secs(3);

pub(super) async fn act(
    kind: &Migrations,
    action: &Action,
    pass: &mut Pass<Migrations>,
    desired: &Desired,
    observed: &Observed,
    now: Timestamp,
) -> Result<(), Error> {
    let scratch = scratch::Context {
        kind,
        desired,
        observed,
        now,
    };
    match action {
        Action::LookAgain => {
            look_again(kind, pass, desired);
            Ok(())
        }
        Action::ReadLedger => read_ledger(kind, pass, desired, observed).await,
        Action::AskForReset(edited) => {
            ask_for_reset(kind, pass, desired, observed, edited);
            Ok(())
        }
        Action::AnnounceScratch => scratch.announce(pass),
        Action::AddFinalizer => scratch.add_finalizer(pass).await,
        Action::CreateScratch => scratch.create(pass).await,
        Action::ForgetOperations => scratch.forget_operations(pass).await,
        Action::Verify => Box::pin(scratch.verify(pass)).await,
        Action::DeleteScratch(id) => scratch.delete(pass, id).await,
        Action::GiveUp => scratch.give_up(pass),
        Action::ReleaseFinalizer => scratch.release_finalizer(pass).await,
        Action::Apply(_) => Box::pin(apply(kind, pass, desired, observed)).await,
    }
}

/// Forgets what is remembered, so that the next look is at the files and the ledger themselves.
fn look_again(kind: &Migrations, pass: &mut Pass<Migrations>, desired: &Desired) {
    let status = &mut pass.status;
    if status.handled.retry != desired.asked.retry {
        status.last_error = None;
        if let Some(adoption) = &mut status.adoption {
            adoption.verdict.take_if(|verdict| !verdict.is_fine());
        }
        let asked = desired.database.as_deref();
        let place = observe::database(kind, desired)
            .and_then(|database| database.place(asked, status.applied_to.as_ref()));
        held::let_go(status, place.as_ref());
    }
    if let Some(to) = &mut status.applied_to {
        to.digest = None;
    }
    status.handled.clone_from(&desired.asked);
    kind.cache.forget(&desired.uid);
    kind.failures.forget(&desired.uid);
}

/// Leaves a request to the NeonDatabase: its branch is its own to change.
fn ask_for_reset(
    kind: &Migrations,
    pass: &mut Pass<Migrations>,
    desired: &Desired,
    observed: &Observed,
    edited: &[String],
) {
    let now = kind.world.clock.now();
    let request = divergence::request(desired, observed, edited, now);
    let before = pass.status.reset_request.as_ref();
    let is_new = before.map(|r| (&r.incarnation, &r.digest))
        != request.as_ref().map(|r| (&r.incarnation, &r.digest));
    if is_new {
        pass.notices.push(Notice {
            warning: true,
            reason: Reason::ResettingBranch,
            message: format!(
                "the branch of NeonDatabase {} is to be reset to its parent: edited after being applied: {}",
                desired.database_ref,
                first_of(edited)
            ),
        });
    }
    pass.status.reset_request = request;
}

/// Reads the ledger for the next decision, and writes into the database what it is: a branch still says what its parent
/// is.
async fn read_ledger(
    kind: &Migrations,
    pass: &mut Pass<Migrations>,
    desired: &Desired,
    observed: &Observed,
) -> Result<(), Error> {
    let access = access(kind, desired, observed).await?;
    let inspection = Inspection {
        target: &access.target,
        ledger: access.ledger,
        holder: &holder(desired),
        connect: Timeouts::default().connect,
        protection: Some(&access.database.protection),
    };
    let read = kind.world.migrations.inspect(inspection).await;
    let ledger = match read {
        Ok(state) => Ok(state),
        Err(RunError::LedgerConflict(why)) => Err(why),
        Err(error) => {
            let current = is_current(kind, &access, &error).await;
            return Err(failure::of_reading(error, current));
        }
    };
    if let Ledger::Read(_, plan) = observe::judge(desired, ledger.clone(), observed.compiled()) {
        pass.notices.extend(warnings::notice(&plan, &pass.status));
    }
    let now = kind.world.clock.now();
    kind.cache
        .keep_ledger(&desired.uid, access.place, ledger, now);
    Ok(())
}

/// Applies what is pending. However it ends, what is known to be committed is written down.
async fn apply(
    kind: &Migrations,
    pass: &mut Pass<Migrations>,
    desired: &Desired,
    observed: &Observed,
) -> Result<(), Error> {
    let (Some(place), Some(files), Ledger::Read(state, plan)) = (
        observed.place(desired),
        observed.listing().map(Listing::bundle),
        &observed.ledger,
    ) else {
        return Err(Error::bug(
            "files are to be applied before they were planned",
        ));
    };
    let _nobody_else = shared(kind, &place.branch.id)?;
    let access = access(kind, desired, observed).await?;
    let request = request(kind, desired, observed, &access)?;
    let (tell, told) = unbounded_channel();
    let over = CancellationToken::new();
    let begun = monotonic();
    let work = async {
        let result = kind.world.migrations.apply(request, tell).await;
        counted::ended(kind.world.metrics.migrations(), &result, begun.elapsed());
        over.cancel();
        result
    };
    let run = Run::of(plan, plan.files.len());
    let show = follow(kind, pass, desired, observed, (run, told), &over);
    let (result, run) = tokio::join!(Box::pin(work), Box::pin(show));
    pass.notices.extend(run.notice());
    let now = kind.world.clock.now();
    let by = Some(shown_as(&holder(desired)));
    let policies = desired.policies();
    let error = match result {
        Ok(report) => {
            let target = desired.target.as_deref();
            let history = History::read(&policies, &report.ledger);
            Found::read(place, files, target, &history, &report.plan).write(
                &mut pass.status,
                &report.applied,
                by,
            );
            pass.status.last_error = None;
            return Ok(());
        }
        Err(error) => error,
    };
    let history = History::read(&policies, state);
    Found::told(place, files, (&history, plan), &run.applied, now).write(
        &mut pass.status,
        &run.applied,
        by,
    );
    let of = Circumstances {
        progressed: !run.applied.is_empty(),
        password_is_current: is_current(kind, &access, &error).await,
        attempt: observed.attempt(desired),
    };
    match failure::judge(error, of) {
        Failure::Recorded(failure) => {
            pass.status.last_error = Some(failure);
            Ok(())
        }
        Failure::Passing(error) => Err(error),
    }
}

/// Proof that nothing else than migrations is at work on the branch.
fn shared(kind: &Migrations, branch: &str) -> Result<SharedLock, Error> {
    let busy = || {
        let message = "the branch is just being changed";
        Error::new(Class::Transient, Reason::BranchBusy, message)
    };
    kind.world.locks.shared(branch).ok_or_else(busy)
}

/// What the engine is asked for.
fn request(
    kind: &Migrations,
    desired: &Desired,
    observed: &Observed,
    access: &Access<'_>,
) -> Result<RunRequest, Error> {
    let bundle = observed.compiled();
    let bundle = bundle.ok_or_else(|| Error::bug("the files were not compiled"))?;
    let rest = parsed(desired)?;
    Ok(RunRequest {
        target: access.target.clone(),
        ledger: access.ledger.clone(),
        bundle: bundle.clone(),
        until: desired.target.clone(),
        holder: holder(desired),
        timeouts: rest.timeouts,
        execution: rest.execution.clone(),
        policies: rest.policies.clone(),
        cancel: kind.world.stopping.child_token(),
    })
}

/// Listens to a run until it is over, and shows it in the status every few seconds.
async fn follow(
    kind: &Migrations,
    pass: &mut Pass<Migrations>,
    desired: &Desired,
    observed: &Observed,
    (mut run, mut told): (Run, UnboundedReceiver<Progress>),
    over: &CancellationToken,
) -> Run {
    let hear = |run: &mut Run, progress| {
        counted::told(kind.world.metrics.migrations(), &progress);
        run.hear(progress, kind.world.clock.now());
    };
    let mut ticks = interval_at(monotonic() + FIRST_SHOWN, SHOWN_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut shown = None;
    loop {
        tokio::select! {
            biased;
            () = over.cancelled() => break,
            Some(progress) = told.recv() => hear(&mut run, progress),
            _ = ticks.tick() => {
                if shown.as_ref() != Some(&run) {
                    let doing = run.doing();
                    show(kind, pass, desired, observed, &doing, |status| run.show(status)).await;
                    shown = Some(run.clone());
                }
            }
        }
    }
    while let Ok(progress) = told.try_recv() {
        hear(&mut run, progress);
    }
    run
}

/// Shows what is going on. What cannot be shown goes on all the same; what a run applied is in the ledger.
async fn show(
    kind: &Migrations,
    pass: &mut Pass<Migrations>,
    desired: &Desired,
    observed: &Observed,
    doing: &str,
    more: impl FnOnce(&mut SepulkiMigrationStatus),
) {
    let now = kind.world.clock.now();
    let acting = Verdict::Acting(doing.to_owned());
    let mut shown = status::project(&pass.status, desired, Some(observed), &acting, now);
    more(&mut shown);
    match kind.write_status(&pass.object, &shown).await {
        Ok(object) => {
            pass.object = object;
            // differs from what the pass began with, so that it is written again when the run is over
            pass.status.current = shown.current;
            pass.status.pending = shown.pending;
        }
        Err(error) => tracing::debug!(%error, "the run is not shown"),
    }
}
