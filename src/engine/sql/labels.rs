//! Labels that a file adds to an enumeration and uses itself. Pure.
//!
//! PostgreSQL refuses to use a label before the transaction that added it is committed (55P04).
//! What looks like a use is taken for one: then the file is cut in front of it.

use super::{
    lex::{Token, TokenKind},
    segment::Statement,
};

/// Marks the statements that need a commit in front of them.
pub(super) fn mark_uses(text: &str, tokens: &[Token], statements: &mut [Statement]) {
    let mut fresh: Vec<String> = Vec::new();
    let mut rest = tokens;
    for statement in statements {
        let inside = tokens_of(&mut rest, statement);
        let words: Vec<&Token> = inside.iter().filter(|t| t.is_significant()).collect();
        if let Some(label) = added(text, &words) {
            fresh.push(label);
            continue;
        }
        let uses = |token: &&Token| {
            token.is_constant() && fresh.iter().any(|label| token.text(text).contains(label))
        };
        statement.needs_commit = words.iter().any(uses);
        if statement.needs_commit {
            fresh.clear();
        }
    }
}

/// The label in `ALTER TYPE … ADD VALUE [IF NOT EXISTS] 'label'`.
fn added(text: &str, words: &[&Token]) -> Option<String> {
    let is = |index: usize, word: &str| words.get(index).is_some_and(|t| t.is_word(text, word));
    let add = words.iter().position(|t| t.is_word(text, "add"))?;
    if !(is(0, "alter") && is(1, "type") && is(add + 1, "value")) {
        return None;
    }
    let label = words.iter().skip(add).find(|t| t.kind == TokenKind::Text)?;
    let label = label.text(text).trim_start_matches(|c| c != '\'');
    Some(label.trim_matches('\'').to_owned())
}

/// The tokens of a statement; `rest` goes on behind them.
fn tokens_of<'a>(rest: &mut &'a [Token], statement: &Statement) -> &'a [Token] {
    let start = rest.partition_point(|t| t.range.start < statement.range.start);
    let end = rest.partition_point(|t| t.range.start < statement.range.end);
    let inside = rest.get(start..end).unwrap_or_default();
    *rest = rest.get(end..).unwrap_or_default();
    inside
}
