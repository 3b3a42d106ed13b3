//! The names that we give to branches, and the mark on them. Pure.

use crate::api::Environment;
use crate::world::branch_named;

pub use crate::world::Mark;

/// The branch name of an object that names none.
#[must_use]
pub fn branch_name(environment: Environment, namespace: &str, name: &str) -> String {
    branch_named(environment.as_str(), namespace, name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::BRANCH_NAME_MAX;

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
