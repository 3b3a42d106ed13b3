//! Starts the operator: clients, watches, one controller per kind, the admin server; and stops it in order.
//!
//! ```text
//! signal ─▶ stopping ─▶ no new passes ─▶ running passes end ─▶ lease is let go ─▶ exit
//! ```

mod controller;
pub mod dependents;
mod invalid;
mod observer;
mod triggers;

use std::sync::Arc;

use anyhow::{Context as _, Result};
use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::core::PartialObjectMeta;
use tokio::net::TcpListener;
use tokio::sync::mpsc::unbounded_channel;
use tokio_util::sync::CancellationToken;

use crate::admin::{self, Readiness};
use crate::api::{NeonDatabase, SepulkiMigration};
use crate::clock::SystemClock;
use crate::cluster::{self, Candidate, Clients, Ended, Held, Objects, Reporter};
use crate::config::Config;
use crate::database::Databases;
use crate::migration::Migrations;
use crate::neon::{Accounts, ClientSettings};
use crate::reconcile::{Admission, BranchLocks};
use crate::telemetry::Metrics;
use crate::world::live::{Kubernetes, LiveContents, LiveMigrations};
use crate::world::{Settings, World};
use controller::{Controller, Shared};
use observer::CountCalls;
use triggers::{Wake, on_config_map};

const DATABASES: &str = "neondatabases";
const MIGRATIONS: &str = "sepulkimigrations";

/// Runs the operator against the cluster of `kube` until `stop` is cancelled.
pub async fn run(config: Config, kube: kube::Config, stop: CancellationToken) -> Result<()> {
    let clients = Clients::new(kube).context("cannot make Kubernetes clients")?;
    let metrics = Metrics::new();
    let readiness = Readiness::new([DATABASES, MIGRATIONS]);
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
    let led = lead(&config, &clients, &stop, work).await;
    serving.cancel();
    admin
        .await
        .context("the admin server failed")?
        .context("the admin server failed")?;
    tracing::info!("operator stopped");
    led
}

/// Works while we are the leader; at once where elections are off.
async fn lead(
    config: &Config,
    clients: &Clients,
    stop: &CancellationToken,
    work: impl Future<Output = Result<()>>,
) -> Result<()> {
    let Some(election) = &config.leader_election else {
        return work.await;
    };
    let (namespace, lease) = (&election.namespace, &election.lease);
    let candidate = Candidate::new(clients.request.clone(), namespace, lease, &config.identity);
    let Some(held) = candidate.acquire(stop).await else {
        return Ok(());
    };
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
    // whoever listened is gone only when the operator stops
    let (tell, databases_gone) = unbounded_channel();
    let (databases, database_events) =
        cluster::main_watch::<NeonDatabase>(cluster::scoped(watch(), namespace), move |id| {
            drop(tell.send(id));
        });
    let (tell, migrations_gone) = unbounded_channel();
    let (migrations, migration_events) =
        cluster::main_watch::<SepulkiMigration>(cluster::scoped(watch(), namespace), move |id| {
            drop(tell.send(id));
        });
    let kubernetes = Kubernetes::new(objects.clone(), databases.clone(), migrations.clone());
    let world = world(config, metrics, kubernetes, stop)?;
    let wake = Wake::new(databases.clone(), migrations.clone());
    let shared = Shared {
        objects,
        admission: Admission::new(config.max_concurrent_passes.get()),
        reporter: Arc::new(Reporter::new(clients.request.clone(), &config.identity)),
        metrics: metrics.clone(),
        clock: Arc::clone(&world.clock),
        wake: wake.clone(),
        stop: stop.clone(),
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
    let database = Controller::new(
        DATABASES,
        Databases::new(world).into(),
        databases.clone(),
        shared.clone(),
    );
    // a run may last half an hour: it must not keep anybody else waiting for a turn
    let runs = Shared {
        admission: Admission::new(config.max_concurrent_passes.get()),
        ..shared.clone()
    };
    let migration = Controller::new(MIGRATIONS, migration_kind, migrations.clone(), runs.clone());
    let gates = async {
        let _ = databases.wait_until_ready().await;
        readiness.pass(DATABASES);
        let _ = migrations.wait_until_ready().await;
        readiness.pass(MIGRATIONS);
    };
    let stopping = async {
        stop.cancelled().await;
        shared.admission.close();
        runs.admission.close();
    };
    let running: Vec<BoxFuture<'_, ()>> = vec![
        Box::pin(database.run(database_events, wake.database_requests(), databases_gone)),
        Box::pin(migration.run(migration_events, wake.migration_requests(), migrations_gone)),
        Box::pin(gates),
        Box::pin(stopping),
    ];
    tokio::select! {
        _ = futures::future::join_all(running) => {}
        () = config_maps => {}
    }
    Ok(())
}

fn world(
    config: &Config,
    metrics: &Metrics,
    cluster: Kubernetes,
    stop: &CancellationToken,
) -> Result<World> {
    let host = config.neon_api_host.parse().context("NEON_API_HOST")?;
    let observer = Arc::new(CountCalls(metrics.clone()));
    let neon = Accounts::new(ClientSettings::new(host), observer)
        .context("cannot make a client for Neon")?;
    Ok(World {
        cluster: Arc::new(cluster),
        neon: Arc::new(neon),
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
    })
}
