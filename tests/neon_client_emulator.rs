//! The Neon client against the emulator: the life of a branch as the operator leads it.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use neon_emulator::{Emulator, EmulatorConfig};
use secrecy::ExposeSecret;
use sepulki::neon::{
    Account, Accounts, Branch, BranchState, Call, CallObserver, ClientSettings, CreateBranch,
    ErrorKind, NeonAccounts, NewEndpoint, Operation, ProjectId, UpdateBranch, UpdateEndpoint,
};
use serde_json::{Value, json};

/// Long enough that a mutation on the heels of another finds the project locked.
const OPERATION: Duration = Duration::from_millis(100);

#[derive(Default)]
struct Statuses(Mutex<Vec<Option<u16>>>);

impl CallObserver for Statuses {
    fn call(&self, call: &Call) {
        self.0.lock().unwrap().push(call.status);
    }
}

struct World {
    statuses: Arc<Statuses>,
    accounts: Accounts,
    account: Arc<Account>,
    project: ProjectId,
    /// Last, so that it ends last.
    _emulator: Emulator,
}

impl World {
    async fn start() -> Self {
        let config = EmulatorConfig {
            operation_duration: OPERATION,
            ..EmulatorConfig::default()
        };
        let emulator = tokio::task::spawn_blocking(|| Emulator::start(config));
        let emulator = emulator.await.unwrap().unwrap();
        let statuses = Arc::new(Statuses::default());
        let settings = ClientSettings::new(emulator.api_url().parse().unwrap());
        let accounts = Accounts::new(settings, statuses.clone()).unwrap();
        let world = Self {
            account: accounts.open(&emulator.api_key().into()),
            project: make_project(&emulator).await,
            accounts,
            statuses,
            _emulator: emulator,
        };
        world.the_default_branch_is_ready().await;
        world
    }

    async fn the_default_branch_is_ready(&self) {
        while self.default_branch().await.current_state != BranchState::Ready {
            tokio::time::sleep(OPERATION).await;
        }
    }

    async fn default_branch(&self) -> Branch {
        let branches = self.account.api.branches(&self.project).await.unwrap();
        branches.into_iter().find(|branch| branch.default).unwrap()
    }

    /// Waits until all of them have ended well.
    async fn finished(&self, operations: &[Operation]) {
        let all = operations.iter().map(async |operation| {
            loop {
                let now = self.account.api.operation(&self.project, &operation.id);
                let now = now.await.unwrap();
                assert!(!now.status.is_failure(), "{now:?}");
                if now.status.is_terminal() {
                    return;
                }
                tokio::time::sleep(OPERATION).await;
            }
        });
        let all = futures::future::join_all(all);
        tokio::time::timeout(Duration::from_mins(1), all)
            .await
            .unwrap();
    }

    async fn create(&self, name: &str, parent: &Branch) -> Branch {
        let create = child(name, parent);
        let created = self.account.api.create_branch(&self.project, &create);
        let created = created.await.unwrap();
        self.finished(&created.operations).await;
        created.branch
    }
}

fn child(name: &str, parent: &Branch) -> CreateBranch {
    CreateBranch {
        name: name.to_owned(),
        parent_id: parent.id.clone(),
        at: None,
        protected: false,
        expires_at: None,
        annotations: BTreeMap::from([("sepulki-name".to_owned(), name.to_owned())]),
        endpoint: NewEndpoint {
            compute_units: Some((0.25, 1.0)),
            suspend_timeout_seconds: Some(300),
            pg_settings: BTreeMap::new(),
        },
    }
}

/// The operator never makes a project, so the client cannot.
async fn make_project(emulator: &Emulator) -> ProjectId {
    let made = reqwest::Client::builder().no_proxy().build().unwrap();
    let made = made
        .post(format!("{}/projects", emulator.api_url()))
        .bearer_auth(emulator.api_key())
        .json(&json!({"project": {"name": "sepulki"}}));
    let made: Value = made.send().await.unwrap().json().await.unwrap();
    made["project"]["id"].as_str().unwrap().into()
}

#[tokio::test]
async fn a_branch_comes_to_be_is_used_and_goes() {
    let world = World::start().await;
    let (account, project) = (&world.account, &world.project);
    let (api, main) = (&account.api, world.default_branch().await);

    let create = CreateBranch {
        expires_at: Some(in_an_hour()),
        ..child("preview/pr-1", &main)
    };
    let created = api.create_branch(project, &create).await.unwrap();
    let branch = created.branch.id.clone();
    // The project is locked now; the client waits for its turn, and asks Neon for nothing it would refuse.
    let create_role = api.create_role(project, &branch, "app");
    let (operations, ()) = tokio::join!(create_role, world.finished(&created.operations));
    assert!(!world.statuses.0.lock().unwrap().contains(&Some(423)));
    world.finished(&operations.unwrap()).await;

    let listing = account
        .snapshots
        .get(project, Duration::MAX, Timestamp::UNIX_EPOCH);
    let listing = listing.await.unwrap();
    let listed = listing.branch(&branch).unwrap();
    assert_eq!(listed.annotations, create.annotations);
    assert_eq!(listed.current_state, BranchState::Ready);
    let expiry = listed.expires_at.unwrap();
    assert_eq!(expiry.as_second(), in_an_hour().as_second());
    let endpoint = listing.read_write_endpoint(&branch).unwrap();
    assert!(endpoint.host.starts_with(endpoint.id.as_str()));
    assert_eq!(listing.branch_named("preview/pr-1"), Some(listed));
    let children: Vec<_> = listing.children_of(&main.id).collect();
    assert_eq!(children, [listed]);
    let found = api.branch(project, &branch).await.unwrap();
    assert_eq!(found.as_ref(), Some(listed));

    let renamed = UpdateBranch {
        name: Some("renamed".to_owned()),
        ..UpdateBranch::default()
    };
    let operations = api.update_branch(project, &branch, &renamed).await;
    world.finished(&operations.unwrap()).await;
    let found = api.branch(project, &branch).await.unwrap();
    assert_eq!(found.unwrap().name, "renamed");

    let bigger = UpdateEndpoint {
        compute_units: Some((0.5, 2.0)),
        suspend_timeout_seconds: None,
        pg_settings: None,
    };
    let changed = api.update_endpoint(project, &endpoint.id, &bigger).await;
    let changed = changed.unwrap();
    world.finished(&changed.operations).await;
    let answered = changed.endpoint.unwrap();
    assert!((answered.autoscaling_limit_max_cu - 2.0).abs() < f64::EPSILON);
    let endpoints = api.endpoints(project).await.unwrap();
    let changed = endpoints.iter().find(|it| it.id == endpoint.id).unwrap();
    assert!((changed.autoscaling_limit_max_cu - 2.0).abs() < f64::EPSILON);

    let operations = api.delete_branch(project, &branch).await.unwrap();
    world.finished(&operations).await;
    let again = api.delete_branch(project, &branch).await;
    assert_eq!(again, Ok(Vec::new()));
    assert_eq!(api.branch(project, &branch).await, Ok(None));
    let left = api.branches(project).await.unwrap();
    assert_eq!(left, [world.default_branch().await]);
}

#[tokio::test]
async fn roles_passwords_and_databases_are_as_the_client_was_told() {
    let world = World::start().await;
    let (api, project) = (&world.account.api, &world.project);
    let branch = world
        .create("staging", &world.default_branch().await)
        .await
        .id;

    let operations = api.create_role(project, &branch, "app").await.unwrap();
    world.finished(&operations).await;
    let operations = api.create_database(project, &branch, "orders", "app").await;
    world.finished(&operations.unwrap()).await;
    let databases = api.databases(project, &branch).await.unwrap();
    let orders = databases.iter().find(|it| it.name == "orders").unwrap();
    assert_eq!(orders.owner_name, "app");

    let role = async || {
        let roles = api.roles(project, &branch).await.unwrap();
        roles.into_iter().find(|role| role.name == "app").unwrap()
    };
    let reveal = async || {
        let password = api.reveal_password(project, &branch, "app").await.unwrap();
        password.expose_secret().to_owned()
    };
    let (old_role, old_password) = (role().await, reveal().await);
    let operations = api.reset_password(project, &branch, "app").await.unwrap();
    world.finished(&operations).await;
    assert!(role().await.updated_at > old_role.updated_at);
    assert_ne!(reveal().await, old_password);
}

#[tokio::test]
async fn what_must_not_be_done_is_told_by_its_kind() {
    let world = World::start().await;
    let (api, project) = (&world.account.api, &world.project);
    let parent = world.create("staging", &world.default_branch().await).await;
    let grandchild = world.create("development", &parent).await;

    let same_name = child("staging", &parent);
    let error = api.create_branch(project, &same_name).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Conflict, "{error}");
    let error = api.delete_branch(project, &parent.id).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::HasChildren, "{error}");
    let guard = UpdateBranch {
        protected: Some(true),
        ..UpdateBranch::default()
    };
    let operations = api.update_branch(project, &grandchild.id, &guard).await;
    world.finished(&operations.unwrap()).await;
    let error = api
        .delete_branch(project, &grandchild.id)
        .await
        .unwrap_err();
    assert_eq!(error.kind, ErrorKind::Protected, "{error}");
    let error = api.roles(project, &"br-none".into()).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::NotFound, "{error}");
    let error = api.branches(&"none".into()).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::NotFound, "{error}");
    let stranger = world.accounts.open(&"napi_of_somebody_else".into());
    let error = stranger.api.branches(project).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Denied, "{error}");
}

#[expect(
    clippy::disallowed_methods,
    reason = "the emulator goes by the real clock"
)]
fn in_an_hour() -> Timestamp {
    static HOUR: std::sync::OnceLock<Timestamp> = std::sync::OnceLock::new();
    *HOUR.get_or_init(|| Timestamp::now() + Duration::from_hours(1))
}
