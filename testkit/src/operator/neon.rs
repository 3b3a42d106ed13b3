//! The emulator as a test sees it from outside: its API under its own key, and its counters.

use std::time::Duration;

use anyhow::{Context, bail};
use neon_emulator::{Emulator, EmulatorConfig, Stats};
use reqwest::{Client, Method};
use serde_json::{Value, json};

use super::eventually;
use crate::{
    environment::neon::local_client,
    postgres::{Programs, account},
    scratch::ScratchDir,
};

/// How long an operation of the emulator takes: long enough to be met while it runs.
const OPERATION: Duration = Duration::from_millis(30);

/// How often the emulator looks for idle computes and expired branches.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// A running emulator, ended when dropped.
pub struct Neon {
    emulator: Emulator,
    /// Whose the projects are, where they are an organization's.
    organization: Option<String>,
    // Dropped after the emulator. They remove what a static, which is never dropped, would leave.
    _sockets: Option<ScratchDir>,
    _data: ScratchDir,
}

impl Neon {
    /// The settings that suit most tests: operations of some milliseconds.
    #[must_use]
    pub fn config() -> EmulatorConfig {
        EmulatorConfig {
            operation_duration: OPERATION,
            poll_interval: POLL_INTERVAL,
            ..EmulatorConfig::default()
        }
    }

    /// Starts one with its data in a folder of its own, on the PostgreSQL that `TEST_POSTGRES` names.
    pub async fn start(config: EmulatorConfig) -> anyhow::Result<Self> {
        let data = ScratchDir::open_to_all("neon")?;
        let data_dir = data.path().join("data");
        let programs = Programs::asked_for()?
            .map(|programs| programs.reachable(account()?.as_ref(), data.path()))
            .transpose()?;
        let config = EmulatorConfig {
            data_dir: Some(data_dir.clone()),
            postgres_bin: programs
                .map(|programs| programs.bin_dir)
                .or(config.postgres_bin),
            ..config
        };
        let organization = config.organizations.first().cloned();
        let emulator = tokio::task::spawn_blocking(|| Emulator::start(config)).await??;
        let sockets = std::fs::read_link(data_dir.join("sockets")).ok();
        Ok(Self {
            emulator,
            organization,
            _sockets: sockets.map(ScratchDir::adopt).transpose()?,
            _data: data,
        })
    }

    /// The emulator itself.
    #[must_use]
    pub fn emulator(&self) -> &Emulator {
        &self.emulator
    }

    /// What happened so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.emulator.stats()
    }

    /// Makes a project and waits until its default branch can be used.
    pub async fn project(&self, name: &str) -> anyhow::Result<String> {
        let body = json!({ "project": { "name": name, "org_id": self.organization } });
        let made = self.post("/projects", body).await?;
        let id = made.pointer("/project/id").and_then(Value::as_str);
        let id = id
            .context("the answer to POST /projects holds no project id")?
            .to_owned();
        eventually("operations of a new project end", async || {
            let list = self.get(&format!("/projects/{id}/operations")).await?;
            let running = list
                .pointer("/operations")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .any(|operation| operation["status"] != "finished");
            Ok((!running).then_some(()))
        })
        .await?;
        Ok(id)
    }

    /// Makes a key that reaches this project alone. It is the organization's, so there has to be one.
    pub async fn key_of(&self, project: &str, name: &str) -> anyhow::Result<String> {
        let organization = self
            .organization
            .as_deref()
            .context("the emulator has no organization")?;
        let path = format!("/organizations/{organization}/api_keys");
        let body = json!({ "key_name": name, "project_id": project });
        let made = self.post(&path, body).await?;
        let key = made.pointer("/key").and_then(Value::as_str);
        key.map(str::to_owned).context("the answer holds no key")
    }

    /// The project's branches as its API lists them.
    pub async fn branches(&self, project: &str) -> anyhow::Result<Vec<Value>> {
        let answer = self.get(&format!("/projects/{project}/branches")).await?;
        list(&answer, "branches")
    }

    /// The project's endpoints as its API lists them.
    pub async fn endpoints(&self, project: &str) -> anyhow::Result<Vec<Value>> {
        let answer = self.get(&format!("/projects/{project}/endpoints")).await?;
        list(&answer, "endpoints")
    }

    /// One branch; none if there is none with this id.
    pub async fn branch(&self, project: &str, id: &str) -> anyhow::Result<Option<Value>> {
        let branches = self.branches(project).await?;
        Ok(branches.into_iter().find(|branch| branch["id"] == id))
    }

    /// The password of a role that Neon made.
    pub async fn password(
        &self,
        project: &str,
        branch: &str,
        role: &str,
    ) -> anyhow::Result<String> {
        let path = format!("/projects/{project}/branches/{branch}/roles/{role}/reveal_password");
        let answer = self.get(&path).await?;
        let password = answer.pointer("/password").and_then(Value::as_str);
        password
            .map(str::to_owned)
            .context("the answer holds no password")
    }

    /// Asks below the API's base path.
    pub async fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.call(Method::GET, path, None).await
    }

    /// Posts a body.
    pub async fn post(&self, path: &str, body: Value) -> anyhow::Result<Value> {
        self.call(Method::POST, path, Some(body)).await
    }

    /// Patches. Tried again while the project is locked by its operations.
    pub async fn patch(&self, path: &str, body: Value) -> anyhow::Result<Value> {
        self.call(Method::PATCH, path, Some(body)).await
    }

    /// Deletes. Tried again while the project is locked by its operations.
    pub async fn delete(&self, path: &str) -> anyhow::Result<Value> {
        self.call(Method::DELETE, path, None).await
    }

    async fn call(&self, method: Method, path: &str, body: Option<Value>) -> anyhow::Result<Value> {
        let client = local_client()?;
        eventually(&format!("{method} {path}"), async || {
            let (status, text) = self
                .ask(&client, method.clone(), path, body.as_ref())
                .await?;
            match status {
                // The project has running operations; a test that is not about them waits.
                423 => Ok(None),
                200..300 => serde_json::from_str(&text)
                    .context("read the emulator's answer")
                    .map(Some),
                _ => bail!("{method} {path} is answered {status}: {text}"),
            }
        })
        .await
    }

    async fn ask(
        &self,
        client: &Client,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<(u16, String)> {
        let url = format!("{}{path}", self.emulator.api_url());
        let mut request = client
            .request(method, url)
            .bearer_auth(self.emulator.api_key());
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await.context("call the emulator")?;
        let status = answer.status().as_u16();
        Ok((
            status,
            answer.text().await.context("read the emulator's answer")?,
        ))
    }
}

fn list(answer: &Value, field: &str) -> anyhow::Result<Vec<Value>> {
    let list = answer.get(field).and_then(Value::as_array);
    list.cloned()
        .with_context(|| format!("the answer holds no {field}"))
}
