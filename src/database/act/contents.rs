//! Effects inside of a branch: logins that were copied, extensions, groups and grants. Takes the branch lock.

use std::collections::BTreeSet;

use super::{Context, Pass, repair};
use crate::api::{
    Credentials, DatabaseStatus, ExtensionStatus, MissingSchemas, NeonDatabaseStatus, Reason,
    RoleStatus,
};
use crate::database::desired::{Database, Rest, Role};
use crate::postgres::extensions::Installed;
use crate::postgres::{self, Target};
use crate::reconcile::{Error, Notice};
use crate::world::{
    DatabaseReport, GroupRights, PrepareDatabase, PrepareRole, PrepareRoles, at_neon, at_postgres,
};

/// Rights that the status lists of one role as not given.
const MOST_TOLD: usize = 20;

/// Closes every login that came with the copy.
pub(super) async fn retire_logins(context: &Context<'_>, pass: &mut Pass) -> Result<(), Error> {
    let _lock = context.lock_branch()?;
    let mut manager = context.manager().await?;
    let mark = context.login_mark()?;
    let contents = &context.kind.world.contents;
    let mut tried = BTreeSet::new();
    loop {
        let left = contents.retire_logins(&manager, &mark).await;
        let left = left.map_err(at_postgres)?;
        if left.names.is_empty() {
            break;
        }
        tried.insert(manager.user);
        let Some(other) = left.administrators.difference(&tried).next() else {
            let names = left.names.join(", ");
            let message =
                format!("logins that came with the parent's data cannot be closed: {names}");
            return Err(at_postgres(postgres::Error::new(
                postgres::Class::Denied,
                message,
            )));
        };
        manager = context.session_as(other).await?;
    }
    if let Some(branch) = &mut pass.status.branch {
        branch.credentials = Credentials::Own;
    }
    Ok(())
}

/// Brings about extensions, groups and grants of every database, and has the logins work that are out.
pub(super) async fn prepare(context: &Context<'_>, pass: &mut Pass) -> Result<(), Error> {
    let _lock = context.lock_branch()?;
    let rest = context.rest()?;
    let contents = &context.kind.world.contents;
    // before anything is looked for: what a migration makes meanwhile may be missed now, and is looked for again
    let applied_files = context.kind.applied_files(context.desired);
    let manager = context.manager().await?;
    contents
        .prepare_roles(
            &manager,
            &wanted_roles(rest, &pass.status, context.login_mark()?),
        )
        .await
        .map_err(|error| at_role(rest, error))?;
    let recorded = context.recorded()?;
    let mut databases: Vec<DatabaseStatus> = Vec::new();
    let mut not_granted = Vec::new();
    for database in &rest.databases {
        let created = pass
            .status
            .databases
            .iter()
            .any(|d| d.name == database.name && d.created);
        // what existed before us may be used by others; what is ours is used by those who are listed
        let close_to_public = created || !recorded.taken_over;
        let wanted = wanted_database(rest, database, close_to_public);
        let session = context.session(&database.name).await?;
        let report = contents
            .prepare_database(&session, &wanted)
            .await
            .map_err(at_postgres)
            .map_err(|error| Error {
                message: format!(
                    "{}: in the database {}: {}",
                    rest.database_field(&database.name),
                    database.name,
                    error.message
                ),
                ..error
            })?;
        not_granted.extend(what_is_lacking(&database.name, &report));
        databases.push(DatabaseStatus {
            name: database.name.clone(),
            owner: session.user,
            created,
            missing_schemas: missing_schemas(&report, applied_files),
            extensions: report.extensions.into_iter().map(extension).collect(),
        });
    }
    pass.notices
        .extend(lost_schemas(&pass.status.databases, &databases));
    record(&mut pass.status, databases, rest, &not_granted);
    if let Some(endpoint) = &mut pass.status.endpoint {
        // whatever failed before, it runs
        endpoint.failure = None;
    }
    repair::logins(context, pass, &manager).await?;
    pass.status.content_digest = Some(rest.content_digest(&recorded.id, &recorded.incarnation));
    Ok(())
}

/// An error of PostgreSQL about a role, with the setting that it is about.
pub(super) fn at_role(rest: &Rest, error: postgres::Error) -> Error {
    let setting = error.setting.clone();
    let told = at_postgres(error);
    match setting {
        Some(setting) => {
            let field = rest.role_field(&setting.group);
            let message = format!("{field}.settings.{}: {}", setting.name, told.message);
            Error { message, ..told }
        }
        None => told,
    }
}

/// Closes logins of ours that nobody uses.
pub(super) async fn close_leftovers(
    context: &Context<'_>,
    pass: &Pass,
    manager: &Target,
) -> Result<(), Error> {
    let wanted = wanted_roles(context.rest()?, &pass.status, context.login_mark()?);
    let contents = &context.kind.world.contents;
    contents
        .close_leftovers(manager, &wanted)
        .await
        .map_err(at_postgres)
}

fn wanted_roles(rest: &Rest, recorded: &NeonDatabaseStatus, mark: String) -> PrepareRoles {
    let published = rest.roles_with_secret();
    let logins = |name: &str| {
        let known = recorded.roles.iter().filter(|known| known.name == name);
        known
            .flat_map(|known| known.login.iter().chain(&known.previous_login))
            .cloned()
            .collect()
    };
    let role = |role: &Role| PrepareRole {
        group: role.name.clone(),
        shape: role.shape(),
        logins: published
            .contains(role.name.as_str())
            .then(|| logins(&role.name)),
    };
    PrepareRoles {
        mark,
        roles: rest.roles.iter().map(role).collect(),
    }
}

fn wanted_database(rest: &Rest, database: &Database, close_to_public: bool) -> PrepareDatabase {
    let (enter, refused): (Vec<&Role>, Vec<&Role>) = rest
        .roles
        .iter()
        .partition(|role| role.databases.contains(&database.name));
    let rights = |role: &&Role| GroupRights {
        group: role.name.clone(),
        access: role.access,
        schemas: role.schemas.clone(),
    };
    PrepareDatabase {
        extensions: database.extensions.clone(),
        close_to_public,
        grants: enter.iter().map(rights).collect(),
        refused: refused.iter().map(|role| role.name.clone()).collect(),
    }
}

/// For people: role, and what it lacks in this database.
fn what_is_lacking(database: &str, report: &DatabaseReport) -> Vec<(String, String)> {
    let foreign = report.not_granted.iter().map(|(group, what)| {
        let what = format!("{what} in the database {database}, which another role owns");
        (group.clone(), what)
    });
    let missing = report.missing_schemas.iter().map(|(group, schema)| {
        let what = format!("the schema {schema} of the database {database}, which does not exist");
        (group.clone(), what)
    });
    foreign.chain(missing).collect()
}

fn missing_schemas(report: &DatabaseReport, applied_files: i64) -> Option<MissingSchemas> {
    let names: BTreeSet<&String> = report.missing_schemas.iter().map(|(_, s)| s).collect();
    (!names.is_empty()).then(|| MissingSchemas {
        names: names.into_iter().take(32).cloned().collect(),
        applied_files,
    })
}

/// The event about schemas that are asked for, not there, and were not told of before: nothing else is held up by them.
fn lost_schemas(before: &[DatabaseStatus], now: &[DatabaseStatus]) -> Option<Notice> {
    let missing = |of: &DatabaseStatus| {
        let missing = of.missing_schemas.as_ref();
        missing.map_or_else(Vec::new, |missing| missing.names.clone())
    };
    let mut told = Vec::new();
    for database in now {
        let known = before.iter().find(|known| known.name == database.name);
        let known = known.map(missing).unwrap_or_default();
        let new = missing(database);
        let new = new.into_iter().filter(|name| !known.contains(name));
        told.extend(new.map(|name| format!("{name} in the database {}", database.name)));
    }
    (!told.is_empty()).then(|| Notice {
        warning: true,
        reason: Reason::SchemaNotFound,
        message: format!(
            "schemas that spec.roles names do not exist: {}; rights are given when a migration of this object has made them",
            told.join(", ")
        ),
    })
}

fn extension(found: Installed) -> ExtensionStatus {
    ExtensionStatus {
        name: found.name,
        version: found.version,
        schema: Some(found.schema),
    }
}

fn record(
    status: &mut NeonDatabaseStatus,
    databases: Vec<DatabaseStatus>,
    rest: &Rest,
    not_granted: &[(String, String)],
) {
    status.databases = databases;
    let before = std::mem::take(&mut status.roles);
    let role = |role: &Role| {
        let known = before.iter().find(|known| known.name == role.name);
        let lacks = not_granted.iter().filter(|(group, _)| *group == role.name);
        RoleStatus {
            name: role.name.clone(),
            not_granted: lacks
                .map(|(_, what)| shortened(what))
                .take(MOST_TOLD)
                .collect(),
            ..known.cloned().unwrap_or_default()
        }
    };
    status.roles = rest.roles.iter().map(role).collect();
}

/// As much of a text as the status takes.
fn shortened(text: &str) -> String {
    text.chars().take(512).collect()
}

impl Context<'_> {
    /// The comment on logins made for this life of this branch.
    pub(super) fn login_mark(&self) -> Result<String, Error> {
        let recorded = self.recorded()?;
        Ok(self
            .desired
            .mark
            .on_logins(&recorded.id, &recorded.incarnation))
    }

    /// A session as the management owner, who makes all roles: at first the owner of the first database, and for as long
    /// as there are roles whoever made them.
    pub(super) async fn manager(&self) -> Result<Target, Error> {
        let rest = self.rest()?;
        let first = self.session(self.first_database()?).await?;
        let groups: Vec<String> = rest.roles.iter().map(|role| role.name.clone()).collect();
        let contents = &self.kind.world.contents;
        let mark = self.login_mark()?;
        let manager = contents.manager(&first, &groups, &mark).await;
        let manager = manager.map_err(at_postgres)?;
        if manager == first.user {
            return Ok(first);
        }
        self.session_as(&manager).await
    }

    fn first_database(&self) -> Result<&str, Error> {
        let first = self.rest()?.databases.first();
        let first = first.ok_or_else(|| Error::bug("no database is listed"))?;
        Ok(&first.name)
    }

    /// A session as a role of Neon's, which may enter every database.
    async fn session_as(&self, role: &str) -> Result<Target, Error> {
        self.session_in(self.first_database()?, role).await
    }

    /// A session as the owner of a database.
    pub(super) async fn session(&self, database: &str) -> Result<Target, Error> {
        self.session_in(database, &self.owner(database)?).await
    }

    /// A session as a role of Neon's, with the password that Neon has for it.
    async fn session_in(&self, database: &str, role: &str) -> Result<Target, Error> {
        let branch = self.branch()?;
        let api = self.account().await?;
        let password = api
            .api
            .reveal_password(self.project()?, &branch, role)
            .await
            .map_err(at_neon)?;
        let endpoint = self
            .observed
            .endpoint
            .known()
            .ok_or_else(|| Error::bug("no endpoint"))?;
        let settings = &self.kind.world.settings;
        Ok(settings.target(&endpoint.host, database, role, password))
    }

    /// The present owner of a database, as Neon lists it or as it was recorded.
    fn owner(&self, database: &str) -> Result<String, Error> {
        let listed = self
            .observed
            .databases
            .known()
            .and_then(|all| all.iter().find(|d| d.name == database));
        let recorded = self
            .observed
            .recorded
            .databases
            .iter()
            .find(|d| d.name == database);
        let owner = listed
            .map(|d| d.owner_name.clone())
            .or_else(|| recorded.map(|d| d.owner.clone()));
        owner.ok_or_else(|| {
            Error::conflict(format!("the owner of the database {database} is not known"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Environment;
    use crate::database::fixtures;
    use crate::postgres::{Class, RoleSetting};

    #[test]
    fn a_setting_that_the_server_refuses_is_told_with_its_field() {
        let desired = fixtures::desired(Environment::Staging);
        let rest = fixtures::rest(&desired);
        let last = rest.roles.len() - 1;
        let mut error = postgres::Error::new(Class::Invalid, "no such setting");
        error.setting = Some(Box::new(RoleSetting {
            group: rest.roles[last].name.clone(),
            name: "work_men".to_owned(),
        }));
        let told = at_role(rest, error);
        assert_eq!(told.reason, Reason::DatabaseRejected);
        let expected = format!("spec.roles[{last}].settings.work_men: no such setting");
        assert_eq!(told.message, expected);
    }
}
