//! PostgreSQL in memory: one server per branch with roles, databases, grants, ledgers and what migrations did.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use secrecy::ExposeSecret;
use sepulki::api::Access;
use sepulki::engine::{LedgerName, LedgerRow, LedgerState};
use sepulki::postgres::extensions::{Available, Installed, Step};
use sepulki::postgres::managers::Administration;
use sepulki::postgres::roles::{RoleFact, Shape};
use sepulki::postgres::{Class, Error, Target};

use super::neon::Neon;

/// What one branch holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Server {
    pub roles: BTreeMap<String, PgRole>,
    pub databases: BTreeMap<String, PgDatabase>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct PgRole {
    /// May open sessions.
    pub login: bool,
    pub password: Option<String>,
    /// Its comment.
    pub mark: Option<String>,
    pub member_of: BTreeSet<String>,
    /// Made by Neon.
    pub api: bool,
    /// Who has made it, where that was by SQL: the only one who can change it, as from PostgreSQL 16 on.
    pub made_by: Option<String>,
    pub shape: Shape,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct PgDatabase {
    pub owner: String,
    /// Whether everybody may enter.
    pub public: bool,
    /// Schemas beside PostgreSQL's own.
    pub schemas: BTreeSet<String>,
    /// Groups that may enter, and what they may do in which schemas.
    pub grants: BTreeMap<String, (Access, BTreeSet<String>)>,
    /// Extensions, with version and schema.
    pub extensions: BTreeMap<String, (String, String)>,
    /// Rows of the ledger, once there is one.
    pub ledger: Option<Vec<LedgerRow>>,
    /// What migrations did, in order: one entry per file that was committed.
    pub ran: Vec<String>,
    /// Held by a migration as long as it runs.
    pub locked: bool,
}

impl Server {
    pub fn add_database(&mut self, name: &str, owner: &str) {
        let database = PgDatabase {
            owner: owner.to_owned(),
            public: true,
            schemas: ["public".to_owned()].into(),
            ..PgDatabase::default()
        };
        self.databases.insert(name.to_owned(), database);
    }

    /// Roles that are no logins of Neon's, as the operator's SQL lists them.
    pub fn facts(&self) -> Vec<RoleFact> {
        let fact = |(name, role): (&String, &PgRole)| RoleFact {
            name: name.clone(),
            can_login: role.login,
            superuser: false,
            api_role: role.api,
            mark: role.mark.clone(),
            member_of: role.member_of.iter().cloned().collect(),
        };
        self.roles.iter().map(fact).collect()
    }

    /// Who can change which roles, as the operator's SQL lists them.
    pub fn administrations(&self) -> Vec<Administration> {
        let one = |(name, role): (&String, &PgRole)| {
            Some(Administration {
                role: name.clone(),
                mark: role.mark.clone(),
                administrator: role.made_by.clone()?,
            })
        };
        self.roles.iter().filter_map(one).collect()
    }

    /// The role of that name, made by `user` where there is none.
    pub fn role(&mut self, name: &str, user: &str) -> &mut PgRole {
        self.roles.entry(name.to_owned()).or_insert_with(|| PgRole {
            made_by: Some(user.to_owned()),
            ..PgRole::default()
        })
    }

    /// Logins that are open and were made by SQL.
    pub fn open_logins(&self) -> BTreeSet<String> {
        let open =
            |(name, role): (&String, &PgRole)| (role.login && !role.api).then(|| name.clone());
        self.roles.iter().filter_map(open).collect()
    }

    /// Whether these credentials open the database.
    pub fn admits(&self, user: &str, password: &str, database: &str) -> Result<(), Error> {
        let right = self
            .roles
            .get(user)
            .is_some_and(|role| role.login && role.password.as_deref() == Some(password));
        if !right {
            let message = format!("password authentication failed for user \"{user}\"");
            return Err(Error::new(Class::Denied, message));
        }
        let Some(found) = self.databases.get(database) else {
            let message = format!("database \"{database}\" does not exist");
            return Err(Error::new(Class::Invalid, message));
        };
        let role = &self.roles[user];
        let granted = role.member_of.iter().any(|g| found.grants.contains_key(g));
        if role.api || found.public || granted {
            return Ok(());
        }
        let message = format!("permission denied for database \"{database}\"");
        Err(Error::new(Class::Denied, message))
    }
}

impl PgRole {
    /// Whether `user` can change it.
    pub fn obeys(&self, user: &str) -> bool {
        self.made_by.as_ref().is_none_or(|maker| maker == user)
    }

    /// The server's refusal, where `user` cannot change it.
    pub fn altered_by(&mut self, user: &str) -> Result<&mut Self, Error> {
        if self.obeys(user) {
            return Ok(self);
        }
        Err(Error::new(Class::Denied, "permission denied to alter role"))
    }
}

impl PgDatabase {
    pub fn state(&self) -> LedgerState {
        LedgerState {
            name: LedgerName::default(),
            exists: self.ledger.is_some(),
            rows: self.ledger.clone().unwrap_or_default(),
            unrecorded: Vec::new(),
            unfinished: Vec::new(),
        }
    }

    /// Runs a file and writes its row, in one transaction.
    pub fn commit(&mut self, version: &str, sha256: &str, now: Timestamp) {
        self.ran.push(version.to_owned());
        let rows = self.ledger.get_or_insert_default();
        rows.push(LedgerRow {
            version: version.to_owned(),
            checksum: Some(sha256.to_owned()),
            applied_at: Some(now),
            meaning: None,
        });
        rows.sort_by(|a, b| a.version.cmp(&b.version));
    }
}

/// What the server can install.
pub fn available() -> Vec<Available> {
    let one = |(name, version): (&str, &str)| Available {
        name: name.to_owned(),
        version: version.to_owned(),
        is_default: true,
        schema: None,
    };
    [("pg_trgm", "1.6"), ("pgcrypto", "1.3"), ("vector", "0.8.0")]
        .map(one)
        .into()
}

impl PgDatabase {
    /// Its extensions, as the operator's SQL lists them.
    pub fn installed(&self) -> Vec<Installed> {
        let one = |(name, (version, schema)): (&String, &(String, String))| Installed {
            name: name.clone(),
            version: version.clone(),
            schema: schema.clone(),
        };
        self.extensions.iter().map(one).collect()
    }

    /// Takes one step about an extension.
    pub fn install(&mut self, step: Step) {
        match step {
            Step::Create {
                name,
                schema,
                version,
            } => {
                let default = available().into_iter().find(|one| one.name == name);
                let version = version.unwrap_or(default.unwrap().version);
                let schema = schema.unwrap_or_else(|| "public".to_owned());
                self.schemas.insert(schema.clone());
                self.extensions.insert(name, (version, schema));
            }
            Step::Update { name, version } => {
                self.extensions
                    .entry(name)
                    .and_modify(|one| one.0 = version);
            }
        }
    }
}

/// Opens a session: the server behind the host, where the credentials are right.
pub fn open<'a>(neon: &'a mut Neon, at: &Target, now: Timestamp) -> Result<&'a mut Server, Error> {
    neon.tick(now);
    let is_full = neon.no_compute_to_spare;
    let branch = neon.at_host(&at.host);
    let branch = branch.filter(|branch| branch.is_up(&at.host, now));
    let branch = branch.ok_or_else(|| {
        let message = format!("no endpoint answers at {}", at.host);
        Error::new(Class::Transient, message)
    })?;
    if is_full {
        let message = "You have exceeded the limit of concurrently active endpoints.";
        return Err(Error::new(Class::Limit, message));
    }
    branch
        .server
        .admits(&at.user, at.password.expose_secret(), &at.database)?;
    Ok(&mut branch.server)
}
