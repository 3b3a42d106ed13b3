//! SepulkiMigration: an ordered bundle of `.sql` files brought to one NeonDatabase, each applied exactly once.
//!
//! ```text
//! desired.rs    the spec, parsed                     pure
//! execution.rs  …and in the engine's types           pure
//! source.rs     ConfigMaps or spec → files           pure
//! place.rs      which ledger of which branch, rivals pure
//! required.rs   which migrations have to come first  pure
//! adoption.rs   whether a history is believed        pure
//! scratch.rs    the branch on which that is tried    pure
//! held.rs       what a restore has undone            pure
//! divergence.rs what an edited applied file leads to pure
//! observe.rs    facts: files, NeonDatabase, record   reads the watches and ConfigMaps
//! plan.rs       what to do next, the decision table  pure
//! problems.rs   what is in the way of a plan         pure
//! action.rs     the effects                          types
//! act.rs        reads the ledger, runs the engine    Neon, PostgreSQL
//! failure.rs    what the engine's errors mean        pure
//! record.rs     what is written down of the ledger   pure
//! status.rs     the status                           pure
//! counted.rs    what is counted of a run              metrics
//! cache.rs      what is remembered between passes
//! ```
//!
//! A migration is settled when its status says that these very files (by digest), up to this target, were found applied
//! at this place (branch, incarnation, database): then nothing but the digest is looked at, no session is opened and no
//! file compiled. Anything else is decided on the ledger itself, and whatever a run does is in the ledger, so that a
//! crash anywhere only makes it be read again.

mod act;
pub mod action;
pub mod adoption;
mod cache;
mod counted;
pub mod desired;
pub mod divergence;
mod execution;
pub mod failure;
pub mod held;
pub mod observe;
pub mod place;
pub mod plan;
pub mod problems;
pub mod record;
pub mod required;
pub mod scratch;
pub mod source;
pub mod status;
#[cfg(test)]
mod tests;
mod warnings;

use std::sync::Arc;

use jiff::Timestamp;

use crate::api::{SepulkiMigration, SepulkiMigrationStatus};
use crate::reconcile::{Class, Decision, Error, Pass, Subject, Verdict, named};
use crate::world::{Failures, Mark, Operations, World};

use cache::Cache;

pub use action::Action;
pub use desired::Desired;
pub use observe::Observed;

/// The kind, as the loop sees it. One for the whole operator.
pub struct Migrations {
    world: World,
    cache: Cache,
    operations: Operations,
    failures: Failures,
}

/// What a branch is for on which files are tried.
const PURPOSE: &str = "verify";

/// The mark of the branch on which an object's files are tried.
fn mark(kind: &Migrations, desired: &Desired) -> Mark {
    Mark {
        installation: kind.world.settings.installation.clone(),
        namespace: desired.namespace.clone(),
        name: desired.name.clone(),
        purpose: Some(PURPOSE.to_owned()),
    }
}

impl Migrations {
    /// The kind in this world.
    #[must_use]
    pub fn new(world: World) -> Self {
        Self {
            operations: Operations::new(world.metrics.clone()),
            failures: Failures::default(),
            cache: Cache::default(),
            world,
        }
    }

    /// The object as it is by now, where nothing has changed that a status depends on: a run and a trial last long, and what
    /// came of them is not to be lost because of a label. A status that somebody else has written stays: it is news.
    fn otherwise_unchanged(&self, object: &SepulkiMigration) -> Option<Arc<SepulkiMigration>> {
        let all = self.world.cluster.migrations();
        let name = object.metadata.name.as_deref().unwrap_or_default();
        let present = named(&all, object.metadata.namespace.as_ref(), name)?;
        let basis = |of: &SepulkiMigration| {
            let meta = &of.metadata;
            // as it is kept, with times in whole seconds
            let status = serde_json::to_value(&of.status).ok();
            let deletion = meta.deletion_timestamp.clone();
            (meta.uid.clone(), meta.generation, deletion, status)
        };
        let has_moved = present.metadata.resource_version != object.metadata.resource_version;
        (has_moved && basis(present) == basis(object)).then(|| present.clone())
    }

    /// To be told of every change of a ConfigMap that an object refers to, before the object's next pass. Without it a
    /// change is seen within ten minutes.
    pub fn forget_config_map(&self, namespace: &str, name: &str) {
        self.cache.forget_config_map(namespace, name);
    }
}

impl Subject for Migrations {
    type Object = SepulkiMigration;
    type Desired = Desired;
    type Observed = Observed;
    type Action = Action;
    type Status = SepulkiMigrationStatus;

    fn status(object: &SepulkiMigration) -> SepulkiMigrationStatus {
        object.status.clone().unwrap_or_default()
    }

    fn forget(&self, uid: &str) {
        self.cache.forget(uid);
        self.failures.forget(uid);
    }

    fn desired(&self, object: &SepulkiMigration) -> Desired {
        Desired::of(object)
    }

    async fn observe(
        &self,
        pass: &Pass<Self>,
        desired: &Desired,
        now: Timestamp,
    ) -> Result<Observed, Error> {
        observe::observe(self, pass, desired, now).await
    }

    fn decide(desired: &Desired, observed: &Observed, now: Timestamp) -> Decision<Action> {
        plan::decide(desired, observed, now)
    }

    async fn act(
        &self,
        action: &Action,
        pass: &mut Pass<Self>,
        desired: &Desired,
        observed: &Observed,
        now: Timestamp,
    ) -> Result<(), Error> {
        act::act(self, action, pass, desired, observed, now).await
    }

    fn project(
        pass: &Pass<Self>,
        desired: &Desired,
        observed: Option<&Observed>,
        verdict: &Verdict,
        now: Timestamp,
    ) -> SepulkiMigrationStatus {
        status::project(&pass.status, desired, observed, verdict, now)
    }

    async fn write_status(
        &self,
        object: &SepulkiMigration,
        status: &SepulkiMigrationStatus,
    ) -> Result<SepulkiMigration, Error> {
        let error = match Box::pin(self.world.write_status(object, status)).await {
            Err(error) if error.class == Class::Conflict => error,
            written => return written,
        };
        match self.otherwise_unchanged(object) {
            Some(present) => Box::pin(self.world.write_status(&*present, status)).await,
            None => Err(error),
        }
    }
}
