//! `DATABASE_URL`: where to connect. Pure but for reading the certificate file and the file of passwords.
//!
//! What a URL lacks, libpq's variables add, as they do for psql: `PGHOST`, `PGPORT`, `PGUSER`, `PGDATABASE`, `PGPASSWORD`,
//! `PGSSLMODE`, `PGSSLROOTCERT`; then the file of passwords, `PGPASSFILE` or `~/.pgpass`; then 5432, the user of the system, and
//! the database of the user's name. Service files are not read, and `PGOPTIONS` is refused: sessions have settings of their own.

use std::{collections::BTreeMap, fs, path::PathBuf};

use anyhow::{Context, Result};
use percent_encoding::percent_decode_str;

use super::{
    Usage,
    passfile::{self, Login},
};
use crate::postgres::{Target, Tls};

/// The environment variable that says where to connect.
pub(super) const VARIABLE: &str = "DATABASE_URL";

/// Parameters that say where and how to connect.
const UNDERSTOOD: [&str; 6] = ["host", "port", "user", "password", "sslmode", "sslrootcert"];

/// Parameters that change nothing about where and how safely we connect.
const IGNORED: [&str; 7] = [
    "application_name",
    "channel_binding",
    "client_encoding",
    "connect_timeout",
    "fallback_application_name",
    "gssencmode",
    "target_session_attrs",
];

/// The target that `DATABASE_URL` names, with what libpq's variables add.
pub(super) fn from_environment() -> Result<Target> {
    let url = variable(VARIABLE).ok_or_else(|| {
        Usage(format!(
            "{VARIABLE} is not set: it says where to connect, for example postgresql://owner:…@ep-x.eu-central-1.aws.neon.tech/app?sslmode=require"
        ))
    })?;
    parse(&url)
}

/// The environment variable that names a scratch database.
pub(super) const SCRATCH: &str = "SCRATCH_DATABASE_URL";

/// The scratch database: that of a URL without a password, or of `SCRATCH_DATABASE_URL`.
pub(super) fn scratch(url: Option<&str>) -> Result<Target> {
    let Some(url) = url else {
        let url = variable(SCRATCH).ok_or_else(|| {
            Usage(format!(
                "name a copy of the database with --scratch or {SCRATCH}"
            ))
        })?;
        return parse(&url);
    };
    without_password(url, SCRATCH)
}

/// The target of a URL from the command line, which has no password; `otherwise` is the variable for one that has.
pub(super) fn without_password(url: &str, otherwise: &str) -> Result<Target> {
    let parts = Parts::of(url)?;
    if parts.password.is_some() || parts.parameters.contains_key("password") {
        return Err(Usage(format!(
            "others on this machine can read a password on the command line: leave it out (PGPASSWORD or ~/.pgpass has it), or put the URL into {otherwise}"
        ))
        .into());
    }
    parse(url)
}

/// A variable that says something.
#[expect(
    clippy::disallowed_methods,
    reason = "the command line may read the environment"
)]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The target that a URL names.
pub(super) fn parse(url: &str) -> Result<Target> {
    with_variables(url, &variable)
}

/// The target of a URL, and of the variables that add what it lacks.
fn with_variables(url: &str, variable: &dyn Fn(&str) -> Option<String>) -> Result<Target> {
    if variable("PGOPTIONS").is_some() {
        let why = "PGOPTIONS is set, but sessions of migrations have settings of their own: unset it, and write what a file needs into it (SET), or give it to the role (ALTER ROLE … SET)";
        return Err(Usage(why.to_owned()).into());
    }
    let parts = Parts::of(url)?;
    let get = |name: &str| parts.parameters.get(name).cloned();
    let ca = get("sslrootcert").or_else(|| variable("PGSSLROOTCERT"));
    let ca = ca
        .filter(|path| path != "system")
        .map(|path| fs::read_to_string(&path).with_context(|| format!("cannot read {path}")))
        .transpose()?;
    let host = get("host").or(parts.host).or_else(|| variable("PGHOST"));
    let host = host.ok_or_else(|| bad("it names no host, and PGHOST is not set"))?;
    let mode = get("sslmode").or_else(|| variable("PGSSLMODE"));
    let user = get("user").or(parts.user).or_else(|| variable("PGUSER"));
    // the name of the system's user
    let user = user.or_else(|| variable("USER"));
    let user = user.ok_or_else(|| bad("it names no user, and PGUSER is not set"))?;
    let port = get("port").or(parts.port).or_else(|| variable("PGPORT"));
    let port = port.unwrap_or("5432".to_owned());
    let database = parts.database.or_else(|| variable("PGDATABASE"));
    let database = database.unwrap_or_else(|| user.clone());
    let written = get("password").or(parts.password);
    let password = written.or_else(|| variable("PGPASSWORD")).or_else(|| {
        let login = Login {
            host: &host,
            port: &port,
            database: &database,
            user: &user,
        };
        passfile::password(&passfile_path(variable)?, login)
    });
    Ok(Target {
        tls: tls(&host, mode.as_deref(), ca)?,
        port: port
            .parse()
            .map_err(|_| bad("its port, or PGPORT, is not a number up to 65535"))?,
        host,
        database,
        user,
        password: password.unwrap_or_default().into(),
    })
}

/// Where the file of passwords is.
fn passfile_path(variable: &dyn Fn(&str) -> Option<String>) -> Option<PathBuf> {
    let named = variable("PGPASSFILE").map(PathBuf::from);
    named.or_else(|| Some(PathBuf::from(variable("HOME")?).join(".pgpass")))
}

/// Certificates are verified unless the server is on this machine, whatever `sslmode=require`
/// means elsewhere.
fn tls(host: &str, mode: Option<&str>, ca: Option<String>) -> Result<Tls> {
    let local = host.starts_with('/') || ["localhost", "127.0.0.1", "::1"].contains(&host);
    match (mode, ca) {
        (Some("disable"), _) if !local => {
            Err(bad("sslmode=disable would send the password in the clear").into())
        }
        (Some("disable"), _) => Ok(Tls::Disable),
        (None | Some("allow" | "prefer"), None) if local => Ok(Tls::Disable),
        (None | Some("allow" | "prefer" | "require" | "verify-ca" | "verify-full"), ca) => {
            Ok(ca.map_or(Tls::WebPki, Tls::Ca))
        }
        (Some(_), _) => Err(bad("its sslmode, or PGSSLMODE, is unknown").into()),
    }
}

/// A URL taken apart, decoded.
#[derive(Debug, Default)]
struct Parts {
    user: Option<String>,
    password: Option<String>,
    host: Option<String>,
    port: Option<String>,
    database: Option<String>,
    parameters: BTreeMap<String, String>,
}

impl Parts {
    fn of(url: &str) -> Result<Self> {
        let rest = url
            .strip_prefix("postgresql://")
            .or_else(|| url.strip_prefix("postgres://"))
            .ok_or_else(|| bad("it does not begin with postgresql://"))?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
        if database.contains('@') || query.contains('@') {
            return Err(bad(
                "an @ follows a / or ?: in a password, write / as %2F, ? as %3F and @ as %40",
            )
            .into());
        }
        let (login, place) = authority.rsplit_once('@').unwrap_or(("", authority));
        let (user, password) = match login.split_once(':') {
            Some((user, password)) => (user, Some(password)),
            None => (login, None),
        };
        let (host, port) = match place.rsplit_once(':') {
            // the colons of an IPv6 address are in brackets
            Some((host, port)) if !port.ends_with(']') => (host, port),
            Some(_) | None => (place, ""),
        };
        let mut parameters = BTreeMap::new();
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        for (number, pair) in (1..).zip(pairs) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match name {
                known if UNDERSTOOD.contains(&known) => {
                    parameters.extend(decoded(value)?.map(|value| (name.to_owned(), value)));
                }
                other if IGNORED.contains(&other) => {}
                // its name may be a part of a password
                _ => return Err(bad(&not_understood(number)).into()),
            }
        }
        let host = host.trim_start_matches('[').trim_end_matches(']');
        Ok(Self {
            user: decoded(user)?,
            password: password.map(decoded).transpose()?.flatten(),
            host: decoded(host)?,
            port: decoded(port)?,
            database: decoded(database)?,
            parameters,
        })
    }
}

fn not_understood(number: usize) -> String {
    format!(
        "parameter {number} behind its ? is not understood; {} and {} are",
        UNDERSTOOD.join(", "),
        IGNORED.join(", ")
    )
}

fn decoded(text: &str) -> Result<Option<String>> {
    let text = percent_decode_str(text).decode_utf8();
    let text = text.map_err(|_| bad("it is not UTF-8"))?;
    Ok(Some(text.into_owned()).filter(|text| !text.is_empty()))
}

/// Says what is wrong, never what the URL is: it holds a password.
fn bad(why: &str) -> Usage {
    Usage(format!("the database's URL cannot be used: {why}"))
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    fn read(url: &str) -> Result<Target> {
        with_variables(url, &|_| None)
    }

    #[test]
    fn urls_as_neon_and_people_write_them() {
        let target = read("postgresql://own%40er:p%2Fw%3A@ep-x.eu.aws.neon.tech/my%20app?sslmode=require&channel_binding=require").unwrap();
        assert_eq!(
            (target.user.as_str(), target.password.expose_secret()),
            ("own@er", "p/w:")
        );
        assert_eq!(
            (target.host.as_str(), target.port, target.database.as_str()),
            ("ep-x.eu.aws.neon.tech", 5432, "my app")
        );
        assert!(target.tls == Tls::WebPki);
        let local = read("postgres://me@localhost:5433/").unwrap();
        assert_eq!((local.port, local.database.as_str()), (5433, "me"));
        assert!(local.tls == Tls::Disable);
        let socket = read("postgresql://me@/app?host=/run/postgresql").unwrap();
        assert_eq!(socket.host, "/run/postgresql");
        let six = read("postgresql://me@[::1]:5433/app").unwrap();
        assert_eq!((six.host.as_str(), six.port), ("::1", 5433));
    }

    #[test]
    fn libpqs_variables_add_what_a_url_lacks() {
        let folder = tempfile::tempdir().unwrap();
        let passfile = folder.path().join("pgpass");
        fs::write(&passfile, "h:5433:app:me:from-file\n").unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        fs::set_permissions(&passfile, mode).unwrap();
        let passfile = passfile.display().to_string();
        let given = |pairs: &[(&str, &str)], url: &str| {
            let pairs: BTreeMap<String, String> = pairs
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect();
            let target = with_variables(url, &|name| pairs.get(name).cloned());
            target.map(|t| {
                let password = t.password.expose_secret().to_owned();
                (t.user, password, t.host, t.port, t.database)
            })
        };
        let all = [
            ("PGHOST", "h"),
            ("PGPORT", "5433"),
            ("PGUSER", "me"),
            ("PGDATABASE", "app"),
            ("PGPASSWORD", "hunter2"),
        ];
        let told = |user: &str, password: &str, host: &str, port, database: &str| {
            let [user, password, host, database] =
                [user, password, host, database].map(str::to_owned);
            (user, password, host, port, database)
        };
        let found = given(&all, "postgresql://").unwrap();
        assert_eq!(found, told("me", "hunter2", "h", 5433, "app"));
        let found = given(&all, "postgresql://you:x@g:1/b").unwrap();
        assert_eq!(found, told("you", "x", "g", 1, "b"));
        let filed = [("PGPASSFILE", passfile.as_str()), ("USER", "me")];
        let found = given(&filed, "postgresql://h:5433/app").unwrap();
        assert_eq!(found, told("me", "from-file", "h", 5433, "app"));
        let error = given(&[("PGOPTIONS", "-c x=y")], "postgresql://me@h/d").unwrap_err();
        assert!(error.is::<Usage>() && error.to_string().contains("PGOPTIONS"));
        assert!(given(&[("PGSSLMODE", "disable")], "postgresql://me@h/d").is_err());
        assert!(given(&[("PGPORT", "65536")], "postgresql://me@h/d").is_err());
    }

    #[test]
    fn what_is_wrong_is_told_without_the_password() {
        for url in [
            "mysql://u:hunter2@h/d",
            "postgresql://u:hunter2@h:port/d",
            "postgresql://u:hunter2@h/d?sslmode=disable",
            "postgresql://u:hunter2@h/d?options=hunter2",
            "postgresql://u:hunter2@/d",
            "postgresql://u:x?hunter2=1@h/d",
            "postgresql://u:x?hunter2",
            "postgresql://u:x?sslrootcert=hunter2@h/d",
            "postgresql://u:1/hunter2@h/d",
            "postgresql://h/d",
        ] {
            let error = read(url).unwrap_err();
            assert!(error.is::<Usage>(), "{url}");
            assert!(!format!("{error:#}").contains("hunter2"), "{error:#}");
        }
    }
}
