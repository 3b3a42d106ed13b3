//! Who shares an account, and that no mutation leaves a listing standing.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::BoxFuture;
use jiff::Timestamp;

use super::*;
use crate::neon::fake::{FakeNeon, LATENCY};
use crate::neon::{Error, ErrorKind, NewEndpoint, Unobserved};

const MINUTE: Duration = Duration::from_mins(1);

fn accounts() -> Accounts {
    let host = "http://127.0.0.1:1/api/v2".parse().unwrap();
    Accounts::new(ClientSettings::new(host), Arc::new(Unobserved)).unwrap()
}

#[test]
fn a_key_has_one_account_and_another_key_another() {
    let accounts = accounts();
    let open = |key: &str| accounts.open(&key.into());
    let account = open("napi_one");
    assert!(Arc::ptr_eq(&account, &open("napi_one")));
    assert!(Arc::ptr_eq(&account, &open("napi_one\n")));
    assert!(!Arc::ptr_eq(&account, &open("napi_two")));
}

#[tokio::test]
async fn a_key_that_cannot_be_one_is_refused_without_a_call() {
    for key in ["", " \n", "napi_one\nnapi_two", "napi_\u{7f}"] {
        let account = accounts().open(&key.into());
        let error = account.api.project(&"p".into()).await.unwrap_err();
        assert_eq!((error.kind, error.status), (ErrorKind::Denied, None));
    }
}

#[tokio::test(start_paused = true)]
async fn whose_a_key_is_that_nobody_tells_is_asked_now_and_then_however_many_use_it() {
    let neon = Arc::new(FakeNeon::default());
    let account = Account::new(neon.clone());
    neon.fail_with(Some(Error::lost("connection reset")));
    let at = |minutes| Timestamp::UNIX_EPOCH + SignedDuration::from_mins(minutes);
    for minute in 0..60 {
        let many = (0..20).map(|_| account.introduce(at(minute)));
        futures::future::join_all(many).await;
    }
    assert_eq!(neon.others(), 6);
    // who has to know asks by itself
    assert!(account.identity().await.is_err());
    neon.fail_with(None);
    account.introduce(at(59)).await;
    assert_eq!(neon.others(), 7);
    account.introduce(at(60)).await;
    account.introduce(at(120)).await;
    assert!(account.identity().await.is_ok());
    assert_eq!(neon.others(), 8);
}

fn create_branch() -> CreateBranch {
    CreateBranch {
        name: "preview/pr-1".to_owned(),
        parent_id: "br-main".into(),
        at: None,
        protected: false,
        expires_at: None,
        annotations: BTreeMap::new(),
        endpoint: NewEndpoint::default(),
    }
}

fn create_endpoint() -> CreateEndpoint {
    CreateEndpoint {
        branch_id: "br-main".into(),
        replica: None,
        compute: NewEndpoint::default(),
    }
}

type Mutation = fn(Arc<dyn NeonApi>) -> BoxFuture<'static, Option<Error>>;

/// Every call that changes something; its error, if any.
fn mutations() -> [(&'static str, Mutation); 11] {
    macro_rules! mutation {
        ($call:ident $(, $argument:expr)*) => {
            (stringify!($call), |api| Box::pin(async move {
                api.$call(&"p".into() $(, $argument)*).await.err()
            }))
        };
    }
    [
        mutation!(update_project, &UpdateProject::default()),
        mutation!(create_branch, &create_branch()),
        mutation!(update_branch, &"br-main".into(), &UpdateBranch::default()),
        mutation!(reset_branch, &"br-a".into(), &"br-main".into()),
        mutation!(delete_branch, &"br-main".into()),
        mutation!(create_endpoint, &create_endpoint()),
        mutation!(update_endpoint, &"ep-1".into(), &UpdateEndpoint::default()),
        mutation!(delete_endpoint, &"ep-1".into()),
        mutation!(create_role, &"br-main".into(), "app"),
        mutation!(reset_password, &"br-main".into(), "app"),
        mutation!(create_database, &"br-main".into(), "app", "owner"),
    ]
}

/// How a call may end.
#[derive(Clone, Copy, Debug)]
enum End {
    Answered,
    Lost,
    Abandoned,
}

#[tokio::test(start_paused = true)]
async fn every_mutation_makes_the_listing_stale_however_it_ends() {
    for (name, mutation) in mutations() {
        for end in [End::Answered, End::Lost, End::Abandoned] {
            let neon = Arc::new(FakeNeon::default());
            let account = Account::new(neon.clone());
            let look = || {
                let project: ProjectId = "p".into();
                let snapshots = account.snapshots.clone();
                async move {
                    let now = Timestamp::UNIX_EPOCH;
                    snapshots.get(&project, MINUTE, now).await.unwrap();
                }
            };
            look().await;
            let call = mutation(Arc::clone(&account.api));
            match end {
                End::Answered => assert_eq!(call.await, None),
                End::Lost => {
                    let lost = Error::lost("connection reset");
                    neon.fail_with(Some(lost.clone()));
                    assert_eq!(call.await, Some(lost));
                    neon.fail_with(None);
                }
                End::Abandoned => {
                    assert!(tokio::time::timeout(LATENCY / 2, call).await.is_err());
                }
            }
            look().await;
            assert_eq!(neon.lists(), 2, "{name} {end:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_mutation_that_is_locked_out_leaves_the_listing_standing() {
    for (name, mutation) in mutations() {
        let neon = Arc::new(FakeNeon::default());
        let account = Account::new(neon.clone());
        let (project, now) = (ProjectId::from("p"), Timestamp::UNIX_EPOCH);
        account.snapshots.get(&project, MINUTE, now).await.unwrap();
        let locked = Error::without_answer(ErrorKind::Locked, "locked");
        neon.fail_with(Some(locked.clone()));
        assert_eq!(mutation(Arc::clone(&account.api)).await, Some(locked));
        neon.fail_with(None);
        account.snapshots.get(&project, MINUTE, now).await.unwrap();
        assert_eq!(neon.lists(), 1, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn whose_a_key_is_is_asked_once() {
    let neon = Arc::new(FakeNeon::default());
    let account = Account::new(neon.clone());
    neon.fail_with(Some(Error::lost("connection reset")));
    assert!(account.identity().await.is_err());
    neon.fail_with(None);
    let (one, two) = tokio::join!(account.identity(), account.identity());
    assert_eq!(one, two);
    assert_eq!(one.unwrap().unwrap().account_id, "somebody");
    assert_eq!(neon.others(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_may_not_ask_whose_it_is_is_not_asked_again() {
    let neon = Arc::new(FakeNeon::default());
    let account = Account::new(neon.clone());
    neon.fail_with(Some(Error::without_answer(ErrorKind::Denied, "no")));
    for _ in 0..2 {
        assert_eq!(account.identity().await, Ok(None));
    }
    assert_eq!(neon.others(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_changes_nothing_leaves_the_listing_standing() {
    let neon = Arc::new(FakeNeon::default());
    let account = Account::new(neon.clone());
    let (project, now) = (ProjectId::from("p"), Timestamp::UNIX_EPOCH);
    account.snapshots.get(&project, MINUTE, now).await.unwrap();
    let branch = "br-main".into();
    account.api.roles(&project, &branch).await.unwrap();
    account.api.databases(&project, &branch).await.unwrap();
    account.api.endpoints(&project).await.unwrap();
    account.snapshots.get(&project, MINUTE, now).await.unwrap();
    assert_eq!(neon.lists(), 1);
}
