//! The port to real databases: each call opens one session, does its work and closes it.

use std::collections::BTreeMap;

use async_trait::async_trait;
use sqlx::Connection;
use sqlx::postgres::PgConnection;

use crate::api::Access;
use crate::postgres::grants::{Access as Rights, Grant, GrantOutcome};
use crate::postgres::roles::{Login, RoleFact};
use crate::postgres::{
    Class, Error, Options, Target, connect, extensions, grants, isolation, managers, proof, retire,
    roles, server_settings,
};
use crate::world::{
    Contents, DatabaseReport, GroupRights, LoginsLeft, NewLogin, PrepareDatabase, PrepareRoles,
};

/// Databases on a real PostgreSQL.
#[derive(Clone, Copy, Debug, Default)]
pub struct LiveContents;

async fn open(at: &Target) -> Result<PgConnection, Error> {
    connect(at, "sepulki", &Options::default()).await
}

/// Says goodbye; a session that was lost meanwhile is closed already.
async fn close(session: PgConnection) {
    if let Err(error) = session.close().await {
        tracing::debug!(%error, "session was not closed in order");
    }
}

#[async_trait]
impl Contents for LiveContents {
    async fn manager(&self, at: &Target, groups: &[String], mark: &str) -> Result<String, Error> {
        let mut session = open(at).await?;
        let all = managers::list(&mut session).await;
        close(session).await;
        Ok(managers::manager(&all?, groups, mark, &at.user))
    }

    async fn retire_logins(&self, at: &Target, mark: &str) -> Result<LoginsLeft, Error> {
        let mut session = open(at).await?;
        let left = retire_logins(&mut session, mark).await;
        close(session).await;
        left
    }

    async fn prepare_roles(&self, at: &Target, wanted: &PrepareRoles) -> Result<(), Error> {
        let mut session = open(at).await?;
        let result = prepare_roles(&mut session, wanted).await;
        close(session).await;
        result
    }

    async fn close_leftovers(&self, at: &Target, wanted: &PrepareRoles) -> Result<(), Error> {
        let mut session = open(at).await?;
        let result = retire::close_leftovers(&mut session, &wanted.mark, &wanted.kept()).await;
        close(session).await;
        result
    }

    async fn prepare_database(
        &self,
        at: &Target,
        wanted: &PrepareDatabase,
    ) -> Result<DatabaseReport, Error> {
        let mut session = open(at).await?;
        let report = prepare(&mut session, wanted).await;
        close(session).await;
        report
    }

    async fn choose_login(
        &self,
        at: &Target,
        group: &str,
        mark: &str,
        recorded: Option<&str>,
    ) -> Result<String, Error> {
        let facts = facts(at).await?;
        Ok(roles::login_to_use(&facts, group, mark, recorded))
    }

    async fn next_login(&self, at: &Target, group: &str) -> Result<String, Error> {
        Ok(roles::following_login(&facts(at).await?, group))
    }

    async fn drop_login(
        &self,
        at: &Target,
        group: &str,
        login: &str,
        mark: &str,
    ) -> Result<(), Error> {
        let mut session = open(at).await?;
        let result = drop_login(&mut session, at, group, login, mark).await;
        close(session).await;
        result
    }

    async fn set_login(&self, at: &Target, login: &NewLogin) -> Result<(), Error> {
        let login = Login {
            group: login.group.clone(),
            login: login.login.clone(),
            mark: login.mark.clone(),
            shape: login.shape.clone(),
            password: login.password.clone(),
        };
        let mut session = open(at).await?;
        let result = roles::ensure_login(&mut session, &login).await;
        close(session).await;
        result
    }

    async fn refused_settings(
        &self,
        at: &Target,
        settings: &BTreeMap<String, String>,
    ) -> Result<BTreeMap<String, String>, Error> {
        let mut session = open(at).await?;
        let refused = server_settings::refused(&mut session, settings).await;
        close(session).await;
        refused
    }

    async fn accepts(&self, at: &Target) -> Result<bool, Error> {
        match proof::accepts(at).await {
            Err(error) if error.is_of_full_role() => Ok(true),
            answer => Ok(answer?.is_some()),
        }
    }
}

async fn retire_logins(session: &mut PgConnection, mark: &str) -> Result<LoginsLeft, Error> {
    let names = isolation::retire_inherited_logins(session, mark).await?;
    if names.is_empty() {
        return Ok(LoginsLeft::default());
    }
    let all = managers::list(session).await?;
    let administrators = managers::administrators(&all, &names);
    Ok(LoginsLeft {
        names,
        administrators,
    })
}

async fn prepare_roles(session: &mut PgConnection, wanted: &PrepareRoles) -> Result<(), Error> {
    retire::take_along(session, &wanted.mark, &wanted.kept()).await?;
    for role in &wanted.roles {
        roles::ensure_group(session, &role.group, &wanted.mark, &role.shape).await?;
    }
    retire::close_leftovers(session, &wanted.mark, &wanted.kept()).await
}

async fn facts(at: &Target) -> Result<Vec<RoleFact>, Error> {
    let mut session = open(at).await?;
    let facts = roles::list(&mut session).await;
    close(session).await;
    facts
}

async fn drop_login(
    session: &mut PgConnection,
    at: &Target,
    group: &str,
    login: &str,
    mark: &str,
) -> Result<(), Error> {
    let Some(databases) = retire::begin_dropping(session, login, mark).await? else {
        return Ok(());
    };
    for database in databases {
        let there = Target {
            database,
            ..at.clone()
        };
        let mut session = open(&there).await?;
        let result = retire::give_up(&mut session, group, login).await;
        close(session).await;
        result?;
    }
    retire::finish_dropping(session, login).await
}

async fn prepare(
    session: &mut PgConnection,
    wanted: &PrepareDatabase,
) -> Result<DatabaseReport, Error> {
    let extensions = extensions::ensure(session, &wanted.extensions).await?;
    if wanted.close_to_public {
        grants::close_to_public(session).await?;
    }
    let mut report = DatabaseReport {
        extensions,
        ..DatabaseReport::default()
    };
    for GroupRights {
        group,
        access,
        schemas,
    } in &wanted.grants
    {
        let grant = Grant {
            group: group.clone(),
            access: rights(*access),
            schemas: schemas.clone(),
        };
        let (lacking, missing) = done(grants::apply(session, &grant).await?)?;
        let told = |what: Vec<String>| what.into_iter().map(|what| (group.clone(), what));
        report.not_granted.extend(told(lacking));
        report.missing_schemas.extend(told(missing));
    }
    for group in &wanted.refused {
        done(grants::refuse(session, group).await?)?;
    }
    Ok(report)
}

/// What could not be granted, and schemas that do not exist.
fn done(outcome: GrantOutcome) -> Result<(Vec<String>, Vec<String>), Error> {
    match outcome {
        GrantOutcome::Done {
            not_granted,
            missing_schemas,
            ..
        } => Ok((not_granted, missing_schemas)),
        GrantOutcome::Busy => Err(Error::new(
            Class::Conflict,
            "a migration holds this database",
        )),
    }
}

fn rights(access: Access) -> Rights {
    match access {
        Access::ReadOnly => Rights::ReadOnly,
        Access::ReadWrite => Rights::ReadWrite,
        Access::Admin => Rights::Admin,
    }
}
