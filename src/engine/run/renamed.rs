//! Files that were begun under one name and go on under another one.

use std::collections::BTreeSet;

use super::{RunError, RunRequest, control::Control};
use crate::engine::{journal::Subject, ledger::LedgerState, plan::Plan};

/// Lets the notes of files that are about to run have the names that these have now; whether there were any of others.
/// Only while both locks are held: a run that died may still be noting something until then.
pub(super) async fn take_over(
    request: &RunRequest,
    state: &LedgerState,
    plan: &Plan,
    control: &mut Control,
) -> Result<bool, RunError> {
    let begun = state.unfinished.iter().map(|begun| &begun.version);
    let ended = control.ended.iter().map(|ended| &ended.version);
    let names: BTreeSet<&String> = begun.chain(ended).collect();
    let renamed = names.into_iter().filter_map(|name| {
        let file = request.policies.file_of(name);
        let is_pending = plan.pending.iter().any(|pending| pending.version == file);
        let subject = Subject {
            ledger: &request.ledger,
            version: file,
        };
        (file != name && is_pending).then(|| subject.take_over(name))
    });
    let renamed: Vec<String> = renamed.collect();
    if renamed.is_empty() {
        return Ok(false);
    }
    let sql = format!("BEGIN; {}; COMMIT", renamed.join("; "));
    control.write(sql).await?;
    Ok(true)
}
