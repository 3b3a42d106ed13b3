//! The programs of a PostgreSQL server: which ones a test runs on, and where they are.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, anyhow};

use super::newest;
use crate::process::{Account, run};

/// Versions the operator supports, the newest first.
const VERSIONS: [u32; 4] = [NEWEST, 17, 16, 15];
/// The newest of them.
pub(super) const NEWEST: u32 = 18;
/// Where packages put the programs of version `{}`: Debian, Red Hat, Homebrew.
const PACKAGE_DIRS: [&str; 4] = [
    "/usr/lib/postgresql/{}/bin",
    "/usr/pgsql-{}/bin",
    "/opt/homebrew/opt/postgresql@{}/bin",
    "/usr/local/opt/postgresql@{}/bin",
];
/// Which server the tests run on: [`NEWEST_WORD`], or the folder of its programs.
const CHOICE: &str = "TEST_POSTGRES";
const NEWEST_WORD: &str = "newest";

/// The programs of one server.
#[derive(Debug, Clone)]
pub(crate) struct Programs {
    /// `postgres` and `initdb` are in it.
    pub(crate) bin_dir: PathBuf,
    /// Such as `15.18`.
    pub(super) version: String,
}

impl Programs {
    /// Those that `TEST_POSTGRES` names; none where it is not set.
    pub(crate) fn asked_for() -> anyhow::Result<Option<Self>> {
        let Some(choice) = env::var_os(CHOICE).filter(|choice| !choice.is_empty()) else {
            return Ok(None);
        };
        if choice == NEWEST_WORD {
            return Self::newest().map(Some);
        }
        let dir = PathBuf::from(choice);
        let found = Self::in_dir(&dir).with_context(|| {
            format!(
                "{CHOICE} is neither `{NEWEST_WORD}` nor a folder with `postgres` and `initdb` of version 15 to 18: {}",
                dir.display()
            )
        })?;
        Ok(Some(found))
    }

    /// The newest that are installed: where packages put them, else the first on `PATH`.
    pub(super) fn installed() -> anyhow::Result<Self> {
        let path = env::var_os("PATH").unwrap_or_default();
        let packaged = VERSIONS.into_iter().flat_map(packaged);
        packaged
            .chain(env::split_paths(&path))
            .find_map(|dir| Self::in_dir(&dir))
            .ok_or_else(|| {
                anyhow!(
                    "no PostgreSQL server of version 15 to 18 is installed: \
                     `apt-get install postgresql-15` (or 16, 17, 18), or put its `postgres` and `initdb` on PATH"
                )
            })
    }

    /// Those of the newest version: where packages put them, else from npm.
    pub(super) fn newest() -> anyhow::Result<Self> {
        let installed = packaged(NEWEST).find_map(|dir| Self::in_dir(&dir));
        if let Some(installed) = installed {
            return Ok(installed);
        }
        let dir = newest::installed()?.join("bin");
        Self::in_dir(&dir).with_context(|| {
            format!(
                "the programs in {} do not run on this machine",
                dir.display()
            )
        })
    }

    fn in_dir(dir: &Path) -> Option<Self> {
        let version = version(&dir.join("postgres"))?;
        let supported = VERSIONS.contains(&major(&version)?);
        (supported && dir.join("initdb").is_file()).then(|| Self {
            bin_dir: dir.to_owned(),
            version,
        })
    }

    /// These programs where `account` can run them: a copy inside of `dir` if they are in a folder that it may not enter,
    /// as the cache of root is.
    pub(crate) fn reachable(self, account: Option<&Account>, dir: &Path) -> anyhow::Result<Self> {
        let Some(account) = account else {
            return Ok(self);
        };
        let mut attempt = account.command(self.bin_dir.join("postgres"));
        if attempt
            .arg("--version")
            .output()
            .is_ok_and(|output| output.status.success())
        {
            return Ok(self);
        }
        let installation = self.bin_dir.parent().context("programs without a folder")?;
        let copy = dir.join("programs");
        let owner = format!("{}:{}", account.uid, account.gid);
        let what = "cannot copy PostgreSQL's programs";
        let mut copying = Command::new("cp");
        run(what, copying.arg("--recursive").args([installation, &copy]))?;
        let mut giving = Command::new("chown");
        run(what, giving.arg("--recursive").arg(owner).arg(&copy))?;
        Ok(Self {
            bin_dir: copy.join("bin"),
            ..self
        })
    }
}

fn packaged(version: u32) -> impl Iterator<Item = PathBuf> {
    PACKAGE_DIRS
        .iter()
        .map(move |dir| PathBuf::from(dir.replace("{}", &version.to_string())))
}

/// `postgres --version` prints `postgres (PostgreSQL) 15.18 (Debian …)`.
fn version(postgres: &Path) -> Option<String> {
    let output = Command::new(postgres).arg("--version").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.split_whitespace().nth(2).map(str::to_owned)
}

fn major(version: &str) -> Option<u32> {
    version.split('.').next()?.parse().ok()
}
