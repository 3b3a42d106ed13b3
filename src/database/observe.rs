//! Looks at the world for a NeonDatabase, and changes nothing.
//!
//! What a settled object costs: the project's shared listing, and a look at its Secrets every ten minutes or, where they are
//! very many, as often as there is time for. What is inside of the branch is looked at only while the recorded digest says
//! that it is not as asked.

mod access;
mod branches;
mod contents;
mod kept;
mod migrations;
mod terms;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;

use super::compute;
use super::credentials::Found;
use super::deletion;
use super::desired::{Desired, Rest};
use super::line::Line;
use super::password::Problem;
use super::plan;
use super::refusals::Refused;
use super::rules::Terms;
use super::{Databases, Pass, max_age};
use crate::api::NeonDatabaseStatus;
use crate::cluster::NamespaceState;
use crate::neon::{Branch, BranchId, Database, Endpoint};
use crate::reconcile::{Block, Conditions, Error, Fact};
use crate::world::{Failure, Operation, Source, ask_again, at_cluster};

pub(super) use branches::is_older;
pub use migrations::ResetAsked;

/// What is known.
#[derive(Clone, Debug)]
pub struct Observed {
    /// What earlier actions recorded.
    pub recorded: NeonDatabaseStatus,
    /// How often a settled object is looked at.
    pub interval: Duration,
    /// The Neon project and where its key is; none where `key` says why.
    pub source: Option<Source>,
    /// Whether the project can be reached with the key.
    pub key: Key,
    /// On which terms its NeonProject lets the object have a branch; none where it has one, or refers to none.
    pub terms: Option<Terms>,
    /// Who comes first where the object has no branch yet.
    pub line: Line,
    /// Whether the namespace is being deleted, or gone.
    pub namespace_going: bool,
    /// Operations that are waited for.
    pub operations: Vec<Operation>,
    /// Objects that could be the default parent.
    pub candidates: Vec<String>,
    /// The parent that was resolved.
    pub parent: Fact<Parent>,
    /// Why the parent cannot be forked from yet, in its own words.
    pub parent_trouble: Option<String>,
    /// The recorded branch.
    pub branch: Fact<Branch>,
    /// A branch that bears our mark, where none is recorded.
    pub marked: Option<Branch>,
    /// A branch that bears our mark, but was made for another object that had the name of this one.
    pub left_over: Option<Branch>,
    /// Another branch that bears the name ours should have: by its id where ours is recorded, otherwise by its mark.
    pub named: Option<Branch>,
    /// The parent that the recorded branch has instead of the one that was resolved.
    pub other_parent: Option<String>,
    /// The branch to take over.
    pub existing: Fact<Existing>,
    /// The other branch that the recorded endpoint serves by now, wherever the recorded branch is.
    pub served_instead: Option<Branch>,
    /// An older object that holds the recorded branch, too.
    pub older_rival: Option<String>,
    /// Whether no migration is at work on the branch.
    pub branch_free: bool,
    /// The recorded branch's read-write endpoint.
    pub endpoint: Fact<Endpoint>,
    /// The recorded branch's read replicas, whoever has made them.
    pub replicas: Vec<Endpoint>,
    /// Why Neon refused a read replica a short while ago.
    pub replica_refused: Option<Block>,
    /// Why Neon refused the branch's lease a short while ago.
    pub lease_refused: Option<Block>,
    /// Why Neon refused to give the branch its name back a short while ago.
    pub name_refused: Option<Block>,
    /// Why Neon refused to protect the branch a short while ago.
    pub protection_refused: Option<Block>,
    /// Branches and objects that hang on the recorded branch.
    pub children: Vec<String>,
    /// Names of the branch's roles, as Neon lists them.
    pub api_roles: Fact<BTreeSet<String>>,
    /// The branch's databases, as Neon lists them.
    pub databases: Fact<Vec<Database>>,
    /// Roles that the parent's password opens still, as Neon tells or as the compute shows.
    pub shared_passwords: Fact<Vec<String>>,
    /// That Neon may run no compute for a session that would show it, in words.
    pub no_compute: Option<String>,
    /// How many files migrations of this object have applied.
    pub applied_files: i64,
    /// What lies under the names of the Secrets.
    pub secrets: BTreeMap<String, Fact<Found>>,
    /// Secrets that are as they should be.
    pub current_secrets: BTreeSet<String>,
    /// Names of Secrets that are somebody else's, and why.
    pub taken: BTreeMap<String, String>,
    /// Secrets that are as they should be, but would go with the object where they are to stay, or the other way round.
    pub held_wrong: BTreeSet<String>,
    /// Secrets that would go with the object although its branch is to stay, where that was looked into.
    pub to_be_kept: Vec<String>,
    /// When one of these is to be looked at again; none where all were just looked at.
    pub next_look: Option<Timestamp>,
    /// What is wrong with passwords that users give, by role.
    pub password_problems: BTreeMap<String, Problem>,
    /// Why Neon refused to make the branch a short while ago.
    pub refused: Option<Block>,
    /// What Neon has begun a short while ago and not done, the latest at the end.
    pub failures: Vec<Failure>,
    /// A migration that asks for a reset of the branch, because an applied file was edited.
    pub reset_asked: Option<ResetAsked>,
    /// What Secrets that are not out yet are held back for, in words.
    pub held_back_for: Vec<String>,
}

/// Whether the project can be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// It can, or nothing needs it.
    Good,
    /// The NeonProject that is referred to was not looked at yet, which is about to be done.
    Unseen(String),
    /// The NeonProject that is referred to is not there or not ready.
    Waiting(String),
    /// There is no key where one should be.
    Missing(String),
    /// Neon refuses the key.
    Refused(String),
    /// The key works, but there is no such project for it.
    NoProject(String),
}

/// The parent to fork from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parent {
    /// How a person would name it.
    pub name: String,
    /// Its branch, where it has one.
    pub branch: Option<BranchId>,
    /// Whether it can be forked from.
    pub standing: Standing,
    /// Whether Neon will delete it some day, which rules out children.
    pub expires: bool,
}

/// How a parent stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It can be forked from.
    Ready,
    /// Neon is making it, and so nobody tells us when it is ready.
    BeingMade,
    /// Its object is on its way out.
    Deleting,
    /// Its object has something to do or to wait for.
    Unready,
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
            source: None,
            key: Key::Good,
            terms: None,
            line: Line::default(),
            namespace_going: false,
            operations: Vec::new(),
            candidates: Vec::new(),
            parent: Fact::Unknown,
            parent_trouble: None,
            branch: Fact::Unknown,
            marked: None,
            left_over: None,
            named: None,
            other_parent: None,
            existing: Fact::Unknown,
            served_instead: None,
            older_rival: None,
            branch_free: true,
            endpoint: Fact::Unknown,
            replicas: Vec::new(),
            replica_refused: None,
            lease_refused: None,
            name_refused: None,
            protection_refused: None,
            children: Vec::new(),
            api_roles: Fact::Unknown,
            databases: Fact::Unknown,
            shared_passwords: Fact::Unknown,
            no_compute: None,
            applied_files: 0,
            secrets: BTreeMap::new(),
            current_secrets: BTreeSet::new(),
            taken: BTreeMap::new(),
            held_wrong: BTreeSet::new(),
            to_be_kept: Vec::new(),
            next_look: None,
            password_problems: BTreeMap::new(),
            refused: None,
            failures: Vec::new(),
            reset_asked: None,
            held_back_for: Vec::new(),
        }
    }

    /// Id of the Neon project, for people.
    #[must_use]
    pub fn project_id(&self) -> &str {
        self.source
            .as_ref()
            .map_or("", |source| source.project.as_str())
    }

    /// What tells this life of the branch from one before a reset, a restore or a re-creation.
    #[must_use]
    pub fn incarnation(&self) -> Option<String> {
        self.branch.known().map(incarnation)
    }

    /// Whether Neon has to be asked for another compute than there is.
    #[must_use]
    pub fn compute_is_due(&self, rest: &Rest) -> bool {
        let recorded = &self.recorded;
        let (limit, known) = (recorded.plan_limit.as_ref(), recorded.endpoint.as_ref());
        let endpoint = self.endpoint.known();
        endpoint.is_some_and(|there| compute::is_due(&rest.compute, limit, known, there))
    }

    /// Whether everything inside of the branch was brought about as it is asked for now.
    #[must_use]
    pub fn contents_are_as_asked(&self, rest: &Rest) -> bool {
        self.recorded.branch.as_ref().is_some_and(|branch| {
            self.recorded.content_digest.as_deref()
                == Some(&rest.content_digest(&branch.id, &branch.incarnation))
        })
    }

    /// Whether a Secret may not come out yet. One that is out stays, and is published anew where it has to be.
    #[must_use]
    pub fn is_held_back(&self, secret: &str) -> bool {
        let is_out = |name: &str| {
            let recorded = &self.recorded.connection_secrets;
            recorded.iter().any(|recorded| recorded.name == name)
        };
        !self.held_back_for.is_empty() && !is_out(secret)
    }

    /// Whether this object cannot have the name of a Secret.
    #[must_use]
    pub fn is_somebody_elses(&self, secret: &str) -> bool {
        self.taken.contains_key(secret)
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

/// How soon to look again at an endpoint that is being made where no operation tells of it. Neon does not say since when.
pub const ENDPOINT_IN_MOTION: Duration = Duration::from_secs(5);

/// How soon to look again at a branch that is being made or reset, or at what comes with it.
#[must_use]
pub fn look_again_at(branch: &Branch, now: Timestamp) -> Duration {
    let begun = branch
        .created_at
        .max(branch.last_reset_at.unwrap_or(branch.created_at));
    ask_again(now.duration_since(begun), branch.id.as_str())
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
    kept::look(kind, pass, desired, &mut observed).await?;
    if !observed.to_be_kept.is_empty() {
        return Ok(observed);
    }
    if desired.deleting {
        let looks = contents::Looks::AtAll;
        contents::secrets(kind, desired, &mut observed, looks, now).await?;
        let keeps =
            !deletion::deletes(desired, &observed.recorded) && !deletion::runs_out(&observed);
        if keeps || deletion::is_abandoned(desired, &observed) {
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
    let Some(source) = terms::source(kind, pass, desired, &mut observed) else {
        return Ok(observed);
    };
    let reached = access::listing(kind, desired, &source, &mut observed, now).await?;
    let Some((account, listing)) = reached else {
        return Ok(observed);
    };
    let (api, project) = (account.api.as_ref(), &source.project);
    let looked_for = access::unlisted(&account, project, &observed, listing, now);
    let (unlisted, listing) = looked_for.await?;
    let others = branches::others(kind, desired, &source);
    branches::branches(kind, desired, &others, &listing, &mut observed);
    if observed.branch.is_absent() && unlisted.is_some() {
        observed.branch = unlisted.into();
        if observed.endpoint.is_absent() {
            observed.endpoint = Fact::Unknown;
        }
    }
    observed.terms = terms::terms(kind, desired, &others, &listing, &observed, now);
    observed.failures = kind.failures.of(&desired.uid, desired.generation, now);
    if !desired.deleting {
        if observed.recorded.branch.is_none() {
            observed.line = kind.lines.of(desired, &others, project, now);
        }
        observed.applied_files = kind.applied_files(desired);
        let refused = |what| kind.refusals.of(desired, what, now);
        observed.refused = refused(Refused::Branch);
        observed.replica_refused = refused(Refused::Replica);
        observed.lease_refused = refused(Refused::Lease);
        observed.name_refused = refused(Refused::Name);
        observed.protection_refused = refused(Refused::Protection);
        observed.held_back_for = migrations::missing(kind, desired, &observed);
        observed.reset_asked = migrations::reset_asked(kind, desired, &observed, now);
        let looked = contents::contents(kind, api, project, desired, &listing, &mut observed);
        if let Err(error) = looked.await {
            return or_keep_alive(desired, observed, error, now);
        }
        let as_asked = |rest: &Rest| observed.contents_are_as_asked(rest);
        let over = max_age::end(desired, &observed).is_some_and(|end| end <= now);
        if over || desired.rest.as_ref().is_ok_and(as_asked) {
            let looks = if over {
                contents::Looks::AtAll
            } else if pass.object.is_settled() {
                contents::Looks::InTurn
            } else {
                contents::Looks::AtOnce
            };
            let looked = contents::secrets(kind, desired, &mut observed, looks, now);
            if let Err(error) = looked.await {
                return or_keep_alive(desired, observed, error, now);
            }
        }
    }
    Ok(observed)
}

/// What is in the way of a look inside is told, but not before the branch is kept from running out meanwhile.
fn or_keep_alive(
    desired: &Desired,
    observed: Observed,
    error: Error,
    now: Timestamp,
) -> Result<Observed, Error> {
    if plan::keep_alive(desired, &observed, now).is_some() {
        return Ok(observed);
    }
    Err(error)
}
