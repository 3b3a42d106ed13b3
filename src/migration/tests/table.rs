//! Every row of the decision table in [`super::super::plan`].

use serde_json::json;

use super::*;
use crate::api::{AppliedTo, LastError, Looks, Reason};
use crate::migration::Action;
use crate::migration::plan::{before_compiling, decide};
use crate::migration::required::Unmet;
use crate::reconcile::Decision;

type Next = Decision<Action>;

fn ready() -> Observed {
    observed(three_files(), ledger(&three_files(), &[]), None)
}

pub(super) fn plain() -> Desired {
    desired(&json!({}))
}

fn answer(observed: &Observed) -> Next {
    decide(&plain(), observed, now())
}

/// The message of a wait for this reason.
#[track_caller]
pub(super) fn waits(next: Next, reason: Reason) -> String {
    let Decision::Wait(wait) = next else {
        panic!("{reason} was to be waited for: {next:?}");
    };
    assert_eq!(wait.reason, reason, "{}", wait.message);
    wait.message
}

/// The message of a block for this reason.
#[track_caller]
pub(super) fn blocks(next: Next, reason: Reason) -> String {
    let Decision::Blocked(block) = next else {
        panic!("{reason} was to block: {next:?}");
    };
    assert_eq!(block.reason, reason, "{}", block.message);
    block.message
}

#[track_caller]
pub(super) fn names(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "{part:?} is not in {message:?}");
    }
}

/// The status of a place where all three files were found applied.
fn complete() -> AppliedTo {
    AppliedTo {
        branch_id: "br-1".into(),
        incarnation: "i-1".into(),
        database: "app".into(),
        digest: Some(Listing::of(&three_files()).digest),
        target: None,
    }
}

#[test]
fn an_object_on_its_way_out_keeps_nobody() {
    let desired = Desired {
        deleting: true,
        suspend: true,
        ..plain()
    };
    assert_eq!(decide(&desired, &ready(), now()), Decision::Gone);
}

#[test]
fn suspended_wins_over_everything_but_deletion() {
    let desired = desired(&json!({"suspend": true, "source": {}}));
    let next = decide(&desired, &ready(), now());
    assert!(matches!(next, Decision::Suspended(_)), "{next:?}");
}

#[test]
fn a_spec_that_cannot_be_carried_out_names_the_field() {
    let next = decide(&desired(&json!({"source": {}})), &ready(), now());
    names(&blocks(next, Reason::InvalidSpec), &["spec.source"]);
}

#[test]
fn each_new_value_of_an_annotation_makes_it_look_again_once() {
    let ask = |reconcile: Option<&str>, retry: Option<&str>| Looks {
        reconcile: reconcile.map(str::to_owned),
        retry: retry.map(str::to_owned),
    };
    let complete = Observed {
        applied_to: Some(complete()),
        handled: ask(Some("1"), None),
        ..ready()
    };
    for (asked, looks) in [
        (ask(Some("1"), None), false),
        (ask(None, None), false),
        (ask(Some("2"), None), true),
        (ask(Some("1"), Some("1")), true),
    ] {
        let desired = Desired {
            asked: asked.clone(),
            ..plain()
        };
        let next = decide(&desired, &complete, now());
        let is_look = next == Decision::Act(Action::LookAgain);
        assert_eq!(is_look, looks, "{asked:?}: {next:?}");
    }
}

#[test]
fn the_younger_of_two_on_one_ledger_is_blocked() {
    let claimed = Observed {
        rival: Some("older".into()),
        ..ready()
    };
    let message = blocks(answer(&claimed), Reason::LedgerClaimed);
    names(
        &message,
        &[
            "SepulkiMigration older",
            "public.schema_migrations",
            "staging",
        ],
    );
}

#[test]
fn config_maps_that_are_missing_are_waited_for_by_name() {
    let missing = Observed {
        files: Files::Missing(vec!["one".into(), "two".into()]),
        ..ready()
    };
    let message = waits(answer(&missing), Reason::ConfigMapNotFound);
    names(&message, &["one, two"]);
}

#[test]
fn files_that_make_no_set_are_refused() {
    let rejected = Observed {
        files: Files::Rejected("001_a.sql is in both ConfigMaps x and y".into()),
        ..ready()
    };
    let message = blocks(answer(&rejected), Reason::InvalidMigration);
    names(&message, &["001_a.sql", "x and y"]);
}

#[test]
fn other_files_than_the_digest_says_are_waited_for() {
    let asked = format!("sha256:{}", "0".repeat(64));
    let maps = json!({"configMaps": {"refs": [{"name": "files"}], "digest": asked}});
    let next = decide(&desired(&json!({"source": maps})), &ready(), now());
    let actual = Listing::of(&three_files()).digest;
    names(&waits(next, Reason::DigestMismatch), &[&asked, &actual]);
    // and the right digest is no obstacle
    let maps = json!({"configMaps": {"refs": [{"name": "files"}], "digest": actual}});
    let next = decide(&desired(&json!({"source": maps})), &ready(), now());
    assert!(matches!(next, Decision::Act(Action::Apply(_))), "{next:?}");
}

#[test]
fn a_target_that_is_no_file_is_told_with_the_files() {
    let desired = desired(&json!({"target": {"version": "004_d.sql"}}));
    let message = blocks(decide(&desired, &ready(), now()), Reason::TargetNotFound);
    names(&message, &["004_d.sql"]);
    let listed = "there are 001_a.sql, 002_b.sql, 003_c.sql";
    assert!(message.ends_with(listed), "{message}");
}

#[test]
fn of_many_files_the_last_few_are_told_beside_a_target_that_is_none() {
    let files = |count: u32| {
        let one = |n| file(&format!("{n:03}_a.sql"), "SELECT 1");
        (1..=count).map(one).collect::<Vec<_>>()
    };
    let desired = desired(&json!({"target": {"version": "009_z.sql"}}));
    for (count, listed) in [
        (
            5,
            "there are 001_a.sql, 002_a.sql, 003_a.sql, 004_a.sql, 005_a.sql",
        ),
        (
            6,
            "there are …, 002_a.sql, 003_a.sql, 004_a.sql, 005_a.sql, 006_a.sql",
        ),
    ] {
        let observed = observed(files(count), LedgerState::default(), None);
        let message = blocks(decide(&desired, &observed, now()), Reason::TargetNotFound);
        assert!(message.ends_with(listed), "{message}");
    }
}

#[test]
fn what_was_found_complete_is_settled_without_compiling_a_session_or_a_ready_database() {
    let mut settled = Observed {
        applied_to: Some(complete()),
        bundle: None,
        branch_free: false,
        ledger: Ledger::Unread,
        ..ready()
    };
    if let Fact::Known(database) = &mut settled.database {
        database.unready = Some("its compute is being resized".into());
    }
    assert!(matches!(answer(&settled), Decision::Settled(_)));
    assert!(before_compiling(&plain(), &settled, now()).is_some());
}

#[test]
fn another_incarnation_database_bundle_or_target_is_looked_at_anew() {
    let others = [
        AppliedTo {
            incarnation: "i-0".into(),
            ..complete()
        },
        AppliedTo {
            branch_id: "br-0".into(),
            ..complete()
        },
        AppliedTo {
            digest: None,
            ..complete()
        },
        AppliedTo {
            digest: Some("sha256:0".into()),
            ..complete()
        },
        AppliedTo {
            target: Some("002_b.sql".into()),
            ..complete()
        },
    ];
    for applied_to in others {
        let known = Observed {
            applied_to: Some(applied_to),
            ledger: Ledger::Unread,
            ..ready()
        };
        assert_eq!(
            answer(&known),
            Decision::Act(Action::ReadLedger),
            "{known:?}"
        );
    }
}

#[test]
fn an_order_that_nobody_knows_names_both_files() {
    let files = vec![file("9_a.sql", "SELECT 1"), file("10_b.sql", "SELECT 1")];
    let bad = observed(files, LedgerState::default(), None);
    let message = blocks(answer(&bad), Reason::InvalidMigration);
    names(&message, &["9_a.sql", "10_b.sql"]);
}

#[test]
fn what_has_to_come_first_is_waited_for_but_not_where_all_is_applied() {
    let with = |unmet: Unmet| Observed {
        unmet: Some(unmet),
        ..ready()
    };
    for unmet in [
        Unmet::Missing("staging".into()),
        Unmet::Pending("staging".into()),
    ] {
        let message = waits(answer(&with(unmet)), Reason::WaitingForMigration);
        names(&message, &["spec.requires", "SepulkiMigration staging"]);
    }
    let circle = Unmet::Circle(vec!["m".into(), "n".into(), "m".into()]);
    let message = blocks(answer(&with(circle)), Reason::InvalidSpec);
    names(&message, &["m requires n requires m"]);
    let settled = Observed {
        applied_to: Some(complete()),
        ..with(Unmet::Pending("staging".into()))
    };
    assert!(matches!(answer(&settled), Decision::Settled(_)));
}

#[test]
fn a_database_that_does_not_exist_is_waited_for() {
    let absent = Observed {
        database: Fact::Absent,
        ..ready()
    };
    names(
        &waits(answer(&absent), Reason::DatabaseNotFound),
        &["NeonDatabase staging"],
    );
}

#[test]
fn which_database_is_never_guessed() {
    let with = |listed: &[&str]| Observed {
        database: Fact::Known(Database {
            listed: listed.iter().map(|name| (*name).to_owned()).collect(),
            ..database()
        }),
        ..ready()
    };
    let message = blocks(answer(&with(&["app", "reports"])), Reason::InvalidSpec);
    names(&message, &["spec.database", "app, reports"]);
    let message = blocks(answer(&with(&[])), Reason::InvalidSpec);
    names(&message, &["spec.database", "staging"]);
    // what was resolved once stays, whatever is listed later
    let resolved = Observed {
        applied_to: Some(AppliedTo {
            digest: None,
            ..complete()
        }),
        ..with(&["app", "reports"])
    };
    assert!(matches!(answer(&resolved), Decision::Act(Action::Apply(_))));
}

#[test]
fn a_run_that_failed_is_not_repeated_before_something_changes() {
    let attempt = ready().attempt(&plain());
    assert!(attempt.is_some());
    let failed = Observed {
        last_error: Some(LastError {
            version: Some("002_b.sql".into()),
            line: Some(3),
            column: Some(1),
            sql_state: Some("42P01".into()),
            message: "002_b.sql:3:1: relation \"x\" does not exist".into(),
            attempt,
        }),
        ..ready()
    };
    let message = blocks(answer(&failed), Reason::MigrationFailed);
    names(&message, &["002_b.sql:3:1", "tried again"]);
    let goes_on = |desired: &Desired, observed: &Observed| {
        matches!(
            decide(desired, observed, now()),
            Decision::Act(Action::Apply(_))
        )
    };
    let edited = Desired {
        generation: 2,
        ..plain()
    };
    assert!(goes_on(&edited, &failed));
    for change in [
        |database: &mut Database| database.generation = 2,
        |database: &mut Database| database.branch = Some(branch("i-2")),
    ] {
        let mut changed = failed.clone();
        if let Fact::Known(database) = &mut changed.database {
            change(database);
        }
        assert!(goes_on(&plain(), &changed));
    }
    let mut corrected = three_files();
    corrected[1] = file("002_b.sql", "CREATE TABLE b2 (id int);");
    let corrected = Observed {
        last_error: failed.last_error,
        ..observed(corrected, LedgerState::default(), None)
    };
    assert!(goes_on(&plain(), &corrected));
}

#[test]
fn a_database_that_is_not_ready_is_waited_for_with_the_reason() {
    let with = |change: &dyn Fn(&mut NeonDatabase)| {
        let mut object = neon_database();
        change(&mut object);
        let unready = Observed {
            database: Fact::Known(Database::of(&object, &[])),
            ..ready()
        };
        waits(answer(&unready), Reason::DatabaseNotReady)
    };
    let message = with(&|object| {
        let condition = &mut object.status.as_mut().unwrap().conditions[1];
        condition.status = "False".into();
        condition.reason = "OperationsRunning".into();
        condition.message = "Neon is at work".into();
    });
    names(
        &message,
        &[
            "staging",
            "ComputeReady is False",
            "OperationsRunning",
            "Neon is at work",
        ],
    );
    // a spec that was just changed may be about to bring the extension that the next file needs
    let message = with(&|object| object.metadata.generation = Some(2));
    names(&message, &["last change of its spec"]);
    names(&with(&|object| object.status = None), &["nothing is known"]);
    let message = with(&|object| object.status.as_mut().unwrap().endpoint = None);
    names(&message, &["endpoint"]);
    let message = with(&|object| object.status.as_mut().unwrap().databases.clear());
    names(&message, &["has not made the database app"]);
    let message = with(&|object| {
        object.metadata.deletion_timestamp = object.metadata.creation_timestamp.clone().or(Some(
            k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(now()),
        ));
    });
    names(&message, &["being deleted"]);
}

#[test]
fn without_a_branch_or_an_endpoint_nobody_can_connect() {
    for (branch, endpoint) in [(database().branch, None), (None, database().endpoint)] {
        let without = Observed {
            database: Fact::Known(Database {
                branch,
                endpoint,
                ..database()
            }),
            ..ready()
        };
        let message = waits(answer(&without), Reason::DatabaseNotReady);
        names(&message, &["has no endpoint yet"]);
    }
}

#[test]
fn a_database_that_is_not_listed_is_waited_for() {
    let desired = desired(&json!({"database": "reports"}));
    let message = waits(decide(&desired, &ready(), now()), Reason::DatabaseNotReady);
    names(&message, &["reports", "spec.databases"]);
}

#[test]
fn a_branch_that_is_being_changed_is_waited_for() {
    let busy = Observed {
        branch_free: false,
        ..ready()
    };
    waits(answer(&busy), Reason::BranchBusy);
}

#[test]
fn a_ledger_nobody_has_read_is_read() {
    let unread = Observed {
        ledger: Ledger::Unread,
        ..ready()
    };
    assert_eq!(answer(&unread), Decision::Act(Action::ReadLedger));
}

#[test]
fn a_table_that_is_no_ledger_is_left_alone() {
    let foreign = Observed {
        ledger: Ledger::Foreign("public.schema_migrations has (version bigint)".into()),
        ..ready()
    };
    let message = blocks(answer(&foreign), Reason::LedgerConflict);
    names(&message, &["version bigint", "spec.ledger"]);
}

#[test]
fn problems_of_the_plan_have_their_own_reasons() {
    let files = three_files();
    let of = |state: LedgerState| answer(&observed(files.clone(), state, None));

    let mut edited = ledger(&files, &["001_a.sql"]);
    edited.rows[0].checksum = Some("0".repeat(64));
    let message = blocks(of(edited), Reason::ChecksumMismatch);
    names(&message, &["001_a.sql", "edited"]);

    let gap = ledger(&files, &["001_a.sql", "003_c.sql"]);
    names(
        &blocks(of(gap), Reason::OutOfOrder),
        &["002_b.sql", "003_c.sql"],
    );

    let mut deleted = ledger(&files, &["001_a.sql"]);
    deleted.unrecorded = vec!["002_b.sql".to_owned()];
    let message = blocks(of(deleted), Reason::Unrecorded);
    names(&message, &["002_b.sql", "ledger"]);

    let mut almost = ledger(&files, &["001_a.sql"]);
    almost.rows[0].version = "001_A".into();
    names(
        &blocks(of(almost), Reason::InvalidMigration),
        &["001_A", "001_a.sql"],
    );
}

#[test]
fn an_error_of_syntax_is_shown_with_file_line_column_and_the_line() {
    let files = vec![
        file("001_a.sql", "SELECT 1;"),
        file("002_b.sql", "SELECT 1;\nCREATE TABEL b (id int);\n"),
    ];
    let bad = observed(files.clone(), ledger(&files, &["001_a.sql"]), None);
    let message = blocks(answer(&bad), Reason::InvalidMigration);
    names(&message, &["002_b.sql:2:", "CREATE TABEL b (id int);", "^"]);
    // a file that was applied long ago may contain what is not run here
    let old = observed(
        files.clone(),
        ledger(&files, &["001_a.sql", "002_b.sql"]),
        None,
    );
    assert!(matches!(answer(&old), Decision::Settled(_)));
}

#[test]
fn pending_files_are_applied_up_to_the_target() {
    let files = three_files();
    let all = Action::Apply(vec!["002_b.sql".into(), "003_c.sql".into()]);
    let state = || ledger(&files, &["001_a.sql"]);
    let next = answer(&observed(files.clone(), state(), None));
    assert_eq!(next, Decision::Act(all));
    let desired = desired(&json!({"target": {"version": "002_b.sql"}}));
    let next = decide(
        &desired,
        &observed(files.clone(), state(), Some("002_b.sql")),
        now(),
    );
    assert_eq!(next, Decision::Act(Action::Apply(vec!["002_b.sql".into()])));
}

#[test]
fn nothing_pending_is_settled() {
    let files = three_files();
    let state = ledger(&files, &["001_a.sql", "002_b.sql", "003_c.sql"]);
    let next = answer(&observed(files, state, None));
    assert!(matches!(next, Decision::Settled(_)), "{next:?}");
}

#[test]
fn the_older_of_two_objects_holds_the_ledger() {
    use crate::migration::place::rival;
    let own = object(&json!({}));
    let other = |name: &str, created: &str, spec: &Value| {
        let mut other = object(spec);
        other.metadata.name = Some(name.into());
        other.metadata.uid = Some(format!("uid-{name}"));
        let time: Timestamp = created.parse().unwrap();
        other.metadata.creation_timestamp =
            Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(time));
        other
    };
    let of = |other: &SepulkiMigration| rival(&own, [&own, other], Some(&database()));
    let (older, younger) = ("2026-11-30T00:00:00Z", "2026-12-02T00:00:00Z");
    assert_eq!(of(&other("o", older, &json!({}))), Some("o".into()));
    assert_eq!(of(&other("o", younger, &json!({}))), None);
    // naming the default means the same
    let named = json!({"database": "app", "ledger": {"schema": "public"}});
    assert_eq!(of(&other("o", older, &named)), Some("o".into()));
    // in the same second the uid decides
    let same = "2026-12-01T00:00:00Z";
    assert_eq!(of(&other("a", same, &json!({}))), Some("a".into()));
    assert_eq!(of(&other("z", same, &json!({}))), None);
    // unless one of them is at work on the ledger already: a newcomer does not push it out
    let at_work = |mut object: SepulkiMigration| {
        let applied_to = json!({"branchId": "br-1", "incarnation": "i-1", "database": "app"});
        object.status = serde_json::from_value(json!({"appliedTo": applied_to})).unwrap();
        object
    };
    assert_eq!(of(&at_work(other("z", same, &json!({})))), Some("z".into()));
    let working = at_work(own.clone());
    let newcomer = other("a", same, &json!({}));
    assert_eq!(rival(&working, [&newcomer], Some(&database())), None);
    for elsewhere in [
        json!({"databaseRef": {"name": "production"}}),
        json!({"database": "reports"}),
        json!({"ledger": {"table": "other"}}),
    ] {
        assert_eq!(of(&other("o", older, &elsewhere)), None, "{elsewhere}");
    }
    let mut going = other("o", older, &json!({}));
    going.metadata.deletion_timestamp = going.metadata.creation_timestamp.clone();
    assert_eq!(of(&going), None);
    let mut abroad = other("o", older, &json!({}));
    abroad.metadata.namespace = Some("elsewhere".into());
    assert_eq!(of(&abroad), None);
}
