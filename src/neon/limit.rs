//! Which limit of a plan an answer of Neon's speaks of: told by its code or, where that is empty, by its words. Pure.

/// What a project or its account has no more of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Limit {
    /// Branches.
    Branches,
    /// Branches that are protected.
    ProtectedBranches,
    /// Computes that run at the same time.
    RunningComputes,
    /// Computes, whether or not they run.
    Computes,
    /// Time of computes, data to be sent or stored: what a plan gives for a month, or a quota allows.
    Quota,
    /// Something else, or nobody can say what.
    Other,
}

impl Limit {
    /// What is reached according to this answer about a limit.
    #[must_use]
    pub fn of(code: &str, message: &str) -> Self {
        let text = if code.is_empty() { message } else { code };
        let text = text.to_ascii_lowercase();
        let words = text.split(|c: char| !c.is_alphanumeric());
        // singular or plural, adjective or adverb
        let says = |word: &str| words.clone().any(|said| said.starts_with(word));
        let is_of = |word: &str| words.clone().any(|said| said == word);
        if says("protected") {
            Self::ProtectedBranches
        } else if (says("endpoint") || says("compute")) && (says("active") || says("concurrent")) {
            Self::RunningComputes
        } else if is_of("time") || is_of("transfer") || is_of("size") || is_of("quota") {
            Self::Quota
        } else if says("endpoint") || says("compute") {
            Self::Computes
        } else if says("branch") {
            Self::Branches
        } else {
            Self::Other
        }
    }

    /// What others would wait for as well, in words; none where it concerns one object alone, or nobody can say.
    #[must_use]
    pub fn of_all(self) -> Option<&'static str> {
        match self {
            Self::Branches => Some("room for one more branch"),
            Self::RunningComputes => Some("room for one more running compute"),
            Self::Computes => Some("room for one more compute"),
            Self::Quota => Some("what the plan or a quota allows to use"),
            Self::ProtectedBranches | Self::Other => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Limit::{Branches, Computes, Other, ProtectedBranches, Quota, RunningComputes};
    use super::*;

    #[test]
    fn a_limit_is_known_by_its_code_and_else_by_its_words() {
        for (code, message, expected) in [
            ("BRANCHES_LIMIT_EXCEEDED", "", Branches),
            ("ROOT_BRANCHES_LIMIT_EXCEEDED", "", Branches),
            ("", "branches limit exceeded", Branches),
            ("BRANCHES_PROTECTED_LIMIT_EXCEEDED", "", ProtectedBranches),
            ("", "protected branches limit exceeded", ProtectedBranches),
            // the code is what counts
            ("BRANCHES_LIMIT_EXCEEDED", "protected or not", Branches),
            ("ACTIVE_ENDPOINTS_LIMIT_EXCEEDED", "", RunningComputes),
            (
                "",
                "exceeded the limit of concurrently active endpoints",
                RunningComputes,
            ),
            ("ENDPOINTS_LIMIT_EXCEEDED", "", Computes),
            ("", "read_only endpoints limit exceeded", Computes),
            ("COMPUTE_TIME_EXCEEDED", "", Quota),
            ("NON_PRIMARY_BRANCH_COMPUTE_TIME_EXCEEDED", "", Quota),
            ("DATA_TRANSFER_LIMIT_EXCEEDED", "", Quota),
            ("BRANCH_SIZE_LIMIT_EXCEEDED_THRESHOLD", "", Quota),
            ("ROLES_LIMIT_EXCEEDED", "", Other),
            ("", "", Other),
        ] {
            assert_eq!(Limit::of(code, message), expected, "{code} {message}");
        }
    }
}
