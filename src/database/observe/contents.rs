//! What is inside of the branch and under the names of its Secrets. Changes nothing.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use secrecy::{ExposeSecret, SecretString};

use super::Observed;
use crate::api::{ConditionType, Credentials};
use crate::cluster::Glance;
use crate::database::Databases;
use crate::database::checked::Look;
use crate::database::credentials::{Form, Found, password_in};
use crate::database::desired::{Desired, Rest};
use crate::database::given::Given;
use crate::database::start;
use crate::neon::{BranchId, ErrorKind, NeonApi, ProjectId, ProjectSnapshot};
use crate::postgres::{self, Target};
use crate::reconcile::{Error, Fact};
use crate::world::{at_cluster, at_neon, at_postgres};

/// Roles and databases, and which passwords are still the parent's; only while something is left to be done inside.
pub(super) async fn contents(
    kind: &Databases,
    api: &dyn NeonApi,
    project: &ProjectId,
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
    // one that is archived is brought back by whoever connects, and a state that we do not know is Neon's to judge
    let usable = !branch.is_unusable() && observed.endpoint.known().is_some();
    if !idle || !usable || rest.databases.is_empty() || observed.contents_are_as_asked(rest) {
        return Ok(());
    }
    if observed.compute_is_due(rest) || start::standstill(rest, &observed.recorded).is_some() {
        // as it is, it may not even start
        return Ok(());
    }
    let id = branch.id.clone();
    let inherited = recorded.credentials == Credentials::Inherited;
    let parent = branch.parent_id.as_ref().and_then(|id| listing.branch(id));
    let roles = api.roles(project, &id).await.map_err(at_neon)?;
    let roles: Vec<String> = roles.into_iter().map(|role| role.name).collect();
    observed.databases = Fact::Known(api.databases(project, &id).await.map_err(at_neon)?);
    observed.api_roles = Fact::Known(roles.iter().cloned().collect());
    if inherited && !observed.lacks_databases(rest) {
        let past = of_the_past(observed);
        // children of a protected branch get passwords of their own from Neon
        let handed_on = parent.is_some_and(|parent| !parent.protected);
        if past || handed_on {
            let own = &recorded.own_passwords;
            let not_own = roles.iter().filter(|role| !own.contains(role));
            let old = first_with_password(api, project, &id, not_own).await?;
            if past || old.is_some() {
                observed.shared_passwords = Fact::Known(old.into_iter().collect());
                return Ok(());
            }
        }
        let Some(parent) = parent else {
            observed.shared_passwords = Fact::Absent;
            return Ok(());
        };
        let passwords = passwords(api, project, &id, &parent.id, roles).await?;
        match shared_passwords(kind, rest, observed, &passwords).await {
            // everything else is known, and told
            Err(error) if error.part == Some(ConditionType::ComputeReady) => {
                observed.no_compute = Some(error.message);
            }
            shared => observed.shared_passwords = shared?,
        }
    }
    Ok(())
}

/// A role of Neon's that the branch and its parent have, with its password on each.
struct Passwords {
    role: String,
    here: SecretString,
    there: SecretString,
}

async fn passwords(
    api: &dyn NeonApi,
    project: &ProjectId,
    child: &BranchId,
    parent: &BranchId,
    roles: Vec<String>,
) -> Result<Vec<Passwords>, Error> {
    let theirs = api.roles(project, parent).await.map_err(at_neon)?;
    let mut both = Vec::new();
    for role in roles {
        if !theirs.iter().any(|other| other.name == role) {
            continue;
        }
        let here = password(api, project, child, &role).await?;
        let there = password(api, project, parent, &role).await?;
        if let (Some(here), Some(there)) = (here, there) {
            both.push(Passwords { role, here, there });
        }
    }
    Ok(both)
}

/// Roles whose password is the parent's, found by trying: no clock and no record can be wrong. Neon tells a new password
/// before it is valid, and until then, or for good where that fails, the compute takes the one before.
async fn shared_passwords(
    kind: &Databases,
    rest: &Rest,
    observed: &Observed,
    passwords: &[Passwords],
) -> Result<Fact<Vec<String>>, Error> {
    let told = passwords
        .iter()
        .filter(|both| both.here.expose_secret() == both.there.expose_secret());
    let mut shared: Vec<String> = told.map(|both| both.role.clone()).collect();
    let endpoint = observed.endpoint.known();
    let (Some(endpoint), Some(database)) = (endpoint, rest.databases.first()) else {
        return Ok(Fact::Unknown);
    };
    if endpoint.is_being_made() {
        return Ok(Fact::Unknown);
    }
    if shared.is_empty() {
        for both in passwords {
            let settings = &kind.world.settings;
            let password = both.there.expose_secret().into();
            let target = settings.target(&endpoint.host, &database.name, &both.role, password);
            if opens(kind, &target).await? {
                shared.push(both.role.clone());
            }
        }
    }
    Ok(Fact::Known(shared))
}

/// Whether the server lets somebody in with this password, be it only to say that this database is not theirs.
async fn opens(kind: &Databases, target: &Target) -> Result<bool, Error> {
    match kind.world.contents.accepts(target).await {
        Ok(accepted) => Ok(accepted),
        Err(error) if error.class == postgres::Class::Denied => Ok(true),
        Err(error) => Err(at_postgres(error)),
    }
}

/// Whether the branch was forked from a moment of its parent's past.
fn of_the_past(observed: &Observed) -> bool {
    let effective = observed.recorded.effective.as_ref();
    let parent = effective.and_then(|effective| effective.parent.as_ref());
    parent.is_some_and(|parent| parent.at.is_some())
}

/// Of roles that were given no password since the branch was forked the first that has one: the parent's of then, which may
/// have been replaced there since, so that asking the parent would not tell: the record does.
async fn first_with_password(
    api: &dyn NeonApi,
    project: &ProjectId,
    branch: &BranchId,
    roles: impl Iterator<Item = &String> + Send,
) -> Result<Option<String>, Error> {
    for role in roles {
        if password(api, project, branch, role).await?.is_some() {
            return Ok(Some(role.clone()));
        }
    }
    Ok(None)
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

/// Which Secrets are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Looks {
    /// All of them.
    AtAll,
    /// Up to the first that has something left to be done about.
    AtOnce,
    /// The same, of those whose turn it is: the object says that they were as they should be.
    InTurn,
}

/// What lies under the names of the Secrets that are wanted or recorded: of all of them, or up to the first that has
/// something left to be done about.
pub(super) async fn secrets(
    kind: &Databases,
    desired: &Desired,
    observed: &mut Observed,
    looks: Looks,
    now: Timestamp,
) -> Result<(), Error> {
    let wanted = desired
        .rest
        .as_ref()
        .map(|rest| rest.secrets.clone())
        .unwrap_or_default();
    // in the order in which they are published
    let mut names: Vec<String> = wanted.iter().map(|secret| secret.name.clone()).collect();
    for recorded in &observed.recorded.connection_secrets {
        if !names.contains(&recorded.name) {
            names.push(recorded.name.clone());
        }
    }
    for name in names {
        let form = wanted
            .iter()
            .find(|secret| secret.name == name)
            .and_then(|secret| kind.form(desired, &observed.recorded, secret));
        let looked = match &form {
            Some(form) if !desired.deleting => {
                let is_out = observed
                    .recorded
                    .connection_secrets
                    .iter()
                    .any(|one| one.name == name);
                let settled = looks == Looks::InTurn && is_out;
                look(kind, desired, form, settled, now).await?
            }
            Some(_) | None => Looked::At(secret(kind, desired, &name).await?.into()),
        };
        let secret = match looked {
            Looked::At(secret) => *secret,
            Looked::Later(at) => {
                observed.next_look = Some(observed.next_look.map_or(at, |next| next.min(at)));
                observed.current_secrets.insert(name);
                continue;
            }
        };
        let published = secret.as_ref().and_then(password_in);
        let found = secret.map(|secret| Found::of(&secret, &desired.mark.name, &desired.uid));
        let mut current =
            matches!((&found, &form), (Some(found), Some(form)) if found.is_current(form));
        let mut usable = true;
        if let Some(form) = &form
            && !desired.deleting
        {
            current &= is_as_given(kind, desired, observed, &form.role, published, current).await?;
            usable = !observed.password_problems.contains_key(&form.role);
        }
        if let (Some(form), Some(found), true) = (&form, &found, current) {
            current = found.is_held_right(form);
            if current {
                kind.checked.remember(desired, form, now);
                observed.current_secrets.insert(name.clone());
            } else {
                observed.held_wrong.insert(name.clone());
            }
        }
        let is_wanted = wanted.iter().any(|secret| secret.name == name);
        if is_wanted
            && !desired.deleting
            && let Some(why) = kind.taken(desired, &name, found.as_ref())
        {
            observed.taken.insert(name.clone(), why);
        }
        observed.secrets.insert(name.clone(), found.into());
        // what waits for a password, or lies where another Secret is, keeps no other back
        usable &= !observed.is_somebody_elses(&name);
        let is_next = !current && looks != Looks::AtAll && usable && !observed.is_held_back(&name);
        if is_next {
            // reads are few: the others are looked at when this one is as it should be
            return Ok(());
        }
    }
    Ok(())
}

/// What came of looking at a Secret that is asked for.
enum Looked {
    /// This is there.
    At(Box<Option<Secret>>),
    /// It was as it should be, and it is not its turn yet.
    Later(Timestamp),
}

async fn look(
    kind: &Databases,
    desired: &Desired,
    form: &Form,
    settled: bool,
    now: Timestamp,
) -> Result<Looked, Error> {
    Ok(match kind.checked.look(desired, form, settled, now) {
        Look::At(at) => Looked::Later(at),
        Look::Again => {
            let (cluster, namespace) = (&kind.world.cluster, &desired.mark.namespace);
            let glance = cluster.glance_at_secret(namespace, &form.name).await;
            match glance.map_err(at_cluster)? {
                Glance::Seen(secret) => Looked::At(secret),
                Glance::NotNow => Looked::Later(kind.checked.put_off(desired, form, now)),
            }
        }
        Look::Now => Looked::At(secret(kind, desired, &form.name).await?.into()),
    })
}

pub(super) async fn secret(
    kind: &Databases,
    desired: &Desired,
    name: &str,
) -> Result<Option<Secret>, Error> {
    let (cluster, namespace) = (&kind.world.cluster, &desired.mark.namespace);
    cluster.secret(namespace, name).await.map_err(at_cluster)
}

/// Whether a published password is the one that a user gives for the role, where one does. It is read anew where nothing
/// else speaks against the Secret, which is every ten minutes or when somebody asks.
async fn is_as_given(
    kind: &Databases,
    desired: &Desired,
    observed: &mut Observed,
    role: &str,
    published: Option<SecretString>,
    anew: bool,
) -> Result<bool, Error> {
    let Some(role) = desired.role(role) else {
        return Ok(true);
    };
    Ok(match kind.given_password(desired, role, anew).await? {
        Given::Nothing => true,
        Given::Password(given) => {
            published.is_some_and(|published| published.expose_secret() == given.expose_secret())
        }
        Given::Problem(problem) => {
            let problems = &mut observed.password_problems;
            problems.insert(role.name.clone(), problem);
            false
        }
    })
}
