//! Looks at the world for a NeonProject, and changes nothing.
//!
//! What a settled object costs: the project's shared listing, which serves every object in the project, and one call
//! an hour about the project itself.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::desired::Desired;
use super::settings::Settings;
use super::{Pass, Projects};
use crate::api::{KeyKind, NeonDatabase, NeonProjectStatus};
use crate::neon::{Account, AuthMethod, Project};
use crate::reconcile::{Conditions, Error, Fact};
use crate::world::{Failure, Operation, Reached, Way, at_neon};

/// What is known.
#[derive(Clone, Debug)]
pub struct Observed {
    /// What earlier actions recorded.
    pub recorded: NeonProjectStatus,
    /// How often a settled object is looked at.
    pub interval: Duration,
    /// Whether the project can be reached with the key.
    pub key: Key,
    /// Operations that are waited for.
    pub operations: Vec<Operation>,
    /// What Neon has begun a short while ago and not done.
    pub failures: Vec<Failure>,
    /// The project, as Neon tells it.
    pub project: Fact<Project>,
    /// Whose the key is, where Neon tells.
    pub key_kind: Option<KeyKind>,
    /// What older NeonProjects of the same Neon project ask for.
    pub claims: Vec<Claim>,
    /// NeonDatabases that refer to this object.
    pub users: Vec<String>,
}

/// Whether the project can be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// It can, or nothing needs it.
    Good,
    /// There is no key where one should be.
    Missing(String),
    /// Neon refuses the key.
    Refused(String),
    /// The key works, but there is no such project for it.
    NoProject(String),
}

/// What another object asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Its name.
    pub by: String,
    /// Its settings.
    pub settings: Settings,
}

impl Observed {
    /// Nothing known but the record.
    #[must_use]
    pub fn nothing(recorded: NeonProjectStatus, interval: Duration) -> Self {
        Self {
            recorded,
            interval,
            key: Key::Good,
            operations: Vec::new(),
            failures: Vec::new(),
            project: Fact::Unknown,
            key_kind: None,
            claims: Vec::new(),
            users: Vec::new(),
        }
    }
}

/// Gathers everything that the next decision may need.
pub(super) async fn observe(
    kind: &Projects,
    pass: &Pass,
    desired: &Desired,
    now: Timestamp,
) -> Result<Observed, Error> {
    let world = &kind.world;
    let mut observed = Observed::nothing(pass.status.clone(), world.settings.snapshot_interval);
    if desired.deleting {
        observed.users = users(kind, desired);
        return Ok(observed);
    }
    observed.claims = claims(kind, desired);
    let way = Way {
        project: &desired.project,
        key: &desired.key,
        last_good: false,
        field: "spec.projectId",
    };
    let account = match world.reach(way, observed.interval, now).await? {
        Reached::Project(account, _) => account,
        Reached::NoKey(message) => return Ok(unreached(observed, Key::Missing(message))),
        Reached::Refused(message) => return Ok(unreached(observed, Key::Refused(message))),
        Reached::NoProject(message) => return Ok(unreached(observed, Key::NoProject(message))),
    };
    let (api, running) = (account.api.as_ref(), &observed.recorded.operations);
    let looks = &kind.operations;
    observed.failures = kind.failures.of(&desired.uid, desired.generation, now);
    observed.operations = looks.look(api, &desired.project, running, now).await?;
    observed.project = Fact::Known(details(kind, &account, desired, now).await?);
    observed.key_kind = key_kind(&account, now).await;
    Ok(observed)
}

fn unreached(observed: Observed, key: Key) -> Observed {
    Observed { key, ..observed }
}

async fn details(
    kind: &Projects,
    account: &Arc<Account>,
    desired: &Desired,
    now: Timestamp,
) -> Result<Project, Error> {
    let (uid, generation) = (&desired.uid, desired.generation);
    if let Some(known) = kind.details.known(uid, generation, account, now) {
        return Ok(known);
    }
    let project = account.api.project(&desired.project).await;
    let project = project.map_err(at_neon)?;
    kind.details
        .remember(uid, generation, account, &project, now);
    Ok(project)
}

/// A key that may not ask who it is, or is not told, can be a good key all the same.
async fn key_kind(account: &Account, now: Timestamp) -> Option<KeyKind> {
    let identity = account.introduce(now).await?;
    Some(match identity.auth_method {
        AuthMethod::UserKey => KeyKind::Personal,
        AuthMethod::OrganizationKey => KeyKind::Organization,
        AuthMethod::Other(_) => KeyKind::Other,
    })
}

/// What older objects ask of the same project. One whose own settings cannot be read asks for nothing.
fn claims(kind: &Projects, desired: &Desired) -> Vec<Claim> {
    let mut others: Vec<Desired> = Vec::new();
    for other in kind.world.cluster.projects() {
        let other = Desired::of(&other);
        if other.project == desired.project && !other.deleting && other.age() < desired.age() {
            others.push(other);
        }
    }
    others.sort_by(|a, b| a.age().cmp(&b.age()));
    let claim = |other: Desired| {
        Some(Claim {
            settings: other.settings.ok()?,
            by: other.name,
        })
    };
    others.into_iter().filter_map(claim).collect()
}

/// Who refers to this object, but for those that were looked at and never got so far that Neon could have been asked for
/// anything: nothing is resolved for an object that no access rule admits, and it shall keep nobody's project from going.
fn users(kind: &Projects, desired: &Desired) -> Vec<String> {
    let has_nothing = |database: &NeonDatabase| {
        let status = database.status.as_ref();
        database.is_observed() && status.is_some_and(|status| status.effective.is_none())
    };
    let refers = |database: &&Arc<NeonDatabase>| {
        let reference = database.spec.project_ref.as_ref();
        reference.is_some_and(|reference| reference.name.as_str() == desired.name)
            && !has_nothing(database)
    };
    let named = |database: &Arc<NeonDatabase>| {
        let part = |text: &Option<String>| text.clone().unwrap_or_default();
        let meta = &database.metadata;
        format!("{}/{}", part(&meta.namespace), part(&meta.name))
    };
    let databases = kind.world.cluster.databases();
    let mut users: Vec<String> = databases.iter().filter(refers).map(named).collect();
    users.sort();
    users
}
