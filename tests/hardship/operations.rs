//! Neon answers that it has begun, and then its operation fails. What it should have brought about is looked at, and asked
//! for again where it is missing.

use anyhow::ensure;
use neon_emulator::{Effect, Fault, Outcome};
use testkit::operator::{Neon, Platform};

use crate::manifests::branch;
use crate::scene::Scene;

#[tokio::test]
async fn what_a_failed_operation_left_undone_is_done() -> anyhow::Result<()> {
    let platform = Platform::with_neon(Neon::config()).await?;
    let scene = Scene::on(&platform).await?;
    let emulator = platform.neon().emulator();
    for action in ["start_compute", "apply_config"] {
        emulator.set_fault(Fault::of(Effect::Operation {
            action: Some(action.to_owned()),
            outcome: Outcome::Fail,
        }))?;
        let name = action.replace('_', "-");
        let mut object = branch(&name);
        // one that the parent does not have: a role and a database are made by Neon for it
        object["spec"]["databases"][0]["name"] = "stock".into();
        scene.apply(&[object]).await?;
        scene.tenant.database(&name).ready().await?;
        scene.tenant.published(&name).await?.direct().await?;
        ensure!(emulator.faults().is_empty(), "{action} was not met");
    }
    Ok(())
}
