//! Every call of the client on the wire, answered as Neon describes it: with all that is described, and with what is required.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;

use secrecy::ExposeSecret;
use sepulki::neon::{
    CreateBranch, CreateEndpoint, NeonApi, NewEndpoint, Operation, Result, UpdateBranch,
    UpdateEndpoint, UpdateProject,
};
use serde_json::{Value, json};

use crate::schema::{Description, parts};
use crate::stub::{Stub, answer};
use crate::{description, sample};

/// A call, and how much of what its answer may leave out was read.
type Ask = fn(&dyn NeonApi) -> Pin<Box<dyn Future<Output = Result<usize>> + Send + '_>>;

/// The port, of which each call has to be here.
const PORT: &str = include_str!("../../src/neon/mod.rs");

/// Method and route as they are described, how much the whole answer holds beside what is required, and the call.
const CALLS: [(&str, &str, usize, Ask); 21] = [
    ("get", "/auth", 0, |neon| {
        Box::pin(async { neon.identity().await.map(|_| 0) })
    }),
    ("get", "/projects/{project_id}", 2, |neon| {
        Box::pin(async {
            let project = neon.project(&"p".into()).await?;
            Ok(usize::from(project.settings.is_some()) + usize::from(project.owner.is_some()))
        })
    }),
    ("patch", "/projects/{project_id}", 1, |neon| {
        Box::pin(async {
            let updated = neon
                .update_project(&"p".into(), &UpdateProject::default())
                .await?;
            Ok(updated.operations.len())
        })
    }),
    // two pages, and an annotation
    ("get", "/projects/{project_id}/branches", 3, |neon| {
        Box::pin(async {
            let branches = neon.branches(&"p".into()).await?;
            Ok(branches.len() + branches[0].annotations.len())
        })
    }),
    (
        "get",
        "/projects/{project_id}/branches/{branch_id}",
        1,
        |neon| {
            Box::pin(async {
                let branch = neon.branch(&"p".into(), &"br-a".into()).await?;
                Ok(branch.expect("a branch").annotations.len())
            })
        },
    ),
    ("get", "/projects/{project_id}/endpoints", 1, |neon| {
        Box::pin(async { Ok(neon.endpoints(&"p".into()).await?.len()) })
    }),
    (
        "get",
        "/projects/{project_id}/endpoints/{endpoint_id}",
        1,
        |neon| {
            Box::pin(async {
                let endpoint = neon.endpoint(&"p".into(), &"ep-a".into()).await?;
                Ok(usize::from(endpoint.is_some()))
            })
        },
    ),
    ("post", "/projects/{project_id}/branches", 2, |neon| {
        Box::pin(async {
            let made = neon.create_branch(&"p".into(), &branch()).await?;
            Ok(made.operations.len() + usize::from(made.endpoint.is_some()))
        })
    }),
    (
        "patch",
        "/projects/{project_id}/branches/{branch_id}",
        1,
        |neon| {
            Box::pin(async {
                let update = UpdateBranch::default();
                many(
                    neon.update_branch(&"p".into(), &"br-a".into(), &update)
                        .await,
                )
            })
        },
    ),
    (
        "post",
        "/projects/{project_id}/branches/{branch_id}/restore",
        1,
        |neon| {
            Box::pin(async {
                many(
                    neon.reset_branch(&"p".into(), &"br-a".into(), &"br-b".into())
                        .await,
                )
            })
        },
    ),
    (
        "delete",
        "/projects/{project_id}/branches/{branch_id}",
        1,
        |neon| Box::pin(async { many(neon.delete_branch(&"p".into(), &"br-a".into()).await) }),
    ),
    ("post", "/projects/{project_id}/endpoints", 2, |neon| {
        Box::pin(async {
            let asked = CreateEndpoint {
                branch_id: "br-a".into(),
                replica: None,
                compute: branch().endpoint,
            };
            let made = neon.create_endpoint(&"p".into(), &asked).await?;
            Ok(made.operations.len() + usize::from(made.endpoint.is_some()))
        })
    }),
    (
        "patch",
        "/projects/{project_id}/endpoints/{endpoint_id}",
        2,
        |neon| {
            Box::pin(async {
                let update = UpdateEndpoint::default();
                let changed = neon
                    .update_endpoint(&"p".into(), &"ep-a".into(), &update)
                    .await?;
                Ok(changed.operations.len() + usize::from(changed.endpoint.is_some()))
            })
        },
    ),
    (
        "delete",
        "/projects/{project_id}/endpoints/{endpoint_id}",
        1,
        |neon| Box::pin(async { many(neon.delete_endpoint(&"p".into(), &"ep-a".into()).await) }),
    ),
    (
        "get",
        "/projects/{project_id}/branches/{branch_id}/roles",
        1,
        |neon| Box::pin(async { Ok(neon.roles(&"p".into(), &"br-a".into()).await?.len()) }),
    ),
    (
        "post",
        "/projects/{project_id}/branches/{branch_id}/roles",
        1,
        |neon| Box::pin(async { many(neon.create_role(&"p".into(), &"br-a".into(), "app").await) }),
    ),
    (
        "get",
        "/projects/{project_id}/branches/{branch_id}/roles/{role_name}/reveal_password",
        4,
        |neon| {
            Box::pin(async {
                let password = neon
                    .reveal_password(&"p".into(), &"br-a".into(), "app")
                    .await?;
                Ok(password.expose_secret().len())
            })
        },
    ),
    (
        "post",
        "/projects/{project_id}/branches/{branch_id}/roles/{role_name}/reset_password",
        1,
        |neon| {
            Box::pin(async {
                many(
                    neon.reset_password(&"p".into(), &"br-a".into(), "app")
                        .await,
                )
            })
        },
    ),
    (
        "get",
        "/projects/{project_id}/branches/{branch_id}/databases",
        1,
        |neon| Box::pin(async { Ok(neon.databases(&"p".into(), &"br-a".into()).await?.len()) }),
    ),
    (
        "post",
        "/projects/{project_id}/branches/{branch_id}/databases",
        1,
        |neon| {
            Box::pin(async {
                many(
                    neon.create_database(&"p".into(), &"br-a".into(), "shop", "app")
                        .await,
                )
            })
        },
    ),
    (
        "get",
        "/projects/{project_id}/operations/{operation_id}",
        1,
        |neon| {
            Box::pin(async {
                let operation = neon.operation(&"p".into(), &"o-1".into()).await?;
                Ok(usize::from(operation.error.is_some()))
            })
        },
    ),
];

fn many(operations: Result<Vec<Operation>>) -> Result<usize> {
    operations.map(|operations| operations.len())
}

fn branch() -> CreateBranch {
    CreateBranch {
        name: "preview".to_owned(),
        parent_id: "br-main".into(),
        at: None,
        protected: false,
        expires_at: None,
        annotations: BTreeMap::new(),
        endpoint: NewEndpoint {
            compute_units: None,
            suspend_timeout_seconds: None,
            pg_settings: BTreeMap::new(),
        },
    }
}

/// The first answer of success that is described: its status and its body.
fn described(description: &Description, method: &str, route: &str, whole: bool) -> (u16, Value) {
    let responses = &description.document["paths"][route][method]["responses"];
    let mut statuses = responses.as_object().expect(route).keys();
    let status = statuses
        .find(|status| status.starts_with('2'))
        .expect(route);
    let response = description.resolve(&responses[status]);
    let schema = &response["content"]["application/json"]["schema"];
    let mut body = sample(description, schema, whole);
    annotate(&mut body);
    (status.parse().unwrap(), body)
}

/// What somebody has noted on a branch: of which keys, no description can say.
fn annotate(body: &mut Value) {
    if let Some(annotation) = body.get_mut("annotation").filter(|it| it.is_object()) {
        annotation["value"] = json!({"note": "text"});
    }
    let of_first = body["branches"][0]["id"].as_str().map(str::to_owned);
    if let (Some(id), Some(all)) = (of_first, body.get_mut("annotations")) {
        all[id] =
            json!({"object": {"type": "console/branch", "id": "text"}, "value": {"note": "text"}});
    }
}

/// Names of the parameters that a call may have behind its path.
fn queries(description: &Description, method: &str, route: &str) -> BTreeSet<String> {
    let item = &description.document["paths"][route];
    let places = [item, &item[method]];
    let all = places
        .into_iter()
        .flat_map(|place| parts(place, "parameters"));
    let all = all.map(|one| description.resolve(one));
    let query = all.filter(|one| one["in"] == "query");
    query
        .map(|one| one["name"].as_str().unwrap().to_owned())
        .collect()
}

/// Asks a server that answers as it is described; how much was read.
async fn ask(description: &Description, method: &str, route: &str, whole: bool, ask: Ask) -> usize {
    let (status, body) = described(description, method, route, whole);
    let (_, least) = described(description, method, route, false);
    // a list may have another page
    let stub = Stub::start([answer(status, &body), answer(status, &least)]).await;
    let read = ask(&*stub.account.api).await;
    let read = read.unwrap_or_else(|error| panic!("{method} {route} {status} {body}: {error}"));
    let known = queries(description, method, route);
    for line in stub.lines() {
        let (verb, path) = line.split_once(" /api/v2").expect(&line);
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        assert_eq!(verb.to_lowercase(), method, "{line}");
        assert_eq!(description.route(path).as_deref(), Some(route), "{line}");
        let mut names = query
            .split('&')
            .filter_map(|pair| Some(pair.split_once('=')?.0));
        assert!(names.all(|name| known.contains(name)), "{line}: {known:?}");
    }
    read
}

#[tokio::test]
async fn every_call_is_described_and_so_is_what_is_read_of_its_answer() {
    let description = tokio::task::spawn_blocking(description).await.unwrap();
    assert_eq!(PORT.matches("async fn ").count(), CALLS.len());
    for (method, route, expected, call) in CALLS {
        let read = ask(&description, method, route, true, call).await;
        assert_eq!(read, expected, "of what is described of {method} {route}");
        ask(&description, method, route, false, call).await;
    }
}

#[tokio::test]
async fn what_is_read_of_errors_is_described() {
    let description = tokio::task::spawn_blocking(description).await.unwrap();
    let schema = &description.document["components"]["schemas"]["GeneralError"];
    for whole in [true, false] {
        let stub = Stub::start([answer(409, &sample(&description, schema, whole))]).await;
        let error = stub.account.api.project(&"p".into()).await.unwrap_err();
        assert_eq!(error.message, "text");
        // without Neon's id it is the one that was sent
        assert_eq!(error.request_id.as_deref() == Some("text"), whole);
    }
}
