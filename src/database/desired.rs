//! What is asked of a NeonDatabase: the spec parsed into types that cannot be wrong. Pure.
//!
//! A spec that cannot be parsed is not an error but part of the answer: deletion works all the same.

mod fields;
mod left_out;
mod roles;

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};

pub use self::left_out::LeftOut;
pub use self::roles::Role;
use super::asked::Asked;
use super::compute::{Compute, SuspendAfter};
use super::credentials::wanted_secrets;
use super::inherit::Heritage;
use super::mark::{Mark, branch_name};
use super::profile::{Profile, profile};
use super::replicas::Replica;
use super::template::Template;
use crate::api::{
    self, BRANCH_FINALIZER, BranchSpec, DatabaseSpec, DeletionPolicy, Effective, Environment,
    ExistingBranch, ExtensionSpec, ExternalDeletionAction, NeonDatabase, NeonDatabaseSpec,
    ParentBranch, ParentMoment, ReadReplicaSpec, Reason,
};
use crate::clock::time_span;
use crate::neon::Moment;
use crate::postgres::extensions;
use crate::reconcile::Block;

/// What is asked.
#[derive(Clone, Debug, PartialEq)]
pub struct Desired {
    /// Which object asks.
    pub mark: Mark,
    /// The object's uid.
    pub uid: String,
    /// The object's generation.
    pub generation: i64,
    /// When the object was made: the older object wins a branch that two want.
    pub created: Option<Timestamp>,
    /// Whether the object is being deleted.
    pub deleting: bool,
    /// Whether our finalizer is on the object.
    pub has_finalizer: bool,
    /// The NeonProject that is referred to; none where the object itself names project and key.
    pub project_ref: Option<String>,
    /// The environment.
    pub environment: Environment,
    /// The defaults of the environment.
    pub profile: Profile,
    /// Whether nothing may be changed.
    pub suspend: bool,
    /// What annotations ask for.
    pub asked: Asked,
    /// What to do where the branch was deleted outside.
    pub on_external_deletion: ExternalDeletionAction,
    /// What becomes of the branch, where the spec says so.
    pub deletion_policy: Option<DeletionPolicy>,
    /// The branch to take over, where the spec names one.
    pub existing: Option<ExistingBranch>,
    /// The branch to fork from, where the spec names one.
    pub parent: Option<ParentBranch>,
    /// Name of an own branch.
    pub branch_name: String,
    /// The lease, known even where the rest of the spec is wrong: a mistake there must not let a living branch run out.
    pub lease: Option<SignedDuration>,
    /// How long the branch may live at all; none where the spec's word cannot be carried out.
    pub max_age: Option<SignedDuration>,
    /// Where databases and roles come from.
    pub heritage: Heritage,
    /// The names on the way round, where the object is a descendant of itself.
    pub circle: Option<Vec<String>>,
    /// What Neon has refused a short while ago, and the rest does without.
    pub left_out: LeftOut,
    /// The rest of the spec, or what is wrong with it.
    pub rest: Result<Rest, Block>,
}

/// The part of the spec that may be wrong in ways the schema cannot see.
#[derive(Clone, Debug, PartialEq)]
pub struct Rest {
    /// Whether Neon is to refuse deleting the branch; where only the profile says so, protection is not lowered.
    pub protected: Setting<bool>,
    /// How long Neon keeps the branch after the operator was last heard of; none for ever.
    pub lease: Setting<Option<SignedDuration>>,
    /// The read-write compute.
    pub compute: Compute,
    /// Read replicas to be there.
    pub replicas: Vec<Replica>,
    /// Names of the databases in the order of the spec.
    pub listed: Vec<String>,
    /// Databases to be there.
    pub databases: Vec<Database>,
    /// Application roles to be there.
    pub roles: Vec<Role>,
    /// Secrets to be out.
    pub secrets: Vec<WantedSecret>,
    /// Names of SepulkiMigrations that have to be applied before a Secret comes out for the first time.
    pub publish_after: Vec<String>,
}

/// A value and whether the spec says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setting<T> {
    /// The value.
    pub value: T,
    /// True: from the spec; false: from the profile.
    pub explicit: bool,
}

impl<T> Setting<T> {
    /// The spec's value, otherwise the profile's.
    #[must_use]
    pub fn of(spec: Option<T>, profile: T) -> Self {
        Self {
            explicit: spec.is_some(),
            value: spec.unwrap_or(profile),
        }
    }
}

/// A database to be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Database {
    /// Name.
    pub name: String,
    /// Owner, where the spec names one.
    pub owner: Option<String>,
    /// Extensions to be installed.
    pub extensions: Vec<extensions::Wanted>,
}

impl Database {
    /// The owner it gets where it does not exist yet.
    #[must_use]
    pub fn owner_if_new(&self) -> String {
        self.owner
            .clone()
            .unwrap_or_else(|| format!("{}_owner", self.name))
    }
}

/// A Secret to be out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedSecret {
    /// Name of the Secret.
    pub name: String,
    /// The role it logs in as.
    pub role: String,
    /// The database it connects to.
    pub database: String,
    /// What the spec adds to it.
    pub template: Template,
}

impl Desired {
    /// What the object asks of this installation. What it inherits has to be in its spec already.
    #[must_use]
    pub fn of(object: &NeonDatabase, installation: &str) -> Self {
        let meta = &object.metadata;
        let spec = &object.spec;
        let branch = spec.branch.clone().unwrap_or_default();
        let namespace = meta.namespace.clone().unwrap_or_default();
        let name = meta.name.clone().unwrap_or_default();
        let profile = profile(spec.environment);
        Self {
            uid: meta.uid.clone().unwrap_or_default(),
            generation: meta.generation.unwrap_or_default(),
            created: meta.creation_timestamp.as_ref().map(|time| time.0),
            deleting: meta.deletion_timestamp.is_some(),
            has_finalizer: meta
                .finalizers
                .iter()
                .flatten()
                .any(|f| f == BRANCH_FINALIZER),
            project_ref: spec.project_ref.as_ref().map(|r| r.name.0.clone()),
            environment: spec.environment,
            profile,
            suspend: spec.suspend,
            asked: Asked::of(meta.annotations.as_ref()),
            on_external_deletion: spec
                .on_external_deletion
                .as_ref()
                .map_or(profile.on_external_deletion, |asked| asked.action),
            deletion_policy: spec.deletion_policy,
            branch_name: branch
                .name
                .clone()
                .unwrap_or_else(|| branch_name(spec.environment, &namespace, &name)),
            lease: lease(
                spec,
                &branch,
                &profile,
                branch.protected.unwrap_or(profile.protected),
            )
            // a mistake must not let a living branch run out
            .unwrap_or_else(|_| written_lease(&branch).or(profile.lease)),
            max_age: max_age(spec, &branch, &profile).ok().flatten(),
            heritage: Heritage::Own,
            circle: None,
            left_out: LeftOut::default(),
            rest: rest(object, &branch, &profile, &name),
            existing: branch.existing,
            parent: branch.parent,
            mark: Mark {
                installation: installation.to_owned(),
                namespace,
                name,
                purpose: None,
            },
        }
    }

    /// A role that is asked for.
    #[must_use]
    pub fn role(&self, name: &str) -> Option<&Role> {
        let roles = &self.rest.as_ref().ok()?.roles;
        roles.iter().find(|role| role.name == name)
    }

    /// The branch to take over: the spec's, otherwise the profile's; none where the branch is to be an own one.
    #[must_use]
    pub fn takes_over(&self) -> Option<ExistingBranch> {
        self.existing.clone().or_else(|| {
            let by_profile = self.profile.takes_over_default && self.parent.is_none();
            by_profile.then_some(ExistingBranch {
                default: Some(true),
                name: None,
                id: None,
            })
        })
    }

    /// Under which name the branch is made: the one that was resolved once, otherwise the spec's.
    #[must_use]
    pub fn name_of_branch<'a>(&'a self, resolved: Option<&'a Effective>) -> &'a str {
        let resolved = resolved.and_then(|resolved| resolved.branch_name.as_ref());
        resolved.unwrap_or(&self.branch_name)
    }

    /// What becomes of the branch when the object goes: the spec's word, otherwise what was recorded once, otherwise
    /// the profile's.
    #[must_use]
    pub fn deletion_policy(&self, recorded: Option<DeletionPolicy>) -> DeletionPolicy {
        self.deletion_policy
            .or(recorded)
            .unwrap_or(self.profile.deletion_policy)
    }
}

impl Rest {
    /// Names of the roles that have a Secret, and so a login.
    #[must_use]
    pub fn roles_with_secret(&self) -> BTreeSet<&str> {
        self.secrets
            .iter()
            .map(|secret| secret.role.as_str())
            .collect()
    }

    /// SHA-256 of the branch's incarnation and of everything asked for inside of it: while the recorded one is the
    /// same there is nothing to look at.
    #[must_use]
    pub fn content_digest(&self, branch: &str, incarnation: &str) -> String {
        let mut hash = Sha256::new();
        // a version of this text: raise it when the SQL behind it changes
        hash.update(format!(
            "2 {branch} {incarnation} {:?} {:?} {:?}",
            self.databases,
            self.roles.iter().map(Role::inside).collect::<Vec<_>>(),
            self.roles_with_secret(),
        ));
        format!("sha256:{}", hex::encode(hash.finalize()))
    }
}

fn rest(
    object: &NeonDatabase,
    branch: &BranchSpec,
    profile: &Profile,
    name: &str,
) -> Result<Rest, Block> {
    let (spec, status) = (&object.spec, object.status.as_ref());
    let out = status.map(|status| status.connection_secrets.as_slice());
    let out = out.unwrap_or_default();
    let databases = spec.databases.iter().map(database).collect::<Vec<_>>();
    let roles = roles::roles(spec, profile)?;
    max_age(spec, branch, profile)?;
    if let Some(at) = branch.parent.as_ref().and_then(|parent| parent.at.as_ref()) {
        moment(at)?;
    }
    let protected = Setting::of(branch.protected, profile.protected);
    Ok(Rest {
        lease: Setting {
            value: lease(spec, branch, profile, protected.value)?,
            explicit: branch.lease.is_some(),
        },
        protected,
        compute: compute(spec, profile)?,
        replicas: replicas(spec)?,
        secrets: wanted_secrets(spec, &databases, &roles, name, out)?,
        listed: databases.iter().map(|d| d.name.clone()).collect(),
        databases,
        roles,
        publish_after: publish_after(spec),
    })
}

fn publish_after(spec: &NeonDatabaseSpec) -> Vec<String> {
    let publish = spec.publish.iter();
    let after = publish.filter_map(|publish| publish.after.as_ref());
    after
        .flat_map(|after| &after.migration_refs)
        .map(|migration| migration.name.0.clone())
        .collect()
}

fn database(spec: &DatabaseSpec) -> Database {
    Database {
        name: spec.name.0.clone(),
        owner: spec.owner.as_ref().map(|owner| owner.0.clone()),
        extensions: spec.extensions.iter().map(extension).collect(),
    }
}

fn extension(spec: &ExtensionSpec) -> extensions::Wanted {
    extensions::Wanted {
        name: spec.name.0.clone(),
        schema: spec.schema.as_ref().map(|schema| schema.0.clone()),
        version: spec.version.clone(),
    }
}

fn lease(
    spec: &NeonDatabaseSpec,
    branch: &BranchSpec,
    profile: &Profile,
    protected: bool,
) -> Result<Option<SignedDuration>, Block> {
    match &branch.lease {
        Some(lease) if lease.0 == "never" => Ok(None),
        Some(lease) => {
            lease_is_possible(spec, branch, profile)?;
            duration("spec.branch.lease", &lease.0).map(Some)
        }
        // the profile's lease gives way to what excludes it
        None if protected
            || branch.existing.is_some()
            || spec.deletion_policy == Some(DeletionPolicy::Retain) =>
        {
            Ok(None)
        }
        None => Ok(profile.lease),
    }
}

/// The length of the lease that is written, whether or not the rest of the spec allows one.
fn written_lease(branch: &BranchSpec) -> Option<SignedDuration> {
    let lease = branch.lease.as_ref()?;
    duration("spec.branch.lease", &lease.0).ok()
}

/// The schema refuses what the spec itself excludes; here is what only the profile does.
fn lease_is_possible(
    spec: &NeonDatabaseSpec,
    branch: &BranchSpec,
    profile: &Profile,
) -> Result<(), Block> {
    let here = spec.environment.as_str();
    let refused = |why: String| Err(invalid(format!("spec.branch.lease: {why}")));
    if branch.protected.is_none() && profile.protected {
        return refused(format!(
            "a {here} is protected, and Neon allows no expiry on a protected branch: set spec.branch.protected to false"
        ));
    }
    if spec.deletion_policy.is_none() && profile.deletion_policy == DeletionPolicy::Retain {
        return refused(format!(
            "the deletion policy of a {here} is Retain, and Neon would delete the branch when nobody renews the lease: \
             set spec.deletionPolicy to Delete"
        ));
    }
    if branch.parent.is_none() && profile.takes_over_default {
        return refused(format!(
            "a {here} takes over the project's default branch, which Neon never lets expire: set spec.branch.parent"
        ));
    }
    Ok(())
}

fn max_age(
    spec: &NeonDatabaseSpec,
    branch: &BranchSpec,
    profile: &Profile,
) -> Result<Option<SignedDuration>, Block> {
    let protected = branch.protected.unwrap_or(profile.protected);
    let policy = spec.deletion_policy.unwrap_or(profile.deletion_policy);
    let takes_over =
        branch.existing.is_some() || (branch.parent.is_none() && profile.takes_over_default);
    let excluded = [
        (protected, "is protected", "spec.branch.protected to false"),
        (
            policy == DeletionPolicy::Retain,
            "is retained",
            "spec.deletionPolicy to Delete",
        ),
        (takes_over, "takes over a branch", "spec.branch.parent"),
    ];
    let excluded = excluded.into_iter().find(|(holds, _, _)| *holds);
    match (branch.max_age.as_ref().map(|age| age.0.as_str()), excluded) {
        // the profile's gives way to what excludes it
        (Some("never"), _) | (None, Some(_)) => Ok(None),
        (Some(_), Some((_, what, way_out))) => {
            let here = spec.environment.as_str();
            Err(invalid(format!(
                "spec.branch.maxAge: this {here} {what}, and a branch that reaches its maxAge is deleted: set {way_out}"
            )))
        }
        (Some(text), None) => duration("spec.branch.maxAge", text).map(Some),
        (None, None) => Ok(profile.max_age),
    }
}

fn compute(spec: &NeonDatabaseSpec, profile: &Profile) -> Result<Compute, Block> {
    let asked = spec.compute.clone().unwrap_or_default();
    let suspend_after = suspend_after("spec.compute.suspendAfter", asked.suspend_after.as_ref())?;
    Ok(Compute {
        units: Setting::of(asked.min_cu.zip(asked.max_cu), profile.compute_units),
        suspend_after: Setting::of(suspend_after, profile.suspend_after),
        settings: asked.settings,
    })
}

fn replicas(spec: &NeonDatabaseSpec) -> Result<Vec<Replica>, Block> {
    let asked = spec.compute.iter().flat_map(|asked| &asked.read_replicas);
    let replica = |asked: &ReadReplicaSpec| {
        let field = format!("spec.compute.readReplicas[{}].suspendAfter", asked.name);
        Ok(Replica {
            name: asked.name.0.clone(),
            units: asked.min_cu.zip(asked.max_cu),
            suspend_after: suspend_after(&field, asked.suspend_after.as_ref())?,
        })
    };
    asked.map(replica).collect()
}

fn suspend_after(
    field: &str,
    asked: Option<&api::SuspendAfter>,
) -> Result<Option<SuspendAfter>, Block> {
    Ok(match asked.map(api::SuspendAfter::as_str) {
        None => None,
        Some("never") => Some(SuspendAfter::Never),
        Some("default") => Some(SuspendAfter::Default),
        Some(text) => Some(SuspendAfter::Seconds(duration(field, text)?.as_secs())),
    })
}

/// The moment of the parent's past to fork from. The schema has checked the form, but not whether there is such a day.
pub fn moment(at: &ParentMoment) -> Result<Moment, Block> {
    match (&at.time, &at.lsn) {
        (Some(time), _) => time
            .parse()
            .map(Moment::Time)
            .map_err(|_| invalid(format!("spec.branch.parent.at.time: {time} is not a time"))),
        (None, Some(lsn)) => Ok(Moment::Lsn(lsn.clone())),
        (None, None) => Err(invalid(
            "spec.branch.parent.at: neither time nor lsn is set",
        )),
    }
}

/// `90s`, `5m`, `72h`, `14d`: the schema has checked the form, so only what is too long for arithmetic is left.
fn duration(field: &str, text: &str) -> Result<SignedDuration, Block> {
    time_span(text).ok_or_else(|| {
        invalid(format!(
            "{field}: {text} is not a length of time such as 90s, 5m, 72h or 14d"
        ))
    })
}

/// A spec that cannot be carried out as it stands.
pub fn invalid(message: impl Into<String>) -> Block {
    Block {
        reason: Reason::InvalidSpec,
        message: message.into(),
    }
}

#[cfg(test)]
mod tests;
