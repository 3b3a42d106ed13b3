//! What to do next about a NeonProject. Pure and total: `decide` takes what is asked and what is known, and answers one
//! thing. The first row that applies is the answer.
//!
//! | # | asked and known | answer |
//! |---|---|---|
//! | 1 | being deleted: our finalizer is gone | Gone |
//! | 2 | … NeonDatabases refer to it | Wait InUse |
//! | 3 | … else | ReleaseFinalizer |
//! | 4 | the settings cannot be read | Blocked InvalidSpec |
//! | 5 | our finalizer is missing | AddFinalizer |
//! |   | an annotation asks to look again | LookAgain |
//! | 6 | no key; key refused; project unknown | Wait KeyNotFound; Blocked KeyRefused; Blocked ProjectNotFound |
//! | 7 | operations running; all of them ended | Wait OperationsRunning; ForgetOperations |
//! | 8 | the project is not known | Wait NeonUnavailable |
//! | 9 | settings that nobody older asks for differ from Neon's, and not because Neon made others of them | ApplySettings |
//! | 10 | an older object asks for another value of a setting | Blocked SettingClaimed |
//! | 11 | else | Settled |
//! | any | Neon is to do something, and could not do that very thing a short while ago | Wait OperationFailed |
//!
//! Row 9 comes before row 10: two objects that quarrel about one setting do not keep the others from being made.

use std::time::Duration;

use jiff::Timestamp;

use super::action::Action;
use super::desired::Desired;
use super::observe::{Key, Observed};
use super::settings::{Setting, Settings};
use crate::api::Reason;
use crate::neon;
use crate::reconcile::{Block, Decision, Fact, Wait, looks_again};
use crate::world::{Operation, patiently};

/// How soon to look again at something that others have to bring about; objects also wake us.
const LATER: Duration = Duration::from_secs(15);

/// How many users a message names.
const NAMED: usize = 5;

type Next = Decision<Action>;

/// Chooses the next thing to do.
#[must_use]
pub fn decide(desired: &Desired, observed: &Observed, now: Timestamp) -> Next {
    let next = by_the_table(desired, observed);
    patiently(next, &observed.failures, asked_of_neon, now)
}

/// What Neon is asked for by this action and works on by operations, as in "Neon could not …".
#[must_use]
pub fn asked_of_neon(action: &Action) -> Option<String> {
    match action {
        Action::ApplySettings(settings) => Some(format!("set {settings}")),
        Action::AddFinalizer
        | Action::LookAgain
        | Action::ForgetOperations
        | Action::ReleaseFinalizer => None,
    }
}

fn by_the_table(desired: &Desired, observed: &Observed) -> Next {
    if desired.deleting {
        return deletion(desired, observed);
    }
    let settings = match &desired.settings {
        Ok(settings) => settings,
        Err(block) => return Decision::Blocked(block.clone()),
    };
    if !desired.has_finalizer {
        return Decision::Act(Action::AddFinalizer);
    }
    if looks_again(&desired.asked, &observed.recorded.handled) {
        return Decision::Act(Action::LookAgain);
    }
    match &observed.key {
        Key::Good => {}
        Key::Missing(message) => return wait(Reason::KeyNotFound, message, LATER),
        Key::Refused(message) => return block(Reason::KeyRefused, message),
        Key::NoProject(message) => return block(Reason::ProjectNotFound, message),
    }
    if let Some(next) = operations(observed) {
        return next;
    }
    let Fact::Known(project) = &observed.project else {
        return wait(
            Reason::NeonUnavailable,
            "the project could not be looked up",
            LATER,
        );
    };
    if let Some(change) = change(&ours(desired, observed), project, observed) {
        return Decision::Act(Action::ApplySettings(change));
    }
    match contested(settings, observed).as_slice() {
        [] => Decision::Settled(observed.interval),
        contested => {
            let told: Vec<String> = contested.iter().map(Contested::told).collect();
            block(Reason::SettingClaimed, told.join("; "))
        }
    }
}

/// The settings that no older object wants otherwise.
#[must_use]
pub fn ours(desired: &Desired, observed: &Observed) -> Settings {
    let Ok(settings) = &desired.settings else {
        return Settings::default();
    };
    let contested = contested(settings, observed);
    settings.only(|setting, _| !contested.iter().any(|one| one.setting == setting))
}

/// Rows 1 to 3.
fn deletion(desired: &Desired, observed: &Observed) -> Next {
    if !desired.has_finalizer {
        return Decision::Gone;
    }
    if observed.users.is_empty() {
        return Decision::Act(Action::ReleaseFinalizer);
    }
    let named: Vec<&str> = observed
        .users
        .iter()
        .take(NAMED)
        .map(String::as_str)
        .collect();
    let more = match observed.users.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let message = format!(
        "NeonDatabases still need its key: {}{more}; it goes when they have gone",
        named.join(", ")
    );
    wait(Reason::InUse, message, LATER)
}

/// Row 7.
fn operations(observed: &Observed) -> Option<Next> {
    if observed.operations.is_empty() {
        return None;
    }
    Some(match Operation::at_work(&observed.operations) {
        Some(busy) => wait(Reason::OperationsRunning, busy.message, busy.after),
        None => Decision::Act(Action::ForgetOperations),
    })
}

/// The settings that have to be sent to Neon; none where Neon has them, or has made of them what it wanted.
fn change(ours: &Settings, project: &neon::Project, observed: &Observed) -> Option<Settings> {
    let have = ours.as_in(&Settings::of(project));
    let differ = ours.unlike(&have);
    if differ.0.is_empty() {
        return None;
    }
    let sent = observed.recorded.applied_settings.as_ref();
    let as_answered =
        sent.is_some_and(|sent| sent.requested == ours.digest() && sent.stored == have.digest());
    (!as_answered).then_some(differ)
}

/// A setting that an older object wants otherwise.
struct Contested {
    setting: Setting,
    by: String,
    theirs: String,
}

impl Contested {
    fn told(&self) -> String {
        let Self {
            setting,
            by,
            theirs,
        } = self;
        let field = setting.field();
        format!(
            "{field}: NeonProject {by}, which is older, asks for {theirs}; make them agree, or take one away"
        )
    }
}

fn contested(settings: &Settings, observed: &Observed) -> Vec<Contested> {
    let mut found = Vec::new();
    for (setting, value) in &settings.0 {
        let theirs = observed.claims.iter().find_map(|claim| {
            let theirs = claim.settings.0.get(setting)?;
            Some((&claim.by, theirs))
        });
        // of several older ones the oldest counts
        if let Some((by, theirs)) = theirs.filter(|(_, theirs)| *theirs != value) {
            found.push(Contested {
                setting: *setting,
                by: by.clone(),
                theirs: theirs.to_string(),
            });
        }
    }
    found
}

fn wait(reason: Reason, message: impl Into<String>, after: Duration) -> Next {
    Decision::Wait(Wait {
        reason,
        message: message.into(),
        after,
    })
}

fn block(reason: Reason, message: impl Into<String>) -> Next {
    Decision::Blocked(Block {
        reason,
        message: message.into(),
    })
}

#[cfg(test)]
mod tests;
