//! The schema of a database, as pg_dump writes it.

use anyhow::{Context, bail};
use tokio::task::spawn_blocking;

use super::{
    Postgres,
    server::{SUPERUSER, Socket},
};

impl Postgres {
    /// The SQL that makes a database's schema.
    pub(crate) async fn dump_schema(
        &self,
        socket: &Socket,
        database: &str,
    ) -> anyhow::Result<String> {
        let mut command = self
            .account
            .command(&self.install.client_program("pg_dump"));
        command
            .args(["--schema-only", "--no-password"])
            .arg("--dbname")
            .arg(socket.conninfo(SUPERUSER, database))
            .current_dir("/");
        let output = spawn_blocking(move || command.output())
            .await?
            .context("cannot run pg_dump (Debian package postgresql-client)")?;
        if !output.status.success() {
            bail!(
                "pg_dump: {}",
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        Ok(without_keys(&String::from_utf8_lossy(&output.stdout)))
    }
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
