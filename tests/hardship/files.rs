//! Files that cannot be applied.

use anyhow::ensure;
use serde_json::json;

use crate::manifests::{config_map, config_maps, inline, ledger, migration};
use crate::scene::{Scene, stalled, tells};

const GOOD: (&str, &str) = ("001_good.sql", "CREATE TABLE good (id int);");

#[tokio::test]
async fn a_syntax_error_is_told_with_its_place_and_its_line() -> anyhow::Result<()> {
    let scene = Scene::new().await?;
    let bad = "-- orders\nCREATE TABLE bad (\n  id int,\n  name text NOT NULL DEFALT 'x'\n);";
    let before = scene.world().await?;
    let source = |sql| inline(&[GOOD, ("002_bad.sql", sql)]);
    scene.apply(&[migration("typo", source(bad))]).await?;
    let typo = scene.tenant.migration("typo");
    let parts = [
        "002_bad.sql:4:22: syntax error at or near \"DEFALT\"",
        " 4 |   name text NOT NULL DEFALT ………",
        "^^^^^^",
    ];
    let object = stalled(&typo, "InvalidMigration", &parts).await?;
    ensure!(
        object.condition("Planned").0 == "False",
        "{}",
        object.summary()
    );
    let error = object.at("/status/lastError");
    ensure!(error["version"] == "002_bad.sql", "{error}");
    ensure!(error["line"] == 4 && error["column"] == 22, "{error}");
    tells(error["message"].as_str().unwrap_or_default(), &parts)?;
    // the whole bundle is looked at before anything runs: the good file waits, too
    ensure!(scene.world().await? == before, "something was changed");
    scene.others_go_on().await?;

    let good = bad.replace("DEFALT", "DEFAULT");
    scene.apply(&[migration("typo", source(&good))]).await?;
    let object = typo.ready().await?;
    ensure!(object.at("/status/lastError").is_null(), "still told");
    ensure!(
        scene.versions(&ledger("typo")).await? == ["001_good.sql", "002_bad.sql"],
        "not applied"
    );
    Ok(())
}

/// The third statement fails; the first two worked.
const HALF: &str = "CREATE TABLE half (id int);\nINSERT INTO half VALUES (1);\nINSERT INTO halve VALUES (2);\nCREATE TABLE other_half (id int);";

#[tokio::test]
async fn a_file_that_fails_half_way_leaves_nothing_and_works_once_corrected() -> anyhow::Result<()>
{
    let scene = Scene::new().await?;
    let source = |sql| inline(&[GOOD, ("002_half.sql", sql)]);
    scene.apply(&[migration("half", inline(&[GOOD]))]).await?;
    let half = scene.tenant.migration("half");
    half.ready().await?;
    let before = scene.world().await?;

    scene.apply(&[migration("half", source(HALF))]).await?;
    let parts = [
        "002_half.sql:3:13: relation \"halve\" does not exist (SQLSTATE 42P01)",
        " 3 | INSERT INTO halve VALUES (…);",
        "rolled back",
        "tried again when the files, the spec or the NeonDatabase change",
    ];
    let object = stalled(&half, "MigrationFailed", &parts).await?;
    let (_, _, planned) = object.condition("Planned");
    ensure!(planned == "1 file pending", "{}", object.summary());
    ensure!(
        object.text("/status/progressText") == "1/2",
        "{}",
        object.summary()
    );
    let error = object.at("/status/lastError");
    ensure!(error["sqlState"] == "42P01", "{error}");
    ensure!(error["line"] == 3 && error["column"] == 13, "{error}");
    ensure!(scene.world().await? == before, "something was left behind");
    scene.others_go_on().await?;

    let corrected = HALF.replace("halve", "half");
    scene
        .apply(&[migration("half", source(&corrected))])
        .await?;
    let object = half.ready().await?;
    ensure!(object.at("/status/lastError").is_null(), "still told");
    ensure!(
        object.text("/status/progressText") == "2/2",
        "{}",
        object.summary()
    );
    ensure!(
        scene.ask("SELECT id::text FROM half").await? == ["1", "2"],
        "not once"
    );
    Ok(())
}

#[tokio::test]
async fn a_failed_file_works_once_its_config_map_is_corrected() -> anyhow::Result<()> {
    let scene = Scene::new().await?;
    let corrected = HALF.replace("halve", "half");
    scene
        .apply(&[
            config_map("bundle-1", &[("001_half.sql", HALF)]),
            migration("maps", config_maps(&["bundle-1"])),
        ])
        .await?;
    let maps = scene.tenant.migration("maps");
    stalled(&maps, "MigrationFailed", &["001_half.sql:3:13"]).await?;
    ensure!(
        scene.versions(&ledger("maps")).await?.is_empty(),
        "a row is there"
    );

    // the same ConfigMap, edited: the object's own generation stays
    scene
        .apply(&[config_map("bundle-1", &[("001_half.sql", &corrected)])])
        .await?;
    maps.ready().await?;
    ensure!(
        scene.ask("SELECT id::text FROM half").await? == ["1", "2"],
        "not once"
    );

    // a second file fails, and is corrected by a ConfigMap of another name
    let more = "CREATE TABLE more (id int);\nSELECT 1 / (SELECT count(*) FROM more);";
    let bundle = |name: &str, sql: &str| {
        config_map(name, &[("001_half.sql", &corrected), ("002_more.sql", sql)])
    };
    scene
        .apply(&[
            bundle("bundle-2", more),
            migration("maps", config_maps(&["bundle-2"])),
        ])
        .await?;
    stalled(
        &maps,
        "MigrationFailed",
        &["002_more.sql:2:1: division by zero (SQLSTATE 22012)"],
    )
    .await?;
    scene
        .apply(&[
            bundle("bundle-3", &more.replace("1 /", "1 +")),
            migration("maps", config_maps(&["bundle-3"])),
        ])
        .await?;
    maps.ready().await?;
    ensure!(
        scene.versions(&ledger("maps")).await? == ["001_half.sql", "002_more.sql"],
        "not applied"
    );
    Ok(())
}

#[tokio::test]
async fn a_file_that_commits_behind_the_runners_back_is_refused() -> anyhow::Result<()> {
    let scene = Scene::new().await?;
    scene
        .run("CREATE PROCEDURE batch() LANGUAGE plpgsql AS $$ BEGIN COMMIT; END $$")
        .await?;
    // name, file, reason, what is told
    let cases: [(&str, &str, &str, &[&str]); 6] = [
        (
            "commits-plainly",
            "CREATE TABLE t (id int);\nCOMMIT;\nCREATE TABLE u (id int);",
            "InvalidMigration",
            &[
                "001_c.sql:2:1: COMMIT without a BEGIN",
                " 2 | COMMIT;",
                "hint: remove it",
            ],
        ),
        (
            "commits-in-a-block",
            "BEGIN;\nCREATE TABLE t (id int);\nDO $$ BEGIN COMMIT; END $$;\nCOMMIT;",
            "InvalidMigration",
            &[
                "001_c.sql:3:13: this commits or rolls back",
                "hint: move the statement",
            ],
        ),
        (
            "commits-by-text",
            "CREATE TABLE t (id int);\nDO $$ BEGIN EXECUTE 'COM' || 'MIT'; END $$;",
            "MigrationFailed",
            &[
                "001_c.sql:2:",
                "SQLSTATE 0A000",
                "hint: remove what commits",
                "rolled back",
            ],
        ),
        (
            "commits-in-its-procedure",
            "BEGIN;\nCREATE PROCEDURE p() LANGUAGE plpgsql AS $$ BEGIN COMMIT; END $$;\nCALL p();\nCOMMIT;",
            "InvalidMigration",
            &[
                "001_c.sql:3:1: this commits or rolls back",
                " 3 | CALL p();",
            ],
        ),
        (
            "commits-in-a-procedure",
            "CREATE TABLE t (id int);\nCALL batch();",
            "MigrationFailed",
            &[
                "001_c.sql:2:1: invalid transaction termination",
                "one transaction",
                "hint: remove COMMIT",
                "rolled back",
            ],
        ),
        (
            "commits-in-its-own-block",
            "BEGIN;\nCREATE TABLE t (id int);\nCALL batch();\nCREATE TABLE u (id int);\nCOMMIT;",
            "MigrationFailed",
            &[
                "001_c.sql:3:1: invalid transaction termination",
                "rolled back",
            ],
        ),
    ];
    let objects: Vec<_> = cases
        .iter()
        .map(|(name, sql, ..)| migration(name, inline(&[("001_c.sql", sql)])))
        .collect();
    scene.apply(&objects).await?;
    for (name, _, reason, parts) in cases {
        stalled(&scene.tenant.migration(name), reason, parts).await?;
    }
    let world = scene.world().await?;
    for left in ["r t", "r u", "f p"] {
        ensure!(!world.catalog.contains(left), "{left} was left behind");
    }
    let rows: Vec<_> = world
        .catalog
        .iter()
        .filter(|line| line.contains("001_c"))
        .collect();
    ensure!(rows.is_empty(), "recorded: {rows:?}");
    scene.others_go_on().await?;

    let corrected = inline(&[("001_c.sql", "CREATE TABLE t (id int);")]);
    scene
        .apply(&[migration("commits-by-text", corrected)])
        .await?;
    scene.tenant.migration("commits-by-text").ready().await?;
    Ok(())
}

#[tokio::test]
async fn two_files_of_one_version_are_refused() -> anyhow::Result<()> {
    let scene = Scene::new().await?;
    let before = scene.world().await?;
    let twice = |a, b| {
        inline(&[
            (a, "CREATE TABLE a (id int)"),
            (b, "CREATE TABLE b (id int)"),
        ])
    };
    scene
        .apply(&[
            migration("same-but-for-case", twice("001_a.sql", "001_A.sql")),
            migration("same-number", twice("001_a.sql", "001_b.sql")),
            config_map("one", &[("001_a.sql", "CREATE TABLE a (id int)")]),
            config_map("two", &[("001_a.sql", "CREATE TABLE b (id int)")]),
            migration("same-key", config_maps(&["one", "two"])),
        ])
        .await?;
    let cases: [(&str, &[&str]); 3] = [
        (
            "same-but-for-case",
            &[
                "001_a.sql",
                "the same version as 001_A.sql",
                "rename or remove one",
            ],
        ),
        (
            "same-number",
            &[
                "001_b.sql",
                "the same number as 001_a.sql",
                "give it its own number",
            ],
        ),
        (
            "same-key",
            &[
                "001_a.sql is in both ConfigMaps one and two",
                "remove it from one of them",
            ],
        ),
    ];
    for (name, parts) in cases {
        stalled(&scene.tenant.migration(name), "InvalidMigration", parts).await?;
    }
    // one key twice in an inline list does not even get past the API server
    let refused = scene
        .apply(&[migration("same-entry", twice("001_a.sql", "001_a.sql"))])
        .await
        .unwrap_err();
    tells(&format!("{refused:#}"), &["001_a.sql"])?;
    ensure!(scene.world().await? == before, "something was changed");
    scene.others_go_on().await?;

    scene
        .apply(&[config_map(
            "two",
            &[("002_b.sql", "CREATE TABLE b (id int)")],
        )])
        .await?;
    scene.tenant.migration("same-key").ready().await?;
    Ok(())
}

#[tokio::test]
async fn what_cannot_run_in_a_transaction_runs_alone_and_is_refused_inside_of_one()
-> anyhow::Result<()> {
    let scene = Scene::new().await?;
    let before = scene.world().await?;
    let inside = [
        GOOD,
        (
            "002_index.sql",
            "BEGIN;\nCREATE INDEX CONCURRENTLY i ON good (id);\nCOMMIT;",
        ),
    ];
    scene
        .apply(&[migration("concurrently", inline(&inside))])
        .await?;
    let concurrently = scene.tenant.migration("concurrently");
    let parts = [
        "002_index.sql:2:1: CREATE INDEX CONCURRENTLY cannot run inside a transaction",
        "hint: move it in front of BEGIN",
    ];
    stalled(&concurrently, "InvalidMigration", &parts).await?;
    ensure!(scene.world().await? == before, "something was changed");
    // as far as the file before it: it is not looked at
    concurrently
        .patch(json!({ "spec": { "target": { "version": "001_good.sql" } } }))
        .await?;
    concurrently.ready().await?;

    let alone = [
        GOOD,
        ("002_index.sql", "CREATE INDEX CONCURRENTLY i ON good (id);"),
    ];
    scene
        .apply(&[migration("concurrently", inline(&alone))])
        .await?;
    concurrently
        .patch(json!({ "spec": { "target": null } }))
        .await?;
    concurrently.ready().await?;
    let valid = "SELECT indisvalid::text FROM pg_index WHERE indexrelid = 'i'::regclass";
    ensure!(scene.ask(valid).await? == ["true"], "no index");
    Ok(())
}
