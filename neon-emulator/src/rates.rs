//! How often an account may call: Neon counts the calls of all its keys together.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

const MINUTE: Duration = Duration::from_mins(1);
const SECOND: Duration = Duration::from_secs(1);

/// The route with a limit of its own: so many keys of an organization may be made in a second.
const NEW_KEYS: (&str, usize) = ("POST /organizations/{org_id}/api_keys", 10);

/// The calls that an account may make; more are refused with 429.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RateLimit {
    /// Of all its keys together, in any minute.
    pub per_minute: usize,
    /// Of those to one route (with its method), in any second.
    pub per_second_and_route: usize,
}

impl Default for RateLimit {
    /// What Neon documents.
    fn default() -> Self {
        Self {
            per_minute: 700,
            per_second_and_route: 40,
        }
    }
}

/// Counts the calls of accounts.
pub(crate) struct Rates {
    limit: Option<RateLimit>,
    accounts: Mutex<BTreeMap<String, Passed>>,
}

/// When an account's latest calls were.
#[derive(Default)]
struct Passed {
    all: VecDeque<Instant>,
    routes: BTreeMap<String, VecDeque<Instant>>,
}

impl Rates {
    /// Without a limit every call passes.
    pub(crate) fn new(limit: Option<RateLimit>) -> Self {
        Self {
            limit,
            accounts: Mutex::default(),
        }
    }

    /// Whether an account's call may pass now. One that is refused does not count.
    pub(crate) fn pass(&self, account: &str, method: &str, route: &str, now: Instant) -> bool {
        let Some(limit) = &self.limit else {
            return true;
        };
        let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = accounts.entry(account.to_owned()).or_default();
        let route = format!("{method} {route}");
        let of_route = match NEW_KEYS {
            (new_keys, most) if route == new_keys => most.min(limit.per_second_and_route),
            _ => limit.per_second_and_route,
        };
        let recent = passed.routes.entry(route).or_default();
        forget(&mut passed.all, MINUTE, now);
        forget(recent, SECOND, now);
        if passed.all.len() >= limit.per_minute || recent.len() >= of_route {
            return false;
        }
        passed.all.push_back(now);
        recent.push_back(now);
        true
    }
}

/// Drops what is older than a window that ends now.
fn forget(times: &mut VecDeque<Instant>, window: Duration, now: Instant) {
    while let Some(oldest) = times.front()
        && now.saturating_duration_since(*oldest) >= window
    {
        times.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "/projects/{project_id}/branches";

    fn rates(per_minute: usize, per_second_and_route: usize) -> Rates {
        Rates::new(Some(RateLimit {
            per_minute,
            per_second_and_route,
        }))
    }

    #[test]
    fn an_account_has_so_many_calls_in_any_minute() {
        let (rates, start) = (rates(3, 100), Instant::now());
        let at = |seconds| rates.pass("org", "GET", LIST, start + Duration::from_secs(seconds));
        assert!(at(0) && at(20) && at(40));
        assert!(!at(59));
        assert!(rates.pass("other", "GET", LIST, start), "another account");
        assert!(
            at(60),
            "the first is a minute ago, the refused one does not count"
        );
        assert!(!at(60));
    }

    #[test]
    fn a_route_has_so_many_calls_in_any_second() {
        let (rates, start) = (rates(1000, 2), Instant::now());
        let pass = |method, route, milliseconds| {
            rates.pass(
                "org",
                method,
                route,
                start + Duration::from_millis(milliseconds),
            )
        };
        assert!(pass("GET", LIST, 0) && pass("GET", LIST, 500));
        assert!(!pass("GET", LIST, 999));
        assert!(pass("POST", LIST, 999) && pass("GET", "/auth", 999));
        assert!(pass("GET", LIST, 1000));
    }

    #[test]
    fn an_organizations_keys_are_made_slowly() {
        let (rates, start) = (Rates::new(Some(RateLimit::default())), Instant::now());
        let made = (0..20)
            .filter(|_| rates.pass("org", "POST", "/organizations/{org_id}/api_keys", start));
        assert_eq!(made.count(), 10);
    }
}
