//! What becomes of a history that is to be found true first.

use std::pin::pin;
use std::time::Duration;

use jiff::SignedDuration;
use sepulki::api::{AdoptionVerdict, RETRY, Reason, SepulkiMigration, VersionVerdict};
use sepulki::engine::LedgerRow;
use sepulki::reconcile::Conditions;
use serde_json::json;
use tokio::time::timeout;

use crate::database::{reconciling, says, stalled};
use crate::invariants::check;
use crate::scene::{FILES, child_of, production_and_preview, settled, simple, with};
use crate::stories::verified;
use crate::world::faults::Fault;
use crate::world::operator::Operator;
use crate::world::postgres::PgDatabase;
use crate::world::{NAMESPACE, Sim};

/// Where people look up what the operator says.
const BAD_INPUT: &str = include_str!("../../docs/bad-input.md");
const MINUTE: SignedDuration = SignedDuration::from_mins(1);
const THIRD: (&str, &str) = ("003_arms.sql", "CREATE TABLE arms (id bigint PRIMARY KEY);");
const MORE: [(&str, &str); 3] = [FILES[0], FILES[1], THIRD];

/// Production, whose database has been there for long: this has been done, and that is what its ledger claims.
async fn old(done: &[&str], claimed: &[&str]) -> Operator {
    let operator = settled(|sim| sim.database("production", "production", simple())).await;
    let sim = &operator.sim;
    change_app(sim, |app| {
        app.ran = done.iter().map(|version| (*version).to_owned()).collect();
        app.ledger = Some(claimed.iter().map(|version| row(version)).collect());
    });
    sim.files(&FILES);
    sim.migration("production", json!({"adopt": {"mode": "Verify"}}));
    operator
}

/// A row of a runner that kept no checksum.
fn row(version: &str) -> LedgerRow {
    LedgerRow {
        version: version.to_owned(),
        checksum: None,
        applied_at: None,
        meaning: None,
    }
}

fn change_app<T>(sim: &Sim, change: impl FnOnce(&mut PgDatabase) -> T) -> T {
    sim.at_neon(|project, _| {
        let server = &mut project.branches[0].server;
        change(server.databases.get_mut("app").unwrap())
    })
}

fn ran(operator: &Operator) -> Vec<String> {
    change_app(&operator.sim, |app| app.ran.clone())
}

fn production(operator: &Operator) -> SepulkiMigration {
    operator.sim.get_migration("production").unwrap()
}

fn verdict(operator: &Operator) -> AdoptionVerdict {
    let status = production(operator).status.unwrap();
    let adoption = status.adoption.unwrap();
    assert_eq!(adoption.scratch, None);
    adoption.verdict.unwrap()
}

/// How often files were tried.
fn trials(operator: &Operator) -> usize {
    let effects = operator.sim.faults.effects();
    let trials = effects.iter().filter(|e| e.contains("try the files"));
    trials.count()
}

fn scratches(sim: &Sim) -> usize {
    let names = sim.branch_names();
    names
        .iter()
        .filter(|name| name.starts_with("verify/"))
        .count()
}

fn retry(sim: &Sim, value: &str) {
    sim.edit_migration("production", |migration| {
        let annotations = migration.metadata.annotations.get_or_insert_default();
        annotations.insert(RETRY.to_owned(), value.to_owned());
    });
}

#[tokio::test(start_paused = true)]
async fn a_true_history_is_believed_once_and_for_all() {
    let both = ["001_robots.sql", "002_names.sql"];
    let mut operator = old(&both, &both).await;
    operator.settle().await;
    assert!(production(&operator).is_settled(), "{}", operator.story(30));
    let found = verdict(&operator);
    assert_eq!((found.consistent, found.pending), (2, 0));
    assert_eq!((trials(&operator), scratches(&operator.sim)), (1, 0));
    assert_eq!(ran(&operator), both);
    // what comes later was applied by the operator itself
    operator.sim.files(&MORE);
    operator.settle().await;
    operator.restart();
    operator.settle().await;
    check(&operator.sim, &MORE);
    assert_eq!(trials(&operator), 1);
    assert_eq!(
        production(&operator)
            .metadata
            .finalizers
            .unwrap_or_default(),
        [""; 0]
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_pending_runs_after_the_trial_and_not_before() {
    let mut operator = old(&["001_robots.sql"], &["001_robots.sql"]).await;
    operator.settle().await;
    check(&operator.sim, &FILES);
    let found = verdict(&operator);
    assert_eq!((found.consistent, found.pending), (1, 1));
    let effects = operator.sim.faults.effects();
    let first = |what: &str| effects.iter().position(|effect| effect.contains(what));
    assert!(first("try the files").unwrap() < first("migrate 002").unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_file_that_is_claimed_but_never_ran_stops_everything_until_it_is_put_right() {
    let mut operator = old(&["001_robots.sql"], &["001_robots.sql", "002_names.sql"]).await;
    operator.sim.files(&MORE);
    operator.settle().await;
    let message = stalled(&production(&operator), Reason::HistoryDiffers);
    let told = "the ledger claims what is not there: 002_names.sql (makes something)";
    assert!(message.starts_with(told), "{message}");
    says(BAD_INPUT, &[&format!("| `HistoryDiffers` | `{told}`")]);
    let found = verdict(&operator);
    assert_eq!(found.versions[0].version, "002_names.sql");
    assert_eq!(found.versions[0].verdict, VersionVerdict::ClaimedButMissing);
    assert_eq!(ran(&operator), ["001_robots.sql"]);
    // nothing has changed, so nothing is tried again and no compute is woken
    operator.run_for(MINUTE * 60).await;
    assert_eq!((trials(&operator), scratches(&operator.sim)), (1, 0));
    // its work is done by hand, which the ledger does not show
    change_app(&operator.sim, |app| {
        app.ran.push("002_names.sql".to_owned());
    });
    retry(&operator.sim, "2026-12-02");
    operator.settle().await;
    check(&operator.sim, &MORE);
    assert_eq!(trials(&operator), 2);
}

#[tokio::test(start_paused = true)]
async fn what_is_there_without_a_row_is_not_run_a_second_time() {
    let mut operator = old(&["001_robots.sql"], &[]).await;
    operator.settle().await;
    let message = stalled(&production(&operator), Reason::HistoryDiffers);
    let told = "there is what the ledger does not claim: 001_robots.sql";
    assert!(message.starts_with(told), "{message}");
    says(BAD_INPUT, &[&format!("| `HistoryDiffers` | `{told}`")]);
    assert_eq!(ran(&operator), ["001_robots.sql"]);
    // recorded by hand: the ledger is looked at again after a while
    change_app(&operator.sim, |app| {
        app.ledger = Some(vec![row("001_robots.sql")]);
    });
    operator.run_for(MINUTE * 21).await;
    operator.settle().await;
    check(&operator.sim, &FILES);
    assert_eq!(trials(&operator), 2);
}

/// Until there is a copy on which the files can be tried.
async fn copied(operator: &mut Operator) {
    while scratches(&operator.sim) == 0 {
        operator.run_for(SignedDuration::from_millis(100)).await;
    }
}

/// How many copies were asked for.
fn copies(operator: &Operator) -> usize {
    let effects = operator.sim.faults.effects();
    let made = effects
        .iter()
        .filter(|effect| effect.starts_with("create branch verify/"));
    made.count()
}

#[tokio::test(start_paused = true)]
async fn a_branch_that_changes_after_it_was_copied_is_copied_again_at_once() {
    let mut operator = old(&["001_robots.sql"], &["001_robots.sql", "002_names.sql"]).await;
    copied(&mut operator).await;
    change_app(&operator.sim, |app| {
        app.ran.push("002_names.sql".to_owned());
    });
    operator.run_for(MINUTE * 2).await;
    assert!(production(&operator).is_settled(), "{}", operator.story(30));
    assert_eq!((trials(&operator), copies(&operator)), (2, 2));
    assert_eq!(
        (verdict(&operator).consistent, scratches(&operator.sim)),
        (2, 0)
    );
}

#[tokio::test(start_paused = true)]
async fn a_trial_that_comes_to_nothing_on_copy_after_copy_is_given_up() {
    let both = ["001_robots.sql", "002_names.sql"];
    let mut operator = old(&both, &both).await;
    copied(&mut operator).await;
    operator.sim.lock().neon.no_compute_to_spare = true;
    operator.run_for(MINUTE * 90).await;
    let message = stalled(&production(&operator), Reason::MigrationFailed);
    let told = "the files could not be tried on a copy of the branch: 5 copies were made";
    assert!(message.starts_with(told), "{message}");
    assert!(message.contains("active endpoints"), "{message}");
    says(BAD_INPUT, &[&format!("| `MigrationFailed` | `{told}`")]);
    assert_eq!((copies(&operator), scratches(&operator.sim)), (5, 0));
    assert_eq!(production(&operator).status.unwrap().adoption, None);
    operator.sim.lock().neon.no_compute_to_spare = false;
    operator.run_for(MINUTE * 60).await;
    assert_eq!(copies(&operator), 5);
    retry(&operator.sim, "2026-12-02");
    operator.settle().await;
    assert!(production(&operator).is_settled(), "{}", operator.story(30));
    assert_eq!(verdict(&operator).consistent, 2);
}

/// The trial does not come to its end; meanwhile this happens.
async fn while_files_are_tried(happens: impl Fn(&Sim)) -> Operator {
    let undisturbed = {
        let mut operator = settled(production_and_preview).await;
        operator.sim.faults.restart();
        operator.sim.edit_migration("production", verified);
        operator.settle().await;
        operator.sim.faults.effects()
    };
    let trial = undisturbed.iter().position(|e| e.contains("try the files"));
    let mut operator = settled(production_and_preview).await;
    let sim = operator.sim.clone();
    sim.faults.restart();
    sim.faults.plan(trial.unwrap() + 1, Fault::HeldUp);
    sim.edit_migration("production", verified);
    {
        let mut trying = pin!(operator.settle());
        tokio::select! {
            biased;
            () = sim.faults.held_up() => {}
            _ = &mut trying => panic!("the files were not tried"),
        }
        happens(&sim);
        sim.lock().kubernetes.deliver();
        // an object that waits for its NeonDatabase does not come to rest
        drop(timeout(Duration::from_mins(1), trying).await);
    }
    operator
}

/// Whether a trial was ended because nobody needed its outcome any more.
fn was_ended(operator: &Operator) -> bool {
    let ended = |pass: &String| pass.contains("the trial of the files was ended");
    operator.passes.iter().any(ended)
}

#[tokio::test(start_paused = true)]
async fn a_trial_ends_when_its_object_is_suspended_changed_or_deleted() {
    let suspended = while_files_are_tried(|sim| {
        sim.edit_migration("production", |m| m.spec.suspend = true);
    });
    let trusting = while_files_are_tried(|sim| {
        sim.edit_migration("production", |m| m.spec.adopt = None);
    });
    let deleted = while_files_are_tried(|sim| sim.delete_migration("production"));
    for mut operator in [suspended.await, trusting.await, deleted.await] {
        assert!(was_ended(&operator), "{}", operator.story(30));
        operator.run_for(MINUTE).await;
        assert_eq!(scratches(&operator.sim), 0, "{}", operator.story(30));
    }
    let going = while_files_are_tried(|sim| sim.delete_database("production")).await;
    assert!(was_ended(&going), "{}", going.story(30));
}

#[tokio::test(start_paused = true)]
async fn a_trial_is_not_made_again_because_its_object_got_a_label() {
    let labelled = |sim: &Sim| {
        sim.label_migration("production", "team", "robots");
        sim.faults.go_on();
    };
    let mut operator = while_files_are_tried(labelled).await;
    operator.settle().await;
    let story = operator.story(30);
    assert!(!was_ended(&operator), "{story}");
    assert_eq!(verdict(&operator).consistent, 2, "{story}");
    assert_eq!((trials(&operator), copies(&operator)), (1, 1), "{story}");
}

#[tokio::test(start_paused = true)]
async fn copies_whose_computes_go_are_not_made_for_ever() {
    let both = ["001_robots.sql", "002_names.sql"];
    let mut operator = old(&both, &both).await;
    for _ in 0..600 {
        operator.run_for(SignedDuration::from_secs(1)).await;
        operator.sim.at_neon(|project, _| {
            for branch in &mut project.branches {
                if branch.branch.name.starts_with("verify/") {
                    branch.endpoint = None;
                }
            }
        });
    }
    operator.run_for(MINUTE * 60).await;
    let message = stalled(&production(&operator), Reason::MigrationFailed);
    let told = "the files could not be tried on a copy of the branch: 5 copies were made";
    assert!(message.starts_with(told), "{message}");
    assert!(message.contains("has no compute"), "{message}");
    assert_eq!((copies(&operator), scratches(&operator.sim)), (5, 0));
}

#[tokio::test(start_paused = true)]
async fn an_owner_who_is_refused_for_good_costs_one_copy() {
    let both = ["001_robots.sql", "002_names.sql"];
    let mut operator = old(&both, &both).await;
    copied(&mut operator).await;
    operator.sim.at_neon(|project, _| {
        let copy = project.branches.last_mut().unwrap();
        for role in copy.server.roles.values_mut() {
            role.password = Some("another".to_owned());
        }
    });
    operator.run_for(MINUTE * 2).await;
    let message = stalled(&production(&operator), Reason::MigrationFailed);
    let told = "the owner of the database is refused: password authentication failed";
    assert!(message.contains(told), "{message}");
    operator.run_for(MINUTE * 60).await;
    assert_eq!((trials(&operator), copies(&operator)), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn an_object_that_rests_keeps_no_copy() {
    let mut operator = settled(production_and_preview).await;
    operator.sim.edit_migration("production", verified);
    copied(&mut operator).await;
    operator
        .sim
        .edit_migration("production", |m| m.spec.suspend = true);
    operator.settle().await;
    assert_eq!(scratches(&operator.sim), 0, "{}", operator.story(30));
    let status = production(&operator).status.unwrap();
    let left = status.adoption.and_then(|adoption| adoption.scratch);
    assert_eq!(left, None, "{}", operator.story(30));
    operator
        .sim
        .edit_migration("production", |m| m.spec.suspend = false);
    operator.settle().await;
    assert_eq!(verdict(&operator).consistent, 2);
}

#[tokio::test(start_paused = true)]
async fn a_copy_is_deleted_though_somebody_took_the_finalizer_away() {
    let mut operator = settled(production_and_preview).await;
    operator.sim.edit_migration("production", verified);
    copied(&mut operator).await;
    operator.sim.edit_migration("production", |migration| {
        migration.metadata.finalizers = None;
        migration.spec.adopt = None;
    });
    operator.settle().await;
    assert_eq!(scratches(&operator.sim), 0, "{}", operator.story(30));
    assert!(production(&operator).is_settled());
}

#[tokio::test(start_paused = true)]
async fn a_database_that_goes_does_not_wait_for_a_copy_of_it() {
    let mut operator = settled(|sim| {
        sim.database("production", "production", simple());
        let staging = with(simple(), child_of("production"));
        let staging = with(staging, json!({"deletionPolicy": "Delete"}));
        sim.database("staging", "staging", staging);
        sim.files(&FILES);
        sim.migration("staging", json!({}));
    })
    .await;
    operator.sim.edit_migration("staging", verified);
    copied(&mut operator).await;
    operator.sim.delete_database("staging");
    operator.run_for(MINUTE * 5).await;
    let story = operator.story(30);
    assert_eq!(operator.sim.branch_names(), ["main"], "{story}");
}

#[tokio::test(start_paused = true)]
async fn an_object_that_goes_takes_its_copy_along_whenever_it_goes() {
    for quarters in 0..60 {
        let mut operator = settled(production_and_preview).await;
        operator.sim.edit_migration("production", verified);
        operator
            .run_for(SignedDuration::from_millis(quarters * 250))
            .await;
        operator.sim.delete_migration("production");
        operator.settle().await;
        operator.run_for(MINUTE * 3).await;
        let story = operator.story(30);
        assert_eq!(operator.sim.get_migration("production"), None, "{story}");
        assert_eq!(scratches(&operator.sim), 0, "{story}");
        check(&operator.sim, &FILES);
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_key_the_object_goes_and_neon_ends_the_copy() {
    let mut operator = settled(production_and_preview).await;
    operator.sim.edit_migration("production", verified);
    copied(&mut operator).await;
    let key = (NAMESPACE.to_owned(), "neon-api-key".to_owned());
    assert!(
        operator
            .sim
            .lock()
            .kubernetes
            .secrets
            .remove(&key)
            .is_some()
    );
    operator.restart();
    operator.sim.delete_migration("production");
    operator.run_for(MINUTE * 5).await;
    assert_eq!(operator.sim.get_migration("production"), None);
    assert_eq!(scratches(&operator.sim), 1);
    operator.run_for(MINUTE * 60).await;
    assert_eq!(scratches(&operator.sim), 0);
}

#[tokio::test(start_paused = true)]
async fn a_branch_with_a_lease_cannot_be_copied_which_is_told() {
    let mut operator = settled(production_and_preview).await;
    operator.sim.edit_migration("pr-7", verified);
    operator.settle().await;
    let pr = operator.sim.get_migration("pr-7").unwrap();
    let message = stalled(&pr, Reason::ParentExpires);
    let told = "spec.adopt.mode: Verify tries the files on a fork of the branch";
    assert!(message.starts_with(told), "{message}");
    says(BAD_INPUT, &[&format!("| `ParentExpires` | `{told}`")]);
}

#[tokio::test(start_paused = true)]
async fn a_branch_that_cannot_be_had_at_the_moment_is_waited_for() {
    let both = ["001_robots.sql", "002_names.sql"];
    let mut operator = old(&both, &both).await;
    operator
        .sim
        .at_neon(|project, _| project.most_branches = Some(1));
    operator.run_for(MINUTE * 5).await;
    let message = reconciling(&production(&operator), Reason::LimitReached);
    assert!(message.contains("branches limit exceeded"), "{message}");
    operator
        .sim
        .at_neon(|project, _| project.most_branches = None);
    operator.run_for(MINUTE * 10).await;
    operator.settle().await;
    assert!(production(&operator).is_settled());
    assert_eq!(verdict(&operator).consistent, 2);
}
