//! What is in a database, by the system catalogs: a comparison that every version of PostgreSQL answers, also where no
//! `pg_dump` as new as the server is at hand.

/// One line for each object that is not PostgreSQL's own, the engine's or an extension's: kind, identity, owner, rights,
/// comment, and for the kinds that have one their definition. `pg_depend` knows all that is in a schema or part of
/// something in one, of whichever kind, so that none is overlooked.
pub(crate) const SQL: &str = "\
WITH thing (class, oid, sub) AS ( \
    SELECT DISTINCT classid, objid, 0 FROM pg_depend WHERE objid >= 16384 \
    UNION SELECT 'pg_default_acl'::regclass, oid, 0 FROM pg_default_acl \
    UNION SELECT 'pg_namespace'::regclass, oid, 0 FROM pg_namespace WHERE nspname !~ '^(pg_|information_schema)' \
    UNION SELECT 'pg_class'::regclass, attrelid, attnum FROM pg_attribute \
      WHERE attrelid >= 16384 AND attnum > 0 AND NOT attisdropped), \
  line (type, identity, text) AS ( \
    SELECT i.type, i.identity, concat_ws(' | ', \
        pg_get_userbyid(coalesce(n.nspowner, c.relowner, p.proowner, t.typowner)), \
        coalesce(n.nspacl, c.relacl, a.attacl, p.proacl, t.typacl, g.defaclacl)::text, \
        (SELECT description FROM pg_description d \
          WHERE d.classoid = thing.class AND d.objoid = thing.oid AND d.objsubid = thing.sub), \
        c.relkind, c.relpersistence, c.relreplident, c.relrowsecurity, c.relforcerowsecurity, \
        (SELECT amname FROM pg_am WHERE pg_am.oid = c.relam), c.reloptions::text, nullif(c.reltablespace, 0), \
        CASE WHEN c.relkind IN ('v', 'm') THEN pg_get_viewdef(c.oid) WHEN c.relkind = 'p' THEN pg_get_partkeydef(c.oid) END, \
        pg_get_expr(c.relpartbound, c.oid), \
        (SELECT string_agg(inhparent::regclass || inhdetachpending::text, ',' ORDER BY inhseqno) \
          FROM pg_inherits WHERE inhrelid = c.oid), \
        (SELECT concat_ws(' ', pg_get_indexdef(indexrelid), indisvalid, indisready, indislive, indisclustered, \
          indisreplident) FROM pg_index WHERE indexrelid = c.oid), \
        (SELECT concat_ws(' ', seqtypid::regtype, seqstart, seqincrement, seqmin, seqmax, seqcache, seqcycle) \
          FROM pg_sequence WHERE seqrelid = c.oid), \
        CASE WHEN thing.sub > 0 THEN concat_ws(' ', a.attnum, format_type(a.atttypid, a.atttypmod), a.attnotnull, \
          a.attidentity, a.attgenerated, a.attcollation::regcollation, a.attstorage, a.attcompression, a.attislocal, \
          a.attinhcount, (SELECT pg_get_expr(adbin, adrelid) FROM pg_attrdef WHERE adrelid = a.attrelid AND adnum = a.attnum)) \
        END, \
        (SELECT concat_ws(' ', pg_get_constraintdef(k.oid), convalidated, conislocal, coninhcount) \
          FROM pg_constraint k WHERE k.oid = thing.oid AND thing.class = 'pg_constraint'::regclass), \
        (SELECT pg_get_triggerdef(r.oid) || tgenabled::text \
          FROM pg_trigger r WHERE r.oid = thing.oid AND thing.class = 'pg_trigger'::regclass), \
        (SELECT pg_get_ruledef(r.oid) || ev_enabled::text \
          FROM pg_rewrite r WHERE r.oid = thing.oid AND thing.class = 'pg_rewrite'::regclass), \
        (SELECT concat_ws(' ', polcmd, polpermissive, polroles::regrole[], pg_get_expr(polqual, polrelid), \
          pg_get_expr(polwithcheck, polrelid)) \
          FROM pg_policy r WHERE r.oid = thing.oid AND thing.class = 'pg_policy'::regclass), \
        CASE WHEN p.prokind <> 'a' THEN pg_get_functiondef(p.oid) END, \
        t.typtype, t.typnotnull, format_type(nullif(t.typbasetype, 0), t.typtypmod), t.typdefault, \
        (SELECT string_agg(enumlabel, ',' ORDER BY enumsortorder) FROM pg_enum WHERE enumtypid = t.oid), \
        (SELECT pg_get_statisticsobjdef(r.oid) \
          FROM pg_statistic_ext r WHERE r.oid = thing.oid AND thing.class = 'pg_statistic_ext'::regclass), \
        (SELECT extversion FROM pg_extension r WHERE r.oid = thing.oid AND thing.class = 'pg_extension'::regclass)) \
      FROM thing CROSS JOIN LATERAL pg_identify_object(thing.class, thing.oid, thing.sub) i \
      LEFT JOIN pg_namespace n ON n.oid = thing.oid AND thing.class = 'pg_namespace'::regclass \
      LEFT JOIN pg_class c ON c.oid = thing.oid AND thing.class = 'pg_class'::regclass AND thing.sub = 0 \
      LEFT JOIN pg_attribute a ON a.attrelid = thing.oid AND a.attnum = thing.sub AND thing.class = 'pg_class'::regclass \
      LEFT JOIN pg_proc p ON p.oid = thing.oid AND thing.class = 'pg_proc'::regclass \
      LEFT JOIN pg_type t ON t.oid = thing.oid AND thing.class = 'pg_type'::regclass \
      LEFT JOIN pg_default_acl g ON g.oid = thing.oid AND thing.class = 'pg_default_acl'::regclass \
      WHERE i.identity !~ '(sepulki_engine|pg_toast|pg_temp)' \
        AND NOT EXISTS (SELECT FROM pg_trigger r WHERE thing.class = 'pg_trigger'::regclass \
          AND r.oid = thing.oid AND r.tgisinternal) \
        AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = thing.class AND e.objid = thing.oid \
          AND e.deptype = 'e')) \
SELECT string_agg(concat_ws(' ', type, identity, text), E'\\n' ORDER BY type, identity) FROM line";
