//! What is published works, with exactly the rights of the role it names, and opens nothing else.

use std::process::Command;

use anyhow::{Context, ensure};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, postgres::PgConnectOptions};
use testkit::operator::{Platform, Published, Tenant};

use crate::{
    shop::{self, ENVIRONMENTS, OWNERS, ROLES},
    start,
};

const FIRST: (&str, &str) = (
    "001_orders.sql",
    "CREATE TABLE orders (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, note text NOT NULL);
     CREATE VIEW open_orders AS SELECT id FROM orders;
     CREATE SEQUENCE tickets;",
);

const SECOND: (&str, &str) = (
    "002_refunds.sql",
    "CREATE TABLE refunds (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, note text NOT NULL);
     CREATE VIEW open_refunds AS SELECT id FROM refunds;
     CREATE SEQUENCE vouchers;",
);

/// Insufficient privilege: what PostgreSQL answers where a right is missing.
const NO_RIGHT: &str = "42501";

#[tokio::test]
async fn every_published_secret_works_with_exactly_its_roles_rights() -> anyhow::Result<()> {
    let tenant = Platform::shared().await?.tenant().await?;
    let _operator = start(&tenant).await?;
    let mut objects = Vec::new();
    for (name, environment, parent) in ENVIRONMENTS {
        objects.push(shop::database(name, environment, parent));
        objects.push(shop::migration(name, &[FIRST]));
    }
    shop::apply(&tenant, &objects).await?;
    for (name, ..) in ENVIRONMENTS {
        tenant.database(name).ready().await?;
        tenant.migration(name).ready().await?;
    }
    for (name, ..) in ENVIRONMENTS {
        for (short, role, access, limited) in ROLES {
            let secret = tenant.published(&format!("{name}-{short}")).await?;
            let what = format!("{role} ({access}) of {name}");
            names_itself(&secret, role).await.context(what.clone())?;
            has_rights(&secret, access, "orders", "open_orders", "tickets")
                .await
                .context(what.clone())?;
            enters(&secret, "audit", !limited).await.context(what)?;
        }
        let secret = tenant.published(&format!("{name}-clerk-audit")).await?;
        names_itself(&secret, "clerk").await?;
    }
    psql_connects(&tenant, "dress-rehearsal-odd").await?;

    let later: Vec<_> = ENVIRONMENTS
        .iter()
        .map(|(name, ..)| shop::migration(name, &[FIRST, SECOND]))
        .collect();
    shop::apply(&tenant, &later).await?;
    for (name, ..) in ENVIRONMENTS {
        let applied = tenant.migration(name).ready().await?;
        ensure!(applied.at("/status/applied/count") == 2, "{applied:?}");
        for (short, role, access, _) in ROLES {
            let secret = tenant.published(&format!("{name}-{short}")).await?;
            has_rights(&secret, access, "refunds", "open_refunds", "vouchers")
                .await
                .with_context(|| format!("{role} ({access}) of {name}, later tables"))?;
        }
    }

    for (child, _, parent) in ENVIRONMENTS {
        if let Some(parent) = parent {
            open_only_their_own(&tenant, parent, child).await?;
        }
    }
    Ok(())
}

/// Both hosts let it in, as its own login, with the role of the spec as its current role.
async fn names_itself(secret: &Published, role: &str) -> anyhow::Result<()> {
    ensure!(
        secret.field("PGHOST")? != secret.field("PGHOST_UNPOOLED")?,
        "one host for both"
    );
    for mut session in [secret.direct().await?, secret.pooled().await?] {
        let (current, login, database, encrypted): (String, String, String, bool) = sqlx::query_as(
            "SELECT current_user::text, session_user::text, current_database()::text,
                (SELECT rolcanlogin FROM pg_roles WHERE rolname = session_user)",
        )
        .fetch_one(&mut session)
        .await?;
        ensure!(current == role, "current_user is {current}");
        ensure!(login == secret.field("PGUSER")?, "session_user is {login}");
        ensure!(login != role, "the role logs in itself");
        ensure!(database == secret.field("PGDATABASE")?, "in {database}");
        ensure!(encrypted, "the login cannot log in");
        session.close().await?;
    }
    Ok(())
}

/// Tries everything that some access may do and another may not, in an order in which each finds what it needs.
async fn has_rights(
    secret: &Published,
    access: &str,
    table: &str,
    view: &str,
    sequence: &str,
) -> anyhow::Result<()> {
    let (always, never) = (true, false);
    let writes = access != "ReadOnly";
    let admin = access == "Admin";
    let mut session = secret.direct().await?;
    for (sql, allowed) in [
        (format!("SELECT * FROM {table}"), always),
        (format!("SELECT * FROM {view}"), always),
        (format!("INSERT INTO {table} (note) VALUES ('a')"), writes),
        (format!("UPDATE {table} SET note = 'b'"), writes),
        (format!("DELETE FROM {table}"), writes),
        (format!("SELECT nextval('{sequence}')"), writes),
        (format!("SELECT setval('{sequence}', 7)"), admin),
        (format!("TRUNCATE {table}"), admin),
        (format!("ALTER TABLE {table} ADD COLUMN more int"), never),
        (format!("CREATE INDEX more ON {table} (note)"), never),
        (format!("DROP TABLE {table}"), never),
        (format!("DROP VIEW {view}"), never),
        ("CREATE TABLE more ()".into(), never),
        ("CREATE SCHEMA more".into(), never),
        ("CREATE ROLE more".into(), never),
        ("CREATE DATABASE more".into(), never),
        (format!("SET ROLE {}", OWNERS[0]), never),
        ("SELECT version FROM schema_migrations".into(), always),
        (
            "INSERT INTO schema_migrations (version) VALUES ('x')".into(),
            never,
        ),
        ("UPDATE schema_migrations SET checksum = 'x'".into(), never),
        ("DELETE FROM schema_migrations".into(), never),
        ("TRUNCATE schema_migrations".into(), never),
    ] {
        is_allowed(&mut session, &sql, allowed).await?;
    }
    session.close().await?;
    Ok(())
}

async fn is_allowed(session: &mut PgConnection, sql: &str, allowed: bool) -> anyhow::Result<()> {
    let result = session.execute(AssertSqlSafe(sql)).await;
    let code = result
        .as_ref()
        .err()
        .and_then(|error| error.as_database_error())
        .and_then(sqlx::error::DatabaseError::code);
    match (&result, allowed) {
        (Ok(_), true) => Ok(()),
        (Err(_), false) if code.as_deref() == Some(NO_RIGHT) => Ok(()),
        _ => anyhow::bail!("{sql}: allowed should be {allowed}, but: {result:?}"),
    }
}

/// Whether the login of a Secret may enter another database of the same branch.
async fn enters(secret: &Published, database: &str, may: bool) -> anyhow::Result<()> {
    let options = secret.options("DATABASE_URL_UNPOOLED")?.database(database);
    let entered = PgConnection::connect_with(&options).await;
    let entered = match entered {
        Ok(session) => {
            session.close().await?;
            true
        }
        Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some(NO_RIGHT) => false,
        Err(error) => return Err(error).context("neither let in nor turned away"),
    };
    ensure!(entered == may, "entering {database}: {entered}");
    Ok(())
}

/// The fields as libpq takes them from the environment, with the authority mounted.
async fn psql_connects(tenant: &Tenant<'_>, name: &str) -> anyhow::Result<()> {
    let secret = tenant.published(name).await?;
    let authority = tenant.dir().join("ca.crt");
    std::fs::write(&authority, secret.field("ca.crt")?)?;
    let psql = tenant
        .platform()
        .neon()
        .emulator()
        .postgres_bin()
        .join("psql");
    ensure!(
        secret.field("PGSSLMODE")? == "verify-full",
        "not verify-full"
    );
    ensure!(
        secret.field("PGSSLROOTCERT")? == "/etc/sepulki/ca.crt",
        "where it is to be mounted"
    );
    for host in ["PGHOST", "PGHOST_UNPOOLED"] {
        let mut command = Command::new(&psql);
        for name in ["PGPORT", "PGDATABASE", "PGUSER", "PGPASSWORD", "PGSSLMODE"] {
            command.env(name, secret.field(name)?);
        }
        let output = command
            .env("PGHOST", secret.field(host)?)
            .env("PGSSLROOTCERT", &authority)
            .args(["-XAtc", "SELECT current_user"])
            .output()
            .with_context(|| format!("run {}", psql.display()))?;
        let text = String::from_utf8_lossy(&output.stdout);
        ensure!(text.trim_end() == shop::ODD, "psql by {host}: {output:?}");
    }
    Ok(())
}

/// No password of the parent opens the child, and none of the child's opens the parent: neither an application's nor
/// an owner's.
async fn open_only_their_own(tenant: &Tenant<'_>, parent: &str, child: &str) -> anyhow::Result<()> {
    let parent = keys(tenant, parent).await?;
    let child = keys(tenant, child).await?;
    for (holder, other) in [(&parent, &child), (&child, &parent)] {
        for ((what, own), (_, door)) in holder.iter().zip(other) {
            let session = PgConnection::connect_with(own).await;
            session
                .with_context(|| format!("{what} does not open its own"))?
                .close()
                .await?;
            let elsewhere = own.clone().host(door.get_host());
            match PgConnection::connect_with(&elsewhere).await {
                Ok(_) => anyhow::bail!("{what} also opens {}", door.get_host()),
                // wrong password, or a role that may not log in or does not exist there
                Err(sqlx::Error::Database(error))
                    if error.code().is_some_and(|code| code.starts_with("28")) => {}
                Err(error) => return Err(error).with_context(|| what.clone()),
            }
        }
    }
    Ok(())
}

/// Every credential of an environment: the published ones and the owners'.
async fn keys(tenant: &Tenant<'_>, name: &str) -> anyhow::Result<Vec<(String, PgConnectOptions)>> {
    let mut keys = Vec::new();
    for (short, ..) in ROLES {
        let secret = tenant.published(&format!("{name}-{short}")).await?;
        keys.push((
            format!("{short} of {name}"),
            secret.options("DATABASE_URL_UNPOOLED")?,
        ));
    }
    let door = keys[0].1.clone();
    let object = tenant.database(name).get().await?;
    let neon = tenant.platform().neon();
    for owner in OWNERS.into_iter().chain(["neondb_owner"]) {
        let password = neon
            .password(tenant.project(), object.branch_id(), owner)
            .await?;
        let options = door.clone().username(owner).password(&password);
        keys.push((format!("{owner} of {name}"), options));
    }
    Ok(keys)
}
