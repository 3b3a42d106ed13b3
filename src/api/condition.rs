//! The vocabulary of conditions: closed sets of types and reasons, and how a condition is written. Pure.
//!
//! `Ready`, `Reconciling` and `Stalled` follow kstatus: the two abnormal ones are never true together, and come before
//! all others in the list because kstatus takes the first that is true.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name {
            $($(#[$vdoc])* $variant,)+
        }

        impl $name {
            /// The word as it stands in status, events and metrics.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => stringify!($variant),)+
                }
            }

            /// What a word stands for that was read from a status.
            #[must_use]
            pub fn of_word(word: &str) -> Option<Self> {
                [$(Self::$variant),+].into_iter().find(|known| known.as_str() == word)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

words!(
    /// Types of condition.
    ConditionType {
        /// The whole object is as asked.
        Ready,
        /// Work is going on or something passing is waited for.
        Reconciling,
        /// A person has to change something.
        Stalled,
        /// The branch exists and can be used.
        BranchReady,
        /// The read-write endpoint exists with the size asked for.
        ComputeReady,
        /// Databases, extensions, roles and grants are as asked.
        DatabasesReady,
        /// Every connection Secret is published and works.
        CredentialsPublished,
        /// The files were read and make a bundle.
        SourceReady,
        /// What is to be applied is known.
        Planned,
        /// Everything up to the target is applied.
        Applied,
    }
);

words!(
    /// Why a condition is as it is.
    Reason {
        /// Everything is as asked.
        Succeeded,
        /// Nothing of this was asked for.
        NotRequired,
        /// A step is being taken.
        Progressing,
        /// Nothing is changed because `suspend` is set.
        Suspended,
        /// The object is being deleted.
        Deleting,
        /// The spec cannot be carried out as it stands.
        InvalidSpec,
        /// The object does not fit the schema of this version.
        InvalidObject,
        /// The Secret with the API key does not exist, or lacks the key.
        KeyNotFound,
        /// Neon refuses the API key.
        KeyRefused,
        /// The project does not exist, or the key may not see it.
        ProjectNotFound,
        /// The NeonProject that is referred to does not exist or is not ready.
        ProjectNotReady,
        /// No access rule of the NeonProject admits this object.
        AccessDenied,
        /// As many branches exist as the NeonProject's access rule allows.
        NoRoom,
        /// An older NeonProject asks for another value of the same setting.
        SettingClaimed,
        /// Other objects still refer to this one.
        InUse,
        /// No parent is given and the profile does not lead to exactly one.
        ParentRequired,
        /// The parent does not exist.
        ParentNotFound,
        /// The parent is not ready.
        ParentNotReady,
        /// The parent has a lease, and so can have no branches.
        ParentExpires,
        /// The branch has another parent than the one it was to be forked from.
        ParentChanged,
        /// The branch to take over does not exist.
        BranchNotFound,
        /// The recorded branch is gone.
        BranchMissing,
        /// Another branch has taken the place of the recorded one: its compute, or its being the default.
        BranchReplaced,
        /// The branch has reached its `maxAge`.
        Expired,
        /// An annotation asks for something that cannot be done.
        AnnotationIgnored,
        /// A branch of that name exists and is not ours.
        BranchNameConflict,
        /// Another object has claimed the branch.
        BranchClaimed,
        /// Branches stand in the way of deleting this one.
        ChildrenExist,
        /// The branch is protected, so Neon would refuse to delete it.
        BranchProtected,
        /// Neon refuses a value of the spec.
        NeonRejected,
        /// The Neon project stores no passwords, and the operator needs those of the roles that own databases.
        PasswordsNotStored,
        /// This part is ready, with what the Neon plan allows instead of what was wanted.
        PlanLimited,
        /// A limit of the Neon plan is reached.
        LimitReached,
        /// Neon is at work.
        OperationsRunning,
        /// Neon was at work and did not do it.
        OperationFailed,
        /// Neon cannot be reached or fails.
        NeonUnavailable,
        /// The project is busy with other operations, or with objects that came first.
        ProjectLocked,
        /// Neon allows no more requests for a moment.
        RateLimited,
        /// PostgreSQL cannot be reached.
        DatabaseUnavailable,
        /// PostgreSQL refuses what was asked.
        DatabaseRejected,
        /// A schema that roles are to work in does not exist.
        SchemaNotFound,
        /// The Kubernetes API cannot be reached or refuses.
        ClusterUnavailable,
        /// A migration is at work on this branch.
        MigrationRunning,
        /// Something else is at work on this branch.
        BranchBusy,
        /// A Secret of that name exists and is not ours.
        SecretConflict,
        /// The Secret with the password of a role does not exist, or lacks it.
        PasswordNotFound,
        /// The password that is given for a role is too easy to guess.
        PasswordRejected,
        /// Credentials are published and work.
        Published,
        /// A Secret that somebody had deleted or changed is out again.
        SecretRestored,
        /// A login that somebody had dropped or changed by SQL works again.
        LoginRestored,
        /// A role is published with another login, because it was time.
        LoginReplaced,
        /// A login that was replaced does not open anything any more.
        LoginEnded,
        /// Migrations have to be applied first.
        WaitingForMigration,
        /// Credentials are not out yet.
        NotPublished,
        /// The database to migrate does not exist yet.
        DatabaseNotFound,
        /// The database to migrate is not ready.
        DatabaseNotReady,
        /// A referenced ConfigMap does not exist yet.
        ConfigMapNotFound,
        /// The files are not those whose digest is given.
        DigestMismatch,
        /// The files cannot be used as migrations.
        InvalidMigration,
        /// The version to stop at is not in the bundle.
        TargetNotFound,
        /// Pending files may do harm.
        LintFailed,
        /// An applied file is not among the files any more, which is put up with.
        FileMissing,
        /// An applied file was changed.
        ChecksumMismatch,
        /// The branch goes back to its parent's state: an annotation asks for it, or a migration of which an applied file was changed.
        ResettingBranch,
        /// A file sorts before one that is already applied.
        OutOfOrder,
        /// A file was applied, but somebody has deleted its row from the ledger.
        Unrecorded,
        /// What a ledger claims was found to be there.
        HistoryVerified,
        /// Not all that a ledger claims is there, or something is there that it does not claim.
        HistoryDiffers,
        /// The ledger table is somebody else's.
        LedgerConflict,
        /// Another object applies migrations to the same ledger.
        LedgerClaimed,
        /// Another runner holds the ledger's lock.
        LedgerBusy,
        /// A statement failed.
        MigrationFailed,
        /// Files that were applied are missing since the branch was restored; applying them again is left to a person.
        HeldAfterRestore,
        /// Everything up to the target is applied.
        Applied,
        /// PostgreSQL had something to say about files that it ran.
        ServerNotices,
        /// Migrations are being applied.
        Applying,
        /// Something was found that should be impossible.
        Bug,
    }
);

/// A condition as it should stand now; [`set_condition`] keeps the time of the last flip.
#[must_use]
pub fn condition(
    type_: ConditionType,
    status: bool,
    reason: Reason,
    message: impl Into<String>,
    generation: i64,
    now: Timestamp,
) -> Condition {
    Condition {
        type_: type_.as_str().to_owned(),
        status: if status { "True" } else { "False" }.to_owned(),
        reason: reason.as_str().to_owned(),
        message: message.into(),
        observed_generation: Some(generation),
        last_transition_time: Time(now),
    }
}

/// The condition of this type, where there is one.
#[must_use]
pub fn find_condition(list: &[Condition], type_: ConditionType) -> Option<&Condition> {
    list.iter().find(|c| c.type_ == type_.as_str())
}

/// Whether the condition of this type is true, and speaks of this version of the spec.
#[must_use]
pub fn holds(list: &[Condition], type_: ConditionType, generation: i64) -> bool {
    find_condition(list, type_)
        .is_some_and(|c| c.status == "True" && c.observed_generation == Some(generation))
}

/// Puts a condition in its place: after those written before it, with the time of its last flip.
pub fn set_condition(list: &mut Vec<Condition>, previous: &[Condition], mut next: Condition) {
    if let Some(old) = previous
        .iter()
        .find(|c| c.type_ == next.type_ && c.status == next.status)
    {
        next.last_transition_time = old.last_transition_time.clone();
    }
    list.retain(|c| c.type_ != next.type_);
    list.push(next);
}
