//! `/projects/{project_id}/operations`.

use axum::extract::{Path, State};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answer, Shared, error::ApiError, instant, ok, put, request::Query};
use crate::state::{model::Project, operation::Operation};

const LIMITS: std::ops::RangeInclusive<usize> = 1..=1000;

#[derive(Deserialize)]
pub(crate) struct Page {
    limit: Option<usize>,
    cursor: Option<String>,
}

pub(crate) async fn list(
    State(control): Shared,
    Path(project_id): Path<String>,
    Query(page): Query<Page>,
) -> Answer {
    let limit = page.limit.unwrap_or(*LIMITS.end());
    if !LIMITS.contains(&limit) {
        return Err(ApiError::bad_request("limit must be between 1 and 1000"));
    }
    control.look(&project_id, |project| {
        let newest_first = project.operations.iter().rev();
        let rest: Vec<&Operation> = match &page.cursor {
            Some(cursor) => newest_first
                .skip_while(|op| op.id != *cursor)
                .skip(1)
                .take(limit)
                .collect(),
            None => newest_first.take(limit).collect(),
        };
        let mut body =
            json!({"operations": rest.iter().map(|op| view(project, op)).collect::<Vec<_>>()});
        let cursor = rest.last().map(|operation| json!({"cursor": operation.id}));
        put(&mut body, "pagination", cursor);
        ok(body)
    })
}

pub(crate) async fn show(
    State(control): Shared,
    Path((project_id, id)): Path<(String, String)>,
) -> Answer {
    control.look(&project_id, |project| {
        let operation = project
            .operations
            .iter()
            .find(|operation| operation.id == id);
        let operation = operation.ok_or(ApiError::not_found("operation"))?;
        ok(json!({"operation": view(project, operation)}))
    })
}

/// The operations with these ids, as they are shown.
pub(crate) fn views(project: &Project, ids: &[String]) -> Value {
    let chosen = project
        .operations
        .iter()
        .filter(|operation| ids.contains(&operation.id));
    chosen.map(|operation| view(project, operation)).collect()
}

fn view(project: &Project, operation: &Operation) -> Value {
    let took = operation.updated_at.duration_since(operation.created_at);
    let mut shown = json!({
        "id": operation.id,
        "project_id": project.id,
        "branch_id": operation.branch_id,
        "action": operation.action,
        "status": operation.status,
        "failures_count": i32::from(operation.error.is_some()),
        "created_at": instant(operation.created_at),
        "updated_at": instant(operation.updated_at),
        "total_duration_ms": i64::try_from(took.as_millis()).unwrap_or_default(),
    });
    put(
        &mut shown,
        "endpoint_id",
        operation.endpoint_id.as_ref().map(|id| json!(id)),
    );
    put(
        &mut shown,
        "error",
        operation.error.as_ref().map(|error| json!(error)),
    );
    shown
}
