//! What becomes of branches when the cluster is rebuilt: the objects come back, and their statuses do not.

use std::sync::Arc;

use jiff::SignedDuration;
use sepulki::api::{NeonDatabase, Reason};
use sepulki::neon::BranchState;
use sepulki::reconcile::Conditions;
use serde_json::json;

use crate::database::{condition, database, says, stalled};
use crate::invariants::check;
use crate::scene::{FILES, production_and_preview, settled, simple, with};
use crate::world::operator::Operator;
use crate::world::{NAMESPACE, Sim};

const MINUTE: SignedDuration = SignedDuration::from_mins(1);

/// The objects and the key come back from Git; statuses and published Secrets are lost.
fn rebuild(operator: &mut Operator) {
    let now = operator.sim.now();
    let mut state = operator.sim.lock();
    let kubernetes = &mut state.kubernetes;
    kubernetes.secrets.retain(|key, _| key.1 == "neon-api-key");
    let databases: Vec<NeonDatabase> = kubernetes.databases.values().cloned().collect();
    kubernetes.databases.clear();
    for object in databases {
        let mut fresh = NeonDatabase::new(object.metadata.name.as_deref().unwrap(), object.spec);
        fresh.metadata.namespace = Some(NAMESPACE.to_owned());
        let fresh = kubernetes.create(fresh, now);
        let key = (NAMESPACE.to_owned(), fresh.metadata.name.clone().unwrap());
        kubernetes.databases.insert(key, fresh);
    }
    let migrations: Vec<_> = kubernetes.migrations.keys().cloned().collect();
    for key in migrations {
        kubernetes.migrations.get_mut(&key).unwrap().status = None;
    }
    drop(state);
    operator.restart();
}

#[tokio::test(start_paused = true)]
async fn a_rebuilt_cluster_takes_its_branches_up_again() {
    let mut operator = settled(production_and_preview).await;
    let before = operator.sim.branch_names();
    rebuild(&mut operator);
    operator.settle().await;
    check(&operator.sim, &FILES);
    assert_eq!(operator.sim.branch_names(), before);
}

/// A rebuilt cluster in which a second production has come, so that nobody can say which one is staging's parent.
async fn rebuilt_with_two_parents() -> Operator {
    let mut operator = settled(|sim| {
        let disposable = json!({"deletionPolicy": "Delete"});
        sim.database("production", "production", simple());
        sim.database("staging", "staging", with(simple(), disposable));
    })
    .await;
    let other = json!({"branch": {"existing": {"name": "other"}}});
    operator.sim.database("other", "production", other);
    rebuild(&mut operator);
    operator
}

#[tokio::test(start_paused = true)]
async fn a_branch_of_ours_is_taken_up_again_though_its_parent_is_not_clear() {
    let mut operator = rebuilt_with_two_parents().await;
    let sim = Arc::clone(&operator.sim);
    let before = sim.branch_names();
    operator.settle().await;
    let staging = database(&operator, "staging");
    says(
        &stalled(&staging, Reason::ParentRequired),
        &["other, production", "spec.branch.parent"],
    );
    assert!(condition(&staging, "CredentialsPublished").0);
    assert_eq!(sim.branch_names(), before);
    // what it would be made again from is found out once that is clear
    sim.delete_database("other");
    operator.settle().await;
    let staging = database(&operator, "staging");
    assert!(staging.is_settled());
    let parent = staging.status.unwrap().effective.unwrap().parent.unwrap();
    assert_eq!(parent.database_ref.unwrap().name.0, "production");
}

#[tokio::test(start_paused = true)]
async fn a_branch_of_ours_goes_with_its_object_whatever_is_unclear() {
    for is_seen in [true, false] {
        let mut operator = rebuilt_with_two_parents().await;
        if is_seen {
            operator.settle().await;
        } else {
            operator.sim.edit_database("staging", |staging| {
                staging.spec.suspend = true;
                staging.metadata.finalizers = Some(vec!["sepulki.dev/branch".to_owned()]);
            });
            operator.settle().await;
            assert_eq!(database(&operator, "staging").status.unwrap().branch, None);
        }
        operator.sim.delete_database("staging");
        operator.settle().await;
        assert!(operator.sim.get_database("staging").is_none());
        assert_eq!(operator.sim.branch_names(), ["main"], "{is_seen}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_there_before_the_cluster_was_rebuilt_is_not_thrown_away_whatever_its_state() {
    let mut operator = settled(production_and_preview).await;
    let sim = Arc::clone(&operator.sim);
    let id = |sim: &Sim| sim.at_neon(|project, _| project.branches[1].branch.id.clone());
    let before = id(&sim);
    operator.run_for(MINUTE * 10).await;
    sim.at_neon(|project, _| project.branches[1].given_up = Some(BranchState::Init));
    rebuild(&mut operator);
    operator.run_for(MINUTE * 10).await;
    stalled(&database(&operator, "pr-7"), Reason::OperationFailed);
    assert_eq!(id(&sim), before);
}
