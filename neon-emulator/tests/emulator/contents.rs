//! What is in a branch: roles and databases, through the API and on the server.

use std::time::Duration;

use neon_emulator::EmulatorConfig;
use serde_json::json;

use crate::support::{names, own, psql, quick, shared, text};

#[tokio::test]
async fn roles_are_made_as_neon_makes_them() {
    let neon = shared();
    let main = neon.api.project().await;
    let body = json!({"role": {"name": "it's \"quoted\""}});
    let body = neon
        .api
        .done(&main.project, neon.api.post(&main.at("/roles"), body))
        .await;
    assert!(text(&body["role"]["password"]).starts_with("npg_"));
    let attributes = "SELECT rolcreaterole, rolcreatedb, rolbypassrls, rolreplication, rolsuper, \
                      pg_has_role(rolname, 'neon_superuser', 'member') \
                      FROM pg_roles WHERE rolname = 'it''s \"quoted\"'";
    assert_eq!(neon.sql(&main, attributes), "t|t|t|t|f|t");

    let revealed = neon
        .api
        .get(&main.at("/roles/it's%20%22quoted%22/reveal_password"))
        .await
        .expect(200);
    assert_eq!(revealed["password"], body["role"]["password"]);
    let gone = neon.api.delete(&main.at("/roles/it's%20%22quoted%22"));
    neon.api.done(&main.project, gone).await;
    assert_eq!(
        neon.sql(
            &main,
            "SELECT count(*) FROM pg_roles WHERE rolname LIKE 'it%'"
        ),
        "0"
    );
    assert_eq!(
        neon.api
            .delete(&main.at("/roles/it's%20%22quoted%22"))
            .await
            .status,
        204
    );
}

#[tokio::test]
async fn a_role_that_owns_tables_can_be_deleted_and_leaves_them_to_the_database_owner() {
    let neon = shared();
    let main = neon.api.project().await;
    let body = json!({"role": {"name": "leaver"}});
    let body = neon
        .api
        .done(&main.project, neon.api.post(&main.at("/roles"), body))
        .await;
    neon.sql(&main, "GRANT CREATE ON SCHEMA public TO leaver");
    let as_leaver = neon.conninfo_as(&main, "leaver", &text(&body["role"]["password"]));
    psql(&as_leaver, "CREATE TABLE left_behind (id int)").unwrap();
    neon.api
        .done(&main.project, neon.api.delete(&main.at("/roles/leaver")))
        .await;
    let owner = "SELECT tableowner FROM pg_tables WHERE tablename = 'left_behind'";
    assert_eq!(neon.sql(&main, owner), "neondb_owner");
}

#[tokio::test]
async fn a_reset_password_replaces_the_old_one_when_the_operation_is_done() {
    let neon = own(EmulatorConfig {
        operation_duration: Duration::from_secs(2),
        ..quick()
    });
    let main = neon.api.project().await;
    let reset = neon
        .api
        .post(&main.at("/roles/neondb_owner/reset_password"), json!({}))
        .await
        .expect(200);
    let new = text(&reset["role"]["password"]);
    assert_ne!(new, main.password);
    assert_eq!(
        neon.sql(&main, "SELECT 1"),
        "1",
        "the old one is valid until the operation is done"
    );
    neon.api.settle(&main.project).await;
    let refused = psql(&neon.conninfo(&main), "SELECT 1").unwrap_err();
    assert!(
        refused.contains("password authentication failed"),
        "{refused}"
    );
    assert_eq!(
        psql(&neon.conninfo_as(&main, "neondb_owner", &new), "SELECT 1").unwrap(),
        "1"
    );
    assert_eq!(neon.api.reveal(&main, "neondb_owner").await, new);
}

#[tokio::test]
async fn databases_are_created_renamed_handed_over_and_dropped() {
    let neon = shared();
    let main = neon.api.project().await;
    let role = json!({"role": {"name": "other"}});
    neon.api
        .done(&main.project, neon.api.post(&main.at("/roles"), role))
        .await;
    let body = json!({"database": {"name": "first", "owner_name": "neondb_owner"}});
    neon.api
        .done(&main.project, neon.api.post(&main.at("/databases"), body))
        .await;

    let path = main.at("/databases/first");
    let body = json!({"database": {"name": "second", "owner_name": "other"}});
    neon.api
        .done(&main.project, neon.api.patch(&path, body))
        .await;
    assert_eq!(neon.api.get(&path).await.status, 404);
    let owner = "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'second'";
    assert_eq!(neon.sql(&main, owner), "other");
    let shown = neon
        .api
        .get(&main.at("/databases/second"))
        .await
        .expect(200);
    assert_eq!(shown["database"]["owner_name"], "other");

    neon.api
        .done(
            &main.project,
            neon.api.delete(&main.at("/databases/second")),
        )
        .await;
    assert_eq!(
        names(&neon.api.get(&main.at("/databases")).await.expect(200)["databases"]),
        ["neondb"]
    );
    assert_eq!(
        neon.api.delete(&main.at("/databases/second")).await.status,
        204
    );
}

#[tokio::test]
async fn roles_and_databases_made_by_sql_are_listed_too() {
    let neon = shared();
    let main = neon.api.project().await;
    neon.sql(&main, "CREATE ROLE by_sql NOLOGIN");
    neon.sql(&main, "CREATE DATABASE sql_db");
    let roles = neon.api.get(&main.at("/roles")).await.expect(200);
    assert_eq!(names(&roles["roles"]), ["by_sql", "neondb_owner"]);
    let databases = neon.api.get(&main.at("/databases")).await.expect(200);
    assert_eq!(names(&databases["databases"]), ["neondb", "sql_db"]);
    // The control plane never learns their passwords.
    assert_eq!(
        neon.api
            .get(&main.at("/roles/by_sql/reveal_password"))
            .await
            .status,
        404
    );
    let child = neon.api.child(&main, "child").await;
    assert_eq!(
        names(&neon.api.get(&child.at("/roles")).await.expect(200)["roles"]),
        ["by_sql", "neondb_owner"]
    );
}

#[tokio::test]
async fn schemas_are_read_and_compared_now_and_then() {
    let neon = shared();
    let main = neon.api.project().await;
    neon.sql(&main, "CREATE TABLE shop (id int)");
    let lsn = neon.sql(&main, "SELECT pg_current_wal_lsn()");
    let child = neon.api.child(&main, "child").await;
    neon.sql(&child, "CREATE TABLE basket (id int)");
    neon.sql(&main, "DROP TABLE shop");
    let schema = async |path: String| {
        let shown = neon.api.get(&path).await.expect(200);
        text(&shown["sql"])
    };
    let now = schema(main.at("/schema?db_name=neondb")).await;
    assert!(!now.contains("CREATE TABLE"), "{now}");
    let then = schema(main.at(&format!("/schema?db_name=neondb&lsn={lsn}"))).await;
    assert!(then.contains("CREATE TABLE public.shop"), "{then}");

    let diff = async |more: &str| {
        let path = child.at(&format!("/compare_schema?db_name=neondb{more}"));
        text(&neon.api.get(&path).await.expect(200)["diff"])
    };
    let with_parent = diff("").await;
    assert!(
        with_parent.starts_with("--- a/neondb\n+++ b/neondb\n"),
        "{with_parent}"
    );
    assert!(with_parent.contains("+CREATE TABLE public.basket ("));
    assert!(with_parent.contains("+CREATE TABLE public.shop ("));
    let with_then = diff(&format!("&base_branch_id={}&base_lsn={lsn}", main.branch)).await;
    assert!(
        !with_then.contains("CREATE TABLE public.shop"),
        "{with_then}"
    );
    assert_eq!(diff(&format!("&base_branch_id={}", child.branch)).await, "");

    for (path, status) in [
        (main.at("/schema?db_name=none"), 404),
        (main.at("/schema?db_name=neondb&lsn=x"), 400),
        (main.at("/compare_schema?db_name=neondb"), 400),
    ] {
        assert_eq!(neon.api.get(&path).await.status, status, "{path}");
    }
}
