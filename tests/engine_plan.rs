//! The planner: which files run against which ledger, and what stands in the way.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test says what it expects by failing"
)]

use sepulki::engine::{
    Bundle, Code, LedgerName, LedgerRow, LedgerState, Order, Plan, Policies, Problem, ProblemKind,
    SourceFile, plan, plan_by,
};

const NAMES: [&str; 3] = ["001_initial.sql", "002_indexes.sql", "003_telemetry.sql"];

fn content(name: &str) -> String {
    format!("-- {name}\nSELECT 1;\n")
}

fn file((name, text): &(&str, &str)) -> SourceFile {
    SourceFile {
        name: (*name).into(),
        bytes: text.as_bytes().to_vec(),
    }
}

fn bundle_of(files: &[(&str, &str)]) -> Bundle {
    Bundle::compile(files.iter().map(file).collect()).unwrap()
}

fn bundle() -> Bundle {
    let texts: Vec<String> = NAMES.iter().map(|name| content(name)).collect();
    let files: Vec<(&str, &str)> = NAMES
        .into_iter()
        .zip(texts.iter().map(String::as_str))
        .collect();
    bundle_of(&files)
}

fn checksum(name: &str) -> Option<String> {
    bundle().file(name).map(|file| file.sha256().to_owned())
}

fn ledger(rows: &[(&str, Option<String>)]) -> LedgerState {
    LedgerState {
        name: LedgerName::default(),
        exists: true,
        rows: rows
            .iter()
            .map(|(version, checksum)| LedgerRow {
                version: (*version).into(),
                checksum: checksum.clone(),
                applied_at: None,
                meaning: None,
            })
            .collect(),
        unrecorded: Vec::new(),
        unfinished: Vec::new(),
    }
}

fn pending(plan: &Plan) -> Vec<&str> {
    plan.pending.iter().map(|p| p.version.as_str()).collect()
}

/// Version and kind of each problem, blocking ones with an exclamation mark.
fn problems(plan: &Plan) -> Vec<String> {
    let text = |p: &Problem| {
        let mark = if p.blocks() { "!" } else { "" };
        format!("{} {}{mark}", p.version, p.kind.as_str())
    };
    plan.problems.iter().map(text).collect()
}

#[test]
fn files_without_a_row_run_in_order_up_to_the_target() {
    let [a, b, c] = NAMES;
    for (rows, target, expected) in [
        (vec![], None, vec![a, b, c]),
        (vec![], Some(b), vec![a, b]),
        (vec![(a, checksum(a))], None, vec![b, c]),
        (vec![(a, checksum(a)), (b, checksum(b))], Some(a), vec![]),
        (NAMES.map(|n| (n, checksum(n))).to_vec(), None, vec![]),
    ] {
        let plan = plan(&bundle(), &ledger(&rows), target);
        assert_eq!(pending(&plan), expected, "{rows:?} up to {target:?}");
        assert!(plan.is_runnable());
        assert!(plan.problems.is_empty());
        assert_eq!(plan.applied.len(), rows.len());
        assert!(
            plan.pending
                .iter()
                .all(|p| Some(&p.sha256) == checksum(&p.version).as_ref())
        );
    }
}

#[test]
fn problems_of_rows_and_files() {
    let [a, b, c] = NAMES;
    let other = Some("0".repeat(64));
    for (rows, target, expected) in [
        // rows made by hand, by the old runner, by nobody knows whom
        (vec![(a, None)], None, vec!["001_initial.sql Unverified"]),
        (
            vec![(a, Some("unknown".into()))],
            None,
            vec!["001_initial.sql Unverified"],
        ),
        (
            vec![(a, Some(String::new()))],
            None,
            vec!["001_initial.sql Unverified"],
        ),
        (
            vec![(a, other.clone())],
            None,
            vec!["001_initial.sql Drifted!"],
        ),
        (
            vec![(a, other.clone())],
            Some(a),
            vec!["001_initial.sql Drifted!"],
        ),
        (
            vec![("000_old.sql", other.clone())],
            None,
            vec!["000_old.sql Missing"],
        ),
        (
            vec![(b, checksum(b))],
            None,
            vec!["001_initial.sql OutOfOrder!"],
        ),
        (
            vec![(c, checksum(c))],
            Some(a),
            vec!["001_initial.sql OutOfOrder!"],
        ),
        (
            vec![("001_initial", checksum(a))],
            None,
            vec!["001_initial.sql AlmostRecorded!", "001_initial Missing"],
        ),
        (
            vec![("001_INITIAL.sql", checksum(a))],
            None,
            vec!["001_initial.sql AlmostRecorded!", "001_INITIAL.sql Missing"],
        ),
        (vec![], Some("004_x.sql"), vec!["004_x.sql UnknownTarget!"]),
    ] {
        let plan = plan(&bundle(), &ledger(&rows), target);
        assert_eq!(problems(&plan), expected, "{rows:?} up to {target:?}");
        assert_eq!(
            plan.is_runnable(),
            !expected.iter().any(|text| text.ends_with('!'))
        );
    }
}

/// As macOS and most others write the same letter.
const ACCENTS: [&str; 2] = ["001_cafe\u{301}.sql", "001_caf\u{e9}.sql"];

#[test]
fn a_row_whose_name_only_looks_like_the_files_is_told() {
    for (file, row) in [(ACCENTS[0], ACCENTS[1]), (ACCENTS[1], ACCENTS[0])] {
        let bundle = bundle_of(&[(file, "SELECT 1;")]);
        let plan = plan(&bundle, &ledger(&[(row, None)]), None);
        assert!(!plan.is_runnable());
        let told = plan.blocking().next().unwrap().to_string();
        assert!(told.contains("cafe\\u{301}"), "{told}");
    }
}

#[test]
fn of_two_names_that_look_the_same_none_runs() {
    for (one, other, told) in [
        (ACCENTS[0], ACCENTS[1], "accents encoded in another way"),
        ("001_CAFE\u{301}.sql", ACCENTS[1], "the same version as"),
    ] {
        let files = [(one, "SELECT 1;"), (other, "SELECT 2;")];
        let findings = Bundle::compile(files.iter().map(file).collect()).unwrap_err();
        let finding = findings.first().unwrap();
        assert_eq!(finding.code, Code::Duplicate);
        assert!(finding.message.contains(told), "{finding}");
    }
}

#[test]
fn a_file_that_cannot_run_matters_only_while_it_is_pending() {
    let files = [
        ("001_dump.sql", "\\connect x\nCOPY a FROM stdin;\n1\n\\.\n"),
        ("002_b.sql", "SELECT 1;"),
    ];
    let bundle = bundle_of(&files);
    let fresh = plan(&bundle, &LedgerState::default(), None);
    assert_eq!(problems(&fresh), ["001_dump.sql Unrunnable!"]);
    let text = fresh.blocking().next().unwrap().to_string();
    assert!(
        text.starts_with("001_dump.sql:1:1: \\connect is a command of psql"),
        "{text}"
    );
    let later = plan(&bundle, &ledger(&[("001_dump.sql", None)]), None);
    assert!(later.is_runnable());
    assert_eq!(pending(&later), ["002_b.sql"]);
}

#[test]
fn two_files_with_one_number_need_a_decision_while_one_is_pending() {
    let bundle = bundle_of(&[("001_a.sql", ""), ("002_b.sql", ""), ("2_c.sql", "")]);
    let fresh = plan(&bundle, &LedgerState::default(), None);
    assert_eq!(
        problems(&fresh),
        ["002_b.sql SameNumber!", "2_c.sql SameNumber!"]
    );
    let dates = bundle_of(&[("20240101_a.sql", ""), ("20240101_b.sql", "")]);
    assert!(plan(&dates, &LedgerState::default(), None).is_runnable());
    let done: Vec<_> = bundle
        .files()
        .iter()
        .map(|f| (f.version(), Some(f.sha256().to_owned())))
        .collect();
    assert!(plan(&bundle, &ledger(&done), None).problems.is_empty());
}

#[test]
fn line_endings_are_no_drift() {
    let unix = "-- a\nSELECT 1;\n";
    for recorded in [
        unix,
        "-- a\r\nSELECT 1;\r\n",
        "-- a\nSELECT 1;",
        "\u{feff}-- a\r\nSELECT 1;",
    ] {
        for present in [unix, "-- a\r\nSELECT 1;\r\n", "-- a\nSELECT 1;"] {
            let before = bundle_of(&[("001_a.sql", recorded)]);
            let row = (
                "001_a.sql",
                before.file("001_a.sql").map(|f| f.sha256().to_owned()),
            );
            let plan = plan(&bundle_of(&[("001_a.sql", present)]), &ledger(&[row]), None);
            assert!(plan.problems.is_empty(), "{recorded:?} {present:?}");
        }
    }
}

#[test]
fn blocking_problems_come_first_and_say_what_to_do() {
    let [a, b, _] = NAMES;
    let rows = [("000_old.sql", None), (a, Some("f".repeat(64))), (b, None)];
    let plan = plan(&bundle(), &ledger(&rows), None);
    assert_eq!(
        problems(&plan),
        [
            "001_initial.sql Drifted!",
            "002_indexes.sql Unverified",
            "000_old.sql Missing"
        ]
    );
    let drift = plan.problems.first().unwrap();
    assert!(matches!(drift.kind, ProblemKind::Drifted { .. }));
    assert_eq!(
        drift.to_string(),
        format!(
            "001_initial.sql was edited after it was applied (recorded ffffffffffff…, now {}…): \
             restore the applied file and put the change into a new one, \
             or accept what it is now (policies.accept, or --accept 001_initial.sql={}); \
             whether more than comments and formatting changed is not known, since what it said was not kept",
            checksum(a).unwrap().get(..12).unwrap(),
            checksum(a).unwrap()
        )
    );
}

#[test]
fn policies_decide_what_is_in_the_way() {
    let files = [("001_a.sql", "SELECT 1;"), ("002_b.sql", "SELECT 2;")];
    let bundle = bundle_of(&files);
    let edited = "0".repeat(64);
    let rows = ledger(&[("000_gone.sql", None), ("002_b.sql", Some(edited))]);
    let told = |policies: &Policies| problems(&plan_by(policies, &bundle, &rows, None));
    let mut policies = Policies::default();
    assert_eq!(
        told(&policies),
        [
            "001_a.sql OutOfOrder!",
            "002_b.sql Drifted!",
            "000_gone.sql Missing"
        ]
    );
    policies.allow_out_of_order = true;
    policies.warn_on_checksum_mismatch = true;
    assert_eq!(
        told(&policies),
        [
            "001_a.sql OutOfOrder",
            "002_b.sql Drifted",
            "000_gone.sql Missing"
        ]
    );
    policies.warn_on_checksum_mismatch = false;
    let now = bundle.file("002_b.sql").unwrap().sha256().to_owned();
    policies.accept.insert("002_b.sql".into(), now);
    assert_eq!(
        told(&policies),
        ["001_a.sql OutOfOrder", "000_gone.sql Missing"]
    );
    // accepted is this content, not whatever comes later
    policies.accept.insert("002_b.sql".into(), "f".repeat(64));
    assert!(told(&policies).contains(&"002_b.sql Drifted!".to_owned()));
    policies.fail_on_missing_file = true;
    assert!(told(&policies).contains(&"000_gone.sql Missing!".to_owned()));
    // the same file under another name
    policies
        .aliases
        .insert("000_gone.sql".into(), "001_a.sql".into());
    let plan = plan_by(&policies, &bundle, &rows, None);
    assert_eq!(plan.applied, ["001_a.sql", "002_b.sql"]);
    assert_eq!(
        problems(&plan),
        ["002_b.sql Drifted!", "001_a.sql Unverified"]
    );
}

#[test]
fn a_file_that_was_applied_under_another_name_does_not_run_again() {
    let [a, b, c] = NAMES;
    let aliases = |all: &[(&str, &str)]| Policies {
        aliases: all
            .iter()
            .map(|(recorded, file)| ((*recorded).to_owned(), (*file).to_owned()))
            .collect(),
        ..Policies::default()
    };
    let gone = |names: &[&str]| LedgerState {
        unrecorded: names.iter().map(|name| (*name).to_owned()).collect(),
        ..ledger(&[])
    };
    let once = aliases(&[("000_old.sql", a)]);
    let twice = aliases(&[("000_old.sql", "000_older.sql"), ("000_older.sql", a)]);
    for (policies, state, expected) in [
        // its row was deleted, and it was renamed since
        (
            &once,
            gone(&["000_old.sql"]),
            vec!["001_initial.sql Unrecorded!"],
        ),
        (
            &twice,
            gone(&["000_old.sql"]),
            vec!["001_initial.sql Unrecorded!"],
        ),
        // it has its place, whatever was applied behind it
        (
            &once,
            LedgerState {
                rows: ledger(&[(b, checksum(b)), (c, checksum(c))]).rows,
                ..gone(&["000_old.sql"])
            },
            vec!["001_initial.sql Unrecorded!"],
        ),
        (&once, gone(&["000_other.sql"]), vec![]),
        (&once, ledger(&[("000_old.sql", checksum(a))]), vec![]),
        (&twice, ledger(&[("000_old.sql", checksum(a))]), vec![]),
        // what has the name of the file itself says more
        (
            &aliases(&[("zzz", a)]),
            ledger(&[(a, checksum(a)), ("zzz", Some("0".repeat(64)))]),
            vec![],
        ),
    ] {
        let plan = plan_by(policies, &bundle(), &state, None);
        assert_eq!(problems(&plan), expected, "{policies:?} {state:?}");
        let is_recorded = state
            .rows
            .iter()
            .any(|row| row.version != b && row.version != c);
        assert_eq!(plan.applied.contains(&a.to_owned()), is_recorded);
        assert_eq!(pending(&plan).contains(&a), !is_recorded);
    }
    let told = plan_by(&once, &bundle(), &gone(&["000_old.sql"]), None);
    let told = told.problems[0].to_string();
    assert!(
        told.contains("`sepulki migrate mark 001_initial.sql`")
            && told.contains("delete 000_old.sql from"),
        "{told}"
    );

    // a row of this name could be that of the one as well as of the other
    let swapped = aliases(&[(a, b), (c, c)]);
    for state in [ledger(&[]), ledger(&[(a, checksum(a))]), gone(&[a])] {
        let plan = plan_by(&swapped, &bundle(), &state, None);
        assert!(
            problems(&plan).contains(&"001_initial.sql AliasedFile!".to_owned()),
            "{plan:?}"
        );
        assert!(!plan.is_runnable());
    }
}

#[test]
fn a_baseline_is_recorded_where_nothing_is_yet() {
    let policies = Policies {
        baseline: Some(NAMES[1].into()),
        ..Policies::default()
    };
    let recorded = |plan: &Plan| -> Vec<bool> {
        let pending = plan.pending.iter();
        pending.map(|file| file.is_baseline).collect()
    };
    let broken = bundle_of(&[(NAMES[0], "SELEC"), (NAMES[1], ""), (NAMES[2], "")]);
    for state in [LedgerState::default(), ledger(&[])] {
        let plan = plan_by(&policies, &broken, &state, None);
        assert_eq!(recorded(&plan), [true, true, false]);
        assert!(plan.is_runnable(), "what is not run need not be runnable");
    }
    // a file that comes in later, below the baseline, is not taken for an old one
    let rows = ledger(&[(NAMES[1], checksum(NAMES[1]))]);
    let plan = plan_by(&policies, &bundle(), &rows, None);
    assert_eq!(recorded(&plan), [false, false]);
    assert_eq!(problems(&plan), ["001_initial.sql OutOfOrder!"]);

    let unknown = Policies {
        baseline: Some("000_nowhere.sql".into()),
        ..Policies::default()
    };
    let plan = plan_by(&unknown, &bundle(), &LedgerState::default(), None);
    assert_eq!(problems(&plan), ["000_nowhere.sql UnknownBaseline!"]);
}

#[test]
fn an_order_that_somebody_chose_is_followed() {
    let names = ["10_b.sql", "9_a.sql", "init.sql"];
    let files = || {
        names
            .iter()
            .map(|name| file(&(*name, "SELECT 1;")))
            .collect()
    };
    assert!(Bundle::compile(files()).is_err());
    let listed: Vec<String> = ["init.sql", "9_a.sql", "10_b.sql"]
        .map(str::to_owned)
        .into();
    for (order, expected) in [
        (Order::Lexicographic, names),
        (Order::Numeric, ["9_a.sql", "10_b.sql", "init.sql"]),
        (
            Order::Explicit(listed.clone()),
            ["init.sql", "9_a.sql", "10_b.sql"],
        ),
    ] {
        let bundle = Bundle::in_order(files(), &order).unwrap();
        let plan = plan(&bundle, &LedgerState::default(), None);
        assert_eq!(pending(&plan), expected, "{order:?}");
        // what comes later is told by that order, too
        let done = ledger(&[(expected[1], None)]);
        let plan = plan_by(&Policies::default(), &bundle, &done, Some(expected[1]));
        assert_eq!(pending(&plan), [expected[0]], "{order:?}");
        assert!(!plan.is_runnable());
    }
    for list in [&listed[1..], &[&listed[..], &["more.sql".into()]].concat()] {
        let found = Bundle::in_order(files(), &Order::Explicit(list.to_vec())).unwrap_err();
        assert_eq!(found.first().unwrap().code, Code::AmbiguousOrder);
    }
}

/// Policies that name a file for a recorded version.
fn aliased(recorded: &str, file: &str) -> Policies {
    Policies {
        aliases: [(recorded.to_owned(), file.to_owned())].into(),
        ..Policies::default()
    }
}

/// Policies that let a file run although this is said of it.
fn decided(rule: &str, file: &str) -> Policies {
    Policies {
        ignore: [(rule.to_owned(), file.to_owned())].into(),
        ..Policies::default()
    }
}

#[test]
fn a_file_that_was_renamed_does_not_run_a_second_time() {
    let applied = bundle_of(&[("001_a.sql", "CREATE TABLE a ();\n")]);
    let sum = applied.files()[0].sha256().to_owned();
    // wherever it is sorted now, and with other line endings
    for (name, text) in [
        ("000_first.sql", "CREATE TABLE a ();\n"),
        ("009_last.sql", "CREATE TABLE a ();\r\n"),
    ] {
        let renamed = bundle_of(&[(name, text), ("010_next.sql", "CREATE TABLE b ();")]);
        let rows = ledger(&[("001_a.sql", Some(sum.to_uppercase()))]);
        let told = plan(&renamed, &rows, None);
        assert_eq!(
            problems(&told),
            [format!("{name} Renamed!"), "001_a.sql Missing".to_owned()]
        );
        let text = told.blocking().next().unwrap().to_string();
        let alias =
            format!("adopt.aliases: {{\"001_a.sql\": {name:?}}}, or --alias '001_a.sql={name}'");
        assert!(text.contains(&alias), "{text}");
        assert!(
            text.contains(&format!("--ignore-lint 'Renamed={name}'")),
            "{text}"
        );
        let told = plan_by(&aliased("001_a.sql", name), &renamed, &rows, None);
        assert_eq!(pending(&told), ["010_next.sql"]);
        assert!(told.problems.is_empty(), "{told:?}");
        // it says the same once more, and is meant to
        let told = plan_by(&decided("Renamed", name), &renamed, &rows, None);
        assert!(
            told.is_runnable() && pending(&told).contains(&name),
            "{told:?}"
        );
        let other = plan_by(&decided("Renamed", "010_next.sql"), &renamed, &rows, None);
        assert!(!other.is_runnable());
    }
    // a copy of a file that is there as well is another file
    let both = bundle_of(&[
        ("001_a.sql", "CREATE TABLE a ();\n"),
        ("002_b.sql", "CREATE TABLE a ();\n"),
    ]);
    let told = plan(&both, &ledger(&[("001_a.sql", Some(sum))]), None);
    assert!(told.problems.is_empty(), "{told:?}");
}

#[test]
fn a_row_of_another_tool_is_not_passed_over() {
    let files = bundle_of(&[
        ("001_a.sql", "CREATE TABLE a ();"),
        ("002_b.sql", "CREATE TABLE b ();"),
    ]);
    for row in [
        "001",
        "1",
        "001_a.up.sql",
        "V001__a.sql",
        "007_a.sql",
        "001_first.sql",
    ] {
        let rows = ledger(&[(row, None)]);
        let told = plan(&files, &rows, None);
        assert_eq!(
            problems(&told),
            [
                "001_a.sql MaybeRecorded!".to_owned(),
                format!("{row} Missing")
            ]
        );
        let text = told.blocking().next().unwrap().to_string();
        assert!(
            text.contains(&format!("--alias '{row}=001_a.sql'")),
            "{text}"
        );
        let told = plan_by(&aliased(row, "001_a.sql"), &files, &rows, None);
        assert_eq!(pending(&told), ["002_b.sql"], "{row}");
        let told = plan_by(&decided("MaybeRecorded", "001_a.sql"), &files, &rows, None);
        assert!(told.is_runnable(), "{told:?}");
        assert_eq!(pending(&told), ["001_a.sql", "002_b.sql"]);
    }
    // rows of files that were pruned, whatever they said
    for row in ["000_old.sql", "20230101_c.sql", "init"] {
        assert!(
            plan(&files, &ledger(&[(row, None)]), None).is_runnable(),
            "{row}"
        );
    }
}

#[test]
fn a_file_that_changes_the_ledger_is_told() {
    let sql = "CREATE TABLE a ();\nDELETE FROM public.schema_migrations;\n";
    let files = bundle_of(&[("001_a.sql", sql)]);
    let told = plan(&files, &LedgerState::default(), None);
    assert_eq!(problems(&told), ["001_a.sql ChangesLedger!"]);
    let text = told.blocking().next().unwrap().to_string();
    assert!(
        text.starts_with("001_a.sql:2: the file writes to public.schema_migrations"),
        "{text}"
    );
    let meant = decided("ChangesLedger", "001_a.sql");
    assert!(plan_by(&meant, &files, &LedgerState::default(), None).is_runnable());
    // another table is the ledger
    let elsewhere = LedgerState {
        name: LedgerName::new("ops", "applied").unwrap(),
        ..LedgerState::default()
    };
    assert!(plan(&files, &elsewhere, None).problems.is_empty());
    // it was applied, or is taken for applied
    let rows = [("001_a.sql", Some(files.files()[0].sha256().to_owned()))];
    assert!(plan(&files, &ledger(&rows), None).problems.is_empty());
}

#[test]
fn without_its_ledger_nothing_runs_again() {
    let [a, b, c] = NAMES;
    let lost = |exists: bool, names: &[&str]| LedgerState {
        exists,
        unrecorded: names.iter().map(|name| (*name).to_owned()).collect(),
        ..LedgerState::default()
    };
    for (state, told) in [
        (
            lost(false, &[a]),
            "is gone, but this engine has applied 001_initial.sql by it",
        ),
        (
            lost(false, &[a, b]),
            "is gone, but this engine has applied 2 files by it (001_initial.sql to 002_indexes.sql)",
        ),
        (lost(true, &[a, b]), "is empty, but"),
        // none of them has its name still
        (lost(false, &["000_older.sql"]), "is gone, but"),
    ] {
        let plan = plan(&bundle(), &state, None);
        let first = state.unrecorded.first().unwrap();
        assert_eq!(problems(&plan), [format!("{first} LedgerLost!")]);
        let text = plan.problems[0].to_string();
        assert!(
            text.starts_with(&format!("the ledger public.schema_migrations {told}")),
            "{text}"
        );
        assert!(
            text.contains("`DELETE FROM sepulki_engine.applied WHERE ledger = E'\"public\".\"schema_migrations\"'"),
            "{text}"
        );
    }
    let text = plan(&bundle(), &lost(false, &[a, b]), None).problems[0].to_string();
    assert!(
        text.contains("`sepulki migrate baseline 002_indexes.sql`"),
        "{text}"
    );
    // what is there already by a baseline is recorded, and nothing else is pending
    let policies = Policies {
        baseline: Some(c.to_owned()),
        ..Policies::default()
    };
    assert!(plan_by(&policies, &bundle(), &lost(false, &[a, b]), None).is_runnable());
    assert!(plan(&bundle(), &lost(false, &[]), None).is_runnable());
}

#[test]
fn an_alias_that_does_nothing_is_told() {
    let [a, b, _] = NAMES;
    let rows = ledger(&[(a, checksum(a))]);
    let misspelled = plan_by(&aliased("001_initail", b), &bundle(), &rows, None);
    assert_eq!(problems(&misspelled), ["001_initail IdleAlias"]);
    assert!(misspelled.is_runnable());
    // it is recorded under its own name here, under the other one elsewhere
    let unused = plan_by(&aliased("001_initial", a), &bundle(), &rows, None);
    assert!(unused.problems.is_empty(), "{unused:?}");
    let fresh = plan_by(
        &aliased("001_initail", b),
        &bundle(),
        &LedgerState::default(),
        None,
    );
    assert!(fresh.problems.is_empty(), "{fresh:?}");
}
