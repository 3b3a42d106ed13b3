//! Reads of Secrets, kept few. The operator may get Secrets by name and neither list nor watch them, so it has to look;
//! this is where looking is rationed: at most five reads a second in all, first come first served, and a key's Secret
//! at most once a minute however many objects use it. Looks that can wait do not: they are made when nobody else wants to
//! read, or put off.
//!
//! Also keeps in memory the last key that worked, for the time when a namespace goes and its Secret is gone already.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use k8s_openapi::api::core::v1::Secret;
use secrecy::{ExposeSecret, SecretString};
use tokio::{
    sync::Mutex as AsyncMutex,
    time::{Instant, sleep_until},
};

use super::{Objects, Result};
use crate::clock::monotonic;

/// Reads in any one second.
const READS_PER_SECOND: usize = 5;

/// How long an answer about a key's Secret is used, also the answer that there is none.
const KEY_AGE: Duration = Duration::from_mins(1);

/// How long a key that worked is kept without being asked for or confirmed.
const LAST_GOOD_AGE: Duration = Duration::from_hours(24);

/// Which value of which Secret.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyRef {
    /// The Secret's namespace.
    pub namespace: String,
    /// The Secret's name.
    pub name: String,
    /// The entry in its data.
    pub key: String,
}

/// `namespace/name[key]`, as messages name it.
impl std::fmt::Display for KeyRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}[{}]", self.namespace, self.name, self.key)
    }
}

/// What was found where a key should be.
#[derive(Clone, Debug)]
pub enum KeyRead {
    /// The key, without the line end that `--from-file` leaves at its end.
    Found(SecretString),
    /// There is no such Secret.
    NoSecret,
    /// The Secret has no such entry, or it is empty or not text.
    NoKey,
}

/// What came of a look that can wait.
#[derive(Clone, Debug)]
pub enum Glance {
    /// This is there; none where there is no such Secret.
    Seen(Box<Option<Secret>>),
    /// Others read at the moment.
    NotNow,
}

/// How an answer that is up to a minute old is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Freshness {
    /// It will do.
    Recent,
    /// Read anew: the reference has changed, or somebody asked to look now.
    Now,
    /// Neon has refused what it says. Read anew, for it may have been corrected since; unless it was read anew for that before,
    /// however many use it.
    Refused,
}

type Values = BTreeMap<String, SecretString>;

/// The answer about one Secret. Its lock is held while it is read, so that all who ask share one read.
type Slot = Arc<AsyncMutex<Option<Seen>>>;

struct Seen {
    at: Instant,
    /// Whether it was read because what was read before had been refused.
    after_refusal: bool,
    /// None: no such Secret.
    values: Option<Values>,
}

struct Good {
    value: SecretString,
    used: Instant,
}

/// Where Secrets are.
pub trait SecretSource: Send + Sync {
    /// One Secret; `None` if there is none.
    fn secret(
        &self,
        namespace: &str,
        name: &str,
    ) -> impl Future<Output = Result<Option<Secret>>> + Send;
}

impl SecretSource for Objects {
    async fn secret(&self, namespace: &str, name: &str) -> Result<Option<Secret>> {
        self.get_secret(namespace, name).await
    }
}

/// The only way in which the operator reads Secrets.
pub struct SecretReads<S = Objects> {
    source: S,
    pace: Mutex<Pace>,
    keys: Mutex<HashMap<(String, String), Slot>>,
    last_good: Mutex<HashMap<KeyRef, Good>>,
}

impl<S: SecretSource> SecretReads<S> {
    /// Reads from `source`.
    #[must_use]
    pub fn new(source: S) -> Self {
        Self {
            source,
            pace: Mutex::default(),
            keys: Mutex::default(),
            last_good: Mutex::default(),
        }
    }

    /// The key named by `at`. Waits for its turn if the Secret has to be read.
    ///
    /// # Errors
    /// Of the read; errors are not remembered, the next call reads again.
    pub async fn key(&self, at: &KeyRef, freshness: Freshness) -> Result<KeyRead> {
        let asked = monotonic();
        let slot = self.slot(at);
        let mut seen = slot.lock().await;
        if let Some(seen) = seen.as_ref().filter(|seen| usable(seen, freshness, asked)) {
            return Ok(find(seen.values.as_ref(), &at.key));
        }
        self.turn().await;
        // Of the moment before the read: what changes meanwhile may not be in the answer.
        let read_at = monotonic();
        let values = self
            .source
            .secret(&at.namespace, &at.name)
            .await?
            .map(values_of);
        let found = find(values.as_ref(), &at.key);
        *seen = Some(Seen {
            at: read_at,
            after_refusal: freshness == Freshness::Refused,
            values,
        });
        Ok(found)
    }

    /// A Secret that we publish, metadata and contents, as it is now; `None` if there is none. Waits for its turn.
    pub async fn published(&self, namespace: &str, name: &str) -> Result<Option<Secret>> {
        self.turn().await;
        self.source.secret(namespace, name).await
    }

    /// The same where nobody else wants to read; never waits.
    pub async fn glance(&self, namespace: &str, name: &str) -> Result<Glance> {
        if !self.pace().spare(monotonic()) {
            return Ok(Glance::NotNow);
        }
        let secret = self.source.secret(namespace, name).await?;
        Ok(Glance::Seen(Box::new(secret)))
    }

    /// The key named by `at` has just worked.
    pub fn remember_good(&self, at: &KeyRef, value: &SecretString) {
        let now = monotonic();
        let mut kept = self
            .last_good
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        kept.retain(|_, good| now.duration_since(good.used) < LAST_GOOD_AGE);
        kept.insert(
            at.clone(),
            Good {
                value: value.clone(),
                used: now,
            },
        );
    }

    /// The last key of that name that worked, whatever has become of its Secret since.
    #[must_use]
    pub fn last_good(&self, at: &KeyRef) -> Option<SecretString> {
        let mut kept = self
            .last_good
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let good = kept.get_mut(at)?;
        good.used = monotonic();
        Some(good.value.clone())
    }

    fn slot(&self, at: &KeyRef) -> Slot {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        // Values are not kept beyond their use: what is old and nobody reads at the moment goes.
        let now = monotonic();
        keys.retain(|_, slot| {
            Arc::strong_count(slot) > 1
                || slot.try_lock().is_ok_and(|seen| {
                    seen.as_ref()
                        .is_some_and(|seen| now.duration_since(seen.at) < KEY_AGE)
                })
        });
        Arc::clone(
            keys.entry((at.namespace.clone(), at.name.clone()))
                .or_default(),
        )
    }

    async fn turn(&self) {
        let turn = self.pace().next(monotonic());
        sleep_until(turn).await;
    }

    fn pace(&self) -> MutexGuard<'_, Pace> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An answer serves those who asked before it was read, and within a minute those who do not insist.
fn usable(seen: &Seen, freshness: Freshness, asked: Instant) -> bool {
    let is_recent = asked.saturating_duration_since(seen.at) < KEY_AGE;
    match freshness {
        Freshness::Now => seen.at >= asked,
        Freshness::Recent => is_recent,
        Freshness::Refused => seen.at >= asked || (seen.after_refusal && is_recent),
    }
}

fn values_of(secret: Secret) -> Values {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).ok().map(SecretString::from);
    secret
        .data
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| Some((key, text(value.0)?)))
        .collect()
}

fn find(values: Option<&Values>, key: &str) -> KeyRead {
    let Some(values) = values else {
        return KeyRead::NoSecret;
    };
    let value = values
        .get(key)
        .map(|value| value.expose_secret().trim_end_matches(['\r', '\n']));
    match value {
        Some(value) if !value.is_empty() => KeyRead::Found(SecretString::from(value)),
        Some(_) | None => KeyRead::NoKey,
    }
}

/// Hands out turns: in the order asked for, at most [`READS_PER_SECOND`] in any one second.
#[derive(Debug, Default)]
struct Pace {
    /// The latest turns handed out, oldest first.
    turns: VecDeque<Instant>,
}

impl Pace {
    /// The moment of the next turn, `now` or later.
    fn next(&mut self, now: Instant) -> Instant {
        let latest = self.turns.back().map_or(now, |latest| now.max(*latest));
        let turn = if self.turns.len() < READS_PER_SECOND {
            latest
        } else {
            let oldest = self.turns.pop_front();
            oldest.map_or(latest, |oldest| latest.max(oldest + Duration::from_secs(1)))
        };
        self.turns.push_back(turn);
        turn
    }

    /// Takes a turn now, if there is one and still one left for somebody who cannot wait.
    fn spare(&mut self, now: Instant) -> bool {
        let second = Duration::from_secs(1);
        let is_of_this_second = |turn: &&Instant| now.saturating_duration_since(**turn) < second;
        let taken = self.turns.iter().filter(is_of_this_second).count();
        let is_spare = taken + 1 < READS_PER_SECOND;
        if is_spare {
            self.next(now);
        }
        is_spare
    }
}

#[cfg(test)]
mod tests;
