//! Schemas and roles as SQL: pg_dump and pg_dumpall write it, psql runs it.

use std::{
    io::Write,
    process::{Command, Output, Stdio},
};

use anyhow::{Context, bail};
use tokio::task::spawn_blocking;

use super::{
    Postgres,
    server::{MAINTENANCE_DB, SUPERUSER, Socket},
};

/// What becomes of a script in which a statement fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mistakes {
    /// The rest is run nevertheless.
    Pass,
    /// It fails.
    Stop,
}

impl Postgres {
    /// The SQL that makes a database's schema.
    pub(crate) async fn dump_schema(
        &self,
        socket: &Socket,
        database: &str,
    ) -> anyhow::Result<String> {
        self.dump("pg_dump", &["--schema-only"], socket, database)
            .await
    }

    /// The SQL that makes a server's roles, with their passwords' verifiers unless they shall be
    /// others.
    pub(crate) async fn dump_roles(
        &self,
        socket: &Socket,
        without_passwords: bool,
    ) -> anyhow::Result<String> {
        let arguments: &[&str] = if without_passwords {
            &["--roles-only", "--no-role-passwords"]
        } else {
            &["--roles-only"]
        };
        self.dump("pg_dumpall", arguments, socket, MAINTENANCE_DB)
            .await
    }

    async fn dump(
        &self,
        program: &str,
        arguments: &[&str],
        socket: &Socket,
        database: &str,
    ) -> anyhow::Result<String> {
        let mut command = self.client(program, socket, database);
        command.args(arguments);
        let output = spawn_blocking(move || command.output())
            .await?
            .with_context(|| format!("cannot run {program} (Debian package postgresql-client)"))?;
        Ok(without_keys(&succeeded(program, &output)?))
    }

    /// Runs SQL that a dump has made.
    pub(crate) async fn run_script(
        &self,
        socket: &Socket,
        database: &str,
        script: String,
        mistakes: Mistakes,
    ) -> anyhow::Result<()> {
        let mut command = self.client("psql", socket, database);
        command.args(["--no-psqlrc", "--quiet", "--output=/dev/null"]);
        if mistakes == Mistakes::Stop {
            command.arg("--set=ON_ERROR_STOP=1");
        }
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let output = spawn_blocking(move || {
            let mut child = command.spawn()?;
            if let Some(mut stdin) = child.stdin.take() {
                // One that stops early says why on its error output.
                stdin.write_all(script.as_bytes()).ok();
            }
            child.wait_with_output()
        })
        .await?
        .context("cannot run psql (Debian package postgresql-client)")?;
        match mistakes {
            Mistakes::Pass => Ok(()),
            Mistakes::Stop => succeeded("psql", &output).map(drop),
        }
    }

    fn client(&self, program: &str, socket: &Socket, database: &str) -> Command {
        let program = self.install.client_program(program);
        let mut command = self.account.command(&program);
        command
            .arg("--no-password")
            .arg("--dbname")
            .arg(socket.conninfo(SUPERUSER, database))
            .current_dir("/");
        command
    }
}

fn succeeded(program: &str, output: &Output) -> anyhow::Result<String> {
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{program}: {}", said.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Newer ones fence their output with a key that is another one each time.
fn without_keys(dump: &str) -> String {
    let keyed = |line: &&str| !line.starts_with("\\restrict") && !line.starts_with("\\unrestrict");
    dump.split_inclusive('\n').filter(keyed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_dumps_of_one_schema_are_the_same() {
        let dump = |key| format!("--\n\\restrict {key}\nCREATE TABLE t ();\n\\unrestrict {key}\n");
        assert_eq!(without_keys(&dump("a")), without_keys(&dump("b")));
        assert_eq!(without_keys(&dump("a")), "--\nCREATE TABLE t ();\n");
    }
}
