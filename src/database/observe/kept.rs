//! Secrets that would go with the object although its branch is to stay.

use super::{Observed, contents};
use crate::database::credentials::Found;
use crate::database::deletion::deletes;
use crate::database::desired::Desired;
use crate::database::{Databases, Pass};
use crate::reconcile::{Conditions as _, Error};

/// Looks for them once for each version of the spec, before anything that may be in the way of the object: whoever sets the
/// policy to Retain may delete it in the foreground next, and nobody is asked before its Secrets go then.
pub(super) async fn look(
    kind: &Databases,
    pass: &Pass,
    desired: &Desired,
    observed: &mut Observed,
) -> Result<(), Error> {
    let (uid, generation) = (&desired.uid, desired.generation);
    let goes = desired.deleting || deletes(desired, &observed.recorded);
    // what has come to rest as the spec is was looked at then
    if goes || pass.object.is_settled() || kind.checked.stay(uid, generation) {
        return Ok(());
    }
    for recorded in &observed.recorded.connection_secrets {
        let secret = contents::secret(kind, desired, &recorded.name).await?;
        let found = secret.map(|secret| Found::of(&secret, &desired.mark.name, uid));
        if found.is_some_and(|found| found.ours && found.owned) {
            observed.to_be_kept.push(recorded.name.clone());
        }
    }
    if observed.to_be_kept.is_empty() {
        kind.checked.all_stay(uid, generation);
    }
    Ok(())
}
