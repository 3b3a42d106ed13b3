//! The status of a SepulkiMigration, told from one evaluation. Pure, and the same however often it is told.
//!
//! | verdict | SourceReady | Planned | Applied |
//! |---|---|---|---|
//! | settled | True | True | True |
//! | applying | True | True | False Applying |
//! | in the way of the files | False, why | False, same reason | False, same reason |
//! | in the way of the plan | True | False, why | False, same reason |
//! | a run failed; held after a restore | True | True | False, why |
//! | failed and passing | as known | as it was for this spec, else False | as it was for this spec, else False |
//! | suspended | as it was | as it was | as it was |

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::adoption;
use super::desired::Desired;
use super::divergence;
use super::failure;
use super::held;
use super::observe::{Ledger, Observed};
use super::plan;
use super::record::Found;
use super::source::Files;
use super::warnings;
use crate::api::{
    ConditionType, LastError, Reason, ResetRequest, SepulkiMigrationStatus, condition,
    find_condition, set_condition,
};
use crate::engine::History;
use crate::reconcile::{Decision, Verdict, summarize};

/// What a condition says.
#[derive(Clone)]
struct Said {
    is_true: bool,
    /// A word, because it may be one that an earlier evaluation has given.
    reason: String,
    message: String,
}

fn say(is_true: bool, reason: Reason, message: impl Into<String>) -> Said {
    Said {
        is_true,
        reason: reason.as_str().to_owned(),
        message: message.into(),
    }
}

impl Said {
    /// What a condition says that only waits for this one.
    fn passed_on(&self, message: &str) -> Self {
        Self {
            is_true: false,
            reason: self.reason.clone(),
            message: message.to_owned(),
        }
    }
}

/// The status as it should stand after this evaluation.
#[must_use]
pub fn project(
    before: &SepulkiMigrationStatus,
    desired: &Desired,
    observed: Option<&Observed>,
    verdict: &Verdict,
    now: Timestamp,
) -> SepulkiMigrationStatus {
    let mut status = before.clone();
    status.observed_generation = desired.generation;
    status.current = None;
    if let Some(observed) = observed {
        facts(&mut status, desired, observed, verdict);
        status.last_error = last_error(before, desired, observed, verdict);
    }
    let files = status.bundle.as_ref().map(|bundle| bundle.file_count);
    let applied = status.applied.as_ref().map(|applied| applied.count);
    status.progress_text = applied.zip(files).map(|(a, f)| format!("{a}/{f}"));
    status.conditions = conditions(&status, before, desired, observed, verdict, now);
    status
}

/// What was found out about files and ledger.
fn facts(
    status: &mut SepulkiMigrationStatus,
    desired: &Desired,
    observed: &Observed,
    verdict: &Verdict,
) {
    let place = observed.place(desired);
    adoption::tidy(status, desired, place.as_ref());
    let known = place.as_ref().zip(status.applied_to.as_ref());
    if known.is_some_and(|(place, to)| !place.is(to)) {
        // what was true of the old incarnation is looked at anew
        status.pending = None;
    }
    if known.is_some_and(|(place, to)| !held::survives(to, place)) {
        status.applied = None;
    }
    let Some(listing) = observed.listing() else {
        return;
    };
    let stays = |request: &ResetRequest| divergence::stays(desired, observed, request);
    status.reset_request.take_if(|request| !stays(request));
    if let Some(place) = &place {
        status.held_after_restore = held::recorded(desired, observed, place, &listing.digest);
    }
    let bundle = listing.bundle();
    if status.bundle.as_ref() != Some(&bundle) {
        // how many of these are pending is not known before the ledger was read
        status.pending = None;
        status.bundle = Some(bundle);
    }
    // these verdicts come right after the look; an action knows better than the look before it
    let is_fresh = match verdict {
        Verdict::Settled(_) | Verdict::Waiting(_) | Verdict::Blocked(_) => true,
        Verdict::Acting(_) | Verdict::Failed(_) | Verdict::Suspended(_) | Verdict::Gone => false,
    };
    if let (true, Some(place), Ledger::Read(state, plan)) = (is_fresh, place, &observed.ledger) {
        let target = desired.target.as_deref();
        let policies = desired.policies();
        let history = History::read(&policies, state);
        let found = Found::read(place, listing.bundle(), target, &history, plan);
        let ran = found.unwritten(status, desired.created, &history);
        found.write(status, &ran, None);
    }
}

/// The failure that stands in the way: of the files, of the plan, or of a run that would fail again.
fn last_error(
    before: &SepulkiMigrationStatus,
    desired: &Desired,
    observed: &Observed,
    verdict: &Verdict,
) -> Option<LastError> {
    if let Some(Err(findings)) = &observed.bundle {
        return findings.first().map(failure::located);
    }
    if let Ledger::Read(_, plan) = &observed.ledger
        && let Some(problem) = failure::of_plan(plan)
    {
        return Some(problem);
    }
    let kept = before.last_error.as_ref()?;
    let stands = match (&kept.attempt, observed.attempt(desired)) {
        (Some(tried), Some(now)) => *tried == now,
        // whether it still stands cannot be told at the moment
        (Some(_), None) => true,
        (None, _) => matches!(verdict, Verdict::Suspended(_) | Verdict::Failed(_)),
    };
    (stands && !matches!(verdict, Verdict::Settled(_))).then(|| kept.clone())
}

fn conditions(
    status: &SepulkiMigrationStatus,
    before: &SepulkiMigrationStatus,
    desired: &Desired,
    observed: Option<&Observed>,
    verdict: &Verdict,
    now: Timestamp,
) -> Vec<Condition> {
    let mut list = Vec::new();
    let previous = &before.conditions;
    summarize(
        &mut list,
        previous,
        verdict,
        (Reason::Applied, settled(status)),
        desired.generation,
        now,
    );
    let source = source_ready(status, previous, desired, observed, verdict);
    let planned = planned(status, previous, desired, observed, verdict, &source);
    let applied = applied(
        status,
        previous,
        desired,
        observed,
        verdict,
        (&source, &planned),
    );
    for (type_, said) in [
        (ConditionType::SourceReady, source),
        (ConditionType::Planned, planned),
        (ConditionType::Applied, applied),
    ] {
        let Said {
            is_true,
            reason,
            message,
        } = said;
        let as_succeeded = Reason::Succeeded;
        let next = condition(
            type_,
            is_true,
            as_succeeded,
            message,
            desired.generation,
            now,
        );
        set_condition(&mut list, previous, Condition { reason, ..next });
    }
    list
}

fn source_ready(
    status: &SepulkiMigrationStatus,
    previous: &[Condition],
    desired: &Desired,
    observed: Option<&Observed>,
    verdict: &Verdict,
) -> Said {
    let looked_for = observed.filter(|observed| observed.files != Files::Unread);
    let Some(observed) = looked_for else {
        let (reason, _) = why(verdict);
        return kept(previous, ConditionType::SourceReady)
            .unwrap_or_else(|| say(false, reason, "the files were not read yet"));
    };
    let wrong = plan::files(desired, observed).or_else(|| {
        // the files of a settled object are not compiled again
        (!observed.is_complete(desired)).then(|| plan::set(observed))?
    });
    match wrong {
        Some(Decision::Wait(wait)) => say(false, wait.reason, wait.message),
        Some(Decision::Blocked(block)) => say(false, block.reason, block.message),
        Some(Decision::Act(_) | Decision::Settled(_) | Decision::Suspended(_) | Decision::Gone)
        | None => {
            let files = status.bundle.as_ref().map_or(0, |b| b.file_count);
            say(true, Reason::Succeeded, format!("{} read", in_words(files)))
        }
    }
}

fn planned(
    status: &SepulkiMigrationStatus,
    previous: &[Condition],
    desired: &Desired,
    observed: Option<&Observed>,
    verdict: &Verdict,
    source: &Said,
) -> Said {
    let pending = || {
        let text = match status.pending.as_ref().map(|pending| pending.count) {
            None => "files are pending".to_owned(),
            Some(0) => "nothing is pending".to_owned(),
            Some(some) => format!("{} pending", in_words(some)),
        };
        let warned = match observed.map(|observed| &observed.ledger) {
            Some(Ledger::Read(_, plan)) => warnings::told(plan),
            // the ledger was not read again, so what was told of it stays
            Some(Ledger::Unread | Ledger::Foreign(_)) | None => {
                kept(previous, ConditionType::Planned)
                    .filter(|said| said.is_true)
                    .and_then(|said| {
                        said.message
                            .split_once(warnings::BEHIND)
                            .map(|(_, w)| w.to_owned())
                    })
            }
        };
        let text = [Some(text), warned];
        let text: Vec<String> = text.into_iter().flatten().collect();
        say(true, Reason::Succeeded, text.join(warnings::BEHIND))
    };
    let (reason, message) = why(verdict);
    let unknown = say(false, reason, message);
    match verdict {
        Verdict::Settled(_) => pending(),
        Verdict::Acting(_) if source.is_true => pending(),
        Verdict::Suspended(_) | Verdict::Gone => {
            kept(previous, ConditionType::Planned).unwrap_or(unknown)
        }
        Verdict::Blocked(block)
            if matches!(
                block.reason,
                Reason::MigrationFailed | Reason::HeldAfterRestore
            ) =>
        {
            pending()
        }
        Verdict::Failed(_) => match observed {
            Some(observed) if matches!(observed.ledger, Ledger::Read(..)) => pending(),
            Some(observed) if observed.has_news(desired) => unknown,
            Some(_) | None => {
                kept_for(previous, ConditionType::Planned, desired.generation).unwrap_or(unknown)
            }
        },
        Verdict::Acting(_) | Verdict::Waiting(_) | Verdict::Blocked(_) if !source.is_true => {
            source.passed_on("the files are not ready")
        }
        Verdict::Acting(_) | Verdict::Waiting(_) | Verdict::Blocked(_) => unknown,
    }
}

fn applied(
    status: &SepulkiMigrationStatus,
    previous: &[Condition],
    desired: &Desired,
    observed: Option<&Observed>,
    verdict: &Verdict,
    (source, planned): (&Said, &Said),
) -> Said {
    let (reason, message) = why(verdict);
    let known = match verdict {
        Verdict::Settled(_) => return say(true, Reason::Applied, settled(status)),
        Verdict::Acting(_) => return say(false, Reason::Applying, message),
        Verdict::Suspended(_) | Verdict::Gone => kept(previous, ConditionType::Applied),
        Verdict::Failed(_) if observed.is_some_and(|observed| observed.has_news(desired)) => None,
        Verdict::Failed(_) => kept_for(previous, ConditionType::Applied, desired.generation),
        Verdict::Waiting(_) | Verdict::Blocked(_) => None,
    };
    known.unwrap_or_else(|| {
        if !source.is_true {
            source.passed_on("the files are not ready")
        } else if planned.is_true {
            say(false, reason, message)
        } else {
            planned.passed_on("nothing is planned")
        }
    })
}

/// What a settled object says.
fn settled(status: &SepulkiMigrationStatus) -> String {
    let last = status
        .applied
        .as_ref()
        .and_then(|a| a.last_version.as_ref());
    match (last, &status.progress_text) {
        (Some(last), Some(progress)) => {
            format!("{progress} files are applied, the last is {last}")
        }
        (Some(_) | None, _) => "nothing is to be applied".to_owned(),
    }
}

fn in_words(files: i32) -> String {
    match files {
        1 => "1 file".to_owned(),
        many => format!("{many} files"),
    }
}

/// Why an object is not settled.
fn why(verdict: &Verdict) -> (Reason, String) {
    match verdict {
        Verdict::Settled(_) => (Reason::Succeeded, String::new()),
        Verdict::Gone => (Reason::Deleting, String::new()),
        Verdict::Acting(what) => (Reason::Applying, what.clone()),
        Verdict::Suspended(_) => (
            Reason::Suspended,
            "nothing is looked at while suspend is set".to_owned(),
        ),
        Verdict::Waiting(wait) => (wait.reason, wait.message.clone()),
        Verdict::Blocked(block) => (block.reason, block.message.clone()),
        Verdict::Failed(error) => (error.reason, error.message.clone()),
    }
}

/// A condition as it was.
fn kept(previous: &[Condition], type_: ConditionType) -> Option<Said> {
    find_condition(previous, type_).map(said)
}

/// A condition as it was, if it speaks of this generation.
fn kept_for(previous: &[Condition], type_: ConditionType, generation: i64) -> Option<Said> {
    find_condition(previous, type_)
        .filter(|found| found.observed_generation == Some(generation))
        .map(said)
}

fn said(condition: &Condition) -> Said {
    Said {
        is_true: condition.status == "True",
        reason: condition.reason.clone(),
        message: condition.message.clone(),
    }
}
