//! Trying a history on a scratch copy; what is tried and what it means is in
//! `engine/verify.rs`. The database itself is only read.

use std::collections::BTreeMap;

use rand::RngExt;
use sqlx::{AssertSqlSafe, postgres::PgConnection};

use super::{
    RunError, RunRequest, Timeouts,
    control::Control,
    session::{self, Session, get},
    stop::Stop,
    watch,
};
use crate::{
    engine::{
        ledger::LedgerState,
        message::CLEAN,
        sql::{Script, classify::Class as StatementClass},
        verify::{
            Verdict, Verified,
            catalog::{self, Catalog},
            index::{IndexFound, index_made},
            judge::{Judged, Trial},
            trial::{Attempt, Tried, attempt},
        },
    },
    postgres::{Class, Error, ServerError, Target, lock::Key},
};

/// What was found out about a history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verification {
    /// The ledger of the database.
    pub ledger: LedgerState,
    /// Every file in order, then every row without one.
    pub versions: Vec<Verified>,
}

/// Finds out what is there of each file, by trying all of them on `scratch`, a copy of the
/// database of `request` (its rows are not needed). The copy is left as it was; of the database
/// only the catalog and the ledger are read. What runs on the copy at the deadline, or when the
/// caller ends the run, is ended on the server.
///
/// # Errors
/// See [`RunError`]; [`RunError::NotACopy`] where `scratch` is none.
pub async fn verify(request: &RunRequest, scratch: &Target) -> Result<Verification, RunError> {
    let deadline = request.timeouts.deadline;
    let mut stop = Stop::new(request.cancel.clone(), deadline);
    let found = Box::pin(tried(request, scratch, &mut stop)).await;
    found.map_err(|mut error| {
        if let RunError::DeadlineExceeded(text) = &mut error {
            *text = format!("the history was not tried within {deadline:?}");
        }
        error
    })
}

async fn tried(
    request: &RunRequest,
    scratch: &Target,
    stop: &mut Stop,
) -> Result<Verification, RunError> {
    let (ledger, expected, mut copy) = stop.or(Box::pin(opened(request, scratch))).await?;
    let compared = stop.or(Box::pin(compare(request, &mut copy, &expected)));
    let (trial, unreadable) = match compared.await {
        Ok(compared) => compared,
        Err(error) => {
            // its end is the server's reason to roll back
            if matches!(error, RunError::Cancelled | RunError::DeadlineExceeded(_)) {
                watch::fence(scratch, &request.holder, copy.pid).await;
            }
            return Err(error);
        }
    };
    session::close(copy.connection).await;
    let versions = told(request, &ledger, &trial, &unreadable);
    Ok(Verification { ledger, versions })
}

/// What the database has, and a session in the copy.
async fn opened(
    request: &RunRequest,
    scratch: &Target,
) -> Result<(LedgerState, Catalog, Session), RunError> {
    let original = open(request, &request.target, None).await?;
    let mut control = Control::new(original, &request.target, &request.ledger);
    let ledger = control.ledger().await?;
    let mut original = control.session;
    let role = request.execution.role.as_deref();
    let mut copy = open(request, scratch, role).await?;
    if is_same(&mut original.connection, &mut copy.connection).await? {
        let text = "the scratch database is the database itself: name a copy of it";
        return Err(RunError::Unsupported(text.to_owned()));
    }
    let expected = look(&mut original.connection).await?;
    session::close(original.connection).await;
    Ok((ledger, expected, copy))
}

/// The trial, and the files that cannot be read with the reasons.
async fn compare<'a>(
    request: &'a RunRequest,
    copy: &mut Session,
    expected: &Catalog,
) -> Result<(Trial, BTreeMap<&'a str, String>), RunError> {
    session::rows(&mut copy.connection, "BEGIN".to_owned()).await?;
    let before = look(&mut copy.connection).await?;
    if let Some(differences) = no_copy(expected, &before) {
        return Err(RunError::NotACopy(differences));
    }
    let mut trial = Trial::new(before.clone(), expected);
    let mut now = before;
    let mut unreadable = BTreeMap::new();
    for file in request.bundle.files() {
        match file.script() {
            Ok(script) => {
                let played = play(script, copy).await;
                let (tried, after) = played.map_err(|error| out_of_room(file.version(), error))?;
                now = after.unwrap_or(now);
                trial.add(file.version(), tried, now.clone());
            }
            Err(findings) => {
                unreadable.insert(file.version(), findings.to_string());
            }
        }
    }
    session::rows(&mut copy.connection, "ROLLBACK".to_owned()).await?;
    Ok((trial, unreadable))
}

/// A session of the role that logs in, or as another one of it: what files make depends on who runs them.
async fn open(
    request: &RunRequest,
    target: &Target,
    role: Option<&str>,
) -> Result<Session, RunError> {
    // what a limit of single statements ends is not known to be there; the deadline bounds them all
    let mut settings = session::limited_settings(&Timeouts {
        statement: None,
        ..request.timeouts
    });
    settings.extend(role.map(|role| ("role".to_owned(), role.to_owned())));
    let patience = request.timeouts.connect;
    Box::pin(session::open(target, &request.holder, settings, patience)).await
}

/// Advisory locks are local to a database, so that one that is held elsewhere tells whether two
/// sessions are in the same one, by whatever names they came there.
async fn is_same(one: &mut PgConnection, other: &mut PgConnection) -> Result<bool, RunError> {
    let key = Key::marker(rand::rng().random_range(1..i32::MAX)).try_for_session();
    let question = format!("SELECT {key}");
    session::rows(one, question.clone()).await?;
    let rows = session::rows(other, question).await?;
    let free: Option<bool> = rows.first().map(|row| get(row, 0)).transpose()?;
    Ok(free != Some(true))
}

/// Reads the catalog. How definitions are printed depends on the search path.
async fn look(connection: &mut PgConnection) -> Result<Catalog, Error> {
    let sql = format!("SET search_path = pg_catalog; {}", catalog::SQL);
    let read = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_all(connection);
    let mut found = Catalog::default();
    for row in read.await.map_err(Error::from)? {
        let (key, name, of) = (get(&row, 0)?, get(&row, 1)?, get(&row, 2)?);
        found.add(key, name, of, get(&row, 3)?, get(&row, 4)?);
    }
    Ok(found)
}

/// In what one database is no copy of the other. A definition may be printed otherwise after a dump.
fn no_copy(original: &Catalog, copy: &Catalog) -> Option<String> {
    const SHOWN: usize = 5;
    let differences = original.foreign(copy);
    let shown: Vec<&str> = differences.iter().take(SHOWN).map(String::as_str).collect();
    let more = match differences.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    (!shown.is_empty()).then(|| format!("{}{more}", shown.join(", ")))
}

/// Tries a file statement by statement, whatever becomes of each. Answers also what is there then,
/// if anything worked, without which nothing can have changed.
async fn play(script: &Script, copy: &mut Session) -> Result<(Tried, Option<Catalog>), Error> {
    let connection = &mut copy.connection;
    session::rows(connection, CLEAN.join("; ")).await?;
    let mut tried = Tried::default();
    let mut worked = false;
    for (index, statement) in script.statements.iter().enumerate() {
        let text = script.text.get(statement.range.clone());
        let text = match attempt(script, index) {
            Attempt::Not => continue,
            Attempt::AsItIs => text.unwrap_or_default().to_owned(),
            Attempt::Instead(text) => text,
        };
        let data = script.data.get(&index);
        let data = data.filter(|_| statement.class == StatementClass::CopyIn);
        let error = statement_fails(connection, &text, data).await?;
        worked |= error.is_none();
        tried.note(script, index, error.as_ref());
        let statement = script.text.get(statement.range.clone()).unwrap_or_default();
        tried
            .indexes
            .extend(index_found(connection, statement, error.is_some()).await?);
    }
    let after = if worked {
        Some(look(connection).await?)
    } else {
        None
    };
    Ok((tried, after))
}

/// What is there of an index that a statement makes, which was `refused` or did nothing.
async fn index_found(
    connection: &mut PgConnection,
    statement: &str,
    refused: bool,
) -> Result<Option<IndexFound>, Error> {
    let made = index_made(statement).filter(|made| refused || made.is_optional);
    let Some(made) = made else {
        return Ok(None);
    };
    let sql = format!(
        "{SAVE}; {}; ROLLBACK TO sepulki_trial; RELEASE sepulki_trial",
        made.question()
    );
    let rows = match session::rows(connection, sql).await {
        Ok(rows) => rows,
        Err(error) => {
            refusal(connection, error).await?;
            return Ok(None);
        }
    };
    let Some(row) = rows.first() else {
        return Ok(None);
    };
    let (there, wanted): (String, String) = (get(row, 1)?, get(row, 2)?);
    Ok(Some(IndexFound {
        key: get(row, 0)?,
        is_optional: made.is_optional,
        otherwise: (there != wanted).then_some((there, wanted)),
    }))
}

/// Where what is tried can be taken back to.
const SAVE: &str = "SAVEPOINT sepulki_trial";

/// Runs one statement; if it fails, it leaves the transaction as it was.
async fn statement_fails(
    connection: &mut PgConnection,
    text: &str,
    data: Option<&String>,
) -> Result<Option<ServerError>, Error> {
    let ended = if let Some(data) = data {
        session::rows(connection, SAVE.to_owned()).await?;
        watch::copy(connection, text, data).await
    } else {
        // a comment may be the last thing
        let sql = format!("{SAVE}; {text}\n; RELEASE sepulki_trial");
        let sent = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *connection);
        sent.await.map(drop)
    };
    match ended.map_err(Error::from) {
        Ok(()) => Ok(None),
        Err(error) => refusal(connection, error).await.map(Some),
    }
}

/// What the server has refused, which is taken back then; an error where that is not what it has said.
async fn refusal(connection: &mut PgConnection, error: Error) -> Result<ServerError, Error> {
    match error {
        Error {
            server: Some(said),
            class: Class::Denied | Class::Unsupported | Class::Invalid,
            ..
        } => {
            let back = "ROLLBACK TO sepulki_trial".to_owned();
            session::rows(connection, back).await?;
            Ok(*said)
        }
        other => Err(other),
    }
}

/// A server that is short of memory, of disk or of entries in its table of locks will be so when the
/// same history is tried again: the locks of all its files are held at once.
fn out_of_room(version: &str, error: Error) -> RunError {
    if error.is_out_of_room() {
        return RunError::Unsupported(format!(
            "the server of the copy has no room to try all files in one transaction; at {version}: {error}"
        ));
    }
    error.into()
}

/// Every file in order, then every row without one.
fn told(
    request: &RunRequest,
    ledger: &LedgerState,
    trial: &Trial,
    unreadable: &BTreeMap<&str, String>,
) -> Vec<Verified> {
    let policies = &request.policies;
    let rows = ledger.rows.iter();
    let recorded: Vec<&str> = rows.map(|row| policies.file_of(&row.version)).collect();
    let begun = ledger.unfinished.iter();
    let begun: Vec<&str> = begun
        .map(|begun| policies.file_of(&begun.version))
        .collect();
    let judged = trial.verdicts().into_iter();
    let mut judged: BTreeMap<&str, Judged<'_>> = judged.map(|j| (j.version, j)).collect();
    let files = request.bundle.files().iter().map(|file| {
        let version = file.version();
        let judged = judged.remove(version);
        let is_there = judged.as_ref().is_some_and(|judged| judged.is_there);
        Verified {
            version: version.to_owned(),
            recorded: recorded.contains(&version),
            in_part: is_there && !begun.contains(&version),
            verdict: judged.map_or_else(
                || Verdict::Unknown(unreadable.get(version).cloned().unwrap_or_default()),
                |judged| judged.verdict,
            ),
        }
    });
    let mut all: Vec<Verified> = files.collect();
    let missing = ledger.rows.iter().filter(|row| {
        let file = policies.file_of(&row.version);
        request.bundle.file(file).is_none()
    });
    all.extend(missing.map(|row| Verified {
        version: row.version.clone(),
        recorded: true,
        in_part: false,
        verdict: Verdict::Unknown(
            "there is no such file; if it has another name, say so with an alias".to_owned(),
        ),
    }));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(sqlstate: &str, class: Class) -> Error {
        let mut error = Error::new(class, "out of shared memory");
        error.server = Some(Box::new(ServerError {
            sqlstate: sqlstate.into(),
            message: "out of shared memory".into(),
            detail: None,
            hint: None,
            position: None,
            context: None,
        }));
        error
    }

    #[test]
    fn a_copy_without_room_has_none_the_next_time_either() {
        for (sqlstate, ends) in [
            ("53100", true),
            ("53200", true),
            ("53400", true),
            ("53300", false),
            ("57P01", false),
        ] {
            let error = out_of_room("003_c.sql", said(sqlstate, Class::Transient));
            assert_eq!(
                matches!(&error, RunError::Unsupported(text) if text.contains("at 003_c.sql: out of shared memory")),
                ends,
                "{error:?}"
            );
            assert_eq!(matches!(error, RunError::Transient(_)), !ends);
        }
    }
}
