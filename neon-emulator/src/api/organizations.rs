//! `/organizations/{org_id}`: those that the emulator is started with.

use axum::extract::{Path, State};
use serde_json::{Value, json};

use super::{Answer, Shared, error::ApiError, instant, ok};
use crate::{control::Control, state::access::Organization};

pub(crate) async fn show(State(control): Shared, Path(org_id): Path<String>) -> Answer {
    ok(view(&known(&control, &org_id)?))
}

/// The organization; 404 where there is none.
pub(super) fn known(control: &Control, org_id: &str) -> Result<Organization, ApiError> {
    let found = control
        .store
        .read(|state| state.organizations.get(org_id).cloned());
    found.ok_or(ApiError::not_found("organization"))
}

pub(super) fn view(organization: &Organization) -> Value {
    let id = &organization.id;
    json!({
        "id": id,
        "name": id,
        "handle": id,
        "plan": "scale",
        "managed_by": "console",
        "created_at": instant(organization.created_at),
        "updated_at": instant(organization.created_at),
    })
}
