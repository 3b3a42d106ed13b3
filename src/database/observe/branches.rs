//! Which branches concern the object, read off the project's listing and the other objects. Pure but for the locks that
//! it looks at.

use std::sync::Arc;

use jiff::Timestamp;

use super::{Existing, Observed, Parent, Standing};
use crate::api::{ConditionType, EndpointStatus, ExistingBranch, NeonDatabase};
use crate::database::Databases;
use crate::database::desired::Desired;
use crate::database::mark::Mark;
use crate::neon::{Branch, BranchId, BranchState, ProjectSnapshot};
use crate::reconcile::{self, Conditions, Fact};
use crate::world::Source;

/// Every other object of the same project that is not on its way out.
pub(super) fn others(
    kind: &Databases,
    desired: &Desired,
    source: &Source,
) -> Vec<Arc<NeonDatabase>> {
    let projects = kind.world.cluster.projects();
    let mut others = kind.world.cluster.databases();
    others.retain(|other| {
        other.metadata.uid.as_deref() != Some(&desired.uid) && source.is_of(other, &projects)
    });
    others
}

pub(super) fn branches(
    kind: &Databases,
    desired: &Desired,
    others: &[Arc<NeonDatabase>],
    listing: &ProjectSnapshot,
    observed: &mut Observed,
) {
    let ours = |branch: &&Branch| Mark::of(&branch.annotations).as_ref() == Some(&desired.mark);
    if let Some(recorded) = observed.recorded.branch.clone() {
        let id = BranchId::from(recorded.id.as_str());
        observed.branch = listing.branch(&id).cloned().into();
        observed.endpoint = listing.read_write_endpoint(&id).cloned().into();
        observed.replicas = listing.replicas_of(&id).cloned().collect();
        match served_instead(observed.recorded.endpoint.as_ref(), listing, &id) {
            Some(other) if listing.branch(other).is_some() => {
                observed.served_instead = listing.branch(other).cloned();
            }
            // it came between the two lists, and nothing is known before it is in both
            Some(_) if !desired.deleting => {
                (observed.branch, observed.endpoint) = (Fact::Unknown, Fact::Unknown);
            }
            Some(_) | None => {}
        }
        observed.branch_free = kind.world.locks.exclusive(&recorded.id).is_some();
        observed.children = children(others, listing, &id);
        observed.older_rival = others
            .iter()
            .find(|other| holds(other, &id) && is_older(other, desired))
            .map(named);
    } else {
        let marked = listing.branches.iter().filter(ours);
        let (of_this, of_earlier): (Vec<&Branch>, Vec<&Branch>) =
            marked.partition(|branch| is_of_this(branch, desired, observed));
        let oldest = |all: Vec<&Branch>| all.into_iter().min_by_key(|b| b.created_at).cloned();
        observed.marked = oldest(of_this);
        observed.left_over = oldest(of_earlier);
        // the mark is ours even if a later branch of ours has children
        if let Some(marked) = &observed.marked {
            observed.children = children(others, listing, &marked.id);
        }
    }
    let effective = observed.recorded.effective.as_ref();
    if let Some(existing) = effective.and_then(|e| e.existing.as_ref()) {
        observed.existing = existing_branch(existing, listing, others, &desired.mark)
            .map(|existing| with_way_out(kind, existing, &desired.mark))
            .into();
    }
    if let Some(name) = effective.and_then(|e| e.branch_name.as_ref()) {
        let is_ours = |branch: &&Branch| match &observed.recorded.branch {
            Some(recorded) => recorded.id == branch.id.as_str(),
            None => ours(branch),
        };
        let named = listing.branch_named(name);
        observed.named = named.filter(|branch| !is_ours(branch)).cloned();
    }
    if let Some(parent) = effective.and_then(|e| e.parent.as_ref()) {
        let here = |other: &&Arc<NeonDatabase>| {
            other.metadata.namespace.as_deref() == Some(&desired.mark.namespace)
                && parent
                    .database_ref
                    .as_ref()
                    .is_some_and(|r| other.metadata.name.as_deref() == Some(r.name.as_str()))
        };
        observed.parent = match &parent.branch_name {
            Some(name) => listing.branch_named(name).map(|branch| Parent {
                name: name.clone(),
                branch: Some(branch.id.clone()),
                standing: match branch.current_state {
                    // an archived one is brought back by its child, and a state that we do not know is Neon's to judge
                    BranchState::Ready | BranchState::Archived | BranchState::Other(_) => {
                        Standing::Ready
                    }
                    BranchState::Init => Standing::BeingMade,
                    BranchState::Resetting => Standing::Unready,
                },
                expires: branch.expires_at.is_some(),
            }),
            None => others
                .iter()
                .find(here)
                .map(|object| parent_object(object, listing)),
        }
        .into();
        // of use before the branch is forked only
        if observed.recorded.branch.is_none() {
            observed.parent_trouble = others.iter().find(here).map(|object| trouble(object));
        }
    }
    observed.other_parent = other_parent(listing, observed);
    let candidate = |other: &&Arc<NeonDatabase>| {
        other.metadata.namespace.as_deref() == Some(&desired.mark.namespace)
            && Some(other.spec.environment) == desired.profile.parent
            && other.metadata.deletion_timestamp.is_none()
    };
    observed.candidates = others
        .iter()
        .filter(candidate)
        .filter_map(|other| other.metadata.name.clone())
        .collect();
    observed.candidates.sort();
}

/// Whether a branch that bears our mark is that of this object, or of this very object in an earlier cluster. A mark names no
/// environment: what a staging of this name has left behind is nothing that a preview may take up, to delete it one day.
fn is_of_this(branch: &Branch, desired: &Desired, observed: &Observed) -> bool {
    let effective = observed.recorded.effective.as_ref();
    let made_since = |created| branch.created_at >= created;
    branch.name == desired.name_of_branch(effective) || desired.created.is_some_and(made_since)
}

/// As much of another object's words as is told of it.
const MOST_WORDS: usize = 200;

/// How an object stands that is not ready, in its own words.
fn trouble(object: &NeonDatabase) -> String {
    match object.ready() {
        Some(c) => {
            let words: String = c.message.chars().take(MOST_WORDS).collect();
            format!("{words} ({})", c.reason)
        }
        None => "it was not looked at yet".to_owned(),
    }
}

fn parent_object(object: &NeonDatabase, listing: &ProjectSnapshot) -> Parent {
    let status = object.status.as_ref();
    let branch = status
        .and_then(|s| s.branch.as_ref())
        .map(|branch| BranchId::from(branch.id.as_str()));
    let listed = branch.as_ref().and_then(|id| listing.branch(id));
    let ready = object.condition(ConditionType::BranchReady);
    let ready = ready.is_some_and(|c| c.status == "True");
    let standing = match (object.metadata.deletion_timestamp.is_some(), ready) {
        (true, _) => Standing::Deleting,
        (false, true) => Standing::Ready,
        (false, false) => Standing::Unready,
    };
    Parent {
        name: object.metadata.name.clone().unwrap_or_default(),
        expires: listed.is_some_and(|branch| branch.expires_at.is_some()),
        branch,
        standing,
    }
}

/// The parent that the recorded branch has instead of the one that was resolved. A restore gives it another one.
fn other_parent(listing: &ProjectSnapshot, observed: &Observed) -> Option<String> {
    let taken_over = observed.recorded.branch.as_ref()?.taken_over;
    let resolved = observed.parent.known()?.branch.as_ref()?;
    let actual = observed.branch.known()?.parent_id.as_ref();
    if taken_over || actual == Some(resolved) {
        return None;
    }
    Some(actual.map_or_else(
        || "none".to_owned(),
        |id| match listing.branch(id) {
            Some(parent) => format!("{} ({id})", parent.name),
            None => id.to_string(),
        },
    ))
}

/// The other branch that the endpoint on record serves. Neon moves an endpoint, and its host with it, where a snapshot is
/// restored in the place of a branch.
pub(super) fn served_instead<'a>(
    endpoint: Option<&EndpointStatus>,
    listing: &'a ProjectSnapshot,
    recorded: &BranchId,
) -> Option<&'a BranchId> {
    let mut all = listing.endpoints.iter();
    let found = all.find(|found| endpoint.is_some_and(|known| found.id.as_str() == known.id))?;
    (found.branch_id != *recorded).then_some(&found.branch_id)
}

/// The branch that is to be taken over.
pub(super) fn named_by<'a>(
    existing: &ExistingBranch,
    listing: &'a ProjectSnapshot,
) -> Option<&'a Branch> {
    match existing {
        ExistingBranch { id: Some(id), .. } => listing.branch(&BranchId::from(id.as_str())),
        ExistingBranch {
            name: Some(name), ..
        } => listing.branch_named(name),
        ExistingBranch { .. } => listing.default_branch(),
    }
}

fn existing_branch(
    existing: &ExistingBranch,
    listing: &ProjectSnapshot,
    others: &[Arc<NeonDatabase>],
    mark: &Mark,
) -> Option<Existing> {
    let branch = named_by(existing, listing)?;
    let marked = Mark::of(&branch.annotations)
        .filter(|other| other != mark)
        .map(|other| other.to_string());
    let claimed = || {
        others
            .iter()
            .find(|other| holds(other, &branch.id))
            .map(named)
    };
    Some(Existing {
        branch: branch.clone(),
        holder: marked.or_else(claimed),
    })
}

/// A branch that bears the mark of an object which is not there any more is free for nobody but that: no mark can be taken away.
fn with_way_out(kind: &Databases, existing: Existing, own: &Mark) -> Existing {
    let all = kind.world.cluster.databases();
    let mark = Mark::of(&existing.branch.annotations).filter(|mark| mark != own);
    let mark = mark.filter(|mark| mark.installation == own.installation && mark.purpose.is_none());
    let gone =
        mark.filter(|mark| reconcile::named(&all, Some(&mark.namespace), &mark.name).is_none());
    let holder = match gone {
        Some(mark) => Some(format!(
            "{mark}, an object that is not there: one of that name takes the branch up again, and no other can"
        )),
        None => existing.holder,
    };
    Existing { holder, ..existing }
}

fn holds(other: &NeonDatabase, id: &BranchId) -> bool {
    other
        .status
        .as_ref()
        .and_then(|s| s.branch.as_ref())
        .is_some_and(|branch| branch.id == id.as_str())
}

/// Between two objects that hold one branch the older wins, and of two that were made in the same second the one whose
/// uid comes first.
pub(in crate::database) fn is_older(other: &NeonDatabase, desired: &Desired) -> bool {
    let age =
        |created: Option<Timestamp>, uid: &str| (created.unwrap_or(Timestamp::MAX), uid.to_owned());
    let theirs = age(
        other
            .metadata
            .creation_timestamp
            .as_ref()
            .map(|time| time.0),
        other.metadata.uid.as_deref().unwrap_or_default(),
    );
    theirs < age(desired.created, &desired.uid)
}

fn named(other: &Arc<NeonDatabase>) -> String {
    let meta = &other.metadata;
    let text = |part: &Option<String>| part.clone().unwrap_or_default();
    format!(
        "NeonDatabase {}/{}",
        text(&meta.namespace),
        text(&meta.name)
    )
}

/// Branches forked from this one, each by the object that holds it where there is one.
fn children(others: &[Arc<NeonDatabase>], listing: &ProjectSnapshot, id: &BranchId) -> Vec<String> {
    listing
        .children_of(id)
        .map(
            |child| match others.iter().find(|other| holds(other, &child.id)) {
                Some(object) => format!("{} ({})", child.name, named(object)),
                None => child.name.clone(),
            },
        )
        .collect()
}
