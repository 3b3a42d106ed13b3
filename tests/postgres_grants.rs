//! What a role of the spec can and cannot do in a database, on a real server.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod postgres_support;

use postgres_support::{Branch, grant, nothing_left, refused, sqlstate, unique, works};
use sepulki::postgres::{
    Class,
    grants::{self, Access, GrantOutcome},
    lock::Key,
};
use sqlx::{AssertSqlSafe, Executor, PgConnection, Row};

/// A table with a sequence, a view, and a ledger with a row.
const SCHEMA: &str = "
    CREATE TABLE robots (id serial PRIMARY KEY, name text);
    INSERT INTO robots (name) VALUES ('one');
    CREATE VIEW names AS SELECT name FROM robots;
    CREATE TABLE schema_migrations (version varchar(255) PRIMARY KEY,
        applied_at timestamptz DEFAULT now(), checksum varchar(64));
    INSERT INTO schema_migrations (version) VALUES ('001')";

/// What migrations run in the transaction that makes the ledger.
const PROTECT_LEDGER: &str = "DO $$ DECLARE r record; BEGIN
    FOR r IN SELECT DISTINCT quote_ident(pg_get_userbyid(a.grantee)) w
        FROM pg_class c, aclexplode(c.relacl) a WHERE c.oid = 'public.schema_migrations'::regclass
        AND a.grantee <> c.relowner AND a.privilege_type <> 'SELECT'
    LOOP EXECUTE format('REVOKE ALL ON public.schema_migrations FROM %s', r.w);
         EXECUTE format('GRANT SELECT ON public.schema_migrations TO %s', r.w); END LOOP; END $$";

const DDL: [&str; 6] = [
    "CREATE TABLE mine (a int)",
    "CREATE SCHEMA mine",
    "CREATE FUNCTION mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "ALTER TABLE robots ADD COLUMN a int",
    "CREATE INDEX ON robots (name)",
    "DROP TABLE robots",
];

const LEDGER_WRITES: [&str; 4] = [
    "INSERT INTO schema_migrations (version) VALUES ('002')",
    "UPDATE schema_migrations SET checksum = ''",
    "DELETE FROM schema_migrations",
    "TRUNCATE schema_migrations",
];

async fn with_schema() -> Branch {
    let branch = Branch::shared().await;
    branch.owner().await.execute(SCHEMA).await.unwrap();
    branch
}

#[tokio::test]
async fn read_only_reads_and_does_nothing_else() {
    let branch = with_schema().await;
    let mut app = branch
        .application(&unique("reader"), Access::ReadOnly)
        .await;
    works(
        &mut app,
        &[
            "SELECT * FROM robots",
            "SELECT * FROM names",
            "SELECT * FROM schema_migrations",
            "SELECT last_value FROM robots_id_seq",
        ],
    )
    .await;
    refused(
        &mut app,
        &[
            "INSERT INTO robots (name) VALUES ('two')",
            "UPDATE robots SET name = 'two'",
            "DELETE FROM robots",
            "TRUNCATE robots",
            "SELECT nextval('robots_id_seq')",
            "CREATE TEMPORARY TABLE t (a int)",
        ],
    )
    .await;
    refused(&mut app, &DDL).await;
    refused(&mut app, &LEDGER_WRITES).await;
}

#[tokio::test]
async fn read_write_changes_rows_but_neither_tables_nor_the_ledger() {
    let branch = with_schema().await;
    let mut app = branch.application(&unique("app"), Access::ReadWrite).await;
    works(
        &mut app,
        &[
            "INSERT INTO robots (name) VALUES ('two')",
            "SELECT nextval('robots_id_seq')",
            "UPDATE robots SET name = 'three'",
            "DELETE FROM robots",
            "CREATE TEMPORARY TABLE t (a int)",
            "SELECT * FROM schema_migrations",
        ],
    )
    .await;
    refused(
        &mut app,
        &["TRUNCATE robots", "SELECT setval('robots_id_seq', 1)"],
    )
    .await;
    refused(&mut app, &DDL).await;
    refused(&mut app, &LEDGER_WRITES).await;
}

#[tokio::test]
async fn admin_has_all_rights_on_data_and_no_ddl() {
    let branch = with_schema().await;
    let mut app = branch.application(&unique("admin"), Access::Admin).await;
    works(
        &mut app,
        &[
            "INSERT INTO robots (name) VALUES ('two')",
            "TRUNCATE robots",
            "SELECT setval('robots_id_seq', 7)",
        ],
    )
    .await;
    refused(&mut app, &DDL).await;
    refused(&mut app, &LEDGER_WRITES).await;
    // A trigger would run with the rights of the owner at the next migration that writes there.
    works(
        &mut app,
        &["CREATE FUNCTION pg_temp.f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'"],
    )
    .await;
    refused(
        &mut app,
        &["CREATE TRIGGER t BEFORE INSERT ON robots FOR EACH ROW EXECUTE FUNCTION pg_temp.f()"],
    )
    .await;
}

#[tokio::test]
async fn tables_of_later_migrations_are_covered_and_the_ledger_stays_protected() {
    let branch = Branch::shared().await;
    let mut reader = branch
        .application(&unique("reader"), Access::ReadOnly)
        .await;
    let mut app = branch.application(&unique("app"), Access::ReadWrite).await;
    let mut owner = branch.owner().await;
    owner
        .execute(AssertSqlSafe(format!(
            "BEGIN; {SCHEMA}; {PROTECT_LEDGER}; COMMIT"
        )))
        .await
        .unwrap();
    works(
        &mut app,
        &[
            "INSERT INTO robots (name) VALUES ('two')",
            "SELECT * FROM names",
            "SELECT * FROM schema_migrations",
        ],
    )
    .await;
    works(&mut reader, &["SELECT * FROM robots"]).await;
    refused(&mut reader, &["INSERT INTO robots (name) VALUES ('x')"]).await;
    refused(&mut app, &LEDGER_WRITES).await;
    refused(&mut reader, &LEDGER_WRITES).await;
}

#[tokio::test]
async fn a_role_of_one_database_cannot_enter_another() {
    let branch = Branch::shared().await;
    let group = unique("app");
    let login = branch.login(&group).await;
    let other = unique("other");
    branch.make_database(&other).await;
    let mut there = branch
        .session_in(&branch.owner, &branch.password, &other)
        .await
        .unwrap();

    // PUBLIC lets it in, and that is told.
    let outcome = grants::refuse(&mut there, &group).await.unwrap();
    let entry = GrantOutcome::Done {
        not_granted: Vec::new(),
        not_revoked: vec![format!("CONNECT on DATABASE {other}")],
        missing_schemas: Vec::new(),
    };
    assert_eq!(outcome, entry);

    grants::close_to_public(&mut there).await.unwrap();
    let outcome = grants::refuse(&mut there, &group).await;
    assert_eq!(outcome, Ok(nothing_left()));
    let error = branch
        .session_in(&login, &branch.password, &other)
        .await
        .unwrap_err();
    assert_eq!(error.sqlstate(), Some("42501"), "{error}");

    // Listed, it enters; no longer listed, it does not, and nothing of it is left behind.
    there.execute(SCHEMA).await.unwrap();
    let outcome = grants::apply(&mut there, &grant(&group, Access::ReadWrite)).await;
    assert_eq!(outcome, Ok(nothing_left()));
    let mut app = branch
        .session_in(&login, &branch.password, &other)
        .await
        .unwrap();
    works(&mut app, &["SELECT * FROM robots"]).await;
    let outcome = grants::refuse(&mut there, &group).await;
    assert_eq!(outcome, Ok(nothing_left()));
    refused(&mut app, &["SELECT * FROM robots"]).await;
    let error = branch
        .session_in(&login, &branch.password, &other)
        .await
        .unwrap_err();
    assert_eq!(error.sqlstate(), Some("42501"), "{error}");
    there.execute("CREATE TABLE later (a int)").await.unwrap();
    refused(&mut app, &["SELECT * FROM later"]).await;
}

#[tokio::test]
async fn a_narrower_access_takes_rights_away() {
    let branch = with_schema().await;
    let group = unique("app");
    let mut app = branch.application(&group, Access::Admin).await;
    let mut owner = branch.owner().await;
    let outcome = grants::apply(&mut owner, &grant(&group, Access::ReadOnly)).await;
    assert_eq!(outcome, Ok(nothing_left()));
    owner.execute("CREATE TABLE later (a int)").await.unwrap();
    works(&mut app, &["SELECT * FROM robots", "SELECT * FROM later"]).await;
    refused(
        &mut app,
        &[
            "INSERT INTO robots (name) VALUES ('two')",
            "INSERT INTO later VALUES (1)",
            "TRUNCATE robots",
            "SELECT nextval('robots_id_seq')",
            "CREATE TEMPORARY TABLE t (a int)",
        ],
    )
    .await;
}

#[tokio::test]
async fn what_belongs_to_somebody_else_is_reported() {
    let branch = with_schema().await;
    let (group, other) = (unique("app"), unique("api"));
    branch.api_role(&other, "x").await;
    branch
        .as_superuser(&format!(
            "CREATE TABLE \"their Table\" (a int); ALTER TABLE \"their Table\" OWNER TO {other};
             GRANT DELETE ON robots TO PUBLIC"
        ))
        .await;
    branch.login(&group).await;
    let mut owner = branch.owner().await;
    let outcome = grants::apply(&mut owner, &grant(&group, Access::ReadOnly)).await;
    let expected = GrantOutcome::Done {
        not_granted: vec!["SELECT on TABLE public.\"their Table\"".to_owned()],
        not_revoked: vec!["DELETE on TABLE public.robots".to_owned()],
        missing_schemas: Vec::new(),
    };
    assert_eq!(outcome, Ok(expected));
}

#[tokio::test]
async fn objects_of_extensions_are_left_alone() {
    let branch = Branch::shared().await;
    branch.as_superuser("CREATE EXTENSION pg_buffercache").await;
    let mut app = branch.application(&unique("app"), Access::ReadWrite).await;
    assert_eq!(
        sqlstate(&mut app, "SELECT * FROM pg_buffercache").await,
        "42501"
    );
}

#[tokio::test]
async fn grants_never_wait_for_a_migration() {
    let branch = with_schema().await;
    let group = unique("app");
    branch.login(&group).await;
    let mut owner = branch.owner().await;
    let mut migration = branch.owner().await;
    let lock = format!("SELECT {}", Key::database().try_shared_for_session());
    migration.execute(AssertSqlSafe(lock)).await.unwrap();
    let before = catalog(&mut owner).await;
    let wanted = grant(&group, Access::ReadWrite);
    let outcome = grants::apply(&mut owner, &wanted).await;
    assert_eq!(outcome, Ok(GrantOutcome::Busy));
    let outcome = grants::refuse(&mut owner, &group).await;
    assert_eq!(outcome, Ok(GrantOutcome::Busy));
    assert_eq!(catalog(&mut owner).await, before);

    migration
        .execute("SELECT pg_advisory_unlock_all()")
        .await
        .unwrap();
    let outcome = grants::apply(&mut owner, &wanted).await;
    assert_eq!(outcome, Ok(nothing_left()));
}

#[tokio::test]
async fn a_second_run_writes_nothing() {
    let branch = with_schema().await;
    let group = unique("app");
    branch.login(&group).await;
    let mut owner = branch.owner().await;
    for access in [Access::ReadOnly, Access::ReadWrite, Access::Admin] {
        let wanted = grant(&group, access);
        grants::close_to_public(&mut owner).await.unwrap();
        grants::apply(&mut owner, &wanted).await.unwrap();
        let first = catalog(&mut owner).await;
        grants::close_to_public(&mut owner).await.unwrap();
        grants::apply(&mut owner, &wanted).await.unwrap();
        assert_eq!(catalog(&mut owner).await, first, "{access:?}");
    }
}

#[tokio::test]
async fn names_that_are_not_there_and_sessions_of_others_are_refused() {
    let branch = with_schema().await;
    let group = unique("app");
    branch.login(&group).await;
    let mut owner = branch.owner().await;
    let before = catalog(&mut owner).await;
    // `public` would be everybody.
    for name in ["public", "nobody"] {
        let wanted = grant(name, Access::ReadWrite);
        let error = grants::apply(&mut owner, &wanted).await.unwrap_err();
        assert_eq!(error.class, Class::Invalid, "{error}");
        assert!(error.to_string().contains("does not exist"), "{error}");
    }
    let other = unique("api");
    branch.api_role(&other, "x").await;
    let mut other = branch.session(&other, "x").await;
    let error = grants::apply(&mut other, &grant(&group, Access::ReadWrite))
        .await
        .unwrap_err();
    assert_eq!(error.class, Class::Denied, "{error}");
    let error = grants::close_to_public(&mut other).await.unwrap_err();
    assert_eq!(error.class, Class::Denied, "{error}");
    assert_eq!(catalog(&mut owner).await, before);
}

#[tokio::test]
async fn each_schema_is_covered_now_and_later_and_let_go_of_again() {
    let branch = with_schema().await;
    let mut owner = branch.owner().await;
    owner
        .execute(
            "CREATE SCHEMA \"odd Schema\"; CREATE TABLE \"odd Schema\".t (a int);
             CREATE SCHEMA other; CREATE TABLE other.t (a int)",
        )
        .await
        .unwrap();
    let group = unique("app");
    let mut app = branch.application(&group, Access::ReadWrite).await;
    let mut wanted = grant(&group, Access::ReadWrite);
    let schemas = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
    wanted.schemas = schemas(&["odd Schema", "public"]);
    assert_eq!(grants::apply(&mut owner, &wanted).await, Ok(nothing_left()));
    owner
        .execute("CREATE TABLE \"odd Schema\".later (a serial)")
        .await
        .unwrap();
    works(
        &mut app,
        &[
            "INSERT INTO \"odd Schema\".t VALUES (1)",
            "INSERT INTO \"odd Schema\".later DEFAULT VALUES",
            "DELETE FROM robots",
        ],
    )
    .await;
    refused(&mut app, &["SELECT * FROM other.t"]).await;

    // what somebody else granted in a schema that was never listed is theirs
    owner
        .execute(AssertSqlSafe(format!(
            "GRANT USAGE ON SCHEMA other TO {group}; GRANT SELECT ON other.t TO {group}"
        )))
        .await
        .unwrap();
    wanted.schemas = schemas(&["public"]);
    assert_eq!(grants::apply(&mut owner, &wanted).await, Ok(nothing_left()));
    owner
        .execute("CREATE TABLE \"odd Schema\".latest (a int)")
        .await
        .unwrap();
    refused(
        &mut app,
        &[
            "SELECT * FROM \"odd Schema\".t",
            "SELECT * FROM \"odd Schema\".latest",
        ],
    )
    .await;
    works(&mut app, &["SELECT * FROM other.t", "SELECT * FROM robots"]).await;
    let left = owner
        .fetch_all(
            "SELECT FROM pg_default_acl WHERE defaclnamespace = '\"odd Schema\"'::regnamespace",
        )
        .await
        .unwrap();
    assert_eq!(left.len(), 0, "nothing is left of it");
}

#[tokio::test]
async fn a_schema_that_is_missing_is_told_and_keeps_nothing_else_back() {
    let branch = with_schema().await;
    let group = unique("app");
    let mut app = branch.application(&group, Access::ReadOnly).await;
    let mut owner = branch.owner().await;
    let mut wanted = grant(&group, Access::ReadOnly);
    wanted.schemas = vec!["reports".to_owned(), "public".to_owned()];
    let told = GrantOutcome::Done {
        not_granted: Vec::new(),
        not_revoked: Vec::new(),
        missing_schemas: vec!["reports".to_owned()],
    };
    assert_eq!(grants::apply(&mut owner, &wanted).await, Ok(told.clone()));
    works(&mut app, &["SELECT * FROM robots"]).await;
    wanted.schemas = vec!["reports".to_owned()];
    assert_eq!(grants::apply(&mut owner, &wanted).await, Ok(told));
    works(&mut app, &["SELECT 1"]).await;

    owner
        .execute("CREATE SCHEMA reports; CREATE TABLE reports.t (a int)")
        .await
        .unwrap();
    assert_eq!(grants::apply(&mut owner, &wanted).await, Ok(nothing_left()));
    works(&mut app, &["SELECT * FROM reports.t"]).await;
    refused(&mut app, &["SELECT * FROM robots"]).await;
}

#[tokio::test]
async fn a_schema_of_somebody_else_is_reported() {
    let branch = with_schema().await;
    let (group, other) = (unique("app"), unique("api"));
    branch.api_role(&other, "x").await;
    branch
        .as_superuser(&format!("CREATE SCHEMA theirs AUTHORIZATION {other}"))
        .await;
    branch.login(&group).await;
    let mut owner = branch.owner().await;
    let mut wanted = grant(&group, Access::ReadOnly);
    wanted.schemas = vec!["theirs".to_owned()];
    let expected = GrantOutcome::Done {
        not_granted: vec!["USAGE on SCHEMA theirs".to_owned()],
        not_revoked: Vec::new(),
        missing_schemas: Vec::new(),
    };
    assert_eq!(grants::apply(&mut owner, &wanted).await, Ok(expected));
}

/// Every catalog row of this database that granting could write, with the transaction that wrote it.
async fn catalog(connection: &mut PgConnection) -> Vec<String> {
    connection
        .fetch_all(
            "SELECT r FROM (
                SELECT format('%s %s %s', xmin, datname, datacl) FROM pg_database
                    WHERE datname = current_database()
                UNION ALL SELECT format('%s %s %s', xmin, nspname, nspacl) FROM pg_namespace
                    WHERE nspname = 'public'
                UNION ALL SELECT format('%s %s %s', xmin, oid, relacl) FROM pg_class
                    WHERE relnamespace = 'public'::regnamespace
                UNION ALL SELECT format('%s %s', xmin, d) FROM pg_default_acl d
            ) t (r) ORDER BY r",
        )
        .await
        .unwrap()
        .iter()
        .map(|row| row.get(0))
        .collect()
}
