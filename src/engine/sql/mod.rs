//! Reading SQL files: split, classify, find the one transaction a file runs in. Pure.
//!
//! ```text
//! text ─▶ lex ─▶ split ──┐
//!                        ├─ same boundaries? ─▶ classify ─▶ segment ─▶ Script
//! text ─▶ depth ─▶ parse ┘
//! ```
//!
//! Two independent readings must agree on where statements end. The parser alone is not
//! trusted with that: squawk 2.68 swallows the statements that follow
//! `CREATE SCHEMA s CREATE TABLE …;` without an error.

pub(crate) mod classify;
mod depth;
pub(crate) mod lex;
pub(crate) mod parse;
pub(crate) mod position;
pub(crate) mod segment;
mod split;
mod syntax;
#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, ops::Range};

use classify::{Class, classify};
use lex::{Token, TokenKind};
use parse::ParsedStatement;
use segment::{Shape, Statement};

use super::report::{Code, Diagnostic};

/// A file that can be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Script {
    /// The file without a byte order mark.
    pub(crate) text: String,
    /// Its statements; the ranges are bytes of `text`.
    pub(crate) statements: Vec<Statement>,
    /// Where the runner's own statements go.
    pub(crate) shape: Shape,
}

/// Procedures whose bodies end transactions, by name, as the files define them one after another.
pub(crate) type CommittingProcedures = BTreeSet<String>;

/// Compiles one file; call on [`parse::on_parser_thread`].
pub(crate) fn compile(
    file: &str,
    text: &str,
    procedures: &mut CommittingProcedures,
) -> Result<Script, Vec<Diagnostic>> {
    let tokens = lex::tokens(text);
    let at = |code, range: &Range<usize>, message: String| Diagnostic {
        position: Some(position::position(text, range.start)),
        snippet: Some(position::snippet(text, &tokens, range)),
        ..Diagnostic::of_file(file, code, message)
    };
    let fragments = split::split(text, &tokens);
    let classified: Vec<Statement> = fragments
        .iter()
        .map(|fragment| Statement {
            range: fragment.range.clone(),
            class: classify(
                text,
                tokens.get(fragment.tokens.clone()).unwrap_or_default(),
            ),
        })
        .collect();
    let foreign = only_psql(text, &tokens, &classified);
    if !foreign.is_empty() {
        return Err(foreign
            .into_iter()
            .map(|f| at(f.code, &f.range, f.message).with_hint(f.hint))
            .collect());
    }
    if let Some(unfinished) = tokens.iter().find(|t| !t.terminated) {
        let message = format!("unterminated {}", name_of(unfinished.kind));
        let start = unfinished.range.start;
        return Err(vec![at(Code::Syntax, &(start..start + 1), message)]);
    }
    if let Some(range) = depth::too_deep(text, &tokens) {
        let message = "nested too deeply to be parsed safely".to_owned();
        return Err(vec![
            at(Code::TooDeep, &range, message).with_hint("split the expression"),
        ]);
    }
    let parsed = parse::parse(text);
    if !parsed.errors.is_empty() {
        return Err(syntax::errors(text, &tokens, &classified, &parsed)
            .into_iter()
            .map(|(range, message)| at(Code::Syntax, &range, message))
            .collect());
    }
    if let Some(range) = disagreement(&classified, &parsed.statements) {
        let message = "the end of this statement is uncertain: two readings of the file find different boundaries".to_owned();
        return Err(vec![
            at(Code::UncertainBoundary, &range, message)
                .with_hint("write it as separate statements, each with its own semicolon"),
        ]);
    }
    let statements = with_bodies(classified, parsed.statements, procedures);
    match segment::shape(&statements) {
        Ok(shape) => Ok(Script {
            text: text.to_owned(),
            statements,
            shape,
        }),
        Err(findings) => Err(findings
            .into_iter()
            .map(|f| at(f.code, &f.range, f.message).with_hint(f.hint))
            .collect()),
    }
}

/// Commands of psql and COPY data: from there on the text is not SQL, so nothing else is said.
fn only_psql(text: &str, tokens: &[Token], statements: &[Statement]) -> Vec<segment::Finding> {
    let copy = statements.iter().find(|s| s.class == Class::CopyStream);
    let command = tokens.iter().find(|t| t.kind == TokenKind::Backslash);
    match (copy, command) {
        (Some(copy), command) if command.is_none_or(|c| copy.range.start < c.range.start) => {
            segment::shape(std::slice::from_ref(copy))
                .err()
                .unwrap_or_default()
        }
        (_, Some(_)) => tokens
            .iter()
            .filter(|t| t.kind == TokenKind::Backslash)
            .map(|t| {
                let line = text.get(t.range.start..).unwrap_or_default();
                let line = line.split(['\n', '\r']).next().unwrap_or_default();
                let command = line.split_whitespace().next().unwrap_or_default();
                segment::Finding {
                    code: Code::PsqlCommand,
                    range: t.range.start..t.range.start + command.len(),
                    message: format!("{command} is a command of psql, not SQL"),
                    hint: "remove it: files are sent to the server as they are",
                }
            })
            .take(20)
            .collect(),
        (_, None) => Vec::new(),
    }
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
                if commits {
                    procedures.insert(name);
                } else {
                    procedures.remove(&name);
                }
            }
            if let Some(place) = facts.commits_at {
                statement.class = Class::ControlsTransaction(place);
            }
        }
        if let Class::Call(name) = &statement.class
            && procedures.contains(name)
        {
            statement.class = Class::ControlsTransaction(statement.range.clone());
        }
        statements.push(statement);
    }
    statements
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
