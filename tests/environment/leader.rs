//! Two operators of one installation, as where somebody has installed it twice: one acts, the other waits and takes over.

use anyhow::ensure;
use testkit::operator::{Operator, Platform, Tenant};

use crate::{shop, start};

#[tokio::test]
async fn of_two_operators_one_acts_and_the_other_takes_over_when_it_is_killed() -> anyhow::Result<()>
{
    let tenant = Platform::shared().await?.tenant().await?;
    let first = start(&tenant).await?;
    shop::apply(&tenant, &[shop::small("live", "production", None)]).await?;
    tenant.database("live").ready().await?;
    // ready to take over, and until then it looks at nothing
    let second = start(&tenant).await?;
    becomes_ready(&tenant, "pr-1").await?;
    ensure!(works(&first).await?, "nobody acts");
    ensure!(!works(&second).await?, "two operators act at once");
    first.kill();
    becomes_ready(&tenant, "pr-2").await?;
    ensure!(second.counter("sepulki_branches").await? == 3);
    let branches = tenant.platform().neon().branches(tenant.project()).await?;
    ensure!(branches.len() == 3, "{branches:?}");
    second.stop().await
}

/// Whether it has looked at any object, or asked Neon anything.
async fn works(operator: &Operator) -> anyhow::Result<bool> {
    let metrics = operator.metrics().await?;
    let mut lines = metrics.lines();
    Ok(lines.any(|line| {
        line.starts_with("sepulki_reconcile_passes_total{")
            || line.starts_with("sepulki_neon_requests_total{")
    }))
}

async fn becomes_ready(tenant: &Tenant<'_>, preview: &str) -> anyhow::Result<()> {
    shop::apply(tenant, &[shop::small(preview, "preview", Some("live"))]).await?;
    tenant.database(preview).ready().await?;
    Ok(())
}
