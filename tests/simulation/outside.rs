//! What becomes of branches when others are at them, and Neon tells of it late.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::SignedDuration;
use sepulki::api::Reason;
use sepulki::neon::BranchState;
use sepulki::reconcile::Conditions;
use serde_json::json;

use crate::database::{condition, database, says, stalled};
use crate::invariants::check;
use crate::scene::{FILES, child_of, production_and_preview, settled, simple, with};
use crate::world::Sim;
use crate::world::neon::Project;
use crate::world::operator::Operator;

const MINUTE: SignedDuration = SignedDuration::from_mins(1);

#[tokio::test(start_paused = true)]
async fn a_staging_that_was_deleted_outside_is_not_made_again() {
    let mut operator = settled(|sim| {
        sim.database("production", "production", simple());
        sim.database("staging", "staging", simple());
    })
    .await;
    operator
        .sim
        .at_neon(|project, _| project.branches.truncate(1));
    operator.run_for(MINUTE * 3).await;
    let staging = database(&operator, "staging");
    let message = stalled(&staging, Reason::BranchMissing);
    let id = staging.status.unwrap().branch.unwrap().id;
    let parts = [
        id.as_str(),
        "deleted outside",
        "spec.onExternalDeletion.action",
        "Recreate",
    ];
    says(&message, &parts);
    assert_eq!(operator.sim.branch_names(), ["main"]);
    assert!(database(&operator, "production").is_settled());
    operator.sim.edit_database("staging", |object| {
        let recreate = serde_json::from_value(json!({"action": "Recreate"})).unwrap();
        object.spec.on_external_deletion = Some(recreate);
    });
    operator.settle().await;
    check(&operator.sim, &[]);
}

#[tokio::test(start_paused = true)]
async fn a_preview_that_was_deleted_outside_is_made_again_with_other_credentials() {
    let mut operator = settled(production_and_preview).await;
    let before = (
        operator.sim.secret("pr-7").unwrap(),
        database(&operator, "pr-7"),
    );
    operator
        .sim
        .at_neon(|project, _| project.branches.truncate(1));
    operator.run_for(MINUTE * 3).await;
    operator.settle().await;
    check(&operator.sim, &FILES);
    let after = (
        operator.sim.secret("pr-7").unwrap(),
        database(&operator, "pr-7"),
    );
    assert_ne!(before.0["PGPASSWORD"], after.0["PGPASSWORD"]);
    assert_ne!(before.0["PGHOST"], after.0["PGHOST"]);
    assert_ne!(
        before.1.status.unwrap().branch,
        after.1.status.unwrap().branch
    );
}

#[tokio::test(start_paused = true)]
async fn a_list_that_lags_behind_makes_no_branch_look_deleted() {
    let mut operator = settled(|sim| {
        sim.database("production", "production", simple());
        sim.database("staging", "staging", simple());
        sim.database("pr-7", "preview", with(simple(), child_of("production")));
    })
    .await;
    let sim = Arc::clone(&operator.sim);
    let before = sim.lock().neon.calls.mutations.clone();
    for _ in 0..3 {
        operator.run_for(MINUTE * 2).await;
        sim.at_neon(Project::list_late);
    }
    operator.run_for(MINUTE * 2).await;
    assert_eq!(sim.lock().neon.calls.mutations, before);
    check(&sim, &[]);
    // nor is one left behind that is deleted then
    sim.at_neon(Project::list_late);
    sim.delete_database("pr-7");
    operator.settle().await;
    assert_eq!(sim.branch_names(), ["main", "staging/team/staging"]);
}

#[tokio::test(start_paused = true)]
async fn an_archived_parent_is_forked_from_and_one_that_is_being_reset_is_waited_for() {
    for (state, is_forked) in [
        (BranchState::Archived, true),
        (BranchState::Other("sleeping".into()), true),
        (BranchState::Resetting, false),
    ] {
        let sim = Sim::new();
        sim.at_neon(|project, now| {
            let main = project.branches[0].branch.id.clone();
            let made = project.create_branch("base", &main, BTreeMap::new(), now);
            project.find(&made.unwrap()).unwrap().given_up = Some(state.clone());
        });
        let base = json!({"branch": {"parent": {"branchName": "base"}}});
        sim.database("pr-7", "preview", with(simple(), base));
        let mut operator = Operator::new(&sim);
        operator.run_for(MINUTE).await;
        let pr = sim.get_database("pr-7").unwrap();
        assert_eq!(
            pr.is_settled(),
            is_forked,
            "{state:?}: {:?}",
            pr.conditions()
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_branch_that_was_reset_takes_its_credentials_again() {
    let mut operator = settled(|sim| {
        sim.files(&FILES);
        sim.database("production", "production", simple());
        sim.migration("production", json!({}));
    })
    .await;
    // so that its login has a name that the parent's do not have
    let spec = with(simple(), child_of("production"));
    operator.sim.database("pr-7", "preview", spec);
    operator.sim.migration("pr-7", json!({}));
    operator.settle().await;
    let before = operator.sim.secret("pr-7").unwrap();
    operator.sim.at_neon(|project, now| {
        let id = project.branches[1].branch.id.clone();
        project.reset_to_parent(&id, now);
    });
    operator.run_for(MINUTE * 3).await;
    operator.settle().await;
    check(&operator.sim, &FILES);
    // whoever uses them goes on
    assert_eq!(operator.sim.secret("pr-7").unwrap(), before);
}

#[tokio::test(start_paused = true)]
async fn a_branch_whose_name_another_one_has_taken_is_told_and_goes_on() {
    let mut operator = settled(production_and_preview).await;
    let sim = Arc::clone(&operator.sim);
    let id = sim.at_neon(|project, now| {
        let renamed = &mut project.branches[1].branch;
        renamed.name = "mine".into();
        let id = renamed.id.clone();
        let main = project.branches[0].branch.id.clone();
        let made = project.create_branch("preview/team/pr-7", &main, BTreeMap::new(), now);
        made.unwrap();
        id
    });
    sim.edit_database("pr-7", |object| {
        let secrets = json!([{"name": "pr-7"}, {"name": "more"}]);
        object.spec.connection_secrets = serde_json::from_value(secrets).unwrap();
    });
    operator.run_for(MINUTE * 3).await;
    let message = stalled(&database(&operator, "pr-7"), Reason::BranchNameConflict);
    says(&message, &[id.as_str(), "preview/team/pr-7"]);
    assert!(sim.secret("more").is_some());
    // once the name is free it is taken back
    sim.at_neon(|project, _| project.branches.truncate(2));
    operator.run_for(MINUTE * 3).await;
    assert!(database(&operator, "pr-7").is_settled());
    assert_eq!(sim.branch_names(), ["main", "preview/team/pr-7"]);
}

#[tokio::test(start_paused = true)]
async fn a_branch_that_was_restored_outside_says_where_it_comes_from() {
    let mut operator = settled(production_and_preview).await;
    let sim = Arc::clone(&operator.sim);
    let kept = sim.at_neon(|project, now| {
        let main = project.branches[0].branch.id.clone();
        let kept = project.create_branch("kept", &main, BTreeMap::new(), now);
        let kept = kept.unwrap();
        let restored = &mut project.branches[1].branch;
        restored.parent_id = Some(kept.clone());
        restored.last_reset_at = Some(now);
        kept
    });
    operator.run_for(MINUTE * 3).await;
    let pr = database(&operator, "pr-7");
    assert!(pr.is_settled());
    let (is, reason, message) = condition(&pr, "BranchReady");
    assert!(is && reason == "ParentChanged", "{reason}: {message}");
    says(&message, &["kept", kept.as_str(), "not production"]);
}

#[tokio::test(start_paused = true)]
async fn a_branch_that_bears_the_mark_of_an_object_that_is_gone_says_who_can_have_it() {
    let mut operator = settled(|sim| {
        sim.database("production", "production", simple());
        sim.database("staging", "staging", simple());
    })
    .await;
    let sim = Arc::clone(&operator.sim);
    let existing = json!({"branch": {"existing": {"name": "staging/team/staging"}}});
    sim.database("it", "staging", existing.clone());
    operator.run_for(MINUTE * 2).await;
    let message = stalled(&database(&operator, "it"), Reason::BranchClaimed);
    assert!(!message.contains("not there"), "{message}");
    sim.delete_database("staging");
    operator.run_for(MINUTE * 2).await;
    let message = stalled(&database(&operator, "it"), Reason::BranchClaimed);
    says(
        &message,
        &["team/staging", "not there", "takes the branch up"],
    );
    sim.delete_database("it");
    sim.database("staging", "staging", simple());
    operator.settle().await;
    check(&sim, &[]);
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_that_is_restored_between_two_lists_is_seen_before_anything_is_done() {
    let mut operator = settled(production_and_preview).await;
    let sim = Arc::clone(&operator.sim);
    let before = sim.lock().neon.calls.mutations.clone();
    sim.at_neon(|project, now| {
        let old = project.branches[1].branch.id.clone();
        project.stale_branches = Some(project.branches(now));
        project.restore_snapshot_in_place(&old, now);
    });
    operator.run_for(MINUTE * 3).await;
    stalled(&database(&operator, "pr-7"), Reason::BranchReplaced);
    assert_eq!(sim.lock().neon.calls.mutations, before);
}

#[tokio::test(start_paused = true)]
async fn what_a_restored_snapshot_has_replaced_is_neither_followed_nor_touched() {
    let mut operator = settled(production_and_preview).await;
    let sim = Arc::clone(&operator.sim);
    let [production, preview] = sim.at_neon(|project, now| {
        let [main, preview] = [0, 1].map(|i| project.branches[i].branch.id.clone());
        [main, preview].map(|old| (project.restore_snapshot_in_place(&old, now), old))
    });
    let secrets = ["production", "pr-7"].map(|name| sim.secret(name).unwrap());
    let before = sim.lock().neon.calls.mutations.clone();
    // a file more, which would go to other data now
    let more = [
        FILES[0],
        FILES[1],
        ("003_more.sql", "CREATE TABLE more (id int)"),
    ];
    sim.files(&more);
    operator.run_for(MINUTE * 3).await;
    for (name, (new, old)) in [("production", &production), ("pr-7", &preview)] {
        let object = database(&operator, name);
        let message = stalled(&object, Reason::BranchReplaced);
        let parts = [new.as_str(), old.as_str(), "spec.branch.existing.id"];
        says(&message, &parts);
        assert!(!condition(&object, "BranchReady").0);
        assert_eq!(object.status.unwrap().branch.unwrap().id, old.as_str());
        let rows = sim.at_neon(|project, _| {
            let databases = &project.find(new).unwrap().server.databases;
            databases["app"].ledger.as_ref().unwrap().len()
        });
        assert_eq!(rows, FILES.len());
    }
    let after = ["production", "pr-7"].map(|name| sim.secret(name).unwrap());
    assert_eq!(after, secrets);
    assert_eq!(sim.lock().neon.calls.mutations, before);
}

#[tokio::test(start_paused = true)]
async fn what_changes_inside_of_an_archived_branch_is_done_all_the_same() {
    for state in [BranchState::Archived, BranchState::Other("sleeping".into())] {
        let mut operator = settled(production_and_preview).await;
        let sim = Arc::clone(&operator.sim);
        sim.at_neon(|project, _| project.branches[1].given_up = Some(state.clone()));
        // until it is listed so
        operator.run_for(MINUTE * 2).await;
        sim.edit_database("pr-7", |object| {
            let roles = json!([{"name": "web", "access": "ReadWrite"}, {"name": "report", "access": "ReadOnly"}]);
            object.spec.roles = serde_json::from_value(roles).unwrap();
        });
        operator.run_for(MINUTE * 3).await;
        let pr = database(&operator, "pr-7");
        assert!(pr.is_settled(), "{state:?}: {:?}", pr.conditions());
        check(&sim, &FILES);
    }
}
