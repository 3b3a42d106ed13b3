//! Whether the compute starts with what is asked of it: what a failed operation says of that, and which setting it is about.
//! Pure.

use std::collections::BTreeMap;

use super::desired::Rest;
use crate::api::{NeonDatabaseStatus, Reason};
use crate::neon::{Endpoint, UpdateEndpoint};
use crate::reconcile::{Block, Class, Error};

/// What Neon does to have a compute run with what was asked of it, in its words.
const STARTS: [&str; 2] = ["start_compute", "apply_config"];

/// Who asked for an operation that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AskedBy {
    /// Whoever wanted the read-write compute to be made or changed.
    Compute,
    /// Something else that was wanted of the branch.
    Other,
    /// Nobody knows any more.
    Unknown,
}

/// Whether an operation that failed in these words tells that the read-write compute could not start. Operations of the
/// same kind bring about roles, databases and replicas.
#[must_use]
pub fn is_of_start(action: &str, words: &str, by: AskedBy, rest: &Rest) -> bool {
    let may_be = match by {
        AskedBy::Compute => true,
        AskedBy::Other => false,
        AskedBy::Unknown => rest.databases.is_empty() && rest.replicas.is_empty(),
    };
    let names_setting = blamed(words, &rest.compute.settings).is_some();
    STARTS.contains(&action) && (may_be && !lacks_room(words) || names_setting)
}

/// Whether the plan had no room for one more compute: it sleeps then, and the next connection starts it.
fn lacks_room(words: &str) -> bool {
    let words = words.to_lowercase();
    words.contains("exceeded")
        && ["limit", "quota"]
            .into_iter()
            .any(|one| words.contains(one))
}

/// What of the settings that the spec asks for a change brings that the compute does not have.
#[must_use]
pub fn changed(
    rest: &Rest,
    update: &UpdateEndpoint,
    endpoint: &Endpoint,
) -> BTreeMap<String, String> {
    let present = endpoint.pg_settings();
    let mut changed = update.pg_settings.clone().unwrap_or_default();
    changed.retain(|name, value| {
        rest.compute.settings.contains_key(name) && present.get(name) != Some(value)
    });
    changed
}

/// The setting that these words are about. PostgreSQL quotes the names of settings.
#[must_use]
pub fn blamed<'a>(words: &str, settings: &'a BTreeMap<String, String>) -> Option<&'a str> {
    let words = words.to_lowercase();
    let is_named = |name: &&String| words.contains(&format!("\"{}\"", name.to_lowercase()));
    settings.keys().find(is_named).map(String::as_str)
}

/// That the compute could not start when it was last to, and what to do about it; none where it could.
#[must_use]
pub fn failure(rest: &Rest, recorded: &NeonDatabaseStatus) -> Option<Block> {
    let words = recorded.endpoint.as_ref()?.failure.as_ref()?;
    let settings = &rest.compute.settings;
    if let Some(name) = blamed(words, settings) {
        return Some(Block {
            reason: Reason::DatabaseRejected,
            message: format!(
                "spec.compute.settings.{name}: the compute does not start with it: {words}"
            ),
        });
    }
    let with = if settings.is_empty() {
        String::new()
    } else {
        let names: Vec<&str> = settings.keys().map(String::as_str).collect();
        format!(" with spec.compute.settings ({})", names.join(", "))
    };
    Some(Block {
        reason: Reason::OperationFailed,
        message: format!("Neon could not start the compute{with}: {words}"),
    })
}

/// The failure that nothing but another spec can mend, as far as anybody can tell: either the words say so, or nothing of
/// the object opens a session, which would try.
#[must_use]
pub fn standstill(rest: &Rest, recorded: &NeonDatabaseStatus) -> Option<Block> {
    let failure = failure(rest, recorded)?;
    let certain = failure.reason == Reason::DatabaseRejected || rest.databases.is_empty();
    certain.then_some(failure)
}

/// That a database does not answer, where the compute could not start since it was given settings: a person has to look at
/// these, although it is tried again. Where it was not told to have failed it is left at a hint.
#[must_use]
pub fn explained(rest: &Rest, recorded: &NeonDatabaseStatus, error: Error) -> Error {
    if error.reason != Reason::DatabaseUnavailable || rest.compute.settings.is_empty() {
        return error;
    }
    match failure(rest, recorded) {
        Some(failure) => Error {
            class: Class::Invalid,
            reason: failure.reason,
            message: format!("{}; {}", failure.message, error.message),
            ..error
        },
        None => Error {
            message: format!(
                "{}; see whether PostgreSQL takes all of spec.compute.settings",
                error.message
            ),
            ..error
        },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::Environment;
    use crate::database::desired::Desired;
    use crate::database::fixtures::{object, settled};

    const NAMED: &str = "invalid value for parameter \"work_mem\": \"lots\"";
    const UNNAMED: &str = "the compute did not start";

    /// What is asked with these settings, with or without a database.
    fn asked(settings: &serde_json::Value, databases: bool) -> Desired {
        let mut spec = json!({"compute": {"settings": settings}});
        if !databases {
            spec["databases"] = json!([]);
            spec["roles"] = json!([]);
        }
        Desired::of(&object(Environment::Staging, spec), "default")
    }

    fn failed(desired: &Desired, words: &str) -> NeonDatabaseStatus {
        let mut recorded = settled(desired).recorded;
        if let Some(endpoint) = &mut recorded.endpoint {
            endpoint.failure = Some(words.to_owned());
        }
        recorded
    }

    #[test]
    fn a_failed_operation_is_of_the_compute_where_that_was_asked_for_or_a_setting_is_named() {
        use AskedBy::{Compute, Other, Unknown};
        let with = asked(&json!({"Work_Mem": "lots"}), true);
        let bare = asked(&json!({}), false);
        for (desired, action, words, by, expected) in [
            (&with, "start_compute", UNNAMED, Compute, true),
            (&with, "apply_config", UNNAMED, Compute, true),
            (&with, "create_branch", UNNAMED, Compute, false),
            (
                &with,
                "start_compute",
                "active endpoints limit exceeded",
                Compute,
                false,
            ),
            // of a role, for instance
            (&with, "apply_config", UNNAMED, Other, false),
            (&with, "apply_config", NAMED, Other, true),
            (&with, "apply_config", UNNAMED, Unknown, false),
            (&with, "start_compute", NAMED, Unknown, true),
            (&bare, "start_compute", UNNAMED, Unknown, true),
            (&bare, "start_compute", NAMED, Other, false),
        ] {
            let rest = desired.rest.as_ref().unwrap();
            let is = is_of_start(action, words, by, rest);
            assert_eq!(is, expected, "{action} {words} {by:?}");
        }
    }

    #[test]
    fn what_the_words_name_is_told_by_its_field_and_holds_everything_up() {
        let setting = json!({"work_mem": "lots", "jit": "off"});
        for (settings, databases, words, told, stands_still) in [
            (
                &setting,
                true,
                NAMED,
                "spec.compute.settings.work_mem: the compute does not start with it: ",
                true,
            ),
            (
                &setting,
                true,
                UNNAMED,
                "Neon could not start the compute with spec.compute.settings (jit, work_mem): ",
                false,
            ),
            (
                &setting,
                false,
                UNNAMED,
                "Neon could not start the compute with spec.compute.settings (jit, work_mem): ",
                true,
            ),
            (
                &json!({}),
                false,
                UNNAMED,
                "Neon could not start the compute: ",
                true,
            ),
        ] {
            let desired = asked(settings, databases);
            let (rest, recorded) = (desired.rest.as_ref().unwrap(), failed(&desired, words));
            let block = failure(rest, &recorded).unwrap();
            assert_eq!(block.message, format!("{told}{words}"));
            assert_eq!(
                standstill(rest, &recorded).is_some(),
                stands_still,
                "{words}"
            );
        }
        let desired = asked(&json!({}), true);
        let recorded = settled(&desired).recorded;
        assert_eq!(failure(desired.rest.as_ref().unwrap(), &recorded), None);
    }

    #[test]
    fn a_database_that_does_not_answer_since_is_for_a_person_to_look_at() {
        let away = || Error::new(Class::Transient, Reason::DatabaseUnavailable, "no answer");
        let with = asked(&json!({"jit": "off"}), true);
        let told = |desired: &Desired, recorded: &NeonDatabaseStatus| {
            explained(desired.rest.as_ref().unwrap(), recorded, away())
        };
        let stalled = told(&with, &failed(&with, UNNAMED));
        assert!(stalled.class.is_terminal(), "{stalled}");
        assert!(stalled.message.contains("settings (jit)"), "{stalled}");
        let passing = told(&with, &settled(&with).recorded);
        assert!(!passing.class.is_terminal(), "{passing}");
        assert!(
            passing.message.ends_with("spec.compute.settings"),
            "{passing}"
        );
        // no setting can be wrong
        let bare = asked(&json!({}), true);
        assert_eq!(told(&bare, &failed(&bare, UNNAMED)), away());
        let refused = Error::new(Class::Invalid, Reason::DatabaseRejected, "no");
        let rest = with.rest.as_ref().unwrap();
        assert_eq!(
            explained(rest, &failed(&with, UNNAMED), refused.clone()),
            refused
        );
    }
}
