//! Takes one action about a NeonDatabase, against one system. What is created can be found again by its name, its mark
//! or an id in the status; what happens inside of the branch is in [`contents`].

mod contents;
mod damage;
mod logins;
mod on_neon;
mod proof;
mod repair;
mod replicas;
mod resets;
mod secrets;
mod settings;
mod upkeep;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use std::sync::Arc;

use super::action::Action;
use super::again::to_be_looked_at;
use super::desired::{Desired, Rest};
use super::observe::{Observed, incarnation};
use super::plan::given_up;
use super::refusals::Refused;
use super::room::Place;
use super::{Databases, Pass, asked, max_age, reset, rotation, start};
use crate::api::{
    ABANDON, BRANCH_FINALIZER, BranchStatus, Credentials, DatabaseStatus, EXTEND,
    NeonDatabaseStatus, Reason,
};
use crate::cluster::{Freshness, KeyRead, ObjectId};
use crate::neon::{self, Account, BranchId, ProjectId};
use crate::reconcile::{Class, Error, ExclusiveLock, Notice};
use crate::world::{Operation, Source, at_cluster, at_neon};

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
    let at_rest = pass.status.operations.is_empty();
    context.take(action, pass).await?;
    // what is announced is not yet asked for
    if at_rest && *action != Action::AnnounceBranch {
        context.note(action, &pass.status);
    }
    Ok(())
}

impl Context<'_> {
    async fn take(&self, action: &Action, pass: &mut Pass) -> Result<(), Error> {
        match action {
            Action::AddFinalizer | Action::ReleaseFinalizer | Action::LeaveBehind(_) => {
                self.finalizer(action, pass).await
            }
            Action::LookAgain => self.look_again(pass).await,
            Action::Extend(until) => {
                extend(
                    pass,
                    until,
                    max_age::own_end(self.desired, self.observed),
                    self.now,
                );
                Ok(())
            }
            Action::NoteAbandon(asked) => {
                note_abandon(pass, asked.as_ref());
                Ok(())
            }
            Action::DropReset => {
                self.drop_reset(pass);
                Ok(())
            }
            Action::TakeUpReset(request) => {
                self.take_up_reset(pass, request);
                Ok(())
            }
            Action::TakeUpResetFor(asked) => {
                self.take_up_reset_for(pass, asked);
                Ok(())
            }
            Action::ResetBranch(parent) => self.reset_branch(pass, parent).await,
            Action::ForgetOperations => self.forget_operations(pass).await,
            Action::Resolve(effective) => {
                pass.status.project_id = Some(self.project()?.to_string());
                pass.status.effective = Some(effective.clone());
                Ok(())
            }
            Action::ClaimBranch(branch) => {
                self.record_branch(&mut pass.status, branch);
                Ok(())
            }
            Action::ForgetBranch => {
                let end = max_age::end(self.desired, self.observed);
                if end.is_none_or(|end| end > self.now) {
                    tell_of_loss(pass);
                }
                forget_branch(&mut pass.status);
                Ok(())
            }
            Action::RecordIncarnation => {
                self.record_incarnation(&mut pass.status);
                Ok(())
            }
            Action::RecordDatabase { name, owner } => {
                record_database(&mut pass.status, name, owner);
                Ok(())
            }
            Action::AnnounceBranch => {
                pass.status.branch_request_time = Some(Time(self.now));
                Ok(())
            }
            Action::DropRequest => {
                pass.status.branch_request_time = None;
                Ok(())
            }
            Action::CreateBranch(parent) => {
                let _place = self.place()?;
                self.create_branch(pass, parent).await
            }
            Action::DeleteBranch(id) => self.delete_branch(pass, id).await,
            Action::DiscardBranch(id) => self.discard_branch(pass, id).await,
            Action::RenewLease(lease) => self.renew_lease(pass, *lease).await,
            Action::EndLease => self.end_lease(pass).await,
            Action::RenameBranch(name) => self.rename_branch(pass, name).await,
            Action::Protect(protected) => self.protect(pass, *protected).await,
            Action::CreateEndpoint => self.create_endpoint(pass).await,
            Action::ResizeCompute => self.resize_compute(pass).await,
            Action::CreateReplica(name) => self.create_replica(pass, name).await,
            Action::RecordReplica(name) => self.record_replica(&mut pass.status, name),
            Action::ResizeReplica(name) => self.resize_replica(pass, name).await,
            Action::DeleteReplica(id) => self.delete_replica(pass, id).await,
            Action::CreateRole(name) => self.create_role(pass, name).await,
            Action::CreateDatabase { name, owner } => self.create_database(pass, name, owner).await,
            Action::ResetPassword(role) => self.reset_password(pass, role).await,
            Action::RetireLogins => contents::retire_logins(self, pass).await,
            Action::PrepareContents => contents::prepare(self, pass).await,
            Action::PublishCredentials(role) => secrets::publish(self, pass, role).await,
            Action::RecordLogin(role) => secrets::record_current(self, pass, role),
            Action::ReplaceLogin(role) => logins::replace(self, pass, role).await,
            Action::DropLogin { role, login } => {
                logins::drop_previous(self, pass, role, login).await
            }
            Action::WithdrawSecrets(names) => secrets::withdraw(self, pass, names).await,
            Action::KeepSecrets(names) => secrets::hold(self, names, false).await,
            Action::OwnSecrets(names) => secrets::hold(self, names, true).await,
        }
    }

    /// Forgets what is remembered, so that the next look is at the world itself.
    async fn look_again(&self, pass: &mut Pass) -> Result<(), Error> {
        let (kind, desired) = (self.kind, self.desired);
        let retries = desired.asked.retries(&pass.status.handled);
        let handled = &mut pass.status.handled;
        handled.reconcile.clone_from(&desired.asked.reconcile);
        handled.retry.clone_from(&desired.asked.retry);
        if !desired.suspend {
            let digest = pass.status.content_digest.take();
            pass.status.content_digest = to_be_looked_at(digest);
        }
        if retries {
            pass.status.plan_limit = None;
            if let Some(endpoint) = &mut pass.status.endpoint {
                (endpoint.requested, endpoint.stored) = (None, None);
                endpoint.failure = None;
            }
            for replica in &mut pass.status.read_replicas {
                (replica.endpoint.requested, replica.endpoint.stored) = (None, None);
                replica.endpoint.failure = None;
            }
        }
        kind.checked.forget(&desired.uid);
        kind.refusals.forget(&desired.uid);
        kind.failures.forget(&desired.uid);
        let Some(source) = &self.observed.source else {
            return Ok(());
        };
        let key = kind
            .world
            .cluster
            .api_key(&source.key, Freshness::Now)
            .await;
        if let KeyRead::Found(key) = key.map_err(at_cluster)? {
            let account = kind.world.neon.open(&key);
            account.snapshots.invalidate(&source.project);
        }
        Ok(())
    }

    async fn forget_operations(&self, pass: &mut Pass) -> Result<(), Error> {
        // what they brought about is not in a listing that is older than they are
        let account = self.account().await?;
        account.snapshots.invalidate(self.project()?);
        match Operation::failed(&self.observed.operations) {
            Some((operation, words)) => self.take_in(pass, &operation.action, words),
            None => self.kind.failures.done(&self.desired.uid),
        }
        pass.status.operations.clear();
        Ok(())
    }

    /// Neon could not do what it had begun, in these words. Whatever it was, nobody knows what became of compute and passwords
    /// before they are tried.
    fn take_in(&self, pass: &mut Pass, operation: &str, words: &str) {
        let (uid, generation) = (&self.desired.uid, self.desired.generation);
        let branch = pass.status.branch.as_mut();
        let id = branch.as_ref().map(|b| b.id.as_str());
        let failures = &self.kind.failures;
        let what = failures.failed(uid, generation, id, words.to_owned(), self.now);
        if let Some(branch) = branch {
            branch.own_passwords.clear();
            pass.status.content_digest = None;
        }
        let by = given_up::asked_by(what.as_deref(), self.desired, self.observed);
        if let (Some(endpoint), Ok(rest)) = (&mut pass.status.endpoint, &self.desired.rest)
            && start::is_of_start(operation, words, by, rest)
        {
            endpoint.failure = Some(words.to_owned());
        }
        for replica in &mut pass.status.read_replicas {
            if given_up::is_of_replica(what.as_deref(), &replica.name) {
                replica.endpoint.failure = Some(words.to_owned());
            }
        }
    }

    /// Neon refuses this, in these words: it is left alone with it for a while, for only a person can do something about it.
    fn refuse(&self, what: Refused, message: String, error: neon::Error) -> Error {
        let good_for = what.good_for();
        self.refuse_for(good_for, what, message, error)
    }

    /// The same, for this long.
    fn refuse_for(
        &self,
        good_for: SignedDuration,
        what: Refused,
        message: String,
        error: neon::Error,
    ) -> Error {
        let error = Error {
            class: Class::Invalid,
            message,
            ..at_neon(error)
        };
        let refusals = &self.kind.refusals;
        let until = self.now + good_for;
        refusals.remember(self.desired, what, &error, until, self.now);
        error
    }

    /// What Neon could not make is made anew: should it fail again, the next time is later.
    fn make_again(&self) {
        let making = given_up::making(self.desired, self.observed);
        let (uid, generation) = (&self.desired.uid, self.desired.generation);
        let failures = &self.kind.failures;
        failures.begin_again(uid, generation, &making, self.now);
    }

    /// Remembers what Neon works on since this was asked for.
    fn note(&self, action: &Action, status: &NeonDatabaseStatus) {
        let Some(what) = given_up::asked_of_neon(action, self.desired, self.observed) else {
            return;
        };
        let at_work = !status.operations.is_empty();
        self.kind.failures.asked(&self.desired.uid, what, at_work);
    }

    fn source(&self) -> Result<&Source, Error> {
        let source = self.observed.source.as_ref();
        source.ok_or_else(|| Error::bug("no project is known"))
    }

    /// The object's Neon project.
    pub(super) fn project(&self) -> Result<&ProjectId, Error> {
        self.source().map(|source| &source.project)
    }

    /// A place under the NeonProject's access rules, where they are counted: taken as long as the branch is being made.
    fn place(&self) -> Result<Option<Place>, Error> {
        let terms = self.observed.terms.as_ref();
        let Some(terms) = terms.filter(|terms| terms.are_capped()) else {
            return Ok(None);
        };
        let (room, clock) = (&self.kind.room, &self.kind.world.clock);
        let place = room.enter(&self.desired.uid, terms.room_seen, clock);
        let taken = || Error::conflict("another object has just taken a place");
        place.ok_or_else(taken).map(Some)
    }

    /// The account of the object's key.
    pub(super) async fn account(&self) -> Result<Arc<Account>, Error> {
        self.kind.world.account(&self.source()?.key).await
    }

    /// Proof that no migration is at work on the recorded branch.
    fn lock_branch(&self) -> Result<ExclusiveLock, Error> {
        self.lock(self.branch()?.as_str())
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
        let (world, object) = (&self.kind.world, &mut pass.object);
        if *action == Action::AddFinalizer {
            return world.add_finalizer(object, BRANCH_FINALIZER).await;
        }
        world.release_finalizer(object, BRANCH_FINALIZER).await?;
        if let Action::LeaveBehind(branch) = action {
            let object = ObjectId::of(object);
            tracing::warn!(%object, branch, "branch left behind: nobody can delete it any more");
            world.metrics.branch_left_behind();
        }
        Ok(())
    }

    fn record_incarnation(&self, status: &mut NeonDatabaseStatus) {
        let seen = self.observed.branch.known();
        let origin = seen.map(|branch| reset::origin(self.desired, status, branch));
        if let (Some(branch), Some(origin), Some(recorded)) = (seen, origin, &mut status.branch) {
            recorded.incarnation = incarnation(branch);
            recorded.origin = origin;
            recorded.own_passwords.clear();
            if !recorded.taken_over {
                recorded.credentials = Credentials::Inherited;
                // every login is closed with the parent's, so that nobody waits for one any more
                for role in &mut status.roles {
                    role.previous_login = None;
                }
            }
        }
        rotation::tell_secrets(status);
        status.content_digest = None;
        status.reset_time = None;
        status.reset_for = None;
    }
}

/// Takes up that the branch may live until this time. One that means nothing is taken up as well, so that it is told
/// once and not at every look; what was taken up before holds on.
fn extend(pass: &mut Pass, until: &str, end: Option<Timestamp>, now: Timestamp) {
    let handled = &mut pass.status.handled;
    handled.extend = Some(until.to_owned());
    match asked::extension(until, end, now) {
        Ok(time) => {
            handled.extension_time = Some(Time(time));
            handled.ignored = None;
        }
        Err(problem) => ignore(pass, format!("{EXTEND}: {until} {problem}")),
    }
}

/// Takes up an annotation that means something for objects that are being deleted only: were it forgotten, it would act one
/// day when nobody thinks of it.
fn note_abandon(pass: &mut Pass, asked: Option<&String>) {
    pass.status.handled.abandon = asked.cloned();
    if let Some(asked) = asked {
        let message = format!(
            "{ABANDON}: {asked}: this object is not being deleted; take the annotation away, and set it again when it is"
        );
        ignore(pass, message);
    }
}

/// Tells that a branch is gone and another one will be in its place.
fn tell_of_loss(pass: &mut Pass) {
    if let Some(branch) = &pass.status.branch {
        let (name, id) = (&branch.name, &branch.id);
        let message = format!(
            "the branch {name} ({id}) was deleted outside, with all that was in it; it is made anew"
        );
        pass.notices.push(Notice {
            warning: true,
            reason: Reason::BranchMissing,
            message,
        });
    }
}

/// Tells that an annotation was taken up and means nothing: by an event, and in the status, should that be lost.
fn ignore(pass: &mut Pass, message: String) {
    pass.status.handled.ignored = Some(message.clone());
    pass.notices.push(Notice {
        warning: true,
        reason: Reason::AnnotationIgnored,
        message,
    });
}

fn record_database(status: &mut NeonDatabaseStatus, name: &str, owner: &str) {
    status.databases.retain(|database| database.name != name);
    status.databases.push(DatabaseStatus {
        name: name.to_owned(),
        owner: owner.to_owned(),
        created: true,
        missing_schemas: None,
        extensions: Vec::new(),
    });
}

pub(super) fn forget_branch(status: &mut NeonDatabaseStatus) {
    status.branch = None;
    // it was asked for the branch that is gone
    status.reset_time = None;
    status.reset_for = None;
    status.endpoint = None;
    status.read_replicas.clear();
    status.plan_limit = None;
    status.databases.clear();
    status.roles.clear();
    status.content_digest = None;
    status.operations.clear();
}
