//! Whose turn it is to get a branch: first come, first served, in every project. Pure but for Neon's last word on it.
//!
//! Neon changes a project one step at a time, and an account may make so many calls. Who comes too early finds the
//! project busy, comes back some time later, and is overtaken by whoever is luckier; so it waits here, in the order in
//! which the objects were made, and asks nobody. The line is read off the other objects, so that a process that has
//! just started knows it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::desired::Desired;
use super::observe::is_older;
use super::plan::LATER;
use crate::api::{ConditionType, NeonDatabase, NeonDatabaseStatus, Reason, find_condition};
use crate::clock::age;
use crate::neon::ProjectId;
use crate::reconcile::Conditions;

/// So many objects of a project are brought up at a time. One cannot use up the calls of its account, because it waits for
/// Neon between them; more than may queue for a change of the project would be turned away there.
const AT_A_TIME: usize = 4;

/// No object is brought up faster.
const PACE: Duration = Duration::from_secs(1);

/// How soon to look again at the latest, for those ahead may go away.
const LATEST: Duration = Duration::from_mins(5);

/// How long Neon's word is believed that it has no room. Whoever comes first asks again every minute.
const BELIEVED: SignedDuration = SignedDuration::from_mins(5);

/// Who waits for Neon for longer than this is not waited for by others: nobody can tell for how long.
const WAITED_FOR: SignedDuration = SignedDuration::from_mins(1);

/// The line before a project, as one object finds it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line {
    /// Older objects of the project that are getting a branch or wait for one.
    pub ahead: usize,
    /// What Neon last had no room for; none where it has made a branch since.
    pub full: Option<Full>,
}

/// What a project has no room for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Full {
    /// What is waited for, in words.
    pub awaited: &'static str,
    /// What Neon said.
    pub why: String,
}

/// Why an object has to wait, and how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// What the condition says.
    pub reason: Reason,
    /// What is waited for, and at which place.
    pub message: String,
    /// When to look again.
    pub after: Duration,
}

impl Line {
    /// What to wait for; none where it is this object's turn.
    #[must_use]
    pub fn wait(&self) -> Option<Turn> {
        // where there is no room the first in line asks for all
        let most = self.full.as_ref().map_or(AT_A_TIME, |_| 1);
        let before = self.ahead.checked_sub(most)?;
        let others = match self.ahead {
            1 => "an older object comes".to_owned(),
            many => format!("{many} older objects come"),
        };
        let place = self.ahead + 1;
        let paces = u32::try_from(before).unwrap_or(u32::MAX).saturating_add(1);
        let after = PACE.saturating_mul(paces).min(LATEST);
        Some(match &self.full {
            Some(full) => Turn {
                reason: Reason::LimitReached,
                message: format!(
                    "number {place} in line for {} in the project, {others} first: {}",
                    full.awaited, full.why
                ),
                after: after.max(LATER),
            },
            None => Turn {
                reason: Reason::ProjectLocked,
                message: format!(
                    "number {place} in line for a branch of the project: {others} first"
                ),
                after,
            },
        })
    }
}

/// What Neon said of each project that had no room. Losing it costs some calls.
#[derive(Default)]
pub(super) struct Lines {
    full: Mutex<HashMap<ProjectId, (Timestamp, Full)>>,
}

impl Lines {
    /// The line as an object without a branch finds it.
    pub(super) fn of(
        &self,
        desired: &Desired,
        others: &[Arc<NeonDatabase>],
        project: &ProjectId,
        now: Timestamp,
    ) -> Line {
        let ahead = |other: &&Arc<NeonDatabase>| is_in_line(other, now) && is_older(other, desired);
        let mut full = self.lock();
        full.retain(|_, (at, _)| age(*at, now).is_some_and(|age| age < BELIEVED));
        Line {
            ahead: others.iter().filter(ahead).count(),
            full: full.get(project).map(|(_, why)| why.clone()),
        }
    }

    /// Neon has no room for a branch, or for its compute.
    pub(super) fn is_full(&self, project: &ProjectId, full: Full, now: Timestamp) {
        self.lock().insert(project.clone(), (now, full));
    }

    /// Neon has made a branch.
    pub(super) fn has_room(&self, project: &ProjectId) {
        self.lock().remove(project);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ProjectId, (Timestamp, Full)>> {
        self.full.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether an object is getting a branch, with what belongs inside of it, or waits for nothing but its turn. One that
/// waits for anything else lets the others pass.
fn is_in_line(object: &NeonDatabase, now: Timestamp) -> bool {
    if object.metadata.deletion_timestamp.is_some() || object.spec.suspend {
        return false;
    }
    let status = object.status.as_ref();
    if status.is_some_and(|status| waits_long(status, now)) {
        return false;
    }
    let has_branch = status.is_some_and(|status| status.branch.is_some());
    if has_branch && status.is_some_and(|status| status.content_digest.is_some()) {
        return false;
    }
    if !object.is_observed() {
        return !has_branch;
    }
    object.ready().is_none_or(|ready| {
        let is = |reason: Reason| ready.reason == reason.as_str();
        let under_way = is(Reason::Progressing)
            || is(Reason::OperationsRunning)
            || is(Reason::ProjectLocked)
            || is(Reason::RateLimited);
        under_way || (is(Reason::LimitReached) && !has_branch)
    })
}

/// Whether Neon is long at work for an object. Where no operation tells since when, the branch does.
fn waits_long(status: &NeonDatabaseStatus, now: Timestamp) -> bool {
    let is_long = |since: &Time| now.duration_since(since.0) >= WAITED_FOR;
    let mut operations = status.operations.iter();
    if operations.any(|operation| is_long(&operation.request_time)) {
        return true;
    }
    let ready = find_condition(&status.conditions, ConditionType::Ready);
    let is_waited_for = ready.is_some_and(|c| c.reason == Reason::OperationsRunning.as_str());
    let made = status.branch.as_ref().map(|branch| &branch.created_time);
    status.operations.is_empty() && is_waited_for && made.is_some_and(is_long)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::api::Environment;
    use crate::database::fixtures;

    fn full(why: &str) -> Full {
        Full {
            awaited: "room for one more branch",
            why: why.to_owned(),
        }
    }

    fn line(ahead: usize, why: Option<&str>) -> Option<Turn> {
        let full = why.map(full);
        Line { ahead, full }.wait()
    }

    #[test]
    fn some_are_brought_up_at_a_time_and_the_others_are_told_their_place() {
        assert_eq!(line(0, None), None);
        assert_eq!(line(3, None), None);
        let fifth = line(4, None).unwrap();
        assert_eq!(fifth.reason, Reason::ProjectLocked);
        assert_eq!(
            fifth.message,
            "number 5 in line for a branch of the project: 4 older objects come first"
        );
        assert_eq!(fifth.after, Duration::from_secs(1));
        assert_eq!(line(53, None).unwrap().after, Duration::from_secs(50));
        assert_eq!(line(5000, None).unwrap().after, LATEST);
    }

    #[test]
    fn where_there_is_no_room_one_asks_for_all() {
        let why = Some("Neon: branches limit exceeded");
        assert_eq!(line(0, why), None);
        let second = line(1, why).unwrap();
        assert_eq!(second.reason, Reason::LimitReached);
        assert_eq!(
            second.message,
            "number 2 in line for room for one more branch in the project, an older object comes first: Neon: branches limit \
             exceeded"
        );
        assert_eq!(second.after, LATER);
    }

    #[test]
    fn neons_word_holds_until_it_makes_a_branch_or_is_old() {
        let lines = Lines::default();
        let (desired, now) = (fixtures::desired(Environment::Preview), fixtures::now());
        let sea = ProjectId::from("sea");
        let told = |project: &str, at| lines.of(&desired, &[], &project.into(), at).full;
        lines.is_full(&sea, full("no room"), now);
        assert_eq!(told("sea", now), Some(full("no room")));
        assert_eq!(told("lake", now), None);
        lines.has_room(&sea);
        assert_eq!(told("sea", now), None);
        lines.is_full(&sea, full("no room"), now);
        assert_eq!(told("sea", now + BELIEVED), None);
    }

    fn at(seconds: i64) -> Timestamp {
        let begin: Timestamp = "2026-12-01T00:00:00Z".parse().unwrap();
        begin + SignedDuration::from_secs(seconds)
    }

    /// An object without a branch that says this of itself, and whatever else.
    fn object(reason: &str, more: &Value) -> NeonDatabase {
        let ready = json!({"type": "Ready", "status": "False", "reason": reason, "message": "",
                           "lastTransitionTime": "2026-12-01T00:00:00Z"});
        let mut status = json!({"observedGeneration": 1, "conditions": [ready]});
        if let (Some(status), Some(more)) = (status.as_object_mut(), more.as_object()) {
            status.extend(more.clone());
        }
        let object = json!({
            "apiVersion": "sepulki.dev/v1alpha1", "kind": "NeonDatabase",
            "metadata": {"name": "it", "namespace": "team", "uid": "it", "generation": 1},
            "spec": {"projectId": "p", "environment": "preview"},
            "status": status,
        });
        serde_json::from_value(object).unwrap()
    }

    #[test]
    fn only_who_waits_for_nothing_but_its_turn_is_in_line() {
        let branch = json!({"branch": {
            "id": "br-it", "name": "it", "isDefault": false, "protected": false, "takenOver": false,
            "incarnation": "i", "credentials": "Inherited", "createdTime": "2026-12-01T00:00:00Z",
        }});
        let mut done = branch.clone();
        done["contentDigest"] = json!("d");
        let nothing = json!({});
        let unseen = json!({"observedGeneration": 0});
        for (reason, more, expected) in [
            ("Progressing", &nothing, true),
            ("OperationsRunning", &branch, true),
            ("OperationsRunning", &done, false),
            ("ProjectLocked", &nothing, true),
            ("LimitReached", &nothing, true),
            ("LimitReached", &branch, false),
            ("NoRoom", &nothing, false),
            ("ParentNotReady", &nothing, false),
            ("DatabaseUnavailable", &branch, false),
            ("ParentNotReady", &unseen, true),
        ] {
            let is = is_in_line(&object(reason, more), at(0));
            assert_eq!(is, expected, "{reason} {more}");
        }
        let mut waits = object("Progressing", &nothing);
        waits.spec.suspend = true;
        assert!(!is_in_line(&waits, at(0)));
    }

    #[test]
    fn who_waits_long_for_a_branch_that_no_operation_tells_of_lets_the_others_pass() {
        let branch = json!({"branch": {
            "id": "br-it", "name": "it", "isDefault": false, "protected": false, "takenOver": false,
            "incarnation": "i", "credentials": "Inherited", "createdTime": "2026-12-01T00:00:00Z",
        }});
        let waits = object("OperationsRunning", &branch);
        assert!(is_in_line(&waits, at(59)));
        assert!(!is_in_line(&waits, at(60)));
        // one that Neon is not waited for goes on at once
        assert!(is_in_line(&object("Progressing", &branch), at(60)));
    }

    #[test]
    fn who_waits_long_for_neon_lets_the_others_pass() {
        let asked = json!({"operations": [
            {"id": "op", "action": "create_branch", "requestTime": "2026-12-01T00:00:00Z"},
        ]});
        let waits = object("OperationsRunning", &asked);
        assert!(is_in_line(&waits, at(59)));
        assert!(!is_in_line(&waits, at(60)));
    }
}
