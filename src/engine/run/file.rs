//! One file: send its message, watch it, start over where locks were in the way.

use std::time::Duration;

use rand::RngExt;
use sqlx::postgres::PgConnection;
use tokio::time::sleep;

use super::{
    Progress, RunError, RunRequest,
    control::{self, Control},
    failure,
    session::{self, Session},
    stop::Stop,
    watch::{Interruption, watch},
};
use crate::{
    engine::{
        message::{Message, Record, Step},
        report::Diagnostic,
        sql::Script,
    },
    postgres::{Class, Error, lock::Key},
};

/// Pauses before starting over: from the first up to the longest, fully jittered.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
const SHORTEST_PAUSE: Duration = Duration::from_millis(50);
/// The session that runs files.
pub(super) struct Worker {
    session: Session,
}

impl Worker {
    /// Opens it and takes the worker lock, which a dead run's last statement may still hold.
    pub(super) async fn open(
        request: &RunRequest,
        control: &mut Control,
        progress: &mut (impl FnMut(Progress) + Send),
    ) -> Result<Self, RunError> {
        let settings = session::worker_settings(&request.timeouts, control.server_version());
        let patience = request.timeouts.connect;
        let mut session =
            session::open(&request.target, &request.holder, settings, patience).await?;
        let keys = control.keys;
        control::take(
            &mut session,
            keys,
            keys.worker,
            request.timeouts.other_run,
            progress,
        )
        .await?;
        Ok(Self { session })
    }

    pub(super) async fn close(self) {
        session::close(self.session.connection).await;
    }
}

/// A file in the course of a run.
pub(super) struct FileRun<'a> {
    pub(super) request: &'a RunRequest,
    pub(super) version: &'a str,
    pub(super) number: usize,
    pub(super) total: usize,
}

/// How one attempt ended.
enum Attempt {
    Committed,
    /// Rolled back because of locks; worth another try.
    GaveWay(String),
}

impl FileRun<'_> {
    /// Applies the file. `Ok` means committed, with its row.
    pub(super) async fn apply(
        &self,
        control: &mut Control,
        worker: &mut Worker,
        stop: &mut Stop,
        progress: &mut (impl FnMut(Progress) + Send),
    ) -> Result<(), RunError> {
        let script = self.script()?;
        let mut attempt = 1;
        loop {
            progress(Progress::Started {
                version: self.version.to_owned(),
                number: self.number,
                total: self.total,
                attempt,
            });
            let message = self.compose(script, control);
            let reason = match self
                .attempt(&message, script, control, worker, stop, progress)
                .await?
            {
                Attempt::Committed => return Ok(()),
                Attempt::GaveWay(reason) => reason,
            };
            if attempt > self.request.timeouts.retries {
                return Err(RunError::Transient(format!(
                    "{} gave way {attempt} times, at last because of: {reason}",
                    self.version
                )));
            }
            let pause = pause(attempt);
            progress(Progress::Retrying {
                version: self.version.to_owned(),
                reason,
                pause,
            });
            stop.or(async {
                sleep(pause).await;
                Ok(())
            })
            .await?;
            attempt += 1;
        }
    }

    fn script(&self) -> Result<&Script, RunError> {
        // the plan has neither unknown nor unrunnable files left
        let file = self.request.bundle.file(self.version);
        let script = file.map(super::super::bundle::MigrationFile::script);
        script.and_then(Result::ok).ok_or_else(|| {
            RunError::Unsupported(format!(
                "{} is not a runnable file of the bundle",
                self.version
            ))
        })
    }

    fn compose(&self, script: &Script, control: &Control) -> Message {
        let sha256 = self
            .request
            .bundle
            .file(self.version)
            .map_or("", |file| file.sha256());
        Message::compose(
            script,
            &Record {
                ledger: &self.request.ledger,
                version: self.version,
                sha256,
                worker: control.keys.worker,
                marker: Key::marker(rand::rng().random_range(1..i32::MAX)),
            },
        )
    }

    async fn attempt(
        &self,
        message: &Message,
        script: &Script,
        control: &mut Control,
        worker: &mut Worker,
        stop: &mut Stop,
        progress: &mut (impl FnMut(Progress) + Send),
    ) -> Result<Attempt, RunError> {
        let session = &mut worker.session;
        let watched = watch(
            self.request,
            self.version,
            message.text(),
            control,
            session,
            stop,
            progress,
        )
        .await?;
        let Some(error) = watched.error else {
            if watched.completed != message.answers() {
                tracing::warn!(
                    version = self.version,
                    expected = message.answers(),
                    answered = watched.completed,
                    "the server answered another number of statements than the file has"
                );
            }
            return Ok(Attempt::Committed);
        };
        if error.class != Class::Transient {
            rollback(&mut worker.session.connection).await?;
        }
        match (watched.interruption, error.class) {
            (Some(Interruption::Stop(reason)), _) => Err(reason),
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
            (_, Class::Transient) => Err(RunError::Transient(format!(
                "{} did not end, whether it is committed is in the ledger: {error}",
                self.version
            ))),
            (_, Class::Denied | Class::Unsupported | Class::Invalid) => {
                Err(self.failed(script, message, watched.completed, &error))
            }
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
        if message.step(completed) == Some(Step::Fence) && server.sqlstate == "22012" {
            return RunError::Busy("the worker's lock was lost to another run".to_owned());
        }
        let diagnostic: Diagnostic =
            failure::locate(self.version, script, message, completed, server);
        RunError::Failed(Box::new(diagnostic))
    }
}

/// A failed message can leave an aborted transaction open.
async fn rollback(connection: &mut PgConnection) -> Result<(), RunError> {
    session::rows(connection, "ROLLBACK".to_owned())
        .await
        .map(drop)
        .map_err(RunError::from)
}

fn pause(attempt: u32) -> Duration {
    let limit = FIRST_PAUSE
        .saturating_mul(2_u32.saturating_pow(attempt - 1))
        .min(LONGEST_PAUSE);
    limit
        .mul_f64(rand::rng().random::<f64>())
        .max(SHORTEST_PAUSE)
}
