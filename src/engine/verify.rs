//! Whether what a ledger claims is there. Pure: what is tried, and what its outcome means;
//! [`super::run`] tries it.
//!
//! A row is no proof: runners before this one recorded files that had failed, and people insert
//! rows by hand. So the files are tried, in order, on a scratch copy of the database, statement by
//! statement, in a transaction that is rolled back. What is there already is refused ("already
//! exists") or changes nothing; what the whole history changes in the catalog was missing.
//!
//! | of a file | verdict |
//! |---|---|
//! | something in the catalog differs after the whole history, and it was the last to touch it | [`Verdict::Missing`] |
//! | … but a later file renames, drops or changes that very thing and did nothing here: it has done so since ([`aim`]) | [`Verdict::Unknown`] |
//! | … but it renames or drops that thing itself | not missing where the other name is there, else [`Verdict::Unknown`] |
//! | … but there is the same under another name, and the server has chosen both | not missing |
//! | … but that thing is defined otherwise in the database than in the copy | [`Verdict::Unknown`] |
//! | else, an index that it makes is there, but is another one ([`index`]) or was never finished | [`Verdict::Missing`] |
//! | else, a statement fails for another reason than that its work is done | [`Verdict::Unknown`] |
//! | else, something was refused because it is there | [`Verdict::Consistent`] |
//! | else, something was made anew without a difference | [`Verdict::Repeatable`] |
//! | else: it changes rows at most, or what cannot be seen | [`Verdict::Unknown`] |

mod aim;
pub(crate) mod catalog;
pub(crate) mod index;
pub(crate) mod judge;
mod place;
pub(crate) mod trial;

use serde::Serialize;

/// What was found out about one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// The file, or the row that has none.
    pub version: String,
    /// Whether the ledger claims it.
    pub recorded: bool,
    /// Whether a part of it is there, so that it would fail if it were run: not of one that this engine has begun and goes
    /// on with.
    pub in_part: bool,
    /// What is there of it.
    pub verdict: Verdict,
}

impl Verified {
    /// What this means for the history.
    #[must_use]
    pub fn finding(&self) -> Finding {
        match (&self.verdict, self.recorded) {
            (Verdict::Consistent | Verdict::Repeatable, true) => Finding::Consistent,
            (Verdict::Consistent, false) => Finding::ThereWithoutRow,
            (Verdict::Missing(_), true) => Finding::ClaimedButMissing,
            (Verdict::Missing(_), false) if self.in_part => Finding::ThereInPart,
            (Verdict::Missing(_) | Verdict::Repeatable, false) => Finding::Pending,
            (Verdict::Unknown(_), _) => Finding::Unknown,
        }
    }
}

/// A verdict together with what the ledger says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Finding {
    /// Claimed, and not all of it is there.
    ClaimedButMissing,
    /// There, but nobody claims it: it would be run a second time.
    ThereWithoutRow,
    /// Not claimed, and a part of it is there: it ran half-way, or somebody did a part of it by hand, and to run it would fail.
    ThereInPart,
    /// It cannot be told.
    Unknown,
    /// Not claimed, and not there or fit to be run once more: it is to be run.
    Pending,
    /// Claimed and there.
    Consistent,
}

impl Finding {
    /// Whether the ledger is wrong, so that nothing may run before somebody puts that right.
    #[must_use]
    pub fn needs_somebody(self) -> bool {
        match self {
            Self::ClaimedButMissing | Self::ThereWithoutRow | Self::ThereInPart => true,
            Self::Unknown | Self::Pending | Self::Consistent => false,
        }
    }

    /// In words, for people.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Consistent => "consistent",
            Self::ClaimedButMissing => "claimed but missing",
            Self::Unknown => "unknown",
            Self::Pending => "pending",
            Self::ThereWithoutRow => "there without a row",
            Self::ThereInPart => "there in part",
        }
    }
}

/// What is there of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Everything that can be seen of it.
    Consistent,
    /// It works and changes nothing that can be seen: it has run, or nothing was left for it to do.
    Repeatable,
    /// This would be made, changed or dropped by it: claimed, it never ran or not to its end.
    Missing(Vec<String>),
    /// It cannot be told; why.
    Unknown(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_run_once_more_is_not_taken_for_a_file_that_ran_without_a_row() {
        let found = |verdict: Verdict, recorded| {
            let verified = Verified {
                version: "1".to_owned(),
                recorded,
                in_part: false,
                verdict,
            };
            verified.finding()
        };
        assert_eq!(found(Verdict::Repeatable, true), Finding::Consistent);
        assert_eq!(found(Verdict::Repeatable, false), Finding::Pending);
        assert_eq!(found(Verdict::Consistent, false), Finding::ThereWithoutRow);
    }
}
