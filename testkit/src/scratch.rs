//! Temporary folders that disappear with the process, whichever way it ends.
//!
//! A test binary ends without running the destructors of its statics, and shared servers are
//! statics. So a small shell waits for the other end of its pipe to close and removes the folder
//! then. Used by everything here that starts a server.

use std::{
    fs,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::Context;

/// Waits for end of file, then removes its argument; again while dying servers still write to it.
const REMOVE_AT_END: &str = r#"cat >/dev/null; for _ in 1 2 3 4 5 6 7 8 9 10; do rm -rf -- "$1" 2>/dev/null && exit 0; sleep 0.2; done; exit 1"#;

/// A folder with mode 0700 that is removed when this value is dropped or the process ends.
#[derive(Debug)]
pub(crate) struct ScratchDir {
    path: PathBuf,
    remover: Child,
}

impl ScratchDir {
    /// Makes an empty folder whose name begins with `sepulki-<purpose>-`.
    pub(crate) fn new(purpose: &str) -> anyhow::Result<Self> {
        let path = tempfile::Builder::new()
            .prefix(&format!("sepulki-{purpose}-"))
            .tempdir()
            .context("make a temporary folder")?
            .keep();
        Self::adopt(path)
    }

    /// The same with mode 0711, for programs that run as another user.
    pub(crate) fn open_to_all(purpose: &str) -> anyhow::Result<Self> {
        let dir = Self::new(purpose)?;
        fs::set_permissions(&dir.path, fs::Permissions::from_mode(0o711))
            .context("open a temporary folder")?;
        Ok(dir)
    }

    /// Takes charge of an existing folder.
    pub(crate) fn adopt(path: PathBuf) -> anyhow::Result<Self> {
        let remover = Command::new("sh")
            .args(["-c", REMOVE_AT_END, "remove-at-end"])
            .arg(&path)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Its own group: Ctrl-C at the terminal must not end it before its work.
            .process_group(0)
            .spawn()
            .context("start the shell that removes the temporary folder")?;
        Ok(Self { path, remover })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for ScratchDir {
    fn drop(&mut self) {
        drop(self.remover.stdin.take());
        // Nothing useful can be done about a folder that cannot be removed.
        let _ = self.remover.wait();
    }
}
