//! Writes the connection Secrets: makes the login work, proves that it does, publishes (under the branch lock); deletes them,
//! and lets them stay.

use k8s_openapi::api::core::v1::Secret;
use rand::distr::{Alphanumeric, SampleString};
use secrecy::{ExposeSecret, SecretString};

use super::{Context, Pass};
use crate::api::{ConnectionSecretStatus, NeonDatabaseStatus, Reason};
use crate::database::credentials::{
    Form, Found, login_in, password_in, pooled_host, without_owner,
};
use crate::postgres::Target;
use crate::reconcile::{Class, Error};
use crate::world::{NewLogin, at_cluster, at_postgres};

/// Long enough that guessing is hopeless: 32 characters of 62 are 190 bits; Neon asks for 60.
const PASSWORD_LENGTH: usize = 32;

/// How often to begin anew where another operator replaces the password that was just published.
const ROUNDS: usize = 5;

/// Makes the role's login work, proves it, and writes every Secret of the role.
///
/// Another operator may be at the same, for one that has lost its lease does not know it at once. Each proves once more
/// after it has written: whoever replaced the password before that also writes the Secret after us, and proves in turn.
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
    let roles = &mut pass.status.roles;
    if let Some(recorded) = roles.iter_mut().find(|recorded| recorded.name == role) {
        recorded.login = Some(login.clone());
    }
    let forms = forms(context, &pass.status, role)?;
    for _ in 0..ROUNDS {
        let password = match usable_password(context, &forms).await? {
            Some(password) => password,
            None => new_password(context, &manager, role, &login, &mark).await?,
        };
        for form in &forms {
            prove(context, form, &password).await?;
            write(context, form, &password).await?;
        }
        if works(context, &forms, &password).await? {
            for form in &forms {
                record(context, pass, form, role);
            }
            return Ok(());
        }
    }
    Err(Error::conflict(format!(
        "another operator keeps replacing the password of {login}"
    )))
}

/// Gives the login a password that nobody knows yet.
async fn new_password(
    context: &Context<'_>,
    manager: &Target,
    role: &str,
    login: &str,
    mark: &str,
) -> Result<SecretString, Error> {
    let password =
        SecretString::from(Alphanumeric.sample_string(&mut rand::rng(), PASSWORD_LENGTH));
    let new = NewLogin {
        group: role.to_owned(),
        login: login.to_owned(),
        mark: mark.to_owned(),
        password: password.clone(),
    };
    let contents = &context.kind.world.contents;
    contents
        .set_login(manager, &new)
        .await
        .map_err(at_postgres)?;
    Ok(password)
}

async fn write(context: &Context<'_>, form: &Form, password: &SecretString) -> Result<(), Error> {
    let cluster = &context.kind.world.cluster;
    cluster
        .apply_secret(&form.secret(password))
        .await
        .map_err(at_cluster)
}

/// Whether the password still opens what was published.
async fn works(
    context: &Context<'_>,
    forms: &[Form],
    password: &SecretString,
) -> Result<bool, Error> {
    let Some(form) = forms.first() else {
        return Ok(true);
    };
    let target = context.target(form, &form.host, password);
    let contents = &context.kind.world.contents;
    contents.accepts(&target).await.map_err(at_postgres)
}

fn record(context: &Context<'_>, pass: &mut Pass, form: &Form, role: &str) {
    context
        .kind
        .checked
        .remember(context.desired, form, context.now);
    let secrets = &mut pass.status.connection_secrets;
    secrets.retain(|secret| secret.name != form.name);
    secrets.push(ConnectionSecretStatus {
        name: form.name.clone(),
        role: role.to_owned(),
        database: form.database.clone(),
        login: form.login.clone(),
    });
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
        .filter(|secret| secret.role == role && !context.observed.is_held_back(&secret.name));
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
        let found = Found::of(&secret, &form.object, &form.uid);
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

/// Deletes those of these Secrets that are still ours.
pub(super) async fn withdraw(
    context: &Context<'_>,
    pass: &mut Pass,
    names: &[String],
) -> Result<(), Error> {
    let cluster = &context.kind.world.cluster;
    let namespace = &context.desired.mark.namespace;
    for name in names {
        if let Some((_, found)) = ours(context, name).await? {
            cluster
                .delete_secret(namespace, name, &found.uid)
                .await
                .map_err(at_cluster)?;
        }
        let secrets = &mut pass.status.connection_secrets;
        secrets.retain(|recorded| recorded.name != *name);
    }
    Ok(())
}

/// Takes the object off those of these Secrets that are still ours, so that they do not go with it.
pub(super) async fn keep(context: &Context<'_>, names: &[String]) -> Result<(), Error> {
    let cluster = &context.kind.world.cluster;
    for name in names {
        if let Some((secret, _)) = ours(context, name).await? {
            cluster
                .apply_secret(&without_owner(&secret))
                .await
                .map_err(at_cluster)?;
        }
    }
    Ok(())
}

/// A Secret as it is now, where it is one of ours.
async fn ours(context: &Context<'_>, name: &str) -> Result<Option<(Secret, Found)>, Error> {
    let mark = &context.desired.mark;
    let cluster = &context.kind.world.cluster;
    let secret = cluster
        .secret(&mark.namespace, name)
        .await
        .map_err(at_cluster)?;
    Ok(secret.and_then(|secret| {
        let found = Found::of(&secret, &mark.name, &context.desired.uid);
        found.ours.then_some((secret, found))
    }))
}

impl Context<'_> {
    fn target(&self, form: &Form, host: &str, password: &SecretString) -> Target {
        self.target_of(
            host,
            &form.database,
            &form.login,
            password.expose_secret().into(),
        )
    }
}
