//! What is allowed but seldom meant: locks that hold others up, changes under which an older version of the application
//! breaks, data that get lost. Pure.
//!
//! The rules about locks and compatibility are squawk's, but for a few in `locks`; those that depend on how a file is run are
//! ours, in `own`, and those about rows that get lost, in `losses` and, where a DO does it, in `bodies`; what only a superuser may do, which on Neon nobody is, is in `superuser`.
//! What the files that run together have made is nobody's yet: see `made`.
//! A comment `-- squawk-ignore RULE` in a file hides a finding there, and who reads the report is told how many are hidden:
//! whoever writes a file does not decide alone about what it does to production.

mod bodies;
mod locks;
mod losses;
mod made;
mod own;
mod rules;
mod superuser;

use std::io;
use std::ops::Range;

use serde::Serialize;
use squawk_linter::Linter;
use squawk_syntax::{Parse, SourceFile};

use super::bundle::{Bundle, MigrationFile};
use super::report::{Code, Diagnostic};
use super::sql::lex::{self, Token, TokenKind};
use super::sql::segment::Shape;
use super::sql::{Script, dialect, parse, position};
use made::Made;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Depends on how large a table is and who is using it, or on the server.
    Warning,
    /// Does something else than was meant, or loses what cannot be brought back.
    Error,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lint {
    /// The rule's name.
    pub rule: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// Whether a comment in the file says to ignore it.
    pub suppressed: bool,
    /// Where, what, and what to do.
    pub diagnostic: Diagnostic,
}

/// Which findings are put up with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LintPolicy {
    /// From how bad a finding on nothing runs; none for never.
    pub fail_on: Option<Severity>,
    /// Rules that do not count, each in one file or in all.
    pub ignore: Vec<(String, Option<String>)>,
}

impl Default for LintPolicy {
    fn default() -> Self {
        Self {
            fail_on: Some(Severity::Error),
            ignore: Vec::new(),
        }
    }
}

impl LintPolicy {
    /// Whether findings of this rule in this file do not count.
    #[must_use]
    pub fn ignores(&self, rule: &str, file: &str) -> bool {
        let applies = |of: &Option<String>| of.as_ref().is_none_or(|of| of == file);
        let mut ignored = self.ignore.iter();
        ignored.any(|(ignored, of)| ignored == rule && applies(of))
    }

    /// Whether nothing runs because of this finding.
    #[must_use]
    pub fn stops(&self, lint: &Lint) -> bool {
        let bad = self.fail_on.is_some_and(|from| lint.severity >= from);
        bad && !lint.suppressed && !self.ignores(lint.rule, &lint.diagnostic.file)
    }
}

impl Severity {
    /// As reports write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

impl Lint {
    /// The full text: how bad it is, the rule, and what [`Diagnostic::render`] says.
    #[must_use]
    pub fn render(&self) -> String {
        let severity = self.severity.as_str();
        format!("{severity}[{}] {}", self.rule, self.diagnostic.render())
    }
}

/// What may come of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Harm {
    /// Fails where a table has rows, or does something else than is written.
    Fails,
    /// Rows or values are gone.
    Loses,
    /// Holds others up for as long as a table is large.
    Holds,
    /// An application of yesterday no longer works.
    Breaks,
    /// Works, and will be regretted.
    Regretted,
    /// Refused to all but superusers, so that nothing of the file is done where the role that runs it is none.
    Refused,
}

impl Harm {
    fn severity(self) -> Severity {
        match self {
            Self::Fails | Self::Loses => Severity::Error,
            Self::Holds | Self::Breaks | Self::Regretted | Self::Refused => Severity::Warning,
        }
    }
}

/// What a rule has found in a text.
struct Found {
    rule: &'static str,
    harm: Harm,
    range: Range<usize>,
    message: String,
    help: Option<String>,
}

/// Looks through the files that can be run, in order; what is found in each is in the order of places. Files that cannot
/// be run are in [`Bundle::findings`].
///
/// `pending` are the files that are going to run together: only they are looked through, and what they do to tables that
/// they make themselves harms nobody. Without it, where nobody knows what is applied, all are: locks are judged as if
/// nothing were applied, and what gets lost or breaks as if each file ran alone.
///
/// # Errors
/// When the parser's thread cannot be started or fails.
pub fn lint(bundle: &Bundle, pending: Option<&[String]>) -> io::Result<Vec<Lint>> {
    let is_asked = |file: &&MigrationFile| {
        pending.is_none_or(|files| files.iter().any(|name| name == file.version()))
    };
    parse::on_parser_thread(|| {
        let mut made = Made::new(pending.is_some());
        let files = bundle.files().iter().filter(is_asked);
        files.flat_map(|file| lint_file(file, &mut made)).collect()
    })
}

/// The names of all rules.
#[must_use]
pub fn rule_names() -> Vec<&'static str> {
    let squawks = rules::RULES.iter().map(|rule| rule.name);
    let ours = own::NAMES
        .into_iter()
        .chain(locks::NAMES)
        .chain(losses::NAMES)
        .chain(superuser::NAMES);
    squawks.chain(ours).collect()
}

fn lint_file(file: &MigrationFile, made: &mut Made) -> Vec<Lint> {
    let Ok(script) = file.script() else {
        return Vec::new();
    };
    let text = &script.text;
    let tokens = lex::tokens(text);
    let shown = squawk(&parsed_as(text, &tokens), text, script);
    let shown: Vec<_> = shown.iter().map(|f| (f.rule, f.range.clone())).collect();
    let bare = without_comments(text);
    let parsed = parsed_as(&bare, &lex::tokens(&bare));
    let mut all = squawk(&parsed, &bare, script);
    // a comment hides what squawk finds, and nothing of ours
    let hidden = all.iter().map(|f| (f.rule, f.range.clone()));
    let hidden: Vec<_> = hidden.filter(|found| !shown.contains(found)).collect();
    all.extend(own::check(script, &tokens));
    all.extend(locks::check(&parsed.tree()));
    all.extend(losses::check(&parsed.tree()));
    all.extend(bodies::check(script));
    all.extend(superuser::check(&parsed.tree()));
    let touched = made.follow(&parsed.tree());
    all.retain(|found| touched.may_harm(found));
    all.sort_by_key(|found| found.range.start);
    let told = all.into_iter().map(|found| Lint {
        rule: found.rule,
        severity: found.harm.severity(),
        suppressed: hidden.contains(&(found.rule, found.range.clone())),
        diagnostic: Diagnostic {
            position: Some(position::position(text, found.range.start)),
            snippet: Some(position::careful_snippet(text, &tokens, &found.range)),
            hint: found.help,
            ..Diagnostic::of_file(file.version(), Code::Lint, found.message)
        },
    });
    told.collect()
}

/// The text as the parser takes it.
fn parsed_as(text: &str, tokens: &[Token]) -> Parse<SourceFile> {
    SourceFile::parse(&dialect::for_parser(text, tokens))
}

/// What squawk finds, with the ignores that stand in the text.
fn squawk(parsed: &Parse<SourceFile>, text: &str, script: &Script) -> Vec<Found> {
    let mut linter = Linter::from(rules::RULES.iter().map(|rule| rule.squawk));
    linter.settings.assume_in_transaction = matches!(script.shape, Shape::Whole(_));
    let violations = linter.lint(parsed, text);
    let told = violations.into_iter().filter_map(|violation| {
        let rule = rules::RULES.iter().find(|r| r.squawk == violation.code)?;
        let range = violation.text_range;
        Some(Found {
            rule: rule.name,
            harm: rule.harm,
            range: range.start().into()..range.end().into(),
            message: violation.message,
            help: violation.help,
        })
    });
    told.collect()
}

/// The text with spaces in place of its comments, so that every place stays where it is.
fn without_comments(text: &str) -> String {
    let mut bare = text.to_owned();
    for token in lex::tokens(text) {
        if token.kind == TokenKind::Comment {
            let blank = token.text(text).chars();
            let blank: String = blank
                .flat_map(|c| match c {
                    '\n' | '\r' => c.to_string().chars().collect::<Vec<_>>(),
                    other => vec![' '; other.len_utf8()],
                })
                .collect();
            bare.replace_range(token.range, &blank);
        }
    }
    bare
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::SourceFile;

    /// What is found in a file by itself.
    pub(super) fn alone(sql: &str) -> Vec<Lint> {
        let file = SourceFile {
            name: "001_a.sql".into(),
            bytes: sql.into(),
        };
        let bundle = Bundle::compile(vec![file]).unwrap();
        lint(&bundle, None).unwrap()
    }

    /// Rule, line and whether it is hidden.
    fn found(sql: &str) -> Vec<(&'static str, usize, bool)> {
        let told = alone(sql).into_iter();
        told.map(|lint| {
            let line = lint.diagnostic.position.unwrap().line;
            (lint.rule, line, lint.suppressed)
        })
        .collect()
    }

    #[test]
    fn an_index_on_a_table_of_the_same_file_holds_nobody_up() {
        let index = "CREATE INDEX i ON t (a);";
        let rule = "require-concurrent-index-creation";
        assert_eq!(found(index), [(rule, 1, false)]);
        assert_eq!(found(&format!("CREATE TABLE t (a text);\n{index}")), []);
    }

    #[test]
    fn what_a_comment_hides_is_still_counted() {
        let sql = "-- ümlaut, squawk-ignore nothing\n-- squawk-ignore ban-drop-column\nALTER TABLE t DROP COLUMN a;\nALTER TABLE t DROP COLUMN b;";
        let expected = [("ban-drop-column", 3, true), ("ban-drop-column", 4, false)];
        assert_eq!(found(sql), expected);
    }

    #[test]
    fn a_file_without_dangers_says_nothing() {
        let sql = "CREATE TABLE t (id bigint PRIMARY KEY, at timestamptz NOT NULL);\nCREATE INDEX CONCURRENTLY i ON u (a);\nINSERT INTO t VALUES (1, now());";
        assert_eq!(found(sql), []);
    }

    #[test]
    fn places_and_messages_are_those_of_the_file() {
        let lints = alone("\u{feff}SELECT 'ü'; TRUNCATE t CASCADE;\r\n");
        let lint = &lints[0];
        assert_eq!(
            (lint.rule, lint.severity),
            ("ban-truncate-cascade", Severity::Error)
        );
        let text = lint.diagnostic.render();
        assert!(text.starts_with("001_a.sql:1:24: "), "{text}");
        assert!(text.contains("TRUNCATE t CASCADE"), "{text}");
    }

    #[test]
    fn a_file_of_many_statements_is_looked_through_in_one_go() {
        // as `pg_dump --inserts` writes data: minutes where each statement is looked for from the start of the file
        let row = "INSERT INTO t VALUES (1, 'one');\n";
        assert_eq!(found(&row.repeat(40_000)), []);
    }

    #[test]
    fn every_name_is_there_once() {
        let mut names = rule_names();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
        for rule in rules::RULES {
            assert_eq!(rule.squawk.to_string(), rule.name);
        }
    }
}
