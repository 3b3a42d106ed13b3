//! Who can change which roles, on the newest PostgreSQL: two owners of databases, and what only one of them may do.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod postgres_support;

use postgres_support::{Branch, MARK, unique};
use sepulki::{
    postgres::{Error, Target, proof, roles::Shape},
    world::{Contents, LoginsLeft, NewLogin, PrepareRole, PrepareRoles, live::LiveContents},
};

/// Roles with sessions of at most so many.
fn asked(groups: &[&str], limit: i32) -> PrepareRoles {
    let role = |group: &&str| PrepareRole {
        group: (*group).to_owned(),
        shape: Shape {
            connection_limit: Some(limit),
            ..Shape::default()
        },
        logins: Some(Vec::new()),
    };
    PrepareRoles {
        mark: MARK.to_owned(),
        roles: groups.iter().map(role).collect(),
    }
}

async fn make(at: &Target, group: &str, mark: &str) -> Result<(), Error> {
    let login = NewLogin {
        group: group.to_owned(),
        login: format!("{group}_g1"),
        mark: mark.to_owned(),
        shape: Shape::default(),
        password: "parent".into(),
    };
    LiveContents.set_login(at, &login).await
}

/// The first owner, and another who is the management owner by what the spec says now.
async fn two_owners(branch: &Branch) -> (Target, Target) {
    let (other, password) = (unique("other"), unique("pw"));
    branch.api_role(&other, &password).await;
    (
        branch.target(&branch.owner, &branch.password, &branch.database),
        branch.target(&other, &password, &branch.database),
    )
}

async fn manager(at: &Target, groups: &[&str]) -> String {
    let groups: Vec<String> = groups.iter().map(|&group| group.to_owned()).collect();
    LiveContents.manager(at, &groups, MARK).await.unwrap()
}

#[tokio::test]
async fn whoever_made_the_roles_is_found_and_can_change_them() {
    let branch = Branch::newest().await;
    let (first, other) = two_owners(&branch).await;
    assert_eq!(manager(&other, &["app"]).await, other.user, "none are made");
    LiveContents
        .prepare_roles(&first, &asked(&["app"], 5))
        .await
        .unwrap();
    make(&first, "app", MARK).await.unwrap();

    let refused = LiveContents
        .prepare_roles(&other, &asked(&["app"], 6))
        .await;
    assert_eq!(refused.unwrap_err().sqlstate(), Some("42501"));
    for groups in [["app"].as_slice(), &["new", "app"], &[]] {
        assert_eq!(manager(&other, groups).await, first.user, "{groups:?}");
        assert_eq!(manager(&first, groups).await, first.user, "{groups:?}");
    }
    LiveContents
        .prepare_roles(&first, &asked(&["new", "app"], 6))
        .await
        .unwrap();
    LiveContents
        .drop_login(&first, "app", "app_g1", MARK)
        .await
        .unwrap();
    assert_eq!(manager(&other, &["app"]).await, first.user, "of the group");
}

#[tokio::test]
async fn logins_that_another_owner_made_are_closed_by_that_one() {
    let branch = Branch::newest().await;
    let (first, other) = two_owners(&branch).await;
    make(&first, "app", "of the parent").await.unwrap();
    make(&other, "web", "of the parent").await.unwrap();
    let opens = async |group: &str| {
        let login = branch.target(&format!("{group}_g1"), "parent", &branch.database);
        proof::accepts(&login).await.unwrap().is_some()
    };
    assert!(opens("app").await && opens("web").await);
    let left = LiveContents.retire_logins(&other, MARK).await.unwrap();
    let expected = LoginsLeft {
        names: vec!["app_g1".to_owned()],
        administrators: [first.user.clone()].into(),
    };
    assert_eq!(left, expected);
    assert!(opens("app").await && !opens("web").await);
    let left = LiveContents.retire_logins(&first, MARK).await.unwrap();
    // what is closed already cannot be left open
    assert_eq!(left, LoginsLeft::default());
    assert!(!opens("app").await);
}
