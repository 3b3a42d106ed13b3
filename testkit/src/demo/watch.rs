//! Waiting for objects to become ready, with what they say meanwhile on the screen.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, ListParams},
};
use serde_json::Value;

use super::NAMESPACE;
use crate::{
    environment::{self, Places},
    progress::{Redrawn, is_terminal, note, styled},
};

/// How long environments may take; some 20 seconds are usual on an idle machine.
const DEADLINE: Duration = Duration::from_mins(4);
const INTERVAL: Duration = Duration::from_millis(250);
/// Kinds by the short names that people type: kind, plural.
const KINDS: [(&str, &str, &str); 2] = [
    ("neondb", "NeonDatabase", "neondatabases"),
    ("sepmig", "SepulkiMigration", "sepulkimigrations"),
];

/// What an object says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct State {
    /// Ready, and that for what its spec says now.
    pub(crate) ready: bool,
    /// One word on why or why not.
    pub(crate) reason: String,
    /// The same for people.
    message: String,
    /// A NeonDatabase's branch, or the version a SepulkiMigration has reached.
    pub(crate) reached: String,
}

/// The states of the demo's objects, by names such as `neondb/staging`.
pub(crate) type States = BTreeMap<String, State>;

/// Shows all objects until those of `names` (of both kinds) are ready, and `also` holds.
///
/// # Errors
/// If that takes too long (the message tells what the others say), or a part of the environment ends.
pub(crate) async fn until_ready(
    client: &Client,
    places: &Places,
    names: &[&str],
    also: impl Fn(&States) -> bool,
) -> anyhow::Result<()> {
    let start = Instant::now();
    let mut screen = Screen::new(start);
    loop {
        let states = states(client).await?;
        screen.show(&states);
        let waiting: Vec<_> = unready(&states, names).collect();
        if waiting.is_empty() && also(&states) {
            note(&format!("after {:.1} s", start.elapsed().as_secs_f64()));
            return Ok(());
        }
        for part in environment::status(places)? {
            ensure!(part.pid.is_some(), "{} has ended", part.name);
        }
        if start.elapsed() > DEADLINE {
            bail!(
                "after {DEADLINE:?} this is not ready:\n{}",
                waiting.join("\n")
            );
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

/// A line for each object that is not ready, or not there.
fn unready<'a>(states: &'a States, names: &'a [&str]) -> impl Iterator<Item = String> + 'a {
    KINDS.iter().flat_map(move |(short, ..)| {
        names.iter().filter_map(move |name| {
            let name = format!("{short}/{name}");
            match states.get(&name) {
                None => Some(format!("  {name} is not there")),
                Some(state) if state.ready => None,
                Some(state) => Some(format!("  {name} {}: {}", state.reason, state.message)),
            }
        })
    })
}

/// All objects of both kinds.
pub(crate) async fn states(client: &Client) -> anyhow::Result<States> {
    let mut states = States::new();
    for (short, kind, plural) in KINDS {
        let resource = ApiResource {
            group: "sepulki.dev".to_owned(),
            version: "v1alpha1".to_owned(),
            api_version: "sepulki.dev/v1alpha1".to_owned(),
            kind: kind.to_owned(),
            plural: plural.to_owned(),
        };
        let list = Api::<DynamicObject>::namespaced_with(client.clone(), NAMESPACE, &resource)
            .list(&ListParams::default())
            .await
            .with_context(|| format!("list {plural}"))?;
        for object in list {
            let name = object.metadata.name.as_deref().unwrap_or_default();
            states.insert(format!("{short}/{name}"), state(&object));
        }
    }
    Ok(states)
}

fn state(object: &DynamicObject) -> State {
    let ready = object
        .data
        .pointer("/status/conditions")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .find(|condition| text(condition, "/type") == "Ready");
    let current = ready.and_then(|ready| ready.pointer("/observedGeneration")?.as_i64())
        == object.metadata.generation;
    let ready_text = |field| ready.map_or("", |ready| text(ready, field)).to_owned();
    let reached = match text(&object.data, "/status/applied/lastVersion") {
        "" => text(&object.data, "/status/branch/name").to_owned(),
        version => format!("{} {version}", text(&object.data, "/status/progressText")),
    };
    State {
        ready: current && ready_text("/status") == "True",
        // What was said of an older spec says nothing about this one.
        reason: if current {
            ready_text("/reason")
        } else {
            String::new()
        },
        message: if current {
            ready_text("/message")
        } else {
            String::new()
        },
        reached,
    }
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// A table that changes in place on a terminal; elsewhere one line for each change.
struct Screen {
    start: Instant,
    table: Redrawn,
    before: States,
}

impl Screen {
    fn new(start: Instant) -> Self {
        Self {
            start,
            table: Redrawn::default(),
            before: States::new(),
        }
    }

    fn show(&mut self, states: &States) {
        if is_terminal() {
            let lines: Vec<_> = states
                .iter()
                .map(|(name, state)| format!("    {}", row(name, state)))
                .collect();
            self.table.show(&lines);
            return;
        }
        for (name, state) in states {
            let news = match self.before.get(name) {
                Some(before) => before.reason != state.reason || before.ready != state.ready,
                None => !state.ready,
            };
            if news {
                note(&format!(
                    "{:5.1} s  {}",
                    self.start.elapsed().as_secs_f64(),
                    row(name, state)
                ));
            }
        }
        self.before.clone_from(states);
    }
}

fn row(name: &str, state: &State) -> String {
    let (mark, text) = if state.ready {
        (styled("32", "Ready"), &state.reached)
    } else {
        ("-    ".to_owned(), &state.message)
    };
    format!("{name:<18}  {mark}  {:<18}  {text}", state.reason)
        .trim_end()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(generation: i64, observed: i64, status: &str) -> DynamicObject {
        serde_json::from_value(json!({
            "apiVersion": "sepulki.dev/v1alpha1",
            "kind": "NeonDatabase",
            "metadata": { "name": "staging", "generation": generation },
            "status": { "conditions": [{
                "type": "Ready", "status": status, "observedGeneration": observed,
                "reason": "Succeeded", "message": "",
            }]},
        }))
        .unwrap()
    }

    #[test]
    fn ready_counts_only_for_the_spec_it_was_said_of() {
        assert!(state(&object(2, 2, "True")).ready);
        assert!(!state(&object(2, 1, "True")).ready);
        assert!(!state(&object(2, 2, "False")).ready);
    }

    #[test]
    fn an_object_that_is_missing_is_waited_for() {
        let states = States::from([("neondb/staging".to_owned(), state(&object(1, 1, "True")))]);
        let lines: Vec<_> = unready(&states, &["staging"]).collect();
        assert_eq!(lines, ["  sepmig/staging is not there"]);
    }
}
