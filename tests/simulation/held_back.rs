//! Credentials that come out only for a schema that is ready.

use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::database::condition;
use crate::invariants::check;
use crate::scene::{FILES, child_of, simple, with};
use crate::world::Sim;
use crate::world::operator::Operator;

fn after(migration: &str) -> Value {
    json!({"publish": {"after": {"migrationRefs": [{"name": migration}]}}})
}

/// Production and a preview, whose Secret waits for its migration.
fn held_back(sim: &Sim) {
    sim.database("production", "production", simple());
    let preview = with(with(simple(), child_of("production")), after("pr-7"));
    sim.database("pr-7", "preview", preview);
}

fn published(sim: &Sim) -> (bool, String) {
    let object = sim.get_database("pr-7").unwrap();
    assert!(condition(&object, "Ready").0, "{object:?}");
    let (is, reason, _) = condition(&object, "CredentialsPublished");
    assert_eq!(is, sim.secret("pr-7").is_some());
    (is, reason)
}

#[tokio::test(start_paused = true)]
async fn a_secret_comes_out_once_the_migration_it_waits_for_is_applied() {
    let sim = Sim::new();
    held_back(&sim);
    let mut operator = Operator::new(&sim);
    operator.settle().await;
    assert_eq!(published(&sim), (false, "WaitingForMigration".to_owned()));
    sim.files(&FILES);
    sim.migration("pr-7", json!({}));
    // long before anybody would look by himself
    operator.run_for(SignedDuration::from_secs(30)).await;
    assert_eq!(published(&sim), (true, "Published".to_owned()));
    check(&sim, &FILES);
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_is_out_stays_when_new_files_are_not_applied_yet() {
    let sim = Sim::new();
    held_back(&sim);
    sim.files(&FILES);
    sim.migration("pr-7", json!({}));
    let mut operator = Operator::new(&sim);
    operator.settle().await;
    let before = sim.secret("pr-7").unwrap();
    sim.files(&[FILES[0], FILES[1], ("003_no.sql", "SELECT does_not_exist;")]);
    operator.settle().await;
    assert_eq!(sim.secret("pr-7").unwrap(), before);
    assert_eq!(published(&sim), (true, "Published".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_branch_that_was_reset_gets_working_credentials_before_its_migration_is_done() {
    let sim = Sim::new();
    held_back(&sim);
    sim.files(&FILES);
    sim.migration("pr-7", json!({}));
    let mut operator = Operator::new(&sim);
    operator.settle().await;
    sim.at_neon(|project, now| {
        let id = project.branches[1].branch.id.clone();
        project.reset_to_parent(&id, now);
    });
    operator.run_for(SignedDuration::from_mins(3)).await;
    operator.settle().await;
    check(&sim, &FILES);
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_is_out_stays_until_the_one_that_is_to_replace_it_comes_out() {
    let sim = Sim::new();
    held_back(&sim);
    sim.files(&FILES);
    sim.migration("pr-7", json!({}));
    let mut operator = Operator::new(&sim);
    operator.settle().await;
    let before = sim.secret("pr-7").unwrap();
    sim.files(&[FILES[0], FILES[1], ("003_no.sql", "SELECT does_not_exist;")]);
    operator.run_for(SignedDuration::from_mins(3)).await;
    sim.edit_database("pr-7", |object| {
        let secrets = json!([{"name": "renamed"}]);
        object.spec.connection_secrets = serde_json::from_value(secrets).unwrap();
    });
    operator.run_for(SignedDuration::from_mins(3)).await;
    assert_eq!(sim.secret("renamed"), None);
    assert_eq!(sim.secret("pr-7"), Some(before));
    sim.files(&FILES);
    operator.run_for(SignedDuration::from_mins(12)).await;
    assert!(sim.secret("renamed").is_some() && sim.secret("pr-7").is_none());
    check(&sim, &FILES);
}
