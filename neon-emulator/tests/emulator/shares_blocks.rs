//! A file system that can share blocks, wherever the tests run.

use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

/// An XFS of its own, unmounted when dropped. To mount one takes root, or sudo without a password.
pub(crate) struct SharesBlocks {
    pub(crate) mounted: PathBuf,
    _folder: TempDir,
}

impl SharesBlocks {
    /// One of so many bytes in a sparse file; the error says what is missing.
    pub(crate) fn make(size: u64) -> Result<Self, String> {
        let open = std::fs::Permissions::from_mode(0o755);
        let folder = tempfile::Builder::new()
            .permissions(open)
            .tempdir()
            .unwrap();
        let (image, mounted) = (folder.path().join("image"), folder.path().join("mounted"));
        std::fs::File::create(&image)
            .unwrap()
            .set_len(size)
            .unwrap();
        std::fs::create_dir(&mounted).unwrap();
        as_root(&["mkfs.xfs", "-q", "-m", "reflink=1"], &[&image])?;
        let mount = ["mount", "-t", "xfs", "-o", "loop"];
        as_root(&mount, &[&image, &mounted])?;
        let made = Self {
            mounted,
            _folder: folder,
        };
        as_root(&["chmod", "0777"], &[&made.mounted])?;
        Ok(made)
    }
}

impl Drop for SharesBlocks {
    fn drop(&mut self) {
        // Lazily: a server that is still ending may have it open.
        as_root(&["umount", "--lazy"], &[&self.mounted]).ok();
    }
}

/// Runs a command of the system's with these paths behind it, and returns what it prints.
pub(crate) fn as_root(command: &[&str], paths: &[&Path]) -> Result<String, String> {
    let script = r#"PATH=$PATH:/usr/sbin:/sbin
        if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -n "$@"; fi"#;
    let mut line = Command::new("sh");
    line.args(["-c", script, "sh"]).args(command).args(paths);
    let output = line.output().map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!(
        "needs root, loop devices and the package xfsprogs: {command:?}: {said}"
    ))
}
