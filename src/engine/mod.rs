//! The migration engine: ordered SQL files, applied exactly once.
//!
//! ```text
//! files ─▶ bundle (names, order, checksums) ─▶ sql (split, parse, classify, segment) ─▶ Bundle
//!                                                                                         │
//! ledger (rows of schema_migrations) ────────────────▶ plan ◀─────────────────────────────┘
//!                                                       │ pending, problems
//!                                                       ▼
//!                          run: locks ▸ ledger ▸ one message per file ▸ row in the same transaction
//! ```
//!
//! Everything but [`run`] is pure: no clock, no socket. Knows neither Kubernetes nor Neon; uses
//! [`crate::postgres`] for sessions. Used by the SepulkiMigration controller, the command line
//! and tests.
//!
//! The promise: when a file's row is in the ledger, the whole file is committed; when it is not,
//! nothing of it is. Both are one transaction of the server, so no crash of the runner, the
//! network or the server can separate them. A file that cannot be one transaction is cut into
//! segments, and what is committed of it is in the journal (`journal.rs`); what the journal cannot
//! know is looked up in the database (`resume.rs`), and what nobody can know is asked. What segments made that only their
//! session has stays while the run lasts; where the session is lost, nothing goes on without it (`sql/lasting.rs`). Beside each row
//! of the ledger the engine remembers what it has applied (`memory.rs`). Which file all of that is about, where files were
//! renamed, is told in one place (`history.rs`).

mod bundle;
mod checksum;
mod emptying;
mod history;
mod journal;
mod ledger;
mod likeness;
mod lint;
mod memory;
mod message;
mod midway;
mod order;
mod own_tables;
mod plan;
mod policy;
mod protection;
mod report;
mod resume;
pub mod run;
mod sql;
mod verify;

pub use bundle::{Bundle, MAX_FILE_BYTES, MigrationFile, Part, SourceFile, digest};
pub use checksum::is_checksum;
pub use history::History;
pub use ledger::{LedgerName, LedgerRow, LedgerState};
pub use lint::{Lint, LintPolicy, Severity, lint, rule_names};
pub use midway::{Outlook, Unfinished};
pub use plan::{Edit, Pending, Plan, Problem, ProblemKind, plan, plan_by};
pub use policy::{DECIDED, Order, Policies};
pub use protection::Protection;
pub use report::{Code, Diagnostic, Diagnostics, Position, Snippet};
pub use verify::{Finding, Verdict, Verified};
