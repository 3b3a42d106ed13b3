//! A server's folder before its first start: certificate, data directory, settings. The server's account owns all of it.

use std::{os::unix::fs::chown, path::Path, process::Command};

use anyhow::Context;

use crate::{
    pki::Authority,
    private_file,
    process::{Account, run},
};

/// What a server is made of.
pub(super) struct Making<'a> {
    /// Its folder, an empty one; sockets come into it too.
    pub(super) dir: &'a Path,
    /// Where its programs are.
    pub(super) bin_dir: &'a Path,
    /// Who runs it, where that is somebody else.
    pub(super) account: Option<&'a Account>,
    /// Its superuser.
    pub(super) superuser: &'a str,
    /// The superuser's password.
    pub(super) password: &'a str,
    /// Who signs its certificate.
    pub(super) authority: &'a Authority,
    /// Where it listens.
    pub(super) port: u16,
}

impl Making<'_> {
    /// Fills the folder; the server then starts from its subfolder `data`.
    pub(super) fn make(&self) -> anyhow::Result<()> {
        let identity = self.authority.server(&["localhost", "127.0.0.1"])?;
        self.write("ca.crt", self.authority.pem())?;
        self.write("server.crt", &identity.certificate)?;
        self.write("server.key", &identity.key)?;
        self.write("password", self.password)?;
        self.initialise()?;
        let settings = settings(self.dir, self.port);
        self.write("data/postgresql.auto.conf", &settings)?;
        self.write("data/pg_hba.conf", PG_HBA)
    }

    fn initialise(&self) -> anyhow::Result<()> {
        let initdb = self.bin_dir.join("initdb");
        let mut command = match self.account {
            None => Command::new(initdb),
            Some(account) => account.command(initdb),
        };
        command
            .arg("-D")
            .arg(self.dir.join("data"))
            .arg("--pwfile")
            .arg(self.dir.join("password"))
            .args(["--username", self.superuser, "--auth", "trust"])
            .args(["--encoding", "UTF8", "--locale", "C"])
            .args(["--no-sync", "--no-instructions"])
            .current_dir(self.dir);
        run("initdb failed", &mut command)
    }

    /// Writes a file that only the server's user can read, as a private key must be.
    fn write(&self, name: &str, text: &str) -> anyhow::Result<()> {
        let path = self.dir.join(name);
        private_file::write(&path, text)?;
        give_to(&path, self.account)
    }
}

/// Only we may enter the socket's folder; over TCP nobody gets in without TLS and a password.
const PG_HBA: &str = "local all all trust\nhostssl all all all scram-sha-256\n";

fn settings(dir: &Path, port: u16) -> String {
    let dir = dir.display();
    format!(
        "listen_addresses = '127.0.0.1'\n\
         port = {port}\n\
         unix_socket_directories = '{dir}'\n\
         ssl = on\n\
         ssl_cert_file = '{dir}/server.crt'\n\
         ssl_key_file = '{dir}/server.key'\n\
         max_connections = 200\n\
         fsync = off\n\
         synchronous_commit = off\n\
         full_page_writes = off\n"
    )
}

/// Makes a file or folder the account's own.
pub(super) fn give_to(path: &Path, account: Option<&Account>) -> anyhow::Result<()> {
    if let Some(account) = account {
        chown(path, Some(account.uid), Some(account.gid))
            .with_context(|| format!("give {} to {}", path.display(), account.name))?;
    }
    Ok(())
}
