//! What an error of a port means to the loop: the one place where the ports' own classes become [`Class`]. Pure.

use crate::api::{ConditionType, Reason};
use crate::reconcile::{Class, Error};
use crate::{cluster, neon, postgres};

/// An error of Kubernetes.
#[must_use]
#[expect(
    clippy::needless_pass_by_value,
    reason = "handed to `map_err`, which gives the error away"
)]
pub fn at_cluster(error: cluster::Error) -> Error {
    let class = match error.kind {
        cluster::ErrorKind::NotFound | cluster::ErrorKind::Conflict => Class::Conflict,
        cluster::ErrorKind::Denied | cluster::ErrorKind::Unavailable => Class::Transient,
        cluster::ErrorKind::Invalid => Class::Invalid,
    };
    Error::new(class, Reason::ClusterUnavailable, error.to_string())
}

/// An error of Neon.
#[must_use]
pub fn at_neon(error: neon::Error) -> Error {
    use neon::ErrorKind as Kind;
    let (class, reason) = match error.kind {
        Kind::Denied => (Class::Denied, Reason::KeyRefused),
        Kind::NotFound | Kind::Conflict => (Class::Conflict, Reason::NeonUnavailable),
        Kind::Locked => (Class::Transient, Reason::ProjectLocked),
        Kind::RateLimited => (Class::RateLimited(error.retry_after), Reason::RateLimited),
        Kind::Protected => (Class::Transient, Reason::BranchProtected),
        Kind::HasChildren => (Class::Transient, Reason::ChildrenExist),
        Kind::Limit => (Class::Transient, Reason::LimitReached),
        Kind::PasswordsNotStored => (Class::Invalid, Reason::PasswordsNotStored),
        Kind::Rejected => (Class::Invalid, Reason::NeonRejected),
        Kind::NotReady => (Class::Transient, Reason::OperationsRunning),
        Kind::Server | Kind::Lost => (Class::Transient, Reason::NeonUnavailable),
    };
    let message = if error.kind == Kind::PasswordsNotStored {
        format!("{error}; {STORE_PASSWORDS}")
    } else {
        error.to_string()
    };
    Error {
        request_id: error.request_id,
        ..Error::new(class, reason, message)
    }
}

/// What to do about a project that tells no passwords. Neon lets nobody change that of a project.
const STORE_PASSWORDS: &str = "the operator opens databases with the password of the role that owns them, which Neon does not \
                               keep in this project: use a project that was made with store_passwords=true";

/// That Neon may not run the compute that a session would need, in its words.
#[must_use]
pub fn no_compute(words: &str) -> String {
    format!(
        "Neon runs no further compute at the moment, which is tried again every minute: {words}"
    )
}

/// An error of PostgreSQL.
#[must_use]
#[expect(
    clippy::needless_pass_by_value,
    reason = "handed to `map_err`, which gives the error away"
)]
pub fn at_postgres(error: postgres::Error) -> Error {
    // a password may have been changed a moment ago; a right that is missing will not come by itself
    let not_let_in = error.sqlstate().is_none_or(|state| state.starts_with("28"));
    let (class, reason) = match error.class {
        postgres::Class::Limit => {
            let error = Error::new(
                Class::Transient,
                Reason::LimitReached,
                no_compute(&error.to_string()),
            );
            return error.about(ConditionType::ComputeReady);
        }
        postgres::Class::Conflict => (Class::Transient, Reason::BranchBusy),
        postgres::Class::Denied if !not_let_in => (Class::Invalid, Reason::DatabaseRejected),
        postgres::Class::Transient | postgres::Class::Denied => {
            (Class::Transient, Reason::DatabaseUnavailable)
        }
        postgres::Class::Invalid | postgres::Class::Unsupported => {
            (Class::Invalid, Reason::DatabaseRejected)
        }
    };
    Error::new(class, reason, error.to_string())
}
