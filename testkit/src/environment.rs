//! The whole local environment, left running: control plane, emulator, operator. What `make up` starts
//! and `make down` ends.
//!
//! Every step looks first whether its work is done already, so a repeated [`up`](Environment::up)
//! starts only what is missing, and one that failed half-way is continued.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use kube::api::DynamicObject;
use rustix::process::Signal;

use crate::{
    Assets, Cluster, assets,
    control_plane::{Installation, Ports, controllers_work, is_ready},
    kubeconfig, manifests, private_file,
    process::{Program, free_port},
    progress::{note, step},
};

mod lock;
pub(crate) mod neon;
mod service;
mod settings;
mod shell;

pub use lock::Lock;
pub(crate) use neon::{Branch, Neon};
use service::Service;
use settings::Settings;

/// Where things are.
#[derive(Debug, Clone)]
pub struct Places {
    /// The environment's own folder; removed when it ends.
    pub run_dir: PathBuf,
    /// The folder with the built programs `neon-emulator` and `sepulki`.
    pub bin_dir: PathBuf,
    /// The kustomize base that installs the operator (`deploy/base`).
    pub base_dir: PathBuf,
}

impl Places {
    /// The environment that people work with, in `.run`.
    pub fn of_repository() -> anyhow::Result<Self> {
        Self::in_repository(".run")
    }

    /// The demo's, in `.run-demo`: it never meets what somebody has in theirs.
    pub fn of_demo() -> anyhow::Result<Self> {
        Self::in_repository(".run-demo")
    }

    /// In this repository, with the programs from the folder that the running one is in.
    fn in_repository(run_dir: &str) -> anyhow::Result<Self> {
        let root = repository()?;
        let program = env::current_exe().context("find the running program")?;
        Ok(Self {
            run_dir: root.join(run_dir),
            bin_dir: program
                .parent()
                .context("find the built programs")?
                .to_owned(),
            base_dir: root.join("deploy/base"),
        })
    }

    fn control_plane_dir(&self) -> PathBuf {
        self.run_dir.join("control-plane")
    }

    /// The parts in the order in which they start.
    fn services(&self) -> [Service; 5] {
        let control_plane = self.control_plane_dir();
        [
            Service::new("etcd", &control_plane, Signal::KILL),
            // On SIGTERM it would linger for seconds.
            Service::new("kube-apiserver", &control_plane, Signal::KILL),
            Service::new("kube-controller-manager", &control_plane, Signal::KILL),
            Service::new("neon-emulator", &self.run_dir, Signal::TERM),
            Service::new("sepulki-operator", &self.run_dir, Signal::TERM),
        ]
    }
}

/// The folder that holds the whole project.
pub(crate) fn repository() -> anyhow::Result<&'static Path> {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .context("find the repository")
}

/// A running environment.
#[derive(Debug)]
pub struct Environment {
    /// The control plane, as its administrator.
    pub cluster: Cluster,
    /// Base URL of the emulator's API; ends in `/api/v2`.
    pub neon_api_host: String,
    /// The key that it accepts.
    pub neon_api_key: String,
    /// A project made for this environment.
    pub neon_project_id: String,
    /// The port on which its databases answer.
    pub neon_pg_port: u16,
    /// The authority that signed its databases' certificates.
    pub ca_file: PathBuf,
    /// The file that sets all this as variables.
    pub env_file: PathBuf,
}

impl Environment {
    /// Starts what is not running, telling about every step on standard output.
    ///
    /// # Errors
    /// If something is missing or does not come up. What runs by then is left running: call this again,
    /// or [`down`].
    pub async fn up(places: &Places, _lock: &Lock) -> anyhow::Result<Self> {
        assets::build(note)?;
        let settings = Settings::open_or_create(&places.run_dir)?;
        let [etcd, api_server, controller_manager, emulator, operator] = places.services();

        let cluster = step(
            "control plane: etcd, kube-apiserver, kube-controller-manager",
            start_control_plane(places, &etcd, &api_server, &controller_manager),
        )
        .await?;
        let neon = Neon::new(&settings)?;
        let ca_file = step(
            "emulator: Neon's API and PostgreSQL",
            start_emulator(places, &settings, &emulator, &neon),
        )
        .await?;
        let neon_project_id = step("project in the emulator", neon.project()).await?;
        let account = step(
            "custom resources and access rules from deploy/base",
            install(&places.base_dir, &cluster),
        )
        .await?;
        let environment = Self {
            cluster,
            neon_api_host: neon.host().to_owned(),
            neon_api_key: settings.neon_api_key.clone(),
            neon_project_id,
            neon_pg_port: settings.neon_pg_port,
            ca_file,
            env_file: places.run_dir.join("env"),
        };
        step(
            "operator, with the rights of its ServiceAccount",
            environment.start_operator(places, &settings, &operator, &account),
        )
        .await?;
        private_file::write(&environment.env_file, &shell::variables(&environment)?)?;
        Ok(environment)
    }

    /// The emulator's API.
    pub(crate) fn neon(&self) -> anyhow::Result<Neon> {
        Neon::at(&self.neon_api_host, &self.neon_api_key)
    }

    async fn start_operator(
        &self,
        places: &Places,
        settings: &Settings,
        operator: &Service,
        account: &ServiceAccountName,
    ) -> anyhow::Result<()> {
        let address = format!("127.0.0.1:{}", settings.operator_port);
        let kubeconfig_file = places.run_dir.join("operator.kubeconfig");
        let kubeconfig = self
            .cluster
            .service_account(&account.namespace, &account.name)
            .await?;
        kubeconfig::write(&kubeconfig, &kubeconfig_file)?;
        let program = program(places, "sepulki", operator)?
            .arg("operator")
            .env("KUBECONFIG", kubeconfig_file)
            .env("NEON_API_HOST", &self.neon_api_host)
            .env("NEON_PG_PORT", self.neon_pg_port.to_string())
            .env("PGSSLROOTCERT", &self.ca_file)
            .env("SEPULKI_LISTEN", &address)
            .env("SEPULKI_LOG_FORMAT", "text")
            // It is the only one: after a crash the next need not wait for its lease to run out.
            .env("SEPULKI_LEADER_ELECTION", "false")
            .env("POD_NAMESPACE", &account.namespace);
        operator.start_current(without_proxies(program)).await?;
        let url = format!("http://{address}/readyz");
        let client = neon::local_client()?;
        operator
            .wait_until(async || neon::is_ok(client.get(&url)).await)
            .await
    }
}

/// Whether there is anything for [`down`] to end or remove.
#[must_use]
pub fn exists(places: &Places) -> bool {
    places.run_dir.exists()
}

/// Ends everything and removes the environment's folder. Tells on standard output what it does.
pub async fn down(places: &Places, _lock: &Lock) -> anyhow::Result<()> {
    for service in places.services().iter().rev() {
        if service.running()?.is_some() {
            step(&format!("stop {}", service.name()), service.stop()).await?;
        }
    }
    step(&format!("remove {}", places.run_dir.display()), async {
        settings::remove(&places.run_dir)
    })
    .await
}

/// A part of an environment.
#[derive(Debug)]
pub struct Status {
    /// The program.
    pub name: &'static str,
    /// Its process, if it runs.
    pub pid: Option<u32>,
    /// Its output.
    pub log: PathBuf,
}

/// All parts, in the order in which they start.
pub fn status(places: &Places) -> anyhow::Result<Vec<Status>> {
    places
        .services()
        .iter()
        .map(|service| {
            let pid = service.running()?.map(|process| process.pid);
            Ok(Status {
                name: service.name(),
                pid,
                log: service.log(),
            })
        })
        .collect()
}

async fn start_control_plane(
    places: &Places,
    etcd: &Service,
    api_server: &Service,
    controller_manager: &Service,
) -> anyhow::Result<Cluster> {
    let programs = Assets::find()?;
    let dir = places.control_plane_dir();
    let installation = match Installation::open(&dir)? {
        Some(installation) => installation,
        None => new_installation(&dir)?,
    };
    etcd.start(installation.etcd(&programs))?;
    api_server.start(installation.api_server(&programs))?;
    let cluster = Cluster::new(installation.admin()?, installation.admin_file());
    let client = cluster.client().await?;
    api_server
        .wait_until(async || is_ready(&client).await)
        .await?;
    controller_manager.start(installation.controller_manager(&programs))?;
    controller_manager
        .wait_until(async || controllers_work(&client).await)
        .await?;
    Ok(cluster)
}

fn new_installation(dir: &Path) -> anyhow::Result<Installation> {
    fs::create_dir_all(dir).with_context(|| format!("make {}", dir.display()))?;
    let ports = Ports {
        etcd: free_port()?,
        api_server: free_port()?,
    };
    Ok(Installation::create(dir, ports)?.0)
}

/// Starts the emulator and gives the file with its authority.
async fn start_emulator(
    places: &Places,
    settings: &Settings,
    emulator: &Service,
    neon: &Neon,
) -> anyhow::Result<PathBuf> {
    let data = settings.emulator_dir.join("data");
    let program = program(places, "neon-emulator", emulator)?
        .arg("serve")
        .arg("--data-dir")
        .arg(&data)
        .arg("--listen")
        .arg(format!("127.0.0.1:{}", settings.neon_api_port))
        .arg("--pg-port")
        .arg(settings.neon_pg_port.to_string())
        // Not as an argument, which everybody on the machine could read.
        .env("NEON_API_KEY", &settings.neon_api_key);
    emulator.start(without_proxies(program))?;
    emulator.wait_until(async || neon.answers().await).await?;
    // Beside the rest, so that everything people need is in one folder.
    let ca_file = places.run_dir.join("ca.crt");
    fs::copy(data.join("ca.crt"), &ca_file).context("copy the emulator's certificate authority")?;
    Ok(ca_file)
}

/// The operator's identity in the cluster.
pub(crate) struct ServiceAccountName {
    pub(crate) namespace: String,
    pub(crate) name: String,
}

/// Installs the base as shipped, except that the operator runs here and not in a Pod.
pub(crate) async fn install(
    base_dir: &Path,
    cluster: &Cluster,
) -> anyhow::Result<ServiceAccountName> {
    let mut objects = manifests::read_kustomization(base_dir)?;
    objects.retain(|object| manifests::kind(object) != "Deployment");
    cluster.apply(&objects).await?;
    objects
        .iter()
        .find(|object| manifests::kind(object) == "ServiceAccount")
        .and_then(service_account_name)
        .with_context(|| {
            format!(
                "{} holds no ServiceAccount with a namespace",
                base_dir.display()
            )
        })
}

fn service_account_name(object: &DynamicObject) -> Option<ServiceAccountName> {
    Some(ServiceAccountName {
        namespace: object.metadata.namespace.clone()?,
        name: object.metadata.name.clone()?,
    })
}

fn program(places: &Places, name: &str, service: &Service) -> anyhow::Result<Program> {
    let path = places.bin_dir.join(name);
    if !path.is_file() {
        bail!("{} is not built: run `cargo build` first", path.display());
    }
    Ok(Program::new(name, path, service.log()))
}

/// Everything is on loopback, and some clients ask a proxy even for that.
pub(crate) fn without_proxies(program: Program) -> Program {
    [
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "ALL_PROXY",
        "http_proxy",
        "https_proxy",
        "all_proxy",
    ]
    .iter()
    .fold(program, |program, name| program.without_env(name))
}
