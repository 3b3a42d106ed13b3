//! Takes one action about a NeonDatabase, against one system. What is created can be found again by its name, its mark
//! or an id in the status; what happens inside of the branch is in [`super::contents`].

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use std::sync::Arc;

use super::action::Action;
use super::credentials::without_owner;
use super::desired::{Desired, Rest};
use super::observe::{Observed, incarnation};
use super::{Databases, Pass, contents, plan};
use crate::api::{
    BRANCH_FINALIZER, BranchStatus, Credentials, DatabaseStatus, NeonDatabaseStatus,
    OperationStatus, Reason,
};
use crate::cluster::{KeyRead, ObjectId};
use crate::neon::{
    self, Account, Branch, BranchId, CreateBranch, CreateEndpoint, ErrorKind, NewEndpoint,
    Operation, UpdateBranch, UpdateEndpoint,
};
use crate::reconcile::{Class, Error, ExclusiveLock};
use crate::world::{at_cluster, at_neon};

/// Everything an effect needs.
pub(super) struct Context<'a> {
    pub(super) kind: &'a Databases,
    pub(super) desired: &'a Desired,
    pub(super) observed: &'a Observed,
    pub(super) now: Timestamp,
}

/// Takes the action.
pub(super) async fn act(
    kind: &Databases,
    action: &Action,
    pass: &mut Pass,
    desired: &Desired,
    observed: &Observed,
    now: Timestamp,
) -> Result<(), Error> {
    let context = Context {
        kind,
        desired,
        observed,
        now,
    };
    match action {
        Action::AddFinalizer | Action::ReleaseFinalizer | Action::LeaveBehind(_) => {
            context.finalizer(action, pass).await
        }
        Action::ForgetOperations => {
            // what they brought about is not in a listing that is older than they are
            context
                .account()
                .await?
                .snapshots
                .invalidate(&desired.project);
            pass.status.operations.clear();
            Ok(())
        }
        Action::Resolve(effective) => {
            pass.status.effective = Some(effective.clone());
            Ok(())
        }
        Action::ClaimBranch(branch) => {
            pass.status.branch = Some(context.claim(branch));
            Ok(())
        }
        Action::ForgetBranch => {
            forget_branch(&mut pass.status);
            Ok(())
        }
        Action::RecordIncarnation => {
            context.record_incarnation(&mut pass.status);
            Ok(())
        }
        Action::RecordDatabase { name, owner } => {
            record_database(&mut pass.status, name, owner);
            Ok(())
        }
        Action::CreateBranch(parent) => context.create_branch(pass, parent).await,
        Action::DeleteBranch(id) => context.delete_branch(pass, id).await,
        Action::RenewLease(lease) => {
            let expires_at = Some(Some(context.expiry(*lease)?));
            let update = UpdateBranch {
                expires_at,
                ..UpdateBranch::default()
            };
            context.update_branch(pass, &update).await
        }
        Action::EndLease => {
            let update = UpdateBranch {
                expires_at: Some(None),
                ..UpdateBranch::default()
            };
            context.update_branch(pass, &update).await
        }
        Action::Protect(protected) => {
            let update = UpdateBranch {
                protected: Some(*protected),
                ..UpdateBranch::default()
            };
            context.update_branch(pass, &update).await
        }
        Action::CreateEndpoint => context.create_endpoint(pass).await,
        Action::ResizeCompute => context.resize_compute(pass).await,
        Action::CreateRole(name) => context.create_role(pass, name).await,
        Action::CreateDatabase { name, owner } => context.create_database(pass, name, owner).await,
        Action::ResetPassword(role) => context.reset_password(pass, role).await,
        Action::RetireLogins => {
            let _lock = context.lock(context.branch()?.as_str())?;
            contents::retire_logins(&context, pass).await
        }
        Action::PrepareContents => {
            let _lock = context.lock(context.branch()?.as_str())?;
            contents::prepare(&context, pass).await
        }
        Action::PublishCredentials(role) => {
            let _lock = context.lock(context.branch()?.as_str())?;
            contents::publish(&context, pass, role).await
        }
        Action::WithdrawSecret(name) | Action::KeepSecret(name) => {
            context.secret(action, name, pass).await
        }
    }
}

impl Context<'_> {
    /// The account of the object's key.
    pub(super) async fn account(&self) -> Result<Arc<Account>, Error> {
        let cluster = &self.kind.world.cluster;
        let (namespace, at) = (&self.desired.mark.namespace, &self.desired.key);
        let key = match cluster
            .api_key(namespace, at, false)
            .await
            .map_err(at_cluster)?
        {
            KeyRead::Found(key) => Some(key),
            KeyRead::NoSecret | KeyRead::NoKey => cluster.last_good_key(namespace, at),
        };
        let key = key.ok_or_else(|| Error::conflict("the API key went away"))?;
        Ok(self.kind.world.neon.open(&key))
    }

    /// Proof that no migration is at work on the branch.
    fn lock(&self, branch: &str) -> Result<ExclusiveLock, Error> {
        let busy = || {
            Error::new(
                Class::Conflict,
                Reason::MigrationRunning,
                "a migration has started on this branch",
            )
        };
        self.kind.world.locks.exclusive(branch).ok_or_else(busy)
    }

    pub(super) fn rest(&self) -> Result<&Rest, Error> {
        self.desired
            .rest
            .as_ref()
            .map_err(|block| Error::bug(block.message.clone()))
    }

    /// The recorded branch.
    pub(super) fn recorded(&self) -> Result<&BranchStatus, Error> {
        self.observed
            .recorded
            .branch
            .as_ref()
            .ok_or_else(|| Error::bug("no branch is recorded"))
    }

    /// Its id.
    pub(super) fn branch(&self) -> Result<BranchId, Error> {
        self.recorded()
            .map(|recorded| BranchId::from(recorded.id.as_str()))
    }

    async fn finalizer(&self, action: &Action, pass: &mut Pass) -> Result<(), Error> {
        let cluster = &self.kind.world.cluster;
        let id = ObjectId::of(&pass.object);
        let present = pass.object.metadata.finalizers.clone().unwrap_or_default();
        if *action == Action::AddFinalizer {
            pass.object.metadata = cluster
                .add_finalizer(&id, &present, BRANCH_FINALIZER)
                .await
                .map_err(at_cluster)?;
            return Ok(());
        }
        if let Action::LeaveBehind(branch) = action {
            tracing::warn!(object = %id, branch, "branch left behind: nobody can delete it any more");
            self.kind.world.metrics.branch_left_behind();
        }
        cluster
            .release_finalizer(&id, &present, BRANCH_FINALIZER)
            .await
            .map_err(at_cluster)?;
        pass.object.metadata.finalizers = Some(
            present
                .into_iter()
                .filter(|f| f != BRANCH_FINALIZER)
                .collect(),
        );
        Ok(())
    }

    async fn create_branch(&self, pass: &mut Pass, parent: &BranchId) -> Result<(), Error> {
        let account = self.account().await?;
        let body = self.new_branch(parent)?;
        let created = account
            .api
            .create_branch(&self.desired.project, &body)
            .await
            .map_err(|error| self.refused(&format!("the branch {}", body.name), error))?;
        pass.status.branch = Some(self.claim(&created.branch));
        record_operations(&mut pass.status, &created.operations);
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

    async fn delete_branch(&self, pass: &mut Pass, id: &BranchId) -> Result<(), Error> {
        let _lock = self.lock(id.as_str())?;
        let account = self.account().await?;
        account
            .api
            .delete_branch(&self.desired.project, id)
            .await
            .map_err(at_neon)?;
        // one that was taken over is known by its record alone, and so is the consent to delete it
        pass.status.branch.take_if(|branch| !branch.taken_over);
        Ok(())
    }

    async fn update_branch(&self, pass: &mut Pass, update: &UpdateBranch) -> Result<(), Error> {
        let account = self.account().await?;
        let branch = self.branch()?;
        let operations = account
            .api
            .update_branch(&self.desired.project, &branch, update)
            .await
            .map_err(at_neon)?;
        record_operations(&mut pass.status, &operations);
        Ok(())
    }

    async fn create_endpoint(&self, pass: &mut Pass) -> Result<(), Error> {
        let branch = self.branch()?;
        let _lock = self.lock(branch.as_str())?;
        let account = self.account().await?;
        let body = CreateEndpoint {
            branch_id: branch,
            compute: new_endpoint(self.rest()?),
        };
        let operations = account
            .api
            .create_endpoint(&self.desired.project, &body)
            .await
            .map_err(|error| self.refused("an endpoint", error))?;
        record_operations(&mut pass.status, &operations);
        Ok(())
    }

    async fn resize_compute(&self, pass: &mut Pass) -> Result<(), Error> {
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
        let project = &self.desired.project;
        let operations = account
            .api
            .update_endpoint(project, &endpoint.id, &update)
            .await
            .map_err(|error| self.refused("the endpoint", error))?;
        if let Some(endpoint) = &mut pass.status.endpoint {
            endpoint.requested = Some(plan::requested(rest.compute_units, rest.suspend_after));
        }
        record_operations(&mut pass.status, &operations);
        Ok(())
    }

    async fn create_role(&self, pass: &mut Pass, name: &str) -> Result<(), Error> {
        let branch = self.branch()?;
        let _lock = self.lock(branch.as_str())?;
        let account = self.account().await?;
        let operations = account
            .api
            .create_role(&self.desired.project, &branch, name)
            .await
            .map_err(at_neon)?;
        record_operations(&mut pass.status, &operations);
        Ok(())
    }

    async fn create_database(&self, pass: &mut Pass, name: &str, owner: &str) -> Result<(), Error> {
        let branch = self.branch()?;
        let _lock = self.lock(branch.as_str())?;
        let account = self.account().await?;
        let project = &self.desired.project;
        let operations = account
            .api
            .create_database(project, &branch, name, owner)
            .await
            .map_err(at_neon)?;
        record_operations(&mut pass.status, &operations);
        Ok(())
    }

    async fn reset_password(&self, pass: &mut Pass, role: &str) -> Result<(), Error> {
        let branch = self.branch()?;
        let _lock = self.lock(branch.as_str())?;
        let account = self.account().await?;
        let operations = account
            .api
            .reset_password(&self.desired.project, &branch, role)
            .await
            .map_err(at_neon)?;
        record_operations(&mut pass.status, &operations);
        Ok(())
    }

    async fn secret(&self, action: &Action, name: &str, pass: &mut Pass) -> Result<(), Error> {
        let cluster = &self.kind.world.cluster;
        let namespace = &self.desired.mark.namespace;
        let secret = cluster.secret(namespace, name).await.map_err(at_cluster)?;
        let found = secret.as_ref().map(|secret| {
            super::credentials::Found::of(secret, &self.desired.mark.name, &self.desired.uid)
        });
        match (secret, found) {
            (Some(secret), Some(found)) if found.ours => {
                if matches!(action, Action::KeepSecret(_)) {
                    return cluster
                        .apply_secret(&without_owner(&secret))
                        .await
                        .map_err(at_cluster);
                }
                cluster
                    .delete_secret(namespace, name, &found.uid)
                    .await
                    .map_err(at_cluster)?;
            }
            // gone, or somebody else's by now
            (Some(_) | None, _) => {}
        }
        pass.status
            .connection_secrets
            .retain(|recorded| recorded.name != name);
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
    fn expiry(&self, lease: SignedDuration) -> Result<Timestamp, Error> {
        self.now.checked_add(lease).map_err(|e| {
            Error::new(
                Class::Invalid,
                Reason::InvalidSpec,
                format!("spec.branch.lease: {e}"),
            )
        })
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

    fn record_incarnation(&self, status: &mut NeonDatabaseStatus) {
        if let (Some(branch), Some(recorded)) = (self.observed.branch.known(), &mut status.branch) {
            recorded.incarnation = incarnation(branch);
            if !recorded.taken_over {
                recorded.credentials = Credentials::Inherited;
            }
        }
        status.content_digest = None;
    }
}

fn new_endpoint(rest: &Rest) -> NewEndpoint {
    NewEndpoint {
        compute_units: Some(rest.compute_units),
        suspend_timeout_seconds: Some(rest.suspend_after.seconds()),
    }
}

fn record_operations(status: &mut NeonDatabaseStatus, operations: &[Operation]) {
    let running = operations
        .iter()
        .filter(|operation| !operation.status.is_terminal());
    status
        .operations
        .extend(running.map(|operation| OperationStatus {
            id: operation.id.to_string(),
            action: operation.action.clone(),
        }));
}

fn record_database(status: &mut NeonDatabaseStatus, name: &str, owner: &str) {
    status.databases.retain(|database| database.name != name);
    status.databases.push(DatabaseStatus {
        name: name.to_owned(),
        owner: owner.to_owned(),
        created: true,
        extensions: Vec::new(),
    });
}

fn forget_branch(status: &mut NeonDatabaseStatus) {
    status.branch = None;
    status.endpoint = None;
    status.databases.clear();
    status.roles.clear();
    status.content_digest = None;
    status.operations.clear();
}
