//! The operator's ports onto the world in memory. One set per process: what a process knows dies with it.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use secrecy::{ExposeSecret, SecretString};
use sepulki::api::{NeonDatabase, NeonProject, SepulkiMigration};
use sepulki::cluster::{
    Freshness, Glance, KeyRead, KeyRef, NamespaceState, ObjectId, SecretReads, SecretSource,
};
use sepulki::neon::{
    Account, Branch, BranchId, ChangedEndpoint, CreateBranch, CreateEndpoint, CreatedBranch,
    Database, Endpoint, EndpointId, Identity, Manners, NeonAccounts, NeonApi, Operation,
    OperationId, Pacing, Project, ProjectId, Rank, Role, TakenOn, UpdateBranch, UpdateEndpoint,
    UpdateProject, UpdatedProject,
};
use sepulki::world::Cluster;
use serde_json::Value;

use super::faults::{Fault, On};
use super::kubernetes::key;
use super::neon::{self, not_found};
use super::{Sim, State};

/// Reads of Secrets go through the operator's own rationing.
#[derive(Clone)]
struct Source(Arc<Sim>);

impl SecretSource for Source {
    async fn secret(
        &self,
        namespace: &str,
        name: &str,
    ) -> sepulki::cluster::Result<Option<Secret>> {
        let read = || {
            let state = self.0.lock();
            let found = state.kubernetes.secrets.get(&key(namespace, name));
            Ok(found.map(|stored| stored.secret.clone()))
        };
        self.0.faults.look(read).await
    }
}

/// Kubernetes, as one process sees it.
pub struct ClusterPort {
    sim: Arc<Sim>,
    secrets: SecretReads<Source>,
}

impl ClusterPort {
    pub fn new(sim: &Arc<Sim>) -> Self {
        Self {
            sim: Arc::clone(sim),
            secrets: SecretReads::new(Source(Arc::clone(sim))),
        }
    }

    /// A change of an object that the operator watches.
    async fn watched<T>(
        &self,
        what: String,
        work: impl FnOnce(&mut State) -> sepulki::cluster::Result<T>,
    ) -> sepulki::cluster::Result<T> {
        let call = |_, fault| {
            let mut state = self.sim.lock();
            if fault == Some(Fault::StaleRead) {
                state.kubernetes.hold_back_watch();
            }
            work(&mut state)
        };
        self.sim.faults.effect_on(On::Watched, what, call).await
    }
}

#[async_trait]
impl Cluster for ClusterPort {
    fn projects(&self) -> Vec<Arc<NeonProject>> {
        let state = self.sim.lock();
        state
            .kubernetes
            .projects
            .watched()
            .values()
            .cloned()
            .collect()
    }

    fn namespace_labels(&self, namespace: &str) -> Option<BTreeMap<String, String>> {
        let state = self.sim.lock();
        state.kubernetes.watched_labels.get(namespace).cloned()
    }

    fn databases(&self) -> Vec<Arc<NeonDatabase>> {
        let state = self.sim.lock();
        state
            .kubernetes
            .databases
            .watched()
            .values()
            .cloned()
            .collect()
    }

    fn migrations(&self) -> Vec<Arc<SepulkiMigration>> {
        let state = self.sim.lock();
        state
            .kubernetes
            .migrations
            .watched()
            .values()
            .cloned()
            .collect()
    }

    async fn api_key(
        &self,
        at: &KeyRef,
        freshness: Freshness,
    ) -> sepulki::cluster::Result<KeyRead> {
        self.secrets.key(at, freshness).await
    }

    fn remember_good_key(&self, at: &KeyRef, key: &SecretString) {
        self.secrets.remember_good(at, key);
    }

    fn last_good_key(&self, at: &KeyRef) -> Option<SecretString> {
        self.secrets.last_good(at)
    }

    async fn secret(
        &self,
        namespace: &str,
        name: &str,
    ) -> sepulki::cluster::Result<Option<Secret>> {
        self.secrets.published(namespace, name).await
    }

    async fn glance_at_secret(
        &self,
        namespace: &str,
        name: &str,
    ) -> sepulki::cluster::Result<Glance> {
        self.secrets.glance(namespace, name).await
    }

    async fn apply_secret(&self, secret: &Secret) -> sepulki::cluster::Result<()> {
        let name = secret.metadata.name.clone().unwrap_or_default();
        let work = || self.sim.lock().kubernetes.apply_secret(secret);
        self.sim
            .faults
            .effect(format!("apply Secret {name}"), work)
            .await
    }

    async fn delete_secret(
        &self,
        namespace: &str,
        name: &str,
        uid: &str,
    ) -> sepulki::cluster::Result<()> {
        let work = || {
            self.sim
                .lock()
                .kubernetes
                .delete_secret(namespace, name, uid)
        };
        self.sim
            .faults
            .effect(format!("delete Secret {name}"), work)
            .await
    }

    async fn config_map(
        &self,
        namespace: &str,
        name: &str,
    ) -> sepulki::cluster::Result<Option<BTreeMap<String, Vec<u8>>>> {
        let key = key(namespace, name);
        let read = || Ok(self.sim.lock().kubernetes.config_maps.get(&key).cloned());
        self.sim.faults.look(read).await
    }

    async fn namespace(&self, name: &str) -> sepulki::cluster::Result<NamespaceState> {
        let read = || Ok(self.sim.lock().kubernetes.namespace(name));
        self.sim.faults.look(read).await
    }

    async fn add_finalizer(
        &self,
        id: &ObjectId,
        present: &[String],
        finalizer: &str,
    ) -> sepulki::cluster::Result<ObjectMeta> {
        let work = |state: &mut State| state.kubernetes.add_finalizer(id, present, finalizer);
        self.watched(format!("add finalizer to {id}"), work).await
    }

    async fn release_finalizer(
        &self,
        id: &ObjectId,
        present: &[String],
        finalizer: &str,
    ) -> sepulki::cluster::Result<()> {
        let work = |state: &mut State| {
            state.witness_release(id);
            state.kubernetes.release_finalizer(id, present, finalizer)
        };
        self.watched(format!("release finalizer of {id}"), work)
            .await
    }

    async fn write_status(
        &self,
        id: &ObjectId,
        resource_version: &str,
        status: &Value,
    ) -> sepulki::cluster::Result<String> {
        let work = |state: &mut State| {
            state.say(&status.to_string());
            state.kubernetes.write_status(id, resource_version, status)
        };
        self.watched(format!("write status of {id}"), work).await
    }
}

/// Neon's accounts, as one process knows them.
pub struct AccountsPort {
    sim: Arc<Sim>,
    /// None where nobody waits for a turn.
    manners: Option<Manners>,
    open: Mutex<HashMap<String, Arc<Account>>>,
}

impl AccountsPort {
    pub fn new(sim: &Arc<Sim>) -> Self {
        Self {
            sim: Arc::clone(sim),
            manners: sim.flows_since.map(|_| Manners::default()),
            open: Mutex::default(),
        }
    }
}

impl NeonAccounts for AccountsPort {
    fn open(&self, key: &SecretString) -> Arc<Account> {
        let key = key.expose_secret().to_owned();
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let account = open.entry(key.clone()).or_insert_with(|| {
            let sim = Arc::clone(&self.sim);
            let pacing = self.manners.as_ref().map(Manners::of_a_key);
            Arc::new(Account::new(Arc::new(NeonPort { sim, key, pacing })))
        });
        Arc::clone(account)
    }
}

/// Neon through one key.
struct NeonPort {
    sim: Arc<Sim>,
    key: String,
    pacing: Option<Pacing>,
}

impl NeonPort {
    /// A call that changes something: refused while operations run.
    async fn mutate<T: TakenOn + Send>(
        &self,
        project: &ProjectId,
        what: String,
        work: impl Fn(&mut neon::Project, Timestamp) -> sepulki::neon::Result<T> + Send + Sync,
    ) -> sepulki::neon::Result<T> {
        let attempt = |_| self.try_to(project, &what, &work);
        match &self.pacing {
            Some(pacing) => pacing.mutate(project, rank(&what), attempt).await,
            None => attempt(Duration::ZERO).await,
        }
    }

    async fn try_to<T>(
        &self,
        project: &ProjectId,
        what: &str,
        work: impl Fn(&mut neon::Project, Timestamp) -> sepulki::neon::Result<T>,
    ) -> sepulki::neon::Result<T> {
        let call = |number, fault: Option<Fault>| {
            let now = self.sim.now();
            let mut state = self.sim.lock();
            state.neon.tick(now);
            state.neon.calls.attempts += 1;
            let project = state.neon.project(&self.key, project)?;
            project.before(fault, now)?;
            let fault = fault.or_else(|| project.keeps_failing(what));
            let before = fault.map(|_| project.clone());
            let running = project.operations.len();
            let result = project.unlocked(now).and_then(|()| work(project, now));
            if let Err(error) = &result {
                let refused = (what.to_owned(), error.kind);
                state.neon.calls.refused.push(refused);
            } else {
                if let Some(work) = project.works_on(running) {
                    self.sim.faults.goes_on_working(number, work);
                }
                if let (Some(fault), Some(before)) = (fault, before) {
                    project.after(fault, before, now);
                }
                state.neon.calls.mutations.push(what.to_owned());
            }
            result
        };
        let on = On::Neon { works_on: None };
        self.sim.faults.effect_on(on, what.to_owned(), call).await
    }

    async fn look<T: Send>(
        &self,
        project: &ProjectId,
        route: &'static str,
        work: impl Fn(&mut neon::Project, Timestamp) -> sepulki::neon::Result<T> + Send + Sync,
    ) -> sepulki::neon::Result<T> {
        let call = || {
            let now = self.sim.now();
            let mut state = self.sim.lock();
            state.neon.tick(now);
            let calls = &mut state.neon.calls;
            calls.attempts += 1;
            *calls.by_route.entry(route).or_default() += 1;
            if matches!(route, BRANCHES | ENDPOINTS) {
                calls.listings += 1;
                calls.listed.entry(project.clone()).or_default().push(now);
            } else {
                calls.looks += 1;
            }
            state.neon.is_in_order(route)?;
            work(state.neon.project(&self.key, project)?, now)
        };
        let attempt = |_| self.sim.faults.look(call);
        match &self.pacing {
            Some(pacing) => pacing.read(attempt).await,
            None => attempt(Duration::ZERO).await,
        }
    }
}

/// As the client ranks its calls.
fn rank(what: &str) -> Rank {
    if what.starts_with("delete ") || what.starts_with("create branch ") {
        Rank::First
    } else {
        Rank::Change
    }
}

const BRANCHES: &str = "branches";
const ENDPOINTS: &str = "endpoints";

#[async_trait]
impl NeonApi for NeonPort {
    async fn identity(&self) -> sepulki::neon::Result<Identity> {
        let call = || {
            let neon = &mut self.sim.lock().neon;
            neon.is_in_order("identity")?;
            neon.identity(&self.key)
        };
        let identity = self.sim.faults.look(call).await;
        if let (Some(pacing), Ok(identity)) = (&self.pacing, &identity) {
            pacing.belongs_to(&identity.account_id);
        }
        identity
    }

    async fn project(&self, project: &ProjectId) -> sepulki::neon::Result<Project> {
        self.look(project, "project", |found, _| Ok(found.view(project)))
            .await
    }

    async fn update_project(
        &self,
        project: &ProjectId,
        update: &UpdateProject,
    ) -> sepulki::neon::Result<UpdatedProject> {
        self.mutate(
            project,
            format!("update project {project}"),
            |found, now| {
                found.set(update)?;
                Ok(UpdatedProject {
                    project: found.view(project),
                    operations: found.operation("apply_config", now),
                })
            },
        )
        .await
    }

    async fn branches(&self, project: &ProjectId) -> sepulki::neon::Result<Vec<Branch>> {
        self.look(project, BRANCHES, |p, now| Ok(p.list_branches(now)))
            .await
    }

    async fn branch(
        &self,
        project: &ProjectId,
        branch: &BranchId,
    ) -> sepulki::neon::Result<Option<Branch>> {
        self.look(project, "branch", |p, now| {
            Ok(p.find(branch).ok().map(|found| found.told(now)))
        })
        .await
    }

    async fn endpoints(&self, project: &ProjectId) -> sepulki::neon::Result<Vec<Endpoint>> {
        self.look(project, ENDPOINTS, |p, now| Ok(p.list_endpoints(now)))
            .await
    }

    async fn endpoint(
        &self,
        project: &ProjectId,
        endpoint: &EndpointId,
    ) -> sepulki::neon::Result<Option<Endpoint>> {
        self.look(project, "endpoint", |p, now| {
            let all = p.endpoints(now);
            Ok(all.into_iter().find(|found| found.id == *endpoint))
        })
        .await
    }

    async fn create_branch(
        &self,
        project: &ProjectId,
        body: &CreateBranch,
    ) -> sepulki::neon::Result<CreatedBranch> {
        self.mutate(project, format!("create branch {}", body.name), |p, now| {
            p.has_past(body.at.as_ref(), now)?;
            let annotations = body.annotations.clone();
            let id = p.create_branch(&body.name, &body.parent_id, annotations, now)?;
            let update = UpdateBranch {
                protected: Some(body.protected),
                expires_at: Some(body.expires_at),
                ..UpdateBranch::default()
            };
            let set = p.set_branch(&id, &update, now);
            if let Err(refused) = set {
                p.branches.retain(|b| b.branch.id != id);
                return Err(refused);
            }
            if body.at.is_some() {
                p.with_passwords_of_then(&id);
            }
            if let Err(refused) = p.create_endpoint(&id, &body.endpoint, now) {
                p.branches.retain(|b| b.branch.id != id);
                return Err(refused);
            }
            let endpoint = p.told(&id, now);
            let mut operations = p.operation("create_branch", now);
            operations.extend(endpoint.iter().flat_map(|made| p.start_new(made, now)));
            Ok(CreatedBranch {
                branch: p.find(&id)?.told(now),
                endpoint,
                operations,
            })
        })
        .await
    }

    async fn update_branch(
        &self,
        project: &ProjectId,
        branch: &BranchId,
        update: &UpdateBranch,
    ) -> sepulki::neon::Result<Vec<Operation>> {
        self.mutate(project, format!("update branch {branch}"), |p, now| {
            p.set_branch(branch, update, now)?;
            Ok(Vec::new())
        })
        .await
    }

    async fn reset_branch(
        &self,
        project: &ProjectId,
        branch: &BranchId,
        parent: &BranchId,
    ) -> sepulki::neon::Result<Vec<Operation>> {
        self.mutate(project, format!("reset branch {branch}"), |p, now| {
            p.may_be_reset(branch, parent)?;
            p.reset_to_parent(branch, now);
            Ok(p.operation("create_branch", now))
        })
        .await
    }

    async fn delete_branch(
        &self,
        project: &ProjectId,
        branch: &BranchId,
    ) -> sepulki::neon::Result<Vec<Operation>> {
        self.mutate(project, format!("delete branch {branch}"), |p, now| {
            let deleted = p.delete_branch(branch)?;
            Ok(if deleted {
                p.operation("delete_timeline", now)
            } else {
                Vec::new()
            })
        })
        .await
    }

    async fn create_endpoint(
        &self,
        project: &ProjectId,
        body: &CreateEndpoint,
    ) -> sepulki::neon::Result<ChangedEndpoint> {
        self.mutate(
            project,
            format!("create endpoint of {}", body.branch_id),
            |p, now| {
                let (branch, compute) = (&body.branch_id, &body.compute);
                let endpoint = if let Some(name) = &body.replica {
                    Some(p.create_replica(branch, compute, name, now)?)
                } else {
                    p.create_endpoint(branch, compute, now)?;
                    p.told(branch, now)
                };
                Ok(ChangedEndpoint {
                    endpoint,
                    operations: p.operation("start_compute", now),
                })
            },
        )
        .await
    }

    async fn update_endpoint(
        &self,
        project: &ProjectId,
        endpoint: &EndpointId,
        update: &UpdateEndpoint,
    ) -> sepulki::neon::Result<ChangedEndpoint> {
        self.mutate(project, format!("update endpoint {endpoint}"), |p, now| {
            let plan = p.plan.clone();
            let found = p.endpoint_with(endpoint)?;
            plan.give(found, update)?;
            let endpoint = found.clone();
            let operations = p.operation("apply_config", now);
            p.start(&endpoint);
            Ok(ChangedEndpoint {
                endpoint: Some(endpoint),
                operations,
            })
        })
        .await
    }

    async fn delete_endpoint(
        &self,
        project: &ProjectId,
        endpoint: &EndpointId,
    ) -> sepulki::neon::Result<Vec<Operation>> {
        self.mutate(project, format!("delete endpoint {endpoint}"), |p, now| {
            Ok(if p.delete_replica(endpoint) {
                p.operation("suspend_compute", now)
            } else {
                Vec::new()
            })
        })
        .await
    }

    async fn roles(
        &self,
        project: &ProjectId,
        branch: &BranchId,
    ) -> sepulki::neon::Result<Vec<Role>> {
        self.look(project, "roles", |p, _| {
            let branch = p.find(branch)?;
            let role = |name: &String| Role {
                name: name.clone(),
                protected: None,
                updated_at: None,
            };
            // those that were made by SQL are among them
            Ok(branch.server.roles.keys().map(role).collect())
        })
        .await
    }

    async fn create_role(
        &self,
        project: &ProjectId,
        branch: &BranchId,
        name: &str,
    ) -> sepulki::neon::Result<Vec<Operation>> {
        self.mutate(
            project,
            format!("create role {name} on {branch}"),
            |p, now| {
                p.create_role(branch, name, now)?;
                Ok(p.operation("apply_config", now))
            },
        )
        .await
    }

    async fn reveal_password(
        &self,
        project: &ProjectId,
        branch: &BranchId,
        role: &str,
    ) -> sepulki::neon::Result<SecretString> {
        self.look(project, "reveal_password", |p, _| {
            if p.stores_no_passwords {
                let message = "project does not store passwords";
                let kind = sepulki::neon::ErrorKind::PasswordsNotStored;
                return Err(neon::error(kind, Some(412), message));
            }
            let password = p.find(branch)?.roles.get(role).cloned();
            password
                .map(SecretString::from)
                .ok_or_else(|| not_found("role"))
        })
        .await
    }

    async fn reset_password(
        &self,
        project: &ProjectId,
        branch: &BranchId,
        role: &str,
    ) -> sepulki::neon::Result<Vec<Operation>> {
        self.mutate(
            project,
            format!("reset password of {role} on {branch}"),
            |p, now| {
                if !p.find(branch)?.roles.contains_key(role) {
                    return Err(not_found("role"));
                }
                p.give_password(branch, role, now);
                Ok(p.operation("apply_config", now))
            },
        )
        .await
    }

    async fn databases(
        &self,
        project: &ProjectId,
        branch: &BranchId,
    ) -> sepulki::neon::Result<Vec<Database>> {
        self.look(project, "databases", |p, _| {
            let databases = &p.find(branch)?.server.databases;
            let database = |(name, found): (&String, &super::postgres::PgDatabase)| Database {
                name: name.clone(),
                owner_name: found.owner.clone(),
            };
            Ok(databases.iter().map(database).collect())
        })
        .await
    }

    async fn create_database(
        &self,
        project: &ProjectId,
        branch: &BranchId,
        name: &str,
        owner: &str,
    ) -> sepulki::neon::Result<Vec<Operation>> {
        self.mutate(
            project,
            format!("create database {name} on {branch}"),
            |p, now| {
                neon::is_allowed("database", name)?;
                let found = p.find(branch)?;
                if !found.roles.contains_key(owner) {
                    return Err(not_found("role"));
                }
                if found.server.databases.contains_key(name) {
                    let message = format!("database with name \"{name}\" already exists");
                    let kind = sepulki::neon::ErrorKind::Conflict;
                    return Err(neon::error(kind, Some(409), &message));
                }
                found.server.add_database(name, owner);
                Ok(p.operation("apply_config", now))
            },
        )
        .await
    }

    async fn operation(
        &self,
        project: &ProjectId,
        operation: &OperationId,
    ) -> sepulki::neon::Result<Operation> {
        let ask = |p: &mut neon::Project, now| p.ask_operation(operation, now);
        let told = self.look(project, "operation", ask).await;
        if let Some(pacing) = &self.pacing {
            pacing.heard(project, operation, &told);
        }
        told
    }
}
