//! What is remembered between passes, so that a settled migration reads nothing but its ConfigMaps, and those seldom.
//!
//! Nothing here is needed for correctness: an operator that starts with an empty cache reads again. Each entry belongs
//! to one object, by uid.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};

use super::place::Place;
use super::source::Listing;
use crate::clock::age;
use crate::engine::{Bundle, Diagnostics, LedgerState};

/// How long a ConfigMap is taken to be as it was read, unless its watch says otherwise.
const READ_AGAIN: SignedDuration = SignedDuration::from_mins(10);

/// How long a ledger that was read may be decided on. It is read for one decision; the run reads it again under lock.
const LEDGER_AGE: SignedDuration = SignedDuration::from_mins(1);

/// How long a ledger that stands in the way is taken to do so: looking again wakes a compute that is asleep.
const BLOCKED: SignedDuration = SignedDuration::from_mins(10);

/// A bundle, or what is wrong with the set of files.
pub(super) type Compiled = Result<Arc<Bundle>, Diagnostics>;

/// A ledger, or why the table of that name is none.
pub(super) type LedgerRead = Result<LedgerState, String>;

/// What is remembered of all objects.
#[derive(Debug, Default)]
pub(super) struct Cache {
    entries: Mutex<Entries>,
}

#[derive(Debug, Default)]
struct Entries {
    /// Counts changes told by the watch: what was read before one of them is not remembered.
    changes: u64,
    listings: HashMap<String, Read>,
    bundles: HashMap<String, (String, Compiled)>,
    ledgers: HashMap<String, (Place, LedgerRead, Timestamp)>,
    blocked: HashMap<String, (String, LedgerRead, Timestamp)>,
}

#[derive(Debug)]
struct Read {
    namespace: String,
    config_maps: Vec<String>,
    at: Timestamp,
    listing: Listing,
}

/// The moment at which a read began, as the cache counts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Began(u64);

impl Cache {
    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// To be asked before the first ConfigMap is read.
    pub(super) fn begin(&self) -> Began {
        Began(self.lock().changes)
    }

    /// The files of these ConfigMaps, where they were read lately.
    pub(super) fn listing(&self, uid: &str, maps: &[String], now: Timestamp) -> Option<Listing> {
        let entries = self.lock();
        let read = entries.listings.get(uid)?;
        let age = age(read.at, now);
        let fresh = age.is_some_and(|age| age < READ_AGAIN) && read.config_maps == maps;
        fresh.then(|| read.listing.clone())
    }

    /// Remembers what was read, unless any ConfigMap changed meanwhile.
    pub(super) fn keep_listing(
        &self,
        began: Began,
        uid: &str,
        (namespace, config_maps): (&str, &[String]),
        listing: &Listing,
        now: Timestamp,
    ) {
        let mut entries = self.lock();
        if entries.changes == began.0 {
            let read = Read {
                namespace: namespace.to_owned(),
                config_maps: config_maps.to_vec(),
                at: now,
                listing: listing.clone(),
            };
            entries.listings.insert(uid.to_owned(), read);
        }
    }

    /// A ConfigMap has changed, come or gone: whoever uses it reads it again.
    pub(super) fn forget_config_map(&self, namespace: &str, name: &str) {
        let mut entries = self.lock();
        entries.changes = entries.changes.wrapping_add(1);
        entries.listings.retain(|_, read| {
            read.namespace != namespace || !read.config_maps.iter().any(|map| map == name)
        });
    }

    /// The bundle of the files with this digest.
    pub(super) fn bundle(&self, uid: &str, digest: &str) -> Option<Compiled> {
        let entries = self.lock();
        let (known, bundle) = entries.bundles.get(uid)?;
        (known == digest).then(|| bundle.clone())
    }

    /// Remembers a bundle, instead of the object's last one.
    pub(super) fn keep_bundle(&self, uid: &str, digest: &str, bundle: &Compiled) {
        let entry = (digest.to_owned(), bundle.clone());
        self.lock().bundles.insert(uid.to_owned(), entry);
    }

    /// Lets go of a bundle that has nothing left to do: the files of all settled objects would fill the memory.
    pub(super) fn drop_bundle(&self, uid: &str) {
        self.lock().bundles.remove(uid);
    }

    /// Remembers a ledger for the next decision.
    pub(super) fn keep_ledger(&self, uid: &str, place: Place, ledger: LedgerRead, now: Timestamp) {
        let entry = (place, ledger, now);
        self.lock().ledgers.insert(uid.to_owned(), entry);
    }

    /// The ledger that was just read at this place. Given out once: the next decision reads it anew.
    pub(super) fn take_ledger(
        &self,
        uid: &str,
        place: &Place,
        now: Timestamp,
    ) -> Option<LedgerRead> {
        let (at, ledger, read) = self.lock().ledgers.remove(uid)?;
        let usable = at == *place && age(read, now).is_some_and(|age| age < LEDGER_AGE);
        usable.then_some(ledger)
    }

    /// Remembers a ledger that nothing can be applied to, and `because`: everything that this depends on besides.
    pub(super) fn keep_blocked(
        &self,
        uid: &str,
        because: String,
        ledger: LedgerRead,
        now: Timestamp,
    ) {
        let entry = (because, ledger, now);
        self.lock().blocked.insert(uid.to_owned(), entry);
    }

    /// The ledger that nothing can be applied to, where it was read lately and nothing else has changed.
    pub(super) fn blocked(&self, uid: &str, because: &str, now: Timestamp) -> Option<LedgerRead> {
        let entries = self.lock();
        let (known, ledger, read) = entries.blocked.get(uid)?;
        let stands = known == because && age(*read, now).is_some_and(|age| age < BLOCKED);
        stands.then(|| ledger.clone())
    }

    /// The object is gone.
    pub(super) fn forget(&self, uid: &str) {
        let mut entries = self.lock();
        entries.listings.remove(uid);
        entries.bundles.remove(uid);
        entries.ledgers.remove(uid);
        entries.blocked.remove(uid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn maps() -> Vec<String> {
        vec!["files".to_owned()]
    }

    fn listing() -> Listing {
        Listing {
            digest: "sha256:1".into(),
            versions: vec!["001_a.sql".into()],
        }
    }

    fn kept() -> Cache {
        let cache = Cache::default();
        let began = cache.begin();
        cache.keep_listing(
            began,
            "u",
            ("team", &maps()),
            &listing(),
            Timestamp::UNIX_EPOCH,
        );
        cache
    }

    fn seen(cache: &Cache, after: SignedDuration) -> Option<Listing> {
        cache.listing("u", &maps(), Timestamp::UNIX_EPOCH + after)
    }

    #[test]
    fn a_listing_serves_ten_minutes_or_until_its_map_changes() {
        let cache = kept();
        let almost = READ_AGAIN - SignedDuration::from_secs(1);
        assert_eq!(seen(&cache, almost), Some(listing()));
        assert_eq!(seen(&cache, READ_AGAIN), None);
        cache.forget_config_map("other", "files");
        cache.forget_config_map("team", "other");
        assert_eq!(seen(&cache, almost), Some(listing()));
        cache.forget_config_map("team", "files");
        assert_eq!(seen(&cache, SignedDuration::ZERO), None);
    }

    #[test]
    fn other_references_are_read_at_once() {
        let others = ["files".to_owned(), "more".to_owned()];
        assert_eq!(kept().listing("u", &others, Timestamp::UNIX_EPOCH), None);
    }

    #[test]
    fn a_ledger_in_the_way_serves_ten_minutes_or_until_something_changes() {
        let now = Timestamp::UNIX_EPOCH;
        let cache = Cache::default();
        cache.keep_blocked("u", "files 1".into(), Err("x".into()), now);
        let almost = now + (BLOCKED - SignedDuration::from_secs(1));
        assert!(cache.blocked("u", "files 1", almost).is_some());
        assert!(cache.blocked("u", "files 1", almost).is_some());
        assert!(cache.blocked("u", "files 2", almost).is_none());
        assert!(cache.blocked("other", "files 1", almost).is_none());
        assert!(cache.blocked("u", "files 1", now + BLOCKED).is_none());
    }

    #[test]
    fn what_changed_while_it_was_read_is_not_remembered() {
        let cache = Cache::default();
        let began = cache.begin();
        cache.forget_config_map("team", "files");
        cache.keep_listing(
            began,
            "u",
            ("team", &maps()),
            &listing(),
            Timestamp::UNIX_EPOCH,
        );
        assert_eq!(seen(&cache, SignedDuration::ZERO), None);
    }

    #[test]
    fn a_ledger_serves_one_decision_at_its_place() {
        let place = |incarnation: &str| Place {
            branch: super::super::place::Branch {
                id: "br-1".into(),
                incarnation: incarnation.into(),
                origin: crate::api::BranchOrigin::Created,
                created: Timestamp::UNIX_EPOCH,
                expires: false,
            },
            database: "app".into(),
        };
        let now = Timestamp::UNIX_EPOCH;
        let cache = Cache::default();
        let keep = |at| cache.keep_ledger("u", place(at), Err("x".into()), now);
        keep("1");
        assert!(cache.take_ledger("u", &place("1"), now).is_some());
        assert!(cache.take_ledger("u", &place("1"), now).is_none());
        keep("1");
        assert!(cache.take_ledger("u", &place("2"), now).is_none());
        keep("1");
        assert!(
            cache
                .take_ledger("u", &place("1"), now + LEDGER_AGE)
                .is_none()
        );
    }
}
