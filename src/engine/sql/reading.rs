//! Settings that would have the server read a file otherwise than we do. Pure.
//!
//! A file is read as UTF-8 with standard strings and sent whole, so the server has read it before its first statement runs: a
//! change of these settings would come too late for the file itself, and be in force when the next one is read.

use super::lex::{Token, TokenKind};

/// The setting that a statement gives a value with which files would be read otherwise.
pub(crate) fn reads_otherwise(text: &str, tokens: &[Token]) -> Option<&'static str> {
    let words: Vec<String> = tokens
        .iter()
        .filter(|token| token.is_significant())
        .map(|token| bare(token, text))
        .filter(|word| word != ";")
        .collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let (name, value) = match words.as_slice() {
        ["set", "session" | "local", "names", value] | ["set", "names", value] => {
            ("client_encoding", value)
        }
        ["set", "session" | "local", name, "to" | "=", value]
        | ["set", name, "to" | "=", value]
        | ["select", "set_config", "(", name, ",", value, ..]
        | [
            "select",
            "pg_catalog",
            ".",
            "set_config",
            "(",
            name,
            ",",
            value,
            ..,
        ] => (*name, value),
        _ => return None,
    };
    let (name, as_we_do): (_, &[&str]) = match name {
        "client_encoding" => ("client_encoding", &["utf8", "utf-8", "unicode", "default"]),
        "standard_conforming_strings" => (
            "standard_conforming_strings",
            &["on", "true", "yes", "1", "default"],
        ),
        _ => return None,
    };
    (!as_we_do.contains(value)).then_some(name)
}

/// A word or constant in lower case, without its quotes.
fn bare(token: &Token, text: &str) -> String {
    let written = token.text(text).to_ascii_lowercase();
    match token.kind {
        TokenKind::Text | TokenKind::QuotedName => written.trim_matches(['\'', '"']).to_owned(),
        TokenKind::Space
        | TokenKind::Comment
        | TokenKind::Word
        | TokenKind::DollarText
        | TokenKind::Number
        | TokenKind::Semicolon
        | TokenKind::Open
        | TokenKind::Close
        | TokenKind::Comma
        | TokenKind::Backslash
        | TokenKind::Other => written,
    }
}

#[cfg(test)]
mod tests {
    use super::super::lex::tokens;
    use super::*;

    #[test]
    fn only_what_changes_how_text_is_read_is_told() {
        for (text, expected) in [
            ("SET client_encoding = 'UTF8';", None),
            ("SET client_encoding TO utf8;", None),
            ("SET standard_conforming_strings = on;", None),
            ("SET standard_conforming_strings TO DEFAULT;", None),
            ("SET work_mem = '64MB';", None),
            (
                "SELECT pg_catalog.set_config('search_path', '', false);",
                None,
            ),
            ("SET client_encoding='LATIN1';", Some("client_encoding")),
            (
                "set local Client_Encoding to latin1;",
                Some("client_encoding"),
            ),
            ("SET NAMES 'WIN1252';", Some("client_encoding")),
            (
                "SELECT set_config('client_encoding', 'LATIN1', false);",
                Some("client_encoding"),
            ),
            (
                "SET SESSION standard_conforming_strings = off;",
                Some("standard_conforming_strings"),
            ),
        ] {
            assert_eq!(reads_otherwise(text, &tokens(text)), expected, "{text}");
        }
    }
}
