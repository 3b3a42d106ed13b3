//! What is applied, what is to run, what is in the way. Pure and total.
//!
//! | file | ledger row | verdict |
//! |---|---|---|
//! | yes | checksum of the file, or of a variant ([`super::checksum`]) | applied |
//! | yes | another checksum | applied, [`ProblemKind::Drifted`] |
//! | yes | none, `unknown` | applied, [`ProblemKind::Unverified`] (a notice) |
//! | yes | – | pending, up to the target |
//! | yes, up to the baseline | no row at all | pending, but only to be recorded |
//! | yes, pending | of a file that sorts behind it | pending, [`ProblemKind::OutOfOrder`] |
//! | yes | gone, but this engine has applied the file | pending, [`ProblemKind::Unrecorded`] |
//! | yes, pending | of a name that differs in case, `.sql` or Unicode form only | pending, [`ProblemKind::AlmostRecorded`] |
//! | yes, pending | of no file, with the checksum of this one | pending, [`ProblemKind::Renamed`] |
//! | yes, pending | of no file, whose name may be another tool's for this one ([`super::likeness`]) | pending, [`ProblemKind::MaybeRecorded`] |
//! | yes, pending, and changes the ledger itself | – | pending, [`ProblemKind::ChangesLedger`] |
//! | any is pending | none at all, but this engine has applied files by it | [`ProblemKind::LedgerLost`] |
//! | – | none of the name in an alias, whose file is not applied | [`ProblemKind::IdleAlias`] (a notice) |
//! | yes, of a name that an alias gives to another one | any | [`ProblemKind::AliasedFile`] |
//! | – | yes | [`ProblemKind::Missing`] (a notice: old files are pruned) |
//! | yes, begun by an earlier run and still what is committed of it | – | pending, [`ProblemKind::Interrupted`] (a notice) |
//! | yes, begun and edited where it is committed | – | pending, [`ProblemKind::Unrunnable`] |
//! | –, but begun by an earlier run | – | [`ProblemKind::Unfinished`] |
//!
//! Which row, which memory and which notes are about a file that was renamed is for [`History`] to say.
//!
//! Nothing runs while a problem [blocks](Problem::blocks); [`Policies`] can make notices of some
//! of them, and the other way round.

mod foreign;
mod problem;

use std::collections::BTreeSet;

use super::{
    bundle::{Bundle, MigrationFile},
    checksum,
    history::History,
    journal::Note,
    ledger::{LedgerRow, LedgerState},
    midway,
    policy::Policies,
};
use foreign::{Alike, changes_ledger, idle_aliases, lost};
pub use problem::{Edit, Problem, ProblemKind};

/// The plan of a bundle against a ledger.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// All versions of the bundle, in order.
    pub files: Vec<String>,
    /// Versions of the bundle that the ledger has, in order.
    pub applied: Vec<String>,
    /// What is to run, in order, up to the target.
    pub pending: Vec<Pending>,
    /// What is wrong or worth a word; blocking ones first.
    pub problems: Vec<Problem>,
}

/// A file that is to run, or to be recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// The file name.
    pub version: String,
    /// Its checksum.
    pub sha256: String,
    /// Whether the database has it already, so that it is recorded and not run.
    pub is_baseline: bool,
}

impl Plan {
    /// The problems because of which nothing may run.
    pub fn blocking(&self) -> impl Iterator<Item = &Problem> {
        self.problems.iter().filter(|problem| problem.blocks())
    }

    /// Whether the pending files may run.
    #[must_use]
    pub fn is_runnable(&self) -> bool {
        self.blocking().next().is_none()
    }
}

/// Plans `bundle` against what `ledger` says, up to and including `target` (all without one).
#[must_use]
pub fn plan(bundle: &Bundle, ledger: &LedgerState, target: Option<&str>) -> Plan {
    plan_by(&Policies::default(), bundle, ledger, target)
}

/// The same by policies of one's own.
#[must_use]
pub fn plan_by(
    policies: &Policies,
    bundle: &Bundle,
    ledger: &LedgerState,
    target: Option<&str>,
) -> Plan {
    let history = History::read(policies, ledger);
    let rows = history.rows();
    let mut plan = Plan::default();
    let mut problem = |version: &str, kind: ProblemKind| {
        plan.problems.push(Problem {
            version: version.to_owned(),
            is_notice: kind.is_notice(policies, version),
            kind,
        });
    };
    let known: BTreeSet<&str> = bundle.files().iter().map(MigrationFile::version).collect();
    let alike = Alike::of(&history, &known);
    let place = |version: &str| bundle.files().iter().position(|f| f.version() == version);
    let end = target.and_then(place);
    if let Some(target) = target.filter(|_| end.is_none()) {
        problem(target, ProblemKind::UnknownTarget);
    }
    // a ledger with rows knows by itself what the database has
    let baseline = policies.baseline.as_deref().filter(|_| rows.is_empty());
    let had = baseline.and_then(place);
    if let Some(baseline) = baseline.filter(|_| had.is_none()) {
        problem(baseline, ProblemKind::UnknownBaseline);
    }
    let is_applied = |file: &MigrationFile| rows.contains_key(file.version());
    let last_applied = bundle.files().iter().rposition(is_applied);
    for (at, file) in bundle.files().iter().enumerate() {
        let version = file.version();
        plan.files.push(version.to_owned());
        let other = policies.file_of(version);
        if other != version {
            let other = other.to_owned();
            problem(version, ProblemKind::AliasedFile { other });
        }
        if let Some(row) = rows.get(version) {
            plan.applied.push(version.to_owned());
            if let Some(kind) = judge(file, row, policies) {
                problem(version, kind);
            }
        } else if end.is_none_or(|end| at <= end) && (target.is_none() || end.is_some()) {
            let last = last_applied.filter(|last| at < *last);
            let last = last.and_then(|last| bundle.files().get(last));
            let is_baseline = had.is_some_and(|had| at <= had);
            if !is_baseline {
                let gone = history.gone(version);
                if let Some(name) = gone {
                    let name = name.to_owned();
                    problem(version, ProblemKind::Unrecorded { name });
                }
                // what was applied once has its place: to number it anew would run it again
                let last = last.filter(|_| gone.is_none());
                for kind in obstacles(bundle, file, last) {
                    problem(version, kind);
                }
                if let Some(kind) = alike.to(file) {
                    problem(version, kind);
                }
                if let Some(kind) = changes_ledger(file, &ledger.name) {
                    problem(version, kind);
                }
                if let Some(kind) = midway(file, history.notes(version)) {
                    problem(version, kind);
                }
            }
            plan.pending.push(Pending {
                version: version.to_owned(),
                sha256: file.sha256().to_owned(),
                is_baseline,
            });
        }
    }
    if let Some((version, kind)) = lost(ledger, &plan, policies) {
        // it says the same of all of them
        let is_the_same = |p: &Problem| matches!(p.kind, ProblemKind::Unrecorded { .. });
        plan.problems.retain(|problem| !is_the_same(problem));
        plan.problems.push(Problem {
            version,
            kind,
            is_notice: false,
        });
    }
    let mut problem = |version: &str, kind: ProblemKind| {
        plan.problems.push(Problem {
            version: version.to_owned(),
            is_notice: kind.is_notice(policies, version),
            kind,
        });
    };
    for (name, file) in idle_aliases(policies, ledger, &history) {
        problem(name, ProblemKind::IdleAlias { file });
    }
    for missing in rows.keys().filter(|version| !known.contains(*version)) {
        problem(missing, ProblemKind::Missing);
    }
    for begun in history.lost(|version| known.contains(version)) {
        let known = begun.told();
        problem(&begun.version, ProblemKind::Unfinished { known });
    }
    plan.problems.sort_by_key(|problem| !problem.blocks());
    plan
}

/// What is to be said about an applied file.
fn judge(file: &MigrationFile, row: &LedgerRow, policies: &Policies) -> Option<ProblemKind> {
    match row
        .checksum
        .as_deref()
        .filter(|sum| checksum::is_checksum(sum))
    {
        None => Some(ProblemKind::Unverified),
        Some(recorded) if file.matches(recorded) => None,
        Some(_) if policies.accepts(file.version(), file.sha256()) => None,
        Some(recorded) => Some(ProblemKind::Drifted {
            recorded: recorded.to_owned(),
            actual: file.sha256().to_owned(),
            edit: match &row.meaning {
                None => Edit::Unknown,
                Some(then) if file.meaning().as_ref() == Some(then) => Edit::Form,
                Some(_) => Edit::Content,
            },
        }),
    }
}

/// What stands against running a file; `last_applied` comes later and is applied.
fn obstacles(
    bundle: &Bundle,
    file: &MigrationFile,
    last_applied: Option<&MigrationFile>,
) -> Vec<ProblemKind> {
    let mut kinds = Vec::new();
    if let Some(findings) = file.findings() {
        kinds.push(ProblemKind::Unrunnable(findings.clone()));
    }
    if let Some(last) = last_applied {
        kinds.push(ProblemKind::OutOfOrder {
            after: last.version().to_owned(),
        });
    }
    if let Some(other) = bundle.twin(file) {
        kinds.push(ProblemKind::SameNumber {
            other: other.version().to_owned(),
        });
    }
    kinds
}

/// What is to be said of a file of which earlier runs have noted something.
fn midway(file: &MigrationFile, notes: &[Note]) -> Option<ProblemKind> {
    let script = file.script().ok().filter(|_| !notes.is_empty())?;
    Some(match midway::way(file.version(), script, notes) {
        Ok(way) => ProblemKind::Interrupted(way.outlook(script)),
        Err(finding) => ProblemKind::Unrunnable(vec![*finding].into()),
    })
}
