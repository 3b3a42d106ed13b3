//! Scale to zero as Neon does it: a compute whose clients did nothing for its timeout is
//! suspended, open idle connections notwithstanding.

use std::{sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use tokio::time::sleep;

use super::Control;
use crate::{
    postgres::server::Stop,
    state::{
        model::{Endpoint, EndpointKind},
        operation::{Action, Work},
    },
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
            if self.is_exhausted(&project_id) {
                if compute.suspend(Stop::Fast).await {
                    self.note_suspension(&project_id, &endpoint);
                }
                continue;
            }
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
                self.note_suspension(&project_id, &endpoint);
            }
        }
    }

    /// Whether a project's quota is used up, for which its computes do not run any more.
    fn is_exhausted(&self, project_id: &str) -> bool {
        self.store.read(|state| {
            let project = state.projects.get(project_id);
            project.is_some_and(|project| self.usage.is_exhausted(project, Timestamp::now()))
        })
    }

    fn note_suspension(&self, project_id: &str, endpoint: &Endpoint) {
        self.suspended(project_id, &endpoint.id);
        let (action, work) = (Action::SuspendCompute, Work::SuspendCompute);
        self.note(project_id, action, endpoint, work);
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
