//! A Kubernetes control plane for tests: etcd, kube-apiserver and kube-controller-manager.
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! use testkit::ControlPlane;
//! let cluster = ControlPlane::shared().await?;
//! let namespace = cluster.namespace().await?;
//! let client = cluster.client().await?; // the administrator's
//! # Ok(()) }
//! ```

use std::{
    ops::Deref,
    time::{Duration, Instant},
};

use http::Request;
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::{Api, Client, config::Kubeconfig};
use tokio::sync::OnceCell;

use crate::{
    assets::Assets,
    audit::AuditLog,
    cluster::{Cluster, client},
    kubeconfig::Server,
    pki::Authority,
    process::{Process, free_port, port_was_taken},
    scratch::ScratchDir,
};

mod installation;

pub(crate) use installation::{Installation, Ports};

const START_DEADLINE: Duration = Duration::from_mins(1);
const START_ATTEMPTS: usize = 5;

/// A running control plane; ended and removed when dropped or when the process ends. Everything one
/// does *in* it is on [`Cluster`].
pub struct ControlPlane {
    cluster: Cluster,
    server: Server,
    authority: Authority,
    audit: AuditLog,
    // Fields are dropped in this order: etcd after its clients, the folder last.
    _controller_manager: Process,
    _api_server: Process,
    _etcd: Process,
    _scratch: ScratchDir,
}

impl Deref for ControlPlane {
    type Target = Cluster;

    fn deref(&self) -> &Cluster {
        &self.cluster
    }
}

impl ControlPlane {
    /// The control plane that all tests of this binary share, started by the first that asks. Tests keep
    /// apart by namespaces of their own ([`Cluster::namespace`]).
    ///
    /// Tests of one binary run in one process with `cargo test`; a runner that gives each test its own
    /// process starts a control plane for each.
    pub async fn shared() -> anyhow::Result<&'static Self> {
        static SHARED: OnceCell<ControlPlane> = OnceCell::const_new();
        SHARED.get_or_try_init(Self::start).await
    }

    /// Starts a new one and waits until it works: the API server is ready and the controller-manager
    /// has made the first ServiceAccount.
    ///
    /// # Errors
    /// If a program is missing (the message names the ways to get it) or does not come up (the message
    /// carries the end of its log).
    pub async fn start() -> anyhow::Result<Self> {
        let assets = Assets::find()?;
        let mut attempt = 1;
        loop {
            match Self::start_once(&assets).await {
                Err(error) if port_was_taken(&error) && attempt < START_ATTEMPTS => attempt += 1,
                result => return result,
            }
        }
    }

    async fn start_once(assets: &Assets) -> anyhow::Result<Self> {
        let scratch = ScratchDir::new("control-plane")?;
        let ports = Ports {
            etcd: free_port()?,
            api_server: free_port()?,
        };
        let (installation, authority) = Installation::create(scratch.path(), ports)?;
        let deadline = Instant::now() + START_DEADLINE;

        let mut etcd = installation.etcd(assets).spawn()?;
        let mut api_server = installation.api_server(assets).spawn()?;
        let admin = installation.admin()?;
        let client = client(&admin).await?;
        while !is_ready(&client).await {
            etcd.check_running()?;
            api_server.check_running()?;
            if Instant::now() > deadline {
                return Err(api_server.not_ready(START_DEADLINE));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let mut controller_manager = installation.controller_manager(assets).spawn()?;
        while !controllers_work(&client).await {
            controller_manager.check_running()?;
            if Instant::now() > deadline {
                return Err(controller_manager.not_ready(START_DEADLINE));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(Self {
            server: Server::of(&admin)?,
            audit: installation.audit_log(),
            cluster: Cluster::new(admin, installation.admin_file()),
            authority,
            _controller_manager: controller_manager,
            _api_server: api_server,
            _etcd: etcd,
            _scratch: scratch,
        })
    }

    /// A kubeconfig for a user known by client certificate, in one group if given. Without RBAC
    /// bindings such a user may do nothing; the group `system:masters` may do everything.
    pub fn user(&self, name: &str, group: Option<&str>) -> anyhow::Result<Kubeconfig> {
        self.server
            .with_certificate(name, &self.authority.client(name, group)?)
    }

    /// What was written to the API server, and which Secrets were read.
    #[must_use]
    pub fn audit_log(&self) -> &AuditLog {
        &self.audit
    }
}

/// Whether the API server behind `client` says that it is ready.
pub(crate) async fn is_ready(client: &Client) -> bool {
    match Request::get("/readyz").body(Vec::new()) {
        Ok(request) => client.request_text(request).await.is_ok(),
        Err(_) => false,
    }
}

/// Whether the controllers run: one of them puts this ServiceAccount into every namespace.
pub(crate) async fn controllers_work(client: &Client) -> bool {
    Api::<ServiceAccount>::namespaced(client.clone(), "default")
        .get("default")
        .await
        .is_ok()
}
