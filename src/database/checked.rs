//! When each Secret is to be looked at again: a settled one every ten minutes, or as often as there is time for where they
//! are many. Losing it costs one look each.
//!
//! Looks are handed out one after the other, so that they are spread whatever began together, and nobody's is put off for
//! another one's second.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};

use super::credentials::Form;
use super::desired::Desired;

/// How long a look at a Secret is good for.
const GOOD_FOR: SignedDuration = SignedDuration::from_mins(10);

/// How far apart looks are that can wait: fewer than the reads that are allowed, so that others come in between.
const APART: SignedDuration = SignedDuration::from_millis(250);

/// Entries of Secrets that nobody asked for in so long are those of objects that went away.
const KEPT: SignedDuration = SignedDuration::from_mins(20);

/// Whether a Secret has to be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// Not before then.
    At(Timestamp),
    /// It is time, and it can wait if need be: the Secret was as it should be.
    Again,
    /// At once: nobody knows what is there.
    Now,
}

/// The last good look at each Secret.
#[derive(Debug, Default)]
pub(super) struct Checked {
    looks: Mutex<Looks>,
    /// Objects none of whose Secrets go with them, and of which version of the spec that is known. Only of those that are
    /// to leave their branch behind.
    staying: Mutex<HashMap<String, i64>>,
}

#[derive(Debug, Default)]
struct Looks {
    /// By object and name: what was looked for, and when to look again.
    by_secret: HashMap<(String, String), (String, Timestamp)>,
    /// The last look that was handed out to a Secret that was just looked at.
    last_again: Timestamp,
    /// The last one that was handed out to a Secret that is due.
    last_due: Timestamp,
}

impl Checked {
    /// Whether the Secret has to be looked at. With `settled` its object says that it was as it should be, which will do
    /// until it is its turn: a process that has just started knows nothing, and has thousands to look at.
    pub(super) fn look(
        &self,
        desired: &Desired,
        form: &Form,
        settled: bool,
        now: Timestamp,
    ) -> Look {
        let (mut looks, key, wanted) = (self.lock(), key(desired, form), wanted(desired, form));
        let at = match looks.by_secret.get(&key) {
            Some((found, at)) if *found == wanted => *at,
            None if settled => {
                let at = looks.next_due(now);
                looks.by_secret.insert(key, (wanted, at));
                at
            }
            Some(_) | None => return Look::Now,
        };
        if now < at { Look::At(at) } else { Look::Again }
    }

    /// There was no time for a look that was due; answers when to try again.
    pub(super) fn put_off(&self, desired: &Desired, form: &Form, now: Timestamp) -> Timestamp {
        let mut looks = self.lock();
        let at = looks.next_due(now + APART);
        let entry = (wanted(desired, form), at);
        looks.by_secret.insert(key(desired, form), entry);
        at
    }

    /// Whether it is known that none of the object's Secrets go with it.
    pub(super) fn stay(&self, object: &str, generation: i64) -> bool {
        self.staying().get(object) == Some(&generation)
    }

    /// None of the object's Secrets go with it.
    pub(super) fn all_stay(&self, object: &str, generation: i64) {
        self.staying().insert(object.to_owned(), generation);
    }

    fn staying(&self) -> MutexGuard<'_, HashMap<String, i64>> {
        self.staying.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Somebody wants the Secrets of an object to be looked at anew, or it is gone.
    pub(super) fn forget(&self, object: &str) {
        self.staying().remove(object);
        let mut looks = self.lock();
        looks.by_secret.retain(|(uid, _), _| uid != object);
    }

    /// The Secret was just found to be of this form.
    pub(super) fn remember(&self, desired: &Desired, form: &Form, now: Timestamp) {
        let mut looks = self.lock();
        let at = (now + GOOD_FOR).max(looks.last_again + APART);
        looks.last_again = at;
        let is_kept = |at: &Timestamp| now.duration_since(*at) < KEPT;
        looks.by_secret.retain(|_, (_, at)| is_kept(at));
        let entry = (wanted(desired, form), at);
        looks.by_secret.insert(key(desired, form), entry);
    }

    fn lock(&self) -> MutexGuard<'_, Looks> {
        self.looks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Looks {
    fn next_due(&mut self, earliest: Timestamp) -> Timestamp {
        self.last_due = earliest.max(self.last_due + APART);
        self.last_due
    }
}

fn key(desired: &Desired, form: &Form) -> (String, String) {
    (desired.uid.clone(), form.name.clone())
}

/// What is looked for. Whoever changes the spec expects a look, whatever the change.
fn wanted(desired: &Desired, form: &Form) -> String {
    format!("{} {}", desired.generation, form.digest())
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::api::Environment;
    use crate::database::fixtures;

    const SECOND: SignedDuration = SignedDuration::from_secs(1);

    /// So many objects with a Secret each.
    fn objects(many: usize) -> Vec<(Desired, Form)> {
        let desired = fixtures::desired(Environment::Preview);
        let form = fixtures::form();
        let object = |number: usize| {
            let mut desired = desired.clone();
            desired.uid = format!("u-{number}");
            (desired, form.clone())
        };
        (0..many).map(object).collect()
    }

    #[test]
    fn what_was_never_seen_is_looked_at_at_once_and_then_every_ten_minutes() {
        let (checked, now) = (Checked::default(), fixtures::now());
        let (mut desired, form) = objects(1).remove(0);
        assert_eq!(checked.look(&desired, &form, false, now), Look::Now);
        checked.remember(&desired, &form, now);
        let at = now + GOOD_FOR;
        let look = |now| checked.look(&desired, &form, false, now);
        assert_eq!(look(at - SECOND), Look::At(at));
        assert_eq!(look(at), Look::Again);
        desired.generation += 1;
        assert_eq!(checked.look(&desired, &form, true, now), Look::Now);
    }

    #[test]
    fn somebody_who_asks_has_it_looked_at_at_once() {
        let (checked, now) = (Checked::default(), fixtures::now());
        let (desired, form) = objects(1).remove(0);
        checked.remember(&desired, &form, now);
        checked.forget(&desired.uid);
        assert_eq!(checked.look(&desired, &form, false, now), Look::Now);
    }

    /// Looks at each when it is its turn, for so long; answers the longest that each was not looked at.
    fn gaps(many: usize, minutes: i64) -> Vec<SignedDuration> {
        let (checked, begin) = (Checked::default(), fixtures::now());
        let objects = objects(many);
        let mut turns: BTreeSet<(Timestamp, usize)> = (0..many).map(|one| (begin, one)).collect();
        let mut looked = vec![(begin, SignedDuration::ZERO); many];
        let mut in_second: BTreeMap<i64, usize> = BTreeMap::new();
        while let Some((now, one)) = turns.pop_first() {
            if now.duration_since(begin).as_mins() >= minutes {
                break;
            }
            let (desired, form) = &objects[one];
            if checked.look(desired, form, true, now) == Look::Again {
                checked.remember(desired, form, now);
                let (last, longest) = &mut looked[one];
                *longest = (*longest).max(now.duration_since(*last));
                *last = now;
                *in_second.entry(now.as_second()).or_default() += 1;
            }
            let Look::At(at) = checked.look(desired, form, true, now) else {
                panic!("no end of looking");
            };
            turns.insert((at, one));
        }
        // twice as many while those that were never looked at meet those that were
        let most = in_second.values().max().unwrap();
        assert!(*most <= 9, "{most} looks in a second");
        looked.into_iter().map(|(_, longest)| longest).collect()
    }

    #[test]
    fn a_start_beside_many_looks_at_each_in_its_turn_and_at_none_twice_before_all_had_theirs() {
        let few = gaps(100, 25);
        let most = GOOD_FOR + SECOND * 26;
        assert!(few.iter().all(|gap| *gap <= most), "{few:?}");
        // more than ten minutes are enough for
        let many = gaps(2_600, 25);
        let round = APART * 2_600;
        let most = round + SECOND * 5;
        let longest = many.iter().max().unwrap();
        assert!(*longest <= most, "{longest} of {most}");
        assert!(
            many.iter().all(|gap| !gap.is_zero()),
            "each was looked at twice"
        );
    }

    #[test]
    fn what_is_put_off_comes_after_what_waits_already() {
        let (checked, now) = (Checked::default(), fixtures::now());
        let objects = objects(3);
        let [(one, form), (two, _), (three, _)] = objects.as_slice() else {
            panic!()
        };
        assert_eq!(checked.look(one, form, true, now), Look::Again);
        assert_eq!(checked.look(two, form, true, now), Look::At(now + APART));
        let at = checked.put_off(one, form, now);
        assert_eq!(at, now + APART * 2);
        assert_eq!(checked.look(one, form, true, now), Look::At(at));
        assert_eq!(checked.look(three, form, true, now), Look::At(at + APART));
    }
}
