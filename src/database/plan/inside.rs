//! Compute, contents and credentials: rows 19 to 26. Pure.

use std::time::Duration;

use jiff::Timestamp;

use super::{Action, LATER, Next, Stage, block, wait};
use crate::api::{BranchStatus, ConnectionSecretStatus, Credentials, Reason};
use crate::database::deletion::deletes;
use crate::database::desired::{Desired, Rest, WantedSecret};
use crate::database::inherit::Heritage;
use crate::database::observe::{ENDPOINT_IN_MOTION, Observed};
use crate::database::password::Problem;
use crate::database::replicas;
use crate::database::rotation::{self, Step};
use crate::database::start;
use crate::reconcile::{Decision, Fact};

/// How soon to look again for a password: its Secret is read once a minute and no more.
const PASSWORDS: Duration = Duration::from_mins(1);

/// How soon to try again for a compute that Neon may not run.
const COMPUTES: Duration = Duration::from_mins(1);

/// Rows 19 to 26.
pub(super) fn inside(
    desired: &Desired,
    rest: &Rest,
    observed: &Observed,
    recorded: &BranchStatus,
    now: Timestamp,
) -> Stage {
    endpoint(rest, observed)
        .or_else(|| replicas_to_change(rest, observed))
        .or_else(|| heritage(desired))
        .or_else(|| contents(rest, observed, recorded))
        .or_else(|| late_schemas(observed))
        .or_else(|| old_logins(rest, observed, now))
        .or_else(|| held_wrong(desired, observed))
        .or_else(|| secrets(desired, rest, observed))
        .or_else(|| new_logins(rest, observed, now))
        .or_else(|| unpublished(rest, observed))
        .or_else(|| refused_databases(desired))
        .or_else(|| refused_settings(desired))
        .or_else(|| replicas_to_drop(rest, observed, recorded))
        .or_else(|| refused_replicas(rest, observed))
}

/// Row 19.
fn endpoint(rest: &Rest, observed: &Observed) -> Stage {
    let endpoint = match &observed.endpoint {
        Fact::Unknown => {
            return Some(wait(
                Reason::NeonUnavailable,
                "the endpoint could not be looked up",
                LATER,
            ));
        }
        Fact::Absent => return Some(unless_refused(observed, Action::CreateEndpoint)),
        Fact::Known(endpoint) => endpoint,
    };
    if endpoint.is_being_made() {
        return Some(wait(
            Reason::OperationsRunning,
            format!("the endpoint {} is being made", endpoint.id),
            ENDPOINT_IN_MOTION,
        ));
    }
    if observed.compute_is_due(rest) {
        return Some(unless_refused(observed, Action::ResizeCompute));
    }
    start::standstill(rest, &observed.recorded).map(Decision::Blocked)
}

fn changes<'a>(rest: &'a Rest, observed: &'a Observed) -> impl Iterator<Item = Action> + 'a {
    let recorded = &observed.recorded.read_replicas;
    replicas::changes(&rest.replicas, &observed.replicas, recorded)
}

/// Row 19: those that Neon refuses hold nothing else up.
fn replicas_to_change(rest: &Rest, observed: &Observed) -> Stage {
    let is_possible = |action: &Action| {
        observed.replica_refused.is_none() || matches!(action, Action::RecordReplica(_))
    };
    changes(rest, observed).find(is_possible).map(Decision::Act)
}

/// After row 26: no Secret leads to it any more.
fn replicas_to_drop(rest: &Rest, observed: &Observed, branch: &BranchStatus) -> Stage {
    let recorded = &observed.recorded.read_replicas;
    let left = replicas::left_over(
        &rest.replicas,
        &observed.replicas,
        recorded,
        branch.taken_over,
    )?;
    if observed
        .branch
        .known()
        .is_some_and(|branch| branch.protected)
    {
        let message = format!(
            "the read replica {} is no longer asked for, and Neon deletes none of a protected branch: set \
             spec.branch.protected to false for that time",
            left.id
        );
        return Some(block(Reason::BranchProtected, message));
    }
    Some(Decision::Act(Action::DeleteReplica(left.id.clone())))
}

/// Everything else is done.
fn refused_replicas(rest: &Rest, observed: &Observed) -> Stage {
    changes(rest, observed).next()?;
    observed.replica_refused.clone().map(Decision::Blocked)
}

/// What Neon has refused a short while ago is not asked again at every look.
fn unless_refused(observed: &Observed, action: Action) -> Next {
    match &observed.refused {
        Some(refused) => Decision::Blocked(refused.clone()),
        None => Decision::Act(action),
    }
}

/// Row 20: what is inside stays as it is while nobody can say what it should be.
fn heritage(desired: &Desired) -> Stage {
    let Heritage::Missing(parent) = &desired.heritage else {
        return None;
    };
    let message = format!(
        "databases and roles are those of NeonDatabase {parent}, which does not exist: create it, or list them in \
         spec.databases and spec.roles"
    );
    Some(wait(Reason::ParentNotFound, message, LATER))
}

/// Rows 20 to 23.
fn contents(rest: &Rest, observed: &Observed, recorded: &BranchStatus) -> Stage {
    if rest.databases.is_empty() || observed.contents_are_as_asked(rest) {
        return None;
    }
    let unknown = || {
        Some(wait(
            Reason::NeonUnavailable,
            "the contents of the branch could not be looked up",
            LATER,
        ))
    };
    let (Some(roles), Some(databases)) = (observed.api_roles.known(), observed.databases.known())
    else {
        return unknown();
    };
    for wanted in &rest.databases {
        let present = databases.iter().find(|d| d.name == wanted.name);
        match (present, &wanted.owner) {
            (Some(present), Some(owner)) if present.owner_name != *owner => {
                let (field, name) = (rest.database_field(&wanted.name), &wanted.name);
                let actual = &present.owner_name;
                let message = format!(
                    "{field}.owner: the database {name} exists and is owned by {actual}, not by {owner}; leave owner out, or name {actual}"
                );
                return Some(block(Reason::DatabaseRejected, message));
            }
            (Some(present), _) if rest.roles.iter().any(|r| r.name == present.owner_name) => {
                let (name, owner) = (&wanted.name, &present.owner_name);
                let message = format!(
                    "spec.roles: {owner} owns the database {name}; an application role cannot be an owner"
                );
                return Some(block(Reason::DatabaseRejected, message));
            }
            (Some(_), _) => {}
            (None, _) => {
                let owner = wanted.owner_if_new();
                if !roles.contains(&owner) {
                    return Some(Decision::Act(Action::CreateRole(owner)));
                }
                let intended = observed
                    .recorded
                    .databases
                    .iter()
                    .any(|d| d.name == wanted.name && d.created);
                let (name, owner) = (wanted.name.clone(), owner);
                return Some(Decision::Act(if intended {
                    Action::CreateDatabase { name, owner }
                } else {
                    Action::RecordDatabase { name, owner }
                }));
            }
        }
    }
    if recorded.credentials == Credentials::Own {
        return Some(Decision::Act(Action::PrepareContents));
    }
    if let Some(message) = &observed.no_compute {
        return Some(wait(Reason::LimitReached, message, COMPUTES));
    }
    match &observed.shared_passwords {
        Fact::Unknown => unknown(),
        Fact::Known(shared) => Some(Decision::Act(match shared.first() {
            Some(role) => Action::ResetPassword(role.clone()),
            None => Action::RetireLogins,
        })),
        Fact::Absent => Some(Decision::Act(Action::RetireLogins)),
    }
}

/// Row 23, later on: a schema that was missing may have come with what migrations have applied since.
fn late_schemas(observed: &Observed) -> Stage {
    let mut missing = observed
        .recorded
        .databases
        .iter()
        .filter_map(|database| database.missing_schemas.as_ref());
    missing
        .any(|missing| missing.applied_files != observed.applied_files)
        .then_some(Decision::Act(Action::PrepareContents))
}

/// Row 24: whatever becomes of Secrets, a login has no more time than it was given.
fn old_logins(rest: &Rest, observed: &Observed, now: Timestamp) -> Stage {
    rotation::steps(rest, &observed.recorded, now).find_map(|(role, step)| match step {
        Step::DropPrevious(login) => Some(Decision::Act(Action::DropLogin {
            role: role.name.clone(),
            login,
        })),
        Step::Replace | Step::Rest(_) => None,
    })
}

/// Row 26: everything that is published works and is recorded, so another login may be begun.
fn new_logins(rest: &Rest, observed: &Observed, now: Timestamp) -> Stage {
    rotation::steps(rest, &observed.recorded, now).find_map(|(role, step)| match step {
        Step::Replace => Some(Decision::Act(Action::ReplaceLogin(role.name.clone()))),
        Step::DropPrevious(_) | Step::Rest(_) => None,
    })
}

/// A role whose Secrets are all as they should be while the record knows less, as after a crash between the two.
fn unrecorded(rest: &Rest, observed: &Observed) -> Option<String> {
    let recorded = &observed.recorded;
    let current = rest
        .secrets
        .iter()
        .filter(|secret| observed.current_secrets.contains(&secret.name));
    let behind = |secret: &&WantedSecret| {
        let role = recorded.roles.iter().find(|role| role.name == secret.role);
        let entry = recorded
            .connection_secrets
            .iter()
            .find(|entry| entry.name == secret.name);
        role.is_some_and(|role| {
            role.rotation_time.is_none()
                || entry.is_none_or(|entry| Some(&entry.login) != role.login.as_ref())
        })
    };
    current
        .filter(behind)
        .map(|secret| secret.role.clone())
        .next()
}

/// Row 26: what keeps one Secret from coming out keeps no other back.
fn unpublished(rest: &Rest, observed: &Observed) -> Stage {
    let mut names = rest.secrets.iter().map(|secret| &secret.name);
    if let Some(why) = names.find_map(|name| observed.taken.get(name)) {
        return Some(block(Reason::SecretConflict, why));
    }
    Some(match observed.password_problems.values().next()? {
        Problem::Missing(message) => wait(Reason::PasswordNotFound, message, PASSWORDS),
        Problem::Weak(message) => block(Reason::PasswordRejected, message),
    })
}

/// Row 26.
fn refused_databases(desired: &Desired) -> Stage {
    let mut refused = desired.left_out.databases.values();
    refused.next().cloned().map(Decision::Blocked)
}

/// Row 25: what an object owns goes with it, before the object itself where it is deleted in the foreground.
fn held_wrong(desired: &Desired, observed: &Observed) -> Stage {
    if observed.held_wrong.is_empty() {
        return None;
    }
    let names = observed.held_wrong.iter().cloned().collect();
    Some(Decision::Act(if deletes(desired, &observed.recorded) {
        Action::OwnSecrets(names)
    } else {
        Action::KeepSecrets(names)
    }))
}

/// Row 26: the compute goes on with what it has.
fn refused_settings(desired: &Desired) -> Stage {
    let mut refused = desired.left_out.settings.values();
    refused.next().cloned().map(Decision::Blocked)
}

/// Rows 25 and 26.
fn secrets(desired: &Desired, rest: &Rest, observed: &Observed) -> Stage {
    let stale = rest
        .secrets
        .iter()
        .filter(|wanted| !observed.is_held_back(&wanted.name))
        .filter(|wanted| !observed.is_somebody_elses(&wanted.name))
        .filter(|wanted| !observed.password_problems.contains_key(&wanted.role))
        .find(|wanted| !observed.current_secrets.contains(&wanted.name));
    if let Some(stale) = stale {
        return Some(Decision::Act(Action::PublishCredentials(
            stale.role.clone(),
        )));
    }
    if let Some(role) = unrecorded(rest, observed) {
        return Some(Decision::Act(Action::RecordLogin(role)));
    }
    let left_out = &desired.left_out.secrets;
    let wanted = |name: &str| {
        let mut secrets = rest.secrets.iter().map(|secret| &secret.name);
        secrets.any(|wanted| wanted == name) || left_out.iter().any(|wanted| wanted == name)
    };
    // what is to take its place may not come out yet, and applications go on with what they have
    let may_go = |out: &&ConnectionSecretStatus| {
        let mut secrets = rest.secrets.iter();
        !secrets.any(|secret| {
            secret.role == out.role && !observed.current_secrets.contains(&secret.name)
        })
    };
    let out = observed.recorded.connection_secrets.iter();
    let gone: Vec<String> = out
        .filter(|secret| !wanted(&secret.name))
        .filter(may_go)
        .map(|secret| secret.name.clone())
        .collect();
    (!gone.is_empty()).then_some(Decision::Act(Action::WithdrawSecrets(gone)))
}
