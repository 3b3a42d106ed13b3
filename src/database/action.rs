//! Everything that can be done about a NeonDatabase: the list of effects, and so the list of points where a crash may
//! fall between. Types only.

use jiff::SignedDuration;

use super::observe::ResetAsked;
use crate::api::Effective;
use crate::neon::{Branch, BranchId, EndpointId};

/// One effect.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Keep the object until its branch is dealt with.
    AddFinalizer,
    /// Forget what is remembered of key, listing and Secrets, because somebody asks to look anew.
    LookAgain,
    /// Take up that the branch may live longer.
    Extend(String),
    /// Take up that the branch is to go back to its parent's state.
    TakeUpReset(String),
    /// Take up that the branch is to go back to its parent's state because a migration asks for it.
    TakeUpResetFor(ResetAsked),
    /// No longer reset the branch: what that was asked for is over.
    DropReset,
    /// Bring the branch back to the state of this one, its parent.
    ResetBranch(BranchId),
    /// Take up that a branch was to be abandoned before its object was deleted, which means nothing; or that this was taken
    /// back.
    NoteAbandon(Option<String>),
    /// Drop operations that have ended from the record.
    ForgetOperations,
    /// Record what could destroy or move something, once.
    Resolve(Effective),
    /// Record this branch as ours.
    ClaimBranch(Branch),
    /// Record that Neon is about to be asked for a branch.
    AnnounceBranch,
    /// Fork a branch off this one.
    CreateBranch(BranchId),
    /// Drop from the record that Neon was asked for a branch: it did not come, and is not asked for again by now.
    DropRequest,
    /// Delete a branch of ours that Neon could not make, so that it is made again.
    DiscardBranch(BranchId),
    /// Drop a branch that is gone from the record, so that it is made again.
    ForgetBranch,
    /// The branch was reset, restored or made anew: what was true inside of it no longer is.
    RecordIncarnation,
    /// Extend Neon's expiry to this long from now.
    RenewLease(SignedDuration),
    /// Remove Neon's expiry.
    EndLease,
    /// Give the branch its name back.
    RenameBranch(String),
    /// Raise or lower protection.
    Protect(bool),
    /// Give the branch its read-write endpoint.
    CreateEndpoint,
    /// Set compute size and suspend time.
    ResizeCompute,
    /// Give the branch this read replica.
    CreateReplica(String),
    /// Record the endpoint of this read replica, which is there.
    RecordReplica(String),
    /// Set compute size and suspend time of this read replica.
    ResizeReplica(String),
    /// Delete a read replica of ours.
    DeleteReplica(EndpointId),
    /// Create a role that owns databases, through Neon.
    CreateRole(String),
    /// Record that we are about to make a database.
    RecordDatabase {
        /// Its name.
        name: String,
        /// Its owner.
        owner: String,
    },
    /// Create a database, through Neon.
    CreateDatabase {
        /// Its name.
        name: String,
        /// Its owner.
        owner: String,
    },
    /// Give a role of Neon's a password that the parent does not have.
    ResetPassword(String),
    /// Close every login that was copied from the parent.
    RetireLogins,
    /// Bring about extensions, roles and grants, and logins that are out.
    PrepareContents,
    /// Make the role's login work and publish its Secrets.
    PublishCredentials(String),
    /// Record when the role's login came out.
    RecordLogin(String),
    /// Name another login for the role, which is then made and published.
    ReplaceLogin(String),
    /// End the login that the role used before.
    DropLogin {
        /// The role.
        role: String,
        /// Its login.
        login: String,
    },
    /// Delete Secrets of ours.
    WithdrawSecrets(Vec<String>),
    /// Let Secrets stay when their object goes.
    KeepSecrets(Vec<String>),
    /// Let Secrets go with their object.
    OwnSecrets(Vec<String>),
    /// Delete the branch.
    DeleteBranch(BranchId),
    /// Give a branch up to its lease, because nobody can delete it any more.
    LeaveBehind(String),
    /// Let the object go.
    ReleaseFinalizer,
}

impl crate::reconcile::Action for Action {
    fn name(&self) -> &'static str {
        match self {
            Self::AddFinalizer => "AddFinalizer",
            Self::LookAgain => "LookAgain",
            Self::Extend(_) => "Extend",
            Self::TakeUpReset(_) => "TakeUpReset",
            Self::TakeUpResetFor(_) => "TakeUpResetFor",
            Self::DropReset => "DropReset",
            Self::ResetBranch(_) => "ResetBranch",
            Self::NoteAbandon(_) => "NoteAbandon",
            Self::ForgetOperations => "ForgetOperations",
            Self::Resolve(_) => "Resolve",
            Self::ClaimBranch(_) => "ClaimBranch",
            Self::AnnounceBranch => "AnnounceBranch",
            Self::CreateBranch(_) => "CreateBranch",
            Self::DropRequest => "DropRequest",
            Self::DiscardBranch(_) => "DiscardBranch",
            Self::ForgetBranch => "ForgetBranch",
            Self::RecordIncarnation => "RecordIncarnation",
            Self::RenewLease(_) => "RenewLease",
            Self::EndLease => "EndLease",
            Self::RenameBranch(_) => "RenameBranch",
            Self::Protect(_) => "Protect",
            Self::CreateEndpoint => "CreateEndpoint",
            Self::ResizeCompute => "ResizeCompute",
            Self::CreateReplica(_) => "CreateReplica",
            Self::RecordReplica(_) => "RecordReplica",
            Self::ResizeReplica(_) => "ResizeReplica",
            Self::DeleteReplica(_) => "DeleteReplica",
            Self::CreateRole(_) => "CreateRole",
            Self::RecordDatabase { .. } => "RecordDatabase",
            Self::CreateDatabase { .. } => "CreateDatabase",
            Self::ResetPassword(_) => "ResetPassword",
            Self::RetireLogins => "RetireLogins",
            Self::PrepareContents => "PrepareContents",
            Self::PublishCredentials(_) => "PublishCredentials",
            Self::RecordLogin(_) => "RecordLogin",
            Self::ReplaceLogin(_) => "ReplaceLogin",
            Self::DropLogin { .. } => "DropLogin",
            Self::WithdrawSecrets(_) => "WithdrawSecrets",
            Self::KeepSecrets(_) => "KeepSecrets",
            Self::OwnSecrets(_) => "OwnSecrets",
            Self::DeleteBranch(_) => "DeleteBranch",
            Self::LeaveBehind(_) => "LeaveBehind",
            Self::ReleaseFinalizer => "ReleaseFinalizer",
        }
    }

    fn describe(&self) -> String {
        match self {
            Self::AddFinalizer | Self::Resolve(_) | Self::ForgetOperations | Self::DropRequest => {
                "getting ready".to_owned()
            }
            Self::LookAgain => "looking at everything anew".to_owned(),
            Self::TakeUpReset(_) | Self::TakeUpResetFor(_) | Self::ResetBranch(_) => {
                "resetting the branch".to_owned()
            }
            Self::NoteAbandon(_) => "reading annotations".to_owned(),
            Self::DropReset => "leaving the branch as it is".to_owned(),
            Self::Extend(_) => "changing how long the branch may live".to_owned(),
            Self::ClaimBranch(branch) => format!("taking up the branch {}", branch.name),
            Self::AnnounceBranch | Self::CreateBranch(_) => "creating the branch".to_owned(),
            Self::DiscardBranch(_) => "taking away a branch that Neon could not make".to_owned(),
            Self::ForgetBranch => "the branch is gone and is made again".to_owned(),
            Self::RecordIncarnation => "the branch was reset or restored".to_owned(),
            Self::RenewLease(_) | Self::EndLease => "renewing the lease".to_owned(),
            Self::RenameBranch(name) => format!("giving the branch its name {name} back"),
            Self::Protect(_) => "changing the branch's protection".to_owned(),
            Self::CreateEndpoint => "creating the endpoint".to_owned(),
            Self::ResizeCompute => "changing the compute".to_owned(),
            Self::CreateReplica(name) | Self::RecordReplica(name) => {
                format!("creating the read replica {name}")
            }
            Self::ResizeReplica(name) => format!("changing the read replica {name}"),
            Self::DeleteReplica(id) => format!("deleting the read replica {id}"),
            Self::CreateRole(name) => format!("creating the role {name}"),
            Self::RecordDatabase { name, .. } | Self::CreateDatabase { name, .. } => {
                format!("creating the database {name}")
            }
            Self::ResetPassword(_) | Self::RetireLogins => {
                "closing the parent's credentials".to_owned()
            }
            Self::PrepareContents => "preparing databases and roles".to_owned(),
            Self::PublishCredentials(role) => format!("publishing credentials of {role}"),
            Self::RecordLogin(role) => format!("credentials of {role} are out"),
            Self::ReplaceLogin(role) => format!("replacing the login of {role}"),
            Self::DropLogin { login, .. } => format!("dropping the login {login}"),
            Self::WithdrawSecrets(names) => format!("deleting Secrets: {}", names.join(", ")),
            Self::KeepSecrets(names) => format!("keeping Secrets: {}", names.join(", ")),
            Self::OwnSecrets(names) => format!("owning Secrets: {}", names.join(", ")),
            Self::DeleteBranch(id) => format!("deleting the branch {id}"),
            Self::LeaveBehind(name) => format!("leaving the branch {name} behind"),
            Self::ReleaseFinalizer => "letting the object go".to_owned(),
        }
    }
}
