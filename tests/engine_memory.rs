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
async fn without_its_ledger_nothing_is_applied_again_unasked() {
    let files = [TABLE, ROW, PARTS];
    for loss in [
        "DROP TABLE schema_migrations",
        "ALTER TABLE schema_migrations RENAME TO old",
        "CREATE SCHEMA ops; ALTER TABLE schema_migrations SET SCHEMA ops",
        "TRUNCATE schema_migrations",
    ] {
        let world = World::new().await;
        world.run(&files).await.unwrap();
        world.execute(loss).await;
        let plan = blocked(&world, &files).await;
        let told: Vec<String> = plan.blocking().map(ToString::to_string).collect();
        assert_eq!(told.len(), 1, "{loss}: {told:?}");
        let is = if loss.starts_with("TRUNCATE") {
            "empty"
        } else {
            "gone"
        };
        documented(&told[0], "but this engine has applied 3 files by it");
        assert!(
            told[0].starts_with(&format!("the ledger public.schema_migrations is {is}")),
            "{told:?}"
        );
        assert_eq!(world.one(SUM).await, "3", "{loss}");
        // the rows are lost for good: the files are recorded anew
        let request = world.request(&bundle(&files));
        let all = files.map(|(name, _)| name.to_owned());
        mark(request, &all, |_| {}).await.unwrap();
        assert_eq!(world.run(&files).await.unwrap().applied.len(), 0);
    }
}

#[tokio::test]
async fn a_database_that_was_emptied_by_hand_begins_anew_once_that_is_said() {
    let world = World::new().await;
    world.run(&[TABLE, ROW]).await.unwrap();
    world.execute("DROP TABLE a, schema_migrations").await;
    let plan = blocked(&world, &[TABLE, ROW]).await;
    let told = plan.blocking().next().unwrap().to_string();
    // as it is told
    let (_, sql) = told.split_once("forget that: `").unwrap();
    let forget = sql.strip_suffix('`').unwrap();
    world.execute(forget).await;
    let report = world.run(&[TABLE, ROW]).await.unwrap();
    assert_eq!(report.applied.len(), 2);
}

#[tokio::test]
async fn of_a_file_that_was_begun_nothing_is_forgotten_with_the_ledger() {
    let world = World::new().await;
    let half = (
        "001_half.sql",
        "CREATE TABLE a ();\nCREATE INDEX CONCURRENTLY a_b ON a (nope);",
    );
    world.fails(&[half]).await;
    world.execute("DROP TABLE schema_migrations").await;
    let plan = blocked(&world, &[half]).await;
    let told = plan.blocking().next().unwrap().to_string();
    assert!(told.contains("has begun 001_half.sql"), "{told}");
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

#[tokio::test]
async fn a_role_that_cannot_see_what_is_applied_is_refused_with_the_grants() {
    let world = World::new().await;
    let files = [TABLE, ROW];
    world.run(&files).await.unwrap();
    let (database, owner) = (&world.database.name, &world.database.owner);
    let second = format!("{database}_second");
    world
        .execute(&format!(
            "CREATE ROLE {second} LOGIN PASSWORD 'x'; GRANT ALL ON SCHEMA public TO {second}; \
             GRANT CREATE ON DATABASE \"{database}\" TO {second}"
        ))
        .await;
    let mut request = world.request(&bundle(&[TABLE, ROW, ("003_c.sql", "CREATE TABLE c ();")]));
    request.target.user = second;
    request.target.password = "x".into();
    let mut denied = Vec::new();
    // as they are told, one after the other
    let report = loop {
        let told = match apply(request.clone(), |_| {}).await {
            Ok(report) => break report,
            Err(RunError::Denied(told)) => told,
            other => panic!("{other:?}"),
        };
        documented(&told, "the role lacks rights, so that what is applied");
        let (_, grants) = told.split_once('`').unwrap();
        let (grants, _) = grants.split_once('`').unwrap();
        world
            .execute(&format!("SET ROLE \"{owner}\"; {grants}"))
            .await;
        denied.push(told);
        assert!(denied.len() < 4, "{denied:?}");
    };
    assert_eq!(denied.len(), 2, "{denied:?}");
    assert!(denied[0].contains("cannot be read"), "{denied:?}");
    for right in [
        "GRANT USAGE ON SCHEMA sepulki_engine TO",
        "GRANT SELECT ON sepulki_engine.applied TO",
        "GRANT SELECT ON public.schema_migrations TO",
    ] {
        assert!(denied[0].contains(right), "{denied:?}");
    }
    assert!(denied[1].contains("cannot be recorded"), "{denied:?}");
    assert_eq!(report.applied, ["003_c.sql"]);
}

#[tokio::test]
async fn columns_that_need_nothing_do_no_harm_to_a_ledger() {
    let world = World::new().await;
    world.run(&[TABLE]).await.unwrap();
    world
        .execute(
            "ALTER TABLE schema_migrations ADD note text, ADD by name NOT NULL DEFAULT current_user, \
             ADD n bigint GENERATED ALWAYS AS IDENTITY",
        )
        .await;
    let report = world.run(&[TABLE, ROW]).await.unwrap();
    assert_eq!(report.applied, ["002_b.sql"]);
    world
        .execute("ALTER TABLE schema_migrations ALTER by DROP DEFAULT")
        .await;
    let refused = world.run(&[TABLE, ROW, PARTS]).await.unwrap_err();
    assert!(
        matches!(&refused, RunError::LedgerConflict(text) if text.contains("a column by without which")),
        "{refused:?}"
    );
}
