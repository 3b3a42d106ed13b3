//! Replaces logins of roles: names another one, records that it came out, drops the one before. What makes and publishes
//! it is in [`super::secrets`]. What opens a session takes the branch lock.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{Context, Pass};
use crate::api::{NeonDatabaseStatus, Reason, RoleStatus};
use crate::database::desired::{Desired, Role};
use crate::database::rotation::tell_secrets;
use crate::postgres::Target;
use crate::reconcile::{Error, Notice};
use crate::world::at_postgres;

/// Names another login for the role. Nothing is made yet: it is in the record before it is anywhere else.
pub(super) async fn replace(
    context: &Context<'_>,
    pass: &mut Pass,
    role: &str,
) -> Result<(), Error> {
    let _lock = context.lock_branch()?;
    let manager = context.manager().await?;
    let next = next(context, &manager, role).await?;
    name_next(&mut pass.status, role, &next);
    Ok(())
}

/// Names another login in the place of one whose password nobody knows any more, so that whoever has that goes on. None where
/// that cannot be: one is replaced already, and there are never three, or the password is given and so not lost. The caller
/// holds the branch lock.
pub(super) async fn replace_lost(
    context: &Context<'_>,
    pass: &mut Pass,
    manager: &Target,
    role: &str,
) -> Result<Option<String>, Error> {
    let is_given = |role: &Role| role.password.is_some();
    let recorded = find(&mut pass.status, role);
    let is_replaced = recorded.is_none_or(|recorded| recorded.previous_login.is_some());
    if is_replaced || context.desired.role(role).is_none_or(is_given) {
        return Ok(None);
    }
    let next = next(context, manager, role).await?;
    name_next(&mut pass.status, role, &next);
    Ok(Some(next))
}

async fn next(context: &Context<'_>, manager: &Target, role: &str) -> Result<String, Error> {
    let contents = &context.kind.world.contents;
    let next = contents.next_login(manager, role).await;
    next.map_err(at_postgres)
}

fn name_next(status: &mut NeonDatabaseStatus, role: &str, next: &str) {
    if let Some(recorded) = find(status, role) {
        recorded.previous_login = recorded.login.replace(next.to_owned());
        recorded.rotation_time = None;
    }
}

/// Takes up which login the role uses now. Another one than is recorded has not come out yet.
pub(super) fn use_login(status: &mut NeonDatabaseStatus, role: &str, login: &str) {
    let Some(recorded) = find(status, role) else {
        return;
    };
    if recorded.login.as_deref() != Some(login) {
        recorded.login = Some(login.to_owned());
        recorded.rotation_time = None;
    }
    if recorded.previous_login.as_deref() == Some(login) {
        recorded.previous_login = None;
    }
}

/// Records that the role's login is out, and tells it where that is in the place of another one.
pub(super) fn record_publication(pass: &mut Pass, desired: &Desired, role: &str, now: Timestamp) {
    if let Some(recorded) = find(&mut pass.status, role)
        && recorded.rotation_time.is_none()
    {
        recorded.rotation_time = Some(Time(now));
        if let (Some(login), Some(previous)) = (&recorded.login, &recorded.previous_login) {
            let overlap = desired.role(role).map(|role| role.rotation.overlap);
            let end = overlap.and_then(|overlap| now.checked_add(overlap).ok());
            let until = end.map_or_else(String::new, |end| format!(" until {end:.0}"));
            let message = format!(
                "the role {role} is published with the login {login}; {previous} goes on working{until}"
            );
            tell(pass, Reason::LoginReplaced, message);
        }
    }
    tell_secrets(&mut pass.status);
}

fn tell(pass: &mut Pass, reason: Reason, message: String) {
    pass.notices.push(Notice {
        warning: false,
        reason,
        message,
    });
}

/// Ends a login that the role used before.
pub(super) async fn drop_previous(
    context: &Context<'_>,
    pass: &mut Pass,
    role: &str,
    login: &str,
) -> Result<(), Error> {
    let _lock = context.lock_branch()?;
    let manager = context.manager().await?;
    let mark = context.login_mark()?;
    let contents = &context.kind.world.contents;
    contents
        .drop_login(&manager, role, login, &mark)
        .await
        .map_err(at_postgres)?;
    if let Some(recorded) = find(&mut pass.status, role) {
        recorded.previous_login = None;
    }
    tell_secrets(&mut pass.status);
    let message = format!("the login {login} of the role {role} has had its time and is closed");
    tell(pass, Reason::LoginEnded, message);
    Ok(())
}

fn find<'a>(status: &'a mut NeonDatabaseStatus, role: &str) -> Option<&'a mut RoleStatus> {
    status.roles.iter_mut().find(|known| known.name == role)
}
