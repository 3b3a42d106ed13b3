//! What the tests of one binary share: the control plane with the operator's base installed, and an emulator.

use std::{fmt, path::Path};

use anyhow::Context;
use kube::config::Kubeconfig;
use neon_emulator::EmulatorConfig;
use tokio::sync::OnceCell;

use super::{Neon, Tenant};
use crate::{
    ControlPlane,
    environment::{ServiceAccountName, install},
};

/// A cluster that is ready for the operator, and a Neon to use with it.
pub struct Platform {
    control_plane: &'static ControlPlane,
    neon: Neon,
    account: &'static Account,
}

/// Who the operator is in the cluster.
struct Account {
    name: ServiceAccountName,
    kubeconfig: Kubeconfig,
}

impl Platform {
    /// The one that all tests of this binary share, started by the first that asks.
    pub async fn shared() -> anyhow::Result<&'static Self> {
        static SHARED: OnceCell<Platform> = OnceCell::const_new();
        SHARED
            .get_or_try_init(|| Self::with_neon(Neon::config()))
            .await
    }

    /// The shared control plane with an emulator of one's own, for tests that look at its counters as a whole
    /// or need other settings.
    pub async fn with_neon(config: EmulatorConfig) -> anyhow::Result<Self> {
        let control_plane = ControlPlane::shared().await?;
        Ok(Self {
            control_plane,
            neon: Neon::start(config).await?,
            account: installed(control_plane).await?,
        })
    }

    /// The control plane, as its administrator.
    #[must_use]
    pub fn control_plane(&self) -> &'static ControlPlane {
        self.control_plane
    }

    /// The emulator.
    #[must_use]
    pub fn neon(&self) -> &Neon {
        &self.neon
    }

    /// The operator's user name in the audit log.
    #[must_use]
    pub fn operator_user(&self) -> String {
        let ServiceAccountName { namespace, name } = &self.account.name;
        format!("system:serviceaccount:{namespace}:{name}")
    }

    /// The operator's namespace.
    #[must_use]
    pub fn operator_namespace(&self) -> &str {
        &self.account.name.namespace
    }

    /// The credential under which the operator runs: its ServiceAccount's.
    #[must_use]
    pub fn operator_kubeconfig(&self) -> &Kubeconfig {
        &self.account.kubeconfig
    }

    /// A namespace, a Neon project, and the Secret `neon-api-key` with the key for it.
    pub async fn tenant(&self) -> anyhow::Result<Tenant<'_>> {
        Tenant::new(self).await
    }
}

impl fmt::Debug for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Platform").finish_non_exhaustive()
    }
}

/// Installs the base as shipped, once.
async fn installed(control_plane: &ControlPlane) -> anyhow::Result<&'static Account> {
    static INSTALLED: OnceCell<Account> = OnceCell::const_new();
    INSTALLED
        .get_or_try_init(async || {
            let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
            let base = root.context("find the repository")?.join("deploy/base");
            let name = install(&base, control_plane).await?;
            let kubeconfig = control_plane
                .service_account(&name.namespace, &name.name)
                .await?;
            Ok(Account { name, kubeconfig })
        })
        .await
}
