//! Runs passes over the objects of one kind, as its watch and other objects ask for them, and tells how they went.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt};
use kube::runtime::controller::Action;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher;
use kube::{Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio_util::sync::CancellationToken;
use tracing::Level;

use super::dependents::{Change, Changes, What};
use super::invalid;
use super::triggers::Wake;
use crate::clock::{Clock, monotonic};
use crate::cluster::{Event, EventType, ObjectId, Objects, Reporter, Seen};
use crate::reconcile::{
    Admission, Conditions, Memory, Notice, PassReport, Subject, Verdict, concerns_others, drive,
    notice,
};
use crate::telemetry::{Metrics, Outcome};

/// How soon to look again at an object that a person has to change something about: a change wakes us, but a change of
/// something that is not watched does not.
const BLOCKED: Duration = Duration::from_mins(1);

/// Failures in a row that leave the status of a settled object alone.
const HICCUPS: u32 = 3;

/// What the controllers of all kinds share.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) objects: Objects,
    pub(super) admission: Admission,
    pub(super) reporter: Arc<Reporter>,
    pub(super) metrics: Metrics,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) wake: Wake,
    pub(super) stop: CancellationToken,
    /// Cancelled once every watch has told everything that there is.
    pub(super) synced: CancellationToken,
}

/// The kind of object a controller can run.
pub(super) trait Kind:
    Resource<DynamicType = ()>
    + Conditions
    + Changes
    + Clone
    + Debug
    + DeserializeOwned
    + Serialize
    + Send
    + Sync
    + 'static
{
}

impl<K> Kind for K where
    K: Resource<DynamicType = ()>
        + Conditions
        + Changes
        + Clone
        + Debug
        + DeserializeOwned
        + Serialize
        + Send
        + Sync
        + 'static
{
}

/// The controller of one kind.
pub(super) struct Controller<S>
where
    S: Subject,
    S::Object: Kind,
{
    name: &'static str,
    subject: Arc<S>,
    store: Store<Seen<S::Object>>,
    memory: Memory<S::Object>,
    shared: Shared,
}

/// The process is stopping.
#[derive(Debug, thiserror::Error)]
#[error("the operator is stopping")]
struct Stopped;

impl<S> Controller<S>
where
    S: Subject + 'static,
    S::Object: Kind,
{
    pub(super) fn new(
        name: &'static str,
        subject: Arc<S>,
        store: Store<Seen<S::Object>>,
        shared: Shared,
    ) -> Self {
        Self {
            name,
            subject,
            store,
            memory: Memory::default(),
            shared,
        }
    }

    /// Runs until the operator stops and the passes that were running have ended.
    pub(super) async fn run(
        self,
        events: impl Stream<Item = watcher::Result<Seen<S::Object>>> + Send + 'static,
        requests: impl Stream<Item = ObjectRef<Seen<S::Object>>> + Send + 'static,
        gone: UnboundedReceiver<ObjectId>,
    ) {
        let stop = self.shared.stop.clone();
        let store = self.store.clone();
        let controller = Arc::new(self);
        let forgetting = tokio::spawn(Arc::clone(&controller).forget_all(gone));
        kube::runtime::Controller::for_stream(events, store)
            .reconcile_on(requests)
            .graceful_shutdown_on(stop.cancelled_owned())
            .run(
                |object, controller: Arc<Self>| async move { Box::pin(controller.admit(object)).await },
                |_, _, _| Action::await_change(),
                controller,
            )
            .for_each(|_| std::future::ready(()))
            .await;
        forgetting.abort();
    }

    /// Forgets objects that are gone, and wakes who may have waited for that.
    async fn forget_all(self: Arc<Self>, mut gone: UnboundedReceiver<ObjectId>) {
        while let Some(id) = gone.recv().await {
            self.forget(&id.uid);
            self.shared.wake.dependents(&Change {
                namespace: id.namespace,
                uid: id.uid,
                what: What::Gone(id.name),
            });
        }
    }

    /// Waits for a turn, then runs a pass over the object as it is by then.
    async fn admit(&self, seen: Arc<Seen<S::Object>>) -> Result<Action, Stopped> {
        // on half of what the watches know, much would look as if it were not there
        tokio::select! {
            () = self.shared.synced.cancelled() => {}
            () = self.shared.stop.cancelled() => return Err(Stopped),
        }
        let waiting = self.shared.metrics.waiting();
        let _permit = self.shared.admission.enter().await.ok_or(Stopped)?;
        drop(waiting);
        let Some(object) = self.store.get(&ObjectRef::from_obj(seen.as_ref())) else {
            return Ok(Action::await_change());
        };
        match &object.0 {
            Ok(object) => Ok(self.pass(object.as_ref().clone()).await),
            Err(error) => {
                let (objects, now) = (&self.shared.objects, self.shared.clock.now());
                if let Some(left) = invalid::salvage(objects, object.as_ref()).await {
                    return Ok(self.pass(left).await);
                }
                invalid::report(objects, object.as_ref(), &error.error, now).await;
                Ok(Action::await_change())
            }
        }
    }

    async fn pass(&self, seen: S::Object) -> Action {
        let uid = seen.uid().unwrap_or_default();
        let object = self.memory.freshest(&uid, version(&seen), seen);
        let generation = object.meta().generation.unwrap_or_default();
        let (before, begun) = (object.conditions().to_vec(), version(&object));
        let tolerate = object.is_settled() && self.memory.failures(&uid, generation) < HICCUPS;
        let started = monotonic();
        let clock = Arc::clone(&self.shared.clock);
        let (pass, report) =
            drive(self.subject.as_ref(), object, move || clock.now(), tolerate).await;
        let failed = matches!(report.verdict, Verdict::Failed(_));
        let written = version(&pass.object);
        let latest = (written > begun).then(|| (written, pass.object.clone()));
        let attempts = self.memory.ended(&uid, generation, failed, latest);
        let after = pass.object.conditions();
        let is_new = after != before;
        self.tell(&pass.object, &report, is_new, started.elapsed());
        for notice in pass.notices {
            self.publish(&pass.object, notice).await;
        }
        let gone = report.verdict == Verdict::Gone;
        if concerns_others(&before, after, &report) {
            self.shared.wake.dependents(&change(&pass.object, gone));
        }
        if (is_new || gone)
            && let Some(notice) = notice(&before, after, &report.verdict)
        {
            self.publish(&pass.object, notice).await;
        }
        if gone {
            self.forget(&uid);
        }
        again(&report.verdict, attempts, &uid)
    }

    fn forget(&self, uid: &str) {
        self.memory.forget(uid);
        self.subject.forget(uid);
    }

    fn tell(&self, object: &S::Object, report: &PassReport, is_new: bool, took: Duration) {
        let metrics = &self.shared.metrics;
        metrics.pass(self.name, outcome(&report.verdict), took);
        for action in &report.actions {
            metrics.action(self.name, action);
        }
        if let Verdict::Failed(error) = &report.verdict {
            metrics.error(self.name, error.class.as_str());
        }
        let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
        let (reason, message) = story(&report.verdict);
        let request_id = request(&report.verdict);
        let generation = object.meta().generation.unwrap_or_default();
        let actions = report.actions.join(",");
        match level(report, is_new) {
            Level::WARN => tracing::warn!(
                kind = self.name,
                namespace,
                name,
                generation,
                actions,
                reason,
                message,
                request_id,
                "pass"
            ),
            Level::INFO => tracing::info!(
                kind = self.name,
                namespace,
                name,
                generation,
                actions,
                reason,
                message,
                request_id,
                "pass"
            ),
            _ => tracing::debug!(
                kind = self.name,
                namespace,
                name,
                generation,
                reason,
                message,
                "pass"
            ),
        }
    }

    async fn publish(&self, object: &S::Object, notice: Notice) {
        let event = Event {
            type_: if notice.warning {
                EventType::Warning
            } else {
                EventType::Normal
            },
            reason: notice.reason.as_str(),
            action: "Reconcile",
            note: notice.message,
        };
        self.shared
            .reporter
            .publish(&ObjectId::of(object), event)
            .await;
    }
}

fn change<K: Kind>(object: &K, gone: bool) -> Change {
    let what = if gone {
        What::Gone(object.name_any())
    } else {
        object.what()
    };
    Change {
        namespace: object.namespace(),
        uid: object.uid().unwrap_or_default(),
        what,
    }
}

fn version<K: Resource>(object: &K) -> u64 {
    object
        .meta()
        .resource_version
        .as_deref()
        .and_then(|version| version.parse().ok())
        .unwrap_or_default()
}

fn outcome(verdict: &Verdict) -> Outcome {
    match verdict {
        Verdict::Settled(_) | Verdict::Suspended(_) | Verdict::Gone => Outcome::Settled,
        Verdict::Waiting(_) | Verdict::Acting(_) => Outcome::Waiting,
        Verdict::Blocked(_) => Outcome::Blocked,
        Verdict::Failed(_) => Outcome::Failed,
    }
}

fn story(verdict: &Verdict) -> (&'static str, &str) {
    match verdict {
        Verdict::Settled(_) => ("Settled", ""),
        Verdict::Suspended(_) => ("Suspended", ""),
        Verdict::Gone => ("Gone", ""),
        Verdict::Acting(what) => ("Acting", what),
        Verdict::Waiting(wait) => (wait.reason.as_str(), &wait.message),
        Verdict::Blocked(block) => (block.reason.as_str(), &block.message),
        Verdict::Failed(error) => (error.reason.as_str(), &error.message),
    }
}

/// What Neon calls the request that failed.
fn request(verdict: &Verdict) -> Option<&str> {
    match verdict {
        Verdict::Failed(error) => error.request_id.as_deref(),
        Verdict::Settled(_)
        | Verdict::Suspended(_)
        | Verdict::Waiting(_)
        | Verdict::Acting(_)
        | Verdict::Blocked(_)
        | Verdict::Gone => None,
    }
}

/// How loud a pass is told: what needs a person is a warning, once, and a look that changed nothing is for those who ask.
fn level(report: &PassReport, is_new: bool) -> Level {
    let needs_a_person = match &report.verdict {
        Verdict::Blocked(_) => true,
        Verdict::Failed(error) => error.class.is_terminal(),
        Verdict::Settled(_)
        | Verdict::Suspended(_)
        | Verdict::Gone
        | Verdict::Acting(_)
        | Verdict::Waiting(_) => false,
    };
    let failed = matches!(report.verdict, Verdict::Failed(_));
    let is_quiet = report.actions.is_empty() && !failed;
    if needs_a_person && (is_new || !is_quiet) {
        Level::WARN
    } else if is_quiet {
        Level::DEBUG
    } else {
        Level::INFO
    }
}

/// When to look again, if nothing is heard before.
fn again(verdict: &Verdict, attempts: u32, uid: &str) -> Action {
    match verdict {
        Verdict::Settled(after) | Verdict::Suspended(after) => Action::requeue(*after),
        Verdict::Waiting(wait) => Action::requeue(wait.after),
        Verdict::Acting(_) => Action::requeue(Duration::ZERO),
        Verdict::Blocked(_) => Action::requeue(BLOCKED),
        Verdict::Failed(error) => Action::requeue(error.backoff(attempts, uid)),
        Verdict::Gone => Action::await_change(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Reason;
    use crate::reconcile::{Block, Class, Error, Wait};

    #[test]
    fn what_needs_a_person_is_a_warning_once() {
        let block = Block {
            reason: Reason::InvalidSpec,
            message: "x".into(),
        };
        let wait = Wait {
            reason: Reason::ParentNotReady,
            message: "x".into(),
            after: Duration::from_secs(1),
        };
        let failed = |class| Verdict::Failed(Error::new(class, Reason::NeonUnavailable, "x"));
        let (none, some): (&[&'static str], &[&'static str]) = (&[], &["act"]);
        for (verdict, actions, is_new, expected) in [
            (Verdict::Blocked(block.clone()), none, true, Level::WARN),
            (Verdict::Blocked(block.clone()), none, false, Level::DEBUG),
            (Verdict::Blocked(block), some, false, Level::WARN),
            (failed(Class::Invalid), none, false, Level::WARN),
            (failed(Class::Transient), none, true, Level::INFO),
            (Verdict::Waiting(wait), none, true, Level::DEBUG),
            (Verdict::Acting("x".into()), some, true, Level::INFO),
        ] {
            let report = PassReport {
                verdict,
                actions: actions.to_vec(),
            };
            assert_eq!(level(&report, is_new), expected, "{report:?}");
        }
    }
}
