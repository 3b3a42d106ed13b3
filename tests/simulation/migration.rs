//! What becomes of SepulkiMigrations, from files to rows.

use jiff::SignedDuration;
use sepulki::api::{RETRY, Reason, SepulkiMigration};
use sepulki::neon::BranchId;
use sepulki::reconcile::Conditions;
use serde_json::json;

use crate::database::{condition, reconciling, says, stalled};
use crate::invariants::check;
use crate::scene::{
    FILES, child_of, preview_with_a_migration, production_and_preview, settled, simple, with,
};
use crate::stories::EDITED_FILES;
use crate::world::operator::Operator;
use crate::world::postgres::PgDatabase;
use crate::world::{NAMESPACE, Sim};

const MINUTE: SignedDuration = SignedDuration::from_mins(1);
/// Where people look up what the operator says.
const BAD_INPUT: &str = include_str!("../../docs/bad-input.md");
const THIRD: (&str, &str) = ("003_arms.sql", "CREATE TABLE arms (id bigint PRIMARY KEY);");
const WRONG: (&str, &str) = ("003_arms.sql", "INSERT INTO does_not_exist VALUES (1);");

fn one(sim: &Sim) {
    sim.files(&FILES);
    sim.database("production", "production", simple());
    sim.migration("production", json!({}));
}

fn migration(operator: &Operator, name: &str) -> SepulkiMigration {
    operator.sim.get_migration(name).unwrap()
}

fn begin(scene: impl FnOnce(&Sim)) -> Operator {
    let sim = Sim::new();
    scene(&sim);
    Operator::new(&sim)
}

/// The database `app` of the default branch.
fn app(operator: &Operator) -> PgDatabase {
    operator
        .sim
        .at_neon(|project, _| project.branches[0].server.databases["app"].clone())
}

#[tokio::test(start_paused = true)]
async fn a_file_that_fails_is_told_tried_once_and_works_when_it_is_corrected() {
    let mut operator = settled(one).await;
    operator.sim.files(&[FILES[0], FILES[1], WRONG]);
    operator.settle().await;
    let failed = migration(&operator, "production");
    let message = stalled(&failed, Reason::MigrationFailed);
    assert!(
        message.starts_with("003_arms.sql: relation \"does_not_exist\" does not exist"),
        "{message}"
    );
    let status = failed.status.unwrap();
    let error = status.last_error.unwrap();
    assert_eq!(error.version.as_deref(), Some("003_arms.sql"));
    assert_eq!(error.sql_state.as_deref(), Some("42P01"));
    assert_eq!(status.progress_text.as_deref(), Some("2/3"));
    let tried = |operator: &Operator| {
        let effects = operator.sim.faults.effects();
        effects
            .iter()
            .filter(|effect| effect.contains("migrate 003"))
            .count()
    };
    assert_eq!(tried(&operator), 1);
    operator.run_for(MINUTE * 60).await;
    assert_eq!(tried(&operator), 1);
    assert_eq!(app(&operator).ran, ["001_robots.sql", "002_names.sql"]);
    operator.sim.files(&[FILES[0], FILES[1], THIRD]);
    operator.settle().await;
    check(&operator.sim, &[FILES[0], FILES[1], THIRD]);
    assert_eq!(
        migration(&operator, "production")
            .status
            .unwrap()
            .last_error,
        None
    );
}

#[tokio::test(start_paused = true)]
async fn a_failure_survives_a_restart_without_being_tried_again() {
    let mut operator = settled(one).await;
    operator.sim.files(&[FILES[0], FILES[1], WRONG]);
    operator.settle().await;
    let effects = operator.sim.faults.effects().len();
    operator.restart();
    operator.settle().await;
    stalled(&migration(&operator, "production"), Reason::MigrationFailed);
    let effects = operator.sim.faults.effects()[effects..].to_vec();
    assert!(
        !effects.iter().any(|effect| effect.contains("migrate")),
        "{effects:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn files_that_are_not_there_yet_are_waited_for() {
    let mut operator = begin(|sim| {
        sim.database("production", "production", simple());
        sim.migration("production", json!({}));
    });
    operator.run_for(MINUTE).await;
    let message = reconciling(
        &migration(&operator, "production"),
        Reason::ConfigMapNotFound,
    );
    assert_eq!(
        message,
        "ConfigMap schema does not exist in this namespace yet"
    );
    operator.sim.files(&FILES);
    operator.settle().await;
    check(&operator.sim, &FILES);
}

#[tokio::test(start_paused = true)]
async fn a_database_that_is_not_there_yet_is_waited_for() {
    let mut operator = begin(|sim| {
        sim.files(&FILES);
        sim.migration("production", json!({}));
    });
    operator.run_for(MINUTE).await;
    reconciling(
        &migration(&operator, "production"),
        Reason::DatabaseNotFound,
    );
    operator.sim.database("production", "production", simple());
    operator.settle().await;
    check(&operator.sim, &FILES);
}

#[tokio::test(start_paused = true)]
async fn a_target_is_where_it_stops_until_it_is_raised() {
    let mut operator = begin(|sim| {
        sim.files(&FILES);
        sim.database("production", "production", simple());
        sim.migration(
            "production",
            json!({"target": {"version": "001_robots.sql"}}),
        );
    });
    operator.settle().await;
    assert!(migration(&operator, "production").is_settled());
    assert_eq!(app(&operator).ran, ["001_robots.sql"]);
    operator
        .sim
        .edit_migration("production", |object| object.spec.target = None);
    operator.settle().await;
    check(&operator.sim, &FILES);
}

#[tokio::test(start_paused = true)]
async fn an_edited_file_that_is_applied_is_told_and_nothing_runs() {
    let mut operator = settled(one).await;
    operator.sim.files(&[
        (FILES[0].0, "CREATE TABLE humans (id bigint);"),
        FILES[1],
        THIRD,
    ]);
    operator.settle().await;
    stalled(
        &migration(&operator, "production"),
        Reason::ChecksumMismatch,
    );
    assert_eq!(app(&operator).ran, ["001_robots.sql", "002_names.sql"]);
}

#[tokio::test(start_paused = true)]
async fn rows_of_an_older_runner_are_respected() {
    let mut operator = settled(|sim| sim.database("production", "production", simple())).await;
    operator.sim.at_neon(|project, now| {
        let database = project.branches[0].server.databases.get_mut("app").unwrap();
        database.commit(FILES[0].0, "unknown", now);
    });
    operator.sim.files(&FILES);
    operator.sim.migration("production", json!({}));
    operator.settle().await;
    check(&operator.sim, &FILES);
    let effects = operator.sim.faults.effects();
    assert!(!effects.iter().any(|effect| effect.contains("migrate 001")));
}

#[tokio::test(start_paused = true)]
async fn of_two_on_one_ledger_the_older_applies() {
    let mut operator = begin(|sim| {
        one(sim);
        sim.clock.advance(SignedDuration::from_secs(5));
        sim.migration("again", json!({"databaseRef": {"name": "production"}}));
    });
    operator.settle().await;
    assert!(migration(&operator, "production").is_settled());
    let message = stalled(&migration(&operator, "again"), Reason::LedgerClaimed);
    assert!(
        message.contains("SepulkiMigration production is older"),
        "{message}"
    );
    assert_eq!(app(&operator).ran, ["001_robots.sql", "002_names.sql"]);
}

#[tokio::test(start_paused = true)]
async fn a_suspended_migration_applies_nothing_and_stays_ready() {
    let mut operator = settled(one).await;
    operator
        .sim
        .edit_migration("production", |object| object.spec.suspend = true);
    operator.sim.files(&[FILES[0], FILES[1], THIRD]);
    operator.run_for(MINUTE * 30).await;
    let suspended = migration(&operator, "production");
    let (ready, reason, _) = condition(&suspended, "Ready");
    assert_eq!((ready, reason.as_str()), (true, "Suspended"));
    assert_eq!(suspended.status.unwrap().observed_generation, 2);
    assert_eq!(app(&operator).ran, ["001_robots.sql", "002_names.sql"]);
    operator
        .sim
        .edit_migration("production", |object| object.spec.suspend = false);
    operator.settle().await;
    check(&operator.sim, &[FILES[0], FILES[1], THIRD]);
}

#[tokio::test(start_paused = true)]
async fn what_a_branch_inherits_is_not_applied_again_and_what_it_lacks_is() {
    let mut operator = settled(production_and_preview).await;
    check(&operator.sim, &FILES);
    // the preview gets ahead, then is reset to where its parent is
    operator.sim.files(&[FILES[0], FILES[1], THIRD]);
    operator
        .sim
        .edit_migration("production", |object| object.spec.suspend = true);
    operator.settle().await;
    assert_eq!(app(&operator).ran.len(), 2);
    operator.sim.at_neon(|project, now| {
        let id = project.branches[1].branch.id.clone();
        assert_eq!(project.branches[1].server.databases["app"].ran.len(), 3);
        project.reset_to_parent(&id, now);
    });
    operator.run_for(MINUTE * 3).await;
    operator.settle().await;
    let ran = operator
        .sim
        .at_neon(|project, _| project.branches[1].server.databases["app"].ran.clone());
    assert_eq!(ran, ["001_robots.sql", "002_names.sql", "003_arms.sql"]);
}

/// The branch of this number with its third file applied, brought back to where it was before that by somebody else.
async fn restored(branch: usize) -> Operator {
    let mut operator = settled(production_and_preview).await;
    let past = operator
        .sim
        .at_neon(|project, _| project.branches[branch].clone());
    operator.sim.files(&[FILES[0], FILES[1], THIRD]);
    operator.settle().await;
    operator.sim.at_neon(|project, now| {
        let id = project.branches[branch].branch.id.clone();
        project.restore(&id, &past, now);
    });
    operator.run_for(MINUTE * 3).await;
    operator.settle().await;
    operator
}

fn ran(operator: &Operator, branch: usize) -> usize {
    operator
        .sim
        .at_neon(|project, _| project.branches[branch].server.databases["app"].ran.len())
}

#[tokio::test(start_paused = true)]
async fn what_somebody_has_undone_by_a_restore_is_not_applied_again_before_that_is_asked() {
    for (branch, name) in [(0, "production"), (1, "pr-7")] {
        let mut operator = restored(branch).await;
        let message = stalled(&migration(&operator, name), Reason::HeldAfterRestore);
        let restored = "although 3 files were applied there: the branch was restored";
        says(
            &message,
            &["003_arms.sql is not in the ledger", restored, RETRY],
        );
        says(BAD_INPUT, &[&format!("| `{restored}` |")]);
        let sessions = operator.sim.lock().sessions;
        operator.run_for(MINUTE * 60).await;
        operator.restart();
        operator.settle().await;
        assert_eq!(
            (ran(&operator, branch), operator.sim.lock().sessions),
            (2, sessions)
        );
        operator.sim.edit_migration(name, |object| {
            let annotations = object.metadata.annotations.get_or_insert_default();
            annotations.insert(RETRY.to_owned(), "1".to_owned());
        });
        operator.settle().await;
        assert!(migration(&operator, name).is_settled());
        assert_eq!(ran(&operator, branch), 3);
    }
}

/// How often the preview's branch was set back.
fn resets(operator: &Operator) -> usize {
    operator
        .sim
        .at_neon(|project, _| project.branches[1].resets)
}

#[tokio::test(start_paused = true)]
async fn each_edit_of_an_applied_file_resets_a_preview_once_and_is_told() {
    let mut operator = settled(preview_with_a_migration).await;
    let texts = [
        "ALTER TABLE robots ADD COLUMN a text;",
        "ALTER TABLE robots ADD COLUMN b text;",
    ];
    for (edits, sql) in (1..).zip(texts) {
        let files = [FILES[0], (FILES[1].0, sql)];
        operator.sim.files(&files);
        operator.run_for(MINUTE * 20).await;
        check(&operator.sim, &files);
        assert!(migration(&operator, "pr-7").is_settled());
        assert_eq!(resets(&operator), edits);
    }
    let said = operator.sim.lock().said.clone();
    says(
        &said,
        &[
            "ResettingBranch",
            "SepulkiMigration pr-7 asks for it, because 002_names.sql was edited",
        ],
    );
}

#[tokio::test(start_paused = true)]
async fn a_file_that_the_parent_has_as_well_is_no_reason_to_reset() {
    let mut operator = settled(|sim| {
        sim.files(&FILES);
        sim.database("production", "production", simple());
        sim.migration("production", json!({}));
    })
    .await;
    let inside = with(simple(), child_of("production"));
    operator.sim.database("pr-7", "preview", inside);
    operator.sim.migration("pr-7", json!({}));
    operator.settle().await;
    operator.sim.files(&EDITED_FILES);
    operator.run_for(MINUTE * 60).await;
    let message = stalled(&migration(&operator, "pr-7"), Reason::ChecksumMismatch);
    says(&message, &["002_names.sql", "parent would bring it back"]);
    stalled(
        &migration(&operator, "production"),
        Reason::ChecksumMismatch,
    );
    assert_eq!(resets(&operator), 0);
}

#[tokio::test(start_paused = true)]
async fn children_in_the_way_of_a_reset_are_told_and_waited_for() {
    let mut operator = settled(|sim| {
        preview_with_a_migration(sim);
        let spec = json!({"branch": {"parent": {"databaseRef": {"name": "production"}}, "lease": "never"}});
        sim.edit_database("pr-7", |object| {
            object.spec.branch = serde_json::from_value(spec["branch"].clone()).unwrap();
        });
        sim.database("pr-8", "preview", with(simple(), child_of("pr-7")));
    })
    .await;
    operator.sim.files(&EDITED_FILES);
    operator.run_for(MINUTE * 40).await;
    assert_eq!(resets(&operator), 0);
    let preview = operator.sim.get_database("pr-7").unwrap();
    let message = reconciling(&preview, Reason::ChildrenExist);
    says(&message, &["preview/team/pr-8"]);
    operator.sim.delete_database("pr-8");
    operator.run_for(MINUTE * 20).await;
    assert!(migration(&operator, "pr-7").is_settled());
    assert_eq!(ran(&operator, 1), 2);
    assert_eq!(resets(&operator), 1);
}

#[tokio::test(start_paused = true)]
async fn an_edit_that_is_taken_back_while_the_reset_waits_loses_nothing() {
    let mut operator = settled(preview_with_a_migration).await;
    let at_work = operator.locks().shared(&preview_id(&operator)).unwrap();
    operator.sim.files(&EDITED_FILES);
    operator.run_for(MINUTE).await;
    assert_eq!(resets(&operator), 0);
    operator.sim.files(&FILES);
    operator.run_for(MINUTE).await;
    drop(at_work);
    operator.run_for(MINUTE * 20).await;
    check(&operator.sim, &FILES);
    assert_eq!(resets(&operator), 0);
}

#[tokio::test(start_paused = true)]
async fn a_branch_that_somebody_else_has_just_reset_is_not_reset_again() {
    for seconds in (0..60).step_by(10) {
        let mut operator = settled(preview_with_a_migration).await;
        let id = preview_id(&operator);
        let at_work = operator.locks().shared(&id).unwrap();
        operator.sim.files(&EDITED_FILES);
        operator.run_for(MINUTE).await;
        operator.run_for(SignedDuration::from_secs(seconds)).await;
        operator.sim.at_neon(|project, now| {
            project.reset_to_parent(&BranchId::from(id.as_str()), now);
        });
        drop(at_work);
        operator.run_for(MINUTE * 20).await;
        check(&operator.sim, &EDITED_FILES);
        assert!(migration(&operator, "pr-7").is_settled());
        assert_eq!(resets(&operator), 1, "{seconds} s later");
    }
}

fn preview_id(operator: &Operator) -> String {
    let database = operator.sim.get_database("pr-7").unwrap();
    database.status.unwrap().branch.unwrap().id
}

#[tokio::test(start_paused = true)]
async fn a_settled_migration_opens_no_session() {
    let mut operator = settled(one).await;
    let sessions = operator.sim.lock().sessions;
    operator.run_for(SignedDuration::from_hours(3)).await;
    assert_eq!(operator.sim.lock().sessions, sessions);
}

fn branch_id(operator: &Operator) -> String {
    let database = operator.sim.get_database("production").unwrap();
    database.status.unwrap().branch.unwrap().id
}

#[tokio::test(start_paused = true)]
async fn while_a_migration_is_at_work_its_branch_is_left_alone() {
    let mut operator = settled(one).await;
    let at_work = operator.locks().shared(&branch_id(&operator)).unwrap();
    let before = operator.sim.faults.effects().len();
    operator.sim.edit_database("production", |object| {
        object.spec.roles[0].access = sepulki::api::Access::ReadOnly;
        object.spec.connection_secrets =
            serde_json::from_value(json!([{"name": "s", "role": "web"}])).unwrap();
        object.spec.compute = serde_json::from_value(json!({"minCU": 1.0, "maxCU": 2.0})).unwrap();
    });
    operator.run_for(MINUTE * 3).await;
    reconciling(
        &operator.sim.get_database("production").unwrap(),
        Reason::MigrationRunning,
    );
    let effects = operator.sim.faults.effects()[before..].to_vec();
    assert!(
        effects
            .iter()
            .all(|effect| effect.starts_with("write status")),
        "{effects:?}"
    );
    drop(at_work);
    operator.settle().await;
    check(&operator.sim, &FILES);
}

#[tokio::test(start_paused = true)]
async fn while_a_branch_is_changed_no_migration_starts() {
    let mut operator = settled(one).await;
    let at_work = operator.locks().exclusive(&branch_id(&operator)).unwrap();
    operator.sim.files(&[FILES[0], FILES[1], THIRD]);
    operator.run_for(MINUTE).await;
    reconciling(&migration(&operator, "production"), Reason::BranchBusy);
    assert_eq!(app(&operator).ran.len(), 2);
    drop(at_work);
    operator.settle().await;
    check(&operator.sim, &[FILES[0], FILES[1], THIRD]);
}

#[tokio::test(start_paused = true)]
async fn another_operators_migration_holds_up_grants_without_being_waited_for() {
    let mut operator = settled(one).await;
    let lock = |operator: &Operator, locked| {
        operator.sim.at_neon(|project, _| {
            project.branches[0]
                .server
                .databases
                .get_mut("app")
                .unwrap()
                .locked = locked;
        });
    };
    lock(&operator, true);
    operator.sim.edit_database("production", |object| {
        object
            .spec
            .roles
            .push(serde_json::from_value(json!({"name": "report", "access": "ReadOnly"})).unwrap());
    });
    operator.run_for(MINUTE).await;
    reconciling(
        &operator.sim.get_database("production").unwrap(),
        Reason::BranchBusy,
    );
    operator.sim.files(&[FILES[0], FILES[1], THIRD]);
    operator.run_for(MINUTE).await;
    lock(&operator, false);
    // the grants that were tried did nothing
    operator.sim.lock().disturbed.clear();
    operator.settle().await;
    check(&operator.sim, &[FILES[0], FILES[1], THIRD]);
}

#[tokio::test(start_paused = true)]
async fn a_deleted_migration_leaves_what_it_applied() {
    let mut operator = settled(one).await;
    let key = (NAMESPACE.to_owned(), "production".to_owned());
    operator.sim.lock().kubernetes.migrations.remove(&key);
    operator.settle().await;
    assert_eq!(app(&operator).ran, ["001_robots.sql", "002_names.sql"]);
    // an object of that name takes it up where it is
    operator.sim.migration("production", json!({}));
    operator.settle().await;
    check(&operator.sim, &FILES);
}
