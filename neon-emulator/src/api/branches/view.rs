//! How branches are shown.

use serde_json::{Value, json};

use crate::{
    api::{instant, put},
    control::Control,
    names,
    postgres::history::Moment,
    state::model::{Branch, Endpoint, Project},
};

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

pub(super) fn annotation(branch: &Branch) -> Value {
    json!({
        "object": {"type": "console/branch", "id": branch.id},
        "value": branch.annotations,
        "created_at": instant(branch.created_at),
        "updated_at": instant(branch.created_at),
    })
}

/// The point of its parent's history from which a branch was made.
fn put_origin(shown: &mut Value, branch: &Branch) {
    let (key, value) = match &branch.parent_moment {
        Some(Moment::Lsn(lsn)) => ("parent_lsn", json!(lsn.to_string())),
        Some(Moment::Time(at)) => ("parent_timestamp", instant(*at)),
        None => {
            let at = branch
                .last_reset
                .as_ref()
                .map_or(branch.created_at, |reset| reset.at);
            ("parent_timestamp", instant(at))
        }
    };
    put(shown, key, Some(value));
}

pub(crate) fn view(project: &Project, branch: &Branch) -> Value {
    let mut shown = json!({
        "id": branch.id,
        "project_id": project.id,
        "name": branch.name,
        "current_state": branch.state,
        "state_changed_at": instant(branch.state_changed_at),
        "creation_source": "console",
        "init_source": if branch.schema_only { "schema-only" } else { "parent-data" },
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
        branch.pending_state.map(|state| json!(state)),
    );
    put(&mut shown, "expires_at", branch.expires_at.map(instant));
    put(
        &mut shown,
        "ttl_interval_seconds",
        branch.ttl_interval_seconds.map(|seconds| json!(seconds)),
    );
    if branch.parent_id.is_some() {
        put_origin(&mut shown, branch);
    }
    if let Some(restored) = &branch.restored {
        let status = if restored.finalized {
            "finalized"
        } else {
            "restored"
        };
        put(&mut shown, "restore_status", Some(json!(status)));
        put(
            &mut shown,
            "restored_from",
            Some(json!(restored.snapshot_id)),
        );
        let target = restored.finalized.then(|| json!(restored.target_id));
        put(&mut shown, "restored_as", target);
    }
    if let Some(reset) = &branch.last_reset {
        put(&mut shown, "last_reset_at", Some(instant(reset.at)));
        put(&mut shown, "restored_from", Some(json!(reset.source_id)));
        put(
            &mut shown,
            "restored_as",
            reset.preserved_as.as_ref().map(|id| json!(id)),
        );
    }
    shown
}
