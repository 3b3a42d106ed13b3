//! Effects on Neon that keep a branch as it is asked to be: its lease and its protection.

use jiff::{SignedDuration, Timestamp};

use super::{Context, Pass};
use crate::api::Reason;
use crate::database::refusals::Refused;
use crate::neon::{self, ErrorKind, UpdateBranch};
use crate::reconcile::{Class, Error};
use crate::world::{at_neon, record_operations};

impl Context<'_> {
    pub(super) async fn renew_lease(
        &self,
        pass: &mut Pass,
        lease: SignedDuration,
    ) -> Result<(), Error> {
        let update = UpdateBranch {
            expires_at: Some(Some(self.expiry(lease)?)),
            ..UpdateBranch::default()
        };
        self.update_branch(pass, &update).await
    }

    pub(super) async fn end_lease(&self, pass: &mut Pass) -> Result<(), Error> {
        let update = UpdateBranch {
            expires_at: Some(None),
            ..UpdateBranch::default()
        };
        self.update_branch(pass, &update).await
    }

    pub(super) async fn protect(&self, pass: &mut Pass, protected: bool) -> Result<(), Error> {
        let update = UpdateBranch {
            protected: Some(protected),
            ..UpdateBranch::default()
        };
        match self.try_update(&update).await? {
            Err(error) if protected && is_of_protection(&error) => {
                let name = self.observed.branch.known().map(|branch| &branch.name);
                self.refuse_protection(name.map_or("", String::as_str), error);
            }
            answer => {
                let operations = answer.map_err(at_neon)?;
                record_operations(&mut pass.status.operations, &operations, self.now);
            }
        }
        Ok(())
    }

    /// What Neon refuses to protect is told at the end, and asked for again later.
    pub(super) fn refuse_protection(&self, name: &str, error: neon::Error) {
        let message = format!(
            "Neon does not protect the branch {name}: {}; protect one less, or set spec.branch.protected to false",
            error.message
        );
        self.refuse(Refused::Protection, message, error);
    }

    async fn update_branch(&self, pass: &mut Pass, update: &UpdateBranch) -> Result<(), Error> {
        let operations = self.try_update(update).await?.map_err(at_neon)?;
        record_operations(&mut pass.status.operations, &operations, self.now);
        Ok(())
    }

    /// Neon's answer, where it could be asked.
    async fn try_update(
        &self,
        update: &UpdateBranch,
    ) -> Result<neon::Result<Vec<neon::Operation>>, Error> {
        let account = self.account().await?;
        let (project, branch) = (self.project()?, self.branch()?);
        Ok(account.api.update_branch(project, &branch, update).await)
    }

    /// The moment when a lease that is renewed now runs out.
    pub(super) fn expiry(&self, lease: SignedDuration) -> Result<Timestamp, Error> {
        self.now.checked_add(lease).map_err(|e| {
            Error::new(
                Class::Invalid,
                Reason::InvalidSpec,
                format!("spec.branch.lease: {e}"),
            )
        })
    }
}

/// Whether as many branches are protected as Neon allows, which says nothing of the room for others.
pub(super) fn is_of_protection(error: &neon::Error) -> bool {
    error.kind == ErrorKind::Limit && error.message.contains("protected")
}
