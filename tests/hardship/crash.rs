//! The operator is killed at random moments, again and again, while there is always work to do.
//!
//! What it leaves has to be what an operator leaves that nobody disturbed: one branch per object, each file applied once,
//! one login per role, nothing without an owner.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::Context;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use testkit::operator::{Neon, Platform, Tenant};

use crate::OPERATOR;
use crate::scene::apply;
use crate::seed::{SEED, seed};
use crate::undisturbed::{ROLES, Wanted, as_if_undisturbed};

/// Kills.
const ROUNDS: usize = 12;

/// The longest life of an operator that is to be killed: about what the four environments need to converge.
const LONGEST_LIFE: Duration = Duration::from_millis(2500);

#[tokio::test]
async fn killed_at_random_moments_it_ends_as_if_undisturbed() -> anyhow::Result<()> {
    let seed = seed()?;
    killed(seed).await.with_context(|| format!("{SEED}={seed}"))
}

async fn killed(seed: u64) -> anyhow::Result<()> {
    let mut random = StdRng::seed_from_u64(seed);
    let platform = Platform::with_neon(Neon::config()).await?;
    let tenant = platform.tenant().await?;
    let mut wanted = BTreeMap::from([
        ("live".to_owned(), Wanted::new("production", None, 3)),
        (
            "rehearsal".to_owned(),
            Wanted::new("staging", Some("live"), 4),
        ),
        (
            "workbench".to_owned(),
            Wanted::new("development", Some("rehearsal"), 5),
        ),
        (
            "pr-0".to_owned(),
            Wanted::new("preview", Some("workbench"), 6),
        ),
    ]);
    for (name, one) in &wanted {
        apply(&tenant, &one.objects(name)).await?;
    }
    let mut deleted = BTreeSet::new();
    for round in 0..ROUNDS {
        let operator = start(&tenant).await?;
        let life = random.random_range(Duration::ZERO..LONGEST_LIFE);
        let end_of_life = tokio::time::sleep(life);
        change(&tenant, round, &mut wanted, &mut deleted).await?;
        end_of_life.await;
        operator.kill();
    }
    let _operator = start(&tenant).await?;
    for name in wanted.keys() {
        tenant.database(name).ready().await?;
        tenant.migration(name).ready().await?;
    }
    for name in &deleted {
        tenant.database(name).gone().await?;
    }
    as_if_undisturbed(&tenant, &wanted).await
}

async fn start(tenant: &Tenant<'_>) -> anyhow::Result<testkit::operator::Operator> {
    tenant
        .operator(OPERATOR)
        .flag("--snapshot-interval=1s")
        // the lease of one that was killed would have to run out first
        .flag("--leader-election=false")
        .start()
        .await
}

/// Asks for something else in each round, so that there is always something to be in the middle of.
async fn change(
    tenant: &Tenant<'_>,
    round: usize,
    wanted: &mut BTreeMap<String, Wanted>,
    deleted: &mut BTreeSet<String>,
) -> anyhow::Result<()> {
    let name = match round % 6 {
        0 => {
            let name = format!("pr-{}", round / 6 + 1);
            wanted.insert(name.clone(), Wanted::new("preview", Some("rehearsal"), 5));
            name
        }
        1 => "live".to_owned(),
        2 => "workbench".to_owned(),
        3 => "pr-0".to_owned(),
        4 => "rehearsal".to_owned(),
        _ => {
            let name = format!("pr-{}", round / 6 + 1);
            if round % 12 == 5 {
                tenant.migration(&name).delete().await?;
                tenant.database(&name).delete().await?;
                wanted.remove(&name);
                deleted.insert(name);
                return Ok(());
            }
            name
        }
    };
    let Some(one) = wanted.get_mut(&name) else {
        return Ok(());
    };
    one.files += 1;
    if round % 6 == 2 || round % 6 == 4 {
        one.roles = ROLES.len();
    }
    if round % 6 == 3 {
        one.max_cu += 1.0;
    }
    apply(tenant, &one.objects(&name)).await
}
