//! Kubeconfigs for the local API server: made, written, and turned into client configurations.

use std::path::Path;

use anyhow::Context;
use base64::Engine;
use kube::{
    Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::{Value, json};

use crate::{pki::Identity, private_file};

/// Where the API server is and how to know it: the same for everybody who connects.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    pub(crate) url: String,
    /// The authority that signed its certificate, PEM in base64.
    pub(crate) ca_data: String,
}

impl Server {
    /// Takes it over from somebody else's kubeconfig.
    pub(crate) fn of(kubeconfig: &Kubeconfig) -> anyhow::Result<Self> {
        let cluster = kubeconfig
            .clusters
            .first()
            .and_then(|named| named.cluster.as_ref())
            .context("the kubeconfig names no cluster")?;
        Ok(Self {
            url: cluster
                .server
                .clone()
                .context("the kubeconfig names no server")?,
            ca_data: cluster
                .certificate_authority_data
                .clone()
                .context("the kubeconfig carries no certificate authority")?,
        })
    }

    /// For somebody with a client certificate.
    pub(crate) fn with_certificate(
        &self,
        user: &str,
        identity: &Identity,
    ) -> anyhow::Result<Kubeconfig> {
        let credential = json!({
            "client-certificate-data": base64(&identity.certificate),
            "client-key-data": base64(&identity.key),
        });
        self.kubeconfig(user, &credential, "default")
    }

    /// For somebody with a bearer token, in `namespace` unless said otherwise.
    pub(crate) fn with_token(
        &self,
        user: &str,
        token: &str,
        namespace: &str,
    ) -> anyhow::Result<Kubeconfig> {
        self.kubeconfig(user, &json!({ "token": token }), namespace)
    }

    fn kubeconfig(
        &self,
        user: &str,
        credential: &Value,
        namespace: &str,
    ) -> anyhow::Result<Kubeconfig> {
        serde_json::from_value(json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "sepulki",
            "clusters": [{
                "name": "sepulki",
                "cluster": { "server": self.url, "certificate-authority-data": self.ca_data },
            }],
            "users": [{ "name": user, "user": credential }],
            "contexts": [{
                "name": "sepulki",
                "context": { "cluster": "sepulki", "user": user, "namespace": namespace },
            }],
        }))
        .context("put the kubeconfig together")
    }
}

/// The client configuration of a kubeconfig, without the proxy that kube takes from `HTTPS_PROXY`
/// even for loopback addresses.
pub async fn config(kubeconfig: &Kubeconfig) -> anyhow::Result<Config> {
    let mut config =
        Config::from_custom_kubeconfig(kubeconfig.clone(), &KubeConfigOptions::default())
            .await
            .context("read the kubeconfig")?;
    config.proxy_url = None;
    Ok(config)
}

/// Writes a kubeconfig (JSON is YAML) that only its owner can read.
pub fn write(kubeconfig: &Kubeconfig, path: &Path) -> anyhow::Result<()> {
    let text = serde_json::to_string_pretty(kubeconfig).context("write the kubeconfig as text")?;
    private_file::write(path, &text)
}

pub(crate) fn base64(text: &str) -> String {
    base64::engine::general_purpose::STANDARD.encode(text)
}
