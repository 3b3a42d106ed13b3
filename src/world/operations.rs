//! Operations that Neon works on after it has answered: recorded before anything is waited for, and looked at until they end.

use crate::api::OperationStatus;
use crate::neon::{self, ErrorKind, NeonApi, OperationId, ProjectId};
use crate::reconcile::Error;

use super::at_neon;

/// An operation that is waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// What is done, in Neon's words.
    pub action: String,
    /// Whether it has ended, well or not; what it should have brought about is looked at anyhow.
    pub ended: bool,
    /// What became of it, in words, where it ended without doing its work.
    pub failure: Option<String>,
}

impl Operation {
    /// What Neon is at work on, for people; none where all of these have ended.
    #[must_use]
    pub fn at_work(operations: &[Self]) -> Option<String> {
        let running: Vec<&str> = operations
            .iter()
            .filter(|operation| !operation.ended)
            .map(|operation| operation.action.as_str())
            .collect();
        (!running.is_empty()).then(|| format!("Neon is at work: {}", running.join(", ")))
    }
}

/// How the recorded operations stand. Changes nothing.
pub async fn operations(
    api: &dyn NeonApi,
    project: &ProjectId,
    recorded: &[OperationStatus],
) -> Result<Vec<Operation>, Error> {
    let mut operations = Vec::new();
    for recorded in recorded {
        let id = OperationId::from(recorded.id.as_str());
        let (ended, failure) = match api.operation(project, &id).await {
            Ok(operation) => (operation.status.is_terminal(), failure(&operation)),
            // Neon forgets operations; what they should have brought about is looked at anyhow
            Err(error) if error.kind == ErrorKind::NotFound => (true, None),
            Err(error) => return Err(at_neon(error)),
        };
        operations.push(Operation {
            action: recorded.action.clone(),
            ended,
            failure,
        });
    }
    Ok(operations)
}

fn failure(operation: &neon::Operation) -> Option<String> {
    let how = if operation.status.is_cancelled() {
        "was cancelled"
    } else {
        "failed"
    };
    let why = operation.error.iter().map(|error| format!(": {error}"));
    let told = format!(
        "its operation {} {how}{}",
        operation.action,
        why.collect::<String>()
    );
    operation.status.is_failure().then_some(told)
}

/// Adds those that have not ended to the record.
pub fn record_operations(record: &mut Vec<OperationStatus>, operations: &[neon::Operation]) {
    let running = operations
        .iter()
        .filter(|operation| !operation.status.is_terminal());
    record.extend(running.map(|operation| OperationStatus {
        id: operation.id.to_string(),
        action: operation.action.clone(),
    }));
}
