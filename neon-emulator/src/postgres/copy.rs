//! Copies a data directory, of a server that runs or of one that does not.
//!
//! Blocks; callers run it off the runtime. Where the file system can share blocks (XFS, btrfs),
//! files are cloned, so that size does not matter.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, chown, symlink},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use super::history::WAL;

/// Folders that exist in a copy but start empty: their contents belong to the running server
/// that was copied, not to its data. The log is copied apart, as far as it is needed.
const EMPTIED: [&str; 8] = [
    "pg_replslot",
    "pg_dynshmem",
    "pg_notify",
    "pg_serial",
    "pg_snapshots",
    "pg_stat_tmp",
    "pg_subtrans",
    WAL,
];

/// Copies, and counts which files it could clone. Its clones count together.
#[derive(Clone, Default)]
pub(crate) struct Copier(Arc<Counts>);

#[derive(Default)]
struct Counts {
    cloned: AtomicU64,
    copied: AtomicU64,
}

impl Copier {
    /// How many files were cloned.
    pub(crate) fn cloned(&self) -> u64 {
        self.0.cloned.load(Ordering::Relaxed)
    }

    /// How many files were copied byte by byte.
    pub(crate) fn copied(&self) -> u64 {
        self.0.copied.load(Ordering::Relaxed)
    }

    /// Copies `from` without its write-ahead log to `to`, which must not exist. Files that vanish
    /// meanwhile are left out, as a running server removes files at any time and its log tells the
    /// copy about it.
    pub(crate) fn without_log(&self, from: &Path, to: &Path) -> io::Result<()> {
        make_dir_like(from, to)?;
        for entry in fs::read_dir(from)? {
            let name = entry?.file_name();
            let text = name.to_string_lossy();
            let (source, target) = (from.join(&name), to.join(&name));
            if text.starts_with("postmaster.") {
                continue;
            }
            if EMPTIED.contains(&&*text) {
                make_dir_like(&source, &target)?;
            } else {
                tolerate_vanished(self.tree(&source, &target))?;
            }
        }
        Ok(())
    }

    /// Copies a file, or a folder with all that is in it.
    pub(crate) fn tree(&self, from: &Path, to: &Path) -> io::Result<()> {
        let metadata = fs::symlink_metadata(from)?;
        if metadata.is_dir() {
            make_dir_like(from, to)?;
            for entry in fs::read_dir(from)? {
                let name = entry?.file_name();
                tolerate_vanished(self.tree(&from.join(&name), &to.join(&name)))?;
            }
        } else if metadata.is_symlink() {
            symlink(fs::read_link(from)?, to)?;
        } else if metadata.is_file() {
            self.file(from, to, metadata.mode())?;
            chown(to, Some(metadata.uid()), Some(metadata.gid()))?;
        }
        Ok(())
    }

    /// Clones a file, or copies it where the file system cannot clone.
    fn file(&self, from: &Path, to: &Path, mode: u32) -> io::Result<()> {
        let mut source = fs::File::open(from)?;
        let mut target = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode & 0o7777)
            .open(to)?;
        let count = if rustix::fs::ioctl_ficlone(&target, &source).is_ok() {
            &self.0.cloned
        } else {
            io::copy(&mut source, &mut target)?;
            &self.0.copied
        };
        count.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

fn make_dir_like(from: &Path, to: &Path) -> io::Result<()> {
    let metadata = fs::metadata(from)?;
    fs::create_dir(to)?;
    fs::set_permissions(to, fs::Permissions::from_mode(metadata.mode() & 0o7777))?;
    chown(to, Some(metadata.uid()), Some(metadata.gid()))
}

/// How many bytes the files in a folder have, and in the folders in it.
pub(crate) fn size(folder: &Path) -> io::Result<u64> {
    let mut size = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        size += match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => self::size(&entry.path())?,
            Ok(metadata) => metadata.len(),
            // A running server removes files at any time.
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(error),
        };
    }
    Ok(size)
}

/// Nothing is missing where what was to be copied is gone by then.
pub(crate) fn tolerate_vanished(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaves_out_what_belongs_to_the_process_and_keeps_modes() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("a"), dir.path().join("b"));
        for folder in ["base/5", "pg_wal/archive_status", "pg_replslot/old"] {
            fs::create_dir_all(from.join(folder)).unwrap();
        }
        fs::write(from.join("base/5/112"), "rows").unwrap();
        fs::set_permissions(from.join("base/5/112"), fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(from.join("pg_wal/000000010000000000000001"), "log").unwrap();
        fs::write(from.join("postmaster.pid"), "1").unwrap();

        let copier = Copier::default();
        copier.without_log(&from, &to).unwrap();
        assert_eq!(copier.cloned() + copier.copied(), 1);
        assert_eq!(fs::read(to.join("base/5/112")).unwrap(), b"rows");
        assert_eq!(
            fs::metadata(to.join("base/5/112")).unwrap().mode() & 0o777,
            0o600
        );
        assert!(!to.join("postmaster.pid").exists());
        assert!(!to.join("pg_replslot/old").exists());
        assert_eq!(fs::read_dir(to.join(WAL)).unwrap().count(), 0);
    }
}
