//! Takes one action about a NeonProject, against one system.

use std::sync::Arc;

use jiff::Timestamp;

use super::action::Action;
use super::desired::Desired;
use super::observe::Observed;
use super::settings::Settings;
use super::{Pass, Projects, plan};
use crate::api::{AppliedSettings, PROJECT_FINALIZER, Reason};
use crate::cluster::{Freshness, KeyRead};
use crate::neon::{self, Account, ErrorKind};
use crate::reconcile::{Class, Error};
use crate::world::{Operation, at_cluster, at_neon, record_operations};

/// Takes the action.
pub(super) async fn act(
    kind: &Projects,
    action: &Action,
    pass: &mut Pass,
    desired: &Desired,
    observed: &Observed,
    now: Timestamp,
) -> Result<(), Error> {
    match action {
        Action::AddFinalizer => {
            let object = &mut pass.object;
            kind.world.add_finalizer(object, PROJECT_FINALIZER).await
        }
        Action::ReleaseFinalizer => {
            let object = &mut pass.object;
            kind.world
                .release_finalizer(object, PROJECT_FINALIZER)
                .await
        }
        Action::LookAgain => look_again(kind, pass, desired).await,
        Action::ForgetOperations => {
            pass.status.operations.clear();
            let (failures, uid) = (&kind.failures, &desired.uid);
            match Operation::failed(&observed.operations) {
                Some((_, words)) => {
                    failures.failed(uid, desired.generation, None, words.to_owned(), now);
                }
                None => failures.done(uid),
            }
            // what they brought about was not there yet when the project was last looked at
            kind.details.forget(&desired.uid);
            Ok(())
        }
        Action::ApplySettings(change) => {
            apply(kind, change, pass, desired, observed, now).await?;
            if let Some(what) = plan::asked_of_neon(action) {
                let at_work = !pass.status.operations.is_empty();
                kind.failures.asked(&desired.uid, what, at_work);
            }
            Ok(())
        }
    }
}

async fn look_again(kind: &Projects, pass: &mut Pass, desired: &Desired) -> Result<(), Error> {
    let handled = &mut pass.status.handled;
    if handled.retry != desired.asked.retry {
        // what Neon made other values of is sent again
        pass.status.applied_settings = None;
    }
    handled.clone_from(&desired.asked);
    kind.details.forget(&desired.uid);
    kind.failures.forget(&desired.uid);
    let read = kind
        .world
        .cluster
        .api_key(&desired.key, Freshness::Now)
        .await;
    if let KeyRead::Found(key) = read.map_err(at_cluster)? {
        let account = kind.world.neon.open(&key);
        account.snapshots.invalidate(&desired.project);
    }
    Ok(())
}

/// Sends the settings that differ; records all that are ours and what Neon made of them.
async fn apply(
    kind: &Projects,
    change: &Settings,
    pass: &mut Pass,
    desired: &Desired,
    observed: &Observed,
    now: Timestamp,
) -> Result<(), Error> {
    let present = observed
        .project
        .known()
        .ok_or_else(|| Error::bug("the project is not known"))?;
    let account = account(kind, desired).await?;
    // whatever comes back, what was known is no longer
    kind.details.forget(&desired.uid);
    let updated = account
        .api
        .update_project(&desired.project, &change.update(present))
        .await
        .map_err(|error| refused(change, error))?;
    let ours = plan::ours(desired, observed);
    pass.status.applied_settings = Some(AppliedSettings {
        requested: ours.digest(),
        stored: ours.as_in(&Settings::of(&updated.project)).digest(),
    });
    record_operations(&mut pass.status.operations, &updated.operations, now);
    // what Neon is still at work on may come to nothing
    if updated.operations.is_empty() {
        let (uid, generation) = (&desired.uid, desired.generation);
        kind.details
            .remember(uid, generation, &account, &updated.project, now);
    }
    Ok(())
}

/// The account of the object's key.
async fn account(kind: &Projects, desired: &Desired) -> Result<Arc<Account>, Error> {
    let read = kind
        .world
        .cluster
        .api_key(&desired.key, Freshness::Recent)
        .await;
    match read.map_err(at_cluster)? {
        KeyRead::Found(key) => Ok(kind.world.neon.open(&key)),
        KeyRead::NoSecret | KeyRead::NoKey => Err(Error::conflict("the API key went away")),
    }
}

/// A value that Neon does not accept is a person's to change: it is told with the values, for Neon's words alone may
/// not say which one it means. A limit of the plan is such a refusal, too: nothing makes room for a setting.
fn refused(change: &Settings, error: neon::Error) -> Error {
    match error.kind {
        ErrorKind::Rejected | ErrorKind::Limit => Error {
            class: Class::Invalid,
            reason: Reason::NeonRejected,
            message: format!("Neon refuses spec.settings ({change}): {}", error.message),
            ..at_neon(error)
        },
        ErrorKind::Denied
        | ErrorKind::NotFound
        | ErrorKind::Conflict
        | ErrorKind::Locked
        | ErrorKind::RateLimited
        | ErrorKind::Protected
        | ErrorKind::HasChildren
        | ErrorKind::PasswordsNotStored
        | ErrorKind::NotReady
        | ErrorKind::Server
        | ErrorKind::Lost => at_neon(error),
    }
}
