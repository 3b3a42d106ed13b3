//! `/projects/{project_id}/branches`: changing and deleting here, the rest beside it.

mod create;
mod list;
mod restore;
mod rules;
mod schema;
mod view;

use axum::extract::{Path, State};
use serde::Deserialize;
use serde_json::json;

use self::rules::{deletable, may_expire, room_for_protection, set_expiry};
pub(super) use self::{
    create::create,
    list::{count, list, show},
    restore::restore,
    rules::{free_name, room_for_another, room_for_root},
    schema::{compare_schema, schema},
    view::{connection_uris, view},
};
use super::{
    Answer, Change, Shared,
    error::ApiError,
    no_content, ok,
    request::{Body, Field},
};
use crate::state::model::{Branch, Project};

#[derive(Deserialize)]
pub(crate) struct UpdateBody {
    branch: UpdateBranch,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct UpdateBranch {
    name: Option<String>,
    protected: Option<bool>,
    expires_at: Field<String>,
}

pub(crate) async fn update(
    State(control): Shared,
    Path((project_id, id)): Path<(String, String)>,
    Body(body): Body<UpdateBody>,
) -> Answer {
    let asked = body.branch;
    let (branch, operations) = control.change(&project_id, |project, now| {
        let mut branch = find(project, &id)?.clone();
        if let Some(name) = asked.name {
            free_name(project, &name, Some(&id))?;
            branch.name = name;
        }
        if let Some(protected) = asked.protected {
            if protected && !branch.protected {
                room_for_protection(project)?;
            }
            branch.protected = protected;
        }
        match asked.expires_at {
            Field::Absent => {}
            Field::Null => set_expiry(project, &mut branch, None, now)?,
            Field::Value(at) => set_expiry(project, &mut branch, Some(&at), now)?,
        }
        may_expire(project, &branch)?;
        branch.updated_at = now;
        let shown = view(project, &branch);
        project.branches.insert(id, branch);
        Ok(Change::done(shown))
    })?;
    ok(json!({"branch": branch, "operations": operations}))
}

pub(crate) async fn delete(
    State(control): Shared,
    Path((project_id, id)): Path<(String, String)>,
) -> Answer {
    let gone = control.look(&project_id, |project| {
        Ok(!project.branches.contains_key(&id))
    })?;
    if gone {
        return no_content();
    }
    let (branch, operations) = control.change(&project_id, |project, _| {
        let branch = find(project, &id)?;
        deletable(project, branch)?;
        let shown = view(project, branch);
        Ok(Change {
            made: shown,
            steps: project.remove_branch(&id),
        })
    })?;
    ok(json!({"branch": branch, "operations": operations}))
}

pub(crate) async fn set_as_default(
    State(control): Shared,
    Path((project_id, id)): Path<(String, String)>,
) -> Answer {
    let (branch, operations) = control.change(&project_id, |project, now| {
        if find(project, &id)?.expires_at.is_some() {
            return Err(ApiError::unprocessable(
                "a branch with an expiration cannot be the default branch",
            ));
        }
        for branch in project.branches.values_mut() {
            branch.default = branch.id == id;
        }
        if let Some(branch) = project.branches.get_mut(&id) {
            branch.updated_at = now;
        }
        Ok(Change::done(view(project, find(project, &id)?)))
    })?;
    ok(json!({"branch": branch, "operations": operations}))
}

/// The branch, or 404.
pub(crate) fn find<'a>(project: &'a Project, id: &str) -> Result<&'a Branch, ApiError> {
    project
        .branches
        .get(id)
        .ok_or(ApiError::not_found("branch"))
}

/// The same, to change it.
pub(crate) fn find_mut<'a>(project: &'a mut Project, id: &str) -> Result<&'a mut Branch, ApiError> {
    project
        .branches
        .get_mut(id)
        .ok_or(ApiError::not_found("branch"))
}
