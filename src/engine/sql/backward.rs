//! Files, and parts of files, that take a migration back. Pure.
//!
//! Several tools keep the way back beside the way forward: in a file of its own, or in the same one behind a comment, which
//! only that tool understands. Run from top to bottom, such a file makes a table and drops it again, and counts as applied.
//! So it is named instead.

use super::{
    classify::Class,
    lex::{Token, TokenKind},
    segment::{Finding, Statement},
};
use crate::engine::report::Code;

/// The comments behind which a tool has the way back, whose they are, and whether options may follow.
const MARKS: [(&str, &str, bool); 5] = [
    ("+goose down", "goose", false),
    ("+migrate down", "sql-migrate", true),
    ("migrate:down", "dbmate", true),
    ("down migration", "node-pg-migrate", false),
    ("//@undo", "MyBatis", false),
];

/// Whether the name is that of a file that takes another one back: `001_a.down.sql` beside `001_a.up.sql`, as sqlx,
/// golang-migrate and others have it, or `U1__a.sql`, as Flyway has.
pub(crate) fn is_named_so(file: &str) -> bool {
    let name = file.to_ascii_lowercase();
    let flyways = || {
        let version = file.strip_prefix('U')?.split_once("__")?.0;
        let is_digit = |c: char| c.is_ascii_digit() || matches!(c, '.' | '_');
        (version.starts_with(|c: char| c.is_ascii_digit()) && version.chars().all(is_digit))
            .then_some(())
    };
    name.ends_with(".down.sql") || flyways().is_some()
}

/// The first comment that begins the way back, where statements follow it.
pub(super) fn part(text: &str, tokens: &[Token], statements: &[Statement]) -> Option<Finding> {
    let last = statements.iter().rfind(|s| s.class != Class::Empty)?;
    let comments = tokens
        .iter()
        .filter(|token| token.kind == TokenKind::Comment);
    let mut in_front = comments.take_while(|token| token.range.start < last.range.end);
    in_front.find_map(|token| {
        let tool = tool(token.text(text))?;
        Some(Finding {
            code: Code::Backward,
            range: token.range.clone(),
            message: format!(
                "for {tool} this comment begins what takes the migration back; here it would be run with the rest"
            ),
            hint: "take out what follows this comment: files only go forward",
        })
    })
}

/// Whose mark a comment is.
fn tool(comment: &str) -> Option<&'static str> {
    let says = comment
        .strip_prefix("--")?
        .trim_start()
        .to_ascii_lowercase();
    let mut marks = MARKS.iter();
    let mark = marks.find(|(mark, _, has_options)| {
        says.strip_prefix(mark).is_some_and(|rest| {
            rest.trim().is_empty() || (*has_options && rest.starts_with([' ', '\t']))
        })
    });
    mark.map(|(_, tool, _)| *tool)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_the_way_back_are_known_by_their_names() {
        for name in [
            "001_a.down.sql",
            "20240101_a.DOWN.SQL",
            "U1__a.sql",
            "U2_1__a.sql",
            "U1.2__a.sql",
        ] {
            assert!(is_named_so(name), "{name}");
        }
        for name in [
            "001_a.sql",
            "001_a.up.sql",
            "001_down.sql",
            "001_shut_down.sql",
            "V1__a.sql",
            "Update__a.sql",
            "U__a.sql",
            "u1__a.sql",
        ] {
            assert!(!is_named_so(name), "{name}");
        }
    }

    #[test]
    fn comments_are_marks_only_by_themselves() {
        for (comment, expected) in [
            ("-- +goose Down", Some("goose")),
            ("--+goose down\r", Some("goose")),
            ("-- +migrate Down notransaction", Some("sql-migrate")),
            ("-- migrate:down transaction:false", Some("dbmate")),
            ("-- Down Migration", Some("node-pg-migrate")),
            ("-- //@UNDO", Some("MyBatis")),
            ("-- +goose Up", None),
            ("-- migrate:downtown", None),
            ("-- the down migration is gone", None),
            ("-- Down migration: none", None),
            ("/* migrate:down */", None),
        ] {
            assert_eq!(tool(comment), expected, "{comment}");
        }
    }
}
