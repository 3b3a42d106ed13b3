//! The data directory that new projects start from: made once per data folder by `initdb`, with
//! Neon's group role in it.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, bail};
use tokio::{sync::Mutex, time::sleep};

use super::{
    Postgres,
    history::SEGMENT_MB,
    server::{SUPERUSER, Server, Stop},
    sql,
};

/// Who reaches the socket is trusted; sessions of standbys are not among "all".
const HBA: &str = "local all all trust\nlocal replication all trust\n";

/// Makes the template on first use.
pub(crate) struct Template {
    dir: PathBuf,
    made: Mutex<bool>,
}

impl Template {
    /// `dir` is the template's own; it may already exist from an earlier run.
    pub(crate) fn new(dir: PathBuf) -> Self {
        let made = dir.join("data").exists();
        Self {
            dir,
            made: Mutex::new(made),
        }
    }

    /// The template's data directory, at rest. The first caller waits for `initdb`.
    pub(crate) async fn data(&self, postgres: &Postgres) -> anyhow::Result<PathBuf> {
        let mut made = self.made.lock().await;
        if !*made {
            self.make(postgres)
                .await
                .context("cannot make the template data directory")?;
            *made = true;
        }
        Ok(self.dir.join("data"))
    }

    async fn make(&self, postgres: &Postgres) -> anyhow::Result<()> {
        let partial = self.dir.with_extension("partial");
        if partial.exists() {
            fs::remove_dir_all(&partial)?;
        }
        postgres.account.create_private_dir(&partial)?;
        let data = partial.join("data");
        init(postgres, &data).await?;
        fs::write(data.join("pg_hba.conf"), HBA)?;
        let socket_dir = postgres.sockets.join("template");
        let (server, mut session) =
            Server::start(postgres, &data, &socket_dir, &BTreeMap::new()).await?;
        let prepared = sql::prepare_cluster(&mut session).await;
        drop(session);
        server.stop(Stop::Fast).await;
        prepared?;
        fs::rename(&partial, &self.dir)?;
        Ok(())
    }
}

async fn init(postgres: &Postgres, data: &Path) -> anyhow::Result<()> {
    let log = data.with_extension("initdb.log");
    let output = fs::File::create(&log)?;
    let mut command = postgres
        .account
        .command(&postgres.install.program("initdb"));
    command
        .arg("-D")
        .arg(data)
        .args([
            "-U",
            SUPERUSER,
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--locale=C.UTF-8",
            "--no-sync",
        ])
        .arg(format!("--wal-segsize={SEGMENT_MB}"))
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output);
    let mut child = postgres.launcher.spawn(command).await?;
    loop {
        match child.try_wait()? {
            Some(status) if status.success() => return Ok(()),
            Some(_) => bail!("initdb failed: {}", fs::read_to_string(&log)?.trim()),
            None => sleep(Duration::from_millis(10)).await,
        }
    }
}
