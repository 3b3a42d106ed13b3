//! Effects inside of a branch: logins that were copied, extensions, roles, grants, and credentials that work before they
//! are published. Runs under the branch lock.

use rand::distr::{Alphanumeric, SampleString};
use secrecy::{ExposeSecret, SecretString};

use super::Pass;
use super::act::Context;
use super::credentials::{Form, Found, login_in, password_in, pooled_host};
use crate::api::{
    ConnectionSecretStatus, Credentials, DatabaseStatus, ExtensionStatus, NeonDatabaseStatus,
    Reason, RoleStatus,
};
use crate::postgres::{Target, Tls};
use crate::reconcile::{Class, Error};
use crate::world::{DatabaseReport, NewLogin, PrepareDatabase, at_cluster, at_neon, at_postgres};

/// Long enough that guessing is hopeless: 32 characters of 62 are 190 bits; Neon asks for 60.
const PASSWORD_LENGTH: usize = 32;

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
        let enters = |role: &&super::desired::Role| role.databases.contains(&database.name);
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

/// Makes the role's login work, proves it, and writes every Secret of the role.
pub(super) async fn publish(
    context: &Context<'_>,
    pass: &mut Pass,
    role: &str,
) -> Result<(), Error> {
    let manager = context.manager().await?;
    let mark = context.login_mark()?;
    let contents = &context.kind.world.contents;
    let login = contents
        .choose_login(&manager, role, &mark)
        .await
        .map_err(at_postgres)?;
    if let Some(recorded) = pass
        .status
        .roles
        .iter_mut()
        .find(|recorded| recorded.name == role)
    {
        recorded.login = Some(login.clone());
    }
    let forms = forms(context, &pass.status, role)?;
    let password = if let Some(password) = usable_password(context, &forms).await? {
        password
    } else {
        let password =
            SecretString::from(Alphanumeric.sample_string(&mut rand::rng(), PASSWORD_LENGTH));
        let new = NewLogin {
            group: role.to_owned(),
            login,
            mark,
            password: password.clone(),
        };
        contents
            .set_login(&manager, &new)
            .await
            .map_err(at_postgres)?;
        password
    };
    for form in forms {
        prove(context, &form, &password).await?;
        context
            .kind
            .world
            .cluster
            .apply_secret(&form.secret(&password))
            .await
            .map_err(at_cluster)?;
        context
            .kind
            .checked
            .remember(&context.desired.uid, &form, context.now);
        let secrets = &mut pass.status.connection_secrets;
        secrets.retain(|secret| secret.name != form.name);
        secrets.push(ConnectionSecretStatus {
            name: form.name.clone(),
            role: role.to_owned(),
            database: form.database.clone(),
            login: form.login.clone(),
        });
    }
    Ok(())
}

fn forms(
    context: &Context<'_>,
    status: &NeonDatabaseStatus,
    role: &str,
) -> Result<Vec<Form>, Error> {
    let wanted = context
        .rest()?
        .secrets
        .iter()
        .filter(|secret| secret.role == role);
    wanted
        .map(|secret| {
            let form = context.kind.form(context.desired, status, secret);
            form.ok_or_else(|| {
                Error::conflict(format!(
                    "nothing is decided yet about the Secret {}",
                    secret.name
                ))
            })
        })
        .collect()
}

/// The password in a Secret of the same login that is ours and works: another Secret of the role was lost, or anything
/// else about it changed. Applications that run need not reconnect because somebody edited a host name.
async fn usable_password(
    context: &Context<'_>,
    forms: &[Form],
) -> Result<Option<SecretString>, Error> {
    let cluster = &context.kind.world.cluster;
    for form in forms {
        let Some(secret) = cluster
            .secret(&form.namespace, &form.name)
            .await
            .map_err(at_cluster)?
        else {
            continue;
        };
        let found = Found::of(&secret, &form.object);
        if !found.ours || login_in(&secret).as_ref() != Some(&form.login) {
            continue;
        }
        let Some(password) = password_in(&secret) else {
            continue;
        };
        let target = context.target(form, &form.host, &password);
        if context
            .kind
            .world
            .contents
            .accepts(&target)
            .await
            .map_err(at_postgres)?
        {
            return Ok(Some(password));
        }
    }
    Ok(None)
}

/// What is published works at the moment it is published, direct and pooled.
async fn prove(context: &Context<'_>, form: &Form, password: &SecretString) -> Result<(), Error> {
    for host in [form.host.clone(), pooled_host(&form.host)] {
        let target = context.target(form, &host, password);
        if !context
            .kind
            .world
            .contents
            .accepts(&target)
            .await
            .map_err(at_postgres)?
        {
            let message = format!(
                "the new credentials of {} do not work at {host} yet",
                form.login
            );
            return Err(Error::new(
                Class::Transient,
                Reason::DatabaseUnavailable,
                message,
            ));
        }
    }
    Ok(())
}

impl Context<'_> {
    /// The comment on logins made for this life of this branch.
    fn login_mark(&self) -> Result<String, Error> {
        let recorded = self.recorded()?;
        Ok(self
            .desired
            .mark
            .on_logins(&recorded.id, &recorded.incarnation))
    }

    /// A session as the management owner, who makes all roles: the owner of the first database.
    async fn manager(&self) -> Result<Target, Error> {
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
            .reveal_password(&self.desired.project, &branch, &owner)
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

    fn target(&self, form: &Form, host: &str, password: &SecretString) -> Target {
        self.target_of(
            host,
            &form.database,
            &form.login,
            password.expose_secret().into(),
        )
    }

    fn target_of(&self, host: &str, database: &str, user: &str, password: SecretString) -> Target {
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
