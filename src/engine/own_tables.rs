//! What the journal and the memory have in common, which are tables of the engine's own: their schema, and that each row
//! belongs to one ledger. Pure: SQL texts.

use super::ledger::{LedgerName, literal};

/// The schema of the engine's own tables.
pub(super) const SCHEMA: &str = "sepulki_engine";

/// Holds where there is a table of this name in [`SCHEMA`], and `right`, a condition on its `pg_class` row `c`, allows what
/// is meant to be done with it: it may be somebody else's.
pub(super) fn usable_sql(table: &str, right: &str) -> String {
    format!(
        "EXISTS (SELECT FROM pg_catalog.pg_class c \
           JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE n.nspname = '{SCHEMA}' AND c.relname = '{table}' AND c.relkind = 'r' \
           AND pg_catalog.has_schema_privilege(n.oid, 'USAGE') \
           AND {right})"
    )
}

/// Deletes the rows that a table has of one ledger.
pub(super) fn forget_sql(table: &str, ledger: &LedgerName) -> String {
    let ledger = literal(&ledger.quoted());
    format!("DELETE FROM {table} WHERE ledger = {ledger}")
}
