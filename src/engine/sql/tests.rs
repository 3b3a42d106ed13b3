//! The two readings of a file against each other.

use proptest::prelude::*;

use super::{CommittingProcedures, compile, lex, parse, split};

/// Statements that are easy to cut wrongly.
const STATEMENTS: [&str; 21] = [
    "SELECT 1",
    "SELECT 'a;b', \"c;d\", $$e;f$$, $x$ $$;$$ $x$",
    "SELECT E'\\';', U&'\\0041;', b'01', x'1F'",
    "SELECT 1 /* ; /* ; */ ; */ + 2 -- ;\n",
    "INSERT INTO t VALUES (1, 'it''s;'), (2, NULL)",
    "CREATE TABLE ü (id int DEFAULT 1, CHECK (id > 0 AND (id < 5)))",
    "CREATE RULE r AS ON INSERT TO a DO (DELETE FROM b; DELETE FROM c)",
    "CREATE FUNCTION f() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; SELECT 2; END",
    "CREATE OR REPLACE PROCEDURE p() BEGIN ATOMIC INSERT INTO t VALUES (1); END",
    "CREATE FUNCTION g() RETURNS trigger LANGUAGE plpgsql AS $fn$ BEGIN NEW.a := now(); RETURN NEW; END; $fn$",
    "DO $$ DECLARE i int; BEGIN FOR i IN 1..3 LOOP RAISE NOTICE 'x;%', i; END LOOP; END $$",
    "CREATE TRIGGER t BEFORE UPDATE ON a FOR EACH ROW EXECUTE FUNCTION g()",
    "CREATE POLICY p ON a USING (id = NULLIF(current_setting('app.id', true), '')::uuid)",
    "CREATE UNIQUE INDEX i ON a (lower(b), (c -> 'd')) WHERE c ? 'x'",
    "CREATE TYPE e AS ENUM ('a;', 'b')",
    "SELECT a[1:2], b::text, c #>> '{x,y}' FROM d WHERE e @> '{}' AND f <> ALL ('{}')",
    "GRANT SELECT ON ALL TABLES IN SCHEMA public TO x",
    "ALTER TABLE a ADD CONSTRAINT c FOREIGN KEY (b) REFERENCES d (e) NOT VALID",
    "WITH x AS (SELECT 1) INSERT INTO t SELECT * FROM x ON CONFLICT DO NOTHING RETURNING id",
    "COMMENT ON TABLE a IS 'begin; commit; end'",
    "CREATE VIEW v AS SELECT CASE WHEN a THEN 'b' ELSE 'c' END AS d FROM e",
];
const BETWEEN: [&str; 6] = [
    ";",
    ";\n",
    " ;; ",
    ";\r\n-- comment; 'x\n",
    "; /* ' */ ",
    "\n;\t",
];

fn file() -> impl Strategy<Value = String> {
    let piece = (
        prop::sample::select(&STATEMENTS[..]),
        prop::sample::select(&BETWEEN[..]),
    );
    prop::collection::vec(piece, 0..8)
        .prop_map(|pieces| pieces.into_iter().flat_map(|(a, b)| [a, b]).collect())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn both_readings_find_the_same_statements(text in file()) {
        let fragments = split::split(&text, &lex::tokens(&text));
        let parsed = parse::on_parser_thread(|| parse::parse(&text)).unwrap().unwrap();
        prop_assert!(parsed.errors.is_empty(), "{:?}", parsed.errors);
        let lexed: Vec<_> = fragments.iter().map(|f| f.range.clone()).filter(|r| &text[r.clone()] != ";").collect();
        let parsed: Vec<_> = parsed.statements.into_iter().map(|s| s.range).filter(|r| &text[r.clone()] != ";").collect();
        prop_assert_eq!(lexed, parsed);
    }

    #[test]
    fn statements_tile_the_file_but_for_space_and_comments(text in file()) {
        let script = compile("a.sql", &text, &mut CommittingProcedures::new()).unwrap();
        let mut at = 0;
        for statement in &script.statements {
            let gap = &text[at..statement.range.start];
            prop_assert!(lex::tokens(gap).iter().all(|token| !token.is_significant()), "{gap:?}");
            at = statement.range.end;
        }
        prop_assert!(lex::tokens(&text[at..]).iter().all(|token| !token.is_significant()));
    }

    #[test]
    fn no_text_whatever_ends_the_compiler(text in "(?s).{0,80}") {
        let compiled = parse::on_parser_thread(|| compile("a.sql", &text, &mut CommittingProcedures::new()));
        prop_assert!(compiled.is_ok());
    }
}

/// The server reads one string here, squawk 2.68 two: a case for the second reading.
#[test]
fn a_continued_escape_string_is_refused_rather_than_cut_wrongly() {
    let text = "SELECT E'a'\n'\\';COMMIT;--';";
    let fragments = split::split(text, &lex::tokens(text));
    assert_eq!(fragments.len(), 1);
    let compiled =
        parse::on_parser_thread(|| compile("a.sql", text, &mut CommittingProcedures::new()));
    assert!(compiled.unwrap().is_err());
}

#[test]
fn comments_space_and_the_case_of_words_are_not_meaning() {
    let meaning = |text: &str| {
        let compiled =
            parse::on_parser_thread(|| compile("a.sql", text, &mut CommittingProcedures::new()));
        super::meaning(&compiled.unwrap().unwrap())
    };
    let said = meaning("SELECT a FROM \"T\" WHERE b = 'X';");
    for same in [
        "select A from \"T\"\n  where B='X'\n;\n",
        "-- why\nSELECT a /* so */ FROM \"T\" WHERE b = 'X'; -- done",
        "\\echo select\nSELECT a FROM \"T\" WHERE b = 'X';\r\n",
    ] {
        assert_eq!(meaning(same), said, "{same}");
    }
    for other in [
        "SELECT a FROM \"t\" WHERE b = 'X';",
        "SELECT a FROM \"T\" WHERE b = 'x';",
        "SELECT a FROM \"T\" WHERE b = ' X';",
        "SELECT aF FROM \"T\" WHERE b = 'X';",
    ] {
        assert_ne!(meaning(other), said, "{other}");
    }
    // two operators, or one
    assert_ne!(meaning("SELECT @ -5;"), meaning("SELECT @-5;"));
    // a comment in a body is data of the server
    assert_ne!(
        meaning("DO $$ BEGIN END $$;"),
        meaning("DO $$ BEGIN -- x\nEND $$;")
    );
}
