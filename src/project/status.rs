//! How a NeonProject stands. Pure: the record of earlier actions, brought up to date with what Neon tells, and the
//! conditions that follow from both.

use jiff::Timestamp;

use super::desired::Desired;
use super::observe::Observed;
use super::settings::Settings;
use crate::api::{NeonProjectStatus, ProjectLimits, Reason};
use crate::reconcile::{Fact, Verdict, summarize};

/// The status as it should stand.
#[must_use]
pub fn project(
    recorded: &NeonProjectStatus,
    desired: &Desired,
    observed: Option<&Observed>,
    verdict: &Verdict,
    now: Timestamp,
) -> NeonProjectStatus {
    let mut status = recorded.clone();
    status.observed_generation = desired.generation;
    if let Some(observed) = observed {
        bring_up_to_date(&mut status, desired, observed);
    }
    let mut conditions = Vec::new();
    summarize(
        &mut conditions,
        &recorded.conditions,
        verdict,
        (Reason::Succeeded, summary(&status, desired)),
        desired.generation,
        now,
    );
    status.conditions = conditions;
    status
}

/// What Neon tells. Where it could not be asked, what it told last stays.
fn bring_up_to_date(status: &mut NeonProjectStatus, desired: &Desired, observed: &Observed) {
    let Fact::Known(project) = &observed.project else {
        return;
    };
    let owner = project.owner.clone().unwrap_or_default();
    status.plan = owner.subscription_type;
    status.limits = owner.branches_limit.map(|branches| ProjectLimits {
        branches: Some(branches),
    });
    status.key_kind = observed.key_kind;
    let managed = desired.settings.as_ref().ok();
    status.settings = managed.and_then(|managed| managed.as_in(&Settings::of(project)).as_spec());
    if managed.is_none_or(|managed| managed.0.is_empty()) {
        status.applied_settings = None;
    }
}

/// What a ready object says.
fn summary(status: &NeonProjectStatus, desired: &Desired) -> String {
    match &status.plan {
        Some(plan) => format!("project {} can be used (plan {plan})", desired.project),
        None => format!("project {} can be used", desired.project),
    }
}
