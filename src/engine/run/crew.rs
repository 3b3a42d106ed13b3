//! Who works on a file: the two sessions, what may end the run, whoever listens; and how often
//! the file has given way to others.

use std::time::Duration;

use rand::RngExt;
use tokio::time::sleep;

use super::{Progress, RunError, RunRequest, control::Control, file::Worker, stop::Stop};

/// Pauses before starting over: from the first up to the longest, fully jittered.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
const SHORTEST_PAUSE: Duration = Duration::from_millis(50);

pub(super) struct Crew<'a, P> {
    pub(super) control: &'a mut Control,
    pub(super) worker: &'a mut Worker,
    pub(super) stop: &'a mut Stop,
    pub(super) progress: &'a mut P,
}

impl<P: FnMut(Progress) + Send> Crew<'_, P> {
    pub(super) fn tell(&mut self, progress: Progress) {
        (self.progress)(progress);
    }
}

/// How often something has been tried.
pub(super) struct Tries<'a> {
    request: &'a RunRequest,
    version: &'a str,
    /// From 1.
    pub(super) attempt: u32,
}

impl<'a> Tries<'a> {
    pub(super) fn new(request: &'a RunRequest, version: &'a str) -> Self {
        Self {
            request,
            version,
            attempt: 1,
        }
    }

    /// Pauses before the next try, if there is one left.
    pub(super) async fn again<P: FnMut(Progress) + Send>(
        &mut self,
        reason: String,
        crew: &mut Crew<'_, P>,
    ) -> Result<(), RunError> {
        if self.attempt > self.request.timeouts.retries {
            return Err(RunError::Transient(format!(
                "{} gave way {} times, at last because of: {reason}",
                self.version, self.attempt
            )));
        }
        let pause = pause(self.attempt);
        crew.tell(Progress::Retrying {
            version: self.version.to_owned(),
            reason,
            pause,
        });
        let pause = async {
            sleep(pause).await;
            Ok(())
        };
        crew.stop.or(pause).await?;
        self.attempt += 1;
        Ok(())
    }
}

fn pause(attempt: u32) -> Duration {
    let limit = FIRST_PAUSE
        .saturating_mul(2_u32.saturating_pow(attempt - 1))
        .min(LONGEST_PAUSE);
    limit
        .mul_f64(rand::rng().random::<f64>())
        .max(SHORTEST_PAUSE)
}
