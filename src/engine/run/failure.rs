//! From the server's error to the line of the file. Pure.

use std::ops::Range;

use crate::{
    engine::{
        message::{Message, Step},
        report::{Code, Diagnostic, Snippet},
        sql::{
            Script,
            cited::without_secrets as without_citations,
            lex::{Token, tokens},
            misread,
            position::{position, snippet, snippet_of_misread},
        },
    },
    postgres::ServerError,
};

/// Why a row is not there that was written.
pub(super) const HIDDEN: &str = "the ledger did not keep the row: a trigger, a rule or row-level security drops it, or hides it from this role";

/// Locates an error that came after `completed` answers to `message`.
pub(super) fn locate(
    version: &str,
    script: &Script,
    message: &Message,
    completed: usize,
    error: &ServerError,
) -> Diagnostic {
    let step = message.step(completed);
    let place = match step {
        Some(Step::Statement(index)) => place(script, message, completed, index, error),
        Some(Step::Again(index)) => script.statements.get(index).map(|s| s.range.clone()),
        // a syntax error comes before any answer, with a position
        Some(Step::Prepare | Step::Fence | Step::Record | Step::Look | Step::Commit) | None => None,
    };
    let place = place.or_else(|| {
        error
            .position
            .and_then(|p| message.byte_of_file(completed, p))
            .map(|b| word_at(&script.text, b))
    });
    let at = place.as_ref();
    let error = &without_secrets(script, at, error);
    let (code, text, hint) = judge(step, at.is_some(), error);
    Diagnostic {
        position: at.map(|range| position(&script.text, range.start)),
        snippet: at.map(|range| line(script, range, error)),
        sqlstate: Some(error.sqlstate.clone()),
        detail: error.detail.clone(),
        hint: hint.map(str::to_owned).or_else(|| error.hint.clone()),
        ..Diagnostic::of_file(version, code, text)
    }
}

/// What the server does not take for SQL, although the parser did, is shown as what the parser does not take.
const NO_SQL: &str = "42601";

/// The line of the file that is meant.
fn line(script: &Script, range: &Range<usize>, error: &ServerError) -> Snippet {
    let tokens = tokens(&script.text);
    if error.sqlstate == NO_SQL {
        return snippet_of_misread(&script.text, &tokens, range).0;
    }
    snippet(&script.text, &tokens, range)
}

/// The error without what it cites of a statement that may hold a secret.
fn without_secrets(
    script: &Script,
    place: Option<&Range<usize>>,
    error: &ServerError,
) -> ServerError {
    let Some(range) = place else {
        return error.clone();
    };
    let text = &script.text;
    let mut statements = script.statements.iter();
    let statement = statements.find(|statement| statement.range.contains(&range.start));
    let statement = statement.and_then(|statement| text.get(statement.range.clone()));
    let mut cited = None;
    if error.sqlstate == NO_SQL && snippet_of_misread(text, &tokens(text), range).1 {
        cited = text.get(range.clone());
    }
    let without = |said: &str| {
        let said = misread::without(said, cited);
        statement.map_or(said.clone(), |sql| without_citations(&said, sql))
    };
    ServerError {
        message: without(&error.message),
        detail: error.detail.as_deref().map(without),
        hint: error.hint.as_deref().map(without),
        ..error.clone()
    }
}

fn judge(
    step: Option<Step>,
    located: bool,
    error: &ServerError,
) -> (Code, String, Option<&'static str>) {
    let message = error.message.clone();
    match (step, error.sqlstate.as_str()) {
        (_, _) if error.is_out_of_room() => (
            Code::Refused,
            format!("the server has run short of memory, disk or another resource: {message}"),
            // the server may know which setting is meant
            error
                .hint
                .is_none()
                .then_some("make room or give the server more of it, then try again"),
        ),
        (Some(Step::Again(_)), _) => (
            Code::Refused,
            format!("the session in which the file made this setting is gone, and in a new one it cannot be made again: {message}"),
            Some(
                "put what stands behind the part that is committed into a file of its own, which does without this setting; or do it by \
                 hand and record the file: sepulki migrate mark",
            ),
        ),
        (Some(Step::Record), "23502") => (
            Code::CommittedItself,
            "the file ended the transaction it ran in, so it was not recorded; what came before that is committed".to_owned(),
            Some("remove what commits, undo by hand what the file left behind, then try again"),
        ),
        (Some(Step::Record), "23505") => (
            Code::NotRecorded,
            "the file was not recorded: its version is in the ledger already".to_owned(),
            Some("files do not write the ledger themselves, and no other tool may run beside this one"),
        ),
        (Some(Step::Record), _) => (
            Code::NotRecorded,
            format!("the file could not be recorded: {message}"),
            None,
        ),
        (Some(Step::Look), _) => (
            Code::NotRecorded,
            HIDDEN.to_owned(),
            Some("let the role that runs migrations write and read all rows of the ledger"),
        ),
        (_, "2D000") => (
            Code::NeedsAutocommit,
            format!("{message}: this commits or rolls back, but a file and its row are one transaction"),
            Some("remove COMMIT and ROLLBACK from what is called; or define the procedure in a file of the bundle, so that it is known to commit"),
        ),
        (_, "0A000") if message.contains("transaction commands") => (
            Code::TransactionControl,
            message,
            Some("remove what commits or rolls back: a file and its row are one transaction"),
        ),
        (_, "57P01") => (
            Code::Refused,
            "the file ended its own session".to_owned(),
            Some("leave out pg_backend_pid(): pg_terminate_backend() is for the sessions of others"),
        ),
        (_, "55P04") => (
            Code::Refused,
            message,
            Some("a label is usable once the transaction that adds it is committed: add it in an earlier file"),
        ),
        (_, "25001") => (
            Code::NeedsAutocommit,
            format!("{message}, which is where files are run"),
            Some("leave this statement out of the file and run it by hand"),
        ),
        (Some(Step::Commit), _) => (Code::Refused, format!("at the commit: {message}"), None),
        (Some(Step::Prepare | Step::Fence), _) if !located => {
            (Code::Refused, format!("before the file: {message}"), None)
        }
        (_, _) => (Code::Refused, message, None),
    }
}

/// The range that is meant by an error of a statement.
fn place(
    script: &Script,
    message: &Message,
    completed: usize,
    index: usize,
    error: &ServerError,
) -> Option<Range<usize>> {
    let statement = script.statements.get(index)?.range.clone();
    if let Some(byte) = error
        .position
        .and_then(|p| message.byte_of_file(completed, p))
    {
        return Some(word_at(&script.text, byte));
    }
    if let Some(line) = script.data.get(&index).and(error.context.as_deref()) {
        return line_of_data(line)
            .and_then(|line| nth_line_after(&script.text, statement.end, line))
            .or(Some(statement));
    }
    let in_body = error.context.as_deref().and_then(line_in_block);
    in_body
        .and_then(|line| line_of_body(&script.text, &statement, line))
        .or(Some(statement))
}

/// The line of the data that PostgreSQL names: `COPY orders, line 3, column id: "x"`.
fn line_of_data(context: &str) -> Option<usize> {
    let after = context.strip_prefix("COPY ")?;
    let (_, after) = after.split_once(", line ")?;
    let end = after.find(|c: char| !c.is_ascii_digit());
    after.get(..end.unwrap_or(after.len()))?.parse().ok()
}

/// The `number`-th line behind the one on which `byte` is.
fn nth_line_after(text: &str, byte: usize, number: usize) -> Option<Range<usize>> {
    let mut at = byte;
    for _ in 0..number {
        at += text.get(at..)?.find('\n')? + 1;
    }
    Some(at..at)
}

/// The token that begins at `byte`.
fn word_at(text: &str, byte: usize) -> Range<usize> {
    let token = tokens(text).into_iter().find(|t| t.range.contains(&byte));
    token.map_or(byte..byte + 1, |t| byte..t.range.end)
}

/// The line within the outermost anonymous block that PostgreSQL's stack names:
/// `PL/pgSQL function inline_code_block line 4 at PERFORM`. The words around it are translated.
fn line_in_block(context: &str) -> Option<usize> {
    let (_, after) = context.rsplit_once("inline_code_block")?;
    let digits = after.trim_start_matches(|c: char| !c.is_ascii_digit() && c != '\n');
    let end = digits
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(digits.len());
    digits.get(..end)?.parse().ok()
}

/// The code on line `number` (from 1) of the string constant that is the body of a DO.
fn line_of_body(text: &str, statement: &Range<usize>, number: usize) -> Option<Range<usize>> {
    let source = text.get(statement.clone())?;
    let body = tokens(source).into_iter().find(Token::is_constant)?;
    let literal = body.text(source);
    let opening = match literal.strip_prefix('$').and_then(|rest| rest.find('$')) {
        Some(tag) => tag + 2,
        None => literal.find('\'')? + 1,
    };
    let inside = literal.get(opening..)?;
    let before: usize = inside
        .split_inclusive('\n')
        .take(number.checked_sub(1)?)
        .map(str::len)
        .sum();
    let line = inside.get(before..)?.lines().next().unwrap_or_default();
    let indent = line.len() - line.trim_start().len();
    let start = statement.start + body.range.start + opening + before + indent;
    Some(start..start + line.trim().len().max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_blocks() {
        for (context, expected) in [
            (
                "PL/pgSQL function inline_code_block line 4 at PERFORM",
                Some(4),
            ),
            (
                "SQL statement \"SELECT 1/0\"\nPL/pgSQL function f() line 2 at x\nPL/pgSQL function inline_code_block line 12 at PERFORM",
                Some(12),
            ),
            (
                "PL/pgSQL-Funktion inline_code_block Zeile 7 bei RAISE",
                Some(7),
            ),
            ("PL/pgSQL function f() line 2 at x", None),
        ] {
            assert_eq!(line_in_block(context), expected, "{context}");
        }
        let text = "SELECT 1;\nDO $x$\nBEGIN\n  PERFORM f();\nEND $x$;";
        let statement = 10..text.len();
        let found = line_of_body(text, &statement, 3).unwrap();
        assert_eq!(&text[found], "PERFORM f();");
        let found = line_of_body(text, &statement, 99).unwrap();
        assert!(found.end <= text.len() + 1);
    }
}
