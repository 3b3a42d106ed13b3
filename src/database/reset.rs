//! Going back to the parent's state, because somebody asks for it, or a migration whose applied file was edited. Pure.
//!
//! What everything in the branch is lost by is asked with the branch's id and the time of asking, and only for environments
//! that are made to be thrown away: an annotation that is copied, applied again or found late does nothing. What a migration
//! asks for names the branch's incarnation as well, which is over with the reset.

use jiff::{SignedDuration, Timestamp};

use super::action::Action;
use super::desired::Desired;
use super::observe::{Observed, ResetAsked};
use super::plan::{LATER, block, given_up, wait};
use crate::api::{BranchOrigin, NeonDatabaseStatus, RESET, Reason};
use crate::neon::{Branch, BranchId};
use crate::reconcile::Decision;
use crate::world::Failure;

/// How long a request is good for.
const GOOD_FOR: SignedDuration = SignedDuration::from_mins(15);

/// Clocks of people and of the operator differ by no more than this.
const AHEAD: SignedDuration = SignedDuration::from_mins(5);

/// Why a request is not taken up, in words; nothing where it is.
#[must_use]
pub fn problem(
    desired: &Desired,
    observed: &Observed,
    request: &str,
    now: Timestamp,
) -> Option<String> {
    let recorded = observed.recorded.branch.as_ref();
    let parsed = request.rsplit_once('@');
    let parsed = parsed.and_then(|(id, time)| Some((id, time.parse::<Timestamp>().ok()?)));
    let Some((id, time)) = parsed else {
        return Some(format!(
            "{RESET}: {request} is not a branch's id, an @ and a time in the form of RFC 3339"
        ));
    };
    let age = now.duration_since(time);
    let why = if let Some(why) = never(desired, observed) {
        why
    } else if recorded.is_none_or(|branch| branch.id != id) {
        "that is not the id of this object's branch".to_owned()
    } else if age > GOOD_FOR {
        "that was asked more than 15 minutes ago".to_owned()
    } else if age < -AHEAD {
        "that time is in the future".to_owned()
    } else {
        return None;
    };
    Some(format!("{RESET}: {request}: {why}"))
}

/// Why this branch is not reset, whoever asks.
fn never(desired: &Desired, observed: &Observed) -> Option<String> {
    let recorded = observed.recorded.branch.as_ref();
    if !desired.environment.is_disposable() {
        Some(format!("a {} is not reset", desired.environment.as_str()))
    } else if recorded.is_some_and(|branch| branch.taken_over) {
        Some("a branch that was taken over is not reset".to_owned())
    } else if recorded.is_some_and(|branch| branch.parent_id.is_none()) {
        Some("the branch has no parent".to_owned())
    } else {
        None
    }
}

/// What a migration asks for, where the branch may be reset for it. What somebody has hung on another parent is not: going
/// back to that one is not what an edited file is about.
fn asked_by_migration<'a>(desired: &Desired, observed: &'a Observed) -> Option<&'a ResetAsked> {
    let asked = observed.reset_asked.as_ref()?;
    let allowed = never(desired, observed).is_none() && observed.other_parent.is_none();
    allowed.then_some(asked)
}

/// Whether a request of this time is still believed.
#[must_use]
pub fn is_timely(asked: Timestamp, now: Timestamp) -> bool {
    let age = now.duration_since(asked);
    age <= GOOD_FOR && age >= -AHEAD
}

/// How a branch came to an incarnation that is not on record yet.
///
/// Neon tells that a branch was set to another state, and not to which one. One that was set to a state of its own past hangs
/// on a copy of what it was before, and so has another parent; one that was set back to its parent has the same.
#[must_use]
pub fn origin(desired: &Desired, recorded: &NeonDatabaseStatus, branch: &Branch) -> BranchOrigin {
    let parent = recorded
        .branch
        .as_ref()
        .and_then(|b| b.parent_id.as_deref());
    let same_parent = parent.is_some() && parent == branch.parent_id.as_ref().map(BranchId::as_str);
    let by_us = recorded.reset_time.is_some();
    if by_us || (same_parent && desired.environment.is_disposable()) {
        BranchOrigin::Reset
    } else {
        BranchOrigin::Restored
    }
}

/// What to do about a request that is new, and about one that was taken up.
#[must_use]
pub fn decide(
    desired: &Desired,
    observed: &Observed,
    branch: &Branch,
    now: Timestamp,
) -> Option<Decision<Action>> {
    if let Some(request) = desired.asked.reset(&observed.recorded.handled) {
        return Some(Decision::Act(Action::TakeUpReset(request.clone())));
    }
    let by_migration = asked_by_migration(desired, observed);
    if let (None, Some(asked)) = (&observed.recorded.reset_time, by_migration) {
        return Some(Decision::Act(Action::TakeUpResetFor(asked.clone())));
    }
    let due = observed.recorded.reset_time.as_ref()?;
    let parent = branch.parent_id.as_ref()?;
    let name = &branch.name;
    // one that Neon is no longer at is not under way, whenever it was asked for
    if due.0 > now && !branch.was_given_up() {
        let resetting = given_up::resetting(name);
        let mut failures = observed.failures.iter();
        let failed = failures.find(|failure| failure.is_about(&resetting));
        // what it has begun may be seen late all the same
        if let Some(told) = failed.and_then(Failure::told) {
            return Some(wait(Reason::OperationFailed, told, LATER));
        }
        let message = format!("Neon was asked to reset the branch {name} and may be at it");
        return Some(wait(Reason::OperationsRunning, message, LATER));
    }
    // what nothing is left of to lose is brought back, however long ago it was asked for
    if !branch.was_given_up() && void(desired, observed, now).is_some() {
        return Some(Decision::Act(Action::DropReset));
    }
    if branch.protected {
        let message = format!(
            "the branch {name} is protected, and Neon does not reset it: set spec.branch.protected to false, or take the \
             annotation away to leave it as it is"
        );
        return Some(block(Reason::BranchProtected, message));
    }
    if !observed.children.is_empty() {
        let children = observed.children.join(", ");
        let instead = match &observed.recorded.reset_for {
            None => "take the annotation away".to_owned(),
            Some(by) => {
                format!(
                    "take back the edit, or set policies.onDivergence of SepulkiMigration {by} to Fail,"
                )
            }
        };
        let message = format!(
            "the branch {name} is not reset while it has children: {children}; {instead} to leave it as it is"
        );
        return Some(wait(Reason::ChildrenExist, message, LATER));
    }
    if !observed.branch_free {
        let message = "a migration is at work on this branch";
        return Some(wait(Reason::MigrationRunning, message, LATER));
    }
    Some(Decision::Act(Action::ResetBranch(parent.clone())))
}

/// Why a request that was taken up is not carried out any more, in words: it has waited for too long, was for another
/// branch, or whoever asked has thought better of it.
#[must_use]
pub fn void(desired: &Desired, observed: &Observed, now: Timestamp) -> Option<String> {
    if let Some(by) = &observed.recorded.reset_for {
        let asked = asked_by_migration(desired, observed);
        let stands = asked.is_some_and(|asked| asked.by == *by);
        return (!stands).then(|| format!("SepulkiMigration {by} no longer asks for a reset"));
    }
    let request = observed.recorded.handled.reset.clone().unwrap_or_default();
    let withdrawn = desired.asked.reset.as_ref() != Some(&request);
    problem(desired, observed, &request, now)
        .or_else(|| withdrawn.then(|| format!("{RESET}: {request}: that was withdrawn")))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;
    use crate::api::Environment;
    use crate::database::fixtures::{a_failure, desired, now, recorded, seen, settled};
    use crate::database::observe::ResetAsked;
    use crate::neon::BranchState;
    use crate::world::UNANSWERED;

    fn ago(minutes: i64) -> String {
        format!("br-it@{}", now() - SignedDuration::from_mins(minutes))
    }

    fn preview() -> (Desired, Observed) {
        let desired = desired(Environment::Preview);
        let observed = settled(&desired);
        (desired, observed)
    }

    fn decided(desired: &Desired, observed: &mut Observed) -> Option<Decision<Action>> {
        let branch = seen(observed).clone();
        decide(desired, observed, &branch, now())
    }

    #[test]
    fn a_request_says_which_branch_and_when() {
        let (desired, observed) = preview();
        let problem = |request: &str| problem(&desired, &observed, request, now());
        assert_eq!(problem(&ago(0)), None);
        assert_eq!(problem(&ago(15)), None);
        assert_eq!(problem(&ago(-5)), None);
        for (request, part) in [
            (ago(16), "15 minutes"),
            (ago(-6), "in the future"),
            (ago(0).replace("br-it", "br-other"), "not the id"),
            ("br-it".to_owned(), "RFC 3339"),
            ("br-it@now".to_owned(), "RFC 3339"),
        ] {
            let told = problem(&request).unwrap();
            assert!(told.contains(part) && told.contains(&request), "{told}");
        }
    }

    #[test]
    fn only_what_is_made_to_be_thrown_away_is_reset() {
        for (environment, allowed) in [
            (Environment::Production, false),
            (Environment::Staging, false),
            (Environment::Development, true),
            (Environment::Preview, true),
        ] {
            let desired = desired(environment);
            let mut observed = settled(&desired);
            assert_eq!(
                problem(&desired, &observed, &ago(0), now()).is_none(),
                allowed
            );
            recorded(&mut observed).taken_over = true;
            assert!(problem(&desired, &observed, &ago(0), now()).is_some());
        }
        let (desired, mut observed) = preview();
        recorded(&mut observed).parent_id = None;
        let why = problem(&desired, &observed, &ago(0), now()).unwrap();
        assert!(why.contains("no parent"), "{why}");
    }

    #[test]
    fn what_was_set_back_to_its_parent_is_told_from_what_was_restored() {
        let cases = [
            (
                Environment::Preview,
                "br-parent",
                false,
                BranchOrigin::Reset,
            ),
            (
                Environment::Development,
                "br-parent",
                false,
                BranchOrigin::Reset,
            ),
            (
                Environment::Staging,
                "br-parent",
                false,
                BranchOrigin::Restored,
            ),
            (
                Environment::Production,
                "br-parent",
                false,
                BranchOrigin::Restored,
            ),
            (
                Environment::Preview,
                "br-before",
                false,
                BranchOrigin::Restored,
            ),
            (Environment::Preview, "br-before", true, BranchOrigin::Reset),
        ];
        for (environment, parent, by_us, expected) in cases {
            let desired = desired(environment);
            let mut observed = settled(&desired);
            seen(&mut observed).parent_id = Some(parent.into());
            observed.recorded.reset_time = by_us.then(|| Time(now()));
            let branch = seen(&mut observed).clone();
            let told = origin(&desired, &observed.recorded, &branch);
            assert_eq!(told, expected, "{environment:?} {parent} {by_us}");
        }
        // a branch without a parent cannot have been set back to it
        let (desired, mut observed) = preview();
        recorded(&mut observed).parent_id = None;
        seen(&mut observed).parent_id = None;
        let branch = seen(&mut observed).clone();
        assert_eq!(
            origin(&desired, &observed.recorded, &branch),
            BranchOrigin::Restored
        );
    }

    #[test]
    fn a_request_is_taken_up_first_and_carried_out_when_nothing_is_in_the_way() {
        let (mut desired, mut observed) = preview();
        assert_eq!(decided(&desired, &mut observed), None);
        desired.asked.reset = Some(ago(0));
        let take_up = Some(Decision::Act(Action::TakeUpReset(ago(0))));
        assert_eq!(decided(&desired, &mut observed), take_up);
        observed.recorded.handled.reset = Some(ago(0));
        assert_eq!(decided(&desired, &mut observed), None);

        observed.recorded.reset_time = Some(Time(now()));
        let reset = Some(Decision::Act(Action::ResetBranch("br-parent".into())));
        assert_eq!(decided(&desired, &mut observed), reset);
        let waits = |change: fn(&mut Observed)| {
            let mut observed = observed.clone();
            change(&mut observed);
            match decided(&desired, &mut observed) {
                Some(Decision::Wait(wait)) => wait.reason,
                Some(Decision::Blocked(block)) => block.reason,
                other => panic!("{other:?}"),
            }
        };
        let later = |o: &mut Observed| o.recorded.reset_time = Some(Time(now() + UNANSWERED));
        assert_eq!(waits(later), Reason::OperationsRunning);
        let failed = |o: &mut Observed| {
            o.recorded.reset_time = Some(Time(now() + UNANSWERED));
            o.failures = vec![a_failure("reset the branch preview/team/it")];
        };
        assert_eq!(waits(failed), Reason::OperationFailed);
        assert_eq!(waits(|o| seen(o).protected = true), Reason::BranchProtected);
        assert_eq!(
            waits(|o| o.children = vec!["x".into()]),
            Reason::ChildrenExist
        );
        assert_eq!(waits(|o| o.branch_free = false), Reason::MigrationRunning);
    }

    fn asked_by(migration: &str) -> ResetAsked {
        ResetAsked {
            by: migration.into(),
            version: "001_a.sql".into(),
        }
    }

    #[test]
    fn what_a_migration_asks_for_is_taken_up_once_and_dropped_when_it_is_withdrawn() {
        let (desired, mut observed) = preview();
        observed.reset_asked = Some(asked_by("m"));
        let take_up = Some(Decision::Act(Action::TakeUpResetFor(asked_by("m"))));
        assert_eq!(decided(&desired, &mut observed), take_up);
        observed.recorded.reset_time = Some(Time(now()));
        observed.recorded.reset_for = Some("m".into());
        let reset = Some(Decision::Act(Action::ResetBranch("br-parent".into())));
        assert_eq!(decided(&desired, &mut observed), reset);
        let dropped = Some(Decision::Act(Action::DropReset));
        observed.reset_asked = Some(asked_by("another"));
        assert_eq!(decided(&desired, &mut observed), dropped);
        observed.reset_asked = None;
        assert_eq!(decided(&desired, &mut observed), dropped);
        observed.reset_asked = Some(asked_by("m"));
        observed.other_parent = Some("before (br-2)".into());
        assert_eq!(decided(&desired, &mut observed), dropped);
    }

    #[test]
    fn children_in_the_way_are_told_with_the_way_out_of_whoever_asked() {
        let (desired, mut observed) = preview();
        observed.reset_asked = Some(asked_by("m"));
        observed.recorded.reset_time = Some(Time(now()));
        observed.recorded.reset_for = Some("m".into());
        observed.children = vec!["preview/team/pr-8".into()];
        let Some(Decision::Wait(wait)) = decided(&desired, &mut observed) else {
            panic!("children are in the way");
        };
        assert_eq!(wait.reason, Reason::ChildrenExist);
        for part in ["preview/team/pr-8", "SepulkiMigration m to Fail"] {
            assert!(wait.message.contains(part), "{}", wait.message);
        }
    }

    #[test]
    fn what_is_never_reset_is_not_reset_for_a_migration_either() {
        for environment in [Environment::Production, Environment::Staging] {
            let desired = self::desired(environment);
            let mut observed = settled(&desired);
            observed.reset_asked = Some(asked_by("m"));
            assert_eq!(decided(&desired, &mut observed), None);
        }
        let (desired, mut observed) = preview();
        observed.reset_asked = Some(asked_by("m"));
        observed.other_parent = Some("before (br-2)".into());
        assert_eq!(decided(&desired, &mut observed), None);
        observed.other_parent = None;
        recorded(&mut observed).taken_over = true;
        assert_eq!(decided(&desired, &mut observed), None);
    }

    #[test]
    fn a_request_that_has_waited_for_too_long_or_was_for_another_branch_is_dropped() {
        let (mut desired, mut observed) = preview();
        observed.recorded.reset_time = Some(Time(now()));
        let mut asked = |request: Option<String>, given_up: bool| {
            desired.asked.reset.clone_from(&request);
            observed.recorded.handled.reset = request;
            seen(&mut observed).current_state = if given_up {
                BranchState::Resetting
            } else {
                BranchState::Ready
            };
            decided(&desired, &mut observed)
        };
        let dropped = Some(Decision::Act(Action::DropReset));
        let reset = Some(Decision::Act(Action::ResetBranch("br-parent".into())));
        let another = ago(0).replace("br-it", "br-before");
        assert_eq!(asked(Some(ago(15)), false), reset);
        assert_eq!(asked(Some(ago(16)), false), dropped);
        assert_eq!(asked(Some(another), false), dropped);
        assert_eq!(asked(None, false), dropped);
        assert_eq!(asked(Some(ago(16)), true), reset);
        desired.asked.reset = None;
        observed.recorded.handled.reset = Some(ago(0));
        assert_eq!(
            decided(&desired, &mut observed),
            reset,
            "nothing is left to lose"
        );
        seen(&mut observed).current_state = BranchState::Ready;
        assert_eq!(decided(&desired, &mut observed), dropped, "withdrawn");
    }
}
