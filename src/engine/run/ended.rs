//! Sessions of a run that are ended while a file runs, by `pg_terminate_backend()`.
//!
//! Somebody who does that from outside does it once, and the next run goes on. A file that does it itself, perhaps in a
//! function of another file, would do it in every run. What the file says tells the two apart where it calls that
//! function by name; otherwise it is noted, and the second time at the same place of the same file is a failure. A
//! server that is stopped ends sessions too; what happens then is not counted.

use std::time::Duration;

use super::{RunError, control::Control, crew::Crew, file::FileRun, session, watch::Watched};
use crate::engine::{
    message::{Message, Step, UNMET},
    report::{Code, Diagnostic},
    sql::{Script, calls},
};

/// What the server says to a session that it ends because somebody has asked for it.
pub(super) const SQLSTATE: &str = "57P01";

/// How long a server may take to let in whoever takes note; one that is being stopped lets nobody in.
const PATIENCE: Duration = Duration::from_secs(3);

/// What a file can do about it.
const LEAVE_OUT: &str = "pg_terminate_backend() is for the sessions of others: leave out those whose application_name begins \
     with sepulki/";
const LOOK_INSIDE: &str = "look for pg_terminate_backend() in the functions and triggers that it calls, and leave out sessions whose \
     application_name begins with sepulki/; where somebody else has ended it both times, try again";

/// Which session was ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// The one that ran the file, at this statement.
    Worker(usize),
    /// The one that looks after it.
    Control,
}

/// Which session of ours was ended by somebody, if that is why a message failed; never one that has recorded the file.
pub(super) fn ending(message: &Message, watched: &Watched) -> Option<Ending> {
    let sqlstate = watched.error.as_ref().and_then(|error| error.sqlstate());
    if watched.interruption.is_some() || message.is_recorded(watched.completed) {
        return None;
    }
    match (message.step(watched.completed)?, sqlstate?) {
        (Step::Statement(index), SQLSTATE) => Some(Ending::Worker(index)),
        (Step::Record, UNMET) => Some(Ending::Control),
        (
            Step::Prepare
            | Step::Again(_)
            | Step::Fence
            | Step::Statement(_)
            | Step::Record
            | Step::Look
            | Step::Commit,
            _,
        ) => None,
    }
}

impl FileRun<'_> {
    /// What follows: a failure of the file if it does this itself, otherwise `error`.
    pub(super) async fn ended<P>(
        &self,
        script: &Script,
        ending: Ending,
        error: RunError,
        crew: &Crew<'_, P>,
    ) -> RunError {
        if let (Ending::Control, Some(finding)) = (ending, self.ends_others(script)) {
            return RunError::Failed(Box::new(finding));
        }
        let Ok(file) = self.file() else {
            return error;
        };
        let statement = match ending {
            Ending::Worker(index) => Some(index),
            Ending::Control => None,
        };
        let before = self.ended.filter(|before| before.sha256 == file.sha256());
        let is_second = before.is_some_and(|before| before.statement == statement);
        let note = if is_second {
            self.subject().forget_ended()
        } else {
            self.subject().ended(file.sha256(), statement)
        };
        match self.note(note, &crew.control.session.server).await {
            Ok(true) if is_second => RunError::Failed(Box::new(self.second(script, statement))),
            Ok(_) => error,
            Err(reason) => {
                tracing::debug!(version = self.version, %reason, "an ended session is not counted");
                error
            }
        }
    }

    /// Notes it in a session of its own, since one of the others is gone; whether the server is still the same.
    async fn note(&self, sql: String, server: &str) -> Result<bool, RunError> {
        let (request, settings) = (self.request, session::control_settings());
        let opened = session::open(&request.target, &request.holder, settings, PATIENCE);
        let mut control = Control::new(opened.await?, &request.target, &request.ledger);
        let is_same = control.session.server == server;
        if is_same {
            control.ensure_journal().await?;
            control.write(sql).await?;
        }
        control.close().await;
        Ok(is_same)
    }

    /// The statement that ends sessions by its own words.
    fn ends_others(&self, script: &Script) -> Option<Diagnostic> {
        let text = |range: &std::ops::Range<usize>| script.text.get(range.clone());
        let mut ranges = script.statements.iter().map(|statement| &statement.range);
        let range = ranges
            .find(|range| text(range).is_some_and(|text| calls(text, "pg_terminate_backend")))?;
        let message = "the file ended the session that looks after its run";
        let finding = script.finding(self.version, range, Code::Refused, message);
        Some(finding.with_hint(LEAVE_OUT))
    }

    fn second(&self, script: &Script, statement: Option<usize>) -> Diagnostic {
        let message = match statement {
            Some(_) => "the session was ended at this statement, for the second time",
            None => {
                "the session that looks after the run was ended while this file ran, for the second time"
            }
        };
        let finding = script.finding_at(self.version, statement, Code::Refused, message);
        finding.with_hint(LOOK_INSIDE)
    }
}
