//! The PostgreSQL helper: what tests of the migration engine rely on.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

use sqlx::{
    Connection, Executor, PgConnection, Row,
    postgres::{PgConnectOptions, PgSslMode},
};
use testkit::Postgres;

async fn connect(options: &PgConnectOptions) -> PgConnection {
    PgConnection::connect_with(options).await.unwrap()
}

#[tokio::test]
async fn the_owner_has_a_database_of_its_own_over_tls() {
    let database = Postgres::shared().await.unwrap().database().await.unwrap();
    let mut connection = connect(&database.owner_options()).await;
    connection.execute("CREATE TABLE t (a int)").await.unwrap();
    let row = connection
        .fetch_one(
            "SELECT current_user::text, current_database()::text, ssl, rolsuper
             FROM pg_stat_ssl, pg_roles WHERE pid = pg_backend_pid() AND rolname = current_user",
        )
        .await
        .unwrap();
    assert_eq!(row.get::<String, _>(0), database.owner);
    assert_eq!(row.get::<String, _>(1), database.name);
    assert!(row.get::<bool, _>(2), "the connection uses TLS");
    assert!(!row.get::<bool, _>(3), "the owner is no superuser");
}

#[tokio::test]
async fn two_databases_do_not_see_each_other() {
    let server = Postgres::shared().await.unwrap();
    let (one, two) = (
        server.database().await.unwrap(),
        server.database().await.unwrap(),
    );
    connect(&one.owner_options())
        .await
        .execute("CREATE TABLE t (a int)")
        .await
        .unwrap();
    let error = connect(&two.owner_options())
        .await
        .execute("SELECT * FROM t")
        .await
        .unwrap_err();
    assert!(error.to_string().contains("does not exist"), "{error}");
}

#[tokio::test]
async fn tcp_needs_tls_and_the_password() {
    let server = Postgres::shared().await.unwrap();
    let database = server.database().await.unwrap();
    let plain = database.owner_options().ssl_mode(PgSslMode::Disable);
    assert!(PgConnection::connect_with(&plain).await.is_err(), "no TLS");
    let wrong = database.owner_options().password("wrong");
    assert!(
        PgConnection::connect_with(&wrong).await.is_err(),
        "wrong password"
    );
    assert!(
        server
            .log()
            .unwrap()
            .contains("password authentication failed")
    );
}

#[tokio::test]
async fn the_url_works_for_psql() {
    let server = Postgres::shared().await.unwrap();
    let database = server.database().await.unwrap();
    let output = std::process::Command::new("psql")
        .args([&database.url(), "-XAtc", "SELECT 1 + 1"])
        .env("PGSSLROOTCERT", &server.ca_file)
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(
        String::from_utf8_lossy(&output.stdout).trim(),
        "2",
        "{error}"
    );
}

#[tokio::test]
async fn a_dropped_server_is_gone() {
    let server = Postgres::start().await.unwrap();
    let (dir, options) = (
        server.socket_dir.clone(),
        server.superuser_options("postgres"),
    );
    connect(&options).await.close().await.unwrap();
    drop(server);
    assert!(PgConnection::connect_with(&options).await.is_err());
    assert!(!dir.exists());
}

#[tokio::test]
async fn the_newest_version_comes_whichever_are_installed() {
    let server = Postgres::start_newest().await.unwrap();
    assert!(server.version.starts_with("18."), "{}", server.version);
    let database = server.database().await.unwrap();
    let mut connection = connect(&database.owner_options()).await;
    let row = connection
        .fetch_one(
            "SELECT current_setting('server_version_num')::int / 10000, ssl
             FROM pg_stat_ssl WHERE pid = pg_backend_pid()",
        )
        .await
        .unwrap();
    assert_eq!(row.get::<i32, _>(0), 18);
    assert!(row.get::<bool, _>(1), "the connection uses TLS");
    // of contrib, as on Neon
    connection
        .execute("CREATE EXTENSION pgcrypto; CREATE EXTENSION pg_trgm; CREATE EXTENSION btree_gist")
        .await
        .unwrap();
}
