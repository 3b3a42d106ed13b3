//! Who calls: their key, what it reaches, and how often their account may call.

use std::{sync::Arc, time::Instant};

use axum::{
    extract::{MatchedPath, Request, State},
    http::{HeaderMap, Method, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use jiff::Timestamp;

use super::{BASE_PATH, Shared, error::ApiError, faults};
use crate::{
    calls::Call,
    control::Control,
    state::{
        access::{ApiKey, Scope},
        model::State as Known,
    },
};

/// The key of a request, among its extensions.
#[derive(Clone)]
pub(crate) struct Caller(pub(crate) ApiKey);

/// Where a request goes.
struct Target<'a> {
    method: &'a Method,
    /// As the specification writes it, below the base path.
    route: &'a str,
    path: &'a str,
}

/// Bearer keys only; cookies, which some of Neon's clients send too, are ignored. Counts the call.
pub(super) async fn authenticate(State(control): Shared, request: Request, next: Next) -> Response {
    let at = Timestamp::now();
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>();
    let route = route.map_or("unknown", |route| below_base(route.as_str()));
    let (route, path) = (
        route.to_owned(),
        below_base(request.uri().path()).to_owned(),
    );
    let token = bearer(request.headers());
    let key = token.and_then(|token| control.store.read(|state| state.key(token).cloned()));
    let target = Target {
        method: &method,
        route: &route,
        path: &path,
    };
    let response = answer(&control, key.as_ref(), &target, request, next).await;
    let status = response.status().as_u16();
    control.recorder.api_call(method.as_str(), &route, status);
    let call = Call {
        at,
        key: key.as_ref().map(|key| key.name.clone()),
        account: key.as_ref().map(|key| key.scope.account().to_owned()),
        method: method.to_string(),
        path,
        status,
    };
    control.calls.note(call, key.map(|key| key.id));
    response
}

async fn answer(
    control: &Arc<Control>,
    key: Option<&ApiKey>,
    target: &Target<'_>,
    mut request: Request,
    next: Next,
) -> Response {
    let Some(key) = key else {
        return ApiError::unauthorized().into_response();
    };
    let (account, method) = (key.scope.account(), target.method.as_str());
    if !control
        .rates
        .pass(account, method, target.route, Instant::now())
    {
        return ApiError::too_many_requests().into_response();
    }
    if let Err(error) = control
        .store
        .read(|state| within(state, &key.scope, target))
    {
        return error.into_response();
    }
    request.extensions_mut().insert(Caller(key.clone()));
    faults::answer(control, target.route, request, next).await
}

/// Whether a key may ask for this at all.
fn within(state: &Known, scope: &Scope, target: &Target<'_>) -> Result<(), ApiError> {
    let project = target.parameter("{project_id}");
    match scope {
        Scope::Personal => Ok(()),
        Scope::Organization { org_id } => {
            if target.route == "/users/me" || target.route.starts_with("/api_keys") {
                return Err(ApiError::not_for_organizations());
            }
            let known = project.and_then(|id| state.projects.get(id));
            if known.is_some_and(|project| !scope.reaches(project)) {
                return Err(ApiError::not_found("project"));
            }
            match target.parameter("{org_id}") {
                Some(other) if other != org_id => Err(ApiError::not_found("organization")),
                Some(_) | None => Ok(()),
            }
        }
        Scope::Project { project_id, .. } => {
            let of_its_own = project == Some(project_id);
            if !of_its_own && !matches!(target.route, "/auth" | "/users/me/organizations") {
                return Err(ApiError::out_of_scope(project_id));
            }
            if target.route == "/projects/{project_id}" && *target.method == Method::DELETE {
                return Err(ApiError::forbidden(
                    "not allowed to delete the project this key is scoped to",
                ));
            }
            Ok(())
        }
    }
}

impl<'a> Target<'a> {
    /// What stands in the path for a parameter of the route. Ids have no letters that are encoded.
    fn parameter(&self, name: &str) -> Option<&'a str> {
        let mut parts = self.route.split('/').zip(self.path.split('/'));
        parts.find(|(part, _)| *part == name).map(|(_, is)| is)
    }
}

fn below_base(path: &str) -> &str {
    path.strip_prefix(BASE_PATH).unwrap_or(path)
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, key) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(key.trim())
}
