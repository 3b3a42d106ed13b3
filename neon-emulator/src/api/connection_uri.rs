//! `/projects/{project_id}/connection_uri`.

use axum::extract::{Path, State};
use serde::Deserialize;
use serde_json::json;

use super::{Answer, Shared, branches, error::ApiError, ok, request::Query};
use crate::{control::Control, state::model::Project};

#[derive(Deserialize)]
pub(crate) struct UriQuery {
    branch_id: Option<String>,
    endpoint_id: Option<String>,
    database_name: String,
    role_name: String,
    #[serde(default)]
    pooled: bool,
}

/// Without `branch_id` it is the default branch that is meant, on Neon too: a trap for clients.
pub(crate) async fn show(
    State(control): Shared,
    Path(project_id): Path<String>,
    Query(query): Query<UriQuery>,
) -> Answer {
    control.look(&project_id, |project| {
        let (branch_id, endpoint_id) = target(project, &query)?;
        let branch = branches::find(project, &branch_id)?;
        let database = branch
            .databases
            .get(&query.database_name)
            .ok_or(ApiError::not_found("database"))?;
        let role = branch
            .roles
            .get(&query.role_name)
            .ok_or(ApiError::not_found("role"))?;
        let password = role
            .password
            .as_ref()
            .ok_or(ApiError::not_found("role password"))?;
        let host = Control::host(&endpoint_id, query.pooled);
        ok(json!({"uri": control.uri(&host, &role.name, password, &database.name)}))
    })
}

/// The branch and the endpoint that a query means.
fn target(project: &Project, query: &UriQuery) -> Result<(String, String), ApiError> {
    let branch_id = match (&query.branch_id, &query.endpoint_id) {
        (Some(id), _) => id.clone(),
        (None, Some(endpoint)) => {
            let endpoint = project
                .endpoints
                .get(endpoint)
                .ok_or(ApiError::not_found("endpoint"))?;
            endpoint.branch_id.clone()
        }
        (None, None) => project
            .default_branch()
            .ok_or(ApiError::not_found("branch"))?
            .id
            .clone(),
    };
    branches::find(project, &branch_id)?;
    let endpoint = match &query.endpoint_id {
        Some(id) => project.endpoints_of(&branch_id).find(|one| one.id == *id),
        None => project.endpoint_of(&branch_id),
    };
    let endpoint = endpoint.ok_or(ApiError::not_found("endpoint"))?;
    Ok((branch_id, endpoint.id.clone()))
}
