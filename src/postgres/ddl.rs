//! What our own role and grant statements have in common: quoting, and the transaction they run in.
//!
//! Used by the modules beside it and by nobody else.

use sqlx::{Connection, Executor, PgConnection, Postgres, Transaction};

use super::Error;

/// Nothing here waits long for a lock, and no function of another schema can take the place of a
/// built-in one: the database may belong to people who are not trusted with the owner's rights.
const SETTINGS: &str = "SET LOCAL search_path = pg_catalog, pg_temp; \
                        SET LOCAL lock_timeout = '5s'; \
                        SET LOCAL statement_timeout = '60s'";

/// Begins the transaction that our statements run in.
pub(super) async fn begin(
    connection: &mut PgConnection,
) -> Result<Transaction<'_, Postgres>, Error> {
    let mut transaction = connection.begin().await?;
    transaction.execute(SETTINGS).await?;
    Ok(transaction)
}

/// Ends the transaction: commits what went well, takes back what did not.
///
/// Dropping it would leave it open, with its locks, until the connection is used again.
pub(super) async fn end<T>(
    transaction: Transaction<'_, Postgres>,
    result: Result<T, Error>,
) -> Result<T, Error> {
    match result {
        Ok(value) => {
            transaction.commit().await?;
            Ok(value)
        }
        Err(error) => {
            // The first error is the one that says what happened; a connection that cannot even
            // roll back is at its end, and so is its transaction.
            let _ = transaction.rollback().await;
            Err(error)
        }
    }
}

/// Sets values that a `DO` block reads with `current_setting`; they end with the transaction.
///
/// Not for passwords: bound values are in the server's log where `log_statement` asks for it.
pub(super) async fn set_local(
    connection: &mut PgConnection,
    values: &[(&str, &str)],
) -> Result<(), Error> {
    for (name, value) in values {
        sqlx::query("SELECT set_config($1, $2, true)")
            .bind(*name)
            .bind(*value)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

/// A name as it is written in SQL, for any name that PostgreSQL can hold.
pub(super) fn quote_identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
