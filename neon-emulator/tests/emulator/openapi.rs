//! The emulator's answers against Neon's own description of its API, which comes with a package
//! from npm and is not kept here.

use std::{collections::BTreeSet, fs};

use neon_emulator::EmulatorConfig;
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    npm,
    schema::Description,
    support::{Neon, Target, eventually, own, quick, text},
};

const DESCRIPTION: &str = "node_modules/@neondatabase/api-client/public-v2-for-users.gen.yaml";

const ORGANIZATION: &str = "org-described-1";

/// The emulator's routes as they are written down.
const ROUTES: &str = include_str!("../../src/api/mod.rs");

/// Methods that the description uses.
const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

fn description() -> Description {
    let path = npm::installed().join(DESCRIPTION);
    let text = fs::read_to_string(&path).unwrap();
    Description::parse(&text)
}

/// A client that holds every answer against the description.
struct Checked {
    neon: Neon,
    description: Description,
    /// Method and route, as the description writes it, of all that was answered with success.
    seen: BTreeSet<(String, String)>,
}

impl Checked {
    /// Asks, and checks the status and the body of the answer.
    async fn call(&mut self, method: &str, path: &str, body: Value, status: u16) -> Value {
        let method = method.to_lowercase();
        let request = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
        // While operations run, others are refused, which is checked too.
        let answer = loop {
            let mut request = self.neon.api.request(request.clone(), path);
            if !body.is_null() {
                request = request.json(&body);
            }
            let answer = request.send().await.unwrap();
            let got = answer.status().as_u16();
            let text = answer.text().await.unwrap();
            let answer = if text.is_empty() {
                Value::Null
            } else {
                serde_json::from_str(&text).unwrap()
            };
            self.check(&method, path, got, &answer);
            if got != 423 {
                assert_eq!(got, status, "{method} {path}: {answer}");
                break answer;
            }
            tokio::task::yield_now().await;
        };
        if status < 300 {
            let route = self.description.route(path).expect(path);
            self.seen.insert((method, route));
        }
        answer
    }

    fn check(&self, method: &str, path: &str, status: u16, answer: &Value) {
        let complaints = self.description.check(method, path, status, answer);
        assert!(
            complaints.is_empty(),
            "{method} {path} {status}: {answer}\n{}",
            complaints.join("\n")
        );
    }

    async fn get(&mut self, path: &str) -> Value {
        self.call("GET", path, Value::Null, 200).await
    }
}

#[tokio::test]
async fn every_route_answers_as_neon_describes_it() {
    let description = tokio::task::spawn_blocking(description).await.unwrap();
    let neon = own(EmulatorConfig {
        organizations: vec![ORGANIZATION.to_owned()],
        ..quick()
    });
    let mut api = Checked {
        neon: neon.clone(),
        description,
        seen: BTreeSet::new(),
    };
    for path in [
        "/users/me",
        "/users/me/organizations",
        "/auth",
        "/projects/shared",
    ] {
        api.get(path).await;
    }
    let main = project(&mut api).await;
    organization(&mut api, &main).await;
    let child = branches(&mut api, &main).await;
    contents(&mut api, &child).await;
    endpoints(&mut api, &child).await;
    snapshots(&mut api).await;
    consumption(&mut api, &main).await;
    errors(&mut api, &main).await;
    endings(&mut api, &main, &child).await;

    let served = served(&api).await;
    let unseen: Vec<_> = served.difference(&api.seen).collect();
    assert!(unseen.is_empty(), "served but not checked: {unseen:?}");
    assert_eq!(served.len(), written_down(), "not described: {served:?}");
}

/// How many methods the emulator has on all its routes, described or not.
fn written_down() -> usize {
    let (_, routes) = ROUTES.split_once("\nfn routes()").unwrap();
    let (routes, _) = routes.split_once("\nstruct Change").unwrap();
    METHODS
        .map(|method| routes.matches(&format!("{method}(")).count())
        .iter()
        .sum()
}

async fn project(api: &mut Checked) -> Target {
    let body = json!({"project": {"name": "described", "org_id": ORGANIZATION, "settings": {"quota": {"active_time_seconds": 0}}}});
    let made = api.call("POST", "/projects", body, 201).await;
    let project = text(&made["project"]["id"]);
    let path = format!("/projects/{project}");
    api.get(&format!("/projects?limit=1&org_id={ORGANIZATION}"))
        .await;
    api.get(&path).await;
    let body = json!({"project": {"name": "renamed", "default_endpoint_settings": {"autoscaling_limit_max_cu": 2}}});
    api.call("PATCH", &path, body, 200).await;
    let listed = api.get(&format!("{path}/operations?limit=1")).await;
    let operation = text(&listed["operations"][0]["id"]);
    api.get(&format!("{path}/operations/{operation}")).await;
    let query = "database_name=neondb&role_name=neondb_owner";
    api.get(&format!("{path}/connection_uri?{query}")).await;
    Target {
        project,
        branch: text(&made["branch"]["id"]),
        endpoint: text(&made["endpoints"][0]["id"]),
        host: text(&made["endpoints"][0]["host"]),
        password: text(&made["roles"][0]["password"]),
    }
}

async fn organization(api: &mut Checked, main: &Target) {
    let organization = format!("/organizations/{ORGANIZATION}");
    api.get(&organization).await;
    let scoped = json!({"key_name": "scoped", "project_id": main.project});
    for (path, body) in [
        ("/api_keys".to_owned(), json!({"key_name": "personal"})),
        (format!("{organization}/api_keys"), scoped),
    ] {
        let made = api.call("POST", &path, body, 200).await;
        api.get(&path).await;
        let path = format!("{path}/{}", made["id"]);
        api.call("DELETE", &path, Value::Null, 200).await;
    }
}

async fn branches(api: &mut Checked, main: &Target) -> Target {
    let path = format!("/projects/{}/branches", main.project);
    let body = json!({"branch": {"name": "child"}, "endpoints": [{"type": "read_write"}],
                      "annotation_value": {"made": "here"}});
    let made = api.call("POST", &path, body, 201).await;
    let child = Target {
        branch: text(&made["branch"]["id"]),
        endpoint: text(&made["endpoints"][0]["id"]),
        host: text(&made["endpoints"][0]["host"]),
        ..main.clone()
    };
    api.get(&format!("{path}?limit=1&sort_by=name")).await;
    api.get(&format!("{path}/count")).await;
    api.get(&child.at("")).await;
    let later = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24);
    let body = json!({"branch": {"name": "renamed", "expires_at": later.to_string()}});
    api.call("PATCH", &child.at(""), body, 200).await;
    let body = json!({"source_branch_id": main.branch});
    api.call("POST", &child.at("/restore"), body, 200).await;
    api.neon.api.settle(&main.project).await;
    api.get(&child.at("")).await;
    api.get(&child.at("/schema?db_name=neondb")).await;
    api.get(&child.at("/compare_schema?db_name=neondb")).await;
    api.call("POST", &main.at("/set_as_default"), Value::Null, 200)
        .await;
    let body = json!({"branch": {"name": "archived", "archived": true}});
    let made = api.call("POST", &path, body, 201).await;
    api.neon.api.settle(&main.project).await;
    let path = format!("{path}/{}", text(&made["branch"]["id"]));
    let shown = api.get(&path).await;
    assert_eq!(shown["branch"]["current_state"], "archived");
    child
}

async fn contents(api: &mut Checked, child: &Target) {
    let roles = child.at("/roles");
    api.call("POST", &roles, json!({"role": {"name": "app"}}), 201)
        .await;
    api.get(&roles).await;
    api.get(&format!("{roles}/app")).await;
    api.get(&format!("{roles}/app/reveal_password")).await;
    api.call(
        "POST",
        &format!("{roles}/app/reset_password"),
        Value::Null,
        200,
    )
    .await;
    let databases = child.at("/databases");
    let body = json!({"database": {"name": "shop", "owner_name": "app"}});
    api.call("POST", &databases, body, 201).await;
    api.get(&databases).await;
    api.get(&format!("{databases}/shop")).await;
    let body = json!({"database": {"name": "store"}});
    api.call("PATCH", &format!("{databases}/shop"), body, 200)
        .await;
    api.call("DELETE", &format!("{databases}/store"), Value::Null, 200)
        .await;
    api.call("DELETE", &format!("{databases}/store"), Value::Null, 204)
        .await;
    api.call("DELETE", &format!("{roles}/app"), Value::Null, 200)
        .await;
}

async fn endpoints(api: &mut Checked, child: &Target) {
    let path = format!("/projects/{}/endpoints", child.project);
    api.get(&path).await;
    api.get(&child.at("/endpoints")).await;
    api.get(&child.endpoint_path()).await;
    let settings = json!({"endpoint": {"name": "described", "suspend_timeout_seconds": 600,
                                       "settings": {"pg_settings": {"work_mem": "8MB"}}}});
    api.call("PATCH", &child.endpoint_path(), settings, 200)
        .await;
    for what in ["restart", "suspend", "start"] {
        let path = format!("{}/{what}", child.endpoint_path());
        api.call("POST", &path, Value::Null, 200).await;
    }
    eventually("the compute to run", async || {
        (api.neon.api.state(child).await == "active").then_some(())
    })
    .await;
    api.get(&child.endpoint_path()).await;
    api.call("DELETE", &child.endpoint_path(), Value::Null, 200)
        .await;
    let body = json!({"endpoint": {"branch_id": child.branch, "type": "read_write"}});
    api.call("POST", &path, body, 201).await;
}

async fn snapshots(api: &mut Checked) {
    let body = json!({"project": {"name": "kept", "org_id": ORGANIZATION}});
    let made = api.call("POST", "/projects", body, 201).await;
    let project = format!("/projects/{}", text(&made["project"]["id"]));
    let branch = format!("{project}/branches/{}", text(&made["branch"]["id"]));
    let path = format!("{branch}/snapshot?name=first&expires_at=2100-01-01T00:00:00Z");
    let made = api.call("POST", &path, Value::Null, 200).await;
    let snapshots = format!("{project}/snapshots");
    let snapshot = format!("{snapshots}/{}", text(&made["snapshot"]["id"]));
    let body = json!({"snapshot": {"name": "renamed"}});
    api.call("PATCH", &snapshot, body, 200).await;
    api.get(&snapshots).await;
    let restore = format!("{snapshot}/restore");
    let made = api
        .call("POST", &restore, json!({"name": "look"}), 200)
        .await;
    let branch_id = text(&made["branch"]["id"]);
    let finalize = format!("{project}/branches/{branch_id}/finalize_restore");
    api.call("POST", &finalize, Value::Null, 200).await;
    let target = json!({"target_branch_id": branch_id, "finalize_restore": true});
    api.call("POST", &restore, target, 200).await;
    api.call("DELETE", &snapshot, Value::Null, 202).await;
    let path = format!("{branch}/backup_schedule");
    let schedule = json!({"schedule": [{"frequency": "weekly", "day": 1, "hour": 3}]});
    api.call("PUT", &path, schedule, 200).await;
    api.get(&path).await;
}

async fn consumption(api: &mut Checked, main: &Target) {
    let now = jiff::Timestamp::now();
    let hour = jiff::SignedDuration::from_hours(1);
    let stretch = format!("granularity=hourly&from={}&to={}", now - hour, now + hour);
    let history = format!("/consumption_history/projects?org_id={ORGANIZATION}&{stretch}");
    api.get(&format!("{history}&limit=1&metrics=logical_size_bytes"))
        .await;
    let known = "compute_unit_seconds,root_branch_bytes_month,child_branch_bytes_month";
    let query = format!(
        "org_id={ORGANIZATION}&{stretch}&metrics={known}&project_ids={}",
        main.project
    );
    api.get(&format!("/consumption_history/v2/projects?{query}"))
        .await;
    api.get(&format!("/consumption_history/v2/branches?{query}"))
        .await;
    let before = "from=2024-05-01T00:00:00Z&to=2024-05-02T00:00:00Z";
    let before =
        format!("/consumption_history/projects?org_id={ORGANIZATION}&granularity=daily&{before}");
    api.call("GET", &before, Value::Null, 406).await;
}

async fn errors(api: &mut Checked, main: &Target) {
    let branches = format!("/projects/{}/branches", main.project);
    let named = |name: &str| json!({"branch": {"name": name}});
    api.call("GET", "/projects/none", Value::Null, 404).await;
    api.call("POST", &branches, named("main"), 409).await;
    api.call("POST", &branches, named(""), 400).await;
    api.call("DELETE", &main.at(""), Value::Null, 422).await;
}

async fn endings(api: &mut Checked, main: &Target, child: &Target) {
    api.call("DELETE", &child.at(""), Value::Null, 200).await;
    api.call("DELETE", &child.at(""), Value::Null, 204).await;
    api.neon.api.settle(&main.project).await;
    let path = format!("/projects/{}", main.project);
    api.call("DELETE", &path, Value::Null, 200).await;
}

/// The described routes that the emulator serves: it says so of those that it does not.
async fn served(api: &Checked) -> BTreeSet<(String, String)> {
    let mut served = BTreeSet::new();
    for (route, methods) in api.description.routes() {
        let path = route
            .split('/')
            .map(|part| if part.starts_with('{') { "none" } else { part })
            .collect::<Vec<_>>()
            .join("/");
        for method in METHODS.iter().filter(|method| methods.contains(**method)) {
            let request = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
            let answer = api.neon.api.request(request, &path).send().await.unwrap();
            let status = answer.status().as_u16();
            let said = answer.text().await.unwrap();
            let missing =
                status == 405 || (status == 404 && said.contains("this route does not exist"));
            if !missing {
                served.insert(((*method).to_owned(), route.clone()));
            }
        }
    }
    served
}
