//! Children that list no databases have those of their parent.

use jiff::SignedDuration;
use sepulki::api::Reason;
use sepulki::reconcile::Conditions;
use serde_json::json;

use crate::database::{reconciling, says};
use crate::invariants::check;
use crate::scene::{FILES, child_of, settled, simple};
use crate::world::Sim;

const MINUTE: SignedDuration = SignedDuration::from_mins(1);

fn family(sim: &Sim) {
    sim.files(&FILES);
    sim.database("production", "production", simple());
    sim.database("staging", "staging", json!({}));
    sim.database("pr-7", "preview", child_of("staging"));
    sim.migration("production", json!({}));
    sim.migration("pr-7", json!({}));
}

#[tokio::test(start_paused = true)]
async fn databases_roles_and_secrets_come_down_the_whole_chain() {
    let operator = settled(family).await;
    check(&operator.sim, &FILES);
    assert_eq!(operator.sim.secret("pr-7").unwrap()["PGDATABASE"], "app");
}

#[tokio::test(start_paused = true)]
async fn a_role_that_the_parent_gets_comes_down_long_before_anybody_would_look() {
    let mut operator = settled(family).await;
    let sim = operator.sim.clone();
    sim.edit_database("production", |object| {
        let report = json!({"name": "report", "access": "ReadOnly"});
        object
            .spec
            .roles
            .push(serde_json::from_value(report).unwrap());
    });
    operator.run_for(SignedDuration::from_secs(20)).await;
    check(&sim, &FILES);
    let roles = sim.get_database("pr-7").unwrap().status.unwrap().roles;
    assert!(roles.iter().any(|role| role.name == "report"), "{roles:?}");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_taken_away_where_the_parent_is_gone() {
    let mut operator = settled(family).await;
    let sim = operator.sim.clone();
    let secret = sim.secret("pr-7");
    sim.edit_database("staging", |object| {
        object.spec.deletion_policy = Some(sepulki::api::DeletionPolicy::Retain);
    });
    sim.delete_database("staging");
    operator.run_for(MINUTE * 15).await;
    assert!(sim.get_database("staging").is_none());
    let message = reconciling(&sim.get_database("pr-7").unwrap(), Reason::ParentNotFound);
    says(&message, &["staging", "spec.databases"]);
    assert_eq!(sim.secret("pr-7"), secret);
    sim.edit_database("pr-7", |object| {
        let own: sepulki::api::NeonDatabaseSpec = {
            let mut spec = simple();
            spec["projectId"] = json!("x");
            spec["environment"] = json!("preview");
            serde_json::from_value(spec).unwrap()
        };
        object.spec.databases = own.databases;
        object.spec.roles = own.roles;
    });
    operator.settle().await;
    assert!(sim.get_database("pr-7").unwrap().is_settled());
    assert_eq!(sim.secret("pr-7"), secret);
}
