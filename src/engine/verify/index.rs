//! Whether an index that is there is the one that a file makes. Pure: what is asked of the server.
//!
//! `CREATE INDEX` is refused, or does nothing, as soon as there is a relation of its name, whatever that is an index of. So
//! the statement is run once more on an empty table of the same columns, where no name is taken, and the two definitions
//! are compared.

use crate::engine::{ledger::literal, sql::words::Words};

/// The empty table.
const CLONE: &str = "pg_temp.sepulki_verified";

/// A `CREATE INDEX` that gives a name.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct IndexMade {
    name: String,
    /// As the statement has it, quotes included.
    table: String,
    on_clone: String,
    /// Whether it does nothing where there is an index of that name: `IF NOT EXISTS`.
    pub(crate) is_optional: bool,
}

/// What is there of an index that a file makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct IndexFound {
    /// Its key in the catalog.
    pub(crate) key: String,
    pub(crate) is_optional: bool,
    /// The two definitions, where they are not the same: what is there, and what the file makes.
    pub(crate) otherwise: Option<(String, String)>,
}

/// Reads a statement; none where it makes no index, or one whose name the server chooses.
pub(crate) fn index_made(statement: &str) -> Option<IndexMade> {
    let mut words = Words::new(statement);
    if !words.word("CREATE") {
        return None;
    }
    words.word("UNIQUE");
    if !words.word("INDEX") {
        return None;
    }
    let concurrently = words.byte();
    let concurrently = words
        .word("CONCURRENTLY")
        .then(|| concurrently..words.end());
    let is_optional = words.words(&["IF", "NOT", "EXISTS"]);
    if words.word("ON") {
        return None;
    }
    let name = words.name()?;
    if !words.word("ON") {
        return None;
    }
    words.word("ONLY");
    let start = words.byte();
    words.path()?;
    let table = start..words.end();
    let mut on_clone = statement.trim_end().trim_end_matches(';').to_owned();
    let table_text = statement.get(table.clone())?.to_owned();
    on_clone.replace_range(table, CLONE);
    if let Some(concurrently) = concurrently {
        on_clone.replace_range(concurrently, "");
    }
    Some(IndexMade {
        name,
        table: table_text,
        on_clone,
        is_optional,
    })
}

impl IndexMade {
    /// Makes the index on the empty table, and answers the key of the one that is there, its definition, and that of the
    /// one that was made; no row where there is none. To be rolled back.
    pub(crate) fn question(&self) -> String {
        // how rows are stored is not what an index is, and may have been set since
        let definition = |index: &str| {
            format!(
                "pg_catalog.regexp_replace(pg_catalog.regexp_replace(pg_catalog.pg_get_indexdef({index}), \
                   '^(CREATE.*?INDEX) .*? USING ', E'\\\\1 USING '), E' WITH \\\\(.*?\\\\)', '')"
            )
        };
        let table = literal(&self.table);
        format!(
            "CREATE TEMPORARY TABLE sepulki_verified (LIKE {}); {}\n; \
             SELECT i.type || ' ' || i.identity, \
               CASE WHEN x.indrelid = {table}::pg_catalog.regclass THEN '' ELSE x.indrelid::pg_catalog.regclass || ': ' END || {}, {} \
             FROM pg_catalog.pg_class t JOIN pg_catalog.pg_class c ON c.relnamespace = t.relnamespace AND c.relname = {} \
             JOIN pg_catalog.pg_index x ON x.indexrelid = c.oid \
             JOIN pg_catalog.pg_index w ON w.indrelid = '{CLONE}'::pg_catalog.regclass, \
             LATERAL pg_catalog.pg_identify_object('pg_catalog.pg_class'::pg_catalog.regclass, c.oid, 0) i \
             WHERE t.oid = {table}::pg_catalog.regclass",
            self.table,
            self.on_clone,
            definition("x.indexrelid"),
            definition("w.indexrelid"),
            literal(&self.name),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_that_name_an_index_are_read() {
        let made = index_made(
            "CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS I ON ONLY public.\"A b\" (c);",
        )
        .unwrap();
        assert_eq!(made.name, "i");
        assert_eq!(made.table, "public.\"A b\"");
        assert!(made.is_optional);
        assert_eq!(
            made.on_clone,
            "CREATE UNIQUE INDEX  IF NOT EXISTS I ON ONLY pg_temp.sepulki_verified (c)"
        );
        for other in [
            "CREATE INDEX ON a (b)",
            "CREATE TABLE i (a int)",
            "DROP INDEX i",
            "CREATE INDEX CONCURRENTLY ON a (b)",
        ] {
            assert_eq!(index_made(other), None, "{other}");
        }
    }
}
