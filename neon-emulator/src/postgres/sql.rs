//! The SQL of the control plane: roles as Neon makes them, databases, and what it asks a server
//! about itself. Run as the superuser over the private socket.
//!
//! Passwords travel as SCRAM verifiers only, so that no log of the server can hold one.

use jiff::Timestamp;
use sqlx::{AssertSqlSafe, PgConnection, Row};

use super::server::{SUPERUSER, Socket};
use crate::{scram::Verifier, secret::Secret};

/// What Neon gives every role made through its API. The attributes are not inherited through
/// membership in `neon_superuser`, hence given to each.
const API_ROLE: &str = "INHERIT CREATEROLE CREATEDB BYPASSRLS REPLICATION";

/// Roles that exist in every branch and are nobody's business.
const HIDDEN_ROLES: &str =
    "rolname NOT LIKE 'pg\\_%' AND rolname NOT IN ('cloud_admin', 'neon_superuser')";

/// What a server tells about its client sessions.
pub(crate) struct Activity {
    /// Sessions that do something, or hold a transaction open.
    pub(crate) busy: i64,
    /// The last time an idle session did something.
    pub(crate) last_change: Option<Timestamp>,
}

/// A role as the server has it.
pub(crate) struct RoleRow {
    pub(crate) name: String,
    pub(crate) can_login: bool,
}

/// A database as the server has it.
pub(crate) struct DatabaseRow {
    pub(crate) name: String,
    pub(crate) owner: String,
}

/// Makes Neon's group role in a fresh cluster.
pub(crate) async fn prepare_cluster(session: &mut PgConnection) -> sqlx::Result<()> {
    execute(
        session,
        "CREATE ROLE neon_superuser CREATEDB CREATEROLE NOLOGIN REPLICATION BYPASSRLS \
         IN ROLE pg_read_all_data, pg_write_all_data"
            .into(),
    )
    .await?;
    execute(
        session,
        "GRANT pg_monitor, pg_signal_backend TO neon_superuser WITH ADMIN OPTION".into(),
    )
    .await
}

/// Creates an API role or gives it a new password. Without a password it cannot log in.
pub(crate) async fn put_role(
    session: &mut PgConnection,
    name: &str,
    password: Option<&Secret>,
) -> sqlx::Result<()> {
    let exists = sqlx::query("SELECT FROM pg_roles WHERE rolname = $1")
        .bind(name)
        .fetch_optional(&mut *session)
        .await?
        .is_some();
    let role = identifier(name);
    let login = match password {
        Some(password) => {
            let verifier = Verifier::of_password(password.expose()).to_sql_text();
            format!("LOGIN PASSWORD {}", literal(&verifier))
        }
        None => "NOLOGIN".to_owned(),
    };
    let statement = if exists {
        format!("ALTER ROLE {role} {login}")
    } else {
        format!("CREATE ROLE {role} {API_ROLE} IN ROLE neon_superuser {login}")
    };
    execute(session, statement).await
}

/// Drops a role. What it owns in a database goes to the database's owner, its grants go away.
pub(crate) async fn drop_role(
    socket: &Socket,
    session: &mut PgConnection,
    name: &str,
) -> sqlx::Result<()> {
    let exists = sqlx::query("SELECT FROM pg_roles WHERE rolname = $1").bind(name);
    if exists.fetch_optional(&mut *session).await?.is_none() {
        return Ok(());
    }
    let role = identifier(name);
    for database in databases(session).await? {
        let mut inside = socket.connect(&database.name).await?;
        let heir = identifier(&database.owner);
        execute(&mut inside, format!("REASSIGN OWNED BY {role} TO {heir}")).await?;
        execute(&mut inside, format!("DROP OWNED BY {role}")).await?;
    }
    execute(session, format!("DROP ROLE {role}")).await
}

/// Creates a database or gives it an owner.
pub(crate) async fn put_database(
    session: &mut PgConnection,
    name: &str,
    owner: &str,
) -> sqlx::Result<()> {
    let exists = sqlx::query("SELECT FROM pg_database WHERE datname = $1").bind(name);
    let verb = match exists.fetch_optional(&mut *session).await? {
        Some(_) => "ALTER DATABASE",
        None => "CREATE DATABASE",
    };
    let (database, owner) = (identifier(name), identifier(owner));
    let clause = if verb == "ALTER DATABASE" {
        "OWNER TO"
    } else {
        "OWNER"
    };
    execute(session, format!("{verb} {database} {clause} {owner}")).await?;
    execute(
        session,
        format!("GRANT ALL ON DATABASE {database} TO neon_superuser"),
    )
    .await
}

/// Renames a database after ending its sessions.
pub(crate) async fn rename_database(
    session: &mut PgConnection,
    from: &str,
    to: &str,
) -> sqlx::Result<()> {
    let exists = sqlx::query("SELECT FROM pg_database WHERE datname = $1").bind(from);
    if exists.fetch_optional(&mut *session).await?.is_none() {
        return Ok(());
    }
    sqlx::query("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = $1")
        .bind(from)
        .execute(&mut *session)
        .await?;
    execute(
        session,
        format!(
            "ALTER DATABASE {} RENAME TO {}",
            identifier(from),
            identifier(to)
        ),
    )
    .await
}

/// Drops a database with its sessions.
pub(crate) async fn drop_database(session: &mut PgConnection, name: &str) -> sqlx::Result<()> {
    execute(
        session,
        format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", identifier(name)),
    )
    .await
}

/// The users' roles, by name.
pub(crate) async fn roles(session: &mut PgConnection) -> sqlx::Result<Vec<RoleRow>> {
    let query =
        format!("SELECT rolname::text, rolcanlogin FROM pg_roles WHERE {HIDDEN_ROLES} ORDER BY 1");
    let rows = sqlx::query(AssertSqlSafe(query)).fetch_all(session).await?;
    rows.iter()
        .map(|row| {
            Ok(RoleRow {
                name: row.try_get(0)?,
                can_login: row.try_get(1)?,
            })
        })
        .collect()
}

/// The users' databases, by name.
pub(crate) async fn databases(session: &mut PgConnection) -> sqlx::Result<Vec<DatabaseRow>> {
    let rows = sqlx::query(
        "SELECT datname::text, pg_get_userbyid(datdba)::text FROM pg_database \
         WHERE datallowconn AND datname NOT IN ('postgres', 'template1') ORDER BY 1",
    )
    .fetch_all(session)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(DatabaseRow {
                name: row.try_get(0)?,
                owner: row.try_get(1)?,
            })
        })
        .collect()
}

/// The verifier of a user who may log in now.
pub(crate) async fn verifier(
    session: &mut PgConnection,
    user: &str,
) -> sqlx::Result<Option<Verifier>> {
    let row = sqlx::query(
        "SELECT rolpassword FROM pg_authid WHERE rolname = $1 AND rolcanlogin \
         AND (rolvaliduntil IS NULL OR rolvaliduntil > now())",
    )
    .bind(user)
    .fetch_optional(session)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let text: Option<String> = row.try_get(0)?;
    Ok(text.as_deref().and_then(Verifier::parse))
}

/// What client sessions do. An open idle session does not keep a compute awake; one inside a
/// transaction does. The control plane's own do not count.
pub(crate) async fn activity(session: &mut PgConnection) -> sqlx::Result<Activity> {
    let row = sqlx::query(
        "SELECT count(*) FILTER (WHERE state IS DISTINCT FROM 'idle'), \
                (extract(epoch FROM max(state_change)) * 1000)::bigint \
         FROM pg_stat_activity WHERE backend_type = 'client backend' AND usename IS DISTINCT FROM $1",
    )
    .bind(SUPERUSER)
    .fetch_one(session)
    .await?;
    let millis: Option<i64> = row.try_get(1)?;
    Ok(Activity {
        busy: row.try_get(0)?,
        last_change: millis.and_then(|millis| Timestamp::from_millisecond(millis).ok()),
    })
}

/// Ends the sessions of all clients.
pub(crate) async fn end_sessions(session: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
         WHERE backend_type = 'client backend' AND usename IS DISTINCT FROM $1",
    )
    .bind(SUPERUSER)
    .execute(session)
    .await?;
    Ok(())
}

/// Starts a backup.
pub(crate) async fn start_backup(session: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query("SELECT pg_backup_start('branch', true)")
        .execute(session)
        .await?;
    Ok(())
}

/// Ends a backup and returns the contents of the copy's `backup_label`.
pub(crate) async fn stop_backup(session: &mut PgConnection) -> sqlx::Result<String> {
    let row = sqlx::query("SELECT labelfile FROM pg_backup_stop(false)")
        .fetch_one(session)
        .await?;
    row.try_get(0)
}

async fn execute(session: &mut PgConnection, statement: String) -> sqlx::Result<()> {
    sqlx::raw_sql(AssertSqlSafe(statement))
        .execute(session)
        .await?;
    Ok(())
}

/// Quotes a name for SQL.
fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Quotes a value for SQL (no backslashes occur in what is quoted here).
fn literal(value: &str) -> String {
    format!("'{}'", value.replace('\'', "''"))
}
