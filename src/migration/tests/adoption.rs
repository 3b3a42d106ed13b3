//! Histories that are to be found true first: rows of the decision table, and what is told.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use serde_json::json;

use super::table::{blocks, names, waits};
use super::*;
use crate::api::{
    AdoptionStatus, AdoptionVerdict, LastError, Reason, ScratchBranch, SepulkiMigrationStatus,
    VersionVerdict,
};
use crate::engine::run::Verification;
use crate::engine::{Verdict, Verified};
use crate::migration::action::Action;
use crate::migration::adoption;
use crate::migration::place::Place;
use crate::migration::plan::decide;
use crate::migration::scratch::{Scratch, in_vain, life, trial};
use crate::neon::{self, BranchId, BranchState};
use crate::reconcile::Decision;
use crate::world::{Failures, Operation};

fn asked() -> Desired {
    Desired {
        has_finalizer: true,
        ..desired(&json!({"adopt": {"mode": "Verify"}}))
    }
}

fn place() -> Place {
    Place {
        branch: branch("i-1"),
        database: "app".into(),
    }
}

fn minutes(minutes: i64) -> Timestamp {
    now() - jiff::SignedDuration::from_mins(minutes)
}

fn seconds(seconds: i64) -> Timestamp {
    now() - jiff::SignedDuration::from_secs(seconds)
}

fn on_record(id: Option<&str>, since: Timestamp) -> ScratchBranch {
    ScratchBranch {
        parent_id: "br-1".into(),
        incarnation: "i-1".into(),
        request_time: Time(since),
        expiry_time: None,
        id: id.map(str::to_owned),
        deleted: false,
        copies: 1,
        tried: false,
        outdated: false,
        trouble: None,
        operations: Vec::new(),
    }
}

pub(super) fn copy(state: BranchState, made: Timestamp) -> neon::Branch {
    neon::Branch {
        id: "br-copy".into(),
        name: "verify/team/m".into(),
        parent_id: Some("br-1".into()),
        pending_state: (state == BranchState::Init).then_some(BranchState::Ready),
        current_state: state,
        default: false,
        protected: false,
        created_at: made,
        last_reset_at: None,
        expires_at: None,
        annotations: std::collections::BTreeMap::new(),
    }
}

pub(super) fn compute() -> neon::Endpoint {
    serde_json::from_value(json!({
        "id": "ep-copy", "branch_id": "br-copy", "host": "ep-copy.example", "type": "read_write", "current_state": "idle",
    }))
    .unwrap()
}

/// A copy that can be used.
fn usable() -> Scratch {
    Scratch {
        out_of_reach: None,
        listed: vec![copy(BranchState::Ready, seconds(20))],
        endpoint: Some(compute()),
        operations: Vec::new(),
    }
}

/// All three files are claimed; this is known of the copy.
fn claimed(record: Option<ScratchBranch>, scratch: Option<Scratch>) -> Observed {
    let all = ["001_a.sql", "002_b.sql", "003_c.sql"];
    Observed {
        adoption: record.map(|scratch| AdoptionStatus {
            verdict: None,
            scratch: Some(scratch),
        }),
        scratch,
        ..observed(three_files(), ledger(&three_files(), &all), None)
    }
}

fn found(versions: &[(&str, bool, Verdict)]) -> Verification {
    let one = |(version, recorded, verdict): &(&str, bool, Verdict)| Verified {
        version: (*version).to_owned(),
        recorded: *recorded,
        in_part: false,
        verdict: verdict.clone(),
    };
    Verification {
        ledger: LedgerState::default(),
        versions: versions.iter().map(one).collect(),
    }
}

fn missing(what: &str) -> Verdict {
    Verdict::Missing(vec![what.to_owned()])
}

fn verdict(basis: String, versions: &[(&str, bool, Verdict)]) -> AdoptionVerdict {
    adoption::record(place(), basis, &found(versions), now())
}

/// What is known when this was found, of this ledger.
fn known(applied: &[&str], versions: &[(&str, bool, Verdict)]) -> Observed {
    let state = ledger(&three_files(), applied);
    let digest = Listing::of(&three_files()).digest;
    let basis = adoption::basis(&asked(), &digest, &state);
    Observed {
        adoption: Some(AdoptionStatus {
            verdict: Some(verdict(basis, versions)),
            scratch: None,
        }),
        ..observed(three_files(), state, None)
    }
}

fn at_rest() -> Desired {
    Desired {
        has_finalizer: false,
        ..asked()
    }
}

#[test]
fn a_history_is_looked_into_before_anything_else_is_made_of_the_ledger() {
    let nothing_known = claimed(None, None);
    let next = decide(&at_rest(), &nothing_known, now());
    assert_eq!(next, Decision::Act(Action::AnnounceScratch));
    let trusting = decide(&desired(&json!({})), &nothing_known, now());
    assert!(matches!(trusting, Decision::Settled(_)), "{trusting:?}");
}

#[test]
fn the_way_to_a_verdict() {
    let next = |desired: &Desired, record, scratch| {
        let observed = Observed {
            ledger: Ledger::Unread,
            ..claimed(Some(record), scratch)
        };
        decide(desired, &observed, now())
    };
    let act = |action| Decision::Act(action);
    let fresh = || on_record(None, seconds(5));
    let made = |since| on_record(Some("br-copy"), seconds(since));
    let empty = || Some(Scratch::default());
    let with = |branch| {
        let listed = vec![branch];
        Some(Scratch { listed, ..usable() })
    };
    assert_eq!(next(&at_rest(), fresh(), None), act(Action::AddFinalizer));
    assert_eq!(next(&asked(), fresh(), empty()), act(Action::CreateScratch));
    // nobody knows what has come of it since
    let old = on_record(None, seconds(30));
    assert_eq!(next(&asked(), old, empty()), act(Action::AnnounceScratch));
    let lagging = next(&asked(), made(59), empty());
    waits(lagging, Reason::OperationsRunning);
    // somebody has deleted it
    assert_eq!(
        next(&asked(), made(60), empty()),
        act(Action::AnnounceScratch)
    );
    let making = copy(BranchState::Init, seconds(2));
    waits(
        next(&asked(), made(2), with(making)),
        Reason::OperationsRunning,
    );
    let bare = Scratch {
        listed: vec![copy(BranchState::Init, seconds(2))],
        endpoint: None,
        ..usable()
    };
    waits(
        next(&asked(), made(2), Some(bare)),
        Reason::OperationsRunning,
    );
    let starting = Scratch {
        endpoint: Some(neon::Endpoint {
            current_state: neon::EndpointState::Init,
            pending_state: Some(neon::EndpointState::Active),
            ..compute()
        }),
        ..usable()
    };
    waits(
        next(&asked(), made(2), Some(starting)),
        Reason::OperationsRunning,
    );
    assert_eq!(
        next(&asked(), made(20), Some(usable())),
        act(Action::Verify)
    );
    let delete = || act(Action::DeleteScratch("br-copy".into()));
    let given_up = neon::Branch {
        pending_state: None,
        ..copy(BranchState::Init, seconds(20))
    };
    assert_eq!(next(&asked(), made(20), with(given_up)), delete());
    let without_compute = Scratch {
        endpoint: None,
        ..usable()
    };
    assert_eq!(next(&asked(), made(20), Some(without_compute)), delete());
    // it is no longer what the branch is
    let almost = copy(BranchState::Ready, seconds(599));
    assert_eq!(next(&asked(), made(599), with(almost)), act(Action::Verify));
    let stale = copy(BranchState::Ready, seconds(600));
    assert_eq!(next(&asked(), made(600), with(stale)), delete());
    let out_of_reach = Scratch {
        out_of_reach: Some("there is no key".into()),
        ..Scratch::default()
    };
    let waiting = waits(
        next(&asked(), made(2), Some(out_of_reach)),
        Reason::ProjectNotReady,
    );
    assert_eq!(waiting, "there is no key");
}

#[test]
fn another_copy_is_made_where_the_branch_has_changed_but_not_for_ever() {
    let record = |copies, deleted| ScratchBranch {
        copies,
        outdated: true,
        deleted,
        ..on_record((!deleted).then_some("br-copy"), seconds(20))
    };
    let next = |record, scratch| {
        let observed = claimed(Some(record), Some(scratch));
        decide(&asked(), &observed, now())
    };
    let delete = Decision::Act(Action::DeleteScratch("br-copy".into()));
    assert_eq!(next(record(5, false), usable()), delete);
    // what was announced for the one before is not good for the next one
    let announce = Decision::Act(Action::AnnounceScratch);
    assert_eq!(next(record(4, true), Scratch::default()), announce);
    let give_up = Decision::Act(Action::GiveUp);
    assert_eq!(next(record(5, true), Scratch::default()), give_up);
}

fn operation(ask_in: Option<u64>) -> Operation {
    Operation {
        id: "op".into(),
        action: "create_branch".into(),
        since: now(),
        ask_in: ask_in.map(std::time::Duration::from_secs),
        overdue: false,
        failure: None,
    }
}

#[test]
fn what_neon_is_at_work_on_is_waited_for_and_then_looked_at() {
    for desired in [asked(), desired_to_go()] {
        let record = || on_record(Some("br-copy"), seconds(2));
        let with = |operation| Scratch {
            operations: vec![operation],
            ..usable()
        };
        let busy = claimed(Some(record()), Some(with(operation(Some(1)))));
        waits(decide(&desired, &busy, now()), Reason::OperationsRunning);
        let over = claimed(Some(record()), Some(with(operation(None))));
        let next = decide(&desired, &over, now());
        assert_eq!(next, Decision::Act(Action::ForgetOperations));
    }
}

fn desired_to_go() -> Desired {
    Desired {
        deleting: true,
        ..asked()
    }
}

#[test]
fn what_has_served_is_deleted_before_anything_runs_or_the_object_goes() {
    let trusting = Desired {
        has_finalizer: true,
        ..desired(&json!({}))
    };
    let elsewhere = ScratchBranch {
        incarnation: "i-0".into(),
        ..on_record(Some("br-copy"), seconds(20))
    };
    for (desired, record) in [
        (desired_to_go(), on_record(Some("br-copy"), seconds(20))),
        (trusting, on_record(Some("br-copy"), seconds(20))),
        (asked(), elsewhere),
    ] {
        let next = |record: &ScratchBranch, scratch| {
            let observed = claimed(Some(record.clone()), Some(scratch));
            decide(&desired, &observed, now())
        };
        let delete = Decision::Act(Action::DeleteScratch(BranchId::from("br-copy")));
        assert_eq!(next(&record, usable()), delete);
        // what was made and is not listed yet is there all the same
        assert_eq!(next(&record, Scratch::default()), delete);
        let deleted = ScratchBranch {
            id: None,
            deleted: true,
            ..record.clone()
        };
        let release = Decision::Act(Action::ReleaseFinalizer);
        assert_eq!(next(&deleted, Scratch::default()), release);
        assert_eq!(next(&deleted, usable()), delete);
        let unanswered = |since| ScratchBranch {
            id: None,
            request_time: Time(seconds(since)),
            ..record.clone()
        };
        let may_come = next(&unanswered(119), Scratch::default());
        waits(may_come, Reason::OperationsRunning);
        assert_eq!(next(&unanswered(120), Scratch::default()), release);
    }
}

#[test]
fn a_copy_on_which_nothing_is_to_be_tried_is_deleted_whatever_else_is_in_the_way() {
    let spec = |more: Value| {
        let mut spec = json!({"adopt": {"mode": "Verify"}});
        spec.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        Desired {
            has_finalizer: true,
            ..desired(&spec)
        }
    };
    let suspended = || spec(json!({"suspend": true}));
    let invalid = || spec(json!({"source": {}}));
    let record = || on_record(Some("br-copy"), seconds(20));
    let delete = Decision::Act(Action::DeleteScratch(BranchId::from("br-copy")));
    let gone = || ScratchBranch {
        id: None,
        deleted: true,
        ..record()
    };
    for desired in [suspended(), invalid()] {
        let there = claimed(Some(record()), Some(usable()));
        assert_eq!(decide(&desired, &there, now()), delete);
        let gone = claimed(Some(gone()), Some(Scratch::default()));
        let release = Decision::Act(Action::ReleaseFinalizer);
        assert_eq!(decide(&desired, &gone, now()), release);
        let without = Desired {
            has_finalizer: false,
            ..desired
        };
        let rests = decide(&without, &claimed(None, None), now());
        assert!(!matches!(rests, Decision::Act(_)), "{rests:?}");
    }
    let old = || Scratch {
        listed: vec![copy(BranchState::Ready, seconds(600))],
        ..usable()
    };
    let mut claimed_by_another = claimed(Some(record()), Some(old()));
    claimed_by_another.rival = Some("older".into());
    let mut without_files = claimed(Some(record()), Some(old()));
    without_files.files = Files::Missing(vec!["files".into()]);
    let unready = |unready, going, scratch| Observed {
        database: Fact::Known(Database {
            unready: Some(unready),
            going,
            ..database()
        }),
        ..claimed(Some(record()), Some(scratch))
    };
    let resetting = unready("it waits for its children".to_owned(), false, old());
    // it waits for its children, of which this is one
    let going = unready("it is being deleted".to_owned(), true, usable());
    for observed in [claimed_by_another, without_files, resetting, going] {
        assert_eq!(decide(&asked(), &observed, now()), delete);
    }
}

#[test]
fn a_trial_is_in_vain_once_its_outcome_is_of_no_use() {
    let own = object(&json!({"adopt": {"mode": "Verify"}}));
    let judge = |own: &SepulkiMigration, database: Option<&Database>| {
        in_vain(&asked(), &place(), Some(own), database)
    };
    assert_eq!(judge(&own, Some(&database())), None);
    let changed = |change: fn(&mut ObjectMeta)| {
        let mut own = own.clone();
        change(&mut own.metadata);
        judge(&own, Some(&database()))
    };
    assert_eq!(
        changed(|meta| meta.generation = Some(2)),
        Some("the spec has changed")
    );
    assert_eq!(
        changed(|meta| meta.uid = Some("v".into())),
        Some("the object is gone")
    );
    assert_eq!(
        changed(|meta| meta.deletion_timestamp = Some(Time(now()))),
        Some("the object is being deleted")
    );
    let going = Database {
        going: true,
        ..database()
    };
    let reset = Database {
        branch: Some(branch("i-2")),
        ..database()
    };
    let deleted = Some("the NeonDatabase is being deleted");
    assert_eq!(judge(&own, Some(&going)), deleted);
    assert_eq!(judge(&own, None), deleted);
    let moved = Some("the branch was reset or restored");
    assert_eq!(judge(&own, Some(&reset)), moved);
}

#[test]
fn a_copy_lives_no_longer_than_a_trial_may_last() {
    let with = |deadline| {
        let spec = json!({"adopt": {"mode": "Verify"}, "execution": {"deadline": deadline}});
        desired(&spec)
    };
    assert_eq!(life(&with("1h")).as_mins(), 90);
    assert_eq!(life(&with("7d")).as_mins(), 270);
    assert_eq!(trial(&with("7d")).as_secs(), 4 * 3600);
}

#[test]
fn a_copy_out_of_reach_keeps_no_object_and_is_left_to_neon_at_its_end() {
    let out_of_reach = || Scratch {
        out_of_reach: Some("there is no key".into()),
        ..Scratch::default()
    };
    let record = |since| on_record(Some("br-copy"), since);
    let release = Decision::Act(Action::ReleaseFinalizer);
    let young = claimed(Some(record(minutes(1))), Some(out_of_reach()));
    assert_eq!(decide(&desired_to_go(), &young, now()), release);
    let trusting = Desired {
        has_finalizer: true,
        ..desired(&json!({}))
    };
    // everything else goes on, and it is looked at again
    let next = decide(&trusting, &young, now());
    assert!(matches!(next, Decision::Settled(_)), "{next:?}");
    assert_eq!(life(&trusting).as_mins(), 60);
    let old = claimed(Some(record(minutes(60))), Some(out_of_reach()));
    assert_eq!(decide(&trusting, &old, now()), release);
    // as long as Neon was asked to keep it, whatever the spec says by now
    let ends = |end| {
        let record = ScratchBranch {
            expiry_time: Some(Time(end)),
            ..record(minutes(60))
        };
        decide(
            &trusting,
            &claimed(Some(record), Some(out_of_reach())),
            now(),
        )
    };
    assert_eq!(ends(now()), release);
    let next = ends(now() + jiff::SignedDuration::from_secs(1));
    assert!(matches!(next, Decision::Settled(_)), "{next:?}");
}

#[test]
fn one_that_came_late_is_deleted_too() {
    let late = claimed(None, Some(usable()));
    let next = decide(&at_rest(), &late, now());
    assert_eq!(next, Decision::Act(Action::DeleteScratch("br-copy".into())));
    let announced = claimed(Some(on_record(None, seconds(5))), None);
    let next = decide(&desired(&json!({})), &announced, now());
    assert_eq!(next, Decision::Act(Action::ReleaseFinalizer));
}

#[test]
fn what_neon_could_not_make_is_asked_for_with_patience() {
    let failures = Failures::default();
    let what = "make a branch to try the files on";
    failures.asked("u", what.into(), true);
    failures.failed("u", 1, None, "no room".into(), now());
    let failed = Observed {
        ledger: Ledger::Unread,
        failures: failures.of("u", 1, now()),
        ..claimed(Some(on_record(None, seconds(5))), Some(Scratch::default()))
    };
    let message = waits(decide(&asked(), &failed, now()), Reason::OperationFailed);
    assert_eq!(
        message,
        format!("Neon could not {what}, because no room; it is asked again")
    );
}

#[test]
fn a_true_history_is_believed_whatever_the_ledger_comes_to_say() {
    let fine = [
        ("001_a.sql", true, Verdict::Consistent),
        ("002_b.sql", false, missing("makes b")),
    ];
    let all = ["001_a.sql", "002_b.sql", "003_c.sql"];
    let mut later = known(&["001_a.sql"], &fine);
    later.ledger = claimed(None, None).ledger;
    let next = decide(&at_rest(), &later, now());
    assert!(matches!(next, Decision::Settled(_)), "{next:?}");
    let pending = known(&["001_a.sql"], &fine);
    let next = decide(&at_rest(), &pending, now());
    let others = all[1..].iter().map(|v| (*v).to_owned()).collect();
    assert_eq!(next, Decision::Act(Action::Apply(others)));
    // another incarnation is another history
    let mut reset = known(&["001_a.sql"], &fine);
    let database = Database {
        branch: Some(branch("i-2")),
        ..database()
    };
    reset.database = Fact::Known(database);
    let next = decide(&at_rest(), &reset, now());
    assert_eq!(next, Decision::Act(Action::AnnounceScratch));
}

#[test]
fn a_wrong_history_stops_everything_until_files_rows_or_aliases_change() {
    let wrong = [
        ("001_a.sql", true, missing("makes table public.a")),
        ("002_b.sql", false, Verdict::Consistent),
        (
            "003_c.sql",
            true,
            Verdict::Unknown("it changes rows at most".into()),
        ),
    ];
    let rows = ["001_a.sql", "003_c.sql"];
    let message = blocks(
        decide(&at_rest(), &known(&rows, &wrong), now()),
        Reason::HistoryDiffers,
    );
    names(
        &message,
        &[
            "the ledger claims what is not there: 001_a.sql (makes table public.a); run what is missing by hand",
            "there is what the ledger does not claim: 002_b.sql; record it",
            "sepulki.dev/retry",
        ],
    );
    let again = |observed: &Observed, desired: &Desired| {
        let next = decide(desired, observed, now());
        assert_eq!(next, Decision::Act(Action::AnnounceScratch));
    };
    let mut recorded = known(&rows, &wrong);
    recorded.ledger = claimed(None, None).ledger;
    again(&recorded, &at_rest());
    let aliased = Desired {
        has_finalizer: false,
        ..desired(&json!({"adopt": {"mode": "Verify", "aliases": {"001_a": "001_a.sql"}}}))
    };
    again(&known(&rows, &wrong), &aliased);
    let as_another = Desired {
        has_finalizer: false,
        ..desired(&json!({"adopt": {"mode": "Verify"}, "execution": {"role": "app_owner"}}))
    };
    again(&known(&rows, &wrong), &as_another);
    let mut others = three_files();
    others[2] = file("003_c.sql", "CREATE TABLE c (id bigint);");
    let mut edited = observed(others, ledger(&three_files(), &rows), None);
    edited.adoption = known(&rows, &wrong).adoption;
    again(&edited, &at_rest());
}

#[test]
fn a_settled_object_that_begins_to_doubt_looks_into_its_history() {
    let done = crate::api::AppliedTo {
        branch_id: "br-1".into(),
        incarnation: "i-1".into(),
        database: "app".into(),
        digest: Some(Listing::of(&three_files()).digest),
        target: None,
    };
    let mut settled = claimed(None, None);
    settled.applied_to = Some(done);
    assert!(settled.is_complete(&desired(&json!({}))));
    assert!(!settled.is_complete(&at_rest()));
    settled.ledger = Ledger::Unread;
    let next = decide(&at_rest(), &settled, now());
    assert_eq!(next, Decision::Act(Action::ReadLedger));
}

#[test]
fn a_branch_with_a_lease_is_not_forked() {
    let mut leased = claimed(None, None);
    let branch = Branch {
        expires: true,
        ..branch("i-1")
    };
    leased.database = Fact::Known(Database {
        branch: Some(branch),
        ..database()
    });
    let message = blocks(decide(&at_rest(), &leased, now()), Reason::ParentExpires);
    names(&message, &["spec.branch.lease of NeonDatabase staging"]);
}

#[test]
fn a_trial_that_took_too_long_is_not_begun_again() {
    let mut failed = claimed(
        Some(on_record(Some("br-copy"), seconds(20))),
        Some(usable()),
    );
    failed.last_error = Some(LastError {
        version: None,
        line: None,
        column: None,
        sql_state: None,
        message: "the history was not tried within 30m".into(),
        attempt: failed.attempt(&asked()),
    });
    let next = decide(&asked(), &failed, now());
    assert_eq!(next, Decision::Act(Action::DeleteScratch("br-copy".into())));
    failed.adoption = None;
    failed.scratch = None;
    blocks(decide(&at_rest(), &failed, now()), Reason::MigrationFailed);
}

#[test]
fn those_that_need_somebody_are_told_first_and_no_more_than_twenty() {
    let names: Vec<String> = (0..30).map(|n| format!("{n:03}.sql")).collect();
    let mut all: Vec<(&str, bool, Verdict)> = names
        .iter()
        .map(|name| (name.as_str(), true, Verdict::Consistent))
        .collect();
    all[25].2 = missing(&"x".repeat(1_000));
    all[27] = ("027.sql", false, missing("makes table t"));
    all[28].2 = Verdict::Unknown("why".into());
    all[29].1 = false;
    let told = verdict("b".into(), &all);
    let counts = (
        told.consistent,
        told.claimed_but_missing,
        told.there_without_row,
        told.unknown,
        told.pending,
    );
    assert_eq!(counts, (26, 1, 1, 1, 1));
    assert!(!told.is_fine());
    assert_eq!(told.versions.len(), 20);
    let first: Vec<_> = told.versions[..5]
        .iter()
        .map(|v| (v.version.as_str(), v.verdict))
        .collect();
    assert_eq!(
        first,
        [
            ("025.sql", VersionVerdict::ClaimedButMissing),
            ("029.sql", VersionVerdict::ThereWithoutRow),
            ("028.sql", VersionVerdict::Unknown),
            ("027.sql", VersionVerdict::Pending),
            ("000.sql", VersionVerdict::Consistent),
        ]
    );
    let details: Vec<_> = told.versions[..4]
        .iter()
        .map(|v| v.detail.as_ref().map(|d| d.chars().count()))
        .collect();
    assert_eq!(details, [Some(256), None, Some(3), None]);
    let notice = adoption::notice(&told);
    assert!(notice.warning);
    assert_eq!(
        notice.message,
        "the files were tried on a copy of the branch: 26 consistent, 1 claimed but missing, 1 there without a row, \
         1 unknown, 1 pending; what cannot be told is believed: 028.sql (why)"
    );
    let fine = verdict("b".into(), &[("001.sql", true, Verdict::Consistent)]);
    let notice = adoption::notice(&fine);
    assert!(!notice.warning);
    let told = "the files were tried on a copy of the branch: 1 consistent";
    assert_eq!(notice.message, told);
    let many: Vec<(&str, bool, Verdict)> = names[..7]
        .iter()
        .map(|name| (name.as_str(), false, Verdict::Consistent))
        .collect();
    let message = adoption::block(&verdict("b".into(), &many)).message;
    assert!(
        message.contains("003.sql, 004.sql and 2 more; record"),
        "{message}"
    );
    assert!(!message.contains("is not there"), "{message}");
}

#[test]
fn a_verdict_is_dropped_when_nobody_asks_for_it_or_it_speaks_of_another_branch() {
    let with = |scratch| SepulkiMigrationStatus {
        adoption: Some(AdoptionStatus {
            verdict: Some(verdict("b".into(), &[])),
            scratch,
        }),
        ..SepulkiMigrationStatus::default()
    };
    let kept = |desired: &Desired, place: Option<Place>| {
        let mut status = with(None);
        adoption::tidy(&mut status, desired, place.as_ref());
        status.adoption.is_some()
    };
    let other = Place {
        branch: branch("i-2"),
        database: "app".into(),
    };
    assert!(kept(&asked(), Some(place())));
    assert!(kept(&asked(), None));
    assert!(!kept(&asked(), Some(other)));
    assert!(!kept(&desired(&json!({})), Some(place())));
    // of a spec that cannot be carried out nobody knows what it asks
    assert!(kept(&desired(&json!({"source": {}})), Some(place())));
    let mut status = with(Some(on_record(None, now())));
    adoption::tidy(&mut status, &desired(&json!({})), Some(&place()));
    let adoption = status.adoption.unwrap();
    assert!(adoption.verdict.is_none() && adoption.scratch.is_some());
}

#[test]
fn a_part_that_nobody_claims_stops_everything() {
    let mut history = found(&[("003_half.sql", false, missing("makes table public.b"))]);
    let pending = adoption::record(place(), "b".into(), &history, now());
    assert!(pending.is_fine());
    history.versions[0].in_part = true;
    let told = adoption::record(place(), "b".into(), &history, now());
    assert_eq!((told.there_in_part, told.pending), (1, 0));
    assert!(!told.is_fine());
    let block = adoption::block(&told);
    assert_eq!(block.reason, Reason::HistoryDiffers);
    let words = "a part of it is there, and the ledger does not claim it: 003_half.sql (makes table public.b)";
    names(
        &block.message,
        &[words, "mark FILE", "take back what is there"],
    );
    assert!(include_str!("../../../docs/bad-input.md").contains(words));
}
