//! What the engine's errors mean to the loop: the one place where [`RunError`] becomes a class or a record. Pure.
//!
//! | error | password refused is Neon's present one | what follows |
//! |---|---|---|
//! | Failed | | recorded; not tried again before something changes |
//! | DeadlineExceeded, nothing applied | | recorded |
//! | DeadlineExceeded, something applied | | transient: the next run goes on |
//! | Busy, Transient, Limit, Cancelled | | transient |
//! | Blocked | | conflict: the ledger changed since it was read |
//! | Denied | no | transient: it was just rotated |
//! | Denied | yes | denied: the role lacks a right |
//! | LedgerConflict, Unsupported | | invalid |
//! | NotACopy | | conflict: the branch has changed since it was copied |
//!
//! When files are tried on a copy of the branch, what does not pass by itself is recorded, too: every try costs a copy.

use crate::api::{LastError, RETRY, Reason, ScratchBranch};
use crate::engine::run::RunError;
use crate::engine::{Diagnostic, Diagnostics, Plan, Problem};
use crate::reconcile::{Class, Error};
use crate::world::no_compute;

/// Room for a message in `lastError`, in characters.
const LONGEST: usize = 4096;

/// Room for it in the record of a copy.
const SHORT: usize = 1024;

/// How a run that did not reach its end is dealt with.
#[derive(Clone, Debug, PartialEq)]
pub enum Failure {
    /// Written down: the same run would fail again.
    Recorded(LastError),
    /// Tried again, as its class says.
    Passing(Error),
}

/// What is known about the run besides its error.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Circumstances {
    /// Whether it applied anything.
    pub progressed: bool,
    /// Whether the password that was refused is the one that Neon has at present.
    pub password_is_current: bool,
    /// What was tried; see [`super::place::attempt`].
    pub attempt: Option<String>,
}

/// Judges the error of a run.
#[must_use]
pub fn judge(error: RunError, of: Circumstances) -> Failure {
    let passing = |class, reason, text: String| Failure::Passing(Error::new(class, reason, text));
    match error {
        RunError::Failed(diagnostic) => Failure::Recorded(LastError {
            attempt: of.attempt,
            ..located(&diagnostic)
        }),
        RunError::DeadlineExceeded(text) if of.progressed => passing(
            Class::Transient,
            Reason::Applying,
            format!("{text}; what was applied stays, the rest is applied by the next run"),
        ),
        RunError::DeadlineExceeded(text) => Failure::Recorded(LastError {
            attempt: of.attempt,
            ..unlocated(
                None,
                &format!("{text}; what was running then was cancelled on the server"),
            )
        }),
        RunError::Busy(holder) => passing(
            Class::Transient,
            Reason::LedgerBusy,
            format!("another run holds the ledger: {holder}"),
        ),
        RunError::Cancelled => passing(
            Class::Transient,
            Reason::Progressing,
            "the operator is stopping; nothing half-done is left, the next one goes on".to_owned(),
        ),
        RunError::Blocked(plan) => {
            let problems: Vec<String> = plan.blocking().map(ToString::to_string).collect();
            let message = format!("the ledger has changed: {}", problems.join("; "));
            passing(Class::Conflict, Reason::Progressing, message)
        }
        RunError::Denied(text) if of.password_is_current => passing(
            Class::Denied,
            Reason::DatabaseRejected,
            format!("the owner of the database is refused: {text}"),
        ),
        // a password that is no longer Neon's was just rotated
        RunError::Transient(text) | RunError::Denied(text) => {
            passing(Class::Transient, Reason::DatabaseUnavailable, text)
        }
        RunError::Limit(text) => passing(Class::Transient, Reason::LimitReached, no_compute(&text)),
        RunError::NotACopy(differences) => passing(
            Class::Conflict,
            Reason::Progressing,
            format!(
                "the branch has changed since it was copied to try the files on: {differences}"
            ),
        ),
        RunError::LedgerConflict(text) => passing(Class::Invalid, Reason::LedgerConflict, text),
        RunError::Unsupported(text) => passing(Class::Invalid, Reason::DatabaseRejected, text),
    }
}

/// Judges the error of a trial on a copy of the branch.
#[must_use]
pub fn of_trial(error: RunError, of: Circumstances) -> Failure {
    let attempt = of.attempt.clone();
    match judge(error, of) {
        Failure::Passing(error) if error.class.is_terminal() => {
            Failure::Recorded(untried(&error.message, attempt))
        }
        other @ (Failure::Passing(_) | Failure::Recorded(_)) => other,
    }
}

/// What is recorded where no copy was of use.
#[must_use]
pub fn given_up(scratch: &ScratchBranch, attempt: Option<String>) -> LastError {
    let trouble = scratch.trouble.as_deref().unwrap_or_default();
    let copies = scratch.copies;
    untried(
        &format!("{copies} copies were made, one after the other; {trouble}"),
        attempt,
    )
}

/// What came in the way of a trial, as the record of the copy has room for it.
#[must_use]
pub fn in_short(error: &Error) -> String {
    error.message.chars().take(SHORT).collect()
}

fn untried(why: &str, attempt: Option<String>) -> LastError {
    let message = format!(
        "the files could not be tried on a copy of the branch: {why}\nA new value of the annotation {RETRY} asks to try again."
    );
    LastError {
        attempt,
        ..unlocated(None, &message)
    }
}

/// Judges the error of reading the ledger, where no file can fail.
#[must_use]
pub fn of_reading(error: RunError, password_is_current: bool) -> Error {
    let of = Circumstances {
        password_is_current,
        ..Circumstances::default()
    };
    match judge(error, of) {
        Failure::Passing(error) => error,
        Failure::Recorded(failure) => Error::new(
            Class::Transient,
            Reason::DatabaseUnavailable,
            failure.message,
        ),
    }
}

/// A finding as the status shows it: in full, but without what may be data, see [`Diagnostic::redacted`].
#[must_use]
pub fn located(diagnostic: &Diagnostic) -> LastError {
    let number = |n: usize| i32::try_from(n).ok();
    let text = diagnostic.redacted();
    LastError {
        line: diagnostic.position.and_then(|p| number(p.line)),
        column: diagnostic.position.and_then(|p| number(p.column)),
        sql_state: diagnostic.sqlstate.clone(),
        ..unlocated(Some(&diagnostic.file), text.render().trim_end())
    }
}

/// The first thing that is in the way of a plan, as the status shows it.
#[must_use]
pub fn of_plan(plan: &Plan) -> Option<LastError> {
    let problem: &Problem = plan.blocking().next()?;
    let finding = problem.kind.findings().and_then(Diagnostics::first);
    let as_text = || unlocated(Some(&problem.version), &problem.to_string());
    Some(finding.map_or_else(as_text, located))
}

fn unlocated(version: Option<&str>, message: &str) -> LastError {
    LastError {
        version: version.map(str::to_owned),
        line: None,
        column: None,
        sql_state: None,
        message: message.chars().take(LONGEST).collect(),
        attempt: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Code, Position, Snippet};

    fn passing(error: RunError, of: Circumstances) -> Error {
        match judge(error, of) {
            Failure::Passing(error) => error,
            Failure::Recorded(failure) => panic!("{failure:?}"),
        }
    }

    #[test]
    fn the_table() {
        let text = || "words".to_owned();
        let old = Circumstances::default;
        let current = || Circumstances {
            password_is_current: true,
            ..old()
        };
        let blocked = || RunError::Blocked(Box::default());
        for (error, of, class, reason) in [
            (
                RunError::Busy(text()),
                old(),
                Class::Transient,
                Reason::LedgerBusy,
            ),
            (
                RunError::Transient(text()),
                old(),
                Class::Transient,
                Reason::DatabaseUnavailable,
            ),
            (
                RunError::Limit(text()),
                old(),
                Class::Transient,
                Reason::LimitReached,
            ),
            (
                RunError::Cancelled,
                old(),
                Class::Transient,
                Reason::Progressing,
            ),
            (blocked(), old(), Class::Conflict, Reason::Progressing),
            (
                RunError::NotACopy(text()),
                old(),
                Class::Conflict,
                Reason::Progressing,
            ),
            (
                RunError::Denied(text()),
                old(),
                Class::Transient,
                Reason::DatabaseUnavailable,
            ),
            (
                RunError::Denied(text()),
                current(),
                Class::Denied,
                Reason::DatabaseRejected,
            ),
            (
                RunError::LedgerConflict(text()),
                old(),
                Class::Invalid,
                Reason::LedgerConflict,
            ),
            (
                RunError::Unsupported(text()),
                old(),
                Class::Invalid,
                Reason::DatabaseRejected,
            ),
        ] {
            let judged = passing(error.clone(), of);
            assert_eq!((judged.class, judged.reason), (class, reason), "{error:?}");
        }
    }

    #[test]
    fn what_does_not_pass_by_itself_ends_a_trial() {
        let of = |password_is_current| Circumstances {
            password_is_current,
            attempt: Some("sha256:1".into()),
            ..Circumstances::default()
        };
        let text = || "words".to_owned();
        for (error, current) in [
            (RunError::Unsupported(text()), false),
            (RunError::LedgerConflict(text()), false),
            (RunError::Denied(text()), true),
        ] {
            let Failure::Recorded(failure) = of_trial(error.clone(), of(current)) else {
                panic!("{error:?} passes");
            };
            assert_eq!(failure.attempt.as_deref(), Some("sha256:1"));
            for part in ["could not be tried", "words", "sepulki.dev/retry"] {
                assert!(failure.message.contains(part), "{}", failure.message);
            }
        }
        for error in [
            RunError::Transient(text()),
            RunError::Limit(text()),
            RunError::Denied(text()),
            RunError::NotACopy(text()),
            RunError::Cancelled,
        ] {
            let judged = of_trial(error.clone(), of(false));
            assert!(matches!(judged, Failure::Passing(_)), "{judged:?}");
        }
        let late = of_trial(RunError::DeadlineExceeded(text()), of(false));
        assert!(matches!(late, Failure::Recorded(_)), "{late:?}");
    }

    #[test]
    fn a_deadline_is_final_only_where_no_file_came_through() {
        let late = || RunError::DeadlineExceeded("too late".into());
        let of = |progressed| Circumstances {
            progressed,
            attempt: Some("sha256:1".into()),
            ..Circumstances::default()
        };
        assert_eq!(passing(late(), of(true)).class, Class::Transient);
        let Failure::Recorded(failure) = judge(late(), of(false)) else {
            panic!("the same statement would run into the same deadline");
        };
        assert_eq!(failure.attempt.as_deref(), Some("sha256:1"));
    }

    #[test]
    fn a_failed_file_is_told_with_its_line_and_without_data_of_rows() {
        let diagnostic = Diagnostic {
            file: "002_b.sql".into(),
            code: Code::Refused,
            position: Some(Position { line: 4, column: 7 }),
            sqlstate: Some("23505".into()),
            message: "duplicate key".into(),
            detail: Some("Key (email)=(jane@example.com) already exists.".into()),
            hint: None,
            snippet: Some(Snippet {
                text: "CREATE UNIQUE INDEX ON t (lower('jane'))".into(),
                redacted: "CREATE UNIQUE INDEX ON t (lower(……))".into(),
                caret: 0,
                width: 6,
            }),
            outcome: None,
        };
        let of = Circumstances {
            attempt: Some("sha256:1".into()),
            ..Circumstances::default()
        };
        let Failure::Recorded(failure) = judge(RunError::Failed(Box::new(diagnostic)), of) else {
            panic!("a failed file is recorded");
        };
        assert_eq!(failure.version.as_deref(), Some("002_b.sql"));
        assert_eq!((failure.line, failure.column), (Some(4), Some(7)));
        assert_eq!(failure.sql_state.as_deref(), Some("23505"));
        for part in [
            "002_b.sql:4:7: duplicate key",
            "CREATE UNIQUE INDEX",
            "^^^^^^",
        ] {
            assert!(failure.message.contains(part), "{}", failure.message);
        }
        assert!(!failure.message.contains("jane"), "{}", failure.message);
    }
}
