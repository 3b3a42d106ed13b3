//! Asks objects to look again because something else has changed: an object that they may wait for (see [`dependents`]),
//! a ConfigMap that they read, or the labels of their namespace.
//!
//! [`dependents`]: super::dependents

use std::sync::{Arc, Mutex, PoisonError};

use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::ResourceExt;
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::dependents::Change;
use crate::api::{NeonDatabase, NeonProject, SepulkiMigration};
use crate::cluster::Seen;
use crate::migration::Migrations;
use crate::reconcile::Conditions;
use crate::world::live::Watches;

/// Asks the controllers to look at objects.
#[derive(Clone)]
pub(super) struct Wake {
    projects: Caller<NeonProject>,
    databases: Caller<NeonDatabase>,
    migrations: Caller<SepulkiMigration>,
}

type Asked<K> = UnboundedReceiver<ObjectRef<Seen<K>>>;

#[derive(Clone)]
struct Caller<K: kube::Resource<DynamicType = ()> + Clone + 'static> {
    store: Store<Seen<K>>,
    ask: UnboundedSender<ObjectRef<Seen<K>>>,
    asked: Arc<Mutex<Option<Asked<K>>>>,
}

impl<K: kube::Resource<DynamicType = ()> + Clone + 'static> Caller<K> {
    fn new(store: Store<Seen<K>>) -> Self {
        let (ask, asked) = unbounded_channel();
        Self {
            store,
            ask,
            asked: Arc::new(Mutex::new(Some(asked))),
        }
    }

    /// Asks for every object of the watch that `concerns`.
    fn ask(&self, concerns: impl Fn(&K) -> bool) {
        for object in self.store.state() {
            if object.0.as_ref().is_ok_and(|object| concerns(object)) {
                // whoever listened is gone only when the operator stops
                let _ = self.ask.send(ObjectRef::from_obj(object.as_ref()));
            }
        }
    }

    fn requests(&self) -> impl Stream<Item = ObjectRef<Seen<K>>> + Send + 'static
    where
        K: Send + Sync,
    {
        let asked = self
            .asked
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        futures::stream::unfold(asked, |asked| async move {
            let mut asked = asked?;
            asked.recv().await.map(|object| (object, Some(asked)))
        })
    }
}

impl Wake {
    pub(super) fn new(watches: &Watches) -> Self {
        Self {
            projects: Caller::new(watches.projects.clone()),
            databases: Caller::new(watches.databases.clone()),
            migrations: Caller::new(watches.migrations.clone()),
        }
    }

    /// NeonProjects that somebody asked to look at. For one listener.
    pub(super) fn project_requests(
        &self,
    ) -> impl Stream<Item = ObjectRef<Seen<NeonProject>>> + Send + 'static {
        self.projects.requests()
    }

    /// NeonDatabases that somebody asked to look at. For one listener.
    pub(super) fn database_requests(
        &self,
    ) -> impl Stream<Item = ObjectRef<Seen<NeonDatabase>>> + Send + 'static {
        self.databases.requests()
    }

    /// SepulkiMigrations that somebody asked to look at. For one listener.
    pub(super) fn migration_requests(
        &self,
    ) -> impl Stream<Item = ObjectRef<Seen<SepulkiMigration>>> + Send + 'static {
        self.migrations.requests()
    }

    /// Asks for everything that may have waited for this change.
    pub(super) fn dependents(&self, change: &Change) {
        self.projects
            .ask(|project| change.concerns_project(project));
        self.databases
            .ask(|database| change.concerns_database(database));
        self.migrations
            .ask(|migration| change.concerns_migration(migration));
    }

    /// A namespace has changed, perhaps its labels: asks for what waits in it to be let in.
    fn let_in(&self, namespace: &str) {
        self.databases.ask(|database| {
            database.spec.project_ref.is_some()
                && database.metadata.namespace.as_deref() == Some(namespace)
                && !database.is_settled()
        });
    }

    /// Asks for the migrations that read this ConfigMap.
    fn readers(&self, namespace: &str, name: &str) {
        self.migrations.ask(|migration| {
            let maps = migration.spec.source.config_maps.as_ref();
            migration.metadata.namespace.as_deref() == Some(namespace)
                && maps.is_some_and(|maps| maps.refs.iter().any(|map| map.name.0 == name))
        });
    }
}

/// Wakes the readers of every ConfigMap that appears, changes or goes.
pub(super) async fn on_config_map(
    changes: impl Stream<Item = watcher::Result<PartialObjectMeta<ConfigMap>>>,
    migrations: Arc<Migrations>,
    wake: Wake,
) {
    let mut changes = std::pin::pin!(changes);
    while let Some(change) = changes.next().await {
        if let Ok(map) = change {
            let (namespace, name) = (map.namespace().unwrap_or_default(), map.name_any());
            migrations.forget_config_map(&namespace, &name);
            wake.readers(&namespace, &name);
        }
    }
}

/// Wakes what waits in a namespace that appears or changes.
pub(super) async fn on_namespace(
    changes: impl Stream<Item = watcher::Result<PartialObjectMeta<Namespace>>>,
    wake: Wake,
) {
    let mut changes = std::pin::pin!(changes);
    while let Some(change) = changes.next().await {
        if let Ok(namespace) = change {
            wake.let_in(&namespace.name_any());
        }
    }
}
