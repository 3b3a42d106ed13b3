//! What an error of PostgreSQL or of the way to it means. Pure.
//!
//! Texts are the server's primary message, never the statement: statements may hold passwords,
//! and sqlx's own `Display` adds a line number that is one of PostgreSQL's C sources.

use std::fmt;

use sqlx::postgres::{PgDatabaseError, PgErrorPosition};

/// What to do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// The server or the way to it is not there at the moment; try again.
    Transient,
    /// Neon has no compute to spare for the server: as many run as the plan allows, or a quota is used up. Try again now and
    /// then.
    Limit,
    /// Somebody else holds what is needed (lock, deadlock, serialization); try again soon.
    Conflict,
    /// Not let in, or not allowed; needs another password or more rights.
    Denied,
    /// The session cannot be what is asked for: a pooler, a name that does not match its
    /// certificate.
    Unsupported,
    /// The statement or what it names is wrong; repeating it changes nothing.
    Invalid,
}

/// An error with its class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// What to do about it.
    pub class: Class,
    /// The server's own words; `None` when the error did not come from the server.
    pub server: Option<Box<ServerError>>,
    /// The setting of a role that the server does not take, where it is about one.
    pub setting: Option<Box<RoleSetting>>,
    message: String,
}

/// A setting that the sessions of a role should begin with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleSetting {
    /// The role.
    pub group: String,
    /// Name of the setting.
    pub name: String,
}

/// What the server said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerError {
    /// Five characters, see appendix A of PostgreSQL's documentation.
    pub sqlstate: String,
    /// The primary message.
    pub message: String,
    /// More; may contain data of rows.
    pub detail: Option<String>,
    /// What to do.
    pub hint: Option<String>,
    /// Character of the message sent (from 1) at which the error is.
    pub position: Option<usize>,
    /// The stack of PL/pgSQL functions; may contain statements.
    pub context: Option<String>,
}

impl ServerError {
    /// Whether the server lacks memory, disk or something else of which it has only so much: the same statement most likely
    /// comes to the same end again. Sessions of others, of which there may be too many, end.
    #[must_use]
    pub fn is_out_of_room(&self) -> bool {
        self.sqlstate.starts_with("53") && self.sqlstate != "53300"
    }
}

impl Error {
    /// An error that does not come from the server.
    pub fn new(class: Class, message: impl Into<String>) -> Self {
        Self {
            class,
            server: None,
            setting: None,
            message: message.into(),
        }
    }

    /// The same with the place that did not answer as it should; a server's own words need none.
    pub(super) fn at(self, host: &str, port: u16) -> Self {
        if self.server.is_some() {
            return self;
        }
        let message = format!("{host}:{port}: {}", self.message);
        Self { message, ..self }
    }

    /// Whether the role has as many sessions as it may: the server counts them after it has found the password right.
    #[must_use]
    pub fn is_of_full_role(&self) -> bool {
        self.server
            .as_ref()
            .is_some_and(|server| speaks_of_full_role(&server.message))
    }

    /// Whether the server lacks room for what it was asked; see [`ServerError::is_out_of_room`].
    #[must_use]
    pub fn is_out_of_room(&self) -> bool {
        let server = self.server.as_ref();
        server.is_some_and(|server| server.is_out_of_room())
    }

    /// The SQLSTATE, if the server sent one.
    #[must_use]
    pub fn sqlstate(&self) -> Option<&str> {
        self.server.as_ref().map(|server| server.sqlstate.as_str())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match self.sqlstate() {
            Some(sqlstate) => write!(f, " (SQLSTATE {sqlstate})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        if let sqlx::Error::Database(database) = &error
            && let Some(server) = database.try_downcast_ref::<PgDatabaseError>()
        {
            return Self::from(server);
        }
        if let sqlx::Error::Io(io) = &error {
            return from_io(io);
        }
        if let sqlx::Error::Tls(tls) = &error {
            return Self::new(Class::Unsupported, format!("TLS: {tls}"));
        }
        let ours = matches!(
            error,
            sqlx::Error::Configuration(_) | sqlx::Error::InvalidArgument(_)
        );
        // the rest are broken conversations, which a new connection mends
        let class = if ours {
            Class::Invalid
        } else {
            Class::Transient
        };
        let error = error.to_string();
        // The rest of that text is the character that cannot be prepared: a part of the password.
        let reason = if error.contains("saslprep") {
            "the user name or the password holds a character that SCRAM does not allow"
        } else {
            &error
        };
        Self::new(
            class,
            format!("the conversation with the server failed: {reason}"),
        )
    }
}

impl From<&PgDatabaseError> for Error {
    fn from(error: &PgDatabaseError) -> Self {
        let own = |text: Option<&str>| text.map(str::to_owned);
        let position = error.position().and_then(|position| match position {
            PgErrorPosition::Original(character) => Some(character),
            PgErrorPosition::Internal { .. } => None,
        });
        Self {
            class: classify(error.code(), error.message()),
            message: error.message().to_owned(),
            setting: None,
            server: Some(Box::new(ServerError {
                sqlstate: error.code().to_owned(),
                message: error.message().to_owned(),
                detail: own(error.detail()),
                hint: own(error.hint()),
                position,
                context: own(error.r#where()),
            })),
        }
    }
}

/// How the text begins where the certificate of a server is not one of the authorities that are trusted.
pub const UNTRUSTED: &str = "the server's certificate is not trusted";

/// A certificate that is not trusted stays so; everything else about a socket passes.
fn from_io(error: &std::io::Error) -> Error {
    let inner = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    if let Some(rustls::Error::InvalidCertificate(reason)) = inner {
        return Error::new(Class::Unsupported, format!("{UNTRUSTED}: {reason}"));
    }
    Error::new(Class::Transient, format!("the connection failed: {error}"))
}

/// SQLSTATE to class; the message decides where one code means several things.
fn classify(sqlstate: &str, message: &str) -> Class {
    let concurrent = message.contains("tuple concurrently updated")
        || message.contains("tuple concurrently deleted");
    match sqlstate {
        // serialization_failure, deadlock_detected, lock_not_available
        "40001" | "40P01" | "55P03" => Class::Conflict,
        "XX000" if concurrent => Class::Conflict,
        "XX000" => from_control_plane(message),
        // a session has to end first; pgbouncer repeats the words with a code of its own
        _ if speaks_of_full_role(message) => Class::Conflict,
        // too_many_connections, admin_shutdown, crash_shutdown, cannot_connect_now,
        // idle_session_timeout, idle_in_transaction_session_timeout
        "53300" | "57P01" | "57P02" | "57P03" | "57P05" | "25P03" => Class::Transient,
        // protocol_violation: pgbouncer's answer to startup options
        "08P01" => Class::Unsupported,
        "42501" => Class::Denied,
        // undefined_file, duplicate_file: what a statement names, not the state of the server
        "58P01" | "58P02" => Class::Invalid,
        code if code.starts_with("28") => Class::Denied,
        // connection exceptions; disk full and out of memory; system errors
        code if ["08", "53", "58"]
            .iter()
            .any(|class| code.starts_with(class)) =>
        {
            Class::Transient
        }
        _ => Class::Invalid,
    }
}

/// The words are PostgreSQL's, which a pooler hands on. Neon's servers speak English.
fn speaks_of_full_role(message: &str) -> bool {
    message.contains("too many connections for role")
}

/// Neon's proxy reports a compute that does not start. Neon's computes send role changes to the control plane at COMMIT, and
/// fail with its HTTP code.
fn from_control_plane(message: &str) -> Class {
    if message.contains("Couldn't connect to compute node") {
        return Class::Transient;
    }
    if speaks_of_limit(message) {
        return Class::Limit;
    }
    if message.starts_with("Failed to perform curl request") {
        return Class::Transient;
    }
    let code = message
        .strip_prefix("Received HTTP code ")
        .filter(|rest| rest.contains("from control plane"))
        .and_then(|rest| rest.get(..3));
    match code {
        Some("401" | "403") => Class::Denied,
        Some("408" | "409" | "423" | "429") => Class::Transient,
        Some(code) if code.starts_with('5') => Class::Transient,
        Some(_) | None => Class::Invalid,
    }
}

/// The proxy's words for a compute that may not be woken: "You have exceeded the limit of concurrently active endpoints", "Your
/// account or project has exceeded the compute time quota", and the same of written or transferred data.
fn speaks_of_limit(message: &str) -> bool {
    let exceeded = message.split_once("exceeded the ");
    exceeded.is_some_and(|(_, what)| what.contains("active endpoints") || what.contains("quota"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sqlstates_have_their_class() {
        for (sqlstate, message, expected) in [
            (
                "55P03",
                "canceling statement due to lock timeout",
                Class::Conflict,
            ),
            ("40P01", "deadlock detected", Class::Conflict),
            ("XX000", "tuple concurrently updated", Class::Conflict),
            ("XX000", "cache lookup failed", Class::Invalid),
            (
                "XX000",
                "Couldn't connect to compute node",
                Class::Transient,
            ),
            (
                "XX000",
                "You have exceeded the limit of concurrently active endpoints. Please suspend some endpoints or contact our \
                 support team to increase the limit.",
                Class::Limit,
            ),
            (
                "XX000",
                "Your account or project has exceeded the compute time quota. Upgrade your plan to increase limits.",
                Class::Limit,
            ),
            (
                "XX000",
                "Received HTTP code 423 from control plane: busy",
                Class::Transient,
            ),
            (
                "XX000",
                "Received HTTP code 503 from control plane",
                Class::Transient,
            ),
            (
                "XX000",
                "Received HTTP code 400 from control plane: Neon only supports being given plaintext passwords",
                Class::Invalid,
            ),
            (
                "XX000",
                "Failed to perform curl request: timeout",
                Class::Transient,
            ),
            (
                "57P03",
                "the database system is starting up",
                Class::Transient,
            ),
            ("08006", "", Class::Transient),
            (
                "08P01",
                "unsupported startup parameter: options",
                Class::Unsupported,
            ),
            ("28P01", "password authentication failed", Class::Denied),
            ("28000", "role is not permitted to log in", Class::Denied),
            (
                "42501",
                "permission denied for schema public",
                Class::Denied,
            ),
            ("3D000", "database does not exist", Class::Invalid),
            ("53100", "disk full", Class::Transient),
            ("53300", "sorry, too many clients already", Class::Transient),
            (
                "53300",
                "too many connections for role \"app_g1\"",
                Class::Conflict,
            ),
            (
                "08P01",
                "server login has been failing, cached error: too many connections for role \"app_g1\" (server_login_retry)",
                Class::Conflict,
            ),
            ("58P01", "could not open file", Class::Invalid),
            ("55006", "pending trigger events", Class::Invalid),
            ("42601", "syntax error", Class::Invalid),
            ("23505", "duplicate key", Class::Invalid),
        ] {
            assert_eq!(
                classify(sqlstate, message),
                expected,
                "{sqlstate} {message}"
            );
        }
    }

    #[test]
    fn characters_of_passwords_are_not_told() {
        let text = "Failed to saslprep password: Error(ProhibitedCharacter('\u{7}'))";
        let error = Error::from(sqlx::Error::Configuration(text.into()));
        assert_eq!(error.class, Class::Invalid);
        assert!(!error.to_string().contains("Prohibited"), "{error}");
    }

    #[test]
    fn sockets_pass_and_certificates_stay() {
        let gone = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        assert_eq!(Error::from(sqlx::Error::Io(gone)).class, Class::Transient);
        let untrusted = rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
        let untrusted = std::io::Error::new(std::io::ErrorKind::InvalidData, untrusted);
        assert_eq!(
            Error::from(sqlx::Error::Io(untrusted)).class,
            Class::Unsupported
        );
    }
}
