//! `/projects/{project_id}/snapshots`, the snapshot of a branch, and the branch that a snapshot becomes.

use axum::{
    extract::{Path, State},
    http::StatusCode,
    response::IntoResponse,
};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Answer, Change, Shared, branches, endpoints,
    error::ApiError,
    instant, ok, put,
    request::{Body, Field, Query},
    validate,
};
use crate::{
    control::Control,
    names,
    postgres::history::Moment,
    state::{
        model::{Branch, BranchState, Endpoint, EndpointKind, Project},
        operation::{Action, Step, Work},
        snapshot::{Restored, Schedule, Snapshot},
    },
};

#[derive(Deserialize)]
pub(crate) struct CreateQuery {
    lsn: Option<String>,
    timestamp: Option<String>,
    name: Option<String>,
    expires_at: Option<String>,
}

#[derive(Deserialize)]
pub(crate) struct UpdateBody {
    snapshot: UpdateSnapshot,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct UpdateSnapshot {
    name: Option<String>,
    expires_at: Field<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct RestoreBody {
    name: Option<String>,
    target_branch_id: Option<String>,
    finalize_restore: bool,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct FinalizeBody {
    /// Of the branch that is replaced.
    name: Option<String>,
}

pub(crate) async fn list(State(control): Shared, Path(project_id): Path<String>) -> Answer {
    control.look(&project_id, |project| {
        let mut all: Vec<&Snapshot> = project.snapshots.values().collect();
        all.sort_by(|a, b| (b.created_at, &b.id).cmp(&(a.created_at, &a.id)));
        let shown: Vec<Value> = all.into_iter().map(view).collect();
        ok(json!({"snapshots": shown}))
    })
}

pub(crate) async fn create(
    State(control): Shared,
    Path((project_id, branch_id)): Path<(String, String)>,
    Query(asked): Query<CreateQuery>,
) -> Answer {
    // What SQL did belongs to the snapshot too.
    control.sync_branch(&project_id, &branch_id).await;
    let (snapshot, operations) = control.change(&project_id, |project, now| {
        let branch = branches::find(project, &branch_id)?.clone();
        let (lsn, timestamp) = (asked.lsn.as_deref(), asked.timestamp.as_deref());
        let moment = validate::moment(project, "", lsn, timestamp, now)?;
        if let Some(name) = &asked.name {
            validate::title(name)?;
        }
        let expires_at = asked.expires_at.as_deref();
        let expires_at = expires_at
            .map(|text| validate::expires_at(text, now))
            .transpose()?;
        may_be_taken(project, &branch)?;
        let (snapshot, step) =
            project.add_snapshot(&branch, asked.name, moment, expires_at, true, now);
        Ok(Change {
            made: view(&snapshot),
            steps: vec![step],
        })
    })?;
    ok(json!({"snapshot": snapshot, "operations": operations}))
}

pub(crate) async fn update(
    State(control): Shared,
    Path((project_id, id)): Path<(String, String)>,
    Body(body): Body<UpdateBody>,
) -> Answer {
    let asked = body.snapshot;
    let (snapshot, _) = control.change(&project_id, |project, now| {
        let snapshot = project.snapshots.get_mut(&id);
        let snapshot = snapshot.ok_or(ApiError::not_found("snapshot"))?;
        if let Some(name) = asked.name {
            validate::title(&name)?;
            snapshot.name = name;
        }
        match asked.expires_at {
            Field::Absent => {}
            Field::Null => snapshot.expires_at = None,
            Field::Value(text) => snapshot.expires_at = Some(validate::expires_at(&text, now)?),
        }
        Ok(Change::done(view(snapshot)))
    })?;
    ok(json!({"snapshot": snapshot}))
}

pub(crate) async fn delete(
    State(control): Shared,
    Path((project_id, id)): Path<(String, String)>,
) -> Answer {
    let ((), operations) = control.change(&project_id, |project, _| {
        find(project, &id)?;
        Ok(Change {
            made: (),
            steps: project.remove_snapshot(&id),
        })
    })?;
    let body = axum::Json(json!({"operations": operations}));
    Ok((StatusCode::ACCEPTED, body).into_response())
}

/// Makes a branch of a snapshot, which takes the place of another one at once, later or never.
pub(crate) async fn restore(
    State(control): Shared,
    Path((project_id, id)): Path<(String, String)>,
    Body(asked): Body<RestoreBody>,
) -> Answer {
    let (made, operations) = control.change(&project_id, |project, now| {
        let snapshot = find(project, &id)?.clone();
        let target_id = asked.target_branch_id.as_ref();
        if target_id.is_some_and(|id| !project.branches.contains_key(id)) {
            return Err(ApiError::not_found("target branch"));
        }
        let target_id = target_id.unwrap_or(&snapshot.branch.id).clone();
        let branch = restored(project, &snapshot, asked.name, target_id, now)?;
        let id = branch.id.clone();
        project.branches.insert(id.clone(), branch);
        let make = Step {
            action: Action::CreateBranch,
            branch_id: id.clone(),
            endpoint_id: None,
            work: Work::RestoreSnapshot {
                snapshot_id: snapshot.id,
            },
        };
        let steps = if asked.finalize_restore {
            let Swap { mut stop, start } = take_place(&control, project, &id, None, now)?;
            stop.push(make);
            stop.into_iter().chain(start).collect()
        } else {
            let compute = project.endpoint_defaults.clone();
            let endpoint = Endpoint::new(&id, EndpointKind::ReadWrite, compute, now);
            let start = endpoint.step(Action::StartCompute, Work::StartCompute);
            project.endpoints.insert(endpoint.id.clone(), endpoint);
            vec![make, start]
        };
        Ok(Change {
            made: with_endpoints(&control, project, &id)?,
            steps,
        })
    })?;
    let mut shown = made;
    put(&mut shown, "operations", Some(operations));
    ok(shown)
}

/// Puts a branch that was made of a snapshot into the place for which it was made.
pub(crate) async fn finalize(
    State(control): Shared,
    Path((project_id, id)): Path<(String, String)>,
    Body(asked): Body<FinalizeBody>,
) -> Answer {
    let ((), operations) = control.change(&project_id, |project, now| {
        let Swap { stop, start } = take_place(&control, project, &id, asked.name, now)?;
        Ok(Change {
            made: (),
            steps: stop.into_iter().chain(start).collect(),
        })
    })?;
    ok(json!({"operations": operations}))
}

fn find<'a>(project: &'a Project, id: &str) -> Result<&'a Snapshot, ApiError> {
    let found = project.snapshots.get(id);
    found.ok_or(ApiError::not_found("snapshot"))
}

/// Whether the plan and the branch allow one more snapshot that somebody asks for.
fn may_be_taken(project: &Project, branch: &Branch) -> Result<(), ApiError> {
    if branch.parent_id.is_some() {
        return Err(ApiError::unprocessable(
            "snapshots can only be created from root branches",
        ));
    }
    if !branch.state.has_data() {
        return Err(ApiError::unprocessable("branch not ready yet"));
    }
    let manual = project
        .snapshots
        .values()
        .filter(|snapshot| snapshot.manual);
    if manual.count() >= project.limits.snapshots {
        return Err(ApiError::limit(
            "SNAPSHOTS_LIMIT_EXCEEDED",
            "snapshots limit exceeded",
        ));
    }
    Ok(())
}

/// The branch that a snapshot becomes: a root, as its data comes from no branch that is there.
fn restored(
    project: &Project,
    snapshot: &Snapshot,
    name: Option<String>,
    target_id: String,
    now: Timestamp,
) -> Result<Branch, ApiError> {
    let id = names::branch_id();
    let name = name.unwrap_or_else(|| id.clone());
    branches::free_name(project, &name, None)?;
    branches::room_for_another(project)?;
    branches::room_for_root(project)?;
    Ok(Branch {
        timeline: id.clone(),
        name,
        parent_id: None,
        schema_only: false,
        parent_moment: None,
        state: BranchState::Init,
        pending_state: Some(BranchState::Ready),
        state_changed_at: now,
        default: false,
        protected: false,
        expires_at: None,
        ttl_interval_seconds: None,
        annotations: std::collections::BTreeMap::new(),
        created_at: now,
        updated_at: now,
        last_reset: None,
        restored: Some(Restored {
            snapshot_id: snapshot.id.clone(),
            target_id,
            finalized: false,
        }),
        schedule: Schedule::default(),
        id,
        ..snapshot.branch.clone()
    })
}

/// What is to be done around a change of places.
struct Swap {
    /// The computes that were there, before.
    stop: Vec<Step>,
    /// Those that ran, after.
    start: Vec<Step>,
}

/// Gives a branch the computes, the name and the settings of the one that it was restored for, which stays as
/// it is under another name.
fn take_place(
    control: &Control,
    project: &mut Project,
    id: &str,
    old_name: Option<String>,
    now: Timestamp,
) -> Result<Swap, ApiError> {
    let mut branch = branches::find(project, id)?.clone();
    let awaited = branch.restored.as_mut().filter(|it| !it.finalized);
    let Some(awaited) = awaited else {
        return Err(ApiError::unprocessable(
            "branch is not a restored branch that can be finalized",
        ));
    };
    awaited.finalized = true;
    let mut target = project
        .branches
        .get(&awaited.target_id)
        .ok_or(ApiError::not_found("target branch"))?
        .clone();
    let old_name = old_name.unwrap_or_else(|| old(project, &target.name));
    branches::free_name(project, &old_name, Some(&target.id))?;
    let swap = move_computes(control, project, &target.id, id);
    branch.name = std::mem::replace(&mut target.name, old_name);
    branch.default = std::mem::take(&mut target.default);
    branch.protected = std::mem::take(&mut target.protected);
    branch.schedule = std::mem::take(&mut target.schedule);
    branch.expires_at = target.expires_at;
    branch.ttl_interval_seconds = target.ttl_interval_seconds;
    branch.annotations.clone_from(&target.annotations);
    for mut changed in [branch, target] {
        changed.updated_at = now;
        project.branches.insert(changed.id.clone(), changed);
    }
    Ok(swap)
}

/// A free name for a branch that is replaced.
fn old(project: &Project, name: &str) -> String {
    let mut numbers = 2_u32..;
    let mut candidate = format!("{name} (old)");
    while project.named(&candidate).is_some() {
        let number = numbers.next().unwrap_or_default();
        candidate = format!("{name} (old {number})");
    }
    candidate
}

/// Moves all computes of a branch to another one. One for writing that this one has already goes away.
fn move_computes(control: &Control, project: &mut Project, from: &str, to: &str) -> Swap {
    let suspend = |it: &Endpoint| it.step(Action::SuspendCompute, Work::SuspendCompute);
    let mut stop = Vec::new();
    if project.endpoint_of(from).is_some()
        && let Some(own) = project.endpoint_of(to).cloned()
    {
        project.endpoints.remove(&own.id);
        stop.push(suspend(&own));
    }
    let mut start = Vec::new();
    let moved = project.endpoints.values_mut();
    for endpoint in moved.filter(|endpoint| endpoint.branch_id == from) {
        to.clone_into(&mut endpoint.branch_id);
        if control.is_active(endpoint) {
            stop.push(suspend(endpoint));
            start.push(endpoint.step(Action::StartCompute, Work::StartCompute));
        }
    }
    Swap { stop, start }
}

fn with_endpoints(control: &Control, project: &Project, id: &str) -> Result<Value, ApiError> {
    let endpoints = project.endpoints_of(id);
    let endpoints: Vec<Value> = endpoints
        .map(|endpoint| endpoints::view(control, project, endpoint))
        .collect();
    Ok(json!({
        "branch": branches::view(project, branches::find(project, id)?),
        "endpoints": endpoints,
    }))
}

fn view(snapshot: &Snapshot) -> Value {
    let mut shown = json!({
        "id": snapshot.id,
        "name": snapshot.name,
        "source_branch_id": snapshot.branch.id,
        "manual": snapshot.manual,
        "created_at": instant(snapshot.created_at),
    });
    let (key, value) = match &snapshot.moment {
        Some(Moment::Lsn(lsn)) => ("lsn", json!(lsn.to_string())),
        Some(Moment::Time(at)) => ("timestamp", instant(*at)),
        None => ("timestamp", instant(snapshot.created_at)),
    };
    put(&mut shown, key, Some(value));
    put(&mut shown, "expires_at", snapshot.expires_at.map(instant));
    put(
        &mut shown,
        "full_size",
        snapshot.full_size.map(|size| json!(size)),
    );
    shown
}
