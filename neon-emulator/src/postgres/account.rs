//! The operating-system account under which servers run: oneself, or another one for root,
//! as which PostgreSQL refuses to run. Used by whatever makes files for a server.

use std::{
    fs,
    os::unix::fs::{DirBuilderExt, PermissionsExt, chown},
    path::Path,
    process::Command,
};

use anyhow::{Context, bail};

/// Who runs the servers and owns their files.
#[derive(Debug, Clone)]
pub(crate) enum Account {
    Myself,
    Other { name: String, uid: u32, gid: u32 },
}

impl Account {
    /// `name` for root, oneself for everybody else.
    pub(crate) fn choose(name: &str) -> anyhow::Result<Self> {
        if !rustix::process::geteuid().is_root() {
            return Ok(Self::Myself);
        }
        let passwd = fs::read_to_string("/etc/passwd").context("/etc/passwd")?;
        let found = passwd.lines().find_map(|line| {
            let mut fields = line.split(':');
            let is_it = fields.next() == Some(name);
            let ids = (fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?);
            is_it.then_some(ids)
        });
        let Some((uid, gid)) = found else {
            bail!(
                "PostgreSQL does not run as root and there is no user {name:?} to run it as: \
                 install a packaged server (Debian: apt-get install postgresql-15), name another \
                 user, or do not start the emulator as root"
            );
        };
        Ok(Self::Other {
            name: name.to_owned(),
            uid,
            gid,
        })
    }

    /// A command that runs `program` as this account and is killed by the kernel when the
    /// thread that spawned it ends, however it ends.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]);
        if let Self::Other { uid, gid, .. } = self {
            command.arg(format!("--reuid={uid}"));
            command.arg(format!("--regid={gid}")).arg("--init-groups");
        }
        command.arg("--").arg(program);
        command
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("LC_ALL", "C.UTF-8");
        command
    }

    /// Makes a folder that only this account (and root) can enter.
    pub(crate) fn create_private_dir(&self, dir: &Path) -> anyhow::Result<()> {
        fs::DirBuilder::new()
            .mode(0o700)
            .recursive(true)
            .create(dir)
            .and_then(|()| fs::set_permissions(dir, fs::Permissions::from_mode(0o700)))
            .with_context(|| format!("cannot create {}", dir.display()))?;
        self.give(dir)
    }

    /// Makes the account the owner of a path.
    pub(crate) fn give(&self, path: &Path) -> anyhow::Result<()> {
        match self {
            Self::Myself => Ok(()),
            Self::Other { uid, gid, .. } => chown(path, Some(*uid), Some(*gid))
                .with_context(|| format!("cannot give {} to PostgreSQL's user", path.display())),
        }
    }

    /// Fails where the account cannot enter a folder, for instance one below root's home.
    pub(crate) fn check_reach(&self, dir: &Path) -> anyhow::Result<()> {
        let Self::Other { name, .. } = self else {
            return Ok(());
        };
        let reachable = self
            .command(Path::new("/bin/sh"))
            .args(["-c", "cd \"$0\""])
            .arg(dir)
            .stderr(std::process::Stdio::null())
            .status()
            .context("cannot run setpriv (Debian package util-linux)")?;
        if !reachable.success() {
            bail!(
                "PostgreSQL runs as user {name:?}, who cannot enter {}: choose a data folder whose \
                 parents everybody may enter (below /var/tmp, for instance)",
                dir.display()
            );
        }
        Ok(())
    }
}
