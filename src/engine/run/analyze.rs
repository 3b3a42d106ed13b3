//! Fresh statistics for tables that got an index or were rewritten: until autovacuum comes by,
//! the planner knows nothing of an index on an expression, nor of a column with a new type.

use super::{
    Progress, RunError, RunRequest,
    control::Control,
    crew::Crew,
    session::{self, get},
    watch::watch,
};
use crate::{
    engine::{
        ledger::literal,
        message::{Message, UNLOCK},
    },
    postgres::Error,
};

/// Answers tables that were there before the transaction `since` and have changed in these ways
/// since, quoted for SQL. A table's row type tells its age: it is not touched when the table is
/// altered. An own file means that the table was rewritten at some time; that it may have been
/// earlier does no harm.
fn tables_sql(since: &str) -> String {
    let since = format!(
        "pg_catalog.age({}::pg_catalog.xid8::pg_catalog.xid)",
        literal(since)
    );
    format!(
        "SELECT pg_catalog.format('%I.%I', n.nspname, c.relname) FROM pg_catalog.pg_class c \
           JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
           JOIN pg_catalog.pg_type t ON t.oid = c.reltype \
         WHERE c.relkind IN ('r', 'm', 'p') AND c.relpersistence <> 't' \
           AND pg_catalog.pg_has_role(c.relowner, 'USAGE') AND pg_catalog.age(t.xmin) > {since} \
           AND ((c.relkind <> 'p' AND c.relfilenode <> c.oid AND pg_catalog.age(c.xmin) <= {since}) \
             OR EXISTS (SELECT FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid \
               WHERE i.indrelid = c.oid AND i.indisvalid AND pg_catalog.age(x.xmin) <= {since})) \
         ORDER BY 1"
    )
}

impl Control {
    /// Which tables a run that began at `since` leaves without statistics.
    async fn changed_tables(&mut self, since: &str) -> Result<Vec<String>, Error> {
        let rows = session::rows(&mut self.session.connection, tables_sql(since)).await?;
        rows.iter().map(|row| get(row, 0)).collect()
    }
}

/// Brings statistics up to date. The files are applied, so nothing that goes wrong here is more
/// than a warning.
pub(super) async fn analyze<P: FnMut(Progress) + Send>(
    request: &RunRequest,
    since: &str,
    crew: &mut Crew<'_, P>,
) {
    if let Err(error) = try_analyze(request, since, crew).await {
        tracing::warn!(%error, "statistics of changed tables were not brought up to date");
    }
}

async fn try_analyze<P: FnMut(Progress) + Send>(
    request: &RunRequest,
    since: &str,
    crew: &mut Crew<'_, P>,
) -> Result<(), RunError> {
    let tables = crew.control.changed_tables(since).await?;
    if tables.is_empty() {
        return Ok(());
    }
    // no file follows, so nothing needs the locks of this session any more
    let text = format!(
        "RESET SESSION AUTHORIZATION; RESET ROLE; RESET ALL; {UNLOCK}; ANALYZE {}",
        tables.join(", ")
    );
    let max_blocked = Some(request.timeouts.max_blocked);
    let message = Message::own(&text);
    let watched = watch(request, "ANALYZE", &message, max_blocked, crew).await?;
    watched.error.map_or(Ok(()), |error| Err(error.into()))
}
