//! Two operators of one installation, as where somebody has installed it twice: one acts, the other waits and takes over.

use std::pin::pin;

use anyhow::{bail, ensure};
use testkit::operator::{Platform, Tenant};

use crate::{shop, start};

#[tokio::test]
async fn of_two_operators_one_acts_and_the_other_takes_over_when_it_is_killed() -> anyhow::Result<()>
{
    let tenant = Platform::shared().await?.tenant().await?;
    let first = start(&tenant).await?;
    shop::apply(&tenant, &[shop::small("live", "production", None)]).await?;
    tenant.database("live").ready().await?;
    // one that waits for the lease looks at nothing, and so is not ready
    let mut second = pin!(start(&tenant));
    tokio::select! {
        done = becomes_ready(&tenant, "pr-1") => done?,
        _ = &mut second => bail!("two operators act at once"),
    }
    first.kill();
    let second = second.await?;
    becomes_ready(&tenant, "pr-2").await?;
    ensure!(second.counter("sepulki_branches").await? == 3);
    let branches = tenant.platform().neon().branches(tenant.project()).await?;
    ensure!(branches.len() == 3, "{branches:?}");
    second.stop().await
}

async fn becomes_ready(tenant: &Tenant<'_>, preview: &str) -> anyhow::Result<()> {
    shop::apply(tenant, &[shop::small(preview, "preview", Some("live"))]).await?;
    tenant.database(preview).ready().await?;
    Ok(())
}
