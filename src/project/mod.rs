//! NeonProject: the credential, the settings and the rules of use of one Neon project.
//!
//! | file | question |
//! |---|---|
//! | `desired` (with `settings`) | what is asked? pure |
//! | `observe` (with `details`) | what is? |
//! | `plan` (with `action`) | what next? pure; opens with the decision table |
//! | `act` | do it |
//! | `status` | how does it stand? pure |
//!
//! Who may use the project is written here and asked by those who want to: see `database::rules`.

mod act;
pub mod action;
pub mod desired;
mod details;
pub mod observe;
pub mod plan;
pub mod settings;
pub mod status;

use jiff::Timestamp;

use crate::api::{NeonProject, NeonProjectStatus};
use crate::reconcile::{self, Decision, Error, Subject, Verdict};
use crate::world::{Failures, Operations, World};
use action::Action;
use desired::Desired;
use details::Details;
use observe::Observed;

type Pass = reconcile::Pass<Projects>;

/// The NeonProject kind in a world.
pub struct Projects {
    world: World,
    details: Details,
    failures: Failures,
    operations: Operations,
}

impl Projects {
    /// The kind, with nothing remembered.
    #[must_use]
    pub fn new(world: World) -> Self {
        Self {
            operations: Operations::new(world.metrics.clone()),
            world,
            details: Details::default(),
            failures: Failures::default(),
        }
    }
}

impl Subject for Projects {
    type Object = NeonProject;
    type Desired = Desired;
    type Observed = Observed;
    type Action = Action;
    type Status = NeonProjectStatus;

    fn status(object: &NeonProject) -> NeonProjectStatus {
        object.status.clone().unwrap_or_default()
    }

    fn forget(&self, uid: &str) {
        self.details.forget(uid);
        self.failures.forget(uid);
    }

    fn desired(&self, object: &NeonProject) -> Desired {
        Desired::of(object)
    }

    async fn observe(
        &self,
        pass: &Pass,
        desired: &Desired,
        now: Timestamp,
    ) -> Result<Observed, Error> {
        Box::pin(observe::observe(self, pass, desired, now)).await
    }

    fn decide(desired: &Desired, observed: &Observed, now: Timestamp) -> Decision<Action> {
        plan::decide(desired, observed, now)
    }

    async fn act(
        &self,
        action: &Action,
        pass: &mut Pass,
        desired: &Desired,
        observed: &Observed,
        now: Timestamp,
    ) -> Result<(), Error> {
        Box::pin(act::act(self, action, pass, desired, observed, now)).await
    }

    fn project(
        pass: &Pass,
        desired: &Desired,
        observed: Option<&Observed>,
        verdict: &Verdict,
        now: Timestamp,
    ) -> NeonProjectStatus {
        status::project(&pass.status, desired, observed, verdict, now)
    }

    async fn write_status(
        &self,
        object: &NeonProject,
        status: &NeonProjectStatus,
    ) -> Result<NeonProject, Error> {
        self.world.write_status(object, status).await
    }
}
