//! Whether Neon can be reached for the object, and what it says is going on. Changes nothing.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::{ENDPOINT_IN_MOTION, Key, Observed, branches, look_again_at};
use crate::api::{ConditionType, Reason, find_condition};
use crate::database::Databases;
use crate::database::desired::Desired;
use crate::database::plan::may_be_unlisted;
use crate::neon::{Account, Branch, BranchId, ProjectId, ProjectSnapshot};
use crate::reconcile::Error;
use crate::world::{Operation, Reached, Source, Way, at_neon};

/// The account of the object's key and the listing of its project; none where `observed.key` says why. Looks at the
/// operations that are waited for, too.
pub(super) async fn listing(
    kind: &Databases,
    desired: &Desired,
    source: &Source,
    observed: &mut Observed,
    now: Timestamp,
) -> Result<Option<(Arc<Account>, Arc<ProjectSnapshot>)>, Error> {
    let project = &source.project;
    let way = Way {
        project,
        key: &source.key,
        // while the namespace goes its Secrets may be gone already
        last_good: observed.namespace_going,
        field: match source.from {
            Some(_) => "spec.projectRef",
            None => "spec.projectId",
        },
    };
    let (account, listing) = match kind.world.reach(way, observed.interval, now).await? {
        Reached::Project(account, listing) => (account, listing),
        Reached::NoKey(message) => {
            observed.key = Key::Missing(message);
            return Ok(None);
        }
        Reached::Refused(message) => {
            observed.key = Key::Refused(message);
            return Ok(None);
        }
        Reached::NoProject(message) => {
            observed.key = Key::NoProject(message);
            return Ok(None);
        }
    };
    let (api, running) = (account.api.as_ref(), &observed.recorded.operations);
    observed.operations = kind.operations.look(api, project, running, now).await?;
    if Operation::at_work(&observed.operations).is_some() {
        // whatever is being made is looked at when they have ended
        return Ok(Some((account, listing)));
    }
    let newer_than = in_motion(observed, &listing, now);
    let newer_than = newer_than.or_else(|| just_named(desired, observed, &listing));
    let Some(max_age) = newer_than else {
        return Ok(Some((account, listing)));
    };
    let newer = account.snapshots.get(project, max_age, now).await;
    Ok(Some((account, newer.map_err(at_neon)?)))
}

/// The recorded branch as it is found by its id, where the listing does not have it, and the listing then: one that lags
/// behind must not make a branch look deleted. One that is new is not asked for, but waited for.
pub(super) async fn unlisted(
    account: &Account,
    project: &ProjectId,
    observed: &Observed,
    listing: Arc<ProjectSnapshot>,
    now: Timestamp,
) -> Result<(Option<Branch>, Arc<ProjectSnapshot>), Error> {
    let recorded = observed.recorded.branch.as_ref();
    let missing = recorded
        .filter(|recorded| !may_be_unlisted(recorded, now))
        .map(|recorded| BranchId::from(recorded.id.as_str()))
        .filter(|id| listing.branch(id).is_none());
    let Some(id) = missing else {
        return Ok((None, listing));
    };
    let found = account.api.branch(project, &id).await.map_err(at_neon)?;
    if found.is_none() {
        return Ok((None, listing));
    }
    account.snapshots.invalidate(project);
    let newer = account
        .snapshots
        .get(project, ENDPOINT_IN_MOTION, now)
        .await;
    Ok((found, newer.map_err(at_neon)?))
}

/// How old a listing may be in which a branch is looked for that somebody may have made for this very spec. Objects that are
/// applied together share one.
const JUST_MADE: Duration = Duration::from_secs(1);

/// How old a listing may be that lacks the branch which the spec names, before it is told that there is none. Once that, or
/// anything else, was told of this spec, the branch is found in its turn.
fn just_named(
    desired: &Desired,
    observed: &Observed,
    listing: &ProjectSnapshot,
) -> Option<Duration> {
    let recorded = &observed.recorded;
    let effective = recorded.effective.as_ref()?;
    let lacks = |name: &String| listing.branch_named(name).is_none();
    let parent = effective.parent.as_ref();
    let parent = parent.and_then(|parent| parent.branch_name.as_ref());
    let existing = effective.existing.as_ref();
    let is_missing = parent.is_some_and(lacks)
        || existing.is_some_and(|named| branches::named_by(named, listing).is_none());
    let ready = find_condition(&recorded.conditions, ConditionType::Ready)?;
    let says_nothing = ready.reason == Reason::Progressing.as_str()
        && ready.observed_generation == Some(desired.generation);
    (recorded.branch.is_none() && is_missing && says_nothing).then_some(JUST_MADE)
}

/// How old a listing may be that shows a branch or endpoint being made that we wait for, or one that has just taken the place of
/// ours, where it shows one: nobody tells us when Neon is done.
fn in_motion(observed: &Observed, listing: &ProjectSnapshot, now: Timestamp) -> Option<Duration> {
    let Some(recorded) = &observed.recorded.branch else {
        let effective = observed.recorded.effective.as_ref();
        let named = effective.and_then(|effective| {
            let parent = effective
                .parent
                .as_ref()
                .and_then(|p| p.branch_name.as_ref());
            let existing = || branches::named_by(effective.existing.as_ref()?, listing);
            parent.map_or_else(existing, |name| listing.branch_named(name))
        });
        let named = named.filter(|branch| branch.is_unusable());
        return named.map(|branch| look_again_at(branch, now));
    };
    let id = BranchId::from(recorded.id.as_str());
    let known = observed.recorded.endpoint.as_ref();
    let other = branches::served_instead(known, listing, &id);
    if other.is_some_and(|other| listing.branch(other).is_none()) {
        return Some(ENDPOINT_IN_MOTION);
    }
    let branch = listing.branch(&id)?;
    if branch.is_unusable() {
        return Some(look_again_at(branch, now));
    }
    let endpoint = listing.read_write_endpoint(&id)?;
    endpoint.is_being_made().then_some(ENDPOINT_IN_MOTION)
}
