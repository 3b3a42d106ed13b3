//! One HTTP attempt: address, headers, time-outs, and what came back.
//!
//! Repeats nothing itself: reqwest's own retries and redirects are switched off, [`super::pacing`] decides.

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method, header};
use reqwest::Url;
use serde::de::DeserializeOwned;
use serde_json::Value;
use uuid::Uuid;

use super::pacing::stopwatch;
use super::redact::redact;
use super::{ApiHost, Call, CallObserver, Error, ErrorKind, PacingRules, Result};

const USER_AGENT: &str = concat!("sepulki-operator/", env!("CARGO_PKG_VERSION"));
/// Under which Neon tells its own id of a request.
const NEON_REQUEST_ID: &str = "x-neon-ret-request-id";
/// Under which it takes ours.
const REQUEST_ID: &str = "x-request-id";

/// How Neon is reached.
#[derive(Clone, Debug)]
pub struct ClientSettings {
    /// Where the API is.
    pub host: ApiHost,
    /// Longest time for a connection to come about.
    pub connect_timeout: Duration,
    /// Longest time for a whole call that changes nothing; it may be tried several times.
    pub read_timeout: Duration,
    /// Longest time for a whole call that changes something. Creating a branch takes Neon up to 12 s, and an answer
    /// that is not waited for costs more than the waiting.
    pub mutation_timeout: Duration,
    /// How politely.
    pub pacing: PacingRules,
}

impl ClientSettings {
    /// What fits hosted Neon.
    #[must_use]
    pub fn new(host: ApiHost) -> Self {
        Self {
            host,
            connect_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_secs(20),
            mutation_timeout: Duration::from_mins(1),
            pacing: PacingRules::default(),
        }
    }
}

/// HTTPS cannot be used at all, for instance because the system has no certificates.
#[derive(Debug, thiserror::Error)]
#[error("cannot set up HTTPS")]
pub struct SetupError(#[from] reqwest::Error);

/// The connections to Neon, shared by all keys.
pub(super) struct Transport {
    http: reqwest::Client,
    settings: ClientSettings,
    observer: Arc<dyn CallObserver>,
}

/// A call, independent of who makes it.
pub(super) struct Request<'a> {
    pub(super) method: Method,
    /// Template of the path; `{…}` stands for one of the ids, in order.
    pub(super) route: &'static str,
    pub(super) ids: &'a [&'a str],
    pub(super) query: &'a [(&'static str, &'a str)],
    pub(super) body: Option<Value>,
}

/// A successful answer.
#[derive(Debug)]
pub(super) struct Answer {
    status: u16,
    body: Vec<u8>,
    request_id: String,
}

impl Transport {
    pub(super) fn new(
        settings: ClientSettings,
        observer: Arc<dyn CallObserver>,
    ) -> std::result::Result<Self, SetupError> {
        let mut http = reqwest::Client::builder()
            .user_agent(USER_AGENT)
            .connect_timeout(settings.connect_timeout)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never());
        if settings.host.is_loopback() {
            http = http.no_proxy();
        }
        if settings.host.is_plain() {
            // No certificate will be looked at, so a machine without any will do.
            http = http.tls_certs_only([]);
        }
        Ok(Self {
            http: http.build()?,
            settings,
            observer,
        })
    }

    /// Makes one attempt and tells the observer. `key` is only taken out of error texts.
    pub(super) async fn attempt(
        &self,
        request: &Request<'_>,
        bearer: &HeaderValue,
        key: &str,
        budget_wait: Duration,
    ) -> Result<Answer> {
        let url = self.address(request)?;
        let request_id = Uuid::new_v4().to_string();
        let began = stopwatch();
        let result = self.send(request, url, bearer, key, &request_id).await;
        let call = Call {
            method: method_name(&request.method),
            route: request.route,
            status: match &result {
                Ok(answer) => Some(answer.status),
                Err(error) => error.status,
            },
            budget_wait,
            duration: began.elapsed(),
        };
        self.observer.call(&call);
        tracing::debug!(
            method = call.method,
            route = call.route,
            status = call.status,
            request_id,
            duration_ms = call.duration.as_millis(),
            "called Neon"
        );
        if let Err(error) = &result
            && !passes_by_itself(error.kind)
        {
            tracing::info!(
                method = call.method,
                route = call.route,
                status = call.status,
                request_id = error.request_id,
                %error,
                "a call to Neon failed"
            );
        }
        result
    }

    fn address(&self, request: &Request<'_>) -> Result<Url> {
        let mut ids = request.ids.iter();
        let mut segments = Vec::new();
        for part in request.route.split('/').skip(1) {
            segments.push(if part.starts_with('{') {
                ids.next().copied().unwrap_or_default()
            } else {
                part
            });
        }
        let mut url = self.settings.host.join(segments).ok_or_else(|| {
            let message = format!(
                "an empty or dotted name cannot be put into {}",
                request.route
            );
            Error::without_answer(ErrorKind::Rejected, message)
        })?;
        if !request.query.is_empty() {
            url.query_pairs_mut().extend_pairs(request.query);
        }
        Ok(url)
    }

    async fn send(
        &self,
        request: &Request<'_>,
        url: Url,
        bearer: &HeaderValue,
        key: &str,
        request_id: &str,
    ) -> Result<Answer> {
        let lost = |error: reqwest::Error| {
            let mut error = Error::lost(redact(&describe(error), key));
            error.request_id = Some(request_id.to_owned());
            error
        };
        let timeout = if request.method.is_safe() {
            self.settings.read_timeout
        } else {
            self.settings.mutation_timeout
        };
        let mut call = self
            .http
            .request(request.method.clone(), url)
            .timeout(timeout)
            .header(header::AUTHORIZATION, bearer)
            .header(header::ACCEPT, "application/json")
            .header(REQUEST_ID, request_id);
        if let Some(body) = &request.body {
            call = call.json(body);
        }
        let response = call.send().await.map_err(lost)?;
        let status = response.status();
        let headers = response.headers().clone();
        let request_id = text(&headers, NEON_REQUEST_ID).unwrap_or(request_id);
        let body = response.bytes().await.map_err(lost)?;
        if status.is_success() {
            return Ok(Answer {
                status: status.as_u16(),
                body: body.to_vec(),
                request_id: request_id.to_owned(),
            });
        }
        let mut error = Error::from_answer(status.as_u16(), &body, key);
        error
            .request_id
            .get_or_insert_with(|| request_id.to_owned());
        error.retry_after = retry_after(&headers);
        Err(error)
    }
}

impl Answer {
    /// The answer's body. What cannot be read counts as lost: the call may well have been carried out.
    pub(super) fn read<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_slice(&self.body)
            .map_err(|error| self.unreadable(&redact(&error.to_string(), "")))
    }

    /// The same for a body that holds a secret, which the error must not quote.
    pub(super) fn read_secret<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_slice(&self.body).map_err(|_| self.unreadable("not of the expected form"))
    }

    /// The same where nothing at all says that there was nothing to do.
    pub(super) fn read_or_default<T: DeserializeOwned + Default>(&self) -> Result<T> {
        if self.body.is_empty() {
            return Ok(T::default());
        }
        self.read()
    }

    fn unreadable(&self, why: &str) -> Error {
        Error {
            limit: None,
            kind: ErrorKind::Lost,
            status: Some(self.status),
            message: format!("the answer cannot be read: {why}"),
            request_id: Some(self.request_id.clone()),
            retry_after: None,
        }
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// In seconds; the other form, a date, has not been seen of Neon.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = text(headers, header::RETRY_AFTER.as_str())?.trim().parse();
    seconds.ok().map(Duration::from_secs)
}

/// From a closed list, so that it fits a metric's label.
fn method_name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        _ => "other",
    }
}

/// What every busy project answers now and then, and [`super::pacing`] repeats: no news to people. What comes of it is told
/// by the object.
fn passes_by_itself(kind: ErrorKind) -> bool {
    match kind {
        ErrorKind::Locked | ErrorKind::NotReady => true,
        ErrorKind::Denied
        | ErrorKind::NotFound
        | ErrorKind::Conflict
        | ErrorKind::RateLimited
        | ErrorKind::Protected
        | ErrorKind::HasChildren
        | ErrorKind::Limit
        | ErrorKind::PasswordsNotStored
        | ErrorKind::Rejected
        | ErrorKind::Server
        | ErrorKind::Lost => false,
    }
}

/// What the connection said, with its causes, without the address.
fn describe(error: reqwest::Error) -> String {
    if error.is_timeout() && !error.is_connect() {
        return "no complete answer in time".to_owned();
    }
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
