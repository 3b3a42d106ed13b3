//! Logins that are replaced while applications use them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use jiff::{SignedDuration, Timestamp};
use sepulki::clock::{Clock, SystemClock};
use serde_json::json;
use sqlx::{Executor, PgConnection, Row};
use testkit::operator::{Platform, Published, Tenant, eventually};

use crate::{shop, start};

/// How often a login is replaced here, in seconds, and how long the one before still works.
const EVERY: i64 = 6;
const OVERLAP: i64 = 5;

/// How many replacements are lived through.
const ROTATIONS: usize = 20;

/// Between two connections of one client.
const PAUSE: Duration = Duration::from_millis(100);

const NAME: &str = "live";

#[tokio::test]
async fn applications_live_through_twenty_rotations() -> anyhow::Result<()> {
    let tenant = Platform::shared().await?.tenant().await?;
    let _operator = start(&tenant).await?;
    let mut object = shop::small(NAME, "production", None);
    object["spec"]["roles"][0]["rotation"] =
        json!({ "every": format!("{EVERY}s"), "overlap": format!("{OVERLAP}s") });
    shop::apply(&tenant, &[object]).await?;
    tenant.database(NAME).ready().await?;

    let connections = AtomicUsize::new(0);
    tokio::select! {
        ended = reads_its_secret(&tenant, &connections) => ended?,
        ended = keeps_its_secrets(&tenant) => ended?,
    }
    let connections = connections.load(Ordering::Relaxed);
    println!("{ROTATIONS} rotations, {connections} connections with a Secret read anew");
    ensure!(connections > ROTATIONS, "only {connections} connections");

    let secret = tenant.published(NAME).await?;
    let mut session = secret.direct().await?;
    let logins: i64 =
        sqlx::query_scalar("SELECT count(*) FROM pg_roles WHERE starts_with(rolname, 'clerk_g')")
            .fetch_one(&mut session)
            .await?;
    ensure!(logins <= 2, "{logins} logins are left");
    Ok(())
}

/// An application that reads its Secret, as a mounted file, for every connection. Ends only if one fails.
async fn reads_its_secret(tenant: &Tenant<'_>, connections: &AtomicUsize) -> anyhow::Result<()> {
    loop {
        let read = SystemClock.now();
        let secret = tenant.published(NAME).await?;
        for session in [secret.direct().await, secret.pooled().await] {
            let age = SystemClock.now().duration_since(read);
            match session {
                Ok(session) => is_the_clerk(session).await?,
                // what was read so long ago is not read anew: this machine is too slow for these few seconds
                Err(_) if age > SignedDuration::from_secs(OVERLAP - 1) => {}
                Err(error) => return Err(error).context("with a Secret that was just read"),
            }
            connections.fetch_add(1, Ordering::Relaxed);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Whoever logs in acts as the role. A session whose login's time ends at this very moment says nothing.
async fn is_the_clerk(mut session: PgConnection) -> anyhow::Result<()> {
    // not prepared: behind a pooler, each statement may meet another server
    match session.fetch_one("SELECT current_user::text").await {
        Ok(row) => {
            let role: String = row.get(0);
            ensure!(role == "clerk", "current_user is {role}");
        }
        Err(error) if session.execute("SELECT 1").await.is_ok() => return Err(error.into()),
        Err(_) => {}
    }
    Ok(())
}

/// An application that reads its Secret once and keeps it until it is turned away; then the next one does the same.
async fn keeps_its_secrets(tenant: &Tenant<'_>) -> anyhow::Result<()> {
    for rotation in 1..=ROTATIONS {
        let secret = tenant.published(NAME).await?;
        let mut session = secret.direct().await?;
        let login = secret.field("PGUSER")?;
        let end = lasts_until_turned_away(tenant, &secret)
            .await
            .with_context(|| format!("{login}, rotation {rotation}"))?;
        ensure!(
            SystemClock.now() >= end,
            "{login} was turned away too early"
        );
        // first nobody new is let in, then those who are in have to go
        eventually("its session ends", async || {
            Ok(session.execute("SELECT 1").await.is_err().then_some(()))
        })
        .await?;
    }
    Ok(())
}

/// Connects again and again; answers when the login's time is over by what the status says.
async fn lasts_until_turned_away(
    tenant: &Tenant<'_>,
    secret: &Published,
) -> anyhow::Result<Timestamp> {
    let login = secret.field("PGUSER")?;
    let mut end = None;
    let deadline = SystemClock.now() + SignedDuration::from_mins(3);
    while SystemClock.now() < deadline {
        let object = tenant.database(NAME).get().await?;
        if object.text("/status/connectionSecrets/0/previousLogin") == login {
            let replaced: Timestamp = object
                .text("/status/connectionSecrets/0/rotationTime")
                .parse()
                .context("rotationTime")?;
            end = Some(replaced + SignedDuration::from_secs(OVERLAP));
        }
        match secret.direct().await {
            Ok(session) => is_the_clerk(session).await?,
            Err(error) if is_refusal(&error) => {
                return end.context("turned away, and nothing said that it was replaced");
            }
            Err(error) => return Err(error),
        }
        tokio::time::sleep(PAUSE).await;
    }
    bail!("it works for ever")
}

/// Wrong password, no such role, or one that may not log in.
fn is_refusal(error: &anyhow::Error) -> bool {
    let database = error.downcast_ref::<sqlx::Error>();
    let database = database.and_then(sqlx::Error::as_database_error);
    let code = database.and_then(sqlx::error::DatabaseError::code);
    code.is_some_and(|code| code.starts_with("28"))
}
