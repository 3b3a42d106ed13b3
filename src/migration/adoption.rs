//! Whether the history that a ledger claims is believed: `adopt.mode: Verify`. Pure.
//!
//! | of the present branch and incarnation was found | what follows |
//! |---|---|
//! | nothing is wrong | believed from then on: what comes later was applied by the engine itself |
//! | something is wrong, and files, rows, aliases and the role that runs files are still the same | nothing runs |
//! | nothing yet; or something was wrong and one of these has changed | it is found out, see [`super::scratch`] |

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use sha2::{Digest, Sha256};

use super::desired::Desired;
use super::observe::Observed;
use super::place::Place;
use crate::api::{
    AdoptionVerdict, RETRY, Reason, SepulkiMigrationStatus, VerifiedVersion, VersionVerdict,
};
use crate::engine::run::Verification;
use crate::engine::{Finding, LedgerState, Verdict, Verified};
use crate::reconcile::{Block, Notice};

/// Versions that are told one by one.
const LISTED: usize = 20;

/// Versions of each kind that are named in a message.
const NAMED: usize = 5;

/// Room for what is missing of a version, in characters.
const DETAIL: usize = 256;

/// Whether the history has to be found true before anything runs.
#[must_use]
pub fn verifies(desired: &Desired) -> bool {
    desired.rest.as_ref().is_ok_and(|rest| rest.verify)
}

/// What was found at this place.
#[must_use]
pub fn verdict<'a>(observed: &'a Observed, place: &Place) -> Option<&'a AdoptionVerdict> {
    let verdict = observed.adoption.as_ref()?.verdict.as_ref()?;
    speaks_of(verdict, place).then_some(verdict)
}

/// Whether a verdict is about this place.
#[must_use]
pub fn speaks_of(verdict: &AdoptionVerdict, place: &Place) -> bool {
    place.is_named(&verdict.branch_id, &verdict.incarnation, &verdict.database)
}

/// Whether nothing stands in the way of believing the ledger at this place.
#[must_use]
pub fn is_believed(desired: &Desired, observed: &Observed, place: &Place) -> bool {
    !verifies(desired) || verdict(observed, place).is_some_and(AdoptionVerdict::is_fine)
}

/// Everything that a verdict depends on besides the place.
#[must_use]
pub fn basis(desired: &Desired, digest: &str, ledger: &LedgerState) -> String {
    let rest = desired.rest.as_ref().ok();
    let asked = rest.map(|rest| (&rest.policies.aliases, &rest.execution.role));
    let rows = ledger.rows.iter();
    let rows: Vec<_> = rows.map(|row| (&row.version, &row.checksum)).collect();
    let sum = Sha256::digest(format!("{:?}", (digest, asked, rows)).as_bytes());
    format!("sha256:{}", hex::encode(sum))
}

/// What was found, as it is written down.
#[must_use]
pub fn record(
    place: Place,
    basis: String,
    found: &Verification,
    now: Timestamp,
) -> AdoptionVerdict {
    let count = |finding| {
        let all = found.versions.iter();
        let number = all.filter(|version| version.finding() == finding).count();
        i32::try_from(number).unwrap_or(i32::MAX)
    };
    let mut versions: Vec<&Verified> = found.versions.iter().collect();
    // stable, so that those of one kind stay in order
    versions.sort_by_key(|version| version.finding());
    AdoptionVerdict {
        branch_id: place.branch.id,
        incarnation: place.branch.incarnation,
        database: place.database,
        basis,
        time: Time(Timestamp::from_second(now.as_second()).unwrap_or(now)),
        consistent: count(Finding::Consistent),
        claimed_but_missing: count(Finding::ClaimedButMissing),
        there_without_row: count(Finding::ThereWithoutRow),
        there_in_part: count(Finding::ThereInPart),
        unknown: count(Finding::Unknown),
        pending: count(Finding::Pending),
        versions: versions.into_iter().take(LISTED).map(told).collect(),
    }
}

fn told(verified: &Verified) -> VerifiedVersion {
    let verdict = match verified.finding() {
        Finding::ClaimedButMissing => VersionVerdict::ClaimedButMissing,
        Finding::ThereWithoutRow => VersionVerdict::ThereWithoutRow,
        Finding::ThereInPart => VersionVerdict::ThereInPart,
        Finding::Unknown => VersionVerdict::Unknown,
        Finding::Pending => VersionVerdict::Pending,
        Finding::Consistent => VersionVerdict::Consistent,
    };
    let detail = match &verified.verdict {
        Verdict::Consistent | Verdict::Repeatable => None,
        // it is yet to be made
        Verdict::Missing(_) if verdict == VersionVerdict::Pending => None,
        Verdict::Missing(changes) => Some(changes.join(", ")),
        Verdict::Unknown(why) => Some(why.clone()),
    };
    VerifiedVersion {
        version: verified.version.clone(),
        verdict,
        detail: detail.map(|text| text.chars().take(DETAIL).collect()),
    }
}

/// The event that a verdict deserves.
#[must_use]
pub fn notice(verdict: &AdoptionVerdict) -> Notice {
    let counts = [
        (verdict.consistent, Finding::Consistent),
        (verdict.claimed_but_missing, Finding::ClaimedButMissing),
        (verdict.there_without_row, Finding::ThereWithoutRow),
        (verdict.there_in_part, Finding::ThereInPart),
        (verdict.unknown, Finding::Unknown),
        (verdict.pending, Finding::Pending),
    ];
    let counts = counts.iter().filter(|(number, _)| *number > 0);
    let counts: Vec<String> = counts
        .map(|(number, finding)| format!("{number} {}", finding.words()))
        .collect();
    let unknown = named(verdict, VersionVerdict::Unknown);
    let unknown = unknown.map_or_else(String::new, |names| {
        format!("; what cannot be told is believed: {names}")
    });
    Notice {
        warning: !verdict.is_fine(),
        reason: if verdict.is_fine() {
            Reason::HistoryVerified
        } else {
            Reason::HistoryDiffers
        },
        message: format!(
            "the files were tried on a copy of the branch: {}{unknown}",
            counts.join(", ")
        ),
    }
}

/// Why nothing runs, and what can be done about it.
#[must_use]
pub fn block(verdict: &AdoptionVerdict) -> Block {
    let missing = named(verdict, VersionVerdict::ClaimedButMissing).map(|names| {
        format!(
            "the ledger claims what is not there: {names}; run what is missing by hand, or delete the row and set \
             spec.policies.outOfOrder to Allow to have the file run"
        )
    });
    let there = named(verdict, VersionVerdict::ThereWithoutRow).map(|names| {
        format!(
            "there is what the ledger does not claim: {names}; record it with `sepulki migrate mark FILE`"
        )
    });
    let in_part = named(verdict, VersionVerdict::ThereInPart).map(|names| {
        format!(
            "a part of it is there, and the ledger does not claim it: {names}; do the rest by hand and record it with \
             `sepulki migrate mark FILE`, or take back what is there"
        )
    });
    let found: Vec<String> = missing.into_iter().chain(there).chain(in_part).collect();
    Block {
        reason: Reason::HistoryDiffers,
        message: format!(
            "{}\nNothing runs (spec.adopt.mode is Verify) before the files, the ledger, spec.adopt.aliases or \
             spec.execution.role change, or a new value of the annotation {RETRY} asks to look again. All that was found is in \
             status.adoption.",
            found.join("\n")
        ),
    }
}

/// The first of the versions of which this was found, with what is missing of them.
fn named(verdict: &AdoptionVerdict, which: VersionVerdict) -> Option<String> {
    let number = match which {
        VersionVerdict::ClaimedButMissing => verdict.claimed_but_missing,
        VersionVerdict::ThereWithoutRow => verdict.there_without_row,
        VersionVerdict::ThereInPart => verdict.there_in_part,
        VersionVerdict::Unknown => verdict.unknown,
        VersionVerdict::Pending => verdict.pending,
        VersionVerdict::Consistent => verdict.consistent,
    };
    let versions = verdict.versions.iter().filter(|v| v.verdict == which);
    let shown: Vec<String> = versions
        .take(NAMED)
        .map(|version| match &version.detail {
            Some(detail) => format!("{} ({detail})", version.version),
            None => version.version.clone(),
        })
        .collect();
    let more = usize::try_from(number).unwrap_or_default();
    let more = match more.saturating_sub(shown.len()) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    (number > 0).then(|| format!("{}{more}", shown.join(", ")))
}

/// Drops what is no longer of use: a verdict on another place, or one that nobody asks for.
pub fn tidy(status: &mut SepulkiMigrationStatus, desired: &Desired, place: Option<&Place>) {
    let Some(adoption) = &mut status.adoption else {
        return;
    };
    // of a spec that cannot be carried out nobody knows what it asks
    let asked = verifies(desired) || desired.rest.is_err();
    let is_old =
        |verdict: &mut AdoptionVerdict| place.is_some_and(|place| !speaks_of(verdict, place));
    adoption
        .verdict
        .take_if(|verdict| !asked || is_old(verdict));
    status
        .adoption
        .take_if(|adoption| adoption.verdict.is_none() && adoption.scratch.is_none());
}
