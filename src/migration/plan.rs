//! What to do next about a SepulkiMigration. Pure and total: `decide` takes what is asked, what is known and the time,
//! and answers one thing.
//!
//! The first row that applies is the answer.
//!
//! | # | asked and known | answer |
//! |---|---|---|
//! | 1 | being deleted (a run that is under way ends by itself): a branch of ours on which files were tried is deleted ([`super::scratch`]); none | …; Gone |
//! | 2 | suspended: a branch of ours on which files were to be tried is deleted; none | …; Suspended |
//! | 3 | the spec cannot be carried out: the same; none | …; Blocked InvalidSpec |
//! |   | an annotation asks to look again | LookAgain |
//! |   | a branch of ours on which files were tried is of no more use ([`super::scratch`]) | DeleteScratch, … |
//! | 4 | an older object writes the same ledger | Blocked LedgerClaimed |
//! | 5 | a ConfigMap is missing | Wait ConfigMapNotFound |
//! | 6 | the files make no set | Blocked InvalidMigration |
//! | 7 | they are not those whose digest is given | Wait DigestMismatch |
//! | 8 | the target is not among them | Blocked TargetNotFound |
//! | 9 | all of them were found applied at this place, and the history there is believed | Settled |
//! | 10 | names, duplicates or order are wrong | Blocked InvalidMigration |
//! |   | a required migration is missing or has not applied these files; they wait for each other | Wait WaitingForMigration; Blocked InvalidSpec |
//! | 11 | no NeonDatabase | Wait DatabaseNotFound |
//! | 12 | which of its databases cannot be told | Blocked InvalidSpec |
//! |   | an explicit `onDivergence: ResetBranch` of production or staging | Blocked InvalidSpec |
//! | 13 | the same run has failed before | Blocked MigrationFailed |
//! | 14 | the NeonDatabase is not ready, or lacks the database | Wait DatabaseNotReady |
//! | 15 | something else is at work on the branch | Wait BranchBusy |
//! |   | files that were applied are missing after a restore, as was found earlier | Blocked HeldAfterRestore |
//! |   | a branch to try the files on was asked for ([`super::scratch`]) | CreateScratch, …, Verify |
//! | 16 | the ledger was not read | ReadLedger |
//! | 17 | the table of that name is no ledger | Blocked LedgerConflict |
//! |   | it lacks files that were applied: the branch was restored | Blocked HeldAfterRestore |
//! |   | `adopt.mode: Verify`: the history was found wrong, and nothing has changed since | Blocked HistoryDiffers |
//! |   | … nothing was found out about it: the branch has a lease; else | Blocked ParentExpires; AnnounceScratch |
//! | 18 | the plan has problems | Blocked ChecksumMismatch, OutOfOrder, Unrecorded, InvalidMigration; InvalidSpec where the baseline is not among the files, or an alias is the name of one |
//! |   | … only edited files, and the branch may be reset because of them ([`super::divergence`]) | AskForReset; Wait ResettingBranch |
//! |   | … they may do harm, and no policy puts up with it | Blocked LintFailed |
//! | 19 | files are pending | Apply |
//! | 20 | else | Settled |
//!
//! Row 7 waits, because with GitOps a ConfigMap and the object that names its digest arrive in any order: it passes by
//! itself when the other one comes. Row 9 needs no ready NeonDatabase: what was applied stays applied while a compute is
//! resized.

use std::time::Duration;

use jiff::Timestamp;

use super::action::Action;
use super::adoption;
use super::desired::{Desired, Rest};
use super::divergence::{self, Answer};
use super::held;
use super::observe::{Ledger, Observed};
use super::problems::{self, TOLD, and_more, told};
use super::required::Unmet;
use super::scratch;
use super::source::Files;
use crate::api::{OnDivergence, RETRY, Reason};
use crate::engine::{LedgerState, Lint};
use crate::reconcile::{Block, Decision, Fact, Wait, looks_again};
use crate::world::patiently;

/// How soon to look again at something that is over in a moment.
pub(super) const SOON: Duration = Duration::from_secs(1);

/// How soon to look again at something that other objects have to bring about; they also wake us.
pub(super) const LATER: Duration = Duration::from_secs(15);

/// How soon to look again at a settled or suspended object: its files are then read again.
const RECHECK: Duration = Duration::from_mins(10);

pub(super) type Next = Decision<Action>;

/// One stage of the table: `Some` is the answer, `None` leaves it to the next.
pub(super) type Stage = Option<Next>;

/// Chooses the next thing to do.
#[must_use]
pub fn decide(desired: &Desired, observed: &Observed, now: Timestamp) -> Next {
    let next = before_compiling(desired, observed, now)
        .or_else(|| set(observed))
        .or_else(|| required(observed))
        .or_else(|| database(desired, observed))
        .or_else(|| held(desired, observed))
        .or_else(|| scratch::towards(desired, observed, now))
        .unwrap_or_else(|| ledger(desired, observed, now));
    patiently(next, &observed.failures, asked_of_neon, now)
}

/// What Neon works on by operations since it was asked for this, as in "Neon could not …".
#[must_use]
pub fn asked_of_neon(action: &Action) -> Option<String> {
    match action {
        Action::CreateScratch => Some("make a branch to try the files on".to_owned()),
        Action::DeleteScratch(id) => {
            Some(format!("delete the branch {id} on which files were tried"))
        }
        Action::LookAgain
        | Action::ReadLedger
        | Action::AnnounceScratch
        | Action::AddFinalizer
        | Action::ForgetOperations
        | Action::Verify
        | Action::GiveUp
        | Action::ReleaseFinalizer
        | Action::AskForReset(_)
        | Action::Apply(_) => None,
    }
}

/// Rows 1 to 3 and what annotations ask: nothing has to be known of the world.
#[must_use]
pub fn at_rest(desired: &Desired, observed: &Observed, now: Timestamp) -> Stage {
    let rests = if desired.deleting {
        Some(Decision::Gone)
    } else if desired.suspend {
        Some(Decision::Suspended(RECHECK))
    } else {
        let invalid = desired.rest.as_ref().err();
        invalid.map(|invalid| Decision::Blocked(invalid.clone()))
    };
    if rests.is_some() {
        let may_be_there =
            desired.has_finalizer || !desired.deleting && observed.scratch_on_record().is_some();
        let left = || scratch::dispose(desired, observed, now);
        return may_be_there.then(left).flatten().or(rests);
    }
    looks_again(&desired.asked, &observed.handled).then_some(Decision::Act(Action::LookAgain))
}

/// Rows 1 to 9: the files need not be compiled.
#[must_use]
pub fn before_compiling(desired: &Desired, observed: &Observed, now: Timestamp) -> Stage {
    at_rest(desired, observed, now)
        .or_else(|| scratch::stage(desired, observed, now))
        .or_else(|| rival(desired, observed))
        .or_else(|| files(desired, observed))
        .or_else(|| {
            observed
                .is_complete(desired)
                .then_some(Decision::Settled(RECHECK))
        })
}

/// Row 4.
fn rival(desired: &Desired, observed: &Observed) -> Stage {
    let rival = observed.rival.as_ref()?;
    let ledger = desired.rest.as_ref().map(|rest: &Rest| &rest.ledger).ok()?;
    Some(block(
        Reason::LedgerClaimed,
        format!(
            "SepulkiMigration {rival} is older and writes the same ledger {ledger} of NeonDatabase {}: delete one of the \
             two, or give them different databases or ledgers",
            desired.database_ref
        ),
    ))
}

/// Rows 5 to 8.
#[must_use]
pub fn files(desired: &Desired, observed: &Observed) -> Stage {
    let listing = match &observed.files {
        Files::Unread => {
            return Some(wait(
                Reason::Progressing,
                "the files were not read yet",
                SOON,
            ));
        }
        Files::Missing(names) => {
            let names = names.join(", ");
            let message = format!("ConfigMap {names} does not exist in this namespace yet");
            return Some(wait(Reason::ConfigMapNotFound, message, LATER));
        }
        Files::Rejected(why) => return Some(block(Reason::InvalidMigration, why)),
        Files::Listed(listing) => listing,
    };
    let asked = desired.rest.as_ref().ok().and_then(|r| r.source.digest());
    if let Some(asked) = asked
        && asked != listing.digest
    {
        let message = format!(
            "spec.source.configMaps.digest is {asked}, the files have {}: nothing is applied until they are the same",
            listing.digest
        );
        return Some(wait(Reason::DigestMismatch, message, LATER));
    }
    let target = desired.target.as_ref()?;
    if listing.versions.contains(target) {
        return None;
    }
    let message = format!(
        "spec.target.version: {target} is not one of the files; there are {}",
        some_of(&listing.versions)
    );
    Some(block(Reason::TargetNotFound, message))
}

/// Row 10.
#[must_use]
pub fn set(observed: &Observed) -> Stage {
    match &observed.bundle {
        None => Some(wait(
            Reason::Progressing,
            "the files were not compiled yet",
            SOON,
        )),
        Some(Ok(_)) => None,
        Some(Err(findings)) => Some(block(Reason::InvalidMigration, told(findings))),
    }
}

/// What has to come first.
fn required(observed: &Observed) -> Stage {
    let waiting = |message| wait(Reason::WaitingForMigration, message, LATER);
    Some(match observed.unmet.as_ref()? {
        Unmet::Missing(name) => waiting(format!(
            "spec.requires: SepulkiMigration {name} does not exist in this namespace yet"
        )),
        Unmet::Pending(name) => waiting(format!(
            "spec.requires: SepulkiMigration {name} has not applied the same files yet"
        )),
        Unmet::Circle(way) => {
            let way = way.join(" requires ");
            block(Reason::InvalidSpec, format!("spec.requires: {way}"))
        }
    })
}

/// Rows 11 to 15.
fn database(desired: &Desired, observed: &Observed) -> Stage {
    let name = &desired.database_ref;
    let database = match &observed.database {
        Fact::Known(database) => database,
        Fact::Absent => {
            let message = format!("NeonDatabase {name} does not exist in this namespace yet");
            return Some(wait(Reason::DatabaseNotFound, message, LATER));
        }
        Fact::Unknown => {
            let message = format!("NeonDatabase {name} was not looked up yet");
            return Some(wait(Reason::DatabaseNotFound, message, SOON));
        }
    };
    let recorded = observed.applied_to.as_ref();
    let chosen = match database.choose(desired.database.as_deref(), recorded) {
        Ok(chosen) => chosen,
        Err(invalid) => return Some(Decision::Blocked(invalid)),
    };
    let asked = divergence::asked(desired);
    if asked == Some(OnDivergence::ResetBranch) && !database.environment.is_disposable() {
        let message = format!(
            "spec.policies.onDivergence: ResetBranch is for development and previews, and NeonDatabase {name} is {}",
            database.environment.as_str()
        );
        return Some(block(Reason::InvalidSpec, message));
    }
    if let Some(failure) = &observed.last_error
        && observed.has_failed_for_good(desired)
    {
        let message = format!(
            "{}\nIt is tried again when the files, the spec or the NeonDatabase change, or when a new value of the annotation \
             {RETRY} asks for it.",
            failure.message.trim_end()
        );
        return Some(block(Reason::MigrationFailed, message));
    }
    let unready = if let Some(why) = &database.unready {
        Some(format!("NeonDatabase {name} is not ready: {why}"))
    } else if !database.listed.contains(&chosen) {
        Some(format!(
            "NeonDatabase {name} does not list the database {chosen}: add it to its spec.databases"
        ))
    } else if !database.owners.contains_key(&chosen) {
        Some(format!(
            "NeonDatabase {name} has not made the database {chosen} yet"
        ))
    } else if database.branch.is_none() || database.endpoint.is_none() {
        Some(format!("NeonDatabase {name} has no endpoint yet"))
    } else {
        None
    };
    if let Some(message) = unready {
        return Some(wait(Reason::DatabaseNotReady, message, LATER));
    }
    (!observed.branch_free).then(|| {
        let message = format!("NeonDatabase {name} is just changing its branch");
        wait(Reason::BranchBusy, message, SOON)
    })
}

/// Before row 16 and before row 18: what is held after a restore needs no look at the ledger any more.
fn held(desired: &Desired, observed: &Observed) -> Stage {
    let on_record = held::standing(desired, observed).cloned();
    let held = on_record.or_else(|| held::found(desired, observed))?;
    Some(block(Reason::HeldAfterRestore, held::message(&held)))
}

/// Rows 16 to 20.
fn ledger(desired: &Desired, observed: &Observed, now: Timestamp) -> Next {
    let plan = match &observed.ledger {
        Ledger::Unread => return Decision::Act(Action::ReadLedger),
        Ledger::Foreign(why) => {
            let message = format!("{why}; name another table in spec.ledger");
            return block(Reason::LedgerConflict, message);
        }
        Ledger::Read(state, plan) => match history(desired, observed, state) {
            Some(answer) => return answer,
            None => plan,
        },
    };
    if let Some(why) = problems::block(plan) {
        return match divergence::answer(desired, observed, now) {
            Some(answer) => diverged(desired, observed, answer, &why),
            None => Decision::Blocked(why),
        };
    }
    if !observed.lints.is_empty() {
        let texts: String = observed.lints.iter().take(TOLD).map(Lint::render).collect();
        let more = observed.lints.len().saturating_sub(TOLD);
        let told = and_more(texts.trim_end().to_owned(), more);
        let message = format!(
            "{told}\nNothing runs before the files are changed, or spec.policies.ignoreLint or failOnLint says otherwise."
        );
        return block(Reason::LintFailed, message);
    }
    let versions: Vec<String> = plan.pending.iter().map(|p| p.version.clone()).collect();
    if versions.is_empty() {
        Decision::Settled(RECHECK)
    } else {
        Decision::Act(Action::Apply(versions))
    }
}

/// Before row 18: whether what the ledger claims is believed.
fn history(desired: &Desired, observed: &Observed, ledger: &LedgerState) -> Stage {
    let (place, listing) = (observed.place(desired)?, observed.listing()?);
    if adoption::is_believed(desired, observed, &place) {
        return None;
    }
    let basis = || adoption::basis(desired, &listing.digest, ledger);
    if let Some(wrong) = adoption::verdict(observed, &place)
        && wrong.basis == basis()
    {
        return Some(Decision::Blocked(adoption::block(wrong)));
    }
    if place.branch.expires {
        let message = format!(
            "spec.adopt.mode: Verify tries the files on a fork of the branch, and Neon forks none from one that has a lease: set \
             spec.branch.lease of NeonDatabase {} to never until that is done",
            desired.database_ref
        );
        return Some(block(Reason::ParentExpires, message));
    }
    Some(Decision::Act(Action::AnnounceScratch))
}

/// Row 18, where a reset of the branch may help.
fn diverged(desired: &Desired, observed: &Observed, answer: Answer, why: &Block) -> Next {
    match answer {
        Answer::Ask(edited) => Decision::Act(Action::AskForReset(edited)),
        Answer::Asked => {
            let database = observed.database.known();
            let says = database.and_then(|database| database.reconciling.as_ref());
            let says = says.map_or(String::new(), |says| format!(" It says: {says}."));
            let message = format!(
                "{}\nNeonDatabase {} is to reset its branch to its parent (spec.policies.onDivergence); then everything is \
                 applied anew.{says}",
                why.message, desired.database_ref
            );
            wait(Reason::ResettingBranch, message, LATER)
        }
        Answer::Fail(no_reset) => {
            let message = format!(
                "{}\nThe branch is not reset because of it (spec.policies.onDivergence): {no_reset}.",
                why.message
            );
            block(why.reason, message)
        }
    }
}

/// The last few names of a list: a target that is missing is most often a new one.
fn some_of(names: &[String]) -> String {
    const SHOWN: usize = 5;
    let hidden = names.len().saturating_sub(SHOWN);
    let shown: Vec<&str> = names.iter().skip(hidden).map(String::as_str).collect();
    let dots = if hidden > 0 { "…, " } else { "" };
    format!("{dots}{}", shown.join(", "))
}

pub(super) fn wait(reason: Reason, message: impl Into<String>, after: Duration) -> Next {
    Decision::Wait(Wait {
        reason,
        message: message.into(),
        after,
    })
}

fn block(reason: Reason, message: impl Into<String>) -> Next {
    Decision::Blocked(Block {
        reason,
        message: message.into(),
    })
}
