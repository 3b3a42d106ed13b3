//! What one test has to itself: a namespace, a Neon project, and an operator that looks after no other namespace.
//!
//! So tests do not see each other's objects, and one that kills its operator disturbs no other.

use std::path::Path;

use anyhow::Context;
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::{Api, Client, api::DeleteParams};
use serde_json::json;

use super::{DEADLINE, Handle, POLL, Platform, Published, process::Start};
use crate::{process::log_tail, scratch::ScratchDir};

/// The Secret with the API key, under the name that specs have by default.
pub const KEY_SECRET: &str = "neon-api-key";

/// Stands for the project's id in manifests that are applied.
const PROJECT_PLACEHOLDER: &str = "${NEON_PROJECT_ID}";

/// One test's share of a [`Platform`].
pub struct Tenant<'a> {
    platform: &'a Platform,
    namespace: String,
    project: String,
    client: Client,
    scratch: ScratchDir,
    operator_log: std::path::PathBuf,
}

impl<'a> Tenant<'a> {
    pub(super) async fn new(platform: &'a Platform) -> anyhow::Result<Self> {
        let control_plane = platform.control_plane();
        let scratch = ScratchDir::new("tenant")?;
        let namespace = control_plane.namespace().await?;
        let tenant = Self {
            project: platform.neon().project(&namespace).await?,
            client: control_plane.client().await?,
            operator_log: scratch.path().join("operator.log"),
            platform,
            namespace,
            scratch,
        };
        tenant.set_key(platform.neon().emulator().api_key()).await?;
        Ok(tenant)
    }

    /// The shared parts.
    #[must_use]
    pub fn platform(&self) -> &'a Platform {
        self.platform
    }

    /// The namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The Neon project's id.
    #[must_use]
    pub fn project(&self) -> &str {
        &self.project
    }

    /// A client with the administrator's rights, bound to the test's runtime.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// A folder for files of the test's own.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.scratch.path()
    }

    /// Where every operator of this namespace logs to.
    #[must_use]
    pub fn operator_log(&self) -> &Path {
        &self.operator_log
    }

    /// An operator for this namespace alone, built at `program` (`env!("CARGO_BIN_EXE_sepulki")`). Its installation
    /// is named like the namespace, so that it has a leader's lease of its own and several can be started.
    #[must_use]
    pub fn operator(&self, program: impl AsRef<Path>) -> Start<'a> {
        Start::new(self.platform, program.as_ref(), self.operator_log.clone())
            .flag(format!("--namespace={}", self.namespace))
            .flag(format!("--installation={}", self.namespace))
    }

    /// An operator for all namespaces, under the rights it ships with. For a test that has its cluster to itself.
    #[must_use]
    pub fn operator_of_all(&self, program: impl AsRef<Path>) -> Start<'a> {
        Start::new(self.platform, program.as_ref(), self.operator_log.clone())
            .flag(format!("--installation={}", self.namespace))
    }

    /// Applies YAML (server-side apply, so that what is left out is taken away) in this namespace.
    /// `${NEON_PROJECT_ID}` becomes the project's id.
    ///
    /// # Errors
    /// The API server's own words where it refuses.
    pub async fn apply(&self, yaml: &str) -> anyhow::Result<()> {
        let yaml = yaml.replace(PROJECT_PLACEHOLDER, &self.project);
        let mut objects = crate::manifests::parse(&yaml)?;
        for object in &mut objects {
            object.metadata.namespace = Some(self.namespace.clone());
        }
        self.platform.control_plane().apply(&objects).await
    }

    /// Writes the Secret with the API key.
    pub async fn set_key(&self, key: &str) -> anyhow::Result<()> {
        let secret = json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": { "name": KEY_SECRET },
            "stringData": { "apiKey": key },
        });
        self.apply(&secret.to_string()).await
    }

    /// A NeonDatabase by name.
    #[must_use]
    pub fn database(&self, name: &str) -> Handle<'_> {
        self.database_in(&self.namespace, name)
    }

    /// A NeonDatabase of another namespace.
    #[must_use]
    pub fn database_in(&self, namespace: &str, name: &str) -> Handle<'_> {
        Handle::new(self, "NeonDatabase", Some(namespace), name)
    }

    /// A NeonProject by name.
    #[must_use]
    pub fn neon_project(&self, name: &str) -> Handle<'_> {
        Handle::new(self, "NeonProject", None, name)
    }

    /// A SepulkiMigration of another namespace.
    #[must_use]
    pub fn migration_in(&self, namespace: &str, name: &str) -> Handle<'_> {
        Handle::new(self, "SepulkiMigration", Some(namespace), name)
    }

    /// A SepulkiMigration by name.
    #[must_use]
    pub fn migration(&self, name: &str) -> Handle<'_> {
        self.migration_in(&self.namespace, name)
    }

    /// Secrets of this namespace.
    #[must_use]
    pub fn secrets(&self) -> Api<Secret> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// A connection Secret's contents.
    pub async fn published(&self, name: &str) -> anyhow::Result<Published> {
        self.published_in(&self.namespace, name).await
    }

    /// The contents of a connection Secret of another namespace.
    pub async fn published_in(&self, namespace: &str, name: &str) -> anyhow::Result<Published> {
        let secrets = Api::<Secret>::namespaced(self.client.clone(), namespace);
        let secret = secrets.get_opt(name).await?;
        Published::of(&secret.with_context(|| format!("there is no Secret {name}"))?)
    }

    /// Removes the Secret with the API key.
    pub async fn delete_key(&self) -> anyhow::Result<()> {
        self.secrets()
            .delete(KEY_SECRET, &DeleteParams::default())
            .await?;
        Ok(())
    }

    /// Asks for the deletion of the whole namespace and returns at once.
    pub async fn delete_namespace(&self) -> anyhow::Result<()> {
        Api::<Namespace>::all(self.client.clone())
            .delete(&self.namespace, &DeleteParams::default())
            .await?;
        Ok(())
    }

    /// Waits until the namespace does not exist.
    pub async fn namespace_gone(&self) -> anyhow::Result<()> {
        let namespaces = Api::<Namespace>::all(self.client.clone());
        let deadline = tokio::time::Instant::now() + DEADLINE;
        while let Some(namespace) = namespaces.get_opt(&self.namespace).await? {
            if tokio::time::Instant::now() > deadline {
                anyhow::bail!(
                    "namespace {} is still there after {DEADLINE:?}: {:?}\nthe operator's log ends:\n{}",
                    self.namespace,
                    namespace.status,
                    log_tail(&self.operator_log)
                );
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }
}
