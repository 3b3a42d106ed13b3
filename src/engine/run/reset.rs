//! Emptying a database, so that all files run again.
//!
//! One transaction drops what files can have made: the schemas of the role that logs in, and its
//! objects in schemas that stay (`public`, those of others, those in which an extension lives).
//! Extensions, rights on schemas and default privileges stay, since files seldom make them and
//! may not be able to.

use sqlx::AssertSqlSafe;
use tokio::time::timeout;

use super::{Progress, RunError, Timeouts, control::Control, session::get};
use crate::{
    engine::{
        journal,
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

/// Drops everything that files can have made, and the ledger. Answers how many schemas and objects
/// that were, not counting what they took with them.
///
/// # Errors
/// See [`RunError`]; [`RunError::Unsupported`] where the database says that it is production or
/// protected. Nothing is dropped then.
pub async fn reset(
    request: &ResetRequest,
    mut progress: impl FnMut(Progress) + Send,
) -> Result<u64, RunError> {
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
    let mut parts = vec![
        format!("SET LOCAL lock_timeout = {}", timeouts.lock.as_millis()),
        DROP_ALL.to_owned(),
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
    control.close().await;
    Ok(count.and_then(|text| text.parse().ok()).unwrap_or_default())
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

/// Objects without an owner in `pg_shdepend` belong to the role with the oid 10, which made the
/// cluster. What belongs to an extension or to another object (deptype `e`, `i`) goes with it or
/// stays with it; a partitioned table belongs to its own columns. Of each object is looked whether it is still there, since others take theirs
/// along.
const DROP_ALL: &str = "DO $sepulki$ DECLARE o record; i record; n bigint := 0; BEGIN \
  FOR o IN SELECT s.nspname FROM pg_catalog.pg_namespace s \
    WHERE s.nspname !~ '^pg_' AND s.nspname NOT IN ('public', 'information_schema', 'sepulki_engine') \
      AND pg_catalog.pg_has_role(s.nspowner, 'USAGE') \
      AND NOT EXISTS (SELECT FROM pg_catalog.pg_extension e WHERE e.extnamespace = s.oid) \
      AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend e WHERE e.deptype = 'e' \
        AND e.classid = 'pg_catalog.pg_namespace'::pg_catalog.regclass AND e.objid = s.oid) \
  LOOP \
    EXECUTE pg_catalog.format('DROP SCHEMA %I CASCADE', o.nspname); n := n + 1; \
  END LOOP; \
  FOR o IN SELECT d.classid, d.objid, d.refobjid FROM pg_catalog.pg_depend d \
    JOIN pg_catalog.pg_namespace s ON s.oid = d.refobjid \
    WHERE d.refclassid = 'pg_catalog.pg_namespace'::pg_catalog.regclass AND d.deptype = 'n' \
      AND d.classid <> 'pg_catalog.pg_extension'::pg_catalog.regclass \
      AND s.nspname !~ '^pg_' AND s.nspname NOT IN ('information_schema', 'sepulki_engine') \
      AND pg_catalog.pg_has_role(coalesce((SELECT h.refobjid FROM pg_catalog.pg_shdepend h \
          WHERE h.dbid = (SELECT b.oid FROM pg_catalog.pg_database b \
            WHERE b.datname = pg_catalog.current_database()) \
          AND h.classid = d.classid AND h.objid = d.objid AND h.deptype = 'o'), 10), 'USAGE') \
      AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend e WHERE e.classid = d.classid \
        AND e.objid = d.objid AND e.deptype IN ('e', 'i') \
        AND (e.refclassid, e.refobjid) <> (d.classid, d.objid)) \
  LOOP \
    CONTINUE WHEN NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = o.classid \
      AND d.objid = o.objid AND d.refclassid = 'pg_catalog.pg_namespace'::pg_catalog.regclass); \
    SELECT * INTO i FROM pg_catalog.pg_identify_object(o.classid, o.objid, 0); \
    EXECUTE pg_catalog.format('DROP %s %s CASCADE', CASE \
      WHEN o.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass THEN 'ROUTINE' \
      WHEN o.classid = 'pg_catalog.pg_statistic_ext'::pg_catalog.regclass THEN 'STATISTICS' \
      ELSE i.type END, i.identity); n := n + 1; \
  END LOOP; \
  PERFORM pg_catalog.set_config('sepulki.dropped', n::text, true); END $sepulki$";
