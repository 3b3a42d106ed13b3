//! Snapshots: what a branch was at some time, kept apart from it; and when they are taken by themselves. Pure.

use jiff::{
    Timestamp, ToSpan,
    civil::{Date, Time},
    tz::TimeZone,
};
use serde::{Deserialize, Serialize};

use super::{
    model::{Branch, Project},
    operation::{Action, Step, Work},
};
use crate::{names, postgres::history::Moment};

/// The longest time between two turns of a schedule, in days.
const LONGEST: i64 = 366;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Snapshot {
    pub(crate) id: String,
    pub(crate) name: String,
    /// The branch as it was. Its timeline is the snapshot's own, which nothing ever writes to.
    pub(crate) branch: Branch,
    /// The point of the branch's history, where it was not taken of the present.
    pub(crate) moment: Option<Moment>,
    /// Asked for by somebody, not by a schedule.
    pub(crate) manual: bool,
    /// The bytes of its databases, from when it has been taken.
    pub(crate) full_size: Option<u64>,
    pub(crate) created_at: Timestamp,
    pub(crate) expires_at: Option<Timestamp>,
}

/// How a branch came out of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Restored {
    pub(crate) snapshot_id: String,
    /// The branch whose place it takes, or may take.
    pub(crate) target_id: String,
    /// Whether it has taken that place.
    pub(crate) finalized: bool,
}

/// When snapshots of a branch are taken by themselves.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Schedule {
    pub(crate) items: Vec<ScheduleItem>,
    /// Up to when its turns are done with.
    pub(crate) since: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ScheduleItem {
    pub(crate) frequency: Frequency,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) hour: Option<i8>,
    /// Of the week (Monday is 1) or the month; a month that is shorter has it on its last day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) day: Option<i8>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) month: Option<i8>,
    /// How long the snapshots are kept; for ever where it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) retention_seconds: Option<i64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Frequency {
    Hourly,
    Daily,
    Weekly,
    Monthly,
    Yearly,
}

impl Schedule {
    /// The items that have had a turn since the last ones that are done with.
    fn due(&self, now: Timestamp) -> Vec<ScheduleItem> {
        let due = |item: &&ScheduleItem| item.latest(now).is_some_and(|turn| turn > self.since);
        self.items.iter().filter(due).cloned().collect()
    }
}

impl ScheduleItem {
    /// The last turn up to now. Turns are at full hours of UTC.
    fn latest(&self, now: Timestamp) -> Option<Timestamp> {
        let zoned = now.to_zoned(TimeZone::UTC);
        let hour = match self.frequency {
            Frequency::Hourly => zoned.hour(),
            Frequency::Daily | Frequency::Weekly | Frequency::Monthly | Frequency::Yearly => {
                self.hour.unwrap_or_default()
            }
        };
        let time = Time::new(hour, 0, 0, 0).ok()?;
        let days = (0..=LONGEST).filter_map(|back| zoned.date().checked_sub(back.days()).ok());
        days.filter(|day| self.has_turn_on(*day))
            .filter_map(|day| day.to_datetime(time).to_zoned(TimeZone::UTC).ok())
            .map(|turn| turn.timestamp())
            .find(|turn| *turn <= now)
    }

    fn has_turn_on(&self, date: Date) -> bool {
        let day = self.day.unwrap_or(1);
        let day_of_month = date.day() == day.min(date.days_in_month());
        match self.frequency {
            Frequency::Hourly | Frequency::Daily => true,
            Frequency::Weekly => date.weekday().to_monday_one_offset() == day,
            Frequency::Monthly => day_of_month,
            Frequency::Yearly => day_of_month && date.month() == self.month.unwrap_or(1),
        }
    }
}

impl Project {
    /// Adds a snapshot of a branch, which has yet to be taken.
    pub(crate) fn add_snapshot(
        &mut self,
        branch: &Branch,
        name: Option<String>,
        moment: Option<Moment>,
        expires_at: Option<Timestamp>,
        manual: bool,
        now: Timestamp,
    ) -> (Snapshot, Step) {
        let id = names::snapshot_id();
        let by = if manual { "manual" } else { "scheduled" };
        let snapshot = Snapshot {
            name: name.unwrap_or_else(|| format!("{} at {now:.0} ({by})", branch.name)),
            branch: Branch {
                timeline: id.clone(),
                ..branch.clone()
            },
            moment,
            manual,
            full_size: None,
            created_at: now,
            expires_at,
            id,
        };
        let step = snapshot.step(
            Action::CreateBranch,
            Work::TakeSnapshot {
                snapshot_id: snapshot.id.clone(),
            },
        );
        self.snapshots.insert(snapshot.id.clone(), snapshot.clone());
        (snapshot, step)
    }

    /// Takes a snapshot out and returns what is left to do about it.
    pub(crate) fn remove_snapshot(&mut self, id: &str) -> Vec<Step> {
        let removed = self.snapshots.remove(id);
        let step = removed.map(|snapshot| {
            snapshot.step(
                Action::DeleteTimeline,
                Work::RemoveTimeline {
                    timeline: snapshot.id.clone(),
                },
            )
        });
        step.into_iter().collect()
    }

    /// Whether a schedule has had its turn, or a snapshot its time.
    pub(crate) fn has_snapshots_due(&self, now: Timestamp) -> bool {
        self.due(now).next().is_some() || self.expired(now).next().is_some()
    }

    fn due(&self, now: Timestamp) -> impl Iterator<Item = (&Branch, ScheduleItem)> {
        let branches = self.branches.values();
        let ready = branches.filter(|branch| branch.state.has_data());
        ready.flat_map(move |branch| {
            let items = branch.schedule.due(now).into_iter();
            items.map(move |item| (branch, item))
        })
    }

    fn expired(&self, now: Timestamp) -> impl Iterator<Item = &Snapshot> {
        let is_over = move |at: Timestamp| at <= now;
        let snapshots = self.snapshots.values();
        snapshots.filter(move |snapshot| snapshot.expires_at.is_some_and(is_over))
    }

    /// Adds the snapshots whose turn has come.
    pub(crate) fn add_scheduled(&mut self, now: Timestamp) -> Vec<Step> {
        let due = self.due(now).map(|(branch, item)| (branch.clone(), item));
        let due: Vec<(Branch, ScheduleItem)> = due.collect();
        let mut steps = Vec::new();
        for (branch, item) in due {
            let kept = item.retention_seconds.map(ToSpan::seconds);
            let expires_at = kept.and_then(|span| now.checked_add(span).ok());
            let (_, step) = self.add_snapshot(&branch, None, None, expires_at, false, now);
            steps.push(step);
            if let Some(branch) = self.branches.get_mut(&branch.id) {
                branch.schedule.since = now;
            }
        }
        steps
    }

    /// Takes out the snapshots that have expired.
    pub(crate) fn remove_expired_snapshots(&mut self, now: Timestamp) -> Vec<Step> {
        let expired = self.expired(now).map(|snapshot| snapshot.id.clone());
        let expired: Vec<String> = expired.collect();
        expired
            .iter()
            .flat_map(|id| self.remove_snapshot(id))
            .collect()
    }
}

impl Snapshot {
    /// An operation on this snapshot, told of the branch that it was taken of.
    fn step(&self, action: Action, work: Work) -> Step {
        Step {
            action,
            branch_id: self.branch.id.clone(),
            endpoint_id: None,
            work,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(json: &str) -> ScheduleItem {
        serde_json::from_str(json).unwrap()
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn turns_are_where_the_schedule_puts_them() {
        // A Wednesday.
        let now = at("2026-04-15T10:30:00Z");
        for (text, last) in [
            (r#"{"frequency": "hourly"}"#, "2026-04-15T10:00:00Z"),
            (r#"{"frequency": "daily"}"#, "2026-04-15T00:00:00Z"),
            (
                r#"{"frequency": "daily", "hour": 10}"#,
                "2026-04-15T10:00:00Z",
            ),
            (
                r#"{"frequency": "daily", "hour": 11}"#,
                "2026-04-14T11:00:00Z",
            ),
            (
                r#"{"frequency": "weekly", "day": 3, "hour": 2}"#,
                "2026-04-15T02:00:00Z",
            ),
            (
                r#"{"frequency": "weekly", "day": 4}"#,
                "2026-04-09T00:00:00Z",
            ),
            (
                r#"{"frequency": "monthly", "day": 31}"#,
                "2026-03-31T00:00:00Z",
            ),
            (
                r#"{"frequency": "yearly", "month": 6, "day": 30}"#,
                "2025-06-30T00:00:00Z",
            ),
            (
                r#"{"frequency": "yearly", "month": 2, "day": 29}"#,
                "2026-02-28T00:00:00Z",
            ),
        ] {
            assert_eq!(item(text).latest(now), Some(at(last)), "{text}");
        }
    }

    #[test]
    fn a_turn_is_taken_once_and_what_was_before_the_schedule_never() {
        let mut schedule = Schedule {
            items: vec![item(r#"{"frequency": "daily", "hour": 3}"#)],
            since: at("2026-04-15T10:00:00Z"),
        };
        assert!(schedule.due(at("2026-04-16T02:59:59Z")).is_empty());
        assert_eq!(schedule.due(at("2026-04-16T03:00:00Z")).len(), 1);
        schedule.since = at("2026-04-16T03:00:00Z");
        assert!(schedule.due(at("2026-04-16T23:00:00Z")).is_empty());
        // However long the emulator did not run, it is one turn.
        assert_eq!(schedule.due(at("2026-04-20T03:00:00Z")).len(), 1);
    }
}
