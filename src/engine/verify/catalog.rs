//! What is in a database, by name, with its definition. Pure: the question and how two answers
//! differ.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

/// Things by their key, such as `table public.a`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Catalog(BTreeMap<String, Thing>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Thing {
    name: String,
    /// Key of the table it belongs to.
    of: Option<String>,
    definition: String,
}

/// How a thing differs from one catalog to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) key: String,
    /// The last part of its name.
    pub(crate) name: String,
    of: Option<String>,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
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

impl Catalog {
    pub(crate) fn add(
        &mut self,
        key: String,
        name: String,
        of: Option<String>,
        definition: String,
    ) {
        let thing = Thing {
            name,
            of,
            definition,
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

    /// Things that only one of two catalogs has.
    pub(crate) fn foreign(&self, other: &Self) -> Vec<String> {
        let all = self.changes(other);
        let foreign: Vec<&Change> = all.iter().filter(|c| c.kind != Kind::Changed).collect();
        outermost(&foreign)
    }

    /// The keys of things that both catalogs have, each with another definition.
    pub(crate) fn redefined(&self, other: &Self) -> BTreeSet<String> {
        let all = self.changes(other).into_iter();
        let redefined = all.filter(|change| change.kind == Kind::Changed);
        redefined.map(|change| change.key).collect()
    }
}

/// Changes in words, without those of what belongs to a table that is made or dropped itself.
pub(crate) fn outermost(changes: &[&Change]) -> Vec<String> {
    let whole: BTreeSet<(&str, Kind)> = changes.iter().map(|c| (c.key.as_str(), c.kind)).collect();
    let is_part = |change: &Change| {
        let of = change.of.as_deref();
        of.is_some_and(|of| whole.contains(&(of, change.kind)))
    };
    let outer = changes.iter().filter(|change| !is_part(change));
    outer.map(ToString::to_string).collect()
}

/// Answers key, name, key of the table it belongs to, definition. Extensions' members, rights,
/// owners and rows are not looked at; neither is what belongs to the whole server.
pub(crate) const SQL: &str = "\
WITH own AS (SELECT n.oid, n.nspname FROM pg_catalog.pg_namespace n \
    WHERE n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'sepulki_engine')), \
  rel AS (SELECT c.* FROM pg_catalog.pg_class c JOIN own ON own.oid = c.relnamespace), \
  thing (class, oid, sub, rel, name, definition) AS ( \
    SELECT 'pg_namespace', o.oid, 0, NULL::oid, o.nspname::text, '' FROM own o \
    UNION ALL SELECT 'pg_class', c.oid, 0, i.indrelid, c.relname::text, pg_catalog.concat_ws(' ', c.relkind, \
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
      WHERE c.objoid = t.oid AND c.classoid = t.class::pg_catalog.regclass AND c.objsubid = t.sub)), '') \
  FROM thing t, LATERAL pg_catalog.pg_identify_object(t.class::pg_catalog.regclass, t.oid, t.sub) i \
  WHERE i.identity IS NOT NULL AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend e WHERE e.deptype = 'e' \
    AND e.classid = t.class::pg_catalog.regclass AND e.objid = t.oid)";
