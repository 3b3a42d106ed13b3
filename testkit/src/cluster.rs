//! A running cluster as its administrator sees it: clients, namespaces, credentials for others.

use std::path::{Path, PathBuf};

use anyhow::Context;
use k8s_openapi::api::{
    authentication::v1::{TokenRequest, TokenRequestSpec},
    core::v1::{Namespace, ServiceAccount},
};
use kube::{
    Api, Client, Config, ResourceExt,
    api::{DynamicObject, ObjectMeta, PostParams},
    config::Kubeconfig,
};

use crate::{
    install,
    kubeconfig::{self, Server},
    manifests,
};

/// How long a token of [`Cluster::service_account`] is good for: longer than the cluster lasts.
const TOKEN_SECONDS: i64 = 30 * 24 * 3600;

/// Access to a cluster as its administrator.
#[derive(Debug)]
pub struct Cluster {
    admin: Kubeconfig,
    admin_file: PathBuf,
}

impl Cluster {
    pub(crate) fn new(admin: Kubeconfig, admin_file: PathBuf) -> Self {
        Self { admin, admin_file }
    }

    /// The administrator's kubeconfig.
    #[must_use]
    pub fn kubeconfig(&self) -> &Kubeconfig {
        &self.admin
    }

    /// The administrator's kubeconfig as a file, for `KUBECONFIG`.
    #[must_use]
    pub fn kubeconfig_file(&self) -> &Path {
        &self.admin_file
    }

    /// The administrator's client configuration. For another kubeconfig: [`kubeconfig::config`].
    pub async fn config(&self) -> anyhow::Result<Config> {
        kubeconfig::config(&self.admin).await
    }

    /// A new client for the administrator. A client works only in the tokio runtime that made it, and
    /// every `#[tokio::test]` has its own: make one per test.
    pub async fn client(&self) -> anyhow::Result<Client> {
        client(&self.admin).await
    }

    /// Makes a namespace with a random name.
    pub async fn namespace(&self) -> anyhow::Result<String> {
        let namespace = Namespace {
            metadata: ObjectMeta {
                generate_name: Some("test-".to_owned()),
                ..ObjectMeta::default()
            },
            ..Namespace::default()
        };
        let made = Api::<Namespace>::all(self.client().await?)
            .create(&PostParams::default(), &namespace)
            .await
            .context("make a namespace")?;
        Ok(made.name_any())
    }

    /// A kubeconfig for an existing ServiceAccount, by a token as its Pods would get one (TokenRequest),
    /// so that its holder has exactly the ServiceAccount's rights.
    ///
    /// # Errors
    /// If there is no such ServiceAccount.
    pub async fn service_account(&self, namespace: &str, name: &str) -> anyhow::Result<Kubeconfig> {
        let request = TokenRequest {
            spec: TokenRequestSpec {
                expiration_seconds: Some(TOKEN_SECONDS),
                ..TokenRequestSpec::default()
            },
            ..TokenRequest::default()
        };
        let answer = Api::<ServiceAccount>::namespaced(self.client().await?, namespace)
            .create_token_request(name, &PostParams::default(), &request)
            .await
            .with_context(|| format!("ask for a token of ServiceAccount {namespace}/{name}"))?;
        let token = answer.status.context("the answer holds no token")?.token;
        Server::of(&self.admin)?.with_token(name, &token, namespace)
    }

    /// Applies the plain resource files of a kustomize base (server-side apply, CRDs first and waited for).
    pub async fn apply_dir(&self, dir: &Path) -> anyhow::Result<()> {
        self.apply(&manifests::read_kustomization(dir)?).await
    }

    /// Applies YAML texts of one or more documents each.
    pub async fn apply_yaml(&self, texts: &[&str]) -> anyhow::Result<()> {
        let mut objects = Vec::new();
        for text in texts {
            objects.extend(manifests::parse(text)?);
        }
        self.apply(&objects).await
    }

    /// Applies objects of any kind (server-side apply, CRDs first and waited for).
    pub async fn apply(&self, objects: &[DynamicObject]) -> anyhow::Result<()> {
        install::apply(&self.client().await?, objects).await
    }
}

/// A client for whoever the kubeconfig names; bound to the tokio runtime that runs this.
pub async fn client(kubeconfig: &Kubeconfig) -> anyhow::Result<Client> {
    Client::try_from(kubeconfig::config(kubeconfig).await?).context("make a Kubernetes client")
}
