//! The world as the kinds see it: the ports through which they observe and act.
//!
//! The real ports ([`live`]) speak to Kubernetes, Neon and PostgreSQL; the simulated world of
//! the tests answers from memory and fails at every boundary. Imports `api reconcile engine neon postgres cluster`; only
//! the kinds and the runtime import it.

mod cluster;
mod databases;
mod errors;
mod failures;
mod finalizer;
pub mod live;
mod mark;
mod migrations;
mod operations;
mod reach;
mod record;
mod requests;
mod source;

use std::sync::Arc;

use secrecy::SecretString;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::config::CertificateAuthority;
use crate::neon::NeonAccounts;
use crate::postgres::{Target, Tls};
use crate::reconcile::BranchLocks;
use crate::telemetry::Metrics;

pub use cluster::Cluster;
pub use databases::{
    Contents, DatabaseReport, GroupRights, LoginsLeft, NewLogin, PrepareDatabase, PrepareRole,
    PrepareRoles,
};
pub use errors::{at_cluster, at_neon, at_postgres, no_compute};
pub use failures::{Failure, Failures, patiently};
pub use mark::{BRANCH_NAME_MAX, Mark, branch_named};
pub use migrations::Migrations;
pub use operations::{AtWork, OVERDUE, Operation, Operations, ask_again, record_operations};
pub use reach::{Reached, Way};
pub use requests::{ANNOUNCED, LISTING_LAG, UNANSWERED};
pub use source::{Source, key_of};

/// Everything a kind needs to look at the world and to change it.
#[derive(Clone)]
pub struct World {
    /// Kubernetes.
    pub cluster: Arc<dyn Cluster>,
    /// Neon, by API key.
    pub neon: Arc<dyn NeonAccounts>,
    /// Roles, grants and extensions inside of branches.
    pub contents: Arc<dyn Contents>,
    /// The migration engine.
    pub migrations: Arc<dyn Migrations>,
    /// Who is at work on which branch.
    pub locks: BranchLocks,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// What is counted.
    pub metrics: Metrics,
    /// Cancelled when the operator stops: what takes long ends early and is resumed by the next one.
    pub stopping: CancellationToken,
    /// Settings of this operator.
    pub settings: Arc<Settings>,
}

/// Settings of the operator that decisions depend on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Name of this installation, part of the mark on branches.
    pub installation: String,
    /// Port on which Neon's endpoints answer.
    pub postgres_port: u16,
    /// The authority that signed PostgreSQL's certificates; none for hosted Neon.
    pub certificate_authority: Option<CertificateAuthority>,
    /// How old the listing of a project may be for a settled object.
    pub snapshot_interval: std::time::Duration,
}

impl Settings {
    /// Where a database is, and who opens it.
    #[must_use]
    pub fn target(&self, host: &str, database: &str, user: &str, password: SecretString) -> Target {
        Target {
            host: host.to_owned(),
            port: self.postgres_port,
            user: user.to_owned(),
            password,
            database: database.to_owned(),
            tls: self
                .certificate_authority
                .as_ref()
                .map_or(Tls::WebPki, |ca| Tls::Ca(ca.pem.clone())),
        }
    }
}
