//! What the status says, row by row of the table in [`super::super::status`].

use super::*;
use crate::api::{AppliedTo, LastError, PendingStatus, Reason, SepulkiMigrationStatus as Status};
use crate::migration::status::project;
use crate::reconcile::{Block, Class, Error, Verdict, Wait};

fn plain() -> Desired {
    desired(&json!({}))
}

fn with_applied(applied: &[&str]) -> Observed {
    observed(three_files(), ledger(&three_files(), applied), None)
}

const ALL: [&str; 3] = ["001_a.sql", "002_b.sql", "003_c.sql"];

fn settled() -> Verdict {
    Verdict::Settled(std::time::Duration::from_mins(10))
}

fn suspended() -> Verdict {
    Verdict::Suspended(std::time::Duration::from_mins(10))
}

fn acting() -> Verdict {
    Verdict::Acting("applying 001_a.sql".into())
}

fn waiting(reason: Reason) -> Verdict {
    Verdict::Waiting(Wait {
        reason,
        message: "it is waited for".into(),
        after: std::time::Duration::from_secs(1),
    })
}

fn blocked(reason: Reason) -> Verdict {
    Verdict::Blocked(Block {
        reason,
        message: "it cannot go on".into(),
    })
}

fn failed() -> Verdict {
    Verdict::Failed(Error::new(
        Class::Transient,
        Reason::NeonUnavailable,
        "no answer",
    ))
}

fn tell(before: &Status, observed: Option<&Observed>, verdict: &Verdict) -> Status {
    project(before, &plain(), observed, verdict, now())
}

/// The status of an object whose files were all found applied, and what is known of it when it is looked at again.
fn at_rest() -> (Status, Observed) {
    let read = with_applied(&ALL);
    let status = tell(&Status::default(), Some(&read), &settled());
    let known = Observed {
        applied_to: status.applied_to.clone(),
        bundle: None,
        ledger: Ledger::Unread,
        ..read
    };
    (status, known)
}

/// `SourceReady`, `Planned` and `Applied`, as a person reads them.
fn parts(status: &Status) -> [String; 3] {
    ["SourceReady", "Planned", "Applied"].map(|type_| {
        let found = status.conditions.iter().find(|c| c.type_ == type_);
        let found = found.unwrap();
        format!("{} {}: {}", found.status, found.reason, found.message)
    })
}

#[track_caller]
fn says(status: &Status, expected: [&str; 3]) {
    assert_eq!(parts(status), expected);
}

#[test]
fn what_is_settled_is_read_planned_and_applied() {
    let expected = [
        "True Succeeded: 3 files read",
        "True Succeeded: nothing is pending",
        "True Applied: 3/3 files are applied, the last is 003_c.sql",
    ];
    let (status, known) = at_rest();
    says(&status, expected);
    // and says the same when nothing is compiled and no ledger is read
    says(&tell(&status, Some(&known), &settled()), expected);
}

#[test]
fn what_is_put_up_with_is_told_beside_the_plan_until_it_has_passed() {
    let missing = ledger(
        &three_files(),
        &["000_old.sql", "001_a.sql", "002_b.sql", "003_c.sql"],
    );
    let read = observed(three_files(), missing, None);
    let status = tell(&Status::default(), Some(&read), &settled());
    let warned =
        "True Succeeded: nothing is pending; 000_old.sql is applied, but not one of the files";
    assert_eq!(parts(&status)[1], warned);
    let known = Observed {
        applied_to: status.applied_to.clone(),
        bundle: None,
        ledger: Ledger::Unread,
        ..read
    };
    let later = tell(&status, Some(&known), &settled());
    assert_eq!(parts(&later)[1], warned, "nobody has read the ledger since");
    let mended = tell(&later, Some(&with_applied(&ALL)), &settled());
    assert_eq!(parts(&mended)[1], "True Succeeded: nothing is pending");
}

#[test]
fn a_settled_object_of_which_nothing_is_applied_says_so() {
    let nothing = observed(Vec::new(), LedgerState::default(), None);
    let status = tell(&Status::default(), Some(&nothing), &settled());
    let expected = [
        "True Succeeded: 0 files read",
        "True Succeeded: nothing is pending",
        "True Applied: nothing is to be applied",
    ];
    says(&status, expected);
}

#[test]
fn a_run_is_planned_and_not_applied_yet() {
    let ready = with_applied(&[]);
    // the look before a run has told how much there is to do
    let before = tell(
        &Status::default(),
        Some(&ready),
        &waiting(Reason::BranchBusy),
    );
    let status = tell(&before, Some(&ready), &acting());
    let expected = [
        "True Succeeded: 3 files read",
        "True Succeeded: 3 files pending",
        "False Applying: applying 001_a.sql",
    ];
    says(&status, expected);
    let status = tell(&Status::default(), Some(&ready), &acting());
    assert_eq!(parts(&status)[1], "True Succeeded: files are pending");
}

#[test]
fn one_file_is_a_file() {
    let ready = with_applied(&ALL[..2]);
    let status = tell(
        &Status::default(),
        Some(&ready),
        &blocked(Reason::MigrationFailed),
    );
    assert_eq!(parts(&status)[1], "True Succeeded: 1 file pending");
}

#[test]
fn before_the_files_are_read_nothing_is_planned() {
    let unread = Observed::default();
    for observed in [None, Some(&unread)] {
        let status = tell(&Status::default(), observed, &acting());
        let expected = [
            "False Applying: the files were not read yet",
            "False Applying: the files are not ready",
            "False Applying: applying 001_a.sql",
        ];
        says(&status, expected);
    }
}

#[test]
fn what_is_wrong_with_the_files_is_said_once() {
    let missing = Observed {
        files: Files::Missing(vec!["files".into()]),
        ..Observed::default()
    };
    let verdict = waiting(Reason::ConfigMapNotFound);
    let status = tell(&Status::default(), Some(&missing), &verdict);
    let expected = [
        "False ConfigMapNotFound: ConfigMap files does not exist in this namespace yet",
        "False ConfigMapNotFound: the files are not ready",
        "False ConfigMapNotFound: the files are not ready",
    ];
    says(&status, expected);
}

#[test]
fn files_that_make_no_set_are_not_ready() {
    let files = vec![file("9_a.sql", "SELECT 1"), file("10_b.sql", "SELECT 1")];
    let no_set = observed(files, LedgerState::default(), None);
    let verdict = blocked(Reason::InvalidMigration);
    let status = tell(&Status::default(), Some(&no_set), &verdict);
    let [source, planned, applied] = parts(&status);
    assert!(
        source.starts_with("False InvalidMigration: ") && source.contains("10_b.sql"),
        "{source}"
    );
    for passed_on in [planned, applied] {
        assert_eq!(passed_on, "False InvalidMigration: the files are not ready");
    }
    let message = status.last_error.unwrap().message;
    assert!(message.contains("10_b.sql"), "{message}");
}

#[test]
fn what_is_in_the_way_of_the_plan_is_said_once_and_located() {
    let mut state = ledger(&three_files(), &ALL);
    state.rows[1].checksum = Some("0".repeat(64));
    let changed = observed(three_files(), state, None);
    let verdict = blocked(Reason::ChecksumMismatch);
    let status = tell(&Status::default(), Some(&changed), &verdict);
    let expected = [
        "True Succeeded: 3 files read",
        "False ChecksumMismatch: it cannot go on",
        "False ChecksumMismatch: nothing is planned",
    ];
    says(&status, expected);
    let error = status.last_error.unwrap();
    assert_eq!(error.version.as_deref(), Some("002_b.sql"));
}

#[test]
fn a_run_that_failed_was_planned() {
    let ready = with_applied(&ALL[..1]);
    let verdict = blocked(Reason::MigrationFailed);
    let status = tell(&Status::default(), Some(&ready), &verdict);
    let expected = [
        "True Succeeded: 3 files read",
        "True Succeeded: 2 files pending",
        "False MigrationFailed: it cannot go on",
    ];
    says(&status, expected);
}

#[test]
fn under_suspend_everything_stays_as_it_was() {
    let unread = Observed::default();
    let (settled, _) = at_rest();
    let ready = with_applied(&[]);
    let failed = tell(
        &Status::default(),
        Some(&ready),
        &blocked(Reason::MigrationFailed),
    );
    for before in [settled, failed] {
        for observed in [None, Some(&unread)] {
            let status = tell(&before, observed, &suspended());
            assert_eq!(parts(&status), parts(&before));
        }
    }
    let status = tell(&Status::default(), Some(&unread), &suspended());
    let expected = [
        "False Suspended: the files were not read yet",
        "False Suspended: nothing is looked at while suspend is set",
        "False Suspended: the files are not ready",
    ];
    says(&status, expected);
}

#[test]
fn a_failure_that_passes_leaves_what_was_true_of_this_spec() {
    let (before, known) = at_rest();
    for observed in [None, Some(&known)] {
        assert_eq!(parts(&tell(&before, observed, &failed())), parts(&before));
    }
    let edited = Desired {
        generation: 2,
        ..plain()
    };
    let status = project(&before, &edited, None, &failed(), now());
    let expected = [
        "True Succeeded: 3 files read",
        "False NeonUnavailable: no answer",
        "False NeonUnavailable: nothing is planned",
    ];
    says(&status, expected);
}

#[test]
fn a_failure_with_other_files_takes_back_what_was_said_of_the_old_ones() {
    let (before, _) = at_rest();
    let mut more = three_files();
    more.push(file("004_d.sql", "CREATE TABLE d (id int);"));
    let read = Observed {
        applied_to: before.applied_to.clone(),
        ..observed(more, ledger(&three_files(), &ALL), None)
    };
    let unread = Observed {
        ledger: Ledger::Unread,
        ..read.clone()
    };
    let expected = [
        "True Succeeded: 4 files read",
        "False NeonUnavailable: no answer",
        "False NeonUnavailable: nothing is planned",
    ];
    says(&tell(&before, Some(&unread), &failed()), expected);
    // with the ledger read, what is to be done is known
    let expected = [
        "True Succeeded: 4 files read",
        "True Succeeded: files are pending",
        "False NeonUnavailable: no answer",
    ];
    says(&tell(&before, Some(&read), &failed()), expected);
}

#[test]
fn counts_speak_of_one_place_and_one_set_of_files() {
    let (mut before, known) = at_rest();
    let pending = PendingStatus {
        count: 7,
        versions: Vec::new(),
    };
    before.pending = Some(pending.clone());
    let counts = |observed: &Observed, before: &Status| {
        let status = tell(before, Some(observed), &acting());
        (status.applied.map(|a| a.count), status.pending)
    };
    assert_eq!(counts(&known, &before), (Some(3), Some(pending)));
    // of another incarnation nothing is known yet
    let moved = Status {
        applied_to: Some(AppliedTo {
            incarnation: "i-0".into(),
            ..before.applied_to.clone().unwrap()
        }),
        ..before.clone()
    };
    assert_eq!(counts(&known, &moved), (None, None));
    // of other files it is not known how many are pending
    let other = Observed {
        files: Files::Listed(Listing::of(&three_files()[..2])),
        ..known
    };
    assert_eq!(counts(&other, &before), (Some(3), None));
}

#[test]
fn a_failure_is_remembered_while_the_same_would_be_tried() {
    let ready = with_applied(&[]);
    let failure = |attempt: Option<String>| Status {
        last_error: Some(LastError {
            version: Some("002_b.sql".into()),
            line: None,
            column: None,
            sql_state: None,
            message: "it failed".into(),
            attempt,
        }),
        ..Status::default()
    };
    let tried = ready.attempt(&plain());
    assert!(tried.is_some());
    let unknown = Observed::default();
    let busy = || waiting(Reason::BranchBusy);
    for (what, attempt, observed, verdict, kept) in [
        ("the same", tried.clone(), &ready, busy(), true),
        ("the same, done", tried.clone(), &ready, settled(), false),
        ("not to be told", tried.clone(), &unknown, busy(), true),
        ("another", Some("another".into()), &ready, busy(), false),
        ("nothing tried", None, &ready, busy(), false),
        ("nothing tried, suspended", None, &ready, suspended(), true),
        ("nothing tried, failed again", None, &ready, failed(), true),
    ] {
        let status = tell(&failure(attempt), Some(observed), &verdict);
        assert_eq!(status.last_error.is_some(), kept, "{what}");
    }
}
