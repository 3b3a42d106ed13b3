//! Effects on Neon: branches, endpoints, roles and databases. Each records the operations that Neon then works on.

use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::upkeep::{is_of_lease, is_of_protection};
use super::{Context, Pass, forget_branch};
use crate::api::{BranchOrigin, BranchStatus, Credentials, NeonDatabaseStatus, Reason};
use crate::database::compute;
use crate::database::deletion::{or_abandon, other_owner};
use crate::database::desired::{Database, moment};
use crate::database::line::Full;
use crate::database::observe::incarnation;
use crate::database::refusals::Refused;
use crate::neon::{
    self, Branch, BranchId, ChangedEndpoint, CreateBranch, CreateEndpoint, Endpoint, ErrorKind,
    Limit, Moment,
};
use crate::reconcile::{Class, Error};
use crate::world::{UNANSWERED, at_neon, record_operations};

impl Context<'_> {
    pub(super) async fn create_branch(
        &self,
        pass: &mut Pass,
        parent: &BranchId,
    ) -> Result<(), Error> {
        let account = self.account().await?;
        let body = self.new_branch(parent)?;
        let created = match account.api.create_branch(self.project()?, &body).await {
            Ok(created) => created,
            Err(error) => {
                if refuses_the_branch(error.kind) {
                    pass.status.branch_request_time = None;
                }
                if is_of_protection(&error) && body.protected {
                    return self.refused_with_protection(&body.name, error);
                }
                if is_of_lease(&error)
                    && let Some(lease) = self.lease_of_new()?
                {
                    return self.refused_with_lease(&body.name, lease, error);
                }
                if let Some(awaited) = error.limit.and_then(Limit::of_all) {
                    return self.no_room(awaited, error);
                }
                if error.kind == ErrorKind::Conflict {
                    return Err(name_is_taken(&body.name, error));
                }
                let from = parent_moment(body.at.as_ref());
                return self.refused(pass, &format!("the branch {}{from}", body.name), error);
            }
        };
        self.kind.lines.has_room(self.project()?);
        self.record_branch(&mut pass.status, &created.branch);
        self.record_endpoint(&mut pass.status, created.endpoint.as_ref())?;
        record_operations(&mut pass.status.operations, &created.operations, self.now);
        Ok(())
    }

    /// Whoever comes later waits for the same, and asks nobody.
    fn no_room(&self, awaited: &'static str, error: neon::Error) -> Result<(), Error> {
        let full = Full {
            awaited,
            why: error.to_string(),
        };
        let told = Error {
            message: format!("waits for {awaited} in the project: {error}"),
            ..at_neon(error)
        };
        self.kind.lines.is_full(self.project()?, full, self.now);
        Err(told)
    }

    /// A compute that Neon does not take: it is tried again without values of the profile, which the plan may not allow. What
    /// the spec sets is told with the values, because Neon's words alone may not say which one they mean.
    fn refused(&self, pass: &mut Pass, what: &str, error: neon::Error) -> Result<(), Error> {
        let (true, Ok(rest)) = (error.kind == ErrorKind::Rejected, &self.desired.rest) else {
            return Err(at_neon(error));
        };
        let tried = pass.status.plan_limit.take();
        let of_a_moment = speaks_of_the_past(&error.message);
        if !of_a_moment {
            pass.status.plan_limit = rest.compute.leave_out(tried.as_ref(), &error.message);
        }
        if pass.status.plan_limit.is_some() {
            return Ok(());
        }
        let with = match compute::in_words(&rest.compute.asked(tried.as_ref())) {
            _ if of_a_moment => String::new(),
            asked if asked.is_empty() => String::new(),
            asked => format!(" with {asked} (spec.compute)"),
        };
        let message = format!("Neon refuses {what}{with}: {}", error.message);
        Err(self.refuse(Refused::Branch, message, error))
    }

    /// What was asked of the endpoint and what Neon made of it.
    fn record_endpoint(
        &self,
        status: &mut NeonDatabaseStatus,
        endpoint: Option<&Endpoint>,
    ) -> Result<(), Error> {
        let asked = self.rest()?.compute.asked(status.plan_limit.as_ref());
        if let Some(endpoint) = endpoint {
            let stored = compute::answered(&asked, endpoint);
            status.endpoint = Some(compute::status(endpoint, Some(asked), Some(stored)));
        } else if let Some(endpoint) = &mut status.endpoint {
            (endpoint.requested, endpoint.stored) = (Some(asked), None);
            endpoint.failure = None;
        }
        Ok(())
    }

    pub(super) async fn delete_branch(&self, pass: &mut Pass, id: &BranchId) -> Result<(), Error> {
        let _lock = self.lock(id.as_str())?;
        let account = self.account().await?;
        let project = self.project()?;
        // a listing may be older than the mark that somebody has just set
        let found = account.api.branch(project, id).await.map_err(at_neon)?;
        if found.is_some_and(|branch| other_owner(self.desired, &branch).is_some()) {
            account.snapshots.invalidate(project);
            return Err(Error::conflict("the branch bears another mark by now"));
        }
        let deleted = account.api.delete_branch(project, id).await;
        let operations = deleted.map_err(|error| self.not_deleted(id, error))?;
        record_operations(&mut pass.status.operations, &operations, self.now);
        // one that was taken over is known by its record alone, and so is the consent to delete it
        pass.status.branch.take_if(|branch| !branch.taken_over);
        Ok(())
    }

    /// What Neon would not delete, with the way out where nobody knows a better one.
    fn not_deleted(&self, id: &BranchId, error: neon::Error) -> Error {
        let is_final = error.kind == ErrorKind::Rejected;
        let told = at_neon(error);
        if !is_final {
            return told;
        }
        let message = format!("the branch {id} is not deleted: {}", told.message);
        let message = if self.desired.deleting {
            or_abandon(self.desired, self.observed, &message)
        } else {
            format!("{message}; take away what is in the way, or delete it on Neon")
        };
        Error { message, ..told }
    }

    /// Takes away what Neon could not make.
    pub(super) async fn discard_branch(&self, pass: &mut Pass, id: &BranchId) -> Result<(), Error> {
        let account = self.account().await?;
        let found = account.api.branch(self.project()?, id).await;
        // a listing alone does not say that there is nothing to lose
        if found
            .map_err(at_neon)?
            .is_some_and(|branch| !branch.was_given_up())
        {
            account.snapshots.invalidate(self.project()?);
            return Err(Error::conflict("Neon has made the branch after all"));
        }
        self.delete_branch(pass, id).await?;
        // what it takes to throw it away is waited for before another one is asked for
        let running = std::mem::take(&mut pass.status.operations);
        forget_branch(&mut pass.status);
        pass.status.operations = running;
        self.make_again();
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
        let project = self.project()?;
        let seen = self.observed.branch.known();
        if !seen.is_some_and(Branch::was_given_up) {
            // what is to be lost is looked at itself: a listing may be older than what somebody else has just done
            let now = account
                .api
                .branch(project, &branch)
                .await
                .map_err(at_neon)?;
            if now.as_ref().map(incarnation).as_ref() != Some(&self.recorded()?.incarnation) {
                account.snapshots.invalidate(project);
                return Err(Error::conflict("the branch was just reset or restored"));
            }
        }
        let reset = account.api.reset_branch(project, &branch, parent).await;
        let may_be_done = match &reset {
            Ok(_) => true,
            Err(error) => matches!(error.kind, ErrorKind::Server | ErrorKind::Lost),
        };
        if may_be_done {
            // another incarnation will tell that it was done, for an operation that Neon has taken on may fail; asked
            // twice it would lose what came in between
            pass.status.reset_time = self.now.checked_add(UNANSWERED).ok().map(Time);
        }
        record_operations(
            &mut pass.status.operations,
            &reset.map_err(at_neon)?,
            self.now,
        );
        Ok(())
    }

    pub(super) async fn create_endpoint(&self, pass: &mut Pass) -> Result<(), Error> {
        let branch = self.branch()?;
        let _lock = self.lock(branch.as_str())?;
        let account = self.account().await?;
        let body = CreateEndpoint {
            branch_id: branch,
            replica: None,
            compute: self
                .rest()?
                .compute
                .new_endpoint(pass.status.plan_limit.as_ref()),
        };
        let created = account.api.create_endpoint(self.project()?, &body).await;
        self.changed(pass, "an endpoint", created)
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
        let status = &pass.status;
        let (limit, recorded) = (status.plan_limit.as_ref(), status.endpoint.as_ref());
        let update = rest.compute.update(limit, recorded, endpoint);
        if !self.may_change_settings(pass, &update, endpoint).await? {
            return Ok(());
        }
        let project = self.project()?;
        let changed = account
            .api
            .update_endpoint(project, &endpoint.id, &update)
            .await;
        self.changed(pass, "the endpoint", changed)
    }

    /// What came of asking for an endpoint.
    fn changed(
        &self,
        pass: &mut Pass,
        what: &str,
        answer: neon::Result<ChangedEndpoint>,
    ) -> Result<(), Error> {
        match answer {
            Ok(changed) => {
                self.record_endpoint(&mut pass.status, changed.endpoint.as_ref())?;
                record_operations(&mut pass.status.operations, &changed.operations, self.now);
                Ok(())
            }
            Err(error) => self.refused(pass, what, error),
        }
    }

    pub(super) async fn create_role(&self, pass: &mut Pass, name: &str) -> Result<(), Error> {
        let branch = self.branch()?;
        let _lock = self.lock(branch.as_str())?;
        let account = self.account().await?;
        let created = account.api.create_role(self.project()?, &branch, name);
        let operations = match created.await {
            Err(error) if error.kind == ErrorKind::Rejected => {
                return self.refuse_owner(name, &error);
            }
            answer => answer.map_err(at_neon)?,
        };
        record_own_password(&mut pass.status, name);
        record_operations(&mut pass.status.operations, &operations, self.now);
        Ok(())
    }

    /// A role that Neon refuses owns no database: those that it was to own are left out and told.
    fn refuse_owner(&self, role: &str, error: &neon::Error) -> Result<(), Error> {
        let rest = self.rest()?;
        let is_owned = |database: &&Database| database.owner_if_new() == role;
        for database in rest.databases.iter().filter(is_owned) {
            let field = rest.database_field(&database.name);
            let message = format!(
                "{field}.owner: Neon refuses the role {role}: {}",
                error.message
            );
            self.refuse(Refused::database(database), message, error.clone());
        }
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
        let created = account.api.create_database(project, &branch, name, owner);
        let operations = match created.await {
            Err(error) if error.kind == ErrorKind::Rejected => {
                return self.refuse_database(name, error);
            }
            answer => answer.map_err(at_neon)?,
        };
        record_operations(&mut pass.status.operations, &operations, self.now);
        Ok(())
    }

    /// A database that Neon refuses is left out and told.
    fn refuse_database(&self, name: &str, error: neon::Error) -> Result<(), Error> {
        let rest = self.rest()?;
        let refused = rest.databases.iter().find(|d| d.name == name);
        let refused = refused.ok_or_else(|| Error::bug(format!("{name} is not asked for")))?;
        let field = rest.database_field(name);
        let message = format!(
            "{field}.name: Neon refuses the database {name}: {}",
            error.message
        );
        self.refuse(Refused::database(refused), message, error);
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
        record_own_password(&mut pass.status, role);
        record_operations(&mut pass.status.operations, &operations, self.now);
        Ok(())
    }

    fn new_branch(&self, parent: &BranchId) -> Result<CreateBranch, Error> {
        let rest = self.rest()?;
        let recorded = &self.observed.recorded;
        let limit = recorded.plan_limit.as_ref();
        let name = self.desired.name_of_branch(recorded.effective.as_ref());
        Ok(CreateBranch {
            name: name.to_owned(),
            parent_id: parent.clone(),
            at: self.moment()?,
            // where only the profile says so it may be left out
            protected: rest.protected.value
                && (rest.protected.explicit || self.observed.protection_refused.is_none()),
            expires_at: self
                .lease_of_new()?
                .map(|lease| self.expiry(lease))
                .transpose()?,
            annotations: self.desired.mark.annotations(),
            endpoint: rest.compute.new_endpoint(limit),
        })
    }

    /// The lease that a new branch is asked for with.
    fn lease_of_new(&self) -> Result<Option<SignedDuration>, Error> {
        let lease = self.rest()?.lease;
        let is_left_out = !lease.explicit && self.observed.lease_refused.is_some();
        Ok(lease.value.filter(|_| !is_left_out))
    }

    /// A lease that Neon does not take with a new branch: that of the profile is left out, that of the spec is told.
    fn refused_with_lease(
        &self,
        branch: &str,
        lease: SignedDuration,
        error: neon::Error,
    ) -> Result<(), Error> {
        if !self.rest()?.lease.explicit {
            self.refuse_lease(branch, lease, None, error);
            return Ok(());
        }
        let message = format!(
            "Neon refuses the branch {branch} with a lease of {lease:#} (spec.branch.lease): {}",
            error.message
        );
        Err(self.refuse(Refused::Branch, message, error))
    }

    /// Protection that Neon does not give to a new branch: that of the profile is left out, that of the spec is told.
    fn refused_with_protection(&self, branch: &str, error: neon::Error) -> Result<(), Error> {
        if !self.rest()?.protected.explicit {
            self.refuse_protection(branch, error);
            return Ok(());
        }
        let message = format!(
            "Neon refuses the branch {branch} with protection (spec.branch.protected): {}",
            error.message
        );
        Err(self.refuse(Refused::Branch, message, error))
    }

    /// The moment of the parent's past that the branch is forked from; none for its present.
    fn moment(&self) -> Result<Option<Moment>, Error> {
        let effective = self.observed.recorded.effective.as_ref();
        let parent = effective.and_then(|effective| effective.parent.as_ref());
        let Some(at) = parent.and_then(|parent| parent.at.as_ref()) else {
            return Ok(None);
        };
        let moment = moment(at).map_err(|block| Error::bug(block.message))?;
        Ok(Some(moment))
    }

    /// From now on the branch is known by its id.
    pub(super) fn record_branch(&self, status: &mut NeonDatabaseStatus, branch: &Branch) {
        status.branch = Some(self.claim(branch));
        status.branch_request_time = None;
    }

    /// Whether the branch was there before it was last asked for: somebody may have used it, whatever its state is now.
    fn found_again(&self, branch: &Branch) -> bool {
        let asked = self.observed.recorded.branch_request_time.as_ref();
        // Neon's clock may be behind ours, and an answer may have come in late
        let since = |asked: &Time| asked.0 - UNANSWERED;
        asked.is_none_or(|asked| branch.created_at < since(asked))
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
            origin: BranchOrigin::Created,
            credentials,
            own_passwords: Vec::new(),
            created_time: Time(branch.created_at),
            ready_time: self.found_again(branch).then_some(Time(branch.created_at)),
            expiry_time: branch.expires_at.map(Time),
        }
    }
}

fn record_own_password(status: &mut NeonDatabaseStatus, role: &str) {
    if let Some(branch) = &mut status.branch
        && branch.credentials == Credentials::Inherited
        && !branch.own_passwords.iter().any(|known| known == role)
    {
        branch.own_passwords.push(role.to_owned());
    }
}

/// A name that Neon says is taken. Whose it is the next listing tells; where that tells of nobody, as of a branch that Neon has not
/// done with, it is asked for ever less often.
fn name_is_taken(name: &str, error: neon::Error) -> Error {
    Error {
        class: Class::Transient,
        reason: Reason::BranchNameConflict,
        message: format!(
            "{error}: the name {name} is taken, be it by a branch that Neon does not list; it is made once the name is free, or make \
             the object anew with another spec.branch.name"
        ),
        ..at_neon(error)
    }
}

/// Whether the answer says that no branch of this kind was made. One that says "not now" says nothing of what was asked before it,
/// for which no answer came or could be recorded.
fn refuses_the_branch(kind: ErrorKind) -> bool {
    match kind {
        ErrorKind::Denied
        | ErrorKind::NotFound
        | ErrorKind::Rejected
        | ErrorKind::HasChildren
        | ErrorKind::Protected
        | ErrorKind::PasswordsNotStored
        | ErrorKind::Limit => true,
        ErrorKind::Conflict
        | ErrorKind::Locked
        | ErrorKind::RateLimited
        | ErrorKind::NotReady
        | ErrorKind::Server
        | ErrorKind::Lost => false,
    }
}

/// Whether Neon speaks of a moment that it does not have, which no other compute would help.
fn speaks_of_the_past(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    let mut words = message.split(|c: char| !c.is_alphanumeric());
    words.any(|word| matches!(word, "history" | "retention" | "timestamp" | "lsn"))
}

/// In words: where in the parent's past.
fn parent_moment(at: Option<&Moment>) -> String {
    match at {
        None => String::new(),
        Some(Moment::Time(time)) => format!(" of {time} (spec.branch.parent.at.time)"),
        Some(Moment::Lsn(lsn)) => format!(" of {lsn} (spec.branch.parent.at.lsn)"),
    }
}
