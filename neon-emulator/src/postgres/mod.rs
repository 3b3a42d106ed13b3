//! Real PostgreSQL servers: finding the programs, data directories, processes, SQL. Knows
//! nothing of Neon's API.

mod account;
pub(crate) mod bouncer;
mod copy;
pub(crate) mod dump;
pub(crate) mod history;
mod install;
mod launcher;
pub(crate) mod recovery;
pub(crate) mod server;
pub(crate) mod sql;
mod template;
pub(crate) mod writeback;

use std::{
    fs,
    io::ErrorKind,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use futures::future::BoxFuture;
use sqlx::{Connection, PgConnection};
use tokio::task::spawn_blocking;

use self::{
    account::Account,
    copy::Copier,
    history::Moment,
    install::Install,
    launcher::Launcher,
    server::{Server, Socket, Stop},
    template::Template,
};

/// The programs, the account and the folders that all servers of an emulator share.
pub(crate) struct Postgres {
    install: Install,
    account: Account,
    launcher: Launcher,
    template: Template,
    copier: Copier,
    timelines: PathBuf,
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
        let timelines = data_dir.join("branches");
        let install = Install::find(bin, kept_major(&timelines))?;
        let account = Account::choose(user)?;
        for dir in [data_dir, &timelines, sockets] {
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
            copier: Copier::default(),
            timelines,
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

    /// What has copied all data here, for its counts.
    pub(crate) fn copier(&self) -> &Copier {
        &self.copier
    }

    /// The data directory of a timeline.
    pub(crate) fn data(&self, timeline: &str) -> PathBuf {
        self.timelines.join(timeline).join("data")
    }

    /// The folder of a server's socket; `name` is the endpoint's id.
    pub(crate) fn socket_dir(&self, name: &str) -> PathBuf {
        self.sockets.join(name)
    }

    /// Makes a project's first data directory.
    pub(crate) async fn init(&self, timeline: &str) -> anyhow::Result<()> {
        let template = self.template.data(self).await?;
        self.copy_resting(&template, timeline).await
    }

    /// Makes the template ahead of the first project.
    pub(crate) async fn warm_up(&self) -> anyhow::Result<()> {
        self.template.data(self).await.map(drop)
    }

    /// Copies a data directory on which no server runs.
    pub(crate) async fn copy_resting(&self, from: &Path, timeline: &str) -> anyhow::Result<()> {
        let partial = self.partial(timeline)?;
        let (from, to) = (from.to_path_buf(), partial.join("data"));
        let copier = self.copier.clone();
        spawn_blocking(move || {
            copier.without_log(&from, &to)?;
            let first = history::first_needed(&from, None)?;
            anyhow::Ok(history::copy_log(&copier, &from, &to, first)?)
        })
        .await??;
        self.finish(&partial, timeline)
    }

    /// Copies the data directory of a running server, consistently: what is committed when the
    /// copy ends is in it.
    pub(crate) async fn copy_running(
        &self,
        from: &Path,
        socket: &Socket,
        timeline: &str,
    ) -> anyhow::Result<()> {
        let partial = self.partial(timeline)?;
        let mut session = socket.connect(server::MAINTENANCE_DB).await?;
        let copied = self.backup(&mut session, from, &partial.join("data")).await;
        // Ends the backup where it did not get that far.
        session.close().await.ok();
        copied.context("copying a running server")?;
        self.finish(&partial, timeline)
    }

    async fn backup(
        &self,
        session: &mut PgConnection,
        from: &Path,
        to: &Path,
    ) -> anyhow::Result<()> {
        sql::start_backup(session).await?;
        let (source, target) = (from.to_path_buf(), to.to_path_buf());
        let copier = self.copier.clone();
        spawn_blocking(move || copier.without_log(&source, &target)).await??;
        let label = sql::stop_backup(session).await?;
        let first = history::first_needed(from, Some(&label))?;
        let label_file = to.join("backup_label");
        fs::write(&label_file, label)?;
        self.account.give(&label_file)?;
        let (source, target) = (from.to_path_buf(), to.to_path_buf());
        let copier = self.copier.clone();
        spawn_blocking(move || history::copy_log(&copier, &source, &target, first)).await??;
        Ok(())
    }

    /// Makes a data directory as another one was at a moment, from the logs of its line of
    /// descent (timelines, the oldest first); the servers there are not disturbed. `then` uses
    /// the server that has replayed them.
    pub(crate) async fn replay<T>(
        &self,
        lineage: &[String],
        moment: &Moment,
        timeline: &str,
        then: impl FnOnce(Socket, PgConnection) -> BoxFuture<'static, anyhow::Result<T>>,
    ) -> anyhow::Result<T> {
        let partial = self.partial(timeline)?;
        let data = partial.join("data");
        let (template, to) = (self.template.data(self).await?, data.clone());
        let lineage: Vec<PathBuf> = lineage.iter().map(|id| self.data(id)).collect();
        let copier = self.copier.clone();
        spawn_blocking(move || {
            copier.without_log(&template, &to)?;
            history::gather(&copier, &lineage, &to)
        })
        .await??;
        let signal = data.join("recovery.signal");
        fs::write(&signal, "")?;
        self.account.give(&signal)?;
        let (server, session) = self.recover(&data, moment, timeline).await?;
        let done = then(server.socket().clone(), session).await;
        server.stop(Stop::Fast).await;
        let done = done?;
        self.finish(&partial, timeline)?;
        Ok(done)
    }

    /// Starts a server that replays its log up to a moment, or to its end if that comes before.
    async fn recover(
        &self,
        data: &Path,
        moment: &Moment,
        name: &str,
    ) -> anyhow::Result<(Server, PgConnection)> {
        let mut settings = recovery::to_the_end();
        settings.extend(recovery::target(moment));
        let socket_dir = self.socket_dir(name);
        match Server::start(self, data, &socket_dir, &settings).await {
            Err(error) if recovery::has_nothing_later(&error) => {}
            other => return other,
        }
        let started = Server::start(self, data, &socket_dir, &recovery::to_the_end()).await?;
        if let Moment::Lsn(lsn) = moment
            && history::end_of_replay(data)? < *lsn
        {
            bail!("the branch has not reached LSN {lsn}");
        }
        Ok(started)
    }

    /// Gives a timeline's data, on which no server runs, the history of the line of descent from which it was copied.
    pub(crate) async fn complete(&self, lineage: &[String], timeline: &str) -> anyhow::Result<()> {
        let lineage: Vec<PathBuf> = lineage.iter().map(|id| self.data(id)).collect();
        let data = self.data(timeline);
        let copier = self.copier.clone();
        spawn_blocking(move || history::complete(&copier, &lineage, &data)).await?
    }

    /// How many bytes the databases of a timeline's data have.
    pub(crate) async fn size(&self, timeline: &str) -> anyhow::Result<u64> {
        let databases = self.data(timeline).join("base");
        spawn_blocking(move || Ok(copy::size(&databases)?)).await?
    }

    /// Makes a server on a timeline's data follow another one.
    pub(crate) fn make_standby(&self, timeline: &str) -> anyhow::Result<()> {
        let signal = self.data(timeline).join("standby.signal");
        fs::write(&signal, "")?;
        self.account.give(&signal)
    }

    /// A fresh folder for a timeline that is being made.
    fn partial(&self, timeline: &str) -> anyhow::Result<PathBuf> {
        let partial = self.timelines.join(format!("{timeline}.partial"));
        for leftover in [&partial, &self.timelines.join(timeline)] {
            remove_if_there(leftover)?;
        }
        self.account.create_private_dir(&partial)?;
        Ok(partial)
    }

    fn finish(&self, partial: &Path, timeline: &str) -> anyhow::Result<()> {
        fs::rename(partial, self.timelines.join(timeline))?;
        Ok(())
    }

    /// Removes a timeline's data; fine if there is none.
    pub(crate) async fn remove(&self, timeline: &str) -> anyhow::Result<()> {
        let dir = self.timelines.join(timeline);
        spawn_blocking(move || remove_if_there(&dir)).await?
    }

    /// The timelines that have data, half-made ones included (with their suffix).
    pub(crate) fn stored_timelines(&self) -> anyhow::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.timelines)? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        Ok(names)
    }
}

/// The major of the data that an earlier run has left, as PostgreSQL marks it.
fn kept_major(timelines: &Path) -> Option<u32> {
    let mut entries = fs::read_dir(timelines).ok()?.flatten();
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
