//! Passwords: who can log in with them, and that nobody else sees them, on a real server.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod postgres_support;

use postgres_support::{Branch, MARK, unique, wanted, works};
use sepulki::postgres::{
    grants, isolation,
    proof::{self, Proof},
    roles,
};
use sepulki::world::{Contents, live::LiveContents};
use sqlx::{Executor, Row};

#[tokio::test]
async fn no_setting_of_the_server_logs_a_password() {
    let branch = Branch::alone().await;
    for setting in [
        "log_statement = 'all'",
        "log_min_duration_statement = 0",
        "log_parameter_max_length = -1",
        "log_parameter_max_length_on_error = -1",
        "log_min_messages = 'debug1'",
    ] {
        branch
            .as_superuser(&format!("ALTER SYSTEM SET {setting}"))
            .await;
    }
    branch.as_superuser("SELECT pg_reload_conf()").await;
    // A rule about passwords makes the very statement fail that carries one.
    branch
        .as_superuser(&format!(
            "ALTER ROLE {} SET session_preload_libraries = 'passwordcheck'",
            branch.owner
        ))
        .await;
    let mut owner = branch.owner().await;
    let (good, short) = ("k7 long'er \"Secret\" 42", "k8'S\"x");
    roles::ensure_login(&mut owner, &wanted("app", "app_g1", good))
        .await
        .unwrap();
    let activity = owner
        .fetch_all("SELECT coalesce(query, '') FROM pg_stat_activity")
        .await
        .unwrap();
    let error = roles::ensure_login(&mut owner, &wanted("app", "app_g1", short))
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "password is too short (SQLSTATE 22023)");
    let printed = format!("{error:?}");
    // What came before still holds, and the session is usable.
    let target = branch.target("app_g1", good, &branch.database);
    assert!(proof::accepts(&target).await.unwrap().is_some());
    isolation::retire_inherited_logins(&mut owner, MARK)
        .await
        .unwrap();

    let log = branch.server.log().unwrap();
    assert!(
        log.contains("COPY pg_temp.sepulki_secret"),
        "statements are logged"
    );
    assert!(
        log.contains("password is too short"),
        "the failure is logged"
    );
    let texts = activity.iter().map(|row| row.get::<String, _>(0));
    for text in texts.chain([log, printed]) {
        for part in [
            "k7 long",
            "k8'S",
            "k8''S",
            "6b37206c6f6e67",
            "6b38",
            "SCRAM-SHA-256$",
        ] {
            assert!(!text.contains(part), "{part:?} is in {text}");
        }
    }
}

#[tokio::test]
async fn inherited_logins_are_retired_and_ours_stay() {
    let branch = Branch::alone().await;
    // The management owner is inherited too, and made these on the parent.
    let mut owner = branch.owner().await;
    owner
        .execute(
            "CREATE ROLE app; CREATE ROLE app_g1 LOGIN PASSWORD 'parent' IN ROLE app;
             COMMENT ON ROLE app_g1 IS 'sepulki: default/tests/parent';
             CREATE ROLE \"a person's\" LOGIN PASSWORD 'parent'",
        )
        .await
        .unwrap();
    branch
        .as_superuser(
            "CREATE ROLE walsender LOGIN REPLICATION PASSWORD 'parent';
             CREATE ROLE admin LOGIN SUPERUSER PASSWORD 'parent'",
        )
        .await;
    branch.api_role("api", "parent").await;
    let mut session = branch.session("app_g1", "parent").await;
    let login = branch.login("ours").await;
    let mut ours = branch.session(&login, &branch.password).await;

    for _ in 0..2 {
        let unchanged = isolation::retire_inherited_logins(&mut owner, MARK).await;
        // Made by a superuser.
        assert_eq!(unchanged, Ok(vec!["walsender".to_owned()]));
    }
    for (role, opens) in [
        ("app_g1", false),
        ("a person's", false),
        ("walsender", true),
        ("admin", true),
        ("api", true),
    ] {
        let target = branch.target(role, "parent", &branch.database);
        let proof = proof::accepts(&target).await.unwrap();
        assert_eq!(proof.is_some(), opens, "{role}");
    }
    assert!(session.execute("SELECT 1").await.is_err(), "still open");
    works(&mut ours, &["SELECT 1"]).await;

    // The next start of a compute brings LOGIN back, with the password that Neon knows.
    branch.as_superuser("ALTER ROLE app_g1 LOGIN").await;
    let target = branch.target("app_g1", "parent", &branch.database);
    assert_eq!(proof::accepts(&target).await, Ok(None));
    let row = branch
        .superuser()
        .await
        .fetch_one("SELECT rolpassword IS NOT NULL FROM pg_authid WHERE rolname = 'app_g1'")
        .await
        .unwrap();
    assert!(row.get::<bool, _>(0), "a password that nobody knows");
}

#[tokio::test]
async fn a_proof_tells_refused_from_not_found_out() {
    let branch = Branch::shared().await;
    let group = unique("app");
    let login = branch.login(&group).await;
    let accepts = async |user: &str, password: &str| {
        let target = branch.target(user, password, &branch.database);
        proof::accepts(&target).await
    };
    let proof = Proof {
        login: login.clone(),
        role: group.clone(),
    };
    assert_eq!(accepts(&login, &branch.password).await, Ok(Some(proof)));
    assert_eq!(accepts(&login, "wrong").await, Ok(None));
    assert_eq!(accepts("nobody", "wrong").await, Ok(None));
    branch
        .as_superuser(&format!("ALTER ROLE {login} NOLOGIN"))
        .await;
    assert_eq!(accepts(&login, &branch.password).await, Ok(None));
    // Both are looked at before sessions are counted.
    branch
        .as_superuser(&format!("ALTER ROLE {login} LOGIN CONNECTION LIMIT 1"))
        .await;
    let only = branch.session(&login, &branch.password).await;
    for (password, opens) in [(&*branch.password, true), ("wrong", false)] {
        let target = branch.target(&login, password, &branch.database);
        assert_eq!(LiveContents.accepts(&target).await, Ok(opens));
    }
    drop(only);
    branch
        .as_superuser(&format!("ALTER ROLE {login} CONNECTION LIMIT -1"))
        .await;
    // The password is right, so this is no refusal of it.
    branch
        .as_superuser(&format!("ALTER ROLE {login} LOGIN"))
        .await;
    grants::close_to_public(&mut branch.owner().await)
        .await
        .unwrap();
    let error = accepts(&login, &branch.password).await.unwrap_err();
    assert_eq!(error.sqlstate(), Some("42501"), "{error}");
}
