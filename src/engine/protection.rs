//! What a database is to those who run it, written into the database itself so that whoever holds
//! its connection string is told too. Pure: SQL texts; [`super::run`] sends them.
//!
//! The operator writes it, as the role that owns the database; nobody else is granted anything on
//! the engine's schema. It guards against mistakes, not against an owner who means it.

use super::{ledger::literal, own_tables::SCHEMA};

const TABLE: &str = "sepulki_engine.protection";

/// The environment whose content may never be thrown away.
pub(super) const PRODUCTION: &str = "production";

/// What a database is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Protection {
    /// The environment that it belongs to.
    pub environment: String,
    /// Whether its content may not be thrown away.
    pub is_protected: bool,
}

impl Protection {
    /// Writes it, as one transaction. Two that meet here: the second one fails and is repeated.
    pub(super) fn write_sql(&self) -> String {
        format!(
            "BEGIN; CREATE SCHEMA IF NOT EXISTS {SCHEMA}; \
             CREATE TABLE IF NOT EXISTS {TABLE} (only_one boolean PRIMARY KEY DEFAULT true CHECK (only_one), \
               environment text NOT NULL, is_protected boolean NOT NULL, \
               written_at timestamptz NOT NULL DEFAULT pg_catalog.now()); \
             INSERT INTO {TABLE} (environment, is_protected) VALUES ({}, {}) \
             ON CONFLICT (only_one) DO UPDATE SET environment = excluded.environment, \
               is_protected = excluded.is_protected, written_at = pg_catalog.now(); COMMIT",
            literal(&self.environment),
            self.is_protected
        )
    }
}

/// Answers whether a database says anything of itself.
pub(super) fn exists_sql() -> String {
    format!("SELECT pg_catalog.to_regclass('{TABLE}') IS NOT NULL")
}

/// Answers environment and whether it is protected; no row where nobody wrote one.
pub(super) fn read_sql() -> String {
    format!("SELECT environment, is_protected FROM {TABLE}")
}
