//! What squawk's parser says about a file: statement boundaries, syntax errors, PL/pgSQL bodies
//! that end transactions. Pure, apart from the thread it runs on.
//!
//! A deeply nested text would overflow the stack, which ends the process and cannot be caught.
//! So [`depth`](super::depth) refuses such texts first, and [`on_parser_thread`] gives the rest
//! room. The trees never leave that thread: dropping them recurses as well.

use std::{io, ops::Range, panic, thread};

use squawk_syntax::{
    SourceFile, SyntaxKind,
    ast::{self, AstNode, Stmt},
    plpgsql::Plpgsql,
};

use super::{alone::Name, classify::catalog_name, lex};

const STACK: usize = 64 << 20;

/// What the compiler needs to know of a parsed file. All ranges are bytes of the text.
#[derive(Debug, Default)]
pub(crate) struct Parsed {
    /// The statements.
    pub(crate) statements: Vec<ParsedStatement>,
    /// Syntax errors; while there are any, the statements mean nothing.
    pub(crate) errors: Vec<(Range<usize>, String)>,
}

/// One statement.
#[derive(Debug)]
pub(crate) struct ParsedStatement {
    /// From its first token up to and including the semicolon.
    pub(crate) range: Range<usize>,
    /// The first COMMIT or ROLLBACK in the body of a DO.
    pub(crate) commits_at: Option<Range<usize>>,
    /// For CREATE PROCEDURE: its name and whether its body ends transactions.
    pub(crate) procedure: Option<(Name, bool)>,
}

/// Runs `work` on a thread whose stack holds any text that passed [`super::depth`].
pub(crate) fn on_parser_thread<T: Send>(work: impl FnOnce() -> T + Send) -> io::Result<T> {
    thread::scope(|scope| {
        let parser = thread::Builder::new()
            .name("sql-parser".into())
            .stack_size(STACK);
        let handle = parser.spawn_scoped(scope, work)?;
        handle
            .join()
            .map_err(|_| io::Error::other("the SQL parser panicked"))
    })
}

/// Parses a file; call on the parser thread only. None: the parser has given up, which is a fault of its own.
pub(crate) fn parse(text: &str) -> Option<Parsed> {
    panic::catch_unwind(|| parsed(text)).ok()
}

fn parsed(text: &str) -> Parsed {
    let parse = SourceFile::parse(text);
    let errors = parse
        .errors()
        .iter()
        .map(|e| {
            (
                e.range().start().into()..e.range().end().into(),
                e.message().to_owned(),
            )
        })
        .collect();
    let statements = parse.tree().stmts().map(|s| statement(&s)).collect();
    Parsed { statements, errors }
}

fn statement(stmt: &Stmt) -> ParsedStatement {
    let node = stmt.syntax();
    let start = node
        .children_with_tokens()
        .find(|child| !child.kind().is_trivia())
        .map_or(node.text_range().start(), |child| {
            child.text_range().start()
        });
    let commits_at = if let Stmt::Do(block) = stmt {
        block.plpgsql().as_ref().and_then(transaction_end)
    } else {
        None
    };
    let procedure = if let Stmt::CreateProcedure(procedure) = stmt {
        Some((
            procedure_name(procedure),
            procedure
                .plpgsql()
                .as_ref()
                .and_then(transaction_end)
                .is_some(),
        ))
    } else {
        None
    };
    ParsedStatement {
        range: start.into()..node.text_range().end().into(),
        commits_at,
        procedure,
    }
}

/// Errors of the PL/pgSQL grammar are ignored (it still rejects valid bodies in places); a
/// COMMIT that it found is a fact.
fn transaction_end(body: &Plpgsql) -> Option<Range<usize>> {
    let node = body.syntax().descendants().find(|node| {
        matches!(
            node.kind(),
            SyntaxKind::PLPGSQL_COMMIT_STMT | SyntaxKind::PLPGSQL_ROLLBACK_STMT
        )
    })?;
    let range = body.source_range(node.text_range());
    Some(range.start().into()..range.end().into())
}

fn procedure_name(procedure: &ast::CreateProcedure) -> Name {
    let written = procedure
        .name()
        .map(|name| name.syntax().text().to_string());
    let written = written.unwrap_or_default();
    let tokens = lex::tokens(&written);
    let parts = tokens.iter().filter(|token| token.is_significant());
    let parts = parts.map(|token| token.text(&written));
    let parts = parts.filter(|part| *part != ".");
    Name(parts.map(catalog_name).collect())
}
