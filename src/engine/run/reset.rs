//! Emptying a database, so that all files run again.
//!
//! One transaction drops what files can have made, see [`emptying`]. Extensions, rights on schemas and default privileges
//! stay, since files seldom make them and may not be able to. Where something of somebody else would go along, nothing is
//! dropped.

use sqlx::AssertSqlSafe;
use tokio::time::timeout;

use super::{
    Progress, RunError, Timeouts,
    control::Control,
    session::{self, get},
};
use crate::{
    engine::{
        emptying, journal,
        ledger::LedgerName,
        memory,
        protection::{self, Protection},
    },
    postgres::{Error, Target},
};

/// What to empty, as whom.
#[derive(Debug, Clone)]
pub struct ResetRequest {
    /// The direct endpoint, the role that owns the database.
    pub target: Target,
    /// The ledger whose runs have to be over.
    pub ledger: LedgerName,
    /// As in [`super::RunRequest`].
    pub holder: String,
    /// How long to wait for what: `connect`, `other_run`, `lock` and `deadline` count.
    pub timeouts: Timeouts,
}

/// What became of a database that was to be emptied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Emptied {
    /// How many schemas and objects were dropped, not counting what they took with them.
    pub dropped: u64,
    /// What is there still: extensions, default privileges, what belongs to other roles.
    pub left: Vec<String>,
}

/// Drops everything that files can have made, and the ledger.
///
/// # Errors
/// See [`RunError`]; [`RunError::Unsupported`] where the database says that it is production or
/// protected, and where something belongs to another role and would go along, or has a part on another server. Nothing is
/// dropped then.
pub async fn reset(
    request: &ResetRequest,
    mut progress: impl FnMut(Progress) + Send,
) -> Result<Emptied, RunError> {
    let ResetRequest {
        target,
        ledger,
        holder,
        timeouts,
    } = request;
    let mut control = Control::open(target, ledger, holder, timeouts.connect).await?;
    control
        .take_all_locks(timeouts.other_run, &mut progress)
        .await?;
    if let Some(said) = control.protection().await?
        && let Some(why) = refusal(&said)
    {
        return Err(RunError::Unsupported(format!(
            "{} is not emptied: {why}",
            target.database
        )));
    }
    let in_the_way = words(&mut control, emptying::in_the_way_sql()).await?;
    if !in_the_way.is_empty() {
        return Err(RunError::Unsupported(format!(
            "{} is not emptied, and nothing was dropped: {}: drop that by itself, or have its role granted to {}",
            target.database,
            some(&in_the_way),
            target.user,
        )));
    }
    let mut parts = vec![
        format!("SET LOCAL lock_timeout = {}", timeouts.lock.as_millis()),
        emptying::drop_sql(),
    ];
    if control.has_journal().await? {
        parts.push(journal::clear_sql());
    }
    if control.has_memory().await? {
        parts.push(memory::clear_sql());
    }
    parts.push("SELECT pg_catalog.current_setting('sepulki.dropped')".to_owned());
    let sql = format!("BEGIN; {}; COMMIT", parts.join("; "));
    let connection = &mut control.session.connection;
    let work = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_all(connection);
    // the session's end is the server's reason to give up
    let Ok(rows) = timeout(timeouts.deadline, work).await else {
        let limit = timeouts.deadline;
        let text = format!("the database was not emptied within {limit:?}");
        return Err(RunError::DeadlineExceeded(text));
    };
    let rows = rows.map_err(Error::from)?;
    let count: Option<String> = rows.first().map(|row| get(row, 0)).transpose()?;
    let left = words(&mut control, emptying::left_sql()).await?;
    control.close().await;
    Ok(Emptied {
        dropped: count.and_then(|text| text.parse().ok()).unwrap_or_default(),
        left,
    })
}

/// A list of the server's.
async fn words(control: &mut Control, question: String) -> Result<Vec<String>, RunError> {
    let rows = session::rows(&mut control.session.connection, question).await?;
    rows.iter().map(|row| Ok(get(row, 0)?)).collect()
}

/// The first of them, and how many more there are.
fn some(all: &[String]) -> String {
    const SHOWN: usize = 10;
    let shown: Vec<&str> = all.iter().take(SHOWN).map(String::as_str).collect();
    let more = match all.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{}{more}", shown.join("; "))
}

fn refusal(said: &Protection) -> Option<String> {
    let environment = &said.environment;
    if environment == protection::PRODUCTION {
        Some("the operator has marked it as production".to_owned())
    } else if said.is_protected {
        Some(format!(
            "the operator has marked it as protected ({environment})"
        ))
    } else {
        None
    }
}
