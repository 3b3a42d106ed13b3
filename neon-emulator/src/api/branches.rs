//! `/projects/{project_id}/branches`.

use std::{cmp::Ordering, collections::BTreeMap};

use axum::extract::{Path, State};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Answer, Change, Shared, created, databases, endpoints,
    error::ApiError,
    instant, no_content, ok, put,
    request::{Body, Field, Query},
    roles,
    validate::{self, ComputeRequest},
};
use crate::{
    control::Control,
    names,
    state::{
        model::{Branch, BranchState, Endpoint, Project},
        operation::{Action, Step, Work},
    },
};

const LIMITS: std::ops::RangeInclusive<usize> = 1..=10_000;

#[derive(Default, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum SortBy {
    Name,
    CreatedAt,
    #[default]
    UpdatedAt,
}

#[derive(Default, Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum SortOrder {
    Asc,
    #[default]
    Desc,
}

#[derive(Deserialize)]
pub(crate) struct ListQuery {
    limit: Option<usize>,
    cursor: Option<String>,
    search: Option<String>,
    #[serde(default)]
    sort_by: SortBy,
    #[serde(default)]
    sort_order: SortOrder,
}

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
    expires_at: Option<String>,
}

#[derive(Deserialize)]
struct CreateEndpoint {
    #[serde(rename = "type")]
    kind: endpoints::Kind,
    #[serde(flatten)]
    compute: ComputeRequest,
}

#[derive(Deserialize)]
pub(crate) struct UpdateBody {
    branch: UpdateBranch,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct UpdateBranch {
    name: Option<String>,
    protected: Option<bool>,
    expires_at: Field<String>,
}

pub(crate) async fn list(
    State(control): Shared,
    Path(project_id): Path<String>,
    Query(query): Query<ListQuery>,
) -> Answer {
    let limit = query.limit.unwrap_or(*LIMITS.end());
    if !LIMITS.contains(&limit) {
        return Err(ApiError::bad_request("limit must be between 1 and 10000"));
    }
    let search = query.search.as_deref().unwrap_or_default();
    control.look(&project_id, |project| {
        let mut found: Vec<&Branch> = matching(project, search).collect();
        found.sort_by(|a, b| compare(a, b, query.sort_by, query.sort_order));
        let start = match &query.cursor {
            Some(cursor) => {
                found
                    .iter()
                    .take_while(|branch| branch.id != *cursor)
                    .count()
                    + 1
            }
            None => 0,
        };
        let more = found.len() > start + limit;
        let page: Vec<&Branch> = found.into_iter().skip(start).take(limit).collect();
        let annotated = page.iter().filter(|branch| !branch.annotations.is_empty());
        let annotations: BTreeMap<_, _> = annotated
            .map(|branch| (branch.id.clone(), annotation(branch)))
            .collect();
        let mut body = json!({
            "branches": page.iter().map(|branch| view(project, branch)).collect::<Vec<_>>(),
            "annotations": annotations,
        });
        let next = page.last().filter(|_| more);
        put(
            &mut body,
            "pagination",
            Some(next.map_or_else(|| json!({}), |last| json!({"next": last.id}))),
        );
        ok(body)
    })
}

pub(crate) async fn count(
    State(control): Shared,
    Path(project_id): Path<String>,
    Query(query): Query<ListQuery>,
) -> Answer {
    let search = query.search.as_deref().unwrap_or_default();
    control.look(&project_id, |project| {
        ok(json!({"count": matching(project, search).count()}))
    })
}

pub(crate) async fn show(
    State(control): Shared,
    Path((project_id, id)): Path<(String, String)>,
) -> Answer {
    control.look(&project_id, |project| {
        let branch = find(project, &id)?;
        ok(json!({"branch": view(project, branch), "annotation": annotation(branch)}))
    })
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
        let endpoint = first_endpoint(project, &branch, &body.endpoints, now)?;
        let mut steps = vec![step];
        steps.extend(
            endpoint
                .iter()
                .map(|it| it.step(Action::StartCompute, Work::StartCompute)),
        );
        project.branches.insert(branch.id.clone(), branch.clone());
        project
            .endpoints
            .extend(endpoint.iter().map(|it| (it.id.clone(), it.clone())));
        let made = shown_whole(&control, project, &branch, endpoint.as_ref());
        Ok(Change { made, steps })
    })?;
    put(&mut shown, "operations", Some(operations));
    created(shown)
}

pub(crate) async fn update(
    State(control): Shared,
    Path((project_id, id)): Path<(String, String)>,
    Body(body): Body<UpdateBody>,
) -> Answer {
    let asked = body.branch;
    let (branch, operations) = control.change(&project_id, |project, now| {
        let mut branch = find(project, &id)?.clone();
        if let Some(name) = asked.name {
            free_name(project, &name, Some(&id))?;
            branch.name = name;
        }
        if let Some(protected) = asked.protected {
            branch.protected = protected;
        }
        match asked.expires_at {
            Field::Absent => {}
            Field::Null => set_expiry(&mut branch, None, now)?,
            Field::Value(at) => set_expiry(&mut branch, Some(&at), now)?,
        }
        may_expire(project, &branch)?;
        branch.updated_at = now;
        let shown = view(project, &branch);
        project.branches.insert(id, branch);
        Ok(Change::done(shown))
    })?;
    ok(json!({"branch": branch, "operations": operations}))
}

pub(crate) async fn delete(
    State(control): Shared,
    Path((project_id, id)): Path<(String, String)>,
) -> Answer {
    let gone = control.look(&project_id, |project| {
        Ok(!project.branches.contains_key(&id))
    })?;
    if gone {
        return no_content();
    }
    let (branch, operations) = control.change(&project_id, |project, _| {
        let branch = find(project, &id)?;
        deletable(project, branch)?;
        let shown = view(project, branch);
        Ok(Change {
            made: shown,
            steps: project.remove_branch(&id),
        })
    })?;
    ok(json!({"branch": branch, "operations": operations}))
}

pub(crate) async fn set_as_default(
    State(control): Shared,
    Path((project_id, id)): Path<(String, String)>,
) -> Answer {
    let (branch, operations) = control.change(&project_id, |project, now| {
        if find(project, &id)?.expires_at.is_some() {
            return Err(ApiError::unprocessable(
                "a branch with an expiration cannot be the default branch",
            ));
        }
        for branch in project.branches.values_mut() {
            branch.default = branch.id == id;
        }
        if let Some(branch) = project.branches.get_mut(&id) {
            branch.updated_at = now;
        }
        Ok(Change::done(view(project, find(project, &id)?)))
    })?;
    ok(json!({"branch": branch, "operations": operations}))
}

/// The branch, or 404.
pub(crate) fn find<'a>(project: &'a Project, id: &str) -> Result<&'a Branch, ApiError> {
    project
        .branches
        .get(id)
        .ok_or(ApiError::not_found("branch"))
}

/// The same, to change it.
pub(crate) fn find_mut<'a>(project: &'a mut Project, id: &str) -> Result<&'a mut Branch, ApiError> {
    project
        .branches
        .get_mut(id)
        .ok_or(ApiError::not_found("branch"))
}

fn matching<'a>(project: &'a Project, search: &'a str) -> impl Iterator<Item = &'a Branch> {
    let matches =
        move |branch: &&Branch| branch.name.contains(search) || branch.id.contains(search);
    project.branches.values().filter(matches)
}

fn compare(a: &Branch, b: &Branch, by: SortBy, order: SortOrder) -> Ordering {
    let primary = match by {
        SortBy::Name => a.name.cmp(&b.name),
        SortBy::CreatedAt => a.created_at.cmp(&b.created_at),
        SortBy::UpdatedAt => a.updated_at.cmp(&b.updated_at),
    };
    let ascending = primary.then_with(|| a.id.cmp(&b.id));
    if order == SortOrder::Asc {
        ascending
    } else {
        ascending.reverse()
    }
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
    only_present_data(asked)?;
    let parent = parent(project, asked)?;
    let id = names::branch_id();
    let name = asked.name.clone().unwrap_or_else(|| id.clone());
    free_name(project, &name, None)?;
    if parent.expires_at.is_some() {
        return Err(ApiError::unprocessable(
            "cannot create a child of a branch with an expiration",
        ));
    }
    if parent.state != BranchState::Ready {
        return Err(ApiError::unprocessable("branch not ready yet"));
    }
    let mut branch = Branch {
        name,
        parent_id: Some(parent.id.clone()),
        state: BranchState::Init,
        state_changed_at: now,
        default: false,
        protected: asked.protected,
        expires_at: None,
        ttl_interval_seconds: None,
        annotations: body.annotation_value.clone(),
        created_at: now,
        updated_at: now,
        roles: parent.roles.clone(),
        databases: parent.databases.clone(),
        id,
    };
    set_expiry(&mut branch, asked.expires_at.as_deref(), now)?;
    may_expire(project, &branch)?;
    // A protected parent keeps its passwords to itself.
    if parent.protected {
        for role in branch
            .roles
            .values_mut()
            .filter(|role| role.password.is_some())
        {
            role.password = Some(names::password());
            role.updated_at = now;
        }
    }
    let work = Work::CopyTimeline {
        parent_id: parent.id.clone(),
        new_passwords: parent.protected,
    };
    let step = Step {
        action: Action::CreateBranch,
        branch_id: branch.id.clone(),
        endpoint_id: None,
        work,
    };
    Ok((branch, step))
}

/// Refuses what is not emulated rather than making something else of it.
fn only_present_data(asked: &CreateBranch) -> Result<(), ApiError> {
    if asked.parent_lsn.is_some() || asked.parent_timestamp.is_some() {
        return Err(ApiError::unprocessable(
            "branching from the past is not emulated",
        ));
    }
    match asked.init_source.as_deref() {
        None | Some("parent-data") => Ok(()),
        Some(other) => Err(ApiError::unprocessable(format!(
            "init_source {other:?} is not emulated"
        ))),
    }
}

fn first_endpoint(
    project: &Project,
    branch: &Branch,
    asked: &[CreateEndpoint],
    now: Timestamp,
) -> Result<Option<Endpoint>, ApiError> {
    for endpoint in asked {
        endpoint.kind.check()?;
    }
    match asked {
        [] => Ok(None),
        [one] => {
            let compute = one.compute.apply(&project.endpoint_defaults)?;
            Ok(Some(Endpoint::new(&branch.id, compute, now)))
        }
        _ => Err(ApiError::conflict(endpoints::READ_WRITE_EXISTS)),
    }
}

fn free_name(project: &Project, name: &str, own_id: Option<&str>) -> Result<(), ApiError> {
    validate::title(name)?;
    match project.named(name) {
        Some(taken) if Some(taken.id.as_str()) != own_id => Err(ApiError::conflict(format!(
            "branch with name {name:?} already exists"
        ))),
        _ => Ok(()),
    }
}

fn set_expiry(branch: &mut Branch, at: Option<&str>, now: Timestamp) -> Result<(), ApiError> {
    let at = at.map(|text| validate::expiry(text, now)).transpose()?;
    branch.expires_at = at;
    branch.ttl_interval_seconds = at.map(|at| at.duration_since(now).as_secs());
    Ok(())
}

fn may_expire(project: &Project, branch: &Branch) -> Result<(), ApiError> {
    let obstacle = match branch {
        Branch {
            expires_at: None, ..
        } => return Ok(()),
        Branch { default: true, .. } => "default branch",
        Branch {
            protected: true, ..
        } => "protected branch",
        _ if project.children(&branch.id).next().is_some() => "branch that has children",
        _ => return Ok(()),
    };
    Err(ApiError::unprocessable(format!(
        "cannot set expiration on {obstacle}"
    )))
}

fn deletable(project: &Project, branch: &Branch) -> Result<(), ApiError> {
    if branch.default {
        return Err(ApiError::unprocessable("cannot delete default branch"));
    }
    if branch.protected {
        return Err(ApiError::unprocessable("cannot delete protected branch"));
    }
    let children: Vec<&str> = project
        .children(&branch.id)
        .map(|child| child.id.as_str())
        .collect();
    if !children.is_empty() {
        return Err(ApiError::unprocessable(format!(
            "cannot delete branch that has children: {}",
            children.join(", ")
        )));
    }
    Ok(())
}

/// A new branch with everything that came with it.
fn shown_whole(
    control: &Control,
    project: &Project,
    branch: &Branch,
    endpoint: Option<&Endpoint>,
) -> Value {
    let mut shown = json!({
        "branch": view(project, branch),
        "endpoints": endpoint.iter().map(|it| endpoints::view(control, project, it)).collect::<Vec<_>>(),
        "roles": branch.roles.values().map(|role| roles::view(&branch.id, role)).collect::<Vec<_>>(),
        "databases": branch.databases.values().map(|db| databases::view(&branch.id, db)).collect::<Vec<_>>(),
    });
    let uris = endpoint.map(|endpoint| connection_uris(control, branch, endpoint));
    put(
        &mut shown,
        "connection_uris",
        uris.filter(|uris| uris.as_array().is_some_and(|all| !all.is_empty())),
    );
    shown
}

/// Empty where there is more than one role or database, as it is not clear then which is meant.
pub(crate) fn connection_uris(control: &Control, branch: &Branch, endpoint: &Endpoint) -> Value {
    let mut roles = branch.roles.values();
    let mut databases = branch.databases.values();
    let (Some(role), None, Some(database), None) = (
        roles.next(),
        roles.next(),
        databases.next(),
        databases.next(),
    ) else {
        return json!([]);
    };
    let Some(password) = &role.password else {
        return json!([]);
    };
    let host = names::host(&endpoint.id);
    json!([{
        "connection_uri": control.uri(&host, &role.name, password, &database.name),
        "connection_parameters": {
            "database": database.name,
            "role": role.name,
            "password": password.expose(),
            "host": host,
            "pooler_host": names::pooler_host(&endpoint.id),
        },
    }])
}

fn annotation(branch: &Branch) -> Value {
    json!({
        "object": {"type": "console/branch", "id": branch.id},
        "value": branch.annotations,
        "created_at": instant(branch.created_at),
        "updated_at": instant(branch.created_at),
    })
}

pub(crate) fn view(project: &Project, branch: &Branch) -> Value {
    let mut shown = json!({
        "id": branch.id,
        "project_id": project.id,
        "name": branch.name,
        "current_state": branch.state,
        "state_changed_at": instant(branch.state_changed_at),
        "creation_source": "console",
        "init_source": "parent-data",
        "default": branch.default,
        "primary": branch.default,
        "protected": branch.protected,
        "cpu_used_sec": 0,
        "active_time_seconds": 0,
        "compute_time_seconds": 0,
        "written_data_bytes": 0,
        "data_transfer_bytes": 0,
        "created_at": instant(branch.created_at),
        "updated_at": instant(branch.updated_at),
    });
    put(
        &mut shown,
        "parent_id",
        branch.parent_id.as_ref().map(|id| json!(id)),
    );
    put(
        &mut shown,
        "pending_state",
        (branch.state == BranchState::Init).then(|| json!("ready")),
    );
    put(&mut shown, "expires_at", branch.expires_at.map(instant));
    put(
        &mut shown,
        "ttl_interval_seconds",
        branch.ttl_interval_seconds.map(|seconds| json!(seconds)),
    );
    if branch.parent_id.is_some() {
        put(
            &mut shown,
            "parent_timestamp",
            Some(instant(branch.created_at)),
        );
    }
    shown
}
