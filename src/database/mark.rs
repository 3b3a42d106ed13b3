//! The names that we give to branches, and the mark on them. Pure.

use sha2::{Digest, Sha256};

use crate::api::Environment;

pub use crate::world::Mark;

/// Longest name a branch gets; what is longer is shortened and hashed.
const BRANCH_NAME_MAX: usize = 63;

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
