//! A statement that runs alone: noted before and after, and brought to an end by looking at the
//! database where an earlier attempt was interrupted.

use std::time::Duration;

use tokio::time::timeout;

use super::{
    OnAmbiguous, Progress, RunError,
    crew::{Crew, Tries},
    file::{Attempt, FileRun},
    session::{self, get},
    watch::{Interruption, Watched, watch},
};
use crate::{
    engine::{
        journal::Trace,
        ledger::literal,
        message::{Message, Start},
        midway::skipped,
        report::{Code, Diagnostic},
        resume::{self, Verdict},
        sql::{
            Script,
            alone::{Alone, Kind},
            lasting, outline,
            position::position,
        },
    },
    postgres::{Class, Error},
};

/// How long a run that has to end still tries to remove what a statement left.
const LAST_EFFORT: Duration = Duration::from_secs(8);

/// Longest text of a statement that is shown, in characters.
const SHOWN: usize = 200;

/// Its lock timeout would turn waiting into an invalid index; the file's own is put back later.
const WITHOUT_LOCK_TIMEOUT: [&str; 2] = [
    "SELECT pg_catalog.set_config('sepulki.lock_timeout', pg_catalog.current_setting('lock_timeout'), false)",
    "SET lock_timeout = 0",
];
const LOCK_TIMEOUT_AGAIN: &str = "SELECT pg_catalog.set_config('lock_timeout', pg_catalog.current_setting('sepulki.lock_timeout'), false)";

/// Limits statements to so many milliseconds; the file's own limit is put back later.
fn limited(limit: u128) -> String {
    format!(
        "SELECT pg_catalog.set_config('sepulki.statement_timeout', pg_catalog.current_setting('statement_timeout'), false); \
         SET statement_timeout = {limit}"
    )
}
const STATEMENT_TIMEOUT_AGAIN: &str = "SELECT pg_catalog.set_config('statement_timeout', pg_catalog.current_setting('sepulki.statement_timeout'), false)";

/// Local numbers of transactions count up by one each. Answers `backend/number`.
const TRANSACTION: &str = "SELECT l.virtualtransaction FROM pg_catalog.pg_locks l \
     WHERE l.pid = pg_catalog.pg_backend_pid() AND l.locktype = 'virtualxid'";

/// A statement that runs alone, in the course of a run.
pub(super) struct Lonely<'a> {
    pub(super) file: FileRun<'a>,
    pub(super) script: &'a Script,
    /// Its number among the segments.
    pub(super) segment: usize,
    pub(super) fingerprint: &'a str,
    pub(super) statement: usize,
    pub(super) alone: &'a Alone,
}

impl Lonely<'_> {
    /// Runs it, and again where locks were in the way.
    pub(super) async fn run<P: FnMut(Progress) + Send>(
        &self,
        mut intent: Option<Trace>,
        start: Start,
        crew: &mut Crew<'_, P>,
    ) -> Result<(), RunError> {
        let mut tries = Tries::new(self.file.request, self.file.version);
        loop {
            self.file.tell_start(tries.attempt, crew);
            self.tell_statement(crew);
            match self.attempt(intent.take(), start, crew).await? {
                Attempt::Committed => return Ok(()),
                Attempt::GaveWay(reason) => {
                    // the next attempt finds the session as this one did
                    self.restore(crew).await?;
                    tries.again(reason, crew).await?;
                }
            }
            // what the last attempt noted, if it could not take it back
            let notes = crew.control.notes(&self.file.subject()).await?;
            let own = notes.into_iter().find(|note| note.segment == self.segment);
            intent = own.and_then(|note| note.intent);
        }
    }

    pub(super) fn kind(&self) -> &Kind {
        &self.alone.kind
    }

    fn range(&self) -> std::ops::Range<usize> {
        let statement = self.script.statements.get(self.statement);
        statement.map(|s| s.range.clone()).unwrap_or_default()
    }

    fn tell_statement<P: FnMut(Progress) + Send>(&self, crew: &mut Crew<'_, P>) {
        let range = self.range();
        let text = self.script.text.get(range.clone()).unwrap_or_default();
        crew.tell(Progress::Statement {
            version: self.file.version.to_owned(),
            line: position(&self.script.text, range.start).line,
            text: outline(text, SHOWN),
        });
    }

    async fn attempt<P: FnMut(Progress) + Send>(
        &self,
        intent: Option<Trace>,
        start: Start,
        crew: &mut Crew<'_, P>,
    ) -> Result<Attempt, RunError> {
        let settings: &[&str] = if self.kind().is_concurrent() {
            &WITHOUT_LOCK_TIMEOUT
        } else {
            &[]
        };
        let byte = self.range().start;
        let file = self.file;
        file.prepare(self.script, start, byte, settings, crew)
            .await?;
        let mut sight = self.look(intent.as_ref(), crew).await?;
        let mut verdict = resume::decide(self.kind(), intent.as_ref(), &sight);
        if let Verdict::CleanUp(_) = verdict {
            file.clean_up(verdict, crew).await?;
            sight = self.look(intent.as_ref(), crew).await?;
            verdict = resume::decide(self.kind(), intent.as_ref(), &sight);
        }
        let (table, is_there) = self.table(intent.as_ref(), crew).await?;
        if verdict == Verdict::Run {
            verdict = resume::moved(intent.as_ref(), table, is_there).unwrap_or(verdict);
        }
        let trace = resume::trace(self.kind(), intent.as_ref(), &sight, table);
        match verdict {
            Verdict::Run => self.execute(&trace, self.message(), crew).await,
            Verdict::Finish(sql) => self.execute(&trace, Message::own(&sql), crew).await,
            Verdict::Done => self.done(crew).await,
            Verdict::Busy(who) => Ok(Attempt::GaveWay(who)),
            Verdict::CleanUp(_) => Ok(Attempt::GaveWay(
                "what an earlier attempt left behind could not be removed yet".to_owned(),
            )),
            Verdict::Refuse { message, hint } => Err(self.refused(&message, hint)),
            Verdict::Ask => match self.file.request.execution.on_ambiguous {
                OnAmbiguous::Rerun => self.execute(&trace, self.message(), crew).await,
                OnAmbiguous::Skip => match skipped(file.version, self.script, self.statement) {
                    Some(lost) => Err(RunError::Failed(lost)),
                    None => self.done(crew).await,
                },
                OnAmbiguous::Stop => Err(self.ambiguous()),
            },
        }
    }

    fn message(&self) -> Message {
        Message::alone(self.script, self.statement)
    }

    async fn execute<P: FnMut(Progress) + Send>(
        &self,
        trace: &Trace,
        message: Message,
        crew: &mut Crew<'_, P>,
    ) -> Result<Attempt, RunError> {
        let file = self.file;
        let before = self.transaction_number(crew).await?;
        let intent = file.subject().intent(self.segment, self.fingerprint, trace);
        crew.control.write(intent).await?;
        let max_blocked = file.request.timeouts.max_blocked;
        let gives_way = !self.kind().is_concurrent() && *self.kind() != Kind::Unknowable;
        let max_blocked = gives_way.then_some(max_blocked);
        let watched = watch(file.request, file.version, &message, max_blocked, crew).await?;
        match &watched.error {
            None => {
                let sight = self.look(None, crew).await?;
                if let Some((message, hint)) = resume::objection(self.kind(), &sight) {
                    self.undone(crew).await?;
                    return Err(self.refused(&message, hint));
                }
                self.done(crew).await
            }
            Some(error) if error.class == Class::Transient && !error.is_out_of_room() => {
                file.judge(&message, self.script, watched)
            }
            Some(_) => self.failed(trace, before, &message, watched, crew).await,
        }
    }

    /// The statement failed in a session that lives. What it left is removed at once, as far as
    /// that is possible in short time; otherwise the intent stays, and the next run does it.
    async fn failed<P: FnMut(Progress) + Send>(
        &self,
        trace: &Trace,
        before: Option<u64>,
        message: &Message,
        watched: Watched,
        crew: &mut Crew<'_, P>,
    ) -> Result<Attempt, RunError> {
        let nothing_left = if *self.kind() == Kind::Unknowable {
            // one transaction for the question, one for the statement, and this one
            let after = self.transaction_number(crew).await?;
            matches!((before, after), (Some(before), Some(after)) if after == before + 2)
        } else {
            let effort = self.remove_remains(trace, crew);
            matches!(timeout(LAST_EFFORT, effort).await, Ok(Ok(())))
        };
        if nothing_left {
            self.undone(crew).await?;
            return self.file.judge(message, self.script, watched);
        }
        let judged = self.file.judge(message, self.script, watched);
        if *self.kind() != Kind::Unknowable {
            return judged;
        }
        match judged {
            // it may have been half carried out: whether to go on is not for us to say
            Ok(Attempt::GaveWay(_))
                if self.file.request.execution.on_ambiguous == OnAmbiguous::Stop =>
            {
                Err(self.ambiguous())
            }
            Err(RunError::Failed(mut finding)) => {
                finding.outcome = Some(
                    "the statement had committed a part of its work before it failed, which stays; \
                     execution.onAmbiguous (--on-ambiguous) says whether to run it again or to skip it"
                        .to_owned(),
                );
                Err(RunError::Failed(finding))
            }
            other => other,
        }
    }

    async fn remove_remains<P>(
        &self,
        trace: &Trace,
        crew: &mut Crew<'_, P>,
    ) -> Result<(), RunError> {
        let Some(sql) = resume::left_behind_sql(trace) else {
            return Ok(());
        };
        let connection = &mut crew.worker.session.connection;
        let sight = super::look::indexes(session::rows(connection, sql).await?)?;
        let limit = LAST_EFFORT.as_millis() / 2;
        match resume::clean_up(trace, &sight) {
            Verdict::CleanUp(drops) => {
                session::rows(connection, limited(limit)).await?;
                for drop in drops {
                    session::rows(connection, drop).await?;
                }
                session::rows(connection, STATEMENT_TIMEOUT_AGAIN.to_owned()).await?;
                Ok(())
            }
            Verdict::Run => Ok(()),
            Verdict::Done
            | Verdict::Finish(_)
            | Verdict::Busy(_)
            | Verdict::Refuse { .. }
            | Verdict::Ask => Err(RunError::Transient("it is still there".to_owned())),
        }
    }

    /// Which transaction of its session the next question is answered in, counted from 1.
    async fn transaction_number<P>(&self, crew: &mut Crew<'_, P>) -> Result<Option<u64>, RunError> {
        if *self.kind() != Kind::Unknowable {
            return Ok(None);
        }
        let connection = &mut crew.worker.session.connection;
        let rows = session::rows(connection, TRANSACTION.to_owned()).await?;
        let text: String = get(rows.first().ok_or_else(no_answer)?, 0)?;
        let number = text.rsplit('/').next();
        Ok(number.and_then(|number| number.parse().ok()))
    }

    async fn done<P>(&self, crew: &mut Crew<'_, P>) -> Result<Attempt, RunError> {
        let subject = self.file.subject();
        let version = literal(self.file.version);
        let kept = format!("SELECT {}", lasting::kept_sql(&[]));
        let kept = session::rows(&mut crew.worker.session.connection, kept).await?;
        let kept: Option<String> = get(kept.first().ok_or_else(no_answer)?, 0)?;
        let kept = kept.map_or("NULL".to_owned(), |kept| literal(&kept));
        let note = subject.done(&version, self.segment, self.fingerprint, &kept);
        crew.control.write(note).await?;
        self.restore(crew).await?;
        Ok(Attempt::Committed)
    }

    /// Puts the file's own lock timeout back.
    async fn restore<P>(&self, crew: &mut Crew<'_, P>) -> Result<(), RunError> {
        if self.kind().is_concurrent() {
            let connection = &mut crew.worker.session.connection;
            session::rows(connection, LOCK_TIMEOUT_AGAIN.to_owned()).await?;
        }
        Ok(())
    }

    async fn undone<P>(&self, crew: &mut Crew<'_, P>) -> Result<(), RunError> {
        let note = self.file.subject().undone(self.segment);
        crew.control.write(note).await
    }

    fn refused(&self, message: &str, hint: String) -> RunError {
        let finding = self.finding(Code::InvalidIndex, message);
        RunError::Failed(Box::new(finding.with_hint(hint)))
    }

    fn ambiguous(&self) -> RunError {
        let message = format!(
            "{} was interrupted, and nobody can know whether it was carried out",
            self.alone.what
        );
        let mut finding = self.finding(Code::Ambiguous, &message).with_hint(
            "find out, then set execution.onAmbiguous (--on-ambiguous) to Rerun or Skip for the next run",
        );
        finding.outcome = Some(
            "what it has committed stays, and so does what stands in front of it; what stands behind it was not run"
                .to_owned(),
        );
        RunError::Failed(Box::new(finding))
    }

    fn finding(&self, code: Code, message: &str) -> Diagnostic {
        let file = self.file.version;
        self.script.finding(file, &self.range(), code, message)
    }
}

impl FileRun<'_> {
    /// Gets the session ready for a statement that runs alone, and makes sure of its lock.
    pub(super) async fn prepare<P: FnMut(Progress) + Send>(
        &self,
        script: &Script,
        start: Start,
        byte: usize,
        settings: &[&str],
        crew: &mut Crew<'_, P>,
    ) -> Result<(), RunError> {
        let fence = format!(
            "SELECT 1 / (EXISTS (SELECT FROM pg_catalog.pg_locks l WHERE {}) AND {})::int",
            crew.control.own_lock(),
            crew.control.keys.worker.try_for_session()
        );
        let ours: Vec<&str> = std::iter::once(fence.as_str())
            .chain(settings.iter().copied())
            .collect();
        let worker = crew.control.keys.worker;
        let message = Message::prepare(script, start, byte, worker, &ours);
        let watched = watch(self.request, self.version, &message, None, crew).await?;
        match self.judge(&message, script, watched)? {
            Attempt::Committed => Ok(()),
            Attempt::GaveWay(reason) => Err(RunError::Transient(reason)),
        }
    }

    /// Drops what an earlier attempt left half-built.
    pub(super) async fn clean_up<P: FnMut(Progress) + Send>(
        &self,
        verdict: Verdict,
        crew: &mut Crew<'_, P>,
    ) -> Result<(), RunError> {
        let drops = match verdict {
            Verdict::CleanUp(drops) => drops,
            Verdict::Busy(who) => return Err(RunError::Transient(who)),
            Verdict::Run
            | Verdict::Done
            | Verdict::Finish(_)
            | Verdict::Refuse { .. }
            | Verdict::Ask => return Ok(()),
        };
        for drop in drops {
            let message = Message::own(&drop);
            let watched = watch(self.request, self.version, &message, None, crew).await?;
            if let Some(Interruption::Stop(reason)) = watched.interruption {
                return Err(reason);
            }
            if let Some(error) = watched.error {
                let text = format!("what an earlier attempt left behind stays for now: {error}");
                return Err(RunError::Transient(text));
            }
        }
        Ok(())
    }
}

pub(super) fn no_answer() -> Error {
    Error::new(Class::Transient, "the server gave no answer")
}
