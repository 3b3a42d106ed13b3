//! Who may use a NeonProject, and how many branches they may have: its access rules, read for one NeonDatabase. Pure.
//!
//! Rules are asked only about a branch that is to be made or taken over. One that exists is never touched because a
//! rule was changed or taken away.

use std::collections::BTreeMap;

use crate::api::{AccessRule, Environment};

/// Labels of a namespace.
pub type Labels = BTreeMap<String, String>;

/// On which terms a NeonProject lets this object use its project.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Terms {
    /// Name of the NeonProject.
    pub project: String,
    /// The parent of previews that name none.
    pub base_branch: Option<String>,
    /// Labels of the object's namespace; none while they are not known.
    pub labels: Option<Labels>,
    /// The rules, in their order, with what is used up of each.
    pub rules: Vec<Rule>,
    /// Name of the branch that the resolved parent is.
    pub parent_branch: Option<String>,
    /// What the taking of places stood at when these were counted; see `room`.
    pub room_seen: u64,
}

/// A rule and what is used up of it by others than this object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The rule.
    pub rule: AccessRule,
    /// Objects under it that have a branch, or are just getting one.
    pub held: usize,
    /// Older objects under it that wait for a branch and for nothing else.
    pub ahead: usize,
}

/// How an object comes by its branch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WayIn<'a> {
    /// It is not known yet.
    Unknown,
    /// By forking this branch.
    Fork(&'a str),
    /// By taking a branch over.
    TakeOver,
}

/// An object as far as rules are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asker<'a> {
    /// Labels of its namespace.
    pub labels: &'a Labels,
    /// Its environment.
    pub environment: Environment,
    /// How it comes by its branch.
    pub way: WayIn<'a>,
}

/// Why an object is not admitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The labels of its namespace are not known yet.
    NotYet,
    /// No rule admits it, in words for the person who can change one.
    Denied(String),
}

/// The first rule that admits an object.
#[must_use]
pub fn first<'a>(
    rules: impl IntoIterator<Item = &'a AccessRule>,
    asker: Asker<'_>,
) -> Option<usize> {
    let mut rules = rules.into_iter();
    rules.position(|rule| refusal(rule, asker).is_none())
}

/// Why a rule does not admit an object, in words that go on from "access rule 1 admits …".
fn refusal(rule: &AccessRule, asker: Asker<'_>) -> Option<String> {
    let wanted = &rule.namespaces.match_labels;
    let fits = wanted
        .iter()
        .all(|(key, value)| asker.labels.get(key).map(String::as_str) == Some(value.as_str()));
    if !fits {
        let labels: Vec<String> = wanted.iter().map(|(k, v)| format!("{k}={v}")).collect();
        return Some(format!("namespaces with {}", labels.join(",")));
    }
    let environments = &rule.environments;
    if !environments.is_empty() && !environments.contains(&asker.environment) {
        let names: Vec<&str> = environments.iter().map(|e| e.as_str()).collect();
        return Some(format!("{} only", names.join(", ")));
    }
    let forks = || format!("forks of {} only", rule.parents.join(", "));
    match asker.way {
        WayIn::Unknown => None,
        WayIn::Fork(parent) if rule.parents.iter().any(|allowed| allowed == parent) => None,
        WayIn::Fork(_) | WayIn::TakeOver => (!rule.parents.is_empty()).then(forks),
    }
}

impl Terms {
    /// Whether any rule says how many branches there may be.
    #[must_use]
    pub fn are_capped(&self) -> bool {
        let mut rules = self.rules.iter();
        rules.any(|rule| rule.rule.max_branches.is_some())
    }

    /// Which rule admits this object, or why none does.
    pub fn admit(&self, environment: Environment, way: WayIn<'_>) -> Result<usize, Refusal> {
        let asker = Asker {
            labels: self.labels.as_ref().ok_or(Refusal::NotYet)?,
            environment,
            way,
        };
        if let Some(index) = first(self.rules.iter().map(|rule| &rule.rule), asker) {
            return Ok(index);
        }
        let refusals = self.rules.iter().enumerate().filter_map(|(index, rule)| {
            let admits = refusal(&rule.rule, asker)?;
            Some(format!("access rule {} admits {admits}", index + 1))
        });
        let refusals: Vec<String> = refusals.collect();
        let what = match way {
            WayIn::Unknown => environment.as_str().to_owned(),
            WayIn::Fork(parent) => format!("{} that forks {parent}", environment.as_str()),
            WayIn::TakeOver => format!("{} that takes a branch over", environment.as_str()),
        };
        Err(Refusal::Denied(match refusals.as_slice() {
            [] => format!(
                "NeonProject {} has no access rules, and so admits nobody",
                self.project
            ),
            refusals => format!(
                "NeonProject {} does not admit this {what}: {}",
                self.project,
                refusals.join("; ")
            ),
        }))
    }

    /// Why a rule has no room for this object yet.
    #[must_use]
    pub fn no_room(&self, index: usize) -> Option<String> {
        let rule = self.rules.get(index)?;
        let most = usize::try_from(rule.rule.max_branches?).unwrap_or_default();
        if rule.held.saturating_add(rule.ahead) < most {
            return None;
        }
        let (held, number) = (rule.held, index + 1);
        let branches = match most {
            1 => "1 branch".to_owned(),
            many => format!("{many} branches"),
        };
        let taken = match held {
            0 => "none is taken".to_owned(),
            1 => "1 is taken".to_owned(),
            many => format!("{many} are taken"),
        };
        let ahead = match rule.ahead {
            0 => String::new(),
            1 => ", and an older object comes first".to_owned(),
            many => format!(", and {many} older objects come first"),
        };
        Some(format!(
            "access rule {number} of NeonProject {} allows {branches}: {taken}{ahead}; this one is made when there is room",
            self.project
        ))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use Environment::{Development, Preview, Production};

    fn labels(all: &[(&str, &str)]) -> Labels {
        all.iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect()
    }

    fn terms(rules: Value) -> Terms {
        let rules: Vec<AccessRule> = serde_json::from_value(rules).unwrap();
        let unused = |rule| Rule {
            rule,
            held: 0,
            ahead: 0,
        };
        Terms {
            project: "sea".to_owned(),
            labels: Some(labels(&[("team", "robots"), ("previews", "yes")])),
            rules: rules.into_iter().map(unused).collect(),
            ..Terms::default()
        }
    }

    /// With a rule that admits so many, and as many that hold branches of it or come first.
    fn capped(most: Option<i32>, held: usize, ahead: usize) -> Terms {
        let mut terms = terms(json!([{"namespaces": {}}]));
        if let [only] = terms.rules.as_mut_slice() {
            only.rule.max_branches = most;
            (only.held, only.ahead) = (held, ahead);
        }
        terms
    }

    fn labelled(key: &str, value: &str) -> Value {
        json!({"matchLabels": {key: value}})
    }

    #[test]
    fn a_rule_admits_what_fits_all_of_its_parts() {
        let all = json!({});
        let rows = [
            (
                json!([{"namespaces": all}]),
                Preview,
                WayIn::TakeOver,
                Ok(0),
            ),
            (
                json!([{"namespaces": labelled("team", "robots")}]),
                Production,
                WayIn::Unknown,
                Ok(0),
            ),
            (
                json!([{"namespaces": {"matchLabels": {"team": "robots", "previews": "no"}}}]),
                Preview,
                WayIn::Unknown,
                Err("access rule 1 admits namespaces with previews=no,team=robots"),
            ),
            (
                json!([{"namespaces": labelled("absent", "")}]),
                Preview,
                WayIn::Unknown,
                Err("access rule 1 admits namespaces with absent="),
            ),
            (
                json!([{"namespaces": all, "environments": ["preview", "staging"]}]),
                Development,
                WayIn::Fork("main"),
                Err("this development that forks main: access rule 1 admits preview, staging only"),
            ),
            (
                json!([
                    {"namespaces": labelled("team", "others")},
                    {"namespaces": all, "environments": ["preview"], "parents": ["staging", "base"]},
                ]),
                Preview,
                WayIn::Fork("base"),
                Ok(1),
            ),
            (
                json!([{"namespaces": all, "parents": ["staging"]}]),
                Preview,
                WayIn::Fork("main"),
                Err("this preview that forks main: access rule 1 admits forks of staging only"),
            ),
            // a rule that names parents is for forks
            (
                json!([{"namespaces": all, "parents": ["staging"]}]),
                Preview,
                WayIn::TakeOver,
                Err(
                    "this preview that takes a branch over: access rule 1 admits forks of staging only",
                ),
            ),
            // what is not known yet is not held against it
            (
                json!([{"namespaces": all, "parents": ["staging"]}]),
                Preview,
                WayIn::Unknown,
                Ok(0),
            ),
            (
                json!([]),
                Preview,
                WayIn::Unknown,
                Err("NeonProject sea has no access rules, and so admits nobody"),
            ),
        ];
        for (rules, environment, way, expected) in rows {
            let told = terms(rules.clone()).admit(environment, way);
            match (&told, expected) {
                (Ok(index), Ok(expected)) => assert_eq!(*index, expected, "{rules}"),
                (Err(Refusal::Denied(said)), Err(part)) => {
                    assert!(said.contains(part), "{part:?} is not in: {said}");
                }
                (Ok(_) | Err(_), _) => panic!("{rules}: {told:?}"),
            }
        }
    }

    #[test]
    fn nothing_is_refused_while_the_labels_are_not_known() {
        let mut terms = terms(json!([]));
        terms.labels = None;
        let told = terms.admit(Preview, WayIn::Unknown);
        assert_eq!(told, Err(Refusal::NotYet));
    }

    #[test]
    fn there_is_room_below_the_most_for_those_who_came_first() {
        let rows = [
            (None, 1000, 1000, true),
            (Some(2), 0, 0, true),
            (Some(2), 1, 0, true),
            (Some(2), 2, 0, false),
            (Some(2), 1, 1, false),
            (Some(2), 3, 0, false),
            (Some(0), 0, 0, false),
        ];
        let none: [(usize, usize, i32, &str); 5] = [
            (0, 0, 0, "allows 0 branches: none is taken; this one"),
            (1, 0, 1, "allows 1 branch: 1 is taken; this one"),
            (
                1,
                1,
                2,
                "allows 2 branches: 1 is taken, and an older object comes first; this one",
            ),
            (2, 0, 2, "allows 2 branches: 2 are taken; this one"),
            (
                0,
                3,
                2,
                "allows 2 branches: none is taken, and 3 older objects come first; this one",
            ),
        ];
        for (held, ahead, most, text) in none {
            let told = capped(Some(most), held, ahead).no_room(0).unwrap();
            assert!(told.contains(text), "{told}");
        }
        for (most, held, ahead, room) in rows {
            let told = capped(most, held, ahead).no_room(0);
            assert_eq!(told.is_none(), room, "{most:?} {held} {ahead}: {told:?}");
        }
    }
}
