//! What a history has to do with the files beyond their names: rows that may be about a file of another name, aliases that
//! name nothing, and the ledger itself, which may be gone or be changed by a file. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::{Plan, ProblemKind};
use crate::engine::{
    bundle::{self, MigrationFile},
    history::History,
    journal,
    ledger::{LedgerName, LedgerRow, LedgerState, written::written},
    likeness, memory,
    policy::Policies,
};

/// The rows that may be about a file of another name.
pub(super) struct Alike<'a> {
    /// By what they are taken for.
    folded: BTreeMap<String, &'a str>,
    /// Those without a file.
    orphans: Vec<(&'a str, &'a LedgerRow)>,
}

impl<'a> Alike<'a> {
    pub(super) fn of(history: &History<'a>, known: &BTreeSet<&str>) -> Self {
        let rows = history.rows();
        let mut folded = BTreeMap::new();
        for row in rows.keys() {
            folded.entry(bundle::folded(row)).or_insert(*row);
        }
        let orphans = rows.iter().filter(|(file, _)| !known.contains(*file));
        Self {
            folded,
            orphans: orphans
                .map(|(_, row)| (row.version.as_str(), *row))
                .collect(),
        }
    }

    /// What a file without a row has to do with one of them.
    pub(super) fn to(&self, file: &MigrationFile) -> Option<ProblemKind> {
        if let Some(row) = self.folded.get(&bundle::folded(file.version())) {
            let row = (*row).to_owned();
            return Some(ProblemKind::AlmostRecorded { row });
        }
        if self.orphans.is_empty() {
            return None;
        }
        let checksums = file.checksums();
        let recorded = |row: &LedgerRow| row.checksum.as_ref().map(|sum| sum.to_lowercase());
        let is_it = |row: &LedgerRow| recorded(row).is_some_and(|sum| checksums.contains(&sum));
        let mut orphans = self.orphans.iter();
        if let Some((row, _)) = orphans.clone().find(|(_, row)| is_it(row)) {
            let row = (*row).to_owned();
            return Some(ProblemKind::Renamed { row });
        }
        let (row, _) = orphans.find(|(row, _)| likeness::may_mean(row, file.version()))?;
        let row = (*row).to_owned();
        Some(ProblemKind::MaybeRecorded { row })
    }
}

/// What a file does to the ledger.
pub(super) fn changes_ledger(file: &MigrationFile, ledger: &LedgerName) -> Option<ProblemKind> {
    let (position, what) = written(file.script().ok()?, ledger)?;
    Some(ProblemKind::ChangesLedger {
        line: position.line,
        what,
        ledger: ledger.clone(),
    })
}

/// Whether the ledger as a whole is gone while files are pending, with the version of which that is told.
pub(super) fn lost(
    ledger: &LedgerState,
    plan: &Plan,
    policies: &Policies,
) -> Option<(String, ProblemKind)> {
    let gone = &ledger.unrecorded;
    // of a single row that was deleted the file tells
    let is_empty = ledger.rows.is_empty() && gone.len() > 1;
    let is_gone = !(ledger.exists || gone.is_empty() && ledger.unfinished.is_empty());
    let runs = plan.pending.iter().any(|pending| !pending.is_baseline);
    if !(runs && (is_empty || is_gone)) {
        return None;
    }
    let begun = ledger.unfinished.iter().map(|begun| &begun.version);
    let is_gone = |file: &&String| gone.iter().any(|name| policies.file_of(name) == **file);
    let last = plan.files.iter().rev().find(is_gone);
    let first = gone.first().or(begun.clone().next())?;
    let applied = match gone.as_slice() {
        [] => None,
        [one] => Some(format!("this engine has applied {one} by it")),
        [first, .., last] => Some(format!(
            "this engine has applied {} files by it ({first} to {last})",
            gone.len()
        )),
    };
    let begun = begun.map(|name| format!("this engine has begun {name}"));
    let known: Vec<String> = applied.into_iter().chain(begun).collect();
    let forget = [
        (!gone.is_empty()).then(|| memory::forget_sql(&ledger.name)),
        (!ledger.unfinished.is_empty()).then(|| journal::forget_sql(&ledger.name)),
    ];
    let forget: Vec<String> = forget.into_iter().flatten().collect();
    let kind = ProblemKind::LedgerLost {
        forget: forget.join("; "),
        ledger: ledger.name.clone(),
        exists: ledger.exists,
        known: known.join(" and "),
        last: last.cloned(),
    };
    Some((first.clone(), kind))
}

/// Aliases of names that nothing is recorded under, with their files, which are not applied either. Where the ledger has no
/// rows at all there is nothing to tell: one list of aliases may be that of many databases.
pub(super) fn idle_aliases<'a>(
    policies: &'a Policies,
    ledger: &LedgerState,
    history: &History<'_>,
) -> Vec<(&'a str, String)> {
    let rows = ledger.rows.iter().map(|row| &row.version);
    let begun = ledger.unfinished.iter().map(|begun| &begun.version);
    let recorded: BTreeSet<&String> = rows.chain(&ledger.unrecorded).chain(begun).collect();
    let aliases = policies.aliases.keys().filter(|_| !ledger.rows.is_empty());
    let idle = aliases
        .filter(|name| !recorded.contains(name) && history.row(policies.file_of(name)).is_none());
    idle.map(|name| (name.as_str(), policies.file_of(name).to_owned()))
        .collect()
}
