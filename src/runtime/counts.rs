//! Counts what the watches know, for the metrics.

use std::collections::HashMap;
use std::sync::Arc;

use kube::runtime::reflector::Store;

use super::{DATABASES, MIGRATIONS, PROJECTS};
use crate::api::{NeonDatabase, Reason};
use crate::cluster::Seen;
use crate::neon::{Accounts, Endpoint, EndpointState, EndpointType, ProjectId, ProjectSnapshot};
use crate::reconcile::Conditions;
use crate::telemetry::{BranchCounts, ComputeState, Metrics, ObjectCounts};
use crate::world::live::Watches;

/// Has the metrics count the objects of these watches at every scrape.
pub(super) fn show(metrics: &Metrics, watches: &Watches) {
    let projects = watches.projects.clone();
    metrics.objects(PROJECTS, move || of_a_watch(&projects));
    let databases = watches.databases.clone();
    metrics.objects(DATABASES, move || of_a_watch(&databases));
    let migrations = watches.migrations.clone();
    metrics.objects(MIGRATIONS, move || of_a_watch(&migrations));
    let databases = watches.databases.clone();
    metrics.branches(move || {
        let seen = databases.state();
        branches(seen.iter().filter_map(|seen| seen.0.as_ref().ok()))
    });
}

/// Has the metrics show how the computes of these NeonDatabases stand, as they were last listed for any other reason.
pub(super) fn show_computes(metrics: &Metrics, watches: &Watches, accounts: &Arc<Accounts>) {
    let (databases, accounts) = (watches.databases.clone(), Arc::clone(accounts));
    metrics.computes(move || {
        let seen = databases.state();
        computes(
            seen.iter().filter_map(|seen| seen.0.as_ref().ok()),
            &accounts.last_seen(),
        )
    });
}

fn of_a_watch<K>(store: &Store<Seen<K>>) -> ObjectCounts
where
    K: kube::Resource<DynamicType = ()> + Conditions + Clone + 'static,
{
    let seen = store.state();
    objects(seen.iter().map(|seen| seen.0.as_ref().ok()))
}

/// Counts objects; none for one that does not decode.
fn objects<'a, K: Conditions + 'a>(all: impl Iterator<Item = Option<&'a Arc<K>>>) -> ObjectCounts {
    let mut counts = ObjectCounts::default();
    for object in all {
        let ready = object.and_then(|object| object.ready());
        let count = match ready.map(|ready| ready.status.as_str()) {
            Some("True") => &mut counts.ready,
            Some("False") => &mut counts.not_ready,
            Some(_) | None => &mut counts.unknown,
        };
        *count = count.saturating_add(1);
    }
    counts
}

/// The computes that these objects have on record and Neon has listed.
fn computes<'a>(
    all: impl Iterator<Item = &'a Arc<NeonDatabase>>,
    listings: &HashMap<ProjectId, Arc<ProjectSnapshot>>,
) -> Vec<ComputeState> {
    let listed = listings.values().flat_map(|listing| &listing.endpoints);
    let by_id: HashMap<&str, &Endpoint> = listed.map(|one| (one.id.as_str(), one)).collect();
    let mut computes = Vec::new();
    for object in all {
        let Some(status) = &object.status else {
            continue;
        };
        let replicas = status.read_replicas.iter().map(|one| &one.endpoint);
        for recorded in status.endpoint.iter().chain(replicas) {
            if let Some(endpoint) = by_id.get(recorded.id.as_str()) {
                computes.push(ComputeState {
                    namespace: object.metadata.namespace.clone().unwrap_or_default(),
                    name: object.metadata.name.clone().unwrap_or_default(),
                    endpoint: recorded.id.clone(),
                    access: access(endpoint),
                    state: state(endpoint),
                });
            }
        }
    }
    computes
}

fn access(endpoint: &Endpoint) -> &'static str {
    match &endpoint.endpoint_type {
        EndpointType::ReadWrite => "read_write",
        EndpointType::ReadOnly => "read_only",
        EndpointType::Other(_) => "other",
    }
}

fn state(endpoint: &Endpoint) -> &'static str {
    match &endpoint.current_state {
        EndpointState::Init => "init",
        EndpointState::Active => "active",
        EndpointState::Idle => "idle",
        EndpointState::Other(_) => "other",
    }
}

/// Counts who has a branch, and who waits for one.
fn branches<'a>(all: impl Iterator<Item = &'a Arc<NeonDatabase>>) -> BranchCounts {
    let mut counts = BranchCounts::default();
    for object in all {
        let status = object.status.as_ref();
        let ready = object.ready();
        let is = |reason: Reason| ready.is_some_and(|ready| ready.reason == reason.as_str());
        let count = if status.is_some_and(|status| status.branch.is_some()) {
            &mut counts.held
        } else if is(Reason::NoRoom) {
            &mut counts.no_room
        } else if is(Reason::ProjectLocked) {
            &mut counts.in_line
        } else if is(Reason::LimitReached) {
            &mut counts.limit_reached
        } else {
            continue;
        };
        *count = count.saturating_add(1);
    }
    counts
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn database(status: &Value) -> Arc<NeonDatabase> {
        let object = json!({
            "apiVersion": "sepulki.dev/v1alpha1", "kind": "NeonDatabase",
            "metadata": {"name": "it", "namespace": "team", "generation": 1},
            "spec": {"projectId": "p", "environment": "preview"},
            "status": status,
        });
        Arc::new(serde_json::from_value(object).unwrap())
    }

    fn says(status: &str, reason: &str) -> Value {
        let ready = json!({"type": "Ready", "status": status, "reason": reason, "message": "",
                           "lastTransitionTime": "2026-12-01T00:00:00Z"});
        json!({"observedGeneration": 1, "conditions": [ready]})
    }

    #[test]
    fn objects_are_counted_by_what_they_say_and_those_that_do_not_decode_too() {
        let all = [
            database(&says("True", "Succeeded")),
            database(&says("True", "Succeeded")),
            database(&says("False", "NoRoom")),
            database(&json!({"observedGeneration": 1})),
        ];
        let seen = all.iter().map(Some).chain([None]);
        let expected = ObjectCounts {
            ready: 2,
            not_ready: 1,
            unknown: 2,
        };
        assert_eq!(objects(seen), expected);
    }

    #[test]
    fn a_compute_is_told_as_it_was_last_listed() {
        let endpoint = |id: &str, kind: &str, state: &str| -> Endpoint {
            let host = format!("{id}.example");
            serde_json::from_value(json!({
                "id": id, "branch_id": "br", "host": host, "type": kind, "current_state": state,
            }))
            .unwrap()
        };
        let listing = ProjectSnapshot {
            branches: Vec::new(),
            endpoints: vec![
                endpoint("ep-1", "read_write", "active"),
                endpoint("ep-2", "read_only", "idle"),
                endpoint("ep-3", "read_write", "idle"),
            ],
            taken_at: jiff::Timestamp::UNIX_EPOCH,
        };
        let listings = HashMap::from([("p".into(), Arc::new(listing))]);
        let status = |id: &str| json!({"id": id, "host": "h", "minCU": 0.25, "maxCU": 0.25, "suspendAfter": "300s"});
        let mut known = says("True", "Succeeded");
        known["endpoint"] = status("ep-1");
        known["readReplicas"] = json!([{"name": "reports", "endpoint": status("ep-2")}]);
        let mut unlisted = says("True", "Succeeded");
        unlisted["endpoint"] = status("ep-9");
        let told = computes([database(&known), database(&unlisted)].iter(), &listings);
        let told: Vec<_> = told
            .iter()
            .map(|one| (one.endpoint.as_str(), one.access, one.state))
            .collect();
        let expected = [
            ("ep-1", "read_write", "active"),
            ("ep-2", "read_only", "idle"),
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn who_has_a_branch_does_not_wait_for_one() {
        let mut held = says("False", "LimitReached");
        held["branch"] = json!({
            "id": "br-it", "name": "it", "isDefault": false, "protected": false, "takenOver": false,
            "incarnation": "i", "credentials": "Own", "createdTime": "2026-12-01T00:00:00Z",
        });
        let all = [
            database(&held),
            database(&says("False", "NoRoom")),
            database(&says("False", "ProjectLocked")),
            database(&says("False", "ProjectLocked")),
            database(&says("False", "LimitReached")),
            database(&says("False", "ParentNotReady")),
        ];
        let expected = BranchCounts {
            held: 1,
            no_room: 1,
            in_line: 2,
            limit_reached: 1,
        };
        assert_eq!(branches(all.iter()), expected);
    }
}
