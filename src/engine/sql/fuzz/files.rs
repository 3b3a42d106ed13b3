//! Files that nobody would write: statements of every class, scraps that make trouble, real files; broken in places.

use rand::{RngExt, rngs::StdRng};

/// Files of some size that real ones resemble.
const WHOLE: [&str; 4] = [
    include_str!("../../../../migrations/001_initial_schema.sql"),
    include_str!("../../../../migrations/002_add_performance_indexes.sql"),
    include_str!("../../../../migrations/003_add_telemetry_tables.sql"),
    "\\restrict k3y\nSET client_encoding = 'UTF8';\nSET standard_conforming_strings = on;\n\
     CREATE TABLE public.a (id integer NOT NULL, b text);\nCOPY public.a (id, b) FROM stdin;\n\
     1\tit's; a \"test\"\n2\t\\N\n3\t\\\\.\n\\.\n\nALTER TABLE ONLY public.a ADD CONSTRAINT a_pkey PRIMARY KEY (id);\n\
     \\unrestrict k3y\n",
];

/// Statements of every class.
const STATEMENTS: [&str; 40] = [
    "SELECT 1",
    "BEGIN",
    "BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY",
    "COMMIT",
    "COMMIT AND CHAIN",
    "ROLLBACK",
    "ROLLBACK TO s",
    "SAVEPOINT s",
    "PREPARE TRANSACTION 'x'",
    "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",
    "SET LOCAL lock_timeout = '1s'",
    "SET search_path TO a, \"b\"",
    "RESET ALL",
    "DISCARD ALL",
    "VACUUM (ANALYZE) t",
    "CREATE INDEX CONCURRENTLY IF NOT EXISTS i ON ONLY s.\"T\" USING gin (a jsonb_path_ops)",
    "DROP INDEX CONCURRENTLY i, j",
    "REINDEX (CONCURRENTLY, VERBOSE) TABLE t",
    "ALTER TABLE p DETACH PARTITION q CONCURRENTLY",
    "ALTER TYPE mood ADD VALUE IF NOT EXISTS 'it''s' BEFORE 'sad'",
    "INSERT INTO t VALUES (1, 'it''s', E'\\'', $$x$$, NULL)",
    "CREATE TABLE t (a int CHECK (a > 0), b text DEFAULT 'x', UNIQUE (a, b))",
    "CREATE SCHEMA s CREATE TABLE a (b int) CREATE VIEW v AS SELECT b FROM a",
    "CREATE FUNCTION f() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT CASE WHEN a THEN 1 END; SELECT 2; END",
    "CREATE OR REPLACE PROCEDURE p() LANGUAGE plpgsql AS $x$ BEGIN DELETE FROM t; COMMIT; END $x$",
    "CALL p()",
    "DO $$ BEGIN LOOP DELETE FROM t; EXIT WHEN NOT FOUND; COMMIT; END LOOP; END $$",
    "DO 'BEGIN ROLLBACK; END'",
    "COPY t (a, b) FROM stdin WITH (FORMAT csv);\n1,\"x;\ny\"\n\\.\n",
    "COPY t TO STDOUT",
    "CREATE ROLE r PASSWORD 'hunter2' IN ROLE x",
    "CREATE RULE r AS ON INSERT TO t DO ALSO (DELETE FROM a; INSERT INTO b VALUES (1))",
    "SELECT U&'d\\0061t' UESCAPE '!', U&\"n\\0061me\", b'01', x'1f', 1e10, .5, 0x1F, 1_000",
    "SELECT E'a'\n 'b\\'' -- comment\n 'c'",
    "SELECT a[1:2]::int[], b -> 'c' ->> 'd', $1, @ -5, a OPERATOR(pg_catalog.+) b",
    "WITH RECURSIVE r AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT * FROM r",
    "CREATE TRIGGER g AFTER INSERT ON t REFERENCING NEW TABLE AS n FOR EACH STATEMENT EXECUTE FUNCTION f()",
    "MERGE INTO t USING s ON t.a = s.a WHEN MATCHED THEN UPDATE SET b = s.b WHEN NOT MATCHED THEN INSERT VALUES (1)",
    "GRANT SELECT (a, b) ON TABLE t TO \"x y\" WITH GRANT OPTION",
    "CREATE SUBSCRIPTION s CONNECTION 'host=h password=p' PUBLICATION p WITH (connect = false)",
];

/// What makes trouble wherever it stands.
const SCRAPS: [&str; 48] = [
    ";",
    ";;",
    "'",
    "''",
    "\"",
    "$$",
    "$x$",
    "$1",
    "$",
    "--",
    "-- ;\n",
    "/*",
    "*/",
    "/* ; */",
    "(",
    ")",
    "[",
    "]",
    "{",
    ",",
    ".",
    "..",
    ":",
    "::",
    ":=",
    ":name",
    ":'v'",
    "\\",
    "\\.",
    "\n\\.\n",
    "\\i x\n",
    "\\set a b\n",
    "E'",
    "U&\"",
    "x'",
    "BEGIN ATOMIC",
    "END",
    "CASE",
    "COMMIT",
    "BEGIN",
    "FROM stdin;\n",
    "\r\n",
    "\r",
    "\u{feff}",
    "\u{a0}",
    "ü",
    "\u{0}",
    "𝄞",
];

/// A file: pieces one after another, or a real one; then broken in places.
pub(super) fn file(random: &mut StdRng) -> Vec<u8> {
    let mut text = match random.random_range(0..10) {
        0 => one_of(random, &WHOLE).to_owned(),
        1 => one_of(random, &SCRAPS).repeat(random.random_range(1..3_000)),
        2 => one_of(random, &STATEMENTS).repeat(random.random_range(1..200)),
        _ => pieces(random),
    }
    .into_bytes();
    if random.random_bool(0.6) {
        for _ in 0..random.random_range(1..8) {
            mutate(random, &mut text);
        }
    }
    text
}

fn one_of<'a>(random: &mut StdRng, list: &[&'a str]) -> &'a str {
    list[random.random_range(0..list.len())]
}

fn pieces(random: &mut StdRng) -> String {
    let mut text = String::new();
    for _ in 0..random.random_range(0..12) {
        text.push_str(one_of(random, &STATEMENTS));
        text.push_str(one_of(
            random,
            &[";\n", ";", " ;\n\n", "; -- '\n", ";\r\n", "\n"],
        ));
        if random.random_bool(0.15) {
            text.push_str(one_of(random, &SCRAPS));
        }
    }
    text
}

fn mutate(random: &mut StdRng, text: &mut Vec<u8>) {
    let at = random.random_range(0..=text.len());
    let end = at + random.random_range(0..=(text.len() - at).min(40));
    match random.random_range(0..7) {
        0 => drop(text.drain(at..end)),
        1 => {
            let scrap = one_of(random, &SCRAPS).bytes();
            drop(text.splice(at..at, scrap));
        }
        2 => {
            let copied = text[at..end].repeat(random.random_range(1..50));
            drop(text.splice(at..at, copied));
        }
        3 => text.truncate(at),
        4 if at < text.len() => text[at] = random.random(),
        5 if at < text.len() => text[at] ^= 1 << random.random_range(0..8),
        _ => {
            let other = random.random_range(0..=text.len());
            let moved: Vec<u8> = text.drain(at..end).collect();
            let to = other.min(text.len());
            drop(text.splice(to..to, moved));
        }
    }
}
