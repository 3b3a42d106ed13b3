//! Settings of a Neon project as values to be compared: what is asked, what Neon has, what another object asks. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use sha2::{Digest, Sha256};

use crate::api::{self, IpRange, ProjectQuota, Reason, TimeLimit, TimeSpan};
use crate::clock::{in_words, time_span};
use crate::neon::{self, AllowedIps, Quota, UpdateProject};
use crate::reconcile::Block;

/// Neon's number for no limit.
const UNLIMITED: i64 = 0;

/// One setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Setting {
    /// How far back branches can be restored.
    HistoryRetention,
    /// Addresses from which computes can be reached.
    AllowedIps,
    /// Time during which computes run.
    ActiveTime,
    /// The same, weighted by size.
    ComputeTime,
}

impl Setting {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::HistoryRetention,
        Self::AllowedIps,
        Self::ActiveTime,
        Self::ComputeTime,
    ];

    /// Its field.
    #[must_use]
    pub fn field(self) -> &'static str {
        match self {
            Self::HistoryRetention => "spec.settings.historyRetention",
            Self::AllowedIps => "spec.settings.allowedIPs",
            Self::ActiveTime => "spec.settings.quota.activeTime",
            Self::ComputeTime => "spec.settings.quota.computeTime",
        }
    }
}

/// The value of a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A length of time.
    Span(i64),
    /// A quota of time, in seconds; 0 is without limit.
    Limit(i64),
    /// Addresses, in no order.
    Addresses(BTreeSet<String>),
}

/// As many addresses as a spec may list.
const MOST_ADDRESSES: usize = 100;

/// The longest address or range, and the longest length of time, that a spec may have.
const LONGEST_ADDRESS: usize = 90;
const LONGEST_SPAN: usize = 10;

impl Value {
    /// Whether the schema of a spec has room for it.
    fn fits_a_spec(&self) -> bool {
        match self {
            Self::Limit(UNLIMITED) => true,
            Self::Span(seconds) | Self::Limit(seconds) => {
                *seconds > 0 && in_words(*seconds).len() <= LONGEST_SPAN
            }
            Self::Addresses(all) => {
                all.len() <= MOST_ADDRESSES && all.iter().all(|one| is_address(one))
            }
        }
    }
}

/// Whether a text has the form of an address or of a range of them.
fn is_address(text: &str) -> bool {
    let is_one = |part: &str| {
        let of_one = |c: char| c.is_ascii_hexdigit() || matches!(c, '.' | ':');
        !part.is_empty() && part.chars().all(of_one)
    };
    let range = text.split_once(['/', '-']);
    let is_right = range.map_or_else(|| is_one(text), |(one, other)| is_one(one) && is_one(other));
    is_right && text.len() <= LONGEST_ADDRESS
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Limit(UNLIMITED) => f.write_str("unlimited"),
            Self::Span(seconds) | Self::Limit(seconds) => f.write_str(&in_words(*seconds)),
            Self::Addresses(all) if all.is_empty() => f.write_str("everybody"),
            Self::Addresses(all) => {
                let all: Vec<&str> = all.iter().map(String::as_str).collect();
                f.write_str(&all.join(", "))
            }
        }
    }
}

/// Settings and their values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings(pub BTreeMap<Setting, Value>);

impl Settings {
    /// What a spec asks for, or which of its values cannot be read.
    pub fn asked(spec: Option<&api::ProjectSettings>) -> Result<Self, Block> {
        let Some(spec) = spec else {
            return Ok(Self::default());
        };
        let mut all = BTreeMap::new();
        if let Some(retention) = &spec.history_retention {
            let seconds = seconds(Setting::HistoryRetention, retention.as_str())?;
            all.insert(Setting::HistoryRetention, Value::Span(seconds));
        }
        if let Some(addresses) = &spec.allowed_ips {
            let addresses = addresses.iter().map(|range| range.0.clone()).collect();
            all.insert(Setting::AllowedIps, Value::Addresses(addresses));
        }
        let quota = spec.quota.clone().unwrap_or_default();
        for (setting, limit) in [
            (Setting::ActiveTime, quota.active_time),
            (Setting::ComputeTime, quota.compute_time),
        ] {
            if let Some(limit) = limit {
                let seconds = match limit.as_str() {
                    "unlimited" => UNLIMITED,
                    text => seconds(setting, text)?,
                };
                all.insert(setting, Value::Limit(seconds));
            }
        }
        Ok(Self(all))
    }

    /// What Neon has. A retention that it does not tell is left out.
    #[must_use]
    pub fn of(project: &neon::Project) -> Self {
        let settings = project.settings.clone().unwrap_or_default();
        let quota = settings.quota.unwrap_or_default();
        let addresses = settings.allowed_ips.unwrap_or_default().ips;
        let limit = |seconds: Option<i64>| Value::Limit(seconds.unwrap_or(UNLIMITED));
        let retention = project.history_retention_seconds.map(Value::Span);
        let mut all = BTreeMap::from([
            (
                Setting::AllowedIps,
                Value::Addresses(addresses.into_iter().collect()),
            ),
            (Setting::ActiveTime, limit(quota.active_time_seconds)),
            (Setting::ComputeTime, limit(quota.compute_time_seconds)),
        ]);
        all.extend(retention.map(|value| (Setting::HistoryRetention, value)));
        Self(all)
    }

    /// Those of these settings that `keep`s.
    #[must_use]
    pub fn only(&self, keep: impl Fn(Setting, &Value) -> bool) -> Self {
        let kept = self
            .0
            .iter()
            .filter(|(setting, value)| keep(**setting, value));
        Self(
            kept.map(|(setting, value)| (*setting, value.clone()))
                .collect(),
        )
    }

    /// Those of these settings that `other` does not have, or not with this value.
    #[must_use]
    pub fn unlike(&self, other: &Self) -> Self {
        self.only(|setting, value| other.0.get(&setting) != Some(value))
    }

    /// The values that `other` has of these settings.
    #[must_use]
    pub fn as_in(&self, other: &Self) -> Self {
        other.only(|setting, _| self.0.contains_key(&setting))
    }

    /// A text of fixed length that is the same for the same settings.
    #[must_use]
    pub fn digest(&self) -> String {
        let sum = Sha256::digest(format!("{:?}", self.0).as_bytes());
        format!("sha256:{}", hex::encode(sum))
    }

    /// The change that brings these about in a project that is now like `project`.
    #[must_use]
    pub fn update(&self, project: &neon::Project) -> UpdateProject {
        let mut update = UpdateProject::default();
        let present = project.settings.clone().unwrap_or_default();
        for (setting, value) in &self.0 {
            let quota = || present.quota.clone().unwrap_or_default();
            match (setting, value) {
                (Setting::HistoryRetention, Value::Span(seconds)) => {
                    update.history_retention_seconds = Some(*seconds);
                }
                (Setting::ActiveTime, Value::Limit(seconds)) => {
                    let quota: &mut Quota = update.settings.quota.get_or_insert_with(quota);
                    quota.active_time_seconds = Some(*seconds);
                }
                (Setting::ComputeTime, Value::Limit(seconds)) => {
                    let quota: &mut Quota = update.settings.quota.get_or_insert_with(quota);
                    quota.compute_time_seconds = Some(*seconds);
                }
                (Setting::AllowedIps, Value::Addresses(addresses)) => {
                    update.settings.allowed_ips = Some(AllowedIps {
                        ips: addresses.iter().cloned().collect(),
                        ..present.allowed_ips.clone().unwrap_or_default()
                    });
                }
                // no such pair is ever made
                (
                    Setting::HistoryRetention
                    | Setting::ActiveTime
                    | Setting::ComputeTime
                    | Setting::AllowedIps,
                    Value::Span(_) | Value::Limit(_) | Value::Addresses(_),
                ) => {}
            }
        }
        update
    }

    /// As a spec would ask for them; none where there are none. Neon may have values that no spec can ask for, such as no
    /// history at all: the API server would refuse a status with one of them as a whole, so they are left out.
    #[must_use]
    pub fn as_spec(&self) -> Option<api::ProjectSettings> {
        let all = self.only(|_, value| value.fits_a_spec());
        let text = |setting| all.0.get(&setting).map(ToString::to_string);
        let quota = ProjectQuota {
            active_time: text(Setting::ActiveTime).map(TimeLimit),
            compute_time: text(Setting::ComputeTime).map(TimeLimit),
        };
        let addresses = match all.0.get(&Setting::AllowedIps) {
            Some(Value::Addresses(all)) => Some(all.iter().cloned().map(IpRange).collect()),
            Some(Value::Span(_) | Value::Limit(_)) | None => None,
        };
        let spec = api::ProjectSettings {
            history_retention: text(Setting::HistoryRetention).map(TimeSpan),
            allowed_ips: addresses,
            quota: (quota != ProjectQuota::default()).then_some(quota),
        };
        (!all.0.is_empty()).then_some(spec)
    }
}

/// `historyRetention 30d, allowedIPs 203.0.113.0/24`.
impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let one = |(setting, value): (&Setting, &Value)| {
            let name = setting.field().rsplit('.').next().unwrap_or_default();
            format!("{name} {value}")
        };
        let all: Vec<String> = self.0.iter().map(one).collect();
        f.write_str(&all.join(", "))
    }
}

/// The schema has checked the form, so only what is too long for arithmetic is left.
fn seconds(setting: Setting, text: &str) -> Result<i64, Block> {
    time_span(text)
        .map(|span| span.as_secs())
        .ok_or_else(|| Block {
            reason: Reason::InvalidSpec,
            message: format!(
                "{}: {text} is not a length of time such as 5m, 72h or 30d",
                setting.field()
            ),
        })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;

    fn asked(spec: Json) -> Settings {
        Settings::asked(Some(&serde_json::from_value(spec).unwrap())).unwrap()
    }

    fn project(json: Json) -> neon::Project {
        let mut whole = json!({"id": "quiet-sea-1"});
        if let (Some(whole), Json::Object(more)) = (whole.as_object_mut(), json) {
            whole.extend(more);
        }
        serde_json::from_value(whole).unwrap()
    }

    #[test]
    fn only_what_is_set_is_asked_for() {
        assert_eq!(Settings::asked(None).unwrap(), Settings::default());
        assert_eq!(asked(json!({"quota": {}})), Settings::default());
        let all = asked(json!({
            "historyRetention": "30d",
            "allowedIPs": ["203.0.113.0/24", "198.51.100.7"],
            "quota": {"activeTime": "500h", "computeTime": "unlimited"},
        }));
        assert_eq!(
            all.to_string(),
            "historyRetention 30d, allowedIPs 198.51.100.7, 203.0.113.0/24, activeTime 500h, computeTime unlimited"
        );
        assert_eq!(
            asked(json!({"allowedIPs": []})).to_string(),
            "allowedIPs everybody"
        );
    }

    #[test]
    fn what_neon_leaves_out_is_without_limit_and_open_to_everybody() {
        let bare = Settings::of(&project(json!({})));
        assert_eq!(
            bare.to_string(),
            "allowedIPs everybody, activeTime unlimited, computeTime unlimited"
        );
        let made = Settings::of(&project(json!({
            "history_retention_seconds": 86_400,
            "settings": {"quota": {"active_time_seconds": 3600}, "allowed_ips": {"ips": ["::1"]}},
        })));
        assert_eq!(
            made.to_string(),
            "historyRetention 1d, allowedIPs ::1, activeTime 1h, computeTime unlimited"
        );
    }

    #[test]
    fn settings_are_compared_by_value_and_without_order() {
        let asked = asked(
            json!({"historyRetention": "24h", "allowedIPs": ["b", "a"], "quota": {"activeTime": "1h"}}),
        );
        let have = Settings::of(&project(json!({
            "history_retention_seconds": 86_400,
            "settings": {"allowed_ips": {"ips": ["a", "b"]}},
        })));
        assert_eq!(asked.unlike(&have).to_string(), "activeTime 1h");
        assert_eq!(
            asked.as_in(&have).to_string(),
            "historyRetention 1d, allowedIPs a, b, activeTime unlimited"
        );
        assert_ne!(asked.digest(), have.digest());
    }

    #[test]
    fn a_change_leaves_everything_else_as_it_is() {
        let present = project(json!({
            "history_retention_seconds": 86_400,
            "settings": {
                "quota": {"active_time_seconds": 60, "logical_size_bytes": 7},
                "allowed_ips": {"ips": ["::1"], "protected_branches_only": true},
                "maintenance_window": {"weekdays": [1]},
            },
        }));
        let update =
            asked(json!({"quota": {"computeTime": "1h"}, "allowedIPs": ["::2"]})).update(&present);
        assert_eq!(update.history_retention_seconds, None);
        assert_eq!(
            json!(update.settings),
            json!({
                "quota": {"active_time_seconds": 60, "compute_time_seconds": 3600, "logical_size_bytes": 7},
                "allowed_ips": {"ips": ["::2"], "protected_branches_only": true},
            })
        );
        let update = asked(json!({"historyRetention": "2d"})).update(&present);
        assert_eq!(update.history_retention_seconds, Some(172_800));
        assert_eq!(json!(update.settings), json!({}));
    }

    #[test]
    fn settings_are_shown_as_a_spec_would_ask_for_them() {
        let spec = json!({
            "historyRetention": "7d", "allowedIPs": ["::1"], "quota": {"activeTime": "unlimited"},
        });
        assert_eq!(json!(asked(spec.clone()).as_spec()), spec);
        assert_eq!(Settings::default().as_spec(), None);
    }

    /// What the API server would refuse in a status is not shown, and everything else is.
    #[test]
    fn values_that_no_spec_can_ask_for_are_left_out() {
        let addresses: Vec<String> = (0..101).map(|n| format!("203.0.113.{n}")).collect();
        let odd = project(json!({
            "history_retention_seconds": 0,
            "settings": {
                "quota": {"active_time_seconds": 3600, "compute_time_seconds": 1_000_000_001},
                "allowed_ips": {"ips": addresses},
            },
        }));
        let shown = Settings::of(&odd).as_spec();
        assert_eq!(json!(shown), json!({"quota": {"activeTime": "1h"}}));
        let odd = project(json!({
            "settings": {
                "quota": {"active_time_seconds": -1, "compute_time_seconds": 60},
                "allowed_ips": {"ips": ["203.0.113.0/24", "an office"]},
            },
        }));
        let shown = Settings::of(&odd).as_spec();
        assert_eq!(json!(shown), json!({"quota": {"computeTime": "1m"}}));
        for (text, expected) in [
            ("203.0.113.7", true),
            ("203.0.113.0/24", true),
            ("203.0.113.1-203.0.113.9", true),
            ("2001:db8::/32", true),
            ("1/2/3", false),
            ("-1", false),
            ("", false),
        ] {
            assert_eq!(is_address(text), expected, "{text}");
        }
    }
}
