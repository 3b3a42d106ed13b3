//! Which database an object is: what cannot be changed any more, in CEL. Pure.
//!
//! Until Neon is asked for the branch nothing hangs on these fields, and a mistake in them can be corrected. That it is asked
//! is on record before it is asked, so that nobody changes them in between.
//!
//! Only texts are compared, which are bounded: the API server refuses rules whose cost it cannot tell.

/// What the spec says, what it said before, and what is on record of that.
const NOW: &str = "self.spec";
const BEFORE: &str = "oldSelf.spec";
const RECORD: &str = "oldSelf.status";

/// As long as this is true, they may change.
const NOT_ASKED_FOR: &str = "!has(oldSelf.status) || (!has(oldSelf.status.branch) && !has(oldSelf.status.branchRequestTime))";

/// What Neon is still at work on can be asked after in its own project only.
const NOT_IN_A_PROJECT: &str = "!has(oldSelf.status) || (!has(oldSelf.status.branch) && !has(oldSelf.status.branchRequestTime) \
     && (!has(oldSelf.status.operations) || oldSelf.status.operations.size() == 0))";

const PARENT: &str = "branch.parent";
const EXISTING: &str = "branch.existing";

/// Whether all fields of a path are there.
fn there(root: &str, path: &str) -> String {
    let mut at = root.to_owned();
    let mut all = Vec::new();
    for field in path.split('.') {
        at = format!("{at}.{field}");
        all.push(format!("has({at})"));
    }
    all.join(" && ")
}

/// The text at a path, empty where there is none.
fn text(root: &str, path: &str) -> String {
    format!("({} ? {root}.{path} : '')", there(root, path))
}

/// Whether the spec has the same text at a path as is at another place.
fn same(path: &str, root: &str, there: &str) -> String {
    format!("{} == {}", text(NOW, path), text(root, there))
}

/// Whether the spec has the same texts in these fields as is at another place.
fn same_fields(fields: &[&str], of: &str, root: &str, there: &str) -> String {
    let same = |field: &&str| same(&format!("{of}.{field}"), root, &format!("{there}.{field}"));
    fields.iter().map(same).collect::<Vec<_>>().join(" && ")
}

fn same_parent(root: &str, there: &str) -> String {
    let fields = ["branchName", "databaseRef.name", "at.time", "at.lsn"];
    same_fields(&fields, PARENT, root, there)
}

fn same_existing(root: &str, place: &str) -> String {
    let default = |root: &str, of: &str| there(root, &format!("{of}.default"));
    format!(
        "({}) == ({}) && {}",
        default(NOW, EXISTING),
        default(root, place),
        same_fields(&["name", "id"], EXISTING, root, place)
    )
}

/// The NeonProject that is referred to.
pub(super) fn project_ref() -> String {
    let same = same("projectRef.name", BEFORE, "projectRef.name");
    format!("{NOT_IN_A_PROJECT} || {same}")
}

/// The Neon project that is named.
pub(super) fn project_id() -> String {
    let same = same("projectId", BEFORE, "projectId");
    format!("{NOT_IN_A_PROJECT} || {same}")
}

/// The branch's name: it may be spelled out as it is.
pub(super) fn name() -> String {
    let name = "branch.name";
    format!(
        "{NOT_ASKED_FOR} || {} || ({} && {})",
        same(name, BEFORE, name),
        there(NOW, name),
        same(name, RECORD, name)
    )
}

/// The parent: it may be spelled out as it was resolved.
pub(super) fn parent() -> String {
    format!(
        "{NOT_ASKED_FOR} || ({}) || ({} && {})",
        same_parent(BEFORE, PARENT),
        there(NOW, PARENT),
        same_parent(RECORD, "effective.parent")
    )
}

/// The branch that is taken over: it may be spelled out as it was resolved, and by its id.
pub(super) fn existing() -> String {
    let resolved = "effective.existing";
    let id = "branch.existing.id";
    format!(
        "{NOT_ASKED_FOR} || ({}) || ({} && {} && (({}) || ({} && {})))",
        same_existing(BEFORE, EXISTING),
        there(NOW, EXISTING),
        there(RECORD, resolved),
        same_existing(RECORD, resolved),
        there(NOW, id),
        same(id, RECORD, "branch.id")
    )
}

/// A default was not resolved where one of the two was named, and is not resolved later: that would depend on what else is
/// there by then.
pub(super) fn not_taken_away() -> String {
    format!(
        "!has(oldSelf.status) || !has(oldSelf.status.effective) || has(oldSelf.status.branch) || \
         has(oldSelf.status.branchRequestTime) || ({}) || ({}) || !(({}) || ({}))",
        there(NOW, PARENT),
        there(NOW, EXISTING),
        there(BEFORE, PARENT),
        there(BEFORE, EXISTING)
    )
}
