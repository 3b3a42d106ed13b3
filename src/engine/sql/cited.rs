//! What the server cites of a statement that may hold a secret. Pure.
//!
//! PostgreSQL and its extensions repeat parts of what they were given: the word of a syntax error, the value of a key that
//! exists already, the keyword of a connection string that lacks its sign.

use super::lex::{Token, TokenKind, tokens};
use super::secrets;

/// How deep constants within constants are looked into.
const DEPTH: usize = 4;

/// Words of the server without the constants of the statement that they are about, where it may hold a secret.
pub(crate) fn without_secrets(said: &str, statement: &str) -> String {
    let all = tokens(statement);
    if !all.iter().any(|token| secrets::tells(statement, token)) {
        return said.to_owned();
    }
    let mut secret = Vec::new();
    let mut strings = Vec::new();
    for token in all.iter().filter(|token| token.is_constant()) {
        let value = secrets::value(token.text(statement));
        // of a body only passwords are meant, not every name in it
        if !value.contains('\n') {
            secret.push(value.clone());
        }
        strings.extend(secrets::is_string(&value).then_some(value));
    }
    inside(statement, &all, DEPTH, &mut secret);
    // what contains another one goes first
    secret.sort_by_key(|value| std::cmp::Reverse(value.len()));
    let mut said = said.to_owned();
    for value in &secret {
        said = without(&said, value);
    }
    without_citations(&said, &strings)
}

/// The passwords of a statement and of what it holds.
fn inside(text: &str, all: &[Token], depth: usize, found: &mut Vec<String>) {
    let mut significant = all.iter().filter(|token| token.is_significant());
    let mut is_behind = false;
    for token in significant.by_ref() {
        if !token.is_constant() {
            is_behind = token.kind == TokenKind::Word && secrets::is_telling(token.text(text));
            continue;
        }
        let value = secrets::value(token.text(text));
        if is_behind {
            found.push(value.clone());
        }
        let words = secrets::in_words(&value).into_iter();
        found.extend(words.filter_map(|range| value.get(range).map(str::to_owned)));
        if let Some(deeper) = depth
            .checked_sub(1)
            .filter(|_| secrets::mentions_password(&value))
        {
            inside(&value, &tokens(&value), deeper, found);
        }
        is_behind = false;
    }
}

/// `said` with a sign in place of each `value` that is no part of a longer word.
fn without(said: &str, value: &str) -> String {
    let is_part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    let mut left = String::new();
    let mut rest = said;
    while let Some((before, after)) = rest.split_once(value).filter(|_| !value.is_empty()) {
        left.push_str(before);
        let is_whole = !is_part(left.chars().next_back()) && !is_part(after.chars().next());
        left.push_str(if is_whole { "…" } else { value });
        rest = after;
    }
    left + rest
}

/// `said` without what it cites of connection strings.
fn without_citations(said: &str, strings: &[String]) -> String {
    let parts = said.split('"').enumerate().map(|(number, part)| {
        let is_cited = number % 2 == 1 && part.contains(char::is_alphanumeric);
        if is_cited && strings.iter().any(|string| string.contains(part)) {
            "…"
        } else {
            part
        }
    });
    parts.collect::<Vec<_>>().join("\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_statement_keeps_secret_is_not_cited() {
        for (statement, said, expected) in [
            (
                "CREATE SUBSCRIPTION s CONNECTION 'host=h hunter2' PUBLICATION p",
                "missing \"=\" after \"hunter2\" in connection info string",
                "missing \"=\" after \"…\" in connection info string",
            ),
            (
                "INSERT INTO u (name, password) VALUES ('robo', 'hunter2')",
                "Key (password)=(hunter2) already exists.",
                "Key (password)=(…) already exists.",
            ),
            (
                "DO $$\nBEGIN EXECUTE 'ALTER ROLE app PASSWORD ''hunter2'' BOGUS'; END $$",
                "syntax error at or near \"BOGUS\": hunter2",
                "syntax error at or near \"BOGUS\": …",
            ),
            (
                "DO $$\nBEGIN PERFORM f('postgresql://u:hunter2@h/d'); END $$",
                "no such host: postgresql://u:hunter2@h/d",
                "no such host: postgresql://u:…@h/d",
            ),
            (
                "INSERT INTO t VALUES ('robo')",
                "Key (a)=(robo) already exists.",
                "Key (a)=(robo) already exists.",
            ),
            (
                "CREATE ROLE a PASSWORD 'a'",
                "role \"a\" already exists, as has an app",
                "role \"…\" already exists, as has an app",
            ),
        ] {
            assert_eq!(without_secrets(said, statement), expected, "{statement}");
        }
    }
}
