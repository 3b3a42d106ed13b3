//! What is wrong with a file, where, and what to do about it. Pure.
//!
//! One shape for everything that can be said about a file: findings of the compiler before
//! anything runs and errors of the server afterwards. `Display` is one line for conditions and
//! logs, [`Diagnostic::render`] the full text for reports and terminals.

use std::fmt;

/// A place in a file, as editors count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
}

/// The line of the file that is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snippet {
    /// The line, tabs as blanks, long lines cut; constants that may be secrets are blanked.
    pub text: String,
    /// The same line as others may read it: without constants, numbers and comments.
    pub redacted: String,
    /// Characters before the marked part.
    pub caret: usize,
    /// Characters of the marked part, at least 1.
    pub width: usize,
}

/// What kind of thing is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Code {
    /// The name cannot serve as a version.
    InvalidName,
    /// Two files would be the same version.
    Duplicate,
    /// Byte order and numeric order of the names differ.
    AmbiguousOrder,
    /// Two files have the same number in front of their names.
    SameNumber,
    /// The file is larger than the engine reads.
    TooLarge,
    /// Not UTF-8, or it contains a NUL byte.
    NotText,
    /// A setting with which the server would read the files otherwise than they were read here.
    ReadsOtherwise,
    /// Nested deeper than can be parsed safely.
    TooDeep,
    /// Not SQL.
    Syntax,
    /// Two independent readings of the file find different statements.
    UncertainBoundary,
    /// A command only psql understands.
    PsqlCommand,
    /// A file, or a part of one, that takes a migration back.
    Backward,
    /// Data of a COPY that cannot be sent or taken.
    CopyData,
    /// A statement that PostgreSQL refuses inside a transaction.
    NeedsAutocommit,
    /// BEGIN, COMMIT and their kin where the file cannot be recorded together with its effects.
    TransactionControl,
    /// The server refused a statement; everything was rolled back.
    Refused,
    /// The file ended the transaction it ran in, so it was not recorded.
    CommittedItself,
    /// The file worked, but its row could not be written; its last transaction was rolled back.
    NotRecorded,
    /// What is committed of a file that was interrupted is no longer what the file says.
    ChangedMidway,
    /// A statement was interrupted, and nobody can know whether it was carried out.
    Ambiguous,
    /// An index is there but cannot be used, because an earlier attempt to build it failed.
    InvalidIndex,
    /// Allowed, but seldom meant.
    Lint,
}

impl Code {
    /// The name in reports and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidName => "InvalidName",
            Self::Duplicate => "Duplicate",
            Self::ReadsOtherwise => "ReadsOtherwise",
            Self::AmbiguousOrder => "AmbiguousOrder",
            Self::SameNumber => "SameNumber",
            Self::TooLarge => "TooLarge",
            Self::NotText => "NotText",
            Self::TooDeep => "TooDeep",
            Self::Syntax => "Syntax",
            Self::UncertainBoundary => "UncertainBoundary",
            Self::PsqlCommand => "PsqlCommand",
            Self::Backward => "Backward",
            Self::CopyData => "CopyData",
            Self::NeedsAutocommit => "NeedsAutocommit",
            Self::TransactionControl => "TransactionControl",
            Self::Refused => "Refused",
            Self::CommittedItself => "CommittedItself",
            Self::NotRecorded => "NotRecorded",
            Self::ChangedMidway => "ChangedMidway",
            Self::Ambiguous => "Ambiguous",
            Self::InvalidIndex => "InvalidIndex",
            Self::Lint => "Lint",
        }
    }

    /// Whether the message itself says what became of the file.
    pub(crate) fn tells_outcome(self) -> bool {
        matches!(self, Self::CommittedItself)
    }
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// The file's name, which is the migration's version.
    pub file: String,
    /// What kind of thing is wrong.
    pub code: Code,
    /// Where; `None` where the whole file is meant.
    pub position: Option<Position>,
    /// The server's SQLSTATE, for errors of the server.
    pub sqlstate: Option<String>,
    /// What is wrong.
    pub message: String,
    /// More about it in the server's words; may contain data of rows.
    pub detail: Option<String>,
    /// What to do.
    pub hint: Option<String>,
    /// The line that is meant.
    pub snippet: Option<Snippet>,
    /// For errors of a run: what became of the file.
    pub outcome: Option<String>,
}

impl Diagnostic {
    pub(crate) fn of_file(file: &str, code: Code, message: impl Into<String>) -> Self {
        Self {
            file: file.to_owned(),
            code,
            position: None,
            sqlstate: None,
            message: message.into(),
            detail: None,
            hint: None,
            snippet: None,
            outcome: None,
        }
    }

    #[must_use]
    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The finding as others may read it, who have not got the file: in a status, an event, a log.
    /// Without constants, without the server's detail, and without values that its message cites.
    #[must_use]
    pub fn redacted(&self) -> Self {
        Self {
            message: without_values(&self.message, self.sqlstate.as_deref()),
            detail: None,
            snippet: self.snippet.as_ref().map(|snippet| Snippet {
                text: snippet.redacted.clone(),
                ..snippet.clone()
            }),
            ..self.clone()
        }
    }

    /// The full text: place, message, line with caret, detail and hint; ends with a line break.
    #[must_use]
    pub fn render(&self) -> String {
        let mut parts = vec![format!("{self}\n")];
        if let (Some(position), Some(snippet)) = (self.position, &self.snippet) {
            let number = position.line.to_string();
            let margin = " ".repeat(number.len());
            let caret = " ".repeat(snippet.caret) + &"^".repeat(snippet.width);
            parts.push(format!(
                " {margin} |\n {number} | {}\n {margin} | {caret}\n",
                snippet.text
            ));
        }
        let told = [
            ("detail", &self.detail),
            ("hint", &self.hint),
            ("outcome", &self.outcome),
        ];
        for (label, value) in told {
            if let Some(value) = value {
                parts.push(format!("  {label}: {value}\n"));
            }
        }
        parts.concat()
    }
}

/// A message of the server without the values that it cites. Errors about data (class 22) cite the value between double
/// quotes, and syntax errors the word: `invalid input syntax for type integer: "x"`, `syntax error at or near "'x'"`.
pub(super) fn without_values(message: &str, sqlstate: Option<&str>) -> String {
    let quotes = message.split_once('"').and_then(|(before, rest)| {
        let (cited, after) = rest.rsplit_once('"')?;
        Some((before, cited, after))
    });
    let Some((before, cited, after)) = quotes else {
        return message.to_owned();
    };
    let is_value = match sqlstate {
        Some("42601") => cited.contains(|c: char| c == '\'' || c == '$' || c.is_ascii_digit()),
        Some(sqlstate) => sqlstate.starts_with("22"),
        None => false,
    };
    if is_value {
        format!("{before}\"…\"{after}")
    } else {
        message.to_owned()
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(Position { line, column }) = self.position {
            write!(f, ":{line}:{column}")?;
        }
        write!(f, ": {}", self.message)?;
        if let Some(sqlstate) = &self.sqlstate {
            write!(f, " (SQLSTATE {sqlstate})")?;
        }
        Ok(())
    }
}

/// Findings in the order of files and places. Where a function returns them as an error there is
/// at least one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Diagnostics(Vec<Diagnostic>);

impl Diagnostics {
    /// The findings.
    pub fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.0.iter()
    }

    /// The first one.
    #[must_use]
    pub fn first(&self) -> Option<&Diagnostic> {
        self.0.first()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them in full, see [`Diagnostic::render`].
    #[must_use]
    pub fn render(&self) -> String {
        self.0.iter().map(Diagnostic::render).collect()
    }
}

impl From<Vec<Diagnostic>> for Diagnostics {
    fn from(list: Vec<Diagnostic>) -> Self {
        Self(list)
    }
}

impl<'a> IntoIterator for &'a Diagnostics {
    type Item = &'a Diagnostic;
    type IntoIter = std::slice::Iter<'a, Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_slice() {
            [] => f.write_str("no findings"),
            [only] => only.fmt(f),
            [first, rest @ ..] => write!(f, "{first} (and {} more)", rest.len()),
        }
    }
}

impl std::error::Error for Diagnostics {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_reads_like_a_compilers() {
        let finding = Diagnostic {
            position: Some(Position {
                line: 12,
                column: 3,
            }),
            sqlstate: Some("42601".into()),
            hint: Some("remove the comma".into()),
            snippet: Some(Snippet {
                text: "  a int,,".into(),
                redacted: "  a int,,".into(),
                caret: 2,
                width: 3,
            }),
            ..Diagnostic::of_file("001_a.sql", Code::Syntax, "syntax error at or near \",\"")
        };
        assert_eq!(
            finding.to_string(),
            "001_a.sql:12:3: syntax error at or near \",\" (SQLSTATE 42601)"
        );
        assert_eq!(
            finding.render(),
            "001_a.sql:12:3: syntax error at or near \",\" (SQLSTATE 42601)\n    |\n 12 |   a int,,\n    |   ^^^\n  hint: remove the comma\n"
        );
        assert_eq!(finding.redacted(), finding);
    }

    #[test]
    fn values_that_the_server_cites_are_not_for_others() {
        for (sqlstate, message, expected) in [
            (
                "22P02",
                "invalid input syntax for type integer: \"4\"2\"",
                "invalid input syntax for type integer: \"…\"",
            ),
            (
                "22003",
                "value \"99999999999\" is out of range for type integer",
                "value \"…\" is out of range for type integer",
            ),
            (
                "42601",
                "syntax error at or near \"'hunter2'\"",
                "syntax error at or near \"…\"",
            ),
            (
                "42P01",
                "relation \"robots\" does not exist",
                "relation \"robots\" does not exist",
            ),
        ] {
            let finding = Diagnostic {
                sqlstate: Some(sqlstate.into()),
                detail: Some("Key (a)=(b)".into()),
                ..Diagnostic::of_file("001_a.sql", Code::Refused, message)
            };
            let redacted = finding.redacted();
            assert_eq!(redacted.message, expected);
            assert_eq!(redacted.detail, None);
        }
    }
}
