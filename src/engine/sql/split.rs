//! Where statements end, by lexical rules alone. Pure.
//!
//! The same rules as psql's: a semicolon ends a statement outside parentheses and outside the
//! `BEGIN ATOMIC … END` body of a function.

use std::ops::Range;

use super::lex::{Token, TokenKind};

/// One statement: from its first significant token up to and including its semicolon, or to its
/// last significant token where the file ends without one. An empty statement is its semicolon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fragment {
    /// Bytes of the file.
    pub(crate) range: Range<usize>,
    /// Indexes of its tokens.
    pub(crate) tokens: Range<usize>,
}

/// Cuts `tokens` of `text` into statements.
#[cfg(test)]
pub(crate) fn split(text: &str, tokens: &[Token]) -> Vec<Fragment> {
    let mut fragments = Vec::new();
    let mut open = Splitter::default();
    for (index, token) in tokens
        .iter()
        .enumerate()
        .filter(|(_, t)| t.is_significant())
    {
        if open.take(text, index, token) {
            fragments.extend(open.finish());
        }
    }
    fragments.extend(open.finish());
    fragments
}

/// The statement that is being read.
#[derive(Default)]
pub(super) struct Splitter {
    bytes: Option<Range<usize>>,
    tokens: Range<usize>,
    /// Progress of `CREATE [OR REPLACE] FUNCTION | PROCEDURE`.
    header: Header,
    parentheses: usize,
    atomic: usize,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Header {
    #[default]
    Start,
    Create,
    CreateOr,
    CreateOrReplace,
    Routine,
    Other,
}

impl Splitter {
    /// Adds a token; true where it ends the statement.
    pub(super) fn take(&mut self, text: &str, index: usize, token: &Token) -> bool {
        let bytes = self.bytes.get_or_insert_with(|| token.range.clone());
        bytes.end = token.range.end;
        if self.tokens.is_empty() {
            self.tokens.start = index;
        }
        self.tokens.end = index + 1;
        match token.kind {
            TokenKind::Word => self.word(token.text(text)),
            TokenKind::Open => self.parentheses += 1,
            TokenKind::Close => self.parentheses = self.parentheses.saturating_sub(1),
            TokenKind::Semicolon => return self.parentheses == 0 && self.atomic == 0,
            TokenKind::Space
            | TokenKind::Comment
            | TokenKind::QuotedName
            | TokenKind::Text
            | TokenKind::DollarText
            | TokenKind::Number
            | TokenKind::Comma
            | TokenKind::Backslash
            | TokenKind::Other => {}
        }
        false
    }

    fn word(&mut self, word: &str) {
        let is = |expected: &str| word.eq_ignore_ascii_case(expected);
        self.header = match self.header {
            Header::Start if is("create") => Header::Create,
            Header::Create if is("or") => Header::CreateOr,
            Header::CreateOr if is("replace") => Header::CreateOrReplace,
            Header::Create | Header::CreateOrReplace if is("function") || is("procedure") => {
                Header::Routine
            }
            Header::Routine => Header::Routine,
            Header::Start
            | Header::Create
            | Header::CreateOr
            | Header::CreateOrReplace
            | Header::Other => Header::Other,
        };
        if self.header == Header::Routine && self.parentheses == 0 {
            if is("begin") || (is("case") && self.atomic > 0) {
                self.atomic += 1;
            } else if is("end") {
                self.atomic = self.atomic.saturating_sub(1);
            }
        }
    }

    /// Whether no statement has begun.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_none()
    }

    /// The statement so far; the next token begins another one.
    pub(super) fn finish(&mut self) -> Option<Fragment> {
        let done = std::mem::take(self);
        Some(Fragment {
            range: done.bytes?,
            tokens: done.tokens,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::lex::tokens;
    use super::*;

    fn pieces(text: &str) -> Vec<&str> {
        split(text, &tokens(text))
            .iter()
            .map(|f| &text[f.range.clone()])
            .collect()
    }

    #[test]
    fn semicolons_end_statements_only_at_the_top_level() {
        for (text, expected) in [
            ("SELECT 1; SELECT 2", vec!["SELECT 1;", "SELECT 2"]),
            ("-- ;\nSELECT 1 -- ;\n;", vec!["SELECT 1 -- ;\n;"]),
            (";;SELECT 1", vec![";", ";", "SELECT 1"]),
            ("", vec![]),
            ("  -- only a comment", vec![]),
            (
                "CREATE RULE r AS ON INSERT TO a DO (DELETE FROM b; DELETE FROM c); SELECT 1;",
                vec![
                    "CREATE RULE r AS ON INSERT TO a DO (DELETE FROM b; DELETE FROM c);",
                    "SELECT 1;",
                ],
            ),
            (
                "CREATE OR REPLACE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN a THEN 1 END; SELECT 2; END; SELECT 1;",
                vec![
                    "CREATE OR REPLACE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN a THEN 1 END; SELECT 2; END;",
                    "SELECT 1;",
                ],
            ),
            (
                "BEGIN; SELECT 1; END; SELECT 2;",
                vec!["BEGIN;", "SELECT 1;", "END;", "SELECT 2;"],
            ),
            (
                "CREATE TABLE begin_x (a int); SELECT 1;",
                vec!["CREATE TABLE begin_x (a int);", "SELECT 1;"],
            ),
            (
                "DO $$ BEGIN a; END $$; SELECT 1",
                vec!["DO $$ BEGIN a; END $$;", "SELECT 1"],
            ),
        ] {
            assert_eq!(pieces(text), expected, "{text}");
        }
    }
}
