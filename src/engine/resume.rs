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
//! | DETACH … CONCURRENTLY | yes | pending | finalized |
//! | | yes | detached | done |
//! | CREATE, DROP DATABASE, TABLESPACE | yes | there, gone | done |
//! | VACUUM and other repeatable ones | yes | – | run again |
//! | a block that commits | yes | – | asked |
//! | any | – | another session builds the index | waited for |

use super::{
    journal::Trace,
    ledger::{identifier, literal},
    sql::alone::{Kind, Name, Object},
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
    /// An object: there or not.
    Object(bool),
    /// A partition: attached, and whether its detachment is pending.
    Partition { attached: bool, pending: bool },
    /// Nothing that would tell.
    Nothing,
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

/// Answers what [`Sight`] is made of: indexes, or two truth values. None where nothing would tell.
pub(crate) fn probe_sql(kind: &Kind) -> Option<String> {
    Some(match kind {
        Kind::BuildIndex { table, index } => {
            let table = table.regclass();
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
        Kind::DropIndex(name) => format!("SELECT {} IS NOT NULL, false", name.regclass()),
        Kind::Detach { table, partition } => format!(
            "SELECT pg_catalog.count(*) > 0, coalesce(pg_catalog.bool_or(h.inhdetachpending), false) \
             FROM pg_catalog.pg_inherits h WHERE h.inhparent = {} AND h.inhrelid = {}",
            table.regclass(),
            partition.regclass()
        ),
        Kind::Object { of, name, .. } => {
            let (catalog, column) = match of {
                Object::Database => ("pg_database", "datname"),
                Object::Tablespace => ("pg_tablespace", "spcname"),
            };
            let name = literal(name);
            format!(
                "SELECT EXISTS (SELECT FROM pg_catalog.{catalog} WHERE {column} = {name}), false"
            )
        }
        Kind::Repeatable | Kind::Unknowable => return None,
    })
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
            let condition = format!("i.indrelid = {}", regclass(table));
            Some(indexes_sql("true", &condition))
        }
        Trace::Remains { .. } => Some(remains_sql()),
        Trace::Object { .. } | Trace::Repeatable | Trace::Unknowable => None,
    }
}

/// What is to be noted before a statement runs, of what is there now.
pub(crate) fn trace(kind: &Kind, sight: &Sight) -> Trace {
    let indexes: &[Index] = match sight {
        Sight::Indexes(indexes) => indexes,
        Sight::Object(_) | Sight::Partition { .. } | Sight::Nothing => &[],
    };
    match (kind, sight) {
        (Kind::BuildIndex { table, index }, _) => Trace::Index {
            table: table.quoted(),
            name: index.clone(),
            known: indexes.iter().map(|index| index.oid).collect(),
        },
        (Kind::RebuildIndex, _) => Trace::Remains {
            known: indexes.iter().map(|index| index.oid).collect(),
        },
        (_, Sight::Object(existed)) => Trace::Object { existed: *existed },
        (_, Sight::Partition { attached, .. }) => Trace::Object { existed: *attached },
        (Kind::Repeatable, _) => Trace::Repeatable,
        (_, _) => Trace::Unknowable,
    }
}

/// Decides before a statement runs; `intent` is what an interrupted attempt noted.
pub(crate) fn decide(kind: &Kind, intent: Option<&Trace>, sight: &Sight) -> Verdict {
    match (kind, intent, sight) {
        (Kind::BuildIndex { index, .. }, _, Sight::Indexes(seen)) => {
            build(index.as_deref(), intent, seen)
        }
        (Kind::RebuildIndex, Some(trace), Sight::Indexes(_)) => clean_up(trace, sight),
        (_, Some(Trace::Object { existed }), _) if came_about(kind, *existed, sight) => {
            Verdict::Done
        }
        (Kind::Detach { table, partition }, Some(_), Sight::Partition { pending: true, .. }) => {
            Verdict::Finish(format!(
                "ALTER TABLE {} DETACH PARTITION {} FINALIZE",
                table.quoted(),
                partition.quoted()
            ))
        }
        (Kind::Unknowable, Some(_), _) => Verdict::Ask,
        (_, _, _) => Verdict::Run,
    }
}

/// Whether the statement did what it was to do, where the object existed before or not.
fn came_about(kind: &Kind, existed: bool, sight: &Sight) -> bool {
    let exists = match sight {
        Sight::Object(exists) => *exists,
        Sight::Partition { attached, .. } => *attached,
        Sight::Indexes(_) | Sight::Nothing => return false,
    };
    match kind {
        Kind::DropIndex(_) | Kind::Detach { .. } | Kind::Object { creates: false, .. } => {
            existed && !exists
        }
        Kind::Object { creates: true, .. } => !existed && exists,
        Kind::BuildIndex { .. } | Kind::RebuildIndex | Kind::Repeatable | Kind::Unknowable => false,
    }
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
mod tests {
    use super::*;

    fn index(oid: i64, name: &str, valid: bool) -> Index {
        Index {
            oid,
            own: true,
            schema: "public".into(),
            name: name.into(),
            valid,
            partitioned: false,
            builder: None,
        }
    }

    fn build(name: Option<&str>) -> Kind {
        Kind::BuildIndex {
            table: Name(vec!["t".into()]),
            index: name.map(str::to_owned),
        }
    }

    fn begun(name: Option<&str>) -> Trace {
        trace(
            &build(name),
            &Sight::Indexes(vec![index(5, "t_pkey", true)]),
        )
    }

    #[test]
    fn an_index_is_built_dropped_or_left_alone() {
        let i = Some("i");
        let valid = || vec![index(5, "t_pkey", true), index(6, "i", true)];
        let half = || vec![index(5, "t_pkey", true), index(6, "i", false)];
        let cleared = Verdict::CleanUp(vec![
            "DROP INDEX CONCURRENTLY IF EXISTS \"public\".\"i\"".into(),
        ]);
        let decide = |kind, intent: Option<&Trace>, seen| {
            super::decide(&kind, intent, &Sight::Indexes(seen))
        };
        assert_eq!(decide(build(i), None, Vec::new()), Verdict::Run);
        // the server says that it exists, or that it was not needed
        assert_eq!(decide(build(i), None, valid()), Verdict::Run);
        assert!(matches!(
            decide(build(i), None, half()),
            Verdict::Refuse { .. }
        ));
        assert_eq!(decide(build(i), Some(&begun(i)), half()), cleared);
        assert_eq!(decide(build(i), Some(&begun(i)), valid()), Verdict::Done);
        assert_eq!(decide(build(i), Some(&begun(i)), Vec::new()), Verdict::Run);
        // it was there before, so it is not ours
        let before = trace(&build(i), &Sight::Indexes(half()));
        assert!(matches!(
            decide(build(i), Some(&before), half()),
            Verdict::Refuse { .. }
        ));
        // without a name: an invalid one is ours, a valid one may be anybody's
        let unnamed = begun(None);
        assert_eq!(decide(build(None), Some(&unnamed), half()), cleared);
        assert_eq!(decide(build(None), Some(&unnamed), valid()), Verdict::Ask);
        // on another table, of the same schema
        let mut elsewhere = index(6, "i", false);
        elsewhere.own = false;
        assert!(matches!(
            decide(build(i), Some(&begun(i)), vec![elsewhere]),
            Verdict::Refuse { .. }
        ));
    }

    #[test]
    fn what_another_session_builds_or_a_partitioned_table_lacks_is_not_dropped() {
        let i = Some("i");
        let mut half = index(6, "i", false);
        half.builder = Some(77);
        for intent in [None, Some(begun(i))] {
            let sight = Sight::Indexes(vec![half.clone()]);
            let verdict = decide(&build(i), intent.as_ref(), &sight);
            assert!(
                matches!(&verdict, Verdict::Busy(text) if text.contains("77")),
                "{verdict:?}"
            );
        }
        let mut parent = index(6, "i", false);
        parent.partitioned = true;
        let sight = Sight::Indexes(vec![parent]);
        assert_eq!(decide(&build(i), None, &sight), Verdict::Run);
        assert_eq!(decide(&build(i), Some(&begun(i)), &sight), Verdict::Done);
    }

    #[test]
    fn the_others() {
        let detach = || Kind::Detach {
            table: Name(vec!["s".into(), "p".into()]),
            partition: Name(vec!["p1".into()]),
        };
        let part = |attached, pending| Sight::Partition { attached, pending };
        let was = |existed| Some(Trace::Object { existed });
        let make = |creates| Kind::Object {
            of: Object::Database,
            name: "d".into(),
            creates,
        };
        let finish = "ALTER TABLE \"s\".\"p\" DETACH PARTITION \"p1\" FINALIZE";
        let gone = || Kind::DropIndex(Name(vec!["i".into()]));
        for (kind, intent, sight, expected) in [
            (detach(), None, part(true, false), Verdict::Run),
            (detach(), None, part(true, true), Verdict::Run),
            (
                detach(),
                was(true),
                part(true, true),
                Verdict::Finish(finish.into()),
            ),
            (detach(), was(true), part(true, false), Verdict::Run),
            (detach(), was(true), part(false, false), Verdict::Done),
            (detach(), was(false), part(false, false), Verdict::Run),
            (gone(), was(true), Sight::Object(false), Verdict::Done),
            (gone(), was(true), Sight::Object(true), Verdict::Run),
            (gone(), None, Sight::Object(false), Verdict::Run),
            (make(true), was(false), Sight::Object(true), Verdict::Done),
            (make(true), was(true), Sight::Object(true), Verdict::Run),
            (make(false), was(true), Sight::Object(false), Verdict::Done),
            (
                Kind::Repeatable,
                Some(Trace::Repeatable),
                Sight::Nothing,
                Verdict::Run,
            ),
            (Kind::Unknowable, None, Sight::Nothing, Verdict::Run),
            (
                Kind::Unknowable,
                Some(Trace::Unknowable),
                Sight::Nothing,
                Verdict::Ask,
            ),
        ] {
            assert_eq!(
                decide(&kind, intent.as_ref(), &sight),
                expected,
                "{kind:?} {intent:?} {sight:?}"
            );
        }
    }

    #[test]
    fn an_index_that_cannot_be_used_is_noticed() {
        let i = Some("i");
        let objects = |seen| objection(&build(i), &Sight::Indexes(seen)).is_some();
        assert!(objects(vec![]));
        assert!(objects(vec![index(6, "i", false)]));
        assert!(!objects(vec![index(6, "i", true)]));
        let mut elsewhere = index(6, "i", true);
        elsewhere.own = false;
        assert!(objects(vec![elsewhere]));
    }
}
