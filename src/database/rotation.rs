//! When the login of a role is replaced, and when the one before it goes. Pure.
//!
//! ```text
//!  app_g1 works ──every──▶ app_g2 is named in the status ─▶ made, tried, published ──overlap──▶ app_g1 is dropped
//! ```
//!
//! The status says where this stands, so it goes on there whatever happens in between: a login that is named and whose
//! publication is not recorded is being made; one that came before and is still named has not been dropped yet.

use jiff::{SignedDuration, Timestamp};

use super::desired::Rest;
use crate::api::{NeonDatabaseStatus, RoleStatus};

/// How often a login is replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// After how long; none for never.
    pub every: Option<SignedDuration>,
    /// How long the one before still works.
    pub overlap: SignedDuration,
}

/// What is to be done about a role's login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The one before has worked for long enough.
    DropPrevious(String),
    /// It is time for another one.
    Replace,
    /// Nothing until then.
    Rest(Option<Timestamp>),
}

/// The next step for a role.
#[must_use]
pub fn step(rotation: Rotation, role: &RoleStatus, now: Timestamp) -> Step {
    // without it the login is not out yet, and then nothing is due
    let Some(out) = role.rotation_time.as_ref().map(|time| time.0) else {
        return Step::Rest(None);
    };
    // a time beyond all reckoning never comes
    let after = |length: SignedDuration| out.checked_add(length).ok();
    if let Some(previous) = &role.previous_login {
        return match after(rotation.overlap) {
            Some(end) if end <= now => Step::DropPrevious(previous.clone()),
            end => Step::Rest(end),
        };
    }
    match rotation.every.and_then(after) {
        Some(due) if due <= now => Step::Replace,
        due => Step::Rest(due),
    }
}

/// The steps of all roles that are asked for and known.
pub fn steps<'a>(
    rest: &'a Rest,
    recorded: &'a NeonDatabaseStatus,
    now: Timestamp,
) -> impl Iterator<Item = (&'a RoleStatus, Step)> {
    let published = rest.roles_with_secret();
    rest.roles.iter().filter_map(move |role| {
        let known = recorded
            .roles
            .iter()
            .find(|known| known.name == role.name)?;
        let mut rotation = role.rotation;
        if !published.contains(role.name.as_str()) {
            // nobody uses its login
            rotation.every = None;
        }
        Some((known, step(rotation, known, now)))
    })
}

/// When something is due for a role next; none where nothing ever is.
#[must_use]
pub fn next(rest: &Rest, recorded: &NeonDatabaseStatus, now: Timestamp) -> Option<Timestamp> {
    steps(rest, recorded, now)
        .filter_map(|(_, step)| match step {
            Step::Rest(until) => until,
            Step::DropPrevious(_) | Step::Replace => Some(now),
        })
        .min()
}

/// Says of every Secret that is out what is known of its role's login.
pub fn tell_secrets(status: &mut NeonDatabaseStatus) {
    for secret in &mut status.connection_secrets {
        let role = status.roles.iter().find(|role| role.name == secret.role);
        let role = role.filter(|role| role.login.as_ref() == Some(&secret.login));
        if let Some(role) = role {
            secret.previous_login.clone_from(&role.previous_login);
            secret.rotation_time.clone_from(&role.rotation_time);
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;

    fn at(hours: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + hours * 3_600).unwrap()
    }

    fn role(out: Option<i64>, previous: Option<&str>) -> RoleStatus {
        RoleStatus {
            name: "web".into(),
            login: Some("web_g2".into()),
            previous_login: previous.map(str::to_owned),
            rotation_time: out.map(|hours| Time(at(hours))),
            ..RoleStatus::default()
        }
    }

    #[test]
    fn steps_by_time() {
        let hours = SignedDuration::from_hours;
        let rotation = Rotation {
            every: Some(hours(10)),
            overlap: hours(2),
        };
        let never = Rotation {
            every: None,
            overlap: hours(2),
        };
        let endless = Rotation {
            every: Some(SignedDuration::MAX),
            overlap: SignedDuration::MAX,
        };
        let drop = || Step::DropPrevious("web_g1".into());
        let rest = |hours| Step::Rest(Some(at(hours)));
        let rows = [
            (rotation, role(Some(0), None), 9, rest(10)),
            (rotation, role(Some(0), None), 10, Step::Replace),
            (rotation, role(Some(0), Some("web_g1")), 1, rest(2)),
            (rotation, role(Some(0), Some("web_g1")), 2, drop()),
            // the one before goes first, however late it is
            (rotation, role(Some(0), Some("web_g1")), 99, drop()),
            // not out yet
            (rotation, role(None, Some("web_g1")), 99, Step::Rest(None)),
            (rotation, role(None, None), 99, Step::Rest(None)),
            (never, role(Some(0), None), 99, Step::Rest(None)),
            // what has begun comes to its end
            (never, role(Some(0), Some("web_g1")), 2, drop()),
            (endless, role(Some(0), None), 99, Step::Rest(None)),
            (endless, role(Some(0), Some("web_g1")), 99, Step::Rest(None)),
        ];
        for (rotation, role, now, expected) in rows {
            assert_eq!(
                step(rotation, &role, at(now)),
                expected,
                "{role:?} at {now}"
            );
        }
    }
}
