//! Where the object's project is, and on which terms it may use it: read off the NeonProject, the namespace's labels and
//! the other objects. Looks at the watches only.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;

use super::{Key, Observed};
use crate::api::{NeonDatabase, NeonDatabaseStatus, NeonProject, Reason};
use crate::database::desired::Desired;
use crate::database::mark::Mark;
use crate::database::rules::{self, Asker, Rule, Terms, WayIn};
use crate::database::{Databases, Pass};
use crate::neon::{BranchId, ProjectSnapshot};
use crate::reconcile::Conditions;
use crate::world::{Source, UNANSWERED};

/// The object's source; none where `observed.key` says why.
pub(super) fn source(
    kind: &Databases,
    pass: &Pass,
    desired: &Desired,
    observed: &mut Observed,
) -> Option<Source> {
    let cluster = &kind.world.cluster;
    let Some(source) = Source::of(&pass.object, &cluster.projects()) else {
        observed.key = Key::Waiting(match &desired.project_ref {
            Some(name) => format!("there is no NeonProject {name} that this operator looks after"),
            None => "spec names neither a projectRef nor a projectId".to_owned(),
        });
        return None;
    };
    observed.source = Some(source.clone());
    let Some(project) = &source.from else {
        return Some(source);
    };
    let name = project.metadata.name.clone().unwrap_or_default();
    let recorded = observed.recorded.project_id.as_deref();
    let recorded = recorded.filter(|_| lives_there(&observed.recorded));
    if let Some(recorded) = recorded.filter(|id| *id != source.project.as_str()) {
        observed.key = Key::NoProject(format!(
            "NeonProject {name} now leads to the project {}, but this object lives in {recorded}: make the NeonProject \
             lead there again, or this object anew",
            source.project
        ));
        return None;
    }
    // what exists goes on by its key, however its NeonProject stands
    let starts = observed.recorded.branch.is_none() && !desired.deleting;
    if let Some(why) = unready(project).filter(|_| starts) {
        observed.key = why;
        return None;
    }
    Some(source)
}

/// Whether something of the object's is in the project on record, or may still come there.
fn lives_there(recorded: &NeonDatabaseStatus) -> bool {
    recorded.branch.is_some()
        || recorded.branch_request_time.is_some()
        || !recorded.operations.is_empty()
}

/// What a NeonProject says of its settings alone.
const OF_SETTINGS: [Reason; 3] = [
    Reason::InvalidSpec,
    Reason::SettingClaimed,
    Reason::NeonRejected,
];

/// Why a NeonProject cannot be used yet. A setting that somebody refuses is no reason: the project is there and open. Nor is
/// an edit that was not looked at yet of one that was ready: rules and key are read as they are now in any case.
fn unready(project: &NeonProject) -> Option<Key> {
    let name = project.metadata.name.as_deref().unwrap_or_default();
    let is_not = |why: &str| format!("NeonProject {name} is not ready: {why}");
    if project.metadata.deletion_timestamp.is_some() {
        return Some(Key::Waiting(is_not("it is being deleted")));
    }
    let Some(c) = project.ready() else {
        return Some(Key::Unseen(is_not("it was not looked at yet")));
    };
    let is_usable =
        c.status == "True" || OF_SETTINGS.iter().any(|reason| c.reason == reason.as_str());
    if is_usable {
        return None;
    }
    let why = is_not(&format!("{} ({})", c.message, c.reason));
    Some(if project.is_observed() {
        Key::Waiting(why)
    } else {
        Key::Unseen(why)
    })
}

/// The terms of the NeonProject, for an object that has no branch yet.
pub(super) fn terms(
    kind: &Databases,
    desired: &Desired,
    others: &[Arc<NeonDatabase>],
    listing: &ProjectSnapshot,
    observed: &Observed,
    now: Timestamp,
) -> Option<Terms> {
    let project = observed.source.as_ref()?.from.as_ref()?;
    if observed.recorded.branch.is_some() || desired.deleting {
        return None;
    }
    let name = project.metadata.name.clone().unwrap_or_default();
    let (room_seen, entering) = kind.room.look(listing.taken_at);
    let mut terms = Terms {
        base_branch: project.spec.base_branch.clone(),
        labels: kind.world.cluster.namespace_labels(&desired.mark.namespace),
        rules: Vec::new(),
        parent_branch: observed
            .parent
            .known()
            .and_then(|parent| parent.branch.as_ref())
            .and_then(|id| name_of(listing, id)),
        room_seen,
        project: name,
    };
    let unused = |rule: &_| Rule {
        rule: Clone::clone(rule),
        held: 0,
        ahead: 0,
    };
    terms.rules = project.spec.access.iter().map(unused).collect();
    if terms.are_capped() {
        count(kind, desired, others, (listing, now), &entering, &mut terms);
    }
    Some(terms)
}

/// Counts what others use of each rule.
fn count(
    kind: &Databases,
    desired: &Desired,
    others: &[Arc<NeonDatabase>],
    (listing, now): (&ProjectSnapshot, Timestamp),
    entering: &BTreeSet<String>,
    terms: &mut Terms,
) {
    let marked: BTreeSet<(String, String)> = listing
        .branches
        .iter()
        .filter_map(|branch| Mark::of(&branch.annotations))
        .filter(|mark| mark.installation == desired.mark.installation && mark.purpose.is_none())
        .map(|mark| (mark.namespace, mark.name))
        .collect();
    for other in others {
        let reference = other.spec.project_ref.as_ref();
        if reference.map(|r| r.name.as_str()) != Some(terms.project.as_str()) {
            continue;
        }
        let (namespace, name) = place_of(other);
        let Some(labels) = kind.world.cluster.namespace_labels(&namespace) else {
            continue;
        };
        let way = way_in(other, others, listing);
        let asker = Asker {
            labels: &labels,
            environment: other.spec.environment,
            way: way.as_ref().map_or(WayIn::Unknown, Way::as_way_in),
        };
        let rules = terms.rules.iter().map(|rule| &rule.rule);
        let Some(rule) = rules::first(rules, asker).and_then(|i| terms.rules.get_mut(i)) else {
            continue;
        };
        let has_one = has_branch(other, now);
        let uid = other.metadata.uid.clone().unwrap_or_default();
        if has_one || entering.contains(&uid) || marked.contains(&(namespace, name)) {
            rule.held += 1;
        } else if super::branches::is_older(other, desired) && waits_for_room(other) {
            rule.ahead += 1;
        }
    }
}

/// Whether an object has a branch, or has asked for one that may still come.
fn has_branch(object: &NeonDatabase, now: Timestamp) -> bool {
    object.status.as_ref().is_some_and(|status| {
        let asked = status.branch_request_time.as_ref();
        let recently = asked.is_some_and(|asked| now.duration_since(asked.0) < UNANSWERED);
        status.branch.is_some() || recently
    })
}

/// Whether an object without a branch is about to get one: nothing but the lack of room, if anything, is in its way.
fn waits_for_room(object: &NeonDatabase) -> bool {
    if object.metadata.deletion_timestamp.is_some() || object.spec.suspend {
        return false;
    }
    match object.ready() {
        // nobody looked yet, or not since it was changed: it may be about to
        _ if !object.is_observed() => true,
        Some(c) => {
            let is = |reason: Reason| c.reason == reason.as_str();
            is(Reason::NoRoom) || is(Reason::Progressing) || is(Reason::ProjectLocked)
        }
        None => true,
    }
}

/// [`WayIn`] with the name in it.
enum Way {
    Fork(String),
    TakeOver,
}

impl Way {
    fn as_way_in(&self) -> WayIn<'_> {
        match self {
            Self::Fork(parent) => WayIn::Fork(parent),
            Self::TakeOver => WayIn::TakeOver,
        }
    }
}

/// How another object comes by its branch, or came by it.
fn way_in(
    object: &NeonDatabase,
    others: &[Arc<NeonDatabase>],
    listing: &ProjectSnapshot,
) -> Option<Way> {
    let status = object.status.as_ref()?;
    if let Some(branch) = &status.branch {
        let parent = branch.parent_id.as_deref().map(BranchId::from);
        return Some(match parent {
            Some(parent) if !branch.taken_over => Way::Fork(name_of(listing, &parent)?),
            Some(_) | None => Way::TakeOver,
        });
    }
    let effective = status.effective.as_ref()?;
    if effective.existing.is_some() {
        return Some(Way::TakeOver);
    }
    let parent = effective.parent.as_ref()?;
    if let Some(name) = &parent.branch_name {
        return Some(Way::Fork(name.clone()));
    }
    let reference = parent.database_ref.as_ref()?;
    let is_it = |other: &&Arc<NeonDatabase>| {
        other.metadata.namespace == object.metadata.namespace
            && other.metadata.name.as_deref() == Some(reference.name.as_str())
    };
    let found = others
        .iter()
        .find(is_it)?
        .status
        .as_ref()?
        .branch
        .as_ref()?;
    Some(Way::Fork(found.name.clone()))
}

fn name_of(listing: &ProjectSnapshot, id: &BranchId) -> Option<String> {
    listing.branch(id).map(|branch| branch.name.clone())
}

fn place_of(object: &NeonDatabase) -> (String, String) {
    let meta = &object.metadata;
    (
        meta.namespace.clone().unwrap_or_default(),
        meta.name.clone().unwrap_or_default(),
    )
}
