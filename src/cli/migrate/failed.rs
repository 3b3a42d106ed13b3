//! How a failure is told: in words to people, on standard error, and to programs in what they read from standard output.

use anyhow::{Result, anyhow};
use serde::Serialize;

use super::{
    super::{
        Usage, complain,
        output::{self, Format},
    },
    show,
};
use crate::engine::{
    Diagnostic,
    run::{OnAmbiguous, RunError},
};

/// A failure as programs read it.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Failure {
    /// How a run ended, in one word; none where it did not come to that.
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    message: String,
    /// The file.
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sql_state: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
    /// What became of the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<String>,
}

impl Failure {
    pub(super) fn of(error: &anyhow::Error) -> Self {
        match error.downcast_ref::<RunError>() {
            Some(RunError::Failed(finding)) => Self::of_file(finding),
            Some(run) => Self {
                kind: Some(run.as_str()),
                message: run.to_string(),
                ..Self::default()
            },
            None => Self {
                message: format!("{error:#}"),
                ..Self::default()
            },
        }
    }

    fn of_file(finding: &Diagnostic) -> Self {
        let place = finding.position;
        Self {
            kind: Some(finding.code.as_str()),
            message: finding.message.clone(),
            version: Some(finding.file.clone()),
            line: place.map(|place| place.line),
            column: place.map(|place| place.column),
            sql_state: finding.sqlstate.clone(),
            detail: finding.detail.clone(),
            hint: finding.hint.clone(),
            outcome: finding.outcome.clone(),
        }
    }
}

/// Tells people in full what went wrong.
pub(super) fn tell(error: anyhow::Error, decided: OnAmbiguous) {
    let told = match error.downcast::<RunError>() {
        Ok(RunError::Failed(finding)) => anyhow!("{}", finding.render().trim_end()),
        Ok(RunError::Blocked(plan)) => {
            let problems = show::lines(&show::told(&plan, decided));
            anyhow!("nothing was applied:\n{}", problems.trim_end())
        }
        Ok(other) => other.into(),
        Err(error) => error,
    };
    complain(&told);
}

/// What a command prints that did not come to its report.
#[derive(Debug, Serialize)]
struct Nothing {
    error: Failure,
}

/// Prints the failure of a command for programs, where its report would have been for them. Wrong use is told to people
/// alone: no program can do anything about it.
pub(super) fn print(format: Format, error: &anyhow::Error) -> Result<()> {
    if format == Format::Table || error.is::<Usage>() {
        return Ok(());
    }
    let error = Failure::of(error);
    output::print(format, &Nothing { error }, |_| String::new())
}
