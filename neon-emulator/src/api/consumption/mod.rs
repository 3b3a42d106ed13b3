//! `/consumption_history`: what projects and branches have used, in parts of time.
//!
//! The time of computes is measured. Sizes are those of now, as if they had always been the same. What is
//! not measured is zero.

mod query;

use std::collections::BTreeMap;

use axum::{Extension, extract::State, http::Uri};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use self::query::{Asked, Frame};
use super::{Answer, Shared, access::Caller, error::ApiError, instant, ok, projects, put};
use crate::{
    control::Control,
    limits::ConsumptionLimit,
    state::model::{Branch, Project},
    usage::{Of, Used, next_period, period_start, whole},
};

/// What may be asked for in the older form, the first four of which are always told.
const OLDER_METRICS: [&str; 7] = [
    "active_time_seconds",
    "compute_time_seconds",
    "written_data_bytes",
    "synthetic_storage_size_bytes",
    "data_storage_bytes_hour",
    "logical_size_bytes",
    "logical_size_bytes_hour",
];

/// What may be asked for of projects; of branches all but the last two.
const METRICS: [&str; 8] = [
    "compute_unit_seconds",
    "root_branch_bytes_month",
    "child_branch_bytes_month",
    "instant_restore_bytes_month",
    "public_network_transfer_bytes",
    "private_network_transfer_bytes",
    "extra_branches_month",
    "snapshot_storage_bytes_month",
];
const BRANCH_METRICS: usize = 6;

/// How long a month is in amounts by the month.
const MONTH: SignedDuration = SignedDuration::from_hours(730);

/// Bytes of the databases of branches, by id.
type Sizes = BTreeMap<String, u64>;

pub(crate) async fn of_projects_before(
    State(control): Shared,
    Extension(Caller(key)): Extension<Caller>,
    uri: Uri,
) -> Answer {
    allowed(&control, &[ConsumptionLimit::All])?;
    let now = Timestamp::now();
    let asked = Asked::read(&uri, now)?;
    let metrics = asked.metrics(&OLDER_METRICS)?;
    let owner = projects::owner(&control, &key.scope, asked.one("org_id").map(str::to_owned))?;
    let part = |project: &Project, sizes: &Sizes, used: Used, frame: Frame| {
        let size = total(project.branches.keys(), sizes);
        older(used, size, frame, &metrics, now)
    };
    by_project(&control, &asked, owner.as_deref(), now, part).await
}

pub(crate) async fn of_projects(
    State(control): Shared,
    Extension(Caller(key)): Extension<Caller>,
    uri: Uri,
) -> Answer {
    allowed(&control, &[ConsumptionLimit::Usage, ConsumptionLimit::All])?;
    let now = Timestamp::now();
    let asked = Asked::read(&uri, now)?;
    let metrics = required_metrics(&asked, &METRICS)?;
    let owner = projects::owner(&control, &key.scope, organization(&asked)?)?;
    let part = |project: &Project, sizes: &Sizes, used: Used, frame: Frame| {
        let branches: Vec<&Branch> = project.branches.values().collect();
        amounts(&metrics, used, project, &branches, sizes, frame, now)
    };
    by_project(&control, &asked, owner.as_deref(), now, part).await
}

/// A page of projects, with what `part` makes of each part of their time.
async fn by_project(
    control: &Control,
    asked: &Asked,
    owner: Option<&str>,
    now: Timestamp,
    part: impl Fn(&Project, &Sizes, Used, Frame) -> Value,
) -> Answer {
    let page = page(control, asked, owner)?;
    let sizes = sizes(control, &page).await;
    let shown: Vec<Value> = page
        .iter()
        .map(|project| {
            let of = Of::Project(&project.id);
            let frames = asked.frames(project.created_at, now);
            let periods = periods(&project.id, &frames, |frame| {
                let used = control.usage.between(of, frame.start, frame.end, now);
                part(project, &sizes, used, frame)
            });
            json!({"project_id": project.id, "periods": periods})
        })
        .collect();
    let last = page.last().map(|project| project.id.clone());
    paged("projects", &shown, last)
}

pub(crate) async fn of_branches(
    State(control): Shared,
    Extension(Caller(key)): Extension<Caller>,
    uri: Uri,
) -> Answer {
    allowed(&control, &[ConsumptionLimit::Usage, ConsumptionLimit::All])?;
    let now = Timestamp::now();
    let asked = Asked::read(&uri, now)?;
    let known = METRICS.get(..BRANCH_METRICS).unwrap_or_default();
    let metrics = required_metrics(&asked, known)?;
    let owner = projects::owner(&control, &key.scope, organization(&asked)?)?;
    let (ids, only) = (asked.list("project_ids"), asked.list("branch_ids"));
    if ids.is_empty() {
        return Err(ApiError::bad_request("project_ids is required"));
    }
    let limit = asked.limit(100, 1000)?;
    let cursor = asked.one("cursor").unwrap_or_default();
    let projects: Vec<Project> = control.store.read(|state| {
        let projects = state.projects.values();
        let wanted = |it: &&Project| it.org_id == owner && ids.contains(&it.id.as_str());
        projects.filter(wanted).cloned().collect()
    });
    let all = projects.iter().flat_map(|project| {
        project
            .branches
            .values()
            .map(move |branch| (project, branch))
    });
    let page: Vec<(&Project, &Branch)> = all
        .filter(|(_, branch)| only.is_empty() || only.contains(&branch.id.as_str()))
        .filter(|(project, branch)| format!("{}/{}", project.id, branch.id).as_str() > cursor)
        .take(limit)
        .collect();
    let sizes = sizes(&control, &projects).await;
    let shown: Vec<Value> = page
        .iter()
        .map(|(project, branch)| {
            let of = Of::Branch(&branch.id);
            let periods = periods(
                &project.id,
                &asked.frames(branch.created_at, now),
                |frame| {
                    let used = control.usage.between(of, frame.start, frame.end, now);
                    amounts(&metrics, used, project, &[branch], &sizes, frame, now)
                },
            );
            json!({"project_id": project.id, "branch_id": branch.id, "periods": periods})
        })
        .collect();
    let last = page
        .last()
        .map(|(project, branch)| format!("{}/{}", project.id, branch.id));
    paged("branches", &shown, last)
}

/// Whether the account's plan has this history.
fn allowed(control: &Control, plans: &[ConsumptionLimit]) -> Result<(), ApiError> {
    if plans.contains(&control.limits.consumption) {
        return Ok(());
    }
    Err(ApiError::forbidden(
        "this endpoint is not available, it is not supported with the plan of your account",
    ))
}

fn required_metrics<'a>(asked: &'a Asked, known: &[&str]) -> Result<Vec<&'a str>, ApiError> {
    let metrics = asked.metrics(known)?;
    if metrics.is_empty() {
        return Err(ApiError::bad_request("metrics is required"));
    }
    Ok(metrics)
}

fn organization(asked: &Asked) -> Result<Option<String>, ApiError> {
    let org_id = asked.one("org_id").map(str::to_owned);
    if org_id.is_none() {
        return Err(ApiError::bad_request("org_id is required"));
    }
    Ok(org_id)
}

/// The projects that are asked for, the newest first.
fn page(control: &Control, asked: &Asked, owner: Option<&str>) -> Result<Vec<Project>, ApiError> {
    let limit = asked.limit(10, 100)?;
    let only = asked.list("project_ids");
    let mut found: Vec<Project> = control.store.read(|state| {
        let wanted = |it: &&Project| {
            it.org_id.as_deref() == owner && (only.is_empty() || only.contains(&it.id.as_str()))
        };
        state.projects.values().filter(wanted).cloned().collect()
    });
    found.sort_by(|a, b| (b.created_at, &b.id).cmp(&(a.created_at, &a.id)));
    let after = asked.one("cursor");
    let rest = found
        .into_iter()
        .skip_while(|it| after.is_some_and(|after| it.id != after));
    Ok(rest
        .skip(usize::from(after.is_some()))
        .take(limit)
        .collect())
}

/// The sizes of branches that have data; none is woken for it.
async fn sizes(control: &Control, projects: &[Project]) -> Sizes {
    let mut sizes = Sizes::new();
    for branch in projects
        .iter()
        .flat_map(|project| project.branches.values())
    {
        if branch.state.has_data()
            && let Ok(size) = control.postgres.size(&branch.timeline).await
        {
            sizes.insert(branch.id.clone(), size);
        }
    }
    sizes
}

fn total<'a>(branches: impl Iterator<Item = &'a String>, sizes: &Sizes) -> u64 {
    branches.filter_map(|id| sizes.get(id)).sum()
}

/// The parts of a stretch by the billing periods to which they belong.
fn periods(project_id: &str, frames: &[Frame], show: impl Fn(Frame) -> Value) -> Vec<Value> {
    let present = period_start(Timestamp::now());
    let same = |a: &Frame, b: &Frame| period_start(a.start) == period_start(b.start);
    let periods = frames.chunk_by(same).filter_map(|frames| {
        let (first, last) = (frames.first()?, frames.last()?);
        let start = period_start(first.start);
        let mut period = json!({
            "period_id": period_id(project_id, start),
            "period_plan": "scale",
            "period_start": start,
            "consumption": frames.iter().map(|frame| show(*frame)).collect::<Vec<_>>(),
        });
        let over = start != present;
        // Parts lie within their period, whose end is that of its last day.
        let end = over.then(|| next_period(last.start));
        put(&mut period, "period_end", end.map(instant));
        Some(period)
    });
    periods.collect()
}

/// The same for the same period, whoever asks.
fn period_id(project_id: &str, start: Timestamp) -> String {
    let hash = Sha256::digest(format!("{project_id} {start}"));
    let mut bytes = [0; 16];
    bytes
        .iter_mut()
        .zip(hash)
        .for_each(|(byte, hashed)| *byte = hashed);
    uuid::Builder::from_random_bytes(bytes)
        .into_uuid()
        .to_string()
}

/// A part in the older form.
fn older(used: Used, size: u64, frame: Frame, metrics: &[&str], now: Timestamp) -> Value {
    let hours = overlap(frame.start, frame.end, now).as_secs_f64() / 3600.0;
    let mut shown = json!({
        "timeframe_start": frame.start,
        "timeframe_end": frame.end,
        "active_time_seconds": whole(used.active_seconds),
        "compute_time_seconds": whole(used.compute_seconds),
        "written_data_bytes": 0,
        "synthetic_storage_size_bytes": size,
    });
    for (name, value) in [
        ("logical_size_bytes", size),
        ("logical_size_bytes_hour", by_time(size, hours)),
        ("data_storage_bytes_hour", by_time(size, hours)),
    ] {
        put(
            &mut shown,
            name,
            metrics.contains(&name).then(|| json!(value)),
        );
    }
    shown
}

/// A part in the newer form.
fn amounts(
    metrics: &[&str],
    used: Used,
    project: &Project,
    branches: &[&Branch],
    sizes: &Sizes,
    frame: Frame,
    now: Timestamp,
) -> Value {
    let months = |since: Timestamp| {
        overlap(frame.start.max(since), frame.end, now).as_secs_f64() / MONTH.as_secs_f64()
    };
    let bytes = |root: bool| -> u64 {
        let chosen = branches
            .iter()
            .filter(|branch| branch.parent_id.is_none() == root);
        let with_size = chosen.filter_map(|branch| Some((branch, *sizes.get(&branch.id)?)));
        with_size
            .map(|(branch, size)| by_time(size, months(branch.created_at)))
            .sum()
    };
    let snapshots = || -> u64 {
        let with_size = project
            .snapshots
            .values()
            .filter_map(|it| Some((it, it.full_size?)));
        with_size
            .map(|(it, size)| by_time(size, months(it.created_at)))
            .sum()
    };
    let values: Vec<Value> = metrics
        .iter()
        .map(|metric| {
            let value = match *metric {
                "compute_unit_seconds" => whole(used.compute_seconds),
                "root_branch_bytes_month" => bytes(true),
                "child_branch_bytes_month" => bytes(false),
                "snapshot_storage_bytes_month" => snapshots(),
                _ => 0,
            };
            json!({"metric_name": metric, "value": value})
        })
        .collect();
    json!({"timeframe_start": frame.start, "timeframe_end": frame.end, "metrics": values})
}

/// How much of a stretch is over.
fn overlap(from: Timestamp, to: Timestamp, now: Timestamp) -> SignedDuration {
    to.min(now).duration_since(from).max(SignedDuration::ZERO)
}

/// Bytes for some time.
#[expect(
    clippy::cast_precision_loss,
    clippy::as_conversions,
    reason = "what is shown is an estimate"
)]
fn by_time(bytes: u64, time: f64) -> u64 {
    whole(bytes as f64 * time)
}

fn paged(key: &str, shown: &[Value], last: Option<String>) -> Answer {
    let mut body = json!({key: shown});
    let pagination = last.map(|cursor| json!({"cursor": cursor}));
    put(&mut body, "pagination", pagination);
    ok(body)
}
