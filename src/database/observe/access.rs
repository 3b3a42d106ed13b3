//! Whether Neon can be reached for the object, and what it says is going on. Changes nothing.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};

use super::{Key, Observed, Operation, branches};
use crate::cluster::KeyRead;
use crate::database::Databases;
use crate::database::desired::Desired;
use crate::neon::{
    Account, Branch, BranchId, BranchState, EndpointState, ErrorKind, NeonApi, OperationId,
    ProjectSnapshot,
};
use crate::reconcile::Error;
use crate::world::{at_cluster, at_neon};

/// The account of the object's key and the listing of its project; none where `observed.key` says why.
pub(super) async fn listing(
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

/// How old a listing may be that shows a branch or endpoint being made that we wait for: nobody tells us when Neon is done.
const IN_MOTION: Duration = Duration::from_secs(1);

fn is_in_motion(observed: &Observed, listing: &ProjectSnapshot) -> bool {
    let being_made = |branch: &Branch| {
        matches!(
            branch.current_state,
            BranchState::Init | BranchState::Resetting
        )
    };
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
        return named.is_some_and(being_made);
    };
    let id = BranchId::from(recorded.id.as_str());
    let branch = listing.branch(&id).is_some_and(being_made);
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
            "the Secret {} with the Neon API key does not exist in this namespace; its entry {} is to hold the key; once it is there it is noticed within a minute",
            at.name, at.key
        ),
        KeyRead::NoKey => format!(
            "the Secret {} has no entry {} with the Neon API key; once it has one it is noticed within a minute",
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

pub(super) async fn operations(
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
