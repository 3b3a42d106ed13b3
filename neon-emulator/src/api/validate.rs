//! The rules for values in requests. Pure. The statuses and most texts of limits are not
//! published by Neon; where unknown they are in its style.

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

use super::error::ApiError;
use crate::{
    limits::{Limits, SuspendLimit},
    postgres::history::{Lsn, Moment},
    state::model::{ComputeSettings, Project},
};

/// The sizes in which computes come, in CU (Neon's documentation).
const SIZES: [f64; 38] = [
    0.25, 0.5, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0, 13.0, 14.0, 15.0,
    16.0, 18.0, 20.0, 22.0, 24.0, 26.0, 28.0, 30.0, 32.0, 34.0, 36.0, 38.0, 40.0, 42.0, 44.0, 46.0,
    48.0, 50.0, 52.0, 54.0, 56.0,
];
/// The largest size to which a compute scales; above it is fixed and never suspends.
const AUTOSCALING_MAX: f64 = 16.0;
/// The largest distance between the two limits.
const AUTOSCALING_SPREAD: f64 = 8.0;
const SUSPEND_SECONDS: std::ops::RangeInclusive<i64> = 60..=604_800;
const MOST_ANNOTATIONS: usize = 50;
const HALF: f64 = 0.01;

/// What requests may say about a compute.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct ComputeRequest {
    autoscaling_limit_min_cu: Option<f64>,
    autoscaling_limit_max_cu: Option<f64>,
    suspend_timeout_seconds: Option<i64>,
    settings: Option<SettingsRequest>,
    /// Where the project's defaults have it.
    pg_settings: Option<BTreeMap<String, Value>>,
}

#[derive(Debug, Default, Deserialize)]
struct SettingsRequest {
    pg_settings: Option<BTreeMap<String, Value>>,
}

impl ComputeRequest {
    /// The settings that result from `base` and this request, if the plan allows them.
    pub(crate) fn apply(
        &self,
        base: &ComputeSettings,
        limits: &Limits,
    ) -> Result<ComputeSettings, ApiError> {
        let mut out = base.clone();
        // A limit that is given alone takes the other one along where they would cross.
        if let Some(min) = self.autoscaling_limit_min_cu {
            out.min_cu = min;
            out.max_cu = self
                .autoscaling_limit_max_cu
                .unwrap_or_else(|| out.max_cu.max(min));
        } else if let Some(max) = self.autoscaling_limit_max_cu {
            out.max_cu = max;
            out.min_cu = out.min_cu.min(max);
        }
        if let Some(seconds) = self.suspend_timeout_seconds {
            out.suspend_timeout_seconds = seconds;
        }
        let given = self
            .settings
            .as_ref()
            .and_then(|settings| settings.pg_settings.as_ref());
        if let Some(settings) = given.or(self.pg_settings.as_ref()) {
            out.pg_settings = pg_settings(settings)?;
        }
        size(&out)?;
        if !matches!(out.suspend_timeout_seconds, -1 | 0)
            && !SUSPEND_SECONDS.contains(&out.suspend_timeout_seconds)
        {
            return Err(ApiError::bad_request(
                "suspend_timeout_seconds must be -1 (never), 0 (default) or between 60 and 604800",
            ));
        }
        within(&out, limits)?;
        Ok(out)
    }
}

/// Whether a plan allows a compute's settings.
fn within(settings: &ComputeSettings, limits: &Limits) -> Result<(), ApiError> {
    if settings.max_cu > limits.max_cu + HALF {
        return Err(ApiError::unprocessable(format!(
            "autoscaling_limit_max_cu exceeds the maximum of {} compute units of your plan",
            limits.max_cu
        )));
    }
    let allowed: &[i64] = match limits.suspend {
        SuspendLimit::Free => return Ok(()),
        SuspendLimit::OnOff => &[-1, 0, 300],
        SuspendLimit::Fixed => &[0, 300],
    };
    if !allowed.contains(&settings.suspend_timeout_seconds) {
        return Err(ApiError::unprocessable(
            "suspend interval changing is not allowed for your account",
        ));
    }
    Ok(())
}

fn size(settings: &ComputeSettings) -> Result<(), ApiError> {
    let (min, max) = (settings.min_cu, settings.max_cu);
    for cu in [min, max] {
        if !SIZES.iter().any(|size| (size - cu).abs() < HALF) {
            return Err(ApiError::bad_request(format!(
                "{cu} is not a valid compute size"
            )));
        }
    }
    if min > max {
        return Err(ApiError::bad_request(
            "autoscaling_limit_min_cu must be less than or equal to autoscaling_limit_max_cu",
        ));
    }
    let fixed = (max - min).abs() < HALF;
    if !fixed && max > AUTOSCALING_MAX {
        return Err(ApiError::bad_request(
            "autoscaling is limited to 16 compute units; larger computes are fixed",
        ));
    }
    if max - min > AUTOSCALING_SPREAD {
        return Err(ApiError::bad_request(
            "the difference between autoscaling_limit_max_cu and autoscaling_limit_min_cu must not exceed 8",
        ));
    }
    Ok(())
}

/// Settings for the server's command line.
fn pg_settings(given: &BTreeMap<String, Value>) -> Result<BTreeMap<String, String>, ApiError> {
    let text = |value: &Value| {
        value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned)
    };
    for name in given.keys() {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.');
        if name.is_empty() || !name.chars().all(plain) {
            return Err(ApiError::bad_request(format!(
                "{name:?} is not the name of a setting"
            )));
        }
    }
    Ok(given
        .iter()
        .map(|(name, value)| (name.clone(), text(value)))
        .collect())
}

/// The name of a project or branch.
pub(crate) fn title(name: &str) -> Result<(), ApiError> {
    match name.chars().count() {
        1..=256 => Ok(()),
        _ => Err(ApiError::bad_request(
            "name must have between 1 and 256 characters",
        )),
    }
}

/// The name of a role or database that the API is to create.
pub(crate) fn sql_name(kind: &str, name: &str) -> Result<(), ApiError> {
    let reserved = name.starts_with("pg_")
        || matches!(
            name,
            "cloud_admin"
                | "neon_superuser"
                | "postgres"
                | "template0"
                | "template1"
                | "public"
                | "none"
        );
    if name.is_empty() || name.len() > 63 || name.contains('\0') {
        return Err(ApiError::bad_request(format!(
            "{kind} name must have between 1 and 63 bytes"
        )));
    }
    if reserved {
        return Err(ApiError::bad_request(format!(
            "{kind} name {name:?} is reserved"
        )));
    }
    Ok(())
}

/// The time at which a branch shall be deleted.
pub(crate) fn expiry(text: &str, limits: &Limits, now: Timestamp) -> Result<Timestamp, ApiError> {
    let at = expires_at(text, now)?;
    let longest = SignedDuration::from_secs(limits.longest_ttl_seconds);
    if at.duration_since(now) > longest {
        return Err(ApiError::bad_request(format!(
            "expires_at must not be more than {} days in the future",
            longest.as_hours() / 24
        )));
    }
    Ok(at)
}

/// When something expires, however far away that is.
pub(crate) fn expires_at(text: &str, now: Timestamp) -> Result<Timestamp, ApiError> {
    let at: Timestamp = text
        .parse()
        .map_err(|_| ApiError::bad_request("expires_at must be an RFC 3339 timestamp"))?;
    if at <= now {
        return Err(ApiError::bad_request("expires_at must be in the future"));
    }
    Ok(at)
}

/// The point of a project's history that a request names by position or by time, if it does.
/// `prefix` is how the request calls them, as in `parent_` for `parent_lsn`.
pub(crate) fn moment(
    project: &Project,
    prefix: &str,
    lsn: Option<&str>,
    timestamp: Option<&str>,
    now: Timestamp,
) -> Result<Option<Moment>, ApiError> {
    match (lsn, timestamp) {
        (None, None) => Ok(None),
        (Some(_), Some(_)) => Err(ApiError::bad_request(format!(
            "{prefix}lsn and {prefix}timestamp must not be given together"
        ))),
        (Some(lsn), None) => {
            let lsn = Lsn::parse(lsn);
            let lsn = lsn
                .ok_or_else(|| ApiError::bad_request(format!("{prefix}lsn is not a valid LSN")))?;
            Ok(Some(Moment::Lsn(lsn)))
        }
        (None, Some(timestamp)) => {
            let at: Timestamp = timestamp.parse().map_err(|_| {
                ApiError::bad_request(format!("{prefix}timestamp must be an RFC 3339 timestamp"))
            })?;
            if at > now {
                return Err(ApiError::bad_request(format!(
                    "{prefix}timestamp must not be in the future"
                )));
            }
            let window = SignedDuration::from_secs(project.history_retention_seconds);
            if at < project.created_at || now.duration_since(at) > window {
                return Err(ApiError::bad_request(format!(
                    "{prefix}timestamp is outside of the history retention window of the project"
                )));
            }
            Ok(Some(Moment::Time(at)))
        }
    }
}

/// A project's settings, as far as they have to make sense here. Of quotas those of time are kept; one that
/// would do nothing is refused.
pub(crate) fn settings(given: &Map<String, Value>) -> Result<(), ApiError> {
    let quota = given.get("quota").and_then(Value::as_object);
    for (name, value) in quota.into_iter().flatten() {
        if value.is_null() {
            continue;
        }
        let Some(amount) = value.as_u64() else {
            return Err(ApiError::bad_request(format!(
                "quota {name} must be an integer that is not negative"
            )));
        };
        let kept = matches!(
            name.as_str(),
            "active_time_seconds" | "compute_time_seconds"
        );
        if amount > 0 && !kept {
            return Err(ApiError::unprocessable(format!(
                "quota {name} is not emulated"
            )));
        }
    }
    Ok(())
}

/// Annotations of a branch.
pub(crate) fn annotations(given: &BTreeMap<String, String>) -> Result<(), ApiError> {
    if given.len() > MOST_ANNOTATIONS {
        return Err(ApiError::bad_request(
            "a branch can have at most 50 annotations",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(json: &str) -> Result<ComputeSettings, ApiError> {
        serde_json::from_str::<ComputeRequest>(json)
            .unwrap()
            .apply(&ComputeSettings::default(), &Limits::default())
    }

    #[test]
    fn sizes_follow_the_grid_the_spread_and_the_order() {
        let settings =
            applied(r#"{"autoscaling_limit_min_cu": 0.25, "autoscaling_limit_max_cu": 2}"#)
                .unwrap();
        assert!((settings.max_cu - 2.0).abs() < HALF);
        for bad in [
            r#"{"autoscaling_limit_min_cu": 0.3, "autoscaling_limit_max_cu": 1}"#,
            r#"{"autoscaling_limit_min_cu": 2, "autoscaling_limit_max_cu": 1}"#,
            r#"{"autoscaling_limit_min_cu": 1, "autoscaling_limit_max_cu": 10}"#,
            r#"{"autoscaling_limit_min_cu": 16, "autoscaling_limit_max_cu": 18}"#,
        ] {
            assert_eq!(applied(bad).unwrap_err().status, 400, "{bad}");
        }
        assert!(
            applied(r#"{"autoscaling_limit_min_cu": 18, "autoscaling_limit_max_cu": 18}"#).is_ok()
        );
    }

    #[test]
    fn one_limit_alone_takes_the_other_along() {
        let settings = applied(r#"{"autoscaling_limit_min_cu": 1}"#).unwrap();
        assert!((settings.max_cu - 1.0).abs() < HALF);
    }

    #[test]
    fn suspension_is_never_default_or_a_minute_and_more() {
        for good in [-1, 0, 60, 604_800] {
            assert!(
                applied(&format!(r#"{{"suspend_timeout_seconds": {good}}}"#)).is_ok(),
                "{good}"
            );
        }
        for bad in [-2, 1, 59, 604_801] {
            assert!(
                applied(&format!(r#"{{"suspend_timeout_seconds": {bad}}}"#)).is_err(),
                "{bad}"
            );
        }
    }

    #[test]
    fn expiry_is_a_future_within_thirty_days() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let limits = Limits::default();
        assert!(expiry("2026-01-31T00:00:00.000Z", &limits, now).is_ok());
        for bad in ["2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z", "soon"] {
            assert_eq!(expiry(bad, &limits, now).unwrap_err().status, 400, "{bad}");
        }
    }
}
