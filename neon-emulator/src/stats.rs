//! Counters: what was asked of the API, which connections came, which computes woke and slept.
//! They are how a client's tests show that it leaves a settled project alone.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, PoisonError},
};

use serde::{Deserialize, Serialize};

/// The counters since the start of the emulator. Also the body of `GET /_emulator/stats`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// Calls of the API by method, route and class of the answer.
    pub api_calls: Vec<ApiCalls>,
    /// Connections that the proxy accepted, cancel requests included.
    pub connections_accepted: u64,
    /// Connections that ended before an endpoint was known: not TLS, no or unknown endpoint.
    pub connections_refused: u64,
    /// Cancel requests that were passed on.
    pub cancel_requests: u64,
    /// By endpoint id. Endpoints that nothing happened to are missing.
    pub endpoints: BTreeMap<String, EndpointStats>,
    /// The endpoints whose server runs now.
    pub active_computes: BTreeSet<String>,
    /// Files of branches that were cloned: they share their blocks with those they came from.
    pub files_cloned: u64,
    /// Files of branches that were copied byte by byte, as the file system could not clone them.
    pub files_copied: u64,
}

/// One row of [`Stats::api_calls`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiCalls {
    /// `GET`, `POST` and so on.
    pub method: String,
    /// The route as the specification writes it, below the base path, for instance
    /// `/projects/{project_id}/branches`; `unknown` where there is none.
    pub route: String,
    /// `2xx`, `4xx` and so on.
    pub status_class: String,
    /// How many.
    pub count: u64,
}

/// What happened to one endpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointStats {
    /// Connections that named this endpoint.
    pub accepted: u64,
    /// Of those: proved their password and reached the server.
    pub authenticated: u64,
    /// Of those: were refused, or the compute could not be woken.
    pub failed: u64,
    /// Starts of the compute, for a connection or through the API; restarts included.
    pub wakeups: u64,
    /// Stops of the compute, idle or through the API; restarts not included.
    pub suspends: u64,
}

impl Stats {
    /// The counters of one endpoint, zero where nothing happened.
    #[must_use]
    pub fn endpoint(&self, id: &str) -> EndpointStats {
        self.endpoints.get(id).cloned().unwrap_or_default()
    }

    /// All calls of the API together.
    #[must_use]
    pub fn total_api_calls(&self) -> u64 {
        self.api_calls.iter().map(|calls| calls.count).sum()
    }

    /// Calls with this method and route, whatever the answer.
    #[must_use]
    pub fn api_calls_to(&self, method: &str, route: &str) -> u64 {
        let same = |calls: &&ApiCalls| calls.method == method && calls.route == route;
        self.api_calls
            .iter()
            .filter(same)
            .map(|calls| calls.count)
            .sum()
    }

    /// Connections to all endpoints together.
    #[must_use]
    pub fn total_connections(&self) -> u64 {
        self.endpoints
            .values()
            .map(|endpoint| endpoint.accepted)
            .sum()
    }

    /// Wake-ups of all computes together.
    #[must_use]
    pub fn total_wakeups(&self) -> u64 {
        self.endpoints
            .values()
            .map(|endpoint| endpoint.wakeups)
            .sum()
    }
}

/// Where the emulator counts.
#[derive(Default)]
pub(crate) struct Recorder {
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    api: BTreeMap<(String, String, String), u64>,
    accepted: u64,
    refused: u64,
    cancelled: u64,
    endpoints: BTreeMap<String, EndpointStats>,
}

impl Recorder {
    pub(crate) fn api_call(&self, method: &str, route: &str, status: u16) {
        let key = (
            method.to_owned(),
            route.to_owned(),
            format!("{}xx", status / 100),
        );
        self.count(|counts| *counts.api.entry(key).or_default() += 1);
    }

    pub(crate) fn connection_accepted(&self) {
        self.count(|counts| counts.accepted += 1);
    }

    pub(crate) fn connection_refused(&self) {
        self.count(|counts| counts.refused += 1);
    }

    pub(crate) fn cancel_request(&self) {
        self.count(|counts| counts.cancelled += 1);
    }

    /// Counts something at an endpoint.
    pub(crate) fn at(&self, endpoint_id: &str, add: impl FnOnce(&mut EndpointStats)) {
        self.count(|counts| add(counts.endpoints.entry(endpoint_id.to_owned()).or_default()));
    }

    /// What is counted here; what others count is zero.
    pub(crate) fn snapshot(&self) -> Stats {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let api_calls = counts
            .api
            .iter()
            .map(|((method, route, status_class), count)| ApiCalls {
                method: method.clone(),
                route: route.clone(),
                status_class: status_class.clone(),
                count: *count,
            });
        Stats {
            api_calls: api_calls.collect(),
            connections_accepted: counts.accepted,
            connections_refused: counts.refused,
            cancel_requests: counts.cancelled,
            endpoints: counts.endpoints.clone(),
            ..Stats::default()
        }
    }

    fn count(&self, add: impl FnOnce(&mut Counts)) {
        add(&mut self.counts.lock().unwrap_or_else(PoisonError::into_inner));
    }
}
