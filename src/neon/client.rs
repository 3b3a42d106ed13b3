//! The calls of [`NeonApi`] over HTTP, made with one API key.
//!
//! Every call names its project and branch; what is waited for and repeated is decided in [`super::pacing`].

use std::sync::Arc;

use async_trait::async_trait;
use http::{HeaderValue, Method};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use super::budget::Rank;
use super::error::shown;
use super::pacing::Pacing;
use super::queues::TakenOn;
use super::transport::{Answer, Request, Transport};
use super::wire::{
    self, BranchAnswer, BranchesAnswer, CreatedBranchAnswer, DatabasesAnswer, EndpointAnswer,
    EndpointsAnswer, OneEndpointAnswer, OperationAnswer, OperationsAnswer, PasswordAnswer,
    ProjectAnswer, RolesAnswer, UpdatedProjectAnswer,
};
use super::{
    Branch, BranchId, ChangedEndpoint, CreateBranch, CreateEndpoint, CreatedBranch, Database,
    Endpoint, EndpointId, Error, ErrorKind, Identity, NeonApi, Operation, OperationId, Project,
    ProjectId, Result, Role, UpdateBranch, UpdateEndpoint, UpdateProject, UpdatedProject,
};

const AUTH: &str = "/auth";
const PROJECT: &str = "/projects/{project}";
const BRANCHES: &str = "/projects/{project}/branches";
const BRANCH: &str = "/projects/{project}/branches/{branch}";
const RESTORE: &str = "/projects/{project}/branches/{branch}/restore";
const ROLES: &str = "/projects/{project}/branches/{branch}/roles";
const REVEAL: &str = "/projects/{project}/branches/{branch}/roles/{role}/reveal_password";
const RESET: &str = "/projects/{project}/branches/{branch}/roles/{role}/reset_password";
const DATABASES: &str = "/projects/{project}/branches/{branch}/databases";
const ENDPOINTS: &str = "/projects/{project}/endpoints";
const ENDPOINT: &str = "/projects/{project}/endpoints/{endpoint}";
const OPERATION: &str = "/projects/{project}/operations/{operation}";

/// The largest page that the list of branches allows; every plan's limit of branches is below it.
const PAGE: &str = "10000";

/// Neon, as one API key reaches it.
pub(super) struct Client {
    transport: Arc<Transport>,
    key: SecretString,
    /// None where the key could not even be a header.
    bearer: Option<HeaderValue>,
    pacing: Pacing,
}

impl Client {
    pub(super) fn new(transport: Arc<Transport>, key: SecretString, pacing: Pacing) -> Self {
        Self {
            bearer: bearer(key.expose_secret()),
            transport,
            key,
            pacing,
        }
    }

    async fn attempt(
        &self,
        request: &Request<'_>,
        budget_wait: std::time::Duration,
    ) -> Result<Answer> {
        let key = self.key.expose_secret();
        let bearer = self.bearer.as_ref().ok_or_else(|| {
            let message = "the API key is empty or holds characters that no key has";
            Error::without_answer(ErrorKind::Denied, message)
        })?;
        self.transport
            .attempt(request, bearer, key, budget_wait)
            .await
    }

    async fn get(
        &self,
        route: &'static str,
        ids: &[&str],
        query: &[(&'static str, &str)],
    ) -> Result<Answer> {
        let request = Request {
            method: Method::GET,
            route,
            ids,
            query,
            body: None,
        };
        self.pacing
            .read(|waited| self.attempt(&request, waited))
            .await
    }

    async fn change(
        &self,
        project: &ProjectId,
        method: Method,
        route: &'static str,
        ids: &[&str],
        body: Option<Value>,
    ) -> Result<Answer> {
        let rank = rank(&method, route);
        let request = Request {
            method,
            route,
            ids,
            query: &[],
            body,
        };
        self.pacing
            .mutate(project, rank, |waited| self.attempt(&request, waited))
            .await
    }

    /// What is already gone need not be deleted.
    async fn delete(
        &self,
        project: &ProjectId,
        route: &'static str,
        ids: &[&str],
    ) -> Result<Vec<Operation>> {
        let answer = self.change(project, Method::DELETE, route, ids, None).await;
        if_there(answer)?.map_or_else(|| Ok(Vec::new()), |answer| operations(&answer))
    }
}

/// An answer about something that Neon may not have.
fn if_there(answer: Result<Answer>) -> Result<Option<Answer>> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if error.kind == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whose turn a change is before those of others.
fn rank(method: &Method, route: &str) -> Rank {
    let makes_branch = *method == Method::POST && route == BRANCHES;
    if *method == Method::DELETE || makes_branch {
        Rank::First
    } else {
        Rank::Change
    }
}

fn bearer(key: &str) -> Option<HeaderValue> {
    let mut bearer = HeaderValue::from_str(&format!("Bearer {key}")).ok()?;
    bearer.set_sensitive(true);
    (!key.is_empty()).then_some(bearer)
}

impl TakenOn for Answer {
    fn running(&self) -> Vec<OperationId> {
        // an answer that cannot be read is told where it is read
        operations(self).map_or_else(|_| Vec::new(), |all| all.running())
    }
}

fn operations(answer: &Answer) -> Result<Vec<Operation>> {
    let answer: OperationsAnswer = answer.read_or_default()?;
    Ok(answer.operations.unwrap_or_default())
}

#[async_trait]
impl NeonApi for Client {
    async fn identity(&self) -> Result<Identity> {
        let identity: Identity = self.get(AUTH, &[], &[]).await?.read()?;
        self.pacing.belongs_to(&identity.account_id);
        Ok(identity)
    }

    async fn project(&self, project: &ProjectId) -> Result<Project> {
        let answer = self.get(PROJECT, &[project.as_str()], &[]).await?;
        Ok(answer.read::<ProjectAnswer>()?.project)
    }

    async fn update_project(
        &self,
        project: &ProjectId,
        update: &UpdateProject,
    ) -> Result<UpdatedProject> {
        let body = wire::update_project(update);
        let ids = [project.as_str()];
        let answer = self
            .change(project, Method::PATCH, PROJECT, &ids, Some(body))
            .await?;
        let updated: UpdatedProjectAnswer = answer.read()?;
        Ok(UpdatedProject {
            project: updated.project,
            operations: updated.operations.unwrap_or_default(),
        })
    }

    async fn branches(&self, project: &ProjectId) -> Result<Vec<Branch>> {
        let mut all = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let mut query = vec![("limit", PAGE)];
            query.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
            let answer = self.get(BRANCHES, &[project.as_str()], &query).await?;
            let (page, next) = answer.read::<BranchesAnswer>()?.into_page();
            all.extend(page);
            if next.is_none() {
                return Ok(all);
            }
            // A list cut short would make branches look absent.
            if next == cursor {
                return Err(Error::lost("the list of branches does not come to an end"));
            }
            cursor = next;
        }
    }

    async fn branch(&self, project: &ProjectId, branch: &BranchId) -> Result<Option<Branch>> {
        let ids = [project.as_str(), branch.as_str()];
        let answer = if_there(self.get(BRANCH, &ids, &[]).await)?;
        let read = |answer: Answer| Ok(answer.read::<BranchAnswer>()?.into_branch());
        answer.map(read).transpose()
    }

    async fn endpoints(&self, project: &ProjectId) -> Result<Vec<Endpoint>> {
        let answer = self.get(ENDPOINTS, &[project.as_str()], &[]).await?;
        Ok(answer.read::<EndpointsAnswer>()?.endpoints)
    }

    async fn endpoint(
        &self,
        project: &ProjectId,
        endpoint: &EndpointId,
    ) -> Result<Option<Endpoint>> {
        let ids = [project.as_str(), endpoint.as_str()];
        let answer = if_there(self.get(ENDPOINT, &ids, &[]).await)?;
        let read = |answer: Answer| Ok(answer.read::<OneEndpointAnswer>()?.endpoint);
        answer.map(read).transpose()
    }

    async fn create_branch(
        &self,
        project: &ProjectId,
        branch: &CreateBranch,
    ) -> Result<CreatedBranch> {
        let body = wire::create_branch(branch);
        let ids = [project.as_str()];
        let answer = self
            .change(project, Method::POST, BRANCHES, &ids, Some(body))
            .await?;
        let created: CreatedBranchAnswer = answer.read()?;
        Ok(CreatedBranch {
            endpoint: created.endpoints.into_iter().next(),
            branch: Branch {
                // Only the list answers them.
                annotations: branch.annotations.clone(),
                ..created.branch
            },
            operations: created.operations.unwrap_or_default(),
        })
    }

    async fn update_branch(
        &self,
        project: &ProjectId,
        branch: &BranchId,
        update: &UpdateBranch,
    ) -> Result<Vec<Operation>> {
        let body = wire::update_branch(update);
        let ids = [project.as_str(), branch.as_str()];
        let answer = self
            .change(project, Method::PATCH, BRANCH, &ids, Some(body))
            .await?;
        operations(&answer)
    }

    async fn reset_branch(
        &self,
        project: &ProjectId,
        branch: &BranchId,
        parent: &BranchId,
    ) -> Result<Vec<Operation>> {
        let body = wire::restore(parent);
        let ids = [project.as_str(), branch.as_str()];
        let answer = self
            .change(project, Method::POST, RESTORE, &ids, Some(body))
            .await?;
        operations(&answer)
    }

    async fn delete_branch(
        &self,
        project: &ProjectId,
        branch: &BranchId,
    ) -> Result<Vec<Operation>> {
        let ids = [project.as_str(), branch.as_str()];
        self.delete(project, BRANCH, &ids).await
    }

    async fn create_endpoint(
        &self,
        project: &ProjectId,
        endpoint: &CreateEndpoint,
    ) -> Result<ChangedEndpoint> {
        let body = wire::create_endpoint(endpoint);
        let ids = [project.as_str()];
        let answer = self
            .change(project, Method::POST, ENDPOINTS, &ids, Some(body))
            .await?;
        Ok(answer.read_or_default::<EndpointAnswer>()?.into_changed())
    }

    async fn update_endpoint(
        &self,
        project: &ProjectId,
        endpoint: &EndpointId,
        update: &UpdateEndpoint,
    ) -> Result<ChangedEndpoint> {
        let body = wire::update_endpoint(update);
        let ids = [project.as_str(), endpoint.as_str()];
        let answer = self
            .change(project, Method::PATCH, ENDPOINT, &ids, Some(body))
            .await?;
        Ok(answer.read_or_default::<EndpointAnswer>()?.into_changed())
    }

    async fn delete_endpoint(
        &self,
        project: &ProjectId,
        endpoint: &EndpointId,
    ) -> Result<Vec<Operation>> {
        let ids = [project.as_str(), endpoint.as_str()];
        self.delete(project, ENDPOINT, &ids).await
    }

    async fn roles(&self, project: &ProjectId, branch: &BranchId) -> Result<Vec<Role>> {
        let ids = [project.as_str(), branch.as_str()];
        let answer = self.get(ROLES, &ids, &[]).await?;
        Ok(answer.read::<RolesAnswer>()?.roles)
    }

    async fn create_role(
        &self,
        project: &ProjectId,
        branch: &BranchId,
        name: &str,
    ) -> Result<Vec<Operation>> {
        let body = wire::create_role(name);
        let ids = [project.as_str(), branch.as_str()];
        let answer = self
            .change(project, Method::POST, ROLES, &ids, Some(body))
            .await?;
        operations(&answer)
    }

    async fn reveal_password(
        &self,
        project: &ProjectId,
        branch: &BranchId,
        role: &str,
    ) -> Result<SecretString> {
        let ids = [project.as_str(), branch.as_str(), role];
        let answer = self.get(REVEAL, &ids, &[]).await?;
        Ok(answer.read_secret::<PasswordAnswer>()?.password.into())
    }

    async fn reset_password(
        &self,
        project: &ProjectId,
        branch: &BranchId,
        role: &str,
    ) -> Result<Vec<Operation>> {
        let ids = [project.as_str(), branch.as_str(), role];
        let answer = self
            .change(project, Method::POST, RESET, &ids, None)
            .await?;
        operations(&answer)
    }

    async fn databases(&self, project: &ProjectId, branch: &BranchId) -> Result<Vec<Database>> {
        let ids = [project.as_str(), branch.as_str()];
        let answer = self.get(DATABASES, &ids, &[]).await?;
        Ok(answer.read::<DatabasesAnswer>()?.databases)
    }

    async fn create_database(
        &self,
        project: &ProjectId,
        branch: &BranchId,
        name: &str,
        owner: &str,
    ) -> Result<Vec<Operation>> {
        let body = wire::create_database(name, owner);
        let ids = [project.as_str(), branch.as_str()];
        let answer = self
            .change(project, Method::POST, DATABASES, &ids, Some(body))
            .await?;
        operations(&answer)
    }

    async fn operation(&self, project: &ProjectId, operation: &OperationId) -> Result<Operation> {
        let ids = [project.as_str(), operation.as_str()];
        let answer = self.get(OPERATION, &ids, &[]).await;
        let mut told = answer.and_then(|answer| Ok(answer.read::<OperationAnswer>()?.operation));
        self.pacing.heard(project, operation, &told);
        if let Ok(operation) = &mut told {
            let key = self.key.expose_secret();
            operation.error = operation.error.take().map(|text| shown(&text, key));
        }
        told
    }
}
