//! One pass over a file as psql would read it: statements, the data behind `COPY … FROM STDIN`,
//! and commands of psql. Pure.
//!
//! Data and commands that do no harm are blanked byte for byte, so that what is left is SQL and
//! every place in it is still the place in the file.

use std::{collections::BTreeMap, ops::Range};

use super::{
    classify::{Class, classify},
    lex::{Lexer, Token, TokenKind},
    psql,
    segment::{Finding, Statement},
    split::Splitter,
};
use crate::engine::report::Code;

/// Findings of one kind that are told at most.
const MOST: usize = 20;

/// A file taken apart.
#[derive(Debug, Default)]
pub(super) struct Reading {
    /// The SQL of the file, as long as the file.
    pub(super) text: String,
    /// Tokens that tile `text`; what was blanked is white space.
    pub(super) tokens: Vec<Token>,
    /// The statements, classified.
    pub(super) statements: Vec<Statement>,
    /// Data for `COPY … FROM STDIN`, by index of the statement; bytes of the file.
    pub(super) data: BTreeMap<usize, Range<usize>>,
    /// Commands that only psql can carry out.
    pub(super) findings: Vec<Finding>,
}

/// Reads `text`.
pub(super) fn read(text: &str) -> Reading {
    let mut reader = Reader {
        text,
        lexer: Lexer::new(text),
        reading: Reading::default(),
        blanked: Vec::new(),
        splitter: Splitter::default(),
    };
    reader.run();
    let mut reading = reader.reading;
    reading.text = blank(text, &reader.blanked);
    reading.findings.truncate(MOST);
    reading
}

struct Reader<'a> {
    text: &'a str,
    lexer: Lexer<'a>,
    reading: Reading,
    blanked: Vec<Range<usize>>,
    splitter: Splitter,
}

impl Reader<'_> {
    fn run(&mut self) {
        while let Some(token) = self.lexer.next_token() {
            let index = self.reading.tokens.len();
            if token.kind == TokenKind::Backslash {
                self.command(&token);
                continue;
            }
            let ends = token.is_significant() && self.splitter.take(self.text, index, &token);
            self.reading.tokens.push(token);
            if ends {
                self.statement(true);
            }
        }
        self.statement(false);
    }

    /// The statement that has just ended, with its semicolon or with the file.
    fn statement(&mut self, has_semicolon: bool) {
        let Some(fragment) = self.splitter.finish() else {
            return;
        };
        let tokens = self.reading.tokens.get(fragment.tokens.clone());
        let class = classify(self.text, tokens.unwrap_or_default());
        let takes_data = class == Class::CopyIn;
        let end = fragment.range.end;
        self.reading
            .statements
            .push(Statement::new(fragment.range, class));
        if takes_data && has_semicolon {
            self.copy_data(end);
        } else if takes_data {
            // as psql does it: what follows was read as SQL already
            let index = self.reading.statements.len() - 1;
            self.reading.data.insert(index, end..end);
        }
    }

    /// The lines behind a COPY, up to `\.` or the end of the file.
    fn copy_data(&mut self, end: usize) {
        let index = self.reading.statements.len() - 1;
        let rest = self.text.get(end..).unwrap_or_default();
        let line = rest.find('\n').map_or(rest.len(), |at| at + 1);
        let (same_line, _) = rest.split_at_checked(line).unwrap_or((rest, ""));
        let trailing = same_line.trim();
        if !trailing.is_empty() && !trailing.starts_with("--") {
            let start = end + (same_line.len() - same_line.trim_start().len());
            self.reading.findings.push(Finding {
                code: Code::CopyData,
                range: start..start + trailing.len(),
                message: "the data of COPY begin on the next line, but this line goes on"
                    .to_owned(),
                hint: "put this behind the data",
            });
        }
        let start = end + line;
        let mut at = start;
        let mut terminated = false;
        for line in self
            .text
            .get(start..)
            .unwrap_or_default()
            .split_inclusive('\n')
        {
            if line.trim_end_matches(['\r', '\n']) == "\\." {
                self.reading.data.insert(index, start..at);
                at += line.len();
                terminated = true;
                break;
            }
            at += line.len();
        }
        if !terminated {
            self.reading.data.insert(index, start..at);
        }
        self.blank(end..at);
    }

    /// A backslash outside of strings and comments: to the end of its line it is psql's.
    fn command(&mut self, token: &Token) {
        let start = token.range.start;
        let rest = self.text.get(start..).unwrap_or_default();
        let line = rest.split(['\n', '\r']).next().unwrap_or_default();
        let before = self.text.get(..start).unwrap_or_default();
        let indent = before.rsplit('\n').next().unwrap_or_default();
        let alone = self.splitter.is_empty() && indent.trim().is_empty();
        if let Some(refusal) = psql::refuse(line, alone) {
            let command = line.split_whitespace().next().unwrap_or_default();
            self.reading.findings.push(Finding {
                code: Code::PsqlCommand,
                range: start..start + command.len().max(1),
                message: refusal.message,
                hint: refusal.hint,
            });
        }
        self.blank(start..start + line.len());
    }

    /// Takes a part of the file out; the lexer goes on behind it.
    fn blank(&mut self, range: Range<usize>) {
        self.lexer.skip_to(range.end);
        if range.is_empty() {
            return;
        }
        self.reading.tokens.push(Token {
            kind: TokenKind::Space,
            range: range.clone(),
            terminated: true,
        });
        self.blanked.push(range);
    }
}

/// `text` with spaces for the bytes of `ranges`; line breaks stay.
fn blank(text: &str, ranges: &[Range<usize>]) -> String {
    let mut blanked = String::with_capacity(text.len());
    let mut at = 0;
    for range in ranges {
        blanked.push_str(text.get(at..range.start).unwrap_or_default());
        let part = text.get(range.clone()).unwrap_or_default();
        blanked.extend(part.bytes().map(|byte| match byte {
            b'\n' => '\n',
            b'\r' => '\r',
            _ => ' ',
        }));
        at = range.end;
    }
    blanked.push_str(text.get(at..).unwrap_or_default());
    blanked
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(text: &str) -> Vec<&str> {
        let reading = read(text);
        assert_eq!(reading.text.len(), text.len(), "{text:?}");
        assert!(reading.findings.is_empty(), "{:?}", reading.findings);
        let ranges = reading.data.into_values();
        ranges.map(|range| &text[range]).collect()
    }

    #[test]
    fn data_reach_from_the_next_line_to_the_backslash_and_dot() {
        for (text, expected) in [
            (
                "COPY a FROM stdin;\n1\tit's\n2\t\\N\n\\.\nSELECT 1;",
                vec!["1\tit's\n2\t\\N\n"],
            ),
            (
                "COPY a FROM STDIN; -- c\r\n1\r\n\\.\r\nCOPY b FROM STDIN WITH (FORMAT csv);\n\"x;\ny\"\n\\.\n",
                vec!["1\r\n", "\"x;\ny\"\n"],
            ),
            ("COPY a FROM stdin;\n\\.\n", vec![""]),
            ("COPY a FROM stdin;\n1\n2", vec!["1\n2"]),
            ("COPY a FROM stdin;", vec![""]),
            ("COPY a FROM '/x';\n1\n", vec![]),
        ] {
            assert_eq!(data(text), expected, "{text:?}");
        }
    }

    #[test]
    fn a_copy_without_a_semicolon_has_no_data() {
        let text = "COPY a FROM stdin\n\\echo x\n";
        let reading = read(text);
        assert_eq!(reading.text, "COPY a FROM stdin\n       \n");
        let data: Vec<_> = reading.data.into_values().collect();
        assert_eq!(data, vec![17..17; 1]);
    }

    #[test]
    fn what_is_left_keeps_its_place() {
        let text = "\\restrict aü\nCOPY a FROM stdin;\nü;'\n\\.\nSELECT 'x';\n\\unrestrict aü\n";
        let reading = read(text);
        let at = text.find("SELECT").unwrap();
        assert_eq!(reading.text.find("SELECT"), Some(at));
        assert_eq!(
            reading.text.matches('\n').count(),
            text.matches('\n').count()
        );
        assert!(!reading.text.contains(['ü', '\\']), "{}", reading.text);
        let ranges: Vec<_> = reading
            .statements
            .iter()
            .map(|s| &text[s.range.clone()])
            .collect();
        assert_eq!(ranges, ["COPY a FROM stdin;", "SELECT 'x';"]);
        let mut at = 0;
        for token in &reading.tokens {
            assert_eq!(token.range.start, at);
            at = token.range.end;
        }
        assert_eq!(at, text.len());
    }
}
