//! Who the caller is: the one made-up user, or an organization.

use axum::{Extension, extract::State};
use serde_json::{Value, json};

use super::{Answer, Shared, access::Caller, ok, organizations};
use crate::state::access::{Scope, USER_ID};

/// The user's address.
pub(crate) const EMAIL: &str = "emulator@local.localhost";
/// The user, where Neon tells people by UUID.
pub(super) const USER_UUID: &str = "0e4d6f75-7365-4e65-8f6e-656d756c6174";

const NAME: &str = "Neon";
const LAST_NAME: &str = "Emulator";

pub(crate) fn user_name() -> String {
    format!("{NAME} {LAST_NAME}")
}

pub(crate) async fn me(State(_): Shared) -> Answer {
    ok(json!({
        "id": USER_ID, "login": USER_ID, "email": EMAIL, "name": NAME, "last_name": LAST_NAME,
        "image": "", "plan": "scale", "projects_limit": 1000, "branches_limit": 5000,
        "max_autoscaling_limit": 16, "active_seconds_limit": 0, "auth_accounts": [],
    }))
}

/// All for the user, who is a member of each; its own for a key that is an organization's.
pub(crate) async fn organizations(
    State(control): Shared,
    Extension(Caller(key)): Extension<Caller>,
) -> Answer {
    let own = key.scope.organization();
    let shown: Vec<Value> = control.store.read(|state| {
        let all = state.organizations.values();
        all.filter(|one| own.is_none_or(|own| one.id == own))
            .map(organizations::view)
            .collect()
    });
    ok(json!({"organizations": shown}))
}

pub(crate) async fn auth(State(_): Shared, Extension(Caller(key)): Extension<Caller>) -> Answer {
    let method = match key.scope {
        Scope::Personal => "api_key_user",
        Scope::Organization { .. } | Scope::Project { .. } => "api_key_org",
    };
    ok(json!({
        "account_id": key.scope.account(),
        "auth_method": method,
        "auth_data": key.id.to_string(),
    }))
}
