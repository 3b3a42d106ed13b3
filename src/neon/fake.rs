//! A Neon of the tests: one list of branches, slow to answer.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use secrecy::SecretString;
use tokio::time::sleep;

use super::{
    AuthMethod, Branch, BranchId, BranchState, ChangedEndpoint, CreateBranch, CreateEndpoint,
    CreatedBranch, Database, Endpoint, EndpointId, Error, Identity, NeonApi, Operation,
    OperationId, Project, ProjectId, Result, Role, UpdateBranch, UpdateEndpoint, UpdateProject,
    UpdatedProject,
};

/// How long an answer takes unless told otherwise; what it says was true when the call began.
pub(super) const LATENCY: Duration = Duration::from_secs(1);

pub(super) struct FakeNeon {
    /// How long the calls that begin now will take.
    pub(super) latency: Mutex<Duration>,
    pub(super) branches: Mutex<Vec<Branch>>,
    /// What every call fails with, after its work was done.
    pub(super) failure: Mutex<Option<Error>>,
    /// Lists of branches asked for.
    pub(super) lists: AtomicUsize,
    /// All other calls.
    pub(super) others: AtomicUsize,
}

impl Default for FakeNeon {
    fn default() -> Self {
        Self {
            latency: Mutex::new(LATENCY),
            branches: Mutex::default(),
            failure: Mutex::default(),
            lists: AtomicUsize::default(),
            others: AtomicUsize::default(),
        }
    }
}

impl FakeNeon {
    pub(super) fn lists(&self) -> usize {
        self.lists.load(Ordering::Relaxed)
    }

    pub(super) fn others(&self) -> usize {
        self.others.load(Ordering::Relaxed)
    }

    pub(super) fn fail_with(&self, failure: Option<Error>) {
        *self.failure.lock().unwrap() = failure;
    }

    async fn answer<T>(&self, answer: T) -> Result<T> {
        let latency = *self.latency.lock().unwrap();
        sleep(latency).await;
        match self.failure.lock().unwrap().clone() {
            Some(failure) => Err(failure),
            None => Ok(answer),
        }
    }

    async fn other<T: Default>(&self) -> Result<T> {
        self.others.fetch_add(1, Ordering::Relaxed);
        self.answer(T::default()).await
    }
}

pub(super) fn branch(id: &str, parent: Option<&str>) -> Branch {
    Branch {
        id: id.into(),
        name: format!("name-of-{id}"),
        parent_id: parent.map(BranchId::from),
        current_state: BranchState::Ready,
        pending_state: None,
        default: parent.is_none(),
        protected: false,
        created_at: Timestamp::UNIX_EPOCH,
        last_reset_at: None,
        expires_at: None,
        annotations: std::collections::BTreeMap::new(),
    }
}

fn not_faked<T>() -> Result<T> {
    Err(Error::lost("this fake does not answer that call"))
}

#[async_trait]
impl NeonApi for FakeNeon {
    async fn identity(&self) -> Result<Identity> {
        self.others.fetch_add(1, Ordering::Relaxed);
        self.answer(Identity {
            account_id: "somebody".to_owned(),
            auth_method: AuthMethod::UserKey,
        })
        .await
    }

    async fn project(&self, _: &ProjectId) -> Result<Project> {
        not_faked()
    }

    async fn update_project(&self, id: &ProjectId, _: &UpdateProject) -> Result<UpdatedProject> {
        self.others.fetch_add(1, Ordering::Relaxed);
        let project = Project {
            id: id.clone(),
            name: String::new(),
            store_passwords: None,
            history_retention_seconds: None,
            settings: None,
            owner: None,
        };
        self.answer(UpdatedProject {
            project,
            operations: Vec::new(),
        })
        .await
    }

    async fn branches(&self, _: &ProjectId) -> Result<Vec<Branch>> {
        self.lists.fetch_add(1, Ordering::Relaxed);
        let branches = self.branches.lock().unwrap().clone();
        self.answer(branches).await
    }

    async fn branch(&self, _: &ProjectId, id: &BranchId) -> Result<Option<Branch>> {
        let branches = self.branches.lock().unwrap().clone();
        let found = branches.into_iter().find(|branch| branch.id == *id);
        self.answer(found).await
    }

    async fn endpoints(&self, _: &ProjectId) -> Result<Vec<Endpoint>> {
        self.other().await
    }

    async fn endpoint(&self, _: &ProjectId, _: &EndpointId) -> Result<Option<Endpoint>> {
        self.other().await
    }

    async fn create_branch(&self, _: &ProjectId, create: &CreateBranch) -> Result<CreatedBranch> {
        let branch = branch(&create.name, Some(create.parent_id.as_str()));
        self.branches.lock().unwrap().push(branch.clone());
        self.answer(CreatedBranch {
            branch,
            endpoint: None,
            operations: Vec::new(),
        })
        .await
    }

    async fn update_branch(
        &self,
        _: &ProjectId,
        _: &BranchId,
        _: &UpdateBranch,
    ) -> Result<Vec<Operation>> {
        self.other().await
    }

    async fn reset_branch(
        &self,
        _: &ProjectId,
        _: &BranchId,
        _: &BranchId,
    ) -> Result<Vec<Operation>> {
        self.other().await
    }

    async fn delete_branch(&self, _: &ProjectId, _: &BranchId) -> Result<Vec<Operation>> {
        self.other().await
    }

    async fn create_endpoint(&self, _: &ProjectId, _: &CreateEndpoint) -> Result<ChangedEndpoint> {
        self.other().await
    }

    async fn update_endpoint(
        &self,
        _: &ProjectId,
        _: &EndpointId,
        _: &UpdateEndpoint,
    ) -> Result<ChangedEndpoint> {
        self.other().await
    }

    async fn delete_endpoint(&self, _: &ProjectId, _: &EndpointId) -> Result<Vec<Operation>> {
        self.other().await
    }

    async fn roles(&self, _: &ProjectId, _: &BranchId) -> Result<Vec<Role>> {
        self.other().await
    }

    async fn create_role(&self, _: &ProjectId, _: &BranchId, _: &str) -> Result<Vec<Operation>> {
        self.other().await
    }

    async fn reveal_password(&self, _: &ProjectId, _: &BranchId, _: &str) -> Result<SecretString> {
        not_faked()
    }

    async fn reset_password(&self, _: &ProjectId, _: &BranchId, _: &str) -> Result<Vec<Operation>> {
        self.other().await
    }

    async fn databases(&self, _: &ProjectId, _: &BranchId) -> Result<Vec<Database>> {
        self.other().await
    }

    async fn create_database(
        &self,
        _: &ProjectId,
        _: &BranchId,
        _: &str,
        _: &str,
    ) -> Result<Vec<Operation>> {
        self.other().await
    }

    async fn operation(&self, _: &ProjectId, _: &OperationId) -> Result<Operation> {
        not_faked()
    }
}
