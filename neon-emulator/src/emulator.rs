//! Starting and stopping. An emulator owns a thread with a runtime of its own, so that it
//! outlives whatever runtime it was started from and can be used from synchronous code.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use anyhow::Context;
use tokio::{net::TcpListener, runtime, sync::oneshot};
use tokio_util::sync::CancellationToken;

use crate::{
    api::{
        self,
        line::{Line, Lines},
    },
    calls::Call,
    config::EmulatorConfig,
    control::Control,
    faults::Fault,
    folders::Folders,
    limits::Limits,
    postgres::{Postgres, server::Stop},
    proxy::{Proxy, tls::Tls},
    state::Store,
    stats::Stats,
};

/// How long blocking work, a copy for instance, may hold up the end.
const FAREWELL: Duration = Duration::from_secs(5);

/// How many free ports are tried until one is free on both loopback addresses.
const PORT_ATTEMPTS: usize = 20;

/// A running emulator. Dropping it stops its servers at once; [`Emulator::shutdown`] leaves
/// their data at rest, which makes the next start faster.
pub struct Emulator {
    control: Arc<Control>,
    api_addr: SocketAddr,
    ca_pem: String,
    ca_path: PathBuf,
    stop: Option<oneshot::Sender<Stop>>,
    thread: Option<thread::JoinHandle<()>>,
}

/// Everything that is opened before the first request is served.
struct Parts {
    control: Arc<Control>,
    api: TcpListener,
    proxy: Arc<Proxy>,
    pg: Vec<TcpListener>,
    ca_pem: String,
}

impl Emulator {
    /// Starts an emulator and returns when it listens. Blocks for some ten milliseconds; may be
    /// called from asynchronous code.
    ///
    /// # Errors
    /// No PostgreSQL server is installed (the error names the package), a port is taken, or the
    /// data folder cannot be used.
    pub fn start(config: EmulatorConfig) -> anyhow::Result<Self> {
        let folders = Folders::open(config.data_dir.as_deref())?;
        let ca_path = folders.data().join("ca.crt");
        let (stop, stopped) = oneshot::channel();
        let (ready, opened) = mpsc::channel();
        let thread = thread::Builder::new()
            .name("neon-emulator".into())
            .spawn(move || run(&config, &folders, &ready, stopped))?;
        let parts = opened.recv().context("the emulator's thread ended")?;
        let (control, api_addr, ca_pem) = parts?;
        Ok(Self {
            control,
            api_addr,
            ca_pem,
            ca_path,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// The base address of the API, `http://127.0.0.1:PORT/api/v2`, as `NEON_API_HOST` has it.
    #[must_use]
    pub fn api_url(&self) -> String {
        format!("http://{}{}", self.api_addr, api::BASE_PATH)
    }

    /// The address of the counters, which need no key.
    #[must_use]
    pub fn stats_url(&self) -> String {
        format!("http://{}{}", self.api_addr, api::STATS_PATH)
    }

    /// The address of the log of calls, which needs no key.
    #[must_use]
    pub fn calls_url(&self) -> String {
        format!("http://{}{}", self.api_addr, api::CALLS_PATH)
    }

    /// The address at which faults are set, which needs no key.
    #[must_use]
    pub fn faults_url(&self) -> String {
        format!("http://{}{}", self.api_addr, api::FAULTS_PATH)
    }

    /// What a project's plan allows; `None` where there is no such project.
    #[must_use]
    pub fn limits(&self, project_id: &str) -> Option<Limits> {
        self.control.limits(project_id)
    }

    /// Changes what a project's plan allows. What is beyond it already stays.
    pub fn set_limits(&self, project_id: &str, limits: Limits) {
        self.control.set_limits(project_id, limits);
    }

    /// Sets a fault, after those that are set already.
    ///
    /// # Errors
    /// If it can never be met: a status that is no error, an action that does not exist.
    pub fn set_fault(&self, fault: Fault) -> anyhow::Result<()> {
        fault.check().map_err(anyhow::Error::msg)?;
        self.control.set_fault(fault);
        Ok(())
    }

    /// What is left of the faults that were set.
    #[must_use]
    pub fn faults(&self) -> Vec<Fault> {
        self.control.faults.left()
    }

    /// Removes all faults; operations that hang go on.
    pub fn clear_faults(&self) {
        self.control.faults.clear();
    }

    /// The user's own key, which reaches everything.
    #[must_use]
    pub fn api_key(&self) -> &str {
        self.control.api_key.expose()
    }

    /// The port on which every endpoint's host is reached.
    #[must_use]
    pub fn pg_port(&self) -> u16 {
        self.control.pg_port
    }

    /// The certificate to trust for connections.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// The file that holds [`Emulator::ca_pem`], for `sslrootcert`.
    #[must_use]
    pub fn ca_path(&self) -> &Path {
        &self.ca_path
    }

    /// The major version of the PostgreSQL servers.
    #[must_use]
    pub fn pg_version(&self) -> u32 {
        self.control.postgres.major()
    }

    /// The folder of the PostgreSQL programs in use.
    #[must_use]
    pub fn postgres_bin(&self) -> &Path {
        self.control.postgres.bin()
    }

    /// The counters as they are now.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.control.stats()
    }

    /// The latest calls of the API (10,000 at most) that are answered, in the order in which they came in.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.control.calls.all()
    }

    /// Ends sessions, stops the servers with their data at rest, and returns when they have
    /// ended. Operations that were running continue at the next start on the same data folder.
    pub fn shutdown(mut self) {
        self.end(Stop::Fast);
    }

    fn end(&mut self, how: Stop) {
        if let Some(stop) = self.stop.take() {
            // The thread may have ended already; then there is nothing to stop.
            let _ = stop.send(how);
        }
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the emulator's thread panicked");
        }
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        self.end(Stop::Immediate);
    }
}

type Opened = anyhow::Result<(Arc<Control>, SocketAddr, String)>;

/// The emulator's thread: opens everything, reports, serves until told to stop.
fn run(
    config: &EmulatorConfig,
    folders: &Folders,
    ready: &mpsc::Sender<Opened>,
    stopped: oneshot::Receiver<Stop>,
) {
    let built = runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("neon-emulator")
        .enable_all()
        .build();
    let runtime = match built {
        Ok(runtime) => runtime,
        Err(error) => return drop(ready.send(Err(error.into()))),
    };
    runtime.block_on(async {
        let parts = match open(config, folders).await {
            Ok(parts) => parts,
            Err(error) => return drop(ready.send(Err(error))),
        };
        let report = parts
            .api
            .local_addr()
            .map_err(anyhow::Error::from)
            .map(|api_addr| (Arc::clone(&parts.control), api_addr, parts.ca_pem.clone()));
        if ready.send(report).is_ok() {
            serve(parts, stopped).await;
        }
    });
    runtime.shutdown_timeout(FAREWELL);
}

async fn open(config: &EmulatorConfig, folders: &Folders) -> anyhow::Result<Parts> {
    let postgres = Postgres::open(
        config.postgres_bin.as_deref(),
        &config.postgres_user,
        folders.data(),
        folders.sockets(),
    )?;
    let tls = Tls::open(folders.data())?;
    let store = Store::open(folders.data())?;
    let api = TcpListener::bind(config.api_listen)
        .await
        .with_context(|| format!("cannot listen on {}", config.api_listen))?;
    let (pg_port, pg) = bind_loopback(config.pg_port).await.with_context(|| {
        format!(
            "cannot listen on port {} of 127.0.0.1 and ::1",
            config.pg_port
        )
    })?;
    let stopping = CancellationToken::new();
    let control = Arc::new(Control::new(store, postgres, config, pg_port, stopping));
    let ca_pem = tls.ca_pem.clone();
    let proxy = Arc::new(Proxy::new(Arc::clone(&control), tls));
    Ok(Parts {
        control,
        api,
        proxy,
        pg,
        ca_pem,
    })
}

async fn serve(parts: Parts, stopped: oneshot::Receiver<Stop>) {
    let Parts {
        control,
        api,
        proxy,
        pg,
        ..
    } = parts;
    control.start();
    for listener in pg {
        tokio::spawn(Arc::clone(&proxy).run(listener));
    }
    let router = api::router(Arc::clone(&control));
    let stopping = control.stopping.clone();
    tokio::spawn(async move {
        let router = router.into_make_service_with_connect_info::<Line>();
        let serving = axum::serve(Lines(api), router);
        if let Err(error) = serving
            .with_graceful_shutdown(stopping.cancelled_owned())
            .await
        {
            tracing::error!(%error, "the API has stopped");
        }
    });
    // The sender is dropped without a word only if its owner was forgotten.
    let how = stopped.await.unwrap_or(Stop::Immediate);
    control.stopping.cancel();
    control.stop_all(how).await;
}

/// Listens on the same port of `127.0.0.1` and `::1`, because clients resolve `*.localhost` to
/// either; without IPv6 on the first alone.
async fn bind_loopback(port: u16) -> io::Result<(u16, Vec<TcpListener>)> {
    let mut attempts = if port == 0 { PORT_ATTEMPTS } else { 1 };
    loop {
        let v4 = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let chosen = v4.local_addr()?.port();
        let v6 = SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), chosen);
        match TcpListener::bind(v6).await {
            Ok(v6) => return Ok((chosen, vec![v4, v6])),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                attempts -= 1;
                if attempts == 0 {
                    return Err(error);
                }
            }
            Err(error) => {
                tracing::info!(%error, "no IPv6 loopback");
                return Ok((chosen, vec![v4]));
            }
        }
    }
}
