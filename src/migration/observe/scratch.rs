//! The branch on which files are tried, as Neon lists it.

use std::time::Duration;

use jiff::Timestamp;

use super::super::scratch::Scratch;
use super::super::{Desired, Migrations, adoption, mark};
use super::Observed;
use crate::neon::Branch;
use crate::reconcile::Error;
use crate::world::{Mark, Reached, Way};

/// How old a listing may be. What was changed since makes it older than any.
const LISTED: Duration = Duration::from_secs(5);

/// Whether one is on record that nothing is to be tried on, though the finalizer is gone: somebody has taken it away, or the
/// record could not be written when it was released.
pub(super) fn is_left(desired: &Desired, observed: &Observed) -> bool {
    let rests = desired.suspend || !adoption::verifies(desired);
    rests && !desired.deleting && observed.scratch_on_record().is_some()
}

/// One that came after it was no longer waited for: an operator that had lost its lease without knowing it asked for it.
/// Whoever else looks at the project pays for the listing.
pub(super) async fn stray(
    kind: &Migrations,
    desired: &Desired,
    observed: &Observed,
    now: Timestamp,
) -> Option<Scratch> {
    let max_age = kind.world.settings.snapshot_interval;
    let found = listed(kind, desired, observed, max_age, now).await.ok()?;
    Some(found).filter(|scratch| !scratch.listed.is_empty())
}

/// What there is while there may be one.
pub(super) async fn look(
    kind: &Migrations,
    desired: &Desired,
    observed: &Observed,
    now: Timestamp,
) -> Result<Scratch, Error> {
    listed(kind, desired, observed, LISTED, now).await
}

async fn listed(
    kind: &Migrations,
    desired: &Desired,
    observed: &Observed,
    max_age: Duration,
    now: Timestamp,
) -> Result<Scratch, Error> {
    let recorded = observed.scratch_on_record();
    let recorded = recorded.map_or(&[][..], |recorded| &recorded.operations);
    let out_of_reach = |why: String| Scratch {
        out_of_reach: Some(why),
        ..Scratch::default()
    };
    let database = observed.database.known();
    let Some(source) = database.and_then(|database| database.source.as_ref()) else {
        let name = &desired.database_ref;
        let why = format!("NeonDatabase {name} or its NeonProject is not there");
        return Ok(out_of_reach(why));
    };
    let way = Way {
        project: &source.project,
        key: &source.key,
        last_good: desired.deleting,
        field: "spec.projectId of the NeonDatabase",
    };
    let (account, listing) = match kind.world.reach(way, max_age, now).await? {
        Reached::Project(account, listing) => (account, listing),
        Reached::NoKey(why) | Reached::Refused(why) | Reached::NoProject(why) => {
            return Ok(out_of_reach(why));
        }
    };
    let (api, project) = (account.api.as_ref(), &source.project);
    let operations = kind.operations.look(api, project, recorded, now).await?;
    let ours = mark(kind, desired);
    let is_ours = |branch: &&Branch| Mark::of(&branch.annotations).as_ref() == Some(&ours);
    let listed: Vec<Branch> = listing.branches.iter().filter(is_ours).cloned().collect();
    let first = listed.first();
    Ok(Scratch {
        out_of_reach: None,
        endpoint: first.and_then(|branch| listing.read_write_endpoint(&branch.id).cloned()),
        listed,
        operations,
    })
}
