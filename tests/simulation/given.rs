//! Passwords that users give for their roles.

use jiff::SignedDuration;
use sepulki::api::{NeonDatabase, Reason};
use sepulki::reconcile::Conditions;
use serde_json::{Value, json};

use crate::database::{reconciling, says, stalled};
use crate::invariants::{branch_of, check};
use crate::scene::{simple, with};
use crate::world::operator::Operator;
use crate::world::{NAMESPACE, Sim};

const MINUTE: SignedDuration = SignedDuration::from_mins(1);

pub const GIVEN: &str = "Correct-Horse-7-Battery";
const ANOTHER: &str = "Another-Horse-8-Staple";

/// One role with the password in the Secret `db-password`.
pub fn with_given_password() -> Value {
    let at = json!({"name": "db-password", "key": "password"});
    with(
        simple(),
        json!({"roles": [{"name": "web", "access": "ReadWrite", "passwordSecretRef": at}]}),
    )
}

pub fn give(sim: &Sim, password: &str) {
    let mut state = sim.lock();
    let entries = [("password", password)];
    state
        .kubernetes
        .foreign_secret(NAMESPACE, "db-password", &entries);
}

fn begin(password: Option<&str>) -> Operator {
    let sim = Sim::new();
    if let Some(password) = password {
        give(&sim, password);
    }
    sim.database("production", "production", with_given_password());
    Operator::new(&sim)
}

fn production(operator: &Operator) -> NeonDatabase {
    operator.sim.get_database("production").unwrap()
}

fn published(operator: &Operator) -> String {
    operator.sim.secret("production").unwrap()["PGPASSWORD"].clone()
}

#[tokio::test(start_paused = true)]
async fn a_given_password_is_published_and_a_change_taken_over_within_ten_minutes() {
    let mut operator = begin(Some(GIVEN));
    operator.settle().await;
    check(&operator.sim, &[]);
    assert_eq!(published(&operator), GIVEN);
    let sessions = operator.sim.lock().sessions;
    operator.run_for(MINUTE * 25).await;
    assert_eq!(operator.sim.lock().sessions, sessions, "at rest");
    give(&operator.sim, ANOTHER);
    operator.run_for(MINUTE * 11).await;
    operator.settle().await;
    assert_eq!(published(&operator), ANOTHER);
    // the same login: who is connected stays so
    assert_eq!(
        operator.sim.secret("production").unwrap()["PGUSER"],
        "web_g1"
    );
    check(&operator.sim, &[]);
    assert!(!operator.sim.lock().said.contains(ANOTHER));
}

#[tokio::test(start_paused = true)]
async fn a_change_is_taken_over_when_somebody_asks() {
    let mut operator = begin(Some(GIVEN));
    operator.settle().await;
    operator.run_for(MINUTE).await;
    give(&operator.sim, ANOTHER);
    operator.sim.edit_database("production", |object| {
        let annotations = object.metadata.annotations.get_or_insert_default();
        annotations.insert("sepulki.dev/reconcile".to_owned(), "1".to_owned());
    });
    operator.settle().await;
    assert_eq!(published(&operator), ANOTHER);
    check(&operator.sim, &[]);
}

#[tokio::test(start_paused = true)]
async fn a_password_that_is_not_there_is_waited_for() {
    let mut operator = begin(None);
    operator.run_for(MINUTE * 3).await;
    let message = reconciling(&production(&operator), Reason::PasswordNotFound);
    says(
        &message,
        &[
            "spec.roles[0].passwordSecretRef",
            "Secret db-password",
            "entry password",
            "within a minute",
        ],
    );
    assert_eq!(operator.sim.secret("production"), None);
    give(&operator.sim, GIVEN);
    operator.run_for(MINUTE * 3).await;
    assert!(production(&operator).is_settled());
    assert_eq!(published(&operator), GIVEN);
    check(&operator.sim, &[]);
}

#[tokio::test(start_paused = true)]
async fn a_password_that_neon_would_refuse_is_explained() {
    let mut operator = begin(Some("robots"));
    operator.run_for(MINUTE).await;
    let message = stalled(&production(&operator), Reason::PasswordRejected);
    says(
        &message,
        &[
            "spec.roles[0].passwordSecretRef",
            "Secret db-password",
            "about 28 bits",
            "60",
        ],
    );
    assert!(!message.contains("robots"));
    give(&operator.sim, GIVEN);
    operator.run_for(MINUTE * 3).await;
    assert!(production(&operator).is_settled());
    assert_eq!(published(&operator), GIVEN);
}

#[tokio::test(start_paused = true)]
async fn without_the_reference_a_password_is_generated_again() {
    let mut operator = begin(Some(GIVEN));
    operator.settle().await;
    operator.sim.edit_database("production", |object| {
        object.spec.roles[0].password_secret_ref = None;
    });
    operator.settle().await;
    let generated = published(&operator);
    assert_ne!(generated, GIVEN);
    let object = production(&operator);
    let state = operator.sim.lock();
    let server = &branch_of(&state, &object).server;
    assert!(server.admits("web_g1", GIVEN, "app").is_err());
    assert_eq!(server.admits("web_g1", &generated, "app"), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_child_that_inherits_its_roles_gets_a_password_of_its_own() {
    let mut operator = begin(Some(GIVEN));
    let child = json!({"branch": {"parent": {"databaseRef": {"name": "production"}}}});
    operator.sim.database("pr-7", "preview", child);
    operator.settle().await;
    check(&operator.sim, &[]);
    assert_ne!(operator.sim.secret("pr-7").unwrap()["PGPASSWORD"], GIVEN);
}
