//! `/projects/{project_id}/branches/{branch_id}/roles`.

use axum::extract::{Path, State};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Answer, Change, Shared, branches, created, error::ApiError, instant, no_content, ok, put,
    request::Body, validate,
};
use crate::{
    names,
    state::{
        model::{Branch, Project, Role},
        operation::{Action, Step, Work},
    },
};

#[derive(Deserialize)]
pub(crate) struct CreateBody {
    role: CreateRole,
}

#[derive(Deserialize)]
struct CreateRole {
    name: String,
    #[serde(default)]
    no_login: bool,
}

pub(crate) async fn list(
    State(control): Shared,
    Path((project_id, branch_id)): Path<(String, String)>,
) -> Answer {
    control.sync_branch(&project_id, &branch_id).await;
    control.look(&project_id, |project| {
        let branch = branches::find(project, &branch_id)?;
        let roles = branch.roles.values().map(|role| view(&branch_id, role));
        ok(json!({"roles": roles.collect::<Vec<_>>()}))
    })
}

pub(crate) async fn show(
    State(control): Shared,
    Path((project_id, branch_id, name)): Path<(String, String, String)>,
) -> Answer {
    control.sync_branch(&project_id, &branch_id).await;
    control.look(&project_id, |project| {
        let role = find(branches::find(project, &branch_id)?, &name)?;
        ok(json!({"role": view(&branch_id, role)}))
    })
}

pub(crate) async fn create(
    State(control): Shared,
    Path((project_id, branch_id)): Path<(String, String)>,
    Body(body): Body<CreateBody>,
) -> Answer {
    let asked = body.role;
    control.sync_branch(&project_id, &branch_id).await;
    let (role, operations) = control.change(&project_id, |project, now| {
        let branch = branches::find_mut(project, &branch_id)?;
        validate::sql_name("role", &asked.name)?;
        if branch.roles.contains_key(&asked.name) {
            return Err(ApiError::conflict(format!(
                "role with name {} already exists",
                asked.name
            )));
        }
        let role = Role::new(&asked.name, !asked.no_login, now);
        branch.roles.insert(role.name.clone(), role.clone());
        let step = apply(
            project,
            &branch_id,
            Work::PutRole {
                name: role.name.clone(),
            },
        );
        Ok(Change {
            made: role,
            steps: vec![step],
        })
    })?;
    created(json!({"role": view_with_password(&branch_id, &role), "operations": operations}))
}

pub(crate) async fn delete(
    State(control): Shared,
    Path((project_id, branch_id, name)): Path<(String, String, String)>,
) -> Answer {
    control.sync_branch(&project_id, &branch_id).await;
    let gone = control.look(&project_id, |project| {
        Ok(!branches::find(project, &branch_id)?
            .roles
            .contains_key(&name))
    })?;
    if gone {
        return no_content();
    }
    let (role, operations) = control.change(&project_id, |project, _| {
        let branch = branches::find_mut(project, &branch_id)?;
        if let Some(owned) = branch
            .databases
            .values()
            .find(|database| database.owner == name)
        {
            return Err(ApiError::unprocessable(format!(
                "cannot delete role {name}: it owns database {}",
                owned.name
            )));
        }
        let role = branch
            .roles
            .remove(&name)
            .ok_or(ApiError::not_found("role"))?;
        let step = apply(project, &branch_id, Work::DropRole { name: name.clone() });
        Ok(Change {
            made: role,
            steps: vec![step],
        })
    })?;
    ok(json!({"role": view(&branch_id, &role), "operations": operations}))
}

pub(crate) async fn reveal_password(
    State(control): Shared,
    Path((project_id, branch_id, name)): Path<(String, String, String)>,
) -> Answer {
    control.look(&project_id, |project| {
        let role = find(branches::find(project, &branch_id)?, &name)?;
        if !project.store_passwords {
            return Err(ApiError::precondition(
                "passwords are not stored in this project",
            ));
        }
        let password = role
            .password
            .as_ref()
            .ok_or(ApiError::not_found("role password"))?;
        ok(json!({"password": password.expose()}))
    })
}

pub(crate) async fn reset_password(
    State(control): Shared,
    Path((project_id, branch_id, name)): Path<(String, String, String)>,
) -> Answer {
    let (role, operations) = control.change(&project_id, |project, now| {
        let branch = branches::find_mut(project, &branch_id)?;
        let role = branch
            .roles
            .get_mut(&name)
            .ok_or(ApiError::not_found("role"))?;
        role.password = Some(names::password());
        role.can_login = true;
        role.updated_at = now;
        let role = role.clone();
        let step = apply(project, &branch_id, Work::PutRole { name: name.clone() });
        Ok(Change {
            made: role,
            steps: vec![step],
        })
    })?;
    ok(json!({"role": view_with_password(&branch_id, &role), "operations": operations}))
}

/// An operation that changes what is in a branch, on its endpoint if it has one.
pub(crate) fn apply(project: &Project, branch_id: &str, work: Work) -> Step {
    Step {
        action: Action::ApplyConfig,
        branch_id: branch_id.to_owned(),
        endpoint_id: project
            .endpoint_of(branch_id)
            .map(|endpoint| endpoint.id.clone()),
        work,
    }
}

fn find<'a>(branch: &'a Branch, name: &str) -> Result<&'a Role, ApiError> {
    branch.roles.get(name).ok_or(ApiError::not_found("role"))
}

pub(crate) fn view(branch_id: &str, role: &Role) -> Value {
    json!({
        "branch_id": branch_id,
        "name": role.name,
        "protected": false,
        "authentication_method": if role.can_login { "password" } else { "no_login" },
        "created_at": instant(role.created_at),
        "updated_at": instant(role.updated_at),
    })
}

/// For the answers that hand out a password: the role was just created or reset.
pub(crate) fn view_with_password(branch_id: &str, role: &Role) -> Value {
    let mut shown = view(branch_id, role);
    put(
        &mut shown,
        "password",
        role.password
            .as_ref()
            .map(|password| json!(password.expose())),
    );
    shown
}
