//! Who is shut out of a branch: the parent's passwords, and logins of a life that a restore has ended.

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;
use sepulki::api::{Credentials, NeonDatabase};

use crate::invariants::{branch_of, check};
use crate::scene::{FILES, everything, production_and_preview, settled};
use crate::world::faults::Fault;
use crate::world::neon::SimBranch;
use crate::world::operator::Operator;
use crate::world::postgres::PgRole;
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

/// Production, restored in place to a moment of its own history when its roles were as `then` makes them.
async fn restored(then: impl FnOnce(&mut BTreeMap<String, PgRole>)) -> Operator {
    let mut operator = settled(production_and_preview).await;
    operator.sim.at_neon(|project, now| {
        let branch = &mut project.branches[0];
        branch.branch.last_reset_at = Some(now);
        then(&mut branch.server.roles);
    });
    operator.run_for(SignedDuration::from_mins(2)).await;
    operator.settle().await;
    check(&operator.sim, &FILES);
    operator
}

/// How many passwords there ever were of Secrets, of production and a preview.
fn published(sim: &Sim) -> usize {
    let passwords: BTreeSet<String> = sim.lock().passwords.iter().cloned().collect();
    passwords.len()
}

fn opens(sim: &Sim, user: &str, password: &str) -> bool {
    let state = sim.lock();
    let key = (NAMESPACE.to_owned(), "production".to_owned());
    let server = &branch_of(&state, &state.kubernetes.databases[&key]).server;
    server.admits(user, password, "app").is_ok()
}

#[tokio::test(start_paused = true)]
async fn who_uses_a_branch_that_was_taken_over_goes_on_after_a_restore() {
    let before = settled(production_and_preview).await;
    let before = before.sim.secret("production").unwrap();
    let login = before["PGUSER"].clone();
    let operator = restored(|_| ()).await;
    let after = operator.sim.secret("production").unwrap();
    assert_eq!(after["PGUSER"], login);
    assert!(opens(&operator.sim, &login, &after["PGPASSWORD"]));

    // what is published counts, whatever the password was then, and where the login was not made yet
    let older = |roles: &mut BTreeMap<String, PgRole>| {
        roles.get_mut(&login).unwrap().password = Some("of then".to_owned());
    };
    let none = |roles: &mut BTreeMap<String, PgRole>| {
        roles.remove(&login);
    };
    for operator in [restored(older).await, restored(none).await] {
        let sim = &operator.sim;
        let after = sim.secret("production").unwrap();
        assert_eq!(after["PGUSER"], login);
        assert!(opens(sim, &login, &after["PGPASSWORD"]));
        assert!(!opens(sim, &login, "of then"));
        assert_eq!(published(sim), 2, "the same password, set once more");
    }
}

#[tokio::test(start_paused = true)]
async fn a_login_that_a_restore_brings_back_is_closed() {
    let brought_back = |roles: &mut BTreeMap<String, PgRole>| {
        let (name, role) = roles.iter().find(|(_, role)| role.mark.is_some()).unwrap();
        let (group, _) = name.rsplit_once("_g").unwrap();
        let dropped = PgRole {
            password: Some("of then".to_owned()),
            ..role.clone()
        };
        roles.insert(format!("{group}_g7"), dropped);
    };
    let operator = restored(brought_back).await;
    assert!(!opens(&operator.sim, "app_g7", "of then"));
}

#[tokio::test(start_paused = true)]
async fn a_password_that_the_parent_has_replaced_since_the_fork_opens_no_child() {
    let mut operator = scene();
    let sim = operator.sim.clone();
    let staging_is_there = |sim: &Sim| {
        let object = sim.get_database("staging")?;
        object.status?.branch
    };
    let id = loop {
        if let Some(branch) = staging_is_there(&sim) {
            break branch.id;
        }
        operator.run_for(MOMENT).await;
    };
    let copied = sim.lock().neon.branch(&id).unwrap().roles.clone();
    sim.at_neon(|project, now| {
        let main = project.branches[0].branch.id.clone();
        for role in copied.keys() {
            project.give_password(&main, role, now);
        }
    });
    until_own(&mut operator).await;
    let state = sim.lock();
    let child = state.neon.branch(&id).unwrap();
    for (role, password) in &copied {
        assert_ne!(
            child.server.roles[role].password.as_ref(),
            Some(password),
            "{role}"
        );
    }
}
