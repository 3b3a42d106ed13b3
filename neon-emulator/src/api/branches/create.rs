//! Making a branch, with its endpoint in the same call.

use std::collections::BTreeMap;

use axum::extract::{Path, State};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    rules::{
        free_name, may_expire, room_for_another, room_for_protection, room_for_root, set_expiry,
    },
    view::{connection_uris, view},
};
use crate::{
    api::{
        Answer, Change, Shared, created, databases, endpoints,
        error::ApiError,
        put,
        request::Body,
        roles,
        validate::{self, ComputeRequest},
    },
    control::Control,
    names,
    state::{
        model::{Branch, BranchState, Endpoint, EndpointKind, Project},
        operation::{Action, Step, Work},
        snapshot::Schedule,
    },
};

#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct CreateBody {
    branch: CreateBranch,
    endpoints: Vec<CreateEndpoint>,
    annotation_value: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct CreateBranch {
    name: Option<String>,
    parent_id: Option<String>,
    parent_lsn: Option<String>,
    parent_timestamp: Option<String>,
    init_source: Option<String>,
    protected: bool,
    archived: bool,
    expires_at: Option<String>,
}

#[derive(Deserialize)]
struct CreateEndpoint {
    #[serde(rename = "type")]
    kind: EndpointKind,
    #[serde(flatten)]
    compute: ComputeRequest,
}

pub(crate) async fn create(
    State(control): Shared,
    Path(project_id): Path<String>,
    Body(body): Body<CreateBody>,
) -> Answer {
    let parent_id = control.look(&project_id, |project| {
        parent(project, &body.branch).map(|p| p.id.clone())
    })?;
    // What SQL did on the parent belongs to the child too.
    control.sync_branch(&project_id, &parent_id).await;
    let (mut shown, operations) = control.change(&project_id, |project, now| {
        let (branch, step) = make(project, &body, now)?;
        let endpoints = first_endpoints(project, &branch, &body.endpoints, now)?;
        let mut steps = vec![step];
        steps.extend(
            endpoints
                .iter()
                .map(|it| it.step(Action::StartCompute, Work::StartCompute)),
        );
        project.branches.insert(branch.id.clone(), branch.clone());
        project
            .endpoints
            .extend(endpoints.iter().map(|it| (it.id.clone(), it.clone())));
        let made = shown_whole(&control, project, &branch, &endpoints);
        Ok(Change { made, steps })
    })?;
    put(&mut shown, "operations", Some(operations));
    created(shown)
}

/// The branch to copy: the one that is named, else the default branch.
fn parent<'a>(project: &'a Project, asked: &CreateBranch) -> Result<&'a Branch, ApiError> {
    let found = match &asked.parent_id {
        Some(id) => project.branches.get(id),
        None => project.default_branch(),
    };
    found.ok_or(ApiError::not_found("parent branch"))
}

fn make(project: &Project, body: &CreateBody, now: Timestamp) -> Result<(Branch, Step), ApiError> {
    let asked = &body.branch;
    validate::annotations(&body.annotation_value)?;
    let schema_only = schema_only(asked)?;
    if asked.archived && asked.protected {
        return Err(ApiError::unprocessable(
            "a protected branch cannot be archived",
        ));
    }
    let parent = parent(project, asked)?;
    let (lsn, timestamp) = (
        asked.parent_lsn.as_deref(),
        asked.parent_timestamp.as_deref(),
    );
    let moment = validate::moment(project, "parent_", lsn, timestamp, now)?;
    let id = names::branch_id();
    let name = asked.name.clone().unwrap_or_else(|| id.clone());
    free_name(project, &name, None)?;
    if parent.expires_at.is_some() && !schema_only {
        return Err(ApiError::unprocessable(
            "cannot create a child of a branch with an expiration",
        ));
    }
    if !parent.state.has_data() {
        return Err(ApiError::unprocessable("branch not ready yet"));
    }
    let mut branch = Branch {
        name,
        timeline: id.clone(),
        parent_id: (!schema_only).then(|| parent.id.clone()),
        schema_only,
        parent_moment: moment.clone(),
        state: BranchState::Init,
        pending_state: Some(if asked.archived {
            BranchState::Archived
        } else {
            BranchState::Ready
        }),
        state_changed_at: now,
        default: false,
        protected: asked.protected,
        expires_at: None,
        ttl_interval_seconds: None,
        annotations: body.annotation_value.clone(),
        created_at: now,
        updated_at: now,
        last_reset: None,
        restored: None,
        schedule: Schedule::default(),
        roles: parent.roles.clone(),
        databases: parent.databases.clone(),
        id,
    };
    set_expiry(project, &mut branch, asked.expires_at.as_deref(), now)?;
    may_expire(project, &branch)?;
    room_for_another(project)?;
    if schema_only {
        room_for_root(project)?;
    }
    if branch.protected {
        room_for_protection(project)?;
    }
    if parent.protected {
        keep_apart(&mut branch, now);
    }
    let (source_id, new_passwords) = (parent.id.clone(), parent.protected);
    let step = if schema_only {
        let work = Work::CopySchema {
            source_id,
            new_passwords,
        };
        first_step(&branch, Action::ApplySchemaFromBranch, work)
    } else {
        let work = Work::CopyTimeline {
            parent_id: source_id,
            moment,
            new_passwords,
        };
        first_step(&branch, Action::CreateBranch, work)
    };
    Ok((branch, step))
}

/// A protected parent keeps its passwords to itself.
fn keep_apart(branch: &mut Branch, now: Timestamp) {
    for role in branch.roles.values_mut() {
        if role.password.is_some() {
            role.password = Some(names::password());
            role.updated_at = now;
        }
    }
}

fn first_step(branch: &Branch, action: Action, work: Work) -> Step {
    Step {
        action,
        branch_id: branch.id.clone(),
        endpoint_id: None,
        work,
    }
}

/// Whether the branch gets the parent's schema without its rows. Refuses what is not emulated
/// rather than making something else of it.
fn schema_only(asked: &CreateBranch) -> Result<bool, ApiError> {
    let past = asked.parent_lsn.is_some() || asked.parent_timestamp.is_some();
    match asked.init_source.as_deref() {
        None | Some("parent-data") => Ok(false),
        Some("schema-only") if !past => Ok(true),
        Some("schema-only") => Err(ApiError::unprocessable(
            "a schema of the past is not emulated",
        )),
        Some(other) => Err(ApiError::unprocessable(format!(
            "init_source {other:?} is not emulated"
        ))),
    }
}

fn first_endpoints(
    project: &Project,
    branch: &Branch,
    asked: &[CreateEndpoint],
    now: Timestamp,
) -> Result<Vec<Endpoint>, ApiError> {
    let read_write = |one: &&CreateEndpoint| one.kind == EndpointKind::ReadWrite;
    if asked.iter().filter(read_write).count() > 1 {
        return Err(ApiError::conflict(endpoints::READ_WRITE_EXISTS));
    }
    asked
        .iter()
        .map(|one| {
            let compute = one
                .compute
                .apply(&project.endpoint_defaults, &project.limits)?;
            Ok(Endpoint::new(&branch.id, one.kind, compute, now))
        })
        .collect()
}

/// A new branch with everything that came with it.
fn shown_whole(control: &Control, project: &Project, branch: &Branch, made: &[Endpoint]) -> Value {
    let mut shown = json!({
        "branch": view(project, branch),
        "endpoints": made.iter().map(|it| endpoints::view(control, project, it)).collect::<Vec<_>>(),
        "roles": branch.roles.values().map(|role| roles::view(&branch.id, role)).collect::<Vec<_>>(),
        "databases": branch.databases.values().map(|db| databases::view(&branch.id, db)).collect::<Vec<_>>(),
    });
    let uris = made
        .first()
        .map(|endpoint| connection_uris(control, branch, endpoint));
    put(
        &mut shown,
        "connection_uris",
        uris.filter(|uris| uris.as_array().is_some_and(|all| !all.is_empty())),
    );
    shown
}
