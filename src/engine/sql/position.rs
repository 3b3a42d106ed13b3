//! Byte offsets and what people see: line, column, the line itself. Pure.

use std::ops::Range;

use super::lex::{Token, TokenKind};
use super::{misread, secrets};
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
/// statement that speaks of passwords or of other servers are blanked, and passwords in whatever
/// else is on the line. `tokens` are those of `text`.
pub(crate) fn snippet(text: &str, tokens: &[Token], range: &Range<usize>) -> Snippet {
    shown(text, tokens, range, Vec::new())
}

/// The same of a text that the parser takes, while it takes more than there is: of roles options that nobody knows, so that
/// a password behind one is a word.
pub(crate) fn careful_snippet(text: &str, tokens: &[Token], range: &Range<usize>) -> Snippet {
    let line = line_at(text, range.start);
    shown(
        text,
        tokens,
        range,
        misread::behind_words(text, tokens, &line),
    )
}

/// The same of a text that is no SQL, see [`misread`]; and whether what is meant is hidden itself, so that no message may
/// cite it.
pub(crate) fn snippet_of_misread(
    text: &str,
    tokens: &[Token],
    range: &Range<usize>,
) -> (Snippet, bool) {
    let line = line_at(text, range.start);
    let hidden = misread::hidden(text, tokens, &line);
    let all = joined([&hidden[..], &secrets(text, tokens, &line)[..]].concat());
    let is_hidden = all
        .iter()
        .any(|part| part.start < range.end && range.start < part.end);
    (shown(text, tokens, range, hidden), is_hidden)
}

/// The line on which a byte is, without its end.
fn line_at(text: &str, byte: usize) -> Range<usize> {
    let start = floor(text, byte);
    let before = text.get(..start).unwrap_or_default();
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    let rest = text.get(line_start..).unwrap_or_default();
    line_start..line_start + rest.find('\n').unwrap_or(rest.len())
}

/// A snippet that hides these parts too.
fn shown(text: &str, tokens: &[Token], range: &Range<usize>, also: Vec<Range<usize>>) -> Snippet {
    let start = floor(text, range.start);
    let whole = line_at(text, start);
    let shown = text.get(whole.clone()).unwrap_or_default();
    let secret = joined([&secrets(text, tokens, &whole)[..], &also[..]].concat());
    let line = without(shown, &whole, &secret, "*");
    let private = joined([hidden(text, tokens, &whole), also].concat());
    let redacted = without(shown, &whole, &private, "…");
    let caret = text
        .get(whole.start..start)
        .unwrap_or_default()
        .chars()
        .count();
    let marked = text
        .get(start..floor(text, range.end.min(whole.end)))
        .unwrap_or_default()
        .trim_end();
    clip(&line, &redacted, caret, marked.chars().count().max(1))
}

/// Cuts a long line down around the caret.
fn clip(line: &str, redacted: &str, caret: usize, width: usize) -> Snippet {
    let first = caret.saturating_sub(SHOWN / 2);
    let cut_before = first > 0;
    let cut = |line: &str| -> String {
        let shown = line.chars().skip(first).take(SHOWN);
        cut_before.then_some('…').into_iter().chain(shown).collect()
    };
    let text = cut(line);
    let caret = caret - first + usize::from(cut_before);
    let length = text.chars().count();
    Snippet {
        text,
        redacted: cut(redacted),
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

/// A line of the file as it is shown, with a sign for each character of `parts`.
fn without(shown: &str, line: &Range<usize>, parts: &[Range<usize>], sign: &str) -> String {
    let mut shown = shown.to_owned();
    // from the end, so that earlier offsets stay true
    for part in parts.iter().rev() {
        let from = part.start.max(line.start) - line.start;
        let to = part.end.min(line.end) - line.start;
        if let Some(hidden) = shown.get(from..to) {
            let signs = sign.repeat(hidden.chars().count());
            shown.replace_range(from..to, &signs);
        }
    }
    shown.trim_end_matches('\r').replace('\t', " ")
}

/// The tokens on a line.
fn on<'a>(all: &'a [Token], line: &Range<usize>) -> &'a [Token] {
    let first = all.partition_point(|token| token.range.end <= line.start);
    let end = all.partition_point(|token| token.range.start < line.end);
    all.get(first..end).unwrap_or_default()
}

/// What only whoever has the file may read: constants, numbers, comments, and whatever is not SQL.
fn hidden(text: &str, all: &[Token], line: &Range<usize>) -> Vec<Range<usize>> {
    let hides = |token: &&Token| match token.kind {
        TokenKind::Text | TokenKind::DollarText | TokenKind::Number | TokenKind::Comment => true,
        TokenKind::Space => !super::is_blank(token.text(text)),
        TokenKind::Word
        | TokenKind::QuotedName
        | TokenKind::Semicolon
        | TokenKind::Open
        | TokenKind::Close
        | TokenKind::Comma
        | TokenKind::Backslash
        | TokenKind::Other => false,
    };
    let tokens = on(all, line).iter().filter(hides);
    tokens.map(|token| token.range.clone()).collect()
}

/// What nobody may read: the constants of a statement that speaks of a password, a connection or
/// another server, and passwords in URLs and connection strings wherever they are.
fn secrets(text: &str, all: &[Token], line: &Range<usize>) -> Vec<Range<usize>> {
    let first = all.partition_point(|token| token.range.end <= line.start);
    let is_end = |token: &Token| token.kind == TokenKind::Semicolon;
    let before = all.get(..first).unwrap_or_default();
    let begin = before.iter().rposition(is_end).map_or(0, |at| at + 1);
    let mut hidden = Vec::new();
    for statement in all.get(begin..).unwrap_or_default().split_inclusive(is_end) {
        if statement
            .first()
            .is_none_or(|token| token.range.start >= line.end)
        {
            break;
        }
        if statement.iter().any(|token| secrets::tells(text, token)) {
            let constants = on(statement, line)
                .iter()
                .filter(|token| token.is_constant());
            hidden.extend(constants.map(|token| token.range.clone()));
        }
    }
    let words = secrets::in_words(text.get(line.clone()).unwrap_or_default());
    hidden.extend(
        words
            .into_iter()
            .map(|word| word.start + line.start..word.end + line.start),
    );
    joined(hidden)
}

/// In order, and none within another.
fn joined(mut ranges: Vec<Range<usize>>) -> Vec<Range<usize>> {
    ranges.sort_by_key(|range| range.start);
    ranges.dedup_by(|next, before| {
        let is_touched = next.start <= before.end;
        if is_touched {
            before.end = before.end.max(next.end);
        }
        is_touched
    });
    ranges
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
                redacted: " SELEC ü;".into(),
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
    fn passwords_of_connections_are_not_shown() {
        let shown = [
            "CREATE SUBSCRIPTION s CONNECTION 'host=h password=s3cret' PUBLICATION p;",
            "CREATE USER MAPPING FOR a SERVER b OPTIONS (user 'c', password 's3cret');",
            "CREATE SERVER b FOREIGN DATA WRAPPER w OPTIONS (url 'http://u:s3cret@h');",
            "SELECT dblink('host=h password=s3cret', 'SELECT 1');",
            "SELECT dblink_connect_u('host=h passfile=s3cret');",
            "SELECT connect('host=h password=s3cret');",
            "SELECT * FROM f('postgresql://u:s3cret@h/d');",
            "SELECT $$ x postgresql://h/d?password=s3cret $$;",
            "PREPARE p AS SELECT 'ALTER ROLE x PASSWORD ''s3cret''';",
            "SELECT 1; -- once was postgresql://u:s3cret@h/d",
            "SELECT 1; /* host=h password=s3cret */",
            "\\connect postgresql://ü:s3cret@h/d",
            "\\c \"host=h password=s3cret\"",
        ]
        .map(|text| snippet(text, &(0..2)).text);
        for line in &shown {
            assert!(!line.contains("s3cret"), "{shown:#?}");
        }
        // who they are for, and where, may be read
        assert!(shown[9].contains("postgresql://u:******@h/d"), "{shown:#?}");
        assert!(shown[11].contains("ü:******@h/d"), "{shown:#?}");
        let plain = "UPDATE t SET url = 'https://h/a' WHERE a = '1';";
        assert_eq!(snippet(plain, &(0..2)).text, plain);
    }

    #[test]
    fn what_others_read_has_no_constants() {
        let text = "INSERT INTO \"t\" VALUES ('plain', 42, $$ü$$); -- why\n";
        let at = text.find("42").unwrap();
        let shown = snippet(text, &(at..at + 2));
        assert_eq!(shown.text, text.trim_end());
        assert_eq!(
            shown.redacted,
            "INSERT INTO \"t\" VALUES (…………………, ……, ……………); ………………"
        );
        let widths = [&shown.text, &shown.redacted].map(|line| line.chars().count());
        assert_eq!(widths[0], widths[1]);
    }

    #[test]
    fn a_line_with_very_many_constants_is_shown_at_once() {
        let text = format!(
            "INSERT INTO t VALUES ('a'{}) PASSWORD;",
            ", 'a'".repeat(300_000)
        );
        let shown = snippet(&text, &(text.len() - 1..text.len()));
        assert!(!shown.text.contains("'a'"), "{}", shown.text);
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
