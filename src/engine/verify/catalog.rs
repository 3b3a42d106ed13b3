//! What is in a database, by name, with its definition. Pure: the question and how two answers
//! differ.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use super::place::{self, Place};

/// Things by their key, such as `table public.a`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Catalog(BTreeMap<String, Thing>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Thing {
    name: String,
    /// Key of the table it belongs to.
    of: Option<String>,
    definition: String,
    /// False of an index whose building was not finished: nothing uses it.
    is_valid: bool,
}

/// How a thing differs from one catalog to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) key: String,
    /// The last part of its name.
    pub(crate) name: String,
    /// Key of the table it belongs to.
    pub(crate) of: Option<String>,
    pub(crate) kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Made,
    Changed,
    Dropped,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = match self.kind {
            Kind::Made => "makes",
            Kind::Changed => "changes",
            Kind::Dropped => "drops",
        };
        write!(f, "{verb} {}", self.key)
    }
}

impl Change {
    pub(crate) fn is_column(&self) -> bool {
        place::kind(&self.key).is_some_and(|kind| kind.ends_with("column"))
    }
}

impl Catalog {
    pub(crate) fn add(
        &mut self,
        key: String,
        name: String,
        of: Option<String>,
        definition: String,
        is_valid: bool,
    ) {
        let thing = Thing {
            name,
            of,
            definition,
            is_valid,
        };
        self.0.insert(key, thing);
    }

    /// How `later` differs, in the order of the keys.
    pub(crate) fn changes(&self, later: &Self) -> Vec<Change> {
        let keys: BTreeSet<&String> = self.0.keys().chain(later.0.keys()).collect();
        let change = |key: &String| {
            let (kind, thing) = match (self.0.get(key), later.0.get(key)) {
                (None, Some(made)) => (Kind::Made, made),
                (Some(dropped), None) => (Kind::Dropped, dropped),
                (Some(before), Some(after)) if before.definition != after.definition => {
                    (Kind::Changed, after)
                }
                (Some(_), Some(_)) | (None, None) => return None,
            };
            Some(Change {
                key: key.clone(),
                name: thing.name.clone(),
                of: thing.of.clone(),
                kind,
            })
        };
        keys.into_iter().filter_map(change).collect()
    }

    /// What another catalog lacks of this one, and what it has besides.
    pub(crate) fn foreign(&self, other: &Self) -> Vec<String> {
        let all = self.changes(other);
        // a dump leaves out what nothing uses
        let invalid = self.invalid();
        let is_foreign =
            |change: &&Change| change.kind != Kind::Changed && !invalid.contains(&change.key);
        let foreign: Vec<&Change> = all.iter().filter(is_foreign).collect();
        let told = outer(&foreign).map(|change| {
            let verb = match change.kind {
                Kind::Made => "has",
                Kind::Dropped => "lacks",
                Kind::Changed => "differs in",
            };
            format!("it {verb} {}", change.key)
        });
        told.collect()
    }

    /// The keys of indexes that are there and that nothing uses.
    pub(crate) fn invalid(&self) -> BTreeSet<String> {
        let invalid = self.0.iter().filter(|(_, thing)| !thing.is_valid);
        invalid.map(|(key, _)| key.clone()).collect()
    }

    /// Whether there is the same thing on the same table under another name, as there is where the server has chosen the
    /// name of an index or a constraint: asked once more, it chooses another one.
    pub(crate) fn has_twin(&self, change: &Change, later: &Self) -> bool {
        let Some(made) = later.0.get(&change.key).filter(|made| made.of.is_some()) else {
            return false;
        };
        let Some(kind @ ("index" | "table constraint")) = place::kind(&change.key) else {
            return false;
        };
        let kind = Some(kind);
        self.0.iter().any(|(key, thing)| {
            thing.of == made.of && place::kind(key) == kind && thing.nameless() == made.nameless()
        })
    }

    /// Whether there is at `place` what `later` has under `key`; of an index, which has its name in its definition, whether
    /// there is one.
    pub(crate) fn has_at(&self, place: &Place, key: &str, later: &Self) -> bool {
        let made = later.0.get(key);
        let kind = place::kind(key);
        let is_same = |thing: &Thing| {
            kind == Some("index")
                || made.is_some_and(|made| made.without_sequence() == thing.without_sequence())
        };
        self.0.iter().any(|(other, thing)| {
            place::kind(other) == kind && Place::of(other).as_ref() == Some(place) && is_same(thing)
        })
    }

    /// The keys of things that both catalogs have, each with another definition.
    pub(crate) fn redefined(&self, other: &Self) -> BTreeSet<String> {
        let all = self.changes(other).into_iter();
        let redefined = all.filter(|change| change.kind == Kind::Changed);
        redefined.map(|change| change.key).collect()
    }
}

impl Thing {
    /// The definition without the name of a sequence, which is another one where the first is taken.
    fn without_sequence(&self) -> &str {
        let definition = self.definition.split_once("nextval(");
        definition.map_or(&self.definition, |(before, _)| before)
    }

    /// What it is whatever it is called: `CREATE INDEX i ON …` has its name in its definition.
    fn nameless(&self) -> (&str, &str) {
        let whole = (self.definition.as_str(), "");
        let parts = self.definition.split_once(" INDEX ");
        let parts = parts.and_then(|(before, rest)| Some((before, rest.split_once(" ON ")?.1)));
        parts.unwrap_or(whole)
    }
}

/// Changes in words, without those of what belongs to a table that is made or dropped itself.
pub(crate) fn outermost(changes: &[&Change]) -> Vec<String> {
    outer(changes).map(ToString::to_string).collect()
}

fn outer<'a>(changes: &'a [&Change]) -> impl Iterator<Item = &'a Change> {
    let whole: BTreeSet<(&str, Kind)> = changes.iter().map(|c| (c.key.as_str(), c.kind)).collect();
    let is_part = move |change: &Change| {
        let of = change.of.as_deref();
        of.is_some_and(|of| whole.contains(&(of, change.kind)))
    };
    let all = changes.iter().copied();
    all.filter(move |change| !is_part(change))
}

/// Answers key, name, key of the table it belongs to, definition, and whether it is fit for use. Extensions' members, rights,
/// owners and rows are not looked at; neither is what belongs to the whole server.
pub(crate) const SQL: &str = "\
WITH own AS (SELECT n.oid, n.nspname FROM pg_catalog.pg_namespace n \
    WHERE n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'sepulki_engine')), \
  rel AS (SELECT c.* FROM pg_catalog.pg_class c JOIN own ON own.oid = c.relnamespace), \
  thing (class, oid, sub, rel, name, definition) AS ( \
    SELECT 'pg_namespace', o.oid, 0, NULL::oid, o.nspname::text, '' FROM own o \
    UNION ALL SELECT 'pg_class', c.oid, 0, coalesce(i.indrelid, (SELECT d.refobjid FROM pg_catalog.pg_depend d \
          WHERE c.relkind = 'S' AND d.classid = 'pg_class'::pg_catalog.regclass AND d.objid = c.oid \
          AND d.refclassid = 'pg_class'::pg_catalog.regclass AND d.deptype IN ('a', 'i'))), c.relname::text, pg_catalog.concat_ws(' ', c.relkind, \
        c.relpersistence, c.relrowsecurity, c.relforcerowsecurity, c.reloptions::text, \
        CASE WHEN c.relkind IN ('v', 'm') THEN pg_catalog.pg_get_viewdef(c.oid) \
          WHEN c.relkind IN ('i', 'I') THEN pg_catalog.pg_get_indexdef(c.oid) || i.indisvalid \
          WHEN c.relkind = 'p' THEN pg_catalog.pg_get_partkeydef(c.oid) END, \
        pg_catalog.pg_get_expr(c.relpartbound, c.oid), \
        (SELECT pg_catalog.concat_ws(' ', s.seqtypid, s.seqstart, s.seqincrement, s.seqmin, s.seqmax, s.seqcache, \
          s.seqcycle) FROM pg_catalog.pg_sequence s WHERE s.seqrelid = c.oid)) \
      FROM rel c LEFT JOIN pg_catalog.pg_index i ON i.indexrelid = c.oid WHERE c.relkind <> 't' \
    UNION ALL SELECT 'pg_class', c.oid, a.attnum, c.oid, a.attname::text, pg_catalog.concat_ws(' ', \
        pg_catalog.format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity, a.attgenerated, \
        a.attcollation::pg_catalog.regcollation, pg_catalog.pg_get_expr(d.adbin, d.adrelid)) \
      FROM rel c JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped \
      LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum \
      WHERE c.relkind IN ('r', 'p', 'f', 'c') \
    UNION ALL SELECT 'pg_constraint', k.oid, 0, nullif(k.conrelid, 0), k.conname::text, \
        pg_catalog.pg_get_constraintdef(k.oid) || k.convalidated \
      FROM pg_catalog.pg_constraint k JOIN own ON own.oid = k.connamespace WHERE k.contype NOT IN ('n', 't') \
    UNION ALL SELECT 'pg_trigger', t.oid, 0, c.oid, t.tgname::text, \
        pg_catalog.pg_get_triggerdef(t.oid) || t.tgenabled::text \
      FROM pg_catalog.pg_trigger t JOIN rel c ON c.oid = t.tgrelid WHERE NOT t.tgisinternal \
    UNION ALL SELECT 'pg_rewrite', r.oid, 0, c.oid, r.rulename::text, pg_catalog.pg_get_ruledef(r.oid) \
      FROM pg_catalog.pg_rewrite r JOIN rel c ON c.oid = r.ev_class WHERE r.rulename <> '_RETURN' \
    UNION ALL SELECT 'pg_policy', p.oid, 0, c.oid, p.polname::text, pg_catalog.concat_ws(' ', p.polcmd, \
        p.polpermissive, p.polroles::text, pg_catalog.pg_get_expr(p.polqual, c.oid), \
        pg_catalog.pg_get_expr(p.polwithcheck, c.oid)) \
      FROM pg_catalog.pg_policy p JOIN rel c ON c.oid = p.polrelid \
    UNION ALL SELECT 'pg_proc', f.oid, 0, NULL, f.proname::text, \
        CASE WHEN f.prokind <> 'a' THEN pg_catalog.pg_get_functiondef(f.oid) ELSE '' END \
      FROM pg_catalog.pg_proc f JOIN own ON own.oid = f.pronamespace \
    UNION ALL SELECT 'pg_type', t.oid, 0, NULL, t.typname::text, pg_catalog.concat_ws(' ', t.typtype, \
        (SELECT pg_catalog.string_agg(e.enumlabel, ',' ORDER BY e.enumsortorder) \
          FROM pg_catalog.pg_enum e WHERE e.enumtypid = t.oid), \
        pg_catalog.format_type(nullif(t.typbasetype, 0), t.typtypmod), t.typnotnull, t.typdefault) \
      FROM pg_catalog.pg_type t JOIN own ON own.oid = t.typnamespace WHERE t.typtype IN ('e', 'd', 'r') \
    UNION ALL SELECT 'pg_statistic_ext', x.oid, 0, x.stxrelid, x.stxname::text, \
        pg_catalog.pg_get_statisticsobjdef(x.oid) \
      FROM pg_catalog.pg_statistic_ext x JOIN own ON own.oid = x.stxnamespace \
    UNION ALL SELECT 'pg_operator', x.oid, 0, NULL, x.oprname::text, '' \
      FROM pg_catalog.pg_operator x JOIN own ON own.oid = x.oprnamespace \
    UNION ALL SELECT 'pg_collation', x.oid, 0, NULL, x.collname::text, '' \
      FROM pg_catalog.pg_collation x JOIN own ON own.oid = x.collnamespace \
    UNION ALL SELECT 'pg_ts_config', x.oid, 0, NULL, x.cfgname::text, '' \
      FROM pg_catalog.pg_ts_config x JOIN own ON own.oid = x.cfgnamespace \
    UNION ALL SELECT 'pg_extension', x.oid, 0, NULL, x.extname::text, '' FROM pg_catalog.pg_extension x) \
SELECT i.type || ' ' || i.identity, t.name, \
    (SELECT r.type || ' ' || r.identity FROM pg_catalog.pg_identify_object('pg_class'::pg_catalog.regclass, t.rel, 0) r), \
    t.definition || coalesce(' ' || pg_catalog.quote_literal((SELECT c.description FROM pg_catalog.pg_description c \
      WHERE c.objoid = t.oid AND c.classoid = t.class::pg_catalog.regclass AND c.objsubid = t.sub)), ''), \
    NOT EXISTS (SELECT FROM pg_catalog.pg_index x WHERE t.class = 'pg_class' AND x.indexrelid = t.oid AND NOT x.indisvalid) \
  FROM thing t, LATERAL pg_catalog.pg_identify_object(t.class::pg_catalog.regclass, t.oid, t.sub) i \
  WHERE i.identity IS NOT NULL AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend e WHERE e.deptype = 'e' \
    AND e.classid = t.class::pg_catalog.regclass AND e.objid = t.oid)";
