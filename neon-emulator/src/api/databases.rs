//! `/projects/{project_id}/branches/{branch_id}/databases`.

use axum::extract::{Path, State};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Answer, Change, Shared, branches, created, error::ApiError, instant, no_content, ok,
    request::Body, roles::apply, validate,
};
use crate::state::{
    model::{Branch, Database},
    operation::Work,
};

#[derive(Deserialize)]
pub(crate) struct CreateBody {
    database: CreateDatabase,
}

#[derive(Deserialize)]
struct CreateDatabase {
    name: String,
    owner_name: String,
}

#[derive(Deserialize)]
pub(crate) struct UpdateBody {
    database: UpdateDatabase,
}

#[derive(Deserialize)]
struct UpdateDatabase {
    name: Option<String>,
    owner_name: Option<String>,
}

pub(crate) async fn list(
    State(control): Shared,
    Path((project_id, branch_id)): Path<(String, String)>,
) -> Answer {
    control.sync_branch(&project_id, &branch_id).await;
    control.look(&project_id, |project| {
        let branch = branches::find(project, &branch_id)?;
        let databases = branch
            .databases
            .values()
            .map(|database| view(&branch_id, database));
        ok(json!({"databases": databases.collect::<Vec<_>>()}))
    })
}

pub(crate) async fn show(
    State(control): Shared,
    Path((project_id, branch_id, name)): Path<(String, String, String)>,
) -> Answer {
    control.sync_branch(&project_id, &branch_id).await;
    control.look(&project_id, |project| {
        let branch = branches::find(project, &branch_id)?;
        let database = branch
            .databases
            .get(&name)
            .ok_or(ApiError::not_found("database"))?;
        ok(json!({"database": view(&branch_id, database)}))
    })
}

pub(crate) async fn create(
    State(control): Shared,
    Path((project_id, branch_id)): Path<(String, String)>,
    Body(body): Body<CreateBody>,
) -> Answer {
    let asked = body.database;
    control.sync_branch(&project_id, &branch_id).await;
    let (database, operations) = control.change(&project_id, |project, now| {
        let branch = branches::find_mut(project, &branch_id)?;
        validate::sql_name("database", &asked.name)?;
        owner_exists(branch, &asked.owner_name)?;
        name_is_free(branch, &asked.name)?;
        let database = Database::new(&asked.name, &asked.owner_name, now);
        branch
            .databases
            .insert(asked.name.clone(), database.clone());
        let step = apply(project, &branch_id, Work::PutDatabase { name: asked.name });
        Ok(Change {
            made: database,
            steps: vec![step],
        })
    })?;
    created(json!({"database": view(&branch_id, &database), "operations": operations}))
}

pub(crate) async fn update(
    State(control): Shared,
    Path((project_id, branch_id, name)): Path<(String, String, String)>,
    Body(body): Body<UpdateBody>,
) -> Answer {
    let asked = body.database;
    control.sync_branch(&project_id, &branch_id).await;
    let (database, operations) = control.change(&project_id, |project, now| {
        let branch = branches::find_mut(project, &branch_id)?;
        let mut database = branch
            .databases
            .get(&name)
            .ok_or(ApiError::not_found("database"))?
            .clone();
        let mut work = Vec::new();
        if let Some(to) = asked.name.filter(|to| *to != name) {
            validate::sql_name("database", &to)?;
            name_is_free(branch, &to)?;
            branch.databases.remove(&name);
            work.push(Work::RenameDatabase {
                from: name,
                to: to.clone(),
            });
            database.name = to;
        }
        if let Some(owner) = asked.owner_name {
            owner_exists(branch, &owner)?;
            database.owner = owner;
            work.push(Work::PutDatabase {
                name: database.name.clone(),
            });
        }
        database.updated_at = now;
        branch
            .databases
            .insert(database.name.clone(), database.clone());
        let steps = work
            .into_iter()
            .map(|work| apply(project, &branch_id, work))
            .collect();
        Ok(Change {
            made: database,
            steps,
        })
    })?;
    ok(json!({"database": view(&branch_id, &database), "operations": operations}))
}

pub(crate) async fn delete(
    State(control): Shared,
    Path((project_id, branch_id, name)): Path<(String, String, String)>,
) -> Answer {
    control.sync_branch(&project_id, &branch_id).await;
    let gone = control.look(&project_id, |project| {
        Ok(!branches::find(project, &branch_id)?
            .databases
            .contains_key(&name))
    })?;
    if gone {
        return no_content();
    }
    let (database, operations) = control.change(&project_id, |project, _| {
        let branch = branches::find_mut(project, &branch_id)?;
        let database = branch
            .databases
            .remove(&name)
            .ok_or(ApiError::not_found("database"))?;
        let step = apply(
            project,
            &branch_id,
            Work::DropDatabase { name: name.clone() },
        );
        Ok(Change {
            made: database,
            steps: vec![step],
        })
    })?;
    ok(json!({"database": view(&branch_id, &database), "operations": operations}))
}

fn owner_exists(branch: &Branch, owner: &str) -> Result<(), ApiError> {
    if branch.roles.contains_key(owner) {
        Ok(())
    } else {
        Err(ApiError::not_found("role"))
    }
}

fn name_is_free(branch: &Branch, name: &str) -> Result<(), ApiError> {
    if branch.databases.contains_key(name) {
        return Err(ApiError::conflict(format!(
            "database with name {name} already exists"
        )));
    }
    Ok(())
}

pub(crate) fn view(branch_id: &str, database: &Database) -> Value {
    json!({
        "id": database.id,
        "branch_id": branch_id,
        "name": database.name,
        "owner_name": database.owner,
        "created_at": instant(database.created_at),
        "updated_at": instant(database.updated_at),
    })
}
