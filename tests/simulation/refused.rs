//! What becomes of the rest where Neon refuses a part of what is asked for inside of a branch.

use jiff::SignedDuration;
use sepulki::api::Reason;
use sepulki::reconcile::Conditions;
use serde_json::{Value, json};

use crate::database::{condition, database, reconciling, says, stalled};
use crate::invariants::check;
use crate::scene::{child_of, settled, simple, with};
use crate::world::Sim;
use crate::world::operator::Operator;

const MINUTE: SignedDuration = SignedDuration::from_mins(1);

fn databases(first: &Value) -> Value {
    let secret = |database: &str| json!({"name": database, "database": database});
    json!({
        "databases": [first, {"name": "jobs"}],
        "roles": [{"name": "web", "access": "ReadWrite"}],
        "connectionSecrets": [secret("app"), secret("jobs")],
    })
}

#[tokio::test(start_paused = true)]
async fn a_database_that_neon_refuses_is_told_and_holds_no_other_up() {
    let sim = Sim::new();
    let refused = json!({"name": "app", "owner": "pg_boss"});
    sim.database("production", "production", databases(&refused));
    let mut operator = Operator::new(&sim);
    operator.run_for(MINUTE * 3).await;
    let message = stalled(&database(&operator, "production"), Reason::NeonRejected);
    says(
        &message,
        &["spec.databases[0].owner", "pg_boss", "is reserved"],
    );
    for part in ["DatabasesReady", "CredentialsPublished"] {
        assert!(!condition(&database(&operator, "production"), part).0);
    }
    assert!(sim.secret("jobs").is_some() && sim.secret("app").is_none());
    // the other one is looked after, and Neon is asked again now and then
    let sessions = sim.lock().sessions;
    let calls = sim.lock().neon.calls.refused.len();
    sim.edit_secret("jobs", "PGHOST", "elsewhere");
    operator.run_for(MINUTE * 30).await;
    assert_ne!(sim.secret("jobs").unwrap()["PGHOST"], "elsewhere");
    let again = sim.lock().neon.calls.refused.len() - calls;
    assert!((1..=4).contains(&again), "{again}");
    assert!(sim.lock().sessions - sessions < 12);

    sim.edit_database("production", |object| {
        let corrected = databases(&json!({"name": "app"}));
        object.spec.databases = serde_json::from_value(corrected["databases"].clone()).unwrap();
    });
    operator.settle().await;
    assert!(database(&operator, "production").is_settled());
    check(&sim, &[]);
}

#[tokio::test(start_paused = true)]
async fn a_database_whose_own_name_neon_refuses_is_told_with_its_field() {
    let sim = Sim::new();
    let spec = json!({"databases": [{"name": "app"}, {"name": "postgres"}]});
    sim.database("production", "production", spec);
    let mut operator = Operator::new(&sim);
    operator.run_for(MINUTE * 3).await;
    let message = stalled(&database(&operator, "production"), Reason::NeonRejected);
    says(
        &message,
        &["spec.databases[1].name", "postgres", "is reserved"],
    );
}

#[tokio::test(start_paused = true)]
async fn a_name_that_neon_does_not_give_away_and_lists_nowhere_is_told_and_asked_for_seldom() {
    let mut operator = settled(|sim| sim.database("production", "production", simple())).await;
    let sim = operator.sim.clone();
    sim.at_neon(|project, _| project.keeps_name = Some("preview/team/pr-7"));
    sim.database("pr-7", "preview", with(simple(), child_of("production")));
    operator.run_for(MINUTE * 60).await;
    let pr = database(&operator, "pr-7");
    let message = reconciling(&pr, Reason::BranchNameConflict);
    says(&message, &["preview/team/pr-7", "spec.branch.name"]);
    let asked = sim.lock().neon.calls.refused.len();
    assert!(asked <= 100, "{asked}");
    sim.at_neon(|project, _| project.keeps_name = None);
    operator.run_for(MINUTE * 3).await;
    check(&sim, &[]);
}
