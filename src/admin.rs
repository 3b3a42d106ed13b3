//! The admin server: `/livez`, `/readyz`, `/metrics`. Read-only and without authentication, as probes and Prometheus
//! expect.

use std::{
    collections::BTreeSet,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::telemetry::{CONTENT_TYPE, Metrics};

/// What has to happen before the operator is ready. All clones are the same.
///
/// Ready means: does what its place asks for. One that stands by while another leads does all that there is to do, and a
/// rollout of several waits for nothing.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<Mutex<Standing>>);

#[derive(Debug, Default)]
struct Standing {
    standing_by: bool,
    /// The gates that have not been passed.
    closed: BTreeSet<&'static str>,
}

impl Readiness {
    /// Not ready before each of the `gates` has been passed; without gates, ready.
    #[must_use]
    pub fn new(gates: impl IntoIterator<Item = &'static str>) -> Self {
        Self(Arc::new(Mutex::new(Standing {
            standing_by: false,
            closed: gates.into_iter().collect(),
        })))
    }

    /// Another operator leads, and this one has seen that: ready to take over.
    pub fn stand_by(&self) {
        self.lock().standing_by = true;
    }

    /// This operator leads: from now on the gates count.
    pub fn lead(&self) {
        self.lock().standing_by = false;
    }

    /// `gate` has been passed. For good: an operator that waits for a server that is away is still the one to serve.
    pub fn pass(&self, gate: &'static str) {
        self.lock().closed.remove(gate);
    }

    /// What keeps it from being ready.
    #[must_use]
    pub fn pending(&self) -> Vec<&'static str> {
        let state = self.lock();
        if state.standing_by {
            return Vec::new();
        }
        state.closed.iter().copied().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Standing> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Serves until `stop` is cancelled, then finishes the answers that are under way.
///
/// # Errors
/// When the listener fails.
pub async fn serve(
    listener: TcpListener,
    readiness: Readiness,
    metrics: Metrics,
    stop: CancellationToken,
) -> io::Result<()> {
    let routes = Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(readyz).with_state(readiness))
        .route("/metrics", get(self::metrics).with_state(metrics));
    axum::serve(listener, routes)
        .with_graceful_shutdown(stop.cancelled_owned())
        .await
}

async fn readyz(State(readiness): State<Readiness>) -> (StatusCode, String) {
    let pending = readiness.pending();
    if pending.is_empty() {
        (StatusCode::OK, "ok\n".to_owned())
    } else {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            format!("not ready: {}\n", pending.join(", ")),
        )
    }
}

async fn metrics(State(metrics): State<Metrics>) -> Response {
    match metrics.encode() {
        Ok(text) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn fetch(base: &str, path: &str) -> (u16, String, String) {
        let answer = reqwest::get(format!("{base}{path}")).await.unwrap();
        let kind = answer
            .headers()
            .get("content-type")
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned();
        (answer.status().as_u16(), kind, answer.text().await.unwrap())
    }

    #[tokio::test]
    async fn probes_and_metrics_tell_the_state_of_the_operator() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let readiness = Readiness::new(["NeonDatabase watch", "SepulkiMigration watch"]);
        let (metrics, stop) = (Metrics::new(), CancellationToken::new());
        let server = tokio::spawn(serve(
            listener,
            readiness.clone(),
            metrics.clone(),
            stop.clone(),
        ));

        assert_eq!(fetch(&base, "/livez").await.0, 200);
        let (status, _, body) = fetch(&base, "/readyz").await;
        assert_eq!(
            (status, body.as_str()),
            (
                503,
                "not ready: NeonDatabase watch, SepulkiMigration watch\n"
            )
        );
        readiness.pass("NeonDatabase watch");
        let (status, _, body) = fetch(&base, "/readyz").await;
        assert_eq!(
            (status, body.as_str()),
            (503, "not ready: SepulkiMigration watch\n")
        );
        readiness.pass("SepulkiMigration watch");
        assert_eq!(fetch(&base, "/readyz").await.0, 200);

        metrics.branch_left_behind();
        let (status, kind, body) = fetch(&base, "/metrics").await;
        assert_eq!((status, kind.as_str()), (200, CONTENT_TYPE));
        assert!(
            body.contains("sepulki_branches_left_behind_total 1\n"),
            "{body}"
        );
        assert!(body.contains("process_resident_memory_bytes "), "{body}");

        stop.cancel();
        server.await.unwrap().unwrap();
    }
}
