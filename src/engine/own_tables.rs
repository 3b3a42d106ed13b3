//! What the journal and the memory have in common, which are tables of the engine's own: their schema, and that each row
//! belongs to one ledger. Pure: SQL texts.

use super::ledger::{LedgerName, literal};

/// The schema of the engine's own tables.
pub(super) const SCHEMA: &str = "sepulki_engine";

/// Holds where there is a table of this name in [`SCHEMA`].
pub(super) fn exists_sql(table: &str) -> String {
    format!(
        "EXISTS (SELECT FROM pg_catalog.pg_class c \
           JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE n.nspname = '{SCHEMA}' AND c.relname = '{table}' AND c.relkind = 'r')"
    )
}

/// Answers the statements that give the role the rights that it lacks. Each of `wanted` is a schema, a table and rights on
/// it; of a table that does not exist none are lacking.
pub(super) fn grants_sql(wanted: &[(&str, &str, &str)]) -> String {
    let wanted = wanted.iter().map(|(schema, table, rights)| {
        let (schema, table, rights) = (literal(schema), literal(table), literal(rights));
        format!("({schema}, {table}, {rights})")
    });
    let wanted: Vec<String> = wanted.collect();
    format!(
        "SELECT DISTINCT g.sql FROM (VALUES {}) w (schema, name, rights) \
         JOIN pg_catalog.pg_namespace n ON n.nspname = w.schema \
         JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = w.name AND c.relkind IN ('r', 'p'), \
         LATERAL (SELECT pg_catalog.format('GRANT USAGE ON SCHEMA %I TO %I', n.nspname, current_user) \
             WHERE NOT pg_catalog.has_schema_privilege(n.oid, 'USAGE') \
           UNION ALL SELECT pg_catalog.format('GRANT %s ON %I.%I TO %I', w.rights, n.nspname, c.relname, current_user) \
             WHERE EXISTS (SELECT FROM pg_catalog.regexp_split_to_table(w.rights, ', ') r \
               WHERE NOT pg_catalog.has_table_privilege(c.oid, r))) g (sql)",
        wanted.join(", ")
    )
}

/// Deletes the rows that a table has of one ledger.
pub(super) fn forget_sql(table: &str, ledger: &LedgerName) -> String {
    let ledger = literal(&ledger.quoted());
    format!("DELETE FROM {table} WHERE ledger = {ledger}")
}
