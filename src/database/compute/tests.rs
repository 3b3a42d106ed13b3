//! What is asked of a compute, step by step.

use serde_json::{Value, json};

use super::*;
use crate::api::Environment;
use crate::database::desired::Desired;
use crate::database::fixtures::{an_endpoint, desired, object, rest};

fn asked_by(spec: Value) -> Desired {
    let spec = Value::Object([("compute".to_owned(), spec)].into_iter().collect());
    Desired::of(&object(Environment::Staging, spec), "default")
}

fn with_settings(endpoint: &mut Endpoint, settings: Value) {
    let settings = [("pg_settings".to_owned(), settings)];
    let settings = Value::Object(settings.into_iter().collect());
    endpoint.settings = serde_json::from_value(settings).unwrap();
}

/// The record after Neon has answered with this endpoint.
fn recorded(desired: &Desired, endpoint: &Endpoint) -> EndpointStatus {
    let asked = rest(desired).compute.asked(None);
    let stored = answered(&asked, endpoint);
    status(endpoint, Some(asked), Some(stored))
}

fn settings(of: &[(&str, &str)]) -> BTreeMap<String, String> {
    let text = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    of.iter().map(text).collect()
}

#[test]
fn what_neon_means_by_its_numbers() {
    let rows = [
        ("default", 0, true),
        ("default", 300, true),
        ("5m", 0, true),
        ("5m", -1, false),
        ("never", -1, true),
        ("never", 0, false),
        ("1m", 60, true),
        ("1m", 300, false),
    ];
    for (asked, seconds, same) in rows {
        let desired = asked_by(json!({"suspendAfter": asked}));
        let mut endpoint = an_endpoint(&desired);
        endpoint.suspend_timeout_seconds = seconds;
        let due = is_due(&rest(&desired).compute, None, None, &endpoint);
        assert_eq!(!due, same, "{asked} {seconds}");
    }
}

#[test]
fn the_profiles_values_are_left_out_one_after_the_other() {
    let rows = [
        (json!({}), vec![(false, true), (true, false), (true, true)]),
        (json!({"suspendAfter": "1h"}), vec![(true, false)]),
        (json!({"minCU": 2, "maxCU": 4}), vec![(false, true)]),
        (
            json!({"minCU": 2, "maxCU": 4, "suspendAfter": "1h"}),
            vec![],
        ),
    ];
    for (spec, expected) in rows {
        let desired = asked_by(spec.clone());
        let compute = &rest(&desired).compute;
        let (mut limit, mut steps) = (None, Vec::new());
        while let Some(next) = compute.leave_out(limit.as_ref(), "no") {
            let asked = compute.asked(Some(&next));
            steps.push((asked.min_cu.is_none(), asked.suspend_after.is_none()));
            let body = compute.new_endpoint(Some(&next));
            assert_eq!(body.compute_units.is_none(), asked.max_cu.is_none());
            assert_eq!(
                body.suspend_timeout_seconds.is_none(),
                asked.suspend_after.is_none()
            );
            limit = Some(next);
        }
        assert_eq!(steps, expected, "{spec}");
    }
}

#[test]
fn a_refusal_holds_as_long_as_the_value_is_the_profiles_and_the_same() {
    let limit = PlanLimit {
        min_cu: Some(0.25),
        max_cu: Some(1.0),
        suspend_after: Some("300s".into()),
        message: "no".into(),
    };
    let still = |desired: &Desired| rest(desired).compute.still_limited(Some(&limit));
    let staging = desired(Environment::Staging);
    assert_eq!(still(&staging), Some(limit.clone()));
    let size_only = still(&asked_by(json!({"suspendAfter": "5m"}))).unwrap();
    assert_eq!(
        (size_only.max_cu, size_only.suspend_after),
        (Some(1.0), None)
    );
    let other_profile = desired(Environment::Production);
    assert_eq!(still(&other_profile), None);
}

#[test]
fn only_settings_of_the_spec_are_compared_and_changed() {
    let desired = asked_by(json!({"settings": {"work_mem": "8MB"}}));
    let compute = &rest(&desired).compute;
    let mut endpoint = an_endpoint(&desired);
    with_settings(
        &mut endpoint,
        json!({"jit": "off", "max_parallel_workers": 2}),
    );
    assert!(is_due(compute, None, None, &endpoint));
    let update = compute.update(None, None, &endpoint);
    let expected = settings(&[
        ("jit", "off"),
        ("max_parallel_workers", "2"),
        ("work_mem", "8MB"),
    ]);
    assert_eq!(update.pg_settings, Some(expected));

    with_settings(&mut endpoint, json!({"jit": "on", "work_mem": "8MB"}));
    let record = recorded(&desired, &endpoint);
    assert_eq!(record.settings, settings(&[("work_mem", "8MB")]));
    assert!(!is_due(compute, None, Some(&record), &endpoint));
    assert_eq!(
        compute.update(None, Some(&record), &endpoint).pg_settings,
        None
    );
    // put right where somebody else has changed it
    with_settings(&mut endpoint, json!({"jit": "on", "work_mem": "1MB"}));
    assert!(is_due(compute, None, Some(&record), &endpoint));
}

#[test]
fn a_setting_that_leaves_the_list_is_taken_away() {
    let desired = asked_by(json!({"settings": {"work_mem": "8MB"}}));
    let mut endpoint = an_endpoint(&desired);
    with_settings(&mut endpoint, json!({"jit": "on", "work_mem": "8MB"}));
    let record = recorded(&desired, &endpoint);
    let without = asked_by(json!({}));
    let compute = &rest(&without).compute;
    assert!(is_due(compute, None, Some(&record), &endpoint));
    let update = compute.update(None, Some(&record), &endpoint);
    assert_eq!(update.pg_settings, Some(settings(&[("jit", "on")])));
    with_settings(&mut endpoint, json!({"jit": "on"}));
    assert!(!is_due(compute, None, Some(&record), &endpoint));
}

#[test]
fn what_neon_stores_otherwise_is_told_and_left() {
    let desired = asked_by(json!({"suspendAfter": "2m", "settings": {"work_mem": "8MB"}}));
    let compute = &rest(&desired).compute;
    let mut endpoint = an_endpoint(&desired);
    endpoint.suspend_timeout_seconds = 0;
    let record = recorded(&desired, &endpoint);
    assert!(!is_due(compute, None, Some(&record), &endpoint));
    assert_eq!(
        otherwise(&record).unwrap(),
        "Neon has suspendAfter default instead of 2m, settings.work_mem nothing instead of 8MB"
    );
    // an answer that does not tell is no reason to ask again
    let silent = EndpointStatus {
        stored: None,
        ..record
    };
    assert!(!is_due(compute, None, Some(&silent), &endpoint));
    assert_eq!(otherwise(&silent), None);
}

#[test]
fn times_are_told_in_the_unit_that_people_write_them_in() {
    for (stored, told) in [
        ("2592000s", "30d"),
        ("129600s", "36h"),
        ("5400s", "90m"),
        ("300s", "5m"),
        ("90s", "90s"),
        ("0s", "0s"),
        ("never", "never"),
        ("default", "default"),
    ] {
        assert_eq!(readable(stored), told);
    }
}
