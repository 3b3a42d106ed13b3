//! Recording files as applied without running them.

use super::{Progress, RunError, RunRequest, control::Control, lock, planned};
use crate::engine::{
    history::History,
    journal::Subject,
    ledger::{LedgerState, literal},
    plan::ProblemKind,
};

/// Records these files of the bundle as applied, with their checksums, in one transaction;
/// what the ledger has already stays as it is. Where it has another content of one of them, and the policies accept the
/// present one, that is what it has from then on. Returns the ledger afterwards.
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
    let new: Vec<String> = versions.iter().filter(is_new).cloned().collect();
    record(&request, &new, &mut control).await?;
    accept(&request, &state, versions, &mut control).await?;
    let state = control.ledger().await?;
    control.close().await;
    Ok(state)
}

/// Writes the present checksums of these files into their rows, where others are there and the policies accept these.
async fn accept(
    request: &RunRequest,
    state: &LedgerState,
    versions: &[String],
    control: &mut Control,
) -> Result<(), RunError> {
    let history = History::read(&request.policies, state);
    let mut parts = Vec::new();
    for version in versions {
        let (Some(file), Some(row)) = (request.bundle.file(version), history.row(version)) else {
            continue;
        };
        let is_known = row.checksum.as_ref().is_some_and(|sum| file.matches(sum));
        if is_known || !request.policies.accepts(version, file.sha256()) {
            continue;
        }
        // a renamed file has its row, and what is remembered of it, under the name that it had then
        let subject = Subject {
            ledger: &request.ledger,
            version: &row.version,
        };
        let (ledger, sum) = (request.ledger.quoted(), literal(file.sha256()));
        let name = literal(&row.version);
        parts.push(format!(
            "UPDATE {ledger} SET checksum = {sum} WHERE version::text = {name}"
        ));
        parts.push(format!(
            "SELECT 1 / (EXISTS (SELECT FROM {ledger} l WHERE l.version::text = {name} AND l.checksum::text = {sum}))::int"
        ));
        let meaning = file.meaning().filter(|_| control.remembers());
        parts.extend(meaning.map(|meaning| subject.remember(file.sha256(), &meaning)));
    }
    if parts.is_empty() {
        return Ok(());
    }
    control
        .record(format!("BEGIN; {}; COMMIT", parts.join("; ")))
        .await
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
