//! Reaching a Neon project with the key that is meant for it: what everything on Neon begins with. Changes nothing.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};

use super::{World, at_cluster, at_neon};
use crate::cluster::{Freshness, KeyRead, KeyRef};
use crate::neon::{Account, ErrorKind, ProjectId, ProjectSnapshot};
use crate::reconcile::Error;

/// What is to be reached, and with what.
#[derive(Clone, Copy, Debug)]
pub struct Way<'a> {
    /// The project.
    pub project: &'a ProjectId,
    /// Where the key is.
    pub key: &'a KeyRef,
    /// Whether the last key that worked will do where there is none any more.
    pub last_good: bool,
    /// The field that names the project, for the person who has to correct it.
    pub field: &'a str,
}

/// Whether a project can be reached; where not, why, for the person who can change it.
pub enum Reached {
    /// It can; this is what is in it.
    Project(Arc<Account>, Arc<ProjectSnapshot>),
    /// There is no key where one should be.
    NoKey(String),
    /// Neon refuses the key.
    Refused(String),
    /// The key works, but there is no such project for it.
    NoProject(String),
}

impl World {
    /// Reaches a project, with a listing of it that is at most `max_age` old.
    ///
    /// A key that is refused is read anew, once for all that use it: it may have been corrected since it was last read.
    pub async fn reach(
        &self,
        way: Way<'_>,
        max_age: Duration,
        now: Timestamp,
    ) -> Result<Reached, Error> {
        let Way {
            project, key: at, ..
        } = way;
        let mut key = match self.key(way, Freshness::Recent).await? {
            Ok(key) => key,
            Err(missing) => return Ok(Reached::NoKey(missing)),
        };
        let mut account = self.neon.open(&key);
        let mut answer = account.snapshots.get(project, max_age, now).await;
        if matches!(&answer, Err(error) if error.kind == ErrorKind::Denied)
            && let Ok(other) = self.key(way, Freshness::Refused).await?
            && other.expose_secret() != key.expose_secret()
        {
            key = other;
            account = self.neon.open(&key);
            answer = account.snapshots.get(project, max_age, now).await;
        }
        let KeyRef {
            namespace,
            name,
            key: entry,
        } = at;
        match answer {
            Ok(listing) => {
                self.cluster.remember_good_key(at, &key);
                // so that the account's keys share its budget; whoever wants to know more asks again
                account.introduce(now).await;
                Ok(Reached::Project(account, listing))
            }
            Err(error) if error.kind == ErrorKind::Denied => Ok(Reached::Refused(format!(
                "the API key in the Secret {name} of the namespace {namespace}, entry {entry}, is refused ({error}); \
                 once it is corrected it is noticed within a minute"
            ))),
            Err(error) if error.kind == ErrorKind::NotFound => Ok(Reached::NoProject(format!(
                "{}: the project {project} does not exist, or the API key in the Secret {name} of the namespace \
                 {namespace} may not see it",
                way.field
            ))),
            Err(error) => Err(at_neon(error)),
        }
    }

    /// The account of a key that has been reached with before: with the last one that worked, where there is none any more.
    pub async fn account(&self, at: &KeyRef) -> Result<Arc<Account>, Error> {
        let key = match self
            .cluster
            .api_key(at, Freshness::Recent)
            .await
            .map_err(at_cluster)?
        {
            KeyRead::Found(key) => Some(key),
            KeyRead::NoSecret | KeyRead::NoKey => self.cluster.last_good_key(at),
        };
        let key = key.ok_or_else(|| Error::conflict("the API key went away"))?;
        Ok(self.neon.open(&key))
    }

    /// The key, or why there is none.
    async fn key(
        &self,
        way: Way<'_>,
        freshness: Freshness,
    ) -> Result<Result<SecretString, String>, Error> {
        let KeyRef {
            namespace,
            name,
            key: entry,
        } = way.key;
        let missing = match self
            .cluster
            .api_key(way.key, freshness)
            .await
            .map_err(at_cluster)?
        {
            KeyRead::Found(key) => return Ok(Ok(key)),
            KeyRead::NoSecret => format!(
                "the Secret {name} with the Neon API key does not exist in the namespace {namespace}; its entry {entry} \
                 is to hold the key; once it is there it is noticed within a minute"
            ),
            KeyRead::NoKey => format!(
                "the Secret {name} of the namespace {namespace} has no entry {entry} with the Neon API key; once it has one \
                 it is noticed within a minute"
            ),
        };
        let last_good = way.last_good.then(|| self.cluster.last_good_key(way.key));
        Ok(last_good.flatten().ok_or(missing))
    }
}
