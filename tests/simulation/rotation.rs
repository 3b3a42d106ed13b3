//! Logins that are replaced by time.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use sepulki::api::{NeonDatabase, RoleStatus};
use sepulki::postgres::Error;
use serde_json::{Value, json};

use crate::database::events;
use crate::invariants::{branch_of, check};
use crate::scene::{settled, simple, with};
use crate::world::Sim;
use crate::world::operator::Operator;

const MINUTE: SignedDuration = SignedDuration::from_mins(1);

/// One role, whose login is replaced every two hours and works for half an hour longer.
fn rotating() -> Value {
    json!({"roles": [{"name": "web", "access": "ReadWrite", "rotation": {"every": "2h", "overlap": "30m"}}]})
}

fn production(sim: &Sim) {
    sim.database("production", "production", with(simple(), rotating()));
}

fn object(operator: &Operator) -> NeonDatabase {
    operator.sim.get_database("production").unwrap()
}

fn role(operator: &Operator) -> RoleStatus {
    object(operator).status.unwrap().roles.remove(0)
}

fn secret(operator: &Operator) -> BTreeMap<String, String> {
    operator.sim.secret("production").unwrap()
}

/// Whether what is in a Secret opens the database now.
fn opens(operator: &Operator, secret: &BTreeMap<String, String>) -> Result<(), Error> {
    let object = object(operator);
    let state = operator.sim.lock();
    let server = &branch_of(&state, &object).server;
    server.admits(&secret["PGUSER"], &secret["PGPASSWORD"], "app")
}

#[tokio::test(start_paused = true)]
async fn a_login_is_replaced_when_it_is_due_and_the_old_one_works_for_the_overlap() {
    let mut operator = settled(production).await;
    let first = secret(&operator);
    let start = operator.sim.lock().sessions;
    operator.run_for(MINUTE * 119).await;
    assert_eq!(secret(&operator), first);
    assert_eq!(operator.sim.lock().sessions, start, "before it is due");

    operator.run_for(MINUTE * 2).await;
    let second = secret(&operator);
    assert_eq!(
        (&*first["PGUSER"], &*second["PGUSER"]),
        ("web_g1", "web_g2")
    );
    assert_ne!(first["PGPASSWORD"], second["PGPASSWORD"]);
    assert_eq!(role(&operator).previous_login.as_deref(), Some("web_g1"));
    let told = events(&operator.sim, "LoginReplaced");
    assert!(
        told.len() == 1 && told[0].contains("web_g2; web_g1 goes on working until "),
        "{told:?}"
    );
    assert_eq!(
        (opens(&operator, &first), opens(&operator, &second)),
        (Ok(()), Ok(()))
    );
    check(&operator.sim, &[]);

    let after = operator.sim.lock().sessions;
    operator.run_for(MINUTE * 27).await;
    assert_eq!(operator.sim.lock().sessions, after, "during the overlap");
    assert_eq!(opens(&operator, &first), Ok(()));

    operator.run_for(MINUTE * 4).await;
    assert!(opens(&operator, &first).is_err());
    assert_eq!(opens(&operator, &second), Ok(()));
    assert_eq!(role(&operator).previous_login, None);
    let told = events(&operator.sim, "LoginEnded");
    assert!(told.len() == 1 && told[0].contains("web_g1"), "{told:?}");
    check(&operator.sim, &[]);
    let after = operator.sim.lock().sessions;
    operator.run_for(MINUTE * 60).await;
    assert_eq!(operator.sim.lock().sessions, after, "at rest");
}

#[tokio::test(start_paused = true)]
async fn every_secret_of_a_role_changes_at_once_and_the_others_do_not() {
    let spec = json!({
        "databases": [{"name": "app"}, {"name": "jobs"}],
        "roles": [
            {"name": "web", "access": "ReadWrite", "rotation": {"every": "2h", "overlap": "30m"}},
            {"name": "report", "access": "ReadOnly", "rotation": {"every": "never"}},
        ],
        "connectionSecrets": [
            {"name": "one", "role": "web", "database": "app"},
            {"name": "two", "role": "web", "database": "jobs"},
            {"name": "three", "role": "report", "database": "app"},
        ],
    });
    let sim = Sim::new();
    sim.database("production", "production", spec);
    let mut operator = Operator::new(&sim);
    operator.settle().await;
    let login = |name: &str| sim.secret(name).unwrap()["PGUSER"].clone();
    operator.run_for(MINUTE * 121).await;
    assert_eq!(
        ["one", "two", "three"].map(login),
        ["web_g2", "web_g2", "report_g1"]
    );
    check(&sim, &[]);
    operator.run_for(MINUTE * 40).await;
    check(&sim, &[]);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_replaced_while_a_migration_is_at_work() {
    let mut operator = settled(production).await;
    let first = secret(&operator);
    let id = object(&operator).status.unwrap().branch.unwrap().id;
    let at_work = operator.locks().shared(&id).unwrap();
    operator.run_for(MINUTE * 180).await;
    assert_eq!(secret(&operator), first);
    drop(at_work);
    operator.run_for(MINUTE * 2).await;
    assert_eq!(secret(&operator)["PGUSER"], "web_g2");
    check(&operator.sim, &[]);

    // and the old one works until it is over, though its time has passed
    let at_work = operator.locks().shared(&id).unwrap();
    operator.run_for(MINUTE * 60).await;
    assert_eq!(opens(&operator, &first), Ok(()));
    drop(at_work);
    operator.run_for(MINUTE * 2).await;
    assert!(opens(&operator, &first).is_err());
}

#[tokio::test(start_paused = true)]
async fn an_operator_that_was_away_goes_on_where_the_record_says() {
    let mut operator = settled(production).await;
    let first = secret(&operator);
    operator.sim.advance(SignedDuration::from_hours(48)).await;
    operator.restart();
    operator.settle().await;
    let second = secret(&operator);
    assert_eq!(second["PGUSER"], "web_g2");
    assert_eq!(opens(&operator, &first), Ok(()));
    operator.sim.advance(SignedDuration::from_hours(48)).await;
    operator.restart();
    operator.settle().await;
    assert!(opens(&operator, &first).is_err());
    assert_eq!(opens(&operator, &second), Ok(()));
    assert_eq!(secret(&operator)["PGUSER"], "web_g3");
    check(&operator.sim, &[]);
}

#[tokio::test(start_paused = true)]
async fn what_has_begun_ends_although_nobody_rotates_any_more() {
    let mut operator = settled(production).await;
    let first = secret(&operator);
    operator.run_for(MINUTE * 121).await;
    operator.sim.edit_database("production", |object| {
        let never = json!({"every": "never", "overlap": "30m"});
        object.spec.roles[0].rotation = serde_json::from_value(never).unwrap();
    });
    operator.run_for(MINUTE * 31).await;
    assert!(opens(&operator, &first).is_err());
    let second = secret(&operator);
    operator.run_for(MINUTE * 300).await;
    assert_eq!(secret(&operator), second);
    check(&operator.sim, &[]);
}

#[tokio::test(start_paused = true)]
async fn a_branch_that_is_reset_in_the_middle_has_one_login_that_works() {
    let mut operator = settled(|sim: &Sim| {
        let child = json!({"branch": {"parent": {"databaseRef": {"name": "mother"}}}});
        sim.database("mother", "production", simple());
        sim.database(
            "production",
            "preview",
            with(with(simple(), rotating()), child),
        );
    })
    .await;
    operator.run_for(MINUTE * 121).await;
    assert!(role(&operator).previous_login.is_some());
    operator.sim.at_neon(|project, now| {
        let id = project.branches[1].branch.id.clone();
        project.reset_to_parent(&id, now);
    });
    operator.run_for(MINUTE * 40).await;
    operator.settle().await;
    let secret = secret(&operator);
    assert_eq!(opens(&operator, &secret), Ok(()));
    check(&operator.sim, &[]);
}
