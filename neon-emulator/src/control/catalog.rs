//! Takes up roles and databases that SQL created or dropped, which Neon lists like those of the
//! API. Only a compute that runs is asked; none is woken to look.

use jiff::Timestamp;

use super::Control;
use crate::{
    postgres::sql,
    state::model::{Branch, Database, Endpoint, Project, Role},
};

impl Control {
    /// Brings the state of a branch in line with its running compute, if it has one and nothing
    /// is being changed.
    pub(crate) async fn sync_branch(&self, project_id: &str, branch_id: &str) {
        let endpoint = self.store.read(|state| {
            state
                .projects
                .get(project_id)?
                .endpoint_of(branch_id)
                .cloned()
        });
        if let Some(endpoint) = endpoint {
            self.sync_catalog(project_id, &endpoint).await;
        }
    }

    pub(super) async fn sync_catalog(&self, project_id: &str, endpoint: &Endpoint) {
        let compute = self.compute(&endpoint.id);
        if !compute.is_active() {
            return;
        }
        let before = self
            .store
            .read(|state| state.projects.get(project_id).and_then(quiet_since));
        let Some(before) = before else { return };
        let (roles, databases) = match compute.catalog().await {
            Ok(Some(catalog)) => catalog,
            Ok(None) => return,
            Err(error) => {
                tracing::warn!(endpoint = %endpoint.id, error = format!("{error:#}"), "cannot list roles");
                return;
            }
        };
        let same = self.store.read(|state| {
            let branch = state
                .projects
                .get(project_id)?
                .branches
                .get(&endpoint.branch_id)?;
            Some(matches(branch, &roles, &databases))
        });
        if same != Some(false) {
            return;
        }
        self.in_project(project_id, |project, now| {
            // An operation since then may know better than what was read.
            if quiet_since(project) != Some(before) {
                return;
            }
            if let Some(branch) = project.branches.get_mut(&endpoint.branch_id) {
                take(branch, &roles, &databases, now);
            }
        });
    }
}

/// The id of the last operation if none is running.
fn quiet_since(project: &Project) -> Option<String> {
    let last = project
        .operations
        .last()
        .map(|operation| operation.id.clone());
    (!project.is_locked()).then(|| last.unwrap_or_default())
}

fn matches(branch: &Branch, roles: &[sql::RoleRow], databases: &[sql::DatabaseRow]) -> bool {
    let known_roles = branch
        .roles
        .values()
        .map(|role| (&role.name, role.can_login));
    let known_databases = branch
        .databases
        .values()
        .map(|database| (&database.name, &database.owner));
    // The server sorts names by the collation of its catalogs, which is bytewise, as ours.
    known_roles.eq(roles.iter().map(|role| (&role.name, role.can_login)))
        && known_databases.eq(databases
            .iter()
            .map(|database| (&database.name, &database.owner)))
}

/// Makes a branch's roles and databases those that a server has.
pub(super) fn take(
    branch: &mut Branch,
    roles: &[sql::RoleRow],
    databases: &[sql::DatabaseRow],
    now: Timestamp,
) {
    take_roles(branch, roles, now);
    take_databases(branch, databases, now);
}

fn take_roles(branch: &mut Branch, rows: &[sql::RoleRow], now: Timestamp) {
    branch
        .roles
        .retain(|name, _| rows.iter().any(|row| row.name == *name));
    for row in rows {
        let role = branch
            .roles
            .entry(row.name.clone())
            .or_insert_with(|| Role {
                name: row.name.clone(),
                password: None,
                can_login: row.can_login,
                from_api: false,
                created_at: now,
                updated_at: now,
            });
        role.can_login = row.can_login;
    }
}

fn take_databases(branch: &mut Branch, rows: &[sql::DatabaseRow], now: Timestamp) {
    branch
        .databases
        .retain(|name, _| rows.iter().any(|row| row.name == *name));
    for row in rows {
        let database = branch
            .databases
            .entry(row.name.clone())
            .or_insert_with(|| Database::new(&row.name, &row.owner, now));
        database.owner.clone_from(&row.owner);
    }
}
