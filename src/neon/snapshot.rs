//! One shared listing per project for all objects that live in it.
//!
//! A settled object costs no call of its own: whoever observes says how old a listing may be, and all who ask at
//! the same time share one fetch. Belongs to one API key, so a key sees only what it has itself read. Knows no
//! clock: `now` is the caller's.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, Shared, WeakShared};
use jiff::{SignedDuration, Timestamp};

use super::{
    Branch, BranchId, Endpoint, EndpointType, Error, ErrorKind, NeonApi, ProjectId, Result,
};
use crate::clock::age;

/// How long a refused key or an unknown project is believed, so that many objects with one wrong key do not hammer.
const REFUSAL_BELIEVED: SignedDuration = SignedDuration::from_secs(60);

/// Everything the operator reads of a project at rest.
#[derive(Clone, Debug, PartialEq)]
pub struct ProjectSnapshot {
    /// All live branches, with their annotations.
    pub branches: Vec<Branch>,
    /// All endpoints. Holds those of every branch above, for they were listed after the branches.
    pub endpoints: Vec<Endpoint>,
    /// When the fetch began: what happened before is in it, what happened later may be.
    pub taken_at: Timestamp,
}

impl ProjectSnapshot {
    /// The branch with this id.
    #[must_use]
    pub fn branch(&self, id: &BranchId) -> Option<&Branch> {
        self.branches.iter().find(|branch| branch.id == *id)
    }

    /// The branch with exactly this name; names are unique among a project's live branches.
    #[must_use]
    pub fn branch_named(&self, name: &str) -> Option<&Branch> {
        self.branches.iter().find(|branch| branch.name == name)
    }

    /// The project's default branch.
    #[must_use]
    pub fn default_branch(&self) -> Option<&Branch> {
        self.branches.iter().find(|branch| branch.default)
    }

    /// The branches forked from this one.
    pub fn children_of<'a>(&'a self, id: &BranchId) -> impl Iterator<Item = &'a Branch> {
        self.branches
            .iter()
            .filter(move |branch| branch.parent_id.as_ref() == Some(id))
    }

    /// The endpoint that writes to this branch; there is at most one.
    #[must_use]
    pub fn read_write_endpoint(&self, branch: &BranchId) -> Option<&Endpoint> {
        self.endpoints.iter().find(|endpoint| {
            endpoint.branch_id == *branch && endpoint.endpoint_type == EndpointType::ReadWrite
        })
    }

    /// The read replicas of this branch.
    pub fn replicas_of<'a>(&'a self, branch: &BranchId) -> impl Iterator<Item = &'a Endpoint> {
        self.endpoints.iter().filter(move |endpoint| {
            endpoint.branch_id == *branch && endpoint.endpoint_type == EndpointType::ReadOnly
        })
    }
}

/// The shared listings of one API key. Cloning shares them.
#[derive(Clone)]
pub struct Snapshots {
    listings: Arc<Listings>,
}

impl Snapshots {
    /// No listing yet; what is asked for is read through `api`.
    #[must_use]
    pub fn new(api: Arc<dyn NeonApi>) -> Self {
        Self {
            listings: Arc::new(Listings {
                api,
                projects: Mutex::default(),
            }),
        }
    }

    /// The project's listing, not older than `max_age` and not older than the last [`Snapshots::invalidate`].
    ///
    /// Fetches it with two calls if there is none; callers at the same time share the fetch and its error. An
    /// error is not kept, but [`ErrorKind::Denied`] and [`ErrorKind::NotFound`] are answered for a minute.
    pub async fn get(
        &self,
        project: &ProjectId,
        max_age: Duration,
        now: Timestamp,
    ) -> Result<Arc<ProjectSnapshot>> {
        let flight = {
            let mut projects = self.listings.lock();
            let entry = projects.entry(project.clone()).or_default();
            if let Some(known) = entry.known(max_age, now) {
                return known;
            }
            match entry.flight(max_age, now) {
                Some(flight) => flight,
                None => entry.take_off(&self.listings, project, now),
            }
        };
        flight.await
    }

    /// What was last listed of each project, however long ago that was and whatever was changed since. Asks nobody.
    #[must_use]
    pub fn last_seen(&self) -> Vec<(ProjectId, Arc<ProjectSnapshot>)> {
        let projects = self.listings.lock();
        let seen = |(project, entry): (&ProjectId, &Entry)| {
            let seen = entry.last_seen.as_ref()?;
            Some((project.clone(), Arc::clone(seen)))
        };
        projects.iter().filter_map(seen).collect()
    }

    /// Something in the project has been changed: no listing that began before this counts any longer.
    pub fn invalidate(&self, project: &ProjectId) {
        if let Some(entry) = self.listings.lock().get_mut(project) {
            entry.changes += 1;
            entry.latest = None;
            entry.flight = None;
        }
    }
}

type Fetched = Result<Arc<ProjectSnapshot>>;
type Fetch = Shared<BoxFuture<'static, Fetched>>;

struct Listings {
    api: Arc<dyn NeonApi>,
    projects: Mutex<HashMap<ProjectId, Entry>>,
}

impl Listings {
    fn lock(&self) -> MutexGuard<'_, HashMap<ProjectId, Entry>> {
        self.projects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Branches first: a branch and its endpoint come to be in one call, so every branch listed has its endpoint
    /// in the later list, and nobody concludes that one is missing.
    async fn fetch(&self, project: &ProjectId, taken_at: Timestamp) -> Fetched {
        let branches = self.api.branches(project).await?;
        let endpoints = self.api.endpoints(project).await?;
        Ok(Arc::new(ProjectSnapshot {
            branches,
            endpoints,
            taken_at,
        }))
    }
}

/// What is known of one project.
#[derive(Default)]
struct Entry {
    /// Counts invalidations; a fetch keeps its result only if none came in between.
    changes: u64,
    /// Counts fetches, in the order in which they began.
    flights: u64,
    /// The fetch that `last_seen` is of.
    shown: u64,
    latest: Option<Arc<ProjectSnapshot>>,
    /// The same, whatever was changed since.
    last_seen: Option<Arc<ProjectSnapshot>>,
    refused: Option<(Timestamp, Error)>,
    flight: Option<Flight>,
}

/// A fetch under way. Held weakly: it lives as long as somebody waits for it.
struct Flight {
    began: Timestamp,
    fetch: WeakShared<BoxFuture<'static, Fetched>>,
}

impl Entry {
    fn known(&self, max_age: Duration, now: Timestamp) -> Option<Fetched> {
        if let Some((at, error)) = &self.refused
            && age(*at, now).is_some_and(|age| age < REFUSAL_BELIEVED)
        {
            return Some(Err(error.clone()));
        }
        self.latest
            .as_ref()
            .filter(|snapshot| is_fresh(snapshot.taken_at, max_age, now))
            .map(|snapshot| Ok(Arc::clone(snapshot)))
    }

    fn flight(&self, max_age: Duration, now: Timestamp) -> Option<Fetch> {
        self.flight
            .as_ref()
            .filter(|flight| is_fresh(flight.began, max_age, now))
            .and_then(|flight| flight.fetch.upgrade())
    }

    fn take_off(&mut self, listings: &Arc<Listings>, project: &ProjectId, now: Timestamp) -> Fetch {
        self.flights += 1;
        let (flight, changes) = (self.flights, self.changes);
        let (listings, project) = (Arc::clone(listings), project.clone());
        let fetch = async move {
            let fetched = listings.fetch(&project, now).await;
            if let Some(entry) = listings.lock().get_mut(&project) {
                entry.land(flight, changes, now, &fetched);
            }
            fetched
        }
        .boxed()
        .shared();
        self.flight = fetch.downgrade().map(|fetch| Flight { began: now, fetch });
        fetch
    }

    fn land(&mut self, flight: u64, changes: u64, began: Timestamp, fetched: &Fetched) {
        match fetched {
            // Nobody is shown an older world than the one already shown.
            Ok(_) if flight < self.shown => {}
            Ok(snapshot) => {
                self.shown = flight;
                self.last_seen = Some(Arc::clone(snapshot));
                if changes == self.changes {
                    self.latest = Some(Arc::clone(snapshot));
                }
            }
            Err(error) if matches!(error.kind, ErrorKind::Denied | ErrorKind::NotFound) => {
                self.refused = Some((began, error.clone()));
                self.last_seen = None;
            }
            Err(_) => {}
        }
    }
}

/// An age below zero is that of a caller whose pass began before the fetch did.
fn is_fresh(taken_at: Timestamp, max_age: Duration, now: Timestamp) -> bool {
    let max_age = SignedDuration::try_from(max_age).unwrap_or(SignedDuration::MAX);
    age(taken_at, now).is_some_and(|age| age <= max_age)
}

#[cfg(test)]
mod tests;
