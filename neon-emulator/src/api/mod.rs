//! Neon's API v2 over HTTP: routes, request ids, and the one way in which a
//! mutation changes a project. The modules below hold one resource each.

mod access;
mod backup_schedule;
mod branches;
mod connection_uri;
mod consumption;
mod databases;
mod endpoints;
mod error;
mod faults;
mod keys;
mod limits;
pub(crate) mod line;
mod operations;
mod organizations;
mod projects;
mod request;
mod roles;
mod snapshots;
mod users;
mod validate;

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Request, State},
    http::{HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{delete, get, patch, post},
};
use jiff::{Timestamp, Unit};
use serde_json::{Value, json};
use uuid::Uuid;

use self::error::ApiError;
use crate::{
    control::Control,
    state::{
        model::Project,
        operation::{Status, Step},
    },
};

/// Below which every route of Neon's API lies.
pub(crate) const BASE_PATH: &str = "/api/v2";

/// Where the counters are.
pub(crate) const STATS_PATH: &str = "/_emulator/stats";

/// Where the log of calls is.
pub(crate) const CALLS_PATH: &str = "/_emulator/calls";

/// Where the limits of a project are set.
const LIMITS_PATH: &str = "/_emulator/projects/{project_id}/limits";

/// Where faults are set.
pub(crate) const FAULTS_PATH: &str = "/_emulator/faults";

type Shared = State<Arc<Control>>;
type Answer = Result<Response, ApiError>;

/// All routes.
pub(crate) fn router(control: Arc<Control>) -> Router {
    let protected = middleware::from_fn_with_state(Arc::clone(&control), access::authenticate);
    let api = routes()
        .fallback(no_route)
        .method_not_allowed_fallback(no_method)
        .layer(protected);
    Router::new()
        .nest(BASE_PATH, api)
        .route(STATS_PATH, get(stats))
        .route(CALLS_PATH, get(calls))
        .route(LIMITS_PATH, get(limits::show).put(limits::set))
        .route(
            FAULTS_PATH,
            get(faults::list).post(faults::set).delete(faults::clear),
        )
        .fallback(no_route)
        .layer(middleware::from_fn(identify))
        .with_state(control)
}

fn routes() -> Router<Arc<Control>> {
    Router::new()
        .route("/users/me", get(users::me))
        .route("/users/me/organizations", get(users::organizations))
        .route("/auth", get(users::auth))
        .route("/api_keys", get(keys::list).post(keys::create))
        .route("/api_keys/{key_id}", delete(keys::revoke))
        .route("/projects", get(projects::list).post(projects::create))
        .route("/projects/shared", get(projects::shared))
        .route(
            "/projects/{project_id}",
            get(projects::show)
                .patch(projects::update)
                .delete(projects::delete),
        )
        .route(
            "/projects/{project_id}/connection_uri",
            get(connection_uri::show),
        )
        .route("/projects/{project_id}/operations", get(operations::list))
        .route(
            "/projects/{project_id}/operations/{operation_id}",
            get(operations::show),
        )
        .merge(consumption_routes())
        .merge(organization_routes())
        .merge(branch_routes())
        .merge(snapshot_routes())
        .merge(endpoint_routes())
}

fn consumption_routes() -> Router<Arc<Control>> {
    Router::new()
        .route(
            "/consumption_history/projects",
            get(consumption::of_projects_before),
        )
        .route(
            "/consumption_history/v2/projects",
            get(consumption::of_projects),
        )
        .route(
            "/consumption_history/v2/branches",
            get(consumption::of_branches),
        )
}

fn organization_routes() -> Router<Arc<Control>> {
    const ORGANIZATION: &str = "/organizations/{org_id}";
    Router::new()
        .route(ORGANIZATION, get(organizations::show))
        .route(
            &format!("{ORGANIZATION}/api_keys"),
            get(keys::list_of_organization).post(keys::create_of_organization),
        )
        .route(
            &format!("{ORGANIZATION}/api_keys/{{key_id}}"),
            delete(keys::revoke_of_organization),
        )
}

fn branch_routes() -> Router<Arc<Control>> {
    const BRANCH: &str = "/projects/{project_id}/branches/{branch_id}";
    Router::new()
        .route(
            "/projects/{project_id}/branches",
            get(branches::list).post(branches::create),
        )
        .route(
            "/projects/{project_id}/branches/count",
            get(branches::count),
        )
        .route(
            BRANCH,
            get(branches::show)
                .patch(branches::update)
                .delete(branches::delete),
        )
        .route(&format!("{BRANCH}/restore"), post(branches::restore))
        .route(&format!("{BRANCH}/schema"), get(branches::schema))
        .route(
            &format!("{BRANCH}/compare_schema"),
            get(branches::compare_schema),
        )
        .route(
            &format!("{BRANCH}/set_as_default"),
            post(branches::set_as_default),
        )
        .route(
            &format!("{BRANCH}/endpoints"),
            get(endpoints::list_of_branch),
        )
        .route(
            &format!("{BRANCH}/roles"),
            get(roles::list).post(roles::create),
        )
        .route(
            &format!("{BRANCH}/roles/{{role_name}}"),
            get(roles::show).delete(roles::delete),
        )
        .route(
            &format!("{BRANCH}/roles/{{role_name}}/reveal_password"),
            get(roles::reveal_password),
        )
        .route(
            &format!("{BRANCH}/roles/{{role_name}}/reset_password"),
            post(roles::reset_password),
        )
        .route(
            &format!("{BRANCH}/databases"),
            get(databases::list).post(databases::create),
        )
        .route(
            &format!("{BRANCH}/databases/{{database_name}}"),
            get(databases::show)
                .patch(databases::update)
                .delete(databases::delete),
        )
}

fn snapshot_routes() -> Router<Arc<Control>> {
    const BRANCH: &str = "/projects/{project_id}/branches/{branch_id}";
    const SNAPSHOTS: &str = "/projects/{project_id}/snapshots";
    Router::new()
        .route(SNAPSHOTS, get(snapshots::list))
        .route(
            &format!("{SNAPSHOTS}/{{snapshot_id}}"),
            patch(snapshots::update).delete(snapshots::delete),
        )
        .route(
            &format!("{SNAPSHOTS}/{{snapshot_id}}/restore"),
            post(snapshots::restore),
        )
        .route(&format!("{BRANCH}/snapshot"), post(snapshots::create))
        .route(
            &format!("{BRANCH}/finalize_restore"),
            post(snapshots::finalize),
        )
        .route(
            &format!("{BRANCH}/backup_schedule"),
            get(backup_schedule::show).put(backup_schedule::set),
        )
}

fn endpoint_routes() -> Router<Arc<Control>> {
    const ENDPOINT: &str = "/projects/{project_id}/endpoints/{endpoint_id}";
    Router::new()
        .route(
            "/projects/{project_id}/endpoints",
            get(endpoints::list).post(endpoints::create),
        )
        .route(
            ENDPOINT,
            get(endpoints::show)
                .patch(endpoints::update)
                .delete(endpoints::delete),
        )
        .route(&format!("{ENDPOINT}/start"), post(endpoints::start))
        .route(&format!("{ENDPOINT}/suspend"), post(endpoints::suspend))
        .route(&format!("{ENDPOINT}/restart"), post(endpoints::restart))
}

/// What a mutation made of a project, and what is left to do.
struct Change<T> {
    made: T,
    steps: Vec<Step>,
}

impl<T> Change<T> {
    /// A change with nothing left to do.
    fn done(made: T) -> Self {
        Self {
            made,
            steps: Vec::new(),
        }
    }
}

impl Control {
    /// Looks at a project; 404 where there is none.
    fn look<T>(
        &self,
        project_id: &str,
        look: impl FnOnce(&Project) -> Result<T, ApiError>,
    ) -> Result<T, ApiError> {
        self.store.read(|state| {
            look(
                state
                    .projects
                    .get(project_id)
                    .ok_or(ApiError::not_found("project"))?,
            )
        })
    }

    /// Changes a project: 423 while its operations run, else the change and its operations,
    /// which run in the background. Returns what was made and the operations to show.
    ///
    /// The lock comes after what is wrong in any case (404, 400) and before verdicts that a
    /// running operation could change (409, 422).
    fn change<T>(
        self: &Arc<Self>,
        project_id: &str,
        change: impl FnOnce(&mut Project, Timestamp) -> Result<Change<T>, ApiError>,
    ) -> Result<(T, Value), ApiError> {
        let (made, ids, shown) = self.store.update(|state| {
            let project = state
                .projects
                .get_mut(project_id)
                .ok_or(ApiError::not_found("project"))?;
            let locked = project.is_locked();
            let now = Timestamp::now();
            let Change { made, steps } = match change(project, now) {
                Err(error) if locked && error.depends_on_state() => Err(ApiError::locked()),
                Ok(_) if locked => Err(ApiError::locked()),
                other => other,
            }?;
            let ids = project.record(steps, Status::Scheduling, now);
            let shown = operations::views(project, &ids);
            Ok((made, ids, shown))
        })?;
        self.run(project_id.to_owned(), ids);
        Ok((made, shown))
    }
}

/// An instant as Neon writes it, in whole seconds.
fn instant(at: Timestamp) -> Value {
    let seconds = at.round(Unit::Second).unwrap_or(at);
    json!(if seconds > at {
        seconds - jiff::SignedDuration::from_secs(1)
    } else {
        seconds
    })
}

/// Sets `key` where there is a value; Neon leaves absent fields out.
fn put(object: &mut Value, key: &str, value: Option<Value>) {
    if let (Some(fields), Some(value)) = (object.as_object_mut(), value) {
        fields.insert(key.to_owned(), value);
    }
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "the last words of handlers, which can fail"
)]
fn ok(body: Value) -> Answer {
    Ok(Json(body).into_response())
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "the last words of handlers, which can fail"
)]
fn created(body: Value) -> Answer {
    Ok((StatusCode::CREATED, Json(body)).into_response())
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "the last words of handlers, which can fail"
)]
fn no_content() -> Answer {
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn stats(State(control): Shared) -> Response {
    Json(control.stats()).into_response()
}

async fn calls(State(control): Shared) -> Response {
    Json(control.calls.all()).into_response()
}

async fn no_route() -> ApiError {
    ApiError::no_route()
}

async fn no_method() -> ApiError {
    ApiError::no_method()
}

/// Gives every request an id (the client's own, if it sent one) and errors their body.
async fn identify(request: Request, next: Next) -> Response {
    let given = request
        .headers()
        .get("x-request-id")
        .and_then(|id| id.to_str().ok());
    let id = given.map_or_else(|| Uuid::new_v4().to_string(), str::to_owned);
    let mut response = next.run(request).await;
    if let Some(error) = response.extensions().get::<ApiError>() {
        let body = json!({"request_id": id, "code": error.code, "message": error.message});
        let retry_after = error.retry_after;
        response = (error.status, Json(body)).into_response();
        if let Some(seconds) = retry_after {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, seconds.into());
        }
    }
    if let Ok(value) = HeaderValue::from_str(&id) {
        response
            .headers_mut()
            .insert("x-neon-ret-request-id", value);
    }
    response
}
