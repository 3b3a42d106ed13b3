//! What nobody may read of a text that is no SQL: where a quote or a key word is wrong, a password is no longer a constant
//! behind the word PASSWORD. Pure.
//!
//! | the statement | hidden |
//! |---|---|
//! | is no command about data, and speaks of passwords | whatever stands behind the word that does, to its end |
//! | is one about data, or about roles without that word | its constants, as in every statement that may hold a secret |
//! | stands where the quotes are in doubt, and speaks of passwords | whatever stands behind that word, up to a line that ends in a semicolon |
//!
//! Quotes are in doubt in all of a text that ends within one, and from a constant on that touches a word (`'it's'`): what is
//! inside and what outside nobody can say there.

use std::ops::Range;

use super::lex::{Token, TokenKind};
use super::secrets;

/// Words with which statements about data begin; a column of these may be called `password`.
const ABOUT_DATA: [&str; 12] = [
    "SELECT", "INSERT", "UPDATE", "DELETE", "MERGE", "WITH", "VALUES", "COMMENT", "COPY", "GRANT",
    "REVOKE", "DO",
];

/// What CREATE, ALTER and DROP are about, where it is data.
const KINDS_OF_DATA: [&str; 16] = [
    "TABLE",
    "TEMP",
    "TEMPORARY",
    "UNLOGGED",
    "VIEW",
    "MATERIALIZED",
    "INDEX",
    "UNIQUE",
    "TYPE",
    "DOMAIN",
    "FUNCTION",
    "PROCEDURE",
    "TRIGGER",
    "POLICY",
    "OR",
    "SCHEMA",
];

/// The parts of a line that are hidden beside the constants of statements. `tokens` are those of `text`.
pub(super) fn hidden(text: &str, tokens: &[Token], line: &Range<usize>) -> Vec<Range<usize>> {
    let mut parts = behind_words(text, tokens, line);
    parts.extend(in_doubt(text, tokens, line));
    parts
}

/// Those behind words, of a text whose quotes are in no doubt.
pub(super) fn behind_words(text: &str, tokens: &[Token], line: &Range<usize>) -> Vec<Range<usize>> {
    let is_end = |token: &Token| token.kind == TokenKind::Semicolon;
    let first = tokens.partition_point(|token| token.range.end <= line.start);
    let before = tokens.get(..first).unwrap_or_default();
    let begin = before.iter().rposition(is_end).map_or(0, |at| at + 1);
    let statements = tokens
        .get(begin..)
        .unwrap_or_default()
        .split_inclusive(is_end);
    let begins_here = |statement: &&[Token]| {
        statement
            .first()
            .is_some_and(|token| token.range.start < line.end)
    };
    statements
        .take_while(begins_here)
        .filter_map(|statement| behind_the_word(text, statement))
        .map(|part| part.start.max(line.start)..part.end.min(line.end))
        .filter(|part| !part.is_empty())
        .collect()
}

/// What follows the first word of a statement that speaks of a password.
fn behind_the_word(text: &str, statement: &[Token]) -> Option<Range<usize>> {
    let mut significant = statement.iter().filter(|token| token.is_significant());
    if is_about_data(text, significant.clone()) {
        return None;
    }
    let word = significant.find(|token| announces(text, token))?;
    let end = statement.last()?.range.end;
    Some(word.range.end..end)
}

fn is_about_data<'a>(text: &str, mut words: impl Iterator<Item = &'a Token>) -> bool {
    let Some(first) = words.next() else {
        return true;
    };
    let is_any = |token: &Token, of: &[&str]| of.iter().any(|word| token.is_word(text, word));
    if is_any(first, &["CREATE", "ALTER", "DROP"]) {
        return words
            .next()
            .is_some_and(|second| is_any(second, &KINDS_OF_DATA));
    }
    is_any(first, &ABOUT_DATA)
}

/// Whether a word has a secret behind it, also where it is written wrongly.
fn announces(text: &str, token: &Token) -> bool {
    token.kind == TokenKind::Word && is_announcement(token.text(text))
}

fn is_announcement(word: &str) -> bool {
    let word = word.to_ascii_lowercase();
    let starts = ["pas", "psw", "pwd", "identified", "conninfo"];
    word.contains("passw") || starts.iter().any(|start| word.starts_with(start))
}

/// What is hidden of a line where quotes are in doubt.
fn in_doubt(text: &str, tokens: &[Token], line: &Range<usize>) -> Option<Range<usize>> {
    let doubt = doubtful_from(tokens)?;
    if doubt >= line.end {
        return None;
    }
    let before = text.get(..line.start)?;
    // a line that ends in a semicolon ends a statement, whatever the quotes say
    let mut breaks = before.rmatch_indices('\n').map(|(at, _)| at);
    let ends = |at: &usize| {
        before
            .get(..*at)
            .is_some_and(|all| all.trim_end().ends_with(';'))
    };
    let start = breaks.find(ends).map_or(0, |at| at + 1);
    let part = text.get(start..line.end)?;
    let mut words = part
        .split(|c: char| !c.is_alphanumeric() && c != '_')
        .filter(|word| is_announcement(word) || secrets::is_telling(word));
    let word = words.next()?;
    // a part of `part`, so that its place is how far it is from the beginning
    let at = part.find(word)? + start + word.len();
    Some(at.max(line.start)..line.end)
}

/// Where quotes begin to be in doubt.
fn doubtful_from(tokens: &[Token]) -> Option<usize> {
    if tokens.last().is_some_and(|token| !token.terminated) {
        return Some(0);
    }
    let touching = tokens.windows(2).find(|pair| {
        let [one, next] = pair else { return false };
        let is_word = matches!(
            next.kind,
            TokenKind::Word | TokenKind::Number | TokenKind::QuotedName | TokenKind::Backslash
        );
        one.is_constant() && (is_word || next.is_constant())
    })?;
    touching.first().map(|token| token.range.start)
}

/// A message of ours without the words that it cites, where these are hidden.
pub(crate) fn without(message: &str, cited: Option<&str>) -> String {
    let Some(cited) = cited.filter(|cited| !cited.is_empty()) else {
        return message.to_owned();
    };
    let message = message.replace(&format!("\"{cited}\""), "\"…\"");
    let message = match message.strip_prefix(cited) {
        Some(rest) => format!("…{rest}"),
        None => message,
    };
    match message.strip_suffix(cited) {
        Some(rest) => format!("{rest}…"),
        None => message,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{CommittingProcedures, compile, parse};

    /// What is told of a file that is no SQL: to people who have it, and to others.
    fn told(text: &str) -> String {
        let mut procedures = CommittingProcedures::default();
        let compiled = parse::on_parser_thread(|| compile("1_a.sql", text, &mut procedures));
        let findings = compiled.unwrap().expect_err(text);
        let both = findings
            .iter()
            .map(|finding| finding.render() + &finding.redacted().render());
        both.collect()
    }

    #[test]
    fn secrets_in_statements_that_are_no_sql_are_not_told() {
        for text in [
            "CREATE ROLE x PASSWORD 'hunter2",
            "CREATE ROLE x PASSWORD hunter2;",
            "CREATE ROLE x PASSWORD \"hunter2\";",
            "CREATE ROLE x PASSWORD = 'hunter2';",
            "CREATE ROLE x PASWORD 'hunter2';",
            "CREATE ROLE x PASSWORT hunter2,;",
            "CREATE USER x IDENTIFIED BY 'hunter2';",
            "CREATE USER x IDENTIFIED BY hunter2;",
            "CREAT ROLE x PASSWORD hunter2;",
            "CREATE ROL x LOGIN PASSWORD hunter2;",
            "ALTER ROLE x PASSWORD\n  hunter2;",
            "ALTER ROLE x WITH PASSWORD 'it's hunter2';",
            "ALTER ROLE x PASSWORD 'it's hunter2' VALID UNTIL 'infinity';",
            "ALTER ROLE x PASSWORD 'a;b'hunter2';",
            "ALTER ROLE x PASSWORD 'a'\\hunter2;",
            "ALTER ROLE x PASSWORD :hunter2;",
            "ALTER ROLE x PASSWORD 12hunter2;",
            "ALTER ROLE x PASSWORD $$hunter2;",
            "ALTER ROLE x PASSWORD 'first' 'hunter2';",
            "INSERT INTO u (name, password) VALUES ('a', 'it's hunter2');",
            "INSERT INTO u (name, password) VALUES ('a', 'it's hunter2', 'x');",
            "INSERT INTO u (password) VALUES (\n  'hunter2',,);",
            "CREATE USER MAPPING FOR a SERVER s OPTIONS (user 'b', password hunter2);",
            "CREATE USER MAPPING FOR a SERVER s OPTION (user 'b', password 'hunter2');",
            "CREATE SUBSCRIPTION s CONECTION 'host=h password=hunter2' PUBLICATION p;",
            "CREATE SUBSCRIPTION s CONNECTION 'host=h password=hunter2 PUBLICATION p;",
            "SELECT dblink('host=h password=hunter2', 'SELECT 1';",
            "SELEC connect('postgresql://u:hunter2@h/d');",
            "SELECT 1;\n\\connect \"host=h password=hunter2\"",
        ] {
            let told = told(text);
            assert!(!told.contains("hunter2"), "{text}\n{told}");
        }
    }

    #[test]
    fn everything_else_is_told_as_it_stands() {
        for (text, shown) in [
            ("CREATE ROLE robots LOGIN,;", "robots LOGIN,;"),
            (
                "CREATE TABLE u (id int, password text NOT NUL);",
                "password text NOT NUL",
            ),
            (
                "CREATE TABLE u (\n  password text,\n  mail text NOT NUL);",
                "mail text NOT NUL",
            ),
            (
                "ALTER TABLE u ADD COLUMN password txt NOT NUL;",
                "password txt NOT NUL",
            ),
            (
                "ALTER ROLE x PASSWORD 'y';\nSELEC 'plain';",
                "SELEC 'plain'",
            ),
            (
                "ALTER ROLE x PASSWORD 'y';\nSELECT 'plain;",
                "SELECT 'plain;",
            ),
        ] {
            let told = told(text);
            assert!(told.contains(shown), "{text}\n{told}");
        }
    }
}
