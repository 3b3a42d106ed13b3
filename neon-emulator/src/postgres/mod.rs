//! Real PostgreSQL servers: finding the programs, data directories, processes, SQL. Knows
//! nothing of Neon's API.

mod account;
mod copy;
mod install;
mod launcher;
pub(crate) mod server;
pub(crate) mod sql;
mod template;

use std::{
    fs,
    io::ErrorKind,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use anyhow::Context;
use sqlx::{Connection, PgConnection};
use tokio::task::spawn_blocking;

use self::{
    account::Account, copy::Part, install::Install, launcher::Launcher, server::Socket,
    template::Template,
};

/// The programs, the account and the folders that all servers of an emulator share.
pub(crate) struct Postgres {
    install: Install,
    account: Account,
    launcher: Launcher,
    template: Template,
    branches: PathBuf,
    /// Short, because the path of a unix socket may have 107 bytes.
    sockets: PathBuf,
}

impl Postgres {
    /// Looks for a server (in `bin`, if given) and prepares the folders below `data_dir`.
    pub(crate) fn open(
        bin: Option<&Path>,
        user: &str,
        data_dir: &Path,
        sockets: &Path,
    ) -> anyhow::Result<Self> {
        let branches = data_dir.join("branches");
        let install = Install::find(bin, kept_major(&branches))?;
        let account = Account::choose(user)?;
        for dir in [data_dir, &branches, sockets] {
            fs::create_dir_all(dir)?;
            fs::set_permissions(dir, fs::Permissions::from_mode(0o711))?;
            account.check_reach(dir)?;
        }
        let template = Template::new(data_dir.join(format!("template-{}", install.major())));
        Ok(Self {
            install,
            account,
            launcher: Launcher::start()?,
            template,
            branches,
            sockets: sockets.to_path_buf(),
        })
    }

    pub(crate) fn major(&self) -> u32 {
        self.install.major()
    }

    /// Where the programs are.
    pub(crate) fn bin(&self) -> &Path {
        self.install.bin()
    }

    /// The data directory of a branch.
    pub(crate) fn data(&self, branch_id: &str) -> PathBuf {
        self.branches.join(branch_id).join("data")
    }

    /// The folder of a server's socket; `name` is the endpoint's id.
    pub(crate) fn socket_dir(&self, name: &str) -> PathBuf {
        self.sockets.join(name)
    }

    /// Makes a project's first data directory.
    pub(crate) async fn init(&self, branch_id: &str) -> anyhow::Result<()> {
        let template = self.template.data(self).await?;
        self.copy_resting(&template, branch_id).await
    }

    /// Makes the template ahead of the first project.
    pub(crate) async fn warm_up(&self) -> anyhow::Result<()> {
        self.template.data(self).await.map(drop)
    }

    /// Copies a data directory on which no server runs.
    pub(crate) async fn copy_resting(&self, from: &Path, branch_id: &str) -> anyhow::Result<()> {
        let partial = self.partial(branch_id)?;
        let (from, to) = (from.to_path_buf(), partial.join("data"));
        spawn_blocking(move || copy::data_directory(&from, &to, Part::All)).await??;
        self.finish(&partial, branch_id)
    }

    /// Copies the data directory of a running server, consistently: what is committed when the
    /// copy ends is in it.
    pub(crate) async fn copy_running(
        &self,
        from: &Path,
        socket: &Socket,
        branch_id: &str,
    ) -> anyhow::Result<()> {
        let partial = self.partial(branch_id)?;
        let mut session = socket.connect(server::MAINTENANCE_DB).await?;
        let copied = self.backup(&mut session, from, &partial.join("data")).await;
        // Ends the slot, and the backup where it did not get that far.
        session.close().await.ok();
        copied.context("copying a running server")?;
        self.finish(&partial, branch_id)
    }

    async fn backup(
        &self,
        session: &mut PgConnection,
        from: &Path,
        to: &Path,
    ) -> anyhow::Result<()> {
        sql::start_backup(session).await?;
        let (source, target) = (from.to_path_buf(), to.to_path_buf());
        spawn_blocking(move || copy::data_directory(&source, &target, Part::AllButWal)).await??;
        let label = sql::stop_backup(session).await?;
        let label_file = to.join("backup_label");
        fs::write(&label_file, label)?;
        self.account.give(&label_file)?;
        let (source, target) = (from.to_path_buf(), to.to_path_buf());
        spawn_blocking(move || copy::write_ahead_log(&source, &target)).await??;
        Ok(())
    }

    /// A fresh folder for a branch that is being made.
    fn partial(&self, branch_id: &str) -> anyhow::Result<PathBuf> {
        let partial = self.branches.join(format!("{branch_id}.partial"));
        for leftover in [&partial, &self.branches.join(branch_id)] {
            remove_if_there(leftover)?;
        }
        self.account.create_private_dir(&partial)?;
        Ok(partial)
    }

    fn finish(&self, partial: &Path, branch_id: &str) -> anyhow::Result<()> {
        fs::rename(partial, self.branches.join(branch_id))?;
        Ok(())
    }

    /// Removes a branch's data; fine if there is none.
    pub(crate) async fn remove(&self, branch_id: &str) -> anyhow::Result<()> {
        let dir = self.branches.join(branch_id);
        spawn_blocking(move || remove_if_there(&dir)).await?
    }

    /// The branches that have data, half-made ones included (with their suffix).
    pub(crate) fn stored_branches(&self) -> anyhow::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.branches)? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        Ok(names)
    }
}

/// The major of the data that an earlier run has left, as PostgreSQL marks it.
fn kept_major(branches: &Path) -> Option<u32> {
    let mut entries = fs::read_dir(branches).ok()?.flatten();
    entries.find_map(|entry| {
        let marked = fs::read_to_string(entry.path().join("data/PG_VERSION")).ok()?;
        marked.trim().parse().ok()
    })
}

fn remove_if_there(dir: &Path) -> anyhow::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", dir.display()))
        }
        _ => Ok(()),
    }
}
