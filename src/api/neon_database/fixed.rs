//! Which database an object is: what cannot be changed any more, in CEL. Pure.
//!
//! Until Neon is asked for the branch nothing hangs on these fields, and a mistake in them can be corrected. That it is asked
//! is on record before it is asked, so that nobody changes them in between.
//!
//! Only texts are compared, which are bounded: the API server refuses rules whose cost it cannot tell.

/// As long as this is true, they may change.
macro_rules! not_asked_for {
    () => {
        "!has(oldSelf.status) || (!has(oldSelf.status.branch) && !has(oldSelf.status.branchRequestTime))"
    };
}

/// What Neon is still at work on can be asked after in its own project only.
macro_rules! not_in_a_project {
    () => {
        "!has(oldSelf.status) || (!has(oldSelf.status.branch) && !has(oldSelf.status.branchRequestTime) \
         && (!has(oldSelf.status.operations) || oldSelf.status.operations.size() == 0))"
    };
}

/// Whether all of a path is there.
macro_rules! there {
    ($of:literal, $a:literal) => {
        concat!("has(", $of, ".", $a, ")")
    };
    ($of:literal, $a:literal, $b:literal) => {
        concat!(there!($of, $a), " && has(", $of, ".", $a, ".", $b, ")")
    };
    ($of:literal, $a:literal, $b:literal, $c:literal) => {
        concat!(
            there!($of, $a, $b),
            " && has(",
            $of,
            ".",
            $a,
            ".",
            $b,
            ".",
            $c,
            ")"
        )
    };
    ($of:literal, $a:literal, $b:literal, $c:literal, $d:literal) => {
        concat!(
            there!($of, $a, $b, $c),
            " && has(",
            $of,
            ".",
            $a,
            ".",
            $b,
            ".",
            $c,
            ".",
            $d,
            ")"
        )
    };
}

/// The text at a path, empty where there is none.
macro_rules! text {
    ($of:literal, $first:literal $(, $more:literal)*) => {
        concat!("(", there!($of, $first $(, $more)*), " ? ", $of, ".", $first $(, ".", $more)*, " : '')")
    };
}

/// Whether the same text is at two places.
macro_rules! same {
    ([$($left:literal),*] == [$($right:literal),*]) => {
        concat!(text!($($left),*), " == ", text!($($right),*))
    };
}

/// The NeonProject that is referred to.
pub(super) const PROJECT_REF: &str = concat!(
    not_in_a_project!(),
    " || ",
    same!(["self.spec", "projectRef", "name"] == ["oldSelf.spec", "projectRef", "name"])
);

/// The Neon project that is named.
pub(super) const PROJECT_ID: &str = concat!(
    not_in_a_project!(),
    " || ",
    same!(["self.spec", "projectId"] == ["oldSelf.spec", "projectId"])
);

/// The branch's name: it may be spelled out as it is.
pub(super) const NAME: &str = concat!(
    not_asked_for!(),
    " || ",
    same!(["self.spec", "branch", "name"] == ["oldSelf.spec", "branch", "name"]),
    " || (",
    there!("self.spec", "branch", "name"),
    " && ",
    same!(["self.spec", "branch", "name"] == ["oldSelf.status", "branch", "name"]),
    ")"
);

/// The parent: it may be spelled out as it was resolved.
pub(super) const PARENT: &str = concat!(
    not_asked_for!(),
    " || (",
    same!(
        ["self.spec", "branch", "parent", "branchName"]
            == ["oldSelf.spec", "branch", "parent", "branchName"]
    ),
    " && ",
    same!(
        ["self.spec", "branch", "parent", "databaseRef", "name"]
            == ["oldSelf.spec", "branch", "parent", "databaseRef", "name"]
    ),
    " && ",
    same!(
        ["self.spec", "branch", "parent", "at", "time"]
            == ["oldSelf.spec", "branch", "parent", "at", "time"]
    ),
    " && ",
    same!(
        ["self.spec", "branch", "parent", "at", "lsn"]
            == ["oldSelf.spec", "branch", "parent", "at", "lsn"]
    ),
    ") || (",
    there!("self.spec", "branch", "parent"),
    " && ",
    same!(
        ["self.spec", "branch", "parent", "branchName"]
            == ["oldSelf.status", "effective", "parent", "branchName"]
    ),
    " && ",
    same!(
        ["self.spec", "branch", "parent", "databaseRef", "name"]
            == [
                "oldSelf.status",
                "effective",
                "parent",
                "databaseRef",
                "name"
            ]
    ),
    " && ",
    same!(
        ["self.spec", "branch", "parent", "at", "time"]
            == ["oldSelf.status", "effective", "parent", "at", "time"]
    ),
    " && ",
    same!(
        ["self.spec", "branch", "parent", "at", "lsn"]
            == ["oldSelf.status", "effective", "parent", "at", "lsn"]
    ),
    ")"
);

/// The branch that is taken over: it may be spelled out as it was resolved, and by its id.
pub(super) const EXISTING: &str = concat!(
    not_asked_for!(),
    " || ((",
    there!("self.spec", "branch", "existing", "default"),
    ") == (",
    there!("oldSelf.spec", "branch", "existing", "default"),
    ") && ",
    same!(
        ["self.spec", "branch", "existing", "name"]
            == ["oldSelf.spec", "branch", "existing", "name"]
    ),
    " && ",
    same!(
        ["self.spec", "branch", "existing", "id"] == ["oldSelf.spec", "branch", "existing", "id"]
    ),
    ") || (",
    there!("self.spec", "branch", "existing"),
    " && ",
    there!("oldSelf.status", "effective", "existing"),
    " && (((",
    there!("self.spec", "branch", "existing", "default"),
    ") == (",
    there!("oldSelf.status", "effective", "existing", "default"),
    ") && ",
    same!(
        ["self.spec", "branch", "existing", "name"]
            == ["oldSelf.status", "effective", "existing", "name"]
    ),
    " && ",
    same!(
        ["self.spec", "branch", "existing", "id"]
            == ["oldSelf.status", "effective", "existing", "id"]
    ),
    ") || (",
    there!("self.spec", "branch", "existing", "id"),
    " && ",
    same!(["self.spec", "branch", "existing", "id"] == ["oldSelf.status", "branch", "id"]),
    ")))"
);

/// A default was not resolved where one of the two was named, and is not resolved later: that would depend on what else is there
/// by then.
pub(super) const NOT_TAKEN_AWAY: &str = concat!(
    "!has(oldSelf.status) || !has(oldSelf.status.effective) || has(oldSelf.status.branch) || has(oldSelf.status.branchRequestTime) || (",
    there!("self.spec", "branch", "parent"),
    ") || (",
    there!("self.spec", "branch", "existing"),
    ") || !((",
    there!("oldSelf.spec", "branch", "parent"),
    ") || (",
    there!("oldSelf.spec", "branch", "existing"),
    "))"
);
