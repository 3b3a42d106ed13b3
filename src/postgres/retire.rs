//! Logins of ours that nobody should use any more. Runs as the management owner.

use sqlx::PgConnection;

use super::{
    Class, Error, isolation,
    roles::{self, RoleFact, generation},
};

/// Closes every login that carries `mark` and belongs to none of these groups: no new session, and the open ones end.
///
/// # Errors
/// `Transient` if sessions did not end in time; do it again.
pub async fn close_leftovers(
    connection: &mut PgConnection,
    mark: &str,
    groups: &[String],
) -> Result<(), Error> {
    let facts = roles::list(connection).await?;
    for login in leftovers(&facts, mark, groups) {
        isolation::retire(connection, &login).await?;
        end_sessions(connection, &login).await?;
    }
    Ok(())
}

/// Which logins carry `mark` and belong to none of these groups. Those that are closed already are among them, because a
/// run before may have ended between closing one and ending its sessions. Pure.
#[must_use]
pub fn leftovers(facts: &[RoleFact], mark: &str, groups: &[String]) -> Vec<String> {
    let wanted = |fact: &RoleFact| {
        let mut groups = groups.iter();
        groups.any(|group| generation(group, &fact.name).is_some())
    };
    facts
        .iter()
        .filter(|fact| fact.mark.as_deref() == Some(mark) && !wanted(fact))
        .map(|fact| fact.name.clone())
        .collect()
}

/// Ends the sessions that were opened with this login.
async fn end_sessions(connection: &mut PgConnection, login: &str) -> Result<(), Error> {
    let left: i64 = sqlx::query_scalar(
        // materialized: the sessions of others, which may not be ended, must be sorted out first
        "WITH s AS MATERIALIZED (
            SELECT a.pid FROM pg_catalog.pg_stat_activity a
            JOIN pg_catalog.pg_roles r ON r.oid = a.usesysid AND r.rolname = $1)
         SELECT pg_catalog.count(*) FROM s WHERE NOT pg_catalog.pg_terminate_backend(s.pid, $2)",
    )
    .bind(login)
    .bind(isolation::TERMINATION_MILLISECONDS)
    .fetch_one(connection)
    .await?;
    if left == 0 {
        return Ok(());
    }
    Err(Error::new(
        Class::Transient,
        format!("{left} sessions of {login} have not ended yet"),
    ))
}
