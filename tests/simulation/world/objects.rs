//! The objects of one kind: as the API server has them, and as a watch has told of them. What a watch tells costs in
//! proportion to what has changed.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;
use std::sync::Arc;

use super::kubernetes::Key;

/// Read like a map; every change of it is a change that the watch has yet to tell.
#[derive(Clone)]
pub struct Objects<K> {
    stored: BTreeMap<Key, K>,
    untold: BTreeSet<Key>,
    watched: BTreeMap<Key, Arc<K>>,
}

impl<K> Default for Objects<K> {
    fn default() -> Self {
        Self {
            stored: BTreeMap::new(),
            untold: BTreeSet::new(),
            watched: BTreeMap::new(),
        }
    }
}

impl<K> Deref for Objects<K> {
    type Target = BTreeMap<Key, K>;

    fn deref(&self) -> &Self::Target {
        &self.stored
    }
}

impl<K: Clone> Objects<K> {
    pub fn insert(&mut self, key: Key, object: K) {
        self.untold.insert(key.clone());
        self.stored.insert(key, object);
    }

    pub fn remove(&mut self, key: &Key) -> Option<K> {
        self.untold.insert(key.clone());
        self.stored.remove(key)
    }

    pub fn get_mut(&mut self, key: &Key) -> Option<&mut K> {
        self.untold.insert(key.clone());
        self.stored.get_mut(key)
    }

    pub fn retain(&mut self, keep: impl Fn(&Key) -> bool) {
        let gone: Vec<Key> = self.keys().filter(|key| !keep(key)).cloned().collect();
        for key in gone {
            self.remove(&key);
        }
    }

    pub fn clear(&mut self) {
        self.retain(|_| false);
    }

    /// What the watch has told so far.
    pub fn watched(&self) -> &BTreeMap<Key, Arc<K>> {
        &self.watched
    }

    /// The watch catches up; answers what it tells of.
    pub fn deliver(&mut self) -> BTreeSet<Key> {
        let told = std::mem::take(&mut self.untold);
        for key in &told {
            match self.stored.get(key) {
                Some(object) => self.watched.insert(key.clone(), Arc::new(object.clone())),
                None => self.watched.remove(key),
            };
        }
        told
    }
}
