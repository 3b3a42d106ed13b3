//! A world for one migration: everything in memory, everything counted, faults on demand.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedSender;

use super::{neon_database, now, object};
use crate::api::{NeonDatabase, NeonProject, SepulkiMigration, SepulkiMigrationStatus};
use crate::clock::{Clock as _, ManualClock};
use crate::cluster::{self, KeyRead, KeyRef, NamespaceState, ObjectId};
use crate::engine::run::{Inspection, Progress, RunError, RunReport, RunRequest, Verification};
use crate::engine::{self, LedgerRow, LedgerState};
use crate::migration::Migrations;
use crate::neon::{self, NeonAccounts, NeonApi};
use crate::postgres::{self, Target};
use crate::reconcile::{BranchLocks, PassReport, drive};
use crate::telemetry::Metrics;
use crate::world::{
    Cluster, Contents, DatabaseReport, LoginsLeft, NewLogin, PrepareDatabase, PrepareRoles,
    Settings, World,
};

/// The world and what happened in it.
pub(super) struct Fake {
    pub(super) state: Mutex<State>,
    pub(super) clock: ManualClock,
    pub(super) config_map_reads: AtomicUsize,
    pub(super) inspections: AtomicUsize,
    pub(super) runs: AtomicUsize,
    pub(super) status_writes: AtomicUsize,
    pub(super) reveals: AtomicUsize,
}

/// What is there.
pub(super) struct State {
    pub(super) object: SepulkiMigration,
    pub(super) others: Vec<SepulkiMigration>,
    pub(super) projects: Vec<NeonProject>,
    pub(super) databases: Vec<NeonDatabase>,
    pub(super) config_maps: BTreeMap<String, BTreeMap<String, Vec<u8>>>,
    pub(super) ledger: LedgerState,
    /// What Neon says; a session needs the same.
    pub(super) password: String,
    /// The branch that the compute serves.
    pub(super) served: String,
    /// Passwords that PostgreSQL takes instead, one per session.
    pub(super) accepted: VecDeque<String>,
    /// How the coming runs end; the fault comes before the file with this number.
    pub(super) faults: VecDeque<(usize, RunError)>,
    /// What the next run tells beside its files.
    pub(super) tells: Vec<Progress>,
    /// How long a file takes.
    pub(super) file_takes: Duration,
    /// Status writes that fail from now on.
    pub(super) writes_fail: usize,
    /// Statuses that were written, in order.
    pub(super) written: Vec<SepulkiMigrationStatus>,
}

impl Fake {
    pub(super) fn new() -> Arc<Self> {
        let files = super::three_files();
        let files = files.into_iter().map(|file| (file.name, file.bytes));
        Arc::new(Self {
            state: Mutex::new(State {
                object: object(&json!({})),
                others: Vec::new(),
                projects: Vec::new(),
                databases: vec![neon_database()],
                config_maps: [("files".to_owned(), files.collect())].into(),
                ledger: LedgerState::default(),
                password: "owner's".into(),
                served: "br-1".into(),
                accepted: VecDeque::new(),
                faults: VecDeque::new(),
                tells: Vec::new(),
                file_takes: Duration::ZERO,
                writes_fail: 0,
                written: Vec::new(),
            }),
            clock: ManualClock::new(now()),
            config_map_reads: AtomicUsize::default(),
            inspections: AtomicUsize::default(),
            runs: AtomicUsize::default(),
            status_writes: AtomicUsize::default(),
            reveals: AtomicUsize::default(),
        })
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// The kind in this world, as an operator that was just started.
    pub(super) fn operator(self: &Arc<Self>) -> Migrations {
        Migrations::new(World {
            cluster: self.clone(),
            neon: self.clone(),
            contents: self.clone(),
            migrations: self.clone(),
            locks: BranchLocks::default(),
            clock: self.clone(),
            metrics: Metrics::new(),
            stopping: tokio_util::sync::CancellationToken::new(),
            settings: Arc::new(Settings {
                installation: "default".into(),
                postgres_port: 5432,
                certificate_authority: None,
                snapshot_interval: Duration::from_mins(1),
            }),
        })
    }

    /// One pass of the operator; what is in the API server then.
    pub(super) async fn pass(&self, operator: &Migrations) -> PassReport {
        let object = self.state().object.clone();
        let (_, report) = drive(operator, object, || self.clock.now(), false).await;
        report
    }

    pub(super) fn status(&self) -> SepulkiMigrationStatus {
        self.state().object.status.clone().unwrap()
    }

    pub(super) fn applied(&self) -> Vec<String> {
        let state = self.state();
        state
            .ledger
            .rows
            .iter()
            .map(|r| r.version.clone())
            .collect()
    }

    /// A person annotates the object.
    pub(super) fn annotate(&self, annotation: &str, value: &str) {
        let mut state = self.state();
        let annotations = state.object.metadata.annotations.get_or_insert_default();
        annotations.insert(annotation.to_owned(), value.to_owned());
    }

    /// A person edits the file of a ConfigMap.
    pub(super) fn edit(&self, file: &str, sql: &str) {
        let mut state = self.state();
        let files = state.config_maps.get_mut("files").unwrap();
        files.insert(file.to_owned(), sql.as_bytes().to_vec());
    }

    /// Somebody resets the branch, and its object has seen it.
    pub(super) fn reset_branch(&self, incarnation: &str) {
        let mut state = self.state();
        let status = state.databases[0].status.as_mut().unwrap();
        status.branch.as_mut().unwrap().incarnation = incarnation.into();
    }

    /// Reads of ConfigMaps, inspections, runs, revealed passwords and status writes so far.
    pub(super) fn effort(&self) -> [usize; 5] {
        [
            &self.config_map_reads,
            &self.inspections,
            &self.runs,
            &self.reveals,
            &self.status_writes,
        ]
        .map(|count| count.load(Relaxed))
    }

    /// Whether a session gets in.
    fn enter(&self, at: &Target) -> Result<(), RunError> {
        let mut state = self.state();
        let accepted = state.accepted.pop_front();
        let accepted = accepted.unwrap_or_else(|| state.password.clone());
        assert_eq!(
            (at.user.as_str(), at.database.as_str()),
            ("app_owner", "app")
        );
        assert_eq!(at.host, "ep-1.example");
        if at.password.expose_secret() == accepted {
            Ok(())
        } else {
            Err(RunError::Denied("password authentication failed".into()))
        }
    }
}

impl crate::clock::Clock for Fake {
    fn now(&self) -> jiff::Timestamp {
        self.clock.now()
    }
}

#[async_trait]
impl Cluster for Fake {
    fn databases(&self) -> Vec<Arc<NeonDatabase>> {
        self.state()
            .databases
            .iter()
            .cloned()
            .map(Arc::new)
            .collect()
    }
    fn migrations(&self) -> Vec<Arc<SepulkiMigration>> {
        let state = self.state();
        let all = state.others.iter().chain([&state.object]);
        all.cloned().map(Arc::new).collect()
    }
    fn projects(&self) -> Vec<Arc<NeonProject>> {
        self.state()
            .projects
            .iter()
            .cloned()
            .map(Arc::new)
            .collect()
    }
    fn namespace_labels(&self, _: &str) -> Option<BTreeMap<String, String>> {
        unimplemented!()
    }
    async fn api_key(&self, at: &KeyRef, _: cluster::Freshness) -> cluster::Result<KeyRead> {
        let referring = !self.state().projects.is_empty();
        assert_eq!(at.namespace, if referring { "keys" } else { "team" });
        Ok(KeyRead::Found("key".into()))
    }
    fn remember_good_key(&self, _: &KeyRef, _: &SecretString) {}
    fn last_good_key(&self, _: &KeyRef) -> Option<SecretString> {
        None
    }
    async fn secret(&self, _: &str, _: &str) -> cluster::Result<Option<Secret>> {
        unimplemented!()
    }
    async fn glance_at_secret(&self, _: &str, _: &str) -> cluster::Result<cluster::Glance> {
        unimplemented!()
    }
    async fn apply_secret(&self, _: &Secret) -> cluster::Result<()> {
        unimplemented!()
    }
    async fn delete_secret(&self, _: &str, _: &str, _: &str) -> cluster::Result<()> {
        unimplemented!()
    }
    async fn config_map(
        &self,
        namespace: &str,
        name: &str,
    ) -> cluster::Result<Option<BTreeMap<String, Vec<u8>>>> {
        assert_eq!(namespace, "team");
        self.config_map_reads.fetch_add(1, Relaxed);
        Ok(self.state().config_maps.get(name).cloned())
    }
    async fn namespace(&self, _: &str) -> cluster::Result<NamespaceState> {
        unimplemented!()
    }
    async fn add_finalizer(
        &self,
        _: &ObjectId,
        _: &[String],
        _: &str,
    ) -> cluster::Result<ObjectMeta> {
        unimplemented!()
    }
    async fn release_finalizer(&self, _: &ObjectId, _: &[String], _: &str) -> cluster::Result<()> {
        unimplemented!()
    }
    async fn write_status(
        &self,
        id: &ObjectId,
        resource_version: &str,
        status: &Value,
    ) -> cluster::Result<String> {
        assert_eq!(id.uid, "uid-m");
        self.status_writes.fetch_add(1, Relaxed);
        let mut state = self.state();
        let present = state.object.metadata.resource_version.clone().unwrap();
        if present != resource_version {
            let kind = cluster::ErrorKind::Conflict;
            return Err(cluster::Error::new(kind, "the object has been modified"));
        }
        if state.writes_fail > 0 {
            state.writes_fail -= 1;
            let kind = cluster::ErrorKind::Unavailable;
            return Err(cluster::Error::new(kind, "no answer"));
        }
        // through JSON and back, as the API server keeps it
        let status: SepulkiMigrationStatus = serde_json::from_value(status.clone()).unwrap();
        let next = (present.parse::<u64>().unwrap() + 1).to_string();
        state.object.metadata.resource_version = Some(next.clone());
        state.object.status = Some(status.clone());
        state.written.push(status);
        Ok(next)
    }
}

#[async_trait]
impl crate::world::Migrations for Fake {
    async fn inspect(&self, of: Inspection<'_>) -> Result<LedgerState, RunError> {
        assert_eq!(of.holder, "team/m");
        let said = of.protection.unwrap();
        let environment = self.state().databases[0].spec.environment;
        assert_eq!(
            (said.environment.as_str(), said.is_protected),
            (environment.as_str(), false)
        );
        self.inspections.fetch_add(1, Relaxed);
        self.enter(of.target)?;
        Ok(self.state().ledger.clone())
    }

    async fn apply(
        &self,
        run: RunRequest,
        progress: UnboundedSender<Progress>,
    ) -> Result<RunReport, RunError> {
        self.runs.fetch_add(1, Relaxed);
        self.enter(&run.target)?;
        let fault = self.state().faults.pop_front();
        let todo = engine::plan(&run.bundle, &self.state().ledger, run.until.as_deref());
        if !todo.is_runnable() {
            return Err(RunError::Blocked(Box::new(todo)));
        }
        for told in std::mem::take(&mut self.state().tells) {
            let _ = progress.send(told);
        }
        let mut applied = Vec::new();
        let total = todo.pending.len();
        for (number, pending) in (1..).zip(todo.pending) {
            if let Some((at, error)) = &fault
                && *at == number
            {
                return Err(error.clone());
            }
            let version = pending.version;
            let _ = progress.send(Progress::Started {
                version: version.clone(),
                number,
                total,
                attempt: 1,
            });
            let takes = self.state().file_takes;
            tokio::select! {
                () = run.cancel.cancelled() => return Err(RunError::Cancelled),
                () = tokio::time::sleep(takes) => {}
            }
            self.clock.advance(takes.try_into().unwrap());
            let file = run.bundle.file(&version).unwrap();
            let row = LedgerRow {
                checksum: Some(file.sha256().to_owned()),
                applied_at: Some(self.clock.now()),
                version: version.clone(),
                meaning: None,
            };
            self.state().ledger.exists = true;
            self.state().ledger.rows.push(row);
            let _ = progress.send(Progress::Applied {
                version: version.clone(),
            });
            applied.push(version);
        }
        let ledger = self.state().ledger.clone();
        let plan = engine::plan(&run.bundle, &ledger, run.until.as_deref());
        Ok(RunReport {
            applied,
            ledger,
            plan,
        })
    }

    async fn verify(&self, _: &RunRequest, _: &Target) -> Result<Verification, RunError> {
        unimplemented!()
    }
}

impl NeonAccounts for Fake {
    fn open(&self, key: &SecretString) -> Arc<neon::Account> {
        assert_eq!(key.expose_secret(), "key");
        self.reveals.fetch_add(1, Relaxed);
        let state = self.state();
        Arc::new(neon::Account::new(Arc::new(OneBranch {
            password: state.password.clone(),
            served: state.served.clone(),
        })))
    }
}

/// A Neon that knows one password, and which branch a compute serves.
struct OneBranch {
    password: String,
    served: String,
}

type Answer<T> = neon::Result<T>;

#[async_trait]
impl NeonApi for OneBranch {
    async fn reveal_password(
        &self,
        project: &neon::ProjectId,
        branch: &neon::BranchId,
        role: &str,
    ) -> Answer<SecretString> {
        let asked = (project.as_str(), branch.as_str(), role);
        assert_eq!(asked, ("p-1", "br-1", "app_owner"));
        Ok(self.password.clone().into())
    }
    async fn identity(&self) -> Answer<neon::Identity> {
        unimplemented!()
    }
    async fn project(&self, _: &neon::ProjectId) -> Answer<neon::Project> {
        unimplemented!()
    }
    async fn update_project(
        &self,
        _: &neon::ProjectId,
        _: &neon::UpdateProject,
    ) -> Answer<neon::UpdatedProject> {
        unimplemented!()
    }
    async fn branches(&self, _: &neon::ProjectId) -> Answer<Vec<neon::Branch>> {
        unimplemented!()
    }
    async fn branch(
        &self,
        _: &neon::ProjectId,
        _: &neon::BranchId,
    ) -> Answer<Option<neon::Branch>> {
        unimplemented!()
    }
    async fn endpoints(&self, _: &neon::ProjectId) -> Answer<Vec<neon::Endpoint>> {
        unimplemented!()
    }
    async fn endpoint(
        &self,
        project: &neon::ProjectId,
        endpoint: &neon::EndpointId,
    ) -> Answer<Option<neon::Endpoint>> {
        assert_eq!((project.as_str(), endpoint.as_str()), ("p-1", "ep-1"));
        let found = serde_json::from_value(json!({
            "id": "ep-1", "branch_id": self.served, "host": "ep-1.example", "type": "read_write",
            "current_state": "idle", "autoscaling_limit_min_cu": 0.25, "autoscaling_limit_max_cu": 1.0,
            "suspend_timeout_seconds": 300,
        }));
        Ok(Some(found.unwrap()))
    }
    async fn create_branch(
        &self,
        _: &neon::ProjectId,
        _: &neon::CreateBranch,
    ) -> Answer<neon::CreatedBranch> {
        unimplemented!()
    }
    async fn update_branch(
        &self,
        _: &neon::ProjectId,
        _: &neon::BranchId,
        _: &neon::UpdateBranch,
    ) -> Answer<Vec<neon::Operation>> {
        unimplemented!()
    }
    async fn reset_branch(
        &self,
        _: &neon::ProjectId,
        _: &neon::BranchId,
        _: &neon::BranchId,
    ) -> Answer<Vec<neon::Operation>> {
        unimplemented!()
    }
    async fn delete_branch(
        &self,
        _: &neon::ProjectId,
        _: &neon::BranchId,
    ) -> Answer<Vec<neon::Operation>> {
        unimplemented!()
    }
    async fn delete_endpoint(
        &self,
        _: &neon::ProjectId,
        _: &neon::EndpointId,
    ) -> Answer<Vec<neon::Operation>> {
        unimplemented!()
    }
    async fn create_endpoint(
        &self,
        _: &neon::ProjectId,
        _: &neon::CreateEndpoint,
    ) -> Answer<neon::ChangedEndpoint> {
        unimplemented!()
    }
    async fn update_endpoint(
        &self,
        _: &neon::ProjectId,
        _: &neon::EndpointId,
        _: &neon::UpdateEndpoint,
    ) -> Answer<neon::ChangedEndpoint> {
        unimplemented!()
    }
    async fn roles(&self, _: &neon::ProjectId, _: &neon::BranchId) -> Answer<Vec<neon::Role>> {
        unimplemented!()
    }
    async fn create_role(
        &self,
        _: &neon::ProjectId,
        _: &neon::BranchId,
        _: &str,
    ) -> Answer<Vec<neon::Operation>> {
        unimplemented!()
    }
    async fn reset_password(
        &self,
        _: &neon::ProjectId,
        _: &neon::BranchId,
        _: &str,
    ) -> Answer<Vec<neon::Operation>> {
        unimplemented!()
    }
    async fn databases(
        &self,
        _: &neon::ProjectId,
        _: &neon::BranchId,
    ) -> Answer<Vec<neon::Database>> {
        unimplemented!()
    }
    async fn create_database(
        &self,
        _: &neon::ProjectId,
        _: &neon::BranchId,
        _: &str,
        _: &str,
    ) -> Answer<Vec<neon::Operation>> {
        unimplemented!()
    }
    async fn operation(
        &self,
        _: &neon::ProjectId,
        _: &neon::OperationId,
    ) -> Answer<neon::Operation> {
        unimplemented!()
    }
}

/// Migrations never change roles or grants.
#[async_trait]
impl Contents for Fake {
    async fn manager(&self, _: &Target, _: &[String], _: &str) -> Result<String, postgres::Error> {
        unimplemented!()
    }
    async fn retire_logins(&self, _: &Target, _: &str) -> Result<LoginsLeft, postgres::Error> {
        unimplemented!()
    }
    async fn prepare_roles(&self, _: &Target, _: &PrepareRoles) -> Result<(), postgres::Error> {
        unimplemented!()
    }
    async fn close_leftovers(&self, _: &Target, _: &PrepareRoles) -> Result<(), postgres::Error> {
        unimplemented!()
    }

    async fn prepare_database(
        &self,
        _: &Target,
        _: &PrepareDatabase,
    ) -> Result<DatabaseReport, postgres::Error> {
        unimplemented!()
    }
    async fn choose_login(
        &self,
        _: &Target,
        _: &str,
        _: &str,
        _: Option<&str>,
    ) -> Result<String, postgres::Error> {
        unimplemented!()
    }

    async fn next_login(&self, _: &Target, _: &str) -> Result<String, postgres::Error> {
        unimplemented!()
    }

    async fn drop_login(
        &self,
        _: &Target,
        _: &str,
        _: &str,
        _: &str,
    ) -> Result<(), postgres::Error> {
        unimplemented!()
    }

    async fn set_login(&self, _: &Target, _: &NewLogin) -> Result<(), postgres::Error> {
        unimplemented!()
    }
    async fn refused_settings(
        &self,
        _: &Target,
        _: &BTreeMap<String, String>,
    ) -> Result<BTreeMap<String, String>, postgres::Error> {
        unimplemented!()
    }
    async fn accepts(&self, _: &Target) -> Result<bool, postgres::Error> {
        unimplemented!()
    }
}
