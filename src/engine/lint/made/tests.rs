//! What touches nobody else, and what seems to.

use crate::engine::{Bundle, SourceFile, lint};

/// What is found in the last file, where it is known that all run together, and where it is not.
fn found(files: &[&str]) -> [Vec<&'static str>; 2] {
    let files: Vec<SourceFile> = files
        .iter()
        .enumerate()
        .map(|(number, sql)| SourceFile {
            name: format!("00{}_a.sql", number + 1),
            bytes: (*sql).into(),
        })
        .collect();
    let names: Vec<String> = files.iter().map(|file| file.name.clone()).collect();
    let bundle = Bundle::compile(files).unwrap();
    [Some(names.as_slice()), None].map(|pending| {
        let all = lint(&bundle, pending).unwrap().into_iter();
        let last = names.last().unwrap();
        let last = all.filter(|lint| lint.diagnostic.file == *last);
        last.map(|lint| lint.rule).collect()
    })
}

#[test]
fn what_the_files_have_made_harms_nobody() {
    for sql in [
        "CREATE INDEX i ON t (a);",
        "ALTER TABLE t ADD CONSTRAINT c CHECK (a > 0);",
        "ALTER TABLE t ADD CONSTRAINT c FOREIGN KEY (a) REFERENCES u (a);",
    ] {
        let quiet: [Vec<&str>; 2] = [vec![], vec![]];
        assert_eq!(found(&["CREATE TABLE t (a int);", sql]), quiet, "{sql}");
        let unsure = "CREATE TABLE IF NOT EXISTS t (a int);";
        assert_eq!(found(&[unsure, sql]), quiet, "{sql}");
        assert_ne!(found(&["CREATE TABLE v (a int);", sql]), quiet, "{sql}");
    }
}

#[test]
fn what_the_files_have_made_is_no_loss() {
    for (sql, rule) in [
        ("DROP TABLE t;", "ban-drop-table"),
        ("TRUNCATE t;", "truncate-table"),
        ("DELETE FROM t;", "delete-without-where"),
        ("UPDATE t SET a = 1;", "update-without-where"),
        ("ALTER TABLE t DROP COLUMN a;", "ban-drop-column"),
        ("ALTER TABLE t RENAME a TO b;", "renaming-column"),
    ] {
        let made = "CREATE TABLE t (a int);";
        let other_file = [vec![], vec![rule]];
        assert_eq!(found(&[made, sql]), other_file, "{sql}");
        let same_file = format!("{made}\n{sql}");
        assert_eq!(found(&[&same_file]), [[""; 0], [""; 0]], "{sql}");
        for not_ours in [
            "CREATE TABLE IF NOT EXISTS t (a int);",
            "CREATE TABLE s.t (a int);",
            "CREATE TABLE \"T\" (a int);",
            "CREATE TEMP TABLE t (a int);",
            "SET search_path = s;\nCREATE TABLE t (a int);",
            "CREATE TABLE t (a int);\nALTER TABLE t ATTACH PARTITION old DEFAULT;",
            "CREATE TABLE t (a int);\nALTER TABLE old INHERIT t;",
            "CREATE TABLE t (a int);\nALTER TABLE t RENAME TO new;\nALTER TABLE old RENAME TO t;",
        ] {
            assert_eq!(
                found(&[not_ours, sql]),
                [[rule], [rule]],
                "{not_ours} {sql}"
            );
        }
    }
    let all = [
        "CREATE SCHEMA s; CREATE TABLE s.t (a int);",
        "DROP SCHEMA s CASCADE;",
    ];
    assert_eq!(found(&all), [vec![], vec!["ban-drop-schema"]]);
    let some = ["CREATE TABLE t (a int);", "DROP TABLE t, u;"];
    assert_eq!(found(&some)[0], ["ban-drop-table"]);
}

#[test]
fn a_new_column_is_filled_without_a_loss() {
    let column = "ALTER TABLE t ADD COLUMN b text;";
    let quiet = [vec![], vec!["update-without-where"]];
    assert_eq!(found(&[column, "UPDATE t SET b = a;"]), quiet);
    let both = found(&[column, "UPDATE t SET b = a, a = '';"]);
    assert_eq!(both[0], ["update-without-where"]);
    let dropped = found(&[column, "ALTER TABLE t DROP COLUMN b, DROP COLUMN a;"]);
    assert_eq!(dropped.map(|rules| rules.len()), [1, 2]);
    let renamed = "ALTER TABLE t DROP COLUMN c;";
    let rename = "ALTER TABLE t ADD COLUMN b text;\nALTER TABLE t RENAME b TO c;";
    assert_eq!(found(&[rename, renamed])[0], [""; 0]);
}
