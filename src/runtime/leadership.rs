//! Works only while this process leads; until then it stands by, and is ready for that.

use anyhow::Result;
use tokio_util::sync::CancellationToken;

use crate::admin::Readiness;
use crate::cluster::{Candidate, Ended, Held};

/// Waits for the lease, then works until the work is done or the lease is lost.
pub(super) async fn lead(
    candidate: Candidate,
    readiness: &Readiness,
    stop: &CancellationToken,
    work: impl Future<Output = Result<()>>,
) -> Result<()> {
    let acquired = candidate.acquire(stop, || readiness.stand_by()).await;
    let Some(held) = acquired else {
        return Ok(());
    };
    readiness.lead();
    let done = CancellationToken::new();
    let keep = keep(held, done.clone(), stop.clone());
    let work = async {
        let result = work.await;
        done.cancel();
        result
    };
    let (result, kept) = tokio::join!(work, keep);
    kept.and(result)
}

/// Renews the lease until the work is done; a lease that is lost stops the work, because another may have begun it.
async fn keep(held: Held, done: CancellationToken, stop: CancellationToken) -> Result<()> {
    let ended = held.keep(done.clone()).await;
    match ended {
        Ended::Released => Ok(()),
        Ended::Lost => {
            stop.cancel();
            anyhow::bail!("the leader's lease was lost")
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    use axum::extract::State;
    use axum::{Json, Router, http::StatusCode, routing::get};
    use serde_json::{Value, json};
    use tokio::net::TcpListener;
    use tokio::sync::Notify;
    use tokio::time::timeout;

    use super::*;

    /// The part of an API server that a candidate talks to: a lease that another holds, or holds no more.
    struct Server {
        is_free: AtomicBool,
    }

    impl Server {
        fn lease(&self) -> Value {
            let holder = if self.is_free.load(Ordering::SeqCst) {
                ""
            } else {
                "other"
            };
            json!({
                "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
                "metadata": {"name": "lease", "namespace": "system", "resourceVersion": "1"},
                "spec": {"holderIdentity": holder, "leaseDurationSeconds": 15},
            })
        }
    }

    async fn candidate(server: &Arc<Server>) -> Candidate {
        let lease = get(async |State(server): State<Arc<Server>>| Json(server.lease()));
        let lease = lease.patch(async |State(server): State<Arc<Server>>| Json(server.lease()));
        let path = "/apis/coordination.k8s.io/v1/namespaces/system/leases/lease";
        let routes = Router::new().route(path, lease);
        let routes = routes.fallback(async || StatusCode::NOT_FOUND);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let routes = routes.with_state(Arc::clone(server));
        tokio::spawn(axum::serve(listener, routes).into_future());
        let client = kube::Config::new(address.parse().unwrap()).try_into();
        Candidate::new(client.unwrap(), "system", "lease", "me")
    }

    /// Whether it says so within a few looks.
    async fn becomes(readiness: &Readiness, pending: &[&str]) -> bool {
        let seen = async {
            while readiness.pending() != pending {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(Duration::from_secs(10), seen).await.is_ok()
    }

    #[tokio::test]
    async fn one_that_stands_by_is_ready_and_one_that_leads_is_when_its_gates_are_passed() {
        let server = Arc::new(Server {
            is_free: AtomicBool::new(false),
        });
        let readiness = Readiness::new(["watch"]);
        let stop = CancellationToken::new();
        let finish = Notify::new();
        let work = async {
            finish.notified().await;
            Ok(())
        };
        let candidate = candidate(&server).await;
        let leading = lead(candidate, &readiness, &stop, work);
        let watching = async {
            // of the lease nothing is known yet
            assert_eq!(readiness.pending(), ["watch"]);
            assert!(becomes(&readiness, &[]).await, "stands by");
            server.is_free.store(true, Ordering::SeqCst);
            assert!(becomes(&readiness, &["watch"]).await, "leads");
            readiness.pass("watch");
            assert_eq!(readiness.pending(), [""; 0]);
            finish.notify_one();
        };
        let (led, ()) = tokio::join!(leading, watching);
        led.unwrap();
    }
}
