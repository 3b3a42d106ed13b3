//! What an environment decides once and keeps while it lives: ports, the API key, where data lies.

use std::{
    env, fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use anyhow::Context;
use rustix::process::geteuid;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{private_file, process::free_port};

/// Kept as `settings.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Settings {
    pub(crate) neon_api_port: u16,
    pub(crate) neon_api_key: String,
    pub(crate) neon_pg_port: u16,
    pub(crate) operator_port: u16,
    /// The emulator's data, removed with the environment.
    pub(crate) emulator_dir: PathBuf,
}

impl Settings {
    /// Reads them, if the environment exists.
    pub(crate) fn open(run_dir: &Path) -> anyhow::Result<Option<Self>> {
        let path = file(run_dir);
        match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            result => {
                let text = result.with_context(|| format!("read {}", path.display()))?;
                serde_json::from_slice(&text)
                    .with_context(|| format!("read {}", path.display()))
                    .map(Some)
            }
        }
    }

    /// Reads them, or makes them up.
    pub(crate) fn open_or_create(run_dir: &Path) -> anyhow::Result<Self> {
        if let Some(settings) = Self::open(run_dir)? {
            return Ok(settings);
        }
        let settings = Self {
            neon_api_port: free_port()?,
            neon_api_key: format!("local-{}", Uuid::new_v4().simple()),
            neon_pg_port: free_port()?,
            operator_port: free_port()?,
            emulator_dir: emulator_dir(run_dir)?,
        };
        let text = serde_json::to_string_pretty(&settings)?;
        private_file::write(&file(run_dir), &text)?;
        Ok(settings)
    }
}

/// Removes the folder and the emulator's data.
pub(crate) fn remove(run_dir: &Path) -> anyhow::Result<()> {
    let settings = Settings::open(run_dir)?;
    let emulator_dir = settings
        .as_ref()
        .map(|settings| settings.emulator_dir.as_path());
    for dir in emulator_dir.into_iter().chain([run_dir]) {
        match fs::remove_dir_all(dir) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("remove {}", dir.display()));
            }
            _ => {}
        }
    }
    Ok(())
}

fn file(run_dir: &Path) -> PathBuf {
    run_dir.join("settings.json")
}

/// Inside the run folder, except for root: PostgreSQL then runs as another user, who cannot enter
/// it, nor anything below root's home. `/var/tmp`, because `/tmp` is often kept in memory.
fn emulator_dir(run_dir: &Path) -> anyhow::Result<PathBuf> {
    if !geteuid().is_root() {
        return Ok(run_dir.join("emulator"));
    }
    let parent = Path::new("/var/tmp");
    let parent = if parent.is_dir() {
        parent.to_owned()
    } else {
        env::temp_dir()
    };
    let dir = tempfile::Builder::new()
        .prefix("sepulki-emulator-")
        .tempdir_in(&parent)
        .with_context(|| format!("make a folder in {}", parent.display()))?
        .keep();
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o711))
        .with_context(|| format!("open {} to PostgreSQL's user", dir.display()))?;
    Ok(dir)
}
