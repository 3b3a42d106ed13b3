//! What is asked of the history of consumption. Pure.

use std::str::FromStr;

use axum::http::Uri;
use jiff::{SignedDuration, Timestamp, ToSpan, Unit, Zoned, ZonedRound, tz::TimeZone};

use crate::{api::error::ApiError, usage::period_start};

/// Before this Neon has no history.
const FIRST: &str = "2024-03-01T00:00:00Z";

/// A question about a stretch of time.
pub(super) struct Asked {
    pairs: Vec<(String, String)>,
    granularity: Granularity,
    pub(super) from: Timestamp,
    pub(super) to: Timestamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Granularity {
    Hourly,
    Daily,
    Monthly,
}

/// A part of the stretch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) start: Timestamp,
    pub(super) end: Timestamp,
}

impl Asked {
    pub(super) fn read(uri: &Uri, now: Timestamp) -> Result<Self, ApiError> {
        let pairs = axum::extract::Query::try_from_uri(uri);
        let axum::extract::Query(pairs): axum::extract::Query<Vec<(String, String)>> =
            pairs.map_err(|error| ApiError::bad_request(error.body_text()))?;
        let granularity = match one(&pairs, "granularity") {
            Some("hourly") => Granularity::Hourly,
            Some("daily") => Granularity::Daily,
            Some("monthly") => Granularity::Monthly,
            Some(_) | None => {
                return Err(ApiError::bad_request(
                    "granularity must be one of: hourly, daily, monthly",
                ));
            }
        };
        let time = |name: &str| {
            let given = one(&pairs, name).and_then(|text| Timestamp::from_str(text).ok());
            let wrong = || ApiError::bad_request(format!("{name} must be an RFC 3339 timestamp"));
            given.map(|at| granularity.floor(at)).ok_or_else(wrong)
        };
        let (from, to) = (time("from")?, time("to")?);
        if from > to {
            return Err(ApiError::bad_request("from must not be after to"));
        }
        if from < granularity.earliest(now) {
            return Err(ApiError::not_acceptable(
                "the specified date-time range is outside the boundaries of the specified granularity, \
                 adjust your from and to values or select a different granularity",
            ));
        }
        Ok(Self {
            pairs,
            granularity,
            from,
            to,
        })
    }

    pub(super) fn one(&self, name: &str) -> Option<&str> {
        one(&self.pairs, name)
    }

    /// The values of a list, which may be given one by one or with commas.
    pub(super) fn list(&self, name: &str) -> Vec<&str> {
        let given = self.pairs.iter().filter(|(key, _)| key == name);
        let values = given.flat_map(|(_, value)| value.split(','));
        values
            .map(str::trim)
            .filter(|value| !value.is_empty())
            .collect()
    }

    /// How many items a page may have.
    pub(super) fn limit(&self, default: usize, most: usize) -> Result<usize, ApiError> {
        let limit = self.one("limit").map_or(Ok(default), str::parse);
        limit
            .ok()
            .filter(|limit| (1..=most).contains(limit))
            .ok_or_else(|| ApiError::bad_request(format!("limit must be between 1 and {most}")))
    }

    /// The metrics that are asked for, of those that there are.
    pub(super) fn metrics<'a>(&'a self, known: &[&str]) -> Result<Vec<&'a str>, ApiError> {
        let metrics = self.list("metrics");
        match metrics.iter().find(|metric| !known.contains(metric)) {
            Some(unknown) => Err(ApiError::bad_request(format!(
                "metric {unknown:?} is not supported"
            ))),
            None => Ok(metrics),
        }
    }

    /// The parts of the stretch in which there was something between two times.
    pub(super) fn frames(&self, since: Timestamp, now: Timestamp) -> Vec<Frame> {
        let mut frames = Vec::new();
        let mut start = self.granularity.floor(since.max(self.from));
        while start < self.to.min(now) {
            let end = self.granularity.next(start);
            frames.push(Frame { start, end });
            start = end;
        }
        frames
    }
}

impl Granularity {
    fn floor(self, at: Timestamp) -> Timestamp {
        let zoned = at.to_zoned(TimeZone::UTC);
        let down = |unit| {
            ZonedRound::new()
                .smallest(unit)
                .mode(jiff::RoundMode::Trunc)
        };
        let floored = match self {
            Self::Hourly => zoned.round(down(Unit::Hour)),
            Self::Daily => zoned.round(down(Unit::Day)),
            // a billing period is a month
            Self::Monthly => return period_start(at),
        };
        floored.map_or(at, |floored| floored.timestamp())
    }

    fn next(self, start: Timestamp) -> Timestamp {
        let zoned: Zoned = start.to_zoned(TimeZone::UTC);
        let step = match self {
            Self::Hourly => 1.hour(),
            Self::Daily => 1.day(),
            Self::Monthly => 1.month(),
        };
        zoned
            .checked_add(step)
            .map_or(Timestamp::MAX, |next| next.timestamp())
    }

    /// The earliest time of which there is a history at this granularity.
    fn earliest(self, now: Timestamp) -> Timestamp {
        let hours = match self {
            Self::Hourly => 168,
            Self::Daily => 60 * 24,
            Self::Monthly => 366 * 24,
        };
        let earliest = now.checked_sub(SignedDuration::from_hours(hours));
        let first = FIRST.parse().unwrap_or(Timestamp::MIN);
        self.floor(earliest.unwrap_or(first)).max(first)
    }
}

fn one<'a>(pairs: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let found = pairs.iter().find(|(key, _)| key == name);
    found.map(|(_, value)| value.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(query: &str) -> Result<Asked, ApiError> {
        let now = "2026-04-15T10:30:00Z".parse().unwrap();
        Asked::read(&format!("/?{query}").parse().unwrap(), now)
    }

    #[test]
    fn a_stretch_is_rounded_down_and_cut_into_its_parts() {
        let query = "granularity=hourly&from=2026-04-15T07:59:00Z&to=2026-04-15T12:00:00Z";
        let asked = asked(query).unwrap();
        let (since, now) = ("2026-04-15T08:15:00Z", "2026-04-15T10:30:00Z");
        let frames = asked.frames(since.parse().unwrap(), now.parse().unwrap());
        let starts: Vec<String> = frames.iter().map(|frame| frame.start.to_string()).collect();
        assert_eq!(
            starts,
            [
                "2026-04-15T08:00:00Z",
                "2026-04-15T09:00:00Z",
                "2026-04-15T10:00:00Z"
            ]
        );
        assert_eq!(frames[2].end.to_string(), "2026-04-15T11:00:00Z");
    }

    #[test]
    fn each_granularity_reaches_back_so_far() {
        for (query, status) in [
            (
                "granularity=hourly&from=2026-04-08T10:00:00Z&to=2026-04-15T10:00:00Z",
                None,
            ),
            (
                "granularity=hourly&from=2026-04-08T09:00:00Z&to=2026-04-15T10:00:00Z",
                Some(406),
            ),
            (
                "granularity=daily&from=2026-02-14T00:00:00Z&to=2026-04-15T10:00:00Z",
                None,
            ),
            (
                "granularity=daily&from=2026-02-13T00:00:00Z&to=2026-04-15T10:00:00Z",
                Some(406),
            ),
            (
                "granularity=monthly&from=2025-04-01T00:00:00Z&to=2026-04-15T10:00:00Z",
                None,
            ),
            (
                "granularity=monthly&from=2025-03-01T00:00:00Z&to=2026-04-15T10:00:00Z",
                Some(406),
            ),
            (
                "granularity=yearly&from=2026-04-01T00:00:00Z&to=2026-04-15T10:00:00Z",
                Some(400),
            ),
            (
                "granularity=daily&from=yesterday&to=2026-04-15T10:00:00Z",
                Some(400),
            ),
            ("granularity=daily&to=2026-04-15T10:00:00Z", Some(400)),
            (
                "granularity=daily&from=2026-04-15T00:00:00Z&to=2026-04-14T00:00:00Z",
                Some(400),
            ),
        ] {
            let refused = asked(query).err().map(|error| error.status.as_u16());
            assert_eq!(refused, status, "{query}");
        }
    }

    #[test]
    fn lists_are_given_one_by_one_or_with_commas() {
        let query = "granularity=daily&from=2026-04-15T00:00:00Z&to=2026-04-15T10:00:00Z&metrics=a,b&metrics=c";
        let asked = asked(query).unwrap();
        assert_eq!(asked.metrics(&["a", "b", "c"]).unwrap(), ["a", "b", "c"]);
        assert_eq!(asked.metrics(&["a", "b"]).unwrap_err().status, 400);
    }
}
