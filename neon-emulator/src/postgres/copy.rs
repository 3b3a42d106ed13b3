//! Copies a data directory, of a server that runs or of one that does not.
//!
//! Blocks; callers run it off the runtime. Where the file system can share blocks (XFS, btrfs)
//! the kernel does so by itself in `copy_file_range`, which `std::fs::copy` uses.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink},
    path::Path,
};

/// Folders that exist in a copy but start empty: their contents belong to the running server
/// that was copied, not to its data.
const EMPTIED: [&str; 7] = [
    "pg_replslot",
    "pg_dynshmem",
    "pg_notify",
    "pg_serial",
    "pg_snapshots",
    "pg_stat_tmp",
    "pg_subtrans",
];

/// The write-ahead log's folder.
pub(crate) const WAL: &str = "pg_wal";

/// What is copied of a data directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// A server at rest: everything.
    All,
    /// A running server between the start and the stop of a backup: all but the log.
    AllButWal,
}

/// Copies `from` to `to`, which must not exist. Files that vanish meanwhile are left out, as a
/// running server removes files at any time and its log tells the copy about it.
pub(crate) fn data_directory(from: &Path, to: &Path, part: Part) -> io::Result<()> {
    make_dir_like(from, to)?;
    for entry in fs::read_dir(from)? {
        let name = entry?.file_name();
        let text = name.to_string_lossy();
        let (source, target) = (from.join(&name), to.join(&name));
        if text.starts_with("postmaster.") {
            continue;
        }
        let emptied = EMPTIED.contains(&&*text) || (part == Part::AllButWal && text == WAL);
        if emptied {
            make_dir_like(&source, &target)?;
        } else {
            tolerate_vanished(copy_tree(&source, &target))?;
        }
    }
    Ok(())
}

/// Copies the log of a running server into a copy made with [`Part::AllButWal`].
pub(crate) fn write_ahead_log(from: &Path, to: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from.join(WAL))? {
        let name = entry?.file_name();
        tolerate_vanished(copy_tree(
            &from.join(WAL).join(&name),
            &to.join(WAL).join(&name),
        ))?;
    }
    Ok(())
}

fn copy_tree(from: &Path, to: &Path) -> io::Result<()> {
    let metadata = fs::symlink_metadata(from)?;
    if metadata.is_dir() {
        make_dir_like(from, to)?;
        for entry in fs::read_dir(from)? {
            let name = entry?.file_name();
            tolerate_vanished(copy_tree(&from.join(&name), &to.join(&name)))?;
        }
    } else if metadata.is_symlink() {
        symlink(fs::read_link(from)?, to)?;
    } else if metadata.is_file() {
        fs::copy(from, to)?;
        chown(to, Some(metadata.uid()), Some(metadata.gid()))?;
    }
    Ok(())
}

fn make_dir_like(from: &Path, to: &Path) -> io::Result<()> {
    let metadata = fs::metadata(from)?;
    fs::create_dir(to)?;
    fs::set_permissions(to, fs::Permissions::from_mode(metadata.mode() & 0o7777))?;
    chown(to, Some(metadata.uid()), Some(metadata.gid()))
}

fn tolerate_vanished(result: io::Result<()>) -> io::Result<()> {
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

        data_directory(&from, &to, Part::AllButWal).unwrap();
        assert_eq!(fs::read(to.join("base/5/112")).unwrap(), b"rows");
        assert_eq!(
            fs::metadata(to.join("base/5/112")).unwrap().mode() & 0o777,
            0o600
        );
        assert!(!to.join("postmaster.pid").exists());
        assert!(!to.join("pg_replslot/old").exists());
        assert_eq!(fs::read_dir(to.join(WAL)).unwrap().count(), 0);

        write_ahead_log(&from, &to).unwrap();
        assert!(to.join("pg_wal/000000010000000000000001").exists());
    }
}
