//! How deeply a text nests, before a recursive parser sees it. Pure.
//!
//! Every parenthesis and every operator of a chain (`a + b + …`, `… UNION …`) is one level of
//! the parser's recursion; a comma ends the chain it stands in. The caps leave the parser's
//! stack several times the room it needs at the cap.

use std::ops::Range;

use super::lex::{Token, TokenKind, tokens};

/// Real files stay below 50; parsing time grows with the square.
const PARENTHESES: usize = 1_000;
/// Operators that are open at one place, over all enclosing parentheses.
const CHAIN: usize = 10_000;
/// Words that open blocks in one function body.
const BLOCKS: usize = 5_000;

const CHAINING: [&str; 12] = [
    "and",
    "or",
    "not",
    "union",
    "intersect",
    "except",
    "case",
    "join",
    "when",
    "is",
    "collate",
    "like",
];
const OPENING: [&str; 6] = ["begin", "if", "loop", "case", "for", "while"];

/// The first token at which `text` is too deep.
pub(crate) fn too_deep(text: &str, list: &[Token]) -> Option<Range<usize>> {
    let mut depth = Depth::default();
    let mut has_bodies = None;
    for token in list.iter().filter(|t| t.is_significant()) {
        let word = token.text(text);
        let bodies = *has_bodies.get_or_insert_with(|| {
            word.eq_ignore_ascii_case("do") || word.eq_ignore_ascii_case("create")
        });
        let body = bodies && token.is_constant();
        if depth.take(text, token) || (body && body_too_deep(word)) {
            return Some(token.range.clone());
        }
        if token.kind == TokenKind::Semicolon && depth.chains.is_empty() {
            has_bodies = None;
        }
    }
    None
}

/// Function bodies are parsed too. Their quotes are cut off roughly: this only counts.
fn body_too_deep(literal: &str) -> bool {
    let inside = literal.trim_start_matches(|c| c != '$' && c != '\'');
    let inside = match inside
        .strip_prefix('$')
        .and_then(|rest| rest.split_once('$'))
    {
        Some((_, body)) => body,
        None => inside.trim_matches('\''),
    };
    let list = tokens(inside);
    let blocks = list
        .iter()
        .filter(|t| OPENING.iter().any(|word| t.is_word(inside, word)))
        .count();
    let mut depth = Depth::default();
    blocks > BLOCKS || list.iter().any(|token| depth.take(inside, token))
}

#[derive(Default)]
struct Depth {
    /// Operators since the last comma, of each open parenthesis.
    chains: Vec<usize>,
    /// The same outside parentheses.
    outer: usize,
    /// Sum of all of these.
    total: usize,
}

impl Depth {
    /// Counts a token; true at a cap.
    fn take(&mut self, text: &str, token: &Token) -> bool {
        match token.kind {
            TokenKind::Open => self.chains.push(0),
            TokenKind::Close => self.total -= self.chains.pop().unwrap_or_default(),
            TokenKind::Comma | TokenKind::Semicolon => {
                self.total -= std::mem::take(self.chains.last_mut().unwrap_or(&mut self.outer));
            }
            TokenKind::Other => self.operator(),
            TokenKind::Word => {
                if CHAINING.iter().any(|word| token.is_word(text, word)) {
                    self.operator();
                }
            }
            TokenKind::Space
            | TokenKind::Comment
            | TokenKind::QuotedName
            | TokenKind::Text
            | TokenKind::DollarText
            | TokenKind::Number
            | TokenKind::Backslash => {}
        }
        self.chains.len() > PARENTHESES || self.total > CHAIN
    }

    fn operator(&mut self) {
        *self.chains.last_mut().unwrap_or(&mut self.outer) += 1;
        self.total += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse::{on_parser_thread, parse};
    use super::*;

    fn deep(text: &str) -> bool {
        too_deep(text, &tokens(text)).is_some()
    }

    #[test]
    fn nesting_is_capped_wherever_the_parser_recurses() {
        let n = 20_000;
        for text in [
            format!("SELECT {}1{};", "(".repeat(n), ")".repeat(n)),
            format!("SELECT 1{};", " + 1".repeat(n)),
            format!("SELECT 'a'{};", " || f('b', 1)".repeat(n)),
            format!("SELECT a{};", "::int".repeat(n)),
            format!("SELECT {}true;", "NOT ".repeat(n)),
            format!("SELECT 1{};", " UNION ALL SELECT 1".repeat(n)),
            format!("SELECT {}1;", "CASE WHEN a THEN ".repeat(n)),
            format!(
                "DO $$ BEGIN {}NULL; {} END $$;",
                "IF a THEN ".repeat(n),
                "END IF; ".repeat(n)
            ),
            format!(
                "CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN 1{}; END';",
                " + 1".repeat(n)
            ),
        ] {
            assert!(deep(&text), "{}", &text[..40]);
        }
    }

    #[test]
    fn length_is_not_depth() {
        for text in [
            format!(
                "INSERT INTO t VALUES (-1, 'a'){};",
                ", (-1, 'a' || 'b')".repeat(50_000)
            ),
            format!("SELECT 1 WHERE a IN (1{});", ", -1".repeat(50_000)),
            "UPDATE a SET b = b + 1;".repeat(20_000),
            format!("INSERT INTO t VALUES ('{}');", "a+b/".repeat(20_000)),
        ] {
            assert!(!deep(&text), "{}", &text[..40]);
        }
    }

    #[test]
    fn what_is_just_below_the_caps_parses() {
        let n = CHAIN - 10;
        for text in [
            format!(
                "SELECT {}1{};",
                "(".repeat(PARENTHESES),
                ")".repeat(PARENTHESES)
            ),
            format!("SELECT 1{};", " + 1".repeat(n)),
            format!("SELECT 1{};", " UNION SELECT 1".repeat(n)),
            format!("SELECT {}true;", "NOT ".repeat(n)),
            format!("SELECT {}1;", "- ".repeat(n)),
            format!(
                "SELECT {}1{};",
                "CASE WHEN a THEN ".repeat(n / 2),
                " END".repeat(n / 2)
            ),
            format!("SELECT * FROM a{};", " JOIN a ON true".repeat(n)),
            format!(
                "DO $$ BEGIN {}NULL; {} END $$;",
                "IF a THEN ".repeat(2_000),
                "END IF; ".repeat(2_000)
            ),
        ] {
            assert!(!deep(&text), "{}", &text[..40]);
            let parsed = on_parser_thread(|| parse(&text)).unwrap().unwrap();
            assert_eq!(parsed.statements.len(), 1, "{}", &text[..40]);
        }
    }
}
