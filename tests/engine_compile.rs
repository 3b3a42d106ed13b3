//! What the compiler says about files: which run, which do not, where and why.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test says what it expects by failing"
)]

use sepulki::engine::{Bundle, Code, Diagnostic, Diagnostics, MigrationFile, SourceFile, digest};

fn file(name: &str, content: impl AsRef<[u8]>) -> SourceFile {
    SourceFile {
        name: name.into(),
        bytes: content.as_ref().to_vec(),
    }
}

fn findings(content: impl AsRef<[u8]>) -> Diagnostics {
    Bundle::compile(vec![file("001_a.sql", content)])
        .unwrap()
        .findings()
}

/// Code, line and column of each finding.
fn places(content: impl AsRef<[u8]>) -> Vec<(Code, usize, usize)> {
    let place = |d: &Diagnostic| {
        let position = d.position.unwrap();
        (d.code, position.line, position.column)
    };
    findings(content).iter().map(place).collect()
}

#[test]
fn files_that_run() {
    for text in [
        "",
        "-- nothing\n",
        ";;",
        "CREATE TABLE a (id int)",
        "CREATE TABLE a (id int); -- end",
        "\u{feff}SELECT 1;",
        "SELECT 1;\r\nSELECT 2;\r\n",
        "BEGIN; SELECT 1; COMMIT;",
        "SET NAMES 'UTF8';\nset session names\n'utf-8'; SET LOCAL NAMES DEFAULT;",
        "BEGIN; SELECT 1; END",
        "START TRANSACTION ISOLATION LEVEL SERIALIZABLE; SELECT 1; COMMIT;",
        "SET client_min_messages = warning; BEGIN; SELECT 1; COMMIT; RESET client_min_messages;",
        "CREATE EXTENSION IF NOT EXISTS pgcrypto; BEGIN; SELECT 1; COMMIT;",
        "BEGIN; SAVEPOINT a; SELECT 1; ROLLBACK TO a; RELEASE a; COMMIT;",
        "SAVEPOINT a; SELECT 1; ROLLBACK TO SAVEPOINT a;",
        "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE; SELECT 1;",
        "DO $$ BEGIN RAISE NOTICE 'commit'; -- COMMIT;\n END $$;",
        "DO $$ BEGIN SELECT 1 INTO x; IF a THEN NULL; END IF; END $$;",
        "CREATE PROCEDURE p() LANGUAGE plpgsql AS $$ BEGIN COMMIT; END $$;",
        "CREATE PROCEDURE p() LANGUAGE plpgsql AS $$ BEGIN NULL; END $$; CALL p();",
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT 1; SELECT 2; END; SELECT 1;",
        "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $fn$ BEGIN NEW.a := now(); RETURN NEW; END; $fn$;",
        "REFRESH MATERIALIZED VIEW CONCURRENTLY m;",
        "REINDEX (CONCURRENTLY false) TABLE a;",
        "CREATE SCHEMA s; CREATE TABLE s.a (id int);",
        "CREATE UNIQUE INDEX i ON a (b) WHERE c > NOW();",
        "SELECT a[1:2], b::text, '\\n', E'\\n' FROM c;",
        "INSERT INTO t VALUES ('a:b', ':c');",
        "CREATE RULE r AS ON INSERT TO a DO ALSO (DELETE FROM b; DELETE FROM c);",
        "ALTER TYPE e ADD VALUE IF NOT EXISTS 'x';",
        "ALTER TABLE a DETACH PARTITION b FINALIZE;",
        "COPY a FROM '/tmp/file';",
        "COMMENT ON TABLE a IS 'COPY b FROM stdin;';",
        // in segments
        "CREATE TABLE a (b int);\nCREATE INDEX CONCURRENTLY i ON a (b);\nVACUUM a;",
        "BEGIN; SELECT 1; COMMIT;\nBEGIN; SELECT 2; COMMIT;",
        "BEGIN; SELECT 1; COMMIT;\nSELECT 1;",
        "DO $$ BEGIN UPDATE a SET b = 1; COMMIT; END $$;",
        "CREATE PROCEDURE s.Refill() LANGUAGE plpgsql AS $$ BEGIN COMMIT; END $$;\nCALL refill();",
        "ALTER TYPE e ADD VALUE 'x';\nINSERT INTO t VALUES ('x');",
        "CREATE TYPE e AS ENUM ('a');\nALTER TYPE e ADD VALUE 'x';\nINSERT INTO t VALUES ('x');",
        // as pg_dump and people with psql write them
        "\\restrict abc\nSET a.b = '';\nCOPY a (x) FROM stdin;\n1\tx\n2\tit's\n\\.\n\nSELECT 1;\n\\unrestrict abc\n",
        "\\set ON_ERROR_STOP on\r\n\\echo 'it''s\r\nCOPY a FROM STDIN WITH (FORMAT csv);\r\n\"1;2\r\n\\.\r\n",
    ] {
        let found = findings(text);
        assert!(found.is_empty(), "{text}\n{}", found.render());
    }
}

#[test]
fn transactions_that_could_not_be_recorded() {
    use Code::TransactionControl as Control;
    for (text, expected) in [
        ("SELECT 1;\nCOMMIT;\nSELECT 2;", vec![(Control, 2, 1)]),
        ("BEGIN;\nSELECT 1;", vec![(Control, 1, 1)]),
        ("BEGIN;\nSELECT 1;\nROLLBACK;", vec![(Control, 3, 1)]),
        ("SELECT 1;\n  ABORT;", vec![(Control, 2, 3)]),
        ("BEGIN;\nBEGIN;\nCOMMIT;", vec![(Control, 2, 1)]),
        ("BEGIN; COMMIT; COMMIT;", vec![(Control, 1, 16)]),
        (
            "BEGIN;\nCOMMIT AND CHAIN;\nCOMMIT;",
            vec![(Control, 2, 1), (Control, 3, 1)],
        ),
        (
            "BEGIN;\nPREPARE TRANSACTION 'x';",
            vec![(Control, 1, 1), (Control, 2, 1)],
        ),
        ("BEGIN READ ONLY;\nCOMMIT;", vec![(Control, 1, 1)]),
        ("SAVEPOINT a;\nBEGIN;\nCOMMIT;", vec![(Control, 1, 1)]),
        (
            "BEGIN;\nDO $$\nBEGIN\n  UPDATE a SET b = 'ü'; COMMIT;\nEND $$;\nCOMMIT;",
            vec![(Control, 4, 25)],
        ),
        (
            "BEGIN; DO 'BEGIN COMMIT; END'; COMMIT;",
            vec![(Control, 1, 18)],
        ),
        (
            "BEGIN;\nALTER TYPE e ADD VALUE 'x';\nINSERT INTO t VALUES ('x');\nCOMMIT;",
            vec![(Control, 3, 1)],
        ),
    ] {
        assert_eq!(places(text), expected, "{text}");
    }
}

#[test]
fn a_procedure_of_an_earlier_file_is_known() {
    let bundle = Bundle::compile(vec![
        file("002_b.sql", "BEGIN;\nCALL \"P\"();\nCOMMIT;"),
        file(
            "001_a.sql",
            "CREATE PROCEDURE \"P\"() LANGUAGE plpgsql AS $$ BEGIN COMMIT; END $$;",
        ),
        file(
            "003_c.sql",
            "CREATE OR REPLACE PROCEDURE \"P\"() LANGUAGE plpgsql AS $$ BEGIN END $$; BEGIN; CALL \"P\"(); COMMIT;",
        ),
    ]);
    let findings = bundle.unwrap().findings();
    assert_eq!(findings.len(), 1);
    assert!(
        findings
            .first()
            .unwrap()
            .to_string()
            .starts_with("002_b.sql:2:1: ")
    );
}

#[test]
fn statements_that_refuse_a_transaction_are_named_where_they_stand_in_one() {
    let found =
        findings("BEGIN;\nCREATE INDEX CONCURRENTLY i ON a (b);\nVACUUM a;\nCOMMIT;\nDISCARD ALL;");
    let texts: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert_eq!(texts.len(), 3);
    assert!(
        texts[0].starts_with(
            "001_a.sql:2:1: CREATE INDEX CONCURRENTLY cannot run inside a transaction"
        )
    );
    assert!(texts[1].starts_with("001_a.sql:3:1: VACUUM cannot run"));
    assert!(texts[2].starts_with("001_a.sql:5:1: DISCARD ALL would give away the lock"));
    assert!(
        found
            .iter()
            .all(|d| d.code == Code::NeedsAutocommit && d.hint.is_some())
    );
}

#[test]
fn settings_with_which_the_server_would_read_files_otherwise_are_refused() {
    let found = findings(
        "CREATE TABLE a (b text);\nSET client_encoding = 'LATIN1';\nSET standard_conforming_strings = off;",
    );
    let texts: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert_eq!(texts.len(), 2, "{texts:?}");
    assert!(texts[0].starts_with("001_a.sql:2:1: files are read as UTF-8"));
    assert!(texts[1].starts_with("001_a.sql:3:1: files are read as UTF-8"));
    assert!(
        found
            .iter()
            .all(|d| d.code == Code::ReadsOtherwise && d.hint.is_some())
    );
    // as pg_dump writes them
    let dump = "SET client_encoding = 'UTF8';\nSET standard_conforming_strings = on;\nCREATE TABLE a (b text);";
    assert!(findings(dump).is_empty());
}

#[test]
fn what_only_psql_understands() {
    use Code::{CopyData, PsqlCommand, Syntax};
    for (text, expected) in [
        ("COPY a TO STDOUT;", vec![(CopyData, 1, 1)]),
        (
            "COPY a FROM stdin; SELECT 1;\n1\n\\.\n",
            vec![(CopyData, 1, 20)],
        ),
        (
            "\\set ON_ERROR_STOP off\nSELECT 1;\n\\connect x\n",
            vec![(PsqlCommand, 1, 1), (PsqlCommand, 3, 1)],
        ),
        ("SELECT 1 \\gexec\n", vec![(PsqlCommand, 1, 10)]),
        ("\\i other.sql", vec![(PsqlCommand, 1, 1)]),
        ("SELECT :'name';", vec![(Syntax, 1, 8)]),
        ("SELECT * FROM :tab;", vec![(Syntax, 1, 15)]),
    ] {
        assert_eq!(places(text), expected, "{text}");
    }
    let variable = findings("SELECT :'name';");
    assert!(
        variable
            .to_string()
            .contains(":'name' is a variable of psql"),
        "{variable}"
    );
}

#[test]
fn the_way_back_is_not_run_behind_the_way_forward() {
    use Code::Backward;
    let forward = "-- +goose Up\nCREATE TABLE a (i int);\n";
    for (text, expected) in [
        ("-- +goose Down\nDROP TABLE a;\n", vec![(Backward, 3, 1)]),
        ("\n-- migrate:down\nDROP TABLE a", vec![(Backward, 4, 1)]),
        ("-- +goose StatementBegin\nSELECT 1;\n", vec![]),
        // as dbmate makes the file
        ("-- migrate:down\n\n", vec![]),
        ("DO $$ BEGIN\n-- migrate:down\nEND $$;\n", vec![]),
    ] {
        let files = vec![file("001_a.sql", format!("{forward}{text}"))];
        let bundle = Bundle::compile(files).unwrap();
        let found = bundle.findings();
        let found: Vec<_> = found
            .iter()
            .map(|d| (d.code, d.position.unwrap()))
            .collect();
        let found: Vec<_> = found
            .iter()
            .map(|(c, at)| (*c, at.line, at.column))
            .collect();
        assert_eq!(found, expected, "{text}");
    }
    let files = vec![
        file("001_a.up.sql", "CREATE TABLE a (i int);"),
        file("001_a.down.sql", "DROP TABLE a;"),
    ];
    let bundle = Bundle::compile(files).unwrap();
    let found: Vec<_> = bundle
        .findings()
        .iter()
        .map(|d| (d.code, d.file.clone()))
        .collect();
    assert_eq!(found, [(Backward, "001_a.down.sql".to_owned())]);
    // its number is no trouble of the other one's
    assert!(bundle.same_numbers().is_empty());
}

#[test]
fn syntax_errors_have_line_column_and_the_line() {
    use Code::Syntax;
    assert_eq!(places("SELECT 1;\nSELEC 1;")[0], (Syntax, 2, 1));
    assert_eq!(places("SELECT 'unterminated\n")[0], (Syntax, 1, 8));
    assert_eq!(places("DO $$ BEGIN\n")[0], (Syntax, 1, 4));
    assert_eq!(places("/* SELECT 1;")[0], (Syntax, 1, 1));
    assert_eq!(places("SELECT \"a;")[0], (Syntax, 1, 8));
    let found = findings("-- ü\r\nCREATE TABLE t (id int,,b int);\r\n");
    let first = found.first().unwrap();
    let position = first.position.unwrap();
    assert_eq!((position.line, position.column), (2, 24));
    assert!(
        first
            .render()
            .contains(" 2 | CREATE TABLE t (id int,,b int);\n"),
        "{}",
        first.render()
    );
    assert!(
        first.render().contains("\n   |                        ^"),
        "{}",
        first.render()
    );
}

#[test]
fn statements_swallowed_by_the_parser_are_noticed() {
    for text in [
        "CREATE SCHEMA s CREATE TABLE t (id int); CREATE VIEW v AS SELECT 1; SELECT 1;",
        "CREATE SCHEMA s CREATE TABLE t (id int);\nCREATE TABLE u (id int);\nCOMMIT;",
    ] {
        let found = findings(text);
        assert_eq!(
            found.first().map(|d| d.code),
            Some(Code::UncertainBoundary),
            "{text}"
        );
    }
}

#[test]
fn texts_that_could_hurt_the_parser() {
    let deep = format!("SELECT {}1{};", "(".repeat(20_000), ")".repeat(20_000));
    assert_eq!(places(deep)[0].0, Code::TooDeep);
    let long = format!("SELECT 1{};", " + 1".repeat(100_000));
    assert_eq!(places(long)[0].0, Code::TooDeep);
    let rows = format!(
        "INSERT INTO a VALUES (1, 'x'){};",
        ", (-1, 'a' || 'b')".repeat(20_000)
    );
    assert!(findings(rows).is_empty());
}

#[test]
fn bytes_that_are_no_text() {
    for (bytes, code, words) in [
        (
            b"SELECT 1;\nSELECT '\xfc';".as_slice(),
            Code::NotText,
            "line 2",
        ),
        (b"SELECT '\0';", Code::NotText, "NUL"),
        (&vec![b' '; (8 << 20) + 1], Code::TooLarge, "8 MiB"),
    ] {
        let found = findings(bytes);
        let first = found.first().unwrap();
        assert_eq!(first.code, code);
        assert!(first.message.contains(words), "{first}");
    }
}

#[test]
fn sets_that_cannot_be_ordered_or_told_apart() {
    for (names, code, words) in [
        (&["001_a.sql", "001_a.sql"][..], Code::Duplicate, "twice"),
        (&["001_a.sql", "001_A.sql"], Code::Duplicate, "001_A.sql"),
        (&["001_a.sql", "001_a"], Code::Duplicate, "001_a"),
        (
            &["9_a.sql", "10_b.sql"],
            Code::AmbiguousOrder,
            "by name 10_b.sql runs before 9_a.sql",
        ),
        (&[""], Code::InvalidName, "without a name"),
        (&["a\nb.sql"], Code::InvalidName, "control"),
        (&["../a.sql"], Code::InvalidName, "path"),
    ] {
        let files = names.iter().map(|name| file(name, "SELECT 1;")).collect();
        let found = Bundle::compile(files).unwrap_err();
        assert_eq!(found.first().map(|d| d.code), Some(code), "{names:?}");
        assert!(found.to_string().contains(words), "{found}");
    }
    let long = Bundle::compile(vec![file(&"x".repeat(256), "")]).unwrap_err();
    assert_eq!(long.first().map(|d| d.code), Some(Code::InvalidName));
}

#[test]
fn files_run_in_byte_order_whatever_order_they_come_in() {
    let names = ["b.sql", "B.txt", "001 with space.sql", "a.sql", "ü.sql"];
    let files = names.iter().map(|name| file(name, "")).collect();
    let bundle = Bundle::compile(files).unwrap();
    let order: Vec<&str> = bundle.files().iter().map(MigrationFile::version).collect();
    assert_eq!(
        order,
        ["001 with space.sql", "B.txt", "a.sql", "b.sql", "ü.sql"]
    );
}

#[test]
fn the_digest_is_that_of_sha256sum() {
    // printf 'a\n' >001.sql; printf 'b\n' >002.sql; sha256sum *.sql | sha256sum
    let files = vec![file("002.sql", "b\n"), file("001.sql", "a\n")];
    let expected = "sha256:652bafa7026fa53e440381e54a1f3122038414cdebf98b0f0941bed4a3c7bb66";
    assert_eq!(digest(&files), expected);
    assert_eq!(Bundle::compile(files).unwrap().digest(), expected);
}
