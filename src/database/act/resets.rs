//! Going back to the parent's state: what was asked for is taken up, or dropped. What Neon is asked is in
//! [`super::on_neon`].

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{Context, Pass, ignore};
use crate::api::{RESET, Reason};
use crate::database::observe::ResetAsked;
use crate::database::reset;
use crate::reconcile::Notice;

impl Context<'_> {
    /// Latched before anything is done, so that it is done once.
    pub(super) fn take_up_reset(&self, pass: &mut Pass, request: &str) {
        pass.status.handled.reset = Some(request.to_owned());
        match reset::problem(self.desired, self.observed, request, self.now) {
            None => {
                pass.status.reset_time = Some(Time(self.now));
                pass.status.reset_for = None;
                pass.status.handled.ignored = None;
                pass.notices.push(Notice {
                    warning: false,
                    reason: Reason::ResettingBranch,
                    message: format!(
                        "the branch goes back to its parent's state: {RESET}: {request}"
                    ),
                });
            }
            Some(message) => ignore(pass, message),
        }
    }

    /// What a migration asks for is done once as well: the reset ends the incarnation that it names.
    pub(super) fn take_up_reset_for(&self, pass: &mut Pass, asked: &ResetAsked) {
        pass.status.reset_time = Some(Time(self.now));
        pass.status.reset_for = Some(asked.by.clone());
        let (by, version) = (&asked.by, &asked.version);
        pass.notices.push(Notice {
            warning: true,
            reason: Reason::ResettingBranch,
            message: format!(
                "the branch goes back to its parent's state: SepulkiMigration {by} asks for it, because {version} was edited \
                 after it was applied"
            ),
        });
    }

    /// What was taken up and could not be done in time is told like what was not taken up at all. What a migration no longer
    /// asks for it tells by itself.
    pub(super) fn drop_reset(&self, pass: &mut Pass) {
        pass.status.reset_time = None;
        let by_migration = pass.status.reset_for.take().is_some();
        let why = reset::void(self.desired, self.observed, self.now);
        if let Some(message) = why.filter(|_| !by_migration) {
            ignore(pass, message);
        }
    }
}
