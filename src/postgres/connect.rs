//! Opening a session.
//!
//! TLS is always verified down to the host name, except on this machine. A compute that is
//! asleep or starting answers late or not at all, so connecting is patient.

use std::{fmt, future::Future, time::Duration};

use secrecy::{ExposeSecret, SecretString};
use sqlx::{
    ConnectOptions, Connection,
    postgres::{PgConnectOptions, PgConnection, PgSslMode},
};
use tokio::time::{sleep, timeout};

use super::error::{Class, Error};

/// Longest wait for one attempt; Neon wakes a compute within a few seconds.
const ATTEMPT: Duration = Duration::from_secs(15);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// PostgreSQL cuts longer names off, possibly within a character.
const MAX_APPLICATION_NAME: usize = 63;

/// Where to connect and as whom.
#[derive(Debug, Clone)]
pub struct Target {
    /// Host name, address, or the folder of a unix socket (begins with `/`).
    pub host: String,
    /// TCP port, or the number in the socket's name.
    pub port: u16,
    /// The role that logs in.
    pub user: String,
    /// Its password.
    pub password: SecretString,
    /// The database.
    pub database: String,
    /// How the server proves who it is.
    pub tls: Tls,
}

/// How the server proves who it is.
#[derive(Clone, PartialEq, Eq)]
pub enum Tls {
    /// By a certificate for its host name from one of these authorities (PEM) or a public one.
    Ca(String),
    /// By a certificate for its host name from a public authority: hosted Neon.
    WebPki,
    /// Not at all; only on a unix socket or the loopback interface.
    Disable,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ca(_) => "Ca",
            Self::WebPki => "WebPki",
            Self::Disable => "Disable",
        })
    }
}

/// What a session should be like.
#[derive(Debug, Clone)]
pub struct Options {
    /// Settings of the session; RESET ALL returns to them.
    pub settings: Vec<(String, String)>,
    /// How long to keep trying while the server is not there.
    pub patience: Duration,
}

impl Default for Options {
    /// No settings, 30 seconds.
    fn default() -> Self {
        Self {
            settings: Vec::new(),
            patience: Duration::from_secs(30),
        }
    }
}

/// Opens a session. Retries while the server is starting, full or unreachable; a refusal
/// (wrong password, no such database, untrusted certificate) is final.
///
/// Statements are never logged: they may hold passwords.
///
/// # Errors
/// The last error once `options.patience` is used up, or the first final one. Where the server itself said nothing, it
/// names host and port.
pub async fn connect(
    target: &Target,
    application_name: &str,
    options: &Options,
) -> Result<PgConnection, Error> {
    let prepared = prepare(target, application_name, options)?;
    let attempt = || async {
        match timeout(ATTEMPT, PgConnection::connect_with(&prepared)).await {
            Ok(result) => result.map_err(Error::from),
            Err(_) => Err(Error::new(
                Class::Transient,
                "the server did not answer in time",
            )),
        }
    };
    let opened = Box::pin(patiently(options.patience, attempt)).await;
    opened.map_err(|error| error.at(&target.host, target.port))
}

/// Repeats `attempt` while it fails transiently, at most for `patience`.
async fn patiently<T, F: Future<Output = Result<T, Error>>>(
    patience: Duration,
    mut attempt: impl FnMut() -> F,
) -> Result<T, Error> {
    let mut last = Error::new(Class::Transient, "the server did not answer in time");
    let tries = async {
        let mut pause = FIRST_PAUSE;
        loop {
            match attempt().await {
                Err(error) if error.class == Class::Transient => last = error,
                result => return result,
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    };
    match timeout(patience, tries).await {
        Ok(result) => result,
        Err(_) => Err(last),
    }
}

fn prepare(
    target: &Target,
    application_name: &str,
    options: &Options,
) -> Result<PgConnectOptions, Error> {
    let prepared = PgConnectOptions::new_without_pgpass();
    // sqlx begins with what the environment says, and has no way to take it back
    if prepared.get_options().is_some_and(|set| !set.is_empty()) {
        return Err(Error::new(
            Class::Invalid,
            "PGOPTIONS is set, but sessions have settings of their own: unset it",
        ));
    }
    let prepared = prepared
        .host(&target.host)
        .port(target.port)
        .username(&target.user)
        .password(target.password.expose_secret())
        .database(&target.database)
        .application_name(clip(application_name))
        // pgbouncer refuses it, and since PostgreSQL 12 numbers are exact without it
        .extra_float_digits(None)
        .disable_statement_logging();
    // a pooler refuses this startup parameter, even an empty one
    let prepared = if options.settings.is_empty() {
        prepared
    } else {
        prepared.options(options.settings.iter().map(|(name, value)| (name, value)))
    };
    match &target.tls {
        Tls::Ca(pem) => Ok(prepared
            .ssl_mode(PgSslMode::VerifyFull)
            .ssl_root_cert_from_pem(pem.as_bytes().to_vec())),
        Tls::WebPki => Ok(prepared.ssl_mode(PgSslMode::VerifyFull)),
        Tls::Disable if is_local(&target.host) => Ok(prepared.ssl_mode(PgSslMode::Disable)),
        Tls::Disable => Err(Error::new(
            Class::Invalid,
            "a connection without TLS is only made on this machine",
        )),
    }
}

fn is_local(host: &str) -> bool {
    host.starts_with('/') || ["localhost", "127.0.0.1", "::1"].contains(&host)
}

fn clip(name: &str) -> &str {
    let end = (0..=MAX_APPLICATION_NAME.min(name.len()))
        .rev()
        .find(|end| name.is_char_boundary(*end));
    name.get(..end.unwrap_or(0)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn target(host: &str, tls: Tls) -> Target {
        Target {
            host: host.into(),
            port: 5432,
            user: "app".into(),
            password: "hunter2".into(),
            database: "d".into(),
            tls,
        }
    }

    #[test]
    fn a_session_without_settings_asks_for_none_as_poolers_want_it() {
        let prepared = |settings| {
            let options = Options {
                settings,
                ..Options::default()
            };
            let prepared = prepare(&target("ep-x-pooler.neon.tech", Tls::WebPki), "x", &options);
            prepared.unwrap().get_options().map(str::to_owned)
        };
        assert_eq!(prepared(vec![]), None);
        let some = prepared(vec![("lock_timeout".into(), "2s".into())]);
        assert!(some.unwrap().contains("lock_timeout=2s"));
    }

    #[test]
    fn tls_is_verified_everywhere_but_here() {
        let mode = |host, tls| {
            prepare(&target(host, tls), "x", &Options::default()).map(|o| o.get_ssl_mode())
        };
        let is_full = |mode: Result<PgSslMode, Error>| matches!(mode, Ok(PgSslMode::VerifyFull));
        assert!(is_full(mode("ep-x.neon.tech", Tls::WebPki)));
        assert!(is_full(mode("localhost", Tls::Ca(String::new()))));
        assert!(matches!(
            mode("127.0.0.1", Tls::Disable),
            Ok(PgSslMode::Disable)
        ));
        assert!(matches!(
            mode("/run/postgresql", Tls::Disable),
            Ok(PgSslMode::Disable)
        ));
        assert_eq!(
            mode("ep-x.neon.tech", Tls::Disable).err().map(|e| e.class),
            Some(Class::Invalid)
        );
    }

    #[test]
    fn passwords_are_not_printed() {
        let text = format!("{:?}", target("h", Tls::WebPki));
        assert!(!text.contains("hunter2"), "{text}");
    }

    #[test]
    fn names_are_cut_between_characters() {
        assert_eq!(clip("short"), "short");
        let long = format!("{}ü", "a".repeat(62));
        assert_eq!(clip(&long), "a".repeat(62));
    }

    #[tokio::test]
    async fn connecting_waits_for_a_server_that_starts() {
        let calls = Cell::new(0);
        let result = patiently(Duration::from_secs(30), || {
            calls.set(calls.get() + 1);
            let ready = calls.get() > 2;
            async move {
                if ready {
                    Ok(())
                } else {
                    Err(Error::new(Class::Transient, "starting"))
                }
            }
        });
        assert_eq!(result.await, Ok(()));
        assert_eq!(calls.get(), 3);
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_is_named() {
        let options = Options {
            patience: Duration::from_millis(50),
            ..Options::default()
        };
        let nowhere = Target {
            port: 1,
            ..target("127.0.0.1", Tls::Disable)
        };
        let error = connect(&nowhere, "x", &options).await.unwrap_err();
        assert!(error.to_string().starts_with("127.0.0.1:1: "), "{error}");
    }

    #[tokio::test]
    async fn patience_ends_and_refusals_are_final() {
        let starting = || async { Err::<(), _>(Error::new(Class::Transient, "starting")) };
        let error = patiently(Duration::from_millis(250), starting)
            .await
            .unwrap_err();
        assert_eq!(error.to_string(), "starting");
        let calls = Cell::new(0);
        let refused = || {
            calls.set(calls.get() + 1);
            async { Err::<(), _>(Error::new(Class::Denied, "no")) }
        };
        assert_eq!(
            patiently(Duration::from_secs(5), refused)
                .await
                .unwrap_err()
                .class,
            Class::Denied
        );
        assert_eq!(calls.get(), 1);
    }
}
