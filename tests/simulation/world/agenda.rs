//! Who is to be looked at when.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

/// Which object, by uid.
pub type Uid = String;

/// One time for each object.
#[derive(Default)]
pub struct Agenda {
    times: BTreeMap<Uid, Timestamp>,
    in_order: BTreeSet<(Timestamp, Uid)>,
}

impl Agenda {
    pub fn put(&mut self, uid: &str, at: Timestamp) {
        self.remove(uid);
        self.times.insert(uid.to_owned(), at);
        self.in_order.insert((at, uid.to_owned()));
    }

    /// Leaves it at the time that it has, where that is sooner.
    pub fn put_by(&mut self, uid: &str, at: Timestamp) {
        if self.times.get(uid).is_none_or(|known| at < *known) {
            self.put(uid, at);
        }
    }

    pub fn remove(&mut self, uid: &str) {
        if let Some((uid, at)) = self.times.remove_entry(uid) {
            self.in_order.remove(&(at, uid));
        }
    }

    /// When the next one is due.
    pub fn next(&self) -> Option<Timestamp> {
        self.in_order.first().map(|(at, _)| *at)
    }

    /// Who is due, by uid.
    pub fn due(&self, now: Timestamp) -> Vec<Uid> {
        let due = self.in_order.iter().take_while(|(at, _)| *at <= now);
        let due: BTreeSet<&Uid> = due.map(|(_, uid)| uid).collect();
        due.into_iter().cloned().collect()
    }
}
