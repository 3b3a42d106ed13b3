//! The memory: what the engine itself has applied, and what each file meant then. Pure: SQL texts;
//! [`super::run`] sends them.
//!
//! It is a table of the engine's own beside the ledger, whose columns are settled. It is written
//! with the ledger's row, in the same transaction, and answers two questions that the ledger
//! cannot: whether a row was there that is gone (deleted by hand: the file must not run again
//! unasked; the same where the whole ledger is gone), and whether an edited file differs in more than comments and formatting.
//! Rows that other tools wrote have no memories.

use super::{
    journal::Subject,
    ledger::{LedgerName, literal},
    own_tables::{self, SCHEMA},
};

/// Schema-qualified.
pub(super) const TABLE: &str = "sepulki_engine.applied";

/// Its name in [`SCHEMA`].
pub(super) const NAME: &str = "applied";
/// What a run needs on it.
pub(super) const RIGHTS: &str = "SELECT, INSERT, UPDATE";

/// Holds where there is a memory.
pub(super) fn there_sql() -> String {
    own_tables::exists_sql(NAME)
}

/// Creates schema and table where they are missing; two runs of different ledgers can meet here.
pub(super) fn create_sql() -> String {
    format!(
        "BEGIN; CREATE SCHEMA IF NOT EXISTS {SCHEMA}; \
         CREATE TABLE IF NOT EXISTS {TABLE} (ledger text NOT NULL, version text NOT NULL, \
           sha256 text NOT NULL, meaning text NOT NULL, \
           applied_at timestamptz NOT NULL DEFAULT pg_catalog.now(), \
           PRIMARY KEY (ledger, version)); COMMIT"
    )
}

/// Forgets everything of one ledger; for people.
pub(super) fn forget_sql(ledger: &LedgerName) -> String {
    own_tables::forget_sql(TABLE, ledger)
}

/// Forgets everything of all ledgers.
pub(super) fn clear_sql() -> String {
    format!("DELETE FROM {TABLE}")
}

impl Subject<'_> {
    /// Remembers that the file was applied, and what it meant.
    pub(super) fn remember(&self, sha256: &str, meaning: &str) -> String {
        format!(
            "INSERT INTO {TABLE} (ledger, version, sha256, meaning) VALUES ({}, {}, {}, {}) \
             ON CONFLICT (ledger, version) DO UPDATE SET sha256 = excluded.sha256, \
               meaning = excluded.meaning, applied_at = excluded.applied_at",
            literal(&self.ledger.quoted()),
            literal(self.version),
            literal(sha256),
            literal(meaning),
        )
    }
}
