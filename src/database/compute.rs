//! Size, suspend time and settings of a branch's compute: what is asked, what Neon has, and whether to ask again. Pure.
//!
//! Asked again is only for what the spec itself sets, and only where somebody has changed it since Neon answered. What
//! Neon stores instead of what was sent stays, and so does what somebody makes of the profile's values.

use std::collections::BTreeMap;

use super::desired::Setting;
use super::start;
use crate::api::{ComputeValues, EndpointStatus, PlanLimit};
use crate::neon::{Endpoint, EndpointState, NewEndpoint, UpdateEndpoint};

/// What is asked of a compute.
#[derive(Clone, Debug, PartialEq)]
pub struct Compute {
    /// Smallest and largest size, in CU.
    pub units: Setting<(f64, f64)>,
    /// Idle time before it is scaled to zero.
    pub suspend_after: Setting<SuspendAfter>,
    /// Settings of PostgreSQL; only the spec has any.
    pub settings: BTreeMap<String, String>,
}

/// Idle time before a compute is scaled to zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SuspendAfter {
    /// It always runs.
    Never,
    /// Neon's own default, 300 seconds.
    Default,
    /// After this many seconds.
    Seconds(i64),
}

impl SuspendAfter {
    /// As Neon's API writes it.
    #[must_use]
    pub fn seconds(self) -> i64 {
        match self {
            Self::Never => -1,
            Self::Default => 0,
            Self::Seconds(seconds) => seconds,
        }
    }

    fn of(seconds: i64) -> Self {
        match seconds {
            -1 => Self::Never,
            0 => Self::Default,
            seconds => Self::Seconds(seconds),
        }
    }

    /// As the status writes it.
    #[must_use]
    pub fn text(self) -> String {
        match self {
            Self::Never => "never".to_owned(),
            Self::Default => "default".to_owned(),
            Self::Seconds(seconds) => format!("{seconds}s"),
        }
    }
}

/// One of the things that are asked of a compute.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Field {
    Size,
    SuspendAfter,
    Setting(String),
}

impl Compute {
    /// What is asked, without the values of the profile that the plan has refused.
    #[must_use]
    pub fn asked(&self, limit: Option<&PlanLimit>) -> ComputeValues {
        let (size, suspend_after) = self.left_out(limit);
        ComputeValues {
            min_cu: (!size).then_some(self.units.value.0),
            max_cu: (!size).then_some(self.units.value.1),
            suspend_after: (!suspend_after).then(|| self.suspend_after.value.text()),
            settings: self.settings.clone(),
        }
    }

    /// Whether size and suspend time are left out.
    fn left_out(&self, limit: Option<&PlanLimit>) -> (bool, bool) {
        let limit = self.still_limited(limit);
        let size = limit.as_ref().is_some_and(|limit| limit.min_cu.is_some());
        let suspend_after = limit.is_some_and(|limit| limit.suspend_after.is_some());
        (size, suspend_after)
    }

    /// What of a refusal still concerns what is asked: values that the profile still has and the spec still does not set.
    #[must_use]
    pub fn still_limited(&self, limit: Option<&PlanLimit>) -> Option<PlanLimit> {
        let mut limit = limit?.clone();
        let refused = limit.min_cu.zip(limit.max_cu);
        let size = !self.units.explicit && refused == Some(self.units.value);
        let text = self.suspend_after.value.text();
        let suspend = !self.suspend_after.explicit && limit.suspend_after == Some(text);
        if !size {
            (limit.min_cu, limit.max_cu) = (None, None);
        }
        if !suspend {
            limit.suspend_after = None;
        }
        (size || suspend).then_some(limit)
    }

    /// What to leave out next after Neon has refused to take the rest, in the order of suspend time, size, both; none where
    /// that leaves nothing of the profile, and so it is something of the spec that Neon refuses.
    #[must_use]
    pub fn leave_out(&self, limit: Option<&PlanLimit>, words: &str) -> Option<PlanLimit> {
        let may = |(size, suspend): &(bool, bool)| {
            !(*size && self.units.explicit || *suspend && self.suspend_after.explicit)
        };
        let steps = [(false, true), (true, false), (true, true)];
        let mut steps = steps.into_iter().filter(may);
        let now = self.left_out(limit);
        if now != (false, false) {
            steps.by_ref().find(|step| *step == now)?;
        }
        let (size, suspend) = steps.next()?;
        Some(PlanLimit {
            min_cu: size.then_some(self.units.value.0),
            max_cu: size.then_some(self.units.value.1),
            suspend_after: suspend.then(|| self.suspend_after.value.text()),
            message: words.to_owned(),
        })
    }

    fn is_explicit(&self, field: &Field) -> bool {
        match field {
            Field::Size => self.units.explicit,
            Field::SuspendAfter => self.suspend_after.explicit,
            Field::Setting(_) => true,
        }
    }

    /// Body of an endpoint to be made.
    #[must_use]
    pub fn new_endpoint(&self, limit: Option<&PlanLimit>) -> NewEndpoint {
        let (size, suspend_after) = self.left_out(limit);
        NewEndpoint {
            compute_units: (!size).then_some(self.units.value),
            suspend_timeout_seconds: (!suspend_after).then_some(self.suspend_after.value.seconds()),
            pg_settings: self.settings.clone(),
        }
    }

    /// Body of a change. Settings that are not ours are sent along as they are: Neon takes what is sent for all of them.
    #[must_use]
    pub fn update(
        &self,
        limit: Option<&PlanLimit>,
        recorded: Option<&EndpointStatus>,
        endpoint: &Endpoint,
    ) -> UpdateEndpoint {
        let new = self.new_endpoint(limit);
        let present = endpoint.pg_settings();
        let mut settings = present.clone();
        let before = recorded.and_then(|recorded| recorded.requested.as_ref());
        for name in before.iter().flat_map(|before| before.settings.keys()) {
            settings.remove(name);
        }
        settings.extend(new.pg_settings);
        UpdateEndpoint {
            compute_units: new.compute_units,
            suspend_timeout_seconds: new.suspend_timeout_seconds,
            pg_settings: (settings != present).then_some(settings),
        }
    }
}

/// The status of an endpoint, with what was last asked of it and what Neon made of that.
#[must_use]
pub fn status(
    endpoint: &Endpoint,
    requested: Option<ComputeValues>,
    stored: Option<ComputeValues>,
) -> EndpointStatus {
    let mut settings = endpoint.pg_settings();
    let asked = requested.as_ref().map(|requested| &requested.settings);
    settings.retain(|name, _| asked.is_some_and(|asked| asked.contains_key(name)));
    EndpointStatus {
        id: endpoint.id.to_string(),
        host: endpoint.host.clone(),
        min_cu: endpoint.autoscaling_limit_min_cu,
        max_cu: endpoint.autoscaling_limit_max_cu,
        suspend_after: SuspendAfter::of(endpoint.suspend_timeout_seconds).text(),
        settings,
        requested,
        stored,
        failure: None,
    }
}

/// The status of an endpoint after a look at it: what it has without being asked counts as asked for.
#[must_use]
pub fn looked_at(
    endpoint: &Endpoint,
    recorded: Option<EndpointStatus>,
    asked: Option<ComputeValues>,
) -> EndpointStatus {
    let met = asked.filter(|asked| is_met(asked, recorded.as_ref(), endpoint));
    let recorded = recorded.map(|known| (known.requested, known.stored, known.failure));
    let (before, stored, failure) = recorded.unwrap_or_default();
    let (requested, stored) = match met {
        Some(asked) => {
            let answered = answered(&asked, endpoint);
            (Some(asked), Some(answered))
        }
        None => (before.clone(), stored),
    };
    let failure = failure.filter(|words| before == requested && holds_on(words, before, endpoint));
    EndpointStatus {
        failure,
        ..status(endpoint, requested, stored)
    }
}

/// Whether a compute that could not start has not been seen to run since. One that does so with a setting that it cannot
/// start with has not taken it yet.
fn holds_on(words: &str, requested: Option<ComputeValues>, endpoint: &Endpoint) -> bool {
    let settings = requested.map_or_else(BTreeMap::new, |requested| requested.settings);
    endpoint.current_state != EndpointState::Active || start::blamed(words, &settings).is_some()
}

/// What Neon has, of all that can be asked.
#[must_use]
pub fn seen(endpoint: &Endpoint) -> ComputeValues {
    ComputeValues {
        min_cu: Some(endpoint.autoscaling_limit_min_cu),
        max_cu: Some(endpoint.autoscaling_limit_max_cu),
        suspend_after: Some(SuspendAfter::of(endpoint.suspend_timeout_seconds).text()),
        settings: endpoint.pg_settings(),
    }
}

/// What Neon has of what was asked.
#[must_use]
pub fn answered(asked: &ComputeValues, endpoint: &Endpoint) -> ComputeValues {
    let seen = seen(endpoint);
    let mut settings = seen.settings;
    settings.retain(|name, _| asked.settings.contains_key(name));
    ComputeValues {
        min_cu: asked.min_cu.and(seen.min_cu),
        max_cu: asked.max_cu.and(seen.max_cu),
        suspend_after: asked.suspend_after.as_ref().and(seen.suspend_after),
        settings,
    }
}

/// Whether Neon has everything that is asked, and nothing that was asked before and no longer is.
#[must_use]
pub fn is_met(
    asked: &ComputeValues,
    recorded: Option<&EndpointStatus>,
    endpoint: &Endpoint,
) -> bool {
    let seen = seen(endpoint);
    let before = recorded.and_then(|recorded| recorded.requested.as_ref());
    let mut before = before.iter().flat_map(|before| before.settings.keys());
    let left_over =
        before.any(|name| !asked.settings.contains_key(name) && seen.settings.contains_key(name));
    !left_over && differences(asked, &seen).is_empty()
}

/// Whether Neon has to be asked for something.
#[must_use]
pub fn is_due(
    compute: &Compute,
    limit: Option<&PlanLimit>,
    recorded: Option<&EndpointStatus>,
    endpoint: &Endpoint,
) -> bool {
    let is_explicit = |field: &Field| compute.is_explicit(field);
    must_ask(&compute.asked(limit), recorded, endpoint, is_explicit)
}

/// The same for what the spec alone asks for.
#[must_use]
pub fn is_explicitly_due(
    asked: &ComputeValues,
    recorded: Option<&EndpointStatus>,
    endpoint: &Endpoint,
) -> bool {
    must_ask(asked, recorded, endpoint, |_| true)
}

fn must_ask(
    asked: &ComputeValues,
    recorded: Option<&EndpointStatus>,
    endpoint: &Endpoint,
    is_explicit: impl Fn(&Field) -> bool,
) -> bool {
    if is_met(asked, recorded, endpoint) {
        return false;
    }
    let Some(recorded) = recorded.filter(|r| r.requested.as_ref() == Some(asked)) else {
        return true;
    };
    let Some(stored) = &recorded.stored else {
        return false;
    };
    let seen = seen(endpoint);
    let changed = differences(stored, &seen);
    differences(asked, &seen)
        .iter()
        .any(|field| is_explicit(field) && changed.contains(field))
}

/// What Neon has stored instead of what was asked, in words.
#[must_use]
pub fn otherwise(recorded: &EndpointStatus) -> Option<String> {
    let (asked, stored) = recorded.requested.as_ref().zip(recorded.stored.as_ref())?;
    let fields = differences(asked, stored);
    let none = || "nothing".to_owned();
    let told = fields.iter().map(|field| match field {
        Field::Size => format!("{} instead of {}", size(stored), size(asked)),
        Field::SuspendAfter => format!(
            "suspendAfter {} instead of {}",
            stored.suspend_after.as_deref().map_or_else(none, readable),
            asked.suspend_after.as_deref().map_or_else(none, readable)
        ),
        Field::Setting(name) => format!(
            "settings.{name} {} instead of {}",
            stored.settings.get(name).cloned().unwrap_or_else(none),
            asked.settings.get(name).cloned().unwrap_or_else(none)
        ),
    });
    let told: Vec<String> = told.collect();
    (!told.is_empty()).then(|| format!("Neon has {}", told.join(", ")))
}

/// In words: what is asked.
#[must_use]
pub fn in_words(asked: &ComputeValues) -> String {
    let mut words = Vec::new();
    words.extend(asked.min_cu.map(|_| size(asked)));
    let suspend = asked.suspend_after.as_ref();
    words.extend(suspend.map(|suspend| format!("suspendAfter {}", readable(suspend))));
    let settings = asked.settings.iter();
    words.extend(settings.map(|(name, value)| format!("settings.{name} {value}")));
    words.join(", ")
}

/// In words: what the plan refuses.
#[must_use]
pub fn limited(limit: &PlanLimit) -> String {
    let refused = ComputeValues {
        min_cu: limit.min_cu,
        max_cu: limit.max_cu,
        suspend_after: limit.suspend_after.clone(),
        settings: BTreeMap::new(),
    };
    format!(
        "Neon's own default instead of the profile's {}, which it refuses: {}",
        in_words(&refused),
        limit.message
    )
}

/// For people: seconds in the largest unit of which they are whole ones.
fn readable(suspend_after: &str) -> String {
    let seconds = suspend_after.strip_suffix('s');
    let Some(seconds) = seconds.and_then(|seconds| seconds.parse::<i64>().ok()) else {
        return suspend_after.to_owned();
    };
    let units = [("d", 86_400), ("h", 3_600), ("m", 60)];
    let whole = units
        .into_iter()
        .find(|(_, unit)| seconds >= *unit && seconds % unit == 0);
    whole.map_or_else(
        || suspend_after.to_owned(),
        |(name, unit)| format!("{}{name}", seconds / unit),
    )
}

fn size(values: &ComputeValues) -> String {
    let number = |value: Option<f64>| value.map_or_else(String::new, |value| value.to_string());
    format!("{}-{} CU", number(values.min_cu), number(values.max_cu))
}

/// Where Neon has something else than what is asked.
fn differences(asked: &ComputeValues, seen: &ComputeValues) -> Vec<Field> {
    let near = |(a, b): (f64, f64)| (a - b).abs() < 0.01;
    let same_size = |asked: Option<f64>, seen: Option<f64>| asked.zip(seen).is_none_or(near);
    let mut fields = Vec::new();
    if !same_size(asked.min_cu, seen.min_cu) || !same_size(asked.max_cu, seen.max_cu) {
        fields.push(Field::Size);
    }
    let suspend = asked
        .suspend_after
        .as_ref()
        .zip(seen.suspend_after.as_ref());
    if suspend.is_some_and(|(asked, seen)| plain(asked) != plain(seen)) {
        fields.push(Field::SuspendAfter);
    }
    let settings = asked.settings.iter();
    let settings = settings.filter(|(name, value)| seen.settings.get(*name) != Some(value));
    fields.extend(settings.map(|(name, _)| Field::Setting(name.clone())));
    fields
}

/// To Neon its default and 300 seconds are one.
fn plain(suspend_after: &str) -> &str {
    if suspend_after == "default" {
        return "300s";
    }
    suspend_after
}

#[cfg(test)]
mod tests;
