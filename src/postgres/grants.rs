//! What the groups of the spec may do inside one database: present objects and future ones.
//!
//! Everything here runs as the database's owner, in that database: only what the owner makes is
//! covered by its default privileges, and only the owner can grant on its objects. The catalog
//! is read, compared with what is wanted, and only the difference is written, so a second run
//! changes nothing. Afterwards the catalog is read again, because a GRANT on somebody else's object
//! merely warns.
//!
//! A GRANT beside an open migration on the same table fails in either direction, so these functions
//! try the database's advisory lock, which migrations hold, and never wait for it.

use sqlx::{AssertSqlSafe, Executor, PgConnection};

pub use super::privileges::Access;
use super::{
    Class, Error, ddl,
    lock::Key,
    privileges::{Holding, Kind},
};

/// What one group ought to be able to do in one database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The role of the spec; it exists already.
    pub group: String,
    /// What its applications do.
    pub access: Access,
    /// The schemas whose objects are meant.
    pub schemas: Vec<String>,
}

/// How granting ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GrantOutcome {
    /// All that the owner can do is done.
    Done {
        /// What the group lacks because the object belongs to somebody else, as
        /// `INSERT, UPDATE on TABLE public.t`; sorted by kind and name.
        not_granted: Vec<String>,
        /// What the group can do against the spec, through PUBLIC, another role, or somebody
        /// else's grant; in the same form.
        not_revoked: Vec<String>,
        /// Schemas that do not exist, in which nothing was granted.
        missing_schemas: Vec<String>,
    },
    /// A migration (or another grant) holds the database; nothing was changed.
    Busy,
}

/// Makes the group's rights in this database exactly what `grant` says, now and for objects that the owner will make.
/// The ledger, known by its columns, gets SELECT only; objects of extensions are left alone.
///
/// Schemas in which the group was given rights before and that are no longer asked for are known by the default
/// privileges that came with them. Others are left alone, whatever somebody else granted there.
///
/// # Errors
/// `Invalid` if the group does not exist; `Denied` if the session is not the database's owner.
pub async fn apply(connection: &mut PgConnection, grant: &Grant) -> Result<GrantOutcome, Error> {
    change(connection, &grant.group, Some(grant)).await
}

/// Takes away all that the group was given in this database, CONNECT first of all; for roles that are not listed for
/// it. `not_revoked` tells if the group can enter nevertheless, as where PUBLIC may.
///
/// # Errors
/// As [`apply`].
pub async fn refuse(connection: &mut PgConnection, group: &str) -> Result<GrantOutcome, Error> {
    change(connection, group, None).await
}

/// Takes CONNECT and TEMPORARY on this database from PUBLIC, so that only listed roles enter. For
/// databases that we created.
///
/// # Errors
/// `Denied` if the session is not the database's owner.
pub async fn close_to_public(connection: &mut PgConnection) -> Result<(), Error> {
    let mut transaction = ddl::begin(connection).await?;
    let result = close(&mut transaction).await;
    ddl::end(transaction, result).await
}

async fn close(connection: &mut PgConnection) -> Result<(), Error> {
    check_owner(connection).await?;
    let open: Option<String> = sqlx::query_scalar(
        "SELECT quote_ident(d.datname) FROM pg_database d
         WHERE d.datname = current_database() AND EXISTS (
            SELECT FROM aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a
            WHERE a.grantee = 0 AND a.privilege_type IN ('CONNECT', 'TEMPORARY'))",
    )
    .fetch_optional(&mut *connection)
    .await?;
    if let Some(name) = open {
        let statement = format!("REVOKE CONNECT, TEMPORARY ON DATABASE {name} FROM PUBLIC");
        connection.execute(AssertSqlSafe(statement)).await?;
    }
    Ok(())
}

async fn change(
    connection: &mut PgConnection,
    group: &str,
    grant: Option<&Grant>,
) -> Result<GrantOutcome, Error> {
    let mut transaction = ddl::begin(connection).await?;
    let result = change_locked(&mut transaction, group, grant).await;
    ddl::end(transaction, result).await
}

async fn change_locked(
    connection: &mut PgConnection,
    group: &str,
    grant: Option<&Grant>,
) -> Result<GrantOutcome, Error> {
    let try_lock = format!("SELECT {}", Key::database().try_in_transaction());
    let locked: bool = sqlx::query_scalar(AssertSqlSafe(try_lock))
        .fetch_one(&mut *connection)
        .await?;
    if !locked {
        return Ok(GrantOutcome::Busy);
    }
    check_owner(connection).await?;
    let version = check_group(connection, group).await?;
    let scope = Scope::of(connection, group, grant, version).await?;
    let statements: Vec<String> = scope
        .survey(connection)
        .await?
        .iter()
        .flat_map(|(holding, wanted)| holding.statements(wanted, group))
        .collect();
    if !statements.is_empty() {
        let script = AssertSqlSafe(statements.join(";\n"));
        connection.execute(sqlx::raw_sql(script)).await?;
    }
    let after = scope.survey(connection).await?;
    let texts = |text: fn(&Holding, &[&str]) -> Option<String>| {
        let one = |(holding, wanted): &(Holding, Rights)| text(holding, wanted);
        after.iter().filter_map(one).collect()
    };
    Ok(GrantOutcome::Done {
        not_granted: texts(Holding::lacking),
        not_revoked: texts(Holding::excessive),
        missing_schemas: scope.missing,
    })
}

/// Rights on one object, as PostgreSQL names them.
type Rights = &'static [&'static str];

/// Where in the database the rights of a group are looked at.
struct Scope<'a> {
    group: &'a str,
    access: Option<Access>,
    version: i32,
    /// Schemas that are asked for.
    asked: Vec<String>,
    /// Schemas in which it was given rights before.
    left: Vec<String>,
    /// Schemas that are asked for and do not exist.
    missing: Vec<String>,
}

impl<'a> Scope<'a> {
    async fn of(
        connection: &mut PgConnection,
        group: &'a str,
        grant: Option<&Grant>,
        version: i32,
    ) -> Result<Self, Error> {
        let wanted = grant.map(|grant| grant.schemas.clone()).unwrap_or_default();
        let exist: Vec<String> = sqlx::query_scalar(
            "SELECT nspname::text FROM pg_namespace WHERE nspname = ANY($1) ORDER BY nspname",
        )
        .bind(&wanted)
        .fetch_all(&mut *connection)
        .await?;
        let left = sqlx::query_scalar(LEFT).bind(group).bind(&wanted);
        let left: Vec<String> = left.fetch_all(&mut *connection).await?;
        Ok(Self {
            group,
            access: grant.map(|grant| grant.access),
            version,
            left,
            missing: wanted
                .into_iter()
                .filter(|schema| !exist.contains(schema))
                .collect(),
            asked: exist,
        })
    }

    /// Everything that the rights of the group are about, with those it ought to have.
    async fn survey(&self, connection: &mut PgConnection) -> Result<Vec<(Holding, Rights)>, Error> {
        let (group, version) = (self.group, self.version);
        let mut found = holdings(connection, group, None, version).await?;
        for schema in &self.asked {
            found.extend(holdings(connection, group, Some(schema), version).await?);
        }
        let mut all: Vec<(Holding, Rights)> = found
            .into_iter()
            .map(|holding| {
                let wanted = holding.kind.wanted(self.access, version);
                (holding, wanted)
            })
            .collect();
        for schema in &self.left {
            let found = holdings(connection, group, Some(schema), version).await?;
            all.extend(found.into_iter().map(|holding| {
                let wanted = holding.kind.wanted(None, version);
                (holding, wanted)
            }));
        }
        Ok(all)
    }
}

/// Schemas other than `$2` in which the owner has set default privileges for the group `$1`.
const LEFT: &str = "
SELECT DISTINCT n.nspname::text FROM pg_default_acl d
JOIN pg_namespace n ON n.oid = d.defaclnamespace
JOIN pg_roles u ON u.oid = d.defaclrole AND u.rolname = current_user
CROSS JOIN LATERAL aclexplode(d.defaclacl) a
JOIN pg_roles g ON g.oid = a.grantee AND g.rolname = $1
WHERE n.nspname <> ALL($2) ORDER BY 1";

/// Default privileges cover what their maker makes: only the owner itself will do, not a member.
async fn check_owner(connection: &mut PgConnection) -> Result<(), Error> {
    let (user, owner): (String, String) = sqlx::query_as(
        "SELECT current_user::text, pg_get_userbyid(datdba)::text
         FROM pg_database WHERE datname = current_database()",
    )
    .fetch_one(connection)
    .await?;
    if user == owner {
        return Ok(());
    }
    Err(Error::new(
        Class::Denied,
        format!("the session is {user:?} but the database belongs to {owner:?}"),
    ))
}

/// It exists (also: it is not `public` in the sense of everybody). Answers with the server's version number.
async fn check_group(connection: &mut PgConnection, group: &str) -> Result<i32, Error> {
    let (has_group, version): (bool, i32) = sqlx::query_as(
        "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1),
                current_setting('server_version_num')::int",
    )
    .bind(group)
    .fetch_one(connection)
    .await?;
    if has_group {
        return Ok(version);
    }
    Err(Error::new(
        Class::Invalid,
        format!("the role {group:?} does not exist"),
    ))
}

type Row = (String, String, bool, Vec<String>, Vec<String>);

/// Of one schema, or of the database itself.
async fn holdings(
    connection: &mut PgConnection,
    group: &str,
    schema: Option<&str>,
    version: i32,
) -> Result<Vec<Holding>, Error> {
    let mut asked = vec!["SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE"];
    if version >= 170_000 {
        asked.push("MAINTAIN");
    }
    let rows: Vec<Row> = sqlx::query_as(HOLDINGS)
        .bind(group)
        .bind(schema)
        .bind(asked)
        .fetch_all(connection)
        .await?;
    rows.into_iter()
        .map(|(word, target, owned, held, effective)| {
            let kind = Kind::parse(&word)
                .ok_or_else(|| Error::new(Class::Invalid, format!("unknown kind {word:?}")))?;
            Ok(Holding {
                kind,
                target,
                owned,
                held,
                effective,
            })
        })
        .collect()
}

/// Every object that rights of group `$1` in schema `$2` are about, without one the database; `$3`: the table rights that this version knows.
/// A ledger is a table of exactly the columns that ours has.
const HOLDINGS: &str = "
WITH g AS (SELECT oid FROM pg_roles WHERE rolname = $1),
s AS (SELECT oid, nspname, nspowner, nspacl FROM pg_namespace WHERE nspname = $2),
relation AS (
    SELECT c.oid, c.relowner, c.relacl,
        format('%s %I.%I', CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, s.nspname, c.relname) AS target,
        CASE WHEN c.relkind = 'S' THEN 'sequence'
             WHEN c.relkind IN ('r', 'p') AND ARRAY['applied_at', 'checksum', 'version'] = ARRAY(
                SELECT a.attname::text FROM pg_attribute a
                WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attname)
             THEN 'ledger' ELSE 'table' END AS kind
    FROM pg_class c JOIN s ON s.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
      AND NOT EXISTS (SELECT FROM pg_depend d
        WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
),
found (position, kind, target, owner, acl, effective) AS (
    SELECT 1, 'database', format('DATABASE %I', d.datname), d.datdba, d.datacl,
        ARRAY(SELECT p FROM unnest(ARRAY['CONNECT', 'TEMPORARY', 'CREATE']) p
              WHERE has_database_privilege(g.oid, d.oid, p))
    FROM pg_database d, g WHERE d.datname = current_database() AND $2::text IS NULL
    UNION ALL
    SELECT 2, 'schema', format('SCHEMA %I', s.nspname), s.nspowner, s.nspacl,
        ARRAY(SELECT p FROM unnest(ARRAY['USAGE', 'CREATE']) p WHERE has_schema_privilege(g.oid, s.oid, p))
    FROM s, g
    UNION ALL
    SELECT 3, r.kind, r.target, r.relowner, r.relacl,
        CASE r.kind WHEN 'sequence'
        THEN ARRAY(SELECT p FROM unnest(ARRAY['USAGE', 'SELECT', 'UPDATE']) p
                   WHERE has_sequence_privilege(g.oid, r.oid, p))
        ELSE ARRAY(SELECT p FROM unnest($3::text[]) p WHERE has_table_privilege(g.oid, r.oid, p)) END
    FROM relation r, g
    UNION ALL
    SELECT 4, f.kind, quote_ident(s.nspname), u.oid, d.defaclacl,
        ARRAY(SELECT a.privilege_type FROM aclexplode(d.defaclacl) a WHERE a.grantee = g.oid)
    FROM g CROSS JOIN s
    CROSS JOIN (VALUES ('future tables', 'r'), ('future sequences', 'S')) f (kind, type)
    JOIN pg_roles u ON u.rolname = current_user
    LEFT JOIN pg_default_acl d
        ON d.defaclrole = u.oid AND d.defaclnamespace = s.oid AND d.defaclobjtype::text = f.type
)
SELECT f.kind, f.target, pg_has_role(f.owner, 'USAGE') AS owned,
    ARRAY(SELECT DISTINCT a.privilege_type FROM aclexplode(f.acl) a WHERE a.grantee = g.oid) AS held,
    f.effective
FROM found f, g ORDER BY f.position, f.kind, f.target";
