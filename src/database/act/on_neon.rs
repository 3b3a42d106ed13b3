//! Effects on Neon: branches, endpoints, roles and databases. Each records the operations that Neon then works on.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{Context, Pass};
use crate::api::{BranchStatus, Credentials, NeonDatabaseStatus, Reason};
use crate::database::desired::Rest;
use crate::database::observe::incarnation;
use crate::database::plan::{self, UNANSWERED};
use crate::neon::{
    self, Branch, BranchId, CreateBranch, CreateEndpoint, ErrorKind, NewEndpoint, UpdateBranch,
    UpdateEndpoint,
};
use crate::reconcile::{Class, Error};
use crate::world::{at_neon, record_operations};

impl Context<'_> {
    pub(super) async fn create_branch(
        &self,
        pass: &mut Pass,
        parent: &BranchId,
    ) -> Result<(), Error> {
        let account = self.account().await?;
        let body = self.new_branch(parent)?;
        let created = account
            .api
            .create_branch(self.project()?, &body)
            .await
            .map_err(|error| {
                if !matches!(error.kind, ErrorKind::Server | ErrorKind::Lost) {
                    // an answer that says that nothing was made
                    pass.status.branch_request_time = None;
                }
                let error = self.refused(&format!("the branch {}", body.name), error);
                self.kind.refusals.remember(self.desired, &error, self.now);
                error
            })?;
        self.record_branch(&mut pass.status, &created.branch);
        record_operations(&mut pass.status.operations, &created.operations);
        Ok(())
    }

    /// Values that Neon does not accept are told with the values: its words alone may not say which one it means.
    fn refused(&self, what: &str, error: neon::Error) -> Error {
        let rejected = error.kind == ErrorKind::Rejected;
        match (rejected, &self.desired.rest) {
            (true, Ok(rest)) => {
                let asked = plan::requested(rest.compute_units, rest.suspend_after);
                Error {
                    message: format!(
                        "Neon refuses {what} with {asked} (spec.compute): {}",
                        error.message
                    ),
                    ..at_neon(error)
                }
            }
            (true, Err(_)) | (false, _) => at_neon(error),
        }
    }

    pub(super) async fn delete_branch(&self, pass: &mut Pass, id: &BranchId) -> Result<(), Error> {
        let _lock = self.lock(id.as_str())?;
        let account = self.account().await?;
        account
            .api
            .delete_branch(self.project()?, id)
            .await
            .map_err(at_neon)?;
        // one that was taken over is known by its record alone, and so is the consent to delete it
        pass.status.branch.take_if(|branch| !branch.taken_over);
        Ok(())
    }

    pub(super) async fn reset_branch(
        &self,
        pass: &mut Pass,
        parent: &BranchId,
    ) -> Result<(), Error> {
        let branch = self.branch()?;
        let _lock = self.lock(branch.as_str())?;
        let account = self.account().await?;
        let reset = account
            .api
            .reset_branch(self.project()?, &branch, parent)
            .await;
        let may_be_done = match &reset {
            Ok(_) => true,
            Err(error) => matches!(error.kind, ErrorKind::Server | ErrorKind::Lost),
        };
        if may_be_done {
            // another incarnation will tell that it was done, for an operation that Neon has taken on may fail; asked
            // twice it would lose what came in between
            pass.status.reset_time = self.now.checked_add(UNANSWERED).ok().map(Time);
        }
        record_operations(&mut pass.status.operations, &reset.map_err(at_neon)?);
        Ok(())
    }

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
        self.update_branch(pass, &update).await
    }

    async fn update_branch(&self, pass: &mut Pass, update: &UpdateBranch) -> Result<(), Error> {
        let account = self.account().await?;
        let branch = self.branch()?;
        let operations = account
            .api
            .update_branch(self.project()?, &branch, update)
            .await
            .map_err(at_neon)?;
        record_operations(&mut pass.status.operations, &operations);
        Ok(())
    }

    pub(super) async fn create_endpoint(&self, pass: &mut Pass) -> Result<(), Error> {
        let branch = self.branch()?;
        let _lock = self.lock(branch.as_str())?;
        let account = self.account().await?;
        let body = CreateEndpoint {
            branch_id: branch,
            compute: new_endpoint(self.rest()?),
        };
        let operations = account
            .api
            .create_endpoint(self.project()?, &body)
            .await
            .map_err(|error| self.refused("an endpoint", error))?;
        record_operations(&mut pass.status.operations, &operations);
        Ok(())
    }

    pub(super) async fn resize_compute(&self, pass: &mut Pass) -> Result<(), Error> {
        let _lock = self.lock(self.branch()?.as_str())?;
        let account = self.account().await?;
        let rest = self.rest()?;
        let endpoint = self
            .observed
            .endpoint
            .known()
            .ok_or_else(|| Error::bug("no endpoint is known"))?;
        let update = UpdateEndpoint {
            compute_units: Some(rest.compute_units),
            suspend_timeout_seconds: Some(rest.suspend_after.seconds()),
        };
        let project = self.project()?;
        let operations = account
            .api
            .update_endpoint(project, &endpoint.id, &update)
            .await
            .map_err(|error| self.refused("the endpoint", error))?;
        if let Some(endpoint) = &mut pass.status.endpoint {
            endpoint.requested = Some(plan::requested(rest.compute_units, rest.suspend_after));
        }
        record_operations(&mut pass.status.operations, &operations);
        Ok(())
    }

    pub(super) async fn create_role(&self, pass: &mut Pass, name: &str) -> Result<(), Error> {
        let branch = self.branch()?;
        let _lock = self.lock(branch.as_str())?;
        let account = self.account().await?;
        let operations = account
            .api
            .create_role(self.project()?, &branch, name)
            .await
            .map_err(at_neon)?;
        record_operations(&mut pass.status.operations, &operations);
        Ok(())
    }

    pub(super) async fn create_database(
        &self,
        pass: &mut Pass,
        name: &str,
        owner: &str,
    ) -> Result<(), Error> {
        let branch = self.branch()?;
        let _lock = self.lock(branch.as_str())?;
        let account = self.account().await?;
        let project = self.project()?;
        let operations = account
            .api
            .create_database(project, &branch, name, owner)
            .await
            .map_err(at_neon)?;
        record_operations(&mut pass.status.operations, &operations);
        Ok(())
    }

    pub(super) async fn reset_password(&self, pass: &mut Pass, role: &str) -> Result<(), Error> {
        let branch = self.branch()?;
        let _lock = self.lock(branch.as_str())?;
        let account = self.account().await?;
        let operations = account
            .api
            .reset_password(self.project()?, &branch, role)
            .await
            .map_err(at_neon)?;
        record_operations(&mut pass.status.operations, &operations);
        Ok(())
    }

    fn new_branch(&self, parent: &BranchId) -> Result<CreateBranch, Error> {
        let rest = self.rest()?;
        let name = self
            .observed
            .recorded
            .effective
            .as_ref()
            .and_then(|e| e.branch_name.clone());
        Ok(CreateBranch {
            name: name.unwrap_or_else(|| self.desired.branch_name.clone()),
            parent_id: parent.clone(),
            protected: rest.protected.value,
            expires_at: rest.lease.map(|lease| self.expiry(lease)).transpose()?,
            annotations: self.desired.mark.annotations(),
            endpoint: new_endpoint(rest),
        })
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

    /// From now on the branch is known by its id.
    pub(super) fn record_branch(&self, status: &mut NeonDatabaseStatus, branch: &Branch) {
        status.branch = Some(self.claim(branch));
        status.branch_request_time = None;
    }

    fn claim(&self, branch: &Branch) -> BranchStatus {
        let taken_over = self
            .observed
            .recorded
            .effective
            .as_ref()
            .is_some_and(|e| e.existing.is_some());
        // what was taken over keeps the credentials it has; what was forked opens to the parent's
        let credentials = if taken_over {
            Credentials::Own
        } else {
            Credentials::Inherited
        };
        BranchStatus {
            id: branch.id.to_string(),
            name: branch.name.clone(),
            parent_id: branch.parent_id.as_ref().map(ToString::to_string),
            is_default: branch.default,
            protected: branch.protected,
            taken_over,
            incarnation: incarnation(branch),
            credentials,
            created_time: Time(branch.created_at),
            expiry_time: branch.expires_at.map(Time),
        }
    }
}

fn new_endpoint(rest: &Rest) -> NewEndpoint {
    NewEndpoint {
        compute_units: Some(rest.compute_units),
        suspend_timeout_seconds: Some(rest.suspend_after.seconds()),
    }
}
