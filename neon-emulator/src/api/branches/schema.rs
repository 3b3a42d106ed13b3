//! The schema of a database, now or at a point of its branch's history, and how two differ.
//! Neon wakes a sleeping compute for it.

use axum::extract::{Path, State};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;
use similar::TextDiff;

use super::find;
use crate::{
    api::{Answer, Shared, error::ApiError, ok, request::Query, validate},
    control::Control,
    postgres::history::Moment,
    state::model::Project,
};

#[derive(Deserialize)]
pub(crate) struct SchemaQuery {
    db_name: String,
    lsn: Option<String>,
    timestamp: Option<String>,
    format: Option<String>,
}

#[derive(Deserialize)]
pub(crate) struct CompareQuery {
    db_name: String,
    lsn: Option<String>,
    timestamp: Option<String>,
    /// The branch to compare with; the parent where none is named.
    base_branch_id: Option<String>,
    base_lsn: Option<String>,
    base_timestamp: Option<String>,
}

/// What is to be looked at.
struct Subject {
    branch_id: String,
    moment: Option<Moment>,
}

pub(crate) async fn schema(
    State(control): Shared,
    Path((project_id, id)): Path<(String, String)>,
    Query(query): Query<SchemaQuery>,
) -> Answer {
    if query
        .format
        .as_deref()
        .is_some_and(|format| format != "sql")
    {
        return Err(ApiError::unprocessable("only format=sql is emulated"));
    }
    let subject = control.look(&project_id, |project| {
        let point = (query.lsn.as_deref(), query.timestamp.as_deref());
        subject(project, &id, "", point, &query.db_name)
    })?;
    let sql = dump(&control, &project_id, &subject, &query.db_name).await?;
    ok(json!({"sql": sql}))
}

pub(crate) async fn compare_schema(
    State(control): Shared,
    Path((project_id, id)): Path<(String, String)>,
    Query(query): Query<CompareQuery>,
) -> Answer {
    let database = &query.db_name;
    let (base, own) = control.look(&project_id, |project| {
        let point = (query.lsn.as_deref(), query.timestamp.as_deref());
        let own = subject(project, &id, "", point, database)?;
        let base_id = query.base_branch_id.as_ref();
        let base_id = base_id.or(find(project, &id)?.parent_id.as_ref());
        let base_id = base_id.ok_or(ApiError::bad_request(
            "base_branch_id is required for a branch without a parent",
        ))?;
        let point = (query.base_lsn.as_deref(), query.base_timestamp.as_deref());
        Ok((subject(project, base_id, "base_", point, database)?, own))
    })?;
    let base = dump(&control, &project_id, &base, database).await?;
    let own = dump(&control, &project_id, &own, database).await?;
    let diff = TextDiff::from_lines(&base, &own);
    let mut unified = diff.unified_diff();
    let (a, b) = (format!("a/{database}"), format!("b/{database}"));
    ok(json!({"diff": unified.header(&a, &b).to_string()}))
}

fn subject(
    project: &Project,
    branch_id: &str,
    prefix: &str,
    (lsn, timestamp): (Option<&str>, Option<&str>),
    database: &str,
) -> Result<Subject, ApiError> {
    let branch = find(project, branch_id)?;
    let moment = validate::moment(project, prefix, lsn, timestamp, Timestamp::now())?;
    if !branch.state.has_data() {
        return Err(ApiError::unprocessable("branch not ready yet"));
    }
    // In the past there may be others than now.
    if moment.is_none() && !branch.databases.contains_key(database) {
        return Err(ApiError::not_found("database"));
    }
    Ok(Subject {
        branch_id: branch_id.to_owned(),
        moment,
    })
}

async fn dump(
    control: &Control,
    project_id: &str,
    subject: &Subject,
    database: &str,
) -> Result<String, ApiError> {
    let moment = subject.moment.as_ref();
    let dumped = control
        .dump_schema(project_id, &subject.branch_id, moment, database)
        .await;
    dumped.map_err(|error| {
        tracing::warn!(error = format!("{error:#}"), "a schema could not be read");
        ApiError::unprocessable(format!("could not read the schema: {error:#}"))
    })
}
