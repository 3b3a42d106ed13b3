//! What emptying a database drops, what is in its way, and what it leaves. Pure: SQL texts; [`super::run`] sends them.
//!
//! | what | becomes of it |
//! |---|---|
//! | schemas of the role, with everything in them | dropped |
//! | its objects in schemas that stay (`public`, those of others, those in which an extension lives) | dropped |
//! | its publications, event triggers, foreign servers and wrappers, languages, large objects, subscriptions without a slot | dropped |
//! | anything of a role that it is no member of, where it would go with one of these | in the way |
//! | its subscriptions with a slot, which is on another server | in the way |
//! | extensions, default privileges, rights on schemas, what belongs to others elsewhere | left |
//!
//! Objects without an owner in `pg_shdepend` belong to the role with the oid 10, which made the cluster. What belongs to an
//! extension or to another object (deptype `e`, `i`) goes with it or stays with it; a partitioned table belongs to its own
//! columns.

use super::own_tables::SCHEMA;

/// Answers the schemas that go: `oid`, `nspname`.
fn schemas() -> String {
    format!(
        "SELECT s.oid, s.nspname FROM pg_catalog.pg_namespace s \
         WHERE s.nspname !~ '^pg_' AND s.nspname NOT IN ('public', 'information_schema', '{SCHEMA}') \
           AND pg_catalog.pg_has_role(s.nspowner, 'USAGE') \
           AND NOT EXISTS (SELECT FROM pg_catalog.pg_extension e WHERE e.extnamespace = s.oid) \
           AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend e WHERE e.deptype = 'e' \
             AND e.classid = 'pg_catalog.pg_namespace'::pg_catalog.regclass AND e.objid = s.oid)"
    )
}

/// Answers what is in schemas that are not the system's: `classid`, `objid`.
fn in_schemas() -> String {
    format!(
        "SELECT d.classid, d.objid FROM pg_catalog.pg_depend d \
         JOIN pg_catalog.pg_namespace s ON s.oid = d.refobjid \
         WHERE d.refclassid = 'pg_catalog.pg_namespace'::pg_catalog.regclass AND d.deptype = 'n' \
           AND d.classid <> ALL (ARRAY['pg_catalog.pg_extension'::pg_catalog.regclass, 'pg_catalog.pg_default_acl'::pg_catalog.regclass]::oid[]) \
           AND s.nspname !~ '^pg_' AND s.nspname NOT IN ('information_schema', '{SCHEMA}') \
           AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend e WHERE e.classid = d.classid \
             AND e.objid = d.objid AND e.deptype IN ('e', 'i') \
             AND (e.refclassid, e.refobjid) <> (d.classid, d.objid))"
    )
}

/// Those of them that the role owns.
fn objects() -> String {
    format!(
        "{} AND pg_catalog.pg_has_role(coalesce((SELECT h.refobjid FROM pg_catalog.pg_shdepend h \
           WHERE h.dbid = (SELECT b.oid FROM pg_catalog.pg_database b WHERE b.datname = pg_catalog.current_database()) \
           AND h.classid = d.classid AND h.objid = d.objid AND h.deptype = 'o'), 10), 'USAGE')",
        in_schemas()
    )
}

/// Answers what is in no schema: `classid`, `objid`, `owner`, `kind` for `DROP`, `name`, and whether it goes `early`, before
/// what others take along. Large objects are not among them.
const ELSEWHERE: &str = "SELECT w.* FROM ( \
    SELECT 'pg_catalog.pg_event_trigger'::pg_catalog.regclass::oid AS classid, x.oid AS objid, x.evtowner AS owner, \
      'EVENT TRIGGER' AS kind, pg_catalog.quote_ident(x.evtname) AS name, true AS early FROM pg_catalog.pg_event_trigger x \
    UNION ALL SELECT 'pg_catalog.pg_publication'::pg_catalog.regclass, x.oid, x.pubowner, 'PUBLICATION', \
      pg_catalog.quote_ident(x.pubname), true FROM pg_catalog.pg_publication x \
    UNION ALL SELECT 'pg_catalog.pg_subscription'::pg_catalog.regclass, x.oid, x.subowner, 'SUBSCRIPTION', \
      pg_catalog.quote_ident(x.subname), true FROM pg_catalog.pg_subscription x \
      WHERE x.subdbid = (SELECT b.oid FROM pg_catalog.pg_database b WHERE b.datname = pg_catalog.current_database()) \
    UNION ALL SELECT 'pg_catalog.pg_foreign_server'::pg_catalog.regclass, x.oid, x.srvowner, 'SERVER', \
      pg_catalog.quote_ident(x.srvname), false FROM pg_catalog.pg_foreign_server x \
    UNION ALL SELECT 'pg_catalog.pg_foreign_data_wrapper'::pg_catalog.regclass, x.oid, x.fdwowner, 'FOREIGN DATA WRAPPER', \
      pg_catalog.quote_ident(x.fdwname), false FROM pg_catalog.pg_foreign_data_wrapper x \
    UNION ALL SELECT 'pg_catalog.pg_language'::pg_catalog.regclass, x.oid, x.lanowner, 'LANGUAGE', \
      pg_catalog.quote_ident(x.lanname), false FROM pg_catalog.pg_language x WHERE x.lanispl \
  ) w WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_depend e WHERE e.deptype = 'e' \
    AND e.classid = w.classid AND e.objid = w.objid)";

/// Drops everything that is the role's, and keeps the number in the setting `sepulki.dropped`. Of each object is looked
/// whether it is still there, since others take theirs along.
pub(super) fn drop_sql() -> String {
    let elsewhere = |early: &str| {
        format!(
            "FOR o IN SELECT w.* FROM ({ELSEWHERE}) w WHERE {early} AND pg_catalog.pg_has_role(w.owner, 'USAGE') LOOP \
               CONTINUE WHEN NOT EXISTS (SELECT FROM pg_catalog.pg_identify_object(o.classid, o.objid, 0) f WHERE f.identity IS NOT NULL); \
               EXECUTE pg_catalog.format('DROP %s %s CASCADE', o.kind, o.name); n := n + 1; \
             END LOOP; "
        )
    };
    format!(
        "DO $sepulki$ DECLARE o record; i record; n bigint := 0; BEGIN {early}\
           FOR o IN {schemas} LOOP \
             EXECUTE pg_catalog.format('DROP SCHEMA %I CASCADE', o.nspname); n := n + 1; \
           END LOOP; \
           FOR o IN {objects} LOOP \
             CONTINUE WHEN NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = o.classid \
               AND d.objid = o.objid AND d.refclassid = 'pg_catalog.pg_namespace'::pg_catalog.regclass); \
             SELECT * INTO i FROM pg_catalog.pg_identify_object(o.classid, o.objid, 0); \
             EXECUTE pg_catalog.format('DROP %s %s CASCADE', CASE \
               WHEN o.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass THEN 'ROUTINE' \
               WHEN o.classid = 'pg_catalog.pg_statistic_ext'::pg_catalog.regclass THEN 'STATISTICS' \
               ELSE i.type END, i.identity); n := n + 1; \
           END LOOP; {late}\
           FOR o IN SELECT l.oid FROM pg_catalog.pg_largeobject_metadata l \
             WHERE pg_catalog.pg_has_role(l.lomowner, 'USAGE') LOOP \
             PERFORM pg_catalog.lo_unlink(o.oid); n := n + 1; \
           END LOOP; \
           PERFORM pg_catalog.set_config('sepulki.dropped', n::text, true); END $sepulki$",
        early = elsewhere("w.early"),
        late = elsewhere("NOT w.early"),
        schemas = schemas(),
        objects = objects(),
    )
}

/// Answers what keeps the database from being emptied, in words: what belongs to others and would go along, and what has
/// a part that is elsewhere.
pub(super) fn in_the_way_sql() -> String {
    format!(
        "WITH RECURSIVE gone (classid, objid) AS ( \
           SELECT 'pg_catalog.pg_namespace'::pg_catalog.regclass::oid, s.oid FROM ({schemas}) s \
           UNION SELECT o.classid, o.objid FROM ({objects}) o \
           UNION SELECT w.classid, w.objid FROM ({ELSEWHERE}) w WHERE pg_catalog.pg_has_role(w.owner, 'USAGE') \
           UNION SELECT x.classid, x.objid FROM gone g, LATERAL ( \
             SELECT d.classid, d.objid FROM pg_catalog.pg_depend d \
               WHERE d.refclassid = g.classid AND d.refobjid = g.objid AND d.deptype <> 'e' \
             UNION ALL SELECT d.refclassid, d.refobjid FROM pg_catalog.pg_depend d \
               WHERE d.classid = g.classid AND d.objid = g.objid AND d.deptype = 'i') x), \
         foreign_one AS (SELECT g.classid, g.objid, o.owner FROM gone g, LATERAL (SELECT CASE g.classid \
             WHEN 'pg_catalog.pg_class'::pg_catalog.regclass THEN (SELECT c.relowner FROM pg_catalog.pg_class c WHERE c.oid = g.objid) \
             WHEN 'pg_catalog.pg_type'::pg_catalog.regclass THEN (SELECT c.typowner FROM pg_catalog.pg_type c WHERE c.oid = g.objid) \
             WHEN 'pg_catalog.pg_proc'::pg_catalog.regclass THEN (SELECT c.proowner FROM pg_catalog.pg_proc c WHERE c.oid = g.objid) \
             WHEN 'pg_catalog.pg_constraint'::pg_catalog.regclass THEN (SELECT coalesce(c.relowner, t.typowner) \
               FROM pg_catalog.pg_constraint k LEFT JOIN pg_catalog.pg_class c ON c.oid = k.conrelid \
               LEFT JOIN pg_catalog.pg_type t ON t.oid = k.contypid WHERE k.oid = g.objid) \
             WHEN 'pg_catalog.pg_trigger'::pg_catalog.regclass THEN (SELECT c.relowner FROM pg_catalog.pg_trigger k \
               JOIN pg_catalog.pg_class c ON c.oid = k.tgrelid WHERE k.oid = g.objid) \
             WHEN 'pg_catalog.pg_attrdef'::pg_catalog.regclass THEN (SELECT c.relowner FROM pg_catalog.pg_attrdef k \
               JOIN pg_catalog.pg_class c ON c.oid = k.adrelid WHERE k.oid = g.objid) \
             WHEN 'pg_catalog.pg_policy'::pg_catalog.regclass THEN (SELECT c.relowner FROM pg_catalog.pg_policy k \
               JOIN pg_catalog.pg_class c ON c.oid = k.polrelid WHERE k.oid = g.objid) \
             ELSE (SELECT h.refobjid FROM pg_catalog.pg_shdepend h WHERE h.deptype = 'o' \
               AND h.dbid = (SELECT b.oid FROM pg_catalog.pg_database b WHERE b.datname = pg_catalog.current_database()) \
               AND h.classid = g.classid AND h.objid = g.objid) END AS owner) o \
           WHERE NOT pg_catalog.pg_has_role(o.owner, 'USAGE')) \
         SELECT i.type || ' ' || i.identity || ', which is of ' || pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(f.owner)) AS what \
         FROM foreign_one f, LATERAL pg_catalog.pg_identify_object(f.classid, f.objid, 0) i \
         WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_depend d JOIN foreign_one p ON p.classid = d.refclassid AND p.objid = d.refobjid \
           WHERE d.classid = f.classid AND d.objid = f.objid AND d.deptype = 'a' \
             AND (p.classid, p.objid) <> (f.classid, f.objid)) \
           AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d JOIN gone p ON p.classid = d.refclassid AND p.objid = d.refobjid \
           WHERE d.classid = f.classid AND d.objid = f.objid AND d.deptype = 'i' \
             AND (p.classid, p.objid) <> (f.classid, f.objid)) \
         UNION ALL SELECT 'subscription ' || pg_catalog.quote_ident(x.subname) || ', whose slot is on another server' \
           FROM pg_catalog.pg_subscription x WHERE x.subslotname IS NOT NULL AND pg_catalog.pg_has_role(x.subowner, 'USAGE') \
           AND x.subdbid = (SELECT b.oid FROM pg_catalog.pg_database b WHERE b.datname = pg_catalog.current_database()) \
         ORDER BY 1",
        schemas = schemas(),
        objects = objects(),
    )
}

/// Answers what there is in the database besides the system's and the engine's own, in words.
pub(super) fn left_sql() -> String {
    format!(
        "SELECT i.type || ' ' || i.identity AS what FROM ( \
           SELECT 'pg_catalog.pg_namespace'::pg_catalog.regclass::oid AS classid, s.oid AS objid FROM pg_catalog.pg_namespace s \
             WHERE s.nspname !~ '^pg_' AND s.nspname NOT IN ('public', 'information_schema', '{SCHEMA}') \
           UNION ALL {in_schemas} \
           UNION ALL SELECT w.classid, w.objid FROM ({ELSEWHERE}) w \
           UNION ALL SELECT 'pg_catalog.pg_default_acl'::pg_catalog.regclass, a.oid FROM pg_catalog.pg_default_acl a \
           UNION ALL SELECT 'pg_catalog.pg_extension'::pg_catalog.regclass, e.oid FROM pg_catalog.pg_extension e \
             WHERE e.extname <> 'plpgsql') o, \
         LATERAL pg_catalog.pg_identify_object(o.classid, o.objid, 0) i \
         UNION ALL SELECT pg_catalog.count(*) || ' large objects' FROM pg_catalog.pg_largeobject_metadata HAVING pg_catalog.count(*) > 0 \
         ORDER BY 1",
        in_schemas = in_schemas(),
    )
}
