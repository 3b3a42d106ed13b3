//! Whether a candidate may take the lease. Pure.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use tokio::time::Instant;

use super::{LEASE_SECONDS, holder};

/// The lease as this process sees it, and since when it has been so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sighting {
    holder: Option<String>,
    version: String,
    duration: Duration,
    since: Instant,
}

impl Sighting {
    /// What is seen at `now`. As long as the lease does not change, its age counts from the first time it was seen so.
    pub(super) fn of(lease: &Lease, before: Option<Self>, now: Instant) -> Self {
        let version = lease.metadata.resource_version.clone().unwrap_or_default();
        let since = before
            .filter(|before| before.version == version)
            .map_or(now, |before| before.since);
        let seconds = lease
            .spec
            .as_ref()
            .and_then(|spec| spec.lease_duration_seconds)
            .unwrap_or(LEASE_SECONDS);
        let duration = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
        Self {
            holder: holder(lease).map(str::to_owned),
            version,
            duration,
            since,
        }
    }
}

/// What a candidate does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nobody holds it, or its holder has let it expire.
    Acquire,
    /// We hold it: an earlier write of ours arrived and its answer did not.
    Renew,
    /// Somebody else holds it.
    Wait,
}

/// | lease | step |
/// |---|---|
/// | none | `Acquire` |
/// | without holder | `Acquire` |
/// | ours | `Renew` |
/// | another's, seen unchanged for its whole duration | `Acquire` |
/// | another's | `Wait` |
pub(super) fn decide(seen: Option<&Sighting>, me: &str, now: Instant) -> Step {
    let Some(seen) = seen else {
        return Step::Acquire;
    };
    match seen.holder.as_deref() {
        None => Step::Acquire,
        Some(holder) if holder == me => Step::Renew,
        Some(_) if now.saturating_duration_since(seen.since) >= seen.duration => Step::Acquire,
        Some(_) => Step::Wait,
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::coordination::v1::LeaseSpec;

    use super::*;
    use crate::clock::monotonic;

    fn lease(version: &str, holder: Option<&str>) -> Lease {
        let mut lease = Lease {
            spec: Some(LeaseSpec {
                holder_identity: holder.map(str::to_owned),
                lease_duration_seconds: Some(15),
                ..LeaseSpec::default()
            }),
            ..Lease::default()
        };
        lease.metadata.resource_version = Some(version.to_owned());
        lease
    }

    #[test]
    fn every_row_of_the_table() {
        let first = monotonic();
        let after = |seconds| first + Duration::from_secs(seconds);
        for (row, seen, now, step) in [
            ("none", None, first, Step::Acquire),
            ("released", Some(lease("1", None)), first, Step::Acquire),
            (
                "released by an empty name",
                Some(lease("1", Some(""))),
                first,
                Step::Acquire,
            ),
            ("ours", Some(lease("1", Some("me"))), first, Step::Renew),
            (
                "another's",
                Some(lease("1", Some("you"))),
                after(14),
                Step::Wait,
            ),
            (
                "another's, expired",
                Some(lease("1", Some("you"))),
                after(15),
                Step::Acquire,
            ),
        ] {
            let seen = seen.map(|lease| Sighting::of(&lease, None, first));
            assert_eq!(decide(seen.as_ref(), "me", now), step, "{row}");
        }
    }

    #[test]
    fn a_renewal_starts_the_age_anew_and_a_look_does_not() {
        let first = monotonic();
        let after = |seconds| first + Duration::from_secs(seconds);
        let seen = Sighting::of(&lease("1", Some("you")), None, first);
        let looked = Sighting::of(&lease("1", Some("you")), Some(seen.clone()), after(10));
        assert_eq!(decide(Some(&looked), "me", after(15)), Step::Acquire);
        let renewed = Sighting::of(&lease("2", Some("you")), Some(seen), after(10));
        assert_eq!(decide(Some(&renewed), "me", after(24)), Step::Wait);
        assert_eq!(decide(Some(&renewed), "me", after(25)), Step::Acquire);
    }
}
