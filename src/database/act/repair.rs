//! Logins that are out and that somebody has dropped, closed or given another password by SQL: they are what they were
//! published as again. Nobody is told of such a thing, and to look takes a session, so it is looked for where contents are
//! brought about in any case: when somebody asks for a look, or the spec has changed.

use super::{Context, Pass, secrets};
use crate::api::{NeonDatabaseStatus, Reason};
use crate::database::desired::Role;
use crate::database::given::Given;
use crate::postgres::Target;
use crate::reconcile::{Error, Notice};

/// Makes every published login work that does not, and tells of it. The caller holds the branch lock.
pub(super) async fn logins(
    context: &Context<'_>,
    pass: &mut Pass,
    manager: &Target,
) -> Result<(), Error> {
    for role in &context.rest()?.roles {
        let Some(before) = login(&pass.status, role) else {
            continue;
        };
        if !is_lost(context, pass, role).await? {
            continue;
        }
        secrets::publish_as(context, pass, manager, &role.name).await?;
        let after = login(&pass.status, role).unwrap_or_default();
        pass.notices.push(told(&before, &after));
    }
    Ok(())
}

fn login(status: &NeonDatabaseStatus, role: &Role) -> Option<String> {
    let known = status.roles.iter().find(|known| known.name == role.name)?;
    known.login.clone()
}

/// Whether the role's login is out and does not open what it should. One whose password is to be another one is published
/// anew in any case, and until that can be done it stays as it is.
async fn is_lost(context: &Context<'_>, pass: &Pass, role: &Role) -> Result<bool, Error> {
    let given = context.kind.given_password(context.desired, role, false);
    if matches!(given.await?, Given::Problem(_)) {
        return Ok(false);
    }
    secrets::is_shut_out(context, &pass.status, &role.name).await
}

fn told(before: &str, after: &str) -> Notice {
    let again = if before == after {
        "it works again with the password that is published".to_owned()
    } else {
        format!("it is another one's by now, and {after} is published in its place")
    };
    Notice {
        warning: true,
        reason: Reason::LoginRestored,
        message: format!(
            "the login {before} did not work: somebody has dropped it or changed it by SQL; {again}"
        ),
    }
}
