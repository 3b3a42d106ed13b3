//! One file: in one transaction, or segment by segment; started over where locks were in the way.

use rand::RngExt;
use sqlx::postgres::PgConnection;

use super::{
    Progress, RunError, RunRequest,
    control::{self, Control},
    crew::{Crew, Tries},
    ended::{Ending, SQLSTATE, ending},
    failure,
    notices::Ear,
    session::{self, Session, get},
    watch::{Interruption, Watched, watch},
};
use crate::{
    engine::{
        bundle::MigrationFile,
        journal::{Ended, Note, Subject},
        ledger::{identifier, literal},
        message::{Entry, Message, Record, Start, Step, UNLOCK, UNMET},
        midway,
        report::Code,
        sql::{
            Script, calls, lasting,
            segment::{Shape, Transaction},
        },
    },
    postgres::{Class, Error, lock::Key},
};

/// What became of a file that failed in its only transaction.
const ROLLED_BACK: &str = "the file was rolled back: nothing of it is left";

/// What became of a file that failed behind its own COMMIT, where only settings of the session can stand.
const COMMITTED: &str = "the file is committed and recorded as applied, and the next run goes on behind it; only this setting, which would have \
     ended with the session, and what stands behind it were not made";

/// The session that runs files.
pub(super) struct Worker {
    pub(super) session: Session,
    pub(super) ear: Ear,
}

impl Worker {
    /// Opens it and takes the worker lock, which a dead run's last statement may still hold.
    pub(super) async fn open(
        request: &RunRequest,
        control: &mut Control,
        progress: &mut (impl FnMut(Progress) + Send),
    ) -> Result<Self, RunError> {
        let settings = session::worker_settings(request, control.server_version());
        let patience = request.timeouts.connect;
        let mut session =
            session::open(&request.target, &request.holder, settings, patience).await?;
        let keys = control.keys;
        control::poll(
            &mut session,
            keys,
            keys.worker.try_for_run(),
            request.timeouts.other_run,
            progress,
        )
        .await?;
        Ok(Self {
            session,
            ear: Ear::new(),
        })
    }

    /// Goes on in a new session, which has the settings that databases and roles have by now. Nobody else takes the lock in
    /// between, since the control session holds its own.
    pub(super) async fn renew(
        &mut self,
        request: &RunRequest,
        control: &mut Control,
        progress: &mut (impl FnMut(Progress) + Send),
    ) -> Result<(), RunError> {
        session::rows(&mut self.session.connection, UNLOCK.to_owned()).await?;
        let new = Box::pin(Self::open(request, control, progress)).await?;
        std::mem::replace(self, new).close().await;
        Ok(())
    }

    pub(super) async fn close(self) {
        session::close(self.session.connection).await;
    }
}

/// A file in the course of a run.
#[derive(Clone, Copy)]
pub(super) struct FileRun<'a> {
    pub(super) request: &'a RunRequest,
    pub(super) version: &'a str,
    pub(super) number: usize,
    pub(super) total: usize,
    /// What earlier runs, which did not finish it, have noted of it.
    pub(super) notes: &'a [Note],
    /// That a session of the last run was ended while the file ran.
    pub(super) ended: Option<&'a Ended>,
}

/// How one attempt ended.
pub(super) enum Attempt {
    /// It is done.
    Committed,
    /// Nothing is left of it, because of locks; worth another try.
    GaveWay(String),
}

impl<'a> FileRun<'a> {
    /// Applies the file. `Ok` means committed, with its row.
    pub(super) async fn apply<P: FnMut(Progress) + Send>(
        &self,
        crew: &mut Crew<'_, P>,
    ) -> Result<(), RunError> {
        crew.worker.ear.clear();
        let file = self.file()?;
        let script = file.script().map_err(|_| self.unrunnable())?;
        let meaning = file.meaning().filter(|_| crew.control.remembers());
        let row = |journalled| Entry::Row {
            sha256: file.sha256(),
            meaning: meaning.as_deref(),
            journalled,
        };
        match (&script.shape, self.notes) {
            (Shape::Whole(transaction), []) => {
                let entry = row(self.ended.is_some());
                let applied = self.transaction(script, transaction, Start::Afresh, entry, crew);
                Box::pin(applied)
                    .await
                    .map_err(|error| with_outcome(error, || ROLLED_BACK.to_owned()))
            }
            (Shape::Whole(_) | Shape::Segments(_), notes) => {
                let way = midway::way(self.version, script, notes).map_err(RunError::Failed)?;
                Box::pin(self.segments(script, &way, row(true), crew)).await
            }
        }
    }

    pub(super) fn file(&self) -> Result<&'a MigrationFile, RunError> {
        let file = self.request.bundle.file(self.version);
        file.ok_or_else(|| self.unrunnable())
    }

    /// The plan has neither unknown nor unrunnable files left.
    fn unrunnable(&self) -> RunError {
        RunError::Unsupported(format!(
            "{} is not a runnable file of the bundle",
            self.version
        ))
    }

    pub(super) fn subject(&self) -> Subject<'a> {
        Subject {
            ledger: &self.request.ledger,
            version: self.version,
        }
    }

    /// Runs a transaction, and again where locks were in the way.
    pub(super) async fn transaction<P: FnMut(Progress) + Send>(
        &self,
        script: &Script,
        transaction: &Transaction,
        start: Start,
        entry: Entry<'_>,
        crew: &mut Crew<'_, P>,
    ) -> Result<(), RunError> {
        let mut tries = Tries::new(self.request, self.version);
        loop {
            self.tell_start(tries.attempt, crew);
            let record = Record {
                subject: self.subject(),
                entry,
                worker: crew.control.keys.worker,
                control: crew.control.own_lock(),
                marker: Key::marker(rand::rng().random_range(1..i32::MAX)),
            };
            let message = Message::compose(script, transaction, start, &record);
            match self.attempt(&message, script, crew).await? {
                Attempt::Committed => return Ok(()),
                Attempt::GaveWay(reason) => tries.again(reason, crew).await?,
            }
            // the session is what it was before, so that what earlier segments made in it is there
            if start == Start::GoOn {
                self.deallocate(script, transaction, crew).await?;
            }
        }
    }

    /// Takes back what a segment has prepared, which its rollback did not.
    async fn deallocate<P>(
        &self,
        script: &Script,
        transaction: &Transaction,
        crew: &mut Crew<'_, P>,
    ) -> Result<(), RunError> {
        let names = lasting::prepared(script, script.within(transaction));
        if names.is_empty() {
            return Ok(());
        }
        let names: Vec<String> = names.iter().map(|name| literal(name)).collect();
        let list = names.join(", ");
        let prepared =
            format!("SELECT name FROM pg_catalog.pg_prepared_statements WHERE name IN ({list})");
        let connection = &mut crew.worker.session.connection;
        for row in session::rows(connection, prepared).await? {
            let name: String = get(&row, 0)?;
            let sql = format!("DEALLOCATE {}", identifier(&name));
            session::rows(connection, sql).await?;
        }
        Ok(())
    }

    pub(super) fn tell_start<P: FnMut(Progress) + Send>(
        &self,
        attempt: u32,
        crew: &mut Crew<'_, P>,
    ) {
        crew.tell(Progress::Started {
            version: self.version.to_owned(),
            number: self.number,
            total: self.total,
            attempt,
        });
    }

    async fn attempt<P: FnMut(Progress) + Send>(
        &self,
        message: &Message,
        script: &Script,
        crew: &mut Crew<'_, P>,
    ) -> Result<Attempt, RunError> {
        let max_blocked = Some(self.request.timeouts.max_blocked);
        let watched = match watch(self.request, self.version, message, max_blocked, crew).await {
            Ok(watched) => watched,
            Err(error) if crew.control.was_ended => {
                return Err(self.ended(script, Ending::Control, error, crew).await);
            }
            Err(error) => return Err(error),
        };
        let Some(error) = &watched.error else {
            self.check_answers(message, &watched);
            return Ok(Attempt::Committed);
        };
        if error.class != Class::Transient || error.is_out_of_room() {
            rollback(&mut crew.worker.session.connection).await?;
        }
        let ending = ending(message, &watched);
        match (self.judge(message, script, watched), ending) {
            (Err(error @ RunError::Transient(_)), Some(ending)) => {
                Err(self.ended(script, ending, error, crew).await)
            }
            (judged, _) => judged,
        }
    }

    /// What a failed message means; `watched` holds an error.
    pub(super) fn judge(
        &self,
        message: &Message,
        script: &Script,
        watched: Watched,
    ) -> Result<Attempt, RunError> {
        let Some(error) = watched.error else {
            return Ok(Attempt::Committed);
        };
        let is_committed = message.is_committed(watched.completed);
        match (watched.interruption, error.class) {
            (Some(Interruption::Stop(reason)), _) => Err(reason),
            (Some(Interruption::InTheWay), Class::Conflict | Class::Invalid) if is_committed => {
                Ok(Attempt::Committed)
            }
            (_, Class::Conflict) if is_committed => {
                Err(self.failed(script, message, watched.completed, &error))
            }
            (Some(Interruption::InTheWay), Class::Conflict | Class::Invalid) => {
                Ok(Attempt::GaveWay(format!(
                    "others had waited for its locks for {:?}",
                    self.request.timeouts.max_blocked
                )))
            }
            (_, Class::Conflict) => Ok(Attempt::GaveWay(match watched.waited_for {
                Some(holder) => format!("{error}; held by {holder}"),
                None => error.to_string(),
            })),
            (_, Class::Transient) if is_notified(&error) => {
                Err(self.listens(script, message, watched.completed))
            }
            (_, Class::Transient) if ends_itself(script, message, watched.completed, &error) => {
                Err(self.failed(script, message, watched.completed, &error))
            }
            (_, Class::Transient) if error.is_out_of_room() => {
                Err(self.out_of_room(script, message, watched.completed, &error))
            }
            (_, Class::Transient) => Err(RunError::Transient(format!(
                "{} did not end, whether it is committed is in the ledger: {error}",
                self.version
            ))),
            // whoever has a session has a compute: the words are the file's
            (_, Class::Limit | Class::Denied | Class::Unsupported | Class::Invalid) => {
                Err(self.failed(script, message, watched.completed, &error))
            }
        }
    }

    /// Trying again would use up the same memory or disk, perhaps for hours, and fail again. What the server lacks before the
    /// file has begun is for others to give back.
    fn out_of_room(
        &self,
        script: &Script,
        message: &Message,
        completed: usize,
        error: &Error,
    ) -> RunError {
        match message.step(completed) {
            Some(Step::Statement(_) | Step::Record | Step::Look | Step::Commit) => {
                self.failed(script, message, completed, error)
            }
            Some(Step::Prepare | Step::Again(_) | Step::Fence) | None => {
                RunError::Transient(format!("{} could not go on: {error}", self.version))
            }
        }
    }

    /// The conversation broke off because the server said what nobody had asked for.
    fn listens(&self, script: &Script, message: &Message, completed: usize) -> RunError {
        let text = "the session was sent a notification in the middle of its conversation with the server: it listens";
        // it comes behind the answer to the statement that has committed
        let answered = completed.checked_sub(1);
        let statement = match answered.and_then(|last| message.step(last)) {
            Some(Step::Statement(index)) => Some(index),
            Some(
                Step::Prepare
                | Step::Again(_)
                | Step::Fence
                | Step::Record
                | Step::Look
                | Step::Commit,
            )
            | None => None,
        };
        let finding = script.finding_at(self.version, statement, Code::Refused, text);
        let hint =
            "leave out LISTEN: it is the session that listens, and this one ends with the run";
        RunError::Failed(Box::new(finding.with_hint(hint)))
    }

    fn check_answers(&self, message: &Message, watched: &Watched) {
        if watched.completed != message.answers() {
            tracing::warn!(
                version = self.version,
                expected = message.answers(),
                answered = watched.completed,
                "the server answered another number of statements than the file has"
            );
        }
    }

    fn failed(
        &self,
        script: &Script,
        message: &Message,
        completed: usize,
        error: &Error,
    ) -> RunError {
        let Some(server) = &error.server else {
            return RunError::Transient(error.to_string());
        };
        if message.step(completed) == Some(Step::Fence) && server.sqlstate == UNMET {
            return RunError::Transient(format!(
                "{} was not begun: this run's control session has ended, or another run has its worker's lock",
                self.version
            ));
        }
        if message.step(completed) == Some(Step::Record) && server.sqlstate == UNMET {
            return RunError::Transient(format!(
                "{} was rolled back at its end: this run's control session has ended",
                self.version
            ));
        }
        let mut diagnostic = failure::locate(self.version, script, message, completed, server);
        if message.is_committed(completed) {
            diagnostic.outcome = Some(COMMITTED.to_owned());
        }
        RunError::Failed(Box::new(diagnostic))
    }
}

/// Whether the session was ended by the very statement that it executed. Where another one has ended it, the file is
/// no worse for it and is run again.
fn ends_itself(script: &Script, message: &Message, completed: usize, error: &Error) -> bool {
    let Some(Step::Statement(index)) = message.step(completed) else {
        return false;
    };
    let statement = script.statements.get(index).map(|s| s.range.clone());
    let text = script.text.get(statement.unwrap_or_default());
    error.sqlstate() == Some(SQLSTATE) && calls(text.unwrap_or_default(), "pg_terminate_backend")
}

/// Whether the server has sent a notification, which the client takes from nobody who has not asked it for them.
fn is_notified(error: &Error) -> bool {
    error.server.is_none() && error.to_string().contains("NotificationResponse")
}

/// Says what became of a file that failed, where the finding itself does not.
pub(super) fn with_outcome(mut error: RunError, outcome: impl FnOnce() -> String) -> RunError {
    if let RunError::Failed(finding) = &mut error
        && finding.outcome.is_none()
        && !finding.code.tells_outcome()
    {
        finding.outcome = Some(outcome());
    }
    error
}

/// A failed message can leave an aborted transaction open.
async fn rollback(connection: &mut PgConnection) -> Result<(), RunError> {
    session::rows(connection, "ROLLBACK".to_owned())
        .await
        .map(drop)
        .map_err(RunError::from)
}
