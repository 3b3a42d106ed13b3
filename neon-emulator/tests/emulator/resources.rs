//! The resources of the API, and that what it says is true of the servers.

use std::time::Duration;

use neon_emulator::EmulatorConfig;
use reqwest::Method;
use serde_json::json;

use crate::support::{names, own, psql, quick, shared, text};

#[tokio::test]
async fn a_new_project_has_neons_defaults() {
    let neon = shared();
    let body = neon
        .api
        .post("/projects", json!({"project": {"name": "mine"}}))
        .await
        .expect(201);
    let project = text(&body["project"]["id"]);
    assert_eq!(body["project"]["name"], "mine");
    assert_eq!(body["branch"]["name"], "main");
    assert_eq!(body["branch"]["default"], true);
    assert_eq!(body["databases"][0]["name"], "neondb");
    assert_eq!(body["databases"][0]["owner_name"], "neondb_owner");
    assert_eq!(body["endpoints"][0]["type"], "read_write");
    let actions: Vec<_> = body["operations"]
        .as_array()
        .unwrap()
        .iter()
        .map(|op| text(&op["action"]))
        .collect();
    assert_eq!(actions, ["create_timeline", "start_compute"]);
    let uri = text(&body["connection_uris"][0]["connection_uri"]);
    assert!(uri.starts_with("postgresql://neondb_owner:npg_"), "{uri}");
    neon.api.settle(&project).await;

    let ca = neon.emulator.ca_path().display().to_string();
    let uri = uri.replace("sslmode=require", "sslmode=verify-full");
    let uri = format!("{uri}&hostaddr=127.0.0.1&sslrootcert={ca}");
    assert_eq!(psql(&uri, "SELECT current_user").unwrap(), "neondb_owner");
}

#[tokio::test]
async fn operations_take_their_time_and_lock_the_project() {
    let neon = own(EmulatorConfig {
        operation_duration: Duration::from_millis(600),
        ..quick()
    });
    let project = neon.api.project().await;
    let branches = format!("/projects/{}/branches", project.project);

    let created = neon
        .api
        .post(&branches, json!({"branch": {"name": "a"}}))
        .await
        .expect(201);
    assert_eq!(created["operations"][0]["status"], "scheduling");
    assert_eq!(created["branch"]["current_state"], "init");
    let second = neon
        .api
        .post(&branches, json!({"branch": {"name": "b"}}))
        .await;
    assert_eq!(second.status, 423);
    assert!(
        second
            .message()
            .starts_with("project already has running conflicting operations")
    );
    // Also where the verdict would depend on what is running, but not where it is wrong anyway.
    assert_eq!(
        neon.api
            .post(&branches, json!({"branch": {"name": "a"}}))
            .await
            .status,
        423
    );
    let nowhere = json!({"branch": {"name": "c", "parent_id": "br-none"}});
    assert_eq!(neon.api.post(&branches, nowhere).await.status, 404);
    // Reads are not locked.
    assert_eq!(
        names(&neon.api.get(&branches).await.expect(200)["branches"]),
        ["a", "main"]
    );

    let id = text(&created["operations"][0]["id"]);
    neon.api.settle(&project.project).await;
    let path = format!("/projects/{}/operations/{id}", project.project);
    let operation = &neon.api.get(&path).await.expect(200)["operation"];
    assert_eq!(operation["status"], "finished");
    assert!(
        operation["total_duration_ms"].as_u64().unwrap() >= 600,
        "{operation}"
    );
    let branch = created["branch"]["id"].as_str().unwrap();
    let branch = neon
        .api
        .get(&format!("{branches}/{branch}"))
        .await
        .expect(200);
    assert_eq!(branch["branch"]["current_state"], "ready");
}

#[tokio::test]
async fn projects_are_listed_changed_and_deleted() {
    let neon = shared();
    let one = neon.api.project().await;
    let two = neon.api.project().await;
    let path = format!("/projects/{}", one.project);

    let asked = json!({"project": {"name": "renamed", "history_retention_seconds": 3600}});
    neon.api.patch(&path, asked).await.expect(200);
    let shown = neon.api.get(&path).await.expect(200);
    assert_eq!(shown["project"]["name"], "renamed");
    assert_eq!(shown["project"]["history_retention_seconds"], 3600);

    let mut seen = Vec::new();
    let mut page = neon.api.get("/projects?limit=1").await.expect(200);
    while let Some(cursor) = page["pagination"]["cursor"].as_str() {
        seen.push(text(&page["projects"][0]["id"]));
        page = neon
            .api
            .get(&format!("/projects?limit=1&cursor={cursor}"))
            .await
            .expect(200);
    }
    assert!(seen.contains(&one.project) && seen.contains(&two.project));

    neon.api.delete(&path).await.expect(200);
    assert_eq!(neon.api.get(&path).await.status, 404);
    assert_eq!(psql(&neon.conninfo(&two), "SELECT 1").unwrap(), "1");
    assert!(psql(&neon.conninfo(&one), "SELECT 1").is_err());
}

#[tokio::test]
async fn branches_are_listed_by_page_search_and_annotation() {
    let neon = shared();
    let main = neon.api.project().await;
    let branches = format!("/projects/{}/branches", main.project);
    for name in ["dev/a", "dev/b", "other"] {
        let body = json!({"branch": {"name": name}, "annotation_value": {"owner": name}});
        neon.api
            .done(&main.project, neon.api.post(&branches, body))
            .await;
    }

    let all = neon
        .api
        .get(&format!("{branches}?sort_by=name&sort_order=asc"))
        .await
        .expect(200);
    assert_eq!(names(&all["branches"]), ["dev/a", "dev/b", "main", "other"]);
    assert!(all["pagination"]["next"].is_null());
    let annotated = all["annotations"].as_object().unwrap();
    assert_eq!(annotated.len(), 3);
    let id = all["branches"][0]["id"].as_str().unwrap();
    assert_eq!(annotated[id]["value"]["owner"], "dev/a");
    let one = neon.api.get(&format!("{branches}/{id}")).await.expect(200);
    assert_eq!(one["annotation"]["value"]["owner"], "dev/a");

    let found = neon
        .api
        .get(&format!("{branches}?search=dev/&limit=1&sort_by=name"))
        .await
        .expect(200);
    assert_eq!(names(&found["branches"]), ["dev/b"]);
    let next = text(&found["pagination"]["next"]);
    let found = neon
        .api
        .get(&format!(
            "{branches}?search=dev/&limit=1&sort_by=name&cursor={next}"
        ))
        .await
        .expect(200);
    assert_eq!(names(&found["branches"]), ["dev/a"]);
    assert!(found["pagination"]["next"].is_null());

    let path = format!("{branches}/{id}");
    let renamed = neon
        .api
        .patch(
            &path,
            json!({"branch": {"name": "dev/z", "protected": true}}),
        )
        .await;
    assert_eq!(renamed.expect(200)["branch"]["protected"], true);
    let shown = neon.api.get(&path).await.expect(200);
    assert_eq!(shown["branch"]["name"], "dev/z");
}

#[tokio::test]
async fn operations_are_listed_newest_first_and_by_page() {
    let neon = shared();
    let main = neon.api.project().await;
    let path = format!("/projects/{}/operations", main.project);
    let first = neon.api.get(&format!("{path}?limit=1")).await.expect(200);
    assert_eq!(first["operations"][0]["action"], "start_compute");
    let cursor = text(&first["pagination"]["cursor"]);
    let second = neon
        .api
        .get(&format!("{path}?limit=1&cursor={cursor}"))
        .await
        .expect(200);
    assert_eq!(second["operations"][0]["action"], "create_timeline");
    let cursor = text(&second["pagination"]["cursor"]);
    let none = neon
        .api
        .get(&format!("{path}?cursor={cursor}"))
        .await
        .expect(200);
    assert_eq!(none["operations"], json!([]));
    assert!(none["pagination"].is_null());
}

#[tokio::test]
async fn a_branch_without_an_endpoint_can_be_changed_and_gets_one_later() {
    let neon = shared();
    let main = neon.api.project().await;
    let branches = format!("/projects/{}/branches", main.project);
    let body = json!({"branch": {"name": "bare"}});
    let made = neon
        .api
        .done(&main.project, neon.api.post(&branches, body))
        .await;
    assert_eq!(made["endpoints"], json!([]));
    let branch = text(&made["branch"]["id"]);
    let role = json!({"role": {"name": "early"}});
    let role = neon.api.post(&format!("{branches}/{branch}/roles"), role);
    let role = neon.api.done(&main.project, role).await;

    let path = format!("/projects/{}/endpoints", main.project);
    let body = json!({"endpoint": {"branch_id": branch, "type": "read_write", "autoscaling_limit_max_cu": 1}});
    let made = neon
        .api
        .done(&main.project, neon.api.post(&path, body))
        .await;
    assert_eq!(made["endpoint"]["autoscaling_limit_min_cu"], 0.25);
    assert_eq!(made["endpoint"]["pending_state"], "active");
    let mut bare = main.clone();
    bare.host = text(&made["endpoint"]["host"]);
    let conninfo = neon.conninfo_as(&bare, "early", &text(&role["role"]["password"]));
    assert_eq!(psql(&conninfo, "SELECT current_user").unwrap(), "early");

    let gone = neon
        .api
        .delete(&format!("{path}/{}", text(&made["endpoint"]["id"])));
    neon.api.done(&main.project, gone).await;
    assert!(
        psql(&conninfo, "SELECT 1")
            .unwrap_err()
            .contains("could not be found")
    );
}

#[tokio::test]
async fn connection_uris_name_the_host_that_was_asked_for() {
    let neon = shared();
    let main = neon.api.project().await;
    let child = neon.api.child(&main, "child").await;
    let path = format!(
        "/projects/{}/connection_uri?database_name=neondb&role_name=neondb_owner",
        main.project
    );
    let uri =
        async |more: &str| text(&neon.api.get(&format!("{path}{more}")).await.expect(200)["uri"]);

    assert!(
        uri("").await.contains(&main.host),
        "without a branch it is the default one"
    );
    assert!(
        uri(&format!("&branch_id={}", child.branch))
            .await
            .contains(&child.host)
    );
    let pooled = uri(&format!("&branch_id={}&pooled=true", child.branch)).await;
    assert!(
        pooled.contains(&format!("@{}-pooler.local.localhost:", child.endpoint)),
        "{pooled}"
    );
    let wrong = neon.api.get(&format!(
        "{path}&branch_id={}&endpoint_id={}",
        main.branch, child.endpoint
    ));
    assert_eq!(wrong.await.status, 404);
}

#[tokio::test]
async fn the_calls_that_clients_make_first_are_answered() {
    let neon = shared();
    for path in [
        "/users/me",
        "/users/me/organizations",
        "/auth",
        "/projects/shared?limit=100",
    ] {
        neon.api.get(path).await.expect(200);
    }
    // The official client sends its key as cookies as well.
    let request = neon
        .api
        .request(Method::GET, "/users/me")
        .header("cookie", "zenith=x");
    assert_eq!(request.send().await.unwrap().status(), 200);
}
