//! What holds for every object and every world.

use std::sync::OnceLock;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::json;

use super::adoption::{compute, copy};
use super::*;
use crate::api::{
    AdoptionStatus, AdoptionVerdict, AppliedStatus, AppliedTo, BranchOrigin, Environment,
    LastError, Looks, Reason, ScratchBranch, SepulkiMigrationStatus,
};
use crate::migration::plan::decide;
use crate::migration::scratch::Scratch;
use crate::migration::status::project;
use crate::migration::{Action, adoption};
use crate::neon::BranchState;
use crate::reconcile::{Class, Decision, Error, Verdict};

/// Sets of files: good, with a file that cannot run, and one that is no set.
fn sets() -> &'static [Observed; 3] {
    static SETS: OnceLock<[Observed; 3]> = OnceLock::new();
    SETS.get_or_init(|| {
        let mut broken = three_files();
        broken[2] = file("003_c.sql", "CREATE TABEL c (id int);");
        let no_set = vec![file("9_a.sql", "SELECT 1"), file("10_b.sql", "SELECT 1")];
        [three_files(), broken, no_set].map(|files| observed(files, LedgerState::default(), None))
    })
}

fn any_desired() -> impl Strategy<Value = Desired> {
    let target = option::of(select(vec!["001_a.sql", "002_b.sql", "009_z.sql"]));
    let database = option::of(select(vec!["app", "reports"]));
    let asked = option::weighted(0.1, Just("1".to_owned()));
    let verify = prop::bool::weighted(0.5);
    (
        target,
        database,
        any::<[bool; 4]>(),
        1..3_i64,
        asked,
        verify,
    )
        .prop_map(
            |(target, database, [suspend, deleting, inline, kept], generation, retry, verify)| {
                let mut spec = json!({"suspend": suspend});
                if verify {
                    spec["adopt"] = json!({"mode": "Verify"});
                }
                if let Some(target) = target {
                    spec["target"] = json!({"version": target});
                }
                if let Some(database) = database {
                    spec["database"] = json!(database);
                }
                if inline {
                    spec["source"] = json!({"inline": [{"name": "001_a.sql", "sql": ""}]});
                }
                Desired {
                    deleting: deleting && suspend,
                    has_finalizer: verify && kept,
                    generation,
                    asked: Looks {
                        retry,
                        ..Looks::default()
                    },
                    ..desired(&spec)
                }
            },
        )
}

fn any_database() -> impl Strategy<Value = Fact<Database>> {
    let known = (
        vec(select(vec!["app", "reports"]), 0..3),
        option::weighted(0.9, (select(vec!["i-1", "i-2"]), prop::bool::weighted(0.8))),
        option::weighted(0.2, Just("not ready".to_owned())),
        prop::bool::weighted(0.9),
        select(vec![Environment::Staging, Environment::Preview]),
    )
        .prop_map(|(listed, incarnation, unready, reachable, environment)| {
            Fact::Known(Database {
                environment,
                not_resettable: None,
                listed: listed.into_iter().map(str::to_owned).collect(),
                branch: incarnation.map(|(incarnation, restored)| Branch {
                    origin: if restored {
                        BranchOrigin::Restored
                    } else {
                        BranchOrigin::Reset
                    },
                    ..branch(incarnation)
                }),
                endpoint: database().endpoint.filter(|_| reachable),
                unready,
                ..database()
            })
        });
    prop_oneof![8 => known, 1 => Just(Fact::Absent), 1 => Just(Fact::Unknown)]
}

fn any_ledger() -> impl Strategy<Value = Option<LedgerState>> {
    option::weighted(
        0.8,
        (vec(any::<bool>(), 3), any::<bool>()).prop_map(|(applied, drifted)| {
            let files = three_files();
            let names = files.iter().map(|f| f.name.as_str()).zip(applied);
            let rows: Vec<&str> = names.filter(|(_, is)| *is).map(|(name, _)| name).collect();
            let mut state = ledger(&files, &rows);
            if drifted && let Some(row) = state.rows.first_mut() {
                row.checksum = Some("0".repeat(64));
            }
            state
        }),
    )
}

/// What a status may remember, right or outdated.
fn any_memory() -> impl Strategy<Value = SepulkiMigrationStatus> {
    let place = (
        select(vec!["i-1", "i-2"]),
        select(vec!["app", "reports"]),
        option::of(0..3_usize),
        option::of(select(vec!["001_a.sql", "002_b.sql"])),
    );
    let memory = (
        option::weighted(0.9, place),
        any::<bool>(),
        option::of(any_adoption()),
    );
    memory.prop_map(|(place, failed, adoption)| SepulkiMigrationStatus {
        adoption,
        applied_to: place.map(|(incarnation, database, set, target)| AppliedTo {
            branch_id: "br-1".into(),
            incarnation: incarnation.into(),
            database: database.into(),
            digest: set.map(|set| sets()[set].listing().unwrap().digest.clone()),
            target: target.map(str::to_owned),
        }),
        applied: Some(AppliedStatus {
            count: 3,
            last_version: Some("003_c.sql".into()),
            last_time: None,
        }),
        last_error: failed.then(|| LastError {
            version: None,
            line: None,
            column: None,
            sql_state: None,
            message: "it failed".into(),
            attempt: sets()[0].attempt(&desired(&json!({}))),
        }),
        ..SepulkiMigrationStatus::default()
    })
}

/// What was found out about a history, and the record of a copy.
fn any_adoption() -> impl Strategy<Value = AdoptionStatus> {
    let counts = option::weighted(0.3, (0..2_i32, select(vec!["i-1", "i-2"])));
    (
        counts,
        option::weighted(0.8, (prop::bool::weighted(0.3), 0..45_i64, 0..6_i32)),
    )
        .prop_map(|(counts, copy)| AdoptionStatus {
            verdict: counts.map(|(claimed_but_missing, incarnation)| AdoptionVerdict {
                branch_id: "br-1".into(),
                incarnation: incarnation.into(),
                database: "app".into(),
                basis: "sha256:0".into(),
                time: Time(now()),
                consistent: 1,
                claimed_but_missing,
                there_without_row: 0,
                there_in_part: 0,
                unknown: 0,
                pending: 0,
                versions: Vec::new(),
            }),
            scratch: copy.map(|(made, seconds, copies)| ScratchBranch {
                parent_id: "br-1".into(),
                incarnation: "i-1".into(),
                request_time: Time(now() - jiff::SignedDuration::from_secs(seconds)),
                expiry_time: None,
                id: made.then(|| "br-copy".to_owned()),
                deleted: false,
                copies,
                tried: false,
                outdated: false,
                trouble: None,
                operations: Vec::new(),
            }),
        })
}

/// What Neon says of the copy.
fn any_copy() -> impl Strategy<Value = Scratch> {
    let mostly = || prop::bool::weighted(0.9);
    (mostly(), any::<bool>(), mostly(), 0..700_i64).prop_map(
        |(reachable, listed, served, seconds)| {
            let made = now() - jiff::SignedDuration::from_secs(seconds);
            let branch = copy(BranchState::Ready, made);
            Scratch {
                out_of_reach: (!reachable).then(|| "there is no key".to_owned()),
                listed: (reachable && listed)
                    .then_some(branch)
                    .into_iter()
                    .collect(),
                endpoint: (reachable && listed && served).then(compute),
                operations: Vec::new(),
            }
        },
    )
}

/// Whether an action is about the copy alone.
fn is_of_the_copy(action: &Action) -> bool {
    match action {
        Action::AddFinalizer
        | Action::ForgetOperations
        | Action::DeleteScratch(_)
        | Action::ReleaseFinalizer => true,
        Action::LookAgain
        | Action::ReadLedger
        | Action::AnnounceScratch
        | Action::CreateScratch
        | Action::Verify
        | Action::GiveUp
        | Action::AskForReset(_)
        | Action::Apply(_) => false,
    }
}

/// A spec, a status, and a world that fits neither in particular.
fn any_case() -> impl Strategy<Value = (Desired, SepulkiMigrationStatus, Observed)> {
    let files = prop_oneof![
        8 => (0..3_usize).prop_map(Some),
        1 => Just(None),
    ];
    (
        any_desired(),
        any_memory(),
        files,
        any_database(),
        any_ledger(),
        any::<[bool; 2]>(),
        any_copy(),
    )
        .prop_map(
            |(desired, status, set, database, ledger, [free, rival], copy)| {
                let of = set.map(|set| sets()[set].clone()).unwrap_or_default();
                let observed = Observed {
                    rival: (rival && !free).then(|| "older".to_owned()),
                    ledger: read(&of, ledger, &desired),
                    database,
                    branch_free: free,
                    applied_to: status.applied_to.clone(),
                    applied: status.applied.clone(),
                    last_error: status.last_error.clone(),
                    adoption: status.adoption.clone(),
                    scratch: desired.has_finalizer.then_some(copy),
                    ..of
                };
                (desired, status, observed)
            },
        )
}

/// A spec and a world in which nothing is left to do, whatever the status remembers.
fn any_settling() -> impl Strategy<Value = (Desired, SepulkiMigrationStatus, Observed)> {
    let target = option::of(select(vec!["001_a.sql", "002_b.sql", "003_c.sql"]));
    (target, any_memory()).prop_map(|(target, mut status)| {
        if let Some(to) = &mut status.applied_to {
            to.database = "app".into();
        }
        status.last_error = None;
        let files = three_files();
        let rows = ["001_a.sql", "002_b.sql", "003_c.sql"];
        let rows = rows
            .into_iter()
            .filter(|row| target.is_none_or(|target| *row <= target));
        let state = ledger(&files, &rows.collect::<Vec<_>>());
        let spec = target.map_or(json!({}), |version| json!({"target": {"version": version}}));
        let observed = Observed {
            applied_to: status.applied_to.clone(),
            applied: status.applied.clone(),
            ..observed(files, state, target)
        };
        (desired(&spec), status, observed)
    })
}

fn read(of: &Observed, ledger: Option<LedgerState>, desired: &Desired) -> Ledger {
    match (of.compiled(), ledger) {
        (Some(bundle), Some(state)) => {
            let plan = engine::plan(bundle, &state, desired.target.as_deref());
            Ledger::Read(state, plan)
        }
        (None, Some(_)) => Ledger::Foreign("a table of somebody else".into()),
        (_, None) => Ledger::Unread,
    }
}

fn verdict(next: Decision<Action>) -> Verdict {
    use crate::reconcile::Action as _;
    match next {
        Decision::Act(action) => Verdict::Acting(action.describe()),
        Decision::Wait(wait) => Verdict::Waiting(wait),
        Decision::Settled(after) => Verdict::Settled(after),
        Decision::Suspended(after) => Verdict::Suspended(after),
        Decision::Blocked(block) => Verdict::Blocked(block),
        Decision::Gone => Verdict::Gone,
    }
}

fn any_failure() -> impl Strategy<Value = Verdict> {
    select(vec![
        Class::Transient,
        Class::Conflict,
        Class::Denied,
        Class::Invalid,
    ])
    .prop_map(|class| Verdict::Failed(Error::new(class, Reason::DatabaseUnavailable, "no")))
}

fn is_true(status: &SepulkiMigrationStatus, type_: &str) -> bool {
    let found = status.conditions.iter().find(|c| c.type_ == type_);
    found
        .unwrap_or_else(|| panic!("no condition {type_}"))
        .status
        == "True"
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn decisions_are_the_same_each_time((desired, _, observed) in any_case()) {
        prop_assert_eq!(decide(&desired, &observed, now()), decide(&desired, &observed, now()));
    }

    #[test]
    fn nothing_is_done_on_what_is_not_known((desired, _, observed) in any_case()) {
        if let Decision::Act(action) = decide(&desired, &observed, now())
            && action != Action::LookAgain
            && !is_of_the_copy(&action)
        {
            let database = observed.database.known().expect("the database is known");
            prop_assert!(!desired.suspend && !desired.deleting);
            prop_assert!(observed.branch_free && observed.rival.is_none());
            prop_assert!(database.unready.is_none());
            prop_assert!(observed.place(&desired).is_some() && observed.compiled().is_some());
            if let Action::Apply(versions) = action {
                let Ledger::Read(state, plan) = &observed.ledger else {
                    panic!("files are applied by a ledger nobody read");
                };
                prop_assert!(plan.is_runnable() && !versions.is_empty());
                prop_assert!(versions.iter().all(|v| state.rows.iter().all(|row| row.version != *v)));
                let target = desired.target.as_ref();
                prop_assert!(versions.iter().all(|v| target.is_none_or(|t| v <= t)));
            }
        }
    }

    #[test]
    fn nothing_runs_and_nothing_settles_before_a_history_is_believed((desired, _, observed) in any_case()) {
        let next = decide(&desired, &observed, now());
        if matches!(next, Decision::Act(Action::Apply(_) | Action::AskForReset(_)) | Decision::Settled(_)) {
            let place = observed.place(&desired).expect("the place is known");
            prop_assert!(adoption::is_believed(&desired, &observed, &place));
        }
    }

    #[test]
    fn no_object_goes_while_it_may_have_a_copy_that_could_be_deleted((desired, _, observed) in any_case()) {
        let next = decide(&desired, &observed, now());
        let may_be_there = observed.scratch.as_ref().is_some_and(|scratch| {
            let known = observed.scratch_on_record().is_some_and(|record| record.id.is_some());
            scratch.out_of_reach.is_none() && (known || !scratch.listed.is_empty())
        });
        if may_be_there {
            prop_assert!(next != Decision::Gone && next != Decision::Act(Action::ReleaseFinalizer), "{:?}", next);
        }
    }

    #[test]
    fn settled_stays_settled_without_looking_at_the_ledger((desired, status, observed) in any_settling()) {
        let next = decide(&desired, &observed, now());
        prop_assert!(matches!(next, Decision::Settled(_)), "{:?}", next);
        let status = project(&status, &desired, Some(&observed), &verdict(next), now());
        let again = Observed {
            bundle: None,
            branch_free: false,
            ledger: Ledger::Unread,
            applied_to: status.applied_to.clone(),
            applied: status.applied.clone(),
            held: status.held_after_restore.clone(),
            last_error: status.last_error.clone(),
            ..observed
        };
        let next = decide(&desired, &again, now());
        prop_assert!(matches!(next, Decision::Settled(_)), "{:?}", next);
        let unchanged = project(&status, &desired, Some(&again), &verdict(next), now());
        prop_assert_eq!(unchanged, status);
    }

    #[test]
    fn a_status_told_twice_is_the_same(
        (desired, status, observed) in any_case(), failure in option::of(any_failure()), seen in any::<bool>(),
    ) {
        // nothing is observed only where observing failed
        let seen = seen || failure.is_none();
        let verdict = failure.unwrap_or_else(|| verdict(decide(&desired, &observed, now())));
        prop_assume!(verdict != Verdict::Gone);
        let observed = seen.then_some(&observed);
        let once = project(&status, &desired, observed, &verdict, now());
        let later = now() + jiff::SignedDuration::from_secs(60);
        let twice = project(&once, &desired, observed, &verdict, later);
        prop_assert_eq!(twice, once);
    }

    #[test]
    fn conditions_follow_kstatus(
        (desired, status, observed) in any_case(), failure in option::of(any_failure()), seen in any::<bool>(),
    ) {
        // nothing is observed only where observing failed
        let seen = seen || failure.is_none();
        let verdict = failure.unwrap_or_else(|| verdict(decide(&desired, &observed, now())));
        prop_assume!(verdict != Verdict::Gone);
        let told = project(&status, &desired, seen.then_some(&observed), &verdict, now());
        let types: Vec<&str> = told.conditions.iter().map(|c| c.type_.as_str()).collect();
        let all = ["Ready", "Reconciling", "Stalled", "SourceReady", "Planned", "Applied"];
        prop_assert_eq!(types, all);
        prop_assert_eq!(told.observed_generation, desired.generation);
        prop_assert!(told.conditions.iter().all(|c| c.observed_generation == Some(desired.generation)));
        prop_assert!(told.conditions.iter().all(|c| !c.reason.is_empty()));
        let (reconciling, stalled) = (is_true(&told, "Reconciling"), is_true(&told, "Stalled"));
        prop_assert!(!(reconciling && stalled));
        if is_true(&told, "Ready") {
            prop_assert!(!reconciling && !stalled && is_true(&told, "Applied"));
        }
        if !matches!(verdict, Verdict::Suspended(_) | Verdict::Failed(_)) {
            prop_assert_eq!(is_true(&told, "Applied"), is_true(&told, "Ready"));
            prop_assert!(!is_true(&told, "Applied") || is_true(&told, "Planned"));
            prop_assert!(!is_true(&told, "Planned") || is_true(&told, "SourceReady"));
        }
    }
}

#[test]
fn the_cases_reach_every_kind_of_answer() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..60_000 {
        let (desired, _, observed) = any_case().new_tree(&mut runner).unwrap().current();
        seen.insert(match decide(&desired, &observed, now()) {
            Decision::Act(action) => crate::reconcile::Action::name(&action).to_owned(),
            Decision::Wait(wait) => wait.reason.to_string(),
            Decision::Blocked(block) => block.reason.to_string(),
            Decision::Settled(_) => "Settled".to_owned(),
            Decision::Suspended(_) => "Suspended".to_owned(),
            Decision::Gone => "Gone".to_owned(),
        });
    }
    for kind in [
        "LookAgain",
        "Apply",
        "AnnounceScratch",
        "CreateScratch",
        "Verify",
        "DeleteScratch",
        "GiveUp",
        "ReleaseFinalizer",
        "ReadLedger",
        "AskForReset",
        "Settled",
        "Suspended",
        "Gone",
        "LedgerClaimed",
        "TargetNotFound",
        "InvalidMigration",
        "DatabaseNotFound",
        "DatabaseNotReady",
        "InvalidSpec",
        "MigrationFailed",
        "BranchBusy",
        "ChecksumMismatch",
        "HeldAfterRestore",
        "OutOfOrder",
    ] {
        assert!(seen.contains(kind), "no case leads to {kind}: {seen:?}");
    }
}
