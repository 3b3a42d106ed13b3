//! What the engine remembers beside the ledger, and what it hears while files run, on real
//! PostgreSQL.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test says what it expects by failing"
)]

mod engine_support;

use engine_support::{Told, World, bundle, documented};
use sepulki::engine::{
    Edit, Plan, ProblemKind,
    run::{Notice, Progress, RunError, apply, mark},
};

const TABLE: (&str, &str) = ("001_a.sql", "CREATE TABLE a (b int);");
const ROW: (&str, &str) = ("002_b.sql", "INSERT INTO a VALUES (1);");
const PARTS: (&str, &str) = ("003_c.sql", "INSERT INTO a VALUES (2);\nVACUUM a;\n");

const SUM: &str = "SELECT sum(b) FROM a";

/// Runs and expects the plan to be in the way.
async fn blocked(world: &World, files: &[(&str, &str)]) -> Plan {
    match world.run(files).await {
        Err(RunError::Blocked(plan)) => *plan,
        other => panic!("expected a plan that blocks, got {other:?}"),
    }
}

#[tokio::test]
async fn a_file_whose_row_was_deleted_by_hand_is_not_run_again_unasked() {
    let world = World::new().await;
    let files = [TABLE, ROW, PARTS];
    world.run(&files).await.unwrap();
    world
        .execute("DELETE FROM schema_migrations WHERE version > '002'")
        .await;
    let plan = blocked(&world, &files).await;
    let told: Vec<String> = plan.blocking().map(ToString::to_string).collect();
    assert_eq!(told.len(), 2);
    for (told, version) in told.iter().zip(["002_b.sql", "003_c.sql"]) {
        let first = format!("{version} has been applied, but its row is gone from the ledger");
        assert!(told.starts_with(&first), "{told}");
        documented(
            told,
            "has been applied, but its row is gone from the ledger",
        );
        assert!(told.contains(&format!("mark {version}")), "{told}");
    }
    assert_eq!(world.one(SUM).await, "3");

    // either it is put back, or forgotten
    let request = world.request(&bundle(&files));
    mark(request, &["002_b.sql".to_owned()], |_| {})
        .await
        .unwrap();
    world
        .execute("DELETE FROM sepulki_engine.applied WHERE version = '003_c.sql'")
        .await;
    let report = world.run(&files).await.unwrap();
    assert_eq!(report.applied, ["003_c.sql"]);
    assert_eq!(world.one(SUM).await, "5");
    assert!(report.plan.problems.is_empty(), "{:?}", report.plan);
}

#[tokio::test]
async fn an_edit_of_comments_and_formatting_is_told_apart_from_one_of_content() {
    let world = World::new().await;
    let before = "CREATE TABLE a (b int);\nCOPY a FROM stdin;\n1\n\\.\n";
    world.run(&[("001_a.sql", before)]).await.unwrap();
    let edit = async |text: &str| {
        let plan = blocked(&world, &[("001_a.sql", text)]).await;
        let problem = plan.problems.into_iter().next().unwrap();
        let ProblemKind::Drifted { edit, .. } = problem.kind else {
            panic!("{problem:?}");
        };
        (edit, problem.to_string())
    };
    let reformatted = "-- why\ncreate table A (\n  b int\n);\nCOPY a FROM stdin;\n1\n\\.\n";
    let (kind, told) = edit(reformatted).await;
    assert_eq!(kind, Edit::Form);
    assert!(
        told.contains("only comments or formatting changed"),
        "{told}"
    );
    for text in [
        before.replace("int", "bigint"),
        before.replace("1\n", "2\n"),
        "SELECT '".to_owned(),
    ] {
        let (kind, told) = edit(&text).await;
        assert_eq!(kind, Edit::Content, "{text}");
        assert!(!told.contains("comments"), "{told}");
    }
    // a row of another tool
    world.execute("DELETE FROM sepulki_engine.applied").await;
    let (kind, told) = edit(reformatted).await;
    assert_eq!(kind, Edit::Unknown);
    assert!(told.contains("is not known"), "{told}");
}

#[tokio::test]
async fn a_ledger_that_is_made_anew_begins_without_memories() {
    let world = World::new().await;
    world.run(&[TABLE, ROW]).await.unwrap();
    world.execute("DROP TABLE a, schema_migrations").await;
    let report = world.run(&[TABLE]).await.unwrap();
    assert_eq!(report.applied, ["001_a.sql"]);
    let report = world.run(&[TABLE, ROW]).await.unwrap();
    assert_eq!(report.applied, ["002_b.sql"]);
}

#[tokio::test]
async fn a_role_that_may_make_no_schema_goes_without_a_memory() {
    let world = World::new().await;
    let (database, owner) = (&world.database.name, &world.database.owner);
    world
        .execute(&format!(
            "REVOKE CREATE ON DATABASE \"{database}\" FROM \"{owner}\", PUBLIC"
        ))
        .await;
    world.run(&[TABLE]).await.unwrap();
    world.run(&[TABLE, ROW]).await.unwrap();
    assert_eq!(world.versions().await, ["001_a.sql", "002_b.sql"]);
    let schema = "SELECT to_regnamespace('sepulki_engine') IS NULL";
    assert_eq!(world.one(schema).await, "true");
}

#[tokio::test]
async fn what_the_server_says_is_told_with_the_file() {
    let world = World::new().await;
    let files = bundle(&[
        (
            "001_a.sql",
            "DO $$ BEGIN RAISE NOTICE 'moved % rows', 3; RAISE WARNING 'one is left'; END $$;",
        ),
        (
            "002_b.sql",
            "CREATE TABLE IF NOT EXISTS schema_migrations ();\nVACUUM schema_migrations;\nDO $$ BEGIN RAISE NOTICE 'last words'; RAISE 'no'; END $$;",
        ),
    ]);
    let told = Told::default();
    let ended = apply(world.request(&files), told.sink()).await;
    assert!(matches!(ended, Err(RunError::Failed(_))), "{ended:?}");
    let said: Vec<String> = told.all().iter().filter_map(words).collect();
    assert_eq!(
        said,
        [
            "001_a.sql false moved 3 rows",
            "001_a.sql true one is left",
            "001_a.sql",
            "002_b.sql false relation \"schema_migrations\" already exists, skipping",
            "002_b.sql false last words",
        ]
    );
}

fn words(progress: &Progress) -> Option<String> {
    if let Progress::Applied { version } = progress {
        return Some(version.clone());
    }
    let Progress::Said { version, notice } = progress else {
        return None;
    };
    let Notice { is_warning, text } = notice;
    Some(format!("{version} {is_warning} {text}"))
}
