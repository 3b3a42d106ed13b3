//! The public contract: the kinds, their schema and their vocabulary. Types only; no client, no logic, imports
//! nothing else of this crate.
//!
//! Group `sepulki.dev`, version `v1alpha1`. What the server can check is checked by the schema (patterns, bounds, CEL
//! rules); what needs arithmetic or a look at the world is left to each kind's `desired.rs` and `plan.rs`.

#![expect(
    unreachable_pub,
    reason = "the schema derive repeats each struct inside a function"
)]

mod annotations;
mod condition;
mod crds;
mod default;
mod names;
mod neon_database;
mod neon_project;
mod refs;
mod sepulki_migration;

pub use annotations::{
    ABANDON, EXTEND, Handled, LONGEST_ANNOTATION, Looks, RECONCILE, RESET, RETRY,
};
pub use condition::{ConditionType, Reason, condition, find_condition, holds, set_condition};
pub use crds::{CrdError, crd_files};
pub use names::{
    Digest, FileName, IpRange, LabelValue, Lease, NamespaceName, ObjectName, PgName, ReplicaName,
    RoleName, SecretKey, Sha256, SuspendAfter, TimeLimit, TimeSpan,
};
pub use neon_database::{
    Access, BranchOrigin, BranchSpec, BranchStatus, ComputeSpec, ComputeValues,
    ConnectionSecretSpec, ConnectionSecretStatus, Credentials, DatabaseSpec, DatabaseStatus,
    DeletionPolicy, Effective, EndpointStatus, Environment, ExistingBranch, ExtensionSpec,
    ExtensionStatus, ExternalDeletion, ExternalDeletionAction, MissingSchemas, NeonDatabase,
    NeonDatabaseSpec, NeonDatabaseStatus, OperationStatus, ParentBranch, ParentMoment,
    PasswordSecretRef, PlanLimit, PublishAfter, PublishSpec, ReadReplicaSpec, ReadReplicaStatus,
    RoleSpec, RoleStatus, RotationSpec, SecretTemplate, TemplateMetadata,
};
pub use neon_project::{
    AccessRule, AppliedSettings, KeyKind, NamespaceSelector, NeonProject, NeonProjectSpec,
    NeonProjectStatus, ProjectLimits, ProjectQuota, ProjectSettings,
};
pub use refs::{DatabaseRef, MigrationRef, NamespacedSecretKeyRef, ProjectRef, SecretKeyRef};
pub use sepulki_migration::{
    AcceptedFile, AdoptMode, AdoptSpec, AdoptionStatus, AdoptionVerdict, AppliedStatus, AppliedTo,
    BuildProgress, BundleStatus, ChecksumMismatch, ConfigMapSource, CurrentStatus, ExecutionSpec,
    FailOnLint, HeldStatus, HistoryEntry, InlineFile, LastError, LedgerSpec, MigrationSource,
    MissingFile, ObjectNameRef, OnAmbiguous, OnDivergence, OrderMode, OrderSpec, OutOfOrder,
    PendingStatus, PoliciesSpec, ResetRequest, ScratchBranch, SepulkiMigration,
    SepulkiMigrationSpec, SepulkiMigrationStatus, TargetSpec, VerifiedVersion, VersionVerdict,
};

/// API group of every kind.
pub const GROUP: &str = "sepulki.dev";

/// The finalizer that keeps a NeonProject, and with it the way to its key, as long as NeonDatabases refer to it.
pub const PROJECT_FINALIZER: &str = "sepulki.dev/in-use";

/// The finalizer that keeps a SepulkiMigration until the branch on which it tries files is deleted. It is there only as long.
pub const SCRATCH_FINALIZER: &str = "sepulki.dev/scratch-branch";

/// The finalizer that keeps a NeonDatabase until its branch is dealt with.
pub const BRANCH_FINALIZER: &str = "sepulki.dev/branch";
