//! `/projects`.

use std::collections::BTreeMap;

use axum::{
    Extension,
    extract::{Path, State},
};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    Answer, Change, Shared,
    access::Caller,
    branches, created, databases, endpoints,
    error::ApiError,
    instant, ok, operations, organizations, put,
    request::{Body, Query},
    roles, users,
    validate::{self, ComputeRequest},
};
use crate::{
    control::Control,
    limits::Limits,
    names,
    state::{
        access::{Scope, USER_ID},
        model::{
            Branch, BranchState, ComputeSettings, Database, Endpoint, EndpointKind, Project, Role,
        },
        operation::{Action, Status, Step, Work},
        snapshot::Schedule,
    },
    usage::{Of, next_period, period_start, whole},
};

const LIMITS: std::ops::RangeInclusive<usize> = 1..=400;
/// Neon's default, which surprises clients that do not page.
const DEFAULT_LIMIT: usize = 10;
const DEFAULT_RETENTION_SECONDS: i64 = 86_400;

#[derive(Deserialize)]
pub(crate) struct ListQuery {
    limit: Option<usize>,
    cursor: Option<String>,
    search: Option<String>,
    org_id: Option<String>,
}

#[derive(Deserialize)]
pub(crate) struct CreateBody {
    project: CreateProject,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct CreateProject {
    name: Option<String>,
    region_id: Option<String>,
    org_id: Option<String>,
    pg_version: Option<u32>,
    store_passwords: Option<bool>,
    history_retention_seconds: Option<i64>,
    settings: Option<Map<String, Value>>,
    default_endpoint_settings: Option<ComputeRequest>,
    branch: FirstBranch,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct FirstBranch {
    name: Option<String>,
    role_name: Option<String>,
    database_name: Option<String>,
    annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
pub(crate) struct UpdateBody {
    project: UpdateProject,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct UpdateProject {
    name: Option<String>,
    history_retention_seconds: Option<i64>,
    settings: Option<Map<String, Value>>,
    default_endpoint_settings: Option<ComputeRequest>,
}

pub(crate) async fn list(
    State(control): Shared,
    Extension(Caller(key)): Extension<Caller>,
    Query(query): Query<ListQuery>,
) -> Answer {
    let limit = query.limit.unwrap_or(DEFAULT_LIMIT);
    if !LIMITS.contains(&limit) {
        return Err(ApiError::bad_request("limit must be between 1 and 400"));
    }
    let search = query.search.unwrap_or_default();
    let org_id = owner(&control, &key.scope, query.org_id)?;
    let body = control.store.read(|state| {
        let mut found: Vec<&Project> = state
            .projects
            .values()
            .filter(|project| project.name.contains(&search) || project.id.contains(&search))
            .filter(|project| project.org_id == org_id)
            .collect();
        found.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
        let rest: Vec<&Project> = match &query.cursor {
            Some(cursor) => found
                .into_iter()
                .skip_while(|project| project.id != *cursor)
                .skip(1)
                .take(limit)
                .collect(),
            None => found.into_iter().take(limit).collect(),
        };
        let shown: Vec<Value> = rest
            .iter()
            .map(|project| list_item(project, &control))
            .collect();
        let mut body = json!({"projects": shown, "applications": {}, "integrations": {}});
        put(
            &mut body,
            "pagination",
            rest.last().map(|project| json!({"cursor": project.id})),
        );
        body
    });
    ok(body)
}

/// Projects that others share with the caller: none.
pub(crate) async fn shared(State(_): Shared) -> Answer {
    ok(json!({"projects": []}))
}

pub(crate) async fn show(State(control): Shared, Path(id): Path<String>) -> Answer {
    control.look(&id, |project| {
        ok(json!({"project": view(project, &control)}))
    })
}

pub(crate) async fn create(
    State(control): Shared,
    Extension(Caller(key)): Extension<Caller>,
    Body(mut body): Body<CreateBody>,
) -> Answer {
    let now = Timestamp::now();
    let installed = control.postgres.major();
    if body
        .project
        .pg_version
        .is_some_and(|asked| asked != installed)
    {
        return Err(ApiError::unprocessable(format!(
            "the emulator runs PostgreSQL {installed} and no other version"
        )));
    }
    body.project.org_id = owner(&control, &key.scope, body.project.org_id)?;
    let (mut project, branch, endpoint) = make(body.project, control.limits.clone(), now)?;
    let steps = vec![
        Step {
            action: Action::CreateTimeline,
            branch_id: branch.id.clone(),
            endpoint_id: None,
            work: Work::InitTimeline,
        },
        endpoint.step(Action::StartCompute, Work::StartCompute),
    ];
    project.branches.insert(branch.id.clone(), branch.clone());
    project
        .endpoints
        .insert(endpoint.id.clone(), endpoint.clone());
    let ids = project.record(steps, Status::Scheduling, now);
    control.store.update(|state| {
        state.projects.insert(project.id.clone(), project.clone());
        Ok::<_, ApiError>(())
    })?;
    control.run(project.id.clone(), ids.clone());
    created(json!({
        "project": view(&project, &control),
        "connection_uris": branches::connection_uris(&control, &branch, &endpoint),
        "roles": branch.roles.values().map(|role| roles::view_with_password(&branch.id, role)).collect::<Vec<_>>(),
        "databases": branch.databases.values().map(|db| databases::view(&branch.id, db)).collect::<Vec<_>>(),
        "operations": operations::views(&project, &ids),
        "branch": branches::view(&project, &branch),
        "endpoints": [endpoints::view(&control, &project, &endpoint)],
    }))
}

pub(crate) async fn update(
    State(control): Shared,
    Path(id): Path<String>,
    Body(body): Body<UpdateBody>,
) -> Answer {
    let asked = body.project;
    let (shown, operations) = control.change(&id, |project, now| {
        if let Some(name) = asked.name {
            validate::title(&name)?;
            project.name = name;
        }
        if let Some(seconds) = asked.history_retention_seconds {
            project.history_retention_seconds = retention(seconds, &project.limits)?;
        }
        if let Some(settings) = asked.settings {
            validate::settings(&settings)?;
            project.settings.extend(settings);
        }
        if let Some(defaults) = asked.default_endpoint_settings {
            // They hold for endpoints made from now on, not for existing ones.
            project.endpoint_defaults =
                defaults.apply(&project.endpoint_defaults, &project.limits)?;
        }
        project.updated_at = now;
        Ok(Change::done(view(project, &control)))
    })?;
    ok(json!({"project": shown, "operations": operations}))
}

pub(crate) async fn delete(State(control): Shared, Path(id): Path<String>) -> Answer {
    let project = control.store.update(|state| {
        let project = state
            .projects
            .get(&id)
            .ok_or(ApiError::not_found("project"))?;
        if project.is_locked() {
            return Err(ApiError::locked());
        }
        if project.branches.values().any(|branch| branch.protected) {
            return Err(ApiError::unprocessable(
                "cannot delete project with protected branches",
            ));
        }
        state
            .projects
            .remove(&id)
            .ok_or(ApiError::not_found("project"))
    })?;
    let shown = view(&project, &control);
    control.remove_project(project);
    ok(json!({"project": shown}))
}

/// The organization whose projects are meant. Personal projects exist only as long as there is no organization.
pub(super) fn owner(
    control: &Control,
    scope: &Scope,
    asked: Option<String>,
) -> Result<Option<String>, ApiError> {
    match (scope.organization(), asked) {
        (Some(own), None) => Ok(Some(own.to_owned())),
        (Some(own), Some(asked)) if own == asked => Ok(Some(asked)),
        (Some(_), Some(_)) => Err(ApiError::not_found("organization")),
        (None, Some(asked)) => Ok(Some(organizations::known(control, &asked)?.id)),
        (None, None) if control.store.read(|state| state.organizations.is_empty()) => Ok(None),
        (None, None) => Err(ApiError::bad_request(
            "org_id is required, you can find it on your organization settings page",
        )),
    }
}

/// A project with its first branch and endpoint, not yet joined.
fn make(
    asked: CreateProject,
    limits: Limits,
    now: Timestamp,
) -> Result<(Project, Branch, Endpoint), ApiError> {
    let id = names::project_id();
    let name = asked.name.unwrap_or_else(|| id.clone());
    validate::title(&name)?;
    let first = asked.branch;
    let branch_name = first.name.unwrap_or_else(|| "main".to_owned());
    validate::title(&branch_name)?;
    let database = first.database_name.unwrap_or_else(|| "neondb".to_owned());
    let role = first
        .role_name
        .unwrap_or_else(|| format!("{database}_owner"));
    validate::sql_name("database", &database)?;
    validate::sql_name("role", &role)?;
    validate::annotations(&first.annotations)?;
    validate::settings(asked.settings.as_ref().unwrap_or(&Map::new()))?;
    let endpoint_defaults = asked
        .default_endpoint_settings
        .unwrap_or_default()
        .apply(&ComputeSettings::default(), &limits)?;
    let branch_id = names::branch_id();
    let branch = Branch {
        timeline: branch_id.clone(),
        id: branch_id,
        name: branch_name,
        parent_id: None,
        schema_only: false,
        parent_moment: None,
        state: BranchState::Init,
        pending_state: Some(BranchState::Ready),
        state_changed_at: now,
        default: true,
        protected: false,
        expires_at: None,
        ttl_interval_seconds: None,
        annotations: first.annotations,
        created_at: now,
        updated_at: now,
        last_reset: None,
        restored: None,
        schedule: Schedule::default(),
        databases: BTreeMap::from([(database.clone(), Database::new(&database, &role, now))]),
        roles: BTreeMap::from([(role.clone(), Role::new(&role, true, now))]),
    };
    let endpoint = Endpoint::new(
        &branch.id,
        EndpointKind::ReadWrite,
        endpoint_defaults.clone(),
        now,
    );
    let project = Project {
        id,
        name,
        region_id: asked
            .region_id
            .unwrap_or_else(|| "aws-us-east-2".to_owned()),
        org_id: asked.org_id,
        store_passwords: asked.store_passwords.unwrap_or(true),
        history_retention_seconds: retention(
            asked
                .history_retention_seconds
                .unwrap_or(DEFAULT_RETENTION_SECONDS.min(limits.longest_history_seconds)),
            &limits,
        )?,
        limits,
        settings: asked.settings.unwrap_or_default(),
        endpoint_defaults,
        created_at: now,
        updated_at: now,
        branches: BTreeMap::new(),
        endpoints: BTreeMap::new(),
        snapshots: BTreeMap::new(),
        operations: Vec::new(),
    };
    Ok((project, branch, endpoint))
}

fn retention(seconds: i64, limits: &Limits) -> Result<i64, ApiError> {
    let longest = limits.longest_history_seconds;
    if (0..=longest).contains(&seconds) {
        return Ok(seconds);
    }
    Err(ApiError::bad_request(format!(
        "requested history retention seconds exceeds allowed maximum; requested_history_retention_seconds:\"{seconds}\", max:\"{longest}\"",
    )))
}

/// A project by itself: with its owner and what it has used.
fn view(project: &Project, control: &Control) -> Value {
    let mut shown = common(project, control);
    let owner = json!({
        "email": users::EMAIL, "name": users::user_name(), "subscription_type": "scale",
        "branches_limit": project.limits.branches,
    });
    put(&mut shown, "owner", Some(owner));
    let now = Timestamp::now();
    let start = period_start(now);
    for (key, at) in [
        ("consumption_period_start", start.max(project.created_at)),
        ("consumption_period_end", next_period(start)),
    ] {
        put(&mut shown, key, Some(instant(at)));
    }
    let used = control
        .usage
        .between(Of::Project(&project.id), start, now, now);
    for (key, seconds) in [
        ("active_time_seconds", used.active_seconds),
        ("compute_time_seconds", used.compute_seconds),
    ] {
        put(&mut shown, key, Some(json!(whole(seconds))));
    }
    for unmeasured in [
        "written_data_bytes",
        "data_transfer_bytes",
        "data_storage_bytes_hour",
    ] {
        put(&mut shown, unmeasured, Some(json!(0)));
    }
    shown
}

/// A project in a list.
fn list_item(project: &Project, control: &Control) -> Value {
    let mut shown = common(project, control);
    put(&mut shown, "active_time", Some(json!(0)));
    shown
}

fn common(project: &Project, control: &Control) -> Value {
    let defaults = &project.endpoint_defaults;
    let mut shown = json!({
        "id": project.id,
        "name": project.name,
        "platform_id": "aws",
        "region_id": project.region_id,
        "pg_version": control.postgres.major(),
        "provisioner": "k8s-neonvm",
        "proxy_host": names::DOMAIN,
        "store_passwords": project.store_passwords,
        "history_retention_seconds": project.history_retention_seconds,
        "settings": project.settings,
        "default_endpoint_settings": {
            "autoscaling_limit_min_cu": defaults.min_cu,
            "autoscaling_limit_max_cu": defaults.max_cu,
            "suspend_timeout_seconds": defaults.suspend_timeout_seconds,
            "pg_settings": defaults.pg_settings,
        },
        "creation_source": "console",
        "owner_id": project.org_id.as_deref().unwrap_or(USER_ID),
        "created_at": instant(project.created_at),
        "updated_at": instant(project.updated_at),
    });
    for unmeasured in [
        "cpu_used_sec",
        "branch_logical_size_limit",
        "branch_logical_size_limit_bytes",
        "synthetic_storage_size",
    ] {
        put(&mut shown, unmeasured, Some(json!(0)));
    }
    put(
        &mut shown,
        "org_id",
        project.org_id.as_ref().map(|id| json!(id)),
    );
    shown
}
