//! `/api_keys` and `/organizations/{org_id}/api_keys`: a key is told once, when it is made.

use axum::extract::{Path, State};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Answer, Shared,
    error::ApiError,
    instant, ok, organizations, put,
    request::Body,
    users::{USER_UUID, user_name},
};
use crate::{
    control::Control,
    names,
    state::access::{ApiKey, Scope},
};

const LONGEST_NAME: usize = 64;

#[derive(Deserialize)]
pub(crate) struct CreateBody {
    key_name: String,
    /// Of an organization's key alone.
    project_id: Option<String>,
}

pub(crate) async fn list(State(control): Shared) -> Answer {
    ok(listed(&control, None))
}

pub(crate) async fn list_of_organization(
    State(control): Shared,
    Path(org_id): Path<String>,
) -> Answer {
    organizations::known(&control, &org_id)?;
    ok(listed(&control, Some(&org_id)))
}

pub(crate) async fn create(State(control): Shared, Body(body): Body<CreateBody>) -> Answer {
    issue(&control, body.key_name, Scope::Personal)
}

pub(crate) async fn create_of_organization(
    State(control): Shared,
    Path(org_id): Path<String>,
    Body(body): Body<CreateBody>,
) -> Answer {
    organizations::known(&control, &org_id)?;
    let scope = match body.project_id {
        Some(project_id) => {
            let of_others = ApiError::not_found("project");
            control.look(&project_id, |project| match &project.org_id {
                Some(id) if *id == org_id => Ok(()),
                Some(_) | None => Err(of_others),
            })?;
            Scope::Project { org_id, project_id }
        }
        None => Scope::Organization { org_id },
    };
    issue(&control, body.key_name, scope)
}

pub(crate) async fn revoke(State(control): Shared, Path(id): Path<String>) -> Answer {
    revoked(&control, None, &id)
}

pub(crate) async fn revoke_of_organization(
    State(control): Shared,
    Path((org_id, id)): Path<(String, String)>,
) -> Answer {
    organizations::known(&control, &org_id)?;
    revoked(&control, Some(&org_id), &id)
}

fn issue(control: &Control, name: String, scope: Scope) -> Answer {
    if name.is_empty() || name.chars().count() > LONGEST_NAME {
        return Err(ApiError::bad_request(
            "key_name must have between 1 and 64 characters",
        ));
    }
    let key = control.store.update(|state| {
        let key = state.issue(name, names::api_key(), scope, Timestamp::now());
        Ok::<_, ApiError>(key)
    })?;
    let mut shown = view(&key);
    put(&mut shown, "key", Some(json!(key.token.expose())));
    put(&mut shown, "created_by", Some(json!(USER_UUID)));
    ok(shown)
}

/// The user's own keys, or an organization's.
fn listed(control: &Control, org_id: Option<&str>) -> Value {
    let by = json!({"id": USER_UUID, "name": user_name(), "image": ""});
    control.store.read(|state| {
        let of_owner = |key: &&ApiKey| key.scope.organization() == org_id;
        let shown = state.keys.iter().filter(of_owner).map(|key| {
            let mut shown = view_with_use(control, key);
            put(&mut shown, "created_by", Some(by.clone()));
            shown
        });
        shown.collect()
    })
}

fn revoked(control: &Control, org_id: Option<&str>, id: &str) -> Answer {
    let id: i64 = id
        .parse()
        .map_err(|_| ApiError::bad_request("key_id must be a number"))?;
    let key = control.store.update(|state| {
        let is_it = |key: &ApiKey| key.id == id && key.scope.organization() == org_id;
        let place = state.keys.iter().position(is_it);
        let place = place.ok_or(ApiError::not_found("api key"))?;
        Ok::<_, ApiError>(state.keys.remove(place))
    })?;
    let mut shown = view_with_use(control, &key);
    put(&mut shown, "created_by", Some(json!(USER_UUID)));
    put(&mut shown, "revoked", Some(json!(true)));
    ok(shown)
}

fn view_with_use(control: &Control, key: &ApiKey) -> Value {
    let mut shown = view(key);
    let last = control.calls.last_use(key.id);
    let from = if last.is_some() { "127.0.0.1" } else { "" };
    put(&mut shown, "last_used_at", last.map(instant));
    put(&mut shown, "last_used_from_addr", Some(json!(from)));
    shown
}

fn view(key: &ApiKey) -> Value {
    let mut shown = json!({
        "id": key.id,
        "name": key.name,
        "created_at": instant(key.created_at),
    });
    if let Scope::Project { project_id, .. } = &key.scope {
        put(&mut shown, "project_id", Some(json!(project_id)));
    }
    shown
}
