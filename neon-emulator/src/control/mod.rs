//! The control plane: state, computes and counters in one place, and what the API, the proxy and
//! the background tasks ask of it.

mod catalog;
mod expiry;
mod operations;
mod schema;
mod snapshots;
mod suspend;
mod timelines;
mod wake;
mod work;
mod writeback;

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tokio_util::sync::CancellationToken;

pub(crate) use self::wake::{QUOTA_EXCEEDED, WakeError};
use crate::{
    calls::CallLog,
    compute::Compute,
    config::EmulatorConfig,
    faults::{Fault, Faults},
    limits::Limits,
    names,
    postgres::{Postgres, server::Stop},
    rates::Rates,
    secret::Secret,
    state::{
        Store,
        model::{Endpoint, Project, State},
        operation::{Action, Status, Work},
    },
    stats::{Recorder, Stats},
    usage::Usage,
};

/// What is percent-encoded in the parts of a URI: all but what RFC 3986 calls unreserved.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// The pace of the emulator.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// The least time an operation takes.
    pub(crate) operation: Duration,
    /// How long one second of `suspend_timeout_seconds` lasts.
    pub(crate) idle_second: Duration,
    /// How often sessions and expiry times are looked at.
    pub(crate) poll: Duration,
}

/// The control plane.
pub(crate) struct Control {
    pub(crate) store: Store,
    pub(crate) recorder: Recorder,
    pub(crate) usage: Arc<Usage>,
    pub(crate) faults: Faults,
    pub(crate) postgres: Arc<Postgres>,
    pub(crate) pace: Pace,
    pub(crate) rates: Rates,
    pub(crate) calls: CallLog,
    pub(crate) api_key: Secret,
    pub(crate) pg_port: u16,
    /// Of new projects.
    pub(crate) limits: Limits,
    pub(crate) stopping: CancellationToken,
    computes: Mutex<BTreeMap<String, Arc<Compute>>>,
}

impl Control {
    pub(crate) fn new(
        store: Store,
        postgres: Postgres,
        config: &EmulatorConfig,
        pg_port: u16,
        stopping: CancellationToken,
    ) -> Self {
        let given = config.api_key.as_ref();
        let api_key = given.map_or_else(names::api_key, Secret::new);
        let enrolled = store.update(|state| {
            state.enrol(api_key.clone(), &config.organizations, Timestamp::now());
            Ok::<_, Infallible>(())
        });
        enrolled.unwrap_or_else(|never| match never {});
        Self {
            store,
            recorder: Recorder::default(),
            usage: Arc::default(),
            faults: Faults::default(),
            postgres: Arc::new(postgres),
            pace: Pace {
                operation: config.operation_duration,
                idle_second: config.idle_second,
                poll: config.poll_interval,
            },
            rates: Rates::new(config.rate_limit.clone()),
            calls: CallLog::default(),
            api_key,
            pg_port,
            limits: config.limits.clone(),
            stopping,
            computes: Mutex::default(),
        }
    }

    /// Continues what an earlier run left unfinished and starts the background tasks.
    pub(crate) fn start(self: &Arc<Self>) {
        self.remove_strays();
        let pending = self.store.read(|state| {
            let unfinished = |project: &Project| {
                let pending = project
                    .operations
                    .iter()
                    .filter(|op| !op.status.is_terminal());
                (
                    project.id.clone(),
                    pending.map(|op| op.id.clone()).collect::<Vec<_>>(),
                )
            };
            state.projects.values().map(unfinished).collect::<Vec<_>>()
        });
        for (project_id, operations) in pending {
            self.run(project_id, operations);
        }
        tokio::spawn(suspend::run(Arc::clone(self)));
        tokio::spawn(expiry::run(Arc::clone(self)));
        tokio::spawn(snapshots::run(Arc::clone(self)));
        tokio::spawn(writeback::run(Arc::clone(self)));
        let control = Arc::clone(self);
        tokio::spawn(async move {
            if let Err(error) = control.postgres.warm_up().await {
                tracing::error!(error = format!("{error:#}"), "the first project will fail");
            }
        });
    }

    /// The compute of an endpoint.
    pub(crate) fn compute(&self, endpoint_id: &str) -> Arc<Compute> {
        let mut computes = self.computes.lock().unwrap_or_else(PoisonError::into_inner);
        let (postgres, usage) = (&self.postgres, &self.usage);
        let new = || Compute::new(Arc::clone(postgres), Arc::clone(usage), endpoint_id);
        Arc::clone(
            computes
                .entry(endpoint_id.to_owned())
                .or_insert_with(|| Arc::new(new())),
        )
    }

    /// Forgets the compute of a deleted endpoint.
    fn forget_compute(&self, endpoint_id: &str) {
        self.computes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(endpoint_id);
    }

    fn all_computes(&self) -> Vec<Arc<Compute>> {
        let computes = self.computes.lock().unwrap_or_else(PoisonError::into_inner);
        computes.values().cloned().collect()
    }

    /// Whether an endpoint's server runs.
    pub(crate) fn is_active(&self, endpoint: &Endpoint) -> bool {
        self.compute(&endpoint.id).is_active()
    }

    /// The counters, with the endpoints whose server runs.
    pub(crate) fn stats(&self) -> Stats {
        let computes = self.all_computes();
        let active = computes.iter().filter(|compute| compute.is_active());
        let copier = self.postgres.copier();
        Stats {
            active_computes: active.map(|compute| compute.endpoint_id.clone()).collect(),
            files_cloned: copier.cloned(),
            files_copied: copier.copied(),
            ..self.recorder.snapshot()
        }
    }

    /// Sets a fault.
    pub(crate) fn set_fault(&self, fault: Fault) {
        self.faults.set(fault, || self.store.read(State::clone));
    }

    /// The limits of a project, if there is one.
    pub(crate) fn limits(&self, project_id: &str) -> Option<Limits> {
        self.store
            .read(|state| Some(state.projects.get(project_id)?.limits.clone()))
    }

    /// Changes the limits of a project; what is beyond them already stays.
    pub(crate) fn set_limits(&self, project_id: &str, limits: Limits) {
        self.in_project(project_id, |project, _| project.limits = limits);
    }

    /// Whether there is such an endpoint.
    pub(crate) fn knows_endpoint(&self, endpoint_id: &str) -> bool {
        self.find(endpoint_id).is_some()
    }

    /// Notes a suspension that has happened.
    fn suspended(&self, project_id: &str, endpoint_id: &str) {
        self.recorder.at(endpoint_id, |counts| counts.suspends += 1);
        self.at_endpoint(project_id, endpoint_id, |endpoint, now| {
            endpoint.suspended_at = Some(now);
        });
    }

    /// Lists an operation that the control plane did on its own; it never locks the project.
    fn note(&self, project_id: &str, action: Action, endpoint: &Endpoint, work: Work) {
        let step = endpoint.step(action, work);
        self.in_project(project_id, |project, now| {
            project.record(vec![step], Status::Finished, now);
        });
    }

    fn at_endpoint(
        &self,
        project_id: &str,
        id: &str,
        change: impl FnOnce(&mut Endpoint, Timestamp),
    ) {
        self.in_project(project_id, |project, now| {
            if let Some(endpoint) = project.endpoints.get_mut(id) {
                change(endpoint, now);
            }
        });
    }

    /// Changes a project if it still exists.
    fn in_project(&self, project_id: &str, change: impl FnOnce(&mut Project, Timestamp)) {
        let done = self.store.update(|state| {
            if let Some(project) = state.projects.get_mut(project_id) {
                change(project, Timestamp::now());
            }
            Ok::<_, Infallible>(())
        });
        done.unwrap_or_else(|never| match never {});
    }

    /// An endpoint with its project's id.
    fn find(&self, endpoint_id: &str) -> Option<(String, Endpoint)> {
        self.store.read(|state| {
            state.projects.values().find_map(|project| {
                let endpoint = project.endpoints.get(endpoint_id)?;
                Some((project.id.clone(), endpoint.clone()))
            })
        })
    }

    /// Data of branches that the state does not know: a copy that a crash interrupted, or a
    /// project deleted just before.
    fn remove_strays(&self) {
        let known: BTreeSet<String> = self.store.read(|state| {
            let projects = state.projects.values();
            let known = projects.flat_map(|project| {
                let branches = project.branches.values();
                let branches = branches.map(|branch| branch.timeline.clone());
                branches.chain(project.snapshots.keys().cloned())
            });
            known.collect()
        });
        let stored = self.postgres.stored_timelines().unwrap_or_default();
        for stray in stored.into_iter().filter(|name| !known.contains(name)) {
            let postgres = Arc::clone(&self.postgres);
            tokio::spawn(async move {
                if let Err(error) = postgres.remove(&stray).await {
                    tracing::warn!(error = format!("{error:#}"), "cannot remove stray data");
                }
            });
        }
    }

    /// Deletes what a deleted project leaves behind.
    pub(crate) fn remove_project(self: &Arc<Self>, project: Project) {
        let control = Arc::clone(self);
        tokio::spawn(async move {
            for endpoint in project.endpoints.values() {
                control.compute(&endpoint.id).suspend(Stop::Immediate).await;
                control.forget_compute(&endpoint.id);
            }
            let timelines = project.branches.values().map(|branch| &branch.timeline);
            // Those of read replicas are named as their endpoints, those of snapshots as these.
            let others = project.endpoints.keys().chain(project.snapshots.keys());
            for timeline in timelines.chain(others) {
                if let Err(error) = control.postgres.remove(timeline).await {
                    tracing::warn!(
                        error = format!("{error:#}"),
                        "cannot remove a branch's data"
                    );
                }
            }
        });
    }

    /// Stops all servers.
    pub(crate) async fn stop_all(&self, how: Stop) {
        let computes = self.all_computes();
        futures::future::join_all(computes.iter().map(|compute| compute.suspend(how))).await;
    }

    /// The URI of a role on a database, as Neon writes it (with the proxy's port).
    pub(crate) fn uri(&self, host: &str, role: &str, password: &Secret, database: &str) -> String {
        let encode = |text: &str| utf8_percent_encode(text, RESERVED).to_string();
        format!(
            "postgresql://{}:{}@{host}:{}/{}?sslmode=require&channel_binding=require",
            encode(role),
            encode(password.expose()),
            self.pg_port,
            encode(database),
        )
    }

    /// The direct or the pooled host of an endpoint.
    pub(crate) fn host(endpoint_id: &str, pooled: bool) -> String {
        if pooled {
            names::pooler_host(endpoint_id)
        } else {
            names::host(endpoint_id)
        }
    }
}
