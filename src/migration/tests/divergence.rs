//! What edited files lead to, by the table and in the small world.

use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::loops::{blocked, settles};
use super::table::{blocks, names, waits};
use super::world::Fake;
use super::*;
use crate::api::{BranchStatus, Environment, RETRY, Reason, ResetRequest};
use crate::migration::Action;
use crate::migration::plan::decide;
use crate::reconcile::{Decision, Verdict};

const EDITED: &str = "002_b.sql";

/// A preview of which the second file was applied, and edited since.
fn edited() -> Observed {
    let mut state = ledger(&three_files(), &["001_a.sql", EDITED]);
    state.rows[1].checksum = Some("0".repeat(64));
    let mut observed = observed(three_files(), state, None);
    let database = known(&mut observed);
    database.environment = Environment::Preview;
    database.not_resettable = None;
    observed
}

fn known(observed: &mut Observed) -> &mut Database {
    match &mut observed.database {
        Fact::Known(database) => database,
        Fact::Absent | Fact::Unknown => panic!("no database is known"),
    }
}

fn says(policy: &str) -> Desired {
    desired(&json!({"policies": {"onDivergence": policy}}))
}

fn next(desired: &Desired, observed: &Observed) -> Decision<Action> {
    decide(desired, observed, now())
}

fn plain() -> Desired {
    desired(&json!({}))
}

fn asks() -> Decision<Action> {
    Decision::Act(Action::AskForReset(vec![EDITED.to_owned()]))
}

fn request(minutes_ago: i64) -> ResetRequest {
    ResetRequest {
        branch_id: "br-1".into(),
        incarnation: "i-1".into(),
        digest: Listing::of(&three_files()).digest,
        generation: 1,
        version: EDITED.into(),
        time: Time(now() - SignedDuration::from_mins(minutes_ago)),
    }
}

#[test]
fn a_preview_is_reset_unless_the_spec_says_otherwise_and_a_development_where_it_says_so() {
    for (environment, policy, is_reset) in [
        (Environment::Preview, None, true),
        (Environment::Preview, Some("Fail"), false),
        (Environment::Development, None, false),
        (Environment::Development, Some("ResetBranch"), true),
        (Environment::Staging, None, false),
        (Environment::Production, None, false),
    ] {
        let mut observed = edited();
        known(&mut observed).environment = environment;
        let desired = policy.map_or_else(plain, says);
        let next = next(&desired, &observed);
        if is_reset {
            assert_eq!(next, asks(), "{environment:?} {policy:?}");
        } else {
            let message = blocks(next, Reason::ChecksumMismatch);
            assert!(!message.contains("reset"), "{message}");
        }
    }
}

#[test]
fn what_is_no_preview_or_development_is_never_asked_to_be_reset() {
    for environment in [Environment::Staging, Environment::Production] {
        let mut observed = edited();
        known(&mut observed).environment = environment;
        let message = blocks(next(&says("ResetBranch"), &observed), Reason::InvalidSpec);
        names(
            &message,
            &["spec.policies.onDivergence", environment.as_str()],
        );
    }
}

type Change<'a> = &'a dyn Fn(&mut NeonDatabase);

#[test]
fn a_database_tells_why_its_branch_is_not_reset() {
    let told = |change: &dyn Fn(&mut NeonDatabase)| {
        let mut object = neon_database();
        object.spec.environment = Environment::Preview;
        let status = object.status.as_mut().unwrap();
        status.branch.as_mut().unwrap().parent_id = Some("br-0".into());
        change(&mut object);
        Database::of(&object, &[]).not_resettable
    };
    let branch = |object: &mut NeonDatabase, change: fn(&mut BranchStatus)| {
        change(object.status.as_mut().unwrap().branch.as_mut().unwrap());
    };
    assert_eq!(told(&|_| ()), None);
    let cases: [(Change<'_>, &str); 6] = [
        (&|o| o.spec.suspend = true, "suspended"),
        (&|o| o.spec.environment = Environment::Staging, "only"),
        (&|o| branch(o, |b| b.taken_over = true), "taken over"),
        (&|o| branch(o, |b| b.parent_id = None), "no parent"),
        (&|o| branch(o, |b| b.protected = true), "protected"),
        (
            &|o| o.status.as_mut().unwrap().conditions[0].reason = "ParentChanged".into(),
            "another one",
        ),
    ];
    for (change, why) in cases {
        let told = told(change).unwrap();
        assert!(told.contains(why), "{told}");
    }
}

#[test]
fn what_a_reset_would_not_help_is_told_with_the_reason() {
    let told = |change: &dyn Fn(&mut Observed)| {
        let mut observed = edited();
        change(&mut observed);
        let message = blocks(next(&plain(), &observed), Reason::ChecksumMismatch);
        names(&message, &[EDITED, "spec.policies.onDivergence"]);
        message
    };
    let message = told(&|o| known(o).not_resettable = Some("it was taken over"));
    names(&message, &["taken over"]);
    // the parent has it, too
    let inherited = |o: &mut Observed, applied: Option<Timestamp>| {
        if let Ledger::Read(state, _) = &mut o.ledger {
            state.rows[1].applied_at = applied;
        }
    };
    let forked = database().branch.unwrap().created;
    let message = told(&|o| inherited(o, Some(forked)));
    names(&message, &["parent"]);
    told(&|o| inherited(o, None));
    let later = now() - SignedDuration::from_secs(50);
    let message = told(&|o| {
        let reset = branch(&later.to_string());
        known(o).branch = Some(reset);
    });
    names(&message, &["forked or reset"]);
    // it was tried
    let message = told(&|o| {
        o.reset_request = Some(ResetRequest {
            incarnation: "i-0".into(),
            ..request(60)
        });
    });
    names(&message, &["has not helped", RETRY]);
}

#[test]
fn a_file_that_was_renamed_and_edited_is_known_by_its_old_name() {
    let mut observed = edited();
    if let Ledger::Read(state, _) = &mut observed.ledger {
        state.rows[1].version = "002_old.sql".to_owned();
    }
    let aliased = desired(&json!({"adopt": {"aliases": {"002_old.sql": EDITED}}}));
    assert_eq!(next(&aliased, &observed), asks());
}

#[test]
fn other_files_than_those_of_the_last_reset_are_reason_for_another() {
    let mut observed = edited();
    let before = ResetRequest {
        incarnation: "i-0".into(),
        ..request(60)
    };
    for request in [
        ResetRequest {
            digest: "sha256:0".into(),
            ..before.clone()
        },
        ResetRequest {
            branch_id: "br-0".into(),
            ..before
        },
    ] {
        observed.reset_request = Some(request);
        assert_eq!(next(&plain(), &observed), asks());
    }
}

#[test]
fn what_was_asked_for_is_waited_for_and_asked_for_anew_after_a_while_or_with_another_spec() {
    let mut observed = edited();
    observed.reset_request = Some(request(4));
    let message = waits(next(&plain(), &observed), Reason::ResettingBranch);
    names(&message, &[EDITED, "NeonDatabase staging"]);
    known(&mut observed).reconciling = Some("it has children: pr-8".into());
    let message = waits(next(&plain(), &observed), Reason::ResettingBranch);
    names(&message, &["It says: it has children: pr-8."]);
    let another = Desired {
        generation: 2,
        ..plain()
    };
    assert_eq!(next(&another, &observed), asks());
    observed.reset_request = Some(request(5));
    assert_eq!(next(&plain(), &observed), asks());
}

#[test]
fn where_something_else_is_wrong_as_well_nothing_is_reset() {
    let mut files = three_files();
    files[2] = file("003_c.sql", "CREATE TABEL c (id int);");
    let mut state = ledger(&files, &["001_a.sql", EDITED]);
    state.rows[1].checksum = Some("0".repeat(64));
    let mut observed = observed(files, state, None);
    known(&mut observed).environment = Environment::Preview;
    known(&mut observed).not_resettable = None;
    let next = next(&plain(), &observed);
    assert!(matches!(next, Decision::Blocked(_)), "{next:?}");
}

/// The small world with a preview.
fn preview() -> std::sync::Arc<Fake> {
    let world = Fake::new();
    {
        let mut state = world.state();
        let database = &mut state.databases[0];
        database.spec.environment = Environment::Preview;
        let branch = database.status.as_mut().unwrap().branch.as_mut().unwrap();
        branch.parent_id = Some("br-0".into());
    }
    world
}

fn edit(world: &Fake, operator: &crate::migration::Migrations, sql: &str) {
    world.edit(EDITED, sql);
    operator.forget_config_map("team", "files");
}

/// The NeonDatabase does what it is asked for.
fn reset(world: &Fake, incarnation: &str, rows: usize) {
    world.reset_branch(incarnation);
    world.state().ledger.rows.truncate(rows);
}

#[tokio::test]
async fn each_edit_leads_to_one_request_and_then_to_everything_anew() {
    let world = preview();
    let operator = world.operator();
    settles(&world.pass(&operator).await);
    for (incarnation, sql) in [
        ("i-2", "CREATE TABLE b2 (id int);"),
        ("i-3", "CREATE TABLE b3 (id int);"),
    ] {
        edit(&world, &operator, sql);
        let report = world.pass(&operator).await;
        assert_eq!(report.actions, ["ReadLedger", "AskForReset"]);
        assert!(matches!(report.verdict, Verdict::Waiting(_)), "{report:?}");
        // also after a restart
        let report = world.pass(&world.operator()).await;
        assert_eq!(report.actions, ["ReadLedger"]);
        reset(&world, incarnation, 0);
        settles(&world.pass(&operator).await);
        assert_eq!(world.applied().len(), 3);
    }
}

#[tokio::test]
async fn a_reset_that_has_not_helped_is_not_asked_for_again_before_somebody_says_so() {
    let world = preview();
    let operator = world.operator();
    settles(&world.pass(&operator).await);
    edit(&world, &operator, "CREATE TABLE b2 (id int);");
    world.pass(&operator).await;
    // the rows are still there
    reset(&world, "i-2", 3);
    let report = world.pass(&operator).await;
    assert_eq!(report.actions, ["ReadLedger"]);
    let (reason, message) = blocked(&report);
    assert_eq!(reason, Reason::ChecksumMismatch);
    assert!(message.contains("has not helped"), "{message}");
    world.annotate(RETRY, "1");
    let report = world.pass(&operator).await;
    assert!(report.actions.contains(&"AskForReset"), "{report:?}");
}

#[tokio::test]
async fn a_request_is_withdrawn_with_the_edit_or_the_policy() {
    let world = preview();
    let operator = world.operator();
    settles(&world.pass(&operator).await);
    edit(&world, &operator, "CREATE TABLE b2 (id int);");
    world.pass(&operator).await;
    assert!(world.status().reset_request.is_some());
    edit(&world, &operator, "CREATE TABLE b (id int);");
    settles(&world.pass(&operator).await);
    assert_eq!(world.status().reset_request, None);

    edit(&world, &operator, "CREATE TABLE b2 (id int);");
    world.pass(&operator).await;
    assert!(world.status().reset_request.is_some());
    {
        let mut state = world.state();
        state.object.metadata.generation = Some(2);
        let policies = json!({"onDivergence": "Fail"});
        state.object.spec.policies = serde_json::from_value(policies).unwrap();
    }
    assert_eq!(
        blocked(&world.pass(&operator).await).0,
        Reason::ChecksumMismatch
    );
    assert_eq!(world.status().reset_request, None);
}
