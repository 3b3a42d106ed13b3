//! Logins that are replaced while applications use them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use jiff::{SignedDuration, Timestamp};
use sepulki::clock::{Clock, SystemClock};
use serde_json::json;
use sqlx::{ConnectOptions, Executor, PgConnection, Row};
use testkit::operator::{Platform, Published, Tenant, eventually};

use crate::{shop, start};

/// How often a login is replaced here, in seconds, and how long the one before still works.
const EVERY: i64 = 6;
const OVERLAP: i64 = 5;

/// What was read within this time has not to be read anew yet.
const FRESH: SignedDuration = SignedDuration::from_secs(OVERLAP - 1);

/// How many replacements are lived through.
const ROTATIONS: usize = 20;

/// For how long a login may still be let in when its time is over: as long as a machine with much to do takes to end it.
const LATE: SignedDuration = SignedDuration::from_secs(5);

/// Between two connections of one client.
const PAUSE: Duration = Duration::from_millis(100);

const NAME: &str = "live";

/// Whom every login acts as.
const ROLE: &str = "clerk";

#[tokio::test]
async fn applications_live_through_twenty_rotations() -> anyhow::Result<()> {
    let tenant = Platform::shared().await?.tenant().await?;
    let _operator = start(&tenant).await?;
    let mut object = shop::small(NAME, "production", None);
    object["spec"]["roles"][0]["rotation"] =
        json!({ "every": format!("{EVERY}s"), "overlap": format!("{OVERLAP}s") });
    shop::apply(&tenant, &[object]).await?;
    tenant.database(NAME).ready().await?;

    let reads = Reads::default();
    let late = tokio::select! {
        ended = reads_its_secret(&tenant, &reads) => ended?,
        late = keeps_its_secrets(&tenant) => late?,
    };
    let connections = reads.connections.into_inner();
    println!(
        "{ROTATIONS} rotations, {connections} connections with a Secret read anew, {} too slow to count; a login that was \
         kept was let in for {:.1} s too long at most (bound {:.0})",
        reads.too_slow.into_inner(),
        late.as_secs_f64(),
        LATE.as_secs_f64()
    );
    ensure!(late <= LATE, "let in for {late:#} too long");
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

/// What became of the connections for which the Secret was read.
#[derive(Default)]
struct Reads {
    connections: AtomicUsize,
    /// Failed, with what was read too long ago to count as read anew.
    too_slow: AtomicUsize,
}

/// An application that reads its Secret, as a mounted file, for every connection. Ends only if one fails.
async fn reads_its_secret(tenant: &Tenant<'_>, reads: &Reads) -> anyhow::Result<SignedDuration> {
    loop {
        for way in ["DATABASE_URL_UNPOOLED", "DATABASE_URL"] {
            let read = SystemClock.now();
            let secret = tenant.published(NAME).await?;
            let used = async { acts_as(secret.options(way)?.connect().await?).await };
            match used.await {
                Ok(role) => {
                    ensure!(role == ROLE, "current_user is {role}");
                    reads.connections.fetch_add(1, Ordering::Relaxed);
                }
                // this machine is too slow for these few seconds
                Err(_) if SystemClock.now().duration_since(read) > FRESH => {
                    reads.too_slow.fetch_add(1, Ordering::Relaxed);
                }
                Err(error) => return Err(error).context("with a Secret that was just read"),
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Whom a session acts as.
async fn acts_as(mut session: PgConnection) -> anyhow::Result<String> {
    // not prepared: behind a pooler, each statement may meet another server
    let row = session.fetch_one("SELECT current_user::text").await?;
    Ok(row.get(0))
}

/// An application that reads its Secret once and keeps it until it is turned away; then the next one does the same. Answers
/// for how long one was let in when its time was over, at most.
async fn keeps_its_secrets(tenant: &Tenant<'_>) -> anyhow::Result<SignedDuration> {
    let mut late = SignedDuration::ZERO;
    for rotation in 1..=ROTATIONS {
        let secret = tenant.published(NAME).await?;
        let mut session = secret.direct().await?;
        let login = secret.field("PGUSER")?;
        let kept = lasts_until_turned_away(tenant, &secret)
            .await
            .with_context(|| format!("{login}, rotation {rotation}"))?;
        ensure!(
            kept.turned_away >= kept.end,
            "{login} was turned away too early"
        );
        late = late.max(kept.let_in.duration_since(kept.end));
        // first nobody new is let in, then those who are in have to go
        eventually("its session ends", async || {
            Ok(session.execute("SELECT 1").await.is_err().then_some(()))
        })
        .await?;
    }
    Ok(late)
}

/// The last moments of a login.
struct Kept {
    /// When its time is over, by what the status says.
    end: Timestamp,
    /// When whoever was let in last had asked for it.
    let_in: Timestamp,
    turned_away: Timestamp,
}

/// Connects again and again.
async fn lasts_until_turned_away(tenant: &Tenant<'_>, secret: &Published) -> anyhow::Result<Kept> {
    let login = secret.field("PGUSER")?;
    let mut end = None;
    let mut let_in = SystemClock.now();
    let deadline = let_in + SignedDuration::from_mins(3);
    while SystemClock.now() < deadline {
        let object = tenant.database(NAME).get().await?;
        if object.text("/status/connectionSecrets/0/previousLogin") == login {
            let replaced: Timestamp = object
                .text("/status/connectionSecrets/0/rotationTime")
                .parse()
                .context("rotationTime")?;
            end = Some(replaced + SignedDuration::from_secs(OVERLAP));
        }
        let asked = SystemClock.now();
        match secret.direct().await {
            Ok(session) => {
                let_in = asked;
                match acts_as(session).await {
                    Ok(role) => ensure!(role == ROLE, "current_user is {role}"),
                    // a session whose login's time ends at this very moment says nothing
                    Err(_) if end.is_some_and(|end| SystemClock.now() >= end) => {}
                    Err(error) => return Err(error),
                }
            }
            Err(error) if is_refusal(&error) => {
                return Ok(Kept {
                    end: end.context("turned away, and nothing said that it was replaced")?,
                    let_in,
                    turned_away: SystemClock.now(),
                });
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
