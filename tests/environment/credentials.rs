//! What is published works, with exactly the rights of the role it names.

use testkit::operator::Platform;

use crate::start;

const LIVE: &str = "
apiVersion: sepulki.dev/v1alpha1
kind: NeonDatabase
metadata: {name: live}
spec:
  projectId: ${NEON_PROJECT_ID}
  environment: production
  databases:
    - {name: shop, owner: shop_owner, extensions: [{name: pgcrypto}]}
    - {name: ledger}
  roles:
    - {name: clerk, access: ReadWrite}
  connectionSecrets:
    - {name: live-clerk, role: clerk, database: shop}
";

#[tokio::test]
async fn smoke() -> anyhow::Result<()> {
    let tenant = Platform::shared().await?.tenant().await?;
    let _operator = start(&tenant).await?;
    tenant.apply(LIVE).await?;
    tenant.database("live").ready().await?;
    let clerk = tenant.published("live-clerk").await?;
    clerk.direct().await?;
    clerk.pooled().await?;
    Ok(())
}
