//! The few calls to the emulator's API that set an environment up.

use std::time::Duration;

use anyhow::{Context, bail};
use reqwest::{Client, RequestBuilder};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Settings;

/// The project that an environment makes, found again by this name.
const PROJECT: &str = "sepulki";

/// The emulator's API, with a key for it.
#[derive(Debug)]
pub(crate) struct Neon {
    host: String,
    key: String,
    client: Client,
}

#[derive(Deserialize)]
struct Project {
    id: String,
    name: String,
}

#[derive(Deserialize)]
struct Projects {
    projects: Vec<Project>,
}

/// A branch as the API lists it.
#[derive(Debug, Deserialize)]
pub(crate) struct Branch {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) parent_id: Option<String>,
}

#[derive(Deserialize)]
struct Branches {
    branches: Vec<Branch>,
}

impl Neon {
    pub(crate) fn new(settings: &Settings) -> anyhow::Result<Self> {
        Self::at(
            &format!("http://127.0.0.1:{}/api/v2", settings.neon_api_port),
            &settings.neon_api_key,
        )
    }

    /// By its base URL.
    pub(crate) fn at(host: &str, key: &str) -> anyhow::Result<Self> {
        Ok(Self {
            host: host.to_owned(),
            key: key.to_owned(),
            client: local_client()?,
        })
    }

    /// The base URL; ends in `/api/v2`.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    pub(crate) async fn answers(&self) -> bool {
        is_ok(self.client.get(self.projects_url()).bearer_auth(&self.key)).await
    }

    /// The id of our project, which is made if it is not there.
    pub(crate) async fn project(&self) -> anyhow::Result<String> {
        let list: Projects = self
            .call(self.client.get(self.projects_url()))
            .await
            .and_then(|answer| {
                serde_json::from_value(answer).context("read the list of projects")
            })?;
        if let Some(found) = list
            .projects
            .into_iter()
            .find(|project| project.name == PROJECT)
        {
            return Ok(found.id);
        }
        let body = json!({ "project": { "name": PROJECT } });
        let answer = self
            .call(self.client.post(self.projects_url()).json(&body))
            .await?;
        let id = answer.pointer("/project/id").and_then(Value::as_str);
        id.map(str::to_owned)
            .context("the answer to POST /projects holds no project id")
    }

    /// All branches of a project.
    pub(crate) async fn branches(&self, project_id: &str) -> anyhow::Result<Vec<Branch>> {
        let url = format!("{}/{project_id}/branches", self.projects_url());
        let answer = self.call(self.client.get(url)).await?;
        let list: Branches = serde_json::from_value(answer).context("read the list of branches")?;
        Ok(list.branches)
    }

    fn projects_url(&self) -> String {
        format!("{}/projects", self.host)
    }

    async fn call(&self, request: RequestBuilder) -> anyhow::Result<Value> {
        let answer = request
            .bearer_auth(&self.key)
            .send()
            .await
            .context("call the emulator")?;
        let status = answer.status();
        let text = answer.text().await.context("read the emulator's answer")?;
        if !status.is_success() {
            bail!("the emulator answers {status}: {text}");
        }
        serde_json::from_str(&text).context("read the emulator's answer")
    }
}

/// A client for loopback: no proxy, short patience.
pub(crate) fn local_client() -> anyhow::Result<Client> {
    Client::builder()
        .no_proxy()
        .timeout(Duration::from_secs(30))
        .build()
        .context("make an HTTP client")
}

/// Whether a request is answered with success.
pub(crate) async fn is_ok(request: RequestBuilder) -> bool {
    request
        .send()
        .await
        .is_ok_and(|answer| answer.status().is_success())
}
