//! Who is just getting a branch. What others hold is read off their status and off the project's listing; a branch that
//! is being made is in neither yet, and would let one object more in than a NeonProject allows.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use crate::clock::Clock;

/// The places that are being taken, by the object's uid. Losing it costs nothing: the next process lists first.
#[derive(Clone, Default)]
pub(super) struct Room {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// Counts entries, so that nobody enters on a count that is no longer true.
    entries: u64,
    /// When the making ended; none while it goes on.
    places: HashMap<String, Option<Timestamp>>,
}

/// Ends the making when it goes, however it ended: what became of it is in every listing that begins later.
pub(super) struct Place {
    room: Room,
    uid: String,
    clock: Arc<dyn Clock>,
}

impl Room {
    /// Who takes a place that a listing of this moment may not show, and the count to enter with.
    pub(super) fn look(&self, listed_at: Timestamp) -> (u64, BTreeSet<String>) {
        let mut state = self.lock();
        state
            .places
            .retain(|_, ended| ended.is_none_or(|ended| listed_at <= ended));
        (state.entries, state.places.keys().cloned().collect())
    }

    /// Takes a place; none where somebody else has taken one since `seen`.
    pub(super) fn enter(&self, uid: &str, seen: u64, clock: &Arc<dyn Clock>) -> Option<Place> {
        let mut state = self.lock();
        if state.entries != seen {
            return None;
        }
        state.entries += 1;
        state.places.insert(uid.to_owned(), None);
        Some(Place {
            room: self.clone(),
            uid: uid.to_owned(),
            clock: Arc::clone(clock),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let now = self.clock.now();
        if let Some(ended) = self.room.lock().places.get_mut(&self.uid) {
            *ended = Some(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_place_is_taken_until_a_later_listing_tells() {
        let (room, manual) = (Room::default(), Arc::new(ManualClock::new(at(10))));
        let clock: Arc<dyn Clock> = manual.clone();
        let (seen, nobody) = room.look(at(0));
        assert!(nobody.is_empty());
        let place = room.enter("one", seen, &clock).unwrap();
        manual.set(at(20));
        assert_eq!(room.look(at(19)).1, ["one".to_owned()].into());
        drop(place);
        assert_eq!(room.look(at(20)).1, ["one".to_owned()].into());
        assert!(room.look(at(21)).1.is_empty());
    }

    #[test]
    fn of_two_who_counted_alike_one_has_to_count_again() {
        let (room, clock) = (Room::default(), Arc::new(ManualClock::new(at(10))));
        let clock: Arc<dyn Clock> = clock;
        let (seen, _) = room.look(at(0));
        let _one = room.enter("one", seen, &clock).unwrap();
        assert!(room.enter("two", seen, &clock).is_none());
        let (seen, taken) = room.look(at(0));
        assert_eq!(taken.len(), 1);
        assert!(room.enter("two", seen, &clock).is_some());
    }
}
