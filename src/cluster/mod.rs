//! Kubernetes plumbing: clients, watches, single objects, paced reads of Secrets, events, the leader's lease.
//!
//! Generic over the kind: nothing here knows any of ours, and nothing of Neon or PostgreSQL.
//! Used by the effects of the kinds and by what wires the operator together.

mod apply;
mod clients;
mod error;
mod events;
mod lease;
mod object;
mod secrets;
mod seen;
mod watch;

pub use apply::{FIELD_MANAGER, NamespaceState, Objects};
pub use clients::Clients;
pub use error::{Error, ErrorKind, Result};
pub use events::{Event, EventType, Reporter};
pub use lease::{Candidate, Claim, Ended, Held};
pub use object::ObjectId;
pub use secrets::{Freshness, Glance, KeyRead, KeyRef, SecretReads, SecretSource};
pub use seen::Seen;
pub use watch::{MainWatch, MetadataWatch, main_watch, metadata_watch, referenced_watch, scoped};
