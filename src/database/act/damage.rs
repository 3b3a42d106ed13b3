//! What somebody has done to the Secrets of a role: those that were deleted or changed are put back, and that is told.

use secrecy::SecretString;

use super::secrets::Present;
use super::{Context, Pass};
use crate::api::{NeonDatabaseStatus, Reason};
use crate::database::credentials::Form;
use crate::neon::ErrorKind;
use crate::reconcile::{Error, Notice};
use crate::world::at_neon;

/// Secrets of a role that are not as they were published.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Damage {
    /// Names of those that were deleted.
    gone: Vec<String>,
    /// Names of those that were changed.
    changed: Vec<String>,
    /// Whether nobody knows the password of the role's login any more.
    password_is_lost: bool,
}

impl Damage {
    /// What has become of the Secrets that were out with these logins.
    pub(super) fn of(status: &NeonDatabaseStatus, forms: &[Form], present: &[Present]) -> Self {
        let was_out = |form: &&Form| {
            let mut out = status.connection_secrets.iter();
            out.any(|out| out.name == form.name && out.login == form.login)
        };
        let is_there = |name: &str| present.iter().any(|(form, ..)| form.name == name);
        let gone = forms.iter().filter(was_out);
        let gone = gone.filter(|form| !is_there(&form.name));
        let changed = present.iter().filter(|(.., found)| !found.intact);
        let gone: Vec<String> = gone.map(|form| form.name.clone()).collect();
        Self {
            password_is_lost: present.is_empty() && !gone.is_empty(),
            gone,
            changed: changed.map(|(form, ..)| form.name.clone()).collect(),
        }
    }

    /// Whether the password of the role's login is in no Secret any more.
    pub(super) fn has_lost_the_password(&self) -> bool {
        self.password_is_lost
    }

    /// Tells that the Secrets are out again; `how` says what else became of it.
    pub(super) fn tell(&self, pass: &mut Pass, how: &str) {
        let deleted = ("deleted", &self.gone);
        for (what, names) in [deleted, ("changed", &self.changed)] {
            if names.is_empty() {
                continue;
            }
            let names = names.join(", ");
            pass.notices.push(Notice {
                warning: true,
                reason: Reason::SecretRestored,
                message: format!("somebody has {what} the Secret {names}: {how}"),
            });
        }
    }
}

impl Context<'_> {
    /// The password of a login as Neon tells it; none where it knows none, as of most logins that were made by SQL.
    pub(super) async fn told_password(&self, login: &str) -> Result<Option<SecretString>, Error> {
        let account = self.account().await?;
        let (project, branch) = (self.project()?, self.branch()?);
        match account.api.reveal_password(project, &branch, login).await {
            Ok(password) => Ok(Some(password)),
            Err(error)
                if matches!(
                    error.kind,
                    ErrorKind::NotFound | ErrorKind::Rejected | ErrorKind::PasswordsNotStored
                ) =>
            {
                Ok(None)
            }
            Err(error) => Err(at_neon(error)),
        }
    }
}
