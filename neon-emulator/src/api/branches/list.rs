//! Looking at branches.

use std::{cmp::Ordering, collections::BTreeMap};

use axum::extract::{Path, State};
use serde::Deserialize;
use serde_json::json;

use super::{
    find,
    view::{annotation, view},
};
use crate::{
    api::{Answer, Shared, error::ApiError, ok, put, request::Query},
    state::model::{Branch, Project},
};

const LIMITS: std::ops::RangeInclusive<usize> = 1..=10_000;

#[derive(Default, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum SortBy {
    Name,
    CreatedAt,
    #[default]
    UpdatedAt,
}

#[derive(Default, Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum SortOrder {
    Asc,
    #[default]
    Desc,
}

#[derive(Deserialize)]
pub(crate) struct ListQuery {
    limit: Option<usize>,
    cursor: Option<String>,
    search: Option<String>,
    #[serde(default)]
    sort_by: SortBy,
    #[serde(default)]
    sort_order: SortOrder,
}

pub(crate) async fn list(
    State(control): Shared,
    Path(project_id): Path<String>,
    Query(query): Query<ListQuery>,
) -> Answer {
    let limit = query.limit.unwrap_or(*LIMITS.end());
    if !LIMITS.contains(&limit) {
        return Err(ApiError::bad_request("limit must be between 1 and 10000"));
    }
    let search = query.search.as_deref().unwrap_or_default();
    control.look(&project_id, |project| {
        let mut found: Vec<&Branch> = matching(project, search).collect();
        found.sort_by(|a, b| compare(a, b, query.sort_by, query.sort_order));
        let start = match &query.cursor {
            Some(cursor) => {
                found
                    .iter()
                    .take_while(|branch| branch.id != *cursor)
                    .count()
                    + 1
            }
            None => 0,
        };
        let more = found.len() > start + limit;
        let page: Vec<&Branch> = found.into_iter().skip(start).take(limit).collect();
        let annotated = page.iter().filter(|branch| !branch.annotations.is_empty());
        let annotations: BTreeMap<_, _> = annotated
            .map(|branch| (branch.id.clone(), annotation(branch)))
            .collect();
        let mut body = json!({
            "branches": page.iter().map(|branch| view(project, branch)).collect::<Vec<_>>(),
            "annotations": annotations,
        });
        let next = page.last().filter(|_| more);
        put(
            &mut body,
            "pagination",
            Some(next.map_or_else(|| json!({}), |last| json!({"next": last.id}))),
        );
        ok(body)
    })
}

pub(crate) async fn count(
    State(control): Shared,
    Path(project_id): Path<String>,
    Query(query): Query<ListQuery>,
) -> Answer {
    let search = query.search.as_deref().unwrap_or_default();
    control.look(&project_id, |project| {
        ok(json!({"count": matching(project, search).count()}))
    })
}

pub(crate) async fn show(
    State(control): Shared,
    Path((project_id, id)): Path<(String, String)>,
) -> Answer {
    control.look(&project_id, |project| {
        let branch = find(project, &id)?;
        ok(json!({"branch": view(project, branch), "annotation": annotation(branch)}))
    })
}

fn matching<'a>(project: &'a Project, search: &'a str) -> impl Iterator<Item = &'a Branch> {
    let matches =
        move |branch: &&Branch| branch.name.contains(search) || branch.id.contains(search);
    project.branches.values().filter(matches)
}

fn compare(a: &Branch, b: &Branch, by: SortBy, order: SortOrder) -> Ordering {
    let primary = match by {
        SortBy::Name => a.name.cmp(&b.name),
        SortBy::CreatedAt => a.created_at.cmp(&b.created_at),
        SortBy::UpdatedAt => a.updated_at.cmp(&b.updated_at),
    };
    let ascending = primary.then_with(|| a.id.cmp(&b.id));
    if order == SortOrder::Asc {
        ascending
    } else {
        ascending.reverse()
    }
}
