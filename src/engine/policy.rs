//! What somebody may decide about a history that is not as it should be. Pure.

use std::collections::{BTreeMap, BTreeSet};

/// In which order files run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Order {
    /// In byte order of the names, as long as the numbers in them say the same.
    #[default]
    Unambiguous,
    /// In byte order of the names, whatever their numbers say.
    Lexicographic,
    /// By the numbers in front of the names, then by name; files without a number come last.
    Numeric,
    /// As listed; every file must be.
    Explicit(Vec<String>),
}

/// What is put up with.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Policies {
    /// Whether a file may run after one that comes later.
    pub allow_out_of_order: bool,
    /// Whether nothing runs while the file of an applied version is missing.
    pub fail_on_missing_file: bool,
    /// Whether files run although an applied one was edited.
    pub warn_on_checksum_mismatch: bool,
    /// Files whose present content (hex SHA-256) is accepted in place of what was applied.
    pub accept: BTreeMap<String, String>,
    /// Versions that the ledger has under another name: recorded version to file.
    pub aliases: BTreeMap<String, String>,
    /// While the ledger has no row: the last file that the database already has. It and those
    /// before it are recorded, not run.
    pub baseline: Option<String>,
    /// What somebody has looked at and lets run all the same: one of [`DECIDED`], and the file of which it is said.
    pub ignore: BTreeSet<(String, String)>,
}

/// The problems about which somebody can have decided, file by file: what they say may be so or not.
pub const DECIDED: [&str; 3] = ["Renamed", "MaybeRecorded", "ChangesLedger"];

impl Policies {
    /// The file that a recorded version means; one that was renamed twice may have an alias of an alias.
    pub(crate) fn file_of<'a>(&'a self, recorded: &'a str) -> &'a str {
        let mut file = recorded;
        // names that go round in a circle are those of no file
        for _ in 0..self.aliases.len() {
            match self.aliases.get(file) {
                Some(next) => file = next,
                None => break,
            }
        }
        file
    }

    /// The names under which a file may be recorded, its own first.
    pub(crate) fn names_of<'a>(&'a self, file: &'a str) -> impl Iterator<Item = &'a str> {
        let others = self.aliases.keys().map(String::as_str);
        let others = others.filter(move |name| *name != file && self.file_of(name) == file);
        std::iter::once(file).chain(others)
    }

    /// Whether somebody has decided that a file runs although this is said of it.
    pub(crate) fn ignores(&self, problem: &str, file: &str) -> bool {
        self.ignore.contains(&(problem.to_owned(), file.to_owned()))
    }

    /// Whether this content of an edited file is accepted.
    pub(crate) fn accepts(&self, version: &str, sha256: &str) -> bool {
        let accepted = self.accept.get(version);
        accepted.is_some_and(|sum| sum.eq_ignore_ascii_case(sha256))
    }
}
