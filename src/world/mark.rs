//! How we know our own branches and logins: the mark, and the names of branches. Pure.
//!
//! The mark is (installation, namespace, name) and never a uid or a cluster, so that an object restored into a rebuilt
//! cluster takes up its branch again.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

const INSTALLATION: &str = "sepulki-installation";
const NAMESPACE: &str = "sepulki-namespace";
const NAME: &str = "sepulki-name";
const PURPOSE: &str = "sepulki-purpose";

/// Longest name a branch gets; what is longer is shortened and hashed.
pub const BRANCH_NAME_MAX: usize = 63;

/// Who owns a branch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The operator's installation.
    pub installation: String,
    /// Namespace of the object.
    pub namespace: String,
    /// Name of the object.
    pub name: String,
    /// What a branch is for that is thrown away when it has served; none for the branch of a NeonDatabase. Objects of two kinds
    /// may have one name, and this tells their branches apart.
    pub purpose: Option<String>,
}

impl Mark {
    /// The annotations that a branch is created with.
    #[must_use]
    pub fn annotations(&self) -> BTreeMap<String, String> {
        let purpose = self.purpose.iter().map(|purpose| (PURPOSE, purpose));
        let all = [
            (INSTALLATION, &self.installation),
            (NAMESPACE, &self.namespace),
            (NAME, &self.name),
        ];
        all.into_iter()
            .chain(purpose)
            .map(|(key, value)| (key.to_owned(), value.clone()))
            .collect()
    }

    /// The mark that a branch bears, if any.
    #[must_use]
    pub fn of(annotations: &BTreeMap<String, String>) -> Option<Self> {
        let read = |key: &str| annotations.get(key).cloned();
        Some(Self {
            installation: read(INSTALLATION)?,
            namespace: read(NAMESPACE)?,
            name: read(NAME)?,
            purpose: read(PURPOSE),
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
        )?;
        let mut purpose = self.purpose.iter();
        purpose.try_for_each(|purpose| write!(f, " (to {purpose})"))
    }
}

/// The name of a branch that is for this, of an object.
#[must_use]
pub fn branch_named(what: &str, namespace: &str, name: &str) -> String {
    let full = format!("{what}/{namespace}/{name}");
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
            purpose: None,
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
    fn a_branch_with_a_purpose_is_not_that_of_the_object_of_its_name() {
        let scratch = Mark {
            purpose: Some("verify".into()),
            ..mark()
        };
        let read = Mark::of(&scratch.annotations());
        assert_eq!(read.as_ref(), Some(&scratch));
        assert_ne!(read, Some(mark()));
        let told = scratch.to_string();
        assert_eq!(told, "team/pr-7 of installation default (to verify)");
    }
}
