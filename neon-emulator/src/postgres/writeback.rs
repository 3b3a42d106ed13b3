//! Sends what servers write to the disk soon, for the sake of clones.
//!
//! A file system that shares blocks shares those on disk only: to clone a file it first writes what of it is in
//! memory alone, and everybody waits. After a bulk load that is the whole load, because servers
//! without `fsync` leave the writing to the kernel, which takes half a minute to begin.
//!
//! Blocks where the disk has more to do than it can take; callers run it off the runtime.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use rustix::fs::{Advice, fadvise};

use super::{copy::tolerate_vanished, history::WAL};

/// How coarse the times of files may be.
const GRAIN: Duration = Duration::from_millis(20);

/// What was seen of the data directories of running servers at the last look.
#[derive(Default)]
pub(crate) struct Writeback(BTreeMap<PathBuf, Seen>);

#[derive(Clone, Copy)]
struct Seen {
    /// When the look began.
    at: SystemTime,
    /// When the last segment had been added to the log.
    log_grew: SystemTime,
}

impl Writeback {
    /// Looks at these data directories, and has the kernel begin to write what was changed since the last look
    /// where the log has got another segment in between. Those that are not named are forgotten.
    pub(crate) fn look(&mut self, directories: &[PathBuf]) {
        let before = std::mem::take(&mut self.0);
        for data in directories {
            let seen = look_at(data, before.get(data));
            match seen {
                Ok(seen) => drop(self.0.insert(data.clone(), seen)),
                // A branch may go at any time; nothing but speed depends on this.
                Err(error) => tracing::debug!(data = %data.display(), %error, "not written ahead"),
            }
        }
    }
}

fn look_at(data: &Path, before: Option<&Seen>) -> io::Result<Seen> {
    let seen = Seen {
        at: SystemTime::now(),
        log_grew: fs::metadata(data.join(WAL))?.modified()?,
    };
    let Some(before) = before else {
        return Ok(seen);
    };
    if before.log_grew == seen.log_grew {
        return Ok(Seen {
            at: before.at,
            ..seen
        });
    }
    for database in fs::read_dir(data.join("base"))? {
        tolerate_vanished(begin_in(&database?.path(), before.at - GRAIN))?;
    }
    Ok(seen)
}

/// Has the kernel begin to write the files of a folder that were changed since.
fn begin_in(folder: &Path, since: SystemTime) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        tolerate_vanished(begin(&entry, since))?;
    }
    Ok(())
}

fn begin(entry: &fs::DirEntry, since: SystemTime) -> io::Result<()> {
    let metadata = entry.metadata()?;
    if metadata.is_file() && metadata.modified()? >= since {
        // Linux begins to write what is dirty, and drops what is not; PostgreSQL's own way where it has no better.
        fadvise(fs::File::open(entry.path())?, 0, None, Advice::DontNeed)?;
    }
    Ok(())
}
