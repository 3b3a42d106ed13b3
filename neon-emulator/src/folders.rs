//! The folders of one emulator: its data, locked against a second emulator, and a short-named
//! one for sockets.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use tempfile::TempDir;

/// Start of the socket folder's name.
const SOCKETS_PREFIX: &str = "neon-emu-";

/// Both folders; what is temporary goes when this is dropped.
pub(crate) struct Folders {
    data: PathBuf,
    sockets: TempDir,
    /// Held, not looked at: the lock ends with the file.
    _lock: fs::File,
    _temporary: Option<TempDir>,
}

impl Folders {
    /// Opens or makes the data folder; a temporary one where none is named.
    pub(crate) fn open(data: Option<&Path>) -> anyhow::Result<Self> {
        let temporary = match data {
            Some(_) => None,
            None => Some(
                tempfile::Builder::new()
                    .prefix("neon-emulator-")
                    .tempdir()?,
            ),
        };
        let data = match (data, &temporary) {
            (Some(data), _) => data.to_path_buf(),
            (None, Some(temporary)) => temporary.path().to_path_buf(),
            (None, None) => bail!("no data folder"),
        };
        let cannot_use = || format!("cannot use the data folder {}", data.display());
        fs::create_dir_all(&data).with_context(cannot_use)?;
        let data = data.canonicalize().with_context(cannot_use)?;
        let lock = fs::File::create(data.join("lock")).with_context(cannot_use)?;
        if lock.try_lock().is_err() {
            bail!(
                "another emulator is using the data folder {}",
                data.display()
            );
        }
        let sockets = sockets(&data)?;
        Ok(Self {
            data,
            sockets,
            _lock: lock,
            _temporary: temporary,
        })
    }

    pub(crate) fn data(&self) -> &Path {
        &self.data
    }

    pub(crate) fn sockets(&self) -> &Path {
        self.sockets.path()
    }
}

/// A folder for sockets, whose path must be short. The data folder remembers it by a link, so
/// that the next emulator removes what a killed one has left.
fn sockets(data: &Path) -> anyhow::Result<TempDir> {
    let link = data.join("sockets");
    if let Ok(stale) = fs::read_link(&link) {
        let ours = stale
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with(SOCKETS_PREFIX));
        if ours && stale.exists() {
            fs::remove_dir_all(&stale).with_context(|| stale.display().to_string())?;
        }
        fs::remove_file(&link)?;
    }
    let sockets = tempfile::Builder::new().prefix(SOCKETS_PREFIX).tempdir()?;
    fs::set_permissions(sockets.path(), fs::Permissions::from_mode(0o711))?;
    symlink(sockets.path(), &link)?;
    Ok(sockets)
}
