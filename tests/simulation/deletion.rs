//! What becomes of branches, Secrets and objects when somebody deletes.

use std::pin::pin;
use std::sync::Arc;

use jiff::SignedDuration;
use sepulki::api::{ABANDON, DeletionPolicy, Reason};
use sepulki::reconcile::Conditions;
use serde_json::json;

use crate::database::{condition, reconciling, says, stalled};
use crate::invariants::{check, check_gone};
use crate::scene::{child_of, settled, simple, with};
use crate::world::faults::Fault;
use crate::world::neon::{Hang, Project};
use crate::world::operator::Operator;
use crate::world::{API_KEY, NAMESPACE, Sim};

const MINUTE: SignedDuration = SignedDuration::from_mins(1);

fn family(sim: &Sim) {
    let disposable = json!({"deletionPolicy": "Delete"});
    sim.database("production", "production", simple());
    sim.database("staging", "staging", with(simple(), disposable));
    sim.database("pr-7", "preview", with(simple(), child_of("staging")));
    sim.database("pr-8", "preview", with(simple(), child_of("staging")));
}

fn preview(sim: &Sim) {
    sim.database("production", "production", simple());
    sim.database("pr-7", "preview", with(simple(), child_of("production")));
}

fn remove_key(operator: &Operator) {
    let key = (NAMESPACE.to_owned(), "neon-api-key".to_owned());
    operator.sim.lock().kubernetes.secrets.remove(&key);
}

fn put_key_back(operator: &Operator) {
    let key = [("apiKey", API_KEY)];
    let kubernetes = &mut operator.sim.lock().kubernetes;
    kubernetes.foreign_secret(NAMESPACE, "neon-api-key", &key);
}

#[tokio::test(start_paused = true)]
async fn a_parent_waits_for_its_children_and_says_for_whom() {
    let mut operator = settled(family).await;
    operator.sim.delete_database("staging");
    operator.run_for(MINUTE).await;
    let staging = operator.sim.get_database("staging").unwrap();
    let message = reconciling(&staging, Reason::ChildrenExist);
    assert_eq!(
        message,
        "the branch staging/team/staging has children: preview/team/pr-7 (NeonDatabase team/pr-7), \
         preview/team/pr-8 (NeonDatabase team/pr-8)"
    );
    operator.sim.delete_database("pr-7");
    operator.run_for(MINUTE).await;
    let message = reconciling(
        &operator.sim.get_database("staging").unwrap(),
        Reason::ChildrenExist,
    );
    assert!(
        message.ends_with("has children: preview/team/pr-8 (NeonDatabase team/pr-8)"),
        "{message}"
    );
    operator.sim.delete_database("pr-8");
    operator.settle().await;
    for name in ["staging", "pr-7", "pr-8"] {
        check_gone(&operator.sim, name, false);
    }
    check(&operator.sim, &[]);
}

#[tokio::test(start_paused = true)]
async fn a_child_that_is_nobodys_object_is_named_too() {
    let mut operator = settled(preview).await;
    operator.sim.edit_database("pr-7", |object| {
        object.spec.branch.as_mut().unwrap().lease = Some("never".into());
    });
    operator.settle().await;
    operator.sim.at_neon(|project, now| {
        let parent = project.branches[1].branch.id.clone();
        project
            .create_branch("by-hand", &parent, std::collections::BTreeMap::new(), now)
            .unwrap();
    });
    operator.sim.delete_database("pr-7");
    operator.run_for(MINUTE * 3).await;
    let message = reconciling(
        &operator.sim.get_database("pr-7").unwrap(),
        Reason::ChildrenExist,
    );
    assert_eq!(
        message,
        "the branch preview/team/pr-7 has children: by-hand"
    );
    operator
        .sim
        .at_neon(|project, _| project.branches.retain(|b| b.branch.name != "by-hand"));
    operator.run_for(MINUTE * 3).await;
    check_gone(&operator.sim, "pr-7", false);
}

#[tokio::test(start_paused = true)]
async fn retain_needs_neither_key_nor_neon() {
    let mut operator = settled(preview).await;
    operator.sim.edit_database("pr-7", |object| {
        object.spec.deletion_policy = Some(DeletionPolicy::Retain);
    });
    operator.settle().await;
    remove_key(&operator);
    operator.restart();
    operator.sim.lock().neon.keys.clear();
    let before = operator.sim.lock().neon.calls.clone();
    operator.sim.delete_database("pr-7");
    operator.sim.delete_database("production");
    operator.settle().await;
    assert_eq!(operator.sim.lock().neon.calls, before);
    check_gone(&operator.sim, "pr-7", true);
    check_gone(&operator.sim, "production", true);
}

#[tokio::test(start_paused = true)]
async fn retain_waits_for_the_key_that_can_end_a_lease() {
    let mut operator = settled(preview).await;
    remove_key(&operator);
    operator.restart();
    operator.sim.edit_database("pr-7", |object| {
        object.spec.deletion_policy = Some(DeletionPolicy::Retain);
    });
    operator.sim.delete_database("pr-7");
    operator.run_for(MINUTE * 10).await;
    let message = reconciling(
        &operator.sim.get_database("pr-7").unwrap(),
        Reason::KeyNotFound,
    );
    assert!(message.contains("sepulki.dev/abandon"), "{message}");
    put_key_back(&operator);
    operator.run_for(MINUTE * 10).await;
    check_gone(&operator.sim, "pr-7", true);
    let leased = |project: &mut Project, _| project.branches[1].branch.expires_at;
    assert_eq!(operator.sim.at_neon(leased), None);
}

#[tokio::test(start_paused = true)]
async fn delete_waits_for_a_key_that_is_missing() {
    let mut operator = settled(preview).await;
    operator.restart();
    remove_key(&operator);
    operator.sim.delete_database("pr-7");
    operator.run_for(MINUTE).await;
    reconciling(
        &operator.sim.get_database("pr-7").unwrap(),
        Reason::KeyNotFound,
    );
    put_key_back(&operator);
    operator.run_for(MINUTE * 2).await;
    check_gone(&operator.sim, "pr-7", false);
}

#[tokio::test(start_paused = true)]
async fn delete_is_blocked_by_a_key_that_is_refused() {
    let mut operator = settled(preview).await;
    let keys = std::mem::take(&mut operator.sim.lock().neon.keys);
    operator.sim.delete_database("pr-7");
    operator.run_for(MINUTE * 3).await;
    stalled(
        &operator.sim.get_database("pr-7").unwrap(),
        Reason::KeyRefused,
    );
    operator.sim.lock().neon.keys = keys;
    operator.run_for(MINUTE * 3).await;
    check_gone(&operator.sim, "pr-7", false);
}

#[tokio::test(start_paused = true)]
async fn a_protected_branch_is_told_before_it_is_tried() {
    let mut operator = settled(preview).await;
    operator.sim.at_neon(|project, _| {
        project.branches[1].branch.expires_at = None;
        project.branches[1].branch.protected = true;
    });
    operator.sim.delete_database("pr-7");
    operator.run_for(MINUTE * 3).await;
    let message = stalled(
        &operator.sim.get_database("pr-7").unwrap(),
        Reason::BranchProtected,
    );
    assert!(message.contains("unprotect it on Neon"), "{message}");
    let calls = operator.sim.lock().neon.calls.mutations.clone();
    assert!(
        !calls.iter().any(|call| call.starts_with("delete")),
        "{calls:?}"
    );
    operator
        .sim
        .at_neon(|project, _| project.branches[1].branch.protected = false);
    operator.run_for(MINUTE * 3).await;
    check_gone(&operator.sim, "pr-7", false);
}

#[tokio::test(start_paused = true)]
async fn a_branch_that_the_spec_protects_is_let_go_by_the_spec() {
    let mut operator = settled(|sim: &Sim| {
        sim.database("production", "production", simple());
        let mut spec = with(simple(), child_of("production"));
        spec["branch"]["protected"] = json!(true);
        spec["deletionPolicy"] = json!("Delete");
        sim.database("pr-7", "staging", spec);
    })
    .await;
    operator.sim.delete_database("pr-7");
    operator.run_for(MINUTE * 3).await;
    let object = operator.sim.get_database("pr-7").unwrap();
    let message = stalled(&object, Reason::BranchProtected);
    assert!(
        message.contains("(spec.branch.protected): set that to false"),
        "{message}"
    );
    operator.sim.edit_database("pr-7", |object| {
        object.spec.branch.as_mut().unwrap().protected = Some(false);
    });
    operator.run_for(MINUTE * 3).await;
    check_gone(&operator.sim, "pr-7", false);
}

#[tokio::test(start_paused = true)]
async fn a_mark_that_was_set_a_moment_ago_counts() {
    let mut operator = settled(preview).await;
    let sim = operator.sim.clone();
    operator.run_for(MINUTE).await;
    sim.at_neon(|project, _| {
        let marks = &mut project.branches[1].branch.annotations;
        marks.insert("sepulki-installation".to_owned(), "another".to_owned());
    });
    sim.delete_database("pr-7");
    operator.run_for(MINUTE).await;
    let object = sim.get_database("pr-7").unwrap();
    let message = stalled(&object, Reason::BranchClaimed);
    assert!(message.contains("installation another"), "{message}");
    assert_eq!(sim.branch_names().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_neon_does_not_delete_for_reasons_of_its_own_can_be_let_go() {
    let mut operator = settled(preview).await;
    let sim = operator.sim.clone();
    let id = sim.at_neon(|project, _| {
        project.keeps = Some("branch is the source of a replication");
        project.branches[1].branch.id.clone()
    });
    sim.delete_database("pr-7");
    operator.run_for(MINUTE * 3).await;
    let message = stalled(&sim.get_database("pr-7").unwrap(), Reason::NeonRejected);
    let way_out = format!("{ABANDON}: {id}");
    for part in ["source of a replication", way_out.as_str()] {
        assert!(message.contains(part), "{message}");
    }
    sim.at_neon(|project, _| project.keeps = None);
    operator.run_for(MINUTE * 20).await;
    assert!(sim.get_database("pr-7").is_none());
    assert_eq!(sim.branch_names(), ["main"]);
}

#[tokio::test(start_paused = true)]
async fn a_branch_that_bears_anothers_mark_is_not_deleted() {
    let mut operator = settled(preview).await;
    let before = operator.sim.branch_names();
    operator.sim.at_neon(|project, _| {
        let marks = &mut project.branches[1].branch.annotations;
        marks.insert("sepulki-installation".to_owned(), "another".to_owned());
    });
    operator.run_for(MINUTE * 2).await;
    operator.sim.delete_database("pr-7");
    operator.run_for(MINUTE * 3).await;
    let object = operator.sim.get_database("pr-7").unwrap();
    let message = stalled(&object, Reason::BranchClaimed);
    assert!(
        message.contains("team/pr-7 of installation another"),
        "{message}"
    );
    assert_eq!(operator.sim.branch_names(), before);
    // a person who has taken it away has not said that the branch is to stay
    operator
        .sim
        .at_neon(|project, _| project.branches[1].branch.annotations.clear());
    operator.run_for(MINUTE * 3).await;
    check_gone(&operator.sim, "pr-7", false);
}

#[tokio::test(start_paused = true)]
async fn a_branch_that_was_taken_over_goes_only_on_double_consent() {
    let taken_over = |existing: serde_json::Value| json!({"branch": {"existing": existing}, "deletionPolicy": "Delete"});
    for (by_id, retained) in [(false, true), (true, false)] {
        let sim = Sim::new();
        let id = sim.at_neon(|project, now| {
            let main = project.branches[0].branch.id.clone();
            project
                .create_branch("old", &main, std::collections::BTreeMap::new(), now)
                .unwrap()
        });
        let existing = if by_id {
            json!({"id": id.as_str()})
        } else {
            json!({"name": "old"})
        };
        sim.database("it", "development", with(simple(), taken_over(existing)));
        let mut operator = Operator::new(&sim);
        operator.settle().await;
        assert!(condition(&sim.get_database("it").unwrap(), "Ready").0);
        sim.delete_database("it");
        operator.settle().await;
        assert!(sim.get_database("it").is_none());
        assert_eq!(sim.branch_names().contains(&"old".to_owned()), retained);
        assert_eq!(sim.secret("it").is_some(), retained);
    }
}

#[tokio::test(start_paused = true)]
async fn an_object_that_never_got_anywhere_goes_at_once() {
    let sim = Sim::new();
    sim.database("lost", "preview", with(simple(), child_of("nobody")));
    sim.database("wrong", "preview", json!({"projectId": "loud-sea-2"}));
    let mut operator = Operator::new(&sim);
    operator.run_for(MINUTE).await;
    sim.delete_database("lost");
    sim.delete_database("wrong");
    operator.settle().await;
    assert!(sim.lock().kubernetes.databases.is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_object_is_let_go_by_the_name_of_its_branch_where_nobody_knows_more() {
    let undisturbed = settled(preview).await;
    let mut effects = undisturbed.sim.faults.effects().into_iter();
    let creation = effects.position(|effect| effect.starts_with("create branch"));
    let sim = Sim::new();
    preview(&sim);
    sim.faults.plan(creation.unwrap() + 1, Fault::HeldUp);
    let mut asking = Operator::new(&sim);
    tokio::select! {
        biased;
        () = sim.faults.held_up() => {}
        _ = asking.settle() => panic!("no branch was asked for"),
    }
    // whoever asked is gone, and so is the key
    drop(asking);
    let mut operator = Operator::new(&sim);
    remove_key(&operator);
    sim.delete_database("pr-7");
    operator.run_for(MINUTE).await;
    let told = reconciling(&sim.get_database("pr-7").unwrap(), Reason::KeyNotFound);
    let value = told.rsplit_once("sepulki.dev/abandon: ").unwrap().1;
    assert_eq!(value, "preview/team/pr-7");
    sim.annotate_database("pr-7", ABANDON, value);
    operator.run_for(MINUTE).await;
    assert!(sim.get_database("pr-7").is_none());
}

#[tokio::test(start_paused = true)]
async fn a_namespace_that_goes_uses_the_last_good_key() {
    let mut operator = settled(preview).await;
    // long enough that the key is not remembered as just read
    operator.run_for(MINUTE * 3).await;
    operator
        .sim
        .at_neon(|project, now| project.busy_until(now + MINUTE * 5));
    let now = operator.sim.now();
    operator
        .sim
        .lock()
        .kubernetes
        .delete_namespace(NAMESPACE, now);
    operator.run_for(MINUTE * 3).await;
    let waits = operator.sim.get_database("pr-7").unwrap();
    reconciling(&waits, Reason::ProjectLocked);
    operator.run_for(MINUTE * 5).await;
    assert_eq!(operator.sim.branch_names(), ["main"]);
    assert!(operator.sim.lock().kubernetes.namespaces.is_empty());
    assert!(
        !operator
            .passes
            .iter()
            .any(|pass| pass.contains("LeaveBehind"))
    );
}

#[tokio::test(start_paused = true)]
async fn a_namespace_goes_even_if_nobody_has_a_key_any_more() {
    let mut operator = settled(preview).await;
    let now = operator.sim.now();
    operator
        .sim
        .lock()
        .kubernetes
        .delete_namespace(NAMESPACE, now);
    operator.restart();
    operator.settle().await;
    assert!(operator.sim.lock().kubernetes.namespaces.is_empty());
    assert_eq!(operator.sim.branch_names(), ["main", "preview/team/pr-7"]);
    let told = operator
        .passes
        .iter()
        .filter(|pass| pass.contains("LeaveBehind"));
    assert_eq!(told.count(), 1);
    assert_eq!(operator.left_behind(), 1);
    // and Neon takes it when its lease runs out
    operator.sim.advance(SignedDuration::from_hours(73)).await;
    assert_eq!(operator.sim.branch_names(), ["main"]);
}

#[tokio::test(start_paused = true)]
async fn a_whole_family_in_a_namespace_goes_in_order() {
    let mut operator = settled(family).await;
    let now = operator.sim.now();
    operator
        .sim
        .lock()
        .kubernetes
        .delete_namespace(NAMESPACE, now);
    operator.settle().await;
    assert!(operator.sim.lock().kubernetes.namespaces.is_empty());
    assert_eq!(operator.sim.branch_names(), ["main"]);
}

#[tokio::test(start_paused = true)]
async fn a_branch_that_comes_after_its_object_was_deleted_is_not_left_behind() {
    let is_creation = |effect: &String| effect.starts_with("create branch");
    let undisturbed = settled(preview).await;
    let effects = undisturbed.sim.faults.effects();
    let creation = effects.iter().position(is_creation).unwrap() + 1;

    let sim = Sim::new();
    preview(&sim);
    sim.faults.plan(creation, Fault::HeldUp);
    let (mut one, mut two) = (Operator::new(&sim), Operator::new(&sim));
    {
        let mut asking = pin!(one.settle());
        tokio::select! {
            biased;
            () = sim.faults.held_up() => {}
            _ = &mut asking => panic!("no branch was asked for"),
        }
        // whoever asked Neon is gone with the answer, and Neon is slow
        sim.delete_database("pr-7");
        two.run_for(MINUTE).await;
        reconciling(
            &sim.get_database("pr-7").unwrap(),
            Reason::OperationsRunning,
        );
        sim.faults.go_on();
        asking.await;
    }
    two.settle().await;
    check_gone(&sim, "pr-7", false);
    assert_eq!(sim.branch_names(), ["main"]);
}

#[tokio::test(start_paused = true)]
async fn what_neon_has_to_do_to_delete_a_branch_is_waited_for() {
    let mut operator = settled(preview).await;
    let sim = operator.sim.clone();
    sim.at_neon(|project, _| project.hangs = Some(Hang::LetsOthers));
    sim.delete_database("pr-7");
    operator.run_for(MINUTE).await;
    let object = sim.get_database("pr-7").unwrap();
    let message = reconciling(&object, Reason::OperationsRunning);
    assert_eq!(message, "Neon is at work: delete_timeline");
    assert_eq!(object.status.unwrap().operations.len(), 1);
    sim.at_neon(Project::goes_on);
    operator.run_for(MINUTE).await;
    check_gone(&sim, "pr-7", false);
    check(&sim, &[]);
}

#[tokio::test(start_paused = true)]
async fn what_neon_does_not_get_done_holds_no_object_back_for_ever() {
    let mut operator = settled(preview).await;
    let sim = operator.sim.clone();
    sim.at_neon(|project, _| project.hangs = Some(Hang::LetsOthers));
    sim.delete_database("pr-7");
    operator.run_for(MINUTE * 6).await;
    check_gone(&sim, "pr-7", false);
}

#[tokio::test(start_paused = true)]
async fn what_is_to_stay_survives_a_deletion_in_the_foreground() {
    let mut operator = settled(family).await;
    for name in ["pr-8", "production"] {
        operator.sim.delete_database_in_foreground(name);
    }
    operator.settle().await;
    check_gone(&operator.sim, "production", true);
    check_gone(&operator.sim, "pr-8", false);
}

/// Production, and a staging that goes with its branch.
fn disposable_staging(sim: &Sim) {
    let disposable = json!({"deletionPolicy": "Delete"});
    sim.database("production", "production", simple());
    sim.database("staging", "staging", with(simple(), disposable));
}

#[tokio::test(start_paused = true)]
async fn a_change_of_policy_says_whose_the_secrets_are_without_a_login() {
    let mut operator = settled(disposable_staging).await;
    let sim = operator.sim.clone();
    let policy = |policy: DeletionPolicy| {
        sim.edit_database("staging", |object| {
            object.spec.deletion_policy = Some(policy);
        });
    };
    let owners = || {
        let key = (NAMESPACE.to_owned(), "staging".to_owned());
        let secret = sim.lock().kubernetes.secrets[&key].secret.clone();
        secret.metadata.owner_references.unwrap_or_default().len()
    };
    let logins = || sim.lock().sessions;
    assert_eq!(owners(), 1);
    let before = logins();
    policy(DeletionPolicy::Retain);
    operator.settle().await;
    assert_eq!(owners(), 0);
    check(&sim, &[]);
    policy(DeletionPolicy::Delete);
    operator.settle().await;
    assert_eq!(owners(), 1);
    check(&sim, &[]);
    assert_eq!(logins(), before, "nobody had to log in for that");
    policy(DeletionPolicy::Retain);
    operator.settle().await;
    sim.delete_database_in_foreground("staging");
    operator.settle().await;
    check_gone(&sim, "staging", true);
}

/// Something that happens, in words.
type Event = (&'static str, fn(&Sim));

/// Each is in the way of an object whose policy is set to Retain.
const IN_THE_WAY: [Event; 5] = [
    ("it is suspended", |sim| {
        sim.edit_database("staging", |object| object.spec.suspend = true);
    }),
    ("its spec cannot be carried out", |sim| {
        sim.edit_database("staging", |object| {
            let roles = json!([{"name": "pg_monitor", "access": "ReadOnly"}]);
            object.spec.roles = serde_json::from_value(roles).unwrap();
        });
    }),
    ("its key is gone", |sim| {
        let key = (NAMESPACE.to_owned(), "neon-api-key".to_owned());
        sim.lock().kubernetes.secrets.remove(&key).unwrap();
    }),
    ("Neon refuses its key", |sim| sim.lock().neon.keys.clear()),
    ("a migration is at work", |sim| {
        sim.at_neon(|project, _| {
            let branch = project
                .branches
                .iter_mut()
                .find(|b| b.branch.parent_id.is_some());
            for database in branch.unwrap().server.databases.values_mut() {
                database.locked = true;
            }
        });
    }),
];

#[tokio::test(start_paused = true)]
async fn whatever_is_in_the_way_a_policy_of_retain_keeps_the_secrets() {
    for (what, happens) in IN_THE_WAY {
        let mut operator = settled(disposable_staging).await;
        let sim = operator.sim.clone();
        happens(&sim);
        operator.restart();
        operator.run_for(MINUTE).await;
        sim.edit_database("staging", |object| {
            object.spec.deletion_policy = Some(DeletionPolicy::Retain);
        });
        operator.run_for(MINUTE).await;
        sim.delete_database_in_foreground("staging");
        operator.run_for(MINUTE).await;
        assert!(sim.secret("staging").is_some(), "{what}");
    }
}

/// The mark of a branch names no environment: a preview must not take up, and delete one day, what staging has left.
#[tokio::test(start_paused = true)]
async fn what_an_earlier_object_of_the_name_has_left_is_not_that_of_another_environment() {
    let mut operator = settled(|sim| {
        sim.database("production", "production", simple());
        sim.database("it", "staging", simple());
    })
    .await;
    let sim = Arc::clone(&operator.sim);
    let left = (sim.branch_names(), sim.secret("it"));
    sim.delete_database("it");
    operator.settle().await;
    check_gone(&sim, "it", true);

    sim.database("it", "preview", with(simple(), child_of("production")));
    operator.run_for(MINUTE * 10).await;
    let message = stalled(&sim.get_database("it").unwrap(), Reason::BranchClaimed);
    says(&message, &["staging/team/it", "spec.branch.existing"]);
    sim.delete_database("it");
    operator.settle().await;
    assert!(sim.get_database("it").is_none());
    assert_eq!((sim.branch_names(), sim.secret("it")), left);

    sim.database("it", "staging", simple());
    operator.settle().await;
    assert!(sim.get_database("it").unwrap().is_settled());
    assert_eq!((sim.branch_names(), sim.secret("it")), left);
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_neon_does_not_end_is_told_with_the_way_out() {
    let mut operator = settled(preview).await;
    let sim = Arc::clone(&operator.sim);
    sim.at_neon(|project, _| project.plan.keeps_leases = true);
    sim.edit_database("pr-7", |object| {
        object.spec.deletion_policy = Some(DeletionPolicy::Retain);
    });
    sim.delete_database("pr-7");
    operator.run_for(MINUTE * 3).await;
    let pr = sim.get_database("pr-7").unwrap();
    let message = stalled(&pr, Reason::NeonRejected);
    let id = pr.status.unwrap().branch.unwrap().id;
    says(&message, &["cannot be removed", ABANDON, &id]);
    sim.annotate_database("pr-7", ABANDON, &id);
    operator.run_for(MINUTE * 3).await;
    assert!(sim.get_database("pr-7").is_none());
}
