//! Effects on the branch on which files are tried, and the trial itself.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use tokio::time::sleep;

use super::super::observe::Observed;
use super::super::place::Place;
use super::super::scratch::{self, lacks_compute, life};
use super::super::{Desired, Migrations, PURPOSE, action, adoption, failure, mark, observe, plan};
use super::access::{Access, access, is_current, opens, password};
use super::{Action, Pass, request, shared, show};
use crate::api::{SCRATCH_FINALIZER, ScratchBranch};
use crate::engine::run::RunError;
use crate::neon::{Account, BranchId, CreateBranch, NewEndpoint, ProjectId};
use crate::postgres::Target;
use crate::reconcile::{Error, named};
use crate::world::{Operation, at_neon, branch_named, record_operations};

use super::failure::{Circumstances, Failure};

/// How often to look whether the outcome of a trial is still needed.
const LOOK: Duration = Duration::from_secs(1);

/// Everything that these effects need.
pub(super) struct Context<'a> {
    pub(super) kind: &'a Migrations,
    pub(super) desired: &'a Desired,
    pub(super) observed: &'a Observed,
    pub(super) now: Timestamp,
}

impl Context<'_> {
    /// From now on it may be there. What was found earlier is void.
    pub(super) fn announce(&self, pass: &mut Pass<Migrations>) -> Result<(), Error> {
        let place = self.observed.place(self.desired);
        let place = place.ok_or_else(|| Error::bug("the branch to fork is not known"))?;
        let adoption = pass.status.adoption.get_or_insert_default();
        adoption.verdict = None;
        let (id, incarnation) = (&place.branch.id, &place.branch.incarnation);
        let before = adoption.scratch.take();
        let before = before.filter(|b| (&b.parent_id, &b.incarnation) == (id, incarnation));
        adoption.scratch = Some(ScratchBranch {
            copies: before.as_ref().map_or(0, |before| before.copies),
            trouble: before.and_then(|before| before.trouble),
            parent_id: place.branch.id,
            incarnation: place.branch.incarnation,
            request_time: Time(self.now),
            expiry_time: None,
            id: None,
            deleted: false,
            tried: false,
            outdated: false,
            operations: Vec::new(),
        });
        Ok(())
    }

    pub(super) fn give_up(&self, pass: &mut Pass<Migrations>) -> Result<(), Error> {
        let attempt = self.observed.attempt(self.desired);
        let failure = failure::given_up(recorded(pass)?, attempt);
        pass.status.last_error = Some(failure);
        Ok(())
    }

    pub(super) async fn add_finalizer(&self, pass: &mut Pass<Migrations>) -> Result<(), Error> {
        let (world, object) = (&self.kind.world, &mut pass.object);
        world.add_finalizer(object, SCRATCH_FINALIZER).await
    }

    pub(super) async fn release_finalizer(&self, pass: &mut Pass<Migrations>) -> Result<(), Error> {
        if self.desired.has_finalizer {
            let (world, object) = (&self.kind.world, &mut pass.object);
            world.release_finalizer(object, SCRATCH_FINALIZER).await?;
        }
        // one that was to go is gone by now, with its status
        if !self.desired.deleting
            && let Some(adoption) = &mut pass.status.adoption
        {
            adoption.scratch = None;
        }
        Ok(())
    }

    pub(super) async fn create(&self, pass: &mut Pass<Migrations>) -> Result<(), Error> {
        let place = self.observed.place(self.desired);
        let place = place.ok_or_else(|| Error::bug("the branch to fork is not known"))?;
        let _nobody_else = shared(self.kind, &place.branch.id)?;
        let (account, project) = self.account().await?;
        let end = self.now.checked_add(life(self.desired)).ok();
        let body = CreateBranch {
            name: branch_named(PURPOSE, &self.desired.namespace, &self.desired.name),
            parent_id: BranchId::from(place.branch.id.as_str()),
            at: None,
            protected: false,
            expires_at: end,
            annotations: mark(self.kind, self.desired).annotations(),
            endpoint: NewEndpoint::default(),
        };
        let created = account.api.create_branch(project, &body).await;
        let created = created.map_err(at_neon)?;
        let scratch = recorded(pass)?;
        scratch.id = Some(created.branch.id.to_string());
        scratch.expiry_time = end.map(Time);
        record_operations(&mut scratch.operations, &created.operations, self.now);
        self.note(&Action::CreateScratch, scratch);
        Ok(())
    }

    pub(super) async fn delete(
        &self,
        pass: &mut Pass<Migrations>,
        id: &BranchId,
    ) -> Result<(), Error> {
        let (account, project) = self.account().await?;
        let listed = self.observed.scratch.iter().flat_map(|s| &s.listed);
        if listed.into_iter().any(|b| b.id == *id && b.was_given_up()) {
            let making = plan::asked_of_neon(&Action::CreateScratch).unwrap_or_default();
            let (uid, generation) = (&self.desired.uid, self.desired.generation);
            let failures = &self.kind.failures;
            failures.begin_again(uid, generation, &making, self.now);
        }
        let operations = account.api.delete_branch(project, id).await;
        let operations = operations.map_err(at_neon)?;
        if let Ok(scratch) = recorded(pass) {
            let is_bare = self.observed.scratch.as_ref().is_some_and(lacks_compute);
            if is_bare && !scratch.tried {
                let trouble = "the last of them has no compute: somebody has deleted it";
                scratch::count_in_vain(scratch, trouble.to_owned());
            }
            scratch.id = None;
            scratch.deleted = true;
            record_operations(&mut scratch.operations, &operations, self.now);
            self.note(&Action::DeleteScratch(id.clone()), scratch);
        }
        Ok(())
    }

    pub(super) async fn forget_operations(&self, pass: &mut Pass<Migrations>) -> Result<(), Error> {
        let (account, project) = self.account().await?;
        // what they brought about is not in a listing that is older than they are
        account.snapshots.invalidate(project);
        let operations = self.observed.scratch.iter().flat_map(|s| &s.operations);
        let operations: Vec<Operation> = operations.cloned().collect();
        let (uid, generation) = (&self.desired.uid, self.desired.generation);
        let failures = &self.kind.failures;
        match Operation::failed(&operations) {
            Some((_, words)) => {
                failures.failed(uid, generation, None, words.to_owned(), self.now);
            }
            None => failures.done(uid),
        }
        recorded(pass)?.operations.clear();
        Ok(())
    }

    /// Tries the files, and writes down what of the history is there.
    pub(super) async fn verify(&self, pass: &mut Pass<Migrations>) -> Result<(), Error> {
        let (kind, desired, observed) = (self.kind, self.desired, self.observed);
        let access = access(kind, desired, observed).await?;
        let _nobody_else = shared(self.kind, &access.place.branch.id)?;
        let scratch = self.target(&access).await?;
        let mut request = request(kind, desired, observed, &access)?;
        request.timeouts.deadline = scratch::trial(desired);
        show(kind, pass, desired, observed, action::TRYING, |_| ()).await;
        let end = request.cancel.clone();
        let mut trial = kind.world.migrations.verify(&request, &scratch);
        let found = tokio::select! {
            biased;
            found = &mut trial => found,
            why = self.in_vain(&access.place) => {
                // until it has ended on the server, too
                end.cancel();
                drop(trial.await);
                return Err(Error::conflict(format!("the trial of the files was ended: {why}")));
            }
        };
        let found = match found {
            Ok(found) => found,
            Err(error) => {
                let of = Circumstances {
                    attempt: observed.attempt(desired),
                    password_is_current: self.are_current(&access, &scratch, &error).await,
                    ..Circumstances::default()
                };
                return failed(pass, error, of);
            }
        };
        let asked = desired.database.as_deref();
        let now_there = observe::database(kind, desired)
            .and_then(|database| database.place(asked, observed.applied_to.as_ref()));
        if now_there.as_ref() != Some(&access.place) {
            return Err(Error::conflict(
                "the branch was reset or restored meanwhile",
            ));
        }
        let listing = observed.listing();
        let listing = listing.ok_or_else(|| Error::bug("no files were read"))?;
        let basis = adoption::basis(desired, &listing.digest, &found.ledger);
        let verdict = adoption::record(access.place, basis, &found, kind.world.clock.now());
        pass.notices.push(adoption::notice(&verdict));
        pass.status.adoption.get_or_insert_default().verdict = Some(verdict);
        pass.status.last_error = None;
        Ok(())
    }

    /// Comes to an end when nobody needs the outcome of the trial any more, and says why.
    async fn in_vain(&self, place: &Place) -> &'static str {
        let (kind, desired) = (self.kind, self.desired);
        loop {
            sleep(LOOK).await;
            let all = kind.world.cluster.migrations();
            let own = named(&all, Some(&desired.namespace), &desired.name).map(AsRef::as_ref);
            let database = observe::database(kind, desired);
            if let Some(why) = scratch::in_vain(desired, place, own, database.as_ref()) {
                return why;
            }
        }
    }

    /// Whether no password was just rotated, neither that of the branch nor that of the copy: which of the two was refused is
    /// not known.
    async fn are_current(&self, access: &Access<'_>, scratch: &Target, error: &RunError) -> bool {
        let endpoint = self
            .observed
            .scratch
            .as_ref()
            .and_then(|s| s.endpoint.as_ref());
        let Some(endpoint) = endpoint else {
            return false;
        };
        let of = (&endpoint.branch_id, &endpoint.id);
        is_current(self.kind, access, error).await
            && opens(self.kind, access.database, of, scratch).await
    }

    /// The owner's way into the copy. Of a protected branch its password is another one.
    async fn target(&self, access: &Access<'_>) -> Result<Target, Error> {
        let gone = || Error::conflict("the branch to try the files on is gone");
        let scratch = self.observed.scratch.as_ref().ok_or_else(gone)?;
        let endpoint = scratch.endpoint.as_ref().ok_or_else(gone)?;
        let of = (&endpoint.branch_id, &endpoint.id);
        let user = &access.target.user;
        Ok(Target {
            host: endpoint.host.clone(),
            password: password(self.kind, access.database, of, user).await?,
            ..access.target.clone()
        })
    }

    async fn account(&self) -> Result<(Arc<Account>, &ProjectId), Error> {
        let database = self.observed.database.known();
        let source = database.and_then(|database| database.source.as_ref());
        let source = source.ok_or_else(|| Error::conflict("the Neon project went away"))?;
        let account = self.kind.world.account(&source.key).await?;
        Ok((account, &source.project))
    }

    /// Remembers what Neon works on since this was asked for.
    fn note(&self, action: &Action, scratch: &ScratchBranch) {
        if let Some(what) = plan::asked_of_neon(action) {
            let at_work = !scratch.operations.is_empty();
            let failures = &self.kind.failures;
            failures.asked(&self.desired.uid, what, at_work);
        }
    }
}

fn failed(pass: &mut Pass<Migrations>, error: RunError, of: Circumstances) -> Result<(), Error> {
    let is_outdated = matches!(error, RunError::NotACopy(_));
    // an operator that stops says nothing of the copy
    let tells = error != RunError::Cancelled;
    match failure::of_trial(error, of) {
        Failure::Recorded(failure) => {
            pass.status.last_error = Some(failure);
            Ok(())
        }
        Failure::Passing(error) => {
            if let Ok(scratch) = recorded(pass) {
                scratch.outdated |= is_outdated;
                if tells {
                    scratch::count_in_vain(scratch, failure::in_short(&error));
                }
            }
            Err(error)
        }
    }
}

fn recorded(pass: &mut Pass<Migrations>) -> Result<&mut ScratchBranch, Error> {
    let adoption = pass.status.adoption.as_mut();
    let scratch = adoption.and_then(|adoption| adoption.scratch.as_mut());
    scratch.ok_or_else(|| Error::bug("no branch to try files on was announced"))
}
