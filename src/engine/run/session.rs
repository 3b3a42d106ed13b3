//! Sessions that are fit for migrations: direct, writable, with settings of their own.

use std::time::Duration;

use rand::RngExt;
use sqlx::{
    AssertSqlSafe, Connection, Row,
    postgres::{PgConnection, PgRow},
};
use tokio::time::timeout;

use super::{RunError, RunRequest, Timeouts};
use crate::postgres::{Class, Error, Options, Target, connect};

/// How the text begins where the connection is a pooler's.
pub const POOLED: &str = "migrations need a direct connection, not a pooled one";
/// The text where the server is a standby.
pub const STANDBY: &str = "this is a read-only standby: migrations need the read-write endpoint";
/// The text where the server takes changes, but not from this role or in this database.
pub const READ_ONLY: &str = "transactions of this role or database are read-only by default";
/// Longest wait for a statement of the bookkeeping, none of which can take long.
const SHORT: Duration = Duration::from_secs(15);

/// An open session.
pub(super) struct Session {
    pub(super) connection: PgConnection,
    /// Process id of its backend.
    pub(super) pid: i32,
    /// `server_version_num`.
    pub(super) version: u32,
    /// The first transaction that began after it, as `xid8`.
    pub(super) since: String,
    /// When its server was started.
    pub(super) server: String,
}

/// The setting by which a session is known again.
const NONCE: &str = "sepulki.session";
/// What poolers answer to settings that they do not take.
const PROTOCOL_VIOLATION: &str = "08P01";

type Settings = Vec<(String, String)>;

/// Settings given at startup take precedence over those of role and database, and RESET ALL
/// returns to them.
pub(super) fn control_settings() -> Settings {
    [
        ("statement_timeout", "0"),
        ("lock_timeout", "2s"),
        ("idle_session_timeout", "0"),
        ("idle_in_transaction_session_timeout", "60s"),
        // the server notices a dead client within seconds, also in the middle of a statement
        ("client_connection_check_interval", "2s"),
        ("tcp_keepalives_idle", "30"),
        ("tcp_keepalives_interval", "10"),
        ("tcp_keepalives_count", "3"),
        ("standard_conforming_strings", "on"),
        ("default_transaction_isolation", "read committed"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec()
}

/// The same with the caller's limits of locks and statements.
pub(super) fn limited_settings(timeouts: &Timeouts) -> Settings {
    let mut settings = control_settings();
    let mut set = |name: &str, limit: Duration| {
        settings.push((name.to_owned(), format!("{}ms", limit.as_millis())));
    };
    set("lock_timeout", timeouts.lock);
    if let Some(statement) = timeouts.statement {
        set("statement_timeout", statement);
    }
    settings
}

/// The same in the caller's role. A session that runs files may only be ended by the run itself,
/// so limits that a role or database may carry are lifted.
pub(super) fn worker_settings(request: &RunRequest, server_version: u32) -> Settings {
    let mut settings = limited_settings(&request.timeouts);
    if let Some(role) = &request.execution.role {
        settings.push(("role".to_owned(), role.clone()));
    }
    if server_version >= 170_000 {
        settings.push(("transaction_timeout".to_owned(), "0".to_owned()));
    }
    settings
}

/// The name under which the sessions of a run show themselves to others, in `pg_stat_activity` and in the server's log.
#[must_use]
pub fn shown_as(holder: &str) -> String {
    format!("sepulki/{holder}")
}

/// Connects and makes sure that the server at the other end is what migrations need.
pub(super) async fn open(
    target: &Target,
    holder: &str,
    mut settings: Settings,
    patience: Duration,
) -> Result<Session, RunError> {
    if is_pooler(&target.host) {
        return Err(pooler("the host is that of a pooler"));
    }
    let nonce = format!("{:016x}", rand::rng().random::<u64>());
    settings.push((NONCE.to_owned(), nonce.clone()));
    let options = Options { settings, patience };
    let mut connection = connect(target, &shown_as(holder), &options)
        .await
        .map_err(|error| match error.sqlstate() {
            Some(PROTOCOL_VIOLATION) => pooler(&error.to_string()),
            _ if is_about_role(&error, &options.settings) => of_role(error),
            _ => RunError::from(error),
        })?;
    let facts = "SELECT coalesce(current_setting('sepulki.session', true), ''), \
         pg_catalog.pg_is_in_recovery(), current_setting('transaction_read_only') = 'on', \
         current_setting('server_version_num')::int4, pg_catalog.pg_backend_pid(), \
         pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())::text, \
         pg_catalog.pg_postmaster_start_time()::text";
    let rows = rows(&mut connection, facts.to_owned()).await?;
    let row = rows
        .first()
        .ok_or_else(|| RunError::Transient("the server gave no answer".to_owned()))?;
    if get::<String>(row, 0)? != nonce {
        return Err(pooler("settings of the session do not arrive"));
    }
    if get::<bool>(row, 1)? {
        return Err(RunError::Unsupported(STANDBY.to_owned()));
    }
    if get::<bool>(row, 2)? {
        return Err(RunError::Unsupported(READ_ONLY.to_owned()));
    }
    Ok(Session {
        version: get::<i32>(row, 3)?.unsigned_abs(),
        pid: get(row, 4)?,
        since: get(row, 5)?,
        server: get(row, 6)?,
        connection,
    })
}

/// Whether the server refuses the role that files run as: there is none, or the one that logs in is no member.
fn is_about_role(error: &Error, settings: &Settings) -> bool {
    let role = settings.iter().find(|(name, _)| name == "role");
    let quoted = role.map(|(_, role)| format!("\"{role}\""));
    let said = error.server.as_ref().map(|server| &server.message);
    said.zip(quoted)
        .is_some_and(|(said, role)| said.contains(&role))
}

fn of_role(error: Error) -> RunError {
    let mut error = RunError::from(error);
    if let RunError::Unsupported(text) | RunError::Denied(text) = &mut error {
        *text = format!("execution.role (--role): {text}");
    }
    error
}

/// Whether a session of this target is one of the server, and not a pooler's, whatever the host is called: a pooler refuses
/// settings that a session begins with, or keeps them to itself.
///
/// # Errors
/// Whatever else keeps a session from being opened.
pub async fn is_direct(target: &Target, patience: Duration) -> Result<bool, Error> {
    let nonce = format!("{:016x}", rand::rng().random::<u64>());
    let options = Options {
        settings: vec![(NONCE.to_owned(), nonce.clone())],
        patience,
    };
    let mut connection = match connect(target, &shown_as("validate"), &options).await {
        Ok(connection) => connection,
        Err(error) if error.sqlstate() == Some(PROTOCOL_VIOLATION) => return Ok(false),
        Err(error) => return Err(error),
    };
    let sql = format!("SELECT coalesce(current_setting('{NONCE}', true), '')");
    let rows = rows(&mut connection, sql).await?;
    let seen = rows.first().map(|row| get::<String>(row, 0)).transpose()?;
    close(connection).await;
    Ok(seen == Some(nonce))
}

/// Whether a host is one of Neon's pooled ones, which carry `-pooler` in the first label.
#[must_use]
pub fn is_pooler(host: &str) -> bool {
    host.split('.')
        .next()
        .is_some_and(|label| label.ends_with("-pooler"))
}

fn pooler(why: &str) -> RunError {
    RunError::Unsupported(format!(
        "{POOLED}, where the locks of a session get lost: {why}"
    ))
}

/// Sends one message of the bookkeeping and collects the rows.
pub(super) async fn rows(connection: &mut PgConnection, sql: String) -> Result<Vec<PgRow>, Error> {
    let query = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_all(connection);
    match timeout(SHORT, query).await {
        Ok(result) => result.map_err(Error::from),
        Err(_) => Err(Error::new(
            Class::Transient,
            "the server did not answer in time",
        )),
    }
}

/// A column of a row.
pub(super) fn get<'r, T>(row: &'r PgRow, index: usize) -> Result<T, Error>
where
    T: sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
{
    row.try_get(index).map_err(Error::from)
}

/// Says goodbye; a server that does not listen any more is no trouble.
pub(super) async fn close(connection: PgConnection) {
    if let Ok(Err(error)) = timeout(Duration::from_secs(2), connection.close()).await {
        tracing::debug!(%error, "closing a session failed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pooled_hosts_are_known_by_name() {
        assert!(is_pooler("ep-cool-x-123-pooler.eu-central-1.aws.neon.tech"));
        assert!(is_pooler("ep-x-pooler.local.localhost"));
        assert!(!is_pooler("ep-x.local.localhost"));
        assert!(!is_pooler("ep-x.my-pooler.example"));
        assert!(!is_pooler("/run/postgresql"));
    }

    #[test]
    fn later_settings_win_and_new_ones_depend_on_the_server() {
        let bundle = crate::engine::Bundle::compile(Vec::new()).unwrap();
        let mut request = RunRequest {
            target: crate::postgres::Target {
                host: String::new(),
                port: 1,
                user: String::new(),
                password: "".into(),
                database: String::new(),
                tls: crate::postgres::Tls::Disable,
            },
            ledger: crate::engine::LedgerName::default(),
            bundle: bundle.into(),
            until: None,
            holder: String::new(),
            timeouts: super::super::Timeouts::default(),
            execution: super::super::Execution::default(),
            policies: crate::engine::Policies::default(),
            cancel: tokio_util::sync::CancellationToken::new(),
        };
        request.timeouts.lock = Duration::from_millis(300);
        let last = |request: &RunRequest, version, wanted: &str| {
            let settings = worker_settings(request, version);
            let found = settings.into_iter().rfind(|(name, _)| name == wanted);
            found.map(|(_, value)| value)
        };
        assert_eq!(
            last(&request, 150_018, "lock_timeout").as_deref(),
            Some("300ms")
        );
        assert_eq!(
            last(&request, 150_018, "statement_timeout").as_deref(),
            Some("0")
        );
        assert_eq!(last(&request, 150_018, "transaction_timeout"), None);
        assert_eq!(
            last(&request, 170_000, "transaction_timeout").as_deref(),
            Some("0")
        );
        assert_eq!(last(&request, 150_018, "role"), None);
        request.timeouts.statement = Some(Duration::from_secs(3));
        request.execution.role = Some("app owner".into());
        assert_eq!(
            last(&request, 150_018, "statement_timeout").as_deref(),
            Some("3000ms")
        );
        assert_eq!(
            last(&request, 150_018, "role").as_deref(),
            Some("app owner")
        );
    }
}
