//! What a history that was tried says of each of its files, see the table of [`super`]. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Verdict,
    catalog::{self, Catalog, Change, Kind},
    index::IndexFound,
    trial::{Evidence, Tried},
};

/// The trial of a whole history: what each file did, and what the catalog was like around it.
pub(crate) struct Trial {
    before: Catalog,
    now: Catalog,
    /// What the copy has otherwise than the database: a change of it on the copy proves nothing.
    redefined: BTreeSet<String>,
    /// The indexes of the database that nothing uses, since their building was not finished.
    invalid: BTreeSet<String>,
    /// The file that touched a thing last.
    touched: BTreeMap<String, usize>,
    files: Vec<(String, Tried)>,
}

/// What was found of one file.
pub(crate) struct Judged<'a> {
    pub(crate) version: &'a str,
    pub(crate) verdict: Verdict,
    /// Whether a statement was refused because its work is done.
    pub(crate) is_there: bool,
}

/// Whose doing it is that a file makes something anew that it has made before.
enum Since<'a> {
    /// It has done it itself, and what it leaves behind is there.
    Itself,
    /// It may have done it itself.
    ItselfPerhaps,
    /// A later file may have.
    Later(&'a str),
}

impl Trial {
    /// Begins with what the copy has, and with what the database has.
    pub(crate) fn new(before: Catalog, database: &Catalog) -> Self {
        Self {
            now: before.clone(),
            redefined: database.redefined(&before),
            invalid: database.invalid(),
            before,
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
    pub(crate) fn verdicts(&self) -> Vec<Judged<'_>> {
        let changes = self.before.changes(&self.now);
        let files = self.files.iter().enumerate();
        files
            .map(|(at, (version, tried))| {
                let is_its = |change: &&Change| self.touched.get(&change.key) == Some(&at);
                let missing: Vec<&Change> = changes.iter().filter(is_its).collect();
                Judged {
                    version,
                    verdict: self.judge(at, tried, &missing),
                    is_there: tried.evidence.contains(&Evidence::There),
                }
            })
            .collect()
    }

    fn judge(&self, at: usize, tried: &Tried, missing: &[&Change]) -> Verdict {
        let missing = missing.iter().copied();
        let missing: Vec<&Change> = missing.filter(|c| !self.is_chosen_anew(tried, c)).collect();
        let since: Vec<(&Change, Since<'_>)> = missing
            .iter()
            .filter_map(|change| Some((*change, self.since(at, change)?)))
            .collect();
        let is_explained = |change: &Change| {
            since.iter().any(|(explained, _)| {
                let is_part = change.of.is_some() && !change.is_column();
                *explained == change || is_part && change.of == explained.of
            })
        };
        let rest = missing.into_iter().filter(|change| !is_explained(change));
        let (open, sure): (Vec<&Change>, Vec<&Change>) =
            rest.partition(|change| self.redefined.contains(&change.key));
        // what was not finished is told below
        let sure: Vec<&Change> = sure
            .into_iter()
            .filter(|c| !self.invalid.contains(&c.key))
            .collect();
        let mut told = catalog::outermost(&sure);
        told.extend(self.indexes(at, tried));
        if !told.is_empty() {
            return Verdict::Missing(told);
        }
        if let Some(why) = since.iter().find_map(|(change, since)| since.why(change)) {
            return Verdict::Unknown(why);
        }
        if let Some(change) = open.first() {
            return Verdict::Unknown(format!(
                "it {change}, which is defined otherwise in the database than in the copy"
            ));
        }
        by_evidence(tried)
    }

    /// Whether the server has chosen the name of something that is there under a name that it chose before.
    fn is_chosen_anew(&self, tried: &Tried, change: &Change) -> bool {
        change.kind == Kind::Made
            && !tried.words.contains(&change.name.to_lowercase())
            && self.before.has_twin(change, &self.now)
    }

    /// Whose doing it may be that a file does something anew.
    fn since(&self, at: usize, change: &Change) -> Option<Since<'_>> {
        let mut later = self.files.iter().enumerate().skip(at);
        later.find_map(|(by, (version, tried))| {
            let mut aims = tried.idle.iter();
            let aim = aims.find(|aim| aim.explains(change))?;
            if by > at {
                return Some(Since::Later(version));
            }
            // what belongs to it was made with it, under a name of the server's
            let is_part = change.of.is_some() && !change.is_column();
            let place = aim.renamed(&change.key);
            let is_there =
                is_part || place.is_some_and(|p| self.before.has_at(&p, &change.key, &self.now));
            Some(if is_there {
                Since::Itself
            } else {
                Since::ItselfPerhaps
            })
        })
    }

    /// What is wrong with the indexes that a file makes and that are there.
    fn indexes(&self, at: usize, tried: &Tried) -> Vec<String> {
        let other = tried.indexes.iter().filter_map(|found| {
            let (there, made) = found.otherwise.as_ref()?;
            let key = &found.key;
            let text = format!("makes {key} as {made}, but it is {there}");
            (!self.is_excused(at, found)).then_some(text)
        });
        let unfinished = self.invalid.iter().filter(|key| self.made(key) == Some(at));
        let unfinished = unfinished
            .map(|key| format!("makes {key}, whose building was not finished: it is invalid"));
        other.chain(unfinished).collect()
    }

    /// Whether another file may be why an index is not the one that this file makes.
    fn is_excused(&self, at: usize, found: &IndexFound) -> bool {
        let key = &found.key;
        let speaks = |(_, tried): &(String, Tried)| tried.indexes.iter().any(|i| i.key == *key);
        let earlier = self.files.iter().take(at);
        let later = self.files.iter().skip(at + 1);
        let is_later = self.touched.get(key).is_some_and(|last| *last > at)
            || later.clone().any(speaks)
            || later
                .flat_map(|(_, tried)| &tried.idle)
                .any(|aim| aim.is_about(key));
        is_later || found.is_optional && earlier.clone().any(speaks)
    }

    /// The file that made an index last.
    fn made(&self, key: &str) -> Option<usize> {
        let found = |(_, tried): &(String, Tried)| tried.indexes.iter().any(|i| i.key == key);
        let last = self.files.iter().rposition(found);
        self.touched.get(key).copied().max(last)
    }
}

impl Since<'_> {
    /// Why it cannot be told whether a thing is missing; none where it can.
    fn why(&self, change: &Change) -> Option<String> {
        match self {
            Self::Itself => None,
            Self::ItselfPerhaps => Some(format!(
                "it {change}, and renames or drops that itself: whether it has done both is not to be seen"
            )),
            Self::Later(file) => Some(format!(
                "it {change}, but {file} may have renamed or dropped that since"
            )),
        }
    }
}

/// What the answers of the server say of a file of which nothing is missing.
fn by_evidence(tried: &Tried) -> Verdict {
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

#[cfg(test)]
mod tests {
    use super::super::aim;
    use super::*;

    fn catalog(things: &[(&str, &str)]) -> Catalog {
        let mut catalog = Catalog::default();
        for (key, definition) in things {
            let name = key.rsplit(['.', ' ']).next().unwrap();
            let of = key
                .strip_prefix("table column ")
                .and_then(|of| of.rsplit_once('.'));
            let of = of.map(|(of, _)| format!("table {of}"));
            catalog.add((*key).into(), name.into(), of, (*definition).into(), true);
        }
        catalog
    }

    fn begun(things: &[(&str, &str)]) -> Trial {
        Trial::new(catalog(things), &catalog(things))
    }

    fn tried(evidence: &[Evidence], idle: &[&str]) -> Tried {
        Tried {
            evidence: evidence.to_vec(),
            idle: idle.iter().flat_map(|sql| aim::aims(sql)).collect(),
            ..Tried::default()
        }
    }

    fn verdicts(trial: &Trial) -> Vec<Verdict> {
        let all = trial.verdicts().into_iter();
        all.map(|judged| judged.verdict).collect()
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
        let verdicts = verdicts(&trial);
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
        let mut trial = begun(&[("table column s.a.new", "1")]);
        let both = [("table column s.a.new", "1"), ("table column s.a.old", "1")];
        trial.add("1", tried(&[Evidence::Done], &[]), catalog(&both));
        let idle = tried(&[Evidence::There], &["ALTER TABLE s.a RENAME old TO new"]);
        trial.add("2", idle, catalog(&both));
        let verdicts = verdicts(&trial);
        assert!(
            matches!(&verdicts[0], Verdict::Unknown(why) if why.contains("2 may have renamed")),
            "{verdicts:?}"
        );
        assert_eq!(verdicts[1], Verdict::Consistent);
    }

    #[test]
    fn a_thing_of_the_same_name_elsewhere_is_no_excuse() {
        let missing = Verdict::Missing(vec!["makes table column s.users.email".into()]);
        for later in [
            "CREATE TABLE contacts (email text)",
            "ALTER TABLE contacts RENAME email TO mail",
            "ALTER TABLE other.users DROP email",
        ] {
            let mut trial = begun(&[]);
            let made = catalog(&[("table column s.users.email", "1")]);
            trial.add("1", tried(&[Evidence::Done], &[]), made.clone());
            trial.add("2", tried(&[Evidence::There], &[later]), made);
            assert_eq!(verdicts(&trial)[0], missing, "{later}");
        }
    }

    #[test]
    fn what_a_file_makes_and_renames_itself_is_looked_for_under_its_last_name() {
        let rename = ["ALTER TABLE a RENAME TO b"];
        let made = [("table s.a", "1"), ("table column s.a.x", "int")];
        for (there, consistent) in [("int", true), ("text", false)] {
            let before = [("table s.b", "1"), ("table column s.b.x", there)];
            let mut trial = begun(&before);
            let both = [before, made].concat();
            let once = tried(&[Evidence::Done, Evidence::There], &rename);
            trial.add("1", once, catalog(&both));
            let verdict = &verdicts(&trial)[0];
            assert_eq!(*verdict == Verdict::Consistent, consistent, "{verdict:?}");
            assert!(!matches!(verdict, Verdict::Missing(_)), "{verdict:?}");
        }
    }

    #[test]
    fn an_index_is_the_one_that_its_file_makes() {
        let key = "index s.i";
        let there = [(key, "1")];
        let found = |otherwise: bool, is_optional: bool| Tried {
            evidence: vec![Evidence::There],
            indexes: vec![IndexFound {
                key: key.into(),
                is_optional,
                otherwise: otherwise.then(|| ("ON b".into(), "ON a".into())),
            }],
            ..Tried::default()
        };
        let is_missing = |files: Vec<Tried>, invalid: bool| -> Vec<bool> {
            let mut database = catalog(&[]);
            database.add(key.into(), "i".into(), None, "1".into(), !invalid);
            let mut trial = Trial::new(catalog(&there), &database);
            for (at, tried) in files.into_iter().enumerate() {
                trial.add(&at.to_string(), tried, catalog(&there));
            }
            let all = verdicts(&trial).into_iter();
            all.map(|v| matches!(v, Verdict::Missing(_))).collect()
        };
        assert_eq!(is_missing(vec![found(false, false)], false), [false]);
        assert_eq!(is_missing(vec![found(true, false)], false), [true]);
        assert_eq!(is_missing(vec![found(false, false)], true), [true]);
        // the later one is that of today, or did nothing
        let twice = vec![found(true, false), found(false, false)];
        assert_eq!(is_missing(twice.clone(), false), [false, false]);
        assert_eq!(is_missing(twice, true), [false, true]);
        let optional = vec![found(false, false), found(true, true)];
        assert_eq!(is_missing(optional, false), [false, false]);
        let dropped = tried(&[Evidence::There], &["DROP INDEX s.i"]);
        let told = is_missing(vec![found(true, false), dropped], false);
        assert_eq!(told, [false, false]);
    }

    #[test]
    fn a_definition_that_the_copy_has_otherwise_is_not_missing() {
        let copy = [("view s.v", "old"), ("table s.a", "1")];
        let database = catalog(&[("view s.v", "new"), ("table s.a", "1")]);
        let before = catalog(&copy);
        assert!(database.foreign(&before).is_empty());
        let mut trial = Trial::new(before, &database);
        let after = catalog(&[("view s.v", "new"), ("table s.a", "1")]);
        trial.add("1", tried(&[Evidence::Done], &[]), after);
        let both = catalog(&[("view s.v", "newer"), ("table s.a", "2")]);
        trial.add("2", tried(&[Evidence::Done], &[]), both);
        let after = [("view s.v", "newest"), ("table s.a", "2")];
        trial.add("3", tried(&[Evidence::Done], &[]), catalog(&after));
        let verdicts = verdicts(&trial);
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
    fn another_failure_leaves_it_open() {
        let mut trial = begun(&[]);
        let failed = Evidence::Failed {
            line: 3,
            message: "no".into(),
        };
        let both = tried(&[Evidence::Done, failed], &[]);
        trial.add("1", both, Catalog::default());
        assert_eq!(verdicts(&trial)[0], Verdict::Unknown("line 3: no".into()));
    }
}
