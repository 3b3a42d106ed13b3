//! Recording files as applied without running them.

use super::{Progress, RunError, RunRequest, control::Control, lock, planned};
use crate::engine::{
    journal::Subject,
    ledger::{LedgerState, literal},
    plan::ProblemKind,
};

/// Records these files of the bundle as applied, with their checksums, in one transaction;
/// what the ledger has already stays as it is. Returns the ledger afterwards.
///
/// # Errors
/// See [`RunError`]. Nothing is recorded then.
pub async fn mark(
    request: RunRequest,
    versions: &[String],
    mut progress: impl FnMut(Progress) + Send,
) -> Result<LedgerState, RunError> {
    let mut control = Box::pin(lock(&request, &mut progress)).await?;
    let state = control.ledger().await?;
    let plan = planned(&request, &state);
    if plan
        .blocking()
        .any(|problem| matches!(problem.kind, ProblemKind::AliasedFile { .. }))
    {
        return Err(RunError::Blocked(Box::new(plan)));
    }
    control.ensure_memory().await?;
    if !state.exists {
        control.create_ledger().await?;
    }
    let is_new = |version: &&String| !plan.applied.contains(version);
    let versions: Vec<String> = versions.iter().filter(is_new).cloned().collect();
    record(&request, &versions, &mut control).await?;
    let state = control.ledger().await?;
    control.close().await;
    Ok(state)
}

/// Writes the rows of these files, which have none, in one transaction.
pub(super) async fn record(
    request: &RunRequest,
    versions: &[String],
    control: &mut Control,
) -> Result<(), RunError> {
    let mut rows = Vec::new();
    let mut notes = Vec::new();
    let mut recorded = Vec::new();
    let mut memories = String::new();
    for version in versions {
        let file = request
            .bundle
            .file(version)
            .ok_or_else(|| RunError::Unsupported(format!("{version} is not one of the files")))?;
        let (version, sum) = (literal(file.version()), literal(file.sha256()));
        rows.push(format!("({version}, pg_catalog.now(), {sum})"));
        let subject = Subject {
            ledger: &request.ledger,
            version: file.version(),
        };
        notes.extend(request.policies.names_of(file.version()).map(|name| {
            let named = Subject {
                version: name,
                ..subject
            };
            named.finished()
        }));
        recorded.push(subject.is_recorded());
        if let Some(meaning) = file.meaning().filter(|_| control.remembers()) {
            memories.push_str("; ");
            memories.push_str(&subject.remember(file.sha256(), &meaning));
        }
    }
    if !rows.is_empty() {
        // whoever is told that a file is applied need not know how far it had come
        let notes = if control.has_journal().await? {
            notes.join("; ") + "; "
        } else {
            String::new()
        };
        let ledger = request.ledger.quoted();
        let rows = rows.join(", ");
        let sql = format!(
            "BEGIN; {notes}INSERT INTO {ledger} (version, applied_at, checksum) VALUES {rows}; \
               SELECT 1 / ({})::int{memories}; COMMIT",
            recorded.join(" AND ")
        );
        control.record(sql).await?;
    }
    Ok(())
}
