//! A child branch's own credentials: shutting out the logins that came with the parent's data.
//!
//! Run as the management owner, whose own password was reset through the API before, and before
//! anything of the child is published.

use sqlx::{AssertSqlSafe, Executor, PgConnection};

use super::{Class, Error, ddl, roles::IS_API_ROLE};

/// How long a terminated session may take to end.
pub(super) const TERMINATION_MILLISECONDS: i64 = 5_000;

/// Takes login and password away from every role that came with the parent, and ends its sessions.
///
/// Spared are superusers, roles of Neon's API (to be reset through it), the current user, and
/// logins that carry `mark`. Returns the names that could not be changed because another role made
/// them (42501): whoever did has to do this too.
///
/// # Errors
/// `Transient` if sessions of such roles did not end in time; do it again.
pub async fn retire_inherited_logins(
    connection: &mut PgConnection,
    mark: &str,
) -> Result<Vec<String>, Error> {
    let query = format!(
        "SELECT r.rolname::text FROM pg_catalog.pg_roles r
         WHERE r.rolcanlogin AND {} ORDER BY r.rolname",
        inherited()
    );
    let names: Vec<String> = sqlx::query_scalar(AssertSqlSafe(query))
        .bind(mark)
        .fetch_all(&mut *connection)
        .await?;
    let mut unchanged = Vec::new();
    for name in names {
        match retire(connection, &name).await {
            Ok(()) => {}
            Err(error) if error.class == Class::Denied => unchanged.push(name),
            Err(error) => return Err(error),
        }
    }
    end_sessions(connection, mark).await?;
    Ok(unchanged)
}

/// Which rows `r` of `pg_roles` are inherited; `$1` is our mark.
fn inherited() -> String {
    format!(
        "NOT r.rolsuper AND NOT {IS_API_ROLE}
         AND r.rolname NOT IN (current_user, session_user)
         AND pg_catalog.shobj_description(r.oid, 'pg_authid') IS DISTINCT FROM $1"
    )
}

/// The password becomes one that nobody knows instead of none: Neon's control plane is not told of
/// a removed password, and the next start of the compute would give the role the old one and LOGIN
/// back. One transaction per role, because there the control plane refuses at COMMIT.
pub(super) async fn retire(connection: &mut PgConnection, name: &str) -> Result<(), Error> {
    let mut transaction = ddl::begin(connection).await?;
    let result = lock_out(&mut transaction, name).await;
    ddl::end(transaction, result).await
}

async fn lock_out(connection: &mut PgConnection, name: &str) -> Result<(), Error> {
    ddl::set_local(connection, &[("sepulki.login", name)]).await?;
    connection
        .execute(
            "DO $do$ BEGIN
                EXECUTE format('ALTER ROLE %I NOLOGIN PASSWORD %L', current_setting('sepulki.login'),
                    gen_random_uuid()::text || gen_random_uuid()::text);
             END $do$",
        )
        .await?;
    Ok(())
}

/// Also of roles that were retired by an earlier run which ended before it came here.
async fn end_sessions(connection: &mut PgConnection, mark: &str) -> Result<(), Error> {
    let query = format!(
        // Materialized: the sessions of others, which may not be ended, must be sorted out first.
        "WITH s AS MATERIALIZED (
            SELECT a.pid FROM pg_catalog.pg_stat_activity a
            JOIN pg_catalog.pg_roles r ON r.oid = a.usesysid
            WHERE a.pid <> pg_catalog.pg_backend_pid() AND {})
         SELECT pg_catalog.count(*) FROM s WHERE NOT pg_catalog.pg_terminate_backend(s.pid, $2)",
        inherited()
    );
    let left: i64 = sqlx::query_scalar(AssertSqlSafe(query))
        .bind(mark)
        .bind(TERMINATION_MILLISECONDS)
        .fetch_one(connection)
        .await?;
    if left > 0 {
        return Err(Error::new(
            Class::Transient,
            format!("{left} sessions of logins inherited from the parent have not ended yet"),
        ));
    }
    Ok(())
}
