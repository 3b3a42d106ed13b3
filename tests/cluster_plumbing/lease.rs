//! Leadership: one holder at a time, handed on when it stops, taken when it is gone.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use kube::{
    Api,
    api::{ObjectMeta, Patch, PatchParams, PostParams},
};
use sepulki::cluster::{Candidate, Clients, Ended, Held};
use serde_json::json;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::{
    forwarder::Forwarder,
    widget::{Bench, eventually},
};

const NAME: &str = "sepulki-operator-test";

impl Bench {
    async fn acquire(&self, me: &str) -> Held {
        let candidate = Candidate::new(self.client(), &self.namespace, NAME, me);
        let stop = CancellationToken::new();
        let acquired = candidate.acquire(&stop, || {});
        timeout(Duration::from_secs(40), acquired)
            .await
            .expect("acquired in time")
            .unwrap()
    }

    fn leases(&self) -> Api<Lease> {
        Api::namespaced(self.client(), &self.namespace)
    }

    async fn holder(&self) -> Option<String> {
        self.leases()
            .get(NAME)
            .await
            .unwrap()
            .spec
            .unwrap()
            .holder_identity
    }

    async fn set_holder(&self, holder: &str) {
        let change = json!({"spec": {"holderIdentity": holder}});
        self.leases()
            .patch(NAME, &PatchParams::default(), &Patch::Merge(change))
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn of_two_that_start_together_one_leads_until_it_stops() {
    let bench = Bench::new().await;
    let stop = CancellationToken::new();
    let candidate = |me| {
        let (client, stop) = (bench.client(), stop.clone());
        let candidate = Candidate::new(client, &bench.namespace, NAME, me);
        tokio::spawn(async move { candidate.acquire(&stop, || {}).await })
    };
    let (mut one, mut two) = (candidate("one"), candidate("two"));
    let (first, other) = tokio::select! {
        held = &mut one => (held.unwrap().unwrap(), two),
        held = &mut two => (held.unwrap().unwrap(), one),
    };
    let leader = bench.holder().await.unwrap();
    let claim = first.claim();
    assert!(claim.is_current());
    assert!(!other.is_finished());

    let handing_over = CancellationToken::new();
    handing_over.cancel();
    assert_eq!(first.keep(handing_over).await, Ended::Released);
    assert!(!claim.is_current());
    let second = timeout(Duration::from_secs(10), other)
        .await
        .expect("at once")
        .unwrap()
        .unwrap();
    assert!(second.claim().is_current());
    assert_ne!(bench.holder().await.unwrap(), leader);
    let transitions = bench
        .leases()
        .get(NAME)
        .await
        .unwrap()
        .spec
        .unwrap()
        .lease_transitions;
    assert_eq!(transitions, Some(2));
}

#[tokio::test]
async fn a_holder_that_is_gone_is_waited_out() {
    let bench = Bench::new().await;
    let gone: Lease = Lease {
        metadata: ObjectMeta {
            name: Some(NAME.into()),
            ..ObjectMeta::default()
        },
        spec: serde_json::from_value(json!({"holderIdentity": "gone", "leaseDurationSeconds": 3}))
            .unwrap(),
    };
    bench
        .leases()
        .create(&PostParams::default(), &gone)
        .await
        .unwrap();
    let candidate = Candidate::new(bench.client(), &bench.namespace, NAME, "next");
    let stop = CancellationToken::new();
    let mut acquired = std::pin::pin!(candidate.acquire(&stop, || {}));
    assert!(
        timeout(Duration::from_millis(2500), &mut acquired)
            .await
            .is_err(),
        "still its turn"
    );
    assert_eq!(bench.holder().await.as_deref(), Some("gone"));
    timeout(Duration::from_secs(10), acquired)
        .await
        .expect("expired")
        .unwrap();
    assert_eq!(bench.holder().await.as_deref(), Some("next"));
}

#[tokio::test]
async fn a_lease_that_was_taken_over_is_lost() {
    let bench = Bench::new().await;
    let held = bench.acquire("one").await;
    let claim = held.claim();
    bench.set_holder("two").await;
    let ended = timeout(Duration::from_secs(12), held.keep(CancellationToken::new())).await;
    assert_eq!(ended.expect("noticed at the next renewal"), Ended::Lost);
    assert!(!claim.is_current() && claim.ended().is_cancelled());
    assert_eq!(
        bench.holder().await.as_deref(),
        Some("two"),
        "and left to the other"
    );
}

#[tokio::test]
async fn a_leader_that_cannot_renew_stops_before_another_may_start() {
    let bench = Bench::new().await;
    let config = bench.control_plane.config().await.unwrap();
    let way = Forwarder::new(&config).await;
    let client = Clients::new(way.config(&config)).unwrap().request;
    let candidate = Candidate::new(client, &bench.namespace, NAME, "cut-off");
    let held = candidate
        .acquire(&CancellationToken::new(), || {})
        .await
        .unwrap();
    let claim = held.claim();
    way.cut();
    let mut other = std::pin::pin!(bench.acquire("other"));
    let ended = tokio::select! {
        ended = held.keep(CancellationToken::new()) => ended,
        _ = &mut other => panic!("two leaders"),
    };
    assert_eq!(ended, Ended::Lost);
    assert!(!claim.is_current());
    assert_eq!(
        bench.holder().await.as_deref(),
        Some("cut-off"),
        "its lease still runs"
    );
    assert!(other.await.claim().is_current());
}

#[tokio::test]
async fn a_short_outage_costs_no_leadership() {
    let bench = Bench::new().await;
    let config = bench.control_plane.config().await.unwrap();
    let way = Forwarder::new(&config).await;
    let client = Clients::new(way.config(&config)).unwrap().request;
    let candidate = Candidate::new(client, &bench.namespace, NAME, "one");
    let held = candidate
        .acquire(&CancellationToken::new(), || {})
        .await
        .unwrap();
    let (claim, stop) = (held.claim(), CancellationToken::new());
    let acquired = bench
        .leases()
        .get(NAME)
        .await
        .unwrap()
        .spec
        .unwrap()
        .renew_time;
    way.cut();
    let keeping = tokio::spawn(held.keep(stop.clone()));
    // Longer than until the first renewal, shorter than the claim.
    tokio::time::sleep(Duration::from_secs(7)).await;
    way.mend();
    eventually("renewed", async || {
        let lease = bench.leases().get(NAME).await.unwrap();
        (lease.spec.unwrap().renew_time > acquired).then_some(())
    })
    .await;
    assert!(claim.is_current());
    stop.cancel();
    assert_eq!(keeping.await.unwrap(), Ended::Released);
}

#[tokio::test]
async fn a_label_on_the_lease_is_no_takeover() {
    let bench = Bench::new().await;
    let held = bench.acquire("one").await;
    let claim = held.claim();
    let before = bench
        .leases()
        .get(NAME)
        .await
        .unwrap()
        .spec
        .unwrap()
        .renew_time;
    let label = json!({"metadata": {"labels": {"team": "a"}}});
    bench
        .leases()
        .patch(NAME, &PatchParams::default(), &Patch::Merge(label))
        .await
        .unwrap();
    let stop = CancellationToken::new();
    let keeping = tokio::spawn(held.keep(stop.clone()));
    eventually("renewed", async || {
        let lease = bench.leases().get(NAME).await.unwrap();
        (lease.spec.unwrap().renew_time > before).then_some(())
    })
    .await;
    assert!(claim.is_current());
    stop.cancel();
    assert_eq!(keeping.await.unwrap(), Ended::Released);
    let lease = bench.leases().get(NAME).await.unwrap();
    assert_eq!(lease.metadata.labels.unwrap()["team"], "a");
    assert_eq!(lease.spec.unwrap().holder_identity, None);
}

#[tokio::test]
async fn a_candidate_that_is_stopped_leaves_no_trace() {
    let bench = Bench::new().await;
    let _held = bench.acquire("one").await;
    let stop = CancellationToken::new();
    let candidate = Candidate::new(bench.client(), &bench.namespace, NAME, "two");
    let waiting = tokio::spawn({
        let stop = stop.clone();
        async move { candidate.acquire(&stop, || {}).await.is_none() }
    });
    stop.cancel();
    assert!(waiting.await.unwrap());
    assert_eq!(bench.holder().await.as_deref(), Some("one"));
}
