//! Effects inside of a branch: logins that were copied, extensions, groups and grants. Runs under the branch lock.

use secrecy::SecretString;

use super::{Context, Pass};
use crate::api::{Credentials, DatabaseStatus, ExtensionStatus, NeonDatabaseStatus, RoleStatus};
use crate::postgres::{Target, Tls};
use crate::reconcile::Error;
use crate::world::{DatabaseReport, PrepareDatabase, at_neon, at_postgres};

/// Closes every login that came with the copy.
pub(super) async fn retire_logins(context: &Context<'_>, pass: &mut Pass) -> Result<(), Error> {
    let manager = context.manager().await?;
    let mark = context.login_mark()?;
    context
        .kind
        .world
        .contents
        .retire_logins(&manager, &mark)
        .await
        .map_err(at_postgres)?;
    if let Some(branch) = &mut pass.status.branch {
        branch.credentials = Credentials::Own;
    }
    Ok(())
}

/// Brings about extensions, groups and grants of every database.
pub(super) async fn prepare(context: &Context<'_>, pass: &mut Pass) -> Result<(), Error> {
    let rest = context.rest()?;
    let contents = &context.kind.world.contents;
    let groups: Vec<String> = rest.roles.iter().map(|role| role.name.clone()).collect();
    if !groups.is_empty() {
        let manager = context.manager().await?;
        contents
            .prepare_groups(&manager, &groups)
            .await
            .map_err(at_postgres)?;
    }
    let recorded = context.recorded()?;
    let mut databases = Vec::new();
    let mut not_granted = Vec::new();
    for database in &rest.databases {
        let created = pass
            .status
            .databases
            .iter()
            .any(|d| d.name == database.name && d.created);
        let enters =
            |role: &&crate::database::desired::Role| role.databases.contains(&database.name);
        let wanted = PrepareDatabase {
            extensions: database.extensions.clone(),
            // what existed before us may be used by others; what is ours is used by those who are listed
            close_to_public: created || !recorded.taken_over,
            grants: rest
                .roles
                .iter()
                .filter(enters)
                .map(|role| (role.name.clone(), role.access))
                .collect(),
            refused: rest
                .roles
                .iter()
                .filter(|role| !enters(role))
                .map(|role| role.name.clone())
                .collect(),
        };
        let session = context.session(&database.name).await?;
        let report = contents
            .prepare_database(&session, &wanted)
            .await
            .map_err(at_postgres)
            .map_err(|error| Error {
                message: format!("spec.databases[{}]: {}", database.name, error.message),
                ..error
            })?;
        not_granted.extend(
            report
                .not_granted
                .iter()
                .map(|(group, relation)| (group.clone(), format!("{}.{relation}", database.name))),
        );
        databases.push(database_status(
            &database.name,
            &session.user,
            created,
            report,
        ));
    }
    record(&mut pass.status, databases, &groups, &not_granted);
    pass.status.content_digest = Some(rest.content_digest(&recorded.id, &recorded.incarnation));
    Ok(())
}

fn database_status(
    name: &str,
    owner: &str,
    created: bool,
    report: DatabaseReport,
) -> DatabaseStatus {
    let extension = |(name, version)| ExtensionStatus { name, version };
    DatabaseStatus {
        name: name.to_owned(),
        owner: owner.to_owned(),
        created,
        extensions: report.extensions.into_iter().map(extension).collect(),
    }
}

fn record(
    status: &mut NeonDatabaseStatus,
    databases: Vec<DatabaseStatus>,
    groups: &[String],
    not_granted: &[(String, String)],
) {
    status.databases = databases;
    let role = |name: &String| RoleStatus {
        name: name.clone(),
        login: status
            .roles
            .iter()
            .find(|role| role.name == *name)
            .and_then(|role| role.login.clone()),
        not_granted: not_granted
            .iter()
            .filter(|(group, _)| group == name)
            .map(|(_, what)| what.clone())
            .take(20)
            .collect(),
    };
    status.roles = groups.iter().map(role).collect();
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

    /// A session as the management owner, who makes all roles: the owner of the first database.
    pub(super) async fn manager(&self) -> Result<Target, Error> {
        let first = self.rest()?.databases.first();
        let first = first.ok_or_else(|| Error::bug("no database is listed"))?;
        self.session(&first.name).await
    }

    /// A session as the owner of a database, with the password that Neon has for it.
    async fn session(&self, database: &str) -> Result<Target, Error> {
        let branch = self.branch()?;
        let owner = self.owner(database)?;
        let api = self.account().await?;
        let password = api
            .api
            .reveal_password(self.project()?, &branch, &owner)
            .await
            .map_err(at_neon)?;
        let endpoint = self
            .observed
            .endpoint
            .known()
            .ok_or_else(|| Error::bug("no endpoint"))?;
        Ok(self.target_of(&endpoint.host, database, &owner, password))
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

    pub(super) fn target_of(
        &self,
        host: &str,
        database: &str,
        user: &str,
        password: SecretString,
    ) -> Target {
        let settings = &self.kind.world.settings;
        Target {
            host: host.to_owned(),
            port: settings.postgres_port,
            user: user.to_owned(),
            password,
            database: database.to_owned(),
            tls: settings
                .certificate_authority
                .as_ref()
                .map_or(Tls::WebPki, |ca| Tls::Ca(ca.pem.clone())),
        }
    }
}
