//! Whether a password opens a database, tried for real.
//!
//! Used before a connection Secret is published, and to show that a parent's credentials do not
//! open its child.

use sqlx::Connection;

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
    let (login, role) = sqlx::query_as("SELECT session_user::text, current_user::text")
        .fetch_one(&mut connection)
        .await?;
    connection.close().await?;
    Ok(Some(Proof { login, role }))
}
