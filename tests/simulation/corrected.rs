//! Which database an object is can be corrected until Neon was asked for its branch.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use sepulki::api::{NeonDatabase, ParentBranch, Reason};
use sepulki::reconcile::Conditions;
use serde_json::{Value, json};

use crate::database::{database, reconciling, stalled};
use crate::scene::{child_of, settled, simple, with};
use crate::world::faults::Fault;
use crate::world::operator::Operator;
use crate::world::{PROJECT, Sim};

const MINUTE: SignedDuration = SignedDuration::from_mins(1);

/// What the spec says of the branch from now on.
fn correct(sim: &Sim, branch: Value) {
    sim.edit_database("it", |object| {
        object.spec.branch = Some(serde_json::from_value(branch).unwrap());
    });
}

fn resolved_parent(object: &NeonDatabase) -> Option<ParentBranch> {
    let effective = object.status.as_ref()?.effective.as_ref()?;
    effective.parent.clone()
}

/// Production and an object with this in its spec, after a minute.
async fn beside_production(environment: &str, spec: Value) -> Operator {
    let sim = Sim::new();
    sim.database("production", "production", simple());
    sim.database("it", environment, with(simple(), spec));
    let mut operator = Operator::new(&sim);
    operator.run_for(MINUTE).await;
    operator
}

#[tokio::test(start_paused = true)]
async fn another_parent_is_taken_before_there_is_a_branch() {
    let mut operator = beside_production("preview", child_of("produktion")).await;
    reconciling(&database(&operator, "it"), Reason::ParentNotFound);
    correct(&operator.sim, child_of("production")["branch"].clone());
    operator.settle().await;
    let it = database(&operator, "it");
    assert!(it.is_settled(), "{:?}", it.conditions());
    let parent = resolved_parent(&it).and_then(|parent| parent.database_ref);
    assert_eq!(parent.unwrap().name.0, "production");
    assert_eq!(operator.sim.branch_names(), ["main", "preview/team/it"]);
}

#[tokio::test(start_paused = true)]
async fn another_branch_to_take_over_is_taken_before_one_is_recorded() {
    let existing = json!({"branch": {"existing": {"name": "nosuch"}}});
    let mut operator = beside_production("staging", existing).await;
    stalled(&database(&operator, "it"), Reason::BranchNotFound);
    correct(&operator.sim, json!({"parent": {"branchName": "main"}}));
    operator.settle().await;
    let it = database(&operator, "it");
    assert!(it.is_settled(), "{:?}", it.conditions());
    assert!(!it.status.unwrap().branch.unwrap().taken_over);
}

#[tokio::test(start_paused = true)]
async fn another_project_is_taken_before_there_is_a_branch_and_defaults_are_resolved_there() {
    let sim = Sim::new();
    sim.neon_project("loud-sea-2");
    sim.database("production", "production", simple());
    let elsewhere = with(simple(), json!({"projectId": "loud-sea-2"}));
    sim.database("other", "production", elsewhere.clone());
    // resolves its parent in the other project, and goes no further: the branch's name is taken
    sim.database("it", "staging", elsewhere);
    let project = sepulki::neon::ProjectId::from("loud-sea-2");
    let now = sim.now();
    {
        let mut state = sim.lock();
        let project = state.neon.projects.get_mut(&project).unwrap();
        let main = project.branches[0].branch.id.clone();
        let taken = project.create_branch("staging/team/it", &main, [].into(), now);
        taken.unwrap();
    }
    let mut operator = Operator::new(&sim);
    operator.run_for(MINUTE).await;
    let it = database(&operator, "it");
    stalled(&it, Reason::BranchNameConflict);
    assert_eq!(
        resolved_parent(&it).unwrap().database_ref.unwrap().name.0,
        "other"
    );
    sim.edit_database("it", |object| {
        object.spec.project_id = Some(PROJECT.to_owned());
    });
    operator.settle().await;
    let it = database(&operator, "it");
    assert!(it.is_settled(), "{:?}", it.conditions());
    assert_eq!(
        resolved_parent(&it).unwrap().database_ref.unwrap().name.0,
        "production"
    );
    assert_eq!(it.status.unwrap().project_id.unwrap(), PROJECT);
    assert_eq!(operator.sim.branch_names(), ["main", "staging/team/it"]);
}

/// The API server lets nobody change name and parent while Neon may be making the branch. Should somebody all the same, there is
/// one branch: what it was asked for with.
#[tokio::test(start_paused = true)]
async fn what_neon_was_asked_for_is_not_asked_for_again_otherwise() {
    let undisturbed = settled(a_preview).await;
    let mut effects = undisturbed.sim.faults.effects().into_iter();
    let creation = effects.position(|effect| effect.starts_with("create branch"));
    let sim = Sim::new();
    a_preview(&sim);
    sim.faults.plan(creation.unwrap() + 1, Fault::HeldUp);
    let mut operator = Operator::new(&sim);
    let meanwhile = async {
        sim.faults.held_up().await;
        let other = json!({"name": "other", "parent": {"branchName": "nosuch"}});
        correct(&sim, other);
        sim.faults.go_on();
    };
    tokio::join!(operator.run_for(MINUTE * 3), meanwhile);
    operator.settle().await;
    assert_eq!(sim.branch_names(), ["main", "preview/team/it"]);
    let parent = resolved_parent(&database(&operator, "it"));
    assert_eq!(parent.unwrap().database_ref.unwrap().name.0, "production");
}

fn a_preview(sim: &Sim) {
    sim.database("production", "production", simple());
    sim.database("it", "preview", with(simple(), child_of("production")));
}

/// No answer came, and no branch: then nothing holds on to what it was asked for with.
#[tokio::test(start_paused = true)]
async fn a_request_that_came_to_nothing_is_forgotten_where_it_is_not_made_again() {
    let mut operator = beside_production("preview", child_of("nosuch")).await;
    let sim = operator.sim.clone();
    let asked = |sim: &Sim| {
        let status = sim.get_database("it").unwrap().status.unwrap();
        status.branch_request_time
    };
    let now = sim.now();
    sim.edit_database("it", |object| {
        let status = object.status.as_mut().unwrap();
        status.branch_request_time = Some(whole_seconds(now));
    });
    operator.run_for(MINUTE).await;
    assert!(asked(&sim).is_some());
    operator.run_for(MINUTE * 2).await;
    assert_eq!(asked(&sim), None);
    reconciling(&database(&operator, "it"), Reason::ParentNotFound);
}

fn whole_seconds(now: Timestamp) -> Time {
    Time(Timestamp::from_second(now.as_second()).unwrap())
}
