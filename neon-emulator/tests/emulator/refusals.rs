//! What the API refuses, and in which words: clients tell Neon's errors apart by them.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Api, shared, text};

/// A refused request: what it is, the status, the start of the message.
type Row = (Method, String, Value, u16, &'static str);

async fn check(api: &Api, rows: Vec<Row>) {
    for (method, path, body, status, message) in rows {
        let response = api
            .request(method.clone(), &path)
            .json(&body)
            .send()
            .await
            .unwrap();
        let got = response.status().as_u16();
        let answer: Value = response.json().await.unwrap();
        let said = answer["message"].as_str().unwrap();
        assert_eq!(
            (got, said.starts_with(message)),
            (status, true),
            "{method} {path} {body}: {answer}"
        );
        assert!(
            answer["request_id"].is_string() && answer["code"].is_string(),
            "{answer}"
        );
    }
}

#[tokio::test]
async fn a_wrong_key_is_401_and_requests_keep_their_id() {
    let neon = shared();
    for request in [
        neon.api.anonymous(Method::GET, "/projects"),
        neon.api
            .anonymous(Method::GET, "/projects")
            .bearer_auth("wrong"),
        neon.api
            .anonymous(Method::GET, "/projects")
            .header("cookie", "zenith=x"),
    ] {
        let response = request
            .header("x-request-id", "mine-1")
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), 401);
        assert_eq!(response.headers()["x-neon-ret-request-id"], "mine-1");
        let body: Value = response.json().await.unwrap();
        assert_eq!(body["request_id"], "mine-1");
        assert!(!text(&body["message"]).is_empty());
    }
}

#[tokio::test]
async fn what_is_not_there_is_404() {
    let neon = shared();
    let main = neon.api.project().await;
    let project = format!("/projects/{}", main.project);
    let get = |path: String, message| (Method::GET, path, Value::Null, 404, message);
    let rows = vec![
        get("/projects/none".into(), "project not found"),
        get("/projects/none/branches".into(), "project not found"),
        get(format!("{project}/branches/br-none"), "branch not found"),
        get(
            format!("{project}/branches/br-none/roles"),
            "branch not found",
        ),
        get(main.at("/roles/none"), "role not found"),
        get(main.at("/roles/none/reveal_password"), "role not found"),
        get(main.at("/databases/none"), "database not found"),
        get(format!("{project}/endpoints/ep-none"), "endpoint not found"),
        get(format!("{project}/operations/none"), "operation not found"),
        get("/nothing/here".into(), "this route"),
    ];
    check(&neon.api, rows).await;
    for gone in [
        format!("{project}/branches/br-none"),
        main.at("/roles/none"),
        main.at("/databases/none"),
    ] {
        assert_eq!(neon.api.delete(&gone).await.status, 204, "{gone}");
    }
}

#[tokio::test]
async fn names_and_places_that_are_taken_are_409() {
    let neon = shared();
    let main = neon.api.project().await;
    let project = format!("/projects/{}", main.project);
    let post = |path: String, body, message| (Method::POST, path, body, 409, message);
    let endpoint = json!({"endpoint": {"branch_id": main.branch, "type": "read_write"}});
    let twice = json!({"branch": {"name": "x"}, "endpoints": [{"type": "read_write"}, {"type": "read_write"}]});
    let rows = vec![
        post(
            format!("{project}/branches"),
            json!({"branch": {"name": "main"}}),
            "branch with name \"main\" already exists",
        ),
        post(
            format!("{project}/branches"),
            twice,
            "read-write endpoint already exists",
        ),
        post(
            format!("{project}/endpoints"),
            endpoint,
            "read-write endpoint already exists",
        ),
        post(
            main.at("/roles"),
            json!({"role": {"name": "neondb_owner"}}),
            "role with name neondb_owner already exists",
        ),
        post(
            main.at("/databases"),
            json!({"database": {"name": "neondb", "owner_name": "neondb_owner"}}),
            "database with name neondb already exists",
        ),
    ];
    check(&neon.api, rows).await;
}

#[tokio::test]
async fn protection_children_and_the_default_refuse_deletion() {
    let neon = shared();
    let main = neon.api.project().await;
    let parent = neon.api.child(&main, "parent").await;
    let child = neon.api.child(&parent, "child").await;
    let has_children = format!("cannot delete branch that has children: {}", child.branch);
    let answer = neon.api.delete(&parent.at("")).await;
    assert_eq!(
        (answer.status, answer.message()),
        (422, has_children.as_str())
    );

    let protect = json!({"branch": {"protected": true}});
    neon.api.patch(&child.at(""), protect).await.expect(200);
    let delete = |path: String, message| (Method::DELETE, path, Value::Null, 422, message);
    let rows = vec![
        delete(main.at(""), "cannot delete default branch"),
        delete(child.at(""), "cannot delete protected branch"),
        delete(
            child.endpoint_path(),
            "cannot delete endpoint of a protected branch",
        ),
        delete(
            format!("/projects/{}", main.project),
            "cannot delete project with protected branches",
        ),
        delete(
            main.at("/roles/neondb_owner"),
            "cannot delete role neondb_owner: it owns database neondb",
        ),
    ];
    check(&neon.api, rows).await;

    neon.api
        .patch(&child.at(""), json!({"branch": {"protected": false}}))
        .await
        .expect(200);
    neon.api
        .done(&main.project, neon.api.delete(&child.at("")))
        .await;
    neon.api
        .done(&main.project, neon.api.delete(&parent.at("")))
        .await;
    assert_eq!(neon.api.delete(&parent.at("")).await.status, 204);
}

#[tokio::test]
async fn values_that_can_never_be_right_are_400() {
    let neon = shared();
    let main = neon.api.project().await;
    let project = format!("/projects/{}", main.project);
    let branches = format!("{project}/branches");
    let many: serde_json::Map<_, _> = (0..51).map(|i| (format!("k{i}"), json!("v"))).collect();
    let post = |body, message| (Method::POST, branches.clone(), body, 400, message);
    let branch = |at: &str| json!({"branch": {"name": "x", "expires_at": at}});
    let size = |fields, message| {
        (
            Method::PATCH,
            main.endpoint_path(),
            json!({"endpoint": fields}),
            400,
            message,
        )
    };
    let retention = json!({"project": {"history_retention_seconds": 9_999_999}});
    let role = json!({"role": {"name": "pg_mine"}});
    let rows = vec![
        post(json!("nonsense"), "request body"),
        post(json!({"branch": {"name": ""}}), "name must have"),
        post(
            branch("2020-01-01T00:00:00Z"),
            "expires_at must be in the future",
        ),
        post(
            branch("2999-01-01T00:00:00Z"),
            "expires_at must not be more than 30 days",
        ),
        post(branch("tomorrow"), "expires_at must be an RFC 3339"),
        post(
            json!({"annotation_value": many}),
            "a branch can have at most 50",
        ),
        size(
            json!({"autoscaling_limit_min_cu": 0.3}),
            "0.3 is not a valid compute size",
        ),
        size(
            json!({"autoscaling_limit_min_cu": 2, "autoscaling_limit_max_cu": 1}),
            "autoscaling_limit_min_cu must be",
        ),
        size(
            json!({"suspend_timeout_seconds": 5}),
            "suspend_timeout_seconds must be",
        ),
        (
            Method::GET,
            format!("{branches}?limit=0"),
            Value::Null,
            400,
            "limit must be",
        ),
        (
            Method::POST,
            main.at("/roles"),
            role,
            400,
            "role name \"pg_mine\" is reserved",
        ),
        (
            Method::PATCH,
            project,
            retention,
            400,
            "requested history retention seconds exceeds",
        ),
    ];
    check(&neon.api, rows).await;
}

#[tokio::test]
async fn what_the_state_or_the_emulator_forbids_is_422() {
    let neon = shared();
    let main = neon.api.project().await;
    let branches = format!("/projects/{}/branches", main.project);
    let post = |fields, message| {
        (
            Method::POST,
            branches.clone(),
            json!({"branch": fields}),
            422,
            message,
        )
    };
    let expire = json!({"branch": {"expires_at": soon()}});
    let rows = vec![
        (
            Method::PATCH,
            main.at(""),
            expire,
            422,
            "cannot set expiration on default branch",
        ),
        post(
            json!({"name": "x", "protected": true, "expires_at": soon()}),
            "cannot set expiration on protected branch",
        ),
        post(
            json!({"name": "x", "init_source": "schema-only"}),
            "init_source \"schema-only\" is not emulated",
        ),
    ];
    check(&neon.api, rows).await;
}

fn soon() -> String {
    (jiff::Timestamp::now() + jiff::SignedDuration::from_hours(1)).to_string()
}
