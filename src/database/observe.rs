//! Looks at the world for a NeonDatabase, and changes nothing.
//!
//! What a settled object costs: the project's shared listing, and a look at its Secrets every ten minutes. What is
//! inside of the branch is looked at only while the recorded digest says that it is not as asked.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};

use super::credentials::Found;
use super::deletion;
use super::desired::{Desired, Rest};
use super::mark::Mark;
use super::{Databases, Pass};
use crate::api::{ConditionType, Credentials, ExistingBranch, NeonDatabase, NeonDatabaseStatus};
use crate::cluster::{KeyRead, NamespaceState};
use crate::neon::{
    Account, Branch, BranchId, BranchState, Database, Endpoint, EndpointState, ErrorKind, NeonApi,
    OperationId, ProjectId, ProjectSnapshot,
};
use crate::reconcile::{Error, Fact};
use crate::world::{at_cluster, at_neon};

/// What is known.
#[derive(Clone, Debug)]
pub struct Observed {
    /// What earlier actions recorded.
    pub recorded: NeonDatabaseStatus,
    /// How often a settled object is looked at.
    pub interval: Duration,
    /// Whether the project can be reached with the key.
    pub key: Key,
    /// Whether the namespace is being deleted, or gone.
    pub namespace_going: bool,
    /// Operations that are waited for.
    pub operations: Vec<Operation>,
    /// Objects that could be the default parent.
    pub candidates: Vec<String>,
    /// The parent that was resolved.
    pub parent: Fact<Parent>,
    /// The recorded branch.
    pub branch: Fact<Branch>,
    /// A branch that bears our mark, where none is recorded.
    pub marked: Option<Branch>,
    /// A branch that bears the name ours should have, but not our mark.
    pub named: Option<Branch>,
    /// The branch to take over.
    pub existing: Fact<Existing>,
    /// An older object that holds the recorded branch, too.
    pub older_rival: Option<String>,
    /// Whether no migration is at work on the branch.
    pub branch_free: bool,
    /// The recorded branch's read-write endpoint.
    pub endpoint: Fact<Endpoint>,
    /// Branches and objects that hang on the recorded branch.
    pub children: Vec<String>,
    /// Names of the branch's roles, as Neon lists them.
    pub api_roles: Fact<BTreeSet<String>>,
    /// The branch's databases, as Neon lists them.
    pub databases: Fact<Vec<Database>>,
    /// Roles whose password is still the parent's.
    pub shared_passwords: Fact<Vec<String>>,
    /// What lies under the names of the Secrets.
    pub secrets: BTreeMap<String, Fact<Found>>,
    /// Secrets that are as they should be.
    pub current_secrets: BTreeSet<String>,
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

/// An operation that is waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// What is done, in Neon's words.
    pub action: String,
    /// Whether it has ended, well or not; what it should have brought about is looked at anyhow.
    pub ended: bool,
}

/// The parent to fork from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parent {
    /// How a person would name it.
    pub name: String,
    /// Its branch, where it has one.
    pub branch: Option<BranchId>,
    /// Whether it can be forked from.
    pub ready: bool,
}

/// A branch to take over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Existing {
    /// The branch.
    pub branch: Branch,
    /// Who has it already.
    pub holder: Option<String>,
}

impl Observed {
    /// Nothing known but the record.
    #[must_use]
    pub fn nothing(recorded: NeonDatabaseStatus, interval: Duration) -> Self {
        Self {
            recorded,
            interval,
            key: Key::Good,
            namespace_going: false,
            operations: Vec::new(),
            candidates: Vec::new(),
            parent: Fact::Unknown,
            branch: Fact::Unknown,
            marked: None,
            named: None,
            existing: Fact::Unknown,
            older_rival: None,
            branch_free: true,
            endpoint: Fact::Unknown,
            children: Vec::new(),
            api_roles: Fact::Unknown,
            databases: Fact::Unknown,
            shared_passwords: Fact::Unknown,
            secrets: BTreeMap::new(),
            current_secrets: BTreeSet::new(),
        }
    }

    /// What tells this life of the branch from one before a reset, a restore or a re-creation.
    #[must_use]
    pub fn incarnation(&self) -> Option<String> {
        self.branch.known().map(incarnation)
    }

    /// Whether everything inside of the branch was brought about as it is asked for now.
    #[must_use]
    pub fn contents_are_as_asked(&self, rest: &Rest) -> bool {
        self.recorded.branch.as_ref().is_some_and(|branch| {
            self.recorded.content_digest.as_deref()
                == Some(&rest.content_digest(&branch.id, &branch.incarnation))
        })
    }

    /// Owners that a listed database needs and the branch does not have, and databases that it does not have.
    fn lacks_databases(&self, rest: &Rest) -> bool {
        let databases = self.databases.known();
        rest.databases
            .iter()
            .any(|wanted| !databases.is_some_and(|all| all.iter().any(|d| d.name == wanted.name)))
    }
}

/// See [`Observed::incarnation`].
#[must_use]
pub fn incarnation(branch: &Branch) -> String {
    branch
        .last_reset_at
        .unwrap_or(branch.created_at)
        .to_string()
}

/// Gathers everything that the next decision may need.
pub(super) async fn observe(
    kind: &Databases,
    pass: &Pass,
    desired: &Desired,
    now: Timestamp,
) -> Result<Observed, Error> {
    let mut observed =
        Observed::nothing(pass.status.clone(), kind.world.settings.snapshot_interval);
    if desired.deleting {
        secrets(kind, desired, &mut observed, now).await?;
        if !deletion::deletes(desired, &observed) {
            return Ok(observed);
        }
        let namespace = kind
            .world
            .cluster
            .namespace(&desired.mark.namespace)
            .await
            .map_err(at_cluster)?;
        observed.namespace_going = namespace != NamespaceState::Active;
    }
    let Some((account, listing)) = listing(kind, desired, &mut observed, now).await? else {
        return Ok(observed);
    };
    let others = others(kind, desired);
    operations(account.api.as_ref(), desired, &mut observed).await?;
    branches(kind, desired, &others, &listing, &mut observed);
    if !desired.deleting {
        contents(account.api.as_ref(), desired, &listing, &mut observed).await?;
        if desired
            .rest
            .as_ref()
            .is_ok_and(|rest| observed.contents_are_as_asked(rest))
        {
            secrets(kind, desired, &mut observed, now).await?;
        }
    }
    Ok(observed)
}

/// The account of the object's key and the listing of its project; none where `observed.key` says why.
async fn listing(
    kind: &Databases,
    desired: &Desired,
    observed: &mut Observed,
    now: Timestamp,
) -> Result<Option<(Arc<Account>, Arc<ProjectSnapshot>)>, Error> {
    let Some(mut key) = key(kind, desired, observed, false).await? else {
        return Ok(None);
    };
    let mut account = kind.world.neon.open(&key);
    let project = &desired.project;
    let mut answer = account.snapshots.get(project, observed.interval, now).await;
    if answer
        .as_ref()
        .is_ok_and(|listing| is_in_motion(observed, listing))
    {
        answer = account.snapshots.get(project, IN_MOTION, now).await;
    }
    if answer
        .as_ref()
        .is_err_and(|error| error.kind == ErrorKind::Denied)
        && let Some(other) = self::key(kind, desired, observed, true).await?
        && other.expose_secret() != key.expose_secret()
    {
        // the Secret was corrected less than a minute after it was read
        key = other;
        account = kind.world.neon.open(&key);
        answer = account.snapshots.get(project, observed.interval, now).await;
    }
    match answer {
        Ok(listing) => {
            kind.world
                .cluster
                .remember_good_key(&desired.mark.namespace, &desired.key, &key);
            return Ok(Some((account, listing)));
        }
        Err(error) if error.kind == ErrorKind::Denied => {
            let (name, entry) = (&desired.key.name, &desired.key.key);
            observed.key = Key::Refused(format!(
                "the API key in the Secret {name}, entry {entry}, is refused ({error}); once it is corrected it is noticed within a minute"
            ));
        }
        Err(error) if error.kind == ErrorKind::NotFound => {
            observed.key = Key::NoProject(format!(
                "spec.projectId: the project {project} does not exist, or the API key in the Secret {} may not see it",
                desired.key.name
            ));
        }
        Err(error) => return Err(at_neon(error)),
    }
    Ok(None)
}

/// How old a listing may be that shows our branch or endpoint being made: nobody tells us when Neon is done.
const IN_MOTION: Duration = Duration::from_secs(1);

fn is_in_motion(observed: &Observed, listing: &ProjectSnapshot) -> bool {
    let Some(recorded) = &observed.recorded.branch else {
        return false;
    };
    let id = BranchId::from(recorded.id.as_str());
    let branch = listing.branch(&id).is_some_and(|branch| {
        matches!(
            branch.current_state,
            BranchState::Init | BranchState::Resetting
        )
    });
    let endpoint = listing
        .read_write_endpoint(&id)
        .is_some_and(|endpoint| matches!(endpoint.current_state, EndpointState::Init));
    branch || endpoint
}

/// The API key: the one in the Secret, or the last good one while the namespace goes.
async fn key(
    kind: &Databases,
    desired: &Desired,
    observed: &mut Observed,
    anew: bool,
) -> Result<Option<SecretString>, Error> {
    let (namespace, at) = (&desired.mark.namespace, &desired.key);
    let missing = match kind
        .world
        .cluster
        .api_key(namespace, at, anew)
        .await
        .map_err(at_cluster)?
    {
        KeyRead::Found(key) => return Ok(Some(key)),
        KeyRead::NoSecret => format!(
            "the Secret {} with the Neon API key does not exist in this namespace; its entry {} is to hold the key",
            at.name, at.key
        ),
        KeyRead::NoKey => format!(
            "the Secret {} has no entry {} with the Neon API key",
            at.name, at.key
        ),
    };
    if observed.namespace_going
        && let Some(key) = kind.world.cluster.last_good_key(namespace, at)
    {
        return Ok(Some(key));
    }
    observed.key = Key::Missing(missing);
    Ok(None)
}

/// Every other object of the same project that is not on its way out.
fn others(kind: &Databases, desired: &Desired) -> Vec<Arc<NeonDatabase>> {
    let mut others = kind.world.cluster.databases();
    others.retain(|other| {
        other.metadata.uid.as_deref() != Some(&desired.uid)
            && other.spec.project_id == desired.project.as_str()
    });
    others
}

async fn operations(
    api: &dyn NeonApi,
    desired: &Desired,
    observed: &mut Observed,
) -> Result<(), Error> {
    for recorded in &observed.recorded.operations {
        let id = OperationId::from(recorded.id.as_str());
        let ended = match api.operation(&desired.project, &id).await {
            Ok(operation) => operation.status.is_terminal(),
            // Neon forgets operations; what they should have brought about is looked at anyhow
            Err(error) if error.kind == ErrorKind::NotFound => true,
            Err(error) => return Err(at_neon(error)),
        };
        observed.operations.push(Operation {
            action: recorded.action.clone(),
            ended,
        });
    }
    Ok(())
}

fn branches(
    kind: &Databases,
    desired: &Desired,
    others: &[Arc<NeonDatabase>],
    listing: &ProjectSnapshot,
    observed: &mut Observed,
) {
    let ours = |branch: &&Branch| Mark::of(&branch.annotations).as_ref() == Some(&desired.mark);
    if let Some(recorded) = observed.recorded.branch.clone() {
        let id = BranchId::from(recorded.id.as_str());
        observed.branch = listing.branch(&id).cloned().into();
        observed.endpoint = listing.read_write_endpoint(&id).cloned().into();
        observed.branch_free = kind.world.locks.exclusive(&recorded.id).is_some();
        observed.children = children(others, listing, &id);
        observed.older_rival = others
            .iter()
            .find(|other| holds(other, &id) && is_older(other, desired))
            .map(named);
    } else {
        observed.marked = listing
            .branches
            .iter()
            .filter(ours)
            .min_by_key(|branch| branch.created_at)
            .cloned();
        // the mark is ours even if a later branch of ours has children
        if let Some(marked) = &observed.marked {
            observed.children = children(others, listing, &marked.id);
        }
    }
    let effective = observed.recorded.effective.as_ref();
    if let Some(existing) = effective.and_then(|e| e.existing.as_ref()) {
        observed.existing = existing_branch(existing, listing, others, &desired.mark).into();
    }
    if let Some(name) = effective.and_then(|e| e.branch_name.as_ref()) {
        observed.named = listing
            .branch_named(name)
            .filter(|branch| !ours(branch))
            .cloned();
    }
    if let Some(parent) = effective.and_then(|e| e.parent.as_ref()) {
        let here = |other: &&Arc<NeonDatabase>| {
            other.metadata.namespace.as_deref() == Some(&desired.mark.namespace)
                && parent
                    .database_ref
                    .as_ref()
                    .is_some_and(|r| other.metadata.name.as_deref() == Some(r.name.as_str()))
        };
        observed.parent = match &parent.branch_name {
            Some(name) => listing.branch_named(name).map(|branch| Parent {
                name: name.clone(),
                branch: Some(branch.id.clone()),
                ready: matches!(branch.current_state, BranchState::Ready),
            }),
            None => others.iter().find(here).map(|object| parent_object(object)),
        }
        .into();
    }
    let candidate = |other: &&Arc<NeonDatabase>| {
        other.metadata.namespace.as_deref() == Some(&desired.mark.namespace)
            && Some(other.spec.environment) == desired.profile.parent
            && other.metadata.deletion_timestamp.is_none()
    };
    observed.candidates = others
        .iter()
        .filter(candidate)
        .filter_map(|other| other.metadata.name.clone())
        .collect();
    observed.candidates.sort();
}

fn parent_object(object: &NeonDatabase) -> Parent {
    let status = object.status.as_ref();
    let ready = status.is_some_and(|status| {
        status
            .conditions
            .iter()
            .any(|c| c.type_ == ConditionType::BranchReady.as_str() && c.status == "True")
    });
    Parent {
        name: object.metadata.name.clone().unwrap_or_default(),
        branch: status
            .and_then(|s| s.branch.as_ref())
            .map(|branch| BranchId::from(branch.id.as_str())),
        ready: ready && object.metadata.deletion_timestamp.is_none(),
    }
}

fn existing_branch(
    existing: &ExistingBranch,
    listing: &ProjectSnapshot,
    others: &[Arc<NeonDatabase>],
    mark: &Mark,
) -> Option<Existing> {
    let branch = match existing {
        ExistingBranch { id: Some(id), .. } => listing.branch(&BranchId::from(id.as_str())),
        ExistingBranch {
            name: Some(name), ..
        } => listing.branch_named(name),
        ExistingBranch { .. } => listing.default_branch(),
    }?;
    let marked = Mark::of(&branch.annotations)
        .filter(|other| other != mark)
        .map(|other| other.to_string());
    let claimed = || {
        others
            .iter()
            .find(|other| holds(other, &branch.id))
            .map(named)
    };
    Some(Existing {
        branch: branch.clone(),
        holder: marked.or_else(claimed),
    })
}

fn holds(other: &NeonDatabase, id: &BranchId) -> bool {
    other
        .status
        .as_ref()
        .and_then(|s| s.branch.as_ref())
        .is_some_and(|branch| branch.id == id.as_str())
}

/// Between two objects that hold one branch the older wins, and of two that were made in the same second the one whose
/// uid comes first.
fn is_older(other: &NeonDatabase, desired: &Desired) -> bool {
    let age =
        |created: Option<Timestamp>, uid: &str| (created.unwrap_or(Timestamp::MAX), uid.to_owned());
    let theirs = age(
        other
            .metadata
            .creation_timestamp
            .as_ref()
            .map(|time| time.0),
        other.metadata.uid.as_deref().unwrap_or_default(),
    );
    theirs < age(desired.created, &desired.uid)
}

fn named(other: &Arc<NeonDatabase>) -> String {
    let meta = &other.metadata;
    let text = |part: &Option<String>| part.clone().unwrap_or_default();
    format!(
        "NeonDatabase {}/{}",
        text(&meta.namespace),
        text(&meta.name)
    )
}

/// Branches forked from this one, each by the object that holds it where there is one.
fn children(others: &[Arc<NeonDatabase>], listing: &ProjectSnapshot, id: &BranchId) -> Vec<String> {
    listing
        .children_of(id)
        .map(
            |child| match others.iter().find(|other| holds(other, &child.id)) {
                Some(object) => format!("{} ({})", child.name, named(object)),
                None => child.name.clone(),
            },
        )
        .collect()
}

/// Roles and databases, and which passwords are still the parent's; only while something is left to be done inside.
async fn contents(
    api: &dyn NeonApi,
    desired: &Desired,
    listing: &ProjectSnapshot,
    observed: &mut Observed,
) -> Result<(), Error> {
    let Ok(rest) = &desired.rest else {
        return Ok(());
    };
    let (Some(recorded), Some(branch)) = (&observed.recorded.branch, observed.branch.known())
    else {
        return Ok(());
    };
    let idle = observed.operations.is_empty() && !desired.suspend;
    let usable =
        matches!(branch.current_state, BranchState::Ready) && observed.endpoint.known().is_some();
    if !idle || !usable || rest.databases.is_empty() || observed.contents_are_as_asked(rest) {
        return Ok(());
    }
    let (project, id) = (&desired.project, branch.id.clone());
    let inherited = recorded.credentials == Credentials::Inherited;
    let parent = branch
        .parent_id
        .clone()
        .filter(|parent| listing.branch(parent).is_some());
    let roles = api.roles(project, &id).await.map_err(at_neon)?;
    observed.databases = Fact::Known(api.databases(project, &id).await.map_err(at_neon)?);
    observed.api_roles = Fact::Known(roles.into_iter().map(|role| role.name).collect());
    if inherited && !observed.lacks_databases(rest) {
        observed.shared_passwords = match parent {
            Some(parent) => Fact::Known(shared_passwords(api, project, &id, &parent).await?),
            None => Fact::Absent,
        };
    }
    Ok(())
}

/// Roles whose password on the child is the parent's, found by asking for both: no clock and no record can be wrong.
async fn shared_passwords(
    api: &dyn NeonApi,
    project: &ProjectId,
    child: &BranchId,
    parent: &BranchId,
) -> Result<Vec<String>, Error> {
    let theirs = api.roles(project, parent).await.map_err(at_neon)?;
    let mut shared = Vec::new();
    for role in api.roles(project, child).await.map_err(at_neon)? {
        if !theirs.iter().any(|other| other.name == role.name) {
            continue;
        }
        let here = password(api, project, child, &role.name).await?;
        let there = password(api, project, parent, &role.name).await?;
        if let (Some(here), Some(there)) = (here, there)
            && here.expose_secret() == there.expose_secret()
        {
            shared.push(role.name);
        }
    }
    Ok(shared)
}

/// A role's password; none for a role that has none at Neon, such as one made by SQL.
async fn password(
    api: &dyn NeonApi,
    project: &ProjectId,
    branch: &BranchId,
    role: &str,
) -> Result<Option<SecretString>, Error> {
    match api.reveal_password(project, branch, role).await {
        Ok(password) => Ok(Some(password)),
        Err(error) if error.kind == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(at_neon(error)),
    }
}

/// What lies under the names of the Secrets that are wanted or recorded.
async fn secrets(
    kind: &Databases,
    desired: &Desired,
    observed: &mut Observed,
    now: Timestamp,
) -> Result<(), Error> {
    let wanted = desired
        .rest
        .as_ref()
        .map(|rest| rest.secrets.clone())
        .unwrap_or_default();
    let recorded = observed
        .recorded
        .connection_secrets
        .iter()
        .map(|secret| secret.name.clone());
    let names: BTreeSet<String> = wanted
        .iter()
        .map(|secret| secret.name.clone())
        .chain(recorded)
        .collect();
    for name in names {
        let form = wanted
            .iter()
            .find(|secret| secret.name == name)
            .and_then(|secret| kind.form(desired, &observed.recorded, secret));
        let settled = form
            .as_ref()
            .is_some_and(|form| kind.checked.is_recent(&desired.uid, form, now));
        if settled && !desired.deleting {
            observed.current_secrets.insert(name);
            continue;
        }
        let secret = kind
            .world
            .cluster
            .secret(&desired.mark.namespace, &name)
            .await
            .map_err(at_cluster)?;
        let found = secret.map(|secret| Found::of(&secret, &desired.mark.name));
        if let (Some(found), Some(form)) = (&found, &form)
            && found.is_current(form)
        {
            kind.checked.remember(&desired.uid, form, now);
            observed.current_secrets.insert(name.clone());
        }
        observed.secrets.insert(name, found.into());
    }
    Ok(())
}
