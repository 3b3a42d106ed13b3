//! Watches: guarded against objects that do not decode, pruned before they are cached, patient with the server.
//!
//! Two sorts: of the kinds that are reconciled ([`main_watch`]), and of what those refer to ([`referenced_watch`]).
//! Used by what wires the kinds' controllers.

use std::{fmt::Debug, future::ready, time::Duration};

use futures::{Stream, StreamExt};
use k8s_openapi::NamespaceResourceScope;
use kube::{
    Api, Client, Resource,
    core::PartialObjectMeta,
    runtime::{
        Predicate, PredicateConfig, WatchStreamExt, predicates,
        reflector::{self, Store},
        utils::Backoff,
        watcher,
    },
};
use serde::de::DeserializeOwned;

use super::{Error, ObjectId, Seen};

/// kubectl's copy of the whole object.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// What a controller runs on: the cache, and the stream that fills it and tells which object to look at.
pub type MainWatch<K, S> = (Store<Seen<K>>, S);

/// What the metadata of a kind is known from: the cache, and the stream that fills it and tells of changes.
pub type MetadataWatch<K, S> = (Store<PartialObjectMeta<K>>, S);

/// Where objects are looked for: one namespace, or all of them.
#[must_use]
pub fn scoped<K>(client: Client, namespace: Option<&str>) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    match namespace {
        Some(namespace) => Api::namespaced(client, namespace),
        None => Api::all(client),
    }
}

/// Watch of a kind that is reconciled. Told are: creation, a new generation (deletion is one), finalizers, annotations;
/// not told are status and labels. An object that does not decode is told and cached like any other, with its error in
/// place of its contents. The final removal is told to `gone`, after it has left the cache: a Controller never hears of
/// it, but others may have waited for it.
///
/// The stream never yields an error: errors are logged and retried here, because one that reaches a Controller pauses
/// all of its triggers. With `fields` only those objects are watched that the field selector means.
pub fn main_watch<K>(
    api: Api<Seen<K>>,
    fields: Option<&str>,
    gone: impl Fn(ObjectId) + Send + Sync + 'static,
) -> MainWatch<K, impl Stream<Item = watcher::Result<Seen<K>>> + Send + 'static>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    let (store, writer) = reflector::store();
    let told = predicates::generation
        .combine(predicates::finalizers)
        .combine(predicates::annotations);
    let stream = watcher(api, selection(fields))
        .modify(prune)
        .backoff(Retry::new())
        .reflect(writer)
        .inspect(move |event| {
            if let Ok(watcher::Event::Delete(object)) = event {
                gone(ObjectId::of(object));
            }
        })
        .applied_objects()
        .predicate_filter(told, PredicateConfig::default())
        .filter_map(|seen| ready(without_error::<K, _>(seen)));
    (store, stream)
}

/// Watch of a kind that others refer to, as a trigger only: metadata is transferred, nothing is cached, every change
/// and deletion is told. Whoever needs the contents reads the one object. A cluster has many ConfigMaps and few are
/// ours.
pub fn referenced_watch<K>(
    api: Api<PartialObjectMeta<K>>,
) -> impl Stream<Item = watcher::Result<PartialObjectMeta<K>>> + Send + 'static
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    watcher(api, watcher::Config::default().any_semantic())
        .modify(prune)
        .backoff(Retry::new())
        .touched_objects()
        .predicate_filter(predicates::resource_version, PredicateConfig::default())
        .filter_map(|seen| ready(without_error::<K, _>(seen)))
}

/// Watch of a kind of which only the metadata is of interest: cached, and every change and deletion is told.
pub fn metadata_watch<K>(
    api: Api<PartialObjectMeta<K>>,
    fields: Option<&str>,
) -> MetadataWatch<K, impl Stream<Item = watcher::Result<PartialObjectMeta<K>>> + Send + 'static>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    let (store, writer) = reflector::store();
    let stream = watcher(api, selection(fields))
        .modify(prune)
        .backoff(Retry::new())
        .reflect(writer)
        .touched_objects()
        .predicate_filter(predicates::resource_version, PredicateConfig::default())
        .filter_map(|seen| ready(without_error::<K, _>(seen)));
    (store, stream)
}

fn selection(fields: Option<&str>) -> watcher::Config {
    let all = watcher::Config::default().any_semantic();
    match fields {
        Some(fields) => all.fields(fields),
        None => all,
    }
}

/// Drops what nobody here reads and what is most of an object's size: the record of field owners and kubectl's copy.
fn prune<K: Resource>(object: &mut K) {
    let meta = object.meta_mut();
    meta.managed_fields = None;
    if let Some(annotations) = &mut meta.annotations {
        annotations.remove(LAST_APPLIED);
        if annotations.is_empty() {
            meta.annotations = None;
        }
    }
}

fn without_error<K: Resource<DynamicType = ()>, T>(
    seen: watcher::Result<T>,
) -> Option<watcher::Result<T>> {
    match seen {
        Ok(object) => Some(Ok(object)),
        Err(error) => {
            tracing::warn!(kind = %K::kind(&()), error = %words(error), "watch interrupted, trying again");
            None
        }
    }
}

/// What a watch says about its failure, without the contents of objects.
fn words(error: watcher::Error) -> String {
    match error {
        watcher::Error::InitialListFailed(error) => format!("list: {}", Error::from(error).message),
        watcher::Error::WatchStartFailed(error) => format!("start: {}", Error::from(error).message),
        watcher::Error::WatchFailed(error) => format!("stream: {}", Error::from(error).message),
        watcher::Error::WatchError(status) => Error::from(status.as_ref()).message,
        watcher::Error::NoResourceVersion => "the answer has no resource version".to_owned(),
    }
}

/// Pause before a watch is tried again: 200 ms, doubling up to 5 s. kube's own default grows far beyond, and would be
/// many seconds late after a restart of the API server.
#[derive(Debug)]
struct Retry(Duration);

impl Retry {
    const FIRST: Duration = Duration::from_millis(200);
    const LAST: Duration = Duration::from_secs(5);

    fn new() -> Self {
        Self(Self::FIRST)
    }
}

impl Iterator for Retry {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let pause = self.0;
        self.0 = (pause * 2).min(Self::LAST);
        Some(pause)
    }
}

impl Backoff for Retry {
    fn reset(&mut self) {
        self.0 = Self::FIRST;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use k8s_openapi::{
        api::core::v1::ConfigMap, apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry,
    };

    use super::*;

    #[test]
    fn what_is_cached_carries_no_bookkeeping() {
        let mut map = ConfigMap::default();
        map.metadata.managed_fields = Some(vec![ManagedFieldsEntry::default()]);
        map.metadata.annotations = Some(BTreeMap::from([
            (LAST_APPLIED.to_owned(), "{}".to_owned()),
            ("sepulki.dev/reconcile".to_owned(), "1".to_owned()),
        ]));
        prune(&mut map);
        assert_eq!(map.metadata.managed_fields, None);
        let kept: Vec<_> = map.metadata.annotations.unwrap().into_keys().collect();
        assert_eq!(kept, ["sepulki.dev/reconcile"]);
    }

    #[test]
    fn a_watch_comes_back_within_five_seconds_however_long_the_server_was_away() {
        let mut retry = Retry::new();
        let pauses: Vec<_> = retry
            .by_ref()
            .take(7)
            .map(|pause| pause.as_millis())
            .collect();
        assert_eq!(pauses, [200, 400, 800, 1600, 3200, 5000, 5000]);
        retry.reset();
        assert_eq!(retry.next(), Some(Duration::from_millis(200)));
    }
}
