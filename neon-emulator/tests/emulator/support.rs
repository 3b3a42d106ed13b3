//! A client of the API, psql, and waiting.

use std::{
    process::{Command, Stdio},
    sync::{Arc, Mutex, PoisonError, Weak},
    time::{Duration, Instant},
};

use neon_emulator::{Emulator, EmulatorConfig};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

/// The most that anything a test waits for may take on a busy machine.
const DEADLINE: Duration = Duration::from_mins(1);

/// Operations of a few milliseconds, on free ports, in a temporary folder.
pub(crate) fn quick() -> EmulatorConfig {
    EmulatorConfig {
        operation_duration: Duration::from_millis(4),
        poll_interval: Duration::from_millis(50),
        ..EmulatorConfig::default()
    }
}

/// An emulator that tests share as long as one of them runs, so that `initdb` runs once.
pub(crate) fn shared() -> Neon {
    static SHARED: Mutex<Weak<Emulator>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    let emulator = shared
        .upgrade()
        .unwrap_or_else(|| Arc::new(Emulator::start(quick()).unwrap()));
    *shared = Arc::downgrade(&emulator);
    Neon::of(emulator)
}

/// An emulator of a test's own.
pub(crate) fn own(config: EmulatorConfig) -> Neon {
    Neon::of(Arc::new(Emulator::start(config).unwrap()))
}

/// Looks until it sees something.
pub(crate) async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let end = Instant::now() + DEADLINE;
    loop {
        if let Some(seen) = look().await {
            return seen;
        }
        assert!(Instant::now() < end, "waited in vain for: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A client of one emulator.
#[derive(Clone)]
pub(crate) struct Neon {
    pub(crate) emulator: Arc<Emulator>,
    pub(crate) api: Api,
}

/// A client of the API alone.
#[derive(Clone)]
pub(crate) struct Api {
    url: String,
    key: String,
    http: reqwest::Client,
}

/// A branch with its endpoint and the first role, as a test uses them.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) project: String,
    pub(crate) branch: String,
    pub(crate) endpoint: String,
    pub(crate) host: String,
    pub(crate) password: String,
}

/// An answer of the API.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Value,
}

impl Answer {
    pub(crate) fn message(&self) -> &str {
        self.body["message"].as_str().unwrap_or_default()
    }

    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.body);
        self.body
    }
}

impl Api {
    pub(crate) fn new(url: String, key: String) -> Self {
        Self {
            url,
            key,
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
        }
    }

    /// A client of the same API with another key.
    pub(crate) fn with_key(&self, key: &str) -> Self {
        Self {
            key: key.to_owned(),
            ..self.clone()
        }
    }

    /// A request with the right key.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.anonymous(method, path).bearer_auth(&self.key)
    }

    /// A request without a key.
    pub(crate) fn anonymous(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url))
    }

    pub(crate) fn get(&self, path: &str) -> impl Future<Output = Answer> + use<> {
        answer(self.request(Method::GET, path))
    }

    pub(crate) fn post<B: Into<Value>>(
        &self,
        path: &str,
        body: B,
    ) -> impl Future<Output = Answer> + use<B> {
        answer(self.request(Method::POST, path).json(&body.into()))
    }

    pub(crate) fn patch<B: Into<Value>>(
        &self,
        path: &str,
        body: B,
    ) -> impl Future<Output = Answer> + use<B> {
        answer(self.request(Method::PATCH, path).json(&body.into()))
    }

    pub(crate) fn delete(&self, path: &str) -> impl Future<Output = Answer> + use<> {
        answer(self.request(Method::DELETE, path))
    }

    /// Waits until no operation of a project runs; all must have succeeded.
    pub(crate) async fn settle(&self, project: &str) {
        let path = format!("/projects/{project}/operations");
        eventually("the operations to finish", async || {
            let listed = self.get(&path).await.expect(200);
            let mut statuses = listed["operations"].as_array().unwrap().iter();
            statuses.all(terminal).then_some(())
        })
        .await;
    }

    /// A mutation and its operations.
    pub(crate) async fn done(&self, project: &str, call: impl Future<Output = Answer>) -> Value {
        let answer = call.await;
        assert!(
            (200..300).contains(&answer.status),
            "{} {}",
            answer.status,
            answer.body
        );
        self.settle(project).await;
        answer.body
    }

    /// A project, ready.
    pub(crate) async fn project(&self) -> Target {
        self.project_as(json!({"name": "test"})).await
    }

    /// A project of an organization, ready.
    pub(crate) async fn project_of(&self, org_id: &str) -> Target {
        self.project_as(json!({"name": "test", "org_id": org_id}))
            .await
    }

    async fn project_as(&self, project: Value) -> Target {
        let body = self
            .post("/projects", json!({"project": project}))
            .await
            .expect(201);
        let project = text(&body["project"]["id"]);
        self.settle(&project).await;
        Target {
            password: text(&body["roles"][0]["password"]),
            ..target(&project, &body)
        }
    }

    /// A child with an endpoint, ready. Its password is the one that the API reveals.
    pub(crate) async fn child(&self, of: &Target, name: &str) -> Target {
        let path = format!("/projects/{}/branches", of.project);
        let body = json!({
            "branch": {"name": name, "parent_id": of.branch},
            "endpoints": [{"type": "read_write"}],
        });
        let body = self.done(&of.project, self.post(&path, body)).await;
        let target = target(&of.project, &body);
        Target {
            password: self.reveal(&target, "neondb_owner").await,
            ..target
        }
    }

    pub(crate) async fn reveal(&self, target: &Target, role: &str) -> String {
        let path = target.at(&format!("/roles/{role}/reveal_password"));
        text(&self.get(&path).await.expect(200)["password"])
    }

    /// The state that the API shows of an endpoint.
    pub(crate) async fn state(&self, target: &Target) -> String {
        text(&self.get(&target.endpoint_path()).await.expect(200)["endpoint"]["current_state"])
    }
}

impl Neon {
    fn of(emulator: Arc<Emulator>) -> Self {
        let api = Api::new(emulator.api_url(), emulator.api_key().to_owned());
        Self { emulator, api }
    }

    /// The connection string of a branch's first role, verifying everything that can be.
    pub(crate) fn conninfo(&self, target: &Target) -> String {
        self.conninfo_as(target, "neondb_owner", &target.password)
    }

    pub(crate) fn conninfo_as(&self, target: &Target, user: &str, password: &str) -> String {
        format!(
            "host={} {} user={user} password={password} dbname=neondb channel_binding=require",
            target.host,
            self.tls()
        )
    }

    /// Port, and trust in the emulator's certificate. `hostaddr` spares the name resolution.
    pub(crate) fn tls(&self) -> String {
        format!(
            "hostaddr=127.0.0.1 port={} sslmode=verify-full sslrootcert={}",
            self.emulator.pg_port(),
            self.emulator.ca_path().display()
        )
    }

    /// Runs SQL on a branch as its first role.
    #[track_caller]
    pub(crate) fn sql(&self, target: &Target, sql: &str) -> String {
        psql(&self.conninfo(target), sql).unwrap()
    }
}

impl Target {
    /// A path below the branch.
    pub(crate) fn at(&self, rest: &str) -> String {
        format!("/projects/{}/branches/{}{rest}", self.project, self.branch)
    }

    pub(crate) fn endpoint_path(&self) -> String {
        format!("/projects/{}/endpoints/{}", self.project, self.endpoint)
    }
}

/// psql with a connection string, ready to run or to spawn.
pub(crate) fn psql_command(conninfo: &str) -> Command {
    let mut command = Command::new("psql");
    command.args([
        "-X",
        "-A",
        "-t",
        "-q",
        "-v",
        "ON_ERROR_STOP=1",
        "-d",
        conninfo,
    ]);
    command
        .env("PGCONNECT_TIMEOUT", "30")
        .env_remove("PGSSLROOTCERT")
        .stdin(Stdio::null());
    command
}

/// What psql prints, or its complaint.
pub(crate) fn psql(conninfo: &str, sql: &str) -> Result<String, String> {
    let output = psql_command(conninfo)
        .args(["-c", sql])
        .output()
        .expect("psql is needed: install the package postgresql-client");
    if output.status.success() {
        return Ok(String::from_utf8(output.stdout).unwrap().trim().to_owned());
    }
    Err(String::from_utf8_lossy(&output.stderr).into_owned())
}

pub(crate) fn text(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("not a text: {value}"))
        .to_owned()
}

/// The names in a list of objects.
pub(crate) fn names(list: &Value) -> Vec<String> {
    list.as_array()
        .unwrap()
        .iter()
        .map(|item| text(&item["name"]))
        .collect()
}

fn target(project: &str, body: &Value) -> Target {
    Target {
        project: project.to_owned(),
        branch: text(&body["branch"]["id"]),
        endpoint: text(&body["endpoints"][0]["id"]),
        host: text(&body["endpoints"][0]["host"]),
        password: String::new(),
    }
}

/// Whether an operation is over; one that failed fails the test. Those after it are cancelled.
fn terminal(operation: &Value) -> bool {
    let status = operation["status"].as_str().unwrap();
    assert_ne!(status, "failed", "{operation}");
    matches!(status, "finished" | "cancelled" | "skipped")
}

async fn answer(request: RequestBuilder) -> Answer {
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    assert!(response.headers().contains_key("x-neon-ret-request-id"));
    let text = response.text().await.unwrap();
    let body = if text.is_empty() {
        Value::Null
    } else {
        serde_json::from_str(&text).unwrap()
    };
    Answer { status, body }
}
