//! Starts the operator: clients, watches, one controller per kind, the admin server; and stops it in order.
//!
//! ```text
//! signal ─▶ stopping ─▶ no new passes ─▶ running passes end ─▶ lease is let go ─▶ exit
//! ```

mod controller;
mod counts;
pub mod dependents;
mod invalid;
mod leadership;
mod observer;
mod triggers;

use std::sync::Arc;

use anyhow::{Context as _, Result};
use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::Api;
use kube::core::PartialObjectMeta;
use tokio::net::TcpListener;
use tokio::sync::mpsc::unbounded_channel;
use tokio_util::sync::CancellationToken;

use crate::admin::{self, Readiness};
use crate::api::{NeonDatabase, NeonProject, SepulkiMigration};
use crate::clock::SystemClock;
use crate::cluster::{self, Candidate, Clients, Objects, Reporter};
use crate::config::Config;
use crate::database::Databases;
use crate::migration::Migrations;
use crate::neon::{Accounts, ClientSettings};
use crate::project::Projects;
use crate::reconcile::{Admission, BranchLocks};
use crate::telemetry::Metrics;
use crate::world::live::{Kubernetes, LiveContents, LiveMigrations, Watches};
use crate::world::{Settings, World};
use controller::{Controller, Shared};
use leadership::lead;
use observer::CountCalls;
use triggers::{Wake, on_config_map, on_namespace};

const PROJECTS: &str = "neonprojects";
const DATABASES: &str = "neondatabases";
const MIGRATIONS: &str = "sepulkimigrations";
const NAMESPACES: &str = "namespaces";

/// Runs the operator against the cluster of `kube` until `stop` is cancelled.
pub async fn run(config: Config, kube: kube::Config, stop: CancellationToken) -> Result<()> {
    let clients = Clients::new(kube).context("cannot make Kubernetes clients")?;
    let metrics = Metrics::new();
    let readiness = Readiness::new([PROJECTS, DATABASES, MIGRATIONS, NAMESPACES]);
    let listener = TcpListener::bind(config.listen)
        .await
        .with_context(|| format!("cannot listen on {}", config.listen))?;
    let serving = CancellationToken::new();
    let admin = tokio::spawn(admin::serve(
        listener,
        readiness.clone(),
        metrics.clone(),
        serving.clone(),
    ));
    tracing::info!(listen = %config.listen, installation = config.installation, "operator started");
    let work = Box::pin(operate(&config, &clients, &metrics, &readiness, &stop));
    let led = match &config.leader_election {
        Some(election) => {
            let candidate = Candidate::new(
                clients.request.clone(),
                &election.namespace,
                &election.lease,
                &config.identity,
            );
            lead(candidate, &readiness, &stop, work).await
        }
        None => work.await,
    };
    serving.cancel();
    admin
        .await
        .context("the admin server failed")?
        .context("the admin server failed")?;
    tracing::info!("operator stopped");
    led
}

/// Watches, and reconciles what the watches tell, until `stop`.
async fn operate(
    config: &Config,
    clients: &Clients,
    metrics: &Metrics,
    readiness: &Readiness,
    stop: &CancellationToken,
) -> Result<()> {
    let namespace = config.namespace.as_deref();
    let objects = Objects::new(clients.request.clone());
    let watch = || clients.watch.clone();
    // a NeonProject belongs to no namespace; whoever looks after one namespace can reach only the keys in it
    let ours = namespace.map(|name| format!("spec.apiKeySecretRef.namespace={name}"));
    let own = namespace.map(|name| format!("metadata.name={name}"));
    // whoever listened is gone only when the operator stops
    let (tell, projects_gone) = unbounded_channel();
    let (projects, project_events) =
        cluster::main_watch::<NeonProject>(Api::all(watch()), ours.as_deref(), move |id| {
            drop(tell.send(id));
        });
    let (tell, databases_gone) = unbounded_channel();
    let (databases, database_events) =
        cluster::main_watch::<NeonDatabase>(cluster::scoped(watch(), namespace), None, move |id| {
            drop(tell.send(id));
        });
    let (tell, migrations_gone) = unbounded_channel();
    let (migrations, migration_events) = cluster::main_watch::<SepulkiMigration>(
        cluster::scoped(watch(), namespace),
        None,
        move |id| {
            drop(tell.send(id));
        },
    );
    let (namespaces, namespace_events) =
        cluster::metadata_watch::<Namespace>(Api::all(watch()), own.as_deref());
    let watches = Watches {
        projects,
        databases,
        migrations,
        namespaces,
    };
    counts::show(metrics, &watches);
    let kubernetes = Kubernetes::new(objects.clone(), watches.clone());
    let accounts = Arc::new(accounts(config, metrics)?);
    counts::show_computes(metrics, &watches, &accounts);
    let world = world(config, metrics, kubernetes, accounts, stop);
    let wake = Wake::new(&watches);
    let shared = Shared {
        objects,
        admission: Admission::new(config.max_concurrent_passes.get()),
        reporter: Arc::new(Reporter::new(clients.request.clone(), &config.identity)),
        metrics: metrics.clone(),
        clock: Arc::clone(&world.clock),
        wake: wake.clone(),
        stop: stop.clone(),
        synced: CancellationToken::new(),
    };
    let migration_kind = Arc::new(Migrations::new(world.clone()));
    let config_maps = on_config_map(
        cluster::referenced_watch::<ConfigMap>(cluster::scoped::<PartialObjectMeta<ConfigMap>>(
            watch(),
            namespace,
        )),
        Arc::clone(&migration_kind),
        wake.clone(),
    );
    let project = Controller::new(
        PROJECTS,
        Projects::new(world.clone()).into(),
        watches.projects.clone(),
        shared.clone(),
    );
    let database = Controller::new(
        DATABASES,
        Databases::new(world).into(),
        watches.databases.clone(),
        shared.clone(),
    );
    // a run may last half an hour: it must not keep anybody else waiting for a turn
    let runs = Shared {
        admission: Admission::new(config.max_concurrent_passes.get()),
        ..shared.clone()
    };
    let migration = Controller::new(
        MIGRATIONS,
        migration_kind,
        watches.migrations.clone(),
        runs.clone(),
    );
    let gates = gates(&watches, readiness, &shared.synced);
    let namespaces = on_namespace(namespace_events, wake.clone());
    let stopping = async {
        stop.cancelled().await;
        shared.admission.close();
        runs.admission.close();
    };
    let running: Vec<BoxFuture<'_, ()>> = vec![
        Box::pin(project.run(project_events, wake.project_requests(), projects_gone)),
        Box::pin(database.run(database_events, wake.database_requests(), databases_gone)),
        Box::pin(migration.run(migration_events, wake.migration_requests(), migrations_gone)),
        Box::pin(gates),
        Box::pin(stopping),
    ];
    tokio::select! {
        _ = futures::future::join_all(running) => {}
        () = config_maps => {}
        () = namespaces => {}
    }
    Ok(())
}

/// Opens once every watch has told everything that there is.
async fn gates(watches: &Watches, readiness: &Readiness, synced: &CancellationToken) {
    let _ = watches.projects.wait_until_ready().await;
    readiness.pass(PROJECTS);
    let _ = watches.databases.wait_until_ready().await;
    readiness.pass(DATABASES);
    let _ = watches.migrations.wait_until_ready().await;
    readiness.pass(MIGRATIONS);
    let _ = watches.namespaces.wait_until_ready().await;
    readiness.pass(NAMESPACES);
    synced.cancel();
}

fn world(
    config: &Config,
    metrics: &Metrics,
    cluster: Kubernetes,
    neon: Arc<Accounts>,
    stop: &CancellationToken,
) -> World {
    World {
        cluster: Arc::new(cluster),
        neon,
        contents: Arc::new(LiveContents),
        migrations: Arc::new(LiveMigrations),
        locks: BranchLocks::default(),
        clock: Arc::new(SystemClock),
        metrics: metrics.clone(),
        stopping: stop.clone(),
        settings: Arc::new(Settings {
            installation: config.installation.clone(),
            postgres_port: config.neon_pg_port,
            certificate_authority: config.certificate_authority.clone(),
            snapshot_interval: config.snapshot_interval,
        }),
    }
}

/// Neon, by API key.
fn accounts(config: &Config, metrics: &Metrics) -> Result<Accounts> {
    let host = config.neon_api_host.parse().context("NEON_API_HOST")?;
    let observer = Arc::new(CountCalls(metrics.clone()));
    Accounts::new(ClientSettings::new(host), observer).context("cannot make a client for Neon")
}
