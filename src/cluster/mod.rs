//! Kubernetes plumbing: clients, watches, single objects, paced reads of Secrets, events, the leader's lease.
//!
//! Generic over the kind: nothing here knows NeonDatabase or SepulkiMigration, and nothing of Neon or PostgreSQL.
//! Used by the effects of the kinds and by what wires the operator together.

mod apply;
mod error;
mod object;

pub use apply::{FIELD_MANAGER, NamespaceState, Objects};
pub use error::{Error, ErrorKind, Result};
pub use object::ObjectId;
