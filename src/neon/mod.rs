//! Neon's control-plane API: what the operator asks of it, and how politely.
//!
//! Knows nothing of Kubernetes and imports nothing else of this crate. [`NeonApi`] is the port that the kinds use;
//! the real client speaks HTTP, the simulated world answers from memory. Every call names its project and branch:
//! an omitted branch id means the *default* branch to Neon, which is production.
//!
//! | module | role |
//! |---|---|
//! | `accounts` | one client, budget and set of listings per API key; mutations make listings stale |
//! | `snapshot` | one shared listing per project for all objects in it |
//! | `budget` | how many calls an account may begin, and who is next |
//! | `budgets` | which keys share a budget, because they are of one account |
//! | `pacing` | what waits and what is repeated: 423, 429, the account's budget |
//! | `queues` | whose turn it is to change a project |
//! | `client`, `wire` | the calls and their bodies |
//! | `transport`, `api_host` | one HTTP attempt, and where it may go |
//! | `error`, `told`, `redact` | what an answer means, what a failed operation says, and no secret in either |
//! | `observer` | what metrics hear of each attempt |

mod accounts;
mod api_host;
mod budget;
mod budgets;
mod client;
mod error;
#[cfg(test)]
mod fake;
mod limit;
mod observer;
mod pacing;
mod queues;
mod redact;
mod snapshot;
mod told;
mod transport;
mod types;
mod wire;

use async_trait::async_trait;
use secrecy::SecretString;

pub use accounts::{Account, Accounts, NeonAccounts};
pub use api_host::{ApiHost, InvalidApiHost};
pub use budget::Rank;
pub use error::{Error, ErrorKind};
pub use limit::Limit;
pub use observer::{Call, CallObserver, Unobserved};
pub use pacing::{Backoff, Manners, Pacing, PacingRules};
pub use queues::TakenOn;
pub use snapshot::{ProjectSnapshot, Snapshots};
pub use transport::{ClientSettings, SetupError};
pub use types::{
    AllowedIps, AuthMethod, Branch, BranchId, BranchState, ChangedEndpoint, CreateBranch,
    CreateEndpoint, CreatedBranch, Database, Endpoint, EndpointId, EndpointSettings, EndpointState,
    EndpointType, Identity, Moment, NewEndpoint, Operation, OperationId, OperationStatus, Project,
    ProjectId, ProjectOwner, ProjectSettings, Quota, Role, UpdateBranch, UpdateEndpoint,
    UpdateProject, UpdatedProject,
};

/// Result of one call.
pub type Result<T> = std::result::Result<T, Error>;

/// The calls the operator makes, bound to one API key.
///
/// No implementation repeats a mutation whose answer was lost: the caller looks at the world again and decides.
/// A mutation that Neon refuses with 423 was not carried out and may be repeated by the implementation.
#[async_trait]
pub trait NeonApi: Send + Sync {
    /// Whose the API key is.
    async fn identity(&self) -> Result<Identity>;
    /// One project, with its plan's limits as far as Neon tells them.
    async fn project(&self, project: &ProjectId) -> Result<Project>;
    /// Changes settings of a project. Computes may be restarted by it.
    async fn update_project(
        &self,
        project: &ProjectId,
        update: &UpdateProject,
    ) -> Result<UpdatedProject>;
    /// All live branches of a project, with their annotations.
    async fn branches(&self, project: &ProjectId) -> Result<Vec<Branch>>;
    /// One branch, with its annotations; none where Neon has no such branch, which it may also say of one that is new.
    async fn branch(&self, project: &ProjectId, branch: &BranchId) -> Result<Option<Branch>>;
    /// All endpoints of a project.
    async fn endpoints(&self, project: &ProjectId) -> Result<Vec<Endpoint>>;
    /// One endpoint; none where Neon has no such endpoint.
    async fn endpoint(
        &self,
        project: &ProjectId,
        endpoint: &EndpointId,
    ) -> Result<Option<Endpoint>>;
    /// Creates a branch, with its read-write endpoint in the same call.
    async fn create_branch(
        &self,
        project: &ProjectId,
        branch: &CreateBranch,
    ) -> Result<CreatedBranch>;
    /// Changes name, protection or expiry of a branch.
    async fn update_branch(
        &self,
        project: &ProjectId,
        branch: &BranchId,
        update: &UpdateBranch,
    ) -> Result<Vec<Operation>>;
    /// Brings a branch back to the state of its parent. Endpoint and host stay; connections are dropped, and roles and
    /// passwords are the parent's.
    async fn reset_branch(
        &self,
        project: &ProjectId,
        branch: &BranchId,
        parent: &BranchId,
    ) -> Result<Vec<Operation>>;
    /// Deletes a branch. Succeeds without operations where it is already gone.
    async fn delete_branch(&self, project: &ProjectId, branch: &BranchId)
    -> Result<Vec<Operation>>;
    /// Creates an endpoint on an existing branch.
    async fn create_endpoint(
        &self,
        project: &ProjectId,
        endpoint: &CreateEndpoint,
    ) -> Result<ChangedEndpoint>;
    /// Changes an endpoint's compute size or suspend time. Restarts it when the size changes.
    async fn update_endpoint(
        &self,
        project: &ProjectId,
        endpoint: &EndpointId,
        update: &UpdateEndpoint,
    ) -> Result<ChangedEndpoint>;
    /// Deletes an endpoint. Succeeds without operations where it is already gone.
    async fn delete_endpoint(
        &self,
        project: &ProjectId,
        endpoint: &EndpointId,
    ) -> Result<Vec<Operation>>;
    /// The roles of a branch. Roles made by SQL may be among them.
    async fn roles(&self, project: &ProjectId, branch: &BranchId) -> Result<Vec<Role>>;
    /// Creates a role, which belongs to `neon_superuser`. Wakes an idle compute.
    async fn create_role(
        &self,
        project: &ProjectId,
        branch: &BranchId,
        name: &str,
    ) -> Result<Vec<Operation>>;
    /// The present password of a role.
    async fn reveal_password(
        &self,
        project: &ProjectId,
        branch: &BranchId,
        role: &str,
    ) -> Result<SecretString>;
    /// Gives a role a new password, valid when the last operation has finished. Wakes an idle compute.
    async fn reset_password(
        &self,
        project: &ProjectId,
        branch: &BranchId,
        role: &str,
    ) -> Result<Vec<Operation>>;
    /// The databases of a branch.
    async fn databases(&self, project: &ProjectId, branch: &BranchId) -> Result<Vec<Database>>;
    /// Creates a database owned by an existing role.
    async fn create_database(
        &self,
        project: &ProjectId,
        branch: &BranchId,
        name: &str,
        owner: &str,
    ) -> Result<Vec<Operation>>;
    /// One operation.
    async fn operation(&self, project: &ProjectId, operation: &OperationId) -> Result<Operation>;
}
