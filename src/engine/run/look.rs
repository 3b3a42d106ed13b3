//! Looking at what a statement that runs alone is about; what that means is for [`crate::engine::resume`] to say.

use sqlx::postgres::PgRow;

use super::{
    RunError,
    alone::{Lonely, no_answer},
    crew::Crew,
    session::{self, get},
};
use crate::{
    engine::{
        journal::{Trace, Which},
        resume::{self, Index, Sight, Thing},
        sql::alone::Kind,
    },
    postgres::Error,
};

impl Lonely<'_> {
    pub(super) async fn look<P>(
        &self,
        intent: Option<&Trace>,
        crew: &mut Crew<'_, P>,
    ) -> Result<Sight, RunError> {
        let Some(sql) = resume::probe_sql(self.kind(), intent) else {
            return Ok(Sight::Nothing);
        };
        let rows = session::rows(&mut crew.worker.session.connection, sql).await?;
        Ok(match self.kind() {
            Kind::BuildIndex { .. } | Kind::RebuildIndex => indexes(rows)?,
            Kind::Detach { .. }
            | Kind::DropIndex { .. }
            | Kind::Object { .. }
            | Kind::Repeatable
            | Kind::Unknowable => {
                let things: Result<Vec<Thing>, Error> = rows.iter().map(thing).collect();
                Sight::Things(things?)
            }
        })
    }

    /// The table on which an index is to be built by its name, and whether the one that was meant before is there.
    pub(super) async fn table<P>(
        &self,
        intent: Option<&Trace>,
        crew: &mut Crew<'_, P>,
    ) -> Result<(Option<i64>, bool), RunError> {
        let Some(sql) = resume::table_sql(self.kind(), intent) else {
            return Ok((None, false));
        };
        let rows = session::rows(&mut crew.worker.session.connection, sql).await?;
        let row = rows.first().ok_or_else(no_answer)?;
        Ok((get(row, 0)?, get(row, 1)?))
    }
}

/// Reads one answer about something else than an index to be built.
fn thing(row: &PgRow) -> Result<Thing, Error> {
    let (oids, names): (Vec<_>, Vec<_>) = (
        [get::<Option<i64>>(row, 0)?, get(row, 2)?].into(),
        [get::<Option<String>>(row, 1)?, get(row, 3)?].into(),
    );
    Ok(Thing {
        which: Which {
            oids: oids.into_iter().flatten().collect(),
            names: names.into_iter().flatten().collect(),
        },
        is_named: get(row, 4)?,
        is_pending: get(row, 5)?,
    })
}

/// Reads what `indexes_sql` answers.
pub(super) fn indexes(rows: Vec<PgRow>) -> Result<Sight, Error> {
    let index = |row: PgRow| {
        Ok(Index {
            oid: get(&row, 0)?,
            own: get(&row, 1)?,
            schema: get(&row, 2)?,
            name: get(&row, 3)?,
            valid: get(&row, 4)?,
            partitioned: get(&row, 5)?,
            builder: get(&row, 6)?,
        })
    };
    let indexes: Result<Vec<Index>, Error> = rows.into_iter().map(index).collect();
    indexes.map(Sight::Indexes)
}
