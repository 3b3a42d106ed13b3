//! One client and one set of listings per API key; one call budget per account.
//!
//! Objects that name the same key share both; objects with different keys share nothing they have read. Keys that Neon
//! says are of one account share its budget.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use tokio::sync::OnceCell;

use super::client::Client;
use super::transport::Transport;
use super::{
    Branch, BranchId, CallObserver, ChangedEndpoint, ClientSettings, CreateBranch, CreateEndpoint,
    CreatedBranch, Database, Endpoint, EndpointId, ErrorKind, Identity, Manners, NeonApi,
    Operation, OperationId, Project, ProjectId, ProjectSnapshot, Result, Role, SetupError,
    Snapshots, UpdateBranch, UpdateEndpoint, UpdateProject, UpdatedProject,
};
use crate::clock::age;

/// What one API key gives access to.
pub struct Account {
    /// Neon, as this key reaches it. Its mutations make the listings of their project stale.
    pub api: Arc<dyn NeonApi>,
    /// The listings read with this key.
    pub snapshots: Snapshots,
    identity: OnceCell<Option<Identity>>,
    /// When nobody told whose the key is, to those who can do without.
    asked_in_vain: Mutex<Option<Timestamp>>,
}

/// How long it is left at that.
const IN_VAIN: SignedDuration = SignedDuration::from_mins(10);

impl Account {
    /// An account around any implementation of the calls.
    #[must_use]
    pub fn new(api: Arc<dyn NeonApi>) -> Self {
        let snapshots = Snapshots::new(Arc::clone(&api));
        let api = Arc::new(Invalidating {
            api,
            snapshots: snapshots.clone(),
        });
        Self {
            api,
            snapshots,
            identity: OnceCell::new(),
            asked_in_vain: Mutex::default(),
        }
    }

    /// Whose the key is; none for a key that may not ask. Asked once, for a key never changes its owner.
    pub async fn identity(&self) -> Result<Option<Identity>> {
        let known = self.identity.get_or_try_init(|| self.ask()).await;
        known.cloned()
    }

    /// Learns whose the key is, so that all keys of its owner share one budget; none where nobody says. Whoever calls can do
    /// without: a failure is told to nobody, and not asked about again for a while, however many objects use the key.
    pub async fn introduce(&self, now: Timestamp) -> Option<Identity> {
        let ask = || async {
            if self
                .asked_in_vain()
                .is_some_and(|at| age(at, now).is_some_and(|age| age < IN_VAIN))
            {
                return Err(());
            }
            self.ask().await.map_err(|error| {
                tracing::debug!(%error, "Neon does not tell whose the API key is");
                *self.asked_in_vain() = Some(now);
            })
        };
        let known = self.identity.get_or_try_init(ask).await;
        known.cloned().ok().flatten()
    }

    fn asked_in_vain(&self) -> MutexGuard<'_, Option<Timestamp>> {
        let asked = self.asked_in_vain.lock();
        asked.unwrap_or_else(PoisonError::into_inner)
    }

    async fn ask(&self) -> Result<Option<Identity>> {
        match self.api.identity().await {
            Ok(identity) => Ok(Some(identity)),
            Err(error) if matches!(error.kind, ErrorKind::Denied | ErrorKind::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Finds the account of an API key.
pub trait NeonAccounts: Send + Sync {
    /// The account of this key, the same for every object that names it. No call is made: whether Neon accepts the
    /// key is told by the first one.
    fn open(&self, key: &SecretString) -> Arc<Account>;
}

/// The accounts at a Neon that is reached by HTTP.
pub struct Accounts {
    transport: Arc<Transport>,
    manners: Manners,
    open: Mutex<HashMap<KeyDigest, Arc<Account>>>,
}

/// SHA-256 of a key: the key itself is not kept here.
type KeyDigest = [u8; 32];

impl Accounts {
    /// No account yet. The observer hears of every call of all of them.
    ///
    /// # Errors
    /// Where the TLS library or the system's certificates cannot be loaded.
    pub fn new(
        settings: ClientSettings,
        observer: Arc<dyn CallObserver>,
    ) -> std::result::Result<Self, SetupError> {
        Ok(Self {
            manners: Manners::new(settings.pacing.clone()),
            transport: Arc::new(Transport::new(settings, observer)?),
            open: Mutex::default(),
        })
    }

    /// What was last listed of each project with any of the keys. Asks nobody.
    #[must_use]
    pub fn last_seen(&self) -> HashMap<ProjectId, Arc<ProjectSnapshot>> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let mut seen: HashMap<ProjectId, Arc<ProjectSnapshot>> = HashMap::new();
        for (project, listing) in open.values().flat_map(|one| one.snapshots.last_seen()) {
            let known = seen.get(&project);
            if known.is_none_or(|known| known.taken_at < listing.taken_at) {
                seen.insert(project, listing);
            }
        }
        seen
    }
}

impl NeonAccounts for Accounts {
    fn open(&self, key: &SecretString) -> Arc<Account> {
        // A key that was put into a Secret by `echo` ends with a line break.
        let key = key.expose_secret().trim();
        let digest: KeyDigest = Sha256::digest(key.as_bytes()).into();
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let account = open.entry(digest).or_insert_with(|| {
            let pacing = self.manners.of_a_key();
            let client = Client::new(Arc::clone(&self.transport), key.into(), pacing);
            Arc::new(Account::new(Arc::new(client)))
        });
        Arc::clone(account)
    }
}

/// Makes the listings of a project stale when something in it was changed, or may have been: after a failure, a
/// lost answer and an abandoned call too, but not where the project was locked.
struct Invalidating {
    api: Arc<dyn NeonApi>,
    snapshots: Snapshots,
}

/// Invalidates when the call is over, however it ends, unless it is told that nothing was done.
struct AfterCall<'a> {
    stale: Option<(&'a Snapshots, &'a ProjectId)>,
}

impl<'a> AfterCall<'a> {
    fn new(snapshots: &'a Snapshots, project: &'a ProjectId) -> Self {
        Self {
            stale: Some((snapshots, project)),
        }
    }

    /// A call that was locked out has changed nothing, and many that are would read the listing again for nothing.
    fn told<T>(mut self, result: Result<T>) -> Result<T> {
        if matches!(&result, Err(error) if error.kind == ErrorKind::Locked) {
            self.stale = None;
        }
        result
    }
}

impl Drop for AfterCall<'_> {
    fn drop(&mut self) {
        if let Some((snapshots, project)) = self.stale {
            snapshots.invalidate(project);
        }
    }
}

#[async_trait]
impl NeonApi for Invalidating {
    async fn identity(&self) -> Result<Identity> {
        self.api.identity().await
    }

    async fn project(&self, project: &ProjectId) -> Result<Project> {
        self.api.project(project).await
    }

    async fn update_project(
        &self,
        project: &ProjectId,
        update: &UpdateProject,
    ) -> Result<UpdatedProject> {
        let after = AfterCall::new(&self.snapshots, project);
        after.told(self.api.update_project(project, update).await)
    }

    async fn branches(&self, project: &ProjectId) -> Result<Vec<Branch>> {
        self.api.branches(project).await
    }

    async fn branch(&self, project: &ProjectId, branch: &BranchId) -> Result<Option<Branch>> {
        self.api.branch(project, branch).await
    }

    async fn endpoints(&self, project: &ProjectId) -> Result<Vec<Endpoint>> {
        self.api.endpoints(project).await
    }

    async fn endpoint(
        &self,
        project: &ProjectId,
        endpoint: &EndpointId,
    ) -> Result<Option<Endpoint>> {
        self.api.endpoint(project, endpoint).await
    }

    async fn create_branch(
        &self,
        project: &ProjectId,
        branch: &CreateBranch,
    ) -> Result<CreatedBranch> {
        let after = AfterCall::new(&self.snapshots, project);
        after.told(self.api.create_branch(project, branch).await)
    }

    async fn update_branch(
        &self,
        project: &ProjectId,
        branch: &BranchId,
        update: &UpdateBranch,
    ) -> Result<Vec<Operation>> {
        let after = AfterCall::new(&self.snapshots, project);
        after.told(self.api.update_branch(project, branch, update).await)
    }

    async fn reset_branch(
        &self,
        project: &ProjectId,
        branch: &BranchId,
        parent: &BranchId,
    ) -> Result<Vec<Operation>> {
        let after = AfterCall::new(&self.snapshots, project);
        after.told(self.api.reset_branch(project, branch, parent).await)
    }

    async fn delete_branch(
        &self,
        project: &ProjectId,
        branch: &BranchId,
    ) -> Result<Vec<Operation>> {
        let after = AfterCall::new(&self.snapshots, project);
        after.told(self.api.delete_branch(project, branch).await)
    }

    async fn create_endpoint(
        &self,
        project: &ProjectId,
        endpoint: &CreateEndpoint,
    ) -> Result<ChangedEndpoint> {
        let after = AfterCall::new(&self.snapshots, project);
        after.told(self.api.create_endpoint(project, endpoint).await)
    }

    async fn update_endpoint(
        &self,
        project: &ProjectId,
        endpoint: &EndpointId,
        update: &UpdateEndpoint,
    ) -> Result<ChangedEndpoint> {
        let after = AfterCall::new(&self.snapshots, project);
        after.told(self.api.update_endpoint(project, endpoint, update).await)
    }

    async fn delete_endpoint(
        &self,
        project: &ProjectId,
        endpoint: &EndpointId,
    ) -> Result<Vec<Operation>> {
        let after = AfterCall::new(&self.snapshots, project);
        after.told(self.api.delete_endpoint(project, endpoint).await)
    }

    async fn roles(&self, project: &ProjectId, branch: &BranchId) -> Result<Vec<Role>> {
        self.api.roles(project, branch).await
    }

    async fn create_role(
        &self,
        project: &ProjectId,
        branch: &BranchId,
        name: &str,
    ) -> Result<Vec<Operation>> {
        let after = AfterCall::new(&self.snapshots, project);
        after.told(self.api.create_role(project, branch, name).await)
    }

    async fn reveal_password(
        &self,
        project: &ProjectId,
        branch: &BranchId,
        role: &str,
    ) -> Result<SecretString> {
        self.api.reveal_password(project, branch, role).await
    }

    async fn reset_password(
        &self,
        project: &ProjectId,
        branch: &BranchId,
        role: &str,
    ) -> Result<Vec<Operation>> {
        let after = AfterCall::new(&self.snapshots, project);
        after.told(self.api.reset_password(project, branch, role).await)
    }

    async fn databases(&self, project: &ProjectId, branch: &BranchId) -> Result<Vec<Database>> {
        self.api.databases(project, branch).await
    }

    async fn create_database(
        &self,
        project: &ProjectId,
        branch: &BranchId,
        name: &str,
        owner: &str,
    ) -> Result<Vec<Operation>> {
        let after = AfterCall::new(&self.snapshots, project);
        after.told(self.api.create_database(project, branch, name, owner).await)
    }

    async fn operation(&self, project: &ProjectId, operation: &OperationId) -> Result<Operation> {
        self.api.operation(project, operation).await
    }
}

#[cfg(test)]
mod tests;
