//! Every call's request and its successful answer.

use std::collections::BTreeMap;

use secrecy::ExposeSecret;
use sepulki::neon::{
    BranchState, CreateBranch, CreateEndpoint, EndpointState, EndpointType, ErrorKind, Moment,
    NewEndpoint, OperationStatus, UpdateBranch, UpdateEndpoint,
};
use serde_json::{Value, json};

use crate::stub::{KEY, Reply, Stub, answer};

fn branch(id: &str, name: &str) -> Value {
    json!({
        "id": id, "project_id": "p", "name": name, "parent_id": "br-main", "parent_lsn": "0/1E88838",
        "current_state": "ready", "pending_state": "archived", "default": false, "protected": true,
        "created_at": "2026-07-01T10:00:00Z", "updated_at": "2026-07-01T10:00:01Z",
        "expires_at": "2026-07-04T10:00:00.000Z", "creation_source": "console", "field_of_tomorrow": {"a": [1]},
    })
}

fn operations() -> Value {
    json!([
        {"id": "o-1", "project_id": "p", "branch_id": "br-a", "action": "create_branch", "status": "running", "failures_count": 0},
        {"id": "o-2", "project_id": "p", "action": "action_of_tomorrow", "status": "status_of_tomorrow"},
    ])
}

fn create_branch() -> CreateBranch {
    CreateBranch {
        name: "preview/pr-1".to_owned(),
        parent_id: "br-main".into(),
        at: None,
        protected: false,
        expires_at: Some("2026-07-04T10:00:00.987654Z".parse().unwrap()),
        annotations: BTreeMap::from([("sepulki-name".to_owned(), "app".to_owned())]),
        endpoint: NewEndpoint {
            compute_units: Some((0.25, 1.0)),
            suspend_timeout_seconds: Some(300),
            pg_settings: BTreeMap::new(),
        },
    }
}

#[tokio::test]
async fn every_request_says_who_asks_and_carries_the_key_only_as_bearer() {
    let stub = Stub::start([
        answer(200, &json!({"endpoints": []})),
        answer(200, &json!({"endpoints": []})),
    ])
    .await;
    for _ in 0..2 {
        stub.account.api.endpoints(&"p".into()).await.unwrap();
    }
    let seen = stub.seen();
    let header = |at: usize, name: &str| seen[at].headers.get(name).cloned().unwrap_or_default();
    assert_eq!(header(0, "authorization"), format!("Bearer {KEY}"));
    assert_eq!(header(0, "cookie"), "");
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(
        header(0, "user-agent"),
        format!("sepulki-operator/{version}")
    );
    assert_eq!(header(0, "x-request-id").len(), 36);
    assert_ne!(header(0, "x-request-id"), header(1, "x-request-id"));
}

#[tokio::test]
async fn a_project_is_read() {
    let stub = Stub::start([answer(
        200,
        &json!({"project": {"id": "p", "name": "sepulki", "store_passwords": false, "owner": {"branches_limit": 10}}}),
    )])
    .await;
    let project = stub.account.api.project(&"p".into()).await.unwrap();
    assert_eq!(stub.lines(), ["GET /api/v2/projects/p"]);
    assert_eq!(
        (project.name.as_str(), project.store_passwords),
        ("sepulki", Some(false))
    );
}

#[tokio::test]
async fn branches_are_read_page_by_page_with_their_annotations() {
    let mark = json!({
        "object": {"type": "console/branch", "id": "br-a"},
        "value": {"sepulki-name": "app", "number": 5},
        "created_at": "2026-07-01T10:00:00Z",
    });
    let stub = Stub::start([
        answer(
            200,
            &json!({
                "branches": [branch("br-a", "preview/pr-1")],
                "annotations": {"br-a": mark, "br-unknown": {"value": {"sepulki-name": "other"}}},
                "pagination": {"next": "c u/1", "sort_by": "updated_at"},
            }),
        ),
        answer(
            200,
            &json!({"branches": [branch("br-b", "b")], "annotations": {}, "pagination": {"next": "2"}}),
        ),
        answer(200, &json!({"branches": [], "pagination": {"next": "3"}})),
    ])
    .await;
    let branches = stub.account.api.branches(&"p".into()).await.unwrap();
    assert_eq!(
        stub.lines(),
        [
            "GET /api/v2/projects/p/branches?limit=10000",
            "GET /api/v2/projects/p/branches?limit=10000&cursor=c+u%2F1",
            "GET /api/v2/projects/p/branches?limit=10000&cursor=2",
        ]
    );
    let ids: Vec<_> = branches.iter().map(|branch| branch.id.as_str()).collect();
    assert_eq!(ids, ["br-a", "br-b"]);
    assert_eq!(branches[0].name, "preview/pr-1");
    assert_eq!(branches[0].parent_id, Some("br-main".into()));
    assert_eq!(branches[0].current_state, BranchState::Ready);
    assert_eq!(branches[0].pending_state, Some(BranchState::Archived));
    assert!(branches[0].protected && !branches[0].default);
    assert_eq!(
        branches[0].expires_at,
        Some("2026-07-04T10:00:00Z".parse().unwrap())
    );
    assert_eq!(
        branches[0].annotations,
        BTreeMap::from([("sepulki-name".to_owned(), "app".to_owned())])
    );
    assert!(branches[1].annotations.is_empty());
}

#[tokio::test]
async fn one_branch_is_read_with_its_annotations_and_one_that_is_gone_is_none() {
    let mark = json!({"object": {"type": "console/branch", "id": "br-a"}, "value": {"sepulki-name": "app", "number": 5}});
    let stub = Stub::start([
        answer(
            200,
            &json!({"branch": branch("br-a", "preview/pr-1"), "annotation": mark}),
        ),
        answer(200, &json!({"branch": branch("br-b", "b")})),
        answer(404, &json!({"code": "", "message": "branch not found"})),
    ])
    .await;
    let read = async |id: &str| {
        let found = stub.account.api.branch(&"p".into(), &id.into()).await;
        found.unwrap()
    };
    let marked = read("br-a").await.unwrap();
    assert_eq!(marked.name, "preview/pr-1");
    let expected = BTreeMap::from([("sepulki-name".to_owned(), "app".to_owned())]);
    assert_eq!(marked.annotations, expected);
    assert!(read("br-b").await.unwrap().annotations.is_empty());
    assert_eq!(read("br-c").await, None);
    let lines = ["br-a", "br-b", "br-c"].map(|id| format!("GET /api/v2/projects/p/branches/{id}"));
    assert_eq!(stub.lines(), lines);
}

#[tokio::test]
async fn a_list_of_branches_without_end_is_no_list() {
    let page = json!({"branches": [branch("br-a", "a")], "pagination": {"next": "same"}});
    let stub = Stub::start(std::iter::repeat_n(answer(200, &page), 3)).await;
    assert!(stub.account.api.branches(&"p".into()).await.is_err());
    assert_eq!(stub.lines().len(), 2);
}

#[tokio::test]
async fn endpoints_are_read_with_words_of_tomorrow() {
    let endpoint = |id: &str, kind: &str, state: &str| {
        json!({
            "id": id, "branch_id": "br-a", "host": format!("{id}.eu.aws.neon.tech"), "type": kind,
            "current_state": state, "autoscaling_limit_min_cu": 0.25, "autoscaling_limit_max_cu": 2,
            "suspend_timeout_seconds": -1, "pooler_enabled": false, "settings": {"pg_settings": {}},
        })
    };
    let stub = Stub::start([answer(
        200,
        &json!({"endpoints": [
            endpoint("ep-1", "read_write", "idle"),
            endpoint("ep-2", "type_of_tomorrow", "state_of_tomorrow"),
        ]}),
    )])
    .await;
    let endpoints = stub.account.api.endpoints(&"p".into()).await.unwrap();
    assert_eq!(stub.lines(), ["GET /api/v2/projects/p/endpoints"]);
    assert_eq!(endpoints[0].endpoint_type, EndpointType::ReadWrite);
    assert_eq!(endpoints[0].current_state, EndpointState::Idle);
    assert_eq!(endpoints[0].suspend_timeout_seconds, -1);
    assert!((endpoints[0].autoscaling_limit_max_cu - 2.0).abs() < f64::EPSILON);
    assert_eq!(
        endpoints[1].endpoint_type,
        EndpointType::Other("type_of_tomorrow".to_owned())
    );
    assert_eq!(
        endpoints[1].current_state,
        EndpointState::Other("state_of_tomorrow".to_owned())
    );
}

#[tokio::test]
async fn a_branch_is_created_with_its_endpoint_and_its_marks_in_one_call() {
    let stub = Stub::start([answer(
        201,
        &json!({
            "branch": branch("br-a", "preview/pr-1"), "operations": operations(), "endpoints": [{"id": "ep-1"}],
            "roles": [{"name": "app", "password": "npg_secret"}], "databases": [],
            "connection_uris": [{"connection_uri": "postgres://app:npg_secret@h/d"}],
        }),
    )])
    .await;
    let create = create_branch();
    let created = stub.account.api.create_branch(&"p".into(), &create).await;
    let seen = stub.seen();
    assert_eq!(seen[0].line, "POST /api/v2/projects/p/branches");
    assert_eq!(
        seen[0].body,
        json!({
            "branch": {"name": "preview/pr-1", "parent_id": "br-main", "expires_at": "2026-07-04T10:00:00Z"},
            "endpoints": [{
                "type": "read_write", "autoscaling_limit_min_cu": 0.25, "autoscaling_limit_max_cu": 1.0,
                "suspend_timeout_seconds": 300,
            }],
            "annotation_value": {"sepulki-name": "app"},
        })
    );
    let created = created.unwrap();
    assert_eq!(created.branch.id.as_str(), "br-a");
    assert_eq!(created.branch.annotations, create.annotations);
    let statuses: Vec<_> = created
        .operations
        .into_iter()
        .map(|operation| operation.status)
        .collect();
    assert_eq!(
        statuses,
        [
            OperationStatus::Running,
            OperationStatus::Other("status_of_tomorrow".to_owned())
        ]
    );
}

#[tokio::test]
async fn what_is_not_asked_for_is_not_sent() {
    let stub = Stub::start([answer(201, &json!({"branch": branch("br-a", "a")}))]).await;
    let create = CreateBranch {
        protected: true,
        expires_at: None,
        annotations: BTreeMap::new(),
        endpoint: NewEndpoint::default(),
        ..create_branch()
    };
    let created = stub.account.api.create_branch(&"p".into(), &create).await;
    assert_eq!(created.unwrap().operations, []);
    assert_eq!(
        stub.seen()[0].body,
        json!({
            "branch": {"name": "preview/pr-1", "parent_id": "br-main", "protected": true},
            "endpoints": [{"type": "read_write"}],
            "annotation_value": {},
        })
    );
}

#[tokio::test]
async fn a_branch_is_changed_in_what_is_named_and_nothing_else() {
    let rows = [
        (
            UpdateBranch {
                name: Some("new".to_owned()),
                ..UpdateBranch::default()
            },
            json!({"branch": {"name": "new"}}),
        ),
        (
            UpdateBranch {
                protected: Some(false),
                expires_at: Some(Some("2026-07-04T10:00:00Z".parse().unwrap())),
                ..UpdateBranch::default()
            },
            json!({"branch": {"protected": false, "expires_at": "2026-07-04T10:00:00Z"}}),
        ),
        (
            UpdateBranch {
                expires_at: Some(None),
                ..UpdateBranch::default()
            },
            json!({"branch": {"expires_at": null}}),
        ),
    ];
    for (update, body) in rows {
        let reply = json!({"branch": branch("br-a", "a"), "operations": operations()});
        let stub = Stub::start([answer(200, &reply)]).await;
        let api = &stub.account.api;
        let operations = api
            .update_branch(&"p".into(), &"br-a".into(), &update)
            .await;
        assert_eq!(operations.unwrap().len(), 2);
        let seen = stub.seen();
        assert_eq!(seen[0].line, "PATCH /api/v2/projects/p/branches/br-a");
        assert_eq!(seen[0].body, body);
    }
}

#[tokio::test]
async fn a_branch_that_is_gone_counts_as_deleted() {
    let gone = json!({"code": "", "message": "branch not found"});
    let empty = Reply::Answer {
        status: 204,
        headers: "",
        body: String::new(),
    };
    let deleted = json!({"branch": branch("br-a", "a"), "operations": operations()});
    for (reply, operations) in [
        (answer(200, &deleted), 2),
        (empty, 0),
        (answer(404, &gone), 0),
    ] {
        let stub = Stub::start([reply]).await;
        let api = &stub.account.api;
        let result = api.delete_branch(&"p".into(), &"br-a".into()).await;
        assert_eq!(result.unwrap().len(), operations);
        assert_eq!(stub.lines(), ["DELETE /api/v2/projects/p/branches/br-a"]);
    }
}

#[tokio::test]
async fn a_read_replica_is_made_by_name_and_deleted_once() {
    let made = json!({"endpoint": {}, "operations": operations()});
    let gone = json!({"code": "", "message": "endpoint not found"});
    let stub = Stub::start([answer(201, &made), answer(200, &made), answer(404, &gone)]).await;
    let api = &stub.account.api;
    let create = CreateEndpoint {
        branch_id: "br-a".into(),
        replica: Some("reporting".into()),
        compute: NewEndpoint::default(),
    };
    api.create_endpoint(&"p".into(), &create).await.unwrap();
    for operations in [2, 0] {
        let deleted = api.delete_endpoint(&"p".into(), &"ep-1".into()).await;
        assert_eq!(deleted.unwrap().len(), operations);
    }
    assert_eq!(
        stub.lines()[1..],
        ["DELETE /api/v2/projects/p/endpoints/ep-1"; 2]
    );
    assert_eq!(
        stub.seen()[0].body,
        json!({"endpoint": {"branch_id": "br-a", "type": "read_only", "name": "reporting"}})
    );
}

#[tokio::test]
async fn a_branch_is_reset_by_restoring_it_to_its_parent() {
    let stub = Stub::start([answer(
        200,
        &json!({"branch": {}, "operations": operations()}),
    )])
    .await;
    let api = &stub.account.api;
    let operations = api
        .reset_branch(&"p".into(), &"br-a".into(), &"br-main".into())
        .await;
    assert_eq!(operations.unwrap().len(), 2);
    let seen = stub.seen();
    assert_eq!(
        seen[0].line,
        "POST /api/v2/projects/p/branches/br-a/restore"
    );
    assert_eq!(seen[0].body, json!({"source_branch_id": "br-main"}));
}

#[tokio::test]
async fn a_branch_is_forked_from_a_time_or_a_position() {
    let time = "2026-07-01T10:00:00.123456Z";
    let rows = [
        (
            Moment::Time(time.parse().unwrap()),
            "parent_timestamp",
            time,
        ),
        (
            Moment::Lsn("0/1A2B3C8".to_owned()),
            "parent_lsn",
            "0/1A2B3C8",
        ),
    ];
    for (at, field, value) in rows {
        let stub =
            Stub::start([answer(400, &json!({"code": "", "message": "too long ago"}))]).await;
        let create = CreateBranch {
            at: Some(at),
            ..create_branch()
        };
        let created = stub.account.api.create_branch(&"p".into(), &create).await;
        assert_eq!(created.unwrap_err().kind, ErrorKind::Rejected);
        assert_eq!(stub.seen()[0].body["branch"][field], value);
    }
}

#[tokio::test]
async fn an_endpoint_is_created_and_changed() {
    let stored = json!({
        "id": "ep-1", "branch_id": "br-a", "host": "ep-1.neon.tech", "type": "read_write",
        "current_state": "init", "autoscaling_limit_min_cu": 0.5, "autoscaling_limit_max_cu": 2,
        "settings": {"pg_settings": {"work_mem": "8MB", "max_connections": 100}},
    });
    let stub = Stub::start([
        answer(201, &json!({"endpoint": {}, "operations": operations()})),
        answer(
            200,
            &json!({"endpoint": stored, "operations": operations()}),
        ),
    ])
    .await;
    let api = &stub.account.api;
    let create = CreateEndpoint {
        branch_id: "br-a".into(),
        replica: None,
        compute: NewEndpoint {
            compute_units: None,
            suspend_timeout_seconds: Some(-1),
            pg_settings: BTreeMap::new(),
        },
    };
    let created = api.create_endpoint(&"p".into(), &create).await.unwrap();
    // an answer that does not tell is an answer all the same
    assert_eq!((created.endpoint, created.operations.len()), (None, 2));
    let update = UpdateEndpoint {
        compute_units: Some((0.5, 4.0)),
        suspend_timeout_seconds: None,
        pg_settings: Some(BTreeMap::from([("work_mem".to_owned(), "8MB".to_owned())])),
    };
    let updated = api
        .update_endpoint(&"p".into(), &"ep-1".into(), &update)
        .await
        .unwrap();
    assert_eq!(updated.operations.len(), 2);
    let stored = updated.endpoint.unwrap();
    assert!((stored.autoscaling_limit_max_cu - 2.0).abs() < f64::EPSILON);
    let settings = stored.pg_settings();
    assert_eq!(
        (
            settings["work_mem"].as_str(),
            settings["max_connections"].as_str()
        ),
        ("8MB", "100")
    );
    let seen = stub.seen();
    assert_eq!(seen[0].line, "POST /api/v2/projects/p/endpoints");
    assert_eq!(
        seen[0].body,
        json!({"endpoint": {"branch_id": "br-a", "type": "read_write", "suspend_timeout_seconds": -1}})
    );
    assert_eq!(seen[1].line, "PATCH /api/v2/projects/p/endpoints/ep-1");
    assert_eq!(
        seen[1].body,
        json!({"endpoint": {
            "autoscaling_limit_min_cu": 0.5, "autoscaling_limit_max_cu": 4.0,
            "settings": {"pg_settings": {"work_mem": "8MB"}},
        }})
    );
}

#[tokio::test]
async fn roles_are_listed_created_and_given_passwords() {
    let role = json!({"name": "app/one", "protected": false, "updated_at": "2026-07-01T10:00:00Z"});
    let changed =
        json!({"role": {"name": "app/one", "password": "npg_secret"}, "operations": operations()});
    let stub = Stub::start([
        answer(200, &json!({"roles": [role, {"name": "bare"}]})),
        answer(201, &changed),
        answer(200, &json!({"password": "s3cret"})),
        answer(200, &changed),
    ])
    .await;
    let (api, project, branch) = (&stub.account.api, "p".into(), "br-a".into());
    let roles = api.roles(&project, &branch).await.unwrap();
    assert_eq!(
        (roles[0].name.as_str(), roles[1].updated_at),
        ("app/one", None)
    );
    let operations = api.create_role(&project, &branch, "app/one").await.unwrap();
    assert_eq!(operations.len(), 2);
    let password = api.reveal_password(&project, &branch, "app/one").await;
    assert_eq!(password.unwrap().expose_secret(), "s3cret");
    let operations = api.reset_password(&project, &branch, "app/one").await;
    assert_eq!(operations.unwrap().len(), 2);
    assert_eq!(
        stub.lines(),
        [
            "GET /api/v2/projects/p/branches/br-a/roles",
            "POST /api/v2/projects/p/branches/br-a/roles",
            "GET /api/v2/projects/p/branches/br-a/roles/app%2Fone/reveal_password",
            "POST /api/v2/projects/p/branches/br-a/roles/app%2Fone/reset_password",
        ]
    );
    assert_eq!(stub.seen()[1].body, json!({"role": {"name": "app/one"}}));
    assert_eq!(stub.seen()[3].body, Value::Null);
}

#[tokio::test]
async fn databases_are_listed_and_created() {
    let stub = Stub::start([
        answer(
            200,
            &json!({"databases": [{"id": 1, "name": "app", "owner_name": "owner"}]}),
        ),
        answer(201, &json!({"database": {}, "operations": operations()})),
    ])
    .await;
    let (api, project, branch) = (&stub.account.api, "p".into(), "br-a".into());
    let databases = api.databases(&project, &branch).await.unwrap();
    assert_eq!(databases[0].owner_name, "owner");
    let operations = api.create_database(&project, &branch, "new", "owner").await;
    assert_eq!(operations.unwrap().len(), 2);
    let seen = stub.seen();
    assert_eq!(
        seen[1].line,
        "POST /api/v2/projects/p/branches/br-a/databases"
    );
    assert_eq!(
        seen[1].body,
        json!({"database": {"name": "new", "owner_name": "owner"}})
    );
}

#[tokio::test]
async fn an_operation_is_read() {
    let operation =
        json!({"id": "o-1", "action": "start_compute", "status": "error", "error": "no room"});
    let stub = Stub::start([answer(200, &json!({"operation": operation}))]).await;
    let operation = stub.account.api.operation(&"p".into(), &"o-1".into()).await;
    let operation = operation.unwrap();
    assert_eq!(stub.lines(), ["GET /api/v2/projects/p/operations/o-1"]);
    assert!(operation.status.is_failure());
    assert_eq!(operation.error.as_deref(), Some("no room"));
}
