//! Decisions on statements that run alone, row by row.

use super::*;

fn index(oid: i64, name: &str, valid: bool) -> Index {
    Index {
        oid,
        own: true,
        schema: "public".into(),
        name: name.into(),
        valid,
        partitioned: false,
        builder: None,
    }
}

fn build(name: Option<&str>) -> Kind {
    Kind::BuildIndex {
        table: Name(vec!["t".into()]),
        index: name.map(str::to_owned),
    }
}

fn begun(name: Option<&str>) -> Trace {
    let sight = Sight::Indexes(vec![index(5, "t_pkey", true)]);
    trace(&build(name), None, &sight, Some(4))
}

#[test]
fn an_index_is_built_dropped_or_left_alone() {
    let i = Some("i");
    let valid = || vec![index(5, "t_pkey", true), index(6, "i", true)];
    let half = || vec![index(5, "t_pkey", true), index(6, "i", false)];
    let cleared = Verdict::CleanUp(vec![
        "DROP INDEX CONCURRENTLY IF EXISTS \"public\".\"i\"".into(),
    ]);
    let decide =
        |kind, intent: Option<&Trace>, seen| super::decide(&kind, intent, &Sight::Indexes(seen));
    assert_eq!(decide(build(i), None, Vec::new()), Verdict::Run);
    // the server says that it exists, or that it was not needed
    assert_eq!(decide(build(i), None, valid()), Verdict::Run);
    assert!(matches!(
        decide(build(i), None, half()),
        Verdict::Refuse { .. }
    ));
    assert_eq!(decide(build(i), Some(&begun(i)), half()), cleared);
    assert_eq!(decide(build(i), Some(&begun(i)), valid()), Verdict::Done);
    assert_eq!(decide(build(i), Some(&begun(i)), Vec::new()), Verdict::Run);
    // it was there before, so it is not ours
    let before = trace(&build(i), None, &Sight::Indexes(half()), Some(4));
    assert!(matches!(
        decide(build(i), Some(&before), half()),
        Verdict::Refuse { .. }
    ));
    // without a name: an invalid one is ours, a valid one may be anybody's
    let unnamed = begun(None);
    assert_eq!(decide(build(None), Some(&unnamed), half()), cleared);
    assert_eq!(decide(build(None), Some(&unnamed), valid()), Verdict::Ask);
    // on another table, of the same schema
    let mut elsewhere = index(6, "i", false);
    elsewhere.own = false;
    assert!(matches!(
        decide(build(i), Some(&begun(i)), vec![elsewhere]),
        Verdict::Refuse { .. }
    ));
}

#[test]
fn what_another_session_builds_or_a_partitioned_table_lacks_is_not_dropped() {
    let i = Some("i");
    let mut half = index(6, "i", false);
    half.builder = Some(77);
    for intent in [None, Some(begun(i))] {
        let sight = Sight::Indexes(vec![half.clone()]);
        let verdict = decide(&build(i), intent.as_ref(), &sight);
        assert!(
            matches!(&verdict, Verdict::Busy(text) if text.contains("77")),
            "{verdict:?}"
        );
    }
    let mut parent = index(6, "i", false);
    parent.partitioned = true;
    let sight = Sight::Indexes(vec![parent]);
    assert_eq!(decide(&build(i), None, &sight), Verdict::Run);
    assert_eq!(decide(&build(i), Some(&begun(i)), &sight), Verdict::Done);
}

#[test]
fn an_index_is_not_built_on_a_table_that_has_got_the_name() {
    let (intent, sight) = (begun(Some("i")), Sight::Indexes(Vec::new()));
    assert_eq!(
        decide(&build(Some("i")), Some(&intent), &sight),
        Verdict::Run
    );
    assert_eq!(moved(Some(&intent), Some(4), true), None);
    assert_eq!(moved(Some(&intent), Some(9), false), None);
    for now in [None, Some(9)] {
        let verdict = moved(Some(&intent), now, true);
        assert!(
            matches!(verdict, Some(Verdict::Refuse { .. })),
            "{verdict:?}"
        );
    }
}

fn thing(oids: &[i64], is_named: bool, is_pending: bool) -> Thing {
    let names = oids.iter().map(|oid| format!("s.n{oid}"));
    Thing {
        which: Which {
            oids: oids.to_vec(),
            names: names.collect(),
        },
        is_named,
        is_pending,
    }
}

fn was(oids: &[i64]) -> Trace {
    Trace::Object {
        existed: true,
        which: Some(thing(oids, true, false).which),
    }
}

const WAS_NOT: Trace = Trace::Object {
    existed: false,
    which: None,
};
/// As an earlier version has noted it.
const WAS: Trace = Trace::Object {
    existed: true,
    which: None,
};

fn checks(kind: &Kind, rows: Vec<(Option<Trace>, Vec<Thing>, Verdict)>) {
    for (intent, seen, expected) in rows {
        let told = format!("{kind:?} {intent:?} {seen:?}");
        let sight = Sight::Things(seen);
        assert_eq!(decide(kind, intent.as_ref(), &sight), expected, "{told}");
    }
}

#[test]
fn what_is_dropped_is_what_was_meant() {
    let drops = |if_exists| Kind::DropIndex {
        index: Name(vec!["i".into()]),
        if_exists,
    };
    let named = |oid| thing(&[oid], true, false);
    let other = |oid| thing(&[oid], false, false);
    let instead = Verdict::Finish("DROP INDEX CONCURRENTLY s.n7".into());
    checks(
        &drops(false),
        vec![
            (None, vec![named(7)], Verdict::Run),
            (None, vec![], Verdict::Run),
            (Some(was(&[7])), vec![], Verdict::Done),
            (Some(was(&[7])), vec![named(7)], Verdict::Run),
            // by then another one had the name
            (Some(was(&[7])), vec![named(8)], Verdict::Done),
            (Some(was(&[7])), vec![named(8), other(7)], instead),
            (Some(WAS_NOT), vec![named(8)], Verdict::Run),
            (Some(WAS), vec![], Verdict::Done),
            (Some(WAS), vec![named(8)], Verdict::Ask),
        ],
    );
    checks(
        &drops(true),
        vec![
            (Some(WAS_NOT), vec![named(8)], Verdict::Done),
            (Some(was(&[7])), vec![named(8)], Verdict::Done),
        ],
    );
    // what it was about stays noted, whatever is there
    let sight = Sight::Things(vec![named(8), other(7)]);
    let noted = was(&[7]);
    assert_eq!(trace(&drops(false), Some(&noted), &sight, None), noted);
    assert_eq!(trace(&drops(false), None, &sight, None), was(&[8]));
    let sql = probe_sql(&drops(false), Some(&noted)).unwrap();
    assert!(sql.ends_with("OR (c.oid = 7)"), "{sql}");
}

#[test]
fn a_partition_is_detached_from_the_table_that_was_meant() {
    let detach = Kind::Detach {
        table: Name(vec!["s".into(), "p".into()]),
        partition: Name(vec!["p1".into()]),
    };
    let is = |is_named, is_pending| thing(&[1, 2], is_named, is_pending);
    let sql = |how| Verdict::Finish(format!("ALTER TABLE s.n1 DETACH PARTITION s.n2 {how}"));
    let other = thing(&[3, 4], true, false);
    checks(
        &detach,
        vec![
            (None, vec![is(true, false)], Verdict::Run),
            (None, vec![is(true, true)], Verdict::Run),
            (Some(was(&[1, 2])), vec![is(true, true)], sql("FINALIZE")),
            (Some(was(&[1, 2])), vec![is(true, false)], Verdict::Run),
            (
                Some(was(&[1, 2])),
                vec![is(false, false), other.clone()],
                sql("CONCURRENTLY"),
            ),
            (Some(was(&[1, 2])), vec![other], Verdict::Done),
            (Some(was(&[1, 2])), vec![], Verdict::Done),
            (Some(WAS_NOT), vec![], Verdict::Run),
            (Some(WAS), vec![is(true, true)], sql("FINALIZE")),
            (Some(WAS), vec![], Verdict::Done),
        ],
    );
}

#[test]
fn databases_are_made_and_dropped_once() {
    let make = |does| Kind::Object {
        of: Object::Database,
        name: "d".into(),
        does,
    };
    let named = |oid| thing(&[oid], true, false);
    let renamed = thing(&[7], false, false);
    checks(
        &make(Does::Create),
        vec![
            (Some(WAS_NOT), vec![named(7)], Verdict::Done),
            (Some(WAS_NOT), vec![], Verdict::Run),
            (Some(was(&[7])), vec![named(7)], Verdict::Run),
        ],
    );
    checks(
        &make(Does::Drop),
        vec![
            (Some(was(&[7])), vec![], Verdict::Done),
            (Some(was(&[7])), vec![named(7)], Verdict::Run),
            (Some(was(&[7])), vec![named(8)], Verdict::Done),
            (Some(was(&[7])), vec![renamed], Verdict::Ask),
            (Some(WAS), vec![named(7)], Verdict::Run),
        ],
    );
    checks(
        &make(Does::DropIfExists),
        vec![(Some(WAS_NOT), vec![named(8)], Verdict::Done)],
    );
}

#[test]
fn what_can_be_repeated_is_and_what_cannot_is_asked() {
    for (kind, intent, expected) in [
        (Kind::Repeatable, Some(Trace::Repeatable), Verdict::Run),
        (Kind::Unknowable, None, Verdict::Run),
        (Kind::Unknowable, Some(Trace::Unknowable), Verdict::Ask),
    ] {
        assert_eq!(decide(&kind, intent.as_ref(), &Sight::Nothing), expected);
    }
}

#[test]
fn an_index_that_cannot_be_used_is_noticed() {
    let i = Some("i");
    let objects = |seen| objection(&build(i), &Sight::Indexes(seen)).is_some();
    assert!(objects(vec![]));
    assert!(objects(vec![index(6, "i", false)]));
    assert!(!objects(vec![index(6, "i", true)]));
    let mut elsewhere = index(6, "i", true);
    elsewhere.own = false;
    assert!(objects(vec![elsewhere]));
}
