//! What is held after a restore, by the table and in the small world.

use jiff::SignedDuration;

use super::loops::{blocked, settles};
use super::table::{blocks, names, plain};
use super::world::Fake;
use super::*;
use crate::api::{AppliedStatus, AppliedTo, BranchOrigin, HeldStatus, RECONCILE, RETRY, Reason};
use crate::migration::Action;
use crate::migration::held;
use crate::migration::plan::decide;
use crate::reconcile::Decision;

const ALL: [&str; 3] = ["001_a.sql", "002_b.sql", "003_c.sql"];

fn applied(count: i32, last: &str) -> AppliedStatus {
    AppliedStatus {
        count,
        last_version: Some(last.into()),
        last_time: None,
    }
}

fn at(incarnation: &str) -> AppliedTo {
    AppliedTo {
        branch_id: "br-1".into(),
        incarnation: incarnation.into(),
        database: "app".into(),
        digest: Some(Listing::of(&three_files()).digest),
        target: None,
    }
}

/// A database that had all three files and has these since it became another incarnation.
fn became(origin: BranchOrigin, rows: &[&str]) -> Observed {
    let mut observed = observed(three_files(), ledger(&three_files(), rows), None);
    if let Fact::Known(database) = &mut observed.database {
        let branch = branch("i-2");
        database.branch = Some(Branch { origin, ..branch });
    }
    Observed {
        applied_to: Some(at("i-1")),
        applied: Some(applied(3, "003_c.sql")),
        ..observed
    }
}

fn restored(rows: &[&str]) -> Observed {
    became(BranchOrigin::Restored, rows)
}

fn next(observed: &Observed) -> Decision<Action> {
    decide(&plain(), observed, now())
}

#[track_caller]
fn applies(observed: &Observed) {
    let next = next(observed);
    assert!(matches!(next, Decision::Act(Action::Apply(_))), "{next:?}");
}

#[test]
fn what_a_restored_branch_lacks_is_not_applied_again() {
    let message = blocks(next(&restored(&ALL[..1])), Reason::HeldAfterRestore);
    names(
        &message,
        &[
            "002_b.sql, 003_c.sql are",
            "br-1",
            "3 files were",
            "spec.target",
            RETRY,
        ],
    );
    let message = blocks(next(&restored(&ALL[..2])), Reason::HeldAfterRestore);
    names(&message, &["003_c.sql is"]);
    // one that has them all is as it was
    assert!(matches!(next(&restored(&ALL)), Decision::Settled(_)));
}

#[test]
fn what_is_meant_to_begin_anew_is_applied() {
    applies(&became(BranchOrigin::Reset, &ALL[..1]));
    applies(&became(BranchOrigin::Created, &ALL[..1]));
    let mut another = restored(&ALL[..1]);
    another.applied_to.as_mut().unwrap().branch_id = "br-0".into();
    applies(&another);
    let mut other_database = restored(&ALL[..1]);
    other_database.applied_to.as_mut().unwrap().database = "reports".into();
    let asked = desired(&json!({"database": "app"}));
    let next = decide(&asked, &other_database, now());
    assert!(matches!(next, Decision::Act(Action::Apply(_))), "{next:?}");
}

#[test]
fn other_files_than_those_that_were_applied_are_a_decision_of_somebody() {
    let mut observed = restored(&ALL[..1]);
    observed.applied_to.as_mut().unwrap().digest = Some("sha256:0".into());
    applies(&observed);
    // but not where nobody knows which files those were
    observed.applied_to.as_mut().unwrap().digest = None;
    blocks(next(&observed), Reason::HeldAfterRestore);
}

#[test]
fn only_what_was_applied_is_missed() {
    let mut two = restored(&ALL[..2]);
    two.applied = Some(applied(2, "002_b.sql"));
    applies(&two);
    // a file that was left out then is not missing now
    two.applied = Some(applied(2, "003_c.sql"));
    applies(&two);
    two.applied = None;
    applies(&two);
    let mut renamed = restored(&ALL[..1]);
    renamed.applied = Some(applied(3, "004_gone.sql"));
    applies(&renamed);
}

#[test]
fn rows_that_went_without_a_restore_are_not_held() {
    let mut observed = observed(three_files(), ledger(&three_files(), &ALL[..2]), None);
    observed.applied_to = Some(AppliedTo {
        digest: None,
        ..at("i-1")
    });
    observed.applied = Some(applied(3, "003_c.sql"));
    applies(&observed);
}

/// The same once it is on record.
fn on_record(mut observed: Observed) -> Observed {
    observed.held = held::found(&plain(), &observed);
    assert!(observed.held.is_some());
    observed.ledger = Ledger::Unread;
    observed.applied = Some(applied(1, "001_a.sql"));
    observed.applied_to = Some(AppliedTo {
        digest: None,
        ..at("i-2")
    });
    observed
}

#[test]
fn what_is_on_record_is_held_without_a_look_at_the_ledger() {
    let held = on_record(restored(&ALL[..1]));
    let message = blocks(next(&held), Reason::HeldAfterRestore);
    names(&message, &["002_b.sql, 003_c.sql"]);
    // with another target the ledger is compared anew
    let asked = desired(&json!({"target": {"version": "001_a.sql"}}));
    let read = Decision::Act(Action::ReadLedger);
    assert_eq!(decide(&asked, &held, now()), read);
    let files = three_files();
    let up_to_the_first = Observed {
        held: held.held.clone(),
        ..observed(files.clone(), ledger(&files, &ALL[..1]), Some("001_a.sql"))
    };
    let next = decide(&asked, &up_to_the_first, now());
    assert!(matches!(next, Decision::Settled(_)), "{next:?}");
}

#[test]
fn a_second_restore_does_not_make_it_forget_what_was_there_before_the_first() {
    let mut held = on_record(restored(&ALL[..2]));
    if let Fact::Known(database) = &mut held.database {
        let origin = BranchOrigin::Restored;
        let branch = branch("i-3");
        database.branch = Some(Branch { origin, ..branch });
    }
    assert_eq!(next(&held), Decision::Act(Action::ReadLedger));
    let told = |held: &Observed| {
        let status = crate::api::SepulkiMigrationStatus {
            held_after_restore: held.held.clone(),
            applied: held.applied.clone(),
            applied_to: held.applied_to.clone(),
            ..Default::default()
        };
        let waiting = crate::reconcile::Verdict::Suspended(std::time::Duration::ZERO);
        crate::migration::status::project(&status, &plain(), Some(held), &waiting, now())
    };
    assert_eq!(told(&held).held_after_restore, held.held);
    held.ledger = restored(&ALL[..1]).ledger;
    let message = blocks(next(&held), Reason::HeldAfterRestore);
    names(&message, &["002_b.sql, 003_c.sql", "3 files were"]);
}

#[test]
fn of_many_missing_files_some_are_named() {
    let versions: Vec<String> = (1..=9).map(|n| format!("{n:03}.sql")).collect();
    let held = HeldStatus {
        at: at("i-2"),
        was_applied: applied(9, "009.sql"),
        missing: crate::migration::record::pending(&versions),
    };
    names(
        &held::message(&held),
        &["001.sql, 002.sql, 003.sql, 004.sql, 005.sql and 4 more are"],
    );
}

/// Somebody restores the branch to where only the first file was applied.
fn restore(world: &Fake, incarnation: &str) {
    world.reset_branch(incarnation);
    let mut state = world.state();
    let status = state.databases[0].status.as_mut().unwrap();
    status.branch.as_mut().unwrap().origin = BranchOrigin::Restored;
    state.ledger.rows.truncate(1);
}

async fn held_world() -> (std::sync::Arc<Fake>, crate::migration::Migrations) {
    let world = Fake::new();
    let operator = world.operator();
    settles(&world.pass(&operator).await);
    restore(&world, "i-2");
    let report = world.pass(&operator).await;
    assert_eq!(blocked(&report).0, Reason::HeldAfterRestore);
    (world, operator)
}

#[tokio::test]
async fn a_restored_branch_is_left_as_it_is_until_somebody_asks_and_costs_nothing_meanwhile() {
    let (world, operator) = held_world().await;
    let status = world.status();
    assert_eq!(status.progress_text.as_deref(), Some("1/3"));
    let missing = status.held_after_restore.unwrap().missing;
    assert_eq!(missing.versions, ["002_b.sql", "003_c.sql"]);
    let [_, sessions @ ..] = world.effort();
    for operator in [operator, world.operator()] {
        for _ in 0..3 {
            world.clock.advance(SignedDuration::from_mins(11));
            let report = world.pass(&operator).await;
            assert_eq!(blocked(&report).0, Reason::HeldAfterRestore);
        }
        let [_, since @ ..] = world.effort();
        assert_eq!(since, sessions);
    }
    assert_eq!(world.applied(), ALL[..1]);
    // to look anew is not to apply anew
    let operator = world.operator();
    world.annotate(RECONCILE, "1");
    assert_eq!(
        blocked(&world.pass(&operator).await).0,
        Reason::HeldAfterRestore
    );
    world.annotate(RETRY, "1");
    settles(&world.pass(&operator).await);
    assert_eq!(world.applied(), ALL);
    assert_eq!(world.status().held_after_restore, None);
}

#[tokio::test]
async fn other_files_end_what_is_held() {
    let (world, operator) = held_world().await;
    world.edit("002_b.sql", "CREATE TABLE b (id bigint);");
    operator.forget_config_map("team", "files");
    settles(&world.pass(&operator).await);
    assert_eq!(world.applied(), ALL);
    assert_eq!(world.status().held_after_restore, None);
}

#[tokio::test]
async fn to_try_again_right_after_a_restore_counts_though_nobody_has_looked_yet() {
    let world = Fake::new();
    let operator = world.operator();
    settles(&world.pass(&operator).await);
    restore(&world, "i-2");
    world.annotate(RETRY, "1");
    settles(&world.pass(&operator).await);
    assert_eq!(world.applied(), ALL);
}
