//! Kubernetes events: what `kubectl describe` shows. Published on transitions; one that fails is logged and forgotten.
//!
//! kube's own recorder counts an event with another text as a repetition of the first, so that people would read the
//! old text; here a repetition has the same text.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use k8s_openapi::{
    api::events::v1::{Event as KubernetesEvent, EventSeries},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
    core::ObjectMeta,
};
use serde_json::json;
use tokio::time::Instant;
use uuid::Uuid;

use super::{Error, ErrorKind, FIELD_MANAGER, ObjectId, Result};
use crate::clock::{Clock, SystemClock, monotonic};

/// Repetitions within this time are counted on the first event, as Kubernetes' own components do.
const SERIES: Duration = Duration::from_mins(6);

/// The API server refuses longer notes.
const NOTE_BYTES: usize = 1024;

/// The API server refuses longer names of the reporting instance.
const INSTANCE_BYTES: usize = 128;

/// How much of the object's name fits into the event's: 253 bytes less a dot and the 32 of a UUID.
const NAME_BYTES: usize = 220;

/// Events of cluster-scoped objects live here, as Kubernetes asks.
const CLUSTER_EVENTS: &str = "default";

/// How an event is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventType {
    /// Something happened as it should.
    Normal,
    /// Somebody should look.
    Warning,
}

/// Something that happened to an object, for people to read.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Event {
    /// How it is meant.
    pub type_: EventType,
    /// CamelCase word out of a closed set, at most 128 bytes.
    pub reason: &'static str,
    /// What was being done, CamelCase, not empty, at most 128 bytes.
    pub action: &'static str,
    /// A sentence. Cut at 1024 bytes.
    pub note: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Occurrence {
    uid: String,
    event: Event,
}

#[derive(Clone, Debug)]
struct Published {
    name: String,
    count: i32,
    last: Instant,
}

/// Publishes events in the name of the operator.
pub struct Reporter {
    client: Client,
    instance: String,
    recent: Mutex<HashMap<Occurrence, Published>>,
}

impl Reporter {
    /// Publishes through `client`; `instance` is the name of this process.
    #[must_use]
    pub fn new(client: Client, instance: &str) -> Self {
        Self {
            client,
            instance: cut(instance, INSTANCE_BYTES),
            recent: Mutex::default(),
        }
    }

    /// Publishes `event` about the object. What goes wrong is logged; nothing depends on an event.
    pub async fn publish(&self, about: &ObjectId, event: Event) {
        let reason = event.reason;
        match self.try_publish(about, event).await {
            Ok(()) => {}
            // nothing can be created in a namespace that is going
            Err(error) if error.kind == ErrorKind::Conflict => {
                tracing::debug!(object = %about, reason, %error, "event not published");
            }
            Err(error) => {
                tracing::warn!(object = %about, reason, %error, "event not published");
            }
        }
    }

    async fn try_publish(&self, about: &ObjectId, event: Event) -> Result<()> {
        let namespace = about.namespace.as_deref().unwrap_or(CLUSTER_EVENTS);
        let api = Api::<KubernetesEvent>::namespaced(self.client.clone(), namespace);
        let occurrence = Occurrence {
            uid: about.uid.clone(),
            event,
        };
        if let Some(earlier) = self.earlier(&occurrence) {
            match repeat(&api, &earlier).await {
                Ok(count) => {
                    self.remember(occurrence, Published { count, ..earlier });
                    return Ok(());
                }
                // Events live for an hour, or until somebody deletes them.
                Err(error) if error.kind == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        let created = api
            .create(
                &PostParams::default(),
                &self.first(about, namespace, &occurrence.event),
            )
            .await?;
        let name = created.metadata.name.unwrap_or_default();
        self.remember(
            occurrence,
            Published {
                name,
                count: 1,
                last: monotonic(),
            },
        );
        Ok(())
    }

    fn earlier(&self, occurrence: &Occurrence) -> Option<Published> {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let now = monotonic();
        recent.retain(|_, published| now.duration_since(published.last) < SERIES);
        recent.get(occurrence).cloned()
    }

    fn remember(&self, occurrence: Occurrence, published: Published) {
        let published = Published {
            last: monotonic(),
            ..published
        };
        self.recent
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(occurrence, published);
    }

    fn first(&self, about: &ObjectId, namespace: &str, event: &Event) -> KubernetesEvent {
        let type_ = match event.type_ {
            EventType::Normal => "Normal",
            EventType::Warning => "Warning",
        };
        KubernetesEvent {
            metadata: ObjectMeta {
                name: Some(unique_name(&about.name)),
                namespace: Some(namespace.to_owned()),
                ..ObjectMeta::default()
            },
            type_: Some(type_.to_owned()),
            reason: Some(event.reason.to_owned()),
            action: Some(event.action.to_owned()),
            note: Some(cut(&event.note, NOTE_BYTES)),
            regarding: Some(about.reference()),
            reporting_controller: Some(FIELD_MANAGER.to_owned()),
            reporting_instance: Some(self.instance.clone()),
            event_time: Some(MicroTime(SystemClock.now())),
            ..KubernetesEvent::default()
        }
    }
}

/// Counts one more occurrence on an event; the answer is the count.
async fn repeat(api: &Api<KubernetesEvent>, earlier: &Published) -> Result<i32> {
    let count = earlier.count.saturating_add(1);
    let series = EventSeries {
        count,
        last_observed_time: MicroTime(SystemClock.now()),
    };
    let change = Patch::Merge(json!({"series": series}));
    api.patch(&earlier.name, &PatchParams::default(), &change)
        .await
        .map_err(Error::from)?;
    Ok(count)
}

/// A name for an event about the object `name`. Not left to the server's `generateName`: it accepts no dot at the end
/// and no long names.
fn unique_name(name: &str) -> String {
    let end = name.floor_char_boundary(NAME_BYTES);
    let beginning = name
        .get(..end)
        .unwrap_or_default()
        .trim_end_matches(['-', '.']);
    format!("{beginning}.{}", Uuid::new_v4().simple())
}

/// The longest beginning of `text` within `limit` bytes, marked where something is missing.
fn cut(text: &str, limit: usize) -> String {
    const MARK: &str = "…";
    if text.len() <= limit {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(limit.saturating_sub(MARK.len()));
    format!("{}{MARK}", text.get(..end).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_notes_are_cut_between_characters() {
        assert_eq!(cut("short", 5), "short");
        assert_eq!(cut("äöüß", 8), "äöüß");
        assert_eq!(cut("äöüßx", 8), "äö…");
        assert_eq!(cut(&"x".repeat(2000), NOTE_BYTES).len(), NOTE_BYTES);
    }
}
