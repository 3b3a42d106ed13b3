//! NeonDatabase: one environment's branch, compute, databases, roles and connection Secrets.
//!
//! | file | question |
//! |---|---|
//! | `desired` (with `asked`, `compute`, `start`, `replicas`, `inherit`, `profile`, `mark`, `max_age`) | what is asked? pure |
//! | `observe` (with `checked`, `given`, `refusals`, `room`, `line`) | what is? |
//! | `plan` (with `rotation`, `deletion`, `reset`, `action`, and `rules`) | what next? pure; opens with the decision table |
//! | `act` (with `on_neon`, `upkeep`, `settings`, `replicas`, `contents`, `logins`, `secrets`, `damage`, `repair`, `proof`, and `credentials`, `template`) | do it |
//! | `status` (with `again`) | how does it stand? pure |

mod act;
pub mod action;
mod again;
pub mod asked;
mod checked;
pub mod compute;
pub mod credentials;
pub mod deletion;
pub mod desired;
#[cfg(test)]
mod fixtures;
mod given;
pub mod inherit;
pub mod line;
pub mod mark;
pub mod max_age;
pub mod observe;
pub mod password;
pub mod plan;
pub mod profile;
#[cfg(test)]
mod properties;
mod refusals;
pub mod replicas;
pub mod reset;
mod room;
pub mod rotation;
pub mod rules;
pub mod start;
pub mod status;
mod taken;
pub mod template;

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use crate::api::{NeonDatabase, NeonDatabaseStatus, Reason, SepulkiMigration};
use crate::reconcile::{self, Decision, Error, Subject, Verdict};
use crate::world::{Failures, Operations, World};
use action::Action;
use checked::Checked;
use credentials::Form;
use desired::{Desired, WantedSecret};
use line::Lines;
use observe::Observed;
use plan::given_up;
use refusals::Refusals;
use room::Room;

type Pass = reconcile::Pass<Databases>;

/// The NeonDatabase kind in a world.
pub struct Databases {
    world: World,
    checked: Checked,
    failures: Failures,
    refusals: Refusals,
    room: Room,
    lines: Lines,
    operations: Operations,
}

impl Databases {
    /// The kind, with nothing remembered.
    #[must_use]
    pub fn new(world: World) -> Self {
        Self {
            operations: Operations::new(world.metrics.clone()),
            world,
            checked: Checked::default(),
            failures: Failures::default(),
            refusals: Refusals::default(),
            room: Room::default(),
            lines: Lines::default(),
        }
    }

    /// What the object asks, with what it inherits.
    fn asked(&self, object: &NeonDatabase) -> Desired {
        // nobody else is asked where nothing depends on them: this is done at every step
        if !inherit::depends_on_others(object) {
            return Desired::of(object, &self.world.settings.installation);
        }
        let all = self.world.cluster.databases();
        let circle = inherit::circle(object, &all);
        let (object, heritage) = inherit::inherit(object, &all);
        Desired {
            heritage,
            circle,
            ..Desired::of(&object, &self.world.settings.installation)
        }
    }

    /// How many files migrations have applied to the databases of this object, as the watch tells.
    fn applied_files(&self, desired: &Desired) -> i64 {
        let of_this = |migration: &Arc<SepulkiMigration>| {
            migration.metadata.namespace.as_ref() == Some(&desired.mark.namespace)
                && migration.spec.database_ref.name.0 == desired.mark.name
        };
        let migrations = self.world.cluster.migrations();
        let statuses = migrations
            .iter()
            .filter(|m| of_this(m))
            .filter_map(|m| m.status.as_ref());
        statuses
            .filter_map(|status| status.applied.as_ref())
            .map(|applied| i64::from(applied.count))
            .sum()
    }

    /// What a Secret is to say, as far as it is decided yet.
    fn form(
        &self,
        desired: &Desired,
        recorded: &NeonDatabaseStatus,
        secret: &WantedSecret,
    ) -> Option<Form> {
        let branch = recorded.branch.as_ref()?;
        let endpoint = recorded.endpoint.as_ref()?;
        let role = recorded
            .roles
            .iter()
            .find(|role| role.name == secret.role)?;
        Some(Form {
            namespace: desired.mark.namespace.clone(),
            name: secret.name.clone(),
            object: desired.mark.name.clone(),
            uid: desired.uid.clone(),
            goes: deletion::deletes(desired, recorded),
            branch: branch.id.clone(),
            incarnation: branch.incarnation.clone(),
            endpoint: endpoint.id.clone(),
            host: endpoint.host.clone(),
            replicas: replica_hosts(desired, recorded),
            port: self.world.settings.postgres_port,
            database: secret.database.clone(),
            login: role.login.clone()?,
            role: role.name.clone(),
            password_from: desired
                .role(&role.name)
                .and_then(|role| role.password.as_ref())
                .map(|at| format!("{}/{}", at.name, at.key)),
            authority: self.world.settings.certificate_authority.clone(),
            template: secret.template.clone(),
        })
    }

    /// That a database does not answer, with what it may be for: Neon has just failed at something, or the compute has
    /// settings that PostgreSQL may not take, and then does not start.
    fn explained(&self, pass: &Pass, desired: &Desired, error: Error, now: Timestamp) -> Error {
        if error.reason != Reason::DatabaseUnavailable {
            return error;
        }
        let mut message = error.message;
        let branch = pass.status.branch.as_ref();
        let failures = self.failures.of(&desired.uid, desired.generation, now);
        let is_told = pass
            .status
            .endpoint
            .as_ref()
            .is_some_and(|e| e.failure.is_some());
        if let Some(words) = branch.and_then(|b| given_up::words(&failures, &b.id))
            && !is_told
        {
            message = format!("{message}; what Neon began with the branch failed: {words}");
        }
        let error = Error { message, ..error };
        match &desired.rest {
            Ok(rest) => start::explained(rest, &pass.status, error),
            Err(_) => error,
        }
    }
}

/// Hosts of the read replicas that are asked for and there.
fn replica_hosts(desired: &Desired, recorded: &NeonDatabaseStatus) -> BTreeMap<String, String> {
    let wanted = |name: &str| {
        let rest = desired.rest.as_ref();
        rest.is_ok_and(|rest| rest.replicas.iter().any(|replica| replica.name == name))
    };
    recorded
        .read_replicas
        .iter()
        .filter(|replica| wanted(&replica.name))
        .map(|replica| (replica.name.clone(), replica.endpoint.host.clone()))
        .collect()
}

impl Subject for Databases {
    type Object = NeonDatabase;
    type Desired = Desired;
    type Observed = Observed;
    type Action = Action;
    type Status = NeonDatabaseStatus;

    fn status(object: &NeonDatabase) -> NeonDatabaseStatus {
        object.status.clone().unwrap_or_default()
    }

    fn forget(&self, uid: &str) {
        self.checked.forget(uid);
        self.failures.forget(uid);
        self.refusals.forget(uid);
    }

    fn desired(&self, object: &NeonDatabase) -> Desired {
        let desired = self.asked(object);
        let now = self.world.clock.now();
        let settings = self.refusals.settings(&desired, now);
        let databases = self.refusals.databases(&desired, now);
        let desired = desired.without(databases);
        desired.without_settings(settings, object.status.as_ref())
    }

    async fn observe(
        &self,
        pass: &Pass,
        desired: &Desired,
        now: Timestamp,
    ) -> Result<Observed, Error> {
        let observed = Box::pin(observe::observe(self, pass, desired, now)).await;
        observed.map_err(|error| self.explained(pass, desired, error, now))
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
        let done = Box::pin(act::act(self, action, pass, desired, observed, now)).await;
        done.map_err(|error| self.explained(pass, desired, error, now))
    }

    fn project(
        pass: &Pass,
        desired: &Desired,
        observed: Option<&Observed>,
        verdict: &Verdict,
        now: Timestamp,
    ) -> NeonDatabaseStatus {
        status::project(&pass.status, desired, observed, verdict, now)
    }

    async fn write_status(
        &self,
        object: &NeonDatabase,
        status: &NeonDatabaseStatus,
    ) -> Result<NeonDatabase, Error> {
        self.world.write_status(object, status).await
    }
}
