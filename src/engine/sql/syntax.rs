//! Syntax errors as people know them from PostgreSQL: at the word that is wrong, once per statement. Pure.
//!
//! The parser goes on after an error, and most of what it says about the rest of that statement follows from the first
//! error. It also names tokens as its grammar does.

use std::ops::Range;

use super::is_blank;
use super::lex::{Token, TokenKind};
use super::parse::Parsed;
use super::segment::Statement;

/// Errors that are told at most.
const MOST: usize = 20;

/// The first error of each statement; a psql variable is named as such.
pub(super) fn errors(
    text: &str,
    tokens: &[Token],
    statements: &[Statement],
    parsed: &Parsed,
) -> Vec<(Range<usize>, String)> {
    let variables = psql_variables(text, tokens);
    let mut reported: Vec<Option<usize>> = Vec::new();
    let mut errors: Vec<(Range<usize>, String)> = Vec::new();
    for (range, message) in &parsed.errors {
        // the parser misses something in front of the variable, or stumbles over it
        let blank = |v: &Range<usize>| text.get(range.end..v.start).is_some_and(is_blank);
        let near = |v: &Range<usize>| range.start <= v.end && (v.start <= range.end || blank(v));
        if let Some(variable) = variables.iter().find(|v| near(v)) {
            if !errors.iter().any(|(seen, _)| seen == variable) {
                let name = text.get(variable.clone()).unwrap_or_default();
                errors.push((
                    variable.clone(),
                    format!("{name} is a variable of psql, not SQL"),
                ));
            }
            continue;
        }
        let word = word_at(tokens, range.start);
        let place = word.map_or(range.start, |token| token.range.start);
        let statement = statements.iter().position(|s| s.range.contains(&place));
        if reported.contains(&statement) {
            continue;
        }
        reported.push(statement);
        let error = second_word(text, tokens, word, message)
            .unwrap_or_else(|| told(text, word, range, message));
        errors.push(error);
    }
    errors.truncate(MOST);
    errors
}

/// The token at a place, or the next one: the parser misses things right behind the last token that it understood.
fn word_at(tokens: &[Token], place: usize) -> Option<&Token> {
    tokens
        .iter()
        .filter(|token| !matches!(token.kind, TokenKind::Space | TokenKind::Comment))
        .find(|token| token.range.end > place)
}

/// CREATE, ALTER and DROP begin many commands: where the parser knows none of them, the next word is the wrong one.
fn second_word(
    text: &str,
    tokens: &[Token],
    word: Option<&Token>,
    message: &str,
) -> Option<(Range<usize>, String)> {
    let first = word.filter(|_| message.starts_with("expected command"))?;
    let verbs = ["CREATE", "ALTER", "DROP"];
    let verb = verbs.iter().find(|verb| first.is_word(text, verb))?;
    let second = word_at(tokens, first.range.end)?;
    let is_name = matches!(second.kind, TokenKind::Word | TokenKind::QuotedName);
    let near = second.text(text);
    is_name.then(|| {
        let message =
            format!("syntax error at or near \"{near}\": there is no command {verb} {near}");
        (second.range.clone(), message)
    })
}

fn told(
    text: &str,
    word: Option<&Token>,
    range: &Range<usize>,
    message: &str,
) -> (Range<usize>, String) {
    let expected = in_words(message);
    match word {
        // a constant may hold a secret
        Some(token) if token.is_constant() => (
            token.range.clone(),
            format!("syntax error at this constant: {expected}"),
        ),
        Some(token) => {
            let near = token.text(text);
            (
                token.range.clone(),
                format!("syntax error at or near \"{near}\": {expected}"),
            )
        }
        None => (
            range.clone(),
            format!("syntax error at the end of the file: {expected}"),
        ),
    }
}

/// The parser's words with SQL's signs in place of its names for them: `expected R_PAREN`, `expected AS_KW`.
fn in_words(message: &str) -> String {
    let named = |word: &str| -> Option<String> {
        let sign = match word {
            "COMMA" => ",",
            "SEMICOLON" => ";",
            "L_PAREN" => "(",
            "R_PAREN" => ")",
            "L_BRACK" => "[",
            "R_BRACK" => "]",
            "COLON" => ":",
            "DOT" => ".",
            "EQ" => "=",
            "STAR" => "*",
            "IDENT" => return Some("a name".to_owned()),
            keyword => return keyword.strip_suffix("_KW").map(str::to_owned),
        };
        Some(format!("\"{sign}\""))
    };
    let words: Vec<String> = message
        .split(' ')
        .map(|word| named(word).unwrap_or_else(|| word.to_owned()))
        .collect();
    let text = words.join(" ");
    let mut letters = text.chars();
    // only a word: AS, or a sign, stays as it is
    match (letters.next(), letters.next()) {
        (Some(first), Some(second)) if first.is_uppercase() && second.is_lowercase() => {
            first.to_lowercase().chain(text.chars().skip(1)).collect()
        }
        _ => text,
    }
}

/// `:name`, `:'name'`, `:"name"`, but not `::type`.
fn psql_variables(text: &str, tokens: &[Token]) -> Vec<Range<usize>> {
    let colon = |t: &Token| t.text(text) == ":";
    let named = |t: &Token| {
        matches!(
            t.kind,
            TokenKind::Word | TokenKind::Text | TokenKind::QuotedName
        )
    };
    tokens
        .windows(3)
        .filter_map(|window| match window {
            [before, at, name] if !colon(before) && colon(at) && named(name) => {
                Some(at.range.start..name.range.end)
            }
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::{CommittingProcedures, compile, parse};

    fn found(text: &str) -> Vec<String> {
        let mut procedures = CommittingProcedures::default();
        let compiled = parse::on_parser_thread(|| compile("1_a.sql", text, &mut procedures));
        let findings = compiled.unwrap().unwrap_err();
        findings.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_wrong_word_is_named_once_per_statement() {
        let text = "CREATE TABLE a (\n  id int NOT NULL DEFALT 1\n);\nSELECT 1;\nCREATE TABLE b (id int,,);";
        assert_eq!(
            found(text),
            [
                "1_a.sql:2:19: syntax error at or near \"DEFALT\": expected \",\"",
                "1_a.sql:5:24: syntax error at or near \",\": unexpected comma",
            ]
        );
    }

    #[test]
    fn a_typo_in_the_second_word_is_where_it_is() {
        assert_eq!(
            found("SELECT 1;\nCREATE -- a table\n TABEL a (id int);\ndrop tabel a;"),
            [
                "1_a.sql:3:2: syntax error at or near \"TABEL\": there is no command CREATE TABEL",
                "1_a.sql:4:6: syntax error at or near \"tabel\": there is no command DROP tabel",
            ]
        );
        // what is no word is told as it was
        assert_eq!(found("CREATE 'secret';").len(), 1);
    }

    #[test]
    fn what_is_missing_at_the_end_is_told() {
        let found = found("CREATE TABLE a (id int");
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains("at the end of the file"), "{found:?}");
    }

    #[test]
    fn a_constant_is_not_repeated() {
        let found = found("CREATE ROLE r PASSWORD 'first' 'second';");
        assert!(!found.concat().contains("second"), "{found:?}");
    }
}
