//! What the ledger, the memory and the journal say of each file, under whatever name they have it. Pure.
//!
//! The only place where recorded names become files: a file that was renamed has been applied, or was begun, whichever
//! table says so. Where two names stand for one file, its own says more.

use std::collections::BTreeMap;

use super::{
    journal::Note,
    ledger::{LedgerRow, LedgerState},
    midway::Unfinished,
    policy::Policies,
};

/// What is recorded of the files, by the names that they have now.
#[derive(Debug)]
pub struct History<'a> {
    rows: BTreeMap<&'a str, &'a LedgerRow>,
    gone: BTreeMap<&'a str, &'a str>,
    begun: BTreeMap<&'a str, &'a Unfinished>,
    unfinished: &'a [Unfinished],
    policies: &'a Policies,
}

impl<'a> History<'a> {
    /// Reads it by the aliases of `policies`.
    pub(crate) fn read(policies: &'a Policies, ledger: &'a LedgerState) -> Self {
        let rows = ledger.rows.iter().map(|row| (row.version.as_str(), row));
        let gone = ledger
            .unrecorded
            .iter()
            .map(|name| (name.as_str(), name.as_str()));
        let begun = ledger
            .unfinished
            .iter()
            .map(|begun| (begun.version.as_str(), begun));
        Self {
            rows: by_file(policies, rows),
            gone: by_file(policies, gone),
            begun: by_file(policies, begun),
            unfinished: &ledger.unfinished,
            policies,
        }
    }

    /// The files that have a row, whether they are in the bundle or not, with the row.
    pub(crate) fn rows(&self) -> &BTreeMap<&'a str, &'a LedgerRow> {
        &self.rows
    }

    /// The row of a file.
    pub(crate) fn row(&self, file: &str) -> Option<&'a LedgerRow> {
        self.rows.get(file).copied()
    }

    /// The name under which a file was applied whose row somebody has deleted since.
    pub(crate) fn gone(&self, file: &str) -> Option<&'a str> {
        self.gone.get(file).copied()
    }

    /// Whether an earlier run has begun a file and not finished it.
    pub(crate) fn is_begun(&self, file: &str) -> bool {
        self.begun.contains_key(file)
    }

    /// What earlier runs, which did not finish it, have noted of a file.
    pub(crate) fn notes(&self, file: &str) -> &'a [Note] {
        self.begun.get(file).map_or(&[], |begun| &begun.notes)
    }

    /// What was begun and is not known as what was begun of one of the files for which `is_file` holds.
    pub(crate) fn lost(&self, is_file: impl Fn(&str) -> bool) -> Vec<&'a Unfinished> {
        let is_lost = |begun: &&Unfinished| {
            let file = self.policies.file_of(&begun.version);
            let is_known = self.begun.get(file).is_some_and(|known| known == begun);
            let goes_on = is_file(file) && is_known;
            !(self.rows.contains_key(file) || goes_on)
        };
        self.unfinished.iter().filter(is_lost).collect()
    }
}

/// By file; what has the file's own name goes first.
fn by_file<'a, T>(
    policies: &'a Policies,
    all: impl Iterator<Item = (&'a str, T)>,
) -> BTreeMap<&'a str, T> {
    let mut files = BTreeMap::new();
    for (name, what) in all {
        let file = policies.file_of(name);
        if file == name {
            files.insert(file, what);
        } else {
            files.entry(file).or_insert(what);
        }
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Bundle, LedgerName, SourceFile, plan_by, sql::fingerprint};

    fn begun(version: &str) -> Unfinished {
        Unfinished {
            version: version.to_owned(),
            notes: vec![Note {
                segment: 0,
                fingerprint: fingerprint("VACUUM t;"),
                kept: None,
                intent: None,
            }],
        }
    }

    /// The problems of a plan, with an exclamation mark where nothing runs because of one.
    fn problems(aliases: &[(&str, &str)], names: &[&str], rows: &[&str]) -> Vec<String> {
        let file = SourceFile {
            name: "001_new.sql".into(),
            bytes: b"VACUUM t;\nVACUUM u;".to_vec(),
        };
        let aliases = aliases
            .iter()
            .map(|(old, new)| ((*old).to_owned(), (*new).to_owned()));
        let policies = Policies {
            aliases: aliases.collect(),
            ..Policies::default()
        };
        let row = |version: &&str| LedgerRow {
            version: (*version).to_owned(),
            checksum: None,
            applied_at: None,
            meaning: None,
        };
        let ledger = LedgerState {
            name: LedgerName::default(),
            exists: true,
            rows: rows.iter().map(row).collect(),
            unrecorded: Vec::new(),
            unfinished: names.iter().map(|name| begun(name)).collect(),
        };
        let plan = plan_by(
            &policies,
            &Bundle::compile(vec![file]).unwrap(),
            &ledger,
            None,
        );
        let told = plan.problems.iter().map(|problem| {
            let mark = if problem.blocks() { "!" } else { "" };
            format!("{} {}{mark}", problem.version, problem.kind.as_str())
        });
        told.collect()
    }

    #[test]
    fn what_was_begun_goes_on_under_the_name_that_it_has_now() {
        let (old, new, older) = ("001_old.sql", "001_new.sql", "001_older.sql");
        let goes_on = vec!["001_new.sql Interrupted".to_owned()];
        assert_eq!(problems(&[], &[new], &[]), goes_on);
        assert_eq!(problems(&[(old, new)], &[old], &[]), goes_on);
        assert_eq!(
            problems(&[(older, old), (old, new)], &[older], &[]),
            goes_on
        );
        // nobody has said that it is the same file, or it has yet another name
        let lost = vec!["001_old.sql Unfinished!".to_owned()];
        assert_eq!(problems(&[], &[old], &[]), lost);
        assert_eq!(problems(&[(old, older)], &[old], &[]), lost);
    }

    #[test]
    fn of_two_beginnings_of_one_file_none_is_forgotten() {
        let (old, new, older) = ("001_old.sql", "001_new.sql", "001_older.sql");
        let both = [(old, new), (older, new)];
        for (names, lost) in [([new, old], old), ([old, older], older)] {
            assert_eq!(
                problems(&both, &names, &[]),
                [format!("{lost} Unfinished!"), format!("{new} Interrupted")]
            );
        }
        // of what is applied nothing goes on
        for row in [new, old] {
            let told = problems(&both, &[old, older], &[row]);
            assert_eq!(told, ["001_new.sql Unverified"]);
        }
    }
}
