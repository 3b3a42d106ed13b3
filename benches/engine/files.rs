//! The files: what migrations are made of, in the form that each runner wants.

use std::path::Path;

use sepulki::engine::SourceFile;

/// Table, comment, index, rows, function.
pub(crate) fn body(n: usize) -> String {
    match n % 5 {
        0 => format!(
            "CREATE TABLE t{n} (id int PRIMARY KEY, a text);\nCOMMENT ON TABLE t{n} IS 'x';\n"
        ),
        1 => format!("ALTER TABLE t{} ADD COLUMN b int DEFAULT 1;\n", n - 1),
        2 => format!("CREATE INDEX ON t{} (a);\n", n - 2),
        3 => format!(
            "INSERT INTO t{0} SELECT g, 'x' FROM generate_series(1, 10) g;\nUPDATE t{0} SET a = 'y';\n",
            n - 3
        ),
        _ => format!(
            "CREATE FUNCTION f{n}() RETURNS int LANGUAGE sql AS $$ SELECT 1 $$;\nALTER TABLE t{} ALTER b SET DEFAULT 2;\n",
            n - 4
        ),
    }
}

pub(crate) fn sources(count: usize) -> Vec<SourceFile> {
    let file = |n| SourceFile {
        name: format!("{n:04}.sql"),
        bytes: body(n).into_bytes(),
    };
    (0..count).map(file).collect()
}

/// One script in which each migration is a transaction with its row: the best that can be done with psql.
pub(crate) fn script(count: usize) -> String {
    let ledger = "CREATE TABLE schema_migrations (version varchar(255) PRIMARY KEY, applied_at timestamptz DEFAULT now(), checksum varchar(64));\n";
    let file = |n| {
        format!(
            "BEGIN;\n{}INSERT INTO schema_migrations VALUES ('{n:04}.sql', now(), '{}');\nCOMMIT;\n",
            body(n),
            "0".repeat(64)
        )
    };
    ledger.to_owned() + &(0..count).map(file).collect::<String>()
}

/// Writes the files into a folder under the names that a tool wants, in its frame.
pub(crate) fn write(
    folder: &Path,
    count: usize,
    name: fn(usize) -> String,
    [head, tail]: [&str; 2],
) {
    for n in 0..count {
        std::fs::write(folder.join(name(n)), format!("{head}{}{tail}", body(n))).unwrap();
    }
}
