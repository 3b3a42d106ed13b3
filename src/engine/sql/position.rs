//! Byte offsets and what people see: line, column, the line itself. Pure.

use std::ops::Range;

use super::lex::{Token, TokenKind};
use crate::engine::report::{Position, Snippet};

/// Longest part of a line that is shown, in characters.
const SHOWN: usize = 160;

/// Line and column of a byte of `text`.
pub(crate) fn position(text: &str, byte: usize) -> Position {
    let before = text.get(..byte).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    Position {
        line: before.matches('\n').count() + 1,
        column: before.get(line_start..).unwrap_or_default().chars().count() + 1,
    }
}

/// The byte at which the `number`-th character (from 1, as PostgreSQL counts) of `text` begins.
pub(crate) fn byte_of_character(text: &str, number: usize) -> Option<usize> {
    text.char_indices()
        .map(|(byte, _)| byte)
        .chain(std::iter::once(text.len()))
        .nth(number.checked_sub(1)?)
}

/// The line on which `range` begins, with the part of it that is meant. String constants of a
/// statement that speaks of passwords or connection strings are blanked. `tokens` are those of
/// `text`.
pub(crate) fn snippet(text: &str, tokens: &[Token], range: &Range<usize>) -> Snippet {
    let start = floor(text, range.start);
    let before = text.get(..start).unwrap_or_default();
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    let rest = text.get(line_start..).unwrap_or_default();
    let line_end = line_start + rest.find('\n').unwrap_or(rest.len());
    let line = masked(text, tokens, line_start..line_end);
    let line = line.trim_end_matches('\r').replace('\t', " ");
    let caret = text
        .get(line_start..start)
        .unwrap_or_default()
        .chars()
        .count();
    let marked = text
        .get(start..floor(text, range.end.min(line_end)))
        .unwrap_or_default()
        .trim_end();
    clip(&line, caret, marked.chars().count().max(1))
}

/// Cuts a long line down around the caret.
fn clip(line: &str, caret: usize, width: usize) -> Snippet {
    let first = caret.saturating_sub(SHOWN / 2);
    let shown: String = line.chars().skip(first).take(SHOWN).collect();
    let cut_before = first > 0;
    let caret = caret - first + usize::from(cut_before);
    let length = shown.chars().count() + usize::from(cut_before);
    Snippet {
        text: if cut_before {
            format!("…{shown}")
        } else {
            shown
        },
        caret,
        width: width.min(length.saturating_sub(caret)).max(1),
    }
}

fn floor(text: &str, byte: usize) -> usize {
    let mut byte = byte.min(text.len());
    while !text.is_char_boundary(byte) {
        byte -= 1;
    }
    byte
}

/// A line of the file without the string constants that may be secrets.
fn masked(text: &str, all: &[Token], line: Range<usize>) -> String {
    let mut shown = text.get(line.clone()).unwrap_or_default().to_owned();
    // from the end, so that earlier offsets stay true
    for (index, token) in all.iter().enumerate().rev() {
        let overlaps = token.range.start < line.end && token.range.end > line.start;
        if overlaps && token.is_constant() && is_confidential(text, all, index) {
            let from = token.range.start.max(line.start) - line.start;
            let to = token.range.end.min(line.end) - line.start;
            let stars = "*".repeat(shown.get(from..to).unwrap_or_default().chars().count());
            shown.replace_range(from..to, &stars);
        }
    }
    shown
}

/// Whether the statement of token `index` (between two semicolons) names a password, a
/// connection or a user mapping.
fn is_confidential(text: &str, all: &[Token], index: usize) -> bool {
    let is_end = |t: &&Token| t.kind == TokenKind::Semicolon;
    let speaks = |t: &Token| {
        ["password", "connection", "mapping", "dblink_connect"]
            .iter()
            .any(|word| t.is_word(text, word))
    };
    let (before, after) = all.split_at_checked(index).unwrap_or((all, &[]));
    let inside = |t: &Token| {
        t.kind == TokenKind::DollarText && t.text(text).to_ascii_lowercase().contains("password")
    };
    before.iter().rev().take_while(|t| !is_end(t)).any(speaks)
        || after
            .iter()
            .take_while(|t| !is_end(t))
            .any(|t| speaks(t) || inside(t))
}

#[cfg(test)]
mod tests {
    use super::super::lex::tokens;
    use super::*;

    fn snippet(text: &str, range: &Range<usize>) -> Snippet {
        super::snippet(text, &tokens(text), range)
    }

    #[test]
    fn columns_count_characters() {
        let text = "a\r\nüü x\n";
        assert_eq!(
            position(text, text.find('x').unwrap()),
            Position { line: 2, column: 4 }
        );
        assert_eq!(position(text, text.len()), Position { line: 3, column: 1 });
        assert_eq!(byte_of_character("üb", 2), Some(2));
        assert_eq!(byte_of_character("üb", 3), Some(3));
        assert_eq!(byte_of_character("üb", 4), None);
        assert_eq!(byte_of_character("üb", 0), None);
    }

    #[test]
    fn the_snippet_is_the_line_without_its_ending() {
        let text = "SELECT 1;\r\n\tSELEC ü;\r\n";
        let at = text.find("SELEC ü").unwrap();
        let shown = snippet(text, &(at..at + 5));
        assert_eq!(
            shown,
            Snippet {
                text: " SELEC ü;".into(),
                caret: 1,
                width: 5
            }
        );
    }

    #[test]
    fn passwords_are_not_shown() {
        let text = "INSERT INTO a VALUES ('plain');\nCREATE ROLE x PASSWORD 'hunter2' VALID;";
        let at = text.find("VALID").unwrap();
        assert_eq!(
            snippet(text, &(at..at + 5)).text,
            "CREATE ROLE x PASSWORD ********* VALID;"
        );
        assert!(snippet(text, &(0..6)).text.contains("'plain'"));
        let body = "DO $$ BEGIN EXECUTE 'ALTER ROLE x PASSWORD ''s3cret'''; END $$;";
        assert!(!snippet(body, &(0..2)).text.contains("s3cret"));
        let several = "ALTER ROLE x PASSWORD\n 'two\nlines' ;";
        let at = several.find("lines").unwrap();
        assert!(!snippet(several, &(at..at + 1)).text.contains("lines"));
    }

    #[test]
    fn long_lines_are_cut_around_the_caret() {
        let text = format!("{}HERE{}", "a ".repeat(300), " b".repeat(300));
        let at = text.find("HERE").unwrap();
        let shown = snippet(&text, &(at..at + 4));
        assert!(shown.text.chars().count() <= SHOWN + 1);
        assert!(
            shown
                .text
                .chars()
                .skip(shown.caret)
                .collect::<String>()
                .starts_with("HERE")
        );
        assert_eq!(shown.width, 4);
    }
}
