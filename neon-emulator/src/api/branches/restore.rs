//! Replacing a branch's data by that of another branch, or by its own of an earlier time. Id,
//! name, endpoint and host stay; roles and their passwords come with the data. A reset is the
//! restore from the parent.

use axum::extract::{Path, State};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;

use super::{
    find,
    rules::{free_name, room_for_another},
    view::view,
};
use crate::{
    api::{Answer, Change, Shared, error::ApiError, ok, request::Body, validate},
    control::Control,
    names,
    postgres::history::Moment,
    state::{
        model::{Branch, BranchState, Endpoint, Project, Reset},
        operation::{Action, Step, Work},
        snapshot::Schedule,
    },
};

#[derive(Deserialize)]
pub(crate) struct RestoreBody {
    source_branch_id: String,
    source_lsn: Option<String>,
    source_timestamp: Option<String>,
    preserve_under_name: Option<String>,
}

pub(crate) async fn restore(
    State(control): Shared,
    Path((project_id, id)): Path<(String, String)>,
    Body(body): Body<RestoreBody>,
) -> Answer {
    // What SQL did on the source comes along.
    control
        .sync_branch(&project_id, &body.source_branch_id)
        .await;
    let (branch, operations) = control.change(&project_id, |project, now| {
        let moment = allowed(project, &id, &body, now)?;
        let steps = replace(&control, project, &id, &body, moment, now)?;
        let shown = view(project, find(project, &id)?);
        Ok(Change { made: shown, steps })
    })?;
    ok(json!({"branch": branch, "operations": operations}))
}

/// Checks a restore; returns the point of the source's history that it asks for.
fn allowed(
    project: &Project,
    id: &str,
    body: &RestoreBody,
    now: Timestamp,
) -> Result<Option<Moment>, ApiError> {
    let branch = find(project, id)?;
    let source = project.branches.get(&body.source_branch_id);
    let source = source.ok_or(ApiError::not_found("source branch"))?;
    let (lsn, timestamp) = (body.source_lsn.as_deref(), body.source_timestamp.as_deref());
    let moment = validate::moment(project, "source_", lsn, timestamp, now)?;
    if source.id == branch.id && moment.is_none() {
        return Err(ApiError::bad_request(
            "source_lsn or source_timestamp is required to restore a branch from its own history",
        ));
    }
    match preserve_name(body) {
        Some(name) => {
            free_name(project, name, None)?;
            room_for_another(project)?;
        }
        None if source.id == branch.id => {
            return Err(ApiError::bad_request(
                "preserve_under_name is required to restore a branch from its own history",
            ));
        }
        None if project.children(id).next().is_some() => {
            return Err(ApiError::unprocessable(
                "Branch has children, preserve_under_name is required",
            ));
        }
        None => {}
    }
    if branch.protected {
        return Err(ApiError::unprocessable("cannot reset protected branch"));
    }
    if source.id == branch.id && branch.restored.is_some() {
        // Neon does not go back in the history of what came out of a snapshot.
        return Err(ApiError::unprocessable(
            "restore from snapshot on target branch is still ongoing",
        ));
    }
    if !source.state.has_data() {
        return Err(ApiError::unprocessable("branch not ready yet"));
    }
    if source.expires_at.is_some() && source.id != branch.id {
        return Err(ApiError::unprocessable(
            "cannot create a child of a branch with an expiration",
        ));
    }
    Ok(moment)
}

/// Clients send an empty name where they mean none.
fn preserve_name(body: &RestoreBody) -> Option<&str> {
    body.preserve_under_name
        .as_deref()
        .filter(|name| !name.is_empty())
}

fn replace(
    control: &Control,
    project: &mut Project,
    id: &str,
    body: &RestoreBody,
    moment: Option<Moment>,
    now: Timestamp,
) -> Result<Vec<Step>, ApiError> {
    let before = find(project, id)?.clone();
    let preserved = preserve_name(body).map(|name| preserve(project, &before, name, now));
    // The branch's own history is now that of the branch that holds the data from before.
    let source_id = match &preserved {
        Some(preserved) if body.source_branch_id == id => preserved.clone(),
        _ => body.source_branch_id.clone(),
    };
    let source = find(project, &source_id)?.clone();
    let discard = preserved.is_none().then(|| before.timeline.clone());
    let branch = Branch {
        timeline: names::timeline_id(),
        parent_id: Some(source_id.clone()),
        parent_moment: moment.clone(),
        state: BranchState::Resetting,
        pending_state: Some(BranchState::Ready),
        state_changed_at: now,
        updated_at: now,
        last_reset: Some(Reset {
            at: now,
            source_id: body.source_branch_id.clone(),
            preserved_as: preserved,
        }),
        restored: None,
        roles: source.roles,
        databases: source.databases,
        ..before
    };
    project.branches.insert(id.to_owned(), branch);
    let running: Vec<&Endpoint> = project
        .endpoints_of(id)
        .filter(|endpoint| control.is_active(endpoint))
        .collect();
    let replace = Work::ReplaceTimeline {
        source_id,
        moment,
        discard,
    };
    let suspend = |it: &&Endpoint| it.step(Action::SuspendCompute, Work::SuspendCompute);
    let start = |it: &&Endpoint| it.step(Action::StartCompute, Work::StartCompute);
    let mut steps: Vec<Step> = running.iter().map(suspend).collect();
    steps.push(Step {
        action: Action::CreateBranch,
        branch_id: id.to_owned(),
        endpoint_id: None,
        work: replace,
    });
    steps.extend(running.iter().map(start));
    Ok(steps)
}

/// Gives the data that a branch has now to a branch of another name, with its children. Returns
/// the new branch's id.
fn preserve(project: &mut Project, before: &Branch, name: &str, now: Timestamp) -> String {
    let kept = Branch {
        id: names::branch_id(),
        name: name.to_owned(),
        default: false,
        protected: false,
        expires_at: None,
        ttl_interval_seconds: None,
        annotations: std::collections::BTreeMap::new(),
        schedule: Schedule::default(),
        created_at: now,
        updated_at: now,
        ..before.clone()
    };
    let id = kept.id.clone();
    for branch in project.branches.values_mut() {
        if branch.parent_id.as_ref() == Some(&before.id) {
            branch.parent_id = Some(id.clone());
        }
    }
    project.branches.insert(id.clone(), kept);
    id
}
