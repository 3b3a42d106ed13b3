//! What is printed: for programs where a run fails, into pipes that nobody reads, and on terminals that obey what they are shown.

use std::{
    io::{BufRead, BufReader},
    process::Stdio,
};

use serde_json::json;

use crate::{A, C, Checkout, Ran};

#[tokio::test]
async fn a_failure_is_told_to_programs_too() {
    let broken = ("002_b.sql", "SELECT 1;\nSELECT nope FROM a;\n");
    let checkout = Checkout::new(&[A, broken, C]).await;
    let up = checkout.run(&["migrate", "up", "-o", "json"]);
    assert_eq!(up.code, 1, "{up:?}");
    assert!(up.err.contains("002_b.sql:2:8: "), "{up:?}");
    let report = up.json();
    assert_eq!(report["applied"], json!(["001_a.sql"]));
    assert_eq!(report["pending"], 2);
    let error = &report["error"];
    assert_eq!(error["kind"], "Refused");
    assert_eq!(error["version"], "002_b.sql");
    assert_eq!((&error["line"], &error["column"]), (&json!(2), &json!(8)));
    assert_eq!(error["sqlState"], "42703");
    assert!(error["outcome"].as_str().unwrap().contains("rolled back"));

    checkout.write("002_b.sql", "SELEC 2;\n");
    let blocked = checkout.run(&["migrate", "up", "-o", "json"]);
    assert_eq!(blocked.code, 1, "{blocked:?}");
    let report = blocked.json();
    assert_eq!(report["error"]["kind"], "Blocked");
    assert_eq!(report["problems"][0]["version"], "002_b.sql");
    assert!(blocked.err.contains("nothing was applied"), "{blocked:?}");

    // also by commands that have nothing else to report
    let nobody = "postgresql://nobody:hunter2@127.0.0.1:1/app";
    let wrong = checkout
        .url()
        .replace(&checkout.world.database.owner_password, "hunter2");
    for command in ["status", "plan", "up"] {
        let mut command = checkout.command(&["migrate", command, "-o", "json"]);
        let ran = Ran::of(command.env("DATABASE_URL", &wrong).output().unwrap());
        assert_eq!(ran.code, 1, "{ran:?}");
        assert_eq!(ran.json()["error"]["kind"], "Denied", "{ran:?}");
        assert!(
            !ran.out.contains("hunter2") && !ran.err.is_empty(),
            "{ran:?}"
        );
    }
    let mut command = checkout.command(&["migrate", "up", "-o", "json", "--dir", "nowhere"]);
    let wrong = Ran::of(command.env("DATABASE_URL", nobody).output().unwrap());
    assert_eq!((wrong.code, wrong.out.as_str()), (2, ""), "{wrong:?}");
}

#[tokio::test]
async fn a_pipe_that_nobody_reads_ends_no_run() {
    let files: Vec<(String, String)> = (1..40)
        .map(|n| (format!("{n:03}_a.sql"), format!("CREATE TABLE a{n} ();\n")))
        .collect();
    let files: Vec<(&str, &str)> = files
        .iter()
        .map(|(n, t)| (n.as_str(), t.as_str()))
        .collect();
    let checkout = Checkout::new(&files).await;
    // who reads the first line of the progress, or none of the report, goes
    let mut child = checkout
        .command(&["migrate", "up"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let mut line = String::new();
    let mut err = BufReader::new(child.stderr.take().unwrap());
    err.read_line(&mut line).unwrap();
    drop(err);
    assert_eq!(child.wait().unwrap().code(), Some(0), "{line}");
    assert_eq!(checkout.world.versions().await.len(), files.len());
    for arguments in [
        &["migrate", "status"][..],
        &["migrate", "lint", "--report", "sarif"],
        &["completion", "bash"],
        &["crds"],
        &["migrate", "up", "--help"],
    ] {
        let mut command = checkout.command(arguments);
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let ended = child.wait_with_output().unwrap();
        assert_eq!(ended.status.code(), Some(0), "{arguments:?}: {ended:?}");
        assert!(ended.stderr.is_empty(), "{arguments:?}: {ended:?}");
    }
}

#[tokio::test]
async fn nothing_that_is_printed_moves_a_cursor() {
    let says = "DO $$ BEGIN RAISE NOTICE E'\\x1b[2Jgone\\napplied 002_c.sql'; END $$;\n";
    let fails = "DO $$ BEGIN RAISE EXCEPTION E'\\x1b[2J\\u009b31m'; END $$;\n";
    let checkout = Checkout::new(&[("001_a.sql", says), ("002_b.sql", fails)]).await;
    for format in ["table", "json", "yaml"] {
        let up = checkout.run(&["migrate", "up", "-o", format]);
        assert_eq!(up.code, 1, "{up:?}");
        let told = [up.out.as_str(), &up.err].concat();
        assert!(!told.contains(['\u{1b}', '\u{9b}']), "{up:?}");
        assert!(!told.contains("\napplied 002_c.sql"), "{up:?}");
        if format == "table" {
            assert!(up.err.contains("\\u{1b}[2Jgone"), "{up:?}");
        }
    }
    // names of files, of rows in the ledger, and what the linter cites
    checkout
        .world
        .execute("INSERT INTO schema_migrations (version) VALUES (E'000\\x1b[2J\\nx.sql')")
        .await;
    let status = checkout.run(&["migrate", "status"]);
    assert!(status.out.contains("000\\u{1b}[2J"), "{status:?}");
    assert!(!status.out.contains('\u{1b}'), "{status:?}");
    checkout.write("003_\u{202e}\u{9b}x.sql", "SELECT 1;\n");
    checkout.write("004_d.sql", "SELECT '\u{1b}[2J' +;\n");
    for report in [
        &["-o", "table"][..],
        &["-o", "json"],
        &["--report", "github"],
        &["--report", "sarif"],
    ] {
        let lint = checkout.run(&[&["migrate", "lint"], report].concat());
        assert_eq!(lint.code, 1, "{lint:?}");
        let told = [lint.out.as_str(), &lint.err].concat();
        assert!(!told.contains(['\u{1b}', '\u{9b}', '\u{202e}']), "{lint:?}");
    }
}

#[tokio::test]
async fn a_password_in_a_wrong_statement_is_shown_to_nobody() {
    for text in [
        "CREATE ROLE x PASSWORD 'hunter2",
        "CREATE ROLE x PASSWORD hunter2;\n",
        "CREATE ROLE x PASWORD 'hunter2';\n",
        "CREATE ROLE x PASWORD hunter2 SUPERUSER;\n",
        "CREATE SUBSCRIPTION s CONNECTION 'host=h hunter2' PUBLICATION p;\n",
        "CREATE TABLE u (password text UNIQUE);\nINSERT INTO u (password) VALUES ('hunter2'), ('hunter2');\n",
        "DO $$\nBEGIN\n  EXECUTE 'ALTER ROLE nobody PASSWORD ''hunter2'' BOGUS';\nEND $$;\n",
    ] {
        let checkout = Checkout::new(&[("001_a.sql", text)]).await;
        for arguments in [
            &["migrate", "up"][..],
            &["migrate", "up", "-o", "json"],
            &["migrate", "status"],
            &["migrate", "plan", "-o", "json"],
            &["migrate", "lint"],
            &["migrate", "lint", "-o", "json"],
            &["migrate", "lint", "--report", "sarif"],
            &["migrate", "lint", "--report", "github"],
        ] {
            let ran = checkout.run(arguments);
            let told = [ran.out.as_str(), &ran.err].concat();
            assert!(!told.contains("hunter2"), "{text}{arguments:?}: {told}");
            let fails = !arguments.contains(&"lint") && arguments.contains(&"up");
            assert!(!fails || ran.code == 1, "{text}{arguments:?}: {ran:?}");
        }
    }
}
