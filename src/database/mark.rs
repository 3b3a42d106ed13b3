//! How we know our own: the mark on branches and on logins, and the names we give. Pure.
//!
//! The mark is (installation, namespace, name) and never a uid or a cluster, so that an object restored into a rebuilt
//! cluster takes up its branch again.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use crate::api::Environment;

const INSTALLATION: &str = "sepulki-installation";
const NAMESPACE: &str = "sepulki-namespace";
const NAME: &str = "sepulki-name";

/// Longest name a branch gets; what is longer is shortened and hashed.
const BRANCH_NAME_MAX: usize = 63;

/// Who owns a branch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The operator's installation.
    pub installation: String,
    /// Namespace of the object.
    pub namespace: String,
    /// Name of the object.
    pub name: String,
}

impl Mark {
    /// The annotations that a branch is created with.
    #[must_use]
    pub fn annotations(&self) -> BTreeMap<String, String> {
        [
            (INSTALLATION, &self.installation),
            (NAMESPACE, &self.namespace),
            (NAME, &self.name),
        ]
        .map(|(key, value)| (key.to_owned(), value.clone()))
        .into()
    }

    /// The mark that a branch bears, if any.
    #[must_use]
    pub fn of(annotations: &BTreeMap<String, String>) -> Option<Self> {
        let read = |key: &str| annotations.get(key).cloned();
        Some(Self {
            installation: read(INSTALLATION)?,
            namespace: read(NAMESPACE)?,
            name: read(NAME)?,
        })
    }

    /// The comment on logins made for one incarnation of a branch. One that was copied from the parent names the
    /// parent's branch, and so is not taken for ours.
    #[must_use]
    pub fn on_logins(&self, branch: &str, incarnation: &str) -> String {
        format!(
            "sepulki {}/{}/{} {branch} {incarnation}",
            self.installation, self.namespace, self.name
        )
    }
}

impl std::fmt::Display for Mark {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{}/{} of installation {}",
            self.namespace, self.name, self.installation
        )
    }
}

/// The branch name of an object that names none.
#[must_use]
pub fn branch_name(environment: Environment, namespace: &str, name: &str) -> String {
    let full = format!("{}/{namespace}/{name}", environment.as_str());
    if full.len() <= BRANCH_NAME_MAX {
        return full;
    }
    let hash = hex::encode(Sha256::digest(full.as_bytes()));
    let (hash, _) = hash.split_at(10);
    let mut kept = full;
    kept.truncate(BRANCH_NAME_MAX - 1 - hash.len());
    format!("{kept}-{hash}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark() -> Mark {
        Mark {
            installation: "default".into(),
            namespace: "team".into(),
            name: "pr-7".into(),
        }
    }

    #[test]
    fn a_mark_is_read_back_and_incomplete_ones_are_not_marks() {
        let mut annotations = mark().annotations();
        assert_eq!(Mark::of(&annotations), Some(mark()));
        annotations.remove(NAMESPACE);
        assert_eq!(Mark::of(&annotations), None);
    }

    #[test]
    fn long_names_are_shortened_without_colliding() {
        assert_eq!(
            branch_name(Environment::Preview, "team", "pr-7"),
            "preview/team/pr-7"
        );
        let long = "n".repeat(60);
        let one = branch_name(Environment::Preview, &long, "a");
        let two = branch_name(Environment::Preview, &long, "b");
        assert_eq!(one.len(), BRANCH_NAME_MAX);
        assert_ne!(one, two);
    }
}
