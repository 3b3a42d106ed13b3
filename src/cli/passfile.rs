//! libpq's password file. Pure but for reading it.
//!
//! <https://www.postgresql.org/docs/current/libpq-pgpass.html>: lines `host:port:database:user:password`, the first that fits
//! counts, `*` fits everything, and a backslash stands before a `:` or `\` that is meant.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use super::output;

/// Folders of sockets that libpq may have been built with; such a server is `localhost` in the file.
const SOCKETS: [&str; 2] = ["/var/run/postgresql", "/tmp"];

/// Whose password is looked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Login<'a> {
    pub(super) host: &'a str,
    pub(super) port: &'a str,
    pub(super) database: &'a str,
    pub(super) user: &'a str,
}

/// The password that the file has; none where there is no such file. One that others may read is passed over, as libpq does
/// it, which is told.
pub(super) fn password(path: &Path, login: Login<'_>) -> Option<String> {
    let about = fs::metadata(path).ok().filter(fs::Metadata::is_file)?;
    if about.permissions().mode() & 0o077 != 0 {
        output::say(&format!(
            "warning: {} is not read, because others may read it too: chmod 0600 it",
            path.display()
        ));
        return None;
    }
    fs::read_to_string(path)
        .ok()?
        .lines()
        .find_map(|line| found(line, login))
}

/// The password of a line that fits.
fn found(line: &str, login: Login<'_>) -> Option<String> {
    if line.starts_with('#') {
        return None;
    }
    let (host, rest) = field(line)?;
    let (port, rest) = field(rest)?;
    let (database, rest) = field(rest)?;
    let (user, password) = field(rest)?;
    let is_host = fits(&host, login.host) || (SOCKETS.contains(&login.host) && host == "localhost");
    let fits = is_host
        && fits(&port, login.port)
        && fits(&database, login.database)
        && fits(&user, login.user);
    fits.then(|| unescaped(password))
}

fn fits(pattern: &str, value: &str) -> bool {
    pattern == "*" || pattern == value
}

/// A field, and what comes behind its colon.
fn field(line: &str) -> Option<(String, &str)> {
    let mut is_escaped = false;
    let end = line.find(|c| {
        let ends = c == ':' && !is_escaped;
        is_escaped = c == '\\' && !is_escaped;
        ends
    })?;
    let (field, rest) = line.split_at_checked(end)?;
    Some((unescaped(field), rest.strip_prefix(':')?))
}

fn unescaped(text: &str) -> String {
    let mut plain = String::new();
    let mut letters = text.chars();
    while let Some(c) = letters.next() {
        // a backslash at the end is one
        plain.push(if c == '\\' {
            letters.next().unwrap_or(c)
        } else {
            c
        });
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOGIN: Login<'_> = Login {
        host: "h",
        port: "5432",
        database: "d",
        user: "u",
    };

    #[test]
    fn the_first_line_that_fits_counts() {
        for (line, password) in [
            ("h:5432:d:u:s3cret", Some("s3cret")),
            ("*:*:*:*:a:b\\\\", Some("a:b\\")),
            ("h:5432:d:u:a\\:b", Some("a:b")),
            ("h:5433:d:u:s3cret", None),
            ("#h:5432:d:u:s3cret", None),
            ("h:5432:d:u", None),
            ("\\h:5432:d:u:x", Some("x")),
            ("", None),
        ] {
            assert_eq!(found(line, LOGIN).as_deref(), password, "{line}");
        }
        let six = Login {
            host: "::1",
            ..LOGIN
        };
        assert_eq!(found("\\:\\:1:*:*:*:x", six).as_deref(), Some("x"));
        let socket = Login {
            host: "/tmp",
            ..LOGIN
        };
        assert_eq!(found("localhost:*:*:*:x", socket).as_deref(), Some("x"));
    }

    #[test]
    fn a_file_that_others_may_read_is_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pgpass");
        assert_eq!(password(&path, LOGIN), None);
        fs::write(&path, "# mine\nx:*:*:*:no\n*:*:*:u:yes\n").unwrap();
        let mode = |mode| fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        mode(0o640);
        assert_eq!(password(&path, LOGIN), None);
        mode(0o600);
        assert_eq!(password(&path, LOGIN).as_deref(), Some("yes"));
    }
}
