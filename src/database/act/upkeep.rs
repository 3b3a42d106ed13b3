//! Effects on Neon that keep a branch as it is asked to be: its lease, its name and its protection.

use jiff::{SignedDuration, Timestamp};

use super::{Context, Pass};
use crate::api::Reason;
use crate::database::deletion::or_abandon;
use crate::database::desired::Rest;
use crate::database::refusals::{LEFT_OUT, Refused};
use crate::neon::{self, ErrorKind, Limit, UpdateBranch};
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
        if let Some(error) = self.update(pass, &update, refuses_a_lease).await? {
            let branch = self.observed.branch.known();
            let name = branch.map_or("", |branch| &branch.name);
            let end = branch.and_then(|branch| branch.expires_at);
            self.refuse_lease(name, lease, end, error);
        }
        Ok(())
    }

    /// What Neon refuses to let expire is told, and asked for again later. `end` is when the lease that is there runs out: then
    /// it is asked for again soon, and so is one that is refused because of something that may pass.
    pub(super) fn refuse_lease(
        &self,
        name: &str,
        lease: SignedDuration,
        end: Option<Timestamp>,
        error: neon::Error,
    ) {
        let until = end.map_or_else(String::new, |end| {
            format!(" before {end}, when Neon deletes the branch")
        });
        let message = format!(
            "Neon refuses the branch {name} a lease of {lease:#}: {}; set spec.branch.lease to another time or to never{until}",
            error.message
        );
        let is_of_plan = matches!(error.kind, ErrorKind::Rejected | ErrorKind::Limit);
        let passes = !is_of_plan || speaks_of_children(&error);
        let may_wait = end.is_none() && !passes;
        let good_for = self.left_out_for(&Refused::Lease, |rest| !rest.lease.explicit && may_wait);
        self.refuse_for(good_for, Refused::Lease, message, error);
    }

    /// How long what was refused is left at that, where the profile alone may want it.
    fn left_out_for(&self, what: &Refused, is_left_out: impl Fn(&Rest) -> bool) -> SignedDuration {
        if self.desired.rest.as_ref().is_ok_and(is_left_out) {
            LEFT_OUT
        } else {
            what.good_for()
        }
    }

    pub(super) async fn end_lease(&self, pass: &mut Pass) -> Result<(), Error> {
        let update = UpdateBranch {
            expires_at: Some(None),
            ..UpdateBranch::default()
        };
        self.update(pass, &update, |_| false).await.map(drop)
    }

    pub(super) async fn rename_branch(&self, pass: &mut Pass, name: &str) -> Result<(), Error> {
        let update = UpdateBranch {
            name: Some(name.to_owned()),
            ..UpdateBranch::default()
        };
        let is_refusal = |error: &neon::Error| error.kind == ErrorKind::Rejected;
        if let Some(error) = self.update(pass, &update, is_refusal).await? {
            let message = format!(
                "Neon does not give the branch {} its name {name} back: {}",
                self.branch()?,
                error.message
            );
            self.refuse(Refused::Name, message, error);
        }
        Ok(())
    }

    pub(super) async fn protect(&self, pass: &mut Pass, protected: bool) -> Result<(), Error> {
        let update = UpdateBranch {
            protected: Some(protected),
            ..UpdateBranch::default()
        };
        let is_refusal = |error: &neon::Error| protected && is_of_protection(error);
        if let Some(error) = self.update(pass, &update, is_refusal).await? {
            let name = self.observed.branch.known().map(|branch| &branch.name);
            self.refuse_protection(name.map_or("", String::as_str), error);
        }
        Ok(())
    }

    /// What Neon refuses to protect is told at the end, and asked for again later.
    pub(super) fn refuse_protection(&self, name: &str, error: neon::Error) {
        let message = format!(
            "Neon does not protect the branch {name}: {}; protect one less, or set spec.branch.protected to false",
            error.message
        );
        let what = Refused::Protection;
        let good_for = self.left_out_for(&what, |rest| !rest.protected.explicit);
        self.refuse_for(good_for, what, message, error);
    }

    /// Changes the branch. Answers Neon's refusal, where it is one that does not end the pass.
    async fn update(
        &self,
        pass: &mut Pass,
        update: &UpdateBranch,
        is_refusal: impl Fn(&neon::Error) -> bool + Send,
    ) -> Result<Option<neon::Error>, Error> {
        let account = self.account().await?;
        let (project, branch) = (self.project()?, self.branch()?);
        match account.api.update_branch(project, &branch, update).await {
            Ok(operations) => {
                record_operations(&mut pass.status.operations, &operations, self.now);
                Ok(None)
            }
            Err(error) if is_refusal(&error) => Ok(Some(error)),
            Err(error) => Err(self.or_let_go(at_neon(error))),
        }
    }

    /// What keeps an object from going until a person does something, with the way out where nobody can.
    fn or_let_go(&self, error: Error) -> Error {
        if !self.desired.deleting || !error.class.is_terminal() {
            return error;
        }
        let message = or_abandon(self.desired, self.observed, &error.message);
        Error { message, ..error }
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

/// Whether Neon has understood that a branch is to expire, and will not have it: the plan, the time, or something that
/// excludes it. Everything else passes or concerns more than the lease.
fn refuses_a_lease(error: &neon::Error) -> bool {
    match error.kind {
        ErrorKind::Rejected | ErrorKind::HasChildren | ErrorKind::Protected | ErrorKind::Limit => {
            true
        }
        ErrorKind::Denied
        | ErrorKind::NotFound
        | ErrorKind::Conflict
        | ErrorKind::Locked
        | ErrorKind::RateLimited
        | ErrorKind::NotReady
        | ErrorKind::PasswordsNotStored
        | ErrorKind::Server
        | ErrorKind::Lost => false,
    }
}

/// Whether what Neon refuses of a new branch is its lease, and not that its parent has one.
pub(super) fn is_of_lease(error: &neon::Error) -> bool {
    let message = error.message.to_ascii_lowercase();
    let mut words = message.split(|c: char| !c.is_alphanumeric());
    let is_about = |word: &str| word.starts_with("expir") || word == "ttl";
    refuses_a_lease(error) && words.any(is_about) && !speaks_of_children(error)
}

fn speaks_of_children(error: &neon::Error) -> bool {
    error.message.to_ascii_lowercase().contains("child")
}

/// Whether as many branches are protected as Neon allows, which says nothing of the room for others.
pub(super) fn is_of_protection(error: &neon::Error) -> bool {
    error.limit == Some(Limit::ProtectedBranches)
}
