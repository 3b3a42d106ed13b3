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
//! | … but a later file speaks of that thing and did nothing here: renamed or dropped since | [`Verdict::Unknown`] |
//! | … but that thing is defined otherwise in the database than in the copy | [`Verdict::Unknown`] |
//! | else, a statement fails for another reason than that its work is done | [`Verdict::Unknown`] |
//! | else, something was refused because it is there | [`Verdict::Consistent`] |
//! | else, something was made anew without a difference | [`Verdict::Repeatable`] |
//! | else: it changes rows at most, or what cannot be seen | [`Verdict::Unknown`] |

pub(crate) mod catalog;
pub(crate) mod trial;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use catalog::{Catalog, Change};
use trial::{Evidence, Tried};

/// What was found out about one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// The file, or the row that has none.
    pub version: String,
    /// Whether the ledger claims it.
    pub recorded: bool,
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
            Self::ClaimedButMissing | Self::ThereWithoutRow => true,
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

/// The trial of a whole history: what each file did, and what the catalog was like around it.
pub(crate) struct Trial {
    before: Catalog,
    now: Catalog,
    /// What the copy has otherwise than the database: a change of it on the copy proves nothing.
    redefined: BTreeSet<String>,
    /// The file that touched a thing last.
    touched: BTreeMap<String, usize>,
    files: Vec<(String, Tried)>,
}

impl Trial {
    pub(crate) fn new(before: Catalog, redefined: BTreeSet<String>) -> Self {
        Self {
            now: before.clone(),
            before,
            redefined,
            touched: BTreeMap::new(),
            files: Vec::new(),
        }
    }

    /// Takes note of a file that was tried, and of the catalog after it.
    pub(crate) fn add(&mut self, version: &str, tried: Tried, after: Catalog) {
        let at = self.files.len();
        for change in self.now.changes(&after) {
            self.touched.insert(change.key, at);
        }
        self.now = after;
        self.files.push((version.to_owned(), tried));
    }

    /// The verdicts, in order.
    pub(crate) fn verdicts(&self) -> Vec<(&str, Verdict)> {
        let changes = self.before.changes(&self.now);
        let files = self.files.iter().enumerate();
        files
            .map(|(at, (version, tried))| {
                let is_its = |change: &&Change| self.touched.get(&change.key) == Some(&at);
                let missing: Vec<&Change> = changes.iter().filter(is_its).collect();
                (version.as_str(), self.judge(at, tried, &missing))
            })
            .collect()
    }

    fn judge(&self, at: usize, tried: &Tried, missing: &[&Change]) -> Verdict {
        let later = |change: &&Change| {
            let mut files = self.files.iter().skip(at + 1);
            files.find(|(_, later)| later.idle_words.contains(&change.name))
        };
        if let Some((change, (file, _))) = missing.iter().find_map(|c| Some((c, later(c)?))) {
            return Verdict::Unknown(format!(
                "it {change}, but {file} may have renamed or dropped that since"
            ));
        }
        let is_open = |change: &&Change| self.redefined.contains(&change.key);
        let (open, sure): (Vec<&Change>, Vec<&Change>) = missing.iter().copied().partition(is_open);
        if !sure.is_empty() {
            return Verdict::Missing(catalog::outermost(&sure));
        }
        if let Some(change) = open.first() {
            return Verdict::Unknown(format!(
                "it {change}, which is defined otherwise in the database than in the copy"
            ));
        }
        let error = tried.evidence.iter().find_map(|evidence| match evidence {
            Evidence::Failed { line, message } => Some(format!("line {line}: {message}")),
            Evidence::There | Evidence::Done | Evidence::Silent => None,
        });
        if let Some(error) = error {
            return Verdict::Unknown(error);
        }
        if tried.evidence.contains(&Evidence::There) {
            return Verdict::Consistent;
        }
        if tried.evidence.contains(&Evidence::Done) {
            return Verdict::Repeatable;
        }
        Verdict::Unknown("it changes rows at most, or what leaves no trace here".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalog(things: &[(&str, &str)]) -> Catalog {
        let mut catalog = Catalog::default();
        for (key, definition) in things {
            let name = key.rsplit('.').next().unwrap();
            catalog.add((*key).into(), name.into(), None, (*definition).into());
        }
        catalog
    }

    fn begun(things: &[(&str, &str)]) -> Trial {
        Trial::new(catalog(things), BTreeSet::new())
    }

    fn tried(evidence: &[Evidence], idle: &[&str]) -> Tried {
        Tried {
            evidence: evidence.to_vec(),
            idle_words: idle.iter().map(|word| (*word).to_owned()).collect(),
        }
    }

    #[test]
    fn a_history_is_judged_by_where_it_ends() {
        let start = [("table s.a", "1"), ("index s.i", "1")];
        let mut trial = begun(&start);
        trial.add("1", tried(&[Evidence::There], &[]), catalog(&start));
        // dropped and made again: at the end there is no difference
        trial.add("2", tried(&[Evidence::Done], &[]), catalog(&start[..1]));
        trial.add("3", tried(&[Evidence::Done], &[]), catalog(&start));
        let more = [start[0], start[1], ("table s.b", "1")];
        trial.add("4", tried(&[Evidence::Done], &[]), catalog(&more));
        trial.add("5", tried(&[Evidence::Silent], &[]), catalog(&more));
        let verdicts: Vec<Verdict> = trial.verdicts().into_iter().map(|(_, v)| v).collect();
        assert_eq!(
            verdicts[..4],
            [
                Verdict::Consistent,
                Verdict::Repeatable,
                Verdict::Repeatable,
                Verdict::Missing(vec!["makes table s.b".into()]),
            ]
        );
        assert!(matches!(&verdicts[4], Verdict::Unknown(why) if why.contains("rows")));
    }

    #[test]
    fn what_a_later_file_took_away_is_not_missing() {
        let mut trial = begun(&[("column s.a.new", "1")]);
        let both = [("column s.a.new", "1"), ("column s.a.old", "1")];
        trial.add("1", tried(&[Evidence::Done], &[]), catalog(&both));
        let idle = tried(&[Evidence::There], &["old", "new"]);
        trial.add("2", idle, catalog(&both));
        let verdicts = trial.verdicts();
        assert!(
            matches!(&verdicts[0].1, Verdict::Unknown(why) if why.contains("2 may have renamed")),
            "{verdicts:?}"
        );
        assert_eq!(verdicts[1].1, Verdict::Consistent);
    }

    #[test]
    fn a_definition_that_the_copy_has_otherwise_is_not_missing() {
        let copy = [("view s.v", "old"), ("table s.a", "1")];
        let database = catalog(&[("view s.v", "new"), ("table s.a", "1")]);
        let before = catalog(&copy);
        assert!(database.foreign(&before).is_empty());
        let mut trial = Trial::new(before.clone(), database.redefined(&before));
        let after = catalog(&[("view s.v", "new"), ("table s.a", "1")]);
        trial.add("1", tried(&[Evidence::Done], &[]), after);
        let both = catalog(&[("view s.v", "newer"), ("table s.a", "2")]);
        trial.add("2", tried(&[Evidence::Done], &[]), both);
        let after = [("view s.v", "newest"), ("table s.a", "2")];
        trial.add("3", tried(&[Evidence::Done], &[]), catalog(&after));
        let verdicts: Vec<Verdict> = trial.verdicts().into_iter().map(|(_, v)| v).collect();
        assert_eq!(verdicts[0], Verdict::Repeatable);
        assert_eq!(
            verdicts[1],
            Verdict::Missing(vec!["changes table s.a".into()])
        );
        assert!(
            matches!(&verdicts[2], Verdict::Unknown(why) if why.starts_with("it changes view s.v, which is defined otherwise")),
            "{verdicts:?}"
        );
    }

    #[test]
    fn what_can_run_once_more_is_not_taken_for_a_file_that_ran_without_a_row() {
        let found = |verdict: Verdict, recorded| {
            let version = "1".to_owned();
            Verified {
                version,
                recorded,
                verdict,
            }
            .finding()
        };
        assert_eq!(found(Verdict::Repeatable, true), Finding::Consistent);
        assert_eq!(found(Verdict::Repeatable, false), Finding::Pending);
        assert_eq!(found(Verdict::Consistent, false), Finding::ThereWithoutRow);
    }

    #[test]
    fn another_failure_leaves_it_open() {
        let mut trial = begun(&[]);
        let failed = Evidence::Failed {
            line: 3,
            message: "no".into(),
        };
        let both = tried(&[Evidence::Done, failed], &[]);
        trial.add("1", both, Catalog::default());
        assert_eq!(trial.verdicts()[0].1, Verdict::Unknown("line 3: no".into()));
    }
}
