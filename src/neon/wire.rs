//! The bodies as Neon writes and reads them. Pure; private to the client.
//!
//! Answers are read leniently: what is not used is ignored, what may be missing is optional.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value, json};

use super::{
    Branch, BranchId, ChangedEndpoint, CreateBranch, CreateEndpoint, Database, Endpoint,
    EndpointType, Moment, NewEndpoint, Operation, Project, ProjectSettings, Role, UpdateBranch,
    UpdateEndpoint, UpdateProject,
};

#[derive(Deserialize)]
pub(super) struct ProjectAnswer {
    pub(super) project: Project,
}

#[derive(Deserialize)]
pub(super) struct UpdatedProjectAnswer {
    pub(super) project: Project,
    pub(super) operations: Option<Vec<Operation>>,
}

#[derive(Deserialize)]
pub(super) struct BranchesAnswer {
    branches: Vec<Branch>,
    /// By branch id, beside the branches.
    annotations: Option<BTreeMap<BranchId, Annotation>>,
    pagination: Option<Pagination>,
}

#[derive(Deserialize)]
struct Annotation {
    value: Option<BTreeMap<String, Value>>,
}

impl Annotation {
    /// Its texts; whatever else somebody has written is not ours to read.
    fn into_texts(self) -> BTreeMap<String, String> {
        let text = |(key, value)| match value {
            Value::String(text) => Some((key, text)),
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::Array(_)
            | Value::Object(_) => None,
        };
        let values = self.value.unwrap_or_default().into_iter();
        values.filter_map(text).collect()
    }
}

#[derive(Deserialize)]
pub(super) struct BranchAnswer {
    branch: Branch,
    annotation: Option<Annotation>,
}

impl BranchAnswer {
    pub(super) fn into_branch(self) -> Branch {
        let annotations = self.annotation.map(Annotation::into_texts);
        Branch {
            annotations: annotations.unwrap_or_default(),
            ..self.branch
        }
    }
}

/// This list calls its cursor `next`; other lists call it `cursor`.
#[derive(Deserialize)]
struct Pagination {
    next: Option<String>,
}

impl BranchesAnswer {
    /// The branches with their annotations, and the cursor of the next page if there is one.
    pub(super) fn into_page(self) -> (Vec<Branch>, Option<String>) {
        let next = self.pagination.and_then(|pagination| pagination.next);
        let next = next.filter(|next| !next.is_empty() && !self.branches.is_empty());
        let mut annotations = self.annotations.unwrap_or_default();
        let mut branches = self.branches;
        for branch in &mut branches {
            let annotation = annotations.remove(&branch.id);
            branch.annotations = annotation.map(Annotation::into_texts).unwrap_or_default();
        }
        (branches, next)
    }
}

#[derive(Deserialize)]
pub(super) struct EndpointsAnswer {
    pub(super) endpoints: Vec<Endpoint>,
}

#[derive(Deserialize)]
pub(super) struct OneEndpointAnswer {
    pub(super) endpoint: Endpoint,
}

#[derive(Deserialize)]
pub(super) struct CreatedBranchAnswer {
    pub(super) branch: Branch,
    #[serde(default, deserialize_with = "readable")]
    pub(super) endpoints: Vec<Endpoint>,
    pub(super) operations: Option<Vec<Operation>>,
}

#[derive(Default, Deserialize)]
pub(super) struct EndpointAnswer {
    #[serde(default)]
    endpoint: Value,
    operations: Option<Vec<Operation>>,
}

impl EndpointAnswer {
    pub(super) fn into_changed(self) -> ChangedEndpoint {
        ChangedEndpoint {
            endpoint: serde_json::from_value(self.endpoint).ok(),
            operations: self.operations.unwrap_or_default(),
        }
    }
}

/// What was done was done, even where the answer does not tell all of it: the listing will.
fn readable<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Endpoint>, D::Error> {
    let all = Option::<Vec<Value>>::deserialize(deserializer)?;
    let all = all.into_iter().flatten();
    Ok(all
        .filter_map(|one| serde_json::from_value(one).ok())
        .collect())
}

/// What all other mutations answer: the thing changed, which is looked at again anyway, and the work to be done.
#[derive(Default, Deserialize)]
pub(super) struct OperationsAnswer {
    pub(super) operations: Option<Vec<Operation>>,
}

#[derive(Deserialize)]
pub(super) struct RolesAnswer {
    pub(super) roles: Vec<Role>,
}

#[derive(Deserialize)]
pub(super) struct PasswordAnswer {
    pub(super) password: String,
}

#[derive(Deserialize)]
pub(super) struct DatabasesAnswer {
    pub(super) databases: Vec<Database>,
}

#[derive(Deserialize)]
pub(super) struct OperationAnswer {
    pub(super) operation: Operation,
}

/// `PATCH /projects/{project}`.
pub(super) fn update_project(update: &UpdateProject) -> Value {
    let UpdateProject {
        history_retention_seconds,
        settings,
    } = update;
    let mut project = Map::new();
    if let Some(seconds) = history_retention_seconds {
        project.insert("history_retention_seconds".to_owned(), json!(seconds));
    }
    if *settings != ProjectSettings::default() {
        project.insert("settings".to_owned(), json!(settings));
    }
    json!({ "project": project })
}

/// `POST …/branches`: without `endpoints` the branch would get no compute.
pub(super) fn create_branch(create: &CreateBranch) -> Value {
    let CreateBranch {
        name,
        parent_id,
        at,
        protected,
        expires_at,
        annotations,
        endpoint,
    } = create;
    let mut branch = Map::new();
    branch.insert("name".to_owned(), json!(name));
    branch.insert("parent_id".to_owned(), json!(parent_id));
    match at {
        Some(Moment::Time(time)) => {
            branch.insert("parent_timestamp".to_owned(), json!(time));
        }
        Some(Moment::Lsn(lsn)) => {
            branch.insert("parent_lsn".to_owned(), json!(lsn));
        }
        None => {}
    }
    // Neither is sent where not wanted: plans without the feature refuse the mere field.
    if *protected {
        branch.insert("protected".to_owned(), json!(true));
    }
    if let Some(expires_at) = expires_at {
        branch.insert("expires_at".to_owned(), json!(to_second(*expires_at)));
    }
    let mut endpoint = new_compute(endpoint);
    endpoint.insert("type".to_owned(), json!("read_write"));
    json!({
        "branch": branch,
        "endpoints": [endpoint],
        "annotation_value": annotations,
    })
}

/// `PATCH …/branches/{branch}`: an expiry of `null` removes it.
pub(super) fn update_branch(update: &UpdateBranch) -> Value {
    let UpdateBranch {
        name,
        protected,
        expires_at,
    } = update;
    let mut branch = Map::new();
    if let Some(name) = name {
        branch.insert("name".to_owned(), json!(name));
    }
    if let Some(protected) = protected {
        branch.insert("protected".to_owned(), json!(protected));
    }
    if let Some(expires_at) = expires_at {
        branch.insert("expires_at".to_owned(), json!(expires_at.map(to_second)));
    }
    json!({ "branch": branch })
}

/// `POST …/endpoints`.
pub(super) fn create_endpoint(create: &CreateEndpoint) -> Value {
    let CreateEndpoint {
        branch_id,
        replica,
        compute: asked,
    } = create;
    let mut endpoint = new_compute(asked);
    endpoint.insert("branch_id".to_owned(), json!(branch_id));
    let kind = match replica {
        Some(name) => {
            endpoint.insert("name".to_owned(), json!(name));
            EndpointType::ReadOnly
        }
        None => EndpointType::ReadWrite,
    };
    endpoint.insert("type".to_owned(), json!(kind));
    json!({ "endpoint": endpoint })
}

/// `PATCH …/endpoints/{endpoint}`.
pub(super) fn update_endpoint(update: &UpdateEndpoint) -> Value {
    let UpdateEndpoint {
        compute_units,
        suspend_timeout_seconds,
        pg_settings,
    } = update;
    json!({ "endpoint": compute(*compute_units, *suspend_timeout_seconds, pg_settings.as_ref()) })
}

/// `POST …/branches/{branch}/restore`, to the present state of another branch. A reset to the parent has no route of its own.
pub(super) fn restore(source: &BranchId) -> Value {
    json!({ "source_branch_id": source })
}

/// `POST …/roles`.
pub(super) fn create_role(name: &str) -> Value {
    json!({ "role": { "name": name } })
}

/// `POST …/databases`.
pub(super) fn create_database(name: &str, owner: &str) -> Value {
    json!({ "database": { "name": name, "owner_name": owner } })
}

fn new_compute(asked: &NewEndpoint) -> Map<String, Value> {
    let NewEndpoint {
        compute_units,
        suspend_timeout_seconds,
        pg_settings,
    } = asked;
    let settings = (!pg_settings.is_empty()).then_some(pg_settings);
    compute(*compute_units, *suspend_timeout_seconds, settings)
}

fn compute(
    units: Option<(f64, f64)>,
    suspend_timeout_seconds: Option<i64>,
    pg_settings: Option<&BTreeMap<String, String>>,
) -> Map<String, Value> {
    let mut compute = Map::new();
    if let Some((min, max)) = units {
        compute.insert("autoscaling_limit_min_cu".to_owned(), json!(min));
        compute.insert("autoscaling_limit_max_cu".to_owned(), json!(max));
    }
    if let Some(seconds) = suspend_timeout_seconds {
        compute.insert("suspend_timeout_seconds".to_owned(), json!(seconds));
    }
    if let Some(settings) = pg_settings {
        let settings = json!({ "pg_settings": settings });
        compute.insert("settings".to_owned(), settings);
    }
    compute
}

/// RFC 3339 to the second, the only precision that Neon takes for an expiry.
fn to_second(time: Timestamp) -> String {
    format!("{time:.0}")
}
