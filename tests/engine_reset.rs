//! Emptying a database: everything that files can have made goes, nothing else does, and not where
//! the operator has said that it must not.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test says what it expects by failing"
)]

mod engine_support;

use std::time::Duration;

use engine_support::World;
use sepulki::engine::{
    LedgerName, Protection,
    run::{Inspection, ResetRequest, RunError, Timeouts, inspect, reset},
};

/// One of everything that lives in a schema, and things that hold each other.
const FILES: [(&str, &str); 3] = [
    (
        "001_all.sql",
        "CREATE EXTENSION pg_trgm;
         CREATE TYPE mood AS ENUM ('good', 'bad');
         CREATE TYPE pair AS (a int, b mood);
         CREATE TYPE span AS RANGE (subtype = int);
         CREATE DOMAIN small AS int CHECK (value < 10);
         CREATE SEQUENCE numbers;
         CREATE TABLE a (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, s serial, m mood, p pair, d small, r span);
         CREATE TABLE b (a int REFERENCES a, n int DEFAULT nextval('numbers'));
         CREATE TABLE parts (id int) PARTITION BY RANGE (id);
         CREATE TABLE part PARTITION OF parts FOR VALUES FROM (0) TO (10);
         CREATE STATISTICS both_of (dependencies) ON a, n FROM b;
         CREATE VIEW v AS SELECT * FROM a JOIN b ON b.a = a.id;
         CREATE MATERIALIZED VIEW mv AS SELECT * FROM v;
         CREATE FUNCTION f(x a) RETURNS a LANGUAGE sql AS 'SELECT x';
         CREATE PROCEDURE pr() LANGUAGE sql AS 'SELECT 1';
         CREATE AGGREGATE total (int) (SFUNC = int4pl, STYPE = int);
         CREATE OPERATOR === (LEFTARG = int, RIGHTARG = int, FUNCTION = int4eq);
         CREATE COLLATION plain (LOCALE = 'C');
         CREATE TEXT SEARCH CONFIGURATION words (COPY = simple);
         CREATE SCHEMA other; CREATE TABLE other.c (m public.mood);
         CREATE SCHEMA trig; CREATE EXTENSION pgcrypto SCHEMA trig; CREATE TABLE trig.d ();",
    ),
    (
        "002_index.sql",
        "CREATE INDEX CONCURRENTLY b_a ON b (a);",
    ),
    ("003_last.sql", "CREATE TABLE \"odd \"\"name\" ();"),
];

/// What is not the system's own and not the engine's.
const LEFT: &str = "SELECT coalesce(string_agg(what, ', ' ORDER BY what), '') FROM (\
    SELECT c.oid::regclass::text AS what, c.relnamespace AS s, 'pg_class'::regclass AS class, c.oid FROM pg_class c \
    UNION ALL SELECT t.oid::regtype::text, t.typnamespace, 'pg_type'::regclass, t.oid FROM pg_type t \
    UNION ALL SELECT p.oid::regprocedure::text, p.pronamespace, 'pg_proc'::regclass, p.oid FROM pg_proc p \
    UNION ALL SELECT o.oid::regoperator::text, o.oprnamespace, 'pg_operator'::regclass, o.oid FROM pg_operator o \
    UNION ALL SELECT c.collname, c.collnamespace, 'pg_collation'::regclass, c.oid FROM pg_collation c \
    UNION ALL SELECT c.cfgname, c.cfgnamespace, 'pg_ts_config'::regclass, c.oid FROM pg_ts_config c \
    UNION ALL SELECT c.stxname, c.stxnamespace, 'pg_statistic_ext'::regclass, c.oid FROM pg_statistic_ext c) o \
    JOIN pg_namespace n ON n.oid = s AND n.nspname !~ '^pg_|^information_schema$|^sepulki_engine$' \
    WHERE NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = class AND d.objid = o.oid AND d.deptype IN ('e', 'i') AND d.refobjid <> o.oid)";
const SCHEMAS: &str = "SELECT string_agg(nspname, ',' ORDER BY nspname) FROM pg_namespace WHERE nspname !~ '^pg_|^information_schema$'";

fn request(world: &World) -> ResetRequest {
    ResetRequest {
        target: world.target(),
        ledger: LedgerName::default(),
        holder: "test".into(),
        timeouts: Timeouts {
            connect: Duration::from_secs(20),
            other_run: Duration::ZERO,
            lock: Duration::from_millis(300),
            ..Timeouts::default()
        },
    }
}

async fn say(world: &World, environment: &str, is_protected: bool) {
    let protection = Protection {
        environment: environment.into(),
        is_protected,
    };
    let inspection = Inspection {
        target: &world.target(),
        ledger: &LedgerName::default(),
        holder: "test",
        connect: Duration::from_secs(20),
        protection: Some(&protection),
    };
    inspect(inspection).await.unwrap();
}

#[tokio::test]
async fn everything_that_files_made_goes_and_comes_again() {
    let world = World::new().await;
    world.run(&FILES).await.unwrap();
    let emptied = reset(&request(&world), |_| {}).await.unwrap();
    assert!(emptied.dropped > 10, "{emptied:?}");
    assert_eq!(
        emptied.left,
        ["extension pg_trgm", "extension pgcrypto", "schema trig"]
    );
    assert_eq!(world.one(LEFT).await, "");
    assert_eq!(world.one(SCHEMAS).await, "public,sepulki_engine,trig");
    let extensions = "SELECT string_agg(extname, ',' ORDER BY extname) FROM pg_extension";
    assert_eq!(world.one(extensions).await, "pg_trgm,pgcrypto,plpgsql");
    // an extension and the schema it lives in are not made anew
    let text = FILES[0]
        .1
        .replace("CREATE EXTENSION", "CREATE EXTENSION IF NOT EXISTS")
        .replace("CREATE SCHEMA trig", "CREATE SCHEMA IF NOT EXISTS trig");
    let again = [("001_all.sql", text.as_str()), FILES[1], FILES[2]];
    let report = world.run(&again).await.unwrap();
    assert_eq!(report.applied.len(), 3);
}

#[tokio::test]
async fn a_file_that_came_half_way_is_forgotten_too() {
    let world = World::new().await;
    let half = [(
        "001_half.sql",
        "CREATE TABLE a ();\nCREATE INDEX CONCURRENTLY a_b ON a (nope);",
    )];
    world.fails(&half).await;
    let notes = "SELECT count(*) FROM sepulki_engine.journal";
    assert_eq!(world.one(notes).await, "1");
    reset(&request(&world), |_| {}).await.unwrap();
    assert_eq!(world.one(notes).await, "0");
    let whole = [("001_half.sql", "CREATE TABLE a (nope int);")];
    world.run(&whole).await.unwrap();
}

#[tokio::test]
async fn what_the_operator_has_marked_is_not_emptied() {
    let world = World::new().await;
    world.run(&FILES[2..]).await.unwrap();
    for (environment, is_protected, told) in [
        ("production", false, "marked it as production"),
        ("staging", true, "marked it as protected (staging)"),
    ] {
        say(&world, environment, is_protected).await;
        let refused = reset(&request(&world), |_| {}).await.unwrap_err();
        assert!(
            matches!(&refused, RunError::Unsupported(text) if text.contains(told)),
            "{refused:?}"
        );
        assert_eq!(world.versions().await, ["003_last.sql"]);
    }
    // a branch of it that is something else says so as soon as the operator looks at it
    say(&world, "preview", false).await;
    reset(&request(&world), |_| {}).await.unwrap();
    let said = "SELECT environment || is_protected FROM sepulki_engine.protection";
    assert_eq!(world.one(said).await, "previewfalse");
}

#[tokio::test]
async fn roles_of_applications_cannot_touch_the_mark() {
    let world = World::new().await;
    let (owner, name) = (&world.database.owner, &world.database.name);
    world
        .execute(&format!("CREATE ROLE {name}_app; ALTER DEFAULT PRIVILEGES FOR ROLE {owner} GRANT ALL ON TABLES TO {name}_app"))
        .await;
    say(&world, "production", true).await;
    let mut session = world.superuser().await;
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!("SET ROLE {name}_app")))
        .execute(&mut session)
        .await
        .unwrap();
    for sql in [
        "SELECT * FROM sepulki_engine.protection",
        "DELETE FROM sepulki_engine.protection",
    ] {
        let error = sqlx::raw_sql(sql).execute(&mut session).await.unwrap_err();
        let code = error.as_database_error().unwrap().code().unwrap();
        assert_eq!(code, "42501", "{sql}");
    }
}

#[tokio::test]
async fn what_is_not_ours_or_in_use_keeps_everything() {
    let world = World::new().await;
    world.run(&FILES[2..]).await.unwrap();
    let locked = {
        let mut reader = world.superuser().await;
        sqlx::raw_sql("BEGIN; LOCK \"odd \"\"name\" IN ACCESS SHARE MODE")
            .execute(&mut reader)
            .await
            .unwrap();
        reset(&request(&world), |_| {}).await.unwrap_err()
    };
    assert!(matches!(locked, RunError::Transient(_)), "{locked:?}");
    world
        .execute("CREATE TABLE public.theirs (); CREATE SCHEMA theirs; CREATE TABLE theirs.t ()")
        .await;
    let emptied = reset(&request(&world), |_| {}).await.unwrap();
    assert_eq!(world.one(LEFT).await, "theirs, theirs.t");
    assert_eq!(
        emptied.left,
        ["schema theirs", "table public.theirs", "table theirs.t"]
    );
}

#[tokio::test]
async fn what_belongs_to_others_and_would_go_along_keeps_everything() {
    let world = World::new().await;
    let files = [(
        "001_a.sql",
        "CREATE SCHEMA mine; CREATE TABLE mine.a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY); \
         CREATE SEQUENCE numbers;",
    )];
    world.run(&files).await.unwrap();
    let names = format!("{}_other", world.database.name);
    world
        .execute(&format!(
            "CREATE ROLE {names}; CREATE SCHEMA theirs AUTHORIZATION {names}; \
             CREATE TABLE mine.theirs (id serial PRIMARY KEY); ALTER TABLE mine.theirs OWNER TO {names}; \
             CREATE VIEW theirs.v AS SELECT * FROM b; ALTER VIEW theirs.v OWNER TO {names}; \
             CREATE TABLE theirs.t (b int CONSTRAINT points REFERENCES b, n int DEFAULT nextval('numbers')); \
             ALTER TABLE theirs.t OWNER TO {names}"
        ))
        .await;
    let refused = reset(&request(&world), |_| {}).await.unwrap_err();
    let RunError::Unsupported(told) = &refused else {
        panic!("{refused:?}");
    };
    for what in [
        "default value for theirs.t.n",
        "table constraint points on theirs.t",
        "table mine.theirs",
        "view theirs.v",
    ] {
        let whose = format!("{what}, which is of {names}");
        assert!(told.contains(&whose), "no {whose} in {told}");
    }
    assert_eq!(told.matches("which is of").count(), 4, "{told}");
    assert_eq!(world.one("SELECT count(*) FROM mine.a").await, "0");
    assert_eq!(world.versions().await, ["001_a.sql"]);
    // as it is told
    let owner = &world.database.owner;
    world.execute(&format!("GRANT {names} TO {owner}")).await;
    reset(&request(&world), |_| {}).await.unwrap();
    assert_eq!(world.one(LEFT).await, "");
}

#[tokio::test]
async fn what_lives_in_no_schema_goes_too() {
    let world = World::new().await;
    let (owner, name) = (&world.database.owner, &world.database.name);
    world
        .execute(&format!(
            "CREATE EXTENSION postgres_fdw; GRANT USAGE ON FOREIGN DATA WRAPPER postgres_fdw TO {owner}; \
             GRANT CREATE ON DATABASE {name} TO {owner}; CREATE SERVER theirs FOREIGN DATA WRAPPER postgres_fdw"
        ))
        .await;
    let files = [(
        "001_a.sql",
        "CREATE TABLE a (id int); CREATE PUBLICATION p FOR TABLE a; \
         CREATE SERVER s FOREIGN DATA WRAPPER postgres_fdw; CREATE USER MAPPING FOR CURRENT_USER SERVER s; \
         CREATE FOREIGN TABLE f (id int) SERVER s; SELECT lo_create(0);",
    )];
    world.run(&files).await.unwrap();
    let emptied = reset(&request(&world), |_| {}).await.unwrap();
    assert_eq!(emptied.left, ["extension postgres_fdw", "server theirs"]);
    let rest = "SELECT (SELECT count(*) FROM pg_publication) + (SELECT count(*) FROM pg_largeobject_metadata) \
                + (SELECT count(*) FROM pg_user_mapping)";
    assert_eq!(world.one(rest).await, "0");
    world.run(&files).await.unwrap();
}

#[tokio::test]
async fn a_subscription_with_a_slot_elsewhere_is_not_torn_off() {
    let world = World::new().await;
    world.run(&FILES[2..]).await.unwrap();
    let owner = &world.database.owner;
    // before PostgreSQL 16 only a superuser may have one
    world
        .execute(&format!(
            "ALTER ROLE {owner} SUPERUSER; CREATE SUBSCRIPTION s CONNECTION 'dbname=nowhere' PUBLICATION p WITH (connect = false); \
             ALTER SUBSCRIPTION s OWNER TO {owner}"
        ))
        .await;
    let refused = reset(&request(&world), |_| {}).await.unwrap_err();
    assert!(
        matches!(&refused, RunError::Unsupported(told) if told.contains("subscription s, whose slot is on another server")),
        "{refused:?}"
    );
    assert_eq!(world.versions().await, ["003_last.sql"]);
    world
        .execute("ALTER SUBSCRIPTION s SET (slot_name = NONE)")
        .await;
    reset(&request(&world), |_| {}).await.unwrap();
    let rest = "SELECT count(*) FROM pg_subscription WHERE subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())";
    assert_eq!(world.one(rest).await, "0");
}
