//! What can be wrong with a history, and what to do about it, in words. Pure.

use std::fmt;

use crate::engine::{
    bundle, journal, ledger::LedgerName, memory, midway::Outlook, policy::Policies,
    report::Diagnostics,
};

/// Something about one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The version it is about.
    pub version: String,
    /// What it is.
    pub kind: ProblemKind,
    /// Whether it is only told, because of its kind or because a policy says so.
    pub(super) is_notice: bool,
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
    /// The ledger has a version of exactly this content whose file is not there any more.
    Renamed {
        /// The version in the ledger.
        row: String,
    },
    /// The ledger has a version without a file whose name may be another tool's for this one.
    MaybeRecorded {
        /// The version in the ledger.
        row: String,
    },
    /// The file changes the table that records what was applied.
    ChangesLedger {
        /// Where, from 1.
        line: usize,
        /// What it does to it, in words.
        what: &'static str,
        /// The table.
        ledger: LedgerName,
    },
    /// The table is gone or empty, by which this engine has applied files.
    LedgerLost {
        /// The table.
        ledger: LedgerName,
        /// Whether there is such a table.
        exists: bool,
        /// What is known of the files, in words.
        known: String,
        /// The last of them that is one of the files still.
        last: Option<String>,
        /// The statements by which all of that is forgotten.
        forget: String,
    },
    /// An alias of a name that the ledger does not have, for a file that is not applied: misspelled, maybe.
    IdleAlias {
        /// The file that it names.
        file: String,
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
    pub(super) fn is_notice(&self, policies: &Policies, version: &str) -> bool {
        match self {
            Self::Unverified | Self::Interrupted(_) | Self::IdleAlias { .. } => true,
            Self::Renamed { .. } | Self::MaybeRecorded { .. } | Self::ChangesLedger { .. } => {
                policies.ignores(self.as_str(), version)
            }
            Self::Missing => !policies.fail_on_missing_file,
            Self::Drifted { .. } => policies.warn_on_checksum_mismatch,
            Self::OutOfOrder { .. } => policies.allow_out_of_order,
            Self::AlmostRecorded { .. }
            | Self::AliasedFile { .. }
            | Self::SameNumber { .. }
            | Self::Unrecorded { .. }
            | Self::LedgerLost { .. }
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
            | Self::Renamed { .. }
            | Self::MaybeRecorded { .. }
            | Self::ChangesLedger { .. }
            | Self::LedgerLost { .. }
            | Self::IdleAlias { .. }
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
            Self::Renamed { .. } => "Renamed",
            Self::MaybeRecorded { .. } => "MaybeRecorded",
            Self::ChangesLedger { .. } => "ChangesLedger",
            Self::LedgerLost { .. } => "LedgerLost",
            Self::IdleAlias { .. } => "IdleAlias",
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
            } => f.write_str(&drifted(version, recorded, actual, *edit)),
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
                "the ledger records {row:?}, the file is {version:?}: whether that is the same migration cannot be known; give both the same name, \
                 or say that it is ({})",
                alias(row, version)
            ),
            ProblemKind::Renamed { row } => write!(
                f,
                "the ledger records {row}, which is none of the files, with exactly the content of {version}: if the file was renamed, \
                 say so, or it runs a second time ({}); if it is to run once more, {}",
                alias(row, version),
                ignore(&self.kind, version)
            ),
            ProblemKind::MaybeRecorded { row } => write!(
                f,
                "the ledger records {row}, which is none of the files and may be what another tool called {version}: if it is, say so, \
                 or the file runs a second time ({}); if it is not, {}",
                alias(row, version),
                ignore(&self.kind, version)
            ),
            ProblemKind::ChangesLedger { line, what, ledger } => write!(
                f,
                "{version}:{line}: the file {what} {ledger}, the ledger, in which this engine itself records what it has applied: leave \
                 that out; if it is meant, {}",
                ignore(&self.kind, version)
            ),
            ProblemKind::LedgerLost {
                ledger,
                exists,
                known,
                last,
                forget,
            } => {
                let is = if *exists { "empty" } else { "gone" };
                let last = last.as_deref().unwrap_or("FILE");
                write!(
                    f,
                    "the ledger {ledger} is {is}, but {known}, which would run again: put the table back; where it was renamed or moved, \
                     name it (spec.ledger, or --ledger SCHEMA.TABLE); where its rows are lost for good, record the files that are there \
                     (`sepulki migrate baseline {last}`); where the database was emptied on purpose, forget that: `{forget}`"
                )
            }
            ProblemKind::IdleAlias { file } => write!(
                f,
                "the alias of {file} does nothing: the ledger has no row {version:?}, and {file} is not applied; correct the name, or take \
                 the alias out (adopt.aliases, or --alias)"
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

/// What is to be said of an applied file that was edited.
fn drifted(version: &str, recorded: &str, actual: &str, edit: Edit) -> String {
    let (before, now) = (head(recorded), head(actual));
    let accept = format!("accept what it is now (policies.accept, or --accept {version}={actual})");
    let then = match edit {
        Edit::Form => format!(
            ", but only comments or formatting changed: restore the applied file, or {accept}"
        ),
        Edit::Content => {
            format!(": restore the applied file and put the change into a new one, or {accept}")
        }
        Edit::Unknown => format!(
            ": restore the applied file and put the change into a new one, or {accept}; whether more than comments \
             and formatting changed is not known, since what it said was not kept"
        ),
    };
    format!("{version} was edited after it was applied (recorded {before}…, now {now}…){then}")
}

/// How to say that a row is that of a file, to be copied.
fn alias(row: &str, file: &str) -> String {
    format!("adopt.aliases: {{{row:?}: {file:?}}}, or --alias '{row}={file}'")
}

/// How to say that a file runs although this is said of it, to be copied.
fn ignore(kind: &ProblemKind, file: &str) -> String {
    let rule = kind.as_str();
    format!(
        "say so (policies.ignoreLint: [{{rule: {rule}, version: {file:?}, reason: …}}], or --ignore-lint '{rule}={file}')"
    )
}

/// First characters of a checksum.
fn head(sum: &str) -> &str {
    sum.get(..12).unwrap_or(sum)
}
