//! A file in a form that the parser takes. Pure.
//!
//! Of some statements squawk 2.68 knows only one of two ways to write them. It is shown the other one, as long as the first,
//! so that places stay the same; the server is sent what stands in the file.
//!
//! | in the file | the parser's |
//! |---|---|
//! | `SET NAMES x` | `SET NAMES=x` |
//! | `ALTER USER x …` | `ALTER ROLE x …` |
//! | `CREATE TRUSTED PROCEDURAL LANGUAGE x` | `CREATE                    LANGUAGE x` |

use std::borrow::Cow;
use std::ops::Range;

use super::lex::{Token, TokenKind};

/// A part of the file, and what the parser is shown instead, which is as long.
type Change = (Range<usize>, String);

/// The file as the parser is shown it. `tokens` are those of `text`.
pub(crate) fn for_parser<'a>(text: &'a str, tokens: &[Token]) -> Cow<'a, str> {
    let statements = tokens.split(|token| token.kind == TokenKind::Semicolon);
    let mut changed: Option<String> = None;
    for statement in statements {
        for (range, shown) in changes(text, statement) {
            debug_assert_eq!(range.len(), shown.len());
            changed
                .get_or_insert_with(|| text.to_owned())
                .replace_range(range, &shown);
        }
    }
    changed.map_or(Cow::Borrowed(text), Cow::Owned)
}

/// What of a statement the parser is shown otherwise.
fn changes(text: &str, statement: &[Token]) -> Vec<Change> {
    // none of them is recognized by more words than these
    let words: Vec<&Token> = statement
        .iter()
        .filter(|token| token.is_significant())
        .take(6)
        .collect();
    let is = |at: usize, word: &str| words.get(at).is_some_and(|token| token.is_word(text, word));
    let begins = |with: &[&str]| (0..).zip(with).all(|(at, word)| is(at, word));
    let range = |at: usize| words.get(at).map(|token| token.range.clone());
    if begins(&["ALTER", "USER"]) && !begins(&["ALTER", "USER", "MAPPING", "FOR"]) {
        return range(1)
            .map(|user| (user, "ROLE".to_owned()))
            .into_iter()
            .collect();
    }
    if begins(&["CREATE"]) {
        let at = if begins(&["CREATE", "OR", "REPLACE"]) {
            3
        } else {
            1
        };
        let named = (at..at + 3).take_while(|at| is(*at, "TRUSTED") || is(*at, "PROCEDURAL"));
        let named: Vec<usize> = named.collect();
        if !is(at + named.len(), "LANGUAGE") {
            return Vec::new();
        }
        let blank = |range: Range<usize>| (range.clone(), " ".repeat(range.len()));
        return named.into_iter().filter_map(range).map(blank).collect();
    }
    names(text, &words).into_iter().collect()
}

/// `SET NAMES x` as the setting `names`.
fn names(text: &str, words: &[&Token]) -> Option<Change> {
    let (set, rest) = words.split_first()?;
    let is_scope = |token: &&Token| token.is_word(text, "SESSION") || token.is_word(text, "LOCAL");
    let skipped = usize::from(rest.first().is_some_and(is_scope));
    let names = rest.get(skipped)?;
    if !set.is_word(text, "SET") || !names.is_word(text, "NAMES") {
        return None;
    }
    let end = names.range.end;
    let is_blank = text.get(end..)?.starts_with([' ', '\t', '\n']);
    is_blank.then(|| (end..end + 1, "=".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::super::{CommittingProcedures, compile, lex, parse};

    /// How many statements the file has, in both readings.
    fn statements(text: &str) -> Result<usize, String> {
        let mut procedures = CommittingProcedures::default();
        let compiled = parse::on_parser_thread(|| compile("1_a.sql", text, &mut procedures));
        match compiled.unwrap() {
            Ok(script) => Ok(script.statements.len()),
            Err(findings) => Err(findings.iter().map(ToString::to_string).collect()),
        }
    }

    #[test]
    fn what_the_parser_does_not_know_is_taken() {
        for sql in [
            "SET NAMES 'UTF8'",
            "set session names utf8",
            "SET LOCAL names\t'UTF8'",
            "ALTER USER x PASSWORD 'y'",
            "ALTER USER x WITH LOGIN CONNECTION LIMIT 5",
            "alter user \"x\" nologin",
            "ALTER USER x RENAME TO y",
            "ALTER USER x SET work_mem = '64MB'",
            "ALTER USER x IN DATABASE d RESET ALL",
            "ALTER USER ALL SET search_path TO a, b",
            "ALTER USER CURRENT_USER VALID UNTIL 'infinity'",
            "ALTER USER /* who */ mapping LOGIN",
            "ALTER USER MAPPING FOR x SERVER s OPTIONS (SET user 'y')",
            "CREATE USER MAPPING FOR x SERVER s",
            "CREATE LANGUAGE plx",
            "CREATE TRUSTED LANGUAGE plx",
            "CREATE PROCEDURAL LANGUAGE plx",
            "CREATE TRUSTED PROCEDURAL LANGUAGE plx HANDLER h INLINE i VALIDATOR v",
            "CREATE OR REPLACE TRUSTED\nLANGUAGE plx",
            "create or replace procedural language plx",
        ] {
            assert_eq!(statements(&format!("{sql};")), Ok(1), "{sql}");
            let between = format!("SELECT 1;\n{sql};\nSELECT 2;\n");
            assert_eq!(statements(&between), Ok(3), "{sql}");
            assert_eq!(statements(sql), Ok(1), "{sql}");
        }
    }

    #[test]
    fn everything_else_is_shown_as_it_stands() {
        for sql in [
            "CREATE TABLE trusted (language text);",
            "ALTER USER MAPPING FOR x SERVER s OPTIONS (SET user 'y');",
            "SELECT 1 AS names;",
            "CREATE TRUSTED TABLE a ();",
        ] {
            assert_eq!(super::for_parser(sql, &lex::tokens(sql)), sql);
        }
        assert!(statements("ALTER USER;").is_err());
        assert!(statements("CREATE TRUSTED TABLE a ();").is_err());
    }
}
