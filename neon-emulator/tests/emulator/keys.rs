//! Neon's kinds of API keys: what each sees, and how often those of one account may call.

use neon_emulator::{Call, EmulatorConfig, RateLimit};
use serde_json::{Value, json};

use crate::support::{Api, Neon, Target, names, own, quick, text};

const SEA: &str = "org-sea-1";
const LAKE: &str = "org-lake-2";

fn with_organizations(rate_limit: Option<RateLimit>) -> Neon {
    own(EmulatorConfig {
        organizations: vec![SEA.to_owned(), LAKE.to_owned()],
        rate_limit,
        ..quick()
    })
}

/// A key of an organization, for one of its projects where one is named.
async fn key(neon: &Neon, org_id: &str, name: &str, project: Option<&Target>) -> Api {
    let mut body = json!({"key_name": name});
    if let Some(target) = project {
        body["project_id"] = json!(target.project);
    }
    let path = format!("/organizations/{org_id}/api_keys");
    let made = neon.api.post(&path, body).await.expect(200);
    neon.api.with_key(&text(&made["key"]))
}

/// That a call is refused, and with which words.
async fn refused(api: &Api, path: &str, status: u16, words: &str) {
    let answer = api.get(path).await;
    assert_eq!((answer.status, answer.message()), (status, words), "{path}");
}

#[tokio::test]
async fn a_key_sees_what_it_is_for_and_nothing_else() {
    let neon = with_organizations(None);
    let (sea, lake) = (
        neon.api.project_of(SEA).await,
        neon.api.project_of(LAKE).await,
    );
    let second = neon.api.project_of(SEA).await;
    let of_sea = key(&neon, SEA, "all of it", None).await;
    let of_one = key(&neon, SEA, "one", Some(&sea)).await;
    let project = |target: &Target| format!("/projects/{}", target.project);

    // Who one is.
    for (api, method, account, organizations) in [
        (&neon.api, "api_key_user", "emulator", vec![LAKE, SEA]),
        (&of_sea, "api_key_org", SEA, vec![SEA]),
        (&of_one, "api_key_org", SEA, vec![SEA]),
    ] {
        let identity = api.get("/auth").await.expect(200);
        assert_eq!(identity["auth_method"], method);
        assert_eq!(identity["account_id"], account);
        let listed = api.get("/users/me/organizations").await.expect(200);
        assert_eq!(names(&listed["organizations"]), organizations);
    }
    neon.api.get("/users/me").await.expect(200);
    let not_people = "not allowed for organization API keys";
    refused(&of_sea, "/users/me", 404, not_people).await;
    refused(&of_sea, "/api_keys", 404, not_people).await;

    // What one sees: the user names an organization, a key of one need not.
    let words = "org_id is required, you can find it on your organization settings page";
    refused(&neon.api, "/projects", 400, words).await;
    let count = async |api: &Api, path: &str| {
        let listed = api.get(path).await.expect(200);
        listed["projects"].as_array().unwrap().len()
    };
    let lakes = format!("/projects?org_id={LAKE}");
    assert_eq!(count(&neon.api, &lakes).await, 1);
    assert_eq!(count(&of_sea, "/projects").await, 2);
    refused(&of_sea, &lakes, 404, "organization not found").await;
    refused(&of_sea, &project(&lake), 404, "project not found").await;
    let branches = format!("{}/branches", project(&lake));
    let branch = json!({"branch": {"name": "intruder"}});
    assert_eq!(of_sea.post(&branches, branch.clone()).await.status, 404);

    // One project, which it changes but does not delete.
    let out_of_scope = format!(
        "not allowed to perform actions outside the project this key is scoped to; subject_project_id:\"{}\"",
        sea.project
    );
    let keys = format!("/organizations/{SEA}/api_keys");
    for path in [
        "/projects",
        &project(&second),
        &project(&lake),
        &keys,
        "/users/me",
    ] {
        refused(&of_one, path, 404, &out_of_scope).await;
    }
    let new = json!({"project": {"name": "new"}});
    assert_eq!(of_one.post("/projects", new).await.status, 404);
    assert_eq!(of_one.delete(&project(&sea)).await.status, 403);
    let branches = format!("{}/branches", project(&sea));
    of_one.post(&branches, branch).await.expect(201);
    neon.api.settle(&sea.project).await;
    let foreign = json!({"key_name": "x", "project_id": lake.project});
    assert_eq!(neon.api.post(&keys, foreign).await.status, 404);
    of_sea.delete(&project(&second)).await.expect(200);
}

#[tokio::test]
async fn keys_are_listed_without_their_secret_and_revoked_at_once() {
    let neon = with_organizations(None);
    let path = "/api_keys";
    let made = neon
        .api
        .post(path, json!({"key_name": "ci"}))
        .await
        .expect(200);
    let ci = neon.api.with_key(&text(&made["key"]));
    let find = async || {
        let listed = neon.api.get(path).await.expect(200);
        assert!(!listed.to_string().contains(made["key"].as_str().unwrap()));
        let mut keys = listed.as_array().unwrap().iter();
        keys.find(|key| key["id"] == made["id"]).cloned()
    };
    assert!(find().await.unwrap().get("last_used_at").is_none());
    ci.get("/auth").await.expect(200);
    assert!(find().await.unwrap()["last_used_at"].is_string());
    let of_it = format!("{path}/{}", made["id"]);
    let elsewhere = format!("/organizations/{SEA}/api_keys/{}", made["id"]);
    assert_eq!(neon.api.delete(&elsewhere).await.status, 404);
    assert_eq!(neon.api.delete(&of_it).await.expect(200)["revoked"], true);
    assert_eq!(ci.get("/auth").await.status, 401);
    assert!(find().await.is_none());
    let long = json!({"key_name": "x".repeat(65)});
    assert_eq!(neon.api.post(path, long).await.status, 400);
}

#[tokio::test]
async fn the_calls_of_an_accounts_keys_are_counted_together() {
    let neon = with_organizations(Some(RateLimit {
        per_minute: 12,
        ..RateLimit::default()
    }));
    let (one, two) = (
        key(&neon, SEA, "one", None).await,
        key(&neon, SEA, "two", None).await,
    );
    for _ in 0..6 {
        one.get("/auth").await.expect(200);
        two.get("/auth").await.expect(200);
    }
    assert_eq!(one.get("/auth").await.status, 429);
    assert_eq!(two.get("/auth").await.status, 429);
    neon.api.get("/auth").await.expect(200);
    assert_eq!(neon.api.with_key("wrong").get("/auth").await.status, 401);

    let calls = neon.emulator.calls();
    let of = |key: Option<&str>, status| {
        let is_it = |call: &&Call| call.key.as_deref() == key && call.status == status;
        calls.iter().filter(is_it).count()
    };
    assert_eq!((of(Some("one"), 200), of(Some("one"), 429)), (6, 1));
    assert_eq!((of(Some("two"), 200), of(Some("two"), 429)), (6, 1));
    assert_eq!(of(None, 401), 1);
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let shown: Value = http
        .get(neon.emulator.calls_url())
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let first = &shown[0];
    assert_eq!(first["key"], "emulator");
    assert_eq!(first["path"], format!("/organizations/{SEA}/api_keys"));
    assert_eq!(shown[2]["account"], SEA);
    assert!(!shown.to_string().contains(neon.emulator.api_key()));
}
