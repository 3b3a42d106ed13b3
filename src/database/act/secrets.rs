//! Writes the connection Secrets: makes the login work, proves that it does, publishes (under the branch lock); deletes them,
//! and lets them stay.

use k8s_openapi::api::core::v1::Secret;
use rand::distr::{Alphanumeric, SampleString};
use secrecy::SecretString;

use super::contents::{self, at_role};
use super::damage::Damage;
use super::proof::{opens, prove, without_silent_replicas};
use super::{Context, Pass, logins};
use crate::api::{ConnectionSecretStatus, NeonDatabaseStatus, Reason};
use crate::database::credentials::{Form, Found, login_in, password_in, with_owner, without_owner};
use crate::database::desired::Role;
use crate::database::given::Given;
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
    let _lock = context.lock_branch()?;
    let manager = context.manager().await?;
    publish_as(context, pass, &manager, role).await
}

/// The same as this manager. The caller holds the branch lock.
pub(super) async fn publish_as(
    context: &Context<'_>,
    pass: &mut Pass,
    manager: &Target,
    role: &str,
) -> Result<(), Error> {
    let mark = context.login_mark()?;
    let recorded = pass.status.roles.iter().find(|known| known.name == role);
    let recorded = recorded.and_then(|known| known.login.as_deref());
    let login = context
        .kind
        .world
        .contents
        .choose_login(manager, role, &mark, recorded)
        .await
        .map_err(at_postgres)?;
    logins::use_login(&mut pass.status, role, &login);
    let mut forms = forms(context, &pass.status, role)?;
    let mut present = leave_others(context, &mut forms).await?;
    let damage = Damage::of(&pass.status, &forms, &present);
    let told = lost_password(context, &damage, &forms, role).await?;
    if told.is_none()
        && damage.has_lost_the_password()
        && let Some(next) = logins::replace_lost(context, pass, manager, role).await?
    {
        let how = format!(
            "nobody knows its password, so it is published again with the login {next}; {login} goes on working for as \
             long as after any other replacement"
        );
        damage.tell(pass, &how);
        return Ok(());
    }
    for _ in 0..ROUNDS {
        let (password, works_already) = match &told {
            Some(told) => (told.clone(), true),
            None => password_for(context, &pass.status, &forms, &present, role).await?,
        };
        if !works_already {
            set_password(context, manager, role, &login, &mark, &password).await?;
        }
        let mut silent = None;
        for form in &forms {
            prove(context, form, &password).await?;
            let (proven, left_out) = without_silent_replicas(context, form, &password).await;
            write(context, &proven, &password).await?;
            silent = silent.or(left_out);
        }
        if works(context, &forms, &password).await? {
            // one that was made by an operator that did not know that it had lost its lease
            contents::close_leftovers(context, pass, manager).await?;
            damage.tell(pass, "it is published again");
            record(context, pass, role, forms);
            return match silent {
                None => Ok(()),
                Some(error) => {
                    // so that what is left out is found to be lacking
                    context.kind.checked.forget(&context.desired.uid);
                    Err(error)
                }
            };
        }
        present = leave_others(context, &mut forms).await?;
    }
    Err(Error::conflict(format!(
        "another operator keeps replacing the password of {login}"
    )))
}

/// The password that is in no Secret any more, where Neon tells it. One that a user gives is read from where it is given.
async fn lost_password(
    context: &Context<'_>,
    damage: &Damage,
    forms: &[Form],
    role: &str,
) -> Result<Option<SecretString>, Error> {
    let is_given = asked_role(context, role)?.password.is_some();
    let Some(form) = forms.first().filter(|_| !is_given) else {
        return Ok(None);
    };
    if !damage.has_lost_the_password() {
        return Ok(None);
    }
    let Some(told) = context.told_password(&form.login).await? else {
        return Ok(None);
    };
    let works = works(context, forms, &told).await?;
    Ok(works.then_some(told))
}

/// The password that the role is to have, and whether its login has it: the one that is given for it, the published one
/// where that works, or one that nobody knows yet.
async fn password_for(
    context: &Context<'_>,
    status: &NeonDatabaseStatus,
    forms: &[Form],
    present: &[Present],
    role: &str,
) -> Result<(SecretString, bool), Error> {
    let kind = context.kind;
    let asked = asked_role(context, role)?;
    // anew: what is published now is not looked at again for ten minutes
    match kind.given_password(context.desired, asked, true).await? {
        Given::Password(password) => {
            let works = works(context, forms, &password).await?;
            return Ok((password, works));
        }
        Given::Problem(_) => {
            return Err(Error::conflict(format!(
                "the password that is given for {role} cannot be used any more"
            )));
        }
        Given::Nothing => {}
    }
    let leaving = leaving(context, status, role, forms).await?;
    if let Some(published) = published_password(context, present.iter().chain(&leaving)).await? {
        return Ok(published);
    }
    let random = Alphanumeric.sample_string(&mut rand::rng(), PASSWORD_LENGTH);
    Ok((SecretString::from(random), false))
}

async fn set_password(
    context: &Context<'_>,
    manager: &Target,
    role: &str,
    login: &str,
    mark: &str,
    password: &SecretString,
) -> Result<(), Error> {
    let new = NewLogin {
        group: role.to_owned(),
        login: login.to_owned(),
        mark: mark.to_owned(),
        shape: asked_role(context, role)?.shape(),
        password: password.clone(),
    };
    let contents = &context.kind.world.contents;
    let rest = context.rest()?;
    let set = contents.set_login(manager, &new).await;
    set.map_err(|error| at_role(rest, error))
}

fn asked_role<'a>(context: &'a Context<'_>, role: &str) -> Result<&'a Role, Error> {
    let found = context.desired.role(role);
    found.ok_or_else(|| Error::bug(format!("the role {role} is not asked for")))
}

async fn write(context: &Context<'_>, form: &Form, password: &SecretString) -> Result<(), Error> {
    let cluster = &context.kind.world.cluster;
    cluster
        .apply_secret(&form.secret(password))
        .await
        .map_err(at_cluster)
}

/// A Secret of ours that is there, and what it is to say.
pub(super) type Present = (Form, Secret, Found);

/// Those of the role's Secrets that are there. What lies under the name of one and is not ours stays as it is, whatever the
/// look that led here has seen of it: that one is left out, and the others come out without it.
async fn leave_others(context: &Context<'_>, forms: &mut Vec<Form>) -> Result<Vec<Present>, Error> {
    let (mut present, mut left, mut taken) = (Vec::new(), Vec::new(), None);
    for form in std::mem::take(forms) {
        match find(context, &form.name).await? {
            Some((_, found)) if !found.ours => {
                taken = context
                    .kind
                    .taken(context.desired, &form.name, Some(&found));
            }
            Some((secret, found)) => {
                present.push((form.clone(), secret, found));
                left.push(form);
            }
            None => left.push(form),
        }
    }
    *forms = left;
    match taken {
        Some(message) if forms.is_empty() => {
            Err(Error::new(Class::Invalid, Reason::SecretConflict, message))
        }
        Some(_) | None => Ok(present),
    }
}

/// Secrets of the same login that are out and no longer asked for, as where one is to have another name: applications that
/// have its password go on with it.
async fn leaving(
    context: &Context<'_>,
    status: &NeonDatabaseStatus,
    role: &str,
    forms: &[Form],
) -> Result<Vec<Present>, Error> {
    let Some(form) = forms.first() else {
        return Ok(Vec::new());
    };
    let out = status.connection_secrets.iter();
    let names = out
        .filter(|out| out.role == role && out.login == form.login)
        .map(|out| &out.name)
        .filter(|name| forms.iter().all(|form| form.name != **name));
    let mut leaving = Vec::new();
    for name in names {
        if let Some((secret, found)) = ours(context, name).await? {
            leaving.push((form.clone(), secret, found));
        }
    }
    Ok(leaving)
}

/// Whether the password still opens what was published.
async fn works(
    context: &Context<'_>,
    forms: &[Form],
    password: &SecretString,
) -> Result<bool, Error> {
    match forms.first() {
        Some(form) => opens(context, form, password).await,
        None => Ok(true),
    }
}

/// Whether what is published of the role, and is as it should be, does not open its database.
pub(super) async fn is_shut_out(
    context: &Context<'_>,
    status: &NeonDatabaseStatus,
    role: &str,
) -> Result<bool, Error> {
    let mut forms = forms(context, status, role)?;
    for (form, secret, found) in leave_others(context, &mut forms).await? {
        if let Some(password) = password_in(&secret).filter(|_| found.is_current(&form)) {
            return opens(context, &form, &password).await.map(|opens| !opens);
        }
    }
    Ok(false)
}

/// Records those of the role's Secrets that are as they should be.
pub(super) fn record_current(
    context: &Context<'_>,
    pass: &mut Pass,
    role: &str,
) -> Result<(), Error> {
    let mut forms = forms(context, &pass.status, role)?;
    forms.retain(|form| context.observed.current_secrets.contains(&form.name));
    record(context, pass, role, forms);
    Ok(())
}

/// Records that these Secrets of the role are out.
fn record(context: &Context<'_>, pass: &mut Pass, role: &str, forms: Vec<Form>) {
    for form in forms {
        let kind = context.kind;
        kind.checked.remember(context.desired, &form, context.now);
        let secrets = &mut pass.status.connection_secrets;
        secrets.retain(|secret| secret.name != form.name);
        secrets.push(ConnectionSecretStatus {
            name: form.name,
            role: role.to_owned(),
            database: form.database,
            login: form.login,
            ..ConnectionSecretStatus::default()
        });
    }
    logins::record_publication(pass, context.desired, role, context.now);
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
        .filter(|secret| secret.role == role && !context.observed.is_held_back(&secret.name))
        .filter(|secret| !context.observed.is_somebody_elses(&secret.name));
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

/// The password in a Secret of ours of the same login, and whether it works. One that works is kept whatever else about a
/// Secret changed: applications that run need not reconnect because somebody edited a host name, or another Secret of the
/// role was lost. One that does not, as after a reset or a restore of the branch, is given to the login again where the
/// Secret is whole.
async fn published_password(
    context: &Context<'_>,
    known: impl Iterator<Item = &Present>,
) -> Result<Option<(SecretString, bool)>, Error> {
    let mut whole = None;
    for (form, secret, found) in known {
        if found.has_given_password() || login_in(secret).as_ref() != Some(&form.login) {
            continue;
        }
        let Some(password) = password_in(secret) else {
            continue;
        };
        if opens(context, form, &password).await? {
            return Ok(Some((password, true)));
        }
        if found.intact && found.is_of_branch(&form.branch) && whole.is_none() {
            whole = Some((password, false));
        }
    }
    Ok(whole)
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

/// Has those of these Secrets that are still ours go with the object, or stay.
pub(super) async fn hold(context: &Context<'_>, names: &[String], goes: bool) -> Result<(), Error> {
    let (mark, uid) = (&context.desired.mark, &context.desired.uid);
    for name in names {
        if let Some((secret, _)) = ours(context, name).await? {
            let held = if goes {
                with_owner(&secret, &mark.name, uid)
            } else {
                without_owner(&secret)
            };
            let applied = context.kind.world.cluster.apply_secret(&held).await;
            applied.map_err(at_cluster)?;
        }
    }
    Ok(())
}

/// A Secret as it is now, where it is one of ours.
async fn ours(context: &Context<'_>, name: &str) -> Result<Option<(Secret, Found)>, Error> {
    let secret = find(context, name).await?;
    Ok(secret.filter(|(_, found)| found.ours))
}

/// A Secret as it is now, whosever it is.
async fn find(context: &Context<'_>, name: &str) -> Result<Option<(Secret, Found)>, Error> {
    let mark = &context.desired.mark;
    let cluster = &context.kind.world.cluster;
    let secret = cluster.secret(&mark.namespace, name).await;
    let secret = secret.map_err(at_cluster)?;
    Ok(secret.map(|secret| {
        let found = Found::of(&secret, &mark.name, &context.desired.uid);
        (secret, found)
    }))
}
