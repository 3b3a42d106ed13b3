//! What a role of the spec may do with each kind of object, and which statements bring it there.
//! Pure; used by `grants` only.

use super::ddl::quote_identifier;

/// What applications of a role do with a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Access {
    /// Reads.
    ReadOnly,
    /// Reads and writes rows, uses sequences.
    ReadWrite,
    /// Everything that can be done with data, emptying tables and setting sequences included;
    /// no DDL.
    Admin,
}

/// Kinds of things that rights are given on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Database,
    Schema,
    /// Tables, partitioned and foreign ones, views and materialized views.
    Table,
    Sequence,
    /// The table that migrations are recorded in.
    Ledger,
    /// Tables that the owner will make in the schema.
    FutureTables,
    /// Sequences that the owner will make in the schema.
    FutureSequences,
}

impl Kind {
    /// From the word that the catalog query uses.
    pub(super) fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "database" => Self::Database,
            "schema" => Self::Schema,
            "table" => Self::Table,
            "sequence" => Self::Sequence,
            "ledger" => Self::Ledger,
            "future tables" => Self::FutureTables,
            "future sequences" => Self::FutureSequences,
            _ => return None,
        })
    }

    /// What a role with `access` gets on it; `None`: one that has no business in the database.
    ///
    /// `Admin` gets neither TRIGGER nor REFERENCES: both are DDL, and a trigger would run with the rights of
    /// whoever writes to the table next, which is the owner when that is a migration.
    pub(super) fn wanted(
        self,
        access: Option<Access>,
        server_version: i32,
    ) -> &'static [&'static str] {
        let Some(access) = access else { return &[] };
        match (self, access) {
            (Self::Database, Access::ReadOnly) => &["CONNECT"],
            (Self::Database, Access::ReadWrite | Access::Admin) => &["CONNECT", "TEMPORARY"],
            (Self::Schema, _) => &["USAGE"],
            (Self::Ledger, _)
            | (
                Self::Table | Self::FutureTables | Self::Sequence | Self::FutureSequences,
                Access::ReadOnly,
            ) => &["SELECT"],
            (Self::Table | Self::FutureTables, Access::ReadWrite) => {
                &["SELECT", "INSERT", "UPDATE", "DELETE"]
            }
            (Self::Table | Self::FutureTables, Access::Admin) if server_version < 170_000 => {
                &["SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE"]
            }
            // Also refreshing materialized views, VACUUM, ANALYZE and the like.
            (Self::Table | Self::FutureTables, Access::Admin) => &[
                "SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "MAINTAIN",
            ],
            (Self::Sequence | Self::FutureSequences, Access::ReadWrite) => &["USAGE", "SELECT"],
            (Self::Sequence | Self::FutureSequences, Access::Admin) => {
                &["USAGE", "SELECT", "UPDATE"]
            }
        }
    }

    /// What nobody may have beyond what is wanted, from wherever it comes. The rest (`TEMPORARY` and `USAGE`,
    /// which PUBLIC has by default) gives no access to data.
    fn harmful(self) -> &'static [&'static str] {
        match self {
            Self::Database => &["CONNECT"],
            Self::Schema => &["CREATE"],
            Self::Table | Self::Ledger => &["INSERT", "UPDATE", "DELETE", "TRUNCATE"],
            Self::Sequence | Self::FutureTables | Self::FutureSequences => &[],
        }
    }
}

/// One object and a role's rights on it, as read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Holding {
    pub(super) kind: Kind,
    /// As it is written in GRANT: `TABLE public.t`; for future objects the schema, quoted.
    pub(super) target: String,
    /// Whether we may grant on it as its owner.
    pub(super) owned: bool,
    /// What was granted to the role itself.
    pub(super) held: Vec<String>,
    /// What it can do, whoever gave it: itself, PUBLIC, or roles it is a member of.
    pub(super) effective: Vec<String>,
}

impl Holding {
    /// The statements that make what is held what is wanted; none where it is already, or where
    /// the object is somebody else's.
    pub(super) fn statements(&self, wanted: &[&str], group: &str) -> Vec<String> {
        if !self.owned {
            return Vec::new();
        }
        let missing = wanted
            .iter()
            .filter(|right| !contains(&self.held, right))
            .copied()
            .collect::<Vec<_>>()
            .join(", ");
        let surplus = self
            .held
            .iter()
            .map(String::as_str)
            .filter(|right| !wanted.contains(right))
            .collect::<Vec<_>>()
            .join(", ");
        let (prefix, target) = match self.kind {
            Kind::FutureTables => (self.future_prefix(), "TABLES"),
            Kind::FutureSequences => (self.future_prefix(), "SEQUENCES"),
            Kind::Database | Kind::Schema | Kind::Table | Kind::Sequence | Kind::Ledger => {
                (String::new(), self.target.as_str())
            }
        };
        let group = quote_identifier(group);
        let mut statements = Vec::new();
        if !missing.is_empty() {
            statements.push(format!("{prefix}GRANT {missing} ON {target} TO {group}"));
        }
        if !surplus.is_empty() {
            statements.push(format!("{prefix}REVOKE {surplus} ON {target} FROM {group}"));
        }
        statements
    }

    fn future_prefix(&self) -> String {
        format!("ALTER DEFAULT PRIVILEGES IN SCHEMA {} ", self.target)
    }

    /// What is wanted and cannot be done: `INSERT, UPDATE on TABLE public.t`.
    pub(super) fn lacking(&self, wanted: &[&str]) -> Option<String> {
        self.describe(
            wanted
                .iter()
                .filter(|right| !contains(&self.effective, right)),
        )
    }

    /// What is not wanted and can be done all the same.
    pub(super) fn excessive(&self, wanted: &[&str]) -> Option<String> {
        self.describe(
            self.kind
                .harmful()
                .iter()
                .filter(|right| !wanted.contains(right) && contains(&self.effective, right)),
        )
    }

    fn describe<'a>(&self, rights: impl Iterator<Item = &'a &'a str>) -> Option<String> {
        let rights = rights.copied().collect::<Vec<_>>().join(", ");
        (!rights.is_empty()).then(|| format!("{rights} on {}", self.target))
    }
}

fn contains(rights: &[String], right: &str) -> bool {
    rights.iter().any(|held| held == right)
}
