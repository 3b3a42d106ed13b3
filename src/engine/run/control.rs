//! The control session: its lock, the ledger, and an eye on the worker.

use std::time::Duration;

use rand::RngExt;
use sqlx::postgres::PgRow;
use tokio::time::sleep;

use super::{
    Progress, RunError, failure,
    session::{self, Session, get},
};
use crate::{
    engine::{
        journal::{self, Ended, Note, Subject},
        ledger::{self, LedgerName, LedgerRow, LedgerState},
        memory, own_tables,
        protection::{self, Protection},
    },
    postgres::{Class, Error, Target, lock::Key},
};

pub(super) struct Control {
    pub(super) session: Session,
    ledger: LedgerName,
    /// Whether the journal is known to exist.
    knows_journal: bool,
    /// Whether the memory can be used.
    remembers: bool,
    /// Whether somebody has been seen to have ended this session.
    pub(super) was_ended: bool,
    /// Files in the course of which a session of the last run was ended; as the ledger was read last.
    pub(super) ended: Vec<Ended>,
    pub(super) keys: Keys,
}

/// The locks of one ledger.
#[derive(Clone, Copy)]
pub(super) struct Keys {
    pub(super) control: Key,
    pub(super) worker: Key,
}

/// What the worker is doing to others and they to it.
pub(super) struct Sight {
    /// Who holds what the worker waits for.
    pub(super) waits_for: Option<String>,
    /// Somebody waits for the worker.
    pub(super) is_in_the_way: bool,
    /// How far the index is that it builds.
    pub(super) phase: Option<Phase>,
}

/// How far the building of an index is.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Phase {
    pub(super) name: String,
    pub(super) percent: Option<u8>,
}

impl Control {
    /// Connects as `holder`; a server that is asleep has so long to come up.
    pub(super) async fn open(
        target: &Target,
        ledger: &LedgerName,
        holder: &str,
        connect: Duration,
    ) -> Result<Self, RunError> {
        let session = session::open(target, holder, session::control_settings(), connect);
        Ok(Self::new(Box::pin(session).await?, target, ledger))
    }

    pub(super) fn new(session: Session, target: &Target, ledger: &LedgerName) -> Self {
        let name = ledger.quoted();
        Self {
            session,
            ledger: ledger.clone(),
            knows_journal: false,
            remembers: false,
            was_ended: false,
            ended: Vec::new(),
            keys: Keys {
                control: Key::control(&target.database, &name),
                worker: Key::worker(&target.database, &name),
            },
        }
    }

    /// Whether what is applied is remembered.
    pub(super) fn remembers(&self) -> bool {
        self.remembers
    }

    pub(super) fn server_version(&self) -> u32 {
        self.session.version
    }

    /// The first transaction that began after this session.
    pub(super) fn since(&self) -> &str {
        &self.session.since
    }

    /// A condition on a row `l` of `pg_locks`: the lock of this session, which lives as long as it is there.
    pub(super) fn own_lock(&self) -> String {
        let key = self.keys.control.in_pg_locks("l");
        format!("l.pid = {} AND l.granted AND {key}", self.session.pid)
    }

    /// Takes the control lock, waiting at most `patience` for another run to end.
    pub(super) async fn take_lock(
        &mut self,
        patience: Duration,
        progress: &mut (impl FnMut(Progress) + Send),
    ) -> Result<(), RunError> {
        let locks = self.keys.control.try_for_run();
        poll(&mut self.session, self.keys, locks, patience, progress).await
    }

    /// Takes all locks of the database and its ledger, so that neither a run nor anybody who
    /// changes grants is at work.
    pub(super) async fn take_all_locks(
        &mut self,
        patience: Duration,
        progress: &mut (impl FnMut(Progress) + Send),
    ) -> Result<(), RunError> {
        let Keys { control, worker } = self.keys;
        let locks = [control, worker, Key::database()].map(Key::try_for_session);
        let locks = locks.join(" AND ");
        poll(&mut self.session, self.keys, locks, patience, progress).await
    }

    /// What the database says of itself.
    pub(super) async fn protection(&mut self) -> Result<Option<Protection>, RunError> {
        if !self.answers_yes(protection::exists_sql()).await? {
            return Ok(None);
        }
        let rows = session::rows(&mut self.session.connection, protection::read_sql()).await?;
        let read = |row: &PgRow| {
            Ok(Protection {
                environment: get(row, 0)?,
                is_protected: get(row, 1)?,
            })
        };
        rows.first().map(read).transpose()
    }

    /// Has the database say this of itself.
    pub(super) async fn protect(&mut self, wanted: &Protection) -> Result<(), RunError> {
        if self.protection().await?.as_ref() == Some(wanted) {
            return Ok(());
        }
        self.write(wanted.write_sql()).await
    }

    async fn answers_yes(&mut self, question: String) -> Result<bool, RunError> {
        let rows = session::rows(&mut self.session.connection, question).await?;
        let answer: Option<bool> = rows.first().map(|row| get(row, 0)).transpose()?;
        Ok(answer == Some(true))
    }

    /// Reads the ledger; a table of that name that is none is an error.
    pub(super) async fn ledger(&mut self) -> Result<LedgerState, RunError> {
        let connection = &mut self.session.connection;
        let mut columns: Vec<(String, String)> = Vec::new();
        for row in session::rows(connection, ledger::shape_sql(&self.ledger)).await? {
            columns.push((get(&row, 0)?, get(&row, 1)?));
        }
        let (own, columns): (Vec<_>, Vec<_>) =
            columns.into_iter().partition(|(name, _)| name.is_empty());
        let has = |what: &str| own.iter().any(|(_, own)| own == what);
        self.remembers = has(ledger::MEMORY);
        let has_journal = has(ledger::JOURNAL);
        let exists = ledger::shape(&self.ledger, &columns).map_err(RunError::LedgerConflict)?;
        let grants = own.iter().map(|(_, own)| own.as_str());
        let mut grants = grants.filter(|own| ![ledger::MEMORY, ledger::JOURNAL].contains(own));
        let first = grants.next();
        if let Some(first) = first {
            let why = "what is applied here cannot be read, and all files would run again";
            return Err(lacks(why, first, grants));
        }
        self.knows_journal |= has_journal;
        let mut state = LedgerState {
            name: self.ledger.clone(),
            exists,
            ..LedgerState::default()
        };
        self.ended.clear();
        let sql = if exists {
            ledger::rows_sql(&self.ledger, self.remembers, has_journal)
        } else if let Some(sql) = ledger::lost_sql(&self.ledger, self.remembers, has_journal) {
            sql
        } else {
            return Ok(state);
        };
        for row in session::rows(connection, sql).await? {
            add(&mut state, &mut self.ended, &row)?;
        }
        Ok(state)
    }

    /// Creates the ledger; only while the lock is held. What is remembered of an earlier one of its name stays: whether
    /// that is forgotten is for people to say.
    pub(super) async fn create_ledger(&mut self) -> Result<(), RunError> {
        let sql = ledger::create_sql(&self.ledger);
        let created = session::rows(&mut self.session.connection, sql).await;
        created.map(drop).map_err(|error| {
            let text = format!("the ledger {} cannot be created: {error}", self.ledger);
            // somebody else, who takes no lock, was quicker
            if let Some("42P07" | "42P06" | "23505") = error.sqlstate() {
                return RunError::Transient(text);
            }
            match error.class {
                Class::Transient | Class::Conflict | Class::Limit => RunError::Transient(text),
                Class::Denied => RunError::Denied(text),
                Class::Unsupported | Class::Invalid => RunError::LedgerConflict(text),
            }
        })
    }

    /// Reads how far a file has come.
    pub(super) async fn notes(&mut self, subject: &Subject<'_>) -> Result<Vec<Note>, RunError> {
        let connection = &mut self.session.connection;
        let mut notes = Vec::new();
        for row in session::rows(connection, subject.notes()).await? {
            let (segment, intent): (String, Option<String>) = (get(&row, 0)?, get(&row, 2)?);
            let note = journal::note(&segment, get(&row, 1)?, intent.as_deref());
            notes.push(note.map_err(RunError::Unsupported)?);
        }
        Ok(notes)
    }

    /// Whether what is applied can be remembered. Makes the memory where there is none, except for
    /// a role that may not make it: that one goes without. One that may not write to what there is, is refused.
    pub(super) async fn ensure_memory(&mut self) -> Result<bool, RunError> {
        if !self.remembers {
            let created = self.create(memory::create_sql()).await?;
            if let Some(error) = created.filter(|error| error.class != Class::Denied) {
                return Err(RunError::from(error));
            }
            self.remembers = self.has_memory().await?;
        }
        let question = ledger::lacking_sql(&self.ledger);
        let mut grants = Vec::new();
        for row in session::rows(&mut self.session.connection, question).await? {
            grants.push(get::<String>(&row, 0)?);
        }
        match grants.split_first() {
            Some((first, more)) => {
                let why = "what is applied cannot be recorded";
                Err(lacks(why, first, more.iter().map(String::as_str)))
            }
            None => Ok(self.remembers),
        }
    }

    /// Whether there is a memory.
    pub(super) async fn has_memory(&mut self) -> Result<bool, RunError> {
        self.answers_yes(format!("SELECT {}", memory::there_sql()))
            .await
    }

    /// Makes the journal where there is none, since it is about to be written.
    pub(super) async fn ensure_journal(&mut self) -> Result<(), RunError> {
        if !self.has_journal().await?
            && let Some(error) = self.create(journal::create_sql()).await?
        {
            let text = format!(
                "the schema {} for the journal cannot be created: {error}",
                own_tables::SCHEMA
            );
            return Err(match error.class {
                Class::Transient | Class::Conflict | Class::Limit => RunError::Transient(text),
                Class::Denied | Class::Unsupported | Class::Invalid => RunError::Denied(text),
            });
        }
        self.knows_journal = true;
        Ok(())
    }

    /// Creates a table of the engine's own, and answers why that failed.
    async fn create(&mut self, sql: String) -> Result<Option<Error>, RunError> {
        let connection = &mut self.session.connection;
        let Err(error) = session::rows(connection, sql).await else {
            return Ok(None);
        };
        session::rows(connection, "ROLLBACK".to_owned()).await?;
        // a run on another ledger was quicker
        let is_there = matches!(error.sqlstate(), Some("42P07" | "42P06" | "23505"));
        Ok((!is_there).then_some(error))
    }

    /// Whether there is a journal.
    pub(super) async fn has_journal(&mut self) -> Result<bool, RunError> {
        if !self.knows_journal {
            self.knows_journal = self.answers_yes(journal::exists_sql()).await?;
        }
        Ok(self.knows_journal)
    }

    /// Writes to the journal.
    pub(super) async fn write(&mut self, sql: String) -> Result<(), RunError> {
        let written = session::rows(&mut self.session.connection, sql).await;
        written.map(drop).map_err(RunError::from)
    }

    /// Writes rows of the ledger, and fails where they are not there afterwards.
    pub(super) async fn record(&mut self, sql: String) -> Result<(), RunError> {
        let written = session::rows(&mut self.session.connection, sql).await;
        written.map(drop).map_err(|error| match error.sqlstate() {
            Some("22012") => {
                RunError::LedgerConflict(format!("{}: {}", self.ledger, failure::HIDDEN))
            }
            _ => RunError::from(error),
        })
    }

    /// Looks at the worker's locks; also proves that this session still lives.
    pub(super) async fn watch(&mut self, worker: i32) -> Result<Sight, Error> {
        let sql = format!(
            "SELECT (SELECT string_agg(coalesce(nullif(a.application_name, ''), a.backend_type) \
                 || ' (pid ' || a.pid || ', ' || coalesce(a.state, 'unknown') || ')', ', ') \
               FROM pg_catalog.pg_stat_activity a \
               WHERE a.pid = ANY (pg_catalog.pg_blocking_pids({worker}))), \
             EXISTS (SELECT FROM pg_catalog.pg_locks w WHERE NOT w.granted AND w.pid <> {worker} \
               AND {worker} = ANY (pg_catalog.pg_blocking_pids(w.pid))), \
             p.phase, CASE WHEN p.blocks_total > 0 THEN p.blocks_done * 100 / p.blocks_total \
               WHEN p.tuples_total > 0 THEN p.tuples_done * 100 / p.tuples_total END \
             FROM (SELECT) one LEFT JOIN pg_catalog.pg_stat_progress_create_index p ON p.pid = {worker}"
        );
        let rows = session::rows(&mut self.session.connection, sql).await?;
        let row = rows
            .first()
            .ok_or_else(|| Error::new(Class::Transient, "the server gave no answer"))?;
        let percent: Option<i64> = get(row, 3)?;
        let phase: Option<String> = get(row, 2)?;
        Ok(Sight {
            waits_for: get(row, 0)?,
            is_in_the_way: get(row, 1)?,
            phase: phase.map(|name| Phase {
                name,
                percent: percent.and_then(|percent| u8::try_from(percent).ok()),
            }),
        })
    }

    /// Cancels what the worker executes.
    pub(super) async fn cancel(&mut self, worker: i32) -> Result<(), Error> {
        signal(&mut self.session, "pg_cancel_backend", worker).await
    }

    /// Ends the worker's session.
    pub(super) async fn terminate(&mut self, worker: i32) -> Result<(), Error> {
        signal(&mut self.session, "pg_terminate_backend", worker).await
    }

    pub(super) async fn close(self) {
        session::close(self.session.connection).await;
    }
}

/// A role that lacks these rights.
fn lacks<'a>(why: &str, first: &'a str, more: impl Iterator<Item = &'a str>) -> RunError {
    let grants: Vec<&str> = std::iter::once(first).chain(more).collect();
    RunError::Denied(format!(
        "the role lacks rights, so that {why}: as the owner, `{}` (SQLSTATE 42501)",
        grants.join("; ")
    ))
}

/// Adds one answer of [`ledger::rows_sql`].
fn add(state: &mut LedgerState, ended: &mut Vec<Ended>, row: &PgRow) -> Result<(), RunError> {
    let version: String = get(row, 0)?;
    match get::<String>(row, 4)?.as_str() {
        ledger::GONE => state.unrecorded.push(version),
        ledger::NOTED => {
            let (segment, intent): (String, Option<String>) = (get(row, 2)?, get(row, 3)?);
            if segment == journal::ENDED {
                ended.push(journal::ended(version, get(row, 1)?, intent.as_deref()));
                return Ok(());
            }
            let note = journal::note(&segment, get(row, 1)?, intent.as_deref());
            state.note(version, note.map_err(RunError::Unsupported)?);
        }
        _ => {
            let microseconds = get::<Option<String>>(row, 2)?;
            state.rows.push(LedgerRow {
                version,
                checksum: get(row, 1)?,
                applied_at: microseconds
                    .and_then(|text| text.parse().ok())
                    .and_then(|at| jiff::Timestamp::from_microsecond(at).ok()),
                meaning: get(row, 3)?,
            });
        }
    }
    Ok(())
}

/// Sends a signal to a backend, through any session of the same role.
pub(super) async fn signal(session: &mut Session, function: &str, pid: i32) -> Result<(), Error> {
    let sql = format!("SELECT pg_catalog.{function}({pid})");
    session::rows(&mut session.connection, sql).await.map(drop)
}

/// Polls for `locks`, an expression that takes them. Between polls the session holds no snapshot,
/// so it is in nobody's way.
pub(super) async fn poll(
    session: &mut Session,
    keys: Keys,
    locks: String,
    patience: Duration,
    progress: &mut (impl FnMut(Progress) + Send),
) -> Result<(), RunError> {
    let sql = format!("SELECT {locks}");
    let mut out_of_patience = Box::pin(sleep(patience));
    let mut last = None;
    loop {
        let rows = session::rows(&mut session.connection, sql.clone()).await?;
        if rows.first().map(|row| get(row, 0)).transpose()? == Some(true) {
            return Ok(());
        }
        let holder = holder(session, keys).await?;
        if last.as_ref() != Some(&holder) {
            progress(Progress::WaitingForRun {
                holder: holder.clone(),
            });
            last = Some(holder.clone());
        }
        let pause = Duration::from_millis(rand::rng().random_range(100..400));
        tokio::select! {
            biased;
            () = &mut out_of_patience => return Err(RunError::Busy(holder)),
            () = sleep(pause) => {}
        }
    }
}

/// Describes who holds one of our locks.
async fn holder(session: &mut Session, keys: Keys) -> Result<String, RunError> {
    let sql = format!(
        "SELECT coalesce(nullif(a.application_name, ''), 'a session') || ' (pid ' || l.pid \
           || coalesce(', since ' || to_char(a.backend_start AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'), '') || ')' \
         FROM pg_catalog.pg_locks l LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid \
         WHERE l.granted AND l.pid <> pg_catalog.pg_backend_pid() \
           AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = current_database()) \
           AND (({}) OR ({}) OR (({}) AND l.mode = 'ExclusiveLock')) \
         ORDER BY a.backend_start LIMIT 1",
        keys.control.in_pg_locks("l"),
        keys.worker.in_pg_locks("l"),
        Key::database().in_pg_locks("l"),
    );
    let rows = session::rows(&mut session.connection, sql).await?;
    let found: Option<String> = rows.first().map(|row| get(row, 0)).transpose()?;
    Ok(found.unwrap_or_else(|| "a session that has just ended".to_owned()))
}
