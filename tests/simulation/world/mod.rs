//! The world in memory: Kubernetes, Neon and PostgreSQL, virtual time, and faults at every effect.
//!
//! | file | what |
//! |---|---|
//! | `kubernetes`, `neon`, `postgres` | the three systems, as they behave |
//! | `ports`, `inside` | the operator's ports onto them |
//! | `faults`, `trouble` | effect boundaries, and how Neon goes wrong at them |
//! | `objects` | the objects of one kind, and what the watch has told of them |
//! | `operator`, `agenda` | one process of the operator: passes, memory, when to look again |
//! | `bustle` | the same under load, with time that flows |
//!
//! Nothing sleeps and nothing is random: the same test does the same every time.

mod agenda;
mod bustle;
pub mod faults;
mod inside;
pub mod kubernetes;
pub mod neon;
mod objects;
pub mod operator;
mod ports;
pub mod postgres;
pub mod trouble;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use sepulki::clock::{Clock, ManualClock, monotonic};
use sepulki::cluster::{NamespaceState, ObjectId};
use sepulki::neon::ProjectId;
use sepulki::reconcile::BranchLocks;
use sepulki::telemetry::Metrics;
use sepulki::world::{Settings, World};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use faults::Faults;
use inside::{ContentsPort, FAILS, MigrationsPort};
use kubernetes::{Key, Kubernetes, key};
use neon::{Neon, Project};
use ports::{AccountsPort, ClusterPort};

pub const NAMESPACE: &str = "team";
pub const PROJECT: &str = "quiet-sea-1";
pub const API_KEY: &str = "napi-very-secret";

/// More ids than any project hands out.
const IDS_OF_ONE: usize = 1_000_000;

/// How often settled objects are looked at.
const INTERVAL: Duration = Duration::from_mins(1);

/// The world.
pub struct Sim {
    pub clock: ManualClock,
    pub faults: Faults,
    state: Mutex<State>,
    /// Since when time flows by itself; it stands still otherwise, but for [`Sim::advance`].
    flows_since: Option<Instant>,
}

/// Everything in it.
#[derive(Clone, Default)]
pub struct State {
    pub kubernetes: Kubernetes,
    pub neon: Neon,
    /// Sessions opened.
    pub sessions: usize,
    /// Passwords that the operator made up.
    pub passwords: Vec<String>,
    /// Everything the operator said: statuses, events, errors.
    pub said: String,
    /// Effects on a branch while a migration was at work on it.
    pub disturbed: Vec<String>,
    /// What was left of a branch when the finalizer of its object was released.
    pub released: Vec<Released>,
}

/// A finalizer that was released, and what of the object was still there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Released {
    pub object: String,
    pub branches: Vec<String>,
    pub secrets: Vec<String>,
}

impl Sim {
    /// One namespace with a good key, one project with its default branch.
    pub fn new() -> Arc<Self> {
        Arc::new(Self::still())
    }

    /// The same, where time flows by itself, as fast as everybody waits, and the operator's calls to Neon are paced as they
    /// are in earnest.
    pub fn flowing() -> Arc<Self> {
        Arc::new(Self {
            flows_since: Some(monotonic()),
            ..Self::still()
        })
    }

    fn still() -> Self {
        let now = Timestamp::from_millisecond(1_800_000_000_250).unwrap();
        let sim = Self {
            clock: ManualClock::new(now),
            faults: Faults::default(),
            state: Mutex::default(),
            flows_since: None,
        };
        {
            let mut state = sim.lock();
            let namespaces = &mut state.kubernetes.namespaces;
            namespaces.insert(NAMESPACE.to_owned(), NamespaceState::Active);
            let labels = &mut state.kubernetes.labels;
            labels.insert(NAMESPACE.to_owned(), BTreeMap::new());
            let key = [("apiKey", API_KEY)];
            state
                .kubernetes
                .foreign_secret(NAMESPACE, "neon-api-key", &key);
        }
        sim.neon_project(PROJECT);
        sim
    }

    /// Another project on Neon for the good key, with its default branch.
    pub fn neon_project(&self, id: &str) {
        let made = self.now() - SignedDuration::from_hours(1);
        let mut state = self.lock();
        let seen = state.neon.keys.entry(API_KEY.to_owned()).or_default();
        seen.insert(ProjectId::from(id));
        let project = Project::new(state.neon.projects.len() * IDS_OF_ONE, made);
        state.neon.projects.insert(ProjectId::from(id), project);
    }

    /// A world of its own that is just like this one.
    pub fn fork(&self) -> Arc<Self> {
        Arc::new(Self {
            clock: ManualClock::new(self.now()),
            faults: Faults::default(),
            state: Mutex::new(self.lock().clone()),
            flows_since: self.flows_since.map(|_| monotonic()),
        })
    }

    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn now(&self) -> Timestamp {
        let flown = self.flows_since.map(|since| since.elapsed());
        let flown = SignedDuration::try_from(flown.unwrap_or_default()).unwrap();
        self.clock.now() + flown
    }

    /// Lets time pass, for the operator's own waiting too.
    pub async fn advance(&self, by: SignedDuration) {
        self.clock.advance(by);
        tokio::time::advance(Duration::try_from(by).unwrap_or_default()).await;
        let now = self.now();
        self.lock().neon.tick(now);
    }

    /// The world as one process of the operator sees it.
    fn world(self: &Arc<Self>) -> World {
        World {
            cluster: Arc::new(ClusterPort::new(self)),
            neon: Arc::new(AccountsPort::new(self)),
            contents: Arc::new(ContentsPort(Arc::clone(self))),
            migrations: Arc::new(MigrationsPort(Arc::clone(self))),
            locks: BranchLocks::default(),
            clock: Arc::new(Time(Arc::clone(self))),
            metrics: Metrics::new(),
            stopping: CancellationToken::new(),
            settings: Arc::new(Settings {
                installation: "default".to_owned(),
                postgres_port: 5432,
                certificate_authority: None,
                snapshot_interval: INTERVAL,
            }),
        }
    }
}

struct Time(Arc<Sim>);

impl Clock for Time {
    fn now(&self) -> Timestamp {
        self.0.now()
    }
}

/// What people do to objects.
impl Sim {
    /// Makes a namespace.
    pub fn namespace(&self, name: &str, labels: &[(&str, &str)]) {
        let labels = labels
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        let mut state = self.lock();
        let kubernetes = &mut state.kubernetes;
        let active = NamespaceState::Active;
        kubernetes.namespaces.insert(name.to_owned(), active);
        kubernetes.labels.insert(name.to_owned(), labels.collect());
    }

    /// Applies a NeonProject whose key is the one in the first namespace.
    pub fn project(&self, name: &str, spec: Value) {
        let mut whole = json!({"projectId": PROJECT, "apiKeySecretRef": {"namespace": NAMESPACE}});
        extend(&mut whole, spec);
        let object = sepulki::api::NeonProject::new(name, serde_json::from_value(whole).unwrap());
        let now = self.now();
        let mut state = self.lock();
        let object = state.kubernetes.create(object, now);
        state.kubernetes.projects.insert(key("", name), object);
    }

    /// Changes a NeonProject's spec.
    pub fn edit_project(&self, name: &str, change: impl FnOnce(&mut sepulki::api::NeonProject)) {
        let mut state = self.lock();
        let kubernetes = &mut state.kubernetes;
        let mut object = kubernetes.projects.remove(&key("", name)).unwrap();
        change(&mut object);
        kubernetes.edited(&mut object);
        kubernetes.projects.insert(key("", name), object);
    }

    /// A NeonProject as the API server has it.
    pub fn get_project(&self, name: &str) -> Option<sepulki::api::NeonProject> {
        let state = self.lock();
        state.kubernetes.projects.get(&key("", name)).cloned()
    }

    /// Applies a NeonDatabase.
    pub fn database(&self, name: &str, environment: &str, spec: Value) {
        let mut whole = json!({"projectId": PROJECT});
        extend(&mut whole, spec);
        self.database_in(NAMESPACE, name, environment, whole);
    }

    /// Applies a NeonDatabase in a namespace.
    pub fn database_in(&self, namespace: &str, name: &str, environment: &str, spec: Value) {
        let mut whole = json!({"environment": environment});
        extend(&mut whole, spec);
        let mut object =
            sepulki::api::NeonDatabase::new(name, serde_json::from_value(whole).unwrap());
        object.metadata.namespace = Some(namespace.to_owned());
        let now = self.now();
        let mut state = self.lock();
        let object = state.kubernetes.create(object, now);
        state
            .kubernetes
            .databases
            .insert(key(namespace, name), object);
    }

    /// Applies a SepulkiMigration of the files in the ConfigMap `schema`.
    pub fn migration(&self, name: &str, spec: Value) {
        let mut whole = json!({
            "databaseRef": {"name": name},
            "source": {"configMaps": {"refs": [{"name": "schema"}]}},
        });
        extend(&mut whole, spec);
        let mut object =
            sepulki::api::SepulkiMigration::new(name, serde_json::from_value(whole).unwrap());
        object.metadata.namespace = Some(NAMESPACE.to_owned());
        let now = self.now();
        let mut state = self.lock();
        let object = state.kubernetes.create(object, now);
        state
            .kubernetes
            .migrations
            .insert(key(NAMESPACE, name), object);
    }

    /// Writes the ConfigMap `schema`.
    pub fn files(&self, files: &[(&str, &str)]) {
        let entries = files
            .iter()
            .map(|(name, sql)| ((*name).to_owned(), sql.as_bytes().to_vec()));
        let mut state = self.lock();
        let maps = &mut state.kubernetes.config_maps;
        maps.insert(key(NAMESPACE, "schema"), entries.collect());
    }

    /// Changes a NeonDatabase's spec.
    pub fn edit_database(&self, name: &str, change: impl FnOnce(&mut sepulki::api::NeonDatabase)) {
        let mut state = self.lock();
        let kubernetes = &mut state.kubernetes;
        let mut object = kubernetes.databases.remove(&key(NAMESPACE, name)).unwrap();
        change(&mut object);
        kubernetes.edited(&mut object);
        kubernetes.databases.insert(key(NAMESPACE, name), object);
    }

    /// Annotates a NeonDatabase.
    pub fn annotate_database(&self, name: &str, annotation: &str, value: &str) {
        let mut state = self.lock();
        let kubernetes = &mut state.kubernetes;
        let mut object = kubernetes.databases.remove(&key(NAMESPACE, name)).unwrap();
        let annotations = object.metadata.annotations.get_or_insert_default();
        annotations.insert(annotation.to_owned(), value.to_owned());
        kubernetes.annotated(&mut object);
        kubernetes.databases.insert(key(NAMESPACE, name), object);
    }

    /// Changes a SepulkiMigration's spec.
    pub fn edit_migration(
        &self,
        name: &str,
        change: impl FnOnce(&mut sepulki::api::SepulkiMigration),
    ) {
        let mut state = self.lock();
        let kubernetes = &mut state.kubernetes;
        let mut object = kubernetes.migrations.remove(&key(NAMESPACE, name)).unwrap();
        change(&mut object);
        kubernetes.edited(&mut object);
        kubernetes.migrations.insert(key(NAMESPACE, name), object);
    }

    /// Puts a label on a SepulkiMigration.
    pub fn label_migration(&self, name: &str, label: &str, value: &str) {
        let mut state = self.lock();
        let kubernetes = &mut state.kubernetes;
        let mut object = kubernetes.migrations.remove(&key(NAMESPACE, name)).unwrap();
        let labels = object.metadata.labels.get_or_insert_default();
        labels.insert(label.to_owned(), value.to_owned());
        kubernetes.annotated(&mut object);
        kubernetes.migrations.insert(key(NAMESPACE, name), object);
    }

    pub fn delete_migration(&self, name: &str) {
        let now = self.now();
        self.lock()
            .kubernetes
            .delete_migration(&key(NAMESPACE, name), now);
    }

    pub fn delete_database(&self, name: &str) {
        let now = self.now();
        self.lock()
            .kubernetes
            .delete_database(&key(NAMESPACE, name), now);
    }

    /// Somebody deletes it in the foreground, as Argo CD prunes: what it owns goes first.
    pub fn delete_database_in_foreground(&self, name: &str) {
        let uid = self.get_database(name).and_then(|o| o.metadata.uid);
        self.lock().kubernetes.collect(uid.as_deref());
        self.delete_database(name);
    }

    /// A NeonDatabase as the API server has it.
    pub fn get_database(&self, name: &str) -> Option<sepulki::api::NeonDatabase> {
        self.get_database_in(NAMESPACE, name)
    }

    /// A NeonDatabase of a namespace as the API server has it.
    pub fn get_database_in(
        &self,
        namespace: &str,
        name: &str,
    ) -> Option<sepulki::api::NeonDatabase> {
        let state = self.lock();
        state
            .kubernetes
            .databases
            .get(&key(namespace, name))
            .cloned()
    }

    /// A SepulkiMigration as the API server has it.
    pub fn get_migration(&self, name: &str) -> Option<sepulki::api::SepulkiMigration> {
        self.lock()
            .kubernetes
            .migrations
            .get(&key(NAMESPACE, name))
            .cloned()
    }

    /// Contents of a Secret.
    pub fn secret(&self, name: &str) -> Option<BTreeMap<String, String>> {
        let state = self.lock();
        let stored = state.kubernetes.secrets.get(&key(NAMESPACE, name))?;
        let data = stored.secret.data.clone().unwrap_or_default();
        let text = |(k, v): (String, k8s_openapi::ByteString)| (k, String::from_utf8(v.0).unwrap());
        Some(data.into_iter().map(text).collect())
    }

    /// Changes a Secret, as somebody with an editor would.
    pub fn edit_secret(&self, name: &str, entry: &str, value: &str) {
        let mut state = self.lock();
        let stored = state
            .kubernetes
            .secrets
            .get_mut(&key(NAMESPACE, name))
            .unwrap();
        let data = stored.secret.data.get_or_insert_default();
        let bytes = k8s_openapi::ByteString(value.as_bytes().to_vec());
        data.insert(entry.to_owned(), bytes);
    }

    /// Names of the project's branches.
    pub fn branch_names(&self) -> Vec<String> {
        self.at_neon(|project, _| {
            project
                .branches
                .iter()
                .map(|b| b.branch.name.clone())
                .collect()
        })
    }

    /// Does something to the project outside of the operator.
    pub fn at_neon<T>(&self, work: impl FnOnce(&mut Project, Timestamp) -> T) -> T {
        let now = self.now();
        let mut state = self.lock();
        work(
            state
                .neon
                .projects
                .get_mut(&ProjectId::from(PROJECT))
                .unwrap(),
            now,
        )
    }
}

fn extend(whole: &mut Value, spec: Value) {
    if let (Some(whole), Value::Object(spec)) = (whole.as_object_mut(), spec) {
        whole.extend(spec);
    }
}

impl State {
    /// Keeps what the operator says.
    pub fn say(&mut self, text: &str) {
        self.said.push_str(text);
        self.said.push('\n');
    }

    /// Whether a migration file is one that fails.
    fn fails(&self, sha256: &str) -> bool {
        self.text_of(sha256).contains(FAILS)
    }

    /// The text of a migration file; empty for one that is in no ConfigMap.
    fn text_of(&self, sha256: &str) -> String {
        let maps = self.kubernetes.config_maps.values();
        let file = maps
            .flat_map(BTreeMap::values)
            .find(|bytes| hex::encode(Sha256::digest(bytes)) == sha256);
        file.map(|bytes| String::from_utf8_lossy(bytes).into_owned())
            .unwrap_or_default()
    }

    /// Remembers that something else than a migration is done to a branch on which one is at work.
    fn touch(&mut self, host: &str, what: &str) {
        let branch = self.neon.at_host(host);
        if branch.is_some_and(|b| b.server.databases.values().any(|d| d.locked)) {
            self.disturbed.push(what.to_owned());
        }
    }

    /// Remembers what of an object is still there while its finalizer goes.
    fn witness_release(&mut self, id: &ObjectId) {
        let namespace = id.namespace.clone().unwrap_or_default();
        let marked = |b: &neon::SimBranch| {
            let note = |key: &str| b.branch.annotations.get(key).map(String::as_str);
            let is_scratch = note("sepulki-purpose").is_some();
            note("sepulki-namespace") == Some(&namespace)
                && note("sepulki-name") == Some(&id.name)
                && is_scratch == (id.resource.kind == "SepulkiMigration")
        };
        let branches = self.neon.projects.values().flat_map(|p| &p.branches);
        let branches = branches
            .filter(|b| marked(b))
            .map(|b| b.branch.name.clone())
            .collect();
        let mine = |(key, stored): (&Key, &kubernetes::StoredSecret)| {
            let owners = stored.secret.metadata.owner_references.as_ref()?;
            let owned = owners.iter().any(|owner| owner.uid == id.uid);
            owned.then(|| key.1.clone())
        };
        let secrets = self.kubernetes.secrets.iter().filter_map(mine).collect();
        self.released.push(Released {
            object: id.name.clone(),
            branches,
            secrets,
        });
    }
}
