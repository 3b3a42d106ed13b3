//! The leader's lease: of several operators of one installation, one acts.
//!
//! ```text
//!  acquire ──▶ Held ──keep──▶ renewed every 5 s ──stop──▶ Released (the next one takes over at once)
//!                                  │
//!                                  └── no renewal for 10 s, or taken over ──▶ Lost: the process must exit
//! ```
//!
//! Expiry is judged by this process's monotonic clock alone: by how long it has seen the lease unchanged, never by the
//! times written in it. The holder stops acting 5 s before anybody else may take over. Every write rests on the
//! resource version that was read, so two candidates cannot both win.

mod decide;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
    core::ObjectMeta,
};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;

use self::decide::{Sighting, Step, decide};
use super::{Error, ErrorKind, FIELD_MANAGER, Result};
use crate::clock::{Clock, SystemClock, monotonic};

/// How long others must see the lease unchanged before they may take it.
const LEASE_SECONDS: i32 = 15;

/// How long after the start of its last renewal the holder still acts.
const CLAIM: Duration = Duration::from_secs(10);

/// How often the holder renews.
const RENEW_EVERY: Duration = Duration::from_secs(5);

/// How often a candidate looks.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// How long after a failed renewal the holder tries again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// How long one request may take: short enough for a second attempt before the claim ends.
const REQUEST: Duration = Duration::from_secs(3);

/// A candidate for the lease.
pub struct Candidate {
    api: Api<Lease>,
    name: String,
    me: String,
    seen: Option<Sighting>,
}

impl Candidate {
    /// Stands for the lease `name` in `namespace` under the name `me`, which no other process may ever use.
    #[must_use]
    pub fn new(client: Client, namespace: &str, name: &str, me: &str) -> Self {
        Self {
            api: Api::namespaced(client, namespace),
            name: name.to_owned(),
            me: me.to_owned(),
            seen: None,
        }
    }

    /// Waits until the lease is ours, and calls `stand_by` at every look that finds it another's. `None` when `stop` was
    /// cancelled first. Errors are logged and retried.
    pub async fn acquire(mut self, stop: &CancellationToken, stand_by: impl Fn()) -> Option<Held> {
        loop {
            let started = monotonic();
            let attempt = within(started + REQUEST, self.try_acquire());
            match stop.run_until_cancelled(attempt).await? {
                Ok(Some(lease)) => {
                    tracing::info!(lease = self.name, holder = self.me, "leading");
                    return Some(Held {
                        candidate: self,
                        lease,
                        claim: Claim::from(started),
                    });
                }
                Ok(None) => stand_by(),
                Err(error) => {
                    tracing::warn!(lease = self.name, %error, "leader's lease not read or written");
                }
            }
            stop.run_until_cancelled(sleep_until(started + LOOK_EVERY))
                .await?;
        }
    }

    async fn try_acquire(&mut self) -> Result<Option<Lease>> {
        let found = self.api.get_opt(&self.name).await?;
        let now = monotonic();
        self.seen = found
            .as_ref()
            .map(|lease| Sighting::of(lease, self.seen.take(), now));
        match decide(self.seen.as_ref(), &self.me, now) {
            Step::Wait => Ok(None),
            Step::Acquire | Step::Renew => match self.take(found.as_ref()).await {
                Ok(lease) => Ok(Some(lease)),
                // Somebody else was faster.
                Err(error) if error.kind == ErrorKind::Conflict => Ok(None),
                Err(error) => Err(error),
            },
        }
    }

    /// Writes our name, or a renewal of it, over what was `found`.
    async fn take(&self, found: Option<&Lease>) -> Result<Lease> {
        let now = MicroTime(SystemClock.now());
        let before = found
            .and_then(|lease| lease.spec.clone())
            .unwrap_or_default();
        let renewal = before.holder_identity.as_deref() == Some(self.me.as_str());
        let transitions = before.lease_transitions.unwrap_or(0);
        let spec = LeaseSpec {
            holder_identity: Some(self.me.clone()),
            lease_duration_seconds: Some(LEASE_SECONDS),
            acquire_time: before
                .acquire_time
                .filter(|_| renewal)
                .or_else(|| Some(now.clone())),
            renew_time: Some(now),
            lease_transitions: Some(transitions.saturating_add(i32::from(!renewal))),
            ..LeaseSpec::default()
        };
        match found {
            Some(found) => self.write_over(found, &json!(spec)).await,
            None => self.create(spec).await,
        }
    }

    async fn create(&self, spec: LeaseSpec) -> Result<Lease> {
        let metadata = ObjectMeta {
            name: Some(self.name.clone()),
            ..ObjectMeta::default()
        };
        let params = PostParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PostParams::default()
        };
        let lease = Lease {
            metadata,
            spec: Some(spec),
        };
        self.api.create(&params, &lease).await.map_err(Error::from)
    }

    /// Changes the lease, resting on the state in which it was `found`.
    async fn write_over(&self, found: &Lease, spec: &Value) -> Result<Lease> {
        let version = &found.metadata.resource_version;
        let change = json!({"metadata": {"resourceVersion": version}, "spec": spec});
        let params = PatchParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        self.api
            .patch(&self.name, &params, &Patch::Merge(change))
            .await
            .map_err(Error::from)
    }
}

/// How holding the lease ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Ended {
    /// Given back because we stop.
    Released,
    /// Not ours any more. Another operator may be acting: the process must exit.
    Lost,
}

/// The lease is ours. It stays so only while [`Held::keep`] runs.
pub struct Held {
    candidate: Candidate,
    lease: Lease,
    claim: Claim,
}

impl Held {
    /// Proof of leadership for whoever acts.
    #[must_use]
    pub fn claim(&self) -> Claim {
        self.claim.clone()
    }

    /// Renews until `stop` is cancelled, which should be after everything that acts has ended, or until the lease is
    /// lost. In both cases the claim ends first.
    pub async fn keep(mut self, stop: CancellationToken) -> Ended {
        let mut next = self.claim.renewed() + RENEW_EVERY;
        loop {
            if stop.run_until_cancelled(sleep_until(next)).await.is_none() {
                self.release().await;
                return Ended::Released;
            }
            let started = monotonic();
            let deadline = self.claim.until();
            if started >= deadline {
                return self.lost("not renewed in time");
            }
            match within(deadline.min(started + REQUEST), self.renew()).await {
                Ok(true) => {
                    self.claim.extend(started);
                    next = started + RENEW_EVERY;
                    continue;
                }
                Ok(false) => return self.lost("taken over"),
                Err(error) => {
                    tracing::warn!(lease = self.candidate.name, %error, "leader's lease not renewed");
                }
            }
            next = deadline.min(monotonic() + RETRY_AFTER);
        }
    }

    /// One renewal; false if the lease is another's.
    async fn renew(&mut self) -> Result<bool> {
        let lease = match self.candidate.take(Some(&self.lease)).await {
            Ok(lease) => lease,
            // Changed since we wrote it: by a renewal of ours whose answer got lost, by somebody who set a label, or
            // by another holder.
            Err(error) if error.kind == ErrorKind::Conflict => {
                let Some(found) = self.candidate.api.get_opt(&self.candidate.name).await? else {
                    return Ok(false);
                };
                if holder(&found) != Some(self.candidate.me.as_str()) {
                    return Ok(false);
                }
                self.candidate.take(Some(&found)).await?
            }
            Err(error) if error.kind == ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        self.lease = lease;
        Ok(true)
    }

    fn lost(self, why: &'static str) -> Ended {
        self.claim.end();
        tracing::error!(
            lease = self.candidate.name,
            holder = self.candidate.me,
            why,
            "no longer leading"
        );
        Ended::Lost
    }

    async fn release(self) {
        self.claim.end();
        let nobody = json!({"holderIdentity": null});
        let release = self.candidate.write_over(&self.lease, &nobody);
        // At worst the next one waits until it expires.
        match within(monotonic() + REQUEST, release).await {
            Ok(_) => tracing::info!(lease = self.candidate.name, "leader's lease released"),
            Err(error) => {
                tracing::warn!(lease = self.candidate.name, %error, "leader's lease not released");
            }
        }
    }
}

/// What `call` answers, if it does so before `deadline`.
async fn within<T>(deadline: Instant, call: impl Future<Output = Result<T>>) -> Result<T> {
    let late = |_| Err(Error::new(ErrorKind::Unavailable, "no answer in time"));
    timeout_at(deadline, call).await.unwrap_or_else(late)
}

fn holder(lease: &Lease) -> Option<&str> {
    let holder = lease.spec.as_ref()?.holder_identity.as_deref()?;
    (!holder.is_empty()).then_some(holder)
}

/// Proof of leadership, with expiry. Asked before every effect.
#[derive(Clone, Debug)]
pub struct Claim {
    /// Start of the last successful renewal; none for a claim that nobody contests.
    renewed: Arc<Mutex<Option<Instant>>>,
    ended: CancellationToken,
}

impl Claim {
    /// The claim of an operator that runs without election.
    #[must_use]
    pub fn unopposed() -> Self {
        Self {
            renewed: Arc::default(),
            ended: CancellationToken::new(),
        }
    }

    fn from(renewed: Instant) -> Self {
        Self {
            renewed: Arc::new(Mutex::new(Some(renewed))),
            ended: CancellationToken::new(),
        }
    }

    /// Whether an effect may begin.
    #[must_use]
    pub fn is_current(&self) -> bool {
        let expired = self
            .last_renewal()
            .is_some_and(|renewed| monotonic() >= renewed + CLAIM);
        !expired && !self.ended.is_cancelled()
    }

    /// Cancelled once the lease is lost or released. Expiry comes first: see [`Claim::is_current`].
    #[must_use]
    pub fn ended(&self) -> CancellationToken {
        self.ended.clone()
    }

    fn last_renewal(&self) -> Option<Instant> {
        *self.renewed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn renewed(&self) -> Instant {
        self.last_renewal().unwrap_or_else(monotonic)
    }

    fn until(&self) -> Instant {
        self.renewed() + CLAIM
    }

    fn extend(&self, renewed: Instant) {
        *self.renewed.lock().unwrap_or_else(PoisonError::into_inner) = Some(renewed);
    }

    fn end(&self) {
        self.ended.cancel();
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_claim_expires_before_anybody_else_may_act() {
        let claim = Claim::from(monotonic());
        advance(CLAIM.checked_sub(Duration::from_millis(1)).unwrap()).await;
        assert!(claim.is_current());
        advance(Duration::from_millis(1)).await;
        assert!(!claim.is_current());
        claim.extend(monotonic());
        assert!(claim.is_current());
        let others = Duration::from_secs(LEASE_SECONDS.unsigned_abs().into());
        assert!(CLAIM + Duration::from_secs(5) <= others);
    }

    #[tokio::test(start_paused = true)]
    async fn an_ended_claim_stays_ended() {
        for claim in [Claim::from(monotonic()), Claim::unopposed()] {
            assert!(claim.is_current());
            claim.end();
            claim.extend(monotonic());
            assert!(!claim.is_current());
            assert!(claim.ended().is_cancelled());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn without_election_the_claim_never_expires() {
        let claim = Claim::unopposed();
        advance(Duration::from_hours(24)).await;
        assert!(claim.is_current());
    }
}
