//! What becomes of NeonDatabases when the world is not as it should be.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::SignedDuration;
use sepulki::api::{NeonDatabase, Reason};
use sepulki::reconcile::Conditions;
use serde_json::json;

use crate::invariants::check;
use crate::scene::{FILES, child_of, production_and_preview, settled, simple, with};
use crate::world::operator::Operator;
use crate::world::{API_KEY, NAMESPACE, Sim};

const MINUTE: SignedDuration = SignedDuration::from_mins(1);

/// A condition of an object: whether it is true, why, and in which words.
pub fn condition(object: &impl Conditions, type_: &str) -> (bool, String, String) {
    let found = object.conditions().iter().find(|c| c.type_ == type_);
    let found = found.unwrap_or_else(|| panic!("no condition {type_}"));
    (
        found.status == "True",
        found.reason.clone(),
        found.message.clone(),
    )
}

/// A NeonDatabase that has to be there.
pub fn database(operator: &Operator, name: &str) -> NeonDatabase {
    operator
        .sim
        .get_database(name)
        .unwrap_or_else(|| panic!("no NeonDatabase {name}"))
}

/// Asserts that an object waits for a person, and answers why.
pub fn stalled(object: &impl Conditions, reason: Reason) -> String {
    let (is, why, message) = condition(object, "Stalled");
    assert!(is, "{:?}", object.conditions());
    assert_eq!(why, reason.as_str());
    assert!(!condition(object, "Reconciling").0 && !condition(object, "Ready").0);
    message
}

/// Asserts that an object waits for something that passes, and answers what.
pub fn reconciling(object: &impl Conditions, reason: Reason) -> String {
    let (is, why, message) = condition(object, "Reconciling");
    assert!(is, "{:?}", object.conditions());
    assert_eq!(why, reason.as_str());
    assert!(!condition(object, "Stalled").0 && !condition(object, "Ready").0);
    message
}

/// Messages of the events with this reason, in order.
pub fn events(sim: &Sim, reason: &str) -> Vec<String> {
    let said = sim.lock().said.clone();
    let told = format!(", reason: {reason}, message: \"");
    let mut events = Vec::new();
    for notice in said.split("Notice { warning: ").skip(1) {
        let message = notice
            .split_once(&told)
            .filter(|(warning, _)| warning.len() < 6);
        let message = message.and_then(|(_, message)| message.split_once("\" }"));
        events.extend(message.map(|(message, _)| message.to_owned()));
    }
    events
}

/// Asserts that a message names what a person needs; its wording is free.
pub fn says(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "no {part:?} in: {message}");
    }
}

fn begin(scene: impl FnOnce(&Sim)) -> Operator {
    let sim = Sim::new();
    scene(&sim);
    Operator::new(&sim)
}

#[tokio::test(start_paused = true)]
async fn a_wrong_key_is_told_and_a_corrected_one_is_taken() {
    let mut operator = begin(|sim| {
        production_and_preview(sim);
        sim.edit_secret("neon-api-key", "apiKey", "napi-wrong");
    });
    operator.run_for(MINUTE).await;
    let message = stalled(&database(&operator, "production"), Reason::KeyRefused);
    says(
        &message,
        &["Secret neon-api-key", "apiKey", "authorization required"],
    );
    assert_eq!(operator.sim.branch_names(), ["main"]);
    operator.sim.edit_secret("neon-api-key", "apiKey", API_KEY);
    operator.run_for(MINUTE * 3).await;
    operator.settle().await;
    check(&operator.sim, &FILES);
    assert!(!operator.sim.lock().said.contains("napi-wrong"));
}

#[tokio::test(start_paused = true)]
async fn a_missing_key_is_waited_for() {
    let mut operator = begin(production_and_preview);
    let key = (NAMESPACE.to_owned(), "neon-api-key".to_owned());
    let secret = operator.sim.lock().kubernetes.secrets.remove(&key).unwrap();
    operator.run_for(MINUTE).await;
    let message = reconciling(&database(&operator, "production"), Reason::KeyNotFound);
    says(&message, &["Secret neon-api-key", "does not exist"]);
    operator.sim.lock().kubernetes.secrets.insert(key, secret);
    operator.run_for(MINUTE * 2).await;
    operator.settle().await;
    check(&operator.sim, &FILES);
}

#[tokio::test(start_paused = true)]
async fn an_unknown_project_is_told() {
    let mut operator = begin(|sim| {
        sim.database("stray", "production", json!({"projectId": "loud-sea-2"}));
        sim.database("production", "production", simple());
    });
    operator.settle().await;
    let message = stalled(&database(&operator, "stray"), Reason::ProjectNotFound);
    says(&message, &["loud-sea-2 does not exist"]);
    assert!(database(&operator, "production").is_settled());
}

#[tokio::test(start_paused = true)]
async fn a_branch_of_the_wanted_name_that_is_not_ours_is_left_alone() {
    let mut operator = begin(|sim| {
        sim.database("production", "production", simple());
        sim.database("staging", "staging", simple());
    });
    operator.sim.at_neon(|project, now| {
        let main = project.branches[0].branch.id.clone();
        let name = "staging/team/staging";
        project
            .create_branch(name, &main, std::collections::BTreeMap::new(), now)
            .unwrap();
    });
    operator.settle().await;
    let message = stalled(&database(&operator, "staging"), Reason::BranchNameConflict);
    assert!(
        message.starts_with("a branch named staging/team/staging exists (br-"),
        "{message}"
    );
    assert_eq!(
        operator.sim.branch_names(),
        ["main", "staging/team/staging"]
    );
    // once it is gone the way is free
    operator
        .sim
        .at_neon(|project, _| project.branches.truncate(1));
    operator.run_for(MINUTE * 3).await;
    operator.settle().await;
    assert!(database(&operator, "staging").is_settled());
}

#[tokio::test(start_paused = true)]
async fn somebody_elses_mark_is_never_taken_up() {
    let mut operator = begin(|sim| {
        let existing = json!({"branch": {"existing": {"name": "theirs"}}});
        sim.database("it", "staging", with(simple(), existing));
    });
    operator.sim.at_neon(|project, now| {
        let main = project.branches[0].branch.id.clone();
        let theirs = [
            ("sepulki-installation", "another"),
            ("sepulki-namespace", NAMESPACE),
            ("sepulki-name", "it"),
        ];
        let theirs = theirs.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        project.create_branch("theirs", &main, theirs, now).unwrap();
    });
    operator.settle().await;
    let message = stalled(&database(&operator, "it"), Reason::BranchClaimed);
    assert_eq!(
        message,
        "the branch named theirs belongs to team/it of installation another"
    );
}

#[tokio::test(start_paused = true)]
async fn of_two_that_want_the_same_branch_the_older_has_it() {
    let mut operator = begin(|sim| {
        sim.database("first", "production", simple());
        sim.clock.advance(SignedDuration::from_secs(5));
        sim.database("second", "production", simple());
    });
    operator.settle().await;
    assert!(database(&operator, "first").is_settled());
    let message = stalled(&database(&operator, "second"), Reason::BranchClaimed);
    assert!(
        message.ends_with("belongs to NeonDatabase team/first"),
        "{message}"
    );
    assert_eq!(operator.sim.secret("second"), None);
    // the branch is free when the first lets go of it
    operator.sim.delete_database("first");
    operator.run_for(MINUTE * 3).await;
    operator.settle().await;
    assert!(database(&operator, "second").is_settled());
}

#[tokio::test(start_paused = true)]
async fn a_parent_that_neon_is_just_making_is_forked_from_as_soon_as_it_is_ready() {
    let sim = Sim::new();
    sim.at_neon(|project, now| {
        let main = project.branches[0].branch.id.clone();
        let made = project.create_branch("base", &main, BTreeMap::new(), now);
        made.unwrap();
    });
    let base = json!({"branch": {"parent": {"branchName": "base"}}});
    sim.database("pr-7", "preview", with(simple(), base));
    let mut operator = Operator::new(&sim);
    operator.run_for(SignedDuration::from_secs(20)).await;
    assert!(sim.get_database("pr-7").unwrap().is_settled());
}

#[tokio::test(start_paused = true)]
async fn a_parent_that_is_not_there_yet_is_waited_for() {
    let mut operator = begin(|sim| {
        sim.database("pr-7", "preview", with(simple(), child_of("staging")));
        sim.database("staging", "staging", simple());
    });
    operator.run_for(MINUTE).await;
    let message = stalled(&database(&operator, "staging"), Reason::ParentRequired);
    assert!(
        message.contains("no production object of project quiet-sea-1"),
        "{message}"
    );
    let message = reconciling(&database(&operator, "pr-7"), Reason::ParentNotReady);
    says(
        &message,
        &[
            "the parent staging is not ready: ",
            "no production object",
            "(ParentRequired)",
        ],
    );
    operator.sim.database("production", "production", simple());
    operator.settle().await;
    operator.run_for(MINUTE * 2).await;
    operator.settle().await;
    check(&operator.sim, &[]);
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_was_edited_is_repaired_and_keeps_what_others_added() {
    let mut operator = settled(production_and_preview).await;
    let published = operator.sim.secret("pr-7").unwrap();
    operator.sim.edit_secret("pr-7", "PGHOST", "elsewhere");
    operator.run_for(MINUTE * 11).await;
    operator.settle().await;
    assert_eq!(operator.sim.secret("pr-7").unwrap(), published);
    operator.sim.edit_secret("pr-7", "EXTRA", "mine");
    let mut with_extra = published.clone();
    with_extra.insert("EXTRA".to_owned(), "mine".to_owned());
    assert_eq!(operator.sim.secret("pr-7").unwrap(), with_extra);
    // and what they added is no reason to look at the database again and again
    let sessions = operator.sim.lock().sessions;
    operator.run_for(MINUTE * 30).await;
    assert_eq!(operator.sim.lock().sessions, sessions);
    assert!(database(&operator, "pr-7").is_settled());
}

#[tokio::test(start_paused = true)]
async fn somebody_elses_secret_is_left_alone() {
    let mut operator = begin(|sim| {
        sim.database("production", "production", simple());
        let mut state = sim.lock();
        state
            .kubernetes
            .foreign_secret(NAMESPACE, "production", &[("mine", "x")]);
    });
    operator.settle().await;
    let message = stalled(&database(&operator, "production"), Reason::SecretConflict);
    says(&message, &["production"]);
    assert_eq!(operator.sim.secret("production").unwrap()["mine"], "x");
}

fn with_a_short_lease(sim: &Sim) {
    let lease =
        json!({"branch": {"parent": {"databaseRef": {"name": "production"}}, "lease": "2h"}});
    sim.database("production", "production", simple());
    sim.database("pr-7", "preview", with(simple(), lease));
}

#[tokio::test(start_paused = true)]
async fn a_suspended_object_changes_nothing_but_its_lease() {
    let mut operator = settled(with_a_short_lease).await;
    operator.sim.edit_database("pr-7", |object| {
        object.spec.suspend = true;
        object.spec.roles[0].name = "renamed".into();
        object.spec.compute = serde_json::from_value(json!({"minCU": 1.0, "maxCU": 2.0})).unwrap();
    });
    let before = operator.sim.lock().neon.calls.mutations.len();
    operator.run_for(MINUTE * 70).await;
    let pr = database(&operator, "pr-7");
    assert!(condition(&pr, "Ready").0);
    assert_eq!(condition(&pr, "Ready").1, "Suspended");
    assert_eq!(pr.status.as_ref().unwrap().observed_generation, 2);
    let id = pr.status.unwrap().branch.unwrap().id;
    let calls = operator.sim.lock().neon.calls.mutations[before..].to_vec();
    assert_eq!(calls, [format!("update branch {id}")]);
    operator.run_for(MINUTE * 150).await;
    assert_eq!(operator.sim.branch_names(), ["main", "preview/team/pr-7"]);
}

#[tokio::test(start_paused = true)]
async fn a_preview_outlives_its_lease_only_while_somebody_looks_after_it() {
    let mut operator = settled(with_a_short_lease).await;
    operator.run_for(MINUTE * 300).await;
    assert_eq!(operator.sim.branch_names(), ["main", "preview/team/pr-7"]);
    let sim = Arc::clone(&operator.sim);
    drop(operator);
    sim.advance(MINUTE * 130).await;
    assert_eq!(sim.branch_names(), ["main"]);
}

#[tokio::test(start_paused = true)]
async fn operations_that_neon_has_forgotten_are_over() {
    let mut operator = begin(production_and_preview);
    operator.run_for(SignedDuration::from_millis(200)).await;
    let waits = database(&operator, "production");
    assert!(!waits.status.unwrap().operations.is_empty());
    operator
        .sim
        .at_neon(|project, _| project.forget_operations());
    operator.settle().await;
    check(&operator.sim, &FILES);
}

#[tokio::test(start_paused = true)]
async fn what_is_no_longer_asked_for_is_withdrawn() {
    let mut operator = settled(production_and_preview).await;
    operator.sim.edit_database("pr-7", |object| {
        object.spec.connection_secrets =
            serde_json::from_value(json!([{"name": "renamed"}])).unwrap();
    });
    operator.settle().await;
    assert_eq!(operator.sim.secret("pr-7"), None);
    check(&operator.sim, &FILES);
}

#[tokio::test(start_paused = true)]
async fn a_branch_that_neon_cannot_make_is_asked_for_with_patience_and_told_and_made_in_the_end() {
    let mut operator = begin(|sim| {
        sim.at_neon(|project, _| project.makes_none = true);
        sim.database("production", "production", json!({}));
        sim.database("staging", "staging", simple());
    });
    operator.run_for(MINUTE * 30).await;
    let sim = Arc::clone(&operator.sim);
    let message = reconciling(&database(&operator, "staging"), Reason::OperationFailed);
    says(
        &message,
        &["staging/team/staging", "the compute did not start"],
    );
    let mutations = sim.lock().neon.calls.mutations.clone();
    let asked = mutations.iter().filter(|what| what.starts_with("create"));
    let asked = asked.count();
    assert!((25..=45).contains(&asked), "asked for {asked} times");
    assert_eq!(sim.branch_names(), ["main"]);

    sim.at_neon(|project, _| project.makes_none = false);
    operator.run_for(MINUTE * 2).await;
    check(&sim, &[]);
}

#[tokio::test(start_paused = true)]
async fn a_secret_of_another_object_stays_whatever_else_is_published_with_it() {
    let mut operator = settled(production_and_preview).await;
    let sim = operator.sim.clone();
    let theirs = sim.secret("production").unwrap();
    sim.edit_database("pr-7", |object| {
        let secret = |name: &str| json!({"name": name, "role": "web", "database": "app"});
        let both = json!([secret("pr-7-more"), secret("production")]);
        object.spec.connection_secrets = serde_json::from_value(both).unwrap();
    });
    operator.run_for(MINUTE * 2).await;
    stalled(&database(&operator, "pr-7"), Reason::SecretConflict);
    assert_eq!(sim.secret("production"), Some(theirs));
}
