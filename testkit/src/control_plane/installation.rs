//! The files and command lines of a control plane in one folder: PKI, kubeconfigs, audit policy.
//!
//! Starts nothing, so that tests (which tie the programs to their process) and `testkit up` (which lets
//! them outlive it) run the same control plane.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::Context;
use kube::config::Kubeconfig;
use serde::{Deserialize, Serialize};

use crate::{
    assets::Assets,
    audit::AuditLog,
    kubeconfig::{self, Server, base64},
    pki::{self, Authority},
    private_file,
    process::Program,
};

/// Writes by anybody, and who reads Secrets; without bodies, so that no secret reaches the log.
const AUDIT_POLICY: &str = "\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - level: Metadata
    verbs: [create, update, patch, delete, deletecollection]
  - level: Metadata
    verbs: [get, list, watch]
    resources: [{group: '', resources: [secrets]}]
  - level: None
";

/// The service range; its first address is the name `kubernetes.default.svc`.
const SERVICE_RANGE: &str = "10.0.0.0/24";
const SERVICE_ADDRESS: &str = "10.0.0.1";

/// The loopback ports of a control plane.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Ports {
    pub(crate) etcd: u16,
    pub(crate) api_server: u16,
}

/// A folder with everything that the programs need.
#[derive(Debug)]
pub(crate) struct Installation {
    dir: PathBuf,
    ports: Ports,
}

impl Installation {
    /// Fills an empty folder.
    pub(crate) fn create(dir: &Path, ports: Ports) -> anyhow::Result<(Self, Authority)> {
        let installation = Self {
            dir: dir.to_owned(),
            ports,
        };
        let authority = Authority::new("sepulki-control-plane")?;
        installation.write("ca.crt", authority.pem())?;
        installation.write("ca.key", &authority.key_pem())?;
        let serving = authority.server(&[
            "127.0.0.1",
            SERVICE_ADDRESS,
            "localhost",
            "kubernetes.default.svc",
            "kubernetes.default.svc.cluster.local",
        ])?;
        installation.write("api-server.crt", &serving.certificate)?;
        installation.write("api-server.key", &serving.key)?;
        let (tokens_private, tokens_public) = pki::key_pair()?;
        installation.write("tokens.key", &tokens_private)?;
        installation.write("tokens.pub", &tokens_public)?;
        installation.write("audit-policy.yaml", AUDIT_POLICY)?;

        let server = Server {
            url: format!("https://127.0.0.1:{}", ports.api_server),
            ca_data: base64(authority.pem()),
        };
        for (user, group, file) in [
            ("admin", Some("system:masters"), installation.admin_file()),
            (
                "system:kube-controller-manager",
                None,
                installation.path("controller-manager.kubeconfig"),
            ),
        ] {
            let kubeconfig = server.with_certificate(user, &authority.client(user, group)?)?;
            kubeconfig::write(&kubeconfig, &file)?;
        }
        // Last: a folder that has it is complete.
        installation.write("ports.json", &serde_json::to_string(&ports)?)?;
        Ok((installation, authority))
    }

    /// Takes a folder that [`Installation::create`] has filled, if it has.
    pub(crate) fn open(dir: &Path) -> anyhow::Result<Option<Self>> {
        match fs::read(dir.join("ports.json")) {
            Ok(text) => {
                let ports = serde_json::from_slice(&text).context("read ports.json")?;
                Ok(Some(Self {
                    dir: dir.to_owned(),
                    ports,
                }))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).context("read ports.json"),
        }
    }

    /// The administrator's kubeconfig.
    pub(crate) fn admin(&self) -> anyhow::Result<Kubeconfig> {
        Kubeconfig::read_from(self.admin_file()).context("read the administrator's kubeconfig")
    }

    pub(crate) fn admin_file(&self) -> PathBuf {
        self.path("admin.kubeconfig")
    }

    pub(crate) fn audit_log(&self) -> AuditLog {
        AuditLog::new(self.path("audit.log"))
    }

    pub(crate) fn etcd(&self, assets: &Assets) -> Program {
        let url = self.etcd_url();
        self.program("etcd", &assets.etcd)
            .arg(self.file_flag("data-dir", "etcd"))
            .arg(format!("--listen-client-urls={url}"))
            .arg(format!("--advertise-client-urls={url}"))
            .arg("--listen-peer-urls=http://127.0.0.1:0")
            // The data is thrown away; waiting for the disk would only cost time.
            .arg("--unsafe-no-fsync")
    }

    pub(crate) fn api_server(&self, assets: &Assets) -> Program {
        self.program("kube-apiserver", &assets.kube_apiserver)
            .arg(format!("--etcd-servers={}", self.etcd_url()))
            .arg("--bind-address=127.0.0.1")
            .arg("--advertise-address=127.0.0.1")
            .arg(format!("--secure-port={}", self.ports.api_server))
            .arg(self.file_flag("tls-cert-file", "api-server.crt"))
            .arg(self.file_flag("tls-private-key-file", "api-server.key"))
            .arg(self.file_flag("client-ca-file", "ca.crt"))
            .arg("--anonymous-auth=false")
            .arg("--authorization-mode=Node,RBAC")
            .arg("--service-account-issuer=https://kubernetes.default.svc")
            .arg(self.file_flag("service-account-key-file", "tokens.pub"))
            .arg(self.file_flag("service-account-signing-key-file", "tokens.key"))
            .arg(format!("--service-cluster-ip-range={SERVICE_RANGE}"))
            // A loopback address cannot be an endpoint of the Service `kubernetes`.
            .arg("--endpoint-reconciler-type=none")
            .arg(self.file_flag("audit-policy-file", "audit-policy.yaml"))
            .arg(self.file_flag("audit-log-path", "audit.log"))
    }

    pub(crate) fn controller_manager(&self, assets: &Assets) -> Program {
        self.program("kube-controller-manager", &assets.kube_controller_manager)
            .arg(self.file_flag("kubeconfig", "controller-manager.kubeconfig"))
            .arg(self.file_flag("service-account-private-key-file", "tokens.key"))
            .arg(self.file_flag("root-ca-file", "ca.crt"))
            .arg(self.file_flag("cluster-signing-cert-file", "ca.crt"))
            .arg(self.file_flag("cluster-signing-key-file", "ca.key"))
            .arg("--use-service-account-credentials=true")
            // Each controller asks for its own ServiceAccount first; at the default 20 calls a
            // second that takes longer than everything else here.
            .arg("--kube-api-qps=1000")
            .arg("--kube-api-burst=1000")
            .arg("--leader-elect=false")
            // Nobody asks it anything, and its usual port may be taken.
            .arg("--secure-port=0")
    }

    fn program(&self, name: &str, path: &Path) -> Program {
        Program::new(name, path, self.path(&format!("{name}.log")))
    }

    fn etcd_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.etcd)
    }

    fn file_flag(&self, flag: &str, file: &str) -> String {
        format!("--{flag}={}", self.path(file).display())
    }

    fn path(&self, file: &str) -> PathBuf {
        self.dir.join(file)
    }

    /// Half of the files are keys.
    fn write(&self, file: &str, text: &str) -> anyhow::Result<()> {
        private_file::write(&self.path(file), text)
    }
}
