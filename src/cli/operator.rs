//! `sepulki operator`: runs the controllers until the process is told to stop.

use anyhow::{Context, Result};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::config::{Config, OperatorArgs};
use crate::{runtime, telemetry};

pub(super) fn run(args: OperatorArgs) -> Result<()> {
    let config = Config::load(args)?;
    telemetry::install(config.log_format, config.log_level.clone())?;
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?
        .block_on(Box::pin(operate(config)))
}

async fn operate(config: Config) -> Result<()> {
    let kube = kube::Config::infer()
        .await
        .context("no cluster: set KUBECONFIG, or run inside of one")?;
    let stop = CancellationToken::new();
    let told = told_to_stop()?;
    let running = runtime::run(config, kube, stop.clone());
    tokio::pin!(running);
    tokio::select! {
        result = &mut running => result,
        () = told => {
            tracing::info!("told to stop: finishing what is under way");
            stop.cancel();
            running.await
        }
    }
}

/// Ends when the process gets SIGTERM or SIGINT.
pub(super) fn told_to_stop() -> Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
