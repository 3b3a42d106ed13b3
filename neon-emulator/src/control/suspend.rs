//! Scale to zero as Neon does it: a compute whose clients did nothing for its timeout is
//! suspended, open idle connections notwithstanding.

use std::{sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use tokio::time::sleep;

use super::Control;
use crate::state::{
    model::{Endpoint, EndpointKind},
    operation::{Action, Work},
};

/// What `suspend_timeout_seconds: 0` means on Neon.
const DEFAULT_TIMEOUT_SECONDS: u32 = 300;

/// Looks at all computes until the emulator stops.
pub(super) async fn run(control: Arc<Control>) {
    let stopping = control.stopping.clone();
    let forever = async {
        loop {
            sleep(control.pace.poll).await;
            control.suspend_idle().await;
        }
    };
    stopping.run_until_cancelled(forever).await;
}

impl Control {
    async fn suspend_idle(&self) {
        for compute in self.all_computes() {
            if !compute.is_active() {
                continue;
            }
            let Some((project_id, endpoint)) = self.find(&compute.endpoint_id) else {
                continue;
            };
            let Some(timeout) = self.timeout(&endpoint) else {
                continue;
            };
            let Ok(idle_since) = Timestamp::now().checked_sub(timeout) else {
                continue;
            };
            compute.observe().await;
            if compute.last_active() > idle_since {
                continue;
            }
            // What SQL did to roles and databases would be out of sight while it sleeps.
            if endpoint.kind == EndpointKind::ReadWrite {
                self.sync_catalog(&project_id, &endpoint).await;
            }
            if compute.suspend_if_idle(idle_since).await {
                self.suspended(&project_id, &endpoint.id);
                self.note(
                    &project_id,
                    Action::SuspendCompute,
                    &endpoint,
                    Work::SuspendCompute,
                );
            }
        }
    }

    /// How long a compute may idle; `None` for ever.
    fn timeout(&self, endpoint: &Endpoint) -> Option<SignedDuration> {
        let seconds = match endpoint.compute.suspend_timeout_seconds {
            0 => DEFAULT_TIMEOUT_SECONDS,
            given => u32::try_from(given).ok()?,
        };
        let timeout: Duration = self.pace.idle_second.checked_mul(seconds)?;
        SignedDuration::try_from(timeout).ok()
    }
}
