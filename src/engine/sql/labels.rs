//! Labels that a file adds to an enumeration and uses itself. Pure.
//!
//! PostgreSQL refuses to use a label before the transaction that added it is committed (55P04).
//! A constant that says the label and nothing else is taken for a use, whatever its type, and so is
//! one in a body or in an array: then the file is cut in front of it.

use super::{
    lex::{Token, TokenKind, tokens},
    nested::value,
    segment::Statement,
};

/// How deep constants within constants are looked into.
const DEPTH: usize = 4;

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
        let uses = |token: &&Token| says(token, text, &fresh, DEPTH);
        statement.needs_commit = !fresh.is_empty() && words.iter().any(uses);
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
    value(label.text(text))
}

/// Whether a constant says one of these labels.
fn says(token: &Token, text: &str, labels: &[String], depth: usize) -> bool {
    let said = Some(token).filter(|token| token.is_constant());
    let Some(said) = said.and_then(|token| value(token.text(text))) else {
        return false;
    };
    let is_label = |said: &str| labels.iter().any(|label| label == said);
    // an array, or a row
    let elements = said.starts_with(['{', '(']).then(|| said.split(','));
    let mut elements = elements.into_iter().flatten();
    let marks = ['{', '}', '(', ')', '"', ' '];
    is_label(&said)
        || elements.any(|element| is_label(element.trim_matches(marks)))
        || (depth > 0
            && said.contains('\'')
            && tokens(&said)
                .iter()
                .any(|token| says(token, &said, labels, depth - 1)))
}

/// The tokens of a statement; `rest` goes on behind them.
fn tokens_of<'a>(rest: &mut &'a [Token], statement: &Statement) -> &'a [Token] {
    let start = rest.partition_point(|t| t.range.start < statement.range.start);
    let end = rest.partition_point(|t| t.range.start < statement.range.end);
    let inside = rest.get(start..end).unwrap_or_default();
    *rest = rest.get(end..).unwrap_or_default();
    inside
}

#[cfg(test)]
mod tests {
    use crate::engine::bundle::script_of;

    #[test]
    fn only_what_says_the_label_and_nothing_else_uses_it() {
        for (statement, expected) in [
            ("INSERT INTO t VALUES ('new')", true),
            ("INSERT INTO t VALUES (E'new')", true),
            ("SELECT '{old,new}'::mood[]", true),
            ("DO $$ BEGIN INSERT INTO t VALUES ('new'); END $$", true),
            (
                "DO $$ BEGIN EXECUTE 'INSERT INTO t VALUES (''new'')'; END $$",
                true,
            ),
            ("INSERT INTO t VALUES ('renewed')", false),
            ("COMMENT ON TYPE mood IS 'has a new label'", false),
            (
                "DO $$ BEGIN RAISE NOTICE 'new ones'; PERFORM new(); END $$",
                false,
            ),
            ("SELECT new FROM t", false),
        ] {
            let text = format!("ALTER TYPE mood ADD VALUE 'new';\n{statement};");
            let script = script_of(&text);
            assert_eq!(script.statements[1].needs_commit, expected, "{statement}");
        }
    }
}
