//! Whether Neon can be reached for the object, and what it says is going on. Changes nothing.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::{Key, Observed, branches};
use crate::database::Databases;
use crate::database::plan::may_be_unlisted;
use crate::neon::{Account, Branch, BranchId, Endpoint, ProjectId, ProjectSnapshot};
use crate::reconcile::Error;
use crate::world::{Reached, Source, Way, at_neon};

/// The account of the object's key and the listing of its project; none where `observed.key` says why.
pub(super) async fn listing(
    kind: &Databases,
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
    if !is_in_motion(observed, &listing) {
        return Ok(Some((account, listing)));
    }
    let newer = account.snapshots.get(project, IN_MOTION, now).await;
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
    let newer = account.snapshots.get(project, IN_MOTION, now).await;
    Ok((found, newer.map_err(at_neon)?))
}

/// How old a listing may be that shows a branch or endpoint being made that we wait for: nobody tells us when Neon is done.
const IN_MOTION: Duration = Duration::from_secs(1);

fn is_in_motion(observed: &Observed, listing: &ProjectSnapshot) -> bool {
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
        return named.is_some_and(Branch::is_unusable);
    };
    let id = BranchId::from(recorded.id.as_str());
    let branch = listing.branch(&id).is_some_and(Branch::is_unusable);
    let endpoint = listing
        .read_write_endpoint(&id)
        .is_some_and(Endpoint::is_being_made);
    branch || endpoint
}
