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

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::{
    bundle::{self, Bundle, MigrationFile},
    checksum,
    history::History,
    journal::{self, Note},
    ledger::{LedgerRow, LedgerState},
    memory,
    midway::{self, Outlook},
    policy::Policies,
    report::Diagnostics,
};

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

/// Something about one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The version it is about.
    pub version: String,
    /// What it is.
    pub kind: ProblemKind,
    /// Whether it is only told, because of its kind or because a policy says so.
    is_notice: bool,
}

/// The kinds of problems, see the table of this module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProblemKind {
    /// The applied file has been edited since.
    Drifted {
        /// The ledger's checksum.
        recorded: String,
        /// The file's.
        actual: String,
        /// How much of it.
        edit: Edit,
    },
    /// Would run although a later one is applied.
    OutOfOrder {
        /// The last applied version of the bundle.
        after: String,
    },
    /// This engine has applied it, but its row is gone from the ledger.
    Unrecorded {
        /// The name that it had then.
        name: String,
    },
    /// The ledger has a version that differs only in case, `.sql` or Unicode normal form.
    AlmostRecorded {
        /// The version in the ledger.
        row: String,
    },
    /// By an alias, what is recorded under the name of this file is about another one.
    AliasedFile {
        /// The other file.
        other: String,
    },
    /// A pending file shares its sequence number with another file.
    SameNumber {
        /// The other file.
        other: String,
    },
    /// The file cannot be run.
    Unrunnable(Diagnostics),
    /// An earlier run was interrupted in the file, and the next one goes on there.
    Interrupted(Outlook),
    /// An earlier run was interrupted in it, and it is not one of the files any more.
    Unfinished {
        /// What is known to be done.
        known: String,
    },
    /// The target is not in the bundle.
    UnknownTarget,
    /// The baseline is not in the bundle.
    UnknownBaseline,
    /// Recorded without a checksum: whether this very file was applied is unknown.
    Unverified,
    /// Applied, but the bundle does not have it.
    Missing,
}

/// What was edited of an applied file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edit {
    /// Comments, white space, the case of key words: nothing that the server is told.
    Form,
    /// What the server is told.
    Content,
    /// Unknown: what the file meant was not kept when it was applied.
    Unknown,
}

impl Problem {
    /// Whether nothing may run because of it.
    #[must_use]
    pub fn blocks(&self) -> bool {
        !self.is_notice
    }
}

impl ProblemKind {
    /// Whether it is only told, not in the way.
    fn is_notice(&self, policies: &Policies) -> bool {
        match self {
            Self::Unverified | Self::Interrupted(_) => true,
            Self::Missing => !policies.fail_on_missing_file,
            Self::Drifted { .. } => policies.warn_on_checksum_mismatch,
            Self::OutOfOrder { .. } => policies.allow_out_of_order,
            Self::AlmostRecorded { .. }
            | Self::AliasedFile { .. }
            | Self::SameNumber { .. }
            | Self::Unrecorded { .. }
            | Self::Unrunnable(_)
            | Self::Unfinished { .. }
            | Self::UnknownTarget
            | Self::UnknownBaseline => false,
        }
    }

    /// What is wrong in the file, place by place; none where the trouble is not in its text.
    #[must_use]
    pub fn findings(&self) -> Option<&Diagnostics> {
        match self {
            Self::Unrunnable(findings) => Some(findings),
            Self::Drifted { .. }
            | Self::OutOfOrder { .. }
            | Self::Unrecorded { .. }
            | Self::AlmostRecorded { .. }
            | Self::AliasedFile { .. }
            | Self::SameNumber { .. }
            | Self::Interrupted(_)
            | Self::Unfinished { .. }
            | Self::UnknownTarget
            | Self::UnknownBaseline
            | Self::Unverified
            | Self::Missing => None,
        }
    }

    /// The name in conditions and metrics.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Drifted { .. } => "Drifted",
            Self::OutOfOrder { .. } => "OutOfOrder",
            Self::Unrecorded { .. } => "Unrecorded",
            Self::AlmostRecorded { .. } => "AlmostRecorded",
            Self::AliasedFile { .. } => "AliasedFile",
            Self::SameNumber { .. } => "SameNumber",
            Self::Unrunnable(_) => "Unrunnable",
            Self::Interrupted(_) => "Interrupted",
            Self::Unfinished { .. } => "Unfinished",
            Self::UnknownTarget => "UnknownTarget",
            Self::UnknownBaseline => "UnknownBaseline",
            Self::Unverified => "Unverified",
            Self::Missing => "Missing",
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = &self.version;
        match &self.kind {
            ProblemKind::Drifted {
                recorded,
                actual,
                edit,
            } => {
                let (before, now) = (head(recorded), head(actual));
                let accept = format!(
                    "accept what it is now (policies.accept, or --accept {version}={actual})"
                );
                write!(
                    f,
                    "{version} was edited after it was applied (recorded {before}…, now {now}…)"
                )?;
                match edit {
                    Edit::Form => write!(
                        f,
                        ", but only comments or formatting changed: restore the applied file, or {accept}"
                    ),
                    Edit::Content => write!(
                        f,
                        ": restore the applied file and put the change into a new one, or {accept}"
                    ),
                    Edit::Unknown => write!(
                        f,
                        ": restore the applied file and put the change into a new one, or {accept}; whether more than comments \
                         and formatting changed is not known, since what it said was not kept"
                    ),
                }
            }
            ProblemKind::Unrecorded { name } => write!(
                f,
                "{version} has been applied, but its row is gone from the ledger: put the row back (`sepulki migrate mark {version}`); \
                 to run the file again, undo by hand what it did and delete {} from {} too",
                if name == version { "it" } else { name },
                memory::TABLE
            ),
            ProblemKind::OutOfOrder { after } => write!(
                f,
                "{version} is not applied, but {after}, which comes later, is: give it a higher number"
            ),
            ProblemKind::AlmostRecorded { row } => write!(
                f,
                "the ledger records {row:?}, the file is {version:?}: whether that is the same migration cannot be known; give both the same name"
            ),
            ProblemKind::AliasedFile { other } => write!(
                f,
                "{version} is one of the files, but by an alias what is recorded under this name is about {other}: give this file \
                 another name, or take the alias out"
            ),
            ProblemKind::SameNumber { other } => bundle::same_number(version, other).fmt(f),
            ProblemKind::Unrunnable(findings) => findings.fmt(f),
            ProblemKind::Interrupted(Outlook { line, then, .. }) => {
                write!(
                    f,
                    "{version}:{line}: an earlier run was interrupted: {then}"
                )
            }
            ProblemKind::Unfinished { known } => write!(
                f,
                "an earlier run was interrupted in {version} ({known}), and it is not one of the files any more: under another name \
                 it would run from its start; bring it back under this one, or say by an alias which file it is now, and the next run goes on in it, or \
                 `sepulki migrate mark {version}` then records it as done; where what it did was undone by hand, delete it from {}",
                journal::TABLE
            ),
            ProblemKind::UnknownTarget => write!(f, "the target {version} is not one of the files"),
            ProblemKind::UnknownBaseline => {
                write!(f, "the baseline {version} is not one of the files")
            }
            ProblemKind::Unverified => write!(
                f,
                "{version} is recorded without a checksum: it counts as applied, but whether this very file was is unknown"
            ),
            ProblemKind::Missing => write!(f, "{version} is applied, but not one of the files"),
        }
    }
}

/// First characters of a checksum.
fn head(sum: &str) -> &str {
    sum.get(..12).unwrap_or(sum)
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
            is_notice: kind.is_notice(policies),
            kind,
        });
    };
    let mut alike: BTreeMap<String, &str> = BTreeMap::new();
    for row in rows.keys() {
        alike.entry(bundle::folded(row)).or_insert(row);
    }
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
                for kind in obstacles(bundle, file, &alike, last) {
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
    let known: BTreeSet<&str> = bundle.files().iter().map(MigrationFile::version).collect();
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

/// What stands against running a file; `last_applied` comes later and is applied, `alike` are the ledger's versions by
/// what they may be taken for.
fn obstacles(
    bundle: &Bundle,
    file: &MigrationFile,
    alike: &BTreeMap<String, &str>,
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
    if let Some(row) = alike.get(&bundle::folded(file.version())) {
        kinds.push(ProblemKind::AlmostRecorded {
            row: (*row).to_owned(),
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
