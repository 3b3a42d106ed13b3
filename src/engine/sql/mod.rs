//! Reading SQL files: split, classify, find the one transaction a file runs in. Pure.
//!
//! ```text
//! text ─▶ read (lex, split, classify) ──┐
//!                                       ├─ same boundaries? ─▶ segment ─▶ Script
//!          └─ without data ─▶ parse ────┘
//! ```
//!
//! Two independent readings must agree on where statements end. The parser alone is not
//! trusted with that: squawk 2.68 swallows the statements that follow
//! `CREATE SCHEMA s CREATE TABLE …;` without an error.

pub(crate) mod alone;
pub(crate) mod backward;
pub(crate) mod cited;
pub(crate) mod classify;
pub(crate) mod defaults;
mod depth;
pub(crate) mod dialect;
#[cfg(test)]
mod fuzz;
mod labels;
pub(crate) mod lasting;
pub(crate) mod lex;
pub(crate) mod misread;
pub(crate) mod nested;
pub(crate) mod parse;
pub(crate) mod position;
mod psql;
mod read;
mod reading;
pub(crate) mod secrets;
pub(crate) mod segment;
mod split;
mod syntax;
#[cfg(test)]
mod tests;
pub(crate) mod words;

use std::{collections::BTreeMap, ops::Range};

use alone::Name;
use classify::Class;
use lex::TokenKind;
use parse::ParsedStatement;
use segment::{Finding, Segment, Shape, Statement, Transaction};

use super::{
    bundle::Part,
    checksum,
    report::{Code, Diagnostic},
};

/// A file that can be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Script {
    /// The file without a byte order mark, and with spaces in place of data and psql's commands.
    pub(crate) text: String,
    /// Its statements; the ranges are bytes of `text`.
    pub(crate) statements: Vec<Statement>,
    /// Data of `COPY … FROM STDIN`, by index of the statement.
    pub(crate) data: BTreeMap<usize, String>,
    /// Where the runner's own statements go.
    pub(crate) shape: Shape,
}

impl Script {
    /// A finding about a part of the file, made after it was compiled.
    pub(crate) fn finding(
        &self,
        file: &str,
        range: &Range<usize>,
        code: Code,
        message: &str,
    ) -> Diagnostic {
        let tokens = lex::tokens(&self.text);
        Diagnostic {
            position: Some(position::position(&self.text, range.start)),
            snippet: Some(position::snippet(&self.text, &tokens, range)),
            ..Diagnostic::of_file(file, code, message)
        }
    }

    /// A finding about one of its statements, or about the file where it is not known which.
    pub(crate) fn finding_at(
        &self,
        file: &str,
        statement: Option<usize>,
        code: Code,
        message: &str,
    ) -> Diagnostic {
        match statement.and_then(|index| self.statements.get(index)) {
            Some(statement) => self.finding(file, &statement.range, code, message),
            None => Diagnostic::of_file(file, code, message),
        }
    }

    /// The statements of a transaction, by index.
    pub(crate) fn within(&self, transaction: &Transaction) -> Range<usize> {
        let Range { start, end } = transaction.bytes;
        let first = |byte| self.statements.partition_point(|s| s.range.start < byte);
        first(start)..first(end)
    }

    /// The statements of a segment, by index.
    pub(crate) fn of_segment(&self, segment: &Segment) -> Range<usize> {
        match segment {
            Segment::Transaction(transaction) => self.within(transaction),
            Segment::Alone(index, _) => *index..*index + 1,
        }
    }

    /// How it runs; see [`Part`].
    pub(crate) fn parts(&self) -> Vec<Part> {
        let whole;
        let segments = match &self.shape {
            Shape::Segments(segments) => segments,
            Shape::Whole(transaction) => {
                whole = [Segment::Transaction(transaction.clone())];
                &whole[..]
            }
        };
        let line = |byte: usize| position::position(&self.text, byte).line;
        let part = |segment: &Segment| match segment {
            Segment::Transaction(transaction) => {
                let bytes = &transaction.bytes;
                let inside =
                    |s: &&Statement| bytes.contains(&s.range.start) && s.class != Class::Empty;
                let first = self.statements.iter().find(inside)?;
                Some(Part {
                    line: line(first.range.start),
                    alone: None,
                    statements: self.statements.iter().filter(inside).count(),
                })
            }
            Segment::Alone(index, alone) => Some(Part {
                line: line(self.statements.get(*index)?.range.start),
                alone: Some(alone.what),
                statements: 1,
            }),
        };
        segments.iter().filter_map(part).collect()
    }
}

/// Procedures that the files define one after another, and whether their bodies end transactions.
pub(crate) type CommittingProcedures = BTreeMap<Name, bool>;

/// Whether the procedure that is called ends transactions. Where only one of both names has a schema, they may mean the same.
fn commits(procedures: &CommittingProcedures, called: &Name) -> bool {
    if let Some(commits) = procedures.get(called) {
        return *commits;
    }
    let may_be = |defined: &Name| {
        let has_no_schema = defined.0.len() == 1 || called.0.len() == 1;
        has_no_schema && defined.0.last() == called.0.last()
    };
    procedures
        .iter()
        .any(|(defined, commits)| *commits && may_be(defined))
}

/// Compiles one file; call on [`parse::on_parser_thread`].
pub(crate) fn compile(
    file: &str,
    original: &str,
    procedures: &mut CommittingProcedures,
) -> Result<Script, Vec<Diagnostic>> {
    let read::Reading {
        text,
        tokens,
        statements,
        data,
        findings,
    } = read::read(original);
    let at = |code, range: &Range<usize>, message: String| Diagnostic {
        position: Some(position::position(original, range.start)),
        snippet: Some(position::snippet(original, &tokens, range)),
        ..Diagnostic::of_file(file, code, message)
    };
    let misread = |code, range: &Range<usize>, message: &str| {
        let (snippet, is_hidden) = position::snippet_of_misread(original, &tokens, range);
        let cited = original.get(range.clone()).filter(|_| is_hidden);
        Diagnostic {
            position: Some(position::position(original, range.start)),
            snippet: Some(snippet),
            ..Diagnostic::of_file(file, code, misread::without(message, cited))
        }
    };
    let found = |findings: Vec<Finding>| -> Vec<Diagnostic> {
        let told = findings.into_iter();
        told.map(|f| at(f.code, &f.range, f.message).with_hint(f.hint))
            .collect()
    };
    // what follows a command of psql need not be SQL, so nothing else is said
    if !findings.is_empty() {
        let told = findings.into_iter();
        return Err(told
            .map(|f| misread(f.code, &f.range, &f.message).with_hint(f.hint))
            .collect());
    }
    if let Some(unfinished) = tokens.iter().find(|t| !t.terminated) {
        let message = format!("unterminated {}", name_of(unfinished.kind));
        let start = unfinished.range.start;
        return Err(vec![misread(Code::Syntax, &(start..start + 1), &message)]);
    }
    if let Some(back) = backward::part(&text, &tokens, &statements) {
        return Err(found(vec![back]));
    }
    if let Some(range) = depth::too_deep(&text, &tokens) {
        let message = "nested too deeply to be parsed safely".to_owned();
        return Err(vec![
            at(Code::TooDeep, &range, message).with_hint("split the expression"),
        ]);
    }
    let Some(parsed) = parse::parse(&dialect::for_parser(&text, &tokens)) else {
        let message = "the parser has failed on this file, which is its fault, but nothing that was not read is run";
        return Err(vec![
            Diagnostic::of_file(file, Code::UncertainBoundary, message)
                .with_hint("leave out one statement after another to find what it does not take, and write that otherwise"),
        ]);
    };
    if !parsed.errors.is_empty() {
        return Err(syntax::errors(&text, &tokens, &statements, &parsed)
            .into_iter()
            .map(|(range, message)| misread(Code::Syntax, &range, &message))
            .collect());
    }
    if let Some(range) = disagreement(&statements, &parsed.statements) {
        let message = "the end of this statement is uncertain: two readings of the file find different boundaries";
        return Err(vec![
            misread(Code::UncertainBoundary, &range, message)
                .with_hint("write it as separate statements, each with its own semicolon"),
        ]);
    }
    let mut statements = with_bodies(statements, parsed.statements, procedures);
    labels::mark_uses(&text, &tokens, &mut statements);
    let shape = segment::shape(&statements, text.len()).map_err(found)?;
    let lines = |range: Range<usize>| original.get(range).unwrap_or_default().to_owned();
    Ok(Script {
        data: data
            .into_iter()
            .map(|(at, range)| (at, lines(range)))
            .collect(),
        text,
        statements,
        shape,
    })
}

/// The first place where the lexer's statements and the parser's differ.
fn disagreement(lexed: &[Statement], parsed: &[ParsedStatement]) -> Option<Range<usize>> {
    let lexed: Vec<_> = lexed
        .iter()
        .filter(|s| s.class != Class::Empty)
        .map(|s| &s.range)
        .collect();
    let empty = |s: &&ParsedStatement| s.range.len() > 1;
    let parsed: Vec<_> = parsed.iter().filter(empty).map(|s| &s.range).collect();
    let same = lexed
        .iter()
        .zip(&parsed)
        .take_while(|(l, p)| l == p)
        .count();
    match (lexed.get(same), parsed.get(same)) {
        (None, None) => None,
        (Some(range), _) | (None, Some(range)) => Some((*range).clone()),
    }
}

/// Adds what only the parser sees: bodies that end transactions, calls of such procedures.
fn with_bodies(
    lexed: Vec<Statement>,
    parsed: Vec<ParsedStatement>,
    procedures: &mut CommittingProcedures,
) -> Vec<Statement> {
    let mut parsed = parsed.into_iter().peekable();
    let mut statements = Vec::with_capacity(lexed.len());
    for mut statement in lexed {
        while parsed
            .peek()
            .is_some_and(|p| p.range.start < statement.range.start)
        {
            parsed.next();
        }
        if let Some(facts) = parsed.next_if(|p| p.range == statement.range) {
            if let Some((name, commits)) = facts.procedure {
                procedures.insert(name, commits);
            }
            if let Some(place) = facts.commits_at {
                statement.class = Class::ControlsTransaction(place);
            }
        }
        if let Class::Call(name) = &statement.class
            && commits(procedures, name)
        {
            statement.class = Class::ControlsTransaction(statement.range.clone());
        }
        statements.push(statement);
    }
    statements
}

/// Whether `sequence` occurs in `words`.
fn occurs(words: &[&str], sequence: &[&str]) -> bool {
    words
        .windows(sequence.len())
        .any(|window| window == sequence)
}

/// Whether this function is named in `text`, which is one statement; bodies and other constants included.
pub(crate) fn calls(text: &str, function: &str) -> bool {
    lex::tokens(text).iter().any(|token| {
        token.is_word(text, function)
            || (token.is_constant() && token.text(text).to_ascii_lowercase().contains(function))
    })
}

/// What remains the same when comments and white space change: SHA-256 over the tokens.
pub(crate) fn fingerprint(text: &str) -> String {
    let tokens = lex::tokens(text);
    let significant = tokens.iter().filter(|token| token.is_significant());
    let words: Vec<&str> = significant.map(|token| token.text(text)).collect();
    checksum::sha256(words.join("\0").as_bytes())
}

/// What a file says whatever its form: comments, white space and the case of key words and of
/// names without quotes do not count. Half a SHA-256 over the words, and the data of COPY.
pub(crate) fn meaning(script: &Script) -> String {
    let text = &script.text;
    let mut words: Vec<String> = Vec::new();
    let mut end_of_sign = None;
    for token in lex::tokens(text).iter().filter(|t| t.is_significant()) {
        let word = token.text(text);
        match token.kind {
            TokenKind::Word => words.push(word.to_ascii_lowercase()),
            // `@-` is another operator than `@ -`
            TokenKind::Other if end_of_sign == Some(token.range.start) => {
                if let Some(sign) = words.last_mut() {
                    sign.push_str(word);
                }
            }
            TokenKind::Space
            | TokenKind::Comment
            | TokenKind::QuotedName
            | TokenKind::Text
            | TokenKind::DollarText
            | TokenKind::Number
            | TokenKind::Semicolon
            | TokenKind::Open
            | TokenKind::Close
            | TokenKind::Comma
            | TokenKind::Backslash
            | TokenKind::Other => words.push(word.to_owned()),
        }
        end_of_sign = (token.kind == TokenKind::Other).then_some(token.range.end);
    }
    words.extend(script.data.values().cloned());
    let mut sum = checksum::sha256(words.join("\0").as_bytes());
    sum.truncate(32);
    sum
}

/// A statement as it may be shown: on one line, without comments and without what its constants
/// say, cut to `longest` characters.
pub(crate) fn outline(text: &str, longest: usize) -> String {
    let tokens = lex::tokens(text);
    let mut shown = String::new();
    for token in &tokens {
        match token.kind {
            TokenKind::Space | TokenKind::Comment => {
                if !shown.is_empty() && !shown.ends_with(' ') {
                    shown.push(' ');
                }
            }
            TokenKind::Text | TokenKind::DollarText => shown.push_str("'…'"),
            TokenKind::Number => shown.push('…'),
            TokenKind::Word
            | TokenKind::QuotedName
            | TokenKind::Semicolon
            | TokenKind::Open
            | TokenKind::Close
            | TokenKind::Comma
            | TokenKind::Backslash
            | TokenKind::Other => shown.push_str(token.text(text)),
        }
    }
    let shown = shown.trim_end().trim_end_matches(';');
    match shown.char_indices().nth(longest) {
        Some((end, _)) => {
            let head: String = shown
                .get(..end)
                .unwrap_or_default()
                .chars()
                .take(longest - 1)
                .collect();
            format!("{head}…")
        }
        None => shown.to_owned(),
    }
}

fn is_blank(text: &str) -> bool {
    text.trim().is_empty()
}

fn name_of(kind: TokenKind) -> &'static str {
    match kind {
        TokenKind::Comment => "comment",
        TokenKind::QuotedName => "quoted name",
        TokenKind::DollarText => "dollar-quoted string",
        TokenKind::Space
        | TokenKind::Word
        | TokenKind::Text
        | TokenKind::Number
        | TokenKind::Semicolon
        | TokenKind::Open
        | TokenKind::Close
        | TokenKind::Comma
        | TokenKind::Backslash
        | TokenKind::Other => "string",
    }
}
