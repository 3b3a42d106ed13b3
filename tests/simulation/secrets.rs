//! What becomes of the Secrets of an object when one of them is in trouble.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use sepulki::api::Reason;
use sepulki::reconcile::Conditions;
use serde_json::json;

use crate::database::{condition, database, says, stalled};
use crate::invariants::check;
use crate::scene::{child_of, inside, settled, simple, with};
use crate::world::operator::Operator;
use crate::world::{NAMESPACE, Sim};

const MINUTE: SignedDuration = SignedDuration::from_mins(1);

fn two_secrets_of_a_role() -> serde_json::Value {
    with(
        simple(),
        json!({"connectionSecrets": [{"name": "taken"}, {"name": "other"}]}),
    )
}

fn restored(sim: &Sim) -> Vec<String> {
    let said = sim.lock().said.clone();
    let told = said.lines().filter(|line| line.contains("SecretRestored"));
    told.map(str::to_owned).collect()
}

/// Whether the login and password of a Secret open the object's database now.
pub fn opens(sim: &Sim, secret: &BTreeMap<String, String>) -> bool {
    let mut state = sim.lock();
    let branch = state.neon.at_host(&secret["PGHOST"]).unwrap();
    let (user, password) = (&secret["PGUSER"], &secret["PGPASSWORD"]);
    branch
        .server
        .admits(user, password, &secret["PGDATABASE"])
        .is_ok()
}

fn delete_secret(sim: &Sim, name: &str) {
    let key = (NAMESPACE.to_owned(), name.to_owned());
    sim.lock().kubernetes.secrets.remove(&key).unwrap();
}

async fn settled_with(spec: serde_json::Value) -> Operator {
    let sim = Sim::new();
    sim.database("it", "production", spec);
    let mut operator = Operator::new(&sim);
    operator.settle().await;
    operator
}

#[tokio::test(start_paused = true)]
async fn a_database_that_is_listed_later_takes_nobodys_secret_away() {
    let mut operator = settled(|sim| sim.database("it", "production", simple())).await;
    let sim = operator.sim.clone();
    let before = sim.secret("it").unwrap();
    sim.edit_database("it", |object| {
        object.spec.databases =
            serde_json::from_value(json!([{"name": "app"}, {"name": "jobs"}])).unwrap();
        let roles =
            json!([{"name": "web", "access": "ReadWrite"}, {"name": "api", "access": "ReadWrite"}]);
        object.spec.roles = serde_json::from_value(roles).unwrap();
    });
    operator.settle().await;
    assert_eq!(sim.secret("it").unwrap(), before);
    assert!(opens(&sim, &before));
    let it = database(&operator, "it");
    assert!(condition(&it, "CredentialsPublished").0);
    check(&sim, &[]);
}

#[tokio::test(start_paused = true)]
async fn a_deleted_secret_comes_back_with_another_login_and_the_old_one_goes_on() {
    let mut operator = settled(|sim| sim.database("it", "production", simple())).await;
    let sim = operator.sim.clone();
    let before = sim.secret("it").unwrap();
    delete_secret(&sim, "it");
    operator.run_for(MINUTE * 12).await;
    let after = sim.secret("it").unwrap();
    assert_ne!(after["PGUSER"], before["PGUSER"]);
    assert!(opens(&sim, &before) && opens(&sim, &after));
    let told = restored(&sim);
    assert_eq!(told.len(), 1, "{told:?}");
    says(
        &told[0],
        &["deleted", "it", &after["PGUSER"], &before["PGUSER"]],
    );
    check(&sim, &[]);
    // its time is over as after a replacement that was due
    operator.run_for(MINUTE * 60 * 25).await;
    assert!(!opens(&sim, &before) && opens(&sim, &after));
    check(&sim, &[]);
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_is_deleted_again_before_the_old_login_is_over_comes_back_all_the_same() {
    let mut operator = settled(|sim| sim.database("it", "production", simple())).await;
    let sim = operator.sim.clone();
    for _ in 0..3 {
        delete_secret(&sim, "it");
        operator.run_for(MINUTE * 12).await;
        assert!(opens(&sim, &sim.secret("it").unwrap()));
    }
    assert_eq!(restored(&sim).len(), 3);
    check(&sim, &[]);
}

#[tokio::test(start_paused = true)]
async fn one_of_several_secrets_comes_back_as_it_was() {
    let mut operator =
        settled(|sim| sim.database("it", "production", two_secrets_of_a_role())).await;
    let sim = operator.sim.clone();
    let before = sim.secret("other").unwrap();
    delete_secret(&sim, "other");
    operator.run_for(MINUTE * 12).await;
    assert_eq!(sim.secret("other").unwrap(), before);
    assert_eq!(restored(&sim).len(), 1);
    sim.edit_secret("taken", "PGHOST", "elsewhere");
    operator.run_for(MINUTE * 12).await;
    let told = restored(&sim);
    assert_eq!(told.len(), 2);
    says(&told[1], &["changed", "taken"]);
    check(&sim, &[]);
}

#[tokio::test(start_paused = true)]
async fn roles_without_a_secret_are_told_how_to_get_one() {
    let roles = json!({"roles": [{"name": "web", "access": "ReadWrite"}, {"name": "job", "access": "ReadWrite"}]});
    let operator = settled_with(with(simple(), roles)).await;
    let (is, reason, message) = condition(&database(&operator, "it"), "CredentialsPublished");
    assert!(is && reason == "NotRequired");
    says(
        &message,
        &["no Secret is asked for", "spec.connectionSecrets"],
    );
    let operator = settled_with(json!({"databases": [{"name": "app"}]})).await;
    let (_, _, message) = condition(&database(&operator, "it"), "CredentialsPublished");
    assert_eq!(message, "no Secret is asked for");
}

#[tokio::test(start_paused = true)]
async fn a_secret_by_another_name_has_the_password_of_before() {
    let sim = Sim::new();
    sim.database("production", "production", simple());
    let mut operator = Operator::new(&sim);
    operator.settle().await;
    let before = sim.secret("production").unwrap();
    sim.edit_database("production", |object| {
        let listed = json!([{"name": "shop"}]);
        object.spec.connection_secrets = serde_json::from_value(listed).unwrap();
    });
    operator.settle().await;
    assert_eq!(sim.secret("shop").unwrap(), before);
    assert_eq!(sim.secret("production"), None);
    check(&sim, &[]);
}

/// A preview that asks for the Secret of production.
fn greedy(sim: &Sim) {
    let theirs = json!({"connectionSecrets": [{"name": "production"}]});
    let spec = with(with(simple(), child_of("production")), theirs);
    sim.database("pr-7", "preview", spec);
}

#[tokio::test(start_paused = true)]
async fn the_secret_of_an_older_object_comes_back_as_its_own_when_it_is_deleted() {
    let sim = Sim::new();
    sim.database("production", "production", simple());
    greedy(&sim);
    let mut operator = Operator::new(&sim);
    operator.run_for(MINUTE * 3).await;
    let own = sim.secret("production").unwrap();
    let told = stalled(&database(&operator, "pr-7"), Reason::SecretConflict);
    says(
        &told,
        &["the Secret production is that of NeonDatabase production"],
    );
    assert!(!told.contains("delete"), "{told}");

    let key = (NAMESPACE.to_owned(), "production".to_owned());
    sim.lock().kubernetes.secrets.remove(&key);
    sim.annotate_database("pr-7", "sepulki.dev/reconcile", "now");
    operator.run_for(MINUTE).await;
    let told = stalled(&database(&operator, "pr-7"), Reason::SecretConflict);
    says(
        &told,
        &["NeonDatabase production, which is older, asks for the Secret production"],
    );
    operator.run_for(MINUTE * 11).await;
    let again = sim.secret("production").unwrap();
    assert_eq!(again["PGHOST"], own["PGHOST"]);
    assert!(database(&operator, "production").is_settled());

    sim.edit_database("pr-7", |object| object.spec.connection_secrets.clear());
    operator.settle().await;
    check(&sim, &[]);
}

#[tokio::test(start_paused = true)]
async fn an_older_object_whose_spec_has_a_mistake_keeps_its_name() {
    let sim = Sim::new();
    sim.database("production", "production", simple());
    greedy(&sim);
    let mut operator = Operator::new(&sim);
    operator.run_for(MINUTE * 3).await;
    sim.edit_database("production", |object| {
        let template = json!({"data": {"URL": "$(pasword)"}});
        let listed = json!([{"name": "production", "template": template}]);
        object.spec.connection_secrets = serde_json::from_value(listed).unwrap();
    });
    operator.run_for(MINUTE).await;
    stalled(&database(&operator, "production"), Reason::InvalidSpec);
    let key = (NAMESPACE.to_owned(), "production".to_owned());
    sim.lock().kubernetes.secrets.remove(&key);
    sim.annotate_database("pr-7", "sepulki.dev/reconcile", "now");
    operator.run_for(MINUTE * 3).await;
    stalled(&database(&operator, "pr-7"), Reason::SecretConflict);
    assert_eq!(sim.secret("production"), None);
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_was_left_is_nobody_elses_to_overwrite() {
    let sim = Sim::new();
    sim.database("production", "production", simple());
    sim.database("staging", "staging", with(simple(), child_of("production")));
    let mut operator = Operator::new(&sim);
    operator.settle().await;
    sim.delete_database("staging");
    operator.settle().await;
    let left = sim.secret("staging").unwrap();
    let theirs = json!({"connectionSecrets": [{"name": "staging"}]});
    let spec = with(with(simple(), child_of("production")), theirs);
    sim.database("pr-7", "preview", spec);
    operator.run_for(MINUTE * 3).await;
    let told = stalled(&database(&operator, "pr-7"), Reason::SecretConflict);
    says(
        &told,
        &[
            "the branch that NeonDatabase staging left",
            "delete that Secret",
        ],
    );
    assert_eq!(sim.secret("staging").unwrap(), left);
}

#[tokio::test(start_paused = true)]
async fn a_name_that_is_taken_keeps_no_other_secret_back() {
    let sim = Sim::new();
    sim.database("production", "production", inside("production"));
    sim.database("it", "staging", two_secrets_of_a_role());
    for name in ["production-web", "taken"] {
        let mut state = sim.lock();
        let kubernetes = &mut state.kubernetes;
        kubernetes.foreign_secret(NAMESPACE, name, &[("mine", "x")]);
    }
    let mut operator = Operator::new(&sim);
    operator.run_for(MINUTE * 3).await;
    // others of the same role, and others of other roles
    for (object, taken, others) in [
        ("it", "taken", ["other"].as_slice()),
        (
            "production",
            "production-web",
            &[
                "production-web-jobs",
                "production-worker",
                "production-report",
            ],
        ),
    ] {
        let told = stalled(&database(&operator, object), Reason::SecretConflict);
        says(&told, &[taken]);
        let (out, _, _) = condition(&database(&operator, object), "CredentialsPublished");
        assert!(!out);
        assert_eq!(sim.secret(taken).unwrap().len(), 1);
        for other in others {
            assert!(sim.secret(other).is_some(), "{other}");
        }
    }
    // they are repaired as well, and nothing is written again and again
    let published = sim.secret("other").unwrap();
    sim.edit_secret("other", "PGHOST", "elsewhere");
    operator.run_for(MINUTE * 12).await;
    assert_eq!(sim.secret("other").unwrap(), published);
    let sessions = sim.lock().sessions;
    operator.run_for(MINUTE * 30).await;
    assert_eq!(sim.lock().sessions, sessions);

    for name in ["production-web", "taken"] {
        let key = (NAMESPACE.to_owned(), name.to_owned());
        sim.lock().kubernetes.secrets.remove(&key);
    }
    operator.run_for(MINUTE * 3).await;
    operator.settle().await;
    assert_eq!(
        sim.secret("taken").unwrap()["PGPASSWORD"],
        published["PGPASSWORD"]
    );
    check(&sim, &[]);
}

#[tokio::test(start_paused = true)]
async fn a_secret_stays_while_the_one_that_is_to_replace_it_cannot_come_out() {
    let mut operator = settled(|sim| sim.database("it", "production", simple())).await;
    let sim = operator.sim.clone();
    let before = sim.secret("it").unwrap();
    let taken = (NAMESPACE.to_owned(), "renamed".to_owned());
    let foreign = [("somebody", "else's")];
    sim.lock()
        .kubernetes
        .foreign_secret(NAMESPACE, "renamed", &foreign);
    sim.edit_database("it", |object| {
        let secrets = json!([{"name": "renamed"}]);
        object.spec.connection_secrets = serde_json::from_value(secrets).unwrap();
    });
    operator.run_for(MINUTE * 3).await;
    stalled(&database(&operator, "it"), Reason::SecretConflict);
    assert_eq!(sim.secret("it").as_ref(), Some(&before));
    assert!(opens(&sim, &before));
    // once it can, the other one goes
    sim.lock().kubernetes.secrets.remove(&taken).unwrap();
    operator.run_for(MINUTE * 12).await;
    assert_eq!(sim.secret("it"), None);
    assert_eq!(
        sim.secret("renamed").unwrap()["PGPASSWORD"],
        before["PGPASSWORD"]
    );
    check(&sim, &[]);
}
