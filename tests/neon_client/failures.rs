//! What goes wrong: how it is told, and that nothing is done twice.

use std::time::{Duration, Instant};

use sepulki::neon::{ErrorKind, OperationStatus};
use serde_json::{Value, json};

use crate::stub::{KEY, Reply, Stub, answer, with_headers};

fn refusal(status: u16, code: &str, message: &str) -> Reply {
    answer(
        status,
        &json!({"request_id": "r-body", "code": code, "message": message}),
    )
}

fn locked() -> Reply {
    refusal(
        423,
        "",
        "project already has running conflicting operations",
    )
}

fn operation() -> Value {
    json!({"operation": {"id": "o-1", "status": "finished"}})
}

#[tokio::test]
async fn each_class_of_answer_reaches_the_caller_with_neons_words() {
    use ErrorKind::{
        Conflict, Denied, HasChildren, Limit, NotFound, NotReady, PasswordsNotStored, Protected,
        Rejected, Server,
    };
    let rows = [
        (400, "", "exceeds allowed maximum", Rejected),
        (401, "", "bad key", Denied),
        (403, "", "not of this project", Denied),
        (402, "", "limit of concurrently active endpoints", Limit),
        (404, "", "role not found", NotFound),
        (409, "", "already exists", Conflict),
        (412, "", "passwords are not stored", PasswordsNotStored),
        (422, "BRANCHES_LIMIT_EXCEEDED", "too many", Limit),
        (422, "", "cannot delete protected branch", Protected),
        (
            422,
            "",
            "cannot delete branch that has children: br-b",
            HasChildren,
        ),
        (422, "", "branch not ready yet", NotReady),
        (422, "", "never heard of", Rejected),
        (500, "", "oops", Server),
    ];
    for (status, code, message, kind) in rows {
        let stub = Stub::start([refusal(status, code, message)]).await;
        let api = &stub.account.api;
        let result = api.reset_password(&"p".into(), &"br-a".into(), "app").await;
        let error = result.unwrap_err();
        assert_eq!((error.kind, error.status), (kind, Some(status)));
        assert_eq!(error.message, message);
        assert_eq!(error.request_id.as_deref(), Some("r-body"));
        assert_eq!(stub.lines().len(), 1);
    }
}

#[tokio::test]
async fn an_unknown_422_never_means_that_a_branch_is_gone() {
    let stub = Stub::start([refusal(422, "", "never heard of")]).await;
    let api = &stub.account.api;
    let deleted = api.delete_branch(&"p".into(), &"br-a".into()).await;
    assert_eq!(deleted.unwrap_err().kind, ErrorKind::Rejected);
}

#[tokio::test]
async fn a_gateways_page_is_a_failure_of_the_server() {
    let page = Reply::Answer {
        status: 524,
        headers: "content-type: text/html\r\nx-neon-ret-request-id: r-head\r\n",
        body: "<html>A timeout occurred</html>".to_owned(),
    };
    let stub = Stub::start([page]).await;
    let api = &stub.account.api;
    let result = api.create_role(&"p".into(), &"br-a".into(), "app").await;
    let error = result.unwrap_err();
    assert_eq!((error.kind, error.status), (ErrorKind::Server, Some(524)));
    assert_eq!(error.request_id.as_deref(), Some("r-head"));
    assert!(!error.message.contains('<'));
    assert_eq!(stub.lines().len(), 1);
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = with_headers(307, "location: http://127.0.0.1:1/\r\n", &json!({}));
    let stub = Stub::start([elsewhere]).await;
    let error = stub.account.api.project(&"p".into()).await.unwrap_err();
    assert_eq!((error.kind, error.status), (ErrorKind::Rejected, Some(307)));
}

#[tokio::test]
async fn a_mutation_locked_out_goes_through_when_the_project_is_free() {
    let done = json!({"role": {"name": "app"}, "operations": []});
    let stub = Stub::start([locked(), locked(), locked(), answer(201, &done)]).await;
    let api = &stub.account.api;
    let result = api.create_role(&"p".into(), &"br-a".into(), "app").await;
    assert_eq!(result, Ok(Vec::new()));
    assert_eq!(stub.lines().len(), 4);
}

#[tokio::test]
async fn a_mutation_locked_out_for_long_is_given_back() {
    let stub = Stub::start(std::iter::repeat_n(locked(), 20)).await;
    let api = &stub.account.api;
    let result = api.create_role(&"p".into(), &"br-a".into(), "app").await;
    assert_eq!(result.unwrap_err().kind, ErrorKind::Locked);
    assert_eq!(stub.lines().len(), 12);
}

#[tokio::test]
async fn too_many_requests_are_repeated_after_the_time_that_neon_asks_for() {
    let limited = with_headers(429, "retry-after: 1\r\n", &json!({"message": "slow down"}));
    let stub = Stub::start([limited, answer(200, &operation())]).await;
    #[expect(clippy::disallowed_methods, reason = "measures that a wait was kept")]
    let start = Instant::now();
    let operation = stub.account.api.operation(&"p".into(), &"o-1".into()).await;
    assert_eq!(operation.unwrap().status, OperationStatus::Finished);
    assert!(start.elapsed() >= Duration::from_secs(1));
}

#[tokio::test]
async fn too_many_requests_for_too_long_are_told_with_the_time_to_wait() {
    let limited = with_headers(429, "retry-after: 0\r\n", &json!({"message": "slow down"}));
    let stub = Stub::start(std::iter::repeat_n(limited, 9)).await;
    let error = stub.account.api.project(&"p".into()).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::RateLimited);
    assert_eq!(error.retry_after, Some(Duration::ZERO));
    assert_eq!(stub.lines().len(), 4);
}

/// Everything after which nobody knows whether a call was carried out.
fn losses() -> [(&'static str, Reply); 5] {
    [
        ("closed", Reply::Lost),
        ("truncated", Reply::Truncated("{\"operation\": ")),
        ("stalled", Reply::Stalled("{\"operation\": ")),
        ("502", refusal(502, "", "bad gateway")),
        ("504", refusal(504, "", "gateway timeout")),
    ]
}

#[tokio::test]
async fn a_mutation_whose_answer_is_lost_is_made_once() {
    for (name, loss) in losses() {
        // The second on a connection that is already in use, which HTTP libraries like to repeat on.
        let first = answer(200, &json!({"roles": []}));
        let stub = Stub::start([first, loss, answer(201, &json!({"operations": []}))]).await;
        let (api, project, branch) = (&stub.account.api, "p".into(), "br-a".into());
        api.roles(&project, &branch).await.unwrap();
        let error = api.create_role(&project, &branch, "app").await.unwrap_err();
        assert!(
            matches!(error.kind, ErrorKind::Lost | ErrorKind::Server),
            "{name}: {error:?}"
        );
        assert!(error.request_id.is_some(), "{name}: {error:?}");
        let posts = stub
            .lines()
            .iter()
            .filter(|line| line.starts_with("POST"))
            .count();
        assert_eq!(posts, 1, "{name}");
    }
}

#[tokio::test]
async fn a_read_whose_answer_is_lost_is_repeated() {
    for (name, loss) in losses() {
        let stub = Stub::start([loss, answer(200, &operation())]).await;
        let read = stub.account.api.operation(&"p".into(), &"o-1".into()).await;
        assert_eq!(read.unwrap().status, OperationStatus::Finished, "{name}");
        assert_eq!(stub.lines().len(), 2, "{name}");
    }
}

#[tokio::test]
async fn a_read_is_not_repeated_for_ever() {
    let stub = Stub::start(std::iter::repeat_n(Reply::Lost, 9)).await;
    let error = stub.account.api.project(&"p".into()).await.unwrap_err();
    assert_eq!((error.kind, error.status), (ErrorKind::Lost, None));
    assert_eq!(stub.lines().len(), 4);
}

#[tokio::test]
async fn an_answer_of_another_form_is_told_without_quoting_a_secret() {
    let stub = Stub::start([
        answer(200, &json!({"password": {"hidden": "s3cret"}})),
        answer(200, &json!({"project": "npg_s3cret"})),
    ])
    .await;
    let api = &stub.account.api;
    let revealed = api
        .reveal_password(&"p".into(), &"br-a".into(), "app")
        .await;
    let project = api.project(&"p".into()).await;
    for error in [revealed.unwrap_err(), project.unwrap_err()] {
        assert_eq!(error.kind, ErrorKind::Lost);
        assert!(
            !format!("{error} {error:?}").contains("s3cret"),
            "{error:?}"
        );
    }
    assert_eq!(stub.lines().len(), 2);
}

#[tokio::test]
async fn neither_key_nor_address_is_in_any_error() {
    let echo = refusal(400, "", &format!("no such key {KEY}"));
    let stub = Stub::start([echo, Reply::Lost]).await;
    let api = &stub.account.api;
    for _ in 0..2 {
        let result = api.create_role(&"p".into(), &"br-a".into(), "app").await;
        let error = result.unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(
            !shown.contains(KEY) && !shown.contains("127.0.0.1"),
            "{shown}"
        );
    }
}

#[tokio::test]
async fn a_name_that_would_change_the_address_is_never_sent() {
    let stub = Stub::start([]).await;
    let api = &stub.account.api;
    for name in ["", ".", ".."] {
        let revealed = api.reveal_password(&"p".into(), &"br-a".into(), name).await;
        assert_eq!(revealed.unwrap_err().kind, ErrorKind::Rejected);
        let deleted = api.delete_branch(&"p".into(), &name.into()).await;
        assert_eq!(deleted.unwrap_err().kind, ErrorKind::Rejected);
    }
    assert!(stub.lines().is_empty());
}

#[tokio::test]
async fn the_observer_hears_of_every_attempt() {
    let stub = Stub::start([locked(), Reply::Lost]).await;
    let api = &stub.account.api;
    let result = api.create_role(&"p".into(), &"br-a".into(), "app").await;
    assert_eq!(result.unwrap_err().kind, ErrorKind::Lost);
    let calls: Vec<_> = stub
        .calls()
        .iter()
        .map(|call| (call.method, call.route, call.status))
        .collect();
    let route = "/projects/{project}/branches/{branch}/roles";
    assert_eq!(calls, [("POST", route, Some(423)), ("POST", route, None)]);
}
