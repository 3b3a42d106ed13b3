//! What to do next about a NeonDatabase. Pure and total: `decide` takes what is asked, what is known and the time, and
//! answers one thing.
//!
//! The first row that applies is the answer.
//!
//! | # | asked and known | answer |
//! |---|---|---|
//! | 1 | being deleted | see [`super::deletion`] |
//! | 2 | suspended, no branch recorded | Suspended |
//! | 3 | the spec cannot be carried out | Blocked InvalidSpec |
//! | 4 | our finalizer is missing | AddFinalizer |
//! | 5 | no key; key refused; project unknown | Wait KeyNotFound; Blocked KeyRefused; Blocked ProjectNotFound |
//! | 6 | operations running; all of them ended | Wait OperationsRunning; ForgetOperations |
//! | 7 | nothing resolved yet: parent clear; not clear | Resolve; Blocked ParentRequired |
//! |   | resolved, but renamed before the branch was made | Resolve |
//! | 8 | no branch recorded: a branch bears our mark | ClaimBranch |
//! | 9 | … to take over: missing; somebody else's; free | Blocked BranchNotFound; Blocked BranchClaimed; ClaimBranch |
//! | 10 | … own: name taken; parent missing or not ready; else | Blocked BranchNameConflict; Wait; CreateBranch |
//! | 11 | branch recorded but gone: just made; suspended; disposable; else | Wait; Suspended; ForgetBranch; Blocked BranchMissing |
//! | 12 | an older object holds the same branch | Blocked BranchClaimed |
//! | 13 | another incarnation than recorded | RecordIncarnation |
//! | 14 | branch being made | Wait OperationsRunning |
//! | 15 | lease due or not wanted | RenewLease, EndLease |
//! | 16 | suspended | Suspended |
//! | 17 | protection differs | Protect |
//! | 18 | a migration is at work and something is left to do | Wait MigrationRunning |
//! | 19 | endpoint missing; being made; not as asked | CreateEndpoint; Wait; ResizeCompute |
//! | 20 | contents not as asked: owner, database missing | CreateRole; RecordDatabase, CreateDatabase |
//! | 21 | … a database owned by another role than asked, or by an application role | Blocked DatabaseRejected |
//! | 22 | … passwords still the parent's | ResetPassword, RetireLogins |
//! | 23 | … else | PrepareContents |
//! | 24 | a Secret of that name is somebody else's | Blocked SecretConflict |
//! | 25 | a Secret missing or not current | PublishCredentials |
//! | 26 | a Secret is out that is no longer asked for | WithdrawSecret |
//! | 27 | else | Settled |

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::action::Action;
use super::deletion;
use super::desired::{Desired, Rest, SuspendAfter};
use super::observe::{Key, Observed};
use crate::api::{BranchStatus, Credentials, Effective, ExistingBranch, ParentBranch, Reason};
use crate::neon::{Branch, BranchState, Endpoint, EndpointState};
use crate::reconcile::{Block, Decision, Fact, Wait};

/// How soon to look again at something Neon is busy with.
const SOON: Duration = Duration::from_millis(500);

/// How soon to look again at something that other objects have to bring about; they also wake us.
pub const LATER: Duration = Duration::from_secs(15);

/// How soon to look again at something that a person has to change.
const RECHECK: Duration = Duration::from_mins(5);

/// A branch that was made this recently may be missing from a listing that lags behind.
const LISTING_LAG: SignedDuration = SignedDuration::from_secs(60);

/// A lease is renewed when this much of it has passed, or half of it where it is shorter.
const LEASE_RENEWAL: SignedDuration = SignedDuration::from_hours(24);

type Next = Decision<Action>;

/// One stage of the table: `Some` is the answer, `None` leaves it to the next.
type Stage = Option<Next>;

/// Chooses the next thing to do.
#[must_use]
pub fn decide(desired: &Desired, observed: &Observed, now: Timestamp) -> Next {
    if desired.deleting {
        return deletion::decide(desired, observed);
    }
    if desired.suspend && observed.recorded.branch.is_none() {
        return Decision::Suspended(RECHECK);
    }
    let rest = match &desired.rest {
        Ok(rest) => rest,
        Err(block) => return Decision::Blocked(block.clone()),
    };
    if !desired.has_finalizer {
        return Decision::Act(Action::AddFinalizer);
    }
    access(observed)
        .or_else(|| operations(observed))
        .or_else(|| resolve(desired, observed))
        .or_else(|| branch(desired, rest, observed, now))
        .unwrap_or(Decision::Settled(observed.interval))
}

/// Row 5.
fn access(observed: &Observed) -> Stage {
    match &observed.key {
        Key::Good => None,
        Key::Missing(message) => Some(wait(Reason::KeyNotFound, message, LATER)),
        Key::Refused(message) => Some(block(Reason::KeyRefused, message)),
        Key::NoProject(message) => Some(block(Reason::ProjectNotFound, message)),
    }
}

/// Row 6.
fn operations(observed: &Observed) -> Stage {
    if observed.operations.is_empty() {
        return None;
    }
    let running: Vec<&str> = observed
        .operations
        .iter()
        .filter(|o| !o.ended)
        .map(|o| o.action.as_str())
        .collect();
    if running.is_empty() {
        return Some(Decision::Act(Action::ForgetOperations));
    }
    Some(wait(
        Reason::OperationsRunning,
        format!("Neon is at work: {}", running.join(", ")),
        SOON,
    ))
}

/// Row 7.
fn resolve(desired: &Desired, observed: &Observed) -> Stage {
    if let Some(effective) = &observed.recorded.effective {
        return rename(desired, observed, effective);
    }
    let existing = desired.existing.clone().or_else(|| {
        (desired.profile.takes_over_default && desired.parent.is_none()).then_some(ExistingBranch {
            default: Some(true),
            name: None,
            id: None,
        })
    });
    let parent = match (&existing, &desired.parent) {
        (Some(_), _) => None,
        (None, Some(parent)) => Some(parent.clone()),
        (None, None) => match default_parent(desired, observed) {
            Ok(parent) => Some(parent),
            Err(blocked) => return Some(Decision::Blocked(blocked)),
        },
    };
    Some(Decision::Act(Action::Resolve(Effective {
        branch_name: existing.is_none().then(|| desired.branch_name.clone()),
        existing,
        parent,
        deletion_policy: desired.profile.deletion_policy,
    })))
}

/// A branch that does not exist yet takes the name that the spec has by now.
fn rename(desired: &Desired, observed: &Observed, effective: &Effective) -> Stage {
    let name = effective.branch_name.as_ref()?;
    let renamed = observed.recorded.branch.is_none() && *name != desired.branch_name;
    renamed.then(|| {
        Decision::Act(Action::Resolve(Effective {
            branch_name: Some(desired.branch_name.clone()),
            ..effective.clone()
        }))
    })
}

/// The only object of the environment that the profile names, never a guess.
fn default_parent(desired: &Desired, observed: &Observed) -> Result<ParentBranch, Block> {
    let here = desired.environment.as_str();
    let blocked = |message: String| Block {
        reason: Reason::ParentRequired,
        message,
    };
    let Some(parent) = desired.profile.parent else {
        return Err(blocked(format!(
            "a {here} needs a parent: set spec.branch.parent"
        )));
    };
    let of = parent.as_str();
    match observed.candidates.as_slice() {
        [only] => Ok(ParentBranch {
            database_ref: Some(crate::api::DatabaseRef {
                name: only.as_str().into(),
            }),
            branch_name: None,
        }),
        [] => Err(blocked(format!(
            "there is no {of} object of project {} in this namespace to fork from: create one or set spec.branch.parent",
            desired.project
        ))),
        many => Err(blocked(format!(
            "more than one {of} object could be the parent ({}): set spec.branch.parent",
            many.join(", ")
        ))),
    }
}

/// Rows 8 to 27.
fn branch(desired: &Desired, rest: &Rest, observed: &Observed, now: Timestamp) -> Stage {
    let recorded = match (&observed.recorded.branch, &observed.branch) {
        (None, _) => return Some(first_branch(desired, observed)),
        (Some(recorded), Fact::Absent) => return Some(missing(desired, recorded, now)),
        (Some(_), Fact::Unknown) => {
            return Some(wait(
                Reason::NeonUnavailable,
                "the branch could not be looked up",
                LATER,
            ));
        }
        (Some(recorded), Fact::Known(_)) => recorded,
    };
    let branch = observed.branch.known()?;
    if let Some(rival) = &observed.older_rival {
        return Some(block(
            Reason::BranchClaimed,
            format!("the branch {} belongs to {rival}", branch.name),
        ));
    }
    if observed.incarnation() != Some(recorded.incarnation.clone()) {
        return Some(Decision::Act(Action::RecordIncarnation));
    }
    if matches!(
        branch.current_state,
        BranchState::Init | BranchState::Resetting
    ) {
        return Some(wait(
            Reason::OperationsRunning,
            format!("the branch {} is being made", branch.name),
            SOON,
        ));
    }
    lease(rest, recorded, branch, now)
        .or_else(|| desired.suspend.then_some(Decision::Suspended(RECHECK)))
        .or_else(|| protection(rest, branch))
        .or_else(|| {
            let next = inside(rest, observed, recorded)?;
            let busy = matches!(next, Decision::Act(_)) && !observed.branch_free;
            let message = "a migration is at work on this branch";
            Some(if busy {
                wait(Reason::MigrationRunning, message, LATER)
            } else {
                next
            })
        })
}

/// Rows 8 to 10: which branch is to be ours.
fn first_branch(desired: &Desired, observed: &Observed) -> Next {
    if let Some(marked) = &observed.marked {
        return Decision::Act(Action::ClaimBranch(marked.clone()));
    }
    let Some(effective) = &observed.recorded.effective else {
        return wait(Reason::Progressing, "nothing is resolved yet", SOON);
    };
    if let Some(existing) = &effective.existing {
        return take_over(existing, observed);
    }
    let name = effective
        .branch_name
        .as_deref()
        .unwrap_or(&desired.branch_name);
    if let Some(other) = &observed.named {
        let message = format!(
            "a branch named {name} exists ({}) and was not made by this object: choose another spec.branch.name, or make \
             the object anew with spec.branch.existing to take that branch over",
            other.id
        );
        return block(Reason::BranchNameConflict, message);
    }
    match &observed.parent {
        Fact::Unknown => wait(
            Reason::NeonUnavailable,
            "the parent could not be looked up",
            LATER,
        ),
        Fact::Absent => wait(Reason::ParentNotFound, parent_missing(effective), LATER),
        Fact::Known(parent) => match &parent.branch {
            Some(id) if parent.ready => Decision::Act(Action::CreateBranch(id.clone())),
            Some(_) | None => wait(
                Reason::ParentNotReady,
                format!("the parent {} is not ready", parent.name),
                LATER,
            ),
        },
    }
}

fn parent_missing(effective: &Effective) -> String {
    let parent = effective.parent.as_ref();
    let object = parent
        .and_then(|p| p.database_ref.as_ref())
        .map(|r| format!("NeonDatabase {}", r.name));
    let named = parent
        .and_then(|p| p.branch_name.as_ref())
        .map(|name| format!("branch {name}"));
    format!(
        "the parent {} does not exist",
        object.or(named).unwrap_or_default()
    )
}

fn take_over(existing: &ExistingBranch, observed: &Observed) -> Next {
    let named = match existing {
        ExistingBranch {
            name: Some(name), ..
        } => format!("named {name}"),
        ExistingBranch { id: Some(id), .. } => format!("with id {id}"),
        ExistingBranch { .. } => "that is the project's default".to_owned(),
    };
    match &observed.existing {
        Fact::Unknown => wait(
            Reason::NeonUnavailable,
            "the branch could not be looked up",
            LATER,
        ),
        Fact::Absent => block(
            Reason::BranchNotFound,
            format!(
                "spec.branch.existing: the project has no branch {named}; it is taken over once there is one"
            ),
        ),
        Fact::Known(found) => match &found.holder {
            Some(holder) => block(
                Reason::BranchClaimed,
                format!("the branch {named} belongs to {holder}"),
            ),
            None => Decision::Act(Action::ClaimBranch(found.branch.clone())),
        },
    }
}

/// Row 11.
fn missing(desired: &Desired, recorded: &BranchStatus, now: Timestamp) -> Next {
    let (id, name) = (&recorded.id, &recorded.name);
    if now.duration_since(recorded.created_time.0) < LISTING_LAG {
        return wait(
            Reason::OperationsRunning,
            format!("the new branch {name} is not listed yet"),
            SOON,
        );
    }
    if desired.suspend {
        return Decision::Suspended(RECHECK);
    }
    if desired.profile.recreate && !recorded.taken_over {
        return Decision::Act(Action::ForgetBranch);
    }
    let message = format!(
        "the branch {name} ({id}) was deleted outside of this object; it is not made again by itself"
    );
    block(Reason::BranchMissing, message)
}

/// Row 15. Works while suspended, too: a lease that runs out would destroy the branch.
fn lease(rest: &Rest, recorded: &BranchStatus, branch: &Branch, now: Timestamp) -> Stage {
    if recorded.taken_over {
        return None;
    }
    match (rest.lease, branch.expires_at) {
        (None, None) => None,
        (None, Some(_)) => Some(Decision::Act(Action::EndLease)),
        (Some(lease), None) => Some(Decision::Act(Action::RenewLease(lease))),
        (Some(lease), Some(expiry)) => {
            let passed = lease - expiry.duration_since(now);
            let renewal = LEASE_RENEWAL.min(lease / 2);
            // far too late an expiry is that of a longer lease that was asked for before
            let due = passed >= renewal || passed < -renewal;
            due.then_some(Decision::Act(Action::RenewLease(lease)))
        }
    }
}

/// Row 17. Protection is raised by itself and lowered only where the spec says so.
fn protection(rest: &Rest, branch: &Branch) -> Stage {
    let wanted = rest.protected;
    let differs = wanted.value != branch.protected && (wanted.value || wanted.explicit);
    differs.then_some(Decision::Act(Action::Protect(wanted.value)))
}

/// Rows 19 to 26.
fn inside(rest: &Rest, observed: &Observed, recorded: &BranchStatus) -> Stage {
    compute(rest, observed)
        .or_else(|| contents(rest, observed, recorded))
        .or_else(|| secrets(rest, observed))
}

/// Row 19.
fn compute(rest: &Rest, observed: &Observed) -> Stage {
    let endpoint = match &observed.endpoint {
        Fact::Unknown => {
            return Some(wait(
                Reason::NeonUnavailable,
                "the endpoint could not be looked up",
                LATER,
            ));
        }
        Fact::Absent => return Some(Decision::Act(Action::CreateEndpoint)),
        Fact::Known(endpoint) => endpoint,
    };
    if matches!(endpoint.current_state, EndpointState::Init) {
        return Some(wait(
            Reason::OperationsRunning,
            format!("the endpoint {} is being made", endpoint.id),
            SOON,
        ));
    }
    let as_asked = is_size(endpoint, rest.compute_units)
        && rest.suspend_after.is(endpoint.suspend_timeout_seconds);
    // what Neon stores instead of what was sent is shown, never fought over
    let sent = observed
        .recorded
        .endpoint
        .as_ref()
        .and_then(|e| e.requested.as_deref());
    let ask = requested(rest.compute_units, rest.suspend_after);
    (!as_asked && sent != Some(ask.as_str())).then_some(Decision::Act(Action::ResizeCompute))
}

/// How a size and suspend time that were sent to Neon are recorded.
#[must_use]
pub fn requested((min, max): (f64, f64), suspend: SuspendAfter) -> String {
    format!("{min}-{max} CU, suspend {}", suspend.seconds())
}

fn is_size(endpoint: &Endpoint, (min, max): (f64, f64)) -> bool {
    let same = |a: f64, b: f64| (a - b).abs() < 0.01;
    same(endpoint.autoscaling_limit_min_cu, min) && same(endpoint.autoscaling_limit_max_cu, max)
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
                let (name, actual) = (&wanted.name, &present.owner_name);
                let message = format!(
                    "spec.databases[{name}].owner: the database exists and is owned by {actual}, not by {owner}; leave owner out, or name {actual}"
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
    match &observed.shared_passwords {
        Fact::Unknown => unknown(),
        Fact::Known(shared) => Some(Decision::Act(match shared.first() {
            Some(role) => Action::ResetPassword(role.clone()),
            None => Action::RetireLogins,
        })),
        Fact::Absent => Some(Decision::Act(Action::RetireLogins)),
    }
}

/// Rows 24 to 26.
fn secrets(rest: &Rest, observed: &Observed) -> Stage {
    for wanted in &rest.secrets {
        match observed.secrets.get(&wanted.name) {
            Some(Fact::Known(found)) if !found.ours => {
                let name = &wanted.name;
                let message = format!(
                    "a Secret named {name} exists and was not published by this object: delete that one, or choose another name in spec.connectionSecrets"
                );
                return Some(block(Reason::SecretConflict, message));
            }
            Some(Fact::Known(_) | Fact::Absent | Fact::Unknown) | None => {}
        }
    }
    let stale = rest
        .secrets
        .iter()
        .find(|wanted| !observed.current_secrets.contains(&wanted.name));
    if let Some(stale) = stale {
        return Some(Decision::Act(Action::PublishCredentials(
            stale.role.clone(),
        )));
    }
    let wanted = |name: &str| rest.secrets.iter().any(|secret| secret.name == name);
    let gone = observed
        .recorded
        .connection_secrets
        .iter()
        .find(|secret| !wanted(&secret.name))?;
    Some(Decision::Act(Action::WithdrawSecret(gone.name.clone())))
}

pub(super) fn wait(reason: Reason, message: impl Into<String>, after: Duration) -> Next {
    Decision::Wait(Wait {
        reason,
        message: message.into(),
        after,
    })
}

pub(super) fn block(reason: Reason, message: impl Into<String>) -> Next {
    Decision::Blocked(Block {
        reason,
        message: message.into(),
    })
}

#[cfg(test)]
mod tests;
