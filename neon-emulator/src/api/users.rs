//! Who the caller is: one made-up user without organizations.

use axum::extract::State;
use serde_json::json;

use super::{Answer, Shared, ok};

/// Their address.
pub(crate) const EMAIL: &str = "emulator@local.localhost";
/// The owner of every project.
pub(crate) const USER_ID: &str = "emulator";

pub(crate) async fn me(State(_): Shared) -> Answer {
    ok(json!({
        "id": USER_ID, "login": USER_ID, "email": EMAIL, "name": "Neon", "last_name": "Emulator",
        "image": "", "plan": "scale", "projects_limit": 1000, "branches_limit": 5000,
        "max_autoscaling_limit": 16, "active_seconds_limit": 0, "auth_accounts": [],
    }))
}

pub(crate) async fn organizations(State(_): Shared) -> Answer {
    ok(json!({"organizations": []}))
}

pub(crate) async fn auth(State(_): Shared) -> Answer {
    ok(json!({"account_id": USER_ID, "auth_method": "api_key_user", "auth_data": USER_ID}))
}
