//! The port to what is inside of a branch: roles, grants, extensions, and whether credentials work.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use secrecy::SecretString;

use crate::api::Access;
use crate::postgres::retire::Kept;
use crate::postgres::roles::Shape;
use crate::postgres::{Error, Target, extensions};

/// Result of one call.
type Result<T> = std::result::Result<T, Error>;

/// Changes inside of databases. Each call opens its own session, is idempotent, and leaves all or nothing behind.
#[async_trait]
pub trait Contents: Send + Sync {
    /// The role that manages these groups and the logins that bear `mark`, as far as it has to be a certain one: whoever
    /// made them. As any owner, who it is otherwise.
    async fn manager(&self, at: &Target, groups: &[String], mark: &str) -> Result<String>;
    /// Closes every login that is not Neon's own and does not bear `mark`. Answers which of them are left because others
    /// made them. As the management owner.
    async fn retire_logins(&self, at: &Target, mark: &str) -> Result<LoginsLeft>;
    /// Makes the groups of application roles, gives their logins the shape asked for, and closes logins of ours that
    /// belong to none that has a Secret. As the management owner.
    async fn prepare_roles(&self, at: &Target, wanted: &PrepareRoles) -> Result<()>;
    /// Closes logins of ours that nobody uses. As the management owner.
    async fn close_leftovers(&self, at: &Target, wanted: &PrepareRoles) -> Result<()>;
    /// Brings about extensions and grants of one database. As its owner.
    async fn prepare_database(
        &self,
        at: &Target,
        wanted: &PrepareDatabase,
    ) -> Result<DatabaseReport>;
    /// The login that the group should use on a branch with this mark, whether or not it exists: the recorded one where
    /// that can be. As the management owner.
    async fn choose_login(
        &self,
        at: &Target,
        group: &str,
        mark: &str,
        recorded: Option<&str>,
    ) -> Result<String>;
    /// A login of the group that does not exist yet. As the management owner.
    async fn next_login(&self, at: &Target, group: &str) -> Result<String>;
    /// Ends the sessions of a login of ours and drops it. Fine where it is gone or somebody else's. As the management
    /// owner.
    async fn drop_login(&self, at: &Target, group: &str, login: &str, mark: &str) -> Result<()>;
    /// Makes the login work with this password. As the management owner.
    async fn set_login(&self, at: &Target, login: &NewLogin) -> Result<()>;
    /// Those of these settings that the server would not start with, and why, as far as it can tell. Changes nothing. As any
    /// owner.
    async fn refused_settings(
        &self,
        at: &Target,
        settings: &BTreeMap<String, String>,
    ) -> Result<BTreeMap<String, String>>;
    /// Whether these credentials open the database.
    async fn accepts(&self, at: &Target) -> Result<bool>;
}

/// Logins that cannot be closed by who has tried.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoginsLeft {
    /// Their names.
    pub names: Vec<String>,
    /// Roles of Neon's that can close some of them.
    pub administrators: BTreeSet<String>,
}

/// Which application roles there should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrepareRoles {
    /// The comment by which we know our logins.
    pub mark: String,
    /// All of them.
    pub roles: Vec<PrepareRole>,
}

/// One application role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrepareRole {
    /// The group.
    pub group: String,
    /// What the sessions of its logins are like.
    pub shape: Shape,
    /// The logins that it uses, where it has a Secret and so uses any.
    pub logins: Option<Vec<String>>,
}

impl PrepareRoles {
    /// The groups that have logins.
    #[must_use]
    pub fn kept(&self) -> Vec<Kept> {
        let kept = |role: &PrepareRole| {
            Some(Kept {
                group: role.group.clone(),
                logins: role.logins.clone()?,
            })
        };
        self.roles.iter().filter_map(kept).collect()
    }
}

/// What one database should hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrepareDatabase {
    /// Extensions to be installed.
    pub extensions: Vec<extensions::Wanted>,
    /// Whether to take from PUBLIC the right to enter, which PostgreSQL gives it.
    pub close_to_public: bool,
    /// Groups that may enter, and what they may do.
    pub grants: Vec<GroupRights>,
    /// Groups that may not enter.
    pub refused: Vec<String>,
}

/// What a group may do in a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupRights {
    /// The group.
    pub group: String,
    /// What it may do.
    pub access: Access,
    /// In which schemas.
    pub schemas: Vec<String>,
}

/// What one database holds now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DatabaseReport {
    /// The extensions that were asked for, as they are.
    pub extensions: Vec<extensions::Installed>,
    /// What could not be granted, because the object belongs to somebody else: group, and rights with object.
    pub not_granted: Vec<(String, String)>,
    /// Schemas that do not exist: group and schema.
    pub missing_schemas: Vec<(String, String)>,
}

/// A login to be made.
#[derive(Clone, Debug)]
pub struct NewLogin {
    /// The group it belongs to, whose name `current_user` says.
    pub group: String,
    /// Its name.
    pub login: String,
    /// The comment by which we know it.
    pub mark: String,
    /// What its sessions are like.
    pub shape: Shape,
    /// Its password.
    pub password: SecretString,
}
