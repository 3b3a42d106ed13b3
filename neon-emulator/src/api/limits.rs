//! `/_emulator/projects/{project_id}/limits`: what a project's plan allows.

use axum::{
    Json,
    extract::{Path, State},
    response::{IntoResponse, Response},
};

use super::{Shared, error::ApiError, request::Body};
use crate::limits::Limits;

pub(crate) async fn show(
    State(control): Shared,
    Path(project_id): Path<String>,
) -> Result<Response, ApiError> {
    let limits = control.limits(&project_id);
    let limits = limits.ok_or(ApiError::not_found("project"))?;
    Ok(Json(limits).into_response())
}

/// What the body leaves out becomes the largest plan's.
pub(crate) async fn set(
    State(control): Shared,
    path: Path<String>,
    Body(limits): Body<Limits>,
) -> Result<Response, ApiError> {
    control.set_limits(&path, limits);
    show(State(control), path).await
}
