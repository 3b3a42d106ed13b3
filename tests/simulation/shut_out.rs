//! Who is shut out of a branch: the parent's passwords, and logins of a life that a restore has ended.

use jiff::SignedDuration;
use sepulki::api::{Credentials, NeonDatabase};

use crate::invariants::{branch_of, check};
use crate::scene::{FILES, everything, production_and_preview, settled};
use crate::world::faults::Fault;
use crate::world::neon::SimBranch;
use crate::world::operator::Operator;
use crate::world::{NAMESPACE, Sim};

const MOMENT: SignedDuration = SignedDuration::from_millis(50);

fn staging(sim: &Sim) -> Option<NeonDatabase> {
    let object = sim.get_database("staging")?;
    let branch = object.status.as_ref()?.branch.as_ref()?;
    (branch.credentials == Credentials::Own).then_some(object)
}

/// Roles of Neon's that open with the password that the parent's role of the same name has.
fn open_to_the_parents(sim: &Sim, object: &NeonDatabase) -> Vec<String> {
    let state = sim.lock();
    let child = branch_of(&state, object);
    let parent = child.branch.parent_id.as_ref().unwrap();
    let parent = &state.neon.branch(parent.as_str()).unwrap().server;
    let shared = |name: &&String| {
        let there = parent.roles.get(*name);
        there.is_some_and(|there| there.password == child.server.roles[*name].password)
    };
    let api = |branch: &SimBranch| branch.roles.keys().cloned().collect::<Vec<_>>();
    api(child).iter().filter(shared).cloned().collect()
}

/// Runs until staging's credentials are its own; each effect that matters may be cut short by a crash.
async fn until_own(operator: &mut Operator) -> NeonDatabase {
    for _ in 0..1_000 {
        if let Some(object) = staging(&operator.sim) {
            return object;
        }
        operator.run_for(MOMENT).await;
    }
    panic!("no rest:\n{}", operator.story(40));
}

/// Everything but production is a branch of one that is not protected; how many effects until its last password was reset.
fn scene() -> Operator {
    let sim = Sim::new();
    everything(&sim);
    // a parent that is not protected hands its passwords on
    sim.edit_database("production", |object| {
        object.spec.branch.get_or_insert_default().protected = Some(false);
    });
    Operator::new(&sim)
}

#[tokio::test(start_paused = true)]
async fn a_child_is_its_own_only_when_the_compute_refuses_the_parents_password() {
    let mut operator = scene();
    operator.sim.faults.restart();
    until_own(&mut operator).await;
    let effects = operator.sim.faults.effects();
    let branch = staging(&operator.sim)
        .unwrap()
        .status
        .unwrap()
        .branch
        .unwrap()
        .id;
    let resets = effects.iter().enumerate().filter(|(_, what)| {
        what.starts_with("reset password of") && what.ends_with(&format!("on {branch}"))
    });
    let resets: Vec<usize> = resets.map(|(at, _)| at + 1).collect();
    assert!(resets.len() > 1, "{effects:?}");
    for at in resets {
        for fault in [Fault::Crash, Fault::AnswerLost] {
            let mut operator = scene();
            operator.sim.faults.restart();
            operator.sim.faults.plan(at, fault);
            let object = until_own(&mut operator).await;
            let open = open_to_the_parents(&operator.sim, &object);
            assert_eq!(open, [""; 0], "after {fault:?} at {at}");
            operator.settle().await;
            check(&operator.sim, &FILES);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn logins_of_a_life_before_a_restore_are_closed_where_the_branch_was_taken_over() {
    let mut operator = settled(production_and_preview).await;
    let sim = operator.sim.clone();
    let before = sim.secret("production").unwrap();
    sim.at_neon(|project, now| {
        // restored in place to a moment of its own history
        project.branches[0].branch.last_reset_at = Some(now);
    });
    operator.run_for(SignedDuration::from_mins(2)).await;
    operator.settle().await;
    check(&sim, &FILES);
    let after = sim.secret("production").unwrap();
    assert_ne!(before["PGUSER"], after["PGUSER"]);
    let state = sim.lock();
    let key = (NAMESPACE.to_owned(), "production".to_owned());
    let server = &branch_of(&state, &state.kubernetes.databases[&key]).server;
    let opens = server.admits(&before["PGUSER"], &before["PGPASSWORD"], "app");
    assert!(opens.is_err(), "the login of the life before is open");
}
