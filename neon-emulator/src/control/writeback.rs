//! Keeps little of what servers write in memory alone, where branches are clones.

use std::{path::PathBuf, sync::Arc, time::Duration};

use tokio::{task::spawn_blocking, time::sleep};

use super::Control;
use crate::{postgres::writeback::Writeback, state::model::EndpointKind};

/// The time between two looks: what a server writes meanwhile is what a clone waits for.
const EVERY: Duration = Duration::from_millis(200);

/// Looks at the data of running servers until the emulator stops.
pub(super) async fn run(control: Arc<Control>) {
    let stopping = control.stopping.clone();
    let forever = async {
        let mut writeback = Writeback::default();
        loop {
            sleep(EVERY).await;
            // Where files are copied nobody waits for the disk.
            if control.postgres.copier().cloned() == 0 {
                continue;
            }
            let written = control.written();
            let looked = spawn_blocking(move || {
                writeback.look(&written);
                writeback
            });
            writeback = looked.await.unwrap_or_default();
        }
    };
    stopping.run_until_cancelled(forever).await;
}

impl Control {
    /// The data directories to which servers write: not those of read replicas, which nobody copies.
    fn written(&self) -> Vec<PathBuf> {
        self.store.read(|state| {
            let projects = state.projects.values();
            let writers = projects.flat_map(|project| {
                let endpoints = project.endpoints.values();
                endpoints
                    .filter(|it| it.kind == EndpointKind::ReadWrite && self.is_active(it))
                    .filter_map(|it| project.branches.get(&it.branch_id))
            });
            let data = writers.map(|branch| self.postgres.data(&branch.timeline));
            data.collect()
        })
    }
}
