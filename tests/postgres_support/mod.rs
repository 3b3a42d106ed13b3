//! A branch as Neon gives it: its roles on a throw-away server (`neon_superuser`, a management
//! owner with a database), and sessions of whoever is asked for.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::panic,
    reason = "test helpers, of which each binary uses some"
)]

use secrecy::SecretString;
use sepulki::postgres::{
    Error, Options, Target, Tls, connect,
    grants::{self, Access, Grant, GrantOutcome},
    roles::{self, Login, Shape},
};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use testkit::postgres::Postgres;
use tokio::sync::OnceCell;
use uuid::Uuid;

/// The mark that logins of these tests carry.
pub(crate) const MARK: &str = "sepulki: default/tests/branch";

/// A management owner and its database, on a server that other tests may use too.
pub(crate) struct Branch {
    pub(crate) server: &'static Postgres,
    pub(crate) owner: String,
    pub(crate) password: String,
    pub(crate) database: String,
}

impl Branch {
    /// On the server that the tests of this binary share, under names of its own.
    pub(crate) async fn shared() -> Self {
        static ROLES: OnceCell<()> = OnceCell::const_new();
        let server = Postgres::shared().await.unwrap();
        ROLES.get_or_init(|| neon_superuser(server)).await;
        Self::on(server).await
    }

    /// On a server of its own, for what concerns all roles; it lives as long as the process.
    pub(crate) async fn alone() -> Self {
        Self::alone_on(Postgres::start().await.unwrap()).await
    }

    /// The same on the newest version of PostgreSQL.
    pub(crate) async fn newest() -> Self {
        Self::alone_on(Postgres::start_newest().await.unwrap()).await
    }

    async fn alone_on(server: Postgres) -> Self {
        let server = Box::leak(Box::new(server));
        neon_superuser(server).await;
        Self::on(server).await
    }

    async fn on(server: &'static Postgres) -> Self {
        let database = unique("db");
        let owner = format!("{database}_owner");
        let password = unique("pw");
        let branch = Self {
            server,
            owner,
            password,
            database,
        };
        branch.api_role(&branch.owner, &branch.password).await;
        branch.make_database(&branch.database).await;
        branch
    }

    /// A role as Neon's API makes it.
    pub(crate) async fn api_role(&self, name: &str, password: &str) {
        self.as_superuser(&format!(
            "CREATE ROLE {name} LOGIN INHERIT CREATEROLE CREATEDB BYPASSRLS REPLICATION \
             IN ROLE neon_superuser PASSWORD '{password}'"
        ))
        .await;
    }

    /// One more database of the owner, as Neon's API makes it.
    pub(crate) async fn make_database(&self, name: &str) {
        self.as_superuser(&format!("CREATE DATABASE {name} OWNER {}", self.owner))
            .await;
        self.as_superuser(&format!("GRANT ALL ON DATABASE {name} TO neon_superuser"))
            .await;
    }

    pub(crate) async fn as_superuser(&self, sql: &str) {
        let mut connection = self.superuser().await;
        connection
            .execute(AssertSqlSafe(sql.to_owned()))
            .await
            .unwrap();
        connection.close().await.unwrap();
    }

    pub(crate) async fn superuser(&self) -> PgConnection {
        let options = self.server.superuser_options(&self.database);
        match PgConnection::connect_with(&options).await {
            Ok(connection) => connection,
            Err(_) => PgConnection::connect_with(&self.server.superuser_options("postgres"))
                .await
                .unwrap(),
        }
    }

    pub(crate) fn target(&self, user: &str, password: &str, database: &str) -> Target {
        Target {
            host: self.server.host.clone(),
            port: self.server.port,
            user: user.to_owned(),
            password: password.into(),
            database: database.to_owned(),
            tls: Tls::Ca(self.server.ca_pem.clone()),
        }
    }

    pub(crate) async fn session(&self, user: &str, password: &str) -> PgConnection {
        self.session_in(user, password, &self.database)
            .await
            .unwrap()
    }

    pub(crate) async fn session_in(
        &self,
        user: &str,
        password: &str,
        database: &str,
    ) -> Result<PgConnection, Error> {
        let target = self.target(user, password, database);
        connect(&target, "test", &Options::default()).await
    }

    /// A session of the management owner in the first database.
    pub(crate) async fn owner(&self) -> PgConnection {
        self.session(&self.owner, &self.password).await
    }

    /// Makes group and login, grants, and logs in with it.
    pub(crate) async fn application(&self, group: &str, access: Access) -> PgConnection {
        let mut owner = self.owner().await;
        let login = self.login(group).await;
        grants::close_to_public(&mut owner).await.unwrap();
        let outcome = grants::apply(&mut owner, &grant(group, access)).await;
        assert_eq!(outcome, Ok(nothing_left()));
        self.session(&login, &self.password).await
    }

    /// Makes group and login and answers the login's name; its password is the owner's.
    pub(crate) async fn login(&self, group: &str) -> String {
        let mut owner = self.owner().await;
        let facts = roles::list(&mut owner).await.unwrap();
        let login = roles::next_login(&facts, group, MARK).login;
        roles::ensure_login(&mut owner, &wanted(group, &login, &self.password))
            .await
            .unwrap();
        owner.close().await.unwrap();
        login
    }
}

pub(crate) fn wanted(group: &str, login: &str, password: &str) -> Login {
    Login {
        group: group.to_owned(),
        login: login.to_owned(),
        mark: MARK.to_owned(),
        shape: Shape::default(),
        password: SecretString::from(password),
    }
}

pub(crate) fn grant(group: &str, access: Access) -> Grant {
    Grant {
        group: group.to_owned(),
        access,
        schemas: vec!["public".to_owned()],
    }
}

/// Granting went as the spec says.
pub(crate) fn nothing_left() -> GrantOutcome {
    GrantOutcome::Done {
        not_granted: Vec::new(),
        not_revoked: Vec::new(),
        missing_schemas: Vec::new(),
    }
}

/// A name that no other test uses.
pub(crate) fn unique(prefix: &str) -> String {
    let random: String = Uuid::new_v4().simple().to_string();
    format!("{prefix}_{}", random.get(..12).unwrap())
}

/// The SQLSTATE that a statement fails with; empty when it works.
pub(crate) async fn sqlstate(connection: &mut PgConnection, sql: &str) -> String {
    match connection.execute(AssertSqlSafe(sql.to_owned())).await {
        Ok(_) => String::new(),
        Err(error) => Error::from(error).sqlstate().unwrap_or("none").to_owned(),
    }
}

pub(crate) async fn works(connection: &mut PgConnection, statements: &[&str]) {
    for sql in statements {
        assert_eq!(sqlstate(connection, sql).await, "", "{sql}");
    }
}

/// Every statement is refused for lack of rights.
pub(crate) async fn refused(connection: &mut PgConnection, statements: &[&str]) {
    for sql in statements {
        assert_eq!(sqlstate(connection, sql).await, "42501", "{sql}");
    }
}

async fn neon_superuser(server: &Postgres) {
    let options = server.superuser_options("postgres");
    let mut connection = PgConnection::connect_with(&options).await.unwrap();
    connection
        .execute(
            "CREATE ROLE neon_superuser CREATEDB CREATEROLE NOLOGIN REPLICATION BYPASSRLS
                 IN ROLE pg_read_all_data, pg_write_all_data;
             GRANT pg_monitor, pg_signal_backend TO neon_superuser WITH ADMIN OPTION",
        )
        .await
        .unwrap();
    connection.close().await.unwrap();
}
