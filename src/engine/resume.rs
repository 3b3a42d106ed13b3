//! Statements that run alone: what to look at before and after one, and what that means. Pure:
//! SQL texts, and decisions on what they answer.
//!
//! | statement | interrupted before | what is seen | then |
//! |---|---|---|---|
//! | CREATE INDEX CONCURRENTLY | no | an invalid index of that name | refused: it is somebody else's |
//! | | yes | a new invalid index | dropped, built again |
//! | | yes | the new index, valid | done |
//! | | yes, without a name | a new valid index | asked |
//! | REINDEX CONCURRENTLY | yes | new `…_ccnew`, `…_ccold` | dropped, run again |
//! | DROP INDEX CONCURRENTLY | yes | the index is gone | done |
//! | | yes, `IF EXISTS`, and there was none | – | done |
//! | DETACH … CONCURRENTLY | yes | pending | finalized |
//! | | yes | detached | done |
//! | CREATE, DROP DATABASE, TABLESPACE | yes | there, gone | done |
//! | any of these | yes | still there, but another one has its name by now | done to the one that was meant, or asked |
//! | VACUUM and other repeatable ones | yes | – | run again |
//! | a block that commits | yes | – | asked |
//! | any | – | another session builds the index | waited for |
//!
//! What an interrupted statement was about is known by its oid: by the next run the name may be another one's.

use super::{
    journal::{Trace, Which},
    ledger::{identifier, literal},
    sql::alone::{Does, Kind, Name, Object},
};

/// What is to be done about a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Run it.
    Run,
    /// It has been carried out.
    Done,
    /// Drop these indexes of an earlier attempt, then look again.
    CleanUp(Vec<String>),
    /// Run this instead, which brings the earlier attempt to its end.
    Finish(String),
    /// Another session is at work on it.
    Busy(String),
    /// Somebody has to do something first.
    Refuse { message: String, hint: String },
    /// Nobody can know whether it was carried out.
    Ask,
}

/// What was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Sight {
    /// Indexes that the statement may be about.
    Indexes(Vec<Index>),
    /// What the statement is about by its name, and what it was about before.
    Things(Vec<Thing>),
    /// Nothing that would tell.
    Nothing,
}

/// An index, a database or a tablespace; or a partition that is attached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Thing {
    pub(crate) which: Which,
    /// Whether the statement's name means it now.
    pub(crate) is_named: bool,
    /// Whether its detachment is pending.
    pub(crate) is_pending: bool,
}

/// An index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Index {
    pub(crate) oid: i64,
    /// Whether it belongs to the table that was asked for.
    pub(crate) own: bool,
    pub(crate) schema: String,
    pub(crate) name: String,
    pub(crate) valid: bool,
    /// An index of a partitioned table is invalid until all partitions have theirs.
    pub(crate) partitioned: bool,
    /// Process id of the session that is building it.
    pub(crate) builder: Option<i64>,
}

impl Index {
    fn quoted(&self) -> String {
        format!("{}.{}", identifier(&self.schema), identifier(&self.name))
    }

    fn drop_sql(&self) -> String {
        format!("DROP INDEX CONCURRENTLY IF EXISTS {}", self.quoted())
    }
}

impl Name {
    fn quoted(&self) -> String {
        let parts: Vec<String> = self.0.iter().map(|part| identifier(part)).collect();
        parts.join(".")
    }

    fn regclass(&self) -> String {
        regclass(&self.quoted())
    }
}

fn regclass(quoted: &str) -> String {
    format!("pg_catalog.to_regclass({})", literal(quoted))
}

/// Answers indexes: oid, whether `own` is true of them, schema, name, validity, whether
/// partitioned, builder.
fn indexes_sql(own: &str, condition: &str) -> String {
    format!(
        "SELECT i.indexrelid::bigint, {own}, n.nspname::text, c.relname::text, i.indisvalid, c.relkind = 'I', \
           (SELECT p.pid::bigint FROM pg_catalog.pg_stat_progress_create_index p \
             WHERE p.index_relid = i.indexrelid LIMIT 1) \
         FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid \
           JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE {condition}"
    )
}

/// Answers what [`Sight`] is made of: indexes, or [`Thing`]s (oid, name, and the same of a partition; whether it is named,
/// whether it is pending). None where nothing would tell. `intent` is what an interrupted attempt noted.
pub(crate) fn probe_sql(kind: &Kind, intent: Option<&Trace>) -> Option<String> {
    Some(match kind {
        Kind::BuildIndex { table, index } => {
            let table = table_of(intent).unwrap_or_else(|| table.regclass());
            let index = index.as_deref().map_or("NULL".to_owned(), literal);
            indexes_sql(
                &format!("i.indrelid IS NOT DISTINCT FROM {table}"),
                &format!(
                    "i.indrelid = {table} OR (c.relname = {index} AND c.relnamespace = \
                     (SELECT t.relnamespace FROM pg_catalog.pg_class t WHERE t.oid = {table}))"
                ),
            )
        }
        Kind::RebuildIndex => remains_sql(),
        Kind::DropIndex { index, .. } => {
            let named = format!("c.oid = {}", index.regclass());
            let known = known(intent, &["c.oid"]);
            format!(
                "SELECT c.oid::bigint, pg_catalog.format('%I.%I', n.nspname, c.relname), NULL::bigint, NULL::text, \
                   coalesce({named}, false), false FROM pg_catalog.pg_class c \
                   JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE {named} OR {known}"
            )
        }
        Kind::Detach { table, partition } => {
            let (table, partition) = (table.regclass(), partition.regclass());
            let named = format!("(h.inhparent = {table} AND h.inhrelid = {partition})");
            let known = known(intent, &["h.inhparent", "h.inhrelid"]);
            format!(
                "SELECT h.inhparent::bigint, pg_catalog.format('%I.%I', pn.nspname, p.relname), \
                   h.inhrelid::bigint, pg_catalog.format('%I.%I', cn.nspname, c.relname), \
                   coalesce({named}, false), h.inhdetachpending FROM pg_catalog.pg_inherits h \
                   JOIN pg_catalog.pg_class p ON p.oid = h.inhparent JOIN pg_catalog.pg_namespace pn ON pn.oid = p.relnamespace \
                   JOIN pg_catalog.pg_class c ON c.oid = h.inhrelid JOIN pg_catalog.pg_namespace cn ON cn.oid = c.relnamespace \
                   WHERE {named} OR {known}"
            )
        }
        Kind::Object { of, name, .. } => {
            let (catalog, column) = match of {
                Object::Database => ("pg_database", "datname"),
                Object::Tablespace => ("pg_tablespace", "spcname"),
            };
            let named = format!("o.{column} = {}", literal(name));
            let known = known(intent, &["o.oid"]);
            format!(
                "SELECT o.oid::bigint, pg_catalog.format('%I', o.{column}), NULL::bigint, NULL::text, {named}, false \
                   FROM pg_catalog.{catalog} o WHERE {named} OR {known}"
            )
        }
        Kind::Repeatable | Kind::Unknowable => return None,
    })
}

/// Holds for what an interrupted attempt was about.
fn known(intent: Option<&Trace>, columns: &[&str]) -> String {
    let oids = match intent {
        Some(Trace::Object {
            which: Some(which), ..
        }) if which.oids.len() == columns.len() => &which.oids[..],
        Some(_) | None => return "false".to_owned(),
    };
    let pairs = columns.iter().zip(oids);
    let pairs: Vec<String> = pairs
        .map(|(column, oid)| format!("{column} = {oid}"))
        .collect();
    format!("({})", pairs.join(" AND "))
}

/// The table on which an interrupted attempt was building an index.
fn table_of(intent: Option<&Trace>) -> Option<String> {
    match intent {
        Some(Trace::Index { oid: Some(oid), .. }) => Some(format!("{oid}::pg_catalog.oid")),
        Some(_) | None => None,
    }
}

/// Answers which table the name of an index to be built means now, and whether the one that it meant is still there. None for
/// other statements.
pub(crate) fn table_sql(kind: &Kind, intent: Option<&Trace>) -> Option<String> {
    let Kind::BuildIndex { table, .. } = kind else {
        return None;
    };
    let before = table_of(intent).unwrap_or_else(|| "NULL".to_owned());
    Some(format!(
        "SELECT {}::pg_catalog.oid::bigint, EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid = {before})",
        table.regclass()
    ))
}

/// Invalid indexes that an interrupted REINDEX CONCURRENTLY leaves. Those of TOAST tables, which
/// only a superuser may drop, are left out.
fn remains_sql() -> String {
    indexes_sql(
        "true",
        "NOT i.indisvalid AND c.relkind = 'i' AND c.relname ~ '_cc(new|old)[0-9]*$' \
           AND n.nspname <> 'pg_toast' AND pg_catalog.pg_has_role(c.relowner, 'USAGE')",
    )
}

/// Answers what an earlier statement left behind that is no longer in the file; as for indexes.
pub(crate) fn left_behind_sql(trace: &Trace) -> Option<String> {
    match trace {
        Trace::Index { table, .. } => {
            let table = table_of(Some(trace)).unwrap_or_else(|| regclass(table));
            let condition = format!("i.indrelid = {table}");
            Some(indexes_sql("true", &condition))
        }
        Trace::Remains { .. } => Some(remains_sql()),
        Trace::Object { .. } | Trace::Repeatable | Trace::Unknowable => None,
    }
}

/// What is to be noted before a statement runs, of what is there now. What an interrupted attempt was about stays noted.
/// `table` is the one on which an index is to be built.
pub(crate) fn trace(
    kind: &Kind,
    intent: Option<&Trace>,
    sight: &Sight,
    table: Option<i64>,
) -> Trace {
    let indexes: &[Index] = match sight {
        Sight::Indexes(indexes) => indexes,
        Sight::Things(_) | Sight::Nothing => &[],
    };
    match (kind, intent, sight) {
        (Kind::BuildIndex { table: name, index }, _, _) => Trace::Index {
            table: name.quoted(),
            oid: table,
            name: index.clone(),
            known: indexes.iter().map(|index| index.oid).collect(),
        },
        (Kind::RebuildIndex, _, _) => Trace::Remains {
            known: indexes.iter().map(|index| index.oid).collect(),
        },
        (_, Some(noted @ Trace::Object { which: Some(_), .. }), _) => noted.clone(),
        (_, _, Sight::Things(things)) => {
            let thing = things.iter().find(|thing| thing.is_named);
            Trace::Object {
                existed: thing.is_some(),
                which: thing.map(|thing| thing.which.clone()),
            }
        }
        (Kind::Repeatable, _, _) => Trace::Repeatable,
        (_, _, _) => Trace::Unknowable,
    }
}

/// Decides before a statement runs; `intent` is what an interrupted attempt noted.
pub(crate) fn decide(kind: &Kind, intent: Option<&Trace>, sight: &Sight) -> Verdict {
    match (kind, intent, sight) {
        (Kind::BuildIndex { index, .. }, _, Sight::Indexes(seen)) => {
            build(index.as_deref(), intent, seen)
        }
        (Kind::RebuildIndex, Some(trace), Sight::Indexes(_)) => clean_up(trace, sight),
        (_, Some(Trace::Object { existed, which }), Sight::Things(seen)) => {
            again(kind, *existed, which.as_ref(), seen)
        }
        (Kind::Unknowable, Some(_), _) => Verdict::Ask,
        (_, _, _) => Verdict::Run,
    }
}

/// What is to be done again about an object, which existed before or not.
fn again(kind: &Kind, existed: bool, which: Option<&Which>, seen: &[Thing]) -> Verdict {
    let named = seen.iter().find(|thing| thing.is_named);
    let does = match kind {
        Kind::DropIndex {
            if_exists: true, ..
        } => Does::DropIfExists,
        Kind::DropIndex {
            if_exists: false, ..
        }
        | Kind::Detach { .. } => Does::Drop,
        Kind::Object { does, .. } => *does,
        Kind::BuildIndex { .. } | Kind::RebuildIndex | Kind::Repeatable | Kind::Unknowable => {
            return Verdict::Run;
        }
    };
    match (does, existed) {
        (Does::Create, false) if named.is_some() => return Verdict::Done,
        (Does::Create, _) | (Does::Drop, false) => return Verdict::Run,
        // there was nothing to be dropped; what has the name by now was not meant
        (Does::DropIfExists, false) => return Verdict::Done,
        (Does::Drop | Does::DropIfExists, true) => {}
    }
    let Some(which) = which else {
        // an earlier version has not noted which one it was
        return match (named, kind) {
            (None, _) => Verdict::Done,
            (Some(_), Kind::DropIndex { .. }) => Verdict::Ask,
            (Some(thing), _) if thing.is_pending => finish(kind, thing),
            (Some(_), _) => Verdict::Run,
        };
    };
    match seen.iter().find(|thing| thing.which.oids == which.oids) {
        None => Verdict::Done,
        Some(thing) if thing.is_pending || !thing.is_named => finish(kind, thing),
        Some(_) => Verdict::Run,
    }
}

/// What brings an attempt to its end that was about this one, whatever its name in the file means by now.
fn finish(kind: &Kind, thing: &Thing) -> Verdict {
    match (kind, thing.which.names.as_slice()) {
        (Kind::DropIndex { .. }, [index]) => {
            Verdict::Finish(format!("DROP INDEX CONCURRENTLY {index}"))
        }
        (Kind::Detach { .. }, [table, partition]) => {
            let how = if thing.is_pending {
                "FINALIZE"
            } else {
                "CONCURRENTLY"
            };
            Verdict::Finish(format!(
                "ALTER TABLE {table} DETACH PARTITION {partition} {how}"
            ))
        }
        // a database that was to be dropped has got another name: somebody wants to keep it
        (_, _) => Verdict::Ask,
    }
}

/// Whether an index is to be built on another table than an interrupted attempt was about, which is still there: its name
/// means the table with the oid `now`.
pub(crate) fn moved(intent: Option<&Trace>, now: Option<i64>, is_there: bool) -> Option<Verdict> {
    let Some(Trace::Index {
        table,
        oid: Some(before),
        ..
    }) = intent
    else {
        return None;
    };
    (is_there && now != Some(*before)).then(|| Verdict::Refuse {
        message: format!(
            "an earlier attempt built this index on another table than {table} means now"
        ),
        hint: "name the table with its schema in a file of its own, or give the tables back their names".to_owned(),
    })
}

fn build(index: Option<&str>, intent: Option<&Trace>, seen: &[Index]) -> Verdict {
    let named = |seen: &&Index| index.is_some_and(|name| seen.name == name);
    if let Some(trace @ Trace::Index { .. }) = intent {
        let sight = Sight::Indexes(seen.to_vec());
        let left = clean_up(trace, &sight);
        if left != Verdict::Run {
            return left;
        }
        match (new_indexes(trace, seen).next(), index) {
            (Some(_), Some(_)) => return Verdict::Done,
            (Some(_), None) => return Verdict::Ask,
            (None, _) => {}
        }
    }
    match seen.iter().find(named) {
        Some(found) if !found.valid && !found.partitioned => match found.builder {
            Some(pid) => busy(found, pid),
            None => Verdict::Refuse {
                message: format!(
                    "the index {} exists, but an earlier attempt to build it failed: it is invalid, and no query uses it",
                    found.quoted()
                ),
                hint: format!(
                    "it is not this file's, so it is left alone; remove it and try again: DROP INDEX CONCURRENTLY {};",
                    found.quoted()
                ),
            },
        },
        Some(_) | None => Verdict::Run,
    }
}

/// What is new of what an earlier attempt could have made.
fn new_indexes<'a>(trace: &'a Trace, seen: &'a [Index]) -> impl Iterator<Item = &'a Index> {
    seen.iter().filter(move |index| match trace {
        Trace::Index { name, known, .. } => {
            index.own
                && !known.contains(&index.oid)
                && name.as_ref().is_none_or(|name| index.name == *name)
        }
        Trace::Remains { known } => !known.contains(&index.oid),
        Trace::Object { .. } | Trace::Repeatable | Trace::Unknowable => false,
    })
}

/// Which indexes an earlier attempt left half-built.
pub(crate) fn clean_up(trace: &Trace, sight: &Sight) -> Verdict {
    let Sight::Indexes(seen) = sight else {
        return Verdict::Run;
    };
    let half = || new_indexes(trace, seen).filter(|index| !index.valid && !index.partitioned);
    if let Some((index, pid)) = half().find_map(|index| Some((index, index.builder?))) {
        return busy(index, pid);
    }
    let drops: Vec<String> = half().map(Index::drop_sql).collect();
    if drops.is_empty() {
        Verdict::Run
    } else {
        Verdict::CleanUp(drops)
    }
}

fn busy(index: &Index, pid: i64) -> Verdict {
    Verdict::Busy(format!(
        "the index {} is being built by another session (pid {pid})",
        index.quoted()
    ))
}

/// What is wrong although the server had no objection.
pub(crate) fn objection(kind: &Kind, sight: &Sight) -> Option<(String, String)> {
    let (
        Kind::BuildIndex {
            index: Some(name), ..
        },
        Sight::Indexes(seen),
    ) = (kind, sight)
    else {
        return None;
    };
    let hint = "give this index another name, or remove that one first".to_owned();
    match seen.iter().find(|index| index.name == *name) {
        None => Some((
            format!("the index {name} is not there after it was built"),
            hint,
        )),
        Some(index) if !index.own => Some((
            format!("an index {} exists, but on another table", index.quoted()),
            hint,
        )),
        Some(index) if !index.valid && !index.partitioned => Some((
            format!("the index {} is invalid after it was built", index.quoted()),
            format!(
                "remove it and try again: DROP INDEX CONCURRENTLY {};",
                index.quoted()
            ),
        )),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests;
