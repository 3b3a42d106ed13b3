//! `/projects/{project_id}/branches/{branch_id}/backup_schedule`.

use axum::extract::{Path, State};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Answer, Change, Shared, branches, error::ApiError, ok, request::Body};
use crate::state::snapshot::{Schedule, ScheduleItem};

const SHORTEST_RETENTION_SECONDS: i64 = 3600;

#[derive(Serialize, Deserialize)]
pub(crate) struct ScheduleBody {
    schedule: Vec<ScheduleItem>,
}

pub(crate) async fn show(
    State(control): Shared,
    Path((project_id, branch_id)): Path<(String, String)>,
) -> Answer {
    control.look(&project_id, |project| {
        let branch = branches::find(project, &branch_id)?;
        ok(json!({"schedule": branch.schedule.items}))
    })
}

pub(crate) async fn set(
    State(control): Shared,
    Path((project_id, branch_id)): Path<(String, String)>,
    Body(asked): Body<ScheduleBody>,
) -> Answer {
    control.change(&project_id, |project, now| {
        asked.schedule.iter().try_for_each(item)?;
        let some = !asked.schedule.is_empty();
        let allowed = project.limits.backup_schedules;
        let branch = branches::find_mut(project, &branch_id)?;
        if some && branch.parent_id.is_some() {
            return Err(ApiError::unprocessable(
                "backup schedules can only be set on root branches",
            ));
        }
        if some && !allowed {
            return Err(ApiError::unprocessable(
                "backup schedules are not allowed for your account",
            ));
        }
        branch.schedule = Schedule {
            items: asked.schedule,
            since: now,
        };
        Ok(Change::done(()))
    })?;
    ok(json!({}))
}

fn item(item: &ScheduleItem) -> Result<(), ApiError> {
    for (name, value, allowed) in [
        ("hour", item.hour, 0..=23),
        ("day", item.day, 1..=31),
        ("month", item.month, 1..=12),
    ] {
        if value.is_some_and(|value| !allowed.contains(&value)) {
            return Err(ApiError::bad_request(format!(
                "{name} must be between {} and {}",
                allowed.start(),
                allowed.end()
            )));
        }
    }
    let kept = item.retention_seconds;
    if kept.is_some_and(|seconds| seconds < SHORTEST_RETENTION_SECONDS) {
        return Err(ApiError::bad_request(
            "retention_seconds must be at least 3600",
        ));
    }
    Ok(())
}
