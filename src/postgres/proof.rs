//! Whether a password opens a database, tried for real.
//!
//! Used before a connection Secret is published, and to show that a parent's credentials do not
//! open its child.

use sqlx::{Connection, Row};

use super::{Error, Options, Target, connect};

/// Who one is after logging in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// The role that logged in (`session_user`).
    pub login: String,
    /// The role that statements run as (`current_user`): the group, for a login of ours.
    pub role: String,
}

/// Logs in, asks who that is, and leaves.
///
/// `None` if the server refuses role or password (28P01, 28000).
///
/// # Errors
/// Anything else proves nothing and is an error: a server that does not answer, but also a role that is let in and may not
/// connect to this database.
pub async fn accepts(target: &Target) -> Result<Option<Proof>, Error> {
    let mut connection = match connect(target, "sepulki proof", &Options::default()).await {
        Ok(connection) => connection,
        Err(error) if matches!(error.sqlstate(), Some("28P01" | "28000")) => return Ok(None),
        Err(error) => return Err(error),
    };
    // not prepared: a pooler may give the statement to one server and its execution to another
    let row = sqlx::raw_sql("SELECT session_user::text, current_user::text")
        .fetch_one(&mut connection)
        .await?;
    let proof = Proof {
        login: row.try_get(0)?,
        role: row.try_get(1)?,
    };
    connection.close().await?;
    Ok(Some(proof))
}
