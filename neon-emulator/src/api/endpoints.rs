//! `/projects/{project_id}/endpoints`.

use std::sync::Arc;

use axum::extract::{Path, State};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Answer, Change, Shared, branches, created, error::ApiError, instant, no_content, ok, put,
    request::Body, validate::ComputeRequest,
};
use crate::{
    control::{Control, QUOTA_EXCEEDED},
    names,
    state::{
        model::{Endpoint, EndpointKind, Project},
        operation::{Action, Step, Work},
    },
};

/// The text of the 409 for a second endpoint.
pub(crate) const READ_WRITE_EXISTS: &str = "read-write endpoint already exists";

#[derive(Deserialize)]
pub(crate) struct CreateBody {
    endpoint: CreateEndpoint,
}

#[derive(Deserialize)]
struct CreateEndpoint {
    branch_id: String,
    #[serde(rename = "type")]
    kind: EndpointKind,
    name: Option<String>,
    #[serde(default)]
    disabled: bool,
    #[serde(flatten)]
    compute: ComputeRequest,
}

#[derive(Deserialize)]
pub(crate) struct UpdateBody {
    endpoint: UpdateEndpoint,
}

#[derive(Deserialize)]
struct UpdateEndpoint {
    name: Option<String>,
    disabled: Option<bool>,
    #[serde(flatten)]
    compute: ComputeRequest,
}

pub(crate) async fn list(State(control): Shared, Path(project_id): Path<String>) -> Answer {
    control.look(&project_id, |project| {
        let all = project
            .endpoints
            .values()
            .map(|endpoint| view(&control, project, endpoint));
        ok(json!({"endpoints": all.collect::<Vec<_>>()}))
    })
}

pub(crate) async fn list_of_branch(
    State(control): Shared,
    Path((project_id, branch_id)): Path<(String, String)>,
) -> Answer {
    control.look(&project_id, |project| {
        branches::find(project, &branch_id)?;
        let of_branch = project.endpoints_of(&branch_id);
        let all = of_branch.map(|endpoint| view(&control, project, endpoint));
        ok(json!({"endpoints": all.collect::<Vec<_>>()}))
    })
}

pub(crate) async fn show(
    State(control): Shared,
    Path((project_id, id)): Path<(String, String)>,
) -> Answer {
    control.look(&project_id, |project| {
        ok(json!({"endpoint": view(&control, project, find(project, &id)?)}))
    })
}

pub(crate) async fn create(
    State(control): Shared,
    Path(project_id): Path<String>,
    Body(body): Body<CreateBody>,
) -> Answer {
    let asked = body.endpoint;
    let (shown, operations) = control.change(&project_id, |project, now| {
        branches::find(project, &asked.branch_id)?;
        let compute = asked
            .compute
            .apply(&project.endpoint_defaults, &project.limits)?;
        let second = project.endpoint_of(&asked.branch_id).is_some();
        if asked.kind == EndpointKind::ReadWrite && second {
            return Err(ApiError::conflict(READ_WRITE_EXISTS));
        }
        let mut endpoint = Endpoint::new(&asked.branch_id, asked.kind, compute, now);
        endpoint.name = asked.name;
        endpoint.disabled = asked.disabled;
        let start = || endpoint.step(Action::StartCompute, Work::StartCompute);
        let steps = (!endpoint.disabled).then(start).into_iter().collect();
        project
            .endpoints
            .insert(endpoint.id.clone(), endpoint.clone());
        Ok(Change {
            made: endpoint,
            steps,
        })
    })?;
    answer(&control, &project_id, &shown, &operations, created)
}

pub(crate) async fn update(
    State(control): Shared,
    Path((project_id, id)): Path<(String, String)>,
    Body(body): Body<UpdateBody>,
) -> Answer {
    let asked = body.endpoint;
    let (shown, operations) = control.change(&project_id, |project, now| {
        let limits = project.limits.clone();
        let endpoint = project
            .endpoints
            .get_mut(&id)
            .ok_or(ApiError::not_found("endpoint"))?;
        let before = endpoint.clone();
        endpoint.compute = asked.compute.apply(&before.compute, &limits)?;
        endpoint.name = asked.name.or(before.name.clone());
        endpoint.disabled = asked.disabled.unwrap_or(before.disabled);
        endpoint.updated_at = now;
        let steps = steps_of_update(&before, endpoint, control.is_active(endpoint));
        Ok(Change {
            made: endpoint.clone(),
            steps,
        })
    })?;
    answer(&control, &project_id, &shown, &operations, ok)
}

pub(crate) async fn delete(
    State(control): Shared,
    Path((project_id, id)): Path<(String, String)>,
) -> Answer {
    let gone = control.look(&project_id, |project| {
        Ok(!project.endpoints.contains_key(&id))
    })?;
    if gone {
        return no_content();
    }
    let (shown, operations) = control.change(&project_id, |project, _| {
        let endpoint = find(project, &id)?.clone();
        if branches::find(project, &endpoint.branch_id)?.protected {
            return Err(ApiError::unprocessable(
                "cannot delete endpoint of a protected branch",
            ));
        }
        let shown = view(&control, project, &endpoint);
        project.endpoints.remove(&id);
        Ok(Change {
            made: shown,
            steps: vec![endpoint.step(Action::SuspendCompute, Work::SuspendCompute)],
        })
    })?;
    ok(json!({"endpoint": shown, "operations": operations}))
}

pub(crate) async fn start(control: Shared, path: Path<(String, String)>) -> Answer {
    let room = Arc::clone(&control);
    transition(control, path, |project, endpoint, active| {
        if endpoint.disabled {
            return Err(ApiError::unprocessable("endpoint is disabled"));
        }
        if !active && !room.has_room(project, endpoint) {
            return Err(ApiError::limit(
                "ACTIVE_ENDPOINTS_LIMIT_EXCEEDED",
                "active endpoints limit exceeded",
            ));
        }
        if room.usage.is_exhausted(project, Timestamp::now()) {
            return Err(ApiError::limit("COMPUTE_TIME_EXCEEDED", QUOTA_EXCEEDED));
        }
        Ok((!active).then(|| endpoint.step(Action::StartCompute, Work::StartCompute)))
    })
}

pub(crate) async fn suspend(control: Shared, path: Path<(String, String)>) -> Answer {
    transition(control, path, |_, endpoint, active| {
        Ok(active.then(|| endpoint.step(Action::SuspendCompute, Work::SuspendCompute)))
    })
}

pub(crate) async fn restart(control: Shared, path: Path<(String, String)>) -> Answer {
    transition(control, path, |_, endpoint, active| {
        if !active {
            return Err(ApiError::unprocessable(
                "endpoint is not active, could not restart",
            ));
        }
        Ok(Some(
            endpoint.step(Action::StartCompute, Work::RestartCompute),
        ))
    })
}

/// A change of state, with at most one operation.
fn transition(
    State(control): Shared,
    Path((project_id, id)): Path<(String, String)>,
    step: impl FnOnce(&Project, &Endpoint, bool) -> Result<Option<Step>, ApiError>,
) -> Answer {
    let (shown, operations) = control.change(&project_id, |project, _| {
        let endpoint = find(project, &id)?;
        let step = step(project, endpoint, control.is_active(endpoint))?;
        Ok(Change {
            made: endpoint.clone(),
            steps: step.into_iter().collect(),
        })
    })?;
    answer(&control, &project_id, &shown, &operations, ok)
}

/// A changed size or setting restarts the compute, or wakes it, and so drops its connections.
fn steps_of_update(before: &Endpoint, after: &Endpoint, active: bool) -> Vec<Step> {
    let patience_apart = |endpoint: &Endpoint| {
        let mut compute = endpoint.compute.clone();
        compute.suspend_timeout_seconds = 0;
        compute
    };
    if after.disabled {
        let suspend = || after.step(Action::SuspendCompute, Work::SuspendCompute);
        return active.then(suspend).into_iter().collect();
    }
    if patience_apart(before) != patience_apart(after) {
        return vec![after.step(Action::ApplyConfig, Work::RestartCompute)];
    }
    if before.compute != after.compute {
        return vec![after.step(Action::ApplyConfig, Work::Nothing)];
    }
    Vec::new()
}

fn find<'a>(project: &'a Project, id: &str) -> Result<&'a Endpoint, ApiError> {
    project
        .endpoints
        .get(id)
        .ok_or(ApiError::not_found("endpoint"))
}

/// Shows an endpoint after its operations are scheduled, so that its pending state is seen.
fn answer(
    control: &Arc<Control>,
    project_id: &str,
    endpoint: &Endpoint,
    operations: &Value,
    respond: fn(Value) -> Answer,
) -> Answer {
    control.look(project_id, |project| {
        respond(json!({"endpoint": view(control, project, endpoint), "operations": operations}))
    })
}

pub(crate) fn view(control: &Control, project: &Project, endpoint: &Endpoint) -> Value {
    let active = control.is_active(endpoint);
    let state = match (active, endpoint.started_at) {
        (true, _) => "active",
        (false, None) => "init",
        (false, Some(_)) => "idle",
    };
    let mut shown = json!({
        "id": endpoint.id,
        "host": names::host(&endpoint.id),
        "project_id": project.id,
        "branch_id": endpoint.branch_id,
        "region_id": project.region_id,
        "type": endpoint.kind,
        "autoscaling_limit_min_cu": endpoint.compute.min_cu,
        "autoscaling_limit_max_cu": endpoint.compute.max_cu,
        "suspend_timeout_seconds": endpoint.compute.suspend_timeout_seconds,
        "settings": {"pg_settings": endpoint.compute.pg_settings},
        "current_state": state,
        "disabled": endpoint.disabled,
        "pooler_enabled": false,
        "pooler_mode": "transaction",
        "passwordless_access": true,
        "creation_source": "console",
        "proxy_host": names::DOMAIN,
        "provisioner": "k8s-neonvm",
        "created_at": instant(endpoint.created_at),
        "updated_at": instant(endpoint.updated_at),
    });
    put(
        &mut shown,
        "name",
        endpoint.name.as_ref().map(|name| json!(name)),
    );
    put(
        &mut shown,
        "pending_state",
        pending_state(project, endpoint).map(|state| json!(state)),
    );
    put(&mut shown, "started_at", endpoint.started_at.map(instant));
    put(
        &mut shown,
        "suspended_at",
        endpoint.suspended_at.filter(|_| !active).map(instant),
    );
    if endpoint.started_at.is_some() {
        let compute = control.compute(&endpoint.id);
        put(
            &mut shown,
            "last_active",
            Some(instant(compute.last_active())),
        );
    }
    shown
}

/// Where an unfinished operation leads.
fn pending_state(project: &Project, endpoint: &Endpoint) -> Option<&'static str> {
    let mut unfinished = project.operations.iter().filter(|operation| {
        !operation.status.is_terminal() && operation.endpoint_id.as_ref() == Some(&endpoint.id)
    });
    unfinished.find_map(|operation| match operation.work {
        Work::StartCompute | Work::RestartCompute => Some("active"),
        Work::SuspendCompute => Some("idle"),
        Work::InitTimeline
        | Work::CopyTimeline { .. }
        | Work::CopySchema { .. }
        | Work::ReplaceTimeline { .. }
        | Work::TakeSnapshot { .. }
        | Work::RestoreSnapshot { .. }
        | Work::RemoveTimeline { .. }
        | Work::Nothing
        | Work::PutRole { .. }
        | Work::DropRole { .. }
        | Work::PutDatabase { .. }
        | Work::RenameDatabase { .. }
        | Work::DropDatabase { .. } => None,
    })
}
