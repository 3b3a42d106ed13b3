//! The history of a data directory: its write-ahead log, which no server here ever removes.
//!
//! A new cluster starts from the template; what its servers wrote since is the log in its
//! `pg_wal`. A copy takes along only the log that it needs to start, so the history before it is
//! its parent's. The logs of a line of descent, put together, lead from the template to any moment.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::copy::{self, Copier};

/// The write-ahead log's folder.
pub(crate) const WAL: &str = "pg_wal";

/// Segments of 4 MB instead of 16 MB: a young branch is half as large to copy.
pub(crate) const SEGMENT_MB: u64 = 4;

/// What `pg_control` says of the last checkpoint: where its record starts the redo. The first 48
/// bytes have had this form in all versions that are served.
const REDO_IN_CONTROL: std::ops::Range<usize> = 40..48;

/// A point of a branch's history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Moment {
    /// After the last transaction that committed at this time or before.
    Time(Timestamp),
    /// After everything that the log holds before this position.
    Lsn(Lsn),
}

/// A position in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Lsn(pub(crate) u64);

impl Lsn {
    /// Reads `16/B374D848`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (high, low) = text.split_once('/')?;
        let number = |digits: &str| {
            let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
            u32::from_str_radix(digits, 16).ok().filter(|_| plain)
        };
        Some(Self(
            (u64::from(number(high)?) << 32) | u64::from(number(low)?),
        ))
    }

    /// The part of a segment's name that tells its place.
    fn segment(self) -> u64 {
        // Names count segments within 4 GB in their last eight digits.
        let (high, low) = (self.0 >> 32, self.0 & 0xffff_ffff);
        (high << 32) | (low / (SEGMENT_MB << 20))
    }
}

impl std::fmt::Display for Lsn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xffff_ffff)
    }
}

/// A file of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LogFile {
    Segment(u64),
    /// How a timeline of PostgreSQL branched off; small, always wanted.
    TimelineHistory,
}

impl LogFile {
    fn named(name: &str) -> Option<Self> {
        if name.ends_with(".history") {
            return Some(Self::TimelineHistory);
        }
        let place = name.get(8..).filter(|_| name.len() == 24)?;
        u64::from_str_radix(place, 16).ok().map(Self::Segment)
    }
}

/// The log that a copy of `data` needs to start: from the redo of its last checkpoint on.
/// `label` is that of a backup, which needs more.
pub(crate) fn first_needed(data: &Path, label: Option<&str>) -> anyhow::Result<u64> {
    let redo = if let Some(label) = label {
        label
            .strip_prefix("START WAL LOCATION: ")
            .and_then(|rest| Lsn::parse(rest.split(' ').next()?))
    } else {
        let control = fs::read(data.join("global/pg_control"))?;
        let redo = control
            .get(REDO_IN_CONTROL)
            .and_then(|bytes| bytes.try_into().ok());
        redo.map(|bytes| Lsn(u64::from_ne_bytes(bytes)))
    };
    redo.map(Lsn::segment)
        .context("the start of the log is not known")
}

/// Copies the log of `from` from the segment `first` on into the empty log of `to`.
pub(crate) fn copy_log(copier: &Copier, from: &Path, to: &Path, first: u64) -> io::Result<()> {
    for (name, file) in log_files(from)? {
        let wanted = match file {
            LogFile::Segment(place) => place >= first,
            LogFile::TimelineHistory => true,
        };
        if wanted {
            copy::tolerate_vanished(
                copier.tree(&from.join(WAL).join(&name), &to.join(WAL).join(&name)),
            )?;
        }
    }
    Ok(())
}

/// Puts the logs of a line of descent together in the empty log of `to`, a copy of the template.
/// `lineage` holds data directories, the oldest first; servers may be writing to them.
pub(crate) fn gather(copier: &Copier, lineage: &[PathBuf], to: &Path) -> anyhow::Result<()> {
    for (name, path) in whole(lineage)? {
        copier.tree(&path, &to.join(WAL).join(name))?;
    }
    Ok(())
}

/// Puts the log that leads to that of `data` before it, from a line of descent, so that it has its history by itself.
pub(crate) fn complete(copier: &Copier, lineage: &[PathBuf], data: &Path) -> anyhow::Result<()> {
    let with_it: Vec<PathBuf> = lineage
        .iter()
        .cloned()
        .chain([data.to_path_buf()])
        .collect();
    for (name, path) in whole(&with_it)? {
        if !path.starts_with(data) {
            copier.tree(&path, &data.join(WAL).join(name))?;
        }
    }
    Ok(())
}

/// The files that make up the log of a line of descent, by name.
fn whole(lineage: &[PathBuf]) -> anyhow::Result<BTreeMap<String, PathBuf>> {
    let mut whole: BTreeMap<String, PathBuf> = BTreeMap::new();
    for data in lineage {
        let own = log_files(data).with_context(|| data.display().to_string())?;
        let Some(first) = own.iter().filter_map(|(_, file)| place(*file)).min() else {
            bail!("{} has no write-ahead log", data.display());
        };
        // From where it has a log of its own, that of its parent tells of something else.
        whole.retain(|name, _| {
            LogFile::named(name)
                .and_then(place)
                .is_none_or(|place| place < first)
        });
        whole.extend(own.into_iter().map(|(name, _)| {
            let path = data.join(WAL).join(&name);
            (name, path)
        }));
    }
    Ok(whole)
}

/// Where a replay has ended: PostgreSQL starts a timeline of its own there and notes it.
pub(crate) fn end_of_replay(data: &Path) -> anyhow::Result<Lsn> {
    let newest = log_files(data)?
        .into_iter()
        .filter_map(|(name, file)| (file == LogFile::TimelineHistory).then_some(name))
        .max();
    let newest = newest.context("the replay has left no timeline history")?;
    let text = fs::read_to_string(data.join(WAL).join(newest))?;
    let last = text.lines().rev().find(|line| !line.trim().is_empty());
    let switched = last
        .and_then(|line| line.split_whitespace().nth(1))
        .and_then(Lsn::parse);
    switched.context("the timeline history does not tell where the replay has ended")
}

fn place(file: LogFile) -> Option<u64> {
    match file {
        LogFile::Segment(place) => Some(place),
        LogFile::TimelineHistory => None,
    }
}

fn log_files(data: &Path) -> io::Result<Vec<(String, LogFile)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(data.join(WAL))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        files.extend(LogFile::named(&name).map(|file| (name, file)));
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_read_and_written_as_postgresql_does() {
        let lsn = Lsn::parse("16/B374D848").unwrap();
        assert_eq!(lsn.to_string(), "16/B374D848");
        assert_eq!(Lsn::parse("0/1").unwrap(), Lsn(1));
        for bad in ["", "1", "/1", "0/", "0/x", "0/123456789", "+1/1", "0/1/2"] {
            assert_eq!(Lsn::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_segment_is_named_by_its_place() {
        assert_eq!(Lsn::parse("0/400000").unwrap().segment(), 1);
        assert_eq!(
            Some(LogFile::Segment(Lsn::parse("2/3FFFFFF").unwrap().segment())),
            LogFile::named("00000001000000020000000F")
        );
        assert_eq!(
            LogFile::named("00000002.history"),
            Some(LogFile::TimelineHistory)
        );
        assert_eq!(LogFile::named("archive_status"), None);
    }

    fn data(dir: &Path, name: &str, segments: &[(&str, &str)]) -> PathBuf {
        let data = dir.join(name);
        fs::create_dir_all(data.join(WAL).join("archive_status")).unwrap();
        for (segment, text) in segments {
            fs::write(data.join(WAL).join(segment), text).unwrap();
        }
        data
    }

    #[test]
    fn from_its_first_segment_on_a_childs_own_log_counts() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two, three) = (
            "000000010000000000000001",
            "000000010000000000000002",
            "000000010000000000000003",
        );
        let parent = data(
            dir.path(),
            "parent",
            &[(one, "p1"), (two, "p2"), (three, "p3")],
        );
        let child = data(
            dir.path(),
            "child",
            &[(two, "c2"), ("00000002.history", "h")],
        );
        let to = data(dir.path(), "to", &[]);
        gather(&Copier::default(), &[parent, child], &to).unwrap();
        let read = |name: &str| fs::read_to_string(to.join(WAL).join(name)).ok();
        assert_eq!(read(one).as_deref(), Some("p1"));
        assert_eq!(read(two).as_deref(), Some("c2"));
        assert_eq!(read(three), None);
        assert_eq!(read("00000002.history").as_deref(), Some("h"));
    }
}
