//! The ledger: the table `schema_migrations(version, applied_at, checksum)`. Pure: SQL texts and
//! the meaning of what they answer; [`super::run`] sends them.
//!
//! The table is the one the platform's shell tools kept. It is never altered. Tables of other
//! tools carry the same name (golang-migrate, dbmate, Rails), so its shape is checked before
//! anything is written.

pub(crate) mod written;

use std::fmt;

use super::{
    journal::{self, Note, Subject},
    memory,
    midway::Unfinished,
    own_tables,
};

/// Which table records what was applied.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LedgerName {
    schema: String,
    table: String,
}

impl LedgerName {
    /// Names a ledger.
    ///
    /// # Errors
    /// Says why PostgreSQL could not have a table of that name, or why it is not for a ledger.
    pub fn new(schema: impl Into<String>, table: impl Into<String>) -> Result<Self, String> {
        let name = Self {
            schema: schema.into(),
            table: table.into(),
        };
        for part in [&name.schema, &name.table] {
            if part.is_empty() || part.len() > 63 || part.contains('\0') {
                return Err(format!(
                    "{part:?} is not a PostgreSQL name: 1 to 63 bytes are"
                ));
            }
        }
        if name.schema == own_tables::SCHEMA {
            return Err(format!(
                "the schema {} is the engine's own: choose another one",
                own_tables::SCHEMA
            ));
        }
        Ok(name)
    }

    /// The schema, unquoted.
    #[must_use]
    pub fn schema(&self) -> &str {
        &self.schema
    }

    /// The table, unquoted.
    #[must_use]
    pub fn table(&self) -> &str {
        &self.table
    }

    /// Quoted for SQL.
    pub(crate) fn quoted(&self) -> String {
        format!("{}.{}", identifier(&self.schema), identifier(&self.table))
    }
}

impl Default for LedgerName {
    fn default() -> Self {
        Self {
            schema: "public".to_owned(),
            table: "schema_migrations".to_owned(),
        }
    }
}

impl fmt::Display for LedgerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.schema, self.table)
    }
}

/// What the ledger says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LedgerState {
    /// Which table it is.
    pub name: LedgerName,
    /// Whether the table exists; it is created by the first run that has something to apply.
    pub exists: bool,
    /// Its rows in byte order of the versions.
    pub rows: Vec<LedgerRow>,
    /// Versions that this engine has applied, but whose rows somebody has deleted since; or the whole table.
    pub unrecorded: Vec<String>,
    /// Files that earlier runs have begun and not finished, in byte order of the versions.
    pub unfinished: Vec<Unfinished>,
}

impl LedgerState {
    /// What earlier runs, which did not finish it, have noted of a file.
    pub(crate) fn notes(&self, version: &str) -> &[Note] {
        let begun = self
            .unfinished
            .iter()
            .find(|begun| begun.version == version);
        begun.map_or(&[], |begun| &begun.notes)
    }

    /// Adds a note; those of one file come one after the other, but in no order.
    pub(crate) fn note(&mut self, version: String, note: Note) {
        match self.unfinished.last_mut() {
            Some(last) if last.version == version => {
                last.notes.push(note);
                last.notes.sort_by_key(|note| note.segment);
            }
            Some(_) | None => self.unfinished.push(Unfinished {
                version,
                notes: vec![note],
            }),
        }
    }
}

/// One applied migration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerRow {
    /// The file name.
    pub version: String,
    /// As recorded: hex SHA-256, `unknown`, or nothing.
    pub checksum: Option<String>,
    /// When; rows made by hand may lack it.
    pub applied_at: Option<jiff::Timestamp>,
    /// What the file meant, see [`super::MigrationFile::meaning`]; none of files that other tools
    /// or earlier versions have applied.
    pub meaning: Option<String>,
}

/// A string constant that means the same whatever `standard_conforming_strings` is.
pub(crate) fn literal(value: &str) -> String {
    format!("E'{}'", value.replace('\\', "\\\\").replace('\'', "''"))
}

/// A quoted name.
pub(crate) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Answers one row per column: name, type. No row: there is no such relation. A view or foreign
/// table answers with the type `not a table`, a column that is none of ours and needs a value with [`NEEDED`] behind its
/// type. Rows without a name say what there is of the engine's own, [`MEMORY`] and [`JOURNAL`], and the statements that
/// give the role the rights to read all that, as far as it lacks them.
pub(crate) fn shape_sql(ledger: &LedgerName) -> String {
    format!(
        "SELECT a.attname::text, CASE WHEN c.relkind IN ('r', 'p') \
           THEN pg_catalog.format_type(a.atttypid, NULL) || CASE WHEN a.attnotnull AND NOT a.atthasdef \
             AND a.attidentity = '' AND a.attname NOT IN ('version', 'applied_at', 'checksum') THEN '{NEEDED}' ELSE '' END \
           ELSE 'not a table' END \
         FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped \
         WHERE n.nspname = {} AND c.relname = {} \
         UNION ALL SELECT '', '{MEMORY}' WHERE {} UNION ALL SELECT '', '{JOURNAL}' WHERE {} \
         UNION ALL SELECT '', g.sql FROM ({}) g ORDER BY 1, 2",
        literal(&ledger.schema),
        literal(&ledger.table),
        memory::there_sql(),
        journal::there_sql(),
        own_tables::grants_sql(&[
            (&ledger.schema, &ledger.table, "SELECT"),
            (own_tables::SCHEMA, memory::NAME, "SELECT"),
            (own_tables::SCHEMA, journal::NAME, "SELECT"),
        ]),
    )
}

/// Answers the statements that give the role the rights to record what it applies, as far as it lacks them.
pub(crate) fn lacking_sql(ledger: &LedgerName) -> String {
    own_tables::grants_sql(&[
        (&ledger.schema, &ledger.table, "SELECT, INSERT"),
        (own_tables::SCHEMA, memory::NAME, memory::RIGHTS),
        (own_tables::SCHEMA, journal::NAME, journal::RIGHTS),
    ])
}

/// What [`shape_sql`] writes behind the type of a column that nobody but its maker can fill.
const NEEDED: &str = " NOT NULL";

/// What [`shape_sql`] calls the engine's memory, and its journal; the rest are statements.
pub(crate) const MEMORY: &str = "memory";
pub(crate) const JOURNAL: &str = "journal";

/// Judges the answer of [`shape_sql`]: whether the ledger exists, or why that table is not one.
pub(crate) fn shape(ledger: &LedgerName, columns: &[(String, String)]) -> Result<bool, String> {
    let columns: Vec<(&str, &str)> = columns
        .iter()
        .map(|(n, t)| (n.as_str(), t.as_str()))
        .collect();
    let text: fn(&str) -> bool = |of| matches!(of, "character varying" | "text" | "character");
    let time: fn(&str) -> bool = |of| of.starts_with("timestamp");
    if columns.is_empty() {
        return Ok(false);
    }
    let has = |name: &str, is_type: fn(&str) -> bool| {
        columns
            .iter()
            .any(|(column, of)| *column == name && is_type(of))
    };
    let is_ours = has("version", text) && has("checksum", text) && has("applied_at", time);
    // others may have added columns that need nothing from us
    let needed = columns.iter().find(|(_, of)| of.ends_with(NEEDED));
    if is_ours && needed.is_none() {
        return Ok(true);
    }
    let found: Vec<String> = columns.iter().map(|(n, t)| format!("{n} {t}")).collect();
    let whose = match (needed, tool(&columns)) {
        (Some((name, _)), _) if is_ours => {
            return Err(format!(
                "{ledger} has a column {name} without which no row can be written: give it a default, or allow NULL in it"
            ));
        }
        (_, Some(tool)) => format!("that of {tool}"),
        (_, None) => "not a ledger of this tool".to_owned(),
    };
    Err(format!(
        "{ledger} exists but is {whose}: it has ({}), expected are \
         (applied_at timestamptz, checksum varchar, version varchar). Leave it as it is, choose another table for this tool \
         (--ledger SCHEMA.TABLE, or spec.ledger), and record there which files the database has already \
         (`sepulki migrate baseline FILE --ledger SCHEMA.TABLE`, or spec.adopt.baseline with spec.adopt.mode: Baseline)",
        found.join(", ")
    ))
}

/// The tools that keep their records in tables of these columns (sorted by name).
fn tool(columns: &[(&str, &str)]) -> Option<&'static str> {
    Some(match columns {
        [("dirty", "boolean"), ("version", "bigint")] => "golang-migrate",
        [("version", "character varying")] => "dbmate or Rails",
        [("inserted_at", _), ("version", "bigint")] => "Ecto",
        [("run_on", _), ("version", "character varying")] => "diesel",
        columns if columns.iter().any(|(name, _)| *name == "installed_rank") => "Flyway",
        columns
            if columns
                .iter()
                .any(|(name, _)| *name == "applied_steps_count") =>
        {
            "Prisma"
        }
        columns if columns.iter().any(|(name, _)| *name == "execution_time") => "sqlx or Atlas",
        columns if columns.iter().any(|(name, _)| *name == "is_applied") => "goose",
        _ => return None,
    })
}

/// What a row of the answer to [`rows_sql`] is.
pub(crate) const APPLIED: &str = "applied";
pub(crate) const GONE: &str = "gone";
pub(crate) const NOTED: &str = "noted";

/// Answers what is known of the files, each row with its kind at the end:
///
/// * [`APPLIED`]: version, checksum, microseconds since 1970, what the file meant;
/// * [`GONE`], where the engine remembers: a version whose row is no longer there;
/// * [`NOTED`], where there is a journal: version, fingerprint, segment, intent.
pub(crate) fn rows_sql(ledger: &LedgerName, remembers: bool, has_journal: bool) -> String {
    let table = ledger.quoted();
    let (memory, name) = (memory::TABLE, literal(&table));
    let applied = "l.version::text AS version, l.checksum::text, CASE WHEN pg_catalog.isfinite(l.applied_at) \
         THEN (extract(epoch FROM l.applied_at) * 1000000)::bigint::text END";
    let mut parts = if remembers {
        vec![
            format!(
                "SELECT {applied}, m.meaning, '{APPLIED}' FROM {table} l LEFT JOIN {memory} m \
                   ON m.ledger = {name} AND m.version = l.version::text AND m.sha256 = l.checksum::text \
                 WHERE l.version IS NOT NULL"
            ),
            format!(
                "SELECT m.version, NULL, NULL, NULL, '{GONE}' FROM {memory} m WHERE m.ledger = {name} \
                   AND NOT EXISTS (SELECT FROM {table} l WHERE l.version::text = m.version)"
            ),
        ]
    } else {
        vec![format!(
            "SELECT {applied}, NULL::text, '{APPLIED}' FROM {table} l WHERE l.version IS NOT NULL"
        )]
    };
    if has_journal {
        parts.push(format!("{} WHERE ledger = {name}", journal::all_sql(NOTED)));
    }
    let all = parts.join(" UNION ALL ");
    format!("SELECT * FROM ({all}) r ORDER BY r.version COLLATE \"C\"")
}

/// The same where there is no ledger: what the engine knows all the same. No statement where it keeps nothing.
pub(crate) fn lost_sql(ledger: &LedgerName, remembers: bool, has_journal: bool) -> Option<String> {
    let name = literal(&ledger.quoted());
    let memory = memory::TABLE;
    let gone = format!(
        "SELECT m.version, NULL::text, NULL::text, NULL::text, '{GONE}' FROM {memory} m WHERE m.ledger = {name}"
    );
    let noted = format!("{} WHERE ledger = {name}", journal::all_sql(NOTED));
    let parts = remembers
        .then_some(gone)
        .into_iter()
        .chain(has_journal.then_some(noted));
    let parts: Vec<String> = parts.collect();
    let all = parts.join(" UNION ALL ");
    (!parts.is_empty())
        .then(|| format!("SELECT * FROM ({all}) r (version) ORDER BY r.version COLLATE \"C\""))
}

impl Subject<'_> {
    /// An expression: whether the ledger has a row of the file that we can see.
    pub(super) fn is_recorded(&self) -> String {
        let (ledger, version) = (self.ledger.quoted(), literal(self.version));
        format!("EXISTS (SELECT FROM {ledger} l WHERE l.version::text = {version})")
    }
}

/// Creates the ledger as one transaction. Default privileges may have given application roles
/// more than reading it; that is taken back before anybody sees the table.
pub(crate) fn create_sql(ledger: &LedgerName) -> String {
    let schema = identifier(&ledger.schema);
    let table = ledger.quoted();
    let (regnamespace, regclass) = (literal(&schema), literal(&table));
    format!(
        "BEGIN; DO $sepulki$ BEGIN IF pg_catalog.to_regnamespace({regnamespace}) IS NULL \
           THEN CREATE SCHEMA {schema}; END IF; END $sepulki$; \
         CREATE TABLE {table} (version varchar(255) PRIMARY KEY, \
           applied_at timestamptz DEFAULT now(), checksum varchar(64)); \
         DO $sepulki$ DECLARE r record; BEGIN \
           FOR r IN SELECT DISTINCT CASE a.grantee WHEN 0 THEN 'PUBLIC' \
               ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(a.grantee)) END AS grantee \
             FROM pg_catalog.pg_class c, pg_catalog.aclexplode(c.relacl) a \
             WHERE c.oid = {regclass}::pg_catalog.regclass AND a.grantee <> c.relowner \
               AND a.privilege_type <> 'SELECT' AND pg_catalog.pg_has_role(c.relowner, 'USAGE') \
           LOOP \
             EXECUTE pg_catalog.format('REVOKE ALL ON {table_in_format} FROM %s', r.grantee); \
             EXECUTE pg_catalog.format('GRANT SELECT ON {table_in_format} TO %s', r.grantee); \
           END LOOP; END $sepulki$; COMMIT",
        table_in_format = table.replace('\'', "''").replace('%', "%%"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(list: &[(&str, &str)]) -> Vec<(String, String)> {
        list.iter()
            .map(|(n, t)| ((*n).to_owned(), (*t).to_owned()))
            .collect()
    }

    #[test]
    fn only_the_right_shape_is_a_ledger() {
        let ledger = LedgerName::default();
        assert_eq!(shape(&ledger, &[]), Ok(false));
        let ours = [
            ("applied_at", "timestamp with time zone"),
            ("checksum", "character varying"),
            ("version", "character varying"),
        ];
        assert_eq!(shape(&ledger, &columns(&ours)), Ok(true));
        let more = [&ours[..], &[("note", "text")]].concat();
        assert_eq!(shape(&ledger, &columns(&more)), Ok(true));
        let needed = [&ours[..], &[("by", "text NOT NULL")]].concat();
        let refusal = shape(&ledger, &columns(&needed)).unwrap_err();
        assert!(refusal.contains("a column by without which"), "{refusal}");
        for foreign in [
            &[("dirty", "boolean"), ("version", "bigint")][..],
            &[("version", "character varying")],
            &[
                ("applied_at", "not a table"),
                ("checksum", "not a table"),
                ("version", "not a table"),
            ],
            &[
                ("applied_at", "timestamp with time zone"),
                ("checksum", "character varying"),
                ("version", "bigint"),
            ],
        ] {
            let refusal = shape(&ledger, &columns(foreign)).unwrap_err();
            assert_eq!(refusal.contains("golang-migrate"), foreign[0].0 == "dirty");
            assert!(
                refusal.contains("public.schema_migrations")
                    && refusal.contains(foreign[0].0)
                    && refusal.contains("baseline FILE --ledger"),
                "{refusal}"
            );
        }
    }

    #[test]
    fn names_and_texts_are_quoted() {
        let ledger = LedgerName::new("My \"s\"", "t'a\\b").unwrap();
        assert_eq!(ledger.quoted(), "\"My \"\"s\"\"\".\"t'a\\b\"");
        assert_eq!(literal("a'b\\c"), "E'a''b\\\\c'");
        assert!(LedgerName::new("sepulki_engine", "journal").is_err());
        assert!(LedgerName::new("", "x").is_err());
        assert!(LedgerName::new("x", "y".repeat(64)).is_err());
    }
}
