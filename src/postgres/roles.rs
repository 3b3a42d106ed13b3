//! Groups and logins: who a role of the spec is on the server.
//!
//! The name in the spec is a *group* that cannot log in and holds the rights; applications log in
//! as `<group>_g<n>`, which holds nothing but the membership and becomes the group as it connects.
//! Replacing a password replaces the login, and neither `current_user` nor any owner changes.
//!
//! Choosing a login is pure; the rest runs as the management owner, the one role that makes all
//! others (from PostgreSQL 16 on nobody else could change them; [`super::managers`] finds it again).

use std::collections::BTreeMap;

use secrecy::{ExposeSecret, SecretString};
use sqlx::{AssertSqlSafe, Executor, PgConnection};

use super::{Class, Error, ddl, settings};

/// Longer names are cut off by PostgreSQL without an error.
const MAX_NAME_BYTES: usize = 63;

/// The predicate "was made through Neon's API", about the row `r` of `pg_roles`.
///
/// Neon puts every role of its API into `neon_superuser`, directly.
pub(super) const IS_API_ROLE: &str = "EXISTS (SELECT FROM pg_catalog.pg_auth_members m \
    JOIN pg_catalog.pg_roles s ON s.oid = m.roleid \
    WHERE m.member = r.oid AND s.rolname = 'neon_superuser')";

/// One role of the server, as read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleFact {
    /// Its name.
    pub name: String,
    /// Whether it may open sessions.
    pub can_login: bool,
    /// Whether it is a superuser.
    pub superuser: bool,
    /// Whether it was made through Neon's API, which gives it nearly all rights.
    pub api_role: bool,
    /// Its comment: on our logins the mark of the object that owns them.
    pub mark: Option<String>,
    /// The roles it is a direct member of, sorted.
    pub member_of: Vec<String>,
}

/// The login to use for a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginChoice {
    /// Its name.
    pub login: String,
    /// Whether it is there already and carries our mark.
    pub exists: bool,
}

/// A login as it ought to be.
#[derive(Debug, Clone)]
pub struct Login {
    /// The role of the spec.
    pub group: String,
    /// The login's name, from [`next_login`].
    pub login: String,
    /// Written as the login's comment: tells ours from inherited ones.
    pub mark: String,
    /// What its sessions are like.
    pub shape: Shape,
    /// The password, in plain text: Neon refuses anything already hashed.
    pub password: SecretString,
}

/// What the sessions of a login are like. A group cannot hand it down, so each login has it for itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shape {
    /// How many there may be at a time; none for no limit.
    pub connection_limit: Option<i32>,
    /// Settings that they begin with, by name.
    pub settings: BTreeMap<String, String>,
}

/// All roles of the server but PostgreSQL's predefined ones, by name.
pub async fn list(connection: &mut PgConnection) -> Result<Vec<RoleFact>, Error> {
    type Row = (String, bool, bool, bool, Option<String>, Vec<String>);
    let query = format!(
        "SELECT r.rolname::text, r.rolcanlogin, r.rolsuper, {IS_API_ROLE},
            pg_catalog.shobj_description(r.oid, 'pg_authid'),
            ARRAY(SELECT g.rolname::text FROM pg_catalog.pg_auth_members m
                  JOIN pg_catalog.pg_roles g ON g.oid = m.roleid
                  WHERE m.member = r.oid ORDER BY g.rolname)
         FROM pg_catalog.pg_roles r
         WHERE NOT pg_catalog.starts_with(r.rolname::text, 'pg_')
         ORDER BY r.rolname"
    );
    let rows: Vec<Row> = sqlx::query_as(AssertSqlSafe(query))
        .fetch_all(connection)
        .await?;
    Ok(rows
        .into_iter()
        .map(
            |(name, can_login, superuser, api_role, mark, member_of)| RoleFact {
                name,
                can_login,
                superuser,
                api_role,
                mark,
                member_of,
            },
        )
        .collect())
}

/// Which login to use for a group: the newest that carries our mark, else a new one, numbered after
/// all that exist. Pure.
///
/// A login without our mark is somebody else's or was inherited from a parent branch.
#[must_use]
pub fn next_login(facts: &[RoleFact], group: &str, mark: &str) -> LoginChoice {
    let generations = || {
        facts
            .iter()
            .filter_map(|fact| Some((generation(group, &fact.name)?, fact)))
    };
    let ours = generations()
        .filter(|(_, fact)| fact.mark.as_deref() == Some(mark))
        .max_by_key(|(number, _)| *number);
    if let Some((_, fact)) = ours {
        return LoginChoice {
            login: fact.name.clone(),
            exists: true,
        };
    }
    LoginChoice {
        login: following_login(facts, group),
        exists: false,
    }
}

/// The login to use for a group of which one is recorded: that one, unless it is somebody else's. Pure.
#[must_use]
pub fn login_to_use(facts: &[RoleFact], group: &str, mark: &str, recorded: Option<&str>) -> String {
    let is_free = |name: &str| {
        let found = facts.iter().find(|fact| fact.name == name);
        found.is_none_or(|fact| fact.mark.as_deref() == Some(mark))
    };
    match recorded {
        Some(login) if generation(group, login).is_some() && is_free(login) => login.to_owned(),
        Some(_) | None => next_login(facts, group, mark).login,
    }
}

/// A login that does not exist yet, numbered after all that do. Pure.
#[must_use]
pub fn following_login(facts: &[RoleFact], group: &str) -> String {
    let numbers = facts
        .iter()
        .filter_map(|fact| generation(group, &fact.name));
    let newest = numbers.max().unwrap_or(0);
    let following = newest
        .checked_add(1)
        .map(|number| login_name(group, number))
        .filter(|name| name.len() <= MAX_NAME_BYTES);
    // Numbers that no longer fit behind a long name: the first one that is free.
    following.unwrap_or_else(|| {
        (1..=newest)
            .map(|number| login_name(group, number))
            .find(|name| !facts.iter().any(|fact| fact.name == *name))
            .unwrap_or_else(|| login_name(group, newest))
    })
}

fn login_name(group: &str, number: u32) -> String {
    format!("{group}_g{number}")
}

/// The number of a login of this group; `None` for any other role.
pub(super) fn generation(group: &str, name: &str) -> Option<u32> {
    let number: u32 = name.strip_prefix(group)?.strip_prefix("_g")?.parse().ok()?;
    // Not `+1` or `01`, which we never write.
    (login_name(group, number) == name && number > 0).then_some(number)
}

/// Makes the group where it does not exist yet, and gives every login of it that carries `mark` this shape, as the
/// management owner, in one transaction. The settings are tried on the group itself, so that one that the server refuses
/// is told before there is a login.
///
/// # Errors
/// `Conflict` if somebody made the group at the same time, `Denied` if the session may not make roles. An error about a
/// setting names it.
pub async fn ensure_group(
    connection: &mut PgConnection,
    group: &str,
    mark: &str,
    shape: &Shape,
) -> Result<(), Error> {
    let mut transaction = ddl::begin(connection).await?;
    let result = make_group(&mut transaction, group, mark, shape).await;
    ddl::end(transaction, result).await
}

async fn make_group(
    connection: &mut PgConnection,
    group: &str,
    mark: &str,
    shape: &Shape,
) -> Result<(), Error> {
    ddl::set_local(connection, &[("sepulki.group", group)]).await?;
    connection
        .execute(ENSURE_GROUP)
        .await
        .map_err(made_meanwhile)?;
    settings::try_on(connection, group, &shape.settings).await?;
    for fact in list(connection).await? {
        let ours = fact.mark.as_deref() == Some(mark) && generation(group, &fact.name).is_some();
        if ours {
            settings::give(connection, &fact.name, group, shape).await?;
        }
    }
    Ok(())
}

const ENSURE_GROUP: &str = r"DO $do$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = current_setting('sepulki.group')) THEN
        EXECUTE format('CREATE ROLE %I NOLOGIN', current_setting('sepulki.group'));
    END IF;
END
$do$";

/// Puts `mark` on a login.
pub(super) async fn mark(
    connection: &mut PgConnection,
    login: &str,
    mark: &str,
) -> Result<(), Error> {
    let mut transaction = ddl::begin(connection).await?;
    let result = put_mark(&mut transaction, login, mark).await;
    ddl::end(transaction, result).await
}

async fn put_mark(connection: &mut PgConnection, login: &str, mark: &str) -> Result<(), Error> {
    let values = [("sepulki.login", login), ("sepulki.mark", mark)];
    ddl::set_local(connection, &values).await?;
    connection.execute(MARK).await?;
    Ok(())
}

const MARK: &str = r"DO $do$ BEGIN
    EXECUTE format('COMMENT ON ROLE %I IS %L', current_setting('sepulki.login'), current_setting('sepulki.mark'));
END $do$";

/// Makes group and login what they ought to be, as the management owner, in one transaction.
///
/// # Errors
/// `Invalid` if the group's name is that of a role with rights of its own or of a login, or the password cannot
/// be used; `Conflict` if the login exists and does not carry the mark; `Denied` if another role
/// made the group or the login. No error carries the password.
pub async fn ensure_login(connection: &mut PgConnection, login: &Login) -> Result<(), Error> {
    check_values(login)?;
    let mut transaction = ddl::begin(connection).await?;
    let result = make_login(&mut transaction, login).await;
    ddl::end(transaction, result).await
}

async fn make_login(connection: &mut PgConnection, login: &Login) -> Result<(), Error> {
    check_group(connection, login).await?;
    check_login(connection, login).await?;
    ddl::set_local(
        connection,
        &[
            ("sepulki.group", &login.group),
            ("sepulki.login", &login.login),
            ("sepulki.mark", &login.mark),
        ],
    )
    .await?;
    connection
        .execute(ENSURE_LOGIN)
        .await
        .map_err(made_meanwhile)?;
    settings::give(connection, &login.login, &login.group, &login.shape).await?;
    pass_secret(connection, &login.password).await?;
    connection.execute(SET_PASSWORD).await?;
    Ok(())
}

/// Two that make the same role at once: the second finds it the next time.
fn made_meanwhile(error: sqlx::Error) -> Error {
    let mut error = Error::from(error);
    if matches!(error.sqlstate(), Some("23505" | "42710")) {
        error.class = Class::Conflict;
    }
    error
}

const ENSURE_LOGIN: &str = r"DO $do$
DECLARE
    v_group text := current_setting('sepulki.group');
    v_login text := current_setting('sepulki.login');
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = v_group) THEN
        EXECUTE format('CREATE ROLE %I NOLOGIN', v_group);
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = v_login) THEN
        EXECUTE format('CREATE ROLE %I NOLOGIN IN ROLE %I', v_login, v_group);
    ELSIF NOT EXISTS (
        SELECT FROM pg_auth_members m
        JOIN pg_roles g ON g.oid = m.roleid AND g.rolname = v_group
        JOIN pg_roles l ON l.oid = m.member AND l.rolname = v_login
    ) THEN
        EXECUTE format('GRANT %I TO %I', v_group, v_login);
    END IF;
    EXECUTE format('COMMENT ON ROLE %I IS %L', v_login, current_setting('sepulki.mark'));
END
$do$";

/// The statement with the password comes last, when nothing is left for it to wait for, and its
/// failure is raised anew: the original's context, which servers log, is the statement itself.
/// Nothing else belongs into that inner block: Neon's forwarding of role changes mishandles a role
/// without a password that is touched in a subtransaction.
const SET_PASSWORD: &str = r"DO $do$
DECLARE
    v_login text := current_setting('sepulki.login');
    v_secret text := (SELECT convert_from(decode(value, 'hex'), 'UTF8') FROM pg_temp.sepulki_secret);
BEGIN
    BEGIN
        EXECUTE format('ALTER ROLE %I LOGIN PASSWORD %L', v_login, v_secret);
    EXCEPTION WHEN query_canceled OR OTHERS THEN
        RAISE EXCEPTION USING ERRCODE = SQLSTATE, MESSAGE = SQLERRM;
    END;
END
$do$";

/// Brings the password into the transaction by a way that no server setting logs: the data of a
/// COPY. A bound value is logged by `log_statement` and `log_min_duration_statement`.
async fn pass_secret(connection: &mut PgConnection, secret: &SecretString) -> Result<(), Error> {
    connection
        .execute("CREATE TEMPORARY TABLE sepulki_secret (value text) ON COMMIT DROP")
        .await?;
    let mut copy = connection
        .copy_in_raw("COPY pg_temp.sepulki_secret FROM STDIN")
        .await?;
    copy.send(hex::encode(secret.expose_secret()).into_bytes())
        .await?;
    copy.finish().await?;
    Ok(())
}

fn check_values(login: &Login) -> Result<(), Error> {
    for name in [&login.group, &login.login] {
        // Some clients, sqlx among them, put the name into SCRAM's messages without escaping it.
        let usable = can_log_in_with(name) && !name.contains(',');
        if name.is_empty() || name.len() > MAX_NAME_BYTES || !usable {
            return Err(Error::new(
                Class::Invalid,
                format!(
                    "the role name {name:?} is empty, longer than {MAX_NAME_BYTES} bytes, or holds \
                     a character that some clients cannot log in with (a comma, an emoji, a line break)"
                ),
            ));
        }
    }
    let password = login.password.expose_secret();
    if password.is_empty() || !can_log_in_with(password) {
        return Err(Error::new(
            Class::Invalid,
            format!(
                "the password of role {:?} is empty or holds a character that clients cannot log \
                 in with (a line break at its end?)",
                login.group
            ),
        ));
    }
    Ok(())
}

/// Clients prepare names and passwords for SCRAM (RFC 4013), and not all go on where that fails.
fn can_log_in_with(text: &str) -> bool {
    stringprep::saslprep(text).is_ok()
}

/// A group whose members would get more than the spec says must not become one of ours.
async fn check_group(connection: &mut PgConnection, login: &Login) -> Result<(), Error> {
    let query = format!(
        "SELECT r.rolsuper OR r.rolcreaterole OR r.rolcreatedb OR r.rolreplication OR r.rolbypassrls
                OR {IS_API_ROLE}
                OR EXISTS (SELECT FROM pg_database d WHERE d.datdba = r.oid) AS privileged,
            coalesce(shobj_description(r.oid, 'pg_authid') = $2, false) AS is_login
         FROM pg_roles r WHERE r.rolname = $1"
    );
    let found: Option<(bool, bool)> = sqlx::query_as(AssertSqlSafe(query))
        .bind(&login.group)
        .bind(&login.mark)
        .fetch_optional(connection)
        .await?;
    let reason = match found {
        Some((true, _)) => {
            "owns a database or was made by Neon or with special rights, which applications must not get"
        }
        Some((false, true)) => "is the login of another role",
        Some((false, false)) | None => return Ok(()),
    };
    Err(Error::new(
        Class::Invalid,
        format!(
            "the role {:?} {reason}: choose another name for it",
            login.group
        ),
    ))
}

async fn check_login(connection: &mut PgConnection, login: &Login) -> Result<(), Error> {
    let foreign: bool = sqlx::query_scalar(
        "SELECT EXISTS (SELECT FROM pg_roles r WHERE r.rolname = $1
            AND shobj_description(r.oid, 'pg_authid') IS DISTINCT FROM $2)",
    )
    .bind(&login.login)
    .bind(&login.mark)
    .fetch_one(connection)
    .await?;
    if foreign {
        return Err(Error::new(
            Class::Conflict,
            format!("the role {:?} exists and is not ours", login.login),
        ));
    }
    Ok(())
}
