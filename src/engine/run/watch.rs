//! Looking after the worker while it executes a file, from the control session: whom it waits
//! for, whom it holds up, whether it has to stop.

use std::time::Duration;

use futures::TryStreamExt;
use sqlx::{AssertSqlSafe, Either, postgres::PgConnection};
use tokio::time::{MissedTickBehavior, interval};

use super::{
    Progress, RunError, RunRequest,
    control::{self, Control, Phase, Sight},
    crew::Crew,
    ended,
    notices::Ear,
    session,
};
use crate::{
    engine::message::{Message, Piece, Text},
    postgres::{Error, Target},
};

/// How often the control session looks at the worker.
const TICK: Duration = Duration::from_millis(500);
/// Looks after which a worker that does not heed a cancellation is ended.
const LOOKS_BEFORE_TERMINATION: u32 = 10;

/// Bytes of data that are sent at once.
const DATA_PART: usize = 1 << 18;

/// What became of a message.
pub(super) struct Watched {
    /// Statements that the server answered.
    pub(super) completed: usize,
    /// What ended it early.
    pub(super) error: Option<Error>,
    /// Why we cancelled it, if we did.
    pub(super) interruption: Option<Interruption>,
    /// Whom it was last seen waiting for.
    pub(super) waited_for: Option<String>,
}

/// Why a message is cancelled.
pub(super) enum Interruption {
    /// The run has to end.
    Stop(RunError),
    /// Others have waited too long for its locks.
    InTheWay,
}

/// Sends a message through the worker and looks after it until the server has answered. Without
/// `max_blocked` it is nobody else's trouble if they wait for it.
///
/// # Errors
/// The control session was lost; the worker's session has been ended then.
pub(super) async fn watch<P: FnMut(Progress) + Send>(
    request: &RunRequest,
    version: &str,
    message: &Message,
    max_blocked: Option<Duration>,
    crew: &mut Crew<'_, P>,
) -> Result<Watched, RunError> {
    let Crew {
        control,
        worker,
        stop,
        progress,
    } = crew;
    let pid = worker.session.pid;
    let ear = worker.ear.clone();
    let mut work = Box::pin(ear.during(execute(&mut worker.session.connection, message)));
    let mut guard = Guard::new(version, pid, max_blocked);
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.reset();
    loop {
        let seen = tokio::select! {
            biased;
            (completed, error) = &mut work => {
                pass_on(version, &ear, progress);
                return Ok(Watched {
                    completed,
                    error,
                    interruption: guard.interruption,
                    waited_for: guard.waited_for,
                });
            }
            reason = stop.requested(), if !guard.is_stopping() => guard.stop(reason, control).await,
            _ = ticks.tick() => {
                pass_on(version, &ear, progress);
                guard.look(control, progress).await
            }
        };
        if let Err(error) = seen {
            control.was_ended = error.sqlstate() == Some(ended::SQLSTATE);
            drop(work);
            fence(&request.target, &request.holder, pid).await;
            return Err(RunError::Transient(format!(
                "{version} was ended because the control session was lost: {error}"
            )));
        }
    }
}

/// Tells what the server has said.
fn pass_on(version: &str, ear: &Ear, progress: &mut (impl FnMut(Progress) + Send)) {
    for notice in ear.take() {
        progress(Progress::Said {
            version: version.to_owned(),
            notice,
        });
    }
}

/// What the control session knows and does about the worker.
struct Guard<'a> {
    version: &'a str,
    worker: i32,
    max_blocked: Option<Duration>,
    interruption: Option<Interruption>,
    looks_since_interruption: u32,
    held_others_up: Duration,
    /// At the last look.
    waits_for: Option<String>,
    /// At the last look at which it waited.
    waited_for: Option<String>,
    building: Option<Phase>,
}

impl<'a> Guard<'a> {
    fn new(version: &'a str, worker: i32, max_blocked: Option<Duration>) -> Self {
        Self {
            version,
            worker,
            max_blocked,
            interruption: None,
            looks_since_interruption: 0,
            held_others_up: Duration::ZERO,
            waits_for: None,
            waited_for: None,
            building: None,
        }
    }

    fn is_stopping(&self) -> bool {
        matches!(self.interruption, Some(Interruption::Stop(_)))
    }

    async fn stop(&mut self, reason: RunError, control: &mut Control) -> Result<(), Error> {
        self.interruption = Some(Interruption::Stop(reason));
        control.cancel(self.worker).await
    }

    /// One look; an error means that the control session is gone.
    async fn look(
        &mut self,
        control: &mut Control,
        progress: &mut (impl FnMut(Progress) + Send),
    ) -> Result<(), Error> {
        let sight = control.watch(self.worker).await?;
        let is_in_the_way = sight.is_in_the_way;
        self.tell(sight, progress);
        if self.interruption.is_some() {
            self.looks_since_interruption += 1;
            // a statement may catch a cancellation
            return if self.looks_since_interruption < LOOKS_BEFORE_TERMINATION {
                control.cancel(self.worker).await
            } else {
                control.terminate(self.worker).await
            };
        }
        if is_in_the_way {
            self.held_others_up += TICK;
        }
        if self
            .max_blocked
            .is_some_and(|most| self.held_others_up > most)
        {
            self.interruption = Some(Interruption::InTheWay);
            return control.cancel(self.worker).await;
        }
        Ok(())
    }

    /// Tells what is new.
    fn tell(&mut self, sight: Sight, progress: &mut impl FnMut(Progress)) {
        let (waited, held_up) = (sight.waits_for.is_some(), sight.is_in_the_way);
        if waited || held_up {
            progress(Progress::LockTime {
                waited: TICK * u32::from(waited),
                held_up: TICK * u32::from(held_up),
            });
        }
        if self.waits_for != sight.waits_for {
            let version = self.version.to_owned();
            progress(match &sight.waits_for {
                Some(holder) => Progress::WaitingForLock {
                    version,
                    holder: holder.clone(),
                },
                None => Progress::GotLocks { version },
            });
            self.waits_for.clone_from(&sight.waits_for);
        }
        self.waited_for = sight.waits_for.or(self.waited_for.take());
        if let Some(phase) = sight
            .phase
            .filter(|phase| self.building.as_ref() != Some(phase))
        {
            progress(Progress::Building {
                version: self.version.to_owned(),
                phase: phase.name.clone(),
                percent: phase.percent,
            });
            self.building = Some(phase);
        }
    }
}

/// Ends a session through a new one: that of a worker, which nobody looks after without the control
/// session, or one on a copy. If that fails too, the server notices the closed connection by itself
/// within seconds, and until then the worker's lock keeps others out.
pub(super) async fn fence(target: &Target, holder: &str, pid: i32) {
    let patience = Duration::from_secs(5);
    let settings = session::control_settings();
    let opened = Box::pin(session::open(target, holder, settings, patience)).await;
    let fenced = match opened {
        Ok(mut session) => {
            let ended = control::signal(&mut session, "pg_terminate_backend", pid).await;
            session::close(session.connection).await;
            ended.map_err(RunError::from)
        }
        Err(error) => Err(error),
    };
    if let Err(error) = fenced {
        tracing::warn!(%error, pid, "the session of a migration could not be ended");
    }
}

/// Sends a message and counts the answers.
pub(super) async fn execute(
    connection: &mut PgConnection,
    message: &Message,
) -> (usize, Option<Error>) {
    let mut completed = 0;
    for piece in message.pieces() {
        let (answered, error) = match piece {
            Piece::Sql(text) => statements(connection, text).await,
            Piece::Copy { command, data } => match copy(connection, &command.sql, data).await {
                Ok(()) => (1, None),
                Err(error) => (0, Some(Error::from(error))),
            },
        };
        completed += answered;
        if error.is_some() {
            return (completed, error);
        }
    }
    (completed, None)
}

async fn statements(connection: &mut PgConnection, text: &Text) -> (usize, Option<Error>) {
    let mut answers = sqlx::raw_sql(AssertSqlSafe(text.sql.clone())).fetch_many(connection);
    let mut completed = 0;
    loop {
        match answers.try_next().await {
            Ok(Some(Either::Left(_))) => completed += 1,
            Ok(Some(Either::Right(_))) => {}
            Ok(None) => return (completed, None),
            Err(error) => return (completed, Some(Error::from(error))),
        }
    }
}

/// The server takes data only from a client that offers them.
pub(super) async fn copy(
    connection: &mut PgConnection,
    command: &str,
    data: &str,
) -> Result<(), sqlx::Error> {
    let mut copy = connection.copy_in_raw(command).await?;
    for part in data.as_bytes().chunks(DATA_PART) {
        copy.send(part).await?;
    }
    copy.finish().await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_waited_for_is_told_once_and_so_is_the_end_of_it() {
        let mut guard = Guard::new("001_a.sql", 1, None);
        let mut told = Vec::new();
        for holder in [None, Some("a"), Some("a"), None, None, Some("a"), Some("b")] {
            let sight = Sight {
                waits_for: holder.map(str::to_owned),
                is_in_the_way: false,
                phase: None,
            };
            guard.tell(sight, &mut |progress| {
                if let Progress::WaitingForLock { holder, .. } = progress {
                    told.push(holder);
                } else if let Progress::GotLocks { .. } = progress {
                    told.push("none".to_owned());
                }
            });
        }
        assert_eq!(told, ["a", "none", "a", "b"]);
    }
}
