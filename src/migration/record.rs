//! What is written down of the ledger and of a run: `applied`, `pending`, `appliedTo`, `history`, and `current` while a
//! run lasts. Pure. Derived from the ledger, never the other way round.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::place::Place;
use crate::api::{
    AppliedStatus, AppliedTo, BuildProgress, BundleStatus, CurrentStatus, HistoryEntry,
    PendingStatus, Reason, SepulkiMigrationStatus,
};
use crate::engine::run::Progress;
use crate::engine::{History, Plan};
use crate::reconcile::Notice;

/// Versions that are listed one by one.
const LISTED: usize = 20;

/// Room for those who are waited for, in characters.
const WAITING_FOR: usize = 256;

/// Room for what the server said, in bytes: that of an event.
const SAID: usize = 1_024;

/// Runs that are remembered.
const REMEMBERED: usize = 10;

/// What is known to be applied at a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    place: Place,
    files: BundleStatus,
    target: Option<String>,
    /// In the order of the files.
    applied: Vec<String>,
    pending: Vec<String>,
    last_time: Option<Timestamp>,
    /// Whether nothing is pending and nothing in the way.
    complete: bool,
}

impl Found {
    /// What the ledger says.
    #[must_use]
    pub fn read(
        place: Place,
        files: BundleStatus,
        target: Option<&str>,
        history: &History<'_>,
        plan: &Plan,
    ) -> Self {
        let last = plan.applied.last();
        let row = last.and_then(|last| history.row(last));
        Self {
            place,
            files,
            target: target.map(str::to_owned),
            applied: plan.applied.clone(),
            pending: plan.pending.iter().map(|p| p.version.clone()).collect(),
            last_time: row.and_then(|row| row.applied_at),
            complete: plan.pending.is_empty() && plan.is_runnable(),
        }
    }

    /// What a run that did not come to its end told as applied, which is committed, on top of what was read before it.
    #[must_use]
    pub fn told(
        place: Place,
        files: BundleStatus,
        (history, plan): (&History<'_>, &Plan),
        ran: &[String],
        now: Timestamp,
    ) -> Self {
        let before = Self::read(place, files, None, history, plan);
        let is_applied =
            |version: &&String| before.applied.contains(version) || ran.contains(version);
        let applied = plan.files.iter().filter(is_applied).cloned().collect();
        let mut pending = before.pending;
        pending.retain(|version| !ran.contains(version));
        Self {
            applied,
            pending,
            last_time: if ran.is_empty() {
                before.last_time
            } else {
                Some(now)
            },
            complete: false,
            ..before
        }
    }

    /// The files that were applied without being written down: by a run whose end nobody saw, because the operator was
    /// killed or the status could not be written.
    ///
    /// At a place that was never looked at these are the rows that are younger than the object and its branch; what is
    /// older was there before, or was inherited from the parent branch.
    #[must_use]
    pub fn unwritten(
        &self,
        status: &SepulkiMigrationStatus,
        created: Option<Timestamp>,
        history: &History<'_>,
    ) -> Vec<String> {
        let known = status.applied.as_ref();
        let last = known.and_then(|applied| applied.last_version.as_ref());
        let since = created.max(Some(self.place.branch.created));
        let is_unwritten = |version: &&String| match &status.applied_to {
            Some(to) if self.place.is(to) => last.is_none_or(|last| {
                let place = |version| self.applied.iter().position(|other| other == version);
                place(*version) > place(last)
            }),
            Some(_) => false,
            None => history
                .row(version)
                .is_some_and(|row| row.applied_at >= since),
        };
        self.applied.iter().filter(is_unwritten).cloned().collect()
    }

    /// Writes it down, and that these files were applied, by whoever it was.
    pub fn write(self, status: &mut SepulkiMigrationStatus, ran: &[String], by: Option<String>) {
        let last_time = self.last_time.map(whole_seconds);
        if let Some(time) = last_time.clone()
            && !ran.is_empty()
        {
            let entry = HistoryEntry {
                time,
                versions: ran.iter().take(LISTED).cloned().collect(),
                by,
                digest: self.files.digest.clone(),
            };
            status.history.insert(0, entry);
            status.history.truncate(REMEMBERED);
        }
        status.applied = Some(AppliedStatus {
            count: count(self.applied.len()),
            last_version: self.applied.last().cloned(),
            last_time,
        });
        status.pending = Some(pending(&self.pending));
        status.applied_to = Some(AppliedTo {
            branch_id: self.place.branch.id,
            incarnation: self.place.branch.incarnation,
            database: self.place.database,
            digest: self.complete.then(|| self.files.digest.clone()),
            target: self.target.filter(|_| self.complete),
        });
        status.bundle = Some(self.files);
    }
}

/// How a run stands, as it tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Run {
    before: usize,
    files: usize,
    pending: Vec<String>,
    /// What is committed.
    pub applied: Vec<String>,
    current: Option<CurrentStatus>,
    doing: String,
    /// The file that waits for locks at the moment, and for whose.
    waits: Option<(String, String)>,
    /// What the server said, a line each, and whether it warned.
    said: Vec<String>,
    warned: bool,
}

impl Run {
    /// A run of a plan over a bundle of this many files.
    #[must_use]
    pub fn of(plan: &Plan, files: usize) -> Self {
        Self {
            before: plan.applied.len(),
            files,
            pending: plan.pending.iter().map(|p| p.version.clone()).collect(),
            doing: "connecting to the database".to_owned(),
            ..Self::default()
        }
    }

    /// Takes in what the run tells.
    pub fn hear(&mut self, told: Progress, now: Timestamp) {
        if !may_come_meanwhile(&told) {
            self.waits = None;
        }
        match told {
            Progress::WaitingForRun { holder } => {
                self.doing = format!("waiting for another run on the same ledger: {holder}");
            }
            // planned before, and counted
            Progress::Planned { .. } | Progress::LockTime { .. } | Progress::GotLocks { .. } => {}
            Progress::Started {
                version,
                number,
                total,
                attempt,
            } => {
                let again = match attempt {
                    0 | 1 => String::new(),
                    more => format!(", attempt {more}"),
                };
                self.doing = format!("applying {version} ({number} of {total}{again})");
                let begun = self.current.take().filter(|c| c.version == version);
                let start_time = begun.map_or_else(|| whole_seconds(now), |c| c.start_time);
                // nothing of what an earlier part or attempt was at
                self.current = Some(CurrentStatus {
                    attempt: i32::try_from(attempt).unwrap_or(i32::MAX),
                    ..CurrentStatus::of(version, start_time)
                });
            }
            Progress::Statement {
                version,
                line,
                text,
            } => {
                self.doing = format!("{version}:{line}: {text}");
                if let Some(current) = &mut self.current {
                    current.line = i32::try_from(line).ok();
                    current.statement = Some(text);
                }
            }
            Progress::Building {
                version,
                phase,
                percent,
            } => {
                let building = BuildProgress {
                    phase: phase.clone(),
                    percent: percent.map(i32::from),
                };
                let percent = percent.map_or(String::new(), |percent| format!(" ({percent} %)"));
                self.doing = format!("{version}: {phase}{percent}");
                if let Some(current) = &mut self.current {
                    current.progress = Some(building);
                }
            }
            Progress::Said { version, notice } => {
                self.warned |= notice.is_warning;
                if self.said.len() < LISTED {
                    self.said.push(format!("{version}: {}", notice.text));
                }
            }
            Progress::WaitingForLock { version, holder } => {
                self.waits = Some((version, holder.chars().take(WAITING_FOR).collect()));
            }
            Progress::Retrying {
                version,
                reason,
                pause,
            } => {
                let seconds = pause.as_secs_f64();
                self.doing =
                    format!("{version} gave way and starts over in {seconds:.1} s: {reason}");
            }
            Progress::Applied { version } => {
                self.pending.retain(|other| *other != version);
                self.current = None;
                self.doing = format!("{version} is applied");
                self.applied.push(version);
            }
        }
    }

    /// What is going on, in words.
    #[must_use]
    pub fn doing(&self) -> String {
        match &self.waits {
            Some((version, holder)) => format!("{version} waits for locks of {holder}"),
            None => self.doing.clone(),
        }
    }

    /// The event that what the server said deserves; the rest of it is for whoever runs files by hand.
    #[must_use]
    pub fn notice(&self) -> Option<Notice> {
        let mut message = self.said.join("\n");
        message.truncate(message.floor_char_boundary(SAID));
        (!message.is_empty()).then_some(Notice {
            warning: self.warned,
            reason: Reason::ServerNotices,
            message,
        })
    }

    /// Shows the run in a status.
    pub fn show(&self, status: &mut SepulkiMigrationStatus) {
        let waiting_for = self.waits.as_ref().map(|(_, holder)| holder);
        status.current = self.current.clone().map(|current| CurrentStatus {
            waiting_for: waiting_for.cloned(),
            ..current
        });
        status.pending = Some(pending(&self.pending));
        let applied = self.before + self.applied.len();
        status.progress_text = Some(format!("{applied}/{}", self.files));
    }
}

/// Whether a file may go on waiting for locks although this is told.
fn may_come_meanwhile(told: &Progress) -> bool {
    match told {
        Progress::WaitingForLock { .. }
        | Progress::LockTime { .. }
        | Progress::Building { .. }
        | Progress::Said { .. } => true,
        Progress::WaitingForRun { .. }
        | Progress::Planned { .. }
        | Progress::Started { .. }
        | Progress::Statement { .. }
        | Progress::GotLocks { .. }
        | Progress::Retrying { .. }
        | Progress::Applied { .. } => false,
    }
}

/// The count of these files, and the first few of them.
#[must_use]
pub fn pending(versions: &[String]) -> PendingStatus {
    PendingStatus {
        count: count(versions.len()),
        versions: versions.iter().take(LISTED).cloned().collect(),
    }
}

fn count(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// As the API server keeps times, so that what is read back compares equal.
fn whole_seconds(time: Timestamp) -> Time {
    Time(Timestamp::from_second(time.as_second()).unwrap_or(time))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::engine;

    #[test]
    fn a_run_shows_its_statement_attempt_progress_and_who_is_in_its_way() {
        let version = || "002_b.sql".to_owned();
        let started = |attempt| Progress::Started {
            version: version(),
            number: 1,
            total: 1,
            attempt,
        };
        let mut run = Run::of(&Plan::default(), 2);
        let mut shown = |told: Progress| {
            run.hear(told, Timestamp::UNIX_EPOCH);
            let mut status = SepulkiMigrationStatus::default();
            run.show(&mut status);
            status.current
        };
        shown(started(1));
        let statement = Progress::Statement {
            version: version(),
            line: 7,
            text: "CREATE INDEX CONCURRENTLY i ON t (a)".to_owned(),
        };
        let current = shown(statement).unwrap();
        assert_eq!((current.line, current.attempt), (Some(7), 1));
        assert!(current.statement.unwrap().starts_with("CREATE INDEX"));
        let waiting = Progress::WaitingForLock {
            version: version(),
            holder: "psql (pid 7, idle in transaction)".to_owned(),
        };
        let waited = shown(waiting).unwrap().waiting_for.unwrap();
        assert!(waited.starts_with("psql (pid 7"), "{waited}");
        let building = Progress::Building {
            version: version(),
            phase: "building index: scanning table".to_owned(),
            percent: Some(40),
        };
        let progress = shown(building).unwrap().progress.unwrap();
        assert_eq!(progress.percent, Some(40));
        let pause = Duration::from_secs(1);
        shown(Progress::Retrying {
            version: version(),
            reason: "locks".to_owned(),
            pause,
        });
        let again = shown(started(2)).unwrap();
        assert_eq!(
            (again.attempt, again.waiting_for, again.progress),
            (2, None, None)
        );
        assert!(shown(Progress::Applied { version: version() }).is_none());
    }

    #[test]
    fn a_run_no_longer_shows_what_is_over() {
        let version = || "002_b.sql".to_owned();
        let started = |attempt| Progress::Started {
            version: version(),
            number: 1,
            total: 1,
            attempt,
        };
        let waits = || Progress::WaitingForLock {
            version: version(),
            holder: "psql (pid 7, idle in transaction)".to_owned(),
        };
        let statement = || Progress::Statement {
            version: version(),
            line: 7,
            text: "VACUUM t".to_owned(),
        };
        let retrying = || Progress::Retrying {
            version: version(),
            reason: "locks".to_owned(),
            pause: Duration::from_secs(1),
        };
        let got = || Progress::GotLocks { version: version() };
        let mut run = Run::of(&Plan::default(), 2);
        let mut shown = |told: Vec<Progress>| {
            for told in told {
                run.hear(told, Timestamp::UNIX_EPOCH);
            }
            let mut status = SepulkiMigrationStatus::default();
            run.show(&mut status);
            (status.current.unwrap(), run.doing())
        };
        shown(vec![started(1), statement(), waits()]);
        let (waiting, doing) = shown(Vec::new());
        assert!(waiting.waiting_for.is_some());
        assert_eq!(
            doing,
            "002_b.sql waits for locks of psql (pid 7, idle in transaction)"
        );
        let (goes_on, doing) = shown(vec![got()]);
        assert_eq!(
            (goes_on.waiting_for, goes_on.line, doing.as_str()),
            (None, Some(7), "002_b.sql:7: VACUUM t")
        );
        let (pauses, doing) = shown(vec![waits(), retrying()]);
        assert_eq!(pauses.waiting_for, None);
        assert!(doing.contains("starts over"), "{doing}");
        // the next part of the file is a transaction
        let (next, doing) = shown(vec![started(1)]);
        assert_eq!((next.line, next.statement), (None, None));
        assert_eq!(doing, "applying 002_b.sql (1 of 1)");
    }

    #[test]
    fn what_the_server_said_becomes_one_event() {
        let mut run = Run::of(&Plan::default(), 1);
        assert_eq!(run.notice(), None);
        let said = |is_warning, text: &str| Progress::Said {
            version: "001_a.sql".to_owned(),
            notice: engine::run::Notice {
                is_warning,
                text: text.to_owned(),
            },
        };
        run.hear(said(false, "3 rows moved"), Timestamp::UNIX_EPOCH);
        assert!(run.notice().is_some_and(|notice| !notice.warning));
        run.hear(said(true, "no rows left"), Timestamp::UNIX_EPOCH);
        let notice = run.notice().unwrap();
        assert!(notice.warning);
        let lines = "001_a.sql: 3 rows moved\n001_a.sql: no rows left";
        assert_eq!(notice.message, lines);
        for _ in 0..1_000 {
            run.hear(said(false, &"ü".repeat(100)), Timestamp::UNIX_EPOCH);
        }
        assert!(run.notice().unwrap().message.len() <= 1_024);
    }
}
